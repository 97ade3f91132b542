//! Keys reach exactly one guest, and a switch tells neither guest anything of the other's keys.

use super::client::{Client, Keyboard};
use super::fixture::{Fixture, guest, name};
use super::show::shown;
use crate::outputs::RendererKind;
use phyllome_config::ShellConfig;
use phyllome_config::guest::LabelColor;
use phyllome_protocol::control::Leds;
use phyllome_protocol::status::{GuestState, Mode};
use phyllome_trusted::codes;

const GREEN: u32 = 0x00_ff_00;
const A: u32 = 30;
const LEFT_SHIFT: u32 = 42;
const CAPS_LOCK: u32 = 58;
const DOWN: u32 = 108;

/// Both guests with a scanout and a keyboard, red shown.
fn two_typists(shell: &mut Fixture) -> (Client, Client) {
    let (mut red, _w1, _p1) = shown!(shell, "red", GREEN);
    let (mut blue, _w2, _p2) = shown!(shell, "blue", GREEN);
    for client in [&mut red, &mut blue] {
        client.seat().get_keyboard(&client.handle, ());
        shell.roundtrip(client);
    }
    (red, blue)
}

fn hear(shell: &mut Fixture, clients: [&mut Client; 2]) {
    for client in clients {
        shell.roundtrip(client);
    }
}

#[test]
fn tp14_keys_reach_the_shown_guest_and_no_other() {
    let mut shell = Fixture::new();
    let (mut red, mut blue) = two_typists(&mut shell);
    shell.state.forward_key(A, true, 1);
    shell.state.forward_key(A, false, 2);
    hear(&mut shell, [&mut red, &mut blue]);
    assert_eq!(red.events.keyboard.iter().filter(|e| matches!(e, Keyboard::Key(..))).count(), 2);
    assert_eq!(red.events.keyboard.first(), Some(&Keyboard::Enter(Vec::new())));
    assert_eq!(blue.events.keyboard, []);
}

#[test]
fn tp10_a_switch_leaves_the_old_guest_and_enters_the_new_one_without_a_key() {
    let mut shell = Fixture::new();
    let (mut red, mut blue) = two_typists(&mut shell);
    shell.state.forward_key(LEFT_SHIFT, true, 1);
    shell.state.forward_key(A, true, 2);
    shell.show("blue");
    hear(&mut shell, [&mut red, &mut blue]);
    assert_eq!(red.events.keyboard.last(), Some(&Keyboard::Leave));
    assert_eq!(blue.events.keyboard, [Keyboard::Enter(Vec::new()), Keyboard::Modifiers(0, 0, 0)]);
    // What was pressed before is released now: neither hears of it.
    shell.state.forward_key(A, false, 3);
    shell.state.forward_key(LEFT_SHIFT, false, 4);
    hear(&mut shell, [&mut red, &mut blue]);
    assert_eq!(red.events.keyboard.last(), Some(&Keyboard::Leave));
    assert_eq!(blue.events.keyboard.len(), 2);
    // And back: again without keys, with modifiers that are true.
    shell.show("red");
    hear(&mut shell, [&mut red, &mut blue]);
    let tail: Vec<_> = red.events.keyboard.iter().rev().take(2).cloned().collect();
    assert_eq!(tail, [Keyboard::Modifiers(0, 0, 0), Keyboard::Enter(Vec::new())]);
}

#[test]
fn tp10_what_is_locked_for_one_guest_is_nothing_to_the_next_nor_to_the_shell() {
    let mut shell = Fixture::new();
    let (mut red, mut blue) = two_typists(&mut shell);
    shell.state.forward_key(CAPS_LOCK, true, 1);
    shell.state.forward_key(CAPS_LOCK, false, 2);
    shell.show("blue");
    hear(&mut shell, [&mut red, &mut blue]);
    assert_eq!(red.events.keyboard.iter().rev().nth(1), Some(&Keyboard::Modifiers(0, 0, 2)), "it was locked");
    assert_eq!(blue.events.keyboard, [Keyboard::Enter(Vec::new()), Keyboard::Modifiers(0, 0, 0)]);
    shell.state.forward_key(CAPS_LOCK, true, 3);
    shell.state.forward_key(CAPS_LOCK, false, 4);
    shell.panel(true);
    assert_eq!(shell.state.type_key(A, true, []).1, "a");
    assert_eq!(shell.state.lights(), Leds::default());
}

#[test]
fn tp12_on_a_german_keyboard_the_key_with_a_y_on_it_is_yes_and_the_one_with_a_z_is_not() {
    let mut config = ShellConfig::default();
    config.keyboard.layout = Some("de".to_owned());
    let mut shell = Fixture::with_settings(&[(1280, 800)], RendererKind::Pixman, &config).unwrap();
    let tap = |shell: &mut Fixture, code: u32| {
        shell.state.handle_key(code, true, 1);
        shell.state.handle_key(code, false, 2);
        shell.state.shell.mode()
    };
    shell.panel(true);
    assert_eq!(tap(&mut shell, codes::K), Mode::Dialog);
    shell.listen();
    assert_eq!(tap(&mut shell, codes::Y), Mode::Dialog, "there is a Z on it");
    let (z, _) = codes::LETTERS.into_iter().find(|(_, letter)| *letter == 'z').unwrap();
    assert_eq!(tap(&mut shell, z), Mode::Panel, "answered");
}

#[test]
fn a_layout_that_does_not_exist_is_said_below_the_list_of_guests() {
    let mut config = ShellConfig::default();
    config.keyboard.layout = Some("xx".to_owned());
    let shell = Fixture::with_settings(&[(1280, 800)], RendererKind::Pixman, &config).unwrap();
    let said = shell.state.guests.problems();
    assert!(
        said[0].starts_with("the keyboard layout “xx” ") && said[0].contains("[keyboard] in shell.toml"),
        "{said:?}"
    );
}

#[test]
fn no_guest_has_the_keyboard_while_the_panel_is_open() {
    let mut shell = Fixture::new();
    let (mut red, mut blue) = two_typists(&mut shell);
    shell.panel(true);
    shell.state.forward_key(A, true, 1);
    shell.state.forward_key(A, false, 2);
    hear(&mut shell, [&mut red, &mut blue]);
    assert_eq!(red.events.keyboard.last(), Some(&Keyboard::Leave));
    assert_eq!(blue.events.keyboard, []);
    shell.panel(false);
    hear(&mut shell, [&mut red, &mut blue]);
    assert_eq!(shell.state.protocols.seat.keyboard_guest(), Some(name("red")));
}

#[test]
fn keys_are_never_repeated_by_the_shell() {
    let mut shell = Fixture::new();
    let (red, _blue) = two_typists(&mut shell);
    assert_eq!(red.events.repeat_rate, Some(0));
}

#[test]
fn a_guest_that_binds_its_keyboard_late_is_entered_without_keys_of_another() {
    let mut shell = Fixture::new();
    let (mut red, _blue) = two_typists(&mut shell);
    shell.state.forward_key(A, true, 1);
    shell.show("blue");
    let (mut late, _w, _p) = shown!(shell, "blue", GREEN);
    late.seat().get_keyboard(&late.handle, ());
    shell.roundtrip(&mut late);
    shell.roundtrip(&mut red);
    assert_eq!(late.events.keyboard, [Keyboard::Enter(Vec::new()), Keyboard::Modifiers(0, 0, 0)]);
}

#[test]
fn tp05_a_guest_that_ends_loses_the_keyboard_and_the_focus_mark() {
    let mut shell = Fixture::new();
    let (mut red, _blue) = two_typists(&mut shell);
    let focused = shell.shot("focused").at(1, 400);
    let mut gone = guest("red", 1, LabelColor::Red);
    gone.state = GuestState::Stopped;
    shell.guests(vec![gone]);
    shell.roundtrip(&mut red);
    assert_eq!(red.events.keyboard.last(), Some(&Keyboard::Leave));
    assert_ne!(shell.shot("not-focused").at(1, 400), focused);
}

#[test]
fn a_lock_that_is_pressed_in_a_face_counts_for_its_text_and_lights_its_light() {
    let mut shell = Fixture::new();
    let (mut red, mut blue) = two_typists(&mut shell);
    shell.panel(true);
    hear(&mut shell, [&mut red, &mut blue]);
    red.events.keyboard.clear();
    let tap = |shell: &mut Fixture, code| [true, false].map(|pressed| shell.state.handle_key(code, pressed, 0));
    for (caps, text) in [(false, "a"), (true, "A"), (false, "a"), (true, "A")] {
        assert_eq!(shell.state.lights(), Leds { caps, ..Leds::default() });
        assert_eq!(shell.state.type_key(A, true, []).1, text);
        assert_eq!(shell.state.type_key(A, false, []).1, "");
        tap(&mut shell, CAPS_LOCK);
    }
    tap(&mut shell, CAPS_LOCK);
    // Held over the way back: no guest hears of either half, nor of what was locked for the shell's own text.
    shell.state.handle_key(DOWN, true, 0);
    shell.panel(false);
    shell.state.handle_key(DOWN, false, 0);
    hear(&mut shell, [&mut red, &mut blue]);
    assert_eq!(red.events.keyboard, [Keyboard::Enter(Vec::new()), Keyboard::Modifiers(0, 0, 0)]);
    assert_eq!(blue.events.keyboard, []);
    assert_eq!(shell.state.lights(), Leds::default());
}
