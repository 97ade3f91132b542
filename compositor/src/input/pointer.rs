//! The one pointer: where it is on the plane of all outputs, whose it is there, and what its buttons do.
//!
//! Only the guest that has the focus ever gets anything of it, and none while one of the shell's own faces has the keys
//! ([`super::face`]). A click on an output that shows another guest moves the focus there and reaches nobody. Where no
//! guest is responsible the shell shows an arrow of its own for as long as it is moved.

use crate::State;
use crate::outputs::OutputId;
use crate::outputs::arrange;
use crate::wayland::seat::GuestInput;
use phyllome_protocol::GuestName;
use phyllome_trusted::attention::KeyOwner;
use phyllome_trusted::codes;
use phyllome_trusted::gate::{Asker, Verb};
use phyllome_trusted::held::DeviceId;
use smithay::backend::input::TouchSlot;
use smithay::reexports::calloop::timer::{TimeoutAction, Timer};
use std::time::Instant;

/// Most pointer buttons that can be down at once; further presses are passed over.
pub(super) const MAX_BUTTONS: usize = 16;
/// Parts of a notch that a wheel can tell.
pub(super) const PARTS: f64 = 120.0;

impl State {
    /// The pointer is at this place of the plane that all outputs lie on, in physical pixels.
    pub(crate) fn handle_pointer_motion(&mut self, x: f64, y: f64, time_ms: u32) {
        if !self.note_activity() && x.is_finite() && y.is_finite() {
            self.pointer_to((x, y), true, time_ms);
        }
    }

    /// The pointer is moved by this step, in physical pixels. It stays on the outputs.
    pub fn handle_pointer_step(&mut self, dx: f64, dy: f64, time_ms: u32) {
        if self.note_activity() || !dx.is_finite() || !dy.is_finite() {
            return;
        }
        let outputs = self.backend.rects();
        let start = || outputs.first().map(|output| output.at(0.5, 0.5));
        let Some((x, y)) = self.protocols.seat.position().or_else(start) else { return };
        if let Some(place) = arrange::clamp(&outputs, (x, y), (x + dx, y + dy)) {
            self.pointer_to(place, true, time_ms);
        }
    }

    /// A button of a backend that does not tell devices apart: evdev code.
    pub(crate) fn handle_button(&mut self, code: u32, pressed: bool, time_ms: u32) {
        self.device_button(DeviceId::ONLY, code, pressed, time_ms);
    }

    /// A button of one device among several.
    pub fn device_button(&mut self, device: DeviceId, code: u32, pressed: bool, time_ms: u32) {
        let wakes = self.note_activity();
        if self.input.pressed.change(device, code, pressed) && !(wakes && pressed) {
            self.button_changed(code, pressed, time_ms);
        }
    }

    fn button_changed(&mut self, code: u32, pressed: bool, time_ms: u32) {
        let held = self.input.buttons.iter().position(|button| *button == code);
        match (pressed, held) {
            (true, None) if self.press_on_face(code) => {}
            (true, None) => match self.other_guest_under_pointer() {
                // Neither guest gets anything of this click.
                Some(name) => {
                    let shown = self.act(Verb::Show(name), Asker::Pointer);
                    self.passed_over(shown);
                }
                None if self.guest_has_pointer() && self.input.buttons.len() < MAX_BUTTONS => {
                    let decisions = self.input.attention.pointer_used(false, KeyOwner::Guest);
                    self.carry_out(decisions);
                    self.input.buttons.push(code);
                    self.forward(GuestInput::Button { code, pressed: true }, time_ms);
                }
                None => {}
            },
            (false, Some(at)) => {
                self.input.buttons.remove(at);
                self.forward(GuestInput::Button { code, pressed: false }, time_ms);
                if self.input.buttons.is_empty() {
                    let decisions = self.input.attention.pointer_released(time_ms);
                    self.carry_out(decisions);
                }
            }
            (false, None) => self.release_on_face(code),
            (true, Some(_)) => {}
        }
    }

    /// The wheel turned by so many notches; positive: right, down.
    pub(crate) fn handle_wheel(&mut self, horizontal: f64, vertical: f64, time_ms: u32) {
        self.handle_wheel_parts(horizontal * PARTS, vertical * PARTS, time_ms);
    }

    /// The wheel turned, or fingers scrolled, by so many 120ths of a notch; positive: right, down.
    pub fn handle_wheel_parts(&mut self, horizontal: f64, vertical: f64, time_ms: u32) {
        if self.note_activity() || self.scroll_on_face(horizontal, vertical) || !self.guest_has_pointer() {
            return;
        }
        let (horizontal, vertical) = self.input.wheel.turn(horizontal, vertical);
        if (horizontal, vertical) != (0, 0) {
            let decisions = self.input.attention.pointer_used(true, KeyOwner::Guest);
            self.carry_out(decisions);
            let (horizontal, vertical) = (f64::from(horizontal) / PARTS, f64::from(vertical) / PARTS);
            self.forward(GuestInput::Axis { horizontal, vertical }, time_ms);
            let decisions = self.input.attention.wheel_turned(time_ms);
            self.carry_out(decisions);
        }
    }

    /// A finger touches a screen at this place of the plane: the pointer is there and its left button is pressed,
    /// unless another finger is the pointer already.
    pub fn handle_touch_down(&mut self, device: DeviceId, slot: TouchSlot, (x, y): (f64, f64), time_ms: u32) {
        // A touch that wakes the displays does nothing else until it is lifted.
        if !self.note_activity() && self.input.touch.down(device, slot) {
            self.pointer_to((x, y), false, time_ms);
            self.device_button(device, codes::BTN_LEFT, true, time_ms);
        }
    }

    /// A finger moves.
    pub fn handle_touch_motion(&mut self, device: DeviceId, slot: TouchSlot, (x, y): (f64, f64), time_ms: u32) {
        if !self.note_activity() && self.input.touch.is_pointer(device, slot) {
            self.pointer_to((x, y), false, time_ms);
        }
    }

    /// A finger is lifted, or the screen takes the touch back.
    pub fn handle_touch_up(&mut self, device: DeviceId, slot: TouchSlot, time_ms: u32) {
        if self.input.touch.up(device, slot) {
            self.device_button(device, codes::BTN_LEFT, false, time_ms);
        }
    }

    /// A device lets go of all its buttons.
    pub(super) fn release_device_buttons(&mut self, device: DeviceId, time_ms: u32) {
        for code in self.input.pressed.unplugged(device) {
            self.button_changed(code, false, time_ms);
        }
    }

    /// The guest that has the focus gets releases of its buttons.
    pub(super) fn release_buttons(&mut self, time_ms: u32) {
        for code in std::mem::take(&mut self.input.buttons) {
            self.forward(GuestInput::Button { code, pressed: false }, time_ms);
        }
    }

    /// Whether the shell's own arrow is to be seen where the pointer is.
    pub(crate) fn arrow_is_seen(&self) -> bool {
        self.input.arrow.is_seen() && self.arrow_is_due()
    }

    /// Whether the pointer is where the shell answers for it. Under a lock there is nothing to point at, and in a
    /// window of another desktop that one draws its own pointer.
    fn arrow_is_due(&self) -> bool {
        !self.shell.is_locked() && !self.backend.is_window() && self.protocols.seat.pointer_focus().is_none()
    }

    fn pointer_to(&mut self, place: (f64, f64), by_hand: bool, time_ms: u32) {
        let before = self.output_of_arrow();
        self.point_to(place.0, place.1, time_ms);
        self.move_on_face();
        if !by_hand {
            self.input.arrow.hide();
        } else if self.arrow_is_due() {
            self.show_arrow();
        }
        let now = self.output_of_arrow();
        for output in before.iter().chain(now.iter().filter(|now| before.as_ref() != Some(now))) {
            self.queue_redraw_of(*output);
        }
    }

    /// The output on which the arrow is seen.
    fn output_of_arrow(&self) -> Option<OutputId> {
        let (x, y) = self.protocols.seat.position().filter(|_| self.arrow_is_seen())?;
        let (index, _) = arrange::locate(&self.backend.rects(), x, y)?;
        Some(self.backend.outputs().get(index)?.id)
    }

    fn show_arrow(&mut self) {
        let Some(until) = self.input.arrow.moved(Instant::now()) else { return };
        let timer =
            self.loop_handle.insert_source(Timer::from_deadline(until), |_, _, state: &mut State| {
                match state.input.arrow.fired(Instant::now()) {
                    Some(until) => TimeoutAction::ToInstant(until),
                    None => {
                        if state.arrow_is_due() {
                            state.queue_redraw();
                        }
                        TimeoutAction::Drop
                    }
                }
            });
        if let Err(error) = timer {
            self.input.arrow.disarm();
            tracing::warn!("the pointer stays where it rests: {error}");
        }
    }

    /// Whether the guest that has the focus has the pointer too.
    fn guest_has_pointer(&self) -> bool {
        self.input_owner() == KeyOwner::Guest && self.protocols.seat.pointer_focus().is_some()
    }

    /// The guest that a click means which lies on another output than the guest that has the focus.
    fn other_guest_under_pointer(&self) -> Option<GuestName> {
        if self.shell.has_keys() || self.protocols.seat.pointer_focus().is_some() {
            return None;
        }
        let (x, y) = self.protocols.seat.position()?;
        let (index, _) = arrange::locate(&self.backend.rects(), x, y)?;
        let guest = self.shell.places().get(index)?.guest.clone()?;
        let focus = self.shell.shown().map(|shown| &shown.name);
        (focus != Some(&guest)).then_some(guest)
    }
}
