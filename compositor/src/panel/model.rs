//! The panel as values: selection and a question; keys in, outcomes out. Draws nothing and starts nothing.
//!
//! A question ignores every key for a moment after it appears, and only its own verb's key means yes: Enter, Escape and N
//! leave things as they are.

#![deny(clippy::wildcard_enum_match_arm, reason = "a new verb or message is not to be taken for another")]

use crate::guests::GuestView;
use crate::ui::PanelView;
use phyllome_protocol::status::GuestState;
use phyllome_protocol::{GuestName, GuestVerb};
use phyllome_trusted::codes;
use std::time::{Duration, Instant};

/// How long a question ignores keys after it appears.
pub const DEAF: Duration = Duration::from_millis(500);

/// What a key in the panel leads to.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// At most the panel itself has changed.
    Nothing,
    /// Back to the guest.
    Close,
    /// Back to this guest.
    Show(GuestName),
    /// Start this guest and show it.
    StartAndShow(GuestName),
    /// Do this with a guest; the panel stays.
    Guest(GuestName, GuestVerb),
}

#[derive(Clone, Debug)]
struct Question {
    name: GuestName,
    verb: GuestVerb,
    since: Instant,
}

/// Selection and question.
#[derive(Debug, Default)]
pub struct Panel {
    selected: usize,
    question: Option<Question>,
}

impl Panel {
    /// The panel opens, with the guest that is shown selected.
    pub fn open(&mut self, shown: Option<&GuestName>, guests: &[GuestView]) {
        self.question = None;
        self.selected = shown.and_then(|name| position(guests, name)).unwrap_or(0);
    }

    /// The list changes: the selection stays on its guest, a question about a guest that is gone or has ended goes away.
    pub fn guests_changed(&mut self, before: &[GuestView], after: &[GuestView]) {
        let selected = before.get(self.selected).and_then(|guest| position(after, &guest.name));
        self.selected = selected.unwrap_or(self.selected).min(after.len().saturating_sub(1));
        let alive = |name: &GuestName| after.iter().any(|guest| guest.name == *name && guest.state.is_alive());
        self.question.take_if(|question| !alive(&question.name));
    }

    /// A key was pressed; evdev code.
    pub fn key(&mut self, code: u32, guests: &[GuestView], now: Instant) -> Outcome {
        match &self.question {
            Some(question) => self.answer(question.clone(), code, now),
            None => self.command(code, guests, now),
        }
    }

    /// What is drawn.
    pub fn view(&self, guests: &[GuestView], problems: &[String]) -> PanelView {
        PanelView {
            rows: guests.iter().map(GuestView::panel_row).collect(),
            selected: self.selected,
            problems: problems.to_vec(),
            question: self.question.as_ref().map(|question| question_text(question, guests)),
        }
    }

    fn answer(&mut self, question: Question, code: u32, now: Instant) -> Outcome {
        if now.saturating_duration_since(question.since) < DEAF {
            return Outcome::Nothing;
        }
        match code {
            codes::Y => {
                self.question = None;
                Outcome::Guest(question.name, question.verb)
            }
            codes::ESC | codes::N | codes::ENTER | codes::KP_ENTER => {
                self.question = None;
                Outcome::Nothing
            }
            _ => Outcome::Nothing,
        }
    }

    fn command(&mut self, code: u32, guests: &[GuestView], now: Instant) -> Outcome {
        let last = guests.len().saturating_sub(1);
        match code {
            codes::UP => self.selected = self.selected.saturating_sub(1),
            codes::DOWN => self.selected = (self.selected + 1).min(last),
            codes::HOME => self.selected = 0,
            codes::END => self.selected = last,
            codes::ESC => return Outcome::Close,
            _ => {
                if let Some(slot) = codes::chord_digit(code) {
                    let found = guests.iter().position(|guest| guest.slot == Some(slot));
                    self.selected = found.unwrap_or(self.selected);
                } else if let Some(guest) = guests.get(self.selected) {
                    return self.act(code, guest, now);
                }
            }
        }
        Outcome::Nothing
    }

    fn act(&mut self, code: u32, guest: &GuestView, now: Instant) -> Outcome {
        let name = guest.name.clone();
        let alive = guest.state.is_alive();
        let verb = match code {
            codes::ENTER | codes::KP_ENTER if alive => return Outcome::Show(name),
            codes::ENTER | codes::KP_ENTER => return Outcome::StartAndShow(name),
            codes::S if alive => GuestVerb::Shutdown,
            codes::P if guest.state == GuestState::Running => GuestVerb::Pause,
            codes::P if guest.state == GuestState::Paused => GuestVerb::Resume,
            codes::K if alive => GuestVerb::Kill,
            codes::R if alive => GuestVerb::Restart,
            _ => return Outcome::Nothing,
        };
        if verb.question(&guest.label.text).is_none() {
            return Outcome::Guest(name, verb);
        }
        self.question = Some(Question { name, verb, since: now });
        Outcome::Nothing
    }
}

fn position(guests: &[GuestView], name: &GuestName) -> Option<usize> {
    guests.iter().position(|guest| guest.name == *name)
}

fn question_text(question: &Question, guests: &[GuestView]) -> String {
    let label = guests.iter().find(|guest| guest.name == question.name).map(|guest| guest.label.text.as_str());
    let label = label.unwrap_or(question.name.as_str());
    question.verb.question(label).unwrap_or_default()
}

#[cfg(test)]
#[path = "model_tests.rs"]
mod tests;
