//! The login session: sets up its environment, runs phyllome-shell on the display, and brings it back when it crashes.
//!
//! Started by a login manager or on a bare console. It decides nothing about guests: they run on by themselves, until
//! the person's last session ends if logind is told nothing else. When to start again is [`policy`]'s; what it leaves
//! behind is a text console and no shell.

#![deny(clippy::wildcard_enum_match_arm, reason = "a new verb or message is not to be taken for another")]

mod console;
mod environment;
mod policy;
mod systemd;

use console::Console;
use environment::Line;
use phyllome_protocol::complain;
use phyllome_protocol::runtime::RuntimeDir;
use phyllome_protocol::start;
use policy::{Ending, GAVE_UP, Policy, Start, Step};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::ffi::OsString;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitCode, ExitStatus};
use std::time::{Duration, Instant};
use systemd::Manager;

/// How long the shell may take to end after it was asked to, before it is killed.
const GRACE: Duration = Duration::from_secs(10);
/// How long the shell's process may stay once the shell has said that it ends.
const FAREWELL: Duration = Duration::from_secs(5);

const HELP: &str = "\
Runs phyllome-shell as a login session and brings it back when it crashes

Usage: phyllome-session [--restart-limit N] [OPTIONS OF phyllome-shell]...

Without --backend the shell is started with --backend kms.

      --restart-limit N  Crashes in a minute after which the shell comes back with its list of guests and a message; one more
                         within the next minute ends the session [default: 3]
  -h, --help             Print help
  -V, --version          Print version

Exit codes: the shell's own; 4 if the session gave up. Guests run on, unless logind ends them with your last session:
`phyllome doctor` says whether it does.";

/// SIGTERM, SIGINT and SIGHUP, each on a socket that is readable once it came.
struct Signals([(Signal, UnixStream); 3]);

impl Signals {
    /// Handlers that write to a socket, and not a signal mask, because children inherit a mask.
    fn catch() -> io::Result<Self> {
        let catch = |signal: Signal| {
            let (told, teller) = UnixStream::pair()?;
            told.set_nonblocking(true)?;
            signal_hook::low_level::pipe::register(signal.as_raw(), teller)?;
            Ok::<_, io::Error>((signal, told))
        };
        Ok(Self([catch(Signal::TERM)?, catch(Signal::INT)?, catch(Signal::HUP)?]))
    }

    /// Waits for a signal, for one of `others` to be readable, or until `until`; the signal.
    fn wait(&mut self, others: &[BorrowedFd<'_>], until: Option<Instant>) -> Option<Signal> {
        let limit = until.map(|until| until.saturating_duration_since(Instant::now()));
        let limit =
            limit.map(|limit| Timespec { tv_sec: limit.as_secs() as i64, tv_nsec: limit.subsec_nanos().into() });
        let mut watched: Vec<_> = self.0.iter().map(|(_, told)| PollFd::new(told, PollFlags::IN)).collect();
        watched.extend(others.iter().map(|other| PollFd::from_borrowed_fd(*other, PollFlags::IN)));
        // An interruption is seen in the next turn.
        let _ = poll(&mut watched, limit.as_ref());
        let came = watched.iter().zip(0..).find(|(fd, number)| *number < 3 && fd.revents().contains(PollFlags::IN));
        let number = came.map(|(_, number): (_, usize)| number)?;
        let (signal, told) = self.0.get_mut(number)?;
        let _ = told.read(&mut [0; 64]);
        Some(*signal)
    }
}

/// How one run of the shell ended, and whether somebody had asked for the end.
struct Run {
    ending: Ending,
    asked: bool,
}

/// A shell that runs.
struct Shell {
    child: Child,
    /// Readable once all of its process has ended.
    process: OwnedFd,
    /// The other end of its standard input, on which it says how it ends.
    words: UnixStream,
}

fn start_shell(arguments: &[OsString], settings: &[(&'static str, OsString)]) -> Result<Shell, String> {
    let program = start::program("phyllome-shell");
    let (words, theirs) = UnixStream::pair()
        .map_err(|error| format!("the shell cannot be heard ({error}); end some programs and log in again"))?;
    words
        .set_nonblocking(true)
        .map_err(|error| format!("the shell cannot be heard ({error}); end some programs and log in again"))?;
    let mut command = Command::new(&program);
    command.args(arguments).stdin(OwnedFd::from(theirs)).envs(settings.iter().map(|(name, value)| (name, value)));
    // It owns the display; no other one is meant.
    command.env_remove("WAYLAND_SOCKET");
    // SAFETY: between fork and exec only prctl(2) is called, which is async-signal-safe and touches no memory.
    unsafe {
        // A shell without its session would keep the display from whoever logs in next.
        command.pre_exec(|| Ok(rustix::process::set_parent_process_death_signal(Some(Signal::TERM))?));
    }
    let mut child = command.spawn().map_err(|error| {
        format!("{} cannot be started ({error}); install it beside phyllome-session", program.display())
    })?;
    match pidfd_open(Pid::from_child(&child), PidfdFlags::empty()) {
        Ok(process) => Ok(Shell { child, process, words }),
        Err(error) => {
            let _ = child.kill();
            let _ = child.wait();
            Err(format!("the shell cannot be watched: {error}"))
        }
    }
}

/// Runs the shell once, to its end. Signals are passed on to it.
///
/// A thread that closes what a guest has sent may wait for that guest as long as it likes, and no signal ends it. So a
/// shell that has put everything away says how it ends, and its process is not waited for any longer.
fn run_shell(
    arguments: &[OsString],
    settings: &[(&'static str, OsString)],
    signals: &mut Signals,
) -> Result<Run, String> {
    let Shell { mut child, process, words } = start_shell(arguments, settings)?;
    let mut killed_at = None;
    let mut killed = false;
    let mut listens = true;
    let mut said: Option<(i32, Instant)> = None;
    loop {
        let others = [process.as_fd(), words.as_fd()];
        let others = if listens { &others[..] } else { &others[..1] };
        let until = killed_at.into_iter().chain(said.map(|(_, at)| at)).min();
        let signal = signals.wait(others, until);
        let asked = signal.is_some() || killed_at.is_some();
        if let Some(status) = child.try_wait().map_err(|error| format!("the shell cannot be waited for: {error}"))? {
            return Ok(Run { ending: ending(status), asked });
        }
        let mut word = [0];
        match (&words).read(&mut word) {
            _ if !listens => {}
            Ok(count) => {
                listens = false;
                let [code] = word;
                said = (count > 0).then(|| (code.into(), Instant::now() + FAREWELL));
            }
            Err(error) => listens = matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted),
        }
        if let Some((code, _)) = said.filter(|(_, at)| *at <= Instant::now()) {
            complain(format_args!(
                "phyllome-session: the shell has ended, but its process stays, as a guest can make it; force off the \
                 guest that hangs (phyllome status)"
            ));
            return Ok(Run { ending: Ending::Code(code), asked });
        }
        if let Some(signal) = signal {
            let _ = pidfd_send_signal(&process, signal);
            killed_at.get_or_insert_with(|| Instant::now() + GRACE);
        } else if killed && killed_at.is_some_and(|at| at <= Instant::now()) {
            return Ok(Run { ending: Ending::Signal(Signal::KILL.as_raw()), asked });
        } else if killed_at.is_some_and(|at| at <= Instant::now()) {
            let seconds = GRACE.as_secs();
            complain(format_args!("phyllome-session: the shell does not end within {seconds} s and is killed"));
            let _ = pidfd_send_signal(&process, Signal::KILL);
            killed = true;
            killed_at = Some(Instant::now() + GRACE);
        }
    }
}

fn ending(status: ExitStatus) -> Ending {
    status.code().map_or_else(|| Ending::Signal(status.signal().unwrap_or_default()), Ending::Code)
}

/// Runs the shell until it needs no more starts; the exit code and, where the shell has not said it, why.
fn supervise(
    limit: usize,
    shell: &[OsString],
    settings: &[(&'static str, OsString)],
    signals: &mut Signals,
) -> (u8, Option<String>) {
    let mut policy = Policy::new(limit);
    let mut start = Start::First;
    loop {
        let run = match run_shell(&environment::arguments(shell, start), settings, signals) {
            Ok(run) => run,
            Err(sentence) => return (1, Some(sentence)),
        };
        if run.asked {
            return match run.ending {
                Ending::Code(code) => (u8::try_from(code).unwrap_or(GAVE_UP), None),
                Ending::Signal(signal) => (128u8.saturating_add(u8::try_from(signal).unwrap_or(0)), None),
            };
        }
        match policy.ended(run.ending, Instant::now()) {
            Step::Finish(code, why) => return (code, why),
            Step::Again(next, pause) => {
                complain(format_args!("phyllome-session: the shell stopped {} and is started again", run.ending));
                start = next;
                if !pause.is_zero() && signals.wait(&[], Some(Instant::now() + pause)).is_some() {
                    return (0, None);
                }
            }
        }
    }
}

fn session(limit: usize, shell: &[OsString]) -> Result<u8, String> {
    let runtime = RuntimeDir::open().map_err(|error| error.to_string())?;
    let mut signals = Signals::catch().map_err(|error| format!("signals cannot be caught: {error}"))?;
    let console = Console::remember();
    let get = |name: &str| std::env::var_os(name);
    let settings = environment::settings(get);
    let base = runtime.path().parent().unwrap_or(runtime.path());
    let manager = Manager::begin(base, &settings, environment::told(&settings, get));
    let (code, why) = supervise(limit, shell, &settings, &mut signals);
    if let Some(console) = console {
        console.restore();
    }
    if let Some(manager) = manager {
        manager.end();
    }
    if let Some(why) = why {
        complain(format_args!("phyllome-session: {why}"));
    }
    Ok(code)
}

fn main() -> ExitCode {
    match environment::read(std::env::args_os().skip(1)) {
        Line::Help => println!("{HELP}"),
        Line::Version => println!("phyllome-session {}", env!("CARGO_PKG_VERSION")),
        Line::Wrong(sentence) => {
            complain(format_args!("phyllome-session: {sentence}; --help says more"));
            return ExitCode::from(2);
        }
        Line::Run { limit, shell } => {
            if let Err(error) = start::hide_memory() {
                complain(format_args!(
                    "phyllome-session: other programs of this user can read its memory ({error}); log in again"
                ));
            }
            return match session(limit, &shell) {
                Ok(code) => ExitCode::from(code),
                Err(sentence) => {
                    complain(format_args!("phyllome-session: {sentence}"));
                    ExitCode::from(1)
                }
            };
        }
    }
    ExitCode::SUCCESS
}
