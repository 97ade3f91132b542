//! The real phyllome-renderer with the real libvirglrenderer and Mesa's llvmpipe, over its socket: what it draws, what
//! it refuses, and what it survives. Needs no GPU.

#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

mod blobs;
mod driver;
mod fences;
mod garbage;
mod pixels;
mod refusals;
mod sandbox;
mod start;
