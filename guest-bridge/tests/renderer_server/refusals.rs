//! What a hostile guest can ask for that is wrong: each is refused with an errno, and the renderer serves on.

use crate::driver::{B8G8R8X8, RAM, RAM_SIZE, Renderer, clear, command, memfd, sealed, texture, whole};
use phyllome_guest_bridge::renderer::wire::{Box3d, Create3d, Piece, ReadBack, Region, Request, Transfer3d};
use std::os::fd::AsFd;

/// Everything still works.
fn serves(renderer: &mut Renderer) {
    let what = texture(B8G8R8X8, 16, 16);
    assert_eq!(renderer.context(77, 0), 0);
    renderer.create_backed(77, what);
    assert_eq!(renderer.ask(&Request::ContextResource { context: 77, resource: 77, attach: true }), 0);
    assert_eq!(renderer.submit(77, &clear(1, 77, B8G8R8X8, [0.0; 4])), 0);
    assert_eq!(renderer.transfer_to(77, Transfer3d { context: 77, ..whole(&what) }), 0);
    assert_eq!(renderer.ask(&Request::Unref(77)), 0);
    assert_eq!(renderer.ask(&Request::DestroyContext(77)), 0);
}

#[test]
fn contexts_have_one_good_id_and_a_capset_that_is_offered() {
    let (mut renderer, _ram) = Renderer::with_memory();
    assert_eq!(renderer.context(1, 0), 0);
    assert_ne!(renderer.context(1, 0), 0);
    assert_ne!(renderer.context(0, 0), 0);
    for flags in [3, 4, 5, 6, 0xff, 0x100, 0x1_0001, u32::MAX] {
        assert_ne!(renderer.context(2, flags), 0, "{flags:#x}");
    }
    assert_eq!(renderer.context(2, 2), 0);
    assert_ne!(renderer.ask(&Request::CreateContext { context: 3, flags: 0, name: &[b'a'; 65] }), 0);
    assert_eq!(renderer.ask(&Request::CreateContext { context: 3, flags: 0, name: b"a\0b" }), 0);
    assert_eq!(renderer.ask(&Request::DestroyContext(3)), 0);
    for gone in [0, 3, u32::MAX] {
        assert_ne!(renderer.ask(&Request::DestroyContext(gone)), 0);
        assert_ne!(renderer.submit(gone, &[0]), 0);
    }
    serves(&mut renderer);
}

#[test]
fn resources_have_one_good_id_and_a_size() {
    let (mut renderer, _ram) = Renderer::with_memory();
    let sane = texture(B8G8R8X8, 64, 64);
    assert_eq!(renderer.create(1, sane), 0);
    for bad in [0, 1, u32::MAX] {
        assert_ne!(renderer.create(bad, sane), 0, "{bad}");
    }
    for bad in [
        texture(B8G8R8X8, 0, 64),
        texture(B8G8R8X8, 64, 0),
        texture(B8G8R8X8, 16385, 1),
        texture(B8G8R8X8, u32::MAX, u32::MAX),
        texture(100_000, 64, 64),
        Create3d { depth: 0, ..sane },
        Create3d { depth: 2, ..sane },
        Create3d { array_size: 7, ..sane },
        Create3d { array_size: u32::MAX, ..sane },
        Create3d { last_level: 9, ..sane },
        Create3d { samples: 1000, ..sane },
        Create3d { target: 100, ..sane },
        Create3d { target: 0, ..sane },
        Create3d { flags: u32::MAX, ..sane },
        Create3d { bind: 0, ..sane },
        Create3d { target: 0, bind: 0, format: 64, width: u32::MAX, height: 1, ..sane },
    ] {
        assert_ne!(renderer.create(2, bad), 0, "{bad:?}");
    }
    assert_eq!(renderer.ask(&Request::Unref(1)), 0);
    for gone in [0, 1, 2, u32::MAX] {
        assert_ne!(renderer.ask(&Request::Unref(gone)), 0, "{gone}");
    }
    serves(&mut renderer);
}

#[test]
fn nothing_can_be_done_to_what_is_gone() {
    let (mut renderer, _ram) = Renderer::with_memory();
    let what = texture(B8G8R8X8, 64, 64);
    assert_eq!(renderer.target(1, &sealed(1 << 16), 1 << 16), 0);
    assert_eq!(renderer.context(1, 0), 0);
    renderer.create_backed(1, what);
    assert_eq!(renderer.ask(&Request::ContextResource { context: 1, resource: 1, attach: true }), 0);
    assert_eq!(renderer.ask(&Request::Unref(1)), 0);
    let part = ReadBack { width: 64, height: 64, stride: 256, ..ReadBack::default() };
    let transfer = Transfer3d { context: 1, ..whole(&what) };
    for request in [
        Request::Detach(1),
        Request::TransferTo { resource: 1, transfer },
        Request::TransferFrom { resource: 1, transfer },
        Request::ContextResource { context: 1, resource: 1, attach: true },
        Request::ContextResource { context: 1, resource: 1, attach: false },
        Request::Attach { resource: 1, pieces: &Piece { address: RAM, length: 4096 }.to_bytes() },
        Request::ReadBack { resource: 1, target: 1, part },
        Request::Export(1),
        Request::Map(1),
    ] {
        assert_ne!(renderer.ask(&request), 0, "{request:?}");
    }
    // A surface of what is gone cannot be made; the context is told so, the process lives.
    let _ = renderer.submit(1, &clear(5, 1, B8G8R8X8, [0.0; 4]));
    assert_eq!(renderer.ask(&Request::DestroyContext(1)), 0);
    assert_ne!(renderer.ask(&Request::ContextResource { context: 1, resource: 1, attach: true }), 0);
    serves(&mut renderer);
}

#[test]
fn drawing_to_what_is_unreferenced_harms_nobody() {
    let (mut renderer, _ram) = Renderer::with_memory();
    let what = texture(B8G8R8X8, 64, 64);
    assert_eq!(renderer.context(1, 0), 0);
    renderer.create_backed(1, what);
    assert_eq!(renderer.ask(&Request::ContextResource { context: 1, resource: 1, attach: true }), 0);
    assert_eq!(renderer.submit(1, &clear(5, 1, B8G8R8X8, [0.0; 4])), 0);
    assert_eq!(renderer.ask(&Request::Unref(1)), 0);
    let colour = [1.0f32.to_bits(); 4];
    let again = command(7, 0, &[4, colour[0], colour[1], colour[2], colour[3], 0, 0, 0]);
    let _ = renderer.submit(1, &again);
    serves(&mut renderer);
}

#[test]
fn backings_are_of_guest_memory_and_one_at_a_time() {
    let (mut renderer, _ram) = Renderer::with_memory();
    assert_eq!(renderer.create(1, texture(B8G8R8X8, 64, 64)), 0);
    let good = Piece { address: RAM, length: 64 * 64 * 4 };
    for bad in [
        vec![],
        vec![Piece { address: RAM, length: 0 }],
        vec![Piece { address: 0, length: 1 }],
        vec![good, Piece { address: RAM + RAM_SIZE - 1, length: 2 }],
        vec![Piece { address: u64::MAX, length: u32::MAX }],
        vec![Piece { address: RAM, length: u32::MAX }],
        vec![Piece { address: RAM, length: RAM_SIZE as u32 }; 1025],
    ] {
        assert_ne!(renderer.attach(1, &bad), 0, "{:?} {}", bad.first(), bad.len());
    }
    assert_ne!(renderer.ask(&Request::Attach { resource: 1, pieces: &good.to_bytes()[..15] }), 0);
    assert_ne!(renderer.ask(&Request::Detach(1)), 0);
    assert_eq!(renderer.attach(1, &vec![good; 20_000]), 0);
    assert_ne!(renderer.attach(1, &[good]), 0);
    assert_eq!(renderer.ask(&Request::Detach(1)), 0);
    assert_ne!(renderer.ask(&Request::Detach(1)), 0);
    assert_ne!(renderer.transfer_to(1, whole(&texture(B8G8R8X8, 64, 64))), 0);
    for file in [memfd(1 << 16), sealed(1 << 10)] {
        renderer.send_with(&Request::AttachFile { resource: 1, length: 1 << 16 }, &[file.as_fd()]);
        assert_ne!(renderer.done(), 0);
    }
    serves(&mut renderer);
}

#[test]
fn transfers_stay_inside_the_resource_and_its_backing() {
    let (mut renderer, _ram) = Renderer::with_memory();
    let what = Create3d { last_level: 2, ..texture(B8G8R8X8, 64, 64) };
    assert_eq!(renderer.context(1, 0), 0);
    assert_eq!(renderer.create(1, what), 0);
    assert_eq!(renderer.attach(1, &[Piece { address: RAM, length: 64 * 64 * 4 }]), 0);
    let good = whole(&what);
    let boxes = [
        Box3d { x: 1, ..good.region },
        Box3d { y: 64, ..good.region },
        Box3d { z: 1, ..good.region },
        Box3d { x: u32::MAX, width: 2, ..good.region },
        Box3d { x: 1 << 31, ..good.region },
        Box3d { z: 1 << 31, depth: (1 << 31) + 1, ..good.region },
        Box3d { width: 65, ..good.region },
        Box3d { height: u32::MAX, ..good.region },
        Box3d { width: 0, ..good.region },
        Box3d { depth: 2, ..good.region },
    ];
    let mut bad: Vec<Transfer3d> = boxes.into_iter().map(|region| Transfer3d { region, ..good }).collect();
    bad.extend([
        Transfer3d { offset: 4, ..good },
        Transfer3d { offset: u64::MAX - 3, ..good },
        Transfer3d { offset: 1 << 32, ..good },
        Transfer3d { stride: 260, ..good },
        Transfer3d { stride: u32::MAX, ..good },
        Transfer3d { level: 1, ..good },
        Transfer3d { level: 3, ..good },
        Transfer3d { level: u32::MAX, ..good },
        Transfer3d { context: 2, ..good },
        // The context has not been given the resource.
        Transfer3d { context: 1, ..good },
    ]);
    for transfer in bad {
        assert_ne!(renderer.transfer_to(1, transfer), 0, "{transfer:?}");
        assert_ne!(renderer.ask(&Request::TransferFrom { resource: 1, transfer }), 0, "{transfer:?}");
    }
    assert_eq!(renderer.transfer_to(1, good), 0);
    let small = Box3d { width: 32, height: 32, ..good.region };
    assert_eq!(renderer.transfer_to(1, Transfer3d { level: 1, region: small, ..good }), 0);
    serves(&mut renderer);
}

#[test]
fn pixels_are_read_back_into_the_target_only() {
    let mut renderer = Renderer::start();
    assert_eq!(renderer.create(1, texture(B8G8R8X8, 64, 64)), 0);
    assert_ne!(renderer.target(1, &memfd(1 << 16), 1 << 16), 0);
    assert_ne!(renderer.target(1, &sealed(1 << 10), 1 << 16), 0);
    assert_ne!(renderer.target(1, &sealed(1 << 10), 0), 0);
    let file = sealed(64 * 64 * 4);
    assert_eq!(renderer.target(1, &file, 64 * 64 * 4), 0);
    assert_ne!(renderer.target(1, &file, 64 * 64 * 4), 0);
    let good = ReadBack { width: 64, height: 64, stride: 256, ..ReadBack::default() };
    for bad in [
        ReadBack { x: 1, ..good },
        ReadBack { y: u32::MAX, ..good },
        ReadBack { width: 0, ..good },
        ReadBack { width: 65, ..good },
        ReadBack { stride: 252, ..good },
        ReadBack { stride: 260, ..good },
        ReadBack { stride: 258, ..good },
        ReadBack { offset: 4, ..good },
        ReadBack { offset: u64::MAX, ..good },
    ] {
        assert_ne!(renderer.read_back(1, 1, bad), 0, "{bad:?}");
    }
    assert_ne!(renderer.read_back(1, 2, good), 0);
    assert_eq!(renderer.read_back(1, 1, good), 0);
    renderer.send(&Request::DropTarget(1));
    renderer.send(&Request::DropTarget(1));
    assert_ne!(renderer.read_back(1, 1, good), 0);
    assert_eq!(renderer.create(2, Create3d { format: 16, bind: 1, ..texture(0, 64, 64) }), 0);
    assert_eq!(renderer.target(1, &file, 64 * 64 * 4), 0);
    assert_ne!(renderer.read_back(2, 1, good), 0);
}

#[test]
fn submits_are_whole_words_of_one_length() {
    let (mut renderer, _ram) = Renderer::with_memory();
    assert_eq!(renderer.context(1, 0), 0);
    for length in [1, 2, 3, 5, 4095] {
        assert_ne!(renderer.ask(&Request::Submit { context: 1, commands: &vec![0; length] }), 0, "{length}");
    }
    assert_eq!(renderer.submit(1, &[]), 0);
    // As long as may be: commands that do nothing.
    assert_eq!(renderer.submit(1, &vec![0; 1 << 20]), 0);
    // A command that claims more words than there are, and one that there is not, spoil this context, not the process.
    let _ = renderer.submit(1, &[7 | 0xffff << 16, 0]);
    assert_ne!(renderer.submit(1, &[0xff | 1 << 16, 0]), 0);
    serves(&mut renderer);
}

#[test]
fn memory_that_is_not_there_is_refused() {
    let (mut renderer, ram) = Renderer::with_memory();
    for bad in [
        Region { address: RAM, length: RAM_SIZE + 1, offset: 0 },
        Region { address: RAM, length: RAM_SIZE, offset: 4096 },
        Region { address: RAM, length: 0, offset: 0 },
        Region { address: u64::MAX, length: 4096, offset: 0 },
        Region { address: 0, length: u64::MAX, offset: u64::MAX },
    ] {
        assert_ne!(renderer.set_memory(&[bad], &[&ram]), 0, "{bad:?}");
    }
    let twice =
        [Region { address: RAM, length: 8192, offset: 0 }, Region { address: RAM + 4096, length: 4096, offset: 0 }];
    assert_ne!(renderer.set_memory(&twice, &[&ram, &ram]), 0);
    assert_eq!(renderer.set_memory(&[Region { address: RAM, length: RAM_SIZE, offset: 0 }], &[&ram]), 0);
    serves(&mut renderer);
}

#[test]
fn after_a_reset_every_id_is_free() {
    let (mut renderer, _ram) = Renderer::with_memory();
    for _ in 0..3 {
        for id in 1..=20 {
            assert_eq!(renderer.context(id, 0), 0);
            renderer.create_backed(id, texture(B8G8R8X8, 64, 64));
            assert_eq!(renderer.ask(&Request::ContextResource { context: id, resource: id, attach: true }), 0);
            assert_eq!(renderer.submit(id, &clear(1, id, B8G8R8X8, [0.5; 4])), 0);
        }
        assert_eq!(renderer.ask(&Request::Reset), 0);
        assert_ne!(renderer.ask(&Request::Unref(1)), 0);
    }
    serves(&mut renderer);
}

#[test]
fn contexts_are_counted() {
    let mut renderer = Renderer::start();
    let refused = (1..200).find(|&id| renderer.ask(&Request::CreateContext { context: id, flags: 0, name: b"" }) != 0);
    assert!(refused.is_some_and(|id| id > 64), "{refused:?}");
    assert_eq!(renderer.ask(&Request::Reset), 0);
}
