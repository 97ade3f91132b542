//! The chords: which keys make one, what it asks for, and what a person is told of it. To add one: a variant, its name
//! in [`crate::chord_keys`], and its row.
//!
//! Chords follow physical keys, whatever the layout prints on them. Which keys are whose is data, given at the start
//! ([`Chords::new`]): most are made while the host key is down, some while Ctrl and Alt are; other modifiers but Shift
//! make no difference. Virtual terminals always have Ctrl+Alt and a function key, and the panel always has some keys:
//! it is the way out. [`crate::attention`] sees to it that no part of a chord reaches a guest. Nothing here acts: a
//! chord is a [`Verb`], and whether it may be is the gate's to say ([`crate::gate`]).

use crate::chord_keys::{Begins, ChordConfig, ChordName, HostKey, Keys};
use crate::codes::function_key;
use crate::gate::Verb;
use phyllome_protocol::Slot;

/// A trusted chord.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chord {
    /// The guest in this slot: Super+1 to Super+9.
    Slot(Slot),
    /// The next guest: Super+Tab.
    Next,
    /// The one before: Super+Shift+Tab.
    Previous,
    /// The host key was released after [`Chord::Next`] or [`Chord::Previous`].
    Chosen,
    /// The list of guests: Super+Escape.
    Panel,
    /// Displays stay on, or no longer: Super+A.
    Awake,
    /// Ctrl+Alt+F1 to Ctrl+Alt+F12: the virtual terminal of this number.
    Terminal(u8),
}

/// Which keys are down that matter to chords.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Down {
    /// The host key, or both of two.
    pub host: bool,
    /// A Ctrl and an Alt key.
    pub ctrl_alt: bool,
    /// A Shift key.
    pub shift: bool,
}

/// What the keys of a person make: the table of chords.
#[derive(Clone, Debug)]
pub struct Chords {
    host: HostKey,
    rows: Vec<(Chord, Keys)>,
}

impl Default for Chords {
    fn default() -> Self {
        Self::new(&ChordConfig::default())
    }
}

impl Chords {
    /// The table of `[chords]`. What a table must not be was refused when the file was read; if it is all the same, the
    /// panel gets its own keys, and what would be chosen without a host key is left out.
    pub fn new(config: &ChordConfig) -> Self {
        let default = ChordConfig::default();
        let has_panel = config.chords.iter().any(|(name, _)| *name == ChordName::Panel);
        let config = if has_panel { config } else { &default };
        let rows = config.chords.iter().filter_map(|(name, keys)| Some((Chord::of(*name)?, *keys)));
        let rows = rows.filter(|(chord, keys)| !chord.chooses() || keys.begins == Begins::Host).collect();
        Self { host: config.host, rows }
    }

    /// Whether this key (evdev code) is the host key, or one of two.
    pub fn is_host(&self, code: u32) -> bool {
        self.host.parts().any(|part| part.codes().contains(&code))
    }

    /// Whether the host key is down, or both of two are.
    pub fn host_is_down(&self, is_down: impl Fn(u32) -> bool) -> bool {
        self.host.parts().all(|part| part.codes().iter().any(|code| is_down(*code)))
    }

    /// The chord that a press of `code` makes while these are down, and what it begins with.
    pub fn find(&self, code: u32, down: Down) -> Option<(Chord, Begins)> {
        let made = |begins| match begins {
            Begins::Host => down.host,
            Begins::CtrlAlt => down.ctrl_alt,
        };
        let terminal = function_key(code).filter(|_| down.ctrl_alt);
        let terminal = terminal.map(|number| (Chord::Terminal(number), Begins::CtrlAlt));
        let own = |shift| {
            let mut rows = self.rows.iter().filter(|(_, keys)| made(keys.begins));
            let found = rows.find(|(_, keys)| keys.code == code && keys.shift == shift);
            found.map(|(chord, keys)| (*chord, keys.begins))
        };
        terminal.or_else(|| own(down.shift)).or_else(|| own(false))
    }

    /// The keys of a chord as they are written for people; `None` if it has none.
    pub fn text(&self, chord: Chord) -> Option<String> {
        let row = self.rows.iter().find(|(other, _)| *other == chord);
        row.map(|(_, keys)| keys.text(&self.host))
    }

    /// The keys of the panel as they are written for people.
    pub fn panel(&self) -> String {
        self.text(Chord::Panel).unwrap_or_default()
    }

    /// Which keys do what, in the order in which people are told of it.
    pub fn told(&self) -> Vec<(String, &'static str)> {
        let text = |chord| self.text(chord);
        let slots: Vec<_> = (1..=9).filter_map(Slot::new).filter_map(|slot| text(Chord::Slot(slot))).collect();
        let slots = match (slots.first(), slots.last()) {
            (Some(first), Some(last)) if first != last => format!("{first} … {last}"),
            (first, _) => first.cloned().unwrap_or_default(),
        };
        let steps: Vec<_> = [Chord::Next, Chord::Previous].into_iter().filter_map(text).collect();
        let host = self.host.text();
        let rows = [
            (slots, "the guest in that slot"),
            (
                steps.join(", "),
                if host == "Super" {
                    "next, previous running guest; release Super to choose"
                } else {
                    "next, previous running guest; release the host key to choose"
                },
            ),
            (self.panel(), "the list of guests: start, stop, pause, switch"),
            (text(Chord::Awake).unwrap_or_default(), "displays stay on without input; again: they no longer do"),
            ("Ctrl+Alt+F1 … F12".to_owned(), "another virtual terminal, where the shell has the display itself"),
        ];
        rows.into_iter().filter(|(keys, _)| !keys.is_empty()).collect()
    }
}

impl Chord {
    /// The chord of this name; `None` if it is no slot.
    fn of(name: ChordName) -> Option<Self> {
        Some(match name {
            ChordName::Slot(number) => Self::Slot(Slot::new(i64::from(number))?),
            ChordName::Next => Self::Next,
            ChordName::Previous => Self::Previous,
            ChordName::Panel => Self::Panel,
            ChordName::Awake => Self::Awake,
        })
    }

    /// What it asks for.
    pub fn verb(self) -> Verb {
        match self {
            Self::Slot(slot) => Verb::ShowSlot(slot),
            Self::Next => Verb::Step { forward: true },
            Self::Previous => Verb::Step { forward: false },
            Self::Chosen => Verb::Choose,
            Self::Panel => Verb::TogglePanel,
            Self::Awake => Verb::StayAwake,
            Self::Terminal(number) => Verb::Terminal(number),
        }
    }

    /// Whether something is being chosen from now on, until the host key is released.
    pub fn chooses(self) -> bool {
        match self {
            Self::Next | Self::Previous => true,
            Self::Slot(_) | Self::Chosen | Self::Panel | Self::Awake | Self::Terminal(_) => false,
        }
    }

    /// Whether it is made again and again while its key is held.
    pub fn repeats(self) -> bool {
        self.chooses()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chord_keys::HostPart;
    use crate::codes;

    const HOST: Down = Down { host: true, ctrl_alt: false, shift: false };
    const CTRL_ALT: Down = Down { host: false, ctrl_alt: true, shift: false };

    #[test]
    fn no_key_makes_a_chord_alone() {
        for code in 0..=codes::LAST {
            for shift in [false, true] {
                assert_eq!(Chords::default().find(code, Down { shift, ..Down::default() }), None, "{code}");
            }
        }
    }

    #[test]
    fn a_chord_is_made_with_what_it_begins_with_only() {
        let chords = Chords::default();
        for (code, with, without) in
            [(codes::ESC, HOST, CTRL_ALT), (codes::ONE, HOST, CTRL_ALT), (codes::F1, CTRL_ALT, HOST)]
        {
            let begins = if with == HOST { Begins::Host } else { Begins::CtrlAlt };
            assert!(chords.find(code, with).is_some_and(|(_, with)| with == begins));
            assert_eq!(chords.find(code, without), None);
        }
    }

    #[test]
    fn shift_matters_where_another_chord_has_it_and_nowhere_else() {
        let found = |code, shift| Chords::default().find(code, Down { shift, ..HOST }).map(|(chord, _)| chord);
        assert_eq!((found(codes::TAB, false), found(codes::TAB, true)), (Some(Chord::Next), Some(Chord::Previous)));
        assert_eq!((found(codes::ESC, false), found(codes::ESC, true)), (Some(Chord::Panel), Some(Chord::Panel)));
    }

    #[test]
    fn tp08_the_panel_has_keys_whatever_the_table_says() {
        let nothing = ChordConfig { chords: Vec::new(), ..ChordConfig::default() };
        let chords = Chords::new(&nothing);
        assert_eq!(chords.find(codes::ESC, HOST), Some((Chord::Panel, Begins::Host)));
        assert_eq!(chords.panel(), "Super+Escape");
    }

    #[test]
    fn people_are_told_the_keys_that_are_set() {
        let host = HostKey { first: HostPart::RightCtrl, second: None };
        let mut config = ChordConfig { host, ..ChordConfig::default() };
        config.chords.retain(|(name, _)| !matches!(name, ChordName::Slot(2..) | ChordName::Next));
        let told = Chords::new(&config).told();
        let keys: Vec<_> = told.iter().map(|(keys, _)| keys.as_str()).collect();
        assert_eq!(
            keys,
            ["Right Ctrl+1", "Right Ctrl+Shift+Tab", "Right Ctrl+Escape", "Right Ctrl+A", "Ctrl+Alt+F1 … F12"]
        );
    }

    #[test]
    fn the_readme_has_these_chords_and_no_others() {
        let readme = include_str!("../../../README.md");
        let table: Vec<&str> = readme.lines().skip_while(|line| *line != "| keys | what happens |").skip(2).collect();
        let told: Vec<&str> = table.into_iter().take_while(|line| line.starts_with('|')).collect();
        let rows = Chords::default().told();
        let rows: Vec<String> = rows.iter().map(|(keys, does)| format!("| {keys} | {does} |")).collect();
        assert_eq!(told, rows);
    }
}
