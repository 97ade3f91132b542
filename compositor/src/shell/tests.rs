//! What the person's actions do, and what guests cannot do.

use super::*;
use crate::faces::panel::PanelView;
use crate::guests::view::tests::guest;
use phyllome_protocol::GuestVerb;
use phyllome_protocol::status::GuestState::{self, *};
use phyllome_trusted::codes;
use phyllome_trusted::deaf::DEAF;
use phyllome_trusted::gate::Verb;
use phyllome_trusted::held::DeviceId;
use phyllome_trusted::keyboards::Way;
use phyllome_trusted::typed_code::Code;

fn shell(states: &[GuestState]) -> Shell {
    let mut shell = Shell::default();
    shell.set_owners(vec![None]);
    shell.set_guests(guests(states), vec![]);
    shell
}

fn guests(states: &[GuestState]) -> Vec<GuestView> {
    let names = ["work", "play", "bank"];
    (1..).zip(names).zip(states).map(|((slot, name), state)| guest(name, slot, *state)).collect()
}

fn name(text: &str) -> GuestName {
    GuestName::new(text).unwrap()
}

/// Super and this number.
fn slot(shell: &mut Shell, number: i64, now: Instant) -> Option<Instant> {
    let name = shell.in_slot(Slot::new(number).unwrap())?;
    shell.show(&name, now)
}

/// What the panel says below its rows.
fn problems(shell: &Shell) -> Vec<String> {
    let Some(View::Panel(panel)) = shell.view() else { panic!("no panel") };
    panel.problems
}

/// A key is pressed while a face has the keys that the person has seen for long enough; what it wants done.
fn key(shell: &mut Shell, code: u32, now: Instant) -> Vec<Verb> {
    let output = OutputId::unique();
    shell.frame_drawn(output, 0);
    shell.frame_shown(output, now - DEAF);
    key_at_once(shell, code, now)
}

/// The same, whether they have seen what has the keys or not.
fn key_at_once(shell: &mut Shell, code: u32, now: Instant) -> Vec<Verb> {
    let key =
        faces::FaceInput::Key { code, pressed: true, modifiers: faces::Modifiers::default(), text: String::new() };
    shell.input(&key, now).verbs
}

fn shown(shell: &Shell) -> Option<String> {
    shell.shown().map(|guest| guest.name.to_string())
}

#[test]
fn a_slot_shows_its_guest_and_flashes_its_label() {
    let (mut shell, now) = (shell(&[Running, Running]), Instant::now());
    assert_eq!(slot(&mut shell, 2, now), Some(now + FLASH));
    assert_eq!(shown(&shell).as_deref(), Some("play"));
    assert_eq!(shell.keyboard_owner(), Some(name("play")));
    assert!(shell.flash(now + FLASH - Duration::from_millis(1)).is_some());
    assert!(shell.flash(now + FLASH).is_none());
}

#[test]
fn an_empty_slot_changes_nothing() {
    let (mut shell, now) = (shell(&[Running]), Instant::now());
    slot(&mut shell, 1, now);
    assert_eq!(slot(&mut shell, 7, now), None);
    assert_eq!(shown(&shell).as_deref(), Some("work"));
}

#[test]
fn the_switcher_goes_round_the_guests_that_run_and_the_release_of_super_chooses() {
    let (mut shell, now) = (shell(&[Running, Stopped, Paused]), Instant::now());
    slot(&mut shell, 1, now);
    shell.step(true);
    let Some(View::Switcher(view)) = shell.view() else { panic!("no switcher") };
    assert_eq!(view.entries.len(), 2);
    assert_eq!((shell.mode(), view.selected, shell.keyboard_owner()), (Mode::Switcher, 1, None));
    assert_eq!(shown(&shell).as_deref(), Some("work"), "nothing is shown before Super is released");
    shell.choose(now);
    assert_eq!((shown(&shell).as_deref(), shell.mode()), (Some("bank"), Mode::Guest));
    for forward in [true, false, false] {
        shell.step(forward);
    }
    shell.choose(now);
    assert_eq!(shown(&shell).as_deref(), Some("work"));
}

#[test]
fn the_switcher_does_not_open_where_nothing_runs() {
    let mut shell = shell(&[Stopped, Crashed]);
    shell.step(false);
    assert_eq!(shell.mode(), Mode::Guest);
}

#[test]
fn the_panel_chord_works_in_the_switcher_and_a_second_one_goes_back() {
    let (mut shell, now) = (shell(&[Running, Running]), Instant::now());
    slot(&mut shell, 1, now);
    shell.step(true);
    shell.toggle_panel();
    assert_eq!(shell.mode(), Mode::Panel);
    shell.choose(now);
    assert_eq!((shell.mode(), shown(&shell).as_deref()), (Mode::Panel, Some("work")));
    shell.toggle_panel();
    assert_eq!((shell.mode(), shell.keyboard_owner()), (Mode::Guest, Some(name("work"))));
}

#[test]
fn tp11_nothing_that_guests_do_moves_the_focus() {
    let now = Instant::now();
    for before in [Running, Stopped] {
        let mut shell = shell(&[before, Stopped]);
        shell.show(&name("work"), now);
        for state in [Starting, Running, Paused, Frozen, Stopping, Crashed, InternalError, Stopped] {
            for other in [Starting, Running, Crashed] {
                shell.set_guests(guests(&[state, other, Running]), vec![]);
                assert_eq!((shown(&shell).as_deref(), shell.mode()), (Some("work"), Mode::Guest));
                assert_eq!(shell.keyboard_owner().is_some(), state.is_alive());
            }
        }
    }
}

#[test]
fn a_guest_that_is_started_is_shown_only_if_none_is() {
    let (mut shell, now) = (shell(&[Starting, Starting]), Instant::now());
    shell.show_started(&name("play"), now);
    shell.show_started(&name("work"), now);
    assert_eq!(shown(&shell).as_deref(), Some("play"));
}

#[test]
fn enter_in_the_panel_starts_a_guest_and_shows_it() {
    let (mut shell, now) = (shell(&[Running, Stopped]), Instant::now());
    slot(&mut shell, 1, now);
    shell.show_panel(true, None);
    key(&mut shell, codes::DOWN, now);
    let start = Verb::Guest(name("play"), GuestVerb::Start);
    assert_eq!(key(&mut shell, codes::ENTER, now), [Verb::Show(name("play")), start]);
}

#[test]
fn enter_on_the_card_of_a_guest_that_does_not_run_starts_it_and_no_other_key_does_anything() {
    let (mut shell, now) = (shell(&[Running, Stopped]), Instant::now());
    slot(&mut shell, 1, now);
    assert!(!shell.card_has_keys());
    assert_eq!(key(&mut shell, codes::ENTER, now), [], "it is the guest's");
    slot(&mut shell, 2, now);
    assert!(shell.card_has_keys() && !shell.has_keys());
    for code in [codes::Y, codes::K, codes::ESC, codes::DOWN] {
        assert_eq!(key(&mut shell, code, now), [], "{code}");
    }
    assert_eq!(key(&mut shell, codes::ENTER, now), [Verb::Guest(name("play"), GuestVerb::Start)]);
    shell.locked = true;
    assert_eq!(key(&mut shell, codes::ENTER, now), []);
}

#[test]
fn enter_that_was_meant_for_a_guest_that_has_just_ended_starts_nothing() {
    let (mut shell, now) = (shell(&[Stopped]), Instant::now());
    slot(&mut shell, 1, now);
    shell.card_deaf = Some(Deaf::default());
    assert_eq!(key_at_once(&mut shell, codes::ENTER, now + 9 * DEAF), [], "its card is on no display yet");
    let output = OutputId::unique();
    shell.frame_drawn(output, 0);
    shell.frame_shown(output, now);
    assert_eq!(key_at_once(&mut shell, codes::ENTER, now + DEAF - Duration::from_millis(1)), []);
    assert_eq!(key_at_once(&mut shell, codes::ENTER, now + DEAF).len(), 1);
}

#[test]
fn tp12_a_question_counts_its_time_from_the_flip_of_the_frame_that_has_it_and_a_lost_one_is_none() {
    let (mut shell, now) = (shell(&[Running]), Instant::now());
    slot(&mut shell, 1, now);
    shell.show_panel(true, None);
    key(&mut shell, codes::K, now);
    assert_eq!(shell.mode(), Mode::Dialog);
    let late = now + 9 * DEAF;
    let yes = |shell: &mut Shell, at| key_at_once(shell, codes::Y, at);
    let [one, two] = [OutputId::unique(), OutputId::unique()];
    // Frames that were on their way when it was asked, on both displays.
    shell.frame_shown(one, now);
    shell.frame_shown(two, now);
    assert_eq!(yes(&mut shell, late), []);
    // One without it, and one that never comes.
    shell.frame_drawn(two, 1);
    shell.frame_shown(two, now);
    shell.frame_drawn(one, 0);
    assert_eq!(yes(&mut shell, late), []);
    shell.frame_lost(one);
    shell.frame_shown(one, now);
    assert_eq!(yes(&mut shell, late), []);
    shell.frame_drawn(one, 0);
    shell.frame_shown(one, late);
    assert_eq!(yes(&mut shell, late + DEAF - Duration::from_millis(1)), []);
    assert_eq!(yes(&mut shell, late + DEAF), [Verb::Guest(name("work"), GuestVerb::Kill)]);
}

#[test]
fn what_the_panel_tells_stands_first_until_the_panel_is_closed() {
    let (mut shell, now) = (shell(&[Running]), Instant::now());
    shell.set_guests(guests(&[Running]), vec!["play.toml is wrong".to_owned()]);
    slot(&mut shell, 1, now);
    shell.show_panel(true, Some("the shell stopped".to_owned()));
    assert_eq!(shell.keyboard_owner(), None);
    assert_eq!(problems(&shell), ["the shell stopped", "play.toml is wrong"]);
    shell.set_guests(guests(&[Paused]), vec![]);
    assert_eq!(problems(&shell), ["the shell stopped"]);
    assert_eq!(key(&mut shell, codes::ESC, now), [Verb::Panel { show: false }]);
    shell.show_panel(false, None);
    assert_eq!((shown(&shell).as_deref(), shell.mode()), (Some("work"), Mode::Guest));
    shell.show_panel(true, None);
    assert_eq!(problems(&shell), [""; 0]);
}

#[test]
fn panel_keys_outside_the_panel_do_nothing() {
    let (mut shell, now) = (shell(&[Running]), Instant::now());
    slot(&mut shell, 1, now);
    assert_eq!(key(&mut shell, codes::S, now), []);
    assert_eq!(shell.view(), None);
}

#[test]
fn a_guest_that_is_forgotten_is_no_longer_shown() {
    let (mut shell, now) = (shell(&[Running, Running]), Instant::now());
    slot(&mut shell, 2, now);
    shell.set_guests(guests(&[Running]), vec![]);
    assert_eq!((shown(&shell), shell.keyboard_owner()), (None, None));
    shell.show(&name("play"), now);
    assert_eq!(shown(&shell), None);
}

#[test]
fn tp11_a_guest_that_does_not_power_off_takes_no_keys_but_is_said_in_its_bar_and_asked_about_in_the_list() {
    let (mut shell, now) = (shell(&[Running, Running]), Instant::now());
    slot(&mut shell, 1, now);
    let mut silent = guests(&[Running, Stopping]);
    silent[1].silent = true;
    shell.set_guests(silent, vec![]);
    shell.ask_what_waits();
    assert_eq!((shell.mode(), shell.notice(0)), (Mode::Guest, None), "it is not shown");
    slot(&mut shell, 2, now);
    let said = "play has not answered for 30 s. Super+Escape: wait longer or force it off";
    assert_eq!((shell.mode(), shell.notice(0)), (Mode::Guest, Some(Notice::plain(said))));
    shell.toggle_panel();
    shell.ask_what_waits();
    assert_eq!((shell.mode(), shell.notice(0)), (Mode::Dialog, None));
    assert_eq!(key(&mut shell, codes::ENTER, now + FLASH), [Verb::WaitLonger(name("play"))]);
}

#[test]
fn a_guest_that_stands_still_is_said_to_in_its_bar_with_the_keys_that_help() {
    let (mut shell, now) = (shell(&[Running, Paused, InternalError]), Instant::now());
    slot(&mut shell, 1, now);
    assert_eq!(shell.notice(0), None);
    slot(&mut shell, 2, now);
    assert_eq!(shell.notice(0), Some(Notice::plain("play is paused: Super+Escape, then P, resumes it")));
    slot(&mut shell, 3, now);
    assert_eq!(shell.notice(0), Some(Notice::plain("bank has stopped: Super+Escape, then R, resets it")));
    shell.toggle_panel();
    assert_eq!(shell.notice(0), None);
}

#[test]
fn a_letter_is_named_only_where_it_acts_on_the_guest_of_that_display() {
    let (mut shell, now) = (shell(&[Running, Paused, InternalError]), Instant::now());
    slot(&mut shell, 1, now);
    let said = |shell: &Shell| shell.notice(1).map(|notice| notice.text);
    shell.set_owners(vec![None, Some(name("play"))]);
    assert_eq!(said(&shell).as_deref(), Some("play is paused: Super+Escape shows it"));
    shell.set_owners(vec![None, Some(name("bank"))]);
    assert_eq!(said(&shell).as_deref(), Some("bank has stopped: Super+Escape shows it"));
    slot(&mut shell, 3, now);
    assert_eq!(said(&shell).as_deref(), Some("bank has stopped: Super+Escape, then R, resets it"));
    let mut silent = guests(&[Stopping, Paused, InternalError]);
    silent[0].silent = true;
    shell.set_guests(silent, vec![]);
    assert_eq!(said(&shell).as_deref(), Some("bank has stopped: Super+Escape shows it"), "a question comes first");
}

#[test]
fn a_guest_that_does_not_power_off_hides_no_keyboard_that_waits() {
    let (mut shell, now) = (shell(&[Stopping]), Instant::now());
    slot(&mut shell, 1, now);
    let mut silent = guests(&[Stopping]);
    silent[0].silent = true;
    shell.set_guests(silent, vec![]);
    let (device, name) = (DeviceId::ONLY, "Keyboard K120".to_owned());
    shell.set_keyboard(Some(NewKeyboard { device, name, way: Way::Another }));
    let said = "New keyboard “Keyboard K120” types nothing yet. Super+Escape: let it or not";
    assert_eq!(shell.notice(0), Some(Notice::plain(said)));
    shell.toggle_panel();
    shell.ask_what_waits();
    let Some(View::Panel(PanelView { question: Some(question), .. })) = shell.view() else { panic!("no question") };
    assert!(question.contains("K120"), "{question}");
}

#[test]
fn the_list_that_a_code_has_opened_closes_by_itself_and_one_that_was_open_stays() {
    let code = |typed| Some((Way::Code { code: Code::new(481_520), typed }, Mode::Dialog));
    let later = Some((Way::Later { seconds: 2 }, Mode::Dialog));
    for open in [false, true] {
        for last in [None, Some((Way::Never, Mode::Guest))] {
            let (mut shell, now) = (shell(&[Running]), Instant::now());
            slot(&mut shell, 1, now);
            shell.show_panel(open, None);
            for step in [code(0), code(3), later, code(0), Some((Way::Another, Mode::Guest)), last] {
                let keyboard = |(way, _)| NewKeyboard { device: DeviceId::ONLY, name: "K120".to_owned(), way };
                shell.set_keyboard(step.map(keyboard));
                shell.ask_what_waits();
                let mode = step.map_or(Mode::Guest, |(_, mode)| mode);
                let asked = matches!(step, Some((Way::Another, _)));
                let open_as_before = if asked { Mode::Dialog } else { Mode::Panel };
                assert_eq!(shell.mode(), if open && mode == Mode::Guest { open_as_before } else { mode }, "{step:?}");
            }
        }
    }
}

#[test]
fn a_wait_that_begins_while_a_guest_has_the_keys_takes_them_from_nobody() {
    let (mut shell, now) = (shell(&[Running]), Instant::now());
    slot(&mut shell, 1, now);
    for way in [Way::Later { seconds: 64 }, Way::Another, Way::Never] {
        shell.set_keyboard(Some(NewKeyboard { device: DeviceId::ONLY, name: "K120".to_owned(), way }));
        shell.ask_what_waits();
        assert_eq!(shell.mode(), Mode::Guest, "{way:?}");
        assert!(shell.notice(0).is_some_and(|notice| notice.text.contains("K120")), "{way:?}");
    }
}
