//! Displays sleep without input and wake by it; what wakes them goes nowhere else.

use super::client::{FrameMark, Keyboard};
use super::fixture::{Fixture, guest, name};
use super::show::shown;
use crate::guests::GuestView;
use crate::shell::idle::Idle;
use phyllome_config::guest::LabelColor;
use phyllome_protocol::status::GuestState;
use std::time::{Duration, Instant};

const GREEN: u32 = 0x00_ff_00;
const BLUE: u32 = 0x00_00_ff;
const A: u32 = 30;
const B: u32 = 48;
const SUPER: u32 = 125;
const BUTTON_LEFT: u32 = 0x110;

fn fall_asleep(shell: &mut Fixture) {
    shell.state.idle = Idle::new(Some(Duration::from_millis(30)), Instant::now());
    shell.state.watch_idle();
    shell.wait("the displays to sleep", |shell| shell.state.render.is_asleep());
    // Once awake, a test is not to fall asleep again.
    shell.state.idle = Idle::new(None, Instant::now());
}

fn tap(shell: &mut Fixture, code: u32) {
    shell.state.handle_key(code, true, 1);
    shell.state.handle_key(code, false, 2);
}

#[test]
fn a_sleeping_display_costs_nothing_and_its_guest_is_not_told_that_it_was_shown() {
    let mut shell = Fixture::new();
    let (mut red, window, _pool) = shown!(shell, "red", GREEN);
    shell.settle();
    fall_asleep(&mut shell);
    let told = red.events.frames;
    window.surface.frame(&red.handle, FrameMark);
    window.surface.commit();
    shell.roundtrip(&mut red);
    assert!(!shell.state.render_is_armed());
    assert!(!shell.turn_until_woken(Duration::from_millis(100)), "something woke the shell");
    shell.roundtrip(&mut red);
    assert_eq!(red.events.frames, told);
    assert!(shell.state.note_activity());
    shell.settle();
    shell.roundtrip(&mut red);
    assert_eq!(red.events.frames, told + 1, "awake, it is shown again");
}

#[test]
fn the_key_that_wakes_is_swallowed_whole_and_the_next_is_the_guests() {
    let mut shell = Fixture::new();
    let (mut red, _window, _pool) = shown!(shell, "red", GREEN);
    red.seat().get_keyboard(&red.handle, ());
    shell.roundtrip(&mut red);
    fall_asleep(&mut shell);
    tap(&mut shell, A);
    assert!(!shell.state.render.is_asleep());
    tap(&mut shell, B);
    shell.roundtrip(&mut red);
    let keys: Vec<_> = red.events.keyboard.iter().filter(|event| matches!(event, Keyboard::Key(..))).collect();
    assert_eq!(keys, [&Keyboard::Key(B, true), &Keyboard::Key(B, false)]);
}

#[test]
fn a_chord_that_wakes_switches_and_super_alone_does_nothing() {
    let mut shell = Fixture::new();
    let (mut red, _window, _pool) = shown!(shell, "red", GREEN);
    let (mut blue, _window, _pool) = shown!(shell, "blue", BLUE);
    shell.show("red");
    for client in [&mut red, &mut blue] {
        client.seat().get_keyboard(&client.handle, ());
        shell.roundtrip(client);
    }
    fall_asleep(&mut shell);
    tap(&mut shell, SUPER);
    fall_asleep(&mut shell);
    shell.state.handle_key(SUPER, true, 3);
    tap(&mut shell, 3);
    shell.state.handle_key(SUPER, false, 4);
    assert_eq!(shell.state.protocols.seat.keyboard_guest(), Some(name("blue")));
    for client in [&mut red, &mut blue] {
        shell.roundtrip(client);
        assert!(!client.events.keyboard.iter().any(|event| matches!(event, Keyboard::Key(..))));
    }
}

#[test]
fn pointer_and_button_wake_too_and_a_click_that_wakes_is_no_click() {
    let mut shell = Fixture::new();
    let (mut red, _window, _pool) = shown!(shell, "red", GREEN);
    red.seat().get_pointer(&red.handle, ());
    shell.roundtrip(&mut red);
    shell.state.handle_pointer_motion(400.0, 400.0, 1);
    fall_asleep(&mut shell);
    shell.state.handle_button(BUTTON_LEFT, true, 2);
    shell.state.handle_button(BUTTON_LEFT, false, 3);
    assert!(!shell.state.render.is_asleep());
    shell.roundtrip(&mut red);
    let clicks = |red: &super::client::Client| {
        red.events.pointer.iter().filter(|event| format!("{event:?}").starts_with("Button")).count()
    };
    assert_eq!(clicks(&red), 0);
    fall_asleep(&mut shell);
    shell.state.handle_pointer_motion(410.0, 400.0, 4);
    assert!(!shell.state.render.is_asleep());
    fall_asleep(&mut shell);
    shell.state.handle_wheel(0.0, 1.0, 5);
    assert!(!shell.state.render.is_asleep());
}

#[test]
fn nothing_that_a_guest_does_wakes_the_displays() {
    let mut shell = Fixture::new();
    let (mut red, window, _pool) = shown!(shell, "red", GREEN);
    fall_asleep(&mut shell);
    window.surface.damage_buffer(0, 0, 10, 10);
    window.surface.commit();
    shell.roundtrip(&mut red);
    assert!(shell.state.render.is_asleep());
}

/// Displays would sleep after so long; the turns that a test makes are longer.
const PAUSE: Duration = Duration::from_millis(20);

fn sleeps_within(shell: &mut Fixture, time: Duration) -> bool {
    let until = Instant::now() + time;
    while Instant::now() < until && !shell.state.render.is_asleep() {
        shell.turn();
    }
    shell.state.render.is_asleep()
}

#[test]
fn a_person_keeps_displays_awake_by_a_chord_until_they_say_otherwise_or_lock() {
    let mut shell = Fixture::new();
    let (_red, _window, _pool) = shown!(shell, "red", GREEN);
    shell.settle();
    let without = shell.shot("bar-asleep");
    let awake = |shell: &mut Fixture| {
        shell.state.handle_key(SUPER, true, 1);
        tap(shell, A);
        shell.state.handle_key(SUPER, false, 3);
    };
    awake(&mut shell);
    shell.settle();
    let with = shell.shot("bar-awake");
    assert!(with.differs_outside(&shell.area(), &without).is_some(), "a mark in the bar");
    shell.state.idle = Idle::new(Some(PAUSE), Instant::now());
    shell.state.watch_idle();
    assert!(!sleeps_within(&mut shell, 10 * PAUSE));
    awake(&mut shell);
    assert!(sleeps_within(&mut shell, Duration::from_secs(10)));
    awake(&mut shell);
    assert!(shell.state.shell.is_awake(), "a chord that wakes displays is made all the same");
    shell.state.shell.set_locked(true);
    assert!(!shell.state.shell.stays_awake());
    shell.state.shell.set_locked(false);
    assert!(!shell.state.shell.stays_awake());
}

#[test]
fn a_guest_that_is_to_keep_displays_awake_does_while_it_runs_and_is_shown() {
    let mut shell = Fixture::new();
    let film = |state| GuestView { keep_awake: true, state, ..guest("red", 1, LabelColor::Red) };
    let blue = || guest("blue", 2, LabelColor::Blue);
    for (state, shown, stays) in [
        (GuestState::Running, "red", true),
        (GuestState::Running, "blue", false),
        (GuestState::Paused, "red", false),
        (GuestState::Crashed, "red", false),
    ] {
        shell.guests(vec![film(state), blue()]);
        shell.show(shown);
        assert_eq!(shell.state.shell.stays_awake(), stays, "{state:?} {shown}");
    }
    shell.guests(vec![film(GuestState::Running), blue()]);
    shell.panel(true);
    assert!(!shell.state.shell.stays_awake(), "it is not to be seen");
}
