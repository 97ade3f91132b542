//! Outputs: what is known of each, where it lies, and what guests are told of it.
//!
//! Made and owned by a backend, read by everybody: this folder imports no other of the compositor's, and names the type
//! `State` only because Wayland's globals are made for it. Sizes are physical pixels.

pub mod arrange;
mod capture;
mod displays;
mod output;

pub use capture::Capture;
pub use displays::{Displays, settings_of};
pub use output::{Output, OutputId, OutputInfo, Plane};

/// What draws.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RendererKind {
    /// Software, in this process.
    Pixman,
    /// OpenGL ES through EGL.
    Gles,
}

impl RendererKind {
    /// The word in `phyllome status`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Pixman => "pixman",
            Self::Gles => "gles",
        }
    }
}

/// What became of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drawn {
    /// It is on the display (in memory, or handed to the desktop around).
    Shown,
    /// A page flip is under way: [`crate::State::output_flipped`] is called when the frame is on the display.
    Queued,
    /// Nothing had changed and nothing was submitted; what is on the display stays.
    Unchanged,
    /// This output cannot be drawn now (switched away, asleep). Whoever wakes it queues a redraw.
    Asleep,
}
