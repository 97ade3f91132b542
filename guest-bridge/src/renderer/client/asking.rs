//! Requests on their way into the queue: checked, put into packets, given a ticket; whole or not at all.
//!
//! Bulk that is too long for a message goes in parts. What is kept has a bound whatever the caller does.

use super::{Client, Ticket, Unsent};
use crate::renderer::limits::{MAX_BULK, MAX_INLINE, MAX_PACKET, MAX_REGIONS};
use crate::renderer::wire::{Piece, Request};
use crate::spare;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

/// Bytes and requests beyond which [`Client::has_room`] says no.
const ROOM_BYTES: usize = 16 << 20;
const ROOM_OPEN: usize = 1024;
/// Bounds of what is kept whatever the caller does.
const MOST_BYTES: usize = ROOM_BYTES + 4 * MAX_BULK;
const MOST_OPEN: usize = 8 * ROOM_OPEN;
const MOST_FENCES: usize = 16 << 10;

impl Client {
    /// Whether more may be asked: less than 16 MiB are unsent and less than 1024 requests unanswered. Fences have a
    /// bound of their own.
    pub fn has_room(&self) -> bool {
        self.outgoing.bytes() < ROOM_BYTES && self.session.open() < ROOM_OPEN && self.session.fences() < MOST_FENCES
    }

    /// Queues a request that has an answer, with its descriptors (one per region of memory, one of a file or target,
    /// else none), which are duplicated. Its bulk, if it has one, has at most [`MAX_INLINE`] bytes; for more see
    /// [`Self::submit`], [`Self::attach`] and [`Self::create_blob`].
    pub fn send(&mut self, request: &Request<'_>, files: &[BorrowedFd<'_>]) -> Result<Ticket, Unsent> {
        self.admit(0)?;
        if files.len() != request.descriptors() || files.len() > MAX_REGIONS {
            return Err(Unsent::Unfit);
        }
        let copy = |file: &BorrowedFd<'_>| spare::keep(file.try_clone_to_owned()?);
        let files: io::Result<Vec<OwnedFd>> = files.iter().map(copy).collect();
        let files = files.map_err(|_| Unsent::Host)?;
        let ticket = Ticket(self.tickets);
        if matches!(request, Request::Part(_) | Request::Fence { .. } | Request::Follow { .. } | Request::DropTarget(_))
            || !self.outgoing.push(request, files)
        {
            return Err(Unsent::Unfit);
        }
        self.session.ask(ticket, request);
        self.tickets += 1;
        Ok(ticket)
    }

    /// Queues SUBMIT_3D: at most [`MAX_BULK`] bytes.
    pub fn submit(&mut self, context: u32, commands: &[u8]) -> Result<Ticket, Unsent> {
        self.send_bulk(commands, |commands| Request::Submit { context, commands })
    }

    /// Queues RESOURCE_ATTACH_BACKING.
    pub fn attach(&mut self, resource: u32, pieces: impl Iterator<Item = Piece>) -> Result<Ticket, Unsent> {
        self.send_pieces(pieces, |pieces| Request::Attach { resource, pieces })
    }

    /// Queues RESOURCE_CREATE_BLOB: `request` makes a [`Request::CreateBlob`] of the last bytes of its list of pieces.
    pub fn create_blob(
        &mut self,
        pieces: impl Iterator<Item = Piece>,
        request: impl FnOnce(&[u8]) -> Request<'_>,
    ) -> Result<Ticket, Unsent> {
        self.send_pieces(pieces, request)
    }

    fn send_pieces(
        &mut self,
        pieces: impl Iterator<Item = Piece>,
        request: impl FnOnce(&[u8]) -> Request<'_>,
    ) -> Result<Ticket, Unsent> {
        let mut bulk = std::mem::take(&mut self.bulk);
        bulk.clear();
        for piece in pieces.take(MAX_BULK / Piece::BYTES + 1) {
            bulk.extend_from_slice(&piece.to_bytes());
        }
        let sent = self.send_bulk(&bulk, request);
        bulk.shrink_to(MAX_PACKET);
        self.bulk = bulk;
        sent
    }

    fn send_bulk(&mut self, bulk: &[u8], last: impl FnOnce(&[u8]) -> Request<'_>) -> Result<Ticket, Unsent> {
        if bulk.len() > MAX_BULK {
            return Err(Unsent::Unfit);
        }
        // The rest is for what messages have besides bulk.
        self.admit(bulk.len() + MAX_PACKET)?;
        let (parts, rest) = bulk.split_at(bulk.len().saturating_sub(1) / MAX_INLINE * MAX_INLINE);
        let last = last(rest);
        if !matches!(last, Request::Submit { .. } | Request::Attach { .. } | Request::CreateBlob { .. }) {
            return Err(Unsent::Unfit);
        }
        for part in parts.chunks(MAX_INLINE) {
            // A part of that length fits into every packet of its own.
            self.outgoing.push(&Request::Part(part), Vec::new());
        }
        self.send(&last, &[])
    }

    /// Queues a fence: [`RendererEvent::Fenced`] comes once everything before it is done. `fence` must not be under
    /// way.
    pub fn fence(&mut self, context: u32, ring: Option<u8>, fence: u64) -> Result<(), Unsent> {
        self.push_fence(fence, &Request::Fence { context, ring, fence })
    }

    /// Queues a fence for what is done once it is answered: [`RendererEvent::Fenced`] comes after those before it on
    /// its timeline, and costs the renderer nothing. `fence` must not be under way.
    pub fn follow(&mut self, context: u32, ring: Option<u8>, fence: u64) -> Result<(), Unsent> {
        self.push_fence(fence, &Request::Follow { context, ring, fence })
    }

    fn push_fence(&mut self, fence: u64, request: &Request<'_>) -> Result<(), Unsent> {
        self.admit(0)?;
        if self.session.fences() >= MOST_FENCES {
            return Err(Unsent::Full);
        }
        if !self.session.fence(fence) {
            return Err(Unsent::Unfit);
        }
        self.outgoing.push(request, Vec::new());
        Ok(())
    }

    /// Queues that a target is not used any more.
    pub fn drop_target(&mut self, target: u32) -> Result<(), Unsent> {
        self.admit(0)?;
        self.outgoing.push(&Request::DropTarget(target), Vec::new());
        Ok(())
    }

    fn admit(&self, bytes: usize) -> Result<(), Unsent> {
        if self.link.is_none() {
            Err(Unsent::Gone)
        } else if self.outgoing.bytes() + bytes > MOST_BYTES || self.session.open() >= MOST_OPEN {
            Err(Unsent::Full)
        } else {
            Ok(())
        }
    }
}
