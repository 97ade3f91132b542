//! What each guest has used of the shell lately: processor time, requests, buffers that could not be imported. Kept by
//! the guest's name, so that a guest that is cut off and comes back finds what it owed.
//!
//! Pure: time is passed in. Nothing here cuts anybody off. A guest that owes time is not listened to until it has come
//! back, which nobody else notices: the loop is never held.
//!
//! Processor time is what the guest's messages cost. Measured with the build for tests: a picture's messages cost 80 µs
//! by shared memory and 95 µs by dmabuf, whatever its size, with a frame callback and an answer about presentation, so
//! that video at 60 Hz uses 0.6 % of a second and four displays of 240 Hz 9 %. What uploading and drawing of its
//! pictures cost has an account of its own, of half the loop's time: a large picture that is copied and drawn by the
//! processor costs many times its messages, and a person who looks at one guest alone is to see all of it that can be.

use crate::bucket::Bucket;
use phyllome_protocol::GuestName;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Microseconds of processor time that a guest gets in each second.
const TIME_PER_SECOND: f64 = 100_000.0;
/// Most that it may use at once, after some quiet seconds; and most that it may owe.
const TIME_AT_ONCE: f64 = 1_000_000.0;
const MOST_OWED: f64 = 3_000_000.0;
/// Microseconds of each second in which its pictures may be uploaded and drawn; most at once, and most that it may owe.
const PICTURES_PER_SECOND: f64 = 500_000.0;
const PICTURES_AT_ONCE: f64 = 2_000_000.0;
const MOST_OWED_FOR_PICTURES: f64 = 2_000_000.0;
/// What goes beyond this in one turn counts many times as soon as half of what may be used at once is gone: a key waits
/// as long as a turn takes, so long turns have to be rare and not only few.
const SHORT_TURN: f64 = 10_000.0;
const LONG_TURNS: f64 = 16.0;
/// Most guests that are remembered. Those that owe least are forgotten first.
const MAX_NAMES: usize = 256;
/// Buffers that the renderer may refuse: so many at once, and one more in each minute.
const REFUSALS_PER_SECOND: f64 = 1.0 / 60.0;

/// What one guest has left.
#[derive(Debug)]
pub struct Account {
    time: Bucket,
    /// Uploading and drawing.
    pictures: Bucket,
    /// Requests of its Wayland connection.
    pub requests: Bucket,
    /// Buffers that cannot be imported, each of which costs memory for good.
    pub refusals: Bucket,
    /// All that was ever served.
    #[cfg(test)]
    pub total: Duration,
    /// All that its pictures ever took.
    #[cfg(test)]
    pub total_of_pictures: Duration,
}

impl Account {
    /// Nothing is owed. `requests`: at once, and in a second; `refusals`: at once.
    pub fn new(requests: (f64, f64), refusals: f64, now: Instant) -> Self {
        Self {
            time: Bucket::new(TIME_AT_ONCE, TIME_PER_SECOND, now),
            pictures: Bucket::new(PICTURES_AT_ONCE, PICTURES_PER_SECOND, now),
            requests: Bucket::new(requests.0, requests.1, now),
            refusals: Bucket::new(refusals, REFUSALS_PER_SECOND, now),
            #[cfg(test)]
            total: Duration::ZERO,
            #[cfg(test)]
            total_of_pictures: Duration::ZERO,
        }
    }

    /// One turn in which it was served took so much processor time, on a processor that is `slowness` times slower than
    /// the one of the figures above.
    pub fn served(&mut self, took: Duration, slowness: f64, now: Instant) {
        #[cfg(test)]
        {
            self.total += took;
        }
        let took = took.as_secs_f64() * 1e6 / slowness.max(1.0);
        let beyond = (took - SHORT_TURN).max(0.0);
        let again = self.time.level(now) < TIME_AT_ONCE / 2.0;
        let counts = if again { took + beyond * (LONG_TURNS - 1.0) } else { took };
        self.time.charge(counts, MOST_OWED, now);
    }

    /// To upload or to draw one of its pictures took so much processor time, on such a processor.
    pub fn pictured(&mut self, took: Duration, slowness: f64, now: Instant) {
        #[cfg(test)]
        {
            self.total_of_pictures += took;
        }
        self.pictures.charge(took.as_secs_f64() * 1e6 / slowness.max(1.0), MOST_OWED_FOR_PICTURES, now);
    }

    /// How long it is not to be listened to; `None` if it may be now.
    pub fn pause(&mut self, now: Instant) -> Option<Duration> {
        // One short turn, once it may go on.
        let until = |bucket: &mut Bucket| (bucket.level(now) <= 0.0).then(|| bucket.until(SHORT_TURN, now)).flatten();
        until(&mut self.time).max(until(&mut self.pictures))
    }

    fn is_settled(&mut self, now: Instant) -> bool {
        self.time.is_full(now) && self.pictures.is_full(now) && self.requests.is_full(now) && self.refusals.is_full(now)
    }
}

/// An account that a connection and the ledger share.
pub type Shared = Arc<Mutex<Account>>;

/// The account, also after a panic of whoever had it.
pub fn of(account: &Shared) -> MutexGuard<'_, Account> {
    account.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The accounts of all guests that owe something, or are connected.
#[derive(Debug)]
pub struct Ledger {
    accounts: BTreeMap<GuestName, Shared>,
    requests: (f64, f64),
    refusals: f64,
}

impl Ledger {
    /// No guest is known. `requests`: what each may send at once, and in a second; `refusals`: at once.
    pub fn new(requests: (f64, f64), refusals: f64) -> Self {
        Self { accounts: BTreeMap::new(), requests, refusals }
    }

    /// The account of this guest.
    pub fn account(&mut self, name: &GuestName, now: Instant) -> Shared {
        if let Some(account) = self.accounts.get(name) {
            return account.clone();
        }
        if self.accounts.len() >= MAX_NAMES {
            self.forget(now);
        }
        let account = Arc::new(Mutex::new(Account::new(self.requests, self.refusals, now)));
        self.accounts.insert(name.clone(), account.clone());
        account
    }

    /// Forgets whoever owes nothing, or else whoever owes least.
    fn forget(&mut self, now: Instant) {
        self.accounts.retain(|_, account| Arc::strong_count(account) > 1 || !of(account).is_settled(now));
        if self.accounts.len() >= MAX_NAMES {
            let levels = self.accounts.iter().map(|(name, account)| (of(account).time.level(now), name.clone()));
            if let Some((_, name)) = levels.max_by(|one, other| one.0.total_cmp(&other.0)) {
                self.accounts.remove(&name);
            }
        }
    }

    /// Nobody owes anything: a test begins.
    #[cfg(test)]
    pub fn clear(&mut self) {
        self.accounts.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUESTS: (f64, f64) = (40.0, 20.0);
    const MS: Duration = Duration::from_millis(1);

    fn name(text: &str) -> GuestName {
        GuestName::new(text).unwrap()
    }

    /// Milliseconds of processor time that a guest gets of `seconds` if each of its turns takes `turn`; and how many of
    /// them were longer than 50 ms.
    fn used(turn: Duration, seconds: u64) -> (Duration, u32) {
        let start = Instant::now();
        let mut account = Account::new(REQUESTS, 64.0, start);
        let (mut now, mut used, mut long) = (start, Duration::ZERO, 0);
        while now < start + Duration::from_secs(seconds) {
            match account.pause(now) {
                Some(pause) => now += pause,
                None => {
                    account.served(turn, 1.0, now);
                    used += turn;
                    now += turn;
                    long += u32::from(turn > 50 * MS);
                }
            }
        }
        (used, long)
    }

    #[test]
    fn tp20_no_guest_gets_more_than_its_part_of_the_processor_however_it_paces_itself() {
        for turn in [1, 5, 10, 20, 50, 100, 190] {
            let (used, _) = used(turn * MS, 600);
            assert!(used < Duration::from_secs(62), "turns of {turn} ms use {used:?} of ten minutes");
        }
    }

    #[test]
    fn tp08_turns_that_a_key_would_wait_for_are_rarer_than_one_in_a_hundred_keys() {
        for turn in [60u32, 100, 190] {
            let (_, long) = used(turn * MS, 600);
            let waited = long * turn * MS;
            assert!(waited < Duration::from_secs(6), "turns of {turn} ms make {waited:?} of ten minutes");
        }
    }

    #[test]
    fn a_guest_that_shows_video_on_four_displays_of_240_hz_is_never_kept_waiting() {
        let start = Instant::now();
        let mut account = Account::new(REQUESTS, 64.0, start);
        // It has begun with the import of some large buffers.
        account.served(150 * MS, 1.0, start);
        for frame in 0..240 * 600u32 {
            let now = start + Duration::from_secs(1) / 240 * frame;
            assert_eq!(account.pause(now), None, "frame {frame}");
            account.served(4 * Duration::from_micros(95), 1.0, now);
        }
    }

    #[test]
    fn tp20_a_guest_whose_pictures_cost_more_than_half_of_the_time_shows_fewer_of_them() {
        for cost in [1, 5, 10, 17, 40, 200] {
            let start = Instant::now();
            let mut account = Account::new(REQUESTS, 64.0, start);
            let (mut now, mut used) = (start, Duration::ZERO);
            // As many as the display shows, or as the processor can.
            while now < start + Duration::from_secs(60) {
                if let Some(pause) = account.pause(now) {
                    now += pause;
                    continue;
                }
                account.pictured(cost * MS, 1.0, now);
                used += cost * MS;
                now += (cost * MS).max(Duration::from_secs(1) / 60);
            }
            assert!(used < Duration::from_secs(33), "{cost} ms each use {used:?} of a minute");
            let all = cost * MS * 60 * 60;
            assert!(cost > 5 || used >= all - cost * MS, "{cost} ms each wait for nothing");
        }
    }

    #[test]
    fn what_is_owed_is_there_when_a_guest_comes_back_and_gone_within_a_minute() {
        let start = Instant::now();
        let mut ledger = Ledger::new(REQUESTS, 64.0);
        of(&ledger.account(&name("red"), start)).served(Duration::from_secs(100), 1.0, start);
        assert!(of(&ledger.account(&name("red"), start)).pause(start).is_some_and(|pause| pause < 60_000 * MS));
        assert_eq!(of(&ledger.account(&name("blue"), start)).pause(start), None);
        let later = start + Duration::from_secs(60);
        assert_eq!(of(&ledger.account(&name("red"), later)).pause(later), None);
    }

    #[test]
    fn names_are_bounded_and_whoever_owes_most_is_remembered() {
        let start = Instant::now();
        let mut ledger = Ledger::new(REQUESTS, 64.0);
        let owes = |ledger: &mut Ledger, text: &str| of(&ledger.account(&name(text), start)).pause(start).is_some();
        of(&ledger.account(&name("red"), start)).served(Duration::from_secs(9), 1.0, start);
        for number in 0..10 * MAX_NAMES {
            let account = ledger.account(&name(&format!("guest-{number}")), start);
            of(&account).served(100 * MS, 1.0, start);
            assert!(ledger.accounts.len() <= MAX_NAMES);
        }
        assert!(owes(&mut ledger, "red"));
    }

    #[test]
    fn a_slow_processor_counts_less() {
        let start = Instant::now();
        let mut account = Account::new(REQUESTS, 64.0, start);
        account.served(Duration::from_secs(9), 10.0, start);
        assert_eq!(account.pause(start), None);
    }
}
