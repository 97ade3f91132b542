//! What GL programs in the guest draw is what is seen on the shell's screen.
//!
//! References are made in the same run, by the same programs in the same guest with `LIBGL_ALWAYS_SOFTWARE=1`: then the guest's own
//! processor draws, and the picture takes the 2D path. A moving picture is compared in a frame that is stopped.

use crate::{is_rehearsal, on_guest, renderer_name};
use anyhow::{Context, Result, ensure};
use phyllome_tests::gl_guest::compare::{self, Allowed};
use phyllome_tests::gl_guest::{GL, GlGuest, GlOptions};
use phyllome_tests::picture::Picture;

/// The frame that is compared. Few, because an emulated processor that draws itself takes a second for each.
const FRAMES: u32 = 12;

#[test]
fn gpu3d_a_scene_is_drawn_as_in_software_and_shown_as_drawn() -> Result<()> {
    on_guest("gpu3d_a_scene_is_drawn_as_in_software_and_shown_as_drawn", GlOptions::default(), |guest| {
        guest.install_scene()?;
        let (scene, drawn) = guest.scene_on_screen("", FRAMES)?;
        let said = scene.output()?;
        ensure!(said.lines().any(|l| l.starts_with("GL_RENDERER") && l.contains(renderer_name())), "{said}");
        println!("{}", said.replace('\n', ", "));

        // What is on the screen is what GL reads back, pixel by pixel.
        guest.wait_like("the scene", &drawn, Allowed::SAME)?;
        // Corners: red, green, blue and yellow, where they belong.
        let (w, h) = (drawn.width, drawn.height);
        let corners = [(1, 1), (w - 2, 1), (1, h - 2), (w - 2, h - 2)].map(|(x, y)| drawn.at(x, y));
        ensure!(corners == [[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 0]], "corners are {corners:?}");
        // And what GL reads back is the scene.
        let wanted = guest.scene_in_software(w, h, FRAMES)?;
        let distance = compare::distance(&drawn, &wanted)?;
        println!("from software's: {distance:?}");
        ensure!(Allowed::DRAWN.holds(distance), "not the scene: {distance:?}");

        // Another frame is another picture: the comparison can fail.
        scene.kill()?;
        scene.wait(GL)?;
        let (_again, other) = guest.scene_on_screen("", FRAMES / 2)?;
        ensure!(!Allowed::DRAWN.holds(compare::distance(&other, &wanted)?), "frames are alike");
        guest.wait_like("another frame", &other, Allowed::SAME)?;
        Ok(())
    })
}

/// Lets kmscube draw so many frames, and holds it when it is about to end, so that its last frame stays on the screen.
fn cube(guest: &mut GlGuest, environment: &str, frames: u32) -> Result<Picture> {
    let hold = "strace -f -o /tmp/strace -e trace=exit_group -e inject=exit_group:delay_enter=600000000";
    // It chooses the largest mode where it is not told, and ends when its standard input does.
    let mode = "-v $(head -n 1 /sys/class/drm/card0-Virtual-1/modes)";
    let command = format!("rm -f /tmp/strace; sleep 1000 | {environment} {hold} kmscube {mode} -c {frames}");
    let cube = guest.spawn("kmscube", &command)?;
    let held = "for i in $(seq 1000); do grep -q exit_group /tmp/strace 2>/dev/null && exit 0; sleep 0.1; done; exit 1";
    let held = guest.run(held)?;
    ensure!(held.status == 0, "kmscube draws no {frames} frames: {}", cube.output()?);
    let is_cube = |picture: &Picture| picture.colours() > 64 && is_ground(picture.at(2, 2));
    let picture = guest.wait_picture("kmscube's cube", is_cube);
    let picture = picture.with_context(|| format!("kmscube says {:?}", cube.output()))?;
    guest.run("pkill -KILL strace; pkill -KILL kmscube; while pgrep kmscube; do sleep 0.1; done")?;
    Ok(picture)
}

/// kmscube's grey ground, 0.5 of each colour.
fn is_ground(colour: [u8; 3]) -> bool {
    colour.iter().all(|channel| (126..=129).contains(channel))
}

#[test]
fn gpu3d_kmscube_is_seen_as_in_software() -> Result<()> {
    on_guest("gpu3d_kmscube_is_seen_as_in_software", GlOptions::default(), |guest| {
        let seen = cube(guest, "", FRAMES)?;
        let wanted = cube(guest, "LIBGL_ALWAYS_SOFTWARE=1", FRAMES)?;
        let distance = compare::distance(&seen, &wanted)?;
        println!("from software's: {distance:?}");
        ensure!(Allowed::DRAWN.holds(distance), "not the cube: {distance:?}");
        // The cube is in the middle, and a fifth of the screen or more is not it.
        ensure!(!is_ground(seen.at(seen.width / 2, seen.height / 2)) && is_ground(seen.at(2, seen.height - 2)));
        Ok(())
    })
}

#[test]
fn gpu3d_glmark2_ends_with_a_score() -> Result<()> {
    on_guest("gpu3d_glmark2_ends_with_a_score", GlOptions::default(), |guest| {
        // Off screen: on it, it would take the largest mode of all, whatever the monitor prefers.
        let command = "glmark2-es2-drm --off-screen -b build:duration=5 -b texture:duration=5";
        let said = guest.run(command)?.ok()?;
        ensure!(said.lines().any(|l| l.contains("GL_RENDERER") && l.contains(renderer_name())), "{said}");
        let score = said.rsplit("Score:").next().and_then(|rest| rest.split_whitespace().next());
        let score: u32 = score.unwrap_or_default().parse().with_context(|| said.clone())?;
        // Without 3D not even one frame a second is certain.
        ensure!(score > 0 || is_rehearsal(), "{said}");
        println!("{}", said.lines().filter(|l| l.contains("FPS")).collect::<Vec<_>>().join(", "));
        guest.wait_console()?;
        Ok(())
    })
}
