//! A display with planes of its own (VKMS): a guest's picture is on an overlay plane exactly inside the frame, its
//! pointer on the cursor plane, and what all planes together show is what composing would have shown, by the kernel's
//! own checksum of the frame.

use crate::rig::{Rig, RigOptions, SOON, on_rig};
use anyhow::{Context, Result, bail, ensure};
use phyllome_protocol::status::{Area, Status};
use phyllome_test_guests::Mode;
use phyllome_test_machine::picture::{Picture, rgb};
use phyllome_test_machine::vkms::{Composed, checksum};
use phyllome_test_machine::{Gpu, Planes, Process, wait_for};
use phyllome_test_support::soak;
use phyllome_tests::numbers::Numbers;
use phyllome_tests::played::pattern::Pattern;
use phyllome_tests::played::pointer;
use phyllome_tests::played_guest_file;
use phyllome_tests::programs::program;
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
        for _ in 0..soak::times(10, 500) {
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
        let mut numbers = Numbers::new(0);
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
    as_if_composed("vkms_planes_show_what_composing_would_by_pixman", "pixman", soak::times(40, 2000))
}

#[test]
fn vkms_planes_show_what_composing_would_by_gles() -> Result<()> {
    as_if_composed("vkms_planes_show_what_composing_would_by_gles", "gles", soak::times(12, 400))
}

/// The shell is killed, another terminal is switched to, the display is pulled: each time the guest's picture is on its
/// plane again, and what is shown is to the bit what it was.
fn is_back_each_time(test: &str, renderer: &str, times: u32) -> Result<()> {
    const PLUG: &str = "/sys/kernel/config/vkms/display0/connectors/connector/status";
    let words = format!("phyllome.pointer={},{}", HOT.0, HOT.1);
    on_rig(test, rig(Planes { overlays: 1, cursor: true }, renderer, Mode::Quiet, &words)?, |rig| {
        let output = start(rig, "overlay")?.outputs.first().context("no output")?.clone();
        let (area, size) = (output.guest_area, (output.width, output.height));
        // The name of the guest flashes after a switch.
        wait_same(rig)?;
        let (away, to) = ((area.x + 200, area.y + 200), (area.x + area.width / 2, area.y + area.height / 2));
        let picture = with_pointer(&rig.screenshot(&[])?, to);
        let is_back = |rig: &mut Rig, from: &str| {
            let mut last = String::new();
            let back = wait_for(&format!("the picture on its plane after {from}"), LONG, || {
                // The first frame of a mode is composited, and nothing is drawn until something changes; the pointer is
                // heard once this terminal is in front again.
                rig.machine.move_pointer(away, size)?;
                rig.machine.move_pointer(to, size)?;
                let (outputs, shown) = (rig.status()?.outputs, rig.machine.shown_checksum(0)?);
                last = format!("{shown:08x} is shown, {picture:08x} wanted: {outputs:?}");
                let on_plane = outputs.first().is_some_and(|output| output.plane == "overlay");
                Ok((on_plane && shown == picture).then_some(()))
            });
            back.context(last)
        };
        is_back(rig, "the start")?;
        for number in 0..times {
            rig.machine.root(&format!("echo 2 > {PLUG}"))?;
            rig.wait("no display", SOON, |status| status.outputs.is_empty())?;
            rig.machine.root(&format!("echo 1 > {PLUG}"))?;
            is_back(rig, &format!("plug {number}"))?;

            rig.machine.vt_switch(2)?;
            wait_for("another terminal", SOON, || {
                let terminal = rig.machine.read_text("/sys/class/tty/tty0/active")?;
                Ok((terminal == "tty2" && rig.machine.shown_checksum(0)? != picture).then_some(()))
            })?;
            rig.machine.vt_switch(1)?;
            is_back(rig, &format!("switch {number}"))?;

            let pid = rig.guest("drawn")?.pid;
            rig.kill_shell()?;
            rig.start_shell()?;
            is_back(rig, &format!("kill {number}"))?;
            ensure!(rig.guest("drawn")?.pid == pid, "it is another guest");
        }
        Ok(())
    })
}

#[test]
fn vkms_a_guest_is_on_its_plane_again_after_plugs_switches_and_kills() -> Result<()> {
    let test = "vkms_a_guest_is_on_its_plane_again_after_plugs_switches_and_kills";
    is_back_each_time(test, "pixman", soak::times(2, 50))
}

/// A shell with the screen of a taken-over guest's process, which shows something; its area, and the size of the output.
fn on_hostile_screen(
    test: &str,
    planes: Planes,
    renderer: &str,
    act: &str,
    body: impl FnOnce(&mut Rig, &Hostile, Area, (u32, u32)) -> Result<()>,
) -> Result<()> {
    let mut options = rig(planes, renderer, Mode::Quiet, "")?;
    options.machine.programs.push(program("hostile-screen")?);
    on_rig(test, options, |rig| {
        rig.machine.root("chmod 0666 /dev/udmabuf; modprobe vgem; udevadm settle; chmod 0666 /dev/dri/renderD*")?;
        let process = rig.program("hostile-screen", &["drawn", act]);
        let hostile = Hostile(rig.machine.spawn("hostile-screen", &process)?);
        rig.run(&["switch", "drawn"])?;
        hostile.wait_for("shows")?;
        let output = rig.status()?.outputs.first().context("no output")?.clone();
        let (area, size) = (output.guest_area, (output.width, output.height));
        rig.machine.move_pointer((area.x + area.width / 2, area.y + area.height / 2), size)?;
        body(rig, &hostile, area, size)?;
        hostile.0.kill()
    })
}

/// The process.
struct Hostile(Process);

impl Hostile {
    /// Waits until it says this.
    fn wait_for(&self, words: &str) -> Result<()> {
        wait_for(&format!("“{words}”"), LONG, || {
            ensure!(self.0.ended()?.is_none(), "it has ended: {}", self.0.output());
            Ok(self.says(words).then_some(()))
        })
    }

    fn says(&self, words: &str) -> bool {
        self.0.output().lines().any(|line| line == words)
    }
}

/// Waits until the guest's area has the colour of the ground, and tells the checksum of that.
fn bare_area(rig: &Rig, area: Area) -> Result<u32> {
    wait_for("the bare ground in the guest's frame", LONG, || {
        let said = rig.screenshot(&[])?;
        let ground = said.crop(area);
        let bare = (0..ground.height).all(|y| (0..ground.width).all(|x| ground.at(x, y) == rgb(GROUND)));
        Ok((bare && rig.machine.shown_checksum(0)? == checksum(&said)).then_some(checksum(&said)))
    })
}

/// It shows pictures of every size, format, layout and part of its buffers, which it destroys while they are shown, and
/// pointers of the same kinds that reach over the edge of its area. All that may be seen of them has the colour of the
/// ground; so no frame may be another than the first.
fn nothing_beside_the_area(test: &str, planes: Planes, renderer: &str, pictures: u32) -> Result<()> {
    on_hostile_screen(test, planes, renderer, &pictures.to_string(), |rig, hostile, area, _| {
        let bare = bare_area(rig, area)?;
        let watch = rig.machine.watch_checksums("checksums")?;
        rig.machine.sh("touch /tmp/begin")?;
        let mut on_planes = 0;
        wait_for("the last picture", LONG * soak::times(1, 10), || {
            ensure!(hostile.0.ended()?.is_none(), "it has ended: {}", hostile.0.output());
            on_planes += u32::from(plane(&rig.status()?) == "overlay");
            Ok(hostile.says("done").then_some(()))
        })?;
        let seen = watch.end(rig.machine)?;
        ensure!(seen == [bare], "{bare:08x} was wanted all the time: {seen:x?}; {}", hostile.0.output());
        let status = rig.status()?;
        let draws = status.outputs.first().context("no output")?.draws;
        println!("{pictures} pictures and their pointers; {draws} frames were drawn, {on_planes} looks found a plane");
        ensure!(on_planes > 0 && draws < u64::from(pictures), "no picture was on a plane");
        let pointers = hostile.0.output().lines().find_map(|line| line.strip_prefix("pointers ")?.parse::<u32>().ok());
        ensure!(pointers.is_some_and(|pointers| pointers > pictures / 4), "{pointers:?} pointers were shown");
        Ok(())
    })
}

#[test]
fn vkms_tp01_tp02_tp15_tp18_no_frame_of_a_hostile_screen_shows_anything_beside_its_area() -> Result<()> {
    let test = "vkms_tp01_tp02_tp15_tp18_no_frame_of_a_hostile_screen_shows_anything_beside_its_area";
    nothing_beside_the_area(test, Planes { overlays: 1, cursor: true }, "pixman", soak::times(300, 10_000))
}

/// A picture on a plane gets a fence that does not come for ten seconds, as if its guest drew there: the display goes on,
/// as the pointer shows.
#[test]
fn vkms_a_fence_on_a_picture_that_is_shown_holds_up_no_display() -> Result<()> {
    let test = "vkms_a_fence_on_a_picture_that_is_shown_holds_up_no_display";
    on_hostile_screen(test, Planes { overlays: 1, cursor: true }, "pixman", "fences", |rig, hostile, area, size| {
        rig.wait("a picture on a plane", LONG, |status| plane(status) == "overlay")?;
        // The name of the guest flashes after a switch.
        wait_for("a pointer above a picture on a plane", LONG, || {
            let said = rig.screenshot(&[])?;
            let red = said.crop(area).count([0xff, 0, 0]);
            Ok((red > 0 && rig.machine.shown_checksum(0)? == checksum(&said)).then_some(()))
        })?;
        let mut last = rig.machine.shown_checksum(0)?;
        let places = [(40, 40), (80, 60), (120, 90), (60, 120)];
        let mut held = Vec::new();
        // A busy computer may take that long by itself; not three times.
        for number in 0..3 {
            rig.machine.sh("touch /tmp/begin")?;
            hostile.wait_for(&format!("fence {number}"))?;
            for (x, y) in places {
                rig.machine.move_pointer((area.x + x, area.y + y), size)?;
                wait_for("the pointer at another place", LONG, || {
                    let shown = rig.machine.shown_checksum(0)?;
                    let moved = std::mem::replace(&mut last, shown) != shown;
                    Ok(moved.then_some(()))
                })?;
            }
            let status = rig.status()?;
            if !hostile.says(&format!("fence {number} has come")) {
                ensure!(plane(&status) == "overlay", "it is composited: {:?}", status.outputs);
                return Ok(());
            }
            held.push(number);
        }
        bail!("the display stood still until the fence came, {held:?}")
    })
}
