//! When keyboards are told which lights they show. Pure: time is passed in.
//!
//! What a person does (a key of the shell's own keymap, a switch) is told at once. One guest that has the keyboard
//! changes its lights as it likes, and every change is a write to each of the host's keyboards: those are told a few
//! times a second, the last state always.

use std::time::{Duration, Instant};

/// From one change that a guest makes to the next that keyboards are told of.
pub const APART: Duration = Duration::from_millis(250);

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tell {
    /// They show it, or somebody asks again at the time that was said before.
    Nothing,
    /// Tell them now.
    Now,
    /// Ask again at this time.
    At(Instant),
}

/// What keyboards were told last. `W` is whose lights they are, `L` the lights.
#[derive(Clone, Debug)]
pub struct Lights<W, L> {
    told: Option<(W, L, Instant)>,
    waits: bool,
}

impl<W, L> Default for Lights<W, L> {
    fn default() -> Self {
        Self { told: None, waits: false }
    }
}

impl<W: PartialEq, L: Copy + PartialEq> Lights<W, L> {
    /// These are the lights from now on. `guest`: a guest decides about them, and not the person.
    pub fn want(&mut self, whose: W, lights: L, guest: bool, now: Instant) -> Tell {
        let soon = match &self.told {
            Some((_, told, _)) if *told == lights => {
                // Whose they are counts for the next change only.
                if let Some((last, ..)) = &mut self.told {
                    *last = whose;
                }
                return Tell::Nothing;
            }
            Some((last, _, at)) if guest && *last == whose => Some(*at + APART).filter(|due| now < *due),
            Some(_) | None => None,
        };
        match soon {
            Some(_) if self.waits => Tell::Nothing,
            Some(due) => {
                self.waits = true;
                Tell::At(due)
            }
            None => {
                self.told = Some((whose, lights, now));
                Tell::Now
            }
        }
    }

    /// The time that was said is over: ask again now.
    pub fn due(&mut self) {
        self.waits = false;
    }

    /// What they were told last.
    pub fn told(&self) -> Option<L> {
        self.told.as_ref().map(|(_, lights, _)| *lights)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_that_blinks_is_told_a_few_times_a_second_and_its_last_state_always() {
        let start = Instant::now();
        let mut lights = Lights::default();
        let (mut told, mut due) = (0, None);
        for step in 0..2000u32 {
            let now = start + Duration::from_millis(u64::from(step));
            if due.is_some_and(|due| due <= now) {
                due = None;
                lights.due();
            }
            match lights.want("work", step % 2 == 0, true, now) {
                Tell::Now => told += 1,
                Tell::At(at) => assert_eq!(due.replace(at), None, "one timer at a time"),
                Tell::Nothing => {}
            }
        }
        assert!((8..=9).contains(&told), "{told} in two seconds");
        lights.due();
        let last = lights.told() == Some(true);
        assert_eq!(lights.want("work", !last, true, start + Duration::from_secs(9)), Tell::Now);
        assert_eq!(lights.told(), Some(!last));
    }

    #[test]
    fn what_the_person_does_is_told_at_once() {
        let now = Instant::now();
        let mut lights = Lights::default();
        assert_eq!(lights.want(Some("work"), true, true, now), Tell::Now);
        assert!(matches!(lights.want(Some("work"), false, true, now), Tell::At(_)));
        assert_eq!(lights.want(Some("play"), false, true, now), Tell::Now, "a switch");
        assert_eq!(lights.want(None, true, false, now), Tell::Now, "a face");
        assert_eq!(lights.want(None, false, false, now), Tell::Now, "a key of its keymap");
        assert_eq!(lights.want(Some("work"), false, true, now), Tell::Nothing, "they show it");
    }
}
