//! Blobs whose memory is the renderer's, and blobs of guest memory that contexts use.
//!
//! Here are their sizes for the quota and whether they are still there; the memory itself is given out by the renderer when
//! the guest maps it, and is QEMU's to map.

use super::answers::Purpose;
use super::{LOST_RESOURCE, NO_RESOURCE, OVER, ThreeD, Token, unsent};
use crate::gpu::backing::Backing;
use crate::gpu::blob::Blob;
use crate::gpu::class::Class;
use crate::gpu::device::{Done, Refused};
use crate::gpu::memory::Memory;
use crate::gpu::wire::{CreateBlob, Header, MemEntries, Status};
use crate::renderer::limits::blob as kinds;
use crate::renderer::wire::{Request, Transfer3d};

/// A blob of host memory.
#[derive(Debug)]
pub(super) struct HostBlob {
    what: CreateBlob,
    /// Entries of guest memory that it has besides.
    pub(super) entries: usize,
    pub(super) uuid: Option<[u8; 16]>,
    /// It went with a renderer that died.
    pub(super) lost: bool,
    pub(super) made_by: Token,
}

impl HostBlob {
    /// What it counts for in the quota.
    pub(super) fn bytes(&self) -> u64 {
        self.what.size
    }
}

impl ThreeD {
    /// RESOURCE_CREATE_BLOB with host memory; its numbers are checked.
    pub fn create_blob(
        &mut self,
        memory: &Memory,
        header: &Header,
        id: u32,
        what: CreateBlob,
        entries: &MemEntries<'_>,
    ) -> Done {
        self.context(header.ctx_id)?;
        let count = entries.count();
        if (what.memory == kinds::HOST3D_GUEST) != (count > 0) {
            return Err((Status::ErrInvalidParameter, Class::BackingEntries));
        }
        let bytes = self.bytes.checked_add(what.size).filter(|&bytes| bytes <= self.quota.bytes_3d).ok_or(OVER)?;
        let total = self.entries.checked_add(count).filter(|&total| total <= self.quota.entries_3d).ok_or(OVER)?;
        if self.resources.len() + self.blobs.len() >= self.quota.resources_3d {
            return Err(OVER);
        }
        let backing = Backing::new(entries.iter(), memory).map_err(|class| (Status::ErrInvalidParameter, class))?;
        if count > 0 && backing.length() < what.size {
            return Err((Status::ErrInvalidParameter, Class::BlobSize));
        }
        self.tell_memory(memory);
        let context = header.ctx_id;
        let ticket = self.send_blob(id, context, what, &backing).map_err(unsent)?;
        let (outcome, made_by) = self.expect(header, ticket, Purpose::Resource(id));
        (self.bytes, self.entries) = (bytes, total);
        self.blobs.insert(id, HostBlob { what, entries: count, uuid: None, lost: false, made_by });
        Ok(outcome)
    }

    fn send_blob(
        &mut self,
        resource: u32,
        context: u32,
        what: CreateBlob,
        backing: &Backing,
    ) -> Result<crate::renderer::client::Ticket, crate::renderer::client::Unsent> {
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

    /// A blob that lives.
    pub(super) fn blob(&self, id: u32) -> Result<&HostBlob, Refused> {
        match self.blobs.get(&id) {
            Some(blob) if blob.lost => Err(LOST_RESOURCE),
            Some(blob) => Ok(blob),
            None => Err(NO_RESOURCE),
        }
    }

    /// Whether this is a blob of host memory, not one of the others.
    pub fn is_blob(&self, id: u32) -> Result<bool, Refused> {
        if self.blobs.contains_key(&id) { self.blob(id).map(|_| true) } else { Ok(false) }
    }

    /// Its size, bytes.
    pub fn blob_size(&self, id: u32) -> Result<u64, Refused> {
        self.blob(id).map(|blob| blob.what.size)
    }

    /// Takes a blob away; whether the renderer has it.
    pub(super) fn remove_blob(&mut self, id: u32) -> Option<bool> {
        let blob = self.blobs.remove(&id)?;
        self.bytes = self.bytes.saturating_sub(blob.bytes());
        self.entries = self.entries.saturating_sub(blob.entries);
        Some(!blob.lost)
    }

    /// Whether a transfer of a blob makes sense: it has guest memory, and the transfer begins inside it.
    pub(super) fn blob_allows(&self, id: u32, transfer: &Transfer3d) -> Result<(), Refused> {
        let what = self.blob(id)?.what;
        if what.memory != kinds::HOST3D_GUEST {
            return Err((Status::ErrUnspec, Class::BackingMissing));
        }
        let inside = transfer.offset <= what.size;
        if inside { Ok(()) } else { Err((Status::ErrInvalidParameter, Class::TransferBox)) }
    }

    /// Bytes of a blob that the guest may map.
    pub fn mappable(&self, id: u32) -> Result<u64, Refused> {
        let what = self.blob(id)?.what;
        let mappable = what.memory >= kinds::HOST3D && what.flags & kinds::MAPPABLE != 0;
        if mappable { Ok(what.size) } else { Err((Status::ErrInvalidParameter, Class::BlobKind)) }
    }

    /// Asks for the memory of a blob: [`super::News::Mapped`] comes, or [`super::News::Answer`] with a refusal.
    pub fn fetch_blob(&mut self, id: u32) -> Result<Token, Refused> {
        let ticket = self.client.send(&Request::Map(id), &[]).map_err(unsent)?;
        Ok(self.answers.expect(ticket, Purpose::Map(id)))
    }

    /// A token for a command that somebody else than the renderer answers.
    pub fn token(&mut self) -> Token {
        self.answers.token()
    }

    /// A blob of guest memory is to be used by a 3D context: the renderer gets one of the same pages.
    pub fn mirror_blob(&mut self, memory: &Memory, id: u32, blob: &Blob) {
        let Some(backing) = blob.backing.as_ref() else { return };
        if self.mirrors.contains(&id) {
            return;
        }
        self.tell_memory(memory);
        let what = CreateBlob { memory: kinds::GUEST, flags: 0, blob: 0, size: blob.size };
        if let Ok(ticket) = self.send_blob(id, 0, what, backing) {
            self.answers.expect(ticket, Purpose::Silent);
            self.mirrors.insert(id);
        }
    }
}
