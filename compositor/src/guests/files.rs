//! Guests' files are read anew when one of them changes, on a thread of its own: neither a slow disk nor a large folder
//! holds up the shell's loop.
//!
//! The thread sleeps in the kernel until inotify has something to say of a guest's file or of what a link in its place
//! leads to ([`watched`]), waits until it is quiet for a moment, reads the whole folder as at the start, and hands it
//! over if it says something else than before. What is handed over waits in a channel for one: a folder that changes
//! all the time costs this thread's time and nobody else's.

mod watched;

use phyllome_config::{Loaded, Places, load_all};
use smithay::reexports::calloop::channel::SyncSender;
use std::io;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};
use watched::FileWatch;

/// How long it is quiet before the folder is read: an editor writes a file in several steps.
const QUIET: Duration = Duration::from_millis(200);
/// How long that is waited for: a folder that is never quiet is read all the same.
const LONGEST: Duration = Duration::from_secs(2);

/// When the folder is read again while it cannot be watched: the user's other programs may have all that inotify gives.
const AGAIN: Duration = Duration::from_secs(10);

/// Starts the thread. It ends when nobody receives any longer.
pub fn watch(places: Places, changed: SyncSender<Loaded>) -> io::Result<()> {
    let work = move || run(&places, &changed, FileWatch::over, AGAIN);
    thread::Builder::new().name("guest files".into()).spawn(work).map(drop)
}

fn run(
    places: &Places,
    changed: &SyncSender<Loaded>,
    mut over: impl FnMut(&Path) -> io::Result<FileWatch>,
    again: Duration,
) {
    // What the shell started with may be old already.
    let mut before = None;
    let mut blind = false;
    loop {
        // Watched before it is read, so that no change falls between the two.
        let watch = over(&places.guests_dir());
        let now = load_all(places);
        if before.as_ref() != Some(&now) {
            if changed.send(now.clone()).is_err() {
                return;
            }
            before = Some(now);
        }
        let heard = watch.and_then(|watch| hears_all(&watch));
        if let Err(error) = &heard {
            if !blind {
                tracing::warn!("guests' files that change are seen every {} s only: {error}", again.as_secs());
            }
            thread::sleep(again);
        }
        blind = heard.is_err();
    }
}

/// Waits until something has happened and is over, or has gone on for long.
fn hears_all(watch: &FileWatch) -> io::Result<()> {
    watch.hears(None)?;
    // The watch goes with what it has not told: whatever happened is read after it.
    let latest = Instant::now() + LONGEST;
    while Instant::now() < latest && watch.hears(Some(latest.min(Instant::now() + QUIET)))? {}
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use smithay::reexports::calloop::channel::{Channel, sync_channel};

    /// The next that is handed over.
    fn next(changed: &Channel<Loaded>) -> Loaded {
        let end = Instant::now() + Duration::from_secs(20);
        loop {
            match changed.try_recv() {
                Ok(loaded) => return loaded,
                Err(_) if Instant::now() < end => thread::sleep(Duration::from_millis(5)),
                Err(error) => panic!("nothing was handed over: {error}"),
            }
        }
    }

    #[test]
    fn files_are_read_again_while_they_cannot_be_watched_and_watched_once_they_can() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().to_owned();
        let places = Places { config: path.clone(), data: path.clone(), state: path, home: None };
        let guests = places.guests_dir();
        std::fs::create_dir(&guests).unwrap();
        let (sender, changed) = sync_channel(1);
        let mut calls = 0;
        let over = move |folder: &Path| {
            calls += 1;
            if calls > 2 {
                return FileWatch::over(folder);
            }
            std::fs::write(folder.join(format!("bad{calls}.toml")), "").unwrap();
            Err(io::Error::other("there are no watches left"))
        };
        let thread = thread::spawn(move || run(&places, &sender, over, Duration::from_millis(1)));
        assert_eq!(next(&changed).problems.len(), 1);
        assert_eq!(next(&changed).problems.len(), 2);
        std::fs::write(guests.join("bad3.toml"), "").unwrap();
        assert_eq!(next(&changed).problems.len(), 3);
        drop(changed);
        std::fs::write(guests.join("bad4.toml"), "").unwrap();
        thread.join().unwrap();
    }
}
