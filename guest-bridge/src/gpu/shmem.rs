//! The way back to QEMU on the generic transport: "the configuration has changed", and "map this file into the guest's
//! window".
//!
//! Requests go over the socket that QEMU gives for them, one after another, each when the one before is answered: QEMU
//! answers from the same thread that waits for our own answers, so nothing here ever waits. What QEMU says is taken as
//! yes or no and nothing else; a socket that breaks the protocol is closed, and nothing is mapped from then on.

use super::class::Class;
use super::outcome::Token;
use super::window::{Range, Window};
use super::wire::Status;
use crate::seldom::seldom;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use std::collections::{HashMap, HashSet, VecDeque};
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// `VIRTIO_GPU_SHM_ID_HOST_VISIBLE`.
pub const SHARED_MEMORY_ID: u8 = 1;
/// Bytes of the window: as much as a guest's 3D resources may have together.
pub const WINDOW: u64 = 4 << 30;
/// How long after QEMU's answer a mapping is taken for done even if QEMU has not said so in its memory table.
const SETTLE: Duration = Duration::from_millis(50);
/// Mappings that are under way at one time: each may hold a file until QEMU has answered all before it. Drivers send
/// more at once (Linux maps a blob with each object that it makes, and waits for none), which the specification allows;
/// an error would be the failure of a program in the guest. So the queue is not served until one is done: a device may
/// take as long as it likes for a command (virtio 1.3, 2.7.13), and QEMU is waited for in any case.
const MAX_UNDER_WAY: usize = 64;

// vhost-user's numbers (QEMU's docs/interop/vhost-user): messages to the frontend, version 1, "answer, please", "this
// answers".
const CONFIG_CHANGE: u32 = 2;
const SHMEM_MAP: u32 = 9;
const SHMEM_UNMAP: u32 = 10;
const VERSION: u32 = 1;
const REPLY: u32 = 4;
const NEED_REPLY: u32 = 8;
const HEADER: usize = 12;
/// The header and one number.
const ANSWER: usize = HEADER + 8;

/// A file, by what the kernel knows it by.
pub type Identity = (u64, u64);

/// None, if the kernel does not say.
pub fn identity(file: impl AsFd) -> Option<Identity> {
    let stat = rustix::fs::fstat(file).ok()?;
    Some((stat.st_dev, stat.st_ino))
}

/// What QEMU is asked.
#[derive(Debug)]
enum Ask {
    Map { token: Token, resource: u32, range: Range, file: OwnedFd },
    Unmap { range: Range, file: Option<Identity>, waiting: Option<Token> },
}

/// What became of a command of the guest's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answered {
    /// It failed, or succeeded without data.
    Status(Status),
    /// RESOURCE_MAP_BLOB: how to cache the memory.
    MapInfo(u32),
}

#[derive(Debug, PartialEq, Eq)]
enum MapState {
    /// The renderer is asked for the file.
    Fetched,
    /// QEMU is asked, or about to be.
    Sent,
    /// QEMU said yes, then.
    Acknowledged(Instant),
    Mapped,
}

#[derive(Debug)]
struct Mapping {
    range: Range,
    token: Token,
    state: MapState,
    cache: u32,
    file: Option<Identity>,
    /// QEMU's memory table has it.
    in_table: bool,
}

/// What is mapped, and what QEMU is still to be asked.
#[derive(Debug)]
pub struct Shmem {
    window: Window,
    /// By resource.
    mappings: HashMap<u32, Mapping>,
    queue: VecDeque<Ask>,
    /// Files that QEMU is given and may have in its memory table until it has answered that they are unmapped, and how
    /// many bytes of them.
    files: HashMap<Identity, u64>,
    /// Commands that wait for QEMU.
    at_qemu: HashSet<Token>,
    answers: Vec<(Token, Answered)>,
    /// Mappings that are not done yet.
    under_way: usize,
    /// Mappings that QEMU refused.
    refused: u64,
}

const NO: Answered = Answered::Status(Status::ErrUnspec);

impl Shmem {
    /// Nothing mapped, in a window of `size` bytes.
    pub fn new(size: u64) -> Self {
        Self {
            window: Window::new(size),
            mappings: HashMap::new(),
            queue: VecDeque::new(),
            files: HashMap::new(),
            at_qemu: HashSet::new(),
            answers: Vec::new(),
            under_way: 0,
            refused: 0,
        }
    }

    /// Bytes of the window.
    pub fn size(&self) -> u64 {
        self.window.size()
    }

    /// Whether another mapping can be begun: a driver may ask for many at once, and its commands then wait.
    pub fn has_room(&self) -> bool {
        self.under_way < MAX_UNDER_WAY
    }

    /// RESOURCE_MAP_BLOB: takes the place, if it is free.
    pub fn place(&mut self, resource: u32, offset: u64, size: u64) -> Result<Range, (Status, Class)> {
        if self.mappings.contains_key(&resource) {
            return Err((Status::ErrUnspec, Class::Window));
        }
        self.window.take(offset, size).ok_or((Status::ErrInvalidParameter, Class::Window))
    }

    /// The place is not used after all.
    pub fn unplace(&mut self, range: Range) {
        self.window.give(range);
    }

    /// The renderer is asked for the file of what is to be mapped there.
    pub fn fetched(&mut self, resource: u32, range: Range, token: Token) {
        let mapping = Mapping { range, token, state: MapState::Fetched, cache: 0, file: None, in_table: false };
        self.mappings.insert(resource, mapping);
        self.under_way += 1;
    }

    /// The renderer gave the file.
    pub fn map(&mut self, resource: u32, token: Token, file: OwnedFd, size: u64, cache: u32) {
        let known = |mapping: &&mut Mapping| mapping.token == token && mapping.state == MapState::Fetched;
        let Some(mapping) = self.mappings.get_mut(&resource).filter(known) else {
            // Its blob is gone meanwhile.
            self.answers.push((token, NO));
            return;
        };
        // What is mapped for one blob is nobody else's memory.
        let fits = |identity: &Identity| size >= mapping.range.length && !self.files.contains_key(identity);
        let Some(identity) = identity(&file).filter(fits) else {
            self.refused(token, Status::ErrUnspec);
            return;
        };
        (mapping.state, mapping.cache, mapping.file) = (MapState::Sent, cache, Some(identity));
        self.files.insert(identity, mapping.range.length);
        self.at_qemu.insert(token);
        self.queue.push_back(Ask::Map { token, resource, range: mapping.range, file });
    }

    /// The renderer gave no file for the mapping that this command waits for. Nothing, if it waits for something else.
    pub fn no_file(&mut self, token: Token) {
        let is_it = |(_, mapping): &(&u32, &Mapping)| mapping.token == token && mapping.state == MapState::Fetched;
        if let Some(resource) = self.mappings.iter().find(is_it).map(|(&resource, _)| resource) {
            self.drop_mapping(resource);
        }
    }

    fn refused(&mut self, token: Token, status: Status) {
        self.no_file(token);
        self.answers.push((token, Answered::Status(status)));
    }

    fn drop_mapping(&mut self, resource: u32) -> Option<Mapping> {
        let mapping = self.mappings.remove(&resource)?;
        if mapping.state != MapState::Mapped {
            self.under_way = self.under_way.saturating_sub(1);
        }
        self.window.give(mapping.range);
        Some(mapping)
    }

    /// RESOURCE_UNMAP_BLOB: `false` if it is not mapped. `token` is answered when it is no more.
    pub fn unmap(&mut self, resource: u32, token: Token) -> bool {
        if self.mappings.get(&resource).is_none_or(|mapping| mapping.state != MapState::Mapped) {
            return false;
        }
        self.at_qemu.insert(token);
        self.take_away(resource, Some(token));
        true
    }

    /// The blob is gone, mapped or not.
    pub fn forget(&mut self, resource: u32) {
        self.take_away(resource, None);
    }

    fn take_away(&mut self, resource: u32, waiting: Option<Token>) {
        let Some(Mapping { range, state, file, token, .. }) = self.drop_mapping(resource) else { return };
        if state == MapState::Fetched {
            return;
        }
        if state != MapState::Mapped {
            self.answers.push((token, NO));
        }
        let unasked = self.queue.iter().position(|ask| matches!(ask, Ask::Map { token: asks, .. } if *asks == token));
        if let Some(unasked) = unasked {
            self.queue.remove(unasked);
            self.release(file);
            return;
        }
        // Whatever is mapped there next is asked for after this, and so only when QEMU has answered it.
        self.queue.push_back(Ask::Unmap { range, file, waiting });
    }

    /// Another driver: nothing is mapped, and nobody waits.
    pub fn reset(&mut self) {
        let mut resources: Vec<u32> = self.mappings.keys().copied().collect();
        resources.sort_unstable();
        for resource in resources {
            self.forget(resource);
        }
        self.answers.clear();
        self.at_qemu.clear();
    }

    /// Whether this command waits for QEMU, or for what QEMU has said to be looked at.
    pub fn is_at_qemu(&self, token: Token) -> bool {
        self.at_qemu.contains(&token)
    }

    /// Whether a region that QEMU announces, `length` bytes from `offset` of a file, is what we have given it to map;
    /// such memory is the renderer's and no guest memory.
    pub fn is_ours(&mut self, file: impl AsFd, offset: u64, length: u64) -> bool {
        let given = |identity: &Identity| self.files.get(identity).copied();
        let Some((identity, given)) = identity(file).and_then(|identity| Some((identity, given(&identity)?))) else {
            return false;
        };
        if offset.checked_add(length).is_none_or(|end| end > given) {
            return false;
        }
        for mapping in self.mappings.values_mut().filter(|mapping| mapping.file == Some(identity)) {
            mapping.in_table = true;
        }
        true
    }

    /// Commands that are done with.
    pub fn turn(&mut self, now: Instant) -> Vec<(Token, Answered)> {
        for mapping in self.mappings.values_mut() {
            let MapState::Acknowledged(since) = mapping.state else { continue };
            if mapping.in_table || now >= since + SETTLE {
                mapping.state = MapState::Mapped;
                self.under_way = self.under_way.saturating_sub(1);
                self.answers.push((mapping.token, Answered::MapInfo(mapping.cache)));
            }
        }
        for (token, _) in &self.answers {
            self.at_qemu.remove(token);
        }
        std::mem::take(&mut self.answers)
    }

    /// When [`Self::turn`] is due even if QEMU says nothing.
    pub fn deadline(&self) -> Option<Instant> {
        let since = |mapping: &Mapping| match mapping.state {
            MapState::Acknowledged(since) => Some(since + SETTLE),
            _ => None,
        };
        self.mappings.values().filter_map(since).min()
    }

    /// QEMU said yes or no to this.
    fn answered(&mut self, ask: Ask, yes: bool, now: Instant) {
        match ask {
            Ask::Map { token, resource, range, file } => {
                let sent = |mapping: &&mut Mapping| mapping.token == token && mapping.state == MapState::Sent;
                match self.mappings.get_mut(&resource).filter(sent) {
                    Some(mapping) if yes => mapping.state = MapState::Acknowledged(now),
                    Some(_) => {
                        self.refused = self.refused.saturating_add(1);
                        if seldom(self.refused) {
                            let (bytes, count) = (range.length, self.refused);
                            tracing::warn!(target: "guest", bytes, count, "QEMU could not map memory into the guest");
                        }
                        self.drop_mapping(resource);
                        self.release(identity(file));
                        self.answers.push((token, Answered::Status(Status::ErrOutOfMemory)));
                    }
                    // Taken away meanwhile; that it is unmapped is asked for already.
                    None => {}
                }
            }
            Ask::Unmap { file, waiting, .. } => {
                self.release(file);
                self.answers.extend(waiting.map(|token| (token, Answered::Status(Status::OkNoData))));
            }
        }
    }

    fn release(&mut self, file: Option<Identity>) {
        if let Some(file) = file {
            self.files.remove(&file);
        }
    }
}

/// QEMU's socket for our requests.
#[derive(Debug)]
pub struct Channel {
    socket: OwnedFd,
    under_way: Option<(u32, Ask)>,
    answer: [u8; ANSWER],
    /// Bytes of the answer that have come.
    come: usize,
}

impl Channel {
    /// A connected stream socket. Fails where it cannot be made nonblocking.
    pub fn new(socket: OwnedFd) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&socket, true)?;
        Ok(Self { socket, under_way: None, answer: [0; ANSWER], come: 0 })
    }

    /// Readable when [`Self::hear`] has something to do.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Says that the configuration space has changed; `false` if QEMU has not read what was said before.
    pub fn config_changed(&self) -> io::Result<bool> {
        self.send(CONFIG_CHANGE, VERSION, &[], None)
    }

    /// Asks the next thing, if nothing is under way.
    pub fn ask(&mut self, shmem: &mut Shmem) -> io::Result<()> {
        if self.under_way.is_some() {
            return Ok(());
        }
        let Some(ask) = shmem.queue.front() else { return Ok(()) };
        let (request, range, file) = match ask {
            Ask::Map { range, file, .. } => (SHMEM_MAP, range, Some(file.as_fd())),
            Ask::Unmap { range, .. } => (SHMEM_UNMAP, range, None),
        };
        let writable = u64::from(file.is_some());
        let mut body = [0; 40];
        let numbers = [u64::from(SHARED_MEMORY_ID), 0, range.offset, range.length, writable];
        for (place, number) in body.chunks_exact_mut(8).zip(numbers) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        if self.send(request, VERSION | NEED_REPLY, &body, file)? {
            self.under_way = shmem.queue.pop_front().map(|ask| (request, ask));
        }
        Ok(())
    }

    fn send(&self, request: u32, flags: u32, body: &[u8], file: Option<BorrowedFd<'_>>) -> io::Result<bool> {
        let mut header = [0; HEADER];
        for (place, word) in header.chunks_exact_mut(4).zip([request, flags, body.len() as u32]) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        let files: Vec<_> = file.into_iter().collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !files.is_empty() && !control.push(SendAncillaryMessage::ScmRights(&files)) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let parts = [IoSlice::new(&header), IoSlice::new(body)];
        match rustix::net::sendmsg(&self.socket, &parts, &mut control, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
            Ok(sent) if sent == HEADER + body.len() => Ok(true),
            // A half message cannot be mended.
            Ok(_) => Err(io::ErrorKind::WriteZero.into()),
            Err(rustix::io::Errno::AGAIN) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Reads what QEMU says. An error is its end, or that it does not follow the protocol.
    pub fn hear(&mut self, shmem: &mut Shmem, now: Instant) -> io::Result<()> {
        loop {
            let room = self.answer.get_mut(self.come..).unwrap_or_default();
            match rustix::net::recv(&self.socket, room, RecvFlags::DONTWAIT) {
                Ok((0, _)) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok((count, _)) => self.come += count,
                Err(rustix::io::Errno::AGAIN) => return Ok(()),
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            }
            if self.come < ANSWER {
                continue;
            }
            self.come = 0;
            let word = |at: usize| {
                let bytes = self.answer.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
                bytes.map_or(0, u32::from_le_bytes)
            };
            let Some((request, ask)) = self.under_way.take() else { return Err(io::ErrorKind::InvalidData.into()) };
            if word(0) != request || word(4) & REPLY == 0 || word(8) != 8 {
                return Err(io::ErrorKind::InvalidData.into());
            }
            shmem.answered(ask, word(12) == 0 && word(16) == 0, now);
        }
    }

    /// It is of no use any more: whoever waits for it is told so.
    pub fn close(mut self, shmem: &mut Shmem, now: Instant) {
        if let Some((_, ask)) = self.under_way.take() {
            shmem.answered(ask, false, now);
        }
        shmem.no_channel(now);
    }
}

impl Shmem {
    /// There is nobody to ask: everything is refused.
    pub fn no_channel(&mut self, now: Instant) {
        while let Some(ask) = self.queue.pop_front() {
            self.answered(ask, false, now);
        }
    }
}
