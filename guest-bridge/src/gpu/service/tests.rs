//! A queue that stops and goes on while QEMU, which is played here, owes an answer; and what QEMU gives to wake with.

use super::*;
use crate::frames::TO_SCREEN_DEPTH;
use crate::gpu::Transport;
use crate::gpu::memory::tests::memory;
use crate::gpu::shmem::{Shmem, WINDOW};
use rustix::event::{EventfdFlags, eventfd};
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use vhost::vhost_user::VhostUserBackendReqHandlerMut;
use vm_memory::Bytes;

const TABLE: u64 = 0x1000;
const AVAILABLE: u64 = 0x2000;
const USED: u64 = 0x3000;
const RESPONSE: u64 = 0x4000;
const MAP: u32 = 9;
const UNMAP: u32 = 10;
/// What waits for QEMU.
const TOKEN: Token = Token(7);
const RESOURCE: u32 = 5;
const SIZE: u64 = 0x1000;

struct Rig {
    service: Service,
    qemu: UnixStream,
    now: Instant,
}

impl Rig {
    /// The driver has made one command available, which was taken.
    fn new() -> Self {
        let config = DeviceConfig { transport: Transport::Generic, ..DeviceConfig::default() };
        let epoll = Arc::new(epoll::create(epoll::CreateFlags::CLOEXEC).unwrap());
        let (to_screen, _screen) = tokio::sync::mpsc::channel(TO_SCREEN_DEPTH);
        let report = Reporting::begin(crate::frames::SharedGpuReport::default());
        let mut service = Service::new(&config, None, epoll, to_screen, report).unwrap();
        service.memory = memory(&[(0, 0x1_0000)]);
        // As with a renderer, which no test here asks for anything.
        service.device.shmem = Shmem::new(WINDOW);
        let (ours, qemu) = UnixStream::pair().unwrap();
        qemu.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        service.set_channel(ours.into());
        let mut rig = Self { service, qemu, now: Instant::now() };
        rig.write(AVAILABLE + 2, &1u16.to_le_bytes());
        rig.starts(1);
        rig
    }

    fn write(&self, at: u64, bytes: &[u8]) {
        self.service.memory.map().write_slice(bytes, GuestAddress(at)).unwrap();
    }

    fn read<const N: usize>(&self, at: u64) -> [u8; N] {
        let mut bytes = [0; N];
        self.service.memory.map().read_slice(&mut bytes, GuestAddress(at)).unwrap();
        bytes
    }

    fn starts(&mut self, base: u16) {
        let ring = &mut self.service.rings[0];
        assert!(
            ring.set_size(4) && ring.set_addresses(GuestAddress(TABLE), GuestAddress(AVAILABLE), GuestAddress(USED))
        );
        ring.set_next_available(base);
        ring.set_enabled(true);
        ring.set_kick(Some(eventfd(0, EventfdFlags::CLOEXEC).unwrap()));
        assert!(self.service.try_start(0));
        self.service.end_round(self.now);
    }

    /// The command is one that waits for QEMU to map this.
    fn maps(&mut self) {
        let shmem = &mut self.service.device.shmem;
        let range = shmem.place(RESOURCE, 0, SIZE).unwrap();
        shmem.fetched(RESOURCE, range, TOKEN);
        shmem.map(RESOURCE, TOKEN, phyllome_test_support::memory::sealed(SIZE).unwrap(), SIZE, 1);
        self.forwarded();
    }

    fn forwarded(&mut self) {
        self.write(TABLE, &RESPONSE.to_le_bytes());
        self.write(TABLE + 8, &[32, 0, 0, 0, 2, 0, 0, 0]);
        let table = self.service.rings[0].table();
        self.service.chain.walk(&self.service.memory, table, 0, false).unwrap();
        let place = self.service.chain.response_place();
        let fence = Fence { head: 0, length: 24 };
        let forwarded = Forwarded { fence, header: Header::default(), place, then: Waits::NOTHING };
        self.service.forwarded.insert(TOKEN, forwarded);
        self.service.end_round(self.now);
    }

    /// QEMU reads what it is asked and says yes (0) or no.
    fn qemu_says(&mut self, request: u32, answer: u64) {
        let mut asked = [0; 52];
        self.qemu.read_exact(&mut asked).unwrap();
        assert_eq!(asked[..4], request.to_le_bytes());
        let head = [request, 5, 8].map(u32::to_le_bytes).concat();
        self.qemu.write_all(&[&head[..], &answer.to_le_bytes()].concat()).unwrap();
        self.service.channel_readable();
        self.service.end_round(self.now);
    }

    /// How many commands came back.
    fn used(&self) -> u16 {
        u16::from_le_bytes(self.read(USED + 2))
    }

    fn status(&self) -> u32 {
        u32::from_le_bytes(self.read(RESPONSE))
    }

    /// The time that a mapping may take to be seen is over.
    fn settles(&mut self) {
        self.now += Duration::from_secs(1);
        self.service.end_round(self.now);
    }
}

#[test]
fn a_mapping_that_qemu_owes_when_the_queue_stops_is_answered_as_qemu_says_when_it_goes_on() {
    for (answer, status) in [(0, Status::OkMapInfo), (1, Status::ErrOutOfMemory)] {
        for while_stopped in [true, false] {
            let mut rig = Rig::new();
            rig.maps();
            let base = rig.service.stop(0);
            assert_eq!((base, rig.used()), (1, 0), "nobody knows yet what becomes of it");
            if while_stopped {
                rig.qemu_says(MAP, answer);
                rig.settles();
                assert_eq!(rig.used(), 0, "nothing is given back on a queue that stands");
                assert_eq!(rig.service.end_round(rig.now), None, "and nothing is to be looked at");
            }
            rig.starts(base);
            if !while_stopped {
                assert_eq!(rig.used(), 0);
                rig.qemu_says(MAP, answer);
            }
            rig.settles();
            assert_eq!((rig.used(), rig.status()), (1, status as u32));
        }
    }
}

#[test]
fn what_qemu_owes_to_a_driver_is_not_answered_to_the_next() {
    let mut rig = Rig::new();
    rig.maps();
    rig.service.stop(0);
    rig.write(AVAILABLE + 2, &[0; 2]);
    rig.starts(0);
    rig.qemu_says(MAP, 0);
    rig.qemu_says(UNMAP, 0);
    rig.settles();
    assert_eq!((rig.used(), rig.status()), (0, 0));
    assert!(rig.service.forwarded.is_empty());
}

#[test]
fn an_unmapping_that_qemu_owes_when_the_queue_stops_is_answered_when_it_goes_on() {
    let mut rig = Rig::new();
    rig.maps();
    rig.qemu_says(MAP, 0);
    rig.settles();
    assert_eq!(rig.used(), 1);
    assert!(rig.service.device.shmem.unmap(RESOURCE, TOKEN));
    rig.forwarded();
    let base = rig.service.stop(0);
    assert_eq!(rig.used(), 1, "it is mapped still");
    rig.starts(base);
    assert_eq!(rig.used(), 1);
    rig.qemu_says(UNMAP, 0);
    assert_eq!(rig.used(), 2);
}

#[test]
fn what_is_no_eventfd_wakes_nobody() {
    let mut rig = Rig::new();
    let event = || eventfd(0, EventfdFlags::CLOEXEC).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let others = || -> [OwnedFd; 4] {
        [
            rustix::pipe::pipe().unwrap().1,
            UnixStream::pair().unwrap().0.into(),
            phyllome_test_support::memory::sealed(SIZE).unwrap(),
            File::create(folder.path().join("file")).unwrap().into(),
        ]
    };
    type Set = fn(&mut Service, u8, Option<File>) -> vhost::vhost_user::Result<()>;
    let all: [Set; 3] = [Service::set_vring_kick, Service::set_vring_call, Service::set_vring_err];
    for set in all {
        assert!(set(&mut rig.service, 1, Some(event().into())).is_ok() && set(&mut rig.service, 1, None).is_ok());
        for other in others() {
            assert!(set(&mut rig.service, 1, Some(other.into())).is_err());
        }
    }
}
