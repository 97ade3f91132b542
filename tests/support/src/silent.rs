//! What holds up whoever touches it: a file whose server is silent, an epoll descriptor whose lock is held, a socket
//! that lingers when it is closed. As hostile peers send them.
//!
//! The file system (FUSE) is mounted in namespaces of a child's, so that an ordinary user can where user namespaces are
//! allowed, and nothing of it is left behind however a test ends. All of it ends after [`LIMIT`], for a test that fails.

use anyhow::{Context, bail};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
use std::ffi::CStr;
use std::fs::File;
use std::io::{IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::ptr::{null, null_mut};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// After so long everything that waits here is let go.
pub const LIMIT: Duration = Duration::from_secs(60);

/// A file system with one file, which is open and of which nothing is answered any more: whoever closes it, asks it or
/// touches a page of it waits until this is dropped.
#[derive(Debug)]
pub struct Silent {
    ends: Arc<AtomicBool>,
    /// A page of it was asked for.
    touched: Arc<AtomicBool>,
    server: Option<JoinHandle<()>>,
    // Last: to close it before its file system has ended takes for ever.
    file: OwnedFd,
}

impl Silent {
    /// The error says why no file system can be served here.
    pub fn mount() -> anyhow::Result<Self> {
        let (here, there) = UnixStream::pair()?;
        let child = Child::mount(&there)?;
        drop(there);
        let device = receive(&here).context("no file system can be served here (/dev/fuse, user namespaces)")?;
        let [ends, silent, touched] = [(); 3].map(|()| Arc::new(AtomicBool::new(false)));
        let (stop, hush, touch) = (ends.clone(), silent.clone(), touched.clone());
        let server = std::thread::spawn(move || serve(File::from(device), &stop, &hush, &touch));
        let file = receive(&here).context("the file that is served cannot be opened");
        // The child closes its own copy, which is still answered.
        drop(child);
        silent.store(true, Ordering::Relaxed);
        Ok(Self { ends, touched, server: Some(server), file: file? })
    }

    /// The file. A copy of it is to be closed after this is dropped.
    pub fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        let _ = self.server.take().map(JoinHandle::join);
    }
}

/// An epoll descriptor whose lock is held, by a thread that puts an event onto a page that nobody serves: whoever asks
/// for the kernel's notes on it waits as long as that file is [`Silent`].
#[derive(Debug)]
pub struct HeldEpoll<'a> {
    epoll: OwnedFd,
    _silent: &'a Silent,
}

impl<'a> HeldEpoll<'a> {
    /// Returns once the lock is held.
    pub fn new(silent: &'a Silent) -> anyhow::Result<Self> {
        use rustix::event::epoll;
        const PAGE: usize = 4096;
        let made = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let event = rustix::event::eventfd(1, rustix::event::EventfdFlags::CLOEXEC)?;
        epoll::add(&made, &event, epoll::EventData::new_u64(0), epoll::EventFlags::IN)?;
        let protection = rustix::mm::ProtFlags::READ | rustix::mm::ProtFlags::WRITE;
        // SAFETY: a new mapping at a place of the kernel's choice; nobody but the kernel touches it, and it stays as
        // long as the process.
        let page =
            unsafe { rustix::mm::mmap(null_mut(), PAGE, protection, rustix::mm::MapFlags::PRIVATE, silent.file(), 0) }?;
        let (page, waits) = (page as usize, made.try_clone()?);
        std::thread::spawn(move || {
            // SAFETY: the page holds one event and is never unmapped. EFAULT when the file system has ended.
            unsafe { libc::epoll_wait(waits.as_raw_fd(), page as *mut libc::epoll_event, 1, -1) };
            drop(event);
        });
        let deadline = Instant::now() + LIMIT / 4;
        while !silent.touched.load(Ordering::Relaxed) {
            if Instant::now() > deadline {
                bail!("no lock of an epoll descriptor could be held");
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(Self { epoll: made, _silent: silent })
    }
}

impl AsFd for HeldEpoll<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

/// A connection that has more to say than its other side takes: whoever closes its last descriptor, by whatever way,
/// waits until this is dropped. It needs no file system and no privilege.
#[derive(Debug)]
pub struct Lingering {
    _listener: TcpListener,
    other: TcpStream,
}

impl Lingering {
    /// The other side, and the descriptor that is to be given away whole.
    pub fn new() -> anyhow::Result<(Self, OwnedFd)> {
        let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        let socket = TcpStream::connect(listener.local_addr()?)?;
        let (other, _) = listener.accept()?;
        rustix::net::sockopt::set_socket_linger(&socket, Some(LIMIT))?;
        socket.set_nonblocking(true)?;
        // Full is full: there is no room at the other side, and some is left at this one.
        let words = [0; 1 << 16];
        while (&socket).write(&words).is_ok() {}
        Ok((Self { _listener: listener, other }, socket.into()))
    }
}

impl Drop for Lingering {
    fn drop(&mut self) {
        // Reset: nothing is waited for any more.
        let _ = rustix::net::sockopt::set_socket_linger(&self.other, Some(Duration::ZERO));
    }
}

/// A descriptor whose closing hangs until this is dropped.
#[derive(Debug)]
pub enum Hanging {
    /// A socket, and its other side.
    Socket(Option<OwnedFd>, Lingering),
    /// A file.
    File(Silent),
}

impl Hanging {
    /// One of each kind that there can be here; the other is said to be skipped by `test`.
    pub fn each(test: &str) -> anyhow::Result<Vec<Self>> {
        let (other, socket) = Lingering::new()?;
        let mut all = vec![Self::Socket(Some(socket), other)];
        match Silent::mount() {
            Ok(silent) => all.push(Self::File(silent)),
            Err(why) => println!("SKIPPED: {test}, with a file: {why:#}"),
        }
        Ok(all)
    }

    /// Sends it so many times with these bytes; from then on it is the receiver's.
    pub fn send(&mut self, socket: impl AsFd, bytes: &[u8], times: usize) -> anyhow::Result<()> {
        match self {
            // The last descriptor of it is the one that hangs.
            Self::Socket(own, _) => {
                let own = own.take().context("it was sent before")?;
                send_with(socket, bytes, &vec![own.as_fd(); times])
            }
            Self::File(silent) => send_with(socket, bytes, &vec![silent.file(); times]),
        }
    }
}

/// Sends bytes with descriptors, as many as the kernel lets through at once.
pub fn send_with(socket: impl AsFd, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> anyhow::Result<()> {
    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(253))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        bail!("so many descriptors cannot be sent at once");
    }
    let sent = rustix::net::sendmsg(socket, &[std::io::IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL)?;
    if sent == bytes.len() { Ok(()) } else { bail!("only {sent} bytes could be sent") }
}

/// The process that mounts, opens and sends; it is waited for when it is dropped.
struct Child(libc::pid_t);

impl Child {
    fn mount(there: &UnixStream) -> anyhow::Result<Self> {
        // Made before the fork: after it only calls that are async-signal-safe may be made.
        // SAFETY: getuid(2) and getgid(2) have no preconditions.
        let (user, group) = unsafe { (libc::getuid(), libc::getgid()) };
        let maps = [format!("0 {user} 1"), format!("0 {group} 1")];
        let socket = there.as_raw_fd();
        // SAFETY: the child calls nothing but what is async-signal-safe, and ends by _exit.
        match unsafe { libc::fork() } {
            -1 => Err(std::io::Error::last_os_error()).context("no child for the file system"),
            0 => {
                // SAFETY: as above; `socket` is open.
                unsafe { child(socket, &maps) };
                // SAFETY: ends this process without running anything of the parent's.
                unsafe { libc::_exit(0) }
            }
            pid => Ok(Self(pid)),
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // SAFETY: a child of this process that nobody else waits for; its status is not asked for.
        while unsafe { libc::waitpid(self.0, null_mut(), 0) } == -1
            && std::io::Error::last_os_error().kind() == std::io::ErrorKind::Interrupted
        {}
    }
}

/// Mounts and opens what [`serve`] serves, and sends the device and the file. Whatever fails ends it.
///
/// # Safety
///
/// To be called in a fresh child. Makes async-signal-safe calls only, allocates nothing, panics never.
unsafe fn child(socket: i32, [users, groups]: &[String; 2]) {
    const FOLDER: &CStr = c"/tmp";
    // SAFETY: all strings are NUL-terminated and live through their calls, and so do the buffers.
    unsafe {
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
        let mut options = *b"fd=00000,rootmode=40000,user_id=0,group_id=0\0";
        let mut rest = device;
        for digit in options[3..8].iter_mut().rev() {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        let flags = libc::MS_NOSUID | libc::MS_NODEV;
        let name = c"fuse".as_ptr();
        if device < 0 || libc::mount(name, FOLDER.as_ptr(), name, flags, options.as_ptr().cast()) != 0 {
            return;
        }
        send(socket, device);
        // At the root of its file system: once this process has ended, that is all there is of its name.
        let file = libc::open(c"/tmp/dmabuf:x".as_ptr(), libc::O_RDWR | libc::O_CLOEXEC);
        if file >= 0 {
            send(socket, file);
        }
    }
}

/// # Safety
///
/// As for [`child`].
unsafe fn write_all(path: &CStr, text: &[u8]) {
    // SAFETY: the string is NUL-terminated, the text as long as it says.
    unsafe {
        let file = libc::open(path.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
        libc::write(file, text.as_ptr().cast(), text.len());
        libc::close(file);
    }
}

/// # Safety
///
/// As for [`child`].
unsafe fn send(socket: i32, fd: i32) {
    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
    // SAFETY: both are open; nothing is allocated.
    let (socket, fds) = unsafe { (BorrowedFd::borrow_raw(socket), [BorrowedFd::borrow_raw(fd)]) };
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&fds));
    let _ = rustix::net::sendmsg(socket, &[std::io::IoSlice::new(b"x")], &mut control, SendFlags::empty());
}

fn receive(socket: &UnixStream) -> anyhow::Result<OwnedFd> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    rustix::net::recvmsg(socket, &mut [IoSliceMut::new(&mut byte)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let fd = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    });
    fd.context("it was not sent")
}

/// The little of the FUSE protocol (linux/fuse.h, version 7.31) that opening a file takes. Dropping `device` ends the
/// file system.
fn serve(mut device: File, ends: &AtomicBool, silent: &AtomicBool, touched: &AtomicBool) {
    let started = Instant::now();
    let mut request = vec![0u8; 1 << 18];
    while !ends.load(Ordering::Relaxed) && started.elapsed() < LIMIT {
        let mut ask = [rustix::event::PollFd::new(&device, rustix::event::PollFlags::IN)];
        let wait = rustix::time::Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
        let _ = rustix::event::poll(&mut ask, Some(&wait));
        let Ok(length) = device.read(&mut request) else { continue };
        let word = |at: usize| u32::from_le_bytes(request[at..at + 4].try_into().unwrap_or_default());
        // READ
        touched.fetch_or(word(4) == 15, Ordering::Relaxed);
        if length < 40 || silent.load(Ordering::Relaxed) {
            continue;
        }
        let (opcode, unique, node) = (word(4), request[8..16].to_vec(), word(16));
        let folder = opcode == 3 && node == 1;
        let mut attributes = vec![0u8; 88];
        attributes[0..8].copy_from_slice(&if folder { 1u64 } else { 2 }.to_le_bytes());
        attributes[8..16].copy_from_slice(&4096u64.to_le_bytes());
        attributes[60..64].copy_from_slice(&if folder { 0o40755u32 } else { 0o100_666 }.to_le_bytes());
        attributes[64..68].copy_from_slice(&1u32.to_le_bytes());
        let (error, answer) = match opcode {
            // LOOKUP: node 2, nothing may be remembered of it.
            1 => (0, [&2u64.to_le_bytes()[..], &[0; 32], &attributes].concat()),
            // GETATTR
            3 => (0, [&[0; 16][..], &attributes].concat()),
            // OPEN
            14 => (0, vec![0; 16]),
            // FLUSH: with any error it would never be asked for again.
            25 => (0, Vec::new()),
            // INIT
            26 => (
                0,
                [&7u32.to_le_bytes()[..], &31u32.to_le_bytes(), &[0; 12], &4096u32.to_le_bytes(), &[0; 40]].concat(),
            ),
            _ => (-libc::ENOSYS, Vec::new()),
        };
        let head = [&(16 + answer.len() as u32).to_le_bytes()[..], &error.to_le_bytes(), &unique].concat();
        let _ = device.write(&[head, answer].concat());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Mutex, MutexGuard, PoisonError};

    /// While one of these tests starts a program, that has a copy of the other's descriptor until it runs, and is who
    /// closes it last.
    fn alone() -> MutexGuard<'static, ()> {
        static ALONE: Mutex<()> = Mutex::new(());
        ALONE.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a thread that closes it waits, for as long as anybody would look.
    fn holds(fd: OwnedFd) -> (bool, JoinHandle<()>) {
        let (tell, told) = std::sync::mpsc::channel();
        let close = std::thread::spawn(move || {
            drop(fd);
            let _ = tell.send(());
        });
        (told.recv_timeout(Duration::from_millis(300)).is_err(), close)
    }

    #[test]
    fn a_silent_file_holds_whoever_closes_it_until_it_ends() {
        let _alone = alone();
        let silent = match Silent::mount() {
            Ok(silent) => silent,
            Err(why) => return println!("SKIPPED: a_silent_file_holds_whoever_closes_it_until_it_ends: {why:#}"),
        };
        let (held, close) = holds(silent.file().try_clone_to_owned().unwrap());
        assert!(held);
        drop(silent);
        close.join().unwrap();
    }

    #[test]
    fn a_lingering_socket_holds_whoever_closes_it_until_it_ends() {
        let _alone = alone();
        let (other, socket) = Lingering::new().unwrap();
        let (held, close) = holds(socket);
        assert!(held);
        drop(other);
        close.join().unwrap();
    }
}
