//! The shell's own pictures.

/// The drawer.
#[derive(Debug, Default)]
pub struct Ui {}
