//! The session with a renderer without its process and its socket, for tests: what is asked is said, and what a renderer
//! says comes from a test.

use super::session::{RendererEvent, Session, Ticket};
use super::wire::{self, Request};
use rustix::fs::{MemfdFlags, SealFlags};
use std::os::fd::OwnedFd;

/// A session, which takes sealed memory for pictures.
#[derive(Debug)]
pub struct BareSession {
    session: Session,
    asked: u64,
}

impl Default for BareSession {
    fn default() -> Self {
        let session = Session::of_memfds();
        Self { session, asked: 0 }
    }
}

impl BareSession {
    /// Asks every request of a packet, up to the first bytes that are none; how many of them will be answered.
    pub fn ask_all(&mut self, mut packet: &[u8]) -> usize {
        let mut answered = 0;
        while let Some((request, rest)) = wire::take::<Request<'_>>(packet) {
            self.asked += 1;
            let will = if let Request::Fence { fence, .. } | Request::Follow { fence, .. } = request {
                self.session.fence(fence)
            } else {
                self.session.ask(Ticket(self.asked), &request)
            };
            answered += usize::from(will);
            packet = rest;
        }
        answered
    }

    /// The renderer sends a packet: how many requests and fences that answers; `None` if it ends the renderer.
    pub fn hear(&mut self, packet: &[u8], files: Vec<OwnedFd>) -> Option<usize> {
        let mut events = Vec::new();
        self.session.hear(packet, files, &mut events).ok()?;
        let answers = |event: &&RendererEvent| !matches!(event, RendererEvent::Ready);
        Some(events.iter().filter(answers).count())
    }
}

/// Memory of so many bytes as a renderer gives it out. Fails where there is none.
pub fn sealed(bytes: u64) -> rustix::io::Result<OwnedFd> {
    let file = rustix::fs::memfd_create("fuzz", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    rustix::fs::ftruncate(&file, bytes)?;
    rustix::fs::fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
    Ok(file)
}
