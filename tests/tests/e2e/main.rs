//! Real QEMU, real kernels, real frames: what a person relies on, from the outside.

mod boot;
mod config;
mod deaths;
mod firmware;
mod foreign;
mod input;
mod switching;
mod tool;

use phyllome_test_guests::Mode;
use phyllome_tests::host::Host;
use phyllome_tests::picture::Picture;
use std::time::Duration;

/// A Linux guest under TCG reaches its prompt in about 6 s alone; four times that with the machine busy, and more to be
/// safe.
pub const BOOT: Duration = Duration::from_secs(120);

/// What a person would wait for after a key press, with the machine busy.
pub const SOON: Duration = Duration::from_secs(20);

/// The text of a guest file: the tiny test guest with this name, slot, colour and mode.
pub fn guest(name: &str, slot: u32, color: &str, mode: Mode) -> (String, String) {
    guest_with(name, slot, color, mode, "")
}

/// The same with more lines at its end.
pub fn guest_with(name: &str, slot: u32, color: &str, mode: Mode, more: &str) -> (String, String) {
    phyllome_tests::guest_file(name, slot, color, mode, more).expect("the guest's kernel and image")
}

/// A host with these guests.
pub fn host(guests: &[(String, String)]) -> anyhow::Result<Host> {
    let guests: Vec<_> = guests.iter().map(|(name, text)| (name.as_str(), text.clone())).collect();
    Host::start(&guests)
}

/// Whether the guest's area holds a guest's own picture: more than two colours, and not the ground that the shell's
/// message cards lie on.
pub fn has_console(picture: &Picture, area: phyllome_protocol::status::Area) -> bool {
    let inside = picture.crop(area);
    let ground = inside.count([0x10, 0x11, 0x14]);
    inside.colours() > 2 && ground * 2 < (area.width * area.height) as usize
}
