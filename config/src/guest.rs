//! A guest's definition with every default filled in, as `guests/NAME.toml` describes it.

pub use phyllome_trusted::frame::label::{Label, LabelColor, Pattern, Rgb};

use crate::GuestId;
use phyllome_protocol::{GuestName, Slot};
use std::path::{Path, PathBuf};

/// One guest, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct GuestDefinition {
    /// From the file's name.
    pub name: GuestName,
    /// What its address, firmware settings and SMBIOS data come from; `None` until it is made.
    pub id: Option<GuestId>,
    /// What the defaults are chosen for.
    pub profile: Profile,
    /// Super+1 to Super+9.
    pub slot: Option<Slot>,
    /// Start with the shell.
    pub autostart: bool,
    /// While it runs and is shown, displays stay on without input. Default false.
    pub keep_awake: bool,
    /// Bytes, a multiple of 1 MiB.
    pub memory: u64,
    /// Virtual processors.
    pub cpus: u32,
    /// How it is marked.
    pub label: Label,
    /// The machine.
    pub machine: Machine,
    /// Direct kernel boot.
    pub boot: Option<Boot>,
    /// How it draws while nobody sees it.
    pub background: Background,
    /// The virtio-gpu device.
    pub gpu: Gpu,
    /// Disks in order.
    pub disks: Vec<Disk>,
    /// The network.
    pub network: NetworkMode,
}

/// What a guest is, so that defaults fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are those of the file")]
pub enum Profile {
    Linux,
    Windows11,
    Windows10,
    Uefi,
    Bios,
    HostApp,
}

/// The machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Machine {
    /// What runs the guest's code.
    pub accel: Accel,
    /// What starts it.
    pub firmware: Firmware,
    /// A TPM 2.0.
    pub tpm: bool,
}

/// What runs the guest's code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are those of the file")]
pub enum Accel {
    Auto,
    Kvm,
    Tcg,
}

/// What starts the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are those of the file")]
pub enum Firmware {
    Uefi,
    UefiSecure,
    Bios,
    None,
}

/// Direct kernel boot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Boot {
    /// A kernel image.
    pub kernel: PathBuf,
    /// An initial RAM disk.
    pub initrd: Option<PathBuf>,
    /// The kernel's command line.
    pub cmdline: String,
}

/// How a guest draws while nobody sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Background {
    /// Ten pictures a second: whatever waits for its pictures is slow.
    #[default]
    Slow,
    /// As many as its display would show: calls and games go on.
    Full,
}

impl Background {
    /// The word of the file.
    pub fn word(self) -> &'static str {
        match self {
            Self::Slow => "slow",
            Self::Full => "full",
        }
    }
}

/// The virtio-gpu device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gpu {
    /// What it offers.
    pub mode: GpuMode,
    /// How it reaches QEMU.
    pub transport: Transport,
    /// 1 to 16.
    pub scanouts: u32,
}

/// What the device offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are those of the file")]
pub enum GpuMode {
    Auto,
    ThreeD,
    TwoD,
    Vga,
}

/// How the device reaches QEMU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are those of the file")]
pub enum Transport {
    Auto,
    VhostUserGpu,
    Generic,
}

/// A disk or an ISO image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    /// Absolute, or below `$XDG_DATA_HOME/phyllome/disks`; resolved when the file is read.
    pub path: PathBuf,
    /// What the file says that the image is; `None`: its name decides.
    pub format: Option<DiskFormat>,
    /// The images that it stands on, the nearest first. No other is opened, whatever an image itself names.
    pub backing: Vec<PathBuf>,
    /// Further files that the image is made of: a qcow2's data file, a vmdk's extents.
    pub parts: Vec<PathBuf>,
    /// What it hangs on.
    pub bus: DiskBus,
    /// Read-only, removable.
    pub cdrom: bool,
}

/// How an image holds its disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are those of the file")]
pub enum DiskFormat {
    Qcow2,
    Raw,
    Vmdk,
    Vdi,
    Vhdx,
}

impl DiskFormat {
    /// All, with their words in the file, which are QEMU's too.
    pub const ALL: &[(&str, Self)] =
        &[("qcow2", Self::Qcow2), ("raw", Self::Raw), ("vmdk", Self::Vmdk), ("vdi", Self::Vdi), ("vhdx", Self::Vhdx)];

    /// Its word in the file.
    pub fn word(self) -> &'static str {
        Self::ALL.iter().find(|(_, format)| *format == self).map_or("raw", |(word, _)| word)
    }

    /// What the ending of a file's name stands for, in small letters or large ones; raw, where it stands for none.
    pub fn of_name(path: &Path) -> Self {
        let ending = path.extension().map(|ending| ending.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
        Self::ALL.iter().find(|(word, _)| *word == ending).map_or(Self::Raw, |(_, format)| *format)
    }
}

/// What a disk hangs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are those of the file")]
pub enum DiskBus {
    Virtio,
    Sata,
    Scsi,
    Nvme,
    Usb,
}

/// The network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are those of the file")]
pub enum NetworkMode {
    User,
    Passt,
    None,
}
