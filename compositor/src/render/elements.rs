//! A scene's layers as textures that a renderer draws, with exact damage.
//!
//! Generic over the renderer; knows two things only: the shell's own pixels, uploaded once per content, and guests' surfaces, imported
//! when they are drawn and at no other time. A guest's texture that cannot be read leaves the ground's colour in its place, never
//! what was there before.

use super::mapped::Mapping;
use super::own::ImportOwn;
use super::scene::{Key, Layer, MAX_CURSOR, Scene};
use crate::backend::OutputId;
use crate::backend::kms::planes::Shape;
use crate::frame::colors;
use crate::ui::Pixels;
use crate::wayland::content::{Content, Upload};
use crate::wayland::quota::LogLimit;
use crate::wayland::screens::Screens;
use phyllome_protocol::status::Area;
use smithay::backend::allocator::Fourcc;
use smithay::backend::renderer::element::memory::MemoryBuffer;
use smithay::backend::renderer::element::{Element, Id, Kind, RenderElement, UnderlyingStorage};
use smithay::backend::renderer::utils::{
    Buffer as SurfaceBuffer, CommitCounter, DamageSet, DamageSnapshot, OpaqueRegions,
};
use smithay::backend::renderer::{Color32F, Frame, ImportAll, Renderer, Texture};
use smithay::reexports::wayland_server::backend::ObjectId;
use smithay::reexports::wayland_server::protocol::wl_shm;
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::reexports::wayland_server::{Resource, Weak};
use smithay::utils::{Buffer, Physical, Point, Rectangle, Scale, Size, Transform};
use smithay::wayland::compositor::with_states;
use smithay::wayland::shm::{BufferAccessError, with_buffer_contents};
use std::cell::Cell;
use std::collections::HashMap;
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
    /// A guest's: its damage. The shell's own pieces change only as a whole, by a new id.
    damage: Option<DamageSnapshot<i32, Buffer>>,
    failed: Cell<bool>,
    /// Holds what a texture of the shell's own reads from.
    _pixels: Option<Rc<Pixels>>,
    /// What a texture of a guest's reads from, where the processor reads it.
    mapping: Option<Rc<Mapping>>,
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
        self.damage.as_ref().map(DamageSnapshot::current_commit).unwrap_or_default()
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
        if self.opaque {
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

/// A damaged part of a buffer as a part of the place where `source` of that buffer is shown, rounded outward.
fn damage_on_screen(
    part: Rectangle<i32, Buffer>,
    source: Rectangle<f64, Buffer>,
    shown: Size<i32, Physical>,
) -> Option<Rectangle<i32, Physical>> {
    let part = part.to_f64().intersection(source)?;
    let along = |start: f64, length: f64, source_start: f64, source_length: f64, shown: i32| {
        let scale = f64::from(shown) / source_length;
        // A scaled picture is filtered: a changed pixel reaches its neighbours.
        let margin = if (scale - 1.0).abs() < f64::EPSILON { 0.0 } else { scale.max(1.0) };
        let from = ((start - source_start) * scale - margin).floor().clamp(0.0, f64::from(shown)) as i32;
        let to = ((start + length - source_start) * scale + margin).ceil().clamp(0.0, f64::from(shown)) as i32;
        (to > from).then_some((from, to - from))
    };
    let (x, width) = along(part.loc.x, part.size.w, source.loc.x, source.size.w, shown.w)?;
    let (y, height) = along(part.loc.y, part.size.h, source.loc.y, source.size.h, shown.h)?;
    Some(Rectangle::new((x, y).into(), (width, height).into()))
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

/// A copy of a pointer's picture.
struct Copied {
    id: Id,
    serial: u64,
    copy: Option<Rc<MemoryBuffer>>,
}

/// Textures of one renderer.
pub struct Textures<T> {
    own: HashMap<Key, Own<T>>,
    surfaces: HashMap<ObjectId, Imported<T>>,
    /// The pointer that was shown last, while pointers are copied.
    pointer: Option<Copied>,
    keeps_pointers: bool,
    log: LogLimit,
}

impl<T> Default for Textures<T> {
    fn default() -> Self {
        Self {
            own: HashMap::new(),
            surfaces: HashMap::new(),
            pointer: None,
            keeps_pointers: false,
            log: LogLimit::new(10),
        }
    }
}

impl<T: Texture + Clone + 'static> Textures<T> {
    /// Whether guests' pointers are also to be copied, for a cursor plane. Off at first.
    pub fn keep_pointers(&mut self, keep: bool) {
        self.keeps_pointers = keep;
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
                        let (opaque, _pixels) = (*opaque, Some(pixels.clone()));
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
                            _pixels,
                            mapping,
                        })
                    })
                }
                Layer::Surface { surface, x, y, width, height, clip, pointer } => {
                    screens.content_mut(surface).and_then(|content| {
                        let texture = self.surface_texture(renderer, surface, content)?;
                        let shape = Shape::of(content, (*x, *y, *width, *height));
                        let storage = if *pointer {
                            let copy = self.pointer_copy(content).filter(|_| shape.exact);
                            copy.map_or(Storage::None, Storage::Pointer)
                        } else {
                            let suits = shape.suits_overlay(clip).is_ok();
                            if suits { Storage::Buffer(content.buffer.clone()) } else { Storage::None }
                        };
                        let place = Rectangle::new((*x, *y).into(), (extent(*width), extent(*height)).into());
                        let (place, source) = if content.transform == Transform::Normal {
                            crop(place, content.source, clip)?
                        } else {
                            // A turned picture is never cut: it is shown only where it fits whole.
                            (whole_inside(place, clip)?, content.source)
                        };
                        Some(Piece {
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
                            _pixels: None,
                            mapping: content.mapping.clone(),
                        })
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

    /// A copy of the pointer that `content` is, for a cursor plane.
    fn pointer_copy(&mut self, content: &Content) -> Option<Rc<MemoryBuffer>> {
        if !self.keeps_pointers {
            return None;
        }
        if let Some(copied) = &self.pointer
            && copied.id == content.id
            && copied.serial == content.serial
        {
            return copied.copy.clone();
        }
        let copy = copy_pointer(content).map(Rc::new);
        self.pointer = Some(Copied { id: content.id.clone(), serial: content.serial, copy: copy.clone() });
        copy
    }
}

/// The shown part of a small buffer, row by row and without padding; `None` if it cannot be read in whole pixels of a known kind.
fn copy_pointer(content: &Content) -> Option<MemoryBuffer> {
    let source = content.source.to_i32_round::<i32>();
    let most = i32::try_from(MAX_CURSOR).ok()?;
    if !(1..=most).contains(&source.size.w) || !(1..=most).contains(&source.size.h) || source.to_f64() != content.source
    {
        return None;
    }
    let rows = |bytes: &[u8], stride: usize| {
        let (x, y) = (usize::try_from(source.loc.x).ok()?, usize::try_from(source.loc.y).ok()?);
        let (width, height) = (usize::try_from(source.size.w).ok()?, usize::try_from(source.size.h).ok()?);
        let mut copy = Vec::with_capacity(width * height * 4);
        for row in y..y + height {
            let start = row.checked_mul(stride)?.checked_add(x * 4)?;
            copy.extend_from_slice(bytes.get(start..start.checked_add(width * 4)?)?);
        }
        Some(copy)
    };
    let pixels = match &content.mapping {
        Some(mapping) if content.has_alpha && mapping.is_argb() => {
            let _reading = mapping.reading();
            rows(mapping.bytes(), mapping.stride() as usize)
        }
        Some(_) => None,
        None => with_buffer_contents(&content.buffer, |start, length, data| {
            if data.format != wl_shm::Format::Argb8888 {
                return None;
            }
            let offset = usize::try_from(data.offset).ok().filter(|offset| *offset <= length)?;
            // SAFETY: smithay maps `length` bytes at `start` while this runs, and survives a file that shrinks meanwhile; what is read is
            // copied once and only ever shown.
            let bytes = unsafe { std::slice::from_raw_parts(start.add(offset), length - offset) };
            rows(bytes, usize::try_from(data.stride).ok()?)
        })
        .ok()
        .flatten(),
    }?;
    Some(MemoryBuffer::from_slice(&pixels, Fourcc::Argb8888, source.size))
}

/// A length in pixels; beyond 2³¹ - 1 there is none.
fn extent(value: u32) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}

fn rectangle(area: &Area) -> Rectangle<i32, Physical> {
    Rectangle::new((extent(area.x), extent(area.y)).into(), (extent(area.width), extent(area.height)).into())
}

fn whole_inside(place: Rectangle<i32, Physical>, clip: &Area) -> Option<Rectangle<i32, Physical>> {
    let clip = rectangle(clip);
    let inside = place.intersection(clip)?;
    (inside == place).then_some(place)
}

/// The part of `place` inside `clip` and the part of `source` that belongs to it.
fn crop(
    place: Rectangle<i32, Physical>,
    source: Rectangle<f64, Buffer>,
    clip: &Area,
) -> Option<(Rectangle<i32, Physical>, Rectangle<f64, Buffer>)> {
    let (px, py) = (i64::from(place.loc.x), i64::from(place.loc.y));
    let (pw, ph) = (i64::from(place.size.w), i64::from(place.size.h));
    let left = px.max(i64::from(clip.x));
    let top = py.max(i64::from(clip.y));
    let right = (px + pw).min(i64::from(clip.x) + i64::from(clip.width));
    let bottom = (py + ph).min(i64::from(clip.y) + i64::from(clip.height));
    if right <= left || bottom <= top {
        return None;
    }
    let small = |value: i64| i32::try_from(value).ok();
    let shown = Rectangle::new(
        Point::from((small(left)?, small(top)?)),
        Size::from((small(right - left)?, small(bottom - top)?)),
    );
    if shown == place {
        return Some((place, source));
    }
    let scale_x = source.size.w / pw as f64;
    let scale_y = source.size.h / ph as f64;
    let cut = Rectangle::new(
        (source.loc.x + (left - px) as f64 * scale_x, source.loc.y + (top - py) as f64 * scale_y).into(),
        ((right - left) as f64 * scale_x, (bottom - top) as f64 * scale_y).into(),
    );
    Some((shown, cut))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const AREA: Area = Area { x: 4, y: 28, width: 1272, height: 768 };

    proptest! {
        #[test]
        fn tp02_nothing_that_is_cut_reaches_beyond_the_clip(
            x in i32::MIN..=i32::MAX, y in i32::MIN..=i32::MAX, w in 1i32..=i32::MAX, h in 1i32..=i32::MAX,
        ) {
            let place = Rectangle { loc: (x, y).into(), size: Size::from((w, h)) };
            let source: Rectangle<f64, Buffer> = Rectangle::from_size((64.0, 64.0).into());
            if let Some((shown, cut)) = crop(place, source, &AREA) {
                prop_assert!(shown.loc.x >= 4 && shown.loc.y >= 28);
                prop_assert!(shown.loc.x + shown.size.w <= 1276 && shown.loc.y + shown.size.h <= 796);
                prop_assert!(cut.loc.x >= 0.0 && cut.loc.x + cut.size.w <= 64.0 + 1e-3);
                prop_assert!(cut.loc.y >= 0.0 && cut.loc.y + cut.size.h <= 64.0 + 1e-3);
            }
        }

        #[test]
        fn damage_stays_inside_the_place(
            x in 0i32..16384, y in 0i32..16384, w in 0i32..16384, h in 0i32..16384, shown in 1i32..4000,
        ) {
            let part = Rectangle::new((x, y).into(), (w, h).into());
            let source = Rectangle::from_size((1000.0, 1000.0).into());
            if let Some(on_screen) = damage_on_screen(part, source, (shown, shown).into()) {
                prop_assert!(on_screen.loc.x >= 0 && on_screen.loc.x + on_screen.size.w <= shown);
                prop_assert!(on_screen.loc.y >= 0 && on_screen.loc.y + on_screen.size.h <= shown);
            }
        }
    }

    #[test]
    fn unscaled_damage_is_exact() {
        let part = Rectangle::new((110, 220).into(), (30, 40).into());
        let source = Rectangle::new((100.0, 200.0).into(), (640.0, 480.0).into());
        assert_eq!(
            damage_on_screen(part, source, (640, 480).into()),
            Some(Rectangle::new((10, 20).into(), (30, 40).into()))
        );
    }
}
