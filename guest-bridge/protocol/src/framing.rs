//! JSON lines with file descriptors over a Unix stream socket.
//!
//! The peer is hostile: a line longer than [`MAX_LINE`], more descriptors than [`MAX_FDS`] waiting, bytes that are not
//! UTF-8 JSON and truncated control data are errors, after which the connection is to be closed.
//!
//! Descriptors that nobody takes are closed with the [`Decoder`], which can take for ever for a stranger's: the shell's
//! loop never receives from a stranger's socket itself, but from a thread's that lets none through.

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags,
};
use serde::{Serialize, de::DeserializeOwned};
use std::collections::VecDeque;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Longest line, in bytes, without its newline.
pub const MAX_LINE: usize = 256 * 1024;

/// Most descriptors that wait to be taken.
pub const MAX_FDS: usize = 4;

/// Why a connection cannot be used any longer.
#[derive(Debug, thiserror::Error)]
pub enum FramingError {
    /// The socket failed.
    #[error("the socket failed: {0}")]
    Io(#[from] rustix::io::Errno),
    /// The peer closed the connection.
    #[error("the other side closed the connection")]
    Closed,
    /// A line is longer than [`MAX_LINE`].
    #[error("a line is longer than {MAX_LINE} bytes")]
    LineTooLong,
    /// More than [`MAX_FDS`] descriptors, or control data that was cut off.
    #[error("too many file descriptors came with a line")]
    TooManyFds,
    /// A line is not the JSON that is expected here.
    #[error("a line is not a message: {0}")]
    Json(#[from] serde_json::Error),
}

/// Collects bytes and descriptors and cuts them into messages.
#[derive(Debug, Default)]
pub struct Decoder {
    bytes: Vec<u8>,
    scanned: usize,
    /// Bytes after the last newline.
    unfinished: usize,
    received: u64,
    fds: VecDeque<OwnedFd>,
}

impl Decoder {
    /// An empty decoder.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds bytes that arrived.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), FramingError> {
        self.bytes.extend_from_slice(bytes);
        self.received = self.received.saturating_add(bytes.len() as u64);
        // Whole lines may wait to be taken; only an unfinished one can be too long. Only what is new is looked at: a peer
        // may send a long line byte by byte.
        self.unfinished = match bytes.iter().rposition(|b| *b == b'\n') {
            Some(at) => bytes.len() - at - 1,
            None => self.unfinished.saturating_add(bytes.len()),
        };
        if self.unfinished > MAX_LINE { Err(FramingError::LineTooLong) } else { Ok(()) }
    }

    /// How many bytes have arrived so far.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Adds a descriptor that arrived.
    pub fn push_fd(&mut self, fd: OwnedFd) -> Result<(), FramingError> {
        if self.fds.len() >= MAX_FDS {
            return Err(FramingError::TooManyFds);
        }
        self.fds.push_back(fd);
        Ok(())
    }

    /// The next whole message, if one has arrived.
    pub fn next_message<T: DeserializeOwned>(&mut self) -> Result<Option<T>, FramingError> {
        let Some(found) = self.bytes.get(self.scanned..).and_then(|rest| rest.iter().position(|b| *b == b'\n')) else {
            self.scanned = self.bytes.len();
            return Ok(None);
        };
        let end = self.scanned + found;
        let line: Vec<u8> = self.bytes.drain(..=end).collect();
        self.scanned = 0;
        if line.len() > MAX_LINE + 1 {
            return Err(FramingError::LineTooLong);
        }
        Ok(Some(serde_json::from_slice(&line)?))
    }

    /// The oldest descriptor that nobody has taken.
    pub fn take_fd(&mut self) -> Option<OwnedFd> {
        self.fds.pop_front()
    }

    /// Receives once from `socket`. `Ok(false)`: nothing is there now (non-blocking socket).
    ///
    /// Never reads more than one buffer, so that a flooding peer cannot hold the caller's loop.
    pub fn receive(&mut self, socket: impl AsFd) -> Result<bool, FramingError> {
        let mut bytes = [0u8; 16 * 1024];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = loop {
            match rustix::net::recvmsg(
                &socket,
                &mut [IoSliceMut::new(&mut bytes)],
                &mut control,
                RecvFlags::CMSG_CLOEXEC,
            ) {
                Err(rustix::io::Errno::INTR) => continue,
                Err(rustix::io::Errno::AGAIN) => return Ok(false),
                other => break other?,
            }
        };
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(fds) = message {
                for fd in fds {
                    self.push_fd(fd)?;
                }
            }
        }
        if received.flags.contains(ReturnFlags::CTRUNC) {
            return Err(FramingError::TooManyFds);
        }
        if received.bytes == 0 {
            return Err(FramingError::Closed);
        }
        self.push(bytes.get(..received.bytes).unwrap_or_default())?;
        Ok(true)
    }
}

/// A message as the bytes of its line.
pub fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, FramingError> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    Ok(line)
}

/// Sends the beginning of `bytes` with `fds` attached; returns how many bytes went out. Never raises SIGPIPE.
pub fn send_some(socket: impl AsFd, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> Result<usize, FramingError> {
    if fds.len() > MAX_FDS {
        return Err(FramingError::TooManyFds);
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(fds));
    }
    loop {
        match rustix::net::sendmsg(&socket, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL) {
            Err(rustix::io::Errno::INTR) => {}
            other => return Ok(other?),
        }
    }
}

/// Sends a whole message on a blocking socket.
pub fn send_blocking<T: Serialize>(socket: impl AsFd, message: &T, fds: &[BorrowedFd<'_>]) -> Result<(), FramingError> {
    let line = encode(message)?;
    let mut sent = send_some(&socket, &line, fds)?;
    while let Some(rest) = line.get(sent..).filter(|rest| !rest.is_empty()) {
        sent += send_some(&socket, rest, &[])?;
    }
    Ok(())
}

/// Receives one whole message on a blocking socket.
pub fn receive_blocking<T: DeserializeOwned>(socket: impl AsFd, decoder: &mut Decoder) -> Result<T, FramingError> {
    loop {
        if let Some(message) = decoder.next_message()? {
            return Ok(message);
        }
        if !decoder.receive(&socket)? {
            return Err(FramingError::Io(rustix::io::Errno::TIMEDOUT));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    #[test]
    fn a_message_and_its_descriptor_arrive_together() {
        let (here, there) = UnixStream::pair().unwrap();
        let file = tempfile::tempfile().unwrap();
        send_blocking(&here, &vec![1, 2, 3], &[file.as_fd()]).unwrap();
        let mut decoder = Decoder::new();
        let got: Vec<i32> = receive_blocking(&there, &mut decoder).unwrap();
        assert_eq!(got, [1, 2, 3]);
        assert!(decoder.take_fd().is_some());
        assert!(decoder.take_fd().is_none());
    }

    #[test]
    fn an_endless_line_is_an_error_and_bounded() {
        let mut decoder = Decoder::new();
        let chunk = [b'x'; 4096];
        let mut pushed = 0;
        while decoder.push(&chunk).is_ok() {
            pushed += chunk.len();
            assert!(pushed <= MAX_LINE);
        }
    }

    #[test]
    fn too_many_descriptors_are_an_error() {
        let mut decoder = Decoder::new();
        for _ in 0..MAX_FDS {
            decoder.push_fd(tempfile::tempfile().unwrap().into()).unwrap();
        }
        assert!(matches!(decoder.push_fd(tempfile::tempfile().unwrap().into()), Err(FramingError::TooManyFds)));
    }

    #[test]
    fn deep_json_is_an_error_not_a_stack_overflow() {
        let mut decoder = Decoder::new();
        decoder.push("[".repeat(100_000).as_bytes()).unwrap();
        decoder.push(b"\n").unwrap();
        assert!(decoder.next_message::<serde_json::Value>().is_err());
    }
}
