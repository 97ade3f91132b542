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

/// The size of the surface for a picture. Other sizes than the picture's need a viewport, and are a protocol error
/// where the compositor has asked for a certain size; they last until the guest has taken the mode that it was told.
pub(super) fn surface_size(picture: (u32, u32), configured: Configured) -> (u32, u32) {
    let wanted = (configured.width, configured.height);
    if wanted.0 == 0 || wanted.1 == 0 || picture.0 == 0 || picture.1 == 0 {
        return picture;
    }
    if configured.fullscreen {
        if picture.0 <= wanted.0 && picture.1 <= wanted.1 {
            return picture;
        }
        let (pw, ph) = (u64::from(picture.0), u64::from(picture.1));
        let (ww, wh) = (u64::from(wanted.0), u64::from(wanted.1));
        let (width, height) = if ww * ph <= wh * pw { (ww, ww * ph / pw) } else { (wh * pw / ph, wh) };
        // Both are at most what was wanted, which is 32 bits.
        return (width.max(1) as u32, height.max(1) as u32);
    }
    if configured.maximized { wanted } else { picture }
}

/// A position on a surface of this extent as an absolute axis' value: the middle of the pixel, so that every guest's
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
