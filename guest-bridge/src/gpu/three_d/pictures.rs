//! Pixels of 3D resources that are shown: as the renderer's dmabufs ([`super::exports`]), or read back by the renderer
//! into memory of ours.
//!
//! A dmabuf is shown as it is, once a fence says that the renderer has drawn all that came before the flush: a
//! compositor need not know of fences then, and half a picture is never seen. Otherwise what the screen is about to
//! show is read, and only where the guest has flushed. Both outlive the renderer.

use super::answers::Purpose;
use super::{AtRenderer, Entry as Held, ThreeD, unsent};
use crate::damage::{Damage, union};
use crate::frames::{Rect, SharedBuffer};
use crate::gpu::blob::Image;
use crate::gpu::class::Class;
use crate::gpu::cursor;
use crate::gpu::formats::{BYTES_PER_PIXEL, Format};
use crate::gpu::host_image::{HostImage, Layout};
use crate::gpu::memory::Memory;
use crate::gpu::outcome::{Done, LOST_RESOURCE, Outcome, Refused};
use crate::gpu::resources::{Resource, Resources};
use crate::gpu::texture::Texture;
use crate::gpu::wire::{CreateBlob, Status};
use crate::renderer::limits::blob as kinds;
use crate::renderer::limits::target::TEXTURE_2D;
use crate::renderer::wire::{Box3d, Create3d, ReadBack, Request, Transfer3d};
use std::collections::hash_map::Entry;
use std::fs::File;
use std::os::fd::AsFd;
use std::sync::Arc;

/// Most resources whose pixels are kept in memory of ours: below what the renderer takes, cursors included.
const MAX_TARGETS: usize = 40;
/// More rectangles than this are read as one.
const MAX_READS: usize = 4;

/// Memory that a resource's pixels are read back into.
#[derive(Debug)]
pub struct ReadTarget {
    memory: HostImage,
    id: u32,
    /// The renderer that lives now knows it.
    pub(super) told: bool,
    /// It has all of the resource's pixels, but for what is [`Self::behind`].
    read: bool,
    /// What the guest has changed in other resources that it shows in turn with this one, and so in this one, too.
    behind: Damage,
}

impl ReadTarget {
    /// The memory's file.
    pub(super) fn file(&self) -> &File {
        self.memory.memfd()
    }
}

/// The same for a scanout's cursor.
#[derive(Debug)]
pub struct CursorTarget {
    /// Its pixels.
    pub(in crate::gpu) memory: HostImage,
    id: u32,
    /// In pixels.
    pub(in crate::gpu) size: (u32, u32),
    /// The pixel that points.
    pub(in crate::gpu) hot: (u32, u32),
    /// The read whose answer brings the cursor; that of one before it finds half of another in the memory, or comes
    /// after the guest has hidden it.
    awaited: Option<u64>,
}

impl CursorTarget {
    /// Its id at the renderer.
    pub(super) fn id(&self) -> u32 {
        self.id
    }
}

/// A scanout whose pixels are to be fetched.
#[derive(Clone, Debug)]
pub struct Fetch<'a> {
    /// The scanout's index.
    pub scanout: usize,
    /// Comes back in [`super::ThreeDEvent::Fetched`].
    pub epoch: u64,
    /// The resource that it shows.
    pub resource: u32,
    /// The part of the resource that it shows.
    pub source: Rect,
    /// How the pixels lie, if it is a blob.
    pub image: Option<Image>,
    /// What has changed, in pixels of the scanout.
    pub damage: &'a [Rect],
    /// The resources of all scanouts: their memory stays, where that of others makes room.
    pub shown: &'a [u32],
    /// What makes dmabufs of memory of ours.
    pub udmabuf: Option<&'a File>,
}

fn memory(width: u32, height: u32, format: Format) -> Result<HostImage, Refused> {
    let layout = Layout::new(width, height).ok_or((Status::ErrInvalidParameter, Class::ResourceSize))?;
    HostImage::new(layout, format).map_err(|_| (Status::ErrOutOfMemory, Class::HostMemory))
}

/// A scanout's rectangle in its resource's pixels.
fn placed(rect: &Rect, source: &Rect) -> Rect {
    Rect { x: source.x.saturating_add(rect.x), y: source.y.saturating_add(rect.y), ..*rect }
}

/// The part of a rectangle that lies inside.
fn clipped(rect: Rect, layout: &Layout) -> Rect {
    let width = layout.width.saturating_sub(rect.x).min(rect.width);
    let height = layout.height.saturating_sub(rect.y).min(rect.height);
    Rect { width, height, ..rect }
}

impl ThreeD {
    /// The memory that a resource's pixels are read back into, made when it is first shown.
    fn target(&mut self, id: u32, texture: &Texture, fetch: &Fetch<'_>) -> Option<Arc<SharedBuffer>> {
        let (width, height, udmabuf, shown) = (texture.what.width, texture.what.height, fetch.udmabuf, fetch.shown);
        self.make_room(id, shown);
        let next = self.next_target;
        let target = match self.targets.entry(id) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => {
                let memory = memory(width, height, Format::B8G8R8X8).ok()?;
                self.next_target = next.wrapping_add(1);
                place.insert(ReadTarget { memory, id: next, told: false, read: false, behind: Damage::default() })
            }
        };
        target.memory.share(udmabuf).ok()
    }

    /// A guest that shows one resource after another gets no more memory for it than for [`MAX_TARGETS`].
    fn make_room(&mut self, id: u32, shown: &[u32]) {
        if self.targets.len() < MAX_TARGETS || self.targets.contains_key(&id) {
            return;
        }
        let idle = self.targets.iter().filter(|(other, _)| !shown.contains(other));
        if let Some(oldest) = idle.min_by_key(|(_, target)| target.id).map(|(&other, _)| other) {
            self.drop_target(oldest);
        }
    }

    /// Has pixels made ready: what they will be in, and how many bytes of them are copied; or `None` if they cannot be,
    /// because the renderer that had them is gone or there is no memory for them.
    pub fn fetch(&mut self, fetch: &Fetch<'_>, resources: &Resources) -> Option<(Arc<SharedBuffer>, u64)> {
        if let Some(buffer) = self.given(fetch.resource, fetch.image.as_ref()) {
            self.changed(fetch);
            let fence = self.answers.drawn(fetch.scanout, fetch.epoch);
            if self.client.fence(0, None, fence).is_err() {
                self.answers.undrawn(fence);
                return None;
            }
            return Some((buffer, 0));
        }
        let texture = resources.texture(fetch.resource).ok()?;
        let buffer = self.target(fetch.resource, texture, fetch)?;
        let Some(bytes) = self.read_back(fetch) else {
            self.miss(fetch.resource);
            return None;
        };
        Some((buffer, bytes))
    }

    /// What was to be read back of a resource has not been, or not all of it: next time it is read whole.
    pub(super) fn miss(&mut self, id: u32) {
        let Some(target) = self.targets.get_mut(&id) else { return };
        target.read = false;
        if std::mem::take(&mut target.told) {
            let dropped = self.client.drop_target(target.id);
            self.must(dropped);
        }
    }

    /// The next picture of a guest that flips differs from another one's memory where this one differs from its.
    fn changed(&mut self, fetch: &Fetch<'_>) {
        for (_, other) in self.targets.iter_mut().filter(|(other, _)| **other != fetch.resource) {
            for rect in fetch.damage {
                other.behind.add(clipped(placed(rect, &fetch.source), &other.memory.layout));
            }
        }
    }

    /// Has pixels read back; bytes that will be copied.
    fn read_back(&mut self, fetch: &Fetch<'_>) -> Option<u64> {
        let target = self.targets.get_mut(&fetch.resource)?;
        let layout = target.memory.layout;
        if !target.told {
            let request = Request::Target { target: target.id, length: layout.bytes };
            // Of a renderer that does not get it the next request fails as well; another flush tries again.
            let sent = self.client.send(&request, &[target.memory.memfd().as_fd()]);
            self.answers.expect(sent.ok()?, Purpose::Silent);
            target.told = true;
        }
        let mut parts = std::mem::take(&mut target.behind);
        if !std::mem::replace(&mut target.read, true) {
            parts.add(Rect { x: 0, y: 0, width: layout.width, height: layout.height });
        }
        let source = &fetch.source;
        let changed: Vec<Rect> = fetch.damage.iter().map(|rect| placed(rect, source)).collect();
        changed.iter().for_each(|&rect| parts.add(rect));
        self.changed(fetch);
        let target = self.targets.get(&fetch.resource)?.id;
        let mut rects = parts.rects();
        let whole;
        if rects.len() > MAX_READS {
            whole = [rects.iter().copied().reduce(union)?];
            rects = &whole;
        }
        let mut bytes = 0;
        for (index, rect) in rects.iter().enumerate() {
            let Rect { x, y, width, height } = *rect;
            let part = ReadBack { x, y, width, height, stride: layout.pitch, offset: 0 };
            let ticket = self.client.send(&Request::ReadBack { resource: fetch.resource, target, part }, &[]).ok()?;
            let last = index + 1 == rects.len();
            let Fetch { scanout, epoch, resource, .. } = *fetch;
            self.answers.expect(ticket, Purpose::Fetch { scanout, epoch, resource, last });
            bytes += u64::from(width) * u64::from(height) * u64::from(BYTES_PER_PIXEL);
        }
        Some(bytes)
    }

    /// The pixels of this resource have been written to its memory.
    pub fn written(&self, id: u32) {
        if let Some(target) = self.targets.get(&id) {
            target.memory.written();
        }
    }

    /// UPDATE_CURSOR with a 3D resource: [`super::ThreeDEvent::Cursor`] says when its pixels are there.
    pub fn read_cursor(&mut self, scanout: u32, id: u32, hot: (u32, u32), texture: &Texture) -> Done {
        let bad = (Status::ErrInvalidParameter, Class::CursorSize);
        texture.shown_format().ok_or(bad)?;
        let (width, height) = (texture.what.width, texture.what.height);
        if !cursor::fits(width, height) {
            return Err(bad);
        }
        if !self.cursors.contains_key(&scanout) {
            let memory = memory(cursor::SIDE, cursor::SIDE, Format::B8G8R8A8)?;
            let id = self.next_target;
            self.next_target = id.wrapping_add(1);
            let request = Request::Target { target: id, length: memory.layout.bytes };
            let ticket = self.client.send(&request, &[memory.memfd().as_fd()]).map_err(unsent)?;
            self.answers.expect(ticket, Purpose::Silent);
            self.cursors.insert(scanout, CursorTarget { memory, id, size: (0, 0), hot, awaited: None });
        }
        let target = self.cursors.get_mut(&scanout).ok_or(LOST_RESOURCE)?;
        let part = ReadBack { width, height, stride: target.memory.layout.pitch, ..ReadBack::default() };
        let request = Request::ReadBack { resource: id, target: target.id, part };
        let ticket = self.client.send(&request, &[]).map_err(unsent)?;
        self.cursor_reads += 1;
        let read = self.cursor_reads;
        (target.size, target.hot, target.awaited) = ((width, height), hot, Some(read));
        self.answers.expect(ticket, Purpose::Cursor { scanout, read });
        Ok(Outcome::Answer)
    }

    /// The guest shows another cursor on this scanout, or none: what is still being read is not to be seen.
    pub fn await_no_cursor(&mut self, scanout: u32) {
        if let Some(target) = self.cursors.get_mut(&scanout) {
            target.awaited = None;
        }
    }

    /// What a scanout's cursor was read into; `None` if it is not the one that is to be seen.
    pub fn cursor(&self, scanout: u32, read: u64) -> Option<&CursorTarget> {
        self.cursors.get(&scanout).filter(|target| target.awaited == Some(read))
    }

    pub(super) fn drop_target(&mut self, resource: u32) {
        if let Some(target) = self.targets.remove(&resource).filter(|target| target.told) {
            let dropped = self.client.drop_target(target.id);
            self.must(dropped);
        }
    }

    /// One of ours is to be used by a 3D context: the renderer gets one that looks the same and whose backing is our
    /// memory, or the guest's. Nothing if it has one already.
    pub(super) fn mirror(&mut self, memory: &Memory, id: u32, entry: &mut Held) -> Result<(), Refused> {
        if entry.at_renderer != AtRenderer::Nothing {
            return Ok(());
        }
        match &entry.resource {
            Resource::Classic(classic) => self.mirror_image(id, &classic.image)?,
            Resource::GuestBlob(blob) => {
                let Some(backing) = blob.backing.as_ref() else { return Ok(()) };
                self.tell_memory(memory)?;
                let what = CreateBlob { memory: kinds::GUEST, flags: 0, blob: 0, size: blob.size };
                let ticket = self.send_blob(id, 0, what, backing).map_err(unsent)?;
                self.answers.expect(ticket, Purpose::Silent);
            }
            // The renderer's own need no mirror.
            Resource::Texture(_) | Resource::HostBlob(_) => return Ok(()),
        }
        entry.at_renderer = AtRenderer::Mirror;
        Ok(())
    }

    fn mirror_image(&mut self, id: u32, image: &HostImage) -> Result<(), Refused> {
        let Layout { width, height, bytes, .. } = image.layout;
        let what = Create3d {
            target: TEXTURE_2D,
            format: image.format.number(),
            bind: MIRROR_BIND,
            width,
            height,
            depth: 1,
            array_size: 1,
            flags: TOP_FIRST,
            ..Default::default()
        };
        let ticket = self.client.send(&Request::Create { resource: id, what }, &[]).map_err(unsent)?;
        self.answers.expect(ticket, Purpose::Silent);
        let request = Request::AttachFile { resource: id, length: bytes };
        match self.client.send(&request, &[image.memfd().as_fd()]) {
            Ok(ticket) => self.answers.expect(ticket, Purpose::Silent),
            Err(why) => {
                self.tell(&Request::Unref(id));
                return Err(unsent(why));
            }
        };
        self.mirror_written(id, image, &Rect { x: 0, y: 0, width, height });
        Ok(())
    }

    /// A part of a classic 2D resource that has a mirror was written to: the mirror follows.
    pub fn mirror_written(&mut self, id: u32, image: &HostImage, part: &Rect) {
        if part.width == 0 || part.height == 0 {
            return;
        }
        let pitch = image.layout.pitch;
        let offset = u64::from(part.y) * u64::from(pitch) + u64::from(part.x) * u64::from(BYTES_PER_PIXEL);
        let region = Box3d { x: part.x, y: part.y, z: 0, width: part.width, height: part.height, depth: 1 };
        let transfer = Transfer3d { context: 0, region, offset, level: 0, stride: pitch, layer_stride: 0 };
        self.tell(&Request::TransferTo { resource: id, transfer });
    }

    /// One of ours is gone, or its memory is; so is its mirror, if it had one.
    pub fn unmirror(&mut self, id: u32, at_renderer: AtRenderer) {
        if at_renderer == AtRenderer::Mirror {
            self.tell(&Request::Unref(id));
        }
    }
}

/// `VIRGL_BIND_RENDER_TARGET | VIRGL_BIND_SAMPLER_VIEW`.
const MIRROR_BIND: u32 = 1 << 1 | 1 << 3;
/// `VIRTIO_GPU_RESOURCE_FLAG_Y_0_TOP`.
const TOP_FIRST: u32 = 1;
