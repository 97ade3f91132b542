//! What stands for a guest where its picture is not: the card in its area, its line in the panel, its tile in the
//! switcher, its marks.
//!
//! Pure: a guest's state in, words out. Sentences come from the host's own definitions and from reports that were made
//! printable.

pub(in crate::faces) mod view;

use crate::faces::FaceInput;
use crate::faces::panel::{PanelRow, StateTone};
use crate::guests::GuestView;
use phyllome_protocol::GuestVerb;
use phyllome_protocol::status::{GuestState, Mode};
use phyllome_trusted::chords::{Chord, Chords};
use phyllome_trusted::codes;
use phyllome_trusted::frame::Mark;
use phyllome_trusted::gate::Verb;

/// The quiet marks in the bar. `awake`: displays stay on without input.
pub fn marks(guest: &GuestView, awake: bool) -> Vec<Mark> {
    let mut marks = match guest.state {
        GuestState::Paused => vec![Mark::Paused],
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
            GuestState::Starting | GuestState::Paused | GuestState::Stopping => StateTone::Warning,
            GuestState::Crashed | GuestState::InternalError => StateTone::Danger,
        },
        message: guest.message.clone().or(guest.silent.then(|| SILENT.to_owned())).unwrap_or_default(),
    }
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
    let sentence = guest.message.clone().unwrap_or(sentence);
    let all = format!("{panel} shows all guests");
    let help = match help {
        help if help.is_empty() => all,
        // One key with one meaning: the list asks as soon as it opens.
        help if guest.state == GuestState::Stopping => help,
        help => format!("{help}; {all}"),
    };
    Message { icon, sentence, help }
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
    Message { icon: Icon::Empty, sentence, help }
}

/// What stands in the guest's area while its picture cannot be read. A guest that has ended says that instead.
pub fn unreadable_card(guest: &GuestView, chords: &Chords) -> Message {
    if guest.state != GuestState::Running {
        return card(guest, chords);
    }
    let sentence = format!("{} has a picture that this display cannot read.", guest.label.text);
    let help = format!("gpu.mode = \"2d\" in its file draws it otherwise; {} shows all guests", chords.panel());
    Message { icon: Icon::Crashed, sentence, help }
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
    Message { icon: Icon::Empty, sentence: sentence.to_owned(), help }
}

/// What hides the picture on every other output while a face of the shell on output `output` has the keys.
pub fn elsewhere_card(mode: Mode, output: &str) -> Message {
    let face = match mode {
        Mode::Switcher => "the switcher",
        Mode::Dialog => "the question",
        // A guest's and a lock's screens have no card.
        Mode::Panel | Mode::Guest | Mode::Locked => "the list of guests",
    };
    Message { icon: Icon::Keyboard, sentence: format!("Keys go to {face} on {output}"), help: String::new() }
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
        view.message = Some("The disk work.qcow2 does not exist.".into());
        assert_eq!(card(&view, &chords()).sentence, "The disk work.qcow2 does not exist.");
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
