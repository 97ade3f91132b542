//! When to draw: at most once per refresh, and only while something is dirty or waited for. Pure: time is passed in.
//!
//! States: *idle* (nothing is dirty, no timer) → *armed* (a timer runs until the next vblank) → drawn → idle. A frame that makes
//! itself dirty again (an animation, a guest that draws at once) is armed again, one refresh later.

use std::time::{Duration, Instant};

/// The clock of one display or of the virtual one.
#[derive(Clone, Debug)]
pub struct FrameClock {
    refresh: Duration,
    last: Option<Instant>,
    armed: bool,
    sequence: u64,
}

impl FrameClock {
    /// Idle, at `refresh_mhz` millihertz.
    pub fn new(refresh_mhz: u32) -> Self {
        let refresh = Duration::from_nanos(1_000_000_000_000 / u64::from(refresh_mhz.max(1)));
        Self { refresh, last: None, armed: false, sequence: 0 }
    }

    /// Something is dirty. `Some`: set a timer for this instant; `None`: one is set already.
    pub fn arm(&mut self, now: Instant) -> Option<Instant> {
        if std::mem::replace(&mut self.armed, true) {
            return None;
        }
        Some(self.last.map_or(now, |last| (last + self.refresh).max(now)))
    }

    /// The timer could not be set; the next [`FrameClock::arm`] tries again.
    pub fn disarm(&mut self) {
        self.armed = false;
    }

    /// Whether something waits to be drawn.
    pub fn armed(&self) -> bool {
        self.armed
    }

    /// A vblank is here: everything that is dirty is drawn now. Returns its number.
    pub fn tick(&mut self, now: Instant) -> u64 {
        self.armed = false;
        self.last = Some(now);
        self.sequence += 1;
        self.sequence
    }

    /// Time between two vblanks.
    pub fn refresh(&self) -> Duration {
        self.refresh
    }
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
}
