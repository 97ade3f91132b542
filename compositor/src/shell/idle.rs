//! When the displays are switched off because nobody is there. Pure: time is passed in.
//!
//! Activity only notes the time. One timer runs to the earliest moment at which there can have been no activity for
//! long enough, and is set again from there, so that a person who types costs no timers and a shell without the setting
//! has none at all.

use std::time::{Duration, Instant};

/// What to do when the timer has run out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fired {
    /// Somebody was there in the meantime: let the timer run until this instant.
    Wait(Instant),
    /// Switch the displays off; no timer runs any more.
    Sleep,
}

/// Time since somebody was there.
#[derive(Clone, Debug)]
pub struct Idle {
    after: Option<Duration>,
    last: Instant,
    armed: bool,
}

impl Idle {
    /// Displays are switched off after so long without input; `None`: never.
    pub fn new(after: Option<Duration>, now: Instant) -> Self {
        Self { after, last: now, armed: false }
    }

    /// From `idle_minutes` of shell.toml.
    pub fn from_minutes(minutes: Option<u32>, now: Instant) -> Self {
        Self::new(minutes.map(|minutes| Duration::from_secs(60 * u64::from(minutes))), now)
    }

    /// Somebody is there.
    pub fn activity(&mut self, now: Instant) {
        self.last = self.last.max(now);
    }

    /// `Some`: let a timer run until this instant; `None`: one runs already, or none is needed.
    pub fn arm(&mut self) -> Option<Instant> {
        let until = self.last + self.after?;
        (!std::mem::replace(&mut self.armed, true)).then_some(until)
    }

    /// The timer could not be set.
    pub fn disarm(&mut self) {
        self.armed = false;
    }

    /// The timer has run out.
    pub fn fired(&mut self, now: Instant) -> Fired {
        match self.after.map(|after| self.last + after) {
            Some(until) if until > now => Fired::Wait(until),
            _ => {
                self.armed = false;
                Fired::Sleep
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_the_setting_there_is_no_timer() {
        let mut idle = Idle::from_minutes(None, Instant::now());
        assert_eq!(idle.arm(), None);
    }

    #[test]
    fn one_timer_runs_however_much_is_typed() {
        let now = Instant::now();
        let mut idle = Idle::from_minutes(Some(1), now);
        assert_eq!(idle.arm(), Some(now + Duration::from_secs(60)));
        for second in 1..50 {
            idle.activity(now + Duration::from_secs(second));
            assert_eq!(idle.arm(), None);
        }
    }

    #[test]
    fn displays_sleep_a_whole_pause_after_the_last_activity() {
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        // Activity at these seconds, and what the timer finds each time it runs out.
        let table = [
            (vec![], vec![(60, Fired::Sleep)]),
            (vec![59], vec![(60, Fired::Wait(at(119))), (119, Fired::Sleep)]),
            (vec![10, 50], vec![(60, Fired::Wait(at(110))), (110, Fired::Sleep)]),
            // The timer came late: the machine slept.
            (vec![10], vec![(9000, Fired::Sleep)]),
        ];
        for (activity, timers) in table {
            let mut idle = Idle::from_minutes(Some(1), start);
            assert_eq!(idle.arm(), Some(at(60)));
            activity.iter().for_each(|second| idle.activity(at(*second)));
            for (second, expected) in timers {
                assert_eq!(idle.fired(at(second)), expected, "{activity:?} at {second}");
            }
            idle.activity(at(10_000));
            assert_eq!(idle.arm(), Some(at(10_060)), "awake again, the timer runs again");
        }
    }

    #[test]
    fn time_never_runs_backwards() {
        let now = Instant::now();
        let mut idle = Idle::from_minutes(Some(1), now + Duration::from_secs(5));
        idle.activity(now);
        assert_eq!(idle.arm(), Some(now + Duration::from_secs(65)));
    }
}
