//! What a picture costs: one that would hold the shell up is never drawn, what is uploaded goes with frames that have
//! room for it, and what no frame draws has no texture.

use super::buffers::{self, Layout, begin};
use super::client::{Client, Pool, Window, sealed};
use super::fixture::{Fixture, name, pixels};
use super::show::shown;
use crate::backend::Backend;
use crate::ledger;
use crate::outputs::RendererKind;
use std::time::{Duration, Instant};
use wayland_client::protocol::wl_buffer::WlBuffer;
use wayland_client::protocol::wl_shm;

const GREEN: u32 = 0x00_ff_00;
const CYAN: u32 = 0x00_ff_ff;
const GROUND: u32 = 0x10_11_14;

fn textures(shell: &Fixture) -> usize {
    match &shell.state.backend {
        Backend::Headless(headless) => headless.guests_textures(),
        Backend::Nested(_) | Backend::Kms(_) => unreachable!("tests are headless"),
    }
}

/// Pixman, and GLES where there is one.
fn shells(test: &str) -> Vec<Fixture> {
    let mut shells = vec![Fixture::new()];
    match Fixture::with(&[(1280, 800)], RendererKind::Gles) {
        Ok(shell) => shells.push(shell),
        Err(why) => println!("SKIPPED: {test} with GLES: {why}"),
    }
    shells
}

#[test]
fn tp20_a_picture_of_16384_by_16384_pixels_is_a_card_and_the_guest_can_draw_another() {
    for mut shell in shells("tp20_a_picture_of_16384_by_16384_pixels_is_a_card_and_the_guest_can_draw_another") {
        let (mut red, window, _pool) = shown!(shell, "red", GREEN);
        let area = shell.area();
        shell.settle();
        shell.roundtrip(&mut red);
        // Nothing of its memory is there: it is not read either.
        let pool = red.pool(1 << 30);
        let huge = pool.pool.create_buffer(0, 16384, 16384, 65536, wl_shm::Format::Xrgb8888, &red.handle, ());
        let frames = red.events.frames;
        for _ in 0..3 {
            window.surface.attach(Some(&huge), 0, 0);
            window.surface.damage_buffer(0, 0, 16384, 16384);
            red.ask_for_frame(&window.surface);
            shell.roundtrip(&mut red);
            shell.settle();
            let shot = shell.shot("huge");
            assert_eq!(shot.count_inside(&area, GREEN), 0);
            assert!(shot.count_inside(&area, GROUND) > pixels(&area) / 2, "a card on the ground");
        }
        shell.roundtrip(&mut red);
        assert!(!red.is_cut() && red.events.frames > frames, "it may draw again");
        let blocks = std::os::unix::fs::MetadataExt::blocks(&pool.file.metadata().unwrap());
        assert!(blocks < 1000, "{blocks} blocks were read");
        let _pool = red.fill(&window.surface, 1272, 768, CYAN);
        shell.roundtrip(&mut red);
        assert_eq!(shell.shot("after-huge").count_inside(&area, CYAN), pixels(&area));
    }
}

#[test]
fn tp20_what_no_frame_draws_has_no_texture() {
    for mut shell in shells("tp20_what_no_frame_draws_has_no_texture") {
        let (_blue, _w, _p) = shown!(shell, "blue", CYAN);
        let mut red = shell.attach("red");
        let windows: Vec<(Window, Pool)> = (0..8).map(|_| another(&mut shell, &mut red)).collect();
        let area = shell.area();
        for guest in ["red", "blue", "red"] {
            shell.show(guest);
            shell.settle();
            shell.shot("textures");
            assert_eq!(textures(&shell), 1, "{guest}: one of nine pictures is shown");
        }
        assert_eq!(shell.shot("textures-red").count_inside(&area, GREEN), pixels(&area), "it is there again");
        drop(windows);
    }
}

/// One more picture that says it is the first scanout's.
fn another(shell: &mut Fixture, red: &mut Client) -> (Window, Pool) {
    let window = red.window("phyllome.scanout.0");
    shell.roundtrip(red);
    window.acknowledge(red);
    let pool = red.fill(&window.surface, 1272, 768, GREEN);
    shell.roundtrip(red);
    shell.settle();
    shell.shot("another");
    (window, pool)
}

#[test]
fn tp20_uploads_wait_for_a_frame_with_room_and_the_old_picture_stays_until_then() {
    let mut shell = match Fixture::with(&[(1280, 800)], RendererKind::Gles) {
        Ok(shell) => shell,
        Err(why) => {
            let test = "tp20_uploads_wait_for_a_frame_with_room_and_the_old_picture_stays_until_then";
            println!("SKIPPED: {test}: {why}");
            return;
        }
    };
    let (mut red, window, _pool) = shown!(shell, "red", GREEN);
    // 64 MiB each, of which a frame has room for 40.
    let side = 4096;
    let pictures: Vec<_> = [0xff_00_00, 0x00_00_ff]
        .into_iter()
        .map(|colour| (colour, red.buffer(side, side, colour, wl_shm::Format::Xrgb8888)))
        .collect();
    let middle = (shell.area().x + shell.area().width / 2, shell.area().y + shell.area().height / 2);
    for round in 0..12 {
        let (_, (buffer, _pool)) = &pictures[round % 2];
        window.surface.attach(Some(buffer), 0, 0);
        window.surface.damage_buffer(0, 0, side, side);
        red.ask_for_frame(&window.surface);
        let frames = red.events.frames;
        // One frame, which may have no room for it.
        shell.wait("a frame", |_| {
            red.pump();
            red.events.frames > frames
        });
    }
    let late = shell.state.protocols.screens.postponements;
    assert!((1..12).contains(&late), "{late} of 12 pictures came later");
    let last = pictures[1].0;
    shell.wait("the last picture", |shell| shell.shot("uploaded").at(middle.0, middle.1) == last);
    assert!(!red.is_cut());
    assert_eq!(shell.state.shell.keyboard_owner(), Some(name("red")));
}

#[test]
fn tp20_what_uploading_and_drawing_of_a_picture_take_is_the_guests_own() {
    for mut shell in shells("tp20_what_uploading_and_drawing_of_a_picture_take_is_the_guests_own") {
        let account =
            |shell: &mut Fixture, guest: &str| shell.state.protocols.ledger.account(&name(guest), Instant::now());
        let took = |account: &ledger::Shared| ledger::of(account).total_of_pictures;
        let (_blue, _w, _p) = shown!(shell, "blue", CYAN);
        let blue = account(&mut shell, "blue");
        shell.show("blue");
        shell.shot("blue-pays");
        assert!(!took(&blue).is_zero());
        let (mut client, window, _pool) = shown!(shell, "red", GREEN);
        let red = account(&mut shell, "red");
        shell.show("red");
        shell.shot("red-pays");
        let (first, before) = (took(&red), took(&blue));
        let _pool = client.fill(&window.surface, 1272, 768, CYAN);
        shell.roundtrip(&mut client);
        shell.shot("red-pays-again");
        assert!(!first.is_zero() && took(&red) > first, "{first:?}, then {:?}", took(&red));
        assert_eq!(took(&blue), before, "it is hidden");
    }
}

/// Shows so many pictures as a guest's video is shown: all of it new, with a frame callback and an answer about when it
/// was seen. Returns the processor time that each cost besides its drawing.
fn video(shell: &mut Fixture, red: &mut Client, window: &Window, buffer: &WlBuffer, size: (i32, i32)) -> Duration {
    const PICTURES: u32 = 60;
    let account = shell.state.protocols.ledger.account(&name("red"), Instant::now());
    let before = ledger::of(&account).total;
    for picture in 0..PICTURES {
        let frames = red.events.frames;
        window.surface.attach(Some(buffer), 0, 0);
        window.surface.damage_buffer(0, 0, size.0, size.1);
        red.feedback(&window.surface);
        red.ask_for_frame(&window.surface);
        red.flush();
        shell.wait("the picture to be shown", |shell| {
            assert!(!shell.state.protocols.rests(&name("red")), "picture {picture} waits");
            red.pump();
            red.events.frames > frames
        });
    }
    assert!(!red.is_cut());
    (ledger::of(&account).total - before) / PICTURES
}

#[test]
fn a_guest_that_shows_video_over_all_of_a_display_is_never_kept_waiting() {
    for (kind, size, dmabuf) in [("1080p by shared memory", (1920, 1080), false), ("4K by dmabuf", (3840, 2160), true)]
    {
        let mut shell = Fixture::with(&[(size.0 as u32 + 8, size.1 as u32 + 32)], RendererKind::Pixman).unwrap();
        let (mut red, window) = begin(&mut shell);
        let (mut pools, mut files) = (Vec::new(), Vec::new());
        let buffer = if dmabuf {
            let stride = size.0 as u32 * 4;
            let layout = Layout { offset: 0, stride, size, format: 0x3432_5258 };
            let file = sealed(u64::from(stride) * size.1 as u64);
            let buffer = buffers::dmabuf(&mut shell, &mut red, &file, &layout, 0).unwrap();
            files.push(file);
            buffer
        } else {
            let (buffer, pool) = red.buffer(size.0, size.1, GREEN, wl_shm::Format::Xrgb8888);
            pools.push(pool);
            buffer
        };
        let each = video(&mut shell, &mut red, &window, &buffer, size);
        println!("{kind}: {each:?} for each picture");
    }
}
