//! The lights of keyboards: those of the guest that has the keyboard, as its QEMU tells them, or none.
//!
//! Told to the keyboards only when they change, and for one guest a few times a second at most
//! ([`phyllome_trusted::lights`]). A guest that has not the keyboard lights nothing; what another guest was typed, or
//! what the shell's own keymap makes of it, says nothing of the one that has it. While a face has the keys the lights
//! are those of the shell's own keymap.

use crate::State;
use phyllome_protocol::control::Leds;
use phyllome_trusted::lights::Tell;
use smithay::input::keyboard::LedState;
use smithay::reexports::calloop::timer::{TimeoutAction, Timer};
use smithay::reexports::input::{Device, DeviceCapability, Led};
use std::time::Instant;

/// What the keyboards show. `guest`: whether one has the keyboard, and its lights as far as they are known.
fn choose(guest: Option<Option<Leds>>, own: LedState) -> Leds {
    let lit = |light: Option<bool>| light.unwrap_or(false);
    match guest {
        Some(leds) => leds.unwrap_or_default(),
        None => Leds { scroll: lit(own.scroll), num: lit(own.num), caps: lit(own.caps) },
    }
}

/// Lights one device, if it is a keyboard.
pub(super) fn light(device: &mut Device, leds: Leds) {
    if !device.has_capability(DeviceCapability::Keyboard) {
        return;
    }
    let mut lit = Led::empty();
    lit.set(Led::SCROLLLOCK, leds.scroll);
    lit.set(Led::NUMLOCK, leds.num);
    lit.set(Led::CAPSLOCK, leds.caps);
    device.led_update(lit);
}

impl State {
    /// Makes the keyboards' lights agree with the focus, the guest that has it, and the keymap.
    pub(crate) fn sync_leds(&mut self) {
        let whose = self.shell.keyboard_owner();
        let guest = whose.as_ref().map(|name| self.guests.leds(name));
        let leds = choose(guest, self.protocols.seat.led_state());
        match self.input.lights.want(whose, leds, guest.is_some(), Instant::now()) {
            Tell::Nothing => {}
            Tell::Now => self.input.devices.all().for_each(|device| light(device, leds)),
            Tell::At(due) => {
                let timer = self.loop_handle.insert_source(Timer::from_deadline(due), |_, _, state: &mut State| {
                    state.input.lights.due();
                    state.sync_leds();
                    TimeoutAction::Drop
                });
                if let Err(error) = timer {
                    self.input.lights.due();
                    tracing::warn!("the keyboards' lights are late: {error}");
                }
            }
        }
    }

    /// What the keyboards show.
    pub fn lights(&self) -> Leds {
        self.input.lights.told().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guest_that_has_the_keyboard_decides_and_where_its_lights_are_not_known_there_are_none() {
        let mut own = LedState::default();
        assert_eq!(choose(None, own), Leds::default());
        own.caps = Some(true);
        own.num = Some(false);
        assert_eq!(choose(None, own), Leds { caps: true, ..Leds::default() });
        let guests = Leds { num: true, ..Leds::default() };
        assert_eq!(choose(Some(Some(guests)), own), guests);
        assert_eq!(choose(Some(None), own), Leds::default());
    }
}
