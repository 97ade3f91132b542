//! Where a device is plugged in, as the kernel has found it. Pure but for [`of`].
//!
//! What a device says of itself anybody can say; where it hangs is the kernel's word. Everything on one port is one
//! thing, with as many interfaces as it likes. A Bluetooth device has no port, but an address, which its bond proves.

use smithay::reexports::input::Device;
use std::path::Path;

/// How the name of a Bluetooth device's HID device begins: with its bus, which the kernel has set.
const BLUETOOTH: &str = "0005:";
/// How long the names of HID devices are: `0003:046D:C31C.0005`, of which the last part is counted up.
const HID: usize = 19;

/// Where a device is plugged in; `None` where that cannot be told, as for one that a program plays.
pub(super) fn of(device: &Device) -> Option<String> {
    // SAFETY: the device's libinput context was made with the one udev context that this process has, and lives.
    let udev = unsafe { device.udev_device() }?;
    let address = || Some(udev.parent()?.attribute_value("uniq")?.to_str()?.to_owned());
    port(udev.syspath(), address)
}

/// The port in an event device's path below /sys, without what is another each time that something is plugged in there.
/// `address`: that of a Bluetooth device.
fn port(path: &Path, address: impl FnOnce() -> Option<String>) -> Option<String> {
    let path = path.to_str()?;
    if path.split('/').any(|part| is_hid(part) && part.starts_with(BLUETOOTH)) {
        return address().filter(|address| !address.is_empty()).map(|address| format!("bluetooth {address}"));
    }
    if path.contains("/devices/virtual/") {
        return None;
    }
    let (path, _) = path.split_once("/input/")?;
    let parts: Vec<_> = path.split('/').collect();
    // The first USB interface, such as 1-2.3:1.0, is of the device that hangs at the port 1-2.3.
    let is_usb = |port: &str| port.starts_with(|first: char| first.is_ascii_digit()) && port.contains('-');
    let interface = parts.iter().position(|part| part.split_once(':').is_some_and(|(port, _)| is_usb(port)));
    let end = interface.unwrap_or_else(|| {
        let counted = |part: &&&str| part.starts_with("virtio") || is_hid(part);
        parts.len() - parts.iter().rev().take_while(counted).count()
    });
    Some(parts.get(..end)?.join("/"))
}

/// Whether this part of a path is a HID device. A PCI device's is shorter: `0005:00:14.0`.
fn is_hid(part: &str) -> bool {
    part.len() == HID && part.matches(':').count() == 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_interfaces_of_a_usb_device_are_on_its_port_whatever_they_are_numbered() {
        let hub = "/sys/devices/pci0000:00/0000:00:14.0/usb1/1-2";
        let of = |rest: &str| port(Path::new(&format!("{hub}{rest}")), || None);
        let keyboard = Some(format!("{hub}/1-2.3"));
        assert_eq!(of("/1-2.3/1-2.3:1.0/0003:046D:C31C.0005/input/input17/event5"), keyboard);
        assert_eq!(of("/1-2.3/1-2.3:1.1/0003:046D:C31C.0012/input/input99/event7"), keyboard);
        assert_ne!(of("/1-2.4/1-2.4:1.0/0003:046D:C31C.0005/input/input17/event5"), keyboard);
        assert_eq!(of("/1-2:1.0/0003:046D:C31C.0005/input/input17/event5"), Some(hub.to_owned()));
        // Where a PCI domain has the number of Bluetooth's bus, nothing is taken from what the device says of itself.
        let domain = "/sys/devices/platform/soc/pci0005:00/0005:00:00.0/usb1/1-2";
        let event = format!("{domain}/1-2:1.0/0003:046D:C31C.0005/input/input17/event5");
        assert_eq!(port(Path::new(&event), || Some("d0:12:34:56:78:9a".to_owned())), Some(domain.to_owned()));
    }

    #[test]
    fn built_in_keyboards_and_those_of_virtual_machines_have_a_port() {
        let of = |path: &str| port(Path::new(path), || None);
        let serio = "/sys/devices/platform/i8042/serio0";
        assert_eq!(of(&format!("{serio}/input/input3/event3")), Some(serio.to_owned()));
        let pci = "/sys/devices/pci0000:00/0000:00:05.0";
        for number in [3, 11] {
            assert_eq!(of(&format!("{pci}/virtio{number}/input/input7/event6")), Some(pci.to_owned()));
        }
        let i2c = "/sys/devices/pci0000:00/0000:00:15.0/i2c_designware.0/i2c-1/i2c-ABCD0001:00";
        assert_eq!(of(&format!("{i2c}/0018:04F3:3087.0001/input/input7/event6")), Some(i2c.to_owned()));
    }

    #[test]
    fn what_a_program_plays_has_none_and_bluetooth_its_address() {
        let uhid = Path::new("/sys/devices/virtual/misc/uhid/0005:046D:B342.0004/input/input30/event12");
        assert_eq!([None, Some("")].map(|uniq| port(uhid, || uniq.map(str::to_owned))), [None, None]);
        let address = "d0:12:34:56:78:9a";
        assert_eq!(port(uhid, || Some(address.to_owned())), Some(format!("bluetooth {address}")));
        let played = Path::new("/sys/devices/virtual/input/input9/event9");
        assert_eq!(port(played, || Some(address.to_owned())), None);
    }
}
