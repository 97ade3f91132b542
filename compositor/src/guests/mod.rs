//! The guests that the shell knows.

/// All of them.
#[derive(Debug, Default)]
pub struct Guests {}
