//! Packets of the connection between phyllome-guest and its renderer, as they go and as they come.
//!
//! Going: messages of one turn share packets, in order; nothing here blocks, and what the socket does not take stays.
//! Coming: a packet that is too long, or brings more descriptors than any message may, is told apart from a good one,
//! and whatever descriptors came with it are closed. What packets mean is not known here.

use super::limits::MAX_PACKET;
use super::wire;
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use serde::Serialize;
use std::collections::VecDeque;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Buffers that are kept for the next packets.
const SPARE: usize = 4;

#[derive(Debug)]
struct Packet {
    bytes: Vec<u8>,
    files: Vec<OwnedFd>,
}

/// What is to be sent, in order.
#[derive(Debug, Default)]
pub struct Outgoing {
    packets: VecDeque<Packet>,
    bytes: usize,
    spare: Vec<Vec<u8>>,
}

impl Outgoing {
    /// Appends a message, with its descriptors. `false` if no packet has room for it: it is longer than the protocol
    /// allows.
    pub fn push(&mut self, message: &impl Serialize, files: Vec<OwnedFd>) -> bool {
        if files.is_empty()
            && let Some(last) = self.packets.back_mut().filter(|last| last.files.is_empty())
        {
            let before = last.bytes.len();
            if wire::append(&mut last.bytes, message) {
                self.bytes += last.bytes.len() - before;
                return true;
            }
        }
        let mut bytes = self.spare.pop().unwrap_or_default();
        if !wire::append(&mut bytes, message) {
            return false;
        }
        self.bytes += bytes.len();
        self.packets.push_back(Packet { bytes, files });
        true
    }

    /// Bytes that are not sent.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Sends what the socket takes; how many packets. The error is the socket's, and never that it is full.
    pub fn send(&mut self, socket: impl AsFd) -> rustix::io::Result<usize> {
        let mut count = 0;
        while let Some(packet) = self.packets.front() {
            match send_packet(socket.as_fd(), packet) {
                Ok(()) => {}
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => break,
                Err(error) => return Err(error),
            }
            count += 1;
            if let Some(Packet { mut bytes, .. }) = self.packets.pop_front() {
                self.bytes = self.bytes.saturating_sub(bytes.len());
                if self.spare.len() < SPARE {
                    bytes.clear();
                    self.spare.push(bytes);
                }
            }
        }
        Ok(count)
    }

    /// Forgets what is not sent.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

fn send_packet(socket: BorrowedFd<'_>, packet: &Packet) -> rustix::io::Result<()> {
    let files: Vec<BorrowedFd<'_>> = packet.files.iter().map(AsFd::as_fd).collect();
    let message = SendAncillaryMessage::ScmRights(&files);
    let mut space = vec![MaybeUninit::uninit(); if files.is_empty() { 0 } else { message.size() }];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !files.is_empty() && !control.push(message) {
        return Err(Errno::INVAL);
    }
    // A packet goes whole or not at all.
    sendmsg(socket, &[IoSlice::new(&packet.bytes)], &mut control, SendFlags::NOSIGNAL | SendFlags::DONTWAIT).map(drop)
}

/// What a look at the socket found.
#[derive(Debug)]
pub enum Received {
    /// A packet of so many bytes, which are in the buffer, with these descriptors.
    Packet(usize, Vec<OwnedFd>),
    /// Nothing for now.
    Nothing,
    /// The other end is closed, or said so by an empty packet.
    Closed,
    /// More bytes or descriptors than the protocol allows.
    TooMuch,
}

/// Room for one packet of the other end's.
#[derive(Debug)]
pub struct Incoming {
    bytes: Box<[u8]>,
    control: Box<[MaybeUninit<u8>]>,
}

impl Incoming {
    /// For packets with as many descriptors as `files` at most.
    pub fn new(files: usize) -> Self {
        let control = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(files))];
        Self { bytes: vec![0; MAX_PACKET].into_boxed_slice(), control: control.into_boxed_slice() }
    }

    /// The first bytes of the packet that was received last.
    pub fn bytes(&self, count: usize) -> &[u8] {
        self.bytes.get(..count).unwrap_or_default()
    }

    /// Receives one packet, without waiting for one.
    pub fn receive(&mut self, socket: impl AsFd) -> rustix::io::Result<Received> {
        let mut control = RecvAncillaryBuffer::new(&mut self.control);
        // A socket whose other end was closed with bytes unread says so once, before it gives what it holds.
        let mut tries = 0;
        let message = loop {
            let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
            match recvmsg(&socket, &mut [IoSliceMut::new(&mut self.bytes)], &mut control, flags) {
                Ok(message) => break message,
                Err(Errno::AGAIN) => return Ok(Received::Nothing),
                Err(Errno::INTR | Errno::CONNRESET) if tries < 4 => tries += 1,
                Err(error) => return Err(error),
            }
        };
        let mut files = Vec::new();
        for part in control.drain() {
            if let RecvAncillaryMessage::ScmRights(came) = part {
                files.extend(came);
            }
        }
        let flags = message.flags;
        Ok(if flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
            Received::TooMuch
        } else if message.bytes == 0 {
            Received::Closed
        } else {
            Received::Packet(message.bytes, files)
        })
    }
}
