//! How many file descriptors this process has open and may open.
//!
//! Guests and tools make the shell hold descriptors; a shell that has none left can show nobody anything. The limit is
//! raised once, at the start; what is open is counted, never guessed.
//! Those of which nothing is known do not come as far as here: see [`crate::relay`].

use phyllome_protocol::start::raise_descriptor_limit;
use rustix::fs::fstat;
use rustix::process::{Resource, getrlimit};
use std::fs;
use std::mem::ManuallyDrop;
use std::os::fd::OwnedFd;
use std::sync::OnceLock;

/// What is assumed where the limit or the count cannot be read.
const UNKNOWN: usize = 1024;

/// Raises the limit; a warning where that fails.
pub fn raise_limit() {
    if let Err(error) = raise_descriptor_limit() {
        tracing::warn!("the shell may open few files only: {error}");
    }
}

/// How many descriptors this process may have open.
pub fn limit() -> usize {
    let current = getrlimit(Resource::Nofile).current;
    current.map_or(usize::MAX, |current| usize::try_from(current).unwrap_or(usize::MAX))
}

/// How many descriptors this process has open, its own count among them. One fstat(2) since Linux 6.2; before it the
/// folder is read.
pub fn open() -> usize {
    const FOLDER: &str = "/proc/self/fd";
    // Asked for with every turn of every guest: to find the folder by its name each time costs more than all the rest
    // of it.
    static HELD: OnceLock<Option<fs::File>> = OnceLock::new();
    let held = HELD.get_or_init(|| fs::File::open(FOLDER).ok());
    match held.as_ref().and_then(|folder| fstat(folder).ok()).map(|status| usize::try_from(status.st_size)) {
        Some(Ok(count)) if count > 0 => count,
        _ => fs::read_dir(FOLDER).map_or(UNKNOWN, Iterator::count),
    }
}

/// Closes a descriptor of a file that nothing is known of, on a thread of its own: a file that its sender serves (FUSE)
/// is asked when it is closed, and may never answer. Where no thread can be made it stays open.
pub fn close_elsewhere(fd: OwnedFd) {
    let fd = ManuallyDrop::new(fd);
    let close = std::thread::Builder::new().name("close".to_owned()).stack_size(64 << 10);
    let made = close.spawn(move || drop(ManuallyDrop::into_inner(fd)));
    if let Err(error) = made {
        tracing::warn!("a descriptor of a guest stays open: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_opened_is_counted() {
        // Other tests open and close in the same process: what is held here is the least that there is.
        let files: Vec<_> = (0..300).map(|_| fs::File::open("/dev/null").unwrap()).collect();
        assert!(open() >= 300, "{}", open());
        drop(files);
        assert!(limit() >= 300);
    }
}
