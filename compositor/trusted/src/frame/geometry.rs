//! Where the frame lies: output size and scale in, rectangles of physical pixels out.
//!
//! Pure arithmetic; the one place that says where a guest's pixels may lie. The five rectangles of a [`Layout`] never
//! overlap and together cover the output exactly, at every size and scale.

use phyllome_protocol::status::Area;

/// Height of the top bar in logical pixels.
pub const BAR: f64 = 28.0;

/// Width of the band on the other three sides in logical pixels.
pub const SIDE: f64 = 4.0;

/// The parts of an output, in physical pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Top bar over the whole width.
    pub bar: Area,
    /// Band at the left, between bar and bottom.
    pub left: Area,
    /// Band at the right, between bar and bottom.
    pub right: Area,
    /// Band at the bottom over the whole width.
    pub bottom: Area,
    /// Where the guest's pixels may lie. Empty on an output that is too small for a frame and a guest.
    pub area: Area,
}

/// `logical` pixels as whole physical pixels, at least one.
pub fn physical(logical: f64, scale: f64) -> u32 {
    let scaled = (logical * scale).round();
    // `as` saturates and turns NaN into 0.
    (scaled as u32).max(1)
}

/// The parts of an output of `width` × `height` physical pixels.
///
/// On an output that is too small the bar keeps its height as long as it can, then the bottom, then the sides shrink
/// away.
pub fn layout(width: u32, height: u32, scale: f64) -> Layout {
    let bar_height = physical(BAR, scale).min(height);
    let side = physical(SIDE, scale);
    let bottom_height = side.min(height - bar_height);
    let middle_height = height - bar_height - bottom_height;
    let left_width = side.min(width);
    let right_width = side.min(width - left_width);
    let middle_width = width - left_width - right_width;
    let area = if middle_width == 0 || middle_height == 0 {
        Area { x: left_width, y: bar_height, width: 0, height: 0 }
    } else {
        Area { x: left_width, y: bar_height, width: middle_width, height: middle_height }
    };
    Layout {
        bar: Area { x: 0, y: 0, width, height: bar_height },
        left: Area { x: 0, y: bar_height, width: left_width, height: middle_height },
        right: Area { x: width - right_width, y: bar_height, width: right_width, height: middle_height },
        bottom: Area { x: 0, y: height - bottom_height, width, height: bottom_height },
        area,
    }
}

/// Where a picture of `width` × `height` lies inside `area`: one to one and centred if it fits, else scaled down,
/// keeping its aspect ratio, and centred. The result never reaches beyond `area`. `None` if either is empty.
pub fn place(width: u32, height: u32, area: &Area) -> Option<Area> {
    if width == 0 || height == 0 || area.width == 0 || area.height == 0 {
        return None;
    }
    let (shown_width, shown_height) = if width <= area.width && height <= area.height {
        (width, height)
    } else {
        let (w, h, aw, ah) = (u64::from(width), u64::from(height), u64::from(area.width), u64::from(area.height));
        let fit = |value: u64, most: u32| u32::try_from(value).unwrap_or(most).clamp(1, most);
        // The side whose ratio is larger fills the area; the other follows.
        if w * ah >= h * aw {
            (area.width, fit(h * aw / w, area.height))
        } else {
            (fit(w * ah / h, area.width), area.height)
        }
    };
    Some(Area {
        x: area.x + (area.width - shown_width) / 2,
        y: area.y + (area.height - shown_height) / 2,
        width: shown_width,
        height: shown_height,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn contains(outer: &Area, inner: &Area) -> bool {
        inner.x >= outer.x
            && inner.y >= outer.y
            && inner.x + inner.width <= outer.x + outer.width
            && inner.y + inner.height <= outer.y + outer.height
    }

    fn surface(area: &Area) -> u64 {
        u64::from(area.width) * u64::from(area.height)
    }

    #[test]
    fn the_documented_output_has_the_documented_area() {
        let at = layout(1280, 800, 1.0);
        assert_eq!(at.area, Area { x: 4, y: 28, width: 1272, height: 768 });
        assert_eq!(at.bar, Area { x: 0, y: 0, width: 1280, height: 28 });
        assert_eq!(at.bottom, Area { x: 0, y: 796, width: 1280, height: 4 });
        assert_eq!(at.right, Area { x: 1276, y: 28, width: 4, height: 768 });
    }

    #[test]
    fn scales_give_whole_physical_pixels() {
        assert_eq!(layout(1920, 1200, 1.5).area, Area { x: 6, y: 42, width: 1908, height: 1152 });
        assert_eq!(layout(2560, 1600, 2.0).area, Area { x: 8, y: 56, width: 2544, height: 1536 });
    }

    #[test]
    fn an_output_without_room_has_a_frame_and_no_guest() {
        for (w, h) in [(1, 1), (8, 600), (800, 32), (4, 4), (0, 0)] {
            assert_eq!(surface(&layout(w, h, 1.0).area), 0, "{w}x{h}");
        }
        assert_eq!(surface(&layout(9, 33, 1.0).area), 1);
    }

    #[test]
    fn a_picture_that_fits_is_not_scaled() {
        let area = layout(1280, 800, 1.0).area;
        assert_eq!(place(1272, 768, &area), Some(area));
        assert_eq!(place(640, 480, &area), Some(Area { x: 320, y: 172, width: 640, height: 480 }));
    }

    #[test]
    fn a_picture_that_is_too_large_keeps_its_aspect_ratio() {
        let area = layout(1280, 800, 1.0).area;
        assert_eq!(place(2544, 768, &area), Some(Area { x: 4, y: 220, width: 1272, height: 384 }));
        assert_eq!(place(0, 10, &area), None);
    }

    proptest! {
        #[test]
        fn parts_cover_the_output_and_never_overlap(w in 0u32..20_000, h in 0u32..20_000, scale in 0.5f64..4.0) {
            let at = layout(w, h, scale);
            let whole = Area { x: 0, y: 0, width: w, height: h };
            let parts = [at.bar, at.left, at.right, at.bottom, at.area];
            for part in &parts {
                prop_assert!(contains(&whole, part));
            }
            let sum: u64 = parts.iter().map(surface).sum();
            if surface(&at.area) > 0 {
                prop_assert_eq!(sum, surface(&whole));
            }
        }

        #[test]
        fn tp02_a_placed_picture_lies_inside_the_area(w in 0u32..=u32::MAX, h in 0u32..=u32::MAX, ow in 0u32..8_000, oh in 0u32..8_000) {
            let area = layout(ow, oh, 1.0).area;
            if let Some(at) = place(w, h, &area) {
                prop_assert!(contains(&area, &at));
                prop_assert!(surface(&at) > 0);
            }
        }
    }
}
