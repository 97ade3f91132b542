//! What is done about displays that fail: how soon everything is opened anew, what becomes of one display that cannot
//! be lit, and how long a frame may be under way. Pure: time is passed in.
//!
//! A display that fails must not take the others with it, and a guest must not be able to make displays fail again and
//! again: what its pictures have held up once is not read by the display itself any more, for ever longer times.

use phyllome_protocol::GuestName;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Pauses before everything is opened anew: one after the other, the last one for ever.
const PAUSES: [Duration; 6] = [
    Duration::from_millis(200),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(5),
    Duration::from_secs(10),
    Duration::from_secs(30),
];

/// What has worked for so long after trouble counts as mended.
const CALM: Duration = Duration::from_secs(10);

/// A page flip that takes longer will never be done.
pub const FLIP_LIMIT: Duration = Duration::from_secs(2);

/// A frame with a guest's buffer in it may wait for the guest's GPU work, which kernels end after ten seconds: so much
/// longer is waited. Opened anew before, the device would only refuse the next frame.
pub const GUEST_LIMIT: Duration = Duration::from_secs(9);

/// How long a guest's picture is composited after it has held up a display; doubled each time.
const DISTRUST: Duration = Duration::from_secs(60);

/// Most times that it is doubled: more than a day.
const MOST_DOUBLED: u32 = 11;

/// How often trouble came lately.
#[derive(Debug, Default)]
pub struct Backoff {
    failures: usize,
    /// The last cause that was told; empty when there is none.
    cause: String,
    /// When the last pause is over.
    until: Option<Instant>,
    /// A frame came onto a display after it.
    shown: bool,
}

impl Backoff {
    /// Failures one after the other. Those before a time in which displays worked do not count.
    pub fn failures(&self, now: Instant) -> usize {
        let calm = self.until.is_none_or(|until| now.saturating_duration_since(until) >= CALM);
        if self.shown && calm { 0 } else { self.failures }
    }

    /// Something failed. How long to wait before everything is opened anew, and whether `why` is to be said: a cause
    /// that stays is not said again and again.
    pub fn failed(&mut self, why: &str, now: Instant) -> (Duration, bool) {
        self.failures = self.failures(now);
        if self.failures == 0 {
            self.cause.clear();
        }
        let pause = PAUSES.get(self.failures).or(PAUSES.last()).copied().unwrap_or(CALM);
        let is_new = self.cause != why;
        if is_new {
            why.clone_into(&mut self.cause);
        }
        self.failures = self.failures.saturating_add(1);
        self.until = Some(now + pause);
        self.shown = false;
        (pause, is_new)
    }

    /// A frame came onto a display.
    pub fn note_shown(&mut self) {
        self.shown = true;
    }

    /// What was does not count: something else is there now.
    pub fn forget(&mut self) {
        *self = Self::default();
    }
}

/// How far a display that could not be drawn on has come down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Barred {
    /// It is lit in its own mode, not in the one that was asked for.
    Asked,
    /// It stays dark.
    Dark,
}

/// What is done about a display that cannot be drawn on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// It alone is lit otherwise or not at all.
    Bar(Barred),
    /// Everything is opened anew.
    Reopen,
}

/// Chooses the remedy. `settled`: a frame of its mode was on it; `asked`: it is in a mode that was asked for and not
/// yet found bad; `others`: other displays are lit, so that the device itself seems to work.
pub fn remedy(settled: bool, asked: bool, others: bool) -> Remedy {
    match (settled, asked, others) {
        (true, _, _) => Remedy::Reopen,
        (false, true, _) => Remedy::Bar(Barred::Asked),
        (false, false, true) => Remedy::Bar(Barred::Dark),
        // The last display is never given up.
        (false, false, false) => Remedy::Reopen,
    }
}

/// How far the frames of one display have come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    flipping: bool,
    /// The frame that is under way is of a former mode.
    former: bool,
    settled: bool,
}

impl Progress {
    /// A frame is under way.
    pub fn is_flipping(&self) -> bool {
        self.flipping
    }

    /// A frame of this mode is on the display.
    pub fn is_settled(&self) -> bool {
        self.settled
    }

    /// A frame was queued.
    pub fn begun(&mut self) {
        self.flipping = true;
        self.former = false;
    }

    /// The frame is on the display. Whether one was waited for.
    pub fn done(&mut self) -> bool {
        if self.flipping {
            self.settled |= !self.former;
        }
        self.former = false;
        std::mem::take(&mut self.flipping)
    }

    /// The display has another mode from the next frame on.
    pub fn changed(&mut self) {
        self.settled = false;
        self.former = self.flipping;
    }
}

/// Guests whose pictures have held up a display.
#[derive(Debug, Default)]
pub struct Suspects {
    /// How often, and until when their pictures are composited. No more than there are guests.
    guests: BTreeMap<GuestName, (u32, Instant)>,
}

impl Suspects {
    /// A frame with the guest's buffer in it was overdue.
    pub fn blame(&mut self, guest: &GuestName, now: Instant) {
        let (times, until) = self.guests.entry(guest.clone()).or_insert((0, now));
        *until = now + DISTRUST * 2u32.saturating_pow((*times).min(MOST_DOUBLED));
        *times = times.saturating_add(1);
    }

    /// Whether the display itself may not read this guest's buffers now.
    pub fn has(&self, guest: &GuestName, now: Instant) -> bool {
        self.guests.get(guest).is_some_and(|(_, until)| now < *until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn seconds(pause: (Duration, bool)) -> f64 {
        pause.0.as_secs_f64()
    }

    #[test]
    fn pauses_grow_although_displays_show_frames_in_between() {
        let (mut backoff, mut now) = (Backoff::default(), Instant::now());
        let mut pauses = Vec::new();
        for _ in 0..8 {
            let pause = backoff.failed("Virtual-2 could not be drawn", now);
            pauses.push(seconds(pause));
            // The good display is lit at once, the bad one fails two seconds later.
            now += pause.0;
            backoff.note_shown();
            now += Duration::from_secs(2);
        }
        assert_eq!(pauses, [0.2, 1.0, 2.0, 5.0, 10.0, 30.0, 30.0, 30.0]);
    }

    #[test]
    fn what_has_worked_for_ten_seconds_starts_anew_and_is_said_again() {
        let (mut backoff, start) = (Backoff::default(), Instant::now());
        assert_eq!(backoff.failed("a", start), (PAUSES[0], true));
        let opened = start + PAUSES[0];
        assert_eq!(backoff.failed("a", opened), (PAUSES[1], false));
        let opened = opened + PAUSES[1];
        assert_eq!(backoff.failures(opened + CALM), 2, "nothing was shown");
        backoff.note_shown();
        assert_eq!(backoff.failures(opened + CALM - Duration::from_millis(1)), 2);
        assert_eq!(backoff.failures(opened + CALM), 0);
        assert_eq!(backoff.failed("a", opened + CALM), (PAUSES[0], true));
    }

    #[test]
    fn long_pauses_without_a_frame_are_no_calm() {
        let (mut backoff, mut now) = (Backoff::default(), Instant::now());
        for _ in 0..20 {
            now += backoff.failed("no GPU", now).0 + CALM;
        }
        assert_eq!(backoff.failed("no GPU", now), (PAUSES[5], false));
        backoff.forget();
        assert_eq!(backoff.failed("no GPU", now), (PAUSES[0], true));
    }

    #[test]
    fn only_a_display_that_never_worked_is_given_up_and_never_the_last() {
        // settled, asked, others
        for (state, wanted) in [
            ((true, true, true), Remedy::Reopen),
            ((true, false, true), Remedy::Reopen),
            ((true, true, false), Remedy::Reopen),
            ((true, false, false), Remedy::Reopen),
            ((false, true, true), Remedy::Bar(Barred::Asked)),
            ((false, true, false), Remedy::Bar(Barred::Asked)),
            ((false, false, true), Remedy::Bar(Barred::Dark)),
            ((false, false, false), Remedy::Reopen),
        ] {
            assert_eq!(remedy(state.0, state.1, state.2), wanted, "{state:?}");
        }
    }

    #[test]
    fn a_frame_of_the_former_mode_settles_nothing() {
        let mut progress = Progress::default();
        progress.begun();
        assert!(progress.done() && progress.is_settled());
        progress.begun();
        progress.changed();
        assert!(progress.is_flipping() && !progress.is_settled());
        assert!(progress.done(), "it was waited for");
        assert!(!progress.is_settled());
        assert!(!progress.done(), "nothing was under way");
        assert!(!progress.is_settled());
        progress.begun();
        assert!(progress.done() && progress.is_settled());
    }

    #[test]
    fn a_guest_that_holds_up_displays_is_composited_for_ever_longer() {
        let (mut suspects, now) = (Suspects::default(), Instant::now());
        let (bad, good) = (GuestName::new("bad").unwrap(), GuestName::new("good").unwrap());
        assert!(!suspects.has(&bad, now));
        for minutes in [1, 2, 4, 8] {
            suspects.blame(&bad, now);
            let end = now + Duration::from_secs(60 * minutes);
            assert!(suspects.has(&bad, end - Duration::from_millis(1)) && !suspects.has(&bad, end), "{minutes}");
        }
        for _ in 0..100 {
            suspects.blame(&bad, now);
        }
        assert!(suspects.has(&bad, now + Duration::from_secs(86_400)));
        assert!(!suspects.has(&good, now));
    }

    proptest! {
        #[test]
        fn everything_is_opened_anew_at_most_so_often(
            steps in proptest::collection::vec((0u64..9_000, any::<bool>()), 1..40),
        ) {
            let (mut backoff, start) = (Backoff::default(), Instant::now());
            let mut now = start;
            for (later, shown) in &steps {
                now += backoff.failed("why", now).0;
                if *shown {
                    backoff.note_shown();
                }
                now += Duration::from_millis(*later);
            }
            // Never calm for long enough: all but the first five pauses are half a minute.
            let least = Duration::from_secs(30) * u32::try_from(steps.len().saturating_sub(5)).unwrap();
            prop_assert!(now - start >= least);
        }
    }
}
