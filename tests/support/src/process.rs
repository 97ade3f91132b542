//! What the kernel says of a running process: descriptors, memory, wake-ups.

use anyhow::{Context, Result, ensure};
use std::os::unix::fs::MetadataExt;

/// Open descriptors of a process.
pub fn descriptors(pid: u32) -> Result<usize> {
    let folder = format!("/proc/{pid}/fd");
    Ok(std::fs::read_dir(&folder).with_context(|| folder.clone())?.count())
}

/// Open descriptors of this process, the one that looks not among them.
pub fn own_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count().saturating_sub(1))
}

/// Whether other processes of the same user are kept from a process's memory and variables: the kernel gives what is hidden
/// to the administrator. The administrator's own processes must be of another group ([`SEEN_AS`]) to be told apart.
pub fn is_hidden(pid: u32) -> Result<bool> {
    let folder = format!("/proc/{pid}");
    let of = |file: &str| std::fs::metadata(file).map(|meta| (meta.uid(), meta.gid())).context(file.to_owned());
    let (own, memory) = (of(&folder)?, of(&format!("{folder}/environ"))?);
    ensure!(own != (0, 0), "nothing of the administrator's own tells");
    Ok(memory == (0, 0))
}

/// A group for processes of the administrator whose memory is looked at.
pub const SEEN_AS: u32 = 1;

/// Memory that is the process's own and no file's, in KiB.
pub fn rss_anon_kib(pid: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    number_of(&status, "RssAnon:").context("no RssAnon")
}

/// How often the threads of a process that live have gone to sleep, and so were woken up. What others took the
/// processor away for is not counted: it says how busy this computer is.
pub fn wake_ups(pid: u32) -> Result<u64> {
    let mut sum = 0;
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))?.flatten() {
        // A thread may end meanwhile.
        let status = std::fs::read_to_string(task.path().join("status")).unwrap_or_default();
        sum += number_of(&status, "voluntary_ctxt_switches:").unwrap_or(0);
    }
    Ok(sum)
}

fn number_of(status: &str, key: &str) -> Option<u64> {
    status.lines().find_map(|line| line.strip_prefix(key))?.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_says_it_of_this_process() {
        let me = std::process::id();
        let before = wake_ups(me).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(1));
        assert!(wake_ups(me).unwrap() > before);
        assert!(rss_anon_kib(me).unwrap() > 0 && descriptors(me).unwrap() > 0 && own_descriptors() > 0);
        assert!(descriptors(0).is_err());
    }
}
