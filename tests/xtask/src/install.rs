//! `cargo xtask install`: programs, the session file and systemd's user units below a prefix, with the programs' paths
//! written into them.
//!
//! It writes below the prefix alone and asks for no rights: what a login manager needs beyond that is said, not done.

use crate::cargo;
use anyhow::{Context, Result, bail};
use phyllome_test_guests::repository;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// What belongs in `bin`.
const PROGRAMS: [&str; 5] = ["phyllome-shell", "phyllome-session", "phyllome", "phyllome-guest", "phyllome-renderer"];
/// Where login managers look for sessions.
const SESSIONS: [&str; 2] = ["/usr/share/wayland-sessions", "/usr/local/share/wayland-sessions"];

/// Options of `cargo xtask install`.
#[derive(clap::Args)]
pub struct Arguments {
    /// Where bin and share are; ~/.local without it
    #[arg(long, value_name = "DIR")]
    prefix: Option<PathBuf>,
}

/// Builds and installs.
pub fn run(arguments: &Arguments) -> Result<()> {
    let prefix = match &arguments.prefix {
        Some(prefix) => std::path::absolute(prefix)?,
        None => match std::env::var_os("HOME").filter(|home| !home.is_empty()) {
            Some(home) => Path::new(&home).join(".local"),
            None => bail!("HOME is not set; use --prefix DIR"),
        },
    };
    for part in cargo::APART {
        cargo::build(&[&["--release", "--bins"], part].concat())?;
    }
    for path in install(&cargo::target_dir().join("release"), &prefix)? {
        println!("{}", path.display());
    }
    let session = prefix.join("share/wayland-sessions");
    if !SESSIONS.iter().any(|folder| Path::new(folder) == session) {
        let file = session.join("phyllome.desktop");
        println!("\nA login manager shows the session once root has put it where it looks:");
        println!("    sudo install -D -m 644 -t {} {}", SESSIONS[1], file.display());
        println!("Without one: log in on a console and run {}", prefix.join("bin/phyllome-session").display());
    }
    Ok(())
}

/// Puts everything in place; what was written.
fn install(programs: &Path, prefix: &Path) -> Result<Vec<PathBuf>> {
    let bin = prefix.join("bin");
    let at = bin.to_str().context("the prefix is not UTF-8; choose another")?;
    if at.contains(|c: char| c.is_whitespace() || "\"'\\%$`".contains(c)) {
        bail!("{at} has characters that mean something in unit files; choose another prefix");
    }
    let mut written = Vec::new();
    for program in PROGRAMS {
        let bytes = fs::read(programs.join(program)).with_context(|| format!("{program} is not built"))?;
        written.push(write(&bin.join(program), &bytes, 0o755)?);
    }
    let config = repository().join("config");
    let mut texts = vec![("session/phyllome.desktop".to_owned(), "share/wayland-sessions")];
    texts.push(("session/greetd.toml".to_owned(), "share/doc/phyllome"));
    for (folder, to) in [("systemd/user", "share/systemd/user"), ("examples", "share/doc/phyllome")] {
        for file in fs::read_dir(config.join(folder)).with_context(|| format!("config/{folder} cannot be read"))? {
            texts.push((format!("{folder}/{}", file?.file_name().to_string_lossy()), to));
        }
    }
    texts.sort();
    for (file, to) in texts {
        let mut text =
            fs::read_to_string(config.join(&file)).with_context(|| format!("config/{file} cannot be read"))?;
        for key in ["Exec", "TryExec", "ExecStart"] {
            text = text.replace(&format!("\n{key}=phyllome-"), &format!("\n{key}={at}/phyllome-"));
        }
        let name = Path::new(&file).file_name().unwrap_or_default();
        written.push(write(&prefix.join(to).join(name), text.as_bytes(), 0o644)?);
    }
    Ok(written)
}

/// Replaces a file as a whole: a program may be running.
fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<PathBuf> {
    let new = path.with_extension("new");
    let put = || {
        fs::create_dir_all(path.parent().unwrap_or(Path::new("/")))?;
        fs::write(&new, bytes)?;
        fs::set_permissions(&new, Permissions::from_mode(mode))?;
        fs::rename(&new, path)
    };
    put().with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn programs() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        PROGRAMS.iter().for_each(|program| fs::write(folder.path().join(program), program).unwrap());
        folder
    }

    #[test]
    fn units_and_session_name_the_programs_that_were_installed() {
        let (programs, prefix) = (programs(), tempfile::tempdir().unwrap());
        // The second time it replaces what is there.
        install(programs.path(), prefix.path()).unwrap();
        install(programs.path(), prefix.path()).unwrap();
        let bin = prefix.path().join("bin").display().to_string();
        let read = |file: &str| fs::read_to_string(prefix.path().join(file)).unwrap();
        let session = read("share/wayland-sessions/phyllome.desktop");
        assert!(session.contains(&format!("\nExec={bin}/phyllome-session\nTryExec={bin}/phyllome-session\n")));
        let unit = read("share/systemd/user/phyllome-guest@.service");
        assert!(unit.contains(&format!("\nExecStart={bin}/phyllome-guest run %i --control-only\n")));
        assert_eq!(read("bin/phyllome-guest"), "phyllome-guest");
        let mode = fs::metadata(prefix.path().join("bin/phyllome")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o755);
        assert!(read("share/doc/phyllome/greetd.toml").contains("phyllome-session"));
        assert!(read("share/systemd/user/phyllome-session.target").contains("[Unit]"));
    }

    #[test]
    fn a_prefix_that_unit_files_cannot_name_is_refused() {
        let programs = programs();
        for bad in ["/tmp/a b", "/tmp/50%", "/tmp/$x"] {
            assert!(install(programs.path(), Path::new(bad)).is_err(), "{bad}");
            assert!(!Path::new(bad).exists());
        }
    }
}
