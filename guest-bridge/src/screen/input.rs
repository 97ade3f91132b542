//! What is held on keyboard and pointer, and what of it the guest is told: releases follow only their own presses, and
//! nothing stays pressed when the input goes elsewhere. Pure; the events wait in a bounded queue until the machine
//! takes them.

use super::{FromScreen, InputEvent};
use std::collections::{BTreeSet, VecDeque};

/// More keys and buttons than this are never held at once by a person.
const MAX_HELD: usize = 64;
/// Notches of a wheel that nobody turns in one moment; what is beyond is dropped.
const MAX_NOTCHES: i32 = 64;
/// Events that wait for the machine.
const MAX_WAITING: usize = 512;

/// Keys and buttons that the guest believes to be pressed.
#[derive(Debug, Default)]
pub(super) struct Held {
    keys: BTreeSet<u32>,
    buttons: BTreeSet<u32>,
}

impl Held {
    /// A key went down or up; what the guest is told of it.
    pub fn key(&mut self, code: u32, pressed: bool) -> Option<InputEvent> {
        change(&mut self.keys, code, pressed).then_some(InputEvent::Key { code, pressed })
    }

    /// The same for a button.
    pub fn button(&mut self, code: u32, pressed: bool) -> Option<InputEvent> {
        change(&mut self.buttons, code, pressed).then_some(InputEvent::Button { code, pressed })
    }

    /// The keyboard went elsewhere.
    pub fn release_all(&mut self) -> Option<InputEvent> {
        let any = !self.keys.is_empty() || !self.buttons.is_empty();
        *self = Self::default();
        any.then_some(InputEvent::ReleaseAll)
    }

    /// The pointer went elsewhere.
    pub fn release_buttons(&mut self) -> Vec<InputEvent> {
        let buttons = std::mem::take(&mut self.buttons);
        buttons.into_iter().map(|code| InputEvent::Button { code, pressed: false }).collect()
    }
}

fn change(held: &mut BTreeSet<u32>, code: u32, pressed: bool) -> bool {
    if pressed { held.len() < MAX_HELD && held.insert(code) } else { held.remove(&code) }
}

/// One axis of the wheel within one wl_pointer.frame, and the part of a notch that is left over.
#[derive(Debug, Default)]
struct Axis {
    continuous: f64,
    discrete: Option<i32>,
    value120: Option<i32>,
    left_over: i32,
    /// The compositor tells of this axis of a wheel when a notch is whole. What it says of parts of one before counts
    /// as well then, and is not to be added.
    whole_notches: bool,
}

impl Axis {
    /// A notch of a wheel is 120 of these; compositors that do not tell notches send about 15 units for one. `wheel`:
    /// the compositor says that it was a wheel.
    fn finish(&mut self, wheel: bool) -> i32 {
        let value120 = match (self.value120.take(), self.discrete.take()) {
            (Some(value), _) => value,
            (None, Some(notches)) => {
                if !std::mem::replace(&mut self.whole_notches, true) {
                    self.left_over = 0;
                }
                notches.saturating_mul(120)
            }
            (None, None) if wheel && self.whole_notches => 0,
            // The cast saturates; NaN becomes 0.
            (None, None) => (self.continuous * 8.0).round() as i32,
        };
        self.continuous = 0.0;
        let sum = self.left_over.saturating_add(value120);
        self.left_over = sum % 120;
        (sum / 120).clamp(-MAX_NOTCHES, MAX_NOTCHES)
    }
}

/// Turns the wheel's events of one frame into whole notches.
#[derive(Debug, Default)]
pub(super) struct Wheel {
    vertical: Axis,
    horizontal: Axis,
    /// This frame is a wheel's, as the compositor says.
    wheel: bool,
}

impl Wheel {
    fn axis(&mut self, vertical: bool) -> &mut Axis {
        if vertical { &mut self.vertical } else { &mut self.horizontal }
    }

    /// wl_pointer.axis_source.
    pub fn source(&mut self, wheel: bool) {
        self.wheel = wheel;
    }

    /// wl_pointer.axis.
    pub fn continuous(&mut self, vertical: bool, value: f64) {
        self.axis(vertical).continuous += value;
    }

    /// wl_pointer.axis_discrete.
    pub fn discrete(&mut self, vertical: bool, notches: i32) {
        let axis = self.axis(vertical);
        axis.discrete = Some(axis.discrete.unwrap_or(0).saturating_add(notches));
    }

    /// wl_pointer.axis_value120.
    pub fn value120(&mut self, vertical: bool, value: i32) {
        let axis = self.axis(vertical);
        axis.value120 = Some(axis.value120.unwrap_or(0).saturating_add(value));
    }

    /// wl_pointer.frame.
    pub fn finish(&mut self) -> Option<InputEvent> {
        let wheel = std::mem::take(&mut self.wheel);
        let (vertical, horizontal) = (self.vertical.finish(wheel), self.horizontal.finish(wheel));
        (vertical != 0 || horizontal != 0).then_some(InputEvent::Wheel { vertical, horizontal })
    }
}

/// Events that the machine has not taken yet.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    waiting: VecDeque<FromScreen>,
}

impl Outbox {
    /// Adds an event. Positions that nobody has seen are replaced by newer ones, and a change that nobody has heard of
    /// is said once. If far too many wait, those that would type or click are dropped, and the guest is told to release
    /// everything: it may miss input, but never hangs on a key.
    pub fn push(&mut self, event: FromScreen) {
        use FromScreen::Input;
        if let (Input(InputEvent::Abs { scanout, .. }), Some(last)) = (&event, self.waiting.back_mut())
            && let Input(InputEvent::Abs { scanout: before, .. }) = last
            && before == scanout
        {
            *last = event;
            return;
        }
        if event == FromScreen::ScanoutsChanged && self.waiting.back() == Some(&event) {
            return;
        }
        if self.waiting.len() >= MAX_WAITING {
            tracing::warn!("the machine takes no input; {} events are dropped", self.waiting.len());
            self.waiting.retain(|event| !matches!(event, Input(_)));
            self.waiting.truncate(MAX_WAITING / 2);
            self.waiting.push_back(Input(InputEvent::ReleaseAll));
        }
        self.waiting.push_back(event);
    }

    /// The oldest event.
    pub fn pop(&mut self) -> Option<FromScreen> {
        self.waiting.pop_front()
    }

    /// Whether anything waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use phyllome_protocol::ScanoutId;

    const LEFT: u32 = 0x110;

    #[test]
    fn a_release_needs_its_press() {
        let mut held = Held::default();
        assert_eq!(held.key(30, false), None);
        assert_eq!(held.key(30, true), Some(InputEvent::Key { code: 30, pressed: true }));
        assert_eq!(held.key(30, true), None, "a repeated press");
        assert_eq!(held.key(30, false), Some(InputEvent::Key { code: 30, pressed: false }));
        assert_eq!(held.button(LEFT, false), None);
    }

    #[test]
    fn leaving_releases_what_is_held_and_nothing_else() {
        let mut held = Held::default();
        assert_eq!(held.release_all(), None);
        held.key(42, true);
        held.button(LEFT, true);
        assert_eq!(held.release_buttons(), [InputEvent::Button { code: LEFT, pressed: false }]);
        assert_eq!(held.release_all(), Some(InputEvent::ReleaseAll));
        assert_eq!(held.key(42, false), None, "already released");
        for code in 0..10_000 {
            held.key(code, true);
        }
        assert_eq!(held.keys.len(), MAX_HELD);
    }

    #[test]
    fn notches_are_counted_once_however_the_compositor_tells_them() {
        let mut wheel = Wheel::default();
        wheel.continuous(true, 15.0);
        wheel.discrete(true, 1);
        assert_eq!(wheel.finish(), Some(InputEvent::Wheel { vertical: 1, horizontal: 0 }));
        wheel.continuous(false, -15.0);
        wheel.value120(false, -120);
        assert_eq!(wheel.finish(), Some(InputEvent::Wheel { vertical: 0, horizontal: -1 }));
        for _ in 0..3 {
            wheel.value120(true, 30);
            assert_eq!(wheel.finish(), None);
        }
        wheel.value120(true, 30);
        assert_eq!(wheel.finish(), Some(InputEvent::Wheel { vertical: 1, horizontal: 0 }));
        wheel.continuous(true, 15.0);
        assert_eq!(wheel.finish(), Some(InputEvent::Wheel { vertical: 1, horizontal: 0 }));
        wheel.continuous(true, f64::NAN);
        assert_eq!(wheel.finish(), None);
        wheel.value120(true, i32::MAX);
        assert!(matches!(wheel.finish(), Some(InputEvent::Wheel { vertical: 64, .. })));
    }

    #[test]
    fn parts_of_a_notch_are_never_lost_and_never_counted_twice() {
        let turned = |wheel: &mut Wheel| match wheel.finish() {
            Some(InputEvent::Wheel { vertical, .. }) => vertical,
            _ => 0,
        };
        // A wheel with eight steps a notch, as old and new compositors tell it; then a finger.
        for version in ["parts", "notches", "distance"] {
            let mut wheel = Wheel::default();
            let mut sum = 0;
            for step in 1..=80 {
                wheel.source(version != "distance");
                wheel.continuous(true, 15.0 / 8.0);
                match version {
                    "parts" => wheel.value120(true, 15),
                    "notches" if step % 8 == 0 => wheel.discrete(true, 1),
                    _ => {}
                }
                sum += turned(&mut wheel);
                if step % 8 == 0 {
                    assert_eq!(sum, step / 8, "{version}");
                }
            }
            for _ in 0..4 {
                wheel.source(false);
                wheel.continuous(true, 15.0 / 4.0);
                sum += turned(&mut wheel);
            }
            assert_eq!(sum, 11, "{version}");
        }
        // Nor is one cut to a whole number: eleven steps a notch, in the 256ths that Wayland has.
        let mut wheel = Wheel::default();
        let mut sum = 0;
        for _ in 0..110 {
            wheel.continuous(true, 349.0 / 256.0);
            sum += turned(&mut wheel);
        }
        assert_eq!(sum, 10);
    }

    fn abs(x: u16, scanout: u32) -> FromScreen {
        FromScreen::Input(InputEvent::Abs { x, y: 0, scanout: ScanoutId::new(scanout).unwrap() })
    }

    #[test]
    fn waiting_motion_is_merged_and_the_queue_is_bounded() {
        let mut outbox = Outbox::default();
        outbox.push(abs(1, 0));
        outbox.push(abs(2, 0));
        outbox.push(abs(3, 1));
        assert_eq!((outbox.pop(), outbox.pop(), outbox.pop()), (Some(abs(2, 0)), Some(abs(3, 1)), None));
        outbox.push(FromScreen::ScanoutsChanged);
        outbox.push(FromScreen::ScanoutsChanged);
        assert_eq!((outbox.pop(), outbox.pop()), (Some(FromScreen::ScanoutsChanged), None));
        outbox.push(FromScreen::CloseRequested);
        for code in 0..2000 {
            outbox.push(FromScreen::Input(InputEvent::Key { code, pressed: true }));
            assert!(outbox.waiting.len() <= MAX_WAITING);
        }
        assert_eq!(outbox.pop(), Some(FromScreen::CloseRequested));
        assert_eq!(outbox.pop(), Some(FromScreen::Input(InputEvent::ReleaseAll)));
    }
}
