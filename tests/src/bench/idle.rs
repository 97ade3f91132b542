//! What shell and bridge cost while a guest does not draw: wake-ups and resident memory.

use super::Row;
use crate::host::Host;
use anyhow::{Context, Result};
use phyllome_test_support::process::wake_ups;
use std::time::Duration;

/// How long is listened.
const SPAN: Duration = Duration::from_secs(10);

/// A field of /proc/PID/status in MiB.
fn mebibytes(pid: u32, key: &str) -> Result<f64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = text.lines().find_map(|l| l.strip_prefix(key)).with_context(|| format!("no {key}"))?;
    Ok(line.trim().trim_end_matches("kB").trim().parse::<f64>()? / 1024.0)
}

/// Resident memory without what is shared (guest memory and the guest's pictures are memfds).
fn resident(pid: u32) -> Result<f64> {
    Ok(mebibytes(pid, "RssAnon:")? + mebibytes(pid, "RssFile:")?)
}

/// All rows about rest.
pub fn rows(name: &str, text: &str) -> Vec<Row> {
    let measured = || -> Result<Vec<Row>> {
        let mut host = Host::start(&[(name, text.to_owned())])?;
        host.run(&["start", name])?;
        host.wait_serial(name, "PHYLLOME-GUEST-READY", Duration::from_secs(120))?;
        host.wait("a picture", Duration::from_secs(20), |s| {
            s.guests[0].scanouts.first().is_some_and(|x| x.presented > 0)
        })?;
        let (shell, bridge) = (host.shell_pid()?, host.guest(name)?.pid.context("no pid")?);
        // Rest begins when neither has woken up for a second.
        let mut last = (0, 0);
        let mut seconds = 0;
        loop {
            let now = (wake_ups(shell)?, wake_ups(bridge)?);
            if now == last {
                break;
            }
            anyhow::ensure!(seconds < 60, "they do not come to rest: {last:?}, then {now:?}");
            (last, seconds) = (now, seconds + 1);
            std::thread::sleep(Duration::from_secs(1));
        }
        let before = (wake_ups(shell)?, wake_ups(bridge)?);
        std::thread::sleep(SPAN);
        let after = (wake_ups(shell)?, wake_ups(bridge)?);
        Ok(vec![
            Row::alone("idle_wakeups_shell_10s", "times", (after.0 - before.0) as f64, 0.0),
            Row::alone("idle_wakeups_bridge_10s", "times", (after.1 - before.1) as f64, 0.0),
            Row::alone("rss_shell_pixman", "MiB", resident(shell)?, 25.0),
            Row::alone("rss_bridge", "MiB", resident(bridge)?, 12.0),
        ])
    };
    let names = [
        ("idle_wakeups_shell_10s", "times", 0.0),
        ("idle_wakeups_bridge_10s", "times", 0.0),
        ("rss_shell_pixman", "MiB", 25.0),
        ("rss_bridge", "MiB", 12.0),
    ];
    measured().unwrap_or_else(|e| {
        names.iter().map(|(name, unit, goal)| Row::missing(name, unit, *goal, &format!("{e:#}"))).collect()
    })
}
