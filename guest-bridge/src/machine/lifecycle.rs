//! A guest's life as a state machine: what happened goes in, what is to be done and said comes out.
//!
//! Pure. It knows neither processes nor sockets nor clocks. `accel = "auto"` is decided here: KVM is tried where the
//! host offers it, and a guest that KVM cannot run is started again under QEMU's own translator, once, and says so.

#![deny(clippy::wildcard_enum_match_arm, reason = "a new verb or message is not to be taken for another")]

mod exchange;

pub use exchange::{Action, Carry, Event, Exit, KvmFact};

use super::command_line::Accel;
use super::qmp::QmpEvent;
use super::verdict::Verdict;
use super::words::{Words, describe, ended_with};
use phyllome_config::guest::Accel as Wish;
use phyllome_protocol::GuestVerb;
use phyllome_protocol::control::Known;
use phyllome_protocol::status::GuestState;
use std::time::Duration;

/// An internal error this soon after QEMU's start is KVM's failure even if the firmware has already drawn something; a
/// guest that is older and has drawn something runs well.
pub const FIRMWARE_TIME: Duration = Duration::from_secs(30);
/// The message while a guest has time to power off because this process is to end.
const LEAVING: &str =
    "the guest was asked to power off, and is ended if it takes too long; a second signal ends it at once";
/// How long a guest may take to power off before it counts as running on.
pub const REACTION: Duration = Duration::from_secs(30);
/// How long it is said that a guest's clock is late: until then, one that asks the network has set it right.
const CLOCK_TOLD: Duration = Duration::from_secs(60);
/// A clock that is so little late is not worth a word.
const CLOCK_LATE: Duration = Duration::from_secs(2);
/// The power button, for a guest that may be paused and would never see it.
const POWER_BUTTON: &[&str] = &["cont", "system_powerdown"];

/// The state machine of one guest.
#[derive(Clone, Debug)]
pub struct Lifecycle {
    state: GuestState,
    message: Option<String>,
    /// What the message is about, where others have words for it.
    known: Option<Known>,
    /// The guest's name, for sentences.
    name: String,
    accel: Accel,
    /// KVM was chosen by `auto` and has not yet shown that it works.
    on_trial: bool,
    /// KVM has run this guest well.
    proven: bool,
    /// Why the guest runs under TCG though KVM was wished for.
    notice: Option<String>,
    /// QEMU is being ended in order to start under TCG.
    falling_back: Option<String>,
    ending: Option<Ending>,
    /// This process is to end once the guest is off.
    leaving: bool,
    shutdown: Option<(bool, String)>,
    /// The power button was pressed, and the guest has run on for longer than [`REACTION`].
    unheeded: bool,
    /// The message says that the clock is late.
    clock_told: bool,
    /// Why something looked wrong shortly before the end.
    suspicion: Option<String>,
}

/// Why this side ends QEMU.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Ending {
    Asked,
    /// The guest did not power off in time.
    Late,
    Failed(String),
}

impl Lifecycle {
    /// Decides what runs the guest. The error is one sentence.
    pub fn new(name: &str, wish: Wish, kvm: &KvmFact) -> Result<Self, String> {
        let (accel, on_trial, notice) = match (wish, kvm) {
            (Wish::Tcg, _) => (Accel::Tcg, false, None),
            (Wish::Kvm, KvmFact::Closed(why)) => {
                return Err(format!("KVM is not available ({why}); set accel = \"auto\" to run without it, slowly"));
            }
            (Wish::Kvm, _) => (Accel::Kvm, false, None),
            (Wish::Auto, KvmFact::Offered) => (Accel::Kvm, true, None),
            (Wish::Auto, KvmFact::Closed(why)) => {
                let notice = format!(
                    "KVM is not available ({why}); {name} runs without it, slowly (phyllome doctor says what to mend)"
                );
                (Accel::Tcg, false, Some(notice))
            }
            (Wish::Auto, KvmFact::Failed(_)) => (Accel::Tcg, false, Some(failed(name))),
        };
        Ok(Self::begun(name, accel, on_trial, notice))
    }

    /// A life that ends before it began, because nothing can run the guest.
    pub fn without_kvm(name: &str) -> Self {
        Self::begun(name, Accel::Kvm, false, None)
    }

    fn begun(name: &str, accel: Accel, on_trial: bool, notice: Option<String>) -> Self {
        Self {
            state: GuestState::Starting,
            message: notice.clone(),
            known: notice.as_ref().map(|_| Known::Slow),
            name: name.to_owned(),
            accel,
            on_trial,
            proven: false,
            notice,
            falling_back: None,
            ending: None,
            leaving: false,
            shutdown: None,
            unheeded: false,
            clock_told: false,
            suspicion: None,
        }
    }

    /// The state.
    pub fn state(&self) -> GuestState {
        self.state
    }

    /// One sentence on the state, if it needs one.
    pub fn message(&self) -> Option<&str> {
        self.message.as_deref()
    }

    /// What [`Self::message`] is about, where the shell has words of its own for it.
    pub fn known(&self) -> Option<Known> {
        self.known.filter(|_| self.message.is_some())
    }

    /// What runs the guest's code.
    pub fn accel(&self) -> Accel {
        self.accel
    }

    /// Whether the guest runs on though its power button was pressed a while ago.
    pub fn unheeded(&self) -> bool {
        self.unheeded
    }

    /// Takes what happened.
    pub fn handle(&mut self, event: Event) -> Vec<Action> {
        match event {
            Event::QmpReady => vec![Action::QueryStatus],
            Event::QmpLost(why) => self.suspect(why),
            Event::DeviceHungUp => self.suspect("QEMU hung up on its display device".into()),
            Event::DeviceFailed(why) => {
                let sentence = format!(
                    "the display device failed ({why}), and QEMU cannot go on without it; start the guest again"
                );
                self.end_because(sentence, Action::KillNow)
            }
            Event::Terminate => self.leave(),
            Event::TimeIsUp => self.end_now(Ending::Late),
            Event::RunsWell => self.runs_well(),
            Event::StoodStill(time) => self.stood_still(time),
            Event::Look => {
                self.look();
                Vec::new()
            }
            Event::Qmp(event) => self.handle_qmp(event),
            Event::Status { word, pictured, age, words } => self.handle_status(&word, pictured, age, words),
            Event::CannotStart(why) => self.finish(GuestState::Crashed, Some(why)),
            Event::Exited { how, words, pictured } => self.handle_exit(how, words, pictured),
        }
    }

    /// Takes what somebody asks of a guest that was started. The error is one sentence to him.
    pub fn request(&mut self, verb: GuestVerb) -> Result<Carry, String> {
        use GuestState::{Crashed, Frozen, InternalError, Paused, Running, Starting, Stopped, Stopping};
        use GuestVerb::{Kill, Pause, Restart, Resume, Shutdown, Start};
        match (verb, self.state) {
            // What is frozen does not get here: only the shell knows that state.
            (_, Stopped | Crashed | Frozen) => Err("the guest does not run; start it first".into()),
            (Start, Starting | Running | Paused | Stopping | InternalError) => {
                Err("the guest has been started already; switch to it".into())
            }
            (Kill, _) => {
                self.ending = None;
                Ok(Carry::Act(self.end_now(Ending::Asked)))
            }
            (Shutdown | Restart | Pause | Resume, Starting) => {
                Err("the guest is still starting; wait a moment, or kill it".into())
            }
            (Shutdown, InternalError) => Err("the guest does not run and cannot shut down; reset or kill it".into()),
            (Shutdown, state) => {
                self.enter(Stopping, None);
                // A paused guest would never see its power button.
                Ok(Carry::Press(if state == Paused { POWER_BUTTON } else { &["system_powerdown"] }))
            }
            // QEMU does not go on by itself after an internal error.
            (Restart, InternalError | Paused) => Ok(Carry::Qmp(&["system_reset", "cont"])),
            (Restart, Running | Stopping) => {
                self.begin_anew();
                Ok(Carry::Qmp(&["system_reset"]))
            }
            (Pause, _) if self.leaving => Err(
                "the guest has to power off, because its process was asked to end; wait for that instead of a pause"
                    .into(),
            ),
            (Pause, Paused) | (Resume, Running | Stopping) => Ok(Carry::Nothing),
            (Pause, Running | Stopping) => Ok(Carry::Qmp(&["stop"])),
            (Resume, Paused) => Ok(Carry::Qmp(&["cont"])),
            (Pause | Resume, InternalError) => Err("the guest has stopped for good; reset or kill it".into()),
        }
    }

    fn enter(&mut self, state: GuestState, message: Option<String>) {
        self.state = state;
        (self.unheeded, self.clock_told) = (false, false);
        self.known = message.is_none().then_some(Known::Slow);
        // That KVM does not work stays worth saying as long as there is nothing more urgent.
        self.message = message.or_else(|| if state.is_alive() { self.notice.clone() } else { None });
    }

    /// A machine that is reset knows nothing of its power button, whoever reset it.
    fn begin_anew(&mut self) {
        let wished = self.state == GuestState::Stopping || self.unheeded;
        if wished && !self.leaving && self.ending.is_none() && self.shutdown.is_none() && self.falling_back.is_none() {
            self.enter(GuestState::Running, None);
        }
    }

    /// The time in which something should have come of what was asked is over.
    fn look(&mut self) {
        let ends = self.leaving || self.ending.is_some() || self.shutdown.is_some() || self.falling_back.is_some();
        if self.state == GuestState::Stopping && !ends {
            let name = &self.name;
            let sentence = format!(
                "{name} did not react to its power button; try again, or force it off (K in the list of guests)"
            );
            self.enter(GuestState::Running, Some(sentence));
            (self.unheeded, self.known) = (true, Some(Known::Unheeded));
        } else if self.clock_told {
            self.enter(self.state, None);
        }
    }

    /// QEMU has no way to set a running guest's clock; it can only keep the guest from making up for what it has missed
    /// by running fast.
    fn stood_still(&mut self, time: Duration) -> Vec<Action> {
        let forget = Action::ForgetTicks("rtc-reset-reinjection");
        if time < CLOCK_LATE || self.state != GuestState::Running || self.message != self.notice {
            return vec![forget];
        }
        let seconds = time.as_secs();
        let sentence = format!(
            "{}’s clock stood still for {seconds} s, and is late until it asks the network for the time; set the clock in the guest if it has no network",
            self.name
        );
        (self.message, self.known) = (Some(sentence), Some(Known::ClockLate));
        self.clock_told = true;
        vec![forget, Action::LookLater(CLOCK_TOLD)]
    }

    /// From now on a failure is the guest's own.
    fn runs_well(&mut self) -> Vec<Action> {
        let runs = matches!(self.state, GuestState::Running | GuestState::Paused | GuestState::Stopping);
        if self.accel != Accel::Kvm || !runs || std::mem::replace(&mut self.proven, true) {
            return Vec::new();
        }
        self.on_trial = false;
        vec![Action::Remember(Verdict::Works)]
    }

    fn suspect(&mut self, why: String) -> Vec<Action> {
        self.suspicion.get_or_insert(why);
        vec![Action::KillSoon]
    }

    /// The guest powers off in its own time, if it can.
    fn leave(&mut self) -> Vec<Action> {
        let hears = matches!(self.state, GuestState::Running | GuestState::Paused | GuestState::Stopping);
        if std::mem::replace(&mut self.leaving, true) || self.ending.is_some() || !hears {
            return self.end_now(Ending::Asked);
        }
        self.enter(GuestState::Stopping, Some(LEAVING.into()));
        self.known = Some(Known::Leaving);
        vec![Action::PowerOff(POWER_BUTTON), Action::EndLater]
    }

    fn end_now(&mut self, why: Ending) -> Vec<Action> {
        self.ending.get_or_insert(why);
        self.falling_back = None;
        self.enter(GuestState::Stopping, None);
        vec![Action::End]
    }

    fn end_because(&mut self, sentence: String, action: Action) -> Vec<Action> {
        self.ending.get_or_insert(Ending::Failed(sentence));
        vec![action]
    }

    fn finish(&mut self, state: GuestState, message: Option<String>) -> Vec<Action> {
        self.enter(state, message);
        vec![Action::Finish]
    }

    fn handle_qmp(&mut self, event: QmpEvent) -> Vec<Action> {
        match event {
            QmpEvent::Stop | QmpEvent::Resume | QmpEvent::Panicked => vec![Action::QueryStatus],
            QmpEvent::Reset { .. } => {
                self.begin_anew();
                vec![Action::QueryStatus]
            }
            QmpEvent::Powerdown => Vec::new(),
            QmpEvent::Closed(why) => self.suspect(why.to_string()),
            QmpEvent::Shutdown { guest, reason } => {
                self.shutdown.get_or_insert((guest, reason));
                if self.falling_back.is_none() {
                    self.enter(GuestState::Stopping, None);
                }
                Vec::new()
            }
        }
    }

    fn handle_status(&mut self, word: &str, pictured: bool, age: Duration, words: Option<Words>) -> Vec<Action> {
        if self.falling_back.is_some() || self.ending.is_some() || self.shutdown.is_some() {
            return Vec::new();
        }
        match word {
            // What has stopped for good does not power off.
            "internal-error" | "guest-panicked" | "io-error" if self.leaving => return self.end_now(Ending::Asked),
            // The answer may be older than the power button.
            _ if self.leaving => {}
            // A guest that was asked to shut down runs on for a while.
            "running" | "suspended" if self.state == GuestState::Stopping => {}
            // What is said of a guest that runs on stays said.
            "running" | "suspended" if self.state == GuestState::Running && (self.unheeded || self.clock_told) => {}
            "running" | "suspended" => self.enter(GuestState::Running, None),
            "internal-error" if self.on_trial && (!pictured || age < FIRMWARE_TIME) => {
                let why = words.map(|words| words.text);
                self.falling_back = Some(why.unwrap_or_else(|| "it stopped the guest with an internal error".into()));
                self.enter(GuestState::Starting, None);
                return vec![Action::KillNow];
            }
            "internal-error" => {
                let why = words.map(|words| format!(" ({})", words.text)).unwrap_or_default();
                let help = if self.accel == Accel::Kvm { ", and set accel = \"tcg\" if it happens again" } else { "" };
                self.enter(
                    GuestState::InternalError,
                    Some(format!("QEMU met an internal error{why}; reset the guest{help}")),
                );
                self.known = Some(Known::InternalError);
            }
            "guest-panicked" => {
                self.enter(GuestState::InternalError, Some("the guest's kernel panicked; reset it".into()));
                self.known = Some(Known::Panicked);
            }
            "io-error" => {
                let why = "QEMU paused the guest because a disk failed; make room or mend the disk, then resume it";
                self.enter(GuestState::Paused, Some(why.into()));
                self.known = Some(Known::DiskFailed);
            }
            "shutdown" => self.enter(GuestState::Stopping, None),
            _ => self.enter(GuestState::Paused, None),
        }
        Vec::new()
    }

    fn handle_exit(&mut self, how: Exit, words: Option<Words>, pictured: bool) -> Vec<Action> {
        if let Some(why) = self.falling_back.take() {
            return self.fall_back(why);
        }
        let unasked = self.ending.is_none() && self.shutdown.is_none();
        let early = unasked && self.state == GuestState::Starting && words.as_ref().is_some_and(Words::blame_kvm);
        if early && self.on_trial {
            return self.fall_back(words.map(|words| words.text).unwrap_or_default());
        }
        let mut actions = Vec::new();
        if self.accel == Accel::Kvm && pictured && !self.proven && self.state != GuestState::InternalError {
            actions.push(Action::Remember(Verdict::Works));
        }
        let late = self.ending == Some(Ending::Late);
        let (state, message) = match (self.ending.take(), self.shutdown.take(), how) {
            (Some(Ending::Asked), _, _) => (GuestState::Stopped, None),
            (Some(Ending::Late), _, _) => (
                GuestState::Stopped,
                Some("the guest did not power off in time and was ended; give it longer with --stop-timeout".into()),
            ),
            (Some(Ending::Failed(why)), _, _) => (GuestState::Crashed, Some(why)),
            (None, Some((_, reason)), Exit::Code(0)) => ended_with(&reason),
            (None, None, Exit::Code(0)) if self.state == GuestState::Stopping => (GuestState::Stopped, None),
            (None, _, _) if early && self.accel == Accel::Kvm => {
                let sentence =
                    format!("KVM could not run {}; set accel = \"auto\" to run it without, slowly", self.name);
                (GuestState::Crashed, Some(sentence))
            }
            (None, _, how) => (GuestState::Crashed, Some(describe(how, self.suspicion.take(), words))),
        };
        actions.extend(self.finish(state, message));
        self.known = if late { Some(Known::Late) } else { self.known };
        actions
    }

    fn fall_back(&mut self, why: String) -> Vec<Action> {
        self.accel = Accel::Tcg;
        self.on_trial = false;
        self.shutdown = None;
        self.suspicion = None;
        self.notice = Some(failed(&self.name));
        self.enter(GuestState::Starting, None);
        vec![Action::Remember(Verdict::Broken(why)), Action::Start(Accel::Tcg)]
    }
}

/// How it failed is in the log. Whether it is the computer's fault or the guest's is not for one guest's failure to
/// tell.
fn failed(name: &str) -> String {
    format!("KVM could not run {name}, which runs without it, slowly (phyllome doctor says whether KVM works here)")
}

#[cfg(test)]
#[path = "lifecycle_tests.rs"]
mod tests;
