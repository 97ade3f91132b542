//! Guest files of the tiny Linux test guest and of played guests.

use crate::played::options::PLAYED;
use crate::programs::program;
use anyhow::{Context, Result};
use phyllome_test_guests::Mode;
use std::path::{Path, PathBuf};

/// The name and the TOML text of a guest with this slot, colour and mode; `more` stands at the end of the file.
pub fn guest_file(name: &str, slot: u32, color: &str, mode: Mode, more: &str) -> Result<(String, String)> {
    let boot = format!(
        "kernel = \"{}\"\ninitrd = \"{}\"\ncmdline = \"{}\"",
        phyllome_test_guests::guest_kernel()?.display(),
        phyllome_test_guests::guest_initrd()?.display(),
        phyllome_test_guests::cmdline(name, color, mode),
    );
    Ok((name.to_owned(), text(slot, color, "256MiB", &boot, more)))
}

/// The name and the TOML text of a played guest (see [`crate::played`]): the same as [`guest_file`] to all who look at
/// it, without a kernel, with its picture in milliseconds. QEMU's name must lead to `played-guest`: see
/// [`qemu_of_played_guests`].
pub fn played_guest_file(name: &str, slot: u32, color: &str, mode: Mode, more: &str) -> (String, String) {
    let cmdline = phyllome_test_guests::cmdline(name, color, mode);
    // Any file will do for a kernel; this one is on every machine.
    let boot = format!("kernel = \"/proc/version\"\ncmdline = \"{cmdline} {PLAYED}\"");
    (name.to_owned(), text(slot, color, "64MiB", &boot, more))
}

fn text(slot: u32, color: &str, memory: &str, boot: &str, more: &str) -> String {
    format!(
        r#"profile = "linux"
slot = {slot}
memory = "{memory}"
cpus = 1

[label]
color = "{color}"

[machine]
accel = "tcg"
firmware = "none"

[boot]
{boot}

[network]
mode = "none"
{more}"#
    )
}

/// Makes `folder/qemu-system-x86_64` lead to `played-guest`; put the folder that comes back first into `PATH` of the
/// shell (or of phyllome-guest). Guests that are not played are handed to the next QEMU in `PATH`.
pub fn qemu_of_played_guests(folder: &Path) -> Result<PathBuf> {
    std::fs::create_dir_all(folder)?;
    let link = folder.join("qemu-system-x86_64");
    std::os::unix::fs::symlink(program("played-guest")?, &link).with_context(|| link.display().to_string())?;
    Ok(folder.to_owned())
}
