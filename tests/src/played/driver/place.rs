//! Where a played guest's picture lies in its memory. Pure.
//!
//! That of a blob is as awkward as a guest's may be: pieces of a few pages each, the last one first, with gaps between
//! them; rows with padding; a first pixel in the midst of a page.

use crate::played::options::Memory;

/// Bytes of a piece of a blob.
const PIECE: u64 = 5 * PAGE;
/// Bytes between two pieces.
const GAP: u64 = PAGE;
const PAGE: u64 = 4096;
/// Where a blob's first pixel is.
const FIRST: u64 = PAGE + 256;
/// Bytes behind each row of a blob, at least.
const PADDING: u32 = 256;

/// A picture's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    base: u64,
    /// Bytes per row.
    stride: u32,
    /// Where its first pixel is.
    first: u64,
    size: u64,
    scattered: bool,
}

impl Place {
    /// From `base`, a guest physical address, on.
    pub fn new(memory: Memory, width: u32, height: u32, base: u64) -> Self {
        let scattered = memory == Memory::Blob;
        let stride = if scattered { (width * 4).next_multiple_of(256) + PADDING } else { width * 4 };
        let first = if scattered { FIRST } else { 0 };
        let bytes = first + u64::from(stride) * u64::from(height);
        let size = if scattered { bytes.next_multiple_of(PAGE) } else { bytes };
        Self { base, stride, first, size, scattered }
    }

    /// Bytes per row.
    pub fn stride(&self) -> u32 {
        self.stride
    }

    /// Bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Where a pixel is, in bytes from the beginning.
    pub fn at(&self, x: u32, y: u32) -> u64 {
        self.first + u64::from(y) * u64::from(self.stride) + u64::from(x) * 4
    }

    fn count(&self) -> u64 {
        self.size.div_ceil(PIECE)
    }

    /// The address behind all of it.
    pub fn end(&self) -> u64 {
        self.base + if self.scattered { self.count() * (PIECE + GAP) } else { self.size }
    }

    /// The guest physical address of a piece.
    fn address(&self, piece: u64) -> u64 {
        self.base + (self.count() - 1 - piece) * (PIECE + GAP)
    }

    /// The pieces, as a device is told of them.
    pub fn entries(&self) -> Vec<(u64, u32)> {
        if !self.scattered {
            return vec![(self.base, self.size as u32)];
        }
        (0..self.count()).map(|n| (self.address(n), (self.size - n * PIECE).min(PIECE) as u32)).collect()
    }

    /// Bytes that begin at an offset, with the addresses to which their parts go.
    pub fn pieces<'a>(&self, mut at: u64, mut bytes: &'a [u8]) -> Vec<(u64, &'a [u8])> {
        if !self.scattered {
            return vec![(self.base + at, bytes)];
        }
        let mut pieces = Vec::new();
        while !bytes.is_empty() {
            let (piece, within) = (at / PIECE, at % PIECE);
            let (part, rest) = bytes.split_at(bytes.len().min((PIECE - within) as usize));
            pieces.push((self.address(piece) + within, part));
            (at, bytes) = (at + part.len() as u64, rest);
        }
        pieces
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blob_s_bytes_are_where_its_entries_say() {
        let place = Place::new(Memory::Blob, 300, 40, 0x80_0000);
        let entries = place.entries();
        assert!(entries.len() > 2 && entries.windows(2).all(|pair| pair[0].0 > pair[1].0), "{entries:?}");
        assert_eq!(entries.iter().map(|entry| u64::from(entry.1)).sum::<u64>(), place.size());
        // By an address for each byte.
        let flat: Vec<u64> = entries.iter().flat_map(|&(start, length)| start..start + u64::from(length)).collect();
        let bytes = vec![7; 5 * PIECE as usize / 2];
        let mut at = 100;
        for (address, part) in place.pieces(100, &bytes) {
            for n in 0..part.len() as u64 {
                assert_eq!(flat[at], address + n);
                at += 1;
            }
        }
        assert_eq!(at, 100 + bytes.len());
        assert!(flat.iter().all(|&address| (0x80_0000..place.end()).contains(&address)));
        assert!(place.at(299, 39) + 4 <= place.size() && place.stride() > 1200);
    }

    #[test]
    fn other_pictures_are_one_piece() {
        let place = Place::new(Memory::Classic, 300, 40, 0x80_0000);
        assert_eq!((place.entries(), place.at(1, 1)), (vec![(0x80_0000, 48000)], 1204));
        assert_eq!(place.pieces(8, &[1, 2]), [(0x80_0008, &[1, 2][..])]);
    }
}
