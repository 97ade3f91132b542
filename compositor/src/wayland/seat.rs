//! `wl_seat`: one keyboard and one pointer, which belong to exactly one guest at a time or to none.
//!
//! Whom the person talks to is decided in [`crate::shell`]; here the decision is carried out so that the guest that
//! loses the keyboard gets `leave` and nothing after it, and the one that gains it gets `enter` without a pressed key
//! and without a lock: what was locked for one is nothing to the next. The guest's own kernel repeats keys, so the
//! repeat rate that is told is 0.

use super::client::{counted_dispatch, counted_global, owner_of};
use super::things::Thing;
use crate::State;
use crate::monotonic;
use crate::wayland::keymap::Names;
use phyllome_config::shell::Keyboard;
use phyllome_protocol::GuestName;
use smithay::backend::input::{Axis, ButtonState, KeyState};
use smithay::input::keyboard::{FilterResult, KeyboardHandle, Keycode, Layout, LedState, ModifiersState, XkbConfig};
use smithay::input::pointer::{AxisFrame, ButtonEvent, CursorImageStatus, MotionEvent, PointerHandle};
use smithay::input::{Seat, SeatHandler, SeatState};
use smithay::reexports::wayland_server::protocol::wl_keyboard::WlKeyboard;
use smithay::reexports::wayland_server::protocol::wl_pointer::WlPointer;
use smithay::reexports::wayland_server::protocol::wl_seat::{self, WlSeat};
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::reexports::wayland_server::protocol::wl_touch::WlTouch;
use smithay::reexports::wayland_server::{DisplayHandle, Resource};
use smithay::utils::{IsAlive, Logical, Point, SERIAL_COUNTER};
use smithay::wayland::seat::{KeyboardUserData, PointerUserData, SeatGlobalData, SeatUserData, TouchUserData};
use std::collections::BTreeSet;

/// Largest evdev code (`KEY_MAX`).
const KEY_MAX: u32 = 0x2ff;

/// Distance in pixels that one notch of the wheel is told to scroll, as most compositors do.
const NOTCH: f64 = 15.0;

/// The one seat and what is held on it.
pub struct SeatDevices {
    /// smithay's list of seats.
    pub states: SeatState<State>,
    seat: Seat<State>,
    keyboard: KeyboardHandle<State>,
    pointer: PointerHandle<State>,
    /// Keys that the focused guest, or the face in its place, was told are pressed.
    keys: BTreeSet<u32>,
    /// Buttons likewise.
    buttons: BTreeSet<u32>,
    /// Where the pointer is on the plane of all outputs; physical pixels.
    position: Option<(f64, f64)>,
    /// The surface under the pointer. smithay holds its own lock while it calls [`SeatHandler::cursor_image`] and
    /// cannot be asked there.
    pointed: Option<WlSurface>,
    cursor: CursorImageStatus,
    /// Why the keyboard has another layout than it should have.
    no_layout: Option<String>,
}

/// The keyboard cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("no keymap can be compiled, not even “us”; install the package xkb-data")]
pub struct NoKeymap;

impl SeatDevices {
    /// The seat with a keyboard of this layout. A layout that does not compile becomes “us”, with a sentence.
    pub fn new(display: &DisplayHandle, layout: &Keyboard) -> Result<Self, NoKeymap> {
        let mut states = SeatState::new();
        let mut seat = states.new_wl_seat(display, "seat0");
        let names = Names::choose(layout, Names::of_system());
        let wanted = XkbConfig {
            model: &names.model,
            layout: &names.layout,
            variant: &names.variant,
            options: Some(names.options.clone()).filter(|options| !options.is_empty()),
            ..XkbConfig::default()
        };
        let (keyboard, no_layout) = match seat.add_keyboard(wanted, 600, 0) {
            Ok(keyboard) => (keyboard, None),
            Err(_) => {
                let named = [&names.layout, &names.variant, &names.options].map(String::as_str);
                let named: Vec<&str> = named.into_iter().filter(|name| !name.is_empty()).collect();
                let sentence = format!(
                    "the keyboard layout “{}” does not exist; use one that setxkbmap knows for [keyboard] in shell.toml, \
                     until then “us” is used",
                    named.join(", ")
                );
                tracing::warn!("{sentence}");
                let plain = XkbConfig { layout: "us", ..XkbConfig::default() };
                (seat.add_keyboard(plain, 600, 0).map_err(|_| NoKeymap)?, Some(sentence))
            }
        };
        let pointer = seat.add_pointer();
        Ok(Self {
            states,
            seat,
            keyboard,
            pointer,
            keys: BTreeSet::new(),
            buttons: BTreeSet::new(),
            position: None,
            pointed: None,
            cursor: CursorImageStatus::default_named(),
            no_layout,
        })
    }

    /// One sentence, if the keyboard has not the layout that it should have.
    pub fn no_layout(&self) -> Option<&str> {
        self.no_layout.as_deref()
    }

    /// The keyboard.
    pub(super) fn keyboard(&self) -> KeyboardHandle<State> {
        self.keyboard.clone()
    }

    /// The seat's name, for the log.
    pub fn name(&self) -> &str {
        self.seat.name()
    }

    /// What the guest under the pointer wants the pointer to look like.
    pub fn cursor(&self) -> &CursorImageStatus {
        &self.cursor
    }

    /// Where the pointer is on the plane of all outputs, if it was ever moved; physical pixels.
    pub fn position(&self) -> Option<(f64, f64)> {
        self.position
    }

    /// The pointer is here now.
    pub fn move_to(&mut self, position: (f64, f64)) {
        self.position = Some(position);
    }

    /// The surface in which a button that is still down was pressed.
    pub fn holding(&self) -> Option<&WlSurface> {
        self.pointed.as_ref().filter(|_| !self.buttons.is_empty())
    }

    /// The surface that has wl_pointer's focus.
    pub fn pointed_at(&self) -> Option<WlSurface> {
        self.pointer.current_focus()
    }

    /// The surface under the pointer, if it is a guest's.
    pub fn pointer_focus(&self) -> Option<WlSurface> {
        self.pointed.clone().filter(IsAlive::alive)
    }

    /// The lights of a keyboard on which the keymap's locks are as they are.
    pub fn led_state(&self) -> LedState {
        self.keyboard.led_state()
    }

    /// The guest that has the keyboard.
    pub fn keyboard_guest(&self) -> Option<GuestName> {
        self.keyboard.current_focus().as_ref().and_then(owner_of)
    }

    /// No guest says what the pointer looks like.
    pub fn reset_cursor(&mut self) {
        self.cursor = CursorImageStatus::default_named();
    }
}

/// What a guest gets of keyboard and pointer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum GuestInput {
    /// A key, for the guest that has the keyboard.
    Key {
        /// evdev code.
        code: u32,
        /// Press or release.
        pressed: bool,
    },
    /// A button, for the guest under the pointer.
    Button {
        /// evdev code.
        code: u32,
        /// Press or release.
        pressed: bool,
    },
    /// The wheel in notches, for the guest under the pointer; positive: right, down.
    Axis {
        /// To the right.
        horizontal: f64,
        /// Down.
        vertical: f64,
    },
}

impl SeatHandler for State {
    type KeyboardFocus = WlSurface;
    type PointerFocus = WlSurface;
    type TouchFocus = WlSurface;

    fn seat_state(&mut self) -> &mut SeatState<Self> {
        &mut self.protocols.seat.states
    }

    fn cursor_image(&mut self, _seat: &Seat<Self>, image: CursorImageStatus) {
        let focused = self.protocols.seat.pointer_focus().and_then(|surface| surface.client());
        // smithay has checked that the request comes from the focused client; a cursor of another is none of ours all
        // the same.
        let allowed = match &image {
            CursorImageStatus::Surface(surface) => surface.client().is_some() && surface.client() == focused,
            _ => focused.is_some(),
        };
        if allowed {
            self.protocols.seat.cursor = image;
            self.queue_redraw();
        }
    }
}

counted_global!(WlSeat, SeatGlobalData<State> => SeatState<State>, Thing::Seat);
counted_dispatch! {
    WlSeat, SeatUserData<State> => SeatState<State>, makes |request| match request {
        wl_seat::Request::GetKeyboard { .. } => Some(Thing::Keyboard),
        wl_seat::Request::GetPointer { .. } => Some(Thing::Pointer),
        wl_seat::Request::GetTouch { .. } => Some(Thing::Touch),
        _ => None,
    };
    WlKeyboard, KeyboardUserData<State> => SeatState<State>;
    WlPointer, PointerUserData<State> => SeatState<State>;
    WlTouch, TouchUserData<State> => SeatState<State>;
}

impl State {
    /// Makes the Wayland keyboard and pointer focus agree with [`crate::shell::Shell::keyboard_owner`] and queues a
    /// redraw. The guest that loses the keyboard gets `wl_keyboard.leave`, the one that gains it `enter` without any
    /// pressed key.
    pub fn sync_focus(&mut self) {
        let owner = self.shell.keyboard_owner();
        let target = owner.as_ref().and_then(|name| self.protocols.screens.keyboard_surface(name)).cloned();
        let keyboard = self.protocols.seat.keyboard.clone();
        let pointer = self.protocols.seat.pointer.clone();
        if keyboard.current_focus() != target {
            let time = monotonic::now_ms();
            keyboard.set_focus(self, None, SERIAL_COUNTER.next_serial());
            // Nobody hears these releases: they bring smithay's own picture of the keyboard up to date, so that the
            // next guest is entered without keys and with modifiers that are true.
            self.release_keys(time);
            self.forget_locks();
            if pointer.is_grabbed() {
                pointer.unset_grab(self, SERIAL_COUNTER.next_serial(), time);
            }
            self.protocols.seat.buttons.clear();
            self.point(None, time);
            self.protocols.seat.reset_cursor();
            keyboard.set_focus(self, target, SERIAL_COUNTER.next_serial());
        } else if target.is_none() {
            // A face was closed, maybe, that had the keys.
            self.release_keys(monotonic::now_ms());
        }
        self.refresh_pointer();
        self.sync_leds();
        self.queue_redraw();
    }

    /// Caps Lock and the like, and the keymap's layout, are as they are at the start: whoever gets the keyboard next,
    /// a guest or a face that is typed into, begins there. Called while nobody has it.
    fn forget_locks(&mut self) {
        let keyboard = self.protocols.seat.keyboard.clone();
        // The layout first: what comes after it takes smithay's own picture of the modifiers along.
        keyboard.with_xkb_state(self, |mut context| context.set_layout(Layout(0)));
        keyboard.set_modifier_state(ModifiersState::default());
    }

    /// Sends `input` to the guest that has the keyboard, or to the one under the pointer, at this time of the monotonic
    /// clock.
    pub fn forward(&mut self, input: GuestInput, time_ms: u32) {
        match input {
            GuestInput::Key { code, pressed } => self.forward_key(code, pressed, time_ms),
            GuestInput::Button { code, pressed } => self.forward_button(code, pressed, time_ms),
            GuestInput::Axis { horizontal, vertical } => self.forward_axis(horizontal, vertical, time_ms),
        }
    }

    /// Sends a key to the guest that has the keyboard. `code` is evdev's.
    pub(crate) fn forward_key(&mut self, code: u32, pressed: bool, time_ms: u32) {
        if self.protocols.seat.keyboard.current_focus().is_some() {
            self.change_key(code, pressed, time_ms);
        }
    }

    /// A key that goes to no guest, while none has the keyboard: what it locks is locked, and lit, from now on.
    pub(super) fn key_for_nobody(&mut self, code: u32, pressed: bool) {
        if self.protocols.seat.keyboard.current_focus().is_none() {
            self.change_key(code, pressed, monotonic::now_ms());
        }
    }

    fn change_key(&mut self, code: u32, pressed: bool, time_ms: u32) {
        if code > KEY_MAX {
            return;
        }
        let keys = &mut self.protocols.seat.keys;
        let changed = if pressed { keys.insert(code) } else { keys.remove(&code) };
        if changed {
            self.input_key(code, pressed, time_ms);
            self.sync_leds();
        }
    }

    fn release_keys(&mut self, time_ms: u32) {
        for code in std::mem::take(&mut self.protocols.seat.keys) {
            self.input_key(code, false, time_ms);
        }
    }

    fn input_key(&mut self, code: u32, pressed: bool, time_ms: u32) {
        let keyboard = self.protocols.seat.keyboard.clone();
        let state = if pressed { KeyState::Pressed } else { KeyState::Released };
        let serial = SERIAL_COUNTER.next_serial();
        keyboard.input::<(), _>(self, Keycode::new(code + 8), state, serial, time_ms, |_, _, _| FilterResult::Forward);
    }

    /// Sends a pointer button (evdev code) to the guest under the pointer.
    pub(crate) fn forward_button(&mut self, code: u32, pressed: bool, time_ms: u32) {
        if code > KEY_MAX || self.protocols.seat.pointer.current_focus().is_none() {
            return;
        }
        let buttons = &mut self.protocols.seat.buttons;
        let changed = if pressed { buttons.insert(code) } else { buttons.remove(&code) };
        if !changed {
            return;
        }
        let state = if pressed { ButtonState::Pressed } else { ButtonState::Released };
        let event = ButtonEvent { serial: SERIAL_COUNTER.next_serial(), time: time_ms, button: code, state };
        let pointer = self.protocols.seat.pointer.clone();
        pointer.button(self, &event);
        pointer.frame(self);
        if self.protocols.seat.buttons.is_empty() {
            self.refresh_pointer();
        }
    }

    /// Sends wheel motion in notches (positive: right or down) to the guest under the pointer.
    pub(crate) fn forward_axis(&mut self, horizontal: f64, vertical: f64, time_ms: u32) {
        let pointer = self.protocols.seat.pointer.clone();
        if pointer.current_focus().is_none() || !horizontal.is_finite() || !vertical.is_finite() {
            return;
        }
        let mut frame = AxisFrame::new(time_ms).source(smithay::backend::input::AxisSource::Wheel);
        for (axis, notches) in [(Axis::Horizontal, horizontal), (Axis::Vertical, vertical)] {
            let notches = notches.clamp(-100.0, 100.0);
            if notches != 0.0 {
                frame = frame.value(axis, notches * NOTCH).v120(axis, (notches * 120.0).round() as i32);
            }
        }
        pointer.axis(self, frame);
        pointer.frame(self);
    }

    /// The pointer is at this place of this surface, or over no guest's picture at all.
    pub(crate) fn point(&mut self, target: Option<(WlSurface, Point<f64, Logical>)>, time: u32) {
        let pointer = self.protocols.seat.pointer.clone();
        if target.is_none() && pointer.current_focus().is_none() {
            return;
        }
        let location = target.as_ref().map_or_else(|| (0.0, 0.0).into(), |(_, place)| *place);
        // The surface lies at the origin: `location` is already the place inside it.
        let focus = target.map(|(surface, _)| (surface, (0.0, 0.0).into()));
        let pointed = focus.as_ref().map(|(surface, _): &(WlSurface, Point<f64, Logical>)| surface.clone());
        let left = pointed.is_none();
        let other = self.protocols.seat.pointed != pointed;
        if other && pointed.is_some() && pointer.is_grabbed() {
            // What is dragged goes on in another picture of the same guest, which hears of every button once.
            pointer.unset_grab(self, SERIAL_COUNTER.next_serial(), time);
        }
        self.protocols.seat.pointed = pointed;
        if other {
            self.protocols.seat.reset_cursor();
        }
        pointer.motion(self, focus, &MotionEvent { location, serial: SERIAL_COUNTER.next_serial(), time });
        pointer.frame(self);
        if left {
            self.protocols.seat.reset_cursor();
        }
    }
}
