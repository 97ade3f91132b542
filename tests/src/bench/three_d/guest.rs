//! One guest on one device: the machine's disk with Debian's Mesa, started on the same QEMU with the same memory and
//! processors whatever its display device is, without a shell before it.

use super::cpu;
use super::root::{Bind, Root};
use anyhow::{Context, Result, bail, ensure};
use phyllome_test_machine::{Listener, Program, Remote};
use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Seconds when alone, minutes on a busy computer.
const BOOT: Duration = Duration::from_secs(300);
const LIMIT: Duration = Duration::from_secs(300);
/// Where the program that draws is in the guest.
const SCENE: &str = "/usr/local/bin/phyllome-gl-scene";
/// From the first frame to where frames count, and how long they do.
const SETTLE: Duration = Duration::from_millis(500);
const SPAN: Duration = Duration::from_secs(2);
/// What a scene lasts, in seconds of the guest's clock: longer than both.
const LASTS: u32 = 4;

/// Where the folder of a guest is inside; its sockets lie there.
pub const FOLDER: &str = "/bench/guest";
/// Where our programs are inside.
pub const PROGRAMS: &str = "/bench/programs";

/// The display device of a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// phyllome-guest's with a renderer.
    Ours,
    /// The same with virgl's first capset alone, which is what guests get of vhost-device-gpu: OpenGL 3.3, where ours
    /// have 4.3.
    OursAlike,
    /// phyllome-guest's without 3D: the guest's own processor draws.
    Flat,
    /// vhost-device-gpu.
    Peer,
    /// QEMU's own virtio-gpu-gl.
    Qemu,
    /// QEMU's contrib vhost-user-gpu with virgl.
    Contrib,
}

impl Kind {
    /// Its device process as the root's program on `gpu.sock`; none where QEMU is the device.
    pub fn device(self, root: &Root, folder: &Path) -> Result<Option<Command>> {
        let ours = crate::programs::program("phyllome-guest")?;
        let programs = ours.parent().context("a program without a folder")?;
        let binds: [Bind<'_>; 2] = [(folder, FOLDER), (programs, PROGRAMS)];
        let socket = format!("{FOLDER}/gpu.sock");
        let (program, arguments): (String, &[&str]) = match self {
            Self::Qemu => return Ok(None),
            Self::Ours => (
                format!("{PROGRAMS}/phyllome-guest"),
                &["device", "--scanouts", "1", "--present-at-once", "--3d", "--socket-path"],
            ),
            Self::OursAlike => (
                format!("{PROGRAMS}/phyllome-guest"),
                &["device", "--scanouts", "1", "--present-at-once", "--3d", "--capset", "1", "--socket-path"],
            ),
            Self::Flat => (
                format!("{PROGRAMS}/phyllome-guest"),
                &["device", "--scanouts", "1", "--present-at-once", "--socket-path"],
            ),
            Self::Peer => (root.peer()?, &["--gpu-mode", "virglrenderer", "--socket-path"]),
            Self::Contrib => ("/usr/lib/qemu/vhost-user-gpu".to_owned(), &["--virgl", "--socket-path"]),
        };
        let mut command = root.command(&binds, &program);
        command.args(arguments).arg(socket);
        Ok(Some(command))
    }
}

/// What a scene came to.
#[derive(Clone, Copy, Debug)]
pub struct Frames {
    /// Frames in a second, as the guest says.
    pub fps: f64,
    /// Milliseconds of this computer's processors for a frame: QEMU, device and renderer.
    pub cpu: f64,
}

/// A running guest; ended when dropped.
pub struct Guest {
    remote: Remote,
    processes: Vec<Child>,
    /// What its GL says of itself.
    pub renderer: String,
    _folder: tempfile::TempDir,
}

impl Guest {
    /// Starts it and waits until its agent answers.
    pub fn boot(root: &Root, kind: Kind) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("phyllome-bench").tempdir()?;
        let mut processes = Ended(Vec::new());
        let logged = |command: &mut Command, name: &str| -> Result<Child> {
            let log = File::create(folder.path().join(name))?;
            command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
            command.spawn().with_context(|| format!("cannot start {name}"))
        };
        if let Some(mut device) = kind.device(root, folder.path())? {
            processes.0.push(logged(&mut device, "device")?);
            let end = Instant::now() + Duration::from_secs(20);
            while !folder.path().join("gpu.sock").exists() {
                let ended = processes.0.iter_mut().any(|child| !matches!(child.try_wait(), Ok(None)));
                if ended || Instant::now() > end {
                    bail!("the device does not start: {}", last_words(folder.path(), "device"));
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        let listener = Listener::open()?;
        let parts = listener.parts(folder.path())?;
        let images = parts.kernel.parent().context("a kernel without a folder")?.canonicalize()?;
        let disks = parts.initrd.parent().context("an initial RAM disk without a folder")?.canonicalize()?;
        let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let binds: [Bind<'_>; 3] = [(folder.path(), FOLDER), (&images, "/bench/image"), (&disks, "/bench/initrd")];
        let mut qemu = root.command(&binds, "qemu-system-x86_64");
        qemu.env("TMPDIR", FOLDER).env("XDG_RUNTIME_DIR", FOLDER).env("SDL_VIDEODRIVER", "offscreen");
        qemu.args([
            "-M",
            "q35,memory-backend=m0",
            "-accel",
            "tcg,thread=multi",
            "-cpu",
            "max",
            "-smp",
            "2",
            "-m",
            "1G",
        ]);
        qemu.args(["-object", "memory-backend-memfd,id=m0,size=1G,share=on", "-nodefaults", "-no-user-config"]);
        qemu.args(["-vga", "none", "-serial"]).arg(format!("file:{FOLDER}/serial"));
        qemu.args(["-drive", "file=/bench/image/disk.ext4,format=raw,if=virtio,snapshot=on"]);
        qemu.args(["-netdev", "user,id=n0", "-device", "virtio-net-pci,netdev=n0"]);
        qemu.arg("-kernel").arg(format!("/bench/image/{}", name(&parts.kernel)));
        qemu.arg("-initrd").arg(format!("/bench/initrd/{}", name(&parts.initrd)));
        qemu.args(["-append", &listener.cmdline()?]);
        if kind == Kind::Qemu {
            qemu.args(["-display", "sdl,gl=on", "-device", "virtio-gpu-gl-pci"]);
        } else {
            qemu.args(["-display", "none", "-chardev", &format!("socket,id=vg,path={FOLDER}/gpu.sock")]);
            qemu.args(["-device", "vhost-user-gpu-pci,chardev=vg"]);
        }
        processes.0.push(logged(&mut qemu, "qemu")?);
        let remote = listener.accept(BOOT, || {
            for (child, name) in
                processes.0.iter_mut().zip(if kind == Kind::Qemu { ["qemu", ""] } else { ["device", "qemu"] })
            {
                if !matches!(child.try_wait(), Ok(None)) {
                    bail!("its {name} has ended: {}", last_words(folder.path(), name));
                }
            }
            Ok(())
        });
        let remote = remote.with_context(|| format!("no guest {}", last_words(folder.path(), "serial")))?;
        let mut guest =
            Self { remote, processes: std::mem::take(&mut processes.0), renderer: String::new(), _folder: folder };
        let scene = std::fs::read(crate::programs::program("phyllome-gl-scene")?)?;
        guest.remote.write(SCENE, 0o755, &scene)?;
        let said = guest.run(&format!("{SCENE} frames 64 64 1"))?;
        let line = said.lines().find_map(|line| line.strip_prefix("GL_RENDERER:"));
        guest.renderer = line.with_context(|| format!("no renderer is named: {said}"))?.trim().to_owned();
        let flat = guest.renderer.contains("llvmpipe") && !guest.renderer.contains("virgl");
        ensure!(flat == (kind == Kind::Flat), "the guest draws with {}", guest.renderer);
        Ok(guest)
    }

    fn run(&self, script: &str) -> Result<String> {
        self.remote.run_within(&Program::script(script).user("root"), LIMIT)?.ok()
    }

    /// Draws the scene off screen in this size, and `how`: `frames` each to its end, or as a `stream`.
    pub fn scene(&self, how: &str, (width, height): (u32, u32)) -> Result<Frames> {
        let script = format!("exec {SCENE} {how} {width} {height} {LASTS}");
        let running = self.remote.spawn("scene", &Program::script(&script).user("root"))?;
        running.wait_output("BEGIN", LIMIT)?;
        std::thread::sleep(SETTLE);
        let pids: Vec<u32> = self.processes.iter().map(Child::id).collect();
        let (start, before) = (Instant::now(), cpu::seconds(&pids)?);
        std::thread::sleep(SPAN);
        let busy = (cpu::seconds(&pids)? - before) / start.elapsed().as_secs_f64();
        // It says so only if its last frame was the scene.
        let said = running.wait_output("DONE", LIMIT)?;
        let fps = fps(&said).with_context(|| format!("no figure in {said}"))?;
        running.wait(LIMIT)?;
        Ok(Frames { fps, cpu: busy * 1000.0 / fps })
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        drop(Ended(std::mem::take(&mut self.processes)));
    }
}

/// Processes that end when this is dropped: QEMU first, which was started last.
struct Ended(Vec<Child>);

impl Drop for Ended {
    fn drop(&mut self) {
        for child in self.0.iter_mut().rev() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn fps(said: &str) -> Option<f64> {
    said.split("FPS ").nth(1)?.split_whitespace().next()?.parse().ok().filter(|fps| *fps > 0.0)
}

/// The end of one of its logs, as one line.
pub fn last_words(folder: &Path, name: &str) -> String {
    let text = std::fs::read(folder.join(name)).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines.get(lines.len().saturating_sub(3)..).unwrap_or_default().join(" / ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_found_in_what_the_scene_says() {
        assert_eq!(fps("BEGIN\nFPS 68.5\nDONE 64x64\n"), Some(68.5));
        assert_eq!(fps("BEGIN\nFPS 0.0\n"), None);
        assert_eq!(fps("BEGIN\n"), None);
    }
}
