//! Keyboards that may not type yet: the person is asked about them, in the list of guests or by a code on the screen.
//!
//! Which may type and what is asked [`phyllome_trusted::keyboards`] decides; here are clock, chance and timer. A key of
//! such a keyboard goes nowhere but to the code, and to that only while somebody can have read it for a moment.

use super::Input;
use crate::State;
use crate::event_loop::Sources;
use phyllome_trusted::gate::{Asker, Verb};
use phyllome_trusted::held::DeviceId;
use phyllome_trusted::keyboards::{NewKeyboard, Way};
use smithay::reexports::calloop::timer::{TimeoutAction, Timer};
use std::time::Instant;

/// A number that nobody can know; `None` where the kernel has none yet.
fn chance() -> Option<u64> {
    let mut bytes = [0u8; 8];
    // SAFETY: the buffer lives through the call and is as long as is said. It does not wait.
    let filled = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), libc::GRND_NONBLOCK) };
    (usize::try_from(filled) == Ok(bytes.len())).then(|| u64::from_ne_bytes(bytes))
}

impl Input {
    /// The keyboard of which the person is to know, after anything has changed; a timer asks again where that is
    /// needed.
    pub(crate) fn asked_keyboard(&mut self, loop_handle: &Sources<State>) -> Option<NewKeyboard> {
        let again = self.keyboards.update(Instant::now(), chance());
        if let Some(timer) = self.code_timer.take() {
            loop_handle.remove(timer);
        }
        if let Some(moment) = again {
            let timer = loop_handle.insert_source(Timer::from_deadline(moment), |_, _, state: &mut State| {
                // It is gone by itself.
                state.input.code_timer = None;
                state.keyboards_changed();
                TimeoutAction::Drop
            });
            match timer {
                Ok(token) => self.code_timer = Some(token),
                Err(error) => tracing::warn!("no code is shown before another key is pressed: {error}"),
            }
        }
        let (device, way) = self.keyboards.asked()?;
        Some(NewKeyboard { device, name: self.devices.name(device), way })
    }
}

impl State {
    /// Another keyboard is to be asked about, or in another way, or none.
    pub(crate) fn keyboards_changed(&mut self) {
        let keyboard = self.input.asked_keyboard(&self.loop_handle);
        let done = self.act(Verb::NewKeyboard(keyboard), Asker::Shell);
        self.passed_over(done);
    }

    /// A key was pressed on a keyboard that is to be asked about from now on.
    pub(super) fn keyboard_asks(&mut self) {
        self.keyboards_changed();
        if self.asks_for_code() {
            // Nobody reads a code on a display that is off.
            self.note_activity();
        }
    }

    /// A key of a keyboard that may not type, while there is none that may.
    pub(super) fn code_key(&mut self, device: DeviceId, code: u32, pressed: bool) {
        if !pressed || (self.asks_for_code() && self.note_activity()) {
            return;
        }
        let now = Instant::now();
        let changed = self.shell.shows_keyboard(now) && self.input.keyboards.enter(device, code, now);
        // A code that something else has hidden is shown again.
        if changed || (self.asks_for_code() && !self.shell.asks_about_keyboard()) {
            self.keyboards_changed();
        }
    }

    fn asks_for_code(&self) -> bool {
        matches!(self.input.keyboards.asked(), Some((_, Way::Code { .. })))
    }
}
