//! One virtqueue as vhost-user sets it up: addresses, size, the descriptors for kick and call, started and enabled or
//! not.
//!
//! Ring arithmetic is virtio-queue's. What the guest writes into the rings is believed only as far as it is an index
//! inside them; a ring that is broken is left alone until the next kick, never for good.

use super::chain::{MAX_DESCRIPTORS, Table};
use super::memory::Memory;
use rustix::fs::OFlags;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use virtio_queue::{Queue, QueueOwnedT, QueueT};
use vm_memory::{Bytes, GuestAddress};

/// A ring.
#[derive(Debug)]
pub struct Ring {
    queue: Queue,
    size: u16,
    /// Descriptor table, available and used ring: guest physical addresses.
    addresses: Option<[GuestAddress; 3]>,
    next_available: u16,
    event_idx: bool,
    enabled: bool,
    started: bool,
    kick: Option<OwnedFd>,
    call: Option<OwnedFd>,
    /// Something was used that the driver has not been told of.
    used: bool,
}

/// Why a ring gave no head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RingError {
    /// The available ring jumps, or lies outside guest memory.
    Available,
    /// The used ring lies outside guest memory, or the head is beyond the ring.
    Used,
}

impl Ring {
    /// A ring that is not set up.
    pub fn new() -> Result<Self, virtio_queue::Error> {
        Ok(Self {
            queue: Queue::new(MAX_DESCRIPTORS)?,
            size: MAX_DESCRIPTORS,
            addresses: None,
            next_available: 0,
            event_idx: false,
            enabled: false,
            started: false,
            kick: None,
            call: None,
            used: false,
        })
    }

    /// SET_VRING_NUM; `false` if it is no size of a ring, or the ring runs.
    pub fn set_size(&mut self, size: u32) -> bool {
        let valid = u16::try_from(size).ok().filter(|size| size.is_power_of_two() && *size <= MAX_DESCRIPTORS);
        match valid {
            Some(size) if !self.started => {
                self.size = size;
                true
            }
            Some(size) => size == self.size,
            None => false,
        }
    }

    /// SET_VRING_ADDR, with guest physical addresses; `false` if they are misaligned.
    pub fn set_addresses(&mut self, table: GuestAddress, available: GuestAddress, used: GuestAddress) -> bool {
        let aligned = |address: GuestAddress, to: u64| address.0.is_multiple_of(to);
        if !aligned(table, 16) || !aligned(available, 2) || !aligned(used, 4) {
            return false;
        }
        self.addresses = Some([table, available, used]);
        true
    }

    /// Where the descriptor table is.
    pub fn addresses(&self) -> Option<[GuestAddress; 3]> {
        self.addresses
    }

    /// SET_VRING_BASE.
    pub fn set_next_available(&mut self, index: u16) {
        self.next_available = index;
    }

    /// Where the device will go on.
    pub fn next_available(&self) -> u16 {
        if self.started { self.queue.next_avail() } else { self.next_available }
    }

    /// EVENT_IDX was negotiated, or not.
    pub fn set_event_idx(&mut self, event_idx: bool) {
        self.event_idx = event_idx;
        self.queue.set_event_idx(event_idx);
    }

    /// SET_VRING_ENABLE.
    pub fn set_enabled(&mut self, enabled: bool) {
        self.enabled = enabled;
    }

    /// SET_VRING_CALL.
    pub fn set_call(&mut self, call: Option<OwnedFd>) {
        self.call = call.inspect(|fd| make_nonblocking(fd.as_fd()));
    }

    /// SET_VRING_KICK; the caller sees to epoll.
    pub fn set_kick(&mut self, kick: Option<OwnedFd>) {
        self.kick = kick.inspect(|fd| make_nonblocking(fd.as_fd()));
    }

    /// The descriptor that says that something is available.
    pub fn kick(&self) -> Option<BorrowedFd<'_>> {
        self.kick.as_ref().map(AsFd::as_fd)
    }

    /// Reads the kick away; `false` if nobody can kick any more.
    pub fn consume_kick(&self) -> bool {
        let mut bytes = [0u8; 8];
        let Some(kick) = &self.kick else { return false };
        match rustix::io::read(kick, &mut bytes) {
            Ok(count) => count > 0,
            Err(error) => matches!(error, rustix::io::Errno::AGAIN | rustix::io::Errno::INTR),
        }
    }

    /// Whether requests may be taken from it.
    pub fn runs(&self) -> bool {
        self.started && self.enabled
    }

    /// Whether it was started and not stopped again.
    pub fn started(&self) -> bool {
        self.started
    }

    /// Starts it if all that it needs was set; `false` if its rings are not in guest memory.
    pub fn start(&mut self, memory: &Memory) -> bool {
        let Some([table, available, used]) = self.addresses else { return false };
        self.queue.reset();
        self.queue.set_size(self.size);
        self.queue.set_event_idx(self.event_idx);
        let set = self.queue.try_set_desc_table_address(table).is_ok()
            && self.queue.try_set_avail_ring_address(available).is_ok()
            && self.queue.try_set_used_ring_address(used).is_ok();
        self.queue.set_ready(true);
        if !set || !self.queue.is_valid(memory.map()) {
            self.queue.set_ready(false);
            return false;
        }
        self.queue.set_next_avail(self.next_available);
        // vhost-user says where the available ring goes on; where the used ring does is in the ring itself.
        let used_index = self.queue.used_idx(memory.map(), std::sync::atomic::Ordering::Acquire);
        self.queue.set_next_used(used_index.map(|index| index.0).unwrap_or_default());
        self.started = true;
        self.used = false;
        true
    }

    /// Stops it and closes its descriptors; says where it stopped.
    pub fn stop(&mut self) -> u16 {
        self.next_available = self.next_available();
        self.queue.set_ready(false);
        self.started = false;
        self.kick = None;
        self.call = None;
        self.next_available
    }

    /// The descriptor table.
    pub fn table(&self) -> Table {
        Table { address: self.queue.desc_table(), size: self.queue.size() }
    }

    /// The next head that the driver made available.
    pub fn pop(&mut self, memory: &Memory) -> Result<Option<u16>, RingError> {
        let mut heads = self.queue.iter(memory.map()).map_err(|_| RingError::Available)?;
        Ok(heads.next().map(|chain| chain.head_index()))
    }

    /// Asks the driver to kick again; `true` if something became available meanwhile.
    pub fn rest(&mut self, memory: &Memory) -> bool {
        self.queue.enable_notification(memory.map()).unwrap_or(false)
    }

    /// The newest element of the used ring, as guest memory has it: 0 in memory that a driver has just cleared. `None`
    /// outside guest memory.
    pub fn newest_used(&self, memory: &Memory) -> Option<u64> {
        let [_, _, used] = self.addresses?;
        let read = |at: u64| used.0.checked_add(at).map(GuestAddress);
        let index = u16::from_le(memory.map().read_obj(read(2)?).ok()?);
        let newest = index.wrapping_sub(1).checked_rem(self.size)?;
        memory.map().read_obj(read(4 + u64::from(newest) * 8)?).ok()
    }

    /// Gives a chain back.
    pub fn push_used(&mut self, memory: &Memory, head: u16, length: u32) -> Result<(), RingError> {
        self.queue.add_used(memory.map(), head, length).map_err(|_| RingError::Used)?;
        self.used = true;
        Ok(())
    }

    /// Tells the driver of what was used, if it wants to know.
    pub fn notify(&mut self, memory: &Memory) {
        if !std::mem::take(&mut self.used) || !self.wants_notification(memory) {
            return;
        }
        if let Some(call) = &self.call {
            // An eventfd whose counter is full has been written to and not been read: the driver is told already.
            let _ = rustix::io::write(call, &1u64.to_ne_bytes());
        }
    }

    fn wants_notification(&mut self, memory: &Memory) -> bool {
        const NO_INTERRUPT: u16 = 1;
        if !self.event_idx {
            let flags = memory.map().read_obj::<u16>(GuestAddress(self.queue.avail_ring()));
            return flags.map_or(true, |flags| u16::from_le(flags) & NO_INTERRUPT == 0);
        }
        self.queue.needs_notification(memory.map()).unwrap_or(true)
    }
}

/// A peer's descriptor must not make this thread wait, whatever it is.
fn make_nonblocking(fd: BorrowedFd<'_>) {
    if let Ok(flags) = rustix::fs::fcntl_getfl(fd) {
        let _ = rustix::fs::fcntl_setfl(fd, flags | OFlags::NONBLOCK);
    }
}
