//! The device alone, without QEMU's supervisor and without a screen: `phyllome-guest device`, for tests and benchmarks.
//!
//! It listens on a path like QEMU's contrib `vhost-user-gpu --socket-path`, serves one frontend after another and answers
//! the line `report` on standard input with one JSON line. It never shows anything.

use super::DeviceConfig;
use std::path::Path;

/// What stands in for a screen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NullScreen {
    /// Nothing: fenced flushes are answered by the slow timer.
    #[default]
    Absent,
    /// Every flush counts as presented at once.
    PresentAtOnce,
}

/// Serves the device on `socket_path` (`--socket-path`, `--scanouts`, `--present-at-once`) until standard input says `quit`
/// or the process is ended. Blocks. Needs no tokio runtime.
pub fn run_device(socket_path: &Path, config: DeviceConfig, screen: NullScreen) -> anyhow::Result<()> {
    let _ = (config, screen);
    anyhow::bail!("the device cannot listen on {} yet", socket_path.display())
}
