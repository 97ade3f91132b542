//! Sizes and positions of one scanout's surface. Pure; every sum that a guest or a compositor could make overflow
//! saturates or is clipped.

use super::ABS_MAX;

/// What the compositor wants a toplevel to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Configured {
    /// 0 where the client decides.
    pub width: u32,
    /// The same, vertically.
    pub height: u32,
    /// The surface must have exactly this size.
    pub maximized: bool,
    /// The surface must not be larger.
    pub fullscreen: bool,
    /// Nobody sees the surface.
    pub suspended: bool,
}

impl Configured {
    /// The shell has no output for it: it is seen nowhere, and nothing is to have a size. Other desktops suspend a
    /// window that has one, or let the client of one that is seen decide.
    pub fn has_no_output(&self) -> bool {
        self.suspended && self.width == 0 && self.height == 0
    }
}

/// How many pixels of the display a pixel of a surface has, in 120ths, as wp_fractional_scale_v1 counts them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Scale(u32);

impl Scale {
    /// One for one.
    pub const ONE: Self = Self(Self::PARTS);
    const PARTS: u32 = 120;

    /// So many 120ths, as far as a desktop can mean it: a quarter to sixteen.
    pub fn new(parts: u32) -> Self {
        Self(parts.clamp(Self::PARTS / 4, 16 * Self::PARTS))
    }

    /// So many whole ones.
    pub fn whole(factor: u32) -> Self {
        Self::new(factor.saturating_mul(Self::PARTS))
    }

    /// So many pixels of a surface in pixels of its display: those of a buffer that is not scaled. What has a size
    /// keeps one.
    pub fn physical(self, (width, height): (u32, u32)) -> (u32, u32) {
        let physical = |side: u32| rescaled(side, self.0, Self::PARTS).max(side.min(1));
        (physical(width), physical(height))
    }

    /// The other way round.
    pub fn logical(self, (width, height): (u32, u32)) -> (u32, u32) {
        let logical = |side| rescaled(side, Self::PARTS, self.0).max(side.min(1));
        (logical(width), logical(height))
    }

    /// The side of a square surface, and of its buffer, which are whole pixels of both, the buffer's at least `side`
    /// and no more than twice that; else as near as can be.
    pub fn square(self, side: u32) -> (u32, u32) {
        // The smallest number of the surface's pixels that is a whole number of the display's.
        let step = Self::PARTS / gcd(Self::PARTS, self.0);
        let surface = self.logical((side, side)).0.next_multiple_of(step);
        let surface = if self.physical((surface, 0)).0 < side { surface.saturating_add(step) } else { surface };
        let buffer = self.physical((surface, 0)).0;
        if buffer <= side.saturating_mul(2) { (surface, buffer) } else { (self.logical((side, side)).0, side) }
    }
}

/// `side * to / from`, rounded as the protocol does it: halves up.
fn rescaled(side: u32, to: u32, from: u32) -> u32 {
    let from = u64::from(from.max(1));
    u32::try_from((u64::from(side) * u64::from(to) + from / 2) / from).unwrap_or(u32::MAX)
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a.max(1) } else { gcd(b, a % b) }
}

/// The size of the surface for a picture: one pixel of the display for each of its pixels. Other sizes are a protocol
/// error where the compositor has asked for a certain one, and last until the guest has taken the mode that it was
/// told. Any other than the picture's needs a viewport.
pub(super) fn surface_size(picture: (u32, u32), configured: Configured, scale: Scale) -> (u32, u32) {
    let wanted = (configured.width, configured.height);
    let natural = scale.logical(picture);
    if wanted.0 == 0 || wanted.1 == 0 || picture.0 == 0 || picture.1 == 0 {
        return natural;
    }
    if picture == scale.physical(wanted) {
        return wanted;
    }
    if configured.fullscreen {
        if natural.0 <= wanted.0 && natural.1 <= wanted.1 {
            return natural;
        }
        let (pw, ph) = (u64::from(picture.0), u64::from(picture.1));
        let (ww, wh) = (u64::from(wanted.0), u64::from(wanted.1));
        let (width, height) = if ww * ph <= wh * pw { (ww, ww * ph / pw) } else { (wh * pw / ph, wh) };
        // Both are at most what was wanted, which is 32 bits.
        return (width.max(1) as u32, height.max(1) as u32);
    }
    if configured.maximized { wanted } else { natural }
}

/// A position on a surface of this extent in pixels of the picture that it shows.
pub(super) fn in_picture(position: f64, surface: u32, picture: u32) -> f64 {
    position * f64::from(picture) / f64::from(surface.max(1))
}

/// A position on a picture of this extent as an absolute axis' value: the middle of the pixel, so that every guest's
/// rounding finds the same pixel again.
pub(super) fn absolute(position: f64, extent: u32) -> u16 {
    let extent = f64::from(extent.max(1));
    // NaN becomes 0 by `max`.
    let pixel = position.floor().max(0.0).min(extent - 1.0);
    let value = (pixel + 0.5) * (f64::from(ABS_MAX) + 1.0) / extent;
    value.min(f64::from(ABS_MAX)) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_keeps_the_pictures_size_until_it_may_not() {
        let picture = (1280, 800);
        let window = |width, height| Configured { width, height, ..Default::default() };
        let surface_size = |picture, configured| surface_size(picture, configured, Scale::ONE);
        assert_eq!(surface_size(picture, window(0, 0)), picture);
        assert_eq!(surface_size(picture, window(640, 480)), picture);
        let full = |width, height| Configured { fullscreen: true, ..window(width, height) };
        assert_eq!(surface_size(picture, full(1920, 1080)), picture);
        assert_eq!(surface_size(picture, full(1272, 768)), (1228, 768));
        assert_eq!(surface_size(picture, full(640, 768)), (640, 400));
        assert_eq!(surface_size((16384, 1), full(10, 10)), (10, 1));
        let maximized = Configured { maximized: true, ..window(1000, 700) };
        assert_eq!(surface_size(picture, maximized), (1000, 700));
    }

    #[test]
    fn a_picture_of_the_mode_that_was_told_is_not_scaled_whatever_the_desktop_s_scale() {
        for parts in [60, 119, 120, 121, 143, 150, 180, 210, 240, 360, 1920] {
            let scale = Scale::new(parts);
            for (width, height) in [(1, 1), (640, 480), (1279, 719), (1366, 768)] {
                let full = Configured { width, height, fullscreen: true, ..Default::default() };
                let window = Configured { fullscreen: false, ..full };
                let mode = scale.physical((width, height));
                assert_eq!(surface_size(mode, full, scale), (width, height), "{parts}");
                assert_eq!(surface_size(mode, window, scale), (width, height), "{parts}");
                // Another size never leaves the window.
                for picture in [(1920, 1080), (64, 4096), (1, 1)] {
                    let (w, h) = surface_size(picture, full, scale);
                    assert!((1..=width).contains(&w) && (1..=height).contains(&h), "{parts}: {w}x{h}");
                }
            }
        }
        let half = Scale::new(180);
        assert_eq!((half.physical((801, 600)), half.logical((1200, 901))), ((1202, 900), (800, 601)));
        assert_eq!((Scale::new(0), Scale::whole(u32::MAX)), (Scale(30), Scale(1920)));
        assert_eq!(Scale::whole(2).physical((u32::MAX, 0)), (u32::MAX, 0));
    }

    #[test]
    fn a_cursor_s_square_has_whole_pixels_of_both_kinds() {
        let squares = [120, 240, 180, 150, 210, 143].map(|parts| Scale::new(parts).square(64));
        assert_eq!(squares, [(64, 64), (32, 64), (44, 66), (52, 65), (40, 70), (54, 64)]);
        for parts in 30..1921 {
            let (surface, buffer) = Scale::new(parts).square(64);
            assert!(surface >= 1 && (64..=128).contains(&buffer), "{parts}: {surface}, {buffer}");
        }
    }

    #[test]
    fn an_absolute_position_is_in_range_and_finds_its_pixel_again() {
        for extent in [1, 2, 639, 640, 1272, 1920, 16384] {
            let mut last = 0;
            for pixel in 0..extent {
                let value = absolute(f64::from(pixel) + 0.3, extent);
                assert!(value <= ABS_MAX && (pixel == 0 || value > last));
                assert_eq!(u32::from(value) * extent / (u32::from(ABS_MAX) + 1), pixel);
                last = value;
            }
        }
        assert_eq!(absolute(-5.0, 100), absolute(0.0, 100));
        assert_eq!(absolute(f64::INFINITY, 100), absolute(99.0, 100));
        assert_eq!(absolute(f64::NAN, 100), absolute(0.0, 100));
        assert_eq!(absolute(3.0, 0), absolute(0.0, 1));
    }
}
