//! Pictures that are converted for a compositor which does not know the guest's order of bytes: away from the loop that
//! shows them, one at a time, into memory that is bounded.
//!
//! A guest's picture may have a gibibyte, and the loop serves the person too: nothing of that length is read or written
//! on it. What is read may change meanwhile, as what is shown may.

use super::formats;
use crate::frames::{Picture, Rect};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Notify;

/// Most bytes of memory of ours for all scanouts of a guest: two of the largest pictures, one that is shown and one that
/// comes after it.
const MAX_BYTES: u64 = 2 << 30;

/// How much of that is in use.
#[derive(Clone, Debug, Default)]
pub(super) struct Budget(Arc<AtomicU64>);

/// A part of it, until it is dropped.
#[derive(Debug)]
pub(super) struct Share {
    budget: Budget,
    bytes: u64,
}

impl Budget {
    /// Takes so many bytes, if there are as many left.
    pub fn take(&self, bytes: u64) -> Option<Share> {
        let more = |used: u64| used.checked_add(bytes).filter(|&used| used <= MAX_BYTES);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(Share { budget: self.clone(), bytes })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// What a conversion came to.
type Slot = Arc<Mutex<Option<io::Result<u64>>>>;

/// Whoever converts, one picture at a time.
#[derive(Clone, Debug, Default)]
pub(super) struct Worker {
    busy: Arc<AtomicBool>,
    done: Arc<Notify>,
}

/// A picture that is being converted. Dropping it ends that at its next row.
#[derive(Debug)]
pub(super) struct Conversion {
    /// The picture.
    pub picture: Picture,
    /// The parts of it that are converted.
    pub damage: Vec<Rect>,
    slot: Slot,
    stop: Arc<AtomicBool>,
}

impl Worker {
    /// Whether another picture would have to wait for [`Self::done`].
    pub fn is_busy(&self) -> bool {
        self.busy.load(Ordering::Acquire)
    }

    /// Waits until a picture is converted. May be dropped at any time.
    pub async fn done(&self) {
        self.done.notified().await;
    }

    /// Begins to convert these parts of a picture into memory of rows of `width` pixels. Needs a tokio runtime.
    pub fn begin(&self, picture: Picture, damage: Vec<Rect>, memory: Arc<File>, width: u32) -> Conversion {
        self.busy.store(true, Ordering::Release);
        let conversion = Conversion { picture, damage, slot: Slot::default(), stop: Arc::default() };
        let (picture, damage) = (conversion.picture.clone(), conversion.damage.clone());
        let stop = conversion.stop.clone();
        let finish = Finish { slot: conversion.slot.clone(), worker: self.clone() };
        tokio::task::spawn_blocking(move || {
            let result = convert(&picture, &damage, &memory, width, &stop);
            finish.put(result);
        });
        conversion
    }
}

/// Says that a conversion is over, whichever way it ends.
struct Finish {
    slot: Slot,
    worker: Worker,
}

impl Finish {
    fn put(&self, result: io::Result<u64>) {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(result);
    }
}

impl Drop for Finish {
    fn drop(&mut self) {
        self.put(Err(io::Error::other("the conversion broke off")));
        self.worker.busy.store(false, Ordering::Release);
        self.worker.done.notify_one();
    }
}

impl Conversion {
    /// What it came to, once: how many pixels were converted. `None` while it goes on.
    pub fn take_result(&self) -> Option<io::Result<u64>> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Drop for Conversion {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Those who may have a picture converted, those first that come after whoever had one converted last.
pub(super) fn in_turn<T: Ord + Copy>(all: impl Iterator<Item = T>, last: Option<T>) -> Vec<T> {
    let (mut first, then): (Vec<T>, Vec<T>) = all.partition(|one| last.is_some_and(|last| *one > last));
    first.extend(then);
    first
}

/// Converts these parts of a picture into `memory`. Returns the number of pixels.
fn convert(picture: &Picture, damage: &[Rect], memory: &File, width: u32, stop: &AtomicBool) -> io::Result<u64> {
    let Picture { buffer: shared, source } = picture;
    let reader = shared.reader()?;
    let mut row = Vec::new();
    let mut pixels = 0;
    for rect in damage {
        row.resize(usize::try_from(rect.width).unwrap_or(0).saturating_mul(4), 0);
        for y in rect.y..rect.y.saturating_add(rect.height) {
            if stop.load(Ordering::Relaxed) {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let from = (u64::from(source.y) + u64::from(y)) * u64::from(shared.stride)
                + (u64::from(source.x) + u64::from(rect.x)) * 4;
            reader.read_exact_at(&mut row, from)?;
            if !formats::convert_to_xrgb(shared.fourcc, &mut row) {
                return Err(io::Error::other("the guest's pixel format is unknown"));
            }
            let to = (u64::from(y) * u64::from(width) + u64::from(rect.x)) * 4;
            memory.write_all_at(&row, to)?;
        }
        pixels += u64::from(rect.width) * u64::from(rect.height);
    }
    Ok(pixels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_has_had_a_turn_comes_last() {
        let turns = |last| in_turn([0, 1, 2].into_iter(), last);
        assert_eq!([turns(None), turns(Some(0)), turns(Some(2))], [[0, 1, 2], [1, 2, 0], [0, 1, 2]]);
        let mut last = None;
        let mut had = Vec::new();
        for _ in 0..6 {
            // All have something new at any time.
            last = turns(last).first().copied();
            had.extend(last);
        }
        assert_eq!(had, [0, 1, 2, 0, 1, 2]);
    }

    #[test]
    fn all_scanouts_together_have_two_of_the_largest_pictures() {
        let budget = Budget::default();
        let first = budget.take(1 << 30).unwrap();
        let second = budget.take(1 << 30).unwrap();
        assert!(budget.take(1).is_none() && budget.take(u64::MAX).is_none());
        drop(first);
        assert!(budget.take(1 << 30).is_some(), "what is given back can be had again");
        drop(second);
        assert_eq!(budget.0.load(Ordering::Relaxed), 0);
    }
}
