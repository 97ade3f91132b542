//! What was drawn last and may be shown again: pictures by what they show, and the window of a face.
//!
//! Nothing here outlives its use by much: what no frame asks for gives its memory back.

use std::collections::VecDeque;
use std::rc::Rc;

/// After so many frames in which nothing was asked for, everything is forgotten. More than an output count, since each
/// output draws a frame of its own.
const PATIENCE: u32 = 32;

/// Counts the frames in which something was not asked for.
#[derive(Default)]
struct Patience(u32);

impl Patience {
    fn used(&mut self) {
        self.0 = 0;
    }

    /// A frame was drawn. Whether patience has just ended.
    fn frame(&mut self) -> bool {
        self.0 = self.0.saturating_add(1);
        self.0 == PATIENCE
    }
}

/// At most `room` values, the ones used last.
pub(in crate::faces) struct Cache<K, V> {
    room: usize,
    entries: VecDeque<(K, Rc<V>)>,
    patience: Patience,
}

impl<K: PartialEq, V> Cache<K, V> {
    pub(in crate::faces) fn new(room: usize) -> Self {
        Self { room, entries: VecDeque::new(), patience: Patience::default() }
    }

    /// The value of `key`, if it is still here.
    pub(in crate::faces) fn get(&mut self, key: &K) -> Option<Rc<V>> {
        self.patience.used();
        let at = self.entries.iter().position(|(k, _)| k == key)?;
        let entry = self.entries.remove(at)?;
        let value = entry.1.clone();
        self.entries.push_front(entry);
        Some(value)
    }

    /// What was used last.
    pub(in crate::faces) fn latest(&self) -> Option<&(K, Rc<V>)> {
        self.entries.front()
    }

    /// Keeps `value` and forgets the one that was not used for the longest time.
    pub(in crate::faces) fn put(&mut self, key: K, value: V) -> Rc<V> {
        let value = Rc::new(value);
        self.entries.push_front((key, value.clone()));
        self.entries.truncate(self.room);
        value
    }

    /// A frame was drawn. What is not part of frames any longer gives its memory back.
    pub(in crate::faces) fn frame(&mut self) {
        if self.patience.frame() {
            self.entries = VecDeque::new();
        }
    }
}

/// One value, the one that was used last.
pub(in crate::faces) struct Latest<K, V> {
    entry: Option<(K, V)>,
    patience: Patience,
}

impl<K: PartialEq, V> Latest<K, V> {
    pub(in crate::faces) fn new() -> Self {
        Self { entry: None, patience: Patience::default() }
    }

    /// The value of `key`. One of another key goes before this one is made: both at once may be two screens' worth.
    pub(in crate::faces) fn get_or_make<E>(
        &mut self,
        key: K,
        make: impl FnOnce() -> Result<V, E>,
    ) -> Result<&mut V, E> {
        self.patience.used();
        let entry = match self.entry.take().filter(|(kept, _)| *kept == key) {
            Some(entry) => entry,
            None => (key, make()?),
        };
        Ok(&mut self.entry.insert(entry).1)
    }

    /// The value, if there is one.
    pub(in crate::faces) fn get(&self) -> Option<&V> {
        self.entry.as_ref().map(|(_, value)| value)
    }

    /// It is in use, though nobody asks for it.
    pub(in crate::faces) fn keep(&mut self) {
        self.patience.used();
    }

    /// A frame was drawn. What is not part of frames any longer gives its memory back.
    pub(in crate::faces) fn frame(&mut self) {
        if self.patience.frame() {
            self.entry = None;
        }
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

    #[test]
    fn there_is_one_latest_value_and_it_goes_when_it_is_not_used() {
        let mut latest = Latest::new();
        let make = |value: u32| move || Ok::<_, ()>(value);
        assert_eq!(latest.get_or_make(1, make(10)), Ok(&mut 10));
        assert_eq!(latest.get_or_make(1, make(11)), Ok(&mut 10));
        assert_eq!(latest.get_or_make(2, || Err(())), Err(()));
        assert_eq!(latest.get(), None, "the old one goes first");
        assert_eq!(latest.get_or_make(2, make(20)), Ok(&mut 20));
        for frame in 0..3 * PATIENCE {
            latest.frame();
            if frame < 2 * PATIENCE {
                latest.keep();
            }
            assert_eq!(latest.get().is_some(), frame + 1 < 3 * PATIENCE, "{frame}");
        }
    }
}
