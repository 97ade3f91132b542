//! Desktops of other scales: one pixel of the guest is one of the display, wherever the window and the pointer are.

use super::Stage;
use super::compositor::{Offer, OutputFacts};
use super::rig::{XR24, memory, rect, scanout, whole};
use phyllome_guest_bridge::frames::{CursorImage, ToDevice, ToScreen};
use phyllome_guest_bridge::screen::InputEvent::Abs;
use wayland_protocols::xdg::shell::server::xdg_toplevel::State::Fullscreen;

/// Waits for a mode of this size.
async fn wants(stage: &mut Stage, size: (u32, u32)) {
    let found = |answer: &ToDevice| matches!(answer, ToDevice::Mode { mode, .. } if (mode.width, mode.height) == size);
    stage.until(&format!("{size:?}"), |rig, _| rig.answers.iter().any(found)).await;
    stage.rig.answers.clear();
}

/// What the last commit of a window said: the buffer's size, what is cropped, the surface's size.
fn last(stage: &Stage) -> ((i32, i32), bool, Option<(i32, i32)>) {
    let commit = stage.compositor.last();
    (commit.buffer.as_ref().unwrap().size, commit.crop.is_some(), commit.scaled)
}

#[tokio::test]
async fn a_guest_has_the_display_s_pixels_and_not_the_desktop_s() {
    // A scale in 120ths, and the mode of a window of 801×600.
    for (scale, mode) in [(180, (1202, 900)), (240, (1602, 1200)), (150, (1001, 750)), (120, (801, 600))] {
        let offer = Offer { fractional: Some(scale), size: (801, 600), ..Offer::default() };
        let mut stage = Stage::new(offer).await;
        wants(&mut stage, mode).await;
        let buffer = memory(mode.0, mode.1, XR24, [0; 4], false);
        stage.rig.set(0, Some(whole(&buffer))).await;
        stage.show(0, &[rect(mode.0 - 1, 5, 9, 9)]).await;
        let scaled = (scale != 120).then_some((801, 600));
        assert_eq!(last(&stage), ((mode.0 as i32, mode.1 as i32), false, scaled), "{scale}");
        stage.show(0, &[rect(mode.0 - 1, 5, 9, 9)]).await;
        assert_eq!(stage.compositor.last().damage, [rect(mode.0 - 1, 5, 1, 9)], "in the buffer's pixels");
        // Firmware's picture is small, and as sharp.
        let small = memory(640, 480, XR24, [0; 4], false);
        stage.rig.set(0, Some(whole(&small))).await;
        stage.show(0, &[]).await;
        let logical = |side: u32| ((side * 120 + scale / 2) / scale) as i32;
        assert_eq!(last(&stage).2, (scale != 120).then_some((logical(640), logical(480))), "{scale}");
    }
}

#[tokio::test]
async fn a_window_that_moves_to_a_display_of_another_scale_follows_it() {
    let mut stage = Stage::new(Offer { fractional: Some(120), size: (800, 600), ..Offer::default() }).await;
    wants(&mut stage, (800, 600)).await;
    let buffer = memory(800, 600, XR24, [0; 4], false);
    stage.rig.set(0, Some(whole(&buffer))).await;
    stage.show(0, &[]).await;
    assert_eq!(last(&stage).2, None);
    stage.compositor.state.scales[0].preferred_scale(240);
    wants(&mut stage, (1600, 1200)).await;
    stage.until("the picture at its own size", |_, c| c.state.commits.last().unwrap().scaled == Some((400, 300))).await;
    // What a compositor can say that is no scale.
    for (parts, mode) in [(0, (200, 150)), (u32::MAX, (12800, 9600)), (120, (800, 600))] {
        stage.compositor.state.scales[0].preferred_scale(parts);
        wants(&mut stage, mode).await;
    }
}

#[tokio::test]
async fn where_there_are_no_fractions_the_display_s_whole_scale_counts() {
    let mut stage = Stage::new(Offer { size: (800, 600), ..Offer::default() }).await;
    wants(&mut stage, (800, 600)).await;
    let output = stage.compositor.state.outputs[0].clone();
    output.scale(2);
    output.done();
    wants(&mut stage, (1600, 1200)).await;
    OutputFacts::FIRST.say(&output);
    output.scale(1);
    output.done();
    wants(&mut stage, (800, 600)).await;
    // Nothing can be shown at another size than its buffer's.
    let offer = Offer { fractional: Some(240), viewporter: false, size: (800, 600), ..Offer::default() };
    let mut stage = Stage::new(offer).await;
    wants(&mut stage, (800, 600)).await;
}

#[tokio::test]
async fn the_pointer_finds_every_pixel_and_its_image_has_as_many() {
    let mut stage = Stage::new(Offer { fractional: Some(180), size: (800, 600), ..Offer::default() }).await;
    wants(&mut stage, (1200, 900)).await;
    let buffer = memory(1200, 900, XR24, [0; 4], false);
    stage.rig.set(0, Some(whole(&buffer))).await;
    stage.show(0, &[]).await;
    stage.until("a pointer", |_, compositor| compositor.state.pointer.is_some()).await;
    let pointer = stage.compositor.state.pointer.clone().unwrap();
    let surface = stage.compositor.state.windows[0].surface.clone();
    pointer.enter(7, &surface, 0.0, 0.0);
    stage.quiet().await;
    stage.rig.take_input();
    // The middle of a pixel of the guest's, in the surface's.
    let places = [(0u32, 0u32), (1, 1), (2, 899), (601, 450), (1199, 0)];
    for (x, y) in places {
        pointer.motion(0, (f64::from(x) + 0.5) / 1.5, (f64::from(y) + 0.5) / 1.5);
        pointer.frame();
        let mut found = Vec::new();
        stage
            .until("a position", |rig, _| {
                found.extend(rig.take_input());
                !found.is_empty()
            })
            .await;
        let [Abs { x: at_x, y: at_y, .. }] = found[..] else { panic!("{found:?}") };
        assert_eq!((u32::from(at_x) * 1200 / 32768, u32::from(at_y) * 900 / 32768), (x, y));
    }
    let pixels = (0..64 * 64u32).flat_map(|at| [at as u8, (at / 64) as u8, 7, 255]).collect::<Vec<u8>>();
    let image = CursorImage { pixels: pixels.into(), hot_x: 30, hot_y: 63 };
    stage.rig.send(ToScreen::Cursor { id: scanout(0), image: Some(image) }).await;
    stage.until("a cursor", |_, compositor| compositor.state.cursors.last().is_some_and(|c| c.0.is_some())).await;
    let (shown, hot_x, hot_y) = stage.compositor.state.cursors.last().cloned().unwrap();
    assert_eq!((hot_x, hot_y), (20, 42));
    let commit = stage.compositor.state.commits.iter().rev().find(|commit| commit.surface == shown).unwrap();
    let info = commit.buffer.clone().unwrap();
    assert_eq!((info.size, commit.scaled), ((66, 66), Some((44, 44))), "whole pixels of both");
    assert_eq!((info.pixel(63, 63), info.pixel(3, 2)), ([255, 63, 7, 255], [131, 2, 7, 255]));
    assert_eq!((info.pixel(64, 0), info.pixel(0, 65)), ([0; 4], [0; 4]));
    // Back on a plain display the pointer is as it was.
    stage.compositor.state.scales[0].preferred_scale(120);
    stage
        .until("a plain cursor", |_, c| {
            c.state.commits.iter().rev().find(|commit| commit.surface == shown).unwrap().scaled == Some((64, 64))
        })
        .await;
    stage.compositor.configure(0, (800, 600), &[Fullscreen]);
}
