//! The process that draws: phyllome-renderer, from its start to the end of its connection.
//!
//! It believes nothing that a guest can have chosen ([`state`], [`checks`]), but the library that it drives is large C
//! code which reads the guest's commands; whoever takes this process over that way has what its sandbox leaves it, and
//! phyllome-guest believes it nothing either. One thread of ours waits for requests, and sleeps while there are none;
//! fences are told by the library's ([`event_queue`]). `unsafe` is in [`virgl`], [`memory`] and [`inherited`] only.

#[cfg(feature = "test-doors")]
pub mod checks;
#[cfg(not(feature = "test-doors"))]
mod checks;
mod event_queue;
mod fences;
mod formats;
mod inherited;
mod memory;
mod state;
mod virgl;
mod vulkan;

pub use inherited::inherit;

use super::limits::{MAX_CAPSETS, MAX_DRIVER, MAX_LACK, MAX_REGIONS, MAX_UNABLE, capset};
use super::packets::{Incoming, Outgoing, Received};
use super::wire::{self, Event, Request};
use crate::halt_poll::HaltPoll;
use event_queue::EventQueue;
use phyllome_protocol::complain;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use state::{Broken, Reply, State};
use std::ffi::c_int;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};
use virgl::{
    ASYNC_FENCE_CB, DRM, RENDER_SERVER, THREAD_SYNC, USE_EGL, USE_EXTERNAL_BLOB, USE_GLES, USE_SURFACELESS, VENUS,
    Virgl,
};

/// The library's name.
pub const LIBRARY: &str = "libvirglrenderer.so.1";
/// The ids of the capsets that may be offered: virgl, virgl2, Venus, DRM native contexts.
const CAPSETS: [u32; 4] = [capset::VIRGL, capset::VIRGL2, capset::VENUS, capset::DRM];
/// How long requests are served before the answers to them go out.
const TURN: Duration = Duration::from_millis(4);
/// No request is taken while so many bytes of answers wait for phyllome-guest to take them.
const MAX_UNSENT: usize = 1 << 20;
/// How often a library without a descriptor for it is asked for fences, while there are any.
const FENCE_INTERVAL: Duration = Duration::from_micros(1500);

/// Which contexts a guest may have beside virgl's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    /// Vulkan by Venus.
    pub venus: bool,
    /// The GPU's native contexts.
    pub drm: bool,
}

/// How to start.
#[derive(Debug)]
pub struct Options {
    /// The library's name or path: [`LIBRARY`] but in tests.
    pub library: String,
    /// The GPU; `None` draws on the CPU.
    pub node: Option<OwnedFd>,
    /// What to offer if the library can.
    pub wishes: Wishes,
}

/// Why the process ends otherwise than by the end of its connection.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum End {
    #[error("{0}")]
    Unable(String),
    #[error(transparent)]
    Broken(#[from] Broken),
    #[error("the connection to phyllome-guest failed: {0}")]
    Connection(#[from] Errno),
}

/// The flags that the library is initialised with, those to be tried first first. OpenGL ES comes after all of OpenGL:
/// what an attempt found out about formats stays in the library, and after one with OpenGL ES it takes red for blue.
fn attempts(wishes: Wishes, has_node: bool) -> Vec<c_int> {
    let windowing: &[c_int] =
        if has_node { &[USE_EGL, USE_EGL | USE_SURFACELESS] } else { &[USE_EGL | USE_SURFACELESS] };
    let venus = if wishes.venus { VENUS | RENDER_SERVER } else { 0 };
    let drm = if wishes.drm { DRM } else { 0 };
    let told = THREAD_SYNC | ASYNC_FENCE_CB;
    let mut more = vec![told | venus | drm, told | venus, told | drm, told, 0];
    more.dedup();
    let with = |more: c_int| windowing.iter().map(move |base| base | more);
    let languages = [0, USE_GLES];
    let flags = languages.into_iter().flat_map(|language| more.iter().flat_map(move |more| with(more | language)));
    let mut all: Vec<c_int> = Vec::new();
    for flags in flags.map(|flags| flags | USE_EXTERNAL_BLOB) {
        if !all.contains(&flags) {
            all.push(flags);
        }
    }
    all
}

/// The capsets that are asked for.
fn wanted(wishes: Wishes) -> impl Iterator<Item = u32> {
    CAPSETS.into_iter().filter(move |&id| match id {
        capset::VENUS => wishes.venus,
        capset::DRM => wishes.drm,
        _ => true,
    })
}

/// Starts the library, then serves phyllome-guest until it closes its end. `initialised` is called once the library
/// runs and before any byte of the guest's is read, with what came of the wishes: whatever the process needs no more
/// from there on may be taken from it there; its error is a sentence.
pub fn run(
    socket: &OwnedFd,
    options: Options,
    initialised: impl FnOnce(Wishes) -> Result<(), String>,
) -> Result<(), End> {
    let event_queue = Arc::new(EventQueue::new(rustix::io::fcntl_dupfd_cloexec(socket, 3)?)?);
    let started = start(options, &event_queue).and_then(|(state, offered)| initialised(offered).map(|()| state));
    match started {
        Ok(state) => serve(socket, state, &event_queue),
        Err(why) => Err(refuse(socket, why)),
    }
}

/// Tells phyllome-guest that there is no 3D, and why: a sentence.
pub fn refuse(socket: &OwnedFd, why: String) -> End {
    let mut out = Outgoing::default();
    out.push(&Event::Unable(shorten(&why, MAX_UNABLE)), Vec::new());
    // It has ended already if it does not take this.
    let _ = out.send(socket);
    End::Unable(why)
}

fn start(options: Options, event_queue: &Arc<EventQueue>) -> Result<(State, Wishes), String> {
    let (wishes, mut lacks) = fulfil(options.wishes, options.node.is_some(), vulkan::probe);
    let attempts = attempts(wishes, options.node.is_some());
    let virgl = Virgl::start(&options.library, options.node, &attempts, event_queue.clone())?;
    let mut offered = Vec::new();
    for id in wanted(wishes).take(MAX_CAPSETS) {
        if let Some((version, data)) = virgl.capset(id)
            && event_queue.push(&Event::Capset { id, version, data: &data }, Vec::new())
        {
            offered.push(id);
        }
    }
    if offered.is_empty() {
        return Err(
            "3D cannot start: virglrenderer offers no capability set; install one that was built with OpenGL".into()
        );
    }
    if wishes.venus && !offered.contains(&capset::VENUS) {
        lacks.push(
            "no Venus: this virglrenderer is built without it, or its virgl_render_server is not installed".into(),
        );
    }
    if wishes.drm && !offered.contains(&capset::DRM) {
        lacks.push("no native contexts: this virglrenderer has none for the GPU's driver".into());
    }
    for lack in &lacks {
        complain(lack);
        event_queue.push(&Event::Lacks(shorten(lack, MAX_LACK)), Vec::new());
    }
    event_queue.push(&Event::Ready { driver: shorten(&virgl.driver(), MAX_DRIVER) }, Vec::new());
    event_queue.urge();
    let fulfilled = Wishes { venus: offered.contains(&capset::VENUS), drm: offered.contains(&capset::DRM) };
    Ok((State::new(virgl, offered, event_queue.clone()), fulfilled))
}

/// What of the wishes the host can fulfil, and a sentence for each that it cannot. `probe` says whether its Vulkan can
/// be shared with a guest, where a processor that draws may count as a device or not.
fn fulfil(wishes: Wishes, has_node: bool, probe: impl FnOnce(bool) -> Result<String, String>) -> (Wishes, Vec<String>) {
    let mut lacks = Vec::new();
    let venus = wishes.venus && probe(!has_node).map_err(|why| lacks.push(format!("no Venus: {why}"))).is_ok();
    if wishes.drm && !has_node {
        lacks.push("no native contexts: there is no GPU to draw with".into());
    }
    (Wishes { venus, drm: wishes.drm && has_node }, lacks)
}

/// At most `most` bytes, cut between characters.
fn shorten(text: &str, most: usize) -> &str {
    let end = (0..=most.min(text.len())).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
    text.get(..end).unwrap_or_default()
}

fn serve(socket: &OwnedFd, mut state: State, event_queue: &EventQueue) -> Result<(), End> {
    let mut incoming = Incoming::new(MAX_REGIONS);
    let fences = state.poll_fd();
    let mut halt_poll = HaltPoll::default();
    loop {
        let rest = match event_queue.rest() {
            Ok(rest) => rest,
            Err(Errno::PIPE | Errno::CONNRESET) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let mut events = if rest.unsent < MAX_UNSENT { PollFlags::IN } else { PollFlags::empty() };
        if rest.blocked {
            events |= PollFlags::OUT;
        }
        let mut polled =
            vec![PollFd::new(socket, events), PollFd::from_borrowed_fd(event_queue.wake_fd(), PollFlags::IN)];
        polled.extend(fences.map(|fences| PollFd::from_borrowed_fd(fences, PollFlags::IN)));
        let most = if state.must_poll() { Some(FENCE_INTERVAL) } else { rest.most };
        wait(&mut polled, most, &mut halt_poll)?;
        let ready = |at: usize| polled.get(at).is_some_and(|fd| !fd.revents().is_empty());
        let requests = polled.first().map(|fd| fd.revents()).unwrap_or(PollFlags::empty());
        event_queue.awake(ready(1));
        if ready(2) || state.must_poll() {
            state.poll();
        }
        if requests.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR)
            && turn(socket, &mut incoming, &mut state, event_queue)? == Turn::End
        {
            return Ok(());
        }
    }
}

/// Waits until one of these is ready, but not longer than `most`.
fn wait(polled: &mut [PollFd<'_>], most: Option<Duration>, halt_poll: &mut HaltPoll) -> Result<(), Errno> {
    let start = Instant::now();
    let look = halt_poll.look().min(most.unwrap_or(Duration::MAX));
    let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
    while start.elapsed() < look {
        match poll(polled, Some(&zero)) {
            Ok(0) | Err(Errno::INTR) => std::thread::yield_now(),
            Ok(_) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
    let timeout = most.and_then(|most| Timespec::try_from(most).ok());
    match poll(polled, timeout.as_ref()) {
        Ok(_) => halt_poll.came(start.elapsed()),
        Err(Errno::INTR) => {}
        Err(error) => return Err(error),
    }
    Ok(())
}

/// What came of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// The connection has ended.
    End,
    /// Requests were served.
    Served,
}

/// Serves what has come, for a while.
fn turn(socket: &OwnedFd, incoming: &mut Incoming, state: &mut State, event_queue: &EventQueue) -> Result<Turn, End> {
    let end = Instant::now() + TURN;
    while event_queue.unsent() < MAX_UNSENT {
        let (count, files) = match incoming.receive(socket.as_fd())? {
            Received::Packet(count, files) => (count, files),
            Received::Nothing => break,
            Received::Closed => return Ok(Turn::End),
            Received::TooMuch => return Err(Errno::MSGSIZE.into()),
        };
        if serve_packet(incoming.bytes(count), files, state)? {
            event_queue.urge();
        }
        if Instant::now() >= end {
            break;
        }
    }
    Ok(Turn::Served)
}

/// Whether there are answers that do not wait for a fence.
fn serve_packet(mut packet: &[u8], files: Vec<OwnedFd>, state: &mut State) -> Result<bool, Broken> {
    let mut files = Some(files);
    // Of all requests but the last that was answered, and of that.
    let (mut urgent, mut last) = (false, false);
    while !packet.is_empty() {
        let (request, rest) = wire::take::<Request<'_>>(packet).ok_or(Broken("bytes that are no message"))?;
        packet = rest;
        // They belong to the only message of their packet.
        let files = files.take().unwrap_or_default();
        if !files.is_empty() && !packet.is_empty() {
            return Err(Broken("a message after one with descriptors"));
        }
        match state.serve(request, files)? {
            Reply::Nothing => {}
            Reply::Answer => urgent |= std::mem::replace(&mut last, true),
            Reply::Fence => last = false,
        }
    }
    Ok(urgent || last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn virgl_alone_is_tried_on_the_gpu_first_and_without_threads_last() {
        let all = attempts(Wishes::default(), true);
        assert_eq!(all.first(), Some(&(USE_EGL | THREAD_SYNC | ASYNC_FENCE_CB | USE_EXTERNAL_BLOB)));
        assert_eq!(all.last(), Some(&(USE_EGL | USE_SURFACELESS | USE_GLES | USE_EXTERNAL_BLOB)));
        assert_eq!(all.len(), 8);
        assert!(attempts(Wishes::default(), false).iter().all(|flags| flags & USE_SURFACELESS != 0));
    }

    #[test]
    fn venus_and_native_contexts_are_given_up_one_by_one() {
        let all = attempts(Wishes { venus: true, drm: true }, false);
        let kinds: Vec<c_int> = all.iter().map(|flags| flags & (VENUS | DRM)).collect();
        let once = [VENUS | DRM, VENUS, DRM, 0, 0];
        assert_eq!(kinds, [once, once].concat());
        assert!(all.is_sorted_by_key(|flags| flags & USE_GLES), "OpenGL ES is last");
        let venus = all.iter().filter(|&flags| flags & VENUS != 0);
        assert!(venus.into_iter().all(|flags| flags & RENDER_SERVER != 0 && flags & ASYNC_FENCE_CB != 0));
    }

    #[test]
    fn only_what_is_wished_for_is_offered() {
        assert_eq!(wanted(Wishes::default()).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(wanted(Wishes { venus: true, drm: true }).collect::<Vec<_>>(), [1, 2, 4, 6]);
    }

    #[test]
    fn wishes_are_fulfilled_by_what_the_host_has() {
        let all = Wishes { venus: true, drm: true };
        let fine = |_| Ok("a GPU".to_owned());
        assert_eq!(fulfil(all, true, fine), (all, vec![]));
        let (without, lacks) = fulfil(all, false, |processor| if processor { Err("why".into()) } else { fine(true) });
        assert_eq!((without, lacks.len()), (Wishes::default(), 2));
        assert_eq!(lacks[0], "no Venus: why");
        let nothing = fulfil(Wishes::default(), true, |_| panic!("not asked"));
        assert_eq!(nothing, (Wishes::default(), vec![]));
    }

    #[test]
    fn long_sentences_are_cut_between_characters() {
        assert_eq!(shorten("äöü", 3), "ä");
        assert_eq!(shorten("abc", 256), "abc");
    }
}
