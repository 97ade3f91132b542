//! Stands in for /dev/udmabuf where the kernel has none: a library that is loaded before a renderer's others. "Opening"
//! the device works, and a "dmabuf" of a file in memory is that file itself, from its beginning. To whoever maps it
//! that is the same; it cannot be imported as a dmabuf anywhere. Compiled by plain rustc, without crates; for tests
//! only.

#![allow(clippy::missing_safety_doc, reason = "they are the C library's functions")]

use std::ffi::{CStr, c_char, c_int, c_long, c_uint, c_ulong};

const DEVICE: &CStr = c"/dev/udmabuf";
/// `UDMABUF_CREATE`: `_IOW('u', 0x42, struct udmabuf_create)`.
const CREATE: c_ulong = 0x4018_7542;
/// `struct udmabuf_create`.
#[repr(C)]
struct Create {
    memfd: u32,
    flags: u32,
    offset: u64,
    size: u64,
}

const OPENAT: c_long = 257;
const IOCTL: c_long = 16;
const HERE: c_int = -100;
const CLOSE_ON_EXEC: c_uint = 1;
const DUP_CLOSE_ON_EXEC: c_int = 1030;

unsafe extern "C" {
    fn syscall(number: c_long, ...) -> c_long;
    fn memfd_create(name: *const c_char, flags: c_uint) -> c_int;
    fn fcntl(fd: c_int, command: c_int, ...) -> c_int;
}

#[unsafe(no_mangle)]
unsafe extern "C" fn open(path: *const c_char, flags: c_int, mode: c_uint) -> c_int {
    // SAFETY: the C library's callers pass a C string.
    if unsafe { CStr::from_ptr(path) } == DEVICE {
        // SAFETY: a C string.
        return unsafe { memfd_create(c"udmabuf".as_ptr(), CLOSE_ON_EXEC) };
    }
    // SAFETY: what the C library does.
    unsafe { syscall(OPENAT, HERE, path, flags, mode) as c_int }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn open64(path: *const c_char, flags: c_int, mode: c_uint) -> c_int {
    // SAFETY: the same function.
    unsafe { open(path, flags, mode) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn ioctl(fd: c_int, command: c_ulong, argument: *const Create) -> c_int {
    if command == CREATE {
        // SAFETY: this command's argument is this structure.
        let what = unsafe { &*argument };
        assert_eq!(what.offset, 0, "only whole files");
        // SAFETY: no memory is involved.
        return unsafe { fcntl(what.memfd as c_int, DUP_CLOSE_ON_EXEC, 3) };
    }
    // SAFETY: what the C library does.
    unsafe { syscall(IOCTL, fd, command, argument) as c_int }
}
