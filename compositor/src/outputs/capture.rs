//! Pixels for `phyllome screenshot`: what was composed last, in a sealed memfd. Only the person's own tool asks; guests
//! cannot.

use smithay::reexports::rustix;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;

/// A picture in memory.
#[derive(Debug)]
pub struct Capture {
    /// Sealed; four bytes a pixel: blue, green, red, unused (255).
    pub memfd: OwnedFd,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Bytes per row.
    pub stride: u32,
}

impl Capture {
    /// Copies `pixels`, rows of `width * 4` bytes (blue, green, red, unused), the top one first.
    pub fn new(pixels: &[u8], width: u32, height: u32) -> io::Result<Self> {
        let stride = width.checked_mul(4).filter(|stride| *stride > 0).ok_or(io::ErrorKind::InvalidInput)?;
        let rows: Vec<&[u8]> = pixels.chunks_exact(stride as usize).take(height as usize).collect();
        if rows.len() < height as usize {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the renderer returned fewer pixels than asked for",
            ));
        }
        let memfd = rustix::fs::memfd_create(
            "phyllome-screenshot",
            rustix::fs::MemfdFlags::CLOEXEC | rustix::fs::MemfdFlags::ALLOW_SEALING,
        )?;
        let mut file = io::BufWriter::with_capacity(256 * 1024, File::from(memfd));
        let mut line = Vec::with_capacity(stride as usize);
        for row in rows {
            line.clear();
            line.extend_from_slice(row);
            line.chunks_exact_mut(4).for_each(|pixel| pixel[3] = 0xff);
            file.write_all(&line)?;
        }
        let memfd = OwnedFd::from(file.into_inner().map_err(io::IntoInnerError::into_error)?);
        let seals = rustix::fs::SealFlags::SHRINK | rustix::fs::SealFlags::GROW | rustix::fs::SealFlags::WRITE;
        rustix::fs::fcntl_add_seals(&memfd, seals | rustix::fs::SealFlags::SEAL)?;
        Ok(Self { memfd, width, height, stride })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Seek};

    #[test]
    fn a_picture_is_copied_and_sealed() {
        let capture = Capture::new(&[1, 2, 3, 4, 5, 6, 7, 8], 1, 2).unwrap();
        let mut file = File::from(capture.memfd);
        file.rewind().unwrap();
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes, [1, 2, 3, 255, 5, 6, 7, 255]);
        assert!(file.set_len(1).is_err());
        assert!(Capture::new(&[0; 7], 1, 2).is_err());
    }
}
