//! evdev's key codes in QEMU's words (QAPI `QKeyCode` and `InputButton`).
//!
//! Pure. Complete for all that QEMU knows; a key that QEMU does not know has no word and goes nowhere.

use evdev::KeyCode as K;

/// QEMU's word for a key of a keyboard.
pub fn qcode(code: u32) -> Option<&'static str> {
    let key = K::new(u16::try_from(code).ok()?);
    Some(match key {
        K::KEY_ESC => "esc",
        K::KEY_1 => "1",
        K::KEY_2 => "2",
        K::KEY_3 => "3",
        K::KEY_4 => "4",
        K::KEY_5 => "5",
        K::KEY_6 => "6",
        K::KEY_7 => "7",
        K::KEY_8 => "8",
        K::KEY_9 => "9",
        K::KEY_0 => "0",
        K::KEY_MINUS => "minus",
        K::KEY_EQUAL => "equal",
        K::KEY_BACKSPACE => "backspace",
        K::KEY_TAB => "tab",
        K::KEY_Q => "q",
        K::KEY_W => "w",
        K::KEY_E => "e",
        K::KEY_R => "r",
        K::KEY_T => "t",
        K::KEY_Y => "y",
        K::KEY_U => "u",
        K::KEY_I => "i",
        K::KEY_O => "o",
        K::KEY_P => "p",
        K::KEY_LEFTBRACE => "bracket_left",
        K::KEY_RIGHTBRACE => "bracket_right",
        K::KEY_ENTER => "ret",
        K::KEY_LEFTCTRL => "ctrl",
        K::KEY_A => "a",
        K::KEY_S => "s",
        K::KEY_D => "d",
        K::KEY_F => "f",
        K::KEY_G => "g",
        K::KEY_H => "h",
        K::KEY_J => "j",
        K::KEY_K => "k",
        K::KEY_L => "l",
        K::KEY_SEMICOLON => "semicolon",
        K::KEY_APOSTROPHE => "apostrophe",
        K::KEY_GRAVE => "grave_accent",
        K::KEY_LEFTSHIFT => "shift",
        K::KEY_BACKSLASH => "backslash",
        K::KEY_Z => "z",
        K::KEY_X => "x",
        K::KEY_C => "c",
        K::KEY_V => "v",
        K::KEY_B => "b",
        K::KEY_N => "n",
        K::KEY_M => "m",
        K::KEY_COMMA => "comma",
        K::KEY_DOT => "dot",
        K::KEY_SLASH => "slash",
        K::KEY_RIGHTSHIFT => "shift_r",
        K::KEY_KPASTERISK => "kp_multiply",
        K::KEY_LEFTALT => "alt",
        K::KEY_SPACE => "spc",
        K::KEY_CAPSLOCK => "caps_lock",
        K::KEY_F1 => "f1",
        K::KEY_F2 => "f2",
        K::KEY_F3 => "f3",
        K::KEY_F4 => "f4",
        K::KEY_F5 => "f5",
        K::KEY_F6 => "f6",
        K::KEY_F7 => "f7",
        K::KEY_F8 => "f8",
        K::KEY_F9 => "f9",
        K::KEY_F10 => "f10",
        K::KEY_F11 => "f11",
        K::KEY_F12 => "f12",
        K::KEY_F13 => "f13",
        K::KEY_F14 => "f14",
        K::KEY_F15 => "f15",
        K::KEY_F16 => "f16",
        K::KEY_F17 => "f17",
        K::KEY_F18 => "f18",
        K::KEY_F19 => "f19",
        K::KEY_F20 => "f20",
        K::KEY_F21 => "f21",
        K::KEY_F22 => "f22",
        K::KEY_F23 => "f23",
        K::KEY_F24 => "f24",
        K::KEY_NUMLOCK => "num_lock",
        K::KEY_SCROLLLOCK => "scroll_lock",
        K::KEY_KP0 => "kp_0",
        K::KEY_KP1 => "kp_1",
        K::KEY_KP2 => "kp_2",
        K::KEY_KP3 => "kp_3",
        K::KEY_KP4 => "kp_4",
        K::KEY_KP5 => "kp_5",
        K::KEY_KP6 => "kp_6",
        K::KEY_KP7 => "kp_7",
        K::KEY_KP8 => "kp_8",
        K::KEY_KP9 => "kp_9",
        K::KEY_KPMINUS => "kp_subtract",
        K::KEY_KPPLUS => "kp_add",
        K::KEY_KPDOT => "kp_decimal",
        K::KEY_KPENTER => "kp_enter",
        K::KEY_KPSLASH => "kp_divide",
        K::KEY_KPEQUAL => "kp_equals",
        K::KEY_KPCOMMA => "kp_comma",
        K::KEY_102ND => "less",
        K::KEY_RO => "ro",
        K::KEY_HIRAGANA => "hiragana",
        K::KEY_HENKAN => "henkan",
        K::KEY_KATAKANAHIRAGANA => "katakanahiragana",
        K::KEY_MUHENKAN => "muhenkan",
        K::KEY_YEN => "yen",
        K::KEY_HANGEUL => "lang1",
        K::KEY_HANJA => "lang2",
        K::KEY_RIGHTCTRL => "ctrl_r",
        // QEMU's `sysrq` is the same key with Alt held, which its keyboards work out themselves.
        K::KEY_SYSRQ => "print",
        K::KEY_RIGHTALT => "alt_r",
        K::KEY_LINEFEED => "lf",
        K::KEY_HOME => "home",
        K::KEY_UP => "up",
        K::KEY_PAGEUP => "pgup",
        K::KEY_LEFT => "left",
        K::KEY_RIGHT => "right",
        K::KEY_END => "end",
        K::KEY_DOWN => "down",
        K::KEY_PAGEDOWN => "pgdn",
        K::KEY_INSERT => "insert",
        K::KEY_DELETE => "delete",
        K::KEY_MUTE => "audiomute",
        K::KEY_VOLUMEDOWN => "volumedown",
        K::KEY_VOLUMEUP => "volumeup",
        K::KEY_POWER => "power",
        K::KEY_PAUSE => "pause",
        K::KEY_LEFTMETA => "meta_l",
        K::KEY_RIGHTMETA => "meta_r",
        K::KEY_COMPOSE => "compose",
        K::KEY_STOP => "stop",
        K::KEY_AGAIN => "again",
        K::KEY_PROPS => "props",
        K::KEY_UNDO => "undo",
        K::KEY_FRONT => "front",
        K::KEY_COPY => "copy",
        K::KEY_OPEN => "open",
        K::KEY_PASTE => "paste",
        K::KEY_FIND => "find",
        K::KEY_CUT => "cut",
        K::KEY_HELP => "help",
        K::KEY_MENU => "menu",
        K::KEY_CALC => "calculator",
        K::KEY_SLEEP => "sleep",
        K::KEY_WAKEUP => "wake",
        K::KEY_MAIL => "mail",
        K::KEY_BOOKMARKS => "ac_bookmarks",
        K::KEY_COMPUTER => "computer",
        K::KEY_BACK => "ac_back",
        K::KEY_FORWARD => "ac_forward",
        K::KEY_NEXTSONG => "audionext",
        K::KEY_PLAYPAUSE => "audioplay",
        K::KEY_PREVIOUSSONG => "audioprev",
        K::KEY_STOPCD => "audiostop",
        K::KEY_HOMEPAGE => "ac_home",
        K::KEY_REFRESH => "ac_refresh",
        K::KEY_MEDIA => "mediaselect",
        _ => return None,
    })
}

/// QEMU's word for a pointer button.
pub fn button(code: u32) -> Option<&'static str> {
    Some(match K::new(u16::try_from(code).ok()?) {
        K::BTN_LEFT => "left",
        K::BTN_RIGHT => "right",
        K::BTN_MIDDLE => "middle",
        K::BTN_SIDE | K::BTN_BACK => "side",
        K::BTN_EXTRA | K::BTN_FORWARD => "extra",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// All values of QAPI's QKeyCode (QEMU 10.0) but `unmapped`.
    const QKEYCODES: &str = "shift shift_r alt alt_r ctrl ctrl_r menu esc 1 2 3 4 5 6 7 8 9 0 minus equal backspace tab q w e r t y \
        u i o p bracket_left bracket_right ret a s d f g h j k l semicolon apostrophe grave_accent backslash z x c v b n m comma dot \
        slash asterisk spc caps_lock f1 f2 f3 f4 f5 f6 f7 f8 f9 f10 num_lock scroll_lock kp_divide kp_multiply kp_subtract kp_add \
        kp_enter kp_decimal sysrq kp_0 kp_1 kp_2 kp_3 kp_4 kp_5 kp_6 kp_7 kp_8 kp_9 less f11 f12 print home pgup pgdn end left up \
        down right insert delete stop again props undo front copy open paste find cut lf help meta_l meta_r compose pause ro \
        hiragana henkan yen muhenkan katakanahiragana kp_comma kp_equals power sleep wake audionext audioprev audiostop audioplay \
        audiomute volumeup volumedown mediaselect mail calculator computer ac_home ac_back ac_forward ac_refresh ac_bookmarks lang1 \
        lang2 f13 f14 f15 f16 f17 f18 f19 f20 f21 f22 f23 f24";

    #[test]
    fn every_key_that_qemu_knows_has_one_code() {
        let mapped: Vec<_> = (0..0x300).filter_map(qcode).collect();
        let unique: BTreeSet<_> = mapped.iter().copied().collect();
        assert_eq!(mapped.len(), unique.len());
        // `asterisk` and `sysrq` are second words for the keys of `kp_multiply` and `print`.
        let known: BTreeSet<_> = QKEYCODES.split_whitespace().filter(|w| !["asterisk", "sysrq"].contains(w)).collect();
        assert_eq!(unique, known);
    }

    #[test]
    fn keys_and_buttons_are_apart() {
        assert_eq!((qcode(30), button(0x110)), (Some("a"), Some("left")));
        assert_eq!((qcode(0x110), button(30), qcode(u32::MAX)), (None, None, None));
    }
}
