//! A guest's connection and process on the shell's loop: greeting, reading, asking, and noticing the end.
//!
//! Every wait has a deadline and every peer a bound; a guest that misbehaves loses its connection and nothing else
//! happens.

use super::finding::{FIRST_PAUSE, LONGEST_PAUSE};
use super::life::Exit;
use super::link::{DialError, Link, LinkError, LinkEvent};
use super::process::{self, Process};
use super::{ANSWERED_WITHIN, Attached, Awaited, Entry, MAX_UNKNOWN, Pending};
use crate::State;
use crate::monotonic;
use crate::relay::Admits;
use phyllome_protocol::control::{Report, Request};
use phyllome_protocol::status::GuestState;
use phyllome_protocol::{GuestName, GuestVerb};
use rustix::process::Pid;
use smithay::reexports::calloop::generic::Generic;
use smithay::reexports::calloop::timer::{TimeoutAction, Timer};
use smithay::reexports::calloop::{Interest, Mode, PostAction, RegistrationToken};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// How long what a process said last may be on its way, and the pauses in which it is looked for.
const PARTING: Duration = Duration::from_secs(1);
const PARTING_PAUSE: Duration = Duration::from_millis(5);
/// A connection that was shorter is followed by a pause.
const LASTING: Duration = Duration::from_secs(1);

/// Whether the process that listens on a guest's socket is the one that was started as that guest, or found there
/// before. In a test, the test itself plays guests.
fn is_process(watched: Pid, peer: Pid) -> bool {
    watched == peer || cfg!(test) && peer == rustix::process::getpid()
}

impl State {
    /// Somebody has answered in this guest's folder: greets and reads from now on.
    pub(super) fn link_up(&mut self, name: &GuestName, mut link: Link) {
        let unknown = self.guests.entries.values().filter(|entry| entry.definition.is_none()).count();
        if !self.guests.entries.contains_key(name) && unknown >= MAX_UNKNOWN {
            tracing::warn!(guest = %name, "not adopted: {MAX_UNKNOWN} guests without a definition are known already");
            return;
        }
        let watched = self.guests.entries.get(name).and_then(|entry| entry.process.as_ref());
        if let Some(watched) = watched.map(|(process, _)| process.pid())
            && !is_process(watched, link.peer())
        {
            return self.stranger_answered(name, link.peer());
        }
        let process = link.take_process();
        let Ok(read) = link.stream().try_clone().map_err(|_| ()).and_then(|fd| self.watch_link(name, fd)) else {
            return;
        };
        let entry = self.guests.entries.entry(name.clone()).or_insert_with(|| Entry::new(None));
        if let Some(timer) = entry.dial.take().and_then(|dial| dial.timer) {
            self.loop_handle.remove(timer);
        }
        if !entry.life.state().is_alive() {
            entry.life.starting();
        }
        entry.link = Some(Attached { link, read, write: None, greeting: None, since: Instant::now() });
        if entry.process.is_none() {
            match process {
                Some(process) => self.watch_process(name, process),
                None => tracing::warn!(guest = %name, "its process cannot be watched"),
            }
        }
        self.await_greeting(name);
    }

    /// Another process than the guest's has answered on its socket. It gets no screen, and none of what is said to the
    /// guest.
    fn stranger_answered(&mut self, name: &GuestName, stranger: Pid) {
        let number = stranger.as_raw_nonzero();
        let sentence =
            format!("process {number} answers in the place of {name}; end that process, then force {name} off");
        if let Some(entry) = self.guests.entries.get_mut(name)
            && entry.life.message() != Some(&sentence)
        {
            tracing::warn!(guest = %name, "process {number} listens on its control socket and is not heard: it is another");
            entry.life.note(&sentence);
        }
        // If it had just ended, or its own socket is there again, it can be heard.
        self.dial_later(name);
    }

    /// A guest that has not greeted on its connection has some time for that from now on.
    pub(super) fn await_greeting(&mut self, name: &GuestName) {
        let attached = self.guests.entries.get_mut(name).and_then(|entry| entry.link.as_mut());
        let Some(attached) = attached.filter(|attached| !attached.link.greeted()) else { return };
        if let Some(former) = attached.greeting.take() {
            self.loop_handle.remove(former);
        }
        let greeting = self.after(self.guests.options.greeting, name, |state, name| {
            if let Some(attached) = state.guests.entries.get_mut(name).and_then(|entry| entry.link.as_mut()) {
                attached.greeting = None;
            }
            // One that a former shell has frozen cannot.
            state.find_frozen(name, State::did_not_greet);
        });
        if let Some(attached) = self.guests.entries.get_mut(name).and_then(|entry| entry.link.as_mut()) {
            attached.greeting = greeting;
        }
    }

    /// The time for a greeting is over; it may have come while the guest was looked at.
    pub(super) fn did_not_greet(&mut self, name: &GuestName) {
        let link = self.guests.entries.get(name).and_then(|entry| entry.link.as_ref());
        if link.is_none_or(|attached| attached.link.greeted()) {
            return;
        }
        let seconds = self.guests.options.greeting.as_secs_f32();
        self.link_lost(name, LinkError::Misbehaved(format!("it did not greet within {seconds} s")));
        self.guests_changed();
    }

    fn watch_link(&mut self, name: &GuestName, stream: UnixStream) -> Result<RegistrationToken, ()> {
        let whose = name.clone();
        let source = Generic::new(stream, Interest::READ, Mode::Level);
        let inserted = self.loop_handle.insert_source(source, move |_, _, state: &mut State| {
            // A part of a message changes nothing.
            if state.link_readable(&whose) {
                state.guests_changed();
            }
            Ok(PostAction::Continue)
        });
        inserted.map_err(|error| tracing::error!(guest = %name, "its control connection cannot be watched: {error}"))
    }

    pub(super) fn watch_process(&mut self, name: &GuestName, process: Process) {
        let whose = name.clone();
        let source = process.watch().map(|fd| Generic::new(fd, Interest::READ, Mode::Level));
        let inserted = source.map_err(|error| error.to_string()).and_then(|source| {
            let on_end = move |_: smithay::reexports::calloop::Readiness, _: &mut _, state: &mut State| {
                state.process_ended(&whose);
                state.guests_changed();
                // It is at its end for as long as its last words are waited for.
                Ok(if state.is_parting(&whose) { PostAction::Disable } else { PostAction::Continue })
            };
            self.loop_handle.insert_source(source, on_end).map_err(|error| error.to_string())
        });
        match (inserted, self.guests.entries.get_mut(name)) {
            (Ok(token), Some(entry)) => entry.process = Some((process, token)),
            (Ok(token), None) => self.loop_handle.remove(token),
            (Err(error), _) => tracing::error!(guest = %name, "its process cannot be watched: {error}"),
        }
    }

    /// Whether what has come was more than a part of a message.
    fn link_readable(&mut self, name: &GuestName) -> bool {
        let (now, started) = (Instant::now(), monotonic::processor_time());
        let Some(attached) = self.guests.entries.get_mut(name).and_then(|entry| entry.link.as_mut()) else {
            return false;
        };
        let (events, error) = attached.link.receive(now);
        let is_something = !events.is_empty() || error.is_some();
        for event in events {
            match event {
                LinkEvent::Greeted => self.greeted(name),
                LinkEvent::Report(report) => self.reported(name, *report, now),
                LinkEvent::Answer { id, result } => self.answered(name, id, result),
            }
        }
        if let Some(error) = error {
            self.link_lost(name, error);
        }
        // What its lines cost it has less for its picture.
        let took = monotonic::processor_time().saturating_sub(started);
        self.protocols.charge(name, took, now);
        is_something
    }

    fn greeted(&mut self, name: &GuestName) {
        let Some(entry) = self.guests.entries.get_mut(name) else { return };
        let greeting = entry.link.as_mut().and_then(|attached| attached.greeting.take());
        for timer in greeting.into_iter().chain(entry.launching.take()) {
            self.loop_handle.remove(timer);
        }
        self.attach_screen(name);
    }

    /// Gives a guest a connection on which it shows itself; a former one is cut.
    pub(super) fn attach_screen(&mut self, name: &GuestName) {
        let (width, height) = self.protocols.screens.area(name);
        let attached = UnixStream::pair().and_then(|(ours, theirs)| {
            if !self.guests.relays.has_room(name.as_str()) {
                return Err(io::Error::other(DialError::Hanging.to_string()));
            }
            let ours = self.guests.relays.relay(name.as_str(), ours, Admits::Pictures)?.stream;
            self.attach_guest_client(name, ours)?;
            Ok(OwnedFd::from(theirs))
        });
        match attached {
            Ok(theirs) => {
                let _ = self.ask_guest(name, Request::AttachScreen { width, height }, Some(theirs));
            }
            Err(error) => {
                self.note(name, &format!("{name} cannot be shown ({error}); force it off and start it again"))
            }
        }
    }

    fn reported(&mut self, name: &GuestName, report: Report, now: Instant) {
        let Some(entry) = self.guests.entries.get_mut(name) else { return };
        let was_asked = entry.life.is_asked();
        entry.life.reported(report, now);
        if was_asked && !entry.life.is_asked() {
            self.set_timer(name, None, |entry| &mut entry.answer);
        }
        let Some(entry) = self.guests.entries.get_mut(name) else { return };
        // Somebody else has pressed its power button.
        if entry.life.state() == GuestState::Stopping && !entry.life.is_asked() {
            self.await_end(name);
        }
        self.first_since_found(name);
        self.sync_leds();
        self.settle_started(name);
    }

    /// Whoever waits for the start of this guest is told once it is more than starting.
    pub(super) fn settle_started(&mut self, name: &GuestName) {
        let Some(entry) = self.guests.entries.get(name) else { return };
        let because = || entry.life.message().unwrap_or("it ended at once; phyllome logs says more").to_owned();
        let result = match entry.life.state() {
            GuestState::Starting => return,
            GuestState::Crashed | GuestState::Stopped | GuestState::InternalError => Err(because()),
            GuestState::Running | GuestState::Paused | GuestState::Frozen | GuestState::Stopping => Ok(()),
        };
        self.settle(&Awaited::Started(name.clone()), result);
    }

    fn answered(&mut self, name: &GuestName, id: u64, result: Result<(), String>) {
        // Only an answer to a question that was asked of this guest counts.
        if self.guests.pending.get(&id).is_none_or(|pending| pending.name != *name) {
            return;
        }
        let then = self.guests.pending.remove(&id).and_then(|pending| pending.then);
        if then == Some(GuestState::Paused) {
            let result = result.map_err(|reason| phyllome_protocol::text::printable(&reason, 300));
            return self.pause_answered(name, result);
        }
        if let (Ok(()), Some(state), Some(entry)) = (&result, then, self.guests.entries.get_mut(name)) {
            entry.life.assume(state);
        }
        let result = result.map_err(|reason| phyllome_protocol::text::printable(&reason, 300));
        let sentence = result.clone().err();
        let waited_for = self.settle(&Awaited::Answer(id), result);
        if let Some(sentence) = sentence.filter(|_| !waited_for)
            && let Some(entry) = self.guests.entries.get_mut(name)
        {
            entry.life.note_of_process(&sentence);
        }
    }

    /// The connection is at its end; the process may live on.
    fn link_lost(&mut self, name: &GuestName, error: LinkError) {
        let Some(entry) = self.guests.entries.get_mut(name) else { return };
        let Some(attached) = entry.link.take() else { return };
        // A peer that hangs up as soon as it is dialled must not be dialled without end.
        let pause = (attached.since.elapsed() < LASTING).then(|| entry.redial.unwrap_or(FIRST_PAUSE));
        entry.redial = pause.map(|pause| (pause * 2).min(LONGEST_PAUSE));
        for token in [Some(attached.read), attached.write, attached.greeting].into_iter().flatten() {
            self.loop_handle.remove(token);
        }
        let watched = entry.process.is_some();
        let alive = entry.life.state().is_alive();
        self.fail_pending(name, &format!("{name}: {error}; phyllome status shows how it is"));
        match error {
            LinkError::Closed if !watched => self.guest_gone(name, Exit::Unknown),
            // Either its process ends now, or it takes a new connection.
            LinkError::Closed if alive => self.dial_again(name, pause),
            LinkError::Closed => {}
            LinkError::Misbehaved(_) => {
                tracing::warn!(guest = %name, "{error}");
                self.note(name, &format!("{name}: {error}; force it off"));
                self.detach_guest_client(name);
            }
        }
    }

    fn is_parting(&self, name: &GuestName) -> bool {
        self.guests.entries.get(name).is_some_and(|entry| entry.parting.is_some())
    }

    fn process_ended(&mut self, name: &GuestName) {
        // What it said last may still be on its way, through the thread that stands between.
        let now = Instant::now();
        if let Some(entry) = self.guests.entries.get_mut(name)
            && entry.link.as_ref().is_some_and(|attached| !attached.link.is_drained())
            && now < *entry.parting.get_or_insert(now + PARTING)
        {
            self.after(PARTING_PAUSE, name, |state, name| {
                if state.is_parting(name) {
                    state.process_ended(name);
                    state.guests_changed();
                }
            });
            return;
        }
        if let Some(entry) = self.guests.entries.get_mut(name) {
            entry.parting = None;
        }
        for _ in 0..64 {
            if self.guests.entries.get(name).is_none_or(|entry| entry.link.is_none()) {
                break;
            }
            self.link_readable(name);
        }
        let Some((process, token)) = self.guests.entries.get_mut(name).and_then(|entry| entry.process.take()) else {
            return;
        };
        self.loop_handle.remove(token);
        let launcher = process.is_launcher();
        let exit = process.reap();
        if launcher && self.start_without_launcher(name) {
            return;
        }
        self.guest_gone(name, exit);
    }

    fn guest_gone(&mut self, name: &GuestName, exit: Exit) {
        let words = process::last_words(&self.guests.options.places.logs_dir(name));
        let Some(entry) = self.guests.entries.get_mut(name) else { return };
        entry.parting = None;
        // An adopted guest's printed words are not of this shell's doing and may be old.
        entry.life.ended(exit, words.as_deref().filter(|_| exit != Exit::Unknown));
        let tokens = entry.link.take().map(|a| [Some(a.read), a.write, a.greeting]).into_iter().flatten().flatten();
        let dial = entry.dial.take().and_then(|dial| dial.timer);
        let timers = [entry.escalation.take(), entry.launching.take(), entry.answer.take()];
        for token in tokens.chain(dial).chain(timers.into_iter().flatten()) {
            self.loop_handle.remove(token);
        }
        let state = entry.life.state();
        tracing::info!(guest = %name, state = state.word(), "phyllome-guest has ended");
        self.forget_ice(name);
        self.fail_pending(name, &format!("{name} has ended before it answered; phyllome status shows how"));
        self.settle_started(name);
        self.settle(&Awaited::Ended(name.clone()), Ok(()));
        self.detach_guest_client(name);
        // It, or one that would have looked like it, may have another file by now.
        self.guests.settle_definitions();
    }

    fn fail_pending(&mut self, name: &GuestName, sentence: &str) {
        let ids: Vec<u64> = self.guests.pending.iter().filter(|(_, p)| p.name == *name).map(|(id, _)| *id).collect();
        for id in ids {
            self.guests.pending.remove(&id);
            self.settle(&Awaited::Answer(id), Err(sentence.to_owned()));
        }
    }

    /// Requests that a guest has not answered for long keep no others from it.
    fn forget_unanswered(&mut self, name: &GuestName) {
        // What is frozen cannot answer.
        if self.guests.entries.get(name).is_some_and(|entry| entry.life.state() == GuestState::Frozen) {
            return;
        }
        let now = Instant::now();
        let old = |p: &Pending| p.name == *name && now.saturating_duration_since(p.since) >= ANSWERED_WITHIN;
        let ids: Vec<u64> = self.guests.pending.iter().filter(|(_, p)| old(p)).map(|(id, _)| *id).collect();
        for id in ids {
            self.guests.pending.remove(&id);
            self.settle(&Awaited::Answer(id), Err(format!("{name} does not answer; force it off")));
        }
    }

    /// Sends a request; its id, by which the answer is known.
    pub(super) fn ask_guest(&mut self, name: &GuestName, request: Request, fd: Option<OwnedFd>) -> Result<u64, String> {
        let report = request == Request::Report;
        self.forget_unanswered(name);
        let mut waiting = self.guests.pending.iter().filter(|(_, pending)| pending.name == *name);
        if let Some((id, _)) = waiting.clone().find(|(_, pending)| pending.report && report) {
            return Ok(*id);
        }
        if waiting.nth(super::MAX_PENDING - 1).is_some() {
            return Err(format!("{name} does not answer; force it off"));
        }
        let then = match request {
            Request::Verb(GuestVerb::Pause) => Some(GuestState::Paused),
            Request::Verb(GuestVerb::Resume) => Some(GuestState::Running),
            Request::Verb(GuestVerb::Start | GuestVerb::Shutdown | GuestVerb::Kill | GuestVerb::Restart)
            | Request::AttachScreen { .. }
            | Request::SendKeys { .. }
            | Request::Report => None,
        };
        let entry = self
            .guests
            .entries
            .get_mut(name)
            .ok_or_else(|| format!("there is no guest {name}; phyllome list shows all"))?;
        let silent = || format!("{name} has no control connection; force it off");
        let attached = entry.link.as_mut().filter(|attached| attached.link.greeted()).ok_or_else(silent)?;
        self.guests.last_id += 1;
        let id = self.guests.last_id;
        match attached.link.send(id, request, fd) {
            Ok(all_sent) => {
                let since = Instant::now();
                self.guests.pending.insert(id, Pending { name: name.clone(), report, then, since });
                if !all_sent {
                    self.watch_link_writable(name);
                }
                Ok(id)
            }
            Err(error) => {
                let sentence = format!("{name}: {error}; phyllome status shows how it is");
                self.link_lost(name, error);
                Err(sentence)
            }
        }
    }

    fn watch_link_writable(&mut self, name: &GuestName) {
        let Some(attached) = self.guests.entries.get_mut(name).and_then(|entry| entry.link.as_mut()) else { return };
        let Ok(stream) = attached.link.stream().try_clone() else { return };
        if attached.write.is_some() {
            return;
        }
        let whose = name.clone();
        let source = Generic::new(stream, Interest::WRITE, Mode::Level);
        let inserted = self.loop_handle.insert_source(source, move |_, _, state: &mut State| {
            let attached = state.guests.entries.get_mut(&whose).and_then(|entry| entry.link.as_mut());
            let Some(attached) = attached else { return Ok(PostAction::Remove) };
            match attached.link.flush() {
                Ok(false) => Ok(PostAction::Continue),
                Ok(true) => {
                    attached.write = None;
                    Ok(PostAction::Remove)
                }
                Err(error) => {
                    attached.write = None;
                    state.link_lost(&whose, error);
                    state.guests_changed();
                    Ok(PostAction::Remove)
                }
            }
        });
        attached.write = inserted.ok();
    }

    /// Says something about a guest, in the panel and as an event.
    pub(super) fn note(&mut self, name: &GuestName, sentence: &str) {
        if let Some(entry) = self.guests.entries.get_mut(name) {
            entry.life.note(sentence);
        }
    }

    /// Runs `then` once, later.
    pub(super) fn after(
        &mut self,
        delay: Duration,
        name: &GuestName,
        then: impl Fn(&mut State, &GuestName) + 'static,
    ) -> Option<RegistrationToken> {
        let name = name.clone();
        let timer = self.loop_handle.insert_source(Timer::from_duration(delay), move |_, _, state| {
            then(state, &name);
            TimeoutAction::Drop
        });
        timer.ok()
    }
}
