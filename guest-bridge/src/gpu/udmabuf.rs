//! /dev/udmabuf: dmabufs of pages that lie in memfds, ours or the guest's, without a copy.
//!
//! The kernel takes only whole pages of memfds that cannot shrink, and keeps them for as long as the dmabuf lives,
//! whatever becomes of their file. What it refuses goes through shared memory.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// Most parts of one dmabuf: the kernel's own bound unless its owner has changed it (parameter `list_limit` of
/// udmabuf).
pub const MAX_PARTS: usize = 1024;
/// What offsets and sizes are multiples of, bytes.
pub const PAGE: u64 = 4096;

/// A part of a dmabuf: whole pages of a memfd.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    /// The memfd.
    pub file: BorrowedFd<'a>,
    /// Where the part begins in it, bytes.
    pub offset: u64,
    /// Bytes.
    pub size: u64,
}

/// `struct udmabuf_create` of linux/udmabuf.h, and `udmabuf_create_item`, whose second number is padding.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Item {
    memfd: u32,
    flags: u32,
    offset: u64,
    size: u64,
}

/// `struct udmabuf_create_list`, as long as it can be.
#[repr(C)]
struct List {
    flags: u32,
    count: u32,
    items: [Item; MAX_PARTS],
}

const CLOEXEC: u32 = 1;

/// What makes dmabufs, where this host has it and lets us.
pub fn open() -> Option<File> {
    let opened = File::options().read(true).write(true).open("/dev/udmabuf");
    opened.inspect_err(|error| tracing::info!("/dev/udmabuf: {error}; pictures go through shared memory")).ok()
}

/// A dmabuf of the first `size` bytes of a memfd of ours.
pub fn make(udmabuf: &File, memfd: &File, size: u64) -> Option<OwnedFd> {
    const UDMABUF_CREATE: libc::c_ulong = 0x4018_7542;
    let request = Item { memfd: memfd.as_raw_fd().try_into().ok()?, flags: CLOEXEC, offset: 0, size };
    // SAFETY: UDMABUF_CREATE reads one `udmabuf_create`, which lives through the call and has the kernel's layout.
    let fd = unsafe { libc::ioctl(udmabuf.as_raw_fd(), UDMABUF_CREATE, &raw const request) };
    made(fd, size)
}

/// A dmabuf of these parts, one after another. `None` where the kernel refuses, or there are too many parts.
pub fn make_of<'a>(udmabuf: &File, parts: impl ExactSizeIterator<Item = Part<'a>>) -> Option<OwnedFd> {
    const UDMABUF_CREATE_LIST: libc::c_ulong = 0x4008_7543;
    let count = parts.len();
    if count == 0 || count > MAX_PARTS {
        tracing::debug!(count, "too many parts for a dmabuf");
        return None;
    }
    let mut list = Box::new(List { flags: CLOEXEC, count: count as u32, items: [Item::default(); MAX_PARTS] });
    let mut total = 0u64;
    for (item, Part { file, offset, size }) in list.items.iter_mut().zip(parts) {
        *item = Item { memfd: file.as_raw_fd().try_into().ok()?, flags: 0, offset, size };
        total = total.saturating_add(size);
    }
    let request: *const List = &raw const *list;
    // SAFETY: UDMABUF_CREATE_LIST reads the list's head and `count` items, which follow it, all of which live through
    // the call and have the kernel's layout; the files are open.
    let fd = unsafe { libc::ioctl(udmabuf.as_raw_fd(), UDMABUF_CREATE_LIST, request) };
    made(fd, total)
}

fn made(fd: i32, size: u64) -> Option<OwnedFd> {
    if fd < 0 {
        tracing::debug!(error = %io::Error::last_os_error(), size, "udmabuf refused; the buffer goes through shared memory");
        return None;
    }
    // SAFETY: the ioctl has just returned this descriptor, and nobody else knows it.
    Some(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Tells a dmabuf's importers that a processor has written to it. Free on machines whose caches are coherent.
pub fn written(dmabuf: &OwnedFd) {
    const DMA_BUF_IOCTL_SYNC: libc::c_ulong = 0x4008_6200;
    const SYNC_WRITE: u64 = 2;
    const SYNC_END: u64 = 4;
    for flags in [SYNC_WRITE, SYNC_WRITE | SYNC_END] {
        // SAFETY: DMA_BUF_IOCTL_SYNC reads one u64, which lives through the call; the descriptor is open. A failure
        // leaves what was there before, and a flush cannot be refused for it.
        unsafe { libc::ioctl(dmabuf.as_raw_fd(), DMA_BUF_IOCTL_SYNC, &raw const flags) };
    }
}
