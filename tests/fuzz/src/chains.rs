//! Chains of descriptors in a guest's memory: a request is copied and its response written within that memory, or the
//! chain is refused.
//!
//! An input is pieces of memory: a place of two bytes, a length of one, and bytes. The last two bytes are the head.

use crate::{Bytes, gpu};
use phyllome_guest_bridge::gpu::wire::MAX_REQUEST;

/// Where the table of descriptors lies; places of pieces count from here.
const TABLE: u64 = 0x1000;

/// Writes the pieces, then follows the chain on both queues.
pub fn run(data: &[u8]) {
    let mut device = gpu::device();
    let (pieces, head) = data.split_at(data.len().saturating_sub(2));
    let mut bytes = Bytes::new(pieces);
    while !bytes.is_empty() {
        let (place, length) = (bytes.u16(), bytes.u8());
        device.write(TABLE + u64::from(place), bytes.take(usize::from(length))).expect("a place in memory");
    }
    let head = Bytes::new(head).u16();
    for (indirect, cursor) in [(false, false), (true, false), (true, true)] {
        if let Some((requested, written, room)) = device.chain(TABLE, head, indirect, cursor) {
            // Pieces may lie upon one another, and so be more than the memory.
            assert!(requested <= MAX_REQUEST as u64 && u64::from(written) <= room);
        }
    }
}

fn descriptor(address: u64, length: u32, flags: u16, next: u16) -> Vec<u8> {
    [&address.to_le_bytes()[..], &length.to_le_bytes(), &flags.to_le_bytes(), &next.to_le_bytes()].concat()
}

fn piece(place: u16, bytes: &[u8]) -> Vec<u8> {
    [&place.to_le_bytes()[..], &[bytes.len() as u8], bytes].concat()
}

/// A usual chain, an indirect one, a request in pieces, a loop.
pub fn seeds() -> Vec<Vec<u8>> {
    const NEXT: u16 = 1;
    const WRITE: u16 = 2;
    const INDIRECT: u16 = 4;
    let request = piece(0x2000, &[0, 1, 0, 0].repeat(6));
    let two = [descriptor(0x3000, 24, NEXT, 1), descriptor(0x5000, 408, WRITE, 0)].concat();
    let direct = [request.clone(), piece(0, &two), vec![0, 0]].concat();
    let outer = piece(0, &descriptor(0x2000, 32, INDIRECT, 0));
    let indirect = [request.clone(), piece(0x1000, &two), outer, vec![0, 0]].concat();
    let parts = [
        descriptor(0x3000, 7, NEXT, 2),
        descriptor(0x5000, 24, WRITE, 0),
        descriptor(0x3007, 17, NEXT, 1),
        descriptor(0x3000, 24, NEXT, 3),
    ]
    .concat();
    let split = [request.clone(), piece(0, &parts), vec![0, 0]].concat();
    let ring = [request, piece(0, &parts), vec![3, 0]].concat();
    vec![direct, indirect, split, ring]
}
