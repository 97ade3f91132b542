//! Sees guests' folders and control sockets appear, by inotify: nothing is polled.

use phyllome_protocol::GuestName;
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// Most guests' folders that are watched.
const MAX_WATCHES: usize = 256;

/// What appeared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Appeared {
    /// A guest's folder.
    Folder(GuestName),
    /// A control socket in the folder of this guest.
    Socket(GuestName),
    /// Events were lost: look at everything.
    Overflow,
}

/// The watch over `guests/` and the folders in it.
#[derive(Debug)]
pub struct FolderWatch {
    inotify: OwnedFd,
    root: i32,
    folders: BTreeMap<i32, GuestName>,
}

impl FolderWatch {
    /// Watches the folder `guests`.
    pub fn new(guests: &Path) -> std::io::Result<Self> {
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let root =
            inotify::add_watch(&inotify, guests, WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::ONLYDIR)?;
        Ok(Self { inotify, root, folders: BTreeMap::new() })
    }

    /// Watches a guest's folder for its control socket. Twice is once.
    pub fn add(&mut self, name: &GuestName, folder: &Path) {
        if self.folders.len() >= MAX_WATCHES {
            return;
        }
        let flags = WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::ONLYDIR | WatchFlags::DONT_FOLLOW;
        if let Ok(watch) = inotify::add_watch(&self.inotify, folder, flags) {
            self.folders.insert(watch, name.clone());
        }
    }

    /// What has appeared since the last call; bounded by one buffer.
    pub fn read(&mut self) -> Vec<Appeared> {
        let mut buffer = [MaybeUninit::uninit(); 8192];
        let mut reader = Reader::new(&self.inotify, &mut buffer);
        let mut seen = Vec::new();
        let mut gone = Vec::new();
        loop {
            let event = match reader.next() {
                Ok(event) => event,
                Err(Errno::INTR) => continue,
                Err(_) => break,
            };
            let file = event.file_name().and_then(|name| name.to_str().ok());
            if event.events().contains(ReadFlags::QUEUE_OVERFLOW) {
                seen.push(Appeared::Overflow);
            } else if event.events().contains(ReadFlags::IGNORED) {
                gone.push(event.wd());
            } else if event.wd() == self.root {
                seen.extend(file.and_then(|name| GuestName::new(name).ok()).map(Appeared::Folder));
            } else if file == Some("control.sock") {
                seen.extend(self.folders.get(&event.wd()).cloned().map(Appeared::Socket));
            }
            if reader.is_buffer_empty() {
                break;
            }
        }
        for watch in gone {
            self.folders.remove(&watch);
        }
        seen
    }
}

impl AsFd for FolderWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_and_sockets_are_seen_and_other_files_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let mut watch = FolderWatch::new(dir.path()).unwrap();
        assert_eq!(watch.read(), []);
        let work = GuestName::new("work").unwrap();
        let folder = dir.path().join("work");
        std::fs::create_dir(&folder).unwrap();
        std::fs::create_dir(dir.path().join(".hidden")).unwrap();
        assert_eq!(watch.read(), [Appeared::Folder(work.clone())]);
        watch.add(&work, &folder);
        std::fs::write(folder.join("other"), "").unwrap();
        std::fs::write(folder.join("control.sock"), "").unwrap();
        assert_eq!(watch.read(), [Appeared::Socket(work.clone())]);
    }

    #[test]
    fn a_folder_that_goes_and_comes_back_is_watched_again() {
        let dir = tempfile::tempdir().unwrap();
        let mut watch = FolderWatch::new(dir.path()).unwrap();
        let work = GuestName::new("work").unwrap();
        let folder = dir.path().join("work");
        for _ in 0..1000 {
            std::fs::create_dir(&folder).unwrap();
            watch.add(&work, &folder);
            std::fs::remove_dir(&folder).unwrap();
            assert_eq!(watch.read(), [Appeared::Folder(work.clone())]);
        }
        assert!(watch.folders.is_empty());
    }
}
