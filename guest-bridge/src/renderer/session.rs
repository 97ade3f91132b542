//! What a renderer may say, and when: every check of its events, between packets and the device.
//!
//! Nothing is believed. An event that the protocol does not allow at that moment is an error, which ends the renderer;
//! a file that cannot be used safely is a refused request. No sockets and no clock here; what is kept is bounded by
//! what was asked.

use super::files::{self, picture_fits};
use super::limits::{MAX_CAPSET, MAX_CAPSETS, MAX_DRIVER, MAX_LACK, MAX_LACKS, MAX_PLANES, MAX_UNABLE};
use super::output::clean;
use super::wire::{self, Event, Export, MapCache, Request};
use crate::spare::is_spare;
use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::os::fd::{AsRawFd, OwnedFd};

/// Greatest errno.
const MAX_ERRNO: i32 = 4095;
/// The refusal of a file that cannot be used.
const EINVAL: i32 = libc::EINVAL;

/// A request that is to be answered. Never given twice, also not across restarts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub(super) u64);

/// What a renderer's library offers for one `VIRTIO_GPU_CAPSET_*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capset {
    /// `VIRTIO_GPU_CAPSET_*`.
    pub id: u32,
    /// Its greatest version.
    pub version: u32,
    /// Its bytes at that version: 1 to [`MAX_CAPSET`].
    pub data: Vec<u8>,
}

/// A request's answer.
#[derive(Debug)]
pub enum Answer {
    /// It is done.
    Done,
    /// It is refused, with this errno (positive).
    Refused(i32),
    /// The answer to [`Request::Export`]: sizes that are not 0, as many files as planes, the first plane within its
    /// file, and every file a dmabuf.
    Exported(Export, Vec<OwnedFd>),
    /// The answer to [`Request::Map`].
    Mapped {
        /// A dmabuf, or a memfd that cannot shrink, of at least `size` bytes.
        file: OwnedFd,
        /// Bytes, not 0.
        size: u64,
        /// How to cache it; 0 to 3.
        cache: MapCache,
    },
}

/// Something that a renderer did.
#[derive(Debug)]
pub enum RendererEvent {
    /// It has started (again).
    Ready,
    /// It answered a request; these come in the order of the requests.
    Answered {
        /// Which.
        ticket: Ticket,
        /// With what.
        answer: Answer,
    },
    /// This fence has signalled. Each fence comes once, here or in [`Self::Died`].
    Fenced(u64),
    /// It has ended, or was ended. Comes once per renderer, as the last of its events.
    Died {
        /// Why; one sentence.
        why: String,
        /// The requests that will never be answered, oldest first.
        tickets: Vec<Ticket>,
        /// The fences that will never signal, in order of their numbers.
        fences: Vec<u64>,
    },
}

/// Why a renderer is not listened to any more.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ends {
    /// It said itself that there will be no 3D.
    Unable(String),
    /// What it said is not allowed.
    Violation(&'static str),
}

impl fmt::Display for Ends {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unable(why) => to.write_str(why),
            Self::Violation(what) => write!(to, "the renderer broke its protocol ({what}), so it was ended"),
        }
    }
}

use Ends::Violation;

/// Which answers a request may have, besides a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    Done,
    Exported,
    Mapped,
}

/// Which answer; `None` if there is none.
fn expected(request: &Request<'_>) -> Option<Expected> {
    match request {
        Request::Part(_) | Request::Fence { .. } | Request::Follow { .. } | Request::DropTarget(_) => None,
        Request::Export(_) => Some(Expected::Exported),
        Request::Map(_) => Some(Expected::Mapped),
        Request::Memory(_)
        | Request::CreateContext { .. }
        | Request::DestroyContext(_)
        | Request::ContextResource { .. }
        | Request::Create { .. }
        | Request::Attach { .. }
        | Request::AttachFile { .. }
        | Request::Detach(_)
        | Request::Unref(_)
        | Request::Submit { .. }
        | Request::TransferTo { .. }
        | Request::TransferFrom { .. }
        | Request::Target { .. }
        | Request::ReadBack { .. }
        | Request::CreateBlob { .. }
        | Request::Reset => Some(Expected::Done),
    }
}

/// The session with one renderer: what it was asked, and what it may say.
#[derive(Debug, Default)]
pub(super) struct Session {
    /// What it said of itself, once it is ready.
    pub(super) ready: Option<String>,
    /// Its capsets, complete once it is ready.
    pub(super) capsets: Vec<Capset>,
    /// What it does not offer, and why.
    pub(super) lacks: Vec<String>,
    /// Where there are no dmabufs at all, tests take sealed memory for pictures.
    #[cfg(any(test, feature = "test-doors"))]
    pub(super) memfd_pictures: bool,
    open: VecDeque<(Ticket, Expected)>,
    fences: HashSet<u64>,
}

impl Session {
    /// A session that takes sealed memory for pictures.
    #[cfg(feature = "test-doors")]
    pub(super) fn of_memfds() -> Self {
        Self { memfd_pictures: true, ..Self::default() }
    }

    /// A session with the next renderer.
    pub(super) fn anew(&self) -> Self {
        Self {
            #[cfg(any(test, feature = "test-doors"))]
            memfd_pictures: self.memfd_pictures,
            ..Self::default()
        }
    }

    /// `request` is to be sent. `false` if nobody will ever answer it.
    pub(super) fn ask(&mut self, ticket: Ticket, request: &Request<'_>) -> bool {
        let expected = expected(request);
        self.open.extend(expected.map(|expected| (ticket, expected)));
        expected.is_some()
    }

    /// A fence is to be sent. `false` if it is under way already.
    pub(super) fn fence(&mut self, fence: u64) -> bool {
        self.fences.insert(fence)
    }

    /// How many requests are not answered.
    pub(super) fn open(&self) -> usize {
        self.open.len()
    }

    /// How many fences have not signalled.
    pub(super) fn fences(&self) -> usize {
        self.fences.len()
    }

    /// What will never be answered, of a renderer that ended.
    pub(super) fn abandon(&mut self) -> (Vec<Ticket>, Vec<u64>) {
        let mut fences: Vec<u64> = self.fences.drain().collect();
        fences.sort_unstable();
        (self.open.drain(..).map(|(ticket, _)| ticket).collect(), fences)
    }

    /// A packet came, with these descriptors. What it says is appended to `events`, as far as it is right.
    pub(super) fn hear(
        &mut self,
        mut packet: &[u8],
        files: Vec<OwnedFd>,
        events: &mut Vec<RendererEvent>,
    ) -> Result<(), Ends> {
        let mut files = Some(files).filter(|files| !files.is_empty());
        let alone = files.is_some();
        while !packet.is_empty() {
            let (event, rest) = wire::take::<Event<'_>>(packet).ok_or(Violation("bytes that are no message"))?;
            if alone && !rest.is_empty() {
                return Err(Violation("descriptors with several messages"));
            }
            self.event(event, &mut files, events)?;
            packet = rest;
        }
        if files.is_some() { Err(Violation("descriptors that nobody asked for")) } else { Ok(()) }
    }

    fn event(
        &mut self,
        event: Event<'_>,
        files: &mut Option<Vec<OwnedFd>>,
        events: &mut Vec<RendererEvent>,
    ) -> Result<(), Ends> {
        match event {
            Event::Unable(why) if why.len() > MAX_UNABLE => return Err(Violation("too long a text")),
            Event::Unable(why) => return Err(Ends::Unable(clean(why))),
            Event::Capset { id, version, data } => return self.capset(id, version, data),
            Event::Lacks(_) if self.ready.is_some() || self.lacks.len() >= MAX_LACKS => {
                return Err(Violation("a lack too late or too many"));
            }
            Event::Lacks(what) if what.len() > MAX_LACK => return Err(Violation("too long a text")),
            Event::Lacks(what) => {
                self.lacks.push(clean(what));
                return Ok(());
            }
            Event::Ready { driver } => {
                if self.ready.is_some() {
                    return Err(Violation("ready twice"));
                }
                if driver.len() > MAX_DRIVER {
                    return Err(Violation("too long a text"));
                }
                self.ready = Some(clean(driver));
                events.push(RendererEvent::Ready);
                return Ok(());
            }
            _ if self.ready.is_none() => return Err(Violation("an answer before it was ready")),
            Event::Fenced(fence) => {
                if !self.fences.remove(&fence) {
                    return Err(Violation("a fence that was not asked for"));
                }
                events.push(RendererEvent::Fenced(fence));
                return Ok(());
            }
            Event::Done(_) | Event::Exported(_) | Event::Mapped { .. } => {}
        }
        let (ticket, expected) = self.open.pop_front().ok_or(Violation("an answer without a request"))?;
        let answer = match (event, expected) {
            (Event::Done(0), Expected::Done) => Ok(Answer::Done),
            (Event::Done(errno @ 1..=MAX_ERRNO), _) => Ok(Answer::Refused(errno)),
            (Event::Done(_), _) => Err(Violation("a result that is none")),
            (Event::Exported(export), Expected::Exported) => self.exported(export, files.take().unwrap_or_default()),
            (Event::Mapped { size, cache }, Expected::Mapped) => mapped(size, cache, files.take().unwrap_or_default()),
            (
                Event::Exported(_)
                | Event::Mapped { .. }
                | Event::Capset { .. }
                | Event::Ready { .. }
                | Event::Unable(_)
                | Event::Lacks(_)
                | Event::Fenced(_),
                _,
            ) => Err(Violation("another answer than was asked for")),
        };
        // A request whose answer is wrong is one that was never answered.
        match answer {
            Ok(answer) => events.push(RendererEvent::Answered { ticket, answer }),
            Err(ends) => {
                self.open.push_front((ticket, expected));
                return Err(ends);
            }
        }
        Ok(())
    }

    fn capset(&mut self, id: u32, version: u32, data: &[u8]) -> Result<(), Ends> {
        if self.ready.is_some() {
            return Err(Violation("a capset after it was ready"));
        }
        if self.capsets.len() >= MAX_CAPSETS {
            return Err(Violation("too many capsets"));
        }
        if data.is_empty() || data.len() > MAX_CAPSET {
            return Err(Violation("a capset's size"));
        }
        if self.capsets.iter().any(|capset| capset.id == id) {
            return Err(Violation("a capset twice"));
        }
        self.capsets.push(Capset { id, version, data: data.to_vec() });
        Ok(())
    }

    fn exported(&self, export: Export, planes: Vec<OwnedFd>) -> Result<Answer, Ends> {
        if !(1..=MAX_PLANES).contains(&export.planes.len()) || planes.len() != export.planes.len() {
            return Err(Violation("a picture's number of planes"));
        }
        if export.width == 0 || export.height == 0 {
            return Err(Violation("a picture's size"));
        }
        let size = |file| {
            let size = files::pixels_size(file);
            #[cfg(any(test, feature = "test-doors"))]
            let size = size.or_else(|| files::memfd_size(file).filter(|_| self.memfd_pictures));
            size
        };
        if !planes.iter().all(|plane| is_spare(plane.as_raw_fd())) {
            return Ok(Answer::Refused(libc::EMFILE));
        }
        let sizes: Option<Vec<u64>> = planes.iter().map(size).collect();
        if sizes.as_ref().is_some_and(|sizes| picture_fits(&export, sizes)) {
            return Ok(Answer::Exported(export, planes));
        }
        tracing::debug!(?export, ?sizes, "an exported picture is not in dmabufs that hold it");
        Ok(Answer::Refused(EINVAL))
    }
}

fn mapped(size: u64, cache: MapCache, files: Vec<OwnedFd>) -> Result<Answer, Ends> {
    let Ok([file]) = <[OwnedFd; 1]>::try_from(files) else { return Err(Violation("a mapping's descriptors")) };
    if size == 0 || cache > 3 {
        return Err(Violation("a mapping's numbers"));
    }
    if !is_spare(file.as_raw_fd()) {
        return Ok(Answer::Refused(libc::EMFILE));
    }
    let held = files::dmabuf_size(&file).or_else(|| files::memfd_size(&file));
    if held.is_some_and(|held| held >= size) {
        return Ok(Answer::Mapped { file, size, cache });
    }
    tracing::debug!(size, held, "a host blob's file cannot be mapped safely");
    Ok(Answer::Refused(EINVAL))
}
