//! The processes behind a [`Silent`](super::Silent) file: one mounts and serves its file system, one has it open.
//!
//! All of it runs between a fork and the end of that child: it makes async-signal-safe calls only, allocates nothing
//! and panics never.

use super::{LIMIT, MOST_BYTES, MOST_FDS, send_at_once};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
use std::ffi::CStr;
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::ptr::{null, null_mut};
use std::time::Instant;

/// Closes all descriptors of a child but these, which get other numbers: with copies of other tests' sockets it would
/// keep the ends of those from being seen.
///
/// # Safety
///
/// To be called in a fresh child, with open descriptors. Makes async-signal-safe calls only.
unsafe fn keep<const N: usize>(fds: [i32; N]) -> [i32; N] {
    const HIGH: i32 = 900;
    let mut at = HIGH - 1;
    // SAFETY: nobody else is in this process who could use what is closed.
    unsafe {
        let kept = fds.map(|fd| {
            at += 1;
            libc::dup3(fd, at, libc::O_CLOEXEC)
        });
        libc::syscall(libc::SYS_close_range, 3u32, (HIGH - 1) as u32, 0u32);
        libc::syscall(libc::SYS_close_range, at as u32 + 1, u32::MAX, 0u32);
        kept
    }
}

/// Puts an event of the epoll descriptor onto a page of the file.
///
/// # Safety
///
/// To be called in a fresh child, with open descriptors. Makes async-signal-safe calls only.
unsafe fn wait_onto(file: i32, epoll: i32) {
    // SAFETY: a new mapping at a place of the kernel's choice, which only the kernel writes to and which stays as long
    // as the process; the page holds one event.
    unsafe {
        let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE);
        let page = libc::mmap(null_mut(), 4096, protection, flags, file, 0);
        if page != libc::MAP_FAILED {
            // EFAULT when the file system has ended.
            libc::epoll_wait(epoll, page.cast(), 1, -1);
        }
    }
}

/// Mounts a file system, has its one file opened and sent by a child, and serves it. Whatever fails ends it.
///
/// # Safety
///
/// To be called in a fresh child. Makes async-signal-safe calls only, allocates nothing, panics never.
pub(super) unsafe fn mount_and_serve(sockets: [i32; 2], [users, groups]: &[String; 2]) {
    const FOLDER: &CStr = c"/tmp";
    const BEFORE: usize = 39;
    // SAFETY: all strings are NUL-terminated and live through their calls, and so do the buffers.
    unsafe {
        let [socket, holder] = keep(sockets);
        let own_user = libc::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNS) == 0;
        if own_user {
            write_all(c"/proc/self/setgroups", b"deny");
            write_all(c"/proc/self/uid_map", users.as_bytes());
            write_all(c"/proc/self/gid_map", groups.as_bytes());
        } else if libc::unshare(libc::CLONE_NEWNS) != 0 {
            return;
        }
        libc::mount(null(), c"/".as_ptr(), null(), libc::MS_REC | libc::MS_PRIVATE, null());
        let device = libc::open(c"/dev/fuse".as_ptr(), libc::O_RDWR | libc::O_NONBLOCK | libc::O_CLOEXEC);
        // A number that begins with 0 would be read as an octal one.
        let mut options = *b"rootmode=40000,user_id=0,group_id=0,fd=\0\0\0\0\0\0\0\0\0\0\0";
        let (mut rest, mut length) = (device.max(0), 1);
        while rest > 9 {
            (rest, length) = (rest / 10, length + 1);
        }
        rest = device.max(0);
        for digit in options.iter_mut().skip(BEFORE).take(length).rev() {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        let flags = libc::MS_NOSUID | libc::MS_NODEV;
        let name = c"fuse".as_ptr();
        if device < 0 || libc::mount(name, FOLDER.as_ptr(), name, flags, options.as_ptr().cast()) != 0 {
            return;
        }
        if libc::fork() == 0 {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            libc::close(device);
            libc::close(socket);
            let file = libc::open(c"/tmp/dmabuf:x".as_ptr(), libc::O_RDWR | libc::O_CLOEXEC);
            // At the root of its file system: once that is mounted nowhere, that is all of its name.
            libc::umount2(FOLDER.as_ptr(), libc::MNT_DETACH);
            if file >= 0 {
                hold(file, holder);
            }
            libc::_exit(0);
        }
        libc::close(holder);
        serve(device, socket);
    }
}

/// Says that the file is open, and then sends it where it is told: “f” to who asks, “m” with what follows after a
/// number of times, along the socket that comes with it; “e” holds the lock of the epoll descriptor that comes with it.
///
/// # Safety
///
/// As for [`mount_and_serve`].
unsafe fn hold(file: i32, socket: i32) {
    // SAFETY: both stay open as long as this process; so does what a child of it is given.
    unsafe {
        let (shown, socket) = (BorrowedFd::borrow_raw(file), BorrowedFd::borrow_raw(socket));
        let mut done = send_at_once(socket, b"k", &[]).is_ok();
        while done {
            let mut bytes = [0; MOST_BYTES + 2];
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let parts = &mut [IoSliceMut::new(&mut bytes)];
            let Ok(received) = rustix::net::recvmsg(socket, parts, &mut control, RecvFlags::CMSG_CLOEXEC) else {
                return;
            };
            let mut given = [None, None];
            for message in control.drain() {
                if let RecvAncillaryMessage::ScmRights(fds) = message {
                    given.iter_mut().zip(fds).for_each(|(place, fd)| *place = Some(fd));
                }
            }
            done = match (bytes.get(..received.bytes), &given) {
                (Some([b'f']), _) => send_at_once(socket, b"x", &[shown]).is_ok(),
                (Some([b'm', times, words @ ..]), [Some(to), _]) => {
                    let copies = [shown; MOST_FDS];
                    let sent = send_at_once(to.as_fd(), words, copies.get(..usize::from(*times)).unwrap_or(&copies));
                    sent == Ok(words.len()) && send_at_once(socket, b"k", &[]).is_ok()
                }
                (Some([b'e']), [Some(epoll), _]) => {
                    if libc::fork() == 0 {
                        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                        wait_onto(file, epoll.as_raw_fd());
                        libc::_exit(0);
                    }
                    true
                }
                _ => false,
            };
        }
    }
}

/// # Safety
///
/// As for [`mount_and_serve`].
unsafe fn write_all(path: &CStr, text: &[u8]) {
    // SAFETY: the string is NUL-terminated, the text as long as it says.
    unsafe {
        let file = libc::open(path.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
        libc::write(file, text.as_ptr().cast(), text.len());
        libc::close(file);
    }
}

/// The little of the FUSE protocol (linux/fuse.h, version 7.31) that opening a file takes, until the parent has gone or
/// [`LIMIT`] is over. A byte from the parent makes it silent, which it confirms; then it tells of the first READ.
///
/// # Safety
///
/// As for [`mount_and_serve`].
unsafe fn serve(device: i32, socket: i32) {
    /// Header of an answer: its length, an error, and which request it is to.
    const HEADER: usize = 16;
    let (mut request, mut silent, mut told) = ([0u8; 1 << 16], false, false);
    let started = Instant::now();
    while started.elapsed() < LIMIT {
        let wants = |fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
        let mut asks = [wants(device), wants(socket)];
        let mut byte = 0u8;
        // SAFETY: the buffers are as long as it is said; both descriptors are open.
        let length = unsafe {
            libc::poll(asks.as_mut_ptr(), 2, 1000);
            if asks[1].revents != 0 {
                if libc::read(socket, (&raw mut byte).cast(), 1) != 1 {
                    return;
                }
                silent = true;
                libc::send(socket, (&raw const byte).cast(), 1, libc::MSG_NOSIGNAL);
            }
            libc::read(device, request.as_mut_ptr().cast(), request.len())
        };
        let word =
            |at: usize| request.get(at..at + 4).and_then(|four| four.try_into().ok()).map_or(0, u32::from_le_bytes);
        let (opcode, node) = (word(4), word(16));
        if length < 40 {
            continue;
        }
        // READ
        if opcode == 15 && silent && !told {
            told = true;
            // SAFETY: as above.
            unsafe { libc::send(socket, (&raw const byte).cast(), 1, libc::MSG_NOSIGNAL) };
        }
        if silent {
            continue;
        }
        let mut answer = [0u8; 160];
        let mut put = |at: usize, number: u32| {
            answer.iter_mut().skip(at).zip(number.to_le_bytes()).for_each(|(byte, new)| *byte = new);
        };
        let folder = opcode == 3 && node == 1;
        // fuse_attr: inode, size, mode, links.
        let mut attributes = |at: usize| {
            put(at, if folder { 1 } else { 2 });
            put(at + 8, 4096);
            put(at + 60, if folder { 0o40755 } else { 0o100_666 });
            put(at + 64, 1);
        };
        let (error, body) = match opcode {
            // LOOKUP: node 2, nothing may be remembered of it.
            1 => {
                attributes(HEADER + 40);
                put(HEADER, 2);
                (0, 40 + 88)
            }
            // GETATTR
            3 => {
                attributes(HEADER + 16);
                (0, 16 + 88)
            }
            // OPEN
            14 => (0, 16),
            // FLUSH: with any error it would never be asked for again.
            25 => (0, 0),
            // INIT: version, and most that is written at once.
            26 => {
                put(HEADER, 7);
                put(HEADER + 4, 31);
                put(HEADER + 20, 4096);
                (0, 64)
            }
            _ => (-libc::ENOSYS, 0),
        };
        put(0, (HEADER + body) as u32);
        put(4, error as u32);
        put(8, word(8));
        put(12, word(12));
        // SAFETY: the buffer is longer than every answer.
        unsafe { libc::write(device, answer.as_ptr().cast(), HEADER + body) };
    }
}
