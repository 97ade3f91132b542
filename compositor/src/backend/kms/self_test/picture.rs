//! A picture of which each pixel is known, and memory of the kernel's that has it.

use smithay::backend::allocator::dmabuf::{Dmabuf, DmabufFlags};
use smithay::backend::allocator::{Fourcc, Modifier};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// Its width and height.
pub const SIDE: u32 = 256;
/// Its format.
pub const FORMAT: Fourcc = Fourcc::Xrgb8888;
/// Bytes of a row.
const STRIDE: u32 = SIDE * 4;

/// Who made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Maker {
    /// GL: red grows to the right, green downwards.
    Gl,
    /// The processor: the other way round.
    Processor,
}

/// One pixel: blue, green, red, and what counts for nothing.
fn pixel(maker: Maker, x: u32, y: u32) -> [u8; 4] {
    let byte = |value: u32| u8::try_from(value % 256).unwrap_or_default();
    match maker {
        Maker::Gl => [byte(x ^ y), byte(y), byte(x), 0xff],
        Maker::Processor => [byte(x ^ y), byte(x), byte(y), 0xff],
    }
}

/// All of it, as rows.
pub fn rows(maker: Maker) -> Vec<u8> {
    (0..SIDE).flat_map(|y| (0..SIDE).flat_map(move |x| pixel(maker, x, y))).collect()
}

/// Whether these rows are the picture, or it upside down: which of the two a renderer gives is its own choice.
pub fn is_seen(pixels: &[u8], maker: Maker) -> bool {
    let is = |row: fn(u32) -> u32| {
        let wanted = (0..SIDE).flat_map(|y| (0..SIDE).map(move |x| pixel(maker, x, row(y))));
        pixels.len() == rows_length()
            && pixels.chunks_exact(4).zip(wanted).all(|(seen, wanted)| seen.get(..3) == wanted.get(..3))
    };
    is(|y| y) || is(|y| SIDE - 1 - y)
}

fn rows_length() -> usize {
    usize::try_from(STRIDE * SIDE).unwrap_or_default()
}

/// The processor's in pages of a memfd, as a dmabuf of the kernel's: as guests' pictures come.
pub fn in_pages() -> Result<Dmabuf, String> {
    make_pages().map_err(|error| {
        format!("/dev/udmabuf: {error}; load the module udmabuf, and give yourself the device (often the group kvm)")
    })
}

fn make_pages() -> io::Result<Dmabuf> {
    let flags = rustix::fs::MemfdFlags::CLOEXEC | rustix::fs::MemfdFlags::ALLOW_SEALING;
    let mut memory = File::from(rustix::fs::memfd_create("picture", flags)?);
    memory.write_all(&rows(Maker::Processor))?;
    rustix::fs::fcntl_add_seals(&memory, rustix::fs::SealFlags::SHRINK)?;
    let pages = udmabuf(&memory, u64::from(STRIDE * SIDE))?;
    let side = i32::try_from(SIDE).unwrap_or_default();
    let mut dmabuf = Dmabuf::builder((side, side), FORMAT, Modifier::Linear, DmabufFlags::empty());
    dmabuf.add_plane(pages, 0, 0, STRIDE);
    dmabuf.build().ok_or_else(|| io::Error::other("it has no plane"))
}

fn udmabuf(memory: &File, size: u64) -> io::Result<OwnedFd> {
    /// `struct udmabuf_create` of linux/udmabuf.h.
    #[repr(C)]
    struct Create {
        memfd: u32,
        flags: u32,
        offset: u64,
        size: u64,
    }
    /// `UDMABUF_CREATE`.
    const CREATE: u32 = 0x4018_7542;
    /// `UDMABUF_FLAGS_CLOEXEC`.
    const CLOEXEC: u32 = 1;
    let device = File::options().read(true).write(true).open("/dev/udmabuf")?;
    let memfd = u32::try_from(memory.as_raw_fd()).map_err(io::Error::other)?;
    let request = Create { memfd, flags: CLOEXEC, offset: 0, size };
    // SAFETY: the kernel reads its own struct while the call lasts.
    let made = unsafe { libc::ioctl(device.as_raw_fd(), CREATE as libc::Ioctl, &raw const request) };
    if made < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor for the caller, who has it nowhere else.
    Ok(unsafe { OwnedFd::from_raw_fd(made) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_known_upright_and_upside_down_and_nothing_else_is() {
        for (maker, other) in [(Maker::Gl, Maker::Processor), (Maker::Processor, Maker::Gl)] {
            let upright = rows(maker);
            assert!(is_seen(&upright, maker) && !is_seen(&upright, other));
            let upside_down: Vec<u8> = upright.chunks(STRIDE as usize).rev().flatten().copied().collect();
            assert!(is_seen(&upside_down, maker) && upside_down != upright);
            let mut changed = upright.clone();
            changed[4 * 77 + 1] ^= 1;
            assert!(!is_seen(&changed, maker) && !is_seen(&upright[4..], maker) && !is_seen(&[], maker));
            changed.clone_from(&upright);
            changed[3] = 0;
            assert!(is_seen(&changed, maker), "the fourth byte counts for nothing");
        }
    }
}
