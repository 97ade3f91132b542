//! When a flush reaches the screen and when its fence is answered: pure, with time passed in.
//!
//! ```text
//!             flush                     room, nothing under way            Presented
//!  (nothing) ───────▶ damage gathered ───────────────────────▶ under way ───────────▶ fences of that batch answered
//!                        ▲    │ flush                             │ flush → gathered for the next batch
//!                        └────┘                                   │ 100 ms pass → fences answered all the same
//! ```
//! A fence never waits longer than [`SLOW`], whether a screen answers or not, and at most [`MAX_HELD`] wait at one
//! time. Of a picture that nobody sees, which is one that was not presented in that time, it may be given a shorter
//! time: that of one picture of its display. Each scanout has a pace of its own, and one flush that is on several goes
//! by those of them that somebody sees.

use crate::damage::Damage;
use crate::frames::Rect;
use std::time::{Duration, Instant};

/// How long a fence waits for its presentation.
pub const SLOW: Duration = Duration::from_millis(100);
/// Most fences that wait at one time; more are answered at once.
pub const MAX_HELD: usize = 256;
/// Most scanouts.
const LANES: usize = phyllome_protocol::ids::MAX_SCANOUTS as usize;

/// A batch whose pixels are fetched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum FetchState {
    #[default]
    Empty,
    /// They are on their way.
    Fetching(Damage, u64),
    /// They are there.
    Fetched(Damage, u64),
}

/// One scanout's batches.
#[derive(Clone, Debug, Default)]
pub struct Lane {
    damage: Damage,
    /// Of batches that were not fetched: part of the next one.
    missed: Damage,
    /// The picture was replaced, and the new one has not been flushed yet.
    unflushed: bool,
    /// The picture's pixels have to be fetched before a batch of them can go.
    fetched: bool,
    fetch_state: FetchState,
    /// Counts fetches, so that an answer to one that was given up means nothing.
    epoch: u64,
    /// Serial of the last batch that went to the screen.
    sent: u64,
    /// All batches up to this one are done.
    done: u64,
    /// A fence waited in vain for what is under way: nobody sees it.
    unseen: bool,
    /// Guest's flushes in `damage` and in the batch that is under way.
    gathered: u64,
    under_way: u64,
    /// Guest's flushes, and those of them that were presented.
    flushes: u64,
    presented: u64,
}

impl Lane {
    /// The guest flushed a part of the scanout; the serial of the batch that will show it.
    pub fn flush(&mut self, rect: Rect) -> u64 {
        self.flushes += 1;
        self.unflushed = false;
        self.damage.add(rect);
        if self.damage.is_empty() {
            return self.done;
        }
        std::mem::take(&mut self.missed).rects().iter().for_each(|&rect| self.damage.add(rect));
        self.gathered += 1;
        // What is fetched now goes before.
        self.sent + 1 + u64::from(self.fetch_state != FetchState::Empty)
    }

    /// Whether this lane's pixels have to be fetched ([`Self::fetch`]) from now on.
    pub fn set_fetched(&mut self, fetched: bool) {
        if self.fetched != fetched {
            self.give_up_fetch();
        }
        self.fetched = fetched;
    }

    /// Whether they have to be: a batch then shows the picture that was fetched, and not the scanout's newest.
    pub fn is_fetched(&self) -> bool {
        self.fetched
    }

    /// What is to be fetched now, if anything is: nothing is under way, and there is damage. The number comes back in
    /// [`Self::arrived`].
    pub fn fetch(&mut self) -> Option<(u64, Vec<Rect>)> {
        let due = self.fetched && self.fetch_state == FetchState::Empty && self.sent == self.done;
        if !due || self.damage.is_empty() || self.unflushed {
            return None;
        }
        self.epoch += 1;
        let damage = std::mem::take(&mut self.damage);
        let rects = damage.rects().to_vec();
        self.fetch_state = FetchState::Fetching(damage, std::mem::take(&mut self.gathered));
        Some((self.epoch, rects))
    }

    /// The pixels of that fetch are there.
    pub fn arrived(&mut self, epoch: u64) {
        if self.epoch != epoch {
            return;
        }
        self.fetch_state = match std::mem::take(&mut self.fetch_state) {
            FetchState::Fetching(damage, flushes) => FetchState::Fetched(damage, flushes),
            other => other,
        };
    }

    /// Whether the pixels of that fetch are on their way.
    pub fn awaits(&self, epoch: u64) -> bool {
        self.epoch == epoch && matches!(self.fetch_state, FetchState::Fetching(..))
    }

    /// The pixels of that fetch will not come. Nobody waits for its batch any more, which is not shown; the next flush
    /// brings what it would have brought.
    pub fn miss(&mut self, epoch: u64) {
        if !self.awaits(epoch) {
            return;
        }
        if let FetchState::Fetching(damage, _) = std::mem::take(&mut self.fetch_state) {
            damage.rects().iter().for_each(|&rect| self.missed.add(rect));
        }
        self.sent += 1;
        self.done = self.sent;
    }

    /// What was to be fetched is damage again.
    fn give_up_fetch(&mut self) {
        if let FetchState::Fetching(damage, flushes) | FetchState::Fetched(damage, flushes) =
            std::mem::take(&mut self.fetch_state)
        {
            damage.rects().iter().for_each(|&rect| self.damage.add(rect));
            self.gathered += flushes;
        }
        self.epoch += 1;
    }

    /// Something else is to be shown (a new screen, a picture again): as a flush that the guest did not ask for.
    pub fn redraw(&mut self, rect: Rect) {
        self.unseen = false;
        self.done = self.sent;
        self.under_way = 0;
        self.damage.add(rect);
    }

    /// The batch that is under way will not be shown; all of it is to be fetched and shown once more.
    pub fn again(&mut self, rect: Rect) {
        self.give_up_fetch();
        self.redraw(rect);
    }

    /// The scanout shows another picture, which is not to be seen before its first flush. If it has another size, what
    /// was gathered means nothing any more, and all of it is damage.
    pub fn replaced(&mut self, resized: Option<Rect>) {
        self.unflushed = true;
        // A picture that is being fetched is shown all the same: a guest that flips faster than that is seen, too.
        if let Some(whole) = resized {
            self.give_up_fetch();
            self.damage.clear();
            self.missed.clear();
            self.damage.add(whole);
        }
    }

    /// Whether a batch is ready to go: there is damage, and nothing is under way.
    pub fn ready(&self) -> bool {
        let there = match self.fetch_state {
            FetchState::Fetched(..) => true,
            _ => !self.fetched && !self.damage.is_empty() && !self.unflushed,
        };
        self.sent == self.done && there
    }

    /// Takes the batch that is ready.
    pub fn take(&mut self) -> Option<(u64, Vec<Rect>)> {
        if !self.ready() {
            return None;
        }
        self.sent += 1;
        if let FetchState::Fetched(damage, flushes) = std::mem::take(&mut self.fetch_state) {
            self.under_way = flushes;
            return Some((self.sent, damage.rects().to_vec()));
        }
        self.under_way = std::mem::take(&mut self.gathered);
        let rects = self.damage.rects().to_vec();
        self.damage.clear();
        Some((self.sent, rects))
    }

    /// The screen shows the batch with this serial. Old, repeated and invented serials do nothing or no more than is
    /// due.
    pub fn presented(&mut self, serial: u64) {
        if serial >= self.sent && self.done < self.sent {
            self.unseen = false;
            self.done = self.sent;
            self.presented += std::mem::take(&mut self.under_way);
        }
    }

    /// The picture is gone: nothing of it will be presented, and nobody waits for it.
    pub fn abandon(&mut self) {
        self.damage.clear();
        self.missed.clear();
        self.fetch_state = FetchState::Empty;
        self.epoch += 1;
        self.unseen = false;
        self.gathered = 0;
        self.under_way = 0;
        self.sent += 1;
        self.done = self.sent;
    }

    /// The guest's flushes so far, and how many of them were presented.
    pub fn counts(&self) -> (u64, u64) {
        (self.flushes, self.presented)
    }

    /// Starts counting anew (another driver).
    pub fn reset_counts(&mut self) {
        (self.flushes, self.presented) = (0, 0);
    }
}

/// The serials that a fence waits for, by scanout; 0 where it does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waits([u64; LANES]);

impl Waits {
    /// For nothing.
    pub const NOTHING: Self = Self([0; LANES]);

    /// Waits for this serial too; those of a flush begin at 1.
    pub fn add(&mut self, scanout: usize, serial: u64) {
        if let Some(wait) = self.0.get_mut(scanout) {
            *wait = serial;
        }
    }

    /// Whether nothing is left to wait for: what nobody sees holds up nothing that somebody does.
    fn over(&self, lanes: &[Lane]) -> bool {
        let is_seen = !self.unseen(lanes);
        lanes.iter().zip(self.0).all(|(lane, serial)| lane.done >= serial || (is_seen && lane.unseen))
    }

    /// Whether nobody sees any of what it is about.
    fn unseen(&self, lanes: &[Lane]) -> bool {
        lanes.iter().zip(self.0).all(|(lane, serial)| serial == 0 || lane.unseen)
    }

    /// The scanouts that it waits for.
    pub fn scanouts(&self) -> impl Iterator<Item = usize> + '_ {
        self.0.iter().enumerate().filter(|(_, serial)| **serial != 0).map(|(scanout, _)| scanout)
    }
}

/// Fences that wait; `T` is what answers one.
#[derive(Debug)]
pub struct HeldFences<T> {
    fences: Vec<(T, Waits, Instant)>,
    /// When the last one of a picture that nobody sees is due, by scanout.
    last_unseen: [Option<Instant>; LANES],
}

impl<T> Default for HeldFences<T> {
    fn default() -> Self {
        Self { fences: Vec::new(), last_unseen: [None; LANES] }
    }
}

impl<T> HeldFences<T> {
    /// Holds a fence from now on, or gives it back to be answered at once. `period` is the time of one picture, if what
    /// nobody sees is to be drawn as fast as what is seen.
    pub fn hold(
        &mut self,
        fence: T,
        waits: Waits,
        lanes: &[Lane],
        now: Instant,
        period: Option<Duration>,
    ) -> Option<T> {
        if waits.over(lanes) || self.fences.len() >= MAX_HELD {
            return Some(fence);
        }
        let due = match period.filter(|_| waits.unseen(lanes)) {
            Some(period) => {
                // The time that the guest takes to draw is part of a picture's.
                let last = waits.scanouts().filter_map(|scanout| *self.last_unseen.get(scanout)?).max();
                let due = last.map_or(now, |last| (last + period.min(SLOW)).max(now)).min(now + SLOW);
                for scanout in waits.scanouts() {
                    if let Some(last) = self.last_unseen.get_mut(scanout) {
                        *last = Some(due);
                    }
                }
                due
            }
            None => now + SLOW,
        };
        self.fences.push((fence, waits, due));
        None
    }

    /// Takes every fence whose batches are done or that has waited long enough, in the order in which they came.
    pub fn release(&mut self, lanes: &mut [Lane], now: Instant) -> Vec<T> {
        let late = self.fences.iter().filter(|(_, waits, due)| *due <= now && !waits.over(lanes));
        let late: Vec<Waits> = late.map(|(_, waits, _)| *waits).collect();
        for waits in late {
            for (lane, serial) in lanes.iter_mut().zip(waits.0) {
                lane.unseen |= lane.done < serial;
            }
        }
        let lanes = &*lanes;
        let over = move |(_, waits, due): &mut (T, Waits, Instant)| waits.over(lanes) || *due <= now;
        self.fences.extract_if(.., over).map(|(fence, ..)| fence).collect()
    }

    /// Takes all of them.
    pub fn release_all(&mut self) -> impl Iterator<Item = T> {
        self.fences.drain(..).map(|(fence, ..)| fence)
    }

    /// When the slow timer is due; `None` while nothing waits.
    pub fn deadline(&self) -> Option<Instant> {
        self.fences.iter().map(|&(.., due)| due).min()
    }
}

#[cfg(test)]
#[path = "pacing_tests.rs"]
mod tests;
