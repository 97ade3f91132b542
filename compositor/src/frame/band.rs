//! The band around the picture: four opaque strips of whole physical pixels, the bar on top among them.
//!
//! This is the one place that says which colours an output's owner has, and every pixel of the band's ground is made here;
//! only the bar's text and marks come from Slint, on plain ground and never where the pattern is.

use super::{Owner, colors, geometry, pattern};
use crate::ui::{Pixels, Ui};
use phyllome_config::guest::{Pattern, Rgb};
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
    /// How `owner` looks: full colours with the keys, mixed towards gray without them, white for the host.
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
        }
    }

    /// The ground of `width` × `height` physical pixels whose upper left corner is at `x`, `y` of the output: blue, green,
    /// red, alpha.
    pub fn fill(&self, x: u32, y: u32, width: u32, height: u32, scale: f64) -> Vec<u8> {
        let bytes = |Rgb(r, g, b): Rgb| [b, g, r, 0xff];
        let mut data = Vec::with_capacity(width as usize * height as usize * 4);
        for row in y..y.saturating_add(height) {
            for column in x..x.saturating_add(width) {
                let second = pattern::is_second(self.pattern, column, row, scale);
                data.extend_from_slice(&bytes(if second { self.second } else { self.rgb }));
            }
        }
        data
    }
}

/// Draws the band of an output of `output_w` × `output_h` physical pixels: top (the bar), left, right, bottom.
///
/// Every pixel outside the guest's area is in exactly one strip.
pub fn draw(ui: &mut Ui, owner: &Owner, output_w: u32, output_h: u32, scale: f64) -> Vec<Strip> {
    let at = geometry::layout(output_w, output_h, scale);
    let look = Look::of(owner);
    let strip = |a: Area| {
        let data = look.fill(a.x, a.y, a.width, a.height, scale);
        Strip { x: a.x, y: a.y, pixels: Rc::new(Pixels::new(a.width, a.height, data)) }
    };
    vec![
        Strip { x: at.bar.x, y: at.bar.y, pixels: ui.bar(owner, output_w, scale) },
        strip(at.left),
        strip(at.right),
        strip(at.bottom),
    ]
}
