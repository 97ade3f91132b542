//! A guest boots and its picture is inside the frame.

use crate::{BOOT, SOON, guest, guest_with, host};
use anyhow::{Result, ensure};
use phyllome_protocol::status::GuestState;
use phyllome_test_guests::Mode;
use phyllome_tests::host::{Host, HostOptions};
use phyllome_tests::picture::{Picture, rgb};

#[test]
fn e2e_a_guest_boots_to_a_picture_inside_its_frame() -> Result<()> {
    let mut host = host(&[guest("work", 1, "red", Mode::Prompt)])?;
    host.run(&["start", "work"])?;
    host.wait_serial("work", "PHYLLOME-GUEST-READY", BOOT)?;
    let status = host.wait("a scanout", SOON, |s| s.guests[0].scanouts.first().is_some_and(|x| x.presented > 0))?;
    let (output, guest) = (&status.outputs[0], &status.guests[0]);
    let area = output.guest_area;
    ensure!((area.x, area.y, area.width, area.height) == (4, 28, 1272, 768), "{area:?}");
    ensure!((guest.scanouts[0].width, guest.scanouts[0].height) == (1272, 768), "the guest's mode is not its area");
    ensure!(guest.state == GuestState::Running && guest.accel.as_deref() == Some("tcg"));
    ensure!(guest.gpu.features.iter().any(|f| f == "edid"), "{:?}", guest.gpu);
    ensure!(status.focus.as_ref().is_some_and(|f| f.as_str() == "work"));
    let picture = host.wait_picture("console", SOON, |p| crate::has_console(p, area))?;
    let red = rgb("#c62828");
    ensure!(picture.edge().iter().all(|p| *p == red), "the outermost pixels are not all red");
    Ok(())
}

#[test]
fn e2e_a_guest_with_two_scanouts_has_both_on_two_outputs() -> Result<()> {
    let (name, text) = guest_with("wide", 1, "green", Mode::Animate, "\n[gpu]\nscanouts = 2\n");
    let options = HostOptions { sizes: vec!["1280x800".into(), "1024x600".into()], ..HostOptions::default() };
    let mut host = Host::start_with(options, &[(&name, text)])?;
    host.run(&["start", "wide"])?;
    let status = host.wait("two scanouts that draw", BOOT, |s| {
        s.guests[0].scanouts.len() == 2 && s.guests[0].scanouts.iter().all(|x| x.presented > 5)
    })?;
    for (output, scanout) in status.outputs.iter().zip(&status.guests[0].scanouts) {
        ensure!(
            (output.guest_area.width, output.guest_area.height) == (scanout.width, scanout.height),
            "scanout {:?} on {output:?}",
            scanout
        );
        // The console comes first and has two colours; the animation that follows has more.
        let animated = |p: &Picture| p.crop(output.guest_area).colours() > 3;
        host.wait_capture("animation", &["--output", &output.name], BOOT, animated)?;
    }
    Ok(())
}

#[test]
fn e2e_a_reboot_inside_one_qemu_shows_its_picture_again() -> Result<()> {
    let mut host = host(&[guest("work", 1, "red", Mode::Prompt)])?;
    host.run(&["start", "work"])?;
    host.wait_serial("work", "PHYLLOME-GUEST-READY", BOOT)?;
    let before = host.guest("work")?;
    host.run(&["restart", "work"])?;
    let end = std::time::Instant::now() + BOOT;
    while host.serial("work").matches("PHYLLOME-GUEST-READY").count() < 2 {
        ensure!(std::time::Instant::now() < end, "the guest did not come up again");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let after = host.wait("a scanout after the reboot", SOON, |s| !s.guests[0].scanouts.is_empty())?;
    ensure!(after.guests[0].qemu_pid == before.qemu_pid, "another QEMU");
    let area = after.outputs[0].guest_area;
    host.wait_picture("console after reboot", SOON, |p| crate::has_console(p, area))?;
    Ok(())
}

#[test]
fn e2e_a_guest_shuts_down_by_its_power_button() -> Result<()> {
    let mut host = host(&[guest("work", 1, "red", Mode::Prompt)])?;
    host.run(&["start", "work"])?;
    host.wait_serial("work", "PHYLLOME-GUEST-READY", BOOT)?;
    host.run(&["shutdown", "work"])?;
    let status = host.wait_state("work", GuestState::Stopped, BOOT)?;
    ensure!(status.guests[0].qemu_pid.is_none() && status.guests[0].scanouts.is_empty());
    ensure!(status.outputs[0].guest.as_ref().is_some_and(|g| g.as_str() == "work"), "its frame went away");
    ensure!(status.focus.is_none(), "a guest that is off has the keys");
    Ok(())
}

#[test]
fn e2e_pause_stops_the_guest_and_resume_lets_it_run_on() -> Result<()> {
    let mut host = host(&[guest("play", 1, "blue", Mode::Animate)])?;
    host.run(&["start", "play"])?;
    host.wait("an animation", BOOT, |s| s.guests[0].scanouts.first().is_some_and(|x| x.presented > 10))?;
    host.run(&["pause", "play"])?;
    host.wait_state("play", GuestState::Paused, SOON)?;
    let area = host.status()?.outputs[0].guest_area;
    ensure!(crate::has_console(&host.screenshot()?, area), "the picture went away");
    let flushes = |h: &mut Host| -> Result<u64> { Ok(h.guest("play")?.scanouts.first().map_or(0, |s| s.flushes)) };
    // Nothing can be waited for where nothing is to happen: an animation of 30 frames a second is given a second.
    let still = flushes(&mut host)?;
    std::thread::sleep(std::time::Duration::from_secs(1));
    ensure!(flushes(&mut host)? == still, "a paused guest draws");
    host.run(&["resume", "play"])?;
    host.wait("flushes after resume", SOON, |s| s.guests[0].scanouts.first().is_some_and(|x| x.flushes > still + 5))?;
    Ok(())
}

#[test]
fn e2e_the_process_that_must_not_crash_holds_no_c_library_but_libc() -> Result<()> {
    let (name, text) = guest("work", 1, "red", Mode::Prompt);
    let mut host = Host::prepare(HostOptions::default(), &[(&name, text)])?;
    // Else its maps are the administrator's to read alone.
    host.set_environment(vec![("PHYLLOME_TEST_READABLE".into(), "1".into())]);
    host.start_shell()?;
    host.run(&["start", "work"])?;
    let status = host.wait("a picture", BOOT, |s| s.guests[0].scanouts.first().is_some_and(|x| x.presented > 0))?;
    let pid = status.guests[0].pid.unwrap_or_default();
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps"))?;
    let objects: std::collections::BTreeSet<_> = maps.lines().filter(|l| l.contains(".so")).collect();
    // libm is a part of libc; tokio's scheduler for many threads, which zbus asks for and nobody uses, has a word of
    // it.
    let known = ["/libc.so", "/libm.so", "/libgcc_s.so", "/ld-linux"];
    let foreign = objects.iter().find(|l| !known.iter().any(|known| l.contains(known)));
    ensure!(foreign.is_none(), "phyllome-guest maps {foreign:?}");
    Ok(())
}
