//! The device itself: executes checked commands against resources, scanouts and cursors, and says what the screen gets.
//!
//! No sockets and no queues here: requests come as bytes that were copied before, responses go as bytes, time is passed in.
//! Every id, size and rectangle is the guest's wish and is looked up, bounded or refused; nothing a guest sends can panic,
//! and a command that is refused changes nothing.

use super::DeviceConfig;
use super::backing::Backing;
use super::class::{Class, Errors};
use super::edid::{clamp, edid};
use super::formats::Format;
use super::memory::Memory;
use super::pacing::{Lane, Waits};
use super::quota::{Quota, Usage};
use super::resource::{Layout, Resource};
use super::scanout::{Scanout, Shown};
use super::wire::{
    Command, CursorPlace, Header, MemEntries, QueueKind, Refusal, Response, Status, WireRect, decode, feature,
};
use crate::frames::{GpuReport, Picture, Rect, ToDevice, ToScreen};
use phyllome_protocol::ScanoutId;
use phyllome_protocol::ids::MAX_SCANOUTS;
use phyllome_protocol::status::ScanoutStatus;
use std::collections::HashMap;
use std::fs::File;
use tokio::sync::mpsc::Sender;

/// What is to be done with a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It goes back at once.
    Answer,
    /// It goes back when these batches were presented, or from the slow timer.
    Hold(Waits),
}

/// Why a command is refused.
type Refused = (Status, Class);
type Done = Result<Outcome, Refused>;

/// The device's whole state.
#[derive(Debug)]
pub struct Device {
    quota: Quota,
    usage: Usage,
    features: u64,
    resources: HashMap<u32, Resource>,
    scanouts: Vec<Scanout>,
    lanes: Vec<Lane>,
    udmabuf: Option<File>,
    errors: Errors,
    copied_bytes: u64,
    /// [`ToScreen::Reset`] is still to be said.
    reset_due: bool,
    /// Something of the report other than counters has changed.
    layout_changed: bool,
    counters_changed: bool,
}

impl Device {
    /// A device that no driver has touched. Opens /dev/udmabuf where there is one.
    pub fn new(config: &DeviceConfig) -> Self {
        let mode = clamp(config.mode);
        let ids = (0..config.scanouts.clamp(1, MAX_SCANOUTS)).filter_map(ScanoutId::new);
        let scanouts: Vec<_> = ids.map(|id| Scanout::new(id, mode)).collect();
        Self {
            quota: config.quota,
            usage: Usage::default(),
            features: 0,
            resources: HashMap::new(),
            lanes: vec![Lane::default(); scanouts.len()],
            scanouts,
            udmabuf: open_udmabuf(),
            errors: Errors::default(),
            copied_bytes: 0,
            reset_due: false,
            layout_changed: true,
            counters_changed: false,
        }
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
        self.usage = Usage::default();
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
                    scanout.mode = clamp(mode);
                }
            }
            ToDevice::Attached(true) => {
                for (scanout, lane) in self.scanouts.iter_mut().zip(&mut self.lanes) {
                    scanout.forgotten(lane);
                }
            }
            // What is under way will not be presented; the slow timer answers its fences.
            ToDevice::Attached(false) => {}
        }
    }

    /// Says to the screen what there is to say, as far as the channel has room. `true` if something is left for later.
    pub fn publish(&mut self, to_screen: &Sender<ToScreen>) -> bool {
        if self.reset_due {
            if to_screen.try_send(ToScreen::Reset).is_err() {
                return !to_screen.is_closed();
            }
            self.reset_due = false;
        }
        for (scanout, lane) in self.scanouts.iter_mut().zip(&mut self.lanes) {
            while scanout.has_message(lane) {
                // Nobody else sends, so a slot that is free now is free for the message.
                if to_screen.capacity() == 0 || to_screen.is_closed() {
                    return !to_screen.is_closed();
                }
                let Some(message) = scanout.next_message(lane) else { break };
                if to_screen.try_send(message).is_err() {
                    return !to_screen.is_closed();
                }
            }
        }
        false
    }

    /// Brings the report up to date. Costs a few counters, unless scanouts, features or errors have changed.
    pub fn report(&mut self, report: &mut GpuReport) {
        report.copied_bytes = self.copied_bytes;
        report.resource_bytes = self.usage.bytes();
        if let Some(errors) = self.errors.take_changed() {
            report.gpu.errors = errors;
        }
        if std::mem::take(&mut self.layout_changed) {
            report.gpu.transport = "vhost-user-gpu".to_owned();
            report.gpu.renderer = "2d".to_owned();
            let names = [(feature::EDID, "edid"), (feature::RESOURCE_UUID, "resource_uuid")];
            let acknowledged = names.into_iter().filter(|(bit, _)| self.features & bit != 0);
            report.gpu.features = acknowledged.map(|(_, name)| name.to_owned()).collect();
            report.scanouts = self.scanouts.iter().filter_map(scanout_status).collect();
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
            Err(refusal) => Err(refused(refusal)),
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
            Command::ResourceUnref { resource } => self.unref(resource),
            Command::SetScanout { scanout, resource, rect } => self.set_scanout(scanout, resource, checked(rect)),
            Command::ResourceFlush { resource, rect } => self.flush(resource, &checked(rect), header.fenced()),
            Command::TransferToHost2d { resource, rect, offset } => {
                self.transfer(memory, resource, &checked(rect), offset)
            }
            Command::ResourceAttachBacking { resource, entries } => self.attach(memory, resource, &entries),
            Command::ResourceDetachBacking { resource } => self.detach(resource),
            Command::ResourceAssignUuid { resource } => {
                let found = self.resources.get_mut(&resource).ok_or(NO_RESOURCE)?;
                let uuid = found.uuid.get_or_insert_with(random_uuid);
                response.uuid(header, uuid);
                Ok(Outcome::Answer)
            }
            Command::UpdateCursor { place, resource, hot_x, hot_y } => {
                self.update_cursor(place, resource, hot_x, hot_y)
            }
            Command::MoveCursor { place } => {
                // The person's pointer is where the person moves it.
                self.scanouts.get(place.scanout as usize).ok_or(NO_SCANOUT)?;
                Ok(Outcome::Answer)
            }
        }
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
        if id == 0 || self.resources.contains_key(&id) {
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

    fn unref(&mut self, id: u32) -> Done {
        let resource = self.resources.remove(&id).ok_or(NO_RESOURCE)?;
        self.usage.give_resource(resource.layout.bytes);
        self.usage.give_entries(resource.backing.as_ref().map_or(0, Backing::entries));
        for index in 0..self.scanouts.len() {
            if self.scanouts.get(index).is_some_and(|scanout| scanout.shown.as_ref().is_some_and(|s| s.resource == id))
            {
                self.turn_off(index);
            }
        }
        Ok(Outcome::Answer)
    }

    fn attach(&mut self, memory: &Memory, id: u32, entries: &MemEntries<'_>) -> Done {
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

    fn detach(&mut self, id: u32) -> Done {
        let resource = self.resources.get_mut(&id).ok_or(NO_RESOURCE)?;
        let backing = resource.backing.take().ok_or((Status::ErrUnspec, Class::BackingMissing))?;
        self.usage.give_entries(backing.entries());
        Ok(Outcome::Answer)
    }

    fn transfer(&mut self, memory: &Memory, id: u32, target: &Rect, offset: u64) -> Done {
        let resource = self.resources.get_mut(&id).ok_or(NO_RESOURCE)?;
        let copied = resource.transfer(memory, target, offset).map_err(|class| match class {
            Class::BackingMissing => (Status::ErrUnspec, class),
            class => (Status::ErrInvalidParameter, class),
        })?;
        self.copied_bytes = self.copied_bytes.saturating_add(copied);
        Ok(Outcome::Answer)
    }

    fn turn_off(&mut self, index: usize) {
        if let (Some(scanout), Some(lane)) = (self.scanouts.get_mut(index), self.lanes.get_mut(index)) {
            scanout.shown = None;
            lane.abandon();
            self.layout_changed = true;
        }
    }

    fn set_scanout(&mut self, index: u32, id: u32, source: Rect) -> Done {
        let index = index as usize;
        let scanout = self.scanouts.get_mut(index).ok_or(NO_SCANOUT)?;
        if id == 0 {
            self.turn_off(index);
            return Ok(Outcome::Answer);
        }
        let resource = self.resources.get_mut(&id).ok_or(NO_RESOURCE)?;
        if source.width == 0 || source.height == 0 || !resource.layout.contains(&source) {
            return Err((Status::ErrInvalidParameter, Class::ScanoutRectangle));
        }
        let buffer = resource.share(self.udmabuf.as_ref()).map_err(|_| (Status::ErrOutOfMemory, Class::HostMemory))?;
        let before = scanout.shown.as_ref().map(|shown| (&shown.picture, shown.format));
        let same = |picture: &Picture| picture.buffer.id == buffer.id && picture.source == source;
        if before.is_some_and(|(picture, _)| same(picture)) {
            return Ok(Outcome::Answer);
        }
        let size = |rect: &Rect| (rect.width, rect.height);
        let same_size = before.is_some_and(|(picture, _)| size(&picture.source) == size(&source));
        let looks_the_same = same_size
            && before.is_some_and(|(picture, format)| {
                format == resource.format.name() && picture.buffer.dmabuf.is_some() == buffer.dmabuf.is_some()
            });
        scanout.shown =
            Some(Shown { resource: id, picture: Picture { buffer, source }, format: resource.format.name() });
        if let Some(lane) = self.lanes.get_mut(index) {
            lane.replaced((!same_size).then(|| scanout.whole()));
        }
        self.layout_changed |= !looks_the_same;
        Ok(Outcome::Answer)
    }

    fn flush(&mut self, id: u32, flushed: &Rect, fenced: bool) -> Done {
        let resource = self.resources.get(&id).ok_or(NO_RESOURCE)?;
        if !resource.layout.contains(flushed) {
            return Err((Status::ErrInvalidParameter, Class::FlushRectangle));
        }
        let mut waits = Waits::NOTHING;
        let mut written = false;
        for (index, (scanout, lane)) in self.scanouts.iter().zip(&mut self.lanes).enumerate() {
            if let Some(damage) = scanout.damage(id, flushed) {
                waits.add(index, lane.flush(damage));
                written = true;
            }
        }
        if written {
            resource.written();
        }
        let may_hold = fenced && self.features & feature::IN_ORDER == 0 && waits != Waits::NOTHING;
        Ok(if may_hold { Outcome::Hold(waits) } else { Outcome::Answer })
    }

    fn update_cursor(&mut self, place: CursorPlace, id: u32, hot_x: u32, hot_y: u32) -> Done {
        let scanout = self.scanouts.get_mut(place.scanout as usize).ok_or(NO_SCANOUT)?;
        if id == 0 {
            scanout.cursor.hide();
            return Ok(Outcome::Answer);
        }
        let resource = self.resources.get(&id).ok_or(NO_RESOURCE)?;
        if !scanout.cursor.show(resource, hot_x, hot_y) {
            return Err((Status::ErrInvalidParameter, Class::CursorSize));
        }
        Ok(Outcome::Answer)
    }
}

const NO_SCANOUT: Refused = (Status::ErrInvalidScanoutId, Class::ScanoutId);
const NO_RESOURCE: Refused = (Status::ErrInvalidResourceId, Class::ResourceId);

fn refused(refusal: Refusal) -> Refused {
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

fn scanout_status(scanout: &Scanout) -> Option<ScanoutStatus> {
    let shown = scanout.shown.as_ref()?;
    Some(ScanoutStatus {
        id: scanout.id,
        width: shown.picture.source.width,
        height: shown.picture.source.height,
        source: "vhost-user-gpu".to_owned(),
        buffer: if shown.picture.buffer.dmabuf.is_some() { "dmabuf" } else { "shm" }.to_owned(),
        format: shown.format.to_owned(),
        modifier: "LINEAR".to_owned(),
        flushes: 0,
        presented: 0,
    })
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

/// What makes dmabufs of our memory, where this host has it and lets us.
fn open_udmabuf() -> Option<File> {
    let opened = File::options().read(true).write(true).open("/dev/udmabuf");
    opened.inspect_err(|error| tracing::info!("/dev/udmabuf: {error}; pictures go through shared memory")).ok()
}

#[cfg(test)]
#[path = "device_tests.rs"]
mod tests;
