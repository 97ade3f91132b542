//! Pixel formats: what the guest's DRM fourccs are called in wl_shm, and the conversion for compositors that lack them.
//!
//! All are 32 bits per pixel; the virtio-gpu specification has no others for 2D. A scanout is always shown opaque: what
//! a guest writes into the alpha byte of its screen must not let anything shine through. Pure; values in, values out.

/// A DRM fourcc from its four letters.
pub(super) const fn fourcc(letters: &[u8; 4]) -> u32 {
    u32::from_le_bytes(*letters)
}

/// Bytes B, G, R, X: what every compositor knows.
pub(super) const XRGB8888: u32 = fourcc(b"XR24");
/// Bytes B, G, R, A: likewise; cursors.
pub(super) const ARGB8888: u32 = fourcc(b"AR24");

/// The linear modifier.
pub(super) const MODIFIER_LINEAR: u64 = 0;
/// No modifier: the layout is agreed upon implicitly.
pub(super) const MODIFIER_INVALID: u64 = 0x00ff_ffff_ffff_ffff;

/// A format with its alpha taken for padding, and where its bytes of red, green and blue lie; `None` for what is no 2D
/// format of virtio-gpu.
fn describe(code: u32) -> Option<(u32, [usize; 3])> {
    match &code.to_le_bytes() {
        b"XR24" | b"AR24" => Some((XRGB8888, [2, 1, 0])),
        b"XB24" | b"AB24" => Some((fourcc(b"XB24"), [0, 1, 2])),
        b"BX24" | b"BA24" => Some((fourcc(b"BX24"), [1, 2, 3])),
        b"RX24" | b"RA24" => Some((fourcc(b"RX24"), [3, 2, 1])),
        _ => None,
    }
}

/// The same order of bytes without alpha.
pub(super) fn opaque(code: u32) -> Option<u32> {
    describe(code).map(|(opaque, _)| opaque)
}

/// wl_shm's number for a fourcc: its own for the two that it requires, the fourcc itself for the others.
pub(super) fn shm_number(code: u32) -> u32 {
    match code {
        ARGB8888 => 0,
        XRGB8888 => 1,
        other => other,
    }
}

/// The fourcc of wl_shm's number.
pub(super) fn from_shm_number(number: u32) -> u32 {
    match number {
        0 => ARGB8888,
        1 => XRGB8888,
        other => other,
    }
}

/// Converts whole pixels in place to XRGB8888; `false` if the format is unknown.
pub(super) fn convert_to_xrgb(code: u32, pixels: &mut [u8]) -> bool {
    let Some((_, [red, green, blue])) = describe(code) else { return false };
    if [red, green, blue] == [2, 1, 0] {
        return true;
    }
    for pixel in pixels.as_chunks_mut::<4>().0 {
        *pixel = [pixel[blue], pixel[green], pixel[red], 0xff];
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_2d_format_of_virtio_gpu_comes_out_as_the_same_colour() {
        let (red, green, blue, other) = (10, 20, 30, 99);
        for (code, bytes) in [
            (b"AR24", [blue, green, red, other]),
            (b"XR24", [blue, green, red, other]),
            (b"BA24", [other, red, green, blue]),
            (b"BX24", [other, red, green, blue]),
            (b"AB24", [red, green, blue, other]),
            (b"XB24", [red, green, blue, other]),
            (b"RA24", [other, blue, green, red]),
            (b"RX24", [other, blue, green, red]),
        ] {
            let mut pixel = bytes;
            assert!(convert_to_xrgb(fourcc(code), &mut pixel));
            assert_eq!(pixel[..3], [blue, green, red], "{code:?}");
        }
        assert!(!convert_to_xrgb(fourcc(b"NV12"), &mut [0; 4]));
    }

    #[test]
    fn a_scanout_has_no_alpha() {
        for (with, without) in [(b"AR24", b"XR24"), (b"AB24", b"XB24"), (b"BA24", b"BX24"), (b"RA24", b"RX24")] {
            assert_eq!(opaque(fourcc(with)), Some(fourcc(without)));
            assert_eq!(opaque(fourcc(without)), Some(fourcc(without)));
        }
    }

    #[test]
    fn wl_shm_names_two_formats_differently() {
        for code in [XRGB8888, ARGB8888, fourcc(b"XB24")] {
            assert_eq!(from_shm_number(shm_number(code)), code);
        }
        assert_eq!((shm_number(ARGB8888), shm_number(XRGB8888)), (0, 1));
    }
}
