//! A split virtqueue from the driver's side (virtio 1.3, section 2.7), with nothing hidden: a test may write any
//! descriptor.

use super::memory::GuestMemory;
use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};
use vmm_sys_util::eventfd::EventFd;

/// The descriptor continues at `next`.
pub const NEXT: u16 = 1;
/// The device may write it.
pub const WRITE: u16 = 2;
/// It points to a table of descriptors.
pub const INDIRECT: u16 = 4;

/// One descriptor.
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs, reason = "the names are the specification's")]
pub struct Desc {
    pub addr: u64,
    pub len: u32,
    pub flags: u16,
    pub next: u16,
}

impl Desc {
    /// As bytes of guest memory.
    pub fn bytes(self) -> [u8; 16] {
        let mut out = [0; 16];
        out[..8].copy_from_slice(&self.addr.to_le_bytes());
        out[8..12].copy_from_slice(&self.len.to_le_bytes());
        out[12..14].copy_from_slice(&self.flags.to_le_bytes());
        out[14..].copy_from_slice(&self.next.to_le_bytes());
        out
    }
}

/// One queue in guest memory.
pub struct Queue {
    /// Number of descriptors.
    pub size: u16,
    /// Guest address of the descriptor table.
    pub desc: u64,
    /// Guest address of the available ring.
    pub avail: u64,
    /// Guest address of the used ring.
    pub used: u64,
    /// Tells the device that there is work.
    pub kick: EventFd,
    /// The device tells that it has done some.
    pub call: EventFd,
    avail_index: u16,
    used_index: u16,
}

impl Queue {
    /// A queue of `size` descriptors whose rings begin at guest address `base` (64 KiB are enough for 1024).
    pub fn new(base: u64, size: u16) -> Result<Self> {
        let table = u64::from(size) * 16;
        let avail = base + table;
        let used = (avail + 6 + 2 * u64::from(size)).next_multiple_of(4096);
        Ok(Self {
            size,
            desc: base,
            avail,
            used,
            kick: EventFd::new(libc::EFD_NONBLOCK)?,
            call: EventFd::new(libc::EFD_NONBLOCK)?,
            avail_index: 0,
            used_index: 0,
        })
    }

    /// Forgets all progress, as a driver does that sets the queue up anew.
    pub fn restart(&mut self, memory: &GuestMemory) -> Result<()> {
        self.avail_index = 0;
        self.used_index = 0;
        memory.write(self.avail, &[0; 4])?;
        memory.write(self.used, &[0; 4])
    }

    /// Writes descriptor `index`.
    pub fn write_desc(&self, memory: &GuestMemory, index: u16, desc: Desc) -> Result<()> {
        memory.write(self.desc + u64::from(index) * 16, &desc.bytes())
    }

    /// Writes a chain of descriptors from `first` on.
    pub fn write_chain(&self, memory: &GuestMemory, first: u16, parts: &[Desc]) -> Result<()> {
        for (at, part) in parts.iter().enumerate() {
            let index = first + u16::try_from(at)?;
            let last = at + 1 == parts.len();
            let flags = part.flags | if last { 0 } else { NEXT };
            self.write_desc(memory, index, Desc { flags, next: if last { 0 } else { index + 1 }, ..*part })?;
        }
        Ok(())
    }

    /// Makes the chain that begins at `head` available; does not kick.
    pub fn push(&mut self, memory: &GuestMemory, head: u16) -> Result<()> {
        let slot = u64::from(self.avail_index % self.size);
        memory.write(self.avail + 4 + slot * 2, &head.to_le_bytes())?;
        self.avail_index = self.avail_index.wrapping_add(1);
        memory.write_u16(self.avail + 2, self.avail_index)
    }

    /// Sets the available index to anything.
    pub fn forge_avail_index(&mut self, memory: &GuestMemory, index: u16) -> Result<()> {
        self.avail_index = index;
        memory.write_u16(self.avail + 2, index)
    }

    /// Kicks the device.
    pub fn notify(&self) -> Result<()> {
        self.kick.write(1).context("kick")
    }

    /// The next used element: head and written length.
    pub fn pop(&mut self, memory: &GuestMemory) -> Result<Option<(u32, u32)>> {
        if memory.read_u16(self.used + 2)? == self.used_index {
            return Ok(None);
        }
        let at = self.used + 4 + u64::from(self.used_index % self.size) * 8;
        let element = memory.read(at, 8)?;
        self.used_index = self.used_index.wrapping_add(1);
        // EVENT_IDX: ask for an interrupt at the next element (ignored where it is not negotiated).
        memory.write_u16(self.avail + 4 + 2 * u64::from(self.size), self.used_index)?;
        let (head, length) = element.split_at(4);
        Ok(Some((u32::from_le_bytes(head.try_into()?), u32::from_le_bytes(length.try_into()?))))
    }

    /// Waits for the next used element.
    pub fn wait(&mut self, memory: &GuestMemory, limit: Duration) -> Result<(u32, u32)> {
        let end = Instant::now() + limit;
        loop {
            if let Some(element) = self.pop(memory)? {
                return Ok(element);
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                bail!("the device did not answer within {limit:?}");
            }
            // SAFETY: the eventfd lives as long as `self`, which outlives this borrow.
            let fd = unsafe { BorrowedFd::borrow_raw(self.call.as_raw_fd()) };
            let timeout =
                rustix::event::Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
            let _ = rustix::event::poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&timeout));
            let _ = self.call.read();
        }
    }
}
