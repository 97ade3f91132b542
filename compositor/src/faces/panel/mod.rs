//! The list of guests: what is selected, and what keys, clicks and the wheel do with it. It draws nothing and starts
//! nothing.
//!
//! What ends a guest or loses its work is asked about first ([`super::dialog`]); the verb itself says whether it is.

mod room;
mod view;

use super::dialog::{CodeView, Dialog};
use super::pointer::Part;
use super::{FaceInput, Reply, position};
use crate::guests::GuestView;
use crate::outputs::OutputId;
use phyllome_protocol::status::GuestState;
use phyllome_protocol::{GuestName, GuestVerb};
use phyllome_trusted::codes;
use phyllome_trusted::deaf::Deaf;
use phyllome_trusted::frame::LabelView;
use phyllome_trusted::gate::Verb;
pub use view::PanelWindow;
#[cfg(test)]
pub(crate) use view::words;

/// Rows by which Page Up and Page Down move the selection: fewer than most displays show, so that none is missed.
const PAGE: usize = 5;

/// How a state reads at a glance; its word says the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StateTone {
    /// Stopped and the like.
    Quiet,
    /// Running.
    Good,
    /// Starting, stopping, paused.
    Warning,
    /// Crashed, internal error.
    Danger,
}

/// One guest in the panel's list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PanelRow {
    /// The guest's name.
    pub name: GuestName,
    /// How it is marked.
    pub label: LabelView,
    /// The word of its state.
    pub state: String,
    /// How the word is coloured.
    pub tone: StateTone,
    /// One sentence about the state, in words of the shell's; may be empty.
    pub message: String,
    /// What the guest's process says, quoted; may be empty.
    pub quote: String,
}

/// The panel's whole content.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PanelView {
    /// Guests in their order.
    pub rows: Vec<PanelRow>,
    /// Guest files that could not be used, a sentence each.
    pub problems: Vec<String>,
    /// Which row is raised, counting `rows` first and then `problems`; rows are left out so that it can be seen.
    pub selected: usize,
    /// A question that waits for an answer: what is asked up to the first “?”, then what it means and which keys
    /// answer.
    pub question: Option<String>,
    /// A code that stands between the question and what it means.
    pub code: Option<CodeView>,
    /// Whether the question can be answered with Y.
    pub takes_yes: bool,
}

/// What is selected.
#[derive(Debug, Default)]
pub struct Panel {
    pub(super) deaf: Deaf<OutputId>,
    selected: usize,
    /// Parts of a notch by which the wheel has turned since the selection was moved by it.
    turned: f64,
}

impl Panel {
    /// The panel opens, with the guest that is shown selected.
    pub fn open(shown: Option<&GuestName>, guests: &[GuestView]) -> Self {
        Self { selected: shown.and_then(|name| position(guests, name)).unwrap_or(0), ..Self::default() }
    }

    /// The list changes: the selection stays on its guest.
    pub fn guests_changed(&mut self, before: &[GuestView], after: &[GuestView]) {
        let selected = before.get(self.selected).and_then(|guest| position(after, &guest.name));
        self.selected = selected.unwrap_or(self.selected).min(after.len().saturating_sub(1));
    }

    /// What is drawn, with these sentences below and the dialog that is asked above it.
    pub fn view(&self, guests: &[GuestView], sentences: &[String], dialog: Option<&Dialog>) -> PanelView {
        PanelView {
            rows: guests.iter().map(super::guest::panel_row).collect(),
            selected: self.selected,
            problems: sentences.to_vec(),
            question: dialog.and_then(|dialog| dialog.text(guests)),
            code: dialog.and_then(Dialog::code),
            takes_yes: dialog.is_some_and(Dialog::takes_yes),
        }
    }

    /// The person does something while it is on top.
    pub fn input(&mut self, input: &FaceInput, guests: &[GuestView]) -> Reply {
        match input {
            // A click on what names a key is that key.
            FaceInput::Key { code, pressed: true, .. } | FaceInput::Click(Part::Key(code)) => self.key(*code, guests),
            FaceInput::Click(Part::Guest(name)) => self.select(position(guests, name).unwrap_or(self.selected)),
            FaceInput::Scroll { vertical, .. } => self.scroll(*vertical, guests),
            FaceInput::Key { .. } | FaceInput::Motion { .. } | FaceInput::Leave | FaceInput::Button { .. } => {
                Reply::Nothing
            }
        }
    }

    fn select(&mut self, at: usize) -> Reply {
        let before = std::mem::replace(&mut self.selected, at);
        if before == at { Reply::Nothing } else { Reply::Changed }
    }

    /// Each whole notch moves the selection by one row; the rows that are left out follow it.
    fn scroll(&mut self, notches: f64, guests: &[GuestView]) -> Reply {
        let sum = self.turned + notches;
        let rows = sum.trunc();
        self.turned = sum - rows;
        // `as` saturates, and there is no such number as a negative one of them.
        let (up, down) = (-rows as usize, rows as usize);
        let last = guests.len().saturating_sub(1);
        self.select(self.selected.saturating_sub(up).saturating_add(down).min(last))
    }

    fn key(&mut self, code: u32, guests: &[GuestView]) -> Reply {
        let before = self.selected;
        let last = guests.len().saturating_sub(1);
        match code {
            codes::UP => self.selected = self.selected.saturating_sub(1),
            codes::DOWN => self.selected = (self.selected + 1).min(last),
            codes::PAGE_UP => self.selected = self.selected.saturating_sub(PAGE),
            codes::PAGE_DOWN => self.selected = self.selected.saturating_add(PAGE).min(last),
            codes::HOME => self.selected = 0,
            codes::END => self.selected = last,
            codes::ESC => return Reply::Verbs(vec![Verb::Panel { show: false }]),
            _ => {
                if let Some(slot) = codes::chord_digit(code) {
                    let found = guests.iter().position(|guest| guest.slot == Some(slot));
                    self.selected = found.unwrap_or(self.selected);
                } else if let Some(guest) = guests.get(self.selected) {
                    return act(code, guest);
                }
            }
        }
        if self.selected == before { Reply::Nothing } else { Reply::Changed }
    }
}

/// What a key does with the guest that is selected.
fn act(code: u32, guest: &GuestView) -> Reply {
    let name = guest.name.clone();
    let alive = guest.state.is_alive();
    let verb = match code {
        codes::ENTER | codes::KP_ENTER if alive => return Reply::Verbs(vec![Verb::Show(name)]),
        codes::ENTER | codes::KP_ENTER => {
            return Reply::Verbs(vec![Verb::Show(name.clone()), Verb::Guest(name, GuestVerb::Start)]);
        }
        codes::S if alive => GuestVerb::Shutdown,
        codes::P if matches!(guest.state, GuestState::Paused | GuestState::Frozen) => GuestVerb::Resume,
        // One that ignores its power button may be paused like any other.
        codes::P if alive => GuestVerb::Pause,
        codes::K if alive => GuestVerb::Kill,
        codes::R if alive => GuestVerb::Restart,
        _ => return Reply::Nothing,
    };
    match verb.question(&guest.label.text) {
        None => Reply::Verbs(vec![Verb::Guest(name, verb)]),
        Some(_) => Reply::Ask(Dialog::new(name, verb)),
    }
}

/// Whether the key moves the selection and does nothing else.
pub fn repeats(code: u32) -> bool {
    matches!(code, codes::UP | codes::DOWN | codes::PAGE_UP | codes::PAGE_DOWN)
}

#[cfg(test)]
mod tests;
