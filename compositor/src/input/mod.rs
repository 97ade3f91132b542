//! Chords and pressed keys.

/// The chord machine.
#[derive(Debug, Default)]
pub struct Input {}
