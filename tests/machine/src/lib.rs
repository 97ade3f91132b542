//! The KMS test machine: a virtual machine (QEMU, TCG) whose virtio-gpu is the *host's* display for what runs inside.
//! It has a real kernel with real DRM/KMS, evdev devices, virtual terminals, udev, seatd (or systemd with logind),
//! udmabuf; from outside it is seen by screendumps of what is truly scanned out, and driven by real key presses and by
//! monitors that come, go and change their size. Its graphics device may have a render node, and it may have displays of
//! the kernel's own (VKMS), which have the planes that virtio-gpu lacks.
//!
//! In a test:
//!
//! ```text
//! let machine = Machine::boot(MachineOptions::with_shell()?)?;
//! let shell = machine.spawn("shell", &Program::new("phyllome-shell", &["--backend", "kms"]))?;
//! machine.wait_picture("the panel", 0, SOON, |picture| picture.colours() > 8)?;
//! machine.press(&["super", "1"])?;
//! ```
//!
//! By hand, with whatever was built last (programs lie in `/usr/local/bin` inside, `/share/out` inside is `out` of the
//! printed folder):
//!
//! ```text
//! cargo run -p phyllome-test-machine --bin machine -- --shell        a prompt: type `help`
//! cargo run -p phyllome-test-machine --bin machine -- --shell \
//!     -e 'spawn shell phyllome-shell --backend kms' -e 'sleep 5' -e 'shot /tmp/a.png' -e 'press super 1' -e 'log shell'
//! ```
//!
//! The image is made once, which takes two minutes (`image`), and kept in the repository's `.cache/machine`. Users
//! inside: `root`, and
//! `person` (password `person`), who is in the groups that Debian's udev rules and seatd give a desktop's user.

pub mod again;
mod agent;
pub mod apt;
mod clock;
mod command_line;
pub mod image;
mod initrd;
mod inside;
mod keys;
mod machine;
mod monitors;
mod options;
pub mod picture;
mod program;
pub mod programs;
mod qmp;
mod remote;
pub mod vkms;
mod vnc;

pub use inside::Inside;
pub use machine::{Machine, wait_for};
pub use options::{Gpu, Init, MachineOptions, Monitors, Planes};
pub use program::{Output, Process, Program};
pub use remote::{Listener, Parts, Remote, RemoteProcess};
