//! A Wayland client as small verbs: it can do what phyllome-guest does, and a good deal that it never would.

use smithay::reexports::rustix;
use std::any::Any;
use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use wayland_client::globals::GlobalListContents;
use wayland_client::protocol::{
    wl_buffer, wl_callback, wl_compositor, wl_keyboard, wl_output, wl_pointer, wl_region, wl_registry, wl_seat, wl_shm,
    wl_shm_pool, wl_surface, wl_touch,
};
use wayland_client::{Connection, Dispatch, EventQueue, Proxy, QueueHandle, WEnum, delegate_noop};
use wayland_protocols::wp::linux_dmabuf::zv1::client::{
    zwp_linux_buffer_params_v1, zwp_linux_dmabuf_feedback_v1, zwp_linux_dmabuf_v1,
};
use wayland_protocols::wp::linux_drm_syncobj::v1::client::{
    wp_linux_drm_syncobj_manager_v1, wp_linux_drm_syncobj_surface_v1, wp_linux_drm_syncobj_timeline_v1,
};
use wayland_protocols::wp::presentation_time::client::{wp_presentation, wp_presentation_feedback};
use wayland_protocols::wp::viewporter::client::{wp_viewport, wp_viewporter};
use wayland_protocols::xdg::shell::client::{xdg_popup, xdg_positioner, xdg_surface, xdg_toplevel, xdg_wm_base};

/// What a client heard.
#[derive(Debug, Default)]
pub struct Events {
    /// Interface → (global's name, version).
    pub globals: HashMap<String, (u32, u32)>,
    pub synced: u64,
    /// Frame callbacks that came.
    pub frames: u32,
    pub presented: u32,
    pub discarded: u32,
    pub released: u32,
    /// The last size of each toplevel's configure, and the serial to acknowledge.
    pub configured: Option<(i32, i32)>,
    /// Whether the last configure said that nobody sees it.
    pub suspended: bool,
    pub serial: Option<u32>,
    /// `enter`, `leave`, keys, modifiers in the order in which they came.
    pub keyboard: Vec<Keyboard>,
    pub pointer: Vec<Pointer>,
    /// The serial of the pointer's last `enter`.
    pub entered: u32,
    /// The surface that the pointer is on.
    pub over: Option<wl_surface::WlSurface>,
    pub repeat_rate: Option<i32>,
    pub dmabufs_refused: u32,
    pub dmabuf: Option<wl_buffer::WlBuffer>,
    pub outputs_entered: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keyboard {
    Enter(Vec<u8>),
    Leave,
    Key(u32, bool),
    Modifiers(u32, u32, u32),
}

#[derive(Clone, Debug, PartialEq)]
pub enum Pointer {
    Enter(f64, f64),
    Leave,
    Motion(f64, f64),
    Button(u32, bool),
    Axis(i32),
}

/// An interface and its version.
type Global = (&'static str, u32);

pub struct Client {
    pub connection: Connection,
    queue: EventQueue<Events>,
    pub handle: QueueHandle<Events>,
    pub events: Events,
    registry: wl_registry::WlRegistry,
    /// Globals that are bound, by interface and version.
    bound: RefCell<HashMap<Global, Box<dyn Any>>>,
    kept: RefCell<Option<wl_surface::WlSurface>>,
    asked: u64,
    cut: bool,
}

/// A memfd that cannot shrink, as phyllome-guest's are.
pub fn sealed(bytes: u64) -> File {
    let flags = rustix::fs::MemfdFlags::CLOEXEC | rustix::fs::MemfdFlags::ALLOW_SEALING;
    let file = File::from(rustix::fs::memfd_create("test", flags).unwrap());
    file.set_len(bytes).unwrap();
    rustix::fs::fcntl_add_seals(&file, rustix::fs::SealFlags::SHRINK).unwrap();
    file
}

/// A toplevel and its parts.
pub struct Window {
    pub surface: wl_surface::WlSurface,
    pub xdg: xdg_surface::XdgSurface,
    pub toplevel: xdg_toplevel::XdgToplevel,
}

/// Shared memory and what it is cut into.
pub struct Pool {
    pub file: File,
    pub pool: wl_shm_pool::WlShmPool,
}

impl Client {
    pub fn new(stream: UnixStream) -> Self {
        let connection = Connection::from_socket(stream).unwrap();
        let queue = connection.new_event_queue();
        let handle = queue.handle();
        let registry = connection.display().get_registry(&handle, ());
        Self {
            connection,
            queue,
            handle,
            events: Events::default(),
            registry,
            bound: RefCell::default(),
            kept: RefCell::default(),
            asked: 0,
            cut: false,
        }
    }

    /// Asks for an answer; returns what `events.synced` will be when it has come.
    pub fn sync(&mut self) -> u64 {
        self.connection.display().sync(&self.handle, SyncMark);
        self.asked += 1;
        self.flush();
        self.asked
    }

    pub fn flush(&mut self) {
        if self.connection.flush().is_err_and(|error| {
            !matches!(&error, wayland_client::backend::WaylandError::Io(io) if io.kind() == std::io::ErrorKind::WouldBlock)
        }) {
            self.cut = true;
        }
    }

    /// Reads what has arrived.
    pub fn pump(&mut self) {
        self.flush();
        if let Some(guard) = self.queue.prepare_read() {
            match guard.read() {
                Ok(_) => {}
                Err(wayland_client::backend::WaylandError::Io(io)) if io.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(_) => self.cut = true,
            }
        }
        if self.queue.dispatch_pending(&mut self.events).is_err() {
            self.cut = true;
        }
    }

    /// Whether the shell has ended the connection.
    pub fn is_cut(&self) -> bool {
        self.cut || self.connection.protocol_error().is_some()
    }

    /// A global, bound once.
    pub fn bind<I: Proxy + 'static>(&self, version: u32) -> I
    where
        Events: Dispatch<I, ()>,
    {
        let mut bound = self.bound.borrow_mut();
        let global =
            bound.entry((I::interface().name, version)).or_insert_with(|| Box::new(self.bind_anew::<I>(version)));
        global.downcast_ref::<I>().expect("of this interface").clone()
    }

    /// A global, bound once more.
    pub fn bind_anew<I: Proxy + 'static>(&self, version: u32) -> I
    where
        Events: Dispatch<I, ()>,
    {
        let (name, _) = self.events.globals[I::interface().name];
        self.registry.bind::<I, _, _>(name, version, &self.handle, ())
    }

    pub fn surface(&self) -> wl_surface::WlSurface {
        self.bind::<wl_compositor::WlCompositor>(4).create_surface(&self.handle, ())
    }

    /// A surface that is made once.
    pub fn kept(&self) -> wl_surface::WlSurface {
        let kept = self.kept.borrow().clone();
        kept.unwrap_or_else(|| self.kept.borrow_mut().insert(self.surface()).clone())
    }

    /// A toplevel with this app_id that has been committed once.
    pub fn window(&self, app_id: &str) -> Window {
        let surface = self.surface();
        let xdg = self.bind::<xdg_wm_base::XdgWmBase>(6).get_xdg_surface(&surface, &self.handle, ());
        let toplevel = xdg.get_toplevel(&self.handle, ());
        toplevel.set_app_id(app_id.to_owned());
        surface.commit();
        Window { surface, xdg, toplevel }
    }

    /// A pool of `bytes` bytes.
    pub fn pool(&self, bytes: usize) -> Pool {
        let file = sealed(bytes as u64);
        let pool = self.bind::<wl_shm::WlShm>(1).create_pool(file.as_fd(), bytes as i32, &self.handle, ());
        Pool { file, pool }
    }

    /// A buffer of one colour, with its pool. A row is 256-byte aligned, as phyllome-guest's are.
    pub fn buffer(&self, width: i32, height: i32, colour: u32, format: wl_shm::Format) -> (wl_buffer::WlBuffer, Pool) {
        let stride = (width * 4 + 255) / 256 * 256;
        let pool = self.pool(stride as usize * height as usize);
        let row: Vec<u8> = colour.to_le_bytes().repeat(stride as usize / 4);
        for y in 0..height as u64 {
            pool.file.write_all_at(&row, y * stride as u64).unwrap();
        }
        let buffer = pool.pool.create_buffer(0, width, height, stride, format, &self.handle, ());
        (buffer, pool)
    }

    /// Fills a surface with one colour.
    pub fn fill(&self, surface: &wl_surface::WlSurface, width: i32, height: i32, colour: u32) -> Pool {
        let (buffer, pool) = self.buffer(width, height, colour, wl_shm::Format::Xrgb8888);
        surface.attach(Some(&buffer), 0, 0);
        surface.damage_buffer(0, 0, width, height);
        surface.commit();
        pool
    }

    /// Asks for a frame callback and commits.
    pub fn ask_for_frame(&self, surface: &wl_surface::WlSurface) {
        surface.frame(&self.handle, FrameMark);
        surface.commit();
    }

    pub fn viewport(&self, surface: &wl_surface::WlSurface) -> wp_viewport::WpViewport {
        self.bind::<wp_viewporter::WpViewporter>(1).get_viewport(surface, &self.handle, ())
    }

    pub fn feedback(&self, surface: &wl_surface::WlSurface) {
        self.bind::<wp_presentation::WpPresentation>(1).feedback(surface, &self.handle, ());
    }

    pub fn seat(&self) -> wl_seat::WlSeat {
        self.bind(7)
    }
}

impl Window {
    /// Acknowledges the configure that came.
    pub fn acknowledge(&self, client: &Client) {
        self.xdg.ack_configure(client.events.serial.expect("a configure has come"));
    }
}

#[derive(Debug)]
pub struct SyncMark;

#[derive(Debug)]
pub struct FrameMark;

impl Dispatch<wl_registry::WlRegistry, ()> for Events {
    fn event(
        state: &mut Self,
        _: &wl_registry::WlRegistry,
        event: wl_registry::Event,
        (): &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        if let wl_registry::Event::Global { name, interface, version } = event {
            state.globals.insert(interface, (name, version));
        }
    }
}

impl Dispatch<wl_registry::WlRegistry, GlobalListContents> for Events {
    fn event(
        _: &mut Self,
        _: &wl_registry::WlRegistry,
        _: wl_registry::Event,
        _: &GlobalListContents,
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
    }
}

impl Dispatch<wl_callback::WlCallback, SyncMark> for Events {
    fn event(
        state: &mut Self,
        _: &wl_callback::WlCallback,
        _: wl_callback::Event,
        _: &SyncMark,
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        state.synced += 1;
    }
}

impl Dispatch<wl_callback::WlCallback, FrameMark> for Events {
    fn event(
        state: &mut Self,
        _: &wl_callback::WlCallback,
        _: wl_callback::Event,
        _: &FrameMark,
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        state.frames += 1;
    }
}

/// Remembers one kind of event.
macro_rules! hear {
    ($interface:ty, |$state:ident, $event:ident, $proxy:ident, $handle:ident| $body:expr) => {
        impl Dispatch<$interface, ()> for Events {
            fn event(
                $state: &mut Self,
                $proxy: &$interface,
                $event: <$interface as Proxy>::Event,
                (): &(),
                _: &Connection,
                $handle: &QueueHandle<Self>,
            ) {
                $body
            }

            fn event_created_child(
                opcode: u16,
                handle: &QueueHandle<Self>,
            ) -> std::sync::Arc<dyn wayland_client::backend::ObjectData> {
                let _ = opcode;
                handle.make_data::<wl_buffer::WlBuffer, ()>(())
            }
        }
    };
}

hear!(wl_buffer::WlBuffer, |state, event, _proxy, _handle| {
    if let wl_buffer::Event::Release = event {
        state.released += 1;
    }
});
hear!(wl_surface::WlSurface, |state, event, _proxy, _handle| {
    if let wl_surface::Event::Enter { .. } = event {
        state.outputs_entered += 1;
    }
});
hear!(xdg_wm_base::XdgWmBase, |_state, event, proxy, _handle| {
    if let xdg_wm_base::Event::Ping { serial } = event {
        proxy.pong(serial);
    }
});
hear!(xdg_surface::XdgSurface, |state, event, _proxy, _handle| {
    if let xdg_surface::Event::Configure { serial } = event {
        state.serial = Some(serial);
    }
});
hear!(xdg_toplevel::XdgToplevel, |state, event, _proxy, _handle| {
    if let xdg_toplevel::Event::Configure { width, height, states } = event {
        state.configured = Some((width, height));
        let suspended = u32::from(xdg_toplevel::State::Suspended).to_ne_bytes();
        state.suspended = states.chunks_exact(4).any(|state| state == suspended);
    }
});
hear!(wl_keyboard::WlKeyboard, |state, event, _proxy, _handle| {
    match event {
        wl_keyboard::Event::Enter { keys, .. } => state.keyboard.push(Keyboard::Enter(keys)),
        wl_keyboard::Event::Leave { .. } => state.keyboard.push(Keyboard::Leave),
        wl_keyboard::Event::Key { key, state: pressed, .. } => {
            state.keyboard.push(Keyboard::Key(key, pressed == WEnum::Value(wl_keyboard::KeyState::Pressed)));
        }
        wl_keyboard::Event::Modifiers { mods_depressed, mods_latched, mods_locked, .. } => {
            state.keyboard.push(Keyboard::Modifiers(mods_depressed, mods_latched, mods_locked));
        }
        wl_keyboard::Event::RepeatInfo { rate, .. } => state.repeat_rate = Some(rate),
        _ => {}
    }
});
hear!(wl_pointer::WlPointer, |state, event, _proxy, _handle| {
    match event {
        wl_pointer::Event::Enter { serial, surface, surface_x, surface_y } => {
            state.entered = serial;
            state.over = Some(surface);
            state.pointer.push(Pointer::Enter(surface_x, surface_y));
        }
        wl_pointer::Event::Leave { .. } => {
            state.over = None;
            state.pointer.push(Pointer::Leave);
        }
        wl_pointer::Event::Motion { surface_x, surface_y, .. } => {
            state.pointer.push(Pointer::Motion(surface_x, surface_y));
        }
        wl_pointer::Event::Button { button, state: pressed, .. } => {
            state.pointer.push(Pointer::Button(button, pressed == WEnum::Value(wl_pointer::ButtonState::Pressed)));
        }
        wl_pointer::Event::AxisDiscrete { discrete, .. } => state.pointer.push(Pointer::Axis(discrete)),
        _ => {}
    }
});
hear!(wp_presentation_feedback::WpPresentationFeedback, |state, event, _proxy, _handle| {
    match event {
        wp_presentation_feedback::Event::Presented { .. } => state.presented += 1,
        wp_presentation_feedback::Event::Discarded => state.discarded += 1,
        _ => {}
    }
});
hear!(zwp_linux_buffer_params_v1::ZwpLinuxBufferParamsV1, |state, event, _proxy, _handle| {
    match event {
        zwp_linux_buffer_params_v1::Event::Created { buffer } => state.dmabuf = Some(buffer),
        zwp_linux_buffer_params_v1::Event::Failed => state.dmabufs_refused += 1,
        _ => {}
    }
});
delegate_noop!(Events: wp_linux_drm_syncobj_manager_v1::WpLinuxDrmSyncobjManagerV1);
delegate_noop!(Events: wp_linux_drm_syncobj_surface_v1::WpLinuxDrmSyncobjSurfaceV1);
delegate_noop!(Events: wp_linux_drm_syncobj_timeline_v1::WpLinuxDrmSyncobjTimelineV1);
delegate_noop!(Events: wl_compositor::WlCompositor);
delegate_noop!(Events: wl_region::WlRegion);
delegate_noop!(Events: wl_shm_pool::WlShmPool);
delegate_noop!(Events: ignore wl_shm::WlShm);
delegate_noop!(Events: ignore wl_seat::WlSeat);
delegate_noop!(Events: ignore wl_output::WlOutput);
delegate_noop!(Events: ignore wl_touch::WlTouch);
delegate_noop!(Events: ignore zwp_linux_dmabuf_feedback_v1::ZwpLinuxDmabufFeedbackV1);
delegate_noop!(Events: ignore wp_presentation::WpPresentation);
delegate_noop!(Events: wp_viewporter::WpViewporter);
delegate_noop!(Events: wp_viewport::WpViewport);
delegate_noop!(Events: xdg_positioner::XdgPositioner);
delegate_noop!(Events: ignore xdg_popup::XdgPopup);
delegate_noop!(Events: ignore zwp_linux_dmabuf_v1::ZwpLinuxDmabufV1);
