//! The chord machine: keys in, decisions out. Pure; it trusts nobody's order of events and never asks the time.
//!
//! Which keys make a chord is the table of [`crate::chords`]: some are made under the host key (Super, unless somebody
//! chose another or two), some under Ctrl+Alt. Nothing of a chord reaches a guest. The host key and every modifier
//! pressed under it are *withheld*. What happens next decides:
//! - a chord's key: all that was withheld is eaten, and whatever is pressed until the host key is released is eaten
//!   too;
//! - any other key: what was withheld is *lent* to the guest, in order, and then the key (guests have shortcuts of
//!   Super too). When that key is released, the guest gets releases of the host key and of the modifiers under it at
//!   once, and they are withheld again, so that no guest holds it when a chord begins;
//! - the release of the host key: it is passed on as a tap, unless it has already served.
//!
//! Of two host keys each is withheld, and chords are made while both are down.
//!
//! Ctrl and Alt serve guests all the time, so the first of the two is an ordinary key, and the one that completes
//! Ctrl+Alt is withheld until something follows it: a guest cannot tell Ctrl+Alt+F2 from a Ctrl that was tapped. What
//! was lent is not taken back then, so that a guest's own Ctrl+Alt can be held over several keys.
//!
//! A chord works even while the host key is lent (its key still does not reach the guest): reaching the shell goes
//! before all else.

use crate::chord_keys::Begins;
use crate::chords::{Chord, Chords, Down};
use crate::codes;

/// Most keys that can be down at once; further presses are eaten.
const MAX_DOWN: usize = 64;
/// Most besides, of what a chord is made of: it is heard however many keys are stuck.
const MAX_OF_CHORDS: usize = 32;
/// Most events that wait for the host key's fate; modifiers pressed after that are eaten.
const MAX_WITHHELD: usize = 32;

/// Whom plain keys go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyOwner {
    /// The guest that has the focus.
    Guest,
    /// The shell's own panel, switcher or dialog.
    Shell,
    /// Nobody: no guest is shown that could take keys.
    Nobody,
}

/// What is to be done, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The guest that has the focus gets this.
    Forward {
        /// evdev code.
        code: u32,
        /// Press or release.
        pressed: bool,
        /// When it happened, milliseconds.
        time_ms: u32,
    },
    /// The shell acts.
    Chord(Chord),
    /// The shell's own face gets this: panel, switcher, dialog.
    Shell {
        /// evdev code.
        code: u32,
        /// Press or release.
        pressed: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// The guest has seen the press and will see the release.
    Given,
    /// Nobody but the shell sees press and release.
    Eaten,
    /// The shell has seen the press and will see the release, if no guest had the keys in between; whichever face is
    /// on top then.
    Shown,
    /// The press waits among [`Attention::withheld`].
    Withheld,
}

#[derive(Clone, Copy, Debug)]
struct Key {
    code: u32,
    fate: Fate,
    /// Pressed while the host key was down.
    under: bool,
}

#[derive(Clone, Copy, Debug)]
struct Event {
    code: u32,
    pressed: bool,
    time_ms: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Hold {
    /// No host key is down.
    #[default]
    None,
    /// It is down and the guest knows nothing of it.
    Withheld,
    /// The guest has it, for a shortcut of its own.
    Lent,
    /// A chord was made; all is eaten until it is released.
    Used,
}

/// Which keys are down, and what became of each.
#[derive(Debug, Default)]
pub struct Attention {
    chords: Chords,
    down: Vec<Key>,
    hold: Hold,
    withheld: Vec<Event>,
    /// The withheld host key has served a shortcut already; its release makes no tap.
    spent: bool,
    /// Likewise for Ctrl and Alt together, while the host key is not down.
    both: Hold,
    /// A chord of this hold opened the switcher.
    choosing: bool,
    /// Pointer buttons are down that were pressed under the host key.
    pointer_buttons: bool,
}

impl Attention {
    /// Nothing is down, and these are the chords.
    pub fn new(chords: Chords) -> Self {
        Self { chords, ..Self::default() }
    }

    /// A key was pressed or released. A press of a key that is down is a repeat and means nothing.
    pub fn key(&mut self, code: u32, pressed: bool, time_ms: u32, owner: KeyOwner) -> Vec<Decision> {
        let mut out = Vec::new();
        let at = self.down.iter().position(|key| key.code == code);
        match (pressed, at) {
            (true, None) if self.has_room(code) && code <= codes::LAST => {
                self.press(code, time_ms, owner, &mut out);
            }
            (false, Some(at)) => {
                let key = self.down.remove(at);
                self.release(key, time_ms, owner, &mut out);
            }
            _ => {}
        }
        out
    }

    /// A pointer button was pressed, or the wheel turned, while a guest has the pointer: under the host key this is a
    /// shortcut of the guest's, so what is withheld goes first. After the turn of a wheel, which has no release,
    /// [`Self::wheel_turned`] takes it back.
    pub fn pointer_used(&mut self, wheel: bool, owner: KeyOwner) -> Vec<Decision> {
        let mut out = Vec::new();
        if owner == KeyOwner::Guest && matches!(self.hold, Hold::Withheld | Hold::Lent) {
            self.lend(&mut out);
            self.pointer_buttons |= !wheel;
        }
        if owner == KeyOwner::Guest && self.both == Hold::Withheld {
            self.lend_both(owner, &mut out);
        }
        out
    }

    /// The guest has seen the wheel turn: the host key is its no longer, so that it is no part of a chord that follows.
    pub fn wheel_turned(&mut self, time_ms: u32) -> Vec<Decision> {
        let mut out = Vec::new();
        self.take_back(time_ms, &mut out);
        out
    }

    /// No pointer button is down any more.
    pub fn pointer_released(&mut self, time_ms: u32) -> Vec<Decision> {
        let mut out = Vec::new();
        self.pointer_buttons = false;
        self.take_back(time_ms, &mut out);
        out
    }

    /// The keyboard goes to another owner: releases, for the old one, of all that it holds. The new one gets nothing of
    /// what is down now. To be carried out before the focus moves.
    pub fn owner_changed(&mut self, time_ms: u32) -> Vec<Decision> {
        let mut out = Vec::new();
        for key in self.down.iter_mut().rev() {
            if key.fate == Fate::Given {
                out.push(Decision::Forward { code: key.code, pressed: false, time_ms });
            }
            key.fate = Fate::Eaten;
        }
        self.use_up();
        out
    }

    /// The keyboards are gone: everything that was down counts as released.
    pub fn lost(&mut self, time_ms: u32) -> Vec<Decision> {
        let mut out = self.owner_changed(time_ms);
        if self.choosing {
            out.push(Decision::Chord(Chord::Chosen));
        }
        *self = Self::new(std::mem::take(&mut self.chords));
        out
    }

    /// Whether the host key is down, or one of two.
    pub fn host_is_held(&self) -> bool {
        self.down.iter().any(|key| self.chords.is_host(key.code))
    }

    /// Whether the key is held for the sake of another key.
    fn is_modifier(&self, code: u32) -> bool {
        codes::is_modifier(code) || self.chords.is_host(code)
    }

    /// Whether one more key can be down.
    fn has_room(&self, code: u32) -> bool {
        let of_chord = self.is_modifier(code)
            || self.host_is_held()
            || (self.is_down(codes::is_ctrl) && self.is_down(codes::is_alt));
        self.down.len() < if of_chord { MAX_DOWN + MAX_OF_CHORDS } else { MAX_DOWN }
    }

    fn press(&mut self, code: u32, time_ms: u32, owner: KeyOwner, out: &mut Vec<Decision>) {
        let under = self.hold != Hold::None || self.chords.is_host(code);
        let mut fate = Fate::Eaten;
        match self.hold {
            Hold::None if self.chord(code).is_some_and(|(_, begins)| begins == Begins::CtrlAlt) => {
                self.make_chord(code, time_ms, out);
            }
            Hold::None if self.chords.is_host(code) => {
                // From here on the host key decides, over what Ctrl+Alt withholds as well.
                if self.both != Hold::Used {
                    self.both = Hold::None;
                }
                self.hold = Hold::Withheld;
                self.spent = false;
                fate = self.withhold(code, time_ms);
            }
            Hold::None => fate = self.press_plain(code, time_ms, owner, out),
            _ if self.chord(code).is_some() => {
                self.make_chord(code, time_ms, out);
            }
            Hold::Withheld if self.is_modifier(code) => fate = self.withhold(code, time_ms),
            Hold::Withheld if owner == KeyOwner::Guest => {
                self.lend(out);
                fate = Fate::Given;
            }
            Hold::Lent if owner == KeyOwner::Guest => fate = Fate::Given,
            Hold::Withheld | Hold::Lent | Hold::Used => {}
        }
        if fate == Fate::Given {
            out.push(Decision::Forward { code, pressed: true, time_ms });
        }
        self.down.push(Key { code, fate, under });
    }

    /// A key that is pressed while the host key is not down.
    fn press_plain(&mut self, code: u32, time_ms: u32, owner: KeyOwner, out: &mut Vec<Decision>) -> Fate {
        let completes = (codes::is_ctrl(code) && self.is_down(codes::is_alt))
            || (codes::is_alt(code) && self.is_down(codes::is_ctrl));
        match (self.both, owner) {
            (Hold::Used, _) => return Fate::Eaten,
            (Hold::None, KeyOwner::Guest) if completes => {
                self.both = Hold::Withheld;
                return self.withhold(code, time_ms);
            }
            (Hold::Withheld, KeyOwner::Guest) if self.is_modifier(code) => return self.withhold(code, time_ms),
            (Hold::Withheld, _) => self.lend_both(owner, out),
            (Hold::None | Hold::Lent, KeyOwner::Guest | KeyOwner::Shell | KeyOwner::Nobody) => {}
        }
        match owner {
            KeyOwner::Guest => return Fate::Given,
            KeyOwner::Shell => {
                out.push(Decision::Shell { code, pressed: true });
                return Fate::Shown;
            }
            KeyOwner::Nobody => {}
        }
        Fate::Eaten
    }

    fn release(&mut self, key: Key, time_ms: u32, owner: KeyOwner, out: &mut Vec<Decision>) {
        match key.fate {
            Fate::Given => out.push(Decision::Forward { code: key.code, pressed: false, time_ms }),
            // Where no tap will be made, what is released means nothing any more.
            Fate::Withheld if self.spent && self.hold != Hold::None => {
                self.withheld.retain(|event| event.code != key.code)
            }
            Fate::Withheld => self.withheld.push(Event { code: key.code, pressed: false, time_ms }),
            Fate::Shown if owner == KeyOwner::Shell => out.push(Decision::Shell { code: key.code, pressed: false }),
            Fate::Shown | Fate::Eaten => {}
        }
        if self.chords.is_host(key.code) && !self.host_is_held() {
            self.host_released(owner, out);
        } else {
            self.take_back(time_ms, out);
        }
        self.both_released(owner, out);
    }

    /// If Ctrl and Alt are not down together any more, what was withheld is given: it was no chord.
    fn both_released(&mut self, owner: KeyOwner, out: &mut Vec<Decision>) {
        let (ctrl, alt) = (self.is_down(codes::is_ctrl), self.is_down(codes::is_alt));
        match self.both {
            Hold::Withheld if !(ctrl && alt) => {
                self.lend_both(owner, out);
                self.both = Hold::None;
            }
            Hold::Lent if !(ctrl && alt) => self.both = Hold::None,
            // All of a chord is eaten, so what is still down of it has to be released first.
            Hold::Used if !(ctrl || alt) => self.both = Hold::None,
            Hold::None | Hold::Withheld | Hold::Lent | Hold::Used => {}
        }
    }

    fn host_released(&mut self, owner: KeyOwner, out: &mut Vec<Decision>) {
        if self.hold == Hold::Withheld {
            self.give_withheld(owner, out);
        }
        if std::mem::take(&mut self.choosing) {
            out.push(Decision::Chord(Chord::Chosen));
        }
        self.hold = Hold::None;
        self.pointer_buttons = false;
        for key in &mut self.down {
            key.under = false;
        }
    }

    fn is_down(&self, which: fn(u32) -> bool) -> bool {
        self.down.iter().any(|key| which(key.code))
    }

    /// The chord that a press of `code` makes now, and what it begins with.
    fn chord(&self, code: u32) -> Option<(Chord, Begins)> {
        let host = self.chords.host_is_down(|code| self.down.iter().any(|key| key.code == code));
        let down = Down {
            host: self.hold != Hold::None && host,
            ctrl_alt: self.is_down(codes::is_ctrl) && self.is_down(codes::is_alt),
            shift: self.is_down(codes::is_shift),
        };
        self.chords.find(code, down)
    }

    fn make_chord(&mut self, code: u32, time_ms: u32, out: &mut Vec<Decision>) {
        let Some((chord, begins)) = self.chord(code) else { return };
        let ctrl_alt = begins == Begins::CtrlAlt;
        let modifier = |code| codes::is_modifier(code) || self.chords.is_host(code);
        for key in self.down.iter_mut().rev().filter(|key| key.under || (ctrl_alt && modifier(key.code))) {
            if key.fate == Fate::Given {
                out.push(Decision::Forward { code: key.code, pressed: false, time_ms });
            }
            key.fate = Fate::Eaten;
        }
        self.use_up();
        if ctrl_alt {
            self.both = if self.hold == Hold::None { Hold::Used } else { Hold::None };
        } else {
            self.choosing = chord.chooses();
        }
        out.push(Decision::Chord(chord));
    }

    /// What is withheld is never given any more; a host key that is down has served.
    fn use_up(&mut self) {
        self.withheld.clear();
        for key in self.down.iter_mut().filter(|key| key.fate == Fate::Withheld) {
            key.fate = Fate::Eaten;
        }
        self.pointer_buttons = false;
        if self.hold != Hold::None {
            self.hold = Hold::Used;
        }
        if self.both != Hold::None {
            self.both = Hold::Used;
        }
    }

    fn withhold(&mut self, code: u32, time_ms: u32) -> Fate {
        if self.withheld.len() >= MAX_WITHHELD {
            return Fate::Eaten;
        }
        self.withheld.push(Event { code, pressed: true, time_ms });
        Fate::Withheld
    }

    fn lend(&mut self, out: &mut Vec<Decision>) {
        self.give_withheld(KeyOwner::Guest, out);
        self.hold = Hold::Lent;
    }

    fn lend_both(&mut self, owner: KeyOwner, out: &mut Vec<Decision>) {
        self.give_withheld(owner, out);
        self.both = Hold::Lent;
    }

    fn give_withheld(&mut self, owner: KeyOwner, out: &mut Vec<Decision>) {
        let fate = if owner == KeyOwner::Guest { Fate::Given } else { Fate::Eaten };
        for Event { code, pressed, time_ms } in self.withheld.drain(..) {
            if fate == Fate::Given {
                out.push(Decision::Forward { code, pressed, time_ms });
            }
        }
        for key in self.down.iter_mut().filter(|key| key.fate == Fate::Withheld) {
            key.fate = fate;
        }
    }

    /// If the guest's shortcut is over, it loses the host key and the modifiers under it again.
    fn take_back(&mut self, time_ms: u32, out: &mut Vec<Decision>) {
        let in_use = |key: &Key| key.fate == Fate::Given && key.under && !self.is_modifier(key.code);
        if self.hold != Hold::Lent || self.pointer_buttons || self.down.iter().any(in_use) {
            return;
        }
        self.hold = Hold::Withheld;
        self.spent = true;
        let mut again = Vec::new();
        for key in self.down.iter_mut().filter(|key| key.under && key.fate == Fate::Given) {
            out.push(Decision::Forward { code: key.code, pressed: false, time_ms });
            key.fate = Fate::Withheld;
            again.push(Event { code: key.code, pressed: true, time_ms });
        }
        self.withheld = again;
    }
}

#[cfg(test)]
#[path = "attention_property_tests.rs"]
mod property_tests;
#[cfg(test)]
#[path = "attention_tests.rs"]
mod tests;
