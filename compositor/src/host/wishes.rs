//! Keys that were pressed and are not carried out yet: one of each kind at most, the newest, however long an earlier
//! one takes. What switches something over and was pressed twice meanwhile cancels itself.

use super::keys::HostKey;
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What waits, and whether anybody still presses keys.
#[derive(Debug, Default)]
struct Waiting {
    keys: VecDeque<HostKey>,
    over: bool,
}

impl Waiting {
    fn add(&mut self, key: HostKey) {
        let same = |other: &HostKey| std::mem::discriminant(other) == std::mem::discriminant(&key);
        match self.keys.iter().position(same) {
            Some(at) if key.switches() => drop(self.keys.remove(at)),
            Some(at) => {
                if let Some(waiting) = self.keys.get_mut(at) {
                    *waiting = key;
                }
            }
            None => self.keys.push_back(key),
        }
    }
}

/// Between the loop, which presses, and the thread that carries out.
#[derive(Debug, Default)]
pub(crate) struct Wishes {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

/// Why [`Wishes::wait`] came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Woken {
    /// This is to be done.
    Key(HostKey),
    /// The time has passed.
    Late,
    /// There will be no more keys.
    Over,
}

impl Wishes {
    fn change(&self, change: impl FnOnce(&mut Waiting)) {
        change(&mut self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_one();
    }

    /// Something is to be done. Never waits for what is being done.
    pub(super) fn add(&self, key: HostKey) {
        self.change(|waiting| waiting.add(key));
    }

    /// There will be no more.
    pub(super) fn end(&self) {
        self.change(|waiting| waiting.over = true);
    }

    /// The next one, at once if one waits.
    pub(super) fn wait(&self, pause: Duration) -> Woken {
        let until = Instant::now() + pause;
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if waiting.over {
                return Woken::Over;
            }
            if let Some(key) = waiting.keys.pop_front() {
                return Woken::Key(key);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Woken::Late;
            }
            waiting = self.changed.wait_timeout(waiting, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// All that waits.
    #[cfg(test)]
    pub(crate) fn take(&self) -> Vec<HostKey> {
        self.waiting.lock().unwrap().keys.drain(..).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use HostKey::{Brightness, Microphone, Mute, Volume};
    use std::sync::Arc;

    #[test]
    fn of_each_kind_the_newest_waits_and_two_switches_are_none() {
        let (up, down) = (Volume { up: true }, Volume { up: false });
        let bright = Brightness { up: true };
        for (pressed, waits) in [
            (vec![up; 1000], vec![up]),
            (vec![up, up, down], vec![down]),
            (vec![Mute, up, bright, up], vec![Mute, up, bright]),
            (vec![Mute, Mute], vec![]),
            (vec![Microphone, Mute, Microphone, Microphone], vec![Mute, Microphone]),
        ] {
            let wishes = Wishes::default();
            pressed.iter().for_each(|key| wishes.add(*key));
            assert_eq!(wishes.take(), waits, "{pressed:?}");
        }
    }

    #[test]
    fn whoever_waits_gets_what_is_wished_and_hears_of_the_end() {
        let wishes = Arc::new(Wishes::default());
        assert_eq!(wishes.wait(Duration::ZERO), Woken::Late);
        let waiting = wishes.clone();
        let waits = std::thread::spawn(move || [(); 2].map(|()| waiting.wait(Duration::from_secs(20))));
        wishes.add(Mute);
        let deadline = Instant::now() + Duration::from_secs(20);
        while !wishes.waiting.lock().unwrap().keys.is_empty() {
            assert!(Instant::now() < deadline, "nobody takes it");
            std::thread::yield_now();
        }
        wishes.end();
        assert_eq!(waits.join().unwrap(), [Woken::Key(Mute), Woken::Over]);
    }
}
