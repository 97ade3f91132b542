//! A connection to the device from handshake to running queues, and verbs for a well-behaved driver.

use super::gpu_socket::{self, Traffic};
use super::memory::GuestMemory;
use super::queue::{Desc, Queue, WRITE};
use super::{DeviceProcess, response_type};
use anyhow::{Context, Result, ensure};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;
use vhost::vhost_user::message::{VhostUserConfigFlags, VhostUserProtocolFeatures};
use vhost::vhost_user::{Frontend, VhostUserFrontend};
use vhost::{VhostBackend, VringConfigData};

/// Commands that are under way at one time in [`Session::ask_all`].
const SLOTS: u16 = 96;

/// How long a device may take to answer one command here.
pub const ANSWER: Duration = Duration::from_secs(10);

/// Where rings, requests, responses and pixels lie in the test guest's memory.
pub mod layout {
    /// Rings of the control queue.
    pub const CONTROL: u64 = 0x1_0000;
    /// Rings of the cursor queue.
    pub const CURSOR: u64 = 0x3_0000;
    /// Requests.
    pub const REQUEST: u64 = 0x10_0000;
    /// Responses.
    pub const RESPONSE: u64 = 0x50_0000;
    /// Pixels of the guest.
    pub const PIXELS: u64 = 0x80_0000;
}

/// VIRTIO_RING_F_INDIRECT_DESC.
pub const F_INDIRECT: u64 = 1 << 28;
/// VIRTIO_RING_F_EVENT_IDX.
pub const F_EVENT_IDX: u64 = 1 << 29;
/// VHOST_USER_F_PROTOCOL_FEATURES.
pub const F_PROTOCOL: u64 = 1 << 30;
/// VIRTIO_F_VERSION_1.
pub const F_VERSION_1: u64 = 1 << 32;
/// VIRTIO_GPU_F_EDID.
pub const F_EDID: u64 = 1 << 1;
/// VIRTIO_GPU_F_RESOURCE_UUID.
pub const F_UUID: u64 = 1 << 2;
/// VIRTIO_GPU_F_RESOURCE_BLOB.
pub const F_BLOB: u64 = 1 << 3;

/// What the driver asks for.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Size of guest memory in bytes.
    pub memory: u64,
    /// Features to acknowledge, as far as they are offered.
    pub features: u64,
    /// Descriptors per queue.
    pub queue_size: u16,
}

impl Default for Options {
    fn default() -> Self {
        Self { memory: 64 << 20, features: F_VERSION_1 | F_INDIRECT | F_EDID | F_UUID, queue_size: 256 }
    }
}

/// A driver that is connected to a device.
pub struct Session {
    /// The vhost-user connection.
    pub frontend: Frontend,
    /// The same connection, for messages that a frontend would not send.
    pub raw: UnixStream,
    /// The guest's memory.
    pub memory: GuestMemory,
    /// controlq.
    pub control: Queue,
    /// cursorq.
    pub cursor: Queue,
    /// What the device sent on the GPU socket.
    pub traffic: Arc<Traffic>,
    /// Features that were acknowledged.
    pub features: u64,
}

impl Session {
    /// Connects and brings the device up as a driver's DRIVER_OK does.
    pub fn start(device: &mut DeviceProcess, options: Options) -> Result<Self> {
        Self::over(device.connect()?, options)
    }

    /// The same on a connection that is there already.
    pub fn over(stream: UnixStream, options: Options) -> Result<Self> {
        let raw = stream.try_clone()?;
        let mut frontend = Frontend::from_stream(stream, 2);
        frontend.set_owner().context("SET_OWNER")?;
        let offered = frontend.get_features().context("GET_FEATURES")?;
        ensure!(offered & F_PROTOCOL != 0, "no protocol features");
        let protocol = frontend.get_protocol_features().context("GET_PROTOCOL_FEATURES")?;
        frontend
            .set_protocol_features(protocol & (VhostUserProtocolFeatures::CONFIG | VhostUserProtocolFeatures::MQ))
            .context("SET_PROTOCOL_FEATURES")?;
        let features = offered & (options.features | F_PROTOCOL);
        let (ours, theirs) = UnixStream::pair()?;
        send_gpu_socket(&raw, &theirs)?;
        drop(theirs);
        let traffic = gpu_socket::serve(ours, 1280, 800);
        frontend.set_features(features).context("SET_FEATURES")?;
        let memory = GuestMemory::new(options.memory)?;
        frontend.set_mem_table(&[memory.region()?]).context("SET_MEM_TABLE")?;
        let control = Queue::new(layout::CONTROL, options.queue_size)?;
        let cursor = Queue::new(layout::CURSOR, options.queue_size)?;
        let mut session = Self { frontend, raw, memory, control, cursor, traffic, features };
        session.start_queue(0)?;
        session.start_queue(1)?;
        Ok(session)
    }

    /// Sets one queue up and enables it.
    pub fn start_queue(&mut self, index: usize) -> Result<()> {
        let queue = if index == 0 { &mut self.control } else { &mut self.cursor };
        queue.restart(&self.memory)?;
        self.resume_queue(index, 0)
    }

    /// Enables a queue that goes on where [`Session::stop_queue`] said.
    pub fn resume_queue(&mut self, index: usize, base: u32) -> Result<()> {
        let queue = if index == 0 { &mut self.control } else { &mut self.cursor };
        let config = VringConfigData {
            queue_max_size: queue.size,
            queue_size: queue.size,
            flags: 0,
            desc_table_addr: self.memory.host_address(queue.desc)?,
            used_ring_addr: self.memory.host_address(queue.used)?,
            avail_ring_addr: self.memory.host_address(queue.avail)?,
            log_addr: None,
        };
        self.frontend.set_vring_num(index, queue.size).context("SET_VRING_NUM")?;
        self.frontend.set_vring_base(index, u16::try_from(base)?).context("SET_VRING_BASE")?;
        self.frontend.set_vring_addr(index, &config).context("SET_VRING_ADDR")?;
        self.frontend.set_vring_call(index, &queue.call).context("SET_VRING_CALL")?;
        self.frontend.set_vring_kick(index, &queue.kick).context("SET_VRING_KICK")?;
        self.frontend.set_vring_enable(index, true).context("SET_VRING_ENABLE")?;
        Ok(())
    }

    /// Stops one queue as QEMU does on reset.
    pub fn stop_queue(&mut self, index: usize) -> Result<u32> {
        self.frontend.get_vring_base(index).context("GET_VRING_BASE")
    }

    /// The device's config space.
    pub fn config(&mut self, size: u32) -> Result<Vec<u8>> {
        let zeroes = vec![0; size as usize];
        Ok(self.frontend.get_config(0, size, VhostUserConfigFlags::empty(), &zeroes).context("GET_CONFIG")?.1)
    }

    /// Sends one command on the control queue and waits for its response of at most `room` bytes.
    pub fn call(&mut self, request: &[u8], room: u32) -> Result<Vec<u8>> {
        self.post(0, request, room)?;
        self.answer(0)
    }

    /// Like [`Session::call`]; gives the response's type alone.
    pub fn ask(&mut self, request: super::Bytes) -> Result<u32> {
        Ok(response_type(&self.call(&request.build(), 24)?))
    }

    /// Sends commands on the control queue, many at a time; the types of their responses, in the order of the commands.
    pub fn ask_all(&mut self, requests: impl IntoIterator<Item = super::Bytes>) -> Result<Vec<u32>> {
        let mut requests = requests.into_iter().peekable();
        let mut types = Vec::new();
        while requests.peek().is_some() {
            let part: Vec<_> = requests.by_ref().take(usize::from(SLOTS)).collect();
            for (slot, request) in part.iter().enumerate() {
                self.enqueue(u16::try_from(slot)?, &request.0, 24)?;
            }
            self.control.notify()?;
            let mut answered = vec![0; part.len()];
            for _ in 0..part.len() {
                let (head, _) = self.control.wait(&self.memory, ANSWER)?;
                let slot = u16::try_from(head / 2)?;
                let place = answered.get_mut(usize::from(slot)).context("the answer to another command")?;
                ensure!(*place == 0, "the command of slot {slot} was answered twice");
                *place = super::response_type(&self.memory.read(response_at(slot), 24)?);
            }
            types.extend(answered);
        }
        Ok(types)
    }

    /// Makes a command available in `slot` (its descriptors are 2·slot and 2·slot+1) and kicks.
    pub fn post(&mut self, slot: u16, request: &[u8], room: u32) -> Result<()> {
        self.enqueue(slot, request, room)?;
        self.control.notify()
    }

    /// The same without the kick.
    pub fn enqueue(&mut self, slot: u16, request: &[u8], room: u32) -> Result<()> {
        let (at, answer) = (request_at(slot), response_at(slot));
        self.memory.write(at, request)?;
        self.memory.write(answer, &[0xee; 24])?;
        let chain = [
            Desc { addr: at, len: u32::try_from(request.len())?, ..Desc::default() },
            Desc { addr: answer, len: room, flags: WRITE, next: 0 },
        ];
        self.control.write_chain(&self.memory, slot * 2, &chain)?;
        self.control.push(&self.memory, slot * 2)
    }

    /// Waits for the next answered command; it must be that of `slot`.
    pub fn answer(&mut self, slot: u16) -> Result<Vec<u8>> {
        let (head, length) = self.control.wait(&self.memory, ANSWER)?;
        ensure!(head == u32::from(slot) * 2, "answer to {head}, not to {}", slot * 2);
        self.memory.read(response_at(slot), length as usize)
    }

    /// Sends one command on the cursor queue and waits until it is used.
    pub fn call_cursor(&mut self, request: &[u8]) -> Result<()> {
        let at = request_at(100);
        self.memory.write(at, request)?;
        self.cursor.write_chain(
            &self.memory,
            0,
            &[Desc { addr: at, len: u32::try_from(request.len())?, ..Desc::default() }],
        )?;
        self.cursor.push(&self.memory, 0)?;
        self.cursor.notify()?;
        self.cursor.wait(&self.memory, ANSWER)?;
        Ok(())
    }

    /// Whether the device still answers a plain command.
    pub fn assert_serves(&mut self) -> Result<()> {
        let answer = self.call(&super::Bytes::header(super::GET_DISPLAY_INFO).build(), 408)?;
        ensure!(response_type(&answer) == super::OK_DISPLAY_INFO, "GET_DISPLAY_INFO got {:#x}", response_type(&answer));
        Ok(())
    }

    /// Makes resource `id` with its backing at `address`, fit for transfers.
    pub fn create(&mut self, id: u32, format: u32, width: u32, height: u32, address: u64) -> Result<()> {
        let made = self.ask(super::create_2d(id, format, width, height))?;
        ensure!(made == super::OK_NODATA, "create {made:#x}");
        let attach = super::attach_backing(id, &[(address, width * height * 4)]);
        let attached = self.ask(attach)?;
        ensure!(attached == super::OK_NODATA, "attach {attached:#x}");
        Ok(())
    }
}

/// Guest address of the request in `slot`: 16 KiB each.
pub fn request_at(slot: u16) -> u64 {
    layout::REQUEST + u64::from(slot) * 0x4000
}

/// Guest address of the response in `slot`: 2 KiB each.
pub fn response_at(slot: u16) -> u64 {
    layout::RESPONSE + u64::from(slot) * 0x800
}

/// VHOST_USER_GPU_SET_SOCKET (33) with the device's end of the GPU socket.
pub fn send_gpu_socket(raw: &UnixStream, theirs: &UnixStream) -> Result<()> {
    send_raw(raw, &vhost_header(33, 1, 0), &[theirs])
}

/// A vhost-user header with any fields.
pub fn vhost_header(request: u32, flags: u32, size: u32) -> Vec<u8> {
    [request, flags, size].iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// Any bytes with any descriptors.
pub fn send_raw(raw: &UnixStream, bytes: &[u8], fds: &[&UnixStream]) -> Result<()> {
    let borrowed: Vec<_> = fds.iter().map(|fd| fd.as_fd()).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(64))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !borrowed.is_empty() {
        ensure!(control.push(SendAncillaryMessage::ScmRights(&borrowed)), "too many descriptors for one message");
    }
    rustix::net::sendmsg(raw, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}
