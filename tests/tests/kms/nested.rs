//! Once per run, nothing is played: a real guest in a real QEMU inside the machine, emulated twice over.

use crate::rig::{RigOptions, SOON, nested_guest, on_rig};
use anyhow::{Context, Result, ensure};
use phyllome_test_guests::{Mode, ready_line};
use phyllome_test_machine::wait_for;
use std::time::Duration;

/// A kernel on a processor that is emulated on an emulated one: three minutes alone.
const NESTED_BOOT: Duration = Duration::from_secs(15 * 60);
/// What such a guest may take for an answer.
const NESTED_ANSWER: Duration = Duration::from_secs(180);

#[test]
fn a_real_guest_is_seen_and_hears_real_keys() -> Result<()> {
    let (file, files) = nested_guest("work", 1, "red", Mode::Prompt)?;
    let mut options = RigOptions::new(&[file])?.shell(&["--renderer", "pixman"]);
    options.machine.files = files;
    options.machine.memory_mib = 3072;
    on_rig("a_real_guest_is_seen_and_hears_real_keys", options, |rig| {
        rig.run(&["start", "work"])?;
        rig.wait_serial("work", &ready_line("work"), NESTED_BOOT)?;
        ensure!(rig.machine.sh("pgrep -a qemu-system | head -n 1")?.contains("vhost-user"), "no QEMU runs");
        let area = rig.status()?.outputs.first().context("there is no output")?.guest_area;
        rig.machine
            .wait_picture("the guest's console", 0, NESTED_ANSWER, |picture| picture.crop(area).colours() > 2)?;
        rig.machine.press(&["super", "1"])?;
        rig.machine.type_text("truly\n")?;
        rig.wait_serial("work", "TYPED: truly", NESTED_ANSWER)?;
        // A console at rest but for its cursor: what is scanned out is what the shell says.
        wait_for("the same picture from both sides", SOON, || {
            let said = rig.screenshot(&[])?;
            Ok((rig.scanned_out(0)? == said).then_some(()))
        })
    })
}
