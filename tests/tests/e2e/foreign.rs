//! A guest in a window of somebody else's compositor.

use crate::{BOOT, guest};
use anyhow::{Context, Result, ensure};
use phyllome_test_guests::Mode;
use phyllome_tests::host::Host;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn e2e_a_guest_is_shown_by_weston() -> Result<()> {
    let (name, text) = guest("work", 1, "red", Mode::Animate);
    let host = Host::prepare(Default::default(), &[(&name, text)])?;
    let weston = std::process::Command::new("weston")
        .args([
            "--backend=headless-backend.so",
            "--shell=kiosk-shell.so",
            "--width=800",
            "--height=600",
            "--socket=foreign",
        ])
        .args(["--no-config", "--idle-time=0"])
        .env("XDG_RUNTIME_DIR", host.runtime())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("weston does not start")?;
    let _weston = Ended(weston);
    let end = Instant::now() + Duration::from_secs(20);
    while !host.runtime().join("foreign").exists() {
        ensure!(Instant::now() < end, "weston made no socket");
        std::thread::sleep(Duration::from_millis(10));
    }
    let mut command = host.command("phyllome-guest")?;
    command.args(["run", "work", "--config"]).arg(host.config()).env("WAYLAND_DISPLAY", "foreign");
    let _guest = Ended(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?);
    // The shell that starts later adopts the control connection; its report says what weston presented.
    let control = host.runtime().join("phyllome/guests/work/control.sock");
    let end = Instant::now() + BOOT;
    loop {
        ensure!(Instant::now() < end, "weston presented nothing");
        if let Ok(report) = phyllome_tests::control::report(&control)
            && report.scanouts.first().is_some_and(|s| s.presented > 10 && (s.width, s.height) == (800, 600))
        {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}
