//! Blobs of guest memory: what is shown of them, and every wrong number. Those of the host are tested with the 3D half.

use super::*;
use crate::frames::{PreferredMode, SharedBuffer, TO_SCREEN_DEPTH, ToDevice, ToScreen};
use crate::gpu::memory::tests::memory;
use crate::gpu::wire::{FLAG_FENCE, QueueKind, cmd, feature};
use crate::gpu::{DeviceConfig, Quota, Transport};
use phyllome_protocol::ScanoutId;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use vm_memory::{Bytes, GuestAddress};

const PIXELS: u64 = 0x10_0000;
const OK: u32 = Status::OkNoData as u32;
const BAD: u32 = Status::ErrInvalidParameter as u32;
const NO_ID: u32 = Status::ErrInvalidResourceId as u32;
/// A picture of 64×32 pixels, its rows 256 bytes apart.
const SIZE: u32 = 64 * 32 * 4;

struct Bench {
    device: Device,
    memory: Memory,
    sender: Sender<ToScreen>,
    screen: Receiver<ToScreen>,
    response: Response,
}

fn bench_with(quota: Quota) -> Bench {
    let config = DeviceConfig { transport: Transport::Generic, scanouts: 2, quota, ..DeviceConfig::default() };
    let mut device = Device::new(&config, None);
    assert_eq!(device.offered(), feature::RESOURCE_BLOB);
    device.set_features(feature::RESOURCE_BLOB | feature::RESOURCE_UUID | feature::VERSION_1);
    // The same everywhere: not even a host that has it makes dmabufs of memory without files.
    device.udmabuf = None;
    let (sender, screen) = channel(TO_SCREEN_DEPTH);
    let memory = memory(&[(0, 0x1000), (PIXELS, 0x40_0000)]);
    Bench { device, memory, sender, screen, response: Response::default() }
}

fn bench() -> Bench {
    bench_with(Quota::default())
}

impl Bench {
    fn send(&mut self, kind: u32, flags: u32, words: &[u32]) -> (u32, Outcome) {
        let header = [kind, flags, 7, 0, 0, 0];
        let bytes: Vec<u8> = header.iter().chain(words).flat_map(|word| word.to_le_bytes()).collect();
        let queue = if kind >= cmd::UPDATE_CURSOR { QueueKind::Cursor } else { QueueKind::Control };
        let outcome = self.device.execute(&self.memory, queue, &bytes, &mut self.response);
        (u32::from_le_bytes(self.response.bytes()[..4].try_into().unwrap()), outcome)
    }

    fn status(&mut self, kind: u32, words: &[u32]) -> u32 {
        self.send(kind, 0, words).0
    }

    fn create(&mut self, id: u32, size: u64, entries: &[(u64, u32)]) -> u32 {
        let mut words = vec![id, kinds::GUEST, 2, entries.len() as u32, 0, 0, size as u32, (size >> 32) as u32];
        words.extend(entries.iter().flat_map(|&(at, length)| [at as u32, (at >> 32) as u32, length, 0]));
        self.status(cmd::RESOURCE_CREATE_BLOB, &words)
    }

    fn blob(&mut self, id: u32) {
        assert_eq!(self.create(id, SIZE.into(), &[(PIXELS, SIZE)]), OK);
    }

    fn show(&mut self, scanout: u32, id: u32, [width, height, stride, offset]: [u32; 4]) -> u32 {
        let image = [width, height, 2, 0, stride, 0, 0, 0, offset, 0, 0, 0];
        let words: Vec<u32> = [0, 0, width, height, scanout, id].into_iter().chain(image).collect();
        self.status(cmd::SET_SCANOUT_BLOB, &words)
    }

    fn flush(&mut self, id: u32, [x, y, width, height]: [u32; 4]) -> u32 {
        self.status(cmd::RESOURCE_FLUSH, &[x, y, width, height, id, 0])
    }

    fn messages(&mut self) -> Vec<ToScreen> {
        self.device.publish(&self.sender);
        let messages: Vec<_> = std::iter::from_fn(|| self.screen.try_recv().ok()).collect();
        for message in &messages {
            if let &ToScreen::Flush { id, serial, .. } = message {
                self.device.message(ToDevice::Presented { id, serial });
            }
        }
        messages
    }

    fn draw(&mut self, at: u64, bytes: &[u8]) {
        self.memory.map().write_slice(bytes, GuestAddress(PIXELS + at)).unwrap();
    }
}

const WHOLE: [u32; 4] = [64, 32, 256, 0];

fn picture(messages: &[ToScreen]) -> std::sync::Arc<SharedBuffer> {
    let found = messages.iter().find_map(|message| match message {
        ToScreen::Scanout { picture: Some(picture), .. } => Some(picture.buffer.clone()),
        _ => None,
    });
    found.expect("a picture was announced")
}

fn pixel(buffer: &SharedBuffer, x: u32, y: u32) -> [u8; 4] {
    let mut bytes = [0; 4];
    buffer.reader().unwrap().read_exact_at(&mut bytes, u64::from(y * buffer.stride + x * 4)).unwrap();
    bytes
}

#[test]
fn without_dmabufs_each_flush_is_one_copy_of_what_was_flushed() {
    let mut bench = bench();
    bench.blob(1);
    bench.draw(0, &[7; SIZE as usize]);
    assert_eq!(bench.show(0, 1, WHOLE), OK);
    assert!(bench.messages().is_empty() && bench.device.copied_bytes == 0, "nothing is shown before the first flush");
    assert_eq!(bench.flush(1, [0, 0, 1, 1]), OK);
    let shown = picture(&bench.messages());
    assert_eq!(
        (shown.width, shown.height, pixel(&shown, 63, 31)),
        (64, 32, [7; 4]),
        "all of it is there from the first"
    );
    assert_eq!(bench.device.copied_bytes, u64::from(SIZE));
    bench.draw(256 * 3 + 8, &[9; 8]);
    assert_eq!(bench.flush(1, [2, 3, 1, 1]), OK);
    assert_eq!((pixel(&shown, 2, 3), pixel(&shown, 3, 3)), ([9; 4], [7; 4]), "what was not flushed is as it was");
    assert_eq!(bench.device.copied_bytes, u64::from(SIZE) + 4);
    assert_eq!(bench.show(0, 1, WHOLE), OK);
    assert_eq!(bench.flush(1, [0, 0, 1, 1]), OK);
    assert_eq!(bench.device.copied_bytes, u64::from(SIZE) + 8, "what is shown already is not copied anew");
}

#[test]
fn a_guest_that_flips_sees_each_of_its_pictures_as_it_is() {
    let mut bench = bench();
    let half = u64::from(SIZE);
    assert_eq!(bench.create(1, 2 * half, &[(PIXELS, 2 * SIZE)]), OK);
    bench.draw(0, &[1; SIZE as usize]);
    bench.draw(half, &[2; SIZE as usize]);
    for (offset, byte) in [(0, 1), (SIZE, 2), (0, 3), (SIZE, 4)] {
        bench.draw(u64::from(offset) + half - 4, &[byte; 4]);
        assert_eq!(bench.show(0, 1, [64, 32, 256, offset]), OK);
        assert_eq!(bench.flush(1, [0, 0, 1, 1]), OK);
        assert_eq!(pixel(&picture(&bench.messages()), 63, 31), [byte; 4]);
    }
    assert_eq!(bench.show(0, 1, [64, 32, 256, SIZE + 4]), BAD);
}

#[test]
fn a_fenced_flush_of_something_shown_waits_for_the_screen() {
    let mut bench = bench();
    bench.blob(1);
    assert_eq!(bench.show(1, 1, WHOLE), OK);
    let (status, outcome) = bench.send(cmd::RESOURCE_FLUSH, FLAG_FENCE, &[0, 0, 64, 32, 1, 0]);
    assert!(status == OK && matches!(outcome, Outcome::Hold(_)), "{outcome:?}");
}

#[test]
fn wrong_blobs_are_refused_and_leave_nothing() {
    let mut bench = bench();
    let create = |bench: &mut Bench, words: [u32; 8]| {
        let entry = [PIXELS as u32, 0, 4096, 0];
        let words: Vec<u32> = words.into_iter().chain(entry).collect();
        bench.status(cmd::RESOURCE_CREATE_BLOB, &words)
    };
    for (words, expected) in [
        ([0, 1, 0, 1, 0, 0, 4096, 0], NO_ID),
        ([1, 0, 0, 1, 0, 0, 4096, 0], BAD),
        ([1, 4, 0, 1, 0, 0, 4096, 0], BAD),
        ([1, 1, 8, 1, 0, 0, 4096, 0], BAD),
        ([1, 1, 0, 1, 0, 0, 0, 0], BAD),
        ([1, 1, 0, 1, 0, 0, 4097, 0], BAD),
        ([1, 1, 0, 0, 0, 0, 4096, 0], BAD),
        ([1, 1, 0, 1, 0, 0, 4096, 1], BAD),
        ([1, 1, 0, 1, 0, 0, u32::MAX, u32::MAX], BAD),
        ([1, 2, 1, 0, 0, 0, 4096, 0], BAD),
        ([1, 3, 1, 1, 0, 0, 4096, 0], BAD),
        ([1, 1, 0, 2, 0, 0, 4096, 0], Status::ErrUnspec as u32),
        ([1, 1, 0, 16385, 0, 0, 4096, 0], Status::ErrUnspec as u32),
        ([1, 1, 0, u32::MAX, 0, 0, 4096, 0], Status::ErrUnspec as u32),
    ] {
        assert_eq!(create(&mut bench, words), expected, "{words:?}");
        assert_eq!(bench.device.usage, Default::default(), "{words:?}");
    }
    for outside in [(0x8000_0000, 4096), (PIXELS + 0x40_0000 - 4095, 4096), (u64::MAX - 100, 4096)] {
        assert_eq!(bench.create(1, 4096, &[outside]), BAD, "{outside:x?}");
    }
    bench.blob(1);
    assert_eq!(bench.create(1, 4096, &[(PIXELS, 4096)]), NO_ID, "twice");
    assert_eq!(bench.status(cmd::RESOURCE_CREATE_2D, &[1, 2, 8, 8]), NO_ID, "nor another kind");
    assert_eq!(bench.status(cmd::RESOURCE_CREATE_2D, &[2, 2, 8, 8]), OK);
    assert_eq!(bench.create(2, 4096, &[(PIXELS, 4096)]), NO_ID, "nor the other way round");
}

#[test]
fn wrong_pictures_and_flushes_are_refused() {
    let mut bench = bench();
    bench.blob(1);
    assert_eq!(bench.status(cmd::RESOURCE_CREATE_2D, &[2, 2, 64, 32]), OK);
    for image in [
        [0, 32, 256, 0],
        [64, 0, 256, 0],
        [64, 33, 256, 0],
        [64, 32, 252, 0],
        [64, 32, 260, 0],
        [64, 32, 256, 4],
        [64, 32, 256, !3],
        [64, 32, !3, 0],
        [u32::MAX, u32::MAX, u32::MAX, u32::MAX],
    ] {
        assert_eq!(bench.show(0, 1, image), BAD, "{image:?}");
    }
    assert_eq!(bench.show(2, 1, WHOLE), Status::ErrInvalidScanoutId as u32);
    assert_eq!(bench.show(u32::MAX, 1, WHOLE), Status::ErrInvalidScanoutId as u32);
    for unknown in [2, 3] {
        assert_eq!(bench.show(0, unknown, WHOLE), NO_ID, "no blob");
    }
    assert_eq!(bench.status(cmd::SET_SCANOUT, &[0, 0, 64, 32, 0, 1]), NO_ID, "a blob has no size in pixels");
    assert_eq!(bench.show(0, 1, WHOLE), OK);
    for outside in [[1, 0, 64, 1], [0, 32, 1, 1], [u32::MAX, 0, 2, 1], [0, u32::MAX, 1, u32::MAX]] {
        assert_eq!(bench.flush(1, outside), BAD, "{outside:?}");
    }
    assert_eq!(bench.flush(1, [0, 0, 64, 32]), OK);
    assert_eq!(bench.show(0, 0, WHOLE), OK, "0 turns it off");
    assert!(bench.device.scanouts[0].shown.is_none());
}

#[test]
fn a_blob_that_is_gone_stays_gone() {
    let mut bench = bench();
    for _ in 0..50 {
        bench.blob(1);
        assert_eq!(bench.show(0, 1, WHOLE), OK);
        assert_eq!(bench.flush(1, [0, 0, 64, 32]), OK);
        assert_eq!(bench.status(cmd::RESOURCE_UNREF, &[1, 0]), OK);
        assert!(bench.device.scanouts[0].shown.is_none());
        assert_eq!(bench.status(cmd::RESOURCE_UNREF, &[1, 0]), NO_ID);
        assert_eq!((bench.flush(1, [0, 0, 1, 1]), bench.show(0, 1, WHOLE)), (NO_ID, NO_ID));
        for (kind, words) in [
            (cmd::TRANSFER_TO_HOST_2D, &[0, 0, 1, 1, 0, 0, 1, 0][..]),
            (cmd::RESOURCE_DETACH_BACKING, &[1, 0]),
            (cmd::RESOURCE_ASSIGN_UUID, &[1, 0]),
            (cmd::UPDATE_CURSOR, &[0, 0, 0, 0, 1, 0, 0, 0]),
            (cmd::RESOURCE_MAP_BLOB, &[1, 0, 0, 0]),
            (cmd::RESOURCE_UNMAP_BLOB, &[1, 0]),
        ] {
            assert_eq!(bench.status(kind, words), NO_ID, "{kind:#x}");
        }
        assert_eq!(bench.device.usage, Default::default(), "nothing is left that counts");
    }
}

#[test]
fn guest_memory_is_neither_mapped_nor_given_twice() {
    let mut bench = bench();
    bench.blob(1);
    let unspecified = Status::ErrUnspec as u32;
    assert_eq!(bench.status(cmd::RESOURCE_ATTACH_BACKING, &[1, 1, PIXELS as u32, 0, 4096, 0]), unspecified);
    assert_eq!(bench.status(cmd::RESOURCE_MAP_BLOB, &[1, 0, 0, 0]), BAD);
    assert_eq!(bench.status(cmd::RESOURCE_UNMAP_BLOB, &[1, 0]), unspecified);
    assert_eq!(bench.status(cmd::RESOURCE_ASSIGN_UUID, &[1, 0]), Status::OkResourceUuid as u32);
    assert_eq!(bench.show(0, 1, WHOLE), OK);
    assert_eq!(bench.status(cmd::RESOURCE_DETACH_BACKING, &[1, 0]), OK);
    assert!(bench.device.scanouts[0].shown.is_none(), "what has no memory is not shown");
    assert_eq!(bench.show(0, 1, WHOLE), unspecified);
    assert_eq!(bench.flush(1, [0, 0, 1, 1]), OK);
    assert_eq!(bench.status(cmd::RESOURCE_DETACH_BACKING, &[1, 0]), unspecified);
}

#[test]
fn memory_that_is_gone_meanwhile_is_not_read() {
    let mut bench = bench();
    bench.blob(1);
    assert_eq!(bench.show(0, 1, WHOLE), OK);
    bench.memory.clear();
    assert_eq!(bench.flush(1, [0, 0, 64, 32]), BAD);
    assert_eq!(bench.device.copied_bytes, 0);
}

#[test]
fn a_cursor_is_the_blob_s_first_pixels() {
    let mut bench = bench();
    assert_eq!(bench.create(1, 64 * 64 * 4, &[(PIXELS, 64 * 64 * 4)]), OK);
    bench.blob(2);
    bench.draw(0, &[5; 64 * 64 * 4]);
    assert_eq!(bench.status(cmd::TRANSFER_TO_HOST_2D, &[0, 0, 64, 64, 0, 0, 1, 0]), OK, "drivers say so of cursors");
    assert_eq!(bench.status(cmd::UPDATE_CURSOR, &[0, 0, 0, 0, 1, 3, 4, 0]), OK);
    let messages = bench.messages();
    let [ToScreen::Cursor { image: Some(image), .. }] = messages.as_slice() else { panic!("{messages:?}") };
    assert_eq!((image.pixels[64 * 64 * 4 - 1], image.hot_x, image.hot_y), (5, 3, 4));
    assert_eq!(bench.status(cmd::UPDATE_CURSOR, &[0, 0, 0, 0, 2, 0, 0, 0]), BAD, "too small");
}

#[test]
fn quotas_hold_for_blobs_entries_and_copies() {
    let quota = Quota { resources: 4, backing_entries: 6, bytes: 3 * u64::from(SIZE), ..Quota::default() };
    let mut bench = bench_with(quota);
    let over = Status::ErrOutOfMemory as u32;
    for id in 1..=4 {
        bench.blob(id);
    }
    assert_eq!(bench.create(5, 4096, &[(PIXELS, 4096)]), over, "too many");
    assert_eq!(bench.status(cmd::RESOURCE_UNREF, &[4, 0]), OK);
    assert_eq!(bench.create(5, 4096, &[(PIXELS, 1024); 4]), over, "too many entries");
    // One copy each; the fourth picture is too much, whichever blob it is of.
    for id in 1..=3 {
        assert_eq!(bench.show(0, id, WHOLE), OK);
    }
    assert_eq!(bench.show(1, 1, [64, 31, 256, 0]), over);
    assert_eq!(bench.status(cmd::RESOURCE_UNREF, &[3, 0]), OK);
    assert_eq!(bench.show(1, 1, [64, 31, 256, 0]), OK);
}

#[test]
fn many_pictures_of_one_blob_cost_no_more_than_a_few() {
    let mut bench = bench();
    bench.blob(1);
    for height in (1..=32).rev() {
        assert_eq!(bench.show(0, 1, [64, height, 256, 0]), OK);
        assert_eq!(bench.flush(1, [0, 0, 64, height]), OK);
    }
    assert!(bench.device.usage.bytes() <= 6 * u64::from(SIZE), "{}", bench.device.usage.bytes());
}

#[test]
fn a_reset_leaves_no_blob_and_no_event() {
    let mut bench = bench();
    bench.blob(1);
    assert_eq!(bench.show(0, 1, WHOLE), OK);
    let mode = PreferredMode { width: 1920, height: 1080, refresh_mhz: 60_000, width_mm: 0, height_mm: 0 };
    let id = ScanoutId::new(0).unwrap();
    bench.device.message(ToDevice::Mode { id, mode });
    assert_eq!((bench.device.events(), bench.device.config_changed), (1, true), "the driver is to look");
    bench.device.config_changed = false;
    bench.device.message(ToDevice::Mode { id, mode });
    assert!(!bench.device.config_changed, "the same is no change");
    bench.device.clear_events(1);
    assert_eq!(bench.device.events(), 0);
    bench.device.reset();
    assert_eq!((bench.flush(1, [0, 0, 1, 1]), bench.device.usage), (NO_ID, Default::default()));
}

#[test]
fn without_the_feature_there_are_no_blobs() {
    let mut bench = bench();
    bench.device.set_features(feature::VERSION_1);
    assert_eq!(bench.create(1, 4096, &[(PIXELS, 4096)]), Status::ErrUnspec as u32);
    let old = Device::new(&DeviceConfig::default(), None);
    assert_eq!(old.offered(), 0, "vhost-user-gpu-pci passes on none");
}
