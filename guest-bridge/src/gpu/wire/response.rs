//! Responses: values → bytes, in a buffer that is made once and used again. Pure; never allocates, never shows old
//! bytes.

use super::{FLAG_FENCE, FLAG_INFO_RING_IDX, HEADER, Header, Status, cmd};
use crate::frames::Rect;
use crate::renderer::limits::MAX_CAPSET;
use phyllome_protocol::ids::MAX_SCANOUTS;

/// The longest response: GET_CAPSET's.
pub const MAX_RESPONSE: usize = HEADER + MAX_CAPSET;
/// Bytes that `virtio_gpu_resp_edid` has for an EDID.
const EDID_BYTES: usize = 1024;
/// Bytes of one scanout in `virtio_gpu_resp_display_info`.
const DISPLAY_INFO: usize = 24;

/// A response under construction. At first an empty one.
pub struct Response {
    bytes: [u8; MAX_RESPONSE],
    length: usize,
}

impl Default for Response {
    fn default() -> Self {
        Self { bytes: [0; MAX_RESPONSE], length: 0 }
    }
}

impl Response {
    /// How many bytes the response has to a command of this kind that changes something, if all is well. (Those that
    /// only ask are answered again when there is room.)
    pub fn length(kind: u32) -> u64 {
        let data = match kind {
            cmd::GET_DISPLAY_INFO => MAX_SCANOUTS as usize * DISPLAY_INFO,
            cmd::RESOURCE_ASSIGN_UUID => 16,
            cmd::RESOURCE_MAP_BLOB => 8,
            _ => 0,
        };
        (HEADER + data) as u64
    }

    /// The response so far.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    /// A response without data; a fenced request's fence comes back in it.
    pub fn status(&mut self, request: &Header, status: Status) {
        self.length = 0;
        let flags = request.flags & (FLAG_FENCE | FLAG_INFO_RING_IDX);
        let fenced = flags & FLAG_FENCE != 0;
        self.u32(status as u32);
        self.u32(if fenced { flags } else { 0 });
        self.put(&if fenced { request.fence_id } else { 0 }.to_le_bytes());
        self.u32(if fenced { request.ctx_id } else { 0 });
        self.put(&[if fenced && flags & FLAG_INFO_RING_IDX != 0 { request.ring_idx } else { 0 }, 0, 0, 0]);
    }

    /// `virtio_gpu_resp_display_info`: where each scanout is; those that are nowhere, and those beyond `places`, are
    /// disconnected.
    pub fn display_info(&mut self, request: &Header, places: impl Iterator<Item = Option<Rect>>) {
        self.status(request, Status::OkDisplayInfo);
        let mut places = places.fuse();
        for _ in 0..MAX_SCANOUTS {
            let place = places.next().flatten();
            let rect = place.unwrap_or_default();
            for word in [rect.x, rect.y, rect.width, rect.height, u32::from(place.is_some()), 0] {
                self.u32(word);
            }
        }
    }

    /// `virtio_gpu_resp_edid`. What is longer than 1024 bytes is cut.
    pub fn edid(&mut self, request: &Header, edid: &[u8]) {
        self.status(request, Status::OkEdid);
        let edid = edid.get(..EDID_BYTES).unwrap_or(edid);
        self.u32(edid.len() as u32);
        self.u32(0);
        self.put(edid);
        for _ in edid.len()..EDID_BYTES {
            self.put(&[0]);
        }
    }

    /// `virtio_gpu_resp_capset_info`: a capset's id, greatest version and length in bytes.
    pub fn capset_info(&mut self, request: &Header, id: u32, version: u32, length: u32) {
        self.status(request, Status::OkCapsetInfo);
        for word in [id, version, length, 0] {
            self.u32(word);
        }
    }

    /// `virtio_gpu_resp_capset`.
    pub fn capset(&mut self, request: &Header, data: &[u8]) {
        self.status(request, Status::OkCapset);
        self.put(data);
    }

    /// `virtio_gpu_resp_map_info`: how a blob is to be cached.
    pub fn map_info(&mut self, request: &Header, cache: u32) {
        self.status(request, Status::OkMapInfo);
        self.u32(cache);
        self.u32(0);
    }

    /// `virtio_gpu_resp_resource_uuid`.
    pub fn uuid(&mut self, request: &Header, uuid: &[u8; 16]) {
        self.status(request, Status::OkResourceUuid);
        self.put(uuid);
    }

    fn u32(&mut self, word: u32) {
        self.put(&word.to_le_bytes());
    }

    fn put(&mut self, bytes: &[u8]) {
        let end = self.length.saturating_add(bytes.len());
        if let Some(place) = self.bytes.get_mut(self.length..end) {
            place.copy_from_slice(bytes);
            self.length = end;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FENCED: Header =
        Header { kind: 0x104, flags: FLAG_FENCE | FLAG_INFO_RING_IDX | 0x80, fence_id: 77, ctx_id: 5, ring_idx: 3 };

    #[test]
    fn a_fence_comes_back_and_unknown_flags_do_not() {
        let mut response = Response::default();
        response.status(&FENCED, Status::OkNoData);
        let words: Vec<u32> =
            response.bytes().chunks_exact(4).map(|word| u32::from_le_bytes(word.try_into().unwrap())).collect();
        assert_eq!(words, [0x1100, 3, 77, 0, 5, 3]);
        response.status(&Header { flags: 0, ..FENCED }, Status::ErrUnspec);
        assert_eq!(response.bytes()[..4], 0x1200u32.to_le_bytes());
        assert!(response.bytes()[4..].iter().all(|&byte| byte == 0));
    }

    #[test]
    fn sizes_are_the_specification_s() {
        let mut response = Response::default();
        response.display_info(&FENCED, (0..2).map(|x| Some(Rect { x, y: 0, width: 8, height: 9 })));
        assert_eq!(response.bytes().len(), 408);
        assert_eq!(response.bytes()[24 + 24..24 + 28], 1u32.to_le_bytes());
        assert_eq!(response.bytes()[24 + 48 + 16], 0, "the third is off");
        response.edid(&FENCED, &[1; 128]);
        assert_eq!(response.bytes().len(), 1056);
        assert_eq!(response.bytes()[24..32], [128, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(response.bytes()[32 + 127..32 + 130], [1, 0, 0], "nothing of an earlier response is left");
        response.uuid(&FENCED, &[9; 16]);
        assert_eq!(response.bytes().len(), 40);
    }

    #[test]
    fn every_response_has_the_length_that_is_said_before() {
        let response = &mut Response::default();
        let said = |kind, response: &Response| (Response::length(kind), response.bytes().len() as u64);
        let same = |(said, length): (u64, u64)| assert_eq!(said, length);
        response.display_info(&FENCED, std::iter::empty());
        same(said(cmd::GET_DISPLAY_INFO, response));
        response.uuid(&FENCED, &[9; 16]);
        same(said(cmd::RESOURCE_ASSIGN_UUID, response));
        response.map_info(&FENCED, 1);
        same(said(cmd::RESOURCE_MAP_BLOB, response));
        response.status(&FENCED, Status::OkNoData);
        same(said(cmd::RESOURCE_UNREF, response));
    }
}
