//! Keys by the names that people use, and the keys that type a text on a US keyboard; QEMU's names ("QKeyCode") are the
//! result.

use anyhow::{Context, Result};

/// QEMU's name of a key; QEMU's own names are taken as they are.
pub fn code(name: &str) -> String {
    let name = name.to_lowercase();
    match name.as_str() {
        "enter" | "return" => "ret".to_owned(),
        "space" => "spc".to_owned(),
        "super" | "logo" | "meta" => "meta_l".to_owned(),
        "escape" => "esc".to_owned(),
        "pageup" => "pgup".to_owned(),
        "pagedown" => "pgdn".to_owned(),
        "capslock" => "caps_lock".to_owned(),
        _ => name,
    }
}

/// The keys of one character, to be held together.
pub fn of_character(character: char) -> Result<Vec<String>> {
    const PLAIN: &str = "`-=[]\\;',./ \n\t";
    const SHIFTED: &str = "~_+{}|:\"<>?";
    const NAMES: [&str; 14] = [
        "grave_accent",
        "minus",
        "equal",
        "bracket_left",
        "bracket_right",
        "backslash",
        "semicolon",
        "apostrophe",
        "comma",
        "dot",
        "slash",
        "spc",
        "ret",
        "tab",
    ];
    const DIGITS: &str = ")!@#$%^&*(";
    let place = |text: &str| text.chars().position(|other| other == character);
    let shift = |key: String| vec!["shift".to_owned(), key];
    let key = if character.is_ascii_lowercase() || character.is_ascii_digit() {
        vec![character.to_string()]
    } else if character.is_ascii_uppercase() {
        shift(character.to_ascii_lowercase().to_string())
    } else if let Some(digit) = place(DIGITS) {
        shift(digit.to_string())
    } else if let Some(name) = place(PLAIN).and_then(|at| NAMES.get(at)) {
        vec![(*name).to_owned()]
    } else if let Some(name) = place(SHIFTED).and_then(|at| NAMES.get(at)) {
        shift((*name).to_owned())
    } else {
        return None.with_context(|| format!("a US keyboard has no key for {character:?}"));
    };
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_have_their_keys() {
        assert_eq!(of_character('a').unwrap(), ["a"]);
        assert_eq!(of_character('A').unwrap(), ["shift", "a"]);
        assert_eq!(of_character('!').unwrap(), ["shift", "1"]);
        assert_eq!(of_character(')').unwrap(), ["shift", "0"]);
        assert_eq!(of_character('|').unwrap(), ["shift", "backslash"]);
        assert_eq!(of_character('?').unwrap(), ["shift", "slash"]);
        assert_eq!(of_character('\n').unwrap(), ["ret"]);
        assert!(of_character('é').is_err());
    }

    #[test]
    fn people_say_super() {
        assert_eq!(code("Super"), "meta_l");
        assert_eq!(code("F2"), "f2");
    }
}
