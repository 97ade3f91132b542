//! The KMS test machine.

pub mod apt;
pub mod picture;
pub mod programs;
