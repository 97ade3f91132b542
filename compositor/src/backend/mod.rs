//! Where outputs and input devices come from: one enum, the same few methods, each a short match.

/// The backends.
#[derive(Debug)]
pub enum Backend {
    /// Draws into memory at a virtual 60 Hz.
    Headless,
    /// A window of another desktop.
    Nested,
}

impl Backend {
    /// The name in `phyllome status`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Headless => "headless",
            Self::Nested => "nested",
        }
    }
}
