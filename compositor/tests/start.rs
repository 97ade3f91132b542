//! The program itself: what keeps it from starting is one sentence and exit code 1, and a signal ends it cleanly.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use rustix::process::Signal;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const SHELL: &str = env!("CARGO_BIN_EXE_phyllome-shell");

fn command(folder: &Path) -> Command {
    let mut command = Command::new(SHELL);
    command
        .args(["--backend", "headless", "--size", "640x480"])
        .env_clear()
        .env("HOME", folder)
        .env("XDG_RUNTIME_DIR", folder)
        .stdin(Stdio::null());
    command
}

fn private_folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    set_mode(folder.path(), 0o700);
    folder
}

fn set_mode(folder: &Path, mode: u32) {
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// Starts a shell and waits until it listens.
fn start(folder: &Path) -> Child {
    let mut child = command(folder).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let said = lines.find(|line| line.as_ref().is_ok_and(|line| line.contains("backend headless")));
    assert!(said.is_some(), "the shell said nothing");
    // Whatever it says later is not to fill the pipe.
    std::thread::spawn(move || lines.for_each(drop));
    child
}

fn terminate(child: &mut Child) -> std::process::ExitStatus {
    terminate_by(child, Signal::TERM)
}

fn terminate_by(child: &mut Child, signal: Signal) -> std::process::ExitStatus {
    rustix::process::kill_process(rustix::process::Pid::from_child(child), signal).unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        assert!(Instant::now() < deadline, "the shell does not end");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn refused(output: &Output, about: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    let sentence: Vec<&str> = said.lines().filter(|line| line.starts_with("phyllome-shell: ")).collect();
    assert_eq!(sentence.len(), 1, "{said}");
    assert!(sentence[0].contains(about), "{said}");
}

#[test]
fn without_a_runtime_folder_it_says_what_to_do() {
    let folder = private_folder();
    refused(&command(folder.path()).env_remove("XDG_RUNTIME_DIR").output().unwrap(), "XDG_RUNTIME_DIR");
    refused(&command(folder.path()).env("XDG_RUNTIME_DIR", "relative").output().unwrap(), "XDG_RUNTIME_DIR");
}

#[test]
fn a_shell_whose_words_nobody_can_take_runs_all_the_same() {
    let folder = private_folder();
    // Something to say at once.
    std::fs::create_dir_all(folder.path().join(".config/phyllome/guests")).unwrap();
    std::fs::write(folder.path().join(".config/phyllome/guests/bad.toml"), "?").unwrap();
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let mut child = command(folder.path()).stderr(full).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while std::os::unix::net::UnixStream::connect(folder.path().join("phyllome/shell.sock")).is_err() {
        assert_eq!(child.try_wait().unwrap(), None, "it has ended");
        assert!(Instant::now() < deadline, "it does not listen");
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(terminate(&mut child).success());
}

#[test]
fn a_shell_tells_how_it_ends_on_the_socket_that_is_its_standard_input() {
    let folder = private_folder();
    let told = |command: &mut Command, ends: &dyn Fn(Child)| {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        ends(command.stdin(std::os::fd::OwnedFd::from(theirs)).stderr(Stdio::null()).spawn().unwrap());
        // The command has the other end, too.
        command.stdin(Stdio::null());
        let mut words = Vec::new();
        (&ours).read_to_end(&mut words).unwrap();
        words
    };
    let shut = |mut child: Child| {
        let deadline = Instant::now() + Duration::from_secs(30);
        while UnixStream::connect(folder.path().join("phyllome/shell.sock")).is_err() {
            assert!(Instant::now() < deadline, "it does not listen");
            std::thread::sleep(Duration::from_millis(10));
        }
        assert!(terminate(&mut child).success());
    };
    assert_eq!(told(&mut command(folder.path()), &shut), [0]);
    let refused = |mut child: Child| assert_eq!(child.wait().unwrap().code(), Some(1));
    assert_eq!(told(command(folder.path()).env_remove("XDG_RUNTIME_DIR"), &refused), [1]);
}

#[test]
fn a_runtime_folder_that_others_may_enter_is_refused() {
    let folder = private_folder();
    set_mode(folder.path(), 0o755);
    refused(&command(folder.path()).output().unwrap(), "chmod 700");
    set_mode(folder.path(), 0o700);
    std::fs::create_dir(folder.path().join("phyllome")).unwrap();
    set_mode(&folder.path().join("phyllome"), 0o770);
    refused(&command(folder.path()).output().unwrap(), "chmod 700");
}

#[test]
fn a_second_shell_on_one_runtime_folder_is_refused_and_the_first_goes_on() {
    let folder = private_folder();
    let mut first = start(folder.path());
    refused(&command(folder.path()).output().unwrap(), "another phyllome-shell");
    assert!(first.try_wait().unwrap().is_none());
    assert!(folder.path().join("phyllome/shell.sock").exists());
    assert!(terminate(&mut first).success());
}

#[test]
fn a_signal_ends_it_cleanly_and_another_can_start() {
    let folder = private_folder();
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        let mut shell = start(folder.path());
        assert!(terminate_by(&mut shell, signal).success());
        assert!(!folder.path().join("phyllome/shell.sock").exists());
    }
}

#[test]
fn an_output_of_no_size_is_wrong_usage() {
    let folder = private_folder();
    let output = command(folder.path()).args(["--size", "0x600"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn a_keyboard_layout_that_does_not_exist_is_said_and_replaced() {
    let folder = private_folder();
    let config = folder.path().join("config");
    std::fs::create_dir(&config).unwrap();
    std::fs::write(config.join("shell.toml"), "[keyboard]\nlayout = \"nowhere\"\n").unwrap();
    let mut shell = command(folder.path()).arg("--config").arg(&config).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(shell.stderr.take().unwrap()).lines();
    let said = lines.find(|line| line.as_ref().is_ok_and(|line| line.contains("nowhere") && line.contains("us")));
    assert!(said.is_some(), "the shell said nothing of the layout");
    std::thread::spawn(move || lines.for_each(drop));
    assert!(terminate(&mut shell).success());
}

#[test]
fn on_the_display_itself_sizes_and_played_keys_are_refused() {
    let folder = private_folder();
    let display = |arguments: &[&str]| {
        let mut command = Command::new(SHELL);
        command.args(["--backend", "kms"]).args(arguments).env_clear().env("XDG_RUNTIME_DIR", folder.path());
        command.output().unwrap()
    };
    refused(&display(&["--size", "640x480"]), "--size is for --backend headless and nested");
    refused(&display(&["--allow-test-input"]), "--allow-test-input is for --backend headless and nested");
}

#[test]
fn without_desktop_and_seat_it_says_what_to_do() {
    let folder = private_folder();
    for backend in ["auto", "kms"] {
        let mut command = Command::new(SHELL);
        command.args(["--backend", backend]).env_clear().env("HOME", folder.path());
        command.env("XDG_RUNTIME_DIR", folder.path());
        // Whatever seat this computer has is not to be used.
        command.env("LIBSEAT_BACKEND", "seatd").env("SEATD_SOCK", folder.path().join("none"));
        refused(&command.output().unwrap(), "no seat can be used (No such file or directory");
    }
}
