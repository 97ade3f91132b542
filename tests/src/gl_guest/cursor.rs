//! Pointers of which a test knows every pixel: as the files that X and Wayland programs read them from, and how they
//! look over a ground of one colour.
//!
//! No two of their edges are alike, so that one that is turned, cropped or moved by a pixel shows it.

use crate::picture::Picture;

/// The opaque dark colour.
const DARK: [u8; 3] = [0x20, 0x40, 0x80];
/// The opaque light colour.
const LIGHT: [u8; 3] = [0xff, 0x80, 0x00];
/// The opacity of the shadow, which is black.
const SHADOW: u8 = 0x80;

/// A pointer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownCursor {
    /// Width and height in pixels.
    pub size: (u32, u32),
    /// The hot spot, in pixels from the top left.
    pub hot: (u32, u32),
    /// Whether it has a shadow, which lets half of the ground through. Pointers of two colours have none.
    pub shadow: bool,
}

/// What a pixel is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Dark,
    Light,
    Shadow,
    Nothing,
}

impl KnownCursor {
    /// One of two colours that points with each of its corners in turn, and with its middle.
    pub fn at_corners((width, height): (u32, u32)) -> [Self; 5] {
        let (right, low) = (width - 1, height - 1);
        let hot = [(0, 0), (right, 0), (0, low), (right, low), (width / 2, height / 2)];
        hot.map(|hot| Self { size: (width, height), hot, shadow: false })
    }

    fn kind(&self, (x, y): (u32, u32)) -> Kind {
        let (right, low) = (self.size.0 - 1, self.size.1 - 1);
        let corner = (x == 0 || x == right) && (y == 0 || y == low);
        let inside = x < right && y < low;
        if corner || x == 0 || y == 0 || (x == right && y % 2 == 0) || (y == low && x % 3 == 0) {
            Kind::Dark
        } else if inside && x <= y {
            Kind::Light
        } else if self.shadow && inside && x < 2 * y {
            Kind::Shadow
        } else {
            Kind::Nothing
        }
    }

    /// What is seen at a pixel of a picture of this ground, on which the pointer points at `place`.
    fn seen(&self, ground: [u8; 3], place: (u32, u32), (x, y): (u32, u32)) -> [u8; 3] {
        let own = |at: u32, place: u32, hot: u32| (at + hot).checked_sub(place);
        let inside = own(x, place.0, self.hot.0).zip(own(y, place.1, self.hot.1));
        match inside.filter(|(x, y)| *x < self.size.0 && *y < self.size.1).map(|own| self.kind(own)) {
            Some(Kind::Dark) => DARK,
            Some(Kind::Light) => LIGHT,
            Some(Kind::Shadow) => ground.map(|below| (u32::from(below) * u32::from(255 - SHADOW) / 255) as u8),
            Some(Kind::Nothing) | None => ground,
        }
    }

    /// The two files that `xsetroot -cursor` takes: where it is dark, and where it is anything.
    pub fn xbm(&self) -> [String; 2] {
        let file = |name: &str, wanted: &dyn Fn(Kind) -> bool| {
            let (width, height) = self.size;
            let byte = |x: u32, y: u32| {
                let bits = (0..8).filter(|bit| x + bit < width && wanted(self.kind((x + bit, y))));
                format!("{:#04x}", bits.fold(0u8, |byte, bit| byte | 1 << bit))
            };
            // In short lines: what reads them holds 255 characters of each.
            let row = |y| (0..width).step_by(8).map(|x| byte(x, y)).collect::<Vec<_>>().join(", ");
            let rows: Vec<_> = (0..height).map(row).collect();
            let (x, y) = self.hot;
            format!(
                "#define {name}_width {width}\n#define {name}_height {height}\n#define {name}_x_hot {x}\n\
                 #define {name}_y_hot {y}\nstatic unsigned char {name}_bits[] = {{\n{}\n}};\n",
                rows.join(",\n")
            )
        };
        [file("dark", &|kind| kind == Kind::Dark), file("any", &|kind| kind != Kind::Nothing)]
    }

    /// The options of `xsetroot` beside `-cursor DARK ANY`.
    pub fn xbm_colours() -> String {
        let hex = |[r, g, b]: [u8; 3]| format!("'#{r:02x}{g:02x}{b:02x}'");
        format!("-fg {} -bg {}", hex(DARK), hex(LIGHT))
    }

    /// A file of an Xcursor theme (Xcursor(3)): one image, with premultiplied alpha.
    pub fn xcursor(&self) -> Vec<u8> {
        const IMAGE: u32 = 0xfffd_0002;
        let nominal = self.size.0;
        let head = [u32::from_le_bytes(*b"Xcur"), 16, 0x1_0000, 1, IMAGE, nominal, 28];
        let image = [36, IMAGE, nominal, 1, self.size.0, self.size.1, self.hot.0, self.hot.1, 0];
        let opaque = |[r, g, b]: [u8; 3]| u32::from_be_bytes([0xff, r, g, b]);
        let pixel = |at| match self.kind(at) {
            Kind::Dark => opaque(DARK),
            Kind::Light => opaque(LIGHT),
            Kind::Shadow => u32::from_be_bytes([SHADOW, 0, 0, 0]),
            Kind::Nothing => 0,
        };
        let pixels = (0..self.size.1).flat_map(|y| (0..self.size.0).map(move |x| pixel((x, y))));
        head.into_iter().chain(image).chain(pixels).flat_map(u32::to_le_bytes).collect()
    }
}

/// A picture of one colour with or without a pointer, in every pixel.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// The colour.
    pub ground: [u8; 3],
    /// The pointer, and the pixel that it points at.
    pub pointer: Option<(KnownCursor, (u32, u32))>,
    /// How far a channel of a shadow may be from what it should be: what rounding does to it. All else is exact.
    pub rounding: u8,
    /// Rows at the top of the picture that are something else.
    pub skipped: u32,
}

impl Wanted {
    /// The first pixel that is another: where, what is there, and what should be.
    pub fn difference(&self, picture: &Picture) -> Option<(u32, u32, [u8; 3], [u8; 3])> {
        let places = (self.skipped..picture.height).flat_map(|y| (0..picture.width).map(move |x| (x, y)));
        places.map(|(x, y)| (x, y, picture.at(x, y), self.at((x, y)))).find(|(_, _, there, wanted)| {
            let exact = *wanted == self.ground || [DARK, LIGHT].contains(wanted);
            let allowed = if exact { 0 } else { self.rounding };
            there.iter().zip(wanted).any(|(there, wanted)| there.abs_diff(*wanted) > allowed)
        })
    }

    fn at(&self, at: (u32, u32)) -> [u8; 3] {
        self.pointer.map_or(self.ground, |(pointer, place)| pointer.seen(self.ground, place, at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: KnownCursor = KnownCursor { size: (9, 4), hot: (8, 1), shadow: true };

    #[test]
    fn a_file_has_the_pixels_the_hot_spot_and_the_colours() {
        let [dark, any] = SMALL.xbm();
        assert!(
            dark.starts_with(
                "#define dark_width 9\n#define dark_height 4\n#define dark_x_hot 8\n#define dark_y_hot 1\n"
            )
        );
        assert!(dark.contains("{\n0xff, 0x01,\n0x01, 0x00,\n0x01, 0x01,\n0x49, 0x01\n}"), "{dark}");
        assert!(any.contains("{\n0xff, 0x01,\n0x03, 0x00,\n0x0f, 0x01,\n0x49, 0x01\n}"), "{any}");
        let file = SMALL.xcursor();
        let numbers: Vec<_> = file.chunks_exact(4).map(|four| u32::from_le_bytes(four.try_into().unwrap())).collect();
        assert_eq!(numbers.len(), 16 + 9 * 4);
        assert_eq!(numbers[11..15], [9, 4, 8, 1]);
        assert_eq!(numbers[16 + 9..16 + 12], [0xff20_4080, 0xffff_8000, 0]);
    }

    #[test]
    fn it_is_wanted_where_its_hot_spot_is_and_lets_the_ground_through() {
        let wanted = Wanted { ground: [255; 3], pointer: Some((SMALL, (8, 2))), rounding: 1, skipped: 0 };
        let seen = [(0, 0), (0, 1), (8, 1), (1, 2), (3, 3), (4, 3), (9, 1)].map(|at| wanted.at(at));
        assert_eq!(seen, [[255; 3], DARK, DARK, LIGHT, [127; 3], [255; 3], [255; 3]]);
    }
}
