//! The chords: which keys make one, what it asks for, and what a person is told of it. To add one: a variant and its
//! row.
//!
//! Chords follow physical keys, whatever the layout prints on them. Those of Super are made while Super is down, those
//! of Ctrl+Alt while both are; other modifiers make no difference. [`crate::attention`] sees to it that no part of one
//! reaches a guest. Nothing here acts: a chord is a [`Verb`], and whether it may be is the gate's to say
//! ([`crate::gate`]).

use crate::codes::{self, chord_digit, function_key};
use crate::gate::Verb;
use phyllome_protocol::Slot;

/// A trusted chord.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chord {
    /// Super+1 to Super+9.
    Slot(Slot),
    /// Super+Tab.
    Next,
    /// Super+Shift+Tab.
    Previous,
    /// Super was released after [`Chord::Next`] or [`Chord::Previous`].
    Chosen,
    /// Super+Escape.
    Panel,
    /// Ctrl+Alt+F1 to Ctrl+Alt+F12: the virtual terminal of this number.
    Terminal(u8),
}

/// What has to be down for a chord.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Host {
    /// Super.
    Super,
    /// Ctrl and Alt together.
    CtrlAlt,
}

/// Which host keys are down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Down {
    /// A Super key.
    pub super_key: bool,
    /// A Ctrl and an Alt key.
    pub ctrl_alt: bool,
    /// A Shift key.
    pub shift: bool,
}

/// One line of the table of chords.
pub struct Row {
    /// The keys, as they are written for people.
    pub keys: &'static str,
    /// What happens.
    pub does: &'static str,
    /// What has to be down.
    pub host: Host,
    /// The chord that a press of this key (evdev code) makes, with or without Shift.
    pub key: fn(code: u32, shift: bool) -> Option<Chord>,
}

/// All chords, in the order in which people are told of them.
pub const CHORDS: [Row; 4] = [
    Row {
        keys: "Super+1 … Super+9",
        does: "the guest in that slot",
        host: Host::Super,
        key: |code, _| chord_digit(code).map(Chord::Slot),
    },
    Row {
        keys: "Super+Tab, Super+Shift+Tab",
        does: "next, previous running guest; release Super to choose",
        host: Host::Super,
        key: |code, shift| (code == codes::TAB).then_some(if shift { Chord::Previous } else { Chord::Next }),
    },
    Row {
        keys: "Super+Escape",
        does: "the list of guests: start, stop, pause, switch",
        host: Host::Super,
        key: |code, _| (code == codes::ESC).then_some(Chord::Panel),
    },
    Row {
        keys: "Ctrl+Alt+F1 … F12",
        does: "another virtual terminal, where the shell has the display itself",
        host: Host::CtrlAlt,
        key: |code, _| function_key(code).map(Chord::Terminal),
    },
];

/// The chord that a press of `code` makes while these are down.
pub fn find(code: u32, down: Down) -> Option<Chord> {
    let made = CHORDS.iter().filter(|row| match row.host {
        Host::Super => down.super_key,
        Host::CtrlAlt => down.ctrl_alt,
    });
    made.filter_map(|row| (row.key)(code, down.shift)).next()
}

impl Chord {
    /// What it asks for.
    pub fn verb(self) -> Verb {
        match self {
            Self::Slot(slot) => Verb::ShowSlot(slot),
            Self::Next => Verb::Step { forward: true },
            Self::Previous => Verb::Step { forward: false },
            Self::Chosen => Verb::Choose,
            Self::Panel => Verb::TogglePanel,
            Self::Terminal(number) => Verb::Terminal(number),
        }
    }

    /// What has to be down for it.
    pub fn host(self) -> Host {
        match self {
            Self::Slot(_) | Self::Next | Self::Previous | Self::Chosen | Self::Panel => Host::Super,
            Self::Terminal(_) => Host::CtrlAlt,
        }
    }

    /// Whether something is being chosen from now on, until Super is released.
    pub fn chooses(self) -> bool {
        match self {
            Self::Next | Self::Previous => true,
            Self::Slot(_) | Self::Chosen | Self::Panel | Self::Terminal(_) => false,
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

    const SUPER: Down = Down { super_key: true, ctrl_alt: false, shift: false };
    const CTRL_ALT: Down = Down { super_key: false, ctrl_alt: true, shift: false };

    #[test]
    fn every_key_makes_one_chord_at_most_and_none_alone() {
        for code in 0..=codes::LAST {
            assert_eq!(find(code, Down::default()), None, "{code}");
            assert_eq!(find(code, Down { shift: true, ..Down::default() }), None, "{code}");
            let rows = CHORDS.iter().filter(|row| (row.key)(code, false).is_some());
            assert!(rows.count() <= 1, "{code}");
        }
    }

    #[test]
    fn a_chord_is_made_with_its_host_keys_only() {
        for (code, with, without) in
            [(codes::ESC, SUPER, CTRL_ALT), (codes::ONE, SUPER, CTRL_ALT), (codes::F1, CTRL_ALT, SUPER)]
        {
            assert!(
                find(code, with)
                    .is_some_and(|chord| chord.host() == if with == SUPER { Host::Super } else { Host::CtrlAlt })
            );
            assert_eq!(find(code, without), None);
        }
        assert_eq!(find(codes::TAB, Down { shift: true, ..SUPER }), Some(Chord::Previous));
    }

    #[test]
    fn the_readme_has_these_chords_and_no_others() {
        let readme = include_str!("../../../README.md");
        let table: Vec<&str> = readme.lines().skip_while(|line| *line != "| keys | what happens |").skip(2).collect();
        let told: Vec<&str> = table.into_iter().take_while(|line| line.starts_with('|')).collect();
        let rows: Vec<String> = CHORDS.iter().map(|row| format!("| {} | {} |", row.keys, row.does)).collect();
        assert_eq!(told, rows);
    }
}
