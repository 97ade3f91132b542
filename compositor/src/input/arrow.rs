//! When the shell's own pointer is seen: from its first motion until it has rested for a while. Pure: time is passed
//! in.

use std::time::{Duration, Instant};

/// How long the pointer is seen after its last motion.
pub const LINGERS: Duration = Duration::from_secs(3);

/// Since when the pointer rests.
#[derive(Debug, Default)]
pub struct Arrow {
    until: Option<Instant>,
    timer: bool,
}

impl Arrow {
    /// The pointer moved where the shell shows it. `Some`: let a timer run until this instant; `None`: one runs
    /// already.
    pub fn moved(&mut self, now: Instant) -> Option<Instant> {
        let until = now + LINGERS;
        self.until = Some(until);
        (!std::mem::replace(&mut self.timer, true)).then_some(until)
    }

    /// A finger, not a hand, is the pointer now: none is seen.
    pub fn hide(&mut self) {
        self.until = None;
    }

    /// Whether it is seen.
    pub fn is_seen(&self) -> bool {
        self.until.is_some()
    }

    /// The timer has run out. `Some`: it moved in the meantime, let the timer run until this instant; `None`: it is
    /// hidden, and no timer runs any more.
    pub fn fired(&mut self, now: Instant) -> Option<Instant> {
        let later = self.until.filter(|until| *until > now);
        if later.is_none() {
            *self = Self::default();
        }
        later
    }

    /// The timer could not be set: better seen too long than never.
    pub fn disarm(&mut self) {
        self.timer = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_seen_for_three_seconds_after_its_last_motion_and_costs_one_timer() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut arrow = Arrow::default();
        assert!(!arrow.is_seen());
        assert_eq!(arrow.moved(start), Some(at(3)));
        assert_eq!(arrow.moved(at(2)), None, "one timer runs already");
        assert_eq!(arrow.fired(at(3)), Some(at(5)));
        assert!(arrow.is_seen());
        assert_eq!(arrow.fired(at(5)), None);
        assert!(!arrow.is_seen());
        assert_eq!(arrow.moved(at(9)), Some(at(12)));
        arrow.hide();
        assert!(!arrow.is_seen());
        assert_eq!(arrow.fired(at(12)), None);
    }
}
