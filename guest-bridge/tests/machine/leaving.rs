//! phyllome-guest is asked to end, as when the host powers off: the guest gets its power button and time, under a real
//! QEMU.

use super::QUIET;
use super::bridge::{Bridge, alive, kill};
use super::linux::{linux, wait_for};
use phyllome_protocol::GuestVerb;
use phyllome_protocol::control::{Report, Request};
use phyllome_protocol::status::GuestState;
use phyllome_test_guests::Mode;
use rustix::process::Signal;

/// The guest with so many seconds to power off.
fn start(text: &str, seconds: &str) -> Bridge {
    Bridge::start_with("work", text, |command| {
        command.args(["--stop-timeout", seconds]);
    })
}

fn is_leaving(report: &Report) -> bool {
    let says = report.message.as_deref().unwrap_or_default();
    report.state == GuestState::Stopping && says.contains("asked to power off")
}

fn running(bridge: &mut Bridge) -> u32 {
    let report = bridge.report_until("the guest runs", |report| report.state == GuestState::Running);
    report.qemu_pid.expect("a guest that runs has a QEMU")
}

/// How it ended: its last message; nothing is left and nothing was printed.
fn ended(mut bridge: Bridge, qemu: u32) -> Option<String> {
    let last = bridge.last_report();
    assert_eq!(last.state, GuestState::Stopped, "{last:?}");
    assert_eq!(bridge.wait(), (Some(0), String::new()));
    assert!(!alive(qemu));
    last.message
}

#[test]
fn a_signal_presses_the_power_button_and_the_guest_powers_off() {
    // Only the guest can end this in time.
    let mut bridge = start(&linux(Mode::Quiet, 1), "3600");
    wait_for(&bridge, &phyllome_test_guests::ready_line("work"));
    let qemu = running(&mut bridge);
    kill(bridge.pid(), Signal::TERM);
    bridge.report_until("it is said to shut down", is_leaving);
    assert_eq!(ended(bridge, qemu), None);
}

#[test]
fn a_paused_guest_runs_on_to_power_off() {
    let mut bridge = start(&linux(Mode::Quiet, 1), "3600");
    wait_for(&bridge, &phyllome_test_guests::ready_line("work"));
    let qemu = running(&mut bridge);
    bridge.ask(Request::Verb(GuestVerb::Pause)).unwrap();
    assert_eq!(bridge.reported_state(), Some(GuestState::Paused));
    kill(bridge.pid(), Signal::TERM);
    assert_eq!(ended(bridge, qemu), None);
}

#[test]
fn a_second_signal_ends_a_guest_that_does_not_listen() {
    for first in [Signal::TERM, Signal::INT, Signal::HUP] {
        let mut bridge = start(QUIET, "3600");
        let qemu = running(&mut bridge);
        kill(bridge.pid(), first);
        bridge.report_until("it is said to shut down", is_leaving);
        assert!(bridge.ask(Request::Verb(GuestVerb::Pause)).unwrap_err().contains("has to power off"));
        assert!(alive(qemu), "{first:?} left no time");
        kill(bridge.pid(), Signal::TERM);
        assert_eq!(ended(bridge, qemu), None);
    }
}

#[test]
fn a_guest_that_does_not_listen_is_ended_when_its_time_is_up() {
    let mut bridge = start(QUIET, "1");
    let qemu = running(&mut bridge);
    kill(bridge.pid(), Signal::TERM);
    bridge.report_until("it is said to shut down", is_leaving);
    let message = ended(bridge, qemu).unwrap();
    assert!(message.contains("in time"), "{message}");
}

#[test]
fn qemu_is_deaf_to_what_systemd_sends_to_all_of_a_unit() {
    let mut bridge = Bridge::start("work", QUIET);
    let qemu = running(&mut bridge);
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        kill(qemu, signal);
        // It answers, and has not ended, after the signal.
        bridge.ask(Request::Verb(GuestVerb::Pause)).unwrap();
        bridge.ask(Request::Verb(GuestVerb::Resume)).unwrap();
    }
    assert_eq!(running(&mut bridge), qemu);
    bridge.ask(Request::Verb(GuestVerb::Kill)).unwrap();
    assert_eq!(ended(bridge, qemu), None);
}
