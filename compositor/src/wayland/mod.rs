//! The Wayland server that guests' screens connect to: one private connection each, made over the guest's control
//! socket.
//!
//! There is no named socket. A connection sees `wl_compositor`, `wl_shm`, `zwp_linux_dmabuf_v1`, `wp_viewporter`,
//! `wp_presentation`, `xdg_wm_base`, `wl_seat` and `wl_output`, on a real display `wp_linux_drm_syncobj_manager_v1`,
//! and nothing else: no capture, no virtual input, no other guest. Every request is counted ([`quota`]) and what
//! smithay does not check is checked here before smithay sees it.

pub mod client;
pub mod compositor;
pub mod content;
pub mod dmabuf;
pub mod guard;
pub mod ids;
pub mod key_text;
pub mod keymap;
pub mod mapped;
pub mod output;
pub mod presentation;
pub mod quota;
pub mod screens;
pub mod seat;
pub mod shm;
pub mod syncobj;
pub mod things;
pub mod viewporter;
pub mod xdg_shell;

use crate::State;
use crate::descriptors;
use crate::ledger::{self, Ledger};
use crate::log_limit::LogLimit;
use crate::monotonic;
use client::GuestClient;
use dmabuf::Dmabufs;
use phyllome_config::shell::Keyboard;
use phyllome_protocol::GuestName;
use screens::Screens;
use seat::{NoKeymap, SeatDevices};
use smithay::input::pointer::CursorImageStatus;
use smithay::reexports::calloop::timer::{TimeoutAction, Timer};
use smithay::reexports::calloop::{PostAction, RegistrationToken};
use smithay::reexports::wayland_server::backend::{ClientId, DisconnectReason};
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::reexports::wayland_server::{Client, Display, DisplayHandle};
use smithay::utils::IsAlive;
use smithay::wayland::compositor::CompositorState;
use smithay::wayland::presentation::PresentationState;
use smithay::wayland::shell::xdg::XdgShellState;
use smithay::wayland::shm::ShmState;
use smithay::wayland::viewporter::ViewporterState;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// `CLOCK_MONOTONIC`'s number in the presentation protocol.
const CLOCK_MONOTONIC: u32 = 1;

/// Protocol states, the seat, connections and what they show.
pub struct Protocols {
    compositor: CompositorState,
    shm: ShmState,
    dmabufs: Dmabufs,
    xdg_shell: XdgShellState,
    _viewporter: ViewporterState,
    _presentation: PresentationState,
    /// The seat.
    pub seat: SeatDevices,
    /// What guests show.
    pub screens: Screens,
    clients: BTreeMap<GuestName, Connection>,
    /// Guests whose present connection had a frame on an output.
    pictured: BTreeSet<GuestName>,
    refusals: LogLimit,
    /// What guests have used lately.
    pub ledger: Ledger,
    /// Connections that are not listened to for a while, and what ends that.
    resting: HashMap<ClientId, Resting>,
    /// Which pictures wait for their fences.
    pub fences: syncobj::Fences,
    /// Serves one client at a time. Borrowed only while it does.
    server: Rc<RefCell<Display<State>>>,
}

/// A guest's connection. The socket is held a second time because wayland-backend 0.3 closes its own only when it is
/// served again: shutting it down makes both sides notice at once.
struct Connection {
    client: Client,
    socket: UnixStream,
}

/// A connection that is not listened to, and the timer at whose end it is again.
type Resting = (Rc<UnixStream>, Arc<GuestClient>, RegistrationToken);

impl Protocols {
    /// The globals and the seat.
    pub fn new(server: Display<State>, keyboard: &Keyboard) -> Result<Self, NoKeymap> {
        let display = &server.handle();
        let compositor = CompositorState::new::<State>(display);
        // Subsurfaces would be a second way to say where pixels lie.
        display.remove_global::<State>(compositor.subcompositor_global());
        Ok(Self {
            compositor,
            shm: ShmState::new::<State>(display, []),
            dmabufs: Dmabufs::default(),
            xdg_shell: XdgShellState::new::<State>(display),
            _viewporter: ViewporterState::new::<State>(display),
            _presentation: PresentationState::new::<State>(display, CLOCK_MONOTONIC),
            seat: SeatDevices::new(display, keyboard)?,
            screens: Screens::default(),
            clients: BTreeMap::new(),
            pictured: BTreeSet::new(),
            refusals: LogLimit::new(10),
            ledger: Ledger::new((quota::BURST, quota::REQUESTS_PER_SECOND), f64::from(quota::MAX_REFUSALS)),
            resting: HashMap::new(),
            fences: syncobj::Fences::default(),
            server: Rc::new(RefCell::new(server)),
        })
    }

    /// Offers these formats of shared memory beside the two that every server has.
    pub fn offer_shm(&mut self, formats: impl IntoIterator<Item = smithay::backend::allocator::Fourcc>) {
        let formats = formats.into_iter().filter_map(smithay::wayland::shm::fourcc_to_shm_format);
        self.shm.update_formats(formats);
    }

    /// Whether guest `name` has a connection that has not ended.
    pub fn is_connected(&self, display: &DisplayHandle, name: &GuestName) -> bool {
        let client = self.clients.get(name).map(|connection| connection.client.id());
        client.is_some_and(|client| display.backend_handle().get_client_data(client).is_ok())
    }

    /// Guests that have a connection.
    pub fn attached(&self) -> impl Iterator<Item = &GuestName> {
        self.clients.keys()
    }

    /// The surface that the guest under the pointer shows as its pointer.
    pub fn cursor_surface(&self) -> Option<WlSurface> {
        match self.seat.cursor() {
            CursorImageStatus::Surface(surface) if surface.alive() => Some(surface.clone()),
            _ => None,
        }
    }

    /// No guest says what the pointer looks like.
    pub fn reset_cursor(&mut self) {
        self.seat.reset_cursor();
    }

    /// Whether this guest's connection is not listened to for a while.
    #[cfg(test)]
    pub(crate) fn rests(&self, guest: &GuestName) -> bool {
        self.resting.values().any(|(_, client, _)| client.name() == guest)
    }

    /// Something else that this guest asked for took so much processor time.
    pub fn charge(&mut self, guest: &GuestName, took: Duration, now: Instant) {
        ledger::of(&self.ledger.account(guest, now)).served(took, guard::slowness(), now);
    }

    /// A frame of this guest is on an output. Returns whether it is the first of its connection.
    pub fn note_picture(&mut self, guest: &GuestName) -> bool {
        self.clients.contains_key(guest) && self.pictured.insert(guest.clone())
    }
}

impl State {
    /// Makes `stream` the Wayland connection of guest `name`. A former connection of that name is cut.
    pub fn attach_guest_client(&mut self, name: &GuestName, stream: UnixStream) -> io::Result<()> {
        self.detach_guest_client(name);
        stream.set_nonblocking(true)?;
        let (socket, readable) = (stream.try_clone()?, stream.try_clone()?);
        let account = self.protocols.ledger.account(name, Instant::now());
        let guest = Arc::new(GuestClient::new(name.clone(), account));
        let client = self.display.insert_client(stream, guest.clone())?;
        let id = client.id();
        self.protocols.fences.begin(&self.display, &client);
        self.listen_to(Rc::new(readable), id, guest)?;
        self.protocols.clients.insert(name.clone(), Connection { client, socket });
        Ok(())
    }

    /// Serves a client whenever it has sent something.
    fn listen_to(&mut self, socket: Rc<UnixStream>, client: ClientId, guest: Arc<GuestClient>) -> io::Result<()> {
        let served = socket.clone();
        let serve = move |state: &mut State| match guest.pause() {
            Some(pause) if state.rest(&served, &client, &guest, pause) => PostAction::Remove,
            _ => state.serve_client(served.as_fd(), &client, &guest),
        };
        self.loop_handle.watch(socket, serve).map(drop)
    }

    /// What a client sends stays in its socket for so long. `false`: no timer can be set.
    fn rest(&mut self, socket: &Rc<UnixStream>, client: &ClientId, guest: &Arc<GuestClient>, pause: Duration) -> bool {
        let whose = client.clone();
        let timer = self.loop_handle.insert_source(Timer::from_duration(pause), move |_, _, state: &mut State| {
            state.wake(&whose);
            TimeoutAction::Drop
        });
        let Ok(timer) = timer else { return false };
        self.protocols.resting.insert(client.clone(), (socket.clone(), guest.clone(), timer));
        true
    }

    /// A client that was not listened to is again.
    fn wake(&mut self, client: &ClientId) {
        let Some((socket, guest, timer)) = self.protocols.resting.remove(client) else { return };
        self.loop_handle.remove(timer);
        if let Err(error) = self.listen_to(socket, client.clone(), guest.clone()) {
            tracing::error!("the screen of {} is cut off: it cannot be listened to: {error}", guest.name());
            self.display.backend_handle().kill_client(client.clone(), DisconnectReason::ConnectionClosed);
        }
    }

    /// Serves what one client has sent. The source goes when the connection has ended.
    fn serve_client(&mut self, socket: BorrowedFd<'_>, client: &ClientId, guest: &GuestClient) -> PostAction {
        let started = monotonic::processor_time();
        let action = self.serve_requests(socket, client, guest);
        guest.took(monotonic::processor_time().saturating_sub(started));
        action
    }

    /// A panic ends that connection alone.
    fn serve_requests(&mut self, socket: BorrowedFd<'_>, client: &ClientId, guest: &GuestClient) -> PostAction {
        let server = self.protocols.server.clone();
        // Requests are served one after the other: nothing that a request does serves another.
        let Ok(mut server) = server.try_borrow_mut() else { return PostAction::Continue };
        let watch = guard::WatchedDispatch::new(socket);
        let open = descriptors::open();
        self.protocols.fences.serve(Some(client.clone()));
        // wayland-scanner 0.31's code panics where a text is missing, before anything of ours has heard of the request.
        let served = catch_unwind(AssertUnwindSafe(|| server.backend().dispatch_single_client(self, client.clone())));
        self.protocols.fences.serve(None);
        if watch.end() {
            guest.overran();
        }
        let Ok(served) = served else {
            guest.unreadable();
            self.display.backend_handle().kill_client(client.clone(), DisconnectReason::ConnectionClosed);
            guard::shut_down(socket);
            // The library cleans up when it next reads the end of the connection.
            return PostAction::Continue;
        };
        match served {
            Ok(requests) => {
                if !guest.holds_few(open) || !guest.served(&self.display, client, requests) {
                    // The library reads the end of the connection next and cleans up.
                    self.display.backend_handle().kill_client(client.clone(), DisconnectReason::ConnectionClosed);
                    guard::shut_down(socket);
                }
                PostAction::Continue
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => PostAction::Continue,
            Err(_) => {
                // What was said in farewell has been sent; the other side is not to wait for more.
                guard::shut_down(socket);
                self.protocols.fences.end(&self.display, client);
                PostAction::Remove
            }
        }
    }

    /// Cuts the Wayland connection of guest `name`, if it has one. Its picture is gone.
    pub fn detach_guest_client(&mut self, name: &GuestName) {
        self.protocols.pictured.remove(name);
        if let Some(Connection { client, socket }) = self.protocols.clients.remove(name) {
            if let Some(guest) = client::guest_of(&client) {
                guest.end();
            }
            self.display.backend_handle().kill_client(client.id(), DisconnectReason::ConnectionClosed);
            guard::shut_down(socket.as_fd());
            // It is cleaned up now, whatever it owes.
            self.wake(&client.id());
            self.protocols.screens.forget_guest(name);
            self.protocols.fences.end(&self.display, &client.id());
        }
        self.protocols.screens.forget_guest(name);
        self.sync_focus();
    }
}
