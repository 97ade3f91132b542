//! Whether this host has room for a guest: memory, and the file systems that its disks and settings lie on. Asked
//! before anything is made, so that what cannot go well is one sentence and not a guest that fails an hour later.

use super::logs::MAX_LOG;
use phyllome_config::GuestDefinition;
use phyllome_config::guest::{Disk, DiskFormat};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// With less room than this, in bytes, a disk that grows fails its guest almost at once.
const LEAST: u64 = 16 * 1024 * 1024;
const MIB: u64 = 1024 * 1024;

/// Refuses a guest that this host has no room for. The error is one sentence.
pub fn check(definition: &GuestDefinition) -> Result<(), String> {
    if let Some(has) = host_memory() {
        memory(definition.memory, has)?;
    }
    for disk in definition.disks.iter().filter(|disk| grows(disk)) {
        check_folder(&format!("the disk {} to grow", disk.path.display()), &disk.path, LEAST)?;
    }
    Ok(())
}

/// Memory of this host in bytes.
fn host_memory() -> Option<u64> {
    let mut text = String::new();
    std::fs::File::open("/proc/meminfo").ok()?.take(4096).read_to_string(&mut text).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
}

fn memory(wanted: u64, has: u64) -> Result<(), String> {
    if wanted <= has {
        return Ok(());
    }
    let (wanted, has) = (wanted / MIB, has / MIB);
    Err(format!(
        "the guest wants {wanted} MiB of memory and this computer has {has}; write less for “memory” in its file"
    ))
}

/// Whether there is room for the logs of a guest in their folder. A guest runs without them, and is told so: the error
/// is one sentence.
pub fn check_logs(folder: &Path) -> Result<(), String> {
    check_folder("the guest's logs, which end here", folder, MAX_LOG)
}

/// Whether writing to the disk takes more of its file system than it has now.
fn grows(disk: &Disk) -> bool {
    let Ok(meta) = disk.path.metadata() else { return false };
    let format = disk.format.unwrap_or_else(|| DiskFormat::of_name(&disk.path));
    !disk.cdrom && meta.is_file() && (format != DiskFormat::Raw || meta.blocks().saturating_mul(512) < meta.len())
}

/// Whether the file system of `path`, or of the nearest folder above that is there, has room for so many bytes. The
/// error is one sentence: there is no room for `what`.
pub fn check_folder(what: &str, path: &Path, bytes: u64) -> Result<(), String> {
    let stat = path.ancestors().find_map(|path| rustix::fs::statvfs(path).ok());
    // One that tells no sizes (some network file systems) may have any.
    let free = stat.filter(|stat| stat.f_blocks > 0).map(|stat| stat.f_bavail.saturating_mul(stat.f_frsize));
    room(what, path, bytes, free.unwrap_or(u64::MAX))
}

fn room(what: &str, path: &Path, bytes: u64, free: u64) -> Result<(), String> {
    if bytes <= free {
        return Ok(());
    }
    let folder = if path.is_file() { path.parent().unwrap_or(path) } else { path }.display();
    Err(format!(
        "there is no room for {what} ({} KiB are free in {folder}); delete or move something there",
        free / 1024
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use phyllome_config::guest::DiskBus;

    #[test]
    fn more_memory_than_the_host_has_is_refused_with_both_numbers() {
        let has = host_memory().unwrap();
        assert!(has > 64 * MIB && memory(has, has).is_ok());
        let why = memory(600 << 30, 24 << 30).unwrap_err();
        assert_eq!(
            why,
            "the guest wants 614400 MiB of memory and this computer has 24576; write less for “memory” in its file"
        );
    }

    #[test]
    fn a_full_disk_is_named_with_what_lies_there() {
        let why = room("the disk /d/a.qcow2 to grow", Path::new("/d"), LEAST, 4096).unwrap_err();
        let says =
            "there is no room for the disk /d/a.qcow2 to grow (4 KiB are free in /d); delete or move something there";
        assert_eq!(why, says);
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("not/yet/there");
        assert!(check_folder("x", &deep, 1).is_ok());
        assert!(check_folder("x", &deep, u64::MAX - 1).unwrap_err().starts_with("there is no room for x ("));
    }

    #[test]
    fn what_cannot_grow_needs_no_room() {
        let dir = tempfile::tempdir().unwrap();
        let disk = |name: &str| Disk {
            path: dir.path().join(name),
            format: None,
            backing: Vec::new(),
            parts: Vec::new(),
            bus: DiskBus::Virtio,
            cdrom: false,
        };
        std::fs::write(dir.path().join("full.img"), [1; 65536]).unwrap();
        std::fs::File::create(dir.path().join("sparse.img")).unwrap().set_len(1 << 30).unwrap();
        std::fs::write(dir.path().join("a.qcow2"), "x").unwrap();
        assert!(!grows(&disk("full.img")) && grows(&disk("sparse.img")) && grows(&disk("a.qcow2")));
        assert!(!grows(&Disk { cdrom: true, ..disk("a.qcow2") }) && !grows(&disk("none")));
    }
}
