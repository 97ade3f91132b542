//! What the renderer knows of its guest, and what it does for each request.
//!
//! Every id and every number is checked here against the renderer's own tables before the library hears of it; what is
//! wrong with a guest's wish is an errno in the answer. What no phyllome-guest would send is a [`Broken`] connection.
//! Counts and bytes are bounded here too, far above what phyllome-guest grants a guest.

use super::checks;
use super::event_queue::EventQueue;
use super::fences::{Fences, Line};
use super::formats::Order;
use super::memory::{Backing, GuestMemory, Map, Target};
use super::virgl::{Blob, Virgl};
use crate::renderer::limits::{MAX_BLOB, MAX_BULK, MAX_NAME, MAX_REGIONS, blob as kinds, capset as capsets};
use crate::renderer::wire::{Create3d, Event, Piece, ReadBack, Region, Request, Transfer3d};
use rustix::io::Errno;
use std::collections::{HashMap, HashSet};
use std::ffi::CString;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;

const MAX_CONTEXTS: usize = 128;
const MAX_RESOURCES: usize = 1 << 16;
const MAX_TARGETS: usize = 64;
/// Bytes of all resources, by the estimate of [`checks::create`].
const MAX_BYTES: u64 = 16 << 30;

/// The other end does not speak the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("phyllome-guest sent {0}; are both of the same version?")]
pub struct Broken(pub &'static str);

/// Where a backing comes from, to make it again when the guest's memory is another.
enum Source {
    Guest(Vec<Piece>),
    File,
}

enum Kind {
    Texture(Create3d),
    Blob(Blob),
}

struct Resource {
    kind: Kind,
    source: Option<Source>,
    bytes: u64,
}

struct Context {
    /// Of OpenGL's: virgl's capsets, or none, which is what a context has without CONTEXT_INIT.
    is_virgl: bool,
    /// The resources that it may use.
    resources: HashSet<u32>,
}

/// What came of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// It is not answered.
    Nothing,
    /// Its answer is on its way.
    Answer,
    /// A fence that ends what was asked for before it, once it signals.
    Fence,
}

/// The tables.
pub struct State {
    virgl: Virgl,
    capsets: Vec<u32>,
    memory: GuestMemory,
    contexts: HashMap<u32, Context>,
    resources: HashMap<u32, Resource>,
    targets: HashMap<u32, Target>,
    event_queue: Arc<EventQueue>,
    bulk: Vec<u8>,
    bytes: u64,
}

impl State {
    /// With a library that offers `capsets`, and brings fences where answers go.
    pub fn new(virgl: Virgl, capsets: Vec<u32>, event_queue: Arc<EventQueue>) -> Self {
        let (contexts, resources, targets) = (HashMap::new(), HashMap::new(), HashMap::new());
        let (memory, bulk) = (GuestMemory::default(), Vec::new());
        Self { virgl, capsets, memory, contexts, resources, targets, event_queue, bulk, bytes: 0 }
    }

    /// Readable when the library must look at its fences and queries itself.
    pub fn poll_fd(&self) -> Option<BorrowedFd<'static>> {
        self.virgl.poll_fd()
    }

    /// The library must be asked now and then, because it has no descriptor to wait for.
    pub fn must_poll(&self) -> bool {
        self.virgl.poll_fd().is_none() && self.event_queue.fences() > 0
    }

    /// Lets the library look.
    pub fn poll(&self) {
        self.virgl.poll();
    }

    /// Does what a request asks, with the descriptors of its packet, and answers what is answered.
    pub fn serve(&mut self, request: Request<'_>, files: Vec<OwnedFd>) -> Result<Reply, Broken> {
        if files.len() != request.descriptors() {
            return Err(Broken("a message with too few or too many descriptors"));
        }
        let takes_bulk = matches!(
            request,
            Request::Part(_) | Request::Attach { .. } | Request::Submit { .. } | Request::CreateBlob { .. }
        );
        if !takes_bulk && !self.bulk.is_empty() {
            return Err(Broken("parts of a message and not their end"));
        }
        let result = match request {
            Request::Part(bytes) => return self.gather(bytes).map(|()| Reply::Nothing),
            Request::Fence { context, ring, fence } => return Ok(self.fence(context, ring, fence)),
            Request::Follow { context, ring, fence } => {
                return Ok(self.follow(self.line(context, ring), fence));
            }
            Request::DropTarget(target) => {
                self.targets.remove(&target);
                return Ok(Reply::Nothing);
            }
            Request::Export(resource) => return Ok(self.answer(self.export(resource))),
            Request::Map(resource) => return Ok(self.answer(self.map(resource))),
            Request::Memory(regions) if regions.len() > MAX_REGIONS => {
                return Err(Broken("too many regions of memory"));
            }
            Request::Memory(regions) => self.set_memory(&regions, &files),
            Request::CreateContext { context, flags, name } => self.create_context(context, flags, name),
            Request::DestroyContext(context) => self.destroy_context(context),
            Request::ContextResource { context, resource, attach } => self.context_resource(context, resource, attach),
            Request::Create { resource, what } => self.create(resource, what),
            Request::Attach { resource, pieces } => {
                let bulk = self.take_bulk(pieces)?;
                self.attach(resource, &bulk)
            }
            Request::AttachFile { resource, length } => self.attach_file(resource, length, &files),
            Request::Detach(resource) => self.detach(resource),
            Request::Unref(resource) => self.unref(resource),
            Request::Submit { context, commands } => {
                let bulk = self.take_bulk(commands)?;
                self.submit(context, &bulk)
            }
            Request::TransferTo { resource, transfer } => self.transfer(resource, &transfer, true),
            Request::TransferFrom { resource, transfer } => self.transfer(resource, &transfer, false),
            Request::Target { target, length } => self.target(target, length, &files),
            Request::ReadBack { resource, target, part } => self.read_back(resource, target, &part),
            Request::CreateBlob { resource, context, memory, flags, blob, size, pieces } => {
                let bulk = self.take_bulk(pieces)?;
                self.create_blob(resource, Blob { context, memory, flags, blob, size }, &bulk)
            }
            Request::Reset => self.reset(),
        };
        Ok(self.answer(result.map(|()| (Event::Done(0), Vec::new()))))
    }

    fn answer(&self, result: Result<(Event<'static>, Vec<OwnedFd>), Errno>) -> Reply {
        let (event, files) = result.unwrap_or_else(|errno| (Event::Done(errno.raw_os_error()), Vec::new()));
        self.event_queue.push(&event, files);
        Reply::Answer
    }

    fn gather(&mut self, bytes: &[u8]) -> Result<(), Broken> {
        if self.bulk.len() + bytes.len() > MAX_BULK {
            return Err(Broken("more bytes than a request may have"));
        }
        self.bulk.extend_from_slice(bytes);
        Ok(())
    }

    fn take_bulk(&mut self, last: &[u8]) -> Result<Vec<u8>, Broken> {
        self.gather(last)?;
        Ok(std::mem::take(&mut self.bulk))
    }

    /// Backings are made again from the new memory before the old is unmapped; those that reach beyond it are taken
    /// away.
    fn set_memory(&mut self, regions: &[Region], files: &[OwnedFd]) -> Result<(), Errno> {
        let made = GuestMemory::new(regions, files);
        let refused = made.as_ref().err().copied();
        self.memory = made.unwrap_or_default();
        for (&id, resource) in &mut self.resources {
            let Some(Source::Guest(pieces)) = &resource.source else { continue };
            self.virgl.detach(id);
            let again = self.memory.resolve(pieces).and_then(|backing| self.virgl.attach(id, backing));
            if again.is_err() {
                resource.source = None;
            }
        }
        refused.map_or(Ok(()), Err)
    }

    fn create_context(&mut self, context: u32, flags: u32, name: &[u8]) -> Result<(), Errno> {
        let capset = flags & 0xff;
        let offered = flags == capset && (capset == 0 || self.capsets.contains(&capset));
        if context == 0 || !offered || name.len() > MAX_NAME {
            return Err(Errno::INVAL);
        }
        if self.contexts.contains_key(&context) {
            return Err(Errno::EXIST);
        }
        if self.contexts.len() >= MAX_CONTEXTS {
            return Err(Errno::NOMEM);
        }
        let name: Vec<u8> = name.iter().copied().take_while(|&byte| byte != 0).collect();
        let name = CString::new(name).map_err(|_| Errno::INVAL)?;
        self.virgl.create_context(context, capset, &name)?;
        let is_virgl = capset == 0 || capsets::OF_VIRGL.contains(&capset);
        self.contexts.insert(context, Context { is_virgl, resources: HashSet::new() });
        Ok(())
    }

    fn destroy_context(&mut self, context: u32) -> Result<(), Errno> {
        self.contexts.remove(&context).ok_or(Errno::SRCH)?;
        self.virgl.destroy_context(context);
        self.event_queue.forget(|fences| fences.forget_context(context));
        self.renew_fences();
        Ok(())
    }

    fn context_resource(&mut self, context: u32, resource: u32, attach: bool) -> Result<(), Errno> {
        let used = &mut self.contexts.get_mut(&context).ok_or(Errno::SRCH)?.resources;
        if !self.resources.contains_key(&resource) {
            return Err(Errno::NOENT);
        }
        let changed = if attach { used.insert(resource) } else { used.remove(&resource) };
        if changed {
            self.virgl.context_resource(context, resource, attach);
        }
        // Attaching again changes nothing and harms nobody.
        if changed || attach { Ok(()) } else { Err(Errno::NOENT) }
    }

    /// Room for another resource of so many bytes.
    fn admit(&self, resource: u32, bytes: u64) -> Result<(), Errno> {
        if resource == 0 || i32::try_from(resource).is_err() {
            return Err(Errno::INVAL);
        }
        if self.resources.contains_key(&resource) {
            return Err(Errno::EXIST);
        }
        let fits = self.bytes.checked_add(bytes).is_some_and(|sum| sum <= MAX_BYTES);
        if fits && self.resources.len() < MAX_RESOURCES { Ok(()) } else { Err(Errno::NOMEM) }
    }

    fn insert(&mut self, id: u32, resource: Resource) {
        self.bytes += resource.bytes;
        self.resources.insert(id, resource);
    }

    fn create(&mut self, resource: u32, what: Create3d) -> Result<(), Errno> {
        let bytes = checks::create(&what)?;
        self.admit(resource, bytes)?;
        self.virgl.create(resource, &what)?;
        self.insert(resource, Resource { kind: Kind::Texture(what), source: None, bytes });
        Ok(())
    }

    fn create_blob(&mut self, resource: u32, blob: Blob, pieces: &[u8]) -> Result<(), Errno> {
        let pieces: Vec<Piece> = Piece::list(pieces).ok_or(Errno::INVAL)?.collect();
        let sane = (kinds::GUEST..=kinds::HOST3D_GUEST).contains(&blob.memory) && blob.flags & !kinds::FLAGS == 0;
        let of_guest = blob.memory != kinds::HOST3D;
        if !sane || blob.size == 0 || of_guest == pieces.is_empty() {
            return Err(Errno::INVAL);
        }
        if blob.size > MAX_BLOB {
            return Err(Errno::NOMEM);
        }
        if blob.context != 0 && !self.contexts.contains_key(&blob.context) {
            return Err(Errno::SRCH);
        }
        let bytes = if blob.memory == kinds::GUEST { 0 } else { blob.size };
        self.admit(resource, bytes)?;
        let backing = if of_guest { Some(self.memory.resolve(&pieces)?) } else { None };
        if backing.as_ref().is_some_and(|backing| backing.length() < blob.size) {
            return Err(Errno::INVAL);
        }
        self.virgl.create_blob(resource, blob, backing)?;
        let source = of_guest.then_some(Source::Guest(pieces));
        self.insert(resource, Resource { kind: Kind::Blob(blob), source, bytes });
        Ok(())
    }

    /// A resource that may be given a backing.
    fn bare(&mut self, resource: u32) -> Result<&mut Resource, Errno> {
        let found = self.resources.get_mut(&resource).ok_or(Errno::NOENT)?;
        match (&found.kind, &found.source) {
            (Kind::Blob(_), _) => Err(Errno::INVAL),
            (Kind::Texture(_), Some(_)) => Err(Errno::BUSY),
            (Kind::Texture(_), None) => Ok(found),
        }
    }

    fn give(&mut self, resource: u32, backing: Backing, source: Source) -> Result<(), Errno> {
        self.bare(resource)?;
        self.virgl.attach(resource, backing)?;
        self.bare(resource)?.source = Some(source);
        Ok(())
    }

    fn attach(&mut self, resource: u32, pieces: &[u8]) -> Result<(), Errno> {
        self.bare(resource)?;
        let pieces: Vec<Piece> = Piece::list(pieces).ok_or(Errno::INVAL)?.collect();
        let backing = self.memory.resolve(&pieces)?;
        self.give(resource, backing, Source::Guest(pieces))
    }

    fn attach_file(&mut self, resource: u32, length: u64, files: &[OwnedFd]) -> Result<(), Errno> {
        self.bare(resource)?;
        let file = files.first().ok_or(Errno::BADF)?;
        let backing = Backing::file(&Rc::new(Map::sealed(file, length)?), length)?;
        self.give(resource, backing, Source::File)
    }

    fn detach(&mut self, resource: u32) -> Result<(), Errno> {
        let found = self.resources.get_mut(&resource).ok_or(Errno::NOENT)?;
        found.source.take().ok_or(Errno::INVAL)?;
        self.virgl.detach(resource);
        Ok(())
    }

    fn unref(&mut self, resource: u32) -> Result<(), Errno> {
        let gone = self.resources.remove(&resource).ok_or(Errno::NOENT)?;
        self.bytes = self.bytes.saturating_sub(gone.bytes);
        self.virgl.unref(resource);
        for context in self.contexts.values_mut() {
            context.resources.remove(&resource);
        }
        Ok(())
    }

    fn submit(&mut self, context: u32, commands: &[u8]) -> Result<(), Errno> {
        if !self.contexts.contains_key(&context) {
            return Err(Errno::SRCH);
        }
        let (words, []) = commands.as_chunks::<4>() else { return Err(Errno::INVAL) };
        if words.is_empty() {
            return Ok(());
        }
        let mut words: Vec<u32> = words.iter().map(|word| u32::from_ne_bytes(*word)).collect();
        self.virgl.submit(context, &mut words)
    }

    fn transfer(&mut self, resource: u32, transfer: &Transfer3d, to_host: bool) -> Result<(), Errno> {
        let found = self.resources.get(&resource).ok_or(Errno::NOENT)?;
        if transfer.context != 0 {
            let used = self.contexts.get(&transfer.context).ok_or(Errno::SRCH)?;
            if !used.resources.contains(&resource) {
                return Err(Errno::NOENT);
            }
        }
        let length = self.virgl.backing_length(resource).ok_or(Errno::INVAL)?;
        if let Kind::Texture(what) = &found.kind {
            checks::transfer(what, transfer, length)?;
        }
        self.virgl.transfer(resource, transfer, to_host)
    }

    /// A fence of a context of virgl's is one of the library's own: its thread keeps a pointer to the context of the
    /// fence that it waits for, and calls by it even after the context has gone (seen in 0.10 and in the sources of
    /// 1.3). One thread signals both kinds in their order.
    fn line(&self, context: u32, ring: Option<u8>) -> Line {
        let is_virgl = self.contexts.get(&context).is_some_and(|context| context.is_virgl);
        match ring {
            Some(ring) if !is_virgl => Line::Ring { context, ring },
            _ => Line::Global,
        }
    }

    fn fence(&self, context: u32, ring: Option<u8>, fence: u64) -> Reply {
        let line = self.line(context, ring);
        if self.ask_for_fence(line, Some(fence)) { Reply::Fence } else { self.follow(line, fence) }
    }

    fn follow(&self, line: Line, fence: u64) -> Reply {
        if self.event_queue.follow(line, fence) { Reply::Fence } else { Reply::Answer }
    }

    /// `false` if the library has none to give.
    fn ask_for_fence(&self, line: Line, fence: Option<u64>) -> bool {
        self.event_queue.ask(line, fence, |number| match line {
            Line::Global => self.virgl.fence(number as u32).is_ok(),
            Line::Ring { context, ring } => {
                self.contexts.contains_key(&context) && self.virgl.ring_fence(context, ring, number).is_ok()
            }
        })
    }

    /// virglrenderer (seen in 0.10.4, and in the sources of 1.0) forgets the fence that its thread waits for whenever a
    /// context is destroyed, of whichever context the fence is. Another fence on each timeline stands in for those that
    /// may be lost.
    fn renew_fences(&self) {
        for line in self.event_queue.lines() {
            if !self.ask_for_fence(line, None) {
                self.event_queue.forget(|fences| fences.forget(line));
            }
        }
    }

    fn texture(&self, resource: u32) -> Result<&Create3d, Errno> {
        match &self.resources.get(&resource).ok_or(Errno::NOENT)?.kind {
            Kind::Texture(what) => Ok(what),
            Kind::Blob(_) => Err(Errno::OPNOTSUPP),
        }
    }

    fn export(&self, resource: u32) -> Result<(Event<'static>, Vec<OwnedFd>), Errno> {
        checks::exportable(self.texture(resource)?)?;
        let (export, files) = self.virgl.export(resource)?;
        Ok((Event::Exported(export), files))
    }

    fn map(&self, resource: u32) -> Result<(Event<'static>, Vec<OwnedFd>), Errno> {
        match &self.resources.get(&resource).ok_or(Errno::NOENT)?.kind {
            Kind::Blob(blob) if blob.memory != kinds::GUEST => {
                let (file, cache) = self.virgl.export_blob(resource)?;
                Ok((Event::Mapped { size: blob.size, cache }, vec![file]))
            }
            Kind::Blob(_) | Kind::Texture(_) => Err(Errno::INVAL),
        }
    }

    fn target(&mut self, target: u32, length: u64, files: &[OwnedFd]) -> Result<(), Errno> {
        if self.targets.contains_key(&target) {
            return Err(Errno::EXIST);
        }
        if self.targets.len() >= MAX_TARGETS {
            return Err(Errno::NOMEM);
        }
        let file = files.first().ok_or(Errno::BADF)?;
        self.targets.insert(target, Target::new(file, length)?);
        Ok(())
    }

    /// The library hands out rows as the guest counts them, from the top, whichever way up it keeps them.
    fn read_back(&mut self, resource: u32, target: u32, part: &ReadBack) -> Result<(), Errno> {
        let what = self.texture(resource)?;
        let target = self.targets.get(&target).ok_or(Errno::NOENT)?;
        let (start, order) = checks::read_back(what, part, target.length())?;
        let mut to = target.backing()?;
        self.virgl.read(resource, (part.x, part.y, part.width, part.height), &mut to, part.stride, start)?;
        if order == Order::Rgb {
            target.swap_red_and_blue(part);
        }
        Ok(())
    }

    /// One by one: the library's own reset has crashed in some versions.
    fn reset(&mut self) -> Result<(), Errno> {
        for context in std::mem::take(&mut self.contexts).into_keys() {
            self.virgl.destroy_context(context);
        }
        for resource in std::mem::take(&mut self.resources).into_keys() {
            self.virgl.unref(resource);
        }
        self.bytes = 0;
        self.event_queue.forget(Fences::forget_all);
        Ok(())
    }
}
