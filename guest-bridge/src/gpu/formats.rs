//! The eight 2D formats of the specification (virtio 1.3, 5.7.6.7, `virtio_gpu_formats`) and their DRM names.
//!
//! virtio names formats by bytes in memory, DRM by a little-endian word: so `B8G8R8A8` is `ARGB8888`. All have 4 bytes.

/// Bytes of a pixel in every 2D format.
pub const BYTES_PER_PIXEL: u32 = 4;

/// A 2D format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the specification's names")]
pub enum Format {
    B8G8R8A8,
    B8G8R8X8,
    A8R8G8B8,
    X8R8G8B8,
    R8G8B8A8,
    X8B8G8R8,
    A8B8G8R8,
    R8G8B8X8,
}

impl Format {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::B8G8R8A8,
        Self::B8G8R8X8,
        Self::A8R8G8B8,
        Self::X8R8G8B8,
        Self::R8G8B8A8,
        Self::X8B8G8R8,
        Self::A8B8G8R8,
        Self::R8G8B8X8,
    ];

    /// The specification's number.
    pub fn number(self) -> u32 {
        match self {
            Self::B8G8R8A8 => 1,
            Self::B8G8R8X8 => 2,
            Self::A8R8G8B8 => 3,
            Self::X8R8G8B8 => 4,
            Self::R8G8B8A8 => 67,
            Self::X8B8G8R8 => 68,
            Self::A8B8G8R8 => 121,
            Self::R8G8B8X8 => 134,
        }
    }

    /// The format of that number.
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.number() == number)
    }

    /// DRM's four letters.
    pub fn name(self) -> &'static str {
        match self {
            Self::B8G8R8A8 => "AR24",
            Self::B8G8R8X8 => "XR24",
            Self::A8R8G8B8 => "BA24",
            Self::X8R8G8B8 => "BX24",
            Self::R8G8B8A8 => "AB24",
            Self::X8B8G8R8 => "RX24",
            Self::A8B8G8R8 => "RA24",
            Self::R8G8B8X8 => "XB24",
        }
    }

    /// DRM's fourcc (`drm_fourcc.h`).
    pub fn fourcc(self) -> u32 {
        self.name().bytes().rev().fold(0, |word, letter| word << 8 | u32::from(letter))
    }

    /// The format of that fourcc.
    pub fn from_fourcc(fourcc: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.fourcc() == fourcc)
    }

    /// A pixel as B, G, R, A; opaque where the format has no alpha.
    #[cfg(any(test, feature = "device-server"))]
    pub fn to_bgra(self, [p, q, r, s]: [u8; 4]) -> [u8; 4] {
        match self {
            Self::B8G8R8A8 => [p, q, r, s],
            Self::B8G8R8X8 => [p, q, r, 255],
            Self::A8R8G8B8 => [s, r, q, p],
            Self::X8R8G8B8 => [s, r, q, 255],
            Self::R8G8B8A8 => [r, q, p, s],
            Self::R8G8B8X8 => [r, q, p, 255],
            Self::A8B8G8R8 => [q, r, s, p],
            Self::X8B8G8R8 => [q, r, s, 255],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_the_specification_s_and_no_others() {
        let numbers: Vec<u32> = (0..1000).filter(|&number| Format::from_number(number).is_some()).collect();
        assert_eq!(numbers, [1, 2, 3, 4, 67, 68, 121, 134]);
    }

    #[test]
    fn fourcc_is_little_endian() {
        assert_eq!(Format::B8G8R8X8.fourcc(), 0x3432_5258);
    }

    /// virtio's name lists bytes in memory from the first; DRM's would list them from the last.
    #[test]
    fn every_format_turns_its_own_bytes_into_bgra() {
        for format in Format::ALL {
            let name = format!("{format:?}");
            let letters = [0, 2, 4, 6].map(|at| name.as_bytes()[at]);
            let pixel = letters.map(|letter| match letter {
                b'B' => 10,
                b'G' => 20,
                b'R' => 30,
                _ => 40,
            });
            let alpha = if letters.contains(&b'A') { 40 } else { 255 };
            assert_eq!(format.to_bgra(pixel), [10, 20, 30, alpha], "{name}");
        }
    }
}
