//! A client whose renderer the test plays itself, on the other end of a socket pair; and the count of descriptors
//! around it.

use phyllome_guest_bridge::renderer::client::{Client, Patience, RendererEvent, Ticket};
use phyllome_guest_bridge::renderer::limits::MAX_PACKET;
use phyllome_guest_bridge::renderer::wire::{self, Event, Request};
use phyllome_test_support::process::own_descriptors;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Descriptors belong to the process, so those who count them do it one after another.
static ALONE: Mutex<()> = Mutex::new(());

/// Runs a test, after which as many descriptors are open as before.
pub fn leaking_nothing<T>(test: impl FnOnce() -> T) -> T {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    // What the first runtime of a process opens stays for all later ones.
    block_on(async {});
    let before = own_descriptors();
    let result = test();
    until("the descriptors to be closed", || own_descriptors() <= before);
    result
}

/// Waits for a condition; what is waited for happens in another process or thread.
pub fn until(what: &str, holds: impl FnMut() -> bool) {
    phyllome_test_support::wait::until(what, Duration::from_secs(20), holds);
}

pub fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

/// The packet of these events.
pub fn packet(events: &[Event<'_>]) -> Vec<u8> {
    let mut packet = Vec::new();
    assert!(events.iter().all(|event| wire::append(&mut packet, event)));
    packet
}

/// The events of a good start.
pub const HELLO: [Event<'_>; 2] =
    [Event::Capset { id: 2, version: 1, data: &[7; 24] }, Event::Ready { driver: "a stand-in" }];

/// Memory of `size` bytes that can be sealed.
pub fn memory(size: u64) -> OwnedFd {
    phyllome_test_support::memory::zeros(size).unwrap()
}

/// The renderer's ends of the connections that were made, the present one last.
#[derive(Clone, Default)]
pub struct Ends(Arc<Mutex<Vec<OwnedFd>>>);

impl Ends {
    /// Makes a connection on which the other end has said `packets` already.
    pub fn connect(&self, packets: &[Vec<u8>]) -> std::io::Result<OwnedFd> {
        let (here, there) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        for packet in packets {
            send_packet(&there, packet, &[]).unwrap();
        }
        self.0.lock().unwrap().push(there);
        Ok(here)
    }

    /// Uses the present end.
    pub fn with<T>(&self, use_it: impl FnOnce(&OwnedFd) -> T) -> T {
        use_it(self.0.lock().unwrap().last().unwrap())
    }

    pub fn close(&self) {
        self.0.lock().unwrap().pop();
    }
}

pub fn send_packet(socket: &OwnedFd, bytes: &[u8], files: &[BorrowedFd<'_>]) -> rustix::io::Result<usize> {
    let message = SendAncillaryMessage::ScmRights(files);
    let mut space = vec![MaybeUninit::uninit(); message.size()];
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(files.is_empty() || control.push(message));
    sendmsg(socket, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL | SendFlags::DONTWAIT)
}

/// A client and what its renderer would hold. Time is the test's own.
pub struct Stage {
    pub client: Client,
    pub ends: Ends,
    pub now: Instant,
}

impl Stage {
    /// Ready.
    pub fn new() -> Self {
        Self::greeted_by(vec![packet(&HELLO)]).unwrap()
    }

    /// With a renderer that says `packets` at each start.
    pub fn greeted_by(packets: Vec<Vec<u8>>) -> Result<Self, String> {
        let ends = Ends::default();
        let connector = ends.clone();
        let connect = move || connector.connect(&packets);
        let starting = Client::over(connect, Patience::default()).unwrap();
        let client = block_on(starting.ready())?;
        Ok(Self { client, ends, now: Instant::now() })
    }

    /// Says something as the renderer.
    pub fn say(&self, bytes: &[u8], files: &[BorrowedFd<'_>]) {
        self.ends.with(|end| send_packet(end, bytes, files)).unwrap();
    }

    pub fn event(&self, event: Event<'_>) {
        self.say(&packet(&[event]), &[]);
    }

    pub fn turn(&mut self) -> Vec<RendererEvent> {
        self.client.turn(self.now)
    }

    /// Lets time pass. What happens then.
    pub fn after(&mut self, seconds: f64) -> Vec<RendererEvent> {
        self.now += Duration::from_secs_f64(seconds);
        self.turn()
    }

    /// A request that asks for nothing in particular.
    pub fn ask(&mut self) -> Ticket {
        self.client.send(&Request::DestroyContext(1), &[]).unwrap()
    }

    /// The next turn ends the renderer, and says so once. Gives the sentence.
    pub fn dies(&mut self) -> String {
        let mut events = self.turn();
        let last = events.pop();
        let Some(RendererEvent::Died { why, .. }) = last else { panic!("{last:?} instead of a death") };
        assert!(!events.iter().any(|one| matches!(one, RendererEvent::Died { .. })));
        assert!(self.turn().is_empty() && !self.client.is_alive() && self.client.deadline().is_none());
        why
    }

    /// Everything that phyllome-guest has sent: packets, and how many descriptors came with each.
    pub fn sent(&mut self) -> Vec<(Vec<u8>, usize)> {
        let mut all = Vec::new();
        loop {
            self.client.flush(self.now);
            let some = self.ends.with(receive_all);
            if some.is_empty() {
                return all;
            }
            all.extend(some);
        }
    }
}

fn receive_all(socket: &OwnedFd) -> Vec<(Vec<u8>, usize)> {
    let mut all = Vec::new();
    loop {
        let mut bytes = vec![0; 2 * MAX_PACKET];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(253))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
        let Ok(message) = recvmsg(socket, &mut [IoSliceMut::new(&mut bytes)], &mut control, flags) else {
            return all;
        };
        if message.bytes == 0 {
            return all;
        }
        bytes.truncate(message.bytes);
        let files = control.drain().map(|part| match part {
            RecvAncillaryMessage::ScmRights(files) => files.count(),
            _ => 0,
        });
        all.push((bytes, files.sum()));
    }
}

/// Borrows many.
pub fn borrowed(files: &[OwnedFd]) -> Vec<BorrowedFd<'_>> {
    files.iter().map(AsFd::as_fd).collect()
}
