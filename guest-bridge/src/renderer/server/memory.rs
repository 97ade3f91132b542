//! Memory of others that the library reads and writes: guest memory, backings that are made of it, files of
//! phyllome-guest's, and targets that pixels are read back into.
//!
//! A file is mapped only if the kernel says that it has that many bytes and cannot be cut short. A [`Backing`] keeps
//! the maps that its pieces lie in, so that what the library was given stays mapped until the backing is dropped,
//! whatever happens to the guest's memory map meanwhile. Nobody here makes a reference to shared memory; the guest
//! writes to it as it likes.

use crate::renderer::wire::{Piece, ReadBack, Region};
use phyllome_protocol::descriptor::{Kind, describe};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags};
use std::ffi::c_void;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Most bytes of one backing: the library counts them in 32 bits.
pub const MAX_BACKING: u64 = u32::MAX as u64 - 4095;
/// Most pieces of one backing once they are cut at the ends of regions.
pub const MAX_PIECES: usize = 1 << 18;
/// Most bytes of a target or a file.
pub const MAX_FILE: u64 = 1 << 30;
const PAGE: u64 = 4096;

/// A shared map of a part of a file, until it is dropped.
#[derive(Debug)]
pub struct Map {
    start: NonNull<c_void>,
    mapped: usize,
    /// From `start` to the first byte that was asked for.
    skip: usize,
}

impl Map {
    /// `length` bytes of `file` from `offset`. EINVAL if the file has fewer, EPERM if it is no memory whose size is
    /// sealed.
    fn new(file: BorrowedFd<'_>, offset: u64, length: u64) -> Result<Self, Errno> {
        let described = describe(file);
        if !matches!(described.kind, Kind::Memory { .. }) || !described.is_steady() {
            return Err(Errno::PERM);
        }
        let end = offset.checked_add(length).ok_or(Errno::INVAL)?;
        if length == 0 || end > described.bytes {
            return Err(Errno::INVAL);
        }
        let skip = offset % PAGE;
        let mapped = usize::try_from(length + skip).map_err(|_| Errno::INVAL)?;
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: the kernel chooses the place, so nothing that exists is replaced; no reference to the memory is ever
        // made.
        let start = unsafe {
            rustix::mm::mmap(std::ptr::null_mut(), mapped, protection, MapFlags::SHARED, file, offset - skip)
        }?;
        let start = NonNull::new(start).ok_or(Errno::NOMEM)?;
        Ok(Self { start, mapped, skip: skip as usize })
    }

    /// A file of phyllome-guest's from its beginning. EINVAL or EPERM as above.
    pub fn sealed(file: &OwnedFd, length: u64) -> Result<Self, Errno> {
        if length > MAX_FILE {
            return Err(Errno::INVAL);
        }
        Self::new(file.as_fd(), 0, length)
    }

    fn at(&self, offset: usize) -> *mut c_void {
        self.start.as_ptr().wrapping_byte_add(self.skip).wrapping_byte_add(offset)
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: exactly what `new` mapped. Whoever holds an address in it holds the map too.
        let _ = unsafe { rustix::mm::munmap(self.start.as_ptr(), self.mapped) };
    }
}

/// The guest's memory.
#[derive(Debug, Default)]
pub struct GuestMemory {
    /// In the order of their addresses, none overlapping another.
    regions: Vec<(Region, Rc<Map>)>,
}

impl GuestMemory {
    /// Maps `regions`, each from its file. EINVAL if one is empty, reaches beyond its file or the address space, or
    /// overlaps another.
    pub fn new(regions: &[Region], files: &[OwnedFd]) -> Result<Self, Errno> {
        let mut mapped = Vec::with_capacity(regions.len());
        for (region, file) in regions.iter().zip(files) {
            region.address.checked_add(region.length).ok_or(Errno::INVAL)?;
            mapped.push((*region, Rc::new(Map::new(file.as_fd(), region.offset, region.length)?)));
        }
        mapped.sort_by_key(|(region, _)| region.address);
        let overlap = mapped
            .windows(2)
            .any(|pair| matches!(pair, [(one, _), (two, _)] if one.address.saturating_add(one.length) > two.address));
        if overlap { Err(Errno::INVAL) } else { Ok(Self { regions: mapped }) }
    }

    /// What `pieces` are at now. EFAULT if a byte of them is in no region, EINVAL if they are nothing or too much.
    pub fn resolve(&self, pieces: &[Piece]) -> Result<Backing, Errno> {
        let mut backing = Backing::default();
        for piece in pieces {
            let (mut address, mut left) = (piece.address, u64::from(piece.length));
            while left > 0 {
                let (at, map, room) = self.find(address).ok_or(Errno::FAULT)?;
                let part = room.min(left);
                backing.push(map, at, part)?;
                left -= part;
                address = address.checked_add(part).ok_or(Errno::FAULT)?;
            }
        }
        if backing.length == 0 { Err(Errno::INVAL) } else { Ok(backing) }
    }

    /// The map of an address, where it is there, and the bytes that follow in it.
    fn find(&self, address: u64) -> Option<(usize, &Rc<Map>, u64)> {
        let after = self.regions.partition_point(|(region, _)| region.address <= address);
        let (region, map) = self.regions.get(after.checked_sub(1)?)?;
        let at = address - region.address;
        let room = region.length.checked_sub(at).filter(|&room| room > 0)?;
        Some((usize::try_from(at).ok()?, map, room))
    }
}

/// A list of pieces of mapped memory, and the maps. It stays at its address while it is moved, as the library keeps
/// that.
#[derive(Debug, Default)]
pub struct Backing {
    iovecs: Vec<libc::iovec>,
    length: u64,
    maps: Vec<Rc<Map>>,
}

impl Backing {
    /// The first `length` bytes of a file.
    pub fn file(map: &Rc<Map>, length: u64) -> Result<Self, Errno> {
        let mut backing = Self::default();
        backing.push(map, 0, length)?;
        Ok(backing)
    }

    fn push(&mut self, map: &Rc<Map>, at: usize, length: u64) -> Result<(), Errno> {
        let total = self.length.checked_add(length).filter(|&total| total <= MAX_BACKING).ok_or(Errno::INVAL)?;
        let bytes = usize::try_from(length).map_err(|_| Errno::INVAL)?;
        let inside = at.checked_add(bytes).is_some_and(|end| end <= map.mapped - map.skip);
        if !inside || self.iovecs.len() >= MAX_PIECES {
            return Err(Errno::INVAL);
        }
        if !self.maps.iter().any(|kept| Rc::ptr_eq(kept, map)) {
            self.maps.push(map.clone());
        }
        self.iovecs.push(libc::iovec { iov_base: map.at(at), iov_len: bytes });
        self.length = total;
        Ok(())
    }

    /// Bytes.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// How many pieces, at most [`MAX_PIECES`].
    pub fn count(&self) -> u32 {
        self.iovecs.len() as u32
    }

    /// Where the list is, for as long as this lives unchanged.
    pub fn as_mut_ptr(&mut self) -> *mut libc::iovec {
        self.iovecs.as_mut_ptr()
    }
}

/// Memory that pixels are read back into.
#[derive(Debug)]
pub struct Target {
    map: Rc<Map>,
    length: u64,
}

impl Target {
    /// `length` bytes of a sealed file.
    pub fn new(file: &OwnedFd, length: u64) -> Result<Self, Errno> {
        Ok(Self { map: Rc::new(Map::sealed(file, length)?), length })
    }

    /// Bytes.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// All of it.
    pub fn backing(&self) -> Result<Backing, Errno> {
        Backing::file(&self.map, self.length)
    }

    /// Exchanges the first and the third byte of each pixel of `part`, whose offset and stride are multiples of 4.
    /// Pixels beyond the target are left out.
    pub fn swap_red_and_blue(&self, part: &ReadBack) {
        for row in 0..u64::from(part.height) {
            let start = part.offset + (u64::from(part.y) + row) * u64::from(part.stride) + u64::from(part.x) * 4;
            for column in 0..u64::from(part.width) {
                let at = start + column * 4;
                if !at.is_multiple_of(4) || at + 4 > self.length {
                    return;
                }
                // SAFETY: four bytes inside the map, at a multiple of four from its page; whoever shares them may
                // change them at any time, which an atomic allows.
                let pixel = unsafe { AtomicU32::from_ptr(self.map.at(at as usize).cast()) };
                let value = pixel.load(Ordering::Relaxed).to_le();
                let swapped = value & 0xff00_ff00 | (value & 0xff) << 16 | value >> 16 & 0xff;
                pixel.store(swapped.to_le(), Ordering::Relaxed);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(bytes: u64) -> OwnedFd {
        phyllome_test_support::memory::sealed(bytes).unwrap()
    }

    fn piece(address: u64, length: u32) -> Piece {
        Piece { address, length }
    }

    fn region(address: u64, length: u64, offset: u64) -> Region {
        Region { address, length, offset }
    }

    #[test]
    fn pieces_are_cut_at_the_ends_of_regions() {
        let regions = [region(0x3000, 0x1000, 0x800), region(0x1000, 0x2000, 0)];
        let memory = GuestMemory::new(&regions, &[file(0x2000), file(0x2000)]).unwrap();
        let backing = memory.resolve(&[piece(0x2ff0, 0x20), piece(0x1000, 4)]).unwrap();
        assert_eq!((backing.count(), backing.length()), (3, 0x24));
    }

    #[test]
    fn what_is_in_no_region_is_refused() {
        let memory = GuestMemory::new(&[region(0x1000, 0x1000, 0)], &[file(0x1000)]).unwrap();
        for (address, length) in [(0xfff, 1), (0x1fff, 2), (0x2000, 1), (0, u32::MAX), (u64::MAX, 1)] {
            assert_eq!(memory.resolve(&[piece(address, length)]).unwrap_err(), Errno::FAULT, "{address:#x}");
        }
        assert_eq!(memory.resolve(&[]).unwrap_err(), Errno::INVAL);
        assert_eq!(memory.resolve(&[piece(0x1000, 0)]).unwrap_err(), Errno::INVAL);
        assert_eq!(GuestMemory::default().resolve(&[piece(0, 1)]).unwrap_err(), Errno::FAULT);
    }

    #[test]
    fn regions_stay_inside_their_files_and_apart() {
        for bad in [region(0, 0x2000, 0), region(0, 0, 0), region(0, 1, u64::MAX), region(u64::MAX, 0x1000, 0)] {
            assert!(GuestMemory::new(&[bad], &[file(0x1000)]).is_err(), "{bad:?}");
        }
        let zero = OwnedFd::from(std::fs::File::options().read(true).write(true).open("/dev/zero").unwrap());
        let unsealed = phyllome_test_support::memory::zeros(0x1000).unwrap();
        for cut in [zero, unsealed] {
            assert_eq!(GuestMemory::new(&[region(0, 0x1000, 0)], &[cut]).unwrap_err(), Errno::PERM);
        }
        let overlapping = [region(0, 0x1000, 0), region(0xfff, 0x1000, 0)];
        assert!(GuestMemory::new(&overlapping, &[file(0x1000), file(0x1000)]).is_err());
    }

    #[test]
    fn a_backing_is_bounded_and_outlives_its_map_of_the_guest() {
        let memory = GuestMemory::new(&[region(0, 1 << 31, 0)], &[file(1 << 31)]).unwrap();
        assert!(memory.resolve(&[piece(0, 1 << 31), piece(0, 1 << 31)]).is_err());
        let backing = memory.resolve(&[piece(0, 16)]).unwrap();
        drop(memory);
        let first = backing.iovecs[0].iov_base.cast::<u8>();
        // SAFETY: the backing keeps its map.
        assert_eq!(unsafe { first.read_volatile() }, 0);
    }

    #[test]
    fn a_target_is_sealed_and_its_pixels_change_their_order() {
        let memfd = phyllome_test_support::memory::zeros(0x1000).unwrap();
        assert_eq!(Target::new(&memfd, 64).unwrap_err(), Errno::PERM);
        rustix::fs::fcntl_add_seals(&memfd, rustix::fs::SealFlags::SHRINK).unwrap();
        assert_eq!(Target::new(&memfd, 0x1001).unwrap_err(), Errno::INVAL);
        rustix::io::pwrite(&memfd, &[1, 2, 3, 4, 5, 6, 7, 8], 32).unwrap();
        let target = Target::new(&memfd, 0x1000).unwrap();
        target.swap_red_and_blue(&ReadBack { x: 1, y: 1, width: 1, height: 1, stride: 16, offset: 16 });
        let mut bytes = [0; 8];
        rustix::io::pread(&memfd, &mut bytes, 32).unwrap();
        assert_eq!(bytes, [1, 2, 3, 4, 7, 6, 5, 8]);
    }
}
