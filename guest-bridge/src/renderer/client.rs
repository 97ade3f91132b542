//! phyllome-guest's end of a renderer: asks, hears, watches, ends and starts it again. Lives on the device's thread.
//!
//! Nothing here blocks: requests are queued and go once per turn ([`Client::flush`]), events come by [`Client::turn`]
//! whenever [`Client::fd`] is readable or [`Client::deadline`] has passed. The renderer is taken for hostile: what it
//! says is checked by [`super::session`], its silence runs into [`Patience`], and the worst that it can do is to be
//! ended.

mod asking;

pub use super::session::{Answer, Capset, RendererEvent, Ticket};

use super::deaths::{self, Deaths};
use super::launch::Launch;
use super::limits::MAX_PLANES;
use super::packets::{Incoming, Outgoing, Received};
use super::process::Process;
use super::session::Session;
use crate::still::stood_still;
use rustix::event::epoll;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Packets that are read before the device's other work gets its turn.
const TURN: usize = 32;
/// How long a process may live on without its connection.
const END: Duration = Duration::from_millis(500);
/// Asked of the kernel for packets that the renderer has not read.
const SEND_BUFFER: usize = 1 << 20;

/// How long a renderer may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// To start.
    pub start: Duration,
    /// To answer the oldest request, or to take bytes off a full socket.
    pub answer: Duration,
    /// To signal another fence while some are outstanding.
    pub fence: Duration,
    /// So many deaths within a minute end 3D.
    pub deaths: usize,
}

impl Default for Patience {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        // A start loads drivers and compilers of a hundred MiB, on a disk and processors that may be busy.
        Self { start: seconds(30), answer: seconds(15), fence: seconds(30), deaths: deaths::MOST }
    }
}

/// Why a request was not sent. Nothing is sent then, not even in part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsent {
    /// There is no renderer now.
    #[error("there is no renderer")]
    Gone,
    /// Too much is on its way; [`Client::has_room`] said so.
    #[error("the renderer is too far behind")]
    Full,
    /// Longer than the protocol allows, or with another number of descriptors.
    #[error("the request does not follow the protocol")]
    Unfit,
    /// The host has no descriptor left.
    #[error("no descriptor is left")]
    Host,
}

/// The renderer will not be started any more: it died too often within a short time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the renderer died three times within a minute, so 3D is off until the guest is started again")]
pub struct Off;

/// Where renderers come from.
enum Origin {
    Launch(Launch),
    /// For tests: gives our end of a connection to a stand-in.
    Given(Box<dyn FnMut() -> io::Result<OwnedFd> + Send>),
}

/// The connection to a renderer that has not died.
#[derive(Debug)]
struct Connection {
    socket: OwnedFd,
    process: Option<Process>,
    /// The process, if there is one, has begun to run; before, the socket is not listened to.
    begun: bool,
    /// The socket was full.
    blocked: bool,
    /// The other end is closed; how its process ended is about to be known.
    closed: bool,
}

/// Since when something is waited for; each begins anew when there is progress.
#[derive(Debug, Default)]
struct Clocks {
    start: Option<Instant>,
    answer: Option<Instant>,
    fence: Option<Instant>,
    sending: Option<Instant>,
    end: Option<Instant>,
}

impl Clocks {
    fn begin_anew(&mut self, now: Instant) {
        for since in [&mut self.start, &mut self.answer, &mut self.fence, &mut self.sending, &mut self.end] {
            *since = since.map(|_| now);
        }
    }
}

/// A renderer, from the holder's point of view the same one across restarts. Dropping it ends the process.
pub struct Client {
    source: Origin,
    patience: Patience,
    /// Holds what belongs to the present link.
    epoll: OwnedFd,
    link: Option<Connection>,
    session: Session,
    capsets: Vec<Capset>,
    /// The one that is passed on, if not all are.
    only: Option<u32>,
    lacks: Vec<String>,
    driver: String,
    outgoing: Outgoing,
    incoming: Incoming,
    waits: Clocks,
    /// A death that no turn has told yet.
    untold: Option<(Instant, String)>,
    deaths: Deaths,
    tickets: u64,
    restarts: u32,
    bulk: Vec<u8>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        to.debug_struct("Client").field("link", &self.link).field("restarts", &self.restarts).finish_non_exhaustive()
    }
}

/// A renderer that was just started.
#[derive(Debug)]
pub struct Starting(Client);

impl Starting {
    /// Waits until it is ready. The error is one sentence: why there is no 3D. Needs a tokio runtime with I/O and time;
    /// dropping the future ends the renderer.
    pub async fn ready(self) -> Result<Client, String> {
        let Self(mut client) = self;
        let host = |error: io::Error| format!("cannot wait for the renderer: {error}");
        let epoll = client.epoll.try_clone().map_err(host)?;
        // SAFETY: the descriptor is this duplicate's own, always the same, and open until the registration is dropped
        // with it.
        let registered = unsafe { AsyncFd::register_with_interest(epoll, Interest::READABLE) };
        let readable = registered.map_err(|error| host(error.into()))?;
        loop {
            // Nothing was asked, so there is nothing else that can happen; what dies is ready no more.
            match client.turn(Instant::now()).pop() {
                Some(RendererEvent::Ready) => return Ok(client),
                Some(RendererEvent::Died { why, .. }) => return Err(why),
                Some(RendererEvent::Answered { .. } | RendererEvent::Fenced(_)) | None => {}
            }
            let deadline = client.deadline().unwrap_or_else(Instant::now);
            tokio::select! {
                ready = readable.readable() => ready.map_err(host)?.clear_ready(),
                () = tokio::time::sleep_until(deadline.into()) => {}
            }
        }
    }
}

impl Client {
    /// Starts a renderer. Fails where the host gives no descriptor or thread.
    pub fn start(launch: Launch) -> io::Result<Starting> {
        Self::start_with(launch, Patience::default())
    }

    /// The same with other patience.
    pub fn start_with(launch: Launch, patience: Patience) -> io::Result<Starting> {
        Self::from_source(Origin::Launch(launch), patience)
    }

    /// For tests: a stand-in is the renderer. `connect` is called for each start and gives our end of a
    /// `SOCK_SEQPACKET` connection.
    pub fn over(
        connect: impl FnMut() -> io::Result<OwnedFd> + Send + 'static,
        patience: Patience,
    ) -> io::Result<Starting> {
        Self::from_source(Origin::Given(Box::new(connect)), patience)
    }

    fn from_source(source: Origin, patience: Patience) -> io::Result<Starting> {
        let mut client = Self {
            source,
            patience,
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            link: None,
            session: Session::default(),
            capsets: Vec::new(),
            only: None,
            lacks: Vec::new(),
            driver: String::new(),
            outgoing: Outgoing::default(),
            incoming: Incoming::new(MAX_PLANES),
            waits: Clocks::default(),
            untold: None,
            deaths: Deaths::new(patience.deaths),
            tickets: 0,
            restarts: 0,
            bulk: Vec::new(),
        };
        client.connect(Instant::now())?;
        Ok(Starting(client))
    }

    fn connect(&mut self, now: Instant) -> io::Result<()> {
        let (socket, process) = match &mut self.source {
            Origin::Given(connect) => (connect()?, None),
            Origin::Launch(launch) => {
                let flags = SocketFlags::CLOEXEC;
                let (here, there) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
                (here, Some(Process::start(launch.clone(), there)?))
            }
        };
        rustix::io::ioctl_fionbio(&socket, true)?;
        // The kernel gives what the system's limit allows.
        rustix::net::sockopt::set_socket_send_buffer_size(&socket, SEND_BUFFER)?;
        let data = epoll::EventData::new_u64(0);
        match &process {
            Some(process) => epoll::add(&self.epoll, process, data, epoll::EventFlags::IN)?,
            None => epoll::add(&self.epoll, &socket, data, epoll::EventFlags::IN)?,
        }
        self.session = self.session.anew();
        self.waits = Clocks { start: Some(now), ..Clocks::default() };
        self.link = Some(Connection { socket, begun: process.is_none(), process, blocked: false, closed: false });
        Ok(())
    }

    /// For tests on hosts that have no dmabufs: pictures in sealed memory are taken, too.
    #[cfg(any(test, feature = "test-doors"))]
    pub fn take_memfd_pictures(&mut self) {
        self.session.memfd_pictures = true;
    }

    /// For measurements beside devices that offer less: of all capsets, the one with this id.
    #[cfg(feature = "device-server")]
    pub fn offer_only(&mut self, id: u32) {
        self.only = Some(id);
        self.capsets.retain(|capset| capset.id == id);
    }

    /// What the library offers, as it was when the first renderer got ready.
    pub fn capsets(&self) -> &[Capset] {
        &self.capsets
    }

    /// What is not offered, and why: a sentence each.
    pub fn lacks(&self) -> &[String] {
        &self.lacks
    }

    /// The renderer was not even asked for something, for this reason: a sentence.
    pub fn add_lack(&mut self, why: String) {
        self.lacks.push(why);
    }

    /// What draws, such as `llvmpipe (LLVM 19.1.7)`.
    pub fn driver(&self) -> &str {
        &self.driver
    }

    /// The process's id, while there is one.
    pub fn pid(&self) -> Option<u32> {
        self.link.as_ref()?.process.as_ref()?.pid()
    }

    /// How often a renderer was started again.
    pub fn restarts(&self) -> u32 {
        self.restarts
    }

    /// Whether a renderer runs, or starts, to which requests can be sent.
    pub fn is_alive(&self) -> bool {
        self.link.is_some()
    }

    /// Whether no renderer is started any more: too many died within a minute.
    pub fn is_off(&self) -> bool {
        self.link.is_none() && self.deaths.off()
    }

    /// Readable when [`Self::turn`] has something to do. The same descriptor across restarts.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }

    /// When [`Self::turn`] is to be called even if nothing happens.
    pub fn deadline(&self) -> Option<Instant> {
        if let Some((since, _)) = &self.untold {
            return Some(*since);
        }
        self.limits().into_iter().filter_map(|(limit, _)| limit).min()
    }

    /// Sends what is queued, as far as the socket takes it: once at the end of each turn of the device's.
    pub fn flush(&mut self, now: Instant) {
        let trouble = self.send_queued(now).err();
        if let Some(error) = trouble {
            // What the renderer said before it closed is still to be heard, so the turn decides.
            self.untold.get_or_insert_with(|| (now, format!("the renderer does not listen: {error}")));
        }
        self.begin_waits(now);
    }

    fn send_queued(&mut self, now: Instant) -> io::Result<()> {
        let Some(link) = &mut self.link else { return Ok(()) };
        // Before it is ready it does not listen.
        if self.session.ready.is_none() || self.untold.is_some() || link.closed {
            return Ok(());
        }
        if self.outgoing.send(&link.socket)? > 0 {
            self.waits.sending = Some(now);
        }
        let blocked = self.outgoing.bytes() > 0;
        if blocked != link.blocked {
            let out = if blocked { epoll::EventFlags::OUT } else { epoll::EventFlags::empty() };
            epoll::modify(&self.epoll, &link.socket, epoll::EventData::new_u64(0), epoll::EventFlags::IN | out)?;
            link.blocked = blocked;
        }
        Ok(())
    }

    fn begin_waits(&mut self, now: Instant) {
        let ready = self.session.ready.is_some();
        let since = |wait: &mut Option<Instant>, waits: bool| *wait = wait.filter(|_| waits).or(waits.then_some(now));
        since(&mut self.waits.answer, ready && self.session.open() > 0);
        since(&mut self.waits.fence, ready && self.session.fences() > 0);
        since(&mut self.waits.sending, ready && self.outgoing.bytes() > 0);
    }

    fn limits(&self) -> [(Option<Instant>, &'static str); 5] {
        let Patience { start, answer, fence, .. } = self.patience;
        let limit = |since: Option<Instant>, patience| since.and_then(|since| since.checked_add(patience));
        [
            (limit(self.waits.end, END), "the renderer closed its connection and did not end"),
            (limit(self.waits.start, start), "the renderer did not get ready"),
            (limit(self.waits.answer, answer), "the renderer did not answer"),
            (limit(self.waits.sending, answer), "the renderer did not listen"),
            (limit(self.waits.fence, fence), "a fence of the renderer's did not signal"),
        ]
    }

    /// Hears what the renderer said, looks at the clock, and sends what is queued. Call it when [`Self::fd`] is
    /// readable or [`Self::deadline`] has passed; bounded.
    pub fn turn(&mut self, now: Instant) -> Vec<RendererEvent> {
        let mut events = Vec::new();
        let mut end = self.hear(now, &mut events);
        if end.is_none() {
            self.flush(now);
            // What it said before it closed, and how it ended, explain more than that it closed.
            if let Some((_, why)) = self.untold.take() {
                end = self.hear(now, &mut events);
                let explains_itself = self.link.as_ref().is_some_and(|link| link.closed);
                end = end.or((!explains_itself).then_some(why));
            }
        }
        if end.is_none() {
            end = self.late(now).map(|what| format!("{what} in time, so it was ended"));
        }
        if let Some(why) = end {
            self.die(why, now, &mut events);
        }
        events
    }

    /// What is waited for longer than it may take. Where this process stood still, so did the renderer, which is to
    /// have all of its time.
    fn late(&mut self, now: Instant) -> Option<&'static str> {
        let limits = self.limits();
        if limits.iter().any(|(limit, _)| limit.is_some_and(|limit| stood_still(limit, now))) {
            self.waits.begin_anew(now);
            return None;
        }
        limits.into_iter().find(|(limit, _)| limit.is_some_and(|limit| limit <= now)).map(|(_, what)| what)
    }

    /// Reads; why the renderer has ended or is to, if so.
    fn hear(&mut self, now: Instant, events: &mut Vec<RendererEvent>) -> Option<String> {
        let link = self.link.as_mut()?;
        if let Some(process) = link.process.as_ref().filter(|process| !link.begun && process.begins()) {
            tracing::debug!(target: "renderer", pid = process.pid(), "the renderer is started");
            link.begun = true;
            if let Err(error) =
                epoll::add(&self.epoll, &link.socket, epoll::EventData::new_u64(0), epoll::EventFlags::IN)
            {
                return Some(format!("the renderer cannot be heard: {error}"));
            }
        }
        let ended = link.process.as_ref().and_then(Process::end);
        if link.closed || !link.begun {
            return ended.map(str::to_owned);
        }
        for _ in 0..TURN {
            let (count, files) = match self.incoming.receive(&link.socket) {
                Ok(Received::Packet(count, files)) => (count, files),
                Ok(Received::Nothing) => return ended.map(str::to_owned),
                Ok(Received::Closed) if link.process.is_some() && ended.is_none() => {
                    let _ = epoll::delete(&self.epoll, &link.socket);
                    (link.closed, self.waits.end) = (true, Some(now));
                    return None;
                }
                Ok(Received::Closed) => return Some(ended.unwrap_or("the renderer closed its connection").to_owned()),
                Ok(Received::TooMuch) => {
                    return Some("the renderer sent more than its protocol allows, so it was ended".into());
                }
                Err(error) => return Some(format!("the renderer cannot be heard: {error}")),
            };
            let (open, fences, was_ready) = (self.session.open(), self.session.fences(), self.session.ready.is_some());
            if let Err(ends) = self.session.hear(self.incoming.bytes(count), files, events) {
                return Some(ends.to_string());
            }
            // Progress; what is still waited for is waited for from now on.
            if self.session.open() < open {
                self.waits.answer = None;
            }
            if self.session.fences() < fences {
                self.waits.fence = None;
            }
            if let Some(driver) = self.session.ready.as_ref().filter(|_| !was_ready) {
                self.waits.start = None;
                self.driver.clone_from(driver);
                let mut capsets = std::mem::take(&mut self.session.capsets);
                capsets.retain(|capset| self.only.is_none_or(|only| capset.id == only));
                let same = |(one, other): (&Capset, &Capset)| (one.id, one.version) == (other.id, other.version);
                if self.restarts == 0 {
                    self.capsets = capsets;
                    self.lacks.append(&mut self.session.lacks);
                } else if self.capsets.len() != capsets.len() || !self.capsets.iter().zip(&capsets).all(same) {
                    return Some("the renderer that was started again offers another 3D than before".to_owned());
                }
            }
        }
        None
    }

    /// The renderer's end: closes, kills, and tells.
    fn die(&mut self, why: String, now: Instant, events: &mut Vec<RendererEvent>) {
        if let Some(link) = self.link.take() {
            // Both were added. Somebody else may hold the connection open, so closing it would not take it out.
            let _ = epoll::delete(&self.epoll, &link.socket);
            if let Some(process) = &link.process {
                let _ = epoll::delete(&self.epoll, process);
            }
        }
        self.deaths.record(now);
        self.outgoing.clear();
        self.waits = Clocks::default();
        self.untold = None;
        let (tickets, fences) = self.session.abandon();
        events.push(RendererEvent::Died { why, tickets, fences });
    }

    /// It is not waited for any longer, for this reason: the next [`Self::turn`] ends it.
    pub fn give_up(&mut self, now: Instant, why: &str) {
        if self.link.is_some() {
            self.untold.get_or_insert_with(|| (now, format!("{why}, so it was ended")));
        }
    }

    /// Starts a renderer again after [`RendererEvent::Died`]; [`RendererEvent::Ready`] comes once it is ready, and
    /// requests wait for that. With a renderer that lives nothing is done. A start that fails is a death.
    pub fn restart(&mut self, now: Instant) -> Result<(), Off> {
        if self.link.is_some() {
            return Ok(());
        }
        if self.deaths.off() {
            return Err(Off);
        }
        self.restarts = self.restarts.saturating_add(1);
        if let Err(error) = self.connect(now) {
            self.untold = Some((now, format!("the renderer cannot be started: {error}")));
        }
        Ok(())
    }
}
