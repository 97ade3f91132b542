//! The 3D half of the device: the guest's contexts and 3D resources as phyllome-guest knows them, and the way to the
//! renderer.
//!
//! Every id and number of the guest is checked here before it is sent on; the renderer is told nothing else, and what
//! it says is believed only as far as an answer goes. Nothing waits: a command that the renderer executes is answered
//! to the guest when its answer, or its fence, comes. When the renderer dies, whatever waits is answered, contexts and
//! 3D resources are lost, what is on the screen stays, and another renderer is started.

#![cfg_attr(
    not(test),
    deny(clippy::wildcard_enum_match_arm, reason = "a new request, command or event is not to be taken for another")
)]

mod answers;
mod blobs;
mod exports;
mod pictures;

pub use answers::ThreeDEvent;
pub use pictures::Fetch;

use super::backing::Backing;
use super::class::Class;
use super::memory::Memory;
use super::outcome::{Done, LOST_RESOURCE, NO_RESOURCE, OVER, Outcome, RESOURCE_EXISTS, Refused, Token};
use super::quota::{Bucket, Quota};
use super::resources::{AtRenderer, Entry, Resource, Resources};
use super::shmem::{Identity, identity};
use super::texture::Texture;
use super::wire::{Header, MemEntries, Response, Status};
use crate::renderer::client::{Capset, Client, Unsent};
use crate::renderer::limits::capset;
use crate::renderer::wire::{Create3d, Request, Transfer3d};
use answers::{Answers, Purpose, Until};
use exports::Exports;
use pictures::ReadTarget;
use std::collections::{HashMap, HashSet};
use std::os::fd::BorrowedFd;
use std::time::Instant;

const NO_CONTEXT: Refused = (Status::ErrInvalidContextId, Class::ContextId);
const LOST_CONTEXT: Refused = (Status::ErrInvalidContextId, Class::Lost);
const NO_CAPSET: Refused = (Status::ErrInvalidParameter, Class::Capset);
/// Most files of guest memory that are remembered; a guest's memory has few, and seldom others.
const MAX_LENT: usize = 4096;
const BAD_NUMBERS: Refused = (Status::ErrInvalidParameter, Class::ResourceSize);

#[derive(Debug)]
struct Context {
    /// It went with a renderer that died.
    lost: bool,
    /// The command that made it.
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
    /// The files of all guest memory that it was ever given.
    lent: HashSet<Identity>,
    contexts: HashMap<u32, Context>,
    /// What textures and blobs of host memory count for in the quota: how many, their bytes, their entries of guest
    /// memory.
    count: usize,
    bytes: u64,
    entries: usize,
    submits: Bucket,
    answers: Answers,
    /// Where the pixels of resources that were shown are read back to.
    targets: HashMap<u32, ReadTarget>,
    next_target: u32,
    /// What the renderer gave out of what was shown.
    exports: Exports,
    cursors: HashMap<u32, pictures::CursorTarget>,
    /// Counts reads of cursors.
    cursor_reads: u64,
}

impl ThreeD {
    /// 3D by this renderer, which has said that it is ready.
    pub fn new(client: Client, quota: &Quota) -> Self {
        Self {
            client,
            quota: *quota,
            memory: None,
            lent: HashSet::new(),
            contexts: HashMap::new(),
            count: 0,
            bytes: 0,
            entries: 0,
            submits: Bucket::new(quota.submits_per_second),
            answers: Answers::default(),
            targets: HashMap::new(),
            next_target: 0,
            exports: Exports::default(),
            cursors: HashMap::new(),
            cursor_reads: 0,
        }
    }

    /// What the renderer can do: nothing once no renderer is started any more, so that the next driver does not build
    /// on it.
    pub fn capsets(&self) -> &[Capset] {
        if self.client.is_off() { &[] } else { self.client.capsets() }
    }

    /// Whether the guest may be offered VIRGL. QEMU asks once, so this does not change when no renderer is started any
    /// more.
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

    /// Bytes that 3D resources count for.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// GET_CAPSET_INFO.
    pub fn capset_info(&self, header: &Header, index: u32, response: &mut Response) -> Done {
        let capset = self.capsets().get(index as usize).ok_or(NO_CAPSET)?;
        response.capset_info(header, capset.id, capset.version, capset.data.len() as u32);
        Ok(Outcome::Answer)
    }

    /// GET_CAPSET.
    pub fn capset(&self, header: &Header, id: u32, version: u32, response: &mut Response) -> Done {
        let mut capsets = self.capsets().iter();
        let capset = capsets.find(|capset| capset.id == id && version <= capset.version);
        response.capset(header, &capset.ok_or(NO_CAPSET)?.data);
        Ok(Outcome::Answer)
    }

    /// Whether there is such a context; the error is the answer to a command that names it.
    pub fn context(&self, id: u32) -> Result<(), Refused> {
        match self.contexts.get(&id) {
            Some(context) if context.lost => Err(LOST_CONTEXT),
            Some(_) => Ok(()),
            None => Err(NO_CONTEXT),
        }
    }

    /// CTX_CREATE.
    pub fn create_context(&mut self, header: &Header, flags: u32, name: &[u8]) -> Done {
        let id = header.ctx_id;
        if id == 0 || self.contexts.contains_key(&id) {
            return Err((Status::ErrInvalidContextId, Class::ContextId));
        }
        let capset = flags & 0xff;
        if flags & !0xff != 0 || (capset != 0 && !self.capsets().iter().any(|known| known.id == capset)) {
            return Err(NO_CAPSET);
        }
        if self.contexts.len() >= self.quota.contexts {
            return Err(OVER);
        }
        let request = Request::CreateContext { context: id, flags, name };
        let (outcome, made_by) = self.forward_made(header, &request, Purpose::Context(id))?;
        self.contexts.insert(id, Context { lost: false, made_by });
        Ok(outcome)
    }

    /// CTX_DESTROY.
    pub fn destroy_context(&mut self, header: &Header) -> Done {
        let context = self.contexts.remove(&header.ctx_id).ok_or(NO_CONTEXT)?;
        if context.lost {
            return Ok(Outcome::Answer);
        }
        Ok(self.forward_end(header, &Request::DestroyContext(header.ctx_id)))
    }

    /// CTX_ATTACH_RESOURCE. One of ours is mirrored first.
    pub fn attach_to_context(&mut self, memory: &Memory, header: &Header, id: u32, resources: &mut Resources) -> Done {
        // Without a context the command is refused, and nothing is made for it.
        self.context(header.ctx_id)?;
        let entry = resources.entry_mut(id)?;
        self.mirror(memory, id, entry)?;
        match entry.at_renderer {
            AtRenderer::Nothing => Err(NO_RESOURCE),
            AtRenderer::Lost => Err(LOST_RESOURCE),
            AtRenderer::Mirror | AtRenderer::Whole(_) => self.context_resource(header, id, true),
        }
    }

    /// CTX_DETACH_RESOURCE.
    pub fn detach_from_context(&mut self, header: &Header, id: u32, resources: &Resources) -> Done {
        self.context(header.ctx_id)?;
        match resources.entry(id)?.at_renderer {
            AtRenderer::Nothing => Err(NO_RESOURCE),
            // What is gone needs no detaching.
            AtRenderer::Lost => Ok(Outcome::Answer),
            AtRenderer::Mirror | AtRenderer::Whole(_) => self.context_resource(header, id, false),
        }
    }

    fn context_resource(&mut self, header: &Header, resource: u32, attach: bool) -> Done {
        self.forward(header, &Request::ContextResource { context: header.ctx_id, resource, attach })
    }

    /// RESOURCE_CREATE_3D.
    pub fn create(&mut self, header: &Header, id: u32, what: Create3d, resources: &mut Resources) -> Done {
        if id == 0 || resources.contains(id) {
            return Err(RESOURCE_EXISTS);
        }
        let texture = Texture::new(what).ok_or(BAD_NUMBERS)?;
        let bytes = self.bytes.checked_add(texture.bytes).filter(|&bytes| bytes <= self.quota.bytes_3d).ok_or(OVER)?;
        if self.count >= self.quota.resources_3d {
            return Err(OVER);
        }
        let request = Request::Create { resource: id, what };
        let (outcome, made_by) = self.forward_made(header, &request, Purpose::Resource(id))?;
        (self.count, self.bytes) = (self.count + 1, bytes);
        resources.insert_made(id, Resource::Texture(texture), made_by);
        Ok(outcome)
    }

    /// RESOURCE_ATTACH_BACKING of a texture that lives.
    pub fn attach(
        &mut self,
        memory: &Memory,
        header: &Header,
        id: u32,
        entries: &MemEntries<'_>,
        texture: &mut Texture,
    ) -> Done {
        if texture.backing.is_some() {
            return Err((Status::ErrUnspec, Class::BackingTwice));
        }
        let total =
            self.entries.checked_add(entries.count()).filter(|&total| total <= self.quota.entries_3d).ok_or(OVER)?;
        let backing = Backing::new(entries.iter(), memory).map_err(|class| (Status::ErrInvalidParameter, class))?;
        self.tell_memory(memory)?;
        let ticket = self.client.attach(id, backing.wire_pieces()).map_err(unsent)?;
        self.entries = total;
        texture.backing = Some((entries.count(), backing.length()));
        Ok(self.expect(header, ticket, Purpose::Plain).0)
    }

    /// RESOURCE_DETACH_BACKING of a texture; `lives` if the renderer has it.
    pub fn detach(&mut self, header: &Header, id: u32, texture: &mut Texture, lives: bool) -> Done {
        let (entries, _) = texture.backing.take().ok_or((Status::ErrUnspec, Class::BackingMissing))?;
        self.entries = self.entries.saturating_sub(entries);
        if !lives {
            return Ok(Outcome::Answer);
        }
        Ok(self.forward_end(header, &Request::Detach(id)))
    }

    /// RESOURCE_UNREF of a texture or blob of host memory, which the table has no more: `bytes` and `entries` are what
    /// it counted for.
    pub fn unref(
        &mut self,
        header: &Header,
        id: u32,
        (bytes, entries): (u64, usize),
        at_renderer: AtRenderer,
    ) -> Outcome {
        self.exports.forget(id);
        self.count = self.count.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
        self.entries = self.entries.saturating_sub(entries);
        self.drop_target(id);
        match at_renderer {
            AtRenderer::Whole(_) => self.forward_end(header, &Request::Unref(id)),
            AtRenderer::Nothing | AtRenderer::Mirror | AtRenderer::Lost => Outcome::Answer,
        }
    }

    /// TRANSFER_TO_HOST_3D (`to_host`) or TRANSFER_FROM_HOST_3D.
    pub fn transfer(
        &mut self,
        memory: &Memory,
        header: &Header,
        id: u32,
        transfer: Transfer3d,
        to_host: bool,
        resources: &Resources,
    ) -> Done {
        // Context 0 stands for the device itself, as in the driver's own transfers.
        if header.ctx_id != 0 {
            self.context(header.ctx_id)?;
        }
        match resources.entry(id)?.living()? {
            Resource::HostBlob(blob) => blob.allows(&transfer)?,
            Resource::Texture(texture) => {
                if texture.backing.is_none() {
                    return Err((Status::ErrUnspec, Class::BackingMissing));
                }
                if !texture.allows(&transfer) {
                    return Err((Status::ErrInvalidParameter, Class::TransferBox));
                }
            }
            Resource::Classic(_) | Resource::GuestBlob(_) => return Err(NO_RESOURCE),
        }
        self.tell_memory(memory)?;
        let transfer = Transfer3d { context: header.ctx_id, ..transfer };
        let (request, until) = if to_host {
            (Request::TransferTo { resource: id, transfer }, Until::Answered)
        } else {
            // Drivers ask for the result of a query so until it is there, and the library looks for it when a fence
            // signals.
            (Request::TransferFrom { resource: id, transfer }, Until::Drawn)
        };
        let ticket = self.client.send(&request, &[]).map_err(unsent)?;
        Ok(self.expect_until(header, ticket, Purpose::Plain, until).0)
    }

    /// SUBMIT_3D.
    pub fn submit(&mut self, memory: &Memory, header: &Header, commands: &[u8]) -> Done {
        self.context(header.ctx_id)?;
        if !commands.len().is_multiple_of(4) {
            return Err((Status::ErrInvalidParameter, Class::Commands));
        }
        if !self.submits.take(Instant::now()) {
            return Err((Status::ErrOutOfMemory, Class::SubmitRate));
        }
        self.tell_memory(memory)?;
        let ticket = self.client.submit(header.ctx_id, commands).map_err(unsent)?;
        Ok(self.expect_until(header, ticket, Purpose::Plain, Until::Drawn).0)
    }

    /// The renderer is to know guest memory as it is now, before it is asked to touch it; a command that would touch
    /// what was there before is refused.
    fn tell_memory(&mut self, memory: &Memory) -> Result<(), Refused> {
        if self.memory == Some(memory.generation()) {
            return Ok(());
        }
        let (regions, files) = memory.shared();
        let ticket = self.client.send(&Request::Memory(regions), &files).map_err(unsent)?;
        self.answers.expect(ticket, Purpose::Silent);
        if self.lent.len() > MAX_LENT {
            self.lent.clear();
        }
        self.lent.extend(files.iter().filter_map(identity));
        self.memory = Some(memory.generation());
        Ok(())
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

    /// Sends on a command that has taken effect here and is not refused any more, whatever becomes of the renderer.
    fn forward_end(&mut self, header: &Header, request: &Request<'_>) -> Outcome {
        let sent = self.client.send(request, &[]);
        // With a renderer that has just died it is gone, too.
        self.must(sent).map_or(Outcome::Answer, |ticket| self.expect(header, ticket, Purpose::Plain).0)
    }

    /// Tells what has taken effect here, and what nobody waits for.
    fn tell(&mut self, request: &Request<'_>) {
        let sent = self.client.send(request, &[]);
        if let Some(ticket) = self.must(sent) {
            self.answers.expect(ticket, Purpose::Silent);
        }
    }

    /// What has taken effect here has to reach the renderer: one that lives and cannot be told is ended, and the next
    /// one knows nothing that is not true any more. With one that has died there is nothing to tell.
    fn must<T>(&mut self, sent: Result<T, Unsent>) -> Option<T> {
        match sent {
            Ok(sent) => Some(sent),
            Err(Unsent::Gone) => None,
            Err(Unsent::Full | Unsent::Unfit | Unsent::Host) => {
                self.client.give_up(Instant::now(), "the renderer could not be told what has changed");
                None
            }
        }
    }

    /// The guest's driver starts anew: nothing of the old one is left, and nobody waits for an answer. `resources` are
    /// those of the old one, which are about to go.
    pub fn reset(&mut self, resources: &Resources) {
        let untouched = self.contexts.is_empty() && !resources.any_at_renderer();
        self.contexts.clear();
        for (_, cursor) in std::mem::take(&mut self.cursors) {
            let dropped = self.client.drop_target(cursor.id());
            self.must(dropped);
        }
        self.exports = Exports::default();
        for resource in self.targets.keys().copied().collect::<Vec<_>>() {
            self.drop_target(resource);
        }
        (self.count, self.bytes, self.entries) = (0, 0, 0);
        self.answers.forget();
        if !untouched {
            self.tell(&Request::Reset);
        }
    }

    /// Sends what was gathered and takes what the renderer says; what is to be done about it.
    pub fn turn(&mut self, now: Instant, resources: &mut Resources) -> Vec<ThreeDEvent> {
        for happened in self.client.turn(now) {
            self.happened(happened, now, resources);
        }
        self.flush(now);
        self.answers.take_events()
    }

    /// The renderer is not waited for any longer: the next [`Self::turn`] ends it.
    pub fn give_up(&mut self, now: Instant, why: &str) {
        self.client.give_up(now, why);
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

    fn lose_everything(&mut self, resources: &mut Resources) {
        self.memory = None;
        self.lent.clear();
        self.contexts.values_mut().for_each(|context| context.lost = true);
        resources.lose();
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
