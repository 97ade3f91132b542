//! A bound on what a stranger can make the shell write into its log.
//!
//! Pure: time is passed in. Whoever is over the bound is not told, and nothing is kept for later.

use std::time::Instant;

/// Lets so many lines a minute into the log.
#[derive(Debug)]
pub struct LogLimit {
    per_minute: u32,
    left: u32,
    since: Option<Instant>,
}

impl LogLimit {
    /// At most `per_minute` lines a minute.
    pub fn new(per_minute: u32) -> Self {
        Self { per_minute, left: per_minute, since: None }
    }

    /// Whether one more line may be written at `now`.
    pub fn allow(&mut self, now: Instant) -> bool {
        let over = self.since.is_none_or(|since| now.saturating_duration_since(since).as_secs() >= 60);
        if over {
            self.since = Some(now);
            self.left = self.per_minute;
        }
        let allowed = self.left > 0;
        self.left = self.left.saturating_sub(1);
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_log_is_bounded() {
        let start = Instant::now();
        let mut limit = LogLimit::new(3);
        assert_eq!((0..100).filter(|_| limit.allow(start)).count(), 3);
        assert!(limit.allow(start + Duration::from_secs(60)));
    }
}
