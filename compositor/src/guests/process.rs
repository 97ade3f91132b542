//! phyllome-guest as a process: started in a session of its own, so that guests outlive the shell; its end is a
//! readable pidfd.
//!
//! Where systemd has a user manager, that is not enough: it ends whatever is left in the control group of a session or
//! unit that is over. There a guest is started through `systemd-run --scope`, which asks for a unit of its own and then
//! becomes the guest: process id and exit code stay those of the child that was started here.

use super::life::Exit;
use crate::descriptors::without_strangers;
use phyllome_protocol::GuestName;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::ffi::OsString;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// The file in a guest's log folder that takes what phyllome-guest prints.
pub const OUTPUT: &str = "start.log";
/// How much of its end is read for its last line, in bytes.
const TAIL: u64 = 2048;

/// What gives a guest a unit of its own and then becomes the guest.
#[derive(Clone, Debug)]
pub struct Launcher {
    /// `systemd-run`.
    pub program: PathBuf,
    /// How long it may take. It waits for systemd's user manager, which may not answer.
    pub patience: Duration,
}

impl Default for Launcher {
    fn default() -> Self {
        Self { program: PathBuf::from("systemd-run"), patience: Duration::from_secs(5) }
    }
}

impl Launcher {
    /// Whether systemd's user manager, which it asks, runs below this `$XDG_RUNTIME_DIR`.
    pub fn has_manager(runtime: &Path) -> bool {
        runtime.join("systemd/private").exists()
    }

    /// The command that starts `program` as guest `name`.
    fn command(&self, name: &GuestName, program: &Path) -> Command {
        // A unit of a former guest of that name may still be there.
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let mut command = Command::new(&self.program);
        command.args(["--user", "--scope", "--collect", "--quiet", "--slice=app-phyllome.slice"]);
        // A guest has a minute to power off; some distributions give less by themselves.
        command.arg("--property=TimeoutStopSec=75");
        command.arg(format!("--unit=phyllome-guest-{name}-{:x}{:08x}.scope", now.tv_sec, now.tv_nsec));
        command.arg(format!("--description=Guest {name} of Phyllome Shell")).arg("--").arg(program);
        command
    }
}

/// One phyllome-guest, of this shell or adopted.
#[derive(Debug)]
pub struct Process {
    pidfd: OwnedFd,
    pid: Pid,
    child: Option<Child>,
    /// The name of the process for as long as it is still the launcher.
    launcher: Option<OsString>,
}

impl Process {
    /// Starts `program run NAME --control-only …`; what it prints goes to [`OUTPUT`] in `logs`, which is made if need
    /// be. A launcher that is not installed is done without.
    pub fn spawn(
        name: &GuestName,
        program: &Path,
        arguments: &[String],
        logs: &Path,
        launcher: Option<&Launcher>,
    ) -> io::Result<Self> {
        let mut command = launcher.map_or_else(|| Command::new(program), |launcher| launcher.command(name, program));
        command.args(arguments).stdin(Stdio::null());
        // Its screen is the shell's; it must not find another display to open windows on.
        command.env_remove("WAYLAND_DISPLAY").env_remove("WAYLAND_SOCKET").env_remove("DISPLAY");
        // SAFETY: between fork and exec only setsid(2) is called, which is async-signal-safe and touches no memory.
        unsafe {
            command.pre_exec(|| rustix::process::setsid().map(drop).map_err(io::Error::from));
        }
        let folder = logs.to_owned();
        let started = without_strangers(move || {
            let output = open_output(&folder)?;
            command.stdout(output.try_clone()?).stderr(output).spawn()
        });
        let mut child = match started {
            Err(error) if launcher.is_some() && error.kind() == io::ErrorKind::NotFound => {
                return Self::spawn(name, program, arguments, logs, None);
            }
            started => started?,
        };
        let launcher = launcher.and_then(|launcher| launcher.program.file_name()).map(OsString::from);
        match open_pid(child.id()) {
            Ok(pidfd) => Ok(Self { pidfd, pid: Pid::from_child(&child), child: Some(child), launcher }),
            Err(error) => {
                // Without a pidfd its end would never be noticed.
                let _ = child.kill();
                let _ = child.wait();
                Err(error)
            }
        }
    }

    /// The process that somebody else has started and that listens at the other end of `stream`. `pid`: its number, as
    /// the kernel tells it there.
    pub fn adopt(stream: &UnixStream, pid: Pid) -> io::Result<Self> {
        let pidfd = match peer(stream) {
            Ok(pidfd) => pidfd,
            // Before Linux 6.5 there is only the number, which by now may be another's.
            Err(error) if error.raw_os_error() == Some(libc::ENOPROTOOPT) => pidfd_open(pid, PidfdFlags::empty())?,
            Err(error) => return Err(error),
        };
        Ok(Self { pidfd, pid, child: None, launcher: None })
    }

    /// Its number. It is another's once the process has been waited for.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// A descriptor that is readable once the process has ended.
    pub fn watch(&self) -> io::Result<OwnedFd> {
        self.pidfd.try_clone()
    }

    /// Whether it is, or has ended as, the launcher, and never was a guest. To be asked before [`Process::reap`].
    pub fn is_launcher(&self) -> bool {
        let (Some(launcher), Some(child)) = (&self.launcher, &self.child) else { return false };
        // Even a process that has ended keeps its name until it is reaped; the kernel cuts it at 15 bytes.
        let name = std::fs::read(format!("/proc/{}/comm", child.id())).unwrap_or_default();
        name.strip_suffix(b"\n") == launcher.as_bytes().get(..15).or(Some(launcher.as_bytes()))
    }

    /// The process id, if it is this shell's child.
    #[cfg(test)]
    pub(crate) fn child_pid(&self) -> Option<Pid> {
        self.child.as_ref().map(Pid::from_child)
    }

    /// How it ended; leaves no zombie. To be called once [`Process::watch`] is readable.
    pub fn reap(mut self) -> Exit {
        let Some(child) = &mut self.child else { return Exit::Unknown };
        match child.try_wait() {
            Ok(Some(status)) => match (status.code(), status.signal()) {
                (Some(code), _) => Exit::Code(code),
                (None, Some(signal)) => Exit::Signal(signal),
                (None, None) => Exit::Unknown,
            },
            Ok(None) | Err(_) => Exit::Unknown,
        }
    }

    /// Ends it at once.
    pub fn kill(&self) -> io::Result<()> {
        Ok(pidfd_send_signal(&self.pidfd, Signal::KILL)?)
    }
}

/// The process that made the socket at the other end, even if it has ended.
fn peer(stream: &UnixStream) -> io::Result<OwnedFd> {
    const SO_PEERPIDFD: libc::c_int = 77;
    let mut fd: libc::c_int = -1;
    let mut length = libc::socklen_t::try_from(size_of::<libc::c_int>()).map_err(io::Error::other)?;
    // SAFETY: the kernel writes at most `length` bytes, which is the size of `fd`; both live across the call.
    let result = unsafe {
        libc::getsockopt(stream.as_raw_fd(), libc::SOL_SOCKET, SO_PEERPIDFD, (&raw mut fd).cast(), &raw mut length)
    };
    if result != 0 || fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has made the descriptor for this call, so nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn open_pid(pid: u32) -> io::Result<OwnedFd> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidInput)?;
    Ok(pidfd_open(pid, PidfdFlags::empty())?)
}

fn open_output(logs: &Path) -> io::Result<File> {
    DirBuilder::new().recursive(true).mode(0o700).create(logs)?;
    plain(OpenOptions::new().create(true).write(true).truncate(true).mode(0o600), &logs.join(OUTPUT))
}

/// Opens a file in a folder that a guest's process can write to: nothing but a file, and nothing that is waited for.
pub(super) fn plain(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    let file = options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path)?;
    let is_file = file.metadata()?.is_file();
    is_file.then_some(file).ok_or_else(|| io::Error::other("there is something else than a file"))
}

/// The last line that phyllome-guest printed, if it printed any.
pub fn last_words(logs: &Path) -> Option<String> {
    let mut file = plain(OpenOptions::new().read(true), &logs.join(OUTPUT)).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL))).ok()?;
    let mut tail = Vec::new();
    file.take(TAIL).read_to_end(&mut tail).ok()?;
    let text = String::from_utf8_lossy(&tail);
    let line = text.lines().map(str::trim).rfind(|line| !line.is_empty())?;
    Some(line.strip_prefix("Error: ").or_else(|| line.strip_prefix("error: ")).unwrap_or(line).to_owned())
}

/// phyllome-guest beside this program, else the one that `PATH` finds.
pub fn default_program() -> PathBuf {
    phyllome_protocol::start::program("phyllome-guest")
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

    /// A process that listens at this path and does nothing.
    pub(crate) fn listening(path: &Path) -> Child {
        let socket =
            rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
        rustix::net::bind(&socket, &SocketAddrUnix::new(path).unwrap()).unwrap();
        let mut command = Command::new("sleep");
        command.arg("1000");
        // SAFETY: between fork and exec only listen(2) and fcntl(2) are called, which touch no memory.
        unsafe {
            command.pre_exec(move || {
                rustix::net::listen(&socket, 8)?;
                Ok(rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::empty())?)
            });
        }
        command.spawn().unwrap()
    }

    /// How it ends.
    pub(crate) fn wait(process: Process) -> Exit {
        let watch = process.watch().unwrap();
        let limit = Timespec { tv_sec: 30, tv_nsec: 0 };
        assert_eq!(poll(&mut [PollFd::new(&watch, PollFlags::IN)], Some(&limit)).unwrap(), 1, "it should have ended");
        process.reap()
    }

    /// A shell that runs this.
    pub(crate) fn shell(script: &str, logs: &Path) -> Process {
        launched(script, logs, None)
    }

    fn launched(script: &str, logs: &Path, launcher: Option<&Launcher>) -> Process {
        let arguments = ["-c".to_owned(), script.to_owned()];
        Process::spawn(&"work".parse().unwrap(), Path::new("/bin/sh"), &arguments, logs, launcher).unwrap()
    }

    /// A launcher that is a script.
    fn launcher(folder: &Path, script: &str) -> Launcher {
        let program = folder.join("systemd-run");
        phyllome_test_guests::program::write(&program, &format!("#!/bin/sh\n{script}\n")).unwrap();
        Launcher { program, ..Launcher::default() }
    }

    #[test]
    fn a_launcher_becomes_the_guest_whose_process_and_exit_code_stay_known() {
        let dir = tempfile::tempdir().unwrap();
        let script = format!(
            "echo \"$@\" > {0}/asked; while [ \"$1\" != -- ]; do shift; done; shift; exec \"$@\"",
            dir.path().display()
        );
        let process = launched("echo $$; exit 3", dir.path(), Some(&launcher(dir.path(), &script)));
        let pid = process.child_pid().unwrap();
        assert_eq!(wait(process), Exit::Code(3));
        assert_eq!(last_words(dir.path()), Some(pid.to_string()));
        let asked = std::fs::read_to_string(dir.path().join("asked")).unwrap();
        assert!(
            asked
                .starts_with("--user --scope --collect --quiet --slice=app-phyllome.slice --property=TimeoutStopSec=75 --unit=phyllome-guest-work-")
        );
        assert!(asked.ends_with(" -- /bin/sh -c echo $$; exit 3\n"), "{asked}");
    }

    #[test]
    fn a_launcher_that_fails_is_told_from_a_guest_that_ends() {
        let dir = tempfile::tempdir().unwrap();
        for (script, expected) in [("exit 1", true), ("kill -9 $$", true), ("exec /bin/sh -c 'exit 1'", false)] {
            let process = launched("", dir.path(), Some(&launcher(dir.path(), script)));
            let watch = process.watch().unwrap();
            poll(&mut [PollFd::new(&watch, PollFlags::IN)], Some(&Timespec { tv_sec: 30, tv_nsec: 0 })).unwrap();
            assert_eq!(process.is_launcher(), expected, "{script}");
            process.reap();
        }
    }

    #[test]
    fn without_its_launcher_a_guest_starts_all_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let missing = Launcher { program: dir.path().join("systemd-run"), ..Launcher::default() };
        assert_eq!(wait(launched("exit 5", dir.path(), Some(&missing))), Exit::Code(5));
    }

    #[test]
    fn a_launcher_is_used_only_where_a_manager_runs() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!Launcher::has_manager(dir.path()));
        std::fs::create_dir(dir.path().join("systemd")).unwrap();
        std::fs::write(dir.path().join("systemd/private"), "").unwrap();
        assert!(Launcher::has_manager(dir.path()));
    }

    #[test]
    fn the_process_that_listens_is_adopted_and_not_the_one_that_has_its_number_by_now() {
        let dir = tempfile::tempdir().unwrap();
        let mut child = listening(&dir.path().join("socket"));
        let stream = UnixStream::connect(dir.path().join("socket")).unwrap();
        if let Err(error) = peer(&stream) {
            println!(
                "SKIPPED: the_process_that_listens_is_adopted_and_not_the_one_that_has_its_number_by_now: {error}"
            );
            child.kill().unwrap();
            child.wait().unwrap();
            return;
        }
        // This process plays the one that has the number.
        let adopted = Process::adopt(&stream, rustix::process::getpid()).unwrap();
        child.kill().unwrap();
        assert_eq!(wait(adopted), Exit::Unknown);
        child.wait().unwrap();
    }

    #[test]
    fn its_last_line_and_exit_code_are_told() {
        let dir = tempfile::tempdir().unwrap();
        let logs = dir.path().join("logs/work");
        assert_eq!(
            wait(shell("echo one; echo 'Error: the kernel is missing' >&2; echo; exit 3", &logs)),
            Exit::Code(3)
        );
        assert_eq!(last_words(&logs).as_deref(), Some("the kernel is missing"));
    }

    #[test]
    fn what_a_guest_puts_in_the_place_of_its_output_is_waited_for_by_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join(OUTPUT);
        let pipe = |path: &Path| rustix::fs::mkfifoat(rustix::fs::CWD, path, 0o600.into()).unwrap();
        for is_link in [false, true] {
            let made = dir.path().join("pipe");
            pipe(if is_link { &made } else { &place });
            if is_link {
                std::os::unix::fs::symlink(&made, &place).unwrap();
            }
            assert_eq!(last_words(dir.path()), None);
            let started = Process::spawn(&"work".parse().unwrap(), Path::new("/bin/sh"), &[], dir.path(), None);
            assert!(started.is_err());
            std::fs::remove_file(&place).unwrap();
        }
    }

    #[test]
    fn it_runs_in_a_session_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        // Field 6 of /proc/PID/stat is the session; the leader's is its own pid.
        assert_eq!(
            wait(shell("read -r p c s pp pg sid rest < /proc/$$/stat; [ $sid = $$ ]", dir.path())),
            Exit::Code(0)
        );
    }

    #[test]
    fn a_killed_process_tells_its_signal() {
        let dir = tempfile::tempdir().unwrap();
        let process = shell("exec sleep 100", dir.path());
        process.kill().unwrap();
        assert_eq!(wait(process), Exit::Signal(9));
    }

    #[test]
    fn a_program_that_is_missing_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        assert!(
            Process::spawn(&"work".parse().unwrap(), Path::new("/no/such/program"), &[], dir.path(), None).is_err()
        );
    }
}
