//! How many file descriptors this process has open and may open, and who is to have none of them.
//!
//! Guests and tools make the shell hold descriptors; a shell that has none left can show nobody anything. The limit is
//! raised once, at the start; what is open is counted, never guessed.
//! Those of which nothing is known do not come as far as here: see [`crate::relay`].

use phyllome_protocol::start::raise_descriptor_limit;
use rustix::fs::fstat;
use rustix::process::{Resource, getrlimit};
use std::fs;
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::OwnedFd;
use std::sync::{LazyLock, OnceLock, mpsc};

/// What is assumed where the limit or the count cannot be read.
const UNKNOWN: usize = 1024;
/// Stack of a thread that starts a program, in bytes.
const START_STACK: usize = 256 << 10;

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

/// Does `work`, which starts a program, on a thread that has a table of descriptors without those of strangers.
/// Descriptors that it opens are not to leave it.
///
/// # Errors
///
/// That of `work`, or that there can be no such thread.
pub fn without_strangers<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    let (tell, told) = mpsc::sync_channel(1);
    let starts = STARTS.as_ref().map_err(|error| io::Error::new(error.kind(), error.to_string()))?;
    let gone = || io::Error::other("the thread that starts programs has ended");
    let work = move || {
        let _ = tell.send(work());
    };
    starts.send(Box::new(work)).map_err(|_| gone())?;
    told.recv().map_err(|_| gone())?
}

/// To be called before the first stranger is listened to: from then on there is such a table.
pub fn keep_a_clean_table() {
    if let Err(error) = &*STARTS {
        tracing::error!("guests cannot be started ({error}); end some programs and log in again");
    }
}

type Work = Box<dyn FnOnce() + Send>;

/// A program that starts closes what it has inherited, and whoever starts it waits for that; for a file that its sender
/// serves, as a relay may have it open, for ever. So this thread leaves the table that all others share, closes its
/// copies but for standard input, output and error, and has programs started by threads of its own table.
static STARTS: LazyLock<io::Result<mpsc::Sender<Work>>> = LazyLock::new(|| {
    let (work, asked) = mpsc::channel::<Work>();
    let (tell, told) = mpsc::sync_channel(1);
    let thread = || std::thread::Builder::new().stack_size(START_STACK);
    thread().name("starts".to_owned()).spawn(move || {
        // SAFETY: the call has no pointers. This thread is new and no other has the table that is made here: of what is
        // closed in it nobody has the number.
        let left = match unsafe { libc::close_range(3, libc::c_uint::MAX, libc::CLOSE_RANGE_UNSHARE.cast_signed()) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        };
        let asked = left.is_ok().then_some(asked);
        let _ = tell.send(left);
        for work in asked.iter().flatten() {
            // Where there can be no thread the work is dropped, which its asker hears.
            let _ = thread().name("start".to_owned()).spawn(work);
        }
    })?;
    told.recv().map_err(io::Error::other)??;
    Ok(work)
});

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
