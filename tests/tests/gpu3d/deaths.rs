//! The renderer is killed again and again while the guest draws: the guest's kernel stays up, its console is seen, GL
//! works again.

use crate::pictures::{GLMARK2, is_glmark2};
use crate::{is_rehearsal, on_guest, renderer_name};
use anyhow::{Context, Result, ensure};
use phyllome_protocol::status::GuestState;
use phyllome_test_support::soak;
use phyllome_tests::gl_guest::{GL, GlGuest, GlOptions};
use std::time::{Duration, Instant};

/// From a death until another renderer is there and status says so.
const REPLACED: Duration = Duration::from_secs(30);
/// Lets a renderer die as often as it likes; without it three deaths in a minute turn 3D off.
const NO_LIMIT: (&str, &str) = ("PHYLLOME_TEST_RENDERER_DEATHS", "1000");

pub fn kill(pid: u32) -> Result<()> {
    let pid = rustix::process::Pid::from_raw(pid as i32).context("pid 0")?;
    Ok(rustix::process::kill_process(pid, rustix::process::Signal::KILL)?)
}

/// Waits until there is a renderer that is not `before`.
pub fn replaced(guest: &mut GlGuest, before: Option<u32>, restarts: u32) -> Result<u32> {
    let end = Instant::now() + REPLACED;
    loop {
        let gpu = guest.gpu()?;
        if let Some(pid) = gpu.renderer_pid.filter(|pid| Some(*pid) != before && gpu.renderer_restarts >= restarts) {
            return Ok(pid);
        }
        ensure!(Instant::now() < end, "no renderer {REPLACED:?} after a death: {gpu:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A GL program draws: another frame than the console's is seen, and the program says by whom it is drawn.
fn gl_works(guest: &mut GlGuest) -> Result<()> {
    let (scene, drawn) = guest.scene_on_screen("", 3)?;
    let said = scene.output()?;
    ensure!(said.contains(renderer_name()), "{said}");
    guest.wait_like("a new program's picture", &drawn, phyllome_tests::gl_guest::compare::Allowed::SAME)?;
    scene.kill()?;
    scene.wait(GL)?;
    Ok(())
}

/// More deaths than the three that turn 3D off elsewhere; `cargo xtask test soak deaths` has fifty.
#[test]
fn gpu3d_deaths_of_the_renderer_leave_the_guest_up() -> Result<()> {
    let environment = vec![(NO_LIMIT.0.to_owned(), NO_LIMIT.1.to_owned())];
    let options = GlOptions { environment, ..GlOptions::default() };
    on_guest("gpu3d_deaths_of_the_renderer_leave_the_guest_up", options, |guest| {
        guest.install_scene()?;
        let qemu = guest.status_of_guest()?.qemu_pid;
        let mut renderer = if is_rehearsal() { None } else { Some(replaced(guest, None, 0)?) };
        let deaths = if is_rehearsal() { 2 } else { soak::times(5, 50) };
        let start = Instant::now();
        for death in 1..=deaths {
            let glmark2 = guest.spawn("glmark2", &format!("exec {GLMARK2} -b build:duration=600"))?;
            guest.wait_picture("glmark2's picture", is_glmark2)?;
            if let Some(pid) = renderer {
                kill(pid)?;
                renderer = Some(replaced(guest, renderer, death)?);
            }
            // The kernel is up, and so is its console once the program is gone that had the screen.
            let up = guest.run("cat /proc/uptime").with_context(|| format!("after death {death}"))?;
            ensure!(up.status == 0, "{up:?}");
            glmark2.kill()?;
            glmark2.wait(GL)?;
            guest.wait_console().with_context(|| format!("after death {death}"))?;
            gl_works(guest).with_context(|| format!("after death {death}"))?;
            let status = guest.status_of_guest()?;
            ensure!(status.state == GuestState::Running && status.qemu_pid == qemu, "after death {death}: {status:?}");
        }
        println!("{deaths} deaths in {:.0} s", start.elapsed().as_secs_f64());
        Ok(())
    })
}

#[test]
fn gpu3d_three_deaths_in_a_minute_turn_3d_off_and_the_picture_stays() -> Result<()> {
    on_guest("gpu3d_three_deaths_in_a_minute_turn_3d_off_and_the_picture_stays", GlOptions::default(), |guest| {
        if is_rehearsal() {
            return Ok(());
        }
        let mut renderer = replaced(guest, None, 0)?;
        for death in 1..3 {
            kill(renderer)?;
            renderer = replaced(guest, Some(renderer), death)?;
        }
        kill(renderer)?;
        let end = Instant::now() + REPLACED;
        while guest.gpu()?.renderer_pid.is_some() {
            ensure!(Instant::now() < end, "the renderer came again: {:?}", guest.gpu()?);
            std::thread::sleep(Duration::from_millis(50));
        }
        let status = guest.status_of_guest()?;
        ensure!(status.message.as_ref().is_some_and(|message| message.contains("3D")), "nobody is told: {status:?}");
        guest.wait_console()?;
        Ok(())
    })
}
