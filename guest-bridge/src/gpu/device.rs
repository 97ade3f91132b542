//! The device itself: executes checked commands against resources, scanouts and cursors, and says what the screen gets.
//!
//! No sockets and no queues here: requests come as bytes that were copied before, responses go as bytes, time is passed in.
//! Every id, size and rectangle is the guest's wish and is looked up, bounded or refused; nothing a guest sends can panic,
//! and a command that is refused changes nothing.

use super::backing::Backing;
use super::blob::Blob;
use super::class::{Class, Errors};
use super::edid::{clamp, edid};
use super::formats::Format;
use super::memory::Memory;
use super::pacing::{Lane, Waits};
use super::quota::{Quota, Usage};
use super::resource::{Layout, Resource};
use super::scanout::Scanout;
use super::shmem::{Shmem, WINDOW};
use super::shows::scanout_status;
use super::three_d::{ThreeD, Token};
use super::udmabuf;
use super::wire::{
    Command, Command3d, Header, MemEntries, QueueKind, Refusal, Response, Status, WireRect, decode, feature,
};
use super::{DeviceConfig, Transport};
use crate::frames::{GpuReport, Rect, ToDevice};
use crate::renderer::client::Client;
use crate::renderer::wire::{Box3d, Transfer3d};
use phyllome_protocol::ScanoutId;
use phyllome_protocol::ids::MAX_SCANOUTS;
use std::collections::HashMap;
use std::fs::File;

/// `VIRTIO_GPU_EVENT_DISPLAY`.
const EVENT_DISPLAY: u32 = 1;

/// What is to be done with a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It goes back at once.
    Answer,
    /// It goes back when these batches were presented, or from the slow timer.
    Hold(Waits),
    /// It goes back when the 3D half says so of this token, and then these batches were presented.
    Forwarded(Token, Waits),
}

/// Why a command is refused.
pub type Refused = (Status, Class);
/// What becomes of a command.
pub type Done = Result<Outcome, Refused>;

/// The device's whole state.
#[derive(Debug)]
pub struct Device {
    pub(super) quota: Quota,
    pub(super) usage: Usage,
    pub(super) features: u64,
    pub(super) transport: Transport,
    pub(super) resources: HashMap<u32, Resource>,
    /// Of guest memory.
    pub(super) blobs: HashMap<u32, Blob>,
    /// `events_read` of the configuration space.
    pub(super) events: u32,
    /// QEMU is to be told that the configuration space has changed.
    pub(super) config_changed: bool,
    /// What is mapped into the guest's window.
    pub(super) shmem: Shmem,
    /// A cursor's pixels on their way out of a blob.
    pub(super) cursor_copy: Option<Resource>,
    pub(super) scanouts: Vec<Scanout>,
    pub(super) lanes: Vec<Lane>,
    pub(super) three_d: Option<ThreeD>,
    pub(super) udmabuf: Option<File>,
    pub(super) errors: Errors,
    pub(super) copied_bytes: u64,
    /// [`ToScreen::Reset`] is still to be said.
    pub(super) reset_due: bool,
    /// Resources that the renderer has just said cannot be shown.
    pub(super) unshowable: Vec<u32>,
    /// Something of the report other than counters has changed.
    pub(super) layout_changed: bool,
    pub(super) counters_changed: bool,
    /// A frame has gone to the screen.
    pub(super) pictured: bool,
}

impl Device {
    /// A device that no driver has touched, with 3D if there is a renderer. Opens /dev/udmabuf where there is one.
    pub fn new(config: &DeviceConfig, renderer: Option<Client>) -> Self {
        let mode = clamp(config.mode);
        let with_window = config.transport == Transport::Generic && renderer.is_some();
        let ids = (0..config.scanouts.clamp(1, MAX_SCANOUTS)).filter_map(ScanoutId::new);
        let scanouts: Vec<_> = ids.map(|id| Scanout::new(id, mode)).collect();
        Self {
            quota: config.quota,
            usage: Usage::default(),
            features: 0,
            transport: config.transport,
            resources: HashMap::new(),
            blobs: HashMap::new(),
            events: 0,
            config_changed: false,
            shmem: Shmem::new(if with_window { WINDOW } else { 0 }),
            cursor_copy: None,
            lanes: vec![Lane::default(); scanouts.len()],
            scanouts,
            three_d: renderer.map(|client| ThreeD::new(client, &config.quota)),
            udmabuf: udmabuf::open(),
            errors: Errors::default(),
            copied_bytes: 0,
            reset_due: false,
            unshowable: Vec::new(),
            layout_changed: true,
            counters_changed: false,
            pictured: false,
        }
    }

    /// The features that depend on the renderer and the transport.
    pub fn offered(&self) -> u64 {
        let virgl = self.three_d.as_ref().is_some_and(ThreeD::has_virgl);
        let generic = self.transport == Transport::Generic;
        let offered =
            [(virgl, feature::VIRGL), (generic, feature::RESOURCE_BLOB), (virgl && generic, feature::CONTEXT_INIT)];
        offered.into_iter().filter(|(offered, _)| *offered).fold(0, |bits, (_, bit)| bits | bit)
    }

    /// `events_read` of the configuration space.
    pub fn events(&self) -> u32 {
        self.events
    }

    /// The driver wrote to `events_clear`.
    pub fn clear_events(&mut self, events: u32) {
        self.events &= !events;
    }

    /// How many capsets it has: `num_capsets` of the configuration space.
    pub fn capset_count(&self) -> u32 {
        self.three_d.as_ref().map_or(0, |three_d| three_d.capsets().len() as u32)
    }

    /// How many scanouts it has.
    pub fn scanout_count(&self) -> u32 {
        self.scanouts.len() as u32
    }

    /// The driver acknowledged these features.
    pub fn set_features(&mut self, features: u64) {
        self.features = features;
        self.layout_changed = true;
    }

    /// Scanouts' batches, for fences that wait.
    pub fn lanes(&self) -> &[Lane] {
        &self.lanes
    }

    /// Counts something wrong that is not a command's.
    pub fn count_error(&mut self, class: Class) {
        self.errors.count(class);
        self.counters_changed = true;
    }

    /// Another driver takes over: resources are freed, every scanout is off.
    pub fn reset(&mut self) {
        self.reset_due |= self.scanouts.iter().any(Scanout::is_announced);
        self.resources.clear();
        self.blobs.clear();
        self.shmem.reset();
        self.events = 0;
        self.usage = Usage::default();
        if let Some(three_d) = &mut self.three_d {
            three_d.reset();
        }
        for (scanout, lane) in self.scanouts.iter_mut().zip(&mut self.lanes) {
            scanout.reset(lane);
        }
        self.layout_changed = true;
    }

    /// A message of the screen.
    pub fn message(&mut self, message: ToDevice) {
        match message {
            ToDevice::Presented { id, serial } => {
                if let Some(lane) = self.lanes.get_mut(id.get() as usize) {
                    lane.presented(serial);
                    self.counters_changed = true;
                }
            }
            ToDevice::Mode { id, mode } => {
                if let Some(scanout) = self.scanouts.get_mut(id.get() as usize) {
                    let mode = clamp(mode);
                    let changed = std::mem::replace(&mut scanout.mode, mode) != mode;
                    if changed && self.transport == Transport::Generic {
                        self.events |= EVENT_DISPLAY;
                        self.config_changed = true;
                    }
                }
            }
            ToDevice::Refused { buffer } => self.refused(buffer),
            ToDevice::Attached(true) => {
                for (scanout, lane) in self.scanouts.iter_mut().zip(&mut self.lanes) {
                    scanout.forgotten(lane);
                }
            }
            // What is under way will not be presented; the slow timer answers its fences.
            ToDevice::Attached(false) => {}
        }
    }

    /// Brings the report up to date. Costs a few counters, unless scanouts, features or errors have changed.
    pub fn report(&mut self, report: &mut GpuReport) {
        report.copied_bytes = self.copied_bytes;
        report.pictured = self.pictured;
        report.resource_bytes = self.usage.bytes() + self.three_d.as_ref().map_or(0, ThreeD::bytes);
        if let Some(errors) = self.errors.take_changed() {
            report.gpu.errors = errors;
        }
        if std::mem::take(&mut self.layout_changed) {
            report.gpu.transport = self.transport.name().to_owned();
            self.report_renderer(&mut report.gpu);
            let names = [
                (feature::VIRGL, "virgl"),
                (feature::EDID, "edid"),
                (feature::RESOURCE_UUID, "resource_uuid"),
                (feature::RESOURCE_BLOB, "resource_blob"),
                (feature::CONTEXT_INIT, "context_init"),
            ];
            let acknowledged = names.into_iter().filter(|(bit, _)| self.features & bit != 0);
            report.gpu.features = acknowledged.map(|(_, name)| name.to_owned()).collect();
            report.scanouts = self.scanouts.iter().zip(&self.lanes).filter_map(scanout_status).collect();
        }
        if std::mem::take(&mut self.counters_changed) || !report.scanouts.is_empty() {
            for status in &mut report.scanouts {
                if let Some(lane) = self.lanes.get(status.id.get() as usize) {
                    (status.flushes, status.presented) = lane.counts();
                }
            }
        }
    }

    /// Whether [`Self::report`] would change something.
    pub fn report_changed(&self) -> bool {
        self.layout_changed || self.counters_changed
    }

    /// Executes one request that came on `queue`, and writes its response. Never fails: what is wrong is answered.
    pub fn execute(&mut self, memory: &Memory, queue: QueueKind, request: &[u8], response: &mut Response) -> Outcome {
        self.counters_changed = true;
        let header = Header::parse(request).unwrap_or_default();
        response.status(&header, Status::OkNoData);
        let done = match decode(request, queue, self.features) {
            Ok(command) => self.command(memory, &header, command, response),
            Err(refusal) => Err(undecodable(refusal)),
        };
        let done = match (&mut self.three_d, done) {
            (Some(three_d), Ok(outcome)) => Ok(three_d.in_order(&header, outcome)),
            (Some(three_d), Err((status, class))) => match three_d.refuse_in_order(&header, status) {
                Some(outcome) => {
                    self.errors.count(class);
                    Ok(outcome)
                }
                None => Err((status, class)),
            },
            (None, done) => done,
        };
        done.unwrap_or_else(|(status, class)| {
            self.errors.count(class);
            response.status(&header, status);
            Outcome::Answer
        })
    }

    fn command(&mut self, memory: &Memory, header: &Header, command: Command<'_>, response: &mut Response) -> Done {
        tracing::trace!(target: "guest", ?command);
        match command {
            Command::GetDisplayInfo => {
                // What the driver was to look at it has seen.
                self.events &= !EVENT_DISPLAY;
                response.display_info(header, self.places());
                Ok(Outcome::Answer)
            }
            Command::GetEdid { scanout } => {
                let found = self.scanouts.get(scanout as usize).ok_or(NO_SCANOUT)?;
                response.edid(header, &edid(found.mode, scanout));
                Ok(Outcome::Answer)
            }
            Command::ResourceCreate2d { resource, format, width, height } => {
                self.create(resource, format, width, height)
            }
            Command::ResourceUnref { resource } => self.unref(header, resource),
            Command::SetScanout { scanout, resource, rect } => self.set_scanout(scanout, resource, checked(rect)),
            Command::ResourceFlush { resource, rect } if self.blobs.contains_key(&resource) => {
                self.flush_blob(memory, resource, &checked(rect), header.fenced())
            }
            Command::ResourceFlush { resource, rect } => self.flush(resource, &checked(rect), header.fenced()),
            Command::TransferToHost2d { resource, rect, offset } => {
                self.transfer(memory, header, resource, &checked(rect), offset)
            }
            Command::ResourceAttachBacking { resource, entries } => self.attach(memory, header, resource, &entries),
            Command::ResourceDetachBacking { resource } => self.detach(header, resource),
            Command::ResourceAssignUuid { resource } => {
                let here = self.resources.get_mut(&resource).map(|found| &mut found.uuid);
                let here = here.or(self.blobs.get_mut(&resource).map(|found| &mut found.uuid));
                let uuid = match (here, &mut self.three_d) {
                    (Some(found), _) => found,
                    (None, Some(three_d)) => three_d.uuid(resource)?,
                    (None, None) => return Err(NO_RESOURCE),
                };
                response.uuid(header, uuid.get_or_insert_with(random_uuid));
                Ok(Outcome::Answer)
            }
            Command::UpdateCursor { place, resource, hot_x, hot_y } if self.blobs.contains_key(&resource) => {
                self.blob_cursor(memory, place, resource, (hot_x, hot_y))
            }
            Command::UpdateCursor { place, resource, hot_x, hot_y } => {
                self.update_cursor(place, resource, hot_x, hot_y)
            }
            Command::MoveCursor { place } => {
                // The person's pointer is where the person moves it.
                self.scanouts.get(place.scanout as usize).ok_or(NO_SCANOUT)?;
                Ok(Outcome::Answer)
            }
            Command::ThreeD(command) => self.command_3d(memory, header, &command, response),
        }
    }

    fn command_3d(
        &mut self,
        memory: &Memory,
        header: &Header,
        command: &Command3d<'_>,
        response: &mut Response,
    ) -> Done {
        if let Some(done) = self.blob_command(memory, header, command, response) {
            return done;
        }
        let three_d = self.three_d.as_mut().ok_or((Status::ErrUnspec, Class::NotNegotiated))?;
        match *command {
            Command3d::ResourceCreate3d { resource, .. }
                if self.resources.contains_key(&resource) || self.blobs.contains_key(&resource) =>
            {
                return Err((Status::ErrInvalidResourceId, Class::ResourceExists));
            }
            // Without a context the command is refused, and nothing is made for it.
            Command3d::ContextAttachResource { resource } if three_d.context(header.ctx_id).is_ok() => {
                if let Some(classic) = self.resources.get(&resource) {
                    three_d.mirror(resource, classic);
                }
                if let Some(blob) = self.blobs.get(&resource) {
                    three_d.mirror_blob(memory, resource, blob);
                }
            }
            _ => {}
        }
        three_d.command(memory, header, command, response)
    }

    /// The 3D half, if this is one of its resources.
    pub(super) fn of_3d(&mut self, resource: u32) -> Option<&mut ThreeD> {
        self.three_d.as_mut().filter(|three_d| three_d.has(resource))
    }

    /// Where the scanouts are: side by side.
    fn places(&self) -> impl Iterator<Item = Rect> + '_ {
        self.scanouts.iter().scan(0u32, |x, scanout| {
            let rect = Rect { x: *x, y: 0, width: scanout.mode.width, height: scanout.mode.height };
            *x = x.saturating_add(scanout.mode.width);
            Some(rect)
        })
    }

    fn create(&mut self, id: u32, format: u32, width: u32, height: u32) -> Done {
        if id == 0 || self.has_resource(id) {
            return Err((Status::ErrInvalidResourceId, Class::ResourceExists));
        }
        let format = Format::from_number(format).ok_or((Status::ErrInvalidParameter, Class::Format))?;
        let layout = Layout::new(width, height).ok_or((Status::ErrInvalidParameter, Class::ResourceSize))?;
        let over = (Status::ErrOutOfMemory, Class::Quota);
        self.usage.take_resource(&self.quota, layout.bytes).map_err(|_| over)?;
        match Resource::new(layout, format) {
            Ok(resource) => {
                self.resources.insert(id, resource);
                Ok(Outcome::Answer)
            }
            Err(error) => {
                self.usage.give_resource(layout.bytes);
                tracing::debug!(%error, bytes = layout.bytes, "no memory for a guest's resource");
                Err((Status::ErrOutOfMemory, Class::HostMemory))
            }
        }
    }

    fn unref(&mut self, header: &Header, id: u32) -> Done {
        let mut outcome = Outcome::Answer;
        if let Some(three_d) = self.of_3d(id) {
            outcome = three_d.unref(header, id)?;
            self.shmem.forget(id);
        } else if self.blobs.contains_key(&id) {
            self.unref_blob(id)?;
        } else {
            let resource = self.resources.remove(&id).ok_or(NO_RESOURCE)?;
            self.usage.give_resource(resource.layout.bytes);
            self.usage.give_entries(resource.backing.as_ref().map_or(0, Backing::entries));
            if let Some(three_d) = &mut self.three_d {
                three_d.unmirror(id);
            }
        }
        self.turn_off_all(id);
        Ok(outcome)
    }

    fn attach(&mut self, memory: &Memory, header: &Header, id: u32, entries: &MemEntries<'_>) -> Done {
        if let Some(three_d) = self.of_3d(id) {
            return three_d.attach(memory, header, id, entries);
        }
        if self.blobs.contains_key(&id) {
            // It had all that it needs from the beginning.
            return Err((Status::ErrUnspec, Class::BackingTwice));
        }
        let resource = self.resources.get_mut(&id).ok_or(NO_RESOURCE)?;
        if resource.backing.is_some() {
            return Err((Status::ErrUnspec, Class::BackingTwice));
        }
        let over = (Status::ErrOutOfMemory, Class::Quota);
        self.usage.take_entries(&self.quota, entries.count()).map_err(|_| over)?;
        match Backing::new(entries.iter(), memory) {
            Ok(backing) => {
                resource.backing = Some(backing);
                Ok(Outcome::Answer)
            }
            Err(class) => {
                self.usage.give_entries(entries.count());
                Err((Status::ErrInvalidParameter, class))
            }
        }
    }

    fn detach(&mut self, header: &Header, id: u32) -> Done {
        if let Some(three_d) = self.of_3d(id) {
            return three_d.detach(header, id);
        }
        if self.blobs.contains_key(&id) {
            return self.detach_blob(id);
        }
        let resource = self.resources.get_mut(&id).ok_or(NO_RESOURCE)?;
        let backing = resource.backing.take().ok_or((Status::ErrUnspec, Class::BackingMissing))?;
        self.usage.give_entries(backing.entries());
        Ok(Outcome::Answer)
    }

    fn transfer(&mut self, memory: &Memory, header: &Header, id: u32, target: &Rect, offset: u64) -> Done {
        if let Some(three_d) = self.of_3d(id) {
            let Rect { x, y, width, height } = *target;
            let region = Box3d { x, y, z: 0, width, height, depth: 1 };
            let transfer = Transfer3d { region, offset, ..Transfer3d::default() };
            // The command is the device's own; its header names no context.
            return three_d.transfer(memory, &Header { ctx_id: 0, ..*header }, id, transfer, true);
        }
        if self.blobs.contains_key(&id) {
            // Its pages are what is shown; drivers say so of cursors all the same.
            return Ok(Outcome::Answer);
        }
        let resource = self.resources.get_mut(&id).ok_or(NO_RESOURCE)?;
        let copied = resource.transfer(memory, target, offset).map_err(|class| match class {
            Class::BackingMissing => (Status::ErrUnspec, class),
            class => (Status::ErrInvalidParameter, class),
        })?;
        self.copied_bytes = self.copied_bytes.saturating_add(copied);
        if let Some(three_d) = &mut self.three_d {
            three_d.mirror_written(id, resource, target);
        }
        Ok(Outcome::Answer)
    }
}

pub(super) const NO_SCANOUT: Refused = (Status::ErrInvalidScanoutId, Class::ScanoutId);
pub(super) const NO_RESOURCE: Refused = (Status::ErrInvalidResourceId, Class::ResourceId);

fn undecodable(refusal: Refusal) -> Refused {
    let class = match refusal {
        Refusal::Short => Class::ShortRequest,
        Refusal::Unknown => Class::UnknownCommand,
        Refusal::NotNegotiated => Class::NotNegotiated,
        Refusal::WrongQueue => Class::WrongQueue,
        Refusal::EntryCount => Class::BackingEntries,
    };
    (Status::ErrUnspec, class)
}

/// The guest's rectangle; one that wraps around stays outside every resource.
fn checked(rect: WireRect) -> Rect {
    let WireRect { x, y, width, height } = rect;
    Rect { x, y, width, height }
}

/// A random UUID (RFC 9562, version 4).
fn random_uuid() -> [u8; 16] {
    let mut uuid = [0u8; 16];
    // SAFETY: the buffer lives through the call and is as long as is said. getrandom fills 16 bytes whole or fails; after a
    // failure, which Linux knows only before its pool is seeded, the UUID is less random and still well-formed.
    unsafe { libc::getrandom(uuid.as_mut_ptr().cast(), uuid.len(), 0) };
    uuid[6] = uuid[6] & 0x0f | 0x40;
    uuid[8] = uuid[8] & 0x3f | 0x80;
    uuid
}

#[cfg(test)]
#[path = "device_tests.rs"]
mod tests;
