//! A window of another desktop (Wayland or X11), drawn with GLES. For trying the shell and for working on it: the
//! desktop around it sees every key first and can draw over it, so nothing here is a trusted path.

use super::input::DeviceInput;
use super::painter::offscreen;
use super::shortcuts::{self, Shortcuts};
use crate::State;
use crate::event_loop::Sources;
use crate::monotonic;
use crate::outputs::{Capture, Output, OutputId, OutputInfo};
use crate::render::elements::{Textures, ground};
use crate::render::scene::Scene;
use crate::wayland::screens::Screens;
use smithay::backend::allocator::dmabuf::Dmabuf;
use smithay::backend::allocator::{Format, Fourcc};
use smithay::backend::egl::EGLDevice;
use smithay::backend::input::{
    AbsolutePositionEvent, Axis, ButtonState, Event, InputEvent, KeyState, KeyboardKeyEvent, PointerAxisEvent,
    PointerButtonEvent,
};
use smithay::backend::renderer::damage::OutputDamageTracker;
use smithay::backend::renderer::gles::{GlesRenderer, GlesTexture};
use smithay::backend::renderer::{ImportDma, ImportMem, Renderer};
use smithay::backend::winit::{self, WinitEvent, WinitEventLoop, WinitGraphicsBackend, WinitInput};
use smithay::reexports::wayland_server::DisplayHandle;
use smithay::reexports::winit::dpi::PhysicalSize;
use smithay::reexports::winit::window::Window;
use smithay::utils::Transform;

/// Refresh rate that frames are paced at, in millihertz: winit does not say what the desktop's is.
pub const REFRESH_MHZ: u32 = 60_000;

/// One window.
pub struct Nested {
    window: WinitGraphicsBackend<GlesRenderer>,
    textures: Textures<GlesTexture>,
    tracker: OutputDamageTracker,
    outputs: Vec<Output>,
    device: u64,
    formats: Vec<Format>,
    shm_formats: Vec<Fourcc>,
    cursor_hidden: bool,
    shortcuts: Option<Shortcuts>,
    /// The window was drawn last, so that EGL can tell the age of its next buffer; it cannot after something else was
    /// drawn.
    window_is_current: bool,
}

impl Nested {
    /// Opens a window of `size` physical pixels, and the source of its events.
    pub fn new(display: &DisplayHandle, size: (u32, u32)) -> Result<(Self, WinitEventLoop), String> {
        if !super::headless::egl_is_installed() {
            return Err("libEGL.so.1 is not installed; install libegl1 or choose --backend headless".to_owned());
        }
        let attributes = Window::default_attributes()
            .with_title("Phyllome Shell")
            .with_inner_size(PhysicalSize::new(size.0, size.1));
        let (window, events) = winit::init_from_attributes::<GlesRenderer>(attributes).map_err(|error| {
            format!("no window can be opened ({error}); set WAYLAND_DISPLAY or DISPLAY, or choose --backend headless")
        })?;
        let mut window: WinitGraphicsBackend<GlesRenderer> = window;
        let renderer = window.renderer();
        let device = EGLDevice::device_for_display(renderer.egl_context().display())
            .ok()
            .and_then(|device| device.try_get_render_node().ok().flatten())
            .map_or(0, |node| node.dev_id());
        let formats = renderer.dmabuf_formats().iter().copied().collect();
        let shm_formats = renderer.mem_formats().collect();
        let scale = steps(window.scale_factor());
        let size = physical_size(&window);
        let outputs = vec![Output::new(display, OutputInfo::plain("NESTED-1".to_owned(), size, scale, REFRESH_MHZ))];
        let tracker = tracker(size);
        let textures = Textures::default();
        let shortcuts = Shortcuts::ask(window.window());
        tracing::info!("{}", if shortcuts.is_some() { shortcuts::GIVEN } else { shortcuts::KEPT });
        Ok((
            Self {
                window,
                textures,
                tracker,
                outputs,
                device,
                formats,
                shm_formats,
                cursor_hidden: false,
                shortcuts,
                window_is_current: false,
            },
            events,
        ))
    }

    pub(super) fn outputs(&self) -> &[Output] {
        &self.outputs
    }

    pub(super) fn outputs_mut(&mut self) -> &mut [Output] {
        &mut self.outputs
    }

    /// The window has another size or scale.
    fn resized(&mut self, scale: f64) {
        let size = physical_size(&self.window);
        if let Some(output) = self.outputs.first_mut() {
            output.resize(size, steps(scale));
        }
        self.tracker = tracker(size);
    }

    pub(super) fn draw(&mut self, scene: &Scene, screens: &mut Screens) -> Result<(), String> {
        let pieces = self.textures.pieces(self.window.renderer(), scene, screens);
        let age = if self.window_is_current { self.window.buffer_age().unwrap_or(0) } else { 0 };
        self.window_is_current = false;
        let damage = {
            let (renderer, mut framebuffer) = self.window.bind().map_err(|error| error.to_string())?;
            let result = self
                .tracker
                .render_output(renderer, &mut framebuffer, age, &pieces, ground())
                .map_err(|error| error.to_string())?;
            result.damage.cloned()
        };
        self.textures.note_drawn(&pieces);
        if let Some(damage) = damage {
            self.window.submit(Some(&damage)).map_err(|error| error.to_string())?;
            self.window_is_current = true;
        }
        // The guest's own pointer is in the picture; two would be one too many.
        let hide = scene.shown.len() > 1;
        if hide != self.cursor_hidden {
            self.cursor_hidden = hide;
            self.window.window().set_cursor_visible(!hide);
        }
        Ok(())
    }

    pub(super) fn frame_done(&mut self, output: OutputId) {
        self.textures.sweep(output);
    }

    pub(super) fn forget_imports(&mut self) {
        self.window_is_current = false;
        // An error means that something stays cached until the next time.
        let _ = self.window.renderer().cleanup_texture_cache();
    }

    pub(super) fn read(&mut self, scene: &Scene, screens: &mut Screens) -> Result<Capture, String> {
        let size = self.outputs.first().map_or((1, 1), |output| output.size);
        self.offscreen(size, scene, screens)
    }

    pub(super) fn offscreen(
        &mut self,
        size: (u32, u32),
        scene: &Scene,
        screens: &mut Screens,
    ) -> Result<Capture, String> {
        self.window_is_current = false;
        let renderer = self.window.renderer();
        offscreen::<GlesRenderer, GlesTexture>(renderer, &mut self.textures, size, scene, screens)
    }

    pub(super) fn import_dmabuf(&mut self, dmabuf: &Dmabuf) -> Result<(), String> {
        self.window.renderer().import_dmabuf(dmabuf, None).map(drop).map_err(|error| error.to_string())
    }

    pub(super) fn dmabuf_formats(&self) -> (Vec<Format>, u64) {
        (self.formats.clone(), self.device)
    }

    pub(super) fn shm_formats(&self) -> Vec<Fourcc> {
        self.shm_formats.clone()
    }
}

/// A frame of the window; EGL's windows have their first row at the bottom.
fn tracker(size: (u32, u32)) -> OutputDamageTracker {
    let extent = |value: u32| i32::try_from(value).unwrap_or(i32::MAX);
    OutputDamageTracker::new((extent(size.0), extent(size.1)), 1.0, Transform::Flipped180)
}

fn physical_size(window: &WinitGraphicsBackend<GlesRenderer>) -> (u32, u32) {
    let size = window.window_size();
    (size.w.max(1).unsigned_abs(), size.h.max(1).unsigned_abs())
}

/// A desktop's scale in the steps that the shell has.
fn steps(scale: f64) -> f64 {
    if scale.is_finite() { ((scale * 4.0).round() / 4.0).clamp(0.5, 4.0) } else { 1.0 }
}

/// Listens to the window.
pub fn watch_window(loop_handle: &Sources<State>, events: WinitEventLoop) -> Result<(), String> {
    loop_handle
        .insert_source(events, |event, (), state| state.window_event(event))
        .map(drop)
        .map_err(|error| format!("the window cannot be listened to: {error}"))
}

impl State {
    fn window_event(&mut self, event: WinitEvent) {
        match event {
            WinitEvent::Resized { scale_factor, .. } => {
                if let super::Backend::Nested(nested) = &mut self.backend {
                    nested.resized(scale_factor);
                }
                self.queue_redraw();
            }
            WinitEvent::Redraw => self.queue_redraw(),
            WinitEvent::Focus(true) => {
                if let super::Backend::Nested(nested) = &mut self.backend {
                    nested.shortcuts.iter_mut().for_each(Shortcuts::forget_events);
                }
            }
            WinitEvent::Focus(false) => {
                let time = monotonic::now_ms();
                self.device_input(DeviceInput::Lost { time_ms: time });
            }
            WinitEvent::CloseRequested => self.loop_handle.stop(),
            WinitEvent::Input(event) => self.window_input(event),
        }
    }

    fn window_input(&mut self, event: InputEvent<WinitInput>) {
        match event {
            InputEvent::Keyboard { event } => {
                // smithay's key codes are xkb's: 8 above evdev's.
                if let Some(code) = event.key_code().raw().checked_sub(8) {
                    let pressed = event.state() == KeyState::Pressed;
                    self.device_input(DeviceInput::Key { code, pressed, time_ms: event.time_msec() });
                }
            }
            InputEvent::PointerMotionAbsolute { event } => {
                let (width, height) = self.backend.outputs().first().map_or((1, 1), |output| output.size);
                let x = event.x_transformed(i32::try_from(width).unwrap_or(i32::MAX));
                let y = event.y_transformed(i32::try_from(height).unwrap_or(i32::MAX));
                self.device_input(DeviceInput::Motion { x, y, time_ms: event.time_msec() });
            }
            InputEvent::PointerButton { event } => {
                let (code, pressed) = (event.button_code(), event.state() == ButtonState::Pressed);
                self.device_input(DeviceInput::Button { code, pressed, time_ms: event.time_msec() });
            }
            InputEvent::PointerAxis { event } => {
                let notches = |axis: Axis| {
                    event.amount_v120(axis).map(|v120| v120 / 120.0).or_else(|| event.amount(axis).map(|a| a / 15.0))
                };
                let horizontal = notches(Axis::Horizontal).unwrap_or(0.0);
                let vertical = notches(Axis::Vertical).unwrap_or(0.0);
                self.device_input(DeviceInput::Wheel { horizontal, vertical, time_ms: event.time_msec() });
            }
            // A window has these of no device that a guest could be given.
            InputEvent::DeviceAdded { .. }
            | InputEvent::DeviceRemoved { .. }
            | InputEvent::PointerMotion { .. }
            | InputEvent::GestureSwipeBegin { .. }
            | InputEvent::GestureSwipeUpdate { .. }
            | InputEvent::GestureSwipeEnd { .. }
            | InputEvent::GesturePinchBegin { .. }
            | InputEvent::GesturePinchUpdate { .. }
            | InputEvent::GesturePinchEnd { .. }
            | InputEvent::GestureHoldBegin { .. }
            | InputEvent::GestureHoldEnd { .. }
            | InputEvent::TouchDown { .. }
            | InputEvent::TouchMotion { .. }
            | InputEvent::TouchUp { .. }
            | InputEvent::TouchCancel { .. }
            | InputEvent::TouchFrame { .. }
            | InputEvent::TabletToolAxis { .. }
            | InputEvent::TabletToolProximity { .. }
            | InputEvent::TabletToolTip { .. }
            | InputEvent::TabletToolButton { .. }
            | InputEvent::SwitchToggle { .. }
            | InputEvent::Special(_) => {}
        }
    }
}
