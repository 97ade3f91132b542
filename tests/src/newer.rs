//! Programs of ours on newer libraries and a newer QEMU than this computer's: started with the `usr` of the KMS test
//! machine's image in the place of `/usr`, in a mount namespace of their own. Nothing is emulated, and everything else
//! is this computer's.
//!
//! As root it is a plain mount namespace; for other users it is one in a user namespace, in which they are root.

use anyhow::{Context, Result, ensure};
use phyllome_test_machine::image;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// Puts the folder in place, and more files over others, then becomes the program: `sh -c SCRIPT sh USR [FROM TO]... --
/// PROGRAM`.
const SCRIPT: &str = "usr=$1; shift; while [ \"$1\" != -- ]; do mount --bind \"$1\" \"$2\" || exit 125; shift 2; done; shift; \
    mount --bind \"$usr\" /usr || exit 125; exec \"$@\"";

/// Where programs find the newer system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Newer {
    usr: PathBuf,
    /// Files of ours over files of the system.
    files: Vec<(PathBuf, PathBuf)>,
}

impl Newer {
    /// The newer system, made first where there is none. The error is why there can be none here.
    pub fn find() -> Result<Self> {
        static FOUND: OnceLock<Result<PathBuf, String>> = OnceLock::new();
        let usr = FOUND.get_or_init(|| Self::try_find().map_err(|error| format!("{error:#}"))).clone();
        Ok(Self { usr: usr.map_err(anyhow::Error::msg)?, files: Vec::new() })
    }

    fn try_find() -> Result<PathBuf> {
        for folder in ["/lib", "/bin"] {
            let target = std::fs::read_link(folder).unwrap_or_default();
            ensure!(target.ends_with(Path::new("usr").join(&folder[1..])), "{folder} is not in /usr on this computer");
        }
        let usr = image::ensure()?.usr()?;
        let newer = Self { usr: usr.clone(), files: Vec::new() };
        let said = newer.command(Path::new("/usr/bin/qemu-system-x86_64")).arg("--version").output()?;
        let complaint = String::from_utf8_lossy(&said.stderr);
        ensure!(said.status.success(), "the image's QEMU does not start in a mount namespace: {}", complaint.trim());
        Ok(usr)
    }

    /// Puts a file over one of the system's, which must be there.
    pub fn with_file(mut self, ours: PathBuf, over: PathBuf) -> Self {
        self.files.push((ours, over));
        self
    }

    /// A command that starts this program there; arguments can follow.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("unshare");
        if !rustix::process::geteuid().is_root() {
            command.arg("--map-root-user");
        }
        command.args(["--mount", "--propagation", "private", "sh", "-c", SCRIPT, "sh"]).arg(&self.usr);
        for (ours, over) in &self.files {
            command.arg(ours).arg(over);
        }
        command.arg("--").arg(program);
        command
    }

    /// Whether a program is installed there.
    pub fn has(&self, path: &str) -> bool {
        path.strip_prefix("/usr/").is_some_and(|path| self.usr.join(path).exists())
    }

    /// What a program there prints.
    pub fn output(&self, program: &str, arguments: &[&str]) -> Result<String> {
        let output = self.command(Path::new(program)).args(arguments).stdin(Stdio::null()).output()?;
        let complaint = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{program} {arguments:?}: {} {}", output.status, complaint.trim());
        String::from_utf8(output.stdout).context("not text")
    }
}
