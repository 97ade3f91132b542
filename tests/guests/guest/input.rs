//! The guest's input devices: the power button turns the machine off; in `evdev` mode every event is printed.
//!
//! Waits for new devices with inotify, so that a guest in which nothing happens does not wake up.

use crate::sys::{self, POLLIN, PollFd};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd};
use std::path::PathBuf;
use std::sync::mpsc::Sender;

const FOLDER: &str = "/dev/input";
/// `struct input_event` on a 64-bit machine: two 64-bit times, type, code, value.
const EVENT: usize = 24;
const EV_SYN: u16 = 0;
const EV_KEY: u16 = 1;
const KEY_POWER: u16 = 116;

/// One input event without its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    kind: u16,
    code: u16,
    value: i32,
}

impl Event {
    /// Reads a `struct input_event`.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let field = |from: usize| bytes.get(from..from + 2).and_then(|b| b.try_into().ok()).map(u16::from_le_bytes);
        let value = bytes.get(20..24).and_then(|b| b.try_into().ok()).map(i32::from_le_bytes);
        Some(Self { kind: field(16)?, code: field(18)?, value: value? })
    }

    /// `EV key 30 1`; nothing for synchronisation.
    pub fn line(self) -> Option<String> {
        let kind = match self.kind {
            EV_SYN => return None,
            EV_KEY => "key".to_owned(),
            2 => "rel".to_owned(),
            3 => "abs".to_owned(),
            4 => return None, // scan codes say nothing new
            other => other.to_string(),
        };
        Some(format!("EV {kind} {} {}", self.code, self.value))
    }
}

/// Watches all devices for ever. `lines` gets a line for every event if there is one; `watching` is called once all
/// devices of the beginning are open. Reads fast and prints nothing itself: the kernel keeps only a few events for each
/// reader.
pub fn watch(lines: Option<Sender<String>>, watching: impl FnOnce()) -> std::io::Result<()> {
    let mut watching = Some(watching);
    let folder = sys::watch_folder(FOLDER)?;
    let mut news = File::from(folder.as_fd().try_clone_to_owned()?);
    let mut devices: BTreeMap<PathBuf, File> = BTreeMap::new();
    loop {
        for entry in std::fs::read_dir(FOLDER)?.flatten() {
            let path = entry.path();
            let is_event = entry.file_name().to_str().is_some_and(|name| name.starts_with("event"));
            if is_event
                && !devices.contains_key(&path)
                && let Ok(file) = File::open(&path)
            {
                devices.insert(path, file);
            }
        }
        if let Some(watching) = watching.take() {
            watching();
        }
        let watched = |fd| PollFd { fd, events: POLLIN, revents: 0 };
        let mut fds = vec![watched(news.as_raw_fd())];
        fds.extend(devices.values().map(|file| watched(file.as_raw_fd())));
        sys::wait_for(&mut fds, -1)?;

        let mut bytes = [0; EVENT * 64];
        if fds.first().is_some_and(|fd| fd.revents != 0) {
            let _ = news.read(&mut bytes)?;
        }
        let ready: Vec<_> = fds.iter().skip(1).map(|fd| fd.revents != 0).collect();
        let mut gone = Vec::new();
        for ((path, file), _) in devices.iter_mut().zip(ready).filter(|(_, ready)| *ready) {
            let Ok(count) = file.read(&mut bytes) else {
                gone.push(path.clone());
                continue;
            };
            for event in bytes.get(..count).unwrap_or_default().chunks_exact(EVENT).filter_map(Event::parse) {
                if let (Some(lines), Some(line)) = (&lines, event.line()) {
                    let _ = lines.send(line);
                }
                if event.kind == EV_KEY && event.code == KEY_POWER && event.value == 1 {
                    crate::serial("PHYLLOME-GUEST-POWER-OFF");
                    crate::serial(&format!("cannot turn off: {}", sys::end_machine(false)));
                }
            }
        }
        devices.retain(|path, _| !gone.contains(path));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(kind: u16, code: u16, value: i32) -> Vec<u8> {
        let mut bytes = vec![0; 16];
        bytes.extend(kind.to_le_bytes());
        bytes.extend(code.to_le_bytes());
        bytes.extend(value.to_le_bytes());
        bytes
    }

    #[test]
    fn a_key_and_a_position_are_lines() {
        assert_eq!(Event::parse(&bytes(1, 30, 1)).and_then(Event::line).as_deref(), Some("EV key 30 1"));
        assert_eq!(Event::parse(&bytes(3, 0, 1024)).and_then(Event::line).as_deref(), Some("EV abs 0 1024"));
        assert_eq!(Event::parse(&bytes(0, 0, 0)).and_then(Event::line), None);
    }

    #[test]
    fn half_an_event_is_none() {
        assert_eq!(Event::parse(&[0; 23]), None);
    }
}
