//! A picture in plain memory, told apart from every other by its id.

use phyllome_config::guest::Rgb;
use std::sync::atomic::{AtomicU64, Ordering};

static NEXT_GENERATION: AtomicU64 = AtomicU64::new(1);

/// Pixels of four bytes: blue, green, red, alpha; colours are premultiplied (`ARGB8888` of wl_shm and DRM on
/// little-endian machines). A row has `width * 4` bytes, without a gap.
#[derive(Debug)]
pub struct Pixels {
    /// Width in physical pixels.
    pub width: u32,
    /// Height in physical pixels.
    pub height: u32,
    /// `height` rows.
    pub data: Vec<u8>,
    generation: u64,
}

impl Pixels {
    /// Takes `data`, cut or filled up with transparent pixels to `width` × `height`.
    pub fn new(width: u32, height: u32, mut data: Vec<u8>) -> Self {
        data.resize(width as usize * height as usize * 4, 0);
        Self { width, height, data, generation: NEXT_GENERATION.fetch_add(1, Ordering::Relaxed) }
    }

    /// One opaque colour everywhere.
    pub fn filled(width: u32, height: u32, Rgb(r, g, b): Rgb) -> Self {
        Self::new(width, height, [b, g, r, 0xff].repeat(width as usize * height as usize))
    }

    /// Unique in the process for every content: two pictures with the same generation are the same picture.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The pixel at `x`, `y` as blue, green, red, alpha; `None` outside.
    pub fn get(&self, x: u32, y: u32) -> Option<[u8; 4]> {
        if x >= self.width || y >= self.height {
            return None;
        }
        let at = (y as usize * self.width as usize + x as usize) * 4;
        self.data.get(at..at + 4)?.try_into().ok()
    }
}

/// `top` over `under`, both premultiplied with alpha last.
pub fn over(top: [u8; 4], under: [u8; 4]) -> [u8; 4] {
    let rest = u16::from(u8::MAX - top[3]);
    std::array::from_fn(|i| top[i].saturating_add(((u16::from(under[i]) * rest + 127) / 255) as u8))
}
