//! Every resource of the guest, in one table: what kind it is, and what of it the renderer has.
//!
//! An id is in it once, whatever its kind, so "what is this?" is one match and nobody asks two tables. Ids are the
//! guest's words and are only looked up. Quotas are counted by whoever makes a resource and takes it away.

#![cfg_attr(
    not(test),
    deny(clippy::wildcard_enum_match_arm, reason = "a new request, command or event is not to be taken for another")
)]

use super::backing::Backing;
use super::blob::GuestBlob;
use super::class::Class;
use super::host_image::HostImage;
use super::memory::Memory;
use super::outcome::{LOST_RESOURCE, NO_RESOURCE, Refused, Token};
use super::texture::Texture;
use super::wire::{CreateBlob, Status};
use crate::frames::Rect;
use crate::renderer::limits::blob as kinds;
use crate::renderer::wire::Transfer3d;
use std::collections::HashMap;
use std::fs::File;

/// A classic 2D resource (RESOURCE_CREATE_2D): pixels of ours that the guest copies to.
#[derive(Debug)]
pub struct Classic {
    /// Its pixels.
    pub image: HostImage,
    /// Its pieces of guest memory, while it has some.
    pub backing: Option<Backing>,
}

impl Classic {
    /// TRANSFER_TO_HOST_2D: copies `target` from the backing, where its first pixel is at `offset`. Says how many
    /// bytes.
    pub fn transfer(&mut self, memory: &Memory, target: &Rect, offset: u64) -> Result<u64, Class> {
        if !self.image.layout.contains(target) {
            return Err(Class::TransferBox);
        }
        let backing = self.backing.as_mut().ok_or(Class::BackingMissing)?;
        self.image.transfer(memory, backing, target, offset)
    }
}

/// A blob of the renderer's memory.
#[derive(Debug)]
pub struct HostBlob {
    /// As the guest created it.
    pub what: CreateBlob,
    /// Entries of guest memory that it has besides.
    pub entries: usize,
}

impl HostBlob {
    /// Whether a transfer of it makes sense: it has guest memory, and the transfer begins inside it.
    pub fn allows(&self, transfer: &Transfer3d) -> Result<(), Refused> {
        if self.what.memory != kinds::HOST3D_GUEST {
            return Err((Status::ErrUnspec, Class::BackingMissing));
        }
        let inside = transfer.offset <= self.what.size;
        if inside { Ok(()) } else { Err((Status::ErrInvalidParameter, Class::TransferBox)) }
    }

    /// Bytes of it that the guest may map.
    pub fn mappable(&self) -> Result<u64, Refused> {
        let mappable = self.what.memory >= kinds::HOST3D && self.what.flags & kinds::MAPPABLE != 0;
        if mappable { Ok(self.what.size) } else { Err((Status::ErrInvalidParameter, Class::BlobKind)) }
    }
}

/// A resource, by what made it.
#[derive(Debug)]
pub enum Resource {
    /// RESOURCE_CREATE_2D.
    Classic(Classic),
    /// RESOURCE_CREATE_BLOB of the guest's own pages.
    GuestBlob(GuestBlob),
    /// RESOURCE_CREATE_3D: the renderer's.
    Texture(Texture),
    /// RESOURCE_CREATE_BLOB of the renderer's memory.
    HostBlob(HostBlob),
}

/// What the renderer has of a resource.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AtRenderer {
    /// Nothing.
    #[default]
    Nothing,
    /// One that looks the same as ours, for contexts that use it.
    Mirror,
    /// The resource itself, made by this command of the guest's.
    Whole(Token),
    /// It went with a renderer that died, or was never made.
    Lost,
}

/// A resource, and what is true of every kind.
#[derive(Debug)]
pub struct Entry {
    /// What it is.
    pub resource: Resource,
    /// What RESOURCE_ASSIGN_UUID gave it.
    pub uuid: Option<[u8; 16]>,
    /// What the renderer has of it.
    pub at_renderer: AtRenderer,
}

impl Entry {
    fn new(resource: Resource, at_renderer: AtRenderer) -> Self {
        Self { resource, uuid: None, at_renderer }
    }

    /// Fails if it went with a renderer.
    pub fn living(&self) -> Result<&Resource, Refused> {
        if self.at_renderer == AtRenderer::Lost { Err(LOST_RESOURCE) } else { Ok(&self.resource) }
    }
}

/// The table.
#[derive(Debug, Default)]
pub struct Resources {
    table: HashMap<u32, Entry>,
}

impl Resources {
    /// Whether an id is taken.
    pub fn contains(&self, id: u32) -> bool {
        self.table.contains_key(&id)
    }

    /// Adds one of ours. The id is free.
    pub fn insert(&mut self, id: u32, resource: Resource) {
        self.table.insert(id, Entry::new(resource, AtRenderer::Nothing));
    }

    /// Adds one of the renderer's, made by this command. The id is free.
    pub fn insert_made(&mut self, id: u32, resource: Resource, made_by: Token) {
        self.table.insert(id, Entry::new(resource, AtRenderer::Whole(made_by)));
    }

    /// Takes one away.
    pub fn remove(&mut self, id: u32) -> Result<Entry, Refused> {
        self.table.remove(&id).ok_or(NO_RESOURCE)
    }

    /// One resource, lost or not.
    pub fn get(&self, id: u32) -> Result<&Resource, Refused> {
        self.table.get(&id).map(|entry| &entry.resource).ok_or(NO_RESOURCE)
    }

    /// The same, to be changed.
    pub fn get_mut(&mut self, id: u32) -> Result<&mut Resource, Refused> {
        self.table.get_mut(&id).map(|entry| &mut entry.resource).ok_or(NO_RESOURCE)
    }

    /// The same with what is true of every kind.
    pub fn entry_mut(&mut self, id: u32) -> Result<&mut Entry, Refused> {
        self.table.get_mut(&id).ok_or(NO_RESOURCE)
    }

    /// The same, only to be looked at.
    pub fn entry(&self, id: u32) -> Result<&Entry, Refused> {
        self.table.get(&id).ok_or(NO_RESOURCE)
    }

    /// A texture that lives.
    pub fn texture(&self, id: u32) -> Result<&Texture, Refused> {
        let entry = self.entry(id)?;
        match &entry.resource {
            Resource::Texture(texture) => entry.living().map(|_| texture),
            Resource::Classic(_) | Resource::GuestBlob(_) | Resource::HostBlob(_) => Err(NO_RESOURCE),
        }
    }

    /// A blob of host memory that lives.
    pub fn host_blob(&self, id: u32) -> Result<&HostBlob, Refused> {
        let entry = self.entry(id)?;
        match &entry.resource {
            Resource::HostBlob(blob) => entry.living().map(|_| blob),
            Resource::Classic(_) | Resource::GuestBlob(_) | Resource::Texture(_) => Err(NO_RESOURCE),
        }
    }

    /// The memory of ours that the renderer has for mirrors.
    pub fn mirrored_files(&self) -> impl Iterator<Item = &File> {
        let mirrored = self.table.values().filter(|entry| entry.at_renderer == AtRenderer::Mirror);
        mirrored.filter_map(|entry| match &entry.resource {
            Resource::Classic(classic) => Some(classic.image.memfd()),
            Resource::GuestBlob(_) | Resource::Texture(_) | Resource::HostBlob(_) => None,
        })
    }

    /// Whether the renderer was told of any.
    pub fn any_at_renderer(&self) -> bool {
        self.table.values().any(|entry| entry.at_renderer != AtRenderer::Nothing)
    }

    /// The renderer would not make what this command asked for: as good as lost, until the guest takes it away.
    pub fn not_made(&mut self, id: u32, by: Token) {
        if let Some(entry) = self.table.get_mut(&id).filter(|entry| entry.at_renderer == AtRenderer::Whole(by)) {
            entry.at_renderer = AtRenderer::Lost;
        }
    }

    /// The renderer died: what was its own is lost, and ours is no longer mirrored.
    pub fn lose(&mut self) {
        for entry in self.table.values_mut() {
            entry.at_renderer = match entry.at_renderer {
                AtRenderer::Nothing | AtRenderer::Mirror => AtRenderer::Nothing,
                AtRenderer::Whole(_) | AtRenderer::Lost => AtRenderer::Lost,
            };
        }
    }

    /// All are gone: the driver starts anew.
    pub fn clear(&mut self) {
        self.table.clear();
    }

    /// How many there are.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.table.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blob(size: u64) -> Resource {
        let what = CreateBlob { memory: kinds::HOST3D, flags: kinds::MAPPABLE, blob: 1, size };
        Resource::HostBlob(HostBlob { what, entries: 0 })
    }

    fn classic() -> Resource {
        let layout = super::super::host_image::Layout::new(4, 4).unwrap();
        let image = HostImage::new(layout, super::super::formats::Format::B8G8R8X8).unwrap();
        Resource::Classic(Classic { image, backing: None })
    }

    #[test]
    fn an_id_is_of_one_kind_and_a_question_for_another_finds_nothing() {
        let mut resources = Resources::default();
        resources.insert(1, classic());
        resources.insert_made(2, blob(4096), Token(7));
        assert_eq!(resources.host_blob(2).map(|blob| blob.what.size), Ok(4096));
        for wrong in
            [resources.host_blob(1).map(|_| ()), resources.texture(2).map(|_| ()), resources.get(3).map(|_| ())]
        {
            assert_eq!(wrong, Err(NO_RESOURCE));
        }
        assert!(resources.remove(1).is_ok() && !resources.contains(1) && resources.remove(1).is_err());
    }

    #[test]
    fn a_renderer_that_dies_takes_its_own_along_and_the_mirrors_of_ours() {
        let mut resources = Resources::default();
        resources.insert(1, classic());
        assert!(!resources.any_at_renderer());
        resources.entry_mut(1).unwrap().at_renderer = AtRenderer::Mirror;
        resources.insert_made(2, blob(4096), Token(7));
        resources.not_made(2, Token(8));
        assert!(resources.host_blob(2).is_ok(), "another command's refusal");
        resources.lose();
        assert_eq!(resources.entry(1).unwrap().at_renderer, AtRenderer::Nothing);
        assert_eq!(resources.host_blob(2).map(|_| ()), Err(LOST_RESOURCE));
        assert!(resources.contains(2), "the guest takes it away itself");
    }

    #[test]
    fn what_the_renderer_would_not_make_is_lost() {
        let mut resources = Resources::default();
        resources.insert_made(2, blob(4096), Token(7));
        resources.not_made(2, Token(7));
        assert_eq!(resources.host_blob(2).map(|_| ()), Err(LOST_RESOURCE));
    }
}
