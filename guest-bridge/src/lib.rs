//! phyllome-guest: everything that belongs to one running guest. It starts QEMU, serves its virtio-gpu device and
//! presents each scanout as a Wayland client.
//!
//! The guest is hostile, and so is all that QEMU passes on from it. QEMU cannot recover from the death of this process, so
//! nothing that a guest does may panic here.

pub mod cage;
pub mod frames;
pub mod gpu;
mod halt_poll;
pub mod machine;
pub mod renderer;

pub mod screen;
