//! A running machine: QEMU with its sockets in a temporary folder, and the agent inside. Dropping it ends it; dropping
//! it in a failing test first saves screenshots, kernel log and all programs' outputs in a folder that is printed.

use crate::again::Noted;
use crate::agent::Agent;
use crate::inside::{Inside, SOON};
use crate::options::{Gpu, MachineOptions};
use crate::picture::Picture;
use crate::program::{Process, Program};
use crate::qmp::Qmp;
use crate::{command_line, image, initrd, keys};
use anyhow::{Context, Result, bail};
use phyllome_test_support::wait;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::ops::Deref;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The longest that a start may take: minutes on a busy computer, where 10 s are usual.
const BOOT: Duration = Duration::from_secs(240);

/// What QEMU says then.
const ABORTS: &str = "iotlb_to_section: Assertion";
/// So often it is tried.
const STARTS: u32 = 3;

/// A running machine.
pub struct Machine {
    folder: tempfile::TempDir,
    pub(crate) options: MachineOptions,
    qemu: Child,
    guard: Option<(Child, ChildStdin)>,
    qmp: Qmp,
    inside: Inside,
    booted: Duration,
    failed: bool,
    /// What it was like after its start, if somebody else may use it later.
    pub(crate) noted: Option<Noted>,
    touched: Mutex<Touched>,
}

/// What tests have changed from outside and not changed back.
#[derive(Debug, Default)]
struct Touched {
    keys: BTreeSet<String>,
    buttons: BTreeSet<String>,
    outputs: BTreeSet<u32>,
}

impl Deref for Machine {
    type Target = Inside;

    fn deref(&self) -> &Inside {
        &self.inside
    }
}

impl Machine {
    /// Starts a machine and waits until its agent answers. Makes the image first where there is none.
    ///
    /// QEMU before 11 aborts now and then while a machine sets its devices up on several emulated processors
    /// ([`ABORTS`]): such a start says nothing of what is tested, and is made again. This can go with the last of those
    /// versions.
    pub fn boot(options: MachineOptions) -> Result<Self> {
        for _ in 1..STARTS {
            match Self::boot_once(options.clone()) {
                Err(error) if format!("{error:#}").contains(ABORTS) => eprintln!("started again: {error:#}"),
                done => return done,
            }
        }
        Self::boot_once(options)
    }

    fn boot_once(options: MachineOptions) -> Result<Self> {
        let image = image::ensure()?;
        let initrd = initrd::ensure(&image)?;
        let folder = tempfile::Builder::new().prefix("machine").tempdir()?;
        let path = folder.path();
        for name in ["share", "share/bin", "share/out", "shots"] {
            fs::create_dir(path.join(name))?;
        }
        fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
        fs::set_permissions(path.join("share/out"), fs::Permissions::from_mode(0o777))?;
        for program in &options.programs {
            strip(program, &path.join("share/bin"))?;
        }
        for file in &options.files {
            let target = path.join("share").join(file.file_name().context("a file without a name")?);
            fs::copy(file, target).with_context(|| format!("cannot copy {}", file.display()))?;
        }

        let start = Instant::now();
        let log = File::create(path.join("qemu.log"))?;
        let mut command = Command::new("qemu-system-x86_64");
        command.args(command_line::arguments(&options, path, &image, &initrd));
        // A display that nobody sees; what it shows is asked for by screendumps.
        command.env("SDL_VIDEODRIVER", "offscreen");
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let mut qemu = command.spawn().context("cannot run qemu-system-x86_64; `cargo xtask setup` installs it")?;
        let guard = guard(qemu.id(), path);
        let connected = connect(path, &mut qemu);
        let (qmp, agent) = match connected {
            Ok(connected) => connected,
            Err(error) => {
                let _ = qemu.kill();
                let _ = qemu.wait();
                return Err(error);
            }
        };
        let guard = guard.ok();
        let mut machine = Self {
            folder,
            options,
            qemu,
            guard,
            qmp,
            inside: Inside { agent: Arc::new(agent), place: "machine" },
            booted: Duration::ZERO,
            failed: false,
            noted: None,
            touched: Mutex::default(),
        };
        machine.wait_for_agent(start + BOOT)?;
        machine.booted = start.elapsed();
        Ok(machine)
    }

    fn wait_for_agent(&mut self, deadline: Instant) -> Result<()> {
        while !self.inside.agent.is_ready(Duration::from_millis(100)) {
            let gone = self.qemu.try_wait()?.is_some();
            if gone || Instant::now() > deadline {
                let kept = self.keep("boot");
                let words = fs::read_to_string(self.folder.path().join("qemu.log")).unwrap_or_default();
                bail!(
                    "the machine did not come up ({}); its last words: {}; logs are in {}",
                    if gone { format!("QEMU has ended: {}", words.trim()) } else { "its agent is silent".to_owned() },
                    last_lines(&self.kernel_log(), 8),
                    kept.display()
                );
            }
        }
        Ok(())
    }

    /// From now on it is the machine of a failed test: what it leaves is kept when it is dropped, as it is when a test
    /// panics.
    pub fn failed(&mut self) {
        self.failed = true;
    }

    /// How long it took from QEMU's start to the agent's first word.
    pub fn boot_time(&self) -> Duration {
        self.booted
    }

    /// The folder that the machine sees as `/share`; everyone may write to its `out`.
    pub fn share(&self) -> PathBuf {
        self.folder.path().join("share")
    }

    /// A file below the shared folder's `out`, as far as it is written; nothing where there is none.
    pub fn out(&self, name: &str) -> Vec<u8> {
        fs::read(self.share().join("out").join(name)).unwrap_or_default()
    }

    /// The kernel's messages on the serial console.
    pub fn kernel_log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.folder.path().join("serial.log")).unwrap_or_default()).into_owned()
    }

    // Programs inside.

    /// Starts a program; both its outputs go to `out/NAME.log` of the shared folder.
    pub fn spawn(&self, name: &str, program: &Program) -> Result<Process> {
        let log = self.share().join("out").join(format!("{name}.log"));
        let inside = format!("/share/out/{name}.log");
        let answer = self.ask(&program.request("spawn", &inside, &inside), SOON)?;
        let pid = String::from_utf8_lossy(answer.first().context("no process id")?).parse()?;
        Ok(Process { agent: self.inside.agent.clone(), pid, name: name.to_owned(), log })
    }

    /// Waits until a condition gives something, looking ten times a second; an error of the condition ends the wait.
    pub fn wait_for<T>(&self, what: &str, limit: Duration, condition: impl FnMut() -> Result<Option<T>>) -> Result<T> {
        wait_for(what, limit, condition)
    }

    // The display, seen from outside.

    /// What is scanned out on an output of the first display device.
    pub fn screendump(&self, head: u32) -> Result<Picture> {
        self.screendump_of(0, head)
    }

    /// What is scanned out on an output of a display device.
    pub fn screendump_of(&self, gpu: usize, head: u32) -> Result<Picture> {
        let file = tempfile::Builder::new().suffix(".ppm").tempfile_in(self.folder.path().join("shots"))?;
        self.qmp.call(
            "screendump",
            json!({ "filename": file.path(), "device": format!("gpu{gpu}"), "head": head, "format": "ppm" }),
        )?;
        Picture::parse_ppm(&fs::read(file.path())?)
    }

    /// Waits until what an output shows satisfies a condition; the last picture of a failure is among the kept files.
    pub fn wait_picture(
        &self,
        what: &str,
        head: u32,
        limit: Duration,
        condition: impl Fn(&Picture) -> bool,
    ) -> Result<Picture> {
        wait_for(&format!("{what} on output {head}"), limit, || {
            let picture = self.screendump(head)?;
            Ok(condition(&picture).then_some(picture))
        })
    }

    /// Where the size of the monitor on an output of the first display device is told to QEMU.
    pub(crate) fn monitor_socket(&self, head: u32) -> PathBuf {
        self.folder.path().join(format!("vnc-0-{head}"))
    }

    fn touched(&self) -> std::sync::MutexGuard<'_, Touched> {
        self.touched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a monitor is not as it was at the start.
    pub(crate) fn touch_output(&self, head: u32) {
        self.touched().outputs.insert(head);
    }

    /// The monitors that were there at the start, and no others.
    pub(crate) fn outputs_as_before(&self) -> Result<()> {
        let outputs = std::mem::take(&mut self.touched().outputs);
        let first = self.options.gpus.first().and_then(Gpu::monitors);
        let first = first.map(|monitors| (monitors.width as u16, monitors.height as u16));
        for head in outputs {
            self.set_output(head, first.filter(|_| head == 0))?;
        }
        self.touched().outputs.clear();
        Ok(())
    }

    /// Releases keys and buttons that are held.
    pub(crate) fn release_all(&self) -> Result<()> {
        let (keys, buttons) = {
            let touched = self.touched();
            (touched.keys.clone(), touched.buttons.clone())
        };
        keys.iter().try_for_each(|key| self.key(key, false))?;
        buttons.iter().try_for_each(|button| self.button(button, false))
    }

    // Keys and pointers.

    /// Presses keys in this order and releases them in the other: `&["ctrl", "alt", "f2"]`.
    pub fn press(&self, names: &[&str]) -> Result<()> {
        names.iter().try_for_each(|name| self.key(name, true))?;
        names.iter().rev().try_for_each(|name| self.key(name, false))
    }

    /// Presses or releases one key.
    pub fn key(&self, name: &str, down: bool) -> Result<()> {
        note(&mut self.touched().keys, name, down);
        let key = json!({ "type": "qcode", "data": keys::code(name) });
        self.input(&[json!({ "type": "key", "data": { "down": down, "key": key } })])
    }

    /// Types a text as on a US keyboard.
    pub fn type_text(&self, text: &str) -> Result<()> {
        for character in text.chars() {
            let keys = keys::of_character(character)?;
            self.press(&keys.iter().map(String::as_str).collect::<Vec<_>>())?;
        }
        Ok(())
    }

    /// Ctrl+Alt+Fn.
    pub fn vt_switch(&self, number: u32) -> Result<()> {
        self.press(&["ctrl", "alt", &format!("f{number}")])
    }

    /// Moves the tablet's pointer to a pixel of a screen of this size.
    pub fn move_pointer(&self, (x, y): (u32, u32), (width, height): (u32, u32)) -> Result<()> {
        // The middle of the pixel, so that rounding inside cannot miss it.
        let scale = |at: u32, size: u32| (u64::from(at) * 2 + 1) * 0x8000 / (u64::from(size.max(1)) * 2);
        self.move_pointer_abs(scale(x, width) as u32, scale(y, height) as u32)
    }

    /// Moves the tablet's pointer; 0 to 32767 is its whole width and height.
    pub fn move_pointer_abs(&self, x: u32, y: u32) -> Result<()> {
        let axis = |axis: &str, value: u32| json!({ "type": "abs", "data": { "axis": axis, "value": value } });
        self.input(&[axis("x", x.min(0x7fff)), axis("y", y.min(0x7fff))])
    }

    /// Moves the mouse by so many counts.
    pub fn move_pointer_by(&self, x: i32, y: i32) -> Result<()> {
        let axis = |axis: &str, value: i32| json!({ "type": "rel", "data": { "axis": axis, "value": value } });
        self.input(&[axis("x", x), axis("y", y)])
    }

    /// Presses or releases a button: `left`, `middle`, `right`; `wheel-up`, `wheel-down` turn the wheel.
    pub fn button(&self, name: &str, down: bool) -> Result<()> {
        note(&mut self.touched().buttons, name, down);
        self.input(&[json!({ "type": "btn", "data": { "down": down, "button": name } })])
    }

    /// Presses and releases a button.
    pub fn click(&self, name: &str) -> Result<()> {
        self.button(name, true)?;
        self.button(name, false)
    }

    fn input(&self, events: &[Value]) -> Result<()> {
        self.qmp.call("input-send-event", json!({ "events": events })).map(drop)
    }

    /// A command of QEMU's own control socket.
    pub fn qmp(&self, command: &str, arguments: Value) -> Result<Value> {
        self.qmp.call(command, arguments)
    }

    // What is left of a failure.

    /// Saves screenshots, kernel log and the shared folder's `out` in a new folder, and gives its path.
    pub fn keep(&self, name: &str) -> PathBuf {
        let name: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        let target = std::env::temp_dir().join(format!("phyllome-machine-{name}-{}", std::process::id()));
        let _ = fs::create_dir_all(&target);
        for (number, gpu) in self.options.gpus.iter().enumerate() {
            for head in 0..gpu.monitors().map_or(0, |monitors| monitors.outputs) {
                if let Ok(picture) = self.screendump_of(number, head) {
                    let _ = picture.write(&target.join(format!("screen-{number}-{head}.png")));
                }
            }
        }
        let limit = Duration::from_secs(10);
        let scripts = [
            ("dmesg.log", "dmesg"),
            ("journal.log", "journalctl -b --no-pager 2>/dev/null | tail -n 2000; cat /run/machine/*.log"),
            ("processes.log", "ps axfww -o pid,user,stat,time,args"),
        ];
        for (file, script) in scripts {
            // Once the agent is silent, it would be silent for every other.
            match self.run_within(&Program::script(script).user("root"), limit) {
                Ok(output) => drop(fs::write(target.join(file), output.stdout + &output.stderr)),
                Err(_) => break,
            }
        }
        let out = self.share().join("out");
        for entry in fs::read_dir(out).into_iter().flatten().flatten() {
            let _ = fs::copy(entry.path(), target.join(entry.file_name()));
        }
        for file in ["serial.log", "qemu.log"] {
            let _ = fs::copy(self.folder.path().join(file), target.join(file));
        }
        target
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if self.failed || std::thread::panicking() || std::env::var_os("PHYLLOME_KEEP_MACHINE").is_some() {
            let name = std::thread::current().name().unwrap_or("test").to_owned();
            eprintln!("what the machine has left is in {}", self.keep(&name).display());
        }
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
        if let Some((mut guard, mut line)) = self.guard.take() {
            let _ = line.write_all(b"done\n");
            drop(line);
            let _ = guard.wait();
        }
    }
}

/// Waits until a condition gives something, looking ten times a second; an error of the condition ends the wait.
pub fn wait_for<T>(what: &str, limit: Duration, condition: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    wait::value_every(Duration::from_millis(100), what, limit, condition)
}

/// A small process that ends QEMU and deletes its folder if this one goes without a word: killed, or at its end with
/// machines that nobody uses. Not tied to the thread that started the machine.
fn guard(qemu: u32, folder: &Path) -> Result<(Child, ChildStdin)> {
    let script = "read -r word; [ \"$word\" = done ] || { kill -s KILL \"$0\"; rm -rf \"$1\"; }";
    let mut child = Command::new("sh")
        .args(["-c", script, &qemu.to_string()])
        .arg(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let line = child.stdin.take().context("no pipe")?;
    Ok((child, line))
}

fn connect(folder: &Path, qemu: &mut Child) -> Result<(Qmp, Agent)> {
    let deadline = Instant::now() + SOON;
    let (control, port) = (folder.join("qmp"), folder.join("agent"));
    while !(control.exists() && port.exists()) {
        let ended = qemu.try_wait()?;
        if ended.is_some() || Instant::now() > deadline {
            bail!("QEMU did not start: {}", fs::read_to_string(folder.join("qemu.log")).unwrap_or_default().trim());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let mut last = None;
    while Instant::now() < deadline {
        match Qmp::connect(&control) {
            Ok(qmp) => return Ok((qmp, Agent::connect(&port)?)),
            Err(error) => last = Some(error),
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Err(last.context("QEMU's control socket does not answer")?)
}

fn note(held: &mut BTreeSet<String>, name: &str, down: bool) {
    if down {
        held.insert(name.to_owned());
    } else {
        held.remove(name);
    }
}

/// Copies a program without its debug information, which is most of it.
pub(crate) fn strip(program: &Path, folder: &Path) -> Result<()> {
    let target = folder.join(program.file_name().context("a program without a name")?);
    let mut strip = Command::new("strip");
    strip.arg("--strip-debug").arg("-o").arg(&target).arg(program).stderr(Stdio::null());
    if !strip.status().is_ok_and(|status| status.success()) {
        fs::copy(program, &target).with_context(|| format!("cannot copy {}", program.display()))?;
    }
    fs::set_permissions(&target, fs::Permissions::from_mode(0o755))?;
    Ok(())
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}
