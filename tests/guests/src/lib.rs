//! Tiny Linux guests for the tests and the demo: the distribution's own kernel, and an initial RAM disk of busybox, the
//! kernel's modules and a small first process of ours (`guest/`). Made on demand, kept in the repository's `.cache`,
//! made again when a part changes.
//!
//! Needs no crate with a system library, because `cargo xtask` uses it before anything is installed. Never writes
//! outside `.cache`.

pub mod cpio;
pub mod distribution;
pub mod image;
pub mod kernel;
pub mod modules;
pub mod program;
#[path = "../guest/words.rs"]
pub mod words;

use anyhow::{Context, Result};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
pub use words::Mode;

/// The line that a guest writes to its serial line when its picture is up and it listens.
pub fn ready_line(name: &str) -> String {
    format!("PHYLLOME-GUEST-READY {name}")
}

/// The kernel's command line of a guest. `color` is one of the shell's eight names or `#rrggbb`.
pub fn cmdline(name: &str, color: &str, mode: Mode) -> String {
    format!(
        "console=ttyS0 quiet loglevel=3 panic=-1 mitigations=off tsc=reliable nokaslr \
         phyllome.name={name} phyllome.color={color} phyllome.mode={}",
        mode.word()
    )
}

/// The repository's root folder.
pub fn repository() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_owned()
}

/// The kernel, fetched first where it is not there yet (that needs the network).
pub fn guest_kernel() -> Result<PathBuf> {
    with_cache(|cache| Ok(kernel::ensure(cache)?.image()))
}

/// The initial RAM disk that every guest boots, made first where it is not there yet.
pub fn guest_initrd() -> Result<PathBuf> {
    with_cache(|cache| image::ensure(cache, &kernel::ensure(cache)?))
}

/// Whether the kernel is there, so that nothing has to be fetched.
pub fn kernel_is_here() -> bool {
    matches!(kernel::newest(&cache_dir()), Ok(Some(_)))
}

fn cache_dir() -> PathBuf {
    repository().join(".cache/guests")
}

/// Runs `make` while no other process makes the same.
fn with_cache<T>(make: impl FnOnce(&Path) -> Result<T>) -> Result<T> {
    let cache = cache_dir();
    fs::create_dir_all(&cache).with_context(|| format!("cannot make {}", cache.display()))?;
    let lock = File::create(cache.join("lock")).with_context(|| format!("cannot write to {}", cache.display()))?;
    lock.lock().with_context(|| format!("cannot lock {}", cache.display()))?;
    make(&cache)
}
