//! A scene's layers as textures that a renderer draws, with exact damage.
//!
//! Generic over the renderer; knows two things only: the shell's own pixels, uploaded once per content, and guests' surfaces, imported
//! when they are drawn and at no other time. A guest's texture that cannot be read leaves the ground's colour in its place, never
//! what was there before.

mod band;

use super::cut::{crop, damage_on_screen, extent, whole_inside};
use super::own::ImportOwn;
use super::pointers::Pointers;
use super::scene::{Key, Layer, Scene};
use crate::log_limit::LogLimit;
use crate::outputs::OutputId;
use crate::render::shape::Shape;
use crate::ui::Pixels;
use crate::wayland::content::{Content, Upload};
use crate::wayland::ids::Table;
use crate::wayland::mapped::Mapping;
use crate::wayland::screens::Screens;
use band::{Ring, Strip};
use phyllome_trusted::frame::colors;
use smithay::backend::allocator::Fourcc;
use smithay::backend::renderer::element::memory::MemoryBuffer;
use smithay::backend::renderer::element::{Element, Id, Kind, RenderElement, UnderlyingStorage};
use smithay::backend::renderer::utils::{
    Buffer as SurfaceBuffer, CommitCounter, DamageSet, DamageSnapshot, OpaqueRegions,
};
use smithay::backend::renderer::{Color32F, Frame, ImportAll, Renderer, Texture};
use smithay::reexports::wayland_server::backend::ObjectId;
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::reexports::wayland_server::{Resource, Weak};
use smithay::utils::{Buffer, Physical, Rectangle, Scale, Size, Transform};
use smithay::wayland::compositor::with_states;
use smithay::wayland::shm::{BufferAccessError, with_buffer_contents};
use std::cell::Cell;
use std::rc::Rc;
use std::time::Instant;

/// The ground's colour, `#101114`.
pub fn ground() -> Color32F {
    let part = |value: u8| f32::from(value) / 255.0;
    Color32F::new(part(colors::GROUND.0), part(colors::GROUND.1), part(colors::GROUND.2), 1.0)
}

/// Whose a piece is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The shell's.
    Shell,
    /// The guest's picture.
    Picture,
    /// The guest's pointer.
    Pointer,
}

/// What a piece is when it is not drawn but put onto a plane.
#[derive(Debug)]
enum Storage {
    /// It can only be drawn.
    None,
    /// A guest's dmabuf. Shared memory is never here: smithay 0.7.0 copies a pointer's without regard to its size.
    Buffer(SurfaceBuffer),
    /// A copy of a guest's pointer, of exactly the size that is shown.
    Pointer(Rc<MemoryBuffer>),
}

/// One texture at its place.
#[derive(Debug)]
pub struct Piece<T> {
    id: Id,
    part: Part,
    storage: Storage,
    texture: T,
    source: Rectangle<f64, Buffer>,
    place: Rectangle<i32, Physical>,
    transform: Transform,
    opaque: bool,
    /// A guest's: its damage. The shell's own pieces change only as a whole, by a new id; only a band that is one piece keeps its own.
    damage: Option<DamageSnapshot<i32, Buffer>>,
    failed: Cell<bool>,
    /// Holds what a texture of the shell's own reads from.
    pixels: Option<Rc<Pixels>>,
    /// What a texture of a guest's reads from, where the processor reads it.
    mapping: Option<Rc<Mapping>>,
    /// The parts of a band that is one piece; else none, and `texture` is all.
    strips: Vec<Strip<T>>,
    /// A strip of the band.
    band: bool,
    /// Counts how often a band that is one piece changed.
    commit: CommitCounter,
}

impl<T> Piece<T> {
    /// Whose it is.
    pub fn part(&self) -> Part {
        self.part
    }

    /// What smithay knows it by.
    pub fn element_id(&self) -> &Id {
        &self.id
    }

    /// Whether the last attempt to draw it failed and the ground was drawn instead.
    pub fn failed(&self) -> bool {
        self.failed.get()
    }
}

impl<T> Element for Piece<T> {
    fn id(&self) -> &Id {
        &self.id
    }

    fn current_commit(&self) -> CommitCounter {
        self.damage.as_ref().map_or(self.commit, DamageSnapshot::current_commit)
    }

    fn src(&self) -> Rectangle<f64, Buffer> {
        self.source
    }

    fn transform(&self) -> Transform {
        self.transform
    }

    fn geometry(&self, _scale: Scale<f64>) -> Rectangle<i32, Physical> {
        self.place
    }

    fn damage_since(&self, _scale: Scale<f64>, commit: Option<CommitCounter>) -> DamageSet<i32, Physical> {
        let whole = Rectangle::from_size(self.place.size);
        let Some(damage) = &self.damage else {
            return if commit == Some(self.current_commit()) {
                DamageSet::default()
            } else if !self.strips.is_empty() {
                self.strips.iter().map(|strip| strip.place).collect()
            } else {
                DamageSet::from_slice(&[whole])
            };
        };
        let Some(parts) = damage.damage_since(commit) else { return DamageSet::from_slice(&[whole]) };
        if parts.is_empty() {
            return DamageSet::default();
        }
        if self.transform != Transform::Normal {
            return DamageSet::from_slice(&[whole]);
        }
        parts.into_iter().filter_map(|part| damage_on_screen(part, self.source, self.place.size)).collect()
    }

    fn opaque_regions(&self, _scale: Scale<f64>) -> OpaqueRegions<i32, Physical> {
        if !self.strips.is_empty() {
            self.strips.iter().map(|strip| strip.place).collect()
        } else if self.opaque {
            OpaqueRegions::from_slice(&[Rectangle::from_size(self.place.size)])
        } else {
            OpaqueRegions::default()
        }
    }

    fn kind(&self) -> Kind {
        match (&self.part, &self.storage) {
            (Part::Pointer, Storage::Pointer(_)) => Kind::Cursor,
            _ => Kind::Unspecified,
        }
    }
}

impl<T> Piece<T> {
    /// Draws it with `transform` in the place of its own.
    pub(super) fn draw_turned<R>(
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
        if !self.strips.is_empty() {
            return self.draw_strips::<R>(frame, damage);
        }
        let reading = self.mapping.as_deref().and_then(Mapping::reading);
        let drawn = frame.render_texture_from_to(&self.texture, source, place, damage, opaque, transform, 1.0);
        drop(reading);
        self.failed.set(drawn.is_err());
        match drawn {
            Err(_) if self.damage.is_some() => frame.draw_solid(place, damage, ground()),
            other => other,
        }
    }
}

impl<R> RenderElement<R> for Piece<R::TextureId>
where
    R: Renderer,
    R::TextureId: Texture + 'static,
{
    fn draw(
        &self,
        frame: &mut R::Frame<'_, '_>,
        source: Rectangle<f64, Buffer>,
        place: Rectangle<i32, Physical>,
        damage: &[Rectangle<i32, Physical>],
        opaque: &[Rectangle<i32, Physical>],
    ) -> Result<(), R::Error> {
        self.draw_turned::<R>(frame, source, place, damage, opaque, self.transform)
    }

    fn underlying_storage(&self, _renderer: &mut R) -> Option<UnderlyingStorage<'_>> {
        match &self.storage {
            Storage::None => None,
            Storage::Buffer(buffer) => Some(UnderlyingStorage::Wayland(buffer)),
            Storage::Pointer(copy) => Some(UnderlyingStorage::Memory(copy)),
        }
    }
}

struct Own<T> {
    pixels: Rc<Pixels>,
    id: Id,
    texture: T,
    /// The output whose last frame used it.
    output: Option<OutputId>,
    used: bool,
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

struct Imported<T> {
    surface: Weak<WlSurface>,
    id: Id,
    serial: u64,
    texture: Option<T>,
    buffer: ObjectId,
    way: Way,
    first_alpha: bool,
    /// Holds what the texture reads from.
    _mapping: Option<Rc<Mapping>>,
}

/// Textures of one renderer.
pub struct Textures<T> {
    own: Table<Key, Own<T>>,
    surfaces: Table<ObjectId, Imported<T>>,
    /// Copies of guests' pointers, while they are kept.
    pointers: Option<Pointers>,
    /// The bands that are one piece.
    rings: Table<OutputId, Ring>,
    log: LogLimit,
}

impl<T> Default for Textures<T> {
    fn default() -> Self {
        let (own, surfaces, rings) = (Table::default(), Table::default(), Table::default());
        Self { own, surfaces, pointers: None, rings, log: LogLimit::new(10) }
    }
}

impl<T: Texture + Clone + 'static> Textures<T> {
    /// Whether guests' pointers are also to be copied, for a cursor plane. Off at first.
    pub fn keep_pointers(&mut self, keep: bool) {
        self.pointers = keep.then(Pointers::default);
    }

    /// The pieces of `scene`, top first. What cannot be imported is left out, and said so now and then.
    pub fn pieces<R>(&mut self, renderer: &mut R, scene: &Scene, screens: &mut Screens) -> Vec<Piece<T>>
    where
        R: Renderer<TextureId = T> + ImportAll + ImportOwn,
    {
        let mut pieces = Vec::with_capacity(scene.layers.len());
        for layer in &scene.layers {
            let piece = match layer {
                Layer::Pixels { key, pixels, x, y, clip, opaque } => {
                    self.own_texture(renderer, *key, pixels, *opaque, scene.output).and_then(|(id, texture)| {
                        let size: Size<i32, Physical> = (extent(pixels.width), extent(pixels.height)).into();
                        let place = Rectangle::new((*x, *y).into(), size);
                        let (place, source) =
                            crop(place, Rectangle::from_size((size.w, size.h).into()).to_f64(), clip)?;
                        let transform = Transform::Normal;
                        let failed = Cell::new(false);
                        let (opaque, kept) = (*opaque, Some(pixels.clone()));
                        let (part, storage, damage, mapping) = (Part::Shell, Storage::None, None, None);
                        Some(Piece {
                            id,
                            part,
                            storage,
                            texture,
                            source,
                            place,
                            transform,
                            opaque,
                            damage,
                            failed,
                            pixels: kept,
                            mapping,
                            strips: Vec::new(),
                            commit: CommitCounter::default(),
                            band: matches!(key, Key::Strip(..)),
                        })
                    })
                }
                Layer::Surface { surface, x, y, width, height, clip, pointer } => {
                    let Some(content) = screens.content_mut(surface) else { continue };
                    let Some(texture) = self.surface_texture(renderer, surface, content) else {
                        if !*pointer {
                            screens.note_unreadable(surface);
                        }
                        continue;
                    };
                    let shape = Shape::of(content, (*x, *y, *width, *height));
                    let storage = if *pointer {
                        let copy = self.pointers.as_mut().and_then(|pointers| pointers.copy(content));
                        copy.filter(|_| shape.exact).map_or(Storage::None, Storage::Pointer)
                    } else if shape.suits_overlay(clip).is_ok() {
                        Storage::Buffer(content.buffer.clone())
                    } else {
                        Storage::None
                    };
                    let place = Rectangle::new((*x, *y).into(), (extent(*width), extent(*height)).into());
                    let shown = if content.transform == Transform::Normal {
                        crop(place, content.source, clip)
                    } else {
                        // A turned picture is never cut: it is shown only where it fits whole.
                        whole_inside(place, clip).map(|place| (place, content.source))
                    };
                    shown.map(|(place, source)| Piece {
                        id: content.id.clone(),
                        part: if *pointer { Part::Pointer } else { Part::Picture },
                        storage,
                        texture,
                        source,
                        place,
                        transform: content.transform,
                        opaque: !content.has_alpha,
                        damage: Some(content.damage_snapshot()),
                        failed: Cell::new(false),
                        pixels: None,
                        mapping: content.mapping.clone(),
                        strips: Vec::new(),
                        commit: CommitCounter::default(),
                        band: false,
                    })
                }
            };
            pieces.extend(piece);
        }
        pieces
    }

    /// Drops what the last frame of `output` did not use. Called after each of its frames, and when it is gone.
    pub fn sweep(&mut self, output: OutputId) {
        self.own.retain(|_, own| std::mem::take(&mut own.used) || own.output != Some(output));
        self.surfaces.retain(|_, imported| imported.surface.upgrade().is_ok());
    }

    /// Notes pieces that could not be drawn.
    pub fn note_failures(&mut self, pieces: &[Piece<T>]) {
        if pieces.iter().any(Piece::failed) && self.log.allow(Instant::now()) {
            tracing::warn!("a guest's buffer could not be read; the ground is shown in its place");
        }
    }

    fn own_texture<R>(
        &mut self,
        renderer: &mut R,
        key: Key,
        pixels: &Rc<Pixels>,
        opaque: bool,
        output: Option<OutputId>,
    ) -> Option<(Id, T)>
    where
        R: Renderer<TextureId = T> + ImportOwn,
    {
        if pixels.width == 0 || pixels.height == 0 {
            return None;
        }
        if let Some(own) = self.own.get_mut(&key)
            && own.pixels.generation() == pixels.generation()
        {
            own.used = true;
            own.output = output;
            return Some((own.id.clone(), own.texture.clone()));
        }
        // Without an alpha channel what is said to be opaque is opaque, whatever the pixels say.
        let format = if opaque { Fourcc::Xrgb8888 } else { Fourcc::Argb8888 };
        let size = (extent(pixels.width), extent(pixels.height)).into();
        match renderer.import_own(pixels, format, size) {
            Ok(texture) => {
                let id = Id::new();
                let own = Own { pixels: pixels.clone(), id: id.clone(), texture: texture.clone(), output, used: true };
                self.own.insert(key, own);
                Some((id, texture))
            }
            Err(error) => {
                if self.log.allow(Instant::now()) {
                    tracing::error!("a part of the shell's own picture cannot be drawn: {error}");
                }
                None
            }
        }
    }

    fn surface_texture<R>(&mut self, renderer: &mut R, surface: &WlSurface, content: &mut Content) -> Option<T>
    where
        R: Renderer<TextureId = T> + ImportAll + ImportOwn,
    {
        let key = surface.id();
        if let Some(imported) = self.surfaces.get(&key)
            && imported.id == content.id
            && imported.serial == content.serial
        {
            return imported.texture.clone();
        }
        let readable = with_buffer_contents(&content.buffer, |_, length, data| {
            let end = i64::from(data.offset) + i64::from(data.stride) * i64::from(data.height);
            usize::try_from(end).is_ok_and(|end| end <= length)
        });
        let shm = !matches!(readable, Err(BufferAccessError::NotManaged));
        if shm && !matches!(readable, Ok(true)) {
            return None;
        }
        let way = match (shm, &content.mapping) {
            (true, _) => Way::Shared,
            (false, Some(_)) => Way::Mapped,
            (false, None) => Way::Imported,
        };
        let before = self.surfaces.get(&key);
        let first_alpha = before.map_or(content.has_alpha, |before| before.first_alpha);
        let before = before.filter(|before| before.id == content.id && before.way == way);
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
            return imported.texture.clone();
        }
        let imported = match &content.mapping {
            Some(mapping) => {
                Some(renderer.import_mapped(mapping, before.as_ref(), parts).map_err(|error| error.to_string()))
            }
            None => with_states(surface, |states| {
                // smithay's GLES renderer reuses a surface's texture without looking at its format; a surface that changes between with
                // and without alpha gets a new one each time.
                let cache = (first_alpha == content.has_alpha).then_some(states);
                // smithay's renderers take no damage for all of it.
                let imported = renderer.import_buffer(&content.buffer, cache, parts.unwrap_or_default());
                imported.map(|imported| imported.map_err(|error| error.to_string()))
            }),
        };
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
            first_alpha,
            _mapping: content.mapping.clone(),
        };
        self.surfaces.insert(key, entry);
        texture
    }
}
