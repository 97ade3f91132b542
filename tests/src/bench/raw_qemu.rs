//! QEMU alone, with its own virtio-gpu and no display: the peer of a boot.

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A running QEMU; ended when dropped.
pub struct RawQemu {
    child: Child,
    qmp: BufReader<UnixStream>,
    folder: tempfile::TempDir,
}

impl RawQemu {
    /// Starts it with direct kernel boot and the same machine as ours.
    pub fn start(kernel: &Path, initrd: &Path, cmdline: &str) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("phyllome-raw").tempdir()?;
        let socket = folder.path().join("qmp");
        let child = Command::new("qemu-system-x86_64")
            .args(["-M", "q35,memory-backend=m0", "-accel", "tcg", "-cpu", "max", "-m", "256M", "-smp", "1"])
            .args([
                "-object",
                "memory-backend-memfd,id=m0,size=256M,share=on",
                "-nodefaults",
                "-no-user-config",
                "-display",
                "none",
            ])
            .args(["-vga", "none", "-device", "virtio-gpu-pci,xres=1272,yres=768", "-device", "virtio-keyboard-pci"])
            .args(["-device", "virtio-tablet-pci", "-append", cmdline, "-kernel"])
            .arg(kernel)
            .arg("-initrd")
            .arg(initrd)
            .args(["-serial", "null", "-qmp", &format!("unix:{},server=on,wait=off", socket.display())])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start qemu-system-x86_64")?;
        let end = Instant::now() + Duration::from_secs(10);
        let stream = loop {
            match UnixStream::connect(&socket) {
                Ok(stream) => break stream,
                Err(_) if Instant::now() < end => std::thread::sleep(Duration::from_millis(2)),
                Err(e) => bail!("QEMU's QMP socket: {e}"),
            }
        };
        let mut qemu = Self { child, qmp: BufReader::new(stream), folder };
        qemu.command(json!({"execute": "qmp_capabilities"}))?;
        Ok(qemu)
    }

    /// One QMP command; gives what it returns.
    pub fn command(&mut self, command: Value) -> Result<Value> {
        let mut line = serde_json::to_vec(&command)?;
        line.push(b'\n');
        self.qmp.get_mut().write_all(&line)?;
        loop {
            let mut text = String::new();
            if self.qmp.read_line(&mut text)? == 0 {
                bail!("QEMU closed its QMP socket");
            }
            let answer: Value = serde_json::from_str(&text)?;
            if let Some(error) = answer.get("error") {
                bail!("QMP: {error}");
            }
            if let Some(value) = answer.get("return") {
                return Ok(value.clone());
            }
        }
    }

    /// Whether the screen shows more than two colours: a console with a coloured name, not one with a cursor alone.
    pub fn has_picture(&mut self) -> Result<bool> {
        let file = self.folder.path().join("dump.ppm");
        let arguments = json!({"execute": "screendump", "arguments": {"filename": file.to_string_lossy()}});
        if self.command(arguments).is_err() {
            return Ok(false);
        }
        let bytes = std::fs::read(&file)?;
        let ends = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1);
        let body = ends.take(3).last().unwrap_or(bytes.len());
        let mut colours = std::collections::HashSet::new();
        for pixel in bytes.get(body..).unwrap_or_default().as_chunks::<3>().0 {
            colours.insert(*pixel);
            if colours.len() > 2 {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl Drop for RawQemu {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
