//! What has to be watched so that no change of a guest's file is missed: the guests' folder, and for each link in it, or
//! on the way to it, every step of where it leads.
//!
//! A step is a name in a folder: that of a link, wherever it is in a path, and that at the end. Of a folder that a link
//! leads into, nothing but that name counts: it may be a home folder, in which much happens. What is not there yet is
//! watched for in the nearest folder above it that is. Links are followed so far, and so many of them, that no folder of
//! links costs more than a bounded number of watches: what is beyond is noticed with the next change of something else.
//! So is a folder that is no link and is renamed, unless a step is in it.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::time::Instant;

/// Most entries of the folder that are looked at, and most folders that are watched.
const MAX_ENTRIES: usize = 4096;
const MAX_WATCHES: usize = 512;
/// Most links that are followed, one after another, to one file, and most names on the whole way there.
const MAX_LINKS: usize = 16;
const MAX_NAMES: usize = 64;

/// What counts in a watched folder.
#[derive(Debug, Default)]
struct Counts {
    /// All of it.
    all: bool,
    /// These names.
    names: BTreeSet<OsString>,
}

/// A watch over the folder as it is now: once something has been heard, there may be more to watch.
#[derive(Debug)]
pub struct FileWatch {
    inotify: OwnedFd,
    /// By the number of inotify's watch.
    counts: BTreeMap<i32, Counts>,
}

impl FileWatch {
    /// Watches the guests' folder, or for it if it is not there.
    pub fn over(folder: &Path) -> io::Result<Self> {
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let mut watch = Self { inotify, counts: BTreeMap::new() };
        watch.follow(folder);
        if let Some(counts) = watch.add(folder).and_then(|number| watch.counts.get_mut(&number)) {
            counts.all = true;
        }
        if watch.counts.is_empty() {
            return Err(io::Error::other(format!("{} cannot be watched", folder.display())));
        }
        // Once their own folder is watched: a link that changes now is told.
        let links = std::fs::read_dir(folder).into_iter().flatten().take(MAX_ENTRIES).flatten();
        let links = links.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_symlink()));
        for link in links.filter(|link| link.file_name().as_bytes().ends_with(b".toml")) {
            if watch.is_full() {
                break;
            }
            watch.follow(&link.path());
        }
        Ok(watch)
    }

    /// Whether there are so many watches that no other is added. Each one that was added and taken away again would
    /// leave an event behind, and too many of those look as if something had happened.
    fn is_full(&self) -> bool {
        self.counts.len() >= MAX_WATCHES
    }

    /// Watches for `path`, and for every link on the way to where it leads.
    fn follow(&mut self, path: &Path) {
        let Ok(path) = std::path::absolute(path) else { return };
        let mut folder = PathBuf::from("/");
        // The next one last.
        let mut names = names_backwards(&path);
        let mut links = 0;
        for _ in 0..MAX_NAMES {
            let Some(name) = names.pop() else { return };
            if name == ".." {
                folder.pop();
                continue;
            }
            let here = folder.join(&name);
            let found = Found::at(&here);
            if found == Found::Folder && !names.is_empty() {
                folder = here;
                continue;
            }
            self.watch_for(&here);
            // What has come meanwhile, before it was watched for, has not been told.
            if Found::at(&here) != found {
                names.push(name);
                continue;
            }
            let Found::Link(target) = found else { return };
            links += 1;
            if links > MAX_LINKS {
                return;
            }
            if target.is_absolute() {
                folder = PathBuf::from("/");
            }
            names.append(&mut names_backwards(&target));
        }
    }

    /// Watches for the name at the end of `path`, or for the first folder on the way that may not be watched.
    fn watch_for(&mut self, path: &Path) {
        for (folder, below) in path.ancestors().skip(1).zip(path.ancestors()).take(MAX_NAMES) {
            let Some(name) = below.file_name().filter(|_| !self.is_full()) else { return };
            if let Some(number) = self.add(folder) {
                self.counts.entry(number).or_default().names.insert(name.to_owned());
                return;
            }
        }
    }

    /// Watches a folder, if there may be another watch; its number. Twice is once.
    fn add(&mut self, folder: &Path) -> Option<i32> {
        if self.is_full() {
            return None;
        }
        let comes = WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::CLOSE_WRITE | WatchFlags::ATTRIB;
        let goes = WatchFlags::MOVED_FROM | WatchFlags::DELETE | WatchFlags::DELETE_SELF | WatchFlags::MOVE_SELF;
        let number = inotify::add_watch(&self.inotify, folder, comes | goes | WatchFlags::ONLYDIR).ok()?;
        self.counts.entry(number).or_default();
        Some(number)
    }

    /// Waits until something has happened that counts, or until `latest`; whether it has.
    pub fn hears(&self, latest: Option<Instant>) -> io::Result<bool> {
        while self.waits(latest)? {
            if self.read() {
                return Ok(true);
            }
            // A folder in which something else happens all the time does not hold this up.
            if latest.is_some_and(|latest| latest <= Instant::now()) {
                break;
            }
        }
        Ok(false)
    }

    /// Waits until there is something to read; whether there is.
    fn waits(&self, latest: Option<Instant>) -> io::Result<bool> {
        loop {
            let left = latest.map(|latest| latest.saturating_duration_since(Instant::now()));
            let left = left.map(Timespec::try_from).transpose().map_err(io::Error::other)?;
            match poll(&mut [PollFd::new(&self.inotify, PollFlags::IN)], left.as_ref()) {
                Ok(count) => return Ok(count > 0),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Reads what there is, of much of it a part; whether any of that counts.
    fn read(&self) -> bool {
        let mut buffer = [MaybeUninit::uninit(); 8192];
        let mut reader = Reader::new(&self.inotify, &mut buffer);
        let mut counts = false;
        loop {
            match reader.next() {
                Ok(event) => {
                    let name = event.file_name().map(|name| OsStr::from_bytes(name.to_bytes()));
                    counts |= event.events().contains(ReadFlags::QUEUE_OVERFLOW) || self.matters(event.wd(), name);
                }
                Err(Errno::INTR) => continue,
                Err(_) => return counts,
            }
            if reader.is_buffer_empty() {
                return counts;
            }
        }
    }

    /// Whether something that happened to this name in that folder counts; what happens to the folder itself does.
    fn matters(&self, number: i32, name: Option<&OsStr>) -> bool {
        let Some(counts) = self.counts.get(&number) else { return false };
        counts.all || name.is_none_or(|name| counts.names.contains(name))
    }
}

/// What is in a place.
#[derive(PartialEq, Eq)]
enum Found {
    Folder,
    Link(PathBuf),
    /// A file, or nothing.
    Else,
}

impl Found {
    fn at(path: &Path) -> Self {
        match std::fs::symlink_metadata(path) {
            Ok(found) if found.is_dir() => Self::Folder,
            Ok(found) if found.is_symlink() => std::fs::read_link(path).map_or(Self::Else, Self::Link),
            Ok(_) | Err(_) => Self::Else,
        }
    }
}

/// What a path is made of, from its end.
fn names_backwards(path: &Path) -> Vec<OsString> {
    let names = path.components().rev();
    let names = names.filter(|part| matches!(part, Component::Normal(_) | Component::ParentDir));
    names.map(|part| part.as_os_str().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{create_dir, create_dir_all, remove_file, rename, write};
    use std::os::unix::fs::symlink;
    use std::time::Duration;

    /// A folder with `guests/` in it, and whether a change beside or in it is heard.
    struct Stage(tempfile::TempDir);

    impl Stage {
        fn new() -> Self {
            let stage = Self(tempfile::tempdir().unwrap());
            create_dir(stage.at("guests")).unwrap();
            stage
        }

        fn at(&self, path: &str) -> PathBuf {
            self.0.path().join(path)
        }

        fn is_heard(&self, change: impl FnOnce(&Self)) -> bool {
            let watch = FileWatch::over(&self.at("guests")).unwrap();
            assert!(!watch.hears(Some(Instant::now())).unwrap(), "nothing has happened yet");
            change(self);
            // The kernel has queued what happened before the call that did it returns.
            watch.hears(Some(Instant::now())).unwrap()
        }
    }

    #[test]
    fn a_change_of_what_a_link_leads_to_is_heard_and_one_beside_it_is_not() {
        let stage = Stage::new();
        create_dir(stage.at("home")).unwrap();
        write(stage.at("home/work"), "").unwrap();
        write(stage.at("home/other"), "").unwrap();
        symlink("../home/work", stage.at("guests/work.toml")).unwrap();
        assert!(stage.is_heard(|stage| write(stage.at("home/work"), "1").unwrap()));
        assert!(!stage.is_heard(|stage| write(stage.at("home/other"), "1").unwrap()));
        assert!(stage.is_heard(|stage| rename(stage.at("home/other"), stage.at("home/work")).unwrap()));
        assert!(stage.is_heard(|stage| remove_file(stage.at("home/work")).unwrap()));
        assert!(stage.is_heard(|stage| write(stage.at("home/work"), "2").unwrap()), "it is back");
        assert!(stage.is_heard(|stage| rename(stage.at("home"), stage.at("house")).unwrap()));
        assert!(stage.is_heard(|stage| rename(stage.at("house"), stage.at("home")).unwrap()));
    }

    #[test]
    fn every_step_of_a_link_to_a_link_is_watched_and_a_circle_ends() {
        let stage = Stage::new();
        create_dir_all(stage.at("a/b")).unwrap();
        symlink(stage.at("a/second"), stage.at("guests/work.toml")).unwrap();
        symlink("b/file", stage.at("a/second")).unwrap();
        assert!(stage.is_heard(|stage| write(stage.at("a/b/file"), "1").unwrap()));
        assert!(stage.is_heard(|stage| remove_file(stage.at("a/second")).unwrap()));
        symlink("third", stage.at("a/second")).unwrap();
        symlink("second", stage.at("a/third")).unwrap();
        assert!(stage.is_heard(|stage| remove_file(stage.at("a/third")).unwrap()));
    }

    #[test]
    fn what_a_link_leads_to_is_waited_for_with_the_folders_on_the_way() {
        let stage = Stage::new();
        symlink(stage.at("x/y/file"), stage.at("guests/work.toml")).unwrap();
        assert!(!stage.is_heard(|stage| create_dir(stage.at("z")).unwrap()));
        assert!(stage.is_heard(|stage| create_dir(stage.at("x")).unwrap()));
        assert!(stage.is_heard(|stage| create_dir(stage.at("x/y")).unwrap()));
        assert!(stage.is_heard(|stage| write(stage.at("x/y/file"), "").unwrap()));
    }

    #[test]
    fn the_guests_folder_may_be_a_link_that_is_turned_elsewhere() {
        let stage = Stage::new();
        std::fs::remove_dir(stage.at("guests")).unwrap();
        create_dir(stage.at("one")).unwrap();
        create_dir(stage.at("two")).unwrap();
        symlink("one", stage.at("guests")).unwrap();
        assert!(stage.is_heard(|stage| write(stage.at("one/work.toml"), "").unwrap()));
        assert!(!stage.is_heard(|stage| write(stage.at("two/work.toml"), "").unwrap()));
        symlink("two", stage.at("new")).unwrap();
        assert!(stage.is_heard(|stage| rename(stage.at("new"), stage.at("guests")).unwrap()));
        assert!(stage.is_heard(|stage| write(stage.at("two/work.toml"), "1").unwrap()));
    }

    #[test]
    fn a_link_in_the_middle_of_a_path_may_be_turned_elsewhere() {
        let stage = Stage::new();
        for folder in ["one", "two"] {
            create_dir(stage.at(folder)).unwrap();
            write(stage.at(&format!("{folder}/work")), "").unwrap();
        }
        symlink("one", stage.at("dots")).unwrap();
        symlink("two", stage.at("new")).unwrap();
        symlink("../dots/../dots/work", stage.at("guests/work.toml")).unwrap();
        assert!(!stage.is_heard(|stage| write(stage.at("two/work"), "1").unwrap()));
        assert!(stage.is_heard(|stage| rename(stage.at("new"), stage.at("dots")).unwrap()));
        assert!(stage.is_heard(|stage| write(stage.at("two/work"), "2").unwrap()));
    }

    /// So many links to folders of their own, five deep.
    fn many_links(count: usize) -> Stage {
        let stage = Stage::new();
        for link in 0..count {
            create_dir_all(stage.at(&format!("{link}/a/b/c/d"))).unwrap();
            symlink(stage.at(&format!("{link}/a/b/c/d/file")), stage.at(&format!("guests/{link}.toml"))).unwrap();
        }
        stage
    }

    #[test]
    fn no_folder_of_links_costs_more_than_so_many_watches() {
        let stage = many_links(2 * MAX_WATCHES);
        let watch = FileWatch::over(&stage.at("guests")).unwrap();
        assert_eq!(watch.counts.len(), MAX_WATCHES);
        write(stage.at("guests/new.toml"), "").unwrap();
        assert!(watch.hears(Some(Instant::now())).unwrap(), "the folder itself is watched all the same");
    }

    #[test]
    fn so_many_links_that_they_are_not_all_watched_are_no_change() {
        let stage = many_links(3000);
        let watch = FileWatch::over(&stage.at("guests")).unwrap();
        assert!(!watch.hears(Some(Instant::now() + Duration::from_secs(1))).unwrap());
    }
}
