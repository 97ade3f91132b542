//! What is drawn and in which order.

use std::os::fd::OwnedFd;

/// A picture in memory, for `phyllome screenshot`.
#[derive(Debug)]
pub struct Capture {
    /// Sealed; four bytes a pixel: blue, green, red, unused.
    pub memfd: OwnedFd,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Bytes per row.
    pub stride: u32,
}

/// The renderer and its caches.
#[derive(Debug, Default)]
pub struct Render {}

impl Render {
    /// The name in `phyllome status`.
    pub fn name(&self) -> &'static str {
        "pixman"
    }
}
