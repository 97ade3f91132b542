//! The Wayland client that shows a guest's scanouts, in the shell or in any other compositor, and that takes its input.
//!
//! [`Hub`] keeps the present picture of every scanout, whether a compositor is there or not; [`Handle::attach`] gives
//! it a connection, which a later one replaces. So a shell that starts again sees the present picture at once.
//! Everything runs on the caller's tokio loop, without a thread of its own and without waiting for the compositor
//! anywhere.
//!
//! It trusts the device thread (rectangles are checked there) and believes nothing that the compositor sends: a lost,
//! odd or poor compositor costs the picture, never the process. It never writes to a guest's buffer and never waits for
//! a frame.

mod buffers;
mod conversion;
mod desktop;
mod formats;
mod geometry;
mod globals;
mod hub;
mod input;
mod link;
mod model;
mod seat;
mod surface;
mod view;
mod window_events;

use crate::frames::{ToDevice, ToScreen};
use phyllome_protocol::ScanoutId;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use tokio::sync::mpsc;

pub use hub::Hub;

/// The greatest value of [`InputEvent::Abs`]; QMP's `abs` events have the same range.
pub const ABS_MAX: u16 = 0x7fff;

/// What the person does, as far as the compositor lets this guest know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputEvent {
    /// A key went down or up. A press is sent once (the guest repeats by itself); a release only after its press.
    Key {
        /// evdev's KEY_ code.
        code: u32,
        /// Down.
        pressed: bool,
    },
    /// The pointer is here; 0 is the left or upper edge of the desktop that the guest's scanouts make up, [`ABS_MAX`]
    /// the other.
    Abs {
        /// Horizontally.
        x: u16,
        /// Vertically.
        y: u16,
        /// The scanout that the pointer is on.
        scanout: ScanoutId,
    },
    /// A pointer's button went down or up.
    Button {
        /// evdev's BTN_ code.
        code: u32,
        /// Down.
        pressed: bool,
    },
    /// The wheel was turned; never both 0.
    Wheel {
        /// Notches, down is positive.
        vertical: i32,
        /// Notches, right is positive.
        horizontal: i32,
    },
    /// The input went elsewhere: every key and button that was reported as pressed is to be released now. No release
    /// follows.
    ReleaseAll,
}

/// Screen → machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromScreen {
    /// For the guest.
    Input(InputEvent),
    /// The person closed the window: ask the guest to shut down.
    CloseRequested,
    /// A scanout shows another picture or none, or the device's first frame has come.
    ScanoutsChanged,
    /// A compositor is connected and has all that a screen needs.
    Attached,
    /// The connection to the compositor is gone; the text is one sentence. The hub goes on without a screen.
    Detached(String),
}

/// Where [`ToDevice`] messages go: called on the hub's loop, must not block.
pub type DeviceSink = Box<dyn FnMut(ToDevice) + Send>;

/// How one scanout reaches the display, for `status`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScanoutReport {
    /// `dmabuf`, `shm`, `copy` (converted, because the compositor does not know the guest's pixel format) or empty.
    pub buffer: &'static str,
    /// Commits that carried a picture.
    pub commits: u64,
    /// Frame callbacks that answered them.
    pub presented: u64,
    /// Presentation feedback that says that a commit was on a display.
    pub displayed: u64,
    /// Pixels that were converted into a buffer of our own.
    pub copied_pixels: u64,
}

/// Facts of the screen, shared with whoever answers `status`; locked only to copy.
#[derive(Clone, Debug, Default)]
pub struct ScreenReport {
    /// Whether a compositor is connected.
    pub attached: bool,
    /// By scanout.
    pub scanouts: std::collections::BTreeMap<ScanoutId, ScanoutReport>,
}

/// See [`ScreenReport`].
pub type SharedScreenReport = Arc<Mutex<ScreenReport>>;

enum Command {
    Attach(UnixStream),
    Detach,
    Device(mpsc::Receiver<ToScreen>, DeviceSink),
}

/// Talks to a [`Hub`] that runs elsewhere on the loop. The hub ends when the last handle is dropped.
#[derive(Clone)]
pub struct Handle {
    commands: mpsc::UnboundedSender<Command>,
    report: SharedScreenReport,
}

impl Handle {
    /// Shows everything on this Wayland connection from now on; a former one is closed.
    pub fn attach(&self, connection: UnixStream) {
        // A hub that has ended needs no screen.
        let _ = self.commands.send(Command::Attach(connection));
    }

    /// Closes the Wayland connection.
    pub fn detach(&self) {
        let _ = self.commands.send(Command::Detach);
    }

    /// Takes pictures from this device from now on; a former one (of a QEMU that was started again) is forgotten with
    /// all its pictures. At once and on every change `sink` is told whether a screen is there, and the mode that it
    /// prefers.
    pub fn device(&self, from_device: mpsc::Receiver<ToScreen>, sink: DeviceSink) {
        let _ = self.commands.send(Command::Device(from_device, sink));
    }

    /// Counters for `status`.
    pub fn report(&self) -> SharedScreenReport {
        self.report.clone()
    }
}
