//! phyllome-guest: everything that belongs to one running guest. It starts QEMU, serves its virtio-gpu device and
//! presents each scanout as a Wayland client.
//!
//! The guest is hostile, and so is all that QEMU passes on from it. QEMU cannot recover from the death of this process,
//! so nothing that a guest does may panic here.
//!
//! Folders and files here import only those before them: `child`, `frames`, `damage`, `halt_poll`, `seldom`, `spare`,
//! `still`, then `cage`, `renderer`, `gpu`, `screen`, `machine`, and the programs in `bin` last.

mod child;
mod damage;
pub mod frames;
mod halt_poll;
mod seldom;
mod spare;
mod still;

pub mod cage;
pub mod renderer;

pub mod gpu;
pub mod screen;

pub mod machine;
