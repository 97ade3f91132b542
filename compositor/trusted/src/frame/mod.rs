//! The trusted frame: whose picture this is, said by label, colour and pattern around it, always.
//!
//! What is decorated and how is decided here and nowhere else. Everything is computed from the host's own definitions
//! ([`label`]), never from anything that a guest says; nothing here touches Wayland or a display.

pub mod band;
pub mod colors;
pub mod geometry;
pub mod label;
pub mod owner;
pub mod pattern;

use label::{Label, Pattern, Rgb};
pub use owner::Owner;
use phyllome_protocol::Slot;

/// How a guest is marked, with its colours worked out: what bar, band, flash, switcher and panel draw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelView {
    /// The label's text.
    pub text: String,
    /// The guest's colour.
    pub rgb: Rgb,
    /// The second colour of its pattern.
    pub second: Rgb,
    /// Black or white, whichever reads on `rgb`.
    pub text_rgb: Rgb,
    /// Its pattern.
    pub pattern: Pattern,
    /// Its place on the keyboard.
    pub slot: Option<Slot>,
}

impl LabelView {
    /// The view of a definition's label.
    pub fn from_label(label: &Label, slot: Option<Slot>) -> Self {
        Self {
            text: label.text.clone(),
            rgb: label.color.rgb(),
            second: label.color.second(),
            text_rgb: label.color.text(),
            pattern: label.pattern,
            slot,
        }
    }
}

/// A quiet mark at the right end of the bar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mark {
    /// The guest is paused.
    Paused,
    /// The guest does not answer.
    NotResponding,
    /// Displays stay on without input.
    Awake,
}
