//! What goes between the device and its peers after each round: words for the screen, and what the renderer has
//! answered.
//!
//! Classic 2D pictures are shown from the resource's own memory. Those of 3D are shown as the renderer's own dmabufs
//! once it has drawn them, or else are fetched into memory of ours: when the screen is free to show them, and only what
//! was flushed. Neither peer is waited for here.

#![cfg_attr(
    not(test),
    deny(clippy::wildcard_enum_match_arm, reason = "a new request, command or event is not to be taken for another")
)]

use super::class::Class;
use super::device::Device;
use super::outcome::Token;
use super::pacing::Lane;
use super::scanout::{Scanout, Shown, looks};
use super::three_d::{Fetch, ThreeDEvent};
use super::wire::{Status, feature};
use crate::frames::{Picture, ToScreen};
use crate::renderer::limits::capset;
use phyllome_protocol::status::GpuStatus;
use rustix::event::{PollFd, PollFlags, Timespec};
use std::time::{Duration, Instant};
use tokio::sync::mpsc::Sender;

/// What a guest's status says when no renderer is started any more.
const THREE_D_OFF: &str =
    "3D is off, since its renderer died three times within a minute; start the guest again to have it back";

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
                if matches!(message, ToScreen::Flush { .. }) && !std::mem::replace(&mut self.pictured, true) {
                    self.counters_changed = true;
                }
                if to_screen.try_send(message).is_err() {
                    return !to_screen.is_closed();
                }
            }
        }
        false
    }

    /// Has the pixels fetched that the screen is free to show.
    fn fetch(&mut self) {
        if !self.lanes.iter().any(Lane::is_fetched) {
            return;
        }
        let shown = self.shown_resources();
        let Some(three_d) = &mut self.three_d else { return };
        for (index, (scanout, lane)) in self.scanouts.iter_mut().zip(&mut self.lanes).enumerate() {
            let Some(Shown { resource, source, image, .. }) = scanout.shown.clone() else { continue };
            // What the renderer gives out is about to be known.
            if three_d.is_asked(resource) {
                continue;
            }
            let Some((epoch, damage)) = lane.fetch() else { continue };
            let udmabuf = self.udmabuf.as_ref();
            let fetch =
                Fetch { scanout: index, epoch, resource, source, image, damage: &damage, shown: &shown, udmabuf };
            match three_d.fetch(&fetch, &self.resources) {
                Some((buffer, bytes)) => {
                    self.copied_bytes = self.copied_bytes.saturating_add(bytes);
                    scanout.coming = Some((epoch, resource, Picture { buffer, source }));
                }
                None if scanout.outlives() => lane.arrived(epoch),
                // What the screen shows stays, and is not said to be new.
                None => lane.miss(epoch),
            }
        }
    }

    /// The resources that scanouts show, or are about to.
    pub(super) fn shown_resources(&self) -> Vec<u32> {
        let coming = |scanout: &Scanout| scanout.coming.as_ref().map(|(_, resource, _)| *resource);
        let staged = |scanout: &Scanout| scanout.staged.as_ref().map(|(resource, _)| *resource);
        let shown = |scanout: &Scanout| scanout.shown.as_ref().map(|shown| shown.resource);
        self.scanouts.iter().flat_map(|scanout| [shown(scanout), staged(scanout), coming(scanout)]).flatten().collect()
    }

    /// The screen cannot show a buffer of the renderer's: its pixels are fetched from now on.
    pub(super) fn refused(&mut self, buffer: u64) {
        if let Some(three_d) = &mut self.three_d {
            three_d.refuse(buffer);
        }
        for (scanout, lane) in self.scanouts.iter_mut().zip(&mut self.lanes) {
            if scanout.staged.as_ref().is_some_and(|(_, picture)| picture.buffer.id == buffer) {
                lane.again(scanout.whole());
            }
        }
    }

    /// Takes what the renderer says; the guest's commands that are done with it.
    pub fn renderer_turn(&mut self, now: Instant) -> Vec<(Token, Status)> {
        let Some(three_d) = &mut self.three_d else { return Vec::new() };
        let mut done = Vec::new();
        for event in three_d.turn(now, &mut self.resources) {
            match event {
                ThreeDEvent::Answer(token, status) => {
                    if status != Status::OkNoData {
                        self.errors.count(Class::Renderer);
                        self.counters_changed = true;
                    }
                    self.shmem.no_file(token);
                    done.push((token, status));
                }
                ThreeDEvent::Mapped { token, resource, file, size, cache } => {
                    self.shmem.map(resource, token, file, size, cache);
                }
                ThreeDEvent::Fetched { scanout, epoch, done } => {
                    let (Some(scanout), Some(lane)) = (self.scanouts.get_mut(scanout), self.lanes.get_mut(scanout))
                    else {
                        continue;
                    };
                    let Some((_, resource, picture)) = scanout.coming.take_if(|(coming, ..)| *coming == epoch) else {
                        continue;
                    };
                    three_d.written(resource);
                    if !done {
                        lane.miss(epoch);
                    } else if lane.awaits(epoch) {
                        lane.arrived(epoch);
                        let before = scanout.staged.replace((resource, picture.clone()));
                        let looked = before.map(|(_, before)| looks(&before.buffer));
                        self.layout_changed |= looked != Some(looks(&picture.buffer));
                    }
                }
                ThreeDEvent::Unshowable(resource) => self.unshowable.push(resource),
                ThreeDEvent::Cursor { scanout: index, read } => {
                    let read = three_d.cursor(index, read);
                    if let (Some(scanout), Some(target)) = (self.scanouts.get_mut(index as usize), read) {
                        scanout.cursor.show(&target.memory, target.size, target.hot);
                    }
                }
                ThreeDEvent::Died(reason) => {
                    tracing::warn!(target: "guest", "3D was lost: {reason}");
                    self.layout_changed = true;
                }
                ThreeDEvent::Started => self.layout_changed = true,
            }
        }
        for resource in std::mem::take(&mut self.unshowable) {
            self.turn_off_all(resource);
        }
        done
    }

    /// Sends the renderer what it was asked since the last [`Self::renderer_turn`].
    pub fn tell_renderer(&mut self, now: Instant) {
        if let Some(three_d) = &mut self.three_d {
            three_d.flush(now);
        }
    }

    /// The renderer is not waited for any longer: with the next [`Self::renderer_turn`] it has died.
    pub fn give_up_renderer(&mut self, now: Instant, why: &str) {
        if let Some(three_d) = &mut self.three_d {
            three_d.give_up(now, why);
        }
    }

    /// Waits until the renderer says something; `false` if there is nothing to wait for.
    pub fn wait_for_renderer(&self, most: Duration) -> bool {
        let Some(three_d) = &self.three_d else { return false };
        let timeout = Timespec { tv_sec: most.as_secs() as i64, tv_nsec: most.subsec_nanos().into() };
        let fd = three_d.fd();
        // A signal ends the wait early, and there is as much to wait for as before.
        let waited = rustix::event::poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&timeout));
        matches!(waited, Ok(_) | Err(rustix::io::Errno::INTR))
    }

    /// When [`Self::renderer_turn`] is due even if the renderer says nothing.
    pub fn renderer_deadline(&self) -> Option<Instant> {
        self.three_d.as_ref().and_then(|three_d| three_d.deadline())
    }

    /// Whether a renderer lives.
    pub fn has_renderer(&self) -> bool {
        self.three_d.as_ref().is_some_and(|three_d| three_d.client().is_alive())
    }

    /// Whether more of the guest's commands can be taken now.
    pub fn has_room(&self) -> bool {
        self.three_d.as_ref().is_none_or(|three_d| three_d.has_room()) && self.shmem.has_room()
    }

    /// Names what draws for the guest.
    pub(super) fn report_renderer(&self, status: &mut GpuStatus) {
        let client = self.three_d.as_ref().map(|three_d| three_d.client());
        let virgl = client.is_some_and(|client| client.is_alive()) && self.features & feature::VIRGL != 0;
        let of_contexts = self.features & feature::CONTEXT_INIT != 0;
        let has = |id| client.is_some_and(|client| client.capsets().iter().any(|capset| capset.id == id));
        status.renderer = match virgl {
            false => "2d".to_owned(),
            true => {
                let more = [(capset::DRM, "native+"), (capset::VENUS, "venus+")];
                let more = more.into_iter().filter(|&(id, _)| of_contexts && has(id)).map(|(_, name)| name);
                more.chain(["virgl"]).collect()
            }
        };
        status.reason = client.and_then(|client| match client.is_alive() {
            false => Some(THREE_D_OFF.to_owned()),
            true => Some(client.lacks().join("; ")).filter(|lacks| virgl && !lacks.is_empty()),
        });
        status.renderer_pid = client.and_then(|client| client.pid());
        status.renderer_restarts = client.map_or(0, |client| client.restarts());
    }
}
