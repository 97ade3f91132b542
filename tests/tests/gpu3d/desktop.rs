//! A whole desktop with GL in the guest.

use crate::names::values;
use crate::{on_shared_guest, renderer_name};
use anyhow::{Result, ensure};
use phyllome_test_machine::Program;
use phyllome_tests::gl_guest::GL;
use phyllome_tests::picture::Picture;

#[test]
fn gpu3d_weston_shows_its_desktop_with_gl() -> Result<()> {
    on_shared_guest("gpu3d_weston_shows_its_desktop_with_gl", |guest| {
        let console = guest.wait_console()?;
        guest.run("mkdir -p -m 1777 /tmp/.X11-unix")?.ok()?;
        // By a user, with the seat's devices from seatd, as on any machine.
        let arguments = ["--backend=drm", "--renderer=gl", "--xwayland", "--idle-time=0"];
        let weston = guest.remote().spawn("weston", &Program::new("weston", &arguments))?;
        let said = weston.wait_output("GL renderer:", GL)?;
        let renderer = said.lines().find(|line| line.contains("GL renderer:")).unwrap_or_default();
        ensure!(renderer.contains(renderer_name()), "weston says {said}");
        let desktop = |picture: &Picture| picture.colours() > 64 && *picture != console;
        let seen = guest.wait_picture("weston's desktop", desktop);
        ensure!(seen.is_ok(), "{:?}; weston said: {}", seen.err(), weston.output()?);
        let seen = seen?;
        // Its panel is a bar over the whole width; below it is the ground.
        ensure!(seen.at(seen.width / 2, 4) != seen.at(seen.width / 2, seen.height / 2), "no panel");

        // An X program, in an X server that draws with GL as well.
        weston.wait_output("xserver listening on display :0", GL)?;
        let said = guest.remote().run_within(&Program::script("DISPLAY=:0 exec glxinfo -B"), GL)?.ok()?;
        let renderers = values(&said, "OpenGL renderer string");
        ensure!(renderers.len() == 1 && renderers[0].contains(renderer_name()), "glxinfo says {said}");

        weston.signal(15)?;
        ensure!(weston.wait(GL)? == 0, "{}", weston.output()?);
        guest.wait_console()?;
        Ok(())
    })
}
