//! What is held down on which device. Pure. The same key held on two keyboards is one press, and one release when the
//! last of them lets go; a device that is unplugged lets go of everything.
//!
//! It trusts no order of events: a release without a press and a second press mean nothing, and what is kept is
//! bounded.

use std::collections::BTreeSet;

/// Most keys or buttons of all devices together; further presses are passed over, and so are their releases.
const MOST: usize = 256;

/// A device, for as long as it is plugged in; never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DeviceId(u32);

impl DeviceId {
    /// The one device of a backend that does not tell devices apart.
    pub const ONLY: Self = Self(0);

    /// The device after this one.
    pub fn next(self) -> Self {
        // After four thousand million devices the first of them are long unplugged.
        Self(self.0.wrapping_add(1).max(1))
    }
}

/// Keys, or buttons, that are down.
#[derive(Debug, Default)]
pub struct Held {
    down: Vec<(DeviceId, u32)>,
}

impl Held {
    /// Something was pressed or released on a device. `true`: it is the first press, or the last release, of all
    /// devices.
    pub fn change(&mut self, device: DeviceId, code: u32, pressed: bool) -> bool {
        let at = self.down.iter().position(|entry| *entry == (device, code));
        match (pressed, at) {
            (true, None) if self.down.len() < MOST => {
                let first = !self.is_down(code);
                self.down.push((device, code));
                first
            }
            (false, Some(at)) => {
                self.down.swap_remove(at);
                !self.is_down(code)
            }
            _ => false,
        }
    }

    /// The device is gone: what is now released on all devices.
    pub fn unplugged(&mut self, device: DeviceId) -> Vec<u32> {
        let (gone, rest): (Vec<_>, Vec<_>) = self.down.iter().partition(|(owner, _)| *owner == device);
        self.down = rest;
        gone.into_iter().map(|(_, code)| code).filter(|code| !self.is_down(*code)).collect()
    }

    /// All devices are lost.
    pub fn clear(&mut self) {
        self.down.clear();
    }

    /// What is held, each once.
    pub fn codes(&self) -> BTreeSet<u32> {
        self.down.iter().map(|(_, code)| *code).collect()
    }

    /// Whether any device holds it.
    pub fn is_down(&self, code: u32) -> bool {
        self.down.iter().any(|(_, held)| *held == code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const A: u32 = 30;
    const B: u32 = 48;
    const FIRST: DeviceId = DeviceId(1);
    const SECOND: DeviceId = DeviceId(2);

    #[test]
    fn a_key_on_two_keyboards_is_released_when_both_let_go() {
        let mut held = Held::default();
        assert!(held.change(FIRST, A, true));
        assert!(!held.change(SECOND, A, true));
        assert!(!held.change(FIRST, A, false));
        assert!(held.change(SECOND, A, false));
    }

    #[test]
    fn a_keyboard_that_is_unplugged_lets_go_of_what_it_alone_holds() {
        let mut held = Held::default();
        for (device, code) in [(FIRST, A), (FIRST, B), (SECOND, B)] {
            held.change(device, code, true);
        }
        assert_eq!(held.unplugged(FIRST), [A]);
        assert_eq!(held.unplugged(FIRST), [0; 0]);
        assert!(!held.change(FIRST, A, false), "a late release means nothing");
        assert_eq!(held.unplugged(SECOND), [B]);
    }

    #[test]
    fn repeats_and_releases_without_a_press_mean_nothing() {
        let mut held = Held::default();
        assert!(!held.change(FIRST, A, false));
        assert!(held.change(FIRST, A, true));
        assert!(!held.change(FIRST, A, true));
        held.clear();
        assert!(!held.change(FIRST, A, false));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

        /// What is told alternates press and release for every code, and nothing is left when all devices are gone.
        #[test]
        fn presses_and_releases_alternate(steps in proptest::collection::vec((0u32..4, 0u32..200, any::<bool>(), 0u8..20), 0..400)) {
            let mut held = Held::default();
            let mut told = std::collections::BTreeSet::new();
            for (device, code, pressed, unplug) in steps {
                let device = DeviceId(device);
                if unplug == 0 {
                    for code in held.unplugged(device) {
                        prop_assert!(told.remove(&code));
                    }
                } else if held.change(device, code, pressed) {
                    let new = if pressed { told.insert(code) } else { told.remove(&code) };
                    prop_assert!(new, "{} {}", code, pressed);
                }
                prop_assert!(held.down.len() <= MOST);
            }
            for device in 0..4 {
                for code in held.unplugged(DeviceId(device)) {
                    prop_assert!(told.remove(&code));
                }
            }
            prop_assert!(told.is_empty());
        }
    }
}
