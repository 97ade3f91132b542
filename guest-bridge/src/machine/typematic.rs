//! Keys that repeat while they are held, for keyboards that do not repeat by themselves. Pure: time is passed in.
//!
//! QEMU's PS/2 keyboard tells a press once, where a real one tells it again and again, and firmware, boot loaders,
//! installers and whatever else reads it rely on that. A virtio keyboard's guest repeats keys itself, but not before
//! its driver runs: until then keys go to the PS/2 keyboard there as well. So where a guest has both, QEMU is asked at
//! the end of the delay which of them is in use ([`Repeat::Ask`]).

use std::time::Duration;
use tokio::time::Instant;

/// How long a key is held until it repeats: inside of what a PS/2 keyboard can be set to, 250 to 1000 ms.
pub const DELAY: Duration = Duration::from_millis(400);
/// Time between two repeats: 28 a second.
pub const PACE: Duration = Duration::from_millis(36);

/// Keys that are pressed once however long they are held: modifiers and locks, which a repeat would switch back, and
/// those that a PS/2 keyboard does not repeat or that do something to the machine.
const ONCE: [&str; 15] = [
    "shift",
    "shift_r",
    "ctrl",
    "ctrl_r",
    "alt",
    "alt_r",
    "meta_l",
    "meta_r",
    "caps_lock",
    "num_lock",
    "scroll_lock",
    "pause",
    "power",
    "sleep",
    "wake",
];

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// It is to be found out which keyboard the guest uses; [`Typematic::found`] takes the answer.
    Ask,
    /// This key is pressed once more. QEMU's word.
    Key(&'static str),
}

#[derive(Clone, Copy, Debug)]
struct Held {
    key: &'static str,
    due: Instant,
    /// The keyboard in use is known to be one that does not repeat.
    sure: bool,
}

/// The key that was pressed last, while it is held.
#[derive(Debug, Default)]
pub struct Typematic {
    /// The guest has a keyboard that repeats by itself, besides.
    both: bool,
    held: Option<Held>,
    asked: bool,
}

impl Typematic {
    /// Nothing is held. `both`: the guest has a virtio keyboard beside the PS/2 one.
    pub fn new(both: bool) -> Self {
        Self { both, ..Self::default() }
    }

    /// A key is pressed: the one before it repeats no more.
    pub fn pressed(&mut self, key: &'static str, now: Instant) {
        self.held = (!ONCE.contains(&key)).then_some(Held { key, due: now + DELAY, sure: !self.both });
    }

    /// A key is released.
    pub fn released(&mut self, key: &'static str) {
        self.held = self.held.filter(|held| held.key != key);
    }

    /// Nothing repeats until a key is pressed.
    pub fn stop(&mut self) {
        self.held = None;
    }

    /// When [`Self::due`] has something to say.
    pub fn deadline(&self) -> Option<Instant> {
        self.held.filter(|held| held.sure || !self.asked).map(|held| held.due)
    }

    /// What is due at `now`, once however late it is.
    pub fn due(&mut self, now: Instant) -> Option<Repeat> {
        let asked = self.asked;
        let held = self.held.as_mut().filter(|held| held.due <= now)?;
        if held.sure {
            held.due = now + PACE;
            return Some(Repeat::Key(held.key));
        }
        self.asked = true;
        (!asked).then_some(Repeat::Ask)
    }

    /// Whether the guest's driver runs the keyboard that repeats by itself; what is not known counts as so.
    pub fn found(&mut self, by_itself: bool) {
        self.asked = false;
        match &mut self.held {
            Some(_) if by_itself => self.held = None,
            Some(held) => held.sure = true,
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keys that repeat until `end` after the start, with their milliseconds.
    fn until(typematic: &mut Typematic, start: Instant, end: u64) -> Vec<(&'static str, u128)> {
        let end = start + Duration::from_millis(end);
        let mut all = Vec::new();
        while let Some(at) = typematic.deadline().filter(|at| *at <= end) {
            match typematic.due(at) {
                Some(Repeat::Key(key)) => all.push((key, (at - start).as_millis())),
                other => panic!("{other:?}"),
            }
        }
        all
    }

    #[test]
    fn a_key_repeats_after_a_delay_at_an_even_pace_until_it_is_released() {
        let (mut typematic, start) = (Typematic::new(false), Instant::now());
        typematic.pressed("down", start);
        assert!((250..=500).contains(&DELAY.as_millis()) && (25..=30).contains(&(1000 / PACE.as_millis())));
        assert_eq!(until(&mut typematic, start, 399), []);
        assert_eq!(until(&mut typematic, start, 480), [("down", 400), ("down", 436), ("down", 472)]);
        typematic.released("up");
        assert_eq!(until(&mut typematic, start, 510), [("down", 508)]);
        typematic.released("down");
        assert_eq!((until(&mut typematic, start, 9_000), typematic.deadline()), (vec![], None));
    }

    #[test]
    fn another_key_ends_a_repeat_and_modifiers_never_repeat() {
        let (mut typematic, start) = (Typematic::new(false), Instant::now());
        typematic.pressed("a", start);
        typematic.pressed("b", start);
        assert_eq!(until(&mut typematic, start, 400), [("b", 400)]);
        for key in ONCE {
            typematic.pressed("b", start);
            typematic.pressed(key, start);
            assert_eq!(typematic.deadline(), None, "{key}");
        }
        assert!(ONCE.iter().all(|key| (0..0x300).any(|code| super::super::keys::qcode(code) == Some(key))));
    }

    #[test]
    fn lateness_makes_no_burst() {
        let (mut typematic, start) = (Typematic::new(false), Instant::now());
        typematic.pressed("a", start);
        let late = start + Duration::from_secs(60);
        assert_eq!(typematic.due(late), Some(Repeat::Key("a")));
        assert_eq!((typematic.due(late), typematic.deadline()), (None, Some(late + PACE)));
    }

    #[test]
    fn where_there_are_two_keyboards_it_is_asked_once_which_is_in_use() {
        let (mut typematic, start) = (Typematic::new(true), Instant::now());
        typematic.pressed("a", start);
        let due = start + DELAY;
        assert_eq!((typematic.due(start), typematic.due(due)), (None, Some(Repeat::Ask)));
        assert_eq!((typematic.due(due), typematic.deadline()), (None, None), "it waits for the answer");
        typematic.found(false);
        assert_eq!(typematic.due(due), Some(Repeat::Key("a")));
        typematic.pressed("b", start);
        assert_eq!(typematic.due(due), Some(Repeat::Ask), "a driver may have come");
        typematic.found(true);
        assert_eq!(typematic.deadline(), None);
        typematic.pressed("c", start);
        assert_eq!(typematic.due(due), Some(Repeat::Ask));
        typematic.released("c");
        typematic.found(false);
        assert_eq!(typematic.deadline(), None, "nothing is held any more");
    }
}
