//! systemd's user manager, where there is one: it is told the session's environment and starts and stops
//! `phyllome-session.target`.
//!
//! Nothing waits for it and nothing depends on it: each command has a bounded time, and a failure is a note.

use phyllome_protocol::complain;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::thread::JoinHandle;

/// The target that is there for as long as the session is.
const TARGET: &str = "phyllome-session.target";
/// How long one command may take.
const PATIENCE: Timespec = Timespec { tv_sec: 3, tv_nsec: 0 };

/// The session, as systemd's user manager knows it.
#[derive(Debug)]
pub struct Manager {
    settings: Vec<(&'static str, OsString)>,
    /// Tells the manager that the session has begun, and what it answered.
    begun: JoinHandle<Answer>,
}

impl Manager {
    /// Tells the manager below `runtime` (`$XDG_RUNTIME_DIR`), in the background: `settings` and the variables named
    /// `told`. `None` where there is none.
    pub fn begin(runtime: &Path, settings: &[(&'static str, OsString)], told: Vec<&'static str>) -> Option<Self> {
        if !runtime.join("systemd/private").exists() {
            return None;
        }
        let settings = settings.to_vec();
        let with = settings.clone();
        let begun = std::thread::Builder::new().stack_size(128 * 1024).spawn(move || {
            let mut import = vec!["import-environment"];
            import.extend(told);
            let told = note("was not told the session's environment", systemctl(&import, &with));
            // One that does not answer is not asked again.
            if told == Answer::None {
                return told;
            }
            note(&format!("did not start {TARGET}"), systemctl(&["--no-block", "start", TARGET], &with))
        });
        Some(Self { settings, begun: begun.ok()? })
    }

    /// The session is over.
    pub fn end(self) {
        let begun = self.begun.join().unwrap_or(Answer::None);
        if begun == Answer::Yes {
            note(&format!("did not stop {TARGET}"), systemctl(&["--no-block", "stop", TARGET], &[]));
        }
        if begun != Answer::None {
            let mut unset = vec!["unset-environment"];
            unset.extend(self.settings.iter().map(|(name, _)| *name));
            note("keeps the session's environment", systemctl(&unset, &[]));
        }
    }
}

/// What came of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Yes,
    No,
    /// It could not be asked, or not in time.
    None,
}

fn note(what: &str, (answer, why): (Answer, String)) -> Answer {
    if answer != Answer::Yes {
        complain(format_args!("phyllome-session: note: systemd's user manager {what}: {why}"));
    }
    answer
}

fn systemctl(arguments: &[&str], environment: &[(&'static str, OsString)]) -> (Answer, String) {
    let mut command = Command::new("systemctl");
    command.arg("--user").args(arguments).envs(environment.iter().map(|(name, value)| (name, value)));
    match bounded(command) {
        Ok(Some(status)) if status.success() => (Answer::Yes, String::new()),
        Ok(Some(status)) => (Answer::No, format!("systemctl ended with {status}")),
        Ok(None) => (Answer::None, format!("systemctl did not end within {} s", PATIENCE.tv_sec)),
        Err(error) => (Answer::None, format!("systemctl cannot be run: {error}")),
    }
}

/// Runs a command to its end, or ends it when its time is over.
fn bounded(mut command: Command) -> std::io::Result<Option<ExitStatus>> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let ended = pidfd_open(Pid::from_child(&child), PidfdFlags::empty())
        .and_then(|pidfd| poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&PATIENCE)));
    if ended != Ok(1) {
        child.kill()?;
        child.wait()?;
        return Ok(None);
    }
    child.wait().map(Some)
}
