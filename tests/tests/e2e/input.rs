//! Pointer and keyboard as a guest's own kernel hears of them.

use crate::{BOOT, SOON, guest, guest_with, host};
use anyhow::{Context, Result, ensure};
use phyllome_test_guests::Mode;
use phyllome_tests::host::{Host, HostOptions};

/// The newest value of one of the tablet's axes, once there is another than `before`.
fn axis(host: &mut Host, line: &str, before: usize) -> Result<u32> {
    let end = std::time::Instant::now() + SOON;
    loop {
        let serial = host.serial("work");
        let values: Vec<_> = serial.lines().filter_map(|found| found.trim().strip_prefix(line)).collect();
        if let Some(last) = values.last().filter(|_| values.len() > before) {
            return last.trim().parse().with_context(|| format!("{line}{last}"));
        }
        ensure!(std::time::Instant::now() < end, "no {line:?} after the first {before}: {serial}");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

#[test]
fn e2e_a_place_on_the_second_display_arrives_on_the_second_part_of_the_guests_desktop() -> Result<()> {
    let sizes = vec!["1280x800".to_owned(), "1024x600".to_owned()];
    let (name, text) = guest_with("work", 1, "red", Mode::Evdev, "[gpu]\nscanouts = 2\n");
    let mut host = Host::start_with(HostOptions { sizes, ..HostOptions::default() }, &[(&name, text)])?;
    host.run(&["start", "work"])?;
    host.run(&["switch", "work"])?;
    host.wait_serial("work", "PHYLLOME-GUEST-READY", BOOT)?;
    let status =
        host.wait("two pictures", SOON, |s| s.guests[0].scanouts.iter().filter(|x| x.presented > 0).count() == 2)?;
    let areas: Vec<_> = status.outputs.iter().map(|output| output.guest_area).collect();
    let (width, height) = (areas[0].width + areas[1].width, areas[0].height.max(areas[1].height));
    let (mut seen, mut starts) = (0, [0, 1280].into_iter().zip([0, areas[0].width]));
    for area in &areas {
        let (plane, desktop) = starts.next().context("an output more than there are")?;
        for (x, y) in [(10, 20), (area.width - 1, area.height - 1)] {
            let place = [plane + area.x + x, area.y + y].map(|number| number.to_string());
            host.run(&["input", "move", &place[0], &place[1]])?;
            let found = (axis(&mut host, "EV abs 0 ", seen)?, axis(&mut host, "EV abs 1 ", seen)?);
            seen += 1;
            let found = (found.0 * width / 0x8000, found.1 * height / 0x8000);
            ensure!(found == (desktop + x, y), "{x}, {y} of {area:?} is {found:?} of {width}x{height}");
        }
    }
    Ok(())
}

#[test]
fn e2e_a_held_key_repeats_where_the_guests_keyboard_does_not_and_ends_with_its_release() -> Result<()> {
    let (name, text) = guest("work", 1, "red", Mode::Evdev);
    // Of all keyboards this machine has the PS/2 one alone.
    let mut host = host(&[(name, text.replace("profile = \"linux\"", "profile = \"bios\""))])?;
    host.run(&["start", "work"])?;
    host.run(&["switch", "work"])?;
    host.wait_serial("work", "PHYLLOME-GUEST-READY", BOOT)?;
    host.run(&["input", "key", "a", "press"])?;
    host.wait_serial("work", "EV key 30 1", SOON)?;
    host.wait_serial("work", "EV key 30 2\r\nEV key 30 2", SOON)?;
    host.run(&["input", "key", "a", "release"])?;
    host.wait_serial("work", "EV key 30 0", SOON)?;
    host.run(&["input", "key", "b", "press"])?;
    host.run(&["input", "key", "b", "release"])?;
    let serial = host.wait_serial("work", "EV key 48 0", SOON)?;
    let after = serial.split("EV key 30 0").nth(1).unwrap_or_default();
    ensure!(!after.contains("EV key 30 "), "the key went on after its release: {serial}");
    Ok(())
}
