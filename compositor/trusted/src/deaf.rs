//! For how long something that appears hears nothing of what is pressed and clicked (trusted-path promise 12). Pure:
//! time and displays are passed in.
//!
//! What a person does is meant for what they see, so nothing counts before a display has shown it, and nothing for half
//! a second after that: fingers that were on their way to something else answer no question. The time begins with the
//! page flip of the first frame that has it, not with the moment at which the shell made up its mind, and what is
//! pressed meanwhile is gone, not kept for later.

use std::time::{Duration, Instant};

/// How long, from the moment at which a display shows it.
pub const DEAF: Duration = Duration::from_millis(500);

/// Whether something that has appeared hears already. `D` tells displays apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deaf<D> {
    seen: Seen<D>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen<D> {
    /// No display shows it.
    Never,
    /// A frame that has it is on its way to this display.
    Soon(D),
    /// It could be seen from then on.
    Since(Instant),
}

impl<D> Default for Deaf<D> {
    fn default() -> Self {
        Self { seen: Seen::Never }
    }
}

impl<D: Copy + PartialEq> Deaf<D> {
    /// It is in a frame that was drawn for this display.
    pub fn drawn(&mut self, on: D) {
        if let Seen::Never | Seen::Soon(_) = self.seen {
            self.seen = Seen::Soon(on);
        }
    }

    /// This display shows, from `now` on, the last frame that was drawn for it.
    pub fn shown(&mut self, on: D, now: Instant) {
        if self.seen == Seen::Soon(on) {
            self.seen = Seen::Since(now);
        }
    }

    /// The frame that was on its way to this display is never shown.
    pub fn lost(&mut self, on: D) {
        if self.seen == Seen::Soon(on) {
            self.seen = Seen::Never;
        }
    }

    /// Whether what is done at `now` counts.
    pub fn hears(&self, now: Instant) -> bool {
        match self.seen {
            Seen::Never | Seen::Soon(_) => false,
            Seen::Since(since) => now.saturating_duration_since(since) >= DEAF,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tp12_it_hears_half_a_second_after_the_frame_that_shows_it_and_not_before() {
        let start = Instant::now();
        let mut deaf = Deaf::default();
        assert!(!deaf.hears(start + 100 * DEAF), "nobody has seen it");
        // A frame that was on its way before.
        deaf.shown(1, start);
        assert!(!deaf.hears(start + DEAF));
        deaf.drawn(1);
        assert!(!deaf.hears(start + 100 * DEAF));
        deaf.shown(2, start);
        assert!(!deaf.hears(start + 100 * DEAF), "that is another display");
        let flip = start + Duration::from_secs(3);
        deaf.shown(1, flip);
        assert!(!deaf.hears(flip + DEAF - Duration::from_millis(1)));
        assert!(deaf.hears(flip + DEAF));
        // Every further frame has it too.
        deaf.drawn(1);
        deaf.shown(1, flip + DEAF);
        deaf.lost(1);
        assert!(deaf.hears(flip + DEAF));
    }

    #[test]
    fn tp12_a_frame_that_is_lost_was_seen_by_nobody() {
        let now = Instant::now();
        let mut deaf = Deaf::default();
        deaf.drawn(1);
        deaf.lost(2);
        deaf.lost(1);
        deaf.shown(1, now);
        assert!(!deaf.hears(now + DEAF));
        // It goes to another display then.
        deaf.drawn(1);
        deaf.drawn(2);
        deaf.shown(2, now);
        assert!(deaf.hears(now + DEAF));
    }
}
