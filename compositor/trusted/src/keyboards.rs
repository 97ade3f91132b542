//! Which keyboards may type. Pure: time and chance are passed in.
//!
//! What looks like a memory stick can be a keyboard that types by itself. One that comes after the start types nothing
//! until the person has said so: by another, or, where none is there that somebody has typed on, by typing on it the
//! code that the screen shows ([`typed_code`]). Nobody is asked about one that never presses a key. One that may type
//! and comes back to the port where it was is known, unless something else was there meanwhile; what a device says of
//! itself decides nothing beyond that. All that is on one port is one thing: a keyboard's volume keys are let in with
//! it.
//!
//! [`typed_code`]: crate::typed_code

use crate::codes;
use crate::held::DeviceId;
use crate::typed_code::{Code, Entry, Guesses, TRIES, Typed};
use std::time::{Duration, Instant};

/// How long after devices are looked for first, or the first of them comes after the session came back, others are
/// still those that were there.
pub const FOUND: Duration = Duration::from_secs(2);

/// Most keyboards that are remembered after they were unplugged; beyond that the first of them is forgotten.
const REMEMBERED: usize = 32;
/// When a code is tried again that could not be made for want of chance.
const AGAIN: Duration = Duration::from_secs(1);

/// What becomes of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Typing {
    /// It counts.
    Counts,
    /// It counts, and questions can be answered on this keyboard from now on.
    Answers,
    /// It does not, and the person is to be asked from now on.
    Asks,
    /// It does not, but may be one of the code's.
    Code,
    /// It does not.
    Nothing,
}

/// What a keyboard is known by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plugged {
    /// The kernel's name of it, while it is plugged in: `event5`.
    pub node: String,
    /// What it says of itself.
    pub identity: String,
    /// Where it is plugged in, as the kernel has found it; `None` where that cannot be told.
    pub port: Option<String>,
    /// It has letters, so that a question can be answered on it.
    pub letters: bool,
}

/// How a keyboard is let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// The person says so on another.
    Another,
    /// This code is typed on it.
    Code {
        /// The code.
        code: Code,
        /// How many of its digits are typed.
        typed: usize,
    },
    /// A code is shown when a wait is over.
    Later {
        /// All of the wait, in seconds, at least one.
        seconds: u64,
    },
    /// Not before it is plugged in again.
    Never,
}

/// A keyboard that may not type, by what it calls itself, of which the person is to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewKeyboard {
    /// Which.
    pub device: DeviceId,
    /// Printable and bounded.
    pub name: String,
    /// How it is let in.
    pub way: Way,
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
    plugged: Plugged,
    /// Somebody has typed on it what a question is answered with.
    typed: bool,
    fate: Fate,
    entry: Entry,
    /// Codes that were typed wrong on its port.
    wrong: u8,
}

impl Keyboard {
    fn asks(&self) -> bool {
        self.fate == Fate::Waits { asks: true }
    }

    /// Whether both are one thing.
    fn is_part_of(&self, device: DeviceId, port: Option<&str>) -> bool {
        self.device == device || (port.is_some() && self.plugged.port.as_deref() == port)
    }
}

/// One that could type when it went: what it said of itself, where it was, whether somebody had typed on it.
#[derive(Debug)]
struct Gone {
    identity: String,
    place: String,
    typed: bool,
}

impl Gone {
    fn of(gone: &Keyboard, place: String) -> Self {
        Self { identity: gone.plugged.identity.clone(), place, typed: gone.typed }
    }

    fn is(&self, plugged: &Plugged, place: &str) -> bool {
        self.identity == plugged.identity && self.place == place
    }
}

/// Every keyboard, and whether it may type. As many as the kernel has devices.
#[derive(Debug)]
pub struct Keyboards {
    asks: bool,
    present: Vec<Keyboard>,
    /// Until when those that come were there.
    until: Option<Instant>,
    /// Those that could type when the session became another's, by node; `None` at the start, when all were there.
    before: Option<Vec<Gone>>,
    /// Those that could type when they were unplugged, by port.
    remembered: Vec<Gone>,
    /// What is shown to be typed.
    code: Option<Code>,
    guesses: Guesses,
}

impl Default for Keyboards {
    fn default() -> Self {
        Self::new(true)
    }
}

impl Keyboards {
    /// `asks`: about keyboards that come after the start.
    pub fn new(asks: bool) -> Self {
        Self {
            asks,
            present: Vec::new(),
            until: None,
            before: None,
            remembered: Vec::new(),
            code: None,
            guesses: Guesses::default(),
        }
    }

    /// Devices are looked for from now on: those that come at once were there.
    pub fn begin(&mut self, now: Instant) {
        self.until.get_or_insert(now + FOUND);
    }

    /// A keyboard is here.
    pub fn came(&mut self, device: DeviceId, plugged: Plugged, now: Instant) {
        let until = *self.until.get_or_insert(now + FOUND);
        let port = plugged.port.as_deref();
        let before = self.before.iter().flatten().find(|known| known.is(&plugged, &plugged.node));
        let remembered = self.remembered.iter().find(|known| port.is_some_and(|port| known.is(&plugged, port)));
        // It need not show again that somebody types on it.
        let typed = before.or(remembered).is_some_and(|known| known.typed);
        // Who tries what was there before has one try.
        let held = self.present.iter().any(|other| other.is_part_of(device, port));
        let stranger = port.filter(|_| remembered.is_none() && !held).map(str::to_owned);
        let known = remembered.is_some();
        let found = now <= until && (self.before.is_none() || before.is_some());
        let part = self.present.iter().find(|other| other.is_part_of(device, port));
        let (fate, wrong) = if !self.asks || found || known {
            (Fate::Trusted, 0)
        } else {
            part.map_or((Fate::Waits { asks: false }, 0), |part| (part.fate, part.wrong))
        };
        if let Some(port) = stranger {
            self.remembered.retain(|gone| gone.place != port);
        }
        self.present.push(Keyboard { device, plugged, typed, fate, entry: Entry::default(), wrong });
    }

    /// A keyboard is gone. `away`: it was not unplugged, the session is another's.
    pub fn went(&mut self, device: DeviceId, away: bool, now: Instant) {
        let Some(at) = self.present.iter().position(|keyboard| keyboard.device == device) else { return };
        let gone = self.present.remove(at);
        if away {
            if self.until.take().is_some() {
                self.before = None;
            }
            let before = self.before.get_or_insert_default();
            if gone.fate == Fate::Trusted {
                before.push(Gone::of(&gone, gone.plugged.node.clone()));
            }
        } else if gone.asks() && gone.plugged.letters && self.code.is_some() {
            // One that comes back at once is not shown one code after another.
            self.failed(now);
        }
        if gone.fate == Fate::Trusted {
            self.remember(&gone);
        }
    }

    fn remember(&mut self, gone: &Keyboard) {
        let Some(port) = &gone.plugged.port else { return };
        self.remembered.retain(|known| !known.is(&gone.plugged, port));
        if self.remembered.len() >= REMEMBERED {
            self.remembered.remove(0);
        }
        self.remembered.push(Gone::of(gone, port.clone()));
    }

    /// A key (evdev code) of this device is pressed or released. Devices that never came are not told apart by their
    /// backend.
    pub fn typed(&mut self, device: DeviceId, key: u32) -> Typing {
        let answers = self.can_answer();
        let Some(keyboard) = self.present.iter_mut().find(|keyboard| keyboard.device == device) else {
            return Typing::Counts;
        };
        match keyboard.fate {
            Fate::Trusted if keyboard.typed || !codes::is_typed(key) => Typing::Counts,
            Fate::Trusted => {
                keyboard.typed = true;
                if answers || !keyboard.plugged.letters { Typing::Counts } else { Typing::Answers }
            }
            Fate::Waits { asks: false } => {
                keyboard.fate = Fate::Waits { asks: true };
                Typing::Asks
            }
            Fate::Waits { asks: true } if !answers => Typing::Code,
            Fate::Waits { asks: true } | Fate::Refused => Typing::Nothing,
        }
    }

    /// Shows a code where one is to be typed, or none, after anything has changed. `chance`: any number, each as likely
    /// as any other, if there is one. When this is to be asked again though nothing changes.
    pub fn update(&mut self, now: Instant, chance: Option<u64>) -> Option<Instant> {
        let wanted =
            !self.can_answer() && self.present.iter().any(|keyboard| keyboard.plugged.letters && keyboard.asks());
        let next = self.guesses.next(now);
        if !wanted || next.is_some() {
            self.hide();
            return next.filter(|_| wanted);
        }
        self.code = self.code.or_else(|| chance.map(Code::new));
        self.code.is_none().then(|| now + AGAIN)
    }

    /// A key (evdev code) was pressed on a keyboard while the person could see what [`Self::asked`] tells. Whether
    /// anything has changed.
    pub fn enter(&mut self, device: DeviceId, key: u32, now: Instant) -> bool {
        let Some(keyboard) = self.present.iter_mut().find(|keyboard| keyboard.device == device && keyboard.asks())
        else {
            return false;
        };
        if key == codes::ESC {
            self.answer(device, false, now);
            return true;
        }
        let Some(code) = self.code.filter(|_| keyboard.plugged.letters) else { return false };
        match keyboard.entry.key(key, code) {
            Typed::Nothing => return false,
            Typed::Part => {}
            Typed::Right => {
                keyboard.typed = true;
                self.guesses.right();
                self.set_all(device, Fate::Trusted);
                self.hide();
            }
            Typed::Wrong => {
                let wrong = keyboard.wrong.saturating_add(1);
                self.parts(device).for_each(|part| part.wrong = wrong);
                self.failed(now);
                if wrong >= TRIES {
                    self.set_all(device, Fate::Refused);
                }
            }
        }
        true
    }

    /// The keyboard of which the person is to know, and how it is let in.
    pub fn asked(&self) -> Option<(DeviceId, Way)> {
        let answers = self.can_answer();
        let first = |wanted: &dyn Fn(&Keyboard) -> bool| {
            self.present.iter().find(|keyboard| wanted(keyboard)).map(|keyboard| keyboard.device)
        };
        let coded = if answers { None } else { first(&|keyboard| keyboard.plugged.letters && keyboard.asks()) };
        if let Some(device) = coded {
            let typed = || self.present.iter().map(|keyboard| keyboard.entry.len()).max().unwrap_or(0);
            let later = || Way::Later { seconds: self.guesses.wait().as_secs().max(1) };
            return Some((device, self.code.map_or_else(later, |code| Way::Code { code, typed: typed() })));
        }
        if answers {
            return first(&|keyboard| keyboard.asks()).map(|device| (device, Way::Another));
        }
        // Of buttons that cannot type a code nothing is said: nobody could do anything.
        let refused = first(&|keyboard| keyboard.plugged.letters && keyboard.fate == Fate::Refused);
        refused.map(|device| (device, Way::Never))
    }

    /// The person has said whether a keyboard may type. One that may not is asked about no more.
    pub fn answer(&mut self, device: DeviceId, may: bool, now: Instant) {
        self.set_all(device, if may { Fate::Trusted } else { Fate::Refused });
        if self.code.is_some() {
            self.failed(now);
        }
    }

    /// All that is on the port of this device has this fate from now on.
    fn set_all(&mut self, device: DeviceId, fate: Fate) {
        self.parts(device).for_each(|part| part.fate = fate);
    }

    fn parts(&mut self, device: DeviceId) -> impl Iterator<Item = &mut Keyboard> {
        let this = self.present.iter().find(|keyboard| keyboard.device == device);
        let port = this.and_then(|keyboard| keyboard.plugged.port.clone());
        self.present.iter_mut().filter(move |keyboard| keyboard.is_part_of(device, port.as_deref()))
    }

    fn failed(&mut self, now: Instant) {
        self.guesses.failed(now);
        self.hide();
    }

    /// No code is shown: what was typed of it is nothing.
    fn hide(&mut self) {
        self.code = None;
        for keyboard in &mut self.present {
            keyboard.entry = Entry::default();
        }
    }

    /// Whether there is one on which a question can be answered: one on which somebody has typed. Mice claim to have
    /// letters, too, and must not keep a person's only keyboard waiting.
    fn can_answer(&self) -> bool {
        self.present.iter().any(|keyboard| keyboard.plugged.letters && keyboard.typed && keyboard.fate == Fate::Trusted)
    }
}

#[cfg(test)]
#[path = "keyboards_tests.rs"]
mod tests;
