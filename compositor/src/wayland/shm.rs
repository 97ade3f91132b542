//! `wl_shm`: pictures in memory that the guest's process shares.
//!
//! Only memfds that are sealed against shrinking are accepted, which phyllome-guest's are: a file that the guest's
//! process serves by itself could hold up the shell in a system call for as long as it likes. smithay maps the memory
//! and survives what is not there all the same (its SIGBUS handler replaces the mapping by zeros and the client is
//! disconnected). Guarded here because smithay 0.7.0 panics on it: `wl_shm_pool.resize` to 0 or less.

use super::client::{self, admit, admit_thing, counted_dispatch, counted_global, ended, remove_thing};
use super::quota::{MAX_EXTENT, MAX_POOL_BYTES};
use super::things::Thing;
use crate::State;
use crate::descriptors::close_elsewhere;
use phyllome_protocol::descriptor::describe;
use smithay::reexports::wayland_server::backend::ClientId;
use smithay::reexports::wayland_server::protocol::wl_buffer::WlBuffer;
use smithay::reexports::wayland_server::protocol::wl_shm::{self, WlShm};
use smithay::reexports::wayland_server::protocol::wl_shm_pool::{self, WlShmPool};
use smithay::reexports::wayland_server::{Client, DataInit, Dispatch, DisplayHandle};
use smithay::wayland::buffer::BufferHandler;
use smithay::wayland::shm::{ShmBufferUserData, ShmHandler, ShmPoolUserData, ShmState};
use std::os::fd::AsFd;

impl ShmHandler for State {
    fn shm_state(&self) -> &ShmState {
        &self.protocols.shm
    }
}

impl BufferHandler for State {
    fn buffer_destroyed(&mut self, buffer: &WlBuffer) {
        remove_thing(buffer, Thing::Buffer);
        self.protocols.screens.forget_buffer(buffer);
    }
}

counted_global!(WlShm, () => ShmState, Thing::Global);
counted_dispatch! {
    WlBuffer, ShmBufferUserData => ShmState;
}

impl Dispatch<WlShm, ()> for State {
    fn request(
        state: &mut Self,
        client: &Client,
        shm: &WlShm,
        request: wl_shm::Request,
        data: &(),
        display: &DisplayHandle,
        init: &mut DataInit<'_, Self>,
    ) {
        // First of all what came with it: dropping a descriptor closes it, and of a file that its sender serves that
        // may take for ever.
        let request = match request {
            wl_shm::Request::CreatePool { id, fd, size } => {
                let memory = describe(fd.as_fd());
                let why = if !memory.is_sealed_memory() {
                    "a shared-memory pool is not a memfd that is sealed against shrinking"
                } else if u64::try_from(size).is_ok_and(|size| size > memory.bytes) {
                    "a shared-memory pool is larger than its file"
                } else if size > MAX_POOL_BYTES {
                    "a shared-memory pool is larger than 1 GiB"
                } else {
                    ""
                };
                if !why.is_empty() {
                    client::cut(client, shm, wl_shm::Error::InvalidFd as u32, why);
                    close_elsewhere(fd);
                    return;
                }
                wl_shm::Request::CreatePool { id, fd, size }
            }
            other => other,
        };
        if !admit(display, client, shm) {
            return;
        }
        let pool = matches!(request, wl_shm::Request::CreatePool { .. });
        if pool && !admit_thing(client, shm, Thing::Pool) {
            return;
        }
        <ShmState as Dispatch<WlShm, (), Self>>::request(state, client, shm, request, data, display, init);
    }

    fn destroyed(_state: &mut Self, _client: ClientId, shm: &WlShm, _data: &()) {
        ended(shm);
    }
}

impl Dispatch<WlShmPool, ShmPoolUserData> for State {
    fn request(
        state: &mut Self,
        client: &Client,
        pool: &WlShmPool,
        request: wl_shm_pool::Request,
        data: &ShmPoolUserData,
        display: &DisplayHandle,
        init: &mut DataInit<'_, Self>,
    ) {
        if !admit(display, client, pool) {
            return;
        }
        match &request {
            wl_shm_pool::Request::Resize { size } if *size <= 0 || *size > MAX_POOL_BYTES => {
                let why = "a shared-memory pool is to have an impossible size";
                client::cut(client, pool, wl_shm::Error::InvalidFd as u32, why);
                return;
            }
            wl_shm_pool::Request::CreateBuffer { width, height, .. } => {
                if *width > MAX_EXTENT || *height > MAX_EXTENT {
                    let why = "a buffer is larger than 16384 × 16384 pixels";
                    client::cut(client, pool, wl_shm::Error::InvalidStride as u32, why);
                    return;
                }
                if !admit_thing(client, pool, Thing::Buffer) {
                    return;
                }
            }
            _ => {}
        }
        <ShmState as Dispatch<WlShmPool, ShmPoolUserData, Self>>::request(
            state, client, pool, request, data, display, init,
        );
    }

    fn destroyed(_state: &mut Self, _client: ClientId, pool: &WlShmPool, _data: &ShmPoolUserData) {
        ended(pool);
    }
}
