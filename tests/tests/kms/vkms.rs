//! A display with planes of its own (VKMS): a guest's picture is on an overlay plane exactly inside the frame, its
//! pointer on the cursor plane, and what all planes together show is what composing would have shown, by the kernel's
//! own checksum of the frame.

use crate::rig::{Rig, RigOptions, SOON, on_rig};
use anyhow::{Context, Result, ensure};
use phyllome_protocol::status::{Area, Status};
use phyllome_test_guests::Mode;
use phyllome_test_machine::picture::{Picture, rgb};
use phyllome_test_machine::vkms::{Composed, checksum};
use phyllome_test_machine::{Gpu, Planes, wait_for};
use phyllome_test_support::soak;
use phyllome_tests::played::pattern::Pattern;
use phyllome_tests::played::pointer;
use phyllome_tests::played_guest_file;
use std::time::Duration;

/// The machine's processors are emulated, and may be busy.
const LONG: Duration = Duration::from_secs(90);
/// Green.
const COLOR: [u8; 3] = [0x2e, 0x7d, 0x32];
/// What is around a picture that is smaller than its area.
const GROUND: &str = "#101114";
/// The pixel of the guest's pointer that points.
const HOT: (u32, u32) = (3, 60);
/// Where the guest reads orders.
const ORDERS: &str = "/tmp/orders";

/// A display with these planes, what draws, and a guest whose pictures are dmabufs.
fn rig(planes: Planes, renderer: &str, mode: Mode, words: &str) -> Result<RigOptions> {
    let (name, text) = played_guest_file("drawn", 1, "green", mode, "\n[gpu]\nmode = \"2d\"\n");
    let text = text.replace("phyllome.played=1", &format!("phyllome.played=1 {words}"));
    let mut options = RigOptions::new(&[(name, text)])?.shell(&["--renderer", renderer]);
    options.machine.gpus = vec![Gpu::Vkms(planes)];
    Ok(options)
}

fn plane(status: &Status) -> &str {
    status.outputs.first().map(|output| output.plane.as_str()).unwrap_or_default()
}

/// Starts the guest and waits until its picture is on this plane.
fn start(rig: &mut Rig, wanted: &str) -> Result<Status> {
    rig.machine.root("chmod 0666 /dev/udmabuf")?;
    rig.run(&["start", "drawn"])?;
    rig.run(&["switch", "drawn"])?;
    rig.wait(&format!("a picture that is {wanted}"), LONG, |status| {
        let scanout = status.guests.first().and_then(|guest| guest.scanouts.first());
        scanout.is_some_and(|scanout| scanout.buffer == "dmabuf") && plane(status) == wanted
    })
}

/// Waits until what is shown is what the shell says that it shows.
fn wait_same(rig: &Rig) -> Result<()> {
    let mut last = String::new();
    let same = wait_for("the display to show what the shell says", SOON, || {
        let (said, shown) = (rig.screenshot(&[])?, rig.machine.shown_checksum(0)?);
        last = format!("{:08x} was said, {shown:08x} is shown", checksum(&said));
        Ok((checksum(&said) == shown).then_some(()))
    });
    same.context(last)
}

/// Pictures that the guest has drawn so far, and frames for which the shell drew.
fn counts(rig: &Rig) -> Result<(u64, u64)> {
    let status = rig.status()?;
    let scanout = status.guests.first().and_then(|guest| guest.scanouts.first()).context("the guest shows nothing")?;
    Ok((scanout.presented, status.outputs.first().context("no output")?.draws))
}

/// A guest that draws all the time costs the shell no drawing once nothing else moves.
fn only_the_guest_draws(test: &str, renderer: &str) -> Result<()> {
    on_rig(test, rig(Planes { overlays: 2, cursor: true }, renderer, Mode::Animate, "")?, |rig| {
        ensure!(rig.status()?.renderer == renderer);
        wait_same(rig)?;
        start(rig, "overlay")?;
        let mut before = counts(rig)?;
        // The name of the guest flashes after a switch.
        wait_for("frames for which nothing is drawn", LONG, || {
            let now = counts(rig)?;
            let done = now.0 >= before.0 + 20;
            let quiet = done && now.1 == before.1;
            if done {
                before = now;
            }
            Ok(quiet.then_some(()))
        })
    })
}

#[test]
fn vkms_a_guest_on_a_plane_costs_no_drawing_by_pixman() -> Result<()> {
    only_the_guest_draws("vkms_a_guest_on_a_plane_costs_no_drawing_by_pixman", "pixman")
}

#[test]
fn vkms_a_guest_on_a_plane_costs_no_drawing_by_gles() -> Result<()> {
    only_the_guest_draws("vkms_a_guest_on_a_plane_costs_no_drawing_by_gles", "gles")
}

/// Numbers that look random and are the same each time.
struct Numbers(u64);

impl Numbers {
    /// One from 0 to below `end`.
    fn below(&mut self, end: u32) -> u32 {
        self.0 = self.0.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        u32::try_from((self.0 >> 33) % u64::from(end.max(1))).unwrap_or(0)
    }
}

/// What is to be seen: the frame as the shell says it, and in its area the ground with a part of the guest's picture in
/// the middle.
fn expected(said: &Picture, area: Area, part: Area) -> Picture {
    let (width, height) = (area.width as usize, area.height as usize);
    let pixels = Pattern { width, height, color: COLOR, name: "drawn".into(), counter: Some(0) }.pixels();
    let (left, top) = (area.x + (area.width - part.width) / 2, area.y + (area.height - part.height) / 2);
    said.map(|x, y, there| {
        let inside = (area.x..area.x + area.width).contains(&x) && (area.y..area.y + area.height).contains(&y);
        let shown = (left..left + part.width).contains(&x) && (top..top + part.height).contains(&y);
        let at = |x: u32, y: u32| pixels[y as usize * width + x as usize];
        match (inside, shown) {
            (true, true) => {
                let [_, red, green, blue] = at(x - left + part.x, y - top + part.y).to_be_bytes();
                [red, green, blue]
            }
            (true, false) => rgb(GROUND),
            (false, _) => there,
        }
    })
}

/// Whether all of the guest's pointer lies in the area when it points at this pixel.
fn is_inside(area: Area, (x, y): (u32, u32)) -> bool {
    let along =
        |at: u32, hot: u32, from: u32, length: u32| at >= from + hot && at - hot + pointer::SIDE <= from + length;
    along(x, HOT.0, area.x, area.width) && along(y, HOT.1, area.y, area.height)
}

/// The picture as it is to be seen, with the guest's pointer on a plane above it, pointing at this pixel.
fn with_pointer(picture: &Picture, (x, y): (u32, u32)) -> u32 {
    let mut planes = Composed::new(picture);
    for (right, down) in (0..pointer::SIDE).flat_map(|down| (0..pointer::SIDE).map(move |right| (right, down))) {
        planes.over(x - HOT.0 + right, y - HOT.1 + down, pointer::pixel(right, down));
    }
    planes.checksum()
}

/// Whether two pictures are the same wherever the guest's pointer, pointing at this pixel, is not.
fn is_same_beside(one: &Picture, other: &Picture, (x, y): (u32, u32)) -> bool {
    let (left, top) = (x.saturating_sub(HOT.0), y.saturating_sub(HOT.1));
    let covers = |x: u32, y: u32| (left..left + pointer::SIDE).contains(&x) && (top..top + pointer::SIDE).contains(&y);
    let mut places = (0..one.height).flat_map(|y| (0..one.width).map(move |x| (x, y)));
    places.all(|(x, y)| covers(x, y) || one.at(x, y) == other.at(x, y))
}

/// A picture whose pointer comes and goes, inside its area and out of it: it goes onto planes and from there into the
/// shell's own picture again, and no frame between shows anything else, nor lacks a thing.
fn nothing_between(test: &str, planes: Planes, renderer: &str) -> Result<()> {
    let words = format!("phyllome.orders={ORDERS} phyllome.pointer={},{}", HOT.0, HOT.1);
    on_rig(test, rig(planes, renderer, Mode::Quiet, &words)?, |rig| {
        rig.machine.sh(&format!("mkfifo {ORDERS}"))?;
        let on_planes = if planes == Planes::default() { "composited" } else { "overlay" };
        let output = start(rig, on_planes)?.outputs.first().context("no output")?.clone();
        let (area, size) = (output.guest_area, (output.width, output.height));
        // The name of the guest flashes after a switch.
        wait_same(rig)?;
        let bare = rig.screenshot(&[])?;
        let inside = (area.x + area.width / 2, area.y + area.height / 2);
        let outside = (area.x + area.width - 2, area.y + area.height / 2);
        ensure!(is_inside(area, inside) && !is_inside(area, outside));
        let is_shown = |wanted: u32| {
            wait_for("the pointer", SOON, || Ok((rig.machine.shown_checksum(0)? == wanted).then_some(())))
        };
        // Drawn, its half of light is rounded in 8 bits.
        rig.machine.move_pointer(outside, size)?;
        let wanted = wait_for("a pointer that is drawn", SOON, || {
            let said = rig.screenshot(&[])?;
            Ok((said != bare && rig.machine.shown_checksum(0)? == checksum(&said)).then_some(checksum(&said)))
        })?;
        let drawn = wanted;
        rig.machine.move_pointer(inside, size)?;
        let lifted = if planes.cursor {
            with_pointer(&bare, inside)
        } else {
            wait_for("a pointer inside", SOON, || {
                let sum = checksum(&rig.screenshot(&[])?);
                Ok((sum != drawn && rig.machine.shown_checksum(0)? == sum).then_some(sum))
            })?
        };
        is_shown(lifted)?;
        let watch = rig.machine.watch_checksums("checksums")?;
        for _ in 0..soak::times(20, 500) {
            for (to, wanted) in [(outside, drawn), (inside, lifted)] {
                rig.machine.move_pointer(to, size)?;
                watch.wait_for(wanted)?;
            }
        }
        let seen = watch.end(rig.machine)?;
        let strange: Vec<_> = seen.iter().filter(|sum| ![drawn, lifted].contains(sum)).collect();
        ensure!(strange.is_empty(), "{} of {} pictures were neither: {strange:x?}", strange.len(), seen.len());
        ensure!(seen.len() == 2);
        let why = rig.status()?.outputs.first().and_then(|output| output.plane_reason.clone());
        let wanted = (planes == Planes::default()).then_some("the display has no plane for it");
        ensure!(why.as_deref() == wanted, "composited because {why:?}");
        Ok(())
    })
}

#[test]
fn vkms_no_frame_lacks_a_thing_while_planes_come_and_go_by_pixman() -> Result<()> {
    let test = "vkms_no_frame_lacks_a_thing_while_planes_come_and_go_by_pixman";
    nothing_between(test, Planes { overlays: 8, cursor: true }, "pixman")?;
    nothing_between(test, Planes::default(), "pixman")
}

#[test]
fn vkms_no_frame_lacks_a_thing_while_planes_come_and_go_by_gles() -> Result<()> {
    let test = "vkms_no_frame_lacks_a_thing_while_planes_come_and_go_by_gles";
    nothing_between(test, Planes { overlays: 1, cursor: true }, "gles")
}

/// Random parts of the guest's picture in its area, and random places of its pointer: what is shown is what composing
/// shows, and lies on planes wherever it may.
fn as_if_composed(test: &str, renderer: &str, frames: u32) -> Result<()> {
    let words = format!("phyllome.orders={ORDERS} phyllome.pointer={},{}", HOT.0, HOT.1);
    on_rig(test, rig(Planes { overlays: 1, cursor: true }, renderer, Mode::Quiet, &words)?, |rig| {
        rig.machine.sh(&format!("mkfifo {ORDERS}"))?;
        let output = start(rig, "overlay")?.outputs.first().context("no output")?.clone();
        let (area, size) = (output.guest_area, (output.width, output.height));
        let frame = rig.screenshot(&[])?;
        let mut numbers = Numbers(0);
        let mut on_planes = 0;
        for number in 0..frames {
            let width = if number % 4 == 0 { area.width } else { 1 + numbers.below(area.width) };
            let height = if number % 4 == 0 { area.height } else { 1 + numbers.below(area.height) };
            let (x, y) = (numbers.below(area.width - width + 1), numbers.below(area.height - height + 1));
            let part = Area { x, y, width, height };
            let report = format!("report-{number}");
            rig.machine.sh(&format!("echo /share/out/{report} part {x} {y} {width} {height} > {ORDERS}"))?;
            let path = rig.machine.share().join("out").join(report);
            wait_for("the order to be carried out", SOON, || Ok(path.exists().then_some(())))?;
            // Beside the picture it would be the shell's own pointer.
            let (left, top) = (area.x + (area.width - width) / 2, area.y + (area.height - height) / 2);
            let to = (left + numbers.below(width), top + numbers.below(height));
            rig.machine.move_pointer(to, size)?;
            let on_plane = is_inside(area, to);
            let picture = expected(&frame, area, part);
            let planes = on_plane.then(|| with_pointer(&picture, to));
            let mut last = String::new();
            let same = wait_for("planes that show what composing would", SOON, || {
                // A pointer that reaches out is drawn, and so is the picture below it.
                let wanted = match planes {
                    Some(planes) => planes,
                    None => {
                        let said = rig.screenshot(&[])?;
                        if said == picture || !is_same_beside(&said, &picture, to) {
                            return Ok(None);
                        }
                        checksum(&said)
                    }
                };
                let (shown, plane) = (rig.machine.shown_checksum(0)?, plane(&rig.status()?).to_owned());
                last = format!("{part:?} and a pointer at {to:?}: {wanted:08x} is wanted, {shown:08x} shown, {plane}");
                Ok((wanted == shown && (plane == "overlay") == on_plane).then_some(()))
            });
            same.context(last)?;
            on_planes += u32::from(on_plane);
        }
        println!("{on_planes} of {frames} frames had all on planes");
        Ok(())
    })
}

#[test]
fn vkms_planes_show_what_composing_would_by_pixman() -> Result<()> {
    as_if_composed("vkms_planes_show_what_composing_would_by_pixman", "pixman", soak::times(80, 2000))
}

#[test]
fn vkms_planes_show_what_composing_would_by_gles() -> Result<()> {
    as_if_composed("vkms_planes_show_what_composing_would_by_gles", "gles", soak::times(20, 400))
}
