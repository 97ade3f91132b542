//! The on-screen manager of guests: what it lists and what its keys do. How it looks is UI's.

pub mod model;
pub mod window;
