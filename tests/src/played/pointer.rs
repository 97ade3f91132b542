//! The pointer of a played guest: 64×64 pixels of which a test knows each, and how they look over what is below them.
//!
//! Most of it is transparent. The outermost pixels of its four corners have a colour each, so that a pointer that is
//! turned, cropped or moved by one pixel shows it; an arrow is white with a black edge, and below it lies a shadow that
//! lets half of the ground through.

use super::pattern::CORNERS;

/// Width and height in pixels.
pub const SIDE: u32 = 64;
/// Side of a corner's square.
const CORNER: u32 = 3;
const OPAQUE: u32 = 0xff00_0000;
const SHADOW: u32 = 0x8000_0000;

/// One pixel as 0xAARRGGBB, premultiplied.
pub fn pixel(x: u32, y: u32) -> u32 {
    let low = |at: u32| at < CORNER;
    let high = |at: u32| at >= SIDE - CORNER;
    let corner = match (low(x), high(x), low(y), high(y)) {
        (true, _, true, _) => Some(0),
        (_, true, true, _) => Some(1),
        (true, _, _, true) => Some(2),
        (_, true, _, true) => Some(3),
        _ => None,
    };
    if let Some(corner) = corner {
        return OPAQUE | CORNERS[corner];
    }
    // An arrow that points up and to the left.
    let arrow = |left: u32, top: u32| {
        let (across, down) = (x.checked_sub(left)?, y.checked_sub(top)?);
        (across <= down && across + down < 48).then_some((across, down))
    };
    match arrow(8, 8) {
        Some((across, down)) if across == 0 || across == down || across + down == 47 => OPAQUE,
        Some(_) => OPAQUE | 0xff_ffff,
        None if arrow(14, 12).is_some() => SHADOW,
        None => 0,
    }
}

/// Its bytes in memory: B, G, R, A.
pub fn bytes() -> Vec<u8> {
    (0..SIDE).flat_map(|y| (0..SIDE).flat_map(move |x| pixel(x, y).to_le_bytes())).collect()
}

/// What one of its pixels makes of the colour below it.
pub fn over(x: u32, y: u32, ground: [u8; 3]) -> [u8; 3] {
    let [alpha, colours @ ..] = pixel(x, y).to_be_bytes();
    let through = |below: u8| (u32::from(below) * u32::from(255 - alpha) + 127) / 255;
    let mixed = |own: u8, below: u8| u8::try_from(u32::from(own) + through(below)).unwrap_or(u8::MAX);
    let [[red, green, blue], [r, g, b]] = [colours, ground];
    [mixed(red, r), mixed(green, g), mixed(blue, b)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_has_light_dark_half_and_nothing() {
        let all: Vec<u32> = (0..SIDE).flat_map(|y| (0..SIDE).map(move |x| pixel(x, y))).collect();
        for kind in [OPAQUE, OPAQUE | 0xff_ffff, SHADOW, 0] {
            assert!(all.iter().filter(|&&pixel| pixel == kind).count() > 60, "{kind:#x}");
        }
        assert_eq!([pixel(0, 0), pixel(63, 0), pixel(0, 63), pixel(63, 63)].map(|pixel| pixel & 0xff_ffff), CORNERS);
        assert_eq!((over(0, 32, [9, 8, 7]), over(0, 0, [9, 8, 7])), ([9, 8, 7], [255, 0, 0]));
    }
}
