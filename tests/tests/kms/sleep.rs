//! The computer is suspended and wakes up, by its power button: guests, displays, keys and the shell are as they were
//! before.
//!
//! It is suspended to idle, as today's laptops are: programs are frozen, devices are in their power states, and the
//! button alone is heard.

use crate::rig::{Rig, RigOptions, SOON, guest, on_rig};
use anyhow::{Context, Result, bail, ensure};
use phyllome_protocol::status::{Area, GuestStatus, Status};
use phyllome_test_guests::Mode;
use phyllome_test_machine::picture::{Picture, rgb};
use phyllome_test_machine::{Machine, Program, wait_for};
use serde_json::json;
use std::time::Duration;

/// The colour of “work”.
const GREEN: &str = "#2e7d32";
/// The colour of “play”.
const BLUE: &str = "#1565c0";

/// How a guest would be told of the button that wakes the computer up.
const POWER_KEYS: [&str; 2] = ["EV key 116 ", "EV key 143 "];

/// Suspends the computer where nobody else sees to it.
const FREEZE: &str = "echo freeze > /sys/power/state";

/// So long the computer sleeps, once its programs stand still.
const NAP: Duration = Duration::from_secs(3);

/// A machine that can be suspended. `keeps`: its graphics device still knows afterwards what it has shown.
fn options(keeps: bool) -> Result<RigOptions> {
    let guests = [guest("work", 1, "green", Mode::Prompt), guest("play", 2, "blue", Mode::Animate)];
    let mut options = RigOptions::new(&guests)?;
    options.machine.suspends = true;
    if keeps {
        options.machine.qemu.extend(["-set", "device.gpu0.x-pcie-pm-no-soft-reset=on"].map(str::to_owned));
    }
    Ok(options)
}

/// Suspends the computer by this command of root's, does something to it meanwhile, and wakes it up. Done when its
/// programs run again.
pub fn suspend(machine: &Machine, command: &str, meanwhile: impl Fn() -> Result<()>) -> Result<()> {
    let count =
        |what: &str| -> Result<u32> { Ok(machine.read_text(&format!("/sys/power/suspend_stats/{what}"))?.parse()?) };
    machine.root("modprobe button")?;
    let before = count("success")?;
    // A button that is pressed while devices are still on their way keeps the computer awake.
    for _ in 0..3 {
        let failed = count("fail")?;
        let command = machine.spawn("suspend", &Program::script(command).user("root"))?;
        let moment = Duration::from_secs(1);
        wait_for("programs to stand still", SOON, || {
            Ok(machine.run_within(&Program::script("true"), moment).is_err().then_some(()))
        })?;
        meanwhile()?;
        std::thread::sleep(NAP);
        machine.qmp("system_powerdown", json!({}))?;
        command.wait(SOON)?;
        wait_for("the computer to be back", SOON, || {
            Ok((count("success")? > before || count("fail")? > failed).then_some(()))
        })?;
        if count("success")? > before {
            return Ok(());
        }
    }
    bail!("it did not sleep: {}", machine.root("dmesg | tail -n 40")?)
}

/// Starts both guests; “work” is in front and draws nothing by itself.
fn start(rig: &Rig) -> Result<[GuestStatus; 2]> {
    for name in ["play", "work"] {
        rig.run(&["start", name])?;
        rig.wait_serial(name, &phyllome_test_guests::ready_line(name), SOON)?;
        rig.wait(&format!("a picture of {name}"), SOON, |status| {
            status.guests.iter().any(|g| g.name.as_str() == name && !g.scanouts.is_empty())
        })?;
    }
    // The button's key tells that the computer was woken: whoever has not opened it before it sleeps is not told.
    rig.machine.root("modprobe button")?;
    wait_for("the shell to have the button", SOON, || {
        Ok(rig.shell()?.output().contains("Power Button").then_some(()))
    })?;
    rig.run(&["switch", "work"])?;
    // It draws again when it learns of its area's size, and then no more.
    rig.wait("work in its area's size, and seen", SOON, |status| {
        let Some(area) = status.outputs.first().map(|output| output.guest_area) else { return false };
        let work = status.guests.iter().find(|guest| guest.name.as_str() == "work");
        let scanout = work.and_then(|work| work.scanouts.first());
        scanout.is_some_and(|s| (s.width, s.height, s.presented) == (area.width, area.height, s.flushes))
    })?;
    shown(rig, GREEN)?;
    Ok([rig.guest("work")?, rig.guest("play")?])
}

/// Waits until the display shows what the shell says, framed in this colour, and nothing of the shell's is over the
/// guest.
fn shown(rig: &Rig, colour: &str) -> Result<Picture> {
    let mut last = None;
    let same = wait_for("the display to show what the shell says", SOON, || {
        let (said, seen) = (rig.screenshot(&[])?, rig.scanned_out(0)?);
        // A name that is shown for a moment after a switch lies in the middle, where the guest has one colour.
        let middle = Area { x: seen.width / 2 - 80, y: seen.height / 2 - 10, width: 160, height: 50 };
        let at_rest = seen.crop(middle).colours() == 1;
        let same = said == seen && at_rest && seen.edge().iter().all(|pixel| *pixel == rgb(colour));
        last = Some((said.colours(), seen.colours()));
        Ok(same.then_some(seen))
    });
    same.with_context(|| format!("colours said and seen: {last:?}"))
}

/// They are the guests that were there before, running.
fn same_guests(rig: &Rig, before: &[GuestStatus; 2]) -> Result<()> {
    let same = |status: &Status| {
        before.iter().all(|old| {
            let new = status.guests.iter().find(|guest| guest.name == old.name);
            new.is_some_and(|new| (new.pid, new.qemu_pid, new.state) == (old.pid, old.qemu_pid, old.state))
        })
    };
    rig.wait("the same guests", SOON, same).map(drop)
}

/// The part of a picture in which nothing is but the guest's own.
fn inside(picture: &Picture) -> Picture {
    picture.crop(Area { x: 4, y: 28, width: picture.width - 8, height: picture.height - 32 })
}

fn is_as_before(rig: &Rig, before: &[GuestStatus; 2], picture: &Picture, typed: &str) -> Result<()> {
    let seen = shown(rig, GREEN)?;
    ensure!(inside(&seen) == inside(picture), "the guest's picture is another one");
    same_guests(rig, before)?;
    let lit = rig.machine.read_text("/sys/class/drm/card0-Virtual-1/dpms")?;
    ensure!(lit == "On", "the display is {lit}");
    rig.machine.type_text(&format!("{typed}\n"))?;
    rig.wait_serial("work", &format!("TYPED: {typed}\n"), SOON)?;
    for key in POWER_KEYS {
        ensure!(!rig.serial("work").contains(key), "the guest was told of the computer's own key: {key}");
    }
    rig.machine.press(&["super", "2"])?;
    let moving = |seen: &Picture| seen.edge().iter().all(|pixel| *pixel == rgb(BLUE)) && seen.colours() > 8;
    let first = rig.machine.wait_picture("the other guest", 0, SOON, moving)?;
    rig.machine.wait_picture("the other guest's next picture", 0, SOON, |seen| moving(seen) && *seen != first)?;
    rig.machine.press(&["super", "1"])?;
    shown(rig, GREEN)?;
    Ok(())
}

#[test]
fn a_suspend_and_a_resume_leave_guests_displays_and_keys_as_they_were() -> Result<()> {
    let mut options = options(true)?;
    options.config = Some("idle_minutes = 1\n".to_owned());
    on_rig("a_suspend_and_a_resume_leave_guests_displays_and_keys_as_they_were", options, |rig| {
        let before = start(rig)?;
        for typed in ["once", "twice"] {
            let picture = shown(rig, GREEN)?;
            // A key that is held when it falls asleep is not held any more when it wakes up.
            rig.machine.key("super", true)?;
            suspend(rig.machine, FREEZE, || Ok(()))?;
            rig.machine.key("super", false)?;
            is_as_before(rig, &before, &picture, typed)?;
        }
        wait_for("a shell at rest", SOON, || Ok((rig.wake_ups(2)? == 0).then_some(())))?;
        let log = rig.shell()?.output();
        ensure!(!log.contains(" WARN ") && !log.contains(" ERROR "), "{log}");
        Ok(())
    })
}

#[test]
fn a_graphics_device_that_forgets_all_in_its_sleep_shows_all_again() -> Result<()> {
    on_rig("a_graphics_device_that_forgets_all_in_its_sleep_shows_all_again", options(false)?, |rig| {
        let before = start(rig)?;
        let picture = shown(rig, GREEN)?;
        suspend(rig.machine, FREEZE, || {
            let dark = |seen: &Picture| seen.count(rgb(GREEN)) == 0;
            rig.machine.wait_picture("a display that is off", 0, SOON, dark).map(drop)
        })?;
        is_as_before(rig, &before, &picture, "forgotten")
    })
}
