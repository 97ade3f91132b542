//! Blobs whose memory is the renderer's: made, mapped through QEMU, which is played here, and lost.

use super::*;
use crate::gpu::shmem::{Answered, Channel};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, SendAncillaryBuffer, SendAncillaryMessage};
use std::io::{IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

const SIZE: u32 = 0x4000;
const HOST: u32 = 2;
const HOST_AND_GUEST: u32 = 3;
const MAPPABLE: u32 = 1;
const MAP: u32 = 9;
const UNMAP: u32 = 10;

/// A device with its channel to QEMU, and QEMU's end.
struct Rig {
    bench: Bench,
    channel: Channel,
    qemu: UnixStream,
}

fn rig() -> Rig {
    let bench = Bench::on(Transport::Generic, Quota::default());
    let (ours, qemu) = UnixStream::pair().unwrap();
    qemu.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut rig = Rig { bench, channel: Channel::new(ours.into()).unwrap(), qemu };
    rig.bench.context(1);
    rig
}

impl Rig {
    fn create(&mut self, id: u32, memory: u32, flags: u32, size: u32, entries: &[(u64, u32)]) -> (u32, Outcome) {
        let mut words = vec![id, memory, flags, entries.len() as u32, 77, 0, size, 0];
        words.extend(entries.iter().flat_map(|&(at, length)| [at as u32, 0, length, 0]));
        self.bench.send(cmd::RESOURCE_CREATE_BLOB, 0, 1, &words)
    }

    fn blob(&mut self, id: u32) {
        let made = self.create(id, HOST, MAPPABLE, SIZE, &[]);
        assert!(matches!(made, (OK, Outcome::Forwarded(..))), "{made:?}");
        let asked = self.bench.asked();
        self.bench.answer(&vec![Event::Done(0); asked.len()]);
    }

    fn map(&mut self, id: u32, offset: u64) -> (u32, Outcome) {
        self.bench.send(cmd::RESOURCE_MAP_BLOB, 0, 0, &[id, 0, offset as u32, (offset >> 32) as u32])
    }

    fn maps(&mut self, id: u32, offset: u64) -> Token {
        match self.map(id, offset) {
            (status, Outcome::Forwarded(token, _)) if status == Status::OkMapInfo as u32 => token,
            other => panic!("{other:?}"),
        }
    }

    /// The renderer gives memory of this size.
    fn gives(&mut self, size: u64) {
        let file = memfd_create("host", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
        rustix::fs::ftruncate(&file, size).unwrap();
        self.gives_file(&file, size);
    }

    /// The renderer gives this file for the blob that is asked for.
    fn gives_file(&mut self, file: impl AsFd, size: u64) {
        let asked = self.bench.asked();
        assert!(asked.last().unwrap().starts_with("Map("), "{asked:?}");
        let mut packet = Vec::new();
        assert!(wire::append(&mut packet, &Event::Mapped { size, cache: 1 }));
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let files = [file.as_fd()];
        assert!(control.push(SendAncillaryMessage::ScmRights(&files)));
        let renderer = &self.bench.renderer;
        rustix::net::sendmsg(renderer, &[IoSlice::new(&packet)], &mut control, SendFlags::empty()).unwrap();
    }

    fn turn(&mut self) -> Vec<(Token, Answered)> {
        let now = Instant::now();
        let done = self.bench.device.renderer_turn(now);
        let shmem = &mut self.bench.device.shmem;
        self.channel.ask(shmem).unwrap();
        let done = done.into_iter().map(|(token, status)| (token, Answered::Status(status)));
        done.chain(shmem.turn(now)).collect()
    }

    /// What QEMU is asked: the request, offset, length, and the file that comes with it.
    fn qemu_is_asked(&mut self) -> (u32, u64, u64, Option<OwnedFd>) {
        self.turn();
        let mut bytes = [0; 52];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let parts = &mut [IoSliceMut::new(&mut bytes)];
        let got = rustix::net::recvmsg(&self.qemu, parts, &mut control, RecvFlags::empty()).unwrap();
        assert_eq!(got.bytes, 52);
        let mut files = control.drain().filter_map(|part| match part {
            RecvAncillaryMessage::ScmRights(files) => Some(files),
            _ => None,
        });
        let file = files.next().and_then(|mut files| files.next());
        let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
        let long = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
        assert_eq!((word(4), word(8), bytes[12], long(20)), (9, 40, 1, 0), "flags, length, window, offset in the file");
        assert_eq!(long(44), u64::from(file.is_some()), "what is mapped can be written");
        (word(0), long(28), long(36), file)
    }

    fn qemu_says(&mut self, request: u32, result: u64) -> Vec<(Token, Answered)> {
        let words = [request, 5, 8, result as u32, (result >> 32) as u32];
        let bytes: Vec<u8> = words.into_iter().flat_map(u32::to_le_bytes).collect();
        self.qemu.write_all(&bytes).unwrap();
        self.channel.hear(&mut self.bench.device.shmem, Instant::now()).unwrap();
        self.turn()
    }

    /// Maps it, from the guest's command to its answer.
    fn mapped(&mut self, id: u32, offset: u64) -> OwnedFd {
        let token = self.maps(id, offset);
        self.gives(SIZE.into());
        let (request, at, length, file) = self.qemu_is_asked();
        assert_eq!((request, at, length), (MAP, offset, SIZE.into()));
        let file = file.expect("the memory comes along");
        // QEMU's memory table has it before or after QEMU says yes.
        assert!(self.bench.device.shmem.is_ours(&file, 0, SIZE.into()));
        assert_eq!(self.qemu_says(MAP, 0), [(token, Answered::MapInfo(1))]);
        file
    }

    fn unmap(&mut self, id: u32) -> (u32, Outcome) {
        self.bench.send(cmd::RESOURCE_UNMAP_BLOB, 0, 0, &[id, 0])
    }
}

#[test]
fn a_blob_is_mapped_once_the_renderer_and_qemu_have_said_so() {
    let mut rig = rig();
    rig.blob(5);
    let file = rig.mapped(5, 0x10000);
    let again = rig.map(5, 0x20000);
    assert_eq!(again, (Status::ErrUnspec as u32, Outcome::Answer), "mapped twice");
    let (OK, Outcome::Forwarded(token, _)) = rig.unmap(5) else { panic!("it is mapped") };
    let (request, at, length, none) = rig.qemu_is_asked();
    assert_eq!((request, at, length, none.is_none()), (UNMAP, 0x10000, SIZE.into(), true));
    assert!(rig.bench.device.shmem.is_ours(&file, 0, SIZE.into()), "QEMU may still have it in its table");
    assert_eq!(rig.qemu_says(UNMAP, 0), [(token, Answered::Status(Status::OkNoData))]);
    assert!(!rig.bench.device.shmem.is_ours(&file, 0, SIZE.into()));
    assert_eq!(rig.unmap(5), (Status::ErrUnspec as u32, Outcome::Answer), "unmapped twice");
    rig.mapped(5, 0x10000);
}

#[test]
fn a_mapping_that_no_table_shows_is_done_after_a_moment() {
    let mut rig = rig();
    rig.blob(5);
    let token = rig.maps(5, 0);
    rig.gives(SIZE.into());
    rig.qemu_is_asked();
    assert_eq!(rig.qemu_says(MAP, 0), []);
    let due = rig.bench.device.shmem.deadline().expect("it will be looked at again");
    assert_eq!(rig.bench.device.shmem.turn(due), [(token, Answered::MapInfo(1))]);
    assert_eq!(rig.bench.device.shmem.deadline(), None);
}

#[test]
fn places_that_are_wrong_or_taken_are_refused_before_anybody_is_asked() {
    let mut rig = rig();
    rig.blob(5);
    rig.blob(6);
    rig.mapped(5, 0x10000);
    let bad = (Status::ErrInvalidParameter as u32, Outcome::Answer);
    let window = crate::gpu::shmem::WINDOW;
    for offset in [1, 0x800, window, window - 0x1000, u64::MAX, !0xfff, 0x10000, 0x13000, 0xd000] {
        assert_eq!(rig.map(6, offset), bad, "{offset:#x}");
    }
    assert_eq!(rig.map(99, 0), (Status::ErrInvalidResourceId as u32, Outcome::Answer));
    let made = rig.create(7, HOST, 2, SIZE, &[]);
    assert_eq!((made.0, rig.map(7, 0)), (OK, bad), "it was not made to be mapped");
    let asked = rig.bench.asked();
    assert!(asked.iter().all(|request| !request.starts_with("Map(")), "{asked:?}");
    rig.bench.answer(&vec![Event::Done(0); asked.len()]);
    rig.mapped(6, 0x14000);
}

#[test]
fn what_the_renderer_or_qemu_refuses_leaves_the_place_free() {
    let mut rig = rig();
    rig.blob(5);
    let token = rig.maps(5, 0);
    rig.bench.asked();
    assert_eq!(rig.bench.answer(&[Event::Done(22)]), [(token, Status::ErrInvalidParameter)]);
    let token = rig.maps(5, 0);
    // Less than the blob has: QEMU's process would fall over the end.
    rig.gives(u64::from(SIZE) - 4096);
    assert_eq!(rig.turn(), [(token, Answered::Status(Status::ErrUnspec))]);
    let token = rig.maps(5, 0);
    rig.gives(SIZE.into());
    rig.qemu_is_asked();
    assert_eq!(rig.qemu_says(MAP, 1), [(token, Answered::Status(Status::ErrOutOfMemory))]);
    rig.mapped(5, 0);
}

#[test]
fn a_blob_that_goes_takes_its_mapping_along_whenever_it_goes() {
    let mut rig = rig();
    let unref = |rig: &mut Rig| rig.bench.forwarded(cmd::RESOURCE_UNREF, 0, 0, &[5, 0]);
    rig.blob(5);
    rig.mapped(5, 0);
    unref(&mut rig);
    assert_eq!(rig.qemu_is_asked().0, UNMAP);
    rig.qemu_says(UNMAP, 0);
    // While the renderer is asked.
    rig.bench.asked();
    rig.bench.answer(&[Event::Done(0)]);
    rig.blob(5);
    let token = rig.maps(5, 0);
    unref(&mut rig);
    rig.bench.device.renderer_turn(Instant::now());
    rig.bench.asked();
    rig.bench.answer(&[Event::Done(22), Event::Done(0)]);
    assert!(!rig.bench.device.shmem.is_at_qemu(token));
    // While QEMU is asked.
    rig.blob(5);
    let token = rig.maps(5, 0);
    rig.gives(SIZE.into());
    assert_eq!(rig.qemu_is_asked().0, MAP);
    unref(&mut rig);
    assert_eq!(rig.turn(), [(token, Answered::Status(Status::ErrUnspec))]);
    rig.qemu_says(MAP, 0);
    assert_eq!(rig.qemu_is_asked().0, UNMAP, "what QEMU has mapped meanwhile");
    assert_eq!(rig.qemu_says(UNMAP, 0), []);
}

#[test]
fn an_answer_of_qemu_s_is_one_to_what_it_was_asked_though_the_id_and_the_place_are_taken_again() {
    for answer in [0, 1] {
        let mut rig = rig();
        rig.blob(5);
        let former = rig.maps(5, 0);
        rig.gives(SIZE.into());
        assert_eq!(rig.qemu_is_asked().0, MAP);
        rig.bench.forwarded(cmd::RESOURCE_UNREF, 0, 0, &[5, 0]);
        assert_eq!(rig.turn(), [(former, Answered::Status(Status::ErrUnspec))]);
        rig.bench.asked();
        rig.bench.answer(&[Event::Done(0)]);
        rig.blob(5);
        let present = rig.maps(5, 0);
        rig.gives(SIZE.into());
        assert_eq!(rig.turn(), []);
        assert_eq!(rig.qemu_says(MAP, answer), [], "that was about the former one");
        assert_eq!(rig.bench.device.shmem.deadline(), None, "the present one is not asked for yet");
        assert_eq!(rig.qemu_is_asked().0, UNMAP, "before anything else is mapped there");
        assert_eq!(rig.qemu_says(UNMAP, answer), []);
        let (request, _, _, file) = rig.qemu_is_asked();
        assert!(request == MAP && rig.bench.device.shmem.is_ours(file.unwrap(), 0, SIZE.into()));
        assert_eq!(rig.qemu_says(MAP, 0), [(present, Answered::MapInfo(1))]);
        let (OK, Outcome::Forwarded(token, _)) = rig.unmap(5) else { panic!("it is mapped") };
        assert_eq!(rig.qemu_is_asked().0, UNMAP);
        assert_eq!(rig.qemu_says(UNMAP, 0), [(token, Answered::Status(Status::OkNoData))]);
    }
}

#[test]
fn what_goes_before_qemu_was_asked_is_not_asked_for() {
    let mut rig = rig();
    rig.blob(5);
    rig.blob(6);
    let first = rig.maps(5, 0);
    rig.gives(SIZE.into());
    let (_, _, _, file) = rig.qemu_is_asked();
    assert!(rig.bench.device.shmem.is_ours(file.unwrap(), 0, SIZE.into()));
    let second = rig.maps(6, 0x10000);
    rig.gives(SIZE.into());
    rig.turn();
    rig.bench.forwarded(cmd::RESOURCE_UNREF, 0, 0, &[6, 0]);
    assert_eq!(rig.turn(), [(second, Answered::Status(Status::ErrUnspec))]);
    assert_eq!(rig.qemu_says(MAP, 0), [(first, Answered::MapInfo(1))]);
    assert!(matches!(rig.unmap(5), (OK, Outcome::Forwarded(..))));
    let (request, at, ..) = rig.qemu_is_asked();
    assert_eq!((request, at), (UNMAP, 0), "nothing at the other's place");
}

#[test]
fn so_many_mappings_are_under_way_and_the_guest_s_next_command_waits() {
    let mut rig = rig();
    for id in 1..=64 {
        assert!(rig.bench.device.has_room(), "before {id}");
        rig.blob(id);
        rig.maps(id, u64::from(id) * 0x10000);
        rig.gives(SIZE.into());
        rig.turn();
    }
    assert!(!rig.bench.device.has_room());
    // Whichever way one ends there is room for another: mapped, not given out, or with its blob.
    let refuse = |rig: &mut Rig| {
        rig.bench.asked();
        assert_eq!(rig.bench.answer(&[Event::Done(22)]).len(), 1);
        rig.bench.forwarded(cmd::RESOURCE_UNREF, 0, 0, &[70, 0]);
        rig.bench.asked();
        rig.bench.answer(&[Event::Done(0)]);
    };
    let unref = |rig: &mut Rig| {
        rig.bench.forwarded(cmd::RESOURCE_UNREF, 0, 0, &[70, 0]);
    };
    let ends: [&dyn Fn(&mut Rig); 2] = [&refuse, &unref];
    let (_, _, _, file) = rig.qemu_is_asked();
    assert!(rig.bench.device.shmem.is_ours(file.unwrap(), 0, SIZE.into()));
    assert_eq!(rig.qemu_says(MAP, 0).len(), 1);
    assert!(rig.bench.device.has_room());
    for end in ends {
        rig.blob(70);
        rig.maps(70, 0);
        assert!(!rig.bench.device.has_room());
        end(&mut rig);
        assert!(rig.bench.device.has_room());
    }
}

#[test]
fn memory_that_the_renderer_was_lent_is_never_a_blob_s() {
    let mut rig = rig();
    let ram = memfd_create("ram", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
    rustix::fs::ftruncate(&ram, 0x1_0000).unwrap();
    let at = vm_memory::GuestAddress(0x800_0000);
    let file = vm_memory::FileOffset::new(std::fs::File::from(ram.try_clone().unwrap()), 0);
    let region = vm_memory::GuestRegionMmap::from_range(at, 0x1_0000, Some(file)).unwrap();
    rig.bench.memory.add(region, 1 << 50).unwrap();
    // With the backing of its texture, the renderer learns of guest memory; with a cursor, of memory of ours.
    rig.bench.texture(3);
    assert_eq!(rig.bench.status(cmd::UPDATE_CURSOR, 0, &[0, 0, 0, 0, 3, 0, 0, 0]), OK);
    assert_eq!(rig.bench.status(cmd::RESOURCE_CREATE_2D, 0, &[9, 2, 8, 8]), OK);
    rig.bench.forwarded(cmd::CTX_ATTACH_RESOURCE, 0, 1, &[9, 0]);
    let asked = rig.bench.asked().len();
    rig.bench.answer(&vec![Event::Done(0); asked]);
    let copy = |file: &std::fs::File| OwnedFd::from(file.try_clone().unwrap());
    let cursor = copy(rig.bench.device.three_d.as_ref().unwrap().cursors[&0].memory.memfd());
    let mirrored = copy(rig.bench.device.resources.mirrored_files().next().unwrap());
    rig.blob(5);
    for (what, lent) in [("guest memory", &ram), ("a cursor", &cursor), ("a mirror", &mirrored)] {
        let token = rig.maps(5, 0);
        rig.gives_file(lent, SIZE.into());
        assert_eq!(rig.turn(), [(token, Answered::Status(Status::ErrInvalidParameter))], "{what}");
        assert!(!rig.bench.device.shmem.is_ours(lent, 0, SIZE.into()), "{what} is what it was");
    }
    // What is mapped for one blob is not mapped for another.
    let file = rig.mapped(5, 0);
    rig.blob(6);
    let token = rig.maps(6, 0x10000);
    rig.gives_file(&file, SIZE.into());
    assert_eq!(rig.turn(), [(token, Answered::Status(Status::ErrUnspec))]);
    // And of a file only what was given is no memory of the guest's.
    let shmem = &mut rig.bench.device.shmem;
    assert!(shmem.is_ours(&file, 0x1000, 0x1000));
    for (offset, length) in [(0, u64::from(SIZE) + 1), (u64::from(SIZE), 1), (u64::MAX, 2)] {
        assert!(!shmem.is_ours(&file, offset, length), "{offset:#x} {length:#x}");
    }
}

#[test]
fn a_reset_unmaps_and_a_lost_channel_refuses() {
    let mut rig = rig();
    rig.blob(5);
    rig.mapped(5, 0);
    rig.bench.device.reset();
    assert_eq!(rig.qemu_is_asked().0, UNMAP);
    assert_eq!(rig.qemu_says(UNMAP, 1), [], "QEMU may have done so by itself");
    rig.bench.context(1);
    rig.blob(5);
    let token = rig.maps(5, 0);
    rig.gives(SIZE.into());
    rig.qemu_is_asked();
    let Rig { mut bench, channel, .. } = rig;
    channel.close(&mut bench.device.shmem, Instant::now());
    let refused = [(token, Answered::Status(Status::ErrOutOfMemory))];
    assert_eq!(bench.device.shmem.turn(Instant::now()), refused);
}

#[test]
fn what_qemu_says_unasked_or_wrongly_ends_the_channel() {
    for (asks, words) in
        [(false, [MAP, 5, 8, 0, 0]), (true, [UNMAP, 5, 8, 0, 0]), (true, [MAP, 1, 8, 0, 0]), (true, [MAP, 5, 9, 0, 0])]
    {
        let mut rig = rig();
        rig.blob(5);
        if asks {
            rig.maps(5, 0);
            rig.gives(SIZE.into());
            rig.qemu_is_asked();
        }
        let bytes: Vec<u8> = words.into_iter().flat_map(u32::to_le_bytes).collect();
        rig.qemu.write_all(&bytes).unwrap();
        assert!(rig.channel.hear(&mut rig.bench.device.shmem, Instant::now()).is_err(), "{words:?}");
    }
    let Rig { mut bench, mut channel, qemu } = rig();
    drop(qemu);
    assert!(channel.hear(&mut bench.device.shmem, Instant::now()).is_err());
}

#[test]
fn a_dead_renderer_s_memory_stays_mapped_and_its_blobs_are_lost() {
    let mut rig = rig();
    rig.blob(5);
    rig.blob(6);
    rig.mapped(5, 0);
    let waiting = rig.maps(6, 0x10000);
    rig.bench.asked();
    let done = rig.bench.dies();
    assert!(done.contains(&(waiting, Status::ErrUnspec)), "{done:?}");
    assert_eq!(rig.map(6, 0x10000), (Status::ErrInvalidResourceId as u32, Outcome::Answer));
    let (OK, Outcome::Forwarded(token, _)) = rig.unmap(5) else { panic!("it is still mapped") };
    assert_eq!(rig.qemu_is_asked().0, UNMAP);
    assert_eq!(rig.qemu_says(UNMAP, 0), [(token, Answered::Status(Status::OkNoData))]);
    for id in [5, 6] {
        assert_eq!(rig.bench.status(cmd::RESOURCE_UNREF, 0, &[id, 0]), OK);
    }
    assert_eq!(rig.bench.device.three_d.as_ref().unwrap().bytes(), 0);
}

#[test]
fn wrong_host_blobs_are_refused() {
    let mut rig = rig();
    let bad = Status::ErrInvalidParameter as u32;
    for (memory, flags, size, entries, expected) in [
        (HOST, MAPPABLE, 0, &[][..], bad),
        (HOST, MAPPABLE, 4095, &[], bad),
        (HOST, 8, 4096, &[], bad),
        (HOST, 0, 4096, &[(PIXELS, 4096)], bad),
        (HOST_AND_GUEST, 0, 4096, &[], bad),
        (HOST_AND_GUEST, 0, 8192, &[(PIXELS, 4096)], bad),
        (HOST_AND_GUEST, 0, 4096, &[(0x7000_0000, 4096)], bad),
    ] {
        assert_eq!(rig.create(5, memory, flags, size, entries), (expected, Outcome::Answer), "{memory} {size}");
    }
    let no_context = rig.bench.status(cmd::RESOURCE_CREATE_BLOB, 9, &[5, HOST, 0, 0, 0, 0, 4096, 0]);
    assert_eq!(no_context, Status::ErrInvalidContextId as u32);
    let over = rig.bench.status(cmd::RESOURCE_CREATE_BLOB, 1, &[5, HOST, 0, 0, 0, 0, 4096, 1]);
    assert_eq!(over, Status::ErrOutOfMemory as u32, "more than a guest may have");
    rig.blob(5);
    assert_eq!(rig.create(5, HOST, 0, 4096, &[]).0, Status::ErrInvalidResourceId as u32);
    let image = [0, 0, 8, 8, 0, 5, 8, 8, 2, 0, 32, 0, 0, 0, SIZE, 0, 0, 0];
    assert_eq!(rig.bench.status(cmd::SET_SCANOUT_BLOB, 0, &image), bad, "beyond its end");
    assert!(rig.bench.asked().is_empty(), "nobody was asked");
}

#[test]
fn guest_memory_that_a_context_uses_has_a_mirror() {
    let mut rig = rig();
    assert_eq!(rig.create(5, 1, 0, SIZE, &[(PIXELS, SIZE)]), (OK, Outcome::Answer));
    assert!(rig.bench.asked().is_empty(), "as long as no context uses it");
    for _ in 0..2 {
        rig.bench.forwarded(cmd::CTX_ATTACH_RESOURCE, 0, 1, &[5, 0]);
    }
    let asked = rig.bench.asked();
    assert_eq!(asked.iter().filter(|request| request.starts_with("CreateBlob { resource: 5, context: 0")).count(), 1);
    rig.bench.answer(&vec![Event::Done(0); asked.len()]);
    assert_eq!(rig.bench.status(cmd::RESOURCE_UNREF, 0, &[5, 0]), OK);
    assert_eq!(rig.bench.asked(), ["Unref(5)"]);
}

#[test]
fn a_changed_configuration_is_told() {
    let Rig { channel, mut qemu, .. } = rig();
    assert!(channel.config_changed().unwrap());
    let mut bytes = [0; 12];
    qemu.read_exact(&mut bytes).unwrap();
    assert_eq!(bytes, [2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
}
