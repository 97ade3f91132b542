//! QEMU: there, new enough, with the devices that guests get, and with firmware for guests that boot like a PC.

use super::{Check, run_for};
use std::path::Path;
use std::time::Duration;

const PROGRAM: &str = "qemu-system-x86_64";
/// The oldest version that is known to work.
const OLDEST: (u32, u32) = (10, 0);
const LIMIT: Duration = Duration::from_secs(15);
const DEVICES: [&str; 5] =
    ["vhost-user-gpu-pci", "virtio-blk-pci", "virtio-net-pci", "virtio-keyboard-pci", "virtio-tablet-pci"];
const FIRMWARE: [&str; 6] = [
    "/usr/share/OVMF/OVMF_CODE_4M.fd",
    "/usr/share/edk2/ovmf/OVMF_CODE_4M.qcow2",
    "/usr/share/edk2/ovmf/OVMF_CODE.fd",
    "/usr/share/edk2/x64/OVMF_CODE.4m.fd",
    "/usr/share/OVMF/OVMF_CODE.fd",
    "/usr/share/qemu/ovmf-x86_64-code.bin",
];

pub(super) fn checks() -> Vec<Check> {
    let version = version();
    if version.verdict == super::Verdict::Broken {
        return vec![version, firmware(&FIRMWARE)];
    }
    vec![version, devices(), firmware(&FIRMWARE)]
}

fn version() -> Check {
    let cost = "no guest can be started";
    let mend = "install QEMU 10.0 or newer (cargo xtask setup does; on Debian 12 it is in bookworm-backports)";
    match run_for(Path::new(PROGRAM), &["--version"], LIMIT) {
        Err(sentence) => Check::broken("qemu", sentence, cost, mend),
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stdout);
            match parse_version(&said) {
                Some(version) if version >= OLDEST => {
                    Check::fine("qemu", format!("QEMU {}.{} is installed", version.0, version.1))
                }
                Some((major, minor)) => {
                    let finding = format!("QEMU {major}.{minor} is too old; guests need {}.{}", OLDEST.0, OLDEST.1);
                    Check::broken("qemu", finding, cost, mend)
                }
                None => Check::broken("qemu", format!("{PROGRAM} does not say its version"), cost, mend),
            }
        }
    }
}

/// `QEMU emulator version 10.0.2 (Debian …)` → 10, 0.
fn parse_version(said: &str) -> Option<(u32, u32)> {
    let mut words = said.lines().next()?.split_whitespace();
    words.find(|word| *word == "version")?;
    let mut numbers = words.next()?.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn devices() -> Check {
    let listed = run_for(Path::new(PROGRAM), &["-device", "help"], LIMIT);
    let mend = "install QEMU's device modules (Debian: qemu-system-modules-opengl and qemu-system-gui are not needed, \
                qemu-system-x86 is; Fedora: qemu-device-display-vhost-user-gpu)";
    match listed {
        Err(sentence) => Check::broken("qemu-devices", sentence, "no guest can be started", mend),
        Ok(output) => {
            let missing = missing_devices(&String::from_utf8_lossy(&output.stdout));
            if missing.is_empty() {
                return Check::fine("qemu-devices", "QEMU has vhost-user-gpu and the virtio devices");
            }
            let finding = format!("QEMU lacks {}", missing.join(", "));
            Check::broken("qemu-devices", finding, "no guest can be started", mend)
        }
    }
}

fn missing_devices(listed: &str) -> Vec<&'static str> {
    DEVICES.into_iter().filter(|device| !listed.contains(&format!("name \"{device}\""))).collect()
}

fn firmware(places: &[&str]) -> Check {
    match places.iter().find(|path| Path::new(path).is_file()) {
        Some(path) => Check::fine("ovmf", format!("UEFI firmware is at {path}")),
        None => Check::costs(
            "ovmf",
            "no UEFI firmware was found",
            "guests with firmware = \"uefi\" do not start; those with a kernel of their own do",
            "install OVMF (Debian: ovmf, Fedora: edk2-ovmf)",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Verdict;

    #[test]
    fn versions_are_read_from_qemus_own_words() {
        assert_eq!(parse_version("QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds)\nCopyright"), Some((10, 0)));
        assert_eq!(parse_version("QEMU emulator version 9.2.50"), Some((9, 2)));
        for bad in ["", "QEMU", "version", "version x.y", "version 10"] {
            assert_eq!(parse_version(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_device_that_is_missing_is_named() {
        let all: String = DEVICES.iter().map(|device| format!("name \"{device}\", bus PCI\n")).collect();
        assert_eq!(missing_devices(&all), Vec::<&str>::new());
        assert_eq!(missing_devices(&all.replace("virtio-net-pci", "x")), ["virtio-net-pci"]);
    }

    #[test]
    fn missing_firmware_says_what_it_costs() {
        assert_eq!(firmware(&["/no/such/file"]).verdict, Verdict::Costs);
        assert_eq!(firmware(&["/no/such/file", "/etc/hostname"]).verdict, Verdict::Fine);
    }
}
