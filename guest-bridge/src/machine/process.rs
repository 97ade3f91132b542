//! QEMU as a child process: its sockets, its words, its end.
//!
//! The child inherits exactly the sockets that its command line names and standard error; it dies with this process;
//! what it writes is bounded on disk and in memory. It is ended through a pidfd, so never another process by mistake,
//! and is deaf to the polite signals: systemd sends those to every process of a unit, where they are for phyllome-guest
//! alone, which gives the guest time.

use super::command_line::CommandLine;
use super::environment;
use super::lifecycle::Exit;
use super::log_rate::LogRate;
use super::logs::BoundedLog;
use super::words::LastWords;
use crate::child;
use rustix::process::{Pid, PidfdFlags, Signal};
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Instant;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};

/// Numbers from here on are QEMU's ends. They are the same here and in the child, so nothing can be overwritten there.
const FIRST_CHILD_FD: RawFd = 100;

/// Three connections to a QEMU that is to be started.
#[derive(Debug)]
pub struct Sockets {
    /// Our end of the vhost-user connection.
    pub gpu: UnixStream,
    /// Our end of QMP.
    pub qmp: UnixStream,
    /// Our end of the guest's serial port.
    pub serial: UnixStream,
    child: [OwnedFd; 3],
}

impl Sockets {
    /// Makes them.
    pub fn new() -> io::Result<Self> {
        let (gpu, child_gpu) = connection()?;
        let (qmp, child_qmp) = connection()?;
        let (serial, child_serial) = connection()?;
        Ok(Self { gpu, qmp, serial, child: [child_gpu, child_qmp, child_serial] })
    }

    /// The numbers of QEMU's ends: gpu, QMP, serial port.
    pub fn child_numbers(&self) -> [RawFd; 3] {
        self.child.each_ref().map(AsRawFd::as_raw_fd)
    }
}

fn connection() -> io::Result<(UnixStream, OwnedFd)> {
    let (here, there) = UnixStream::pair()?;
    let there = rustix::io::fcntl_dupfd_cloexec(&there, FIRST_CHILD_FD)?;
    Ok((here, there))
}

/// A QEMU that was started.
#[derive(Debug)]
pub struct Process {
    /// Its process id.
    pub id: u32,
    /// For its end.
    pub killer: Killer,
    child: Child,
}

/// Ends a process for certain, and only that one.
#[derive(Debug)]
pub struct Killer(OwnedFd);

impl Killer {
    /// Sends SIGKILL. A process that has ended already is fine.
    pub fn kill(&self) {
        match rustix::process::pidfd_send_signal(&self.0, Signal::KILL) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => {}
            Err(error) => tracing::error!(%error, "QEMU cannot be killed"),
        }
    }
}

/// Starts QEMU. Our ends of `sockets` come back. The error is one sentence. Must be called inside a tokio runtime.
pub fn start(line: &CommandLine, sockets: Sockets) -> Result<(Process, [UnixStream; 3]), String> {
    let mut command = Command::new(&line.program);
    command.args(&line.args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command.env_clear().envs(environment::of_qemu(std::env::vars_os()));
    // A group of its own: Ctrl-C in a terminal is for this process, which then ends QEMU in order.
    command.process_group(0).kill_on_drop(true);
    let numbers = sockets.child_numbers();
    let parent = rustix::process::getpid();
    // SAFETY: between fork and exec only system calls that are safe there are made (fcntl, prctl, getppid,
    // sigprocmask); nothing is allocated and no lock is taken. The descriptors stay open until `sockets` is dropped,
    // after the exec.
    unsafe {
        command.pre_exec(move || prepare_child(numbers, parent));
    }
    let child = command
        .spawn()
        .map_err(|error| format!("cannot start {} ({error}); reinstall QEMU", line.program.display()))?;
    let pid = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    let (Some(id), Some(pid)) = (child.id(), pid) else {
        return Err("QEMU ended before it began; start the guest again".into());
    };
    // Nobody has waited for the child yet, so its id is still its own.
    let killer = rustix::process::pidfd_open(pid, PidfdFlags::empty());
    let killer = Killer(killer.map_err(|error| format!("cannot watch over QEMU ({error}); start the guest again"))?);
    Ok((Process { id, killer, child }, [sockets.gpu, sockets.qmp, sockets.serial]))
}

fn prepare_child(numbers: [RawFd; 3], parent: Pid) -> io::Result<()> {
    child::end_with_parent(parent)?;
    // What this process was itself started with by accident is not for QEMU.
    child::close_all_on_exec();
    child::block_requests_to_end()?;
    for number in numbers {
        // SAFETY: the number is that of a descriptor that `Sockets` holds open across this call.
        let borrowed = unsafe { std::os::fd::BorrowedFd::borrow_raw(number) };
        rustix::io::fcntl_setfd(borrowed, rustix::io::FdFlags::empty())?;
    }
    Ok(())
}

impl Process {
    /// QEMU's standard error, once.
    pub fn take_stderr(&mut self) -> Option<tokio::process::ChildStderr> {
        self.child.stderr.take()
    }

    /// Splits off what ends the process from what waits for it.
    pub fn split(self) -> (Killer, Waiter) {
        (self.killer, Waiter(self.child))
    }
}

/// Waits for a process.
#[derive(Debug)]
pub struct Waiter(Child);

impl Waiter {
    /// How it ended.
    pub async fn wait(mut self) -> Exit {
        match self.0.wait().await {
            Ok(status) => exit(status),
            Err(error) => {
                tracing::error!(%error, "cannot wait for QEMU");
                Exit::Code(-1)
            }
        }
    }
}

fn exit(status: ExitStatus) -> Exit {
    status.code().map_or_else(|| Exit::Signal(status.signal().unwrap_or_default()), Exit::Code)
}

/// Reads `from` to its end into a bounded log, at a bounded rate, and into `words` if there are any to keep.
pub async fn collect(mut from: impl AsyncRead + Unpin, log: &Path, words: Option<LastWords>) {
    let mut log = match BoundedLog::open(log) {
        Ok(log) => Some(log),
        Err(error) => {
            tracing::warn!(%error, log = %log.display(), "cannot write a log");
            None
        }
    };
    let mut rate = LogRate::default();
    let mut buffer = vec![0u8; 4096];
    // Whatever ends the reading, there is nothing more to read then.
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        let bytes = buffer.get(..count).unwrap_or_default();
        if let Some(words) = &words {
            words.push(bytes);
        }
        let (left_out, bytes) = rate.take(bytes, Instant::now());
        write_log(&mut log, left_out.as_deref().unwrap_or_default().as_bytes());
        write_log(&mut log, bytes);
    }
    write_log(&mut log, &rate.end().unwrap_or_default());
}

fn write_log(log: &mut Option<BoundedLog>, bytes: &[u8]) {
    if let Some(file) = log
        && let Err(error) = file.write_all(bytes)
    {
        tracing::warn!(%error, "a log is given up");
        *log = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsString;
    use std::io::Read;
    use std::time::Duration;

    fn block_on<T>(work: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
    }

    fn shell(script: &str) -> CommandLine {
        CommandLine { program: "/bin/bash".into(), args: vec![OsString::from("-c"), script.into()] }
    }

    #[test]
    fn the_child_inherits_its_sockets_and_nothing_else() {
        let leaked = std::fs::File::open("/dev/null").unwrap();
        rustix::io::fcntl_setfd(&leaked, rustix::io::FdFlags::empty()).unwrap();
        block_on(async {
            let sockets = Sockets::new().unwrap();
            let [_, qmp, serial] = sockets.child_numbers();
            // What is written to the QMP socket is the shell's list of open descriptors; it may keep one of its own
            // near 255.
            let script = format!("ls /proc/$$/fd >&{qmp}; echo serial >&{serial}; exit 3");
            let (process, [_gpu, mut qmp_here, mut serial_here]) = start(&shell(&script), sockets).unwrap();
            let (_killer, waiter) = process.split();
            assert_eq!(waiter.wait().await, Exit::Code(3));
            let (mut fds, mut text) = (String::new(), String::new());
            qmp_here.read_to_string(&mut fds).unwrap();
            serial_here.read_to_string(&mut text).unwrap();
            assert_eq!(text, "serial\n");
            let fds: Vec<RawFd> = fds.split_whitespace().map(|fd| fd.parse().unwrap()).collect();
            assert!(fds.iter().filter(|fd| (FIRST_CHILD_FD..200).contains(*fd)).count() == 3, "{fds:?}");
            assert!(fds.iter().all(|fd| *fd <= 2 || *fd >= FIRST_CHILD_FD || *fd == 10), "{fds:?}");
        });
    }

    #[test]
    fn a_killed_child_says_so_and_its_words_are_kept() {
        block_on(async {
            let dir = tempfile::tempdir().unwrap();
            let script = "echo 'qemu-system-x86_64: could not find it' >&2; echo; exec sleep 1000";
            let (mut process, _ends) = start(&shell(script), Sockets::new().unwrap()).unwrap();
            let stderr = process.take_stderr().unwrap();
            let words = LastWords::default();
            let log = dir.path().join("qemu.log");
            let reader = collect(stderr, &log, Some(words.clone()));
            let (killer, waiter) = process.split();
            let wait = async {
                while words.lines().is_empty() {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                killer.kill();
                waiter.wait().await
            };
            let both = async { tokio::join!(reader, wait) };
            let ((), end) = tokio::time::timeout(Duration::from_secs(20), both).await.unwrap();
            assert_eq!(end, Exit::Signal(9));
            assert_eq!(words.explanation(), Some("could not find it".into()));
            assert!(std::fs::read_to_string(&log).unwrap().contains("could not find it"));
            // A second kill harms nobody.
            killer.kill();
        });
    }

    #[test]
    fn a_program_that_is_not_there_is_one_sentence() {
        block_on(async {
            let line = CommandLine { program: "/nowhere/qemu".into(), args: Vec::new() };
            assert!(start(&line, Sockets::new().unwrap()).unwrap_err().contains("/nowhere/qemu"));
        });
    }
}
