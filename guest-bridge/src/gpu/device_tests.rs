//! The main path and its refusals, against guest memory without files.

use super::*;
use crate::frames::{CursorImage, Picture, PreferredMode, TO_SCREEN_DEPTH, ToScreen};
use crate::gpu::formats::Format;
use crate::gpu::memory::tests::memory;
use crate::gpu::resources::{Classic, Resource};
use crate::gpu::wire::{FLAG_FENCE, cmd};
use std::os::unix::fs::FileExt;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use vm_memory::{Bytes, GuestAddress};

const ALL: u64 = feature::EDID | feature::RESOURCE_UUID | feature::VERSION_1;
/// Where the tests' pixels are in guest memory.
const PIXELS: u64 = 0x10_0000;

struct Bench {
    device: Device,
    memory: Memory,
    sender: Sender<ToScreen>,
    screen: Receiver<ToScreen>,
    response: Response,
}

impl Bench {
    fn new(scanouts: u32, quota: Quota) -> Self {
        let mut device = Device::new(&DeviceConfig { scanouts, quota, ..DeviceConfig::default() }, None);
        device.set_features(ALL);
        let (sender, screen) = channel(TO_SCREEN_DEPTH);
        let memory = memory(&[(0, 0x1000), (PIXELS, 0x40_0000)]);
        Self { device, memory, sender, screen, response: Response::default() }
    }

    fn send(&mut self, kind: u32, flags: u32, words: &[u32]) -> (u32, Outcome) {
        let header = [kind, flags, 7, 0, 0, 0];
        let bytes: Vec<u8> = header.iter().chain(words).flat_map(|word| word.to_le_bytes()).collect();
        let queue = if kind >= cmd::UPDATE_CURSOR { QueueKind::Cursor } else { QueueKind::Control };
        let outcome = self.device.execute(&self.memory, queue, &bytes, &mut self.response);
        (u32::from_le_bytes(self.response.bytes()[..4].try_into().unwrap()), outcome)
    }

    /// The response's type.
    fn status(&mut self, kind: u32, words: &[u32]) -> u32 {
        self.send(kind, 0, words).0
    }

    fn ok(&mut self, kind: u32, words: &[u32]) {
        assert_eq!(self.status(kind, words), Status::OkNoData as u32, "{kind:#x} {words:?}");
    }

    /// A resource with one piece of backing that is as long as it.
    fn image(&mut self, id: u32, format: u32, width: u32, height: u32) {
        self.ok(cmd::RESOURCE_CREATE_2D, &[id, format, width, height]);
        self.ok(cmd::RESOURCE_ATTACH_BACKING, &[id, 1, PIXELS as u32, 0, width * height * 4, 0]);
    }

    fn messages(&mut self) -> Vec<ToScreen> {
        self.device.publish(&self.sender);
        std::iter::from_fn(|| self.screen.try_recv().ok()).collect()
    }

    fn class(&self, class: Class) -> u64 {
        self.device.errors.all().get(class.name()).copied().unwrap_or(0)
    }
}

fn bench() -> Bench {
    Bench::new(2, Quota::default())
}

fn pattern(count: usize) -> Vec<u8> {
    (0..count).map(|at| (at ^ at >> 8) as u8).collect()
}

fn shown(messages: &[ToScreen]) -> &Picture {
    let picture = messages.iter().find_map(|message| match message {
        ToScreen::Scanout { picture: Some(picture), .. } => Some(picture),
        _ => None,
    });
    picture.expect("a picture was announced")
}

#[test]
fn pixels_travel_from_guest_memory_to_the_screen_s_buffer_in_every_format() {
    for format in Format::ALL {
        let mut bench = bench();
        let bytes = pattern(100 * 30 * 4);
        bench.memory.map().write_slice(&bytes, GuestAddress(PIXELS)).unwrap();
        bench.image(5, format.number(), 100, 30);
        bench.ok(cmd::TRANSFER_TO_HOST_2D, &[0, 0, 100, 30, 0, 0, 5, 0]);
        bench.ok(cmd::SET_SCANOUT, &[0, 0, 100, 30, 0, 5]);
        assert!(bench.messages().is_empty(), "nothing is shown before the first flush");
        bench.ok(cmd::RESOURCE_FLUSH, &[0, 0, 100, 30, 5, 0]);
        let messages = bench.messages();
        let Picture { buffer, source } = shown(&messages);
        assert_eq!((buffer.fourcc, buffer.stride), (format.fourcc(), 512));
        assert_eq!(*source, Rect { x: 0, y: 0, width: 100, height: 30 });
        let memfd = File::from(buffer.memfd.as_ref().unwrap().try_clone().unwrap());
        for (y, expected) in bytes.chunks(400).enumerate() {
            let mut row = vec![1; 512];
            memfd.read_exact_at(&mut row, y as u64 * 512).unwrap();
            assert_eq!(row[..400], *expected, "{format:?}, row {y}");
            assert!(row[400..].iter().all(|&byte| byte == 0), "padding stays zero");
        }
        assert_eq!(bench.device.copied_bytes, 100 * 30 * 4);
    }
}

#[test]
fn a_command_whose_response_has_no_room_does_not_take_effect() {
    let mut bench = bench();
    bench.device.transport = Transport::Generic;
    let mode = PreferredMode { width: 1024, height: 768, refresh_mhz: 60_000, width_mm: 0, height_mm: 0 };
    bench.device.message(ToDevice::Mode { id: ScanoutId::new(0).unwrap(), mode });
    assert_eq!(bench.device.events(), EVENT_DISPLAY);
    bench.image(5, 2, 8, 8);
    for (kind, words) in [(cmd::GET_DISPLAY_INFO, &[][..]), (cmd::RESOURCE_ASSIGN_UUID, &[5, 0])] {
        let bytes: Vec<u8> = [kind, 0, 0, 0, 0, 0].iter().chain(words).flat_map(|word| word.to_le_bytes()).collect();
        let room = Response::length(kind) - 1;
        let Bench { device, memory, response, .. } = &mut bench;
        assert_eq!(device.execute_within(room, memory, QueueKind::Control, &bytes, response), Outcome::Answer);
        assert_eq!(response.bytes()[..4], (Status::ErrInvalidParameter as u32).to_le_bytes());
    }
    assert_eq!(bench.device.events(), EVENT_DISPLAY, "the driver has not seen where its displays are");
    assert_eq!(bench.device.resources.entry(5).unwrap().uuid, None);
    assert_eq!(bench.class(Class::ResponseSpace), 2);
}

#[test]
fn a_transfer_of_a_box_copies_that_box_and_no_more() {
    let mut bench = bench();
    let bytes = pattern(64 * 64 * 4);
    bench.memory.map().write_slice(&bytes, GuestAddress(PIXELS)).unwrap();
    bench.image(1, 2, 64, 64);
    // The box (8, 16) 24×4; its first pixel is at row 16, column 8 in the backing.
    let offset = (16 * 64 + 8) * 4;
    bench.ok(cmd::TRANSFER_TO_HOST_2D, &[8, 16, 24, 4, offset, 0, 1, 0]);
    assert_eq!(bench.device.copied_bytes, 24 * 4 * 4);
    let Ok(Resource::Classic(Classic { image, .. })) = bench.device.resources.get(1) else { panic!("not there") };
    for y in 0..64u32 {
        let mut row = vec![0; 256];
        image.read_row(y, &mut row);
        for x in 0..64u32 {
            let inside = (8..32).contains(&x) && (16..20).contains(&y);
            let at = ((y * 64 + x) * 4) as usize;
            let expected = if inside { [bytes[at], bytes[at + 1], bytes[at + 2]] } else { [0; 3] };
            assert_eq!(row[x as usize * 4..][..3], expected, "{x}, {y}");
        }
    }
}

#[test]
fn damage_is_the_part_of_a_flush_that_each_scanout_shows() {
    let mut bench = bench();
    bench.image(1, 2, 200, 100);
    bench.ok(cmd::SET_SCANOUT, &[0, 0, 100, 100, 0, 1]);
    bench.ok(cmd::SET_SCANOUT, &[100, 10, 100, 90, 1, 1]);
    bench.ok(cmd::RESOURCE_FLUSH, &[0, 0, 200, 100, 1, 0]);
    for message in bench.messages() {
        if let ToScreen::Flush { id, serial, .. } = message {
            bench.device.message(ToDevice::Presented { id, serial });
        }
    }
    bench.ok(cmd::RESOURCE_FLUSH, &[90, 0, 20, 50, 1, 0]);
    // Of another resource, which no scanout shows.
    bench.image(2, 2, 200, 100);
    bench.ok(cmd::RESOURCE_FLUSH, &[0, 0, 200, 100, 2, 0]);
    let damage: Vec<_> = bench
        .messages()
        .into_iter()
        .map(|message| match message {
            ToScreen::Flush { id, damage, .. } => (id.get(), damage),
            other => panic!("{other:?}"),
        })
        .collect();
    let first = Rect { x: 90, y: 0, width: 10, height: 50 };
    let second = Rect { x: 0, y: 0, width: 10, height: 40 };
    assert_eq!(damage, [(0, vec![first]), (1, vec![second])]);
}

#[test]
fn only_a_fenced_flush_of_something_shown_waits() {
    let mut bench = bench();
    bench.image(1, 2, 64, 64);
    let flush = [0, 0, 64, 64, 1, 0];
    assert_eq!(bench.send(cmd::RESOURCE_FLUSH, FLAG_FENCE, &flush).1, Outcome::Answer, "shown nowhere");
    bench.ok(cmd::SET_SCANOUT, &[0, 0, 64, 64, 0, 1]);
    assert_eq!(bench.send(cmd::RESOURCE_FLUSH, 0, &flush).1, Outcome::Answer, "not fenced");
    let (status, outcome) = bench.send(cmd::RESOURCE_FLUSH, FLAG_FENCE, &flush);
    assert!(status == Status::OkNoData as u32 && matches!(outcome, Outcome::Hold(_)));
    assert_eq!(bench.response.bytes()[4..9], [1, 0, 0, 0, 7], "the fence comes back");
    bench.device.set_features(ALL | feature::IN_ORDER);
    assert_eq!(bench.send(cmd::RESOURCE_FLUSH, FLAG_FENCE, &flush).1, Outcome::Answer, "in order");
}

#[test]
fn a_resource_that_goes_takes_its_scanout_with_it() {
    let mut bench = bench();
    bench.image(1, 2, 64, 64);
    bench.ok(cmd::SET_SCANOUT, &[0, 0, 64, 64, 1, 1]);
    bench.ok(cmd::RESOURCE_FLUSH, &[0, 0, 64, 64, 1, 0]);
    assert_eq!(bench.messages().len(), 2);
    bench.ok(cmd::RESOURCE_UNREF, &[1, 0]);
    assert!(matches!(bench.messages()[..], [ToScreen::Scanout { picture: None, .. }]));
    assert_eq!(bench.status(cmd::RESOURCE_FLUSH, &[0, 0, 64, 64, 1, 0]), Status::ErrInvalidResourceId as u32);
    assert_eq!(bench.status(cmd::RESOURCE_UNREF, &[1, 0]), Status::ErrInvalidResourceId as u32);
    assert_eq!(bench.class(Class::ResourceId), 2);
    assert_eq!(bench.device.usage, Usage::default(), "nothing is left behind");
}

#[test]
fn every_refusal_has_its_response_and_its_class() {
    let mut bench = bench();
    bench.image(1, 2, 64, 64);
    bench.ok(cmd::RESOURCE_CREATE_2D, &[2, 2, 64, 64]);
    let whole = PIXELS as u32;
    let cases: &[(u32, &[u32], Status, Class)] = &[
        (cmd::RESOURCE_CREATE_2D, &[0, 2, 8, 8], Status::ErrInvalidResourceId, Class::ResourceExists),
        (cmd::RESOURCE_CREATE_2D, &[1, 2, 8, 8], Status::ErrInvalidResourceId, Class::ResourceExists),
        (cmd::RESOURCE_CREATE_2D, &[9, 5, 8, 8], Status::ErrInvalidParameter, Class::Format),
        (cmd::RESOURCE_CREATE_2D, &[9, 2, 0, 8], Status::ErrInvalidParameter, Class::ResourceSize),
        (cmd::RESOURCE_CREATE_2D, &[9, 2, u32::MAX, u32::MAX], Status::ErrInvalidParameter, Class::ResourceSize),
        (cmd::RESOURCE_CREATE_2D, &[9, 2, 16384, 16384], Status::ErrOutOfMemory, Class::Quota),
        (cmd::RESOURCE_ATTACH_BACKING, &[1, 1, whole, 0, 64, 0], Status::ErrUnspec, Class::BackingTwice),
        (cmd::RESOURCE_ATTACH_BACKING, &[9, 1, whole, 0, 64, 0], Status::ErrInvalidResourceId, Class::ResourceId),
        (cmd::RESOURCE_ATTACH_BACKING, &[2, 1, 0x8000, 0, 64, 0], Status::ErrInvalidParameter, Class::BackingAddress),
        (cmd::RESOURCE_ATTACH_BACKING, &[2, 2, whole, 0, 64, 0], Status::ErrUnspec, Class::ShortRequest),
        (cmd::RESOURCE_ATTACH_BACKING, &[2, 16385], Status::ErrUnspec, Class::BackingEntries),
        (cmd::RESOURCE_DETACH_BACKING, &[2, 0], Status::ErrUnspec, Class::BackingMissing),
        (cmd::TRANSFER_TO_HOST_2D, &[0, 0, 8, 8, 0, 0, 2, 0], Status::ErrUnspec, Class::BackingMissing),
        (cmd::TRANSFER_TO_HOST_2D, &[60, 0, 8, 8, 0, 0, 1, 0], Status::ErrInvalidParameter, Class::TransferBox),
        (cmd::TRANSFER_TO_HOST_2D, &[0, u32::MAX, 8, 8, 0, 0, 1, 0], Status::ErrInvalidParameter, Class::TransferBox),
        (cmd::TRANSFER_TO_HOST_2D, &[0, 0, 64, 64, 4, 0, 1, 0], Status::ErrInvalidParameter, Class::BackingShort),
        (
            cmd::TRANSFER_TO_HOST_2D,
            &[0, 0, 8, 8, u32::MAX, u32::MAX, 1, 0],
            Status::ErrInvalidParameter,
            Class::BackingShort,
        ),
        (cmd::SET_SCANOUT, &[0, 0, 64, 64, 2, 1], Status::ErrInvalidScanoutId, Class::ScanoutId),
        (cmd::SET_SCANOUT, &[0, 0, 64, 64, u32::MAX, 1], Status::ErrInvalidScanoutId, Class::ScanoutId),
        (cmd::SET_SCANOUT, &[0, 0, 64, 64, 0, 9], Status::ErrInvalidResourceId, Class::ResourceId),
        (cmd::SET_SCANOUT, &[0, 0, 65, 64, 0, 1], Status::ErrInvalidParameter, Class::ScanoutRectangle),
        (cmd::SET_SCANOUT, &[0, 0, 0, 64, 0, 1], Status::ErrInvalidParameter, Class::ScanoutRectangle),
        (cmd::RESOURCE_FLUSH, &[1, 1, 64, 64, 1, 0], Status::ErrInvalidParameter, Class::FlushRectangle),
        (cmd::GET_EDID, &[2, 0], Status::ErrInvalidScanoutId, Class::ScanoutId),
        (cmd::RESOURCE_ASSIGN_UUID, &[9, 0], Status::ErrInvalidResourceId, Class::ResourceId),
        (cmd::UPDATE_CURSOR, &[2, 0, 0, 0, 1, 0, 0, 0], Status::ErrInvalidScanoutId, Class::ScanoutId),
        (cmd::UPDATE_CURSOR, &[0, 0, 0, 0, 9, 0, 0, 0], Status::ErrInvalidResourceId, Class::ResourceId),
        (cmd::CTX_CREATE, &[0; 20], Status::ErrUnspec, Class::NotNegotiated),
        (0x999, &[0; 20], Status::ErrUnspec, Class::WrongQueue),
        (0x1ff, &[0; 20], Status::ErrUnspec, Class::UnknownCommand),
        (cmd::SET_SCANOUT, &[0], Status::ErrUnspec, Class::ShortRequest),
    ];
    for (kind, words, status, class) in cases {
        let before = bench.class(*class);
        let (usage, resources) = (bench.device.usage, bench.device.resources.len());
        assert_eq!(bench.status(*kind, words), *status as u32, "{kind:#x} {words:?}");
        assert_eq!(bench.class(*class), before + 1, "{kind:#x} {words:?} is {}", class.name());
        assert_eq!((bench.device.usage, bench.device.resources.len()), (usage, resources), "and changed nothing");
    }
    bench.ok(cmd::TRANSFER_TO_HOST_2D, &[0, 0, 64, 64, 0, 0, 1, 0]);
    assert!(bench.messages().is_empty());
}

#[test]
fn quotas_hold_over_many_rounds_and_give_everything_back() {
    let mut bench = Bench::new(1, Quota { resources: 3, bytes: 1 << 20, backing_entries: 2, ..Quota::default() });
    for _ in 0..1000 {
        for id in 1..=3 {
            bench.ok(cmd::RESOURCE_CREATE_2D, &[id, 1, 64, 64]);
        }
        assert_eq!(bench.status(cmd::RESOURCE_CREATE_2D, &[4, 1, 64, 64]), Status::ErrOutOfMemory as u32);
        bench.ok(cmd::RESOURCE_ATTACH_BACKING, &[1, 2, PIXELS as u32, 0, 8, 0, PIXELS as u32, 0, 8, 0]);
        let entry = [2, 1, PIXELS as u32, 0, 8, 0];
        assert_eq!(bench.status(cmd::RESOURCE_ATTACH_BACKING, &entry), Status::ErrOutOfMemory as u32);
        bench.ok(cmd::RESOURCE_DETACH_BACKING, &[1, 0]);
        bench.ok(cmd::RESOURCE_ATTACH_BACKING, &entry);
        for id in 1..=3 {
            bench.ok(cmd::RESOURCE_UNREF, &[id, 0]);
        }
    }
    assert_eq!(bench.device.usage, Usage::default());
}

#[test]
fn a_flooded_channel_never_grows_and_the_last_picture_arrives() {
    let mut bench = bench();
    bench.image(1, 2, 64, 64);
    for round in 0..10_000u32 {
        bench.ok(cmd::SET_SCANOUT, &[0, 0, 1 + round % 64, 64, 0, 1]);
        bench.ok(cmd::RESOURCE_FLUSH, &[0, 0, 64, 64, 1, 0]);
        bench.ok(cmd::SET_SCANOUT, &[0, 0, 0, 0, 0, 0]);
        bench.ok(cmd::UPDATE_CURSOR, &[0, 0, 0, 0, 1, 0, 0, 0]);
        bench.device.publish(&bench.sender);
    }
    bench.ok(cmd::SET_SCANOUT, &[0, 0, 33, 64, 0, 1]);
    bench.ok(cmd::RESOURCE_FLUSH, &[0, 0, 64, 64, 1, 0]);
    assert!(bench.device.publish(&bench.sender), "the channel is full");
    let mut last = None;
    loop {
        let messages = bench.messages();
        if messages.is_empty() {
            break;
        }
        for message in messages {
            match message {
                ToScreen::Scanout { picture, .. } => last = picture,
                ToScreen::Flush { id, serial, .. } => bench.device.message(ToDevice::Presented { id, serial }),
                _ => {}
            }
        }
    }
    assert_eq!(last.unwrap().source.width, 33);
}

#[test]
fn a_screen_that_comes_later_is_told_everything() {
    let mut bench = bench();
    bench.image(1, 1, 64, 64);
    bench.ok(cmd::SET_SCANOUT, &[0, 0, 64, 64, 0, 1]);
    bench.ok(cmd::RESOURCE_FLUSH, &[0, 0, 64, 64, 1, 0]);
    bench.ok(cmd::UPDATE_CURSOR, &[0, 0, 0, 0, 1, 5, 6, 0]);
    assert_eq!(bench.messages().len(), 3);
    assert!(bench.messages().is_empty());
    bench.device.message(ToDevice::Attached(true));
    let whole = Rect { x: 0, y: 0, width: 64, height: 64 };
    let messages = bench.messages();
    assert!(
        matches!(
            &messages[..],
            [
                ToScreen::Scanout { picture: Some(_), .. },
                ToScreen::Flush { damage, .. },
                ToScreen::Cursor { image: Some(CursorImage { hot_x: 5, hot_y: 6, .. }), .. },
            ] if damage[..] == [whole]
        ),
        "{messages:?}"
    );
}

#[test]
fn a_cursor_stays_as_it_was_given_until_the_guest_gives_another_or_none() {
    let mut bench = bench();
    bench.memory.map().write_slice(&[0x40; 64 * 64 * 4], GuestAddress(PIXELS)).unwrap();
    // What Linux makes every dumb buffer as.
    bench.image(1, Format::B8G8R8X8.number(), 64, 64);
    bench.ok(cmd::TRANSFER_TO_HOST_2D, &[0, 0, 64, 64, 0, 0, 1, 0]);
    bench.ok(cmd::UPDATE_CURSOR, &[0, 0, 0, 0, 1, 5, 6, 0]);
    bench.memory.map().write_slice(&[0x99; 64 * 64 * 4], GuestAddress(PIXELS)).unwrap();
    bench.ok(cmd::TRANSFER_TO_HOST_2D, &[0, 0, 64, 64, 0, 0, 1, 0]);
    bench.ok(cmd::RESOURCE_UNREF, &[1, 0]);
    // Refused, and so without effect.
    bench.image(2, 2, 65, 64);
    assert_eq!(bench.status(cmd::UPDATE_CURSOR, &[0, 0, 0, 0, 2, 0, 0, 0]), Status::ErrInvalidParameter as u32);
    assert_eq!(bench.status(cmd::UPDATE_CURSOR, &[0, 0, 0, 0, 1, 0, 0, 0]), Status::ErrInvalidResourceId as u32);
    bench.ok(cmd::MOVE_CURSOR, &[0, u32::MAX, 7, 0, 1, 0, 0, 0]);
    let messages = bench.messages();
    let [ToScreen::Cursor { image: Some(image), .. }] = &messages[..] else { panic!("{messages:?}") };
    assert_eq!((image.pixels.iter().all(|&byte| byte == 0x40), image.hot_x, image.hot_y), (true, 5, 6));
    bench.ok(cmd::UPDATE_CURSOR, &[0; 8]);
    assert!(matches!(bench.messages()[..], [ToScreen::Cursor { image: None, .. }]));
}

#[test]
fn what_nobody_sees_lasts_a_picture_of_its_fastest_display_only_where_the_guest_s_file_wants_that() {
    for (background, wanted) in [(Background::Slow, None), (Background::Full, Some(Duration::from_nanos(6_944_444)))] {
        let mut bench = bench();
        let config = DeviceConfig { scanouts: 2, background, ..DeviceConfig::default() };
        bench.device = Device::new(&config, None);
        bench.device.set_features(ALL);
        bench.image(1, 2, 64, 64);
        for (id, refresh_mhz) in [(0, 60_000), (1, 144_000)] {
            let mode = PreferredMode { refresh_mhz, ..config.mode };
            bench.device.message(ToDevice::Mode { id: ScanoutId::new(id).unwrap(), mode });
            bench.ok(cmd::SET_SCANOUT, &[0, 0, 64, 64, id, 1]);
        }
        let (_, outcome) = bench.send(cmd::RESOURCE_FLUSH, FLAG_FENCE, &[0, 0, 64, 64, 1, 0]);
        let Outcome::Hold(waits) = outcome else { panic!("{outcome:?}") };
        assert_eq!(bench.device.hidden_period(&waits), wanted);
    }
}

#[test]
fn another_driver_finds_nothing_of_the_last_one() {
    let mut bench = bench();
    bench.image(1, 2, 64, 64);
    bench.ok(cmd::SET_SCANOUT, &[0, 0, 64, 64, 0, 1]);
    bench.ok(cmd::RESOURCE_FLUSH, &[0, 0, 64, 64, 1, 0]);
    bench.messages();
    bench.device.reset();
    assert!(matches!(bench.messages()[..], [ToScreen::Reset]));
    bench.device.reset();
    assert!(bench.messages().is_empty(), "nothing was shown since");
    bench.image(1, 2, 32, 32);
    assert_eq!(bench.device.usage.resources(), 1);
}

#[test]
fn display_info_edid_and_uuid_follow_the_screen_s_mode_and_stay_the_same() {
    let mut bench = bench();
    let mode = PreferredMode { width: 1912, height: 1048, refresh_mhz: 60_000, width_mm: 0, height_mm: 0 };
    bench.device.message(ToDevice::Mode { id: ScanoutId::new(1).unwrap(), mode });
    assert_eq!(bench.status(cmd::GET_DISPLAY_INFO, &[]), Status::OkDisplayInfo as u32);
    let words: Vec<u32> =
        bench.response.bytes()[24..].chunks_exact(4).map(|word| u32::from_le_bytes(word.try_into().unwrap())).collect();
    assert_eq!(words[..14], [0, 0, 1280, 800, 1, 0, 1280, 0, 1912, 1048, 1, 0, 0, 0]);
    assert_eq!(bench.status(cmd::GET_EDID, &[1, 0]), Status::OkEdid as u32);
    assert_eq!(bench.response.bytes()[32..160], edid(mode, 1)[..]);
    // It comes and goes with its display; what is to its right moves.
    let info = |bench: &mut Bench| {
        bench.status(cmd::GET_DISPLAY_INFO, &[]);
        let words = bench.response.bytes()[24..].chunks_exact(4);
        words.map(|word| u32::from_le_bytes(word.try_into().unwrap())).take(12).collect::<Vec<_>>()
    };
    for id in [0, 1] {
        let mode = PreferredMode::NO_DISPLAY;
        bench.device.message(ToDevice::Mode { id: ScanoutId::new(id).unwrap(), mode });
    }
    assert_eq!(info(&mut bench), [0, 0, 1280, 800, 1, 0, 0, 0, 0, 0, 0, 0], "the first is always there");
    assert_eq!(bench.status(cmd::GET_EDID, &[1, 0]), Status::OkEdid as u32);
    bench.device.message(ToDevice::Mode { id: ScanoutId::new(1).unwrap(), mode });
    assert_eq!(info(&mut bench), [0, 0, 1280, 800, 1, 0, 1280, 0, 1912, 1048, 1, 0]);
    bench.device.reset();
    assert_eq!(info(&mut bench)[10], 1, "another driver finds the same displays");
    assert_eq!(info(&mut Bench::new(2, Quota::default()))[10], 0, "before anybody has said that there is one");
    bench.image(3, 2, 8, 8);
    bench.status(cmd::RESOURCE_ASSIGN_UUID, &[3, 0]);
    let first = bench.response.bytes().to_vec();
    bench.status(cmd::RESOURCE_ASSIGN_UUID, &[3, 0]);
    assert_eq!(bench.response.bytes(), first, "one resource, one UUID");
    bench.device.set_features(feature::VERSION_1);
    assert_eq!(bench.status(cmd::GET_EDID, &[1, 0]), Status::ErrUnspec as u32);
    assert_eq!(bench.status(cmd::RESOURCE_ASSIGN_UUID, &[3, 0]), Status::ErrUnspec as u32);
}

#[test]
fn the_report_says_what_is_on() {
    let mut bench = bench();
    bench.image(1, 2, 64, 32);
    bench.ok(cmd::SET_SCANOUT, &[0, 0, 64, 32, 1, 1]);
    bench.ok(cmd::RESOURCE_FLUSH, &[0, 0, 64, 32, 1, 0]);
    bench.status(cmd::RESOURCE_UNREF, &[77, 0]);
    for message in bench.messages() {
        if let ToScreen::Flush { id, serial, .. } = message {
            bench.device.message(ToDevice::Presented { id, serial });
        }
    }
    let mut report = GpuReport::default();
    bench.device.report(&mut report);
    assert_eq!(report.gpu.features, ["edid", "resource_uuid"]);
    assert_eq!(report.gpu.errors.get("resource-id"), Some(&1));
    let [status] = &report.scanouts[..] else { panic!("{report:?}") };
    assert_eq!((status.id.get(), status.width, status.height), (1, 64, 32));
    assert_eq!((status.format.as_str(), status.modifier.as_str()), ("XR24", "LINEAR"));
    assert_eq!((status.flushes, status.presented), (1, 1));
    assert!(!bench.device.report_changed());
}
