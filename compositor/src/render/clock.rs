//! When one output is drawn: at most once per refresh, and only while something is dirty or waited for. Pure: time is
//! passed in.
//!
//! ```text
//!          dirty               drawn at once
//!  idle ──────────▶ armed ──────────────────▶ idle
//!   ▲                 │ a page flip is under way
//!   │ on the display  ▼           dirty
//!   └───────────── flipping ───────────────▶ flipping, dirty ──▶ armed when it is on the display
//! ```
//! What has no vblank of its own (memory, a window, a frame without a change) is paced by time: the next frame comes
//! one refresh after the last. After a page flip the display itself has set the pace, so the next frame is drawn at
//! once; a display that flips whenever it is asked to (virtual ones without a vblank) sets none, and is paced by time
//! too.

use std::time::{Duration, Instant};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Idle,
    Armed,
    Flipping { dirty: bool },
}

/// The clock of one output.
#[derive(Clone, Debug)]
pub struct FrameClock {
    refresh: Duration,
    /// When the last frame was drawn, if that paces the next.
    last: Option<Instant>,
    flip: Option<Duration>,
    /// Two flips came closer together than a display's vblanks do.
    unpaced: bool,
    phase: Phase,
    sequence: u64,
}

impl FrameClock {
    /// Idle, at `refresh_mhz` millihertz.
    pub fn new(refresh_mhz: u32) -> Self {
        Self { refresh: period(refresh_mhz), last: None, flip: None, unpaced: false, phase: Phase::Idle, sequence: 0 }
    }

    /// The output has another refresh rate, in millihertz.
    pub fn set_refresh(&mut self, refresh_mhz: u32) {
        self.refresh = period(refresh_mhz);
        self.unpaced = false;
    }

    /// Something is dirty. `Some`: set a timer for this instant; `None`: one is set already, or a flip is waited for.
    pub fn arm(&mut self, now: Instant) -> Option<Instant> {
        match self.phase {
            Phase::Armed => None,
            Phase::Flipping { .. } => {
                self.phase = Phase::Flipping { dirty: true };
                None
            }
            Phase::Idle => {
                self.phase = Phase::Armed;
                Some(self.last.map_or(now, |last| (last + self.refresh).max(now)))
            }
        }
    }

    /// The timer could not be set, or the output is drawn no more; the next [`FrameClock::arm`] tries again. A flip
    /// that was waited for is not waited for any longer.
    pub fn disarm(&mut self) {
        self.phase = Phase::Idle;
    }

    /// Whether a timer waits to draw.
    pub fn armed(&self) -> bool {
        self.phase == Phase::Armed
    }

    /// Whether a flip is waited for.
    pub fn flipping(&self) -> bool {
        matches!(self.phase, Phase::Flipping { .. })
    }

    /// Whether anything is to come: a timer, or a flip.
    pub fn busy(&self) -> bool {
        self.phase != Phase::Idle
    }

    /// Everything that is dirty is drawn now. Returns the number of the frame.
    pub fn tick(&mut self, now: Instant) -> u64 {
        self.phase = Phase::Idle;
        self.last = Some(now);
        self.sequence += 1;
        self.sequence
    }

    /// What was drawn is on its way to the display.
    pub fn queued(&mut self) {
        self.phase = Phase::Flipping { dirty: false };
    }

    /// A page flip was done at `time` of a monotonic clock, as the display says and not as it is heard of. Returns
    /// whether something became dirty in the meantime and is to be drawn.
    pub fn flipped(&mut self, time: Duration) -> bool {
        let Phase::Flipping { dirty } = self.phase else { return false };
        self.phase = Phase::Idle;
        self.unpaced |= self.flip.is_some_and(|flip| time.saturating_sub(flip) < self.refresh / 2);
        self.flip = Some(time);
        if !self.unpaced {
            self.last = None;
        }
        dirty
    }

    /// Time between two vblanks.
    pub fn refresh(&self) -> Duration {
        self.refresh
    }
}

fn period(refresh_mhz: u32) -> Duration {
    Duration::from_nanos(1_000_000_000_000 / u64::from(refresh_mhz.max(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_frame_is_drawn_at_once_and_the_next_one_refresh_later() {
        let start = Instant::now();
        let mut clock = FrameClock::new(60_000);
        assert_eq!(clock.arm(start), Some(start));
        assert_eq!(clock.arm(start), None);
        clock.tick(start);
        assert!(!clock.armed());
        assert_eq!(clock.arm(start), Some(start + clock.refresh()));
        clock.tick(start + clock.refresh());
        let later = start + Duration::from_secs(5);
        assert_eq!(clock.arm(later), Some(later));
    }

    #[test]
    fn sixty_hertz_is_sixteen_and_two_thirds_milliseconds() {
        assert_eq!(FrameClock::new(60_000).refresh().as_micros(), 16_666);
    }

    #[test]
    fn what_becomes_dirty_during_a_flip_is_drawn_when_it_is_done() {
        let start = Instant::now();
        let mut clock = FrameClock::new(60_000);
        assert_eq!(clock.arm(start), Some(start));
        clock.tick(start);
        clock.queued();
        assert!(!clock.armed() && clock.busy());
        assert_eq!(clock.arm(start), None);
        let vblank = start + clock.refresh();
        assert!(clock.flipped(Duration::from_secs(1)));
        assert!(!clock.busy());
        assert_eq!(clock.arm(vblank), Some(vblank), "the display has set the pace");
        clock.tick(vblank);
        clock.queued();
        assert!(!clock.flipped(Duration::from_secs(2)), "nothing was dirty");
        assert!(!clock.flipped(Duration::from_secs(2)), "a flip that nobody waits for changes nothing");
    }

    #[test]
    fn a_flip_that_was_lost_is_waited_for_no_longer() {
        let start = Instant::now();
        let mut clock = FrameClock::new(60_000);
        clock.arm(start);
        assert!(!clock.flipping());
        clock.tick(start);
        clock.queued();
        assert!(clock.flipping());
        clock.arm(start);
        assert!(clock.flipping(), "dirty, and still flipping");
        clock.disarm();
        assert!(!clock.flipping());
        assert!(clock.arm(start).is_some(), "drawn again");
    }

    #[test]
    fn a_display_that_flips_at_once_is_paced_by_time() {
        let start = Instant::now();
        let mut clock = FrameClock::new(60_000);
        let (mut frames, mut now) = (0, start);
        let end = start + Duration::from_secs(1);
        while now < end {
            let at = clock.arm(now).unwrap();
            clock.tick(at);
            clock.queued();
            now = at + Duration::from_micros(50);
            clock.flipped(now.duration_since(start));
            frames += 1;
        }
        assert!((59..=62).contains(&frames), "{frames} frames in a second");
    }
}
