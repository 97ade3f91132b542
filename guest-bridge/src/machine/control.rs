//! The control socket: whoever the runtime folder lets in asks, and hears how the guest is.
//!
//! A peer must be the same user. It is still not trusted with more than its requests: lines and descriptors are bounded
//! by the framing, and a peer that does not read what it is told is dropped, so that it costs a few hundred kilobytes
//! and no time.

use phyllome_protocol::control::{Request, ToGuest};
use phyllome_protocol::framing::{self, Decoder, FramingError};
use std::cell::Cell;
use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::Interest;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

/// Most connections at a time; one more takes another's place.
pub const MAX_CONNECTIONS: usize = 8;
/// Lines that may wait for a peer before it is dropped.
pub const OUTBOX: usize = 64;
/// Bytes that may wait in addition.
const MAX_UNSENT: usize = 512 * 1024;
/// How long a peer may take to read the last lines.
const FAREWELL: Duration = Duration::from_secs(1);
/// How long nothing is accepted after the system refused to.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// What a connection brings.
#[derive(Debug)]
pub struct Asked {
    /// The connection's number.
    pub connection: u64,
    /// What is asked; `None` when the connection is closed.
    pub message: Option<(ToGuest, Option<OwnedFd>)>,
}

/// The socket that is listened on.
#[derive(Debug)]
pub struct Listener {
    socket: UnixListener,
    path: PathBuf,
    /// Nothing is accepted before.
    pause: Cell<Option<Instant>>,
    /// How often the system has refused to accept.
    refused: Cell<u64>,
}

impl Listener {
    /// Listens at `path`. What lies there is replaced in one step, so the caller must hold the guest's lock.
    pub fn bind(path: &Path) -> io::Result<Self> {
        let new = path.with_extension("new");
        if let Err(error) = std::fs::remove_file(&new)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(error);
        }
        let socket = UnixListener::bind(&new)?;
        std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o600))?;
        std::fs::rename(&new, path)?;
        Ok(Self { socket, path: path.to_owned(), pause: Cell::default(), refused: Cell::default() })
    }

    /// The next connection of the same user. Cancel-safe.
    pub async fn accept(&self) -> UnixStream {
        loop {
            // Whoever waits for this may give up and come again as often as he likes.
            if let Some(until) = self.pause.get() {
                tokio::time::sleep_until(until).await;
                self.pause.set(None);
            }
            match self.socket.accept().await {
                Ok((stream, _)) => match stream.peer_cred() {
                    Ok(peer) if peer.uid() == rustix::process::geteuid().as_raw() => return stream,
                    Ok(peer) => tracing::warn!(uid = peer.uid(), "another user is not let in"),
                    Err(error) => tracing::warn!(%error, "a peer without a user is not let in"),
                },
                Err(error) => {
                    self.refused.set(self.refused.get().saturating_add(1));
                    self.pause.set(Some(Instant::now() + ACCEPT_PAUSE));
                    tracing::warn!(%error, times = self.refused.get(), "cannot accept a control connection");
                }
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::debug!(%error, "the control socket was gone already");
        }
    }
}

/// Serves one connection until either side ends it. Lines come from `outbox`; when its sender is dropped, what
/// is left is sent and the connection closed.
pub async fn serve(stream: UnixStream, connection: u64, asked: mpsc::Sender<Asked>, outbox: mpsc::Receiver<Arc<[u8]>>) {
    let mut peer = Peer { stream, decoder: Decoder::new(), unsent: VecDeque::new(), outbox, told_all: false };
    match peer.run(connection, &asked).await {
        Ok(()) | Err(FramingError::Closed) => {}
        Err(error) => tracing::info!(connection, %error, "a control connection is closed"),
    }
    // The peer sees the end before the supervisor does.
    drop(peer);
    // Nobody listens any longer when the whole process ends.
    let _ = asked.send(Asked { connection, message: None }).await;
}

struct Peer {
    stream: UnixStream,
    decoder: Decoder,
    unsent: VecDeque<u8>,
    outbox: mpsc::Receiver<Arc<[u8]>>,
    told_all: bool,
}

impl Peer {
    async fn run(&mut self, connection: u64, asked: &mpsc::Sender<Asked>) -> Result<(), FramingError> {
        while !self.told_all {
            while let Some(message) = self.decoder.next_message::<ToGuest>()? {
                let fd = match message.request {
                    Request::AttachScreen { .. } => self.decoder.take_fd(),
                    Request::Verb(_) | Request::SendKeys { .. } | Request::Report => None,
                };
                if asked.send(Asked { connection, message: Some((message, fd)) }).await.is_err() {
                    return Ok(());
                }
            }
            self.turn().await?;
        }
        timeout(FAREWELL, async {
            while !self.unsent.is_empty() {
                self.stream.writable().await.map_err(io_error)?;
                self.write()?;
            }
            Ok(())
        })
        .await
        .unwrap_or(Ok(()))
    }

    async fn turn(&mut self) -> Result<(), FramingError> {
        tokio::select! {
            ready = self.stream.readable() => {
                ready.map_err(io_error)?;
                self.read()?;
            }
            ready = self.stream.writable(), if !self.unsent.is_empty() => {
                ready.map_err(io_error)?;
                self.write()?;
            }
            line = self.outbox.recv() => match line {
                Some(line) if self.unsent.len().saturating_add(line.len()) <= MAX_UNSENT => self.unsent.extend(line.iter()),
                Some(_) => return Err(FramingError::Io(rustix::io::Errno::NOBUFS)),
                None => self.told_all = true,
            },
        }
        Ok(())
    }

    fn read(&mut self) -> Result<(), FramingError> {
        let (stream, decoder) = (&self.stream, &mut self.decoder);
        let mut broken = None;
        let done = stream.try_io(Interest::READABLE, || match decoder.receive(stream) {
            Ok(true) => Ok(()),
            Ok(false) => Err(io::ErrorKind::WouldBlock.into()),
            Err(error) => {
                broken = Some(error);
                Ok(())
            }
        });
        match (broken, done) {
            (Some(error), _) => Err(error),
            (None, Err(error)) if error.kind() != io::ErrorKind::WouldBlock => Err(io_error(error)),
            _ => Ok(()),
        }
    }

    fn write(&mut self) -> Result<(), FramingError> {
        while !self.unsent.is_empty() {
            let (first, _) = self.unsent.as_slices();
            match self.stream.try_write(first) {
                Ok(count) => drop(self.unsent.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(io_error(error)),
            }
        }
        Ok(())
    }
}

fn io_error(error: io::Error) -> FramingError {
    FramingError::Io(rustix::io::Errno::from_io_error(&error).unwrap_or(rustix::io::Errno::IO))
}

/// A message as a line to put into outboxes.
pub fn line<T: serde::Serialize>(message: &T) -> Option<Arc<[u8]>> {
    framing::encode(message).map(Arc::from).inspect_err(|error| tracing::error!(%error, "a message has no JSON")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use phyllome_protocol::GuestVerb;
    use std::io::{Read, Write};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream as StdUnixStream;

    fn block_on<T>(work: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { timeout(Duration::from_secs(30), work).await.unwrap() })
    }

    struct Fixture {
        there: StdUnixStream,
        asked: mpsc::Receiver<Asked>,
        outbox: mpsc::Sender<Arc<[u8]>>,
    }

    fn fixture() -> Fixture {
        let (here, there) = StdUnixStream::pair().unwrap();
        here.set_nonblocking(true).unwrap();
        let (asked_sender, asked) = mpsc::channel(4);
        let (outbox, lines) = mpsc::channel(OUTBOX);
        tokio::spawn(serve(UnixStream::from_std(here).unwrap(), 7, asked_sender, lines));
        Fixture { there, asked, outbox }
    }

    #[test]
    fn a_screen_arrives_with_its_request_only() {
        block_on(async {
            let mut fix = fixture();
            let attach = ToGuest { id: 1, request: Request::AttachScreen { width: 1, height: 2 } };
            let (end, _other) = StdUnixStream::pair().unwrap();
            framing::send_blocking(&fix.there, &attach, &[end.as_fd()]).unwrap();
            framing::send_blocking(&fix.there, &ToGuest { id: 2, request: Request::Verb(GuestVerb::Pause) }, &[])
                .unwrap();
            let (message, fd) = fix.asked.recv().await.unwrap().message.unwrap();
            assert_eq!((message, fd.is_some()), (attach, true));
            assert!(fix.asked.recv().await.unwrap().message.unwrap().1.is_none());
        });
    }

    #[test]
    fn broken_peers_are_closed() {
        let endless = vec![b'x'; framing::MAX_LINE + 2];
        let deep = [vec![b'['; 100_000], vec![b'\n']].concat();
        for bytes in [&b"{}\n"[..], b"\x00\xff\n", b"{\"id\":\"a\",\"do\":\"kill\"}\n", &deep, &endless] {
            block_on(async {
                let mut fix = fixture();
                let mut there = fix.there.try_clone().unwrap();
                let bytes = bytes.to_vec();
                std::thread::spawn(move || there.write_all(&bytes));
                let closed = fix.asked.recv().await.unwrap();
                assert!(closed.message.is_none() && closed.connection == 7);
            });
        }
    }

    #[test]
    fn half_a_message_and_silence_cost_nothing_and_block_nobody() {
        block_on(async {
            let mut fix = fixture();
            fix.there.write_all(b"{\"id\":1,").unwrap();
            fix.outbox.send(Arc::from(&b"hello\n"[..])).await.unwrap();
            drop(fix.outbox);
            // The other side's farewell is heard though the request never ends.
            assert!(fix.asked.recv().await.unwrap().message.is_none());
            let mut text = [0; 6];
            fix.there.read_exact(&mut text).unwrap();
            assert_eq!(&text, b"hello\n");
        });
    }

    #[test]
    fn a_peer_that_does_not_read_is_dropped_after_bounded_bytes() {
        block_on(async {
            let mut fix = fixture();
            let line: Arc<[u8]> = vec![b'y'; 16 * 1024].into();
            let mut sent = 0usize;
            while fix.outbox.send(line.clone()).await.is_ok() {
                sent += line.len();
                assert!(sent < 4 * 1024 * 1024, "{sent}");
            }
            assert!(fix.asked.recv().await.unwrap().message.is_none());
        });
    }

    #[test]
    fn a_system_that_refuses_to_accept_is_not_asked_again_for_a_while() {
        block_on(async {
            // A pipe with something in it: it is ready, and every accept fails at once.
            let (readable, mut writable) = io::pipe().unwrap();
            writable.write_all(b"x").unwrap();
            let socket = std::os::unix::net::UnixListener::from(OwnedFd::from(readable));
            socket.set_nonblocking(true).unwrap();
            let socket = UnixListener::from_std(socket).unwrap();
            let path = tempfile::tempdir().unwrap().path().join("control.sock");
            let listener = Listener { socket, path, pause: Cell::default(), refused: Cell::default() };
            let started = Instant::now();
            // The supervisor waits for many things, and begins anew whenever one has happened.
            for _ in 0..100 {
                tokio::select! {
                    _ = listener.accept() => panic!("nobody is there"),
                    () = tokio::time::sleep(Duration::from_millis(1)) => {}
                }
            }
            let refused = listener.refused.get();
            assert!((1..=1 + started.elapsed().as_secs()).contains(&refused), "{refused}");
        });
    }

    #[test]
    fn a_stale_socket_is_replaced_and_nobody_else_may_open_it() {
        block_on(async {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("control.sock");
            drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
            assert!(StdUnixStream::connect(&path).is_err(), "stale");
            let listener = Listener::bind(&path).unwrap();
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
            let _peer = StdUnixStream::connect(&path).unwrap();
            listener.accept().await;
            drop(listener);
            assert!(!path.exists());
        });
    }
}
