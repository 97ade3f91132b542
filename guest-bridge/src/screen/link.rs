//! One Wayland connection: from its first byte to its loss.
//!
//! Nothing here waits for the compositor. It is ready when two syncs have come back: after the first all globals are
//! bound, after the second they have said what they have to say. A panic in the protocol library, whatever a compositor
//! sends, ends the connection and nothing else.

use super::buffers::Buffers;
use super::conversion::in_turn;
use super::geometry::Scale;
use super::globals::Globals;
use super::model::Model;
use super::seat::Seat;
use super::surface::Surface;
use super::{FromScreen, SharedScreenReport};
use crate::frames::{PreferredMode, Rect};
use phyllome_protocol::ScanoutId;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::collections::{BTreeMap, VecDeque};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use wayland_client::backend::WaylandError;
use wayland_client::protocol::wl_callback;
use wayland_client::{Connection, Dispatch, DispatchError, EventQueue, QueueHandle};

/// Of what a compositor says about an error.
const MAX_REASON: usize = 200;

/// What a connection has to say to the hub.
pub(super) enum LinkEvent {
    Ready,
    Presented {
        id: ScanoutId,
        serial: u64,
    },
    /// This flush will not be shown.
    Unshown {
        id: ScanoutId,
        serial: u64,
    },
    Displayed(ScanoutId),
    Close,
    Machine(FromScreen),
    /// The pointer is here on this scanout, in values of an absolute axis.
    Pointed {
        id: ScanoutId,
        at: (u16, u16),
    },
    Mode {
        id: ScanoutId,
        mode: PreferredMode,
    },
    /// This buffer will not be shown.
    Never(u64),
}

#[derive(Clone, Copy, PartialEq)]
enum Phase {
    Globals,
    Facts,
    Ready,
}

/// User data of a sync's callback.
struct Sync;

/// What the events of a connection change.
pub(super) struct LinkState {
    phase: Phase,
    pub globals: Globals,
    pub surfaces: BTreeMap<ScanoutId, Surface>,
    pub buffers: Buffers,
    pub seat: Seat,
    pub events: VecDeque<LinkEvent>,
    modes: BTreeMap<ScanoutId, PreferredMode>,
    failed: Option<String>,
    /// Whose picture was the last that was begun to be converted.
    converted: Option<ScanoutId>,
    /// When the next window may go.
    unplugging: Option<Instant>,
}

/// One connection.
pub(super) struct Link {
    state: LinkState,
    queue: EventQueue<LinkState>,
    connection: Connection,
    title: String,
    scanouts: u32,
    readable: AsyncFd<UnixStream>,
    /// There while the compositor does not read what we have sent.
    writable: Option<AsyncFd<UnixStream>>,
    report: SharedScreenReport,
}

impl Link {
    /// Begins a connection. The error is one sentence.
    pub fn open(stream: UnixStream, title: String, scanouts: u32, report: SharedScreenReport) -> Result<Self, String> {
        let cannot = |error: std::io::Error| format!("The Wayland connection cannot be used: {error}.");
        stream.set_nonblocking(true).map_err(cannot)?;
        let watched = stream.try_clone().map_err(cannot)?;
        let readable = watch(watched, Interest::READABLE).map_err(cannot)?;
        let connection = Connection::from_socket(stream)
            .map_err(|error| format!("The Wayland connection cannot be used: {error}."))?;
        let queue = connection.new_event_queue();
        let qh = queue.handle();
        let display = connection.display();
        display.get_registry(&qh, ());
        display.sync(&qh, Sync);
        let state = LinkState {
            phase: Phase::Globals,
            globals: Globals::default(),
            surfaces: BTreeMap::new(),
            buffers: Buffers::default(),
            seat: Seat::default(),
            events: VecDeque::new(),
            modes: BTreeMap::new(),
            failed: None,
            converted: None,
            unplugging: None,
        };
        Ok(Self { state, queue, connection, title, scanouts, readable, writable: None, report })
    }

    /// Waits until [`Link::turn`] or [`Link::show`] has something to do. May be dropped at any time.
    pub async fn wait(&self) {
        if let Some(writable) = &self.writable {
            // Until the compositor reads, nothing is answered and nothing is said, so that what is unsent stays small.
            // An error shows when the connection is used next.
            let _ = writable.writable().await;
            return;
        }
        let deadline = async {
            let retries = self.state.surfaces.values().filter_map(Surface::retries_at);
            match self.state.seat.deadline().into_iter().chain(self.state.unplugging).chain(retries).min() {
                Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
                None => std::future::pending().await,
            }
        };
        let readable = async {
            if let Ok(mut guard) = self.readable.readable().await {
                // All there is will be read; what comes after this line wakes again.
                guard.clear_ready();
            }
        };
        tokio::select! {
            () = readable => {}
            () = deadline => {}
            () = self.state.buffers.worker.done() => {}
        }
    }

    /// Reads what the compositor has sent. The error is one sentence: the connection is lost.
    pub fn turn(&mut self) -> Result<(), String> {
        if self.writable.is_some() {
            return Ok(());
        }
        self.guarded(|link| {
            let read = link.read();
            // What came before an error still counts, and descriptors in it are closed.
            let dispatched = link.queue.dispatch_pending(&mut link.state).map_err(|error| match error {
                DispatchError::Backend(error) => sentence(&error),
                DispatchError::BadMessage { interface, opcode, .. } => {
                    format!("The compositor sent an event that does not exist ({interface}, {opcode}).")
                }
            });
            link.state.settle_pointer();
            match link.state.failed.take() {
                Some(reason) => Err(reason),
                None => read.and(dispatched.map(drop)),
            }
        })
    }

    fn read(&mut self) -> Result<(), String> {
        while let Some(guard) = self.queue.prepare_read() {
            // Where another crate of the same build turns wayland-backend's `client_system` on, libwayland-client
            // reads, which does not say that there was nothing to read: without this question, the loop would never
            // end.
            if !self.has_something_to_read() {
                return Ok(());
            }
            match guard.read() {
                // libwayland's own client, which a build of the whole workspace may choose, says so where nothing is
                // left.
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(WaylandError::Io(error)) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(sentence(&error)),
            }
        }
        Ok(())
    }

    /// Also true where reading would be an error, so that the error is found.
    fn has_something_to_read(&self) -> bool {
        let mut socket = [PollFd::new(self.readable.get_ref(), PollFlags::IN)];
        !matches!(poll(&mut socket, Some(&Timespec::default())), Ok(0))
    }

    /// The scanout shows another picture, or none.
    pub fn replace_picture(&mut self, id: ScanoutId) {
        if let Some(surface) = self.state.surfaces.get_mut(&id) {
            surface.replace_picture();
        }
    }

    /// Parts of its picture are new.
    pub fn damage(&mut self, id: ScanoutId, rects: &[Rect]) {
        if let Some(surface) = self.state.surfaces.get_mut(&id) {
            surface.damage(rects);
        }
    }

    /// Its cursor changed.
    pub fn cursor_changed(&mut self, id: ScanoutId) {
        self.state.seat.cursor_changed(id);
    }

    /// All pictures and cursors are gone.
    pub fn reset(&mut self) {
        self.state.surfaces.values_mut().for_each(Surface::replace_picture);
        self.state.seat.all_cursors_changed();
    }

    /// The device is another one: it has flushed nothing yet.
    pub fn forget_flights(&mut self) {
        self.state.surfaces.values_mut().for_each(Surface::forget_serial);
    }

    /// The device is another one: it is to be told everything again.
    pub fn forget_modes(&mut self) {
        self.state.modes.clear();
    }

    /// Whether pictures can be shown.
    pub fn is_ready(&self) -> bool {
        self.state.phase == Phase::Ready
    }

    /// What has happened.
    pub fn next_event(&mut self) -> Option<LinkEvent> {
        self.state.events.pop_front()
    }

    /// Shows what the scanouts show now, where that is possible and due. The error is one sentence: the connection is
    /// lost.
    pub fn show(&mut self, model: &mut Model) -> Result<(), String> {
        self.guarded(|link| {
            if link.writable.is_some() {
                link.flush()?;
            }
            if link.writable.is_none() && link.is_ready() {
                link.show_surfaces(model);
                let qh = link.queue.handle();
                let LinkState { seat, surfaces, globals, .. } = &mut link.state;
                let scale = seat.over().and_then(|id| surfaces.get(&id)).map_or(Scale::ONE, Surface::scale);
                seat.show_cursor(model, scale, globals, &qh);
            }
            link.flush()
        })
    }

    fn show_surfaces(&mut self, model: &mut Model) {
        let qh = self.queue.handle();
        let Self { state, title, scanouts, report, .. } = self;
        let LinkState { globals, surfaces, buffers, modes, events, converted, unplugging, .. } = state;
        // Windows say early which modes the guest should have.
        let wanted = (0..*scanouts).filter_map(ScanoutId::new);
        let visible = model.iter().filter(|(_, scanout)| scanout.visible().is_some()).map(|(id, _)| id);
        for id in wanted.chain(visible) {
            if !surfaces.contains_key(&id)
                && let Some(surface) = Surface::new(id, title, globals, &qh)
            {
                surfaces.insert(id, surface);
            }
        }
        // A monitor that was unplugged; the first one stays and goes dark.
        *unplugging = None;
        surfaces.retain(|id, surface| {
            let on = model.get(*id).is_some_and(|scanout| scanout.picture.is_some());
            let Some(due) = surface.may_go_from().filter(|_| !on && id.get() != 0) else { return true };
            let keep = due > Instant::now();
            if keep {
                *unplugging = Some(unplugging.map_or(due, |earlier| due.min(earlier)));
            }
            keep
        });
        modes.retain(|id, _| surfaces.contains_key(id));
        // Nothing that is done under this lock panics on its own; if it did, the figures would still be figures.
        let mut report = report.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        // One picture is converted at a time, so whoever had his turn last is the last to have it again.
        for id in in_turn(surfaces.keys().copied(), *converted) {
            let Some(surface) = surfaces.get_mut(&id) else { continue };
            let report = report.scanouts.entry(id).or_default();
            let conversions = surface.conversions();
            if let Some(serial) = surface.show(model.get_mut(id), globals, buffers, &qh, report) {
                events.push_back(LinkEvent::Unshown { id, serial });
            }
            if surface.conversions() != conversions {
                *converted = Some(id);
            }
            if let Some(mode) = surface.wanted(globals)
                && modes.insert(id, mode) != Some(mode)
            {
                events.push_back(LinkEvent::Mode { id, mode });
            }
        }
        while let Some(buffer) = buffers.next_never() {
            events.push_back(LinkEvent::Never(buffer));
        }
        let attached: Vec<Option<u64>> = surfaces.values().map(Surface::memory).collect();
        buffers.sweep(&attached);
    }

    fn flush(&mut self) -> Result<(), String> {
        match self.connection.flush() {
            Ok(()) => {
                self.writable = None;
                Ok(())
            }
            Err(WaylandError::Io(error)) if error.kind() == std::io::ErrorKind::WouldBlock => {
                // Registered anew each time, so that readiness of long ago is not mistaken for today's.
                self.writable = self
                    .readable
                    .get_ref()
                    .try_clone()
                    .and_then(|stream| watch(stream, Interest::WRITABLE))
                    .map(Some)
                    .map_err(|error| format!("The Wayland connection cannot be used: {error}."))?;
                Ok(())
            }
            Err(error) => Err(sentence(&error)),
        }
    }

    fn guarded(&mut self, act: impl FnOnce(&mut Self) -> Result<(), String>) -> Result<(), String> {
        // A link is dropped after an error, so nobody sees what a panic left half done.
        catch_unwind(AssertUnwindSafe(|| act(self)))
            .unwrap_or_else(|_| Err("The compositor sent something that nobody understands.".into()))
    }

    /// Ends the connection. Returns the flushes that it will not answer, and what has to be released.
    pub fn close(mut self) -> (Vec<(ScanoutId, u64)>, Vec<LinkEvent>) {
        let lost = self.state.surfaces.iter();
        let lost = lost.filter_map(|(id, surface)| Some((*id, surface.unanswered()?))).collect();
        let mut events: Vec<LinkEvent> = self.state.events.drain(..).collect();
        let released = self.state.seat.release_all();
        events.extend(released.map(|event| LinkEvent::Machine(FromScreen::Input(event))));
        (lost, events)
    }
}

fn watch(stream: UnixStream, interest: Interest) -> std::io::Result<AsyncFd<UnixStream>> {
    // SAFETY: the AsyncFd owns the stream, which owns its descriptor and names no other one until it is dropped;
    // dropping the AsyncFd ends the registration first.
    unsafe { AsyncFd::register_with_interest(stream, interest) }.map_err(Into::into)
}

/// What became of a connection, for a person.
fn sentence(error: &WaylandError) -> String {
    match error {
        WaylandError::Io(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {
            "The compositor closed the connection.".into()
        }
        WaylandError::Io(error) => format!("The connection to the compositor failed: {error}."),
        WaylandError::Protocol(error) => {
            let text = phyllome_protocol::text::printable(&error.message, MAX_REASON);
            format!("The compositor refused a request ({} error {}: {text}).", error.object_interface, error.code)
        }
    }
}

impl Dispatch<wl_callback::WlCallback, Sync> for LinkState {
    fn event(
        state: &mut Self,
        _: &wl_callback::WlCallback,
        _: wl_callback::Event,
        _: &Sync,
        connection: &Connection,
        qh: &QueueHandle<Self>,
    ) {
        state.phase = match state.phase {
            Phase::Globals => match state.globals.missing() {
                Some(reason) => {
                    state.failed = Some(reason);
                    Phase::Globals
                }
                None => {
                    connection.display().sync(qh, Sync);
                    Phase::Facts
                }
            },
            Phase::Facts | Phase::Ready => {
                state.events.push_back(LinkEvent::Ready);
                Phase::Ready
            }
        };
    }
}
