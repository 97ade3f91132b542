//! Processes that the demo has started: ending them, and finding those that are left.
//!
//! A process belongs to the demo if its environment names the demo's own runtime folder; no other is ever ended.

use anyhow::Result;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

unsafe extern "C" {
    fn signal(number: i32, handler: usize) -> usize;
}

extern "C" fn on_interrupt(_: i32) {
    INTERRUPTED.store(true, Ordering::Relaxed);
}

/// From now on Ctrl-C (and SIGTERM) is only noted.
pub fn note_interrupts() {
    let handler: extern "C" fn(i32) = on_interrupt;
    for number in [2, 15] {
        // SAFETY: the handler has the signature that signal(2) asks for and only stores to an atomic.
        unsafe { signal(number, handler as usize) };
    }
}

/// Whether Ctrl-C was pressed.
pub fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

/// Process ids whose environment has `XDG_RUNTIME_DIR=runtime`, but this one.
pub fn of_demo(runtime: &Path) -> Vec<u32> {
    let needle = [b"XDG_RUNTIME_DIR=", runtime.as_os_str().as_encoded_bytes()].concat();
    let mut pids = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let environment = fs::read(entry.path().join("environ")).unwrap_or_default();
        if pid != std::process::id() && environment.split(|byte| *byte == 0).any(|variable| variable == needle) {
            pids.push(pid);
        }
    }
    pids
}

/// Asks a process to end (`TERM`), or ends it (`KILL`).
pub fn send(signal: &str, pid: u32) {
    let _ = Command::new("kill").args(["-s", signal, &pid.to_string()]).stderr(Stdio::null()).status();
}

/// Waits for a child to end, then ends it if it does not.
pub fn end(child: &mut Child, patience: Duration) -> Result<bool> {
    send("TERM", child.id());
    let ended = wait_until(patience, || matches!(child.try_wait(), Ok(Some(_))));
    if !ended {
        child.kill()?;
        child.wait()?;
    }
    Ok(ended)
}

/// Ends every process of the demo; gives those that had to be killed.
pub fn end_all(runtime: &Path, patience: Duration) -> Vec<u32> {
    let deadline = Instant::now() + patience;
    // A guest that is asked once takes its time to power off; asked again, it ends.
    while !of_demo(runtime).is_empty() && Instant::now() < deadline {
        of_demo(runtime).into_iter().for_each(|pid| send("TERM", pid));
        wait_until(Duration::from_millis(500), || of_demo(runtime).is_empty());
    }
    let left = of_demo(runtime);
    left.iter().for_each(|pid| send("KILL", *pid));
    wait_until(patience, || of_demo(runtime).is_empty());
    left
}

/// Waits for a condition, looking ten times a second; whether it came true in time.
pub fn wait_until(patience: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + patience;
    loop {
        if condition() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_demos_own_processes_are_found_and_ended() {
        let mine = std::env::temp_dir().join(format!("xtask-mine-{}", std::process::id()));
        let other = std::env::temp_dir().join(format!("xtask-other-{}", std::process::id()));
        let start = |runtime: &Path| Command::new("sleep").arg("60").env("XDG_RUNTIME_DIR", runtime).spawn().unwrap();
        let mut child = start(&mine);
        let mut stranger = start(&other);
        assert!(wait_until(Duration::from_secs(5), || of_demo(&mine) == [child.id()]));

        let ended = std::thread::spawn(move || child.wait().unwrap());
        assert!(end_all(&mine, Duration::from_secs(5)).is_empty(), "it goes when asked to");
        assert!(!ended.join().unwrap().success());
        assert!(stranger.try_wait().unwrap().is_none());
        stranger.kill().unwrap();
        stranger.wait().unwrap();
    }
}
