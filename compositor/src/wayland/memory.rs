//! What memory a descriptor that a guest has sent stands for, found out without asking whoever sent it.
//!
//! A descriptor can be of any file: one on a file system that the sender itself serves (FUSE) answers lseek(2),
//! fstat(2), ioctl(2) and mmap(2) when its server likes, which may be never. Only three questions are asked of an
//! unknown descriptor, and the kernel answers them by itself: its seals, the kernel's own notes on it in /proc, and,
//! once the seals say that it is memory, its size.

use smithay::reexports::rustix;
use std::fmt;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

/// Most that is read of the kernel's notes on a descriptor.
const MAX_NOTES: u64 = 4096;
/// Exporters of dmabufs whose memory is ordinary, present as long as the dmabuf is, and never taken away under a
/// mapping: udmabuf holds the pages of memfds that cannot shrink, the system heap those that it allocated. What a GPU
/// driver exports can be purged.
const STEADY_EXPORTERS: [&str; 2] = ["udmabuf", "system"];

/// Memory that a guest shares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Memory {
    /// A dmabuf.
    Dmabuf {
        /// The kernel's name of who made it.
        exporter: String,
        /// Its size.
        bytes: u64,
    },
    /// A memfd that nobody can make smaller.
    SealedMemfd {
        /// Its size; it can only grow.
        bytes: u64,
    },
    /// Anything else. Nothing more may be asked of it.
    Unknown,
}

impl Memory {
    /// What `fd` is. Never waits for another process.
    pub fn of(fd: BorrowedFd<'_>) -> Self {
        // Only memory has seals; for every other file this is an error that the kernel gives by itself.
        if let Ok(seals) = rustix::fs::fcntl_get_seals(fd) {
            return if seals.contains(rustix::fs::SealFlags::SHRINK) {
                match rustix::fs::fstat(fd) {
                    Ok(stat) => Self::SealedMemfd { bytes: u64::try_from(stat.st_size).unwrap_or(0) },
                    Err(_) => Self::Unknown,
                }
            } else {
                Self::Unknown
            };
        }
        notes(fd).map_or(Self::Unknown, |notes| dmabuf_of(&notes))
    }

    /// Its size in bytes; nothing of what is unknown may be used.
    pub fn bytes(&self) -> u64 {
        match self {
            Self::Dmabuf { bytes, .. } | Self::SealedMemfd { bytes } => *bytes,
            Self::Unknown => 0,
        }
    }

    /// Whether a mapping of it can be read at any time without a SIGBUS. `fd` is what it was found out from.
    pub fn is_steady(&self, fd: BorrowedFd<'_>) -> bool {
        /// `TMPFS_MAGIC` of linux/magic.h: not huge pages, of which there may be none left when they are touched.
        const TMPFS: u64 = 0x0102_1994;
        match self {
            Self::Dmabuf { exporter, .. } => STEADY_EXPORTERS.contains(&exporter.as_str()),
            Self::SealedMemfd { .. } => rustix::fs::fstatfs(fd).is_ok_and(|stat| stat.f_type as u64 == TMPFS),
            Self::Unknown => false,
        }
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dmabuf { exporter, .. } => write!(f, "a dmabuf of {exporter}"),
            Self::SealedMemfd { .. } => write!(f, "a sealed memfd"),
            Self::Unknown => write!(f, "neither a dmabuf nor a memfd that is sealed against shrinking"),
        }
    }
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
fn dmabuf_of(notes: &str) -> Memory {
    let value = |key: &str| notes.lines().find_map(|line| line.strip_prefix(key)).map(str::trim);
    match (value("exp_name:"), value("size:").and_then(|size| size.parse().ok())) {
        (Some(exporter), Some(bytes)) => Memory::Dmabuf { exporter: exporter.to_owned(), bytes },
        _ => Memory::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{MemfdFlags, SealFlags};
    use std::os::fd::OwnedFd;

    fn memfd(bytes: u64) -> OwnedFd {
        let fd = rustix::fs::memfd_create("test", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
        rustix::fs::ftruncate(&fd, bytes).unwrap();
        fd
    }

    #[test]
    fn a_memfd_counts_once_it_cannot_shrink() {
        let fd = memfd(4096);
        assert_eq!(Memory::of(fd.as_fd()), Memory::Unknown);
        rustix::fs::fcntl_add_seals(&fd, SealFlags::SHRINK).unwrap();
        let memory = Memory::of(fd.as_fd());
        assert_eq!(memory, Memory::SealedMemfd { bytes: 4096 });
        assert!(memory.is_steady(fd.as_fd()));
    }

    #[test]
    fn other_files_are_unknown() {
        let file = tempfile::tempfile().unwrap();
        let (pipe, _other) = rustix::pipe::pipe().unwrap();
        for fd in [file.as_fd(), pipe.as_fd(), std::fs::File::open("/dev/null").unwrap().as_fd()] {
            let memory = Memory::of(fd);
            assert_eq!((&memory, memory.bytes(), memory.is_steady(fd)), (&Memory::Unknown, 0, false));
        }
    }

    #[test]
    fn a_dmabuf_is_told_by_the_kernels_notes_and_not_by_its_name() {
        let notes = "pos:\t0\nflags:\t02000002\nmnt_id:\t15\nino:\t7\nsize:\t8192\ncount:\t2\nexp_name:\tvgem\nname:\tx\nexp_name:\tudmabuf\n";
        assert_eq!(dmabuf_of(notes), Memory::Dmabuf { exporter: "vgem".into(), bytes: 8192 });
        assert_eq!(dmabuf_of("pos:\t0\nflags:\t0\n"), Memory::Unknown);
        assert_eq!(dmabuf_of("size:\tmany\nexp_name:\tudmabuf\n"), Memory::Unknown);
    }
}
