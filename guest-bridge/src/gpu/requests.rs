//! What QEMU asks over vhost-user (QEMU's docs/interop/vhost-user): features, memory, rings, configuration space, GPU
//! socket.
//!
//! A request that makes no sense is refused, counted, and the connection goes on; the crate that reads messages has
//! checked their framing. Nothing here waits for QEMU, which waits for us at that moment.

use super::Transport;
use super::class::Class;
use super::memory::holds;
use super::service::{QUEUES, Service};
use super::shmem::SHARED_MEMORY_ID;
use super::wire::feature;
use phyllome_protocol::descriptor::{Kind, describe};
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use vhost::vhost_user::message::{
    VhostTransferStateDirection, VhostTransferStatePhase, VhostUserConfigFlags, VhostUserInflight, VhostUserLog,
    VhostUserMemoryRegion, VhostUserProtocolFeatures, VhostUserShMemConfig, VhostUserSharedMsg,
    VhostUserSingleMemoryRegion, VhostUserVringAddrFlags, VhostUserVringState,
};
use vhost::vhost_user::{Error, GpuBackend, Result, VhostUserBackendReqHandlerMut};
use vm_memory::{GuestAddress, GuestRegionMmap};

/// What the device offers, whatever the host.
pub const FEATURES: u64 = feature::EDID
    | feature::RESOURCE_UUID
    | feature::INDIRECT_DESC
    | feature::EVENT_IDX
    | feature::PROTOCOL_FEATURES
    | feature::VERSION_1
    | feature::RING_RESET;

/// Most regions of guest memory.
const MAX_REGIONS: usize = 128;
/// Most regions that are not the guest's memory, such as files of the renderer's that are mapped into its window.
const MAX_FOREIGN: usize = 256;
/// `virtio_gpu_config` with `blob_alignment`.
const CONFIG_FIELDS: usize = 20;
/// Where `events_clear` is in it.
const EVENTS_CLEAR: usize = 4;

impl Service {
    /// Refuses a request; the connection goes on.
    fn refuse<T>(&mut self, why: &'static str) -> Result<T> {
        tracing::debug!("refused a vhost-user request: {why}");
        self.device.count_error(Class::Frontend);
        self.refused = true;
        Err(Error::ReqHandlerError(io::Error::other(why)))
    }

    /// Whether a region is mapped here: not what we have given QEMU to map, and not what may be gone when it is
    /// touched. The guest's own memory is neither; a region that is left out holds nothing of the guest's, and what it
    /// may say of it is refused.
    fn is_guest_memory(&mut self, file: &File, offset: u64, length: u64) -> bool {
        if self.device.shmem.is_ours(file, offset, length) {
            return false;
        }
        let holds = holds(file, offset, length);
        if !holds {
            self.device.count_error(Class::MemoryFile);
        }
        holds
    }

    /// There is a region that is not mapped here. Where it is all that there is, the guest has no display, and whoever
    /// has given QEMU this memory is told what it must be.
    fn not_mapped(&mut self, start: u64, length: u64) {
        self.memory.add_foreign(start, length);
        if self.memory.count() == 0 && !std::mem::replace(&mut self.no_memory_told, true) {
            tracing::warn!(
                "none of the guest's memory can be mapped, so it has no display; it must be a memfd of ordinary pages \
                 that is sealed against shrinking: give QEMU a memory-backend-memfd with share=on"
            );
        }
    }

    fn ring_index(&mut self, index: u32) -> Result<usize> {
        match usize::try_from(index).ok().filter(|&index| index < QUEUES) {
            Some(index) => Ok(index),
            None => self.refuse("there is no such queue"),
        }
    }

    /// What wakes somebody is an eventfd. Of another file, to read or to write is whatever its sender likes: a line in
    /// a file of the user's, an answer that never comes.
    fn check_event(&mut self, file: Option<&File>) -> Result<()> {
        match file.map(|file| describe(file.as_fd()).kind) {
            None | Some(Kind::Event) => Ok(()),
            Some(Kind::Memory { .. } | Kind::Dmabuf { .. } | Kind::Timeline | Kind::Unknown) => {
                self.refuse("what wakes is no eventfd")
            }
        }
    }

    /// `virtio_gpu_config` (virtio 1.3, 5.7.4), as many bytes as asked for: QEMU 10 asks for 16 and QEMU 11 for 20.
    fn config(&self, offset: u32, size: u32) -> Vec<u8> {
        let mut fields = [0u8; CONFIG_FIELDS];
        fields[..4].copy_from_slice(&self.device.events().to_le_bytes());
        fields[8..12].copy_from_slice(&self.device.scanout_count().to_le_bytes());
        fields[12..16].copy_from_slice(&self.device.capset_count().to_le_bytes());
        let wanted = fields.iter().copied().chain(std::iter::repeat(0));
        wanted.skip(offset as usize).take(size as usize).collect()
    }
}

fn map(start: u64, region: Result<vm_memory::MmapRegion>) -> io::Result<GuestRegionMmap> {
    let region = region.map_err(io::Error::other)?;
    GuestRegionMmap::new(region, GuestAddress(start)).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))
}

impl VhostUserBackendReqHandlerMut for Service {
    fn set_owner(&mut self) -> Result<()> {
        Ok(())
    }

    fn reset_owner(&mut self) -> Result<()> {
        self.reset();
        Ok(())
    }

    fn reset_device(&mut self) -> Result<()> {
        self.reset();
        Ok(())
    }

    fn get_features(&mut self) -> Result<u64> {
        Ok(FEATURES | self.device.offered())
    }

    /// Bits that were not offered are taken all the same: QEMU passes generic bits of its own on from the driver. None
    /// of them changes what a device does, but for the packed ring.
    fn set_features(&mut self, features: u64) -> Result<()> {
        if features & feature::RING_PACKED != 0 {
            return self.refuse("packed rings are not spoken here");
        }
        self.features = features;
        self.device.set_features(features);
        for index in 0..QUEUES {
            if let Some(ring) = self.rings.get_mut(index) {
                ring.set_event_idx(features & feature::EVENT_IDX != 0);
                if features & feature::PROTOCOL_FEATURES == 0 {
                    ring.set_enabled(true);
                }
            }
            if features & feature::PROTOCOL_FEATURES == 0 && !self.watch(index) {
                return self.refuse("the kick cannot be watched");
            }
        }
        Ok(())
    }

    fn set_mem_table(
        &mut self,
        regions: &[VhostUserMemoryRegion],
        files: Vec<File>,
        _postcopy: Option<bool>,
    ) -> Result<Option<Vec<u64>>> {
        let (mut owned, mut foreign) = (Vec::new(), Vec::new());
        for (region, file) in regions.iter().zip(files) {
            if !self.is_guest_memory(&file, region.mmap_offset, region.memory_size) {
                foreign.push((region.guest_phys_addr, region.memory_size));
            } else {
                owned.push((region, file));
            }
        }
        let mapped: io::Result<Vec<_>> = owned
            .into_iter()
            .map(|(region, file)| Ok((map(region.guest_phys_addr, region.mmap_region(file))?, region.user_addr)))
            .collect();
        if mapped.and_then(|mapped| self.memory.replace(mapped)).is_err() {
            // What QEMU took away must not be written to any more, whatever came in its place.
            self.memory.clear();
            return self.refuse("the memory table cannot be mapped");
        }
        for (start, length) in foreign.into_iter().take(MAX_FOREIGN) {
            self.not_mapped(start, length);
        }
        Ok(None)
    }

    fn get_max_mem_slots(&mut self) -> Result<u64> {
        Ok((MAX_REGIONS + MAX_FOREIGN) as u64)
    }

    fn add_mem_region(
        &mut self,
        region: &VhostUserSingleMemoryRegion,
        file: File,
        _postcopy: Option<bool>,
    ) -> Result<Option<u64>> {
        if !self.is_guest_memory(&file, region.mmap_offset, region.memory_size) {
            if self.memory.foreign_count() >= MAX_FOREIGN {
                return self.refuse("there are too many regions that are not the guest's memory");
            }
            self.not_mapped(region.guest_phys_addr, region.memory_size);
            return Ok(None);
        }
        if self.memory.count() >= MAX_REGIONS {
            return self.refuse("there are too many memory regions");
        }
        let mapped = map(region.guest_phys_addr, region.mmap_region(file));
        if mapped.and_then(|mapped| self.memory.add(mapped, region.user_addr)).is_err() {
            return self.refuse("the memory region cannot be mapped");
        }
        Ok(None)
    }

    fn remove_mem_region(&mut self, region: &VhostUserSingleMemoryRegion) -> Result<()> {
        if self.memory.remove(region.guest_phys_addr, region.memory_size).is_err() {
            return self.refuse("there is no such memory region");
        }
        Ok(())
    }

    fn set_vring_num(&mut self, index: u32, size: u32) -> Result<()> {
        let index = self.ring_index(index)?;
        if !self.rings.get_mut(index).is_some_and(|ring| ring.set_size(size)) {
            return self.refuse("that is no size of a ring");
        }
        Ok(())
    }

    fn set_vring_addr(
        &mut self,
        index: u32,
        _flags: VhostUserVringAddrFlags,
        table: u64,
        used: u64,
        available: u64,
        _log: u64,
    ) -> Result<()> {
        let index = self.ring_index(index)?;
        let addresses = [table, available, used].map(|address| self.memory.guest_address(address));
        let [Some(table), Some(available), Some(used)] = addresses else {
            return self.refuse("a ring lies outside guest memory");
        };
        let Some(ring) = self.rings.get_mut(index) else { return self.refuse("there is no such queue") };
        if ring.started() {
            let same = ring.addresses() == Some([table, available, used]);
            return if same { Ok(()) } else { self.refuse("a running ring cannot move") };
        }
        if !ring.set_addresses(table, available, used) {
            return self.refuse("a ring is misaligned");
        }
        if !self.try_start(index) {
            return self.refuse("a ring lies outside guest memory");
        }
        Ok(())
    }

    fn set_vring_base(&mut self, index: u32, base: u32) -> Result<()> {
        let index = self.ring_index(index)?;
        let Some(ring) = self.rings.get_mut(index).filter(|ring| !ring.started()) else {
            return self.refuse("a running ring cannot jump");
        };
        let Ok(base) = u16::try_from(base) else { return self.refuse("a ring's index has 16 bits") };
        ring.set_next_available(base);
        Ok(())
    }

    fn get_vring_base(&mut self, index: u32) -> Result<VhostUserVringState> {
        // A reply is due, and an error has none: QEMU would wait for ever, so the connection ends.
        let ring = usize::try_from(index).ok().filter(|&ring| ring < QUEUES).ok_or(Error::InvalidParam)?;
        Ok(VhostUserVringState::new(index, u32::from(self.stop(ring))))
    }

    fn set_vring_kick(&mut self, index: u8, kick: Option<File>) -> Result<()> {
        let index = self.ring_index(index.into())?;
        self.check_event(kick.as_ref())?;
        self.unwatch(index);
        if let Some(ring) = self.rings.get_mut(index) {
            ring.set_kick(kick.map(Into::into));
        }
        if !self.try_start(index) {
            return self.refuse("the ring cannot start: its memory or its kick is unusable");
        }
        Ok(())
    }

    fn set_vring_call(&mut self, index: u8, call: Option<File>) -> Result<()> {
        let index = self.ring_index(index.into())?;
        self.check_event(call.as_ref())?;
        if let Some(ring) = self.rings.get_mut(index) {
            ring.set_call(call.map(Into::into));
        }
        Ok(())
    }

    fn set_vring_err(&mut self, index: u8, error: Option<File>) -> Result<()> {
        self.ring_index(index.into())?;
        self.check_event(error.as_ref())
    }

    fn set_vring_enable(&mut self, index: u32, enable: bool) -> Result<()> {
        let index = self.ring_index(index)?;
        if let Some(ring) = self.rings.get_mut(index) {
            ring.set_enabled(enable);
        }
        if !self.watch(index) {
            return self.refuse("the kick cannot be watched");
        }
        Ok(())
    }

    fn get_protocol_features(&mut self) -> Result<VhostUserProtocolFeatures> {
        let always = VhostUserProtocolFeatures::MQ
            | VhostUserProtocolFeatures::CONFIG
            | VhostUserProtocolFeatures::REPLY_ACK
            | VhostUserProtocolFeatures::RESET_DEVICE
            | VhostUserProtocolFeatures::CONFIGURE_MEM_SLOTS;
        let backend = VhostUserProtocolFeatures::BACKEND_REQ | VhostUserProtocolFeatures::BACKEND_SEND_FD;
        Ok(match self.device.transport {
            Transport::VhostUserGpu => always,
            Transport::Generic if self.device.shmem.size() == 0 => always | backend,
            Transport::Generic => always | backend | VhostUserProtocolFeatures::SHMEM,
        })
    }

    fn set_protocol_features(&mut self, _features: u64) -> Result<()> {
        Ok(())
    }

    fn get_queue_num(&mut self) -> Result<u64> {
        Ok(QUEUES as u64)
    }

    fn get_config(&mut self, offset: u32, size: u32, _flags: VhostUserConfigFlags) -> Result<Vec<u8>> {
        Ok(self.config(offset, size))
    }

    /// Only `events_clear` can be written.
    fn set_config(&mut self, offset: u32, bytes: &[u8], _flags: VhostUserConfigFlags) -> Result<()> {
        let clear = EVENTS_CLEAR.checked_sub(offset as usize).and_then(|at| bytes.get(at..)?.first_chunk());
        self.device.clear_events(clear.map_or(0, |bytes| u32::from_le_bytes(*bytes)));
        Ok(())
    }

    fn set_gpu_socket(&mut self, socket: GpuBackend) -> Result<()> {
        self.gpu_socket = Some(socket);
        Ok(())
    }

    fn get_shared_object(&mut self, _uuid: VhostUserSharedMsg) -> Result<File> {
        Err(Error::InvalidOperation("objects are not shared"))
    }

    fn get_inflight_fd(&mut self, _inflight: &VhostUserInflight) -> Result<(VhostUserInflight, File)> {
        Err(Error::InvalidOperation("requests in flight are not recorded"))
    }

    fn set_inflight_fd(&mut self, _inflight: &VhostUserInflight, _file: File) -> Result<()> {
        self.refuse("requests in flight are not recorded")
    }

    fn set_device_state_fd(
        &mut self,
        _direction: VhostTransferStateDirection,
        _phase: VhostTransferStatePhase,
        _file: File,
    ) -> Result<Option<File>> {
        Err(Error::InvalidOperation("the device does not migrate"))
    }

    fn check_device_state(&mut self) -> Result<()> {
        Err(Error::InvalidOperation("the device does not migrate"))
    }

    fn get_shmem_config(&mut self) -> Result<VhostUserShMemConfig> {
        let mut sizes = [0; SHARED_MEMORY_ID as usize + 1];
        if let Some(window) = sizes.last_mut() {
            *window = self.device.shmem.size();
        }
        Ok(VhostUserShMemConfig::new(u32::from(self.device.shmem.size() > 0), &sizes))
    }

    fn set_log_base(&mut self, _log: &VhostUserLog, _file: File) -> Result<()> {
        Err(Error::InvalidOperation("the device does not migrate"))
    }
}
