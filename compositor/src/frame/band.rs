//! The band around the picture: four opaque strips of whole physical pixels, the bar on top among them.

use super::{Owner, geometry};
use crate::ui::{Pixels, Ui};
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

/// Draws the band of an output of `output_w` × `output_h` physical pixels: top (the bar), left, right, bottom.
///
/// Every pixel outside the guest's area is in exactly one strip. An output that is smaller than its band has fewer.
pub fn draw(ui: &mut Ui, owner: &Owner, output_w: u32, output_h: u32, scale: f64) -> Vec<Strip> {
    let at = geometry::layout(output_w, output_h, scale);
    let color = ground(owner);
    let strip = |a: Area| Strip { x: a.x, y: a.y, pixels: Rc::new(Pixels::filled(a.width, a.height, color)) };
    vec![
        Strip { x: 0, y: 0, pixels: ui.bar(owner, output_w, scale) },
        strip(at.left),
        strip(at.right),
        strip(at.bottom),
    ]
}

fn ground(owner: &Owner) -> phyllome_config::guest::Rgb {
    match owner {
        Owner::Guest { label, focused: true, .. } => label.rgb,
        Owner::Guest { label, focused: false, .. } => super::colors::unfocused(label.rgb),
        Owner::Host => super::colors::HOST,
    }
}
