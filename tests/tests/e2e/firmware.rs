//! Firmware and machines without an operating system.

use crate::{BOOT, SOON, host};
use anyhow::{Context, Result, ensure};
use phyllome_protocol::status::GuestState;
use phyllome_test_guests::Mode;
use phyllome_tests::host::Host;

fn uefi(accel: &str) -> (String, String) {
    let text = format!(
        "profile = \"uefi\"\nslot = 1\nmemory = \"256MiB\"\ncpus = 1\n[label]\ncolor = \"purple\"\n\
         [machine]\naccel = \"{accel}\"\nfirmware = \"uefi\"\n[network]\nmode = \"none\"\n"
    );
    ("firmware".to_owned(), text)
}

#[test]
fn e2e_ovmf_shows_its_picture_without_an_operating_system() -> Result<()> {
    let mut host = host(&[uefi("tcg")])?;
    host.run(&["start", "firmware"])?;
    let status =
        host.wait("OVMF's flushes", BOOT, |s| s.guests[0].scanouts.first().is_some_and(|x| x.presented > 0))?;
    let area = status.outputs[0].guest_area;
    host.wait_picture("OVMF's console", BOOT, |p| crate::has_console(p, area))?;
    Ok(())
}

#[test]
fn e2e_a_host_with_broken_kvm_falls_back_to_tcg_and_says_so() -> Result<()> {
    if std::fs::File::options().read(true).write(true).open("/dev/kvm").is_ok() && kvm_works()? {
        println!("SKIPPED: e2e_a_host_with_broken_kvm_falls_back_to_tcg_and_says_so: KVM works here");
        return Ok(());
    }
    let (name, text) = crate::guest("work", 1, "red", Mode::Prompt);
    let mut host = Host::start(&[(&name, text.replace("accel = \"tcg\"", "accel = \"auto\""))])?;
    host.run(&["start", "work"])?;
    host.wait_serial("work", "PHYLLOME-GUEST-READY", BOOT)?;
    let guest = host.wait_state("work", GuestState::Running, SOON)?.guests[0].clone();
    ensure!(guest.accel.as_deref() == Some("tcg"), "{guest:?}");
    ensure!(guest.message.as_ref().is_some_and(|m| m.contains("KVM")), "it is not said: {guest:?}");
    Ok(())
}

fn kvm_works() -> Result<bool> {
    let host = Host::prepare(Default::default(), &[])?;
    let output = host.tool(&["doctor", "--json"])?;
    let checks: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let checks = checks["checks"].as_array().context("doctor --json lists no checks")?;
    Ok(checks.iter().any(|check| check["id"] == "kvm" && check["verdict"] == "fine"))
}
