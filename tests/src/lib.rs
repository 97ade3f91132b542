//! What the end-to-end tests, the hostile frontends and the benchmarks share.

pub mod frontend;
pub mod programs;
