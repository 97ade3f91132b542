//! The pointer in the shell's own faces: a click does there what a person expects, and no guest gets anything of it.

use super::client::{Client, Pointer};
use super::fixture::{Fixture, guest, name};
use super::show::shown;
use crate::faces::pointer::Part;
use crate::faces::{FaceInput, Modifiers, View};
use crate::outputs::RendererKind;
use phyllome_config::guest::LabelColor;
use phyllome_protocol::status::{Area, Mode};
use phyllome_trusted::codes::{self, BTN_LEFT, ESC, K, LEFT_META, TAB};
use phyllome_trusted::held::DeviceId;
use smithay::backend::input::TouchSlot;
use std::time::Duration;

const GREEN: u32 = 0x00_ff_00;
const CYAN: u32 = 0x00_ff_ff;
const WHITE: u32 = 0xff_ff_ff;

/// Red, with a picture, a pointer and a keyboard.
fn red(shell: &mut Fixture) -> Client {
    let (mut red, _window, _pool) = shown!(shell, "red", GREEN);
    red.seat().get_pointer(&red.handle, ());
    red.seat().get_keyboard(&red.handle, ());
    shell.roundtrip(&mut red);
    red
}

fn blue(shell: &mut Fixture) -> Client {
    let (mut blue, _window, _pool) = shown!(shell, "blue", CYAN);
    blue.seat().get_pointer(&blue.handle, ());
    shell.roundtrip(&mut blue);
    blue
}

/// The middle of a row of the panel, on the output.
pub(super) fn row(number: u32) -> (f64, f64) {
    (640.0, f64::from(28 + 96 + 72 * number + 32))
}

/// The middle of one of two tiles of the switcher, on the output.
fn tile(number: u32) -> (f64, f64) {
    let (left, upper) = (4 + (1272 - 328) / 2, 28 + (768 - 160) / 2);
    (f64::from(left + 16 + 152 * number + 72), f64::from(upper + 80))
}

pub(super) fn selected(shell: &Fixture) -> usize {
    match shell.state.shell.view() {
        Some(View::Panel(panel)) => panel.selected,
        other => panic!("no panel: {other:?}"),
    }
}

pub(super) fn tap(shell: &mut Fixture, code: u32) {
    shell.state.handle_key(code, true, 0);
    shell.state.handle_key(code, false, 0);
}

/// Super and this key.
fn chord(shell: &mut Fixture, code: u32) {
    shell.state.handle_key(LEFT_META, true, 0);
    tap(shell, code);
    shell.state.handle_key(LEFT_META, false, 0);
}

pub(super) fn press(shell: &mut Fixture, (x, y): (f64, f64)) {
    shell.state.handle_pointer_motion(x, y, 0);
    shell.state.handle_button(BTN_LEFT, true, 0);
}

pub(super) fn release(shell: &mut Fixture, (x, y): (f64, f64)) {
    shell.state.handle_pointer_motion(x, y, 0);
    shell.state.handle_button(BTN_LEFT, false, 0);
}

pub(super) fn click(shell: &mut Fixture, place: (f64, f64)) {
    press(shell, place);
    release(shell, place);
}

/// Where the panel says what a key does.
fn place_of_key(shell: &mut Fixture, code: u32) -> (f64, f64) {
    let (area, view) = (shell.area(), shell.state.shell.view().unwrap());
    let y = f64::from(area.height) - 36.0;
    let is_there = |x: &f64| {
        let buttons = [true, false].map(|pressed| FaceInput::Button { code: BTN_LEFT, pressed });
        let size = (area.width, area.height);
        let clicked =
            buttons.map(|button| shell.state.ui.faces.pointer(&view, size, (*x, y), &button, Modifiers::default()));
        clicked[1] == Some(Part::Key(code))
    };
    let x = (0..area.width).step_by(8).map(f64::from).find(is_there).expect("the key is shown");
    (x + f64::from(area.x), y + f64::from(area.y))
}

/// How many pixels of the shell's arrow are white below and beside its tip.
fn arrow_at(shell: &mut Fixture, title: &str, (x, y): (f64, f64)) -> usize {
    let shot = shell.shot(title);
    shot.count_inside(&Area { x: x as u32, y: y as u32, width: 12, height: 17 }, WHITE)
}

#[test]
fn a_click_on_a_card_of_the_panel_selects_it_and_reaches_no_guest() {
    let mut shell = Fixture::new();
    let mut red = red(&mut shell);
    shell.panel(true);
    shell.settle();
    click(&mut shell, row(1));
    assert_eq!(selected(&shell), 1);
    click(&mut shell, (640.0, 10.0));
    click(&mut shell, row(2));
    assert_eq!((selected(&shell), shell.state.shell.mode()), (1, Mode::Panel), "there is nothing to click");
    let screen = DeviceId::ONLY.next();
    let finger = TouchSlot::from(Some(0));
    shell.state.handle_touch_down(screen, finger, row(0), 0);
    shell.state.handle_touch_up(screen, finger, 0);
    assert_eq!(selected(&shell), 0, "a finger does as well");
    shell.roundtrip(&mut red);
    assert_eq!(red.events.pointer, []);
}

#[test]
fn a_click_on_what_names_a_key_does_what_the_key_does() {
    let mut shell = Fixture::new();
    let _red = red(&mut shell);
    shell.panel(true);
    shell.settle();
    let force_off = place_of_key(&mut shell, K);
    click(&mut shell, force_off);
    assert_eq!(shell.state.shell.mode(), Mode::Dialog);
    shell.settle();
    let no = place_of_key(&mut shell, ESC);
    assert!(arrow_at(&mut shell, "face-question", force_off) > 50, "above what it points at");
    click(&mut shell, no);
    assert_eq!(shell.state.shell.mode(), Mode::Dialog, "deaf at first");
    shell.listen();
    click(&mut shell, no);
    assert_eq!(shell.state.shell.mode(), Mode::Panel);
    shell.settle();
    let back = place_of_key(&mut shell, ESC);
    click(&mut shell, back);
    assert_eq!(shell.state.shell.mode(), Mode::Guest);
}

#[test]
fn a_click_on_a_guest_of_the_switcher_shows_it_and_its_release_reaches_nobody() {
    let mut shell = Fixture::new();
    let (mut red, mut blue) = (red(&mut shell), blue(&mut shell));
    shell.state.handle_key(LEFT_META, true, 0);
    tap(&mut shell, TAB);
    shell.settle();
    shell.state.handle_pointer_motion(tile(0).0, tile(0).1, 0);
    assert!(arrow_at(&mut shell, "face-switcher", tile(0)) > 50, "above what it points at");
    click(&mut shell, (100.0, 100.0));
    assert_eq!(shell.state.shell.mode(), Mode::Switcher, "there is nothing to click");
    shell.roundtrip(&mut blue);
    blue.events.pointer.clear();
    press(&mut shell, tile(1));
    let shown = |shell: &Fixture| (shell.state.shell.mode(), shell.state.shell.keyboard_owner());
    assert_eq!(shown(&shell), (Mode::Guest, Some(name("blue"))));
    release(&mut shell, tile(1));
    shell.state.handle_key(LEFT_META, false, 0);
    assert_eq!(shown(&shell), (Mode::Guest, Some(name("blue"))));
    shell.roundtrip(&mut red);
    shell.roundtrip(&mut blue);
    assert_eq!(red.events.pointer, []);
    let told = |event: &Pointer| matches!(event, Pointer::Enter(..) | Pointer::Motion(..));
    assert!(blue.events.pointer.iter().all(told), "{:?}", blue.events.pointer);
}

#[test]
fn tp10_a_press_on_a_face_is_released_in_no_guest_and_in_no_other_face() {
    let mut shell = Fixture::new();
    let mut red = red(&mut shell);
    chord(&mut shell, ESC);
    shell.listen();
    press(&mut shell, row(1));
    chord(&mut shell, ESC);
    assert_eq!(shell.state.shell.mode(), Mode::Guest);
    release(&mut shell, row(1));
    shell.roundtrip(&mut red);
    assert!(!red.events.pointer.iter().any(|event| matches!(event, Pointer::Button(..))), "{:?}", red.events.pointer);

    press(&mut shell, row(1));
    chord(&mut shell, ESC);
    shell.listen();
    release(&mut shell, row(1));
    shell.roundtrip(&mut red);
    let buttons: Vec<_> = red.events.pointer.iter().filter(|event| matches!(event, Pointer::Button(..))).collect();
    assert_eq!(buttons, [&Pointer::Button(BTN_LEFT, true), &Pointer::Button(BTN_LEFT, false)]);
    assert_eq!(red.events.pointer.last(), Some(&Pointer::Leave));
    assert_eq!(selected(&shell), 0, "that was no click on the card");

    let enter = place_of_key(&mut shell, codes::ENTER);
    press(&mut shell, enter);
    tap(&mut shell, K);
    shell.listen();
    let yes = place_of_key(&mut shell, codes::Y);
    release(&mut shell, yes);
    assert_eq!(shell.state.shell.mode(), Mode::Dialog, "that was no answer");
}

#[test]
fn the_wheel_moves_the_selection_of_the_panel_and_turns_in_no_guest() {
    let mut shell = Fixture::new();
    let mut red = red(&mut shell);
    let names = ["red", "blue", "green", "gray"];
    shell.guests(names.iter().zip(1..).map(|(name, slot)| guest(name, slot, LabelColor::Red)).collect());
    shell.panel(true);
    shell.settle();
    shell.state.handle_wheel(0.0, 1.0, 0);
    assert_eq!(selected(&shell), 0, "nobody knows where the pointer is");
    shell.state.handle_pointer_motion(row(3).0, row(3).1, 0);
    for (parts, at) in [(240.0, 2), (-60.0, 2), (-60.0, 1), (f64::NAN, 1), (f64::INFINITY, 1), (1e9, 3)] {
        shell.state.handle_wheel_parts(0.0, parts, 0);
        assert_eq!(selected(&shell), at, "{parts}");
    }
    shell.state.handle_pointer_motion(640.0, 10.0, 0);
    shell.state.handle_wheel(0.0, -1.0, 0);
    assert_eq!(selected(&shell), 3, "the band is no part of it");
    shell.roundtrip(&mut red);
    assert_eq!(red.events.pointer, []);
}

#[test]
fn tp15_the_arrow_is_above_the_panel_and_the_frame_is_as_without_it() {
    let mut shell = Fixture::new();
    let _red = red(&mut shell);
    shell.panel(true);
    let place = (row(1).0 + 100.0, row(1).1);
    assert_eq!(arrow_at(&mut shell, "face-panel", place), 0, "it has not moved yet");
    let proper = shell.shot("face-panel");
    shell.state.handle_pointer_motion(place.0, place.1, 0);
    assert!(arrow_at(&mut shell, "face-panel-arrow", place) > 50);
    let pointed = shell.shot("face-panel-arrow");
    assert_eq!(pointed.differs_outside(&shell.area(), &proper), None);
    shell.state.shell.set_locked(true);
    assert!(!shell.state.arrow_is_seen(), "under a lock there is nothing to point at");
    click(&mut shell, row(1));
    shell.state.shell.set_locked(false);
    assert_eq!(selected(&shell), 0);
}

/// Which picture of the panel is shown.
fn generation(shell: &mut Fixture) -> u64 {
    let (area, view) = (shell.area(), shell.state.shell.view().unwrap());
    shell.state.ui.faces.of(&view, area.width, area.height, 1.0).generation()
}

#[test]
fn a_pointer_that_moves_over_the_panel_draws_no_row_again_and_one_that_rests_wakes_nobody() {
    let mut shell = Fixture::new();
    let _red = red(&mut shell);
    shell.panel(true);
    shell.settle();
    let before = generation(&mut shell);
    for step in 0..100 {
        shell.state.handle_pointer_motion(row(0).0, row(0).1 + f64::from(step) * 5.0, 0);
        shell.turn();
    }
    shell.settle();
    assert_eq!(generation(&mut shell), before);
    shell.wait("the arrow to go", |shell| !shell.state.arrow_is_seen());
    shell.settle();
    assert!(!shell.turn_until_woken(Duration::from_millis(200)), "something woke the shell");
}

#[test]
fn on_another_output_the_pointer_is_nobodys_while_the_panel_is_open() {
    let mut shell = Fixture::with(&[(1280, 800), (1280, 800)], RendererKind::Pixman).unwrap();
    let mut red = red(&mut shell);
    shell.panel(true);
    shell.settle();
    let there = (row(1).0 + 1280.0, row(1).1);
    click(&mut shell, there);
    shell.state.handle_pointer_motion(there.0, there.1, 0);
    shell.state.handle_wheel(0.0, 1.0, 0);
    assert_eq!((selected(&shell), shell.state.shell.mode()), (0, Mode::Panel));
    press(&mut shell, row(1));
    release(&mut shell, there);
    assert_eq!(selected(&shell), 0, "it was dragged away");
    shell.roundtrip(&mut red);
    assert_eq!(red.events.pointer, []);
}
