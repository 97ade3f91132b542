//! Keyboards that are plugged in later: they type nothing, and make no chord, before the person has let them in.

use super::client::{Client, Keyboard};
use super::fixture::{Fixture, name};
use super::show::shown;
use crate::backend::headless::Headless;
use phyllome_config::shell::OutputConfig;
use phyllome_protocol::status::Mode;
use phyllome_trusted::codes::{A, BTN_LEFT, ESC, LEFT_META, ONE, TAB, Y};
use phyllome_trusted::held::DeviceId;
use phyllome_trusted::keyboards::{Plugged, Way};
use phyllome_trusted::typed_code::DIGITS;
use std::time::{Duration, Instant};

const GREEN: u32 = 0x00_ff_00;
const WHITE: u32 = 0xff_ff_ff;
const OLD: u32 = 1;
const NEW: u32 = 2;

/// The device of this number.
fn device(number: u32) -> DeviceId {
    (0..number).fold(DeviceId::ONLY, |device, _| device.next())
}

fn plug(shell: &mut Fixture, number: u32, port: &str, now: Instant) {
    let port = Some(port.to_owned());
    let plugged = Plugged { node: format!("event{number}"), identity: "K120".to_owned(), port, letters: true };
    shell.state.input.keyboards.came(device(number), plugged, now);
    shell.state.keyboards_changed();
}

fn unplug(shell: &mut Fixture, number: u32) {
    shell.state.device_unplugged(device(number), 0);
    shell.state.input.keyboards.went(device(number), false, Instant::now());
    shell.state.keyboards_changed();
}

fn tap(shell: &mut Fixture, number: u32, code: u32) {
    shell.state.device_key(device(number), code, true, 1);
    shell.state.device_key(device(number), code, false, 2);
}

/// Red is in front; somebody has typed on the one keyboard that was there at the start, and a new one is there.
fn plugged(shell: &mut Fixture) -> Client {
    let (mut red, _window, _pool) = shown!(shell, "red", GREEN);
    red.seat().get_keyboard(&red.handle, ());
    let start = Instant::now();
    plug(shell, OLD, "port", start);
    tap(shell, OLD, A);
    plug(shell, NEW, "another port", start + Duration::from_secs(60));
    shell.roundtrip(&mut red);
    red.events.keyboard.clear();
    red
}

/// The same, and only the new one is left.
fn alone(shell: &mut Fixture) -> Client {
    let mut red = plugged(shell);
    unplug(shell, OLD);
    shell.roundtrip(&mut red);
    red
}

fn keys(shell: &mut Fixture, client: &mut Client) -> Vec<u32> {
    shell.roundtrip(client);
    let pressed = |event: &Keyboard| match event {
        Keyboard::Key(code, true) => Some(*code),
        _ => None,
    };
    client.events.keyboard.iter().filter_map(pressed).collect()
}

/// The keys of the code that the screen shows.
fn code(shell: &Fixture) -> Option<[u32; DIGITS]> {
    let Some((_, Way::Code { code, .. })) = shell.state.input.keyboards.asked() else { return None };
    Some(code.digits().map(|digit| if digit == 0 { ONE + 9 } else { ONE - 1 + u32::from(digit) }))
}

#[test]
fn tp22_a_keyboard_that_comes_later_types_nothing_and_makes_no_chord_until_it_is_let_on_another() {
    let mut shell = Fixture::new();
    let mut red = plugged(&mut shell);
    let before = shell.shot("no-keyboard-asks");
    for code in [A, LEFT_META, ESC, Y] {
        tap(&mut shell, NEW, code);
    }
    assert_eq!(keys(&mut shell, &mut red), [0; 0]);
    assert_eq!(shell.state.shell.mode(), Mode::Guest, "nor does the question take the keys");
    shell.settle();
    let after = shell.shot("a-keyboard-asks");
    assert!(after.differs_outside(&shell.area(), &before).is_some(), "a line in the bar");
    shell.panel(true);
    assert_eq!(shell.state.shell.mode(), Mode::Dialog);
    shell.listen();
    shell.shot("a-keyboard-is-asked-about");
    tap(&mut shell, NEW, Y);
    assert_eq!(shell.state.shell.mode(), Mode::Dialog);
    tap(&mut shell, OLD, Y);
    assert_eq!(shell.state.shell.mode(), Mode::Panel);
    shell.panel(false);
    tap(&mut shell, NEW, A);
    assert_eq!(keys(&mut shell, &mut red), [A]);
}

#[test]
fn tp22_where_there_is_no_other_one_it_types_after_the_code_that_the_screen_shows_and_the_guest_is_back() {
    for (scale, size) in [(1.0, (1280, 800)), (1.5, (1920, 1200))] {
        let mut shell = Fixture::new();
        let mut red = alone(&mut shell);
        let settings = OutputConfig { scale: Some(scale), ..OutputConfig::default() };
        shell.change(&Headless::info(0, size, Some(&settings)));
        assert_eq!(shell.state.shell.mode(), Mode::Guest, "nobody is asked before a key is pressed");
        tap(&mut shell, NEW, A);
        assert_eq!(shell.state.shell.mode(), Mode::Dialog);
        shell.state.shell.pass(Duration::ZERO);
        let digits = code(&shell).unwrap();
        digits.into_iter().for_each(|key| tap(&mut shell, NEW, key));
        assert_eq!(code(&shell), Some(digits), "it has not been seen yet");
        shell.listen();
        // Of chords and answers nothing counts but for a slip that is taken back.
        for key in [LEFT_META, TAB, Y, digits[0], 14].into_iter().chain(digits.into_iter().take(2)) {
            tap(&mut shell, NEW, key);
        }
        assert_eq!(shell.state.shell.mode(), Mode::Dialog);
        shell.settle();
        let shot = shell.shot(&format!("a-code-is-typed-{scale}"));
        assert_eq!(shot.at(size.0 / 2, size.1 - 1), WHITE, "it is the host that asks");
        digits.into_iter().skip(2).for_each(|key| tap(&mut shell, NEW, key));
        assert_eq!(shell.state.shell.mode(), Mode::Guest);
        assert_eq!(keys(&mut shell, &mut red), [0; 0], "nothing of that is the guest's");
        tap(&mut shell, NEW, A);
        assert_eq!(keys(&mut shell, &mut red), [A]);
    }
}

#[test]
fn tp22_after_a_wrong_code_another_one_is_shown_a_while_later_and_one_that_goes_is_asked_no_more() {
    let mut shell = Fixture::new();
    let mut red = alone(&mut shell);
    tap(&mut shell, NEW, A);
    shell.listen();
    let first = code(&shell).unwrap();
    let wrong = if first[0] == ONE { ONE + 1 } else { ONE };
    (0..DIGITS).for_each(|_| tap(&mut shell, NEW, wrong));
    assert_eq!((code(&shell), shell.state.shell.mode()), (None, Mode::Dialog));
    shell.settle();
    shell.shot("a-code-was-wrong");
    (0..DIGITS).for_each(|_| tap(&mut shell, NEW, wrong));
    assert_eq!(code(&shell), None, "nothing is guessed meanwhile");
    shell.wait("another code", |shell| code(shell).is_some());
    assert_eq!(shell.state.shell.mode(), Mode::Dialog);
    unplug(&mut shell, NEW);
    assert_eq!((shell.state.shell.mode(), shell.state.shell.keyboard_owner()), (Mode::Guest, Some(name("red"))));
    assert_eq!(keys(&mut shell, &mut red), [0; 0]);
    // Back on the port where the old one was, it is that one.
    plug(&mut shell, 3, "port", Instant::now());
    tap(&mut shell, 3, A);
    assert_eq!(keys(&mut shell, &mut red), [A]);
}

#[test]
fn tp22_esc_refuses_it_and_the_bar_says_what_to_do() {
    let mut shell = Fixture::new();
    let mut red = alone(&mut shell);
    let before = shell.shot("before-it-is-refused");
    tap(&mut shell, NEW, A);
    shell.listen();
    tap(&mut shell, NEW, ESC);
    assert_eq!(shell.state.shell.mode(), Mode::Guest);
    tap(&mut shell, NEW, A);
    assert_eq!((shell.state.shell.mode(), keys(&mut shell, &mut red)), (Mode::Guest, Vec::new()));
    shell.settle();
    let after = shell.shot("a-keyboard-is-refused");
    assert!(after.differs_outside(&shell.area(), &before).is_some(), "a line in the bar");
}

#[test]
fn tp22_a_code_on_a_display_that_is_off_is_shown_first_and_typed_then() {
    let mut shell = Fixture::new();
    let _red = alone(&mut shell);
    shell.state.outputs_sleep(true);
    tap(&mut shell, NEW, A);
    assert!(!shell.state.render.is_asleep(), "whoever has only this one wants to see something");
    shell.listen();
    shell.state.outputs_sleep(true);
    let digits = code(&shell).unwrap();
    digits.into_iter().take(DIGITS - 1).for_each(|key| tap(&mut shell, NEW, key));
    assert!(!shell.state.render.is_asleep());
    tap(&mut shell, NEW, digits[DIGITS - 1]);
    assert_eq!(shell.state.shell.mode(), Mode::Dialog, "the first only switched the display on");
}

#[test]
fn tp22_who_types_on_a_keyboard_that_was_there_ends_the_code_and_lets_nothing_in() {
    let mut shell = Fixture::new();
    let (mut red, _window, _pool) = shown!(shell, "red", GREEN);
    red.seat().get_keyboard(&red.handle, ());
    shell.roundtrip(&mut red);
    let start = Instant::now();
    plug(&mut shell, OLD, "port", start);
    plug(&mut shell, NEW, "another port", start + Duration::from_secs(60));
    tap(&mut shell, NEW, A);
    assert!(code(&shell).is_some(), "nobody has typed on the other one, which may be a mouse");
    shell.listen();
    tap(&mut shell, OLD, Y);
    assert_eq!((code(&shell), shell.state.shell.mode()), (None, Mode::Guest), "that was no answer");
    tap(&mut shell, OLD, Y);
    tap(&mut shell, NEW, A);
    assert_eq!(keys(&mut shell, &mut red), [Y, Y], "whoever types to the guest lets nothing in");
    shell.panel(true);
    shell.listen();
    tap(&mut shell, OLD, Y);
    shell.panel(false);
    tap(&mut shell, NEW, A);
    assert_eq!(keys(&mut shell, &mut red), [Y, Y, A]);
}

#[test]
fn tp22_the_old_keyboard_that_comes_back_ends_the_code() {
    let mut shell = Fixture::new();
    let _red = alone(&mut shell);
    tap(&mut shell, NEW, A);
    assert!(code(&shell).is_some());
    plug(&mut shell, 3, "port", Instant::now());
    assert_eq!((code(&shell), shell.state.shell.mode()), (None, Mode::Guest), "and is typed on");
}

#[test]
fn tp22_a_click_refuses_it_and_lets_none_in() {
    let mut shell = Fixture::new();
    let _red = alone(&mut shell);
    tap(&mut shell, NEW, A);
    shell.listen();
    let area = shell.area();
    let y = f64::from(area.y + area.height) - 36.0;
    let mut x = f64::from(area.x);
    // Along the keys at the foot until one is hit, which is the only one.
    while shell.state.shell.mode() == Mode::Dialog {
        x += 8.0;
        assert!(x < f64::from(area.x + area.width), "no key at the foot");
        shell.state.handle_pointer_motion(x, y, 1);
        shell.state.handle_button(BTN_LEFT, true, 1);
        shell.state.handle_button(BTN_LEFT, false, 1);
    }
    assert_eq!(shell.state.shell.mode(), Mode::Guest);
    assert!(matches!(shell.state.input.keyboards.asked(), Some((_, Way::Never))));
}
