//! When a renderer that died is started again, and when no more. Pure: time is passed in.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// So many deaths within [`WITHIN`] end 3D for a guest, unless a test wants it otherwise.
pub const MOST: usize = 3;
/// See [`MOST`].
pub const WITHIN: Duration = Duration::from_secs(60);

/// The last deaths of a guest's renderers.
#[derive(Debug)]
pub struct Deaths {
    most: usize,
    /// Fewer than `most`, oldest first.
    last: VecDeque<Instant>,
    off: bool,
}

impl Deaths {
    /// None yet; `most` of them within [`WITHIN`] are the end.
    pub fn new(most: usize) -> Self {
        Self { most: most.max(1), last: VecDeque::new(), off: false }
    }

    /// A renderer died.
    pub fn record(&mut self, now: Instant) {
        self.last.push_back(now);
        if self.last.len() < self.most {
            return;
        }
        let oldest = self.last.pop_front();
        self.off |= oldest.is_some_and(|oldest| now.saturating_duration_since(oldest) <= WITHIN);
    }

    /// Whether there will be no other renderer.
    pub fn off(&self) -> bool {
        self.off
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn off_after(seconds: &[u64]) -> bool {
        let start = Instant::now();
        let mut deaths = Deaths::new(MOST);
        for second in seconds {
            deaths.record(start + Duration::from_secs(*second));
        }
        deaths.off()
    }

    #[test]
    fn the_third_death_within_a_minute_is_the_last() {
        for (seconds, off) in [
            (&[][..], false),
            (&[0], false),
            (&[0, 0], false),
            (&[0, 0, 0], true),
            (&[0, 30, 60], true),
            (&[0, 30, 61], false),
            (&[0, 30, 61, 90], true),
            (&[0, 50, 100, 150, 200], false),
            // What is off stays off.
            (&[0, 1, 2, 1000], true),
        ] {
            assert_eq!(off_after(seconds), off, "{seconds:?}");
        }
    }

    #[test]
    fn a_clock_that_goes_back_harms_nobody() {
        assert!(off_after(&[1000, 0, 0]));
    }
}
