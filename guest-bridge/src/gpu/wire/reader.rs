//! What commands of every kind are read with: numbers off the front of bytes, rectangles, entries of backing, and why
//! bytes are no command. Pure; never allocates, never panics.

use crate::frames::Rect;

/// `virtio_gpu_rect`: any four numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub struct WireRect {
    pub x: u32,
    pub y: u32,
    pub width: u32,
    pub height: u32,
}

impl From<WireRect> for Rect {
    /// One that wraps around stays outside every resource.
    fn from(rect: WireRect) -> Self {
        let WireRect { x, y, width, height } = rect;
        Self { x, y, width, height }
    }
}

/// `virtio_gpu_mem_entry`: a piece of guest memory, not yet checked against it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemEntry {
    /// Guest physical address.
    pub address: u64,
    /// Bytes.
    pub length: u32,
}

/// The entries of RESOURCE_ATTACH_BACKING (at least 1) or RESOURCE_CREATE_BLOB, as many as were announced: at most
/// [`MAX_BACKING_ENTRIES`](super::MAX_BACKING_ENTRIES).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct MemEntries<'a>(&'a [u8]);

impl std::fmt::Debug for MemEntries<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} entries", self.count())
    }
}

impl MemEntries<'_> {
    /// How many.
    pub fn count(&self) -> usize {
        self.0.len() / 16
    }

    /// One after another.
    pub fn iter(&self) -> impl Iterator<Item = MemEntry> + '_ {
        self.0.chunks_exact(16).filter_map(|entry| {
            let mut at = Reader(entry);
            Some(MemEntry { address: at.u64()?, length: at.u32()? })
        })
    }
}

/// Why bytes are no command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Fewer bytes than the command has.
    Short,
    /// No such command.
    Unknown,
    /// A command of a feature that was not negotiated (blob, 3D, EDID, UUID).
    NotNegotiated,
    /// A cursor command on the control queue or the reverse.
    WrongQueue,
    /// Backing entries: none, or more than [`MAX_BACKING_ENTRIES`](super::MAX_BACKING_ENTRIES).
    EntryCount,
}

/// Takes little-endian numbers off the front.
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Of these bytes.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The next `count` bytes, if there are as many.
    pub fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (front, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(front)
    }

    /// The next number of 32 bits.
    pub fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    /// The next number of 64 bits.
    pub fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    /// The next rectangle.
    pub fn rect(&mut self) -> Option<WireRect> {
        Some(WireRect { x: self.u32()?, y: self.u32()?, width: self.u32()?, height: self.u32()? })
    }

    /// The next `count` entries of backing.
    pub fn entries(&mut self, count: u32) -> Option<MemEntries<'a>> {
        self.take((count as usize).checked_mul(16)?).map(MemEntries)
    }
}
