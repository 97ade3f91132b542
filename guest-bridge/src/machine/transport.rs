//! How the guest's GPU is attached to QEMU: the choice, which is pure.
//!
//! QEMU's own vhost-user-gpu-pci is made for what a display needs. Its generic vhost-user device (QEMU 11.0 and newer) passes
//! on everything that a virtio-gpu device can offer: blob resources, contexts of every kind and a window for mapped memory; QEMU
//! calls it not recommended for production, so it is taken only for a guest that draws in 3D, or that asks for it by name.

use super::command_line::{CommandLineError, HostFacts, QemuVersion};
use crate::gpu::Transport;
use phyllome_config::guest::Transport as Wish;

/// The first QEMU whose generic device can map shared memory into a guest.
pub const GENERIC_SINCE: QemuVersion = QemuVersion { major: 11, minor: 0, micro: 0 };
/// Its name.
pub const GENERIC_DEVICE: &str = "vhost-user-test-device-pci";

/// What `wish` means on this host, whose renderer, if there is one, is ready.
pub fn choose(wish: Wish, host: &HostFacts) -> Result<Transport, CommandLineError> {
    let can = host.generic_device && host.qemu_version >= GENERIC_SINCE;
    match wish {
        Wish::Generic if !can => Err(CommandLineError::NoGeneric { found: host.qemu_version }),
        Wish::Generic => Ok(Transport::Generic),
        Wish::Auto if can && host.three_d => Ok(Transport::Generic),
        Wish::Auto | Wish::VhostUserGpu => Ok(Transport::VhostUserGpu),
    }
}
