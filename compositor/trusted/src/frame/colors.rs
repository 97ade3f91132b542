//! The frame's colours beside the guests' own ([`super::label`]): the host's, the mix for a guest
//! without focus, the contrast rule. Pure.

use crate::frame::label::Rgb;

/// Contrast that text has at least on its ground.
pub const MIN_CONTRAST: f64 = 4.5;
/// The colour of the host's own bar and band; the configuration gives it to no guest.
pub const HOST: Rgb = Rgb(0xff, 0xff, 0xff);
/// Text and mark on the host's bar.
pub const HOST_TEXT: Rgb = Rgb(0, 0, 0);
/// What the colours of a guest without focus are mixed towards.
pub const UNFOCUSED_GROUND: Rgb = Rgb(0x20, 0x22, 0x25);
/// The bar and band of an output that shows nobody, and the ground of what is neither a guest's nor the host's.
pub const NEUTRAL: Rgb = UNFOCUSED_GROUND;
/// The ground of the whole output and of a guest without a picture.
pub const GROUND: Rgb = Rgb(0x10, 0x11, 0x14);

const BLACK: Rgb = Rgb(0, 0, 0);
const WHITE: Rgb = Rgb(0xff, 0xff, 0xff);

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

/// The text on the ground of a guest without focus: 70 % of black or white, more where that would be hard to read.
pub fn quiet_text_on(ground: Rgb) -> Rgb {
    let full = text_on(ground);
    (0..=30)
        .rev()
        .map(|percent| mix(full, ground, percent))
        .find(|text| contrast(*text, ground) >= MIN_CONTRAST)
        .unwrap_or(full)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::label::LabelColor;
    use proptest::prelude::*;

    #[test]
    fn every_named_colours_text_can_be_read_with_and_without_focus() {
        for color in LabelColor::NAMED {
            assert!(contrast(color.text(), color.rgb()) >= MIN_CONTRAST, "{color:?}");
            let ground = unfocused(color.rgb());
            assert!(contrast(quiet_text_on(ground), ground) >= MIN_CONTRAST, "{color:?} without focus");
        }
    }

    #[test]
    fn contrast_is_that_of_the_web() {
        assert!((contrast(BLACK, WHITE) - 21.0).abs() < 1e-9);
        assert!((contrast(Rgb(0x77, 0x77, 0x77), WHITE) - 4.48).abs() < 0.01);
    }

    #[test]
    fn a_mix_ends_where_it_should() {
        let red = Rgb(0xc6, 0x28, 0x28);
        assert_eq!(mix(red, UNFOCUSED_GROUND, 0), red);
        assert_eq!(mix(red, UNFOCUSED_GROUND, 100), UNFOCUSED_GROUND);
        assert_eq!(unfocused(red), Rgb(0x62, 0x24, 0x26));
    }

    proptest! {
        #[test]
        fn text_on_any_colour_can_be_read(r: u8, g: u8, b: u8) {
            let ground = Rgb(r, g, b);
            prop_assert!(contrast(text_on(ground), ground) >= MIN_CONTRAST);
            prop_assert!(contrast(quiet_text_on(ground), ground) >= MIN_CONTRAST);
        }
    }
}
