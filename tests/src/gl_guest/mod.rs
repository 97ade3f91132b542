//! A guest of the shell that has Mesa: Debian's userland from the disk of the KMS test machine, with its agent reached
//! over the guest's network, so that a test starts programs inside, hears what they say, and sees on the shell's screen
//! what they draw.
//!
//! ```text
//! let mut guest = GlGuest::boot(&GlOptions::default())?;
//! let said = guest.run("eglinfo -B -p gbm")?.ok()?;
//! let cube = guest.spawn("kmscube", "exec kmscube")?;
//! guest.wait_picture("a cube", |picture| picture.colours() > 256)?;
//! ```

pub mod compare;
pub mod cursor;

use crate::host::{Host, HostOptions};
use crate::picture::Picture;
use crate::programs::program;
use anyhow::{Context, Result, bail, ensure};
use phyllome_protocol::status::{Area, GpuStatus, GuestState, GuestStatus};
use phyllome_test_machine::{Listener, Output, Program, Remote, RemoteProcess};
use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A start takes a quarter of a minute alone, and minutes on a busy computer.
pub const BOOT: Duration = Duration::from_secs(240);
/// GL starts slowly on an emulated processor: Mesa is read from the disk, and shaders are compiled.
pub const GL: Duration = Duration::from_secs(120);

/// The guest's name.
pub const NAME: &str = "gl";
const SUMS: &str = "/usr/local/bin/phyllome-vulkan-sums";
const SCENE: &str = "/usr/local/bin/phyllome-gl-scene";

/// What the guest is made of.
#[derive(Clone, Debug)]
pub struct GlOptions {
    /// Memory in MiB.
    pub memory_mib: u32,
    /// Processors.
    pub cpus: u32,
    /// `gpu.mode` of its file.
    pub mode: &'static str,
    /// `gpu.transport` of its file.
    pub transport: &'static str,
    /// `gpu.scanouts` of its file.
    pub scanouts: u32,
    /// The shell that shows it.
    pub host: HostOptions,
    /// More variables of the shell's environment, which its guests inherit.
    pub environment: Vec<(String, String)>,
}

impl Default for GlOptions {
    fn default() -> Self {
        Self {
            memory_mib: 1024,
            cpus: 2,
            mode: "3d",
            transport: "auto",
            scanouts: 1,
            host: HostOptions::default(),
            environment: Vec::new(),
        }
    }
}

/// A running guest with the shell that shows it.
pub struct GlGuest {
    /// The shell.
    pub host: Host,
    remote: Remote,
    booted: Duration,
}

impl Deref for GlGuest {
    type Target = Host;

    fn deref(&self) -> &Host {
        &self.host
    }
}

impl DerefMut for GlGuest {
    fn deref_mut(&mut self) -> &mut Host {
        &mut self.host
    }
}

impl GlGuest {
    /// Why there can be no such guest here; nothing where there can.
    pub fn obstacle() -> Option<String> {
        phyllome_test_machine::image::obstacle()
    }

    /// Starts a shell with the guest, and waits until the guest's agent answers. Makes the disk's image first where
    /// there is none.
    pub fn boot(options: &GlOptions) -> Result<Self> {
        let mut host = Host::prepare(options.host.clone(), &[])?;
        let listener = Listener::open()?;
        let parts = listener.parts(host.path())?;
        let text = format!(
            "profile = \"linux\"\nslot = 1\nmemory = \"{}MiB\"\ncpus = {}\n[label]\ncolor = \"blue\"\n\
             [machine]\naccel = \"tcg\"\nfirmware = \"none\"\n\
             [boot]\nkernel = \"{}\"\ninitrd = \"{}\"\ncmdline = \"{}\"\n\
             [[disk]]\npath = \"{}\"\nbacking = \"{}\"\n[network]\nmode = \"user\"\n[gpu]\nmode = \"{}\"\ntransport = \"{}\"\nscanouts = {}\n",
            options.memory_mib,
            options.cpus,
            parts.kernel.display(),
            parts.initrd.display(),
            listener.cmdline()?,
            parts.disk.display(),
            parts.backing.display(),
            options.mode,
            options.transport,
            options.scanouts,
        );
        host.write_guest(NAME, &text)?;
        host.set_environment(options.environment.clone());
        host.start_shell()?;
        let start = Instant::now();
        host.run(&["start", NAME])?;
        let remote = listener.accept(BOOT, || {
            let guest = host.guest(NAME)?;
            if matches!(guest.state, GuestState::Crashed | GuestState::Stopped) {
                bail!("the guest is {}: {:?}; {}", guest.state.word(), guest.message, last_words(&host));
            }
            Ok(())
        });
        let remote = remote.with_context(|| format!("the guest's last words: {}", last_words(&host)))?;
        Ok(Self { host, remote, booted: start.elapsed() })
    }

    /// How long it took from the start to the agent's first word.
    pub fn boot_time(&self) -> Duration {
        self.booted
    }

    /// The agent inside, for what [`Self::run`] and [`Self::spawn`] lack.
    pub fn remote(&self) -> &Remote {
        &self.remote
    }

    /// Runs a script as root to its end, for at most [`GL`].
    pub fn run(&self, script: &str) -> Result<Output> {
        self.run_within(script, GL)
    }

    /// The same with another limit.
    pub fn run_within(&self, script: &str, limit: Duration) -> Result<Output> {
        self.remote.run_within(&Program::script(script).user("root"), limit).with_context(|| format!("`{script}`"))
    }

    /// Starts a script as root that goes on. `exec PROGRAM`, so that signals go to the program.
    pub fn spawn(&self, name: &str, script: &str) -> Result<RemoteProcess> {
        self.remote.spawn(name, &Program::script(script).user("root"))
    }

    /// The guest in the shell's status.
    pub fn status_of_guest(&mut self) -> Result<GuestStatus> {
        self.host.guest(NAME)
    }

    /// Its GPU in the shell's status.
    pub fn gpu(&mut self) -> Result<GpuStatus> {
        Ok(self.status_of_guest()?.gpu)
    }

    /// Where its picture is on the first output.
    pub fn area(&mut self) -> Result<Area> {
        Ok(self.host.status()?.outputs.first().context("the shell has no output")?.guest_area)
    }

    /// What it shows on the first output, without the shell's frame.
    pub fn picture(&mut self) -> Result<Picture> {
        let area = self.area()?;
        Ok(self.host.screenshot()?.crop(area))
    }

    /// Waits until what it shows satisfies a condition; the last picture of a failure is kept as a file that the error
    /// names.
    pub fn wait_picture(&mut self, what: &str, condition: impl Fn(&Picture) -> bool) -> Result<Picture> {
        let area = self.area()?;
        let whole = self.host.wait_picture(what, GL, |picture| condition(&picture.crop(area)))?;
        Ok(whole.crop(area))
    }

    /// Waits until what it shows is like another picture, and gives how far it is from it.
    pub fn wait_like(&mut self, what: &str, other: &Picture, allowed: compare::Allowed) -> Result<compare::Distance> {
        let picture =
            self.wait_picture(what, |picture| compare::distance(picture, other).is_ok_and(|d| allowed.holds(d)));
        if picture.is_err() {
            let kept = std::env::temp_dir().join(format!("phyllome-wanted-{}.png", what.replace(' ', "-")));
            other.write(&kept)?;
            eprintln!("what was wanted is {}", kept.display());
        }
        compare::distance(&picture?, other)
    }

    /// Writes lines on the guest's first virtual terminal, which its kernel draws without GL, and waits until they are
    /// seen.
    pub fn wait_console(&mut self) -> Result<Picture> {
        // Sixteen rows of blue ground, which no program of these tests has.
        self.run("printf '\\033[2J\\033[H\\033[44m' > /dev/tty1; for row in $(seq 16); do printf '%80s\\n' up > /dev/tty1; done; \
             printf '\\033[0m' > /dev/tty1; chvt 1")?
            .ok()?;
        let blue = |picture: &Picture| picture.count([0, 0, 0xaa]) * 16 > (picture.width * picture.height) as usize;
        self.wait_picture("the guest's console", blue)
    }

    /// Brings `phyllome-gl-scene` (see its own words) into the guest.
    pub fn install_scene(&self) -> Result<()> {
        let stripped = self.host.path().join("scene");
        strip(&program("phyllome-gl-scene")?, &stripped)?;
        self.remote.write(SCENE, 0o755, &std::fs::read(stripped)?)
    }

    /// Brings `phyllome-vulkan-sums` (see its own words) into the guest, and gives where it is.
    pub fn install_sums(&self) -> Result<&'static str> {
        let stripped = self.host.path().join("sums");
        strip(&program("phyllome-vulkan-sums")?, &stripped)?;
        self.remote.write(SUMS, 0o755, &std::fs::read(stripped)?)?;
        Ok(SUMS)
    }

    /// Draws the scene's first frames on the guest's screen and leaves the last one there. Gives the program, and that
    /// frame as the guest's GL reads it back. `environment` stands before the command.
    pub fn scene_on_screen(&self, environment: &str, frames: u32) -> Result<(RemoteProcess, Picture)> {
        let scene = self.spawn("scene", &format!("{environment} exec {SCENE} screen /tmp/scene.ppm {frames}"))?;
        scene.wait_output("DONE ", GL)?;
        Ok((scene, Picture::parse_ppm(&self.remote.read("/tmp/scene.ppm")?)?))
    }

    /// The scene's last frame as the guest's own processor draws it.
    pub fn scene_in_software(&self, width: u32, height: u32, frames: u32) -> Result<Picture> {
        let command = format!("LIBGL_ALWAYS_SOFTWARE=1 {SCENE} pixels /tmp/software.ppm {width} {height} {frames}");
        let said = self.run(&command)?.ok()?;
        ensure!(said.contains("llvmpipe"), "not drawn in software: {said}");
        Picture::parse_ppm(&self.remote.read("/tmp/software.ppm")?)
    }
}

fn last_words(host: &Host) -> String {
    let serial = host.serial(NAME);
    let lines: Vec<_> = serial.lines().collect();
    lines.get(lines.len().saturating_sub(8)..).unwrap_or_default().join("\n")
}

/// Copies a program without its debug information, which is most of it.
fn strip(program: &Path, target: &Path) -> Result<()> {
    let mut strip = Command::new("strip");
    strip.arg("-o").arg(target).arg(program).stderr(Stdio::null());
    if !strip.status().is_ok_and(|status| status.success()) {
        std::fs::copy(program, target).with_context(|| format!("cannot copy {}", program.display()))?;
    }
    Ok(())
}
