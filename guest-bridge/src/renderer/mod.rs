//! The disposable 3D process: its protocol ([`wire`]), the end that phyllome-guest holds, and the process itself.
//!
//! C libraries are loaded in `phyllome-renderer` only. It serves one guest, trusts nothing that it is told, and may die
//! at any time; phyllome-guest trusts nothing that it says, and starts another.

#![cfg_attr(
    not(test),
    deny(clippy::wildcard_enum_match_arm, reason = "a new request, command or event is not to be taken for another")
)]

#[cfg(feature = "test-doors")]
pub mod bare;
pub mod client;
mod deaths;
pub(crate) mod files;
pub mod launch;
pub mod limits;
mod output;
mod packets;
mod process;
pub mod server;
mod session;
pub mod wire;
