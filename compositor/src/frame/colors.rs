//! The frame's colours: the guests' table, the mix for a guest without focus, the contrast rule. Pure.

use phyllome_config::guest::{LabelColor, Rgb};

/// The colour of the host's own bar and band. No guest can have it (see [`is_reserved`]).
pub const HOST: Rgb = Rgb(0xff, 0xff, 0xff);
/// Text and mark on the host's bar.
pub const HOST_TEXT: Rgb = Rgb(0, 0, 0);
/// What the colours of a guest without focus are mixed towards.
pub const UNFOCUSED_GROUND: Rgb = Rgb(0x20, 0x22, 0x25);
/// The ground of the whole output and of a guest without a picture.
pub const GROUND: Rgb = Rgb(0x10, 0x11, 0x14);

const BLACK: Rgb = Rgb(0, 0, 0);
const WHITE: Rgb = Rgb(0xff, 0xff, 0xff);

/// A label's colour.
pub fn rgb(color: LabelColor) -> Rgb {
    match color {
        LabelColor::Red => Rgb(0xc6, 0x28, 0x28),
        LabelColor::Orange => Rgb(0xef, 0x6c, 0x00),
        LabelColor::Yellow => Rgb(0xf9, 0xc8, 0x0e),
        LabelColor::Green => Rgb(0x2e, 0x7d, 0x32),
        LabelColor::Blue => Rgb(0x15, 0x65, 0xc0),
        LabelColor::Purple => Rgb(0x6a, 0x1b, 0x9a),
        LabelColor::Gray => Rgb(0x75, 0x75, 0x75),
        LabelColor::Black => BLACK,
        LabelColor::Custom(rgb) => rgb,
    }
}

/// The second colour of a label's pattern: the documented one, or for a custom colour the same hue at 55 % of its
/// light; a custom colour that is nearly black gets a lighter one.
pub fn second(color: LabelColor) -> Rgb {
    match color {
        LabelColor::Red => Rgb(0x7f, 0x14, 0x14),
        LabelColor::Orange => Rgb(0x9c, 0x44, 0x00),
        LabelColor::Yellow => Rgb(0xb0, 0x8c, 0x00),
        LabelColor::Green => Rgb(0x15, 0x4a, 0x19),
        LabelColor::Blue => Rgb(0x0a, 0x3a, 0x78),
        LabelColor::Purple => Rgb(0x3d, 0x0b, 0x5c),
        LabelColor::Gray => Rgb(0x42, 0x42, 0x42),
        LabelColor::Black => Rgb(0x3a, 0x3a, 0x3a),
        LabelColor::Custom(rgb) if luminance(rgb) < 0.02 => mix(rgb, WHITE, 23),
        LabelColor::Custom(rgb) => mix(rgb, BLACK, 45),
    }
}

/// Black or white, whichever has the greater contrast on the label's colour; always at least 4.5 : 1.
pub fn text(color: LabelColor) -> Rgb {
    text_on(rgb(color))
}

/// Black or white, whichever has the greater contrast on `ground`.
pub fn text_on(ground: Rgb) -> Rgb {
    if contrast(BLACK, ground) > contrast(WHITE, ground) { BLACK } else { WHITE }
}

/// `color` mixed `percent` (0 to 100) towards `toward`, each channel rounded.
pub fn mix(color: Rgb, toward: Rgb, percent: u8) -> Rgb {
    let part = u32::from(percent.min(100));
    let channel = |a: u8, b: u8| ((u32::from(a) * (100 - part) + u32::from(b) * part + 50) / 100) as u8;
    Rgb(channel(color.0, toward.0), channel(color.1, toward.1), channel(color.2, toward.2))
}

/// A guest's colour while another has the keys: 60 % towards [`UNFOCUSED_GROUND`].
pub fn unfocused(color: Rgb) -> Rgb {
    mix(color, UNFOCUSED_GROUND, 60)
}

/// Relative luminance, 0 to 1 (WCAG 2.2).
pub fn luminance(Rgb(r, g, b): Rgb) -> f64 {
    let linear = |channel: u8| {
        let c = f64::from(channel) / 255.0;
        if c <= 0.04045 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) }
    };
    0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b)
}

/// Contrast of two colours, 1 to 21 (WCAG 2.2).
pub fn contrast(a: Rgb, b: Rgb) -> f64 {
    let (a, b) = (luminance(a), luminance(b));
    (a.max(b) + 0.05) / (a.min(b) + 0.05)
}
