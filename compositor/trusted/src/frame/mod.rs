//! The trusted frame: whose picture this is, said by label, colour and pattern around it, always.
//!
//! What is decorated and how is decided here and nowhere else. Everything is computed from the host's own definitions
//! ([`label`]), never from anything that a guest says; nothing here touches Wayland or a display.

pub mod band;
pub mod colors;
pub mod geometry;
pub mod label;
pub mod pattern;

use label::{Label, Pattern, Rgb};
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

/// Whose the output is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// A guest's picture, or the message in its place, is inside the band.
    Guest {
        /// How it is marked.
        label: LabelView,
        /// Whether it receives the keys.
        focused: bool,
        /// What else is true of it, in the order in which it is shown.
        marks: Vec<Mark>,
    },
    /// The shell itself has the screen and the keys: white, and no guest ever looks like that.
    Host,
}

impl Owner {
    /// Whose an output is that shows this guest, or none: the shell's own while keys go to it, else the guest's; its
    /// focus mark says who gets keys, and nothing else does.
    pub fn of(guest: Option<(LabelView, Vec<Mark>)>, focused: bool, shell_has_keys: bool) -> Self {
        match guest {
            Some((label, marks)) if !shell_has_keys => Self::Guest { label, focused, marks },
            Some(_) | None => Self::Host,
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
