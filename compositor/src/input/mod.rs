//! Where every backend's input arrives: chords end here, the rest goes to the one guest that has the focus.

pub mod attention;
pub mod codes;

use crate::State;
use crate::shell::Action;
use attention::{Attention, Decision, Owner};
use phyllome_protocol::status::Mode;

/// Most pointer buttons that can be down at once; further presses are passed over.
const MAX_BUTTONS: usize = 16;

/// Chords, pressed keys and pressed buttons.
#[derive(Debug, Default)]
pub struct Input {
    attention: Attention,
    /// Buttons whose press the guest has seen.
    buttons: Vec<u32>,
}

impl Input {
    /// Nothing is pressed.
    pub fn new() -> Self {
        Self::default()
    }
}

impl State {
    /// A key of any keyboard: evdev code, milliseconds of the monotonic clock. Repeats (a press of a key that is down) are
    /// passed over.
    pub fn handle_key(&mut self, code: u32, pressed: bool, time_ms: u32) {
        let wakes = self.note_activity();
        let owner = if wakes { Owner::Nobody } else { self.input_owner() };
        let decisions = self.input.attention.key(code, pressed, time_ms, owner);
        self.carry_out(decisions);
        if wakes {
            // What has woken the displays is eaten, its release included; a chord that it begins still works.
            self.release_everything();
        }
    }

    /// The pointer is at this place; physical pixels of the first output.
    pub fn handle_pointer_motion(&mut self, x: f64, y: f64, time_ms: u32) {
        if !self.note_activity() && x.is_finite() && y.is_finite() {
            self.forward_pointer_motion(x, y, time_ms);
        }
    }

    /// A pointer button: evdev code.
    pub fn handle_button(&mut self, code: u32, pressed: bool, time_ms: u32) {
        if self.note_activity() && pressed {
            return;
        }
        let held = self.input.buttons.iter().position(|button| *button == code);
        match (pressed, held) {
            (true, None) if self.input_owner() == Owner::Guest && self.input.buttons.len() < MAX_BUTTONS => {
                let decisions = self.input.attention.pointer_used(false, Owner::Guest);
                self.carry_out(decisions);
                self.input.buttons.push(code);
                self.forward_button(code, true, time_ms);
            }
            (false, Some(at)) => {
                self.input.buttons.remove(at);
                self.forward_button(code, false, time_ms);
                if self.input.buttons.is_empty() {
                    let decisions = self.input.attention.pointer_released(time_ms);
                    self.carry_out(decisions);
                }
            }
            _ => {}
        }
    }

    /// The wheel turned by so many notches; positive: right, down.
    pub fn handle_wheel(&mut self, horizontal: f64, vertical: f64, time_ms: u32) {
        if !self.note_activity() && self.input_owner() == Owner::Guest && horizontal.is_finite() && vertical.is_finite()
        {
            let decisions = self.input.attention.pointer_used(true, Owner::Guest);
            self.carry_out(decisions);
            self.forward_axis(horizontal, vertical, time_ms);
        }
    }

    /// The backend has lost its keyboard (the nested window is no longer focused, the seat went away): whatever is held
    /// counts as released.
    pub fn handle_input_lost(&mut self, time_ms: u32) {
        let decisions = self.input.attention.lost(time_ms);
        self.carry_out(decisions);
        self.release_buttons(time_ms);
    }

    /// Releases, for the guest that still has the focus, of all that it holds; to be called before the focus moves.
    pub(crate) fn release_everything(&mut self) {
        let time_ms = crate::shell::time_ms();
        for decision in self.input.attention.owner_changed(time_ms) {
            if let Decision::Forward { code, pressed, time_ms } = decision {
                self.forward_key(code, pressed, time_ms);
            }
        }
        self.release_buttons(time_ms);
    }

    fn release_buttons(&mut self, time_ms: u32) {
        for code in std::mem::take(&mut self.input.buttons) {
            self.forward_button(code, false, time_ms);
        }
    }

    fn input_owner(&self) -> Owner {
        match self.shell.mode() {
            Mode::Guest if self.shell.keyboard_owner().is_some() => Owner::Guest,
            Mode::Guest => Owner::Nobody,
            Mode::Panel | Mode::Switcher | Mode::Locked => Owner::Shell,
        }
    }

    fn carry_out(&mut self, decisions: Vec<Decision>) {
        for decision in decisions {
            match decision {
                Decision::Forward { code, pressed, time_ms } => self.forward_key(code, pressed, time_ms),
                Decision::Chord(chord) => self.act(Action::Chord(chord)),
                Decision::Shell { code } => self.act(Action::PanelKey(code)),
            }
        }
    }
}
