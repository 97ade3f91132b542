//! Descriptor chains (virtio 1.3, 2.7): from a head to the pieces of guest memory that hold a request and take its
//! response.
//!
//! The guest may change descriptors at any moment, so each is read once, by value. Loops, tables in tables, tables that
//! are too long, indices beyond the ring, readable after writable: the chain is broken, and its head still goes back.

use super::memory::Memory;
use super::wire::MAX_REQUEST;
use vm_memory::{Bytes, GuestAddress};

/// Most descriptors in one chain, tables included.
pub const MAX_DESCRIPTORS: u16 = 1024;

const NEXT: u16 = 1;
const WRITE: u16 = 2;
const INDIRECT: u16 = 4;
const DESCRIPTOR: u64 = 16;

/// Why a chain is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken;

/// A piece of guest memory, not yet looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Piece {
    address: u64,
    length: u32,
}

/// The pieces of one chain. Used again for every chain, so that none is allocated per command.
#[derive(Debug, Default)]
pub struct Chain {
    readable: Vec<Piece>,
    writable: Vec<Piece>,
}

/// Where descriptors are.
#[derive(Clone, Copy, Debug)]
pub struct Table {
    /// Guest physical address.
    pub address: u64,
    /// How many there are.
    pub size: u16,
}

struct Descriptor {
    address: u64,
    length: u32,
    flags: u16,
    next: u16,
}

impl Table {
    fn read(&self, memory: &Memory, index: u16) -> Result<Descriptor, Broken> {
        if index >= self.size {
            return Err(Broken);
        }
        let at = self.address.checked_add(u64::from(index) * DESCRIPTOR).ok_or(Broken)?;
        let mut bytes = [0u8; DESCRIPTOR as usize];
        memory.map().read_slice(&mut bytes, GuestAddress(at)).map_err(|_| Broken)?;
        let [a0, a1, a2, a3, a4, a5, a6, a7, l0, l1, l2, l3, f0, f1, n0, n1] = bytes;
        Ok(Descriptor {
            address: u64::from_le_bytes([a0, a1, a2, a3, a4, a5, a6, a7]),
            length: u32::from_le_bytes([l0, l1, l2, l3]),
            flags: u16::from_le_bytes([f0, f1]),
            next: u16::from_le_bytes([n0, n1]),
        })
    }
}

impl Chain {
    /// Follows the chain that begins at `head`. After an error the chain is empty.
    pub fn walk(&mut self, memory: &Memory, ring: Table, head: u16, indirect_allowed: bool) -> Result<(), Broken> {
        self.readable.clear();
        self.writable.clear();
        let result = self.follow(memory, ring, head, indirect_allowed);
        if result.is_err() {
            self.readable.clear();
            self.writable.clear();
        }
        result
    }

    fn follow(&mut self, memory: &Memory, ring: Table, head: u16, indirect_allowed: bool) -> Result<(), Broken> {
        let (mut table, mut index, mut in_table) = (ring, head, false);
        // A chain without a loop has no more descriptors than its table.
        let mut left = table.size.min(MAX_DESCRIPTORS);
        loop {
            left = left.checked_sub(1).ok_or(Broken)?;
            let descriptor = table.read(memory, index)?;
            if descriptor.flags & INDIRECT != 0 {
                if in_table || !indirect_allowed || descriptor.flags & NEXT != 0 {
                    return Err(Broken);
                }
                let bytes = u64::from(descriptor.length);
                let size = u16::try_from(bytes / DESCRIPTOR).map_err(|_| Broken)?;
                if bytes % DESCRIPTOR != 0 || size == 0 || size > MAX_DESCRIPTORS {
                    return Err(Broken);
                }
                (table, index, in_table) = (Table { address: descriptor.address, size }, 0, true);
                left = size;
                continue;
            }
            self.push(&descriptor)?;
            if descriptor.flags & NEXT == 0 {
                return Ok(());
            }
            index = descriptor.next;
        }
    }

    fn push(&mut self, descriptor: &Descriptor) -> Result<(), Broken> {
        let piece = Piece { address: descriptor.address, length: descriptor.length };
        if descriptor.flags & WRITE != 0 {
            self.writable.push(piece);
        } else if self.writable.is_empty() {
            self.readable.push(piece);
        } else {
            return Err(Broken);
        }
        Ok(())
    }

    /// Where the response goes, for one that is written later.
    pub fn response_place(&self) -> Self {
        Self { readable: Vec::new(), writable: self.writable.clone() }
    }

    /// How many bytes the response may have.
    pub fn room(&self) -> u64 {
        self.writable.iter().map(|piece| u64::from(piece.length)).sum()
    }

    /// Copies the request into `request`, at most [`MAX_REQUEST`] bytes of it. Fails where it lies outside guest
    /// memory.
    pub fn copy_request(&self, memory: &Memory, request: &mut Vec<u8>) -> Result<(), Broken> {
        request.clear();
        for piece in &self.readable {
            let start = request.len();
            let count = (piece.length as usize).min(MAX_REQUEST - start);
            if count == 0 {
                continue;
            }
            memory.find(piece.address).ok_or(Broken)?;
            request.resize(start + count, 0);
            let target = request.get_mut(start..).unwrap_or_default();
            memory.map().read_slice(target, GuestAddress(piece.address)).map_err(|_| Broken)?;
        }
        Ok(())
    }

    /// Writes as much of the response as there is room for, and says how much that was.
    pub fn write_response(&self, memory: &Memory, response: &[u8]) -> Result<u32, Broken> {
        let mut rest = response;
        for piece in &self.writable {
            let (now, later) = rest.split_at(rest.len().min(piece.length as usize));
            if !now.is_empty() {
                memory.map().write_slice(now, GuestAddress(piece.address)).map_err(|_| Broken)?;
            }
            rest = later;
        }
        u32::try_from(response.len() - rest.len()).map_err(|_| Broken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::memory::tests::memory;
    use proptest::prelude::*;

    const RING: Table = Table { address: 0x1000, size: 8 };

    fn describe(memory: &Memory, table: u64, index: u64, address: u64, length: u32, flags: u16, next: u16) {
        let mut bytes = address.to_le_bytes().to_vec();
        bytes.extend(length.to_le_bytes());
        bytes.extend(flags.to_le_bytes());
        bytes.extend(next.to_le_bytes());
        memory.map().write_slice(&bytes, GuestAddress(table + index * 16)).unwrap();
    }

    fn walked(memory: &Memory, head: u16) -> Result<(usize, usize), Broken> {
        let mut chain = Chain::default();
        chain.walk(memory, RING, head, true)?;
        Ok((chain.readable.len(), chain.writable.len()))
    }

    #[test]
    fn a_request_and_its_response_go_through_all_their_pieces() {
        let memory = memory(&[(0x1000, 0x4000)]);
        describe(&memory, 0x1000, 0, 0x2000, 3, NEXT, 5);
        describe(&memory, 0x1000, 5, 0x2100, 0, NEXT, 2);
        describe(&memory, 0x1000, 2, 0x2003, 2, NEXT, 1);
        describe(&memory, 0x1000, 1, 0x3000, 2, WRITE | NEXT, 3);
        describe(&memory, 0x1000, 3, 0x3100, 100, WRITE, 0);
        memory.map().write_slice(b"abcde", GuestAddress(0x2000)).unwrap();
        let mut chain = Chain::default();
        chain.walk(&memory, RING, 0, true).unwrap();
        let mut request = Vec::new();
        chain.copy_request(&memory, &mut request).unwrap();
        assert_eq!((request.as_slice(), chain.room()), (&b"abcde"[..], 102));
        assert_eq!(chain.write_response(&memory, b"12345"), Ok(5));
        let mut written = [0; 3];
        memory.map().read_slice(&mut written, GuestAddress(0x3100)).unwrap();
        assert_eq!(&written, b"345");
    }

    #[test]
    fn loops_wrong_indices_and_wrong_order_are_broken() {
        let memory = memory(&[(0x1000, 0x4000)]);
        describe(&memory, 0x1000, 0, 0x2000, 8, NEXT, 0);
        describe(&memory, 0x1000, 1, 0x2000, 8, NEXT, 8);
        describe(&memory, 0x1000, 2, 0x2000, 8, WRITE | NEXT, 3);
        describe(&memory, 0x1000, 3, 0x2000, 8, 0, 0);
        for head in [0, 1, 2, 8, u16::MAX] {
            assert_eq!(walked(&memory, head), Err(Broken), "head {head}");
        }
        assert_eq!(walked(&memory, 3), Ok((1, 0)), "and the next chain is served");
    }

    #[test]
    fn tables_are_bounded_and_never_nested() {
        let memory = memory(&[(0x1000, 0x4000)]);
        for (index, (length, flags)) in [
            (32, INDIRECT),
            (0, INDIRECT),
            (24, INDIRECT),
            (16 * 1025, INDIRECT),
            (u32::MAX, INDIRECT),
            (32, INDIRECT | NEXT),
        ]
        .into_iter()
        .enumerate()
        {
            describe(&memory, 0x1000, index as u64, 0x2000, length, flags, 0);
        }
        describe(&memory, 0x2000, 0, 0x3000, 8, NEXT, 1);
        describe(&memory, 0x2000, 1, 0x3000, 8, WRITE, 0);
        assert_eq!(walked(&memory, 0), Ok((1, 1)));
        for head in 1..6 {
            assert_eq!(walked(&memory, head), Err(Broken), "head {head}");
        }
        assert!(Chain::default().walk(&memory, RING, 0, false).is_err(), "not negotiated");
        describe(&memory, 0x2000, 0, 0x2000, 32, INDIRECT, 0);
        assert_eq!(walked(&memory, 0), Err(Broken), "a table in a table");
        describe(&memory, 0x2000, 0, 0x3000, 8, NEXT, 0);
        assert_eq!(walked(&memory, 0), Err(Broken), "a loop in a table");
    }

    #[test]
    fn a_request_is_copied_no_further_than_the_longest_command() {
        let memory = memory(&[(0x1000, 0x1000), (0x10_0000, 0x80_0000)]);
        describe(&memory, 0x1000, 0, 0x10_0000, 0x80_0000, NEXT, 1);
        describe(&memory, 0x1000, 1, 0, u32::MAX, 0, 0);
        let mut chain = Chain::default();
        chain.walk(&memory, RING, 0, true).unwrap();
        let mut request = Vec::new();
        chain.copy_request(&memory, &mut request).unwrap();
        assert_eq!(request.len(), MAX_REQUEST);
        describe(&memory, 0x1000, 0, 0x8000, 8, NEXT, 1);
        chain.walk(&memory, RING, 0, true).unwrap();
        assert_eq!(chain.copy_request(&memory, &mut request), Err(Broken));
    }

    proptest! {
        #[test]
        fn arbitrary_rings_never_panic_and_always_end(bytes in prop::collection::vec(any::<u8>(), 1024), head: u16) {
            let memory = memory(&[(0, 0x4000)]);
            memory.map().write_slice(&bytes, GuestAddress(0x1000)).unwrap();
            let mut chain = Chain::default();
            let mut request = Vec::new();
            for head in [head, head % 64] {
                if chain.walk(&memory, Table { address: 0x1000, size: 64 }, head, true).is_ok() {
                    let _ = chain.copy_request(&memory, &mut request);
                    let _ = chain.write_response(&memory, &[0; 64]);
                }
            }
        }
    }
}
