//! `[chords]` of `shell.toml`: which keys ask the shell for what.
//!
//! Keys are places on the keyboard, by evdev's names, whatever a layout prints on them. A chord begins with the host
//! key or with Ctrl and Alt, so that none takes ordinary typing from a guest; no two have the same keys; and the list
//! of guests, which is the way out of everything, always has some. Defaults count in all of this.

use crate::ConfigError;
use crate::document::{Table, Value};
use phyllome_protocol::keys;

pub use phyllome_trusted::chord_keys::{Begins, ChordConfig, ChordName, HostKey, HostPart, Keys, NAMES};

/// The keys of the table: the host key's, and every chord's.
const KNOWN: [&str; NAMES.len() + 1] = {
    let mut known = ["host"; NAMES.len() + 1];
    let mut at = 0;
    while at < NAMES.len() {
        known[at + 1] = NAMES[at].0;
        at += 1;
    }
    known
};
const PARTS: [(&str, HostPart); 8] = [
    ("super", HostPart::Super),
    ("ctrl", HostPart::Ctrl),
    ("leftctrl", HostPart::LeftCtrl),
    ("rightctrl", HostPart::RightCtrl),
    ("alt", HostPart::Alt),
    ("leftalt", HostPart::LeftAlt),
    ("rightalt", HostPart::RightAlt),
    ("menu", HostPart::Menu),
];
const HOSTS: &str = "\"super\", \"rightctrl\", \"menu\", or two of super, ctrl, alt, menu, leftctrl, rightctrl, leftalt and \
                     rightalt, such as \"leftctrl+leftalt\"";
const CHORDS: &str = "host, or ctrl+alt, then shift or not, then a key by evdev's name, such as \"host+escape\" or \
                      \"ctrl+alt+shift+p\"";

/// KEY_LEFTCTRL, KEY_LEFTSHIFT, KEY_RIGHTSHIFT, KEY_LEFTALT, KEY_RIGHTCTRL, KEY_RIGHTALT, KEY_LEFTMETA, KEY_RIGHTMETA.
const MODIFIERS: [u32; 8] = [29, 42, 54, 56, 97, 100, 125, 126];
/// KEY_MUTE, KEY_VOLUMEDOWN, KEY_VOLUMEUP, KEY_POWER, KEY_SLEEP, KEY_WAKEUP, KEY_SUSPEND, KEY_BRIGHTNESSDOWN,
/// KEY_BRIGHTNESSUP, KEY_BLUETOOTH, KEY_WLAN, KEY_RFKILL, KEY_MICMUTE: the computer's own, which no chord gets.
const OF_COMPUTER: [u32; 13] = [113, 114, 115, 116, 142, 143, 205, 224, 225, 237, 238, 247, 248];
/// KEY_MAX.
const LAST: u32 = 0x2ff;

/// Decodes `[chords]`.
pub(crate) fn decode(root: &Table) -> Result<ChordConfig, ConfigError> {
    let Some(table) = root.table("chords", &KNOWN)? else { return Ok(ChordConfig::default()) };
    let host = table.get("host").map(|value| host(&value)).transpose()?;
    let host = host.unwrap_or(ChordConfig::default().host);
    let mut chords: Vec<(ChordName, Keys)> = Vec::new();
    let mut said: Vec<Option<Value>> = Vec::new();
    for (word, name) in NAMES {
        let value = table.get(word);
        let keys = match &value {
            Some(value) => match chord(value, name, &host)? {
                Some(keys) => keys,
                None => continue,
            },
            None => name.default_keys(),
        };
        let same = |other: &Keys| {
            (other.shift, other.code) == (keys.shift, keys.code) && (other.begins == keys.begins || host.is_ctrl_alt())
        };
        if let Some(at) = chords.iter().position(|(_, other)| same(other)) {
            let other = chords.get(at).map_or("", |(name, _)| name.word());
            // A default is nobody's mistake: the one that was written is told.
            let (told, taken) = match (&value, said.get(at).and_then(Option::as_ref)) {
                (Some(value), _) => (value, other),
                (None, Some(value)) => (value, word),
                (None, None) => continue,
            };
            let way_out = if taken == "panel" {
                "give panel others".to_owned()
            } else {
                format!("give {taken} others, or none with {taken} = \"none\"")
            };
            let shown = keys.text(&host);
            return Err(told.bad(format!("{shown} is that of {taken} already; use other keys, or {way_out}")));
        }
        chords.push((name, keys));
        said.push(value);
    }
    Ok(ChordConfig { host, chords })
}

fn host(value: &Value) -> Result<HostKey, ConfigError> {
    let text = value.string(HOSTS)?;
    let refused = || value.unknown_word(text, HOSTS);
    let part = |word: &str| {
        let word = if word == "compose" { "menu" } else { word };
        PARTS.iter().find(|(known, _)| *known == word).map(|(_, part)| *part).ok_or_else(refused)
    };
    match text.split_once('+') {
        Some((first, second)) => {
            let (first, second) = (part(first)?, part(second)?);
            if first.overlaps(second) {
                return Err(value.bad(format!("“{text}” is one key twice; use {HOSTS}")));
            }
            Ok(HostKey { first, second: Some(second) })
        }
        None => match part(text)? {
            first @ (HostPart::Super | HostPart::RightCtrl | HostPart::Menu) => Ok(HostKey { first, second: None }),
            HostPart::Ctrl | HostPart::LeftCtrl | HostPart::Alt | HostPart::LeftAlt | HostPart::RightAlt => {
                Err(value.bad(format!("“{text}” alone is a key that guests need for typing; use {HOSTS}")))
            }
        },
    }
}

/// The keys of one chord; `None`: it has none.
fn chord(value: &Value, name: ChordName, host: &HostKey) -> Result<Option<Keys>, ConfigError> {
    let text = value.string(CHORDS)?;
    if text == "none" {
        let must = "the list of guests is the way out of everything and must have keys";
        return if name == ChordName::Panel { Err(value.bad(format!("{must}; use {CHORDS}"))) } else { Ok(None) };
    }
    let (held, key) = text.rsplit_once('+').unwrap_or(("", text));
    let code = keys::code_from_name(key).filter(|code| *code <= LAST);
    let code = code.ok_or_else(|| value.bad(format!("{}; write {CHORDS}", keys::unknown(key))))?;
    if MODIFIERS.contains(&code) || host.has(code) {
        return Err(value.bad(format!("“{text}” ends with a key that is only held; use {CHORDS}")));
    }
    if OF_COMPUTER.contains(&code) {
        return Err(value.bad(format!("“{text}” ends with a key of the computer's own; use {CHORDS}")));
    }
    let (held, shift) = match held.strip_suffix("shift") {
        Some(rest) => (rest.strip_suffix('+').unwrap_or(rest), true),
        None => (held, false),
    };
    let own = host.text().to_ascii_lowercase().replace(' ', "");
    let begins = match held {
        "host" => Begins::Host,
        _ if held == own => Begins::Host,
        "ctrl+alt" | "alt+ctrl" => Begins::CtrlAlt,
        "super" => return Err(value.bad(format!("the host key is not Super but {}; use {CHORDS}", host.text()))),
        _ => {
            return Err(value.bad(format!("“{text}” would take ordinary typing away from guests; use {CHORDS}")));
        }
    };
    let keys = Keys { begins, shift, code };
    if begins == Begins::CtrlAlt && name.chooses() {
        let why = "the release of the host key chooses the guest; use host+…";
        return Err(value.bad(format!("“{text}” does not begin with the host key, and {why}")));
    }
    // KEY_F1 to KEY_F10, KEY_F11, KEY_F12.
    let function_key = matches!(code, 59..=68 | 87 | 88);
    if function_key && (begins == Begins::CtrlAlt || host.is_ctrl_alt()) {
        return Err(value.bad(format!("{} is another virtual terminal; use {CHORDS}", keys.text(host))));
    }
    Ok(Some(keys))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::Source;
    use std::path::Path;

    fn read(text: &str) -> Result<ChordConfig, String> {
        let text = format!("[chords]\n{text}");
        let source = Source { path: Path::new("shell.toml"), guest: None, text: &text };
        let document = source.parse().unwrap();
        decode(&source.root(&document, &["chords"]).unwrap()).map_err(|error| error.to_string())
    }

    fn text(config: &ChordConfig, name: ChordName) -> Option<String> {
        config.chords.iter().find(|(other, _)| *other == name).map(|(_, keys)| keys.text(&config.host))
    }

    #[test]
    fn without_the_table_chords_are_those_of_super() {
        let config = read("").unwrap();
        assert_eq!(config, ChordConfig::default());
        let names = [ChordName::Slot(9), ChordName::Next, ChordName::Previous, ChordName::Panel];
        let texts = names.map(|name| text(&config, name).unwrap());
        assert_eq!(texts, ["Super+9", "Super+Tab", "Super+Shift+Tab", "Super+Escape"]);
    }

    #[test]
    fn another_host_key_takes_all_chords_along_and_single_ones_can_be_given_keys_or_none() {
        let hosts = [("rightctrl", "Right Ctrl"), ("menu", "Menu"), ("compose", "Menu"), ("ctrl+alt", "Ctrl+Alt")];
        for (host, shown) in hosts.into_iter().chain([("leftctrl+super", "Left Ctrl+Super")]) {
            let config = read(&format!("host = \"{host}\"")).unwrap();
            assert_eq!(text(&config, ChordName::Panel), Some(format!("{shown}+Escape")));
        }
        let config = read(
            "host = \"rightctrl\"\npanel = \"ctrl+alt+shift+p\"\nnext = \"rightctrl+n\"\nslot_3 = \"host+f3\"\nslot_4 = \"none\"",
        )
        .unwrap();
        let names = [ChordName::Panel, ChordName::Next, ChordName::Slot(3), ChordName::Slot(4)];
        let texts = names.map(|name| text(&config, name).unwrap_or_default());
        assert_eq!(texts, ["Ctrl+Alt+Shift+P", "Right Ctrl+N", "Right Ctrl+F3", ""]);
    }

    #[test]
    fn what_is_no_chord_is_said_with_what_is_allowed() {
        for (text, wanted) in [
            (
                "panel = \"none\"",
                "line 2, chords.panel: the list of guests is the way out of everything and must have keys",
            ),
            (
                "panel = \"escape\"",
                "line 2, chords.panel: “escape” would take ordinary typing away from guests; use host, or",
            ),
            ("panel = \"shift+a\"", "line 2, chords.panel: “shift+a” would take ordinary typing away"),
            ("panel = \"ctrl+c\"", "line 2, chords.panel: “ctrl+c” would take ordinary typing away"),
            ("panel = \"host+warp\"", "line 2, chords.panel: there is no key “warp”"),
            ("panel = \"host+\"", "line 2, chords.panel: there is no key “”"),
            ("panel = \"host+leftshift\"", "line 2, chords.panel: “host+leftshift” ends with a key that is only held"),
            ("panel = \"host+power\"", "line 2, chords.panel: “host+power” ends with a key of the computer's own"),
            ("panel = \"host+mute\"", "line 2, chords.panel: “host+mute” ends with a key of the computer's own"),
            ("host = \"menu\"\npanel = \"super+escape\"", "line 3, chords.panel: the host key is not Super but Menu"),
            (
                "host = \"menu\"\npanel = \"ctrl+alt+compose\"",
                "line 3, chords.panel: “ctrl+alt+compose” ends with a key that",
            ),
            ("next = \"ctrl+alt+tab\"", "line 2, chords.next: “ctrl+alt+tab” does not begin with the host key"),
            ("panel = \"ctrl+alt+f2\"", "line 2, chords.panel: Ctrl+Alt+F2 is another virtual terminal"),
            (
                "host = \"ctrl+alt\"\npanel = \"host+f2\"",
                "line 3, chords.panel: Ctrl+Alt+F2 is another virtual terminal",
            ),
            (
                "host = \"leftctrl\"",
                "line 2, chords.host: “leftctrl” alone is a key that guests need for typing; use \"super\"",
            ),
            (
                "host = \"a\"",
                "line 2, chords.host: “a” is not possible; use \"super\", \"rightctrl\", \"menu\", or two of",
            ),
            ("host = \"ctrl+leftctrl\"", "line 2, chords.host: “ctrl+leftctrl” is one key twice"),
            ("host = \"super+super\"", "line 2, chords.host: “super+super” is one key twice"),
            (
                "lock = \"host+l\"",
                "line 2, chords.lock: this key is unknown; allowed here: host, slot_1, slot_2, slot_3,",
            ),
            ("panel = 1", "line 2, chords.panel: this is an integer; use host, or ctrl+alt, then shift or not"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.starts_with(&format!("shell.toml, {wanted}")), "{text}: {error}");
        }
    }

    #[test]
    fn two_chords_never_have_the_same_keys_defaults_included() {
        let error = |text| read(text).unwrap_err();
        assert_eq!(
            error("panel = \"host+1\""),
            "shell.toml, line 2, chords.panel: Super+1 is that of slot_1 already; use other keys, or give slot_1 others, or \
             none with slot_1 = \"none\""
        );
        assert_eq!(
            error("slot_2 = \"host+escape\""),
            "shell.toml, line 2, chords.slot_2: Super+Escape is that of panel already; use other keys, or give panel others"
        );
        assert!(
            error("next = \"host+n\"\nprevious = \"host+n\"")
                .contains("line 3, chords.previous: Super+N is that of next")
        );
        let both = "host = \"ctrl+alt\"\nnext = \"host+n\"\npanel = \"ctrl+alt+n\"";
        assert!(error(both).contains("line 4, chords.panel: Ctrl+Alt+N is that of next already"));
        assert!(read("next = \"host+n\"\nprevious = \"host+shift+n\"\npanel = \"ctrl+alt+n\"").is_ok());
        assert!(read("slot_1 = \"none\"\npanel = \"host+1\"").is_ok());
    }
}
