//! A whole host in a temporary folder: configuration, runtime folder, a headless shell, and the command-line tool to
//! drive it.
//!
//! Everything that was started is ended when the host is dropped: the shell, and every phyllome-guest and QEMU that
//! status named.

use crate::newer::Newer;
use crate::picture::Picture;
use crate::programs::program;
use anyhow::{Context, Result, bail, ensure};
use phyllome_protocol::status::{GuestState, GuestStatus, Status};
use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// How a test's shell is started.
#[derive(Clone, Debug)]
pub struct HostOptions {
    /// `--size` of each output.
    pub sizes: Vec<String>,
    /// `--renderer`.
    pub renderer: &'static str,
    /// Whether `--allow-test-input` is given.
    pub test_input: bool,
    /// Whether guests of [`crate::played_guest_file`] can be started.
    pub played: bool,
    /// Runs the shell and all that it starts on a newer system.
    pub newer: Option<Newer>,
}

impl Default for HostOptions {
    fn default() -> Self {
        Self { sizes: vec!["1280x800".into()], renderer: "pixman", test_input: true, played: false, newer: None }
    }
}

/// A host with its shell.
pub struct Host {
    folder: tempfile::TempDir,
    options: HostOptions,
    shell: Option<Child>,
    seen: BTreeSet<u32>,
    environment: Vec<(String, String)>,
}

impl Host {
    /// A host with these guest files (name, text of the TOML file); its shell runs and answers.
    pub fn start(guests: &[(&str, String)]) -> Result<Self> {
        Self::start_with(HostOptions::default(), guests)
    }

    /// The same with other options.
    pub fn start_with(options: HostOptions, guests: &[(&str, String)]) -> Result<Self> {
        let mut host = Self::prepare(options, guests)?;
        host.start_shell()?;
        Ok(host)
    }

    /// A host whose shell does not run yet.
    pub fn prepare(options: HostOptions, guests: &[(&str, String)]) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("phy").tempdir()?;
        for name in ["run", "config/guests", "data", "state", "home"] {
            std::fs::create_dir_all(folder.path().join(name))?;
        }
        std::fs::set_permissions(folder.path().join("run"), std::fs::Permissions::from_mode(0o700))?;
        if options.played {
            crate::qemu_of_played_guests(&folder.path().join("played"))?;
        }
        let host = Self { folder, options, shell: None, seen: BTreeSet::new(), environment: Vec::new() };
        for (name, text) in guests {
            host.write_guest(name, text)?;
        }
        Ok(host)
    }

    /// Writes or replaces a guest's file.
    pub fn write_guest(&self, name: &str, text: &str) -> Result<()> {
        Ok(std::fs::write(self.config().join("guests").join(format!("{name}.toml")), text)?)
    }

    /// More variables for every program that is started from now on.
    pub fn set_environment(&mut self, variables: Vec<(String, String)>) {
        self.environment = variables;
    }

    /// Other outputs for the shell that is started next.
    pub fn set_sizes(&mut self, sizes: &[&str]) {
        self.options.sizes = sizes.iter().map(|&size| size.to_owned()).collect();
    }

    /// The folder that everything lies in.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The configuration folder.
    pub fn config(&self) -> PathBuf {
        self.folder.path().join("config")
    }

    /// XDG_RUNTIME_DIR.
    pub fn runtime(&self) -> PathBuf {
        self.folder.path().join("run")
    }

    /// The folder of one guest's logs.
    pub fn logs(&self, guest: &str) -> PathBuf {
        self.folder.path().join("state/phyllome/logs").join(guest)
    }

    /// A guest's serial console so far.
    pub fn serial(&self, guest: &str) -> String {
        std::fs::read(self.logs(guest).join("serial.log"))
            .map(|b| String::from_utf8_lossy(&b).into_owned())
            .unwrap_or_default()
    }

    /// A command with this host's environment.
    pub fn command(&self, name: &str) -> Result<Command> {
        self.settled(Command::new(program(name)?))
    }

    /// The same on the system that the shell runs on: another than this computer's where the options say so.
    pub fn command_there(&self, name: &str) -> Result<Command> {
        match &self.options.newer {
            Some(newer) => self.settled(newer.command(&program(name)?)),
            None => self.command(name),
        }
    }

    fn settled(&self, mut command: Command) -> Result<Command> {
        let folder = self.folder.path();
        command
            .env("XDG_RUNTIME_DIR", folder.join("run"))
            .env("XDG_CONFIG_HOME", folder.join("xdg-config"))
            .env("XDG_DATA_HOME", folder.join("data"))
            .env("XDG_STATE_HOME", folder.join("state"))
            .env("HOME", folder.join("home"))
            .env_remove("WAYLAND_DISPLAY")
            .env_remove("DISPLAY")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null());
        if self.options.played {
            let path = std::env::var_os("PATH").unwrap_or_default();
            let folders = std::iter::once(folder.join("played")).chain(std::env::split_paths(&path));
            command.env("PATH", std::env::join_paths(folders)?);
        }
        Ok(command)
    }

    /// The shell's command line, not started.
    pub fn shell_command(&self) -> Result<Command> {
        let mut command = self.command_there("phyllome-shell")?;
        command.args(["--backend", "headless", "--renderer", self.options.renderer, "--config"]).arg(self.config());
        for size in &self.options.sizes {
            command.args(["--size", size]);
        }
        if self.options.test_input {
            command.arg("--allow-test-input");
        }
        Ok(command)
    }

    /// Starts the shell and waits until it answers.
    pub fn start_shell(&mut self) -> Result<()> {
        ensure!(self.shell.is_none(), "the shell runs already");
        let log = std::fs::File::options().create(true).append(true).open(self.folder.path().join("shell.log"))?;
        let child = self.shell_command()?.stdout(log.try_clone()?).stderr(log).spawn()?;
        self.shell = Some(child);
        let end = Instant::now() + Duration::from_secs(20);
        while Instant::now() < end {
            if self.tool(&["status", "--json"])?.status.success() {
                return Ok(());
            }
            if let Some(status) = self.shell.as_mut().and_then(|c| c.try_wait().ok().flatten()) {
                bail!("the shell ended with {status}: {}", self.shell_log());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        bail!("the shell does not answer: {}", self.shell_log())
    }

    /// What the shell wrote.
    pub fn shell_log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("shell.log")).unwrap_or_default()
    }

    /// The shell's process id.
    pub fn shell_pid(&self) -> Result<u32> {
        Ok(self.shell.as_ref().context("no shell runs")?.id())
    }

    /// kill -9 of the shell.
    pub fn kill_shell(&mut self) -> Result<()> {
        let mut child = self.shell.take().context("no shell runs")?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// Runs the command-line tool.
    pub fn tool(&self, arguments: &[&str]) -> Result<Output> {
        Ok(self.command("phyllome")?.args(arguments).output()?)
    }

    /// Runs it and expects exit code 0; gives what it printed.
    pub fn run(&self, arguments: &[&str]) -> Result<String> {
        let output = self.tool(arguments)?;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "phyllome {arguments:?}: {} {error}", output.status);
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs it and expects exit code 1; gives its one line of reason.
    pub fn refused(&self, arguments: &[&str]) -> Result<String> {
        let output = self.tool(arguments)?;
        let error = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        ensure!(output.status.code() == Some(1), "phyllome {arguments:?}: {} {error}", output.status);
        ensure!(!error.is_empty() && error.lines().count() == 1, "not one line: {error}");
        Ok(error)
    }

    /// `phyllome status --json`.
    pub fn status(&mut self) -> Result<Status> {
        let status: Status = serde_json::from_str(&self.run(&["status", "--json"])?)?;
        for guest in &status.guests {
            self.seen.extend(guest.pid.into_iter().chain(guest.qemu_pid));
        }
        Ok(status)
    }

    /// One guest of the status.
    pub fn guest(&mut self, name: &str) -> Result<GuestStatus> {
        let status = self.status()?;
        status.guests.into_iter().find(|g| g.name.as_str() == name).with_context(|| format!("status has no {name}"))
    }

    /// Waits until `condition` holds of the status; `what` and the last status are in the error.
    pub fn wait(&mut self, what: &str, limit: Duration, condition: impl Fn(&Status) -> bool) -> Result<Status> {
        let end = Instant::now() + limit;
        loop {
            let status = self.status()?;
            if condition(&status) {
                return Ok(status);
            }
            if Instant::now() > end {
                bail!("{what} did not happen within {limit:?}; status is {}", serde_json::to_string(&status)?);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until the guest is in this state.
    pub fn wait_state(&mut self, name: &str, state: GuestState, limit: Duration) -> Result<Status> {
        self.wait(&format!("{name} {}", state.word()), limit, |status| {
            status.guests.iter().any(|g| g.name.as_str() == name && g.state == state)
        })
    }

    /// Waits until the guest's serial console holds `text`.
    pub fn wait_serial(&mut self, name: &str, text: &str, limit: Duration) -> Result<String> {
        let end = Instant::now() + limit;
        loop {
            let serial = self.serial(name);
            if serial.contains(text) {
                return Ok(serial);
            }
            if Instant::now() > end {
                let state = self.guest(name);
                bail!("{name} did not say {text:?} within {limit:?}; {state:?}; it said: {serial}");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// A picture of the first output.
    pub fn screenshot(&self) -> Result<Picture> {
        self.capture(&[])
    }

    /// A picture with more arguments to `phyllome screenshot`.
    pub fn capture(&self, arguments: &[&str]) -> Result<Picture> {
        let path = self.folder.path().join("shot.png");
        let text = path.to_string_lossy().into_owned();
        self.run(&[&["screenshot", text.as_str()], arguments].concat())?;
        Picture::read(&path)
    }

    /// Waits until a picture of the first output satisfies `condition`.
    pub fn wait_picture(&self, what: &str, limit: Duration, condition: impl Fn(&Picture) -> bool) -> Result<Picture> {
        self.wait_capture(what, &[], limit, condition)
    }

    /// Waits until a picture satisfies `condition`; the last one of a failure is kept as a file that the error names.
    pub fn wait_capture(
        &self,
        what: &str,
        arguments: &[&str],
        limit: Duration,
        condition: impl Fn(&Picture) -> bool,
    ) -> Result<Picture> {
        let end = Instant::now() + limit;
        loop {
            let picture = self.capture(arguments)?;
            if condition(&picture) {
                return Ok(picture);
            }
            if Instant::now() > end {
                let kept = std::env::temp_dir().join(format!("phyllome-failed-{}.png", what.replace(' ', "-")));
                picture.write(&kept)?;
                bail!("{what} did not appear within {limit:?}; the last picture is {}", kept.display());
            }
            std::thread::sleep(Duration::from_millis(30));
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if self.shell.is_some() {
            let _ = self.status();
        }
        if std::thread::panicking() || std::env::var_os("PHYLLOME_TEST_LOG").is_some() {
            eprintln!("shell log:\n{}", self.shell_log());
        }
        if let Some(mut child) = self.shell.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        for pid in &self.seen {
            // A number may have been given to another process by now: only our own programs are ended.
            let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let text = String::from_utf8_lossy(&command);
            let ours = text.contains("phyllome-guest") || text.contains(&*self.folder.path().to_string_lossy());
            if let (true, Some(pid)) = (ours, rustix::process::Pid::from_raw(*pid as i32)) {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
    }
}
