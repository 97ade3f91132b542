//! The machine in which all is measured, and the verbs of a measurement in it: start a compositor, start the guest, let
//! it flush, read counters.

use super::compositors::{Compositor, Renderer};
use super::figures::{Burst, Rest, Sample, pairs, sum_of};
use super::trace::{self, Event};
use crate::played::options::PLAYED;
use crate::programs::program;
use anyhow::{Context, Result, ensure};
use phyllome_test_machine::{Gpu, Machine, MachineOptions, Monitors, Process, Program, wait_for};
use std::path::PathBuf;
use std::time::Duration;

/// The shell's configuration, seen from inside.
pub const CONFIG: &str = "/share/config";
/// The guest's name.
const GUEST: &str = "bench";
/// Where the guest hears orders, seen from inside.
const ORDERS: &str = "/tmp/bench/orders";
const STATE: &str = "/tmp/bench/state";
/// QEMU's name leads to the played guest here.
const PATH: &str = "/tmp/bench/bin:/usr/local/bin:/usr/bin:/usr/sbin";
/// Software GL on an emulated processor of a busy computer.
const START: Duration = Duration::from_secs(120);
const SOON: Duration = Duration::from_secs(30);
/// How long the compositors are watched at rest, in seconds of the machine's own time.
const SPAN: u32 = 10;

/// The environment in which phyllome's programs find the played guest.
pub fn with_environment(program: Program) -> Program {
    program.env("PATH", PATH).env("XDG_STATE_HOME", STATE)
}

/// How much is measured in a run.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Pictures in each burst.
    pub pictures: u32,
    /// Milliseconds between two of them: prime to the refresh, so that they come at any time between two vblanks.
    pub pace: u32,
    /// Whether the guest also floods, and rest is watched.
    pub long: bool,
}

/// The machine.
pub struct Bed {
    machine: Machine,
    reports: u32,
}

impl Bed {
    /// Boots it. `counted`: time runs as instructions do.
    pub fn boot(counted: bool) -> Result<Self> {
        let programs = ["phyllome-shell", "phyllome", "phyllome-guest", "played-guest"];
        let options = MachineOptions {
            programs: programs.into_iter().map(program).collect::<Result<_>>()?,
            gpus: vec![Gpu::Virtio(Monitors { outputs: 1, ..Monitors::default() })],
            cpus: if counted { 1 } else { 2 },
            counted,
            ..MachineOptions::default()
        };
        let machine = Machine::boot(options)?;
        let guests = machine.share().join("config/guests");
        std::fs::create_dir_all(&guests)?;
        std::fs::write(guests.join(format!("{GUEST}.toml")), guest_file())?;
        machine.sh(&format!(
            "mkdir -p /tmp/bench/bin {STATE} && mkfifo {ORDERS} && \
             ln -s /usr/local/bin/played-guest /tmp/bench/bin/qemu-system-x86_64"
        ))?;
        machine.root(trace::ENABLE).context("the machine's kernel does not trace")?;
        Ok(Self { machine, reports: 0 })
    }

    /// One run of a compositor from its start to its end.
    pub fn measure(&mut self, compositor: Compositor, renderer: Renderer, plan: Plan) -> Result<Sample> {
        self.machine.root(trace::CLEAR)?;
        let process = self.machine.spawn(compositor.name(), &compositor.program(renderer))?;
        let done = self.measure_running(compositor, &process, plan);
        let ended = self.end(compositor, &process);
        let sample = done.with_context(|| {
            let output = process.output();
            let lines: Vec<_> = output.lines().rev().take(3).collect();
            format!("{} ({}); its last words: {}", compositor.name(), renderer.word(), lines.join(" / "))
        })?;
        ended?;
        Ok(sample)
    }

    /// Only its start, so that what it reads from the disk is in memory.
    pub fn warm_up(&mut self, compositor: Compositor, renderer: Renderer) -> Result<()> {
        self.machine.root(trace::CLEAR)?;
        let process = self.machine.spawn(compositor.name(), &compositor.program(renderer))?;
        let started = self.wait_for_start(&process);
        self.end(compositor, &process)?;
        started.map(drop)
    }

    fn measure_running(&mut self, compositor: Compositor, process: &Process, plan: Plan) -> Result<Sample> {
        let mut sample = Sample { start: self.wait_for_start(process)?, ..Sample::default() };
        let guest = self.start_guest(compositor)?;
        let state = self.machine.read_text("/sys/kernel/debug/dri/0/state")?;
        sample.period = milliseconds(trace::period(&state).context("the kernel names no mode")?);
        // Not measured: the first pictures make textures, and GL compiles for them.
        for change in ["whole", "small"] {
            self.order(change, 3, plan.pace)?;
            self.last_picture(process)?;
        }
        sample.whole = self.burst(process, "whole", plan)?;
        sample.small = self.burst(process, "small", plan)?;
        sample.resident = self.resident(process)?;
        if plan.long {
            self.machine.root(trace::CLEAR)?;
            let times = self.order("small", plan.pictures, 0)?;
            let took = times.last().map_or(0, |last| last.1) - times.first().map_or(0, |first| first.0);
            // The first of them waited for no other.
            let paced = trace::flushes(&self.events()?).saturating_sub(1) as f64;
            sample.flood = Some(paced * sample.period / milliseconds(took).max(sample.period));
            sample.rest = Some(self.rest(process)?);
        }
        if let Some(guest) = guest {
            guest.kill()?;
        }
        Ok(sample)
    }

    fn wait_for_start(&self, process: &Process) -> Result<f64> {
        wait_for("a first picture", START, || {
            ensure!(process.ended()?.is_none(), "it has ended");
            Ok(trace::start_to_first_flush(&self.events()?, process.pid()).map(milliseconds))
        })
    }

    fn start_guest(&self, compositor: Compositor) -> Result<Option<Process>> {
        let Some(display) = compositor.display() else {
            let start = with_environment(Program::new("phyllome", &["start", GUEST]));
            wait_for("the shell's answer", SOON, || Ok(self.machine.run(&start)?.ok().ok()))?;
            return Ok(None);
        };
        let socket = format!("/run/user/1000/{display}");
        wait_for("the compositor's socket", SOON, || {
            Ok((self.machine.run(&Program::new("test", &["-S", &socket]))?.status == 0).then_some(()))
        })?;
        let file = format!("{CONFIG}/guests/{GUEST}.toml");
        let program = with_environment(Program::new("phyllome-guest", &["run", &file]));
        self.machine.spawn("guest", &program.env("WAYLAND_DISPLAY", display)).map(Some)
    }

    fn end(&self, compositor: Compositor, process: &Process) -> Result<()> {
        if compositor == Compositor::Ours {
            let _ = self.machine.run(&with_environment(Program::new("phyllome", &["kill", GUEST])));
        }
        if process.ended()?.is_none() {
            process.signal(15)?;
        }
        if process.wait(SOON).is_err() {
            process.kill()?;
            process.wait(SOON)?;
        }
        // Nothing of a run is there in the next: the guest has lost its window, or its shell.
        self.machine.root("killall -q -9 phyllome-guest played-guest; rm -rf /run/user/1000/phyllome; true")?;
        wait_for("the guest's end", SOON, || {
            let left = self.machine.run(&Program::script("pgrep -x 'phyllome-guest|played-guest|qemu-system-x86'"))?;
            Ok((left.status != 0).then_some(()))
        })
    }

    /// Lets the guest flush, and gives when it flushed and when it was answered.
    fn order(&mut self, change: &str, pictures: u32, pace: u32) -> Result<Vec<(u64, u64)>> {
        self.reports += 1;
        let name = format!("report-{}", self.reports);
        let report = self.machine.share().join("out").join(&name);
        self.machine.sh(&format!("echo /share/out/{name} {change} {pictures} {pace} > {ORDERS}"))?;
        wait_for("the guest's report", START, || Ok(report.exists().then_some(())))?;
        let times = pairs(&std::fs::read_to_string(report)?);
        ensure!(times.len() == pictures as usize, "the guest's report is short");
        Ok(times)
    }

    fn burst(&mut self, process: &Process, change: &str, plan: Plan) -> Result<Burst> {
        self.machine.root(trace::CLEAR)?;
        let before = self.cpu(process)?;
        let times = self.order(change, plan.pictures, plan.pace)?;
        let events = self.last_picture(process)?;
        let cpu = milliseconds(self.cpu(process)? - before) / trace::flushes(&events) as f64;
        let flushed: Vec<u64> = times.iter().map(|(flushed, _)| *flushed).collect();
        let flips = trace::flips_after(&events, &flushed).into_iter().map(milliseconds).collect();
        let fences = times.iter().map(|(flushed, fenced)| milliseconds(fenced - flushed)).collect();
        Ok(Burst { cpu, flips, fences })
    }

    /// Waits until the last picture is on the display and the compositor is at rest, and gives all that came to the
    /// display. A slow renderer is still at work when the guest has done, and shows some pictures together.
    fn last_picture(&self, process: &Process) -> Result<Vec<Event>> {
        let mut last = (0, 0);
        wait_for("the last picture", START, || {
            self.machine.root("sleep 0.5")?;
            let events = self.events()?;
            let now = (trace::flushes(&events), self.cpu(process)?);
            Ok((std::mem::replace(&mut last, now) == now && now.0 > 0).then_some(events))
        })
    }

    /// Waits until nothing happens for a second, and counts what happens after that.
    fn rest(&self, process: &Process) -> Result<Rest> {
        let mut last = self.switches(process)?;
        wait_for("rest", Duration::from_secs(20), || {
            std::thread::sleep(Duration::from_secs(1));
            let now = self.switches(process)?;
            Ok((std::mem::replace(&mut last, now) == now).then_some(()))
        })
        .or_else(|error| if error.to_string().contains("rest") { Ok(()) } else { Err(error) })?;
        self.machine.root(trace::CLEAR)?;
        let before = self.switches(process)?;
        self.machine.root(&format!("sleep {SPAN}"))?;
        let switches = (self.switches(process)? - before) as f64;
        Ok(Rest { flips: trace::flushes(&self.events()?) as f64, switches })
    }

    fn events(&self) -> Result<Vec<Event>> {
        Ok(trace::parse(&self.machine.read_text(trace::FILE)?))
    }

    /// Processor time of all its threads in nanoseconds.
    fn cpu(&self, process: &Process) -> Result<u64> {
        let script = format!("sed 's/^/cpu /' /proc/{}/task/*/schedstat", process.pid());
        Ok(sum_of(&self.machine.root(&script)?, &["cpu "]))
    }

    fn switches(&self, process: &Process) -> Result<u64> {
        let script = format!("cat /proc/{}/task/*/status", process.pid());
        let keys = ["voluntary_ctxt_switches:", "nonvoluntary_ctxt_switches:"];
        Ok(sum_of(&self.machine.root(&script)?, &keys))
    }

    fn resident(&self, process: &Process) -> Result<f64> {
        let status = self.machine.read_text(&format!("/proc/{}/status", process.pid()))?;
        Ok(sum_of(&status, &["RssAnon:", "RssFile:"]) as f64 / 1024.0)
    }

    /// The machine's folder of logs, kept for whoever wants to know why something could not be measured.
    pub fn keep(&self) -> PathBuf {
        self.machine.keep("bench-kms")
    }
}

fn milliseconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e6
}

fn guest_file() -> String {
    let cmdline = phyllome_test_guests::cmdline(GUEST, "blue", phyllome_test_guests::Mode::Quiet);
    format!(
        "profile = \"linux\"\nslot = 1\nmemory = \"64MiB\"\ncpus = 1\n\n[label]\ncolor = \"blue\"\n\n\
         [machine]\naccel = \"tcg\"\nfirmware = \"none\"\n\n\
         [boot]\nkernel = \"/proc/version\"\ncmdline = \"{cmdline} {PLAYED} phyllome.orders={ORDERS}\"\n\n\
         [network]\nmode = \"none\"\n"
    )
}
