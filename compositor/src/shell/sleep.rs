//! Displays go off when nobody is there and on again at the first sign of somebody; [`super::idle`] decides when.

use super::idle::Fired;
use crate::State;
use crate::backend::Backend;
use smithay::reexports::calloop::timer::{TimeoutAction, Timer};
use std::time::Instant;

impl State {
    /// Somebody is there: a key, a button, a touch, a motion, a lid that opens, a session that is switched to. Switches the displays on if
    /// they are off, and says whether they were: what has woken them does nothing else.
    pub fn note_activity(&mut self) -> bool {
        self.idle.activity(Instant::now());
        let asleep = self.outputs_asleep();
        if asleep {
            self.outputs_sleep(false);
            self.watch_idle();
        }
        asleep
    }

    /// Lets the timer run, where shell.toml asks for one. In a window it is the desktop around that switches displays off.
    pub fn watch_idle(&mut self) {
        if matches!(self.backend, Backend::Nested(_)) {
            return;
        }
        let Some(until) = self.idle.arm() else { return };
        let timer = self.loop_handle.insert_source(Timer::from_deadline(until), |_, _, state: &mut State| match state
            .idle
            .fired(Instant::now())
        {
            Fired::Wait(until) => TimeoutAction::ToInstant(until),
            Fired::Sleep => {
                state.outputs_sleep(true);
                TimeoutAction::Drop
            }
        });
        if let Err(error) = timer {
            self.idle.disarm();
            tracing::warn!("the displays stay on without input: {error}");
        }
    }
}
