//! Who waits for what: the renderer's answers come in the order of the requests, fences whenever they signal.
//!
//! The guest's driver takes the answer to a fenced command for a sign that all fences before it have signalled, so
//! every such command keeps its place, whoever executes it and whether it is refused or not.
//!
//! Bounded by [`Answers::has_room`]: no queue of the guest's is served while that says no. (Its length is no bound: a
//! driver may make a command available again before it was answered.)

use super::ThreeD;
use crate::gpu::outcome::{Outcome, Token};
use crate::gpu::pacing::Waits;
use crate::gpu::resources::Resources;
use crate::gpu::wire::{FLAG_INFO_RING_IDX, Header, Status};
use crate::renderer::client::{Answer, RendererEvent, Ticket, Unsent};
use std::collections::{BTreeMap, HashMap};
use std::os::fd::OwnedFd;
use std::time::Instant;

/// Most answers that are waited for: the control queue, and what the device asks by itself.
const MAX_WAITING: usize = 2048;

/// Why the renderer was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The guest's command.
    Plain,
    /// The guest's command that makes this context.
    Context(u32),
    /// The guest's command that makes this resource.
    Resource(u32),
    /// The guest's command that maps this blob.
    Map(u32),
    /// A part of a scanout's pixels.
    Fetch {
        /// Which scanout.
        scanout: usize,
        /// Which of its fetches.
        epoch: u64,
        /// Of which resource.
        resource: u32,
        /// None comes after it.
        last: bool,
    },
    /// A cursor's pixels.
    Cursor {
        /// Of which scanout.
        scanout: u32,
        /// Which of all reads of cursors.
        read: u64,
    },
    /// A texture as dmabufs.
    Export(u32),
    /// The guest's command that shows a host blob.
    Picture(u32),
    /// Nobody waits.
    Silent,
}

/// What the device has to do.
#[derive(Debug)]
pub enum ThreeDEvent {
    /// The guest's command is done.
    Answer(Token, Status),
    /// The memory of a blob that the guest's command maps: a dmabuf, or a memfd that cannot shrink, of at least `size`
    /// bytes.
    Mapped {
        /// The command.
        token: Token,
        /// The blob.
        resource: u32,
        /// Its memory.
        file: OwnedFd,
        /// Bytes.
        size: u64,
        /// How to cache it.
        cache: u32,
    },
    /// A scanout's pixels are there, or will never be.
    Fetched {
        /// Which scanout.
        scanout: usize,
        /// Which of its fetches.
        epoch: u64,
        /// They are there, all of them.
        done: bool,
    },
    /// A scanout's cursor is there.
    Cursor {
        /// Which scanout.
        scanout: u32,
        /// Which of all reads of cursors.
        read: u64,
    },
    /// This blob cannot be shown after all.
    Unshowable(u32),
    /// Another renderer is ready.
    Started,
    /// The renderer died: one sentence. The last of a turn's events but for those of its end.
    Died(String),
}

/// When a fenced command is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Until {
    /// When the renderer has answered, and the fences before it have signalled: whatever the library does at once.
    Answered,
    /// When the GPU, or what draws in its place, has done what the command asked for.
    Drawn,
}

#[derive(Debug, Default)]
pub(super) struct Answers {
    waiting: HashMap<Ticket, (Token, Purpose)>,
    /// Fences that have not signalled, the commands that they end, and what these wait for.
    fences: BTreeMap<u64, (Token, Until)>,
    /// Fences of commands that have them.
    fenced: HashMap<Token, u64>,
    /// What commands get when their fences signal, if they were refused.
    refusals: HashMap<Token, Status>,
    /// Fences after which the renderer has drawn what a scanout is to show: which scanout, and which of its fetches.
    drawn: BTreeMap<u64, (usize, u64)>,
    next_token: u64,
    next_fence: u64,
    events: Vec<ThreeDEvent>,
}

impl Answers {
    pub fn has_room(&self) -> bool {
        self.waiting.len() + self.fences.len() < MAX_WAITING
    }

    pub fn any_fence(&self) -> bool {
        !self.fences.is_empty()
    }

    pub fn token(&mut self) -> Token {
        self.next_token += 1;
        Token(self.next_token)
    }

    pub fn expect(&mut self, ticket: Ticket, purpose: Purpose) -> Token {
        let token = self.token();
        self.waiting.insert(ticket, (token, purpose));
        token
    }

    /// A fence that ends this command.
    pub fn fence(&mut self, token: Token, until: Until) -> u64 {
        self.next_fence += 1;
        self.fences.insert(self.next_fence, (token, until));
        self.fenced.insert(token, self.next_fence);
        self.next_fence
    }

    /// A fence after which a scanout can be shown.
    pub fn drawn(&mut self, scanout: usize, epoch: u64) -> u64 {
        self.next_fence += 1;
        self.drawn.insert(self.next_fence, (scanout, epoch));
        self.next_fence
    }

    /// That fence was not sent after all.
    pub fn undrawn(&mut self, fence: u64) {
        self.drawn.remove(&fence);
    }

    /// That fence was not sent after all.
    pub fn unfence(&mut self, fence: u64) {
        if let Some((token, _)) = self.fences.remove(&fence) {
            self.fenced.remove(&token);
        }
    }

    /// Nobody waits any more; answers that still come are for nobody.
    pub fn forget(&mut self) {
        for (_, purpose) in self.waiting.values_mut() {
            *purpose = Purpose::Silent;
        }
        self.fences.clear();
        self.drawn.clear();
        self.fenced.clear();
        self.refusals.clear();
        self.events.retain(|event| matches!(event, ThreeDEvent::Died(_)));
    }

    pub fn push(&mut self, event: ThreeDEvent) {
        self.events.push(event);
    }

    pub fn take_events(&mut self) -> Vec<ThreeDEvent> {
        std::mem::take(&mut self.events)
    }

    fn answered(&mut self, token: Token, purpose: Purpose, status: Status) {
        match purpose {
            Purpose::Silent | Purpose::Export(_) => {}
            Purpose::Fetch { scanout, epoch, last, .. } => {
                let done = status == Status::OkNoData;
                if last || !done {
                    self.events.push(ThreeDEvent::Fetched { scanout, epoch, done });
                }
            }
            Purpose::Cursor { scanout, read } => {
                if status == Status::OkNoData {
                    self.events.push(ThreeDEvent::Cursor { scanout, read });
                }
            }
            Purpose::Plain | Purpose::Context(_) | Purpose::Resource(_) | Purpose::Map(_) | Purpose::Picture(_) => {
                if !self.fenced.contains_key(&token) {
                    self.events.push(ThreeDEvent::Answer(token, status));
                } else if status != Status::OkNoData {
                    self.refuse(token, status);
                }
            }
        }
    }

    /// What a command with a fence gets once that signals.
    pub fn refuse(&mut self, token: Token, status: Status) {
        self.refusals.insert(token, status);
    }

    fn signalled(&mut self, fence: u64) {
        if let Some((scanout, epoch)) = self.drawn.remove(&fence) {
            self.events.push(ThreeDEvent::Fetched { scanout, epoch, done: true });
        }
        // An invented one was never in.
        if let Some((token, _)) = self.fences.remove(&fence) {
            self.fenced.remove(&token);
            self.end(token);
        }
    }

    /// A command's fence has signalled, or nothing waits for it any more.
    fn end(&mut self, token: Token) {
        let status = self.refusals.remove(&token).unwrap_or(Status::OkNoData);
        self.events.push(ThreeDEvent::Answer(token, status));
    }
}

/// The specification's error for the renderer's.
fn status(errno: i32) -> Status {
    match errno {
        libc::ENOMEM => Status::ErrOutOfMemory,
        libc::EINVAL => Status::ErrInvalidParameter,
        _ => Status::ErrUnspec,
    }
}

impl ThreeD {
    /// The guest's answer comes with the renderer's, for a command that the library has carried out by then.
    pub(super) fn expect(&mut self, header: &Header, ticket: Ticket, purpose: Purpose) -> (Outcome, Token) {
        self.expect_until(header, ticket, purpose, Until::Answered)
    }

    /// The guest's answer comes with the renderer's, and, if the guest wants a fence, after that.
    pub(super) fn expect_until(
        &mut self,
        header: &Header,
        ticket: Ticket,
        purpose: Purpose,
        until: Until,
    ) -> (Outcome, Token) {
        let token = self.answers.expect(ticket, purpose);
        if header.fenced() {
            // Without it the answer ends the command.
            self.fence(header, token, until);
        }
        (Outcome::Forwarded(token, Waits::NOTHING), token)
    }

    fn fence(&mut self, header: &Header, token: Token, until: Until) -> bool {
        let ring = (header.flags & FLAG_INFO_RING_IDX != 0).then_some(header.ring_idx);
        // Without a ring the fence is on the device's one timeline, whatever the context.
        let context = if ring.is_some() { header.ctx_id } else { 0 };
        let fence = self.answers.fence(token, until);
        let sent = match until {
            Until::Answered => self.client.follow(context, ring, fence),
            Until::Drawn => self.client.fence(context, ring, fence),
        };
        if sent == Err(Unsent::Gone) {
            self.answers.unfence(fence);
            return false;
        }
        // A renderer that cannot be told of it is ended, and its end is answered as every fence before this one is.
        self.must(sent);
        true
    }

    /// A fenced command that the device itself has executed keeps its place on the device's timeline.
    pub fn in_order(&mut self, header: &Header, outcome: Outcome) -> Outcome {
        let waits = match outcome {
            Outcome::Answer => Waits::NOTHING,
            Outcome::Hold(waits) => waits,
            Outcome::Forwarded(..) => return outcome,
        };
        if !header.fenced() || !self.answers.any_fence() {
            return outcome;
        }
        let token = self.answers.token();
        if self.fence(header, token, Until::Answered) { Outcome::Forwarded(token, waits) } else { outcome }
    }

    /// The same for a fenced command that the device refuses; `None` if nothing is before it.
    pub fn refuse_in_order(&mut self, header: &Header, status: Status) -> Option<Outcome> {
        if !header.fenced() || !self.answers.any_fence() {
            return None;
        }
        let token = self.answers.token();
        self.fence(header, token, Until::Answered).then(|| {
            self.answers.refuse(token, status);
            Outcome::Forwarded(token, Waits::NOTHING)
        })
    }

    pub(super) fn happened(&mut self, happened: RendererEvent, now: Instant, resources: &mut Resources) {
        match happened {
            RendererEvent::Ready => self.answers.events.push(ThreeDEvent::Started),
            RendererEvent::Answered { ticket, answer } => {
                let Some((token, purpose)) = self.answers.waiting.remove(&ticket) else { return };
                let answer = match (answer, purpose) {
                    (Answer::Mapped { file, .. }, _) if self.is_lent(&file, resources) => {
                        tracing::debug!(target: "guest", "the renderer gave out memory that is not its own");
                        Answer::Refused(libc::EINVAL)
                    }
                    (Answer::Mapped { file, size, cache }, Purpose::Map(resource)) => {
                        self.answers.events.push(ThreeDEvent::Mapped { token, resource, file, size, cache });
                        return;
                    }
                    (Answer::Exported(export, files), Purpose::Export(id)) => {
                        self.exported(id, token, export, files, resources);
                        return;
                    }
                    (Answer::Mapped { file, size, .. }, Purpose::Picture(id)) => {
                        self.picture_given(id, token, file, size);
                        Answer::Done
                    }
                    (answer, _) => answer,
                };
                let status = match answer {
                    Answer::Refused(errno) => status(errno),
                    Answer::Done | Answer::Exported(..) | Answer::Mapped { .. } => Status::OkNoData,
                };
                if status != Status::OkNoData {
                    self.refused(token, purpose, resources);
                }
                self.answers.answered(token, purpose, status);
            }
            RendererEvent::Fenced(fence) => self.answers.signalled(fence),
            RendererEvent::Died { why, .. } => self.died(why, now, resources),
        }
    }

    /// What the renderer would not make is as good as lost; the guest takes it away itself.
    fn refused(&mut self, token: Token, purpose: Purpose, resources: &mut Resources) {
        match purpose {
            Purpose::Context(id) => {
                if let Some(context) = self.contexts.get_mut(&id).filter(|context| context.made_by == token) {
                    context.lost = true;
                }
            }
            Purpose::Resource(id) => resources.not_made(id, token),
            Purpose::Export(id) | Purpose::Picture(id) => self.export_refused(id, token, resources),
            Purpose::Fetch { resource, .. } => self.miss(resource),
            Purpose::Plain | Purpose::Map(_) | Purpose::Cursor { .. } | Purpose::Silent => {}
        }
    }

    fn died(&mut self, reason: String, now: Instant, resources: &mut Resources) {
        let waiting: Vec<_> = self.answers.waiting.drain().map(|(_, waiting)| waiting).collect();
        let fences = std::mem::take(&mut self.answers.fences);
        self.lose_everything(resources);
        self.answers.events.push(ThreeDEvent::Died(reason));
        let drawn = std::mem::take(&mut self.answers.drawn).into_values();
        let missed = |(scanout, epoch)| ThreeDEvent::Fetched { scanout, epoch, done: false };
        self.answers.events.extend(drawn.map(missed));
        self.answers.fenced.clear();
        let open: Vec<Token> = waiting.iter().map(|&(token, _)| token).collect();
        for (token, purpose) in waiting {
            self.answers.answered(token, purpose, Status::ErrUnspec);
        }
        // Commands that were carried out and only waited for their fences, in their order. What was to be drawn by then
        // has not been: nobody is told that it was.
        for (token, until) in fences.into_values().filter(|(token, _)| !open.contains(token)) {
            if until == Until::Drawn {
                self.answers.refusals.entry(token).or_insert(Status::ErrUnspec);
            }
            self.answers.end(token);
        }
        self.answers.refusals.clear();
        if let Err(off) = self.client.restart(now) {
            tracing::warn!(target: "guest", "{off}");
        }
    }
}
