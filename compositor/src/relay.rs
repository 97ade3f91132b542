//! Threads that stand between peers of whom nothing is known and the shell's one loop.
//!
//! To receive, to close or to drop a descriptor of a stranger can take for ever (a file that its sender serves, a socket
//! that lingers), and so can the closing of a socket on which one waits unread. So the loop never has the socket of
//! a peer, but one side of a pair: a thread for each connection holds the other side and the peer's socket, passes bytes
//! on in both directions, asks of each descriptor what it is ([`describe`]), passes on what the shell takes, and closes
//! all else, and the socket, by itself. Who hangs it loses his own connection; the loop sees its end at once. Threads
//! that hang are counted by whom they are of ([`Relays::has_room`]).
//!
//! A thread has one piece each way in its hands and reads on when that is sent: who does not read, or is not read, makes
//! the other side wait, as without it. It sleeps while nothing comes, and ends with the connection. A peer that writes
//! byte by byte does not wake the loop for each: it is read at a [`pace`].

mod pace;
pub mod requests;

use crate::descriptors::{close_elsewhere, keep_a_clean_table};
use pace::Pace;
use phyllome_protocol::descriptor::{Kind, describe};
use requests::Requests;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, Shutdown, recvmsg, sendmsg, shutdown,
};
use rustix::time::Timespec;
use std::collections::BTreeMap;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::{ManuallyDrop, MaybeUninit};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Most bytes of one piece.
const PIECE: usize = 16 * 1024;
/// Most descriptors of one piece: as many as libwayland sends at once.
const MAX_FDS: usize = 28;
/// The kernel's own most (`SCM_MAX_FD`). With less room it would close the surplus itself, before anybody has seen it.
const ALL_FDS: usize = 253;
/// How long what was said in farewell may take to be sent.
const FAREWELL: Duration = Duration::from_secs(2);
/// Stack of a thread, in bytes.
const STACK: usize = 256 << 10;

/// Which descriptors a peer may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admits {
    /// None.
    Bytes,
    /// Those that requests of a guest's screen take: memory, dmabufs, timelines of fences.
    Pictures,
}

impl Admits {
    fn admits(self, fds: &[OwnedFd]) -> bool {
        match self {
            Self::Bytes => fds.is_empty(),
            Self::Pictures => fds.len() <= MAX_FDS && fds.iter().all(|fd| is_of_pictures(&describe(fd.as_fd()).kind)),
        }
    }
}

fn is_of_pictures(kind: &Kind) -> bool {
    match kind {
        Kind::Memory { .. } | Kind::Dmabuf { .. } | Kind::Timeline => true,
        Kind::Event | Kind::Unknown => false,
    }
}

/// The threads of connections of one kind.
#[derive(Clone, Debug)]
pub struct Relays {
    /// How many are closing what they hold, by whose they are. Usually that is over at once.
    closing: Arc<Mutex<BTreeMap<String, usize>>>,
    most: usize,
}

/// The shell's side of a connection.
#[derive(Debug)]
pub struct Relayed {
    /// Bytes, and descriptors that were admitted.
    pub stream: UnixStream,
    /// What became of the peer's side.
    pub signs: Signs,
}

/// What became of the peer's side of a connection.
#[derive(Clone, Debug, Default)]
pub struct Signs(Arc<(AtomicBool, AtomicBool)>);

impl Signs {
    /// It sent a descriptor that is not admitted, which ended the connection.
    pub fn is_refused(&self) -> bool {
        self.0.0.load(Ordering::Acquire)
    }

    /// All that will ever come of it has been passed on.
    pub fn is_drained(&self) -> bool {
        self.0.1.load(Ordering::Acquire)
    }
}

impl Relays {
    /// At most so many threads of one owner may hang before he gets no further connection.
    pub fn new(most: usize) -> Self {
        keep_a_clean_table();
        Self { closing: Arc::default(), most }
    }

    /// Whether `owner` may have one more connection.
    pub fn has_room(&self, owner: &str) -> bool {
        self.hanging(owner) < self.most
    }

    /// How many threads of `owner` are closing what they hold.
    pub fn hanging(&self, owner: &str) -> usize {
        self.count().get(owner).copied().unwrap_or(0)
    }

    fn count(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, usize>> {
        self.closing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stands between `peer` and the shell from now on. The error is the operating system's; `peer` is closed then.
    pub fn relay(&self, owner: &str, peer: UnixStream, admits: Admits) -> io::Result<Relayed> {
        let pair = UnixStream::pair().and_then(|(ours, theirs)| {
            [&ours, &theirs, &peer].iter().try_for_each(|socket| socket.set_nonblocking(true))?;
            Ok((ours, theirs))
        });
        let (stream, inner) = match pair {
            Ok(pair) => pair,
            Err(error) => {
                close_elsewhere(peer.into());
                return Err(error);
            }
        };
        let signs = Signs::default();
        let (relays, told, whose) = (self.clone(), signs.clone(), owner.to_owned());
        // Where no thread can be made, the peer's socket stays open: nobody is there who could wait for its end.
        let peer = ManuallyDrop::new(peer);
        let thread = std::thread::Builder::new().name(owner.to_owned()).stack_size(STACK);
        thread.spawn(move || {
            let peer = ManuallyDrop::into_inner(peer);
            let refused = pass_on(&peer, &inner, admits, &told, &whose);
            told.0.1.store(true, Ordering::Release);
            let _ = shutdown(&peer, Shutdown::Both);
            *relays.count().entry(whose.clone()).or_default() += 1;
            drop(inner);
            drop((refused, peer));
            let mut count = relays.count();
            match count.get_mut(&whose) {
                Some(count) if *count > 1 => *count -= 1,
                _ => drop(count.remove(&whose)),
            }
        })?;
        Ok(Relayed { stream, signs })
    }
}

/// What is on its way in one direction.
struct Lane {
    bytes: Vec<u8>,
    sent: usize,
    fds: Vec<OwnedFd>,
    /// The kernel had no descriptors left for some that came.
    lost: bool,
    /// More may come.
    open: bool,
}

impl Lane {
    fn new() -> Self {
        Self { bytes: Vec::with_capacity(PIECE), sent: 0, fds: Vec::new(), lost: false, open: true }
    }

    fn is_empty(&self) -> bool {
        self.sent >= self.bytes.len()
    }

    fn close(&mut self) {
        self.open = false;
        self.clear();
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.fds.clear();
        self.sent = 0;
    }

    /// What is waited for at the side that it comes from and at the one that it goes to.
    fn wants(&self) -> (PollFlags, PollFlags) {
        match (self.is_empty(), self.open) {
            (false, _) => (PollFlags::empty(), PollFlags::OUT),
            (true, true) => (PollFlags::IN, PollFlags::empty()),
            (true, false) => (PollFlags::empty(), PollFlags::empty()),
        }
    }

    /// Receives one piece.
    fn receive(&mut self, from: &UnixStream) {
        self.bytes.resize(PIECE, 0);
        self.sent = 0;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(ALL_FDS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = recvmsg(from, &mut [IoSliceMut::new(&mut self.bytes)], &mut control, RecvFlags::CMSG_CLOEXEC);
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(fds) = message {
                self.fds.extend(fds);
            }
        }
        match received {
            Ok(received) => {
                self.bytes.truncate(received.bytes);
                self.open = received.bytes > 0;
                self.lost = received.flags.contains(ReturnFlags::CTRUNC);
            }
            Err(error) => {
                self.bytes.clear();
                self.open = matches!(error, Errno::AGAIN | Errno::INTR);
            }
        }
    }

    /// Sends what the socket takes now. The error is that nobody is there any more.
    fn send(&mut self, to: &UnixStream) -> Result<(), Errno> {
        let fds: Vec<BorrowedFd<'_>> = self.fds.iter().map(AsFd::as_fd).collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(ALL_FDS))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() {
            control.push(SendAncillaryMessage::ScmRights(&fds));
        }
        let rest = self.bytes.get(self.sent..).unwrap_or_default();
        match sendmsg(to, &[IoSlice::new(rest)], &mut control, SendFlags::NOSIGNAL) {
            Ok(sent) => {
                self.fds.clear();
                self.sent += sent;
                Ok(())
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// Passes on until the shell has ended the connection. What the peer sent and is not admitted is still to be closed.
fn pass_on(peer: &UnixStream, shell: &UnixStream, admits: Admits, signs: &Signs, owner: &str) -> Vec<OwnedFd> {
    const READABLE: PollFlags = PollFlags::IN.union(PollFlags::HUP).union(PollFlags::ERR);
    const WRITABLE: PollFlags = PollFlags::OUT.union(PollFlags::HUP).union(PollFlags::ERR);
    let (mut to_shell, mut to_peer) = (Lane::new(), Lane::new());
    let (mut refused, mut deaf) = (Vec::new(), false);
    let mut requests = (admits == Admits::Pictures).then(Requests::default);
    let mut until: Option<Instant> = None;
    let mut pace = Pace::new(admits, Instant::now());
    while to_peer.open || !to_peer.is_empty() {
        let ((mut from_peer, into_shell), (from_shell, into_peer)) = (to_shell.wants(), to_peer.wants());
        let now = Instant::now();
        // One that has been read too often waits in its own socket, where what it writes becomes one piece.
        let pause = if from_peer.is_empty() { None } else { pace.pause(now) };
        if pause.is_some() {
            from_peer = PollFlags::empty();
        }
        // A shell that has gone is to be seen although a peer does not read what it said before.
        let gone = if to_peer.is_empty() || until.is_some() { PollFlags::empty() } else { PollFlags::RDHUP };
        let wants = [from_peer | into_peer, from_shell | into_shell | gone];
        // A side of which nothing is wanted would wake this thread by having gone.
        let mut sides: Vec<PollFd<'_>> = std::iter::zip([peer, shell], wants)
            .filter(|(_, wants)| !wants.is_empty())
            .map(|(socket, wants)| PollFd::new(socket, wants))
            .collect();
        let left = until.map(|until| until.saturating_duration_since(now));
        if left == Some(Duration::ZERO) {
            break;
        }
        let left = left.into_iter().chain(pause).min();
        let left = left.map(|left| Timespec { tv_sec: left.as_secs() as _, tv_nsec: left.subsec_nanos().into() });
        match poll(&mut sides, left.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => break,
        }
        let mut ready = sides.iter().map(PollFd::revents);
        let [peer_is, shell_is] =
            wants.map(|wants| if wants.is_empty() { PollFlags::empty() } else { ready.next().unwrap_or(wants) });

        // From the peer.
        let mut arrived = false;
        if from_peer.contains(PollFlags::IN) && peer_is.intersects(READABLE) {
            to_shell.receive(peer);
            pace.piece(Instant::now());
            if to_shell.lost || !admits.admits(&to_shell.fds) {
                refused.append(&mut to_shell.fds);
                to_shell.close();
                signs.0.0.store(true, Ordering::Release);
                if admits == Admits::Pictures {
                    tracing::warn!(
                        "the screen of {owner} is cut off: it sent a descriptor that is neither memory nor a dmabuf \
                         nor a timeline of fences, or too many"
                    );
                }
            }
            if requests.as_mut().is_some_and(|requests| requests.read(&to_shell.bytes).is_err()) {
                tracing::warn!("the screen of {owner} is cut off: it sent a request that cannot be read");
                to_shell.close();
            }
            arrived = !to_shell.is_empty();
            if !to_shell.open {
                signs.0.1.store(true, Ordering::Release);
                let _ = shutdown(shell, Shutdown::Write);
            }
        }
        if (arrived || into_shell.contains(PollFlags::OUT) && shell_is.intersects(WRITABLE))
            && to_shell.send(shell).is_err()
        {
            to_shell.close();
        }

        // From the shell.
        arrived = false;
        if from_shell.contains(PollFlags::IN) && shell_is.intersects(READABLE) {
            to_peer.receive(shell);
            if deaf {
                to_peer.clear();
            }
            arrived = !to_peer.is_empty();
            if !to_peer.open {
                to_shell.close();
            }
        }
        if (arrived || into_peer.contains(PollFlags::OUT) && peer_is.intersects(WRITABLE))
            && to_peer.send(peer).is_err()
        {
            // It may have said something before it went.
            deaf = true;
            to_peer.clear();
        }
        let has_gone = shell_is.intersects(PollFlags::RDHUP.union(PollFlags::HUP).union(PollFlags::ERR));
        if (!to_peer.open || has_gone) && until.is_none() {
            until = Some(Instant::now() + FAREWELL);
        }
    }
    refused
}

#[cfg(test)]
mod tests;
