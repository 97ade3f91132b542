//! Whether this process stood still: the shell freezes a guest's processes, or a person stops them, and the clock runs
//! on. Pure.
//!
//! A timer wakes at the moment that it was set to. So who comes to it by far too late has not run before, and neither
//! have those who were waited for: what they owe is waited for anew.

use std::time::{Duration, Instant};

/// Later than a timer comes on a busy host.
const LATE: Duration = Duration::from_secs(1);

/// Whether a moment that a timer was set to was missed by so much that nobody ran.
pub fn stood_still(due: Instant, now: Instant) -> bool {
    now.saturating_duration_since(due) > LATE
}

/// Time that passes only while this process runs, spent in slices.
#[derive(Clone, Copy, Debug)]
pub struct RunningTime(Duration);

impl RunningTime {
    /// The longest time that is waited at once, and all that one wait can cost.
    const SLICE: Duration = Duration::from_millis(100);

    /// So much of it.
    pub fn new(time: Duration) -> Self {
        Self(time)
    }

    /// How long to wait at once; zero once all is spent.
    pub fn slice(self) -> Duration {
        self.0.min(Self::SLICE)
    }

    /// A wait is over after this time.
    pub fn spend(&mut self, elapsed: Duration) {
        self.0 = self.0.saturating_sub(elapsed.min(Self::SLICE));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_that_comes_late_is_not_one_that_nobody_ran_for() {
        let due = Instant::now();
        let after = |millis| stood_still(due, due + Duration::from_millis(millis));
        assert!(!after(0) && !after(900) && after(1100) && after(3_600_000));
        assert!(!stood_still(due + Duration::from_secs(9), due));
    }

    #[test]
    fn an_hour_in_which_nobody_ran_costs_one_slice() {
        let mut left = RunningTime::new(Duration::from_millis(350));
        assert_eq!(left.slice(), Duration::from_millis(100));
        left.spend(Duration::from_secs(3600));
        left.spend(Duration::from_millis(30));
        left.spend(Duration::from_millis(100));
        left.spend(Duration::from_millis(100));
        assert_eq!(left.slice(), Duration::from_millis(20));
        left.spend(Duration::from_millis(100));
        assert_eq!(left.slice(), Duration::ZERO);
    }
}
