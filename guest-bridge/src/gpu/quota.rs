//! How much of the host one guest may use: pure counting, asked before anything is allocated.
//!
//! Trusts nothing; every number is a guest's wish. Never overflows, never lets a guest exceed its bounds.

use std::time::{Duration, Instant};

/// The bounds of one guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Resources at one time. Each costs one file descriptor.
    pub resources: usize,
    /// Bytes of all resources together.
    pub bytes: u64,
    /// Entries of backing memory of all resources together (24 bytes of ours each).
    pub backing_entries: usize,
    /// 3D contexts at one time.
    pub contexts: usize,
    /// 3D resources at one time.
    pub resources_3d: usize,
    /// Bytes of all 3D resources together, as their numbers say.
    pub bytes_3d: u64,
    /// Entries of backing memory of all 3D resources together.
    pub entries_3d: usize,
    /// Command streams (SUBMIT_3D) in a second.
    pub submits_per_second: u32,
}

impl Default for Quota {
    fn default() -> Self {
        Self {
            resources: 512,
            bytes: 1 << 30,
            backing_entries: 1 << 18,
            contexts: 128,
            resources_3d: 16384,
            bytes_3d: 4 << 30,
            entries_3d: 1 << 20,
            submits_per_second: 50_000,
        }
    }
}

/// What is in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    resources: usize,
    bytes: u64,
    backing_entries: usize,
}

/// Which bound a wish would have broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum Exceeded {
    #[error("the guest has as many resources as it may have")]
    Resources,
    #[error("the guest's resources use as much memory as they may")]
    Bytes,
    #[error("the guest's resources have as many backing entries as they may")]
    BackingEntries,
}

impl Usage {
    /// Takes the place of one more resource of `bytes`.
    pub fn take_resource(&mut self, quota: &Quota, bytes: u64) -> Result<(), Exceeded> {
        if self.resources >= quota.resources {
            return Err(Exceeded::Resources);
        }
        let total = self.bytes.checked_add(bytes).filter(|&total| total <= quota.bytes).ok_or(Exceeded::Bytes)?;
        self.resources += 1;
        self.bytes = total;
        Ok(())
    }

    /// Gives back what [`Self::take_resource`] took.
    pub fn give_resource(&mut self, bytes: u64) {
        self.resources = self.resources.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    /// Takes memory that belongs to no resource of its own.
    pub fn take_memory(&mut self, quota: &Quota, bytes: u64) -> Result<(), Exceeded> {
        self.bytes = self.bytes.checked_add(bytes).filter(|&total| total <= quota.bytes).ok_or(Exceeded::Bytes)?;
        Ok(())
    }

    /// Gives back what [`Self::take_memory`] took.
    pub fn give_memory(&mut self, bytes: u64) {
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    /// Takes `entries` more backing entries.
    pub fn take_entries(&mut self, quota: &Quota, entries: usize) -> Result<(), Exceeded> {
        let total = self.backing_entries.checked_add(entries).filter(|&total| total <= quota.backing_entries);
        self.backing_entries = total.ok_or(Exceeded::BackingEntries)?;
        Ok(())
    }

    /// Gives back what [`Self::take_entries`] took.
    pub fn give_entries(&mut self, entries: usize) {
        self.backing_entries = self.backing_entries.saturating_sub(entries);
    }

    /// Bytes of all resources.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How many resources there are.
    pub fn resources(&self) -> usize {
        self.resources
    }
}

/// So many in a second, and as many at once.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    per_second: u32,
    left: u32,
    since: Option<Instant>,
}

impl Bucket {
    /// A full one.
    pub fn new(per_second: u32) -> Self {
        Self { per_second, left: per_second, since: None }
    }

    /// Takes one, if there is one.
    pub fn take(&mut self, now: Instant) -> bool {
        let since = *self.since.get_or_insert(now);
        if now.saturating_duration_since(since) >= Duration::from_secs(1) {
            (self.since, self.left) = (Some(now), self.per_second);
        }
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: Quota = Quota {
        resources: 2,
        bytes: 100,
        backing_entries: 10,
        contexts: 1,
        resources_3d: 1,
        bytes_3d: 1,
        entries_3d: 1,
        submits_per_second: 1,
    };

    #[test]
    fn resources_stop_at_their_count_and_start_again_when_one_goes() {
        let mut usage = Usage::default();
        usage.take_resource(&SMALL, 1).unwrap();
        usage.take_resource(&SMALL, 1).unwrap();
        assert_eq!(usage.take_resource(&SMALL, 1), Err(Exceeded::Resources));
        usage.give_resource(1);
        usage.take_resource(&SMALL, 1).unwrap();
    }

    #[test]
    fn bytes_stop_at_their_sum_without_overflow() {
        let mut usage = Usage::default();
        usage.take_resource(&SMALL, 60).unwrap();
        assert_eq!(usage.take_resource(&SMALL, 41), Err(Exceeded::Bytes));
        assert_eq!(usage.take_resource(&SMALL, u64::MAX), Err(Exceeded::Bytes));
        assert_eq!((usage.bytes(), usage.resources()), (60, 1));
    }

    #[test]
    fn a_bucket_is_full_again_after_a_second() {
        let (mut bucket, now) = (Bucket::new(2), Instant::now());
        assert!(bucket.take(now) && bucket.take(now) && !bucket.take(now + Duration::from_millis(999)));
        assert!(bucket.take(now + Duration::from_secs(1)));
    }

    #[test]
    fn a_refused_wish_takes_nothing() {
        let mut usage = Usage::default();
        usage.take_entries(&SMALL, 10).unwrap();
        assert_eq!(usage.take_entries(&SMALL, usize::MAX), Err(Exceeded::BackingEntries));
        usage.give_entries(10);
        usage.take_entries(&SMALL, 10).unwrap();
    }
}
