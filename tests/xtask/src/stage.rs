//! The demo's own small world in a temporary folder: configuration, guests, runtime folder, logs, and a shell in it.
//!
//! Whatever happens, dropping the stage ends the shell and every process that was started in its runtime folder.

use crate::{cargo, processes};
use anyhow::{Context, Result, bail};
use phyllome_test_guests as guests;
use phyllome_test_guests::Mode;
use serde_json::Value;
use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Name, colour, pattern and mode of the demo guests, in the order of their slots.
pub const GUESTS: [(&str, &str, &str, Mode); 9] = [
    ("work", "red", "solid", Mode::Prompt),
    ("play", "blue", "stripes", Mode::Animate),
    ("mail", "green", "dots", Mode::Prompt),
    ("lab", "purple", "checks", Mode::Flip),
    ("bank", "yellow", "solid", Mode::Prompt),
    ("web", "orange", "stripes", Mode::Prompt),
    ("files", "gray", "dots", Mode::Prompt),
    ("keys", "black", "checks", Mode::Evdev),
    ("calm", "#00796b", "solid", Mode::Quiet),
];

/// A failed call of the command-line tool, or a shell that is gone.
const PATIENCE: Duration = Duration::from_secs(20);

/// The temporary folder with all that runs in it.
pub struct Stage {
    tool: Tool,
    shell: Option<Child>,
}

/// Calls the command-line tool of a stage; can be given to another thread.
#[derive(Clone)]
pub struct Tool {
    folder: PathBuf,
}

impl Stage {
    /// A stage with this many guests, not yet open.
    pub fn new(guest_count: usize) -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("phyllome-demo-{}", std::process::id()));
        let stage = Self { tool: Tool { folder: folder.clone() }, shell: None };
        for part in ["", "run", "config", "config/guests", "data", "state"] {
            let path = folder.join(part);
            DirBuilder::new().mode(0o700).create(&path).with_context(|| format!("cannot make {}", path.display()))?;
        }
        for (place, guest) in GUESTS.iter().enumerate().take(guest_count) {
            let file = folder.join("config/guests").join(format!("{}.toml", guest.0));
            fs::write(&file, definition(place + 1, guest)?)
                .with_context(|| format!("cannot write {}", file.display()))?;
        }
        Ok(stage)
    }

    /// Starts the shell and waits until it answers.
    pub fn open(&mut self, backend: &str) -> Result<()> {
        let log = File::create(self.shell_log())?;
        let mut command = self.tool.program("phyllome-shell");
        command.args(["--backend", backend]).arg("--config").arg(self.tool.folder.join("config"));
        if backend != "kms" {
            command.arg("--allow-test-input");
        }
        if backend == "headless" {
            command.env_remove("WAYLAND_DISPLAY").env_remove("DISPLAY");
        }
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        self.shell = Some(command.spawn().context("cannot run phyllome-shell")?);
        let answers = processes::wait_until(PATIENCE, || !self.is_open() || self.tool.status().is_ok());
        if !answers || !self.is_open() {
            bail!("the shell did not open; it said: {}", self.last_words());
        }
        Ok(())
    }

    /// Whether the shell runs.
    pub fn is_open(&mut self) -> bool {
        self.shell.as_mut().is_some_and(|shell| matches!(shell.try_wait(), Ok(None)))
    }

    /// The command-line tool of this stage.
    pub fn tool(&self) -> &Tool {
        &self.tool
    }

    /// The last lines that the shell has logged.
    pub fn last_words(&self) -> String {
        let log = fs::read_to_string(self.shell_log()).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines.iter().skip(lines.len().saturating_sub(40)).copied().collect::<Vec<_>>().join("\n")
    }

    /// Ends shell and guests. An error if the shell does not end when asked, or leaves something behind that has to be
    /// killed.
    pub fn close(mut self) -> Result<()> {
        let status = self.tool.status().unwrap_or_default();
        for guest in status["guests"].as_array().into_iter().flatten() {
            if let Some(name) = guest["name"].as_str() {
                let _ = self.tool.run(&["kill", name]);
            }
        }
        let ended = match &mut self.shell {
            Some(shell) => processes::end(shell, Duration::from_secs(5))?,
            None => true,
        };
        self.shell = None;
        let killed = processes::end_all(&self.tool.runtime(), Duration::from_secs(5));
        if !ended || !killed.is_empty() {
            bail!("something did not end when asked to and was killed: shell {}, others {killed:?}", !ended);
        }
        Ok(())
    }

    fn shell_log(&self) -> PathBuf {
        self.tool.folder.join("shell.log")
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if let Some(shell) = &mut self.shell {
            let _ = processes::end(shell, Duration::from_secs(5));
        }
        processes::end_all(&self.tool.runtime(), Duration::from_secs(5));
        let _ = fs::remove_dir_all(&self.tool.folder);
    }
}

impl Tool {
    fn runtime(&self) -> PathBuf {
        self.folder.join("run")
    }

    /// One of the programs that were built, in the stage's environment.
    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(cargo::target_dir().join("debug").join(name));
        // A Wayland display's name is relative to the runtime folder, which is another one here.
        if let (Some(display), Some(runtime)) =
            (std::env::var_os("WAYLAND_DISPLAY"), std::env::var_os("XDG_RUNTIME_DIR"))
        {
            command.env("WAYLAND_DISPLAY", Path::new(&runtime).join(display));
        }
        command.env("XDG_RUNTIME_DIR", self.runtime());
        for (variable, part) in [("XDG_CONFIG_HOME", "config"), ("XDG_DATA_HOME", "data"), ("XDG_STATE_HOME", "state")]
        {
            command.env(variable, self.folder.join(part));
        }
        command
    }

    /// `phyllome ARGUMENTS`, not yet run.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.program("phyllome");
        command.args(arguments).stdin(Stdio::null());
        command
    }

    /// Runs `phyllome ARGUMENTS` and gives what it prints.
    pub fn run(&self, arguments: &[&str]) -> Result<String> {
        let done = self.command(arguments).output().context("cannot run phyllome")?;
        if !done.status.success() {
            let words = String::from_utf8_lossy(&done.stderr).into_owned();
            bail!("`phyllome {}` failed ({}): {}", arguments.join(" "), done.status, words.trim());
        }
        Ok(String::from_utf8_lossy(&done.stdout).into_owned())
    }

    /// `phyllome status --json`.
    pub fn status(&self) -> Result<Value> {
        serde_json::from_str(&self.run(&["status", "--json"])?).context("the status is not JSON")
    }

    /// What a guest has written to its serial line.
    pub fn serial(&self, guest: &str) -> String {
        let log = self.folder.join("state/phyllome/logs").join(guest).join("serial.log");
        String::from_utf8_lossy(&fs::read(log).unwrap_or_default()).into_owned()
    }

    /// The runtime folder and the variables with which another terminal reaches this shell.
    pub fn how_to_reach(&self) -> String {
        format!("XDG_RUNTIME_DIR={} {}", self.runtime().display(), cargo::target_dir().join("debug/phyllome").display())
    }
}

/// A demo guest's file.
fn definition(slot: usize, guest: &(&str, &str, &str, Mode)) -> Result<String> {
    let (name, color, pattern, mode) = *guest;
    Ok(format!(
        "profile = \"linux\"\nslot = {slot}\nmemory = \"256MiB\"\ncpus = 1\n\n\
         [label]\ncolor = \"{color}\"\npattern = \"{pattern}\"\n\n\
         [machine]\naccel = \"auto\"\nfirmware = \"none\"\n\n\
         [boot]\nkernel = \"{}\"\ninitrd = \"{}\"\ncmdline = \"{}\"\n\n\
         [network]\nmode = \"none\"\n",
        guests::guest_kernel()?.display(),
        guests::guest_initrd()?.display(),
        guests::cmdline(name, color, mode),
    ))
}
