//! The login session: a played phyllome-shell beside a copy of phyllome-session, played systemd commands in PATH.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use phyllome_test_guests::program;
use phyllome_test_support::process::{SEEN_AS, is_hidden};
use rustix::process::{Pid, Signal, kill_process};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

const SESSION: &str = env!("CARGO_BIN_EXE_phyllome-session");
const PATIENCE: Duration = Duration::from_secs(20);

/// A folder that is XDG_RUNTIME_DIR, and home of the programs.
struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    /// The shell is a script of this text. It writes its arguments to a line of `starts` before.
    fn new(shell: &str) -> Self {
        let place = Self::empty();
        place.script("phyllome-shell", &format!("cd {}; echo \"$@\" >> starts\n{shell}", place.path().display()));
        place
    }

    fn empty() -> Self {
        let place = Self { folder: tempfile::tempdir().unwrap() };
        std::fs::set_permissions(place.path(), PermissionsExt::from_mode(0o700)).unwrap();
        program::copy(Path::new(SESSION), &place.path().join("phyllome-session")).unwrap();
        place
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn script(&self, name: &str, text: &str) {
        program::write(&self.path().join(name), &format!("#!/bin/sh\n{text}\n")).unwrap();
    }

    /// A user manager that notes what it is asked.
    fn systemd(&self, script: &str) {
        std::fs::create_dir(self.path().join("systemd")).unwrap();
        std::fs::write(self.path().join("systemd/private"), "").unwrap();
        self.script(
            "systemctl",
            &format!("echo \"$XDG_CURRENT_DESKTOP $@\" >> {}\n{script}", self.path().join("asked").display()),
        );
    }

    fn command(&self) -> Command {
        let mut command = Command::new(self.path().join("phyllome-session"));
        command
            .env_clear()
            .env("PATH", format!("{}:/usr/bin:/bin", self.path().display()))
            .env("HOME", self.path())
            .env("XDG_RUNTIME_DIR", self.path())
            .stdin(Stdio::null())
            .stderr(Stdio::piped());
        command
    }

    fn start(&self, arguments: &[&str]) -> Child {
        self.command().args(arguments).spawn().unwrap()
    }

    /// Runs it to its end: status and what it printed.
    fn run(&self, arguments: &[&str]) -> (ExitStatus, String) {
        finish(self.start(arguments))
    }

    fn lines(&self, file: &str) -> Vec<String> {
        let text = std::fs::read_to_string(self.path().join(file)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    fn wait_lines(&self, file: &str, count: usize) -> Vec<String> {
        wait(&format!("{count} lines in {file}"), || Some(self.lines(file)).filter(|lines| lines.len() >= count))
    }
}

fn wait<T>(what: &str, mut done: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = done() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn finish(mut child: Child) -> (ExitStatus, String) {
    wait("the session to end", || child.try_wait().unwrap());
    let output = child.wait_with_output().unwrap();
    (output.status, String::from_utf8_lossy(&output.stderr).into_owned())
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

#[test]
fn endings_that_are_no_crash_are_passed_on_at_once() {
    for code in [0, 1, 2] {
        let place = Place::new(&format!("echo 'phyllome-shell: a reason' >&2; exit {code}"));
        let (status, said) = place.run(&[]);
        assert_eq!(status.code(), Some(code), "{said}");
        assert_eq!(place.lines("starts"), ["--backend kms"]);
        assert_eq!(said, "phyllome-shell: a reason\n", "the shell has said why, nothing is added");
    }
}

#[test]
fn arguments_are_passed_on_and_the_environment_is_set() {
    let place = Place::new("echo $XDG_CURRENT_DESKTOP $XDG_SESSION_TYPE $XDG_SESSION_DESKTOP > seen");
    assert_eq!(place.run(&["--backend", "headless", "--size", "640x480"]).0.code(), Some(0));
    assert_eq!(place.lines("starts"), ["--backend headless --size 640x480"]);
    assert_eq!(place.lines("seen"), ["Phyllome wayland phyllome"]);
}

#[test]
fn a_crash_brings_the_shell_back_at_once() {
    let place =
        Place::new("if [ $(wc -l < starts) = 1 ]; then date +%s%N > died; kill -9 $$; fi; date +%s%N > back; exit 0");
    assert_eq!(place.run(&[]).0.code(), Some(0));
    assert_eq!(place.lines("starts"), ["--backend kms", "--backend kms --after-crash"]);
    let moment = |file: &str| place.lines(file)[0].parse::<u64>().unwrap();
    let away = Duration::from_nanos(moment("back") - moment("died"));
    assert!(away < Duration::from_secs(1), "it was away for {away:?}");
}

#[test]
fn a_session_whose_words_nobody_can_take_brings_the_shell_back_all_the_same() {
    let place = Place::new("[ $(wc -l < starts) = 1 ] && kill -SEGV $$; exit 0");
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let status = place.command().stderr(full).status().unwrap();
    assert!(status.success(), "{status:?}");
    assert_eq!(place.lines("starts").len(), 2);
}

#[test]
fn three_crashes_bring_it_back_with_a_message_and_a_fourth_ends_the_session() {
    let place = Place::new("kill -11 $$");
    let (status, said) = place.run(&[]);
    assert_eq!(status.code(), Some(4), "{said}");
    let back = "--backend kms --after-crash";
    assert_eq!(place.lines("starts"), ["--backend kms", back, back, "--backend kms --recovered 3"]);
    let sentence = said.lines().last().unwrap();
    assert!(sentence.contains("4 times in a minute, at last by signal 11"), "{said}");
    assert!(sentence.contains("guests still run"), "{said}");
}

#[test]
fn a_recovered_shell_that_ends_well_ends_the_session_well() {
    let place = Place::new("case \"$*\" in *--recovered*) exit 0;; *) exit 101;; esac");
    assert_eq!(place.run(&["--restart-limit", "2"]).0.code(), Some(0));
    assert_eq!(place.lines("starts").last().unwrap(), "--backend kms --recovered 2");
}

#[test]
fn a_seat_that_is_not_free_yet_after_a_crash_is_waited_for() {
    let place = Place::new("case $(wc -l < starts) in 1) kill -9 $$;; 2|3) exit 1;; *) exit 0;; esac");
    assert_eq!(place.run(&[]).0.code(), Some(0));
    assert_eq!(place.lines("starts").len(), 4);
}

#[test]
fn signals_are_passed_on_and_end_the_session() {
    for (sent, name) in [(Signal::TERM, "TERM"), (Signal::INT, "INT"), (Signal::HUP, "HUP")] {
        let place =
            Place::new(&format!("trap 'echo {name} > got; kill $!; exit 0' {name}; sleep 100 & echo > ready; wait"));
        let session = place.start(&[]);
        place.wait_lines("ready", 1);
        signal(&session, sent);
        assert_eq!(finish(session).0.code(), Some(0), "{name}");
        assert_eq!(place.lines("got"), [name]);
        assert_eq!(place.lines("starts").len(), 1, "what was asked to end is not started again");
    }
}

#[test]
fn a_shell_that_dies_of_the_signal_that_was_passed_on_is_not_started_again() {
    let place = Place::new("echo > ready; exec sleep 100");
    let session = place.start(&[]);
    place.wait_lines("ready", 1);
    signal(&session, Signal::TERM);
    assert_eq!(finish(session).0.code(), Some(128 + 15));
    assert_eq!(place.lines("starts").len(), 1);
}

#[test]
fn a_session_that_is_killed_leaves_no_shell_behind() {
    let place = Place::new("echo $$ > pid; exec sleep 100");
    let session = place.start(&[]);
    let pid = place.wait_lines("pid", 1)[0].clone();
    signal(&session, Signal::KILL);
    finish(session);
    // Its new parent may take a moment to wait for it.
    let state = || std::fs::read_to_string(format!("/proc/{pid}/stat")).ok().filter(|stat| !stat.contains(") Z "));
    wait("the shell to end", || state().is_none().then_some(()));
}

#[test]
fn without_a_runtime_folder_or_a_shell_it_says_what_to_do() {
    let place = Place::new("exit 0");
    let refused = |command: &mut Command, about: &str| {
        let (status, said) = finish(command.spawn().unwrap());
        assert_eq!(status.code(), Some(1));
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(said.starts_with("phyllome-session: ") && said.contains(about), "{said}");
    };
    refused(place.command().env_remove("XDG_RUNTIME_DIR"), "XDG_RUNTIME_DIR is not set");
    let place = Place::empty();
    refused(place.command().env("PATH", place.path()), "phyllome-shell cannot be started");
    std::fs::set_permissions(place.path(), PermissionsExt::from_mode(0o755)).unwrap();
    refused(&mut place.command(), "chmod 700");
}

#[test]
fn wrong_usage_is_told_apart() {
    let place = Place::new("exit 0");
    assert_eq!(place.run(&["--restart-limit", "none"]).0.code(), Some(2));
    assert_eq!(place.lines("starts").len(), 0);
}

#[test]
fn systemd_is_told_and_its_target_lasts_as_long_as_the_session() {
    let place = Place::new("until [ -s go ]; do sleep 0.01; done");
    place.systemd("exit 0");
    let session = place.start(&[]);
    let told = place.wait_lines("asked", 2);
    assert_eq!(
        told,
        [
            "Phyllome --user import-environment XDG_CURRENT_DESKTOP XDG_SESSION_DESKTOP XDG_SESSION_TYPE",
            "Phyllome --user --no-block start phyllome-session.target",
        ]
    );
    std::fs::write(place.path().join("go"), "now").unwrap();
    let (status, said) = finish(session);
    assert_eq!((status.code(), said.as_str()), (Some(0), ""));
    let after = place.lines("asked").split_off(2);
    assert_eq!(
        after,
        [
            " --user --no-block stop phyllome-session.target",
            " --user unset-environment XDG_CURRENT_DESKTOP XDG_SESSION_DESKTOP XDG_SESSION_TYPE",
        ]
    );
}

#[test]
fn a_systemd_that_fails_or_hangs_holds_nothing_up() {
    let place = Place::new("exit 0");
    place.systemd("exit 1");
    let (status, said) = place.run(&[]);
    assert_eq!(status.code(), Some(0));
    assert!(said.contains("note: systemd's user manager did not start phyllome-session.target"), "{said}");
    let place = Place::new("date +%s%N > up");
    place.systemd("kill -STOP $$");
    let before = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let session = place.start(&[]);
    let up = Duration::from_nanos(place.wait_lines("up", 1)[0].parse().unwrap());
    assert!(up - before < Duration::from_secs(2), "the shell waited for systemd");
    assert_eq!(finish(session).0.code(), Some(0));
}

/// The real shell, headless, with its panel asked for by the tool's protocol.
fn panel_of_a_recovered_shell(place: &Place) -> String {
    use std::io::{BufRead, BufReader, Write};
    let socket = place.path().join("phyllome/shell.sock");
    let stream = wait("the shell's socket", || std::os::unix::net::UnixStream::connect(&socket).ok());
    (&stream).write_all(b"{\"command\":\"status\"}\n").unwrap();
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    line
}

#[test]
fn the_real_shell_comes_back_and_after_three_crashes_opens_its_list() {
    let place = Place::empty();
    let shell = Path::new(SESSION).with_file_name("phyllome-shell");
    assert!(shell.exists(), "{} is not built; run cargo build --package phyllome-compositor --bins", shell.display());
    std::os::unix::fs::symlink(shell, place.path().join("phyllome-shell")).unwrap();
    let mut session =
        place.command().args(["--backend", "headless", "--size", "640x480"]).stderr(Stdio::null()).spawn().unwrap();
    let lock = |place: &Place| -> PathBuf { place.path().join("phyllome/shell.sock") };
    let mut killed = Vec::new();
    let mut longest = Duration::ZERO;
    for _ in 0..3 {
        let status = panel_of_a_recovered_shell(&place);
        assert!(status.contains("\"mode\":\"guest\""), "{status}");
        let shell = child_of(&session);
        assert!(!killed.contains(&shell));
        let since = Instant::now();
        kill_process(shell, Signal::KILL).unwrap();
        wait("another shell", || (child_of_or_none(&session).filter(|pid| *pid != shell)).map(drop));
        wait("its socket", || std::os::unix::net::UnixStream::connect(lock(&place)).ok());
        longest = longest.max(since.elapsed());
        killed.push(shell);
    }
    println!("longest time away: {longest:?}");
    assert!(longest < Duration::from_secs(2), "{longest:?}");
    let status = panel_of_a_recovered_shell(&place);
    assert!(status.contains("\"mode\":\"panel\""), "{status}");
    signal(&session, Signal::TERM);
    assert!(wait("the session to end", || session.try_wait().unwrap()).success());
}

fn child_of_or_none(session: &Child) -> Option<Pid> {
    let children = format!("/proc/{0}/task/{0}/children", session.id());
    let text = std::fs::read_to_string(children).ok()?;
    Pid::from_raw(text.split_whitespace().next()?.parse().ok()?)
}

fn child_of(session: &Child) -> Pid {
    wait("the shell", || child_of_or_none(session))
}

#[test]
fn no_other_program_of_the_user_reads_the_memory_of_the_session_or_its_shell() {
    let place = Place::empty();
    std::os::unix::fs::symlink(
        Path::new(SESSION).with_file_name("phyllome-shell"),
        place.path().join("phyllome-shell"),
    )
    .unwrap();
    let mut command = place.command();
    command.args(["--backend", "headless", "--size", "640x480"]).stderr(Stdio::null());
    if rustix::process::geteuid().is_root() {
        command.gid(SEEN_AS);
    }
    let mut session = command.spawn().unwrap();
    panel_of_a_recovered_shell(&place);
    let shell = u32::try_from(child_of(&session).as_raw_nonzero().get()).unwrap();
    let hidden = [session.id(), shell].map(|pid| is_hidden(pid).unwrap());
    signal(&session, Signal::TERM);
    assert!(wait("the session to end", || session.try_wait().unwrap()).success());
    assert_eq!(hidden, [true, true]);
}

#[test]
fn a_shell_that_has_said_how_it_ends_and_whose_process_stays_does_not_keep_the_session() {
    for code in [0, 2] {
        // No process stays so that no signal ends it, but this one is not ended until the session has gone.
        let place = Place::new(&format!("printf '\\00{code}' >&0; exec sleep 1000"));
        let (status, said) = place.run(&[]);
        assert_eq!(status.code(), Some(code), "{said}");
        assert!(said.contains("the shell has ended, but its process stays, as a guest can make it"), "{said}");
        assert_eq!(place.lines("starts").len(), 1);
    }
}

#[test]
fn a_shell_that_closes_its_standard_input_runs_on() {
    let place = Place::new("exec 0<&-; echo > ready; sleep 2; exit 0");
    let (status, said) = place.run(&[]);
    assert_eq!((status.code(), said.as_str(), place.lines("ready").len()), (Some(0), "", 1));
}
