//! The real shell in a test's own process, with real Wayland clients over socketpairs in place of phyllome-guest.

mod client;
mod fixture;
mod frame;
mod gles;
mod hostile;
mod idle;
mod keyboard;
mod pointer;
mod show;
