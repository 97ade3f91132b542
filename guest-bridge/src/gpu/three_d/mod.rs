//! The 3D half of the device: the guest's contexts and 3D resources as phyllome-guest knows them, and the way to the renderer.
//!
//! Every id and number of the guest is checked here before it is sent on; the renderer is told nothing else, and what it says
//! is believed only as far as an answer goes. Nothing waits: a command that the renderer executes is answered to the guest when
//! its answer, or its fence, comes. When the renderer dies, whatever waits is answered, contexts and 3D resources are lost,
//! what is on the screen stays, and another renderer is started.

mod answers;
mod blobs;
mod exports;
mod pictures;
mod resource;

pub use answers::{News, Token};
pub use pictures::Fetch;
pub use resource::Resource3d;

use super::backing::Backing;
use super::class::Class;
use super::device::{Done, Outcome, Refused};
use super::memory::Memory;
use super::quota::{Bucket, Quota};
use super::wire::{Command3d, Header, MemEntries, Response, Status};
use crate::renderer::client::{Capset, Client, Unsent};
use crate::renderer::limits::capset;
use crate::renderer::wire::{Create3d, Request, Transfer3d};
use answers::{Answers, Purpose, Until};
use blobs::HostBlob;
use exports::Exports;
use pictures::Target;
use std::collections::{HashMap, HashSet};
use std::os::fd::BorrowedFd;
use std::time::Instant;

const NO_CONTEXT: Refused = (Status::ErrInvalidContextId, Class::ContextId);
const NO_RESOURCE: Refused = (Status::ErrInvalidResourceId, Class::ResourceId);
const LOST_RESOURCE: Refused = (Status::ErrInvalidResourceId, Class::Lost);
const LOST_CONTEXT: Refused = (Status::ErrInvalidContextId, Class::Lost);
const BAD_NUMBERS: Refused = (Status::ErrInvalidParameter, Class::ResourceSize);
const OVER: Refused = (Status::ErrOutOfMemory, Class::Quota);

#[derive(Debug)]
struct Context {
    /// It went with a renderer that died.
    lost: bool,
    /// The command that made it.
    made_by: Token,
}

#[derive(Debug)]
struct Entry {
    resource: Resource3d,
    made_by: Token,
}

/// What a command gets that could not be sent on.
fn unsent(why: Unsent) -> Refused {
    match why {
        Unsent::Gone => (Status::ErrUnspec, Class::Renderer),
        Unsent::Full => OVER,
        Unsent::Unfit => (Status::ErrInvalidParameter, Class::Renderer),
        Unsent::Host => (Status::ErrOutOfMemory, Class::HostMemory),
    }
}

/// The device's 3D.
#[derive(Debug)]
pub struct ThreeD {
    client: Client,
    quota: Quota,
    /// The generation of guest memory that the renderer knows.
    memory: Option<u64>,
    contexts: HashMap<u32, Context>,
    resources: HashMap<u32, Entry>,
    /// Of host memory.
    blobs: HashMap<u32, HostBlob>,
    /// Classic 2D resources and blobs of guest memory that 3D contexts use as well.
    mirrors: HashSet<u32>,
    bytes: u64,
    entries: usize,
    submits: Bucket,
    answers: Answers,
    /// Where the pixels of resources that were shown are read back to.
    targets: HashMap<u32, Target>,
    next_target: u32,
    /// What the renderer gave out of what was shown.
    exports: Exports,
    cursors: HashMap<u32, pictures::CursorTarget>,
}

impl ThreeD {
    /// 3D by this renderer, which has said that it is ready.
    pub fn new(client: Client, quota: &Quota) -> Self {
        Self {
            client,
            quota: *quota,
            memory: None,
            contexts: HashMap::new(),
            resources: HashMap::new(),
            blobs: HashMap::new(),
            mirrors: HashSet::new(),
            bytes: 0,
            entries: 0,
            submits: Bucket::new(quota.submits_per_second),
            answers: Answers::default(),
            targets: HashMap::new(),
            next_target: 0,
            exports: Exports::default(),
            cursors: HashMap::new(),
        }
    }

    /// What the renderer can do: nothing once no renderer is started any more, so that the next driver does not build on it.
    pub fn capsets(&self) -> &[Capset] {
        if self.client.is_off() { &[] } else { self.client.capsets() }
    }

    /// Whether the guest may be offered VIRGL. QEMU asks once, so this does not change when no renderer is started any more.
    pub fn has_virgl(&self) -> bool {
        self.client.capsets().iter().any(|offered| capset::OF_VIRGL.contains(&offered.id))
    }

    /// The renderer's end of the connection, its process and its history.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Whether more commands can be taken now.
    pub fn has_room(&self) -> bool {
        self.client.has_room() && self.answers.has_room()
    }

    /// Whether there is such a resource, lost or not.
    pub fn has(&self, resource: u32) -> bool {
        self.resources.contains_key(&resource) || self.blobs.contains_key(&resource)
    }

    /// Bytes that 3D resources count for.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Executes a command of contexts, capsets or 3D resources.
    pub fn command(
        &mut self,
        memory: &Memory,
        header: &Header,
        command: &Command3d<'_>,
        response: &mut Response,
    ) -> Done {
        match *command {
            Command3d::GetCapsetInfo { index } => {
                let capset = self.capsets().get(index as usize).ok_or((Status::ErrInvalidParameter, Class::Capset))?;
                response.capset_info(header, capset.id, capset.version, capset.data.len() as u32);
                Ok(Outcome::Answer)
            }
            Command3d::GetCapset { id, version } => {
                let mut capsets = self.capsets().iter();
                let capset = capsets.find(|capset| capset.id == id && version <= capset.version);
                response.capset(header, &capset.ok_or((Status::ErrInvalidParameter, Class::Capset))?.data);
                Ok(Outcome::Answer)
            }
            Command3d::ContextCreate { flags, name } => self.create_context(header, flags, name),
            Command3d::ContextDestroy => {
                let context = self.contexts.remove(&header.ctx_id).ok_or(NO_CONTEXT)?;
                if context.lost {
                    return Ok(Outcome::Answer);
                }
                // With a renderer that has just died it is gone, too.
                self.forward(header, &Request::DestroyContext(header.ctx_id)).or(Ok(Outcome::Answer))
            }
            Command3d::ContextAttachResource { resource } => self.context_resource(header, resource, true),
            Command3d::ContextDetachResource { resource } => self.context_resource(header, resource, false),
            Command3d::ResourceCreate3d { resource, what } => self.create(header, resource, what),
            Command3d::TransferToHost3d { resource, transfer } => {
                self.transfer(memory, header, resource, transfer, true)
            }
            Command3d::TransferFromHost3d { resource, transfer } => {
                self.transfer(memory, header, resource, transfer, false)
            }
            Command3d::Submit3d { commands } => self.submit(memory, header, commands.0),
            Command3d::ResourceCreateBlob { .. }
            | Command3d::SetScanoutBlob { .. }
            | Command3d::ResourceMapBlob { .. }
            | Command3d::ResourceUnmapBlob { .. } => Err((Status::ErrUnspec, Class::NotNegotiated)),
        }
    }

    /// Whether there is such a context; the error is the answer to a command that names it.
    pub fn context(&self, id: u32) -> Result<(), Refused> {
        match self.contexts.get(&id) {
            Some(context) if context.lost => Err(LOST_CONTEXT),
            Some(_) => Ok(()),
            None => Err(NO_CONTEXT),
        }
    }

    fn resource(&self, id: u32) -> Result<&Resource3d, Refused> {
        match self.resources.get(&id).map(|entry| &entry.resource) {
            Some(resource) if resource.lost => Err(LOST_RESOURCE),
            Some(resource) => Ok(resource),
            None => Err(NO_RESOURCE),
        }
    }

    fn create_context(&mut self, header: &Header, flags: u32, name: &[u8]) -> Done {
        let id = header.ctx_id;
        if id == 0 || self.contexts.contains_key(&id) {
            return Err((Status::ErrInvalidContextId, Class::ContextId));
        }
        let capset = flags & 0xff;
        if flags & !0xff != 0 || (capset != 0 && !self.capsets().iter().any(|known| known.id == capset)) {
            return Err((Status::ErrInvalidParameter, Class::Capset));
        }
        if self.contexts.len() >= self.quota.contexts {
            return Err(OVER);
        }
        let request = Request::CreateContext { context: id, flags, name };
        let (outcome, made_by) = self.forward_made(header, &request, Purpose::Context(id))?;
        self.contexts.insert(id, Context { lost: false, made_by });
        Ok(outcome)
    }

    fn context_resource(&mut self, header: &Header, resource: u32, attach: bool) -> Done {
        self.context(header.ctx_id)?;
        let there = if self.blobs.contains_key(&resource) {
            self.blob(resource).map(|_| ())
        } else {
            self.resource(resource).map(|_| ())
        };
        match there {
            Ok(()) => {}
            // A classic 2D resource is mirrored by the device before it comes here.
            Err(_) if self.mirrors.contains(&resource) => {}
            // What is gone cannot be attached, and needs no detaching.
            Err(LOST_RESOURCE) if !attach => return Ok(Outcome::Answer),
            Err(refusal) => return Err(refusal),
        }
        let request = Request::ContextResource { context: header.ctx_id, resource, attach };
        self.forward(header, &request)
    }

    fn create(&mut self, header: &Header, id: u32, what: Create3d) -> Done {
        if id == 0 || self.has(id) {
            return Err((Status::ErrInvalidResourceId, Class::ResourceExists));
        }
        let resource = Resource3d::new(what).ok_or(BAD_NUMBERS)?;
        let bytes = self.bytes.checked_add(resource.bytes).filter(|&bytes| bytes <= self.quota.bytes_3d).ok_or(OVER)?;
        if self.resources.len() + self.blobs.len() >= self.quota.resources_3d {
            return Err(OVER);
        }
        let request = Request::Create { resource: id, what };
        let (outcome, made_by) = self.forward_made(header, &request, Purpose::Resource(id))?;
        self.bytes = bytes;
        self.resources.insert(id, Entry { resource, made_by });
        Ok(outcome)
    }

    /// RESOURCE_ATTACH_BACKING of a 3D resource.
    pub fn attach(&mut self, memory: &Memory, header: &Header, id: u32, entries: &MemEntries<'_>) -> Done {
        let resource = self.resource(id)?;
        if resource.backing.is_some() {
            return Err((Status::ErrUnspec, Class::BackingTwice));
        }
        let total =
            self.entries.checked_add(entries.count()).filter(|&total| total <= self.quota.entries_3d).ok_or(OVER)?;
        let backing = Backing::new(entries.iter(), memory).map_err(|class| (Status::ErrInvalidParameter, class))?;
        self.tell_memory(memory);
        let ticket = self.client.attach(id, backing.wire_pieces()).map_err(unsent)?;
        self.entries = total;
        if let Some(entry) = self.resources.get_mut(&id) {
            entry.resource.backing = Some((entries.count(), backing.length()));
        }
        Ok(self.expect(header, ticket, Purpose::Plain).0)
    }

    /// RESOURCE_DETACH_BACKING of a 3D resource.
    pub fn detach(&mut self, header: &Header, id: u32) -> Done {
        let entry = self.resources.get_mut(&id).ok_or(NO_RESOURCE)?;
        let (entries, _) = entry.resource.backing.take().ok_or((Status::ErrUnspec, Class::BackingMissing))?;
        self.entries = self.entries.saturating_sub(entries);
        if entry.resource.lost {
            return Ok(Outcome::Answer);
        }
        self.forward(header, &Request::Detach(id)).or(Ok(Outcome::Answer))
    }

    /// RESOURCE_UNREF of a 3D resource.
    pub fn unref(&mut self, header: &Header, id: u32) -> Done {
        self.exports.forget(id);
        if let Some(lives) = self.remove_blob(id) {
            let told = lives.then(|| self.forward(header, &Request::Unref(id)));
            return told.unwrap_or(Ok(Outcome::Answer)).or(Ok(Outcome::Answer));
        }
        let entry = self.resources.remove(&id).ok_or(NO_RESOURCE)?;
        self.bytes = self.bytes.saturating_sub(entry.resource.bytes);
        self.entries = self.entries.saturating_sub(entry.resource.backing.map_or(0, |(entries, _)| entries));
        self.drop_target(id);
        if entry.resource.lost {
            return Ok(Outcome::Answer);
        }
        self.forward(header, &Request::Unref(id)).or(Ok(Outcome::Answer))
    }

    /// RESOURCE_ASSIGN_UUID of a 3D resource.
    pub fn uuid(&mut self, id: u32) -> Result<&mut Option<[u8; 16]>, Refused> {
        if self.blobs.contains_key(&id) {
            self.blob(id)?;
            return self.blobs.get_mut(&id).map(|blob| &mut blob.uuid).ok_or(NO_RESOURCE);
        }
        self.resource(id)?;
        self.resources.get_mut(&id).map(|entry| &mut entry.resource.uuid).ok_or(NO_RESOURCE)
    }

    /// TRANSFER_TO_HOST_3D (`to_host`) or TRANSFER_FROM_HOST_3D.
    pub fn transfer(&mut self, memory: &Memory, header: &Header, id: u32, transfer: Transfer3d, to_host: bool) -> Done {
        // Context 0 stands for the device itself, as in the driver's own transfers.
        if header.ctx_id != 0 {
            self.context(header.ctx_id)?;
        }
        if self.blobs.contains_key(&id) {
            self.blob_allows(id, &transfer)?;
        } else {
            let resource = self.resource(id)?;
            if resource.backing.is_none() {
                return Err((Status::ErrUnspec, Class::BackingMissing));
            }
            if !resource.allows(&transfer) {
                return Err((Status::ErrInvalidParameter, Class::TransferBox));
            }
        }
        self.tell_memory(memory);
        let transfer = Transfer3d { context: header.ctx_id, ..transfer };
        let (request, until) = if to_host {
            (Request::TransferTo { resource: id, transfer }, Until::Answered)
        } else {
            // Drivers ask for the result of a query so until it is there, and the library looks for it when a fence signals.
            (Request::TransferFrom { resource: id, transfer }, Until::Drawn)
        };
        let ticket = self.client.send(&request, &[]).map_err(unsent)?;
        Ok(self.expect_until(header, ticket, Purpose::Plain, until).0)
    }

    fn submit(&mut self, memory: &Memory, header: &Header, commands: &[u8]) -> Done {
        self.context(header.ctx_id)?;
        if !commands.len().is_multiple_of(4) {
            return Err((Status::ErrInvalidParameter, Class::Commands));
        }
        if !self.submits.take(Instant::now()) {
            return Err((Status::ErrOutOfMemory, Class::SubmitRate));
        }
        self.tell_memory(memory);
        let ticket = self.client.submit(header.ctx_id, commands).map_err(unsent)?;
        Ok(self.expect_until(header, ticket, Purpose::Plain, Until::Drawn).0)
    }

    /// The renderer is to know guest memory as it is now, before it is asked to touch it.
    fn tell_memory(&mut self, memory: &Memory) {
        if self.memory == Some(memory.generation()) {
            return;
        }
        let (regions, files) = memory.shared();
        if let Ok(ticket) = self.client.send(&Request::Memory(regions), &files) {
            self.answers.expect(ticket, Purpose::Silent);
            self.memory = Some(memory.generation());
        }
    }

    fn forward(&mut self, header: &Header, request: &Request<'_>) -> Done {
        self.forward_made(header, request, Purpose::Plain).map(|(outcome, _)| outcome)
    }

    fn forward_made(
        &mut self,
        header: &Header,
        request: &Request<'_>,
        purpose: Purpose,
    ) -> Result<(Outcome, Token), Refused> {
        let ticket = self.client.send(request, &[]).map_err(unsent)?;
        Ok(self.expect(header, ticket, purpose))
    }

    /// Sends what no command of the guest waits for; `false` if it could not be sent.
    fn tell(&mut self, request: &Request<'_>, files: &[BorrowedFd<'_>], purpose: Purpose) -> bool {
        let sent = self.client.send(request, files);
        sent.map(|ticket| self.answers.expect(ticket, purpose)).is_ok()
    }

    /// The guest's driver starts anew: nothing of the old one is left, and nobody waits for an answer.
    pub fn reset(&mut self) {
        let nothing = self.resources.is_empty() && self.blobs.is_empty() && self.mirrors.is_empty();
        let untouched = self.contexts.is_empty() && nothing;
        self.blobs.clear();
        self.contexts.clear();
        self.mirrors.clear();
        for (_, cursor) in std::mem::take(&mut self.cursors) {
            // Without a renderer there is nothing to drop.
            let _ = self.client.drop_target(cursor.id());
        }
        self.resources.clear();
        self.exports = Exports::default();
        for resource in self.targets.keys().copied().collect::<Vec<_>>() {
            self.drop_target(resource);
        }
        (self.bytes, self.entries) = (0, 0);
        self.answers.forget();
        if !untouched {
            self.tell(&Request::Reset, &[], Purpose::Silent);
        }
    }

    /// Sends what was gathered and takes what the renderer says; what is to be done about it.
    pub fn turn(&mut self, now: Instant) -> Vec<News> {
        for happened in self.client.turn(now) {
            self.happened(happened, now);
        }
        self.flush(now);
        self.answers.take_news()
    }

    /// Sends what the renderer was asked.
    pub fn flush(&mut self, now: Instant) {
        self.client.flush(now);
    }

    /// When [`Self::turn`] is due even if nothing comes.
    pub fn deadline(&self) -> Option<Instant> {
        self.client.deadline()
    }

    /// Readable when [`Self::turn`] is due.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.client.fd()
    }

    fn lose_everything(&mut self) {
        self.memory = None;
        self.mirrors.clear();
        self.contexts.values_mut().for_each(|context| context.lost = true);
        for entry in self.resources.values_mut() {
            entry.resource.lost = true;
        }
        self.blobs.values_mut().for_each(|blob| blob.lost = true);
        // What is on the screen stays there: whoever shows it holds it.
        self.exports = Exports::default();
        for target in self.targets.values_mut() {
            target.told = false;
        }
        self.cursors.clear();
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
