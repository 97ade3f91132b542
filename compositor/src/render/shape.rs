//! How a guest's surface is shown: what decides whether it can have a plane of its own.
//!
//! PixelRect and size come from the scene, the rest from what the guest committed and the shell has checked.

use crate::wayland::content::Content;
use smithay::utils::Transform;
use smithay::wayland::dmabuf::get_dmabuf;

/// Left, upper, width, height; physical pixels.
pub type PixelRect = (i32, i32, u32, u32);

/// How a surface is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Where, in physical pixels.
    pub place: PixelRect,
    /// All of its source is there, pixel for pixel and from a whole pixel on.
    pub exact: bool,
    /// The guest does not turn it.
    pub upright: bool,
    /// Its format has no alpha channel.
    pub opaque: bool,
    /// It lies in a dmabuf, which a display may read.
    pub dmabuf: bool,
    /// The GPU reads it there: who draws it waits for the fences that the guest puts on it.
    pub imported: bool,
}

impl Shape {
    /// How `content` is shown at this place.
    pub fn of(content: &Content, place: PixelRect) -> Self {
        let source = content.source;
        let whole = |value: f64| value.fract() == 0.0;
        let exact = whole(source.loc.x)
            && whole(source.loc.y)
            && source.size.w == f64::from(place.2)
            && source.size.h == f64::from(place.3);
        Self {
            place,
            exact,
            upright: content.transform == Transform::Normal,
            opaque: !content.has_alpha,
            dmabuf: is_dmabuf(content),
            imported: content.mapping.is_none() && get_dmabuf(&content.buffer).is_ok(),
        }
    }
}

/// Whether a display may read it where it lies. What came as a dmabuf and is a memfd is none.
fn is_dmabuf(content: &Content) -> bool {
    content.mapping.as_ref().map_or_else(|| get_dmabuf(&content.buffer).is_ok(), |mapping| mapping.is_dmabuf())
}
