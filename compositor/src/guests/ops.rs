//! What the person can do with a guest: start, shut down, kill, restart, pause, resume, send keys.

use super::Awaited;
use super::Entry;
use super::finding::APPEARING;
use super::process::{Launcher, Process, last_words};
use super::view::GuestView;
use crate::State;
use phyllome_protocol::control::Request;
use phyllome_protocol::status::GuestState;
use phyllome_protocol::text::printable;
use phyllome_protocol::{GuestName, GuestVerb};
use phyllome_trusted::gate::Pass;
use smithay::reexports::calloop::RegistrationToken;
use std::time::{Duration, Instant};

/// How long a guest may take to end after it was told to, before its phyllome-guest is killed.
const GRACE: Duration = Duration::from_secs(3);

/// What the gate lets through to guests.
#[derive(Clone, Debug, PartialEq)]
pub enum GuestTask {
    /// Do this with one. `note`: if nothing comes of it, that stands in the guest's line.
    One {
        /// Which.
        name: GuestName,
        /// What.
        verb: GuestVerb,
        /// See above.
        note: bool,
    },
    /// Do this with every guest for which it makes sense.
    All(GuestVerb),
    /// Give one that was asked to power off as long again.
    WaitLonger(GuestName),
    /// Press these keys.
    SendKeys(GuestName, Vec<String>),
    /// Have all tell how they are.
    Report,
}

impl State {
    /// Begins a task: what is to be waited for, and what could not be begun. `Err`: one sentence why there is nothing
    /// to wait for.
    pub fn begin_task(&mut self, task: GuestTask, _pass: &Pass) -> Result<(Vec<Awaited>, Vec<String>), String> {
        match task {
            GuestTask::One { name, verb, note } => {
                let begun = self.guest_op(&name, verb, note);
                self.guests_changed();
                begun.map(|part| (vec![part], Vec::new()))
            }
            GuestTask::All(verb) => Ok(self.all_guests(verb)),
            GuestTask::WaitLonger(name) => {
                self.await_end(&name);
                self.guests_changed();
                Ok((Vec::new(), Vec::new()))
            }
            GuestTask::SendKeys(name, keys) => self.send_keys(&name, keys).map(|part| (vec![part], Vec::new())),
            GuestTask::Report => Ok((self.ask_all_for_reports(), Vec::new())),
        }
    }

    /// Begins to do something with a guest; the part that tells when it is done. `Err`: one sentence why not, which
    /// also stands in the guest's line if `note` says so.
    fn guest_op(&mut self, name: &GuestName, verb: GuestVerb, note: bool) -> Result<Awaited, String> {
        let begun = self.begin_op(name, verb, note);
        if let (Err(sentence), true) = (&begun, note) {
            self.note(name, sentence);
        }
        begun
    }

    /// `note`: it was asked for by keys, and no command helps there.
    fn begin_op(&mut self, name: &GuestName, verb: GuestVerb, note: bool) -> Result<Awaited, String> {
        let entry = self.guests.entries.get(name).ok_or_else(|| self.guests.why_not(name))?;
        let state = entry.life.state();
        // The process of a guest that has ended may still be there, and is then killed like any other.
        let lingers = entry.process.is_some() && verb == GuestVerb::Kill;
        match verb.fits(state) {
            Err(why) if !lingers && note => return Err(why.reason(verb, name)),
            Err(why) if !lingers => return Err(why.answer(verb, name)),
            Err(_) | Ok(()) => {}
        }
        match verb {
            GuestVerb::Start => self.spawn_guest(name),
            GuestVerb::Restart if !state.is_alive() => self.spawn_guest(name),
            GuestVerb::Kill => self.kill_guest(name),
            GuestVerb::Shutdown => {
                let asked = self.ask_guest(name, Request::Verb(verb), None)?;
                self.await_end(name);
                Ok(Awaited::Answer(asked))
            }
            GuestVerb::Resume if state == GuestState::Frozen => self.thaw_guest(name),
            GuestVerb::Restart | GuestVerb::Pause | GuestVerb::Resume => {
                if let Some(entry) = self.guests.entries.get_mut(name) {
                    entry.life.not_asked();
                }
                self.set_timer(name, None, |entry| &mut entry.answer);
                if verb == GuestVerb::Pause {
                    return Ok(self.stand(name, false));
                }
                self.forget_standing(name);
                self.ask_guest(name, Request::Verb(verb), None).map(Awaited::Answer)
            }
        }
    }

    /// The guest was asked to power off: from now on it has some time, after which the person is asked what to do.
    pub(super) fn await_end(&mut self, name: &GuestName) {
        let answer = self.guests.options.answer;
        if let Some(entry) = self.guests.entries.get_mut(name) {
            entry.life.asked_to_power_off(Instant::now());
        }
        let timer = self.after(answer, name, move |state, name| {
            if let Some(entry) = state.guests.entries.get_mut(name) {
                entry.answer = None;
                entry.life.look(Instant::now(), answer);
            }
            state.guests_changed();
        });
        self.set_timer(name, timer, |entry| &mut entry.answer);
    }

    /// Keeps a timer of a guest in the place of the former one, which is taken back: none wakes a shell that is at rest
    /// for something that is over.
    pub(super) fn set_timer(
        &mut self,
        name: &GuestName,
        timer: Option<RegistrationToken>,
        of: fn(&mut Entry) -> &mut Option<RegistrationToken>,
    ) {
        let former = match self.guests.entries.get_mut(name) {
            Some(entry) => std::mem::replace(of(entry), timer),
            None => timer,
        };
        if let Some(former) = former {
            self.loop_handle.remove(former);
        }
    }

    /// Does this with every guest for which it makes sense; the parts to wait for, and what could not be asked.
    fn all_guests(&mut self, verb: GuestVerb) -> (Vec<Awaited>, Vec<String>) {
        // What a guest says of itself lets none run on: not that it starts, not that it is about to end or has ended.
        if verb == GuestVerb::Pause {
            let running = self.guests.entries.iter().filter(|(_, entry)| entry.may_run());
            let names: Vec<_> = running.map(|(name, _)| name.clone()).collect();
            return (names.iter().map(|name| self.stand(name, true)).collect(), Vec::new());
        }
        let fitting = |view: &GuestView| verb.fits(view.state).is_ok();
        let names: Vec<_> = self.guests.views().into_iter().filter(fitting).map(|view| view.name).collect();
        let mut parts = Vec::new();
        let mut failures = Vec::new();
        for name in names {
            match self.begin_op(&name, verb, false) {
                Ok(part) => parts.push(part),
                Err(sentence) => failures.push(sentence),
            }
        }
        (parts, failures)
    }

    /// Asks every guest for fresh counters; the parts to wait for.
    fn ask_all_for_reports(&mut self) -> Vec<Awaited> {
        let answers = |view: &GuestView| view.state.is_alive() && view.state != GuestState::Frozen;
        let names: Vec<_> = self.guests.views().into_iter().filter(answers).map(|view| view.name).collect();
        names.iter().filter_map(|name| self.ask_guest(name, Request::Report, None).ok()).map(Awaited::Answer).collect()
    }

    /// Sends keys by name to a guest.
    fn send_keys(&mut self, name: &GuestName, keys: Vec<String>) -> Result<Awaited, String> {
        const MAX_KEYS: usize = 16;
        let entry = self.guests.entries.get(name).ok_or_else(|| self.guests.why_not(name))?;
        if !entry.life.state().is_alive() {
            return Err(format!("{name} is not running; phyllome start {name} starts it"));
        }
        if keys.is_empty() || keys.len() > MAX_KEYS {
            return Err(format!("send 1 to {MAX_KEYS} keys at once, such as ctrl-alt-delete"));
        }
        if let Some(bad) = keys.iter().find(|key| phyllome_protocol::keys::code_from_name(key).is_none()) {
            return Err(phyllome_protocol::keys::unknown(bad));
        }
        self.ask_guest(name, Request::SendKeys { keys }, None).map(Awaited::Answer)
    }

    /// Starts phyllome-guest for a guest that does not run. The first guest that is started is shown.
    pub(super) fn spawn_guest(&mut self, name: &GuestName) -> Result<Awaited, String> {
        let (width, height) = self.protocols.screens.area(name);
        let Some(entry) = self.guests.entries.get_mut(name) else { return Err(self.guests.why_not(name)) };
        if entry.process.is_some() {
            return Err(format!("{name} is still ending; try again in a moment"));
        }
        if entry.definition.is_none() {
            let file = self.guests.options.places.guest_file(name);
            return Err(format!("{name} has no definition; write {}", file.display()));
        }
        entry.life.starting();
        let has_manager = self.guests.options.runtime.path().parent().is_some_and(Launcher::has_manager);
        let launcher = self.guests.launcher.clone().filter(|_| has_manager);
        match self.launch(name, (width, height), launcher.as_ref()) {
            Ok(()) => {
                tracing::info!(guest = %name, "started");
                if let Some(launcher) = launcher {
                    self.watch_launcher(name, launcher.patience);
                }
                self.guests_changed();
                self.show_started(name.clone());
                self.dial_guest(name, APPEARING);
                self.guests_changed();
                Ok(Awaited::Started(name.clone()))
            }
            Err(sentence) => {
                if let Some(entry) = self.guests.entries.get_mut(name) {
                    entry.life.could_not_start(&sentence);
                }
                self.guests_changed();
                Err(sentence)
            }
        }
    }

    /// Starts the process of a guest that has none, and watches over it.
    fn launch(&mut self, name: &GuestName, size: (u32, u32), launcher: Option<&Launcher>) -> Result<(), String> {
        let options = &self.guests.options;
        let mut arguments: Vec<String> =
            ["run", name.as_str(), "--control-only", "--size"].into_iter().map(str::to_owned).collect();
        arguments.push(format!("{}x{}", size.0, size.1));
        if options.config_dir.is_some() {
            arguments.push("--config".to_owned());
            let dir = options.places.config.to_str().ok_or("the path of --config is not UTF-8; rename that folder")?;
            arguments.push(dir.to_owned());
        }
        let folder = options.runtime.make_guest_dir(name).map_err(|error| error.to_string())?;
        if let Some(watch) = &mut self.guests.watch {
            watch.add(name, &folder);
        }
        let process = Process::spawn(name, &options.program, &arguments, &options.places.logs_dir(name), launcher)
            .map_err(|error| {
                format!("{} cannot be started ({error}); install it beside phyllome-shell", options.program.display())
            })?;
        self.watch_process(name, process);
        Ok(())
    }

    /// A launcher that waits too long is ended, and no later guest is given to one.
    fn watch_launcher(&mut self, name: &GuestName, patience: Duration) {
        let timer = self.after(patience, name, |state, name| {
            let Some(entry) = state.guests.entries.get_mut(name) else { return };
            entry.launching = None;
            if let Some((process, _)) = entry.process.as_ref().filter(|(process, _)| process.is_launcher()) {
                let _ = process.kill();
                state.guests.launcher = None;
            }
        });
        self.set_timer(name, timer, |entry| &mut entry.launching);
    }

    /// The launcher has ended before it became the guest; whether the guest is started now all the same.
    pub(super) fn start_without_launcher(&mut self, name: &GuestName) -> bool {
        let wanted = |entry: &Entry| entry.life.state() == GuestState::Starting && !entry.life.is_ending();
        if !self.guests.entries.get(name).is_some_and(wanted) {
            return false;
        }
        let words = last_words(&self.guests.options.places.logs_dir(name));
        let why =
            words.map_or_else(|| "systemd's user manager does not answer".to_owned(), |words| printable(&words, 300));
        tracing::warn!(guest = %name, "it gets no systemd unit of its own and may end with the session: {why}");
        let size = self.protocols.screens.area(name);
        let launched = self.launch(name, size, None);
        if let (Err(sentence), Some(entry)) = (&launched, self.guests.entries.get_mut(name)) {
            entry.life.could_not_start(sentence);
            self.settle_started(name);
        }
        launched.is_ok()
    }

    fn kill_guest(&mut self, name: &GuestName) -> Result<Awaited, String> {
        if let Some(entry) = self.guests.entries.get_mut(name) {
            entry.life.ending();
            // It is not asked about any more.
            entry.life.not_asked();
        }
        self.set_timer(name, None, |entry| &mut entry.answer);
        let hears = self.guests.entries.get(name).is_some_and(|entry| entry.life.state() != GuestState::Frozen);
        let asked = hears && self.ask_guest(name, Request::Verb(GuestVerb::Kill), None).is_ok();
        let grace = if asked { GRACE } else { Duration::ZERO };
        let timer = self.after(grace, name, |state, name| {
            let Some(entry) = state.guests.entries.get_mut(name) else { return };
            entry.escalation = None;
            if let Some((process, _)) = &entry.process {
                tracing::warn!(guest = %name, "phyllome-guest does not end; it is killed");
                let _ = process.kill();
            }
        });
        self.set_timer(name, timer, |entry| &mut entry.escalation);
        Ok(Awaited::Ended(name.clone()))
    }
}
