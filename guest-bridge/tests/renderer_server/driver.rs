//! Plays phyllome-guest: starts the renderer, sends requests and reads events, with deadlines.

use phyllome_guest_bridge::renderer::limits::{MAX_INLINE, MAX_PACKET};
use phyllome_guest_bridge::renderer::wire::{
    self, Box3d, Create3d, Event, Export, Piece, ReadBack, Region, Request, Transfer3d,
};
use phyllome_test_support::{memory, process, wait};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use std::collections::VecDeque;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How long anything may take. Generous: other tests run on the same processors.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Where the guest's memory begins.
pub const RAM: u64 = 0x1000_0000;
/// Bytes of guest memory.
pub const RAM_SIZE: u64 = 4 << 20;

pub const B8G8R8A8: u32 = 1;
pub const B8G8R8X8: u32 = 2;
pub const R8G8B8A8: u32 = 67;
pub const R8G8B8X8: u32 = 134;

/// An [`Event`] that owns what it says.
#[derive(Debug)]
pub enum Said {
    Capset(u32, u32, usize),
    Ready(String),
    Unable(String),
    Done(i32),
    Exported(Export, Vec<OwnedFd>),
    Mapped(
        #[allow(dead_code, reason = "virgl alone maps nothing")] u64,
        #[allow(dead_code, reason = "as above")] OwnedFd,
    ),
    Fenced(u64),
}

pub struct Renderer {
    child: Child,
    socket: Option<OwnedFd>,
    said: VecDeque<Said>,
    /// How many packets it has sent.
    pub packets: usize,
    pub capsets: Vec<(u32, u32, usize)>,
    pub name: String,
}

impl Drop for Renderer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Renderer {
    /// One that has said nothing yet.
    pub fn bare(arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        Self::started_by(arguments, |command| {
            command.envs(environment.iter().copied());
        })
    }

    /// As [`Self::bare`], with the command changed.
    pub fn started_by(arguments: &[&str], change: impl FnOnce(&mut Command)) -> Self {
        let flags = SocketFlags::CLOEXEC;
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_phyllome-renderer"));
        command
            .args(["--socket", "0", "--render-node", "none"])
            .args(arguments)
            .env("MESA_SHADER_CACHE_DISABLE", "true");
        command.stdin(Stdio::from(theirs)).stderr(Stdio::null());
        change(&mut command);
        let child = command.spawn().unwrap();
        Self { child, socket: Some(ours), said: VecDeque::new(), packets: 0, capsets: Vec::new(), name: String::new() }
    }

    /// Where its standard error can be read, if that is a pipe and was not asked for before.
    pub fn stderr(&mut self) -> Option<ChildStderr> {
        self.child.stderr.take()
    }

    /// One that is ready.
    pub fn start() -> Self {
        Self::start_with(&[], &[])
    }

    pub fn start_with(arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        Self::bare(arguments, environment).ready()
    }

    /// Waits until it is.
    pub fn ready(mut self) -> Self {
        loop {
            match self.next() {
                Some(Said::Capset(id, version, bytes)) => self.capsets.push((id, version, bytes)),
                Some(Said::Ready(name)) => {
                    self.name = name;
                    return self;
                }
                other => panic!("instead of being ready it said {other:?}"),
            }
        }
    }

    /// One that is ready and has the guest's memory, whose file is returned too.
    pub fn with_memory() -> (Self, OwnedFd) {
        let mut renderer = Self::start();
        let ram = sealed(RAM_SIZE);
        assert_eq!(renderer.set_memory(&[Region { address: RAM, length: RAM_SIZE, offset: 0 }], &[&ram]), 0);
        (renderer, ram)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn close(&mut self) {
        self.socket = None;
    }

    /// `false` if the other end is gone.
    pub fn send_packet(&mut self, packet: &[u8], files: &[BorrowedFd<'_>]) -> bool {
        let message = SendAncillaryMessage::ScmRights(files);
        let mut space = vec![MaybeUninit::uninit(); message.size()];
        let mut control = SendAncillaryBuffer::new(&mut space);
        assert!(files.is_empty() || control.push(message));
        let socket = self.socket.as_ref().unwrap();
        sendmsg(socket, &[IoSlice::new(packet)], &mut control, SendFlags::NOSIGNAL).is_ok()
    }

    pub fn send_with(&mut self, request: &Request<'_>, files: &[BorrowedFd<'_>]) -> bool {
        let mut packet = Vec::new();
        assert!(wire::append(&mut packet, request));
        self.send_packet(&packet, files)
    }

    pub fn send(&mut self, request: &Request<'_>) -> bool {
        self.send_with(request, &[])
    }

    /// Parts of a bulk that is longer than a message; what is left for the message itself.
    pub fn send_parts<'a>(&mut self, mut bulk: &'a [u8]) -> &'a [u8] {
        while bulk.len() > MAX_INLINE {
            let (part, rest) = bulk.split_at(MAX_INLINE);
            assert!(self.send(&Request::Part(part)));
            bulk = rest;
        }
        bulk
    }

    /// The next event; `None` when the renderer has closed its end. Panics if nothing comes in time.
    pub fn next(&mut self) -> Option<Said> {
        let end = Instant::now() + PATIENCE;
        while self.said.is_empty() {
            assert!(Instant::now() < end, "the renderer hangs");
            if !self.readable(Duration::from_millis(500)) {
                continue;
            }
            self.receive()?;
        }
        self.said.pop_front()
    }

    /// Whether something can be read within `patience`.
    pub fn readable(&self, patience: Duration) -> bool {
        let socket = self.socket.as_ref().unwrap();
        let mut polled = [PollFd::new(socket, PollFlags::IN)];
        poll(&mut polled, Some(&Timespec::try_from(patience).unwrap())).unwrap() > 0
    }

    fn receive(&mut self) -> Option<()> {
        let mut buffer = vec![0; MAX_PACKET];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::CMSG_CLOEXEC;
        let socket = self.socket.as_ref().unwrap();
        let message = recvmsg(socket, &mut [IoSliceMut::new(&mut buffer)], &mut control, flags).ok()?;
        let mut files = Vec::new();
        for part in control.drain() {
            if let RecvAncillaryMessage::ScmRights(came) = part {
                files.extend(came);
            }
        }
        self.packets += 1;
        let mut packet = buffer.get(..message.bytes).filter(|packet| !packet.is_empty())?;
        while !packet.is_empty() {
            let (event, rest) = wire::take::<Event<'_>>(packet).expect("an event");
            packet = rest;
            self.said.push_back(match event {
                Event::Capset { id, version, data } => Said::Capset(id, version, data.len()),
                // What is not there on this computer is no business of these tests.
                Event::Lacks(_) => continue,
                Event::Ready { driver } => Said::Ready(driver.into()),
                Event::Unable(why) => Said::Unable(why.into()),
                Event::Done(errno) => Said::Done(errno),
                Event::Exported(export) => Said::Exported(export, std::mem::take(&mut files)),
                Event::Mapped { size, .. } => Said::Mapped(size, files.pop().expect("a descriptor")),
                Event::Fenced(fence) => Said::Fenced(fence),
            });
        }
        assert!(files.is_empty(), "descriptors that belong to nothing");
        Some(())
    }

    /// The errno of a request, 0 if it was done.
    pub fn ask(&mut self, request: &Request<'_>) -> i32 {
        assert!(self.send(request), "the renderer is gone");
        self.done()
    }

    pub fn done(&mut self) -> i32 {
        match self.next() {
            Some(Said::Done(errno)) => errno,
            other => panic!("instead of a result it said {other:?}"),
        }
    }

    pub fn set_memory(&mut self, regions: &[Region], files: &[&OwnedFd]) -> i32 {
        let files: Vec<BorrowedFd<'_>> = files.iter().map(|file| file.as_fd()).collect();
        assert!(self.send_with(&Request::Memory(regions.to_vec()), &files));
        self.done()
    }

    pub fn create(&mut self, resource: u32, what: Create3d) -> i32 {
        self.ask(&Request::Create { resource, what })
    }

    pub fn attach(&mut self, resource: u32, pieces: &[Piece]) -> i32 {
        let bulk: Vec<u8> = pieces.iter().flat_map(|piece| piece.to_bytes()).collect();
        let last = self.send_parts(&bulk);
        self.ask(&Request::Attach { resource, pieces: last })
    }

    /// A texture with the first bytes of guest memory behind it, in two pieces.
    pub fn create_backed(&mut self, resource: u32, what: Create3d) {
        assert_eq!(self.create(resource, what), 0);
        let bytes = what.width * what.height * 4;
        let cut = bytes / 2 + 12;
        let pieces =
            [Piece { address: RAM, length: cut }, Piece { address: RAM + u64::from(cut), length: bytes - cut }];
        assert_eq!(self.attach(resource, &pieces), 0);
    }

    pub fn context(&mut self, context: u32, flags: u32) -> i32 {
        self.ask(&Request::CreateContext { context, flags, name: b"test" })
    }

    pub fn submit(&mut self, context: u32, words: &[u32]) -> i32 {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let last = self.send_parts(&bytes);
        self.ask(&Request::Submit { context, commands: last })
    }

    pub fn transfer_to(&mut self, resource: u32, transfer: Transfer3d) -> i32 {
        self.ask(&Request::TransferTo { resource, transfer })
    }

    pub fn target(&mut self, target: u32, file: &OwnedFd, length: u64) -> i32 {
        assert!(self.send_with(&Request::Target { target, length }, &[file.as_fd()]));
        self.done()
    }

    pub fn read_back(&mut self, resource: u32, target: u32, part: ReadBack) -> i32 {
        self.ask(&Request::ReadBack { resource, target, part })
    }

    /// Its exit, which must come in time.
    pub fn exit(&mut self) -> ExitStatus {
        wait::value("the renderer's end", PATIENCE, || Ok(self.child.try_wait()?)).unwrap()
    }

    pub fn descriptors(&self) -> usize {
        process::descriptors(self.pid()).unwrap()
    }
}

pub fn memfd(bytes: u64) -> OwnedFd {
    memory::zeros(bytes).unwrap()
}

pub fn sealed(bytes: u64) -> OwnedFd {
    memory::sealed(bytes).unwrap()
}

pub fn write(file: &OwnedFd, bytes: &[u8]) {
    assert_eq!(rustix::io::pwrite(file, bytes, 0).unwrap(), bytes.len());
}

pub fn read(file: &OwnedFd, bytes: usize) -> Vec<u8> {
    let mut buffer = vec![0; bytes];
    assert_eq!(rustix::io::pread(file, &mut buffer, 0).unwrap(), bytes);
    buffer
}

/// A 2D texture that can be drawn to, sampled and shown.
pub fn texture(format: u32, width: u32, height: u32) -> Create3d {
    let bind = 1 << 1 | 1 << 3 | 1 << 18;
    Create3d { target: 2, format, bind, width, height, depth: 1, array_size: 1, ..Create3d::default() }
}

pub fn whole(what: &Create3d) -> Transfer3d {
    let region = Box3d { width: what.width, height: what.height, depth: 1, ..Box3d::default() };
    Transfer3d { region, ..Transfer3d::default() }
}

/// Every byte of every pixel differs from its neighbours'.
pub fn pattern(width: u32, height: u32) -> Vec<u8> {
    let pixel = |x: u32, y: u32| [x as u8, y as u8, (x ^ y) as u8 ^ 0x5a, 0xff];
    (0..height).flat_map(|y| (0..width).flat_map(move |x| pixel(x, y))).collect()
}

/// A virgl command.
pub fn command(number: u32, object: u32, words: &[u32]) -> Vec<u32> {
    let mut all = vec![number | object << 8 | (words.len() as u32) << 16];
    all.extend_from_slice(words);
    all
}

/// Draws to `resource` by clearing it, through a surface called `surface`.
pub fn clear(surface: u32, resource: u32, format: u32, colour: [f32; 4]) -> Vec<u32> {
    let [r, g, b, a] = colour.map(f32::to_bits);
    let mut all = command(1, 8, &[surface, resource, format, 0, 0]);
    all.extend(command(5, 0, &[1, 0, surface]));
    all.extend(command(7, 0, &[1 << 2, r, g, b, a, 0, 0, 0]));
    all
}
