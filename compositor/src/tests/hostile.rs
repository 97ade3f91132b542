//! Clients that mean harm: each is cut off or refused, the shell lives, and the other guest notices nothing, neither
//! meanwhile nor afterwards.

use super::beside::{Attack, Beside, beside_blue, other_guest_works};
use super::client::{Client, sealed};
use super::fixture::{Fixture, name, pixels};
use super::limits::{configures, feedbacks};
use super::show::shown;
use crate::descriptors;
use crate::wayland::quota;
use smithay::reexports::rustix;
use std::fs::File;
use std::os::fd::AsFd;
use wayland_client::Proxy;
use wayland_client::protocol::{wl_compositor, wl_shm};
use wayland_protocols::wp::linux_dmabuf::zv1::client::{zwp_linux_buffer_params_v1, zwp_linux_dmabuf_v1};

const GREEN: u32 = 0x00_ff_00;
const CYAN: u32 = 0x00_ff_ff;
const XR24: u32 = 0x3432_5258;

fn surfaces(shell: &mut Beside, red: &mut Client) {
    let compositor: wl_compositor::WlCompositor = red.bind(4);
    for _ in 0..1000 {
        for _ in 0..1000 {
            compositor.create_surface(&red.handle, ());
        }
        shell.roundtrip(red);
        if red.is_cut() {
            return;
        }
    }
}

#[test]
fn tp20_millions_of_surfaces_are_cut_off() {
    assert!(beside_blue(surfaces));
}

fn buffers(shell: &mut Beside, red: &mut Client) {
    let pool = red.pool(4096);
    for _ in 0..=quota::MAX_BUFFERS {
        pool.pool.create_buffer(0, 1, 1, 4, wl_shm::Format::Xrgb8888, &red.handle, ());
    }
    shell.roundtrip(red);
}

fn pools(shell: &mut Beside, red: &mut Client) {
    let pools: Vec<_> = (0..=quota::MAX_POOLS).map(|_| red.pool(4096)).collect();
    shell.roundtrip(red);
    drop(pools);
}

fn objects(shell: &mut Beside, red: &mut Client) {
    let compositor: wl_compositor::WlCompositor = red.bind(4);
    for _ in 0..quota::MAX_OBJECTS * 2 {
        compositor.create_region(&red.handle, ());
    }
    shell.roundtrip(red);
}

#[test]
fn tp20_endless_buffers_pools_and_objects_are_cut_off() {
    for attack in [buffers, pools, objects] {
        assert!(beside_blue(attack));
    }
}

#[test]
fn buffers_that_are_destroyed_do_not_count() {
    assert!(!beside_blue(|shell, red| {
        let pool = red.pool(4096);
        for _ in 0..4 * quota::MAX_BUFFERS {
            pool.pool.create_buffer(0, 1, 1, 4, wl_shm::Format::Xrgb8888, &red.handle, ()).destroy();
        }
        shell.roundtrip(red);
        let surfaces: wl_compositor::WlCompositor = red.bind(4);
        for _ in 0..4 * quota::MAX_SURFACES {
            surfaces.create_surface(&red.handle, ()).destroy();
        }
        shell.roundtrip(red);
    }));
}

fn commits(shell: &mut Beside, red: &mut Client) {
    let surface = red.surface();
    for _ in 0..100 {
        for _ in 0..1000 {
            surface.damage(0, 0, 1, 1);
            surface.commit();
        }
        shell.roundtrip(red);
        if red.is_cut() {
            return;
        }
    }
}

#[test]
fn tp20_commits_without_end_are_cut_off() {
    assert!(beside_blue(commits));
}

fn callbacks(shell: &mut Beside, red: &mut Client) {
    let window = red.window("phyllome.scanout.0");
    shell.roundtrip(red);
    window.acknowledge(red);
    // Hidden: nothing answers them.
    shell.show("blue");
    for _ in 0..=quota::MAX_FRAME_CALLBACKS {
        red.ask_for_frame(&window.surface);
    }
    shell.roundtrip(red);
}

#[test]
fn tp20_frame_callbacks_that_pile_up_are_cut_off() {
    assert!(beside_blue(callbacks));
}

#[test]
fn a_million_damage_rectangles_cost_sixteen() {
    assert!(!beside_blue(|shell, red| {
        let window = red.window("phyllome.scanout.0");
        shell.roundtrip(red);
        window.acknowledge(red);
        for y in 0..10_000 {
            window.surface.damage_buffer(y, y, i32::MAX, i32::MAX);
            window.surface.damage(i32::MIN, i32::MIN, y, i32::MAX);
        }
        let _pool = red.fill(&window.surface, 1272, 768, GREEN);
        shell.roundtrip(red);
        shell.settle();
    }));
}

#[test]
fn memory_that_is_not_there_costs_only_its_client() {
    assert!(beside_blue(|shell, red| {
        let window = red.window("phyllome.scanout.0");
        shell.roundtrip(red);
        window.acknowledge(red);
        shell.show("red");
        // The pool says that it has grown; its file has not.
        let pool = red.pool(4096);
        pool.pool.resize(5120 * 768);
        let buffer = pool.pool.create_buffer(0, 1272, 768, 5120, wl_shm::Format::Xrgb8888, &red.handle, ());
        window.surface.attach(Some(&buffer), 0, 0);
        window.surface.damage_buffer(0, 0, 1272, 768);
        window.surface.commit();
        shell.roundtrip(red);
        shell.settle();
        let area = shell.area();
        assert_eq!(shell.shot("truncated").count_outside(&area, GREEN), 0);
        shell.roundtrip(red);
    }));
}

#[test]
fn a_pool_that_is_larger_than_its_file_is_refused() {
    assert!(beside_blue(|shell, red| {
        let file = sealed(4096);
        red.bind::<wl_shm::WlShm>(1).create_pool(file.as_fd(), 4097, &red.handle, ());
        shell.roundtrip(red);
    }));
}

#[test]
fn pools_of_anything_but_a_memfd_that_cannot_shrink_are_refused() {
    let files = [memfd(4096), tempfile::tempfile().unwrap(), File::open("/dev/zero").unwrap()];
    for file in files {
        assert!(beside_blue(|shell, red| {
            red.bind::<wl_shm::WlShm>(1).create_pool(file.as_fd(), 4096, &red.handle, ());
            shell.roundtrip(red);
        }));
    }
}

#[test]
fn a_pool_cannot_be_resized_to_nothing() {
    for size in [0, -1, i32::MIN] {
        assert!(beside_blue(|shell, red| {
            let pool = red.pool(4096);
            pool.pool.resize(size);
            shell.roundtrip(red);
        }));
    }
}

#[test]
fn a_pool_that_cannot_be_mapped_is_refused() {
    assert!(beside_blue(|shell, red| {
        let (read, _write) = rustix::pipe::pipe().unwrap();
        red.bind::<wl_shm::WlShm>(1).create_pool(read.as_fd(), 4096, &red.handle, ());
        shell.roundtrip(red);
    }));
}

fn params(red: &Client) -> zwp_linux_buffer_params_v1::ZwpLinuxBufferParamsV1 {
    red.bind::<zwp_linux_dmabuf_v1::ZwpLinuxDmabufV1>(3).create_params(&red.handle, ())
}

fn memfd(bytes: u64) -> File {
    let fd = rustix::fs::memfd_create("test", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
    let file = File::from(fd);
    file.set_len(bytes).unwrap();
    file
}

#[test]
fn dmabufs_with_impossible_parameters_are_cut_off() {
    // (plane, offset, stride, width, height)
    let attacks = [
        (0, u32::MAX, u32::MAX, 64, 64),
        (0, u32::MAX, 1, 64, 0),
        (0, 0, u32::MAX, 64, 2),
        (0, 0, 256, 0, 64),
        (0, 0, 256, 64, 0),
        (0, 0, 256, -1, 64),
        (0, 0, 256, 64, i32::MIN),
        (0, 0, 256, i32::MAX, i32::MAX),
        (1, 0, 256, 64, 64),
        (u32::MAX, 0, 256, 64, 64),
    ];
    for (plane, offset, stride, width, height) in attacks {
        let cut = beside_blue(|shell, red| {
            let file = sealed(64 * 256);
            let params = params(red);
            params.add(file.as_fd(), plane, offset, stride, 0, 0);
            params.create(width, height, XR24, zwp_linux_buffer_params_v1::Flags::empty());
            shell.roundtrip(red);
        });
        assert!(cut, "{plane} {offset} {stride} {width} {height}");
    }
}

#[test]
fn further_planes_are_for_the_gpu_and_refused_where_it_takes_none() {
    for planes in [2, 4] {
        assert!(!beside_blue(|shell, red| {
            let file = sealed(64 * 256);
            let params = params(red);
            for plane in 0..planes {
                params.add(file.as_fd(), plane, 0, 256, 0, 0);
            }
            params.create(64, 64, XR24, zwp_linux_buffer_params_v1::Flags::empty());
            shell.roundtrip(red);
            assert_eq!((red.events.dmabufs_refused, red.events.dmabuf.is_none()), (1, true));
        }));
    }
    assert!(beside_blue(|shell, red| {
        let file = sealed(64 * 256);
        let params = params(red);
        for plane in [0, 2, 1] {
            params.add(file.as_fd(), plane, 0, 256, 0, 0);
        }
        shell.roundtrip(red);
    }));
}

#[test]
fn a_file_that_is_no_dmabuf_is_cut_off() {
    for file in [memfd(64 * 256), tempfile::tempfile().unwrap()] {
        assert!(beside_blue(|shell, red| {
            let params = params(red);
            params.add(file.as_fd(), 0, 0, 256, 0, 0);
            params.create(64, 64, XR24, zwp_linux_buffer_params_v1::Flags::empty());
            shell.roundtrip(red);
        }));
    }
}

fn refusals(shell: &mut Beside, red: &mut Client) {
    for number in 0..=quota::MAX_REFUSALS {
        let file = sealed(64 * 256 + 2);
        let params = params(red);
        // No renderer reads pixels from an odd place.
        params.add(file.as_fd(), 0, 2, 256, 0, 0);
        params.create(64, 64, XR24, zwp_linux_buffer_params_v1::Flags::empty());
        shell.roundtrip(red);
        if number == 0 {
            assert_eq!((red.events.dmabufs_refused, red.events.dmabuf.is_none()), (1, true));
        }
    }
    shell.roundtrip(red);
}

#[test]
fn dmabufs_that_are_refused_without_end_are_cut_off() {
    assert!(beside_blue(refusals));
}

fn planes(shell: &mut Beside, red: &mut Client, keep: bool) {
    let file = sealed(4096);
    for _ in 0..=2 * quota::MAX_PLANES {
        let params = params(red);
        params.add(file.as_fd(), 0, 0, 256, 0, 0);
        if !keep {
            params.destroy();
        }
    }
    shell.roundtrip(red);
}

#[test]
fn tp20_planes_of_buffers_that_are_never_made_are_cut_off_and_those_that_go_do_not_count() {
    assert!(beside_blue(|shell, red| planes(shell, red, true)));
    assert!(!beside_blue(|shell, red| planes(shell, red, false)));
}

#[test]
fn a_picture_before_the_configure_is_acknowledged_is_an_error() {
    assert!(beside_blue(|shell, red| {
        let window = red.window("phyllome.scanout.0");
        shell.roundtrip(red);
        let _pool = red.fill(&window.surface, 1272, 768, GREEN);
        shell.roundtrip(red);
    }));
}

#[test]
fn a_viewport_outside_the_buffer_is_an_error_and_shows_nothing() {
    let mut shell = Fixture::new();
    let (mut red, window, _pool) = shown!(shell, "red", GREEN);
    let viewport = red.viewport(&window.surface);
    viewport.set_source(1000.0, 700.0, 1272.0, 768.0);
    viewport.set_destination(1272, 768);
    window.surface.commit();
    shell.roundtrip(&mut red);
    assert!(red.is_cut());
    assert!(!shell.state.has_picture(&name("red")));
}

#[test]
fn half_a_message_and_silence_hold_nobody_up() {
    let mut shell = Fixture::new();
    let (mut blue, window, _pool) = shown!(shell, "blue", GREEN);
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    shell.state.attach_guest_client(&name("red"), ours).unwrap();
    std::io::Write::write_all(&mut &theirs, &[1, 0, 0]).unwrap();
    shell.turn();
    other_guest_works(&mut shell, &mut blue, &window.surface);
}

#[test]
fn rubbish_is_cut_off() {
    let mut shell = Fixture::new();
    let (mut blue, window, _pool) = shown!(shell, "blue", GREEN);
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    shell.state.attach_guest_client(&name("red"), ours).unwrap();
    std::io::Write::write_all(&mut &theirs, &[0xff; 4096]).unwrap();
    theirs.set_nonblocking(true).unwrap();
    let mut answer = [0u8; 4096];
    shell.wait("the connection to end", |_| matches!(std::io::Read::read(&mut &theirs, &mut answer), Ok(0)));
    other_guest_works(&mut shell, &mut blue, &window.surface);
}

/// wayland-scanner's code unwraps a text that must be there and is not.
fn missing_text(shell: &mut Beside, red: &mut Client, opcode: u32) {
    let window = red.window("phyllome.scanout.0");
    red.flush();
    let request = [window.toplevel.id().protocol_id(), 12 << 16 | opcode, 0].map(u32::to_ne_bytes).concat();
    rustix::io::write(red.connection.as_fd(), &request).unwrap();
    shell.roundtrip(red);
}

#[test]
fn tp20_texts_that_are_missing_end_their_own_connection_alone() {
    const SET_TITLE: u32 = 2;
    const SET_APP_ID: u32 = 3;
    assert!(beside_blue(|shell, red| missing_text(shell, red, SET_TITLE)));
    assert!(beside_blue(|shell, red| missing_text(shell, red, SET_APP_ID)));
}

#[test]
fn a_second_connection_of_a_guest_ends_the_first() {
    let mut shell = Fixture::new();
    let (mut first, _window, _pool) = shown!(shell, "red", GREEN);
    let (_second, _w, _p) = shown!(shell, "red", CYAN);
    shell.wait("the first connection to end", |_| {
        first.pump();
        first.is_cut()
    });
    let area = shell.area();
    assert_eq!(shell.shot("second-connection").count_inside(&area, CYAN), pixels(&area));
}

#[test]
fn tp20_a_flood_that_is_never_over_is_cut_off() {
    let mut shell = Fixture::new();
    let (mut blue, window, _pool) = shown!(shell, "blue", GREEN);
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    shell.state.attach_guest_client(&name("red"), ours).unwrap();
    // wl_display.get_registry without end, and a reader, so that the answers never fill the socket.
    let mut reader = theirs.try_clone().unwrap();
    let reading = std::thread::spawn(move || {
        let mut answers = vec![0u8; 1 << 16];
        while std::io::Read::read(&mut reader, &mut answers).is_ok_and(|bytes| bytes > 0) {}
    });
    let writing = std::thread::spawn(move || {
        for first in (2u32..).step_by(4096) {
            let requests: Vec<u8> =
                (first..first + 4096).flat_map(|id| [1, 1 | 12 << 16, id]).flat_map(u32::to_le_bytes).collect();
            if std::io::Write::write_all(&mut &theirs, &requests).is_err() {
                return;
            }
        }
    });
    shell.wait("the flood to end", |_| writing.is_finished());
    writing.join().unwrap();
    reading.join().unwrap();
    other_guest_works(&mut shell, &mut blue, &window.surface);
}

fn answers(shell: &mut Beside, red: &mut Client) {
    // wl_display.sync is never seen by the shell.
    for _ in 0..100 {
        for _ in 0..1000 {
            red.sync();
        }
        shell.roundtrip(red);
        if red.is_cut() {
            return;
        }
    }
}

#[test]
fn tp20_answers_that_the_library_gives_by_itself_count_as_requests() {
    assert!(beside_blue(answers));
}

fn registries(shell: &mut Beside, red: &mut Client) {
    for _ in 0..2 * quota::MAX_OBJECTS / 256 {
        for _ in 0..256 {
            red.connection.display().get_registry(&red.handle, ());
        }
        shell.roundtrip(red);
        if red.is_cut() {
            return;
        }
    }
}

#[test]
fn tp20_registries_without_end_are_cut_off() {
    assert!(beside_blue(registries));
}

#[test]
fn tp20_descriptors_that_no_request_is_for_are_cut_off_and_closed() {
    let mut shell = Fixture::new();
    let (mut blue, window, _pool) = shown!(shell, "blue", GREEN);
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    theirs.set_nonblocking(true).unwrap();
    shell.state.attach_guest_client(&name("red"), ours).unwrap();
    let before = descriptors::open();
    let file = memfd(1);
    let mut most = before;
    let mut cut = false;
    // wl_display.sync with 28 descriptors each, a few in every turn, so that tests beside this one notice little.
    for id in 2u32..1002 {
        let request: Vec<u8> = [1, 12 << 16, id].into_iter().flat_map(u32::to_le_bytes).collect();
        let fds = [file.as_fd(); 28];
        let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(28))];
        let mut control = rustix::net::SendAncillaryBuffer::new(&mut space);
        assert!(control.push(rustix::net::SendAncillaryMessage::ScmRights(&fds)));
        let bytes = [std::io::IoSlice::new(&request)];
        cut = rustix::net::sendmsg(&theirs, &bytes, &mut control, rustix::net::SendFlags::NOSIGNAL).is_err();
        if cut {
            break;
        }
        shell.turn();
        most = most.max(descriptors::open());
    }
    assert!(cut, "{most} descriptors are open");
    assert!(most < before + 4 * quota::MAX_DESCRIPTORS, "{before} {most}");
    shell.wait("the descriptors to be closed", |_| descriptors::open() < before + 200);
    other_guest_works(&mut shell, &mut blue, &window.surface);
}

/// Every attack that is cut off for what it would make the shell keep.
pub const ATTACKS: [(&str, Attack); 12] = [
    ("surfaces", surfaces),
    ("buffers", buffers),
    ("pools", pools),
    ("objects", objects),
    ("commits", commits),
    ("callbacks", callbacks),
    ("refusals", refusals),
    ("planes", |shell, red| planes(shell, red, true)),
    ("answers", answers),
    ("registries", registries),
    ("configures", configures),
    ("feedbacks", feedbacks),
];
