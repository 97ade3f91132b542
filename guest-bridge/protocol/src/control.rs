//! The control socket of one guest: the shell dials, phyllome-guest answers.
//!
//! The socket is `$XDG_RUNTIME_DIR/phyllome/guests/NAME/control.sock`; whoever answers there first *is* guest NAME,
//! unless the shell has started that itself: then nobody but that process is. One JSON object a line in each direction
//! ([`crate::framing`]). phyllome-guest speaks first, with [`FromGuest::Hello`] and a [`FromGuest::Report`], and then
//! sends a report whenever one of its fields but the counters changes. Counters are sent only with a report that is
//! asked for ([`Request::Report`]), so that a quiet guest causes no wake-up.

use crate::status::{GpuStatus, GuestState, ScanoutStatus};
use crate::{GuestName, GuestVerb};
use serde::{Deserialize, Serialize};

/// Version of these messages.
pub const VERSION: u32 = 1;

/// A request to phyllome-guest, answered by [`FromGuest::Done`] or [`FromGuest::Refused`] with the same id.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ToGuest {
    /// Chosen by the sender; comes back in the answer.
    pub id: u64,
    /// What is asked.
    #[serde(flatten)]
    pub request: Request,
}

/// What can be asked of phyllome-guest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "Line", into = "Line")]
pub enum Request {
    /// Show the guest's scanouts on the Wayland server whose end of a socketpair comes with this line (one descriptor).
    /// Replaces a former screen.
    AttachScreen {
        /// Width of the guest's area in physical pixels: the EDID's preferred mode until the screen configures another.
        width: u32,
        /// Height of the same.
        height: u32,
    },
    /// Do this with the guest: its power button ([`GuestVerb::Shutdown`]; ACPI), QEMU's end at once
    /// ([`GuestVerb::Kill`]), its reset button, with which QEMU stays ([`GuestVerb::Restart`]), stop its processors,
    /// let them run. Who answers here has been started.
    Verb(GuestVerb),
    /// Press these keys (evdev names, lower case, without KEY_) in order and release them in reverse.
    SendKeys {
        /// For instance `leftctrl`, `leftalt`, `delete`.
        keys: Vec<String>,
    },
    /// Send a report with fresh counters.
    Report,
}

/// A [`Request`] as it is written: a verb is a word like the others.
#[derive(Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
enum Line {
    AttachScreen { width: u32, height: u32 },
    Start,
    Shutdown,
    Kill,
    Reset,
    Pause,
    Resume,
    SendKeys { keys: Vec<String> },
    Report,
}

impl From<Request> for Line {
    fn from(request: Request) -> Self {
        match request {
            Request::AttachScreen { width, height } => Self::AttachScreen { width, height },
            Request::Verb(GuestVerb::Start) => Self::Start,
            Request::Verb(GuestVerb::Shutdown) => Self::Shutdown,
            Request::Verb(GuestVerb::Kill) => Self::Kill,
            Request::Verb(GuestVerb::Restart) => Self::Reset,
            Request::Verb(GuestVerb::Pause) => Self::Pause,
            Request::Verb(GuestVerb::Resume) => Self::Resume,
            Request::SendKeys { keys } => Self::SendKeys { keys },
            Request::Report => Self::Report,
        }
    }
}

impl From<Line> for Request {
    fn from(line: Line) -> Self {
        match line {
            Line::AttachScreen { width, height } => Self::AttachScreen { width, height },
            Line::Start => Self::Verb(GuestVerb::Start),
            Line::Shutdown => Self::Verb(GuestVerb::Shutdown),
            Line::Kill => Self::Verb(GuestVerb::Kill),
            Line::Reset => Self::Verb(GuestVerb::Restart),
            Line::Pause => Self::Verb(GuestVerb::Pause),
            Line::Resume => Self::Verb(GuestVerb::Resume),
            Line::SendKeys { keys } => Self::SendKeys { keys },
            Line::Report => Self::Report,
        }
    }
}

/// What phyllome-guest says.
#[expect(clippy::large_enum_variant, reason = "one at a time is read or written, and most are reports")]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "kebab-case")]
pub enum FromGuest {
    /// First line on every connection.
    Hello {
        /// [`VERSION`] of the sender.
        version: u32,
        /// The guest's name, for a log line only: identity is the socket's path.
        name: GuestName,
    },
    /// The guest as it is now.
    Report(Report),
    /// The request was carried out.
    Done {
        /// Its id.
        id: u64,
    },
    /// The request was refused.
    Refused {
        /// Its id.
        id: u64,
        /// One sentence to a person.
        reason: String,
    },
}

/// A guest as phyllome-guest sees it. The last report of a connection holds the state in which the guest ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Its state.
    pub state: GuestState,
    /// Why, in one sentence, where the state needs one.
    pub message: Option<String>,
    /// What that sentence is about, where it is one of these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known: Option<Known>,
    /// `kvm` or `tcg`.
    pub accel: Option<String>,
    /// phyllome-guest's process id.
    pub pid: u32,
    /// QEMU's process id.
    pub qemu_pid: Option<u32>,
    /// Milliseconds since QEMU was started.
    pub uptime_ms: Option<u64>,
    /// The device.
    pub gpu: GpuStatus,
    /// Scanouts that are on.
    pub scanouts: Vec<ScanoutStatus>,
    /// Which lights of its keyboard the guest has on; `None` until it has said so (firmware and many drivers never do),
    /// and where QEMU cannot tell. Sent as soon as one of them changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leds: Option<Leds>,
    /// The guest runs on though its power button was pressed half a minute ago or more: worth asking whether it is to
    /// be forced off. Ends with a reset, a pause and another press.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unheeded: bool,
}

/// Why a guest is as it is, where phyllome-guest knows: the shell says that in words of its own. A sentence for which
/// there is none of these is shown as a stranger's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Known {
    /// It runs without KVM, slowly.
    Slow,
    /// It runs without 3D.
    No3d,
    /// It ran on though its power button was pressed.
    Unheeded,
    /// Its clock stood still and is late.
    ClockLate,
    /// It was asked to power off because its process is to end.
    Leaving,
    /// It did not power off in time and was ended.
    Late,
    /// QEMU met an internal error.
    InternalError,
    /// The kernel in it panicked.
    Panicked,
    /// QEMU paused it because a disk failed.
    DiskFailed,
    /// Something that a later release knows.
    #[serde(other)]
    Other,
}

/// The lights of a keyboard (QEMU's `org.qemu.Display1.Keyboard.Modifiers`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leds {
    /// Scroll Lock.
    #[serde(default)]
    pub scroll: bool,
    /// Num Lock.
    #[serde(default)]
    pub num: bool,
    /// Caps Lock.
    #[serde(default)]
    pub caps: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_flat_json_objects() {
        let line =
            serde_json::to_string(&ToGuest { id: 3, request: Request::AttachScreen { width: 1272, height: 768 } })
                .unwrap();
        assert_eq!(line, r#"{"id":3,"do":"attach-screen","width":1272,"height":768}"#);
        let back: FromGuest = serde_json::from_str(r#"{"say":"refused","id":3,"reason":"no"}"#).unwrap();
        assert_eq!(back, FromGuest::Refused { id: 3, reason: "no".into() });
    }

    #[test]
    fn a_reason_is_a_word_and_one_of_a_later_release_is_understood_as_such() {
        let word = |known: Known| serde_json::to_string(&known).unwrap();
        assert_eq!((word(Known::No3d), word(Known::ClockLate)), (r#""no3d""#.to_owned(), r#""clock-late""#.to_owned()));
        for (line, known) in [(r#""panicked""#, Known::Panicked), (r#""on-fire""#, Known::Other)] {
            assert_eq!(serde_json::from_str::<Known>(line).unwrap(), known);
        }
    }

    #[test]
    fn a_report_without_lights_and_one_with_them_are_understood() {
        let plain = r#"{"say":"report","state":"running","message":null,"accel":null,"pid":1,"qemu_pid":null,"uptime_ms":null,"gpu":{"transport":"vhost-user-gpu","renderer":"2d","renderer_pid":null,"renderer_restarts":0,"features":[]},"scanouts":[]"#;
        let leds = |text: &str| {
            let said: FromGuest = serde_json::from_str(&format!("{plain}{text}}}")).unwrap();
            let FromGuest::Report(report) = said else { panic!("{said:?}") };
            report.leds
        };
        assert_eq!(leds(""), None);
        assert_eq!(leds(r#","leds":{"caps":true}"#), Some(Leds { caps: true, ..Leds::default() }));
    }
}
