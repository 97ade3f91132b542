//! The files that a person writes: `shell.toml` and `guests/NAME.toml`, their places, and what is allowed in them.
//!
//! A file is hostile until it has passed through here: its size is bounded, unknown keys, wrong types and impossible
//! values are errors that name file, line, key and what is allowed. One bad guest file never hides the others.

pub mod guest;

pub use guest::GuestDefinition;
