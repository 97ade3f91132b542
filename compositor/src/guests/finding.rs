//! How the shell finds the guests that run: their folders, their sockets, and when each is dialled.
//!
//! Nothing is polled: folders and sockets announce themselves ([`super::watch`]). Only a socket that refuses is tried
//! again, after pauses that double, and not for ever.

use super::link::{DialError, Link};
use super::watch::{Appeared, FolderWatch};
use super::{Dial, Entry};
use crate::State;
use phyllome_protocol::{GuestName, GuestVerb};
use phyllome_trusted::gate::{Asker, Verb};
use smithay::reexports::calloop::generic::Generic;
use smithay::reexports::calloop::timer::{TimeoutAction, Timer};
use smithay::reexports::calloop::{Interest, Mode, PostAction};
use std::time::{Duration, Instant};

/// How long a socket that has just appeared may refuse connections (between bind and listen).
const LISTENING: Duration = Duration::from_secs(2);
/// How long a phyllome-guest that was just started may take to open its socket.
pub(super) const APPEARING: Duration = Duration::from_secs(20);
/// How long a guest whose former connections hang is left alone.
const UNTANGLED: Duration = Duration::from_secs(10);
/// First pause between two tries; doubles.
pub(super) const FIRST_PAUSE: Duration = Duration::from_millis(10);
/// Longest pause between two tries.
pub(super) const LONGEST_PAUSE: Duration = Duration::from_millis(640);

impl State {
    /// Adopts the guests that run, starts those with `autostart`, and watches for more. Called once, before the loop
    /// runs. `back`: the shell comes back and starts none, since a guest that does not run now was ended by the person.
    /// `first`: the guest that is shown after login, and started as well.
    pub fn start_guests(&mut self, back: bool, first: Option<&GuestName>) {
        let first = first.filter(|_| !back);
        self.adopt_guests(first);
        if back {
            return;
        }
        let wanted = |entry: &Entry| entry.definition.as_ref().is_some_and(|d| d.autostart);
        let views = self.guests.views().into_iter().filter(|view| !view.state.is_alive()).map(|view| view.name);
        let (own, others): (Vec<_>, Vec<_>) = views.partition(|name| first == Some(name));
        let autostart = others.into_iter().filter(|name| self.guests.entries.get(name).is_some_and(wanted));
        for name in own.into_iter().chain(autostart).collect::<Vec<_>>() {
            let start = Verb::Guest(name.clone(), GuestVerb::Start);
            if let Err(sentence) = self.act(start, Asker::Shell) {
                tracing::warn!(guest = %name, "autostart: {sentence}");
            }
        }
    }

    fn adopt_guests(&mut self, first: Option<&GuestName>) {
        self.watch_files();
        self.watch_guests();
        for name in self.guests.options.runtime.guests() {
            self.found_folder(&name);
        }
        self.guests_changed();
        let mut found: Vec<_> = self.guests.views().into_iter().map(|view| view.name).collect();
        found.retain(|name| self.guests.entries.get(name).is_some_and(|entry| entry.link.is_some()));
        // The one that is to be shown after login, which is started next; else the one that was shown before. Where that
        // one is not there no other gets its keys: the person may be in the midst of a password.
        let (wanted, there) = match (first, self.guests.remembered()) {
            (Some(name), _) => (Some(name.clone()), self.guests.entries.contains_key(name)),
            (None, Some(before)) => (before.clone(), before.is_some_and(|name| found.contains(&name))),
            (None, None) => (found.first().cloned(), true),
        };
        match wanted {
            Some(name) if there => self.show_started(name),
            Some(name) => {
                tracing::warn!(guest = %name, "it is not there; the list of guests is shown, and no guest has the keys");
                if let Err(why) = self.act(Verb::Panel { show: true }, Asker::Shell) {
                    tracing::warn!("{why}");
                }
            }
            None => {}
        }
    }

    /// A guest was started, or found: it is shown if none is.
    pub(super) fn show_started(&mut self, name: GuestName) {
        if let Err(why) = self.act(Verb::ShowStarted(name), Asker::Shell) {
            tracing::warn!("{why}");
        }
    }

    fn watch_guests(&mut self) {
        let watch = FolderWatch::new(&self.guests.options.runtime.path().join("guests"));
        let source = watch.and_then(|watch| {
            let fd = rustix::io::dup(&watch)?;
            self.guests.watch = Some(watch);
            Ok(Generic::new(fd, Interest::READ, Mode::Level))
        });
        let inserted = source.map_err(|error| error.to_string()).and_then(|source| {
            let on_ready = |_: smithay::reexports::calloop::Readiness, _: &mut _, state: &mut State| {
                state.folders_changed();
                Ok(PostAction::Continue)
            };
            self.loop_handle.insert_source(source, on_ready).map_err(|error| error.to_string())
        });
        if let Err(error) = inserted {
            tracing::warn!("guests that are started elsewhere will not be seen: {error}");
        }
    }

    fn folders_changed(&mut self) {
        let seen = self.guests.watch.as_mut().map(FolderWatch::read).unwrap_or_default();
        for seen in seen {
            match seen {
                Appeared::Folder(name) => self.found_folder(&name),
                Appeared::Socket(name) => self.dial_guest(&name, LISTENING),
                Appeared::Overflow => {
                    for name in self.guests.options.runtime.guests() {
                        self.found_folder(&name);
                    }
                }
            }
        }
        self.guests_changed();
    }

    /// A guest's folder is there: watch it and see whether somebody listens in it already.
    fn found_folder(&mut self, name: &GuestName) {
        let folder = self.guests.options.runtime.guest_dir(name);
        if let Err(error) = phyllome_protocol::runtime::check_private(&folder) {
            tracing::warn!(guest = %name, "its runtime folder is passed over: {error}");
            return;
        }
        if let Some(watch) = &mut self.guests.watch {
            watch.add(name, &folder);
        }
        self.try_dial(name);
    }

    /// Dials now, and until `patience` is over if nobody listens yet.
    pub(super) fn dial_guest(&mut self, name: &GuestName, patience: Duration) {
        let until = Instant::now() + patience;
        if let Some(entry) = self.guests.entries.get_mut(name) {
            match &mut entry.dial {
                Some(dial) => dial.until = dial.until.max(until),
                None => entry.dial = Some(Dial { until, pause: FIRST_PAUSE, timer: None }),
            }
            if let Some(timer) = entry.dial.as_mut().and_then(|dial| dial.timer.take()) {
                self.loop_handle.remove(timer);
            }
        }
        self.try_dial(name);
    }

    fn try_dial(&mut self, name: &GuestName) {
        if self.guests.entries.get(name).is_some_and(|entry| entry.link.is_some()) {
            return;
        }
        let path = self.guests.options.runtime.control_socket(name);
        match Link::dial(&path, name, &self.guests.relays, Instant::now()) {
            Ok(link) => self.link_up(name, link),
            Err(error @ DialError::Hanging) => {
                let until = Instant::now() + 2 * UNTANGLED;
                if let Some(entry) = self.guests.entries.get_mut(name) {
                    let dial = entry.dial.get_or_insert(Dial { until, pause: UNTANGLED, timer: None });
                    (dial.until, dial.pause) = (until, UNTANGLED);
                    entry.life.note(&format!("{name}: {error}; force it off"));
                }
                self.dial_later(name);
            }
            Err(DialError::Nobody) => self.dial_later(name),
            Err(error) => self.note(name, &format!("{name}: {error}; force it off")),
        }
    }

    pub(super) fn dial_later(&mut self, name: &GuestName) {
        let socket_exists = self.guests.options.runtime.control_socket(name).exists();
        let Some(entry) = self.guests.entries.get_mut(name) else { return };
        let Some(dial) = &mut entry.dial else { return };
        let now = Instant::now();
        if now >= dial.until {
            entry.dial = None;
            if entry.life.state().is_alive() {
                entry.life.note(&format!("{name} does not open its control connection; force it off"));
            }
            return;
        }
        // A socket that is not there yet announces itself; only one that refuses is tried again soon.
        let pause = if socket_exists { dial.pause } else { dial.until - now };
        dial.pause = (dial.pause * 2).min(LONGEST_PAUSE);
        let whose = name.clone();
        let timer = self.loop_handle.insert_source(Timer::from_duration(pause), move |_, _, state| {
            if let Some(dial) = state.guests.entries.get_mut(&whose).and_then(|entry| entry.dial.as_mut()) {
                dial.timer = None;
            }
            state.try_dial(&whose);
            state.guests_changed();
            TimeoutAction::Drop
        });
        // The folder may have been seen while one runs already: two would ring, and only one be put away.
        let dial = self.guests.entries.get_mut(name).and_then(|entry| entry.dial.as_mut());
        if let Some(former) = dial.and_then(|dial| std::mem::replace(&mut dial.timer, timer.ok())) {
            self.loop_handle.remove(former);
        }
    }

    /// The connection has ended and the guest has not: dials after this pause, if any.
    pub(super) fn dial_again(&mut self, name: &GuestName, pause: Option<Duration>) {
        let Some(pause) = pause else { return self.dial_guest(name, LISTENING) };
        self.after(pause, name, |state, name| {
            if state.guests.entries.get(name).is_some_and(|entry| entry.life.state().is_alive()) {
                state.dial_guest(name, LISTENING);
                state.guests_changed();
            }
        });
    }
}
