//! Names of keys and pointer buttons: evdev's, without `KEY_`, in lower case, and a few short forms that people type.
//!
//! The names come from the evdev crate, which carries the kernel's list. A name is at most 32 bytes; any other text is
//! simply no name. Nothing here knows of keyboard layouts: a name is a place on the keyboard.

use crate::text::{REPLACEMENT, plain};
use evdev::KeyCode;
use std::str::FromStr;

/// Short forms beside evdev's own names.
const SHORT_FORMS: [(&str, KeyCode); 10] = [
    ("super", KeyCode::KEY_LEFTMETA),
    ("meta", KeyCode::KEY_LEFTMETA),
    ("ctrl", KeyCode::KEY_LEFTCTRL),
    ("shift", KeyCode::KEY_LEFTSHIFT),
    ("alt", KeyCode::KEY_LEFTALT),
    ("altgr", KeyCode::KEY_RIGHTALT),
    ("escape", KeyCode::KEY_ESC),
    ("return", KeyCode::KEY_ENTER),
    ("del", KeyCode::KEY_DELETE),
    ("ins", KeyCode::KEY_INSERT),
];

/// Pointer buttons, in evdev's words without `BTN_`.
const BUTTONS: [(&str, KeyCode); 5] = [
    ("left", KeyCode::BTN_LEFT),
    ("right", KeyCode::BTN_RIGHT),
    ("middle", KeyCode::BTN_MIDDLE),
    ("side", KeyCode::BTN_SIDE),
    ("extra", KeyCode::BTN_EXTRA),
];

/// The evdev code of a key's name, such as `a`, `leftctrl`, `f12`, `super`; `None` if there is no such key.
pub fn code_from_name(name: &str) -> Option<u32> {
    if name.is_empty() || name.len() > 32 || name.bytes().any(|b| b.is_ascii_uppercase()) {
        return None;
    }
    if let Some((_, key)) = SHORT_FORMS.iter().find(|(short, _)| *short == name) {
        return Some(u32::from(key.code()));
    }
    let key = KeyCode::from_str(&format!("KEY_{}", name.to_ascii_uppercase())).ok()?;
    (key != KeyCode::KEY_RESERVED).then(|| u32::from(key.code()))
}

/// evdev's name of a key's code; `None` for a button or a code that has no name.
pub fn name_from_code(code: u32) -> Option<String> {
    let key = KeyCode::new(u16::try_from(code).ok()?);
    let shown = format!("{key:?}");
    let name = shown.strip_prefix("KEY_")?;
    (key != KeyCode::KEY_RESERVED).then(|| name.to_ascii_lowercase())
}

/// The evdev code of a pointer button: `left`, `right`, `middle`, `side` or `extra`.
pub fn button_from_name(name: &str) -> Option<u32> {
    BUTTONS.iter().find(|(known, _)| *known == name).map(|(_, key)| u32::from(key.code()))
}

/// The codes of a combination such as `ctrl-alt-delete` or `super+2`, in the order in which they are pressed. The error
/// is one sentence that names the key that does not exist.
pub fn combination(text: &str) -> Result<Vec<u32>, String> {
    text.split(['-', '+']).map(|name| code_from_name(name).ok_or_else(|| unknown(name))).collect()
}

/// One sentence for a name that is no key.
pub fn unknown(name: &str) -> String {
    let shown = plain(name, 32, REPLACEMENT);
    format!("there is no key “{shown}”; use evdev's names in lower case, such as a, 1, enter, leftctrl, f12 or super")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_kernel() {
        for (name, code) in [("a", 30), ("leftctrl", 29), ("leftmeta", 125), ("f12", 88), ("delete", 111), ("1", 2)] {
            assert_eq!(code_from_name(name), Some(code), "{name}");
            assert_eq!(name_from_code(code).as_deref(), Some(name));
        }
    }

    #[test]
    fn short_forms_mean_the_left_keys() {
        assert_eq!(code_from_name("super"), code_from_name("leftmeta"));
        assert_eq!(combination("ctrl-alt-delete").unwrap(), [29, 56, 111]);
        assert_eq!(combination("super+2").unwrap(), [125, 3]);
    }

    #[test]
    fn every_name_leads_back_to_its_code() {
        let named = (0..0x300).filter_map(|code| Some((code, name_from_code(code)?)));
        let mut count = 0;
        for (code, name) in named {
            assert_eq!(code_from_name(&name), Some(code), "{name}");
            count += 1;
        }
        assert!(count > 300, "{count}");
    }

    #[test]
    fn other_text_is_no_key() {
        let long = "a".repeat(33);
        for bad in ["", "A", "reserved", "KEY_A", "left ctrl", "ä", "btn_left", "unknown key: 3", long.as_str()] {
            assert_eq!(code_from_name(bad), None, "{bad}");
        }
        assert_eq!(name_from_code(u32::MAX), None);
        assert_eq!(name_from_code(0x110), None);
        assert!(combination("ctrl--a").unwrap_err().contains("there is no key"));
    }

    #[test]
    fn buttons_have_names_of_their_own() {
        assert_eq!(button_from_name("left"), Some(0x110));
        assert_eq!(button_from_name("delete"), None);
    }
}
