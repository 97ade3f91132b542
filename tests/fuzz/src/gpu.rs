//! Commands of a guest's driver, on a device with 2 MiB of guest memory: each is answered with a response of the
//! specification, and what the screen hears meanwhile is what it may rely on.
//!
//! An input is one command after another: a byte that says which queue and what the screen does afterwards, two that
//! say how long it is, and its bytes.

use crate::Bytes;
use phyllome_guest_bridge::frames::{PreferredMode, Rect, TO_SCREEN_DEPTH, ToDevice, ToScreen};
use phyllome_guest_bridge::gpu::bare::BareDevice;
use phyllome_guest_bridge::gpu::{DeviceConfig, Quota, Transport};
use std::collections::HashMap;
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// Bytes of guest memory.
const MEMORY: usize = 2 << 20;

const MOST_COMMANDS: usize = 256;

/// Most rectangles of one flush.
const MOST_DAMAGE: usize = 16;

/// Bits of a command's first byte: the cursor's queue; then the screen hears; it shows what it hears; it has gone; it
/// has another size; it does not take the buffer.
const CURSOR: u8 = 1;
const HEARS: u8 = 2;
const SHOWS: u8 = 4;
const GONE: u8 = 8;
const RESIZED: u8 = 16;
const REFUSES: u8 = 32;

/// The responses of the specification (virtio 1.3, 5.7.6.7).
fn is_response(kind: u32) -> bool {
    (0x1100..=0x1106).contains(&kind) || (0x1200..=0x1206).contains(&kind)
}

/// A device as the tests of it have one, with little room.
pub fn device() -> BareDevice {
    let quota = Quota { resources: 64, bytes: 64 << 20, ..Quota::default() };
    let config = DeviceConfig { quota, scanouts: 2, transport: Transport::Generic, ..DeviceConfig::default() };
    BareDevice::new(&config, MEMORY).expect("guest memory")
}

/// Executes the commands.
pub fn run(data: &[u8]) {
    let mut device = device();
    let mut screen = Screen::default();
    device.message(ToDevice::Attached(true));
    let mut bytes = Bytes::new(data);
    let mut left = MOST_COMMANDS;
    while !bytes.is_empty() && left > 0 {
        left -= 1;
        let does = bytes.u8();
        let length = usize::from(bytes.u16());
        let response = device.execute(does & CURSOR != 0, bytes.take(length));
        assert!(is_response(response), "{response:#x} is no response");
        if does & HEARS != 0 {
            screen.turn(&mut device, does);
        }
    }
    screen.turn(&mut device, SHOWS);
}

struct Screen {
    to_screen: Sender<ToScreen>,
    from_device: Receiver<ToScreen>,
    /// By scanout: which part of which buffer it shows, and the last flush's serial.
    pictures: HashMap<u32, (u64, Rect)>,
    serials: HashMap<u32, u64>,
}

impl Default for Screen {
    fn default() -> Self {
        let (to_screen, from_device) = channel(TO_SCREEN_DEPTH);
        Self { to_screen, from_device, pictures: HashMap::new(), serials: HashMap::new() }
    }
}

impl Screen {
    /// Hears all that there is to say, and answers.
    fn turn(&mut self, device: &mut BareDevice, does: u8) {
        device.publish(&self.to_screen);
        while let Ok(message) = self.from_device.try_recv() {
            for answer in self.hear(message, does) {
                device.message(answer);
            }
        }
        if does & GONE != 0 {
            self.pictures.clear();
            device.message(ToDevice::Attached(false));
            device.message(ToDevice::Attached(true));
        }
    }

    fn hear(&mut self, message: ToScreen, does: u8) -> Vec<ToDevice> {
        let mut answers = Vec::new();
        match message {
            ToScreen::Scanout { id, picture: None } => drop(self.pictures.remove(&id.get())),
            ToScreen::Scanout { id, picture: Some(picture) } => {
                let (buffer, source) = (&picture.buffer, picture.source);
                assert!(within(&source, buffer.width, buffer.height), "{source:?} of {buffer:?}");
                assert!(u64::from(buffer.stride) >= u64::from(buffer.width) * 4, "{buffer:?}");
                assert!(buffer.memfd.is_some() || buffer.dmabuf.is_some(), "{buffer:?}");
                if let Some(memfd) = &buffer.memfd {
                    let bytes = rustix::fs::fstat(memfd).map_or(0, |stat| stat.st_size as u64);
                    assert!(bytes >= u64::from(buffer.stride) * u64::from(buffer.height), "{buffer:?} in {bytes}");
                }
                if does & REFUSES != 0 {
                    answers.push(ToDevice::Refused { buffer: buffer.id });
                }
                self.pictures.insert(id.get(), (buffer.id, source));
            }
            ToScreen::Flush { id, serial, damage } => {
                let (_, source) = self.pictures.get(&id.get()).expect("a picture before its first flush");
                assert!((1..=MOST_DAMAGE).contains(&damage.len()), "{damage:?}");
                assert!(damage.iter().all(|part| within(part, source.width, source.height)), "{damage:?} {source:?}");
                let last = self.serials.insert(id.get(), serial);
                assert!(last.is_none_or(|last| last < serial), "{serial} after {last:?}");
                if does & SHOWS != 0 {
                    answers.push(ToDevice::Presented { id, serial });
                }
                if does & RESIZED != 0 {
                    let mode = PreferredMode { width: 64, height: 48, refresh_mhz: 0, width_mm: 0, height_mm: 0 };
                    let mode = if does & SHOWS != 0 { mode } else { PreferredMode::NO_DISPLAY };
                    answers.push(ToDevice::Mode { id, mode });
                }
            }
            ToScreen::Cursor { image, .. } => {
                if let Some(image) = image {
                    assert!(image.pixels.len() == 64 * 64 * 4 && image.hot_x < 64 && image.hot_y < 64, "{image:?}");
                }
            }
            ToScreen::Reset => self.pictures.clear(),
        }
        answers
    }
}

/// Whether the part has pixels, and all of them lie within these.
fn within(part: &Rect, width: u32, height: u32) -> bool {
    let fits = |at: u32, length: u32, all: u32| length > 0 && u64::from(at) + u64::from(length) <= u64::from(all);
    fits(part.x, part.width, width) && fits(part.y, part.height, height)
}

fn command(does: u8, words: &[u32]) -> Vec<u8> {
    let request: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let length = (request.len() as u16).to_le_bytes();
    [&[does], &length[..], &request].concat()
}

/// What drivers say: a screen's life, a cursor, and what else there is.
pub fn seeds() -> Vec<Vec<u8>> {
    let said = |kind: u32, words: &[u32]| command(0, &[&[kind, 0, 0, 0, 0, 0], words].concat());
    let create = said(0x101, &[1, 1, 64, 48]);
    let attach = said(0x106, &[1, 1, 0x1_0000, 0, 64 * 48 * 4, 0]);
    let scanout = said(0x103, &[0, 0, 64, 48, 0, 1]);
    let transfer = said(0x105, &[0, 0, 64, 48, 0, 0, 1, 0]);
    let flush = said(0x104, &[0, 0, 64, 48, 1, 0]);
    let shown = command(HEARS | SHOWS, &[0x104, 0, 0, 0, 0, 0, 3, 4, 30, 20, 1, 0]);
    let other = command(HEARS | SHOWS | RESIZED | REFUSES, &[0x104, 0, 0, 0, 0, 0, 0, 0, 64, 48, 1, 0]);
    let screen = [said(0x100, &[]), said(0x10a, &[0, 0]), create.clone(), attach, scanout, transfer, flush].concat();
    let cursor =
        [said(0x101, &[2, 1, 64, 64]), command(CURSOR | HEARS, &[0x300, 0, 0, 0, 0, 0, 0, 3, 4, 0, 2, 1, 1, 0])]
            .concat();
    let moved = command(CURSOR | HEARS | GONE, &[0x301, 0, 0, 0, 0, 0, 0, 30, 40, 0, 0, 0, 0, 0]);
    let end = [said(0x107, &[1, 0]), said(0x102, &[1, 0])].concat();
    let fenced = command(0, &[0x104, 1, 7, 0, 0, 0, 0, 0, 64, 48, 1, 0]);
    let blob = said(0x10c, &[3, 1, 1, 1, 0, 0, 0x1000, 0, 0x8000, 0, 0x1000, 0]);
    let three_d = [said(0x108, &[0, 0]), said(0x200, &[4, 0, 0]), said(0x204, &[5, 2, 1, 2, 8, 8, 1, 1, 0, 0, 0, 0])];
    vec![
        [screen.clone(), cursor.clone(), moved.clone(), end.clone()].concat(),
        [screen.clone(), fenced, end.clone()].concat(),
        [screen, shown.clone(), other, shown, end].concat(),
        [create, cursor, moved].concat(),
        [vec![blob], three_d.to_vec()].concat().concat(),
    ]
}
