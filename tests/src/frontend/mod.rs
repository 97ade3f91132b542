//! A vhost-user frontend that plays QEMU and a guest's driver at once, against a real device process.
//!
//! Tests use it as the hostile guest, benchmarks as the driver that is the same for every device. It owns the guest's
//! memory (a memfd), writes virtqueues by hand and can therefore write anything into them. Everything waits with a
//! deadline.

pub mod commands;
pub mod device;
pub mod gpu_socket;
pub mod memory;
pub mod queue;
pub mod session;
pub mod three_d;

pub use commands::*;
pub use device::DeviceProcess;
pub use memory::GuestMemory;
pub use queue::{Desc, Queue};
pub use session::{Options, Session};
