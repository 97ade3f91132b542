//! What part of its buffer a window shows, how large, and which way up: what wp_viewport is told, and only when it
//! changes.
//!
//! A rectangle of a guest's lies inside its buffer, whose size no compositor would have taken beyond 2^23.

use crate::frames::Rect;
use wayland_protocols::wp::viewporter::client::wp_viewport;

/// What a viewport is told; `None` is its initial state.
#[derive(Clone, Copy, Default, PartialEq)]
pub(super) struct View {
    /// The part of the buffer.
    pub crop: Option<Rect>,
    /// The surface's size.
    pub size: Option<(u32, u32)>,
}

/// A window's viewport.
pub(super) struct Viewport {
    proxy: wp_viewport::WpViewport,
    told: View,
}

impl Viewport {
    /// One that has just been made.
    pub fn new(proxy: wp_viewport::WpViewport) -> Self {
        Self { proxy, told: View::default() }
    }

    /// The part of the buffer that is shown, if not all.
    pub fn crop(&self) -> Option<Rect> {
        self.told.crop
    }

    /// From the next commit on.
    pub fn tell(&mut self, view: View) {
        if view == self.told {
            return;
        }
        match view.crop {
            Some(Rect { x, y, width, height }) => {
                self.proxy.set_source(f64::from(x), f64::from(y), f64::from(width), f64::from(height));
            }
            None => self.proxy.set_source(-1.0, -1.0, -1.0, -1.0),
        }
        let [width, height] = match view.size {
            Some((width, height)) => [width, height].map(|value| i32::try_from(value).unwrap_or(i32::MAX)),
            None => [-1, -1],
        };
        self.proxy.set_destination(width, height);
        self.told = view;
    }
}

impl Drop for Viewport {
    fn drop(&mut self) {
        self.proxy.destroy();
    }
}

/// Rectangles of a picture that begins at row `top` of a buffer whose last row in memory is its first one, as they lie
/// in memory.
pub(super) fn upside_down(damage: &[Rect], top: u32, height: u32) -> Vec<Rect> {
    let turned = |rect: &Rect| {
        let end = top.saturating_add(rect.y).saturating_add(rect.height);
        Rect { y: height.saturating_sub(end), ..*rect }
    };
    damage.iter().map(turned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_changed_lies_where_the_rows_are() {
        let rect = |y, height| Rect { x: 3, y, width: 4, height };
        assert_eq!(upside_down(&[rect(0, 1), rect(10, 20)], 0, 100), [rect(99, 1), rect(70, 20)]);
        assert_eq!(upside_down(&[rect(0, 5)], 90, 100), [rect(5, 5)]);
        assert_eq!(upside_down(&[rect(u32::MAX, 5)], 1, 100), [rect(0, 5)]);
    }
}
