//! When something is done about a battery at its end: the computer is sent to sleep, and guests get their power button
//! if it does not sleep, or if there is next to nothing left.
//!
//! One reading may be wrong, so two decide. Whether the computer has slept its clocks say, not logind, which takes a
//! wish that comes to nothing later. Pure: time is passed in.

use super::power::{AtEnd, Battery, Readings};
use std::time::{Duration, Instant};

/// From this many percents down guests get their power button, whatever else was tried.
const EMPTY: u32 = 1;
/// A computer's clocks that are apart by so much more than before have slept.
const SLEPT: Duration = Duration::from_millis(100);

/// How often, and how long.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// How often a battery is looked at.
    pub battery: Duration,
    /// How often the rest is.
    pub rest: Duration,
    /// Nothing is looked at again before: not at each step of a key that is held.
    pub recent: Duration,
    /// How long after one reading another has to say the same.
    pub doubt: Duration,
    /// How long the computer has to fall asleep after logind did not take the wish: somebody else's may have come first.
    pub refused: Duration,
    /// How long it has after logind took it.
    pub accepted: Duration,
}

/// When it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    /// Stands while the computer sleeps.
    pub now: Instant,
    /// How long the computer has slept since it was started.
    pub slept: Duration,
}

impl Clock {
    /// How long the computer has slept since it was started, as the kernel counts.
    pub(super) fn slept() -> Duration {
        use rustix::time::{ClockId, clock_gettime};
        let [awake, all] = [ClockId::Monotonic, ClockId::Boottime].map(|clock| {
            let time = clock_gettime(clock);
            let (seconds, nanos) = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec));
            Duration::from_secs(seconds.unwrap_or(0)) + Duration::from_nanos(nanos.unwrap_or(0).into())
        });
        all.saturating_sub(awake)
    }
}

/// The computer was sent to sleep.
#[derive(Clone, Copy, Debug)]
struct Sent {
    /// How long it had slept before.
    slept: Duration,
    /// Until when it has time to fall asleep.
    until: Instant,
}

/// Remembers what was done for a battery at its end: it is done once, and again whenever it has fallen further.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Brink {
    /// At how many percents something was done last.
    done: Option<u32>,
    /// What is being done.
    doing: Option<AtEnd>,
    sent: Option<Sent>,
    /// What one reading has called for, and when.
    doubt: Option<(AtEnd, Instant)>,
}

impl Brink {
    /// What is to be done now. For a sleep that is called for but cannot be, [`Brink::does`] may take the other.
    pub(super) fn step(&mut self, readings: &Readings, clock: Clock, pace: &Pace) -> Option<AtEnd> {
        let percent = match readings.battery() {
            Battery::AtEnd(percent) => percent,
            Battery::Fine => {
                *self = Self::default();
                return None;
            }
            Battery::Unknown | Battery::None => {
                self.doubt = None;
                return None;
            }
        };
        if self.sent.take_if(|sent| clock.slept >= sent.slept.saturating_add(SLEPT)).is_some() {
            self.doing = None;
        }
        let due = match self.sent {
            Some(sent) if clock.now >= sent.until || percent <= EMPTY => AtEnd::Shutdown,
            Some(_) => return None,
            None if self.done.is_some_and(|done| percent >= done) => {
                self.doubt = None;
                return None;
            }
            None if percent <= EMPTY => AtEnd::Shutdown,
            None => AtEnd::Suspend,
        };
        match self.doubt {
            Some((before, _)) if before != due => {}
            Some((_, at)) if clock.now.saturating_duration_since(at) < pace.doubt => return None,
            Some(_) => {
                (self.done, self.doubt, self.sent) = (Some(percent), None, None);
                return Some(due);
            }
            None => {}
        }
        self.doubt = Some((due, clock.now));
        None
    }

    /// This is done now.
    pub(super) fn does(&mut self, what: AtEnd) {
        self.doing = Some(what);
    }

    /// What is being done, for a person.
    pub(super) fn doing(&self) -> Option<AtEnd> {
        self.doing
    }

    /// logind was asked for sleep, which it has taken or not. `before`: when that began.
    pub(super) fn sent(&mut self, accepted: bool, before: Clock, now: Instant, pace: &Pace) {
        let until = now + if accepted { pace.accepted } else { pace.refused };
        self.sent = Some(Sent { slept: before.slept, until });
    }

    /// After how long there is to be another reading.
    pub(super) fn pause(&self, readings: &Readings, now: Instant, pace: &Pace) -> Duration {
        let usual = if readings.battery() == Battery::None { pace.rest } else { pace.battery };
        let doubt = self.doubt.map(|(_, at)| at + pace.doubt);
        let sent = self.sent.map(|sent| sent.until);
        let due = doubt.or(sent).map_or(usual, |due| due.saturating_duration_since(now).min(usual));
        due.max(pace.recent)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{PACE, power::tests::at};
    use super::*;

    const UNKNOWN: &str = "Unknown";

    /// A brink that is played from second to second.
    struct Played {
        brink: Brink,
        start: Instant,
        slept: Duration,
    }

    impl Played {
        fn new() -> Self {
            Self { brink: Brink::default(), start: Instant::now(), slept: Duration::ZERO }
        }

        fn clock(&self, second: u64) -> Clock {
            Clock { now: self.start + Duration::from_secs(second), slept: self.slept }
        }

        fn status(&mut self, second: u64, percent: u32, status: &str) -> Option<AtEnd> {
            let clock = self.clock(second);
            let due = self.brink.step(&at(percent, status), clock, &PACE);
            due.into_iter().for_each(|due| self.brink.does(due));
            due
        }

        fn step(&mut self, second: u64, percent: u32) -> Option<AtEnd> {
            self.status(second, percent, "Discharging")
        }

        /// From `second` on two readings call for the same.
        fn twice(&mut self, second: u64, percent: u32) -> Option<AtEnd> {
            assert_eq!(self.step(second, percent), None, "one reading may be wrong");
            self.step(second + 5, percent)
        }

        fn sent(&mut self, second: u64, accepted: bool) {
            let clock = self.clock(second);
            self.brink.sent(accepted, clock, clock.now, &PACE);
        }
    }

    #[test]
    fn two_readings_in_a_row_that_say_the_same_a_few_seconds_apart_decide() {
        let mut played = Played::new();
        assert_eq!(played.step(0, 3), None);
        let pause = played.brink.pause(&at(3, "Discharging"), played.start, &PACE);
        assert_eq!(pause, PACE.doubt, "it is looked at again soon");
        assert_eq!(played.step(1, 3), None, "a key was pressed");
        assert_eq!(played.step(5, 40), None, "the first was wrong");
        assert_eq!(played.step(35, 3), None);
        assert_eq!(played.status(40, 3, UNKNOWN), None);
        assert_eq!(played.step(45, 3), None, "they were not in a row");
        assert_eq!(played.step(50, 3), Some(AtEnd::Suspend));
    }

    #[test]
    fn a_sleep_that_was_taken_and_does_not_come_ends_guests_after_two_readings() {
        let mut played = Played::new();
        assert_eq!(played.twice(0, 3), Some(AtEnd::Suspend));
        played.sent(5, true);
        assert_eq!([35, 64].map(|second| played.step(second, 3)), [None; 2]);
        assert_eq!(played.brink.doing(), Some(AtEnd::Suspend));
        assert_eq!(played.twice(65, 3), Some(AtEnd::Shutdown));
        assert_eq!([100, 105, 900].map(|second| played.step(second, 3)), [None; 3], "once");
        assert_eq!(played.brink.doing(), Some(AtEnd::Shutdown));
    }

    #[test]
    fn a_sleep_that_was_not_taken_has_some_seconds_to_come_by_another_way() {
        let mut played = Played::new();
        played.twice(0, 3);
        played.sent(5, false);
        assert_eq!(played.step(14, 3), None);
        let mut sleeps = Played { slept: Duration::from_secs(900), ..played };
        assert_eq!(played.twice(15, 3), Some(AtEnd::Shutdown));
        assert_eq!([15, 20, 99].map(|second| sleeps.step(second, 3)), [None; 3]);
    }

    #[test]
    fn after_it_has_slept_nothing_more_is_done_or_said_to_be_before_the_battery_has_fallen_further() {
        let mut played = Played::new();
        played.twice(0, 3);
        played.sent(5, true);
        played.slept = Duration::from_secs(900);
        assert_eq!(played.status(6, 3, UNKNOWN), None);
        assert_eq!([7, 12, 99].map(|second| played.step(second, 3)), [None; 3], "it was not charged");
        assert_eq!(played.brink.doing(), None, "it is awake");
        assert_eq!(played.twice(120, 2), Some(AtEnd::Suspend));
        played.sent(125, true);
        assert_eq!(played.twice(126, 1), Some(AtEnd::Shutdown), "there is no time to wait for sleep");
        assert_eq!(played.status(132, 1, "Charging"), None);
        assert_eq!(played.brink.doing(), None);
        assert_eq!(played.twice(140, 2), Some(AtEnd::Suspend), "it was charged");
    }

    #[test]
    fn at_one_percent_guests_are_shut_down_without_asking_for_sleep() {
        assert_eq!(Played::new().twice(0, 1), Some(AtEnd::Shutdown));
    }

    #[test]
    fn a_battery_that_cannot_be_read_is_looked_at_as_often_and_decides_nothing() {
        let mut played = Played::new();
        let unreadable = at(3, "");
        let clock = played.clock(0);
        assert_eq!(played.brink.step(&unreadable, clock, &PACE), None);
        assert_eq!(played.brink.pause(&unreadable, clock.now, &PACE), PACE.battery);
        assert_eq!(played.brink.pause(&Readings::default(), clock.now, &PACE), PACE.rest, "there is none");
    }
}
