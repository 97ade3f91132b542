//! Pictures that are not finished yet: explicit fences of a client that behaves and of one that does not, and implicit
//! ones.
//!
//! They need a kernel with a render node whose fences tell by an event that they have come, as the KMS test machine
//! has; elsewhere they are skipped.

use super::buffers::{WHOLE, begin, dmabuf, fill, udmabuf};
use super::client::{Client, sealed};
use super::fixture::{Fixture, pixels};
use super::show::shown;
use crate::wayland::quota;
use smithay::backend::drm::DrmDeviceFd;
use smithay::reexports::drm::Device;
use smithay::reexports::drm::control::{Device as _, syncobj};
use smithay::utils::DeviceFd;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use wayland_client::protocol::wl_buffer::WlBuffer;
use wayland_client::protocol::wl_surface::WlSurface;
use wayland_protocols::wp::linux_drm_syncobj::v1::client::wp_linux_drm_syncobj_manager_v1::WpLinuxDrmSyncobjManagerV1;
use wayland_protocols::wp::linux_drm_syncobj::v1::client::wp_linux_drm_syncobj_surface_v1::WpLinuxDrmSyncobjSurfaceV1;
use wayland_protocols::wp::linux_drm_syncobj::v1::client::wp_linux_drm_syncobj_timeline_v1::WpLinuxDrmSyncobjTimelineV1;

const GREEN: u32 = 0x00_ff_00;
const CYAN: u32 = 0x00_ff_ff;

fn nodes(prefix: &str) -> Vec<File> {
    let Ok(entries) = std::fs::read_dir("/dev/dri") else { return Vec::new() };
    let mut paths: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    let wanted = |path: &std::path::PathBuf| path.file_name().is_some_and(|n| n.to_string_lossy().starts_with(prefix));
    let open = |path| File::options().read(true).write(true).open(path).ok();
    paths.into_iter().filter(wanted).filter_map(open).collect()
}

/// A shell that offers explicit fences, and the guest's own view of the device; `None`, and the test counted as
/// skipped, without.
fn fencing(test: &str) -> Option<(Fixture, DrmDeviceFd)> {
    for node in nodes("renderD") {
        let number = node.metadata().unwrap().rdev();
        let mut shell = Fixture::new();
        shell.state.protocols.fences.offer(number);
        if shell.attach("blue").events.globals.contains_key("wp_linux_drm_syncobj_manager_v1") {
            return Some((shell, DrmDeviceFd::new(DeviceFd::from(OwnedFd::from(node)))));
        }
    }
    println!("SKIPPED: {test}: no render node here tells by an event that a fence has come");
    None
}

/// A timeline of the guest's, as the shell knows it too.
struct Timeline {
    device: DrmDeviceFd,
    handle: syncobj::Handle,
    shared: WpLinuxDrmSyncobjTimelineV1,
}

impl Timeline {
    fn new(device: &DrmDeviceFd, manager: &WpLinuxDrmSyncobjManagerV1, red: &Client) -> Self {
        let handle = device.create_syncobj(false).unwrap();
        let fd = device.syncobj_to_fd(handle, false).unwrap();
        Self { device: device.clone(), handle, shared: manager.import_timeline(fd.as_fd(), &red.handle, ()) }
    }

    fn signal(&self, point: u64) {
        self.device.syncobj_timeline_signal(&[self.handle], &[point]).unwrap();
    }

    fn reached(&self) -> u64 {
        let mut points = [0];
        self.device.syncobj_timeline_query(&[self.handle], &mut points, false).unwrap();
        points[0]
    }
}

/// A surface with its fences: when a buffer may be read, and when it is free.
struct Fenced {
    fences: WpLinuxDrmSyncobjSurfaceV1,
    acquire: Timeline,
    release: Timeline,
}

impl Fenced {
    fn new(device: &DrmDeviceFd, red: &Client, surface: &WlSurface) -> Self {
        let manager = red.bind::<WpLinuxDrmSyncobjManagerV1>(1);
        let [acquire, release] = [(), ()].map(|()| Timeline::new(device, &manager, red));
        Self { fences: manager.get_surface(surface, &red.handle, ()), acquire, release }
    }

    /// Commits a buffer; `point` is that of both fences.
    fn commit(&self, surface: &WlSurface, buffer: &WlBuffer, point: u32) {
        self.fences.set_acquire_point(&self.acquire.shared, 0, point);
        self.fences.set_release_point(&self.release.shared, 0, point);
        surface.attach(Some(buffer), 0, 0);
        surface.damage_buffer(0, 0, 1272, 768);
        surface.commit();
    }
}

fn colour(shell: &mut Fixture, red: &mut Client, colour: u32) -> WlBuffer {
    let file = sealed(5120 * 768);
    fill(&file, &WHOLE, colour);
    dmabuf(shell, red, &file, &WHOLE, 0).expect("a mapped dmabuf")
}

#[test]
fn tp20_a_fence_that_does_not_come_keeps_the_old_picture_and_holds_nobody_up() {
    let test = "tp20_a_fence_that_does_not_come_keeps_the_old_picture_and_holds_nobody_up";
    let Some((mut shell, device)) = fencing(test) else { return };
    let (mut blue, other, _pool) = shown!(shell, "blue", GREEN);
    let (mut red, window) = begin(&mut shell);
    let area = shell.area();
    let fenced = Fenced::new(&device, &red, &window.surface);
    let (green, cyan) = (colour(&mut shell, &mut red, GREEN), colour(&mut shell, &mut red, CYAN));
    fenced.acquire.signal(1);
    fenced.commit(&window.surface, &green, 1);
    shell.roundtrip(&mut red);
    shell.settle();
    assert_eq!(shell.shot("fence-1").count_inside(&area, GREEN), pixels(&area));

    fenced.commit(&window.surface, &cyan, 2);
    shell.roundtrip(&mut red);
    shell.settle();
    assert_eq!(shell.shot("fence-2").count_inside(&area, GREEN), pixels(&area), "the picture is not finished");
    assert_eq!(fenced.release.reached(), 0, "the old picture is still on the screen");
    // Nobody else waits.
    shell.show("blue");
    blue.ask_for_frame(&other.surface);
    shell.roundtrip(&mut blue);
    shell.wait("a frame of blue", |shell| {
        shell.roundtrip(&mut blue);
        blue.events.frames == 1
    });
    shell.show("red");
    shell.settle();

    fenced.acquire.signal(2);
    shell.wait("the finished picture", |shell| shell.shot("fence-3").count_inside(&area, CYAN) == pixels(&area));
    shell.settle();
    assert_eq!(fenced.release.reached(), 1, "the first buffer is free, the second is not");
    window.surface.attach(None, 0, 0);
    window.surface.commit();
    shell.roundtrip(&mut red);
    shell.settle();
    assert_eq!(fenced.release.reached(), 2);
}

#[test]
fn tp20_pictures_that_wait_without_end_are_cut_off_with_all_that_waits() {
    let Some((mut shell, device)) = fencing("tp20_pictures_that_wait_without_end_are_cut_off_with_all_that_waits")
    else {
        return;
    };
    let (mut red, window) = begin(&mut shell);
    let fenced = Fenced::new(&device, &red, &window.surface);
    let green = colour(&mut shell, &mut red, GREEN);
    let most = quota::MAX_WAITING as u32;
    for number in 1..=most {
        fenced.commit(&window.surface, &green, number);
    }
    shell.roundtrip(&mut red);
    assert!(!red.is_cut());
    fenced.commit(&window.surface, &green, 100);
    shell.roundtrip(&mut red);
    assert!(red.is_cut());
    shell.wait("nothing to wait", |shell| shell.state.protocols.fences.is_quiet());
}

#[test]
fn tp20_timelines_without_end_and_those_that_are_none_are_cut_off() {
    let Some((mut shell, device)) = fencing("tp20_timelines_without_end_and_those_that_are_none_are_cut_off") else {
        return;
    };
    let mut red = shell.attach("red");
    let manager = red.bind::<WpLinuxDrmSyncobjManagerV1>(1);
    for _ in 0..quota::MAX_TIMELINES {
        // Given back at once: it counts all the same.
        Timeline::new(&device, &manager, &red).shared.destroy();
    }
    shell.roundtrip(&mut red);
    assert!(!red.is_cut());
    Timeline::new(&device, &manager, &red);
    shell.roundtrip(&mut red);
    assert!(red.is_cut());

    let mut red = shell.attach("red");
    let file = sealed(4096);
    red.bind::<WpLinuxDrmSyncobjManagerV1>(1).import_timeline(file.as_fd(), &red.handle, ());
    shell.roundtrip(&mut red);
    assert!(red.is_cut());
    shell.wait("nothing to wait", |shell| shell.state.protocols.fences.is_quiet());
}

/// vgem's fence, which comes when it is told to.
struct Fence {
    vgem: File,
    number: u32,
}

impl Fence {
    /// Makes whoever reads `memory` wait; `None` where the kernel has not what that takes.
    fn on(memory: &OwnedFd) -> Option<Self> {
        struct Card(File);
        impl AsFd for Card {
            fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
                self.0.as_fd()
            }
        }
        impl Device for Card {}
        impl smithay::reexports::drm::control::Device for Card {}
        let is_vgem = |card: &Card| card.get_driver().is_ok_and(|driver| driver.name() == "vgem");
        let card = nodes("card").into_iter().map(Card).find(is_vgem)?;
        let size = (16, 16);
        let buffer = card.create_dumb_buffer(size, smithay::reexports::drm::buffer::DrmFourcc::Xrgb8888, 32).ok()?;
        let handle = smithay::reexports::drm::buffer::Buffer::handle(&buffer);
        let exported = card.buffer_to_prime_fd(handle, libc::O_CLOEXEC as u32 | libc::O_RDWR as u32).ok()?;
        // DRM_IOCTL_VGEM_FENCE_ATTACH for writing; DMA_BUF_IOCTL_EXPORT_SYNC_FILE and _IMPORT_SYNC_FILE.
        let mut attach = [u32::from(handle), 1, 0, 0];
        ioctl(&card.0, 0xc010_6441, &mut attach)?;
        let mut export = [1u32, 0];
        ioctl(&exported, 0xc008_6202, &mut export)?;
        let mut import = [2u32, export[1]];
        ioctl(memory, 0x4008_6203, &mut import)?;
        Some(Self { vgem: card.0, number: attach[2] })
    }

    fn come(&self) {
        // DRM_IOCTL_VGEM_FENCE_SIGNAL
        ioctl(&self.vgem, 0x4008_6442, &mut [self.number, 0]).unwrap();
    }
}

fn ioctl<const N: usize>(file: &impl AsFd, request: u32, words: &mut [u32; N]) -> Option<()> {
    assert_eq!(request >> 16 & 0x3fff, 4 * N as u32);
    // SAFETY: the request reads and writes as many bytes as its number says, which is the size of `words`.
    let done = unsafe { libc::ioctl(file.as_fd().as_raw_fd(), request as libc::Ioctl, words.as_mut_ptr()) };
    (done == 0).then_some(())
}

#[test]
fn a_dmabuf_that_is_still_drawn_into_is_shown_when_it_is_finished() {
    let test = "a_dmabuf_that_is_still_drawn_into_is_shown_when_it_is_finished";
    let mut shell = Fixture::new();
    let (mut red, window) = begin(&mut shell);
    let area = shell.area();
    let _pool = red.fill(&window.surface, 1272, 768, GREEN);
    shell.roundtrip(&mut red);
    let file = sealed(5120 * 768);
    fill(&file, &WHOLE, CYAN);
    let Some(memory) = udmabuf(&file) else {
        println!("SKIPPED: {test}: there is no udmabuf here");
        return;
    };
    let Some(fence) = Fence::on(&memory) else {
        println!("SKIPPED: {test}: there is no vgem here");
        return;
    };
    let buffer = dmabuf(&mut shell, &mut red, &memory, &WHOLE, 0).unwrap();
    window.surface.attach(Some(&buffer), 0, 0);
    window.surface.damage_buffer(0, 0, 1272, 768);
    window.surface.commit();
    shell.roundtrip(&mut red);
    shell.settle();
    assert_eq!(shell.shot("implicit-1").count_inside(&area, GREEN), pixels(&area));
    fence.come();
    shell.wait("the finished picture", |shell| shell.shot("implicit-2").count_inside(&area, CYAN) == pixels(&area));
}
