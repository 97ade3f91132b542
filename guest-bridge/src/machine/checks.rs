//! What is looked at before QEMU starts, so that a person reads one sentence instead of QEMU's words: QEMU itself,
//! /dev/kvm, and the files that the definition names.
//!
//! One thing is written and nothing else: QEMU's version is remembered in the runtime folder.

use super::command_line::{GPU_FD, QMP_FD};
use super::host::{HostFacts, QemuVersion, SerialSink};
use super::lifecycle::KvmFact;
use super::transport::GENERIC_DEVICE;
use super::verdict::{Verdict, Verdicts};
use super::{environment, firmware, identity};
use phyllome_config::guest::Firmware;
use phyllome_config::{GuestDefinition, Places};
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::process::Command;
use tokio::time::timeout;

/// QEMU's program.
const QEMU: &str = "qemu-system-x86_64";
/// How long QEMU may take to say what it is; under emulation it takes seconds, on a busy host more.
const PATIENCE: Duration = Duration::from_secs(60);
/// How much of what it says is read, in bytes.
const MAX_WORDS: u64 = 64 * 1024;

/// QEMU's program, found in the folders of `PATH`.
pub fn find_qemu() -> Result<PathBuf, String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join(QEMU))
        .find(|candidate| candidate.metadata().is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0))
        .ok_or_else(|| format!("{QEMU} is not installed; install QEMU for x86 (10.0 or newer)"))
}

/// What was asked of QEMU's program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QemuFacts {
    /// Its version.
    pub version: QemuVersion,
    /// Whether it has its D-Bus display.
    pub dbus_display: bool,
    /// Whether it has its generic vhost-user device.
    pub generic_device: bool,
}

/// QEMU's version, displays and generic device, which are asked once and then remembered in `runtime_dir` for as long
/// as the program does not change.
pub async fn qemu_facts(qemu: &Path, runtime_dir: Option<&Path>) -> Result<QemuFacts, String> {
    let meta =
        qemu.metadata().map_err(|error| format!("cannot look at {} ({error}); reinstall QEMU", qemu.display()))?;
    let key = format!("{} {} {}.{}", qemu.display(), meta.len(), meta.mtime(), meta.mtime_nsec());
    let file = runtime_dir.map(|dir| dir.join("qemu-version"));
    if let Some(text) = file.as_deref().and_then(|file| read_bounded(file).ok())
        && let Some((known, version)) = text.trim_end().split_once('\n')
        && known == key
        && let Some(facts) = parse_facts(version)
    {
        return Ok(facts);
    }
    let (version, displays, devices) =
        tokio::join!(ask(qemu, &["--version"]), ask(qemu, &["-display", "help"]), ask(qemu, &["-device", "help"]));
    let version = QemuVersion::parse(&version?)
        .ok_or_else(|| format!("{} does not say its version; install QEMU 10.0 or newer", qemu.display()))?;
    // A display that is a module is listed only where the module can be loaded.
    let dbus_display = displays?.lines().any(|line| line.trim() == "dbus");
    let generic_device = devices?.lines().any(|line| line.split('"').nth(1) == Some(GENERIC_DEVICE));
    let facts = QemuFacts { version, dbus_display, generic_device };
    if let Some(file) = file {
        let new = file.with_extension(format!("new-{}", std::process::id()));
        let displays = if dbus_display { "dbus" } else { "none" };
        let devices = if generic_device { "generic" } else { "special" };
        let words = format!("{key}\nQEMU version {version}\n{displays}\n{devices}\n");
        if let Err(error) = std::fs::write(&new, words).and_then(|()| std::fs::rename(&new, &file)) {
            tracing::debug!(%error, "QEMU's version is not remembered");
        }
    }
    Ok(facts)
}

/// The facts as they are remembered: a line each with the version, the display and the devices.
fn parse_facts(text: &str) -> Option<QemuFacts> {
    let mut lines = text.lines();
    let version = QemuVersion::parse(lines.next()?)?;
    let mut either = |yes, no| match lines.next()? {
        word if word == yes => Some(true),
        word if word == no => Some(false),
        _ => None,
    };
    Some(QemuFacts { version, dbus_display: either("dbus", "none")?, generic_device: either("generic", "special")? })
}

/// What QEMU's program prints, bounded in time and size.
async fn ask(qemu: &Path, arguments: &[&str]) -> Result<String, String> {
    let failed = |error: io::Error| format!("cannot run {} ({error}); reinstall QEMU", qemu.display());
    let mut command = Command::new(qemu);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
    command.env_clear().envs(environment::of_qemu(std::env::vars_os()));
    let mut child = command.spawn().map_err(failed)?;
    let mut text = Vec::new();
    let work = async {
        if let Some(stdout) = &mut child.stdout {
            stdout.take(MAX_WORDS).read_to_end(&mut text).await?;
        }
        child.wait().await
    };
    match timeout(PATIENCE, work).await {
        Ok(ended) => ended.map(|_| String::from_utf8_lossy(&text).into_owned()).map_err(failed),
        Err(_) => Err(format!(
            "{} {} does not end; install QEMU 10.0 or newer in its place",
            qemu.display(),
            arguments.join(" ")
        )),
    }
}

fn read_bounded(file: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(file)?.take(4096).read_to_string(&mut text)?;
    Ok(text)
}

/// What /dev/kvm and the verdict of this boot say.
pub fn kvm(verdicts: &Verdicts) -> KvmFact {
    if let Err(error) = OpenOptions::new().read(true).write(true).open("/dev/kvm") {
        let kind = error.kind();
        return KvmFact::Closed(if kind == io::ErrorKind::NotFound {
            "there is no /dev/kvm".into()
        } else if kind == io::ErrorKind::PermissionDenied {
            "/dev/kvm may not be opened; join the group kvm".into()
        } else {
            format!("/dev/kvm: {error}")
        });
    }
    match verdicts.recall() {
        Some(Verdict::Broken(why)) => KvmFact::Failed(why),
        _ => KvmFact::Offered,
    }
}

/// What this host offers to `definition`. Reads, asks QEMU's version, changes nothing but the memory of that version.
pub async fn host_facts(
    definition: &GuestDefinition,
    places: &Places,
    runtime_dir: Option<&Path>,
) -> Result<HostFacts, String> {
    let qemu = find_qemu()?;
    let QemuFacts { version: qemu_version, dbus_display, generic_device } = qemu_facts(&qemu, runtime_dir).await?;
    if !dbus_display {
        tracing::warn!(
            "QEMU has no D-Bus display, so the guest hears of another screen size only when it next asks; \
             install QEMU's D-Bus display (Debian: qemu-system-modules-opengl, Fedora: qemu-ui-dbus)"
        );
    }
    let wanted = definition.machine.firmware;
    let folder = firmware::folder(places);
    let (files, vars) = firmware::choose(wanted, &folder, &identity::stem(definition));
    let secure = wanted == Firmware::UefiSecure;
    Ok(HostFacts {
        qemu,
        qemu_version,
        vars,
        uefi: files.clone().filter(|_| !secure),
        uefi_secure: files.filter(|_| secure),
        gpu_fd: GPU_FD,
        qmp_fd: QMP_FD,
        dbus_display,
        three_d: false,
        generic_device,
        images: Vec::new(),
        serial: SerialSink::File(places.logs_dir(&definition.name).join("serial.log")),
        tpm_socket: None,
        passt_socket: None,
    })
}

/// Opens a file that the definition names, as QEMU will. The error is one sentence.
pub(super) fn open(what: &str, path: &Path, write: bool) -> Result<File, String> {
    let kind = |meta: std::fs::Metadata| meta.file_type().is_file() || meta.file_type().is_block_device();
    // A pipe of that name must not block us, and merely opening a device can do something; so it is asked before what
    // it is, and again of the open file, because it may be another by then.
    let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY;
    let flags = i32::try_from(flags.bits()).unwrap_or_default();
    let opened = path.metadata().map(kind).and_then(|served| {
        if !served {
            return Ok(None);
        }
        let file = OpenOptions::new().read(true).write(write).custom_flags(flags).open(path)?;
        let served = file.metadata().map(kind)?;
        Ok(Some(file).filter(|_| served))
    });
    let shown = path.display();
    match opened {
        Ok(Some(file)) => Ok(file),
        Ok(None) if path.is_dir() => {
            Err(format!("the {what} {shown} is a folder; mend its path in the guest's definition"))
        }
        Ok(None) => Err(format!("the {what} {shown} is not a file; mend its path in the guest's definition")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(format!("the {what} {shown} does not exist; mend its path in the guest's definition"))
        }
        Err(error) => Err(format!("the {what} {shown} cannot be opened ({error}); mend its permissions or its path")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_asked_once() {
        let dir = tempfile::tempdir().unwrap();
        let qemu = dir.path().join("qemu");
        let script = "#!/bin/sh\necho \"$1\" >> \"$0.asked\"\necho QEMU emulator version 10.0.2\necho dbus\necho 'name \"vhost-user-test-device-pci\", bus PCI'\n";
        phyllome_test_guests::program::write(&qemu, script).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        for _ in 0..3 {
            let facts = runtime.block_on(qemu_facts(&qemu, Some(dir.path()))).unwrap();
            assert_eq!((facts.version.major, facts.dbus_display, facts.generic_device), (10, true, true));
        }
        let asked = std::fs::read_to_string(dir.path().join("qemu.asked")).unwrap();
        let mut asked: Vec<_> = asked.lines().collect();
        asked.sort_unstable();
        assert_eq!(asked, ["--version", "-device", "-display"]);
    }

    #[test]
    fn a_file_that_qemu_cannot_open_is_one_sentence() {
        let dir = tempfile::tempdir().unwrap();
        let good = dir.path().join("vmlinuz");
        std::fs::write(&good, "x").unwrap();
        assert!(open("kernel", &good, true).is_ok());
        let missing = open("kernel", &dir.path().join("none"), false).unwrap_err();
        assert!(missing.contains("the kernel") && missing.contains("none does not exist"), "{missing}");
        for write in [true, false] {
            assert!(open("disk", dir.path(), write).unwrap_err().contains("is a folder"));
        }
        let pipe = dir.path().join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0).unwrap();
        assert!(open("initrd", &pipe, false).unwrap_err().contains("is not a file"));
    }
}
