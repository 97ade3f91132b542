//! The loop of one guest: it owns the state machine, the present QEMU, the screen and the control connections.
//!
//! Everything that happens arrives here as a message and is answered at once; nothing in this loop waits for QEMU, for
//! a peer or for the compositor. Without a message it sleeps: there is no interval and no polling.

mod events;
mod requests;
mod signals;
mod start;

use super::checks;
use super::command_line::{Accel, VIRTIO_KEYBOARD};
use super::control::{Asked, Listener};
use super::events::{Generation, MachineEvent};
use super::folder::GuestFolder;
use super::host::HostFacts;
use super::identity;
use super::input::InputQueue;
use super::lifecycle::{Action, Event, Exit, KvmFact, Lifecycle};
use super::peers::Peers;
use super::qemu::Qemu;
use super::qmp::Qmp;
use super::verdict::{Verdict, Verdicts};
use crate::frames::{PreferredMode, SharedGpuReport};
use crate::screen::{self, FromScreen};
use phyllome_config::{GuestDefinition, Places};
use phyllome_protocol::control::{Known, Report};
use phyllome_protocol::runtime::RuntimeDir;
use phyllome_protocol::status::{GpuStatus, GuestState};
use signals::Signals;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// How long QEMU may take to end after `quit`, or after it hung up.
const END_TIME: Duration = Duration::from_secs(2);
/// Least time between two reports: a guest that changes its scanouts all the time must not flood those who listen.
const REPORT_PAUSE: Duration = Duration::from_millis(50);
/// How long a guest that ended before anybody connected waits for somebody to tell it to.
const LINGER: Duration = Duration::from_secs(3);

/// What a guest is run with.
pub struct Options {
    /// The guest.
    pub definition: GuestDefinition,
    /// The file that it comes from.
    pub file: PathBuf,
    /// The user's folders.
    pub places: Places,
    /// The runtime folder.
    pub runtime: RuntimeDir,
    /// The mode that the guest's EDID prefers until a screen says otherwise; pixels.
    pub size: Option<(u32, u32)>,
    /// A Wayland connection to show the guest on at once.
    pub window: Option<UnixStream>,
    /// How long the guest has to power off when this process is asked to end.
    pub patience: Duration,
    /// Somebody is about to connect to the control socket, so a guest that crashes before waits a moment to tell him.
    pub awaited: bool,
    /// Called with each sentence on the state of a guest that lives on.
    pub notice: fn(&str),
}

/// How a guest ended: `Stopped` or `Crashed`, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// The last state.
    pub state: GuestState,
    /// One sentence, where there is something to say.
    pub message: Option<String>,
}

/// Runs the guest to its end. Must be called inside a tokio runtime with a `LocalSet`. The error is one sentence: the
/// guest was never supervised at all (it runs already, or the system refused).
pub async fn run(mut options: Options) -> Result<Ending, String> {
    let folder = GuestFolder::take(&options.runtime, &options.definition.name).map_err(|e| e.to_string())?;
    identity::settle(&mut options.definition, &options.file, &options.places)?;
    let socket = folder.path().join("control.sock");
    let listener = Listener::bind(&socket)
        .map_err(|e| format!("cannot listen at {} ({e}); mend the permissions of its folder", socket.display()))?;
    let signals = Signals::new().map_err(|e| format!("cannot watch for signals ({e}); start the guest again"))?;
    let (from_screen, screen_events) = mpsc::channel(256);
    let (hub, screen) =
        screen::Hub::new(options.definition.name.to_string(), options.definition.gpu.scanouts, from_screen);
    tokio::task::spawn_local(hub.run());
    let (event_sender, events) = mpsc::channel(256);
    let (asked_sender, asked) = mpsc::channel(32);
    let awaited = options.awaited;
    if let Some(window) = options.window {
        screen.attach(window);
    }
    let mode = options.size.map(|(width, height)| mode(width, height)).unwrap_or_else(|| mode(1280, 800));
    let verdicts = Verdicts::new(options.runtime.path(), &options.definition.name);
    let kvm = checks::kvm(&verdicts);
    if let KvmFact::Failed(why) = &kvm {
        tracing::warn!(why, "KVM has failed this guest lately");
    }
    let name = options.definition.name.as_str();
    let life = Lifecycle::new(name, options.definition.machine.accel, &kvm);
    let (life, cannot_start) = match life {
        Ok(life) => (life, None),
        // The state machine is needed all the same, to say how it ended.
        Err(why) => (Lifecycle::without_kvm(name), Some(why)),
    };
    let mut supervisor = Supervisor {
        logs: options.places.logs_dir(&options.definition.name),
        definition: options.definition,
        places: options.places,
        runtime: options.runtime.path().to_owned(),
        life,
        host: None,
        verdicts,
        mode,
        qemu: None,
        preparing: None,
        no_3d: None,
        no_logs: None,
        generation: 0,
        patience: options.patience,
        end_at: None,
        kill_at: None,
        look_at: None,
        trial_at: None,
        paused_at: None,
        overdue: false,
        input: InputQueue::new(false),
        input_under_way: false,
        status_under_way: false,
        status_wanted: false,
        requests_under_way: 0,
        report: SharedGpuReport::default(),
        screen,
        event_sender,
        peers: Peers::new(asked_sender),
        changed: false,
        next_report: Instant::now(),
        notice: options.notice,
        finished: false,
    };
    match cannot_start {
        Some(why) => supervisor.event(Event::CannotStart(why)),
        None => {
            if let Some(message) = supervisor.life.message() {
                (supervisor.notice)(message);
            }
            supervisor.act(Action::Start(supervisor.life.accel()));
        }
    }
    let mut sources = Sources { events, asked, screen_events, signals, listener };
    while !supervisor.finished {
        supervisor.turn(&mut sources).await;
        supervisor.after_turn();
    }
    supervisor.farewell(&mut sources, awaited).await;
    Ok(Ending { state: supervisor.life.state(), message: supervisor.life.message().map(Into::into) })
}

/// Never, without a time.
async fn until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

fn mode(width: u32, height: u32) -> PreferredMode {
    PreferredMode { width, height, refresh_mhz: 60_000, width_mm: 0, height_mm: 0 }
}

/// Where messages come from, apart from the state, so that both can be borrowed at once.
struct Sources {
    events: mpsc::Receiver<MachineEvent>,
    asked: mpsc::Receiver<Asked>,
    screen_events: mpsc::Receiver<FromScreen>,
    signals: Signals,
    listener: Listener,
}

struct Supervisor {
    definition: GuestDefinition,
    places: Places,
    /// The runtime folder.
    runtime: PathBuf,
    logs: PathBuf,
    life: Lifecycle,
    /// What this host offers, once it was looked at; lent to a start.
    host: Option<HostFacts>,
    verdicts: Verdicts,
    mode: PreferredMode,
    qemu: Option<Qemu>,
    /// What the QEMU that starts next has to wait for.
    preparing: Option<start::Preparing>,
    /// Why the guest has no 3D: one sentence.
    no_3d: Option<String>,
    /// Why it has no logs: one sentence.
    no_logs: Option<String>,
    generation: Generation,
    patience: Duration,
    /// The guest's time to power off is over then.
    end_at: Option<Instant>,
    kill_at: Option<Instant>,
    /// The lifecycle wants to look again then.
    look_at: Option<Instant>,
    /// It is looked then whether the guest runs well under KVM.
    trial_at: Option<Instant>,
    /// Since when the guest is paused.
    paused_at: Option<Instant>,
    /// QEMU was killed because it had not ended by itself in time.
    overdue: bool,
    input: InputQueue,
    input_under_way: bool,
    /// At most one question for QEMU's state is under way; another may be wanted after it.
    status_under_way: bool,
    status_wanted: bool,
    requests_under_way: usize,
    report: SharedGpuReport,
    screen: screen::Handle,
    event_sender: mpsc::Sender<MachineEvent>,
    peers: Peers,
    /// Something that a report says may have changed.
    changed: bool,
    /// No report goes out before.
    next_report: Instant,
    notice: fn(&str),
    finished: bool,
}

impl Supervisor {
    async fn turn(&mut self, sources: &mut Sources) {
        let device_end = async {
            match self.qemu.as_mut().filter(|qemu| !qemu.device_ended) {
                Some(qemu) => qemu.device.ended().await,
                None => std::future::pending().await,
            }
        };
        let (kill_time, end_time, look_time) = (until(self.kill_at), until(self.end_at), until(self.look_at));
        let (trial_time, repeat_time) = (until(self.trial_at), until(self.input.repeats_at()));
        let report_time = async {
            if self.changed {
                tokio::time::sleep_until(self.next_report).await;
            } else {
                std::future::pending().await
            }
        };
        tokio::select! {
            Some(event) = sources.events.recv() => self.machine_event(event),
            Some(asked) = sources.asked.recv() => self.asked(asked),
            Some(event) = sources.screen_events.recv() => {
                self.screen_says(event);
                // What arrived together goes to QEMU together.
                while let Ok(event) = sources.screen_events.try_recv() {
                    self.screen_says(event);
                }
            }
            stream = sources.listener.accept() => {
                let report = self.report();
                self.peers.welcome(stream, &self.definition.name, report);
            }
            end = device_end => self.device_ended(end),
            () = kill_time => self.kill_time_is_up(Instant::now()),
            () = end_time => self.time_is_up(Instant::now()),
            () = repeat_time => {
                if self.input.repeat(Instant::now()) {
                    self.ask_for_keyboard();
                }
            }
            () = trial_time => self.trial(),
            () = look_time => {
                self.look_at = None;
                self.event(Event::Look);
            }
            () = report_time => {}
            () = sources.signals.any() => self.event(Event::Terminate),
        }
    }

    fn after_turn(&mut self) {
        self.input.set_running(matches!(self.life.state(), GuestState::Running | GuestState::Stopping));
        self.pump_input();
        if self.changed && Instant::now() >= self.next_report {
            self.tell_changes();
        }
    }

    fn tell_changes(&mut self) {
        self.changed = false;
        let report = self.report();
        if self.peers.tell_changes(report) {
            self.next_report = Instant::now() + REPORT_PAUSE;
        }
    }

    fn event(&mut self, event: Event) {
        let before = (self.life.state(), self.life.message().map(str::to_owned));
        let actions = self.life.handle(event);
        self.log_change(&before);
        for action in actions {
            self.act(action);
        }
    }

    fn log_change(&mut self, before: &(GuestState, Option<String>)) {
        self.tell_change(before);
        match (before.0 == GuestState::Paused, self.life.state() == GuestState::Paused) {
            (false, true) => self.paused_at = Some(Instant::now()),
            (true, false) => {
                if let Some(since) = self.paused_at.take().filter(|_| self.life.state() == GuestState::Running) {
                    self.event(Event::StoodStill(since.elapsed()));
                }
            }
            (false, false) | (true, true) => {}
        }
    }

    fn tell_change(&mut self, before: &(GuestState, Option<String>)) {
        let (state, message) = (self.life.state(), self.life.message());
        if before.0 != state || before.1.as_deref() != message {
            self.changed = true;
            tracing::info!(state = state.word(), message, "the guest's state");
            if let Some(message) = message.filter(|now| state.is_alive() && before.1.as_deref() != Some(*now)) {
                (self.notice)(message);
            }
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Start(accel) => {
                if let Err(why) = self.start(accel) {
                    self.event(Event::CannotStart(why));
                }
            }
            Action::QueryStatus => self.query_status(),
            Action::End => match self.qemu.as_ref().and_then(|qemu| qemu.qmp.clone()) {
                Some(qmp) => {
                    tokio::spawn(async move { qmp.execute("quit", None).await });
                    self.kill_at = Some(Instant::now() + END_TIME);
                }
                None => self.kill(),
            },
            Action::PowerOff(commands) => {
                // Nobody can tell a guest whose QEMU does not answer: as if asked twice.
                if self.tell_qemu(commands, None).is_err() {
                    self.event(Event::Terminate);
                }
            }
            Action::LookLater(time) => self.look_at = Some(Instant::now() + time),
            Action::ForgetTicks(command) => {
                if let Some((_, qmp)) = self.present_qmp() {
                    tokio::spawn(async move {
                        if let Err(error) = qmp.execute(command, None).await {
                            tracing::debug!(%error, "the guest may run fast for a while");
                        }
                    });
                }
            }
            Action::EndLater => self.end_at = Some(Instant::now() + self.patience),
            Action::KillNow => self.kill(),
            Action::KillSoon => {
                self.kill_at.get_or_insert(Instant::now() + END_TIME);
            }
            Action::Remember(verdict) => {
                if let Verdict::Broken(why) = &verdict {
                    tracing::warn!(why, "KVM failed the guest");
                }
                self.verdicts.remember(&verdict);
            }
            Action::Finish => self.finished = true,
        }
    }

    fn kill(&mut self) {
        if let Some(qemu) = &self.qemu {
            qemu.killer.kill();
        } else if self.preparing.take().is_some() {
            // There is nothing yet that could end.
            self.event(Event::Exited { how: Exit::Code(0), words: None, pictured: false });
        }
    }

    fn query_status(&mut self) {
        let Some((generation, qmp)) = self.present_qmp() else { return };
        if std::mem::replace(&mut self.status_under_way, true) {
            self.status_wanted = true;
            return;
        }
        let events = self.event_sender.clone();
        tokio::spawn(async move {
            let status = qmp.query_status().await;
            let _ = events.send(MachineEvent::Status(generation, status)).await;
        });
    }

    fn present_qmp(&self) -> Option<(Generation, Qmp)> {
        let qemu = self.qemu.as_ref()?;
        Some((qemu.generation, qemu.qmp.clone()?))
    }

    fn pump_input(&mut self) {
        if self.input_under_way {
            return;
        }
        let Some((generation, qmp)) = self.present_qmp() else { return };
        let Some(batch) = self.input.next_batch() else { return };
        self.input_under_way = true;
        let events = self.event_sender.clone();
        tokio::spawn(async move {
            let result = qmp.input_send_event(batch).await;
            let _ = events.send(MachineEvent::InputSent(generation, result)).await;
        });
    }

    /// Whether the guest's driver runs its virtio keyboard. The question is not among QMP's stable ones: without an
    /// answer it counts as so, and keys are never told twice.
    fn ask_for_keyboard(&mut self) {
        let Some((generation, qmp)) = self.present_qmp() else {
            self.input.keyboard_found(true);
            return;
        };
        let events = self.event_sender.clone();
        tokio::spawn(async move {
            let driven = qmp.is_driven(VIRTIO_KEYBOARD).await.unwrap_or(true);
            let _ = events.send(MachineEvent::Keyboard(generation, driven)).await;
        });
    }

    fn report(&self) -> Report {
        let device = self.report.lock().map(|report| report.clone()).unwrap_or_default();
        let mut scanouts = device.scanouts;
        let mut copied_bytes = device.copied_bytes;
        if let Ok(shown) = self.screen.report().lock() {
            let converted = shown.scanouts.values().map(|scanout| scanout.copied_pixels.saturating_mul(4));
            copied_bytes = converted.fold(copied_bytes, u64::saturating_add);
            for scanout in &mut scanouts {
                if let Some(shown) = shown.scanouts.get(&scanout.id).filter(|shown| !shown.buffer.is_empty()) {
                    shown.buffer.clone_into(&mut scanout.buffer);
                }
            }
        }
        let qemu = self.qemu.as_ref();
        let accel = match self.life.accel() {
            Accel::Kvm => "kvm",
            Accel::Tcg => "tcg",
        };
        Report {
            state: self.life.state(),
            // The loss of 3D is worth a word where there is nothing graver.
            message: self
                .life
                .message()
                .map(Into::into)
                .or_else(|| device.gpu.reason.clone().filter(|_| device.gpu.renderer == "2d"))
                .or_else(|| self.no_logs.clone()),
            known: match self.life.message() {
                Some(_) => self.life.known(),
                None => device.gpu.reason.as_ref().filter(|_| device.gpu.renderer == "2d").map(|_| Known::No3d),
            },
            accel: qemu.map(|_| accel.into()),
            pid: std::process::id(),
            qemu_pid: qemu.map(|qemu| qemu.pid),
            uptime_ms: qemu.map(|qemu| u64::try_from(qemu.started.elapsed().as_millis()).unwrap_or(u64::MAX)),
            gpu: GpuStatus { reason: self.no_3d.clone().or(device.gpu.reason), copied_bytes, ..device.gpu },
            scanouts: if qemu.is_some() { scanouts } else { Vec::new() },
            leds: qemu.and_then(|qemu| qemu.leds),
            unheeded: self.life.unheeded(),
        }
    }

    /// Tells everybody how it ended, and him who is awaited and has not come yet.
    async fn farewell(&mut self, sources: &mut Sources, awaited: bool) {
        let report = self.report();
        if awaited && !self.peers.had_any() && self.life.state() == GuestState::Crashed {
            tokio::select! {
                stream = sources.listener.accept() => self.peers.welcome(stream, &self.definition.name, report),
                () = sources.signals.any() => {}
                () = tokio::time::sleep(LINGER) => tracing::debug!("nobody asked how it ended"),
            }
        } else {
            self.peers.tell_changes(report);
        }
        self.peers.farewell(&mut sources.asked).await;
    }
}
