//! Nobody keeps the shell's one thread to himself: a turn in which one guest's requests use a fifth of a second of
//! processor time (more on a slow processor, such as an emulated one) ends that guest's connection.
//!
//! wayland-backend 0.3 serves a client until its socket is empty, and some requests (`wl_display.sync`, `wl_registry`)
//! are served without asking the shell, so that a client that writes as fast as it is read could hold the loop for
//! ever. A timer of the thread's processor time rings while a client is served; its signal shuts down that client's
//! socket once that is long, which is all that a handler may do and all that is needed.

use crate::monotonic::processor_time;
use smithay::reexports::rustix;
use std::cell::Cell;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::null_mut;
use std::sync::OnceLock;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, compiler_fence};

/// Processor time that one client may use in one turn, in nanoseconds: at least, and on the slowest processor.
const MOST: (libc::c_long, libc::c_long) = (200_000_000, 5_000_000_000);
/// The timer rings so many times in that time. It is never taken back: to set it twice in each turn costs more than
/// that it rings now and then while nobody is served.
const PARTS: libc::c_long = 4;
/// A turn may take this many times what the shell took to start.
const STARTS: libc::c_long = 2;

/// No client is being served.
const NOBODY: i32 = -1;

thread_local! {
    /// The socket of the client that this thread serves. Without a destructor, so that the signal's handler may read
    /// it.
    static SERVED: Cell<i32> = const { Cell::new(NOBODY) };
    /// Whether that socket was shut down by the handler.
    static OVERRAN: AtomicBool = const { AtomicBool::new(false) };
    /// How often the timer has rung since the client is served.
    static RINGS: Cell<libc::c_long> = const { Cell::new(0) };
    /// Whether the timer is set.
    static IS_SET: Cell<bool> = const { Cell::new(false) };
    /// The same timer, and after how many nanoseconds it rings, for the signal's handler.
    static BELL: Cell<(libc::timer_t, libc::c_long)> = const { Cell::new((null_mut(), 0)) };
    /// This thread's timer.
    static TIMER: Option<libc::timer_t> = make_timer().inspect_err(|error| {
        tracing::error!("guests that flood the shell will not be cut off: {error}");
    }).ok();
}

/// Processor time that one client may use in one turn here, in nanoseconds.
static MOST_HERE: OnceLock<libc::c_long> = OnceLock::new();

/// The shell has started, on this thread: what that took tells how slow the processor is with work of this kind.
pub fn started() {
    // Whoever starts a second shell in one process (a test) leaves it at that.
    let start = libc::c_long::try_from(processor_time().as_nanos()).unwrap_or(libc::c_long::MAX);
    let _ = MOST_HERE.set(budget(start));
}

/// The time for one turn where the start took so many nanoseconds.
fn budget(start: libc::c_long) -> libc::c_long {
    start.saturating_mul(STARTS).clamp(MOST.0, MOST.1)
}

/// How many times slower than a usual processor this one is with work of this kind; at least 1.
pub fn slowness() -> f64 {
    MOST_HERE.get().map_or(1.0, |most| *most as f64 / MOST.0 as f64)
}

/// Watches one client for as long as it lives. One at a time on each thread.
#[derive(Debug)]
pub struct WatchedDispatch<'a> {
    _socket: BorrowedFd<'a>,
}

impl<'a> WatchedDispatch<'a> {
    /// Begins to watch the client at `socket`.
    pub fn new(socket: BorrowedFd<'a>) -> Self {
        OVERRAN.with(|overran| overran.store(false, Relaxed));
        RINGS.set(0);
        SERVED.set(socket.as_raw_fd());
        // From here on the handler sees this client.
        compiler_fence(SeqCst);
        if !IS_SET.get()
            && let Some(timer) = TIMER.with(|timer| *timer)
        {
            BELL.set((timer, *MOST_HERE.get().unwrap_or(&MOST.0) / PARTS));
            IS_SET.set(true);
            compiler_fence(SeqCst);
            set_bell();
        }
        Self { _socket: socket }
    }

    /// Ends the watch. Whether the client's time was over, and its socket is shut down.
    pub fn end(self) -> bool {
        drop(self);
        OVERRAN.with(|overran| overran.load(Relaxed))
    }
}

impl Drop for WatchedDispatch<'_> {
    fn drop(&mut self) {
        SERVED.set(NOBODY);
        compiler_fence(SeqCst);
    }
}

fn make_timer() -> io::Result<libc::timer_t> {
    install_handler()?;
    // SAFETY: all-zero bytes are a valid sigevent.
    let mut event: libc::sigevent = unsafe { std::mem::zeroed() };
    event.sigev_notify = libc::SIGEV_THREAD_ID;
    event.sigev_signo = libc::SIGPROF;
    // SAFETY: gettid(2) has no preconditions.
    event.sigev_notify_thread_id = unsafe { libc::gettid() };
    let mut timer: libc::timer_t = null_mut();
    // SAFETY: both pointers are valid for the call; the timer lives as long as the process, and its signal has a
    // handler.
    let made = unsafe { libc::timer_create(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut event, &raw mut timer) };
    if made == 0 { Ok(timer) } else { Err(io::Error::last_os_error()) }
}

fn install_handler() -> io::Result<()> {
    static INSTALLED: OnceLock<Result<(), io::ErrorKind>> = OnceLock::new();
    let installed = INSTALLED.get_or_init(|| {
        let ring = || {
            let socket = SERVED.get();
            // The first ring may have come at once: it says nothing about this client.
            let rings = RINGS.get().saturating_add(1);
            RINGS.set(rings);
            if socket != NOBODY && rings <= PARTS {
                set_bell();
                return;
            }
            IS_SET.set(false);
            if socket != NOBODY {
                // SAFETY: shutdown(2) is async-signal-safe and takes any number; the socket is open, because
                // `WatchedDispatch` borrows it and takes it out of `SERVED` before the borrow ends. signal-hook puts
                // errno back.
                unsafe { libc::shutdown(socket, libc::SHUT_RDWR) };
                OVERRAN.with(|overran| overran.store(true, Relaxed));
            }
        };
        // SAFETY: the action only reads and writes thread-local cells that need neither initialiser nor destructor and
        // calls shutdown(2) and timer_settime(2), all async-signal-safe; it neither allocates nor panics.
        unsafe { signal_hook::low_level::register(libc::SIGPROF, ring) }.map(drop).map_err(|e| e.kind())
    });
    installed.map_err(io::Error::from)
}

/// Lets this thread's timer ring once more. Async-signal-safe.
fn set_bell() {
    let (timer, nanoseconds) = BELL.get();
    let none = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    let due = libc::timespec { tv_sec: nanoseconds / 1_000_000_000, tv_nsec: nanoseconds % 1_000_000_000 };
    let once = libc::itimerspec { it_interval: none, it_value: due };
    // SAFETY: the timer is this thread's own, made before anything called this, and is never deleted; `once` outlives
    // the call; the old value is not asked for.
    unsafe { libc::timer_settime(timer, 0, &raw const once, null_mut()) };
}

/// Shuts a socket down both ways. An error means that the other side was faster.
pub fn shut_down(socket: BorrowedFd<'_>) {
    let _ = rustix::net::shutdown(socket, rustix::net::Shutdown::Both);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn a_slow_processor_gets_more_time_within_bounds() {
        assert_eq!(budget(0), MOST.0);
        assert_eq!(budget(1_000_000_000), 2_000_000_000);
        assert_eq!(budget(libc::c_long::MAX), MOST.1);
        assert!(!processor_time().is_zero());
    }

    #[test]
    fn a_turn_that_takes_too_long_is_told_from_one_that_does_not() {
        let (socket, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        assert!(!WatchedDispatch::new(socket.as_fd()).end());
        let most = std::time::Duration::from_nanos(MOST.1.unsigned_abs());
        let deadline = std::time::Instant::now() + 20 * most;
        let watch = WatchedDispatch::new(socket.as_fd());
        while !OVERRAN.with(|overran| overran.load(Relaxed)) {
            assert!(std::time::Instant::now() < deadline, "nobody was cut off");
        }
        assert!(watch.end());
        assert_eq!(std::io::Read::read(&mut &socket, &mut [0]).unwrap(), 0, "the socket is shut down");
        assert!(!WatchedDispatch::new(socket.as_fd()).end(), "the next turn is another");
    }
}
