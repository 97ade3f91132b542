//! What phyllome-guest is told: answers by the thread that serves it, and fences by whichever thread sees them signal.
//!
//! The library's thread sends a fence itself if the serving thread sleeps, which then goes on sleeping; otherwise the
//! fence goes with what that thread sends before it sleeps. All goes in the order in which it was put here, so no fence
//! overtakes the answer to the command that it ends. The lock is never held across a call of the library's.

use super::fences::{Fences, Line, MAX_FENCES};
use super::virgl::Signal;
use crate::renderer::packets::Outgoing;
use crate::renderer::wire::Event;
use rustix::event::{EventfdFlags, eventfd};
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long the answer to a command may wait for its fence, which alone ends the command for the guest.
const LATER: Duration = Duration::from_millis(3);

#[derive(Debug, Default)]
struct Inner {
    out: Outgoing,
    fences: Fences,
    /// Somebody waits for what is in `out`.
    urgent: bool,
    /// The socket did not take all of it.
    blocked: bool,
    /// Since when answers wait for fences: phyllome-guest is not woken for an answer that ends nothing.
    later: Option<Instant>,
    /// The serving thread sleeps, or is about to.
    asleep: bool,
}

impl Inner {
    fn send(&mut self, socket: &OwnedFd) -> rustix::io::Result<()> {
        (self.urgent, self.later) = (false, None);
        let sent = self.out.send(socket);
        self.blocked = self.out.bytes() > 0;
        sent.map(drop)
    }

    fn tell(&mut self, fences: Vec<u64>) {
        self.urgent |= !fences.is_empty();
        for fence in fences {
            self.out.push(&Event::Fenced(fence), Vec::new());
        }
    }
}

/// What the serving thread is to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rest {
    /// The socket is to take more.
    pub blocked: bool,
    /// Not longer than this.
    pub most: Option<Duration>,
    /// Bytes that were not sent.
    pub unsent: usize,
}

/// Everything on its way to phyllome-guest.
#[derive(Debug)]
pub struct EventQueue {
    socket: OwnedFd,
    wake: OwnedFd,
    inner: Mutex<Inner>,
}

impl EventQueue {
    /// By this socket, which does not block.
    pub fn new(socket: OwnedFd) -> rustix::io::Result<Self> {
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { socket, wake, inner: Mutex::default() })
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Readable when a thread could not send what it had to say.
    pub fn wake_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }

    /// An answer, with its descriptors. `false` if it is longer than the protocol allows.
    pub fn push(&self, event: &Event<'_>, files: Vec<OwnedFd>) -> bool {
        self.inner().out.push(event, files)
    }

    /// Somebody waits for what was pushed.
    pub fn urge(&self) {
        self.inner().urgent = true;
    }

    /// Bytes that were not sent.
    pub fn unsent(&self) -> usize {
        self.inner().out.bytes()
    }

    /// How many fences are outstanding.
    pub fn fences(&self) -> usize {
        self.inner().fences.outstanding()
    }

    /// Timelines with something outstanding.
    pub fn lines(&self) -> Vec<Line> {
        self.inner().fences.lines()
    }

    /// Asks for a fence, or for one on behalf of those before it, by `ask`, which gets a number for it and says whether
    /// it was asked for. `false` if it was not, or if there are too many.
    pub fn ask(&self, line: Line, fence: Option<u64>, ask: impl FnOnce(u64) -> bool) -> bool {
        let mut inner = self.inner();
        if inner.fences.outstanding() >= MAX_FENCES {
            return false;
        }
        let number = inner.fences.next_number();
        inner.fences.wait(line, number, fence);
        drop(inner);
        let asked = ask(number);
        if !asked {
            self.inner().fences.cancel(line, number);
        }
        asked
    }

    /// A fence of what is done already signals after those before it on its timeline. Whether it waits for any; if not,
    /// it is told.
    pub fn follow(&self, line: Line, fence: u64) -> bool {
        let mut inner = self.inner();
        // Those that cannot be had follow, too.
        if inner.fences.outstanding() < 2 * MAX_FENCES && inner.fences.follow(line, fence) {
            return true;
        }
        inner.tell(vec![fence]);
        false
    }

    /// Fences of these will not signal any more: they count as signalled.
    pub fn forget(&self, which: impl FnOnce(&mut Fences) -> Vec<u64>) {
        let mut inner = self.inner();
        let forgotten = which(&mut inner.fences);
        inner.tell(forgotten);
    }

    /// The library says that a fence has signalled, on any thread.
    pub fn signalled(&self, signal: Signal) {
        let mut inner = self.inner();
        let done = inner.fences.done(signal);
        if done.is_empty() {
            return;
        }
        inner.tell(done);
        if !inner.asleep || inner.blocked {
            return;
        }
        let sent = inner.send(&self.socket);
        if sent.is_err() || inner.blocked {
            // The serving thread sees for itself what is wrong. A wake-up fails only when its count is full, and then
            // it is readable.
            let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
        }
    }

    /// The serving thread has nothing more to do: what somebody waits for is sent, and until [`Self::awake`] fences are
    /// sent as they come. The error is the socket's.
    pub fn rest(&self) -> Result<Rest, Errno> {
        let mut inner = self.inner();
        if inner.out.bytes() > 0 {
            let now = Instant::now();
            let since = *inner.later.get_or_insert(now);
            if inner.urgent || inner.blocked || now.duration_since(since) >= LATER {
                inner.send(&self.socket)?;
            }
        }
        inner.asleep = true;
        let most = inner.later.map(|since| LATER.saturating_sub(since.elapsed()));
        Ok(Rest { blocked: inner.blocked, most, unsent: inner.out.bytes() })
    }

    /// The serving thread has something to do; `woken` if [`Self::wake_fd`] is readable.
    pub fn awake(&self, woken: bool) {
        if woken {
            // Nothing to read is no error.
            let _ = rustix::io::read(&self.wake, &mut [0; 8]);
        }
        self.inner().asleep = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::renderer::packets::{Incoming, Received};
    use crate::renderer::wire;
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    const NONE: Rest = Rest { blocked: false, most: None, unsent: 0 };

    struct Pair {
        event_queue: EventQueue,
        there: OwnedFd,
        incoming: Incoming,
    }

    impl Pair {
        fn new() -> Self {
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            let (here, there) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
            Self { event_queue: EventQueue::new(here).unwrap(), there, incoming: Incoming::new(0) }
        }

        /// What has arrived: `Err` is the number of a `Done`, `Ok` a fence.
        fn heard(&mut self) -> Vec<Result<u64, i32>> {
            let mut heard = Vec::new();
            while let Received::Packet(count, _) = self.incoming.receive(&self.there).unwrap() {
                let mut rest = self.incoming.bytes(count);
                while !rest.is_empty() {
                    let (event, more) = wire::take::<Event<'_>>(rest).unwrap();
                    rest = more;
                    heard.push(match event {
                        Event::Fenced(fence) => Ok(fence),
                        Event::Done(errno) => Err(errno),
                        other => panic!("{other:?}"),
                    });
                }
            }
            heard
        }

        fn done(&self, errno: i32) {
            assert!(self.event_queue.push(&Event::Done(errno), Vec::new()));
        }

        /// A fence that the library has been asked for by the number that is returned.
        fn asked(&self, fence: u64) -> u32 {
            let mut asked = 0;
            assert!(self.event_queue.ask(Line::Global, Some(fence), |number| {
                asked = number as u32;
                true
            }));
            asked
        }

        fn is_woken(&self) -> bool {
            let now = Timespec { tv_sec: 0, tv_nsec: 0 };
            let wake = self.event_queue.wake_fd();
            poll(&mut [PollFd::from_borrowed_fd(wake, PollFlags::IN)], Some(&now)).unwrap() > 0
        }
    }

    #[test]
    fn a_fence_is_told_at_once_while_the_serving_thread_sleeps_and_after_the_answer_that_waits_for_it() {
        let mut pair = Pair::new();
        pair.done(0);
        let number = pair.asked(7);
        let rest = pair.event_queue.rest().unwrap();
        assert!(rest.most.is_some_and(|most| most <= LATER) && rest.unsent > 0);
        assert_eq!(pair.heard(), [], "nobody waits for that answer alone");
        std::thread::scope(|scope| {
            scope.spawn(|| pair.event_queue.signalled(Signal::Global(number)));
        });
        assert_eq!(pair.heard(), [Err(0), Ok(7)]);
        assert!(!pair.is_woken(), "the serving thread sleeps on");
        pair.event_queue.awake(false);
        assert_eq!((pair.event_queue.rest().unwrap(), pair.event_queue.fences()), (NONE, 0));
    }

    #[test]
    fn a_fence_that_comes_while_requests_are_served_goes_with_their_answers() {
        let mut pair = Pair::new();
        let number = pair.asked(7);
        pair.done(22);
        pair.event_queue.signalled(Signal::Global(number));
        assert_eq!(pair.heard(), []);
        assert_eq!(pair.event_queue.rest().unwrap(), NONE);
        assert_eq!(pair.heard(), [Err(22), Ok(7)]);
    }

    #[test]
    fn a_fence_that_the_socket_does_not_take_wakes_the_serving_thread() {
        let mut pair = Pair::new();
        let mut sent = 0;
        while !pair.event_queue.rest().unwrap().blocked {
            pair.event_queue.awake(false);
            pair.done(sent);
            pair.event_queue.urge();
            sent += 1;
        }
        // It knows already, and waits for the socket.
        let number = pair.asked(7);
        pair.event_queue.signalled(Signal::Global(number));
        assert!(!pair.is_woken());
        let heard = pair.heard();
        pair.event_queue.awake(false);
        assert_eq!(pair.event_queue.rest().unwrap(), NONE);
        let all: Vec<_> = heard.into_iter().chain(pair.heard()).collect();
        let due: Vec<_> = (0..sent).map(Err).chain([Ok(7)]).collect();
        assert_eq!(all, due, "in order, each once");

        // A socket that is full for a fence alone.
        let fences: Vec<u32> = (0..1 << 13).map(|fence| pair.asked(fence)).collect();
        let told = fences.iter().position(|&number| {
            pair.event_queue.signalled(Signal::Global(number));
            pair.is_woken()
        });
        assert!(told.is_some());
        pair.event_queue.awake(true);
        assert!(!pair.is_woken() && pair.event_queue.rest().unwrap().blocked);
    }

    #[test]
    fn what_is_done_already_is_told_with_its_answer_or_after_the_fences_before_it() {
        let mut pair = Pair::new();
        pair.done(0);
        assert!(!pair.event_queue.follow(Line::Global, 1));
        assert_eq!(pair.event_queue.rest().unwrap(), NONE);
        assert_eq!(pair.heard(), [Err(0), Ok(1)]);
        pair.event_queue.awake(false);
        let number = pair.asked(2);
        assert!(pair.event_queue.follow(Line::Global, 3));
        pair.event_queue.rest().unwrap();
        assert_eq!(pair.heard(), []);
        pair.event_queue.signalled(Signal::Global(number));
        assert_eq!(pair.heard(), [Ok(2), Ok(3)]);
    }

    #[test]
    fn what_cannot_be_asked_for_is_not_waited_for() {
        let pair = Pair::new();
        assert!(!pair.event_queue.ask(Line::Global, Some(1), |_| false));
        assert_eq!(pair.event_queue.fences(), 0);
        for fence in 0..MAX_FENCES as u64 {
            pair.asked(fence);
        }
        assert!(!pair.event_queue.ask(Line::Global, Some(1), |_| panic!("it is not asked")));
    }
}
