//! The few system calls that a process 1 needs and the standard library lacks, each behind a safe function.
//!
//! Only this file and `drm.rs` call C. Nothing here is used outside the tiny guests.

use std::ffi::{CString, c_char, c_int, c_long, c_ulong, c_void};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;

unsafe extern "C" {
    fn mount(
        source: *const c_char,
        target: *const c_char,
        kind: *const c_char,
        flags: c_ulong,
        data: *const c_void,
    ) -> c_int;
    fn syscall(number: c_long, ...) -> c_long;
    fn reboot(command: c_int) -> c_int;
    fn sync();
    fn setsid() -> c_int;
    fn ioctl(fd: c_int, request: c_ulong, ...) -> c_int;
    fn poll(fds: *mut PollFd, count: c_ulong, timeout_ms: c_int) -> c_int;
    fn inotify_init1(flags: c_int) -> c_int;
    fn inotify_add_watch(fd: c_int, path: *const c_char, mask: u32) -> c_int;
    fn waitpid(pid: c_int, status: *mut c_int, options: c_int) -> c_int;
    fn getpid() -> c_int;
    fn socket(family: c_int, kind: c_int, protocol: c_int) -> c_int;
    fn bind(fd: c_int, address: *const NetlinkAddress, length: u32) -> c_int;
}

/// `struct sockaddr_nl` of netlink(7).
#[repr(C)]
struct NetlinkAddress {
    family: u16,
    pad: u16,
    port: u32,
    groups: u32,
}

/// `struct pollfd` of poll(2).
#[repr(C)]
#[derive(Clone, Copy)]
pub struct PollFd {
    /// What is watched.
    pub fd: c_int,
    /// What for.
    pub events: i16,
    /// What happened.
    pub revents: i16,
}

/// There is something to read.
pub const POLLIN: i16 = 1;

const FINIT_MODULE: c_long = 313; // x86-64
const TIOCSCTTY: c_ulong = 0x540e;

fn check(result: c_int) -> io::Result<c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Mounts a file system of the kernel's own, such as `proc`, on a folder.
pub fn mount_kernel_fs(kind: &str, target: &str) -> io::Result<()> {
    let kind = CString::new(kind)?;
    let target = CString::new(target)?;
    // SAFETY: the three texts are valid C strings that outlive the call; no data is passed.
    check(unsafe { mount(kind.as_ptr(), target.as_ptr(), kind.as_ptr(), 0, std::ptr::null()) }).map(drop)
}

/// Loads an uncompressed kernel module.
pub fn load_module(path: &Path) -> io::Result<()> {
    let file = File::open(path)?;
    // SAFETY: finit_module(2) takes a descriptor, a C string of parameters and flags; the file stays open during the
    // call.
    let result = unsafe { syscall(FINIT_MODULE, file.as_raw_fd(), c"".as_ptr(), 0 as c_int) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Ends the machine: restarts it, or turns it off. Returns only if the kernel refuses.
pub fn end_machine(again: bool) -> io::Error {
    let command: u32 = if again { 0x0123_4567 } else { 0x4321_fedc };
    // SAFETY: neither call takes a pointer.
    unsafe {
        sync();
        reboot(command as c_int);
    }
    io::Error::last_os_error()
}

/// Makes `tty` the controlling terminal of this process, in a session of its own. Called between fork and exec, so it
/// does not allocate.
pub fn take_terminal(tty: c_int) -> io::Result<()> {
    // SAFETY: setsid(2) takes nothing; TIOCSCTTY takes an integer.
    unsafe {
        setsid();
        check(ioctl(tty, TIOCSCTTY, 1 as c_int)).map(drop)
    }
}

/// Waits until one of the descriptors has something to say, or for `timeout_ms` (-1: for ever).
pub fn wait_for(fds: &mut [PollFd], timeout_ms: i32) -> io::Result<()> {
    // SAFETY: the pointer and the count are those of one slice, which the call may write.
    check(unsafe { poll(fds.as_mut_ptr(), fds.len() as c_ulong, timeout_ms) }).map(drop)
}

/// A descriptor that becomes readable when a file appears in `folder`.
pub fn watch_folder(folder: &str) -> io::Result<OwnedFd> {
    const CREATE: u32 = 0x100;
    let folder = CString::new(folder)?;
    // SAFETY: the descriptor is new and owned by nobody else; the path is a valid C string.
    unsafe {
        let fd = OwnedFd::from_raw_fd(check(inotify_init1(0))?);
        check(inotify_add_watch(fd.as_raw_fd(), folder.as_ptr(), CREATE))?;
        Ok(fd)
    }
}

/// A socket from which the kernel's announcements of devices (uevents) can be read, one at a time.
pub fn kernel_events() -> io::Result<OwnedFd> {
    const AF_NETLINK: u16 = 16;
    const SOCK_RAW: c_int = 3;
    const KOBJECT_UEVENT: c_int = 15;
    let address = NetlinkAddress { family: AF_NETLINK, pad: 0, port: 0, groups: 1 };
    // SAFETY: the descriptor is new and owned by nobody else; the address is a local structure of the stated length.
    unsafe {
        let fd = OwnedFd::from_raw_fd(check(socket(AF_NETLINK.into(), SOCK_RAW, KOBJECT_UEVENT))?);
        check(bind(fd.as_raw_fd(), &address, size_of::<NetlinkAddress>() as u32))?;
        Ok(fd)
    }
}

/// Collects ended children that nobody waits for; as process 1 inherits them.
pub fn wait_for_child(pid: u32) {
    loop {
        let mut status = 0;
        // SAFETY: the status is a local integer that the call writes.
        let ended = unsafe { waitpid(-1, &mut status, 0) };
        if ended < 0 || ended as u32 == pid {
            return;
        }
    }
}

/// Whether this is the first process of a machine.
pub fn is_process_one() -> bool {
    // SAFETY: getpid(2) takes nothing and cannot fail.
    unsafe { getpid() == 1 }
}

/// An ioctl with one structure, which the kernel reads and writes.
///
/// # Safety
///
/// `T` must be the structure that `request` is defined for, and every pointer inside it must be valid for what the
/// request does with it.
pub unsafe fn ioctl_with<T>(fd: &impl AsRawFd, request: c_ulong, argument: &mut T) -> io::Result<()> {
    // SAFETY: the caller vouches for the structure; the descriptor is open for as long as it is borrowed.
    check(unsafe { ioctl(fd.as_raw_fd(), request, std::ptr::from_mut(argument)) }).map(drop)
}
