//! The guests' kernel: the distribution's own package, downloaded but not installed, so that this machine's boot is
//! left alone.
//!
//! `.cache/guests/kernel-VERSION/` holds `vmlinuz` and the decompressed modules that the guests load, with a `list` of
//! their order.

use crate::distribution::Distribution;
use crate::modules;
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Grows when the content of a kernel's folder changes.
const LAYOUT: &str = "1";

/// An unpacked kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kernel {
    folder: PathBuf,
}

impl Kernel {
    /// The bootable image.
    pub fn image(&self) -> PathBuf {
        self.folder.join("vmlinuz")
    }

    /// The folder of the modules and their `list`.
    pub fn modules(&self) -> PathBuf {
        self.folder.join("modules")
    }
}

/// The newest kernel that the cache has.
pub fn newest(cache: &Path) -> Result<Option<Kernel>> {
    let Ok(entries) = fs::read_dir(cache) else { return Ok(None) };
    let prefix = format!("kernel-{LAYOUT}-");
    let mut folders: Vec<PathBuf> = entries
        .flatten()
        .filter(|entry| entry.file_name().to_str().is_some_and(|name| name.starts_with(&prefix)))
        .map(|entry| entry.path())
        .collect();
    folders.sort();
    Ok(folders.pop().map(|folder| Kernel { folder }))
}

/// The newest kernel of the cache, or else the distribution's, fetched.
pub fn ensure(cache: &Path) -> Result<Kernel> {
    if let Some(kernel) = newest(cache)? {
        return Ok(kernel);
    }
    if !cfg!(target_arch = "x86_64") {
        bail!("the tiny guests are for x86-64 machines; there is no guest kernel for this one yet");
    }
    let Some(distribution) = Distribution::detect() else {
        bail!("this distribution is not known, so its kernel package cannot be fetched; use Debian 12 or 13 or Fedora");
    };
    let work = cache.join(format!("fetch-{}", std::process::id()));
    fs::create_dir_all(&work).with_context(|| format!("cannot make {}", work.display()))?;
    let kernel = fetch(distribution, &work).and_then(|()| adopt(&work, cache));
    let _ = fs::remove_dir_all(&work);
    kernel
}

/// Downloads and unpacks the packages into `work/root`.
fn fetch(distribution: Distribution, work: &Path) -> Result<()> {
    let root = work.join("root");
    fs::create_dir_all(&root)?;
    match distribution {
        Distribution::Debian12 | Distribution::Debian13 => {
            let suite: &[&str] = match distribution.suite() {
                Some(suite) => &["-t", suite],
                None => &[],
            };
            let depends = output(Command::new("apt-cache").args(suite).args([
                "depends",
                "--no-recommends",
                "linux-image-amd64",
            ]))?;
            let package = depends
                .lines()
                .filter_map(|line| line.trim().strip_prefix("Depends: "))
                .find(|name| name.starts_with("linux-image-"))
                .context("apt knows no kernel package; run `apt-get update` as root, or `cargo xtask setup`")?;
            output(
                Command::new("apt-get")
                    .args(["-qq", "-o", "APT::Sandbox::User=root"])
                    .args(suite)
                    .args(["download", package])
                    .current_dir(work),
            )
            .with_context(|| format!("cannot download {package}; is the network there?"))?;
            let file = file_with(work, ".deb")?;
            output(Command::new("dpkg-deb").arg("-x").arg(file).arg(&root))?;
        }
        Distribution::Fedora => {
            output(
                Command::new("dnf")
                    .args(["-q", "download", "kernel-core", "kernel-modules-core", "kernel-modules"])
                    .current_dir(work),
            )
            .context("cannot download the kernel packages; is the network there?")?;
            for entry in fs::read_dir(work)?.flatten().filter(|e| e.path().extension().is_some_and(|e| e == "rpm")) {
                let unpack = "rpm2cpio \"$0\" | (cd \"$1\" && cpio -idm --quiet)";
                output(Command::new("sh").arg("-c").arg(unpack).arg(entry.path()).arg(&root))?;
            }
        }
    }
    Ok(())
}

/// Takes what the guests need from `work/root` into its final folder.
fn adopt(work: &Path, cache: &Path) -> Result<Kernel> {
    let root = work.join("root");
    let modules_root = [root.join("lib/modules"), root.join("usr/lib/modules")]
        .into_iter()
        .find(|path| path.is_dir())
        .context("the kernel package has no modules")?;
    let mut versions: Vec<_> = fs::read_dir(&modules_root)?.flatten().map(|entry| entry.file_name()).collect();
    versions.sort();
    let version = versions.pop().context("the kernel package has no modules")?.to_string_lossy().into_owned();
    let tree = modules_root.join(&version);
    let image = [root.join(format!("boot/vmlinuz-{version}")), tree.join("vmlinuz")]
        .into_iter()
        .find(|path| path.is_file())
        .with_context(|| format!("the package of kernel {version} has no vmlinuz"))?;

    let new = work.join("new");
    fs::create_dir_all(new.join("modules"))?;
    fs::copy(image, new.join("vmlinuz"))?;
    modules::collect(&tree, &new.join("modules"))?;
    let folder = cache.join(format!("kernel-{LAYOUT}-{version}"));
    fs::rename(&new, &folder).with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(Kernel { folder })
}

fn file_with(folder: &Path, ending: &str) -> Result<PathBuf> {
    fs::read_dir(folder)?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.to_string_lossy().ends_with(ending))
        .with_context(|| format!("the download left no {ending} file in {}", folder.display()))
}

/// Runs a program and gives what it printed; its own words are the error.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let done = command.output().with_context(|| format!("cannot run {program}; is it installed?"))?;
    if !done.status.success() {
        let words = String::from_utf8_lossy(&done.stderr);
        bail!("{program} failed ({}): {}", done.status, words.trim());
    }
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}
