//! The files that a person writes: `shell.toml` and `guests/NAME.toml`, their places, and what is allowed in them.
//!
//! A file is hostile until it has passed through here: its size is bounded, unknown keys, wrong types and impossible
//! values are errors that name file, line, key and what is allowed. One bad guest file never hides the others.

pub mod chords;
mod document;
mod error;
pub mod firmware;
pub mod guest;
mod guest_file;
pub mod identity;
pub mod input;
pub mod label;
mod load;
mod looks;
mod output;
pub mod places;
mod read;
pub mod session;
pub mod shell;

pub use error::ConfigError;
pub use guest::GuestDefinition;
pub use identity::GuestId;
pub use load::{Loaded, load_all, load_guest, shared_id};
pub use looks::are_alike;
pub use places::Places;
pub use shell::ShellConfig;
