//! A resource's backing: which pieces of guest memory hold its pixels, and the copy out of them.
//!
//! Addresses are the guest's. They are resolved against the memory table when they are attached and again whenever the
//! table has changed, so that no copy ever uses a mapping that is gone. The guest may write to the memory during a
//! copy; the copy then has some of both, as on real hardware, and nothing else happens.

use super::class::Class;
use super::memory::Memory;
use super::udmabuf;
use super::wire::MemEntry;
use crate::renderer::wire;
use std::os::fd::AsFd;
use vm_memory::{GuestMemoryRegion, MemoryRegionAddress, MmapRegion, VolatileMemory, VolatileSlice};

/// Contiguous guest memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    address: u64,
    length: u64,
}

/// A part of a span that lies in one region.
#[derive(Clone, Copy, Debug)]
struct Piece {
    /// Where it begins in the backing.
    start: u64,
    length: u64,
    region: usize,
    /// Where it begins in the region.
    offset: u64,
}

/// The backing of one resource.
#[derive(Debug)]
pub struct Backing {
    spans: Vec<Span>,
    pieces: Vec<Piece>,
    /// How many entries the guest gave: what the quota counts.
    entries: usize,
    length: u64,
    generation: u64,
}

/// Rows of pixels: where they begin in the backing and in the resource, and how far one is from the next.
#[derive(Clone, Copy, Debug)]
pub struct Rows {
    /// Bytes from the beginning of the backing.
    pub from: u64,
    /// Bytes from one row to the next in the backing.
    pub from_pitch: u64,
    /// Bytes from the beginning of the resource's memory.
    pub to: usize,
    /// Bytes from one row to the next in the resource.
    pub to_pitch: usize,
    /// Bytes of each row.
    pub bytes: usize,
    /// How many.
    pub count: u32,
}

impl Backing {
    /// Checks that all entries lie in guest memory. Empty entries are allowed and skipped; neighbours become one.
    pub fn new(entries: impl Iterator<Item = MemEntry>, memory: &Memory) -> Result<Self, Class> {
        let mut spans: Vec<Span> = Vec::new();
        let mut count = 0;
        for MemEntry { address, length } in entries {
            count += 1;
            let length = u64::from(length);
            match spans.last_mut() {
                _ if length == 0 => {}
                Some(last) if last.address.checked_add(last.length) == Some(address) => last.length += length,
                _ => spans.push(Span { address, length }),
            }
        }
        spans.shrink_to_fit();
        let mut backing = Self { spans, pieces: Vec::new(), entries: count, length: 0, generation: 0 };
        backing.resolve(memory)?;
        Ok(backing)
    }

    /// Bytes in all.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The pieces as the renderer is told of them.
    pub fn wire_pieces(&self) -> impl Iterator<Item = wire::Piece> {
        const MOST: u64 = u32::MAX as u64 & !0xfff;
        self.spans.iter().flat_map(|&Span { address, length }| {
            (0..length.div_ceil(MOST)).map(move |index| {
                let start = index * MOST;
                wire::Piece { address: address.wrapping_add(start), length: (length - start).min(MOST) as u32 }
            })
        })
    }

    /// How many entries the guest gave.
    pub fn entries(&self) -> usize {
        self.entries
    }

    /// The files that hold `length` bytes from `offset` on, in order, if all of that is whole pages of files.
    pub fn parts<'m>(&mut self, memory: &'m Memory, offset: u64, length: u64) -> Option<Vec<udmabuf::Part<'m>>> {
        self.resolve_again(memory).ok()?;
        let end = offset.checked_add(length).filter(|&end| end <= self.length)?;
        let mut parts = Vec::new();
        for piece in self.pieces.iter().filter(|piece| piece.start < end && piece.start + piece.length > offset) {
            let skip = offset.saturating_sub(piece.start);
            let size = (end - piece.start).min(piece.length) - skip;
            let file = memory.region(piece.region)?.file_offset()?;
            let offset = file.start().checked_add(piece.offset + skip)?;
            if !offset.is_multiple_of(udmabuf::PAGE) || !size.is_multiple_of(udmabuf::PAGE) {
                return None;
            }
            parts.push(udmabuf::Part { file: file.file().as_fd(), offset, size });
        }
        Some(parts)
    }

    /// Resolves what was resolved in another memory, or in none.
    fn resolve_again(&mut self, memory: &Memory) -> Result<(), Class> {
        let missing = self.pieces.is_empty() && !self.spans.is_empty();
        if self.generation != memory.generation() || missing { self.resolve(memory) } else { Ok(()) }
    }

    fn resolve(&mut self, memory: &Memory) -> Result<(), Class> {
        self.pieces.clear();
        self.generation = memory.generation();
        let mut start = 0u64;
        for span in &self.spans {
            let Span { mut address, length: mut left } = *span;
            while left > 0 {
                let Some((region, offset, room)) = memory.find(address) else {
                    self.pieces.clear();
                    return Err(Class::BackingAddress);
                };
                let length = left.min(room);
                self.pieces.push(Piece { start, length, region, offset });
                start += length;
                left -= length;
                address = address.wrapping_add(length);
            }
        }
        self.length = start;
        self.pieces.shrink_to_fit();
        Ok(())
    }

    /// Copies rows into `target`, once, and says how many bytes that were. `target` must have room for them.
    pub fn copy(&mut self, memory: &Memory, target: &MmapRegion, rows: Rows) -> Result<u64, Class> {
        self.resolve_again(memory)?;
        let rows = rows.joined();
        let bytes = rows.bytes as u64;
        let Some(last) = u64::from(rows.count).checked_sub(1) else { return Ok(0) };
        let end = last.checked_mul(rows.from_pitch).and_then(|at| at.checked_add(rows.from)?.checked_add(bytes));
        if end.is_none_or(|end| end > self.length) {
            return Err(Class::BackingShort);
        }
        let first = self.pieces.partition_point(|piece| piece.start + piece.length <= rows.from);
        let mut pieces = self.pieces.get(first..).unwrap_or_default();
        let (mut from, mut to) = (rows.from, rows.to);
        for _ in 0..rows.count {
            let row = target.get_slice(to, rows.bytes).map_err(|_| Class::TransferBox)?;
            while pieces.first().is_some_and(|piece| piece.start + piece.length <= from) {
                pieces = pieces.get(1..).unwrap_or_default();
            }
            copy_row(memory, pieces, from, &row)?;
            from = from.wrapping_add(rows.from_pitch);
            to = to.wrapping_add(rows.to_pitch);
        }
        Ok(bytes * u64::from(rows.count))
    }
}

impl Rows {
    /// Whole rows that follow each other without a gap on both sides are one long row.
    fn joined(self) -> Self {
        let gapless = self.from_pitch == self.bytes as u64 && self.to_pitch == self.bytes;
        match self.bytes.checked_mul(self.count as usize) {
            Some(bytes) if gapless && self.count > 1 => Self { bytes, count: 1, ..self },
            _ => self,
        }
    }
}

/// Copies one row that begins at `from`, which lies in the first of `pieces`.
fn copy_row(memory: &Memory, pieces: &[Piece], from: u64, row: &VolatileSlice<'_>) -> Result<(), Class> {
    let (mut at, mut done) = (from, 0);
    for piece in pieces {
        if done == row.len() {
            break;
        }
        let skip = at.checked_sub(piece.start).ok_or(Class::BackingShort)?;
        let count = piece.length.saturating_sub(skip).min((row.len() - done) as u64) as usize;
        let region = memory.region(piece.region).ok_or(Class::BackingAddress)?;
        let source =
            region.get_slice(MemoryRegionAddress(piece.offset + skip), count).map_err(|_| Class::BackingAddress)?;
        source.copy_to_volatile_slice(row.offset(done).map_err(|_| Class::TransferBox)?);
        at += count as u64;
        done += count;
    }
    if done == row.len() { Ok(()) } else { Err(Class::BackingShort) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::memory::tests::memory;
    use proptest::prelude::*;
    use vm_memory::{Bytes, GuestAddress};

    fn entry(address: u64, length: u32) -> MemEntry {
        MemEntry { address, length }
    }

    fn filled(ranges: &[(u64, usize)]) -> Memory {
        let memory = memory(ranges);
        for &(start, length) in ranges {
            let bytes: Vec<u8> = (0..length).map(|at| (start as usize + at) as u8 ^ (at >> 8) as u8).collect();
            memory.map().write_slice(&bytes, GuestAddress(start)).unwrap();
        }
        memory
    }

    fn target() -> MmapRegion {
        MmapRegion::new(0x4000).unwrap()
    }

    fn read(target: &MmapRegion, at: usize, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        target.get_slice(at, count).unwrap().copy_to(&mut bytes[..]);
        bytes
    }

    #[test]
    fn an_entry_outside_guest_memory_is_refused_and_one_across_two_regions_is_not() {
        let memory = filled(&[(0x1000, 0x1000), (0x2000, 0x1000)]);
        for bad in [entry(0, 1), entry(0x2fff, 2), entry(u64::MAX, 2), entry(0x1000, u32::MAX)] {
            assert_eq!(Backing::new([bad].into_iter(), &memory).unwrap_err(), Class::BackingAddress);
        }
        let mut backing = Backing::new([entry(0x1ffc, 8), entry(0x1000, 0)].into_iter(), &memory).unwrap();
        assert_eq!((backing.entries(), backing.pieces.len()), (2, 2));
        let target = target();
        let rows = Rows { from: 0, from_pitch: 8, to: 4, to_pitch: 8, bytes: 8, count: 1 };
        assert_eq!(backing.copy(&memory, &target, rows), Ok(8));
        let mut expected = [0; 8];
        memory.map().read_slice(&mut expected, GuestAddress(0x1ffc)).unwrap();
        assert_eq!(read(&target, 4, 8), expected);
    }

    #[test]
    fn a_row_beyond_the_end_is_refused_before_anything_is_copied() {
        let memory = filled(&[(0x1000, 0x1000)]);
        let mut backing = Backing::new([entry(0x1000, 100)].into_iter(), &memory).unwrap();
        let rows = Rows { from: 0, from_pitch: 40, to: 0, to_pitch: 64, bytes: 40, count: 3 };
        let target = target();
        assert_eq!(backing.copy(&memory, &target, rows), Err(Class::BackingShort));
        assert_eq!(read(&target, 0, 64), [0; 64]);
        let far = Rows { from: u64::MAX - 3, ..rows };
        assert_eq!(backing.copy(&memory, &target, far), Err(Class::BackingShort));
        assert_eq!(backing.copy(&memory, &target, Rows { count: 2, ..rows }), Ok(80));
    }

    #[test]
    fn a_changed_memory_table_is_looked_at_again() {
        let mut memory = filled(&[(0x1000, 0x1000), (0x8000, 0x1000)]);
        let mut backing = Backing::new([entry(0x8000, 16)].into_iter(), &memory).unwrap();
        let rows = Rows { from: 0, from_pitch: 16, to: 0, to_pitch: 16, bytes: 16, count: 1 };
        memory.remove(0x1000, 0x1000).unwrap();
        assert_eq!(backing.copy(&memory, &target(), rows), Ok(16));
        memory.clear();
        assert_eq!(backing.copy(&memory, &target(), rows), Err(Class::BackingAddress));
        assert_eq!(backing.copy(&memory, &target(), rows), Err(Class::BackingAddress), "and stays so");
        for _ in 0..2 {
            assert!(backing.parts(&memory, 0, 16).is_none(), "no pages are not its pages");
        }
    }

    proptest! {
        /// Whatever the pieces and rows: what is copied is what a byte-by-byte copy would have copied.
        #[test]
        fn any_rows_from_any_pieces_arrive_unchanged(
            entries in prop::collection::vec((0u64..0x1000, 0u32..300), 1..20),
            from in 0u64..200, from_pitch in 1u64..200, to in 0usize..100, to_pitch in 1usize..300,
            bytes in 1usize..200, count in 1u32..10,
        ) {
            let memory = filled(&[(0x1000, 0x800), (0x1800, 0x1000)]);
            let list: Vec<_> = entries.iter().map(|&(at, length)| entry(0x1000 + at, length)).collect();
            let mut flat = Vec::new();
            for piece in &list {
                let mut bytes = vec![0; piece.length as usize];
                memory.map().read_slice(&mut bytes, GuestAddress(piece.address)).unwrap();
                flat.extend(bytes);
            }
            let (to_pitch, from_pitch) = (to_pitch.max(bytes), from_pitch.max(bytes as u64));
            let mut backing = Backing::new(list.into_iter(), &memory).unwrap();
            let target = target();
            let rows = Rows { from, from_pitch, to, to_pitch, bytes, count };
            let fits = from + from_pitch * u64::from(count - 1) + bytes as u64 <= flat.len() as u64;
            let result = backing.copy(&memory, &target, rows);
            prop_assert_eq!(result, if fits { Ok(bytes as u64 * u64::from(count)) } else { Err(Class::BackingShort) });
            for row in (0..count as usize).filter(|_| fits) {
                let start = from as usize + row * from_pitch as usize;
                prop_assert_eq!(read(&target, to + row * to_pitch, bytes), &flat[start..start + bytes]);
            }
        }
    }
}
