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
use phyllome_trusted::keyboards::{NewKeyboard, Way};
use phyllome_trusted::typed_code::DIGITS;

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
    /// Whether a keyboard that was plugged in may type.
    Keyboard(NewKeyboard),
}

/// A code that is to be typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodeView {
    /// Its digits.
    pub digits: [u8; DIGITS],
    /// How many of them are typed.
    pub typed: usize,
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

    /// Asks whether a keyboard that was plugged in may type; nothing about one that may not in any way.
    pub fn of_keyboard(keyboard: NewKeyboard) -> Option<Self> {
        (keyboard.way != Way::Never).then(|| Self::of(Ask::Keyboard(keyboard)))
    }

    fn of(ask: Ask) -> Self {
        Self { ask, deaf: Deaf::default() }
    }

    /// Whether it is about a keyboard.
    pub fn is_of_keyboard(&self) -> bool {
        matches!(self.ask, Ask::Keyboard(_))
    }

    /// More or less is typed of the code that it shows, or it is another question.
    pub fn follows(&mut self, now: &NewKeyboard) -> bool {
        let Ask::Keyboard(shown) = &mut self.ask else { return false };
        let code = |keyboard: &NewKeyboard| match keyboard.way {
            Way::Code { code, .. } => Some(code),
            Way::Another | Way::Later { .. } | Way::Never => None,
        };
        let same = shown.device == now.device && code(shown).is_some() && code(shown) == code(now);
        if same {
            *shown = now.clone();
        }
        same
    }

    /// The code that is to be typed, if it is to be.
    pub fn code(&self) -> Option<CodeView> {
        match &self.ask {
            Ask::Keyboard(NewKeyboard { way: Way::Code { code, typed }, .. }) => {
                Some(CodeView { digits: code.digits(), typed: *typed })
            }
            Ask::Verb(..) | Ask::Silent(_) | Ask::Keyboard(_) => None,
        }
    }

    /// Whether yes is answered with Y.
    pub fn takes_yes(&self) -> bool {
        match &self.ask {
            Ask::Keyboard(keyboard) => keyboard.way == Way::Another,
            Ask::Verb(..) | Ask::Silent(_) => true,
        }
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
            Ask::Keyboard(keyboard) => Some(about_keyboard(keyboard)),
        }
    }

    /// What follows from yes, and from no.
    fn answers(&self) -> [Vec<Verb>; 2] {
        match &self.ask {
            Ask::Verb(name, verb) => [vec![Verb::Guest(name.clone(), *verb)], Vec::new()],
            Ask::Silent(name) => {
                [vec![Verb::Guest(name.clone(), GuestVerb::Kill)], vec![Verb::WaitLonger(name.clone())]]
            }
            Ask::Keyboard(NewKeyboard { device, .. }) => {
                [true, false].map(|may| vec![Verb::Keyboard { device: *device, may }])
            }
        }
    }

    /// The person does something while it is on top.
    pub fn input(&self, input: &FaceInput) -> Reply {
        match input {
            // What pretends to be a keyboard may have a pointer, too, and must not answer for itself.
            FaceInput::Click(Part::Key(codes::Y)) if self.is_of_keyboard() => Reply::Nothing,
            // A click on what names a key is that key.
            FaceInput::Key { code, pressed: true, .. } | FaceInput::Click(Part::Key(code)) => match *code {
                codes::Y if self.takes_yes() => {
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
            Ask::Keyboard(_) => true,
        }
    }
}

/// What is asked about a keyboard.
fn about_keyboard(NewKeyboard { name, way, .. }: &NewKeyboard) -> String {
    let no = "Esc keeps it silent until it is plugged in again. If you have plugged in none, something else pretends to be one.";
    match way {
        Way::Another | Way::Never => format!("Let the new keyboard “{name}” type? Y lets it; {no}"),
        Way::Code { .. } => {
            format!("Is the new keyboard “{name}” yours? Type these digits on it to let it type. {no}")
        }
        Way::Later { seconds } => format!(
            "Is the new keyboard “{name}” yours? The last code was not typed. Another is shown within {seconds} s; type its \
             digits then. {no}"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use phyllome_trusted::held::DeviceId;
    use phyllome_trusted::typed_code::Code;

    fn of_keyboard(way: Way) -> Dialog {
        Dialog::of_keyboard(NewKeyboard { device: DeviceId::ONLY, name: "stick".to_owned(), way }).unwrap()
    }

    #[test]
    fn tp22_a_question_that_a_code_answers_is_answered_by_no_other_key() {
        for way in [Way::Code { code: Code::new(1), typed: 0 }, Way::Later { seconds: 2 }] {
            let dialog = of_keyboard(way);
            for code in [codes::Y, codes::ONE, codes::S] {
                let key = FaceInput::Key { code, pressed: true, modifiers: Default::default(), text: String::new() };
                assert!(matches!(dialog.input(&key), Reply::Nothing), "{way:?}");
            }
        }
    }

    #[test]
    fn what_is_typed_of_a_code_makes_no_new_question_and_another_code_does() {
        let way = |number, typed| Way::Code { code: Code::new(number), typed };
        let keyboard = |way| NewKeyboard { device: DeviceId::ONLY, name: "stick".to_owned(), way };
        let mut dialog = of_keyboard(way(1, 0));
        assert!(dialog.follows(&keyboard(way(1, 2))));
        assert_eq!(dialog.code().map(|code| code.typed), Some(2));
        assert!(
            ![way(2, 2), Way::Later { seconds: 2 }, Way::Another].into_iter().any(|way| dialog.follows(&keyboard(way)))
        );
    }

    #[test]
    fn tp22_a_click_answers_a_question_but_lets_no_keyboard_in() {
        let yes = |dialog: &Dialog| dialog.input(&FaceInput::Click(Part::Key(codes::Y)));
        let guest = Dialog::new(GuestName::new("work").unwrap(), GuestVerb::Kill);
        assert!(matches!(yes(&guest), Reply::Answered(verbs) if !verbs.is_empty()));
        let keyboard = of_keyboard(Way::Another);
        assert!(matches!(yes(&keyboard), Reply::Nothing));
        let no = keyboard.input(&FaceInput::Click(Part::Key(codes::ESC)));
        assert!(matches!(no, Reply::Answered(verbs) if matches!(verbs[..], [Verb::Keyboard { may: false, .. }])));
    }
}
