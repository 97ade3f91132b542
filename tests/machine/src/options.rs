//! What a machine is made of.

use std::path::PathBuf;

/// A graphics device.
#[derive(Clone, Debug)]
pub enum Gpu {
    /// Displays, and no GL: what they show is seen from outside by screendumps.
    Virtio(Monitors),
    /// The same with a render node, on which GL is this computer's: software where it has no other. Its monitors stay as
    /// they are at the start.
    VirtioGl(Monitors),
    /// A display of the kernel's own, with planes; what it shows is seen by checksums (see [`crate::vkms`]).
    Vkms(Planes),
}

impl Default for Gpu {
    fn default() -> Self {
        Self::Virtio(Monitors::default())
    }
}

impl Gpu {
    /// Its monitors, where it is a device of QEMU's.
    pub fn monitors(&self) -> Option<&Monitors> {
        match self {
            Self::Virtio(monitors) | Self::VirtioGl(monitors) => Some(monitors),
            Self::Vkms(_) => None,
        }
    }
}

/// What is plugged into a device at the start.
#[derive(Clone, Debug)]
pub struct Monitors {
    /// Width of the first output in pixels.
    pub width: u32,
    /// Height of the first output in pixels.
    pub height: u32,
    /// Number of outputs; all but the first are unplugged at the start.
    pub outputs: u32,
    /// Whether monitors have an EDID.
    pub edid: bool,
}

impl Default for Monitors {
    fn default() -> Self {
        Self { width: 1280, height: 800, outputs: 2, edid: true }
    }
}

/// The planes of a display besides the primary one; each lies above the one before: primary, overlays, cursor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Planes {
    /// Number of overlay planes.
    pub overlays: u32,
    /// Whether there is a cursor plane.
    pub cursor: bool,
}

/// The first process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Init {
    /// The tests' own: udev, seatd, nothing else.
    #[default]
    Agent,
    /// systemd, with logind and whatever a test starts of its units.
    Systemd,
}

/// How a machine is started.
#[derive(Clone, Debug)]
pub struct MachineOptions {
    /// Memory in MiB.
    pub memory_mib: u32,
    /// Processors.
    pub cpus: u32,
    /// Time runs as instructions do, one for each nanosecond, so that what else this computer does changes no
    /// measurement inside. Then all processors run by turns on one of this computer's.
    pub counted: bool,
    /// Display devices, `card0` first; none for a machine without a display.
    pub gpus: Vec<Gpu>,
    /// Whether there is a keyboard.
    pub keyboard: bool,
    /// Whether there is a tablet, a pointer with absolute positions.
    pub tablet: bool,
    /// Whether there is a mouse.
    pub mouse: bool,
    /// Whether there is a touch screen.
    pub touch: bool,
    /// Whether it can be suspended: all devices but displays and input devices keep their state over it then.
    pub suspends: bool,
    /// The first process.
    pub init: Init,
    /// Whether seatd is started (only by the tests' own first process).
    pub seatd: bool,
    /// Programs of this computer that lie in `/usr/local/bin` there, without their debug information.
    pub programs: Vec<PathBuf>,
    /// Files of this computer that lie in `/share` there.
    pub files: Vec<PathBuf>,
    /// More words of the kernel's command line.
    pub kernel: Vec<String>,
    /// More arguments of QEMU.
    pub qemu: Vec<String>,
}

impl Default for MachineOptions {
    fn default() -> Self {
        Self {
            memory_mib: 2048,
            cpus: 2,
            counted: false,
            gpus: vec![Gpu::default()],
            keyboard: true,
            tablet: true,
            mouse: false,
            touch: false,
            suspends: false,
            init: Init::Agent,
            seatd: true,
            programs: Vec::new(),
            files: Vec::new(),
            kernel: Vec::new(),
            qemu: Vec::new(),
        }
    }
}

impl MachineOptions {
    /// With the programs of the shell: phyllome-shell, phyllome, phyllome-guest; and, where they are built,
    /// phyllome-session and played-guest, which then stands before QEMU in `PATH` (it hands over to QEMU what is not
    /// for it).
    pub fn with_shell() -> anyhow::Result<Self> {
        let programs = ["phyllome-shell", "phyllome", "phyllome-guest"].map(crate::programs::program);
        let mut programs = programs.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
        programs
            .extend(["phyllome-session", "played-guest"].into_iter().filter_map(|p| crate::programs::program(p).ok()));
        Ok(Self { programs, ..Self::default() })
    }
}
