//! virtio-gpu's wire format (virtio 1.3, section 5.7.6) without I/O: bytes in, checked commands out, and responses back
//! to bytes.
//!
//! Trusts no byte. Everything is parsed by hand, little-endian, from a copy that the guest cannot change any more.
//! Whether a resource exists or a rectangle fits is the device's business; here a command is only well-formed and
//! negotiated, or not.

#![cfg_attr(
    not(test),
    deny(clippy::wildcard_enum_match_arm, reason = "a new request, command or event is not to be taken for another")
)]

mod command;
mod command_3d;
mod reader;
mod response;

pub use command::{Command, CursorPlace, Header, decode};
pub use command_3d::{BlobImage, Command3d, Commands, CreateBlob};
pub use reader::{MemEntries, MemEntry, Refusal, WireRect};
pub use response::{MAX_RESPONSE, Response};

/// virtio-gpu's feature bits (section 5.7.3) and the few of virtio itself that change what the device does.
pub mod feature {
    /// 3D commands may be used.
    pub const VIRGL: u64 = 1 << 0;
    /// GET_EDID may be used.
    pub const EDID: u64 = 1 << 1;
    /// RESOURCE_ASSIGN_UUID may be used.
    pub const RESOURCE_UUID: u64 = 1 << 2;
    /// Blob resources may be used.
    pub const RESOURCE_BLOB: u64 = 1 << 3;
    /// Contexts say which capset they speak.
    pub const CONTEXT_INIT: u64 = 1 << 4;
    /// Descriptors may point to tables of descriptors.
    pub const INDIRECT_DESC: u64 = 1 << 28;
    /// Interrupts and kicks are suppressed by index.
    pub const EVENT_IDX: u64 = 1 << 29;
    /// vhost-user's protocol features exist (never the driver's business).
    pub const PROTOCOL_FEATURES: u64 = 1 << 30;
    /// A modern device.
    pub const VERSION_1: u64 = 1 << 32;
    /// The packed ring, which this device does not speak.
    pub const RING_PACKED: u64 = 1 << 34;
    /// Buffers are used in the order in which they were made available: nothing may be held.
    pub const IN_ORDER: u64 = 1 << 35;
    /// Queues may be reset one by one.
    pub const RING_RESET: u64 = 1 << 40;
}

/// The queue that a command came on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueKind {
    /// Queue 0.
    Control,
    /// Queue 1.
    Cursor,
}

/// `VIRTIO_GPU_FLAG_FENCE`.
pub const FLAG_FENCE: u32 = 1 << 0;
/// `VIRTIO_GPU_FLAG_INFO_RING_IDX`.
pub const FLAG_INFO_RING_IDX: u32 = 1 << 1;
/// Bytes of a header (`virtio_gpu_ctrl_hdr`).
pub const HEADER: usize = 24;
/// Most entries that one RESOURCE_ATTACH_BACKING may have: as in QEMU.
pub const MAX_BACKING_ENTRIES: u32 = 16384;
/// The longest request that is read: SUBMIT_3D with as much as one may have.
pub const MAX_REQUEST: usize = HEADER + 8 + crate::renderer::limits::MAX_BULK;

/// `VIRTIO_GPU_CMD_*`.
#[allow(missing_docs, reason = "the specification's names")]
pub mod cmd {
    pub const GET_DISPLAY_INFO: u32 = 0x100;
    pub const RESOURCE_CREATE_2D: u32 = 0x101;
    pub const RESOURCE_UNREF: u32 = 0x102;
    pub const SET_SCANOUT: u32 = 0x103;
    pub const RESOURCE_FLUSH: u32 = 0x104;
    pub const TRANSFER_TO_HOST_2D: u32 = 0x105;
    pub const RESOURCE_ATTACH_BACKING: u32 = 0x106;
    pub const RESOURCE_DETACH_BACKING: u32 = 0x107;
    pub const GET_CAPSET_INFO: u32 = 0x108;
    pub const GET_CAPSET: u32 = 0x109;
    pub const GET_EDID: u32 = 0x10a;
    pub const RESOURCE_ASSIGN_UUID: u32 = 0x10b;
    pub const RESOURCE_CREATE_BLOB: u32 = 0x10c;
    pub const SET_SCANOUT_BLOB: u32 = 0x10d;
    pub const CTX_CREATE: u32 = 0x200;
    pub const CTX_DESTROY: u32 = 0x201;
    pub const CTX_ATTACH_RESOURCE: u32 = 0x202;
    pub const CTX_DETACH_RESOURCE: u32 = 0x203;
    pub const RESOURCE_CREATE_3D: u32 = 0x204;
    pub const TRANSFER_TO_HOST_3D: u32 = 0x205;
    pub const TRANSFER_FROM_HOST_3D: u32 = 0x206;
    pub const SUBMIT_3D: u32 = 0x207;
    pub const RESOURCE_MAP_BLOB: u32 = 0x208;
    pub const RESOURCE_UNMAP_BLOB: u32 = 0x209;
    pub const UPDATE_CURSOR: u32 = 0x300;
    pub const MOVE_CURSOR: u32 = 0x301;
}

/// `VIRTIO_GPU_RESP_*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the specification's names")]
#[repr(u32)]
pub enum Status {
    OkNoData = 0x1100,
    OkDisplayInfo = 0x1101,
    OkCapsetInfo = 0x1102,
    OkCapset = 0x1103,
    OkEdid = 0x1104,
    OkResourceUuid = 0x1105,
    OkMapInfo = 0x1106,
    ErrUnspec = 0x1200,
    ErrOutOfMemory = 0x1201,
    ErrInvalidScanoutId = 0x1202,
    ErrInvalidResourceId = 0x1203,
    ErrInvalidContextId = 0x1204,
    ErrInvalidParameter = 0x1205,
}
