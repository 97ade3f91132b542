//! The few pictures that were drawn last, by what they show.

use std::collections::VecDeque;
use std::rc::Rc;

/// After so many frames in which nothing was asked for, everything is forgotten. More than an output count, since each
/// output draws a frame of its own.
const PATIENCE: u32 = 32;

/// At most `room` values, the ones used last.
pub(super) struct Cache<K, V> {
    room: usize,
    entries: VecDeque<(K, Rc<V>)>,
    unused: u32,
}

impl<K: PartialEq, V> Cache<K, V> {
    pub(super) fn new(room: usize) -> Self {
        Self { room, entries: VecDeque::new(), unused: 0 }
    }

    /// The value of `key`, if it is still here.
    pub(super) fn get(&mut self, key: &K) -> Option<Rc<V>> {
        self.unused = 0;
        let at = self.entries.iter().position(|(k, _)| k == key)?;
        let entry = self.entries.remove(at)?;
        let value = entry.1.clone();
        self.entries.push_front(entry);
        Some(value)
    }

    /// Keeps `value` and forgets the one that was not used for the longest time.
    pub(super) fn put(&mut self, key: K, value: V) -> Rc<V> {
        let value = Rc::new(value);
        self.entries.push_front((key, value.clone()));
        self.entries.truncate(self.room);
        value
    }

    /// A frame was drawn. What is not part of frames any longer gives its memory back.
    pub(super) fn frame(&mut self) {
        self.unused = self.unused.saturating_add(1);
        if self.unused == PATIENCE {
            self.clear();
        }
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.entries = VecDeque::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_value_that_was_not_used_goes_first() {
        let mut cache = Cache::new(2);
        let first = cache.put(1, "one");
        cache.put(2, "two");
        assert!(cache.get(&1).is_some_and(|again| Rc::ptr_eq(&again, &first)));
        cache.put(3, "three");
        assert!(cache.get(&2).is_none());
        assert!(cache.get(&1).is_some() && cache.get(&3).is_some());
    }

    #[test]
    fn what_no_frame_asks_for_is_forgotten() {
        let mut cache = Cache::new(1);
        let value = cache.put(1, "one");
        for _ in 0..PATIENCE - 1 {
            cache.frame();
        }
        assert!(cache.get(&1).is_some(), "asked for in time");
        for _ in 0..PATIENCE {
            cache.frame();
        }
        assert_eq!(Rc::strong_count(&value), 1);
        assert!(cache.get(&1).is_none());
    }
}
