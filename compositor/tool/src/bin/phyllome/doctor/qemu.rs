//! QEMU: there, new enough, with the devices that guests get, and with firmware for guests that boot like a PC.

use super::{Check, run_for};
use phyllome_config::firmware::{Pair, UEFI};
use std::path::Path;
use std::time::Duration;

const PROGRAM: &str = "qemu-system-x86_64";
/// The oldest version that is known to work.
const OLDEST: (u32, u32) = (10, 0);
const LIMIT: Duration = Duration::from_secs(15);
const DEVICES: [&str; 5] =
    ["vhost-user-gpu-pci", "virtio-blk-pci", "virtio-net-pci", "virtio-keyboard-pci", "virtio-tablet-pci"];
pub(super) fn checks() -> Vec<Check> {
    let version = version();
    if version.verdict == super::Verdict::Broken {
        return vec![version, firmware(UEFI)];
    }
    vec![version, devices(), display(), firmware(UEFI)]
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
    let mend = "install QEMU's device modules (Debian: qemu-system-x86; Fedora: qemu-device-display-vhost-user-gpu)";
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

/// The way of a monitor's new size to a running guest, and of its keyboard's lights back.
fn display() -> Check {
    let cost =
        "a guest hears of another screen size only when it next asks, and the lights of its keyboard are not known";
    let mend = "install QEMU's D-Bus display (Debian: qemu-system-modules-opengl, Fedora: qemu-ui-dbus)";
    match run_for(Path::new(PROGRAM), &["-display", "help"], LIMIT) {
        Err(sentence) => Check::costs("qemu-display", sentence, cost, mend),
        Ok(output) if has_dbus(&String::from_utf8_lossy(&output.stdout)) => {
            Check::fine("qemu-display", "QEMU has its D-Bus display")
        }
        Ok(_) => Check::costs("qemu-display", "QEMU lacks its D-Bus display", cost, mend),
    }
}

fn has_dbus(listed: &str) -> bool {
    listed.lines().any(|line| line.trim() == "dbus")
}

fn missing_devices(listed: &str) -> Vec<&'static str> {
    DEVICES.into_iter().filter(|device| !listed.contains(&format!("name \"{device}\""))).collect()
}

fn firmware(places: &[Pair]) -> Check {
    let there = |path: &str| Path::new(path).is_file();
    match places.iter().find(|(code, variables)| there(code) && there(variables)) {
        Some((path, _)) => Check::fine("ovmf", format!("UEFI firmware is at {path}")),
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
    fn the_dbus_display_is_a_line_of_its_own() {
        assert!(has_dbus("Available display backend types:\nnone\ndbus\n"));
        assert!(!has_dbus("Available display backend types:\nnone\ngtk\n\nSome, such as dbus, …\n"));
    }

    #[test]
    fn missing_firmware_says_what_it_costs() {
        let there = "/proc/version";
        assert_eq!(firmware(&[("/no/such/file", there), (there, "/no/such/file")]).verdict, Verdict::Costs);
        assert_eq!(firmware(&[("/no/such/file", "/no/such/file"), (there, there)]).verdict, Verdict::Fine);
    }
}
