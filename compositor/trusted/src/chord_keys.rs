//! Which keys ask the shell for what: the values that `[chords]` of `shell.toml` sets, with their defaults and the
//! words that people read of them.
//!
//! Keys are places on the keyboard, by evdev's codes, whatever a layout prints on them. Whether a table makes sense
//! (no keys twice, the list of guests always has some) is for those to check who read it from a file; what follows from
//! a press is [`crate::chords`]'s.

use crate::codes::{ESC, ONE, TAB};
use phyllome_protocol::keys;

/// What a chord is called in the file, for all but virtual terminals, whose keys are fixed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChordName {
    /// `slot_1` to `slot_9`: the guest in that slot.
    Slot(u8),
    /// `next`: the next running guest.
    Next,
    /// `previous`: the one before.
    Previous,
    /// `panel`: the list of guests, and back.
    Panel,
    /// `awake`: displays stay on without input until the screen is locked; again: they do not.
    Awake,
}

/// A key that is held for the sake of a chord.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are those of the keys")]
pub enum HostPart {
    Super,
    Ctrl,
    LeftCtrl,
    RightCtrl,
    Alt,
    LeftAlt,
    RightAlt,
    Menu,
}

/// `host`: the key, or the two keys, that most chords begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostKey {
    /// The key.
    pub first: HostPart,
    /// The other one that has to be down as well.
    pub second: Option<HostPart>,
}

/// What a chord begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begins {
    /// The host key.
    Host,
    /// Ctrl and Alt, on whichever side.
    CtrlAlt,
}

/// The keys of one chord.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keys {
    /// What is held.
    pub begins: Begins,
    /// Shift is held too. A chord without it is made with Shift as well, unless another has those keys.
    pub shift: bool,
    /// evdev code of the key that makes it.
    pub code: u32,
}

/// `[chords]`, with defaults filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChordConfig {
    /// `host`.
    pub host: HostKey,
    /// The chords that have keys, in the order in which people are told of them. One of them is the panel's.
    pub chords: Vec<(ChordName, Keys)>,
}

/// The word of each chord in the file.
pub const NAMES: [(&str, ChordName); 13] = [
    ("slot_1", ChordName::Slot(1)),
    ("slot_2", ChordName::Slot(2)),
    ("slot_3", ChordName::Slot(3)),
    ("slot_4", ChordName::Slot(4)),
    ("slot_5", ChordName::Slot(5)),
    ("slot_6", ChordName::Slot(6)),
    ("slot_7", ChordName::Slot(7)),
    ("slot_8", ChordName::Slot(8)),
    ("slot_9", ChordName::Slot(9)),
    ("next", ChordName::Next),
    ("previous", ChordName::Previous),
    ("panel", ChordName::Panel),
    ("awake", ChordName::Awake),
];

/// KEY_A.
const A: u32 = 30;

impl HostPart {
    /// evdev codes of the keys that are it.
    pub fn codes(self) -> &'static [u32] {
        match self {
            Self::Super => &[125, 126],
            Self::Ctrl => &[29, 97],
            Self::LeftCtrl => &[29],
            Self::RightCtrl => &[97],
            Self::Alt => &[56, 100],
            Self::LeftAlt => &[56],
            Self::RightAlt => &[100],
            // KEY_COMPOSE, which keyboards have as the menu key.
            Self::Menu => &[127],
        }
    }

    /// What is printed on it.
    fn text(self) -> &'static str {
        match self {
            Self::Super => "Super",
            Self::Ctrl => "Ctrl",
            Self::LeftCtrl => "Left Ctrl",
            Self::RightCtrl => "Right Ctrl",
            Self::Alt => "Alt",
            Self::LeftAlt => "Left Alt",
            Self::RightAlt => "Right Alt",
            Self::Menu => "Menu",
        }
    }

    /// Whether a key is both.
    pub fn overlaps(self, other: Self) -> bool {
        self.codes().iter().any(|code| other.codes().contains(code))
    }
}

impl HostKey {
    /// Both parts, or the one that there is.
    pub fn parts(&self) -> impl Iterator<Item = HostPart> + use<> {
        std::iter::once(self.first).chain(self.second)
    }

    /// What is printed on it, such as “Super” or “Ctrl+Alt”.
    pub fn text(&self) -> String {
        self.parts().map(HostPart::text).collect::<Vec<_>>().join("+")
    }

    /// Whether this key (evdev code) is a part of it.
    pub fn has(&self, code: u32) -> bool {
        self.parts().any(|part| part.codes().contains(&code))
    }

    /// Whether what begins with Ctrl and Alt begins with it as well.
    pub fn is_ctrl_alt(&self) -> bool {
        self.parts().all(|part| part.overlaps(HostPart::Ctrl) || part.overlaps(HostPart::Alt))
            && self.parts().any(|part| part.overlaps(HostPart::Ctrl))
            && self.parts().any(|part| part.overlaps(HostPart::Alt))
    }
}

impl Keys {
    /// The keys as they are written for people, such as “Super+Escape”.
    pub fn text(&self, host: &HostKey) -> String {
        let begins = match self.begins {
            Begins::Host => host.text(),
            Begins::CtrlAlt => "Ctrl+Alt".to_owned(),
        };
        let shift = if self.shift { "+Shift" } else { "" };
        format!("{begins}{shift}+{}", key_text(self.code))
    }
}

/// What people call a key.
fn key_text(code: u32) -> String {
    let name = if code == ESC { "escape".to_owned() } else { keys::name_from_code(code).unwrap_or_default() };
    let mut letters = name.chars();
    letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect()
}

impl ChordName {
    /// Its key in the file.
    pub fn word(self) -> &'static str {
        NAMES.iter().find(|(_, name)| *name == self).map_or("", |(word, _)| word)
    }

    /// The keys that it has where nobody says others.
    pub fn default_keys(self) -> Keys {
        let (shift, code) = match self {
            Self::Slot(slot) => (false, ONE + u32::from(slot.saturating_sub(1))),
            Self::Next => (false, TAB),
            Self::Previous => (true, TAB),
            Self::Panel => (false, ESC),
            Self::Awake => (false, A),
        };
        Keys { begins: Begins::Host, shift, code }
    }

    /// Whether the host key is held over it and what is chosen counts when that is released.
    pub fn chooses(self) -> bool {
        matches!(self, Self::Next | Self::Previous)
    }
}

impl Default for ChordConfig {
    fn default() -> Self {
        let chords = NAMES.iter().map(|(_, name)| (*name, name.default_keys())).collect();
        Self { host: HostKey { first: HostPart::Super, second: None }, chords }
    }
}
