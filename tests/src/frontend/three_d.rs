//! 3D commands of virtio-gpu as bytes (virtio 1.3, section 5.7.6.8), and the few of virgl's that a test draws with.

#![allow(missing_docs, reason = "the names are the specification's")]

use super::commands::*;

/// VIRTIO_GPU_F_VIRGL.
pub const F_VIRGL: u64 = 1;

pub const CTX_DESTROY: u32 = 0x0201;
pub const CTX_ATTACH_RESOURCE: u32 = 0x0202;
pub const CTX_DETACH_RESOURCE: u32 = 0x0203;
pub const TRANSFER_TO_HOST_3D: u32 = 0x0205;
pub const TRANSFER_FROM_HOST_3D: u32 = 0x0206;

pub const OK_CAPSET_INFO: u32 = 0x1102;
pub const OK_CAPSET: u32 = 0x1103;

pub const FLAG_INFO_RING_IDX: u32 = 2;

/// `PIPE_BUFFER`, `PIPE_TEXTURE_2D` and `PIPE_TEXTURE_3D`.
pub const BUFFER: u32 = 0;
pub const TEXTURE_2D: u32 = 2;
pub const TEXTURE_3D: u32 = 3;
/// `VIRGL_FORMAT_R8_UNORM`.
pub const R8: u32 = 64;
/// `VIRGL_BIND_RENDER_TARGET | VIRGL_BIND_SAMPLER_VIEW | VIRGL_BIND_SCANOUT`.
pub const BIND_PICTURE: u32 = 1 << 1 | 1 << 3 | 1 << 18;

/// `virtio_gpu_resource_create_3d` without its header and id.
#[derive(Clone, Copy, Debug)]
pub struct Create3d {
    pub target: u32,
    pub format: u32,
    pub bind: u32,
    pub width: u32,
    pub height: u32,
    pub depth: u32,
    pub array_size: u32,
    pub last_level: u32,
    pub samples: u32,
    pub flags: u32,
}

/// A texture that can be drawn to, sampled and shown.
pub fn texture(width: u32, height: u32) -> Create3d {
    Create3d {
        target: TEXTURE_2D,
        format: B8G8R8A8,
        bind: BIND_PICTURE,
        width,
        height,
        depth: 1,
        array_size: 1,
        last_level: 0,
        samples: 0,
        flags: 0,
    }
}

/// A buffer of so many bytes.
pub fn buffer(bytes: u32, bind: u32) -> Create3d {
    Create3d { target: BUFFER, format: R8, bind, ..texture(bytes, 1) }
}

/// `virtio_gpu_transfer_host_3d` without its header and resource.
#[derive(Clone, Copy, Debug, Default)]
pub struct Transfer3d {
    pub x: u32,
    pub y: u32,
    pub z: u32,
    pub width: u32,
    pub height: u32,
    pub depth: u32,
    pub offset: u64,
    pub level: u32,
    pub stride: u32,
    pub layer_stride: u32,
}

/// All of a flat texture, rows without gaps.
pub fn whole(width: u32, height: u32) -> Transfer3d {
    Transfer3d { width, height, depth: 1, ..Transfer3d::default() }
}

impl Bytes {
    /// On behalf of this context.
    pub fn context(mut self, id: u32) -> Self {
        self.0[16..20].copy_from_slice(&id.to_le_bytes());
        self
    }

    /// Its fence is on this timeline of the context's.
    pub fn on_ring(mut self, ring: u8) -> Self {
        self.0[4] |= FLAG_INFO_RING_IDX as u8;
        self.0[20] = ring;
        self
    }

    pub fn words(self, words: &[u32]) -> Self {
        words.iter().fold(self, |bytes, word| bytes.u32(*word))
    }
}

pub fn get_capset_info(index: u32) -> Bytes {
    Bytes::header(GET_CAPSET_INFO).u32(index).u32(0)
}

pub fn get_capset(id: u32, version: u32) -> Bytes {
    Bytes::header(GET_CAPSET).u32(id).u32(version)
}

pub fn create_context(id: u32) -> Bytes {
    let head = Bytes::header(CTX_CREATE).context(id).u32(4).u32(0).words(&[0x7473_6574]);
    head.words(&[0; 15])
}

pub fn destroy_context(id: u32) -> Bytes {
    Bytes::header(CTX_DESTROY).context(id)
}

pub fn context_attach(context: u32, resource: u32) -> Bytes {
    Bytes::header(CTX_ATTACH_RESOURCE).context(context).u32(resource).u32(0)
}

pub fn context_detach(context: u32, resource: u32) -> Bytes {
    Bytes::header(CTX_DETACH_RESOURCE).context(context).u32(resource).u32(0)
}

pub fn create_3d(id: u32, what: Create3d) -> Bytes {
    let Create3d { target, format, bind, width, height, depth, array_size, last_level, samples, flags } = what;
    let words = [id, target, format, bind, width, height, depth, array_size, last_level, samples, flags, 0];
    Bytes::header(RESOURCE_CREATE_3D).words(&words)
}

fn transfer_3d(kind: u32, context: u32, id: u32, what: Transfer3d) -> Bytes {
    let Transfer3d { x, y, z, width, height, depth, offset, level, stride, layer_stride } = what;
    let head = Bytes::header(kind).context(context).words(&[x, y, z, width, height, depth]);
    head.u64(offset).words(&[id, level, stride, layer_stride])
}

pub fn transfer_to(context: u32, id: u32, what: Transfer3d) -> Bytes {
    transfer_3d(TRANSFER_TO_HOST_3D, context, id, what)
}

pub fn transfer_from(context: u32, id: u32, what: Transfer3d) -> Bytes {
    transfer_3d(TRANSFER_FROM_HOST_3D, context, id, what)
}

/// SUBMIT_3D that says the truth about its size.
pub fn submit(context: u32, words: &[u32]) -> Bytes {
    submit_claimed(context, 4 * words.len() as u32, words)
}

/// SUBMIT_3D that says anything about its size.
pub fn submit_claimed(context: u32, size: u32, words: &[u32]) -> Bytes {
    Bytes::header(SUBMIT_3D).context(context).u32(size).u32(0).words(words)
}

/// A command of virgl's.
pub fn virgl(number: u32, object: u32, words: &[u32]) -> Vec<u32> {
    let mut all = vec![number | object << 8 | (words.len() as u32) << 16];
    all.extend_from_slice(words);
    all
}

/// Clears a texture through a surface that is made for it and not kept. `colour` is red, green, blue, alpha.
pub fn clear(surface: u32, resource: u32, colour: [u8; 4]) -> Vec<u32> {
    let [r, g, b, a] = colour.map(|part| (f32::from(part) / 255.0).to_bits());
    let mut all = virgl(1, 8, &[surface, resource, B8G8R8A8, 0, 0]);
    all.extend(virgl(5, 0, &[1, 0, surface]));
    all.extend(virgl(7, 0, &[1 << 2, r, g, b, a, 0, 0, 0]));
    all.extend(virgl(5, 0, &[0, 0]));
    all.extend(virgl(3, 8, &[surface]));
    all
}
