//! Keys of the computer itself while they are held: volume and brightness go on step by step, until the key is released,
//! the session is switched away, the screen is locked or unlocked, or the keyboard is gone.
//!
//! What is held is decided purely, time is passed in. A step is a wish ([`crate::host`]): however slow one is, none
//! waits behind another.

use crate::State;
use crate::host::keys::HostKey;
use phyllome_trusted::held::DeviceId;
use smithay::reexports::calloop::timer::{TimeoutAction, Timer};
use std::time::{Duration, Instant};

/// How long a key is held until it goes on.
const DELAY: Duration = Duration::from_millis(400);
/// Time between two steps.
const PACE: Duration = Duration::from_millis(100);

/// A key that is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Held {
    device: DeviceId,
    code: u32,
    key: HostKey,
    locked: bool,
    /// When its next step is due.
    next: Instant,
}

/// The key that is held, if there is one, and whether a timer runs.
#[derive(Debug, Default)]
pub(super) struct HostKeys {
    held: Option<Held>,
    timed: bool,
}

impl HostKeys {
    /// A key was pressed, while the screen was locked or not. The one before it goes on no more.
    fn pressed(&mut self, device: DeviceId, code: u32, key: HostKey, locked: bool, now: Instant) {
        let next = now + DELAY;
        self.held = key.repeats().then_some(Held { device, code, key, locked, next });
    }

    fn released(&mut self, device: DeviceId, code: u32) {
        self.held.take_if(|held| (held.device, held.code) == (device, code));
    }

    /// The keyboard is gone.
    pub(super) fn unplugged(&mut self, device: DeviceId) {
        self.held.take_if(|held| held.device == device);
    }

    /// Nothing is held any more.
    pub(super) fn stop(&mut self) {
        self.held = None;
    }

    /// What is to be done at `now`, if anything, and when to ask again; `None`: nothing is held. However late it is, it
    /// is one step.
    fn due(&mut self, locked: bool, now: Instant) -> Option<(Option<HostKey>, Instant)> {
        self.held.take_if(|held| held.locked != locked);
        let held = self.held.as_mut()?;
        if now < held.next {
            return Some((None, held.next));
        }
        held.next = now + PACE;
        Some((Some(held.key), held.next))
    }
}

impl State {
    /// The key that goes on while it is held.
    #[cfg(test)]
    pub(crate) fn held_host_key(&self) -> Option<HostKey> {
        self.input.host_keys.held.map(|held| held.key)
    }

    /// A key of the computer itself.
    pub(super) fn host_key(&mut self, device: DeviceId, code: u32, key: HostKey, pressed: bool) {
        if !pressed {
            return self.input.host_keys.released(device, code);
        }
        self.host.press(key);
        let now = Instant::now();
        self.input.host_keys.pressed(device, code, key, self.shell.is_locked(), now);
        // One timer at a time, which finds out itself that another key is held.
        if self.input.host_keys.held.is_none() || self.input.host_keys.timed {
            return;
        }
        let timer = self.loop_handle.insert_source(Timer::from_deadline(now + DELAY), |_, _, state: &mut State| {
            let due = state.input.host_keys.due(state.shell.is_locked(), Instant::now());
            let Some((key, next)) = due else {
                state.input.host_keys.timed = false;
                return TimeoutAction::Drop;
            };
            if let Some(key) = key {
                state.note_activity();
                state.host.press(key);
            }
            TimeoutAction::ToInstant(next)
        });
        match timer {
            Ok(_) => self.input.host_keys.timed = true,
            Err(error) => tracing::warn!("a key that is held goes on no more: {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UP: HostKey = HostKey::Volume { up: true };
    const VOLUME_UP: u32 = 115;

    fn held(now: Instant) -> HostKeys {
        let mut keys = HostKeys::default();
        keys.pressed(DeviceId::ONLY, VOLUME_UP, UP, false, now);
        keys
    }

    #[test]
    fn a_key_that_is_held_goes_on_ten_times_a_second_after_a_moment() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut keys = held(start);
        assert_eq!(keys.due(false, at(399)), Some((None, at(400))));
        assert_eq!(keys.due(false, at(400)), Some((Some(UP), at(500))));
        assert_eq!(keys.due(false, at(500)), Some((Some(UP), at(600))));
        assert_eq!(keys.due(false, at(5000)), Some((Some(UP), at(5100))), "late, it is one step");
        keys.pressed(DeviceId::ONLY, VOLUME_UP, UP, false, at(5000));
        assert_eq!(keys.due(false, at(5100)), Some((None, at(5400))), "pressed anew");
    }

    #[test]
    fn it_ends_by_release_of_this_key_by_lock_by_switching_away_and_by_unplugging() {
        let now = Instant::now();
        let later = now + DELAY;
        let ended = |end: &dyn Fn(&mut HostKeys)| {
            let mut keys = held(now);
            end(&mut keys);
            keys.due(false, later).is_none()
        };
        assert!(ended(&|keys| keys.released(DeviceId::ONLY, VOLUME_UP)));
        assert!(!ended(&|keys| keys.released(DeviceId::ONLY, VOLUME_UP - 1)));
        assert!(!ended(&|keys| keys.released(DeviceId::ONLY.next(), VOLUME_UP)));
        assert!(ended(&|keys| keys.unplugged(DeviceId::ONLY)));
        assert!(!ended(&|keys| keys.unplugged(DeviceId::ONLY.next())));
        assert!(ended(&HostKeys::stop));
        assert!(ended(&|keys| keys.pressed(DeviceId::ONLY, 113, HostKey::Mute, false, now)), "it is pressed anew");
        assert_eq!(held(now).due(true, later), None, "locked meanwhile");
    }
}
