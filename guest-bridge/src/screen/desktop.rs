//! Where a position on one scanout lies on the guest's whole desktop. Pure.
//!
//! A guest has one tablet for all its heads, and desktops map a tablet that belongs to no head onto all that they
//! consist of (libinput under Xorg, Mutter, KWin and wlroots; only weston takes the first head). Where heads show parts
//! of one framebuffer, as Xorg's do, that is the desktop, however the person has laid them out. A head that Xorg scales
//! has a buffer of its own: it is taken for the largest part of the framebuffer that lies beside all others. Else heads
//! stand side by side in their order, as GET_DISPLAY_INFO tells them. One head alone is all there is.

use super::ABS_MAX;
use crate::frames::{Picture, Rect};
use phyllome_protocol::ScanoutId;

/// Values of an absolute axis: 0 to [`ABS_MAX`].
const RANGE: u64 = ABS_MAX as u64 + 1;

/// A scanout that shows something, and what.
pub(super) type Head<'a> = (ScanoutId, &'a Picture);

/// A position on scanout `id` (values of an absolute axis) as one on the desktop of these scanouts, which are in order.
pub(super) fn on_desktop<'a>(heads: impl Iterator<Item = Head<'a>>, id: ScanoutId, at: (u16, u16)) -> (u16, u16) {
    let heads: Vec<_> = heads.collect();
    let Some((_, picture)) = heads.iter().find(|(other, _)| *other == id).filter(|_| heads.len() > 1) else {
        return at;
    };
    let (part, (width, height)) = match framebuffer(&heads) {
        Some(size) if size == buffer(picture) => (Part::of(&picture.source), size),
        Some(size) => (rest(&heads, size, &picture.source), size),
        None => {
            let before = heads.iter().filter(|(other, _)| *other < id).map(|(_, other)| u64::from(other.source.width));
            let width = heads.iter().map(|(_, other)| u64::from(other.source.width)).sum();
            let height = heads.iter().map(|(_, other)| u64::from(other.source.height)).max().unwrap_or(0);
            (Part { x: before.sum(), y: 0, ..Part::of(&picture.source) }, (width, height))
        }
    };
    (along(at.0, (part.x, part.width), width), along(at.1, (part.y, part.height), height))
}

/// A part of the desktop in its pixels.
#[derive(Clone, Copy)]
struct Part {
    x: u64,
    y: u64,
    width: u64,
    height: u64,
}

impl Part {
    fn of(rect: &Rect) -> Self {
        let Rect { x, y, width, height } = *rect;
        Self { x: x.into(), y: y.into(), width: width.into(), height: height.into() }
    }
}

fn buffer(picture: &Picture) -> (u64, u64) {
    (picture.buffer.width.into(), picture.buffer.height.into())
}

/// The size of the framebuffer of which at least one head shows only a part. Two of the same size count as one: a guest
/// that flips shows another for a moment on one of its heads. One that has no room for the heads that do not show it is
/// no desktop, but a buffer that is a little larger than its head.
fn framebuffer(heads: &[Head<'_>]) -> Option<(u64, u64)> {
    let is_part = |picture: &Picture| {
        let (width, height) = (picture.buffer.width, picture.buffer.height);
        picture.source != Rect { x: 0, y: 0, width, height }
    };
    let mut sizes = heads.iter().filter(|(_, picture)| is_part(picture)).map(|(_, picture)| buffer(picture));
    let first = sizes.next()?;
    let has_room = |form: &Rect| {
        let (part, form) = (rest(heads, first, form), Part::of(form));
        part.width.saturating_mul(4) >= form.width && part.height.saturating_mul(4) >= form.height
    };
    let hold = |picture: &Picture| buffer(picture) == first || has_room(&picture.source);
    (sizes.all(|size| size == first) && heads.iter().all(|(_, picture)| hold(picture))).then_some(first)
}

/// The largest part of the framebuffer to one side of all heads that show it, as far as a head of this form fills it
/// from its beginning.
fn rest(heads: &[Head<'_>], (width, height): (u64, u64), form: &Rect) -> Part {
    let shown = heads.iter().filter(|(_, picture)| buffer(picture) == (width, height));
    let shown = shown.map(|(_, picture)| Part::of(&picture.source));
    let (mut left, mut top, mut right, mut low) = (width, height, 0, 0);
    for part in shown {
        (left, top) = (left.min(part.x), top.min(part.y));
        (right, low) = (right.max(part.x.saturating_add(part.width)), low.max(part.y.saturating_add(part.height)));
    }
    let (right, low) = (right.min(width), low.min(height));
    let sides = [
        Part { x: right, y: 0, width: width - right, height },
        Part { x: 0, y: 0, width: left, height },
        Part { x: 0, y: low, width, height: height - low },
        Part { x: 0, y: 0, width, height: top },
    ];
    let largest = sides.into_iter().max_by_key(|side| side.width.saturating_mul(side.height));
    let side = largest.unwrap_or(Part { x: 0, y: 0, width, height });
    let (across, down) = (u64::from(form.width.max(1)), u64::from(form.height.max(1)));
    if side.height == height {
        Part { height: height.min(side.width.saturating_mul(down) / across), ..side }
    } else {
        Part { width: width.min(side.height.saturating_mul(across) / down), ..side }
    }
}

/// Along one axis: `value` of a head that begins at `start` and has `length` of `total` pixels.
fn along(value: u16, (start, length): (u64, u64), total: u64) -> u16 {
    let sum = start.saturating_mul(RANGE).saturating_add(u64::from(value).saturating_mul(length));
    let value = sum.checked_div(total).unwrap_or(0).min(ABS_MAX.into());
    u16::try_from(value).unwrap_or(ABS_MAX)
}

#[cfg(test)]
mod tests {
    use super::super::geometry::{Configured, Scale, absolute, in_picture, surface_size};
    use super::*;
    use crate::frames::SharedBuffer;
    use proptest::prelude::*;
    use std::sync::Arc;

    fn id(number: u32) -> ScanoutId {
        ScanoutId::new(number).unwrap()
    }

    /// A part (x, y, width, height) of a framebuffer of this size.
    fn picture((width, height): (u32, u32), (x, y, w, h): (u32, u32, u32, u32)) -> Picture {
        let memfd = Some(std::fs::File::open("/dev/null").unwrap().into());
        let buffer =
            SharedBuffer { id: 1, memfd, dmabuf: None, width, height, stride: 256, fourcc: 0, replaceable: false };
        Picture { buffer: Arc::new(buffer), source: Rect { x, y, width: w, height: h } }
    }

    fn own(width: u32, height: u32) -> Picture {
        picture((width, height), (0, 0, width, height))
    }

    /// The pixel of a desktop of this size that a guest finds for a pixel of a head.
    fn found(heads: &[(u32, Picture)], head: u32, (x, y): (u32, u32), (width, height): (u32, u32)) -> (u32, u32) {
        let source = heads.iter().find(|(number, _)| *number == head).map(|(_, picture)| picture.source).unwrap();
        let at = (absolute(x.into(), source.width), absolute(y.into(), source.height));
        let (x, y) = on_desktop(heads.iter().map(|(number, picture)| (id(*number), picture)), id(head), at);
        (u32::from(x) * width / 0x8000, u32::from(y) * height / 0x8000)
    }

    #[test]
    fn heads_of_their_own_stand_side_by_side_in_their_order() {
        let heads = [(0, own(1272, 768)), (1, own(1016, 568)), (2, own(640, 480))];
        let desktop = (1272 + 1016 + 640, 768);
        assert_eq!(found(&heads, 0, (10, 20), desktop), (10, 20));
        assert_eq!(found(&heads, 1, (10, 20), desktop), (1282, 20));
        assert_eq!(found(&heads, 2, (639, 479), desktop), (2927, 479));
        let without_the_first = [(1, own(1016, 568)), (3, own(640, 480))];
        assert_eq!(found(&without_the_first, 3, (0, 0), (1656, 568)), (1016, 0));
    }

    #[test]
    fn parts_of_one_framebuffer_lie_where_the_guest_has_put_them() {
        let desktop = (1272, 768 + 568);
        let heads = [(0, picture(desktop, (0, 568, 1272, 768))), (1, picture(desktop, (100, 0, 1016, 568)))];
        assert_eq!(found(&heads, 0, (10, 20), desktop), (10, 588));
        assert_eq!(found(&heads, 1, (10, 20), desktop), (110, 20));
        let clones = [(0, own(1272, 768)), (1, picture((1272, 768), (0, 0, 1016, 568)))];
        assert_eq!(found(&clones, 1, (1015, 567), (1272, 768)), (1015, 567));
    }

    #[test]
    fn a_head_that_is_scaled_lies_in_what_the_others_leave_of_the_framebuffer() {
        let desktop = (1272 + 1524, 852);
        let layouts = [((0, 0), (1272, 0)), ((1524, 0), (0, 0))];
        for ((x, y), (scaled, _)) in layouts {
            let heads = [(0, picture(desktop, (x, y, 1272, 768))), (1, own(1016, 568))];
            assert_eq!(found(&heads, 0, (636, 372), desktop), (x + 636, 372));
            assert_eq!(found(&heads, 1, (0, 0), desktop), (scaled, 0));
            assert_eq!(found(&heads, 1, (508, 284), desktop), (scaled + 762, 426));
        }
        let above = (1272, 284 + 768);
        let heads = [(0, picture(above, (0, 284, 1272, 768))), (1, own(1016, 568))];
        assert_eq!(found(&heads, 0, (10, 20), above), (10, 304));
        assert_eq!(found(&heads, 1, (1014, 566), above), (507, 283));
        let padded = [(0, picture((1280, 768), (0, 0, 1272, 768))), (1, own(1016, 568))];
        assert_eq!(found(&padded, 1, (10, 20), (1272 + 1016, 768)), (1282, 20));
    }

    #[test]
    fn a_head_alone_is_the_desktop_and_one_that_shows_nothing_has_no_place() {
        let alone = [(0, picture((1272, 768), (0, 0, 1016, 568)))];
        assert_eq!(found(&alone, 0, (1015, 567), (1016, 568)), (1015, 567));
        let heads = [own(640, 480), own(640, 480)];
        assert_eq!(on_desktop([(id(0), &heads[0]), (id(2), &heads[1])].into_iter(), id(1), (7, 8)), (7, 8));
        assert_eq!(on_desktop([(id(0), &heads[0])].into_iter(), id(0), (7, 8)), (7, 8));
    }

    proptest! {
        /// Whatever heads there are: a pixel of one is found again, and no other.
        #[test]
        fn a_pixel_is_found_again_on_its_head(
            sizes in prop::collection::vec((1u32..2048, 1u32..2048), 1..5), head in 0usize..5, place in (0.0..1.0, 0.0..1.0),
        ) {
            let heads: Vec<_> = (0..).zip(&sizes).map(|(number, (width, height))| (number, own(*width, *height))).collect();
            let head = head % sizes.len();
            let (width, height) = sizes[head];
            let pixel = ((place.0 * f64::from(width)) as u32, (place.1 * f64::from(height)) as u32);
            let desktop = (sizes.iter().map(|size| size.0).sum(), sizes.iter().map(|size| size.1).max().unwrap());
            let start: u32 = sizes[..head].iter().map(|size| size.0).sum();
            prop_assert_eq!(found(&heads, head as u32, pixel, desktop), (start + pixel.0, pixel.1));
        }

        /// Whatever parts of one framebuffer the heads show, and whatever a desktop makes of the window's size: the
        /// pixel that the pointer is on is found there.
        #[test]
        fn a_pixel_of_a_part_is_found_again_at_any_scale_of_its_window(
            whole in (64u32..4096, 64u32..4096),
            parts in prop::collection::vec((0.0..1.0, 0.0..1.0, 0.0..1.0, 0.0..1.0), 2..5), head in 0usize..5,
            place in (0.0..1.0, 0.0..1.0), (scale, window) in (30u32..480, (256u32..3000, 256u32..3000)),
        ) {
            let along = |start: f64, length: f64, side: u32| {
                let start = (start * f64::from(side - 1)) as u32;
                (start, 1 + (length * f64::from(side - start - 1)) as u32)
            };
            let heads: Vec<_> = (0..).zip(&parts).map(|(number, (x, y, width, height))| {
                let ((x, width), (y, height)) = (along(*x, *width, whole.0), along(*y, *height, whole.1));
                // The first one is a part and not all of it.
                let width = if number == 0 { width.min(whole.0 - 1) } else { width };
                (number, picture(whole, (x, y, width, height)))
            }).collect();
            let head = head % heads.len();
            let part = heads[head].1.source;
            let pixel = ((place.0 * f64::from(part.width)) as u32, (place.1 * f64::from(part.height)) as u32);
            let (width, height) = window;
            let configured = Configured { width, height, fullscreen: true, ..Configured::default() };
            let size = (part.width, part.height);
            let surface = surface_size(size, configured, Scale::new(scale));
            let at = |pixel: u32, surface: u32, picture: u32| {
                let middle = (f64::from(pixel) + 0.5) * f64::from(surface) / f64::from(picture);
                // As Wayland's numbers have it.
                absolute(in_picture((middle * 256.0).round() / 256.0, surface, picture), picture)
            };
            let at = (at(pixel.0, surface.0, size.0), at(pixel.1, surface.1, size.1));
            let (x, y) = on_desktop(heads.iter().map(|(number, picture)| (id(*number), picture)), id(head as u32), at);
            let found = (u32::from(x) * whole.0 / 0x8000, u32::from(y) * whole.1 / 0x8000);
            prop_assert_eq!(found, (part.x + pixel.0, part.y + pixel.1));
        }

        /// A guest sets whatever it likes: every position is a position.
        #[test]
        fn no_layout_is_too_strange(
            parts in prop::collection::vec((any::<(u32, u32)>(), any::<(u32, u32, u32, u32)>()), 0..4), at in any::<(u16, u16)>(),
        ) {
            let heads: Vec<_> = parts.into_iter().map(|(size, part)| picture(size, part)).collect();
            let at = (at.0 & ABS_MAX, at.1 & ABS_MAX);
            let (x, y) = on_desktop((0..).zip(&heads).map(|(number, head)| (id(number), head)), id(0), at);
            prop_assert!(x <= ABS_MAX && y <= ABS_MAX);
        }
    }
}
