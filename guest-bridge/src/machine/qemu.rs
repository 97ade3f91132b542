//! One QEMU from its start to its end, with the device thread and the QMP connection that belong to it.
//!
//! Small tasks watch what can happen and send it to the supervisor as [`MachineEvent`]s, each marked with the QEMU that
//! it is about, so that nothing of a former one is taken for the present one. None of them decides anything.

use super::command_line::{Accel, command_line, quoted};
use super::display;
use super::events::{Generation, MachineEvent};
use super::host::{HostFacts, SerialSink};
use super::monitors::Modes;
use super::process::{self, Killer, Sockets};
use super::qmp::Qmp;
use super::transport;
use super::words::LastWords;
use crate::frames::{PreferredMode, SharedGpuReport, TO_SCREEN_DEPTH, ToDevice};
use crate::gpu::{self, DeviceConfig, DeviceHandle, Transport};
use crate::renderer::client::Client;
use crate::screen;
use phyllome_config::GuestDefinition;
use phyllome_protocol::ScanoutId;
use phyllome_protocol::control::Leds;
use std::ffi::{OsStr, OsString};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

/// How long QEMU's last words and events may take to arrive after its end.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Most characters of the command line in one event of the log, whose lines have at most
/// [`MOST`](phyllome_protocol::log_line::MOST).
const MOST_LOGGED: usize = 1500;

/// What every QEMU of this guest is started with.
pub struct Recipe<'a> {
    /// The guest.
    pub definition: &'a GuestDefinition,
    /// The host; the descriptors in it are filled in here.
    pub host: &'a HostFacts,
    /// Where the logs go.
    pub logs: &'a Path,
    /// The mode that scanouts prefer at first.
    pub mode: PreferredMode,
    /// Where the device reports.
    pub report: &'a SharedGpuReport,
    /// Where the frames go.
    pub screen: &'a screen::Handle,
    /// Who is told what happens.
    pub events: &'a mpsc::Sender<MachineEvent>,
}

/// A running QEMU.
pub struct Qemu {
    /// Which.
    pub generation: Generation,
    /// Its process id.
    pub pid: u32,
    /// When it was started.
    pub started: Instant,
    /// Ends it.
    pub killer: Killer,
    /// Its device.
    pub device: DeviceHandle,
    /// What its monitors are to be; the guest hears of a change.
    modes: watch::Sender<Modes>,
    /// A screen has said what its windows' sizes are; so will the next one.
    screen_told: Arc<AtomicBool>,
    /// The lights of its keyboard, once it has said so.
    pub leds: Option<Leds>,
    /// Set by the supervisor when it hears of it.
    pub device_ended: bool,
    /// Set by the supervisor when it hears of it.
    pub qmp: Option<Qmp>,
    /// Its last words.
    pub words: LastWords,
}

impl Qemu {
    /// The first monitor is to have this mode until a screen says what it has, and whether there are others. Where one
    /// has said so before, the guest keeps that: a screen that comes back would otherwise change every monitor twice.
    pub fn suggest_mode(&self, mode: PreferredMode) {
        let Some(id) = ScanoutId::new(0).filter(|_| !self.screen_told.load(Ordering::Relaxed)) else { return };
        self.device.sender().send(ToDevice::Mode { id, mode });
        want(&self.modes, id, mode);
    }
}

fn want(modes: &watch::Sender<Modes>, id: ScanoutId, mode: PreferredMode) {
    modes.send_if_modified(|modes| {
        let Some(place) = modes.get_mut(id.get() as usize) else { return false };
        place.replace(mode) != Some(mode)
    });
}

/// A command line's arguments for the log, each as a POSIX shell takes it, in pieces that a log line has room for.
fn in_lines(args: &[OsString]) -> Vec<String> {
    let mut lines = vec![String::new()];
    for piece in args.iter().flat_map(|arg| pieces(arg)) {
        let full = |line: &String| line.chars().count() + piece.chars().count() > MOST_LOGGED;
        match lines.last_mut().filter(|line| !full(line)) {
            Some(line) => line.push_str(&piece),
            None => lines.push(piece),
        }
    }
    lines
}

/// An argument and a space; one that is too long for a line is in pieces.
fn pieces(arg: &OsStr) -> Vec<String> {
    let shown: Vec<char> = format!("{} ", quoted(arg)).chars().collect();
    shown.chunks(MOST_LOGGED).map(|piece| piece.iter().collect()).collect()
}

impl Recipe<'_> {
    /// The host for this start, with the descriptors' numbers of `sockets`.
    fn host_with(&self, sockets: &Sockets, three_d: bool) -> HostFacts {
        let [gpu_fd, qmp_fd, serial_fd] = sockets.child_numbers();
        HostFacts { gpu_fd, qmp_fd, serial: SerialSink::Socket(serial_fd), three_d, ..self.host.clone() }
    }

    /// Starts QEMU and its device, which has 3D if there is a renderer. The error is one sentence.
    pub fn start(&self, generation: Generation, accel: Accel, renderer: Option<Client>) -> Result<Qemu, String> {
        let sockets = Sockets::new().map_err(|error| {
            format!("cannot make QEMU's sockets ({error}); end another guest and start this one again")
        })?;
        let host = self.host_with(&sockets, renderer.is_some());
        let transport = transport::choose(self.definition.gpu.transport, &host).map_err(|error| error.to_string())?;
        let line = command_line(self.definition, &host, accel).map_err(|error| error.to_string())?;
        tracing::info!(program = %line.program.display(), "starting QEMU");
        for args in in_lines(&line.args) {
            tracing::info!(args = %args.trim_end(), "with");
        }
        let (mut process, [gpu_socket, qmp_socket, serial_socket]) = process::start(&line, sockets)?;
        let modes = watch::Sender::new(self.modes());
        let screen_told = Arc::new(AtomicBool::new(false));
        let device = self.start_device(renderer, transport, gpu_socket, &modes, &screen_told)?;
        let words = LastWords::of(&line);
        let stderr = process.take_stderr();
        let (pid, (killer, waiter)) = (process.id, process.split());
        let qemu_log = self.logs.join("qemu.log");
        let said = words.clone();
        let stderr = tokio::spawn(async move {
            if let Some(stderr) = stderr {
                process::collect(stderr, &qemu_log, Some(said)).await;
            }
        });
        let serial = tokio::spawn(collect_serial(serial_socket, self.logs.join("serial.log")));
        let talk = tokio::spawn(talk(
            generation,
            qmp_socket,
            self.events.clone(),
            host.has_display(transport).then(|| (self.modes(), modes.subscribe())),
        ));
        let events = self.events.clone();
        tokio::spawn(async move {
            let exit = waiter.wait().await;
            // What QEMU said before it ended is told before its end is.
            let rest = async { tokio::join!(stderr, serial, talk) };
            if timeout(LAST_WORDS, rest).await.is_err() {
                tracing::warn!("something holds QEMU's connections open after its end");
            }
            let _ = events.send(MachineEvent::Exited(generation, exit)).await;
        });
        let started = Instant::now();
        Ok(Qemu {
            generation,
            pid,
            started,
            killer,
            device,
            modes,
            screen_told,
            leds: None,
            device_ended: false,
            qmp: None,
            words,
        })
    }

    /// What the guest finds when it starts.
    fn modes(&self) -> Modes {
        let mut modes = Modes::default();
        for mode in modes.iter_mut().take(usize::try_from(self.definition.gpu.scanouts).unwrap_or(1)) {
            *mode = Some(PreferredMode::NO_DISPLAY);
        }
        if let Some(first) = modes.first_mut() {
            *first = Some(self.mode);
        }
        modes
    }

    fn start_device(
        &self,
        renderer: Option<Client>,
        transport: Transport,
        socket: UnixStream,
        modes: &watch::Sender<Modes>,
        screen_told: &Arc<AtomicBool>,
    ) -> Result<DeviceHandle, String> {
        let config = DeviceConfig {
            transport,
            scanouts: self.definition.gpu.scanouts,
            mode: self.mode,
            background: self.definition.background,
            ..DeviceConfig::default()
        };
        let (frames, from_device) = mpsc::channel(TO_SCREEN_DEPTH);
        *self.report.lock().unwrap_or_else(PoisonError::into_inner) = crate::frames::GpuReport::default();
        let device = gpu::spawn(config, renderer, socket, frames, self.report.clone()).map_err(|error| {
            format!("cannot start the display device ({error}); end another guest and start this one again")
        })?;
        let sender = device.sender();
        let (modes, screen_told) = (modes.clone(), screen_told.clone());
        let tell = move |message| {
            // The device knows before the guest asks it.
            sender.send(message);
            if let ToDevice::Mode { id, mode } = message {
                screen_told.store(true, Ordering::Relaxed);
                want(&modes, id, mode);
            }
        };
        self.screen.device(from_device, Box::new(tell));
        Ok(device)
    }
}

async fn talk(
    generation: Generation,
    socket: UnixStream,
    events: mpsc::Sender<MachineEvent>,
    modes: Option<(Modes, watch::Receiver<Modes>)>,
) {
    let mut said = match Qmp::open(socket).await {
        Ok((qmp, said)) => {
            if let Some((known, modes)) = modes {
                tokio::spawn(display::run(generation, qmp.clone(), known, modes, events.clone()));
            }
            if events.send(MachineEvent::QmpReady(generation, qmp)).await.is_err() {
                return;
            }
            said
        }
        Err(error) => {
            let _ = events.send(MachineEvent::QmpFailed(generation, error)).await;
            return;
        }
    };
    while let Some(event) = said.recv().await {
        if events.send(MachineEvent::Qmp(generation, event)).await.is_err() {
            return;
        }
    }
}

async fn collect_serial(socket: UnixStream, log: std::path::PathBuf) {
    let stream = socket.set_nonblocking(true).and_then(|()| tokio::net::UnixStream::from_std(socket));
    match stream {
        Ok(stream) => process::collect(stream, &log, None).await,
        Err(error) => tracing::warn!(%error, "the guest's serial port is not written down"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_command_line_is_logged_in_lines_that_are_not_cut() {
        let mut args: Vec<OsString> = (0..200).map(|number| format!("argument-number-{number}").into()).collect();
        args.push("x".repeat(4000).into());
        args.push("the network".into());
        let lines = in_lines(&args);
        assert!(lines.iter().all(|line| line.chars().count() <= MOST_LOGGED));
        const { assert!(MOST_LOGGED + 200 < phyllome_protocol::log_line::MOST, "there is room for time and place") };
        let whole: String = args.iter().map(|arg| format!("{} ", quoted(arg))).collect();
        assert_eq!(lines.concat(), whole);
        assert_eq!(in_lines(&[OsString::from("-name"), OsString::from("a b")]), ["-name 'a b' "]);
    }
}
