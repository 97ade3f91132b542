//! Pictures of outputs, and what must hold of their frame.

use anyhow::{Context, Result, ensure};
use phyllome_protocol::status::Area;
use std::path::Path;

/// An RGB picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Picture {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    pixels: Vec<[u8; 3]>,
}

impl Picture {
    /// Reads a PNG file.
    pub fn read(path: &Path) -> Result<Self> {
        Self::parse_png(&std::fs::read(path)?)
    }

    /// Reads a PNG.
    pub fn parse_png(bytes: &[u8]) -> Result<Self> {
        let mut decoder = png::Decoder::new(std::io::Cursor::new(bytes));
        decoder.set_transformations(png::Transformations::normalize_to_color8());
        let mut reader = decoder.read_info()?;
        let mut bytes = vec![0; reader.output_buffer_size().context("a picture without size")?];
        let info = reader.next_frame(&mut bytes)?;
        let step = info.color_type.samples();
        ensure!(step >= 3, "not a colour picture");
        let pixels = bytes[..info.buffer_size()].chunks_exact(step).map(|p| [p[0], p[1], p[2]]).collect();
        Ok(Self { width: info.width, height: info.height, pixels })
    }

    /// Reads a PPM as QEMU writes it: `P6`, width, height, 255, and three bytes a pixel.
    pub fn parse_ppm(bytes: &[u8]) -> Result<Self> {
        let mut rest = bytes;
        let mut word = || -> Result<String> {
            rest = rest.trim_ascii_start();
            let end = rest.iter().position(u8::is_ascii_whitespace).context("a picture that is cut short")?;
            let (word, after) = rest.split_at(end);
            rest = after;
            Ok(String::from_utf8_lossy(word).into_owned())
        };
        ensure!(word()? == "P6", "not a PPM picture");
        let (width, height, most): (u32, u32, u32) = (word()?.parse()?, word()?.parse()?, word()?.parse()?);
        ensure!(most == 255, "not 8 bits a colour");
        let (pixels, _) = rest.get(1..).unwrap_or_default().as_chunks::<3>();
        ensure!(pixels.len() as u64 == u64::from(width) * u64::from(height), "a picture that is cut short");
        Ok(Self { width, height, pixels: pixels.to_vec() })
    }

    /// Writes a PNG.
    pub fn write(&self, path: &Path) -> Result<()> {
        let file = std::io::BufWriter::new(std::fs::File::create(path)?);
        let mut encoder = png::Encoder::new(file, self.width, self.height);
        encoder.set_color(png::ColorType::Rgb);
        encoder.write_header()?.write_image_data(&self.pixels.concat())?;
        Ok(())
    }

    /// The colour at a position.
    pub fn at(&self, x: u32, y: u32) -> [u8; 3] {
        self.pixels[(y * self.width + x) as usize]
    }

    /// All pixels of the outermost ring.
    pub fn edge(&self) -> Vec<[u8; 3]> {
        let (w, h) = (self.width, self.height);
        let rows = (0..w).flat_map(|x| [self.at(x, 0), self.at(x, h - 1)]);
        let columns = (0..h).flat_map(|y| [self.at(0, y), self.at(w - 1, y)]);
        rows.chain(columns).collect()
    }

    /// The pixels outside `area`, in reading order.
    pub fn outside(&self, area: Area) -> Vec<[u8; 3]> {
        let inside =
            |x: u32, y: u32| (area.x..area.x + area.width).contains(&x) && (area.y..area.y + area.height).contains(&y);
        let all = (0..self.height).flat_map(|y| (0..self.width).map(move |x| (x, y)));
        all.filter(|(x, y)| !inside(*x, *y)).map(|(x, y)| self.at(x, y)).collect()
    }

    /// The part inside `area`.
    pub fn crop(&self, area: Area) -> Self {
        let rows = area.y..area.y + area.height;
        let pixels = rows.flat_map(|y| (area.x..area.x + area.width).map(move |x| self.at(x, y))).collect();
        Self { width: area.width, height: area.height, pixels }
    }

    /// Another picture of the same size, each pixel of which is made of its place and of what is there.
    pub fn map(&self, mut pixel: impl FnMut(u32, u32, [u8; 3]) -> [u8; 3]) -> Self {
        let places = (0..self.height).flat_map(|y| (0..self.width).map(move |x| (x, y)));
        let pixels = places.map(|(x, y)| pixel(x, y, self.at(x, y))).collect();
        Self { width: self.width, height: self.height, pixels }
    }

    /// How many pixels have this colour.
    pub fn count(&self, colour: [u8; 3]) -> usize {
        self.pixels.iter().filter(|p| **p == colour).count()
    }

    /// How many different colours there are, up to 4096.
    pub fn colours(&self) -> usize {
        let mut seen = std::collections::HashSet::new();
        for pixel in &self.pixels {
            seen.insert(*pixel);
            if seen.len() >= 4096 {
                break;
            }
        }
        seen.len()
    }
}

/// `#rrggbb` as bytes.
pub fn rgb(text: &str) -> [u8; 3] {
    let value = u32::from_str_radix(text.trim_start_matches('#'), 16).unwrap_or(0);
    [(value >> 16) as u8, (value >> 8) as u8, value as u8]
}
