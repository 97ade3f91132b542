//! One connection of the command-line tool, without the loop: lines become commands, replies wait in a bounded queue.
//!
//! The peer is a process of this user, but may be broken: it is cut off for an endless line, for what is no command,
//! for descriptors, and when it does not read.

use crate::outbox::{Full, Outbox};
use crate::relay::{Relayed, Signs};
use phyllome_protocol::framing::{Decoder, FramingError};
use phyllome_protocol::shell::{Command, Event, Reply};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

/// Why a connection is at its end.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// It failed, or carried what is no command.
    #[error("{0}")]
    Framing(#[from] FramingError),
    /// It does not read.
    #[error("{0}")]
    Full(#[from] Full),
    /// It sent a descriptor.
    #[error("the other side sent a file descriptor that nobody asked for")]
    Descriptor,
    /// The peer is another user.
    #[error("user {0} may not use this socket")]
    Stranger(u32),
}

/// One connection.
#[derive(Debug)]
pub struct Client {
    stream: UnixStream,
    signs: Signs,
    decoder: Decoder,
    out: Outbox,
    /// A command is being carried out; the next one waits.
    pub busy: bool,
    /// It gets events and may ask nothing any more.
    pub subscriber: bool,
}

impl Client {
    /// Over the shell's side of a connection that was accepted.
    pub fn new(connection: Relayed) -> Self {
        let Relayed { stream, signs } = connection;
        Self { stream, signs, decoder: Decoder::new(), out: Outbox::default(), busy: false, subscriber: false }
    }

    /// Whether who has connected may: only this user.
    pub fn check(stream: &UnixStream) -> Result<(), ClientError> {
        let peer = rustix::net::sockopt::socket_peercred(stream).map_err(FramingError::Io)?;
        if peer.uid == rustix::process::geteuid() { Ok(()) } else { Err(ClientError::Stranger(peer.uid.as_raw())) }
    }

    /// The socket, to be watched.
    pub fn stream(&self) -> &UnixStream {
        &self.stream
    }

    /// Receives once.
    pub fn receive(&mut self) -> Result<(), ClientError> {
        let received = self.decoder.receive(&self.stream);
        // What came is with the thread.
        if received.is_err() && self.signs.is_refused() {
            return Err(ClientError::Descriptor);
        }
        received?;
        if self.subscriber {
            // Nobody reads what a subscriber says; kept, it would grow without bound.
            self.decoder = Decoder::new();
        }
        Ok(())
    }

    /// The next whole command, unless one is being carried out or an answer still waits for the socket.
    pub fn next_command(&mut self) -> Result<Option<Command>, ClientError> {
        if self.busy || self.subscriber || !self.out.is_empty() {
            return Ok(None);
        }
        Ok(self.decoder.next_message()?)
    }

    /// Queues a reply and sends what the socket takes. `Ok(false)`: something waits for the socket.
    pub fn reply(&mut self, reply: &Reply, fd: Option<OwnedFd>) -> Result<bool, ClientError> {
        self.busy = false;
        self.out.push(reply, fd)?;
        self.flush()
    }

    /// The same for an event.
    pub fn event(&mut self, event: &Event) -> Result<bool, ClientError> {
        self.out.push(event, None)?;
        self.flush()
    }

    /// Whether the next thing to do is to read. Answers come first; a subscriber is read only to see that it goes.
    pub fn may_read(&self) -> bool {
        self.subscriber || !self.busy && self.out.is_empty()
    }

    /// Sends what the socket takes. `Ok(true)`: nothing waits any more.
    pub fn flush(&mut self) -> Result<bool, ClientError> {
        Ok(self.out.flush(&self.stream)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use phyllome_protocol::framing::{self, MAX_LINE};
    use std::io::Write;

    fn pair() -> (Client, UnixStream) {
        let (here, there) = UnixStream::pair().unwrap();
        there.set_nonblocking(true).unwrap();
        here.set_nonblocking(true).unwrap();
        (Client::new(Relayed { stream: here, signs: Signs::default() }), there)
    }

    #[test]
    fn one_command_at_a_time() {
        let (mut client, there) = pair();
        framing::send_blocking(&there, &Command::Status, &[]).unwrap();
        framing::send_blocking(&there, &Command::PauseAll, &[]).unwrap();
        client.receive().unwrap();
        assert_eq!(client.next_command().unwrap(), Some(Command::Status));
        client.busy = true;
        assert_eq!(client.next_command().unwrap(), None);
        client.reply(&Reply::Done, None).unwrap();
        assert_eq!(client.next_command().unwrap(), Some(Command::PauseAll));
        let reply: Reply = framing::receive_blocking(&there, &mut Decoder::new()).unwrap();
        assert_eq!(reply, Reply::Done);
    }

    #[test]
    fn an_endless_line_and_what_is_no_command_end_the_connection() {
        let endless = vec![b'x'; MAX_LINE * 2];
        let unknown = b"{\"command\":\"format-disk\"}\n".to_vec();
        let bad_name = b"{\"command\":\"start\",\"name\":\"../x\"}\n".to_vec();
        let deep = format!("{}\n", "[".repeat(100_000)).into_bytes();
        for bad in [endless, unknown, bad_name, deep, b"\xff\n".to_vec()] {
            let (mut client, mut there) = pair();
            let mut rest = &bad[..];
            let ended = (0..10_000).any(|_| {
                rest = &rest[there.write(rest).unwrap_or(0)..];
                client.receive().is_err() || client.next_command().is_err()
            });
            assert!(ended);
        }
    }

    #[test]
    fn what_a_subscriber_says_is_not_kept() {
        let (mut client, there) = pair();
        client.subscriber = true;
        framing::send_blocking(&there, &Command::Status, &[]).unwrap();
        client.receive().unwrap();
        client.subscriber = false;
        assert_eq!(client.next_command().unwrap(), None);
        framing::send_blocking(&there, &Command::PauseAll, &[]).unwrap();
        client.receive().unwrap();
        assert_eq!(client.next_command().unwrap(), Some(Command::PauseAll));
    }

    #[test]
    fn a_subscriber_that_does_not_read_is_cut_off() {
        let (mut client, _there) = pair();
        client.subscriber = true;
        let event = Event::Focus { name: None };
        assert!((0..100_000).any(|_| client.event(&event).is_err()));
    }
}
