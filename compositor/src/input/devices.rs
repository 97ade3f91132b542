//! libinput's devices: what they send becomes the few words that [`super`] has for every backend, keys, places, buttons
//! and wheel.
//!
//! Devices come and go at any time; what a device holds when it goes is released. Touch screens and tablets move the
//! one pointer. Nothing that a device says of itself (name, output) is trusted further than to choose among the
//! displays that there are.

use super::{leds, ports, settings};
use crate::State;
use crate::faces::drawing::familiar;
use crate::monotonic;
use crate::outputs::Output;
use input::{Device, DeviceCapability};
use phyllome_trusted::codes;
use phyllome_trusted::held::DeviceId;
use phyllome_trusted::keyboards::Plugged;
use smithay::backend::input::{
    AbsolutePositionEvent, Axis, ButtonState, Event, InputEvent, KeyState, KeyboardKeyEvent, PointerAxisEvent,
    PointerButtonEvent, PointerMotionEvent, ProximityState, Switch, SwitchState, SwitchToggleEvent,
    TabletToolButtonEvent, TabletToolEvent, TabletToolProximityEvent, TabletToolTipEvent, TabletToolTipState,
    TouchEvent,
};
use smithay::backend::libinput::LibinputInputBackend;
use smithay::reexports::input;
use smithay::utils::{Point, Size, Transform};
use std::time::Instant;

/// Units of a finger's or a knob's way that count as one notch of a wheel, as most compositors have it.
const NOTCH: f64 = 15.0;
/// Longest name of a device in a sentence, in characters.
const MAX_NAME: usize = 40;
/// Parts of a notch that a wheel can tell.
const PARTS: f64 = 120.0;

/// Every device of the seat.
#[derive(Debug, Default)]
pub struct Devices {
    known: Vec<(Device, DeviceId)>,
    last: Option<DeviceId>,
    /// A pen has woken the displays: until it is taken away it does nothing more.
    pen_woke: bool,
}

impl Devices {
    /// The number of a device, which it gets when it is first seen.
    fn id(&mut self, device: &Device) -> DeviceId {
        if let Some((_, id)) = self.known.iter().find(|(known, _)| known == device) {
            return *id;
        }
        let id = self.last.unwrap_or(DeviceId::ONLY).next();
        self.last = Some(id);
        self.known.push((device.clone(), id));
        id
    }

    fn remove(&mut self, device: &Device) -> Option<DeviceId> {
        let at = self.known.iter().position(|(known, _)| known == device)?;
        Some(self.known.swap_remove(at).1)
    }

    /// What a device calls itself, in letters that can be read, and short.
    pub(super) fn name(&self, device: DeviceId) -> String {
        let known = self.known.iter().find(|(_, id)| *id == device);
        let name = known.map_or("without a name", |(device, _)| device.name()).replace('?', ".");
        phyllome_protocol::text::printable(&familiar(&name), MAX_NAME)
    }

    /// Every device, for its lights.
    pub(super) fn all(&mut self) -> impl Iterator<Item = &mut Device> {
        self.known.iter_mut().map(|(device, _)| device)
    }
}

/// What kind of device tells places on a whole display.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Covers {
    /// A touch screen: it is a part of its display and turned with it.
    Touch,
    /// A virtual machine's tablet: it covers what its window shows, which is turned like the display.
    Window,
    /// A graphics tablet: it lies on the desk, unless it says which display it is a part of.
    Desk,
}

impl State {
    /// Takes what libinput has to say.
    pub(super) fn libinput_event(&mut self, event: InputEvent<LibinputInputBackend>) {
        match event {
            InputEvent::DeviceAdded { device } => self.device_added(device),
            InputEvent::DeviceRemoved { device } => self.device_removed(&device),
            InputEvent::Keyboard { event } => {
                let id = self.input.devices.id(&event.device());
                // smithay's key codes are xkb's: 8 above evdev's.
                let pressed = event.state() == KeyState::Pressed;
                match event.key_code().raw().checked_sub(8) {
                    Some(codes::WAKEUP) if pressed => self.computer_woke(),
                    // A guest would switch itself off where the computer is only to sleep.
                    Some(code) if codes::OF_COMPUTER.contains(&code) => drop(self.note_activity()),
                    Some(code) => self.device_key(id, code, pressed, event.time_msec()),
                    None => {}
                }
            }
            InputEvent::PointerMotion { event } => {
                self.handle_pointer_step(event.delta_x(), event.delta_y(), event.time_msec());
            }
            InputEvent::PointerMotionAbsolute { event } => {
                let place = self.place_of(&event, Covers::Window);
                self.handle_pointer_motion(place.0, place.1, event.time_msec());
            }
            InputEvent::PointerButton { event } => {
                let id = self.input.devices.id(&event.device());
                let pressed = event.state() == ButtonState::Pressed;
                self.device_button(id, event.button_code(), pressed, event.time_msec());
            }
            InputEvent::PointerAxis { event } => {
                let parts = |axis| {
                    let finger = || event.amount(axis).map(|amount| amount * PARTS / NOTCH);
                    event.amount_v120(axis).or_else(finger).unwrap_or(0.0)
                };
                let (horizontal, vertical) = (parts(Axis::Horizontal), parts(Axis::Vertical));
                self.handle_wheel_parts(horizontal, vertical, event.time_msec());
            }
            InputEvent::TouchDown { event } => {
                let id = self.input.devices.id(&event.device());
                let place = self.place_of(&event, Covers::Touch);
                self.handle_touch_down(id, event.slot(), place, event.time_msec());
            }
            InputEvent::TouchMotion { event } => {
                let id = self.input.devices.id(&event.device());
                let place = self.place_of(&event, Covers::Touch);
                self.handle_touch_motion(id, event.slot(), place, event.time_msec());
            }
            InputEvent::TouchUp { event } => {
                let id = self.input.devices.id(&event.device());
                self.handle_touch_up(id, event.slot(), event.time_msec());
            }
            InputEvent::TouchCancel { event } => {
                let id = self.input.devices.id(&event.device());
                self.handle_touch_up(id, event.slot(), event.time_msec());
            }
            InputEvent::TabletToolProximity { event } => match event.state() {
                ProximityState::In => self.pen_at(&event, event.time_msec()),
                ProximityState::Out => {
                    self.input.devices.pen_woke = false;
                    let id = self.input.devices.id(&event.device());
                    self.release_device_buttons(id, event.time_msec());
                }
            },
            InputEvent::TabletToolAxis { event } => {
                self.pen_at(&event, event.time_msec());
                if event.wheel_has_changed() {
                    let parts = f64::from(event.wheel_delta_discrete()) * PARTS;
                    self.handle_wheel_parts(0.0, parts, event.time_msec());
                }
            }
            InputEvent::TabletToolTip { event } => {
                self.pen_at(&event, event.time_msec());
                let id = self.input.devices.id(&event.device());
                let pressed = TabletToolTipEvent::tip_state(&event) == TabletToolTipState::Down;
                self.pen_button(id, codes::BTN_LEFT, pressed, event.time_msec());
            }
            InputEvent::TabletToolButton { event } => {
                let id = self.input.devices.id(&event.device());
                if let Some(code) = codes::button_of_pen(TabletToolButtonEvent::button(&event)) {
                    let pressed = TabletToolButtonEvent::button_state(&event) == ButtonState::Pressed;
                    self.pen_button(id, code, pressed, event.time_msec());
                }
            }
            InputEvent::SwitchToggle { event } => {
                let (switch, state) = (SwitchToggleEvent::switch(&event), SwitchToggleEvent::state(&event));
                if (switch, state) == (Some(Switch::Lid), SwitchState::Off) {
                    self.note_activity();
                }
            }
            // Gestures are made of fingers that do nothing else.
            InputEvent::GestureSwipeBegin { .. }
            | InputEvent::GesturePinchBegin { .. }
            | InputEvent::GestureHoldBegin { .. } => {
                self.note_activity();
            }
            InputEvent::GestureSwipeUpdate { .. }
            | InputEvent::GestureSwipeEnd { .. }
            | InputEvent::GesturePinchUpdate { .. }
            | InputEvent::GesturePinchEnd { .. }
            | InputEvent::GestureHoldEnd { .. }
            | InputEvent::TouchFrame { .. }
            | InputEvent::Special(_) => {}
        }
    }

    fn device_added(&mut self, mut device: Device) {
        tracing::info!(
            "the input device “{}” ({}) is here",
            crate::faces::drawing::clean(device.name()),
            device.sysname()
        );
        let id = self.input.devices.id(&device);
        if device.has_capability(DeviceCapability::Keyboard) {
            let has = |code: &u32| device.keyboard_has_key(*code) == Ok(true);
            let letters = [codes::Y, codes::N, codes::ESC, codes::ENTER].iter().all(has);
            let (vendor, product) = (device.id_vendor(), device.id_product());
            let identity = format!("{vendor:04x}:{product:04x} {}", device.name());
            let (node, port) = (device.sysname().to_owned(), ports::of(&device));
            self.input.keyboards.came(id, Plugged { node, identity, port, letters }, Instant::now());
            self.keyboards_changed();
        }
        settings::apply(&mut device, &self.input.config);
        leds::light(&mut device, self.input.lights.told().unwrap_or_default());
    }

    fn device_removed(&mut self, device: &Device) {
        tracing::info!(
            "the input device “{}” ({}) is gone",
            crate::faces::drawing::clean(device.name()),
            device.sysname()
        );
        if let Some(id) = self.input.devices.remove(device) {
            self.device_unplugged(id, monotonic::now_ms());
            self.input.keyboards.went(id, self.backend.is_away(), Instant::now());
            self.keyboards_changed();
        }
    }

    fn pen_at(&mut self, event: &impl AbsolutePositionEvent<LibinputInputBackend>, time_ms: u32) {
        self.input.devices.pen_woke |= self.note_activity();
        let place = self.place_of(event, Covers::Desk);
        if !self.input.devices.pen_woke {
            self.handle_pointer_motion(place.0, place.1, time_ms);
        }
    }

    /// Its tip, or a button on it.
    fn pen_button(&mut self, device: DeviceId, code: u32, pressed: bool, time_ms: u32) {
        self.input.devices.pen_woke |= self.note_activity();
        if !self.input.devices.pen_woke {
            self.device_button(device, code, pressed, time_ms);
        }
    }

    /// The place on the plane that a device means which covers a display.
    fn place_of(&self, event: &impl AbsolutePositionEvent<LibinputInputBackend>, covers: Covers) -> (f64, f64) {
        let device = event.device();
        let fraction = (event.x_transformed(1), event.y_transformed(1));
        let outputs = self.backend.outputs();
        let index = self.output_covered_by(&device, covers);
        let Some(output) = outputs.get(index).or(outputs.first()) else { return (0.0, 0.0) };
        let glued = covers != Covers::Desk || device.output_name().is_some();
        let transform = if glued { output.transform } else { Transform::Normal };
        let (x, y) = turned(fraction, transform);
        output.rect().at(x, y)
    }

    fn output_covered_by(&self, device: &Device, covers: Covers) -> usize {
        let outputs = self.backend.outputs();
        let config = &self.input.config;
        let (asked, usual) = match covers {
            Covers::Touch => (&config.touch_output, built_in(outputs)),
            Covers::Window | Covers::Desk => {
                let focus = self.shell.shown().map(|guest| &guest.name);
                let places = self.shell.places();
                let first = places.iter().position(|place| place.guest.is_some() && place.guest.as_ref() == focus);
                (&config.tablet_output, first)
            }
        };
        let named = |name: &str| outputs.iter().position(|output| output.is_called(name));
        let asked = asked.as_deref().and_then(named);
        asked.or_else(|| named(device.output_name()?)).or(usual).unwrap_or(0)
    }
}

/// A place on a display as it is built, from 0 to 1 along each side, as a place on what is drawn, which is turned on
/// its way to the display.
fn turned((x, y): (f64, f64), transform: Transform) -> (f64, f64) {
    let unit: Size<f64, ()> = (1.0, 1.0).into();
    let point: Point<f64, ()> = (x, y).into();
    let point = transform.transform_point_in(point, &unit);
    (point.x, point.y)
}

/// The display that is a part of the machine.
fn built_in(outputs: &[Output]) -> Option<usize> {
    let built_in = |output: &Output| ["eDP-", "LVDS-", "DSI-"].iter().any(|kind| output.name.starts_with(kind));
    outputs.iter().position(built_in)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_display_that_is_turned_is_touched_where_its_picture_is() {
        let corner = |transform| turned((0.0, 0.25), transform);
        assert_eq!(corner(Transform::Normal), (0.0, 0.25));
        assert_eq!(corner(Transform::_90), (0.75, 0.0));
        assert_eq!(corner(Transform::_180), (1.0, 0.75));
        assert_eq!(corner(Transform::_270), (0.25, 1.0));
    }
}
