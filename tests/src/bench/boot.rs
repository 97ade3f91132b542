//! From `start` to the first picture, ours and raw QEMU's: the same guest, both seen from the outside by polling
//! pictures.

use super::raw_qemu::RawQemu;
use super::{Row, median, row_or_why};
use crate::host::Host;
use anyhow::{Result, ensure};
use std::time::{Duration, Instant};

/// Longest boot that is waited for.
const LIMIT: Duration = Duration::from_secs(120);
const ROUNDS: usize = 3;

fn ours(name: &str, text: &str) -> Result<f64> {
    let mut host = Host::start(&[(name, text.to_owned())])?;
    let start = Instant::now();
    host.run(&["start", name])?;
    loop {
        ensure!(start.elapsed() < LIMIT, "no picture");
        let drawn = host.guest(name)?.scanouts.first().is_some_and(|s| s.presented > 0);
        if drawn && host.capture(&["--guest", name])?.colours() > 2 {
            return Ok(start.elapsed().as_secs_f64() * 1000.0);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn raw(cmdline: &str) -> Result<f64> {
    let (kernel, initrd) = (phyllome_test_guests::guest_kernel()?, phyllome_test_guests::guest_initrd()?);
    let start = Instant::now();
    let mut qemu = RawQemu::start(&kernel, &initrd, cmdline)?;
    loop {
        ensure!(start.elapsed() < LIMIT, "no picture");
        if qemu.has_picture()? {
            return Ok(start.elapsed().as_secs_f64() * 1000.0);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The row about boots.
pub fn rows(name: &str, text: &str, cmdline: &str) -> Vec<Row> {
    let measured = || -> Result<Row> {
        let (mut mine, mut peers) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            mine.push(ours(name, text)?);
            peers.push(raw(cmdline)?);
        }
        Ok(Row::beside("boot_start_to_picture", "ms", median(mine), "raw QEMU, screendump", median(peers), 1.05))
    };
    vec![row_or_why("boot_start_to_picture", "ms", 1.05, measured())]
}
