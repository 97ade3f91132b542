//! What this host offers to one guest, as values: QEMU and its version, firmware files, descriptors, what is ready for
//! a start.
//!
//! Found out by [`super::checks`], read by what makes a command line and by what chooses a transport. Nothing is looked
//! up here.

use super::disks::Image;
use crate::gpu::Transport;
use phyllome_config::guest::Firmware;
use std::fmt;
use std::os::fd::RawFd;
use std::path::{Path, PathBuf};

/// Version of QEMU, as `qemu-system-x86_64 --version` says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct QemuVersion {
    /// 10 of 10.0.2.
    pub major: u32,
    /// 0 of 10.0.2.
    pub minor: u32,
    /// 2 of 10.0.2.
    pub micro: u32,
}

impl QemuVersion {
    /// The oldest QEMU that is served.
    pub const OLDEST: Self = Self { major: 10, minor: 0, micro: 0 };

    /// Reads the version out of what `qemu-system-x86_64 --version` prints.
    pub fn parse(output: &str) -> Option<Self> {
        let (_, version) = output.lines().next()?.split_once(" version ")?;
        let mut numbers = version.split(|c: char| !c.is_ascii_digit()).map(|digits| digits.parse().ok());
        Some(Self { major: numbers.next()??, minor: numbers.next()??, micro: numbers.next().flatten().unwrap_or(0) })
    }
}

impl fmt::Display for QemuVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.micro)
    }
}

/// Where the guest's serial port is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SerialSink {
    /// QEMU appends to this file, without a bound.
    File(PathBuf),
    /// QEMU writes to this inherited socket; the other end bounds what is kept.
    Socket(RawFd),
}

/// One firmware: the code that guests share and the template of the variables that each guest has its own copy of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirmwareFiles {
    /// Read-only code.
    pub code: PathBuf,
    /// What a guest's own variables file is copied from, once.
    pub vars_template: PathBuf,
}

impl FirmwareFiles {
    /// The first pair of `places` of which `exists` holds for both files.
    pub fn find(places: &[(&str, &str)], exists: impl Fn(&Path) -> bool) -> Option<Self> {
        places
            .iter()
            .map(|(code, vars)| Self { code: code.into(), vars_template: vars.into() })
            .find(|files| exists(&files.code) && exists(&files.vars_template))
    }
}

/// What this host offers to one guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostFacts {
    /// QEMU's program.
    pub qemu: PathBuf,
    /// Its version.
    pub qemu_version: QemuVersion,
    /// OVMF without secure boot.
    pub uefi: Option<FirmwareFiles>,
    /// OVMF with secure boot and enrolled keys.
    pub uefi_secure: Option<FirmwareFiles>,
    /// This guest's own copy of the variables (made by the caller before the start, in the template's format).
    pub vars: PathBuf,
    /// The definition's disks, as they were found; one that is not here is taken as its name says.
    pub images: Vec<Image>,
    /// The inherited socket of the vhost-user-gpu device.
    pub gpu_fd: RawFd,
    /// The inherited socket of QMP.
    pub qmp_fd: RawFd,
    /// Whether QEMU has its D-Bus display (Debian's qemu-system-modules-opengl, Fedora's qemu-ui-dbus): the way of a
    /// monitor's new size to the guest, and of its keyboard's lights back.
    pub dbus_display: bool,
    /// The device offers VIRGL: a renderer is ready for this start.
    pub three_d: bool,
    /// QEMU has its generic vhost-user device.
    pub generic_device: bool,
    /// The guest's serial port.
    pub serial: SerialSink,
    /// The control socket of this guest's running swtpm.
    pub tpm_socket: Option<PathBuf>,
    /// The socket of this guest's running passt.
    pub passt_socket: Option<PathBuf>,
}

impl HostFacts {
    /// Whether QEMU is started with a display of its own, through which a guest hears of its monitor.
    pub fn has_display(&self, transport: Transport) -> bool {
        self.dbus_display && !self.three_d && transport == Transport::VhostUserGpu
    }

    /// The firmware files that a guest needs; `None` where QEMU brings its own (BIOS and direct boot).
    pub fn firmware(&self, firmware: Firmware) -> Result<Option<&FirmwareFiles>, NoFirmware> {
        let (files, word) = match firmware {
            Firmware::Uefi => (&self.uefi, "uefi"),
            Firmware::UefiSecure => (&self.uefi_secure, "uefi-secure"),
            Firmware::Bios | Firmware::None => return Ok(None),
        };
        files.as_ref().map(Some).ok_or(NoFirmware { firmware: word })
    }
}

/// There is no such firmware on this host.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "machine.firmware = \"{firmware}\" needs OVMF, which this host does not have; install the ovmf package (edk2-ovmf on Fedora)"
)]
pub struct NoFirmware {
    /// The word of the guest's file.
    pub firmware: &'static str,
}
