//! A scanout's hardware cursor: the last image that the guest gave, copied when it was given.
//!
//! Pure. Its pixels are B, G, R and premultiplied alpha in memory, whatever format its resource was created with: Linux
//! makes every dumb buffer as B8G8R8X8 and means alpha all the same, and QEMU does not look at the format either. The
//! specification has it 64×64; a smaller one is the top left of that. Where the guest says that the pointer is does not
//! matter, because the person's pointer is.

use super::host_image::HostImage;
use crate::frames::CursorImage;
use std::sync::Arc;

/// Width and height.
pub const SIDE: u32 = 64;
const ROW: usize = SIDE as usize * 4;
const BYTES: usize = ROW * SIDE as usize;

/// Whether a cursor may have this width and height.
pub fn fits(width: u32, height: u32) -> bool {
    (1..=SIDE).contains(&width) && (1..=SIDE).contains(&height)
}

/// One scanout's cursor. At first hidden.
#[derive(Debug, Default)]
pub struct Cursor {
    /// B, G, R, A; empty until there was one.
    pixels: Vec<u8>,
    hot: (u32, u32),
    visible: bool,
    /// What the screen was told last, if anything visible.
    announced: bool,
    changed: bool,
}

impl Cursor {
    /// The guest showed another image: the top left `size` of this one, which [`fits`] and lies inside it.
    pub fn show(&mut self, image: &HostImage, (width, height): (u32, u32), hot: (u32, u32)) {
        self.pixels.clear();
        self.pixels.resize(BYTES, 0);
        for (y, row) in (0..height).zip(self.pixels.chunks_exact_mut(ROW)) {
            let (row, _) = row.split_at_mut(row.len().min(width as usize * 4));
            image.read_row(y, row);
        }
        // What points outside the image points at its edge; numbers of 2^31 and more are negative ones.
        let inside = |at: u32| u32::try_from(at as i32).unwrap_or(0).min(SIDE - 1);
        self.hot = (inside(hot.0), inside(hot.1));
        self.visible = true;
        self.changed = true;
    }

    /// The guest hid it.
    pub fn hide(&mut self) {
        self.visible = false;
        self.changed = self.announced;
    }

    /// Whether the screen is to be told.
    pub fn changed(&self) -> bool {
        self.changed
    }

    /// What the screen is to be told; it counts as told.
    pub fn take(&mut self) -> Option<CursorImage> {
        self.changed = false;
        self.announced = self.visible;
        let image = || CursorImage { pixels: Arc::from(self.pixels.as_slice()), hot_x: self.hot.0, hot_y: self.hot.1 };
        self.visible.then(image)
    }

    /// Whether the screen shows one.
    pub fn is_announced(&self) -> bool {
        self.announced
    }

    /// The screen knows of no cursor (any more).
    pub fn forgotten(&mut self) {
        self.announced = false;
        self.changed = self.visible;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::formats::Format;
    use crate::gpu::host_image::Layout;

    /// An image whose every byte tells where it is.
    fn image(format: Format, width: u32, height: u32) -> HostImage {
        let image = HostImage::new(Layout::new(width, height).unwrap(), format).unwrap();
        for y in 0..height {
            let row: Vec<u8> = (0..width).flat_map(|x| pixel(x, y)).collect();
            rustix::io::pwrite(image.memfd(), &row, u64::from(y * image.layout.pitch)).unwrap();
        }
        image
    }

    fn pixel(x: u32, y: u32) -> [u8; 4] {
        [x as u8, y as u8, (x ^ y) as u8, (x + y) as u8]
    }

    fn shown(cursor: &mut Cursor, x: u32, y: u32) -> [u8; 4] {
        let at = y as usize * ROW + x as usize * 4;
        cursor.take().unwrap().pixels[at..at + 4].try_into().unwrap()
    }

    #[test]
    fn its_bytes_are_blue_green_red_and_alpha_whatever_the_resource_was_created_as() {
        for format in Format::ALL {
            let mut cursor = Cursor::default();
            cursor.show(&image(format, SIDE, SIDE), (SIDE, SIDE), (0, 0));
            for (x, y) in [(0, 0), (63, 0), (0, 63), (63, 63), (9, 40)] {
                assert_eq!(shown(&mut cursor, x, y), pixel(x, y), "{format:?} at {x}, {y}");
            }
        }
    }

    #[test]
    fn a_smaller_one_is_the_top_left_and_nothing_of_the_one_before_is_seen_around_it() {
        let mut cursor = Cursor::default();
        cursor.show(&image(Format::B8G8R8A8, SIDE, SIDE), (SIDE, SIDE), (0, 0));
        cursor.show(&image(Format::B8G8R8A8, 24, 10), (24, 10), (0, 0));
        assert_eq!(shown(&mut cursor, 23, 9), pixel(23, 9));
        for (x, y) in [(24, 9), (23, 10), (63, 63), (63, 0)] {
            assert_eq!(shown(&mut cursor, x, y), [0; 4], "{x}, {y}");
        }
        // A part of a larger memory.
        cursor.show(&image(Format::B8G8R8A8, SIDE, SIDE), (3, 4), (0, 0));
        assert_eq!((shown(&mut cursor, 2, 3), shown(&mut cursor, 3, 3)), (pixel(2, 3), [0; 4]));
        for (width, height, can) in [(1, 1, true), (64, 64, true), (0, 1, false), (65, 3, false), (3, u32::MAX, false)]
        {
            assert_eq!(fits(width, height), can);
        }
    }

    #[test]
    fn what_points_outside_points_at_the_edge() {
        let image = image(Format::B8G8R8A8, SIDE, SIDE);
        for (hot, inside) in
            [((0, 0), (0, 0)), ((63, 63), (63, 63)), ((64, 900), (63, 63)), ((-1i32 as u32, 1 << 31), (0, 0))]
        {
            let mut cursor = Cursor::default();
            cursor.show(&image, (SIDE, SIDE), hot);
            let shown = cursor.take().unwrap();
            assert_eq!((shown.hot_x, shown.hot_y), inside, "{hot:?}");
        }
    }

    #[test]
    fn an_image_is_told_once_and_hidden_once() {
        let mut cursor = Cursor::default();
        cursor.show(&image(Format::B8G8R8X8, SIDE, SIDE), (SIDE, SIDE), (1, 3));
        assert!(cursor.changed());
        assert_eq!(cursor.take().map(|shown| shown.pixels.len()), Some(BYTES));
        assert!(!cursor.changed());
        cursor.hide();
        assert!(cursor.changed() && cursor.take().is_none() && !cursor.changed());
        cursor.hide();
        assert!(!cursor.changed());
    }
}
