//! What the library calls back: fences that have signalled, and the render node that it asks for.
//!
//! The callbacks may come from the library's threads. They only note and wake; nothing in them can unwind.

use rustix::event::{EventfdFlags, eventfd};
use std::ffi::{c_int, c_void};
use std::os::fd::{AsFd, BorrowedFd, IntoRawFd, OwnedFd};
use std::sync::{Mutex, PoisonError};

/// A fence has signalled, and so have all before it on its timeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// By the number that the library was given.
    Global(u32),
    /// One of a context's timelines.
    Ring {
        /// The context.
        context: u32,
        /// Its timeline.
        ring: u32,
        /// The fence.
        fence: u64,
    },
}

/// Where callbacks leave what they have to say.
pub struct Signals {
    noted: Mutex<Vec<Signal>>,
    wake: OwnedFd,
    node: Option<OwnedFd>,
}

impl Signals {
    /// With the render node that the library is to use.
    pub fn new(node: Option<OwnedFd>) -> rustix::io::Result<Self> {
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { noted: Mutex::new(Vec::new()), wake, node })
    }

    /// Readable when a library thread has noted something.
    pub fn wake_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }

    /// What was noted since the last time.
    pub fn take(&self) -> Vec<Signal> {
        let mut count = [0; 8];
        // Nothing to read is no error: the fence was noted on this thread or was taken already.
        let _ = rustix::io::read(&self.wake, &mut count);
        std::mem::take(&mut *self.noted.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn note(&self, signal: Signal) {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner).push(signal);
        // It can only fail when its count is full, and then it is readable.
        let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
    }

    /// For the library, which closes it.
    fn another_node(&self) -> c_int {
        let copy = self.node.as_ref().and_then(|node| rustix::io::fcntl_dupfd_cloexec(node, 3).ok());
        copy.map_or(-1, OwnedFd::into_raw_fd)
    }
}

/// # Safety
/// `cookie` is the one that [`super::Virgl::start`] gave to the library.
unsafe fn signals<'a>(cookie: *mut c_void) -> &'a Signals {
    // SAFETY: it is a leaked `Signals`, which is never changed but through its mutex.
    unsafe { &*cookie.cast::<Signals>() }
}

/// `write_fence`.
pub extern "C" fn write_fence(cookie: *mut c_void, fence: u32) {
    // SAFETY: the library passes on what it was given.
    unsafe { signals(cookie) }.note(Signal::Global(fence));
}

/// `write_context_fence`.
pub extern "C" fn write_context_fence(cookie: *mut c_void, context: u32, ring: u32, fence: u64) {
    // SAFETY: the library passes on what it was given.
    unsafe { signals(cookie) }.note(Signal::Ring { context, ring, fence });
}

/// `get_drm_fd`.
pub extern "C" fn get_drm_fd(cookie: *mut c_void) -> c_int {
    // SAFETY: the library passes on what it was given.
    unsafe { signals(cookie) }.another_node()
}
