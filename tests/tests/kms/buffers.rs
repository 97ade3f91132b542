//! A guest's memory reaches the display whatever it is and whatever draws: as a dmabuf that the kernel makes of it
//! (udmabuf) or as shared memory, with Pixman or with GLES, the same pixels are scanned out, and `phyllome screenshot`
//! says the same.

use crate::rig::{Rig, RigOptions, guest, on_rig};
use anyhow::{Context, Result, ensure};
use phyllome_protocol::status::{Area, GuestState, Status};
use phyllome_test_guests::Mode;
use phyllome_test_machine::picture::Picture;
use std::time::Duration;

/// GLES draws by software, on an emulated processor that may be busy.
const LONG: Duration = Duration::from_secs(90);

/// What phyllome-guest may make dmabufs with.
const UDMABUF: &str = "/dev/udmabuf";

/// A played guest's left upper corner.
const CORNER: [u8; 3] = [255, 0, 0];

/// Colours of a row of its picture where nothing is written: its own, and its border's.
const PLAIN: usize = 2;

/// The buffer of the scanout that is shown.
fn buffer(status: &Status) -> String {
    let scanout = status.guests.first().and_then(|guest| guest.scanouts.first());
    scanout.map(|scanout| scanout.buffer.clone()).unwrap_or_default()
}

/// The picture of a guest that draws once, as it is scanned out; checked against what the shell says and against its
/// frame.
fn picture(rig: &mut Rig, kind: &str, renderer: &str) -> Result<Picture> {
    let mode = if kind == "dmabuf" { "0666" } else { "0000" };
    rig.machine.root(&format!("chmod {mode} {UDMABUF}"))?;
    rig.run(&["start", "still"])?;
    rig.run(&["switch", "still"])?;
    let status = rig.wait(&format!("a picture by {kind}"), LONG, |status| buffer(status) == kind)?;
    ensure!(status.renderer == renderer, "{} draws", status.renderer);
    let output = status.outputs.first().context("no output")?;
    ensure!(output.plane == "composited", "{}", output.plane);
    let area = output.guest_area;
    // The name of the guest flashes in the middle after a switch; then nothing moves any more.
    let middle = Area { y: area.y + area.height / 2 - 20, height: 40, ..area };
    let seen = rig.machine.wait_for("a picture that stays", LONG, || {
        let seen = rig.scanned_out(0)?;
        let stays = seen.at(area.x + 16, area.y + 16) == CORNER && seen.crop(middle).colours() <= PLAIN;
        Ok(Some(seen).filter(|_| stays))
    })?;
    ensure!(rig.screenshot(&[])? == seen, "the shell says that it shows something else");
    rig.run(&["kill", "still"])?;
    rig.wait("the guest's end", LONG, |status| {
        status.guests.iter().all(|guest| matches!(guest.state, GuestState::Stopped | GuestState::Crashed))
    })?;
    Ok(seen)
}

fn all_kinds(test: &str, renderer: &str) -> Result<Option<Vec<Picture>>> {
    let mut pictures = None;
    let options = RigOptions::new(&[guest("still", 1, "green", Mode::Quiet)])?.shell(&["--renderer", renderer]);
    on_rig(test, options, |rig| {
        let seen = ["dmabuf", "shm"].into_iter().map(|kind| picture(rig, kind, renderer).context(kind));
        pictures = Some(seen.collect::<Result<Vec<_>>>()?);
        Ok(())
    })?;
    Ok(pictures)
}

#[test]
fn udmabuf_and_shared_memory_with_pixman_and_gles_are_the_same_picture() -> Result<()> {
    let test = "udmabuf_and_shared_memory_with_pixman_and_gles_are_the_same_picture";
    let Some(pixman) = all_kinds(test, "pixman")? else { return Ok(()) };
    let gles = all_kinds(test, "gles")?.context("no machine for GLES")?;
    let first = &pixman[0];
    for (number, other) in pixman.iter().chain(&gles).enumerate() {
        let places = (0..first.height).flat_map(|y| (0..first.width).map(move |x| (x, y)));
        let differs = places.into_iter().find(|(x, y)| first.at(*x, *y) != other.at(*x, *y));
        ensure!(first == other, "picture {number} is not the first one, at {differs:?}");
    }
    Ok(())
}
