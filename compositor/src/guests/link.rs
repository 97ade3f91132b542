//! The control connection to one phyllome-guest, without the loop: bytes become checked events, requests wait in a
//! bounded queue.
//!
//! The peer is hostile. It must be a process of this user, greet first and in time, stay below a rate of messages, and
//! send nothing but messages: anything else ends the connection. Nothing here blocks: its own socket is with a thread
//! ([`relay`](crate::relay)), to which alone it can send descriptors.

use super::process::Process;
use crate::bucket::Bucket;
use crate::descriptors::close_elsewhere;
use crate::outbox::Outbox;
use crate::relay::{Admits, Relays, Signs};
use phyllome_protocol::GuestName;
use phyllome_protocol::control::{FromGuest, Report, Request, ToGuest, VERSION};
use phyllome_protocol::framing::{Decoder, FramingError};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use rustix::process::Pid;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long a peer may take to greet.
pub const GREETING: Duration = Duration::from_secs(5);
/// Most messages at once, and most in a second in the long run.
const BURST: f64 = 500.0;
const PER_SECOND: f64 = 200.0;
/// Most bytes at once, and most in a second in the long run: a report is some hundred bytes.
const BYTES_AT_ONCE: f64 = 2.0 * 1024.0 * 1024.0;
const BYTES_PER_SECOND: f64 = 1024.0 * 1024.0;
/// Messages that one request may lead to, beyond those: a report, an answer, and one to spare.
const PER_REQUEST: f64 = 3.0;

/// Why the socket of a guest cannot be dialled.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// There is no socket, or nobody listens (yet, or any more).
    #[error("nobody listens on its control socket")]
    Nobody,
    /// The threads of connections before this one are still closing what was sent on them.
    #[error("its connections before this one hang in what was sent on them")]
    Hanging,
    /// Somebody else listens.
    #[error("its control socket belongs to user {0}, not to you")]
    Stranger(u32),
    /// Anything else.
    #[error("its control socket cannot be dialled: {0}")]
    Io(#[from] rustix::io::Errno),
}

/// Why a connection is at its end.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The peer closed it.
    #[error("it closed its control connection")]
    Closed,
    /// The peer did something that it must not.
    #[error("its control connection was closed, because {0}")]
    Misbehaved(String),
}

impl From<FramingError> for LinkError {
    fn from(error: FramingError) -> Self {
        match error {
            FramingError::Closed | FramingError::Io(_) => Self::Closed,
            FramingError::Json(_) => Self::Misbehaved("it sent something that is no message".to_owned()),
            FramingError::LineTooLong | FramingError::TooManyFds => Self::Misbehaved(error.to_string()),
        }
    }
}

/// What the peer said.
#[derive(Debug, PartialEq)]
pub enum LinkEvent {
    /// It greeted; comes first and once.
    Greeted,
    /// How the guest is.
    Report(Box<Report>),
    /// The answer to the request with this id.
    Answer {
        /// The id.
        id: u64,
        /// `Err`: refused, with its reason.
        result: Result<(), String>,
    },
}

/// One connection.
#[derive(Debug)]
pub struct Link {
    stream: UnixStream,
    signs: Signs,
    peer: Pid,
    /// The process that listens, until it is taken.
    process: Option<Process>,
    decoder: Decoder,
    out: Outbox,
    greeted: bool,
    messages: Bucket,
    bytes: Bucket,
    /// Bytes that were counted.
    counted: u64,
}

impl Link {
    /// Connects without waiting, with a thread of `relays` in between.
    pub fn dial(path: &Path, name: &GuestName, relays: &Relays, now: Instant) -> Result<Self, DialError> {
        use rustix::io::Errno;
        if !relays.has_room(name.as_str()) {
            return Err(DialError::Hanging);
        }
        let socket = rustix::net::socket_with(
            AddressFamily::UNIX,
            SocketType::STREAM,
            SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
            None,
        )?;
        match rustix::net::connect(&socket, &SocketAddrUnix::new(path)?) {
            Ok(()) => {
                let socket = UnixStream::from(socket);
                let peer = match peer_of(&socket) {
                    Ok(peer) => peer,
                    Err(error) => {
                        close_elsewhere(socket.into());
                        return Err(error);
                    }
                };
                // Asked of the peer's own socket: at the relay's stands this process.
                let process = Process::adopt(&socket, peer).ok();
                let relayed = relays.relay(name.as_str(), socket, Admits::Bytes);
                let relayed = relayed.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::AGAIN))?;
                Ok(Self::new(relayed.stream, relayed.signs, (peer, process), now))
            }
            Err(Errno::NOENT | Errno::CONNREFUSED | Errno::AGAIN) => Err(DialError::Nobody),
            Err(error) => Err(error.into()),
        }
    }

    /// Over a stream that is connected already.
    #[cfg(test)]
    fn over(stream: UnixStream, now: Instant) -> Result<Self, DialError> {
        let peer = peer_of(&stream)?;
        let process = Process::adopt(&stream, peer).ok();
        rustix::io::ioctl_fionbio(&stream, true)?;
        Ok(Self::new(stream, Signs::default(), (peer, process), now))
    }

    fn new(stream: UnixStream, signs: Signs, (peer, process): (Pid, Option<Process>), now: Instant) -> Self {
        Self {
            stream,
            signs,
            peer,
            process,
            decoder: Decoder::new(),
            out: Outbox::default(),
            greeted: false,
            messages: Bucket::new(BURST, PER_SECOND, now),
            bytes: Bucket::new(BYTES_AT_ONCE, BYTES_PER_SECOND, now),
            counted: 0,
        }
    }

    /// The socket, to be watched.
    pub fn stream(&self) -> &UnixStream {
        &self.stream
    }

    /// The number of the process that listens, as the kernel tells it.
    pub fn peer(&self) -> Pid {
        self.peer
    }

    /// The process that listens, as the kernel tells it. Once; `None` also if it cannot be watched.
    pub fn take_process(&mut self) -> Option<Process> {
        self.process.take()
    }

    /// Whether all that the peer will ever say can be received now.
    pub fn is_drained(&self) -> bool {
        self.signs.is_drained()
    }

    /// Whether the peer has greeted.
    pub fn greeted(&self) -> bool {
        self.greeted
    }

    /// Receives once and returns what is complete, with the error that ends the connection after it.
    pub fn receive(&mut self, now: Instant) -> (Vec<LinkEvent>, Option<LinkError>) {
        let mut events = Vec::new();
        let error = self.receive_into(&mut events, now).err();
        (events, error)
    }

    fn receive_into(&mut self, events: &mut Vec<LinkEvent>, now: Instant) -> Result<(), LinkError> {
        let received = self.decoder.receive(&self.stream);
        // Nobody sends descriptors to the shell; what came is with the thread.
        if received.is_err() && self.signs.is_refused() {
            return Err(LinkError::Misbehaved("it sent a file descriptor that nobody asked for".to_owned()));
        }
        received?;
        let received = self.decoder.received();
        let bytes = received.saturating_sub(std::mem::replace(&mut self.counted, received));
        if !self.bytes.take(bytes as f64, now) {
            return Err(LinkError::Misbehaved("it sent more than anyone can read".to_owned()));
        }
        while let Some(message) = self.decoder.next_message::<FromGuest>()? {
            if !self.messages.take(1.0, now) {
                return Err(LinkError::Misbehaved("it sent messages faster than anyone can read".to_owned()));
            }
            events.push(self.event(message)?);
        }
        Ok(())
    }

    fn event(&mut self, message: FromGuest) -> Result<LinkEvent, LinkError> {
        let bad = |text: &str| Err(LinkError::Misbehaved(text.to_owned()));
        match (message, self.greeted) {
            (FromGuest::Hello { version, .. }, false) if version == VERSION => {
                self.greeted = true;
                Ok(LinkEvent::Greeted)
            }
            (FromGuest::Hello { version, .. }, false) => bad(&format!(
                "it is of another release than this shell (its control messages have version {version}, not {VERSION})"
            )),
            (FromGuest::Hello { .. }, true) => bad("it greeted twice"),
            (_, false) => bad("it did not greet first"),
            (FromGuest::Report(report), true) => Ok(LinkEvent::Report(Box::new(report))),
            (FromGuest::Done { id }, true) => Ok(LinkEvent::Answer { id, result: Ok(()) }),
            (FromGuest::Refused { id, reason }, true) => Ok(LinkEvent::Answer { id, result: Err(reason) }),
        }
    }

    /// Queues a request and sends what the socket takes. `Ok(false)`: something waits for the socket.
    pub fn send(&mut self, id: u64, request: Request, fd: Option<OwnedFd>) -> Result<bool, LinkError> {
        let full = |error: crate::outbox::Full| LinkError::Misbehaved(error.to_string());
        self.out.push(&ToGuest { id, request }, fd).map_err(full)?;
        self.messages.add(PER_REQUEST, 2.0 * BURST);
        self.flush()
    }

    /// Sends what the socket takes. `Ok(true)`: nothing waits any more.
    pub fn flush(&mut self) -> Result<bool, LinkError> {
        Ok(self.out.flush(&self.stream)?)
    }
}

/// The process that listens, if it is this user's.
fn peer_of(stream: &UnixStream) -> Result<Pid, DialError> {
    let peer = rustix::net::sockopt::socket_peercred(stream)?;
    if peer.uid == rustix::process::geteuid() { Ok(peer.pid) } else { Err(DialError::Stranger(peer.uid.as_raw())) }
}

#[cfg(test)]
#[path = "link_tests.rs"]
mod tests;
