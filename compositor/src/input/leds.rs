//! The lights of keyboards: those of the guest that has the keyboard where it says them, else the shell's own.
//!
//! Told to the keyboards only when they change. A guest that has not the keyboard lights nothing.

use crate::State;
use phyllome_protocol::control::Leds;
use smithay::input::keyboard::LedState;
use smithay::reexports::input::{Device, DeviceCapability, Led};

/// What the keyboards show: the guest's lights if it has the keyboard and has said them, else those of the shell's own
/// keymap.
fn choose(guest: Option<Leds>, own: LedState) -> Leds {
    let lit = |light: Option<bool>| light.unwrap_or(false);
    guest.unwrap_or(Leds { scroll: lit(own.scroll), num: lit(own.num), caps: lit(own.caps) })
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
        let guest = self.shell.keyboard_owner().and_then(|name| self.guests.leds(&name));
        let leds = choose(guest, self.protocols.seat.led_state());
        if self.input.lights == Some(leds) {
            return;
        }
        self.input.lights = Some(leds);
        for device in self.input.devices.all() {
            light(device, leds);
        }
    }

    /// What the keyboards show.
    pub fn lights(&self) -> Leds {
        self.input.lights.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_that_says_its_lights_decides_and_one_that_does_not_leaves_them_to_the_keymap() {
        let mut own = LedState::default();
        assert_eq!(choose(None, own), Leds::default());
        own.caps = Some(true);
        own.num = Some(false);
        assert_eq!(choose(None, own), Leds { caps: true, ..Leds::default() });
        let guests = Leds { num: true, ..Leds::default() };
        assert_eq!(choose(Some(guests), own), guests);
    }
}
