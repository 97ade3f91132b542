//! Which page-flip event is of which frame, where a display was given up while a frame was under way and its CRTC soon
//! has another: the kernel tells of the former frame all the same, and it must not be taken for the new one's. Pure:
//! time is passed in.
//!
//! Events of one CRTC come in the order of its frames, and each that was given up has one at most; so only as many are
//! passed over as are owed, and a time that the kernel tells corrects the count where an event never came.

use std::collections::BTreeMap;
use std::time::Duration;

/// The frames of each CRTC.
#[derive(Debug, Default)]
pub struct Flips {
    crtcs: BTreeMap<u32, Crtc>,
}

#[derive(Debug, Default)]
struct Crtc {
    /// When the newest frame was begun, on the monotonic clock.
    begun: Duration,
    /// Frames that nobody waits for any more, and of which the kernel has not told.
    owed: u32,
}

impl Flips {
    /// A frame is begun at `now`, before the kernel knows of it.
    pub fn begun(&mut self, crtc: u32, now: Duration) {
        self.crtcs.entry(crtc).or_default().begun = now;
    }

    /// The frame that is under way on this CRTC is not waited for any more.
    pub fn given_up(&mut self, crtc: u32) {
        let owed = &mut self.crtcs.entry(crtc).or_default().owed;
        *owed = owed.saturating_add(1);
    }

    /// An event has come. Whether it is of a frame that was given up. `waited_for`: a frame is under way; `time`: when
    /// the event says that its frame was shown, if it does.
    pub fn is_former(&mut self, crtc: u32, waited_for: bool, time: Option<Duration>) -> bool {
        let Some(crtc) = self.crtcs.get_mut(&crtc) else { return false };
        if crtc.owed == 0 {
            return false;
        }
        if waited_for && time.is_some_and(|time| time >= crtc.begun) {
            // Those before it will not come any more.
            crtc.owed = 0;
            return false;
        }
        crtc.owed -= 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CRTC: u32 = 7;

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// A display that was given up with a frame under way, and lit anew: its first frame is begun at 50 ms.
    fn lit_anew() -> Flips {
        let mut flips = Flips::default();
        flips.begun(CRTC, at(10));
        flips.given_up(CRTC);
        flips.begun(CRTC, at(50));
        flips
    }

    #[test]
    fn an_event_of_the_former_display_is_not_the_first_frame_of_the_new_one() {
        for time in [Some(at(20)), None] {
            let mut flips = lit_anew();
            assert!(flips.is_former(CRTC, true, time), "{time:?}");
            // Exactly one: the next is the new frame's, even if its time makes no sense.
            assert!(!flips.is_former(CRTC, true, time), "{time:?}");
        }
    }

    #[test]
    fn it_may_come_before_the_new_display_has_a_frame() {
        let mut flips = Flips::default();
        flips.begun(CRTC, at(10));
        flips.given_up(CRTC);
        assert!(flips.is_former(CRTC, false, Some(at(20))));
        flips.begun(CRTC, at(50));
        assert!(!flips.is_former(CRTC, true, None));
    }

    #[test]
    fn an_event_that_never_comes_costs_the_new_display_nothing() {
        let mut flips = lit_anew();
        assert!(!flips.is_former(CRTC, true, Some(at(60))));
        flips.begun(CRTC, at(70));
        assert!(!flips.is_former(CRTC, true, None), "it is not owed any more");
    }

    #[test]
    fn each_frame_that_was_given_up_is_passed_over_once() {
        let mut flips = lit_anew();
        flips.given_up(CRTC);
        flips.begun(CRTC, at(90));
        assert!(flips.is_former(CRTC, true, Some(at(20))));
        assert!(flips.is_former(CRTC, true, Some(at(60))));
        assert!(!flips.is_former(CRTC, true, Some(at(99))));
    }

    #[test]
    fn other_displays_are_not_concerned() {
        let mut flips = lit_anew();
        assert!(!flips.is_former(8, true, None));
        flips.begun(8, at(60));
        assert!(!flips.is_former(8, true, Some(at(20))));
    }
}
