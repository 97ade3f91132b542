//! Packets of phyllome-guest's, with as many descriptors as a message may have, and the descriptor that they come by.

use crate::renderer::wire::{MAX_PACKET, MAX_REGIONS};
use rustix::io::Errno;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, recvmsg};
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

/// What a look at the socket found.
#[derive(Debug)]
pub enum Received {
    /// So many bytes, which are in the buffer, with these descriptors.
    Packet(usize, Vec<OwnedFd>),
    /// Nothing for now.
    Nothing,
    /// phyllome-guest has closed its end.
    Closed,
}

/// Room for one packet.
#[derive(Debug)]
pub struct Incoming(Box<[u8]>);

impl Default for Incoming {
    fn default() -> Self {
        Self(vec![0; MAX_PACKET].into_boxed_slice())
    }
}

impl Incoming {
    /// The first bytes of the packet that was received last.
    pub fn bytes(&self, count: usize) -> &[u8] {
        self.0.get(..count).unwrap_or_default()
    }

    /// Receives one packet, without waiting for one. EMSGSIZE if it has more bytes or descriptors than the protocol allows.
    pub fn receive(&mut self, socket: impl AsFd) -> rustix::io::Result<Received> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_REGIONS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
        let message = match recvmsg(socket, &mut [IoSliceMut::new(&mut self.0)], &mut control, flags) {
            Ok(message) => message,
            Err(Errno::AGAIN | Errno::INTR) => return Ok(Received::Nothing),
            Err(Errno::CONNRESET) => return Ok(Received::Closed),
            Err(error) => return Err(error),
        };
        let rights = control.drain().filter_map(|part| match part {
            RecvAncillaryMessage::ScmRights(files) => Some(files),
            _ => None,
        });
        let files: Vec<OwnedFd> = rights.flatten().collect();
        if message.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
            return Err(Errno::MSGSIZE);
        }
        Ok(if message.bytes == 0 { Received::Closed } else { Received::Packet(message.bytes, files) })
    }
}

/// Takes over the descriptor `number`, which the parent process left open for this one. Programs that the library starts do not
/// get it. To be called once, before anything else opens descriptors; EBADF if there is none.
pub fn inherit(number: i32) -> rustix::io::Result<OwnedFd> {
    use std::os::fd::{BorrowedFd, FromRawFd};
    if number < 0 {
        return Err(Errno::BADF);
    }
    // SAFETY: only asks the kernel about the number, which need not be open for that.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    rustix::io::fcntl_setfd(borrowed, rustix::io::FdFlags::CLOEXEC)?;
    // SAFETY: it is open, and nobody else in this process owns it: it was inherited.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}
