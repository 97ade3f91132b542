//! Where every backend's input arrives: chords end here, the rest goes to the one guest that has the focus.
//!
//! A backend tells keys, places, buttons and the wheel; devices, where it tells them apart, are told apart here
//! ([`held`]). There is one pointer, and a finger or a pen moves that one.

#![deny(clippy::wildcard_enum_match_arm, reason = "a new verb or message is not to be taken for another")]

pub mod arrow;
pub mod devices;
mod face;
mod host_keys;
mod keyboards;
mod leds;
mod pointer;
mod ports;
pub mod repeat;
mod settings;
pub mod touch;
pub mod wheel;

use crate::State;
use crate::backend::input::DeviceInput;
use crate::faces;
use crate::monotonic;
use crate::shell::Done;
use crate::wayland::seat::GuestInput;
use phyllome_config::input::InputConfig;
use phyllome_config::session::NewKeyboards;
use phyllome_protocol::GuestName;
use phyllome_protocol::control::Leds;
use phyllome_trusted::attention::{Attention, Decision, KeyOwner};
use phyllome_trusted::chords::Chords;
use phyllome_trusted::gate::Asker;
use phyllome_trusted::held::{DeviceId, Held};
use phyllome_trusted::keyboards::{Keyboards, Typing};
use phyllome_trusted::lights::Lights;
use smithay::reexports::calloop::RegistrationToken;
use smithay::reexports::calloop::timer::{TimeoutAction, Timer};
use std::time::Instant;

/// Chords, pressed keys and pressed buttons.
#[derive(Debug, Default)]
pub struct Input {
    attention: Attention,
    /// `[pointer]` and its like of shell.toml.
    config: InputConfig,
    devices: devices::Devices,
    /// Which keyboards may type.
    pub(crate) keyboards: Keyboards,
    /// A code is shown when it is over.
    code_timer: Option<RegistrationToken>,
    /// Keys that are down on any device.
    keys: Held,
    /// Buttons that are down on any device.
    pressed: Held,
    /// Buttons whose press the guest has seen.
    buttons: Vec<u32>,
    /// What the shell's own face has of the pointer.
    face: face::FacePointer,
    touch: touch::Touch,
    wheel: wheel::Wheel,
    repeat: repeat::Repeat,
    repeat_timer: Option<RegistrationToken>,
    /// The key of the computer's own that is held.
    host_keys: host_keys::HostKeys,
    arrow: arrow::Arrow,
    /// What the keyboards' lights were told last.
    lights: Lights<Option<GuestName>, Leds>,
}

impl Input {
    /// Nothing is pressed. `config`: how devices are to be set that are plugged in; `new_keyboards`: what becomes of
    /// keyboards among them.
    pub fn new(config: InputConfig, chords: Chords, new_keyboards: NewKeyboards) -> Self {
        let keyboards = Keyboards::new(new_keyboards == NewKeyboards::Ask);
        Self { attention: Attention::new(chords), config, keyboards, ..Self::default() }
    }
}

impl State {
    /// Whatever a backend's devices do comes here.
    pub fn device_input(&mut self, input: DeviceInput) {
        match input {
            DeviceInput::Key { code, pressed, time_ms } => self.handle_key(code, pressed, time_ms),
            DeviceInput::Motion { x, y, time_ms } => self.handle_pointer_motion(x, y, time_ms),
            DeviceInput::Button { code, pressed, time_ms } => self.handle_button(code, pressed, time_ms),
            DeviceInput::Wheel { horizontal, vertical, time_ms } => self.handle_wheel(horizontal, vertical, time_ms),
            DeviceInput::Lost { time_ms } => self.handle_input_lost(time_ms),
            DeviceInput::Libinput(event) => self.libinput_event(event),
        }
    }

    /// A key of a backend that does not tell keyboards apart: evdev code, milliseconds of the monotonic clock. Repeats
    /// (a press of a key that is down) are passed over.
    pub(crate) fn handle_key(&mut self, code: u32, pressed: bool, time_ms: u32) {
        self.device_key(DeviceId::ONLY, code, pressed, time_ms);
    }

    /// A key of one keyboard among several. What two of them hold is released when both let go.
    pub fn device_key(&mut self, device: DeviceId, code: u32, pressed: bool, time_ms: u32) {
        match self.input.keyboards.typed(device, code) {
            Typing::Counts => {}
            Typing::Answers => self.keyboards_changed(),
            Typing::Asks => return self.keyboard_asks(),
            Typing::Code => return self.code_key(device, code, pressed),
            Typing::Nothing => return,
        }
        if let Some(key) = self.host.key(code) {
            self.note_activity();
            return self.host_key(device, code, key, pressed);
        }
        let wakes = self.note_activity();
        if self.input.keys.change(device, code, pressed) {
            self.key_changed(code, pressed, time_ms, wakes);
        }
        if wakes {
            // What has woken the displays is eaten, its release included; a chord that it begins still works.
            self.release_everything();
        }
    }

    fn key_changed(&mut self, code: u32, pressed: bool, time_ms: u32, wakes: bool) {
        let owner = if wakes { KeyOwner::Nobody } else { self.input_owner() };
        let decisions = self.input.attention.key(code, pressed, time_ms, owner);
        self.stop_repeating(if pressed { None } else { Some(code) });
        let moves = |key| self.shell.repeats(key);
        if pressed && self.input.repeat.pressed(code, &decisions, moves) {
            self.start_repeating();
        }
        self.carry_out(decisions);
    }

    /// A device is gone: what it alone holds is released.
    pub fn device_unplugged(&mut self, device: DeviceId, time_ms: u32) {
        for code in self.input.keys.unplugged(device) {
            self.key_changed(code, false, time_ms, false);
        }
        self.release_device_buttons(device, time_ms);
        self.input.touch.unplugged(device);
        self.input.host_keys.unplugged(device);
    }

    /// The backend has lost its keyboard (the nested window is no longer focused, the seat went away): whatever is held
    /// counts as released.
    pub(crate) fn handle_input_lost(&mut self, time_ms: u32) {
        self.stop_repeating(None);
        self.input.host_keys.stop();
        self.input.keys.clear();
        self.input.pressed.clear();
        self.input.touch.clear();
        let decisions = self.input.attention.lost(time_ms);
        self.carry_out(decisions);
        self.release_buttons(time_ms);
        self.leave_face();
    }

    /// Releases, for the guest that still has the focus, of all that it holds; to be called before the focus moves. A
    /// face that had the pointer loses it.
    pub(crate) fn release_everything(&mut self) {
        let time_ms = monotonic::now_ms();
        for decision in self.input.attention.owner_changed(time_ms) {
            if let Decision::Forward { code, pressed, time_ms } = decision {
                self.forward(GuestInput::Key { code, pressed }, time_ms);
            }
        }
        self.release_buttons(time_ms);
        self.leave_face();
    }

    fn input_owner(&self) -> KeyOwner {
        if self.shell.has_keys() || self.shell.card_has_keys() {
            return KeyOwner::Shell;
        }
        if self.shell.keyboard_owner().is_some() { KeyOwner::Guest } else { KeyOwner::Nobody }
    }

    fn carry_out(&mut self, decisions: Vec<Decision>) {
        for decision in decisions {
            match decision {
                Decision::Forward { code, pressed, time_ms } => {
                    self.forward(GuestInput::Key { code, pressed }, time_ms)
                }
                Decision::Chord(chord) => {
                    let done = self.act(chord.verb(), Asker::Chord);
                    self.passed_over(done);
                }
                Decision::Shell { code, pressed } => {
                    let input = self.key_of_face(code, pressed);
                    self.face_input(&input);
                }
            }
        }
    }

    /// A key as a face hears of it.
    fn key_of_face(&mut self, code: u32, pressed: bool) -> faces::FaceInput {
        let down = self.input.keys.codes();
        let (code, text) = self.type_key(code, pressed, down);
        faces::FaceInput::Key { code, pressed, modifiers: self.modifiers_of_face(), text }
    }

    /// There is nowhere to say why a chord or a click did nothing but the log.
    fn passed_over(&self, done: Result<Done, String>) {
        if let Err(why) = done {
            tracing::debug!("{why}");
        }
    }

    /// The key that repeats in the shell's own surfaces was pressed: the one timer runs for as long as it is held.
    fn start_repeating(&mut self) {
        let timer = Timer::from_deadline(Instant::now() + repeat::DELAY);
        let source = self.loop_handle.insert_source(timer, |_, _, state: &mut State| state.repeat_key());
        match source {
            Ok(token) => self.input.repeat_timer = Some(token),
            Err(error) => tracing::warn!("a key that is held does not repeat: {error}"),
        }
    }

    fn repeat_key(&mut self) -> TimeoutAction {
        let still = |decision: &Decision| match decision {
            Decision::Chord(_) => self.shell.is_choosing(),
            Decision::Shell { code, .. } => self.shell.repeats(*code),
            Decision::Forward { .. } => false,
        };
        let due = self.input.repeat.due(Instant::now()).filter(|(decision, _)| still(decision));
        let Some((decision, next)) = due.filter(|_| !self.render.is_asleep()) else {
            self.input.repeat.stop();
            self.input.repeat_timer = None;
            return TimeoutAction::Drop;
        };
        self.carry_out(vec![decision]);
        TimeoutAction::ToInstant(next)
    }

    /// `released`: nothing changes unless this is the key that repeats.
    fn stop_repeating(&mut self, released: Option<u32>) {
        match released {
            Some(code) if !self.input.repeat.released(code) => return,
            _ => self.input.repeat.stop(),
        }
        if let Some(timer) = self.input.repeat_timer.take() {
            self.loop_handle.remove(timer);
        }
    }
}
