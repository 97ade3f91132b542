//! Processor time of processes with all that they have started.

use anyhow::Result;
use std::collections::HashMap;

/// Seconds that these processes and their descendants have used, threads that have ended included.
pub fn seconds(roots: &[u32]) -> Result<f64> {
    let mut parents = HashMap::new();
    let mut ticks = HashMap::new();
    for entry in std::fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        // It may have ended meanwhile.
        let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        if let Some((parent, used)) = parse(&text) {
            parents.insert(pid, parent);
            ticks.insert(pid, used);
        }
    }
    let belongs = |pid: u32| {
        let mut line = std::iter::successors(Some(pid), |pid| parents.get(pid).copied());
        line.any(|pid| roots.contains(&pid))
    };
    let sum: u64 = ticks.iter().filter(|(pid, _)| belongs(**pid)).map(|(_, used)| used).sum();
    // SAFETY: the C library gives a number and touches nothing.
    let second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    Ok(sum as f64 / second as f64)
}

/// Parent and ticks, of a line of /proc/PID/stat.
fn parse(stat: &str) -> Option<(u32, u64)> {
    // A program's name may hold anything, so it is read from behind.
    let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
    let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
    Some((u32::try_from(number(1)?).ok()?, number(11)? + number(12)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_from_behind_the_name() {
        let line = "7 (a) b (c) S 5 7 7 0 -1 4194560 1 2 3 4 10 20 30 40 20 0 1 0 100 200 300";
        assert_eq!(parse(line), Some((5, 30)));
        assert_eq!(parse(""), None);
    }

    #[test]
    fn work_counts_for_the_one_who_started_it() -> Result<()> {
        let me = std::process::id();
        let before = seconds(&[me])?;
        let mut work = std::process::Command::new("sh").args(["-c", "while :; do :; done"]).spawn()?;
        let end = std::time::Instant::now() + std::time::Duration::from_secs(20);
        let counted = loop {
            if seconds(&[me])? > before + 0.05 && seconds(&[work.id()])? > 0.0 {
                break true;
            }
            if std::time::Instant::now() > end {
                break false;
            }
        };
        work.kill()?;
        work.wait()?;
        assert!(counted);
        Ok(())
    }
}
