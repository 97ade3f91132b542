//! A question about a guest that waits for an answer. It never defaults to yes: only Y means it; Enter, Escape and N
//! leave things as they are (trusted-path promise 12).
//!
//! For a moment after it appears it ignores every key, so that what was meant for the face below answers nothing.

use super::{FaceInput, Reply};
use crate::guests::GuestView;
use phyllome_protocol::{GuestName, GuestVerb};
use phyllome_trusted::codes;
use phyllome_trusted::gate::Verb;
use std::time::{Duration, Instant};

/// How long a question ignores keys after it appears.
pub const DEAF: Duration = Duration::from_millis(500);

/// The question.
#[derive(Clone, Debug)]
pub struct Dialog {
    name: GuestName,
    verb: GuestVerb,
    since: Instant,
}

impl Dialog {
    /// Asks whether `verb` is to be done with `name`, from `now` on.
    pub fn new(name: GuestName, verb: GuestVerb, now: Instant) -> Self {
        Self { name, verb, since: now }
    }

    /// What is asked, up to the first “?”, and what it means.
    pub fn text(&self, guests: &[GuestView]) -> Option<String> {
        let label = guests.iter().find(|guest| guest.name == self.name).map(|guest| guest.label.text.as_str());
        self.verb.question(label.unwrap_or(self.name.as_str()))
    }

    /// The person does something while it is on top.
    pub fn input(&self, input: &FaceInput, now: Instant) -> Reply {
        let deaf = now.saturating_duration_since(self.since) < DEAF;
        match input {
            FaceInput::Key { code, pressed: true, .. } if !deaf => match *code {
                codes::Y => Reply::Answered(vec![Verb::Guest(self.name.clone(), self.verb)]),
                codes::ESC | codes::N | codes::ENTER | codes::KP_ENTER => Reply::Answered(Vec::new()),
                _ => Reply::Nothing,
            },
            FaceInput::Key { .. } | FaceInput::Motion { .. } | FaceInput::Button { .. } | FaceInput::Scroll { .. } => {
                Reply::Nothing
            }
        }
    }

    /// Whether its guest still runs.
    pub fn still_makes_sense(&self, guests: &[GuestView]) -> bool {
        guests.iter().any(|guest| guest.name == self.name && guest.state.is_alive())
    }
}
