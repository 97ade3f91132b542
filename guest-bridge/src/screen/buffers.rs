//! wl_buffers for the guest's memory: a dmabuf where it works, else wl_shm over the same memfd, both without a copy;
//! where the compositor does not know the guest's order of bytes, a converted copy. Dmabufs of the renderer's that the
//! compositor does not take are given back to the device, which has other means, or shows nothing.
//!
//! Each piece of guest memory is imported once and kept while the guest keeps it. The number of kept buffers is
//! bounded; those that were not shown for longest go first. The copy reads memory through the kernel; only a dmabuf of
//! memory is mapped, whose pages stay.

use super::conversion::{Budget, Share, Worker};
use super::formats::{self, ARGB8888, XRGB8888};
use super::globals::Globals;
use super::link::LinkState;
use crate::frames::{Picture, Rect, SharedBuffer};
use rustix::fs::{MemfdFlags, SealFlags};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Weak};
use wayland_client::protocol::{wl_buffer, wl_shm, wl_shm_pool};
use wayland_client::{Connection, Dispatch, QueueHandle, delegate_noop, event_created_child};
use wayland_protocols::wp::linux_dmabuf::zv1::client::zwp_linux_buffer_params_v1::{self, ZwpLinuxBufferParamsV1};

/// After as many refused dmabufs, without one that worked, no more are tried on a connection.
const MAX_REFUSALS_IN_A_ROW: u32 = 4;
/// The same with others that worked in between: a refusal may cost the compositor something.
const MAX_REFUSALS: u32 = 32;
/// Most bytes of a shared-memory pool: the shell ends a connection with a larger one.
const MAX_POOL: i32 = 1 << 30;
/// Buffers that are kept for guests that flip between several, for each scanout.
const KEPT_PER_SCANOUT: usize = 4;

/// What a picture is shown with.
pub(super) enum BufferChoice {
    /// The guest's memory; the picture begins at this pixel of the buffer.
    Direct { buffer: wl_buffer::WlBuffer, at: (u32, u32), dmabuf: bool },
    /// The compositor has not answered yet.
    Wait,
    /// Only a converted copy can be shown.
    Copy,
    /// It is not shown; the device has something else to show instead.
    Never,
}

/// A buffer of the guest's memory: its id and, where only a part of it could be made into a buffer, which one.
type Key = (u64, Option<(u32, u32, u32, u32)>);

enum Import {
    Waiting(ZwpLinuxBufferParamsV1),
    Ready { buffer: wl_buffer::WlBuffer, dmabuf: bool },
    Refused,
}

struct Imported {
    shared: Weak<SharedBuffer>,
    import: Import,
    used: u64,
}

/// All that were made on one connection.
#[derive(Default)]
pub(super) struct Buffers {
    entries: BTreeMap<Key, Imported>,
    refusals: u32,
    refusals_in_a_row: u32,
    clock: u64,
    /// What the log has been told of the way of pictures: each once on a connection, however often a guest changes
    /// them.
    told: BTreeSet<&'static str>,
    /// What the device is to be told that it cannot be shown.
    never: VecDeque<u64>,
    /// Converts what only a copy can show.
    pub worker: Worker,
    /// What memory of ours counts for.
    pub budget: Budget,
}

const WAY_DMABUF: &str = "pictures go to the compositor as dmabufs, without a copy";
const WAY_REFUSED: &str = "pictures go through shared memory: the compositor refused a dmabuf";
const WAY_DISTRUST: &str = "pictures go through shared memory: the compositor refused too many dmabufs";
const WAY_NOT_TAKEN: &str = "pictures go through shared memory: the compositor takes no linear dmabuf of their format";
const WAY_NOT_MADE: &str = "pictures go through shared memory: this host makes no dmabufs of memory (/dev/udmabuf)";
const WAY_PART: &str = "pictures go through shared memory: the compositor cannot crop";
const WAY_READ: &str = "pictures are read back from the renderer: the compositor does not take its dmabufs as they are";
const WAY_UNREADABLE: &str = "pictures are not shown: the compositor does not take them, and nobody else may read them";
const WAY_COPY: &str = "pictures are copied: the compositor does not know the guest's order of bytes, or cannot crop";

impl Buffers {
    /// A buffer for this picture.
    pub fn get(&mut self, picture: &Picture, globals: &Globals, qh: &QueueHandle<LinkState>) -> BufferChoice {
        let (shown, way) = self.find(picture, globals, qh);
        if let Some(way) = way
            && self.told.insert(way)
        {
            tracing::info!("{way}");
        }
        shown
    }

    /// The same, with what it says about the way of pictures.
    fn find(
        &mut self,
        picture: &Picture,
        globals: &Globals,
        qh: &QueueHandle<LinkState>,
    ) -> (BufferChoice, Option<&'static str>) {
        let shared = &picture.buffer;
        let whole = picture.source == (Rect { x: 0, y: 0, width: shared.width, height: shared.height });
        let Some(format) = formats::opaque(shared.fourcc) else { return self.other(shared) };
        let Some(part) = self.part(picture, whole || globals.viewporter.is_some()) else {
            return self.other(shared);
        };
        let key = (shared.id, part.map(|part| (part.x, part.y, part.width, part.height)));
        self.clock += 1;

        let trust = self.refusals < MAX_REFUSALS && self.refusals_in_a_row < MAX_REFUSALS_IN_A_ROW;
        let allow_dmabuf = part.is_none() && trust;
        let entry = self.entries.entry(key).or_insert_with(|| {
            let dmabuf = allow_dmabuf.then(|| import_dmabuf(shared, format, globals, key.0, qh)).flatten();
            let import = dmabuf.map_or(Import::Refused, Import::Waiting);
            Imported { shared: Arc::downgrade(shared), import, used: 0 }
        });
        entry.used = self.clock;
        if let Import::Refused = entry.import {
            match import_shm(shared, part, format, globals, qh) {
                Some(buffer) => entry.import = Import::Ready { buffer, dmabuf: false },
                None => return self.other(shared),
            }
        }
        let way = match &entry.import {
            Import::Ready { dmabuf: true, .. } => Some(WAY_DMABUF),
            Import::Waiting(_) => None,
            _ if part.is_some() => Some(WAY_PART),
            _ if shared.dmabuf.is_none() => Some(WAY_NOT_MADE),
            _ if dmabuf_modifier(shared, globals, format).is_none() => Some(WAY_NOT_TAKEN),
            _ if !trust => Some(WAY_DISTRUST),
            _ => Some(WAY_REFUSED),
        };
        let shown = match &entry.import {
            Import::Ready { buffer, dmabuf } => {
                let at = if part.is_none() { (picture.source.x, picture.source.y) } else { (0, 0) };
                BufferChoice::Direct { buffer: buffer.clone(), at, dmabuf: *dmabuf }
            }
            Import::Waiting(_) => BufferChoice::Wait,
            Import::Refused => BufferChoice::Copy,
        };
        (shown, way)
    }

    /// What cannot be a buffer: read, if it can be; else the device hears of it.
    fn other(&mut self, shared: &SharedBuffer) -> (BufferChoice, Option<&'static str>) {
        let way = match (shared.replaceable, shared.is_readable()) {
            (true, _) => WAY_READ,
            (false, true) => return (BufferChoice::Copy, Some(WAY_COPY)),
            (false, false) => WAY_UNREADABLE,
        };
        self.never.push_back(shared.id);
        (BufferChoice::Never, Some(way))
    }

    /// The next buffer that will never be shown.
    pub fn next_never(&mut self) -> Option<u64> {
        self.never.pop_front()
    }

    /// Which part of the memory becomes the buffer: none if all of it, because a viewport crops it or because all of it
    /// is shown. Outer `None` if no buffer can have just this part: wl_shm wants full rows after its first pixel.
    fn part(&self, picture: &Picture, croppable: bool) -> Option<Option<Rect>> {
        let Picture { buffer, source } = picture;
        let full_rows = source.x == 0 || u64::from(source.y) + u64::from(source.height) < u64::from(buffer.height);
        match (croppable, full_rows) {
            (true, _) => Some(None),
            (false, true) => Some(Some(*source)),
            (false, false) => None,
        }
    }

    /// Destroys the buffers of memory that is gone, and the oldest ones if there are too many for the scanouts, to each
    /// of which memory with one of these ids is attached.
    pub fn sweep(&mut self, attached: &[Option<u64>]) {
        self.entries.retain(|_, entry| {
            let keep = entry.shared.strong_count() > 0;
            if !keep {
                entry.destroy();
            }
            keep
        });
        while self.entries.len() > KEPT_PER_SCANOUT.saturating_mul(attached.len().max(1)) {
            let idle = self.entries.iter().filter(|(key, _)| !attached.contains(&Some(key.0)));
            let Some(oldest) = idle.min_by_key(|(_, entry)| entry.used).map(|(key, _)| *key) else { return };
            if let Some(entry) = self.entries.remove(&oldest) {
                entry.destroy();
            }
        }
    }

    fn answer(&mut self, id: u64, params: &ZwpLinuxBufferParamsV1, buffer: Option<wl_buffer::WlBuffer>) {
        params.destroy();
        match self.entries.get_mut(&(id, None)) {
            Some(entry) if matches!(&entry.import, Import::Waiting(waiting) if waiting == params) => match buffer {
                Some(buffer) => {
                    self.refusals_in_a_row = 0;
                    entry.import = Import::Ready { buffer, dmabuf: true };
                }
                None => {
                    self.refusals += 1;
                    self.refusals_in_a_row += 1;
                    tracing::info!(id, "the compositor refuses a dmabuf, its log says why; shared memory is used");
                    entry.import = Import::Refused;
                }
            },
            _ => {
                if let Some(buffer) = buffer {
                    buffer.destroy();
                }
            }
        }
    }
}

impl Imported {
    fn destroy(&self) {
        // An import under way destroys its params when the answer comes.
        if let Import::Ready { buffer, .. } = &self.import {
            buffer.destroy();
        }
    }
}

/// What the layout of a picture in a dmabuf is called, if the compositor takes it.
fn dmabuf_modifier(shared: &SharedBuffer, globals: &Globals, format: u32) -> Option<u64> {
    globals.dmabuf.as_ref()?;
    globals.dmabuf_formats.get(&format)?.of(shared.dmabuf.as_ref()?.modifier)
}

fn import_dmabuf(
    shared: &SharedBuffer,
    format: u32,
    globals: &Globals,
    id: u64,
    qh: &QueueHandle<LinkState>,
) -> Option<ZwpLinuxBufferParamsV1> {
    let planes = &shared.dmabuf.as_ref()?.planes;
    let dmabuf = globals.dmabuf.as_ref()?;
    let modifier = dmabuf_modifier(shared, globals, format)?;
    let (width, height) = (i32::try_from(shared.width).ok()?, i32::try_from(shared.height).ok()?);
    let params = dmabuf.create_params(qh, id);
    for (index, plane) in (0..).zip(planes) {
        params.add(plane.file.as_fd(), index, plane.offset, plane.stride, (modifier >> 32) as u32, modifier as u32);
    }
    // What lies upside down is turned when it is shown, which every compositor can; few know the flag for it.
    params.create(width, height, format, zwp_linux_buffer_params_v1::Flags::empty());
    Some(params)
}

fn import_shm(
    shared: &SharedBuffer,
    part: Option<Rect>,
    format: u32,
    globals: &Globals,
    qh: &QueueHandle<LinkState>,
) -> Option<wl_buffer::WlBuffer> {
    let shm = globals.shm.as_ref()?;
    if format != XRGB8888 && !globals.shm_formats.contains(&format) {
        return None;
    }
    let part = part.unwrap_or(Rect { x: 0, y: 0, width: shared.width, height: shared.height });
    let bytes = u64::from(shared.stride) * u64::from(shared.height);
    let size = i32::try_from(bytes).ok().filter(|&size| size <= MAX_POOL)?;
    let offset = i32::try_from(u64::from(part.y) * u64::from(shared.stride) + u64::from(part.x) * 4).ok()?;
    let (width, height) = (i32::try_from(part.width).ok()?, i32::try_from(part.height).ok()?);
    let stride = i32::try_from(shared.stride).ok()?;
    let number = wl_shm::Format::try_from(formats::shm_number(format)).ok()?;
    let pool = shm.create_pool(shared.memfd.as_ref()?.as_fd(), size, qh, ());
    let buffer = pool.create_buffer(offset, width, height, stride, number, qh, ());
    pool.destroy();
    Some(buffer)
}

/// Memory of our own that the compositor reads: converted pictures, cursors, black.
pub(super) struct OwnBuffer {
    memory: Arc<File>,
    _share: Share,
    /// What is attached.
    pub buffer: wl_buffer::WlBuffer,
    /// In pixels.
    pub size: (u32, u32),
}

impl OwnBuffer {
    /// A zeroed buffer, which counts for `budget`.
    pub fn new(
        size: (u32, u32),
        alpha: bool,
        globals: &Globals,
        budget: &Budget,
        qh: &QueueHandle<LinkState>,
    ) -> io::Result<Self> {
        let too_large = || io::Error::other("the picture is too large for shared memory");
        let bytes = u64::from(size.0) * u64::from(size.1) * 4;
        let pool_size = i32::try_from(bytes).map_err(|_| too_large())?;
        let [width, height] = [size.0, size.1].map(i32::try_from);
        let (width, height) = (width.map_err(|_| too_large())?, height.map_err(|_| too_large())?);
        let stride = width.checked_mul(4).ok_or_else(too_large)?;
        let share =
            budget.take(bytes).ok_or_else(|| io::Error::other("the guest's pictures are too large together"))?;
        let shm = globals.shm.as_ref().ok_or_else(|| io::Error::other("the compositor has no wl_shm"))?;
        let memfd = rustix::fs::memfd_create("phyllome-screen", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        rustix::fs::ftruncate(&memfd, bytes)?;
        rustix::fs::fcntl_add_seals(&memfd, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
        let format = if alpha { ARGB8888 } else { XRGB8888 };
        let number = wl_shm::Format::try_from(formats::shm_number(format)).map_err(|()| too_large())?;
        let pool = shm.create_pool(memfd.as_fd(), pool_size, qh, ());
        let buffer = pool.create_buffer(0, width, height, stride, number, qh, ());
        pool.destroy();
        Ok(Self { memory: Arc::new(File::from(memfd)), _share: share, buffer, size })
    }

    /// What the compositor reads.
    pub fn memory(&self) -> Arc<File> {
        self.memory.clone()
    }

    /// Writes an image of this width to the top left of the buffer, which is at least as wide.
    pub fn write_rows(&self, pixels: &[u8], width: u32) -> io::Result<()> {
        if width == self.size.0 {
            return self.memory.write_all_at(pixels, 0);
        }
        let rows = pixels.chunks((width as usize).saturating_mul(4).max(1));
        let stride = u64::from(self.size.0) * 4;
        (0..).zip(rows).try_for_each(|(y, row): (u64, _)| self.memory.write_all_at(row, y * stride))
    }
}

impl Drop for OwnBuffer {
    fn drop(&mut self) {
        self.buffer.destroy();
    }
}

impl Dispatch<ZwpLinuxBufferParamsV1, u64> for LinkState {
    fn event(
        state: &mut Self,
        params: &ZwpLinuxBufferParamsV1,
        event: zwp_linux_buffer_params_v1::Event,
        id: &u64,
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        match event {
            zwp_linux_buffer_params_v1::Event::Created { buffer } => state.buffers.answer(*id, params, Some(buffer)),
            zwp_linux_buffer_params_v1::Event::Failed => state.buffers.answer(*id, params, None),
            _ => {}
        }
    }

    event_created_child!(LinkState, ZwpLinuxBufferParamsV1, [
        zwp_linux_buffer_params_v1::EVT_CREATED_OPCODE => (wl_buffer::WlBuffer, ()),
    ]);
}

// Releases are of no use: the guest may write into its memory at any time, whoever looks at it.
delegate_noop!(LinkState: ignore wl_buffer::WlBuffer);
delegate_noop!(LinkState: wl_shm_pool::WlShmPool);
