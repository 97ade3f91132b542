//! A renderer whose drivers find a /dev/udmabuf where this computer has none: see `stand_in.rs`.

use crate::programs::program;
use anyhow::{Context, Result, ensure};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

const SOURCE: &str = include_str!("stand_in.rs");

/// Whether this kernel has the device itself.
pub fn is_there() -> bool {
    Path::new("/dev/udmabuf").exists()
}

/// A program to be named by `$PHYLLOME_RENDERER`, in `folder`, which must outlive it: phyllome-renderer with the
/// stand-in.
pub fn renderer(folder: &Path) -> Result<PathBuf> {
    let (source, library) = (folder.join("stand_in.rs"), folder.join("libstand_in.so"));
    fs::write(&source, SOURCE)?;
    let mut rustc = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    rustc.args(["--edition", "2024", "--crate-type", "cdylib", "-C", "opt-level=1", "-C", "panic=abort", "-o"]);
    let made = rustc.arg(&library).arg(&source).output().context("cannot run rustc")?;
    ensure!(made.status.success(), "the stand-in does not compile: {}", String::from_utf8_lossy(&made.stderr));
    let wrapper = folder.join("renderer");
    // Folders of LD_LIBRARY_PATH can be read inside the renderer's sandbox too.
    let script = format!(
        "#!/bin/sh\nexport LD_LIBRARY_PATH='{}' LD_PRELOAD='{}'\nexec '{}' \"$@\"\n",
        folder.display(),
        library.display(),
        program("phyllome-renderer")?.display()
    );
    fs::write(&wrapper, script)?;
    fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755))?;
    Ok(wrapper)
}
