//! The frame's patterns, for people who don't see colours. Pure: a place goes in, one of two colours comes out, and
//! the same place has the same colour in every strip, so that a pattern runs around the whole band unbroken.

use phyllome_config::guest::Pattern;

/// Whether the physical pixel at `x`, `y` of the output has the pattern's second colour. `scale` is the output's.
pub fn is_second(pattern: Pattern, x: u32, y: u32, scale: f64) -> bool {
    let px = |logical: f64| ((logical * scale).round() as u32).max(1);
    match pattern {
        Pattern::Solid => false,
        // 45°, bands 6 px wide measured across the stripe: 6·√2 along a row.
        Pattern::Stripes => {
            let width = px(6.0 * std::f64::consts::SQRT_2);
            (x.wrapping_add(y) / width) % 2 == 1
        }
        Pattern::Dots => {
            let (dot, grid) = (px(4.0), px(10.0));
            x % grid < dot && y % grid < dot
        }
        Pattern::Checks => {
            let side = px(6.0);
            (x / side + y / side) % 2 == 1
        }
    }
}
