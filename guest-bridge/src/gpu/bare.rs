//! The device without queues, socket and thread, for tests: a guest's commands are executed as they are given, and what
//! the screen is to hear goes to it when a test says so.

use super::DeviceConfig;
use super::chain::{Chain, Table};
use super::device::Device;
use super::memory::Memory;
use super::wire::{QueueKind, Response, feature};
use crate::frames::{ToDevice, ToScreen};
use std::io;
use tokio::sync::mpsc::Sender;
use vm_memory::{Bytes, GuestAddress, GuestRegionMmap};

/// A device and the guest's memory.
pub struct BareDevice {
    device: Device,
    memory: Memory,
    response: Response,
}

impl BareDevice {
    /// A device without 3D whose driver has acknowledged all that it offers, and so many bytes of guest memory from
    /// address 0 on. Fails where there is no memory.
    pub fn new(config: &DeviceConfig, bytes: usize) -> io::Result<Self> {
        let mut device = Device::new(config, None);
        device.set_features(device.offered() | feature::EDID | feature::VERSION_1);
        let mut memory = Memory::default();
        let region = GuestRegionMmap::from_range(GuestAddress(0), bytes, None).map_err(io::Error::other)?;
        memory.replace(vec![(region, 0)])?;
        Ok(Self { device, memory, response: Response::default() })
    }

    /// The guest writes to its memory. Fails beyond its end.
    pub fn write(&self, address: u64, bytes: &[u8]) -> io::Result<()> {
        self.memory.map().write_slice(bytes, GuestAddress(address)).map_err(io::Error::other)
    }

    /// The guest sends a command of this type with these words after its header; the response's type.
    pub fn command(&mut self, kind: u32, words: &[u32]) -> u32 {
        let request: Vec<u8> = [kind, 0, 0, 0, 0, 0].iter().chain(words).flat_map(|word| word.to_le_bytes()).collect();
        self.execute(false, &request)
    }

    /// The guest sends these bytes on its control queue or its cursor queue; the response's type.
    pub fn execute(&mut self, cursor: bool, request: &[u8]) -> u32 {
        let queue = if cursor { QueueKind::Cursor } else { QueueKind::Control };
        self.device.execute(&self.memory, queue, request, &mut self.response);
        self.response.bytes().first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes))
    }

    /// The guest makes the chain available that begins at `head` of a table of 256 descriptors at `table`: how many
    /// bytes its request has, how many were written of its response and how many could have been; `None` if the chain
    /// is refused.
    pub fn chain(&mut self, table: u64, head: u16, indirect: bool, cursor: bool) -> Option<(u64, u32, u64)> {
        let mut chain = Chain::default();
        chain.walk(&self.memory, Table { address: table, size: 256 }, head, indirect).ok()?;
        let mut request = Vec::new();
        chain.copy_request(&self.memory, &mut request).ok()?;
        self.execute(cursor, &request);
        let written = chain.write_response(&self.memory, self.response.bytes()).ok()?;
        Some((request.len() as u64, written, chain.room()))
    }

    /// The end of a round: says to the screen what there is to say. `true` if there was no room for all of it.
    pub fn publish(&mut self, to_screen: &Sender<ToScreen>) -> bool {
        self.device.publish(to_screen)
    }

    /// The screen says something.
    pub fn message(&mut self, message: ToDevice) {
        self.device.message(message);
    }
}
