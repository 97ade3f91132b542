//! The process under test: our device, or QEMU's contrib vhost-user-gpu as the peer.

use anyhow::{Context, Result, bail};
use phyllome_test_support::{process, wait};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A running device process; ended when dropped.
pub struct DeviceProcess {
    child: Child,
    socket: PathBuf,
    folder: tempfile::TempDir,
}

impl DeviceProcess {
    /// Our `phyllome-guest device`, with a screen that presents everything at once.
    pub fn ours(program: &Path, scanouts: u32) -> Result<Self> {
        let scanouts = scanouts.to_string();
        Self::start(program, &["device", "--scanouts", &scanouts, "--present-at-once"])
    }

    /// Our device without any screen: fenced flushes come from the slow timer.
    pub fn ours_without_screen(program: &Path) -> Result<Self> {
        Self::start(program, &["device", "--scanouts", "1"])
    }

    /// Our device with 3D: a renderer for each connection.
    pub fn ours_with_3d(program: &Path, scanouts: u32) -> Result<Self> {
        let scanouts = scanouts.to_string();
        Self::start(program, &["device", "--scanouts", &scanouts, "--present-at-once", "--3d"])
    }

    /// Our device as it is on QEMU's generic transport, without 3D.
    pub fn ours_generic(program: &Path, scanouts: u32) -> Result<Self> {
        let scanouts = scanouts.to_string();
        Self::start(program, &["device", "--scanouts", &scanouts, "--present-at-once", "--generic"])
    }

    /// QEMU's own backend, if it is installed.
    pub fn contrib() -> Result<Option<Self>> {
        let places = ["/usr/lib/qemu/vhost-user-gpu", "/usr/libexec/vhost-user-gpu"];
        let Some(program) = places.iter().map(Path::new).find(|p| p.exists()) else { return Ok(None) };
        Self::start(program, &[]).map(Some)
    }

    fn start(program: &Path, arguments: &[&str]) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("phyllome-device").tempdir()?;
        let socket = folder.path().join("gpu.sock");
        let mut command = Command::new(program);
        command.args(arguments);
        if arguments.is_empty() {
            command.arg(format!("--socket-path={}", socket.display()));
        } else {
            command.arg("--socket-path").arg(&socket);
        }
        Self::of(command, folder)
    }

    /// Any device, which listens on `gpu.sock` in this folder.
    pub fn of(mut command: Command, folder: tempfile::TempDir) -> Result<Self> {
        let socket = folder.path().join("gpu.sock");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().with_context(|| format!("cannot start {}", command.get_program().display()))?;
        let mut child = child;
        // The device's words are kept from filling the pipe.
        if let Some(mut stderr) = child.stderr.take() {
            let quiet = std::env::var_os("PHYLLOME_TEST_LOG").is_none();
            std::thread::spawn(move || {
                let mut to: Box<dyn Write + Send> =
                    if quiet { Box::new(std::io::sink()) } else { Box::new(std::io::stderr()) };
                let _ = std::io::copy(&mut stderr, &mut to);
            });
        }
        Ok(Self { child, socket, folder })
    }

    /// Connects, waiting for the socket to appear.
    pub fn connect(&mut self) -> Result<UnixStream> {
        let end = Instant::now() + Duration::from_secs(10);
        loop {
            match UnixStream::connect(&self.socket) {
                Ok(stream) => return Ok(stream),
                Err(_) if Instant::now() < end && self.is_alive() => std::thread::sleep(Duration::from_millis(5)),
                Err(e) => bail!("cannot connect to the device: {e}"),
            }
        }
    }

    /// Whether the process lives.
    pub fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits until `condition` holds of the process.
    pub fn settled(&self, condition: impl Fn(&Self) -> Result<bool>) -> Result<()> {
        let settled = wait::value("a device at rest", Duration::from_secs(10), || Ok(condition(self)?.then_some(())));
        settled.with_context(|| format!("it has {:?} descriptors, {:?} KiB", self.descriptors(), self.rss_anon_kib()))
    }

    /// Waits until what a scanout of our device shows satisfies `condition`: three bytes a pixel, rows without gaps.
    pub fn dump_until(&mut self, scanout: u32, condition: impl Fn(&[u8]) -> bool) -> Result<()> {
        let file = self.folder.path().join("dump.ppm");
        let end = Instant::now() + Duration::from_secs(10);
        loop {
            let answer = self.say(&format!("dump {scanout} {}", file.display()))?;
            if answer.trim() == "dumped" {
                let image = std::fs::read(&file)?;
                let lines = image.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
                let body = lines.map(|(at, _)| at + 1).nth(2).unwrap_or(image.len());
                if condition(&image[body..]) {
                    return Ok(());
                }
            }
            if Instant::now() > end {
                bail!("the picture of scanout {scanout} is another one; the device says {}", answer.trim());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until a scanout of our device has exactly this cursor: 64×64 pixels of B, G, R, A; `None`: no cursor.
    pub fn cursor_is(&mut self, scanout: u32, wanted: Option<&[u8]>) -> Result<()> {
        let file = self.folder.path().join("cursor");
        let mut last = String::new();
        let there = wait::value("the cursor", Duration::from_secs(10), || {
            last = self.say(&format!("cursor {scanout} {}", file.display()))?;
            let found = if last.trim() == "dumped" { Some(std::fs::read(&file)?) } else { None };
            if let (Some(found), Some(wanted)) = (&found, wanted) {
                let at = found.iter().zip(wanted).position(|(found, wanted)| found != wanted);
                last = at.map_or_else(String::new, |at| format!("byte {at} of {} is {}", found.len(), found[at]));
            }
            Ok((found.as_deref() == wanted).then_some(()))
        });
        there.with_context(|| format!("scanout {scanout} has another cursor: {}", last.trim()))
    }

    /// Our device's report as JSON.
    pub fn report(&mut self) -> Result<serde_json::Value> {
        serde_json::from_str(&self.say("report")?).context("the device's report is not JSON")
    }

    /// One line to our device and its answer.
    fn say(&mut self, line: &str) -> Result<String> {
        let stdin = self.child.stdin.as_mut().context("no stdin")?;
        writeln!(stdin, "{line}")?;
        stdin.flush()?;
        let stdout = self.child.stdout.as_mut().context("no stdout")?;
        let mut answer = String::new();
        // One byte at a time: nothing may stay in a buffer that is dropped.
        BufReader::with_capacity(1, stdout).read_line(&mut answer)?;
        Ok(answer)
    }

    /// Nanoseconds of processor time used by all of its threads that live.
    pub fn cpu_ns(&self) -> Result<u64> {
        let mut sum = 0;
        for task in std::fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            let text = std::fs::read_to_string(task?.path().join("schedstat")).unwrap_or_default();
            sum += text.split_whitespace().next().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
        }
        Ok(sum)
    }

    /// Private and shared-anonymous resident memory in KiB, guest memory left out (it is a mapped memfd of ours).
    pub fn rss_anon_kib(&self) -> Result<u64> {
        process::rss_anon_kib(self.child.id())
    }

    /// Open descriptors.
    pub fn descriptors(&self) -> Result<usize> {
        process::descriptors(self.child.id())
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for DeviceProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
