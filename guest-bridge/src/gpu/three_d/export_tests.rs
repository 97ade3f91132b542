//! What a renderer gives out is shown as it is, once it has drawn; what it should not have given out, or the screen
//! does not take, is read back. The renderer is played here, and its dmabufs are sealed memory.

use super::*;
use crate::frames::{Dmabuf, GpuReport, SharedBuffer, ToDevice};
use crate::gpu::pacing::{HeldFences, Waits};
use crate::renderer::wire::{Export, Plane};
use phyllome_protocol::status::ScanoutStatus;
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage};
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::AsFd;

const XR24: u32 = u32::from_le_bytes(*b"XR24");
const AB24: u32 = u32::from_le_bytes(*b"AB24");
const TILED: u64 = 0x0100_0000_0000_0001;
/// Bytes of a plane of the 64×32 textures.
const BYTES: u64 = 64 * 32 * 4;

/// A plain picture of a texture.
fn export() -> Export {
    let planes = vec![Plane { offset: 0, stride: 256 }];
    Export { width: 64, height: 32, fourcc: XR24, modifier: 0, bottom_up: false, planes }
}

fn file(bytes: u64) -> OwnedFd {
    let file = memfd_create("picture", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
    rustix::fs::ftruncate(&file, bytes).unwrap();
    file
}

fn say_with(renderer: &OwnedFd, event: &Event<'_>, files: &[OwnedFd]) {
    let mut packet = Vec::new();
    assert!(wire::append(&mut packet, event));
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let files: Vec<_> = files.iter().map(AsFd::as_fd).collect();
    assert!(control.push(SendAncillaryMessage::ScmRights(&files)));
    rustix::net::sendmsg(renderer, &[IoSlice::new(&packet)], &mut control, SendFlags::empty()).unwrap();
}

impl Bench {
    fn set_scanout(&mut self, id: u32) {
        assert_eq!(self.status(cmd::SET_SCANOUT, 0, &[0, 0, 64, 32, 0, id]), OK);
    }

    fn flush(&mut self, id: u32, [x, y, width, height]: [u32; 4]) {
        assert_eq!(self.status(cmd::RESOURCE_FLUSH, 0, &[x, y, width, height, id, 0]), OK);
    }

    /// The renderer, which was asked for a picture, gives this one.
    fn gives(&mut self, export: Export, sizes: &[u64]) {
        let asked = self.asked();
        assert!(asked.last().is_some_and(|request| request.starts_with("Export(")), "{asked:?}");
        let files: Vec<_> = sizes.iter().map(|&bytes| file(bytes)).collect();
        say_with(&self.renderer, &Event::Exported(export), &files);
        self.device.renderer_turn(Instant::now());
    }

    /// The number of the one fence that the renderer was asked for.
    fn fence(&mut self) -> u64 {
        let asked = self.asked();
        let [only] = asked.as_slice() else { panic!("{asked:?}") };
        let number = only.rsplit("fence: ").next().and_then(|rest| rest.trim_end_matches(" }").parse().ok());
        number.unwrap_or_else(|| panic!("{asked:?}"))
    }

    fn presents(&mut self, messages: &[ToScreen]) {
        for message in messages {
            if let &ToScreen::Flush { id, serial, .. } = message {
                self.device.message(ToDevice::Presented { id, serial });
            }
        }
    }

    /// Shows texture 3 as the renderer gives it, up to its first flush.
    fn shows_given(&mut self, export: Export, sizes: &[u64]) -> Arc<SharedBuffer> {
        self.texture(3);
        self.set_scanout(3);
        self.gives(export, sizes);
        self.flush(3, [0, 0, 64, 32]);
        assert!(self.messages().is_empty(), "it is not drawn yet");
        let fence = self.fence();
        self.answer(&[Event::Fenced(fence)]);
        let messages = self.messages();
        let [ToScreen::Scanout { picture: Some(picture), .. }, ToScreen::Flush { .. }] = messages.as_slice() else {
            panic!("{messages:?}")
        };
        self.presents(&messages);
        picture.buffer.clone()
    }

    fn scanout_status(&mut self) -> (ScanoutStatus, u64) {
        let mut report = GpuReport::default();
        self.device.layout_changed = true;
        self.device.report(&mut report);
        (report.scanouts.remove(0), report.copied_bytes)
    }
}

#[test]
fn a_texture_that_is_given_out_is_shown_once_it_is_drawn_and_never_copied() {
    let mut bench = bench();
    let given = Export { fourcc: AB24, modifier: TILED, bottom_up: true, ..export() };
    let shown = bench.shows_given(given, &[BYTES]);
    let dmabuf = shown.dmabuf.as_ref().unwrap();
    assert_eq!((shown.width, shown.height, shown.fourcc, dmabuf.planes.len()), (64, 32, AB24, 1));
    assert!(dmabuf.bottom_up && dmabuf.modifier == TILED && shown.replaceable && shown.memfd.is_none());
    for n in 0..10 {
        bench.flush(3, [n, 0, 1, 1]);
        bench.messages();
        let fence = bench.fence();
        assert!(bench.messages().is_empty(), "half of it is not seen");
        bench.answer(&[Event::Fenced(fence)]);
        let messages = bench.messages();
        assert!(matches!(messages.as_slice(), [ToScreen::Flush { damage, .. }] if damage[0].x == n), "{messages:?}");
        bench.presents(&messages);
    }
    let (status, copied) = bench.scanout_status();
    let words = (status.buffer.as_str(), status.format.as_str(), status.modifier.as_str(), copied);
    assert_eq!(words, ("dmabuf", "AB24", "0x0100000000000001", 0));
    bench.set_scanout(3);
    assert!(bench.asked().is_empty(), "it is asked for once");
}

#[test]
fn all_planes_are_handed_on() {
    let mut bench = bench();
    let planes = vec![Plane { offset: 4096, stride: 256 }, Plane { offset: 64, stride: 16 }];
    let shown = bench.shows_given(Export { planes, modifier: TILED, ..export() }, &[4096 + BYTES, 80]);
    let planes = shown.dmabuf.as_ref().unwrap().planes.iter();
    assert_eq!(planes.map(|plane| (plane.offset, plane.stride)).collect::<Vec<_>>(), [(4096, 256), (64, 16)]);
}

#[test]
fn what_was_shown_stays_until_it_is_known_what_comes() {
    let mut bench = bench();
    bench.shows_given(export(), &[BYTES]);
    bench.texture(4);
    bench.set_scanout(4);
    bench.flush(4, [0, 0, 64, 32]);
    assert!(bench.messages().is_empty(), "nobody knows what it is shown with");
    bench.gives(export(), &[BYTES]);
    bench.messages();
    let fence = bench.fence();
    bench.answer(&[Event::Fenced(fence)]);
    assert_eq!(bench.messages().len(), 2);
}

#[test]
fn what_is_not_the_texture_is_read_back() {
    let linear = |stride| vec![Plane { offset: 0, stride }];
    let two = vec![Plane { offset: 0, stride: 256 }; 2];
    for (what, export, sizes) in [
        ("too short", export(), &[BYTES - 1][..]),
        ("an offset behind the end", Export { planes: vec![Plane { offset: 4, stride: 256 }], ..export() }, &[BYTES]),
        ("another size", Export { width: 32, ..export() }, &[BYTES]),
        ("another height", Export { height: 16, ..export() }, &[BYTES]),
        ("rows that are too short", Export { planes: linear(252), ..export() }, &[BYTES]),
        ("planes of rows", Export { planes: two.clone(), ..export() }, &[BYTES; 2]),
        ("a second plane behind the end", Export { planes: two, modifier: TILED, ..export() }, &[BYTES, 255]),
        ("an unknown format", Export { fourcc: u32::from_le_bytes(*b"NV12"), ..export() }, &[BYTES]),
        ("no format", Export { fourcc: 0, ..export() }, &[BYTES]),
    ] {
        let mut bench = bench();
        bench.texture(3);
        bench.set_scanout(3);
        bench.gives(export, sizes);
        bench.flush(3, [0, 0, 64, 32]);
        bench.messages();
        let asked = bench.asked();
        assert!(
            asked.len() == 2 && asked[0].starts_with("Target") && asked[1].starts_with("ReadBack"),
            "{what}: {asked:?}"
        );
        bench.answer(&[Event::Done(0), Event::Done(0)]);
        let messages = bench.messages();
        let buffer = match messages.as_slice() {
            [ToScreen::Scanout { picture: Some(picture), .. }, _] => picture.buffer.clone(),
            other => panic!("{what}: {other:?}"),
        };
        assert!(buffer.memfd.is_some() && !buffer.replaceable, "{what}");
        let (status, copied) = bench.scanout_status();
        assert_eq!((status.modifier.as_str(), copied), ("LINEAR", BYTES), "{what}");
    }
}

#[test]
fn what_the_screen_does_not_take_is_read_back_at_once() {
    let mut bench = bench();
    let shown = bench.shows_given(export(), &[BYTES]);
    bench.flush(3, [1, 1, 2, 2]);
    bench.messages();
    let fence = bench.fence();
    bench.answer(&[Event::Fenced(fence)]);
    assert_eq!(bench.messages().len(), 1, "a flush is under way");
    for _ in 0..2 {
        bench.device.message(ToDevice::Refused { buffer: shown.id });
    }
    assert!(bench.messages().is_empty());
    let asked = bench.asked();
    assert!(asked[0].starts_with("Target") && asked[1].contains("width: 64, height: 32"), "{asked:?}");
    bench.answer(&[Event::Done(0), Event::Done(0)]);
    let messages = bench.messages();
    assert!(matches!(messages.as_slice(), [ToScreen::Scanout { picture: Some(_), .. }, ToScreen::Flush { .. }]));
    bench.presents(&messages);
    bench.device.message(ToDevice::Refused { buffer: u64::MAX });
    bench.set_scanout(3);
    bench.flush(3, [0, 0, 1, 1]);
    bench.messages();
    assert!(bench.asked()[0].starts_with("ReadBack"), "and stays so");
}

#[test]
fn the_last_picture_outlives_its_renderer() {
    let mut bench = bench();
    let shown = bench.shows_given(export(), &[BYTES]);
    bench.flush(3, [0, 0, 1, 1]);
    bench.messages();
    bench.dies();
    // What waited for the drawing waits no more, and what was not drawn is not shown as new.
    assert!(bench.messages().is_empty());
    bench.device.message(ToDevice::Attached(true));
    let messages = bench.messages();
    let [ToScreen::Scanout { picture: Some(picture), .. }, ..] = messages.as_slice() else { panic!("{messages:?}") };
    assert_eq!(picture.buffer.id, shown.id);
    assert!(bench.asked().is_empty(), "the next renderer knows nothing of it");
}

#[test]
fn pixels_that_the_renderer_does_not_read_are_neither_shown_as_new_nor_waited_for() {
    let mut bench = bench();
    bench.texture(3);
    bench.shows(3);
    let flush = |bench: &mut Bench, x| {
        let flushed = bench.send(cmd::RESOURCE_FLUSH, FLAG_FENCE, 0, &[x, 0, 4, 4, 3, 0]);
        let (OK, Outcome::Hold(waits)) = flushed else { panic!("{flushed:?}") };
        assert!(bench.messages().is_empty());
        waits
    };
    let done = |bench: &Bench, waits: Waits| {
        let mut held = HeldFences::default();
        held.hold((), waits, bench.device.lanes(), Instant::now(), None).is_some()
    };
    let waits = flush(&mut bench, 8);
    assert_eq!(bench.asked().len(), 2);
    assert!(!done(&bench, waits));
    bench.answer(&[Event::Done(0), Event::Done(libc::EINVAL)]);
    assert!(bench.messages().is_empty(), "no black picture");
    let asked = bench.asked();
    assert!(asked.len() == 1 && asked[0].starts_with("DropTarget"), "no second try: {asked:?}");
    assert!(done(&bench, waits));
    // The next flush begins anew, with the memory and with all that was missed.
    flush(&mut bench, 16);
    let asked = bench.asked();
    assert!(asked[0].starts_with("Target"), "{asked:?}");
    assert!(asked[1].contains("x: 0, y: 0, width: 64, height: 32"), "{asked:?}");
    bench.answer(&[Event::Done(0), Event::Done(0)]);
    let messages = bench.messages();
    let [ToScreen::Scanout { picture: Some(_), .. }, ToScreen::Flush { id, damage, serial }] = &messages[..] else {
        panic!("{messages:?}")
    };
    let (id, serial) = (*id, *serial);
    assert!([8, 16].iter().all(|at| damage.iter().any(|rect| rect.x <= *at && rect.x + rect.width >= at + 4)));
    bench.device.message(ToDevice::Presented { id, serial });
    // Of several parts one is enough.
    for rect in [[0, 0, 2, 2], [30, 0, 2, 2], [60, 30, 2, 2]] {
        let [x, y, width, height] = rect;
        bench.status(cmd::RESOURCE_FLUSH, 0, &[x, y, width, height, 3, 0]);
    }
    bench.messages();
    let parts = bench.asked().len();
    assert!(parts > 1, "the test is about several");
    let mut answers = vec![Event::Done(0); parts];
    answers[0] = Event::Done(libc::EINVAL);
    bench.answer(&answers);
    assert!(bench.messages().is_empty());
}

#[test]
fn an_answer_to_a_former_resource_is_no_answer_to_the_present_one() {
    let mut bench = bench();
    bench.texture(3);
    bench.set_scanout(3);
    bench.asked();
    assert!(matches!(bench.send(cmd::RESOURCE_UNREF, 0, 0, &[3, 0]), (OK, Outcome::Forwarded(..))));
    bench.forwarded(cmd::RESOURCE_CREATE_3D, 0, 0, &[3, 2, 2, 2, 64, 32, 1, 1, 0, 0, 0, 0]);
    bench.set_scanout(3);
    bench.asked();
    say_with(&bench.renderer, &Event::Exported(export()), &[file(BYTES)]);
    bench.answer(&[Event::Done(0), Event::Done(0)]);
    bench.flush(3, [0, 0, 64, 32]);
    bench.messages();
    assert!(bench.asked().is_empty(), "the present one is not known yet");
    bench.answer(&[Event::Done(libc::EOPNOTSUPP)]);
    bench.messages();
    assert!(bench.asked()[0].starts_with("Target"));
}

#[test]
fn a_guest_that_shows_everything_once_keeps_few_files() {
    let mut bench = bench();
    for id in 1..=100 {
        bench.texture(id);
        bench.set_scanout(id);
        bench.gives(export(), &[BYTES]);
    }
    bench.texture(200);
    bench.set_scanout(200);
    let known = |bench: &Bench| (1..=100).filter(|&id| bench.device.three_d.as_ref().unwrap().knows(id)).count();
    assert!((30..=40).contains(&known(&bench)), "{}", known(&bench));
    bench.device.reset();
    assert_eq!(known(&bench), 0);
}

#[test]
fn a_host_blob_is_shown_as_the_file_that_it_is() {
    let mut bench = Bench::on(Transport::Generic, Quota::default());
    bench.context(1);
    let show = |bench: &mut Bench, id: u32, offset: u32| {
        let image = [0, 0, 64, 32, 0, id, 64, 32, 2, 0, 256, 0, 0, 0, offset, 0, 0, 0];
        bench.send(cmd::SET_SCANOUT_BLOB, 0, 0, &image)
    };
    let make = |bench: &mut Bench, id: u32| {
        bench.forwarded(cmd::RESOURCE_CREATE_BLOB, 0, 1, &[id, 2, 0, 0, 7, 0, 0x4000, 0]);
        let asked = bench.asked().len();
        bench.answer(&vec![Event::Done(0); asked]);
    };
    make(&mut bench, 5);
    assert_eq!(show(&mut bench, 5, 0x4000 - BYTES as u32 + 4), (Status::ErrInvalidParameter as u32, Outcome::Answer));
    let (OK, Outcome::Forwarded(token, _)) = show(&mut bench, 5, 0) else { panic!("it is not asked for") };
    assert_eq!(bench.asked(), ["Map(5)"]);
    bench.flush(5, [0, 0, 64, 32]);
    assert_eq!(bench.status(cmd::RESOURCE_FLUSH, 0, &[0, 0, 65, 32, 5, 0]), Status::ErrInvalidParameter as u32);
    assert!(bench.messages().is_empty());
    say_with(&bench.renderer, &Event::Mapped { size: 0x4000, cache: 1 }, &[file(0x4000)]);
    assert_eq!(bench.device.renderer_turn(Instant::now()), [(token, Status::OkNoData)]);
    bench.messages();
    let fence = bench.fence();
    bench.answer(&[Event::Fenced(fence)]);
    let messages = bench.messages();
    let [ToScreen::Scanout { picture: Some(picture), .. }, ToScreen::Flush { .. }] = messages.as_slice() else {
        panic!("{messages:?}")
    };
    assert!(picture.buffer.memfd.is_some() && picture.buffer.stride == 256 && !picture.buffer.replaceable);
    assert_eq!(bench.scanout_status().1, 0, "nothing is copied");

    // What the screen does not take, and nobody may read, is not shown any more, and not taken again.
    bench.device.message(ToDevice::Refused { buffer: picture.buffer.id });
    bench.device.renderer_turn(Instant::now());
    assert!(bench.device.scanouts[0].shown.is_none());
    assert_eq!(show(&mut bench, 5, 0), (Status::ErrUnspec as u32, Outcome::Answer));

    // One that the renderer does not give out is not shown.
    make(&mut bench, 6);
    let (OK, Outcome::Forwarded(token, _)) = show(&mut bench, 6, 0) else { panic!("it is not asked for") };
    assert_eq!(bench.asked(), ["Map(6)"]);
    assert_eq!(bench.answer(&[Event::Done(libc::EINVAL)]), [(token, Status::ErrInvalidParameter)]);
    assert!(bench.device.scanouts[0].shown.is_none());
    assert_eq!(show(&mut bench, 6, 0), (Status::ErrUnspec as u32, Outcome::Answer));
    assert!(bench.asked().is_empty());
}

#[test]
fn a_renderer_s_modifier_has_a_name() {
    let name = |modifier| Dmabuf { planes: Vec::new(), modifier, bottom_up: false }.modifier_name();
    assert_eq!([name(0), name(Dmabuf::UNKNOWN), name(TILED)], ["LINEAR", "INVALID", "0x0100000000000001"]);
}
