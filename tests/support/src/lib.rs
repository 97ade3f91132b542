//! What the tests of all crates share: waits with deadlines, counters of a process, sealed memory, files whose server is
//! silent, how often something is repeated.
//!
//! Knows nothing of the product, so that each of its crates can use it in its own tests. Never part of a program that
//! ships.

pub mod memory;
pub mod process;
pub mod silent;
pub mod soak;
pub mod wait;
