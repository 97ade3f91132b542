//! What the device asks of QEMU, and what becomes of the commands that wait for it: the socket, when it is used, and
//! its end.
//!
//! Nothing here waits. A socket that is of no use is closed, and whoever waited for it is answered. What QEMU says
//! while the queue is stopped is told when it goes on: QEMU answers nothing while it stops the queue, and until it has
//! answered nobody knows what is mapped.

use super::{CHANNEL, Service};
use crate::gpu::ring::Ring;
use crate::gpu::shmem::Channel;
use rustix::event::epoll;
use std::os::fd::OwnedFd;
use std::time::Instant;

impl Service {
    /// QEMU gave the socket on which it takes requests of ours; another takes its place.
    pub fn set_channel(&mut self, socket: OwnedFd) {
        self.close_channel();
        let watched = Channel::new(socket).and_then(|channel| {
            let token = epoll::EventData::new_u64(CHANNEL);
            epoll::add(&*self.epoll, channel.fd(), token, epoll::EventFlags::IN)?;
            Ok(channel)
        });
        match watched {
            Ok(channel) => self.channel = Some(channel),
            Err(error) => tracing::warn!(%error, "QEMU's socket for the device's requests is of no use"),
        }
    }

    pub(super) fn close_channel(&mut self) {
        if let Some(channel) = self.channel.take() {
            // It was added; its descriptor may live on in QEMU, so closing it would not take it out.
            let _ = epoll::delete(&*self.epoll, channel.fd());
            channel.close(&mut self.device.shmem, Instant::now());
        }
    }

    /// QEMU said something to a request of ours.
    pub fn channel_readable(&mut self) {
        let Some(channel) = &mut self.channel else { return };
        if let Err(error) = channel.hear(&mut self.device.shmem, Instant::now()) {
            tracing::debug!(%error, "QEMU's socket for the device's requests is closed");
            self.close_channel();
        }
    }

    /// Asks QEMU what there is to ask, and answers the commands that it has answered. Only while a driver has the
    /// device: without one, QEMU (seen in 11.1) has no pointer to the virtio device, follows it all the same, and ends.
    /// What is to be said is said later. (What QEMU has not read when it stops the rings ends it still: nobody but QEMU
    /// can mend that.)
    pub(super) fn qemu_turn(&mut self, now: Instant) {
        let Some(channel) = &mut self.channel else {
            self.device.shmem.no_channel(now);
            return self.answer_mappings(now);
        };
        if !self.rings.first().is_some_and(Ring::started) {
            return;
        }
        let told = if self.device.config_changed { channel.config_changed() } else { Ok(false) };
        match told.and_then(|told| channel.ask(&mut self.device.shmem).map(|()| told)) {
            Ok(told) => self.device.config_changed &= !told,
            Err(error) => {
                tracing::debug!(%error, "QEMU takes no more requests of the device's");
                self.close_channel();
            }
        }
        self.answer_mappings(now);
    }

    /// Gives back the commands that QEMU has answered, if there is a queue to give them back on.
    pub(super) fn answer_mappings(&mut self, now: Instant) {
        if !self.rings.first().is_some_and(Ring::started) {
            return;
        }
        let done = self.device.shmem.turn(now);
        if done.is_empty() {
            return;
        }
        for (token, answered) in done {
            self.finish(token, answered, now);
        }
        self.notify(0);
    }

    /// When to look again at what QEMU has mapped, even if it says nothing.
    pub(super) fn mappings_deadline(&self) -> Option<Instant> {
        self.rings.first().filter(|ring| ring.started()).and_then(|_| self.device.shmem.deadline())
    }
}
