//! How long a thread looks again before it sleeps, as KVM does before it halts a virtual processor: pure, with time
//! passed in.
//!
//! To sleep and to be woken costs a processor that runs nothing else tens of microseconds, which is more than many
//! answers take. A thread whose last sleeps were short looks for as long as [`MOST`] before the next; after a long one
//! it does not look at all until sleeps are short again. So nothing is spent while nothing happens, nor where answers
//! take long.

use std::time::Duration;

/// The longest look, and what a short sleep is.
pub const MOST: Duration = Duration::from_micros(100);
/// The first look after none.
const FIRST: Duration = Duration::from_micros(10);

/// One thread's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HaltPoll {
    look: Duration,
}

impl HaltPoll {
    /// How long to look before the next sleep.
    pub fn look(&self) -> Duration {
        self.look
    }

    /// Something came so long after the thread had nothing more to do, in a look or in a sleep.
    pub fn came(&mut self, after: Duration) {
        self.look = match () {
            () if after <= self.look => self.look,
            () if after <= MOST => (self.look * 2).clamp(FIRST, MOST),
            () => Duration::ZERO,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_sleeps_shortly_looks_longer_and_one_that_sleeps_long_not_at_all() {
        let mut poll = HaltPoll::default();
        assert_eq!(poll.look(), Duration::ZERO, "nothing is known at first");
        let looks = [10, 20, 40, 80, 100].map(|micros| {
            poll.came(MOST);
            (poll.look(), Duration::from_micros(micros))
        });
        assert!(looks.iter().all(|(look, due)| look == due), "{looks:?}");
        poll.came(Duration::from_micros(3));
        assert_eq!(poll.look(), MOST, "what comes during a look changes nothing");
        poll.came(MOST + Duration::from_nanos(1));
        assert_eq!(poll.look(), Duration::ZERO);
    }
}
