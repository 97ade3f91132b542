//! The device's commands on blobs: made of guest memory here or of the host's by the 3D half, and mapped into the
//! guest.
//!
//! As in `device`, nothing that a guest sends can panic, and a command that is refused changes nothing.

#![cfg_attr(
    not(test),
    deny(clippy::wildcard_enum_match_arm, reason = "a new request, command or event is not to be taken for another")
)]

use super::backing::Backing;
use super::blob::{self, GuestBlob};
use super::class::Class;
use super::device::Device;
use super::memory::Memory;
use super::outcome::{Done, NO_RESOURCE, OVER, Outcome, RESOURCE_EXISTS, refused};
use super::pacing::Waits;
use super::resources::Resource;
use super::wire::{CreateBlob, Header, MemEntries, Response, Status};
use crate::renderer::limits::blob as kinds;

impl Device {
    /// RESOURCE_CREATE_BLOB.
    pub(super) fn create_blob(
        &mut self,
        memory: &Memory,
        header: &Header,
        id: u32,
        what: CreateBlob,
        entries: &MemEntries<'_>,
    ) -> Done {
        if id == 0 || self.resources.contains(id) {
            return Err(RESOURCE_EXISTS);
        }
        blob::check(&what).map_err(refused)?;
        if what.memory != kinds::GUEST {
            let three_d = self.three_d.as_mut().ok_or(refused(Class::BlobKind))?;
            return three_d.create_blob(memory, header, id, what, entries, &mut self.resources);
        }
        self.usage.take_resource(&self.quota, 0).map_err(|_| OVER)?;
        if self.usage.take_entries(&self.quota, entries.count()).is_err() {
            self.usage.give_resource(0);
            return Err(OVER);
        }
        match Backing::new(entries.iter(), memory).and_then(|backing| GuestBlob::new(what.size, backing)) {
            Ok(blob) => {
                self.resources.insert(id, Resource::GuestBlob(blob));
                Ok(Outcome::Answer)
            }
            Err(class) => {
                self.usage.give_entries(entries.count());
                self.usage.give_resource(0);
                Err(refused(class))
            }
        }
    }

    /// RESOURCE_MAP_BLOB.
    pub(super) fn map_blob(&mut self, header: &Header, id: u32, offset: u64, response: &mut Response) -> Done {
        let size = match self.resources.get(id)? {
            Resource::HostBlob(_) => self.resources.host_blob(id)?.mappable()?,
            Resource::Classic(_) | Resource::GuestBlob(_) => return Err(refused(Class::BlobKind)),
            Resource::Texture(_) => return Err(NO_RESOURCE),
        };
        self.has_space(header)?;
        let three_d = self.three_d.as_mut().ok_or(NO_RESOURCE)?;
        let range = self.shmem.place(id, offset, size)?;
        match three_d.fetch_blob(id) {
            Ok(token) => {
                self.shmem.fetched(id, range, token);
                // What it is like is known once the renderer has said so; the room is asked for now.
                response.map_info(header, 0);
                Ok(Outcome::Forwarded(token, Waits::NOTHING))
            }
            Err(refusal) => {
                self.shmem.unplace(range);
                Err(refusal)
            }
        }
    }

    /// RESOURCE_UNMAP_BLOB.
    pub(super) fn unmap_blob(&mut self, id: u32) -> Done {
        let unmapped = (Status::ErrUnspec, Class::Window);
        self.resources.get(id)?;
        let token = self.three_d.as_mut().ok_or(unmapped)?.token();
        if !self.shmem.unmap(id, token) {
            return Err(unmapped);
        }
        Ok(Outcome::Forwarded(token, Waits::NOTHING))
    }
}

#[cfg(test)]
#[path = "blob_tests.rs"]
mod tests;
