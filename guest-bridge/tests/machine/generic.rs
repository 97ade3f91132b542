//! A guest on QEMU's generic vhost-user device, where this computer's QEMU has it: blobs, and another size of the
//! screen without any display of QEMU's. Elsewhere each test says so and ends.

use super::bridge::Bridge;
use super::linux::{linux, serial, wait_for};
use phyllome_protocol::GuestVerb;
use phyllome_protocol::control::Request;
use phyllome_test_guests::Mode;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

/// Whether QEMU is new enough and has the device.
fn has_generic_device(test: &str) -> bool {
    let said = |argument: &[&str]| {
        let output = std::process::Command::new("qemu-system-x86_64").args(argument).output();
        output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default()
    };
    let version = phyllome_guest_bridge::machine::host::QemuVersion::parse(&said(&["--version"]));
    let new = version.is_some_and(|version| version >= phyllome_guest_bridge::machine::transport::GENERIC_SINCE);
    let found = new && said(&["-device", "help"]).contains("\"vhost-user-test-device-pci\"");
    if !found {
        println!("SKIPPED: {test}: this computer's QEMU has no generic vhost-user device (QEMU 11.0 and newer)");
    }
    found
}

#[test]
fn a_guest_shows_blobs_and_follows_its_screen_s_size() {
    if !has_generic_device("a_guest_shows_blobs_and_follows_its_screen_s_size") {
        return;
    }
    let text = format!("{}transport = \"generic\"\n", linux(Mode::Animate, 2));
    let mut bridge = Bridge::start("work", &text);
    wait_for(&bridge, &phyllome_test_guests::ready_line("work"));
    let found = serial(&bridge);
    assert!(found.contains("PHYLLOME-GUEST-DISPLAY card0-Virtual-1 connected 1280x800"), "{found}");
    assert!(!found.contains("card0-Virtual-2 connected"), "nobody has a display for it: {found}");
    let report = bridge.report_until("its first scanout is on", |report| report.scanouts.len() == 1);
    assert_eq!(report.gpu.transport, "generic");
    assert!(report.gpu.features.iter().any(|feature| feature == "resource_blob"), "{:?}", report.gpu);
    for (width, height) in [(1912, 1048), (800, 600)] {
        let (screen, _compositor) = UnixStream::pair().unwrap();
        bridge.ask_with(Request::AttachScreen { width, height }, &[screen.as_fd()]).unwrap();
        wait_for(&bridge, &format!("PHYLLOME-GUEST-DISPLAY card0-Virtual-1 connected {width}x{height}"));
        bridge.report_until("its scanout has the new size", |report| {
            report.scanouts.len() == 1 && report.scanouts.iter().all(|s| (s.width, s.height) == (width, height))
        });
    }
}

#[test]
fn a_reboot_begins_with_nothing() {
    if !has_generic_device("a_reboot_begins_with_nothing") {
        return;
    }
    let text = format!("{}transport = \"generic\"\n", linux(Mode::Animate, 1));
    let mut bridge = Bridge::start("work", &text);
    bridge.report_until("a scanout is on", |report| report.scanouts.len() == 1);
    bridge.ask(Request::Verb(GuestVerb::Restart)).unwrap();
    bridge.report_until("it is off after the reset", |report| report.scanouts.is_empty());
    bridge.report_until("it is on again", |report| report.scanouts.len() == 1);
    bridge.ask(Request::Verb(GuestVerb::Kill)).unwrap();
    assert_eq!(bridge.wait().0, Some(0));
}
