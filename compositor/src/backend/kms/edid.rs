//! What a display says of itself: its EDID's base block (VESA E-EDID 1.4), read as what it is, bytes from a stranger.
//!
//! Only the first 128 bytes are looked at; what extensions say can't matter. Texts come out printable and bounded,
//! sizes plausible or not at all. Nothing here decides a mode: the kernel has read those itself.

/// What is known of a display.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edid {
    /// Three letters that stand for the maker, such as `DEL`; `None` if they are no letters.
    pub maker: Option<String>,
    /// The product's name, printable ASCII, at most 13 bytes.
    pub name: Option<String>,
    /// The number that its maker gives this kind of display.
    pub product: u16,
    /// Its serial number, printable ASCII, at most 13 bytes, or 8 hexadecimal digits where it is a number.
    pub serial: Option<String>,
    /// Width and height of the picture in millimetres; `None` if it says none, or none that a display can have.
    pub millimetres: Option<(u32, u32)>,
}

const BLOCK: usize = 128;
const HEADER: [u8; 8] = [0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00];
/// Where the four descriptors begin.
const DESCRIPTORS: [usize; 4] = [54, 72, 90, 108];
const TAG_NAME: u8 = 0xfc;
const TAG_SERIAL: u8 = 0xff;
/// Millimetres that makers write where they mean an aspect ratio.
const ASPECT_RATIOS: [(u32, u32); 4] = [(160, 90), (160, 100), (160, 120), (160, 64)];

impl Edid {
    /// Reads what the display sent. The error is the rest of a sentence that begins with the display's connector.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        if bytes.is_empty() {
            return Err("says nothing of itself (no EDID); its own modes are used and its size is not known".to_owned());
        }
        let bad = |what: &str| {
            Err(format!(
                "describes itself wrongly ({what}); its size is not known, set scale under [output.…] if texts are small"
            ))
        };
        let Some(block) = bytes.first_chunk::<BLOCK>() else {
            return bad(&format!("its EDID ends after {} of 128 bytes", bytes.len()));
        };
        if !block.starts_with(&HEADER) {
            return bad("its EDID does not begin as one");
        }
        if block.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)) != 0 {
            return bad("its EDID's checksum is wrong");
        }
        let [.., version, _] = block.first_chunk::<20>().copied().unwrap_or_default();
        if version != 1 {
            return bad(&format!("its EDID is of version {version}, not 1"));
        }
        let byte = |at: usize| block.get(at).copied().unwrap_or(0);
        Ok(Self {
            maker: maker(u16::from_be_bytes([byte(8), byte(9)])),
            name: text(block, TAG_NAME),
            product: u16::from_le_bytes([byte(10), byte(11)]),
            serial: text(block, TAG_SERIAL).or_else(|| {
                let number = u32::from_le_bytes([byte(12), byte(13), byte(14), byte(15)]);
                (number != 0).then(|| format!("{number:08X}"))
            }),
            millimetres: detailed_size(block).or_else(|| {
                let size = (u32::from(byte(21)) * 10, u32::from(byte(22)) * 10);
                plausible(size)
            }),
        })
    }

    /// Maker and name for a person, such as `DEL DELL U2720Q`; `None` if it says neither.
    pub fn title(&self) -> Option<String> {
        let said: Vec<&str> = [&self.maker, &self.name].into_iter().flatten().map(String::as_str).collect();
        (!said.is_empty()).then(|| said.join(" "))
    }

    /// Maker, model and serial number, by which shell.toml can know it at whatever connector, such as
    /// `DEL DELL U2720Q 7XYZ123`; a model without a name is its number. `None` if it does not say who made it.
    pub fn identity(&self) -> Option<String> {
        let maker = self.maker.as_deref()?;
        let model = self.name.clone().unwrap_or_else(|| format!("0x{:04X}", self.product));
        let said = [maker, &model, self.serial.as_deref().unwrap_or_default()].join(" ");
        Some(said.split_whitespace().collect::<Vec<_>>().join(" "))
    }
}

fn descriptor(block: &[u8; BLOCK], at: usize) -> Option<[u8; 18]> {
    block.get(at..)?.first_chunk::<18>().copied()
}

/// Three letters of five bits each.
fn maker(packed: u16) -> Option<String> {
    [10, 5, 0]
        .into_iter()
        .map(|shift| match (packed >> shift) & 0x1f {
            letter @ 1..=26 => char::from_u32(u32::from(letter) + 64),
            _ => None,
        })
        .collect()
}

/// The text of the descriptor with this tag: up to the line feed, without what is not printable.
fn text(block: &[u8; BLOCK], tag: u8) -> Option<String> {
    let mut all = DESCRIPTORS.iter().filter_map(|at| descriptor(block, *at));
    let found = all.find(|descriptor| descriptor.starts_with(&[0, 0, 0, tag]))?;
    let text: String = found
        .iter()
        .skip(5)
        .take_while(|byte| **byte != b'\n')
        .filter(|byte| byte.is_ascii_graphic() || **byte == b' ')
        .map(|byte| char::from(*byte))
        .collect();
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// The size in the first detailed timing: it is exact, where the other field counts centimetres.
fn detailed_size(block: &[u8; BLOCK]) -> Option<(u32, u32)> {
    let timing = descriptor(block, DESCRIPTORS[0])?;
    let [clock_low, clock_high, .., width, height, high, _, _, _] = timing;
    if (clock_low, clock_high) == (0, 0) {
        return None;
    }
    let width = u32::from(width) | u32::from(high >> 4) << 8;
    let height = u32::from(height) | u32::from(high & 0xf) << 8;
    plausible((width, height))
}

/// A size that a display can have: from a watch to a wall, not much longer than wide, and not an aspect ratio in
/// disguise.
fn plausible(size: (u32, u32)) -> Option<(u32, u32)> {
    let (long, short) = (size.0.max(size.1), size.0.min(size.1));
    let possible = (20..=5000).contains(&short) && long <= short.saturating_mul(5);
    (possible && !ASPECT_RATIOS.contains(&size)).then_some(size)
}

/// The scale of the shell's own texts on a display of `size` pixels and `millimetres`, where nobody set one: about the
/// same size to the eye on every display, in steps that look sharp. 1 where the size is not known.
pub fn default_scale(size: (u32, u32), millimetres: Option<(u32, u32)>) -> f64 {
    /// From so many pixels per inch on.
    const STEPS: [(f64, f64); 5] = [(370.0, 3.0), (280.0, 2.5), (190.0, 2.0), (160.0, 1.5), (140.0, 1.25)];
    /// So many logical pixels remain on the shorter side.
    const LEAST: f64 = 480.0;
    let diagonal = |(width, height): (u32, u32)| f64::from(width).hypot(f64::from(height));
    let Some(inches) = millimetres.map(|size| diagonal(size) / 25.4).filter(|inches| *inches > 0.0) else { return 1.0 };
    let per_inch = diagonal(size) / inches;
    let short = f64::from(size.0.min(size.1));
    let fits = |(from, scale): &&(f64, f64)| per_inch >= *from && short / scale >= LEAST;
    STEPS.iter().find(fits).map_or(1.0, |(_, scale)| *scale)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A good EDID with these descriptors' bytes over it.
    fn edid(change: impl FnOnce(&mut [u8; BLOCK])) -> Vec<u8> {
        let mut block = [0u8; BLOCK];
        block[..8].copy_from_slice(&HEADER);
        block[8..10].copy_from_slice(&[0x10, 0xac]); // DEL
        block[10..16].copy_from_slice(&[0x34, 0x12, 4, 3, 2, 1]);
        (block[18], block[19]) = (1, 4);
        (block[21], block[22]) = (60, 34);
        change(&mut block);
        let sum = block[..127].iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
        block[127] = 0u8.wrapping_sub(sum);
        block.to_vec()
    }

    fn with_text(block: &mut [u8; BLOCK], at: usize, tag: u8, text: &[u8; 13]) {
        block[at..at + 5].copy_from_slice(&[0, 0, 0, tag, 0]);
        block[at + 5..at + 18].copy_from_slice(text);
    }

    fn with_timing(block: &mut [u8; BLOCK], millimetres: (u16, u16)) {
        block[54] = 1;
        block[66] = millimetres.0 as u8;
        block[67] = millimetres.1 as u8;
        block[68] = ((millimetres.0 >> 8) as u8) << 4 | (millimetres.1 >> 8) as u8;
    }

    fn millimetres(change: impl FnOnce(&mut [u8; BLOCK])) -> Option<(u32, u32)> {
        Edid::parse(&edid(change)).unwrap().millimetres
    }

    #[test]
    fn a_good_one_is_read() {
        let bytes = edid(|block| {
            with_timing(block, (597, 336));
            with_text(block, 72, TAG_NAME, b"DELL U2720Q\n ");
            with_text(block, 90, 0xff, b"7XYZ123456789");
        });
        let wanted = Edid {
            maker: Some("DEL".into()),
            name: Some("DELL U2720Q".into()),
            product: 0x1234,
            serial: Some("7XYZ123456789".into()),
            millimetres: Some((597, 336)),
        };
        assert_eq!(wanted.identity().as_deref(), Some("DEL DELL U2720Q 7XYZ123456789"));
        assert_eq!(Edid::parse(&bytes), Ok(wanted.clone()));
        assert_eq!(wanted.title().as_deref(), Some("DEL DELL U2720Q"));
        assert_eq!(Edid { maker: None, ..wanted }.title().as_deref(), Some("DELL U2720Q"));
        assert_eq!(Edid::default().title(), None);
    }

    #[test]
    fn garbage_is_one_sentence() {
        let mut wrong_sum = edid(|_| {});
        wrong_sum[100] ^= 1;
        for (bytes, wanted) in [
            (Vec::new(), "says nothing of itself"),
            (vec![0; 128], "does not begin as one"),
            (edid(|_| {})[..127].to_vec(), "ends after 127 of 128 bytes"),
            (wrong_sum, "checksum is wrong"),
            (edid(|block| block[18] = 2), "is of version 2, not 1"),
        ] {
            let why = Edid::parse(&bytes).unwrap_err();
            assert!(why.contains(wanted) && !why.contains('\n'), "{why}");
        }
    }

    #[test]
    fn what_extensions_say_does_not_matter() {
        let good = edid(|block| block[126] = 255);
        let mut longer = good.clone();
        longer.extend([0xff; 1000]);
        assert_eq!(Edid::parse(&longer), Edid::parse(&good));
    }

    #[test]
    fn texts_are_printable_or_nothing() {
        let name = |text| Edid::parse(&edid(|block| with_text(block, 108, TAG_NAME, text))).unwrap().name;
        assert_eq!(name(b"\x1b[31mred\xff\x00\n  ").as_deref(), Some("[31mred"));
        assert_eq!(name(b"             "), None);
        assert_eq!(name(b"\nhidden      "), None);
    }

    #[test]
    fn a_display_is_known_by_numbers_where_it_has_no_names() {
        let identity = |change: fn(&mut [u8; BLOCK])| Edid::parse(&edid(change)).unwrap().identity();
        assert_eq!(identity(|_| {}).as_deref(), Some("DEL 0x1234 01020304"));
        assert_eq!(identity(|block| block[12..16].fill(0)).as_deref(), Some("DEL 0x1234"));
        let serial = identity(|block| with_text(block, 72, TAG_SERIAL, b"  a \x1b  b\n    "));
        assert_eq!(serial.as_deref(), Some("DEL 0x1234 a b"));
        assert_eq!(identity(|block| block[8..10].fill(0)), None);
    }

    #[test]
    fn letters_that_are_none_make_no_maker() {
        assert_eq!(Edid::parse(&edid(|block| block[8..10].fill(0))).unwrap().maker, None);
        assert_eq!(Edid::parse(&edid(|block| block[8..10].fill(0xff))).unwrap().maker, None);
    }

    #[test]
    fn sizes_that_no_display_has_are_not_known() {
        assert_eq!(millimetres(|_| {}), Some((600, 340)), "centimetres, where there is no timing");
        assert_eq!(millimetres(|block| with_timing(block, (160, 90))), Some((600, 340)), "an aspect ratio");
        assert_eq!(millimetres(|block| with_timing(block, (4000, 10))), Some((600, 340)), "a line");
        assert_eq!(millimetres(|block| (block[21], block[22]) = (16, 9)), None, "an aspect ratio in centimetres");
        assert_eq!(millimetres(|block| (block[21], block[22]) = (79, 0)), None, "a projector's ratio");
        assert_eq!(millimetres(|block| (block[21], block[22]) = (0, 0)), None);
        assert_eq!(millimetres(|block| with_timing(block, (286, 179))), Some((286, 179)), "a laptop");
    }

    #[test]
    fn texts_look_as_large_on_every_display() {
        for (what, size, millimetres, scale) in [
            ("unknown", (3840, 2160), None, 1.0),
            ("24 inches full HD", (1920, 1080), Some((531, 299)), 1.0),
            ("27 inches 1440p", (2560, 1440), Some((597, 336)), 1.0),
            ("32 inches 4K", (3840, 2160), Some((697, 392)), 1.0),
            ("28 inches 4K", (3840, 2160), Some((621, 341)), 1.25),
            ("27 inches 4K", (3840, 2160), Some((597, 336)), 1.5),
            ("27 inches 4K, turned", (2160, 3840), Some((336, 597)), 1.5),
            ("14 inches full HD", (1920, 1080), Some((309, 174)), 1.25),
            ("13 inches 2560x1600", (2560, 1600), Some((286, 179)), 2.0),
            ("13 inches 4K", (3840, 2400), Some((288, 180)), 2.5),
            ("55 inches 4K", (3840, 2160), Some((1210, 680)), 1.0),
            ("7 inches 1024x600", (1024, 600), Some((154, 86)), 1.25),
            ("a phone", (1080, 2400), Some((68, 150)), 2.0),
        ] {
            assert_eq!(default_scale(size, millimetres), scale, "{what}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = Edid::parse(&bytes);
        }

        #[test]
        fn any_block_of_good_form_gives_sane_values(noise in proptest::collection::vec(any::<u8>(), 110)) {
            let bytes = edid(|block| {
                block[8..18].copy_from_slice(&noise[..10]);
                block[20..120].copy_from_slice(&noise[10..]);
            });
            let edid = Edid::parse(&bytes).unwrap();
            if let Some(identity) = edid.identity() {
                prop_assert!(identity.len() <= 40 && identity.split(' ').all(|word| !word.is_empty()), "{identity:?}");
                prop_assert!(identity.bytes().all(|b| (0x20..0x7f).contains(&b)), "{identity:?}");
            }
            for text in [edid.maker, edid.name, edid.serial].into_iter().flatten() {
                prop_assert!((1..=13).contains(&text.len()) && text.bytes().all(|b| (0x20..0x7f).contains(&b)), "{text:?}");
            }
            prop_assert!(edid.millimetres.is_none_or(|(w, h)| (20..=25_000).contains(&w) && (20..=25_000).contains(&h)));
        }

        #[test]
        fn a_default_scale_is_one_that_could_be_set(
            size in (any::<u32>(), any::<u32>()),
            millimetres in proptest::option::of((any::<u32>(), any::<u32>())),
        ) {
            let scale = default_scale(size, millimetres);
            prop_assert!((1.0..=4.0).contains(&scale) && (scale * 4.0).fract() == 0.0);
        }
    }
}
