//! What the device thread and the screen say to one another: the way of a frame inside phyllome-guest.
//!
//! [`ToScreen`] goes from the device's thread (`gpu::service`, at the end of each of its rounds) straight to the
//! screen's hub (`screen::hub`) through one bounded tokio channel of [`TO_SCREEN_DEPTH`]; [`ToDevice`] comes back from
//! the hub by the device's sender, which wakes the thread. Nobody stands between. The device never waits for room in
//! the channel, but gathers what has changed and says it later, so no guest can make it grow. For each scanout at most
//! one [`ToScreen::Flush`] is under way until the screen answers [`ToDevice::Presented`]; what the guest flushes in the
//! meantime is gathered as damage, and a changed picture is announced just before its first flush. A screen that is
//! hidden or missing answers nothing; the device then completes fences from its slow timer. After
//! [`ToDevice::Attached`]`(true)` the device says again everything that is shown.

use phyllome_protocol::ScanoutId;
use phyllome_protocol::descriptor::describe;
use rustix::mm::{MapFlags, ProtFlags};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::Arc;
use vm_memory::VolatileSlice;

/// A rectangle in pixels. Made only by code that has checked that `x + width` and `y + height` do not overflow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Rect {
    pub x: u32,
    pub y: u32,
    pub width: u32,
    pub height: u32,
}

/// One plane of a dmabuf.
#[derive(Debug)]
pub struct Plane {
    /// Its memory; planes may share it.
    pub file: OwnedFd,
    /// Where it begins, bytes.
    pub offset: u32,
    /// Bytes per row.
    pub stride: u32,
}

/// Pixels as a dmabuf.
#[derive(Debug)]
pub struct Dmabuf {
    /// One or more; the first lies within its file with all of its rows.
    pub planes: Vec<Plane>,
    /// DRM format modifier.
    pub modifier: u64,
    /// The first row in memory is the lowest of the picture.
    pub bottom_up: bool,
}

impl Dmabuf {
    /// Rows of pixels, one after another.
    pub const LINEAR: u64 = 0;
    /// Some layout that only the driver knows.
    pub const UNKNOWN: u64 = 0x00ff_ffff_ffff_ffff;

    /// Rows that follow each other in one file.
    pub fn linear(file: OwnedFd, offset: u32, stride: u32) -> Self {
        Self { planes: vec![Plane { file, offset, stride }], modifier: Self::LINEAR, bottom_up: false }
    }

    /// The name of its modifier, for `status`.
    pub fn modifier_name(&self) -> String {
        match self.modifier {
            Self::LINEAR => "LINEAR".to_owned(),
            Self::UNKNOWN => "INVALID".to_owned(),
            other => format!("{other:#018x}"),
        }
    }
}

/// The host memory of one resource, shared with the compositor without a copy. Dropped when the resource and every
/// screen have let go of it.
#[derive(Debug)]
pub struct SharedBuffer {
    /// Unique in this process; never used again.
    pub id: u64,
    /// The memory: sealed against shrinking, `stride * height` bytes at least. None where the pixels are the guest's
    /// own pages or the renderer's; those are a dmabuf.
    pub memfd: Option<OwnedFd>,
    /// The same memory as a dmabuf, where /dev/udmabuf could make one, or the renderer.
    pub dmabuf: Option<Dmabuf>,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Bytes per row: a multiple of 256 in memory of ours, at least 4 for each pixel in the guest's.
    pub stride: u32,
    /// DRM fourcc of the pixels.
    pub fourcc: u32,
    /// It is the renderer's: a screen that cannot show it as it is says [`ToDevice::Refused`] and gets memory of ours
    /// instead.
    pub replaceable: bool,
}

impl SharedBuffer {
    /// Whether [`Self::reader`] can read the pixels: memory of ours, or a dmabuf that is rows of pixels from the top and
    /// whose pages stay. What a graphics driver gives out may be gone when it is touched, or be read very slowly.
    pub fn is_readable(&self) -> bool {
        let rows = |dmabuf: &Dmabuf| match dmabuf.planes.as_slice() {
            [plane] if dmabuf.modifier == Dmabuf::LINEAR && !dmabuf.bottom_up => {
                describe(plane.file.as_fd()).is_steady()
            }
            _ => false,
        };
        self.memfd.is_some() || self.dmabuf.as_ref().is_some_and(rows)
    }

    /// A way to read the pixels, for whoever cannot give them to the compositor as they are. Fails where they are not
    /// readable, or cannot be mapped.
    pub fn reader(&self) -> io::Result<PixelReader<'_>> {
        if let Some(memfd) = &self.memfd {
            return Ok(PixelReader::File(memfd.as_fd()));
        }
        match self.dmabuf.as_ref().filter(|_| self.is_readable()).map(|dmabuf| dmabuf.planes.as_slice()) {
            Some([plane]) => {
                let rows = u64::from(self.height.saturating_sub(1)) * u64::from(self.stride);
                let bytes = rows + u64::from(self.width) * 4;
                DmabufMap::new(plane.file.as_fd(), plane.offset.into(), bytes).map(PixelReader::Mapped)
            }
            _ => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}

/// Reads a [`SharedBuffer`], which may change meanwhile.
#[derive(Debug)]
pub enum PixelReader<'a> {
    /// Through the kernel.
    File(BorrowedFd<'a>),
    /// A dmabuf of memory, which can be read in no other way. Its pages stay there whatever anybody does.
    Mapped(DmabufMap),
}

impl PixelReader<'_> {
    /// Fills `bytes` from `offset` on.
    pub fn read_exact_at(&self, mut bytes: &mut [u8], mut offset: u64) -> io::Result<()> {
        let end = || io::Error::from(io::ErrorKind::UnexpectedEof);
        let file = match self {
            Self::File(file) => file,
            Self::Mapped(mapping) => {
                let start =
                    usize::try_from(offset).ok().and_then(|at| at.checked_add(mapping.offset)).ok_or_else(end)?;
                let part = mapping.slice().subslice(start, bytes.len()).map_err(|_| end())?;
                part.copy_to(bytes);
                return Ok(());
            }
        };
        while !bytes.is_empty() {
            match rustix::io::pread(file, &mut *bytes, offset) {
                Ok(0) => return Err(end()),
                Ok(count) => {
                    bytes = bytes.get_mut(count..).unwrap_or_default();
                    offset = offset.saturating_add(count as u64);
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

/// A read-only map of a dmabuf, until it is dropped.
#[derive(Debug)]
pub struct DmabufMap {
    start: NonNull<u8>,
    length: usize,
    /// Where the pixels begin.
    offset: usize,
}

impl DmabufMap {
    fn new(file: BorrowedFd<'_>, offset: u64, bytes: u64) -> io::Result<Self> {
        let length = usize::try_from(offset.saturating_add(bytes)).map_err(io::Error::other)?;
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        // SAFETY: a new map at an address that the kernel chooses; the kernel refuses what goes beyond the dmabuf's
        // pages.
        let start =
            unsafe { rustix::mm::mmap(std::ptr::null_mut(), length, ProtFlags::READ, MapFlags::SHARED, file, 0) }?;
        let start = NonNull::new(start.cast()).ok_or_else(|| io::Error::from(io::ErrorKind::OutOfMemory))?;
        Ok(Self { start, length, offset })
    }

    fn slice(&self) -> VolatileSlice<'_> {
        // SAFETY: `length` bytes from `start` on are mapped while `self` lives; only a dmabuf whose pages cannot be
        // taken away under a map comes here. Nothing is written through the slice, and whoever else writes is allowed
        // for by volatile reads.
        unsafe { VolatileSlice::new(self.start.as_ptr(), self.length) }
    }
}

impl Drop for DmabufMap {
    fn drop(&mut self) {
        // SAFETY: exactly what `new` mapped; slices of it do not outlive `self`.
        let _ = unsafe { rustix::mm::munmap(self.start.as_ptr().cast(), self.length) };
    }
}

/// What a scanout shows: a part of a buffer.
#[derive(Clone, Debug)]
pub struct Picture {
    /// The memory.
    pub buffer: Arc<SharedBuffer>,
    /// The part of it that is shown; lies inside the buffer and is not empty.
    pub source: Rect,
}

/// A cursor's image: 64×64 ARGB8888 (DRM's name; bytes B, G, R, A), premultiplied as the guest wrote it.
#[derive(Clone, Debug)]
pub struct CursorImage {
    /// 64 × 64 × 4 bytes.
    pub pixels: Arc<[u8]>,
    /// The pixel that points, 0 to 63.
    pub hot_x: u32,
    /// The same, vertically.
    pub hot_y: u32,
}

/// How many [`ToScreen`] messages a channel holds: more than one of each kind for every scanout.
pub const TO_SCREEN_DEPTH: usize = 64;

/// Device → screen.
#[derive(Clone, Debug)]
pub enum ToScreen {
    /// A scanout shows another picture, or nothing any more. No pixel of it is shown before the next flush.
    Scanout {
        /// Which.
        id: ScanoutId,
        /// Its picture.
        picture: Option<Picture>,
    },
    /// Show what is in the picture now.
    Flush {
        /// Which scanout.
        id: ScanoutId,
        /// Counts up; comes back in [`ToDevice::Presented`].
        serial: u64,
        /// What has changed, in pixels of the scanout (0, 0 is the top left of [`Picture::source`]); at most 16
        /// rectangles.
        damage: Vec<Rect>,
    },
    /// The cursor of a scanout changed; `None` hides it.
    Cursor {
        /// Which scanout.
        id: ScanoutId,
        /// Its image.
        image: Option<CursorImage>,
    },
    /// The device was reset (reboot, firmware → OS): no scanout has a picture.
    Reset,
}

/// Screen → device.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ToDevice {
    /// The flush with this serial, and all before it, are on the display (or replaced by a newer one).
    Presented {
        /// Which scanout.
        id: ScanoutId,
        /// Its serial.
        serial: u64,
    },
    /// The screen for this scanout has this size: what the guest's EDID is to prefer. The device clamps it. With
    /// [`PreferredMode::NO_DISPLAY`] the scanout is disconnected until another comes, but for the first one.
    Mode {
        /// Which scanout.
        id: ScanoutId,
        /// What is preferred.
        mode: PreferredMode,
    },
    /// The compositor does not take the buffer with this id, and it is the renderer's: [`SharedBuffer::replaceable`], or
    /// not [`SharedBuffer::is_readable`]. What the scanout showed before is still there.
    Refused {
        /// Its id.
        buffer: u64,
    },
    /// A screen came or went. Without one, fences come from the slow timer.
    Attached(bool),
}

/// The mode that a scanout's EDID prefers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PreferredMode {
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Millihertz.
    pub refresh_mhz: u32,
    /// Millimetres; 0 where unknown (96 dpi is then assumed).
    pub width_mm: u32,
    /// Millimetres.
    pub height_mm: u32,
}

impl PreferredMode {
    /// The scanout lies on no display.
    pub const NO_DISPLAY: Self = Self { width: 0, height: 0, refresh_mhz: 0, width_mm: 0, height_mm: 0 };

    /// Whether it is the mode of a display.
    pub fn has_display(&self) -> bool {
        self.width != 0 && self.height != 0
    }
}

/// Counters and facts of the device for [`phyllome_protocol::status`], shared between the threads.
pub type SharedGpuReport = Arc<std::sync::Mutex<GpuReport>>;

/// What the device reports; locked only to copy.
#[derive(Clone, Debug, Default)]
pub struct GpuReport {
    /// The device whose report it is: of several that come one after the other, only the newest writes here.
    pub device: u64,
    /// For `status`.
    pub gpu: phyllome_protocol::status::GpuStatus,
    /// Scanouts that are on.
    pub scanouts: Vec<phyllome_protocol::status::ScanoutStatus>,
    /// A frame has gone to the screen since the device was made.
    pub pictured: bool,
    /// Bytes of pixels that were copied from guest memory since the device was made.
    pub copied_bytes: u64,
    /// Bytes of host memory that the guest's resources have.
    pub resource_bytes: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pixels_that_stay_there_are_read() {
        let plane = |file: OwnedFd| Plane { file, offset: 0, stride: 16 };
        let buffer = |planes: Vec<Plane>, modifier, bottom_up| {
            let dmabuf = Some(Dmabuf { planes, modifier, bottom_up });
            let (width, height, stride, fourcc) = (4, 4, 16, 0);
            SharedBuffer { id: 1, memfd: None, dmabuf, width, height, stride, fourcc, replaceable: false }
        };
        let steady = || plane(phyllome_test_support::memory::sealed(64).unwrap());
        let purged = plane(phyllome_test_support::memory::zeros(64).unwrap());
        let mut row = [1; 16];
        let read = buffer(vec![steady()], Dmabuf::LINEAR, false);
        read.reader().unwrap().read_exact_at(&mut row, 48).unwrap();
        assert_eq!(row, [0; 16]);
        for (what, buffer) in [
            ("pages that can be taken away", buffer(vec![purged], Dmabuf::LINEAR, false)),
            ("tiles", buffer(vec![steady()], 7, false)),
            ("upside down", buffer(vec![steady()], Dmabuf::LINEAR, true)),
            ("two planes", buffer(vec![steady(), steady()], Dmabuf::LINEAR, false)),
        ] {
            assert!(!buffer.is_readable() && buffer.reader().is_err(), "{what}");
        }
    }
}
