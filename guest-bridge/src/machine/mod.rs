//! The machine: QEMU's process, QMP, lifecycle, and the control socket that the shell dials.
//!
//! QEMU is hostile once its guest has broken out of it: what it says is bounded, and what it leaves unsaid runs into a
//! timeout. What decides ([`lifecycle`], [`input`], [`typematic`], [`keys`], [`command_line`]) is pure; what acts is
//! [`supervisor`].

#![cfg_attr(
    not(test),
    deny(clippy::wildcard_enum_match_arm, reason = "a new request, command or event is not to be taken for another")
)]

pub mod checks;
pub mod command_line;
pub mod control;
pub mod disks;
pub mod display;
pub mod environment;
pub mod events;
pub mod firmware;
pub mod folder;
pub mod graphics;
pub mod host;
pub mod identity;
pub mod image;
pub mod input;
pub mod keys;
pub mod lifecycle;
pub mod log_rate;
pub mod logs;
pub mod monitors;
pub mod peers;
pub mod process;
pub mod qemu;
pub mod qmp;
pub mod room;
pub mod supervisor;
pub mod transport;
pub mod typematic;
pub mod verdict;
pub mod words;
