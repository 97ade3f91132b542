//! Guest files of the tiny Linux test guest.

use anyhow::Result;
use phyllome_test_guests::Mode;

/// The name and the TOML text of a guest with this slot, colour and mode; `more` stands at the end of the file.
pub fn guest_file(name: &str, slot: u32, color: &str, mode: Mode, more: &str) -> Result<(String, String)> {
    let text = format!(
        r#"profile = "linux"
slot = {slot}
memory = "256MiB"
cpus = 1

[label]
color = "{color}"

[machine]
accel = "tcg"
firmware = "none"

[boot]
kernel = "{}"
initrd = "{}"
cmdline = "{}"

[network]
mode = "none"
{more}"#,
        phyllome_test_guests::guest_kernel()?.display(),
        phyllome_test_guests::guest_initrd()?.display(),
        phyllome_test_guests::cmdline(name, color, mode),
    );
    Ok((name.to_owned(), text))
}
