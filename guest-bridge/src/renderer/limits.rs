//! The numbers that phyllome-guest and its renderer both go by: what a packet may hold, what a resource may be, which
//! capsets, targets and kinds of blobs there are. Compiled into both, so that they cannot differ.
//!
//! phyllome-guest checks a guest's numbers against these before it sends them on; the renderer checks them again,
//! because the library behind it counts in 32 bits and believes much. What phyllome-guest grants one guest (its quota)
//! is less and is its own.

/// Most bytes of a packet, in both directions.
pub const MAX_PACKET: usize = 64 << 10;
/// Most bytes that [`Request::Part`](super::wire::Request::Part)s may gather for one request: the longest SUBMIT_3D.
pub const MAX_BULK: usize = 4 << 20;
/// Most bytes of bulk that one message itself carries, so that it fits into a packet with its other fields.
pub const MAX_INLINE: usize = 48 << 10;
/// Most regions of guest memory, one descriptor each: below the kernel's 253 descriptors of a message.
pub const MAX_REGIONS: usize = 128;
/// Most bytes of one capset.
pub const MAX_CAPSET: usize = 16 << 10;
/// Most capsets.
pub const MAX_CAPSETS: usize = 16;
/// Most bytes of a context's name.
pub const MAX_NAME: usize = 64;
/// Most bytes of a driver's name.
pub const MAX_DRIVER: usize = 256;
/// Most bytes of the sentence that says why there is no 3D.
pub const MAX_UNABLE: usize = 1024;
/// Most bytes of an [`Event::Lacks`](super::wire::Event::Lacks).
pub const MAX_LACK: usize = 512;
/// Most of them.
pub const MAX_LACKS: usize = 8;
/// Most planes of an exported picture.
pub const MAX_PLANES: usize = 4;

/// Greatest width or height of a texture or picture, texels.
pub const MAX_SIDE: u32 = 16384;
/// Most samples of a texel.
pub const MAX_SAMPLES: u32 = 32;
/// Greatest size of a blob, bytes.
pub const MAX_BLOB: u64 = 8 << 30;

/// Gallium's targets (p_defines.h), as far as anything depends on them.
pub mod target {
    /// `PIPE_BUFFER`.
    pub const BUFFER: u32 = 0;
    /// `PIPE_TEXTURE_2D`.
    pub const TEXTURE_2D: u32 = 2;
    /// `PIPE_TEXTURE_3D`.
    pub const TEXTURE_3D: u32 = 3;
    /// `PIPE_TEXTURE_RECT`.
    pub const TEXTURE_RECT: u32 = 5;
    /// `PIPE_TEXTURE_CUBE_ARRAY`.
    pub const LAST: u32 = 8;
}

/// `VIRTIO_GPU_CAPSET_*` (virtio 1.3, 5.7.6.7, and Linux's virtgpu_drm.h).
pub mod capset {
    /// OpenGL by virgl.
    pub const VIRGL: u32 = 1;
    /// The same with more.
    pub const VIRGL2: u32 = 2;
    /// Vulkan by Venus.
    pub const VENUS: u32 = 4;
    /// The GPU's native contexts.
    pub const DRM: u32 = 6;
    /// Those of OpenGL.
    pub const OF_VIRGL: [u32; 2] = [VIRGL, VIRGL2];
}

/// `VIRTIO_GPU_BLOB_*` (virtio 1.3, 5.7.6.8).
pub mod blob {
    /// `MEM_GUEST`: the guest's own pages.
    pub const GUEST: u32 = 1;
    /// `MEM_HOST3D`: the renderer's memory alone.
    pub const HOST3D: u32 = 2;
    /// `MEM_HOST3D_GUEST`: the renderer's, with guest pages besides; the last.
    pub const HOST3D_GUEST: u32 = 3;
    /// `FLAG_USE_MAPPABLE`.
    pub const MAPPABLE: u32 = 1;
    /// That, `FLAG_USE_SHAREABLE` and `FLAG_USE_CROSS_DEVICE`: all that there are.
    pub const FLAGS: u32 = 7;
}
