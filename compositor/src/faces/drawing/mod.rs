//! What all faces draw with, and what the shell draws itself beside them: bar, message, flash, pointer, into plain
//! pixels.
//!
//! Slint's software renderer draws in this process, with the font that is built in. This module knows nothing of
//! Wayland or displays, bounds every text that it is given, and draws nothing that has not changed. The panel has a
//! window that lives while it is open, of one size at a time: it goes with its picture after as many frames without
//! the panel as any picture does. The bar's component stays, and those of the others live only while they are drawn.

mod arrow;
mod cache;
mod engine;
pub(crate) mod generated;
pub mod input;
pub(super) mod text;

pub use arrow::ArrowPicture;
pub use input::{WindowInput, WindowModifiers};
pub use phyllome_trusted::pixels::Pixels;

use super::Pictures;
use super::guest::Message;
use super::guest::view::{draw_flash, draw_message};
use crate::host::notice::{Notice, Sign};
pub(super) use cache::{Cache, Latest};
use engine::MAX_SIDE;
pub(crate) use engine::{Resident, Surface};
use generated::{BarSurface, icons};
use phyllome_config::guest::{Pattern, Rgb};
use phyllome_trusted::frame::{LabelView, Mark, Owner, band, colors, geometry, pattern};
use slint::{Color, Image, ModelRc, Rgba8Pixel, SharedPixelBuffer, SharedString};
use std::rc::Rc;
pub(crate) use text::{clean, familiar};

/// Bars, bands and messages that are kept: those of a few outputs and of the guests that were shown last.
const KEPT: usize = 6;

/// Why the shell's own surfaces cannot be drawn.
#[derive(Debug, thiserror::Error)]
pub enum DrawError {
    /// Slint did not start.
    #[error("the shell's own surfaces cannot be drawn: {0}")]
    Start(String),
}

/// What a picture depends on besides its content: width, height and scale.
pub(super) type Extent = (u32, u32, u64);

/// Draws the shell's own surfaces and keeps what did not change.
pub struct Ui {
    bar: Surface<BarSurface>,
    bands: Cache<(Owner, Notice, Extent), Vec<band::Strip>>,
    messages: Cache<(Message, Extent), Pixels>,
    flashes: Cache<(LabelView, Extent), Pixels>,
    /// The pictures of faces.
    pub faces: Pictures,
    arrows: Cache<u64, Pixels>,
}

impl Ui {
    /// Starts Slint with the built-in font, on this thread. Several `Ui` of one thread share it.
    pub fn new() -> Result<Self, DrawError> {
        engine::start()?;
        Ok(Self {
            bar: Surface::new(BarSurface::new, 1.0)?,
            bands: Cache::new(KEPT),
            messages: Cache::new(KEPT),
            flashes: Cache::new(1),
            faces: Pictures::default(),
            arrows: Cache::new(KEPT),
        })
    }

    /// A band without a line of the host's in its bar.
    #[cfg(test)]
    pub(crate) fn band(&mut self, owner: &Owner, output_w: u32, output_h: u32, scale: f64) -> Rc<Vec<band::Strip>> {
        self.noticed_band(owner, &Notice::default(), output_w, output_h, scale)
    }

    /// The band of an output of `output_w` × `output_h` physical pixels, bar included, with `notice` as one line at the
    /// right end of the bar; the same strips again while nothing has changed. To be asked for in every frame: it also
    /// tells what else is shown no longer.
    pub fn noticed_band(
        &mut self,
        owner: &Owner,
        notice: &Notice,
        output_w: u32,
        output_h: u32,
        scale: f64,
    ) -> Rc<Vec<band::Strip>> {
        self.messages.frame();
        self.flashes.frame();
        self.faces.frame();
        let key = (owner.clone(), notice.clone(), (output_w, output_h, scale.to_bits()));
        if let Some(strips) = self.bands.get(&key) {
            return strips;
        }
        let text = self.bar_text(owner, notice, output_w, scale);
        let strips = band::draw(owner, &text, output_w, output_h, scale);
        self.bands.put(key, strips)
    }

    /// What is shown in the area (`w` × `h` physical pixels) of a guest without a picture; opaque.
    ///
    /// Only as large as its text needs: it belongs in the middle of the area (as [`geometry::place`] puts it), on a
    /// ground of [`colors::GROUND`].
    pub fn message(&mut self, message: &Message, w: u32, h: u32, scale: f64) -> Rc<Pixels> {
        let key = (message.clone(), (w, h, scale.to_bits()));
        if let Some(pixels) = self.messages.get(&key) {
            return pixels;
        }
        let pixels = draw_message(message, w, h, scale).unwrap_or_else(|error| plain(&error, w, h, colors::GROUND));
        self.messages.put(key, pixels)
    }

    /// The label that is shown in the middle of the picture for 900 ms after a switch; its corners are transparent.
    pub fn flash(&mut self, label: &LabelView, scale: f64) -> Rc<Pixels> {
        let key = (label.clone(), (0, 0, scale.to_bits()));
        if let Some(pixels) = self.flashes.get(&key) {
            return pixels;
        }
        let pixels = draw_flash(label, scale).unwrap_or_else(|error| plain(&error, 96, 96, label.rgb));
        self.flashes.put(key, pixels)
    }

    /// The shell's own pointer.
    pub fn arrow(&mut self, scale: f64) -> ArrowPicture {
        let key = scale.to_bits();
        let kept = self.arrows.get(&key);
        let pixels = kept.unwrap_or_else(|| self.arrows.put(key, arrow::draw(scale)));
        ArrowPicture { pixels, tip: arrow::tip(scale) }
    }

    /// Label, number and marks of an output's bar; where nothing of them is, it is transparent.
    fn bar_text(&self, owner: &Owner, notice: &Notice, output_w: u32, scale: f64) -> Pixels {
        let look = band::Look::of(owner);
        let (width, height) = band::text_size(output_w, scale);
        if width > MAX_SIDE || height > MAX_SIDE {
            return Pixels::new(0, 0, Vec::new());
        }
        let bar = &self.bar.component;
        self.bar.set_scale(scale);
        self.bar.set_size(width, height);
        bar.set_plate(color(look.rgb));
        bar.set_second(color(look.second));
        bar.set_ink(color(look.ink));
        bar.set_solid(look.pattern == Pattern::Solid);
        bar.set_host(matches!(owner, Owner::Host));
        bar.set_shield(icons::SHIELD.into());
        bar.set_check(icons::CHECK.into());
        bar.set_guest(matches!(owner, Owner::Guest { .. }));
        bar.set_keys(matches!(owner, Owner::Guest { focused: true, .. }));
        bar.set_keyboard(icons::KEYBOARD.into());
        let (label, slot, marks): (&str, _, &[Mark]) = match owner {
            Owner::Guest { label, marks, .. } => (&label.text, label.slot, marks),
            Owner::Host => ("Host", None, &[]),
            Owner::Nobody => ("", None, &[]),
        };
        bar.set_slot(slot.map(|slot| SharedString::from(slot.to_string())).unwrap_or_default());
        let paths: Vec<SharedString> = marks.iter().map(|mark| mark_icon(*mark).into()).collect();
        bar.set_marks(ModelRc::from(paths.as_slice()));
        let signs: Vec<SharedString> = notice.signs.iter().map(|sign| sign_icon(*sign).into()).collect();
        bar.set_signs(ModelRc::from(signs.as_slice()));
        bar.set_level(notice.level.map_or(-1, i32::from));
        bar.set_notice(clean(&notice.text).into());
        let room = bar.get_label_room();
        let label = text::cut_middle(&clean(label), |candidate| {
            bar.set_label(candidate.into());
            bar.get_label_width() <= room
        });
        bar.set_label(label.into());

        Pixels::new(width, height, self.bar.draw(width, height))
    }
}

/// Which of `all` entries is the first of `shown`, so that `selected` is among them and near the middle.
pub(crate) fn window_start(all: usize, shown: usize, selected: usize) -> usize {
    selected.saturating_sub(shown / 2).min(all.saturating_sub(shown))
}

/// What is shown if Slint fails, which nothing but a lack of memory explains: the colour without the text.
pub(super) fn plain(error: &DrawError, w: u32, h: u32, rgb: Rgb) -> Pixels {
    tracing::error!("{error}");
    Pixels::filled(w, h, rgb)
}

/// `logical` pixels as physical ones, rounded up.
pub(super) fn physical_ceil(logical: f32, scale: f64) -> u32 {
    (f64::from(logical) * scale - 0.01).ceil() as u32
}

/// A colour as Slint has it.
pub(crate) fn color(Rgb(r, g, b): Rgb) -> Color {
    Color::from_rgb_u8(r, g, b)
}

/// The number that a swatch bears.
pub(crate) fn slot_text(label: &LabelView) -> SharedString {
    label.slot.map(|slot| slot.to_string().into()).unwrap_or_default()
}

/// A square of the guest's colour and pattern, `side` logical pixels wide, in physical pixels.
pub(crate) fn swatch(label: &LabelView, side: f64, scale: f64) -> Image {
    let side = geometry::physical(side, scale).min(1024);
    let mut buffer = SharedPixelBuffer::<Rgba8Pixel>::new(side, side);
    for (i, pixel) in buffer.make_mut_slice().iter_mut().enumerate() {
        let (x, y) = (i as u32 % side, i as u32 / side);
        let Rgb(r, g, b) = if pattern::is_second(label.pattern, x, y, scale) { label.second } else { label.rgb };
        *pixel = Rgba8Pixel { r, g, b, a: 0xff };
    }
    Image::from_rgba8_premultiplied(buffer)
}

/// The icon of a mark.
pub(crate) fn mark_icon(mark: Mark) -> &'static str {
    match mark {
        Mark::Paused => icons::PAUSED,
        Mark::NotResponding => icons::NOT_RESPONDING,
        Mark::Awake => icons::AWAKE,
    }
}

/// The icon of a sign.
fn sign_icon(sign: Sign) -> &'static str {
    match sign {
        Sign::Brightness => icons::BRIGHTNESS,
        Sign::Sound => icons::SOUND,
        Sign::SoundOff => icons::SOUND_OFF,
        Sign::Microphone => icons::MICROPHONE,
        Sign::MicrophoneOff => icons::MICROPHONE_OFF,
        Sign::Radios => icons::RADIOS,
        Sign::RadiosOff => icons::RADIOS_OFF,
        Sign::Battery => icons::BATTERY,
        Sign::Disk => icons::DISK,
        Sign::Sleep => icons::SLEEP,
        Sign::PowerOff => icons::POWER_OFF,
    }
}

#[cfg(test)]
mod pixel_tests;
#[cfg(test)]
mod resident_tests;
