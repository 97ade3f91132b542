//! What comes of guests' files that appear, change or go while the shell runs.
//!
//! A guest that runs keeps the definition that it was started with, label and slot included, and says that its file is
//! another now. Until it has ended, no other guest gets what it has: two guests never share a slot or look alike.

use super::{Entry, Guests};
use crate::State;
use phyllome_config::{GuestDefinition, Loaded};
use phyllome_protocol::GuestName;
use smithay::reexports::calloop::channel::{self, Event};

/// Said of a guest that runs.
const CHANGED: &str = "its file has changed; shut it down and start it again to use it";
const GONE: &str = "its file is gone or cannot be used; put it back or mend it, or the guest cannot start again";

impl Guests {
    /// Takes what the files say now.
    pub(super) fn take(&mut self, loaded: Loaded) {
        let problems: Vec<String> = loaded.problems.iter().map(ToString::to_string).collect();
        for problem in problems.iter().filter(|problem| !self.problems.contains(problem)) {
            tracing::warn!("{problem}");
        }
        self.problems = problems;
        self.latest = Some(loaded.guests);
        self.settle_definitions();
    }

    /// Gives each guest that does not run the definition that its file has now.
    pub(super) fn settle_definitions(&mut self) {
        let Some(latest) = &self.latest else { return };
        let of = |name| latest.iter().find(|definition| definition.name == name);
        // What has no file and does not run is no guest any longer.
        self.entries.retain(|name, entry| entry.is_busy() || entry.definition.is_none() || of(name.clone()).is_some());
        for (name, entry) in &mut self.entries {
            entry.stale = match (&entry.definition, of(name.clone())) {
                (Some(_), None) => Some(GONE),
                (Some(has), Some(new)) if !same(has, new) => Some(CHANGED),
                (Some(_), Some(_)) | (None, _) => None,
            };
        }
        let mut waiting = Vec::new();
        for new in latest {
            let kept = |(name, entry): (&_, &Entry)| {
                let other = entry.definition.as_ref().filter(|_| *name != new.name && entry.stale.is_some());
                other.is_some_and(|other| entry.is_busy() && alike(other, new))
            };
            if self.entries.iter().any(kept) {
                waiting.push(new.name.clone());
                continue;
            }
            let entry = self.entries.entry(new.name.clone()).or_insert_with(|| Entry::new(None));
            if entry.definition.is_none() || !entry.is_busy() || entry.stale.is_none() {
                entry.definition = Some(new.clone());
                entry.stale = None;
            }
        }
        // One that waits for what another still has goes if somebody else has got what it had itself; it is there again
        // when the other one has ended.
        for name in waiting {
            let Some(Some(had)) = self.entries.get(&name).filter(|entry| !entry.is_busy()).map(|e| &e.definition)
            else {
                continue;
            };
            let taken = |(other, entry): (&GuestName, &Entry)| {
                *other != name && entry.definition.as_ref().is_some_and(|other| alike(other, had))
            };
            if self.entries.iter().any(taken) {
                self.entries.remove(&name);
            }
        }
    }
}

impl Entry {
    /// Whether something of it runs, or may.
    fn is_busy(&self) -> bool {
        self.life.state().is_alive() || self.link.is_some() || self.dial.is_some() || self.process.is_some()
    }
}

/// Whether they are the same but for the id, which is written into a file when its guest starts.
fn same(a: &GuestDefinition, b: &GuestDefinition) -> bool {
    GuestDefinition { id: None, ..a.clone() } == GuestDefinition { id: None, ..b.clone() }
}

/// Whether a person could take one for the other.
fn alike(a: &GuestDefinition, b: &GuestDefinition) -> bool {
    phyllome_config::are_alike(&a.label, &b.label) || (a.slot.is_some() && a.slot == b.slot)
}

impl State {
    /// Has guests' files read anew whenever they change.
    pub(super) fn watch_files(&mut self) {
        let (sender, changed) = channel::sync_channel(1);
        let take = |event, (): &mut (), state: &mut State| match event {
            Event::Msg(loaded) => {
                state.guests.take(loaded);
                state.guests_changed();
            }
            Event::Closed => {}
        };
        let inserted = self.loop_handle.insert_source(changed, take).map_err(|error| error.to_string());
        let places = self.guests.options.places.clone();
        let watched = inserted.and_then(|_| super::files::watch(places, sender).map_err(|error| error.to_string()));
        if let Err(error) = watched {
            tracing::warn!("guests' files that change are not seen until the shell starts again: {error}");
        }
    }
}
