//! A guest's definition becomes QEMU's command line: a function over values that starts nothing and reads nothing.
//!
//! What the host offers (QEMU, firmware files, sockets of helpers, numbers of inherited descriptors) comes in as
//! [`HostFacts`]; what cannot be served is refused in one sentence. Values from the definition are trusted to be
//! checked by the `config` crate, but no path or text may become an option of its own: commas are doubled wherever QEMU
//! splits at them, and every value stands behind the option that it belongs to.

use super::disks::{Access, Image};
use super::host::{HostFacts, NoFirmware, QemuVersion, SerialSink};
use super::identity;
use super::transport::{self, GENERIC_DEVICE, NoGeneric};
use crate::gpu::Transport;
use phyllome_config::GuestDefinition;
use phyllome_config::guest::{Disk, DiskBus, Firmware, GpuMode, NetworkMode, Profile};
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::fd::RawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// Number under which QEMU inherits the vhost-user-gpu socket.
pub const GPU_FD: RawFd = 10;
/// Number under which QEMU inherits the QMP socket.
pub const QMP_FD: RawFd = 11;

/// What QEMU is started with. Descriptors named in the arguments ([`HostFacts::gpu_fd`], [`HostFacts::qmp_fd`]) must be
/// inherited under exactly those numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandLine {
    /// The program.
    pub program: PathBuf,
    /// Its arguments, without the program's name.
    pub args: Vec<OsString>,
}

/// What runs the guest's code, decided (the definition's `auto` is the lifecycle's to resolve).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accel {
    /// The host's KVM.
    Kvm,
    /// QEMU's own translator.
    Tcg,
}

/// Why a definition cannot be served on this host.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandLineError {
    /// A value that is understood but not served yet.
    #[error("{key} = \"{value}\" is not supported yet; {instead}")]
    NotYet {
        /// The key of the guest's file.
        key: &'static str,
        /// The value that it has.
        value: &'static str,
        /// What works today.
        instead: &'static str,
    },
    /// QEMU is older than what is served.
    #[error("QEMU {found} is too old; install {} or newer", QemuVersion::OLDEST)]
    OldQemu {
        /// The version that is installed.
        found: QemuVersion,
    },
    /// QEMU has no generic device that a GPU can be attached with.
    #[error(transparent)]
    NoGeneric(#[from] NoGeneric),
    /// There is no such firmware on this host.
    #[error(transparent)]
    NoFirmware(#[from] NoFirmware),
    /// An image cannot be told to QEMU: one sentence.
    #[error("{0}")]
    Image(String),
    /// swtpm does not run for this guest.
    #[error("machine.tpm is not supported yet; set machine.tpm = false")]
    NoTpm,
    /// passt does not run for this guest.
    #[error("network.mode = \"passt\" is not supported yet; use user or none")]
    NoPasst,
}

/// Where QEMU's object model has the virtio keyboard's device.
pub const VIRTIO_KEYBOARD: &str = "/machine/peripheral/keyboard/virtio-backend";

/// QEMU's command line for `definition` on this host.
pub fn command_line(
    definition: &GuestDefinition,
    host: &HostFacts,
    accel: Accel,
) -> Result<CommandLine, CommandLineError> {
    check_supported(definition, host)?;
    let transport = transport::choose(definition.gpu.transport, host)?;
    let mut line = Args::default();
    let windows = matches!(definition.profile, Profile::Windows10 | Profile::Windows11);

    // Nothing that was not asked for: no default devices, no user's configuration, no display of QEMU's own.
    line.flag("-no-user-config").flag("-nodefaults");
    line.option("-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny");
    line.option("-vga", "none").option("-display", display(host, transport));

    machine(&mut line, definition, host, accel, windows)?;
    boot(&mut line, definition);
    control(&mut line, host);
    gpu(&mut line, definition, host, transport);
    input(&mut line, definition);
    disks(&mut line, definition, host)?;
    network(&mut line, definition, host, windows)?;
    line.option("-object", "rng-builtin,id=rng0").option("-device", "virtio-rng-pci,rng=rng0");
    tpm(&mut line, definition, host)?;
    Ok(CommandLine { program: host.qemu.clone(), args: line.0 })
}

fn check_supported(definition: &GuestDefinition, host: &HostFacts) -> Result<(), CommandLineError> {
    let not_yet = |key, value, instead| Err(CommandLineError::NotYet { key, value, instead });
    if host.qemu_version < QemuVersion::OLDEST {
        return Err(CommandLineError::OldQemu { found: host.qemu_version });
    }
    match definition.gpu.mode {
        GpuMode::Auto | GpuMode::TwoD | GpuMode::ThreeD => {}
        GpuMode::Vga => return not_yet("gpu.mode", "vga", "use auto, 3d or 2d"),
    }
    if definition.profile == Profile::HostApp {
        return not_yet("profile", "host-app", "use linux, windows-11, windows-10, uefi or bios");
    }
    Ok(())
}

/// QEMU's own display. It shows nothing, but a guest hears of its monitor's new size through it. It cannot be had with
/// a device that has VIRGL, because QEMU wants a GL context for it then; and it knows nothing of a generic device.
fn display(host: &HostFacts, transport: Transport) -> &'static str {
    if host.has_display(transport) { "dbus,p2p=yes" } else { "none" }
}

fn machine(
    line: &mut Args,
    definition: &GuestDefinition,
    host: &HostFacts,
    accel: Accel,
    windows: bool,
) -> Result<(), CommandLineError> {
    let secure = definition.machine.firmware == Firmware::UefiSecure;
    let firmware = host.firmware(definition.machine.firmware)?;
    if let Some(files) = firmware {
        block(line, "fw-code", &Image::unseen(&files.code, None), Access::Read)?;
        block(line, "fw-vars", &Image::unseen(&host.vars, None), Access::Write)?;
    }
    let mut machine = Value::new("q35,memory-backend=ram0,dump-guest-core=off");
    if firmware.is_some() {
        machine.raw(",pflash0=fw-code,pflash1=fw-vars");
    }
    if secure {
        machine.raw(",smm=on");
        line.option("-global", "driver=cfi.pflash01,property=secure,value=on");
    }
    line.option("-machine", machine).option("-uuid", identity::uuid(definition).to_string());
    // A suspended guest's device models are reset when it wakes; OVMF with SMM does not support it at all.
    line.option("-global", "ICH9-LPC.disable_s3=1");

    let cpu = match (accel, windows) {
        (Accel::Kvm, true) => {
            "host,hv-relaxed,hv-vapic,hv-spinlocks=0x1fff,hv-vpindex,hv-runtime,hv-synic,hv-stimer,hv-reset,hv-frequencies,\
             hv-tlbflush,hv-ipi"
        }
        (Accel::Kvm, false) => "host",
        (Accel::Tcg, _) => "max",
    };
    let accel = match accel {
        Accel::Kvm => "kvm",
        Accel::Tcg => "tcg,thread=multi",
    };
    line.option("-accel", accel).option("-cpu", cpu);
    // One socket: some editions of Windows use no more.
    let cpus = definition.cpus;
    line.option("-smp", format!("{cpus},sockets=1,cores={cpus},threads=1"));
    // vhost-user needs guest memory that another process can map; its size must be that of the machine.
    let mebibytes = definition.memory / (1024 * 1024);
    line.option("-m", format!("{mebibytes}M"));
    // What the guest has in memory is on no disk, whatever ends QEMU.
    line.option("-object", format!("memory-backend-memfd,id=ram0,size={mebibytes}M,share=on,dump=off"));
    line.option("-rtc", if windows { "base=localtime" } else { "base=utc" });
    Ok(())
}

fn boot(line: &mut Args, definition: &GuestDefinition) {
    let Some(boot) = &definition.boot else { return };
    // These three are taken as they are, commas included.
    line.option("-kernel", boot.kernel.as_os_str());
    if let Some(initrd) = &boot.initrd {
        line.option("-initrd", initrd.as_os_str());
    }
    if !boot.cmdline.is_empty() {
        line.option("-append", boot.cmdline.as_str());
    }
}

fn control(line: &mut Args, host: &HostFacts) {
    line.option("-chardev", format!("socket,id=qmp,fd={}", host.qmp_fd));
    line.option("-mon", "chardev=qmp,mode=control");
    let serial = match &host.serial {
        SerialSink::File(file) => {
            let mut value = Value::new("file,id=serial0,append=on,path=");
            value.path(file);
            value
        }
        SerialSink::Socket(fd) => Value::new(&format!("socket,id=serial0,fd={fd}")),
    };
    line.option("-chardev", serial).option("-device", "isa-serial,chardev=serial0");
}

fn gpu(line: &mut Args, definition: &GuestDefinition, host: &HostFacts, transport: Transport) {
    line.option("-chardev", format!("socket,id=gpu0,fd={}", host.gpu_fd));
    let scanouts = definition.gpu.scanouts;
    line.option(
        "-device",
        match transport {
            Transport::VhostUserGpu => format!("vhost-user-gpu-pci,id=gpu,chardev=gpu0,max_outputs={scanouts}"),
            // Two queues and the configuration space of a virtio-gpu device, number 16; the scanouts are in it.
            Transport::Generic => {
                format!("{GENERIC_DEVICE},id=gpu,chardev=gpu0,virtio-id=16,num_vqs=2,vq_size=256,config_size=20")
            }
        },
    );
}

/// Whether the guest has a virtio keyboard beside the machine's PS/2 one.
pub fn has_virtio_keyboard(definition: &GuestDefinition) -> bool {
    definition.profile == Profile::Linux
}

fn input(line: &mut Args, definition: &GuestDefinition) {
    // The machine's PS/2 keyboard is always there, for firmware and for systems without drivers.
    let usb_disks = definition.disks.iter().any(|disk| disk.bus == DiskBus::Usb);
    let virtio = has_virtio_keyboard(definition);
    if usb_disks || !virtio {
        line.option("-device", "qemu-xhci,id=xhci,p2=15,p3=15");
    }
    if virtio {
        line.option("-device", "virtio-keyboard-pci,id=keyboard").option("-device", "virtio-tablet-pci");
    } else {
        line.option("-device", "usb-tablet,bus=xhci.0");
    }
}

fn disks(line: &mut Args, definition: &GuestDefinition, host: &HostFacts) -> Result<(), CommandLineError> {
    if definition.disks.iter().any(|disk| disk.bus == DiskBus::Scsi) {
        line.option("-device", "virtio-scsi-pci,id=scsi");
    }
    let mut sata_ports = 0..;
    for (index, disk) in definition.disks.iter().enumerate() {
        let unseen;
        let image = match host.images.get(index) {
            Some(image) => image,
            None => {
                unseen = Image::unseen(&disk.path, disk.format);
                &unseen
            }
        };
        let access = if disk.cdrom { Access::Read } else { Access::WriteAndDiscard };
        block(line, &format!("disk{index}"), image, access)?;
        let sata_port: u32 = if disk.bus == DiskBus::Sata { sata_ports.next().unwrap_or(0) } else { 0 };
        let device = disk_device(disk, index, sata_port, line);
        // Disks are tried in their order.
        line.option("-device", format!("{device},drive=disk{index},bootindex={}", index.saturating_add(1)));
    }
    Ok(())
}

fn block(line: &mut Args, name: &str, image: &Image, access: Access) -> Result<(), CommandLineError> {
    let node = image.node(name, access).map_err(CommandLineError::Image)?;
    line.option("-blockdev", node.to_string());
    Ok(())
}

fn disk_device(disk: &Disk, index: usize, sata_port: u32, line: &mut Args) -> String {
    match (disk.bus, disk.cdrom) {
        (DiskBus::Virtio, _) => "virtio-blk-pci".to_owned(),
        (DiskBus::Nvme, _) => format!("nvme,serial=disk{index}"),
        (DiskBus::Sata, false) => format!("ide-hd,bus=ide.{sata_port}"),
        (DiskBus::Sata, true) => format!("ide-cd,bus=ide.{sata_port}"),
        (DiskBus::Scsi, false) => "scsi-hd,bus=scsi.0".to_owned(),
        (DiskBus::Scsi, true) => "scsi-cd,bus=scsi.0".to_owned(),
        (DiskBus::Usb, false) => "usb-storage,bus=xhci.0,removable=on".to_owned(),
        (DiskBus::Usb, true) => {
            line.option("-device", format!("usb-bot,id=usb{index},bus=xhci.0"));
            format!("scsi-cd,bus=usb{index}.0")
        }
    }
}

fn network(
    line: &mut Args,
    definition: &GuestDefinition,
    host: &HostFacts,
    windows: bool,
) -> Result<(), CommandLineError> {
    match definition.network {
        NetworkMode::None => return Ok(()),
        NetworkMode::User => {
            line.option("-netdev", "user,id=net0");
        }
        NetworkMode::Passt => {
            // QEMU may not spawn passt itself: its sandbox forbids it.
            let socket = host.passt_socket.as_ref().ok_or(CommandLineError::NoPasst)?;
            let mut value = Value::new("stream,id=net0,server=off,addr.type=unix,addr.path=");
            value.path(socket);
            line.option("-netdev", value);
        }
    }
    let model = if windows { "e1000e" } else { "virtio-net-pci" };
    let mac = identity::mac_address(definition);
    // No option ROM: nothing boots from this network, and the ROM's file may not be installed.
    line.option("-device", format!("{model},netdev=net0,mac={mac},romfile="));
    Ok(())
}

fn tpm(line: &mut Args, definition: &GuestDefinition, host: &HostFacts) -> Result<(), CommandLineError> {
    if !definition.machine.tpm {
        return Ok(());
    }
    let socket = host.tpm_socket.as_ref().ok_or(CommandLineError::NoTpm)?;
    let mut value = Value::new("socket,id=tpm0,path=");
    value.path(socket);
    line.option("-chardev", value);
    line.option("-tpmdev", "emulator,id=tpm,chardev=tpm0").option("-device", "tpm-crb,tpmdev=tpm");
    Ok(())
}

/// The arguments so far.
#[derive(Default)]
struct Args(Vec<OsString>);

impl Args {
    fn flag(&mut self, name: &str) -> &mut Self {
        self.0.push(name.into());
        self
    }

    fn option(&mut self, name: &str, value: impl Into<OsString>) -> &mut Self {
        self.0.push(name.into());
        self.0.push(value.into());
        self
    }
}

/// One argument that QEMU splits at commas.
struct Value(Vec<u8>);

impl Value {
    fn new(start: &str) -> Self {
        Self(start.into())
    }

    fn raw(&mut self, text: &str) -> &mut Self {
        self.0.extend_from_slice(text.as_bytes());
        self
    }

    /// A path, its commas doubled.
    fn path(&mut self, path: &Path) -> &mut Self {
        for byte in path.as_os_str().as_bytes() {
            self.0.push(*byte);
            if *byte == b',' {
                self.0.push(b',');
            }
        }
        self
    }
}

impl From<Value> for OsString {
    fn from(value: Value) -> Self {
        Self::from_vec(value.0)
    }
}

/// The command line on one line, as a POSIX shell takes it.
impl fmt::Display for CommandLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&quoted(self.program.as_os_str()))?;
        self.args.iter().try_for_each(|arg| write!(f, " {}", quoted(arg)))
    }
}

/// One word for a POSIX shell.
pub(super) fn quoted(word: &OsStr) -> String {
    let text = word.to_string_lossy();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./,=:+@%".contains(&byte);
    if !text.is_empty() && text.bytes().all(plain) {
        return text.into_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
#[path = "command_line_tests.rs"]
mod tests;
