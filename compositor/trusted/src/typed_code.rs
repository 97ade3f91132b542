//! The code by which a keyboard shows that who types on it sees the screen. Pure: time and chance are passed in.
//!
//! Digits, by the place of their key: the upper row and the keypad have them at the same place whatever the layout, and
//! no Shift counts. A guess is right once in a million; each code is for one guess, and between two that fail there are
//! growing waits, counted for all keyboards together, so that one that pretends to be ten thousand guesses no faster.

use crate::codes;
use std::fmt;
use std::time::{Duration, Instant};

/// Digits of a code.
pub const DIGITS: usize = 6;
/// Codes that a keyboard may type wrong before it is refused.
pub const TRIES: u8 = 5;

/// How many codes there are.
const CODES: u64 = 1_000_000;
/// The wait after the first wrong code; each further one doubles it.
const FIRST_WAIT: Duration = Duration::from_secs(2);
/// The longest wait.
const LONGEST_WAIT: Duration = Duration::from_secs(128);
/// One wrong code is forgotten after so long without any.
const FORGOTTEN: Duration = Duration::from_secs(600);

/// A code; never written to a log.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Code([u8; DIGITS]);

impl Code {
    /// The first of them.
    pub const ZERO: Self = Self([0; DIGITS]);

    /// One of all that there are. `chance`: any number, each as likely as any other.
    pub fn new(chance: u64) -> Self {
        // 64 bits fall upon a million codes evenly but for one part in ten million million.
        let mut rest = chance % CODES;
        let mut digits = [0; DIGITS];
        for digit in digits.iter_mut().rev() {
            *digit = u8::try_from(rest % 10).unwrap_or(0);
            rest /= 10;
        }
        Self(digits)
    }

    /// Its digits, 0 to 9, in the order in which they are typed.
    pub fn digits(self) -> [u8; DIGITS] {
        self.0
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Code")
    }
}

/// What was typed of a code so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    digits: [u8; DIGITS],
    len: usize,
}

/// What became of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Typed {
    /// It is none of a code's.
    Nothing,
    /// There is one more digit, or one less.
    Part,
    /// That was the code.
    Right,
    /// That was another one.
    Wrong,
}

impl Entry {
    /// How many digits there are.
    pub fn len(self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.len == 0
    }

    /// A key (evdev code) was pressed where this code is to be typed. A code that is whole leaves nothing behind.
    pub fn key(&mut self, key: u32, code: Code) -> Typed {
        if key == codes::BACKSPACE && self.len > 0 {
            self.len -= 1;
            return Typed::Part;
        }
        let Some(digit) = codes::digit(key) else { return Typed::Nothing };
        if let Some(place) = self.digits.get_mut(self.len) {
            *place = digit;
            self.len += 1;
        }
        if self.len < DIGITS {
            return Typed::Part;
        }
        let typed = std::mem::take(self);
        if typed.digits == code.0 { Typed::Right } else { Typed::Wrong }
    }
}

/// What all keyboards together have guessed, and until when no code is shown.
#[derive(Clone, Copy, Debug, Default)]
pub struct Guesses {
    wrong: u32,
    last: Option<Instant>,
}

impl Guesses {
    /// A code that was shown was not typed: another was, or its keyboard went or gave up.
    pub fn failed(&mut self, now: Instant) {
        self.wrong = self.counted(now).saturating_add(1);
        self.last = Some(now);
    }

    /// A code was typed.
    pub fn right(&mut self) {
        *self = Self::default();
    }

    /// When the next code may be shown; `None`: now.
    pub fn next(&self, now: Instant) -> Option<Instant> {
        self.last.map(|last| last + self.wait()).filter(|next| now < *next)
    }

    /// How long the wait is that the last failure began, all of it.
    pub fn wait(&self) -> Duration {
        let doubled = self.wrong.checked_sub(1).map(|times| 1u32.checked_shl(times).unwrap_or(u32::MAX));
        doubled.map_or(Duration::ZERO, |factor| FIRST_WAIT.saturating_mul(factor).min(LONGEST_WAIT))
    }

    /// Those that are not forgotten.
    fn counted(&self, now: Instant) -> u32 {
        let since = self.last.map_or(Duration::ZERO, |last| now.saturating_duration_since(last));
        let forgotten = since.as_secs() / FORGOTTEN.as_secs();
        self.wrong.saturating_sub(u32::try_from(forgotten).unwrap_or(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_makes_a_code_of_six_digits_and_none_is_likelier() {
        assert_eq!(Code::new(481_520).digits(), [4, 8, 1, 5, 2, 0]);
        assert_eq!(Code::new(7).digits(), [0, 0, 0, 0, 0, 7]);
        assert_eq!(Code::new(u64::MAX), Code::new(u64::MAX % 1_000_000));
        assert_eq!(format!("{:?}", Code::new(481_520)), "Code", "a log does not tell it");
    }

    #[test]
    fn a_code_is_typed_in_the_upper_row_or_on_the_keypad_and_a_slip_is_taken_back() {
        let code = Code::new(481_520);
        let mut entry = Entry::default();
        let upper = [5, codes::LEFT_SHIFT, 9, codes::BACKSPACE, 9, 2, 6, 3, 11];
        let typed: Vec<_> = upper.into_iter().map(|key| entry.key(key, code)).collect();
        assert_eq!(typed[1], Typed::Nothing, "some layouts have digits under Shift");
        assert_eq!((typed.last(), entry), (Some(&Typed::Right), Entry::default()));
        let keypad = [75, 72, 79, 76, 80, 82];
        assert_eq!(keypad.map(|key| entry.key(key, code))[5], Typed::Right);
        assert_eq!(upper.map(|key| entry.key(key, Code::new(481_521)))[8], Typed::Wrong);
        assert!(entry.is_empty());
    }

    #[test]
    fn waits_grow_to_two_minutes_and_are_forgotten_slowly() {
        let start = Instant::now();
        let mut guesses = Guesses::default();
        assert_eq!(guesses.next(start), None);
        let mut now = start;
        let mut waits = Vec::new();
        for _ in 0..9 {
            guesses.failed(now);
            waits.push(guesses.wait().as_secs());
            now = guesses.next(now).unwrap();
            assert_eq!(guesses.next(now), None);
        }
        assert_eq!(waits, [2, 4, 8, 16, 32, 64, 128, 128, 128]);
        now += 5 * FORGOTTEN;
        guesses.failed(now);
        assert_eq!(guesses.wait().as_secs(), 32, "five of nine are forgotten, and there is one more");
        guesses.right();
        assert_eq!((guesses.next(now), guesses.wait()), (None, Duration::ZERO));
    }

    #[test]
    fn no_pace_gets_more_than_a_thousand_guesses_in_a_day() {
        let start = Instant::now();
        for pause in [0, 1, 128, 599, 600, 601].map(Duration::from_secs) {
            let (mut guesses, mut now, mut made) = (Guesses::default(), start, 0);
            while now < start + Duration::from_secs(86_400) {
                guesses.failed(now);
                made += 1;
                now = guesses.next(now).unwrap_or(now) + pause;
            }
            assert!(made < 1000, "{made} with {pause:?} between them");
        }
    }
}
