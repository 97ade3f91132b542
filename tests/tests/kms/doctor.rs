//! `phyllome doctor --gpu`: what it says of displays with planes and without, that the display really shows what it says,
//! and that a shell on the same display is not disturbed.

use crate::rig::{Rig, RigOptions, SOON, on_rig};
use anyhow::{Context, Result, ensure};
use phyllome_test_machine::picture::Picture;
use phyllome_test_machine::vkms::checksum;
use phyllome_test_machine::{Gpu, Planes, wait_for};
use serde::Deserialize;

#[derive(Debug, Deserialize)]
struct Report {
    gpu: Vec<Finding>,
}

#[derive(Debug, Deserialize)]
struct Finding {
    id: String,
    outcome: String,
    finding: String,
}

impl Report {
    /// Asked for on the first console.
    fn of(rig: &Rig) -> Result<Self> {
        let doctor = rig.program("phyllome", &["doctor", "--gpu", "--json"]).terminal("/dev/tty1");
        Ok(serde_json::from_str(&rig.machine.run(&doctor)?.ok()?)?)
    }

    /// That something came out so.
    fn ensure(&self, id: &str, outcome: &str, words: &str) -> Result<()> {
        let found = self.gpu.iter().find(|found| found.id == id).context("nothing of that name")?;
        ensure!(found.outcome == outcome && found.finding.contains(words), "{id} is not {outcome}: {:?}", self.gpu);
        Ok(())
    }
}

fn rig(planes: Planes) -> Result<RigOptions> {
    let mut options = RigOptions::new(&[])?.shell(&["--renderer", "pixman"]);
    options.machine.gpus = vec![Gpu::Vkms(planes)];
    options.start = false;
    Ok(options)
}

/// What lies on the chequer.
#[derive(Clone, Copy, Debug)]
enum On {
    Nothing,
    /// The square of pages of memory.
    Pages,
    /// The square that GL has drawn.
    Drawn,
    /// A pointer of 16 × 16 pixels, at the left upper corner of a plane of 512 × 512 in the middle.
    Pointer,
}

const SIZE: (u32, u32) = (1024, 768);

/// What is to be seen.
fn expected(on: On) -> Result<Picture> {
    picture(|x, y| {
        let gray = if (x / 64 + y / 64) % 2 == 0 { 0x30 } else { 0x40 };
        let at = |side: u32, part: u32| {
            let (left, top) = ((SIZE.0 - side) / 2, (SIZE.1 - side) / 2);
            let inside = (left..left + part).contains(&x) && (top..top + part).contains(&y);
            inside.then(|| ((x - left) as u8, (y - top) as u8))
        };
        match on {
            On::Nothing => [gray; 3],
            On::Pages => at(256, 256).map_or([gray; 3], |(right, down)| [down, right, right ^ down]),
            On::Drawn => at(256, 256).map_or([gray; 3], |(right, down)| [right, down, right ^ down]),
            On::Pointer => at(512, 16).map_or([gray; 3], |_| [0xff; 3]),
        }
    })
}

fn picture(pixel: impl Fn(u32, u32) -> [u8; 3]) -> Result<Picture> {
    let mut ppm = format!("P6 {} {} 255 ", SIZE.0, SIZE.1).into_bytes();
    ppm.extend((0..SIZE.1).flat_map(|y| (0..SIZE.0).map(move |x| (x, y))).flat_map(|(x, y)| pixel(x, y)));
    Picture::parse_ppm(&ppm)
}

#[test]
fn vkms_doctor_gpu_shows_a_picture_in_each_way_that_it_says_works() -> Result<()> {
    let test = "vkms_doctor_gpu_shows_a_picture_in_each_way_that_it_says_works";
    on_rig(test, rig(Planes { overlays: 1, cursor: true })?, |rig| {
        rig.machine.root("chmod 0666 /dev/udmabuf")?;
        // Of a display that is off nothing can be told: the kernel's text is on it.
        let console = rig.machine.shown_checksum(0)?;
        let watch = rig.machine.watch_checksums("checksums")?;
        let report = Report::of(rig)?;
        let seen = watch.end(rig.machine)?;
        report.ensure("host", "works", "seat0 gives its devices")?;
        report.ensure("card", "works", "vkms")?;
        report.ensure("displays", "works", "Virtual-1 1024x768 at 60.00 Hz")?;
        report.ensure("gl", "absent", "the shell draws with Pixman")?;
        report.ensure("primary", "works", "the processor's (gray), GL's (green), atomically")?;
        report.ensure("overlay", "works", "on one is shown pages of memory (udmabuf), what GL draws")?;
        report.ensure("cursor", "works", "up to 512x512 pixels")?;
        for on in [On::Nothing, On::Pages, On::Drawn, On::Pointer] {
            let wanted = checksum(&expected(on)?);
            ensure!(seen.contains(&wanted), "{on:?} ({wanted:08x}) was never shown: {seen:x?}");
        }
        ensure!(seen.contains(&checksum(&picture(|_, _| [0, 0xff, 0])?)), "GL's was never shown: {seen:x?}");
        // Its text blinks.
        wait_for("the console again", SOON, || Ok((rig.machine.shown_checksum(0)? == console).then_some(())))?;

        // Somebody else has the display now.
        rig.start_shell()?;
        let report = Report::of(rig)?;
        for id in ["primary", "overlay", "cursor"] {
            report.ensure(id, "untried", "")?;
        }
        let same = || Ok((rig.machine.shown_checksum(0)? == checksum(&rig.screenshot(&[])?)).then_some(()));
        wait_for("the shell's picture on the display", SOON, same)
    })
}

#[test]
fn vkms_doctor_gpu_says_what_a_display_has_not() -> Result<()> {
    let test = "vkms_doctor_gpu_says_what_a_display_has_not";
    on_rig(test, rig(Planes::default())?, |rig| {
        // By ssh, or in the background.
        let elsewhere: Report = serde_json::from_str(&rig.run(&["doctor", "--gpu", "--json"])?)?;
        elsewhere.ensure("host", "works", "no seat gives devices")?;
        elsewhere.ensure("primary", "untried", "this is no console in front")?;
        let report = Report::of(rig)?;
        report.ensure("primary", "works", "atomically")?;
        report.ensure("overlay", "absent", "none of 0 overlay planes")?;
        report.ensure("cursor", "absent", "there is no cursor plane")
    })
}
