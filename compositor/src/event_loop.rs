//! The shell's one loop, and what it listens to.
//!
//! What happens now and then (timers, input, control sockets) is served by calloop. What happens with every picture of
//! every guest — a guest's Wayland socket, the display's page flips — is in a lane of its own, because calloop makes
//! five system calls in every turn and the lane makes one. Neither keeps the other waiting: each has its turn in every
//! round. Away from the display itself calloop serves the lane too.

use smithay::reexports::calloop::generic::Generic;
use smithay::reexports::calloop::timer::{TimeoutAction, Timer};
use smithay::reexports::calloop::{
    EventLoop, EventSource, Idle, InsertError, Interest, LoopHandle, LoopSignal, Mode, PostAction, RegistrationToken,
};
use smithay::reexports::rustix;
use smithay::reexports::rustix::buffer::spare_capacity;
use smithay::reexports::rustix::event::epoll;
use smithay::reexports::rustix::time::Timespec;
use std::any::TypeId;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Most that is heard of the lane in one round.
const ROUND: usize = 32;

/// calloop's number in the lane.
const CALLOOP: u64 = 0;

type SourceCallback<S> = Rc<RefCell<dyn FnMut(&mut S) -> PostAction>>;
type AlarmCallback<S> = Rc<RefCell<dyn FnMut(&mut S) -> TimeoutAction>>;

/// What the loop works for.
pub trait Served: Sized + 'static {
    /// What the loop listens to.
    fn sources(&self) -> &Sources<Self>;

    /// Called at the end of every round: draws what is due and sends what waits.
    fn flush(&mut self);
}

/// What is watched in the lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SourceId(u64);

/// An alarm that is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Alarm(u64);

/// What is watched, and what serves it.
type Watched<S> = (Rc<dyn AsFd>, SourceCallback<S>);

struct Lane<S> {
    epoll: OwnedFd,
    watched: RefCell<BTreeMap<u64, Watched<S>>>,
    alarms: RefCell<BTreeMap<u64, (Instant, AlarmCallback<S>)>>,
    next: Cell<u64>,
    /// calloop has something to do, or something else to wait for than when it was last asked to wait.
    touched: Cell<bool>,
    stopped: Cell<bool>,
    /// calloop's, while it serves the lane.
    within: Cell<Option<RegistrationToken>>,
}

/// What the loop listens to. A handle: clones are the same.
pub struct Sources<S: 'static> {
    handle: LoopHandle<'static, S>,
    signal: LoopSignal,
    lane: Rc<Lane<S>>,
}

impl<S> Clone for Sources<S> {
    fn clone(&self) -> Self {
        Self { handle: self.handle.clone(), signal: self.signal.clone(), lane: self.lane.clone() }
    }
}

impl<S: 'static> Sources<S> {
    /// The sources of `event_loop`, which serves the lane too until [`run`] serves both.
    pub fn new(event_loop: &EventLoop<'static, S>) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let within = epoll.try_clone()?;
        let lane = Rc::new(Lane {
            epoll,
            watched: RefCell::default(),
            alarms: RefCell::default(),
            next: Cell::new(CALLOOP + 1),
            touched: Cell::new(true),
            stopped: Cell::new(false),
            within: Cell::new(None),
        });
        let sources = Self { handle: event_loop.handle(), signal: event_loop.get_signal(), lane: lane.clone() };
        let source = Generic::new(within, Interest::READ, Mode::Level);
        let serve = move |_, _: &mut _, state: &mut S| {
            let ready = lane.wait(Some(Duration::ZERO))?;
            lane.serve(&ready, state);
            Ok(PostAction::Continue)
        };
        let token = sources.insert_source(source, serve).map_err(|error| io::Error::other(error.to_string()))?;
        sources.lane.within.set(Some(token));
        Ok(sources)
    }

    /// See [`LoopHandle::insert_source`].
    pub fn insert_source<E, F>(&self, source: E, mut callback: F) -> Result<RegistrationToken, InsertError<E>>
    where
        E: EventSource + 'static,
        F: FnMut(E::Event, &mut E::Metadata, &mut S) -> E::Ret + 'static,
    {
        self.lane.touched.set(true);
        if TypeId::of::<E>() != TypeId::of::<Timer>() {
            return self.handle.insert_source(source, callback);
        }
        // A timer that goes on is one more thing to wait for.
        let lane = self.lane.clone();
        self.handle.insert_source(source, move |event, metadata, state| {
            lane.touched.set(true);
            callback(event, metadata, state)
        })
    }

    /// See [`LoopHandle::insert_idle`].
    pub fn insert_idle<F: FnOnce(&mut S) + 'static>(&self, callback: F) -> Idle<'static> {
        self.lane.touched.set(true);
        self.handle.insert_idle(callback)
    }

    /// See [`LoopHandle::remove`].
    pub fn remove(&self, token: RegistrationToken) {
        self.lane.touched.set(true);
        self.handle.remove(token);
    }

    /// See [`LoopHandle::enable`].
    pub fn enable(&self, token: &RegistrationToken) -> smithay::reexports::calloop::Result<()> {
        self.lane.touched.set(true);
        self.handle.enable(token)
    }

    /// Calls `serve` whenever `fd` can be read, until it says [`PostAction::Remove`] or [`Sources::unwatch`] is called.
    /// Any other answer is taken as [`PostAction::Continue`].
    pub fn watch(
        &self,
        fd: impl AsFd + 'static,
        serve: impl FnMut(&mut S) -> PostAction + 'static,
    ) -> io::Result<SourceId> {
        let id = self.lane.next_id();
        epoll::add(&self.lane.epoll, &fd, epoll::EventData::new_u64(id), epoll::EventFlags::IN)?;
        self.lane.watched.borrow_mut().insert(id, (Rc::new(fd), Rc::new(RefCell::new(serve))));
        Ok(SourceId(id))
    }

    /// It is watched no more.
    pub fn unwatch(&self, watch: SourceId) {
        self.lane.unwatch(watch.0);
    }

    /// Calls `ring` at `at`, to the millisecond, on the display itself; nowhere else. Costs no system call.
    pub fn set_alarm(&self, at: Instant, ring: impl FnMut(&mut S) -> TimeoutAction + 'static) -> Alarm {
        let id = self.lane.next_id();
        self.lane.alarms.borrow_mut().insert(id, (at, Rc::new(RefCell::new(ring))));
        Alarm(id)
    }

    /// Takes an alarm back; one that has rung and is not set any more is passed over.
    pub fn clear_alarm(&self, alarm: Alarm) {
        self.lane.alarms.borrow_mut().remove(&alarm.0);
    }

    /// Ends [`run`] after this turn.
    pub fn stop(&self) {
        self.lane.stopped.set(true);
        self.signal.stop();
    }
}

impl<S: 'static> Lane<S> {
    fn next_id(&self) -> u64 {
        let id = self.next.get();
        self.next.set(id.wrapping_add(1));
        id
    }

    fn unwatch(&self, id: u64) {
        let gone = self.watched.borrow_mut().remove(&id);
        if let Some((fd, _)) = gone
            && let Err(error) = epoll::delete(&self.epoll, (*fd).as_fd())
        {
            tracing::warn!("something is listened to in vain: {error}");
        }
    }

    /// What is to be read from; `None`: waits as long as it takes.
    fn wait(&self, most: Option<Duration>) -> io::Result<Vec<u64>> {
        let mut events = Vec::with_capacity(ROUND);
        // Not before its time: to the next whole millisecond.
        let milliseconds = most.map(|most| i64::try_from(most.as_nanos().div_ceil(1_000_000)).unwrap_or(i64::MAX));
        let timeout = milliseconds.map(|ms| Timespec { tv_sec: ms / 1000, tv_nsec: ms % 1000 * 1_000_000 });
        match epoll::wait(&self.epoll, spare_capacity(&mut events), timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(events.iter().map(|event| event.data.u64()).collect()),
            Err(error) => Err(error.into()),
        }
    }

    fn serve(&self, ready: &[u64], state: &mut S) {
        for id in ready {
            if *id == CALLOOP {
                self.touched.set(true);
                continue;
            }
            // One that was served before may have ended it.
            let serve = self.watched.borrow().get(id).map(|(_, serve)| serve.clone());
            if let Some(serve) = serve
                && let Ok(mut serve) = serve.try_borrow_mut()
                && serve(state) == PostAction::Remove
            {
                self.unwatch(*id);
            }
        }
    }

    /// How long nothing is to be done, as far as alarms know.
    fn pause(&self) -> Option<Duration> {
        let alarms = self.alarms.borrow();
        let first = alarms.values().map(|(at, _)| *at).min()?;
        Some(first.saturating_duration_since(Instant::now()))
    }

    fn ring(&self, state: &mut S) {
        if self.alarms.borrow().is_empty() {
            return;
        }
        let now = Instant::now();
        let due: Vec<u64> = self.alarms.borrow().iter().filter(|(_, (at, _))| *at <= now).map(|(id, _)| *id).collect();
        for id in due {
            let ring = self.alarms.borrow().get(&id).map(|(_, ring)| ring.clone());
            let Some(ring) = ring else { continue };
            let Ok(mut ring) = ring.try_borrow_mut() else { continue };
            let again = match ring(state) {
                TimeoutAction::Drop => None,
                TimeoutAction::ToInstant(at) => Some(at),
                TimeoutAction::ToDuration(after) => now.checked_add(after),
            };
            let mut alarms = self.alarms.borrow_mut();
            match (again, alarms.get_mut(&id)) {
                (Some(again), Some((at, _))) => *at = again,
                _ => drop(alarms.remove(&id)),
            }
        }
    }
}

/// Runs until [`Sources::stop`]. `lane`: the lane serves calloop, which saves system calls; without it calloop serves
/// the lane, as a window of another desktop needs, whose source must be asked before calloop sleeps. The error is the
/// operating system's.
pub fn run<S: Served>(event_loop: &mut EventLoop<'static, S>, state: &mut S, lane: bool) -> io::Result<()> {
    if !lane {
        return event_loop.run(None, state, S::flush).map_err(|error| io::Error::other(error.to_string()));
    }
    turn_over(event_loop, state)?;
    while !state.sources().lane.stopped.get() {
        turn(event_loop, state, None)?;
    }
    Ok(())
}

/// From now on the lane listens to calloop, and [`turn`] serves both.
pub(crate) fn turn_over<S: Served>(event_loop: &EventLoop<'static, S>, state: &S) -> io::Result<()> {
    let lane = &state.sources().lane;
    if let Some(within) = lane.within.take() {
        state.sources().remove(within);
    }
    epoll::add(&lane.epoll, event_loop, epoll::EventData::new_u64(CALLOOP), epoll::EventFlags::IN)?;
    lane.touched.set(true);
    Ok(())
}

/// Waits for something to happen, for at most so long, and serves what has.
pub(crate) fn turn<S: Served>(
    event_loop: &mut EventLoop<'static, S>,
    state: &mut S,
    most: Option<Duration>,
) -> io::Result<()> {
    let lane = state.sources().lane.clone();
    let pause = if lane.touched.get() { Some(Duration::ZERO) } else { lane.pause() };
    let ready = lane.wait(pause.into_iter().chain(most).min())?;
    lane.serve(&ready, state);
    lane.ring(state);
    if lane.touched.replace(false) {
        // calloop tells the lane in this way when its next timer is due, and never waits itself: there is always this
        // to be read.
        state.sources().signal.wakeup();
        event_loop.dispatch(None, state).map_err(|error| io::Error::other(error.to_string()))?;
    }
    state.flush();
    Ok(())
}
