//! The guest's memory: one memfd, mapped here and handed to the device.

use anyhow::{Context, Result, ensure};
use std::fs::File;
use std::os::fd::AsRawFd;
use vhost::VhostUserMemoryRegionInfo;
use vm_memory::{Bytes, FileOffset, GuestAddress, GuestMemoryBackend as _, GuestMemoryMmap};

/// Guest memory that begins at guest-physical address 0.
pub struct GuestMemory {
    mmap: GuestMemoryMmap,
    file: File,
    size: u64,
}

impl GuestMemory {
    /// `size` bytes of zeroes.
    pub fn new(size: u64) -> Result<Self> {
        let flags = rustix::fs::MemfdFlags::CLOEXEC | rustix::fs::MemfdFlags::ALLOW_SEALING;
        let file = File::from(rustix::fs::memfd_create("phyllome-test-guest", flags)?);
        file.set_len(size)?;
        // As QEMU's memory-backend-memfd; without it the kernel makes no dmabuf of its pages.
        let seals = rustix::fs::SealFlags::SHRINK | rustix::fs::SealFlags::GROW | rustix::fs::SealFlags::SEAL;
        rustix::fs::fcntl_add_seals(&file, seals)?;
        let range = (GuestAddress(0), usize::try_from(size)?, Some(FileOffset::new(file.try_clone()?, 0)));
        let mmap = GuestMemoryMmap::from_ranges_with_files([range]).context("cannot map guest memory")?;
        Ok(Self { mmap, file, size })
    }

    /// The same memory for another thread of the guest's.
    pub fn share(&self) -> Result<Self> {
        Ok(Self { mmap: self.mmap.clone(), file: self.file.try_clone()?, size: self.size })
    }

    /// Size in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// What SET_MEM_TABLE sends.
    pub fn region(&self) -> Result<VhostUserMemoryRegionInfo> {
        let at = self.host_address(0)?;
        Ok(VhostUserMemoryRegionInfo {
            guest_phys_addr: 0,
            memory_size: self.size,
            userspace_addr: at,
            mmap_offset: 0,
            mmap_handle: self.file.as_raw_fd(),
        })
    }

    /// The address in this process of a guest-physical address, which the vhost-user protocol uses for rings.
    pub fn host_address(&self, address: u64) -> Result<u64> {
        Ok(self.mmap.get_host_address(GuestAddress(address))? as u64)
    }

    /// Writes bytes.
    pub fn write(&self, address: u64, bytes: &[u8]) -> Result<()> {
        self.mmap.write_slice(bytes, GuestAddress(address)).with_context(|| format!("guest write at {address:#x}"))
    }

    /// Reads bytes.
    pub fn read(&self, address: u64, length: usize) -> Result<Vec<u8>> {
        ensure!(length <= 1 << 28, "read of {length} bytes");
        let mut bytes = vec![0; length];
        self.mmap
            .read_slice(&mut bytes, GuestAddress(address))
            .with_context(|| format!("guest read at {address:#x}"))?;
        Ok(bytes)
    }

    /// Reads a little-endian u16 that the device writes.
    pub fn read_u16(&self, address: u64) -> Result<u16> {
        Ok(u16::from_le(self.mmap.load(GuestAddress(address), std::sync::atomic::Ordering::Acquire)?))
    }

    /// Writes a little-endian u16 that the device reads, after everything before it.
    pub fn write_u16(&self, address: u64, value: u16) -> Result<()> {
        Ok(self.mmap.store(value.to_le(), GuestAddress(address), std::sync::atomic::Ordering::Release)?)
    }
}
