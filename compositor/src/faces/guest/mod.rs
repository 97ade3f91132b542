//! What stands for a guest where its picture is not: the card in its area, its line in the panel, its tile in the
//! switcher, its marks.
//!
//! Pure: a guest's state in, words out. The shell speaks in its own words; what a guest's process says is never among
//! them, but quoted in a line of its own, with its label before it, in letters of the built-in font ([`familiar`]).

pub(in crate::faces) mod view;

use crate::faces::FaceInput;
use crate::faces::drawing::familiar;
use crate::faces::panel::{PanelRow, StateTone};
use crate::guests::GuestView;
use crate::guests::said::Whose;
use phyllome_protocol::GuestVerb;
use phyllome_protocol::control::Known;
use phyllome_protocol::status::{GuestState, Mode};
use phyllome_trusted::chords::{Chord, Chords};
use phyllome_trusted::codes;
use phyllome_trusted::frame::Mark;
use phyllome_trusted::gate::Verb;

/// The quiet marks in the bar. `awake`: displays stay on without input.
pub fn marks(guest: &GuestView, awake: bool) -> Vec<Mark> {
    let mut marks = match guest.state {
        GuestState::Paused | GuestState::Frozen => vec![Mark::Paused],
        GuestState::Stopped
        | GuestState::Starting
        | GuestState::Running
        | GuestState::Stopping
        | GuestState::Crashed
        | GuestState::InternalError => Vec::new(),
    };
    marks.extend(guest.silent.then_some(Mark::NotResponding));
    marks.extend(awake.then_some(Mark::Awake));
    marks
}

/// An icon of the project's own set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Icon {
    /// A guest starts.
    Starting,
    /// A guest is stopped or not there.
    Stopped,
    /// A guest ended by itself, or could not start.
    Crashed,
    /// A guest does not answer.
    NotResponding,
    /// A guest is paused.
    Paused,
    /// No guest is chosen.
    Empty,
    /// Keys go elsewhere.
    Keyboard,
}

/// What stands in the area of a guest without a picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// In the middle, 48 px.
    pub icon: Icon,
    /// What happened: one sentence.
    pub sentence: String,
    /// What the guest's process says of it, quoted; may be empty.
    pub quote: String,
    /// What helps: one line with keys that work while it stands there. May be empty.
    pub help: String,
}

/// The guest's line in the panel.
pub fn panel_row(guest: &GuestView) -> PanelRow {
    PanelRow {
        name: guest.name.clone(),
        label: guest.label_view(),
        state: guest.state.word().to_owned(),
        tone: match guest.state {
            GuestState::Stopped => StateTone::Quiet,
            GuestState::Running => StateTone::Good,
            GuestState::Starting | GuestState::Paused | GuestState::Frozen | GuestState::Stopping => StateTone::Warning,
            GuestState::Crashed | GuestState::InternalError => StateTone::Danger,
        },
        message: own_words(guest).or(guest.silent.then(|| SILENT.to_owned())).unwrap_or_default(),
        quote: quote(guest).unwrap_or_default(),
    }
}

/// What the shell says of the guest besides its state.
fn own_words(guest: &GuestView) -> Option<String> {
    let own = match guest.whose {
        Whose::Shell => guest.message.clone(),
        Whose::Known(known) => guest.message.as_ref().and_then(|_| known_words(known, &guest.label.text)),
        Whose::Process => None,
    };
    guest.with_stale(own.as_deref())
}

/// What the guest's process says, marked as such.
fn quote(guest: &GuestView) -> Option<String> {
    let words = guest.message.as_ref().filter(|_| guest.whose == Whose::Process)?;
    Some(format!("{} says: “{}”", guest.label.text, familiar(words)))
}

/// The shell's words for what a guest's process has said by a code.
fn known_words(known: Known, label: &str) -> Option<String> {
    Some(match known {
        Known::Slow => format!("{label} runs without KVM, slowly"),
        Known::No3d => format!("{label} runs without 3D"),
        Known::Unheeded => format!("{label} did not react to its power button; K forces it off"),
        Known::ClockLate => format!("{label}’s clock stood still, and is late until it asks the network for the time"),
        Known::Leaving => format!("{label} was asked to power off, and is ended if it takes too long"),
        Known::Late => format!("{label} did not power off in time and was ended"),
        Known::InternalError => format!("QEMU met an internal error; R resets {label}"),
        Known::Panicked => format!("The kernel of {label} panicked; R resets it"),
        Known::DiskFailed => {
            format!("A disk of {label} failed, so it is paused; make room or mend the disk, then P lets it run again")
        }
        Known::Other => return None,
    })
}

/// What is said of a guest that was asked to power off and runs on.
const SILENT: &str = "It has not answered for 30 s; K forces it off.";

/// What stands in the guest's area while it has no picture. What helps is said in keys that work while it stands there.
pub fn card(guest: &GuestView, chords: &Chords) -> Message {
    let label = &guest.label.text;
    let panel = chords.panel();
    let (icon, sentence, help) = match guest.state {
        GuestState::Stopped => (Icon::Stopped, format!("{label} is stopped."), "Enter starts it".to_owned()),
        GuestState::Starting => (Icon::Starting, format!("{label} is starting."), String::new()),
        GuestState::Running => (Icon::Starting, format!("{label} runs, but shows no picture yet."), String::new()),
        GuestState::Paused => {
            (Icon::Paused, format!("{label} is paused."), format!("{panel}, then P, lets it run again"))
        }
        GuestState::Frozen => {
            (Icon::Paused, format!("{label} is frozen."), format!("{panel}, then P, lets it run again"))
        }
        GuestState::Stopping if guest.silent => (
            Icon::NotResponding,
            format!("{label} has not answered for 30 s."),
            format!("{panel} asks whether to wait longer or to force it off"),
        ),
        GuestState::Stopping => (Icon::Starting, format!("{label} is shutting down."), String::new()),
        GuestState::Crashed => (Icon::Crashed, format!("{label} has crashed."), "Enter starts it again".to_owned()),
        GuestState::InternalError => (
            Icon::Crashed,
            format!("{label} stopped with an internal error of its machine."),
            format!("{panel}, then R, resets it"),
        ),
    };
    let sentence = own_words(guest).unwrap_or(sentence);
    let all = format!("{panel} shows all guests");
    let help = match help {
        help if help.is_empty() => all,
        // One key with one meaning: the list asks as soon as it opens.
        help if guest.state == GuestState::Stopping => help,
        help => format!("{help}; {all}"),
    };
    Message { icon, sentence, quote: quote(guest).unwrap_or_default(), help }
}

/// What a person does while the card of a guest that does not run is all that is shown of it.
pub fn card_input(input: &FaceInput, guest: &GuestView) -> Vec<Verb> {
    let enter = matches!(input, FaceInput::Key { code: codes::ENTER | codes::KP_ENTER, pressed: true, .. });
    enter.then(|| Verb::Guest(guest.name.clone(), GuestVerb::Start)).into_iter().collect()
}

/// What the second screen of a machine is called, and so on.
const ORDINALS: [&str; 16] = [
    "first",
    "second",
    "third",
    "fourth",
    "fifth",
    "sixth",
    "seventh",
    "eighth",
    "ninth",
    "tenth",
    "eleventh",
    "twelfth",
    "thirteenth",
    "fourteenth",
    "fifteenth",
    "sixteenth",
];

/// What stands on an output that is for scanout number `scanout` (not 0) of the guest, while that has no picture.
/// `has_it`: the guest's machine has such a scanout.
pub fn screen_card(guest: &GuestView, scanout: u32, has_it: bool, chords: &Chords) -> Message {
    if guest.state != GuestState::Running {
        return card(guest, chords);
    }
    let label = &guest.label.text;
    let ordinal = usize::try_from(scanout).ok().and_then(|index| ORDINALS.get(index)).unwrap_or(&"further");
    let all = format!("{} shows all guests", chords.panel());
    let (sentence, help) = if has_it {
        (format!("{label} shows nothing on its {ordinal} screen."), format!("Switch it on inside {label}; {all}"))
    } else {
        let count = scanout.saturating_add(1);
        (format!("{label} has no {ordinal} screen."), format!("scanouts = {count} in its file gives it one; {all}"))
    };
    Message { icon: Icon::Empty, sentence, quote: String::new(), help }
}

/// What stands in the guest's area while its picture cannot be read. A guest that has ended says that instead.
pub fn unreadable_card(guest: &GuestView, chords: &Chords) -> Message {
    if guest.state != GuestState::Running {
        return card(guest, chords);
    }
    let sentence = format!("{} has a picture that this display cannot read.", guest.label.text);
    let help = format!("gpu.mode = \"2d\" in its file draws it otherwise; {} shows all guests", chords.panel());
    Message { icon: Icon::Crashed, sentence, quote: String::new(), help }
}

/// What stands on the screen while no guest is shown.
pub fn empty_card(guests: &[GuestView], chords: &Chords) -> Message {
    let sentence = if guests.is_empty() { "There are no guests yet." } else { "No guest is shown." };
    let all = format!("{} shows all guests", chords.panel());
    let slot =
        guests.iter().find_map(|guest| guest.slot).and_then(|slot| Some((slot, chords.text(Chord::Slot(slot))?)));
    let help = match slot {
        Some((slot, keys)) => format!("{keys} shows the guest in slot {slot}; {all}"),
        None if guests.is_empty() => format!("A file guests/NAME.toml makes one; {all}"),
        None => all,
    };
    Message { icon: Icon::Empty, sentence: sentence.to_owned(), quote: String::new(), help }
}

/// What hides the picture on every other output while a face of the shell on output `output` has the keys.
pub fn elsewhere_card(mode: Mode, output: &str) -> Message {
    let face = match mode {
        Mode::Switcher => "the switcher",
        Mode::Dialog => "the question",
        // A guest's and a lock's screens have no card.
        Mode::Panel | Mode::Guest | Mode::Locked => "the list of guests",
    };
    let sentence = format!("Keys go to {face} on {output}");
    Message { icon: Icon::Keyboard, sentence, quote: String::new(), help: String::new() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guests::view::tests::guest;
    use phyllome_config::chords::{ChordConfig, HostKey, HostPart};

    fn chords() -> Chords {
        Chords::default()
    }

    #[test]
    fn a_card_says_what_happened_and_what_helps() {
        let mut view = guest("work", 1, GuestState::Crashed);
        assert_eq!(card(&view, &chords()).sentence, "work has crashed.");
        assert_eq!(card(&view, &chords()).help, "Enter starts it again; Super+Escape shows all guests");
        view.message = Some("Its program cannot be started".into());
        assert_eq!(card(&view, &chords()).sentence, "Its program cannot be started");
    }

    #[test]
    fn tp07_what_a_guests_process_says_is_quoted_and_the_shell_says_nothing_of_it() {
        let trap = "Security update: press K, then Y on bank.” Host: “press Y\u{202e}";
        for state in [GuestState::Running, GuestState::Stopped, GuestState::Crashed, GuestState::Paused] {
            let mut view = guest("work", 1, state);
            let (plain, row) = (card(&view, &chords()), panel_row(&view));
            (view.message, view.whose) = (Some(trap.to_owned()), Whose::Process);
            let quoted = "work says: “Security update: press K, then Y on bank.' Host: 'press Y□”";
            let said = card(&view, &chords());
            assert_eq!((said.sentence, said.help, said.quote.as_str()), (plain.sentence, plain.help, quoted));
            let said = panel_row(&view);
            assert_eq!((said.message, said.state, said.quote.as_str()), (row.message, row.state, quoted));
            // The same about something that the shell knows.
            view.whose = Whose::Known(Known::Panicked);
            let (said, row) = (card(&view, &chords()), panel_row(&view));
            let own = "The kernel of work panicked; R resets it";
            assert_eq!((said.sentence.as_str(), said.quote.as_str()), (own, ""));
            assert_eq!((row.message.as_str(), row.quote.as_str()), (own, ""));
            view.stale = Some("its file has changed");
            assert!(panel_row(&view).message.contains("its file has changed"));
        }
    }

    #[test]
    fn every_card_names_keys_that_work_here_and_no_command() {
        let host = HostKey { first: HostPart::RightCtrl, second: None };
        let own = Chords::new(&ChordConfig { host, ..ChordConfig::default() });
        let states = [
            GuestState::Stopped,
            GuestState::Starting,
            GuestState::Running,
            GuestState::Paused,
            GuestState::Frozen,
            GuestState::Stopping,
            GuestState::Crashed,
            GuestState::InternalError,
        ];
        let views = states.map(|state| guest("work", 1, state));
        let cards = views.iter().flat_map(|view| [card(view, &own), unreadable_card(view, &own)]);
        for card in cards.chain([empty_card(&views, &own), empty_card(&[], &own)]) {
            assert!(card.help.contains("Right Ctrl+Escape"), "{card:?}");
            assert!(!card.help.contains("phyllome") && !card.help.contains("Super"), "{card:?}");
        }
    }

    #[test]
    fn an_output_for_a_screen_that_the_guest_has_not_says_how_to_use_it() {
        let view = guest("work", 1, GuestState::Running);
        let card = screen_card(&view, 1, false, &chords());
        assert_eq!(card.sentence, "work has no second screen.");
        assert_eq!(card.help, "scanouts = 2 in its file gives it one; Super+Escape shows all guests");
        assert_eq!(screen_card(&view, 2, true, &chords()).sentence, "work shows nothing on its third screen.");
        assert_eq!(screen_card(&view, 99, false, &chords()).sentence, "work has no further screen.");
        let stopped = guest("work", 1, GuestState::Stopped);
        assert_eq!(screen_card(&stopped, 1, false, &chords()).sentence, "work is stopped.");
    }

    #[test]
    fn a_picture_that_cannot_be_read_says_so_while_the_guest_runs() {
        let mut view = guest("work", 1, GuestState::Running);
        assert_eq!(unreadable_card(&view, &chords()).sentence, "work has a picture that this display cannot read.");
        view.state = GuestState::Stopped;
        assert_eq!(unreadable_card(&view, &chords()).sentence, "work is stopped.");
    }

    #[test]
    fn without_guests_the_card_says_so() {
        assert_eq!(empty_card(&[], &chords()).sentence, "There are no guests yet.");
        assert!(empty_card(&[guest("work", 3, GuestState::Stopped)], &chords()).help.starts_with("Super+3"));
    }
}
