//! What a descriptor that came from another process is, found out without asking whoever sent it.
//!
//! A descriptor can be of any file. One of a file system that its sender serves (FUSE) answers lseek(2), fstat(2),
//! fstatfs(2), ioctl(2) and mmap(2) when its server likes, which may be never, and there is no killing a thread that
//! waits for it. Nor may all that the kernel knows be asked for: its notes in /proc/self/fdinfo take locks that a sender
//! can hold (an epoll descriptor's, while a page that its result goes to is not served).
//!
//! So the questions have an order, and each is asked only of what the one before it has told apart: seals, which memory
//! of this kernel alone has; the name, which no file system is asked for; then the notes of what is named as a dmabuf
//! is. Closing a descriptor that is none of these may take for ever too: see `close_elsewhere` of the shell.

use rustix::fs::{AtFlags, FileType, OFlags, SealFlags, StatxFlags};
use std::ffi::OsStr;
use std::fmt;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;

/// Most that is read of the kernel's notes on a descriptor, in bytes.
const MAX_NOTES: u64 = 4096;
/// Exporters of dmabufs whose memory is ordinary, present as long as the dmabuf is, and never taken away under a
/// mapping: udmabuf holds the pages of memfds that cannot shrink, the system heap those that it allocated. What a GPU
/// driver exports can be purged.
const STEADY_EXPORTERS: [&str; 2] = ["udmabuf", "system"];
/// Exporters of dmabufs whose pixels are not in the memory that the kernel has of them, but with a host: drivers of
/// virtual graphics devices. The size is that of a shadow, and says nothing of them.
const ELSEWHERE: [&str; 2] = ["virtio_gpu", "vmwgfx"];
/// `TMPFS_MAGIC` of linux/magic.h.
const TMPFS: u64 = 0x0102_1994;

/// What kind of file a descriptor is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Memory of this kernel's with a size of its own: a memfd, or a file of a tmpfs or of huge pages.
    Memory {
        /// What nobody can do with it any more.
        seals: SealFlags,
        /// Ordinary pages. Huge ones may have run out when they are touched, which is a SIGBUS.
        ordinary: bool,
    },
    /// A dmabuf.
    Dmabuf {
        /// The kernel's name of who made it.
        exporter: String,
    },
    /// A timeline of fences (a DRM syncobj).
    Timeline,
    /// A counter that wakes who waits for it (an eventfd).
    Event,
    /// Anything else. Nothing more may be asked of it, and who closes it may wait for ever.
    Unknown,
}

/// What is known of a descriptor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// What it is.
    pub kind: Kind,
    /// Its size in bytes when it was asked for; 0 for what has none and for what is unknown.
    pub bytes: u64,
    /// Whether it may be read through this descriptor.
    pub readable: bool,
    /// Whether it may be written through this descriptor, seals apart.
    pub writable: bool,
}

/// What `fd` is. Never waits for another process; what cannot be found out is [`Kind::Unknown`].
pub fn describe(fd: BorrowedFd<'_>) -> Description {
    let known = match rustix::fs::fcntl_get_seals(fd) {
        // Only memory has seals; for every other file this is an error that the kernel gives by itself.
        Ok(seals) => memory(fd, seals),
        Err(_) => named(fd),
    };
    let (kind, bytes) = known.unwrap_or((Kind::Unknown, 0));
    let flags = rustix::fs::fcntl_getfl(fd).unwrap_or(OFlags::PATH);
    let access = flags & OFlags::ACCMODE;
    let opened = !flags.contains(OFlags::PATH);
    Description {
        kind,
        bytes,
        readable: opened && (access == OFlags::RDONLY || access == OFlags::RDWR),
        writable: opened && (access == OFlags::WRONLY || access == OFlags::RDWR),
    }
}

impl Description {
    /// The kernel's name of who made a dmabuf; `None` for all else.
    pub fn exporter(&self) -> Option<&str> {
        match &self.kind {
            Kind::Dmabuf { exporter } => Some(exporter),
            Kind::Memory { .. } | Kind::Timeline | Kind::Event | Kind::Unknown => None,
        }
    }

    /// Whether it is a dmabuf.
    pub fn is_dmabuf(&self) -> bool {
        self.exporter().is_some()
    }

    /// The driver that alone reaches the pixels of this dmabuf, by whose name it is exported, where they are not in the
    /// memory that the kernel has of it. Another device that imports it reads the shadow.
    pub fn only_driver(&self) -> Option<&str> {
        self.exporter().filter(|exporter| ELSEWHERE.contains(exporter))
    }

    /// Whether so many bytes of pixels can be in it. What lies elsewhere ([`Self::only_driver`]) is as large as its
    /// device says, and never read by a processor here ([`Self::is_steady`]).
    pub fn holds(&self, bytes: u64) -> bool {
        bytes <= self.bytes || self.only_driver().is_some()
    }

    /// Whether it is memory that nobody can make smaller; it may still grow.
    pub fn is_sealed_memory(&self) -> bool {
        matches!(&self.kind, Kind::Memory { seals, .. } if seals.contains(SealFlags::SHRINK))
    }

    /// Whether it may become smaller than [`Self::bytes`], so that a mapping of it ends in a SIGBUS. Of what is unknown,
    /// anything is possible.
    pub fn can_shrink(&self) -> bool {
        !self.is_dmabuf() && !self.is_sealed_memory()
    }

    /// Whether a mapping of its [`Self::bytes`] can be read at any time without a SIGBUS.
    pub fn is_steady(&self) -> bool {
        match &self.kind {
            Kind::Dmabuf { exporter } => STEADY_EXPORTERS.contains(&exporter.as_str()),
            Kind::Memory { ordinary, .. } => *ordinary && self.is_sealed_memory(),
            Kind::Timeline | Kind::Event | Kind::Unknown => false,
        }
    }

    /// Whether it can be mapped for reading and writing both, shared with the others who have it.
    pub fn is_mappable_for_writing(&self) -> bool {
        let sealed = SealFlags::WRITE | SealFlags::FUTURE_WRITE;
        let refused = matches!(&self.kind, Kind::Memory { seals, .. } if seals.intersects(sealed));
        self.readable && self.writable && !refused
    }
}

impl fmt::Display for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Dmabuf { exporter } => write!(f, "a dmabuf of {exporter}"),
            Kind::Memory { .. } if self.is_sealed_memory() => write!(f, "a sealed memfd"),
            Kind::Memory { .. } | Kind::Timeline | Kind::Event | Kind::Unknown => {
                write!(f, "neither a dmabuf nor a memfd that is sealed against shrinking")
            }
        }
    }
}

/// A file of memory, which answers by itself all that is asked of it.
fn memory(fd: BorrowedFd<'_>, seals: SealFlags) -> Option<(Kind, u64)> {
    let bytes = u64::try_from(rustix::fs::fstat(fd).ok()?.st_size).ok()?;
    let ordinary = rustix::fs::fstatfs(fd).is_ok_and(|stat| stat.f_type as u64 == TMPFS);
    Some((Kind::Memory { seals, ordinary }, bytes))
}

/// What the kernel's name of it says.
fn named(fd: BorrowedFd<'_>) -> Option<(Kind, u64)> {
    let name = rustix::fs::readlink(format!("/proc/self/fd/{}", fd.as_raw_fd()), Vec::new()).ok()?;
    match kind_of_name(OsStr::from_bytes(name.as_bytes())) {
        // A file of a file system can be named so too, but none that has a lock to hold but a device.
        Named::Dmabuf if !is_device(fd) => dmabuf_of(&notes(fd)?),
        Named::Timeline => Some((Kind::Timeline, 0)),
        Named::Event => Some((Kind::Event, 0)),
        Named::Dmabuf | Named::Other => None,
    }
}

#[derive(Debug, PartialEq)]
enum Named {
    Dmabuf,
    Timeline,
    Event,
    Other,
}

/// A dmabuf's name begins with `/dmabuf:`, and so may that of a file of a file system. No such file has a name without
/// a slash.
fn kind_of_name(name: &OsStr) -> Named {
    match name.as_bytes() {
        b"anon_inode:syncobj_file" => Named::Timeline,
        b"anon_inode:[eventfd]" => Named::Event,
        name if name.starts_with(b"/dmabuf:") => Named::Dmabuf,
        _ => Named::Other,
    }
}

/// Whether it is a device, whose driver writes the notes on it. Answered from what the kernel has in memory, not by the
/// file system.
fn is_device(fd: BorrowedFd<'_>) -> bool {
    let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
    let Ok(stat) = rustix::fs::statx(fd, c"", flags, StatxFlags::TYPE) else { return true };
    matches!(FileType::from_raw_mode(stat.stx_mode.into()), FileType::CharacterDevice | FileType::BlockDevice)
}

/// The kernel's notes on a descriptor of this process.
fn notes(fd: BorrowedFd<'_>) -> Option<String> {
    let file = std::fs::File::open(format!("/proc/self/fdinfo/{}", fd.as_fd().as_raw_fd())).ok()?;
    let mut notes = Vec::new();
    file.take(MAX_NOTES).read_to_end(&mut notes).ok()?;
    Some(String::from_utf8_lossy(&notes).into_owned())
}

/// A dmabuf's notes have its size and its exporter; those of other files don't. A dmabuf's own name, which anybody who
/// holds it can set, comes after both.
fn dmabuf_of(notes: &str) -> Option<(Kind, u64)> {
    let value = |key: &str| notes.lines().find_map(|line| line.strip_prefix(key)).map(str::trim);
    let (exporter, bytes) = (value("exp_name:")?, value("size:")?.parse().ok()?);
    Some((Kind::Dmabuf { exporter: exporter.to_owned() }, bytes))
}

#[cfg(test)]
#[path = "descriptor_tests.rs"]
mod tests;
