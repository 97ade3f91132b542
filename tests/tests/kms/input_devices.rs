//! Devices that QEMU does not have, played through the kernel's uinput: a touchpad taps and scrolls, a pen points and
//! presses, a lid that opens switches the display on.

use crate::rig::{Rig, RigOptions, SOON, guest, on_rig};
use anyhow::{Context, Result, ensure};
use phyllome_test_guests::Mode;
use phyllome_test_machine::{Program, programs, wait_for};

/// Where the devices' motions are written to.
const PIPE: &str = "/run/devices";

/// What the guest was told so far of one kind, such as `EV key `.
fn told(rig: &Rig, kind: &str) -> Vec<String> {
    rig.serial("work").lines().filter(|line| line.starts_with(kind)).map(str::to_owned).collect()
}

fn wait_told(rig: &Rig, kind: &str, expected: &[&str]) -> Result<()> {
    let found = wait_for(&format!("{expected:?}"), SOON, || Ok((told(rig, kind) == expected).then_some(())));
    found.with_context(|| format!("the guest was told {:?}", told(rig, kind)))
}

fn play(rig: &Rig, line: &str) -> Result<()> {
    rig.machine.root(&format!("echo '{line}' > {PIPE}")).map(drop)
}

/// One or two fingers go down on the touchpad, 40 mm from its left edge and so many units from its upper one, move by
/// steps, and go up.
fn swipe(rig: &Rig, fingers: i32, from: i32, steps: &[i32]) -> Result<()> {
    let place = |y: i32| {
        let one = |slot: i32| format!("3 47 {slot} 3 53 {} 3 54 {y}", 1600 + 800 * slot);
        let all: Vec<String> = (0..fingers).map(one).collect();
        format!("{} 3 0 1600 3 1 {y}", all.join(" "))
    };
    let id = |slot: i32, id: i32| format!("3 47 {slot} 3 57 {id}");
    let ids = |down: bool| (0..fingers).map(|slot| id(slot, if down { 10 + slot } else { -1 })).collect::<Vec<_>>();
    let tool = if fingers == 1 { 325 } else { 333 };
    let mut frames = vec![format!("{} {} 1 330 1 1 {tool} 1", ids(true).join(" "), place(from))];
    let mut y = from;
    for step in steps {
        y += step;
        frames.push(place(y));
    }
    frames.push(format!("{} 1 330 0 1 {tool} 0", ids(false).join(" ")));
    play(rig, &format!("pad {}", frames.join(";")))
}

/// The last place that the guest was told, as parts of 32767.
fn place(rig: &Rig) -> Option<(i32, i32)> {
    let last = |axis: &str| told(rig, axis).last()?.strip_prefix(axis)?.trim().parse::<i32>().ok();
    Some((last("EV abs 0 ")?, last("EV abs 1 ")?))
}

#[test]
fn touchpads_pens_and_lids_do_what_they_do_elsewhere() -> Result<()> {
    let mut options = RigOptions::new(&[guest("work", 1, "green", Mode::Evdev)])?;
    options.machine.programs.push(programs::program("played-devices")?);
    options.config = Some("idle_minutes = 1\n[touchpad]\nnatural_scroll = true\n".to_owned());
    on_rig("touchpads_pens_and_lids_do_what_they_do_elsewhere", options, |rig| {
        rig.machine.root(&format!("mkfifo {PIPE}"))?;
        let devices = rig.machine.spawn("devices", &Program::new("played-devices", &[PIPE]).user("root"))?;
        devices.wait_output("the devices are there", SOON)?;
        for name in ["Played touchpad", "Played tablet", "Played lid"] {
            rig.shell()?.wait_output(&format!("“{name}”"), SOON)?;
        }
        rig.run(&["start", "work"])?;
        rig.wait_serial("work", &phyllome_test_guests::ready_line("work"), SOON)?;
        rig.run(&["switch", "work"])?;
        rig.machine.move_pointer((640, 400), (1280, 800))?;
        wait_for("a place of the pointer", SOON, || Ok(place(rig)))?;

        // A tap is a click.
        swipe(rig, 1, 1400, &[])?;
        wait_told(rig, "EV key ", &["EV key 272 1", "EV key 272 0"])?;
        // Two fingers that go down pull the picture down: a wheel that turns up.
        swipe(rig, 2, 600, &[40; 40])?;
        wait_for("a wheel", SOON, || Ok(told(rig, "EV rel 8 ").first().cloned()))?;
        let wheel = told(rig, "EV rel 8 ");
        ensure!(wheel.iter().all(|line| line == "EV rel 8 1"), "{wheel:?}");
        ensure!(told(rig, "EV key ").len() == 2, "a swipe was taken for a click: {:?}", told(rig, "EV key "));

        // A pen points to where it is, and its tip is the left button.
        play(rig, "pen 1 320 1 3 0 2000 3 1 2500;3 0 2010 3 1 2500")?;
        // A quarter of 1280 pixels, half of 800, in an area of 1272 x 768 at 4, 28.
        let expected = ((320 - 4) * 0x7fff / 1271, (400 - 28) * 0x7fff / 767);
        let near = |seen: &(i32, i32)| (seen.0 - expected.0).abs() < 120 && (seen.1 - expected.1).abs() < 120;
        let pointed = wait_for("the pen's place", SOON, || Ok(place(rig).filter(near)));
        pointed.with_context(|| format!("the pointer is at {:?}, not at {expected:?}", place(rig)))?;
        play(rig, "pen 1 330 1 3 24 600;1 330 0 3 24 0;1 320 0")?;
        let clicks = ["EV key 272 1", "EV key 272 0", "EV key 272 1", "EV key 272 0"];
        wait_told(rig, "EV key ", &clicks)?;

        // A lid that is closed changes nothing; the one that opens is somebody.
        play(rig, "lid 5 0 1")?;
        let lit = || rig.machine.read_text("/sys/class/drm/card0-Virtual-1/dpms");
        wait_for("the display to go off", 4 * SOON, || Ok((lit()? == "Off").then_some(())))?;
        play(rig, "lid 5 0 0")?;
        wait_for("the display to go on", SOON, || Ok((lit()? == "On").then_some(())))?;
        wait_told(rig, "EV key ", &clicks)?;
        play(rig, "end")?;
        ensure!(devices.wait(SOON)? == 0, "{}", devices.output());
        Ok(())
    })
}
