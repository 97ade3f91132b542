//! Blob resources, as far as virgl alone has them.

use crate::driver::{RAM, Renderer};
use phyllome_guest_bridge::renderer::wire::{Piece, Request};

fn blob<'a>(resource: u32, context: u32, memory: u32, size: u64, pieces: &'a [u8]) -> Request<'a> {
    Request::CreateBlob { resource, context, memory, flags: 0, blob: 1, size, pieces }
}

#[test]
fn guest_blobs_live_and_bad_ones_are_refused() {
    let (mut renderer, _ram) = Renderer::with_memory();
    let page = Piece { address: RAM, length: 4096 }.to_bytes();
    let outside = Piece { address: 1, length: 4096 }.to_bytes();
    assert_eq!(renderer.context(1, 0), 0);
    assert_eq!(renderer.ask(&blob(1, 0, 1, 4096, &page)), 0);
    let refused = [
        blob(1, 0, 1, 4096, &page),
        blob(0, 0, 1, 4096, &page),
        blob(2, 0, 1, 4097, &page),
        blob(2, 0, 1, u64::MAX, &page),
        blob(2, 0, 1, 0, &page),
        blob(2, 0, 1, 4096, &[]),
        blob(2, 0, 1, 4096, &outside),
        blob(2, 0, 1, 4096, &page[..15]),
        blob(2, 0, 0, 4096, &page),
        blob(2, 0, 4, 4096, &page),
        blob(2, 9, 1, 4096, &page),
        blob(2, 1, 2, 4096, &page),
        blob(2, 1, 2, 1 << 40, &[]),
        // Nothing of this context is called 1.
        blob(2, 1, 2, 4096, &[]),
        blob(2, 0, 2, 4096, &[]),
    ];
    for request in &refused {
        assert_ne!(renderer.ask(request), 0, "{request:?}");
    }
    assert_ne!(renderer.attach(1, &[Piece { address: RAM, length: 4096 }]), 0);
    assert_ne!(renderer.ask(&Request::Map(1)), 0);
    assert_ne!(renderer.ask(&Request::Map(2)), 0);
    assert_ne!(renderer.ask(&Request::Export(1)), 0);
    assert_eq!(renderer.ask(&Request::ContextResource { context: 1, resource: 1, attach: true }), 0);
    assert_eq!(renderer.set_memory(&[], &[]), 0);
    assert_eq!(renderer.ask(&Request::Unref(1)), 0);
}
