//! What the end-to-end tests, the hostile frontends and the benchmarks share.

pub mod bench;
pub mod control;
pub mod frontend;
pub mod gl_guest;
mod guest_file;
pub mod host;
pub mod newer;
pub mod numbers;
pub mod played;
pub mod udmabuf;

pub use guest_file::{guest_file, played_guest_file, qemu_of_played_guests};
pub use phyllome_test_machine::{picture, programs};
