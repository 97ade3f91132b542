//! Two guests at once: chords, keys and frames.

use crate::{BOOT, SOON, guest, host};
use anyhow::{Result, ensure};
use phyllome_test_guests::Mode;
use phyllome_tests::host::Host;
use phyllome_tests::picture::rgb;

fn both(mode_a: Mode, mode_b: Mode) -> Result<Host> {
    let mut host = host(&[guest("work", 1, "red", mode_a), guest("play", 2, "blue", mode_b)])?;
    host.run(&["start", "work"])?;
    host.run(&["start", "play"])?;
    for name in ["work", "play"] {
        host.wait_serial(name, "PHYLLOME-GUEST-READY", BOOT)?;
    }
    host.wait("two pictures", BOOT, |s| s.guests.iter().all(|g| !g.scanouts.is_empty()))?;
    Ok(host)
}

fn focused(host: &mut Host, name: &str) -> Result<()> {
    host.wait(&format!("focus on {name}"), SOON, |s| s.focus.as_ref().is_some_and(|f| f.as_str() == name))?;
    Ok(())
}

#[test]
fn e2e_twenty_switches_show_the_right_frame_and_nothing_else_outside_the_area() -> Result<()> {
    let mut host = both(Mode::Prompt, Mode::Animate)?;
    let area = host.status()?.outputs[0].guest_area;
    let mut frames = [None, None];
    for round in 0..20 {
        let which = round % 2;
        let (name, chord, colour) = [("work", "super+1", "#c62828"), ("play", "super+2", "#1565c0")][which];
        host.run(&["input", "tap", chord])?;
        focused(&mut host, name)?;
        let picture = host.wait_picture(&format!("frame of {name}"), SOON, |p| p.at(0, 0) == rgb(colour))?;
        ensure!(picture.edge().iter().all(|p| *p == rgb(colour)), "round {round}: another colour on the edge");
        let outside = picture.outside(area);
        let known = frames[which].get_or_insert_with(|| outside.clone());
        ensure!(outside == *known, "round {round}: pixels outside the area of {name} changed");
    }
    ensure!(frames[0] != frames[1], "both guests have the same frame");
    Ok(())
}

#[test]
fn e2e_typed_text_arrives_at_the_focused_guest_alone() -> Result<()> {
    let mut host = both(Mode::Prompt, Mode::Prompt)?;
    host.run(&["input", "tap", "super+2"])?;
    focused(&mut host, "play")?;
    host.run(&["input", "type", "echo for play\n"])?;
    host.wait_serial("play", "TYPED: echo for play", SOON)?;
    host.run(&["input", "tap", "super+1"])?;
    focused(&mut host, "work")?;
    host.run(&["input", "type", "echo for work\n"])?;
    host.wait_serial("work", "TYPED: echo for work", SOON)?;
    ensure!(!host.serial("work").contains("for play"), "work saw what was typed for play");
    ensure!(!host.serial("play").contains("for work"), "play saw what was typed for work");
    Ok(())
}

#[test]
fn e2e_keys_held_at_a_switch_are_released_and_chords_reach_no_guest() -> Result<()> {
    let mut host = both(Mode::Evdev, Mode::Evdev)?;
    host.run(&["input", "tap", "super+1"])?;
    focused(&mut host, "work")?;
    host.run(&["input", "key", "a", "press"])?;
    host.wait_serial("work", "EV key 30 1", SOON)?;
    host.run(&["input", "tap", "super+2"])?;
    focused(&mut host, "play")?;
    host.wait_serial("work", "EV key 30 0", SOON)?;
    host.run(&["input", "key", "a", "release"])?;
    host.run(&["input", "tap", "b"])?;
    host.wait_serial("play", "EV key 48 0", SOON)?;
    let (work, play) = (host.serial("work"), host.serial("play"));
    ensure!(!play.contains("EV key 30 "), "play saw the key that was pressed for work: {play}");
    ensure!(!work.contains("EV key 48 "), "work saw a key of play");
    for (name, serial) in [("work", &work), ("play", &play)] {
        for code in [125, 2, 3] {
            ensure!(!serial.contains(&format!("EV key {code} ")), "{name} saw key {code} of a chord");
        }
    }
    // Super alone is the guest's, afterwards, as a tap.
    host.run(&["input", "tap", "super"])?;
    host.wait_serial("play", "EV key 125 0", SOON)?;
    Ok(())
}

#[test]
fn e2e_super_tab_goes_through_the_running_guests() -> Result<()> {
    let mut host = both(Mode::Prompt, Mode::Prompt)?;
    host.run(&["input", "tap", "super+1"])?;
    focused(&mut host, "work")?;
    host.run(&["input", "key", "super", "press"])?;
    host.run(&["input", "tap", "tab"])?;
    host.wait("the switcher", SOON, |s| s.mode == phyllome_protocol::status::Mode::Switcher)?;
    let picture = host.screenshot()?;
    ensure!(picture.edge().iter().all(|p| *p == [255, 255, 255]), "the host's own mark is missing");
    host.run(&["input", "key", "super", "release"])?;
    focused(&mut host, "play")?;
    Ok(())
}

#[test]
fn e2e_the_panel_takes_the_keys_and_gives_them_back() -> Result<()> {
    let mut host = both(Mode::Evdev, Mode::Evdev)?;
    host.run(&["input", "tap", "super+1"])?;
    focused(&mut host, "work")?;
    host.run(&["input", "tap", "super+esc"])?;
    host.wait("the panel", SOON, |s| s.mode == phyllome_protocol::status::Mode::Panel && s.focus.is_none() && !s.deaf)?;
    host.run(&["input", "tap", "down"])?;
    host.run(&["input", "tap", "enter"])?;
    focused(&mut host, "play")?;
    host.run(&["input", "tap", "c"])?;
    host.wait_serial("play", "EV key 46 0", SOON)?;
    for name in ["work", "play"] {
        ensure!(!host.serial(name).contains("EV key 108 "), "{name} saw a key of the panel");
        ensure!(!host.serial(name).contains("EV key 28 "), "{name} saw the panel's enter");
    }
    Ok(())
}
