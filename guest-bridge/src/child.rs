//! What every child process of ours does between fork and exec, whether it is QEMU or the renderer.
//!
//! Each function makes only system calls that are async-signal-safe, allocates nothing and takes no lock, so that all
//! may be called in the child of a process with threads. They take away what a child must not have; what it is to have
//! (sockets, limits) is its starter's.

use rustix::process::{Pid, Signal};
use std::io;

/// The child ends with its parent: with the thread that started it. Fails if `parent` has ended before it could be
/// told.
pub fn end_with_parent(parent: Pid) -> io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    if rustix::process::getppid() == Some(parent) { Ok(()) } else { Err(io::ErrorKind::NotConnected.into()) }
}

/// Marks every descriptor but standard input, output and error to be closed by exec. Kernels before 5.11 don't know
/// how; there all that this process opens is closed on exec anyway.
pub fn close_all_on_exec() {
    // SAFETY: the call touches no memory and closes nothing; it only marks descriptors.
    unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
}

/// Blocks the signals that ask a process to end; what is blocked stays so across exec. systemd and terminals send them
/// to every process of a group, where they are for phyllome-guest alone.
pub fn block_requests_to_end() -> io::Result<()> {
    // SAFETY: all-zero bytes are a valid sigset_t; the calls only write to it, and are async-signal-safe.
    let result = unsafe {
        let mut asks: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut asks);
        for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP] {
            libc::sigaddset(&raw mut asks, signal);
        }
        libc::sigprocmask(libc::SIG_BLOCK, &raw const asks, std::ptr::null_mut())
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
