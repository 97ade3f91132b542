//! What a display of the kernel's own shows ([`Gpu::Vkms`](crate::Gpu::Vkms)), without the shell's help: the kernel's
//! checksum of a frame as all planes together make it, and what a picture's would be.

use crate::machine::{Machine, wait_for};
use crate::picture::Picture;
use crate::program::{Process, Program};
use anyhow::{Context, Result, ensure};
use std::time::Duration;

/// What a display's planes make together, in 16 bits a colour, as `blend` of the kernel's vkms_composer.c has it.
#[derive(Clone, Debug, PartialEq)]
pub struct Composed {
    width: usize,
    /// Red, green, blue.
    pixels: Vec<[u16; 3]>,
}

impl Composed {
    /// Of a primary plane, or of what lies on it and is opaque.
    pub fn new(picture: &Picture) -> Self {
        let places = (0..picture.height).flat_map(|y| (0..picture.width).map(move |x| (x, y)));
        let pixels = places.map(|(x, y)| picture.at(x, y).map(deep)).collect();
        Self { width: picture.width as usize, pixels }
    }

    /// Lays one more pixel above it, as 0xAARRGGBB, premultiplied.
    pub fn over(&mut self, x: u32, y: u32, pixel: u32) {
        let [alpha, above @ ..] = pixel.to_be_bytes().map(deep);
        let (x, y) = (x as usize, y as usize);
        let Some(below) = self.pixels.get_mut(y * self.width + x).filter(|_| x < self.width) else { return };
        for (below, above) in below.iter_mut().zip(above) {
            let sum = u64::from(above) * 0xffff + u64::from(*below) * u64::from(0xffff - alpha);
            *below = u16::try_from((sum + 0x7fff) / 0xffff).unwrap_or(u16::MAX);
        }
    }

    /// The checksum of a frame that shows this: of each pixel alpha, red, green and blue, least byte first.
    pub fn checksum(&self) -> u32 {
        // The kernel's begins with 0 and inverts nothing.
        let mut sum = crc32fast::Hasher::new_with_initial(!0);
        for row in self.pixels.chunks(self.width.max(1)) {
            let values = row.iter().flat_map(|[red, green, blue]| [u16::MAX, *red, *green, *blue]);
            sum.update(&values.flat_map(u16::to_le_bytes).collect::<Vec<u8>>());
        }
        !sum.finalize()
    }
}

fn deep(value: u8) -> u16 {
    u16::from(value) * 257
}

/// The checksum of a frame that shows this and nothing else.
pub fn checksum(picture: &Picture) -> u32 {
    Composed::new(picture).checksum()
}

/// Writes down the checksum of each frame that comes.
const WATCH: &str = "exec cat /sys/kernel/debug/dri/display0/crtc-0/crc/data";

/// The checksums of all frames since a moment.
pub struct Watch {
    process: Process,
}

impl Watch {
    /// Waits until a frame with this checksum has come last.
    pub fn wait_for(&self, sum: u32) -> Result<()> {
        wait_for(&format!("a frame {sum:08x}"), Duration::from_secs(30), || {
            let last = self.process.output().lines().rev().find_map(frame_of);
            Ok(last.filter(|last| *last == sum).map(drop))
        })
    }

    /// The checksums of all frames until now, each once, in the order in which they came first. An error if the kernel
    /// had no room for one. (A busy machine misses refreshes: then there was no frame.)
    pub fn end(self, machine: &Machine) -> Result<Vec<u32>> {
        self.process.kill()?;
        self.process.wait(Duration::from_secs(20))?;
        ensure!(!machine.root("dmesg")?.contains("Overflow of CRC buffer"), "frames were left out");
        let mut sums = Vec::new();
        for sum in self.process.output().lines().filter_map(frame_of) {
            if !sums.contains(&sum) {
                sums.push(sum);
            }
        }
        ensure!(!sums.is_empty(), "no frame came");
        Ok(sums)
    }
}

/// A frame's checksum, which stands behind its number; `None` for a line that is cut short.
fn frame_of(line: &str) -> Option<u32> {
    // The kernel ends each line with a zero behind its end.
    let words = line.trim_start_matches('\0').split_whitespace();
    let mut words = words.map(|word| word.strip_prefix("0x").filter(|word| word.len() == 8));
    let mut number = || u32::from_str_radix(words.next()??, 16).ok();
    number()?;
    number()
}

impl Machine {
    /// From now on the checksum of each frame of the first display of the kernel's own is written down. Until that ends
    /// nothing else can be told of them.
    pub fn watch_checksums(&self, name: &str) -> Result<Watch> {
        self.root("echo auto > /sys/kernel/debug/dri/display0/crtc-0/crc/control")?;
        let process = self.spawn(name, &Program::script(WATCH).user("root"))?;
        wait_for("the first checksum", Duration::from_secs(20), || Ok((!process.output().is_empty()).then_some(())))?;
        Ok(Watch { process })
    }

    /// The checksum of what a display of the kernel's own shows from now on: of the first whole frame that comes.
    /// `display`: its number among those.
    pub fn shown_checksum(&self, display: usize) -> Result<u32> {
        let said = self.root(&format!(
            "cd /sys/kernel/debug/dri/display{display}/crtc-0/crc && echo auto > control && timeout 20 head -n 1 data"
        ))?;
        frame_of(&said).with_context(|| format!("no checksum: {said:?}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By the definition, a bit at a time (crc32_le of the kernel's lib/crc).
    fn by_bits(bytes: &[u8]) -> u32 {
        bytes.iter().fold(0, |sum, byte| {
            (0..8).fold(sum ^ u32::from(*byte), |sum, _| (sum >> 1) ^ if sum & 1 == 1 { 0xedb8_8320 } else { 0 })
        })
    }

    #[test]
    fn a_checksum_is_the_kernels() {
        let ppm = b"P6 2 2 255 \x00\x01\x02\x03\x04\x05\xfd\xfe\xff\x80\x81\x82";
        let picture = Picture::parse_ppm(ppm).unwrap();
        let mut bytes = Vec::new();
        for pixel in [[0, 1, 2], [3, 4, 5], [253, 254, 255], [128, 129, 130]] {
            for value in [255, pixel[0], pixel[1], pixel[2]] {
                bytes.extend(u16::to_le_bytes(value * 257));
            }
        }
        assert_eq!(checksum(&picture), by_bits(&bytes));
    }
}
