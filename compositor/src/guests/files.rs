//! Guests' files are read anew when one of them changes, on a thread of its own: neither a slow disk nor a large folder
//! holds up the shell's loop.
//!
//! The thread sleeps in the kernel until inotify has something to say, waits until it is quiet for a moment, reads the
//! whole folder as at the start, and hands it over if it says something else than before. What is handed over waits in
//! a channel for one: a folder that changes all the time costs this thread's time and nobody else's.

use phyllome_config::{Loaded, Places, load_all};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::io::Errno;
use smithay::reexports::calloop::channel::SyncSender;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::thread;

/// How long it is quiet before the folder is read: an editor writes a file in several steps.
const QUIET: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };
/// How many pauses shorter than that are waited for: a folder that is never quiet is read all the same.
const MAX_WAITS: usize = 10;

/// Starts the thread. It ends when nobody receives any longer.
pub fn watch(places: Places, changed: SyncSender<Loaded>) -> io::Result<()> {
    let work = move || {
        if let Err(error) = run(&places, &changed) {
            tracing::warn!("guests' files that change are not seen until the shell starts again: {error}");
        }
    };
    thread::Builder::new().name("guest files".into()).spawn(work).map(drop)
}

fn run(places: &Places, changed: &SyncSender<Loaded>) -> io::Result<()> {
    // What the shell started with may be old already.
    let mut before = None;
    loop {
        // Watched before it is read, so that no change falls between the two.
        let watch = watch_folder(&places.guests_dir())?;
        let now = load_all(places);
        if before.as_ref() != Some(&now) {
            if changed.send(now.clone()).is_err() {
                return Ok(());
            }
            before = Some(now);
        }
        wait(&watch, None)?;
        // The watch goes with what it has not told: whatever happened is read above.
        for _ in 0..MAX_WAITS {
            drain(&watch);
            if !wait(&watch, Some(&QUIET))? {
                break;
            }
        }
    }
}

/// A watch over the folder, or over the nearest folder above it that is there.
fn watch_folder(folder: &Path) -> io::Result<OwnedFd> {
    let watch = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
    let appears = WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::ONLYDIR;
    let goes = WatchFlags::DELETE_SELF | WatchFlags::MOVE_SELF;
    let files = WatchFlags::CLOSE_WRITE | WatchFlags::ATTRIB | WatchFlags::MOVED_FROM | WatchFlags::DELETE;
    if inotify::add_watch(&watch, folder, appears | goes | files).is_ok() {
        return Ok(watch);
    }
    let above = folder.ancestors().skip(1).find(|above| inotify::add_watch(&watch, *above, appears | goes).is_ok());
    let above = above.ok_or_else(|| io::Error::other(format!("{} cannot be watched", folder.display())))?;
    // What has come meanwhile will not be told.
    for nearer in folder.ancestors().take_while(|nearer| *nearer != above) {
        let _ =
            inotify::add_watch(&watch, nearer, if nearer == folder { appears | goes | files } else { appears | goes });
    }
    Ok(watch)
}

/// Waits until there is something to read; whether there is.
fn wait(watch: &OwnedFd, time: Option<&Timespec>) -> io::Result<bool> {
    loop {
        match poll(&mut [PollFd::new(watch, PollFlags::IN)], time) {
            Ok(count) => return Ok(count > 0),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn drain(watch: &OwnedFd) {
    let mut buffer = [0; 8192];
    while rustix::io::read(watch, &mut buffer).is_ok_and(|count| count > 0) {}
}
