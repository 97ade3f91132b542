//! What guests need of this host: each check says whether it is fine, what it costs if not, and how to mend it.
//!
//! Runs without a shell. A check starts at most one short-lived child with a deadline, changes nothing, and its failure
//! is a finding.

mod display;
mod gpu;
mod host;
mod kvm;
mod linger;
mod print;
mod qemu;
mod three_d;

pub use gpu::print as print_gpu;
pub use print::print;
use serde::Serialize;
use std::io::Read;
use std::path::Path;
use std::process::{Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// As it should be.
    Fine,
    /// Guests run, but something is slower or missing.
    Costs,
    /// Guests cannot run.
    Broken,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// A word for scripts.
    pub id: &'static str,
    /// How it came out.
    pub verdict: Verdict,
    /// What was found, in one sentence.
    pub finding: String,
    /// What it costs, unless it is fine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost: Option<String>,
    /// How to mend it, unless it is fine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mend: Option<String>,
}

impl Check {
    /// All is well.
    fn fine(id: &'static str, finding: impl Into<String>) -> Self {
        Self { id, verdict: Verdict::Fine, finding: finding.into(), cost: None, mend: None }
    }

    /// It works, at a cost.
    fn costs(id: &'static str, finding: impl Into<String>, cost: &str, mend: &str) -> Self {
        let (cost, mend) = (Some(cost.to_owned()), Some(mend.to_owned()));
        Self { id, verdict: Verdict::Costs, finding: finding.into(), cost, mend }
    }

    /// It does not work.
    fn broken(id: &'static str, finding: impl Into<String>, cost: &str, mend: &str) -> Self {
        Self { verdict: Verdict::Broken, ..Self::costs(id, finding, cost, mend) }
    }
}

/// Makes all checks, in the order in which a guest needs them.
fn run() -> Vec<Check> {
    let mut checks = vec![kvm::check()];
    checks.extend(qemu::checks());
    checks.extend([host::guest_program(), host::runtime_folder(), host::udmabuf(), host::render_node()]);
    checks.extend([host::egl(), three_d::check()]);
    checks.extend(display::checks(&display::Roots::host()));
    checks.extend([host::memlock(), linger::check()]);
    checks
}

/// How long a child that was killed may take to go: one that hangs in the kernel never does.
const GOING: Duration = Duration::from_secs(5);
/// Most bytes of each output of a child.
const MAX_OUTPUT: u64 = 4 << 20;

/// What became of a child.
struct Ran {
    /// `None`: it did not end in time.
    status: Option<ExitStatus>,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

/// Runs a program for at most `limit`.
fn run_for(program: &Path, arguments: &[&str], limit: Duration) -> Result<Output, String> {
    let Ran { status, stdout, stderr } = run_until(program, arguments, limit)?;
    match status {
        Some(status) => Ok(Output { status, stdout, stderr }),
        None => Err(format!("{} did not end within {} s", program.display(), limit.as_secs())),
    }
}

/// The same; of one that does not end in time, and is killed, there is what it has said until then.
fn run_until(program: &Path, arguments: &[&str], limit: Duration) -> Result<Ran, String> {
    let shown = program.display();
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| format!("{shown} cannot be started: {error}"))?;
    let pid = rustix::process::Pid::from_child(&child);
    let watch = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty());
    let watch = watch.map_err(|error| format!("{shown} cannot be watched: {error}"))?;
    let out = child.stdout.take().map(Said::hear);
    let err = child.stderr.take().map(Said::hear);
    let in_time = ends_before(&watch, Instant::now() + limit);
    if !in_time {
        let _ = child.kill();
    }
    let gone = in_time || ends_before(&watch, Instant::now() + GOING);
    let status =
        if gone { Some(child.wait().map_err(|error| format!("{shown} cannot be waited for: {error}"))?) } else { None };
    let said = |said: Option<Said>| said.map(|said| said.take(gone)).unwrap_or_default();
    Ok(Ran { status: status.filter(|_| in_time), stdout: said(out), stderr: said(err) })
}

/// What a child says, read on a thread so that a chatty one does not wait for a full pipe.
struct Said {
    bytes: Arc<Mutex<Vec<u8>>>,
    thread: std::thread::JoinHandle<()>,
}

impl Said {
    fn hear(pipe: impl Read + Send + 'static) -> Self {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let heard = bytes.clone();
        let thread = std::thread::spawn(move || {
            let (mut pipe, mut piece) = (pipe.take(MAX_OUTPUT), [0; 4096]);
            while let Ok(count @ 1..) = pipe.read(&mut piece) {
                let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
                heard.extend_from_slice(piece.get(..count).unwrap_or_default());
            }
        });
        Self { bytes, thread }
    }

    /// All of it; where the child never goes, what it has said so far.
    fn take(self, gone: bool) -> Vec<u8> {
        if gone {
            let _ = self.thread.join();
        }
        std::mem::take(&mut *self.bytes.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn ends_before(pidfd: &std::os::fd::OwnedFd, end: Instant) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let Ok(limit) = Timespec::try_from(left) else { return false };
        match poll(&mut [PollFd::new(pidfd, PollFlags::IN)], Some(&limit)) {
            Ok(count) => return count > 0,
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_that_does_not_end_is_ended() {
        let started = Instant::now();
        let error = run_for(Path::new("/bin/sh"), &["-c", "exec sleep 60"], Duration::from_millis(200)).unwrap_err();
        assert!(error.contains("did not end") && started.elapsed() < Duration::from_secs(30), "{error}");
    }

    #[test]
    fn a_child_that_prints_much_is_read() {
        let script = "i=0; while [ $i -lt 3000 ]; do echo 0123456789012345678901234567890123456789; i=$((i+1)); done";
        let output = run_for(Path::new("/bin/sh"), &["-c", script], Duration::from_secs(30)).unwrap();
        assert_eq!((output.status.success(), output.stdout.len()), (true, 3000 * 41));
    }

    #[test]
    fn a_program_that_is_missing_is_a_sentence() {
        assert!(run_for(Path::new("/no/such"), &[], Duration::from_secs(1)).unwrap_err().contains("/no/such"));
    }
}
