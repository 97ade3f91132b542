//! The trusted band: geometry, colours and patterns, label.

pub mod geometry;
