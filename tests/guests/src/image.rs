//! The initial RAM disk: busybox, the modules, and our own first process, which is compiled here by plain rustc,
//! statically.
//!
//! Its file name holds a hash of all that went in, so that a change makes a new one and an old one is never mistaken
//! for it.

use crate::cpio::Archive;
use crate::kernel::{Kernel, output};
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const PLACES_OF_BUSYBOX: [&str; 5] =
    ["/usr/bin/busybox", "/bin/busybox", "/usr/sbin/busybox", "/sbin/busybox", "/usr/bin/busybox.static"];

/// The initial RAM disk for `kernel`, made where the cache does not have it.
pub fn ensure(cache: &Path, kernel: &Kernel) -> Result<PathBuf> {
    let sources = sources()?;
    let (busybox_path, busybox) = busybox()?;
    let modules = modules(kernel)?;

    let mut hash = Hash::default();
    for (name, content) in sources.iter().chain(&modules) {
        hash.add(name.as_bytes());
        hash.add(content);
    }
    hash.add(&busybox);
    let target = cache.join(format!("initrd-{:016x}.cpio", hash.0));
    if target.is_file() {
        return Ok(target);
    }

    let mut archive = Archive::default();
    for folder in ["dev", "proc", "sys", "tmp"] {
        archive.folder(folder);
    }
    archive.file("init", &compile_static(&source_folder().join("main.rs"), cache)?);
    archive.file("bin/busybox", &busybox);
    for applet in output(Command::new(busybox_path).arg("--list"))?.lines().filter(|name| *name != "busybox") {
        archive.link(&format!("bin/{applet}"), "busybox");
    }
    for (name, content) in &modules {
        archive.file(&format!("modules/{name}"), content);
    }
    let prompt = sources.iter().find(|(name, _)| name == "prompt.sh").context("the guest's prompt.sh is missing")?;
    archive.file("prompt", &prompt.1);

    let unfinished = cache.join(format!("initrd-{}.new", std::process::id()));
    fs::write(&unfinished, archive.finish()).with_context(|| format!("cannot write {}", unfinished.display()))?;
    fs::rename(&unfinished, &target).with_context(|| format!("cannot write {}", target.display()))?;
    Ok(target)
}

fn source_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("guest")
}

fn sources() -> Result<Vec<(String, Vec<u8>)>> {
    files_of(&source_folder())
}

fn modules(kernel: &Kernel) -> Result<Vec<(String, Vec<u8>)>> {
    files_of(&kernel.modules())
}

/// All files of a folder by name.
fn files_of(folder: &Path) -> Result<Vec<(String, Vec<u8>)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        files.push((name, fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?));
    }
    files.sort();
    Ok(files)
}

/// Where a statically linked busybox is, and its content.
pub fn busybox() -> Result<(&'static str, Vec<u8>)> {
    for path in PLACES_OF_BUSYBOX {
        if let Ok(content) = fs::read(path)
            && is_static(&content)
        {
            return Ok((path, content));
        }
    }
    bail!("there is no statically linked busybox; run `cargo xtask setup`, which installs it");
}

/// Whether a 64-bit ELF program names no interpreter (ELF-64 object file format, program header type `PT_INTERP`).
fn is_static(program: &[u8]) -> bool {
    const PT_INTERP: u32 = 3;
    let number = |at: usize, length: usize| -> Option<u64> {
        let bytes = program.get(at..at.checked_add(length)?)?;
        Some(bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
    };
    let interpreted = || -> Option<bool> {
        let (table, size, count) = (number(32, 8)? as usize, number(54, 2)? as usize, number(56, 2)? as usize);
        for entry in 0..count {
            if number(table.checked_add(entry * size)?, 4)? == u64::from(PT_INTERP) {
                return Some(true);
            }
        }
        Some(false)
    };
    program.starts_with(b"\x7fELF\x02") && interpreted() == Some(false)
}

/// Compiles a program without crates by plain rustc, statically. `cache` is a folder for what comes in between.
pub fn compile_static(source: &Path, cache: &Path) -> Result<Vec<u8>> {
    let target = cache.join(format!("init-{}.new", std::process::id()));
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let mut command = Command::new(rustc);
    command
        .args(["--edition", "2024", "--crate-name", "static_program", "--crate-type", "bin"])
        .args(["-C", "opt-level=s", "-C", "panic=abort", "-C", "strip=symbols"])
        .args(["-C", "target-feature=+crt-static", "-C", "relocation-model=static", "-o"])
        .arg(&target)
        .arg(source)
        .current_dir(crate::repository());
    output(&mut command)
        .with_context(|| format!("{} does not compile (it needs the static C library)", source.display()))?;
    let program = fs::read(&target).with_context(|| format!("cannot read {}", target.display()))?;
    let _ = fs::remove_file(&target);
    Ok(program)
}

/// FNV-1a, 64 bits: tells versions apart; nobody attacks it.
pub struct Hash(u64);

impl Default for Hash {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hash {
    /// The number so far.
    pub fn value(&self) -> u64 {
        self.0
    }

    /// Adds one part.
    pub fn add(&mut self, bytes: &[u8]) {
        for byte in bytes.iter().copied().chain(bytes.len().to_le_bytes()) {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_tells_where_one_part_ends() {
        let of = |parts: &[&str]| {
            let mut hash = Hash::default();
            parts.iter().for_each(|part| hash.add(part.as_bytes()));
            hash.0
        };
        assert_ne!(of(&["ab", "c"]), of(&["a", "bc"]));
        assert_eq!(of(&["ab", "c"]), of(&["ab", "c"]));
    }

    #[test]
    fn a_program_that_is_cut_short_is_not_static() {
        assert!(!is_static(b"\x7fELF\x02"));
        assert!(!is_static(b"#!/bin/sh"));
    }

    #[test]
    fn this_test_is_linked_dynamically() {
        let program = fs::read(std::env::current_exe().unwrap()).unwrap();
        assert!(!is_static(&program));
    }
}
