//! phyllome-guest as a process: started in a session of its own, so that guests outlive the shell; its end is a readable pidfd.

use super::life::Exit;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// The file in a guest's log folder that takes what phyllome-guest prints.
pub const OUTPUT: &str = "start.log";
/// How much of its end is read for its last line, in bytes.
const TAIL: u64 = 2048;

/// One phyllome-guest, of this shell or adopted.
#[derive(Debug)]
pub struct Process {
    pidfd: OwnedFd,
    child: Option<Child>,
}

impl Process {
    /// Starts `program run NAME --control-only …`; what it prints goes to [`OUTPUT`] in `logs`, which is made if need be.
    pub fn spawn(program: &Path, arguments: &[String], logs: &Path) -> io::Result<Self> {
        let output = open_output(logs)?;
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        // Its screen is the shell's; it must not find another display to open windows on.
        command.env_remove("WAYLAND_DISPLAY").env_remove("WAYLAND_SOCKET").env_remove("DISPLAY");
        // SAFETY: between fork and exec only setsid(2) is called, which is async-signal-safe and touches no memory.
        unsafe {
            command.pre_exec(|| rustix::process::setsid().map(drop).map_err(io::Error::from));
        }
        let mut child = command.spawn()?;
        match open_pid(child.id()) {
            Ok(pidfd) => Ok(Self { pidfd, child: Some(child) }),
            Err(error) => {
                // Without a pidfd its end would never be noticed.
                let _ = child.kill();
                let _ = child.wait();
                Err(error)
            }
        }
    }

    /// A process that somebody else has started.
    pub fn adopt(pid: Pid) -> io::Result<Self> {
        Ok(Self { pidfd: pidfd_open(pid, PidfdFlags::empty())?, child: None })
    }

    /// A descriptor that is readable once the process has ended.
    pub fn watch(&self) -> io::Result<OwnedFd> {
        self.pidfd.try_clone()
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

fn open_pid(pid: u32) -> io::Result<OwnedFd> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidInput)?;
    Ok(pidfd_open(pid, PidfdFlags::empty())?)
}

fn open_output(logs: &Path) -> io::Result<File> {
    DirBuilder::new().recursive(true).mode(0o700).create(logs)?;
    OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(logs.join(OUTPUT))
}

/// The last line that phyllome-guest printed, if it printed any.
pub fn last_words(logs: &Path) -> Option<String> {
    let mut file = File::open(logs.join(OUTPUT)).ok()?;
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
    let beside = std::env::current_exe().ok().and_then(|me| Some(me.parent()?.join("phyllome-guest")));
    beside.filter(|path| path.is_file()).unwrap_or_else(|| PathBuf::from("phyllome-guest"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    fn wait(process: Process) -> Exit {
        let watch = process.watch().unwrap();
        let limit = Timespec { tv_sec: 10, tv_nsec: 0 };
        assert_eq!(poll(&mut [PollFd::new(&watch, PollFlags::IN)], Some(&limit)).unwrap(), 1, "it should have ended");
        process.reap()
    }

    fn shell(script: &str, logs: &Path) -> Process {
        Process::spawn(Path::new("/bin/sh"), &["-c".to_owned(), script.to_owned()], logs).unwrap()
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
        assert!(Process::spawn(Path::new("/no/such/program"), &[], dir.path()).is_err());
    }
}
