//! The real phyllome-renderer with the real libvirglrenderer and Mesa's llvmpipe, over its socket: what it draws, what it
//! refuses, and what it survives. Needs no GPU.

mod blobs;
mod driver;
mod fences;
mod garbage;
mod pixels;
mod refusals;
mod start;
