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
use std::thread;
use std::time::{Duration, Instant};
use watched::FileWatch;

/// How long it is quiet before the folder is read: an editor writes a file in several steps.
const QUIET: Duration = Duration::from_millis(200);
/// How long that is waited for: a folder that is never quiet is read all the same.
const LONGEST: Duration = Duration::from_secs(2);

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
        let watch = FileWatch::over(&places.guests_dir())?;
        let now = load_all(places);
        if before.as_ref() != Some(&now) {
            if changed.send(now.clone()).is_err() {
                return Ok(());
            }
            before = Some(now);
        }
        watch.hears(None)?;
        // The watch goes with what it has not told: whatever happened is read above.
        let latest = Instant::now() + LONGEST;
        while Instant::now() < latest && watch.hears(Some(latest.min(Instant::now() + QUIET)))? {}
    }
}
