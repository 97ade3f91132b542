//! What backends' devices do, in the words that are the same for all of them.
//!
//! A window and a test have one keyboard and one pointer; the display itself has what libinput finds, which is told
//! apart later.

use smithay::backend::input::InputEvent;
use smithay::backend::libinput::LibinputInputBackend;

/// Something that a person did, or a device. Times are milliseconds of the monotonic clock.
#[derive(Debug)]
pub enum DeviceInput {
    /// A key; a press of one that is down is a repeat and passed over.
    Key {
        /// evdev code.
        code: u32,
        /// Press or release.
        pressed: bool,
        /// When.
        time_ms: u32,
    },
    /// The pointer is at this place of the plane that all outputs lie on, in physical pixels.
    Motion {
        /// To the right.
        x: f64,
        /// Down.
        y: f64,
        /// When.
        time_ms: u32,
    },
    /// A pointer button.
    Button {
        /// evdev code.
        code: u32,
        /// Press or release.
        pressed: bool,
        /// When.
        time_ms: u32,
    },
    /// The wheel turned by so many notches; positive: right, down.
    Wheel {
        /// To the right.
        horizontal: f64,
        /// Down.
        vertical: f64,
        /// When.
        time_ms: u32,
    },
    /// The keyboard is lost (the window is not in front any more, the seat went away): whatever is held counts as
    /// released.
    Lost {
        /// When.
        time_ms: u32,
    },
    /// One of libinput's devices.
    Libinput(InputEvent<LibinputInputBackend>),
}
