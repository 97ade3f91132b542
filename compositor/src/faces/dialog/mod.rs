//! A question that waits for an answer. It never defaults to yes: only Y means it; Enter, Escape and N
//! leave things as they are (trusted-path promise 12).
//!
//! For a moment after it is seen it hears no key and no click ([`Deaf`]), so that what was meant for the face below
//! answers nothing.

use super::pointer::Part;
use super::{FaceInput, Reply};
use crate::guests::GuestView;
use crate::outputs::OutputId;
use phyllome_protocol::{GuestName, GuestVerb};
use phyllome_trusted::codes;
use phyllome_trusted::deaf::Deaf;
use phyllome_trusted::gate::Verb;
use phyllome_trusted::held::DeviceId;

/// The question.
#[derive(Clone, Debug)]
pub struct Dialog {
    ask: Ask,
    pub(super) deaf: Deaf<OutputId>,
}

/// What is asked.
#[derive(Clone, Debug)]
enum Ask {
    /// Whether this is to be done with a guest.
    Verb(GuestName, GuestVerb),
    /// Whether a guest that was asked to power off, and runs on, is to be given more time.
    Silent(GuestName),
    /// Whether a keyboard that was plugged in may type, and what it calls itself.
    Keyboard(DeviceId, String),
}

impl Dialog {
    /// Asks whether `verb` is to be done with `name`.
    pub fn new(name: GuestName, verb: GuestVerb) -> Self {
        Self::of(Ask::Verb(name, verb))
    }

    /// Asks whether to wait longer for a guest that was asked to power off, or to force it off.
    pub fn of_silent(name: GuestName) -> Self {
        Self::of(Ask::Silent(name))
    }

    /// Asks whether a keyboard that was plugged in may type. `name`: what it calls itself, printable and bounded.
    pub fn of_keyboard(device: DeviceId, name: String) -> Self {
        Self::of(Ask::Keyboard(device, name))
    }

    fn of(ask: Ask) -> Self {
        Self { ask, deaf: Deaf::default() }
    }

    /// Whether it is about a keyboard.
    pub fn is_of_keyboard(&self) -> bool {
        matches!(self.ask, Ask::Keyboard(..))
    }

    /// What is asked, up to the first “?”, and what it means.
    pub fn text(&self, guests: &[GuestView]) -> Option<String> {
        let label = |name: &GuestName| {
            let guest = guests.iter().find(|guest| guest.name == *name);
            guest.map_or_else(|| name.to_string(), |guest| guest.label.text.clone())
        };
        match &self.ask {
            Ask::Verb(name, verb) => verb.question(&label(name)),
            Ask::Silent(name) => Some(format!(
                "{} has not answered for 30 s. Wait longer or force it off? Y forces it off, and it loses what it has not saved; \
                 Esc waits longer.",
                label(name)
            )),
            Ask::Keyboard(_, name) => Some(format!(
                "Let the new keyboard “{name}” type? Y lets it; Esc keeps it silent until it is plugged in again. If you have \
                 plugged in none, something else pretends to be one."
            )),
        }
    }

    /// What follows from yes, and from no.
    fn answers(&self) -> [Vec<Verb>; 2] {
        match &self.ask {
            Ask::Verb(name, verb) => [vec![Verb::Guest(name.clone(), *verb)], Vec::new()],
            Ask::Silent(name) => {
                [vec![Verb::Guest(name.clone(), GuestVerb::Kill)], vec![Verb::WaitLonger(name.clone())]]
            }
            Ask::Keyboard(device, _) => [true, false].map(|may| vec![Verb::Keyboard { device: *device, may }]),
        }
    }

    /// The person does something while it is on top.
    pub fn input(&self, input: &FaceInput) -> Reply {
        match input {
            // What pretends to be a keyboard may have a pointer, too, and must not answer for itself.
            FaceInput::Click(Part::Key(codes::Y)) if matches!(self.ask, Ask::Keyboard(..)) => Reply::Nothing,
            // A click on what names a key is that key.
            FaceInput::Key { code, pressed: true, .. } | FaceInput::Click(Part::Key(code)) => match *code {
                codes::Y => {
                    let [yes, _] = self.answers();
                    Reply::Answered(yes)
                }
                codes::ESC | codes::N | codes::ENTER | codes::KP_ENTER => {
                    let [_, no] = self.answers();
                    Reply::Answered(no)
                }
                _ => Reply::Nothing,
            },
            FaceInput::Key { .. }
            | FaceInput::Click(_)
            | FaceInput::Motion { .. }
            | FaceInput::Leave
            | FaceInput::Button { .. }
            | FaceInput::Scroll { .. } => Reply::Nothing,
        }
    }

    /// Whether there is still something to ask.
    pub fn still_makes_sense(&self, guests: &[GuestView]) -> bool {
        let guest = |name: &GuestName| guests.iter().find(|guest| guest.name == *name);
        match &self.ask {
            Ask::Verb(name, _) => guest(name).is_some_and(|guest| guest.state.is_alive()),
            Ask::Silent(name) => guest(name).is_some_and(|guest| guest.silent),
            Ask::Keyboard(..) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tp22_a_click_answers_a_question_but_lets_no_keyboard_in() {
        let yes = |dialog: &Dialog| dialog.input(&FaceInput::Click(Part::Key(codes::Y)));
        let guest = Dialog::new(GuestName::new("work").unwrap(), GuestVerb::Kill);
        assert!(matches!(yes(&guest), Reply::Answered(verbs) if !verbs.is_empty()));
        let keyboard = Dialog::of_keyboard(DeviceId::ONLY, "stick".to_owned());
        assert!(matches!(yes(&keyboard), Reply::Nothing));
        let no = keyboard.input(&FaceInput::Click(Part::Key(codes::ESC)));
        assert!(matches!(no, Reply::Answered(verbs) if matches!(verbs[..], [Verb::Keyboard { may: false, .. }])));
    }
}
