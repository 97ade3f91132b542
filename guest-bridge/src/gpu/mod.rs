//! The guest's virtio-gpu device: classic 2D over vhost-user, in one thread, with one copy per damaged pixel.
//!
//! It trusts nothing that comes from the guest and little that comes from QEMU: commands are copied out of guest memory
//! first, then checked, then acted on; whatever is wrong is answered with the specification's error, counted and logged.
//! It never waits for a peer while it serves a queue, never panics on input and never holds more than its quota.
//!
//! From the outside in: [`server`] waits, `requests` answers vhost-user, `service` serves queues (`ring`, `chain`), `device`
//! executes commands (`wire`) on `resource`, `blob`, `scanout` and `cursor`; `pacing`, `quota`, `window`, `edid` and `formats`
//! decide purely. `three_d` is the way to the renderer, `shmem` the way back to QEMU.

mod backing;
mod blob;
mod blob_commands;
mod chain;
mod class;
mod cursor;
mod device;
mod edid;
mod formats;
mod memory;
mod pacing;
pub mod quota;
mod requests;
mod resource;
mod ring;
pub mod run;
mod scanout;
pub mod server;
mod service;
mod shmem;
mod shows;
mod three_d;
mod udmabuf;
mod window;
pub mod wire;

pub use quota::Quota;
pub use run::{NullScreen, ThreeDOptions, run_device};
pub use server::{DeviceEnd, DeviceHandle, DeviceSender, spawn};

use crate::frames::PreferredMode;

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
    /// How much of the host one guest may use.
    pub quota: Quota,
}

impl Default for DeviceConfig {
    fn default() -> Self {
        let mode = PreferredMode { width: 1280, height: 800, refresh_mhz: 60_000, width_mm: 0, height_mm: 0 };
        Self { transport: Transport::default(), scanouts: 1, mode, quota: Quota::default() }
    }
}
