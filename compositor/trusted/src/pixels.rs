//! A picture in plain memory, told apart from every other by its id; it knows which of its parts changed lately.
//!
//! Shared as `Rc<Pixels>`: it changes in place only where nobody else has it, and otherwise in a copy.

use crate::frame::label::Rgb;
use phyllome_protocol::status::Area;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};

static NEXT_GENERATION: AtomicU64 = AtomicU64::new(1);

/// Changes that are remembered. Who shows the picture asks in each of its frames, and so misses few.
const REMEMBERED: usize = 4;

/// Pixels of four bytes: blue, green, red, alpha; colours are premultiplied (`ARGB8888` of wl_shm and DRM on
/// little-endian machines). A row has `width * 4` bytes, without a gap.
#[derive(Clone, Debug)]
pub struct Pixels {
    /// Width in physical pixels.
    pub width: u32,
    /// Height in physical pixels.
    pub height: u32,
    /// `height` rows.
    pub data: Vec<u8>,
    generation: u64,
    /// The latest changes, oldest first: the generation before each, and its parts.
    changes: VecDeque<(u64, Vec<Area>)>,
}

fn next_generation() -> u64 {
    NEXT_GENERATION.fetch_add(1, Ordering::Relaxed)
}

impl Pixels {
    /// Takes `data`, cut or filled up with transparent pixels to `width` × `height`.
    pub fn new(width: u32, height: u32, mut data: Vec<u8>) -> Self {
        data.resize(width as usize * height as usize * 4, 0);
        Self { width, height, data, generation: next_generation(), changes: VecDeque::new() }
    }

    /// One opaque colour everywhere.
    pub fn filled(width: u32, height: u32, Rgb(r, g, b): Rgb) -> Self {
        Self::new(width, height, [b, g, r, 0xff].repeat(width as usize * height as usize))
    }

    /// Unique in the process for every content: two pictures with the same generation are the same picture.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Lets `draw` change the pixels, which tells what it changed: parts inside the picture, in physical pixels. In
    /// place where nobody else has the picture, else in a copy: what others have never changes.
    pub fn change(this: &mut Rc<Self>, draw: impl FnOnce(&mut [u8]) -> Vec<Area>) {
        let pixels = Rc::make_mut(this);
        let parts = draw(&mut pixels.data);
        if parts.is_empty() {
            return;
        }
        if pixels.changes.len() == REMEMBERED {
            pixels.changes.pop_front();
        }
        pixels.changes.push_back((pixels.generation, parts));
        pixels.generation = next_generation();
    }

    /// What is different from the picture of that `generation`, in physical pixels; parts may overlap. `None` if it is
    /// another picture, or has changed too often since.
    pub fn changed_since(&self, generation: u64) -> Option<Vec<Area>> {
        if generation == self.generation {
            return Some(Vec::new());
        }
        let first = self.changes.iter().position(|(before, _)| *before == generation)?;
        Some(self.changes.iter().skip(first).flat_map(|(_, parts)| parts.iter().copied()).collect())
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

#[cfg(test)]
mod tests {
    use super::*;

    const PART: Area = Area { x: 1, y: 0, width: 1, height: 1 };

    fn change(pixels: &mut Rc<Pixels>, value: u8) {
        Pixels::change(pixels, |data| {
            data[4..8].fill(value);
            vec![PART]
        });
    }

    #[test]
    fn a_picture_says_what_changed_of_it_as_long_as_it_remembers() {
        let mut pixels = Rc::new(Pixels::filled(2, 2, Rgb(0, 0, 0)));
        let first = pixels.generation();
        assert_eq!(pixels.changed_since(first), Some(Vec::new()));
        Pixels::change(&mut pixels, |_| Vec::new());
        assert_eq!(pixels.generation(), first, "nothing has changed");
        for count in 1..=REMEMBERED {
            change(&mut pixels, 7);
            assert_eq!(pixels.changed_since(first), Some(vec![PART; count]));
        }
        change(&mut pixels, 8);
        assert_eq!(pixels.changed_since(first), None, "too long ago");
        assert_eq!(pixels.changed_since(Pixels::filled(2, 2, Rgb(0, 0, 0)).generation()), None, "another picture");
    }

    #[test]
    fn a_picture_that_another_has_is_never_changed() {
        let mut pixels = Rc::new(Pixels::filled(2, 1, Rgb(0, 0, 0)));
        let place = pixels.data.as_ptr();
        change(&mut pixels, 1);
        assert_eq!(pixels.data.as_ptr(), place, "in place, where nobody else has it");
        let kept = pixels.clone();
        change(&mut pixels, 2);
        assert_eq!((kept.get(1, 0), pixels.get(1, 0)), (Some([1; 4]), Some([2; 4])));
        assert_eq!(pixels.changed_since(kept.generation()), Some(vec![PART]));
    }
}
