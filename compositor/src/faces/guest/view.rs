//! How a guest's card and its flashing name are drawn.

use super::{Icon, Message};
use crate::faces::drawing::generated::{FlashSurface, MessageSurface, icons};
use crate::faces::drawing::{DrawError, Pixels, Surface, clean, color, physical_ceil, text};
use phyllome_trusted::frame::{LabelView, geometry};

/// Widest message, in logical pixels.
const MESSAGE_WIDTH: f64 = 640.0;
/// Widest label of a flash, in logical pixels.
const FLASH_LABEL: f64 = 720.0;
/// Around a flash's label, in logical pixels.
const FLASH_PADDING: f64 = 24.0;

/// What is shown in the area of a guest without a picture.
pub(in crate::faces) fn draw_message(message: &Message, w: u32, h: u32, scale: f64) -> Result<Pixels, DrawError> {
    let surface = Surface::new(MessageSurface::new, scale)?;
    let component = &surface.component;
    component.set_icon_path(message.icon.path().into());
    component.set_sentence(clean(&message.sentence).into());
    component.set_quote(clean(&message.quote).into());
    component.set_help(clean(&message.help).into());
    let width = w.min(geometry::physical(MESSAGE_WIDTH, scale));
    surface.set_size(width, h);
    let height = h.min(physical_ceil(component.get_needed_height(), scale));
    Ok(Pixels::new(width, height, surface.draw(width, height)))
}

/// The name of a guest that was switched to.
pub(in crate::faces) fn draw_flash(label: &LabelView, scale: f64) -> Result<Pixels, DrawError> {
    let surface = Surface::new(FlashSurface::new, scale)?;
    let component = &surface.component;
    component.set_plate(color(label.rgb));
    component.set_ink(color(label.text_rgb));
    let cut = text::cut_middle(&clean(&label.text), |candidate| {
        component.set_label(candidate.into());
        f64::from(component.get_label_width()) <= FLASH_LABEL
    });
    component.set_label(cut.into());
    let padding = 2 * geometry::physical(FLASH_PADDING, scale);
    let width = physical_ceil(component.get_label_width(), scale) + padding;
    let height = physical_ceil(component.get_label_height(), scale) + padding;
    Ok(Pixels::new(width, height, surface.draw(width, height)))
}

impl Icon {
    /// Path data on a 24 × 24 grid.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Starting => icons::STARTING,
            Self::Stopped => icons::STOPPED,
            Self::Crashed => icons::CRASHED,
            Self::NotResponding => icons::NOT_RESPONDING,
            Self::Paused => icons::PAUSED,
            Self::Empty => icons::EMPTY,
            Self::Keyboard => icons::KEYBOARD,
        }
    }
}
