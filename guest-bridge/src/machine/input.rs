//! What the person does becomes QMP `input-send-event` commands: a bounded queue in front of QEMU.
//!
//! Pure: events in, batches out. It never waits for QEMU: while a batch is under way, what comes meanwhile gathers
//! here. When QEMU is slow, repeats and motion are dropped first, then presses; a release whose press was passed on is
//! never dropped.

use super::keys;
use super::typematic::{Repeat, Typematic};
use crate::screen::InputEvent;
use phyllome_protocol::ScanoutId;
use serde_json::{Value, json};
use std::collections::{BTreeSet, VecDeque};
use tokio::time::Instant;

/// Events that may wait beside releases.
const MAX_WAITING: usize = 256;
/// Events in one batch: QEMU's HID devices hold 16.
const MAX_BATCH: usize = 16;
/// Notches of one turn of the wheel that are passed on.
const MAX_NOTCHES: u32 = 64;

/// A key or a button in QEMU's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Switch {
    Key(&'static str),
    Button(&'static str),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Switch { switch: Switch, down: bool },
    Abs { x: u16, y: u16, scanout: ScanoutId },
    Notch(&'static str),
}

impl Step {
    /// Two steps with the same mark must not lie in one batch, because the guest sees a batch as one moment.
    fn mark(self) -> &'static str {
        match self {
            Self::Switch { switch: Switch::Key(word), .. } => word,
            Self::Switch { switch: Switch::Button(_), .. } => "a button",
            Self::Abs { .. } => "the position",
            Self::Notch(_) => "the wheel",
        }
    }

    fn scanout(self) -> Option<ScanoutId> {
        match self {
            Self::Abs { scanout, .. } => Some(scanout),
            Self::Switch { .. } | Self::Notch(_) => None,
        }
    }
}

/// The queue.
#[derive(Debug)]
pub struct InputQueue {
    waiting: VecDeque<Step>,
    held: BTreeSet<Switch>,
    running: bool,
    typematic: Typematic,
}

impl InputQueue {
    /// Nothing is held. `both_keyboards`: the guest has a virtio keyboard beside the PS/2 one.
    pub fn new(both_keyboards: bool) -> Self {
        let typematic = Typematic::new(both_keyboards);
        Self { waiting: VecDeque::new(), held: BTreeSet::new(), running: true, typematic }
    }

    /// Takes what the person does at this moment.
    pub fn push(&mut self, event: InputEvent) {
        self.push_at(event, Instant::now());
    }

    fn push_at(&mut self, event: InputEvent, now: Instant) {
        match event {
            InputEvent::Key { code, pressed } => {
                let word = keys::qcode(code);
                match word.filter(|word| self.switch(Switch::Key(word), pressed)) {
                    Some(word) if pressed => self.typematic.pressed(word, now),
                    Some(word) => self.typematic.released(word),
                    None => {}
                }
            }
            InputEvent::Button { code, pressed } => {
                if let Some(word) = keys::button(code) {
                    self.switch(Switch::Button(word), pressed);
                }
            }
            InputEvent::Abs { x, y, scanout } => self.motion(x, y, scanout),
            // No pointer that guests are given has a sideways wheel: QEMU's USB tablet would ignore one, and its virtio
            // tablet (11.1) as well, with a line in QEMU's log for each notch.
            InputEvent::Wheel { vertical, horizontal: _ } => self.notches(vertical, "wheel-up", "wheel-down"),
            InputEvent::ReleaseAll => self.release_all(),
        }
    }

    /// Releases all keys and buttons that the guest believes to be held.
    pub fn release_all(&mut self) {
        self.typematic.stop();
        while let Some(switch) = self.held.pop_last() {
            self.waiting.push_back(Step::Switch { switch, down: false });
        }
    }

    /// QEMU drops input while the guest's processors stand. So nothing is sent then; presses and motion are dropped
    /// here, and releases wait, lest the guest goes on with a key held for ever.
    pub fn set_running(&mut self, running: bool) {
        self.running = running;
        if !running {
            self.typematic.stop();
        }
    }

    /// A new QEMU holds no keys.
    pub fn forget(&mut self, both_keyboards: bool) {
        *self = Self::new(both_keyboards);
    }

    /// When [`Self::repeat`] has something to do.
    pub fn repeats_at(&self) -> Option<Instant> {
        self.typematic.deadline()
    }

    /// Presses the key again that is held, if it is due at `now` and nothing waits; `true`: it is to be found out first
    /// which keyboard the guest uses, and [`Self::keyboard_found`] takes the answer.
    pub fn repeat(&mut self, now: Instant) -> bool {
        match self.typematic.due(now) {
            Some(Repeat::Key(word)) if self.waiting.is_empty() => {
                self.waiting.push_back(Step::Switch { switch: Switch::Key(word), down: true });
                false
            }
            Some(Repeat::Key(_)) | None => false,
            Some(Repeat::Ask) => true,
        }
    }

    /// Whether the keyboard that is in use repeats by itself.
    pub fn keyboard_found(&mut self, repeats_by_itself: bool) {
        self.typematic.found(repeats_by_itself);
    }

    /// The next batch for QMP, if there is one.
    pub fn next_batch(&mut self) -> Option<Vec<Value>> {
        if !self.running || self.waiting.is_empty() {
            return None;
        }
        let mut marks = BTreeSet::new();
        let mut batch = Vec::new();
        while batch.len() < MAX_BATCH {
            let Some(step) = self.waiting.front().copied() else { break };
            if !marks.insert(step.mark()) {
                break;
            }
            self.waiting.pop_front();
            to_qmp(step, &mut batch);
        }
        Some(batch)
    }

    fn has_room(&mut self) -> bool {
        if self.waiting.len() >= MAX_WAITING {
            self.waiting.retain(|step| !matches!(step, Step::Abs { .. }));
        }
        self.running && self.waiting.len() < MAX_WAITING
    }

    /// Whether the guest is to hear of it.
    fn switch(&mut self, switch: Switch, down: bool) -> bool {
        let passed_on = if down { self.has_room() && self.held.insert(switch) } else { self.held.remove(&switch) };
        if passed_on {
            self.waiting.push_back(Step::Switch { switch, down });
        }
        passed_on
    }

    /// The newest position on a scanout replaces one that waits; where the pointer left another scanout stays.
    fn motion(&mut self, x: u16, y: u16, scanout: ScanoutId) {
        let step = Step::Abs { x, y, scanout };
        let waits = self.waiting.back().is_some_and(|last| last.scanout() == Some(scanout));
        if waits {
            self.waiting.pop_back();
        }
        if waits || self.has_room() {
            self.waiting.push_back(step);
        }
    }

    fn notches(&mut self, count: i32, negative: &'static str, positive: &'static str) {
        let word = if count < 0 { negative } else { positive };
        for _ in 0..count.unsigned_abs().min(MAX_NOTCHES) {
            if self.has_room() {
                self.waiting.push_back(Step::Notch(word));
            }
        }
    }
}

fn to_qmp(step: Step, batch: &mut Vec<Value>) {
    let button = |word, down| json!({ "type": "btn", "data": { "button": word, "down": down } });
    let axis = |word, value| json!({ "type": "abs", "data": { "axis": word, "value": value } });
    match step {
        Step::Switch { switch: Switch::Key(word), down } => {
            batch.push(json!({ "type": "key", "data": { "down": down, "key": { "type": "qcode", "data": word } } }));
        }
        Step::Switch { switch: Switch::Button(word), down } => batch.push(button(word, down)),
        Step::Abs { x, y, .. } => batch.extend([axis("x", x), axis("y", y)]),
        Step::Notch(word) => batch.extend([button(word, true), button(word, false)]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn queue() -> InputQueue {
        InputQueue::new(false)
    }

    fn key(code: u32, pressed: bool) -> InputEvent {
        InputEvent::Key { code, pressed }
    }

    fn abs(x: u16) -> InputEvent {
        InputEvent::Abs { x, y: 1, scanout: ScanoutId::new(0).unwrap() }
    }

    /// A batch in short: `+a -a x7 +left wheel`.
    fn short(batch: Option<Vec<Value>>) -> String {
        let words = batch.unwrap_or_default().into_iter().map(|event| {
            let data = &event["data"];
            let sign = if data["down"] == true { "+" } else { "-" };
            match event["type"].as_str().unwrap() {
                "key" => format!("{sign}{}", data["key"]["data"].as_str().unwrap()),
                "btn" => format!("{sign}{}", data["button"].as_str().unwrap()),
                _ => format!("{}{}", data["axis"].as_str().unwrap(), data["value"]),
            }
        });
        words.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn what_arrives_together_is_one_batch_and_a_tap_is_two() {
        let mut queue = queue();
        for event in [key(29, true), key(30, true), abs(7), key(30, false), key(29, false)] {
            queue.push(event);
        }
        assert_eq!(short(queue.next_batch()), "+ctrl +a x7 y1");
        assert_eq!(short(queue.next_batch()), "-a -ctrl");
        assert_eq!(queue.next_batch(), None);
    }

    #[test]
    fn motion_that_waits_is_replaced_by_newer_motion() {
        let mut queue = queue();
        (0..1000).for_each(|x| queue.push(abs(x)));
        queue.push(InputEvent::Button { code: 0x110, pressed: true });
        assert_eq!(short(queue.next_batch()), "x999 y1 +left");
        assert_eq!(queue.next_batch(), None);
    }

    #[test]
    fn motions_on_two_displays_are_never_merged() {
        let mut queue = queue();
        for (x, scanout) in [(1, 0), (2, 0), (3, 1), (4, 1), (5, 0)] {
            queue.push(InputEvent::Abs { x, y: 1, scanout: ScanoutId::new(scanout).unwrap() });
        }
        let all: Vec<_> = (0..3).map(|_| short(queue.next_batch())).collect();
        assert_eq!(all, ["x2 y1", "x4 y1", "x5 y1"]);
    }

    #[test]
    fn every_notch_is_a_moment_of_its_own() {
        let mut queue = queue();
        queue.push(InputEvent::Wheel { vertical: 2, horizontal: 0 });
        queue.push(InputEvent::Wheel { vertical: -1, horizontal: 0 });
        let all: Vec<_> = (0..3).map(|_| short(queue.next_batch())).collect();
        assert_eq!(all, ["+wheel-down -wheel-down", "+wheel-down -wheel-down", "+wheel-up -wheel-up"]);
        queue.push(InputEvent::Wheel { vertical: 20, horizontal: 0 });
        assert_eq!(std::iter::from_fn(|| queue.next_batch()).count(), 20, "none is lost");
        queue.push(InputEvent::Wheel { vertical: i32::MIN, horizontal: i32::MAX });
        assert!(std::iter::from_fn(|| queue.next_batch()).count() <= MAX_NOTCHES as usize);
    }

    #[test]
    fn qemu_hears_nothing_of_a_wheel_that_no_guest_has() {
        let mut queue = queue();
        queue.push(InputEvent::Wheel { vertical: 0, horizontal: -3 });
        assert_eq!(queue.next_batch(), None);
    }

    #[test]
    fn all_that_is_held_is_released_once() {
        let mut queue = queue();
        for event in [key(30, true), InputEvent::Button { code: 0x111, pressed: true }, key(30, true)] {
            queue.push(event);
        }
        assert_eq!(short(queue.next_batch()), "+a +right");
        queue.push(InputEvent::ReleaseAll);
        queue.push(key(30, false));
        assert_eq!(short(queue.next_batch()), "-right -a");
        assert_eq!(queue.next_batch(), None);
    }

    #[test]
    fn a_paused_guest_gets_its_releases_when_it_goes_on_and_nothing_else() {
        let mut queue = queue();
        queue.push(key(30, true));
        assert_eq!(short(queue.next_batch()), "+a");
        queue.set_running(false);
        for event in [key(48, true), key(48, false), abs(3), InputEvent::ReleaseAll] {
            queue.push(event);
        }
        assert_eq!(queue.next_batch(), None);
        queue.set_running(true);
        assert_eq!(short(queue.next_batch()), "-a");
        assert_eq!(queue.next_batch(), None);
    }

    #[test]
    fn a_flood_is_bounded_and_loses_no_release() {
        let mut queue = queue();
        for round in 0..100_000u32 {
            let code = round % 120;
            queue.push(key(code, true));
            queue.push(abs(7));
            if round % 3 == 0 {
                queue.push(key(code, false));
            }
        }
        queue.push(InputEvent::ReleaseAll);
        assert!(queue.waiting.len() <= 2 * MAX_WAITING, "{}", queue.waiting.len());
        let mut down = BTreeSet::new();
        while let Some(batch) = queue.next_batch() {
            assert!(batch.len() <= MAX_BATCH + 1);
            for event in batch.iter().filter(|e| e["type"] == "key") {
                let word = event["data"]["key"]["data"].as_str().unwrap().to_owned();
                if event["data"]["down"] == true {
                    assert!(down.insert(word))
                } else {
                    assert!(down.remove(&word))
                };
            }
        }
        assert_eq!(down, BTreeSet::new());
    }

    /// What the queue gives to QEMU until this moment, in short.
    fn until(queue: &mut InputQueue, end: Instant) -> Vec<String> {
        let mut all = Vec::new();
        loop {
            all.extend(std::iter::from_fn(|| queue.next_batch()).map(|batch| short(Some(batch))));
            let Some(due) = queue.repeats_at().filter(|due| *due <= end) else { return all };
            assert!(!queue.repeat(due));
        }
    }

    #[test]
    fn a_held_key_repeats_until_whatever_ends_it() {
        type End = Box<dyn Fn(&mut InputQueue)>;
        let ends: [(&str, End, &str); 4] = [
            ("its release", Box::new(|queue| queue.push(key(30, false))), "-a"),
            ("a switch, or lost focus", Box::new(|queue| queue.push(InputEvent::ReleaseAll)), "-a"),
            ("a pause", Box::new(|queue| queue.set_running(false)), ""),
            ("another QEMU", Box::new(|queue| queue.forget(false)), ""),
        ];
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        for (what, end, last) in ends {
            let mut queue = queue();
            queue.push_at(key(30, true), start);
            assert_eq!(until(&mut queue, at(399)), ["+a"]);
            assert_eq!(until(&mut queue, at(480)), ["+a"; 3], "{what}");
            end(&mut queue);
            assert_eq!(until(&mut queue, at(9_000)).concat(), last, "{what}");
        }
        let mut queue = queue();
        queue.push_at(key(30, true), start);
        until(&mut queue, at(450));
        queue.push_at(key(31, true), at(450));
        assert_eq!(until(&mut queue, at(849)), ["+s"]);
        assert_eq!(until(&mut queue, at(850)), ["+s"], "the newest key repeats");
    }

    #[test]
    fn a_qemu_that_is_slow_gets_no_backlog_of_repeats() {
        let (mut queue, mut now) = (queue(), Instant::now());
        queue.push_at(key(30, true), now);
        for _ in 0..100 {
            now += Duration::from_millis(500);
            assert!(!queue.repeat(now));
        }
        queue.push_at(key(30, false), now);
        let all: Vec<_> = std::iter::from_fn(|| queue.next_batch()).map(|batch| short(Some(batch))).collect();
        assert_eq!(all, ["+a", "-a"]);
    }

    #[test]
    fn keys_that_qemu_does_not_know_go_nowhere() {
        let mut queue = queue();
        queue.push(key(u32::MAX, true));
        queue.push(InputEvent::Button { code: 30, pressed: true });
        assert_eq!(queue.next_batch(), None);
    }
}
