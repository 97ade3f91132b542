//! A running guest follows the size of its screen, and tells the lights of its keyboard: a real QEMU with its D-Bus
//! display.
//!
//! The guests are the tiny Linux guests of the tests; where their kernel is not there yet, it is fetched.

use super::bridge::Bridge;
use super::linux::{linux, serial, wait_for};
use phyllome_protocol::control::{Leds, Request};
use phyllome_test_guests::Mode;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

#[test]
fn a_running_guest_takes_the_mode_of_its_new_screen() {
    let mut bridge = Bridge::start("work", &linux(Mode::Animate, 2));
    wait_for(&bridge, &phyllome_test_guests::ready_line("work"));
    assert!(
        serial(&bridge).contains("PHYLLOME-GUEST-DISPLAY card0-Virtual-1 connected 1280x800"),
        "{}",
        serial(&bridge)
    );
    for (width, height) in [(1912, 1048), (800, 600)] {
        let (screen, _compositor) = UnixStream::pair().unwrap();
        bridge.ask_with(Request::AttachScreen { width, height }, &[screen.as_fd()]).unwrap();
        wait_for(&bridge, &format!("PHYLLOME-GUEST-DISPLAY card0-Virtual-1 connected {width}x{height}"));
        bridge.report_until("its scanout has the new size", |report| {
            report.scanouts.len() == 1 && report.scanouts.iter().all(|s| (s.width, s.height) == (width, height))
        });
    }
    // Whether there is a display for its second scanout a screen says that has windows, and this one has said nothing.
    assert!(!serial(&bridge).contains("card0-Virtual-2 connected"), "{}", serial(&bridge));
}

#[test]
fn the_lights_of_the_guests_keyboard_are_reported() {
    let mut bridge = Bridge::start("work", &linux(Mode::Evdev, 1));
    wait_for(&bridge, &phyllome_test_guests::ready_line("work"));
    bridge.ask(Request::SendKeys { keys: vec!["capslock".into()] }).unwrap();
    let report = bridge.report_until("Caps Lock is on", |report| report.leds.is_some_and(|leds| leds.caps));
    assert_eq!(report.leds, Some(Leds { caps: true, ..Leds::default() }));
    bridge.ask(Request::SendKeys { keys: vec!["capslock".into()] }).unwrap();
    bridge.report_until("Caps Lock is off", |report| report.leds == Some(Leds::default()));
}
