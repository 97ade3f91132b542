//! The device's commands on scanouts: what each shows, flushes of it, and its cursor.
//!
//! As in `device`, nothing that a guest sends can panic, and a command that is refused changes nothing.

#![cfg_attr(
    not(test),
    deny(clippy::wildcard_enum_match_arm, reason = "a new request, command or event is not to be taken for another")
)]

use super::blob::Image;
use super::class::Class;
use super::cursor::{self, SIDE};
use super::device::Device;
use super::formats::Format;
use super::host_image::{HostImage, Layout};
use super::memory::Memory;
use super::outcome::{Done, NO_RESOURCE, NO_SCANOUT, Outcome, Refused, refused};
use super::pacing::Waits;
use super::resources::{Resource, Resources};
use super::scanout::{Shown, looks};
use super::texture::Texture;
use super::wire::{BlobImage, CursorPlace, Header, Status, feature};
use crate::frames::Rect;

const OUTSIDE: Refused = (Status::ErrInvalidParameter, Class::ScanoutRectangle);
const FLUSH_OUTSIDE: Refused = (Status::ErrInvalidParameter, Class::FlushRectangle);

/// A texture that lives, as a picture.
fn texture_layout(resources: &Resources, id: u32) -> Result<(&Texture, Layout), Refused> {
    let texture = resources.texture(id)?;
    let layout = Layout::new(texture.what.width, texture.what.height);
    Ok((texture, layout.ok_or((Status::ErrInvalidParameter, Class::ResourceSize))?))
}

impl Device {
    pub(super) fn turn_off(&mut self, index: usize) {
        if let (Some(scanout), Some(lane)) = (self.scanouts.get_mut(index), self.lanes.get_mut(index)) {
            (scanout.shown, scanout.staged, scanout.coming) = (None, None, None);
            lane.abandon();
            self.layout_changed = true;
        }
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

    /// SET_SCANOUT. Blobs are shown by SET_SCANOUT_BLOB alone, which says how their pixels lie.
    pub(super) fn set_scanout(&mut self, index: u32, id: u32, source: Rect) -> Done {
        let index = index as usize;
        self.scanouts.get(index).ok_or(NO_SCANOUT)?;
        if id == 0 {
            self.turn_off(index);
            return Ok(Outcome::Answer);
        }
        let shown = self.shown_resources();
        let inside = |layout: &Layout| source.width != 0 && source.height != 0 && layout.contains(&source);
        let buffer = match self.resources.get_mut(id)? {
            Resource::Classic(classic) => {
                if !inside(&classic.image.layout) {
                    return Err(OUTSIDE);
                }
                let shared = classic.image.share(self.udmabuf.as_ref());
                Some(shared.map_err(|_| refused(Class::HostMemory))?)
            }
            Resource::Texture(_) => {
                let (texture, layout) = texture_layout(&self.resources, id)?;
                if !inside(&layout) {
                    return Err(OUTSIDE);
                }
                self.three_d.as_mut().ok_or(NO_RESOURCE)?.prepare(id, texture, &shown)?;
                None
            }
            Resource::GuestBlob(_) | Resource::HostBlob(_) => return Err(NO_RESOURCE),
        };
        self.show(index, Shown { resource: id, source, buffer, image: None });
        Ok(Outcome::Answer)
    }

    /// SET_SCANOUT_BLOB.
    pub(super) fn set_scanout_blob(
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
        let resources = self.shown_resources();
        let buffers = self.scanouts.iter().filter_map(|scanout| Some(scanout.shown.as_ref()?.buffer.as_ref()?.id));
        let buffers = buffers.collect::<Vec<_>>();
        match self.resources.get_mut(id)? {
            Resource::GuestBlob(blob) => {
                let image = Image::new(image, blob.size).map_err(refused)?;
                if !inside(&image) {
                    return Err(OUTSIDE);
                }
                let counted = (&mut self.usage, &self.quota);
                let picture = blob.picture(&image, memory, self.udmabuf.as_ref(), &buffers, counted);
                let buffer = Some(picture.map_err(refused)?);
                self.show(index, Shown { resource: id, source, buffer, image: None });
                Ok(Outcome::Answer)
            }
            Resource::HostBlob(_) => {
                let blob = self.resources.host_blob(id)?;
                let image = Image::new(image, blob.what.size).map_err(refused)?;
                if !inside(&image) {
                    return Err(OUTSIDE);
                }
                let three_d = self.three_d.as_mut().ok_or(NO_RESOURCE)?;
                let outcome = three_d.prepare_blob(header, id, blob, &image, &resources)?;
                self.show(index, Shown { resource: id, source, buffer: None, image: Some(image) });
                Ok(outcome)
            }
            // A texture has a layout of its own.
            Resource::Texture(_) => Err((Status::ErrUnspec, Class::BlobKind)),
            Resource::Classic(_) => Err(NO_RESOURCE),
        }
    }

    /// A scanout shows this from now on. It is checked.
    fn show(&mut self, index: usize, now: Shown) {
        let Some(scanout) = self.scanouts.get_mut(index) else { return };
        let before = scanout.shown.as_ref();
        let id = |shown: &Shown| (shown.resource, shown.buffer.as_ref().map(|buffer| buffer.id), shown.image);
        if before.is_some_and(|before| id(before) == id(&now) && before.source == now.source) {
            return;
        }
        let size = |shown: &Shown| (shown.source.width, shown.source.height);
        let same_size = before.is_some_and(|before| size(before) == size(&now));
        let form = |shown: &Shown| shown.buffer.as_deref().map(looks);
        let looks_the_same = same_size && before.is_some_and(|before| form(before) == form(&now));
        let fetched = now.buffer.is_none();
        scanout.shown = Some(now);
        if let Some(lane) = self.lanes.get_mut(index) {
            lane.set_fetched(fetched);
            lane.replaced((!same_size).then(|| scanout.whole()));
        }
        self.layout_changed |= !looks_the_same;
    }

    /// RESOURCE_FLUSH: what the scanouts show of the resource is to reach the screen. Of a blob of guest memory it is
    /// there already, or is copied.
    pub(super) fn flush(&mut self, memory: &Memory, id: u32, flushed: &Rect, fenced: bool) -> Done {
        match self.resources.get_mut(id)? {
            Resource::Classic(classic) if classic.image.layout.contains(flushed) => {}
            Resource::Classic(_) => return Err(FLUSH_OUTSIDE),
            Resource::GuestBlob(_) => self.copy_flushed(memory, id, flushed)?,
            Resource::Texture(_) => {
                if !texture_layout(&self.resources, id)?.1.contains(flushed) {
                    return Err(FLUSH_OUTSIDE);
                }
            }
            Resource::HostBlob(_) => {
                self.resources.host_blob(id)?;
                let shown = self.scanouts.iter().filter_map(|scanout| scanout.shown.as_ref());
                let mut images = shown.filter(|shown| shown.resource == id).filter_map(|shown| shown.image);
                if images.any(|image| !image.contains(flushed)) {
                    return Err(FLUSH_OUTSIDE);
                }
            }
        }
        let mut waits = Waits::NOTHING;
        let mut written = false;
        for (index, (scanout, lane)) in self.scanouts.iter().zip(&mut self.lanes).enumerate() {
            if let Some(damage) = scanout.damage(id, flushed) {
                waits.add(index, lane.flush(damage));
                written = true;
            }
        }
        if let (true, Resource::Classic(classic)) = (written, self.resources.get(id)?) {
            classic.image.written();
        }
        let may_hold = fenced && self.features & feature::IN_ORDER == 0 && waits != Waits::NOTHING;
        Ok(if may_hold { Outcome::Hold(waits) } else { Outcome::Answer })
    }

    /// Copies what was flushed of a blob of guest memory, for those of its pictures that are shown and are no dmabufs
    /// of its pages.
    fn copy_flushed(&mut self, memory: &Memory, id: u32, flushed: &Rect) -> Result<(), Refused> {
        let Resource::GuestBlob(blob) = self.resources.get_mut(id)? else { return Ok(()) };
        let mut buffers: Vec<u64> = Vec::new();
        let shown = self.scanouts.iter().filter_map(|scanout| scanout.shown.as_ref().filter(|s| s.resource == id));
        for buffer in shown.filter_map(|shown| shown.buffer.as_ref()).map(|buffer| buffer.id) {
            if blob.image(buffer).is_some_and(|image| !image.contains(flushed)) {
                return Err(FLUSH_OUTSIDE);
            }
            if !buffers.contains(&buffer) {
                buffers.push(buffer);
            }
        }
        for buffer in buffers {
            let copied = blob.flush(memory, buffer, flushed).map_err(refused)?;
            self.copied_bytes = self.copied_bytes.saturating_add(copied);
        }
        Ok(())
    }

    /// UPDATE_CURSOR. Of a blob of guest memory, which has no width, the first 64×64 pixels are the cursor. It is
    /// copied now: what the guest does with the resource later is not seen before the next one.
    pub(super) fn update_cursor(&mut self, memory: &Memory, place: CursorPlace, id: u32, hot: (u32, u32)) -> Done {
        let scanout = self.scanouts.get_mut(place.scanout as usize).ok_or(NO_SCANOUT)?;
        if id == 0 {
            scanout.cursor.hide();
            self.await_no_cursor(place.scanout);
            return Ok(Outcome::Answer);
        }
        let unfit = (Status::ErrInvalidParameter, Class::CursorSize);
        match self.resources.get_mut(id)? {
            Resource::Classic(classic) => {
                let Layout { width, height, .. } = classic.image.layout;
                if !cursor::fits(width, height) {
                    return Err(unfit);
                }
                scanout.cursor.show(&classic.image, (width, height), hot);
                self.await_no_cursor(place.scanout);
                Ok(Outcome::Answer)
            }
            Resource::GuestBlob(blob) => {
                let layout = Layout::new(SIDE, SIDE).filter(|layout| layout.bytes <= blob.size).ok_or(unfit)?;
                let made = match self.cursor_copy.take() {
                    Some(copy) => Ok(copy),
                    None => HostImage::new(layout, Format::B8G8R8A8),
                };
                let copy = made.map_err(|_| refused(Class::HostMemory))?;
                let read = blob.read(memory, &copy);
                if read.is_ok() {
                    scanout.cursor.show(&copy, (SIDE, SIDE), hot);
                }
                self.cursor_copy = Some(copy);
                read.map_err(refused)?;
                self.await_no_cursor(place.scanout);
                Ok(Outcome::Answer)
            }
            Resource::Texture(_) => {
                let texture = self.resources.texture(id)?;
                self.three_d.as_mut().ok_or(NO_RESOURCE)?.read_cursor(place.scanout, id, hot, texture)
            }
            Resource::HostBlob(_) => Err(NO_RESOURCE),
        }
    }

    /// The scanout has another cursor now than the one that the renderer may still be asked for.
    fn await_no_cursor(&mut self, scanout: u32) {
        if let Some(three_d) = &mut self.three_d {
            three_d.await_no_cursor(scanout);
        }
    }
}
