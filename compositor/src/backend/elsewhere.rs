//! Dmabufs whose pixels are not in their memory but with a host ([`Description::only_driver`]): the one device that made
//! them reaches them. Every other one, and the processor, would read a shadow, of a size that says nothing.
//!
//! [`Description::only_driver`]: phyllome_protocol::descriptor::Description::only_driver

use phyllome_protocol::descriptor::describe;
use smithay::backend::allocator::dmabuf::Dmabuf;
use std::path::Path;

/// Whose pixels GL reaches that calls itself so.
pub fn of_gl(name: &str) -> Option<&'static str> {
    let driver = if name.starts_with("virgl") {
        "virtio_gpu"
    } else if name.starts_with("SVGA3D") {
        "vmwgfx"
    } else {
        return None;
    };
    is_sole(driver).then_some(driver)
}

/// Whether one device and no other has this driver: the kernel tells drivers apart, not devices.
pub fn is_sole(driver: &str) -> bool {
    let drives = |bus: &str| count(&Path::new("/sys/bus").join(bus).join("drivers").join(driver));
    ["virtio", "pci"].into_iter().map(drives).sum::<usize>() == 1
}

/// The devices of a driver that draw or display.
fn count(driver: &Path) -> usize {
    let Ok(entries) = std::fs::read_dir(driver) else { return 0 };
    entries.flatten().filter(|entry| is_graphics(&entry.path())).count()
}

/// Whether this is a device, with graphics; a virtio device's are its bus's.
fn is_graphics(device: &Path) -> bool {
    device.join("driver").exists() && (device.join("drm").is_dir() || device.join("../drm").is_dir())
}

/// Whether the pixels of a dmabuf are reached: they are in its memory, or `driver`'s.
pub fn reaches(dmabuf: &Dmabuf, driver: Option<&str>) -> Result<(), String> {
    for memory in dmabuf.handles().map(describe) {
        if memory.only_driver().is_some_and(|only| driver != Some(only)) {
            return Err(format!("the pixels of {memory} are with another device"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn only_graphics_of_a_driver_are_counted() {
        let folder = tempfile::tempdir().unwrap();
        let (drivers, devices) = (folder.path().join("drivers"), folder.path().join("devices"));
        std::fs::create_dir_all(&drivers).unwrap();
        assert_eq!(count(&folder.path().join("nowhere")), 0);
        for (number, graphics) in [(0, "0000:00:02.0/drm"), (1, "0000:00:03.0/virtio1"), (2, "0000:00:04.0/drm")] {
            std::fs::create_dir_all(devices.join(graphics)).unwrap();
            let device = devices.join(graphics).parent().unwrap().join(format!("virtio{number}"));
            std::fs::create_dir_all(device.join("driver")).unwrap();
            symlink(&device, drivers.join(format!("virtio{number}"))).unwrap();
        }
        std::fs::write(drivers.join("bind"), "").unwrap();
        // The driver's own module, beside which that of all graphics lies.
        std::fs::create_dir_all(folder.path().join("module/drm")).unwrap();
        std::fs::create_dir_all(folder.path().join("module/virtio_gpu")).unwrap();
        symlink(folder.path().join("module/virtio_gpu"), drivers.join("module")).unwrap();
        assert_eq!(count(&drivers), 2);
    }

    #[test]
    fn no_other_gl_reaches_a_host() {
        for name in ["llvmpipe (LLVM 19.1.7, 256 bits)", "Mesa Intel(R) UHD", "", "not virgl"] {
            assert_eq!(of_gl(name), None, "{name}");
        }
    }
}
