//! What the tests on the KMS test machine share: machines, and a shell with guests in them.
//!
//! A machine is started once for all tests that want the same hardware; each finds it as it was after its start (see
//! [`phyllome_test_machine::again`]). A test whose machine cannot be made here says why and is skipped; one that fails
//! leaves screenshots and logs in a folder that is printed.

#![allow(dead_code, reason = "each test file uses its part of it")]

use anyhow::{Context, Result, bail, ensure};
use phyllome_protocol::status::{GuestState, GuestStatus, Status};
use phyllome_test_guests::Mode;
use phyllome_test_machine::picture::Picture;
use phyllome_test_machine::{Gpu, Machine, MachineOptions, Output, Process, Program, again, image, wait_for};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What a person would wait for after a key press, on an emulated machine that may be busy.
pub const SOON: Duration = Duration::from_secs(30);

/// Where the shell's and its guests' logs lie, seen from inside; outside it is `out/state` of the shared folder.
const STATE: &str = "/share/out/state";

/// Where a device can be plugged in while the machine runs; each machine with a display has it, so that tests can share
/// one.
const PORT: [&str; 2] = ["-device", "pcie-root-port,id=port0,chassis=1,slot=1"];

/// Gives a test its machine: one that a test before it has left as it was, where there is one, else a new one.
pub fn on_machine(test: &str, options: MachineOptions, body: impl FnOnce(&mut Machine) -> Result<()>) -> Result<()> {
    if let Some(obstacle) = image::obstacle() {
        println!("SKIPPED: {test}: {obstacle}");
        return Ok(());
    }
    let mut options = options;
    if !options.suspends && !options.gpus.is_empty() {
        options.qemu.extend(PORT.map(str::to_owned));
    }
    let start = Instant::now();
    let mut machine = again::take(options)?;
    println!("a machine after {:.1} s", start.elapsed().as_secs_f64());
    let done = body(&mut machine);
    match &done {
        Ok(()) => again::give_back(machine),
        Err(_) => machine.failed(),
    }
    done
}

/// The name and the text of the file of a played guest (see [`phyllome_tests::played`]), whose picture is there in
/// milliseconds.
pub fn guest(name: &str, slot: u32, color: &str, mode: Mode) -> (String, String) {
    phyllome_tests::played_guest_file(name, slot, color, mode, "")
}

/// The same of a real one, in a QEMU inside the machine, which takes minutes to boot; and the files that the machine
/// needs for it.
pub fn nested_guest(name: &str, slot: u32, color: &str, mode: Mode) -> Result<((String, String), Vec<PathBuf>)> {
    let (name, mut text) = phyllome_tests::guest_file(name, slot, color, mode, "")?;
    let files = vec![phyllome_test_guests::guest_kernel()?, phyllome_test_guests::guest_initrd()?];
    for file in &files {
        let inside = Path::new("/share").join(file.file_name().context("a file without a name")?);
        text = text.replace(&file.display().to_string(), &inside.display().to_string());
    }
    Ok(((name, text), files))
}

/// Starts greetd (on a machine whose first process is systemd) and logs `person` in by the keyboard, into a session
/// that runs `command`.
pub fn log_in(machine: &Machine, command: &str) -> Result<()> {
    let config = format!(
        "[terminal]\nvt = 1\n[default_session]\ncommand = \"/usr/sbin/agreety --cmd '{command}'\"\nuser = \"_greetd\"\n"
    );
    // systemd does not wait for drivers: what is typed before there is a keyboard is lost.
    wait_for("the keyboard", SOON, || {
        let devices = String::from_utf8_lossy(&machine.read("/proc/bus/input/devices")?).into_owned();
        Ok(devices.contains("QEMU Virtio Keyboard").then_some(()))
    })?;
    machine.root("udevadm settle --timeout=30")?;
    machine.write("/etc/greetd/config.toml", 0o644, config.as_bytes())?;
    machine.root("systemctl start greetd")?;
    for prompt in ["login:", "Password:"] {
        wait_for(&format!("greetd's {prompt}"), SOON, || {
            let terminal = String::from_utf8_lossy(&machine.read("/dev/vcs1")?).into_owned();
            Ok(terminal.contains(prompt).then_some(()))
        })?;
        machine.type_text("person\n")?;
    }
    wait_for("a session of person", SOON, || {
        let sessions = machine.root("loginctl list-sessions --no-legend")?;
        let has = |line: &str, wanted: &str| line.split_whitespace().any(|word| word == wanted);
        Ok(sessions.lines().any(|line| has(line, "person") && has(line, "seat0")).then_some(()))
    })
}

/// How the shell of a rig is started.
#[derive(Clone, Debug)]
pub struct RigOptions {
    /// The machine; its programs are set by the rig.
    pub machine: MachineOptions,
    /// More arguments of phyllome-shell, such as `--renderer pixman`.
    pub shell: Vec<String>,
    /// More variables of its environment.
    pub variables: Vec<(&'static str, &'static str)>,
    /// The text of `shell.toml`, if there is one.
    pub config: Option<String>,
    /// Names and texts of guest files.
    pub guests: Vec<(String, String)>,
    /// Whether the shell is started at once.
    pub start: bool,
}

impl RigOptions {
    /// With these guests.
    pub fn new(guests: &[(String, String)]) -> Result<Self> {
        let machine = MachineOptions::with_shell()?;
        let (shell, variables, guests) = (Vec::new(), Vec::new(), guests.to_vec());
        Ok(Self { machine, shell, variables, config: None, guests, start: true })
    }

    /// With more arguments of phyllome-shell.
    pub fn shell(mut self, arguments: &[&str]) -> Self {
        self.shell.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        self
    }
}

/// A shell on the display of a machine.
pub struct Rig<'a> {
    /// The machine.
    pub machine: &'a mut Machine,
    options: RigOptions,
    shell: Option<Process>,
    starts: u32,
}

/// Gives a test a machine whose shell runs on KMS and answers.
pub fn on_rig(test: &str, options: RigOptions, body: impl FnOnce(&mut Rig) -> Result<()>) -> Result<()> {
    on_machine(test, options.machine.clone(), |machine| {
        let mut rig = Rig { machine, options, shell: None, starts: 0 };
        rig.prepare()?;
        if rig.options.start {
            rig.start_shell()?;
        }
        body(&mut rig)
    })
}

impl Rig<'_> {
    fn prepare(&mut self) -> Result<()> {
        let folder = "/home/person/.config/phyllome";
        self.machine.sh(&format!("mkdir -p {folder}/guests {STATE}"))?;
        for (name, text) in &self.options.guests {
            self.machine.write(&format!("{folder}/guests/{name}.toml"), 0o644, text.as_bytes())?;
        }
        if let Some(config) = &self.options.config {
            self.machine.write(&format!("{folder}/shell.toml"), 0o644, config.as_bytes())?;
        }
        self.machine.root("chown -R person: /home/person/.config").map(drop)
    }

    /// A program in the environment of the shell.
    pub fn program(&self, name: &str, arguments: &[&str]) -> Program {
        Program::new(name, arguments).env("XDG_STATE_HOME", STATE).env("RUST_BACKTRACE", "0")
    }

    /// Starts the shell and waits until it answers.
    pub fn start_shell(&mut self) -> Result<()> {
        let mut arguments = vec!["--backend", "kms"];
        arguments.extend(self.options.shell.iter().map(String::as_str));
        let program = self.program("phyllome-shell", &arguments);
        let program = self.options.variables.iter().fold(program, |program, (name, value)| program.env(name, value));
        self.starts += 1;
        let shell = self.machine.spawn(&format!("shell-{}", self.starts), &program)?;
        let answers = wait_for("an answer of the shell", SOON, || {
            if let Some(status) = shell.ended()? {
                bail!("the shell ended with {status}: {}", shell.output());
            }
            Ok((self.tool(&["status", "--json"])?.status == 0).then_some(()))
        });
        answers.with_context(|| format!("the shell said: {}", shell.output()))?;
        self.shell = Some(shell);
        Ok(())
    }

    /// The shell's process.
    pub fn shell(&self) -> Result<&Process> {
        self.shell.as_ref().context("no shell runs")
    }

    /// Kills the shell (signal 9) and waits for its end.
    pub fn kill_shell(&mut self) -> Result<()> {
        let shell = self.shell.take().context("no shell runs")?;
        shell.kill()?;
        shell.wait(SOON).map(drop)
    }

    /// How often the threads of the shell were woken up or took the processor in so many seconds, by a count of the
    /// kernel's.
    pub fn wake_ups(&self, seconds: u32) -> Result<i64> {
        let pid = self.shell()?.pid();
        let count = format!("cat /proc/{pid}/task/*/status | awk '/ctxt_switches/ {{ n += $2 }} END {{ print n }}'");
        let counts = self.machine.root(&format!("{count}; sleep {seconds}; {count}"))?;
        let counts: Vec<i64> = counts.lines().map(str::parse).collect::<Result<_, _>>()?;
        let [before, after] = counts[..] else { bail!("two counts, not {counts:?}") };
        Ok(after - before)
    }

    /// Runs the command-line tool.
    pub fn tool(&self, arguments: &[&str]) -> Result<Output> {
        self.machine.run(&self.program("phyllome", arguments))
    }

    /// Runs it and expects exit code 0; gives what it printed.
    pub fn run(&self, arguments: &[&str]) -> Result<String> {
        self.tool(arguments)?.ok().with_context(|| format!("phyllome {arguments:?}"))
    }

    /// `phyllome status --json`.
    pub fn status(&self) -> Result<Status> {
        Ok(serde_json::from_str(&self.run(&["status", "--json"])?)?)
    }

    /// One guest of the status.
    pub fn guest(&self, name: &str) -> Result<GuestStatus> {
        let status = self.status()?;
        status.guests.into_iter().find(|g| g.name.as_str() == name).with_context(|| format!("status has no {name}"))
    }

    /// Waits until a condition holds of the status; the last status is in the error.
    pub fn wait(&self, what: &str, limit: Duration, condition: impl Fn(&Status) -> bool) -> Result<Status> {
        let mut last = String::new();
        let found = wait_for(what, limit, || {
            let status = self.status()?;
            last = serde_json::to_string(&status)?;
            Ok(condition(&status).then_some(status))
        });
        found.with_context(|| format!("the last status is {last}"))
    }

    /// Waits until the guest is in this state.
    pub fn wait_state(&self, name: &str, state: GuestState, limit: Duration) -> Result<Status> {
        self.wait(&format!("{name} {}", state.word()), limit, |status| {
            status.guests.iter().any(|g| g.name.as_str() == name && g.state == state)
        })
    }

    /// A guest's serial console so far.
    pub fn serial(&self, guest: &str) -> String {
        String::from_utf8_lossy(&self.machine.out(&format!("state/phyllome/logs/{guest}/serial.log"))).into_owned()
    }

    /// Waits until the guest's serial console holds a text.
    pub fn wait_serial(&self, guest: &str, text: &str, limit: Duration) -> Result<String> {
        let found = wait_for(&format!("{guest} says {text:?}"), limit, || {
            Ok(Some(self.serial(guest)).filter(|serial| serial.contains(text)))
        });
        found.with_context(|| format!("{guest} said: {}", self.serial(guest)))
    }

    /// What the shell itself says that it shows: `phyllome screenshot` with more arguments, such as `--output NAME`.
    pub fn screenshot(&self, arguments: &[&str]) -> Result<Picture> {
        self.run(&[&["screenshot", "/share/out/screenshot.png"], arguments].concat())?;
        Picture::parse_png(&self.machine.out("screenshot.png"))
    }

    /// Whether a graphics device of the machine draws by itself: nobody outside sees then what it shows.
    pub fn draws(&self) -> bool {
        self.options.machine.gpus.iter().any(|gpu| matches!(gpu, Gpu::VirtioGl(_)))
    }

    /// What is truly scanned out on an output.
    pub fn scanned_out(&self, head: u32) -> Result<Picture> {
        let picture = self.machine.screendump(head)?;
        ensure!(picture.width > 0 && picture.height > 0, "an empty picture");
        Ok(picture)
    }
}
