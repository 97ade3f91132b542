//! What waits to be sent on a non-blocking socket: bounded lines, each with at most one descriptor.

use phyllome_protocol::framing::{self, FramingError};
use rustix::io::Errno;
use serde::Serialize;
use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};

/// Most bytes that may wait.
pub const MAX_WAITING: usize = 512 * 1024;

/// The peer does not take what is sent to it.
#[derive(Debug, thiserror::Error)]
#[error("the other side does not read what is sent to it")]
pub struct Full;

#[derive(Debug)]
struct Line {
    bytes: Vec<u8>,
    sent: usize,
    fd: Option<OwnedFd>,
}

/// A queue of lines.
#[derive(Debug, Default)]
pub struct Outbox {
    lines: VecDeque<Line>,
    waiting: usize,
}

impl Outbox {
    /// Adds a message; `fd` goes with its first byte.
    pub fn push<T: Serialize>(&mut self, message: &T, fd: Option<OwnedFd>) -> Result<(), Full> {
        let bytes = framing::encode(message).map_err(|_| Full)?;
        if self.waiting + bytes.len() > MAX_WAITING {
            return Err(Full);
        }
        self.waiting += bytes.len();
        self.lines.push_back(Line { bytes, sent: 0, fd });
        Ok(())
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Sends what the socket takes now. `Ok(true)`: nothing waits any more.
    pub fn flush(&mut self, socket: impl AsFd) -> Result<bool, FramingError> {
        while let Some(line) = self.lines.front_mut() {
            let rest = line.bytes.get(line.sent..).unwrap_or_default();
            let fd = line.fd.as_ref().map(|fd| fd.as_fd());
            match framing::send_some(&socket, rest, fd.as_slice()) {
                Ok(count) => {
                    line.fd = None;
                    line.sent += count;
                    self.waiting = self.waiting.saturating_sub(count);
                    if line.sent >= line.bytes.len() {
                        self.lines.pop_front();
                    }
                }
                Err(FramingError::Io(Errno::AGAIN)) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use phyllome_protocol::framing::Decoder;
    use std::os::unix::net::UnixStream;

    #[test]
    fn a_peer_that_does_not_read_fills_the_queue_and_no_more() {
        let (here, _there) = UnixStream::pair().unwrap();
        here.set_nonblocking(true).unwrap();
        let mut out = Outbox::default();
        let message = "x".repeat(10_000);
        let mut pushed = 0;
        while out.push(&message, None).is_ok() {
            out.flush(&here).unwrap();
            pushed += 1;
            assert!(pushed < 1000);
        }
        assert!(out.waiting <= MAX_WAITING);
    }

    #[test]
    fn lines_and_descriptors_arrive_in_order_through_a_full_socket() {
        let (here, there) = UnixStream::pair().unwrap();
        here.set_nonblocking(true).unwrap();
        there.set_nonblocking(true).unwrap();
        let mut out = Outbox::default();
        for number in 0..40 {
            out.push(&(number, "x".repeat(9_000)), (number % 20 == 7).then(|| tempfile::tempfile().unwrap().into()))
                .unwrap();
        }
        let (mut decoder, mut got, mut fds) = (Decoder::new(), 0, 0);
        while got < 40 {
            out.flush(&here).unwrap();
            decoder.receive(&there).unwrap();
            while let Some((number, _)) = decoder.next_message::<(i32, String)>().unwrap() {
                assert_eq!(number, got);
                got += 1;
                fds += usize::from(decoder.take_fd().is_some());
            }
        }
        assert_eq!((out.flush(&here).unwrap(), fds), (true, 2));
    }
}
