//! What GL programs in the guest draw is what is seen on the shell's screen.
//!
//! References are made in the same run, by the same programs in the same guest with `LIBGL_ALWAYS_SOFTWARE=1`: then the
//! guest's own processor draws, and the picture takes the 2D path. A moving picture is compared in a frame that is
//! stopped.

use crate::{is_rehearsal, on_shared_guest, renderer_name};
use anyhow::{Context, Result, ensure};
use phyllome_tests::gl_guest::GL;
use phyllome_tests::gl_guest::compare::{self, Allowed};
use phyllome_tests::picture::Picture;

/// The frame that is compared. Few, because an emulated processor that draws itself takes a second for each.
const FRAMES: u32 = 12;

#[test]
fn gpu3d_a_scene_is_drawn_as_in_software_and_shown_as_drawn() -> Result<()> {
    on_shared_guest("gpu3d_a_scene_is_drawn_as_in_software_and_shown_as_drawn", |guest| {
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

/// kmscube's grey ground, 0.5 of each colour.
fn is_ground(colour: [u8; 3]) -> bool {
    colour.iter().all(|channel| (126..=129).contains(channel))
}

/// A shaded cube in the middle of its ground.
fn is_cube(picture: &Picture) -> bool {
    let corners = [(2, 2), (picture.width - 3, 2), (2, picture.height - 3), (picture.width - 3, picture.height - 3)];
    let middle = picture.at(picture.width / 2, picture.height / 2);
    corners.iter().all(|&(x, y)| is_ground(picture.at(x, y))) && !is_ground(middle) && picture.colours() > 64
}

#[test]
fn gpu3d_kmscube_is_seen_turning() -> Result<()> {
    on_shared_guest("gpu3d_kmscube_is_seen_turning", |guest| {
        // It ends when its standard input does.
        let cube = guest.spawn("kmscube", "sleep 1000 | exec kmscube")?;
        let picture =
            guest.wait_picture("kmscube's cube", is_cube).with_context(|| format!("it says {:?}", cube.output()))?;
        guest.wait_picture("another side of the cube", |other| is_cube(other) && *other != picture)?;
        guest.run("pkill -KILL kmscube; while pgrep kmscube; do sleep 0.1; done")?;
        guest.wait_console()?;
        Ok(())
    })
}

/// glmark2 on the screen. With alpha its pictures are of a format that virtio-gpu's plane does not have.
pub const GLMARK2: &str = "glmark2-es2-drm --visual-config red=8:green=8:blue=8:alpha=0";

/// The picture of its scene `build`: a horse in many shades in the middle of black; a console has few.
pub fn is_glmark2(picture: &Picture) -> bool {
    let corners = [(2, 2), (picture.width - 3, 2), (2, picture.height - 3), (picture.width - 3, picture.height - 3)];
    corners.iter().all(|&(x, y)| picture.at(x, y) == [0, 0, 0]) && picture.colours() > 64
}

#[test]
fn gpu3d_glmark2_is_seen_and_ends_with_a_score() -> Result<()> {
    on_shared_guest("gpu3d_glmark2_is_seen_and_ends_with_a_score", |guest| {
        let shown = guest.spawn("glmark2", &format!("exec {GLMARK2} -b build:duration=600"))?;
        let picture = guest.wait_picture("glmark2's picture", is_glmark2)?;
        // It turns: another picture follows.
        guest.wait_picture("another picture of glmark2", |other| is_glmark2(other) && *other != picture)?;
        shown.kill()?;
        shown.wait(GL)?;
        let command = format!("{GLMARK2} --off-screen -b build:duration=5 -b texture:duration=5");
        let said = guest.run(&command)?.ok()?;
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
