//! What a key types by the keymap, for the shell's own faces: guests make their own text of their keys.
//!
//! Worked out anew for each key, from the seat's keymap, the locks of its keyboard and the keys that are down: nothing
//! is kept that could go wrong. That keyboard hears of a face's keys as of a guest's, so that a lock that is pressed in
//! either counts in both. Characters that control something are no text.

use crate::State;
use smithay::input::keyboard::{Keycode, SerializedMods, xkb};

impl State {
    /// A key (evdev code) goes to a face while these keys are down. What its press types; empty if that is nothing.
    pub(crate) fn type_key(&mut self, code: u32, pressed: bool, down: impl IntoIterator<Item = u32> + Clone) -> String {
        self.key_for_nobody(code, pressed);
        if !pressed {
            return String::new();
        }
        let keyboard = self.protocols.seat.keyboard();
        let locks = keyboard.modifier_state().serialized;
        keyboard.with_xkb_state(self, |context| {
            let Ok(xkb) = context.xkb().lock() else { return String::new() };
            // SAFETY: what is made of the keymap here is dropped before `xkb`, which owns it.
            text(unsafe { xkb.keymap() }, locks, code, down.clone())
        })
    }
}

/// What a key types by `keymap`.
fn text(keymap: &xkb::Keymap, locks: SerializedMods, code: u32, down: impl IntoIterator<Item = u32>) -> String {
    // xkb counts from 8.
    let keycode = |code: u32| Keycode::new(code.saturating_add(8));
    let mut state = xkb::State::new(keymap);
    state.update_mask(0, 0, locks.locked, 0, 0, locks.layout_effective);
    for held in down.into_iter().filter(|held| *held != code) {
        state.update_key(keycode(held), xkb::KeyDirection::Down);
    }
    let text = state.key_get_utf8(keycode(code));
    if text.chars().any(char::is_control) { String::new() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use phyllome_trusted::codes;

    fn typed(layout: &str, code: u32, down: &[u32], locked: u32) -> String {
        let context = xkb::Context::new(xkb::CONTEXT_NO_FLAGS);
        let keymap =
            xkb::Keymap::new_from_names(&context, "", "", layout, "", None, xkb::KEYMAP_COMPILE_NO_FLAGS).unwrap();
        text(&keymap, SerializedMods { locked, ..SerializedMods::default() }, code, down.iter().copied())
    }

    #[test]
    fn letters_are_those_on_the_keys_of_the_layout() {
        assert_eq!(["us", "de"].map(|layout| typed(layout, codes::Y, &[], 0)), ["y", "z"]);
    }

    #[test]
    fn shift_and_locks_count_and_keys_that_control_type_nothing() {
        assert_eq!(typed("us", codes::ONE, &[codes::LEFT_SHIFT, codes::ONE], 0), "!");
        // Lock is the second of the modifiers that every keymap has.
        assert_eq!(typed("us", codes::Y, &[], 2), "Y");
        for code in [codes::ESC, codes::ENTER, codes::TAB, codes::UP, codes::LEFT_CTRL, codes::LAST] {
            assert_eq!(typed("us", code, &[], 0), "", "{code}");
        }
    }
}
