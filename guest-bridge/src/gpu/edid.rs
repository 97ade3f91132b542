//! A scanout's EDID (VESA E-EDID 1.4): one preferred mode, the guest's area, and a few standard modes that fit into it.
//!
//! Pure. Timings are those of CVT with reduced blanking. A mode that an EDID's detailed timing cannot hold (more than
//! 4095 pixels, or a pixel clock above 655 MHz) goes into a DisplayID extension, and the base block prefers 1920×1080
//! then.

use crate::frames::PreferredMode;
use crate::renderer::limits::MAX_SIDE;

/// The smallest mode, which every EDID has to offer anyway; below, pixel clocks are too slow for a detailed timing.
const SMALLEST: (u32, u32) = (640, 480);
/// Refresh rates in millihertz.
const REFRESH: std::ops::RangeInclusive<u32> = 30_000..=1_000_000;
const BLOCK: usize = 128;

/// A mode that an EDID can prefer: every number brought into its bounds, sizes made up at 96 dpi where they are
/// unknown.
pub fn clamp(mode: PreferredMode) -> PreferredMode {
    let width = mode.width.clamp(SMALLEST.0, MAX_SIDE);
    let height = mode.height.clamp(SMALLEST.1, MAX_SIDE);
    let refresh_mhz = mode.refresh_mhz.clamp(*REFRESH.start(), *REFRESH.end());
    let known = mode.width_mm > 0 && mode.height_mm > 0;
    let at_96_dpi = |pixels: u32| (pixels * 254).div_ceil(960);
    let (width_mm, height_mm) =
        if known { (mode.width_mm, mode.height_mm) } else { (at_96_dpi(width), at_96_dpi(height)) };
    PreferredMode {
        width,
        height,
        refresh_mhz,
        width_mm: width_mm.clamp(1, 2_550),
        height_mm: height_mm.clamp(1, 2_550),
    }
}

/// A video timing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Timing {
    clock_khz: u32,
    width: u32,
    h_blank: u32,
    h_front: u32,
    h_sync: u32,
    height: u32,
    v_blank: u32,
    v_front: u32,
    v_sync: u32,
}

impl Timing {
    /// CVT 1.2, reduced blanking: 160 pixels of horizontal blanking and at least 460 µs of vertical.
    fn reduced(mode: &PreferredMode) -> Self {
        const V_FRONT: u32 = 3;
        const MIN_BACK: u32 = 6;
        let (width, height) = (mode.width, mode.height);
        let is = |across: u32, down: u32| width * down == height * across;
        let v_sync = match () {
            () if is(4, 3) => 4,
            () if is(16, 9) => 5,
            () if is(16, 10) => 6,
            () if is(5, 4) || is(15, 9) => 7,
            () => 10,
        };
        // Time of a frame less the 460 µs, shared among the lines, in picoseconds: positive, since no frame is under 1
        // ms.
        let frame_ps = 1_000_000_000_000_000 / u64::from(mode.refresh_mhz);
        let line_ps = (frame_ps - 460_000_000) / u64::from(height);
        let lines = (460_000_000 / line_ps.max(1) + 1).min(4095) as u32;
        let v_blank = lines.max(V_FRONT + v_sync + MIN_BACK);
        let total = u64::from(width + 160) * u64::from(height + v_blank);
        let clock_khz = (total * u64::from(mode.refresh_mhz) / 1_000_000 / 250 * 250).max(250);
        let clock_khz = u32::try_from(clock_khz).unwrap_or(u32::MAX);
        Self { clock_khz, width, h_blank: 160, h_front: 48, h_sync: 32, height, v_blank, v_front: V_FRONT, v_sync }
    }

    fn fits_detailed(&self) -> bool {
        self.clock_khz <= 655_350 && self.width <= 4095 && self.height <= 4095
    }

    /// A detailed timing descriptor (3.10.2 of the standard), digital separate sync, + horizontally, − vertically.
    fn detailed(&self, width_mm: u32, height_mm: u32) -> [u8; 18] {
        let [clock_low, clock_high, ..] = (self.clock_khz / 10).to_le_bytes();
        let high = |a: u32, b: u32| ((a >> 8 & 15) << 4 | b >> 8 & 15) as u8;
        let (width_mm, height_mm) = (width_mm.min(4095), height_mm.min(4095));
        [
            clock_low,
            clock_high,
            self.width as u8,
            self.h_blank as u8,
            high(self.width, self.h_blank),
            self.height as u8,
            self.v_blank as u8,
            high(self.height, self.v_blank),
            self.h_front as u8,
            self.h_sync as u8,
            ((self.v_front & 15) << 4 | self.v_sync & 15) as u8,
            ((self.h_front >> 8 & 3) << 6
                | (self.h_sync >> 8 & 3) << 4
                | (self.v_front >> 4 & 3) << 2
                | self.v_sync >> 4 & 3) as u8,
            width_mm as u8,
            height_mm as u8,
            high(width_mm, height_mm),
            0,
            0,
            0x1a,
        ]
    }

    /// A DisplayID 1.3 type I timing, preferred.
    fn type_1(&self) -> [u8; 20] {
        let mut out = [0; 20];
        let clock = (self.clock_khz / 10).saturating_sub(1).min(0xff_ffff).to_le_bytes();
        out[..3].copy_from_slice(&clock[..3]);
        let shape = match () {
            () if self.width * 3 == self.height * 4 => 2,
            () if self.width * 9 == self.height * 16 => 4,
            () if self.width * 10 == self.height * 16 => 5,
            () => 8,
        };
        out[3] = 0x80 | shape;
        let word = |value: u32| (value.saturating_sub(1).min(0xffff) as u16).to_le_bytes();
        let fields =
            [self.width, self.h_blank, self.h_front, self.h_sync, self.height, self.v_blank, self.v_front, self.v_sync];
        for (place, field) in out[4..].chunks_exact_mut(2).zip(fields) {
            place.copy_from_slice(&word(field));
        }
        out[9] |= 0x80;
        out
    }
}

/// Standard modes that are offered where they fit: width, height, and their code in the standard timings (3.9).
const STANDARD: [(u32, u32, [u8; 2]); 8] = [
    (1280, 720, [0x81, 0xc0]),
    (1280, 800, [0x81, 0x00]),
    (1280, 1024, [0x81, 0x80]),
    (1440, 900, [0x95, 0x00]),
    (1600, 900, [0xa9, 0xc0]),
    (1680, 1050, [0xb3, 0x00]),
    (1920, 1080, [0xd1, 0xc0]),
    (1920, 1200, [0xd1, 0x00]),
];

/// The EDID that prefers `mode` ([`clamp`]ed here): 128 bytes, or 256 with a DisplayID extension. `scanout` tells
/// monitors of one guest apart.
pub fn edid(mode: PreferredMode, scanout: u32) -> Vec<u8> {
    let mode = clamp(mode);
    let timing = Timing::reduced(&mode);
    let extended = !timing.fits_detailed();
    let fallback = PreferredMode { width: 1920, height: 1080, refresh_mhz: 60_000, ..mode };
    let base_timing = if extended { Timing::reduced(&fallback) } else { timing };

    let mut block = Vec::with_capacity(2 * BLOCK);
    block.extend([0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0]);
    // "PHY": three letters of five bits; product 1; the scanout as serial number; week 0 of 2026.
    block.extend((((b'P' - 64) as u16) << 10 | ((b'H' - 64) as u16) << 5 | (b'Y' - 64) as u16).to_be_bytes());
    block.extend([1, 0]);
    block.extend((scanout + 1).to_le_bytes());
    block.extend([0, (2026u16 - 1990) as u8, 1, 4]);
    // Digital, 8 bits per colour, DisplayPort; size in cm; gamma 2.2; RGB, the first timing is native and preferred,
    // sRGB.
    let cm = |mm: u32| (mm.div_ceil(10)).min(255) as u8;
    block.extend([0xa5, cm(mode.width_mm), cm(mode.height_mm), 120, 0x06]);
    // sRGB's primaries and white point.
    block.extend([0xee, 0x91, 0xa3, 0x54, 0x4c, 0x99, 0x26, 0x0f, 0x50, 0x54]);
    let fits = |width: u32, height: u32| width <= mode.width && height <= mode.height;
    // 640×480 is always there; 800×600 and 1024×768, all at 60 Hz.
    let established_1 = 0x20 | u8::from(fits(800, 600));
    let established_2 = if fits(1024, 768) { 0x08 } else { 0 };
    block.extend([established_1, established_2, 0]);
    let standard = STANDARD.iter().filter(|(width, height, _)| fits(*width, *height));
    let codes = standard.map(|&(_, _, code)| code).chain(std::iter::repeat([1, 1]));
    block.extend(codes.take(8).flatten());
    block.extend(base_timing.detailed(mode.width_mm, mode.height_mm));
    block.extend(text_descriptor(0xfc, "Phyllome"));
    block.extend(text_descriptor(0xff, &format!("scanout {scanout}")));
    block.extend(dummy_descriptor());
    block.push(u8::from(extended));
    block.push(checksum(&block));
    if extended {
        block.extend(display_id(&timing, &mode, scanout));
    }
    block
}

fn text_descriptor(tag: u8, text: &str) -> [u8; 18] {
    let mut out = [0x20; 18];
    out[..5].copy_from_slice(&[0, 0, 0, tag, 0]);
    let end = text.len().min(13);
    out[5..5 + end].copy_from_slice(&text.as_bytes()[..end]);
    if let Some(terminator) = out.get_mut(5 + end) {
        *terminator = b'\n';
    }
    out
}

fn dummy_descriptor() -> [u8; 18] {
    let mut out = [0; 18];
    out[3] = 0x10;
    out
}

/// A DisplayID 1.3 section as an EDID extension block: maker, parameters, interface, and one type I timing.
fn display_id(timing: &Timing, mode: &PreferredMode, scanout: u32) -> [u8; BLOCK] {
    let [s0, s1, s2, s3] = (scanout + 1).to_le_bytes();
    let mut bytes = Vec::with_capacity(BLOCK);
    // Tag, version 1.3, 121 bytes of data blocks, a stand-alone display, no further section.
    bytes.extend([0x70, 0x13, 121, 3, 0]);
    // Product identification, 12 bytes: maker, product, serial number, week 0 of 2026, no name.
    bytes.extend([0, 0, 12, b'P', b'H', b'Y', 1, 0, s0, s1, s2, s3, 0, 26, 0]);
    // Display parameters, 12 bytes: size in tenths of a millimetre, pixels, no extras, gamma 2.2, long by short side, 8
    // bits.
    let word = |value: u32| u16::try_from(value).unwrap_or(u16::MAX).to_le_bytes();
    let (long, short) = (mode.width.max(mode.height), mode.width.min(mode.height).max(1));
    let aspect = (long * 100 / short).saturating_sub(100).min(254) as u8;
    bytes.extend([1, 0, 12]);
    bytes.extend([mode.width_mm * 10, mode.height_mm * 10, mode.width, mode.height].map(word).concat());
    bytes.extend([0, 120, aspect, 0x77]);
    // Display interface, 10 bytes: DisplayPort 1.2 with 4 lanes, RGB with 8 bits, nothing else.
    bytes.extend([0x0f, 0, 10, 0xa4, 0x12, 0x02, 0, 0, 0, 0, 0, 0, 0]);
    // Type I detailed timing, revision 1, 20 bytes.
    bytes.extend([3, 1, 20]);
    bytes.extend(timing.type_1());
    let mut out = [0; BLOCK];
    for (place, byte) in out.iter_mut().zip(bytes) {
        *place = byte;
    }
    out[126] = checksum(&out[1..126]);
    out[127] = checksum(&out[..127]);
    out
}

fn checksum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0u8, |sum, &byte| sum.wrapping_add(byte)).wrapping_neg()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write;
    use std::process::{Command, Stdio};

    fn mode(width: u32, height: u32, refresh_hz: u32) -> PreferredMode {
        PreferredMode { width, height, refresh_mhz: refresh_hz * 1000, width_mm: 0, height_mm: 0 }
    }

    fn decoded(bytes: &[u8]) -> (bool, String) {
        let mut child = Command::new("edid-decode")
            .args(["--check", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("edid-decode runs: `cargo xtask setup` installs it");
        child.stdin.take().unwrap().write_all(bytes).unwrap();
        let output = child.wait_with_output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
    }

    #[test]
    fn edid_decode_finds_no_failure_in_any_size() {
        let sizes = [
            (1272, 768, 60),
            (1912, 1048, 60),
            (1920, 1080, 60),
            (2552, 1408, 144),
            (3832, 2128, 60),
            (640, 480, 60),
            (640, 480, 1),
            (792, 568, 75),
            (5112, 2848, 60),
            (3832, 2128, 144),
            (16384, 16384, 60),
            (1280, 800, 240),
        ];
        for (width, height, refresh) in sizes {
            let bytes = edid(mode(width, height, refresh), 3);
            let (passed, text) = decoded(&bytes);
            assert!(passed, "{width}x{height}@{refresh}:\n{text}");
            let shown = format!("{width}x{height}");
            assert!(text.contains(&shown), "{shown} is not in\n{text}");
        }
    }

    #[test]
    fn a_tiny_or_absurd_mode_becomes_one_that_can_be_said() {
        let tiny = clamp(mode(1, 0, 0));
        assert_eq!((tiny.width, tiny.height, tiny.refresh_mhz), (640, 480, 30_000));
        assert_eq!((tiny.width_mm, tiny.height_mm), (170, 127), "96 dpi");
        let (passed, text) = decoded(&edid(mode(1, 0, 0), 0));
        assert!(passed, "{text}");
    }

    #[test]
    fn the_first_timing_is_the_mode_with_its_physical_size() {
        let bytes = edid(PreferredMode { width_mm: 520, height_mm: 320, ..mode(1912, 1048, 60) }, 0);
        assert_eq!(bytes.len(), 128);
        let timing = &bytes[54..72];
        let twelve = |low: usize, high: u8| u32::from(timing[low]) | u32::from(high) << 8;
        assert_eq!((twelve(2, timing[4] >> 4), twelve(5, timing[7] >> 4)), (1912, 1048));
        assert_eq!((twelve(12, timing[14] >> 4), twelve(13, timing[14] & 15)), (520, 320));
        let clock = u64::from(u16::from_le_bytes([timing[0], timing[1]])) * 10_000;
        let total = u64::from((1912 + 160) * (1048 + twelve(6, timing[7] & 15)));
        let refresh = clock as f64 / total as f64;
        assert!((59.8..=60.0).contains(&refresh), "{refresh} Hz");
    }

    #[test]
    fn standard_modes_are_only_those_that_fit() {
        let codes = |width, height| edid(mode(width, height, 60), 0)[38..54].to_vec();
        assert_eq!(codes(1000, 700), [1; 16]);
        assert_eq!(codes(1280, 800)[..6], [0x81, 0xc0, 0x81, 0x00, 1, 1]);
    }

    proptest! {
        #[test]
        fn any_mode_gives_blocks_that_sum_to_zero(
            width: u32, height: u32, refresh_mhz: u32, width_mm: u32, height_mm: u32, scanout in 0u32..16,
        ) {
            let bytes = edid(PreferredMode { width, height, refresh_mhz, width_mm, height_mm }, scanout);
            prop_assert!(bytes.len() == 128 || bytes.len() == 256);
            for block in bytes.chunks(128) {
                prop_assert_eq!(block.iter().fold(0u8, |sum, &byte| sum.wrapping_add(byte)), 0);
            }
        }
    }
}
