//! Pixels in host memory that the compositor can use without another copy: of classic 2D resources, and of all that is
//! copied or read back to be shown.
//!
//! A memfd, sealed so that nobody can cut it short under a reader, zeroed by the kernel, never used a second time.
//! Where /dev/udmabuf opens, what is shown is a dmabuf over the same pages. Sizes come from the guest and are checked
//! before.

use super::backing::{Backing, Rows};
use super::class::Class;
use super::formats::{BYTES_PER_PIXEL, Format};
use super::memory::Memory;
use super::udmabuf;
use crate::frames::{Dmabuf, Rect, SharedBuffer};
use crate::renderer::limits::MAX_SIDE;
use crate::spare;
use rustix::fs::{MemfdFlags, SealFlags};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use vm_memory::{FileOffset, MmapRegion, VolatileMemory};

/// Rows begin at multiples of this many bytes, so that every GPU can import them.
const PITCH_ALIGNMENT: u32 = 256;
const PAGE: u64 = 4096;

/// How an image lies in host memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Bytes per row.
    pub pitch: u32,
    /// Bytes in all, whole pages.
    pub bytes: u64,
}

impl Layout {
    /// The layout of an image; `None` if a side is 0 or greater than [`MAX_SIDE`].
    pub fn new(width: u32, height: u32) -> Option<Self> {
        let fits = |side| (1..=MAX_SIDE).contains(&side);
        if !fits(width) || !fits(height) {
            return None;
        }
        let pitch = (width * BYTES_PER_PIXEL).next_multiple_of(PITCH_ALIGNMENT);
        Some(Self { width, height, pitch, bytes: (u64::from(pitch) * u64::from(height)).next_multiple_of(PAGE) })
    }

    /// Whether a rectangle lies inside; an empty one does where its corner does.
    pub fn contains(&self, rect: &Rect) -> bool {
        let within = |at: u32, length: u32, side: u32| at.checked_add(length).is_some_and(|end| end <= side);
        within(rect.x, rect.width, self.width) && within(rect.y, rect.height, self.height)
    }
}

/// An image.
#[derive(Debug)]
pub struct HostImage {
    /// Its size.
    pub layout: Layout,
    /// Its pixels' format.
    pub format: Format,
    memfd: Arc<File>,
    map: MmapRegion,
    shared: Option<Arc<SharedBuffer>>,
}

impl HostImage {
    /// Zeroed memory of this layout.
    pub fn new(layout: Layout, format: Format) -> io::Result<Self> {
        let memfd = spare::keep(make_memfd()?)?;
        rustix::fs::ftruncate(&memfd, layout.bytes)?;
        rustix::fs::fcntl_add_seals(&memfd, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
        let memfd = Arc::new(File::from(memfd));
        let size = usize::try_from(layout.bytes).map_err(io::Error::other)?;
        let map = MmapRegion::from_file(FileOffset::from_arc(memfd.clone(), 0), size).map_err(io::Error::other)?;
        Ok(Self { layout, format, memfd, map, shared: None })
    }

    /// The memory as the screen gets it, made when it is first shown.
    pub fn share(&mut self, udmabuf: Option<&File>) -> io::Result<Arc<SharedBuffer>> {
        if let Some(shared) = &self.shared {
            return Ok(shared.clone());
        }
        let shared = Arc::new(SharedBuffer {
            id: next_buffer_id(),
            memfd: Some(spare::keep(self.memfd.try_clone()?.into())?),
            dmabuf: udmabuf
                .and_then(|udmabuf| udmabuf::make(udmabuf, &self.memfd, self.layout.bytes))
                .map(|file| Dmabuf::linear(file, 0, self.layout.pitch)),
            width: self.layout.width,
            height: self.layout.height,
            stride: self.layout.pitch,
            fourcc: self.format.fourcc(),
            replaceable: false,
        });
        Ok(self.shared.insert(shared).clone())
    }

    /// The memory's file.
    pub fn memfd(&self) -> &File {
        &self.memfd
    }

    /// Copies `target` from pieces of guest memory, where its own first pixel is at `offset` and rows have the image's
    /// width. Says how many bytes were copied.
    pub fn transfer(&self, memory: &Memory, backing: &mut Backing, target: &Rect, offset: u64) -> Result<u64, Class> {
        if !self.layout.contains(target) {
            return Err(Class::TransferBox);
        }
        if target.width == 0 || target.height == 0 {
            return Ok(0);
        }
        let pitch = self.layout.pitch as usize;
        let rows = Rows {
            from: offset,
            from_pitch: u64::from(self.layout.width) * u64::from(BYTES_PER_PIXEL),
            to: target.y as usize * pitch + (target.x * BYTES_PER_PIXEL) as usize,
            to_pitch: pitch,
            bytes: (target.width * BYTES_PER_PIXEL) as usize,
            count: target.height,
        };
        backing.copy(memory, &self.map, rows)
    }

    /// Copies `target` from pieces of guest memory, where the whole picture's first pixel is at `offset` and rows are
    /// `stride` bytes apart. Says how many bytes were copied.
    pub fn copy_from(
        &self,
        memory: &Memory,
        backing: &mut Backing,
        target: &Rect,
        (offset, stride): (u64, u32),
    ) -> Result<u64, Class> {
        if !self.layout.contains(target) {
            return Err(Class::TransferBox);
        }
        if target.width == 0 || target.height == 0 {
            return Ok(0);
        }
        let pitch = self.layout.pitch as usize;
        let skipped = u64::from(target.y) * u64::from(stride) + u64::from(target.x * BYTES_PER_PIXEL);
        let rows = Rows {
            from: offset.checked_add(skipped).ok_or(Class::BackingShort)?,
            from_pitch: u64::from(stride),
            to: target.y as usize * pitch + (target.x * BYTES_PER_PIXEL) as usize,
            to_pitch: pitch,
            bytes: (target.width * BYTES_PER_PIXEL) as usize,
            count: target.height,
        };
        backing.copy(memory, &self.map, rows)
    }

    /// Tells a dmabuf's importers that the CPU has written to it. Free on machines whose caches are coherent.
    pub fn written(&self) {
        let Some(dmabuf) = self.shared.as_ref().and_then(|shared| shared.dmabuf.as_ref()) else { return };
        dmabuf.planes.iter().for_each(|plane| udmabuf::written(&plane.file));
    }

    /// One row's bytes, whatever its format, into `row`; what lies outside the image stays as it was.
    pub fn read_row(&self, y: u32, row: &mut [u8]) {
        let start = y as usize * self.layout.pitch as usize;
        let count = row.len().min((self.layout.width * BYTES_PER_PIXEL) as usize);
        let (Ok(source), Some(row)) = (self.map.get_slice(start, count), row.get_mut(..count)) else { return };
        source.copy_to(row);
    }
}

fn make_memfd() -> rustix::io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    match rustix::fs::memfd_create("phyllome-resource", flags | MemfdFlags::NOEXEC_SEAL) {
        // Linux before 6.3 does not know the flag.
        Err(rustix::io::Errno::INVAL) => rustix::fs::memfd_create("phyllome-resource", flags),
        result => result,
    }
}

/// A number that no other [`SharedBuffer`] of this process has.
pub fn next_buffer_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_aligned_and_sides_bounded() {
        let layout = Layout::new(1272, 768).unwrap();
        assert_eq!((layout.pitch, layout.bytes), (5120, 5120 * 768));
        assert_eq!(Layout::new(1, 1).unwrap().bytes, 4096);
        for (width, height) in [(0, 1), (1, 0), (MAX_SIDE + 1, 1), (1, u32::MAX), (u32::MAX, u32::MAX)] {
            assert_eq!(Layout::new(width, height), None);
        }
        assert_eq!(Layout::new(MAX_SIDE, MAX_SIDE).unwrap().bytes, 1 << 30);
    }

    #[test]
    fn rectangles_that_wrap_are_outside() {
        let layout = Layout::new(100, 50).unwrap();
        let inside = |x, y, width, height| layout.contains(&Rect { x, y, width, height });
        assert!(inside(0, 0, 100, 50) && inside(99, 49, 1, 1) && inside(100, 50, 0, 0));
        assert!(!inside(1, 0, 100, 1) && !inside(u32::MAX, 0, 2, 1) && !inside(0, 51, 0, 0));
    }

    #[test]
    fn memory_is_zeroed_and_cannot_be_cut_short() {
        let mut resource = HostImage::new(Layout::new(10, 10).unwrap(), Format::B8G8R8A8).unwrap();
        let mut row = [1; 40];
        resource.read_row(9, &mut row);
        assert_eq!(row, [0; 40]);
        let shared = resource.share(None).unwrap();
        assert!(rustix::fs::ftruncate(shared.memfd.as_ref().unwrap(), 0).is_err());
        assert!(rustix::fs::ftruncate(shared.memfd.as_ref().unwrap(), 1 << 20).is_err());
        assert_eq!(shared.id, resource.share(None).unwrap().id, "shared once");
    }
}
