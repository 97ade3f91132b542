//! The trusted compositor of Phyllome Shell.
//!
//! One process, one calloop loop own the display, the input devices, the frame, the panel and the decision
//! who has focus. What guests send is hostile; nothing here parses more of it than Wayland requests and small control
//! messages.

pub mod backend;
pub mod bucket;
pub mod control;
pub mod descriptors;
pub mod event_loop;
pub mod faces;
pub mod guests;
pub mod host;
pub mod input;
pub mod ledger;
pub mod log_limit;
pub mod monotonic;
pub mod outbox;
pub mod outputs;
pub mod relay;
pub mod render;
pub mod shell;
pub mod state;
pub mod wayland;

pub use state::State;

#[cfg(test)]
mod tests;
