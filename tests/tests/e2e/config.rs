//! Bad configuration gets a clear sentence, and nothing else is lost.

use crate::{SOON, guest};
use anyhow::{Result, ensure};
use phyllome_protocol::status::GuestState;
use phyllome_test_guests::Mode;
use phyllome_tests::host::{Host, HostOptions};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

#[test]
fn e2e_one_bad_guest_file_keeps_nothing_else_from_starting() -> Result<()> {
    let (good, text) = guest("good", 1, "green", Mode::Prompt);
    let mut host = Host::start(&[
        (&good, text.clone()),
        ("typo", format!("colour = \"red\"\n{}", text.replace("slot = 1", "slot = 3"))),
        ("twin", text.replace("green", "red")),
        ("binary", "\u{0}\u{1}\u{2}".to_owned()),
        ("empty", String::new()),
    ])?;
    host.run(&["start", "good"])?;
    host.wait_state("good", GuestState::Running, SOON)?;
    let log = host.shell_log();
    for (file, word) in [("typo.toml", "colour"), ("twin.toml", "slot"), ("binary.toml", "line")] {
        let line = log.lines().find(|l| l.contains(file));
        ensure!(line.is_some_and(|l| l.contains(word)), "nothing about {word} in {file}: {log}");
    }
    ensure!(host.refused(&["start", "typo"])?.contains("typo"));
    ensure!(host.refused(&["start", "nobody"])?.contains("nobody"));
    Ok(())
}

#[test]
fn e2e_a_missing_kernel_is_one_line_and_a_crashed_state() -> Result<()> {
    let (name, text) = guest("work", 1, "red", Mode::Prompt);
    let text = text.replace(&format!("{}", phyllome_test_guests::guest_kernel()?.display()), "/nowhere/vmlinuz");
    let mut host = Host::start(&[(&name, text)])?;
    let _ = host.tool(&["start", "work"])?;
    let status = host.wait_state("work", GuestState::Crashed, SOON)?;
    let message = status.guests[0].message.clone().unwrap_or_default();
    ensure!(message.contains("/nowhere/vmlinuz") && message.lines().count() == 1, "{message:?}");
    Ok(())
}

#[test]
fn e2e_names_that_leave_the_folder_are_wrong_usage() -> Result<()> {
    let host = Host::start(&[])?;
    for name in ["../x", ".", "a/b", ""] {
        let output = host.tool(&["start", name])?;
        ensure!(output.status.code() == Some(2), "{name}: {}", output.status);
        ensure!(!output.stderr.is_empty());
    }
    ensure!(!host.path().join("run/phyllome/x").exists());
    Ok(())
}

/// Starts a shell that must end by itself with code 1 and one line.
fn does_not_start(host: &Host, change: impl FnOnce(&mut std::process::Command)) -> Result<String> {
    let mut command = host.shell_command()?;
    change(&mut command);
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let mut child = command.spawn()?;
    let end = std::time::Instant::now() + Duration::from_secs(10);
    while child.try_wait()?.is_none() {
        if std::time::Instant::now() > end {
            child.kill()?;
            child.wait()?;
            anyhow::bail!("the shell runs on");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let output = child.wait_with_output()?;
    let error = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    ensure!(output.status.code() == Some(1), "{}: {error}", output.status);
    ensure!(error.lines().count() == 1, "not one line: {error}");
    Ok(error)
}

#[test]
fn e2e_two_shells_on_one_runtime_folder_are_refused() -> Result<()> {
    let mut host = Host::start(&[])?;
    let error = does_not_start(&host, |_| {})?;
    ensure!(error.contains("another"), "{error}");
    host.status()?;
    Ok(())
}

#[test]
fn e2e_a_runtime_folder_that_is_unset_open_or_foreign_is_refused() -> Result<()> {
    let host = Host::prepare(HostOptions::default(), &[])?;
    let error = does_not_start(&host, |c| {
        c.env_remove("XDG_RUNTIME_DIR");
    })?;
    ensure!(error.contains("XDG_RUNTIME_DIR"), "{error}");
    std::fs::set_permissions(host.runtime(), std::fs::Permissions::from_mode(0o755))?;
    let error = does_not_start(&host, |_| {})?;
    ensure!(error.contains("0755") || error.contains("chmod"), "{error}");
    std::fs::set_permissions(host.runtime(), std::fs::Permissions::from_mode(0o700))?;
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(host.runtime(), Some(12345), None)?;
        let error = does_not_start(&host, |_| {})?;
        ensure!(error.contains("12345"), "{error}");
        std::os::unix::fs::chown(host.runtime(), Some(0), None)?;
    }
    Ok(())
}
