//! The device itself: its state, and the way of each command to what executes it.
//!
//! `resource_commands`, `scanout_commands` and `blob_commands` execute, `three_d` forwards, `publish` says what the
//! screen gets.
//!
//! No sockets and no queues here: requests come as bytes that were copied before, responses go as bytes, time is passed
//! in. Every id, size and rectangle is the guest's wish and is looked up, bounded or refused; nothing a guest sends can
//! panic, and a command that is refused changes nothing.

#![cfg_attr(
    not(test),
    deny(clippy::wildcard_enum_match_arm, reason = "a new request, command or event is not to be taken for another")
)]

use super::class::{Class, Errors};
use super::edid::{clamp, edid};
use super::host_image::HostImage;
use super::memory::Memory;
use super::outcome::{Done, NO_SCANOUT, Outcome, Refused};
use super::pacing::{Lane, Waits};
use super::quota::{Quota, Usage};
use super::resources::Resources;
use super::scanout::{Scanout, scanout_status};
use super::shmem::{Shmem, WINDOW};
use super::three_d::ThreeD;
use super::udmabuf;
use super::wire::{Command, Command3d, Header, QueueKind, Refusal, Response, Status, decode, feature};
use super::{DeviceConfig, Transport};
use crate::frames::{GpuReport, Rect, ToDevice};
use crate::renderer::client::Client;
use phyllome_config::guest::Background;
use phyllome_protocol::ScanoutId;
use phyllome_protocol::ids::MAX_SCANOUTS;
use std::fs::File;
use std::time::Duration;

/// `VIRTIO_GPU_EVENT_DISPLAY`.
const EVENT_DISPLAY: u32 = 1;

/// The device's whole state.
#[derive(Debug)]
pub struct Device {
    pub(super) quota: Quota,
    pub(super) usage: Usage,
    pub(super) features: u64,
    pub(super) transport: Transport,
    pub(super) resources: Resources,
    /// `events_read` of the configuration space.
    pub(super) events: u32,
    /// QEMU is to be told that the configuration space has changed.
    pub(super) config_changed: bool,
    /// What is mapped into the guest's window.
    pub(super) shmem: Shmem,
    /// A cursor's pixels on their way out of a blob.
    pub(super) cursor_copy: Option<HostImage>,
    pub(super) scanouts: Vec<Scanout>,
    pub(super) lanes: Vec<Lane>,
    pub(super) three_d: Option<ThreeD>,
    pub(super) udmabuf: Option<File>,
    background: Background,
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
    /// Bytes that there are for the response to the present command.
    room: u64,
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
            resources: Resources::default(),
            events: 0,
            config_changed: false,
            shmem: Shmem::new(if with_window { WINDOW } else { 0 }),
            cursor_copy: None,
            lanes: vec![Lane::default(); scanouts.len()],
            scanouts,
            three_d: renderer.map(|client| ThreeD::new(client, &config.quota)),
            udmabuf: udmabuf::open(),
            background: config.background,
            errors: Errors::default(),
            copied_bytes: 0,
            reset_due: false,
            unshowable: Vec::new(),
            layout_changed: true,
            counters_changed: false,
            pictured: false,
            room: 0,
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

    /// The same, for fences that nobody waits for any more.
    pub fn lanes_mut(&mut self) -> &mut [Lane] {
        &mut self.lanes
    }

    /// How long one picture of these scanouts lasts, where those that nobody sees are to be drawn so fast.
    pub fn hidden_period(&self, waits: &Waits) -> Option<Duration> {
        if self.background == Background::Slow {
            return None;
        }
        let rates = waits.scanouts().filter_map(|scanout| Some(self.scanouts.get(scanout)?.mode.refresh_mhz));
        // Thousandths of a hertz, and nanoseconds.
        rates.max().and_then(|rate| 1_000_000_000_000u64.checked_div(rate.into())).map(Duration::from_nanos)
    }

    /// Counts something wrong that is not a command's.
    pub fn count_error(&mut self, class: Class) {
        self.errors.count(class);
        self.counters_changed = true;
    }

    /// Another driver takes over: resources are freed, every scanout is off.
    pub fn reset(&mut self) {
        self.reset_due |= self.scanouts.iter().any(Scanout::is_announced);
        self.shmem.reset();
        self.events = 0;
        self.usage = Usage::default();
        if let Some(three_d) = &mut self.three_d {
            three_d.reset(&self.resources);
        }
        self.resources.clear();
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
                let scanout = self.scanouts.get_mut(id.get() as usize);
                let changed = scanout.is_some_and(|scanout| scanout.set_mode(mode));
                if changed && self.transport == Transport::Generic {
                    self.events |= EVENT_DISPLAY;
                    self.config_changed = true;
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

    /// The same where there is room for every response.
    #[cfg(any(test, feature = "test-doors"))]
    pub fn execute(&mut self, memory: &Memory, queue: QueueKind, request: &[u8], response: &mut Response) -> Outcome {
        self.execute_within(u64::MAX, memory, queue, request, response)
    }

    /// Executes one request that came on `queue`, and writes its response, for which there are `room` bytes. Never
    /// fails: what is wrong is answered.
    pub fn execute_within(
        &mut self,
        room: u64,
        memory: &Memory,
        queue: QueueKind,
        request: &[u8],
        response: &mut Response,
    ) -> Outcome {
        (self.counters_changed, self.room) = (true, room);
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

    /// A command that changes something has room for the response that says so: without, it must not take effect.
    pub(super) fn has_space(&self, header: &Header) -> Result<(), Refused> {
        let fits = self.room >= Response::length(header.kind);
        if fits { Ok(()) } else { Err((Status::ErrInvalidParameter, Class::ResponseSpace)) }
    }

    fn command(&mut self, memory: &Memory, header: &Header, command: Command<'_>, response: &mut Response) -> Done {
        tracing::trace!(target: "guest", ?command);
        match command {
            Command::GetDisplayInfo => {
                self.has_space(header)?;
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
            Command::SetScanout { scanout, resource, rect } => self.set_scanout(scanout, resource, rect.into()),
            Command::ResourceFlush { resource, rect } => self.flush(memory, resource, &rect.into(), header.fenced()),
            Command::TransferToHost2d { resource, rect, offset } => {
                self.transfer(memory, header, resource, &rect.into(), offset)
            }
            Command::ResourceAttachBacking { resource, entries } => self.attach(memory, header, resource, &entries),
            Command::ResourceDetachBacking { resource } => self.detach(header, resource),
            Command::ResourceAssignUuid { resource } => {
                self.resources.entry(resource)?.living()?;
                self.has_space(header)?;
                let entry = self.resources.entry_mut(resource)?;
                response.uuid(header, entry.uuid.get_or_insert_with(random_uuid));
                Ok(Outcome::Answer)
            }
            Command::UpdateCursor { place, resource, hot_x, hot_y } => {
                self.update_cursor(memory, place, resource, (hot_x, hot_y))
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
        let three_d = self.three_d.as_mut().ok_or((Status::ErrUnspec, Class::NotNegotiated));
        let resources = &mut self.resources;
        match *command {
            Command3d::GetCapsetInfo { index } => three_d?.capset_info(header, index, response),
            Command3d::GetCapset { id, version } => three_d?.capset(header, id, version, response),
            Command3d::ContextCreate { flags, name } => three_d?.create_context(header, flags, name),
            Command3d::ContextDestroy => three_d?.destroy_context(header),
            Command3d::ContextAttachResource { resource } => {
                three_d?.attach_to_context(memory, header, resource, resources)
            }
            Command3d::ContextDetachResource { resource } => three_d?.detach_from_context(header, resource, resources),
            Command3d::ResourceCreate3d { resource, what } => three_d?.create(header, resource, what, resources),
            Command3d::TransferToHost3d { resource, transfer } => {
                three_d?.transfer(memory, header, resource, transfer, true, resources)
            }
            Command3d::TransferFromHost3d { resource, transfer } => {
                three_d?.transfer(memory, header, resource, transfer, false, resources)
            }
            Command3d::Submit3d { commands } => three_d?.submit(memory, header, commands.0),
            Command3d::ResourceCreateBlob { resource, blob, entries } => {
                self.create_blob(memory, header, resource, blob, &entries)
            }
            Command3d::SetScanoutBlob { scanout, resource, rect, image } => {
                self.set_scanout_blob(memory, header, scanout, resource, rect.into(), &image)
            }
            Command3d::ResourceMapBlob { resource, offset } => self.map_blob(header, resource, offset, response),
            Command3d::ResourceUnmapBlob { resource } => self.unmap_blob(resource),
        }
    }

    /// Where the scanouts are: side by side, but for those that are disconnected.
    fn places(&self) -> impl Iterator<Item = Option<Rect>> + '_ {
        let mut x = 0u32;
        self.scanouts.iter().map(move |scanout| {
            scanout.connected.then(|| {
                let rect = Rect { x, y: 0, width: scanout.mode.width, height: scanout.mode.height };
                x = x.saturating_add(scanout.mode.width);
                rect
            })
        })
    }
}

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

/// A random UUID (RFC 9562, version 4).
fn random_uuid() -> [u8; 16] {
    let mut uuid = [0u8; 16];
    // SAFETY: the buffer lives through the call and is as long as is said. getrandom fills 16 bytes whole or fails;
    // after a failure, which Linux knows only before its pool is seeded, the UUID is less random and still well-formed.
    unsafe { libc::getrandom(uuid.as_mut_ptr().cast(), uuid.len(), 0) };
    uuid[6] = uuid[6] & 0x0f | 0x40;
    uuid[8] = uuid[8] & 0x3f | 0x80;
    uuid
}

#[cfg(test)]
#[path = "device_tests.rs"]
mod tests;
