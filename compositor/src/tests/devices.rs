//! Several keyboards, fingers and outputs: one keyboard and one pointer come of them, and one guest gets what they do.

use super::client::{Client, Keyboard, Pointer};
use super::fixture::{Fixture, guest, name};
use super::show::shown;
use crate::faces::View;
use crate::outputs::RendererKind;
use phyllome_config::guest::LabelColor;
use phyllome_config::shell::OutputConfig;
use phyllome_protocol::control::Leds;
use phyllome_protocol::shell::CaptureTarget;
use phyllome_protocol::status::Mode;
use phyllome_trusted::gate::{Asker, Verb};
use phyllome_trusted::held::DeviceId;
use smithay::backend::input::TouchSlot;
use std::time::Duration;

const GREEN: u32 = 0x00_ff_00;
const CYAN: u32 = 0x00_ff_ff;
const A: u32 = 30;
const F2: u32 = 60;
const DOWN: u32 = 108;
const TAB: u32 = 15;
const CAPS_LOCK: u32 = 58;
const LEFT_CTRL: u32 = 29;
const LEFT_ALT: u32 = 56;
const LEFT_META: u32 = 125;
const LEFT: u32 = 0x110;
const WHITE: u32 = 0xff_ff_ff;

/// Red, on the first output, with keyboard and pointer.
fn red(shell: &mut Fixture) -> Client {
    let (mut red, _window, _pool) = shown!(shell, "red", GREEN);
    devices(shell, &mut red);
    red
}

fn devices(shell: &mut Fixture, client: &mut Client) {
    client.seat().get_keyboard(&client.handle, ());
    client.seat().get_pointer(&client.handle, ());
    shell.roundtrip(client);
}

/// Red on the first output, blue on a second one beside it, red in focus; and blue's part of the plane.
fn two_outputs() -> (Fixture, Client, Client) {
    let mut shell = Fixture::with(&[(1280, 800), (640, 480)], RendererKind::Pixman).unwrap();
    let settings = OutputConfig { guest: Some(name("blue")), ..OutputConfig::default() };
    shell.state.displays.set("HEADLESS-2", settings);
    shell.state.outputs_changed();
    let red = red(&mut shell);
    let mut blue = shell.attach("blue");
    let window = blue.window("phyllome.scanout.0");
    shell.roundtrip(&mut blue);
    assert_eq!(blue.events.configured, Some((632, 448)));
    window.acknowledge(&blue);
    let _pool = blue.fill(&window.surface, 632, 448, CYAN);
    devices(&mut shell, &mut blue);
    (shell, red, blue)
}

fn keys(client: &Client) -> Vec<(u32, bool)> {
    let key = |event: &Keyboard| match event {
        Keyboard::Key(code, pressed) => Some((*code, *pressed)),
        _ => None,
    };
    client.events.keyboard.iter().filter_map(key).collect()
}

#[test]
fn a_key_that_two_keyboards_hold_is_released_when_both_let_go() {
    let mut shell = Fixture::new();
    let mut red = red(&mut shell);
    let [one, two] = [DeviceId::ONLY.next(), DeviceId::ONLY.next().next()];
    for (device, pressed) in [(one, true), (two, true), (one, false)] {
        shell.state.device_key(device, A, pressed, 1);
    }
    shell.roundtrip(&mut red);
    assert_eq!(keys(&red), [(A, true)]);
    shell.state.device_key(two, A, false, 2);
    shell.roundtrip(&mut red);
    assert_eq!(keys(&red), [(A, true), (A, false)]);
}

#[test]
fn a_keyboard_that_is_unplugged_while_keys_are_held_releases_them() {
    let mut shell = Fixture::new();
    let mut red = red(&mut shell);
    let keyboard = DeviceId::ONLY.next();
    shell.state.handle_pointer_motion(640.0, 400.0, 1);
    shell.state.device_key(keyboard, A, true, 1);
    shell.state.device_button(keyboard, LEFT, true, 1);
    shell.state.device_unplugged(keyboard, 2);
    shell.state.device_key(keyboard, A, false, 3);
    shell.roundtrip(&mut red);
    assert_eq!(keys(&red), [(A, true), (A, false)]);
    assert_eq!(red.events.pointer.last(), Some(&Pointer::Button(LEFT, false)));
}

#[test]
fn a_super_key_that_is_unplugged_ends_the_switcher() {
    let mut shell = Fixture::new();
    let _red = red(&mut shell);
    let keyboard = DeviceId::ONLY.next();
    shell.state.device_key(keyboard, LEFT_META, true, 1);
    shell.state.device_key(keyboard, TAB, true, 2);
    assert_eq!(shell.state.shell.mode(), Mode::Switcher);
    shell.state.device_unplugged(keyboard, 3);
    assert_eq!(shell.state.shell.mode(), Mode::Guest);
}

#[test]
fn tp09_a_terminals_chord_changes_nothing_for_the_guest() {
    let mut shell = Fixture::new();
    let mut red = red(&mut shell);
    for (code, pressed) in [LEFT_CTRL, LEFT_ALT, F2].map(|code| (code, true)) {
        shell.state.handle_key(code, pressed, 1);
    }
    for code in [F2, LEFT_ALT, LEFT_CTRL] {
        shell.state.handle_key(code, false, 2);
    }
    shell.roundtrip(&mut red);
    assert_eq!(keys(&red), [(LEFT_CTRL, true), (LEFT_CTRL, false)]);
    assert_eq!(shell.state.shell.keyboard_owner(), Some(name("red")));
}

#[test]
fn one_finger_is_the_left_button_and_the_others_are_nothing() {
    let mut shell = Fixture::new();
    let mut red = red(&mut shell);
    let (screen, [first, second]) = (DeviceId::ONLY.next(), [0, 1].map(|slot| TouchSlot::from(Some(slot))));
    shell.state.handle_touch_down(screen, first, (104.0, 128.0), 1);
    shell.state.handle_touch_down(screen, second, (504.0, 528.0), 2);
    shell.state.handle_touch_motion(screen, second, (600.0, 600.0), 3);
    shell.state.handle_touch_motion(screen, first, (114.0, 128.0), 4);
    shell.state.handle_touch_up(screen, second, 5);
    shell.state.handle_touch_up(screen, first, 6);
    shell.roundtrip(&mut red);
    let expected = [
        Pointer::Enter(100.0, 100.0),
        Pointer::Button(LEFT, true),
        Pointer::Motion(110.0, 100.0),
        Pointer::Button(LEFT, false),
    ];
    assert_eq!(red.events.pointer, expected);
}

#[test]
fn steps_move_the_pointer_over_the_outputs_and_never_off_them() {
    let (mut shell, mut red, _blue) = two_outputs();
    shell.state.handle_pointer_step(0.0, 0.0, 1);
    assert_eq!(shell.state.protocols.seat.position(), Some((640.0, 400.0)), "it begins in the middle");
    for _ in 0..100 {
        shell.state.handle_pointer_step(37.5, 11.0, 2);
    }
    let (x, y) = shell.state.protocols.seat.position().unwrap();
    assert!((1279.0..1920.0).contains(&x) && y < 800.0, "{x} {y}");
    shell.state.handle_pointer_step(f64::NAN, f64::INFINITY, 3);
    shell.state.handle_pointer_step(-1e9, -1e9, 3);
    assert_eq!(shell.state.protocols.seat.position(), Some((0.0, 0.0)));
    shell.roundtrip(&mut red);
    assert_eq!(red.events.pointer.first(), Some(&Pointer::Enter(636.0, 372.0)));
}

#[test]
fn tp05_the_pointer_is_the_focused_guests_and_nobodys_over_another() {
    let (mut shell, mut red, mut blue) = two_outputs();
    shell.state.handle_pointer_motion(100.0, 100.0, 1);
    shell.state.handle_pointer_motion(1500.0, 200.0, 2);
    shell.state.handle_wheel(0.0, 1.0, 3);
    shell.roundtrip(&mut red);
    shell.roundtrip(&mut blue);
    assert_eq!(red.events.pointer, [Pointer::Enter(96.0, 72.0), Pointer::Leave]);
    assert_eq!(blue.events.pointer, []);
}

#[test]
fn a_click_on_another_guests_output_moves_the_focus_there_and_reaches_nobody() {
    let (mut shell, mut red, mut blue) = two_outputs();
    shell.state.handle_pointer_motion(1500.0, 200.0, 1);
    shell.state.handle_button(LEFT, true, 2);
    assert_eq!(shell.state.shell.keyboard_owner(), Some(name("blue")));
    shell.state.handle_button(LEFT, false, 3);
    shell.roundtrip(&mut red);
    shell.roundtrip(&mut blue);
    assert_eq!(red.events.pointer, []);
    assert_eq!(blue.events.pointer, [Pointer::Enter(216.0, 172.0)], "its own pixels on its own output");
    shell.state.handle_button(LEFT, true, 4);
    shell.roundtrip(&mut blue);
    assert_eq!(blue.events.pointer.last(), Some(&Pointer::Button(LEFT, true)));
}

#[test]
fn a_button_held_over_another_output_stays_in_the_picture_where_it_was_pressed() {
    let (mut shell, mut red, mut blue) = two_outputs();
    shell.state.handle_pointer_motion(1000.0, 200.0, 1);
    shell.state.handle_button(LEFT, true, 2);
    shell.state.handle_pointer_motion(1500.0, 200.0, 3);
    shell.state.handle_button(0x111, true, 4);
    shell.roundtrip(&mut red);
    assert_eq!(red.events.pointer.last(), Some(&Pointer::Button(0x111, true)));
    assert!(
        red.events.pointer.iter().any(|event| matches!(event, Pointer::Motion(x, _) if *x > 1271.0 && *x < 1272.0))
    );
    for button in [LEFT, 0x111] {
        shell.state.handle_button(button, false, 5);
    }
    shell.roundtrip(&mut red);
    shell.roundtrip(&mut blue);
    assert_eq!(red.events.pointer.last(), Some(&Pointer::Leave));
    assert_eq!(shell.state.shell.keyboard_owner(), Some(name("red")), "a drag is no click");
    assert_eq!(blue.events.pointer, []);
}

#[test]
fn a_button_held_over_to_another_display_of_the_same_guest_goes_on_there() {
    let mut shell = Fixture::with(&[(1280, 800), (640, 480)], RendererKind::Pixman).unwrap();
    let mut red = red(&mut shell);
    let second = red.window("phyllome.scanout.1");
    shell.roundtrip(&mut red);
    assert_eq!(red.events.configured, Some((632, 448)));
    second.acknowledge(&red);
    let _pool = red.fill(&second.surface, 632, 448, CYAN);
    shell.roundtrip(&mut red);
    shell.state.handle_pointer_motion(1270.0, 228.0, 1);
    shell.state.handle_button(LEFT, true, 2);
    shell.state.handle_pointer_motion(1277.0, 228.0, 3);
    shell.state.handle_pointer_motion(1284.0, 228.0, 4);
    shell.state.handle_pointer_motion(1304.0, 238.0, 5);
    shell.state.handle_button(LEFT, false, 6);
    shell.state.handle_pointer_motion(1270.0, 228.0, 7);
    shell.roundtrip(&mut red);
    let mut seen = red.events.pointer.clone();
    // A place that is said twice says nothing new.
    seen.dedup();
    let edge = 1272.0 - 1.0 / 256.0;
    let expected = [
        Pointer::Enter(1266.0, 200.0),
        Pointer::Button(LEFT, true),
        Pointer::Motion(edge, 200.0),
        Pointer::Leave,
        Pointer::Enter(0.0, 200.0),
        Pointer::Motion(20.0, 210.0),
        Pointer::Button(LEFT, false),
        Pointer::Leave,
        Pointer::Enter(1266.0, 200.0),
    ];
    assert_eq!(seen, expected);
}

#[test]
fn a_drag_between_two_displays_of_a_guest_passes_over_another_guests_which_gets_nothing() {
    let mut shell = Fixture::with(&[(1280, 800), (640, 480), (1024, 600)], RendererKind::Pixman).unwrap();
    let settings = OutputConfig { guest: Some(name("blue")), ..OutputConfig::default() };
    shell.state.displays.set("HEADLESS-2", settings);
    shell.state.outputs_changed();
    let mut red = red(&mut shell);
    let second = red.window("phyllome.scanout.1");
    shell.roundtrip(&mut red);
    assert_eq!(red.events.configured, Some((1016, 568)), "the third display");
    second.acknowledge(&red);
    let _pool = red.fill(&second.surface, 1016, 568, CYAN);
    shell.roundtrip(&mut red);
    let mut blue = shell.attach("blue");
    let window = blue.window("phyllome.scanout.0");
    shell.roundtrip(&mut blue);
    window.acknowledge(&blue);
    let _blues = blue.fill(&window.surface, 632, 448, GREEN);
    devices(&mut shell, &mut blue);
    shell.state.handle_pointer_motion(104.0, 228.0, 1);
    shell.state.handle_button(LEFT, true, 2);
    shell.state.handle_pointer_motion(1280.0 + 300.0, 228.0, 3);
    shell.state.handle_pointer_motion(1920.0 + 14.0, 48.0, 4);
    shell.state.handle_button(LEFT, false, 5);
    shell.roundtrip(&mut red);
    shell.roundtrip(&mut blue);
    let mut seen = red.events.pointer.clone();
    seen.dedup();
    let expected = [
        Pointer::Enter(100.0, 200.0),
        Pointer::Button(LEFT, true),
        Pointer::Motion(1272.0 - 1.0 / 256.0, 200.0),
        Pointer::Leave,
        Pointer::Enter(10.0, 20.0),
        Pointer::Button(LEFT, false),
    ];
    assert_eq!(seen, expected);
    assert_eq!(blue.events.pointer, []);
}

#[test]
fn tp09_super_and_the_wheel_reach_the_guest_and_no_prefix_of_the_chord_after_it() {
    let mut shell = Fixture::new();
    let mut red = red(&mut shell);
    shell.state.handle_pointer_motion(640.0, 400.0, 1);
    shell.state.handle_key(LEFT_META, true, 2);
    shell.state.handle_wheel(0.0, 1.0, 3);
    shell.roundtrip(&mut red);
    assert_eq!(keys(&red), [(LEFT_META, true), (LEFT_META, false)], "around the turn");
    shell.state.handle_key(TAB, true, 4);
    shell.roundtrip(&mut red);
    assert_eq!(keys(&red).len(), 2, "the chord finds nothing of it in the guest");
    [TAB, LEFT_META].into_iter().for_each(|code| shell.state.handle_key(code, false, 5));
}

#[test]
fn clicks_and_the_wheel_outside_the_picture_lend_super_to_nobody() {
    let mut shell = Fixture::new();
    let mut red = red(&mut shell);
    shell.state.handle_pointer_motion(640.0, 10.0, 1);
    shell.state.handle_key(LEFT_META, true, 2);
    shell.state.handle_button(LEFT, true, 3);
    shell.state.handle_button(LEFT, false, 4);
    shell.state.handle_wheel(0.0, 1.0, 5);
    shell.roundtrip(&mut red);
    assert_eq!((keys(&red), red.events.pointer.clone()), (vec![], vec![]));
}

/// How many white pixels of the shell's arrow there are around a place.
fn arrow_at(shell: &mut Fixture, output: &str, x: u32, y: u32) -> usize {
    let target = CaptureTarget::Output(output.to_owned());
    let shot = shell.shot_of(&format!("arrow-{output}-{x}-{y}"), &target);
    let (width, height) = (shot.width, shot.height);
    let near = (x.saturating_sub(2)..(x + 14).min(width))
        .flat_map(|x| (y.saturating_sub(2)..(y + 20).min(height)).map(move |y| (x, y)));
    near.filter(|(x, y)| shot.at(*x, *y) == WHITE).count()
}

#[test]
fn tp15_the_shells_arrow_is_seen_where_no_guest_answers_and_never_over_the_focused_picture() {
    let (mut shell, _red, _blue) = two_outputs();
    assert_eq!(arrow_at(&mut shell, "HEADLESS-1", 640, 400), 0, "it has not moved yet");
    shell.state.handle_pointer_motion(640.0, 400.0, 1);
    assert_eq!(arrow_at(&mut shell, "HEADLESS-1", 640, 400), 0, "the guest draws its own");
    shell.state.handle_pointer_motion(1279.0 + 200.0, 200.0, 2);
    assert!(arrow_at(&mut shell, "HEADLESS-2", 199, 200) > 50);
    shell.state.handle_pointer_motion(1000.0, 4.0, 3);
    assert!(arrow_at(&mut shell, "HEADLESS-1", 1000, 4) > 50);
    assert_eq!(arrow_at(&mut shell, "HEADLESS-2", 199, 200), 0);
    shell.state.handle_pointer_motion(0.0, 4.0, 4);
    let shot = shell.shot("arrow-at-the-edge");
    assert!((0..800).all(|y| shot.at(0, y) == shot.at(0, 799)), "the outermost pixels are the guest's colour");
}

#[test]
fn the_shells_arrow_goes_after_a_while_and_nothing_wakes_the_shell_later() {
    let mut shell = Fixture::new();
    let _red = red(&mut shell);
    shell.state.handle_pointer_motion(640.0, 10.0, 1);
    assert!(shell.state.arrow_is_seen());
    shell.wait("the arrow to go", |shell| !shell.state.arrow_is_seen());
    shell.settle();
    assert!(!shell.turn_until_woken(Duration::from_millis(200)), "something woke the shell");
    shell.state.handle_pointer_motion(650.0, 10.0, 2);
    assert!(shell.state.arrow_is_seen());
    shell.state.handle_touch_down(DeviceId::ONLY.next(), TouchSlot::from(Some(0)), (660.0, 10.0), 3);
    assert!(!shell.state.arrow_is_seen(), "a finger needs no arrow");
}

#[test]
fn the_selection_moves_while_a_key_is_held_and_nothing_wakes_the_shell_later() {
    let mut shell = Fixture::new();
    let selected = |shell: &Fixture| match shell.state.shell.view() {
        Some(View::Panel(panel)) => panel.selected,
        other => panic!("no panel: {other:?}"),
    };
    let names = ["red", "blue", "green", "gray"];
    shell.guests(names.iter().zip(1..).map(|(name, slot)| guest(name, slot, LabelColor::Red)).collect());
    shell.panel(true);
    assert_eq!(selected(&shell), 0);
    shell.state.handle_key(DOWN, true, 1);
    assert_eq!(selected(&shell), 1);
    shell.wait("the selection to go on", |shell| selected(shell) == 3);
    shell.state.handle_key(DOWN, false, 2);
    shell.settle();
    assert!(!shell.turn_until_woken(Duration::from_millis(800)), "a key that was released repeats");
}

#[test]
fn the_switcher_goes_on_while_tab_is_held_and_a_guests_keys_never_repeat() {
    let mut shell = Fixture::new();
    let mut red = red(&mut shell);
    let selected = |shell: &Fixture| match shell.state.shell.view() {
        Some(View::Switcher(switcher)) => Some(switcher.selected),
        Some(View::Panel(_)) | None => None,
    };
    shell.state.handle_key(LEFT_META, true, 1);
    shell.state.handle_key(TAB, true, 2);
    assert_eq!(selected(&shell), Some(1));
    shell.wait("the switcher to go on", |shell| selected(shell) == Some(0));
    shell.state.handle_input_lost(3);
    shell.state.act(Verb::Show(name("red")), Asker::Tool).unwrap();
    shell.wait("the flash to be over", |shell| shell.state.shell.flash(std::time::Instant::now()).is_none());
    shell.state.handle_key(A, true, 4);
    shell.settle();
    assert!(!shell.turn_until_woken(Duration::from_millis(800)), "something repeats");
    shell.roundtrip(&mut red);
    assert_eq!(keys(&red), [(A, true)]);
}

#[test]
fn no_light_burns_for_a_guest_that_does_not_say_its_own() {
    let mut shell = Fixture::new();
    let _red = red(&mut shell);
    assert_eq!(shell.state.lights(), Leds::default());
    shell.state.handle_key(CAPS_LOCK, true, 1);
    shell.state.handle_key(CAPS_LOCK, false, 2);
    assert_eq!(shell.state.protocols.seat.led_state().caps, Some(true), "the key was seen");
    assert_eq!(shell.state.lights(), Leds::default());
}
