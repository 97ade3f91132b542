//! The device on its queues: takes requests from the rings, has them executed, gives them back, now or later.
//!
//! Owns everything that belongs to one vhost-user connection. Work per call is bounded, so that no queue starves
//! another or the connection itself; whatever a chain is like, its head goes back if it is one. What vhost-user asks is
//! in [`super::requests`].

use super::DeviceConfig;
mod channel;
mod drain;

use super::chain::Chain;
use super::class::Class;
use super::device::Device;
use super::memory::Memory;
use super::outcome::{Outcome, Token};
use super::pacing::{HeldFences, SLOW, Waits};
use super::reporting::Reporting;
use super::ring::{Ring, RingError};
use super::shmem::{Answered, Channel};
use super::wire::{HEADER, Header, QueueKind, Response, Status};
use crate::frames::{ToDevice, ToScreen};
use crate::renderer::client::Client;
use rustix::event::epoll;
use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::Sender;
use vhost::vhost_user::GpuBackend;
use vm_memory::GuestAddress;

/// Requests that are served, and how long, before another queue or the connection gets its turn.
const BUDGET: usize = 256;
const TURN: Duration = Duration::from_millis(10);
/// Control and cursor.
pub const QUEUES: usize = 2;
/// What the loop's epoll says of QEMU's socket for requests of ours; the loop's own descriptors have the numbers below.
pub const CHANNEL: u64 = 4;
/// The same of the first queue's kick; the second's follows.
pub const KICK: u64 = 5;

/// A fenced flush whose response is written and not yet given back.
#[derive(Clone, Copy, Debug)]
struct Fence {
    head: u16,
    length: u32,
}

/// A command whose response comes with the renderer's answer. What it will say if all is well is written already.
#[derive(Debug)]
struct Forwarded {
    fence: Fence,
    header: Header,
    place: Chain,
    then: Waits,
}

/// Where queue 0 stopped: what tells a paused machine that goes on from a driver that begins. A driver begins at index 0
/// and with rings that it has cleared; a machine may be paused at that index too, and its rings are as they were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Position {
    next_available: u16,
    addresses: [GuestAddress; 3],
    features: u64,
    newest_used: Option<u64>,
}

impl Position {
    /// Whether `self`, where a ring starts, is where it stopped, and not the beginning.
    fn goes_on_from(&self, stopped: &Self) -> bool {
        let written = self.next_available != 0 || self.newest_used.is_some_and(|newest| newest != 0);
        self == stopped && written
    }
}

/// The device and its queues.
pub struct Service {
    pub(super) device: Device,
    pub(super) memory: Memory,
    pub(super) rings: [Ring; QUEUES],
    pub(super) features: u64,
    /// QEMU's GPU socket: kept open, because QEMU takes its end for a broken backend; nothing is said on it.
    pub(super) gpu_socket: Option<GpuBackend>,
    /// The last request was refused without harm to the connection.
    pub(super) refused: bool,
    /// It was said that no memory can be mapped.
    pub(super) no_memory_told: bool,
    watched: [bool; QUEUES],
    pending: [bool; QUEUES],
    stopped: Option<Position>,
    held: HeldFences<Fence>,
    forwarded: HashMap<Token, Forwarded>,
    /// The queue waits for the renderer, or QEMU's mapping, to have room.
    blocked: [bool; QUEUES],
    /// QEMU's socket for what the device asks of it.
    channel: Option<Channel>,
    chain: Chain,
    request: Vec<u8>,
    response: Box<Response>,
    epoll: Arc<OwnedFd>,
    to_screen: Sender<ToScreen>,
    report: Reporting,
    /// The channel to the screen was full.
    unsaid: bool,
}

impl Service {
    /// A device that nobody is connected to; kicks will be announced on `epoll`.
    pub fn new(
        config: &DeviceConfig,
        renderer: Option<Client>,
        epoll: Arc<OwnedFd>,
        to_screen: Sender<ToScreen>,
        report: Reporting,
    ) -> io::Result<Self> {
        let ring = || Ring::new().map_err(io::Error::other);
        Ok(Self {
            device: Device::new(config, renderer),
            memory: Memory::default(),
            rings: [ring()?, ring()?],
            features: 0,
            gpu_socket: None,
            refused: false,
            no_memory_told: false,
            watched: [false; QUEUES],
            pending: [false; QUEUES],
            stopped: None,
            held: HeldFences::default(),
            forwarded: HashMap::new(),
            blocked: [false; QUEUES],
            channel: None,
            chain: Chain::default(),
            request: Vec::with_capacity(256),
            response: Box::default(),
            epoll,
            to_screen,
            report,
            unsaid: false,
        })
    }

    /// A message of the screen.
    pub fn message(&mut self, message: ToDevice) {
        self.device.message(message);
    }

    /// The machine was reset: a device that no driver has goes dark.
    pub fn machine_reset(&mut self) {
        if self.rings.iter().all(|ring| !ring.started()) {
            self.forget_driver();
        }
    }

    /// Another driver, or none: nobody waits for an answer any more.
    fn forget_driver(&mut self) {
        self.stopped = None;
        self.forwarded.clear();
        self.device.reset();
    }

    /// A kick came: reads it away and serves its queue.
    pub fn kicked(&mut self, index: usize) {
        if self.rings.get(index).is_some_and(|ring| !ring.consume_kick()) {
            // Whoever could kick has gone; watching on would wake this thread for ever.
            self.unwatch(index);
        }
        self.serve(index);
    }

    /// Whether a queue has more than it was given time for.
    pub fn has_pending(&self) -> bool {
        self.pending.contains(&true)
    }

    /// Whether a renderer answers commands of the guest's.
    pub fn has_renderer(&self) -> bool {
        self.device.has_renderer()
    }

    /// Serves the queues that have more.
    pub fn serve_pending(&mut self) {
        for index in 0..QUEUES {
            if self.pending.get(index) == Some(&true) {
                self.serve(index);
            }
        }
    }

    fn serve(&mut self, index: usize) {
        let mut more = true;
        let mut left = BUDGET;
        let start = Instant::now();
        while more && left > 0 && start.elapsed() < TURN {
            left -= 1;
            if !self.device.has_room() {
                // The next answer of the renderer, or of QEMU, goes on with it.
                if let Some(blocked) = self.blocked.get_mut(index) {
                    *blocked = true;
                }
                more = false;
                break;
            }
            let Some(ring) = self.rings.get_mut(index).filter(|ring| ring.runs()) else {
                more = false;
                break;
            };
            match ring.pop(&self.memory) {
                Ok(Some(head)) => self.serve_one(index, head),
                Ok(None) => more = ring.rest(&self.memory),
                Err(error) => {
                    self.ring_error(error);
                    more = false;
                }
            }
        }
        if let Some(pending) = self.pending.get_mut(index) {
            *pending = more;
        }
        self.notify(index);
    }

    fn notify(&mut self, index: usize) {
        if let Some(ring) = self.rings.get_mut(index) {
            ring.notify(&self.memory);
        }
    }

    fn ring_error(&mut self, error: RingError) {
        self.device.count_error(match error {
            RingError::Available => Class::AvailableRing,
            RingError::Used => Class::UsedRing,
        });
    }

    fn serve_one(&mut self, index: usize, head: u16) {
        let (length, outcome) = self.answer(index, head).unwrap_or_else(|class| {
            self.device.count_error(class);
            (0, Outcome::Answer)
        });
        let fence = Fence { head, length };
        match outcome {
            Outcome::Answer => self.give_back(index, fence),
            Outcome::Hold(waits) => {
                let period = self.device.hidden_period(&waits);
                if let Some(fence) = self.held.hold(fence, waits, self.device.lanes(), Instant::now(), period) {
                    self.give_back(index, fence);
                }
            }
            Outcome::Forwarded(token, then) => {
                let header = Header::parse(&self.request).unwrap_or_default();
                let place = self.chain.response_place();
                self.forwarded.insert(token, Forwarded { fence, header, place, then });
            }
        }
    }

    /// Takes what the renderer says and gives back what is done with it.
    fn renderer_turn(&mut self, now: Instant) {
        let done = self.device.renderer_turn(now);
        if done.is_empty() {
            return;
        }
        for (token, status) in done {
            self.finish(token, Answered::Status(status), now);
        }
        self.notify(0);
    }

    /// The queues that waited for room go on where there is some.
    fn unblock(&mut self) {
        if self.blocked.contains(&true) && self.device.has_room() {
            for (pending, blocked) in self.pending.iter_mut().zip(&mut self.blocked) {
                *pending |= std::mem::take(blocked);
            }
        }
    }

    /// Answers a command that was held, or holds it on until what it flushed is presented.
    fn finish(&mut self, token: Token, answered: Answered, now: Instant) {
        let Some(Forwarded { mut fence, header, place, then }) = self.forwarded.remove(&token) else { return };
        match answered {
            Answered::Status(Status::OkNoData) => {
                let period = self.device.hidden_period(&then);
                if let Some(fence) = self.held.hold(fence, then, self.device.lanes(), now, period) {
                    self.give_back(0, fence);
                }
                return;
            }
            Answered::Status(status) => self.response.status(&header, status),
            Answered::MapInfo(cache) => self.response.map_info(&header, cache),
        }
        match place.write_response(&self.memory, self.response.bytes()) {
            Ok(length) => fence.length = length,
            Err(_) => self.device.count_error(Class::RequestAddress),
        }
        self.give_back(0, fence);
    }

    /// Copies, executes and writes the response; how many bytes that has, and when the head is to go back.
    fn answer(&mut self, index: usize, head: u16) -> Result<(u32, Outcome), Class> {
        let queue = if index == 0 { QueueKind::Control } else { QueueKind::Cursor };
        let ring = self.rings.get(index).ok_or(Class::DescriptorChain)?;
        let indirect = self.features & super::wire::feature::INDIRECT_DESC != 0;
        self.chain.walk(&self.memory, ring.table(), head, indirect).map_err(|_| Class::DescriptorChain)?;
        let room = self.chain.room();
        if queue == QueueKind::Control && room < HEADER as u64 {
            return Err(Class::ResponseSpace);
        }
        let outcome = match self.chain.copy_request(&self.memory, &mut self.request) {
            // Drivers give cursor commands no room; what needs more than there is must not take effect.
            Ok(()) => {
                let room = if queue == QueueKind::Control { room } else { u64::MAX };
                self.device.execute_within(room, &self.memory, queue, &self.request, &mut self.response)
            }
            Err(_) => {
                self.device.count_error(Class::RequestAddress);
                self.response.status(&Header::default(), Status::ErrUnspec);
                Outcome::Answer
            }
        };
        if queue == QueueKind::Control && room < self.response.bytes().len() as u64 {
            self.device.count_error(Class::ResponseSpace);
            let header = Header::parse(&self.request).unwrap_or_default();
            self.response.status(&header, Status::ErrInvalidParameter);
        }
        let written = self.chain.write_response(&self.memory, self.response.bytes());
        Ok((written.map_err(|_| Class::RequestAddress)?, outcome))
    }

    fn give_back(&mut self, index: usize, fence: Fence) {
        let Some(ring) = self.rings.get_mut(index) else { return };
        if let Err(error) = ring.push_used(&self.memory, fence.head, fence.length) {
            self.ring_error(error);
        }
    }

    /// After every round: answers fences that are due, tells the screen, brings the report up to date. When to come
    /// back even if nothing happens.
    pub fn end_round(&mut self, now: Instant) -> Option<Instant> {
        // Whoever hears of a picture from the screen's side and looks at the report is to find it there.
        self.tell_report();
        self.unsaid = self.device.publish(&self.to_screen);
        self.renderer_turn(now);
        self.qemu_turn(now);
        self.unblock();
        // What the renderer has just fetched can be shown. What it is asked for in turn is not to wait for another
        // round.
        self.unsaid |= self.device.publish(&self.to_screen);
        self.device.tell_renderer(now);
        let due = self.held.release(self.device.lanes_mut(), now);
        if !due.is_empty() {
            for fence in due {
                self.give_back(0, fence);
            }
            self.notify(0);
        }
        self.tell_report();
        let retry = self.unsaid.then_some(now + SLOW);
        let deadlines = [self.held.deadline(), retry, self.device.renderer_deadline(), self.mappings_deadline()];
        deadlines.into_iter().flatten().min()
    }

    fn tell_report(&mut self) {
        if self.device.report_changed() {
            let device = &mut self.device;
            self.report.write(|report| device.report(report));
        }
    }

    /// Starts a ring once all that it needs is there; `false` if its memory is not.
    pub(super) fn try_start(&mut self, index: usize) -> bool {
        let features = self.features;
        let Some(ring) = self.rings.get_mut(index) else { return false };
        let Some(addresses) = ring.addresses().filter(|_| ring.kick().is_some()) else { return true };
        if !ring.started() {
            let newest_used = ring.newest_used(&self.memory);
            let position = Position { next_available: ring.next_available(), addresses, features, newest_used };
            if !ring.start(&self.memory) {
                return false;
            }
            let goes_on = |stopped: Position| position.goes_on_from(&stopped);
            if index == 0 && !self.stopped.take().is_some_and(goes_on) {
                self.forget_driver();
            }
        }
        self.watch(index)
    }

    /// Watches the kick of a ring that runs, and looks at once at what came before; otherwise watches no more.
    pub(super) fn watch(&mut self, index: usize) -> bool {
        let (Some(ring), Some(watched)) = (self.rings.get(index), self.watched.get_mut(index)) else { return false };
        if !ring.runs() {
            self.unwatch(index);
            return true;
        }
        let Some(kick) = ring.kick() else { return true };
        if !*watched {
            let token = epoll::EventData::new_u64(KICK + index as u64);
            if epoll::add(&*self.epoll, kick, token, epoll::EventFlags::IN).is_err() {
                return false;
            }
            *watched = true;
        }
        if let Some(pending) = self.pending.get_mut(index) {
            *pending = true;
        }
        true
    }

    /// Watches a ring's kick no more.
    pub(super) fn unwatch(&mut self, index: usize) {
        let (Some(ring), Some(watched)) = (self.rings.get(index), self.watched.get_mut(index)) else { return };
        if let Some(kick) = ring.kick().filter(|_| std::mem::take(watched)) {
            // The descriptor is open and was added; were it not there, there would be nothing to delete.
            let _ = epoll::delete(&*self.epoll, kick);
        }
    }

    /// Stops a ring; says where. Fences that wait are answered first: the driver may go on later, or never ask for
    /// them. What waits for QEMU stays until the driver goes on, or another begins.
    pub(super) fn stop(&mut self, index: usize) -> u16 {
        self.unwatch(index);
        if index == 0 {
            if self.rings.first().is_some_and(Ring::started) {
                self.drain();
            }
            let waiting: Vec<Fence> = self.held.release_all().collect();
            if self.rings.first().is_some_and(Ring::started) {
                for fence in waiting {
                    self.give_back(0, fence);
                }
                self.notify(0);
            }
        }
        let Some(ring) = self.rings.get_mut(index) else { return 0 };
        let was_started = ring.started();
        let newest_used = ring.newest_used(&self.memory);
        let next_available = ring.stop();
        if let (Some(pending), Some(blocked)) = (self.pending.get_mut(index), self.blocked.get_mut(index)) {
            (*pending, *blocked) = (false, false);
        }
        if index == 0 && was_started {
            let features = self.features;
            let addresses = ring.addresses();
            self.stopped = addresses.map(|addresses| Position { next_available, addresses, features, newest_used });
        }
        next_available
    }

    /// Stops everything and forgets the driver.
    pub(super) fn reset(&mut self) {
        for index in 0..QUEUES {
            self.stop(index);
        }
        self.features = 0;
        self.device.set_features(0);
        self.forget_driver();
    }
}

#[cfg(test)]
mod tests;
