//! The picture of a played guest, a pure function of its size, colour, name and a counter, so that a test knows each
//! pixel.
//!
//! The ground is the guest's colour; the outermost row and column of pixels on all sides are white, so that a picture
//! that is cropped, moved or scaled by one pixel shows it; four corner squares (red, green, blue, yellow; reading
//! order) tell how it is turned. The guest's name is white on black. Where it is animated, a white block moves with the
//! counter, and the counter's 16 bits stand as white and black cells above the lower edge.

use crate::picture::Picture;

#[path = "../../guests/guest/font.rs"]
#[allow(dead_code, missing_docs, reason = "shared with the tiny guests' program, which uses all of it")]
mod font;

const WHITE: u32 = 0xff_ffff;
const BLACK: u32 = 0;
/// Corner squares in reading order.
pub const CORNERS: [u32; 4] = [0xff_0000, 0x00_ff00, 0x00_00ff, 0xff_ff00];
/// Side of a corner square, which lies as far from both edges as half of it.
pub const CORNER: usize = 16;
/// Side of a cell of the counter.
const CELL: usize = 8;
const BITS: usize = 16;
const BLOCK: usize = 48;

/// A rectangle in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Part {
    pub x: usize,
    pub y: usize,
    pub width: usize,
    pub height: usize,
}

/// One picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// In pixels.
    pub width: usize,
    /// In pixels.
    pub height: usize,
    /// The ground.
    pub color: [u8; 3],
    /// The text; a played guest with several scanouts adds a space and the scanout's number.
    pub name: String,
    /// Where the block is; none in a picture that stands still.
    pub counter: Option<u16>,
}

impl Pattern {
    /// Every pixel as 0x00RRGGBB, rows from the top.
    pub fn pixels(&self) -> Vec<u32> {
        let mut pixels = vec![0; self.width * self.height];
        self.draw(&mut pixels);
        pixels
    }

    /// Draws all of it over what is there.
    pub fn draw(&self, pixels: &mut [u32]) {
        let mut canvas = Canvas { pixels, width: self.width, height: self.height };
        canvas.fill(Part { x: 0, y: 0, width: self.width, height: self.height }, WHITE);
        let inner = |side: usize| side.saturating_sub(2);
        canvas.fill(Part { x: 1, y: 1, width: inner(self.width), height: inner(self.height) }, self.ground());
        let margin = CORNER / 2;
        let far = |side: usize| side.saturating_sub(margin + CORNER);
        let places = [(margin, margin), (far(self.width), margin), (margin, far(self.height))];
        for ((x, y), color) in places.into_iter().chain([(far(self.width), far(self.height))]).zip(CORNERS) {
            canvas.fill(Part { x, y, width: CORNER, height: CORNER }, color);
        }
        self.draw_name(&mut canvas);
        if let Some(counter) = self.counter {
            self.draw_moving(&mut canvas, counter);
        }
    }

    /// Draws the step from the picture with `before` to this one over the former; gives the parts that it touched.
    pub fn draw_step(&self, before: u16, pixels: &mut [u32]) -> Vec<Part> {
        let Some(counter) = self.counter else { return Vec::new() };
        let mut canvas = Canvas { pixels, width: self.width, height: self.height };
        let old = self.block(before);
        canvas.fill(old, self.ground());
        self.draw_moving(&mut canvas, counter);
        vec![old, self.block(counter), self.cells()]
    }

    /// The counter that a picture of this guest's area shows, if its cells are there.
    pub fn counter_of(picture: &Picture) -> Option<u16> {
        let cells = cells(picture.width as usize, picture.height as usize);
        let mut counter = 0;
        for bit in 0..BITS {
            let (x, y) = (cells.x + bit * CELL + CELL / 2, cells.y + CELL / 2);
            counter = counter << 1
                | match picture.at(u32::try_from(x).ok()?, u32::try_from(y).ok()?) {
                    [0xff, 0xff, 0xff] => 1,
                    [0, 0, 0] => 0,
                    _ => return None,
                };
        }
        Some(counter)
    }

    /// The first pixel in which a picture of the guest's area differs from this pattern: x, y, what is there, what
    /// should be.
    pub fn first_difference(&self, picture: &Picture) -> Option<(u32, u32, [u8; 3], [u8; 3])> {
        let pixels = self.pixels();
        (0..picture.height).flat_map(|y| (0..picture.width).map(move |x| (x, y))).find_map(|(x, y)| {
            let there = picture.at(x, y);
            let inside = (x as usize) < self.width && (y as usize) < self.height;
            let wanted = if inside { pixels[y as usize * self.width + x as usize] } else { 0 };
            let [_, red, green, blue] = wanted.to_be_bytes();
            (!inside || there != [red, green, blue]).then_some((x, y, there, [red, green, blue]))
        })
    }

    fn ground(&self) -> u32 {
        let [red, green, blue] = self.color;
        u32::from_be_bytes([0, red, green, blue])
    }

    fn draw_name(&self, canvas: &mut Canvas) {
        let columns = font::columns(&self.name).max(1);
        let dot = (self.width / 2 / columns).clamp(1, (self.height / 8 / font::HEIGHT).max(1));
        let (width, height) = (columns * dot, font::HEIGHT * dot);
        let (left, top) = (self.width.saturating_sub(width) / 2, self.height / 4);
        let around = Part {
            x: left.saturating_sub(dot),
            y: top.saturating_sub(dot),
            width: width + 2 * dot,
            height: height + 2 * dot,
        };
        canvas.fill(around, BLACK);
        font::draw(&self.name, |column, row| {
            canvas.fill(Part { x: left + column * dot, y: top + row * dot, width: dot, height: dot }, WHITE);
        });
    }

    fn draw_moving(&self, canvas: &mut Canvas, counter: u16) {
        canvas.fill(self.block(counter), WHITE);
        let cells = self.cells();
        for bit in 0..BITS {
            let on = counter >> (BITS - 1 - bit) & 1 == 1;
            let cell = Part { x: cells.x + bit * CELL, width: CELL, ..cells };
            canvas.fill(cell, if on { WHITE } else { BLACK });
        }
    }

    fn block(&self, counter: u16) -> Part {
        let way = self.width.saturating_sub(BLOCK + 64).max(1);
        Part { x: 32 + usize::from(counter) * 8 % way, y: self.height * 2 / 3, width: BLOCK, height: BLOCK }
    }

    fn cells(&self) -> Part {
        cells(self.width, self.height)
    }
}

fn cells(width: usize, height: usize) -> Part {
    let across = BITS * CELL;
    Part { x: width.saturating_sub(across) / 2, y: height.saturating_sub(4 * CELL), width: across, height: CELL }
}

struct Canvas<'a> {
    pixels: &'a mut [u32],
    width: usize,
    height: usize,
}

impl Canvas<'_> {
    fn fill(&mut self, part: Part, color: u32) {
        let right = (part.x + part.width).min(self.width);
        for y in part.y..(part.y + part.height).min(self.height) {
            if let Some(row) = self.pixels.get_mut(y * self.width + part.x..y * self.width + right) {
                row.fill(color);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(counter: Option<u16>) -> Pattern {
        Pattern { width: 640, height: 480, color: [1, 2, 3], name: "work".into(), counter }
    }

    #[test]
    fn a_step_draws_exactly_what_the_whole_picture_would() {
        for (before, after) in [(0, 1), (65535, 0), (70, 71), (3, 900)] {
            let mut pixels = pattern(Some(before)).pixels();
            let old = pixels.clone();
            let parts = pattern(Some(after)).draw_step(before, &mut pixels);
            assert_eq!(pixels, pattern(Some(after)).pixels());
            let touched =
                |x, y| parts.iter().any(|p| (p.x..p.x + p.width).contains(&x) && (p.y..p.y + p.height).contains(&y));
            let changed = (0..480)
                .flat_map(|y| (0..640).map(move |x| (x, y)))
                .filter(|(x, y)| pixels[y * 640 + x] != old[y * 640 + x]);
            assert!(changed.into_iter().all(|(x, y)| touched(x, y)));
        }
    }

    #[test]
    fn every_edge_and_corner_tells_where_it_is() {
        let pixels = pattern(None).pixels();
        let at = |x: usize, y: usize| pixels[y * 640 + x];
        assert!((0..640).all(|x| at(x, 0) == WHITE && at(x, 479) == WHITE));
        assert!((0..480).all(|y| at(0, y) == WHITE && at(639, y) == WHITE));
        assert_eq!([at(12, 12), at(627, 12), at(12, 467), at(627, 467)], CORNERS);
        assert_eq!(at(1, 1), 0x01_0203);
    }

    #[test]
    fn a_tiny_or_empty_picture_is_drawn_all_the_same() {
        for (width, height) in [(0, 0), (1, 1), (3, 200), (200, 3)] {
            let pattern = Pattern { width, height, counter: Some(9), ..pattern(None) };
            assert_eq!(pattern.pixels().len(), width * height);
        }
    }
}
