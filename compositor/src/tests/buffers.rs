//! Dmabufs that only the processor can read look as shared memory does, with every renderer; and what may not be read
//! is refused.
//!
//! A sealed memfd stands for the udmabuf that this machine may not have: it is the same memory, and the same code reads
//! it.

use super::client::{Client, Window, sealed};
use super::fixture::{Fixture, pixels};
use crate::outputs::RendererKind;
use crate::render::pointers::Pointers;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use wayland_client::protocol::wl_buffer::WlBuffer;
use wayland_client::protocol::wl_shm;
use wayland_protocols::wp::linux_dmabuf::zv1::client::{zwp_linux_buffer_params_v1, zwp_linux_dmabuf_v1};

const GREEN: u32 = 0x00_ff_00;
const CYAN: u32 = 0x00_ff_ff;
const GROUND: u32 = 0x10_11_14;
const XR24: u32 = 0x3432_5258;
const AR24: u32 = 0x3432_5241;

/// A layout of a picture in its memory.
pub struct Layout {
    pub offset: u32,
    pub stride: u32,
    pub size: (i32, i32),
    pub format: u32,
}

/// All of the area, as phyllome-guest lays it out.
pub const WHOLE: Layout = Layout { offset: 0, stride: 5120, size: (1272, 768), format: XR24 };

/// Fills the picture and its padding.
pub fn fill(file: &File, layout: &Layout, colour: u32) {
    let row = colour.to_le_bytes().repeat(layout.stride as usize / 4);
    for y in 0..layout.size.1 as u64 {
        file.write_all_at(&row, u64::from(layout.offset) + y * u64::from(layout.stride)).unwrap();
    }
}

/// A real dmabuf of a memfd, where the kernel makes them.
pub fn udmabuf(file: &File) -> Option<OwnedFd> {
    /// `struct udmabuf_create` of linux/udmabuf.h.
    #[repr(C)]
    struct Create {
        memfd: u32,
        flags: u32,
        offset: u64,
        size: u64,
    }
    const CREATE: libc::Ioctl = 0x4018_7542u32 as libc::Ioctl;
    let device = File::open("/dev/udmabuf").ok()?;
    let size = file.metadata().unwrap().len();
    let create = Create { memfd: file.as_raw_fd() as u32, flags: 1, offset: 0, size };
    // SAFETY: the structure is the one that the request takes, and lives through the call.
    let fd = unsafe { libc::ioctl(device.as_raw_fd(), CREATE, &raw const create) };
    assert!(fd >= 0, "{}", std::io::Error::last_os_error());
    // SAFETY: the kernel has just made this descriptor for this process.
    Some(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Asks for a dmabuf of `file`.
pub fn dmabuf(
    shell: &mut Fixture,
    red: &mut Client,
    file: &impl AsFd,
    layout: &Layout,
    modifier: u64,
) -> Option<WlBuffer> {
    let params = red.bind::<zwp_linux_dmabuf_v1::ZwpLinuxDmabufV1>(3).create_params(&red.handle, ());
    params.add(file.as_fd(), 0, layout.offset, layout.stride, (modifier >> 32) as u32, modifier as u32);
    params.create(layout.size.0, layout.size.1, layout.format, zwp_linux_buffer_params_v1::Flags::empty());
    shell.roundtrip(red);
    red.events.dmabuf.take()
}

fn show(shell: &mut Fixture, red: &mut Client, window: &Window, buffer: &WlBuffer, damage: (i32, i32, i32, i32)) {
    window.surface.attach(Some(buffer), 0, 0);
    window.surface.damage_buffer(damage.0, damage.1, damage.2, damage.3);
    window.surface.commit();
    shell.roundtrip(red);
    shell.settle();
}

/// Shells whose renderer imports no dmabuf by itself: Pixman, and GLES where there is one.
fn shells(test: &str) -> Vec<(&'static str, Fixture)> {
    let mut shells = vec![("pixman", Fixture::new())];
    match Fixture::with(&[(1280, 800)], RendererKind::Gles) {
        Ok(shell) => shells.push(("gles", shell)),
        Err(why) => println!("SKIPPED: {test} with GLES: {why}"),
    }
    for (_, shell) in &mut shells {
        shell.state.protocols.refuse_gpu_imports();
    }
    shells.retain_mut(|(name, shell)| {
        let offered = shell.attach("red").events.globals.contains_key("zwp_linux_dmabuf_v1");
        if !offered {
            println!("SKIPPED: {test} with {name}: it offers no dmabufs");
        }
        offered
    });
    shells
}

/// A client of “red” with a window that may be drawn into.
pub fn begin(shell: &mut Fixture) -> (Client, Window) {
    let mut red = shell.attach("red");
    let window = red.window("phyllome.scanout.0");
    shell.roundtrip(&mut red);
    window.acknowledge(&red);
    (red, window)
}

#[test]
fn a_mapped_dmabuf_is_shown_and_only_its_damage_is_read_again() {
    for (name, mut shell) in shells("a_mapped_dmabuf_is_shown_and_only_its_damage_is_read_again") {
        let (mut red, window) = begin(&mut shell);
        let area = shell.area();
        let file = sealed(5120 * 768);
        fill(&file, &WHOLE, GREEN);
        let memory = udmabuf(&file).unwrap_or_else(|| {
            println!("SKIPPED: a_mapped_dmabuf_is_shown_and_only_its_damage_is_read_again with udmabuf: there is none");
            file.try_clone().unwrap().into()
        });
        let buffer = dmabuf(&mut shell, &mut red, &memory, &WHOLE, 0).expect(name);
        show(&mut shell, &mut red, &window, &buffer, (0, 0, 1272, 768));
        assert_eq!(shell.shot(&format!("mapped-{name}")).count_inside(&area, GREEN), pixels(&area), "{name}");
        fill(&file, &WHOLE, CYAN);
        show(&mut shell, &mut red, &window, &buffer, (200, 50, 100, 10));
        let shot = shell.shot(&format!("mapped-damage-{name}"));
        assert_eq!(shot.at(area.x + 200, area.y + 50), CYAN, "{name}");
        assert_eq!(
            (shot.count_inside(&area, CYAN), shot.count_inside(&area, GREEN)),
            (1000, pixels(&area) - 1000),
            "{name}"
        );
    }
}

#[test]
fn a_mapped_dmabuf_may_begin_anywhere_and_be_padded() {
    for (name, mut shell) in shells("a_mapped_dmabuf_may_begin_anywhere_and_be_padded") {
        let (mut red, window) = begin(&mut shell);
        let area = shell.area();
        let layout = Layout { offset: 12, stride: 1024, size: (100, 50), format: XR24 };
        let file = sealed(12 + 1024 * 50);
        // The padding would be seen if it were taken for pixels.
        fill(&file, &layout, CYAN);
        for y in 0..50u64 {
            file.write_all_at(&GREEN.to_le_bytes().repeat(100), 12 + y * 1024).unwrap();
        }
        let buffer = dmabuf(&mut shell, &mut red, &file, &layout, 0).expect(name);
        show(&mut shell, &mut red, &window, &buffer, (0, 0, 100, 50));
        let shot = shell.shot(&format!("padded-{name}"));
        assert_eq!((shot.count_inside(&area, GREEN), shot.count_inside(&area, CYAN)), (5000, 0), "{name}");
    }
}

#[test]
fn tp18_a_mapped_picture_with_holes_shows_the_ground_and_a_destroyed_buffer_stays_shown() {
    for (name, mut shell) in
        shells("tp18_a_mapped_picture_with_holes_shows_the_ground_and_a_destroyed_buffer_stays_shown")
    {
        let (mut red, window) = begin(&mut shell);
        let area = shell.area();
        let layout = Layout { format: AR24, ..WHOLE };
        let file = sealed(5120 * 768);
        let buffer = dmabuf(&mut shell, &mut red, &file, &layout, 0).expect(name);
        show(&mut shell, &mut red, &window, &buffer, (0, 0, 1272, 768));
        assert_eq!(shell.shot(&format!("clear-{name}")).count_inside(&area, GROUND), pixels(&area), "{name}");
        fill(&file, &layout, 0xff00_0000 | GREEN);
        show(&mut shell, &mut red, &window, &buffer, (0, 0, 1272, 768));
        buffer.destroy();
        drop(file);
        shell.roundtrip(&mut red);
        shell.panel(true);
        shell.settle();
        shell.panel(false);
        shell.settle();
        assert_eq!(shell.shot(&format!("destroyed-{name}")).count_inside(&area, GREEN), pixels(&area), "{name}");
    }
}

#[test]
fn tp18_from_shared_memory_to_a_dmabuf_and_back_nothing_old_is_seen() {
    for (name, mut shell) in shells("tp18_from_shared_memory_to_a_dmabuf_and_back_nothing_old_is_seen") {
        let (mut red, window) = begin(&mut shell);
        let area = shell.area();
        let (shared, pool) = red.buffer(1272, 768, GREEN, wl_shm::Format::Xrgb8888);
        show(&mut shell, &mut red, &window, &shared, (0, 0, 1272, 768));
        let file = sealed(5120 * 768);
        fill(&file, &WHOLE, CYAN);
        let mapped = dmabuf(&mut shell, &mut red, &file, &WHOLE, 0).expect(name);
        show(&mut shell, &mut red, &window, &mapped, (0, 0, 1272, 768));
        assert_eq!(shell.shot(&format!("to-dmabuf-{name}")).count_inside(&area, CYAN), pixels(&area), "{name}");
        // All of the shared memory has changed since it was shown last, and the guest says so of one pixel only.
        pool.file.write_all_at(&CYAN.to_le_bytes().repeat(5120 / 4 * 768), 0).unwrap();
        show(&mut shell, &mut red, &window, &shared, (0, 0, 1, 1));
        assert_eq!(shell.shot(&format!("and-back-{name}")).count_inside(&area, GREEN), 0, "{name}");
    }
}

#[test]
fn what_the_processor_cannot_read_for_sure_is_refused_and_the_guest_goes_on() {
    for (name, mut shell) in shells("what_the_processor_cannot_read_for_sure_is_refused_and_the_guest_goes_on") {
        let (mut red, window) = begin(&mut shell);
        let area = shell.area();
        let file = sealed(5120 * 768);
        let mut refusals = 0;
        let tiled = 1 << 56 | 1;
        let cases = [
            (Layout { offset: 2, size: (1272, 767), ..WHOLE }, 0),
            (Layout { stride: 5090, size: (1272, 700), ..WHOLE }, 0),
            (Layout { stride: 4 * 16384 + 4, size: (16, 16), ..WHOLE }, 0),
            (WHOLE, tiled),
        ];
        for (layout, modifier) in cases {
            let buffer = dmabuf(&mut shell, &mut red, &file, &layout, modifier);
            refusals += 1;
            let seen = (buffer.is_none(), red.events.dmabufs_refused, red.is_cut());
            assert_eq!(seen, (true, refusals, false), "{name} {} {} {modifier}", layout.offset, layout.stride);
        }
        let _pool = red.fill(&window.surface, 1272, 768, GREEN);
        shell.roundtrip(&mut red);
        assert_eq!(shell.shot(&format!("after-refusals-{name}")).count_inside(&area, GREEN), pixels(&area), "{name}");
    }
}

/// The buffer of the first surface that is shown, as the shell has it.
fn shown_buffer(shell: &mut Fixture) -> smithay::reexports::wayland_server::protocol::wl_buffer::WlBuffer {
    let surface = shell.state.scene(0).shown.first().cloned().unwrap();
    (*shell.state.protocols.screens.content(&surface).unwrap().buffer).clone()
}

#[test]
fn tp18_a_picture_that_is_with_another_devices_host_is_not_shown_until_a_renderer_reaches_it() {
    for (name, mut shell) in
        shells("tp18_a_picture_that_is_with_another_devices_host_is_not_shown_until_a_renderer_reaches_it")
    {
        let (mut red, window) = begin(&mut shell);
        let area = shell.area();
        let file = sealed(5120 * 768);
        fill(&file, &WHOLE, GREEN);
        let buffer = dmabuf(&mut shell, &mut red, &file, &WHOLE, 0).expect(name);
        show(&mut shell, &mut red, &window, &buffer, (0, 0, 1272, 768));
        let own = shown_buffer(&mut shell);
        shell.state.protocols.screens.set_reaches(Some("virtio_gpu"));
        shell.state.protocols.screens.note_elsewhere(&own, "virtio_gpu".to_owned());
        for (reaches, seen) in
            [(Some("virtio_gpu"), true), (None, false), (Some("vmwgfx"), false), (Some("virtio_gpu"), true)]
        {
            shell.state.protocols.screens.set_reaches(reaches);
            for committed in [false, true] {
                if committed {
                    show(&mut shell, &mut red, &window, &buffer, (0, 0, 1272, 768));
                } else if seen {
                    // What was given up once comes again with the guest's next picture.
                    continue;
                }
                shell.state.queue_redraw();
                shell.settle();
                let green = shell.shot(&format!("elsewhere-{name}-{reaches:?}-{committed}")).count_inside(&area, GREEN);
                assert_eq!(green, if seen { pixels(&area) } else { 0 }, "{name} {reaches:?} {committed}");
            }
        }
    }
}

#[test]
fn what_the_gpu_has_imported_is_never_read_by_the_processor_unmapped() {
    let mut shell = Fixture::new();
    let (mut red, window) = begin(&mut shell);
    let area = shell.area();
    let file = sealed(5120 * 768);
    fill(&file, &WHOLE, GREEN);
    let buffer = dmabuf(&mut shell, &mut red, &file, &WHOLE, 0).unwrap();
    show(&mut shell, &mut red, &window, &buffer, (0, 0, 1272, 768));
    assert_eq!(shell.shot("still-mapped").count_inside(&area, GREEN), pixels(&area));
    // As if another renderer had taken it, which has gone since.
    let own = shown_buffer(&mut shell);
    shell.state.protocols.screens.forget_buffer(&own);
    show(&mut shell, &mut red, &window, &buffer, (0, 0, 1272, 768));
    assert_eq!(shell.shot("no-longer-mapped").count_inside(&area, GREEN), 0);
    let _pool = red.fill(&window.surface, 1272, 768, CYAN);
    shell.roundtrip(&mut red);
    assert_eq!(shell.shot("goes-on").count_inside(&area, CYAN), pixels(&area));
}

/// The copy for the cursor plane of what `red` shows.
fn pointer_copy(shell: &mut Fixture) -> Option<(Vec<u8>, (i32, i32), i32)> {
    let surface = shell.state.scene(0).shown.first()?.clone();
    let content = shell.state.protocols.screens.content(&surface)?;
    let copy = Pointers::default().copy(content)?;
    Some((copy.to_vec(), (copy.size().w, copy.size().h), copy.stride()))
}

#[test]
fn tp15_a_pointers_copy_is_as_large_as_what_is_shown_whatever_its_memory_is() {
    let mut shell = Fixture::new();
    let (mut red, window) = begin(&mut shell);
    // Far longer rows and far more of them than a cursor plane has.
    let pool = red.pool(4096 * 1000);
    let row: Vec<u8> = (0..1024u32).flat_map(|x| (0xff00_0000 | x).to_le_bytes()).collect();
    for y in 0..1000 {
        pool.file.write_all_at(&row, y * 4096).unwrap();
    }
    let buffer = pool.pool.create_buffer(0, 1000, 1000, 4096, wl_shm::Format::Argb8888, &red.handle, ());
    let viewport = red.viewport(&window.surface);
    viewport.set_source(10.0, 20.0, 24.0, 30.0);
    show(&mut shell, &mut red, &window, &buffer, (0, 0, 1000, 1000));
    let (bytes, size, stride) = pointer_copy(&mut shell).unwrap();
    assert_eq!((bytes.len(), size, stride), (24 * 30 * 4, (24, 30), 24 * 4));
    assert!(bytes.chunks_exact(96).all(|seen| seen == &row[40..136]));
    // Too large, in parts of pixels, or without alpha: such a pointer is drawn.
    viewport.set_source(0.0, 0.0, 257.0, 30.0);
    show(&mut shell, &mut red, &window, &buffer, (0, 0, 1, 1));
    assert_eq!(pointer_copy(&mut shell), None);
    viewport.set_source(0.5, 0.0, 24.0, 30.0);
    show(&mut shell, &mut red, &window, &buffer, (0, 0, 1, 1));
    assert_eq!(pointer_copy(&mut shell), None);
    viewport.set_source(-1.0, -1.0, -1.0, -1.0);
    let _pool = red.fill(&window.surface, 24, 24, GREEN);
    shell.roundtrip(&mut red);
    assert_eq!(pointer_copy(&mut shell), None);
}
