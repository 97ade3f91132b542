//! Every sentence that stands on the screen, as docs/messages.md lists it: put together by the code that shows it.
//!
//! With `PHYLLOME_WRITE_MESSAGES` set, which `cargo xtask messages` does, its part of that list is written anew. That no
//! sentence is forgotten here is a test of xtask's: it holds the list against the strings of the sources.

use super::Shell;
use crate::faces::dialog::Dialog;
use crate::faces::guest::{Message, card, elsewhere_card, empty_card, panel_row, screen_card, unreadable_card};
use crate::faces::panel::words;
use crate::guests::GuestView;
use crate::guests::said::Whose;
use crate::guests::view::tests::guest;
use crate::host::{keys, notice, power};
use phyllome_config::chords::{ChordConfig, HostKey, HostPart};
use phyllome_protocol::GuestVerb;
use phyllome_protocol::control::Known;
use phyllome_protocol::status::{GuestState, Mode};
use phyllome_trusted::chords::Chords;
use phyllome_trusted::held::DeviceId;
use phyllome_trusted::keyboards::{NewKeyboard, Way};
use phyllome_trusted::typed_code::Code;
use std::fmt::Write;
use std::path::Path;
use std::time::Instant;

const BEGIN: &str = "<!-- as compositor/src/shell/messages.rs writes it -->\n";
const END: &str = "<!-- and from here on cargo xtask messages -->\n";
const STATES: [GuestState; 8] = [
    GuestState::Stopped,
    GuestState::Starting,
    GuestState::Running,
    GuestState::Paused,
    GuestState::Frozen,
    GuestState::Stopping,
    GuestState::Crashed,
    GuestState::InternalError,
];

/// The place of one: its digits are in no sentence.
const CODE: Way = Way::Code { code: Code::ZERO, typed: 0 };

/// Lines that name no key and no file, and why.
const QUIET: &[(&str, &str)] = &[
    ("Keys go to the list of guests on DP-1", "keys are named there"),
    ("Keys go to the switcher on DP-1", "it is there for as long as its keys are held"),
    ("Keys go to the question on DP-1", "keys are named there"),
    ("New keyboard “Keyboard K120” types nothing yet: press a key on it to see its code", "any key does"),
    ("New keyboard “Keyboard K120” types nothing yet: wait 8 s for its code", "it comes by itself"),
    ("Keyboard “Keyboard K120” types nothing: plug it in again to type", "what helps is not on the keyboard"),
    ("Battery at 15 %", "it is a notice"),
    ("Battery at 5 %: plug it in now", "what helps is not on the keyboard"),
    ("Battery at 3 %: the computer goes to sleep. Plug it in", "what helps is not on the keyboard"),
    ("Battery at 3 %: guests are shut down. Plug it in", "what helps is not on the keyboard"),
    ("Battery at 3 %: plug it in now", "what helps is not on the keyboard"),
    ("The disk is nearly full: 300 MiB are left; make room", "what helps is in a guest, or on another console"),
    ("45 %", "it is what a key did"),
    ("Sound off", "it is what a key did"),
    ("Microphone off", "it is what a key did"),
    ("Microphone on", "it is what a key did"),
    ("50 %", "it is what a key did"),
    ("Wi-Fi on, Bluetooth off, Mobile network off", "it is what a key did"),
    ("The computer goes to sleep. Its power button wakes it up", "what helps is not on the keyboard"),
    ("The computer shuts down or restarts; guests are asked to power off", "it is done"),
];

/// What a guest's process can say by a code, and what it can say besides.
const KNOWN: &[Known] = &[
    Known::Slow,
    Known::No3d,
    Known::Unheeded,
    Known::ClockLate,
    Known::Leaving,
    Known::Late,
    Known::InternalError,
    Known::Panicked,
    Known::DiskFailed,
    Known::Other,
];

fn work(state: GuestState) -> GuestView {
    let mut view = guest("work", 1, state);
    view.label.text = "Work".to_owned();
    view
}

fn silent() -> GuestView {
    GuestView { silent: true, ..work(GuestState::Stopping) }
}

fn k120(way: Way) -> NewKeyboard {
    NewKeyboard { device: DeviceId::ONLY, name: "Keyboard K120".to_owned(), way }
}

/// When a card is shown, and the card.
fn cards(chords: &Chords) -> Vec<(String, Message)> {
    // A state that is added has no card here before it is in both.
    let when = |state| match state {
        GuestState::Stopped
        | GuestState::Starting
        | GuestState::Running
        | GuestState::Paused
        | GuestState::Frozen
        | GuestState::Stopping
        | GuestState::Crashed => format!("the guest is {state:?}").to_lowercase(),
        GuestState::InternalError => "QEMU says that it cannot go on".to_owned(),
    };
    let mut cards: Vec<_> = STATES.iter().map(|state| (when(*state), card(&work(*state), chords))).collect();
    let running = work(GuestState::Running);
    let without_slot = GuestView { slot: None, ..running.clone() };
    cards.extend(
        [
            ("it was asked to power off 30 s ago", card(&silent(), chords)),
            ("a display is for its second screen, which is dark", screen_card(&running, 1, true, chords)),
            ("a display is for its second screen, and it has one", screen_card(&running, 1, false, chords)),
            ("its picture is in a format that cannot be drawn", unreadable_card(&running, chords)),
            ("nothing is shown", empty_card(&[running], chords)),
            ("nothing is shown, and no guest has a slot", empty_card(&[without_slot], chords)),
            ("there is no guest", empty_card(&[], chords)),
            ("the list of guests is open on another display", elsewhere_card(Mode::Panel, "DP-1")),
            ("the switcher is open on another display", elsewhere_card(Mode::Switcher, "DP-1")),
            ("something is asked on another display", elsewhere_card(Mode::Dialog, "DP-1")),
        ]
        .map(|(when, card)| (when.to_owned(), card)),
    );
    cards
}

/// When a line is in the bar, and the line.
fn bar(chords: &Chords) -> Vec<(&'static str, String)> {
    let shell = |guest: GuestView| {
        let mut shell = Shell::new(chords.clone());
        shell.set_owners(vec![None]);
        shell.set_guests(vec![guest.clone()], Vec::new());
        shell.show(&guest.name, Instant::now());
        shell
    };
    let of_keyboard = |(when, way)| {
        let mut shell = shell(work(GuestState::Running));
        shell.set_keyboard(Some(k120(way)));
        // A code opens the list, which a tool can close.
        shell.show_panel(false, None);
        (when, shell.notice(0).unwrap().text)
    };
    let mut lines = vec![
        ("the guest that is shown was asked to power off 30 s ago", shell(silent()).notice(0).unwrap().text),
        of_keyboard(("a keyboard was plugged in and a key pressed on it", Way::Another)),
    ];
    lines.extend(
        [
            ("the same, and there is no other, and its code was hidden", CODE),
            ("the same, soon after codes that were not typed", Way::Later { seconds: 8 }),
            ("the same, after it was refused", Way::Never),
        ]
        .map(of_keyboard),
    );
    // What a state says of itself, whichever has something to say.
    let of_state = STATES.iter().filter_map(|state| shell(work(*state)).notice(0));
    lines.extend(of_state.map(|notice| ("the guest that is shown stands still, with its last picture", notice.text)));
    // The same on a display of its own, while another guest is in front.
    let beside = |guest: GuestView| {
        let mut shell = Shell::new(chords.clone());
        shell.set_owners(vec![None, Some(guest.name.clone())]);
        shell.set_guests(vec![guest], Vec::new());
        shell
    };
    let of_state = STATES.iter().filter_map(|state| beside(work(*state)).notice(1));
    lines.extend(of_state.map(|notice| ("the same on another display, while the keys go elsewhere", notice.text)));
    let of_computer = power::notices().into_iter().chain(keys::said()).chain(notice::said(&chords.panel()));
    lines.extend(of_computer.map(|(when, notice)| (when, notice.text)));
    lines
}

/// When something is asked in the list of guests, and the question.
fn questions() -> Vec<(String, String)> {
    let running = work(GuestState::Running);
    let asked = |dialog: Dialog| dialog.text(&[silent()]);
    let verbs = GuestVerb::ALL.iter().filter_map(|verb| {
        let question = asked(Dialog::new(running.name.clone(), *verb))?;
        Some((format!("before a guest is told to {}", verb.word()), question))
    });
    let others = [
        ("a guest was asked to power off 30 s ago", asked(Dialog::of_silent(running.name.clone()))),
        ("a new keyboard waits", Dialog::of_keyboard(k120(Way::Another)).and_then(asked)),
        (
            "a new keyboard waits, there is no other, and six digits are shown",
            Dialog::of_keyboard(k120(CODE)).and_then(asked),
        ),
        ("other digits were typed on it", Dialog::of_keyboard(k120(Way::Later { seconds: 8 })).and_then(asked)),
    ];
    verbs.chain(others.into_iter().filter_map(|(when, text)| Some((when.to_owned(), text?)))).collect()
}

/// The texts of the surfaces' own descriptions.
fn of_surfaces() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../ui-assets");
    let mut texts = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|ending| ending == "slint") {
            let source = std::fs::read_to_string(path).unwrap();
            let strings = source.lines().filter_map(|line| line.trim().strip_prefix("text: \"")?.split_once('"'));
            texts.extend(strings.map(|(text, _)| text.to_owned()).filter(|text| text.contains(' ')));
        }
    }
    texts.sort();
    texts
}

/// This part of the list.
fn list(chords: &Chords) -> String {
    let mut text = "\n### Cards\n\n| when | sentence | below it |\n|---|---|---|\n".to_owned();
    for (when, card) in cards(chords) {
        writeln!(text, "| {when} | {} | {} |", card.sentence, card.help).unwrap();
    }
    text.push_str("\n### Lines in the bar\n\n| when | line | no key, because |\n|---|---|---|\n");
    for (when, line) in bar(chords) {
        let reason = QUIET.iter().find(|(quiet, _)| *quiet == line).map_or("", |(_, reason)| reason);
        writeln!(text, "| {when} | {line} | {reason} |").unwrap();
    }
    text.push_str("\n### Questions\n\n| when | question |\n|---|---|\n");
    for (when, question) in questions() {
        writeln!(text, "| {when} | {question} |").unwrap();
    }
    text.push_str("\n### The list of guests\n\n| where | words |\n|---|---|\n");
    writeln!(
        text,
        "| in the line of a guest that was asked to power off 30 s ago | {} |",
        panel_row(&silent()).message
    )
    .unwrap();
    for known in KNOWN {
        let view =
            GuestView { message: Some("…".to_owned()), whose: Whose::of(Some(*known)), ..work(GuestState::Running) };
        let row = panel_row(&view);
        let line = if row.quote.is_empty() { row.message } else { row.quote };
        writeln!(text, "| in the line of a guest and on its card, where its process says “{known:?}” | {line} |")
            .unwrap();
    }
    for (place, words) in words() {
        writeln!(text, "| {place} | {words} |").unwrap();
    }
    for words in of_surfaces() {
        writeln!(text, "| without guests | {words} |").unwrap();
    }
    text.push('\n');
    text
}

#[test]
fn messages_of_the_screen_are_those_that_docs_list() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/messages.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(BEGIN).expect("docs/messages.md has the line where this part begins");
    let (said, after) = rest.split_once(END).expect("docs/messages.md has the line where this part ends");
    let wanted = list(&Chords::default());
    if std::env::var_os("PHYLLOME_WRITE_MESSAGES").is_some() {
        std::fs::write(path, format!("{before}{BEGIN}{wanted}{END}{after}")).unwrap();
    } else {
        assert_eq!(said, wanted, "docs/messages.md is old; write it anew with cargo xtask messages");
    }
}

#[test]
fn messages_of_the_screen_name_keys_that_are_set_or_a_file_and_no_command() {
    let host = HostKey { first: HostPart::RightCtrl, second: None };
    let own = Chords::new(&ChordConfig { host, ..ChordConfig::default() });
    let cards = cards(&own).into_iter().map(|(_, card)| format!("{} {}", card.sentence, card.help).trim().to_owned());
    let bar = bar(&own).into_iter().map(|(_, line)| line);
    let questions = questions().into_iter().map(|(_, question)| question);
    let names_a_key = |text: &str| {
        let answers = text.contains(" Y ") || text.contains(" digits ");
        text.contains("Right Ctrl+Escape") || (answers && text.contains(" Esc ")) || text.contains("; K ")
    };
    for text in cards.chain(bar).chain(questions).chain([panel_row(&silent()).message]) {
        let quiet = QUIET.iter().any(|(quiet, _)| *quiet == text);
        assert!(quiet != names_a_key(&text), "{text}");
        assert!(!text.contains("Super") && !text.contains("phyllome "), "{text}");
    }
}
