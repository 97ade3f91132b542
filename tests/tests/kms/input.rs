//! Real key presses, pointers and fingers: exactly one guest gets them, chords reach none, devices come and go while
//! they are used.

use crate::rig::{Rig, RigOptions, SOON, guest, on_rig};
use anyhow::{Context, Result, ensure};
use phyllome_protocol::status::Mode as ShellMode;
use phyllome_test_guests::Mode;
use phyllome_test_machine::picture::rgb;
use phyllome_test_machine::wait_for;
use serde_json::{Value, json};

const WHITE: [u8; 3] = [255; 3];
/// The colour of “play”, which is on the outermost pixels of its frame.
const BLUE: &str = "#1565c0";

/// Plugs a device in and waits until the shell has it, which logs this name.
fn plug(rig: &Rig, driver: &str, name: &str) -> Result<()> {
    let count = || -> Result<usize> { Ok(rig.shell()?.output().matches(name).count()) };
    let before = count()?;
    rig.machine.qmp("device_add", json!({ "driver": driver, "bus": "port0", "id": "plugged" }))?;
    wait_for(&format!("a {name} that is plugged in"), SOON, || Ok((count()? > before).then_some(())))
}

/// Starts a played guest and waits for its picture.
fn start(rig: &Rig, name: &str) -> Result<()> {
    rig.run(&["start", name])?;
    rig.wait_serial(name, &phyllome_test_guests::ready_line(name), SOON)?;
    rig.wait(&format!("a picture of {name}"), SOON, |status| {
        status.guests.iter().any(|g| g.name.as_str() == name && !g.scanouts.is_empty())
    })?;
    Ok(())
}

/// What a guest was told of input so far, without a motion that is followed by another.
fn told(rig: &Rig, guest: &str) -> Vec<String> {
    rig.serial(guest).lines().filter(|line| line.starts_with("EV ")).map(str::to_owned).collect()
}

/// Waits until the guest was told exactly these things after the first `before` ones.
fn wait_told(rig: &Rig, guest: &str, before: usize, expected: &[&str]) -> Result<()> {
    let news = || told(rig, guest).split_off(before);
    let found = wait_for(&format!("{guest} to be told {expected:?}"), SOON, || Ok((news() == expected).then_some(())));
    found.with_context(|| format!("{guest} was told {:?}", news()))
}

/// How a light of the machine's keyboard is.
fn light(rig: &Rig, name: &str) -> Result<String> {
    Ok(rig.machine.root(&format!("cat /sys/class/leds/*::{name}/brightness"))?.trim().to_owned())
}

#[test]
fn keys_reach_one_guest_and_chords_none() -> Result<()> {
    let guests = [guest("work", 1, "green", Mode::Prompt), guest("play", 2, "blue", Mode::Prompt)];
    let mut options = RigOptions::new(&guests)?;
    options.config = Some("[input]\nnew_keyboards = \"allow\"\n".to_owned());
    on_rig("keys_reach_one_guest_and_chords_none", options, |rig| {
        start(rig, "work")?;
        start(rig, "play")?;
        rig.machine.press(&["super", "1"])?;
        rig.wait("work", SOON, |status| status.focus.as_ref().is_some_and(|focus| focus.as_str() == "work"))?;
        rig.machine.type_text("Hi\n")?;
        rig.wait_serial("work", "TYPED: Hi\n", SOON)?;
        ensure!(told(rig, "play").is_empty(), "play was told {:?}", told(rig, "play"));

        rig.machine.press(&["super", "2"])?;
        rig.machine.type_text("there\n")?;
        rig.wait_serial("play", "TYPED: there\n", SOON)?;
        for guest in ["work", "play"] {
            let serial = rig.serial(guest);
            for chord in ["EV key 125 ", "EV key 2 ", "EV key 3 "] {
                ensure!(!serial.contains(chord), "a part of a chord reached {guest}: {serial}");
            }
        }

        // Another terminal and back: of the chord the guest sees a Ctrl that is tapped, whatever the terminal does with
        // its part.
        let before = told(rig, "play").len();
        rig.machine.vt_switch(2)?;
        rig.machine.wait_picture("another terminal", 0, SOON, |seen| !seen.edge().contains(&rgb(BLUE)))?;
        rig.machine.vt_switch(1)?;
        rig.machine.wait_picture("the shell again", 0, SOON, |seen| seen.edge().iter().all(|p| *p == rgb(BLUE)))?;
        wait_told(rig, "play", before, &["EV key 29 1", "EV key 29 0"])?;
        rig.machine.press(&["b"])?;
        wait_told(rig, "play", before + 2, &["EV key 48 1", "EV key 48 0"])?;

        lights_follow_the_guest(rig)?;
        a_keyboard_comes_and_goes(rig)?;

        // In the panel the selection moves while a key is held; no guest hears of it.
        let before = told(rig, "play").len();
        rig.machine.press(&["super", "esc"])?;
        rig.wait("the panel", SOON, |status| status.mode == ShellMode::Panel && !status.deaf)?;
        rig.machine.press(&["down"])?;
        rig.machine.press(&["super", "esc"])?;
        rig.wait("play again", SOON, |status| status.mode == ShellMode::Guest)?;
        rig.machine.press(&["c"])?;
        wait_told(rig, "play", before, &["EV key 46 1", "EV key 46 0"])
    })
}

fn lights_follow_the_guest(rig: &Rig) -> Result<()> {
    let wait = |caps: &str, num: &str| -> Result<()> {
        let is = || Ok((light(rig, "capslock")? == caps && light(rig, "numlock")? == num).then_some(()));
        wait_for(&format!("caps {caps}, num {num}"), SOON, is)
    };
    wait("0", "0")?;
    rig.machine.press(&["capslock"])?;
    wait("1", "0")?;
    rig.machine.press(&["super", "1"])?;
    rig.machine.press(&["num_lock"])?;
    wait("0", "1")?;
    rig.machine.press(&["super", "2"])?;
    wait("1", "0")?;
    rig.machine.press(&["capslock"])?;
    wait("0", "0")
}

/// A second keyboard, which QEMU sends keys to from then on, is unplugged while one of its keys is held.
fn a_keyboard_comes_and_goes(rig: &Rig) -> Result<()> {
    let before = told(rig, "play").len();
    plug(rig, "virtio-keyboard-pci", "QEMU Virtio Keyboard")?;
    rig.machine.key("a", true)?;
    wait_told(rig, "play", before, &["EV key 30 1"])?;
    rig.machine.qmp("device_del", json!({ "id": "plugged" }))?;
    wait_told(rig, "play", before, &["EV key 30 1", "EV key 30 0"])?;
    rig.machine.press(&["b"])?;
    wait_told(rig, "play", before + 2, &["EV key 48 1", "EV key 48 0"])
}

/// The value of an axis that a guest is told for a pixel of its area.
fn axis(pixel: u32, start: u32, length: u32) -> u32 {
    (pixel - start) * 0x7fff / (length - 1)
}

/// The last place that a guest was told, as the axes' values.
fn place(rig: &Rig, guest: &str) -> Option<(u32, u32)> {
    let last = |axis: &str| {
        let told = told(rig, guest);
        told.iter().rev().find_map(|line| line.strip_prefix(axis)?.trim().parse::<u32>().ok())
    };
    Some((last("EV abs 0 ")?, last("EV abs 1 ")?))
}

fn wait_place(rig: &Rig, guest: &str, (x, y): (u32, u32)) -> Result<()> {
    // A pixel is 26 to 52 steps of an axis.
    let near = |seen: (u32, u32)| seen.0.abs_diff(x) < 80 && seen.1.abs_diff(y) < 80;
    let found =
        wait_for(&format!("{guest}'s pointer at {x}, {y}"), SOON, || Ok(place(rig, guest).filter(|p| near(*p))));
    found.map(drop).with_context(|| format!("{guest}'s pointer is at {:?}", place(rig, guest)))
}

fn buttons(rig: &Rig, guest: &str) -> Vec<String> {
    told(rig, guest).into_iter().filter(|line| !line.starts_with("EV abs")).collect()
}

fn wait_buttons(rig: &Rig, guest: &str, expected: &[&str]) -> Result<()> {
    let found = wait_for(&format!("{guest}'s buttons"), SOON, || Ok((buttons(rig, guest) == expected).then_some(())));
    found.with_context(|| format!("{guest} was told {:?}, not {expected:?}", buttons(rig, guest)))
}

fn touch(rig: &Rig, events: &[Value]) -> Result<()> {
    let events: Vec<_> = events.iter().map(|data| json!({ "type": "mtt", "data": data })).collect();
    rig.machine.qmp("input-send-event", json!({ "events": events })).map(drop)
}

/// How many pixels of the shell's own white arrow lie around a place of what is drawn for an output.
fn arrow(rig: &Rig, output: &str, (x, y): (u32, u32)) -> Result<usize> {
    let picture = rig.screenshot(&["--output", output])?;
    let near = (x..(x + 14).min(picture.width)).flat_map(|x| (y..(y + 20).min(picture.height)).map(move |y| (x, y)));
    Ok(near.filter(|(x, y)| picture.at(*x, *y) == WHITE).count())
}

#[test]
fn one_pointer_moves_over_two_outputs() -> Result<()> {
    let guests = [guest("work", 1, "green", Mode::Evdev), guest("play", 2, "blue", Mode::Evdev)];
    let mut options = RigOptions::new(&guests)?;
    options.machine.mouse = true;
    options.config = Some(
        "[output.Virtual-2]\nguest = \"play\"\nrotation = 90\n[pointer]\nprofile = \"flat\"\n[touch]\noutput = \"Virtual-2\"\n"
            .to_owned(),
    );
    on_rig("one_pointer_moves_over_two_outputs", options, |rig| {
        rig.machine.set_output(1, Some((1024, 768)))?;
        rig.wait("two outputs", SOON, |status| status.outputs.len() == 2)?;
        start(rig, "work")?;
        start(rig, "play")?;
        rig.machine.press(&["super", "1"])?;
        rig.wait("work", SOON, |status| status.focus.as_ref().is_some_and(|focus| focus.as_str() == "work"))?;

        // A tablet covers the focused guest's output.
        rig.machine.move_pointer((640, 400), (1280, 800))?;
        wait_place(rig, "work", (axis(640, 4, 1272), axis(400, 28, 768)))?;
        rig.machine.click("left")?;
        wait_buttons(rig, "work", &["EV key 272 1", "EV key 272 0"])?;
        rig.machine.click("wheel-down")?;
        wait_buttons(rig, "work", &["EV key 272 1", "EV key 272 0", "EV rel 8 -1"])?;

        // A mouse goes on from there, onto the other output, and there nobody hears of it.
        for _ in 0..10 {
            rig.machine.move_pointer_by(90, 0)?;
        }
        let there = (1540 - 1280, 400);
        let seen = || Ok((arrow(rig, "Virtual-2", there)? > 50).then_some(()));
        wait_for("the shell's arrow on the other output", SOON, seen)?;
        ensure!(told(rig, "play").is_empty(), "play was told {:?}", told(rig, "play"));

        // A click there moves the focus and reaches nobody; the next one is the guest's.
        rig.machine.click("right")?;
        rig.wait("play", SOON, |status| status.focus.as_ref().is_some_and(|focus| focus.as_str() == "play"))?;
        wait_place(rig, "play", (axis(there.0, 4, 760), axis(there.1, 28, 992)))?;
        rig.machine.click("middle")?;
        wait_buttons(rig, "play", &["EV key 274 1", "EV key 274 0"])?;
        ensure!(buttons(rig, "work").len() == 3, "work was told {:?}", buttons(rig, "work"));
        ensure!(arrow(rig, "Virtual-2", there)? < 50, "the arrow stays in the guest's picture");

        // One finger is the left button, where it touches a display that is turned; a second one is nothing. QEMU gives
        // all buttons and the wheel to this device from here on.
        plug(rig, "virtio-multitouch-pci", "QEMU Virtio MultiTouch")?;
        let at = |slot: u32, axis: &str, value: u32| json!({ "type": "data", "slot": slot, "tracking-id": slot, "axis": axis, "value": value });
        let edge = |slot: u32, word: &str| {
            let id = if word == "end" { -1 } else { i64::from(slot) };
            json!({ "type": word, "slot": slot, "tracking-id": id, "axis": "x", "value": 0 })
        };
        touch(rig, &[edge(0, "begin"), at(0, "x", 0x2000), at(0, "y", 0x4000)])?;
        wait_buttons(rig, "play", &["EV key 274 1", "EV key 274 0", "EV key 272 1"])?;
        wait_place(rig, "play", (axis(384, 4, 760), axis(256, 28, 992)))?;
        touch(rig, &[edge(1, "begin"), at(1, "x", 0x1000), at(1, "y", 0x1000)])?;
        touch(rig, &[edge(1, "end")])?;
        touch(rig, &[edge(0, "end")])?;
        wait_buttons(rig, "play", &["EV key 274 1", "EV key 274 0", "EV key 272 1", "EV key 272 0"])?;
        ensure!(
            place(rig, "play").is_some_and(|(x, _)| x.abs_diff(axis(384, 4, 760)) < 80),
            "the second finger moved it"
        );

        // Its output goes while the pointer is there: it is on the one that stays.
        rig.machine.set_output(1, None)?;
        rig.wait("one output", SOON, |status| status.outputs.len() == 1)?;
        rig.machine.press(&["super", "1"])?;
        rig.machine.move_pointer_by(-400, 0)?;
        wait_place(rig, "work", (axis(1280 - 400, 4, 1272), axis(256, 28, 768)))
    })
}

#[test]
fn the_layout_is_the_systems_and_a_wrong_one_is_said() -> Result<()> {
    let mut options = RigOptions::new(&[])?;
    options.start = false;
    on_rig("the_layout_is_the_systems_and_a_wrong_one_is_said", options, |rig| {
        let keyboard = |layout: &str| format!("XKBMODEL=\"pc105\"\nXKBLAYOUT=\"{layout}\"\n");
        let file = "/etc/default/keyboard";
        rig.machine.write(file, 0o644, keyboard("xyzzy").as_bytes())?;
        rig.start_shell()?;
        let log = rig.shell()?.output();
        ensure!(log.contains("the keyboard layout “xyzzy”") && log.contains("“us” is used"), "{log}");
        rig.kill_shell()?;
        rig.machine.write(file, 0o644, keyboard("de").as_bytes())?;
        rig.start_shell()?;
        let log = rig.shell()?.output();
        ensure!(!log.contains("does not exist"), "{log}");
        // The machine is another test's later.
        rig.machine.root(&format!("rm {file}")).map(drop)
    })
}
