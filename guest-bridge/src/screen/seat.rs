//! The compositor's seat: keyboard, pointer, and the cursor that the guest wants over its scanouts.
//!
//! Key codes are evdev's and pass through as they are; keymap, repeat and modifiers are the guest's own affair. Only
//! the first seat is used.

use super::buffers::OwnBuffer;
use super::conversion::Budget;
use super::geometry::{Scale, absolute};
use super::globals::Globals;
use super::input::{Held, Wheel};
use super::link::{LinkEvent, LinkState};
use super::model::Model;
use super::{FromScreen, InputEvent};
use crate::frames::CursorImage;
use phyllome_protocol::ScanoutId;
use std::time::{Duration, Instant};
use wayland_client::protocol::{wl_keyboard, wl_pointer, wl_registry, wl_seat, wl_surface};
use wayland_client::{Connection, Dispatch, Proxy, QueueHandle, WEnum};
use wayland_protocols::wp::viewporter::client::wp_viewport;

/// Width and height of a virtio-gpu cursor.
const CURSOR_SIZE: u32 = 64;
/// A guest may change its cursor as often as it likes; the compositor hears of it this often.
const CURSOR_PACE: Duration = Duration::from_millis(8);

/// Keyboard, pointer and cursor of one connection.
#[derive(Default)]
pub(super) struct Seat {
    seat: Option<wl_seat::WlSeat>,
    keyboard: Option<wl_keyboard::WlKeyboard>,
    pointer: Option<wl_pointer::WlPointer>,
    held: Held,
    wheel: Wheel,
    /// Where the pointer is, and the serial of its entering.
    over: Option<(ScanoutId, u32)>,
    /// It has left a scanout. What is held on it is released, unless it is over another scanout by the end of the turn:
    /// then the person drags something from one display to the next.
    left: bool,
    typing: bool,
    cursor: Cursor,
}

#[derive(Default)]
struct Cursor {
    surface: Option<wl_surface::WlSurface>,
    /// Made when the pointer is first over a window whose pixels are not the display's.
    viewport: Option<wp_viewport::WpViewport>,
    /// Two, so that the one on the screen is not written into.
    buffers: [Option<OwnBuffer>; 2],
    next: usize,
    stale: bool,
    entered: bool,
    changed: Option<Instant>,
    scale: Option<Scale>,
}

impl Seat {
    /// A seat was announced.
    pub fn bind(&mut self, registry: &wl_registry::WlRegistry, name: u32, version: u32, qh: &QueueHandle<LinkState>) {
        if self.seat.is_none() {
            self.seat = Some(registry.bind(name, version.min(8), qh, ()));
        }
    }

    /// The cursor of this scanout changed.
    pub fn cursor_changed(&mut self, id: ScanoutId) {
        if self.over.is_some_and(|(over, _)| over == id) {
            self.cursor.stale = true;
        }
    }

    /// Any scanout's cursor may have changed.
    pub fn all_cursors_changed(&mut self) {
        self.cursor.stale = true;
    }

    /// When the cursor is to be shown again.
    pub fn deadline(&self) -> Option<Instant> {
        (self.cursor.stale && self.over.is_some()).then_some(self.cursor.changed? + CURSOR_PACE)
    }

    /// What has to be released because the connection is gone.
    pub fn release_all(&mut self) -> Option<InputEvent> {
        self.held.release_all()
    }

    /// The scanout that the pointer is over.
    pub fn over(&self) -> Option<ScanoutId> {
        self.over.map(|(id, _)| id)
    }

    /// Shows the guest's cursor, if another one is due, at the scale of the window that it is over.
    pub fn show_cursor(&mut self, model: &Model, scale: Scale, globals: &Globals, qh: &QueueHandle<LinkState>) {
        self.cursor.stale |= self.cursor.scale.replace(scale) != Some(scale);
        let (Some(pointer), Some((id, serial))) = (&self.pointer, self.over) else { return };
        let now = Instant::now();
        let early = self.cursor.changed.is_some_and(|changed| now < changed + CURSOR_PACE);
        if !self.cursor.stale || (early && !self.cursor.entered) {
            return;
        }
        self.cursor.stale = false;
        self.cursor.entered = false;
        self.cursor.changed = Some(now);
        let image = model.get(id).and_then(|scanout| scanout.cursor.as_ref());
        match image.and_then(|image| Some((image, self.cursor.draw(image, scale, globals, qh)?))) {
            Some((image, surface)) => {
                let (side, pixels) = scale.square(CURSOR_SIZE);
                let hot = |hot: u32| (hot.min(CURSOR_SIZE - 1) * side / pixels.max(1)) as i32;
                pointer.set_cursor(serial, Some(surface), hot(image.hot_x), hot(image.hot_y));
            }
            None => pointer.set_cursor(serial, None, 0, 0),
        }
    }

    fn leave_surface(&mut self) {
        self.over = None;
        self.left = true;
    }
}

impl Cursor {
    fn draw(
        &mut self,
        image: &CursorImage,
        scale: Scale,
        globals: &Globals,
        qh: &QueueHandle<LinkState>,
    ) -> Option<&wl_surface::WlSurface> {
        let (side, pixels) = scale.square(CURSOR_SIZE);
        let slot = self.buffers.get_mut(self.next)?;
        if slot.as_ref().is_none_or(|buffer| buffer.size != (pixels, pixels)) {
            // The rest of one that is larger than the image stays transparent.
            *slot = OwnBuffer::new((pixels, pixels), true, globals, &Budget::default(), qh).ok();
        }
        let buffer = slot.as_ref()?;
        let whole = image.pixels.len() == (CURSOR_SIZE * CURSOR_SIZE * 4) as usize;
        if !whole || buffer.write_rows(&image.pixels, CURSOR_SIZE).is_err() {
            return None;
        }
        self.next ^= 1;
        if self.surface.is_none() {
            self.surface = Some(globals.compositor.as_ref()?.create_surface(qh, None));
        }
        let surface = self.surface.as_ref()?;
        if self.viewport.is_none() && scale != Scale::ONE {
            self.viewport = globals.viewporter.as_ref().map(|viewporter| viewporter.get_viewport(surface, qh, ()));
        }
        if let Some(viewport) = &self.viewport {
            viewport.set_destination(side as i32, side as i32);
        }
        surface.attach(Some(&buffer.buffer), 0, 0);
        surface.damage_buffer(0, 0, pixels as i32, pixels as i32);
        surface.commit();
        Some(surface)
    }
}

impl LinkState {
    fn scanout_of(&self, surface: &wl_surface::WlSurface) -> Option<ScanoutId> {
        self.surfaces.iter().find_map(|(id, candidate)| candidate.is(surface).then_some(*id))
    }

    fn input(&mut self, event: impl IntoIterator<Item = InputEvent>) {
        self.events.extend(event.into_iter().map(|event| LinkEvent::Machine(FromScreen::Input(event))));
    }

    fn moved(&mut self, x: f64, y: f64) {
        let Some((id, _)) = self.seat.over else { return };
        let place = self.surfaces.get(&id).map(|surface| surface.in_picture((x, y)));
        let Some(((x, y), (width, height))) = place else { return };
        self.events.push_back(LinkEvent::Pointed { id, at: (absolute(x, width), absolute(y, height)) });
    }

    /// What there was to read is read: a pointer that has left is over no scanout now.
    pub(super) fn settle_pointer(&mut self) {
        if std::mem::take(&mut self.seat.left) {
            self.seat.wheel = Wheel::default();
            let released = self.seat.held.release_buttons();
            self.input(released);
        }
    }

    /// The keyboard, the pointer or both went elsewhere.
    fn input_left(&mut self, keyboard: bool, pointer: bool) {
        if pointer {
            self.seat.leave_surface();
        }
        if keyboard {
            self.seat.typing = false;
            let released = self.seat.held.release_all();
            self.input(released);
        }
    }
}

impl Dispatch<wl_seat::WlSeat, ()> for LinkState {
    fn event(
        state: &mut Self,
        seat: &wl_seat::WlSeat,
        event: wl_seat::Event,
        (): &(),
        _: &Connection,
        qh: &QueueHandle<Self>,
    ) {
        let wl_seat::Event::Capabilities { capabilities: WEnum::Value(has) } = event else { return };
        let releasable = seat.version() >= 3;
        match (has.contains(wl_seat::Capability::Keyboard), state.seat.keyboard.take()) {
            (true, None) => state.seat.keyboard = Some(seat.get_keyboard(qh, ())),
            (true, kept) => state.seat.keyboard = kept,
            (false, gone) => {
                if let Some(keyboard) = gone.filter(|_| releasable) {
                    keyboard.release();
                }
                state.input_left(true, false);
            }
        }
        match (has.contains(wl_seat::Capability::Pointer), state.seat.pointer.take()) {
            (true, None) => state.seat.pointer = Some(seat.get_pointer(qh, ())),
            (true, kept) => state.seat.pointer = kept,
            (false, gone) => {
                if let Some(pointer) = gone.filter(|_| releasable) {
                    pointer.release();
                }
                state.input_left(false, true);
            }
        }
    }
}

impl Dispatch<wl_keyboard::WlKeyboard, ()> for LinkState {
    fn event(
        state: &mut Self,
        _: &wl_keyboard::WlKeyboard,
        event: wl_keyboard::Event,
        (): &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        match event {
            // What is pressed already was meant for someone else; its release is ignored as well.
            wl_keyboard::Event::Enter { surface, .. } => {
                state.input_left(true, false);
                state.seat.typing = state.scanout_of(&surface).is_some();
            }
            wl_keyboard::Event::Leave { .. } => state.input_left(true, false),
            wl_keyboard::Event::Key { key, state: WEnum::Value(key_state), .. } if state.seat.typing => {
                let pressed = match key_state {
                    wl_keyboard::KeyState::Pressed => true,
                    wl_keyboard::KeyState::Released => false,
                    _ => return,
                };
                let event = state.seat.held.key(key, pressed);
                state.input(event);
            }
            _ => {}
        }
    }
}

impl Dispatch<wl_pointer::WlPointer, ()> for LinkState {
    fn event(
        state: &mut Self,
        pointer: &wl_pointer::WlPointer,
        event: wl_pointer::Event,
        (): &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        use wl_pointer::Event;
        let vertical = |axis| axis == WEnum::Value(wl_pointer::Axis::VerticalScroll);
        match event {
            Event::Enter { serial, surface, surface_x, surface_y } => {
                state.input_left(false, true);
                state.seat.over = state.scanout_of(&surface).map(|id| (id, serial));
                state.seat.left = state.seat.over.is_none();
                state.seat.cursor.stale = true;
                state.seat.cursor.entered = true;
                state.moved(surface_x, surface_y);
            }
            Event::Leave { .. } => state.input_left(false, true),
            Event::Motion { surface_x, surface_y, .. } => state.moved(surface_x, surface_y),
            Event::Button { button, state: WEnum::Value(button_state), .. } if state.seat.over.is_some() => {
                let event = state.seat.held.button(button, button_state == wl_pointer::ButtonState::Pressed);
                state.input(event);
            }
            Event::Axis { axis, value, .. } => {
                state.seat.wheel.continuous(vertical(axis), value);
                if pointer.version() < 5 {
                    let event = state.seat.wheel.finish();
                    state.input(event);
                }
            }
            Event::AxisSource { axis_source } => {
                use wl_pointer::AxisSource::{Wheel, WheelTilt};
                state.seat.wheel.source(matches!(axis_source, WEnum::Value(Wheel | WheelTilt)));
            }
            Event::AxisDiscrete { axis, discrete } => state.seat.wheel.discrete(vertical(axis), discrete),
            Event::AxisValue120 { axis, value120 } => state.seat.wheel.value120(vertical(axis), value120),
            Event::Frame => {
                let event = state.seat.wheel.finish();
                if state.seat.over.is_some() {
                    state.input(event);
                }
            }
            _ => {}
        }
    }
}
