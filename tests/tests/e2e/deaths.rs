//! Everything that can die, dies: what is left is as promised, within the times stated here.

use crate::{BOOT, SOON, guest, has_console, host};
use anyhow::{Context, Result, ensure};
use phyllome_protocol::status::GuestState;
use phyllome_test_guests::Mode;
use phyllome_tests::host::Host;
use std::time::{Duration, Instant};

/// From a death until status says so.
const NOTICED: Duration = Duration::from_secs(5);

fn booted() -> Result<Host> {
    let mut host = host(&[guest("work", 1, "red", Mode::Prompt)])?;
    host.run(&["start", "work"])?;
    host.wait_serial("work", "PHYLLOME-GUEST-READY", BOOT)?;
    host.wait("a picture", SOON, |s| s.guests[0].scanouts.first().is_some_and(|x| x.presented > 0))?;
    Ok(host)
}

fn kill(pid: Option<u32>) -> Result<()> {
    let pid = rustix::process::Pid::from_raw(pid.context("no pid")? as i32).context("pid 0")?;
    Ok(rustix::process::kill_process(pid, rustix::process::Signal::KILL)?)
}

fn gone(pid: Option<u32>) -> Result<()> {
    let path = format!("/proc/{}/cmdline", pid.context("no pid")?);
    let end = Instant::now() + NOTICED;
    while std::fs::read(&path).is_ok_and(|text| !text.is_empty()) {
        ensure!(Instant::now() < end, "{path} lives on");
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

#[test]
fn e2e_a_killed_guest_leaves_its_frame_with_a_message() -> Result<()> {
    let mut host = booted()?;
    let (pid, qemu) = (host.guest("work")?.pid, host.guest("work")?.qemu_pid);
    host.run(&["kill", "work"])?;
    let status = host.wait_state("work", GuestState::Stopped, NOTICED)?;
    gone(pid)?;
    gone(qemu)?;
    let area = status.outputs[0].guest_area;
    host.wait_picture("the card", SOON, |p| {
        p.at(0, 0) == [0xc6, 0x28, 0x28] && p.crop(area).count([0x10, 0x11, 0x14]) > 700_000
    })?;
    Ok(())
}

#[test]
fn e2e_qemu_killed_is_a_crash_that_is_told() -> Result<()> {
    let mut host = booted()?;
    let guest = host.guest("work")?;
    kill(guest.qemu_pid)?;
    let status = host.wait_state("work", GuestState::Crashed, NOTICED)?;
    ensure!(status.guests[0].message.as_ref().is_some_and(|m| !m.is_empty()), "no message");
    gone(guest.pid)?;
    host.run(&["start", "work"])?;
    host.wait_state("work", GuestState::Running, SOON)?;
    Ok(())
}

#[test]
fn e2e_phyllome_guest_killed_takes_qemu_along_and_is_told() -> Result<()> {
    let mut host = booted()?;
    let guest = host.guest("work")?;
    kill(guest.pid)?;
    let status = host.wait_state("work", GuestState::Crashed, NOTICED)?;
    ensure!(status.guests[0].message.as_ref().is_some_and(|m| !m.is_empty()), "no message");
    gone(guest.qemu_pid)?;
    host.run(&["start", "work"])?;
    host.wait_state("work", GuestState::Running, SOON)?;
    Ok(())
}

#[test]
fn e2e_a_restarted_shell_adopts_its_guests_picture_included() -> Result<()> {
    let mut host = booted()?;
    let guest = host.guest("work")?;
    let area = host.status()?.outputs[0].guest_area;
    let picture = host.wait_picture("console", SOON, |p| has_console(p, area))?;
    host.kill_shell()?;
    let start = Instant::now();
    host.start_shell()?;
    let status = host.wait("the adopted guest", NOTICED, |s| {
        s.guests[0].state == GuestState::Running && !s.guests[0].scanouts.is_empty()
    })?;
    ensure!(status.guests[0].pid == guest.pid && status.guests[0].qemu_pid == guest.qemu_pid, "another guest");
    host.run(&["switch", "work"])?;
    host.wait_picture("the same console", SOON, |p| has_console(p, area))?;
    println!("adopted with its picture after {:?}", start.elapsed());
    let again = host.screenshot()?;
    ensure!(again.outside(area) == picture.outside(area), "another frame");
    host.run(&["input", "type", "echo still here\n"])?;
    host.wait_serial("work", "TYPED: echo still here", SOON)?;
    Ok(())
}
