//! What a renderer says that a guest has taken over: it is taken where it was asked for, or ends the renderer.
//!
//! An input is a byte that says how long the requests are that come first (in units of 8 bytes), these requests, then
//! packets: a length of two bytes, a byte that says which descriptors come along, and the bytes.

use crate::Bytes;
use phyllome_guest_bridge::renderer::bare::{BareSession, sealed};
use phyllome_guest_bridge::renderer::wire::{Create3d, Event, Export, Plane, ReadBack, Request, append};
use std::os::fd::OwnedFd;

/// Asks, and hears.
pub fn run(data: &[u8]) {
    let mut bytes = Bytes::new(data);
    let mut session = BareSession::default();
    let length = usize::from(bytes.u8()) * 8;
    let asked = session.ask_all(bytes.take(length));
    let mut answered = 0;
    while !bytes.is_empty() {
        let (length, files) = (usize::from(bytes.u16()), bytes.u8());
        match session.hear(bytes.take(length), descriptors(files)) {
            Some(answers) => answered += answers,
            None => break,
        }
    }
    assert!(answered <= asked, "{answered} answers to {asked} requests and fences");
}

/// None, or up to three: sealed memory, or a pipe's end.
fn descriptors(byte: u8) -> Vec<OwnedFd> {
    let pipe = || rustix::pipe::pipe().ok().map(|(reader, _)| reader);
    let one = |at: u8| if byte & (8 << at) == 0 { sealed(1 << 16).ok() } else { pipe() };
    (0..byte & 3).filter_map(one).collect()
}

/// A start, with answers of every kind.
pub fn seeds() -> Vec<Vec<u8>> {
    let requests = |all: &[Request<'_>]| {
        let mut packet = Vec::new();
        all.iter().for_each(|request| assert!(append(&mut packet, request)));
        packet.resize(packet.len().next_multiple_of(8), 0xff);
        [vec![(packet.len() / 8) as u8], packet].concat()
    };
    let packet = |files: u8, all: &[Event<'_>]| {
        let mut packet = Vec::new();
        all.iter().for_each(|event| assert!(append(&mut packet, event)));
        [&(packet.len() as u16).to_le_bytes()[..], &[files], &packet].concat()
    };
    let start = packet(0, &[Event::Capset { id: 1, version: 1, data: &[1; 8] }, Event::Ready { driver: "llvmpipe" }]);
    let create = Request::Create { resource: 1, what: Create3d { width: 8, height: 8, ..Create3d::default() } };
    let fence = Request::Fence { context: 0, ring: None, fence: 7 };
    let done = packet(0, &[Event::Done(0), Event::Fenced(7), Event::Done(22)]);
    let read =
        Request::ReadBack { resource: 1, target: 1, part: ReadBack { width: 8, height: 8, ..ReadBack::default() } };
    let planes = vec![Plane { offset: 0, stride: 32 }];
    let picture = Export { width: 8, height: 8, fourcc: 0x3432_5258, modifier: 0, bottom_up: false, planes };
    let exported = packet(1, &[Event::Exported(picture)]);
    let mapped = packet(1, &[Event::Mapped { size: 4096, cache: 1 }]);
    vec![
        [requests(&[create, fence, read]), start.clone(), done].concat(),
        [requests(&[Request::Export(1)]), start.clone(), exported].concat(),
        [requests(&[Request::Map(1)]), start, mapped].concat(),
        [requests(&[]), packet(0, &[Event::Lacks("no dmabuf"), Event::Unable("no driver")])].concat(),
    ]
}
