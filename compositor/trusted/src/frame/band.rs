//! The band around the picture: four opaque strips of whole physical pixels, the bar on top among them.
//!
//! This is the one place that says which colours an output's owner has, and every pixel of the band is made here. Text
//! and marks of the bar come from outside as pixels; their size, their place and where they end are decided here: they
//! lie in the bar and nowhere else, and never on the outermost pixels, which only ever have the owner's own colours.

use super::{Owner, colors, geometry, pattern};
use crate::frame::label::{Pattern, Rgb};
use crate::pixels::{Pixels, over};
use phyllome_protocol::status::Area;
use std::rc::Rc;

/// One strip of the band at its place on the output, in physical pixels.
#[derive(Clone, Debug)]
pub struct Strip {
    /// Left edge.
    pub x: u32,
    /// Upper edge.
    pub y: u32,
    /// What it shows; opaque.
    pub pixels: Rc<Pixels>,
}

/// The colours of an output's owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// The band's colour.
    pub rgb: Rgb,
    /// The second colour of its pattern.
    pub second: Rgb,
    /// Text and marks on `rgb`.
    pub ink: Rgb,
    /// Its pattern.
    pub pattern: Pattern,
}

impl Look {
    /// How `owner` looks: full colours with the keys, mixed towards gray without them, white for the host, gray for
    /// nobody.
    pub fn of(owner: &Owner) -> Self {
        match owner {
            Owner::Guest { label, focused: true, .. } => {
                Self { rgb: label.rgb, second: label.second, ink: label.text_rgb, pattern: label.pattern }
            }
            Owner::Guest { label, focused: false, .. } => {
                let rgb = colors::unfocused(label.rgb);
                let ink = colors::quiet_text_on(rgb);
                Self { rgb, second: colors::unfocused(label.second), ink, pattern: label.pattern }
            }
            Owner::Host => {
                Self { rgb: colors::HOST, second: colors::HOST, ink: colors::HOST_TEXT, pattern: Pattern::Solid }
            }
            Owner::Nobody => {
                let (rgb, ink) = (colors::NEUTRAL, colors::text_on(colors::NEUTRAL));
                Self { rgb, second: rgb, ink, pattern: Pattern::Solid }
            }
        }
    }

    /// The ground of `width` × `height` physical pixels whose upper left corner is at `x`, `y` of the output: blue,
    /// green, red, alpha.
    pub fn fill(&self, x: u32, y: u32, width: u32, height: u32, scale: f64) -> Vec<u8> {
        let mut data = Vec::with_capacity(width as usize * height as usize * 4);
        for row in y..y.saturating_add(height) {
            for column in x..x.saturating_add(width) {
                data.extend_from_slice(&self.pixel(column, row, scale));
            }
        }
        data
    }

    /// The ground's pixel at `x`, `y` of the output: blue, green, red, alpha.
    fn pixel(&self, x: u32, y: u32, scale: f64) -> [u8; 4] {
        let second = pattern::is_second(self.pattern, x, y, scale);
        let Rgb(r, g, b) = if second { self.second } else { self.rgb };
        [b, g, r, 0xff]
    }
}

/// Width and height of the bar's text, in physical pixels: the whole bar.
pub fn text_size(output_w: u32, scale: f64) -> (u32, u32) {
    (output_w, geometry::physical(geometry::BAR, scale))
}

/// The bar of an output that is `output_w` physical pixels wide: its ground with `text` over it. A `text` of another
/// size than [`text_size`] is left out.
pub fn bar(owner: &Owner, text: &Pixels, output_w: u32, scale: f64) -> Pixels {
    let look = Look::of(owner);
    let (width, height) = text_size(output_w, scale);
    let mut data = look.fill(0, 0, width, height, scale);
    if (text.width, text.height) != (width, height) {
        return Pixels::new(width, height, data);
    }
    let Rgb(r, g, b) = look.rgb;
    for (at, (under, top)) in data.as_chunks_mut::<4>().0.iter_mut().zip(text.data.as_chunks::<4>().0).enumerate() {
        let (x, y) = (at % width as usize, at / width as usize);
        let outermost = x == 0 || y == 0 || x + 1 == width as usize;
        *under = match top[3] {
            // Text has a plain ground, out to the edge; of its own colours nothing is there.
            0xff if outermost => [b, g, r, 0xff],
            _ if outermost => *under,
            _ => over(*top, *under),
        };
    }
    Pixels::new(width, height, data)
}

/// Draws the band of an output of `output_w` × `output_h` physical pixels: top (the bar, with `text`), left, right,
/// bottom.
///
/// Every pixel outside the guest's area is in exactly one strip.
pub fn draw(owner: &Owner, text: &Pixels, output_w: u32, output_h: u32, scale: f64) -> Vec<Strip> {
    let at = geometry::layout(output_w, output_h, scale);
    let look = Look::of(owner);
    let strip = |a: Area| {
        let data = look.fill(a.x, a.y, a.width, a.height, scale);
        Strip { x: a.x, y: a.y, pixels: Rc::new(Pixels::new(a.width, a.height, data)) }
    };
    let strips = vec![
        Strip { x: at.bar.x, y: at.bar.y, pixels: Rc::new(bar(owner, text, output_w, scale)) },
        strip(at.left),
        strip(at.right),
        strip(at.bottom),
    ];
    match owner {
        Owner::Guest { focused: false, .. } => with_full_edge(strips, owner, output_w, output_h, scale),
        Owner::Guest { .. } | Owner::Host | Owner::Nobody => strips,
    }
}

/// Gives the outermost pixels of an unfocused guest's band their full colours: whose output it is stays exact to the
/// pixel.
fn with_full_edge(strips: Vec<Strip>, owner: &Owner, output_w: u32, output_h: u32, scale: f64) -> Vec<Strip> {
    let Owner::Guest { label, .. } = owner else { return strips };
    let full = Look { rgb: label.rgb, second: label.second, ink: label.text_rgb, pattern: label.pattern };
    let edged = strips.into_iter().map(|strip| {
        let (width, height) = (strip.pixels.width, strip.pixels.height);
        let mut data = strip.pixels.data.clone();
        for (at, pixel) in data.as_chunks_mut::<4>().0.iter_mut().enumerate() {
            let at = u32::try_from(at).unwrap_or(u32::MAX);
            let (x, y) = (strip.x + at % width.max(1), strip.y + at / width.max(1));
            if x == 0 || y == 0 || x + 1 == output_w || y + 1 == output_h {
                *pixel = full.pixel(x, y, scale);
            }
        }
        Strip { pixels: Rc::new(Pixels::new(width, height, data)), ..strip }
    });
    edged.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::LabelView;
    use crate::frame::label::{Label, LabelColor};
    use phyllome_protocol::Slot;

    const SCALES: [f64; 3] = [1.0, 1.5, 2.0];

    fn owner(color: LabelColor, pattern: Pattern, focused: bool) -> Owner {
        let label = Label { text: "work".to_owned(), color, pattern };
        Owner::Guest { label: LabelView::from_label(&label, Slot::new(1)), focused, marks: Vec::new() }
    }

    /// The band with a text that draws over everything, as none of ours does.
    fn drawn(owner: &Owner, w: u32, h: u32, scale: f64) -> Vec<Strip> {
        let (width, height) = text_size(w, scale);
        draw(owner, &Pixels::filled(width, height, Rgb(1, 2, 3)), w, h, scale)
    }

    /// The band with a text that draws nothing.
    fn silent(owner: &Owner, w: u32, h: u32, scale: f64) -> Vec<Strip> {
        let (width, height) = text_size(w, scale);
        draw(owner, &Pixels::new(width, height, Vec::new()), w, h, scale)
    }

    /// The colour of a band at a place of the output, as blue, green, red, alpha.
    fn at(strips: &[Strip], x: u32, y: u32) -> Option<[u8; 4]> {
        let mut found =
            strips.iter().filter_map(|strip| strip.pixels.get(x.checked_sub(strip.x)?, y.checked_sub(strip.y)?));
        let first = found.next();
        assert!(found.next().is_none(), "two strips at {x}, {y}");
        first
    }

    fn bgra(Rgb(r, g, b): Rgb) -> [u8; 4] {
        [b, g, r, 0xff]
    }

    /// The places of the outermost row and column of pixels on all four sides.
    fn outermost(w: u32, h: u32) -> impl Iterator<Item = (u32, u32)> {
        (0..w).flat_map(move |x| [(x, 0), (x, h - 1)]).chain((0..h).flat_map(move |y| [(0, y), (w - 1, y)]))
    }

    #[test]
    fn tp01_strips_cover_all_but_the_area_and_are_opaque() {
        for scale in SCALES {
            let (w, h) = (320, 200);
            let strips = drawn(&owner(LabelColor::Blue, Pattern::Checks, true), w, h, scale);
            let area = geometry::layout(w, h, scale).area;
            for y in 0..h {
                for x in 0..w {
                    let inside = x >= area.x && y >= area.y && x < area.x + area.width && y < area.y + area.height;
                    let pixel = at(&strips, x, y);
                    assert_eq!(pixel.is_none(), inside, "{x}, {y} at {scale}");
                    assert!(pixel.is_none_or(|pixel| pixel[3] == 0xff), "{x}, {y} at {scale} can be seen through");
                }
            }
        }
    }

    #[test]
    fn a_text_changes_nothing_but_the_bar_within_its_outermost_pixels() {
        for scale in SCALES {
            for (pattern, focused) in [(Pattern::Solid, true), (Pattern::Checks, true), (Pattern::Dots, false)] {
                let owner = owner(LabelColor::Purple, pattern, focused);
                let (with, without) = (drawn(&owner, 300, 200, scale), silent(&owner, 300, 200, scale));
                assert_ne!(with[0].pixels.data, without[0].pixels.data, "it is drawn");
                for (with, without) in with.iter().zip(&without).skip(1) {
                    assert_eq!(with.pixels.data, without.pixels.data);
                }
                let colors = [bgra(LabelColor::Purple.rgb()), bgra(LabelColor::Purple.second())];
                for (x, y) in outermost(300, 200) {
                    assert!(colors.contains(&at(&with, x, y).unwrap()), "{x}, {y} at {scale}");
                }
            }
        }
    }

    #[test]
    fn a_text_of_another_size_is_left_out() {
        let owner = owner(LabelColor::Green, Pattern::Stripes, true);
        let wide = draw(&owner, &Pixels::filled(301, 28, Rgb(1, 2, 3)), 300, 200, 1.0);
        assert_eq!(wide[0].pixels.data, silent(&owner, 300, 200, 1.0)[0].pixels.data);
    }

    #[test]
    fn the_outermost_pixels_of_a_solid_band_are_exactly_the_colour() {
        for scale in SCALES {
            for color in LabelColor::NAMED {
                for focused in [true, false] {
                    let strips = drawn(&owner(color, Pattern::Solid, focused), 400, 300, scale);
                    for (x, y) in outermost(400, 300) {
                        assert_eq!(at(&strips, x, y), Some(bgra(color.rgb())), "{color:?} at {x}, {y}, scale {scale}");
                    }
                }
            }
        }
    }

    #[test]
    fn the_outermost_pixels_of_a_patterned_band_have_both_colours_and_no_other() {
        for scale in SCALES {
            for pattern in [Pattern::Stripes, Pattern::Dots, Pattern::Checks] {
                let color = LabelColor::Green;
                let strips = drawn(&owner(color, pattern, true), 400, 300, scale);
                let (first, second) = (bgra(color.rgb()), bgra(color.second()));
                let pixels: Vec<_> = outermost(400, 300).filter_map(|(x, y)| at(&strips, x, y)).collect();
                assert!(pixels.iter().all(|pixel| *pixel == first || *pixel == second), "{pattern:?} at {scale}");
                assert!(pixels.contains(&first) && pixels.contains(&second), "{pattern:?} at {scale}");
            }
        }
    }

    #[test]
    fn a_pattern_runs_on_from_strip_to_strip() {
        let color = LabelColor::Red;
        let strips = silent(&owner(color, Pattern::Stripes, true), 400, 300, 1.5);
        let layout = geometry::layout(400, 300, 1.5);
        // Over the corner and down the right side.
        for y in 0..300 {
            let x = layout.right.x + 1;
            let expected = if pattern::is_second(Pattern::Stripes, x, y, 1.5) { color.second() } else { color.rgb() };
            assert_eq!(at(&strips, x, y), Some(bgra(expected)), "row {y}");
        }
    }

    #[test]
    fn without_the_keys_a_guests_band_is_duller_and_the_hosts_is_white() {
        let dull = drawn(&owner(LabelColor::Red, Pattern::Solid, false), 100, 100, 1.0);
        assert_eq!(at(&dull, 2, 97), Some(bgra(Rgb(0x62, 0x24, 0x26))));
        let host = drawn(&Owner::Host, 100, 100, 1.0);
        for (x, y) in outermost(100, 100) {
            assert_eq!(at(&host, x, y), Some([0xff; 4]));
        }
    }

    #[test]
    fn tp04_the_band_around_nobody_is_gray_all_over_and_no_guests_band_looks_like_it() {
        let looks =
            |owner: &Owner| silent(owner, 100, 100, 1.0).iter().map(|s| s.pixels.data.clone()).collect::<Vec<_>>();
        let nobody = silent(&Owner::Nobody, 100, 100, 1.0);
        for strip in &nobody {
            assert!(strip.pixels.data.as_chunks::<4>().0.iter().all(|pixel| *pixel == bgra(colors::NEUTRAL)));
        }
        for color in LabelColor::NAMED {
            for focused in [true, false] {
                assert_ne!(looks(&owner(color, Pattern::Solid, focused)), looks(&Owner::Nobody), "{color:?}");
            }
        }
    }
}
