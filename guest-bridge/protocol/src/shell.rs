//! The shell's socket `$XDG_RUNTIME_DIR/phyllome/shell.sock`: the command-line tool dials, one request a line,
//! one [`Reply`] a request, in order. After [`Command::Events`] the connection carries [`Event`]s until it closes.

use crate::GuestName;
use crate::status::{GuestState, Mode, Status};
use serde::{Deserialize, Serialize};

/// A request of the command-line tool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case")]
#[allow(missing_docs, reason = "each variant is the command of the same name in the tool's help")]
pub enum Command {
    Status,
    Events,
    Start { name: GuestName },
    Shutdown { name: GuestName },
    Kill { name: GuestName },
    Restart { name: GuestName },
    Pause { name: GuestName },
    Resume { name: GuestName },
    PauseAll,
    ResumeAll,
    Switch { name: GuestName },
    Panel { show: bool },
    Lock,
    Screenshot { target: CaptureTarget },
    SendKeys { name: GuestName, keys: Vec<String> },
    Input { input: TestInput },
}

/// What `phyllome screenshot` captures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CaptureTarget {
    /// The first output.
    Default,
    /// The output of this name.
    Output(String),
    /// One guest's picture, without the frame.
    Guest(GuestName),
}

/// Input that a test makes; refused unless the shell was started with `--allow-test-input`. Key names are evdev's, without
/// `KEY_`, in lower case; `super` is leftmeta. Positions are physical pixels of the output.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "each variant is the `input` sub-command of the same name")]
pub enum TestInput {
    KeyPress {
        key: String,
    },
    KeyRelease {
        key: String,
    },
    /// All pressed in order, then released in reverse.
    Tap {
        keys: Vec<String>,
    },
    /// US layout; `\n` is enter.
    Type {
        text: String,
    },
    Move {
        x: f64,
        y: f64,
    },
    ButtonPress {
        button: String,
    },
    ButtonRelease {
        button: String,
    },
    /// Notches; positive scrolls down.
    Wheel {
        notches: i32,
    },
}

/// The answer to one [`Command`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "reply")]
pub enum Reply {
    /// Carried out.
    Done,
    /// Not carried out.
    Refused {
        /// One sentence to a person.
        reason: String,
    },
    /// Answer to [`Command::Status`].
    Status(Box<Status>),
    /// Answer to [`Command::Screenshot`]; a sealed memfd with the pixels comes with this line.
    Screenshot {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
        /// Bytes per row. Pixels are four bytes: blue, green, red, unused.
        stride: u32,
    },
}

/// Something happened; `phyllome events` prints one a line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// A guest's state changed.
    State {
        /// Which guest.
        name: GuestName,
        /// Its state now.
        state: GuestState,
        /// Why, where there is something to say.
        message: Option<String>,
    },
    /// The first picture of a guest since it was started is on an output.
    Picture {
        /// Which guest.
        name: GuestName,
    },
    /// Another guest, or none, has the keyboard.
    Focus {
        /// Which guest.
        name: Option<GuestName>,
    },
    /// Whom the person talks to has changed.
    Mode {
        /// The mode now.
        mode: Mode,
    },
}
