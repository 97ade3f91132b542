//! The folder in which all devices run that are compared: a Debian trixie of its own with one QEMU, one virglrenderer
//! and one Mesa for all of them, in which vhost-device-gpu is built with this computer's own Rust toolchain. Kept in
//! the repository's `.cache/bench` under a hash of what it is made of.
//!
//! Programs run in it by `chroot` in a mount namespace, as root or in a user namespace, and see this computer's
//! `/proc`, `/dev` and network.

use anyhow::{Context, Result, bail, ensure};
use phyllome_test_guests::image::Hash;
use phyllome_test_guests::repository;
use phyllome_test_machine::image;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const BUILD: &str = include_str!("build.sh");
/// The peer, with its version.
pub const PEER: &str = "vhost-device-gpu 0.2.0";
const CRATE: &str = "vhost-device-gpu@0.2.0";
/// Where cargo installs it, seen from inside.
const INSTALLED: &str = "/opt/peer";
/// Where programs are looked for; `chroot` itself, which is run before anything inside is, lies in an `sbin`.
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";
/// Mounts what is named by pairs of a folder outside and its place inside, and becomes the program after `--`.
const ENTER: &str = r#"root=$1; shift
for folder in proc dev sys; do mount --rbind "/$folder" "$root/$folder"; done
while [ "$1" != -- ]; do mkdir -p "$root$2"; mount --rbind "$1" "$root$2"; shift 2; done
shift
exec chroot "$root" "$@""#;

/// A folder of this computer and its place inside.
pub type Bind<'a> = (&'a Path, &'a str);

/// The folder.
#[derive(Debug)]
pub struct Root {
    folder: PathBuf,
}

impl Root {
    /// The folder, made first where it is not there yet: minutes, and the network.
    pub fn ensure() -> Result<Self> {
        let mut hash = Hash::default();
        hash.add(BUILD.as_bytes());
        let cache = repository().join(".cache/bench");
        fs::create_dir_all(&cache).with_context(|| format!("cannot make {}", cache.display()))?;
        let cache = cache.canonicalize()?;
        let folder = cache.join(format!("root-{:016x}", hash.value()));
        let lock = File::create(cache.join("lock"))?;
        lock.lock().with_context(|| format!("cannot lock {}", cache.display()))?;
        if folder.is_dir() {
            return Ok(Self { folder });
        }
        let (archive, key) = image::archive()?;
        let script = cache.join("build.sh");
        fs::write(&script, BUILD)?;
        let new = cache.join(format!("new-{}", std::process::id()));
        let mut build = image::as_root(&["sh"]);
        build.arg(&script).arg(&new).arg(archive).args(key);
        let made = run(&mut build, &cache.join("root.log"));
        if let Err(error) = made.and_then(|()| Ok(fs::rename(&new, &folder)?)) {
            let _ = image::as_root(&["rm", "-rf"]).arg(&new).status();
            return Err(error.context("the folder for 3D devices cannot be made"));
        }
        Ok(Self { folder })
    }

    /// The peer, built first where it is not there yet: minutes, and the network. Its path inside.
    pub fn peer(&self) -> Result<String> {
        let inside = format!("{INSTALLED}/bin/vhost-device-gpu");
        if self.folder.join(inside.trim_start_matches('/')).is_file() {
            return Ok(inside);
        }
        let sysroot = Command::new("rustc").args(["--print", "sysroot"]).output().context("cannot run rustc")?;
        let sysroot = PathBuf::from(String::from_utf8(sysroot.stdout)?.trim());
        let certificates = Path::new("/etc/ssl/certs");
        ensure!(sysroot.is_dir() && certificates.is_dir(), "there is no Rust toolchain, or no certificates");
        for file in ["resolv.conf", "hosts"] {
            let content = fs::read(Path::new("/etc").join(file)).unwrap_or_default();
            fs::write(self.folder.join("etc").join(file), content)?;
        }
        let binds: [Bind<'_>; 2] = [(&sysroot, "/opt/toolchain"), (certificates, "/etc/ssl/certs")];
        let mut build = self.command(&binds, "nice");
        build.args([
            "-n",
            "10",
            "cargo",
            "install",
            "--locked",
            "--no-default-features",
            "--features",
            "backend-virgl",
        ]);
        build.args(["--root", INSTALLED, CRATE]);
        // What cargo needs to reach its registry is in the environment.
        for (name, value) in std::env::vars_os() {
            let kept = ["CARGO_REGISTR", "CARGO_HTTP", "CARGO_NET", "HTTP", "http", "NO_PROXY", "no_proxy"];
            if name.to_str().is_some_and(|name| kept.iter().any(|beginning| name.starts_with(beginning))) {
                build.env(name, value);
            }
        }
        build.env("PATH", format!("/opt/toolchain/bin:{PATH}")).env("CARGO_HOME", "/opt/cargo").env("HOME", "/root");
        build.env("CARGO_TARGET_DIR", "/opt/target").env("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt");
        let log = self.folder.with_extension("log");
        run(&mut build, &log).with_context(|| format!("{PEER} cannot be built"))?;
        Ok(inside)
    }

    /// A program inside, with these folders mounted there. The process that is spawned becomes the program.
    pub fn command(&self, binds: &[Bind<'_>], program: &str) -> Command {
        let user: &[&str] = if rustix::process::geteuid().is_root() { &[] } else { &["--map-auto", "--map-root-user"] };
        let mut command = Command::new("unshare");
        command
            .args(user)
            .args(["--mount", "--propagation", "private", "sh", "-euc", ENTER, "enter"])
            .arg(&self.folder);
        for (outside, inside) in binds {
            command.arg(outside).arg(inside);
        }
        command.arg("--").arg(program);
        command.env_clear().env("PATH", PATH);
        command
    }

    /// What a package of its is, as `NAME VERSION`.
    pub fn version(&self, package: &str) -> String {
        let status = fs::read_to_string(self.folder.join("var/lib/dpkg/status")).unwrap_or_default();
        let stanza = status.split("\n\n").find(|stanza| stanza.starts_with(&format!("Package: {package}\n")));
        let version = stanza.and_then(|stanza| stanza.lines().find_map(|line| line.strip_prefix("Version: ")));
        format!("{package} {}", version.unwrap_or("of no version"))
    }
}

/// Runs it with its words in a log; the error has the last of them.
fn run(command: &mut Command, log: &Path) -> Result<()> {
    let file = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
    let ended = command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file).status().context("cannot start")?;
    if !ended.success() {
        let text = fs::read_to_string(log).unwrap_or_default();
        bail!("{}; all of it is in {}", reason(&text).unwrap_or("it says nothing"), log.display());
    }
    Ok(())
}

/// The last line that is called an error, or else the last line: a shell that does not find a program calls it nothing.
fn reason(log: &str) -> Option<&str> {
    let lines = || log.lines().rev().map(str::trim).filter(|line| !line.is_empty());
    lines().find(|line| line.contains("rror") || line.starts_with("E: ")).or_else(|| lines().next())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_is_told_with_its_last_line() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("build.log");
        for (script, says) in [
            (
                "echo begun; echo 'enter: 5: exec: chroot: not found' >&2; echo; exit 127",
                "enter: 5: exec: chroot: not found",
            ),
            ("echo 'error: no such crate'; echo 'a hint'; exit 101", "error: no such crate"),
            ("exit 1", "it says nothing"),
        ] {
            let error = run(Command::new("sh").args(["-c", script]), &log).unwrap_err().to_string();
            assert_eq!(error, format!("{says}; all of it is in {}", log.display()));
        }
    }

    #[test]
    fn the_program_that_enters_the_folder_is_found_where_it_is_looked_for() {
        assert!(std::env::split_paths(PATH).any(|folder| folder.join("chroot").is_file()));
    }
}
