//! A scanout's hardware cursor: the last image that the guest gave, copied when it was given.
//!
//! Pure. Images are 64×64; where the guest says that the pointer is does not matter, because the person's pointer is.

use super::host_image::HostImage;
use crate::frames::CursorImage;
use std::sync::Arc;

/// Width and height.
pub const SIDE: u32 = 64;
const BYTES: usize = (SIDE * SIDE * 4) as usize;

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
    /// The guest showed another image; `false` if it is not 64×64.
    pub fn show(&mut self, image: &HostImage, hot_x: u32, hot_y: u32) -> bool {
        if (image.layout.width, image.layout.height) != (SIDE, SIDE) {
            return false;
        }
        self.pixels.resize(BYTES, 0);
        for (y, row) in self.pixels.chunks_exact_mut(SIDE as usize * 4).enumerate() {
            image.read_row(y as u32, row);
        }
        self.hot = (hot_x.min(SIDE - 1), hot_y.min(SIDE - 1));
        self.visible = true;
        self.changed = true;
        true
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

    fn image(side: u32) -> HostImage {
        HostImage::new(Layout::new(side, side).unwrap(), Format::B8G8R8X8).unwrap()
    }

    #[test]
    fn an_image_is_told_once_and_hidden_once() {
        let mut cursor = Cursor::default();
        assert!(cursor.show(&image(64), 900, 3));
        assert!(cursor.changed());
        let shown = cursor.take().unwrap();
        assert_eq!((shown.hot_x, shown.hot_y, shown.pixels.len()), (63, 3, BYTES));
        assert_eq!(shown.pixels[..4], [0, 0, 0, 255], "a format without alpha is opaque");
        assert!(!cursor.changed());
        cursor.hide();
        assert!(cursor.changed() && cursor.take().is_none() && !cursor.changed());
        cursor.hide();
        assert!(!cursor.changed());
    }

    #[test]
    fn another_size_changes_nothing() {
        let mut cursor = Cursor::default();
        assert!(!cursor.show(&image(32), 0, 0));
        assert!(!cursor.changed());
    }
}
