//! Pixels go in, are drawn and come back as they should, whichever way the renderer keeps them.

use crate::driver::{
    B8G8R8A8, B8G8R8X8, R8G8B8A8, R8G8B8X8, RAM, RAM_SIZE, Renderer, clear, pattern, read, sealed, texture, whole,
    write,
};
use phyllome_guest_bridge::renderer::wire::{Box3d, Create3d, Piece, ReadBack, Region, Request, Transfer3d};
use std::os::fd::AsFd;

const WIDTH: u32 = 61;
const HEIGHT: u32 = 37;
/// `VIRGL_RESOURCE_Y_0_TOP`.
const Y_0_TOP: u32 = 1;

fn all(stride: u32, offset: u64) -> ReadBack {
    ReadBack { x: 0, y: 0, width: WIDTH, height: HEIGHT, stride, offset }
}

/// As it is in a target: B, G, R and anything.
fn shown(bytes: &[u8], swap: bool) -> Vec<[u8; 3]> {
    bytes.as_chunks::<4>().0.iter().map(|&[a, b, c, _]| if swap { [c, b, a] } else { [a, b, c] }).collect()
}

#[test]
fn a_pattern_comes_back_in_every_order_of_bytes_and_rows() {
    let (mut renderer, ram) = Renderer::with_memory();
    let picture = pattern(WIDTH, HEIGHT);
    write(&ram, &picture);
    let file = sealed(1 << 16);
    assert_eq!(renderer.target(1, &file, 1 << 16), 0);
    let formats = [(B8G8R8A8, false), (B8G8R8X8, false), (R8G8B8A8, true), (R8G8B8X8, true)];
    for (index, (format, swap)) in formats.into_iter().enumerate() {
        for flags in [0, Y_0_TOP] {
            let resource = 1 + index as u32 * 2 + flags;
            let what = Create3d { flags, ..texture(format, WIDTH, HEIGHT) };
            renderer.create_backed(resource, what);
            assert_eq!(renderer.transfer_to(resource, whole(&what)), 0, "{format} {flags}");
            write(&file, &[0; 1 << 16]);
            assert_eq!(renderer.read_back(resource, 1, all(WIDTH * 4, 0)), 0, "{format} {flags}");
            assert_eq!(shown(&read(&file, picture.len()), false), shown(&picture, swap), "{format} {flags}");
        }
    }
}

#[test]
fn a_part_is_read_to_its_place_and_nothing_else_is_touched() {
    let (mut renderer, ram) = Renderer::with_memory();
    let picture = pattern(WIDTH, HEIGHT);
    write(&ram, &picture);
    let (stride, offset) = (256, 4096);
    let file = sealed(1 << 16);
    assert_eq!(renderer.target(1, &file, 1 << 16), 0);
    for (resource, flags, format, swap) in
        [(1, 0, B8G8R8X8, false), (2, Y_0_TOP, B8G8R8X8, false), (3, 0, R8G8B8A8, true)]
    {
        let what = Create3d { flags, ..texture(format, WIDTH, HEIGHT) };
        renderer.create_backed(resource, what);
        assert_eq!(renderer.transfer_to(resource, whole(&what)), 0);
        write(&file, &[0xee; 1 << 16]);
        let part = ReadBack { x: 5, y: 3, width: 20, height: 10, stride, offset };
        assert_eq!(renderer.read_back(resource, 1, part), 0);
        let target = read(&file, 1 << 16);
        for (at, pixel) in target.as_chunks::<4>().0.iter().enumerate() {
            let from = (at * 4).checked_sub(offset as usize);
            let place = from.map(|from| (from % stride as usize / 4, from / stride as usize));
            let inside = place.filter(|(x, y)| (5..25).contains(x) && (3..13).contains(y));
            match inside {
                None => assert_eq!(*pixel, [0xee; 4], "byte {} was touched", at * 4),
                Some((x, y)) => {
                    let source = &picture[(y * WIDTH as usize + x) * 4..][..4];
                    assert_eq!(shown(pixel, false), shown(source, swap), "{x} {y}");
                }
            }
        }
    }
}

#[test]
fn a_part_is_written_from_its_offset() {
    let (mut renderer, ram) = Renderer::with_memory();
    write(&ram, &pattern(WIDTH, HEIGHT));
    let file = sealed(1 << 16);
    assert_eq!(renderer.target(1, &file, 1 << 16), 0);
    let what = texture(B8G8R8X8, WIDTH, HEIGHT);
    renderer.create_backed(1, what);
    let region = Box3d { x: 7, y: 9, width: 11, height: 13, depth: 1, z: 0 };
    let stride = WIDTH * 4;
    let offset = u64::from(9 * stride + 7 * 4);
    assert_eq!(renderer.transfer_to(1, whole(&what)), 0);
    let other: Vec<u8> = pattern(WIDTH, HEIGHT).iter().map(|byte| !byte).collect();
    write(&ram, &other);
    assert_eq!(renderer.transfer_to(1, Transfer3d { region, offset, stride, ..Transfer3d::default() }), 0);
    assert_eq!(renderer.read_back(1, 1, all(stride, 0)), 0);
    let got = shown(&read(&file, (stride * HEIGHT) as usize), false);
    let (before, after) = (shown(&pattern(WIDTH, HEIGHT), false), shown(&other, false));
    for (at, pixel) in got.iter().enumerate() {
        let (x, y) = (at as u32 % WIDTH, at as u32 / WIDTH);
        let inside = (7..18).contains(&x) && (9..22).contains(&y);
        assert_eq!(*pixel, if inside { after[at] } else { before[at] }, "{x} {y}");
    }
}

#[test]
fn what_a_context_draws_is_read_back_and_transferred_back() {
    let (mut renderer, ram) = Renderer::with_memory();
    let file = sealed(1 << 16);
    assert_eq!(renderer.target(1, &file, 1 << 16), 0);
    assert_eq!(renderer.context(1, 0), 0);
    for (resource, format) in [(1, B8G8R8X8), (2, R8G8B8A8)] {
        let what = texture(format, WIDTH, HEIGHT);
        renderer.create_backed(resource, what);
        assert_eq!(renderer.ask(&Request::ContextResource { context: 1, resource, attach: true }), 0);
        assert_eq!(renderer.submit(1, &clear(10 + resource, resource, format, [1.0, 0.2, 0.6, 1.0])), 0);
        assert_eq!(renderer.read_back(resource, 1, all(WIDTH * 4, 0)), 0);
        let count = (WIDTH * HEIGHT * 4) as usize;
        assert!(shown(&read(&file, count), false).iter().all(|pixel| *pixel == [153, 51, 255]));
        write(&ram, &vec![0; count]);
        let transfer = Transfer3d { context: 1, ..whole(&what) };
        assert_eq!(renderer.ask(&Request::TransferFrom { resource, transfer }), 0);
        assert!(shown(&read(&ram, count), format == R8G8B8A8).iter().all(|pixel| *pixel == [153, 51, 255]));
    }
}

#[test]
fn a_file_can_be_the_backing() {
    let mut renderer = Renderer::start();
    let (picture, file, target) = (pattern(WIDTH, HEIGHT), sealed(1 << 16), sealed(1 << 16));
    write(&file, &picture);
    let what = Create3d { flags: Y_0_TOP, ..texture(B8G8R8X8, WIDTH, HEIGHT) };
    assert_eq!(renderer.create(1, what), 0);
    renderer.send_with(&Request::AttachFile { resource: 1, length: picture.len() as u64 }, &[file.as_fd()]);
    assert_eq!(renderer.done(), 0);
    assert_eq!(renderer.target(1, &target, 1 << 16), 0);
    assert_eq!(renderer.transfer_to(1, whole(&what)), 0);
    assert_eq!(renderer.read_back(1, 1, all(WIDTH * 4, 0)), 0);
    assert_eq!(shown(&read(&target, picture.len()), false), shown(&picture, false));
}

#[test]
fn new_memory_is_used_at_once_and_lost_memory_is_let_go() {
    let (mut renderer, old) = Renderer::with_memory();
    let target = sealed(1 << 16);
    assert_eq!(renderer.target(1, &target, 1 << 16), 0);
    let what = texture(B8G8R8X8, WIDTH, HEIGHT);
    renderer.create_backed(1, what);
    write(&old, &[0x11; 1 << 16]);
    let new = sealed(RAM_SIZE);
    let picture = pattern(WIDTH, HEIGHT);
    write(&new, &picture);
    assert_eq!(renderer.set_memory(&[Region { address: RAM, length: RAM_SIZE, offset: 0 }], &[&new]), 0);
    assert_eq!(renderer.transfer_to(1, whole(&what)), 0);
    assert_eq!(renderer.read_back(1, 1, all(WIDTH * 4, 0)), 0);
    assert_eq!(shown(&read(&target, picture.len()), false), shown(&picture, false));

    assert_eq!(renderer.set_memory(&[Region { address: RAM, length: 4096, offset: 0 }], &[&new]), 0);
    assert_ne!(renderer.transfer_to(1, whole(&what)), 0);
    assert_eq!(renderer.set_memory(&[], &[]), 0);
    assert_ne!(renderer.attach(1, &[Piece { address: RAM, length: 4096 }]), 0);
    assert_eq!(renderer.read_back(1, 1, all(WIDTH * 4, 0)), 0);
}

#[test]
fn an_export_tells_all_or_is_refused() {
    use crate::driver::Said;
    let mut renderer = Renderer::start();
    assert_eq!(renderer.create(1, texture(B8G8R8X8, 256, 64)), 0);
    renderer.send(&Request::Export(1));
    match renderer.next() {
        Some(Said::Done(errno)) => assert_ne!(errno, 0),
        Some(Said::Exported(export, files)) => {
            assert_eq!((export.width, export.height, export.planes.len()), (256, 64, files.len()));
            assert!(export.fourcc != 0 && export.planes.iter().all(|plane| plane.stride >= 256 * 4), "{export:?}");
        }
        other => panic!("instead of an export it said {other:?}"),
    }
    let buffer = Create3d { target: 0, format: 64, bind: 1 << 4, width: 4096, height: 1, ..texture(0, 0, 0) };
    assert_eq!(renderer.create(2, buffer), 0);
    for resource in [2, 3] {
        assert_ne!(renderer.ask(&Request::Export(resource)), 0);
    }
}
