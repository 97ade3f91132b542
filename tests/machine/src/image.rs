//! The machine's disk and kernel: made once by mmdebstrap (`image/build.sh`) and kept in the repository's
//! `.cache/machine`, under a hash of the package list and the scripts; made anew when one of these changes.
//!
//! The archive and its key are those of this computer's own apt sources. A half-made image is never found under its
//! final name.

use crate::apt;
use anyhow::{Context, Result, bail, ensure};
use phyllome_test_guests::distribution::Distribution;
use phyllome_test_guests::image::Hash;
use phyllome_test_guests::repository;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

const BUILD: &str = include_str!("../image/build.sh");
const CUSTOMIZE: &str = include_str!("../image/customize.sh");
const VKMS: &str = include_str!("../image/vkms.sh");
const PACKAGES: &str = include_str!("../image/packages.txt");

/// What the image is made of.
const PARTS: [(&str, &str); 4] =
    [("build.sh", BUILD), ("customize.sh", CUSTOMIZE), ("vkms.sh", VKMS), ("packages.txt", PACKAGES)];

/// Names an archive where this computer's own sources name none of Debian's, as on Fedora.
pub const ARCHIVE_VARIABLE: &str = "PHYLLOME_DEBIAN_ARCHIVE";

/// A finished image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    folder: PathBuf,
}

impl Image {
    /// The root disk, a raw ext4 file system. Never written: machines keep their changes apart.
    pub fn disk(&self) -> PathBuf {
        self.folder.join("disk.ext4")
    }

    /// The kernel.
    pub fn kernel(&self) -> PathBuf {
        self.folder.join("vmlinuz")
    }

    /// The kernel's tree of modules.
    pub fn modules(&self) -> PathBuf {
        self.folder.join("modules")
    }

    /// The folder `usr` of the disk as a folder of this computer, read out of it where it is not there yet (some
    /// seconds).
    pub fn usr(&self) -> Result<PathBuf> {
        let usr = self.folder.join("usr");
        if usr.is_dir() {
            return Ok(usr);
        }
        let _lock = lock()?;
        if usr.is_dir() {
            return Ok(usr);
        }
        let work = self.folder.join(format!("new-{}", std::process::id()));
        fs::create_dir(&work).with_context(|| format!("cannot make {}", work.display()))?;
        let read = read_out(&self.disk(), &work);
        let made = read.and_then(|()| fs::rename(work.join("usr"), &usr).context("cannot rename it"));
        remove(&work);
        made.with_context(|| format!("{} cannot be read out", self.disk().display()))?;
        Ok(usr)
    }
}

fn read_out(disk: &Path, folder: &Path) -> Result<()> {
    let mut command = Command::new(system_program("debugfs").context("debugfs is not installed")?);
    command.args(["-R", "rdump /usr ."]).arg(disk).current_dir(folder);
    // An ordinary user cannot give files to root, which it complains of for each; what counts is what is there.
    let ended = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status()?;
    ensure!(ended.success() && folder.join("usr/bin/qemu-system-x86_64").is_file(), "debugfs left no QEMU ({ended})");
    Ok(())
}

fn lock() -> Result<File> {
    let cache = cache();
    let lock = File::create(cache.join("lock")).with_context(|| format!("cannot write to {}", cache.display()))?;
    lock.lock().with_context(|| format!("cannot lock {}", cache.display()))?;
    Ok(lock)
}

/// The folder in which everything about the machine is kept.
pub fn cache() -> PathBuf {
    repository().join(".cache/machine")
}

/// The image, if it is made already.
pub fn find() -> Option<Image> {
    let folder = cache().join(name());
    folder.join("disk.ext4").is_file().then_some(Image { folder })
}

/// Why no image can be made here; nothing where it can, or need not.
pub fn obstacle() -> Option<String> {
    if find().is_some() {
        return None;
    }
    if !cfg!(target_arch = "x86_64") {
        return Some("the KMS test machine is an x86-64 one, and this computer is not".to_owned());
    }
    for program in ["mmdebstrap", "mke2fs"] {
        if !is_installed(program) {
            return Some(format!("{program} is not installed; run `cargo xtask setup`, which installs it"));
        }
    }
    if !may_be_root() {
        return Some("building the machine's disk needs root, or a user that may make user namespaces".to_owned());
    }
    archive().err().map(|error| format!("{error:#}"))
}

/// The image, made first where it is not there yet; that takes two minutes and the network. Another process's build is
/// waited for.
pub fn ensure() -> Result<Image> {
    if let Some(image) = find() {
        return Ok(image);
    }
    let cache = cache();
    fs::create_dir_all(&cache).with_context(|| format!("cannot make {}", cache.display()))?;
    let _lock = lock()?;
    if let Some(image) = find() {
        return Ok(image);
    }
    if let Some(obstacle) = obstacle() {
        bail!("there is no image of the KMS test machine: {obstacle}");
    }
    remove_leftovers(&cache);
    let work = cache.join(format!("new-{}", std::process::id()));
    fs::create_dir(&work).with_context(|| format!("cannot make {}", work.display()))?;
    let folder = cache.join(name());
    let made = build(&work).and_then(|()| {
        fs::rename(work.join("image"), &folder).with_context(|| format!("cannot make {}", folder.display()))
    });
    remove(&work);
    made.map(|()| Image { folder })
}

fn build(work: &Path) -> Result<()> {
    let (archive, key) = archive()?;
    for (name, content) in PARTS {
        fs::write(work.join(name), content)?;
    }
    let target = work.join("image");
    fs::create_dir(&target)?;
    let log = work.join("log");
    let file = File::create(&log)?;
    let mut command = as_root(&["sh"]);
    command.arg(work.join("build.sh")).arg(&target).arg(archive).args(key);
    command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
    let ended = command.status().context("cannot run sh")?;
    if !ended.success() {
        let kept = cache().join("failed.log");
        let _ = fs::rename(&log, &kept);
        let text = fs::read_to_string(&kept).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        let end = lines[lines.len().saturating_sub(15)..].join("\n");
        bail!("the KMS test machine's disk cannot be built ({ended}); all of it is in {}: {end}", kept.display());
    }
    ensure!(target.join("disk.ext4").is_file(), "the build left no disk");
    Ok(())
}

/// What earlier builds left that were ended in the middle, and images of other package lists. Young ones stay: a test
/// that was built before the list changed runs on one, perhaps.
fn remove_leftovers(cache: &Path) {
    const YOUNG: Duration = Duration::from_secs(24 * 60 * 60);
    for entry in fs::read_dir(cache).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let age = || entry.metadata().ok()?.modified().ok()?.elapsed().ok();
        let is_old_image = name.starts_with("image-") && age().is_some_and(|age| age > YOUNG);
        if name.starts_with("new-") || is_old_image {
            remove(&entry.path());
        }
    }
}

fn remove(folder: &Path) {
    // Files of other users, made in a user namespace, are removed in one.
    if fs::remove_dir_all(folder).is_err() {
        let _ = as_root(&["rm", "-rf"]).arg(folder).status();
    }
}

/// Address and key of a Debian archive: that of this computer's own apt sources, or what [`ARCHIVE_VARIABLE`] names.
pub fn archive() -> Result<(String, Option<PathBuf>)> {
    if let Ok(address) = std::env::var(ARCHIVE_VARIABLE) {
        return Ok((address, keyring()));
    }
    let suite = match Distribution::detect() {
        Some(Distribution::Debian12) => "bookworm",
        Some(Distribution::Debian13) => "trixie",
        _ => bail!("this computer's package sources name no Debian archive; name one in ${ARCHIVE_VARIABLE}"),
    };
    let address = apt::archive_of(&apt::read(), suite)
        .with_context(|| format!("apt's sources name no archive of {suite} main; name one in ${ARCHIVE_VARIABLE}"))?;
    Ok((address, keyring()))
}

/// All keys of Debian's archive; the ones that a source names may be those of its own suite only.
fn keyring() -> Option<PathBuf> {
    ["gpg", "pgp"]
        .map(|ending| PathBuf::from(format!("/usr/share/keyrings/debian-archive-keyring.{ending}")))
        .into_iter()
        .find(|path| path.is_file())
}

fn name() -> String {
    let mut hash = Hash::default();
    PARTS.iter().for_each(|(_, part)| hash.add(part.as_bytes()));
    format!("image-{:016x}", hash.value())
}

fn is_installed(program: &str) -> bool {
    system_program(program).is_some()
}

/// A program of the system's, among those for administrators too.
fn system_program(program: &str) -> Option<PathBuf> {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&folders).chain(system).map(|folder| folder.join(program)).find(|path| path.is_file())
}

fn may_be_root() -> bool {
    let mut command = as_root(&["true"]);
    command.stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// A command that has root's rights over files: this process's own, or those in a user namespace.
pub fn as_root(words: &[&str]) -> Command {
    let namespace: &[&str] = if rustix::process::geteuid().is_root() {
        &[]
    } else {
        &["unshare", "--map-auto", "--map-root-user", "--mount", "--pid", "--fork", "--mount-proc"]
    };
    let mut words = namespace.iter().chain(words);
    let mut command = Command::new(words.next().unwrap_or(&"true"));
    command.args(words);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_that_of_the_content() {
        assert_eq!(name(), name());
        assert!(name().starts_with("image-") && name().len() == 22);
    }

    #[test]
    fn no_package_is_named_twice_and_no_host_is_named() {
        let mut packages: Vec<_> = PACKAGES.lines().map(|l| l.split('#').next().unwrap().trim()).collect();
        packages.retain(|package| !package.is_empty());
        let all = packages.len();
        packages.sort_unstable();
        packages.dedup();
        assert_eq!(packages.len(), all);
        assert!(
            ![BUILD, CUSTOMIZE, VKMS].iter().any(|script| script.contains("http://") || script.contains("https://"))
        );
    }
}
