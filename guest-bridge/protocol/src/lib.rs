//! What shell, bridge and command-line tool share: identifiers, status, control messages, the framing of JSON lines
//! with file descriptors, and the few things that all of them do alike.
//!
//! Everything that arrives over a socket is hostile until it has passed through here: lines are bounded, names are
//! checked when they are parsed, unknown messages are errors and never panics, text is made printable ([`text`]). The
//! crate does no I/O but `sendmsg`/`recvmsg` on a socket that it is handed, questions to the kernel about a descriptor
//! that it is handed ([`descriptor`]), the checks of the runtime folder, what a program does at its start, and lines on
//! standard error.

#![deny(clippy::wildcard_enum_match_arm, reason = "a new verb or message is not to be taken for another")]

pub mod complaint;
pub mod control;
pub mod descriptor;
pub mod framing;
pub mod graphics;
pub mod ids;
pub mod keys;
pub mod log_line;
pub mod runtime;
pub mod shell;
pub mod start;
pub mod status;
pub mod text;
pub mod verb;

pub use complaint::complain;
pub use ids::{GuestName, ScanoutId, Slot};
pub use verb::GuestVerb;
