//! One guest for all tests that leave it as it was, since a start takes longer than most of them.
//!
//! A guest comes here only if its test has passed and its renderer has not died; programs that are still there are
//! ended, and its console has to be seen before another test has it. A test that kills something or wants another guest
//! boots its own.

use anyhow::{Result, ensure};
use phyllome_tests::gl_guest::{GlGuest, GlOptions};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

/// Guests that no test uses, with what they are made of.
static IDLE: Mutex<Vec<(String, GlGuest)>> = Mutex::new(Vec::new());
/// Sees to it that they are ended: what is static is never dropped.
static AT_EXIT: Once = Once::new();

/// Ends whatever was started by a test.
const TIDY: &str = "for folder in /proc/[0-9]*; do
        pid=${folder#/proc/}
        case $(readlink $folder/exe) in ''|/run/machine/agent*|*/udevadm|*/systemd-udevd|*/seatd) continue ;; esac
        [ $pid = $$ ] || kill -9 $pid 2> /dev/null
    done
    find /tmp -xdev -mindepth 1 -delete
    true";

fn idle() -> MutexGuard<'static, Vec<(String, GlGuest)>> {
    IDLE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn key(options: &GlOptions) -> String {
    format!("{options:?}")
}

/// A guest of these options: one that was given back, or a new one.
pub fn take(options: &GlOptions) -> Result<GlGuest> {
    let found = {
        let mut idle = idle();
        let at = idle.iter().position(|(made_of, _)| *made_of == key(options));
        at.map(|at| idle.remove(at).1)
    };
    if let Some(mut guest) = found {
        match as_it_was(&mut guest) {
            Ok(()) => return Ok(guest),
            Err(error) => eprintln!("another guest is started, since the last one is not as it was: {error:#}"),
        }
    }
    GlGuest::boot(options)
}

fn as_it_was(guest: &mut GlGuest) -> Result<()> {
    guest.wait_console()?;
    Ok(())
}

/// Gives a guest back whose test has passed.
pub fn give_back(options: &GlOptions, mut guest: GlGuest) -> Result<()> {
    let gpu = guest.gpu()?;
    ensure!(gpu.renderer_restarts == 0, "the renderer has died: {gpu:?}");
    // At once, so that what is left over takes no time of the tests that follow on other guests.
    guest.run(TIDY)?.ok()?;
    AT_EXIT.call_once(|| {
        // SAFETY: the function is there as long as the program, and needs nothing of what ends before it is called.
        unsafe { libc::atexit(end_all) };
    });
    idle().push((key(options), guest));
    Ok(())
}

extern "C" fn end_all() {
    // All tests have ended: nothing that goes wrong here may look like a failure of theirs.
    let _ = std::panic::catch_unwind(|| idle().clear());
}
