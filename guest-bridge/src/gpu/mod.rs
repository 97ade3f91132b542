//! The guest's virtio-gpu device, over vhost-user and in one thread: classic 2D with one copy per damaged pixel, blobs
//! of the guest's own pages without any, and 3D that the renderer draws.
//!
//! It trusts nothing that comes from the guest and little that comes from QEMU: commands are copied out of guest memory
//! first, then checked, then acted on; whatever is wrong is answered with the specification's error, counted and
//! logged. It never waits for a peer while it serves a queue, never panics on input and never holds more than its
//! quota.
//!
//! From the outside in: [`server`] waits, `requests` answers vhost-user, `service` serves queues (`ring`, `chain`),
//! [`wire`] decodes, `device` sends each command to `resource_commands`, `scanout_commands` or `blob_commands`, which
//! act on one table (`resources`: `host_image`, `blob`, `texture`) and on `scanout` and `cursor`, or to `three_d`, the
//! way to the renderer. `publish` tells the screen, `shmem` asks QEMU; `pacing`, [`quota`], `window`, `edid`, `formats`
//! and `class` decide purely.

mod backing;
#[cfg(feature = "test-doors")]
pub mod bare;
mod blob;
mod blob_commands;
mod chain;
mod class;
mod cursor;
mod device;
mod edid;
mod formats;
mod host_image;
mod inbox;
mod memory;
mod outcome;
mod pacing;
mod publish;
pub mod quota;
mod reporting;
mod requests;
mod resource_commands;
mod resources;
mod ring;
#[cfg(feature = "device-server")]
pub mod run;
mod scanout;
mod scanout_commands;
pub mod server;
mod service;
mod shmem;
mod texture;
mod three_d;
mod udmabuf;
mod window;
pub mod wire;

pub use quota::Quota;
#[cfg(feature = "device-server")]
pub use run::{NullScreen, ThreeDOptions, run_device};
pub use server::{DeviceEnd, DeviceHandle, DeviceSender, spawn};

use crate::frames::PreferredMode;
use phyllome_config::guest::Background;

/// How a device is attached to QEMU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transport {
    /// QEMU's vhost-user-gpu-pci, which owns the configuration space.
    #[default]
    VhostUserGpu,
    /// QEMU's generic vhost-user device: everything is ours, and the guest may use blobs.
    Generic,
}

impl Transport {
    /// The word in `status`.
    pub fn name(self) -> &'static str {
        match self {
            Self::VhostUserGpu => "vhost-user-gpu",
            Self::Generic => "generic",
        }
    }
}

/// What a device is made with.
#[derive(Clone, Copy, Debug)]
pub struct DeviceConfig {
    /// How it is attached to QEMU.
    pub transport: Transport,
    /// How many scanouts it has: 1 to 16, clamped.
    pub scanouts: u32,
    /// The mode that every scanout's EDID prefers until [`crate::frames::ToDevice::Mode`] says otherwise.
    pub mode: PreferredMode,
    /// How it draws while nobody sees it.
    pub background: Background,
    /// How much of the host one guest may use.
    pub quota: Quota,
}

impl Default for DeviceConfig {
    fn default() -> Self {
        let mode = PreferredMode { width: 1280, height: 800, refresh_mhz: 60_000, width_mm: 0, height_mm: 0 };
        let (transport, background, quota) = (Transport::default(), Background::default(), Quota::default());
        Self { transport, scanouts: 1, mode, background, quota }
    }
}
