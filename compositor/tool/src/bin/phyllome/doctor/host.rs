//! The rest of the host: programs, folders, buffers, GPU, limits.

use super::{Check, run_for};
use phyllome_protocol::runtime::RuntimeDir;
use phyllome_protocol::start;
use phyllome_protocol::text::printable;
use rustix::process::{Resource, getrlimit};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Locked memory that GPU drivers and io_uring take without complaint.
const MEMLOCK: u64 = 8 << 20;

pub(super) fn guest_program() -> Check {
    if is_installed(&start::program("phyllome-guest")) {
        return Check::fine("phyllome-guest", "phyllome-guest is installed");
    }
    let mend = "install phyllome-guest beside phyllome, or in a folder of PATH";
    Check::broken("phyllome-guest", "phyllome-guest was not found", "no guest can be started", mend)
}

/// Whether what [`start::program`] has said can be started.
fn is_installed(program: &Path) -> bool {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    program.is_absolute() || std::env::split_paths(&folders).any(|folder| folder.join(program).is_file())
}

pub(super) fn runtime_folder() -> Check {
    match RuntimeDir::open() {
        Ok(runtime) => Check::fine("runtime-folder", format!("{} is private", runtime.path().display())),
        Err(error) => {
            let mend = "log in through a session that makes the folder, or set XDG_RUNTIME_DIR to one of mode 0700";
            Check::broken("runtime-folder", error.to_string(), "the shell does not start", mend)
        }
    }
}

pub(super) fn udmabuf() -> Check {
    match File::options().read(true).write(true).open("/dev/udmabuf") {
        Ok(_) => Check::fine("udmabuf", "/dev/udmabuf opens; pictures go to the GPU without a copy"),
        Err(error) => Check::costs(
            "udmabuf",
            format!("/dev/udmabuf does not open: {error}"),
            "pictures reach the display through shared memory: one more copy of what has changed",
            "load the module udmabuf, and give yourself the device (often the group kvm)",
        ),
    }
}

pub(super) fn render_node() -> Check {
    let nodes: Vec<PathBuf> = std::fs::read_dir("/dev/dri")
        .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
        .unwrap_or_default();
    let mut nodes: Vec<_> = nodes.into_iter().filter(|path| is_render_node(path)).collect();
    nodes.sort();
    let cost = "guests have no 3D, and the shell draws with the processor";
    let Some(first) = nodes.first() else {
        let mend = "install the driver of this machine's GPU";
        return Check::costs("render-node", "there is no render node in /dev/dri", cost, mend);
    };
    match nodes.iter().find(|path| File::options().read(true).write(true).open(path).is_ok()) {
        Some(path) => Check::fine("render-node", format!("{} opens", path.display())),
        None => {
            let finding = format!("{} does not open", first.display());
            Check::costs("render-node", finding, cost, "add yourself to the group render, then log in again")
        }
    }
}

fn is_render_node(path: &Path) -> bool {
    path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with("renderD"))
}

/// What the shell would draw with; it is the shell that says it, since it is the shell that draws.
pub(super) fn egl() -> Check {
    egl_with(&start::program("phyllome-shell"), &["--probe-egl"])
}

fn egl_with(program: &Path, arguments: &[&str]) -> Check {
    let cost = "the shell draws with the processor (--renderer pixman)";
    let mend = "install Mesa's EGL (Debian: libegl1 and libgl1-mesa-dri, Fedora: mesa-libEGL and mesa-dri-drivers)";
    if !is_installed(program) {
        let mend = "install phyllome-shell beside phyllome, or in a folder of PATH";
        return Check::costs("egl", "EGL was not tried: phyllome-shell was not found", "there is no shell", mend);
    }
    match run_for(program, arguments, Duration::from_secs(20)) {
        Ok(output) if output.status.success() => {
            let name = printable(String::from_utf8_lossy(&output.stdout).trim(), 120);
            let software = ["llvmpipe", "softpipe", "swrast"].iter().any(|word| name.contains(word));
            if software {
                let finding = format!("EGL draws with the processor: {name}");
                return Check::costs("egl", finding, "the picture takes processor time", "use a machine with a GPU");
            }
            Check::fine("egl", format!("EGL draws with {name}"))
        }
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            let last = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("its driver crashed").trim();
            Check::costs("egl", format!("EGL does not start: {}", printable(last, 200)), cost, mend)
        }
        Err(sentence) => Check::costs("egl", format!("EGL does not start: {sentence}"), cost, mend),
    }
}

pub(super) fn memlock() -> Check {
    let limit = getrlimit(Resource::Memlock).current;
    match limit {
        None => Check::fine("memlock", "locked memory is not limited"),
        Some(limit) if limit >= MEMLOCK => Check::fine("memlock", format!("{} MiB may be locked", limit >> 20)),
        Some(limit) => Check::costs(
            "memlock",
            format!("only {} KiB may be locked", limit >> 10),
            "GPU drivers that lock memory may refuse big buffers",
            "raise memlock to 64 MiB in /etc/security/limits.conf or in the service's unit (LimitMEMLOCK)",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Verdict;

    fn probed(script: &str) -> Check {
        egl_with(Path::new("/bin/sh"), &["-c", script])
    }

    #[test]
    fn without_a_shell_egl_is_not_tried() {
        let check = egl_with(Path::new("no-such-program"), &[]);
        assert_eq!(check.verdict, Verdict::Costs);
        assert_eq!(check.finding, "EGL was not tried: phyllome-shell was not found");
    }

    #[test]
    fn an_egl_probe_that_fails_is_a_finding_in_its_own_words() {
        let check = probed("echo no display >&2; exit 1");
        assert_eq!((check.verdict, check.finding.as_str()), (Verdict::Costs, "EGL does not start: no display"));
        assert_eq!(probed("kill -SEGV $$").finding, "EGL does not start: its driver crashed");
    }

    #[test]
    fn a_software_renderer_is_told_from_a_gpu() {
        let named = |name: &str| probed(&format!("echo '{name}'")).verdict;
        assert_eq!(named("llvmpipe (LLVM 15.0.6, 256 bits)"), Verdict::Costs);
        assert_eq!(named("Mesa Intel(R) Graphics"), Verdict::Fine);
    }

    #[test]
    fn render_nodes_are_told_by_name() {
        assert!(is_render_node(Path::new("/dev/dri/renderD128")));
        assert!(!is_render_node(Path::new("/dev/dri/card0")));
    }
}
