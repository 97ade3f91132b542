//! What a surface shows: its buffer and which part of it, worked out once per commit and checked before anything is
//! drawn.
//!
//! Everything here comes from a guest. Whatever it sends, the result is a source rectangle inside the buffer and a size
//! between one pixel and [`u32::MAX`]; where that lands on an output is decided by
//! [`phyllome_trusted::frame::geometry::place`] and by nothing else.

use super::quota::{MAX_DAMAGE, MAX_EXTENT};
use crate::wayland::mapped::Mapping;
use smithay::backend::renderer::element::Id;
use smithay::backend::renderer::utils::{Buffer, DamageBag, DamageSnapshot};
use smithay::backend::renderer::{buffer_dimensions, buffer_has_alpha};
use smithay::reexports::wayland_server::protocol::wl_buffer::WlBuffer;
use smithay::utils::{Buffer as BufferCoords, Logical, Rectangle, Size, Transform};
use smithay::wayland::compositor::{BufferAssignment, Damage, SurfaceAttributes, SurfaceData};
use smithay::wayland::drm_syncobj::{DrmSyncPoint, DrmSyncobjCachedState};
use smithay::wayland::viewporter::{ViewportCachedState, ensure_viewport_valid};
use std::rc::Rc;

/// A surface's present picture.
#[derive(Debug)]
pub struct Content {
    /// A new one whenever damage says nothing about what was there before: another size or format, or a first picture.
    pub id: Id,
    /// Held until another takes its place; the guest gets `wl_buffer.release` when the last holder drops it.
    pub buffer: Buffer,
    /// Of the buffer, in its own pixels.
    pub size: Size<i32, BufferCoords>,
    /// The buffer's format has an alpha channel.
    pub has_alpha: bool,
    /// The part of the buffer that is shown; lies inside it and is not empty.
    pub source: Rectangle<f64, BufferCoords>,
    /// How the buffer is turned before it is shown.
    pub transform: Transform,
    /// The size that the guest wants, in physical pixels: that of the source, or the viewport's destination.
    pub wanted: (u32, u32),
    /// What changed, in the buffer's pixels, for each of the last commits.
    pub damage: DamageBag<i32, BufferCoords>,
    /// Counts commits that brought a buffer; tells a renderer whether its texture is of this picture.
    pub serial: u64,
    /// The buffer's memory, where the renderer cannot import it and the processor reads it.
    pub mapping: Option<Rc<Mapping>>,
    /// The renderer could not read this picture.
    pub unreadable: bool,
    /// What changed since [`Content::take_upload`].
    upload: Upload,
}

/// What a renderer that copies has to copy.
#[derive(Clone, Debug, PartialEq)]
pub enum Upload {
    /// The whole buffer.
    Whole,
    /// These parts, in the buffer's pixels.
    Parts(Vec<Rectangle<i32, BufferCoords>>),
}

impl Content {
    /// Applies the current state of a surface after a commit. `content` is what it showed before and becomes what it
    /// shows now.
    pub fn update(content: &mut Option<Content>, states: &SurfaceData) {
        let mut cached = states.cached_state.get::<SurfaceAttributes>();
        let attributes = cached.current();
        let damage = std::mem::take(&mut attributes.damage);
        let scale = attributes.buffer_scale.max(1);
        let transform = Transform::from(attributes.buffer_transform);
        let assignment = attributes.buffer.take();
        drop(cached);
        // The fence has come, or this commit would still wait; what is left is to tell when the buffer is free again.
        let mut cached = states.cached_state.get::<DrmSyncobjCachedState>();
        let fences = cached.current().acquire_point.take().zip(cached.current().release_point.take());
        drop(cached);
        match assignment {
            Some(BufferAssignment::Removed) => *content = None,
            Some(BufferAssignment::NewBuffer(buffer)) => {
                let size = buffer_dimensions(&buffer)
                    .filter(|size| (1..=MAX_EXTENT).contains(&size.w) && (1..=MAX_EXTENT).contains(&size.h));
                let Some(size) = size else {
                    *content = None;
                    return;
                };
                let has_alpha = buffer_has_alpha(&buffer).unwrap_or(true);
                let rectangles = buffer_damage(&damage, size, scale, transform, states);
                match content {
                    Some(old) if old.size == size && old.has_alpha == has_alpha => {
                        if fences.is_some() || old.buffer != buffer {
                            old.buffer = held(buffer, fences);
                        }
                        old.serial = old.serial.wrapping_add(1);
                        old.unreadable = false;
                        old.upload.add(&rectangles);
                        old.damage.add(rectangles);
                    }
                    _ => {
                        let serial = content.as_ref().map_or(0, |old| old.serial.wrapping_add(1));
                        let mut bag = DamageBag::default();
                        bag.add([Rectangle::from_size(size)]);
                        *content = Some(Content {
                            id: Id::new(),
                            buffer: held(buffer, fences),
                            size,
                            has_alpha,
                            source: Rectangle::from_size(size.to_f64()),
                            transform,
                            wanted: (1, 1),
                            damage: bag,
                            serial,
                            mapping: None,
                            unreadable: false,
                            upload: Upload::Whole,
                        });
                    }
                }
            }
            None => {}
        }
        // The view can change without a buffer: scale, transform and viewport are state of their own.
        let Some(now) = content.as_mut() else { return };
        match view(now.size, scale, transform, states) {
            Some((source, wanted)) => {
                now.source = source;
                now.wanted = wanted;
                now.transform = transform;
            }
            None => *content = None,
        }
    }

    /// What has to be copied since this was last asked; nothing from now on.
    pub fn take_upload(&mut self) -> Upload {
        std::mem::replace(&mut self.upload, Upload::Parts(Vec::new()))
    }

    /// What was taken could not be copied yet.
    pub fn return_upload(&mut self, upload: Upload) {
        match upload {
            Upload::Whole => self.upload = Upload::Whole,
            Upload::Parts(parts) => self.upload.add(&parts),
        }
    }

    /// The damage of the last commits.
    pub fn damage_snapshot(&self) -> DamageSnapshot<i32, BufferCoords> {
        self.damage.snapshot()
    }
}

/// A buffer that is said to be free when the last holder drops it, by its release point where it has one.
fn held(buffer: WlBuffer, fences: Option<(DrmSyncPoint, DrmSyncPoint)>) -> Buffer {
    match fences {
        Some((acquire, release)) => Buffer::with_explicit(buffer, acquire, release),
        None => Buffer::with_implicit(buffer),
    }
}

impl Upload {
    /// How many bytes it is of a buffer of this size, with four bytes a pixel.
    pub fn bytes(&self, size: Size<i32, BufferCoords>) -> u64 {
        let pixels =
            |size: Size<i32, BufferCoords>| u64::from(size.w.unsigned_abs()) * u64::from(size.h.unsigned_abs());
        let pixels = match self {
            Self::Whole => pixels(size),
            Self::Parts(parts) => parts.iter().map(|part| pixels(part.size)).fold(0, u64::saturating_add),
        };
        pixels.saturating_mul(4)
    }

    fn add(&mut self, more: &[Rectangle<i32, BufferCoords>]) {
        if let Self::Parts(parts) = self {
            parts.extend_from_slice(more);
            if parts.len() > 4 * MAX_DAMAGE {
                *self = Self::Whole;
            }
        }
    }
}

/// Source in the buffer and wanted size in pixels; `None` if the viewport lies outside the buffer (the client has then
/// been told so).
fn view(
    size: Size<i32, BufferCoords>,
    scale: i32,
    transform: Transform,
    states: &SurfaceData,
) -> Option<(Rectangle<f64, BufferCoords>, (u32, u32))> {
    let turned = transform.transform_size(size);
    let whole: Size<i32, Logical> = ((turned.w / scale).max(1), (turned.h / scale).max(1)).into();
    if !ensure_viewport_valid(states, whole) {
        return None;
    }
    let mut cached = states.cached_state.get::<ViewportCachedState>();
    let viewport = *cached.current();
    let shown = viewport.src.unwrap_or_else(|| Rectangle::from_size(whole.to_f64()));
    let source = clamp_source(shown.to_buffer(f64::from(scale), transform, &whole.to_f64()), size)?;
    let pixels = |logical: f64| (logical * f64::from(scale)).round().max(1.0) as u32;
    let wanted = match viewport.dst {
        Some(dst) => (u32::try_from(dst.w).ok()?.max(1), u32::try_from(dst.h).ok()?.max(1)),
        None => (pixels(shown.size.w), pixels(shown.size.h)),
    };
    Some((source, wanted))
}

/// The part of `source` that lies in a buffer of `size`; `None` if it is less than a hundredth of a pixel or not a
/// number.
fn clamp_source(
    source: Rectangle<f64, BufferCoords>,
    size: Size<i32, BufferCoords>,
) -> Option<Rectangle<f64, BufferCoords>> {
    let (width, height) = (f64::from(size.w), f64::from(size.h));
    let left = source.loc.x.clamp(0.0, width);
    let top = source.loc.y.clamp(0.0, height);
    let right = (source.loc.x + source.size.w).clamp(0.0, width);
    let bottom = (source.loc.y + source.size.h).clamp(0.0, height);
    let large_enough = right - left >= 0.01 && bottom - top >= 0.01;
    large_enough.then(|| Rectangle::new((left, top).into(), (right - left, bottom - top).into()))
}

/// Damage in the buffer's pixels, inside it. Damage in surface coordinates is passed on exactly where these are the
/// buffer's, and counts as the whole buffer where they are not.
fn buffer_damage(
    damage: &[Damage],
    size: Size<i32, BufferCoords>,
    scale: i32,
    transform: Transform,
    states: &SurfaceData,
) -> Vec<Rectangle<i32, BufferCoords>> {
    let whole = Rectangle::from_size(size);
    let mut cached = states.cached_state.get::<ViewportCachedState>();
    let viewport = *cached.current();
    let same = scale == 1 && transform == Transform::Normal && viewport.src.is_none() && viewport.dst.is_none();
    let mut rectangles = Vec::with_capacity(damage.len().min(MAX_DAMAGE));
    for rectangle in damage {
        let part = match rectangle {
            Damage::Buffer(part) => *part,
            Damage::Surface(part) if same => {
                Rectangle::new((part.loc.x, part.loc.y).into(), (part.size.w, part.size.h).into())
            }
            Damage::Surface(_) => return vec![whole],
        };
        if let Some(part) = part.intersection(whole) {
            rectangles.push(part);
        }
    }
    rectangles
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn tp02_a_source_always_lies_inside_its_buffer(
            x in -1e9f64..1e9, y in -1e9f64..1e9, w in 0f64..1e9, h in 0f64..1e9,
            bw in 1i32..=MAX_EXTENT, bh in 1i32..=MAX_EXTENT,
        ) {
            let size: Size<i32, BufferCoords> = (bw, bh).into();
            let asked = Rectangle::new((x, y).into(), (w, h).into());
            if let Some(source) = clamp_source(asked, size) {
                prop_assert!(source.loc.x >= 0.0 && source.loc.y >= 0.0);
                prop_assert!(source.size.w > 0.0 && source.size.h > 0.0);
                prop_assert!(source.loc.x + source.size.w <= f64::from(bw) + 1e-6);
                prop_assert!(source.loc.y + source.size.h <= f64::from(bh) + 1e-6);
            }
        }
    }

    #[test]
    fn damage_that_piles_up_becomes_the_whole_buffer() {
        let mut upload = Upload::Parts(Vec::new());
        for _ in 0..=4 * MAX_DAMAGE {
            upload.add(&[Rectangle::from_size((1, 1).into())]);
        }
        assert_eq!(upload, Upload::Whole);
    }
}
