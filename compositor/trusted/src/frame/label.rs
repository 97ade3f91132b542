//! What a guest is marked by: words, a colour, a pattern. Colours have names and values, second colours for patterns,
//! and black or white text by contrast.
//!
//! A person gives a guest its label in a file; whoever reads that has these types from here, so that nothing that
//! reads files comes along with what is trusted.

use super::colors;
use phyllome_protocol::status::LabelStatus;

/// How a guest is marked, everywhere the shell shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// Bounded and printable: checked when the definition is read.
    pub text: String,
    /// The band's colour.
    pub color: LabelColor,
    /// The band's pattern.
    pub pattern: Pattern,
}

/// A colour of the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are those of the file")]
pub enum LabelColor {
    Red,
    Orange,
    Yellow,
    Green,
    Blue,
    Purple,
    Gray,
    Black,
    /// `#rrggbb`.
    Custom(Rgb),
}

/// Eight bits each of red, green and blue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rgb(pub u8, pub u8, pub u8);

impl std::fmt::Display for Rgb {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "#{:02x}{:02x}{:02x}", self.0, self.1, self.2)
    }
}

/// A pattern of the frame, for people who don't see colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names are those of the file")]
pub enum Pattern {
    Solid,
    Stripes,
    Dots,
    Checks,
}

impl LabelColor {
    /// The named colours, in the order in which people meet them.
    pub const NAMED: [LabelColor; 8] =
        [Self::Red, Self::Orange, Self::Yellow, Self::Green, Self::Blue, Self::Purple, Self::Gray, Self::Black];

    /// The band's colour.
    pub fn rgb(self) -> Rgb {
        match self {
            Self::Red => Rgb(0xc6, 0x28, 0x28),
            Self::Orange => Rgb(0xef, 0x6c, 0x00),
            Self::Yellow => Rgb(0xf9, 0xc8, 0x0e),
            Self::Green => Rgb(0x2e, 0x7d, 0x32),
            Self::Blue => Rgb(0x15, 0x65, 0xc0),
            Self::Purple => Rgb(0x6a, 0x1b, 0x9a),
            Self::Gray => Rgb(0x75, 0x75, 0x75),
            Self::Black => Rgb(0, 0, 0),
            Self::Custom(rgb) => rgb,
        }
    }

    /// The colour that a pattern alternates with: darker, or lighter where darker could not be seen.
    pub fn second(self) -> Rgb {
        match self {
            Self::Red => Rgb(0x7f, 0x14, 0x14),
            Self::Orange => Rgb(0x9c, 0x44, 0x00),
            Self::Yellow => Rgb(0xb0, 0x8c, 0x00),
            Self::Green => Rgb(0x15, 0x4a, 0x19),
            Self::Blue => Rgb(0x0a, 0x3a, 0x78),
            Self::Purple => Rgb(0x3d, 0x0b, 0x5c),
            Self::Gray => Rgb(0x42, 0x42, 0x42),
            Self::Black => Rgb(0x3a, 0x3a, 0x3a),
            Self::Custom(rgb) if colors::luminance(rgb) < 0.06 => each(rgb, |v| v + (255 - v) * 58 / 255),
            Self::Custom(rgb) => each(rgb, |v| v * 6 / 10),
        }
    }

    /// Black or white, whichever is easier to read on the colour; the contrast is at least 4.5 : 1.
    pub fn text(self) -> Rgb {
        colors::text_on(self.rgb())
    }

    /// The colour's name as in the file, or `#rrggbb`.
    pub fn name(self) -> String {
        match self {
            Self::Red => "red".to_owned(),
            Self::Orange => "orange".to_owned(),
            Self::Yellow => "yellow".to_owned(),
            Self::Green => "green".to_owned(),
            Self::Blue => "blue".to_owned(),
            Self::Purple => "purple".to_owned(),
            Self::Gray => "gray".to_owned(),
            Self::Black => "black".to_owned(),
            Self::Custom(rgb) => rgb.to_string(),
        }
    }

    /// Whether a person could take one for the other.
    pub fn looks_like(self, other: Self) -> bool {
        distance(self.rgb(), other.rgb()) < 64
    }

    /// Whether a person could take it for the white of the shell's own bar.
    pub fn looks_like_the_host(self) -> bool {
        distance(self.rgb(), colors::HOST) < 96
    }
}

impl Pattern {
    /// Every pattern, plainest first.
    pub const ALL: [Pattern; 4] = [Self::Solid, Self::Stripes, Self::Dots, Self::Checks];

    /// The pattern's name as in the file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Solid => "solid",
            Self::Stripes => "stripes",
            Self::Dots => "dots",
            Self::Checks => "checks",
        }
    }
}

impl From<&Label> for LabelStatus {
    fn from(label: &Label) -> Self {
        Self {
            text: label.text.clone(),
            color: label.color.name(),
            rgb: label.color.rgb().to_string(),
            pattern: label.pattern.name().to_owned(),
        }
    }
}

fn each(rgb: Rgb, change: impl Fn(u32) -> u32) -> Rgb {
    let channel = |v: u8| u8::try_from(change(u32::from(v))).unwrap_or(u8::MAX);
    Rgb(channel(rgb.0), channel(rgb.1), channel(rgb.2))
}

/// Sum of the channels' differences, 0 to 765.
fn distance(a: Rgb, b: Rgb) -> u32 {
    u32::from(a.0.abs_diff(b.0)) + u32::from(a.1.abs_diff(b.1)) + u32::from(a.2.abs_diff(b.2))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::colors::contrast;

    const BLACK: Rgb = Rgb(0, 0, 0);

    #[test]
    fn text_on_every_named_colour_is_as_the_table_says_and_readable() {
        let black_text = [LabelColor::Orange, LabelColor::Yellow];
        for color in LabelColor::NAMED {
            assert_eq!(color.text() == BLACK, black_text.contains(&color), "{color:?}");
            assert!(contrast(color.rgb(), color.text()) >= 4.5, "{color:?}");
        }
    }

    #[test]
    fn text_on_any_custom_colour_is_readable_and_its_pattern_visible() {
        for r in (0..=255).step_by(15) {
            for g in (0..=255).step_by(15) {
                for b in (0..=255).step_by(15) {
                    let color = LabelColor::Custom(Rgb(r, g, b));
                    assert!(contrast(color.rgb(), color.text()) >= 4.5, "{color:?}");
                    assert!(distance(color.rgb(), color.second()) >= 30, "{color:?} {}", color.second());
                }
            }
        }
    }

    #[test]
    fn no_two_named_colours_look_alike_and_none_like_the_host() {
        for (index, a) in LabelColor::NAMED.into_iter().enumerate() {
            assert!(!a.looks_like_the_host(), "{a:?}");
            for b in &LabelColor::NAMED[..index] {
                assert!(!a.looks_like(*b), "{a:?} {b:?}");
            }
        }
        assert!(LabelColor::Red.looks_like(LabelColor::Custom(Rgb(0xc0, 0x2a, 0x28))));
        assert!(LabelColor::Custom(Rgb(0xfe, 0xfe, 0xf0)).looks_like_the_host());
    }
}
