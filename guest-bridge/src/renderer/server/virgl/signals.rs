//! What the library calls back: fences that have signalled, and the render node that it asks for.
//!
//! The callbacks may come from the library's threads, which hold none of its locks that a call of ours waits for while
//! it holds one of ours ([`EventQueue`] holds its own across no call). Nothing in them can unwind.

use crate::renderer::server::event_queue::EventQueue;
use std::ffi::{c_int, c_void};
use std::os::fd::{IntoRawFd, OwnedFd};
use std::sync::Arc;

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

/// Where callbacks bring what they have to say.
pub struct Signals {
    event_queue: Arc<EventQueue>,
    node: Option<OwnedFd>,
}

impl Signals {
    /// With the render node that the library is to use.
    pub fn new(node: Option<OwnedFd>, event_queue: Arc<EventQueue>) -> Self {
        Self { event_queue, node }
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
    // SAFETY: it is a leaked `Signals`, which is never changed but through a mutex.
    unsafe { &*cookie.cast::<Signals>() }
}

/// `write_fence`.
pub extern "C" fn write_fence(cookie: *mut c_void, fence: u32) {
    // SAFETY: the library passes on what it was given.
    unsafe { signals(cookie) }.event_queue.signalled(Signal::Global(fence));
}

/// `write_context_fence`.
pub extern "C" fn write_context_fence(cookie: *mut c_void, context: u32, ring: u32, fence: u64) {
    // SAFETY: the library passes on what it was given.
    unsafe { signals(cookie) }.event_queue.signalled(Signal::Ring { context, ring, fence });
}

/// `get_drm_fd`.
pub extern "C" fn get_drm_fd(cookie: *mut c_void) -> c_int {
    // SAFETY: the library passes on what it was given.
    unsafe { signals(cookie) }.another_node()
}
