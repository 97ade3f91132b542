//! The agent in a guest of the shell, which has the machine's disk but neither its port nor its shared folder: it
//! connects to the test over the guest's network, and says a word that only its kernel's command line held.
//!
//! The listening socket is this computer's loopback, which QEMU's user network shows a guest as 10.0.2.2.

use crate::agent::{Agent, wire};
use crate::image::{self, Image};
use crate::initrd;
use crate::inside::{Inside, SOON};
use crate::program::{Process, Program};
use anyhow::{Context, Result, bail, ensure};
use std::fs;
use std::io::Read;
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// What a guest boots: the machine's kernel and initial RAM disk, and a disk of its own over the machine's.
#[derive(Clone, Debug)]
pub struct Parts {
    /// The kernel.
    pub kernel: PathBuf,
    /// The initial RAM disk.
    pub initrd: PathBuf,
    /// A qcow2 image in the folder that was asked for; what the guest writes stays in it.
    pub disk: PathBuf,
    /// The image that it stands on.
    pub backing: PathBuf,
}

/// Waits for a guest's agent.
pub struct Listener {
    socket: TcpListener,
    word: String,
}

impl Listener {
    /// Begins to listen on a free port.
    pub fn open() -> Result<Self> {
        let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("cannot listen on the loopback")?;
        socket.set_nonblocking(true)?;
        let mut bytes = [0; 16];
        fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
        Ok(Self { socket, word: bytes.iter().map(|byte| format!("{byte:02x}")).collect() })
    }

    /// What the guest's disk and kernel are: the image is made first where there is none. The disk is written to
    /// `folder`.
    pub fn parts(&self, folder: &Path) -> Result<Parts> {
        let image = image::ensure()?;
        let disk = folder.join("root.qcow2");
        overlay(&image, &disk)?;
        Ok(Parts { kernel: image.kernel(), initrd: initrd::ensure(&image)?, disk, backing: image.disk() })
    }

    /// The kernel's command line that leads the guest's agent here.
    pub fn cmdline(&self) -> Result<String> {
        let port = self.socket.local_addr()?.port();
        Ok(format!(
            "console=tty0 console=ttyS0 loglevel=4 panic=-1 mitigations=off nokaslr tsc=reliable audit=0 selinux=0 apparmor=0 \
             machine.init=agent machine.agent=10.0.2.2:{port} machine.word={}",
            self.word
        ))
    }

    /// The agent, if it connects within this time. `look` is asked ten times a second whether the guest is still there.
    pub fn accept(&self, limit: Duration, mut look: impl FnMut() -> Result<()>) -> Result<Remote> {
        let deadline = Instant::now() + limit;
        loop {
            match self.socket.accept() {
                Ok((stream, _)) => {
                    stream.set_nonblocking(false)?;
                    stream.set_nodelay(true)?;
                    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
                    // Whoever does not know the word is not the guest.
                    let first = wire::read(&mut &stream).unwrap_or_default();
                    if first.get(3).is_some_and(|word| *word == self.word.as_bytes()) {
                        stream.set_read_timeout(None)?;
                        let agent = Agent::over(stream.try_clone()?, Box::new(stream));
                        let inside = Inside { agent: Arc::new(agent), place: "guest" };
                        return Ok(Remote { inside, next: AtomicU32::new(0) });
                    }
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    std::thread::sleep(Duration::from_millis(100));
                }
                Err(error) => return Err(error).context("cannot wait for the guest's agent"),
            }
            look()?;
            ensure!(Instant::now() < deadline, "the guest's agent is silent after {limit:?}");
        }
    }
}

/// A disk over the machine's, which stays as it is.
fn overlay(image: &Image, disk: &Path) -> Result<()> {
    let mut command = Command::new("qemu-img");
    command.args(["create", "-q", "-f", "qcow2", "-F", "raw", "-b"]).arg(image.disk()).arg(disk);
    let done = command.output().context("cannot run qemu-img; `cargo xtask setup` installs it")?;
    ensure!(done.status.success(), "qemu-img: {}", String::from_utf8_lossy(&done.stderr).trim());
    Ok(())
}

/// A guest with its agent.
pub struct Remote {
    inside: Inside,
    next: AtomicU32,
}

impl Deref for Remote {
    type Target = Inside;

    fn deref(&self) -> &Inside {
        &self.inside
    }
}

impl Remote {
    /// Starts a program that goes on; what it writes to both its outputs is read by [`RemoteProcess::output`].
    pub fn spawn(&self, name: &str, program: &Program) -> Result<RemoteProcess> {
        let log = format!("/tmp/out-{}-{name}.log", self.next.fetch_add(1, Ordering::Relaxed));
        let answer = self.ask(&program.request("spawn", &log, &log), SOON)?;
        let pid = String::from_utf8_lossy(answer.first().context("no process id")?).parse()?;
        let process = Process { agent: self.inside.agent.clone(), pid, name: name.to_owned(), log: PathBuf::new() };
        Ok(RemoteProcess { process, log })
    }
}

/// A program that was started in a guest and goes on.
pub struct RemoteProcess {
    process: Process,
    log: String,
}

impl Deref for RemoteProcess {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}

impl RemoteProcess {
    /// What it has written so far, both outputs.
    pub fn output(&self) -> Result<String> {
        let answer = self.process.agent.ask(&[b"read", self.log.as_bytes()], SOON)?;
        Ok(String::from_utf8_lossy(answer.first().context("an empty answer")?).into_owned())
    }

    /// Waits until its output holds a text, and gives all of it. An error if it ends before.
    pub fn wait_output(&self, text: &str, limit: Duration) -> Result<String> {
        let deadline = Instant::now() + limit;
        loop {
            let ended = self.process.ended()?;
            let output = self.output()?;
            if output.contains(text) {
                return Ok(output);
            }
            if let Some(status) = ended {
                bail!("{} ended with {status} and had not said {text:?}; it said: {output}", self.process.name);
            }
            if Instant::now() > deadline {
                bail!("{} did not say {text:?} within {limit:?}; it said: {output}", self.process.name);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}
