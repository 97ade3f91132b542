//! QEMU's words for keys and buttons as evdev codes, and what typed keys spell on a US keyboard.
//!
//! Pure. Most of QEMU's words are evdev's names; the table has those that differ.

use phyllome_protocol::keys;

/// QEMU's word and evdev's name, where they differ.
const DIFFERENT: &[(&str, &str)] = &[
    ("ctrl", "leftctrl"),
    ("ctrl_r", "rightctrl"),
    ("shift", "leftshift"),
    ("shift_r", "rightshift"),
    ("alt", "leftalt"),
    ("alt_r", "rightalt"),
    ("meta_l", "leftmeta"),
    ("meta_r", "rightmeta"),
    ("ret", "enter"),
    ("spc", "space"),
    ("bracket_left", "leftbrace"),
    ("bracket_right", "rightbrace"),
    ("grave_accent", "grave"),
    ("caps_lock", "capslock"),
    ("num_lock", "numlock"),
    ("scroll_lock", "scrolllock"),
    ("kp_multiply", "kpasterisk"),
    ("kp_subtract", "kpminus"),
    ("kp_add", "kpplus"),
    ("kp_decimal", "kpdot"),
    ("kp_divide", "kpslash"),
    ("kp_equals", "kpequal"),
    ("less", "102nd"),
    ("print", "sysrq"),
    ("pgup", "pageup"),
    ("pgdn", "pagedown"),
    ("audiomute", "mute"),
    ("wake", "wakeup"),
    ("lf", "linefeed"),
    ("calculator", "calc"),
    ("lang1", "hangeul"),
    ("lang2", "hanja"),
    ("ac_bookmarks", "bookmarks"),
    ("ac_back", "back"),
    ("ac_forward", "forward"),
    ("ac_home", "homepage"),
    ("ac_refresh", "refresh"),
    ("audionext", "nextsong"),
    ("audioprev", "previoussong"),
    ("audioplay", "playpause"),
    ("audiostop", "stopcd"),
    ("mediaselect", "media"),
];

/// The evdev code of QEMU's word for a key.
pub fn code(qcode: &str) -> Option<u32> {
    let name = DIFFERENT.iter().find(|(word, _)| *word == qcode).map(|(_, name)| *name);
    match (name, qcode.strip_prefix("kp_")) {
        (Some(name), _) => keys::code_from_name(name),
        (None, Some(rest)) => keys::code_from_name(&format!("kp{rest}")),
        (None, None) => keys::code_from_name(qcode),
    }
}

/// The lines that the tiny guests print for a button: `EV key 272 1`, or `EV rel 8 -1` for a notch of the wheel.
pub fn button_line(word: &str, down: bool) -> Option<String> {
    let notch = match word {
        "wheel-up" => Some((8, 1)),
        "wheel-down" => Some((8, -1)),
        "wheel-left" => Some((6, -1)),
        "wheel-right" => Some((6, 1)),
        _ => None,
    };
    match notch {
        Some((axis, value)) => down.then(|| format!("EV rel {axis} {value}")),
        None => keys::button_from_name(word).map(|code| format!("EV key {code} {}", u8::from(down))),
    }
}

/// The bit of QEMU's lights that a key switches.
pub fn light(qcode: &str) -> u32 {
    match qcode {
        "scroll_lock" => 1,
        "num_lock" => 2,
        "caps_lock" => 4,
        _ => 0,
    }
}

/// What is typed, line by line.
#[derive(Debug, Default)]
pub struct Typist {
    line: String,
    shift: bool,
}

impl Typist {
    /// Takes a key; gives a line when Enter ends it.
    pub fn key(&mut self, qcode: &str, down: bool) -> Option<String> {
        match qcode {
            "shift" | "shift_r" => self.shift = down,
            "ret" | "kp_enter" if down => return Some(std::mem::take(&mut self.line)),
            "backspace" if down => drop(self.line.pop()),
            _ if down && self.line.len() < 200 => self.line.extend(self.letter(qcode)),
            _ => {}
        }
        None
    }

    fn letter(&self, qcode: &str) -> Option<char> {
        let (plain, shifted) = match qcode {
            "spc" => (' ', ' '),
            "minus" => ('-', '_'),
            "equal" => ('=', '+'),
            "dot" => ('.', '>'),
            "comma" => (',', '<'),
            "slash" => ('/', '?'),
            "semicolon" => (';', ':'),
            "apostrophe" => ('\'', '"'),
            _ => {
                let letter = qcode.chars().next().filter(|c| qcode.len() == 1 && c.is_ascii_alphanumeric())?;
                let symbols = [')', '!', '@', '#', '$', '%', '^', '&', '*', '('];
                let digit = letter.to_digit(10).and_then(|digit| symbols.get(digit as usize));
                (letter, digit.copied().unwrap_or(letter.to_ascii_uppercase()))
            }
        };
        Some(if self.shift { shifted } else { plain })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_of_the_table_has_a_code() {
        for (word, name) in DIFFERENT {
            assert!(code(word).is_some(), "{word} {name}");
        }
        for (word, evdev) in [("a", 30), ("1", 2), ("f12", 88), ("kp_0", 82), ("kp_enter", 96), ("up", 103)] {
            assert_eq!(code(word), Some(evdev), "{word}");
        }
    }

    #[test]
    fn what_is_typed_becomes_a_line() {
        let mut typist = Typist::default();
        let mut tap = |word: &str| [typist.key(word, true), typist.key(word, false)].into_iter().flatten().next();
        for word in ["h", "i", "spc", "2", "x", "backspace"] {
            assert_eq!(tap(word), None);
        }
        assert_eq!(tap("ret").as_deref(), Some("hi 2"));
        typist.key("shift", true);
        typist.key("h", true);
        typist.key("minus", true);
        assert_eq!(typist.key("ret", true).as_deref(), Some("H_"));
    }

    #[test]
    fn a_notch_is_one_line_and_a_button_two() {
        assert_eq!(button_line("wheel-up", true).as_deref(), Some("EV rel 8 1"));
        assert_eq!(button_line("wheel-up", false), None);
        assert_eq!(button_line("left", false).as_deref(), Some("EV key 272 0"));
    }
}
