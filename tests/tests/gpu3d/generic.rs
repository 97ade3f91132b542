//! 3D by QEMU's generic vhost-user device, which this computer's QEMU need not have: phyllome-shell, its guest's
//! processes and QEMU run on the system of the KMS test machine's image.

use crate::names::values;
use crate::on_guest;
use anyhow::{Result, ensure};
use phyllome_protocol::status::GuestState;
use phyllome_test_guests::Mode;
use phyllome_tests::gl_guest::compare::Allowed;
use phyllome_tests::gl_guest::{GL, GlGuest, GlOptions, NAME};
use phyllome_tests::guest_file;
use phyllome_tests::host::{Host, HostOptions};
use phyllome_tests::newer::Newer;
use phyllome_tests::udmabuf;
use std::time::{Duration, Instant};

/// The frame of the scene that is compared.
const FRAMES: u32 = 3;

/// The newer system; without one the test is skipped, and says so.
pub fn newer(name: &str) -> Option<Newer> {
    let found = Newer::find();
    if let Err(error) = &found {
        println!("SKIPPED: {name}: {error:#}");
    }
    found.ok()
}

/// A guest's options on that system.
pub fn options(newer: Newer) -> GlOptions {
    GlOptions { host: HostOptions { newer: Some(newer), ..HostOptions::default() }, ..GlOptions::default() }
}

/// Lavapipe's memory is given out by udmabuf alone.
fn is_no_venus(said: &str) -> bool {
    said.contains("no Venus: the memory of llvmpipe") && said.contains("udmabuf")
}

/// Draws the scene, sees it on the shell's screen pixel by pixel, and ends it. Gives the size.
fn scene_is_seen(guest: &mut GlGuest) -> Result<(u32, u32)> {
    let (scene, drawn) = guest.scene_on_screen("", FRAMES)?;
    let said = scene.output()?;
    ensure!(said.lines().any(|line| line.starts_with("GL_RENDERER") && line.contains("virgl")), "{said}");
    guest.wait_like("the scene", &drawn, Allowed::SAME)?;
    let (w, h) = (drawn.width, drawn.height);
    let corners = [(1, 1), (w - 2, 1), (1, h - 2), (w - 2, h - 2)].map(|(x, y)| drawn.at(x, y));
    ensure!(corners == [[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 0]], "corners are {corners:?}");
    scene.kill()?;
    scene.wait(GL)?;
    Ok((w, h))
}

/// Waits until the guest's kernel knows this size as its screen's own.
fn wait_mode(guest: &GlGuest, (width, height): (u32, u32)) -> Result<()> {
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        let modes = guest.run("cat /sys/class/drm/card*-Virtual-1/modes")?.ok()?;
        if modes.lines().next() == Some(&format!("{width}x{height}")) {
            return Ok(());
        }
        ensure!(Instant::now() < end, "the guest's screen does not become {width}x{height}: {modes}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn gpu3d_the_generic_device_draws_and_follows_its_screen() -> Result<()> {
    let name = "gpu3d_the_generic_device_draws_and_follows_its_screen";
    let Some(newer) = newer(name) else { return Ok(()) };
    on_guest(name, options(newer), |guest| {
        let status = guest.status_of_guest()?;
        ensure!(status.message.is_none(), "what there is not is no message to the person: {status:?}");
        let gpu = status.gpu;
        ensure!(gpu.transport == "generic", "{gpu:?}");
        for feature in ["virgl", "resource_blob", "context_init"] {
            ensure!(gpu.features.iter().any(|found| found == feature), "no {feature}: {gpu:?}");
        }
        // Lavapipe gives its memory out by udmabuf only; without, there is no Venus, and status and doctor say why.
        if udmabuf::is_there() {
            ensure!(gpu.renderer == "venus+virgl" && gpu.reason.is_none(), "{gpu:?}");
        } else {
            ensure!(gpu.renderer == "virgl" && gpu.reason.as_deref().is_some_and(is_no_venus), "{gpu:?}");
        }
        let kernel = guest.run("dmesg | grep -i 'drm.*features'")?.ok()?;
        for feature in ["+virgl", "+resource_blob", "+host_visible", "+context_init"] {
            ensure!(kernel.contains(feature), "no {feature}: {kernel}");
        }
        let said = guest.run("eglinfo -B -p gbm")?.ok()?;
        let renderers = values(&said, "OpenGL ES profile renderer");
        ensure!(!renderers.is_empty() && renderers.iter().all(|name| name.contains("virgl")), "eglinfo says {said}");

        guest.install_scene()?;
        let first = scene_is_seen(guest)?;
        // Another shell with another screen: the guest runs on, and hears of it without any display of QEMU's.
        let qemu = guest.status_of_guest()?.qemu_pid;
        guest.host.kill_shell()?;
        guest.host.set_sizes(&["1024x600"]);
        guest.host.start_shell()?;
        guest.host.wait("the guest is adopted", GL, |status| {
            status.guests.iter().any(|guest| guest.name.as_str() == NAME && !guest.scanouts.is_empty())
        })?;
        let area = guest.area()?;
        wait_mode(guest, (area.width, area.height))?;
        let second = scene_is_seen(guest)?;
        ensure!(second == (area.width, area.height) && second != first, "{first:?}, then {second:?} in {area:?}");
        ensure!(guest.status_of_guest()?.qemu_pid == qemu, "another QEMU");
        let doctor = guest.host.command_there("phyllome")?.arg("doctor").output()?;
        let said = String::from_utf8_lossy(&doctor.stdout).into_owned();
        ensure!(said.contains(if udmabuf::is_there() { "by Venus, virgl" } else { "by virgl" }), "doctor says {said}");
        ensure!(is_no_venus(&said) != udmabuf::is_there(), "doctor says {said}");
        Ok(())
    })
}

/// Until a tiny guest is up, also on a busy computer.
const TINY: Duration = Duration::from_secs(120);

#[test]
fn gpu3d_the_generic_device_shows_blobs_of_a_guest_without_3d() -> Result<()> {
    let name = "gpu3d_the_generic_device_shows_blobs_of_a_guest_without_3d";
    let Some(newer) = newer(name) else { return Ok(()) };
    let more = "[gpu]\nmode = \"2d\"\ntransport = \"generic\"\n";
    let (_, text) = guest_file("blobs", 1, "green", Mode::Animate, more)?;
    let mut host = Host::start_with(HostOptions { newer: Some(newer), ..HostOptions::default() }, &[("blobs", text)])?;
    host.run(&["start", "blobs"])?;
    for round in ["first", "after a reset"] {
        host.wait_serial("blobs", &phyllome_test_guests::ready_line("blobs"), TINY)?;
        let flushes = |status: &phyllome_protocol::status::Status| {
            status.guests.first().and_then(|guest| Some(guest.scanouts.first()?.flushes)).unwrap_or(0)
        };
        let status = host.wait("it draws", TINY, |status| flushes(status) > 5)?;
        let gpu = &status.guests[0].gpu;
        ensure!(gpu.transport == "generic" && gpu.renderer == "2d" && gpu.errors.is_empty(), "{round}: {gpu:?}");
        ensure!(gpu.features.iter().any(|feature| feature == "resource_blob"), "{round}: {gpu:?}");
        let area = status.outputs[0].guest_area;
        let first = host.wait_picture("the guest's picture", TINY, |whole| whole.crop(area).colours() > 2)?.crop(area);
        host.wait_picture("another picture", TINY, |whole| whole.crop(area) != first)?;
        if round == "first" {
            host.run(&["restart", "blobs"])?;
            host.wait("it begins anew", TINY, |status| flushes(status) == 0)?;
        }
    }
    host.run(&["kill", "blobs"])?;
    host.wait_state("blobs", GuestState::Stopped, TINY)?;
    Ok(())
}
