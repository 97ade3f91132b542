//! Which fences have been asked for and not signalled yet. Pure.
//!
//! The library has one timeline of its own with 32-bit numbers, of which it may leave out all but the last that has
//! signalled, and timelines of contexts. On each, a signal stands for all before it. A fence is put here before the
//! library is asked for it, whose thread may see it signal before the asking has ended; one that cannot be had is taken
//! out again and told at once.

use super::virgl::Signal;
use std::collections::{BTreeMap, VecDeque};

/// Most fences at one time.
pub const MAX_FENCES: usize = 1 << 14;

/// A timeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Line {
    /// The library's own.
    Global,
    /// One of a context's.
    Ring {
        /// The context.
        context: u32,
        /// Its timeline.
        ring: u8,
    },
}

/// All that are outstanding.
#[derive(Debug, Default)]
pub struct Fences {
    /// The library's numbers, and the fences, in order. A number without a fence was asked for on behalf of those
    /// before it.
    lines: BTreeMap<Line, VecDeque<(u64, Option<u64>)>>,
    outstanding: usize,
    last: u64,
}

impl Fences {
    /// How many are outstanding.
    pub fn outstanding(&self) -> usize {
        self.outstanding
    }

    /// A number for the next fence.
    pub fn next_number(&mut self) -> u64 {
        self.last = self.last.wrapping_add(1);
        self.last
    }

    /// The library is about to be asked for a fence by `number`, for `fence` or for those before it.
    pub fn wait(&mut self, line: Line, number: u64, fence: Option<u64>) {
        self.lines.entry(line).or_default().push_back((number, fence));
        self.outstanding += 1;
    }

    /// `fence` signals with the last that is waited for on this timeline; `false` if there is none, so that it has
    /// signalled.
    pub fn follow(&mut self, line: Line, fence: u64) -> bool {
        let Some(waiting) = self.lines.get_mut(&line) else { return false };
        let Some(&(number, _)) = waiting.back() else { return false };
        waiting.push_back((number, Some(fence)));
        self.outstanding += 1;
        true
    }

    /// The library has not been asked by this number after all.
    pub fn cancel(&mut self, line: Line, number: u64) {
        let Some(waiting) = self.lines.get_mut(&line) else { return };
        let before = waiting.len();
        waiting.retain(|(known, _)| *known != number);
        self.outstanding -= before - waiting.len();
        if waiting.is_empty() {
            self.lines.remove(&line);
        }
    }

    /// Where something is outstanding.
    pub fn lines(&self) -> Vec<Line> {
        self.lines.keys().copied().collect()
    }

    /// The fences that are done by this, in their order.
    pub fn done(&mut self, signal: Signal) -> Vec<u64> {
        let (line, is_it): (_, &dyn Fn(u64) -> bool) = match signal {
            Signal::Global(number) => (Line::Global, &move |known| known as u32 == number),
            Signal::Ring { context, ring, fence } => {
                let Ok(ring) = u8::try_from(ring) else { return Vec::new() };
                (Line::Ring { context, ring }, &move |known| known == fence)
            }
        };
        let Some(waiting) = self.lines.get_mut(&line) else { return Vec::new() };
        // Those that follow have the number of the one that they follow.
        let before = waiting.iter().take_while(|(number, _)| !is_it(*number)).count();
        let these = waiting.iter().skip(before).take_while(|(number, _)| is_it(*number)).count();
        let count = if these > 0 { before + these } else { 0 };
        let done = waiting.drain(..count).filter_map(|(_, fence)| fence).collect();
        if waiting.is_empty() {
            self.lines.remove(&line);
        }
        self.outstanding -= count;
        done
    }

    /// The library will not tell of this timeline any more.
    pub fn forget(&mut self, line: Line) -> Vec<u64> {
        let waiting = self.lines.remove(&line).unwrap_or_default();
        self.outstanding -= waiting.len();
        waiting.into_iter().filter_map(|(_, fence)| fence).collect()
    }

    /// A context is gone, and its timelines with it.
    pub fn forget_context(&mut self, context: u32) -> Vec<u64> {
        let (first, last) = (Line::Ring { context, ring: 0 }, Line::Ring { context, ring: u8::MAX });
        let lines: Vec<Line> = self.lines.range(first..=last).map(|(line, _)| *line).collect();
        lines.into_iter().flat_map(|line| self.forget(line)).collect()
    }

    /// Everything that is outstanding, the library's own timeline first.
    pub fn forget_all(&mut self) -> Vec<u64> {
        self.outstanding = 0;
        std::mem::take(&mut self.lines).into_values().flatten().filter_map(|(_, fence)| fence).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: [u64; 0] = [];

    fn waiting(fences: &mut Fences, fence: u64) -> u32 {
        let number = fences.next_number();
        fences.wait(Line::Global, number, Some(fence));
        number as u32
    }

    #[test]
    fn a_signal_stands_for_all_before_it() {
        let mut fences = Fences::default();
        let numbers: Vec<u32> = [10, 20, 30].into_iter().map(|fence| waiting(&mut fences, fence)).collect();
        assert_eq!(fences.done(Signal::Global(numbers[1])), [10, 20]);
        assert_eq!(fences.done(Signal::Global(numbers[0])), NONE);
        assert_eq!(fences.done(Signal::Global(numbers[2])), [30]);
        assert_eq!((fences.outstanding(), fences.lines()), (0, vec![]));
    }

    #[test]
    fn what_was_not_asked_for_after_all_leaves_nothing() {
        let mut fences = Fences::default();
        waiting(&mut fences, 10);
        let number = fences.next_number();
        fences.wait(Line::Global, number, Some(20));
        fences.cancel(Line::Global, number);
        fences.cancel(Line::Ring { context: 1, ring: 0 }, number);
        assert_eq!((fences.outstanding(), fences.forget_all()), (1, vec![10]));
        waiting(&mut fences, 30);
        fences.cancel(Line::Global, number + 1);
        assert_eq!((fences.outstanding(), fences.lines()), (0, vec![]));
    }

    #[test]
    fn what_follows_signals_with_the_last_before_it_and_not_later() {
        let mut fences = Fences::default();
        assert!(!fences.follow(Line::Global, 1), "there is nothing to wait for");
        let first = waiting(&mut fences, 10);
        assert!(fences.follow(Line::Global, 11) && fences.follow(Line::Global, 12));
        let second = waiting(&mut fences, 20);
        assert!(fences.follow(Line::Global, 21));
        assert!(!fences.follow(Line::Ring { context: 1, ring: 0 }, 2), "another timeline");
        assert_eq!(fences.outstanding(), 5);
        assert_eq!(fences.done(Signal::Global(first)), [10, 11, 12]);
        assert_eq!(fences.done(Signal::Global(second)), [20, 21]);
        assert_eq!((fences.outstanding(), fences.lines()), (0, vec![]));
        let first = waiting(&mut fences, 30);
        assert!(fences.follow(Line::Global, 31));
        let second = waiting(&mut fences, 40);
        assert_eq!(fences.done(Signal::Global(second)), [30, 31, 40], "a signal stands for all before it");
        assert_eq!(fences.done(Signal::Global(first)), NONE);
    }

    #[test]
    fn a_number_may_stand_for_others_alone() {
        let mut fences = Fences::default();
        waiting(&mut fences, 10);
        let number = fences.next_number();
        fences.wait(Line::Global, number, None);
        assert_eq!(fences.done(Signal::Global(number as u32)), [10]);
        assert_eq!(fences.outstanding(), 0);
    }

    #[test]
    fn numbers_may_wrap() {
        let mut fences = Fences { last: u64::from(u32::MAX) - 1, ..Fences::default() };
        let numbers: Vec<u32> = [1, 2].into_iter().map(|fence| waiting(&mut fences, fence)).collect();
        assert_eq!(numbers, [u32::MAX, 0]);
        assert_eq!(fences.done(Signal::Global(0)), [1, 2]);
    }

    #[test]
    fn timelines_are_apart_and_end_with_their_context() {
        let mut fences = Fences::default();
        for (context, ring, fence) in [(1, 0, 5), (1, 255, 6), (2, 0, 7)] {
            fences.wait(Line::Ring { context, ring }, fence + 100, Some(fence));
        }
        assert_eq!(fences.done(Signal::Ring { context: 1, ring: 0, fence: 105 }), [5]);
        assert_eq!(fences.done(Signal::Ring { context: 1, ring: 256, fence: 106 }), NONE);
        assert_eq!(fences.done(Signal::Ring { context: 1, ring: 255, fence: 107 }), NONE);
        assert_eq!(fences.forget_context(1), [6]);
        waiting(&mut fences, 8);
        assert_eq!(fences.lines(), [Line::Global, Line::Ring { context: 2, ring: 0 }]);
        assert_eq!((fences.forget_all(), fences.outstanding()), (vec![8, 7], 0));
    }
}
