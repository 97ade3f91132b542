//! What phyllome-guest knows of a 3D resource (RESOURCE_CREATE_3D: a texture or buffer of the renderer's), and whether
//! its numbers make sense. Pure.
//!
//! The pixels are the renderer's; here are the size for the quota, the bounds for transfers and whether it can be
//! shown.

use super::formats::{BYTES_PER_PIXEL, Format};
use crate::renderer::limits::target::{self, BUFFER, TEXTURE_2D, TEXTURE_3D};
use crate::renderer::limits::{MAX_SAMPLES, MAX_SIDE};
use crate::renderer::wire::{Box3d, Create3d, Transfer3d};

/// Greatest width of a buffer, bytes.
const MAX_BUFFER: u32 = 1 << 30;
/// Most layers of an array, most slices of a volume.
const MAX_LAYERS: u32 = 2048;

/// A texture, or a buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Texture {
    /// As the guest created it.
    pub what: Create3d,
    /// What it counts for in the quota.
    pub bytes: u64,
    /// Entries and bytes of its backing, while it has some.
    pub backing: Option<(usize, u64)>,
}

impl Texture {
    /// `None` if the numbers make no sense.
    pub fn new(what: Create3d) -> Option<Self> {
        Some(Self { what, bytes: bytes(&what)?, backing: None })
    }

    /// The format of its pixels if a scanout or cursor can show it: a plain 2D texture of 4 bytes a pixel.
    pub fn shown_format(&self) -> Option<Format> {
        let Create3d { target, depth, array_size, samples, format, .. } = self.what;
        let flat = target == TEXTURE_2D && depth <= 1 && array_size <= 1 && samples <= 1;
        Format::from_number(format).filter(|_| flat)
    }

    /// Whether a transfer stays inside the resource and begins inside its backing.
    pub fn allows(&self, transfer: &Transfer3d) -> bool {
        let Create3d { target, width, height, depth, array_size, last_level, .. } = self.what;
        let Transfer3d { region, offset, level, .. } = *transfer;
        if level > last_level {
            return false;
        }
        let at_level = |side: u32| side.checked_shr(level).unwrap_or(0).max(1);
        let layers = if target == TEXTURE_3D { at_level(depth) } else { array_size.max(depth).max(1) };
        let (width, height) = if target == BUFFER { (width, height) } else { (at_level(width), at_level(height)) };
        let Box3d { x, y, z, width: w, height: h, depth: d } = region;
        let within = |at: u32, length: u32, side: u32| at.checked_add(length).is_some_and(|end| end <= side);
        within(x, w, width)
            && within(y, h, height)
            && within(z, d, layers)
            && self.backing.is_some_and(|(_, length)| offset <= length)
    }
}

/// Bytes that a resource takes, rounded up generously; `None` if its numbers make no sense.
fn bytes(what: &Create3d) -> Option<u64> {
    let Create3d { target, format, width, height, depth, array_size, last_level, samples, .. } = *what;
    if target > target::LAST || width == 0 || height == 0 || samples > MAX_SAMPLES {
        return None;
    }
    if target == BUFFER {
        return (width <= MAX_BUFFER && height == 1 && depth <= 1 && array_size <= 1 && last_level == 0)
            .then_some(u64::from(width));
    }
    let fits = width <= MAX_SIDE && height <= MAX_SIDE && depth <= MAX_LAYERS && array_size <= MAX_LAYERS;
    if !fits || last_level > MAX_SIDE.ilog2() {
        return None;
    }
    let texels = [width, height, depth.max(1), array_size.max(1), samples.max(1)];
    let level0 = texels.into_iter().try_fold(bytes_per_texel(format), |total, n| total.checked_mul(u64::from(n)))?;
    // All smaller levels together are never more than the first (a third of it, for squares).
    if last_level == 0 { Some(level0) } else { level0.checked_mul(2) }
}

/// Bytes of a texel in virgl's formats (virgl_hw.h): exact for the many of 4 bytes, the greatest for the rest.
fn bytes_per_texel(format: u32) -> u64 {
    match Format::from_number(format) {
        Some(_) => u64::from(BYTES_PER_PIXEL),
        // R32G32B32A32 in its kinds is the widest that there is.
        None => 16,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn texture(width: u32, height: u32) -> Create3d {
        Create3d { target: 2, format: 2, width, height, depth: 1, array_size: 1, ..Create3d::default() }
    }

    #[test]
    fn sizes_are_counted_and_absurd_ones_refused() {
        assert_eq!(Texture::new(texture(1920, 1080)).unwrap().bytes, 1920 * 1080 * 4);
        assert_eq!(Texture::new(Create3d { last_level: 5, ..texture(64, 64) }).unwrap().bytes, 64 * 64 * 8);
        let buffer = Create3d {
            target: 0,
            format: 64,
            width: 1 << 20,
            height: 1,
            depth: 1,
            array_size: 1,
            ..Create3d::default()
        };
        assert_eq!(Texture::new(buffer).unwrap().bytes, 1 << 20);
        for absurd in [
            texture(0, 1),
            texture(1, 0),
            texture(16385, 1),
            texture(u32::MAX, u32::MAX),
            Create3d { target: 9, ..texture(1, 1) },
            Create3d { samples: 33, ..texture(1, 1) },
            Create3d { last_level: 32, ..texture(1, 1) },
            Create3d { depth: u32::MAX, array_size: u32::MAX, ..texture(16384, 16384) },
            Create3d { width: u32::MAX, ..buffer },
            Create3d { height: 2, ..buffer },
        ] {
            assert_eq!(Texture::new(absurd), None, "{absurd:?}");
        }
    }

    #[test]
    fn transfers_stay_inside_their_level_and_backing() {
        let mut resource = Texture::new(Create3d { last_level: 2, ..texture(100, 40) }).unwrap();
        let inside = |region, level| Transfer3d { region, level, ..Transfer3d::default() };
        let whole = Box3d { x: 0, y: 0, z: 0, width: 100, height: 40, depth: 1 };
        assert!(!resource.allows(&inside(whole, 0)), "no backing");
        resource.backing = Some((1, 16000));
        assert!(resource.allows(&inside(whole, 0)));
        assert!(!resource.allows(&inside(whole, 1)) && !resource.allows(&inside(whole, 3)));
        assert!(resource.allows(&inside(Box3d { width: 50, height: 20, ..whole }, 1)));
        for outside in [
            Box3d { x: 1, ..whole },
            Box3d { y: u32::MAX, ..whole },
            Box3d { z: 1, ..whole },
            Box3d { depth: 2, ..whole },
            Box3d { x: u32::MAX, width: 2, ..whole },
        ] {
            assert!(!resource.allows(&inside(outside, 0)), "{outside:?}");
        }
        assert!(!resource.allows(&Transfer3d { offset: 16001, ..inside(whole, 0) }));
    }

    #[test]
    fn only_flat_pictures_are_shown() {
        let shown = |what| Texture::new(what).unwrap().shown_format();
        assert_eq!(shown(texture(8, 8)), Some(Format::B8G8R8X8));
        assert_eq!(shown(Create3d { format: 31, ..texture(8, 8) }), None);
        assert_eq!(shown(Create3d { array_size: 2, ..texture(8, 8) }), None);
        assert_eq!(shown(Create3d { samples: 4, ..texture(8, 8) }), None);
        assert_eq!(shown(Create3d { target: 5, ..texture(8, 8) }), None);
    }

    proptest! {
        #[test]
        fn arbitrary_numbers_never_panic(
            target: u32, format: u32, width: u32, height: u32, depth: u32, array_size: u32, last_level: u32, samples: u32,
            x: u32, w: u32, level: u32, offset: u64,
        ) {
            let what = Create3d { target: target % 10, format, width, height, depth, array_size, last_level, samples, ..Create3d::default() };
            if let Some(mut resource) = Texture::new(what) {
                resource.backing = Some((1, 100));
                let region = Box3d { x, y: x, z: x, width: w, height: w, depth: w };
                let _ = resource.allows(&Transfer3d { region, level, offset, ..Transfer3d::default() });
            }
        }
    }
}
