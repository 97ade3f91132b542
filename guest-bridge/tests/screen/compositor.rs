//! A compositor that writes down what it is asked, draws nothing, and answers only what a test tells it to.

use phyllome_guest_bridge::frames::Rect;
use std::collections::{HashMap, HashSet};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use wayland_protocols::wp::fractional_scale::v1::server::{wp_fractional_scale_manager_v1, wp_fractional_scale_v1};
use wayland_protocols::wp::linux_dmabuf::zv1::server::zwp_linux_dmabuf_v1;
use wayland_protocols::wp::viewporter::server::wp_viewporter;
use wayland_protocols::xdg::shell::server::{xdg_surface, xdg_toplevel, xdg_wm_base};
use wayland_server::backend::{ClientData, ClientId, DisconnectReason, GlobalId, ObjectId};
use wayland_server::protocol::{
    wl_callback, wl_compositor, wl_keyboard, wl_output, wl_pointer, wl_seat, wl_shm, wl_surface,
};
use wayland_server::{Client, Display, Resource};

/// What a compositor offers and how it configures windows.
#[derive(Clone)]
pub struct Offer {
    pub shm: bool,
    pub shm_formats: Vec<wl_shm::Format>,
    pub viewporter: bool,
    /// dmabufs with this format, LINEAR; `false`: each is refused.
    pub dmabuf: Option<(u32, bool)>,
    /// Formats are told as feedback (version 4), not as events (version 3).
    pub feedback: bool,
    /// The scale that is preferred for every surface, in 120ths.
    pub fractional: Option<u32>,
    pub size: (i32, i32),
    pub states: Vec<xdg_toplevel::State>,
    /// Windows are configured by the test only.
    pub lazy: bool,
}

impl Default for Offer {
    fn default() -> Self {
        Self {
            shm: true,
            shm_formats: Vec::new(),
            viewporter: true,
            dmabuf: None,
            feedback: false,
            fractional: None,
            size: (1272, 768),
            states: vec![xdg_toplevel::State::Fullscreen, xdg_toplevel::State::Activated],
            lazy: false,
        }
    }
}

/// A wl_buffer as its maker described it.
#[derive(Debug)]
pub struct BufferInfo {
    pub fd: OwnedFd,
    pub dmabuf: bool,
    pub offset: i32,
    pub size: (i32, i32),
    pub stride: i32,
    pub format: u32,
    /// Of a dmabuf: offsets and strides of all planes, and their layout.
    pub planes: Vec<(u32, u32)>,
    pub modifier: u64,
}

impl BufferInfo {
    /// The four bytes of one pixel, as the compositor would read them.
    pub fn pixel(&self, x: i32, y: i32) -> [u8; 4] {
        let mut bytes = [0; 4];
        let at = self.offset + y * self.stride + x * 4;
        std::fs::File::from(self.fd.try_clone().unwrap()).read_exact_at(&mut bytes, at as u64).unwrap();
        bytes
    }
}

/// One wl_surface.commit.
#[derive(Debug, Default)]
pub struct Commit {
    pub surface: Option<ObjectId>,
    pub buffer: Option<Arc<BufferInfo>>,
    pub damage: Vec<Rect>,
    pub frames: usize,
    pub crop: Option<(f64, f64, f64, f64)>,
    pub scaled: Option<(i32, i32)>,
    /// The buffer is shown with its last row first.
    pub turned: bool,
}

#[derive(Default)]
pub struct SurfaceState {
    pub pending: Commit,
    pub callbacks: Vec<wl_callback::WlCallback>,
}

pub struct Window {
    pub surface: wl_surface::WlSurface,
    pub xdg: xdg_surface::XdgSurface,
    pub toplevel: xdg_toplevel::XdgToplevel,
    pub app_id: String,
    pub title: String,
    pub configured: bool,
}

#[derive(Default)]
pub struct State {
    pub offer: Offer,
    pub commits: Vec<Commit>,
    pub windows: Vec<Window>,
    pub windows_made: usize,
    pub live_buffers: HashSet<ObjectId>,
    /// Cursor surfaces that were set; `None`: hidden. With the hotspot.
    pub cursors: Vec<(Option<ObjectId>, i32, i32)>,
    pub keyboard: Option<wl_keyboard::WlKeyboard>,
    pub pointer: Option<wl_pointer::WlPointer>,
    pub surfaces: HashMap<ObjectId, SurfaceState>,
    pub serial: u32,
    /// Outputs by the order in which they were bound.
    pub outputs: Vec<wl_output::WlOutput>,
    /// By the order in which they were asked for.
    pub scales: Vec<wp_fractional_scale_v1::WpFractionalScaleV1>,
}

/// What an output says of itself.
#[derive(Clone, Copy)]
pub struct OutputFacts {
    pub size_mm: (i32, i32),
    pub size: (i32, i32),
    pub refresh_mhz: i32,
    pub transform: wl_output::Transform,
}

impl OutputFacts {
    pub const FIRST: Self =
        Self { size_mm: (320, 200), size: (1280, 800), refresh_mhz: 75_000, transform: wl_output::Transform::Normal };

    /// Says all but that it is done.
    pub fn say(self, output: &wl_output::WlOutput) {
        let (maker, model) = ("maker".to_owned(), "model".to_owned());
        let (width, height) = self.size_mm;
        output.geometry(0, 0, width, height, wl_output::Subpixel::Unknown, maker, model, self.transform);
        output.mode(wl_output::Mode::Current, self.size.0, self.size.1, self.refresh_mhz);
    }
}

pub struct Compositor {
    pub state: State,
    display: Display<State>,
    client: Client,
    /// All requests so far.
    pub requests: usize,
}

struct NoData;

impl ClientData for NoData {
    fn initialized(&self, _: ClientId) {}
    fn disconnected(&self, _: ClientId, _: DisconnectReason) {}
}

impl Compositor {
    /// A compositor and the client's end of its only connection.
    pub fn new(offer: Offer) -> (Self, UnixStream) {
        let display = Display::new().unwrap();
        let mut handle = display.handle();
        handle.create_global::<State, wl_compositor::WlCompositor, _>(4, ());
        handle.create_global::<State, xdg_wm_base::XdgWmBase, _>(2, ());
        handle.create_global::<State, wl_seat::WlSeat, _>(8, ());
        handle.create_global::<State, wl_output::WlOutput, _>(3, OutputFacts::FIRST);
        if offer.shm {
            handle.create_global::<State, wl_shm::WlShm, _>(1, ());
        }
        if offer.viewporter {
            handle.create_global::<State, wp_viewporter::WpViewporter, _>(1, ());
        }
        if offer.fractional.is_some() {
            handle.create_global::<State, wp_fractional_scale_manager_v1::WpFractionalScaleManagerV1, _>(1, ());
        }
        if offer.dmabuf.is_some() {
            let version = if offer.feedback { 4 } else { 3 };
            handle.create_global::<State, zwp_linux_dmabuf_v1::ZwpLinuxDmabufV1, _>(version, ());
        }
        let (ours, theirs) = UnixStream::pair().unwrap();
        let client = handle.insert_client(ours, Arc::new(NoData)).unwrap();
        (Self { state: State { offer, ..State::default() }, display, client, requests: 0 }, theirs)
    }

    /// Handles what has come and sends what has to go.
    pub fn pump(&mut self) {
        self.requests += self.display.dispatch_clients(&mut self.state).unwrap();
        self.display.flush_clients().unwrap();
    }

    /// Another monitor is plugged in. It says what it is when it is bound, and is the last of `outputs` then.
    pub fn plug(&mut self, facts: OutputFacts) -> GlobalId {
        self.display.handle().create_global::<State, wl_output::WlOutput, _>(3, facts)
    }

    /// A monitor is pulled out.
    pub fn unplug(&mut self, monitor: GlobalId) {
        self.display.handle().remove_global::<State>(monitor);
    }

    /// Answers every frame callback; returns how many there were.
    pub fn frame(&mut self) -> usize {
        let callbacks: Vec<_> =
            self.state.surfaces.values_mut().flat_map(|s| std::mem::take(&mut s.callbacks)).collect();
        callbacks.iter().for_each(|callback| callback.done(0));
        callbacks.len()
    }

    pub fn configure(&mut self, window: usize, size: (i32, i32), states: &[xdg_toplevel::State]) {
        self.state.serial += 1;
        let window = &mut self.state.windows[window];
        let states = states.iter().flat_map(|state| u32::from(*state).to_ne_bytes()).collect();
        window.toplevel.configure(size.0, size.1, states);
        window.xdg.configure(self.state.serial);
    }

    /// The client breaks a rule, says the compositor.
    pub fn protocol_error(&mut self) {
        let toplevel = &self.state.windows[0].toplevel;
        toplevel.post_error(3u32, "nobody knows why");
    }

    pub fn kill_client(&mut self) {
        self.client.kill(
            &self.display.handle(),
            wayland_server::backend::protocol::ProtocolError {
                code: 0,
                object_id: 1,
                object_interface: "wl_display".into(),
                message: "gone".into(),
            },
        );
    }

    /// Commits that had a buffer attached.
    pub fn shown(&self) -> Vec<&Commit> {
        self.state.commits.iter().filter(|commit| commit.buffer.is_some()).collect()
    }

    pub fn last(&self) -> &Commit {
        self.state.commits.iter().rev().find(|commit| commit.buffer.is_some()).expect("a picture was committed")
    }
}

impl Window {
    pub fn key(&self, keyboard: &wl_keyboard::WlKeyboard, code: u32, pressed: bool) {
        use wl_keyboard::KeyState::{Pressed, Released};
        keyboard.key(1, 0, code, if pressed { Pressed } else { Released });
    }

    pub fn keyboard_enter(&self, keyboard: &wl_keyboard::WlKeyboard, held: &[u32]) {
        keyboard.enter(1, &self.surface, held.iter().flat_map(|code| code.to_ne_bytes()).collect());
    }
}

/// A keymap as a compositor sends one; its descriptor must not stay open.
pub fn send_keymap(keyboard: &wl_keyboard::WlKeyboard) {
    let file = tempfile::tempfile().unwrap();
    keyboard.keymap(wl_keyboard::KeymapFormat::XkbV1, file.as_fd(), 0);
}
