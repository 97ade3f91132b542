//! What the person's actions do, and what guests cannot do.

use super::*;
use crate::guests::view::tests::guest;
use phyllome_protocol::Slot;
use phyllome_protocol::status::GuestState::{self, *};
use phyllome_trusted::codes;

fn shell(states: &[GuestState]) -> Shell {
    let mut shell = Shell::new();
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

fn slot(number: i64) -> Action {
    Action::Chord(Chord::Slot(Slot::new(number).unwrap()))
}

fn shown(shell: &Shell) -> Option<String> {
    shell.shown().map(|guest| guest.name.to_string())
}

#[test]
fn a_slot_shows_its_guest_and_flashes_its_label() {
    let (mut shell, now) = (shell(&[Running, Running]), Instant::now());
    assert_eq!(shell.apply(slot(2), now), [Effect::RedrawAt(now + FLASH)]);
    assert_eq!(shown(&shell).as_deref(), Some("play"));
    assert_eq!(shell.keyboard_owner(), Some(name("play")));
    assert!(shell.flash(now + FLASH - Duration::from_millis(1)).is_some());
    assert!(shell.flash(now + FLASH).is_none());
}

#[test]
fn an_empty_slot_changes_nothing() {
    let (mut shell, now) = (shell(&[Running]), Instant::now());
    shell.apply(slot(1), now);
    assert_eq!(shell.apply(slot(7), now), []);
    assert_eq!(shown(&shell).as_deref(), Some("work"));
}

#[test]
fn the_switcher_goes_round_the_guests_that_run_and_the_release_of_super_chooses() {
    let (mut shell, now) = (shell(&[Running, Stopped, Paused]), Instant::now());
    shell.apply(slot(1), now);
    shell.apply(Action::Chord(Chord::Next), now);
    let view = shell.switcher().unwrap();
    assert_eq!(view.entries.len(), 2);
    assert_eq!((shell.mode(), view.selected, shell.keyboard_owner()), (Mode::Switcher, 1, None));
    assert_eq!(shown(&shell).as_deref(), Some("work"), "nothing is shown before Super is released");
    shell.apply(Action::Chord(Chord::Chosen), now);
    assert_eq!((shown(&shell).as_deref(), shell.mode()), (Some("bank"), Mode::Guest));
    for chord in [Chord::Next, Chord::Previous, Chord::Previous, Chord::Chosen] {
        shell.apply(Action::Chord(chord), now);
    }
    assert_eq!(shown(&shell).as_deref(), Some("work"));
}

#[test]
fn the_switcher_does_not_open_where_nothing_runs() {
    let (mut shell, now) = (shell(&[Stopped, Crashed]), Instant::now());
    shell.apply(Action::Chord(Chord::Previous), now);
    assert_eq!(shell.mode(), Mode::Guest);
}

#[test]
fn the_panel_chord_works_in_the_switcher_and_a_second_one_goes_back() {
    let (mut shell, now) = (shell(&[Running, Running]), Instant::now());
    shell.apply(slot(1), now);
    shell.apply(Action::Chord(Chord::Next), now);
    shell.apply(Action::Chord(Chord::Panel), now);
    assert_eq!(shell.mode(), Mode::Panel);
    shell.apply(Action::Chord(Chord::Chosen), now);
    assert_eq!((shell.mode(), shown(&shell).as_deref()), (Mode::Panel, Some("work")));
    shell.apply(Action::Chord(Chord::Panel), now);
    assert_eq!((shell.mode(), shell.keyboard_owner()), (Mode::Guest, Some(name("work"))));
}

#[test]
fn tp11_nothing_that_guests_do_moves_the_focus() {
    let now = Instant::now();
    for before in [Running, Stopped] {
        let mut shell = shell(&[before, Stopped]);
        shell.apply(Action::Show(name("work")), now);
        for state in [Starting, Running, Paused, Stopping, Crashed, InternalError, Stopped] {
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
    shell.apply(Action::Started(name("play")), now);
    shell.apply(Action::Started(name("work")), now);
    assert_eq!(shown(&shell).as_deref(), Some("play"));
}

#[test]
fn enter_in_the_panel_starts_a_guest_and_shows_it() {
    let (mut shell, now) = (shell(&[Running, Stopped]), Instant::now());
    shell.apply(slot(1), now);
    shell.apply(Action::ShowPanel(true), now);
    shell.apply(Action::PanelKey(codes::DOWN), now);
    let effects = shell.apply(Action::PanelKey(codes::ENTER), now);
    assert_eq!(effects.first(), Some(&Effect::Guest(name("play"), GuestVerb::Start)));
    assert_eq!((shown(&shell).as_deref(), shell.mode()), (Some("play"), Mode::Guest));
}

#[test]
fn what_the_panel_tells_stands_first_until_the_panel_is_closed() {
    let (mut shell, now) = (shell(&[Running]), Instant::now());
    shell.set_guests(guests(&[Running]), vec!["play.toml is wrong".to_owned()]);
    shell.apply(slot(1), now);
    shell.apply(Action::Tell("the shell stopped".to_owned()), now);
    assert_eq!(shell.keyboard_owner(), None);
    assert_eq!(shell.panel().unwrap().problems, ["the shell stopped", "play.toml is wrong"]);
    shell.set_guests(guests(&[Paused]), vec![]);
    assert_eq!(shell.panel().unwrap().problems, ["the shell stopped"]);
    shell.apply(Action::PanelKey(codes::ESC), now);
    assert_eq!((shown(&shell).as_deref(), shell.mode()), (Some("work"), Mode::Guest));
    shell.apply(Action::ShowPanel(true), now);
    assert_eq!(shell.panel().unwrap().problems, [""; 0]);
}

#[test]
fn panel_keys_outside_the_panel_do_nothing() {
    let (mut shell, now) = (shell(&[Running]), Instant::now());
    shell.apply(slot(1), now);
    assert_eq!(shell.apply(Action::PanelKey(codes::S), now), []);
    assert!(shell.panel().is_none());
}

#[test]
fn a_guest_that_is_forgotten_is_no_longer_shown() {
    let (mut shell, now) = (shell(&[Running, Running]), Instant::now());
    shell.apply(slot(2), now);
    shell.set_guests(guests(&[Running]), vec![]);
    assert_eq!((shown(&shell), shell.keyboard_owner()), (None, None));
    shell.apply(Action::Show(name("play")), now);
    assert_eq!(shown(&shell), None);
}
