//! Guests that are to stand still: they are asked to pause, and those that do not soon are frozen.
//!
//! One thing that a guest says of itself is believed: that it is paused. One whose phyllome-guest lies about that runs
//! on, at one command as at pause-all, unless it reports something else before its time is over, or is forced off. To
//! freeze those as well would take from every honest guest that is paused what it can still do, such as to power off.
//!
//! What takes time is done by a thread ([`super::freeze`]); its result comes to the loop as an event. A guest that is
//! frozen says nothing more, and what it has said before moves nothing: that it is frozen is this shell's to know.

use super::freeze::{self, Held};
use super::{Awaited, Entry};
use crate::State;
use phyllome_protocol::control::Request;
use phyllome_protocol::status::GuestState;
use phyllome_protocol::{GuestName, GuestVerb};
use smithay::reexports::calloop::RegistrationToken;
use smithay::reexports::calloop::channel::{self, Event};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a guest may take to pause by itself.
#[derive(Clone, Copy, Debug)]
pub struct Pausing {
    /// One that is paused alone, and may be busy: no other waits for it, and to freeze it takes from it what a paused
    /// guest still can.
    pub one: Duration,
    /// One of all, when none shall run on.
    pub all: Duration,
}

impl Default for Pausing {
    fn default() -> Self {
        Self { one: Duration::from_secs(8), all: Duration::from_secs(1) }
    }
}

/// A guest that was asked to pause.
#[derive(Debug)]
pub(super) struct Standing {
    timer: Option<RegistrationToken>,
    /// It may not refuse.
    must: bool,
    /// Why it could not even be asked.
    unasked: Option<String>,
}

/// How far a guest's processes are from running.
#[derive(Debug, Default)]
pub(super) enum Ice {
    /// They run.
    #[default]
    None,
    /// A thread stops them, or looks whether they are stopped; the number tells it from a former one.
    Freezing(u64),
    /// They stand.
    Frozen(Arc<Held>),
    /// A thread lets them run.
    Thawing(u64),
}

/// What a thread was given to do.
#[derive(Clone, Copy, Debug)]
struct Turn {
    number: u64,
    /// The process that it was given.
    pid: rustix::process::Pid,
}

impl Entry {
    /// Whether something of it may run.
    pub(super) fn may_run(&self) -> bool {
        let state = self.life.state();
        let there = state.is_alive() || self.process.is_some() || self.link.is_some();
        let thaws = matches!(self.ice, Ice::Thawing(_));
        there && (thaws || !matches!(state, GuestState::Paused | GuestState::Frozen))
    }
}

impl State {
    /// Asks a guest to pause, and freezes it if it does not. `must`: it may not refuse.
    pub(super) fn stand(&mut self, name: &GuestName, must: bool) -> Awaited {
        let stands = Awaited::Stands(name.clone());
        let Pausing { one, all } = self.guests.options.pausing;
        let mut patience = if must { all } else { one };
        let Some(entry) = self.guests.entries.get_mut(name) else { return stands };
        (entry.resume_later, entry.was_found_frozen) = (false, false);
        let unasked = match &mut entry.standing {
            Some(standing) if standing.must || !must => return stands,
            Some(standing) => standing.unasked.take(),
            None => self.ask_guest(name, Request::Verb(GuestVerb::Pause), None).err(),
        };
        if unasked.is_some() {
            patience = Duration::ZERO;
        }
        let timer = self.after(patience, name, |state, name| {
            state.look_whether_it_stands(name);
            state.guests_changed();
        });
        self.forget_standing(name);
        if let Some(entry) = self.guests.entries.get_mut(name) {
            entry.standing = Some(Standing { timer, must, unasked });
        }
        stands
    }

    /// A guest has answered to a request for a pause.
    pub(super) fn pause_answered(&mut self, name: &GuestName, result: Result<(), String>) {
        let Some(entry) = self.guests.entries.get_mut(name) else { return };
        if result.is_ok() {
            entry.life.assume(GuestState::Paused);
        }
        if std::mem::take(&mut entry.resume_later) {
            let _ = self.ask_guest(name, Request::Verb(GuestVerb::Resume), None);
            return;
        }
        let Some(must) = entry.standing.as_ref().map(|standing| standing.must) else { return };
        match result {
            // It is looked at all the same when its time is over: what it says may change.
            Ok(()) if must => {
                if entry.life.state() == GuestState::Paused {
                    self.settle(&Awaited::Stands(name.clone()), Ok(()));
                }
            }
            Err(_) if must => self.freeze_guest(name),
            result => {
                self.forget_standing(name);
                let sentence = result.clone().err();
                let waited_for = self.settle(&Awaited::Stands(name.clone()), result);
                if let Some(sentence) = sentence.filter(|_| !waited_for)
                    && let Some(entry) = self.guests.entries.get_mut(name)
                {
                    entry.life.note_of_process(&sentence);
                }
            }
        }
    }

    fn look_whether_it_stands(&mut self, name: &GuestName) {
        let Some(entry) = self.guests.entries.get_mut(name) else { return };
        // The timer has rung.
        if let Some(standing) = &mut entry.standing {
            standing.timer = None;
        }
        if entry.may_run() {
            self.freeze_guest(name);
        } else {
            self.forget_standing(name);
            self.settle(&Awaited::Stands(name.clone()), Ok(()));
        }
    }

    /// The guest is not asked to pause any longer; why it could not be, if it could not.
    pub(super) fn forget_standing(&mut self, name: &GuestName) -> Option<String> {
        let standing = self.guests.entries.get_mut(name)?.standing.take()?;
        if let Some(timer) = standing.timer {
            self.loop_handle.remove(timer);
        }
        standing.unasked
    }

    /// Freezes a guest whose time to pause was over while a thread did something else with it; whether that was so.
    fn freeze_overdue(&mut self, name: &GuestName) -> bool {
        let overdue = |entry: &Entry| entry.standing.as_ref().is_some_and(|standing| standing.timer.is_none());
        if !self.guests.entries.get(name).is_some_and(overdue) {
            return false;
        }
        self.freeze_guest(name);
        true
    }

    fn freeze_guest(&mut self, name: &GuestName) {
        let Some(entry) = self.guests.entries.get_mut(name) else { return };
        if !matches!(entry.ice, Ice::None) {
            return;
        }
        // Whoever does not answer because it stands is not to be asked about, nor ended for that.
        let Entry { launching, answer, .. } = entry;
        for timer in [launching.take(), answer.take()].into_iter().flatten() {
            self.loop_handle.remove(timer);
        }
        let began = self.on_ice(name, freeze::freeze, |state, name, turn, result| state.froze(name, turn, result));
        if let Err(why) = began {
            self.does_not_stand(name, &why);
        }
    }

    /// Looks whether a guest that does not greet is one that a former shell has frozen; if not, `otherwise`.
    pub(super) fn find_frozen(&mut self, name: &GuestName, otherwise: fn(&mut State, &GuestName)) {
        // One that is being frozen or let go by this shell is waited for anew once it runs.
        if !self.guests.entries.get(name).is_some_and(|entry| matches!(entry.ice, Ice::None)) {
            return;
        }
        let found = move |state: &mut State, name: &GuestName, turn: Turn, held: Option<Held>| {
            let entry = state.guests.entries.get_mut(name);
            let of_this = entry.filter(|entry| matches!(entry.ice, Ice::Freezing(of) if of == turn.number));
            match (held, of_this) {
                (Some(held), entry) => {
                    if let Some(entry) = entry {
                        entry.was_found_frozen = true;
                    }
                    state.froze(name, turn, Ok(held));
                }
                (None, Some(_)) => {
                    state.set_ice(name, Ice::None);
                    if !state.freeze_overdue(name) {
                        otherwise(state, name);
                    }
                }
                (None, None) => {}
            }
        };
        if self.on_ice(name, freeze::find, found).is_err() {
            otherwise(self, name);
        }
    }

    /// Lets a thread do something with a guest's processes and the loop hear of it. The error is why not, for the
    /// middle of a sentence.
    fn on_ice<T: Send + 'static>(
        &mut self,
        name: &GuestName,
        work: fn(&std::os::fd::OwnedFd, rustix::process::Pid, &GuestName) -> T,
        then: impl Fn(&mut State, &GuestName, Turn, T) + 'static,
    ) -> Result<(), String> {
        self.guests.last_id += 1;
        let number = self.guests.last_id;
        let entry = self.guests.entries.get(name).ok_or("there is no such guest")?;
        let (process, _) = entry.process.as_ref().ok_or("its process is not known")?;
        let (pidfd, pid) = (process.watch().map_err(|error| error.to_string())?, process.pid());
        let whose = name.clone();
        self.in_thread(
            name,
            move || work(&pidfd, pid, &whose),
            move |state, name, result| {
                then(state, name, Turn { number, pid }, result);
            },
        )?;
        self.set_ice(name, Ice::Freezing(number));
        Ok(())
    }

    fn in_thread<T: Send + 'static>(
        &mut self,
        name: &GuestName,
        work: impl FnOnce() -> T + Send + 'static,
        then: impl Fn(&mut State, &GuestName, T) + 'static,
    ) -> Result<(), String> {
        let (sender, done) = channel::channel();
        let whose = name.clone();
        let source = self.loop_handle.insert_source(done, move |event, (), state: &mut State| {
            if let Event::Msg(result) = event {
                then(state, &whose, result);
                state.guests_changed();
            }
        });
        let source = source.map_err(|error| error.to_string())?;
        let thread = std::thread::Builder::new().name("freeze".to_owned());
        // Without a loop nobody is left to hear it.
        let started = thread.spawn(move || drop(sender.send(work())));
        started.map(drop).map_err(|error| {
            self.loop_handle.remove(source);
            error.to_string()
        })
    }

    fn set_ice(&mut self, name: &GuestName, ice: Ice) {
        if let Some(entry) = self.guests.entries.get_mut(name) {
            entry.life.set_frozen(matches!(ice, Ice::Frozen(_) | Ice::Thawing(_)));
            entry.ice = ice;
        }
    }

    fn froze(&mut self, name: &GuestName, turn: Turn, result: Result<Held, String>) {
        let entry = self.guests.entries.get(name);
        if !entry.is_some_and(|entry| matches!(entry.ice, Ice::Freezing(of) if of == turn.number)) {
            let process = entry.and_then(|entry| entry.process.as_ref());
            let ended = process.is_none_or(|(process, _)| process.pid() != turn.pid);
            // What is left of one that has ended meanwhile may be on its way.
            if let Some(held) = result.ok().filter(|_| ended) {
                let _ = std::thread::Builder::new().spawn(move || freeze::end(&held));
            }
            return;
        }
        match result {
            Ok(held) => {
                tracing::warn!(guest = %name, "it did not pause by itself and is frozen");
                self.set_ice(name, Ice::Frozen(Arc::new(held)));
                self.forget_standing(name);
                self.settle(&Awaited::Stands(name.clone()), Ok(()));
            }
            Err(why) => {
                self.set_ice(name, Ice::None);
                self.does_not_stand(name, &why);
            }
        }
    }

    fn does_not_stand(&mut self, name: &GuestName, why: &str) {
        let unasked = self.forget_standing(name);
        let sentence =
            unasked.unwrap_or_else(|| format!("{name} does not pause and cannot be frozen ({why}); force it off"));
        if !self.settle(&Awaited::Stands(name.clone()), Err(sentence.clone())) {
            self.note(name, &sentence);
        }
        self.await_greeting(name);
    }

    /// Lets a frozen guest run again.
    pub(super) fn thaw_guest(&mut self, name: &GuestName) -> Result<Awaited, String> {
        self.guests.last_id += 1;
        let number = self.guests.last_id;
        let Some(entry) = self.guests.entries.get_mut(name) else { return Err(self.guests.why_not(name)) };
        let held = match std::mem::replace(&mut entry.ice, Ice::Thawing(number)) {
            Ice::Frozen(held) => held,
            ice @ (Ice::None | Ice::Freezing(_) | Ice::Thawing(_)) => {
                entry.ice = ice;
                return Ok(Awaited::Thawed(name.clone()));
            }
        };
        let given = Arc::clone(&held);
        let begun = self.in_thread(
            name,
            move || freeze::thaw(&given).map_err(|error| (given, error.to_string())),
            move |state, name, result| state.thawed(name, number, result),
        );
        if let Err(why) = begun {
            self.set_ice(name, Ice::Frozen(held));
            return Err(format!("{name} cannot be let go ({why}); force it off"));
        }
        Ok(Awaited::Thawed(name.clone()))
    }

    fn thawed(&mut self, name: &GuestName, number: u64, result: Result<(), (Arc<Held>, String)>) {
        let Some(entry) = self.guests.entries.get_mut(name) else { return };
        if !matches!(entry.ice, Ice::Thawing(of) if of == number) {
            return;
        }
        if let Err((held, why)) = result {
            self.set_ice(name, Ice::Frozen(held));
            let sentence = format!("{name} cannot be let go ({why}); force it off");
            self.settle(&Awaited::Thawed(name.clone()), Err(sentence));
            // Some of it may run by now, and it is to stand again.
            if self.guests.entries.get(name).is_some_and(|entry| entry.standing.is_some()) {
                self.set_ice(name, Ice::None);
                self.freeze_guest(name);
            }
            return;
        }
        self.set_ice(name, Ice::None);
        let now = Instant::now();
        let mut pausing = false;
        for pending in self.guests.pending.values_mut().filter(|pending| pending.name == *name) {
            // Now it can answer.
            pending.since = now;
            pausing |= pending.then == Some(GuestState::Paused);
        }
        let Some(entry) = self.guests.entries.get_mut(name) else { return };
        // It was asked to pause once more while it was let go: then it stays so.
        let again = entry.standing.is_some();
        entry.resume_later = pausing && !again;
        let (state, shown) = (entry.life.state(), self.protocols.is_connected(&self.display, name));
        match entry.link.as_ref().map(|attached| attached.link.greeted()) {
            None => self.dial_guest(name, super::finding::APPEARING),
            // Once it has greeted it is given one.
            Some(false) => self.await_greeting(name),
            // Its picture's connection did not outlast what came over it meanwhile.
            Some(true) if !shown => self.attach_screen(name),
            Some(true) => {}
        }
        match state {
            GuestState::Paused if again => {}
            GuestState::Paused => self.resume_found(name),
            GuestState::Stopping => self.await_end(name),
            GuestState::Stopped
            | GuestState::Starting
            | GuestState::Running
            | GuestState::Frozen
            | GuestState::Crashed
            | GuestState::InternalError => {}
        }
        self.settle(&Awaited::Thawed(name.clone()), Ok(()));
        self.freeze_overdue(name);
    }

    /// A guest that was frozen and runs again has paused meanwhile, since it was asked to before.
    fn resume_found(&mut self, name: &GuestName) {
        if let Some(entry) = self.guests.entries.get_mut(name) {
            entry.was_found_frozen = false;
        }
        let _ = self.ask_guest(name, Request::Verb(GuestVerb::Resume), None);
    }

    /// The first report of a guest that a former shell has frozen and this one let go: it may have found only then that
    /// it was asked to pause, in a request whose answer goes to nobody.
    pub(super) fn first_since_found(&mut self, name: &GuestName) {
        let Some(entry) = self.guests.entries.get_mut(name) else { return };
        if !matches!(entry.ice, Ice::None) || !std::mem::take(&mut entry.was_found_frozen) {
            return;
        }
        if entry.life.state() == GuestState::Paused {
            self.resume_found(name);
        }
    }

    /// A guest has ended: nothing of it is held or awaited any longer.
    pub(super) fn forget_ice(&mut self, name: &GuestName) {
        self.forget_standing(name);
        let Some(entry) = self.guests.entries.get_mut(name) else { return };
        (entry.resume_later, entry.was_found_frozen) = (false, false);
        if let Ice::Frozen(held) = std::mem::take(&mut entry.ice) {
            let _ = std::thread::Builder::new().spawn(move || freeze::end(&held));
        }
        self.settle(&Awaited::Stands(name.clone()), Ok(()));
        self.settle(&Awaited::Thawed(name.clone()), Ok(()));
    }
}
