//! Nothing is played: a real guest in a real QEMU inside the machine, emulated twice over, which takes six minutes. It
//! is attached by QEMU's generic device and shows blobs of its own pages, of which the machine's kernel makes dmabufs:
//! no pixel is copied on its way to the display.
//!
//! `cargo xtask test soak nested` runs it. In the run of all tests the same way, from phyllome-guest's device to the
//! display, is taken
//! by a played guest's blobs (`no_copy`), and a real QEMU's is in the groups `e2e` and `gpu3d`.

use crate::rig::{RigOptions, SOON, nested_guest, on_rig};
use anyhow::{Context, Result, ensure};
use phyllome_test_guests::{Mode, ready_line};
use phyllome_test_machine::wait_for;
use phyllome_tests::played::options::VERSION_VARIABLE;
use std::time::Duration;

/// A kernel on a processor that is emulated on an emulated one: three minutes alone.
const NESTED_BOOT: Duration = Duration::from_secs(15 * 60);
/// What such a guest may take for an answer.
const NESTED_ANSWER: Duration = Duration::from_secs(180);

#[test]
#[ignore = "soak nested: emulated twice over, six minutes"]
fn a_real_guest_is_seen_and_hears_real_keys() -> Result<()> {
    let ((name, text), files) = nested_guest("work", 1, "red", Mode::Prompt)?;
    let text = format!("{text}\n[gpu]\nmode = \"2d\"\ntransport = \"generic\"\n");
    let mut options = RigOptions::new(&[(name, text)])?.shell(&["--renderer", "pixman"]);
    options.variables = vec![(VERSION_VARIABLE, "11.1.3")];
    options.machine.files = files;
    options.machine.memory_mib = 3072;
    on_rig("a_real_guest_is_seen_and_hears_real_keys", options, |rig| {
        rig.machine.root("chmod 0666 /dev/udmabuf")?;
        rig.run(&["start", "work"])?;
        rig.wait_serial("work", &ready_line("work"), NESTED_BOOT)?;
        ensure!(rig.machine.sh("pgrep -a qemu-system | head -n 1")?.contains("vhost-user"), "no QEMU runs");
        let area = rig.status()?.outputs.first().context("there is no output")?.guest_area;
        rig.machine
            .wait_picture("the guest's console", 0, NESTED_ANSWER, |picture| picture.crop(area).colours() > 2)?;
        rig.machine.press(&["super", "1"])?;
        rig.machine.type_text("truly\n")?;
        rig.wait_serial("work", "TYPED: truly", NESTED_ANSWER)?;
        let status = rig.status()?;
        let guest = status.guests.first().context("there is no guest")?;
        let scanout = guest.scanouts.first().context("the guest shows nothing")?;
        ensure!((guest.gpu.transport.as_str(), scanout.buffer.as_str()) == ("generic", "dmabuf"), "{guest:?}");
        ensure!(scanout.presented > 0 && guest.gpu.copied_bytes == 0, "{guest:?}");
        println!("{} flushes and {} copied bytes", scanout.flushes, guest.gpu.copied_bytes);
        // A console at rest but for its cursor: what is scanned out is what the shell says.
        wait_for("the same picture from both sides", SOON, || {
            let said = rig.screenshot(&[])?;
            Ok((rig.scanned_out(0)? == said).then_some(()))
        })
    })
}
