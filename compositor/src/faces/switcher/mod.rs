//! The overlay of Super+Tab: which of the running guests is chosen. It is there while Super is held, and moved by
//! chords; a click on a guest shows that one at once.
//!
//! It keeps a name, not a place in a list: guests may start and end while it is open.

pub(in crate::faces) mod view;

use super::pointer::Part;
use super::{FaceInput, Reply, running};
use crate::guests::GuestView;
use phyllome_protocol::GuestName;
use phyllome_trusted::frame::LabelView;
use phyllome_trusted::gate::Verb;

/// What is chosen.
#[derive(Debug)]
pub struct Switcher {
    chosen: GuestName,
}

/// One guest in the overlay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SwitcherEntry {
    /// The guest's name.
    pub name: GuestName,
    /// How it is marked.
    pub label: LabelView,
    /// The word of its state; shown only if it is not `running`.
    pub state: String,
}

/// What is drawn of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SwitcherView {
    /// Running guests in order.
    pub entries: Vec<SwitcherEntry>,
    /// Which of them is selected.
    pub selected: usize,
}

impl Switcher {
    /// One step from `from`, forward or back and round the ends, among the guests that run; `None` where none does.
    pub fn step(from: Option<&GuestName>, forward: bool, guests: &[GuestView]) -> Option<Self> {
        let names: Vec<_> = running(guests).map(|guest| &guest.name).collect();
        let at = from.and_then(|name| names.iter().position(|other| *other == name));
        let next = match (at, forward) {
            (Some(at), true) => (at + 1) % names.len().max(1),
            (Some(at), false) => at.checked_sub(1).unwrap_or(names.len().saturating_sub(1)),
            (None, true) => 0,
            (None, false) => names.len().saturating_sub(1),
        };
        names.get(next).map(|name| Self { chosen: (*name).clone() })
    }

    /// The guest that is chosen.
    pub fn chosen(&self) -> &GuestName {
        &self.chosen
    }

    /// The person does something while it is on top.
    pub fn input(&self, input: &FaceInput) -> Reply {
        match input {
            FaceInput::Click(Part::Guest(name)) => Reply::Verbs(vec![Verb::Show(name.clone())]),
            FaceInput::Click(Part::Key(_))
            | FaceInput::Key { .. }
            | FaceInput::Motion { .. }
            | FaceInput::Leave
            | FaceInput::Button { .. }
            | FaceInput::Scroll { .. } => Reply::Nothing,
        }
    }

    /// One that was chosen may have ended: the first that runs takes its place.
    pub fn guests_changed(&mut self, guests: &[GuestView]) {
        if !running(guests).any(|guest| guest.name == self.chosen)
            && let Some(first) = running(guests).next()
        {
            self.chosen = first.name.clone();
        }
    }

    /// What is drawn.
    pub fn view(&self, guests: &[GuestView]) -> SwitcherView {
        let entry = |guest: &GuestView| SwitcherEntry {
            name: guest.name.clone(),
            label: guest.label_view(),
            state: guest.state.word().to_owned(),
        };
        let selected = running(guests).position(|guest| guest.name == self.chosen).unwrap_or(0);
        SwitcherView { entries: running(guests).map(entry).collect(), selected }
    }
}
