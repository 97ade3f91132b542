//! Who waits for what: the renderer's answers come in the order of the requests, fences whenever they signal.
//!
//! Bounded by the guest's queues: each of its commands waits at most once.

use super::ThreeD;
use crate::gpu::wire::Status;
use crate::renderer::client::{Answer, Happened, Ticket};
use std::collections::{BTreeMap, HashMap};
use std::os::fd::OwnedFd;
use std::time::Instant;

/// Most answers that are waited for: the control queue, and what the device asks by itself.
const MAX_WAITING: usize = 2048;

/// One of the guest's commands that is not answered yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Token(u64);

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
    /// The last part of a scanout's pixels.
    Fetch {
        /// Which scanout.
        scanout: usize,
        /// Which of its fetches.
        epoch: u64,
    },
    /// A cursor's pixels.
    Cursor(u32),
    /// A texture as dmabufs.
    Export(u32),
    /// The guest's command that shows a host blob.
    Picture(u32),
    /// Nobody waits.
    Silent,
}

/// What the device has to do.
#[derive(Debug)]
pub enum News {
    /// The guest's command is done.
    Answer(Token, Status),
    /// The memory of a blob that the guest's command maps: a dmabuf, or a memfd that cannot shrink, of at least `size` bytes.
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
    /// A scanout's pixels are there (or will never be).
    Fetched {
        /// Which scanout.
        scanout: usize,
        /// Which of its fetches.
        epoch: u64,
    },
    /// A scanout's cursor is there.
    Cursor(u32),
    /// This blob cannot be shown after all.
    Unshowable(u32),
    /// Another renderer is ready.
    Started,
    /// The renderer died: one sentence. The last of a turn's news but for those of its end.
    Died(String),
}

#[derive(Debug, Default)]
pub(super) struct Answers {
    waiting: HashMap<Ticket, (Token, Purpose)>,
    /// Fences that have not signalled, and the commands that they end.
    fences: BTreeMap<u64, Token>,
    /// Fences of commands whose own answer has not come yet.
    unanswered: HashMap<Token, u64>,
    /// Fences after which the renderer has drawn what a scanout is to show: which scanout, and which of its fetches.
    drawn: BTreeMap<u64, (usize, u64)>,
    next_token: u64,
    next_fence: u64,
    news: Vec<News>,
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
    pub fn fence(&mut self, token: Token) -> u64 {
        self.next_fence += 1;
        self.fences.insert(self.next_fence, token);
        self.unanswered.insert(token, self.next_fence);
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
        if let Some(token) = self.fences.remove(&fence) {
            self.unanswered.remove(&token);
        }
    }

    /// Nobody waits any more; answers that still come are for nobody.
    pub fn forget(&mut self) {
        for (_, purpose) in self.waiting.values_mut() {
            *purpose = Purpose::Silent;
        }
        self.fences.clear();
        self.drawn.clear();
        self.unanswered.clear();
        self.news.retain(|news| matches!(news, News::Died(_)));
    }

    pub fn push(&mut self, news: News) {
        self.news.push(news);
    }

    pub fn take_news(&mut self) -> Vec<News> {
        std::mem::take(&mut self.news)
    }

    fn answered(&mut self, token: Token, purpose: Purpose, status: Status) {
        match purpose {
            Purpose::Silent | Purpose::Export(_) => {}
            Purpose::Fetch { scanout, epoch } => self.news.push(News::Fetched { scanout, epoch }),
            Purpose::Cursor(scanout) => {
                if status == Status::OkNoData {
                    self.news.push(News::Cursor(scanout));
                }
            }
            Purpose::Plain | Purpose::Context(_) | Purpose::Resource(_) | Purpose::Map(_) | Purpose::Picture(_) => {
                match self.unanswered.get(&token) {
                    // It ends with its fence.
                    Some(_) if status == Status::OkNoData => {}
                    fence => {
                        // What failed has nothing to wait for.
                        if let Some(fence) = fence {
                            self.fences.remove(fence);
                        }
                        self.unanswered.remove(&token);
                        self.news.push(News::Answer(token, status));
                    }
                }
            }
        }
    }

    fn signalled(&mut self, fence: u64) {
        if let Some((scanout, epoch)) = self.drawn.remove(&fence) {
            self.news.push(News::Fetched { scanout, epoch });
        }
        // A fence of a command that failed has been taken out, an invented one was never in.
        if let Some(token) = self.fences.remove(&fence) {
            self.unanswered.remove(&token);
            self.news.push(News::Answer(token, Status::OkNoData));
        }
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
    pub(super) fn happened(&mut self, happened: Happened, now: Instant) {
        match happened {
            Happened::Ready => self.answers.news.push(News::Started),
            Happened::Answered { ticket, answer } => {
                let Some((token, purpose)) = self.answers.waiting.remove(&ticket) else { return };
                let answer = match (answer, purpose) {
                    (Answer::Mapped { file, size, cache }, Purpose::Map(resource)) => {
                        self.answers.news.push(News::Mapped { token, resource, file, size, cache });
                        return;
                    }
                    (Answer::Exported(export, files), Purpose::Export(id)) => {
                        self.exported(id, token, export, files);
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
                    self.refused(token, purpose);
                }
                self.answers.answered(token, purpose, status);
            }
            Happened::Fenced(fence) => self.answers.signalled(fence),
            Happened::Died { why, .. } => self.died(why, now),
        }
    }

    /// What the renderer would not make is as good as lost; the guest takes it away itself.
    fn refused(&mut self, token: Token, purpose: Purpose) {
        match purpose {
            Purpose::Context(id) => {
                if let Some(context) = self.contexts.get_mut(&id).filter(|context| context.made_by == token) {
                    context.lost = true;
                }
            }
            Purpose::Resource(id) => {
                if let Some(entry) = self.resources.get_mut(&id).filter(|entry| entry.made_by == token) {
                    entry.resource.lost = true;
                }
                if let Some(blob) = self.blobs.get_mut(&id).filter(|blob| blob.made_by == token) {
                    blob.lost = true;
                }
            }
            Purpose::Export(id) | Purpose::Picture(id) => self.export_refused(id, token),
            _ => {}
        }
    }

    fn died(&mut self, reason: String, now: Instant) {
        let waiting: Vec<_> = self.answers.waiting.drain().map(|(_, waiting)| waiting).collect();
        let fences: Vec<_> = std::mem::take(&mut self.answers.fences).into_keys().collect();
        self.lose_everything();
        self.answers.news.push(News::Died(reason));
        let drawn = std::mem::take(&mut self.answers.drawn).into_values();
        self.answers.news.extend(drawn.map(|(scanout, epoch)| News::Fetched { scanout, epoch }));
        let tokens: HashMap<Token, u64> = std::mem::take(&mut self.answers.unanswered);
        let open: Vec<Token> = waiting.iter().map(|&(token, _)| token).collect();
        for (token, purpose) in waiting {
            self.answers.answered(token, purpose, Status::ErrUnspec);
        }
        // Commands that were done and only waited for their fences.
        let mut done: Vec<(u64, Token)> = tokens
            .into_iter()
            .filter(|(token, fence)| fences.contains(fence) && !open.contains(token))
            .map(|(t, f)| (f, t))
            .collect();
        done.sort_unstable();
        self.answers.news.extend(done.into_iter().map(|(_, token)| News::Answer(token, Status::OkNoData)));
        if let Err(off) = self.client.restart(now) {
            tracing::warn!(target: "guest", "{off}");
        }
    }
}
