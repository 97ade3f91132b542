//! Starting phyllome-renderer: which program, with what, and nothing else of this process.
//!
//! The child gets its end of the connection as descriptor [`SOCKET`], nothing on standard input, a pipe that
//! is read for the guest's log, and of the environment only what its drivers read. A thread of its own starts it, waits
//! for it and reaps it ([`super::process`]), so that nobody else ever waits for a renderer.

use super::wire::SOCKET;
use crate::child;
use rustix::process::{Pid, Resource, Rlimit};
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// The program's name.
pub const PROGRAM: &str = "phyllome-renderer";
/// Names another program instead, for tests.
#[cfg(any(test, feature = "test-doors"))]
pub const VARIABLE: &str = "PHYLLOME_RENDERER";
/// Beginnings of the names of variables that the libraries of a renderer read.
const PASSED: [&str; 17] = [
    "MESA_",
    "LIBGL_",
    "VK_",
    "EGL_",
    "__EGL_",
    "GALLIUM_",
    "LP_",
    "VIRGL_",
    "VREND_",
    "VKR_",
    "GBM_",
    "DRI_",
    "RADV_",
    "AMD_",
    "INTEL_",
    "NOUVEAU_",
    "LD_LIBRARY_PATH",
];
/// How often another thread's descriptor may take [`SOCKET`]'s number away in the midst of a start.
const TRIES: usize = 16;

/// What the system holds a renderer to, before its program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaunchLimits {
    /// Open descriptors.
    pub descriptors: u64,
    /// Bytes of address space; `None` for as much as there is.
    pub address_space: Option<u64>,
}

impl Default for LaunchLimits {
    fn default() -> Self {
        Self { descriptors: 4096, address_space: None }
    }
}

/// How to start a renderer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launch {
    /// The program's whole path.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// Its whole environment.
    pub environment: Vec<(OsString, OsString)>,
    /// What it may use.
    pub limits: LaunchLimits,
}

impl Launch {
    /// `program`, with this process's settings for drivers and no arguments.
    pub fn new(program: PathBuf) -> Self {
        let environment = std::env::vars_os().filter(|(name, _)| passes(name)).collect();
        Self { program, arguments: Vec::new(), environment, limits: LaunchLimits::default() }
    }

    /// The renderer that belongs to this program: beside it, else in `PATH`; for tests, what a variable names. The
    /// error is one sentence.
    pub fn find() -> Result<Self, String> {
        let named = named();
        let beside = std::env::current_exe().ok();
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folder = beside.as_deref().and_then(Path::parent);
        let program = find(named, folder, &path, is_program).ok_or_else(|| not_found(folder))?;
        Ok(Self::new(program))
    }

    /// Starts the program. Its standard output and error go to `output`. The error is one sentence.
    pub(super) fn spawn(&self, socket: OwnedFd, output: &io::PipeWriter) -> Result<Child, String> {
        let failed = |error: io::Error| format!("cannot start {}: {error}", self.program.display());
        let mut tries = 0;
        loop {
            match self.try_spawn(&socket, output) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && tries < TRIES => tries += 1,
                done => return done.map_err(failed),
            }
        }
    }

    fn try_spawn(&self, socket: &OwnedFd, output: &io::PipeWriter) -> io::Result<Child> {
        // The lowest number that is free, above those of the child's own files: either the right one, or that one is in
        // use.
        let socket = rustix::io::fcntl_dupfd_cloexec(socket, SOCKET)?;
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).env_clear().envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output.try_clone()?);
        // Ctrl-C in a terminal is for phyllome-guest, and whatever a renderer leaves behind is ended by its group.
        command.process_group(0);
        let parent = rustix::process::getpid();
        let (socket, limits) = (socket.as_raw_fd(), self.limits);
        // The child must not put its socket over the descriptor by which it tells whether it could start.
        let place = identity(SOCKET);
        // SAFETY: between fork and exec only system calls that are safe there are made (prctl, getppid, setrlimit,
        // fstat, dup2, close_range, fcntl, sigprocmask); nothing is allocated and no lock is taken. `socket` is open
        // until after the exec.
        unsafe {
            command.pre_exec(move || prepare_child(socket, place, parent, limits));
        }
        command.spawn()
    }
}

/// Which file a descriptor is of; `None` if none is open by that number.
fn identity(number: RawFd) -> Option<(u64, u64)> {
    // SAFETY: the kernel checks the number, the structure is whole and all-zero bytes are a valid one.
    unsafe {
        let mut found: libc::stat = std::mem::zeroed();
        (libc::fstat(number, &raw mut found) == 0).then_some((found.st_dev, found.st_ino))
    }
}

fn prepare_child(socket: RawFd, place: Option<(u64, u64)>, parent: Pid, limits: LaunchLimits) -> io::Result<()> {
    // The thread that started it waits for it to its end, so this is the end of the process.
    child::end_with_parent(parent)?;
    child::block_requests_to_end()?;
    limit(Resource::Core, 0)?;
    limit(Resource::Nofile, limits.descriptors)?;
    if let Some(bytes) = limits.address_space {
        limit(Resource::As, bytes)?;
    }
    child::close_all_on_exec();
    if socket == SOCKET {
        // SAFETY: the number is that of a descriptor that the caller holds open across this call.
        let borrowed = unsafe { BorrowedFd::borrow_raw(socket) };
        return Ok(rustix::io::fcntl_setfd(borrowed, rustix::io::FdFlags::empty())?);
    }
    if identity(SOCKET) != place || place.is_none() {
        return Err(io::ErrorKind::WouldBlock.into());
    }
    // SAFETY: nothing here owns the number that is replaced: whoever does is not in this process. What dup2 makes stays
    // open across exec.
    if unsafe { libc::dup2(socket, SOCKET) } < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// No more than `most`, and no more than this process may.
fn limit(resource: Resource, most: u64) -> io::Result<()> {
    let most = rustix::process::getrlimit(resource).maximum.map_or(most, |maximum| maximum.min(most));
    Ok(rustix::process::setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })?)
}

#[cfg(any(test, feature = "test-doors"))]
fn named() -> Option<OsString> {
    std::env::var_os(VARIABLE).filter(|named| !named.is_empty())
}

#[cfg(not(any(test, feature = "test-doors")))]
fn named() -> Option<OsString> {
    None
}

fn passes(name: &OsStr) -> bool {
    PASSED.iter().any(|beginning| name.as_bytes().starts_with(beginning.as_bytes()))
}

fn not_found(folder: Option<&Path>) -> String {
    let folder = folder.unwrap_or_else(|| Path::new("phyllome-guest")).display();
    format!("{PROGRAM} is neither in {folder} nor in PATH, so there is no 3D")
}

fn is_program(path: &Path) -> bool {
    path.is_absolute() && path.is_file() && rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok()
}

fn find(
    named: Option<OsString>,
    folder: Option<&Path>,
    path: &OsStr,
    is_program: impl Fn(&Path) -> bool,
) -> Option<PathBuf> {
    if let Some(named) = named {
        // Whoever names one wants that one or none.
        return Some(PathBuf::from(named)).filter(|program| is_program(program));
    }
    let folders = folder.map(Path::to_owned).into_iter().chain(std::env::split_paths(path));
    folders.map(|folder| folder.join(PROGRAM)).find(|program| is_program(program))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_is_what_drivers_read() {
        for (name, passed) in [
            ("MESA_DEBUG", true),
            ("LIBGL_ALWAYS_SOFTWARE", true),
            ("VK_DRIVER_FILES", true),
            ("__EGL_VENDOR_LIBRARY_FILENAMES", true),
            ("LD_LIBRARY_PATH", true),
            ("LD_PRELOAD", false),
            ("PATH", false),
            ("LANG", false),
            ("HOME", false),
            ("XDG_RUNTIME_DIR", false),
            ("WAYLAND_DISPLAY", false),
            ("DBUS_SESSION_BUS_ADDRESS", false),
        ] {
            assert_eq!(passes(OsStr::new(name)), passed, "{name}");
        }
    }

    #[test]
    fn a_named_program_beats_the_one_beside_and_that_the_path() {
        let path = OsStr::new("relative:/first:/second");
        let found = |named: Option<&str>, present: &[&str]| {
            let there = |path: &Path| path.is_absolute() && present.iter().any(|one| Path::new(one) == path);
            find(named.map(OsString::from), Some(Path::new("/here")), path, there)
        };
        let all = ["/named", "/here/phyllome-renderer", "/second/phyllome-renderer", "relative/phyllome-renderer"];
        assert_eq!(found(Some("/named"), &all).unwrap(), Path::new("/named"));
        assert_eq!(found(None, &all).unwrap(), Path::new("/here/phyllome-renderer"));
        assert_eq!(found(None, &all[2..]).unwrap(), Path::new("/second/phyllome-renderer"));
        assert_eq!(found(Some("/absent"), &all), None);
        assert_eq!(found(None, &all[3..]), None);
    }
}
