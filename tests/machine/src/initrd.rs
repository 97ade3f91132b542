//! The machine's initial RAM disk: busybox, the few modules that reach disk, shared folder and port, and the agent,
//! which is compiled here by plain rustc, statically. Its file name holds a hash of all that went in.

use crate::image::{Image, cache};
use anyhow::{Context, Result};
use phyllome_test_guests::cpio::Archive;
use phyllome_test_guests::image::{Hash, busybox, compile_static};
use phyllome_test_guests::modules::collect_wanted;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What must be there before the root disk's own modules can be loaded; `network` is for guests that are reached over
/// one.
const MODULES: &[(&str, &str)] = &[
    ("virtio_pci", ""),
    ("virtio_blk", ""),
    ("virtio_console", ""),
    ("ext4", ""),
    ("9pnet_virtio", ""),
    ("9p", ""),
    ("virtio_net", "network"),
];

/// Initial RAM disks of other versions that are younger than this may be about to be booted.
const YOUNG: Duration = Duration::from_secs(60 * 60);

/// Sources of what is in it, relative to this crate; a change of one makes a new initial RAM disk.
const SOURCES: [&str; 9] =
    ["main.rs", "serve.rs", "sys.rs", "users.rs", "wire.rs", "init.sh", "start.sh", "vkms.sh", "machine-agent.service"];

/// The initial RAM disk for an image, made where the cache does not have it.
pub fn ensure(image: &Image) -> Result<PathBuf> {
    let cache = cache();
    let lock =
        File::create(cache.join("initrd.lock")).with_context(|| format!("cannot write to {}", cache.display()))?;
    lock.lock().with_context(|| format!("cannot lock {}", cache.display()))?;

    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("agent");
    let read = |name: &str| {
        let path = folder.join(name);
        fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
    };
    let (_, busybox) = busybox()?;
    let mut hash = Hash::default();
    hash.add(image.disk().as_os_str().as_encoded_bytes());
    hash.add(&busybox);
    hash.add(include_bytes!("initrd.rs"));
    for name in SOURCES {
        hash.add(&read(name)?);
    }
    let target = cache.join(format!("initrd-{:016x}.cpio", hash.value()));
    if target.is_file() {
        return Ok(target);
    }

    let mut archive = Archive::default();
    for name in ["dev", "proc", "sys", "run", "root", "tmp"] {
        archive.folder(name);
    }
    archive.file("bin/busybox", &busybox);
    archive.file("agent", &compile_static(&folder.join("main.rs"), &cache)?);
    archive.file("init", &read("init.sh")?);
    for name in ["start.sh", "vkms.sh", "machine-agent.service"] {
        archive.file(name, &read(name)?);
    }
    let modules = tempfile::tempdir_in(&cache)?;
    collect_wanted(&image.modules(), modules.path(), MODULES)?;
    for entry in fs::read_dir(modules.path())?.flatten() {
        archive.file(&format!("modules/{}", entry.file_name().to_string_lossy()), &fs::read(entry.path())?);
    }

    for old in fs::read_dir(&cache)?.flatten() {
        let age = || old.metadata().ok()?.modified().ok()?.elapsed().ok();
        if old.file_name().to_string_lossy().starts_with("initrd-") && age().is_some_and(|age| age > YOUNG) {
            let _ = fs::remove_file(old.path());
        }
    }
    let unfinished = tempfile::NamedTempFile::new_in(&cache)?;
    fs::write(unfinished.path(), archive.finish())?;
    unfinished.persist(&target).with_context(|| format!("cannot write {}", target.display()))?;
    Ok(target)
}
