//! The few pictures that were drawn last, by what they show.

use std::collections::VecDeque;
use std::rc::Rc;

/// At most `room` values, the ones used last.
pub(super) struct Cache<K, V> {
    room: usize,
    entries: VecDeque<(K, Rc<V>)>,
}

impl<K: PartialEq, V> Cache<K, V> {
    pub(super) fn new(room: usize) -> Self {
        Self { room, entries: VecDeque::new() }
    }

    /// The value of `key`, if it is still here.
    pub(super) fn get(&mut self, key: &K) -> Option<Rc<V>> {
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
}
