//! How often what a peer sends may wake the shell's loop: each piece that a relay passes on does, however small it is.
//!
//! A piece goes on at once as long as there are few. Who sends more is read less often, and what it has written
//! meanwhile waits in its own socket and comes as one piece: nothing is lost, and bytes that come one by one without
//! end cost the loop no more than these. Pure: time is passed in.

use super::Admits;
use crate::bucket::Bucket;
use std::time::{Duration, Instant};

/// Pieces at once, and in each second, of a guest's screen: four displays of 240 Hz make a thousand.
const PICTURES: (f64, f64) = (1000.0, 2000.0);
/// The same of a control link or a tool, whose messages are fewer than these in the long run.
const BYTES: (f64, f64) = (500.0, 250.0);

/// A shorter pause is none: to wait for it costs more than to read.
const LEAST: Duration = Duration::from_micros(100);

/// The pace of one connection.
#[derive(Debug)]
pub struct Pace(Bucket);

impl Pace {
    /// Nothing has come yet.
    pub fn new(admits: Admits, now: Instant) -> Self {
        let (at_once, per_second) = match admits {
            Admits::Pictures => PICTURES,
            Admits::Bytes => BYTES,
        };
        Self(Bucket::new(at_once, per_second, now))
    }

    /// How long the peer is not to be read; `None` if it may be now.
    pub fn pause(&mut self, now: Instant) -> Option<Duration> {
        self.0.until(1.0, now).map(|pause| pause.max(LEAST))
    }

    /// One piece has come.
    pub fn piece(&mut self, now: Instant) {
        self.0.charge(1.0, 0.0, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pieces in ten seconds of a peer that has something to be read every `every`.
    fn pieces(admits: Admits, every: Duration) -> u32 {
        let start = Instant::now();
        let (mut pace, mut now, mut pieces) = (Pace::new(admits, start), start, 0);
        while now < start + Duration::from_secs(10) {
            if let Some(pause) = pace.pause(now) {
                now += pause;
                continue;
            }
            pace.piece(now);
            pieces += 1;
            now += every;
        }
        pieces
    }

    #[test]
    fn a_peer_that_writes_without_end_is_read_as_often_as_the_pace_allows() {
        for (admits, most) in [(Admits::Pictures, 21_000), (Admits::Bytes, 3_000)] {
            let pieces = pieces(admits, Duration::from_micros(1));
            assert!((most - 10..=most + 1).contains(&pieces), "{admits:?}: {pieces}");
        }
    }

    #[test]
    fn four_displays_of_240_hz_and_a_busy_control_link_never_wait() {
        for (admits, per_second) in [(Admits::Pictures, 4 * 240), (Admits::Bytes, 200)] {
            let start = Instant::now();
            let mut pace = Pace::new(admits, start);
            for piece in 0..10 * per_second {
                let now = start + Duration::from_secs(1) / per_second * piece;
                assert_eq!(pace.pause(now), None, "{admits:?}: piece {piece}");
                pace.piece(now);
            }
        }
    }
}
