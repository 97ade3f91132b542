//! The shell's socket `$XDG_RUNTIME_DIR/phyllome/shell.sock`: the command-line tool dials, one request a line,
//! one [`Reply`] a request, in order. After [`Command::Events`] the connection carries [`Event`]s until it closes.

use crate::status::{GuestState, Mode, Status};
use crate::{GuestName, GuestVerb};
use serde::{Deserialize, Serialize};

/// A request of the command-line tool. [`Command::Guest`] is written as the verb's word.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "Line", into = "Line")]
#[allow(missing_docs, reason = "each variant is the command of the same name in the tool's help")]
pub enum Command {
    Status,
    Events,
    Guest { verb: GuestVerb, name: GuestName },
    PauseAll,
    ResumeAll,
    Switch { name: GuestName },
    Panel { show: bool },
    Lock,
    Screenshot { target: CaptureTarget },
    SendKeys { name: GuestName, keys: Vec<String> },
    Input { input: TestInput },
}

/// A [`Command`] as it is written: a verb is a word like the others.
#[derive(Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case")]
enum Line {
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

impl From<Command> for Line {
    fn from(command: Command) -> Self {
        match command {
            Command::Status => Self::Status,
            Command::Events => Self::Events,
            Command::Guest { verb: GuestVerb::Start, name } => Self::Start { name },
            Command::Guest { verb: GuestVerb::Shutdown, name } => Self::Shutdown { name },
            Command::Guest { verb: GuestVerb::Kill, name } => Self::Kill { name },
            Command::Guest { verb: GuestVerb::Restart, name } => Self::Restart { name },
            Command::Guest { verb: GuestVerb::Pause, name } => Self::Pause { name },
            Command::Guest { verb: GuestVerb::Resume, name } => Self::Resume { name },
            Command::PauseAll => Self::PauseAll,
            Command::ResumeAll => Self::ResumeAll,
            Command::Switch { name } => Self::Switch { name },
            Command::Panel { show } => Self::Panel { show },
            Command::Lock => Self::Lock,
            Command::Screenshot { target } => Self::Screenshot { target },
            Command::SendKeys { name, keys } => Self::SendKeys { name, keys },
            Command::Input { input } => Self::Input { input },
        }
    }
}

impl From<Line> for Command {
    fn from(line: Line) -> Self {
        let guest = |verb, name| Self::Guest { verb, name };
        match line {
            Line::Status => Self::Status,
            Line::Events => Self::Events,
            Line::Start { name } => guest(GuestVerb::Start, name),
            Line::Shutdown { name } => guest(GuestVerb::Shutdown, name),
            Line::Kill { name } => guest(GuestVerb::Kill, name),
            Line::Restart { name } => guest(GuestVerb::Restart, name),
            Line::Pause { name } => guest(GuestVerb::Pause, name),
            Line::Resume { name } => guest(GuestVerb::Resume, name),
            Line::PauseAll => Self::PauseAll,
            Line::ResumeAll => Self::ResumeAll,
            Line::Switch { name } => Self::Switch { name },
            Line::Panel { show } => Self::Panel { show },
            Line::Lock => Self::Lock,
            Line::Screenshot { target } => Self::Screenshot { target },
            Line::SendKeys { name, keys } => Self::SendKeys { name, keys },
            Line::Input { input } => Self::Input { input },
        }
    }
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

/// Input that a test makes; refused unless the shell was started with `--allow-test-input`. Key names are evdev's,
/// without `KEY_`, in lower case; `super` is leftmeta. Positions are physical pixels of the output.
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
