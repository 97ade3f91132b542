//! virglrenderer behind calls that cannot be misused: this is the only place that calls the library.
//!
//! The library keeps the address of a resource's list of pieces, so [`Virgl`] owns each list until it has taken it back
//! from the library. Numbers must have been checked ([`super::checks`]) and ids be known ([`super::state`]); what the
//! library then makes of them is its own affair: this process can be lost. One per process, used by one thread.

mod export;
mod signals;
mod symbols;

pub use signals::Signal;
pub use symbols::{
    ASYNC_FENCE_CB, DRM, RENDER_SERVER, THREAD_SYNC, USE_EGL, USE_EXTERNAL_BLOB, USE_GLES, USE_SURFACELESS, VENUS,
};

use super::event_queue::EventQueue;
use super::memory::Backing;
use crate::renderer::limits::MAX_CAPSET;
use crate::renderer::wire::{Create3d, Transfer3d};
use rustix::io::Errno;
use signals::Signals;
use std::collections::HashMap;
use std::ffi::{CStr, c_int, c_void};
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd};
use std::ptr::null;
use std::sync::Arc;
use symbols::{BlobArgs, Callbacks, CreateArgs, FD_DMABUF, FD_SHM, MAP_CACHE_MASK, Symbols, VirglBox};

/// The library, initialised.
pub struct Virgl {
    symbols: Symbols,
    /// Those that the library has the address of, by resource.
    attached: HashMap<u32, Backing>,
    poll_fd: Option<BorrowedFd<'static>>,
}

/// What a blob is to be: [`crate::renderer::wire::Request::CreateBlob`] without its pieces.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the specification's names")]
pub struct Blob {
    pub context: u32,
    pub memory: u32,
    pub flags: u32,
    pub blob: u64,
    pub size: u64,
}

/// The library returns 0, EINVAL and -EINVAL alike.
fn outcome(code: c_int) -> Result<(), Errno> {
    match code.unsigned_abs() {
        0 => Ok(()),
        error @ 1..=133 => Err(Errno::from_raw_os_error(error as i32)),
        _ => Err(Errno::IO),
    }
}

impl Virgl {
    /// Opens the library `name` and initialises it with the first of `attempts` (flags) that works; fences are told by
    /// `event_queue` as they signal. The error is a sentence with what to do.
    pub fn start(
        name: &str,
        node: Option<OwnedFd>,
        attempts: &[c_int],
        event_queue: Arc<EventQueue>,
    ) -> Result<Self, String> {
        let symbols = Symbols::load(name)?;
        // Threads of the library may use both until the process ends.
        let signals: &'static Signals = Box::leak(Box::new(Signals::new(node, event_queue)));
        let callbacks = Box::leak(Box::new(Callbacks {
            version: 3,
            write_fence: Some(signals::write_fence),
            create_gl_context: null(),
            destroy_gl_context: null(),
            make_current: null(),
            get_drm_fd: Some(signals::get_drm_fd),
            write_context_fence: Some(signals::write_context_fence),
            get_server_fd: null(),
            get_egl_display: null(),
        }));
        let cookie = std::ptr::from_ref(signals).cast_mut().cast::<c_void>();
        let started = attempts.iter().any(|&flags| {
            // SAFETY: both live for ever; the callbacks take the cookie for what it is. A failed attempt leaves nothing
            // behind.
            unsafe { (symbols.init)(cookie, flags, callbacks) == 0 }
        });
        if !started {
            return Err(
                "3D cannot start: virglrenderer finds no OpenGL driver; install Mesa's (libegl1 and libgl1-mesa-dri on Debian)"
                    .into(),
            );
        }
        // SAFETY: initialised.
        let poll_fd = unsafe { (symbols.get_poll_fd)() };
        // SAFETY: the library's own, which it keeps open.
        let poll_fd = (poll_fd >= 0).then(|| unsafe { BorrowedFd::borrow_raw(poll_fd) });
        Ok(Self { symbols, attached: HashMap::new(), poll_fd })
    }

    /// The driver that draws, as OpenGL names it.
    pub fn driver(&self) -> String {
        self.context_0();
        symbols::gl_renderer().unwrap_or_else(|| "virglrenderer".into())
    }

    /// Makes the library's own OpenGL context current, which some calls assume without saying so.
    fn context_0(&self) {
        // SAFETY: initialised.
        unsafe { (self.symbols.force_ctx_0)() };
    }

    /// A capset's greatest version and its bytes there; `None` if it is not offered.
    pub fn capset(&self, id: u32) -> Option<(u32, Vec<u8>)> {
        let (mut version, mut size) = (0, 0);
        // SAFETY: two places to write to.
        unsafe { (self.symbols.get_cap_set)(id, &mut version, &mut size) };
        let size = usize::try_from(size).ok().filter(|size| (1..=MAX_CAPSET).contains(size))?;
        // Some versions clear the greatest capset of all for the smallest.
        let mut bytes = vec![0; MAX_CAPSET];
        // SAFETY: the library writes `size` bytes, or what its greatest capset has (about 1.5 KiB).
        unsafe { (self.symbols.fill_caps)(id, version, bytes.as_mut_ptr().cast()) };
        bytes.truncate(size);
        Some((version, bytes))
    }

    /// Readable when [`Self::poll`] is to be called. `None`: call it now and then while fences are outstanding.
    pub fn poll_fd(&self) -> Option<BorrowedFd<'static>> {
        self.poll_fd
    }

    /// Lets the library look at its fences and queries.
    pub fn poll(&self) {
        // SAFETY: initialised.
        unsafe { (self.symbols.poll)() };
    }

    /// A new context; `capset` 0 is virgl.
    pub fn create_context(&self, context: u32, capset: u32, name: &CStr) -> Result<(), Errno> {
        let length = name.count_bytes() as u32;
        match (capset, self.symbols.context_create_with_flags) {
            // SAFETY: a C string of that length, which the library copies.
            (0, _) => outcome(unsafe { (self.symbols.context_create)(context, length, name.as_ptr()) }),
            // SAFETY: as above.
            (_, Some(create)) => outcome(unsafe { create(context, capset, length, name.as_ptr()) }),
            (_, None) => Err(Errno::OPNOTSUPP),
        }
    }

    /// Destroys a context.
    pub fn destroy_context(&self, context: u32) {
        // SAFETY: an unknown id is ignored.
        unsafe { (self.symbols.context_destroy)(context) };
    }

    /// Lets a context use a resource, or not any more.
    pub fn context_resource(&self, context: u32, resource: u32, attach: bool) {
        let call = if attach { self.symbols.ctx_attach_resource } else { self.symbols.ctx_detach_resource };
        // SAFETY: unknown ids are ignored.
        unsafe { call(context as c_int, resource as c_int) };
    }

    /// Runs a context's commands.
    pub fn submit(&self, context: u32, commands: &mut [u32]) -> Result<(), Errno> {
        let words = c_int::try_from(commands.len()).map_err(|_| Errno::INVAL)?;
        // SAFETY: that many words of ours, which nobody else changes meanwhile.
        outcome(unsafe { (self.symbols.submit_cmd)(commands.as_mut_ptr().cast(), context as c_int, words) })
    }

    /// A new resource without backing.
    pub fn create(&self, resource: u32, what: &Create3d) -> Result<(), Errno> {
        let mut args = CreateArgs {
            handle: resource,
            target: what.target,
            format: what.format,
            bind: what.bind,
            width: what.width,
            height: what.height,
            depth: what.depth,
            array_size: what.array_size,
            last_level: what.last_level,
            nr_samples: what.samples,
            flags: what.flags,
        };
        // SAFETY: the arguments are copied; no pieces.
        outcome(unsafe { (self.symbols.resource_create)(&mut args, std::ptr::null_mut(), 0) })
    }

    /// A new blob; its backing is kept if it is made.
    pub fn create_blob(&mut self, resource: u32, blob: Blob, mut backing: Option<Backing>) -> Result<(), Errno> {
        let create = self.symbols.resource_create_blob.ok_or(Errno::OPNOTSUPP)?;
        let (iovecs, count) = backing.as_mut().map_or((null(), 0), |b| (b.as_mut_ptr().cast_const(), b.count()));
        let args = BlobArgs {
            res_handle: resource,
            ctx_id: blob.context,
            blob_mem: blob.memory,
            blob_flags: blob.flags,
            blob_id: blob.blob,
            size: blob.size,
            iovecs,
            num_iovs: count,
        };
        // SAFETY: the list is kept below; if the library refuses, it keeps nothing.
        outcome(unsafe { create(&args) })?;
        if let Some(backing) = backing {
            self.attached.insert(resource, backing);
        }
        Ok(())
    }

    /// Gives a resource its backing. EBUSY if it has one.
    pub fn attach(&mut self, resource: u32, mut backing: Backing) -> Result<(), Errno> {
        if self.attached.contains_key(&resource) {
            return Err(Errno::BUSY);
        }
        let count = backing.count() as c_int;
        // SAFETY: the list and what it names are kept until `detach` has taken them from the library.
        outcome(unsafe { (self.symbols.resource_attach_iov)(resource as c_int, backing.as_mut_ptr(), count) })?;
        self.attached.insert(resource, backing);
        Ok(())
    }

    /// Takes a resource's backing away; `false` if it had none.
    pub fn detach(&mut self, resource: u32) -> bool {
        if !self.attached.contains_key(&resource) {
            return false;
        }
        let (mut list, mut count) = (std::ptr::null_mut(), 0);
        // SAFETY: two places to write to. After this, the library knows the list no more, so it may go.
        unsafe { (self.symbols.resource_detach_iov)(resource as c_int, &mut list, &mut count) };
        self.attached.remove(&resource);
        true
    }

    /// Bytes of a resource's backing.
    pub fn backing_length(&self, resource: u32) -> Option<u64> {
        self.attached.get(&resource).map(Backing::length)
    }

    /// Destroys a resource. What still uses it (a bound surface) finds no backing any more.
    pub fn unref(&mut self, resource: u32) {
        self.detach(resource);
        self.context_0();
        // SAFETY: an unknown id is ignored.
        unsafe { (self.symbols.resource_unref)(resource) };
    }

    /// Copies between a resource and its backing (`to_host`: from there into the resource).
    pub fn transfer(&self, resource: u32, transfer: &Transfer3d, to_host: bool) -> Result<(), Errno> {
        let call = if to_host { self.symbols.transfer_write_iov } else { self.symbols.transfer_read_iov };
        let part = transfer.region;
        let mut region = VirglBox { x: part.x, y: part.y, z: part.z, w: part.width, h: part.height, d: part.depth };
        // SAFETY: no list, so it is the attached one; the box is copied.
        outcome(unsafe {
            let (context, level) = (transfer.context, transfer.level);
            let (stride, layer_stride) = (transfer.stride, transfer.layer_stride);
            call(resource, context, level, stride, layer_stride, &mut region, transfer.offset, std::ptr::null_mut(), 0)
        })
    }

    /// Copies a rectangle of level 0 into `to`, from `offset` there.
    pub fn read(
        &self,
        resource: u32,
        (x, y, w, h): (u32, u32, u32, u32),
        to: &mut Backing,
        stride: u32,
        offset: u64,
    ) -> Result<(), Errno> {
        let mut region = VirglBox { x, y, z: 0, w, h, d: 1 };
        let (list, count) = (to.as_mut_ptr(), to.count());
        // SAFETY: `to` lives during the call, and the library keeps nothing of it.
        outcome(unsafe {
            (self.symbols.transfer_read_iov)(resource, 0, 0, stride, 0, &mut region, offset, list, count)
        })
    }

    /// Asks for [`Signal::Global`] of this number.
    pub fn fence(&self, number: u32) -> Result<(), Errno> {
        // SAFETY: initialised; the number is any.
        outcome(unsafe { (self.symbols.create_fence)(number as c_int, 0) })
    }

    /// Asks for [`Signal::Ring`].
    pub fn ring_fence(&self, context: u32, ring: u8, fence: u64) -> Result<(), Errno> {
        let create = self.symbols.context_create_fence.ok_or(Errno::OPNOTSUPP)?;
        // SAFETY: an unknown context is refused.
        outcome(unsafe { create(context, 0, ring.into(), fence) })
    }

    /// A host blob's memory, and how to cache it. EOPNOTSUPP if it cannot be mapped by another process.
    pub fn export_blob(&self, resource: u32) -> Result<(OwnedFd, u32), Errno> {
        let export = self.symbols.resource_export_blob.ok_or(Errno::OPNOTSUPP)?;
        let map_info = self.symbols.resource_get_map_info.ok_or(Errno::OPNOTSUPP)?;
        let mut cache = 0;
        // SAFETY: a place to write to; an unknown id is refused.
        outcome(unsafe { map_info(resource, &mut cache) })?;
        let (mut kind, mut fd) = (0, -1);
        // SAFETY: two places to write to.
        outcome(unsafe { export(resource, &mut kind, &mut fd) })?;
        if fd < 0 {
            return Err(Errno::OPNOTSUPP);
        }
        // SAFETY: a new descriptor that is ours now.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let mappable = kind == FD_DMABUF || kind == FD_SHM;
        if mappable { Ok((fd, cache & MAP_CACHE_MASK)) } else { Err(Errno::OPNOTSUPP) }
    }
}
