//! Nothing between a guest's framebuffer and the display copies a pixel where the kernel makes dmabufs: of a blob's
//! pages, wherever they lie in the guest's memory, and of what the renderer draws. What is scanned out is what the
//! guest drew, and the status counts no copy. (On a device with a render node nobody outside sees what is scanned out;
//! there it is what the shell says.)

use crate::rig::{Rig, RigOptions, on_rig};
use anyhow::{Context, Result, ensure};
use phyllome_protocol::status::{GuestStatus, ScanoutStatus};
use phyllome_test_guests::Mode;
use phyllome_test_machine::picture::Picture;
use phyllome_test_machine::{Gpu, Monitors};
use phyllome_tests::played::options::VERSION_VARIABLE;
use phyllome_tests::played::pattern::Pattern;
use phyllome_tests::played_guest_file;
use phyllome_tests::programs::program;
use std::time::Duration;

/// GLES draws by software, on an emulated processor that may be busy.
const LONG: Duration = Duration::from_secs(120);
/// Flushes after which no copy was counted.
const FLUSHES: u64 = 20;
/// Green.
const COLOR: [u8; 3] = [0x2e, 0x7d, 0x32];

/// What the guest's pictures are made of, and what it is to take for a GPU.
#[derive(Clone, Copy)]
struct Kind {
    memory: &'static str,
    gpu: &'static str,
    /// What is scanned out, and how it is laid out.
    buffer: &'static str,
}

const BLOB: Kind = Kind { memory: "blob", gpu: "mode = \"2d\"\ntransport = \"generic\"", buffer: "dmabuf" };
const TEXTURE: Kind = Kind { memory: "3d", gpu: "mode = \"3d\"", buffer: "dmabuf" };
/// The same, upside down in memory.
const BOTTOM_UP: Kind = Kind { memory: "3d-bottom-up", ..TEXTURE };

/// A rig with a played guest, `drawn`, that moves its picture on.
fn rig(kind: Kind, mode: Mode, gpu: &Gpu, renderer: &str) -> Result<RigOptions> {
    let (name, text) = played_guest_file("drawn", 1, "green", mode, &format!("\n[gpu]\n{}\n", kind.gpu));
    let text = text.replace("phyllome.played=1", &format!("phyllome.played=1 phyllome.memory={}", kind.memory));
    let mut options = RigOptions::new(&[(name, text)])?.shell(&["--renderer", renderer]);
    options.machine.programs.push(program("phyllome-renderer")?);
    options.machine.gpus = vec![gpu.clone()];
    options.variables = vec![(VERSION_VARIABLE, "11.1.3")];
    Ok(options)
}

fn scanout(guest: &GuestStatus) -> Result<&ScanoutStatus> {
    guest.scanouts.first().context("the guest shows nothing")
}

/// Starts the guest and waits until it has drawn a while.
fn start(rig: &mut Rig, kind: Kind, flushes: u64) -> Result<GuestStatus> {
    rig.machine.root("chmod 0666 /dev/udmabuf")?;
    rig.run(&["start", "drawn"])?;
    rig.run(&["switch", "drawn"])?;
    let area = rig.status()?.outputs.first().context("no output")?.guest_area;
    let status = rig.wait("a guest that draws", LONG, |status| {
        let scanout = status.guests.first().and_then(|guest| guest.scanouts.first());
        scanout.is_some_and(|scanout| {
            let sized = (scanout.width, scanout.height) == (area.width, area.height);
            sized && scanout.flushes >= flushes && scanout.presented >= flushes / 2 && scanout.buffer == kind.buffer
        })
    })?;
    status.guests.into_iter().next().context("no guest")
}

/// What is scanned out; where the machine's GPU draws by itself, which nobody outside sees, what the shell says.
fn seen_outside(rig: &Rig) -> Result<Picture> {
    if rig.draws() { rig.screenshot(&[]) } else { rig.scanned_out(0) }
}

/// The picture that is scanned out, and is one that the guest has drawn, pixel by pixel, with the counter that it
/// shows.
fn drawn(rig: &mut Rig, moves: bool) -> Result<u16> {
    let area = rig.status()?.outputs.first().context("no output")?.guest_area;
    let (width, height) = (area.width as usize, area.height as usize);
    let mut difference = None;
    // The name of the guest flashes in the middle after a switch.
    let seen = rig.machine.wait_for("a picture that the guest has drawn", LONG, || {
        let shown = seen_outside(rig)?.crop(area);
        let counter = if moves { Pattern::counter_of(&shown) } else { None };
        if moves && counter.is_none() {
            return Ok(None);
        }
        let wanted = Pattern { width, height, color: COLOR, name: "drawn".into(), counter };
        difference = wanted.first_difference(&shown);
        Ok(difference.is_none().then_some(counter.unwrap_or(0)))
    });
    seen.with_context(|| {
        let guest = rig.guest("drawn").map(|guest| format!("{guest:?}")).unwrap_or_default();
        format!("the picture is another one; the last difference was at {difference:?}; {guest}")
    })
}

/// A guest's whole way: what it draws is scanned out, several times over, and no byte is copied for it.
fn shown_without_a_copy(test: &str, kind: Kind, mode: Mode, gpu: &Gpu, renderer: &str) -> Result<()> {
    on_rig(test, rig(kind, mode, gpu, renderer)?, |rig| {
        let moves = mode != Mode::Quiet;
        if rig.draws() {
            let log = rig.shell()?.output();
            ensure!(log.contains("drawn by virgl"), "it is not the render node that draws: {log}");
        }
        start(rig, kind, if moves { FLUSHES } else { 1 })?;
        let first = drawn(rig, moves)?;
        if moves {
            rig.machine.wait_for("another picture", LONG, || {
                let status = rig.guest("drawn")?;
                Ok((scanout(&status)?.flushes >= 2 * FLUSHES).then_some(()))
            })?;
            ensure!(drawn(rig, moves)? != first, "the picture stands still");
        }
        let guest = rig.guest("drawn")?;
        let scanout = scanout(&guest)?;
        ensure!(
            guest.gpu.copied_bytes == 0,
            "{guest:?}; {}",
            rig.machine.sh("cat /share/out/state/phyllome/logs/drawn/*.log | tail -n 40")?
        );
        ensure!((scanout.buffer.as_str(), scanout.modifier.as_str()) == (kind.buffer, "LINEAR"), "{guest:?}");
        ensure!(guest.gpu.errors.is_empty(), "{guest:?}");
        Ok(())
    })
}

#[test]
fn a_blob_s_pages_are_scanned_out_by_pixman() -> Result<()> {
    shown_without_a_copy("a_blob_s_pages_are_scanned_out_by_pixman", BLOB, Mode::Animate, &Gpu::default(), "pixman")
}

#[test]
fn a_blob_s_pages_are_drawn_by_gles() -> Result<()> {
    shown_without_a_copy("a_blob_s_pages_are_drawn_by_gles", BLOB, Mode::Quiet, &Gpu::default(), "gles")
}

#[test]
fn a_texture_is_scanned_out_by_pixman() -> Result<()> {
    shown_without_a_copy("a_texture_is_scanned_out_by_pixman", TEXTURE, Mode::Animate, &Gpu::default(), "pixman")
}

#[test]
fn a_guest_that_flips_between_textures_which_lie_upside_down_is_seen_upright() -> Result<()> {
    let test = "a_guest_that_flips_between_textures_which_lie_upside_down_is_seen_upright";
    shown_without_a_copy(test, BOTTOM_UP, Mode::Flip, &Gpu::default(), "pixman")
}

/// A device with a render node, on which all draw.
fn render_node() -> Gpu {
    Gpu::VirtioGl(Monitors { outputs: 1, ..Monitors::default() })
}

#[test]
fn a_blob_s_pages_are_drawn_by_gles_of_a_render_node() -> Result<()> {
    let test = "a_blob_s_pages_are_drawn_by_gles_of_a_render_node";
    shown_without_a_copy(test, BLOB, Mode::Quiet, &render_node(), "gles")
}

#[test]
fn a_texture_of_a_render_node_is_drawn_by_gles_of_it() -> Result<()> {
    let test = "a_texture_of_a_render_node_is_drawn_by_gles_of_it";
    shown_without_a_copy(test, TEXTURE, Mode::Quiet, &render_node(), "gles")
}
