//! What the device shows: scanouts, flushes, cursors, and the words for the screen.
//!
//! Classic 2D pictures are shown from the resource's own memory. Those of 3D are fetched into memory of ours first: when the
//! screen is free to show them, and only what was flushed.

use super::class::Class;
use super::device::{Device, Done, NO_RESOURCE, NO_SCANOUT, Outcome};
use super::formats::Format;
use super::pacing::Waits;
use super::scanout::{Scanout, Shown};
use super::three_d::{Fetch, News, Token};
use super::wire::{CursorPlace, Status, feature};
use crate::frames::{Picture, Rect, SharedBuffer, ToScreen};
use phyllome_protocol::status::{GpuStatus, ScanoutStatus};
use rustix::event::{PollFd, PollFlags, Timespec};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::Sender;

/// What a guest's status says when no renderer is started any more.
const THREE_D_OFF: &str = "3D is off until the guest starts again: its renderer died three times within a minute";

impl Device {
    /// Says to the screen what there is to say, as far as the channel has room. `true` if something is left for later.
    pub fn publish(&mut self, to_screen: &Sender<ToScreen>) -> bool {
        if self.reset_due {
            if to_screen.try_send(ToScreen::Reset).is_err() {
                return !to_screen.is_closed();
            }
            self.reset_due = false;
        }
        self.fetch();
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

    /// Has the pixels fetched that the screen is free to show.
    fn fetch(&mut self) {
        let Some(three_d) = &mut self.three_d else { return };
        for (index, (scanout, lane)) in self.scanouts.iter_mut().zip(&mut self.lanes).enumerate() {
            let Some(shown) = &scanout.shown else { continue };
            let Some((epoch, damage)) = lane.fetch() else { continue };
            let (resource, source) = (shown.resource, shown.picture.source);
            match three_d.fetch(&Fetch { scanout: index, epoch, resource, source, damage: &damage }) {
                Some(bytes) => {
                    self.copied_bytes = self.copied_bytes.saturating_add(bytes);
                    scanout.staged = Some((resource, shown.picture.clone()));
                }
                // What was there last stays.
                None => lane.arrived(epoch),
            }
        }
    }

    /// Takes what the renderer says; the guest's commands that are done with it.
    pub fn renderer_turn(&mut self, now: Instant) -> Vec<(Token, Status)> {
        let Some(three_d) = &mut self.three_d else { return Vec::new() };
        let mut done = Vec::new();
        for news in three_d.turn(now) {
            match news {
                News::Answer(token, status) => {
                    if status != Status::OkNoData {
                        self.errors.count(Class::Renderer);
                        self.counters_changed = true;
                    }
                    self.shmem.no_file(token);
                    done.push((token, status));
                }
                News::Mapped { token, resource, file, size, cache } => {
                    self.shmem.map(resource, token, file, size, cache);
                }
                News::Fetched { scanout, epoch } => {
                    if let (Some(scanout), Some(lane)) = (self.scanouts.get(scanout), self.lanes.get_mut(scanout)) {
                        if let Some((resource, _)) = &scanout.staged {
                            three_d.written(*resource);
                        }
                        lane.arrived(epoch);
                    }
                }
                News::Cursor(index) => {
                    let read = three_d.cursor(index);
                    if let (Some(scanout), Some((memory, hot_x, hot_y))) = (self.scanouts.get_mut(index as usize), read)
                    {
                        scanout.cursor.show(memory, hot_x, hot_y);
                    }
                }
                News::Died(reason) => {
                    tracing::warn!(target: "guest", "3D was lost: {reason}");
                    self.layout_changed = true;
                }
                News::Started => self.layout_changed = true,
            }
        }
        done
    }

    /// Waits until the renderer says something; `false` if there is nothing to wait for.
    pub fn wait_for_renderer(&self, most: Duration) -> bool {
        let Some(three_d) = &self.three_d else { return false };
        let timeout = Timespec { tv_sec: most.as_secs() as i64, tv_nsec: most.subsec_nanos().into() };
        let fd = three_d.fd();
        rustix::event::poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&timeout)).is_ok()
    }

    /// When [`Self::renderer_turn`] is due even if the renderer says nothing.
    pub fn renderer_deadline(&self) -> Option<Instant> {
        self.three_d.as_ref().and_then(|three_d| three_d.deadline())
    }

    /// Whether more of the guest's commands can be taken now.
    pub fn has_room(&self) -> bool {
        self.three_d.as_ref().is_none_or(|three_d| three_d.has_room())
    }

    /// Names what draws for the guest.
    pub(super) fn report_renderer(&self, status: &mut GpuStatus) {
        let client = self.three_d.as_ref().map(|three_d| three_d.client());
        let virgl = client.is_some_and(|client| client.is_alive()) && self.features & feature::VIRGL != 0;
        status.renderer = if virgl { "virgl" } else { "2d" }.to_owned();
        status.reason = client.and_then(|client| (!client.is_alive()).then(|| THREE_D_OFF.to_owned()));
        status.renderer_pid = client.and_then(|client| client.pid());
        status.renderer_restarts = client.map_or(0, |client| client.restarts());
    }

    pub(super) fn turn_off(&mut self, index: usize) {
        if let (Some(scanout), Some(lane)) = (self.scanouts.get_mut(index), self.lanes.get_mut(index)) {
            (scanout.shown, scanout.staged) = (None, None);
            lane.abandon();
            self.layout_changed = true;
        }
    }

    pub(super) fn set_scanout(&mut self, index: u32, id: u32, source: Rect) -> Done {
        let index = index as usize;
        self.scanouts.get(index).ok_or(NO_SCANOUT)?;
        if id == 0 {
            self.turn_off(index);
            return Ok(Outcome::Answer);
        }
        let shown =
            self.scanouts.iter().filter_map(|scanout| Some(scanout.shown.as_ref()?.resource)).collect::<Vec<_>>();
        let of_3d = self.three_d.as_mut().filter(|three_d| three_d.has(id));
        let fetched = of_3d.is_some();
        let layout = match (self.resources.get(&id), &of_3d) {
            (Some(resource), _) => resource.layout,
            (None, Some(three_d)) => three_d.shown_layout(id)?,
            (None, None) => return Err(NO_RESOURCE),
        };
        if source.width == 0 || source.height == 0 || !layout.contains(&source) {
            return Err((Status::ErrInvalidParameter, Class::ScanoutRectangle));
        }
        let udmabuf = self.udmabuf.as_ref();
        let no_memory = (Status::ErrOutOfMemory, Class::HostMemory);
        let (buffer, format) = match (self.resources.get_mut(&id), of_3d) {
            (Some(resource), _) => (resource.share(udmabuf).map_err(|_| no_memory)?, resource.format.name()),
            (None, Some(three_d)) => (three_d.picture(id, udmabuf, &shown)?, Format::B8G8R8X8.name()),
            (None, None) => return Err(NO_RESOURCE),
        };
        self.show(index, id, buffer, source, format, fetched);
        Ok(Outcome::Answer)
    }

    /// A scanout shows this from now on. Both are checked.
    pub(super) fn show(
        &mut self,
        index: usize,
        id: u32,
        buffer: Arc<SharedBuffer>,
        source: Rect,
        format: &'static str,
        fetched: bool,
    ) {
        let Some(scanout) = self.scanouts.get_mut(index) else { return };
        let before = scanout.shown.as_ref().map(|shown| (&shown.picture, shown.format));
        let same = |picture: &Picture| picture.buffer.id == buffer.id && picture.source == source;
        if before.is_some_and(|(picture, _)| same(picture)) {
            return;
        }
        let size = |rect: &Rect| (rect.width, rect.height);
        let same_size = before.is_some_and(|(picture, _)| size(&picture.source) == size(&source));
        let looks_the_same = same_size
            && before.is_some_and(|(picture, before)| {
                before == format && picture.buffer.dmabuf.is_some() == buffer.dmabuf.is_some()
            });
        scanout.shown = Some(Shown { resource: id, picture: Picture { buffer, source }, format });
        if let Some(lane) = self.lanes.get_mut(index) {
            lane.set_fetched(fetched);
            lane.replaced((!same_size).then(|| scanout.whole()));
        }
        self.layout_changed |= !looks_the_same;
    }

    pub(super) fn flush(&mut self, id: u32, flushed: &Rect, fenced: bool) -> Done {
        let resource = self.resources.get(&id);
        let layout = match (resource, &self.three_d) {
            (Some(resource), _) => resource.layout,
            (None, Some(three_d)) if three_d.has(id) => three_d.shown_layout(id)?,
            _ => return Err(NO_RESOURCE),
        };
        if !layout.contains(flushed) {
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
        if let Some(resource) = resource.filter(|_| written) {
            resource.written();
        }
        let may_hold = fenced && self.features & feature::IN_ORDER == 0 && waits != Waits::NOTHING;
        Ok(if may_hold { Outcome::Hold(waits) } else { Outcome::Answer })
    }

    pub(super) fn update_cursor(&mut self, place: CursorPlace, id: u32, hot_x: u32, hot_y: u32) -> Done {
        let scanout = self.scanouts.get_mut(place.scanout as usize).ok_or(NO_SCANOUT)?;
        if id == 0 {
            scanout.cursor.hide();
            return Ok(Outcome::Answer);
        }
        if let Some(three_d) = self.three_d.as_mut().filter(|three_d| three_d.has(id)) {
            return three_d.read_cursor(place.scanout, id, (hot_x, hot_y));
        }
        let resource = self.resources.get(&id).ok_or(NO_RESOURCE)?;
        if !scanout.cursor.show(resource, hot_x, hot_y) {
            return Err((Status::ErrInvalidParameter, Class::CursorSize));
        }
        Ok(Outcome::Answer)
    }
}

pub(super) fn scanout_status(scanout: &Scanout) -> Option<ScanoutStatus> {
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
