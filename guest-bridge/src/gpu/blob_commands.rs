//! The device's commands on blobs: those of guest memory are executed here, those of the host's are the 3D half's.
//!
//! As in `device`, nothing that a guest sends can panic, and a command that is refused changes nothing.

use super::backing::Backing;
use super::blob::{self, Blob, Image};
use super::class::Class;
use super::cursor::SIDE;
use super::device::{Device, Done, NO_RESOURCE, NO_SCANOUT, Outcome, Refused};
use super::formats::Format;
use super::memory::Memory;
use super::pacing::Waits;
use super::resource::{Layout, Resource};
use super::scanout::Shown;
use super::wire::{BlobImage, Command3d, CreateBlob, CursorPlace, Header, MemEntries, Response, Status, feature};
use crate::frames::Rect;
use crate::renderer::limits::blob as kinds;

const OVER: Refused = (Status::ErrOutOfMemory, Class::Quota);

/// What a guest is told of numbers that make no sense, or of a host that has no memory.
fn refused(class: Class) -> Refused {
    match class {
        Class::Quota | Class::HostMemory => (Status::ErrOutOfMemory, class),
        Class::BackingMissing => (Status::ErrUnspec, class),
        class => (Status::ErrInvalidParameter, class),
    }
}

impl Device {
    /// Executes a command of blobs; `None` if it is not one that is executed here.
    pub(super) fn blob_command(
        &mut self,
        memory: &Memory,
        header: &Header,
        command: &Command3d<'_>,
        response: &mut Response,
    ) -> Option<Done> {
        Some(match *command {
            Command3d::ResourceCreateBlob { resource, blob, entries } => {
                self.create_blob(memory, header, resource, blob, &entries)
            }
            Command3d::SetScanoutBlob { scanout, resource, rect, image } => {
                let source = Rect { x: rect.x, y: rect.y, width: rect.width, height: rect.height };
                self.set_scanout_blob(memory, header, scanout, resource, source, &image)
            }
            Command3d::ResourceMapBlob { resource, offset } => self.map_blob(header, resource, offset, response),
            Command3d::ResourceUnmapBlob { resource } => self.unmap_blob(resource),
            _ => return None,
        })
    }

    fn create_blob(
        &mut self,
        memory: &Memory,
        header: &Header,
        id: u32,
        what: CreateBlob,
        entries: &MemEntries<'_>,
    ) -> Done {
        if id == 0 || self.has_resource(id) {
            return Err((Status::ErrInvalidResourceId, Class::ResourceExists));
        }
        blob::check(&what).map_err(refused)?;
        if what.memory != kinds::GUEST {
            let three_d = self.three_d.as_mut().ok_or(refused(Class::BlobKind))?;
            return three_d.create_blob(memory, header, id, what, entries);
        }
        self.usage.take_resource(&self.quota, 0).map_err(|_| OVER)?;
        if self.usage.take_entries(&self.quota, entries.count()).is_err() {
            self.usage.give_resource(0);
            return Err(OVER);
        }
        match Backing::new(entries.iter(), memory).and_then(|backing| Blob::new(what.size, backing)) {
            Ok(blob) => {
                self.blobs.insert(id, blob);
                Ok(Outcome::Answer)
            }
            Err(class) => {
                self.usage.give_entries(entries.count());
                self.usage.give_resource(0);
                Err(refused(class))
            }
        }
    }

    /// RESOURCE_UNREF of a blob of guest memory; scanouts that show it are the caller's.
    pub(super) fn unref_blob(&mut self, id: u32) -> Done {
        let mut blob = self.blobs.remove(&id).ok_or(NO_RESOURCE)?;
        blob.forget(&mut self.usage);
        self.usage.give_entries(blob.backing.as_ref().map_or(0, Backing::entries));
        self.usage.give_resource(0);
        if let Some(three_d) = &mut self.three_d {
            three_d.unmirror(id);
        }
        Ok(Outcome::Answer)
    }

    /// RESOURCE_DETACH_BACKING of a blob of guest memory: nothing of it can be shown any more.
    pub(super) fn detach_blob(&mut self, id: u32) -> Done {
        let blob = self.blobs.get_mut(&id).ok_or(NO_RESOURCE)?;
        let backing = blob.backing.take().ok_or((Status::ErrUnspec, Class::BackingMissing))?;
        blob.forget(&mut self.usage);
        self.usage.give_entries(backing.entries());
        if let Some(three_d) = &mut self.three_d {
            three_d.unmirror(id);
        }
        self.turn_off_all(id);
        Ok(Outcome::Answer)
    }

    fn set_scanout_blob(
        &mut self,
        memory: &Memory,
        header: &Header,
        index: u32,
        id: u32,
        source: Rect,
        image: &BlobImage,
    ) -> Done {
        let index = index as usize;
        self.scanouts.get(index).ok_or(NO_SCANOUT)?;
        if id == 0 {
            self.turn_off(index);
            return Ok(Outcome::Answer);
        }
        let inside = |image: &Image| source.width != 0 && source.height != 0 && image.contains(&source);
        let outside = (Status::ErrInvalidParameter, Class::ScanoutRectangle);
        let shown = self.shown_resources();
        if let Some(three_d) = self.of_3d(id) {
            if !three_d.is_blob(id)? {
                // A texture has a layout of its own.
                return Err((Status::ErrUnspec, Class::BlobKind));
            }
            let image = Image::new(image, three_d.blob_size(id)?).map_err(refused)?;
            if !inside(&image) {
                return Err(outside);
            }
            let outcome = three_d.prepare_blob(header, id, &image, &shown)?;
            self.show(index, Shown { resource: id, source, buffer: None, image: Some(image) });
            return Ok(outcome);
        }
        let shown = self.scanouts.iter().filter_map(|scanout| Some(scanout.shown.as_ref()?.buffer.as_ref()?.id));
        let shown = shown.collect::<Vec<_>>();
        let blob = self.blobs.get_mut(&id).ok_or(NO_RESOURCE)?;
        let image = Image::new(image, blob.size).map_err(refused)?;
        if !inside(&image) {
            return Err(outside);
        }
        let counted = (&mut self.usage, &self.quota);
        let buffer = blob.picture(&image, memory, self.udmabuf.as_ref(), &shown, counted).map_err(refused)?;
        self.show(index, Shown { resource: id, source, buffer: Some(buffer), image: None });
        Ok(Outcome::Answer)
    }

    /// RESOURCE_FLUSH of a blob of guest memory: what is shown of it is there already, or is copied.
    pub(super) fn flush_blob(&mut self, memory: &Memory, id: u32, flushed: &Rect, fenced: bool) -> Done {
        let blob = self.blobs.get_mut(&id).ok_or(NO_RESOURCE)?;
        let showing = |buffer: u64| blob.image(buffer).is_some_and(|image| !image.contains(flushed));
        let mut shown: Vec<u64> = Vec::new();
        let showing_it = self.scanouts.iter().filter_map(|scanout| scanout.shown.as_ref().filter(|s| s.resource == id));
        for buffer in showing_it.filter_map(|shown| shown.buffer.as_ref()) {
            let buffer = buffer.id;
            if showing(buffer) {
                return Err((Status::ErrInvalidParameter, Class::FlushRectangle));
            }
            if !shown.contains(&buffer) {
                shown.push(buffer);
            }
        }
        for buffer in shown {
            let copied = blob.flush(memory, buffer, flushed).map_err(refused)?;
            self.copied_bytes = self.copied_bytes.saturating_add(copied);
        }
        let mut waits = Waits::NOTHING;
        for (index, (scanout, lane)) in self.scanouts.iter().zip(&mut self.lanes).enumerate() {
            if let Some(damage) = scanout.damage(id, flushed) {
                waits.add(index, lane.flush(damage));
            }
        }
        let may_hold = fenced && self.features & feature::IN_ORDER == 0 && waits != Waits::NOTHING;
        Ok(if may_hold { Outcome::Hold(waits) } else { Outcome::Answer })
    }

    /// UPDATE_CURSOR with a blob of guest memory: its first 64×64 pixels, which have alpha.
    pub(super) fn blob_cursor(&mut self, memory: &Memory, place: CursorPlace, id: u32, hot: (u32, u32)) -> Done {
        let scanout = self.scanouts.get_mut(place.scanout as usize).ok_or(NO_SCANOUT)?;
        let blob = self.blobs.get_mut(&id).ok_or(NO_RESOURCE)?;
        let small = (Status::ErrInvalidParameter, Class::CursorSize);
        let layout = Layout::new(SIDE, SIDE).filter(|layout| layout.bytes <= blob.size).ok_or(small)?;
        let made = match self.cursor_copy.take() {
            Some(copy) => Ok(copy),
            None => Resource::new(layout, Format::B8G8R8A8),
        };
        let copy = made.map_err(|_| refused(Class::HostMemory))?;
        let read = blob.read(memory, &copy);
        if read.is_ok() {
            scanout.cursor.show(&copy, hot.0, hot.1);
        }
        self.cursor_copy = Some(copy);
        read.map(|()| Outcome::Answer).map_err(refused)
    }

    fn map_blob(&mut self, header: &Header, id: u32, offset: u64, response: &mut Response) -> Done {
        let elsewhere = if self.has_resource(id) { refused(Class::BlobKind) } else { NO_RESOURCE };
        let three_d = self.three_d.as_mut().filter(|three_d| three_d.has(id)).ok_or(elsewhere)?;
        let size = three_d.mappable(id)?;
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

    fn unmap_blob(&mut self, id: u32) -> Done {
        let unknown = if self.has_resource(id) { (Status::ErrUnspec, Class::Window) } else { NO_RESOURCE };
        let three_d = self.three_d.as_mut().filter(|three_d| three_d.has(id)).ok_or(unknown)?;
        let token = three_d.token();
        if !self.shmem.unmap(id, token) {
            return Err((Status::ErrUnspec, Class::Window));
        }
        Ok(Outcome::Forwarded(token, Waits::NOTHING))
    }

    /// Whether an id is taken.
    pub(super) fn has_resource(&mut self, id: u32) -> bool {
        self.resources.contains_key(&id) || self.blobs.contains_key(&id) || self.of_3d(id).is_some()
    }

    /// Every scanout that shows this resource goes dark.
    pub(super) fn turn_off_all(&mut self, id: u32) {
        for index in 0..self.scanouts.len() {
            if self.scanouts.get(index).is_some_and(|scanout| scanout.shown.as_ref().is_some_and(|s| s.resource == id))
            {
                self.turn_off(index);
            }
        }
    }
}

#[cfg(test)]
#[path = "blob_tests.rs"]
mod tests;
