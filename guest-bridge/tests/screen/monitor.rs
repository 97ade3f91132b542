//! Monitors: the mode that a guest is asked for has the physical size of its area, whatever happens to the outputs.

use super::Stage;
use super::compositor::{Offer, OutputFacts};
use super::rig::{XR24, memory, scanout, whole};
use phyllome_guest_bridge::frames::{PreferredMode, ToDevice};
use wayland_protocols::xdg::shell::server::xdg_toplevel::State::{Fullscreen, Suspended};
use wayland_server::protocol::wl_output::{Mode, Transform};

const AREA: (u32, u32) = (1272, 768);
const AREA_SIGNED: (i32, i32) = (1272, 768);

/// Waits for a mode of the first scanout with these millimetres and this refresh rate.
async fn becomes(stage: &mut Stage, (width_mm, height_mm): (u32, u32), refresh_mhz: u32) {
    let mode = PreferredMode { width: AREA.0, height: AREA.1, refresh_mhz, width_mm, height_mm };
    let expected = ToDevice::Mode { id: scanout(0), mode };
    let what = format!("{expected:?}");
    stage.until(&what, |rig, _| rig.answers.contains(&expected)).await;
    stage.rig.answers.clear();
}

fn say(stage: &mut Stage, output: usize, facts: OutputFacts) {
    let output = &stage.compositor.state.outputs[output];
    facts.say(output);
    output.done();
}

fn modes(stage: &Stage) -> usize {
    stage.rig.answers.iter().filter(|answer| matches!(answer, ToDevice::Mode { .. })).count()
}

#[tokio::test]
async fn a_monitor_that_turns_or_changes_its_mode_changes_the_guests() {
    let mut stage = Stage::new(Offer::default()).await;
    becomes(&mut stage, (318, 192), 75_000).await;
    say(&mut stage, 0, OutputFacts { size: (2560, 1600), refresh_mhz: 60_000, ..OutputFacts::FIRST });
    becomes(&mut stage, (159, 96), 60_000).await;
    say(&mut stage, 0, OutputFacts { transform: Transform::_90, size: (1600, 2560), ..OutputFacts::FIRST });
    becomes(&mut stage, (99, 153), 75_000).await;
}

#[tokio::test]
async fn what_is_half_said_is_not_believed() {
    let mut stage = Stage::new(Offer::default()).await;
    becomes(&mut stage, (318, 192), 75_000).await;
    // Twice the display with twice the pixels: only half of that would be another density.
    let output = stage.compositor.state.outputs[0].clone();
    output.mode(Mode::Current, 2560, 1600, 75_000);
    stage.quiet().await;
    assert_eq!(modes(&stage), 0);
    OutputFacts { size_mm: (640, 400), size: (2560, 1600), ..OutputFacts::FIRST }.say(&output);
    output.done();
    stage.quiet().await;
    assert_eq!(modes(&stage), 0, "the pixels are as large as before");
}

#[tokio::test]
async fn a_window_that_moves_to_another_monitor_or_loses_its_own_gets_that_ones_size() {
    let mut stage = Stage::new(Offer::default()).await;
    becomes(&mut stage, (318, 192), 75_000).await;
    let dense = OutputFacts { size_mm: (160, 100), refresh_mhz: 120_000, ..OutputFacts::FIRST };
    let second = stage.compositor.plug(dense);
    stage.until("it is bound", |_, compositor| compositor.state.outputs.len() == 2).await;
    stage.quiet().await;
    assert_eq!(modes(&stage), 0, "a monitor that shows nothing of the guest changes nothing");
    let state = &stage.compositor.state;
    let (surface, outputs) = (state.windows[0].surface.clone(), state.outputs.clone());
    surface.enter(&outputs[0]);
    surface.enter(&outputs[1]);
    surface.leave(&outputs[0]);
    becomes(&mut stage, (159, 96), 120_000).await;
    stage.compositor.unplug(second);
    becomes(&mut stage, (318, 192), 75_000).await;
}

#[tokio::test]
async fn sizes_that_no_display_has_are_unknown() {
    let mut stage = Stage::new(Offer::default()).await;
    becomes(&mut stage, (318, 192), 75_000).await;
    for size_mm in [(0, 0), (i32::MAX, i32::MAX), (-320, 200), (1, 1)] {
        say(&mut stage, 0, OutputFacts { size_mm, refresh_mhz: -1, ..OutputFacts::FIRST });
        becomes(&mut stage, (0, 0), 60_000).await;
        say(&mut stage, 0, OutputFacts::FIRST);
        becomes(&mut stage, (318, 192), 75_000).await;
    }
    say(&mut stage, 0, OutputFacts { size: (0, 0), ..OutputFacts::FIRST });
    becomes(&mut stage, (0, 0), 75_000).await;
}

#[tokio::test]
async fn a_scanout_that_the_shell_has_no_output_for_is_unplugged_until_there_is_one() {
    let mut stage = Stage::with_scanouts(Offer::default(), 2).await;
    let has = |stage: &mut Stage, id: u32| {
        let modes = stage.rig.answers.iter().rev().find_map(|answer| match answer {
            ToDevice::Mode { id: of, mode } if *of == scanout(id) => Some(*mode),
            _ => None,
        });
        modes.map(|mode| mode.has_display())
    };
    stage.until("two windows", |_, compositor| compositor.state.windows.len() == 2).await;
    stage.quiet().await;
    assert_eq!((has(&mut stage, 0), has(&mut stage, 1)), (Some(true), Some(true)));
    let buffer = memory(100, 100, XR24, [0; 4], false);
    stage.rig.set(1, Some(whole(&buffer))).await;
    stage.show(1, &[]).await;
    for _ in 0..2 {
        stage.compositor.configure(1, (0, 0), &[Suspended]);
        stage.quiet().await;
        assert_eq!((has(&mut stage, 0), has(&mut stage, 1)), (Some(true), Some(false)));
        stage.compositor.configure(1, AREA_SIGNED, &[Fullscreen]);
        stage.quiet().await;
        assert_eq!(has(&mut stage, 1), Some(true));
    }
    // The guest takes its picture off the monitor that has gone, and its window waits for another.
    stage.compositor.configure(1, (0, 0), &[Suspended]);
    stage.rig.set(1, None).await;
    let made = stage.compositor.state.windows_made;
    stage
        .until("another window", |_, compositor| {
            compositor.frame();
            compositor.state.windows_made > made
        })
        .await;
    // Other desktops suspend what is minimised, and say no size of what its client may choose.
    for (size, states) in [(AREA_SIGNED, &[Suspended][..]), ((0, 0), &[])] {
        stage.compositor.configure(0, size, states);
        stage.quiet().await;
        assert_eq!(has(&mut stage, 0), Some(true), "{states:?}");
    }
}
