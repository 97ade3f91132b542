//! What a key types by the keymap, and which letter is printed on it, for the shell's own faces: guests make their own
//! text of their keys.
//!
//! Worked out anew for each key, from the seat's keymap, the locks of its keyboard and the keys that are down: nothing
//! is kept that could go wrong. That keyboard hears of a face's keys as of a guest's, but its locks begin anew when it
//! goes from one to the other. Characters that control something are no text.

use crate::State;
use phyllome_trusted::codes;
use smithay::input::keyboard::{Keycode, SerializedMods, xkb};

impl State {
    /// A key (evdev code) goes to a face while these keys are down. The key that the face takes it for, and what its
    /// press types; empty if that is nothing.
    pub(crate) fn type_key(
        &mut self,
        code: u32,
        pressed: bool,
        down: impl IntoIterator<Item = u32> + Clone,
    ) -> (u32, String) {
        self.key_for_nobody(code, pressed);
        let keyboard = self.protocols.seat.keyboard();
        let locks = keyboard.modifier_state().serialized;
        keyboard.with_xkb_state(self, |context| {
            let Ok(xkb) = context.xkb().lock() else { return (code, String::new()) };
            // SAFETY: what is made of the keymap here is dropped before `xkb`, which owns it.
            let keymap = unsafe { xkb.keymap() };
            let typed = if pressed { text(keymap, locks, code, down.clone()) } else { String::new() };
            (by_cap(keymap, locks.layout_effective, code), typed)
        })
    }
}

/// The key (evdev code) whose cap this one has: where a face says K, the key counts that types k, wherever that is. The
/// letters are those of the layout that is in use, or of the first that has Latin ones (a Cyrillic keyboard has them
/// printed beside its own); without any such layout they are where a US keyboard has them. 0 for a key in a letter's
/// place that has no letter on it; a key in another place that has none is itself.
fn by_cap(keymap: &xkb::Keymap, layout: u32, code: u32) -> u32 {
    let letter = |layout, code: u32| {
        let symbols = keymap.key_get_syms_by_level(Keycode::new(code.saturating_add(8)), layout, 0);
        let printed = symbols.first().and_then(|symbol| symbol.key_char());
        codes::letter(printed?)
    };
    let is_latin = |layout: &u32| codes::LETTERS.iter().any(|(code, _)| letter(*layout, *code).is_some());
    let latin = std::iter::once(layout).chain(0..keymap.num_layouts()).find(is_latin);
    let Some(layout) = latin else { return code };
    let in_letters_place = codes::LETTERS.iter().any(|(place, _)| *place == code);
    letter(layout, code).unwrap_or(if in_letters_place { 0 } else { code })
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

    fn keymap(layout: &str, variant: &str) -> xkb::Keymap {
        let context = xkb::Context::new(xkb::CONTEXT_NO_FLAGS);
        xkb::Keymap::new_from_names(&context, "", "", layout, variant, None, xkb::KEYMAP_COMPILE_NO_FLAGS).unwrap()
    }

    fn typed(layout: &str, code: u32, down: &[u32], locked: u32) -> String {
        let keymap = keymap(layout, "");
        text(&keymap, SerializedMods { locked, ..SerializedMods::default() }, code, down.iter().copied())
    }

    #[test]
    fn letters_are_those_on_the_keys_of_the_layout() {
        assert_eq!(["us", "de"].map(|layout| typed(layout, codes::Y, &[], 0)), ["y", "z"]);
    }

    /// Where the letters k, y, n, s, p, r are, by what is printed on the keys of a layout.
    fn places(layout: &str, variant: &str, group: u32) -> [Vec<u32>; 6] {
        let keymap = keymap(layout, variant);
        let wanted = [codes::K, codes::Y, codes::N, codes::S, codes::P, codes::R];
        wanted.map(|wanted| (0..=codes::LAST).filter(|code| by_cap(&keymap, group, *code) == wanted).collect())
    }

    #[test]
    fn a_letter_is_the_key_that_it_is_printed_on_and_no_other() {
        let us = [[37], [21], [49], [31], [25], [19]].map(Vec::from);
        assert_eq!(places("us", "", 0), us);
        assert_eq!(places("de", "", 0), [[37], [44], [49], [31], [25], [19]].map(Vec::from));
        assert_eq!(places("fr", "", 0), us);
        assert_eq!(places("us", "dvorak", 0), [[47], [20], [38], [39], [19], [24]].map(Vec::from));
        let fr = keymap("fr", "");
        // The key labelled A is where a US keyboard has Q, the one labelled M right of L; in M's place there is a
        // comma.
        assert_eq!([16, 39, 50, 51].map(|code| by_cap(&fr, 0, code)), [30, 50, 0, 51]);
    }

    #[test]
    fn a_layout_without_latin_letters_has_those_of_the_first_that_has_else_those_of_a_us_keyboard() {
        let us = places("us", "", 0);
        assert_eq!(places("ru", "", 0), us);
        assert_eq!([places("de,ru", ",", 1), places("ru,de", ",", 0)], [places("de", "", 0), places("de", "", 0)]);
        for code in [codes::ESC, codes::ENTER, codes::UP, codes::ONE, codes::TAB, codes::LEFT_CTRL] {
            for layout in ["us", "de", "fr", "ru"] {
                assert_eq!(by_cap(&keymap(layout, ""), 0, code), code, "{layout}");
            }
        }
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
