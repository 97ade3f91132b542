//! `phyllome status --json`: what scripts may rely on, field by field.

use crate::{GuestName, ScanoutId, Slot};
use serde::{Deserialize, Serialize};

/// The whole answer of `phyllome status --json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The shell's version.
    pub version: String,
    /// `kms`, `nested` or `headless`.
    pub backend: String,
    /// `gles` or `pixman`.
    pub renderer: String,
    /// Whom the person talks to.
    pub mode: Mode,
    /// It takes no key yet: it has been on the display for less than half a second.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deaf: bool,
    /// Every output, in order of appearance.
    pub outputs: Vec<OutputStatus>,
    /// The guest that receives keys; none while the shell itself does.
    pub focus: Option<GuestName>,
    /// Every known guest, running or not, in order of slot and name.
    pub guests: Vec<GuestStatus>,
}

/// Whom the person talks to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// A guest has the keyboard.
    Guest,
    /// The panel has it.
    Panel,
    /// The switcher overlay has it (Super is held after Super+Tab).
    Switcher,
    /// A question of the shell's has it.
    Dialog,
    /// The lock screen has it.
    Locked,
}

/// One output. Sizes and positions are physical pixels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OutputStatus {
    /// Connector name.
    pub name: String,
    /// Maker, model and serial, as the display says them itself.
    #[serde(default)]
    pub identity: Option<String>,
    /// Width of what is seen: the mode's, turned by `rotation`.
    pub width: u32,
    /// Height of what is seen.
    pub height: u32,
    /// Refresh rate in millihertz.
    pub refresh_mhz: u32,
    /// Scale of the shell's own surfaces.
    pub scale: f64,
    /// How far the display is turned clockwise: 0, 90, 180 or 270 degrees.
    #[serde(default)]
    pub rotation: u32,
    /// Left edge in the plane that the pointer moves on.
    #[serde(default)]
    pub x: i32,
    /// Upper edge there.
    #[serde(default)]
    pub y: i32,
    /// The guest that is shown here.
    pub guest: Option<GuestName>,
    /// Which of its scanouts.
    #[serde(default)]
    pub scanout: u32,
    /// Where a guest's pixels may lie; every pixel outside is the shell's.
    pub guest_area: Area,
    /// `overlay` or `composited`.
    pub plane: String,
    /// Frames for which the shell drew something, on displays that it drives itself: none while only a guest draws whose
    /// picture is on a plane of its own.
    #[serde(default)]
    pub draws: u64,
    /// Why the guest's picture is composited, where the display was asked; goes after "because".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plane_reason: Option<String>,
}

/// A rectangle in physical pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Area {
    /// Left edge.
    pub x: u32,
    /// Top edge.
    pub y: u32,
    /// Width.
    pub width: u32,
    /// Height.
    pub height: u32,
}

/// One guest as the shell sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GuestStatus {
    /// Its name.
    pub name: GuestName,
    /// Its slot, if it has one.
    pub slot: Option<Slot>,
    /// Its state.
    pub state: GuestState,
    /// One sentence about the state: why it crashed or was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// `kvm` or `tcg`, once QEMU runs.
    pub accel: Option<String>,
    /// phyllome-guest's process id.
    pub pid: Option<u32>,
    /// QEMU's process id.
    pub qemu_pid: Option<u32>,
    /// Seconds since QEMU was started.
    pub uptime_s: Option<f64>,
    /// How the guest is marked.
    pub label: LabelStatus,
    /// How it draws while nobody sees it: `slow` or `full`.
    #[serde(default)]
    pub background: String,
    /// Its virtio-gpu device.
    pub gpu: GpuStatus,
    /// Its scanouts that are on.
    pub scanouts: Vec<ScanoutStatus>,
}

/// A guest's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GuestState {
    /// No process.
    Stopped,
    /// Its processes start; QEMU does not yet run the guest.
    Starting,
    /// The guest runs.
    Running,
    /// The guest is paused.
    Paused,
    /// The guest did not pause when it was told to, and its processes are stopped. Only the shell says so.
    Frozen,
    /// The guest was asked to shut down.
    Stopping,
    /// It ended by itself in a way that nobody asked for, or could not start.
    Crashed,
    /// QEMU reports an internal error; the guest does not run on.
    InternalError,
}

impl GuestState {
    /// Whether there is a QEMU process in this state.
    pub fn is_alive(self) -> bool {
        !matches!(self, Self::Stopped | Self::Crashed)
    }

    /// The word that status, events and the panel use.
    pub fn word(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Frozen => "frozen",
            Self::Stopping => "stopping",
            Self::Crashed => "crashed",
            Self::InternalError => "internal-error",
        }
    }
}

/// How a guest is marked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LabelStatus {
    /// The text in the bar.
    pub text: String,
    /// The colour's name, or `#rrggbb`.
    pub color: String,
    /// The colour as `#rrggbb`.
    pub rgb: String,
    /// `solid`, `stripes`, `dots` or `checks`.
    pub pattern: String,
}

/// A guest's virtio-gpu device.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GpuStatus {
    /// `vhost-user-gpu` or `generic`.
    pub transport: String,
    /// `2d`, or what draws: `virgl`, `venus+virgl`, `native+virgl`, `native+venus+virgl`.
    pub renderer: String,
    /// The renderer process's id, where there is one.
    pub renderer_pid: Option<u32>,
    /// Why the guest has nothing better than `renderer`: one sentence, where there is something to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// How often the renderer was started again.
    pub renderer_restarts: u32,
    /// Bytes of pixels that phyllome-guest has copied for the guest since QEMU was started: none of pictures that are
    /// dmabufs of the guest's own pages or of the renderer's.
    #[serde(default)]
    pub copied_bytes: u64,
    /// virtio-gpu features that the guest has acknowledged.
    pub features: Vec<String>,
    /// Commands that were answered with an error, by class of bad input; empty for a well-behaved guest.
    #[serde(default, skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    pub errors: std::collections::BTreeMap<String, u64>,
}

/// One scanout that is on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScanoutStatus {
    /// Its number.
    pub id: ScanoutId,
    /// Width in the guest's pixels.
    pub width: u32,
    /// Height in the guest's pixels.
    pub height: u32,
    /// `vhost-user-gpu`, `dbus` or `wayland`.
    pub source: String,
    /// `dmabuf` or `shm`.
    pub buffer: String,
    /// DRM fourcc.
    pub format: String,
    /// DRM modifier's name.
    pub modifier: String,
    /// Flushes that the guest asked for.
    pub flushes: u64,
    /// Flushes that were presented.
    pub presented: u64,
}
