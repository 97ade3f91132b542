//! The few evdev codes that the shell itself knows (linux/input-event-codes.h).

use phyllome_protocol::Slot;

/// The last key code of the kernel (KEY_MAX).
pub const LAST: u32 = 0x2ff;
/// KEY_ESC.
pub const ESC: u32 = 1;
/// KEY_1; KEY_2 to KEY_9 follow.
pub const ONE: u32 = 2;
/// KEY_9.
pub const NINE: u32 = 10;
/// KEY_0.
const ZERO: u32 = 11;
/// KEY_BACKSPACE.
pub const BACKSPACE: u32 = 14;
/// KEY_TAB.
pub const TAB: u32 = 15;
/// KEY_Y.
pub const Y: u32 = 21;
/// KEY_R.
pub const R: u32 = 19;
/// KEY_P.
pub const P: u32 = 25;
/// KEY_ENTER.
pub const ENTER: u32 = 28;
/// KEY_LEFTCTRL.
pub const LEFT_CTRL: u32 = 29;
/// KEY_A.
pub const A: u32 = 30;
/// KEY_S.
pub const S: u32 = 31;
/// KEY_K.
pub const K: u32 = 37;
/// KEY_LEFTSHIFT.
pub const LEFT_SHIFT: u32 = 42;
/// KEY_N.
pub const N: u32 = 49;
/// KEY_RIGHTSHIFT.
pub const RIGHT_SHIFT: u32 = 54;
/// KEY_LEFTALT.
pub const LEFT_ALT: u32 = 56;
/// KEY_KPENTER.
pub const KP_ENTER: u32 = 96;
/// KEY_F1; KEY_F2 to KEY_F10 follow.
pub const F1: u32 = 59;
/// KEY_F10.
pub const F10: u32 = 68;
/// KEY_F11.
pub const F11: u32 = 87;
/// KEY_F12.
pub const F12: u32 = 88;
/// KEY_RIGHTCTRL.
pub const RIGHT_CTRL: u32 = 97;
/// KEY_RIGHTALT.
pub const RIGHT_ALT: u32 = 100;
/// KEY_HOME.
pub const HOME: u32 = 102;
/// KEY_UP.
pub const UP: u32 = 103;
/// KEY_PAGEUP.
pub const PAGE_UP: u32 = 104;
/// KEY_END.
pub const END: u32 = 107;
/// KEY_DOWN.
pub const DOWN: u32 = 108;
/// KEY_PAGEDOWN.
pub const PAGE_DOWN: u32 = 109;
/// Keys of the computer itself, which it heeds whoever is in front: KEY_POWER, KEY_SLEEP, KEY_WAKEUP, KEY_SUSPEND.
pub const OF_COMPUTER: [u32; 4] = [116, 142, WAKEUP, 205];
/// KEY_WAKEUP, which the kernel sends when the power button has ended a suspend.
pub const WAKEUP: u32 = 143;
/// KEY_LEFTMETA.
pub const LEFT_META: u32 = 125;
/// KEY_RIGHTMETA.
pub const RIGHT_META: u32 = 126;
/// KEY_COMPOSE: the menu key.
pub const MENU: u32 = 127;

/// Super, Shift, Ctrl and Alt: keys that are held for the sake of another one.
pub const MODIFIERS: [u32; 8] =
    [LEFT_META, RIGHT_META, LEFT_SHIFT, RIGHT_SHIFT, LEFT_CTRL, RIGHT_CTRL, LEFT_ALT, RIGHT_ALT];

/// The keys that have letters on them on a US keyboard, and these.
pub const LETTERS: [(u32, char); 26] = [
    (16, 'q'),
    (17, 'w'),
    (18, 'e'),
    (R, 'r'),
    (20, 't'),
    (Y, 'y'),
    (22, 'u'),
    (23, 'i'),
    (24, 'o'),
    (P, 'p'),
    (30, 'a'),
    (S, 's'),
    (32, 'd'),
    (33, 'f'),
    (34, 'g'),
    (35, 'h'),
    (36, 'j'),
    (K, 'k'),
    (38, 'l'),
    (44, 'z'),
    (45, 'x'),
    (46, 'c'),
    (47, 'v'),
    (48, 'b'),
    (N, 'n'),
    (50, 'm'),
];

/// BTN_LEFT; BTN_RIGHT to BTN_TASK follow.
pub const BTN_LEFT: u32 = 0x110;
/// BTN_RIGHT.
pub const BTN_RIGHT: u32 = 0x111;
/// BTN_MIDDLE.
pub const BTN_MIDDLE: u32 = 0x112;
/// BTN_TASK, the last button of a mouse.
const BTN_TASK: u32 = 0x117;
/// BTN_STYLUS.
const BTN_STYLUS: u32 = 0x14b;
/// BTN_STYLUS2.
const BTN_STYLUS2: u32 = 0x14c;

/// Whether the key is a Super key.
pub fn is_super(code: u32) -> bool {
    matches!(code, LEFT_META | RIGHT_META)
}

/// Whether the key is a Shift key.
pub fn is_shift(code: u32) -> bool {
    matches!(code, LEFT_SHIFT | RIGHT_SHIFT)
}

/// Whether the key is a Ctrl key.
pub fn is_ctrl(code: u32) -> bool {
    matches!(code, LEFT_CTRL | RIGHT_CTRL)
}

/// Whether the key is an Alt key.
pub fn is_alt(code: u32) -> bool {
    matches!(code, LEFT_ALT | RIGHT_ALT)
}

/// Whether the key is one of the [`MODIFIERS`].
pub fn is_modifier(code: u32) -> bool {
    MODIFIERS.contains(&code)
}

/// The key that has this letter on a US keyboard.
pub fn letter(letter: char) -> Option<u32> {
    let letter = letter.to_ascii_lowercase();
    LETTERS.iter().find(|(_, printed)| *printed == letter).map(|(code, _)| *code)
}

/// The slot of a digit in the upper row.
pub fn chord_digit(code: u32) -> Option<Slot> {
    (ONE..=NINE).contains(&code).then(|| Slot::new(i64::from(code - ONE + 1))).flatten()
}

/// The keypad's digits, KEY_KP0 to KEY_KP9.
const KEYPAD: [u32; 10] = [82, 79, 80, 81, 75, 76, 77, 71, 72, 73];

/// The digit, 0 to 9, that is printed on a key of the upper row or of the keypad, on a keyboard of any layout.
pub fn digit(code: u32) -> Option<u8> {
    let upper = match code {
        ONE..=NINE => Some(code - ONE + 1),
        ZERO => Some(0),
        _ => None,
    };
    let keypad = || (0..).zip(KEYPAD).find(|(_, key)| *key == code).map(|(digit, _)| digit);
    u8::try_from(upper.or_else(keypad)?).ok()
}

/// Whether the key is one that a person types words and answers with: a letter, Enter, Escape. Mice send digits, too.
pub fn is_typed(code: u32) -> bool {
    [ESC, ENTER].contains(&code) || LETTERS.iter().any(|(letter, _)| *letter == code)
}

/// The number of a function key, 1 to 12.
pub fn function_key(code: u32) -> Option<u8> {
    let number = match code {
        F1..=F10 => code - F1 + 1,
        F11 => 11,
        F12 => 12,
        _ => return None,
    };
    u8::try_from(number).ok()
}

/// The button of a mouse that a button of a pen, or of a mouse on a graphics tablet, stands for.
pub fn button_of_pen(code: u32) -> Option<u32> {
    match code {
        BTN_STYLUS => Some(BTN_RIGHT),
        BTN_STYLUS2 => Some(BTN_MIDDLE),
        BTN_LEFT..=BTN_TASK => Some(code),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn function_keys_are_numbered_as_they_are_printed() {
        let numbers: Vec<_> = (0..=LAST).filter_map(function_key).collect();
        assert_eq!(numbers, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
        assert_eq!((function_key(59), function_key(68), function_key(88)), (Some(1), Some(10), Some(12)));
    }

    #[test]
    fn every_digit_has_a_key_in_the_upper_row_and_one_on_the_keypad() {
        let keys = |wanted: u8| (0..=LAST).filter(|code| digit(*code) == Some(wanted)).collect::<Vec<_>>();
        assert_eq!([0, 1, 7, 9].map(keys), [[11, 82], [2, 79], [8, 71], [10, 73]].map(Vec::from));
        assert!((0..10).all(|digit| keys(digit).len() == 2));
        assert_eq!([Y, ESC, ENTER, ONE, LEFT_SHIFT, UP].map(is_typed), [true, true, true, false, false, false]);
    }

    #[test]
    fn every_letter_has_a_key_of_its_own() {
        let codes: std::collections::BTreeSet<_> = ('a'..='z').filter_map(letter).collect();
        assert_eq!((codes.len(), letter('K'), letter('ö')), (26, Some(K), None));
    }

    #[test]
    fn a_pen_has_a_right_and_a_middle_button_and_its_other_keys_press_nothing() {
        assert_eq!([0x14b, 0x14c, 0x110, 0x140].map(button_of_pen), [Some(0x111), Some(0x112), Some(0x110), None]);
    }
}
