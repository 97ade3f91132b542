//! Monitors that change: the kernel's announcements of them, and what their EDIDs say.
//!
//! Sleeps until the kernel says something.

use crate::sys;
use std::fs::{self, File};
use std::io::{self, Read};

/// Calls `changed` for ever, each time the kernel has announced that a monitor came, went or changed.
pub fn watch(changed: impl Fn()) -> io::Result<()> {
    let mut events = File::from(sys::kernel_events()?);
    let mut event = [0; 8192];
    loop {
        match events.read(&mut event) {
            Ok(count) if is_hotplug(event.get(..count).unwrap_or_default()) => changed(),
            Ok(_) => {}
            // Events were lost, so anything may have happened.
            Err(error) if error.raw_os_error() == Some(105) => changed(),
            Err(error) => return Err(error),
        }
    }
}

/// Whether an announcement (words that end in zero bytes) is of a DRM device's monitors.
fn is_hotplug(event: &[u8]) -> bool {
    let has = |wanted: &[u8]| event.split(|byte| *byte == 0).any(|word| word == wanted);
    has(b"SUBSYSTEM=drm") && has(b"HOTPLUG=1")
}

/// Makes the kernel read the modes of all connectors again.
pub fn look_again() {
    for entry in fs::read_dir("/sys/class/drm").into_iter().flatten().flatten() {
        let _ = fs::write(entry.path().join("status"), "detect");
    }
}

/// Width and height of an EDID's first detailed timing.
pub fn millimetres(edid: &[u8]) -> Option<(u16, u16)> {
    let timing = edid.get(54..72)?;
    let high = u16::from(*timing.get(14)?);
    let low = |at: usize| timing.get(at).copied().map(u16::from);
    Some((low(12)? | (high >> 4) << 8, low(13)? | (high & 15) << 8))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_monitors_of_a_card_count() {
        assert!(is_hotplug(b"change@/devices/x/drm/card0\0ACTION=change\0SUBSYSTEM=drm\0HOTPLUG=1\0"));
        assert!(!is_hotplug(b"add@/devices/x/drm/card0\0ACTION=add\0SUBSYSTEM=drm\0"));
        assert!(!is_hotplug(b"change@/x\0SUBSYSTEM=block\0HOTPLUG=1\0"));
        assert!(!is_hotplug(b""));
    }

    #[test]
    fn a_short_edid_has_no_size() {
        let mut edid = vec![0; 128];
        (edid[54 + 12], edid[54 + 13], edid[54 + 14]) = (0x08, 0xc8, 0x20);
        assert_eq!(millimetres(&edid), Some((520, 200)));
        assert_eq!(millimetres(&edid[..60]), None);
    }
}
