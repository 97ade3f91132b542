//! Guests on several displays that come, change and go while guests are on them: every one is where it belongs, whole,
//! in its own frame, and what it was told of its screen is what it has.

use crate::rig::{Rig, RigOptions, SOON, guest, on_rig};
use anyhow::{Context, Result, ensure};
use phyllome_protocol::status::Status;
use phyllome_test_guests::words::color;
use phyllome_test_guests::{Mode, ready_line};
use phyllome_test_machine::picture::rgb;
use phyllome_test_machine::wait_for;
use phyllome_tests::played::pattern::Pattern;

/// Name, colour, and the colour of its frame.
const WORK: (&str, &str) = ("work", "green");
const PLAY: (&str, &str) = ("play", "blue");

/// Waits until an output truly shows the guest's whole picture in its frame, and nothing else; `focused`: in its full
/// colour.
fn wait_shown(rig: &Rig, head: u32, output: &str, (name, hue): (&str, &str), focused: bool) -> Result<()> {
    let mut last = String::new();
    let found = wait_for(&format!("{name} whole on {output}, focused: {focused}"), SOON, || {
        let status = rig.status()?;
        let guest = status.guests.iter().find(|guest| guest.name.as_str() == name).context("the guest is unknown")?;
        let Some(on) = status.outputs.iter().find(|other| other.name == output) else {
            last = "there is no such output".to_owned();
            return Ok(None);
        };
        let (area, label) = (on.guest_area, rgb(&guest.label.rgb));
        let shown = rig.scanned_out(head)?;
        if (shown.width, shown.height) != (on.width, on.height) {
            last = format!("{}x{} is shown", shown.width, shown.height);
            return Ok(None);
        }
        let (width, height) = (area.width as usize, area.height as usize);
        let pattern =
            Pattern { width, height, color: color(hue).context("a colour")?, name: name.into(), counter: None };
        let differs = pattern.first_difference(&shown.crop(area));
        // Inside the outermost ring, which always has the guest's colour, the band says whether it gets keys.
        let bright = shown.at(2, on.height / 2) == label;
        let whole = shown.edge().iter().all(|pixel| *pixel == label);
        last = format!("differs at {differs:?}, frame whole: {whole}, in full colour: {bright}");
        Ok((differs.is_none() && whole && bright == focused).then_some(()))
    });
    found.with_context(|| last)
}

fn has_outputs(names: &'static [&'static str]) -> impl Fn(&Status) -> bool {
    move |status| status.outputs.iter().map(|output| output.name.as_str()).eq(names.iter().copied())
}

#[test]
fn guests_stay_where_they_belong_while_displays_come_change_and_go() -> Result<()> {
    let guests = [guest(WORK.0, 1, WORK.1, Mode::Quiet), guest(PLAY.0, 2, PLAY.1, Mode::Quiet)];
    let mut options = RigOptions::new(&guests)?;
    let pinned = "[output.Virtual-2]\nguest = \"play\"\n[output.Virtual-3]\nguest = \"nobody\"\n";
    options.config = Some(pinned.to_owned());
    on_rig("guests_stay_where_they_belong_while_displays_come_change_and_go", options, |rig| {
        let log = rig.shell()?.output();
        ensure!(log.contains("output.Virtual-3.guest: there is no guest “nobody”"), "{log}");
        // QEMU takes a monitor away only if it was ever given a size.
        rig.machine.set_output(0, Some((1280, 800)))?;
        rig.machine.set_output(1, Some((1024, 768)))?;
        rig.wait("two displays", SOON, has_outputs(&["Virtual-1", "Virtual-2"]))?;
        for (name, _) in [WORK, PLAY] {
            rig.run(&["start", name])?;
            rig.wait_serial(name, &ready_line(name), SOON)?;
        }
        rig.machine.press(&["super", "1"])?;
        wait_shown(rig, 0, "Virtual-1", WORK, true)?;
        wait_shown(rig, 1, "Virtual-2", PLAY, false)?;
        rig.machine.press(&["super", "2"])?;
        wait_shown(rig, 0, "Virtual-1", WORK, false)?;
        wait_shown(rig, 1, "Virtual-2", PLAY, true)?;

        // Its display goes while it has the keyboard: it takes the other one, and gives it back.
        rig.machine.set_output(1, None)?;
        rig.wait("one display", SOON, has_outputs(&["Virtual-1"]))?;
        wait_shown(rig, 0, "Virtual-1", PLAY, true)?;
        rig.machine.set_output(1, Some((1024, 768)))?;
        rig.wait("two displays again", SOON, has_outputs(&["Virtual-1", "Virtual-2"]))?;
        wait_shown(rig, 1, "Virtual-2", PLAY, true)?;
        wait_shown(rig, 0, "Virtual-1", WORK, false)?;

        // Another mode: the guest follows it.
        rig.machine.set_output(1, Some((800, 600)))?;
        rig.wait_serial(PLAY.0, "PHYLLOME-GUEST-DISPLAY card0-Virtual-1 connected 792x568", SOON)?;
        wait_shown(rig, 1, "Virtual-2", PLAY, true)?;

        // All displays are gone, and back in another order.
        rig.machine.set_output(0, None)?;
        rig.wait("the second display alone", SOON, has_outputs(&["Virtual-2"]))?;
        rig.machine.set_output(1, None)?;
        rig.wait("no display", SOON, has_outputs(&[]))?;
        rig.machine.set_output(1, Some((800, 600)))?;
        rig.wait("the second display", SOON, has_outputs(&["Virtual-2"]))?;
        wait_shown(rig, 1, "Virtual-2", PLAY, true)?;
        rig.machine.set_output(0, Some((1280, 800)))?;
        rig.wait("both displays in their order", SOON, has_outputs(&["Virtual-1", "Virtual-2"]))?;
        wait_shown(rig, 0, "Virtual-1", WORK, false)?;
        wait_shown(rig, 1, "Virtual-2", PLAY, true)?;
        ensure!(rig.shell()?.ended()?.is_none());
        Ok(())
    })
}
