//! What a person can have done with one guest, said once: from the command line and the panel over both sockets to the
//! life of QEMU.
//!
//! A verb is a value and does nothing. Here is what all who meet it must agree on: its word, its line of help, whether
//! it is asked about first, and in which states it means anything. How it is carried out is the shell's and
//! phyllome-guest's. A new verb is added here and to the two lists of words on the sockets ([`crate::shell`],
//! [`crate::control`]); the compiler then names every place that has to have an answer, since nobody matches on verbs
//! by `_`.

use crate::GuestName;
use crate::status::GuestState;

/// Something to be done with one guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GuestVerb {
    /// Start it.
    Start,
    /// Press its power button.
    Shutdown,
    /// End it at once.
    Kill,
    /// Press its reset button, or start it if it does not run.
    Restart,
    /// Stop its processors.
    Pause,
    /// Let them run again.
    Resume,
}

/// Why a verb means nothing in a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// It is as asked.
    Already(GuestState),
    /// There is nothing to do it with.
    NotRunning,
    /// Its processors run, or it has none.
    NotPaused,
    /// Its processes are stopped, so that it hears nothing.
    Frozen,
}

impl Unfit {
    /// What is answered to a command: why not, and what to run instead. Where all is as asked, that is what shows it,
    /// and never what would undo it.
    pub fn answer(self, verb: GuestVerb, name: &GuestName) -> String {
        match (self, verb) {
            (Self::Already(GuestState::Paused), GuestVerb::Start) => {
                format!("{name} is paused already; phyllome resume {name} lets it run again")
            }
            (Self::Already(GuestState::Paused), _) => {
                format!("{name} is paused already; phyllome status shows all guests")
            }
            (Self::Already(GuestState::Frozen), GuestVerb::Start) | (Self::Frozen, _) => {
                format!("{name} is frozen; phyllome resume {name} lets it run again")
            }
            (Self::Already(GuestState::Frozen), _) => {
                format!("{name} is frozen already; phyllome status shows all guests")
            }
            (Self::Already(GuestState::Stopping), _) => {
                format!("{name} has not ended yet; phyllome switch {name} shows it")
            }
            (Self::Already(GuestState::InternalError), _) => {
                format!("{name} met an internal error of its machine; phyllome restart {name} resets it")
            }
            (Self::Already(state), _) => {
                format!("{name} is {} already; phyllome switch {name} shows it", state.word())
            }
            (Self::NotRunning, GuestVerb::Shutdown) => {
                format!("{name} is not running, so there is nothing to shut down; phyllome status shows all guests")
            }
            (Self::NotRunning, GuestVerb::Kill) => {
                format!("{name} is not running, so there is nothing to end; phyllome status shows all guests")
            }
            (Self::NotRunning, GuestVerb::Pause) => {
                format!("{name} is not running, so there is nothing to pause; phyllome status shows all guests")
            }
            (Self::NotRunning, GuestVerb::Start | GuestVerb::Restart | GuestVerb::Resume) => {
                format!("{name} is not running; phyllome start {name} starts it")
            }
            (Self::NotPaused, _) => {
                format!("{name} is not paused, so there is nothing to resume; phyllome status shows all guests")
            }
        }
    }

    /// What is said where nobody types commands: why not, which is what the answer to a command begins with.
    pub fn reason(self, verb: GuestVerb, name: &GuestName) -> String {
        let answer = self.answer(verb, name);
        answer.split_once(';').map_or_else(|| answer.clone(), |(why, _)| why.to_owned())
    }
}

impl GuestVerb {
    /// All of them, in the order in which help lists them.
    pub const ALL: [Self; 6] = [Self::Start, Self::Shutdown, Self::Kill, Self::Restart, Self::Pause, Self::Resume];

    /// The command's word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Shutdown => "shutdown",
            Self::Kill => "kill",
            Self::Restart => "restart",
            Self::Pause => "pause",
            Self::Resume => "resume",
        }
    }

    /// The verb of a command's word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|verb| verb.word() == word)
    }

    /// What it does, as a line of help.
    pub fn help(self) -> &'static str {
        match self {
            Self::Start => "Start a guest",
            Self::Shutdown => "Ask a guest to shut down",
            Self::Kill => "End a guest at once; what it has not saved is lost",
            Self::Restart => "Reset a guest, or start it if it does not run",
            Self::Pause => "Pause a guest",
            Self::Resume => "Let a paused guest run again",
        }
    }

    /// What a dialog asks before it is done with the guest of this label; `None` where none is asked. Y means yes.
    pub fn question(self, label: &str) -> Option<String> {
        match self {
            Self::Kill => Some(format!(
                "Force {label} off? It loses what it has not saved. Y forces it off, Esc leaves it as it is."
            )),
            Self::Restart => {
                Some(format!("Reset {label}? It loses what it has not saved. Y resets it, Esc leaves it as it is."))
            }
            Self::Shutdown => Some(format!(
                "Shut {label} down? Its power button is pressed. Y shuts it down, Esc leaves it as it is."
            )),
            Self::Start | Self::Pause | Self::Resume => None,
        }
    }

    /// Whether it means anything for a guest in this state; an error says why not.
    pub fn fits(self, state: GuestState) -> Result<(), Unfit> {
        let alive = state.is_alive();
        match self {
            Self::Start if alive => Err(Unfit::Already(state)),
            Self::Pause if state == GuestState::Frozen => Err(Unfit::Already(state)),
            Self::Shutdown | Self::Restart if state == GuestState::Frozen => Err(Unfit::Frozen),
            Self::Resume | Self::Kill if state == GuestState::Frozen => Ok(()),
            Self::Start | Self::Restart => Ok(()),
            Self::Shutdown | Self::Kill | Self::Pause | Self::Resume if !alive => Err(Unfit::NotRunning),
            Self::Pause if state == GuestState::Paused => Err(Unfit::Already(state)),
            Self::Resume if state != GuestState::Paused => Err(Unfit::NotPaused),
            Self::Shutdown | Self::Kill | Self::Pause | Self::Resume => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::{Request, ToGuest};
    use crate::shell::Command;
    use GuestState::{Crashed, Frozen, InternalError, Paused, Running, Starting, Stopped, Stopping};

    const STATES: [GuestState; 8] = [Stopped, Starting, Running, Paused, Frozen, Stopping, Crashed, InternalError];

    #[test]
    fn every_verb_has_a_word_of_its_own_that_leads_back_to_it() {
        for verb in GuestVerb::ALL {
            assert_eq!(GuestVerb::from_word(verb.word()), Some(verb));
            assert!(!verb.help().is_empty() && !verb.help().ends_with('.'), "{}", verb.help());
        }
        assert_eq!(GuestVerb::from_word("format-disk"), None);
    }

    #[test]
    fn every_verb_has_an_answer_for_every_state() {
        let fitting =
            |verb: GuestVerb| STATES.into_iter().filter(|state| verb.fits(*state).is_ok()).collect::<Vec<_>>();
        assert_eq!(fitting(GuestVerb::Start), [Stopped, Crashed]);
        assert_eq!(fitting(GuestVerb::Restart), [Stopped, Starting, Running, Paused, Stopping, Crashed, InternalError]);
        assert_eq!(fitting(GuestVerb::Shutdown), [Starting, Running, Paused, Stopping, InternalError]);
        assert_eq!(fitting(GuestVerb::Kill), [Starting, Running, Paused, Frozen, Stopping, InternalError]);
        assert_eq!(fitting(GuestVerb::Pause), [Starting, Running, Stopping, InternalError]);
        assert_eq!(fitting(GuestVerb::Resume), [Paused, Frozen]);
    }

    #[test]
    fn a_verb_that_means_nothing_is_answered_with_what_helps_and_never_with_its_opposite() {
        let name = "work".parse().unwrap();
        let answers: Vec<_> = GuestVerb::ALL
            .into_iter()
            .flat_map(|verb| STATES.into_iter().map(move |state| (verb, state)))
            .filter_map(|(verb, state)| Some((verb.word(), state, verb.fits(state).err()?.answer(verb, &name))))
            .collect();
        let no_end = "work is not running, so there is nothing to end; phyllome status shows all guests";
        let no_shutdown = "work is not running, so there is nothing to shut down; phyllome status shows all guests";
        let no_pause = "work is not running, so there is nothing to pause; phyllome status shows all guests";
        let no_resume = "work is not paused, so there is nothing to resume; phyllome status shows all guests";
        let off = "work is not running; phyllome start work starts it";
        let frozen = "work is frozen; phyllome resume work lets it run again";
        let wanted = [
            ("start", Starting, "work is starting already; phyllome switch work shows it"),
            ("start", Running, "work is running already; phyllome switch work shows it"),
            ("start", Paused, "work is paused already; phyllome resume work lets it run again"),
            ("start", Frozen, frozen),
            ("start", Stopping, "work has not ended yet; phyllome switch work shows it"),
            ("start", InternalError, "work met an internal error of its machine; phyllome restart work resets it"),
            ("shutdown", Stopped, no_shutdown),
            ("shutdown", Frozen, frozen),
            ("shutdown", Crashed, no_shutdown),
            ("kill", Stopped, no_end),
            ("kill", Crashed, no_end),
            ("restart", Frozen, frozen),
            ("pause", Stopped, no_pause),
            ("pause", Paused, "work is paused already; phyllome status shows all guests"),
            ("pause", Frozen, "work is frozen already; phyllome status shows all guests"),
            ("pause", Crashed, no_pause),
            ("resume", Stopped, off),
            ("resume", Starting, no_resume),
            ("resume", Running, no_resume),
            ("resume", Stopping, no_resume),
            ("resume", Crashed, off),
            ("resume", InternalError, no_resume),
        ];
        assert_eq!(answers, wanted.map(|(verb, state, answer)| (verb, state, answer.to_owned())));
    }

    #[test]
    fn where_nobody_types_commands_none_is_named() {
        let name = "work".parse().unwrap();
        for (verb, state) in GuestVerb::ALL.into_iter().flat_map(|verb| STATES.map(|state| (verb, state))) {
            if let Err(why) = verb.fits(state) {
                let reason = why.reason(verb, &name);
                assert!(reason.starts_with("work ") && !reason.contains("phyllome"), "{reason}");
            }
        }
        assert_eq!(
            Unfit::NotRunning.reason(GuestVerb::Shutdown, &name),
            "work is not running, so there is nothing to shut down"
        );
    }

    #[test]
    fn what_ends_a_guest_or_loses_work_is_asked_about_by_the_guests_label() {
        let asked: Vec<_> = GuestVerb::ALL.into_iter().filter(|verb| verb.question("Büro").is_some()).collect();
        assert_eq!(asked, [GuestVerb::Shutdown, GuestVerb::Kill, GuestVerb::Restart]);
        for verb in asked {
            let question = verb.question("Büro").unwrap();
            assert!(question.contains(" Büro") && question.contains("Y ") && question.contains("Esc"), "{question}");
        }
    }

    #[test]
    fn every_verb_goes_over_the_tools_socket_by_its_word() {
        for verb in GuestVerb::ALL {
            let command = Command::Guest { verb, name: "work".parse().unwrap() };
            let line = serde_json::to_string(&command).unwrap();
            assert_eq!(line, format!(r#"{{"command":"{}","name":"work"}}"#, verb.word()));
            assert_eq!(serde_json::from_str::<Command>(&line).unwrap(), command);
        }
    }

    #[test]
    fn every_verb_goes_over_a_guests_socket_where_a_restart_is_a_reset() {
        for verb in GuestVerb::ALL {
            let asked = ToGuest { id: 7, request: Request::Verb(verb) };
            let line = serde_json::to_string(&asked).unwrap();
            let word = if verb == GuestVerb::Restart { "reset" } else { verb.word() };
            assert_eq!(line, format!(r#"{{"id":7,"do":"{word}"}}"#));
            assert_eq!(serde_json::from_str::<ToGuest>(&line).unwrap(), asked);
        }
    }
}
