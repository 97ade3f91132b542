//! Places and damage, cut to what may be seen: pure arithmetic over numbers that guests choose, which never overflows.

use phyllome_protocol::status::Area;
use smithay::utils::{Buffer, Physical, Point, Rectangle, Size};

/// A damaged part of a buffer as a part of the place where `source` of that buffer is shown, rounded outward.
pub fn damage_on_screen(
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

/// A length in pixels; beyond 2³¹ - 1 there is none.
pub fn extent(value: u32) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}

fn rectangle(area: &Area) -> Rectangle<i32, Physical> {
    Rectangle::new((extent(area.x), extent(area.y)).into(), (extent(area.width), extent(area.height)).into())
}

/// `place`, if it lies inside `clip`.
pub fn whole_inside(place: Rectangle<i32, Physical>, clip: &Area) -> Option<Rectangle<i32, Physical>> {
    let clip = rectangle(clip);
    let inside = place.intersection(clip)?;
    (inside == place).then_some(place)
}

/// The part of `place` inside `clip` and the part of `source` that belongs to it.
pub fn crop(
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
