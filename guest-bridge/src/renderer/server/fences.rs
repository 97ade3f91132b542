//! Which fences have been asked for and not signalled yet. Pure.
//!
//! The library has one timeline of its own with 32-bit numbers, of which it may leave out all but the last that has signalled,
//! and timelines of contexts. A fence that cannot be had from the library is never put here: it is told at once.

use super::virgl::Signal;
use std::collections::{BTreeMap, VecDeque};

/// Most fences at one time.
pub const MAX_FENCES: usize = 1 << 14;

/// All that are outstanding.
#[derive(Debug, Default)]
pub struct Fences {
    /// The library's numbers, and the fences.
    global: VecDeque<(u32, u64)>,
    rings: BTreeMap<(u32, u32), VecDeque<u64>>,
    outstanding: usize,
    last: u32,
}

impl Fences {
    /// How many are outstanding.
    pub fn outstanding(&self) -> usize {
        self.outstanding
    }

    /// A number for the next fence on the library's own timeline.
    pub fn next_number(&mut self) -> u32 {
        self.last = self.last.wrapping_add(1);
        self.last
    }

    /// The library has been asked for a fence by `number`.
    pub fn wait_global(&mut self, number: u32, fence: u64) {
        self.global.push_back((number, fence));
        self.outstanding += 1;
    }

    /// The library has been asked for a fence on a context's timeline.
    pub fn wait_ring(&mut self, context: u32, ring: u8, fence: u64) {
        self.rings.entry((context, ring.into())).or_default().push_back(fence);
        self.outstanding += 1;
    }

    /// The fences that are done by this, in their order.
    pub fn done(&mut self, signal: Signal) -> Vec<u64> {
        let done: Vec<u64> = match signal {
            Signal::Global(number) => {
                let count = self.global.iter().position(|(known, _)| *known == number).map_or(0, |at| at + 1);
                self.global.drain(..count).map(|(_, fence)| fence).collect()
            }
            Signal::Ring { context, ring, fence } => {
                self.rings.get_mut(&(context, ring)).map_or_else(Vec::new, |line| {
                    let count = line.iter().position(|known| *known == fence).map_or(0, |at| at + 1);
                    line.drain(..count).collect()
                })
            }
        };
        self.outstanding -= done.len();
        done
    }

    /// A context is gone; its fences will not be told by the library.
    pub fn forget_context(&mut self, context: u32) -> Vec<u64> {
        let lines: Vec<_> = self.rings.range((context, 0)..=(context, u32::MAX)).map(|(key, _)| *key).collect();
        let done: Vec<u64> = lines.iter().filter_map(|line| self.rings.remove(line)).flatten().collect();
        self.outstanding -= done.len();
        done
    }

    /// Everything that is outstanding, the library's own timeline first.
    pub fn forget_all(&mut self) -> Vec<u64> {
        self.outstanding = 0;
        let rings = std::mem::take(&mut self.rings);
        self.global.drain(..).map(|(_, fence)| fence).chain(rings.into_values().flatten()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(fences: &mut Fences, fence: u64) -> u32 {
        let number = fences.next_number();
        fences.wait_global(number, fence);
        number
    }

    #[test]
    fn a_signal_stands_for_all_before_it() {
        let mut fences = Fences::default();
        let numbers: Vec<u32> = [10, 20, 30].into_iter().map(|fence| waiting(&mut fences, fence)).collect();
        assert_eq!(fences.done(Signal::Global(numbers[1])), [10, 20]);
        assert_eq!(fences.done(Signal::Global(numbers[0])), [0u64; 0]);
        assert_eq!(fences.done(Signal::Global(numbers[2])), [30]);
        assert_eq!(fences.outstanding(), 0);
    }

    #[test]
    fn numbers_may_wrap() {
        let mut fences = Fences { last: u32::MAX - 1, ..Fences::default() };
        let numbers: Vec<u32> = [1, 2].into_iter().map(|fence| waiting(&mut fences, fence)).collect();
        assert_eq!(numbers, [u32::MAX, 0]);
        assert_eq!(fences.done(Signal::Global(0)), [1, 2]);
    }

    #[test]
    fn timelines_are_apart_and_end_with_their_context() {
        let mut fences = Fences::default();
        fences.wait_ring(1, 0, 5);
        fences.wait_ring(1, 1, 6);
        fences.wait_ring(2, 0, 7);
        assert_eq!(fences.done(Signal::Ring { context: 1, ring: 0, fence: 5 }), [5]);
        assert_eq!(fences.done(Signal::Ring { context: 1, ring: 0, fence: 7 }), [0u64; 0]);
        assert_eq!(fences.forget_context(1), [6]);
        waiting(&mut fences, 8);
        assert_eq!((fences.forget_all(), fences.outstanding()), (vec![8, 7], 0));
    }
}
