//! The real shell in a test's own process, with real Wayland clients over socketpairs in place of phyllome-guest.

mod abuse;
mod beside;
mod buffers;
mod chords;
mod client;
mod computer;
mod devices;
mod event_loop;
mod faces;
mod fences;
mod fixture;
mod frame;
mod fuse;
mod gate;
mod gles;
mod hostile;
mod idle;
mod keyboard;
mod limits;
mod memory;
mod outputs;
mod pictures;
mod pointer;
mod pointing;
mod rotation;
mod show;
