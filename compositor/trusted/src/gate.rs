//! The one gate: all that is asked of the shell is a [`Verb`], and [`allowed`] says whether whoever asks may have it
//! now.
//!
//! A chord, a click, one of the shell's own faces, the command-line tool and the shell itself ask; a guest never gets
//! anything by asking (trusted-path promise 11). While the screen is locked nothing is shown, captured or typed. There
//! is no `_` here: a new verb does not compile before somebody has said who may ask for it and whether a lock stands in
//! its way.

use crate::held::DeviceId;
use crate::keyboards::NewKeyboard;
use phyllome_protocol::shell::CaptureTarget;
use phyllome_protocol::{GuestName, GuestVerb, Slot};
use std::fmt;

/// Something that is asked of the shell.
#[derive(Clone, Debug, PartialEq)]
pub enum Verb {
    /// Show this guest and give it the keys.
    Show(GuestName),
    /// The same for the guest in this slot, if there is one.
    ShowSlot(Slot),
    /// This guest was started: show it if none is shown.
    ShowStarted(GuestName),
    /// Choose the next running guest, or the one before.
    Step {
        /// The next one.
        forward: bool,
    },
    /// Show the guest that was chosen.
    Choose,
    /// Show the panel, or hide it.
    Panel {
        /// Show it.
        show: bool,
    },
    /// The panel, and back.
    TogglePanel,
    /// Show the panel with this sentence, which stands in it until it is closed.
    Tell(String),
    /// Displays stay on without input until the screen is locked, or no longer.
    StayAwake,
    /// Lock the screen.
    Lock,
    /// Switch to this virtual terminal.
    Terminal(u8),
    /// Do this with a guest.
    Guest(GuestName, GuestVerb),
    /// Do this with every guest for which it makes sense.
    All(GuestVerb),
    /// Give a guest that was asked to power off as long again.
    WaitLonger(GuestName),
    /// This keyboard is to be asked about, or none.
    NewKeyboard(Option<NewKeyboard>),
    /// Whether a keyboard that was plugged in may type.
    Keyboard {
        /// Which.
        device: DeviceId,
        /// It may.
        may: bool,
    },
    /// Press these keys in a guest, by name.
    SendKeys(GuestName, Vec<String>),
    /// Take a picture of an output or a guest.
    Capture(CaptureTarget),
    /// Say how all is.
    Status,
    /// Hear of what happens from now on.
    Events,
    /// Make input as a device would; only ever in a shell that was started for tests.
    TestInput,
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asker {
    /// The person's keys, as a chord.
    Chord,
    /// The person's pointer, on a guest's output.
    Pointer,
    /// The person, in one of the shell's own faces: panel, dialog.
    Face,
    /// The command-line tool.
    Tool,
    /// The shell itself: what it was told at its start, what it found.
    Shell,
    /// A guest, by whatever way.
    Guest,
}

impl Asker {
    /// Everybody.
    pub const ALL: [Self; 6] = [Self::Chord, Self::Pointer, Self::Face, Self::Tool, Self::Shell, Self::Guest];
}

/// What only [`allowed`] gives: whoever can show something, type or take a picture asks to see it.
#[derive(Debug)]
pub struct Pass(());

/// Why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The screen is locked.
    Locked,
    /// It is not for those who asked.
    NotYours,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Locked => "the screen is locked; unlock it first",
            Self::NotYours => "that cannot be asked for in this way; use the list of guests",
        })
    }
}

/// Whether `from` may have `verb` now.
pub fn allowed(verb: &Verb, from: Asker, locked: bool) -> Result<Pass, Refusal> {
    if !askers(verb).contains(&from) {
        return Err(Refusal::NotYours);
    }
    if locked && !while_locked(verb, from) {
        return Err(Refusal::Locked);
    }
    Ok(Pass(()))
}

/// Who may ask for it at all.
fn askers(verb: &Verb) -> &'static [Asker] {
    use Asker::{Chord, Face, Pointer, Shell, Tool};
    match verb {
        Verb::Show(_) => &[Pointer, Face, Tool],
        Verb::ShowSlot(_) | Verb::Step { .. } | Verb::Choose | Verb::TogglePanel => &[Chord],
        Verb::StayAwake | Verb::Terminal(_) => &[Chord],
        // The shell shows it where nobody is to get the keys by itself.
        Verb::Panel { .. } => &[Face, Tool, Shell],
        Verb::ShowStarted(_) | Verb::Tell(_) | Verb::NewKeyboard(_) => &[Shell],
        Verb::Lock => &[Chord, Face, Tool],
        // The shell starts those that are to start with it.
        Verb::Guest(_, GuestVerb::Start) => &[Face, Tool, Shell],
        // It ends them when the battery does.
        Verb::All(GuestVerb::Shutdown) => &[Face, Tool, Shell],
        Verb::Guest(..) | Verb::All(_) => &[Face, Tool],
        Verb::WaitLonger(_) | Verb::Keyboard { .. } => &[Face],
        Verb::SendKeys(..) | Verb::Capture(_) | Verb::Status | Verb::Events | Verb::TestInput => &[Tool],
    }
}

/// Whether a lock leaves it be. What goes through shows nothing and types nothing.
fn while_locked(verb: &Verb, from: Asker) -> bool {
    match verb {
        Verb::Show(_) | Verb::ShowSlot(_) | Verb::Step { .. } | Verb::Choose => false,
        Verb::Panel { .. } | Verb::TogglePanel | Verb::Tell(_) => false,
        // A lock ends it.
        Verb::StayAwake => false,
        Verb::SendKeys(..) | Verb::Capture(_) => false,
        Verb::WaitLonger(_) | Verb::Keyboard { .. } => false,
        // Which guest will be in front once it is unlocked, and what is asked then.
        Verb::ShowStarted(_) | Verb::NewKeyboard(_) => true,
        // A script that starts and stops guests at night goes on; nobody at the locked screen has a face that asks for
        // it.
        Verb::Guest(..) | Verb::All(_) => from != Asker::Face,
        Verb::Lock | Verb::Status | Verb::Events => true,
        Verb::Terminal(_) => true,
        // As a device would, whose keys are the lock's.
        Verb::TestInput => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chords::Chord;
    use crate::keyboards::Way;

    fn name() -> GuestName {
        GuestName::new("work").unwrap()
    }

    fn verbs() -> Vec<Verb> {
        vec![
            Verb::Show(name()),
            Verb::ShowSlot(Slot::new(1).unwrap()),
            Verb::ShowStarted(name()),
            Verb::Step { forward: true },
            Verb::Choose,
            Verb::Panel { show: true },
            Verb::TogglePanel,
            Verb::StayAwake,
            Verb::Tell("it was away".to_owned()),
            Verb::Lock,
            Verb::Terminal(2),
            Verb::Guest(name(), GuestVerb::Kill),
            Verb::All(GuestVerb::Pause),
            Verb::WaitLonger(name()),
            Verb::NewKeyboard(Some(NewKeyboard {
                device: DeviceId::ONLY,
                name: "stick".to_owned(),
                way: Way::Another,
            })),
            Verb::Keyboard { device: DeviceId::ONLY, may: true },
            Verb::SendKeys(name(), vec!["a".to_owned()]),
            Verb::Capture(CaptureTarget::Default),
            Verb::Status,
            Verb::Events,
            Verb::TestInput,
        ]
    }

    #[test]
    fn tp11_a_guest_gets_nothing_by_asking() {
        for verb in verbs() {
            for locked in [false, true] {
                assert_eq!(allowed(&verb, Asker::Guest, locked).unwrap_err(), Refusal::NotYours, "{verb:?}");
            }
        }
    }

    #[test]
    fn tp19_nothing_is_shown_captured_or_typed_while_locked() {
        let shows = |verb: &Verb| {
            let shown = [Verb::Show(name()), Verb::Step { forward: true }, Verb::Choose, Verb::TogglePanel];
            shown.contains(verb)
                || matches!(
                    verb,
                    Verb::ShowSlot(_) | Verb::Panel { .. } | Verb::Tell(_) | Verb::Capture(_) | Verb::SendKeys(..)
                )
        };
        for verb in verbs().into_iter().filter(shows) {
            for from in Asker::ALL {
                assert!(allowed(&verb, from, true).is_err(), "{verb:?} from {from:?}");
            }
        }
    }

    #[test]
    fn a_lock_only_ever_takes_away() {
        for verb in verbs() {
            for from in Asker::ALL {
                if allowed(&verb, from, true).is_ok() {
                    assert!(allowed(&verb, from, false).is_ok(), "{verb:?} from {from:?}");
                }
            }
        }
    }

    #[test]
    fn every_verb_is_somebodys_and_every_chord_the_persons() {
        for verb in verbs() {
            assert!(Asker::ALL.iter().any(|from| allowed(&verb, *from, false).is_ok()), "{verb:?}");
        }
        let slot = Chord::Slot(Slot::new(3).unwrap());
        for chord in [slot, Chord::Next, Chord::Previous, Chord::Chosen, Chord::Panel, Chord::Awake, Chord::Terminal(1)]
        {
            assert!(allowed(&chord.verb(), Asker::Chord, false).is_ok(), "{chord:?}");
        }
    }
}
