//! One phyllome-guest with folders of its own, and the other end of its control socket. Everything has a deadline.

#![allow(clippy::unwrap_used, reason = "a test may fail anywhere")]

use phyllome_guest_bridge::machine::host::FirmwareFiles;
use phyllome_protocol::control::{FromGuest, Report, Request, ToGuest};
use phyllome_protocol::framing::{Decoder, receive_blocking, send_blocking};
use phyllome_protocol::status::GuestState;
use rustix::process::{Pid, Signal};
use std::io::{Read, Write};
use std::os::fd::BorrowedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long anything may take, on a busy machine.
const DEADLINE: Duration = Duration::from_secs(90);

/// Waits for a condition.
pub fn eventually(what: &str, condition: impl FnMut() -> bool) {
    phyllome_test_support::wait::until(what, DEADLINE, condition);
}

/// Whether a process runs (a zombie does not).
pub fn alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

/// Sends a signal to a process that a test has started.
pub fn kill(pid: u32, signal: Signal) {
    rustix::process::kill_process(Pid::from_raw(pid.try_into().unwrap()).unwrap(), signal).unwrap();
}

fn uefi() -> Option<FirmwareFiles> {
    FirmwareFiles::find(phyllome_config::firmware::UEFI, Path::is_file)
}

/// Whether OVMF is installed.
pub fn has_uefi() -> bool {
    uefi().is_some()
}

/// Why the fall-back from KVM cannot be seen on this host, if it cannot: asks a QEMU that runs OVMF under KVM for a few
/// seconds.
pub fn kvm_works_or_is_absent() -> Option<String> {
    if let Err(error) = std::fs::OpenOptions::new().read(true).write(true).open("/dev/kvm") {
        return Some(format!("/dev/kvm does not open: {error}"));
    }
    let files = uefi()?;
    let mut command = Command::new("qemu-system-x86_64");
    command.args("-M q35 -accel kvm -cpu host -m 128 -nodefaults -vga none -display none -qmp stdio".split(' '));
    command.arg("-drive").arg(format!("if=pflash,format=raw,readonly=on,file={}", files.code.display()));
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut ask = |line: &str| writeln!(stdin, "{{\"execute\": \"{line}\"}}");
    // A QEMU that ends by itself here cannot use KVM either.
    let _ = ask("qmp_capabilities");
    for _ in 0..8 {
        std::thread::sleep(Duration::from_millis(500));
        let _ = ask("query-status");
    }
    let _ = ask("quit");
    let mut output = String::new();
    child.stdout.take().unwrap().read_to_string(&mut output).unwrap();
    child.wait().unwrap();
    let works = !output.contains("internal-error") && output.contains("\"running\"");
    works.then(|| "KVM works on this host".into())
}

/// One phyllome-guest and its host.
pub struct Bridge {
    folder: tempfile::TempDir,
    name: String,
    child: Option<Child>,
    control: Option<Connection>,
    next_id: u64,
    told: Option<GuestState>,
}

/// One control connection.
pub struct Connection {
    socket: UnixStream,
    decoder: Decoder,
}

impl Connection {
    /// The next message; `None` when the connection is closed.
    pub fn next(&mut self) -> Option<FromGuest> {
        use phyllome_protocol::framing::FramingError::{Closed, Io};
        match receive_blocking(&self.socket, &mut self.decoder) {
            Ok(message) => Some(message),
            Err(Closed | Io(rustix::io::Errno::CONNRESET)) => None,
            Err(error) => panic!("{error}"),
        }
    }
}

impl Bridge {
    /// The folders and the guest's file.
    pub fn prepare(name: &str, text: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("phy").tempdir().unwrap();
        for part in ["run", "config/guests", "data", "state", "home"] {
            std::fs::create_dir_all(folder.path().join(part)).unwrap();
        }
        std::fs::set_permissions(folder.path().join("run"), std::fs::Permissions::from_mode(0o700)).unwrap();
        std::fs::write(folder.path().join(format!("config/guests/{name}.toml")), text).unwrap();
        Self { folder, name: name.to_owned(), child: None, control: None, next_id: 1, told: None }
    }

    fn file(&self) -> PathBuf {
        self.path().join(format!("config/guests/{}.toml", self.name))
    }

    /// What the guest's file says.
    pub fn text(&self) -> String {
        std::fs::read_to_string(self.file()).unwrap()
    }

    /// Writes the guest's file anew.
    pub fn write(&self, text: &str) {
        std::fs::write(self.file(), text).unwrap();
    }

    /// The same, started and connected.
    pub fn start(name: &str, text: &str) -> Self {
        Self::start_with(name, text, |_| {})
    }

    /// The same with a change to the command.
    pub fn start_with(name: &str, text: &str, change: impl FnOnce(&mut Command)) -> Self {
        let mut bridge = Self::prepare(name, text);
        bridge.restart_with(change);
        bridge
    }

    /// Starts it, or starts it again after its end.
    pub fn restart(&mut self) {
        self.restart_with(|_| {});
    }

    /// The same with a change to the command.
    pub fn restart_with(&mut self, change: impl FnOnce(&mut Command)) {
        if let Some(mut child) = self.child.take() {
            child.wait().unwrap();
        }
        let mut command = self.command();
        change(&mut command);
        self.spawn(command);
    }

    fn spawn(&mut self, mut command: Command) {
        self.child = Some(command.spawn().unwrap());
        self.control = None;
        let mut control = None;
        // A socket that a dead process left behind does not answer.
        eventually("the control socket answers", || {
            control = UnixStream::connect(self.socket()).ok();
            control.is_some()
        });
        self.control = control.map(connection);
    }

    /// A second connection.
    pub fn connect(&self) -> Connection {
        connection(UnixStream::connect(self.socket()).unwrap())
    }

    fn socket(&self) -> PathBuf {
        self.guest_folder().join("control.sock")
    }

    /// phyllome-guest with these arguments in this host.
    pub fn program(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_phyllome-guest"));
        command.args(args).arg("--config").arg(self.path().join("config"));
        command.stdin(Stdio::null()).stderr(Stdio::piped());
        for (variable, folder) in
            [("XDG_RUNTIME_DIR", "run"), ("XDG_DATA_HOME", "data"), ("XDG_STATE_HOME", "state"), ("HOME", "home")]
        {
            command.env(variable, self.path().join(folder));
        }
        command.env_remove("WAYLAND_DISPLAY");
        command
    }

    /// `phyllome-guest run GUEST --control-only`.
    pub fn command_for(&self, guest: &str) -> Command {
        self.program(&["run", guest, "--control-only"])
    }

    /// The same for this guest.
    pub fn command(&self) -> Command {
        self.command_for(&self.name)
    }

    /// Everything lies here.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The guest's runtime folder.
    pub fn guest_folder(&self) -> PathBuf {
        self.path().join("run/phyllome/guests").join(&self.name)
    }

    /// The guest's logs.
    pub fn state_folder(&self) -> PathBuf {
        self.path().join("state/phyllome/logs").join(&self.name)
    }

    /// phyllome-guest's process id.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// Asks and waits for the answer.
    pub fn ask(&mut self, request: Request) -> Result<(), String> {
        self.ask_with(request, &[])
    }

    /// The same with descriptors.
    pub fn ask_with(&mut self, request: Request, fds: &[BorrowedFd<'_>]) -> Result<(), String> {
        let asked = self.next_id;
        self.next_id += 1;
        let control = self.control.as_mut().unwrap();
        send_blocking(&control.socket, &ToGuest { id: asked, request }, fds).unwrap();
        loop {
            match control.next().expect("an answer") {
                FromGuest::Done { id } if id == asked => return Ok(()),
                FromGuest::Refused { id, reason } if id == asked => return Err(reason),
                FromGuest::Report(report) => self.told = Some(report.state),
                _ => {}
            }
        }
    }

    /// The state in the last report that was read.
    pub fn reported_state(&self) -> Option<GuestState> {
        self.told
    }

    /// Waits for a report; asks for one first, so that what has come already counts.
    pub fn report_until(&mut self, what: &str, condition: impl Fn(&Report) -> bool) -> Report {
        let end = Instant::now() + DEADLINE;
        let control = self.control.as_mut().unwrap();
        send_blocking(&control.socket, &ToGuest { id: 0, request: Request::Report }, &[]).unwrap();
        let mut seen = Vec::new();
        while Instant::now() < end {
            match control.next() {
                Some(FromGuest::Report(report)) if condition(&report) => {
                    self.told = Some(report.state);
                    return report;
                }
                Some(FromGuest::Report(report)) => seen.push((report.state, report.message, report.accel)),
                Some(_) => {}
                None => break,
            }
        }
        panic!("in vain: {what}; seen: {seen:?}; log:\n{}", self.log());
    }

    /// Reads to the end of the connection.
    pub fn last_report(&mut self) -> Report {
        let mut last = None;
        while let Some(message) = self.control.as_mut().unwrap().next() {
            if let FromGuest::Report(report) = message {
                last = Some(report);
            }
        }
        last.expect("a report")
    }

    /// Waits for the process; its exit status and what it wrote to standard error.
    pub fn wait(&mut self) -> (Option<i32>, String) {
        let mut child = self.child.take().unwrap();
        let mut status = None;
        eventually("phyllome-guest ends", || {
            status = child.try_wait().unwrap();
            status.is_some()
        });
        let mut stderr = String::new();
        child.stderr.take().map(|mut pipe| pipe.read_to_string(&mut stderr).unwrap());
        (status.unwrap().code(), stderr)
    }

    /// How often the threads of phyllome-guest went to sleep, all together.
    pub fn wake_ups(&self) -> u64 {
        phyllome_test_support::process::wake_ups(self.pid()).unwrap()
    }

    fn log(&self) -> String {
        let read = |file| std::fs::read_to_string(self.state_folder().join(file)).unwrap_or_default();
        format!("{}\n{}", read("bridge.log"), read("qemu.log"))
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // QEMU dies with it.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn connection(socket: UnixStream) -> Connection {
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    Connection { socket, decoder: Decoder::new() }
}
