//! Guest memory as vhost-user hands it over: mapped regions, and where QEMU has them in its own address space.
//!
//! A file of QEMU's is mapped only if the kernel says that it holds the region and cannot be cut short ([`holds`]: QEMU
//! seals its memfds); everything else is checked on every use, because the guest writes to this memory at any moment.
//! Nothing here ever makes a Rust reference into it.

use crate::renderer::{limits, wire};
use phyllome_protocol::descriptor::{Kind, describe};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use vm_memory::{GuestAddress, GuestMemoryMmap, GuestMemoryRegion, GuestRegionMmap};

/// Whether a file has `length` bytes from `offset` on, which can be read and written for as long as they are mapped,
/// whatever whoever sent it does with it.
pub fn holds(file: impl AsFd, offset: u64, length: u64) -> bool {
    let file = describe(file.as_fd());
    let memory = matches!(file.kind, Kind::Memory { .. }) && file.is_steady() && file.is_mappable_for_writing();
    memory && length > 0 && offset.checked_add(length).is_some_and(|end| end <= file.bytes)
}

/// One region.
#[derive(Clone, Debug)]
struct MappedRegion {
    map: Arc<GuestRegionMmap>,
    user_address: u64,
}

/// All of a guest's memory that this process sees. At first none.
#[derive(Debug, Default)]
pub struct Memory {
    /// In order of guest physical address; the same as in `map`.
    regions: Vec<MappedRegion>,
    map: GuestMemoryMmap,
    generation: u64,
    /// Where the guest has memory that is not its own: begin and length.
    foreign: Vec<(u64, u64)>,
}

impl Memory {
    /// Memory of these regions (mapping and QEMU's address of it). Fails where they overlap.
    pub fn replace(&mut self, regions: Vec<(GuestRegionMmap, u64)>) -> io::Result<()> {
        let regions =
            regions.into_iter().map(|(map, user_address)| MappedRegion { map: Arc::new(map), user_address }).collect();
        self.foreign.clear();
        self.set(regions)
    }

    /// One more region.
    pub fn add(&mut self, region: GuestRegionMmap, user_address: u64) -> io::Result<()> {
        let mut regions = self.regions.clone();
        regions.push(MappedRegion { map: Arc::new(region), user_address });
        self.set(regions)
    }

    /// There is memory of somebody else's: it is not mapped here and holds nothing of the guest's.
    pub fn add_foreign(&mut self, start: u64, length: u64) {
        self.foreign.push((start, length));
    }

    /// One region less; fails if there is none with that start and length.
    pub fn remove(&mut self, start: u64, length: u64) -> io::Result<()> {
        if let Some(index) = self.foreign.iter().position(|&region| region == (start, length)) {
            self.foreign.swap_remove(index);
            return Ok(());
        }
        let is_it = |region: &MappedRegion| region.map.start_addr().0 == start && region.map.len() == length;
        let mut regions = self.regions.clone();
        let index = regions.iter().position(is_it).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        regions.remove(index);
        self.set(regions)
    }

    /// No memory at all.
    pub fn clear(&mut self) {
        self.foreign.clear();
        self.clear_own();
    }

    fn clear_own(&mut self) {
        self.regions.clear();
        self.map = GuestMemoryMmap::new();
        self.generation += 1;
    }

    fn set(&mut self, mut regions: Vec<MappedRegion>) -> io::Result<()> {
        if regions.is_empty() {
            self.clear_own();
            return Ok(());
        }
        regions.sort_by_key(|region| region.map.start_addr());
        let maps = regions.iter().map(|region| region.map.clone()).collect();
        self.map = GuestMemoryMmap::from_arc_regions(maps).map_err(io::Error::other)?;
        self.regions = regions;
        self.generation += 1;
        Ok(())
    }

    /// How many regions of the guest's own.
    pub fn count(&self) -> usize {
        self.regions.len()
    }

    /// How many of somebody else's.
    pub fn foreign_count(&self) -> usize {
        self.foreign.len()
    }

    /// The regions and their files, for another process. A region without a file is left out.
    pub fn shared(&self) -> (Vec<wire::Region>, Vec<BorrowedFd<'_>>) {
        let shared = self.regions.iter().take(limits::MAX_REGIONS).filter_map(|region| {
            let file = region.map.file_offset()?;
            let (address, length) = (region.map.start_addr().0, region.map.len());
            Some((wire::Region { address, length, offset: file.start() }, file.file().as_fd()))
        });
        shared.unzip()
    }

    /// vm-memory's view.
    pub fn map(&self) -> &GuestMemoryMmap {
        &self.map
    }

    /// Changes whenever the regions do: what was resolved under another generation is to be resolved again.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The region of that index.
    pub fn region(&self, index: usize) -> Option<&GuestRegionMmap> {
        self.regions.get(index).map(|region| region.map.as_ref())
    }

    /// The region that holds `address`, how far into it that is, and how many bytes the region has from there on.
    pub fn find(&self, address: u64) -> Option<(usize, u64, u64)> {
        let after = self.regions.partition_point(|region| region.map.start_addr().0 <= address);
        let index = after.checked_sub(1)?;
        let region = &self.regions.get(index)?.map;
        let offset = address - region.start_addr().0;
        let left = region.len().checked_sub(offset).filter(|&left| left > 0)?;
        Some((index, offset, left))
    }

    /// A guest physical address for an address in QEMU's own space (which vhost-user uses for rings).
    pub fn guest_address(&self, address: u64) -> Option<GuestAddress> {
        self.regions.iter().find_map(|region| {
            let offset = address.checked_sub(region.user_address).filter(|&offset| offset < region.map.len())?;
            region.map.start_addr().0.checked_add(offset).map(GuestAddress)
        })
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use std::os::fd::AsRawFd;

    /// Memory without files; QEMU's addresses are the guest's + 2^40.
    pub fn memory(ranges: &[(u64, usize)]) -> Memory {
        let mut memory = Memory::default();
        let region = |&(start, length): &(u64, usize)| {
            (GuestRegionMmap::from_range(GuestAddress(start), length, None).unwrap(), start + (1 << 40))
        };
        memory.replace(ranges.iter().map(region).collect()).unwrap();
        memory
    }

    #[test]
    fn addresses_are_found_in_their_region_and_nowhere_else() {
        let memory = memory(&[(0x10_0000, 0x2000), (0x1000, 0x1000)]);
        assert_eq!(memory.find(0x1fff), Some((0, 0xfff, 1)));
        assert_eq!(memory.find(0x10_0000), Some((1, 0, 0x2000)));
        for outside in [0, 0xfff, 0x2000, 0xf_ffff, 0x10_2000, u64::MAX] {
            assert_eq!(memory.find(outside), None, "{outside:#x}");
        }
        assert_eq!(memory.guest_address((1 << 40) + 0x10_0008), Some(GuestAddress(0x10_0008)));
        assert_eq!(memory.guest_address(0x1000), None);
    }

    #[test]
    fn only_memory_that_stays_there_whole_is_mapped() {
        let sealed = phyllome_test_support::memory::sealed(0x4000).unwrap();
        assert!(holds(&sealed, 0, 0x4000) && holds(&sealed, 0x3000, 0x1000));
        for (offset, length) in [(0, 0), (0, 0x4001), (0x3001, 0x1000), (u64::MAX, 1), (1, u64::MAX)] {
            assert!(!holds(&sealed, offset, length), "{offset:#x} {length:#x}");
        }
        let unsealed = phyllome_test_support::memory::zeros(0x4000).unwrap();
        let zero = std::fs::File::options().read(true).write(true).open("/dev/zero").unwrap();
        let file = tempfile::tempfile_in(".").unwrap();
        file.set_len(0x4000).unwrap();
        let read_only = std::fs::File::open(format!("/proc/self/fd/{}", sealed.as_raw_fd())).unwrap();
        let kept = phyllome_test_support::memory::sealed(0x4000).unwrap();
        rustix::fs::fcntl_add_seals(&kept, rustix::fs::SealFlags::FUTURE_WRITE).unwrap();
        let files: [(&str, &dyn AsFd); 5] = [
            ("unsealed", &unsealed),
            ("/dev/zero", &zero),
            ("a file on a disk", &file),
            ("read only", &read_only),
            ("sealed against writing", &kept),
        ];
        for (what, file) in files {
            assert!(!holds(file.as_fd(), 0, 0x1000), "{what}");
        }
        let flags = rustix::fs::MemfdFlags::HUGETLB | rustix::fs::MemfdFlags::ALLOW_SEALING;
        match rustix::fs::memfd_create("huge", flags) {
            Ok(huge) => {
                rustix::fs::ftruncate(&huge, 2 << 20).unwrap();
                rustix::fs::fcntl_add_seals(&huge, rustix::fs::SealFlags::SHRINK).unwrap();
                assert!(!holds(&huge, 0, 0x1000), "huge pages may have run out when they are touched");
            }
            Err(error) => println!("SKIPPED: this kernel makes no memory of huge pages: {error}"),
        }
    }

    #[test]
    fn a_table_that_overlaps_changes_nothing() {
        let mut memory = memory(&[(0x1000, 0x1000)]);
        let generation = memory.generation();
        let overlapping = GuestRegionMmap::from_range(GuestAddress(0x1800), 0x1000, None).unwrap();
        assert!(memory.add(overlapping, 0).is_err());
        assert_eq!((memory.count(), memory.generation()), (1, generation));
        memory.remove(0x1000, 0x1000).unwrap();
        assert!(memory.remove(0x1000, 0x1000).is_err());
        assert_eq!(memory.find(0x1000), None);
    }
}
