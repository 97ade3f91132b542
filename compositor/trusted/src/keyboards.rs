//! Which keyboards may type. Pure: time is passed in.
//!
//! What looks like a memory stick can be a keyboard that types by itself. One that comes after the start types nothing
//! until the person has said so by another; nobody is asked about one that never presses a key. Without any that may
//! type nobody could say anything, so the next one may. What a device says of itself decides nothing but whether it is
//! one that was there before the session was another's for a while.

use crate::held::DeviceId;
use std::time::{Duration, Instant};

/// How long after the first device of all, or the first after the session came back, others are still those that were
/// there.
pub const FOUND: Duration = Duration::from_secs(2);

/// What becomes of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Typing {
    /// It counts.
    Counts,
    /// It does not, and the person is to be asked from now on.
    Asks,
    /// It does not.
    Nothing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Trusted,
    Waits { asks: bool },
    Refused,
}

#[derive(Debug)]
struct Keyboard {
    device: DeviceId,
    /// What it says of itself.
    identity: String,
    /// It has letters, so that a question can be answered on it.
    letters: bool,
    /// Somebody has typed on it.
    typed: bool,
    fate: Fate,
}

/// Every keyboard, and whether it may type. As many as the kernel has devices.
#[derive(Debug)]
pub struct Keyboards {
    asks: bool,
    known: Vec<Keyboard>,
    /// Until when those that come were there; the first one sets it.
    until: Option<Instant>,
    /// Those that could type when the session became another's; `None` at the start, when all were there.
    before: Option<Vec<String>>,
}

impl Default for Keyboards {
    fn default() -> Self {
        Self::new(true)
    }
}

impl Keyboards {
    /// `asks`: about keyboards that come after the start.
    pub fn new(asks: bool) -> Self {
        Self { asks, known: Vec::new(), until: None, before: None }
    }

    /// A keyboard is here. `letters`: a question can be answered on it.
    pub fn came(&mut self, device: DeviceId, identity: String, letters: bool, now: Instant) {
        let until = *self.until.get_or_insert(now + FOUND);
        let found = now <= until && self.before.as_ref().is_none_or(|before| before.contains(&identity));
        let alone = letters && !self.can_answer();
        if alone && !found && self.before.is_none() {
            // What comes together is let in together: a dock's mouse may have keys, too, and be the first.
            self.until = Some(now + FOUND);
        }
        let fate = if !self.asks || found || alone { Fate::Trusted } else { Fate::Waits { asks: false } };
        // One that could type before the session became another's need not show it again.
        let typed = found && self.before.is_some();
        self.known.push(Keyboard { device, identity, letters, typed, fate });
    }

    /// A keyboard is gone. `away`: it was not unplugged, the session is another's.
    pub fn went(&mut self, device: DeviceId, away: bool) {
        let Some(at) = self.known.iter().position(|keyboard| keyboard.device == device) else { return };
        let gone = self.known.remove(at);
        if away {
            if self.until.take().is_some() {
                self.before = None;
            }
            let before = self.before.get_or_insert_default();
            if gone.fate == Fate::Trusted {
                before.push(gone.identity);
            }
        } else if !self.can_answer()
            && let Some(next) =
                self.known.iter_mut().find(|keyboard| keyboard.letters && keyboard.fate != Fate::Refused)
        {
            next.fate = Fate::Trusted;
        }
    }

    /// A key of this device is pressed or released. Devices that never came are not told apart by their backend.
    pub fn typed(&mut self, device: DeviceId) -> Typing {
        let Some(keyboard) = self.known.iter_mut().find(|keyboard| keyboard.device == device) else {
            return Typing::Counts;
        };
        match keyboard.fate {
            Fate::Trusted => {
                keyboard.typed = true;
                Typing::Counts
            }
            Fate::Waits { asks: false } => {
                keyboard.fate = Fate::Waits { asks: true };
                Typing::Asks
            }
            Fate::Waits { asks: true } | Fate::Refused => Typing::Nothing,
        }
    }

    /// The keyboard that the person is to be asked about.
    pub fn asked(&self) -> Option<DeviceId> {
        self.known.iter().find(|keyboard| keyboard.fate == Fate::Waits { asks: true }).map(|keyboard| keyboard.device)
    }

    /// The person has said whether a keyboard may type. One that may not is asked about no more.
    pub fn answer(&mut self, device: DeviceId, may: bool) {
        if let Some(keyboard) = self.known.iter_mut().find(|keyboard| keyboard.device == device) {
            keyboard.fate = if may { Fate::Trusted } else { Fate::Refused };
        }
    }

    /// Whether there is one on which a question can be answered: one that has been typed on. Mice claim to have letters,
    /// too, and must not keep a person's only keyboard waiting.
    fn can_answer(&self) -> bool {
        self.known.iter().any(|keyboard| keyboard.letters && keyboard.typed && keyboard.fate == Fate::Trusted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LATER: Duration = Duration::from_secs(60);

    /// Keyboards with letters that came at these times after the start; their devices.
    fn with(asks: bool, came: &[(&str, Duration)], start: Instant) -> (Keyboards, Vec<DeviceId>) {
        let mut keyboards = Keyboards::new(asks);
        let mut device = DeviceId::ONLY;
        let devices = came.iter().map(|(identity, after)| {
            device = device.next();
            keyboards.came(device, (*identity).to_owned(), true, start + *after);
            if after.is_zero() {
                keyboards.typed(device);
            }
            device
        });
        let devices = devices.collect();
        (keyboards, devices)
    }

    #[test]
    fn those_of_the_start_type_and_later_ones_wait_until_somebody_says_so() {
        let came = [("own", Duration::ZERO), ("second", FOUND), ("stick", LATER), ("other", LATER)];
        let (mut keyboards, devices) = with(true, &came, Instant::now());
        assert_eq!([devices[0], devices[1], DeviceId::ONLY].map(|one| keyboards.typed(one)), [Typing::Counts; 3]);
        assert_eq!(keyboards.asked(), None, "nobody asks about one that presses nothing");
        assert_eq!((keyboards.typed(devices[2]), keyboards.typed(devices[2])), (Typing::Asks, Typing::Nothing));
        assert_eq!(keyboards.asked(), Some(devices[2]));
        keyboards.answer(devices[2], true);
        assert_eq!((keyboards.typed(devices[2]), keyboards.asked()), (Typing::Counts, None));
        assert_eq!(keyboards.typed(devices[3]), Typing::Asks);
        keyboards.answer(devices[3], false);
        assert_eq!((keyboards.typed(devices[3]), keyboards.asked()), (Typing::Nothing, None));
    }

    #[test]
    fn where_nobody_is_asked_all_type() {
        let (mut keyboards, devices) = with(false, &[("own", Duration::ZERO), ("stick", LATER)], Instant::now());
        assert_eq!(keyboards.typed(devices[1]), Typing::Counts);
    }

    #[test]
    fn a_person_is_never_left_without_a_keyboard() {
        let start = Instant::now();
        let (mut keyboards, devices) = with(true, &[("own", Duration::ZERO), ("stick", LATER)], start);
        keyboards.went(devices[0], false);
        assert_eq!(keyboards.typed(devices[1]), Typing::Counts, "it is the only one");
        keyboards.went(devices[1], false);
        let next = devices[1].next();
        keyboards.came(next, "own".to_owned(), true, start + 2 * LATER);
        assert_eq!(keyboards.typed(next), Typing::Counts);
        let together = next.next();
        keyboards.came(together, "other".to_owned(), true, start + 2 * LATER + FOUND);
        assert_eq!(keyboards.typed(together), Typing::Counts, "a dock brings all that is on it");
        let buttons = together.next();
        keyboards.came(buttons, "buttons".to_owned(), false, start + 3 * LATER);
        assert_eq!(keyboards.typed(buttons), Typing::Asks, "no question can be answered on it");
    }

    #[test]
    fn a_mouse_that_claims_letters_keeps_no_persons_keyboard_waiting() {
        let start = Instant::now();
        let mut keyboards = Keyboards::new(true);
        let (mouse, own) = (DeviceId::ONLY.next(), DeviceId::ONLY.next().next());
        keyboards.came(mouse, "mouse".to_owned(), true, start);
        keyboards.came(own, "own".to_owned(), true, start + LATER);
        assert_eq!(keyboards.typed(own), Typing::Counts);
    }

    #[test]
    fn one_that_was_refused_stays_so_when_the_last_other_one_goes() {
        let (mut keyboards, devices) = with(true, &[("own", Duration::ZERO), ("stick", LATER)], Instant::now());
        keyboards.typed(devices[1]);
        keyboards.answer(devices[1], false);
        keyboards.went(devices[0], false);
        assert_eq!(keyboards.typed(devices[1]), Typing::Nothing);
    }

    #[test]
    fn those_that_were_there_before_another_session_type_and_one_that_came_meanwhile_waits() {
        let start = Instant::now();
        let came = [("a", Duration::ZERO), ("b", Duration::ZERO), ("held", LATER)];
        let (mut keyboards, devices) = with(true, &came, start);
        for device in &devices {
            keyboards.went(*device, true);
        }
        let mut device = devices[2];
        for (identity, typing) in
            [("b", Typing::Counts), ("new", Typing::Asks), ("a", Typing::Counts), ("held", Typing::Asks)]
        {
            device = device.next();
            keyboards.came(device, identity.to_owned(), true, start + 2 * LATER);
            assert_eq!(keyboards.typed(device), typing, "{identity}");
        }
        device = device.next();
        keyboards.came(device, "a".to_owned(), true, start + 3 * LATER);
        assert_eq!(keyboards.typed(device), Typing::Asks, "it says that it is one of them, but was plugged in");
    }
}
