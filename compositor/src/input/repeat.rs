//! Keys that repeat while they are held, for the shell's own panel and switcher: guests repeat their keys themselves.
//! Pure: time is passed in.
//!
//! Only keys that move a selection repeat. One that does something must be pressed anew each time.

use phyllome_trusted::attention::Decision;
use std::time::{Duration, Instant};

/// How long a key is held until it repeats.
pub const DELAY: Duration = Duration::from_millis(600);
/// Time between two repeats.
pub const PACE: Duration = Duration::from_millis(40);

/// The key that is held, if there is one.
#[derive(Debug, Default)]
pub struct Repeat {
    held: Option<(u32, Decision)>,
}

impl Repeat {
    /// A key was pressed, and this followed for the shell; `true`: it repeats from [`DELAY`] on. The key before it
    /// repeats no more. `moves`: whether the face that has the keys lets a key repeat.
    pub fn pressed(&mut self, code: u32, decisions: &[Decision], moves: impl Fn(u32) -> bool) -> bool {
        self.held = match decisions.last() {
            Some(decision @ Decision::Shell { code: own, pressed: true }) if moves(*own) => Some((code, *decision)),
            Some(decision @ Decision::Chord(chord)) if chord.repeats() => Some((code, *decision)),
            Some(Decision::Shell { .. } | Decision::Chord(_) | Decision::Forward { .. }) | None => None,
        };
        self.held.is_some()
    }

    /// A key was released; `true`: it was the one that repeats.
    pub fn released(&mut self, code: u32) -> bool {
        let was = self.held.is_some_and(|(held, _)| held == code);
        if was {
            self.held = None;
        }
        was
    }

    /// Nothing repeats any more.
    pub fn stop(&mut self) {
        self.held = None;
    }

    /// It is time to repeat: what to do, and when next. However late the moment, it is one repeat.
    pub fn due(&self, now: Instant) -> Option<(Decision, Instant)> {
        Some((self.held?.1, now + PACE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use phyllome_trusted::chords::Chord;
    use phyllome_trusted::codes;

    const HELD: Decision = Decision::Shell { code: codes::DOWN, pressed: true };

    fn moves(code: u32) -> bool {
        matches!(code, codes::UP | codes::DOWN)
    }

    #[test]
    fn a_key_that_moves_repeats_until_it_is_released_or_another_is_pressed() {
        let now = Instant::now();
        let mut repeat = Repeat::default();
        assert_eq!(repeat.due(now), None);
        assert!(repeat.pressed(codes::DOWN, &[HELD], moves));
        assert_eq!(repeat.due(now), Some((HELD, now + PACE)));
        assert!(!repeat.released(codes::UP));
        assert!(repeat.released(codes::DOWN));
        assert_eq!(repeat.due(now), None);
        repeat.pressed(codes::DOWN, &[HELD], moves);
        assert!(!repeat.pressed(codes::ENTER, &[Decision::Shell { code: codes::ENTER, pressed: true }], moves));
        assert_eq!(repeat.due(now), None);
    }

    #[test]
    fn what_does_something_never_repeats_and_a_guests_keys_are_none_of_ours() {
        let mut repeat = Repeat::default();
        for code in [codes::ENTER, codes::Y, codes::K, codes::ESC, codes::LEFT_CTRL] {
            assert!(!repeat.pressed(code, &[Decision::Shell { code, pressed: true }], moves), "{code}");
        }
        let forward = Decision::Forward { code: codes::DOWN, pressed: true, time_ms: 0 };
        assert!(!repeat.pressed(codes::DOWN, &[forward], moves));
        assert!(!repeat.pressed(codes::ESC, &[Decision::Chord(Chord::Panel)], moves));
        assert!(!repeat.pressed(codes::DOWN, &[], moves));
        assert!(repeat.pressed(codes::TAB, &[Decision::Chord(Chord::Next)], moves));
    }
}
