//! A token bucket: how much somebody may use in the long run, and how much at once.
//!
//! Pure: time is passed in. What is used and what comes back are in the same unit, which is the user's own.

use std::time::{Duration, Instant};

/// A bucket of tokens that fills up by itself.
#[derive(Clone, Debug)]
pub struct Bucket {
    level: f64,
    most: f64,
    per_second: f64,
    filled: Instant,
}

impl Bucket {
    /// A full one, which holds `most` and gets `per_second` back.
    pub fn new(most: f64, per_second: f64, now: Instant) -> Self {
        Self { level: most, most, per_second, filled: now }
    }

    /// What is in it; below 0: what is owed.
    pub fn level(&mut self, now: Instant) -> f64 {
        let passed = now.saturating_duration_since(self.filled).as_secs_f64();
        self.filled = self.filled.max(now);
        // What was added beyond its size stays until it is used.
        self.level = (self.level + passed * self.per_second).min(self.most.max(self.level));
        self.level
    }

    /// Takes so much, or nothing and says `false` if there is less.
    pub fn take(&mut self, amount: f64, now: Instant) -> bool {
        // The clock is looked at only where that decides something.
        if self.level < amount && self.level(now) < amount {
            return false;
        }
        self.level -= amount;
        true
    }

    /// Takes so much, whether it is there or not; no more than `debt` is owed then. `false`: something is owed.
    pub fn charge(&mut self, amount: f64, debt: f64, now: Instant) -> bool {
        self.level = (self.level(now) - amount).max(-debt);
        self.level >= 0.0
    }

    /// Adds so much, also beyond its size, but never beyond `most`.
    pub fn add(&mut self, amount: f64, most: f64) {
        self.level = (self.level + amount).min(most.max(self.level));
    }

    /// How long it takes until it holds `level`; `None` if it does.
    pub fn until(&mut self, level: f64, now: Instant) -> Option<Duration> {
        let missing = level - self.level(now);
        (missing > 0.0).then(|| Duration::try_from_secs_f64(missing / self.per_second).unwrap_or(Duration::MAX))
    }

    /// Whether nothing is missing.
    pub fn is_full(&mut self, now: Instant) -> bool {
        self.level(now) >= self.most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_comes_back_with_time_and_never_beyond_its_size() {
        let start = Instant::now();
        let mut bucket = Bucket::new(10.0, 2.0, start);
        assert!(bucket.take(10.0, start) && !bucket.take(1.0, start));
        assert_eq!(bucket.until(4.0, start), Some(Duration::from_secs(2)));
        assert!(bucket.take(4.0, start + Duration::from_secs(2)));
        assert_eq!(bucket.level(start + Duration::from_secs(100)), 10.0);
        assert_eq!(bucket.until(10.0, start), None);
        bucket.add(5.0, 12.0);
        assert_eq!(bucket.level(start + Duration::from_secs(200)), 12.0);
    }

    #[test]
    fn what_is_owed_has_a_bound() {
        let start = Instant::now();
        let mut bucket = Bucket::new(1.0, 1.0, start);
        assert!(bucket.charge(1.0, 3.0, start));
        assert!(!bucket.charge(1000.0, 3.0, start));
        assert_eq!(bucket.until(0.0, start), Some(Duration::from_secs(3)));
    }
}
