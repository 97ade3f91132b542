//! The thread that a renderer's process belongs to: it starts it, logs what it says, ends it when asked to, and reaps
//! it.
//!
//! Whoever uses the renderer holds a [`Process`] and never waits: dropping it is the order to end. The process is
//! ended through a pidfd, so never another one by mistake; what it left behind in its group is ended before its number
//! is free.

use super::launch::Launch;
use super::output::OutputLines;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::io::{self, PipeReader};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// Bytes that are read of what a process said before its end.
const LAST_WORDS: usize = 64 << 10;

#[derive(Debug, Default)]
struct Shared {
    pid: AtomicU32,
    end: OnceLock<String>,
}

/// A renderer's process, from before it runs until after its end. Dropping it ends the process.
#[derive(Debug)]
pub struct Process {
    line: UnixStream,
    shared: Arc<Shared>,
}

impl Process {
    /// Has `launch` started with `socket`. Fails where the host gives no thread or descriptor; whatever else goes wrong
    /// is [`Self::end`].
    pub fn start(launch: Launch, socket: OwnedFd) -> io::Result<Self> {
        let (line, other_end) = UnixStream::pair()?;
        line.set_nonblocking(true)?;
        let shared = Arc::new(Shared::default());
        let told = shared.clone();
        let keep = move || {
            let end = keep(&launch, socket, &other_end, &told.pid).unwrap_or_else(|trouble| trouble);
            told.pid.store(0, Ordering::Release);
            tracing::info!(target: "renderer", "{end}");
            // There is one process, so the end is told once; the line closes after it.
            let _ = told.end.set(end);
        };
        std::thread::Builder::new().name("renderer-process".to_owned()).spawn(keep)?;
        Ok(Self { line, shared })
    }

    /// Whether it has begun to run since the last call: from then on it has an id.
    pub fn begins(&self) -> bool {
        matches!(rustix::io::read(&self.line, &mut [0; 1]), Ok(1))
    }

    /// Its id while it runs.
    pub fn pid(&self) -> Option<u32> {
        Some(self.shared.pid.load(Ordering::Acquire)).filter(|&pid| pid != 0)
    }

    /// How it ended, or why it could not start: one sentence.
    pub fn end(&self) -> Option<&str> {
        self.shared.end.get().map(String::as_str)
    }
}

impl AsFd for Process {
    /// Readable when [`Self::begins`] is to be asked, and once [`Self::end`] says something.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.line.as_fd()
    }
}

/// The whole life of a process; how it ended. `line` is closed by whoever wants it to end.
fn keep(launch: &Launch, socket: OwnedFd, line: &UnixStream, pid: &AtomicU32) -> Result<String, String> {
    let host = |error: io::Error| format!("the renderer cannot be started: {error}");
    let (output, writer) = io::pipe().map_err(host)?;
    rustix::io::ioctl_fionbio(&output, true).map_err(|error| host(error.into()))?;
    let mut child = launch.spawn(socket, &writer)?;
    drop(writer);
    let id = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    // Nobody has waited for the child yet, so its id is still its own.
    let (id, pidfd) = match id.map(|id| (id, pidfd_open(id, PidfdFlags::empty()))) {
        Some((id, Ok(pidfd))) => (id, pidfd),
        _ => {
            let _ = child.kill();
            let _ = child.wait();
            return Err("the renderer cannot be watched over, so it was ended".to_owned());
        }
    };
    pid.store(child.id(), Ordering::Release);
    // Whoever does not want it any more has closed the line, which is seen next.
    let _ = rustix::net::send(line, b"!", rustix::net::SendFlags::NOSIGNAL);
    watch(&pidfd, output, line);
    // The leader is not reaped, so no other group has its number. There may be nobody left in it.
    let _ = rustix::process::kill_process_group(id, Signal::KILL);
    reap(&mut child)
}

/// Logs and obeys until the process has ended.
fn watch(pidfd: &OwnedFd, output: PipeReader, line: &UnixStream) {
    let (mut output, mut line) = (Some(output), Some(line));
    let mut lines = OutputLines::default();
    loop {
        let now = Instant::now();
        let pause = lines.pause(now);
        let mut fds = vec![PollFd::new(pidfd, PollFlags::IN)];
        if let Some(line) = line {
            fds.push(PollFd::new(line, PollFlags::IN));
        }
        let reads = output.as_ref().filter(|_| pause.is_zero());
        if let Some(output) = reads {
            fds.push(PollFd::new(output, PollFlags::IN));
        }
        let timeout = output.as_ref().filter(|_| !pause.is_zero()).map(|_| timespec(pause));
        let waited = poll(&mut fds, timeout.as_ref());
        if !matches!(waited, Ok(_) | Err(Errno::INTR)) {
            // The host is out of memory; without eyes on the process, it ends.
            kill(pidfd);
            return;
        }
        let is = |index: usize| fds.get(index).is_some_and(|fd| !fd.revents().is_empty());
        let (ended, ordered, said) = (is(0), line.is_some() && is(1), reads.is_some() && is(fds.len() - 1));
        if ordered {
            kill(pidfd);
            line = None;
        }
        if ended {
            if let Some(output) = &output {
                last_words(output, &mut lines);
            }
            return;
        }
        if said && !output.as_ref().is_some_and(|output| listen(output, &mut lines, now)) {
            output = None;
        }
    }
}

fn timespec(time: Duration) -> Timespec {
    Timespec { tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX), tv_nsec: i64::from(time.subsec_nanos()) }
}

fn kill(pidfd: &OwnedFd) {
    match pidfd_send_signal(pidfd, Signal::KILL) {
        Ok(()) | Err(Errno::SRCH) => {}
        Err(error) => tracing::error!(%error, "a renderer cannot be killed"),
    }
}

/// Reads once; `false` at the pipe's end.
fn listen(output: &PipeReader, lines: &mut OutputLines, now: Instant) -> bool {
    let mut bytes = [0; 4096];
    match rustix::io::read(output, &mut bytes) {
        Ok(0) => false,
        Ok(count) => {
            lines.hear(bytes.get(..count).unwrap_or_default(), now, &mut log);
            true
        }
        Err(error) => matches!(error, Errno::AGAIN | Errno::INTR),
    }
}

fn last_words(output: &PipeReader, lines: &mut OutputLines) {
    let mut read = 0;
    let mut bytes = [0; 4096];
    while read < LAST_WORDS
        && let Ok(count @ 1..) = rustix::io::read(output, &mut bytes)
    {
        lines.hear(bytes.get(..count).unwrap_or_default(), Instant::now(), &mut log);
        read += count;
    }
    lines.finish(&mut log);
}

fn log(line: &str) {
    tracing::info!(target: "renderer", "{line}");
}

fn reap(child: &mut Child) -> Result<String, String> {
    let status = child.wait().map_err(|error| format!("cannot wait for the renderer: {error}"))?;
    Ok(sentence(status))
}

fn sentence(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("the renderer ended with code {code}"),
        (None, Some(signal)) => format!("the renderer was ended by signal {signal}"),
        (None, None) => "the renderer ended".to_owned(),
    }
}
