//! Poor, odd, silent and dying compositors, and guests that try to fill the memory. The hub outlives them all.

use super::Stage;
use super::compositor::{Compositor, Offer};
use super::rig::{RX24, Rig, XR24, given, memory, rect, scanout, whole};
use phyllome_guest_bridge::frames::{SharedBuffer, ToDevice, ToScreen};
use phyllome_guest_bridge::screen::FromScreen;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};
use wayland_protocols::xdg::shell::server::xdg_toplevel::State::Fullscreen;

const BLUE: [u8; 4] = [255, 0, 0, 0];

/// The hub still works: another compositor shows a picture.
async fn still_works(rig: Rig) {
    let (compositor, stream) = Compositor::new(Offer::default());
    rig.handle.attach(stream);
    let mut stage = Stage { rig, compositor };
    let buffer = memory(10, 10, XR24, BLUE, false);
    stage.rig.set(0, Some(whole(&buffer))).await;
    stage.show(0, &[]).await;
    assert_eq!(stage.compositor.last().buffer.as_ref().unwrap().pixel(9, 9), BLUE);
}

#[tokio::test]
async fn a_compositor_that_lacks_the_necessary_is_named_in_one_sentence() {
    let mut rig = Rig::new();
    let (mut compositor, stream) = Compositor::new(Offer { shm: false, ..Offer::default() });
    rig.handle.attach(stream);
    rig.until("the refusal", |rig| {
        compositor.pump();
        rig.detached().is_some()
    })
    .await;
    assert_eq!(rig.detached(), Some("The compositor does not offer wl_shm, so it cannot show a guest."));
    still_works(rig).await;
}

#[tokio::test]
async fn a_protocol_error_costs_the_screen_only() {
    let mut stage = Stage::new(Offer::default()).await;
    stage.compositor.protocol_error();
    stage.until("the end", |rig, _| rig.detached().is_some()).await;
    let reason = stage.rig.detached().unwrap();
    assert!(reason.contains("xdg_toplevel error 3") && reason.contains("nobody knows why"), "{reason}");
    still_works(stage.rig).await;
}

#[tokio::test]
async fn a_compositor_that_ends_the_connection_is_no_error() {
    let mut stage = Stage::new(Offer::default()).await;
    stage.compositor.kill_client();
    stage.until("the end", |rig, _| rig.detached().is_some()).await;
    still_works(stage.rig).await;
}

#[tokio::test]
async fn a_compositor_that_talks_nonsense_is_left() {
    // Noise; an event of an object that does not exist; a message that claims to be 64 KiB long; an error without a
    // text.
    let error_without_text = [1u32, 20 << 16, 1, 0, 0].map(u32::to_ne_bytes).concat();
    let nonsense: [Vec<u8>; 4] = [
        vec![0xa5; 4096],
        vec![9, 9, 9, 9, 0, 0, 12, 0, 0, 0, 0, 0],
        [1, 0, 0, 0, 0, 0, 255, 255].repeat(900),
        error_without_text,
    ];
    let mut rig = Rig::new();
    for bytes in nonsense {
        rig.events.clear();
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        rig.handle.attach(theirs);
        ours.write_all(&bytes).unwrap();
        rig.until("the end", |rig| rig.detached().is_some()).await;
    }
    still_works(rig).await;
}

#[tokio::test]
async fn a_compositor_that_neither_reads_nor_answers_holds_up_nobody() {
    let mut rig = Rig::new();
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    rig.handle.attach(theirs);
    let buffer = memory(10, 10, XR24, BLUE, false);
    for _ in 0..1000 {
        rig.set(0, Some(whole(&buffer))).await;
        rig.flush(0, &[rect(0, 0, 1, 1)]).await;
    }
    rig.until("everything is taken", |rig| rig.polls() > 0).await;
    ours.set_nonblocking(true).unwrap();
    let mut said = vec![0; 1 << 20];
    assert!(ours.read(&mut said).unwrap() < 4096, "it was told more than a greeting");
    rig.handle.detach();
    rig.until("the end", |rig| rig.detached().is_some()).await;
    still_works(rig).await;
}

#[tokio::test]
async fn a_compositor_that_configures_at_length_and_reads_late_gets_everything() {
    let mut stage = Stage::new(Offer::default()).await;
    let buffer = memory(100, 100, XR24, BLUE, false);
    stage.rig.set(0, Some(whole(&buffer))).await;
    stage.show(0, &[]).await;
    for i in 1..2000 {
        stage.compositor.configure(0, (100 + i, 100), &[Fullscreen]);
    }
    stage
        .until("the last mode", |rig, _| {
            use phyllome_guest_bridge::frames::ToDevice::Mode;
            rig.answers.iter().any(|answer| matches!(answer, Mode { mode, .. } if mode.width == 2099))
        })
        .await;
    stage.show(0, &[]).await;
}

#[tokio::test]
async fn closing_a_window_asks_the_guest_to_shut_down() {
    let mut stage = Stage::new(Offer::default()).await;
    stage.compositor.state.windows[0].toplevel.close();
    stage.until("the request", |rig, _| rig.events.contains(&FromScreen::CloseRequested)).await;
}

#[tokio::test]
async fn a_guest_cannot_pile_up_buffers_windows_or_descriptors() {
    let descriptors = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let mut stage = Stage::new(Offer::default()).await;
    let kept: Vec<_> = (0..20).map(|_| memory(16, 16, XR24, BLUE, false)).collect();
    let mut before = 0;
    for round in 0..300 {
        let fresh = memory(16, 16, XR24, BLUE, false);
        stage.rig.set(0, Some(whole(if round % 2 == 0 { &fresh } else { &kept[round % kept.len()] }))).await;
        stage.show(0, &[]).await;
        // A second monitor that is plugged in and out.
        stage.rig.set(1, (round % 3 == 0).then(|| whole(&fresh))).await;
        stage.rig.flush(1, &[]).await;
        if round == 50 {
            before = descriptors();
        }
    }
    stage.rig.set(1, None).await;
    stage
        .until("one window", |_, compositor| {
            compositor.frame();
            compositor.state.windows.len() == 1
        })
        .await;
    stage.quiet().await;
    assert!(stage.compositor.state.live_buffers.len() <= 6, "{}", stage.compositor.state.live_buffers.len());
    // The played compositor keeps the descriptors of every buffer that it was ever shown, and other tests run beside
    // this one.
    stage.compositor.state.commits.clear();
    assert!(descriptors() < before + 100, "{before} descriptors became {}", descriptors());
}

#[tokio::test]
async fn every_flush_is_answered_or_waits_for_a_picture_that_can_be_shown() {
    let mut stage = Stage::new(Offer { lazy: true, ..Offer::default() }).await;
    let nothing = stage.rig.flush(3, &[]).await;
    stage.until("nothing to show", |rig, _| rig.presented(nothing)).await;
    let buffer = memory(10, 10, XR24, BLUE, false);
    stage.rig.set(0, Some(whole(&buffer))).await;
    let replaced = stage.rig.flush(0, &[]).await;
    stage.quiet().await;
    assert!(!stage.rig.presented(replaced), "the window is not configured yet");
    stage.rig.set(0, Some(whole(&buffer))).await;
    stage.quiet().await;
    assert!(!stage.rig.presented(replaced), "it is still the same picture");
    stage.rig.set(0, Some(whole(&memory(10, 10, XR24, BLUE, false)))).await;
    stage.until("another picture", |rig, _| rig.presented(replaced)).await;
    let reset = stage.rig.flush(0, &[]).await;
    stage.rig.send(ToScreen::Reset).await;
    stage.until("a reset", |rig, _| rig.presented(reset)).await;
}

#[tokio::test]
async fn a_picture_that_cannot_be_converted_holds_up_no_flush_and_no_other_picture() {
    let mut stage = Stage::new(Offer::default()).await;
    // Its order of bytes is not the compositor's, and its memory ends too early.
    let short = Some(phyllome_test_support::memory::sealed(4096).unwrap());
    let of = |buffer| Arc::into_inner(buffer).unwrap();
    let picture = Arc::new(SharedBuffer { memfd: short, ..of(memory(64, 64, RX24, BLUE, false)) });
    stage.rig.set(0, Some(whole(&picture))).await;
    // It is tried once a second, and nobody waits for that: soon there are more answers than tries.
    let (begun, mut answers) = (Instant::now(), 0);
    while answers < 20 || answers <= begun.elapsed().as_secs() + 2 {
        assert!(begun.elapsed() < Duration::from_secs(60), "{answers} answers in a minute");
        let serial = stage.rig.flush(0, &[rect(0, 0, 64, 64)]).await;
        stage.until("an answer", |rig, _| rig.presented(serial)).await;
        answers += 1;
    }
    assert!(stage.compositor.shown().is_empty(), "nothing of it is seen");
    assert_eq!(stage.rig.handle.report().lock().unwrap().scanouts[&scanout(0)].presented, 0, "and not said to be");
    stage.rig.set(0, Some(whole(&memory(64, 64, XR24, BLUE, false)))).await;
    stage.show(0, &[]).await;
    assert_eq!(stage.compositor.last().buffer.as_ref().unwrap().pixel(0, 0)[..3], BLUE[..3]);
}

#[tokio::test]
async fn a_picture_that_could_not_be_converted_once_is_tried_again_though_the_guest_flushes_no_more() {
    let mut stage = Stage::new(Offer::default()).await;
    let memfd = phyllome_test_support::memory::zeros(4096).unwrap();
    let length = memfd.try_clone().unwrap();
    let of = |buffer| Arc::into_inner(buffer).unwrap();
    let picture = SharedBuffer { memfd: Some(memfd), ..of(memory(64, 64, RX24, BLUE, false)) };
    stage.rig.set(0, Some(whole(&Arc::new(picture)))).await;
    let serial = stage.rig.flush(0, &[rect(0, 0, 64, 64)]).await;
    stage.until("an answer", |rig, _| rig.presented(serial)).await;
    assert!(stage.compositor.shown().is_empty());
    rustix::fs::ftruncate(&length, 64 * 64 * 4).unwrap();
    stage.until("a picture", |_, compositor| compositor.shown().len() == 1).await;
}

#[tokio::test]
async fn a_renderer_s_picture_that_nobody_may_read_goes_back_and_no_pixel_of_it_is_touched() {
    let mut stage = Stage::new(Offer::default()).await;
    // The compositor does not know its order of bytes, and its pages may be taken away: this process would end.
    let of = |buffer| Arc::into_inner(buffer).unwrap();
    let given = of(given(64, 64, &[(0, 256)], 0, false));
    let picture = Arc::new(SharedBuffer { fourcc: RX24, replaceable: false, ..given });
    stage.rig.set(0, Some(whole(&picture))).await;
    stage.rig.flush(0, &[]).await;
    let refused = ToDevice::Refused { buffer: picture.id };
    stage.until("it is given back", |rig, _| rig.answers.contains(&refused)).await;
    assert!(stage.compositor.shown().is_empty());
}

#[tokio::test]
async fn a_new_device_begins_with_an_empty_screen_and_learns_the_mode() {
    let mut stage = Stage::new(Offer::default()).await;
    let buffer = memory(10, 10, XR24, BLUE, false);
    stage.rig.set(0, Some(whole(&buffer))).await;
    stage.rig.flush(0, &[]).await;
    stage.until("a picture", |_, compositor| compositor.shown().len() == 1).await;
    stage.rig.new_device();
    use ToDevice::{Attached, Mode, Presented};
    stage.until("the mode", |rig, _| rig.answers.iter().any(|answer| matches!(answer, Mode { .. }))).await;
    assert!(stage.rig.answers.contains(&Attached(true)));
    stage
        .until("darkness", |_, compositor| {
            compositor.frame();
            compositor.last().buffer.as_ref().unwrap().pixel(0, 0) == [0; 4]
        })
        .await;
    let told: Vec<_> = stage.rig.answers.iter().filter(|answer| matches!(answer, Presented { .. })).collect();
    assert!(told.is_empty(), "answers to the former device: {told:?}");
    assert_eq!(stage.rig.handle.report().lock().unwrap().scanouts[&scanout(0)].commits, 1);
}

#[tokio::test]
async fn a_guest_that_plugs_a_monitor_in_and_out_makes_few_windows() {
    let mut stage = Stage::new(Offer::default()).await;
    let buffer = memory(10, 10, XR24, BLUE, false);
    let (begin, requests) = (Instant::now(), stage.compositor.requests);
    while begin.elapsed() < Duration::from_millis(600) {
        stage.rig.set(1, Some(whole(&buffer))).await;
        stage.rig.flush(1, &[]).await;
        stage.compositor.pump();
        stage.compositor.frame();
        stage.rig.set(1, None).await;
        tokio::task::yield_now().await;
        stage.compositor.pump();
    }
    stage
        .until("no second window", |_, compositor| {
            compositor.frame();
            compositor.state.windows.len() == 1
        })
        .await;
    let windows = stage.compositor.state.windows_made;
    let allowed = begin.elapsed().as_millis() / 250 + 2;
    assert!(windows as u128 <= allowed, "{windows} windows, {allowed} allowed");
    assert!(stage.compositor.requests > requests);
}
