//! Displays go off when nobody is there and on again at the first sign of somebody; [`super::idle`] decides when. And
//! what is done when the computer itself has slept: the kernel tells nobody, but timers of the calendar's clock can be
//! told of its jumps, and the time in which everything stood still is the difference of two other clocks.

use super::idle::Fired;
use crate::State;
use rustix::io::Errno;
use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime, timerfd_create,
    timerfd_settime,
};
use smithay::reexports::calloop::generic::Generic;
use smithay::reexports::calloop::timer::{TimeoutAction, Timer};
use smithay::reexports::calloop::{Interest, Mode, PostAction};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// A moment that the calendar's clock never comes to (in the year 2223), in seconds.
const NEVER: i64 = 8_000_000_000;

/// Two clocks are read one after the other: what they differ by less has no meaning.
const SHORTEST: Duration = Duration::from_millis(100);

impl State {
    /// Somebody is there: a key, a button, a touch, a motion, a lid that opens, a session that is switched to. Switches
    /// the displays on if they are off, and says whether they were: what has woken them does nothing else.
    pub fn note_activity(&mut self) -> bool {
        self.idle.activity(Instant::now());
        let asleep = self.render.is_asleep();
        if asleep {
            self.outputs_sleep(false);
            self.watch_idle();
        }
        asleep
    }

    /// Notices from now on that nobody is there, that the computer was suspended, and what it has to say itself.
    pub fn watch_person(&mut self) {
        self.watch_idle();
        self.watch_suspend();
        self.watch_computer();
    }

    /// Lets the timer run, where shell.toml asks for one. In a window it is the desktop around that switches displays
    /// off.
    pub(crate) fn watch_idle(&mut self) {
        if self.backend.is_window() {
            return;
        }
        let Some(until) = self.idle.arm() else { return };
        let timer = self.loop_handle.insert_source(Timer::from_deadline(until), |_, _, state: &mut State| {
            let now = Instant::now();
            if state.shell.stays_awake() {
                // As if somebody were there; once it ends, a whole pause is to pass.
                state.idle.activity(now);
            }
            match state.idle.fired(now) {
                Fired::Wait(until) => TimeoutAction::ToInstant(until),
                Fired::Sleep => {
                    state.outputs_sleep(true);
                    TimeoutAction::Drop
                }
            }
        });
        if let Err(error) = timer {
            self.idle.disarm();
            tracing::warn!("the displays stay on without input: {error}");
        }
    }

    /// Listens for the end of a suspend. In a window it is the desktop around that has to do with it.
    fn watch_suspend(&mut self) {
        if !self.backend.is_display() {
            return;
        }
        let watched = jumps().map_err(|error| error.to_string()).and_then(|jumps| {
            let mut slept = stood_still();
            let source = Generic::new(jumps, Interest::READ, Mode::Level);
            let jumped = move |_, jumps: &mut _, state: &mut State| {
                // A clock that was only set has not slept.
                let jumped = matches!(rustix::io::read(&*jumps, &mut [0; 8]), Err(Errno::CANCELED));
                if jumped && has_slept(&mut slept, stood_still()) {
                    state.computer_woke();
                }
                Ok(PostAction::Continue)
            };
            self.loop_handle.insert_source(source, jumped).map(drop).map_err(|error| error.to_string())
        });
        if let Err(why) = watched {
            tracing::warn!("a suspend of the computer will not be noticed: {why}");
        }
    }

    /// The computer was suspended and runs again: somebody is there, and what displays show is drawn anew. Told twice,
    /// it is done twice.
    pub fn computer_woke(&mut self) {
        tracing::info!("the computer was suspended and is back");
        self.note_activity();
        self.displays_woke();
    }
}

/// Readable once the calendar's clock was set or stood still.
fn jumps() -> Result<OwnedFd, Errno> {
    let timer = timerfd_create(TimerfdClockId::Realtime, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
    let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
    let never = Itimerspec { it_interval: zero, it_value: Timespec { tv_sec: NEVER, tv_nsec: 0 } };
    timerfd_settime(&timer, TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET, &never)?;
    Ok(timer)
}

/// How long the computer was suspended, all times together.
fn stood_still() -> Duration {
    let read = |clock| Duration::try_from(clock_gettime(clock)).unwrap_or_default();
    let running = read(ClockId::Monotonic);
    read(ClockId::Boottime).saturating_sub(running)
}

/// Whether it was suspended since the last time.
fn has_slept(before: &mut Duration, now: Duration) -> bool {
    now.saturating_sub(std::mem::replace(before, now)) >= SHORTEST
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_set_is_no_sleep() {
        let (mut before, second) = (Duration::from_secs(5), Duration::from_secs(1));
        // Read a little later, or a little earlier.
        for micros in [0, 300, 40, 99_000] {
            assert!(!has_slept(&mut before, Duration::from_secs(5) + Duration::from_micros(micros)));
        }
        assert!(has_slept(&mut before, 6 * second));
        assert!(!has_slept(&mut before, 6 * second));
        assert!(has_slept(&mut before, 6 * second + SHORTEST));
    }

    #[test]
    fn nothing_is_readable_while_no_clock_jumps() {
        let timer = jumps().unwrap();
        assert_eq!(rustix::io::read(&timer, &mut [0; 8]), Err(Errno::AGAIN));
        let now = stood_still();
        assert!(stood_still() < now + SHORTEST);
    }
}
