//! Blobs whose memory is the renderer's: made, and fetched to be mapped.
//!
//! Here they are counted for the quota; the memory itself is given out by the renderer when the guest maps it, and is
//! QEMU's to map. What a blob is, and whether it is still there, is in the table of resources.

use super::answers::Purpose;
use super::pictures::ReadTarget;
use super::{ThreeD, unsent};
use crate::gpu::backing::Backing;
use crate::gpu::class::Class;
use crate::gpu::memory::Memory;
use crate::gpu::outcome::{Done, OVER, Refused, Token};
use crate::gpu::resources::{HostBlob, Resource, Resources};
use crate::gpu::shmem::identity;
use crate::gpu::wire::{CreateBlob, Header, MemEntries, Status};
use crate::renderer::client::{Ticket, Unsent};
use crate::renderer::limits::blob as kinds;
use crate::renderer::wire::Request;
use std::os::fd::AsFd;

impl ThreeD {
    /// RESOURCE_CREATE_BLOB with host memory; its numbers are checked.
    pub fn create_blob(
        &mut self,
        memory: &Memory,
        header: &Header,
        id: u32,
        what: CreateBlob,
        entries: &MemEntries<'_>,
        resources: &mut Resources,
    ) -> Done {
        self.context(header.ctx_id)?;
        let count = entries.count();
        if (what.memory == kinds::HOST3D_GUEST) != (count > 0) {
            return Err((Status::ErrInvalidParameter, Class::BackingEntries));
        }
        let bytes = self.bytes.checked_add(what.size).filter(|&bytes| bytes <= self.quota.bytes_3d).ok_or(OVER)?;
        let total = self.entries.checked_add(count).filter(|&total| total <= self.quota.entries_3d).ok_or(OVER)?;
        if self.count >= self.quota.resources_3d {
            return Err(OVER);
        }
        let backing = Backing::new(entries.iter(), memory).map_err(|class| (Status::ErrInvalidParameter, class))?;
        if count > 0 && backing.length() < what.size {
            return Err((Status::ErrInvalidParameter, Class::BlobSize));
        }
        self.tell_memory(memory)?;
        let context = header.ctx_id;
        let ticket = self.send_blob(id, context, what, &backing).map_err(unsent)?;
        let (outcome, made_by) = self.expect(header, ticket, Purpose::Resource(id));
        (self.count, self.bytes, self.entries) = (self.count + 1, bytes, total);
        resources.insert_made(id, Resource::HostBlob(HostBlob { what, entries: count }), made_by);
        Ok(outcome)
    }

    pub(super) fn send_blob(
        &mut self,
        resource: u32,
        context: u32,
        what: CreateBlob,
        backing: &Backing,
    ) -> Result<Ticket, Unsent> {
        let CreateBlob { memory, flags, blob, size } = what;
        self.client.create_blob(backing.wire_pieces(), |pieces| Request::CreateBlob {
            resource,
            context,
            memory,
            flags,
            blob,
            size,
            pieces,
        })
    }

    /// Asks for the memory of a blob: [`super::ThreeDEvent::Mapped`] comes, or [`super::ThreeDEvent::Answer`] with a
    /// refusal.
    pub fn fetch_blob(&mut self, id: u32) -> Result<Token, Refused> {
        let ticket = self.client.send(&Request::Map(id), &[]).map_err(unsent)?;
        Ok(self.answers.expect(ticket, Purpose::Map(id)))
    }

    /// Whether a file that the renderer gives out as a blob's memory is one that it was lent: the guest's memory, or
    /// memory of ours. Mapped into the guest it would be taken for the blob's ever after.
    pub(super) fn is_lent(&self, file: impl AsFd, resources: &Resources) -> bool {
        let Some(given) = identity(file) else { return true };
        let targets = self.targets.values().map(ReadTarget::file);
        let cursors = self.cursors.values().map(|cursor| cursor.memory.memfd());
        let mut ours = targets.chain(cursors).chain(resources.mirrored_files());
        self.lent.contains(&given) || ours.any(|file| identity(file) == Some(given))
    }

    /// A token for a command that somebody else than the renderer answers.
    pub fn token(&mut self) -> Token {
        self.answers.token()
    }
}
