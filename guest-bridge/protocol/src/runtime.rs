//! The runtime folder `$XDG_RUNTIME_DIR/phyllome`, which nobody but its user may enter.
//!
//! Identity rests on it: what answers at `guests/NAME/control.sock` is guest NAME. So owner and mode are checked before
//! use.

use crate::GuestName;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Longest path of a socket, in bytes (Linux: `sun_path`, with its end).
const MAX_SOCKET: usize = 107;

/// Why the runtime folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// The variable is missing or empty or not an absolute path.
    #[error(
        "XDG_RUNTIME_DIR is not set to an absolute path; log in through a session, or set it to a folder of your own with mode 0700"
    )]
    Unset,
    /// The folder belongs to someone else.
    #[error("{} belongs to user {owner}, not to you ({me}); remove it or choose another XDG_RUNTIME_DIR", path.display())]
    Owner {
        /// The folder.
        path: PathBuf,
        /// Its owner's uid.
        owner: u32,
        /// This process's uid.
        me: u32,
    },
    /// Others may enter the folder.
    #[error("{} has mode {mode:04o}; others may enter it: run chmod 700 on it", path.display())]
    Mode {
        /// The folder.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It is not a folder.
    #[error("{} is not a folder; remove it", path.display())]
    NotAFolder {
        /// The path.
        path: PathBuf,
    },
    /// The kernel takes no socket there.
    #[error(
        "{} is longer than the {MAX_SOCKET} bytes that a socket's path may have; give the guest a shorter name, or set \
         XDG_RUNTIME_DIR to a shorter path", path.display()
    )]
    TooLong {
        /// The path of the socket.
        path: PathBuf,
    },
    /// The system refused.
    #[error("cannot use {} ({source}); mend its permissions, or set another XDG_RUNTIME_DIR", path.display())]
    Io {
        /// The path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// The checked folder `$XDG_RUNTIME_DIR/phyllome`.
#[derive(Clone, Debug)]
pub struct RuntimeDir {
    path: PathBuf,
}

impl RuntimeDir {
    /// Finds, makes if need be, and checks the folder.
    pub fn open() -> Result<Self, RuntimeError> {
        let base = std::env::var_os("XDG_RUNTIME_DIR")
            .map(PathBuf::from)
            .filter(|p| p.is_absolute())
            .ok_or(RuntimeError::Unset)?;
        Self::open_in(&base)
    }

    /// The same below a given base folder.
    pub fn open_in(base: &Path) -> Result<Self, RuntimeError> {
        check_private(base)?;
        let path = base.join("phyllome");
        let shell = Self { path: path.clone() }.shell_socket();
        check_socket(&shell)?;
        make_private(&path)?;
        make_private(&path.join("guests"))?;
        Ok(Self { path })
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The shell's socket.
    pub fn shell_socket(&self) -> PathBuf {
        self.path.join("shell.sock")
    }

    /// The folder of one guest, not made.
    pub fn guest_dir(&self, name: &GuestName) -> PathBuf {
        self.path.join("guests").join(name.as_str())
    }

    /// Whether a guest of this name can have a socket here.
    pub fn check_guest(&self, name: &GuestName) -> Result<(), RuntimeError> {
        check_socket(&self.control_socket(name))
    }

    /// The folder of one guest, made and checked.
    pub fn make_guest_dir(&self, name: &GuestName) -> Result<PathBuf, RuntimeError> {
        self.check_guest(name)?;
        let dir = self.guest_dir(name);
        make_private(&dir)?;
        Ok(dir)
    }

    /// A guest's control socket.
    pub fn control_socket(&self, name: &GuestName) -> PathBuf {
        self.guest_dir(name).join("control.sock")
    }

    /// Names of all guests that have a folder here; others' files are passed over.
    pub fn guests(&self) -> Vec<GuestName> {
        let Ok(entries) = std::fs::read_dir(self.path.join("guests")) else { return Vec::new() };
        let mut names: Vec<_> =
            entries.flatten().filter_map(|e| GuestName::new(e.file_name().to_str()?).ok()).collect();
        names.sort();
        names
    }
}

fn check_socket(path: &Path) -> Result<(), RuntimeError> {
    match path.as_os_str().len() {
        0..=MAX_SOCKET => Ok(()),
        _ => Err(RuntimeError::TooLong { path: path.to_owned() }),
    }
}

fn make_private(path: &Path) -> Result<(), RuntimeError> {
    match std::fs::DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => {}
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
        Err(source) => return Err(RuntimeError::Io { path: path.to_owned(), source }),
    }
    check_private(path)
}

/// Checks that `path` is a real folder of this user with mode 0700 or stricter.
pub fn check_private(path: &Path) -> Result<(), RuntimeError> {
    let meta = std::fs::symlink_metadata(path).map_err(|source| RuntimeError::Io { path: path.to_owned(), source })?;
    if !meta.is_dir() {
        return Err(RuntimeError::NotAFolder { path: path.to_owned() });
    }
    let me = rustix::process::geteuid().as_raw();
    if meta.uid() != me {
        return Err(RuntimeError::Owner { path: path.to_owned(), owner: meta.uid(), me });
    }
    let mode = meta.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(RuntimeError::Mode { path: path.to_owned(), mode });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn private_tempdir() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
        dir
    }

    #[test]
    fn the_folder_is_made_private() {
        let base = private_tempdir();
        let runtime = RuntimeDir::open_in(base.path()).unwrap();
        let name = GuestName::new("work").unwrap();
        let dir = runtime.make_guest_dir(&name).unwrap();
        assert_eq!(std::fs::metadata(&dir).unwrap().mode() & 0o777, 0o700);
        assert_eq!(runtime.guests(), [name]);
    }

    #[test]
    fn a_folder_that_others_may_enter_is_refused() {
        let base = private_tempdir();
        let open = base.path().join("phyllome");
        std::fs::create_dir(&open).unwrap();
        std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o755)).unwrap();
        assert!(matches!(RuntimeDir::open_in(base.path()), Err(RuntimeError::Mode { mode: 0o755, .. })));
    }

    #[test]
    fn a_guest_whose_socket_would_have_too_long_a_path_is_refused_before_anything_is_made() {
        let base = private_tempdir();
        let runtime = RuntimeDir::open_in(base.path()).unwrap();
        let rest = runtime.control_socket(&GuestName::new("a").unwrap()).as_os_str().len() - 1;
        let fits = GuestName::new(&"a".repeat((MAX_SOCKET - rest).min(crate::ids::MAX_NAME))).unwrap();
        runtime.make_guest_dir(&fits).unwrap();
        let deep = base.path().join("d".repeat(MAX_SOCKET - base.path().as_os_str().len() - 30));
        std::fs::create_dir(&deep).unwrap();
        std::fs::set_permissions(&deep, std::fs::Permissions::from_mode(0o700)).unwrap();
        let runtime = RuntimeDir::open_in(&deep).unwrap();
        let long = GuestName::new("a-long-name").unwrap();
        let error = runtime.make_guest_dir(&long).unwrap_err();
        assert!(error.to_string().contains("a shorter name"), "{error}");
        assert!(!runtime.guest_dir(&long).exists());
    }

    #[test]
    fn a_symlink_is_refused() {
        let base = private_tempdir();
        std::os::unix::fs::symlink("/tmp", base.path().join("phyllome")).unwrap();
        assert!(matches!(RuntimeDir::open_in(base.path()), Err(RuntimeError::NotAFolder { .. })));
    }
}
