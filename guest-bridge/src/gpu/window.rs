//! The window in the guest's address space that host memory is mapped into: which parts of it are taken. Pure.
//!
//! Offsets come from the guest, sizes from its blobs; both are checked here, and nothing overlaps.

use std::collections::BTreeMap;

/// What offsets and sizes are multiples of, bytes.
const PAGE: u64 = 4096;

/// A part of the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// Where it begins, bytes.
    pub offset: u64,
    /// Bytes, whole pages.
    pub length: u64,
}

/// The window. At first nothing is mapped.
#[derive(Clone, Debug, Default)]
pub struct Window {
    size: u64,
    /// By where they begin.
    taken: BTreeMap<u64, u64>,
}

impl Window {
    /// A window of `size` bytes.
    pub fn new(size: u64) -> Self {
        Self { size, taken: BTreeMap::new() }
    }

    /// Its size, bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Takes `length` bytes, rounded up to pages, at `offset`. `None` if they are misaligned, empty, outside or partly
    /// taken.
    pub fn take(&mut self, offset: u64, length: u64) -> Option<Range> {
        let length = length.checked_next_multiple_of(PAGE).filter(|&length| length > 0)?;
        let end = offset.checked_add(length).filter(|&end| end <= self.size && offset.is_multiple_of(PAGE))?;
        // Ranges do not overlap, so the last one that begins before the end is the only one that can reach in.
        let before = self.taken.range(..end).next_back();
        if before.is_some_and(|(&start, &length)| start + length > offset) {
            return None;
        }
        self.taken.insert(offset, length);
        Some(Range { offset, length })
    }

    /// Gives back what [`Self::take`] gave.
    pub fn give(&mut self, range: Range) {
        if self.taken.get(&range.offset) == Some(&range.length) {
            self.taken.remove(&range.offset);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_misaligned_empty_outside_or_taken_is_refused() {
        let mut window = Window::new(16 * PAGE);
        for (offset, length) in [
            (0, 0),
            (1, PAGE),
            (PAGE / 2, PAGE),
            (0, 17 * PAGE),
            (16 * PAGE, 1),
            (15 * PAGE, PAGE + 1),
            (u64::MAX - PAGE + 1, PAGE),
            (0, u64::MAX),
            (!(PAGE - 1), u64::MAX),
        ] {
            assert_eq!(window.take(offset, length), None, "{offset:#x} {length:#x}");
        }
        let range = window.take(4 * PAGE, 2 * PAGE - 1).unwrap();
        assert_eq!(range, Range { offset: 4 * PAGE, length: 2 * PAGE });
        for (offset, length) in [(4, 2), (4, 1), (5, 1), (3, 2), (0, 16), (5, 8)] {
            assert_eq!(window.take(offset * PAGE, length * PAGE), None, "{offset} {length}");
        }
        assert!(window.take(3 * PAGE, PAGE).is_some() && window.take(6 * PAGE, 10 * PAGE).is_some());
        window.give(Range { offset: 4 * PAGE, length: PAGE });
        assert_eq!(window.take(4 * PAGE, PAGE), None, "only the whole is given back");
        window.give(range);
        assert!(window.take(5 * PAGE, PAGE).is_some());
    }

    proptest! {
        /// Whatever is asked for: what is given lies inside and apart from all else, and what is free and sound is
        /// given.
        #[test]
        fn ranges_never_overlap(asked in prop::collection::vec((0u64..20, 0u64..6, any::<bool>()), 1..60)) {
            let mut window = Window::new(16 * PAGE);
            let mut held: Vec<Range> = Vec::new();
            for (offset, length, give) in asked {
                if give && !held.is_empty() {
                    window.give(held.swap_remove(offset as usize % held.len()));
                    continue;
                }
                let free = held.iter().all(|range| {
                    (offset + length) * PAGE <= range.offset || offset * PAGE >= range.offset + range.length
                });
                let taken = window.take(offset * PAGE, length * PAGE);
                prop_assert_eq!(taken.is_some(), free && length > 0 && offset + length <= 16);
                held.extend(taken);
            }
        }
    }
}
