//! How the guest's GPU is attached to QEMU: the choice, which is pure.
//!
//! QEMU's own vhost-user-gpu-pci is made for what a display needs. Its generic vhost-user device (QEMU 11.0 and newer)
//! passes on everything that a virtio-gpu device can offer: blob resources, contexts of every kind and a window for
//! mapped memory; QEMU calls it not recommended for production, so it is taken only for a guest that draws in 3D, or
//! that asks for it by name.

use super::host::{HostFacts, QemuVersion};
use crate::gpu::Transport;
use phyllome_config::guest::Transport as Wish;

/// The first QEMU whose generic device can map shared memory into a guest.
pub const GENERIC_SINCE: QemuVersion = QemuVersion { major: 11, minor: 0, micro: 0 };
/// Its name.
pub const GENERIC_DEVICE: &str = "vhost-user-test-device-pci";

/// QEMU has no generic device that a GPU can be attached with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "gpu.transport = \"generic\" needs QEMU {} or newer with its {}, and this is QEMU {found}; use auto",
    GENERIC_SINCE,
    GENERIC_DEVICE
)]
pub struct NoGeneric {
    /// The version that is installed.
    pub found: QemuVersion,
}

/// Why a guest with 3D is not attached by the generic device, without which it has virgl alone: one sentence. Nothing
/// if it is.
pub fn why_special(wish: Wish, generic_device: bool, version: QemuVersion) -> Option<String> {
    let only = "no Venus and no native contexts";
    if wish == Wish::VhostUserGpu {
        Some(format!("{only}: the guest's definition has transport = \"vhost-user-gpu\"; use auto"))
    } else if generic_device && version >= GENERIC_SINCE {
        None
    } else {
        Some(format!(
            "{only}: they need QEMU {GENERIC_SINCE} or newer with its {GENERIC_DEVICE}, and this is QEMU {version}; install a newer one"
        ))
    }
}

/// What `wish` means on this host, whose renderer, if there is one, is ready.
pub fn choose(wish: Wish, host: &HostFacts) -> Result<Transport, NoGeneric> {
    let can = host.generic_device && host.qemu_version >= GENERIC_SINCE;
    match wish {
        Wish::Generic if !can => Err(NoGeneric { found: host.qemu_version }),
        Wish::Generic => Ok(Transport::Generic),
        Wish::Auto if can && host.three_d => Ok(Transport::Generic),
        Wish::Auto | Wish::VhostUserGpu => Ok(Transport::VhostUserGpu),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_generic_device_carries_more_than_virgl() {
        let old = QemuVersion { major: 10, minor: 0, micro: 2 };
        assert_eq!(why_special(Wish::Auto, true, GENERIC_SINCE), None);
        assert_eq!(why_special(Wish::Generic, true, GENERIC_SINCE), None);
        assert!(why_special(Wish::VhostUserGpu, true, GENERIC_SINCE).is_some_and(|why| why.contains("definition")));
        assert!(why_special(Wish::Auto, false, old).is_some_and(|why| why.contains("QEMU 10.0.2")));
        assert!(why_special(Wish::Auto, false, GENERIC_SINCE).is_some());
    }
}
