//! The same pictures drawn by GLES on surfaceless EGL, where the machine has it.

use super::fixture::{Fixture, pixels};
use super::show::{a_panel_that_changes_in_parts, shown};
use crate::outputs::RendererKind;
use smithay::reexports::rustix;
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use wayland_client::protocol::wl_shm;
use wayland_protocols::wp::linux_dmabuf::zv1::client::{zwp_linux_buffer_params_v1, zwp_linux_dmabuf_v1};

const GREEN: u32 = 0x00_ff_00;
const CYAN: u32 = 0x00_ff_ff;
const XR24: u32 = 0x3432_5258;

/// A shell with GLES; `None`, and the test counted as skipped, where there is none.
fn gles(test: &str) -> Option<Fixture> {
    match Fixture::with(&[(1280, 800)], RendererKind::Gles) {
        Ok(fixture) => Some(fixture),
        Err(why) => {
            println!("SKIPPED: {test}: {why}");
            None
        }
    }
}

#[test]
fn gles_draws_what_pixman_draws() {
    let Some(mut shell) = gles("gles_draws_what_pixman_draws") else { return };
    let mut other = Fixture::new();
    let (_one, _w1, _p1) = shown!(shell, "red", GREEN);
    let (_two, _w2, _p2) = shown!(other, "red", GREEN);
    let area = shell.area();
    let (gles, pixman) = (shell.shot("gles"), other.shot("pixman"));
    assert_eq!(gles.count_inside(&area, GREEN), pixels(&area));
    assert_eq!(gles.differs_outside(&area, &pixman), None);
}

#[test]
fn gles_draws_a_panel_that_changes_in_parts_as_pixman_draws_it_anew() {
    let Some(shell) = gles("gles_draws_a_panel_that_changes_in_parts_as_pixman_draws_it_anew") else { return };
    a_panel_that_changes_in_parts(shell);
}

#[test]
fn tp18_gles_shows_no_old_pixels_when_size_or_format_changes() {
    let Some(mut shell) = gles("tp18_gles_shows_no_old_pixels_when_size_or_format_changes") else { return };
    let (mut red, window, _pool) = shown!(shell, "red", GREEN);
    let area = shell.area();
    shell.shot("gles-first");
    let (clear, _p1) = red.buffer(1272, 768, 0, wl_shm::Format::Argb8888);
    window.surface.attach(Some(&clear), 0, 0);
    window.surface.damage_buffer(0, 0, 1, 1);
    window.surface.commit();
    shell.roundtrip(&mut red);
    assert_eq!(shell.shot("gles-clear").count_inside(&area, 0x10_11_14), pixels(&area));
    let _p2 = red.fill(&window.surface, 1272, 768, CYAN);
    shell.roundtrip(&mut red);
    assert_eq!(shell.shot("gles-again").count_inside(&area, CYAN), pixels(&area));
    let _p3 = red.fill(&window.surface, 100, 100, GREEN);
    shell.roundtrip(&mut red);
    let shot = shell.shot("gles-small");
    assert_eq!((shot.count_inside(&area, GREEN), shot.count_inside(&area, CYAN)), (10_000, 0));
}

#[test]
fn gles_uploads_what_is_damaged() {
    let Some(mut shell) = gles("gles_uploads_what_is_damaged") else { return };
    let (mut red, window, pool) = shown!(shell, "red", GREEN);
    let area = shell.area();
    assert_eq!(shell.shot("gles-before-damage").count_inside(&area, GREEN), pixels(&area));
    for y in 50..60u64 {
        pool.file.write_all_at(&CYAN.to_le_bytes().repeat(100), y * 5120 + 4 * 200).unwrap();
    }
    let again = pool.pool.create_buffer(0, 1272, 768, 5120, wl_shm::Format::Xrgb8888, &red.handle, ());
    window.surface.attach(Some(&again), 0, 0);
    window.surface.damage_buffer(200, 50, 100, 10);
    window.surface.commit();
    shell.roundtrip(&mut red);
    let shot = shell.shot("gles-damage");
    assert_eq!((shot.count_inside(&area, CYAN), shot.count_inside(&area, GREEN)), (1000, pixels(&area) - 1000));
    assert_eq!(shot.at(area.x + 200, area.y + 50), CYAN);
}

#[test]
fn gles_survives_memory_that_is_not_there() {
    let Some(mut shell) = gles("gles_survives_memory_that_is_not_there") else { return };
    let (mut red, window, pool) = shown!(shell, "red", GREEN);
    pool.pool.resize(5120 * 2000);
    let buffer = pool.pool.create_buffer(0, 1272, 2000, 5120, wl_shm::Format::Xrgb8888, &red.handle, ());
    window.surface.attach(Some(&buffer), 0, 0);
    window.surface.damage_buffer(0, 0, 1272, 2000);
    window.surface.commit();
    shell.roundtrip(&mut red);
    shell.shot("gles-truncated");
    shell.settle();
    shell.roundtrip(&mut red);
    assert!(red.is_cut());
}

/// A memfd of one colour, sealed against shrinking, as a dmabuf would be.
fn sealed(colour: u32, bytes: usize) -> File {
    let flags = rustix::fs::MemfdFlags::CLOEXEC | rustix::fs::MemfdFlags::ALLOW_SEALING;
    let file = File::from(rustix::fs::memfd_create("test", flags).unwrap());
    file.write_all_at(&colour.to_le_bytes().repeat(bytes / 4), 0).unwrap();
    rustix::fs::fcntl_add_seals(&file, rustix::fs::SealFlags::SHRINK).unwrap();
    file
}

#[test]
fn gles_shows_a_dmabuf_or_refuses_it() {
    let Some(mut shell) = gles("gles_shows_a_dmabuf_or_refuses_it") else { return };
    if !shell.attach("red").events.globals.contains_key("zwp_linux_dmabuf_v1") {
        println!("SKIPPED: gles_shows_a_dmabuf_or_refuses_it: this EGL imports no dmabufs");
        return;
    }
    let (mut red, window, _pool) = shown!(shell, "red", GREEN);
    let file = sealed(CYAN, 5120 * 768);
    let params = red.bind::<zwp_linux_dmabuf_v1::ZwpLinuxDmabufV1>(3).create_params(&red.handle, ());
    params.add(file.as_fd(), 0, 0, 5120, 0, 0);
    params.create(1272, 768, XR24, zwp_linux_buffer_params_v1::Flags::empty());
    shell.roundtrip(&mut red);
    let Some(buffer) = red.events.dmabuf.take() else {
        assert_eq!(red.events.dmabufs_refused, 1);
        return;
    };
    window.surface.attach(Some(&buffer), 0, 0);
    window.surface.damage_buffer(0, 0, 1272, 768);
    window.surface.commit();
    shell.roundtrip(&mut red);
    let area = shell.area();
    assert_eq!(shell.shot("gles-dmabuf").count_inside(&area, CYAN), pixels(&area));
}
