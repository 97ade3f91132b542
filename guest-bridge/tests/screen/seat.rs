//! Keys, pointer and cursor.

use super::Stage;
use super::compositor::{Offer, send_keymap};
use super::rig::{XR24, memory, rect, scanout, whole};
use phyllome_guest_bridge::frames::{CursorImage, ToScreen};
use phyllome_guest_bridge::screen::InputEvent::{self, Abs, Button, Key, ReleaseAll, Wheel};
use std::sync::Arc;
use wayland_server::Resource;
use wayland_server::protocol::wl_keyboard::WlKeyboard;
use wayland_server::protocol::wl_pointer::{self, WlPointer};

const LEFT: u32 = 0x110;

/// A guest of 100×50 pixels is shown, and the compositor has a seat.
async fn shown() -> (Stage, WlKeyboard, WlPointer) {
    let mut stage = Stage::new(Offer::default()).await;
    let buffer = memory(100, 50, XR24, [0; 4], false);
    stage.rig.set(0, Some(whole(&buffer))).await;
    stage.show(0, &[rect(0, 0, 1, 1)]).await;
    stage.until("a seat", |_, c| c.state.keyboard.is_some() && c.state.pointer.is_some()).await;
    let (keyboard, pointer) = (stage.compositor.state.keyboard.clone(), stage.compositor.state.pointer.clone());
    (stage, keyboard.unwrap(), pointer.unwrap())
}

/// The input that arrives after what the compositor has sent so far.
async fn input(stage: &mut Stage) -> Vec<InputEvent> {
    stage.quiet().await;
    stage.rig.take_input()
}

#[tokio::test]
async fn keys_arrive_as_evdev_knows_them_and_are_released_on_leaving() {
    let (mut stage, keyboard, _) = shown().await;
    let window = &stage.compositor.state.windows[0];
    send_keymap(&keyboard);
    window.keyboard_enter(&keyboard, &[]);
    window.key(&keyboard, 30, true);
    window.key(&keyboard, 30, false);
    window.key(&keyboard, 42, true);
    window.key(&keyboard, 31, true);
    keyboard.leave(1, &window.surface);
    window.key(&keyboard, 42, false);
    window.key(&keyboard, 32, true);
    let key = |code, pressed| Key { code, pressed };
    let expected = [key(30, true), key(30, false), key(42, true), key(31, true), ReleaseAll];
    assert_eq!(input(&mut stage).await, expected);
}

#[tokio::test]
async fn what_was_pressed_before_is_none_of_the_guests_business() {
    let (mut stage, keyboard, _) = shown().await;
    let window = &stage.compositor.state.windows[0];
    window.keyboard_enter(&keyboard, &[125, 3]);
    window.key(&keyboard, 125, false);
    window.key(&keyboard, 3, false);
    keyboard.leave(1, &window.surface);
    assert_eq!(input(&mut stage).await, []);
}

#[tokio::test]
async fn a_lost_compositor_releases_what_it_held() {
    let (mut stage, keyboard, _) = shown().await;
    let window = &stage.compositor.state.windows[0];
    window.keyboard_enter(&keyboard, &[]);
    window.key(&keyboard, 29, true);
    assert_eq!(input(&mut stage).await, [Key { code: 29, pressed: true }]);
    stage.rig.handle.detach();
    stage.rig.until("the end", |rig| rig.detached().is_some()).await;
    assert_eq!(stage.rig.take_input(), [ReleaseAll]);
}

#[tokio::test]
async fn the_pointer_is_absolute_over_the_scanout() {
    let (mut stage, _, pointer) = shown().await;
    let surface = stage.compositor.state.windows[0].surface.clone();
    let abs = |x, y| Abs { x, y, scanout: scanout(0) };
    // A button that went down elsewhere.
    pointer.button(1, 0, LEFT, wl_pointer::ButtonState::Pressed);
    pointer.enter(7, &surface, 0.0, 0.0);
    pointer.button(1, 0, LEFT, wl_pointer::ButtonState::Released);
    pointer.frame();
    assert_eq!(input(&mut stage).await, [abs(163, 327)]);
    pointer.motion(0, 99.9, 49.9);
    pointer.button(1, 0, LEFT, wl_pointer::ButtonState::Pressed);
    pointer.motion(0, 5000.0, -3.0);
    pointer.frame();
    pointer.axis(0, wl_pointer::Axis::VerticalScroll, 15.0);
    pointer.axis_value120(wl_pointer::Axis::VerticalScroll, 120);
    pointer.frame();
    pointer.leave(8, &surface);
    pointer.button(1, 0, LEFT, wl_pointer::ButtonState::Released);
    let button = |pressed| Button { code: LEFT, pressed };
    let wheel = Wheel { vertical: 1, horizontal: 0 };
    assert_eq!(input(&mut stage).await, [abs(32604, 32440), button(true), abs(32604, 327), wheel, button(false)]);
}

/// A guest with two displays, 100×50 and 60×80 pixels, is shown, and the compositor has a pointer.
async fn two_displays() -> (Stage, WlPointer) {
    let (mut stage, _, pointer) = shown().await;
    stage.rig.set(1, Some(whole(&memory(60, 80, XR24, [0; 4], false)))).await;
    stage.rig.flush(1, &[rect(0, 0, 1, 1)]).await;
    stage.until("a second window", |_, c| c.state.windows.len() == 2).await;
    stage.show(1, &[rect(0, 0, 1, 1)]).await;
    (stage, pointer)
}

#[tokio::test]
async fn a_place_on_the_second_display_is_one_on_the_second_part_of_the_guests_desktop() {
    let (mut stage, pointer) = two_displays().await;
    let surface = stage.compositor.state.windows[1].surface.clone();
    pointer.enter(7, &surface, 0.0, 0.0);
    pointer.motion(0, 59.9, 79.9);
    let pixel = |of: u32, place: u16, extent: u32| u32::from(place) * extent / 0x8000 == of;
    let events = input(&mut stage).await;
    // The newest of two places alone counts.
    let [Abs { x, y, scanout }] = events[..] else { panic!("{events:?}") };
    assert_eq!(scanout.get(), 1);
    assert!(pixel(159, x, 160) && pixel(79, y, 80), "{x} {y}");
    let first = stage.compositor.state.windows[0].surface.clone();
    pointer.leave(8, &surface);
    pointer.enter(9, &first, 99.0, 49.0);
    let events = input(&mut stage).await;
    let [Abs { x, y, .. }] = events[..] else { panic!("{events:?}") };
    assert!(pixel(99, x, 160) && pixel(49, y, 80), "{x} {y}");
}

#[tokio::test]
async fn a_button_that_is_held_over_to_the_next_display_stays_down() {
    let (mut stage, pointer) = two_displays().await;
    let [first, second] = [0, 1].map(|number| stage.compositor.state.windows[number].surface.clone());
    pointer.enter(7, &first, 99.0, 10.0);
    pointer.button(1, 0, LEFT, wl_pointer::ButtonState::Pressed);
    pointer.frame();
    pointer.leave(8, &first);
    pointer.frame();
    pointer.enter(9, &second, 0.0, 10.0);
    pointer.frame();
    pointer.button(1, 0, LEFT, wl_pointer::ButtonState::Released);
    pointer.frame();
    let button = |pressed| Button { code: LEFT, pressed };
    let buttons = |events: Vec<InputEvent>| events.into_iter().filter(|event| !matches!(event, Abs { .. }));
    let all = input(&mut stage).await;
    assert_eq!(all.iter().position(|event| *event == button(false)), Some(3), "after both places: {all:?}");
    assert_eq!(buttons(all).collect::<Vec<_>>(), [button(true), button(false)]);
    pointer.button(1, 0, LEFT, wl_pointer::ButtonState::Pressed);
    pointer.leave(10, &second);
    pointer.frame();
    assert_eq!(input(&mut stage).await, [button(true), button(false)], "nowhere to go on");
}

fn cursor(byte: u8) -> CursorImage {
    CursorImage { pixels: Arc::from(vec![byte; 64 * 64 * 4]), hot_x: 3, hot_y: 70 }
}

#[tokio::test]
async fn the_guests_cursor_is_shown_over_the_guest() {
    let (mut stage, _, pointer) = shown().await;
    let surface = stage.compositor.state.windows[0].surface.clone();
    pointer.enter(7, &surface, 1.0, 1.0);
    stage.until("no cursor", |_, compositor| compositor.state.cursors == [(None, 0, 0)]).await;
    stage.rig.send(ToScreen::Cursor { id: scanout(0), image: Some(cursor(77)) }).await;
    stage.until("a cursor", |_, compositor| compositor.state.cursors.len() == 2).await;
    let (shown, hot_x, hot_y) = stage.compositor.state.cursors[1].clone();
    assert_eq!((hot_x, hot_y), (3, 63), "inside the image");
    let commits = &stage.compositor.state.commits;
    let commit = commits.iter().find(|commit| commit.surface == shown).unwrap();
    let info = commit.buffer.clone().unwrap();
    assert_eq!((info.size, info.pixel(63, 63)), ((64, 64), [77; 4]));
    assert_ne!(shown, Some(surface.id()));
    stage.rig.send(ToScreen::Cursor { id: scanout(1), image: None }).await;
    stage.rig.send(ToScreen::Cursor { id: scanout(0), image: None }).await;
    stage.until("no cursor again", |_, compositor| compositor.state.cursors.last().unwrap().0.is_none()).await;
    assert_eq!(stage.compositor.state.cursors.len(), 3);
}

#[tokio::test]
async fn a_guest_cannot_flood_the_compositor_with_cursors() {
    let (mut stage, _, pointer) = shown().await;
    let surface = stage.compositor.state.windows[0].surface.clone();
    pointer.enter(7, &surface, 1.0, 1.0);
    stage.quiet().await;
    let begin = std::time::Instant::now();
    for i in 0..20_000 {
        stage.rig.send(ToScreen::Cursor { id: scanout(0), image: Some(cursor((i % 250) as u8)) }).await;
    }
    stage.rig.send(ToScreen::Cursor { id: scanout(0), image: Some(cursor(251)) }).await;
    let newest = |compositor: &super::Compositor| compositor.last().buffer.as_ref().unwrap().pixel(0, 0) == [251; 4];
    stage.until("the last one", |_, compositor| newest(compositor)).await;
    let allowed = begin.elapsed().as_millis() / 8 + 2;
    let set = stage.compositor.state.cursors.len() as u128;
    assert!(set <= allowed, "{set} cursors, {allowed} allowed");
}
