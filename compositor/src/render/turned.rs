//! A picture turned on its way to a display that hangs on its side or upside down: pieces, pixels, sizes.
//!
//! The shell turns its own pieces, and renderers and displays are told that nothing is turned: so that whatever they are
//! told of, damage included (FB_DAMAGE_CLIPS), is in the coordinates of the display's own buffer.

use super::elements::Piece;
use phyllome_config::shell::Rotation;
use smithay::backend::renderer::element::{Element, Id, RenderElement};
use smithay::backend::renderer::utils::{CommitCounter, DamageSet, OpaqueRegions};
use smithay::backend::renderer::{Renderer, Texture};
use smithay::utils::{Buffer, Physical, Rectangle, Scale, Size, Transform};

/// How a picture is turned for a display that is itself turned: by as much, the other way. (Wayland's
/// `wl_output.transform`.)
pub fn transform_of(rotation: Rotation) -> Transform {
    match rotation {
        Rotation::Normal => Transform::Normal,
        Rotation::Quarter => Transform::_90,
        Rotation::Half => Transform::_180,
        Rotation::ThreeQuarters => Transform::_270,
    }
}

/// Width and height of what is seen on a display of `size` whose picture is turned; the other way round as well.
pub fn turned_size((width, height): (u32, u32), transform: Transform) -> (u32, u32) {
    match transform {
        Transform::_90 | Transform::_270 | Transform::Flipped90 | Transform::Flipped270 => (height, width),
        _ => (width, height),
    }
}

/// Every transform there is.
const ALL: [Transform; 8] = [
    Transform::Normal,
    Transform::_90,
    Transform::_180,
    Transform::_270,
    Transform::Flipped,
    Transform::Flipped90,
    Transform::Flipped180,
    Transform::Flipped270,
];

/// One transform after another, as one. (smithay adds angles, which is wrong where something is flipped.)
fn after(first: Transform, then: Transform) -> Transform {
    let area: Size<i32, Physical> = (3, 2).into();
    let probe = Rectangle::new((0, 0).into(), (1, 1).into());
    let both = then.transform_rect_in(first.transform_rect_in(probe, &area), &first.transform_size(area));
    let size = then.transform_size(first.transform_size(area));
    // A second pixel tells apart what leaves the first one in its place.
    let other = Rectangle::new((1, 0).into(), (1, 1).into());
    let both_other = then.transform_rect_in(first.transform_rect_in(other, &area), &first.transform_size(area));
    let same = |one: &&Transform| {
        one.transform_size(area) == size
            && one.transform_rect_in(probe, &area) == both
            && one.transform_rect_in(other, &area) == both_other
    };
    ALL.iter().find(same).copied().unwrap_or_default()
}

/// A piece of an upright picture of `size` pixels, drawn into a buffer for a display that needs it turned by
/// `transform`.
#[derive(Debug)]
pub struct Turned<'a, T> {
    piece: &'a Piece<T>,
    transform: Transform,
    size: Size<i32, Physical>,
}

/// All pieces of a picture.
pub fn turn<T>(pieces: &[Piece<T>], transform: Transform, size: Size<i32, Physical>) -> Vec<Turned<'_, T>> {
    pieces.iter().map(|piece| Turned { piece, transform, size }).collect()
}

impl<T> Turned<'_, T> {
    /// A part of the upright picture, in the buffer. smithay's transforms turn rectangles the way in which a display
    /// turns its picture.
    fn in_buffer(&self, part: Rectangle<i32, Physical>, of: Size<i32, Physical>) -> Rectangle<i32, Physical> {
        self.transform.invert().transform_rect_in(part, &of)
    }

    fn own_size(&self) -> Size<i32, Physical> {
        self.piece.geometry(1.0.into()).size
    }
}

impl<T> Element for Turned<'_, T> {
    fn id(&self) -> &Id {
        self.piece.id()
    }

    fn current_commit(&self) -> CommitCounter {
        self.piece.current_commit()
    }

    fn src(&self) -> Rectangle<f64, Buffer> {
        self.piece.src()
    }

    fn transform(&self) -> Transform {
        after(self.transform.invert(), self.piece.transform())
    }

    fn geometry(&self, scale: Scale<f64>) -> Rectangle<i32, Physical> {
        self.in_buffer(self.piece.geometry(scale), self.size)
    }

    fn damage_since(&self, scale: Scale<f64>, commit: Option<CommitCounter>) -> DamageSet<i32, Physical> {
        let size = self.own_size();
        self.piece.damage_since(scale, commit).into_iter().map(|part| self.in_buffer(part, size)).collect()
    }

    fn opaque_regions(&self, scale: Scale<f64>) -> OpaqueRegions<i32, Physical> {
        let size = self.own_size();
        self.piece.opaque_regions(scale).into_iter().map(|part| self.in_buffer(part, size)).collect()
    }
}

// Never on a plane of its own: there is no storage to put there.
impl<R> RenderElement<R> for Turned<'_, R::TextureId>
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
        self.piece.draw_turned::<R>(frame, source, place, damage, opaque, self.transform())
    }
}

/// Pixels of four bytes from a buffer of `width` × `height` whose picture is turned by `transform`, as they are seen.
pub fn upright(pixels: &[u8], (width, height): (u32, u32), transform: Transform) -> Vec<u8> {
    let (seen_width, seen_height) = turned_size((width, height), transform);
    let area: Size<i32, Physical> = (extent(seen_width), extent(seen_height)).into();
    let mut seen = Vec::with_capacity(pixels.len());
    for y in 0..seen_height {
        for x in 0..seen_width {
            let pixel = Rectangle::new((extent(x), extent(y)).into(), (1, 1).into());
            let at = transform.invert().transform_rect_in(pixel, &area).loc;
            let place = |value: i32| usize::try_from(value).unwrap_or(usize::MAX);
            let start = place(at.y).saturating_mul(width as usize).saturating_add(place(at.x)).saturating_mul(4);
            seen.extend_from_slice(pixels.get(start..start.saturating_add(4)).unwrap_or(&[0; 4]));
        }
    }
    seen
}

fn extent(value: u32) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_transform_after_another_is_one_of_the_eight() {
        assert_eq!(after(Transform::_90, Transform::_90), Transform::_180);
        for one in ALL {
            assert_eq!(ALL.iter().filter(|two| after(one, **two) == Transform::Normal).count(), 1, "{one:?}");
            assert_eq!(after(Transform::Normal, one), one);
            for two in ALL {
                assert_eq!(after(one, two).flipped(), one.flipped() != two.flipped(), "{one:?} {two:?}");
            }
        }
        // Turned, then flipped, is not flipped, then turned.
        assert_ne!(after(Transform::_90, Transform::Flipped), after(Transform::Flipped, Transform::_90));
    }

    /// A display that is turned clockwise by a quarter has its own lower left corner at the person's upper left.
    #[test]
    fn the_picture_is_upright_for_the_person() {
        // The display's own rows, as a person sees them who has turned the head with the display: A top left, F bottom
        // right.
        let panel = ["A", "B", "C", "D", "E", "F"].concat();
        let pixels: Vec<u8> = panel.bytes().flat_map(|letter| [letter; 4]).collect();
        let seen = |rotation| {
            let letters: Vec<u8> =
                upright(&pixels, (3, 2), transform_of(rotation)).chunks(4).map(|pixel| pixel[0]).collect();
            String::from_utf8(letters).unwrap()
        };
        assert_eq!(seen(Rotation::Normal), "ABCDEF");
        assert_eq!(seen(Rotation::Quarter), "DAEBFC");
        assert_eq!(seen(Rotation::Half), "FEDCBA");
        assert_eq!(seen(Rotation::ThreeQuarters), "CFBEAD");
    }
}
