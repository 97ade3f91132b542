//! Commands of a guest's driver, on a device with 2 MiB of guest memory: each is answered with a response of the
//! specification, and what the device holds stays within its quota.
//!
//! An input is one command after another: a byte that says which queue, two that say how long it is, and its bytes.

use crate::Bytes;
use phyllome_guest_bridge::gpu::bare::BareDevice;
use phyllome_guest_bridge::gpu::{DeviceConfig, Quota};

/// Bytes of guest memory.
pub const MEMORY: usize = 2 << 20;

const MOST_COMMANDS: usize = 256;

/// The responses of the specification (virtio 1.3, 5.7.6.7).
fn is_response(kind: u32) -> bool {
    (0x1100..=0x1106).contains(&kind) || (0x1200..=0x1206).contains(&kind)
}

/// A device as the tests of it have one, with little room.
pub fn device() -> BareDevice {
    let quota = Quota { resources: 64, bytes: 64 << 20, ..Quota::default() };
    let config = DeviceConfig { quota, ..DeviceConfig::default() };
    BareDevice::new(&config, MEMORY).expect("guest memory")
}

/// Executes the commands.
pub fn run(data: &[u8]) {
    let mut device = device();
    let mut bytes = Bytes::new(data);
    let mut left = MOST_COMMANDS;
    while !bytes.is_empty() && left > 0 {
        left -= 1;
        let cursor = bytes.u8() & 1 == 1;
        let length = usize::from(bytes.u16());
        let response = device.execute(cursor, bytes.take(length));
        assert!(is_response(response), "{response:#x} is no response");
    }
}

fn command(cursor: bool, words: &[u32]) -> Vec<u8> {
    let request: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let length = (request.len() as u16).to_le_bytes();
    [&[u8::from(cursor)], &length[..], &request].concat()
}

/// What drivers say: a screen's life, a cursor, and what else there is.
pub fn seeds() -> Vec<Vec<u8>> {
    let said = |kind: u32, words: &[u32]| command(false, &[&[kind, 0, 0, 0, 0, 0], words].concat());
    let create = said(0x101, &[1, 1, 64, 48]);
    let attach = said(0x106, &[1, 1, 0x1_0000, 0, 64 * 48 * 4, 0]);
    let scanout = said(0x103, &[0, 0, 64, 48, 0, 1]);
    let transfer = said(0x105, &[0, 0, 64, 48, 0, 0, 1, 0]);
    let flush = said(0x104, &[0, 0, 64, 48, 1, 0]);
    let screen = [said(0x100, &[]), said(0x10a, &[0, 0]), create.clone(), attach, scanout, transfer, flush].concat();
    let cursor =
        [said(0x101, &[2, 1, 64, 64]), command(true, &[0x300, 0, 0, 0, 0, 0, 0, 3, 4, 0, 2, 1, 1, 0])].concat();
    let moved = command(true, &[0x301, 0, 0, 0, 0, 0, 0, 30, 40, 0, 0, 0, 0, 0]);
    let end = [said(0x107, &[1, 0]), said(0x102, &[1, 0])].concat();
    let fenced = command(false, &[0x104, 1, 7, 0, 0, 0, 0, 0, 64, 48, 1, 0]);
    let blob = said(0x10c, &[3, 1, 1, 1, 0, 0, 0x1000, 0, 0x8000, 0, 0x1000, 0]);
    let three_d = [said(0x108, &[0, 0]), said(0x200, &[4, 0, 0]), said(0x204, &[5, 2, 1, 2, 8, 8, 1, 1, 0, 0, 0, 0])];
    vec![
        [screen.clone(), cursor.clone(), moved.clone(), end.clone()].concat(),
        [screen, fenced, end].concat(),
        [create, cursor, moved].concat(),
        [vec![blob], three_d.to_vec()].concat().concat(),
    ]
}
