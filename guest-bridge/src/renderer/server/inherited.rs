//! The descriptor that the connection to phyllome-guest comes by.

use rustix::io::Errno;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd};

/// Takes over the descriptor `number`, which the parent process left open for this one. Programs that the library
/// starts do not get it. To be called once, before anything else opens descriptors; EBADF if there is none.
pub fn inherit(number: i32) -> rustix::io::Result<OwnedFd> {
    if number < 0 {
        return Err(Errno::BADF);
    }
    // SAFETY: only asks the kernel about the number, which need not be open for that.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    rustix::io::fcntl_setfd(borrowed, rustix::io::FdFlags::CLOEXEC)?;
    // SAFETY: it is open, and nobody else in this process owns it: it was inherited.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}
