//! The few system calls that the agent needs and the standard library lacks, each behind a safe function.
//!
//! Only this file calls C.

use std::ffi::{c_int, c_ulong};
use std::io;

unsafe extern "C" {
    fn getpid() -> c_int;
    fn setsid() -> c_int;
    fn setgroups(count: usize, groups: *const u32) -> c_int;
    fn setgid(gid: u32) -> c_int;
    fn setuid(uid: u32) -> c_int;
    fn kill(pid: c_int, signal: c_int) -> c_int;
    fn waitpid(pid: c_int, status: *mut c_int, options: c_int) -> c_int;
    fn ioctl(fd: c_int, request: c_ulong, ...) -> c_int;
}

const TIOCSCTTY: c_ulong = 0x540e;

fn check(result: c_int) -> io::Result<c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Whether this is the first process of a machine.
pub fn is_process_one() -> bool {
    // SAFETY: getpid(2) takes nothing and cannot fail.
    unsafe { getpid() == 1 }
}

/// Waits for any child to end; false where there is none.
pub fn collect_child() -> bool {
    let mut status = 0;
    // SAFETY: the status is a local integer that the call writes.
    unsafe { waitpid(-1, &mut status, 0) > 0 }
}

/// Sends a signal to a process, or to a group where `pid` is negative.
pub fn send_signal(pid: i32, signal: i32) -> io::Result<()> {
    // SAFETY: kill(2) takes two integers.
    check(unsafe { kill(pid, signal) }).map(drop)
}

/// Leads a session of its own, with standard input as its terminal if asked. Called between fork and exec, so it does
/// not allocate.
pub fn new_session(terminal: bool) -> io::Result<()> {
    // SAFETY: setsid(2) takes nothing; TIOCSCTTY takes an integer.
    unsafe {
        check(setsid())?;
        if terminal {
            check(ioctl(0, TIOCSCTTY, 1 as c_int))?;
        }
    }
    Ok(())
}

/// Becomes a user for good. Called between fork and exec, so it does not allocate.
pub fn become_user(uid: u32, gid: u32, groups: &[u32]) -> io::Result<()> {
    // SAFETY: pointer and count are those of one slice, which the call only reads; the others take integers.
    unsafe {
        check(setgroups(groups.len(), groups.as_ptr()))?;
        check(setgid(gid))?;
        check(setuid(uid)).map(drop)
    }
}
