//! The folder of one running guest below the runtime folder, and the lock that keeps a second phyllome-guest out.
//!
//! The lock is the kernel's and ends with this process, however that ends; what a dead process left behind is replaced.

use phyllome_protocol::GuestName;
use phyllome_protocol::runtime::{RuntimeDir, RuntimeError};
use rustix::fs::FlockOperation;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// How often the folder is made anew when a process that ends removes it at the same moment.
const ATTEMPTS: usize = 16;

/// Why a guest's folder cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// Another process has it.
    #[error("guest {0} is running already; “phyllome list” shows it")]
    Taken(GuestName),
    /// The runtime folder is unusable.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// The lock file is unusable.
    #[error("cannot lock {} ({source}); mend its permissions", path.display())]
    Lock {
        /// The lock file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// A guest's folder, held until this is dropped; then it is removed.
#[derive(Debug)]
pub struct GuestFolder {
    path: PathBuf,
    _lock: File,
}

impl GuestFolder {
    /// Makes the folder of `name` and locks it.
    pub fn take(runtime: &RuntimeDir, name: &GuestName) -> Result<Self, FolderError> {
        let mut last = io::Error::from(io::ErrorKind::NotFound);
        for _ in 0..ATTEMPTS {
            let path = match runtime.make_guest_dir(name) {
                Ok(path) => path,
                Err(RuntimeError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error.into()),
            };
            match lock(&path.join("lock")) {
                Ok(Some(lock)) => return Ok(Self { path, _lock: lock }),
                Ok(None) => return Err(FolderError::Taken(name.clone())),
                Err(error) if error.kind() == io::ErrorKind::NotFound => last = error,
                Err(source) => return Err(FolderError::Lock { path: path.join("lock"), source }),
            }
        }
        Err(FolderError::Lock { path: runtime.guest_dir(name).join("lock"), source: last })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for GuestFolder {
    fn drop(&mut self) {
        // Only what this program puts there; anything else keeps the folder, and harms nobody.
        for file in ["control.sock", "control.new", "lock"] {
            let _ = std::fs::remove_file(self.path.join(file));
        }
        let _ = std::fs::remove_dir(&self.path);
    }
}

/// Locks the file; `None` if another process has it; `NotFound` if it was removed while this waited for it.
fn lock(path: &Path) -> io::Result<Option<File>> {
    let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path)?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
        Err(error) => return Err(error.into()),
    }
    let (held, there) = (file.metadata()?, std::fs::metadata(path)?);
    if (held.dev(), held.ino()) == (there.dev(), there.ino()) {
        Ok(Some(file))
    } else {
        Err(io::ErrorKind::NotFound.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_guest_has_one_process() {
        let base = tempfile::tempdir().unwrap();
        std::fs::set_permissions(base.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
        let runtime = RuntimeDir::open_in(base.path()).unwrap();
        let name = GuestName::new("work").unwrap();
        let first = GuestFolder::take(&runtime, &name).unwrap();
        assert!(matches!(GuestFolder::take(&runtime, &name), Err(FolderError::Taken(_))));
        GuestFolder::take(&runtime, &GuestName::new("play").unwrap()).unwrap();
        let path = first.path().to_owned();
        drop(first);
        assert!(!path.exists());
        // What a dead process left is no hindrance.
        std::fs::create_dir(&path).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
        std::fs::write(path.join("lock"), "").unwrap();
        std::fs::write(path.join("control.sock"), "").unwrap();
        GuestFolder::take(&runtime, &name).unwrap();
    }
}
