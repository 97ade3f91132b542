//! Whether the computer is about to sleep or to end, as systemd-logind tells, and from when on a person hears of it.
//! Pure: time is passed in, and counts from the year 1970.

use std::time::Duration;

/// So long before it a person hears of a shutdown that was planned.
const AHEAD: Duration = Duration::from_secs(15 * 60);
const MINUTE: Duration = Duration::from_secs(60);

/// What comes, for a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leave {
    /// The computer goes to sleep now.
    Sleep,
    /// It is shut down, or restarted, now.
    End,
    /// It is shut down in so many minutes; 1 or 0: within one.
    Soon {
        /// It starts again after that.
        restart: bool,
        /// Begun ones count.
        minutes: u32,
    },
}

impl Leave {
    /// Whether it is so now, and nothing else is worth saying.
    pub fn is_now(self) -> bool {
        match self {
            Self::Sleep | Self::End => true,
            Self::Soon { .. } => false,
        }
    }
}

/// A shutdown that somebody has planned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Planned {
    restart: bool,
    at: Duration,
}

/// All that logind has said of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Leaving {
    sleeps: bool,
    ends: bool,
    planned: Option<Planned>,
}

impl Leaving {
    /// `PrepareForSleep`: it goes to sleep, or has slept.
    pub(super) fn sleep(&mut self, starts: bool) {
        self.sleeps = starts;
    }

    /// `PrepareForShutdown`: it ends, or does not after all.
    pub(super) fn end(&mut self, starts: bool) {
        self.ends = starts;
    }

    /// `ScheduledShutdown`: of what kind, and when in microseconds. A shutdown that is only tried (`dry-poweroff`) is
    /// none.
    pub(super) fn plan(&mut self, kind: &str, at: u64) {
        let restart = match kind {
            "reboot" | "kexec" | "soft-reboot" => Some(true),
            "poweroff" | "halt" => Some(false),
            _ => None,
        };
        let restart = restart.filter(|_| at > 0 && at < u64::MAX);
        self.planned = restart.map(|restart| Planned { restart, at: Duration::from_micros(at) });
    }

    /// What a person has to know at `now`.
    pub(super) fn leave(&self, now: Duration) -> Option<Leave> {
        if self.sleeps {
            return Some(Leave::Sleep);
        }
        if self.ends {
            return Some(Leave::End);
        }
        let planned = self.planned?;
        let left = planned.at.saturating_sub(now);
        let minutes = u32::try_from(left.as_millis().div_ceil(MINUTE.as_millis())).ok()?;
        (left <= AHEAD).then_some(Leave::Soon { restart: planned.restart, minutes })
    }

    /// After how long [`Leaving::leave`] may say something else, though logind says nothing.
    pub(super) fn changes_in(&self, now: Duration) -> Option<Duration> {
        let left = self.planned?.at.checked_sub(now).filter(|left| !left.is_zero())?;
        let ahead = left.saturating_sub(AHEAD);
        if !ahead.is_zero() {
            // A calendar's clock that was set is noticed after some minutes.
            return Some(ahead.min(AHEAD));
        }
        let whole = Duration::from_secs(left.as_secs() / 60 * 60);
        let part = left.saturating_sub(whole);
        Some(if part.is_zero() { MINUTE.min(left) } else { part } + Duration::from_millis(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn planned(kind: &str, at: u64) -> Leaving {
        let mut leaving = Leaving::default();
        leaving.plan(kind, at * 1_000_000);
        leaving
    }

    #[test]
    fn a_planned_shutdown_is_said_from_a_quarter_of_an_hour_before_it_on_minute_by_minute() {
        let leaving = planned("poweroff", 10_000);
        let soon = |minutes| Some(Leave::Soon { restart: false, minutes });
        for (now, said) in [
            (0, None),
            (9_099, None),
            (9_100, soon(15)),
            (9_160, soon(14)),
            (9_161, soon(14)),
            (9_939, soon(2)),
            (9_940, soon(1)),
            (9_999, soon(1)),
            (10_000, soon(0)),
            (99_999, soon(0)),
        ] {
            assert_eq!(leaving.leave(seconds(now)), said, "{now}");
        }
    }

    #[test]
    fn whoever_asks_again_when_it_may_have_changed_misses_no_minute() {
        let leaving = planned("reboot", 100_000);
        let (mut now, mut said, mut asked) = (seconds(3), Vec::new(), 0);
        while let Some(pause) = leaving.changes_in(now) {
            now += pause;
            asked += 1;
            said.extend(leaving.leave(now));
        }
        said.dedup();
        let wanted: Vec<_> = (0..=15).rev().map(|minutes| Leave::Soon { restart: true, minutes }).collect();
        assert_eq!(said, wanted);
        assert!(asked < 140, "{asked}");
    }

    #[test]
    fn what_is_no_shutdown_is_not_said() {
        for (kind, at) in [("", 0), ("dry-poweroff", 60), ("poweroff", 0), ("party", 60)] {
            assert_eq!(planned(kind, at).leave(seconds(30)), None, "{kind}");
        }
        let mut never = Leaving::default();
        never.plan("poweroff", u64::MAX);
        assert_eq!((never.leave(seconds(30)), never.changes_in(seconds(30))), (None, None));
    }

    #[test]
    fn sleep_and_the_end_go_before_what_is_planned_and_are_over_when_logind_says_so() {
        let mut leaving = planned("poweroff", 60);
        leaving.end(true);
        assert_eq!(leaving.leave(seconds(0)), Some(Leave::End));
        leaving.sleep(true);
        assert_eq!(leaving.leave(seconds(0)), Some(Leave::Sleep));
        leaving.sleep(false);
        leaving.end(false);
        assert_eq!(leaving.leave(seconds(0)), Some(Leave::Soon { restart: false, minutes: 1 }));
        leaving.plan("", 0);
        assert_eq!(leaving.leave(seconds(0)), None);
    }
}
