//! What holds up whoever touches it: a file whose server is silent, an epoll descriptor whose lock is held, a socket
//! that lingers when it is closed. As hostile peers send them.
//!
//! The file system (FUSE) is mounted and served by a child, in namespaces of its own, so that an ordinary user can
//! where user namespaces are allowed, and nothing of it is left behind however a test ends. Whoever waits for it is
//! never the one who serves it, nor shares its memory: a page that is waited for can hold up all that changes a
//! process's memory. All of it ends after [`LIMIT`], for a test that fails.

mod server;

use anyhow::{Context, ensure};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
use std::io::{IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::ptr::null_mut;
use std::sync::OnceLock;
use std::time::Duration;

/// After so long everything that waits here is let go.
pub const LIMIT: Duration = Duration::from_secs(60);
/// Most bytes that are sent with a silent file.
pub const MOST_BYTES: usize = 4000;
/// The kernel's most descriptors of one message (`SCM_MAX_FD`).
const MOST_FDS: usize = 253;

/// A file system with one file, which is open and of which nothing is answered any more: whoever closes it, asks it or
/// touches a page of it waits until this is dropped.
#[derive(Debug)]
pub struct Silent {
    /// Serves it.
    child: Child,
    /// Tells when a page of the file was asked for.
    server: UnixStream,
    /// The child's child, which has it open and sends it.
    holder: UnixStream,
    // Last: to close it before its file system has ended takes for ever.
    file: OnceLock<OwnedFd>,
}

impl Silent {
    /// Mounts and opens it. Fails where that is not allowed.
    pub fn mount() -> anyhow::Result<Self> {
        let ((server, servers), (holder, holders)) = (UnixStream::pair()?, UnixStream::pair()?);
        // Made before the fork: after it only calls that are async-signal-safe may be made.
        // SAFETY: getuid(2) and getgid(2) have no preconditions.
        let (user, group) = unsafe { (libc::getuid(), libc::getgid()) };
        let maps = [format!("0 {user} 1"), format!("0 {group} 1")];
        let sockets = [servers.as_raw_fd(), holders.as_raw_fd()];
        // SAFETY: the child calls nothing but what is async-signal-safe; its ends of the sockets are open.
        let child = Child::run(|| unsafe { server::mount_and_serve(sockets, &maps) })?;
        drop((servers, holders));
        for socket in [&server, &holder] {
            socket.set_read_timeout(Some(LIMIT / 4))?;
        }
        hear(&holder).context("no file system can be served here (/dev/fuse, user namespaces)")?;
        // From here on it answers nothing.
        (&server).write_all(b"s")?;
        hear(&server).context("the file system has ended")?;
        Ok(Self { child, server, holder, file: OnceLock::new() })
    }

    /// The file, from now on open in this process: until this is dropped, a copy of it is not to be closed, and a child
    /// of this process does not come to run its program, which would close it.
    pub fn file(&self) -> anyhow::Result<BorrowedFd<'_>> {
        if self.file.get().is_none() {
            (&self.holder).write_all(b"f")?;
            let _ = self.file.set(receive(&self.holder)?);
        }
        Ok(self.file.get().context("it was not sent")?.as_fd())
    }

    /// Has it sent so many times with these bytes (at most [`MOST_BYTES`]); it is never open in this process, other
    /// than by the socket's other side.
    pub fn send(&self, socket: impl AsFd, bytes: &[u8], times: usize) -> anyhow::Result<()> {
        let times = u8::try_from(times)?;
        ensure!(bytes.len() <= MOST_BYTES, "so many bytes cannot be sent");
        send_with(&self.holder, &[&[b'm', times][..], bytes].concat(), &[socket.as_fd()])?;
        hear(&self.holder).context("it could not be sent")
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        self.child.end();
    }
}

/// An epoll descriptor whose lock is held, by a child that puts an event onto a page that nobody serves: whoever asks
/// for the kernel's notes on it waits as long as that file is [`Silent`].
#[derive(Debug)]
pub struct HeldEpoll<'a> {
    epoll: OwnedFd,
    _silent: &'a Silent,
}

impl<'a> HeldEpoll<'a> {
    /// Returns once the lock is held.
    pub fn new(silent: &'a Silent) -> anyhow::Result<Self> {
        use rustix::event::{EventfdFlags, epoll, eventfd};
        let made = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        // Who closes it last waits for the lock, too: the child has a copy.
        let event = eventfd(1, EventfdFlags::CLOEXEC)?;
        epoll::add(&made, &event, epoll::EventData::new_u64(0), epoll::EventFlags::IN)?;
        send_with(&silent.holder, b"e", &[made.as_fd(), event.as_fd()])?;
        hear(&silent.server).context("no lock of an epoll descriptor could be held")?;
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
            Self::File(silent) => silent.send(socket, bytes, times),
        }
    }
}

/// Sends bytes with descriptors, as many as the kernel lets through at once.
pub fn send_with(socket: impl AsFd, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> anyhow::Result<()> {
    let sent = send_at_once(socket.as_fd(), bytes, fds)?;
    ensure!(sent == bytes.len(), "only {sent} bytes could be sent");
    Ok(())
}

/// Allocates nothing. Says how many bytes were sent.
fn send_at_once(socket: BorrowedFd<'_>, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> rustix::io::Result<usize> {
    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_FDS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(rustix::io::Errno::INVAL);
    }
    rustix::net::sendmsg(socket, &[std::io::IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL)
}

/// A byte, which says that something is done.
fn hear(mut socket: &UnixStream) -> std::io::Result<()> {
    socket.read_exact(&mut [0])
}

/// A child that runs until it is dropped.
#[derive(Debug)]
struct Child(libc::pid_t);

impl Child {
    /// `body` makes async-signal-safe calls only, allocates nothing and panics never.
    fn run(body: impl FnOnce()) -> anyhow::Result<Self> {
        // SAFETY: the child does what `body` promises, and ends by _exit.
        match unsafe { libc::fork() } {
            -1 => Err(std::io::Error::last_os_error()).context("no child can be made"),
            0 => {
                // SAFETY: async-signal-safe.
                unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
                body();
                // SAFETY: ends this process without running anything of the parent's.
                unsafe { libc::_exit(0) }
            }
            pid => Ok(Self(pid)),
        }
    }

    /// Ends it. What it served has ended then, too; it is waited for when this is dropped.
    fn end(&self) {
        // SAFETY: a child of this process that nobody has waited for.
        unsafe { libc::kill(self.0, libc::SIGKILL) };
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.end();
        // One that waits for a page ends only with its server, which may be dropped after it.
        let pid = self.0;
        std::thread::spawn(move || {
            // SAFETY: a child of this process that nobody else waits for; its status is not asked for.
            while unsafe { libc::waitpid(pid, null_mut(), 0) } == -1
                && std::io::Error::last_os_error().kind() == std::io::ErrorKind::Interrupted
            {}
        });
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Mutex, MutexGuard, PoisonError};
    use std::thread::JoinHandle;

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
        let (held, close) = holds(silent.file().unwrap().try_clone_to_owned().unwrap());
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
