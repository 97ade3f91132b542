//! The model joined to the loop: actions are applied here and nowhere else, and whatever follows from a change of focus follows
//! here: releases for the old guest first, then the focus, then events and a redraw.

use super::{Action, Effect};
use crate::State;
use phyllome_protocol::GuestName;
use phyllome_protocol::shell::Event;
use phyllome_protocol::status::Mode;
use smithay::reexports::calloop::timer::{TimeoutAction, Timer};
use std::time::Instant;

/// Milliseconds of the monotonic clock, as input events carry them; wraps after 49 days.
pub fn time_ms() -> u32 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    (now.tv_sec as u64).wrapping_mul(1000).wrapping_add(now.tv_nsec as u64 / 1_000_000) as u32
}

impl State {
    /// Carries out what the person did.
    pub fn act(&mut self, action: Action) {
        let before = self.talking_to();
        let shown = self.shell.focus.clone();
        let effects = self.shell.apply(action, Instant::now());
        self.follow(before);
        if self.shell.focus != shown {
            self.guests.remember_shown(self.shell.focus.as_ref());
        }
        for effect in effects {
            match effect {
                Effect::Guest(name, op) => {
                    if let Err(sentence) = self.guest_op(&name, op) {
                        self.note(&name, &sentence);
                        self.guests_changed();
                    }
                }
                Effect::RedrawAt(moment) => {
                    let timer =
                        self.loop_handle.insert_source(Timer::from_deadline(moment), |_, _, state: &mut State| {
                            state.queue_redraw();
                            TimeoutAction::Drop
                        });
                    if let Err(error) = timer {
                        tracing::warn!("the end of a flash is not drawn: {error}");
                    }
                }
            }
        }
    }

    /// Takes over what the registry knows now, if it is anything new.
    pub fn guests_changed(&mut self) {
        let views = self.guests.views();
        if views == self.shell.guests && self.guests.problems() == self.shell.problems {
            return;
        }
        let changed: Vec<_> = views
            .iter()
            .filter(|view| {
                let old = self.shell.guest(&view.name);
                old.is_none_or(|old| old.state != view.state || old.message != view.message)
            })
            .map(|view| Event::State { name: view.name.clone(), state: view.state, message: view.message.clone() })
            .collect();
        let before = self.talking_to();
        let owners = self.output_owners();
        self.shell.set_guests(views, self.guests.problems().to_vec());
        if self.output_owners() != owners {
            self.outputs_changed();
        }
        for event in &changed {
            self.emit(event);
        }
        self.follow(before);
    }

    fn talking_to(&self) -> (Option<GuestName>, Mode) {
        (self.shell.keyboard_owner(), self.shell.mode())
    }

    fn follow(&mut self, (owner, mode): (Option<GuestName>, Mode)) {
        let (owner_now, mode_now) = self.talking_to();
        if owner_now != owner {
            self.release_everything();
        }
        if owner_now != owner || mode_now != mode {
            self.sync_focus();
        }
        if mode_now != mode {
            self.emit(&Event::Mode { mode: mode_now });
        }
        if owner_now != owner {
            self.emit(&Event::Focus { name: owner_now });
        }
        self.queue_redraw();
    }
}
