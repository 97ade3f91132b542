//! The pointer: inside the picture it is the guest's, outside the shell's, and a guest's pointer never leaves its area.

use super::client::{Client, Pointer, Window};
use super::fixture::{Fixture, name};
use super::show::shown;
use wayland_client::protocol::{wl_pointer, wl_shm};

const GREEN: u32 = 0x00_ff_00;
const MAGENTA: u32 = 0xff_00_ff;
const LEFT: u32 = 0x110;

fn pointing(shell: &mut Fixture) -> (Client, Window, wl_pointer::WlPointer, super::client::Pool) {
    let (mut red, window, pool) = shown!(shell, "red", GREEN);
    let pointer = red.seat().get_pointer(&red.handle, ());
    shell.roundtrip(&mut red);
    (red, window, pointer, pool)
}

#[test]
fn places_are_the_guests_own_pixels() {
    let mut shell = Fixture::new();
    let (mut red, _window, _pointer, _pool) = pointing(&mut shell);
    shell.state.point_to(4.0, 28.0, 1);
    shell.state.point_to(104.5, 228.0, 2);
    shell.roundtrip(&mut red);
    assert_eq!(red.events.pointer, [Pointer::Enter(0.0, 0.0), Pointer::Motion(100.5, 200.0)]);
}

#[test]
fn a_pointer_that_was_there_first_enters_the_picture_when_it_comes() {
    let mut shell = Fixture::new();
    shell.state.point_to(104.0, 228.0, 1);
    let mut red = shell.attach("red");
    red.seat().get_pointer(&red.handle, ());
    let window = red.window("phyllome.scanout.0");
    shell.roundtrip(&mut red);
    window.acknowledge(&red);
    let _pool = red.fill(&window.surface, 1272, 768, GREEN);
    shell.roundtrip(&mut red);
    assert_eq!(red.events.pointer, [Pointer::Enter(100.0, 200.0)]);
}

#[test]
fn over_the_band_the_pointer_is_nobodys() {
    let mut shell = Fixture::new();
    let (mut red, _window, _pointer, _pool) = pointing(&mut shell);
    shell.state.point_to(640.0, 400.0, 1);
    shell.state.point_to(640.0, 10.0, 2);
    shell.state.forward_button(LEFT, true, 3);
    shell.state.forward_button(LEFT, false, 4);
    shell.roundtrip(&mut red);
    assert_eq!(red.events.pointer.len(), 2);
    assert_eq!(red.events.pointer.last(), Some(&Pointer::Leave));
}

#[test]
fn a_held_button_keeps_the_pointer_in_the_picture() {
    let mut shell = Fixture::new();
    let (mut red, _window, _pointer, _pool) = pointing(&mut shell);
    shell.state.point_to(640.0, 400.0, 1);
    shell.state.forward_button(LEFT, true, 2);
    shell.state.point_to(640.0, 0.0, 3);
    shell.state.forward_button(LEFT, false, 4);
    shell.roundtrip(&mut red);
    assert!(red.events.pointer.contains(&Pointer::Motion(636.0, 0.0)));
    assert!(red.events.pointer.contains(&Pointer::Button(LEFT, false)));
    assert_eq!(red.events.pointer.last(), Some(&Pointer::Leave));
}

#[test]
fn tp10_a_button_held_over_a_switch_reaches_the_new_guest_in_no_way() {
    let mut shell = Fixture::new();
    let (mut red, _window, _pointer, _pool) = pointing(&mut shell);
    let (mut blue, _w, _p) = shown!(shell, "blue", GREEN);
    blue.seat().get_pointer(&blue.handle, ());
    shell.roundtrip(&mut blue);
    shell.state.point_to(640.0, 400.0, 1);
    shell.state.forward_button(LEFT, true, 2);
    shell.show("blue");
    shell.state.forward_button(LEFT, false, 3);
    shell.roundtrip(&mut red);
    shell.roundtrip(&mut blue);
    assert_eq!(red.events.pointer.last(), Some(&Pointer::Leave));
    assert_eq!(blue.events.pointer, [Pointer::Enter(636.0, 372.0)]);
}

#[test]
fn the_wheel_turns_in_notches() {
    let mut shell = Fixture::new();
    let (mut red, _window, _pointer, _pool) = pointing(&mut shell);
    shell.state.point_to(640.0, 400.0, 1);
    shell.state.forward_axis(0.0, 2.0, 2);
    shell.roundtrip(&mut red);
    assert_eq!(red.events.pointer.last(), Some(&Pointer::Axis(2)));
}

/// Makes `surface` the guest's pointer.
fn set_cursor(shell: &mut Fixture, red: &mut Client, pointer: &wl_pointer::WlPointer, size: i32, hotspot: i32) {
    let surface = red.surface();
    let (buffer, _pool) = red.buffer(size, size, 0xff00_0000 | MAGENTA, wl_shm::Format::Argb8888);
    pointer.set_cursor(red.events.entered, Some(&surface), hotspot, hotspot);
    surface.attach(Some(&buffer), 0, 0);
    surface.damage_buffer(0, 0, size, size);
    surface.commit();
    shell.roundtrip(red);
}

#[test]
fn tp15_a_guests_pointer_is_cut_to_the_area() {
    let mut shell = Fixture::new();
    let (mut red, _window, pointer, _pool) = pointing(&mut shell);
    let proper = shell.shot("before-the-cursor");
    let area = shell.area();
    shell.state.point_to(640.0, 400.0, 1);
    shell.roundtrip(&mut red);
    set_cursor(&mut shell, &mut red, &pointer, 64, 0);
    assert_eq!(shell.shot("cursor").count_inside(&area, MAGENTA), 64 * 64);
    for (x, y) in [(1275.0, 795.0), (4.0, 28.0), (4.0, 795.0)] {
        shell.state.point_to(x, y, 2);
        let shot = shell.shot("cursor-at-the-edge");
        assert_eq!(shot.differs_outside(&area, &proper), None, "{x}, {y}");
        assert!(shot.count_inside(&area, MAGENTA) > 0, "{x}, {y}");
    }
}

#[test]
fn tp15_a_huge_pointer_is_not_shown_and_none_over_the_shells_own_surfaces() {
    let mut shell = Fixture::new();
    let (mut red, _window, pointer, _pool) = pointing(&mut shell);
    let area = shell.area();
    shell.state.point_to(640.0, 400.0, 1);
    shell.roundtrip(&mut red);
    set_cursor(&mut shell, &mut red, &pointer, 300, i32::MIN);
    assert_eq!(shell.shot("huge-cursor").count_inside(&area, MAGENTA), 0);
    set_cursor(&mut shell, &mut red, &pointer, 32, i32::MAX);
    assert_eq!(shell.shot("small-cursor").count_inside(&area, MAGENTA), 32 * 32);
    shell.panel(true);
    assert_eq!(shell.shot("cursor-and-panel").count_inside(&area, MAGENTA), 0);
    assert!(shell.state.has_picture(&name("red")));
}
