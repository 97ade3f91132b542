//! The shell's own pointer: a white wedge with a dark edge, which is seen on every ground. Drawn from its outline, so
//! that it is sharp at every scale.

use super::Pixels;
use phyllome_config::guest::Rgb;
use phyllome_trusted::frame::colors::GROUND;
use std::rc::Rc;

/// The outline in logical pixels, from the tip on.
const OUTLINE: [(f64, f64); 4] = [(0.0, 0.0), (0.0, 16.0), (4.5, 11.8), (11.3, 11.3)];
/// Width and height of the outline, in logical pixels.
const SIZE: (f64, f64) = (11.3, 16.0);

/// The pointer at one scale.
#[derive(Clone, Debug)]
pub struct ArrowPicture {
    /// The picture.
    pub pixels: Rc<Pixels>,
    /// How far its tip is from its left and upper edge, in physical pixels.
    pub tip: i32,
}

/// Width of the edge, in whole physical pixels.
fn edge(scale: f64) -> f64 {
    scale.round().max(1.0)
}

/// See [`ArrowPicture::tip`].
pub(super) fn tip(scale: f64) -> i32 {
    edge(scale) as i32 + 1
}

/// Draws it.
pub(super) fn draw(scale: f64) -> Pixels {
    let tip = f64::from(tip(scale));
    let [width, height] = [SIZE.0, SIZE.1].map(|side| (side * scale + 2.0 * tip).ceil() as u32);
    let outline = OUTLINE.map(|(x, y)| (x * scale + tip, y * scale + tip));
    let Rgb(red, green, blue) = GROUND;
    let mut data = Vec::new();
    for y in 0..height {
        for x in 0..width {
            let outside = distance(&outline, (f64::from(x) + 0.5, f64::from(y) + 0.5));
            let fill = (0.5 - outside).clamp(0.0, 1.0);
            let alpha = (edge(scale) + 0.5 - outside).clamp(0.0, 1.0);
            let part = |dark: u8| ((f64::from(dark) + (255.0 - f64::from(dark)) * fill) * alpha).round() as u8;
            data.extend([part(blue), part(green), part(red), (255.0 * alpha).round() as u8]);
        }
    }
    Pixels::new(width, height, data)
}

/// How far a place is outside the outline; negative inside.
fn distance(outline: &[(f64, f64)], (x, y): (f64, f64)) -> f64 {
    let mut nearest = f64::INFINITY;
    let mut inside = false;
    let ends = outline.iter().cycle().skip(1);
    for ((ax, ay), (bx, by)) in outline.iter().copied().zip(ends.copied()) {
        let (dx, dy) = (bx - ax, by - ay);
        let along = (((x - ax) * dx + (y - ay) * dy) / (dx * dx + dy * dy)).clamp(0.0, 1.0);
        nearest = nearest.min((x - ax - along * dx).hypot(y - ay - along * dy));
        inside ^= (ay > y) != (by > y) && x < ax + (y - ay) * dx / dy;
    }
    if inside { -nearest } else { nearest }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_white_inside_dark_at_its_edge_and_transparent_around() {
        for scale in [1.0, 1.5, 2.0] {
            let arrow = draw(scale);
            let tip = tip(scale) as u32;
            let at = |x: f64, y: f64| arrow.get(tip + (x * scale) as u32, tip + (y * scale) as u32).unwrap();
            assert_eq!(at(2.0, 8.0), [255; 4], "{scale}");
            let left = arrow.get(tip - 1, tip + 8).unwrap();
            assert_eq!(left, [GROUND.2, GROUND.1, GROUND.0, 255], "the left edge is sharp at {scale}");
            assert_eq!(arrow.get(0, tip + 8).unwrap()[3], 0);
            assert_eq!(at(10.0, 2.0)[3], 0);
        }
    }

    #[test]
    fn it_has_the_same_size_at_every_scale() {
        let opaque =
            |scale: f64| draw(scale).data.as_chunks::<4>().0.iter().filter(|pixel| pixel[3] > 127).count() as f64;
        let (one, two) = (opaque(1.0), opaque(2.0));
        assert!((two / 4.0 - one).abs() < one * 0.15, "{one} {two}");
    }
}
