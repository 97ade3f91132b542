//! Guests' surfaces as pieces: a picture or a pointer, imported when it is drawn and at no other time.
//!
//! Trusts nothing that a guest says of its buffer: a shared memory's size is checked before every import, and a texture
//! that cannot be read when it is drawn leaves the ground's colour in its place, never what was there before.

use super::{Part, Piece, Textures, What, ground, on_screen};
use crate::monotonic::processor_time;
use crate::outputs::OutputId;
use crate::render::cut::{crop, extent, whole_inside};
use crate::render::own::ImportOwn;
use crate::render::shape::Shape;
use crate::wayland::client;
use crate::wayland::content::{Content, Upload};
use crate::wayland::mapped::Mapping;
use crate::wayland::screens::Screens;
use phyllome_protocol::status::Area;
use smithay::backend::allocator::Fourcc;
use smithay::backend::allocator::format::get_bpp;
use smithay::backend::renderer::element::Id;
use smithay::backend::renderer::element::memory::MemoryBuffer;
use smithay::backend::renderer::utils::{Buffer as SurfaceBuffer, CommitCounter, DamageSet, DamageSnapshot};
use smithay::backend::renderer::{Frame, ImportAll, Renderer, Texture};
use smithay::reexports::wayland_server::backend::ObjectId;
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::reexports::wayland_server::{Resource, Weak};
use smithay::utils::{Buffer, Physical, Rectangle, Size, Transform};
use smithay::wayland::shm::{BufferAccessError, shm_format_to_fourcc, with_buffer_contents};
use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// What a surface is when it is not drawn but put onto a plane.
#[derive(Debug)]
enum Storage {
    /// It can only be drawn.
    None,
    /// A guest's dmabuf.
    Buffer(SurfaceBuffer),
    /// A copy of a guest's pointer, of exactly the size that is shown.
    Pointer(Rc<MemoryBuffer>),
}

/// What is drawn of a guest's surface.
#[derive(Debug)]
pub(super) struct GuestSurface<T> {
    /// The guest's pointer, or else its picture.
    pointer: bool,
    storage: Storage,
    texture: T,
    pub(super) source: Rectangle<f64, Buffer>,
    pub(super) transform: Transform,
    pub(super) opaque: bool,
    damage: DamageSnapshot<i32, Buffer>,
    /// The last attempt to draw it failed.
    pub(super) failed: Cell<bool>,
    /// What the texture reads from, where the processor reads it.
    mapping: Option<Rc<Mapping>>,
    surface: WlSurface,
    /// Processor time that drawing it took.
    took: Cell<Duration>,
}

impl<T> GuestSurface<T> {
    /// It was drawn as often as it is in this frame: what that took is the guest's.
    pub(super) fn pay(&self) {
        let took = self.took.take();
        if !took.is_zero() {
            client::pictured(&self.surface, took);
        }
    }

    /// So much more was spent for it.
    pub(super) fn charge(&self, took: Duration) {
        self.took.set(self.took.get() + took);
    }

    pub(super) fn part(&self) -> Part {
        if self.pointer { Part::Pointer } else { Part::Picture }
    }

    pub(super) fn commit(&self) -> CommitCounter {
        self.damage.current_commit()
    }

    /// What changed since `commit`, of what is shown `size` pixels large.
    pub(super) fn damage(&self, commit: Option<CommitCounter>, size: Size<i32, Physical>) -> DamageSet<i32, Physical> {
        let whole = || DamageSet::from_slice(&[Rectangle::from_size(size)]);
        let Some(parts) = self.damage.damage_since(commit) else { return whole() };
        if parts.is_empty() {
            return DamageSet::default();
        }
        if self.transform != Transform::Normal {
            return whole();
        }
        on_screen(parts, self.source, size)
    }

    /// Its dmabuf, where a plane may show it.
    pub(super) fn buffer(&self) -> Option<&SurfaceBuffer> {
        match &self.storage {
            Storage::Buffer(buffer) => Some(buffer),
            Storage::None | Storage::Pointer(_) => None,
        }
    }

    /// The copy of a pointer, where a plane may show it.
    pub(super) fn pointer(&self) -> Option<&Rc<MemoryBuffer>> {
        match &self.storage {
            Storage::Pointer(copy) => Some(copy),
            Storage::None | Storage::Buffer(_) => None,
        }
    }

    /// Draws it, or the ground where it cannot be read.
    pub(super) fn draw<R>(
        &self,
        frame: &mut R::Frame<'_, '_>,
        source: Rectangle<f64, Buffer>,
        place: Rectangle<i32, Physical>,
        damage: &[Rectangle<i32, Physical>],
        opaque: &[Rectangle<i32, Physical>],
        transform: Transform,
    ) -> Result<(), R::Error>
    where
        R: Renderer<TextureId = T>,
    {
        let started = processor_time();
        let reading = self.mapping.as_deref().and_then(Mapping::reading);
        let drawn = frame.render_texture_from_to(&self.texture, source, place, damage, opaque, transform, 1.0);
        drop(reading);
        self.took.set(self.took.get() + processor_time().saturating_sub(started));
        self.failed.set(drawn.is_err());
        if drawn.is_err() { frame.draw_solid(place, damage, ground()) } else { Ok(()) }
    }
}

/// How a buffer's pixels get to the renderer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Copied from shared memory.
    Shared,
    /// Copied from, or read in, a dmabuf's mapping.
    Mapped,
    /// Read by the GPU.
    Imported,
}

/// A surface's texture, for as long as it is drawn.
pub(super) struct Imported<T> {
    pub(super) surface: Weak<WlSurface>,
    id: Id,
    serial: u64,
    texture: Option<T>,
    buffer: ObjectId,
    way: Way,
    format: Option<Fourcc>,
    /// What changed up to what the texture has.
    damage: DamageSnapshot<i32, Buffer>,
    /// The output whose last frame it was made for.
    pub(super) output: Option<OutputId>,
    /// In that frame.
    pub(super) used: bool,
    /// Holds what the texture reads from.
    _mapping: Option<Rc<Mapping>>,
}

impl<T: Clone> Imported<T> {
    fn drawable(&self) -> Drawable<T> {
        let texture = self.texture.clone();
        texture.map_or(Drawable::Unreadable, |texture| Drawable::Texture(texture, self.damage.clone()))
    }
}

/// Where a surface is to be drawn: its place, what is cut off, and whether it is a guest's pointer.
pub(super) struct SurfaceLayer<'a> {
    pub(super) surface: &'a WlSurface,
    /// Left and upper edge.
    pub(super) at: (i32, i32),
    /// Width and height.
    pub(super) size: (u32, u32),
    pub(super) clip: &'a Area,
    pub(super) pointer: bool,
    pub(super) output: Option<OutputId>,
}

/// What can be drawn of a surface now.
enum Drawable<T> {
    /// This, in which everything is that changed up to this.
    Texture(T, DamageSnapshot<i32, Buffer>),
    /// Nothing yet: there is more to upload than goes with one frame.
    Later,
    /// Nothing: it cannot be read.
    Unreadable,
}

impl<T: Texture + Clone + 'static> Textures<T> {
    /// The piece of a guest's surface; `None` where nothing of it can be seen.
    pub(super) fn surface_piece<R>(
        &mut self,
        renderer: &mut R,
        shown: &SurfaceLayer<'_>,
        screens: &mut Screens,
    ) -> Option<Piece<T>>
    where
        R: Renderer<TextureId = T> + ImportAll + ImportOwn,
    {
        let SurfaceLayer { surface, at: (x, y), size: (width, height), clip, pointer, output } = *shown;
        let content = screens.content_mut(surface)?;
        let drawable = self.surface_texture(renderer, surface, content);
        if let Some(imported) = self.surfaces.get_mut(&surface.id()) {
            (imported.output, imported.used) = (output, true);
        }
        let (texture, damage) = match drawable {
            Drawable::Texture(texture, damage) => (texture, damage),
            Drawable::Later => return None,
            Drawable::Unreadable => {
                if !pointer {
                    screens.note_unreadable(surface);
                }
                return None;
            }
        };
        let shape = Shape::of(content, (x, y, width, height));
        let storage = if pointer {
            let copy = self.pointers.as_mut().and_then(|pointers| pointers.copy(content));
            copy.filter(|_| shape.exact).map_or(Storage::None, Storage::Pointer)
        } else if shape.suits_overlay(clip).is_ok() {
            Storage::Buffer(content.buffer.clone())
        } else {
            Storage::None
        };
        let place = Rectangle::new((x, y).into(), (extent(width), extent(height)).into());
        let (place, source) = if content.transform == Transform::Normal {
            crop(place, content.source, clip)?
        } else {
            // A turned picture is never cut: it is shown only where it fits whole.
            (whole_inside(place, clip)?, content.source)
        };
        let surface = GuestSurface {
            pointer,
            storage,
            texture,
            source,
            transform: content.transform,
            opaque: !content.has_alpha,
            damage,
            failed: Cell::new(false),
            mapping: content.mapping.clone(),
            surface: surface.clone(),
            took: Cell::default(),
        };
        Some(Piece { id: content.id.clone(), place, what: What::Surface(surface) })
    }

    fn surface_texture<R>(&mut self, renderer: &mut R, surface: &WlSurface, content: &mut Content) -> Drawable<T>
    where
        R: Renderer<TextureId = T> + ImportAll + ImportOwn,
    {
        let key = surface.id();
        if let Some(imported) = self.surfaces.get(&key)
            && imported.id == content.id
            && imported.serial == content.serial
        {
            return imported.drawable();
        }
        if content.unreadable {
            return Drawable::Unreadable;
        }
        let readable = with_buffer_contents(&content.buffer, |_, length, data| {
            let end = i64::from(data.offset) + i64::from(data.stride) * i64::from(data.height);
            // Rows of whole words: others could be copied only all at once.
            let whole = usize::try_from(end).is_ok_and(|end| end <= length) && data.stride % 4 == 0;
            (whole, shm_format_to_fourcc(data.format))
        });
        let shm = !matches!(readable, Err(BufferAccessError::NotManaged));
        let (readable, format) = readable.unwrap_or((!shm, content.mapping.as_ref().map(|mapping| mapping.format())));
        if !readable {
            return Drawable::Unreadable;
        }
        let way = match (shm, &content.mapping) {
            (true, _) => Way::Shared,
            (false, Some(_)) => Way::Mapped,
            // No processor reads what was not mapped: neither how large it is nor whether it is still drawn into is known.
            (false, None) if !R::COPIES => return Drawable::Unreadable,
            (false, None) => Way::Imported,
        };
        let before = self.surfaces.get(&key);
        let before = before.filter(|before| before.id == content.id && before.way == way && before.format == format);
        let before = before.and_then(|before| before.texture.clone());
        let upload = content.take_upload();
        let parts = match &upload {
            Upload::Parts(parts) if before.is_some() => Some(parts.as_slice()),
            _ => None,
        };
        if way != Way::Imported
            && parts.is_some_and(<[_]>::is_empty)
            && let Some(imported) = self.surfaces.get_mut(&key)
            && imported.id == content.id
            && imported.buffer == content.buffer.id()
        {
            // The same buffer, and nothing of it changed: no upload.
            imported.serial = content.serial;
            imported.damage = content.damage_snapshot();
            return imported.drawable();
        }
        let copied = R::COPIES && way != Way::Imported;
        let in_words = format.and_then(get_bpp) == Some(32);
        let bytes = match parts {
            _ if !copied => 0,
            Some(_) if in_words => upload.bytes(content.size),
            // What has another size of pixels is copied all at once, and has eight bytes for each at most.
            _ => Upload::Whole.bytes(content.size) * if in_words { 1 } else { 2 },
        };
        if !self.uploads.allow(bytes) {
            content.return_upload(upload);
            // Until then what was there before stays, as far as it is of this size.
            let old = self.surfaces.get(&key).filter(|old| old.id == content.id);
            return old.map_or(Drawable::Later, Imported::drawable);
        }
        let started = processor_time();
        if copied {
            // What failed before is not this picture's fault.
            renderer.has_failed();
        }
        let imported = match &content.mapping {
            Some(mapping) => {
                Some(renderer.import_mapped(mapping, before.as_ref(), parts).map_err(|error| error.to_string()))
            }
            None => {
                let shared = if shm { renderer.import_shared(&content.buffer, before.as_ref(), parts) } else { None };
                // smithay's renderers take no damage for all of it.
                let imported = shared.or_else(|| renderer.import_buffer(&content.buffer, None, &[]));
                imported.map(|imported| imported.map_err(|error| error.to_string()))
            }
        };
        let imported = match imported {
            Some(Ok(_)) if copied && renderer.has_failed() => {
                Some(Err("the graphics card has no memory left for it".to_owned()))
            }
            other => other,
        };
        client::pictured(surface, processor_time().saturating_sub(started));
        let texture = match imported {
            Some(Ok(texture)) => Some(texture),
            Some(Err(error)) => {
                if self.log.allow(Instant::now()) {
                    tracing::warn!("a guest's buffer cannot be shown: {error}");
                }
                None
            }
            None => None,
        };
        let entry = Imported {
            surface: surface.downgrade(),
            id: content.id.clone(),
            serial: content.serial,
            texture: texture.clone(),
            buffer: content.buffer.id(),
            way,
            format,
            damage: content.damage_snapshot(),
            output: None,
            used: true,
            _mapping: content.mapping.clone(),
        };
        let drawable = entry.drawable();
        self.surfaces.insert(key, entry);
        drawable
    }
}
