//! Pictures: what is attached, damaged and committed, and when.

use super::Stage;
use super::compositor::{Commit, Compositor, Offer};
use super::rig::{AR24, RX24, XR24, given, memory, paint, rect, scanout, whole};
use phyllome_guest_bridge::frames::{Picture, PreferredMode, ToDevice, ToScreen};
use wayland_protocols::xdg::shell::server::xdg_toplevel::State::{Fullscreen, Maximized};
use wayland_server::protocol::wl_shm;

const RED: [u8; 4] = [0, 0, 255, 0];
const GREEN: [u8; 4] = [0, 255, 0, 0];

#[tokio::test]
async fn the_first_window_says_early_which_mode_the_guest_should_have() {
    let mut stage = Stage::new(Offer::default()).await;
    // The output is 1280×800 on 320×200 mm.
    let mode = PreferredMode { width: 1272, height: 768, refresh_mhz: 75_000, width_mm: 318, height_mm: 192 };
    let expected = ToDevice::Mode { id: scanout(0), mode };
    stage.until("the mode", |rig, _| rig.answers.contains(&expected)).await;
    assert!(stage.rig.answers.contains(&ToDevice::Attached(true)));
    let window = &stage.compositor.state.windows[0];
    assert_eq!((window.app_id.as_str(), window.title.as_str()), ("phyllome.scanout.0", "work"));
    stage.quiet().await;
    assert!(stage.compositor.shown().is_empty(), "there is no picture yet");
    assert_eq!(stage.rig.answers.iter().filter(|answer| **answer == expected).count(), 1);
}

#[tokio::test]
async fn a_window_of_no_particular_size_asks_for_no_mode() {
    let mut stage = Stage::new(Offer { size: (0, 0), states: vec![], ..Offer::default() }).await;
    let buffer = memory(640, 480, XR24, RED, false);
    stage.rig.set(0, Some(whole(&buffer))).await;
    stage.show(0, &[]).await;
    assert_eq!(stage.compositor.last().scaled, None);
    assert!(!stage.rig.answers.iter().any(|answer| matches!(answer, ToDevice::Mode { .. })));
}

#[tokio::test]
async fn a_flush_is_one_commit_of_the_guests_own_memory_with_exactly_its_damage() {
    let mut stage = Stage::new(Offer::default()).await;
    let buffer = memory(1000, 500, AR24, RED, false);
    stage.rig.set(0, Some(whole(&buffer))).await;
    stage.quiet().await;
    assert!(stage.compositor.shown().is_empty(), "no pixel is shown before the flush");

    stage.show(0, &[rect(1, 1, 2, 2)]).await;
    let first = stage.compositor.last();
    assert_eq!(first.damage, [rect(0, 0, 1000, 500)], "all of a new picture is new");
    let info = first.buffer.clone().unwrap();
    assert_eq!((info.size, info.stride, info.offset), ((1000, 500), 4096, 0));
    assert_eq!(info.stride % 256, 0);
    assert_eq!(info.format, u32::from(wl_shm::Format::Xrgb8888), "a screen has no alpha");
    assert_eq!(info.pixel(999, 499), RED);

    paint(&buffer, rect(10, 20, 30, 40), GREEN);
    stage.show(0, &[rect(10, 20, 30, 40), rect(900, 400, 200, 200)]).await;
    stage.quiet().await;
    let shown = stage.compositor.shown();
    assert_eq!(shown.len(), 2);
    assert_eq!(shown[1].damage, [rect(10, 20, 30, 40), rect(900, 400, 100, 100)]);
    assert_eq!(shown[1].frames, 1);
    let again = shown[1].buffer.clone().unwrap();
    assert_eq!(again.pixel(10, 20), GREEN, "seen without a copy");
    assert!(std::sync::Arc::ptr_eq(&info, &again), "imported once");
    let report = stage.rig.handle.report();
    let report = report.lock().unwrap().scanouts[&scanout(0)].clone();
    assert_eq!((report.buffer, report.commits, report.presented, report.copied_pixels), ("shm", 2, 2, 0));
}

#[tokio::test]
async fn flushes_follow_the_pace_of_the_display() {
    let mut stage = Stage::new(Offer::default()).await;
    let buffer = memory(100, 100, XR24, RED, false);
    stage.rig.set(0, Some(whole(&buffer))).await;
    let first = stage.rig.flush(0, &[rect(0, 0, 100, 100)]).await;
    stage.until("a commit", |_, compositor| compositor.shown().len() == 1).await;
    // A device that does not wait, as ours never does.
    for x in 0..5 {
        stage.rig.flush(0, &[rect(x * 10, 0, 1, 1)]).await;
    }
    stage.quiet().await;
    assert_eq!(stage.compositor.shown().len(), 1, "hidden: nothing is committed");
    assert!(!stage.rig.presented(first));

    assert_eq!(stage.compositor.frame(), 1);
    stage.until("the gathered flushes", |rig, compositor| rig.presented(first) && compositor.shown().len() == 2).await;
    assert!(!stage.rig.presented(first + 1));
    assert_eq!(stage.compositor.last().damage, (0..5).map(|x| rect(x * 10, 0, 1, 1)).collect::<Vec<_>>());
    stage.compositor.frame();
    stage.until("the last answer", |rig, _| rig.presented(first + 5)).await;
}

#[tokio::test]
async fn nothing_happens_while_nothing_changes() {
    let mut stage = Stage::new(Offer::default()).await;
    let buffer = memory(100, 100, XR24, RED, false);
    stage.rig.set(0, Some(whole(&buffer))).await;
    stage.show(0, &[]).await;
    stage.quiet().await;
    let (requests, polls) = (stage.compositor.requests, stage.rig.polls());
    // Another guest lives fifty frames long meanwhile.
    let mut other = Stage::new(Offer::default()).await;
    other.rig.set(0, Some(whole(&buffer))).await;
    for _ in 0..50 {
        other.show(0, &[]).await;
    }
    stage.compositor.pump();
    assert_eq!(stage.compositor.requests, requests);
    assert_eq!(stage.rig.polls(), polls, "woken for nothing");
}

#[tokio::test]
async fn a_compositor_that_comes_back_is_shown_the_present_picture_at_once() {
    let mut stage = Stage::new(Offer::default()).await;
    let buffer = memory(100, 100, XR24, RED, false);
    stage.rig.set(0, Some(whole(&buffer))).await;
    stage.show(0, &[]).await;
    let unanswered = stage.rig.flush(0, &[rect(1, 1, 1, 1)]).await;
    stage.until("its commit", |_, compositor| compositor.shown().len() == 2).await;

    let (next, stream) = Compositor::new(Offer { size: (800, 600), ..Offer::default() });
    stage.compositor = next;
    stage.rig.until("the loss", |rig| rig.detached().is_some()).await;
    assert_eq!(stage.rig.detached(), Some("The compositor closed the connection."));
    assert!(stage.rig.answers.contains(&ToDevice::Attached(false)));
    assert!(!stage.rig.presented(unanswered));
    paint(&buffer, rect(5, 5, 1, 1), GREEN);
    stage.rig.handle.attach(stream);
    stage.until("the picture", |_, compositor| !compositor.shown().is_empty()).await;
    let shown = stage.compositor.last();
    assert_eq!(shown.damage, [rect(0, 0, 100, 100)]);
    assert_eq!(shown.buffer.as_ref().unwrap().pixel(5, 5), GREEN);
    stage
        .until("the answer that the first one owed", |rig, compositor| {
            compositor.frame();
            rig.presented(unanswered)
        })
        .await;
    assert!(stage.rig.answers.iter().any(|answer| matches!(answer, ToDevice::Mode { mode, .. } if mode.width == 800)));
}

#[tokio::test]
async fn a_part_of_a_buffer_is_cropped_and_its_damage_lies_there() {
    let mut stage = Stage::new(Offer::default()).await;
    let buffer = memory(400, 300, XR24, RED, false);
    let source = rect(100, 50, 200, 100);
    stage.rig.set(0, Some(Picture { buffer: buffer.clone(), source })).await;
    stage.show(0, &[]).await;
    stage.show(0, &[rect(0, 0, 10, 10), rect(150, 90, 100, 100)]).await;
    let shown = stage.compositor.last();
    assert_eq!(shown.crop, Some((100.0, 50.0, 200.0, 100.0)));
    assert_eq!(shown.damage, [rect(100, 50, 10, 10), rect(250, 140, 50, 10)]);

    // Another part of the same memory, then all of it: the same wl_buffer.
    stage.rig.set(0, Some(Picture { buffer: buffer.clone(), source: rect(0, 200, 400, 100) })).await;
    stage.show(0, &[]).await;
    assert_eq!(stage.compositor.last().crop, Some((0.0, 200.0, 400.0, 100.0)));
    stage.rig.set(0, Some(whole(&buffer))).await;
    stage.show(0, &[]).await;
    assert_eq!(stage.compositor.last().crop, None);
    assert_eq!(stage.compositor.state.live_buffers.len(), 1);
}

#[tokio::test]
async fn a_part_of_a_buffer_is_shown_where_nothing_can_crop() {
    let mut stage = Stage::new(Offer { viewporter: false, ..Offer::default() }).await;
    let buffer = memory(400, 300, XR24, RED, false);
    paint(&buffer, rect(100, 50, 1, 1), GREEN);
    stage.rig.set(0, Some(Picture { buffer: buffer.clone(), source: rect(100, 50, 200, 100) })).await;
    stage.show(0, &[]).await;
    let info = stage.compositor.last().buffer.clone().unwrap();
    assert_eq!((info.size, info.pixel(0, 0)), ((200, 100), GREEN));
    // The last rows of a part that does not begin at the left cannot be a wl_shm buffer: converted.
    paint(&buffer, rect(399, 299, 1, 1), GREEN);
    stage.rig.set(0, Some(Picture { buffer, source: rect(200, 200, 200, 100) })).await;
    stage.show(0, &[]).await;
    let info = stage.compositor.last().buffer.clone().unwrap();
    assert_eq!((info.size, info.pixel(199, 99)), ((200, 100), [0, 255, 0, 0]));
}

#[tokio::test]
async fn an_order_of_bytes_that_the_compositor_lacks_is_converted_where_it_is_damaged() {
    let mut stage = Stage::new(Offer::default()).await;
    // Bytes X, B, G, R.
    let buffer = memory(64, 64, RX24, [9, 1, 2, 3], false);
    stage.rig.set(0, Some(whole(&buffer))).await;
    stage.show(0, &[]).await;
    let info = stage.compositor.last().buffer.clone().unwrap();
    assert_eq!(info.pixel(63, 63)[..3], [1, 2, 3]);
    paint(&buffer, rect(0, 0, 64, 64), [9, 4, 5, 6]);
    stage.show(0, &[rect(2, 3, 4, 5)]).await;
    assert_eq!((info.pixel(2, 3)[..3].to_vec(), info.pixel(1, 3)[..3].to_vec()), (vec![4, 5, 6], vec![1, 2, 3]));
    let report = stage.rig.handle.report();
    let report = report.lock().unwrap().scanouts[&scanout(0)].clone();
    assert_eq!((report.buffer, report.copied_pixels), ("copy", 64 * 64 + 20));

    let mut stage = Stage::new(Offer { shm_formats: vec![wl_shm::Format::Rgbx8888], ..Offer::default() }).await;
    stage.rig.set(0, Some(whole(&buffer))).await;
    stage.show(0, &[]).await;
    assert_eq!(stage.compositor.last().buffer.as_ref().unwrap().format, RX24);
}

#[test]
fn a_picture_that_is_converted_holds_up_nobody_else() {
    // One thread for what takes long: a conversion takes for as long as that is kept busy.
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().max_blocking_threads(1).build().unwrap();
    runtime.block_on(a_picture_is_converted_beside_others());
}

async fn a_picture_is_converted_beside_others() {
    let (busy, until) = std::sync::mpsc::channel::<()>();
    tokio::task::spawn_blocking(move || until.recv());
    let mut stage = Stage::with_scanouts(Offer::default(), 2).await;
    let (large, small) = (memory(2048, 2048, RX24, [9, 1, 2, 3], false), memory(64, 64, XR24, [4, 5, 6, 7], false));
    // Both are there before the screen has its turn, the large one first.
    stage.rig.set(0, Some(whole(&large))).await;
    let serial = stage.rig.flush(0, &[]).await;
    stage.rig.set(1, Some(whole(&small))).await;
    for _ in 0..5 {
        stage.show(1, &[rect(0, 0, 8, 8)]).await;
    }
    let size = |commit: &Commit| commit.buffer.as_ref().unwrap().size;
    let sizes: Vec<_> = stage.compositor.shown().into_iter().map(size).collect();
    assert!(sizes.iter().all(|size| *size == (64, 64)), "nobody waits for the large one: {sizes:?}");
    drop(busy);
    let first = ToDevice::Presented { id: scanout(0), serial };
    stage
        .until("its answer", |rig, compositor| {
            compositor.frame();
            rig.answers.contains(&first)
        })
        .await;
    let converted = stage.compositor.shown().into_iter().find(|commit| size(commit) == (2048, 2048)).unwrap();
    assert_eq!(converted.buffer.as_ref().unwrap().pixel(2047, 2047)[..3], [1, 2, 3]);
    // Another picture before it is done: nobody waits for it, and nothing of it is seen.
    let before = stage.compositor.shown().len();
    let flushed = stage.rig.flush(0, &[]).await;
    stage.rig.set(0, Some(whole(&memory(32, 32, XR24, [7, 7, 7, 7], false)))).await;
    stage.rig.flush(0, &[]).await;
    stage.until("the newest", |_, compositor| compositor.last().buffer.as_ref().unwrap().size == (32, 32)).await;
    stage
        .until("the answer of the one before", |rig, compositor| {
            compositor.frame();
            rig.presented(flushed)
        })
        .await;
    assert!(stage.compositor.shown().len() <= before + 2);
}

#[tokio::test]
async fn a_dmabuf_is_used_where_it_works() {
    for feedback in [false, true] {
        a_dmabuf_is_used(Offer { dmabuf: Some((XR24, true)), feedback, ..Offer::default() }).await;
    }
}

async fn a_dmabuf_is_used(offer: Offer) {
    let mut stage = Stage::new(offer).await;
    let buffer = memory(100, 100, AR24, RED, true);
    stage.rig.set(0, Some(whole(&buffer))).await;
    stage.show(0, &[]).await;
    let info = stage.compositor.last().buffer.clone().unwrap();
    assert!(info.dmabuf);
    assert_eq!((info.format, info.stride, info.size), (XR24, 512, (100, 100)));

    // Neither a format that is not offered nor memory without a dmabuf waits for one.
    for buffer in [memory(100, 100, RX24, RED, true), memory(100, 100, XR24, RED, false)] {
        stage.rig.set(0, Some(whole(&buffer))).await;
        stage.show(0, &[]).await;
        assert!(!stage.compositor.last().buffer.as_ref().unwrap().dmabuf);
    }
}

#[tokio::test]
async fn a_refused_dmabuf_is_shown_as_shared_memory() {
    let mut stage = Stage::new(Offer { dmabuf: Some((XR24, false)), ..Offer::default() }).await;
    for _ in 0..6 {
        let buffer = memory(100, 100, XR24, GREEN, true);
        stage.rig.set(0, Some(whole(&buffer))).await;
        stage.show(0, &[]).await;
        let info = stage.compositor.last().buffer.clone().unwrap();
        assert_eq!((info.dmabuf, info.pixel(50, 50)), (false, GREEN));
    }
}

#[tokio::test]
async fn a_renderer_s_picture_is_handed_on_with_all_its_planes_and_the_right_way_up() {
    const TILED: u64 = 0x0100_0000_0000_0001;
    let mut stage = Stage::new(Offer { dmabuf: Some((XR24, true)), feedback: true, ..Offer::default() }).await;
    let planes = [(4096, 512), (64, 32), (0, 16)];
    let given = given(100, 100, &planes, TILED, true);
    stage.rig.set(0, Some(whole(&given))).await;
    stage.show(0, &[]).await;
    let last = stage.compositor.last();
    let info = last.buffer.clone().unwrap();
    assert_eq!((info.planes.as_slice(), info.modifier, info.format, last.turned), (&planes[..], TILED, XR24, true));
    stage.show(0, &[rect(10, 20, 30, 5)]).await;
    assert_eq!(stage.compositor.last().damage, [rect(10, 75, 30, 5)], "where it is in memory");
    // A part of it: cropped as the person sees it.
    stage.rig.set(0, Some(Picture { buffer: given.clone(), source: rect(0, 10, 100, 40) })).await;
    stage.show(0, &[]).await;
    stage.show(0, &[rect(0, 0, 100, 1)]).await;
    let last = stage.compositor.last();
    assert_eq!((last.crop, last.damage.as_slice()), (Some((0.0, 10.0, 100.0, 40.0)), &[rect(0, 89, 100, 1)][..]));
    let upright = memory(100, 100, XR24, RED, true);
    stage.rig.set(0, Some(whole(&upright))).await;
    stage.show(0, &[]).await;
    stage.show(0, &[rect(0, 0, 100, 1)]).await;
    let last = stage.compositor.last();
    assert!(!last.turned && last.damage == [rect(0, 0, 100, 1)], "{last:?}");
}

#[tokio::test]
async fn a_renderer_s_picture_that_is_refused_goes_back_and_the_last_one_stays() {
    let refusing = Offer { dmabuf: Some((XR24, false)), ..Offer::default() };
    let unknown = Offer { dmabuf: Some((XR24, true)), ..Offer::default() };
    for (offer, modifier) in [(refusing, 0), (unknown, 77), (Offer::default(), 0)] {
        let mut stage = Stage::new(offer).await;
        let first = memory(100, 100, XR24, RED, false);
        stage.rig.set(0, Some(whole(&first))).await;
        stage.show(0, &[]).await;
        let given = given(100, 100, &[(0, 512)], modifier, false);
        stage.rig.set(0, Some(whole(&given))).await;
        let before = stage.compositor.shown().len();
        let owed = stage.rig.flush(0, &[]).await;
        let refused = |answer: &ToDevice| matches!(answer, ToDevice::Refused { buffer } if *buffer == given.id);
        stage.until("the refusal", |rig, _| rig.answers.iter().any(refused)).await;
        stage.rig.flush(0, &[]).await;
        stage.quiet().await;
        assert_eq!(stage.compositor.shown().len(), before, "nothing else is shown");
        assert_eq!(stage.rig.answers.iter().filter(|answer| refused(answer)).count(), 1, "it is said once");
        // What the device shows instead.
        let instead = memory(100, 100, XR24, GREEN, false);
        stage.rig.set(0, Some(whole(&instead))).await;
        stage.show(0, &[]).await;
        assert!(stage.rig.presented(owed));
        assert_eq!(stage.compositor.last().buffer.as_ref().unwrap().pixel(1, 1), GREEN);
    }
}

#[tokio::test]
async fn a_picture_that_does_not_fit_yet_is_scaled_as_the_compositor_demands() {
    let mut stage = Stage::new(Offer { size: (640, 480), ..Offer::default() }).await;
    let buffer = memory(1280, 800, XR24, RED, false);
    stage.rig.set(0, Some(whole(&buffer))).await;
    stage.show(0, &[]).await;
    assert_eq!(stage.compositor.last().scaled, Some((640, 400)));
    let last = |compositor: &Compositor| compositor.state.commits.last().unwrap().scaled;
    stage.compositor.configure(0, (700, 700), &[Maximized]);
    stage.until("the new size", |_, compositor| last(compositor) == Some((700, 700))).await;
    stage.compositor.configure(0, (1280, 800), &[Fullscreen]);
    stage.until("the picture's own size", |_, compositor| last(compositor).is_none()).await;
}

#[tokio::test]
async fn a_first_scanout_that_is_off_is_dark_and_another_ones_window_goes() {
    let mut stage = Stage::new(Offer::default()).await;
    let buffer = memory(100, 100, XR24, RED, false);
    for id in [0, 1] {
        stage.rig.set(id, Some(whole(&buffer))).await;
        stage.show(id, &[]).await;
    }
    assert_eq!(stage.compositor.state.windows[1].app_id, "phyllome.scanout.1");
    stage.rig.send(ToScreen::Reset).await;
    stage
        .until("one window", |_, compositor| {
            compositor.frame();
            compositor.state.windows.len() == 1
        })
        .await;
    stage.until("darkness", |_, compositor| compositor.last().buffer.as_ref().unwrap().pixel(0, 0) == [0; 4]).await;
    assert_eq!(stage.compositor.last().scaled, Some((100, 100)));
    // The guest comes back.
    stage.rig.set(0, Some(whole(&buffer))).await;
    stage.compositor.frame();
    stage.show(0, &[]).await;
    let last = stage.compositor.last();
    assert_eq!((last.scaled, last.buffer.as_ref().unwrap().pixel(0, 0)), (None, RED));
}

#[tokio::test]
async fn a_guest_that_flips_between_buffers_has_each_imported_once() {
    let mut stage = Stage::new(Offer::default()).await;
    let buffers = [(); 3].map(|()| memory(100, 100, XR24, RED, false));
    for buffer in buffers.iter().cycle().take(12) {
        stage.rig.set(0, Some(whole(buffer))).await;
        stage.show(0, &[]).await;
        assert_eq!(stage.compositor.last().damage, [rect(0, 0, 100, 100)]);
    }
    let mut seen: Vec<_> = stage.compositor.shown().iter().map(|commit| commit.buffer.clone().unwrap()).collect();
    seen.sort_by_key(std::sync::Arc::as_ptr);
    seen.dedup_by(|a, b| std::sync::Arc::ptr_eq(a, b));
    assert_eq!(seen.len(), 3);
}
