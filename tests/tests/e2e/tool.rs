//! The command-line tool: exit codes, logs, JSON.

use crate::{BOOT, guest, host};
use anyhow::{Context, Result, ensure};
use phyllome_protocol::status::GuestState;
use phyllome_test_guests::Mode;
use phyllome_tests::host::{Host, HostOptions};

#[test]
fn e2e_exit_codes_are_as_documented() -> Result<()> {
    let host = Host::prepare(HostOptions::default(), &[])?;
    ensure!(host.tool(&["status"])?.status.code() == Some(3), "no shell runs");
    ensure!(host.tool(&["no-such-command"])?.status.code() == Some(2), "wrong usage");
    ensure!(host.tool(&["start"])?.status.code() == Some(2), "a missing argument");
    Ok(())
}

#[test]
fn e2e_status_has_the_documented_fields() -> Result<()> {
    let host = host(&[guest("work", 1, "red", Mode::Prompt)])?;
    let status: serde_json::Value = serde_json::from_str(&host.run(&["status", "--json"])?)?;
    ensure!(
        status["backend"] == "headless" && status["renderer"] == "pixman" && status["mode"].is_string(),
        "{status}"
    );
    let output = &status["outputs"][0];
    ensure!(output["name"] == "HEADLESS-1" && output["width"] == 1280 && output["height"] == 800, "{output}");
    ensure!(output["refresh_mhz"] == 60000 && output["scale"] == 1.0 && output["plane"] == "composited", "{output}");
    let guest = &status["guests"][0];
    ensure!(guest["name"] == "work" && guest["slot"] == 1 && guest["state"] == "stopped", "{guest}");
    ensure!(guest["label"]["rgb"] == "#c62828" && guest["label"]["pattern"] == "solid", "{guest}");
    for key in ["accel", "pid", "qemu_pid", "uptime_s", "gpu", "scanouts"] {
        ensure!(guest.get(key).is_some(), "no {key}: {guest}");
    }
    Ok(())
}

#[test]
fn e2e_logs_hold_what_qemu_and_the_guest_said() -> Result<()> {
    let mut host = host(&[guest("work", 1, "red", Mode::Prompt)])?;
    host.run(&["start", "work"])?;
    host.wait_serial("work", "PHYLLOME-GUEST-READY", BOOT)?;
    ensure!(host.run(&["logs", "work"])?.contains("PHYLLOME-GUEST-READY"));
    Ok(())
}

#[test]
fn e2e_qemus_own_words_are_in_the_logs_of_a_crash() -> Result<()> {
    let (name, text) = guest("work", 1, "red", Mode::Prompt);
    // A file that exists and is no kernel: QEMU itself refuses it.
    let text = text.replace(&format!("{}", phyllome_test_guests::guest_kernel()?.display()), "/etc/hostname");
    let mut host = Host::start(&[(&name, text)])?;
    let _ = host.tool(&["start", "work"])?;
    host.wait_state("work", GuestState::Crashed, BOOT)?;
    let qemu = std::fs::read_to_string(host.logs("work").join("qemu.log"))?;
    let words = qemu.lines().rev().find(|l| !l.trim().is_empty());
    let words = words.context("QEMU said nothing")?;
    ensure!(host.run(&["logs", "work"])?.contains(words), "the tool does not show: {words}");
    Ok(())
}

#[test]
fn e2e_test_input_needs_its_flag() -> Result<()> {
    let host = Host::start_with(HostOptions { test_input: false, ..HostOptions::default() }, &[])?;
    ensure!(host.refused(&["input", "tap", "a"])?.contains("--allow-test-input"));
    Ok(())
}

#[test]
fn e2e_doctor_says_what_kvm_is_worth() -> Result<()> {
    let host = Host::prepare(HostOptions::default(), &[])?;
    let output = host.tool(&["doctor", "--json"])?;
    let checks: serde_json::Value = serde_json::from_slice(&output.stdout).context("doctor --json is no JSON")?;
    let kvm = checks["checks"].as_array().and_then(|all| all.iter().find(|check| check["id"] == "kvm"));
    let kvm = kvm.with_context(|| format!("nothing about KVM: {checks}"))?;
    let known = ["fine", "costs", "broken"];
    ensure!(kvm["verdict"].as_str().is_some_and(|v| known.contains(&v)), "{kvm}");
    ensure!(kvm["verdict"] == "fine" || kvm["mend"].as_str().is_some_and(|m| !m.is_empty()), "no advice: {kvm}");
    Ok(())
}

#[test]
fn e2e_events_tell_of_a_guests_states() -> Result<()> {
    let (name, text) = guest("work", 1, "red", Mode::Prompt);
    let host = Host::start(&[(&name, text)])?;
    let mut child =
        host.command("phyllome")?.args(["events", "--json"]).stdout(std::process::Stdio::piped()).spawn()?;
    let stdout = child.stdout.take().context("no stdout")?;
    let (sender, lines) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for line in std::io::BufRead::lines(std::io::BufReader::new(stdout)).map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    host.run(&["start", "work"])?;
    // The tool may have subscribed after the start: a pause is an event at any time.
    let end = std::time::Instant::now() + crate::SOON;
    let mut seen = Vec::new();
    while !seen.iter().any(|line: &String| line.contains("\"paused\"")) && std::time::Instant::now() < end {
        let _ = host.tool(&["pause", "work"])?;
        seen.extend(lines.recv_timeout(std::time::Duration::from_millis(200)));
        let _ = host.tool(&["resume", "work"])?;
    }
    child.kill()?;
    child.wait()?;
    let event = seen.iter().find(|line| line.contains("\"paused\"")).with_context(|| format!("no event: {seen:?}"))?;
    let event: serde_json::Value = serde_json::from_str(event)?;
    ensure!(event["event"] == "state" && event["name"] == "work", "{event}");
    Ok(())
}
