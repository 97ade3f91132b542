//! The disposable 3D process: its protocol ([`wire`]), the end that phyllome-guest holds, and the process itself.
//!
//! C libraries are loaded in `phyllome-renderer` only. It serves one guest, trusts nothing that it is told, and may die at any
//! time; phyllome-guest trusts nothing that it says, and starts another.

pub mod client;
mod conversation;
mod deaths;
pub(crate) mod files;
mod keeper;
pub mod launch;
pub mod limits;
mod packets;
pub mod server;
pub mod wire;
mod words;
