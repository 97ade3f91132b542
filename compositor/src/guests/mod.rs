//! Guests as the shell knows them: defined in files, running, or both; started, adopted, watched and told what to do.
//!
//! Who a guest is comes from the folder whose socket is dialled, never from what is said there. [`life`] and [`view`]
//! are pure, [`link`], [`process`] and [`watch`] act without a loop, [`finding`] and [`drive`] join them to the shell's
//! loop.

#![deny(clippy::wildcard_enum_match_arm, reason = "a new verb or message is not to be taken for another")]

mod awaited;
mod definitions;
mod drive;
mod files;
mod finding;
mod freeze;
pub mod life;
pub mod link;
mod ops;
pub mod process;
pub mod said;
mod standing;
pub mod view;
pub mod watch;

#[cfg(test)]
mod tests;

use crate::relay::Relays;
use life::Life;
use link::Link;
use phyllome_config::guest::Label;
use phyllome_config::{GuestDefinition, Places, are_alike};
use phyllome_protocol::GuestName;
use phyllome_protocol::control::Leds;
use phyllome_protocol::ids::MAX_NAME;
use phyllome_protocol::runtime::RuntimeDir;
use phyllome_protocol::status::{GpuStatus, GuestState, GuestStatus, LabelStatus};
use process::{Launcher, Process};
use smithay::reexports::calloop::RegistrationToken;
use standing::{Ice, Standing};
use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use watch::FolderWatch;

pub use awaited::Awaited;
pub use ops::GuestTask;
pub use standing::Pausing;
pub use view::GuestView;

/// The file in the runtime folder that holds the name of the guest that is shown.
const SHOWN: &str = "shown";
/// Most guests without a definition that are adopted.
const MAX_UNKNOWN: usize = 64;
/// Most connections of one guest that may hang in what was sent on them before it gets no further one.
const MAX_HANGING: usize = 2;
/// Most requests to one guest that wait for their answers.
const MAX_PENDING: usize = 32;
/// How long a request waits for its answer before it counts no longer.
const ANSWERED_WITHIN: Duration = Duration::from_secs(30);

/// What the registry needs to know of its surroundings.
#[derive(Clone, Debug)]
pub struct Options {
    /// The runtime folder, in which guests are found.
    pub runtime: RuntimeDir,
    /// Where configuration and logs lie.
    pub places: Places,
    /// `--config DIR`, handed on to phyllome-guest.
    pub config_dir: Option<PathBuf>,
    /// The program phyllome-guest; [`process::default_program`] finds it.
    pub program: PathBuf,
    /// How long a guest may take to greet: [`link::GREETING`].
    pub greeting: Duration,
    /// How long a guest may take to power off before the person is asked what to do: [`life::ANSWER`].
    pub answer: Duration,
    /// How long a guest may take to pause before it is frozen.
    pub pausing: Pausing,
}

impl Options {
    /// With the times that guests are given as a rule, and the usual configuration.
    pub fn new(runtime: RuntimeDir, places: Places, program: PathBuf) -> Self {
        let (greeting, answer, pausing) = (link::GREETING, life::ANSWER, Pausing::default());
        Self { runtime, places, config_dir: None, program, greeting, answer, pausing }
    }
}

/// A connection and the loop's hold on it.
#[derive(Debug)]
struct Attached {
    link: Link,
    read: RegistrationToken,
    write: Option<RegistrationToken>,
    greeting: Option<RegistrationToken>,
    since: Instant,
}

/// A socket that is waited for.
#[derive(Debug)]
struct Dial {
    until: Instant,
    pause: Duration,
    timer: Option<RegistrationToken>,
}

/// A request that waits for its answer.
#[derive(Debug)]
struct Pending {
    name: GuestName,
    /// Whether it asks for a report: one such question at a time is enough.
    report: bool,
    /// The state that the guest is in once it is done; its report of that may come later than the answer.
    then: Option<GuestState>,
    /// Since when it could have been answered.
    since: Instant,
}

#[derive(Debug)]
struct Entry {
    definition: Option<GuestDefinition>,
    /// How it is marked while it has no definition, once that is found.
    unknown: Option<Label>,
    /// Its file says something else than the definition that it runs with: one sentence.
    stale: Option<&'static str>,
    life: Life,
    link: Option<Attached>,
    dial: Option<Dial>,
    /// How long to wait before the next connection after one that was short; doubles.
    redial: Option<Duration>,
    process: Option<(Process, RegistrationToken)>,
    /// Its process has ended, and until when what it said last is waited for.
    parting: Option<Instant>,
    /// Ends the process if it does not end by itself.
    escalation: Option<RegistrationToken>,
    /// Ends the launcher if it does not become the guest.
    launching: Option<RegistrationToken>,
    /// Looks whether it has powered off.
    answer: Option<RegistrationToken>,
    /// It was asked to pause, and is frozen if it does not.
    standing: Option<Standing>,
    /// How far its processes are from running.
    ice: Ice,
    /// It is to run again as soon as it has paused.
    resume_later: bool,
    /// A former shell has frozen it, and it has said nothing since it was let go.
    was_found_frozen: bool,
}

impl Entry {
    fn new(definition: Option<GuestDefinition>) -> Self {
        Self {
            definition,
            unknown: None,
            stale: None,
            life: Life::default(),
            link: None,
            dial: None,
            redial: None,
            process: None,
            parting: None,
            escalation: None,
            launching: None,
            answer: None,
            standing: None,
            ice: Ice::None,
            resume_later: false,
            was_found_frozen: false,
        }
    }
}

/// Every guest that the shell knows.
#[derive(Debug)]
pub struct Guests {
    options: Options,
    entries: BTreeMap<GuestName, Entry>,
    /// What the guests' files said last, once they were read while the shell runs.
    latest: Option<Vec<GuestDefinition>>,
    problems: Vec<String>,
    /// What else stands below the list, for as long as the shell runs.
    below: Vec<String>,
    watch: Option<FolderWatch>,
    /// What stands between guests' connections and the loop.
    relays: Relays,
    /// How guests get a systemd unit of their own, where there are such units; `None` once it has not answered.
    launcher: Option<Launcher>,
    /// Requests that wait for their answers, by id.
    pending: BTreeMap<u64, Pending>,
    last_id: u64,
}

impl Guests {
    /// A registry of these definitions and of the sentences about files that cannot be used; nothing is started or
    /// dialled before [`crate::State::start_guests`].
    pub fn new(options: Options, definitions: Vec<GuestDefinition>, problems: Vec<String>) -> Self {
        let entries = definitions.into_iter().map(|d| (d.name.clone(), Entry::new(Some(d)))).collect();
        let launcher = Some(Launcher::default());
        Self {
            options,
            entries,
            latest: None,
            problems,
            below: Vec::new(),
            watch: None,
            relays: Relays::new(MAX_HANGING),
            launcher,
            pending: BTreeMap::new(),
            last_id: 0,
        }
    }

    /// Has a sentence stand below the list of guests for as long as the shell runs.
    pub(crate) fn say_below(&mut self, sentence: Option<&str>) {
        self.below.extend(sentence.map(str::to_owned));
    }

    /// Marks each guest that has no definition so that it is like no other one. It keeps the marks that it has, unless
    /// a guest that has a definition is marked alike.
    pub(crate) fn tell_unknown_apart(&mut self) {
        let mut taken: Vec<Label> =
            self.entries.values().filter_map(|entry| Some(entry.definition.as_ref()?.label.clone())).collect();
        let unknown = self.entries.iter().filter(|(_, entry)| entry.definition.is_none());
        let (marked, new): (Vec<_>, Vec<_>) =
            unknown.map(|(name, entry)| (name.clone(), entry.unknown.clone())).partition(|(_, label)| label.is_some());
        for (name, label) in marked.into_iter().chain(new) {
            let free = label.filter(|label| taken.iter().all(|other| !are_alike(label, other)));
            let label = free.unwrap_or_else(|| view::unknown_label(&name, &taken));
            if let Some(entry) = self.entries.get_mut(&name) {
                entry.unknown = Some(label.clone());
            }
            taken.push(label);
        }
    }

    /// Every known guest in order of slot (those without one last) and name.
    pub fn views(&self) -> Vec<GuestView> {
        let mut views: Vec<_> = self.entries.iter().map(|(name, entry)| entry.view(name)).collect();
        views.sort_by_key(|view| (view.slot.map_or(u8::MAX, |slot| slot.number()), view.name.clone()));
        views
    }

    /// Which lights of its keyboard a guest has on, where it has said so.
    pub fn leds(&self, name: &GuestName) -> Option<Leds> {
        self.entries.get(name)?.life.report()?.leds
    }

    /// Where guests' disks are, unless their files say otherwise.
    pub fn disks_dir(&self) -> PathBuf {
        self.options.places.disks_dir()
    }

    /// What stands below the list of guests: one sentence for each file that cannot be used, without the folder that
    /// all are in, for which a screen has no room.
    pub fn problems(&self) -> Vec<String> {
        let folder = format!("{}/", self.options.places.config.display());
        let problems = self.problems.iter().map(|problem| problem.replace(&folder, ""));
        self.below.iter().cloned().chain(problems).collect()
    }

    /// One sentence about a name that no usable guest has.
    pub fn why_not(&self, name: &GuestName) -> String {
        let file = format!("{name}.toml");
        match self.problems.iter().find(|problem| problem.contains(&file)) {
            Some(problem) => format!("{name} cannot be used: {problem}"),
            None => format!("there is no guest {name}; phyllome list shows all"),
        }
    }

    /// Keeps which guest is shown, so that a shell that starts again gives the keyboard to no other one.
    pub(crate) fn remember_shown(&self, name: Option<&GuestName>) {
        let text = name.map_or("", GuestName::as_str);
        let mut options = OpenOptions::new();
        let path = self.options.runtime.path().join(SHOWN);
        let file = process::plain(options.create(true).write(true).truncate(true), &path);
        if let Err(error) = file.and_then(|mut file| file.write_all(text.as_bytes())) {
            tracing::warn!("a shell that starts again will not know which guest was shown: {error}");
        }
    }

    /// The guest that the former shell on this runtime folder showed, or that it showed none. `None`: there was none.
    fn remembered(&self) -> Option<Option<GuestName>> {
        let mut text = String::new();
        let file = process::plain(OpenOptions::new().read(true), &self.options.runtime.path().join(SHOWN)).ok()?;
        let read = file.take(MAX_NAME as u64 + 1).read_to_string(&mut text);
        // A torn file is none that names the guest which comes first.
        Some(read.ok().and_then(|_| GuestName::new(&text).ok()))
    }

    /// Every known guest for `phyllome status`, in the order of [`Guests::views`].
    pub fn status(&self, now: Instant) -> Vec<GuestStatus> {
        let views = self.views();
        views.into_iter().filter_map(|view| Some(self.entries.get(&view.name)?.status(view, now))).collect()
    }
}

impl Entry {
    fn view(&self, name: &GuestName) -> GuestView {
        let definition = self.definition.as_ref();
        GuestView {
            name: name.clone(),
            slot: definition.and_then(|definition| definition.slot),
            label: definition
                .map(|definition| &definition.label)
                .or(self.unknown.as_ref())
                .cloned()
                .unwrap_or_else(|| view::unknown_label(name, &[])),
            known: definition.is_some(),
            state: self.life.state(),
            message: self.life.message().map(str::to_owned),
            whose: self.life.whose(),
            stale: self.stale,
            silent: self.life.is_silent(),
            keep_awake: definition.is_some_and(|definition| definition.keep_awake),
        }
    }

    fn status(&self, view: GuestView, now: Instant) -> GuestStatus {
        let report = self.life.report();
        let message = view.sentence();
        GuestStatus {
            label: LabelStatus::from(&view.label),
            name: view.name,
            slot: view.slot,
            state: view.state,
            message,
            accel: report.and_then(|report| report.accel.clone()),
            pid: report.map(|report| report.pid),
            qemu_pid: report.and_then(|report| report.qemu_pid),
            background: self.definition.as_ref().map(|d| d.background).unwrap_or_default().word().to_owned(),
            uptime_s: self.life.uptime(now).map(|uptime| uptime.as_secs_f64()),
            gpu: report.map_or_else(GpuStatus::default, |report| report.gpu.clone()),
            scanouts: report.map_or_else(Vec::new, |report| report.scanouts.clone()),
        }
    }
}
