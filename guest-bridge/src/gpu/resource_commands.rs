//! The device's commands on resources of any kind: made, given pages, written to, taken away.
//!
//! As in `device`, nothing that a guest sends can panic, and a command that is refused changes nothing.

use super::backing::Backing;
use super::class::Class;
use super::device::Device;
use super::formats::Format;
use super::host_image::{HostImage, Layout};
use super::memory::Memory;
use super::outcome::{Done, NO_RESOURCE, OVER, Outcome, RESOURCE_EXISTS};
use super::resources::{AtRenderer, Classic, Entry, Resource};
use super::wire::{Header, MemEntries, Status};
use crate::frames::Rect;
use crate::renderer::wire::{Box3d, Transfer3d};

impl Device {
    /// RESOURCE_CREATE_2D.
    pub(super) fn create(&mut self, id: u32, format: u32, width: u32, height: u32) -> Done {
        if id == 0 || self.resources.contains(id) {
            return Err(RESOURCE_EXISTS);
        }
        let format = Format::from_number(format).ok_or((Status::ErrInvalidParameter, Class::Format))?;
        let layout = Layout::new(width, height).ok_or((Status::ErrInvalidParameter, Class::ResourceSize))?;
        self.usage.take_resource(&self.quota, layout.bytes).map_err(|_| OVER)?;
        match HostImage::new(layout, format) {
            Ok(image) => {
                self.resources.insert(id, Resource::Classic(Classic { image, backing: None }));
                Ok(Outcome::Answer)
            }
            Err(error) => {
                self.usage.give_resource(layout.bytes);
                tracing::debug!(%error, bytes = layout.bytes, "no memory for a guest's resource");
                Err((Status::ErrOutOfMemory, Class::HostMemory))
            }
        }
    }

    /// RESOURCE_UNREF.
    pub(super) fn unref(&mut self, header: &Header, id: u32) -> Done {
        let Entry { resource, at_renderer, .. } = self.resources.remove(id)?;
        let three_d = self.three_d.as_mut();
        let outcome = match resource {
            Resource::Classic(classic) => {
                self.usage.give_resource(classic.image.layout.bytes);
                self.usage.give_entries(classic.backing.as_ref().map_or(0, Backing::entries));
                three_d.into_iter().for_each(|three_d| three_d.unmirror(id, at_renderer));
                Outcome::Answer
            }
            Resource::GuestBlob(mut blob) => {
                blob.forget(&mut self.usage);
                self.usage.give_entries(blob.backing.as_ref().map_or(0, Backing::entries));
                self.usage.give_resource(0);
                three_d.into_iter().for_each(|three_d| three_d.unmirror(id, at_renderer));
                Outcome::Answer
            }
            Resource::Texture(texture) => {
                let counted = (texture.bytes, texture.backing.map_or(0, |(entries, _)| entries));
                let outcome = three_d.ok_or(NO_RESOURCE)?.unref(header, id, counted, at_renderer);
                self.shmem.forget(id);
                outcome
            }
            Resource::HostBlob(blob) => {
                let counted = (blob.what.size, blob.entries);
                let outcome = three_d.ok_or(NO_RESOURCE)?.unref(header, id, counted, at_renderer);
                self.shmem.forget(id);
                outcome
            }
        };
        self.turn_off_all(id);
        Ok(outcome)
    }

    /// RESOURCE_ATTACH_BACKING.
    pub(super) fn attach(&mut self, memory: &Memory, header: &Header, id: u32, entries: &MemEntries<'_>) -> Done {
        let entry = self.resources.entry_mut(id)?;
        let lost = entry.living().err();
        let classic = match &mut entry.resource {
            Resource::Classic(classic) => classic,
            // It had all that it needs from the beginning.
            Resource::GuestBlob(_) => return Err((Status::ErrUnspec, Class::BackingTwice)),
            Resource::Texture(texture) => {
                let three_d = self.three_d.as_mut().ok_or(NO_RESOURCE)?;
                return lost.map_or_else(|| three_d.attach(memory, header, id, entries, texture), Err);
            }
            Resource::HostBlob(_) => return Err(NO_RESOURCE),
        };
        if classic.backing.is_some() {
            return Err((Status::ErrUnspec, Class::BackingTwice));
        }
        self.usage.take_entries(&self.quota, entries.count()).map_err(|_| OVER)?;
        match Backing::new(entries.iter(), memory) {
            Ok(backing) => {
                classic.backing = Some(backing);
                Ok(Outcome::Answer)
            }
            Err(class) => {
                self.usage.give_entries(entries.count());
                Err((Status::ErrInvalidParameter, class))
            }
        }
    }

    /// RESOURCE_DETACH_BACKING. Of a blob of guest memory nothing can be shown any more.
    pub(super) fn detach(&mut self, header: &Header, id: u32) -> Done {
        let missing = (Status::ErrUnspec, Class::BackingMissing);
        let entry = self.resources.entry_mut(id)?;
        match &mut entry.resource {
            Resource::Classic(classic) => {
                let backing = classic.backing.take().ok_or(missing)?;
                self.usage.give_entries(backing.entries());
                Ok(Outcome::Answer)
            }
            Resource::GuestBlob(blob) => {
                let backing = blob.backing.take().ok_or(missing)?;
                blob.forget(&mut self.usage);
                self.usage.give_entries(backing.entries());
                let before = std::mem::take(&mut entry.at_renderer);
                if let Some(three_d) = &mut self.three_d {
                    three_d.unmirror(id, before);
                }
                self.turn_off_all(id);
                Ok(Outcome::Answer)
            }
            Resource::Texture(texture) => {
                let lives = entry.at_renderer != AtRenderer::Lost;
                self.three_d.as_mut().ok_or(NO_RESOURCE)?.detach(header, id, texture, lives)
            }
            Resource::HostBlob(_) => Err(NO_RESOURCE),
        }
    }

    /// TRANSFER_TO_HOST_2D.
    pub(super) fn transfer(&mut self, memory: &Memory, header: &Header, id: u32, target: &Rect, offset: u64) -> Done {
        let entry = self.resources.entry_mut(id)?;
        let classic = match &mut entry.resource {
            Resource::Classic(classic) => classic,
            // Its pages are what is shown; drivers say so of cursors all the same.
            Resource::GuestBlob(_) => return Ok(Outcome::Answer),
            Resource::Texture(_) | Resource::HostBlob(_) => {
                let Rect { x, y, width, height } = *target;
                let region = Box3d { x, y, z: 0, width, height, depth: 1 };
                let transfer = Transfer3d { region, offset, ..Transfer3d::default() };
                // The command is the device's own; its header names no context.
                let header = Header { ctx_id: 0, ..*header };
                let three_d = self.three_d.as_mut().ok_or(NO_RESOURCE)?;
                return three_d.transfer(memory, &header, id, transfer, true, &self.resources);
            }
        };
        let copied = classic.transfer(memory, target, offset).map_err(|class| match class {
            Class::BackingMissing => (Status::ErrUnspec, class),
            class => (Status::ErrInvalidParameter, class),
        })?;
        self.copied_bytes = self.copied_bytes.saturating_add(copied);
        if let (AtRenderer::Mirror, Some(three_d)) = (entry.at_renderer, &mut self.three_d) {
            three_d.mirror_written(id, &classic.image, target);
        }
        Ok(Outcome::Answer)
    }
}
