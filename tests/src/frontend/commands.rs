//! virtio-gpu commands and responses as bytes (virtio 1.3, section 5.7.6).

#![allow(missing_docs, reason = "the names are the specification's")]

pub const GET_DISPLAY_INFO: u32 = 0x0100;
pub const RESOURCE_CREATE_2D: u32 = 0x0101;
pub const RESOURCE_UNREF: u32 = 0x0102;
pub const SET_SCANOUT: u32 = 0x0103;
pub const RESOURCE_FLUSH: u32 = 0x0104;
pub const TRANSFER_TO_HOST_2D: u32 = 0x0105;
pub const RESOURCE_ATTACH_BACKING: u32 = 0x0106;
pub const RESOURCE_DETACH_BACKING: u32 = 0x0107;
pub const GET_CAPSET_INFO: u32 = 0x0108;
pub const GET_CAPSET: u32 = 0x0109;
pub const GET_EDID: u32 = 0x010a;
pub const RESOURCE_ASSIGN_UUID: u32 = 0x010b;
pub const RESOURCE_CREATE_BLOB: u32 = 0x010c;
pub const SET_SCANOUT_BLOB: u32 = 0x010d;
pub const CTX_CREATE: u32 = 0x0200;
pub const RESOURCE_CREATE_3D: u32 = 0x0204;
pub const SUBMIT_3D: u32 = 0x0207;
pub const RESOURCE_MAP_BLOB: u32 = 0x0208;
pub const RESOURCE_UNMAP_BLOB: u32 = 0x0209;
pub const UPDATE_CURSOR: u32 = 0x0300;
pub const MOVE_CURSOR: u32 = 0x0301;

pub const OK_NODATA: u32 = 0x1100;
pub const OK_DISPLAY_INFO: u32 = 0x1101;
pub const OK_EDID: u32 = 0x1104;
pub const OK_RESOURCE_UUID: u32 = 0x1105;
pub const ERR_UNSPEC: u32 = 0x1200;
pub const ERR_OUT_OF_MEMORY: u32 = 0x1201;
pub const ERR_INVALID_SCANOUT_ID: u32 = 0x1202;
pub const ERR_INVALID_RESOURCE_ID: u32 = 0x1203;
pub const ERR_INVALID_CONTEXT_ID: u32 = 0x1204;
pub const ERR_INVALID_PARAMETER: u32 = 0x1205;

pub const FLAG_FENCE: u32 = 1;

pub const B8G8R8A8: u32 = 1;
pub const B8G8R8X8: u32 = 2;
pub const A8R8G8B8: u32 = 3;
pub const X8R8G8B8: u32 = 4;
pub const R8G8B8A8: u32 = 67;
pub const X8B8G8R8: u32 = 68;
pub const A8B8G8R8: u32 = 121;
pub const R8G8B8X8: u32 = 134;

/// A rectangle as the wire has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rect {
    pub x: u32,
    pub y: u32,
    pub width: u32,
    pub height: u32,
}

/// A rectangle at the origin.
pub fn full(width: u32, height: u32) -> Rect {
    Rect { x: 0, y: 0, width, height }
}

/// A command's bytes, built field by field.
#[derive(Clone, Debug)]
pub struct Bytes(pub Vec<u8>);

impl Bytes {
    /// The control header without a fence.
    pub fn header(kind: u32) -> Self {
        let mut bytes = Bytes(Vec::with_capacity(64));
        bytes.0.extend(kind.to_le_bytes());
        bytes.0.extend([0; 20]);
        bytes
    }

    /// Asks for a fence with this id.
    pub fn fenced(mut self, id: u64) -> Self {
        self.0[4..8].copy_from_slice(&FLAG_FENCE.to_le_bytes());
        self.0[8..16].copy_from_slice(&id.to_le_bytes());
        self
    }

    pub fn u32(mut self, value: u32) -> Self {
        self.0.extend(value.to_le_bytes());
        self
    }

    pub fn u64(mut self, value: u64) -> Self {
        self.0.extend(value.to_le_bytes());
        self
    }

    pub fn rect(self, r: Rect) -> Self {
        self.u32(r.x).u32(r.y).u32(r.width).u32(r.height)
    }

    pub fn build(self) -> Vec<u8> {
        self.0
    }
}

pub fn create_2d(id: u32, format: u32, width: u32, height: u32) -> Bytes {
    Bytes::header(RESOURCE_CREATE_2D).u32(id).u32(format).u32(width).u32(height)
}

pub fn unref(id: u32) -> Bytes {
    Bytes::header(RESOURCE_UNREF).u32(id).u32(0)
}

pub fn set_scanout(scanout: u32, id: u32, rect: Rect) -> Bytes {
    Bytes::header(SET_SCANOUT).rect(rect).u32(scanout).u32(id)
}

pub fn flush(id: u32, rect: Rect) -> Bytes {
    Bytes::header(RESOURCE_FLUSH).rect(rect).u32(id).u32(0)
}

pub fn transfer(id: u32, rect: Rect, offset: u64) -> Bytes {
    Bytes::header(TRANSFER_TO_HOST_2D).rect(rect).u64(offset).u32(id).u32(0)
}

/// `entries` are guest address and length.
pub fn attach_backing(id: u32, entries: &[(u64, u32)]) -> Bytes {
    let head = Bytes::header(RESOURCE_ATTACH_BACKING).u32(id).u32(entries.len() as u32);
    entries.iter().fold(head, |bytes, (addr, len)| bytes.u64(*addr).u32(*len).u32(0))
}

pub fn detach_backing(id: u32) -> Bytes {
    Bytes::header(RESOURCE_DETACH_BACKING).u32(id).u32(0)
}

/// A blob of this many bytes in guest memory; `entries` are guest address and length.
pub fn create_blob(id: u32, size: u64, entries: &[(u64, u32)]) -> Bytes {
    let head = Bytes::header(RESOURCE_CREATE_BLOB).u32(id).u32(1).u32(2).u32(entries.len() as u32).u64(0).u64(size);
    entries.iter().fold(head, |bytes, (addr, len)| bytes.u64(*addr).u32(*len).u32(0))
}

/// All of a picture of 32-bit pixels, B, G, R, X, that begins `offset` bytes into a blob.
pub fn set_scanout_blob(scanout: u32, id: u32, width: u32, height: u32, stride: u32, offset: u32) -> Bytes {
    let image = Bytes::header(SET_SCANOUT_BLOB).rect(full(width, height)).u32(scanout).u32(id).u32(width).u32(height);
    let strides = image.u32(B8G8R8X8).u32(0).u32(stride).u32(0).u32(0).u32(0);
    strides.u32(offset).u32(0).u32(0).u32(0)
}

pub fn get_edid(scanout: u32) -> Bytes {
    Bytes::header(GET_EDID).u32(scanout).u32(0)
}

pub fn assign_uuid(id: u32) -> Bytes {
    Bytes::header(RESOURCE_ASSIGN_UUID).u32(id).u32(0)
}

pub fn update_cursor(scanout: u32, x: u32, y: u32, id: u32, hot_x: u32, hot_y: u32) -> Bytes {
    Bytes::header(UPDATE_CURSOR).u32(scanout).u32(x).u32(y).u32(0).u32(id).u32(hot_x).u32(hot_y).u32(0)
}

pub fn move_cursor(scanout: u32, x: u32, y: u32) -> Bytes {
    Bytes::header(MOVE_CURSOR).u32(scanout).u32(x).u32(y).u32(0).u32(0).u32(0).u32(0).u32(0)
}

/// The type field of a response.
pub fn response_type(response: &[u8]) -> u32 {
    response.get(..4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_le_bytes)
}
