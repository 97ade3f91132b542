//! Requests: bytes → [`Command`]. Pure; never allocates, never panics, whatever the bytes.

use super::command_3d::{self, Command3d};
use super::reader::{MemEntries, Reader, Refusal, WireRect};
use super::{FLAG_FENCE, HEADER, MAX_BACKING_ENTRIES, QueueKind, cmd, feature};

/// `virtio_gpu_ctrl_hdr` of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// The command's number.
    pub kind: u32,
    /// `VIRTIO_GPU_FLAG_*`.
    pub flags: u32,
    /// Comes back in the response of a fenced command.
    pub fence_id: u64,
    /// The 3D context; comes back too.
    pub ctx_id: u32,
    /// The context's ring; comes back if [`super::FLAG_INFO_RING_IDX`] is set.
    pub ring_idx: u8,
}

impl Header {
    /// Reads a header; `None` if there are fewer than 24 bytes.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let mut at = Reader::new(bytes);
        let header = Self {
            kind: at.u32()?,
            flags: at.u32()?,
            fence_id: at.u64()?,
            ctx_id: at.u32()?,
            ring_idx: *at.take(4)?.first()?,
        };
        Some(header)
    }

    /// Whether the response is to come when the effect has.
    pub fn fenced(&self) -> bool {
        self.flags & FLAG_FENCE != 0
    }
}

/// `virtio_gpu_cursor_pos`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CursorPlace {
    /// Which scanout; unchecked.
    pub scanout: u32,
    /// Pixels.
    pub x: u32,
    /// Pixels.
    pub y: u32,
}

/// A well-formed command. Ids, sizes and rectangles are still only the guest's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the specification's names")]
pub enum Command<'a> {
    GetDisplayInfo,
    GetEdid { scanout: u32 },
    ResourceCreate2d { resource: u32, format: u32, width: u32, height: u32 },
    ResourceUnref { resource: u32 },
    SetScanout { scanout: u32, resource: u32, rect: WireRect },
    ResourceFlush { resource: u32, rect: WireRect },
    TransferToHost2d { resource: u32, rect: WireRect, offset: u64 },
    ResourceAttachBacking { resource: u32, entries: MemEntries<'a> },
    ResourceDetachBacking { resource: u32 },
    ResourceAssignUuid { resource: u32 },
    UpdateCursor { place: CursorPlace, resource: u32, hot_x: u32, hot_y: u32 },
    MoveCursor { place: CursorPlace },
    ThreeD(Command3d<'a>),
}

/// Decodes a request that came on `queue` while the driver had acknowledged `features` ([`feature`]).
///
/// Bytes after the command are ignored, as the specification lets structures grow.
pub fn decode(bytes: &[u8], queue: QueueKind, features: u64) -> Result<Command<'_>, Refusal> {
    let header = Header::parse(bytes).ok_or(Refusal::Short)?;
    let mut at = Reader::new(bytes.get(HEADER..).ok_or(Refusal::Short)?);
    let for_cursor_queue = matches!(header.kind, cmd::UPDATE_CURSOR | cmd::MOVE_CURSOR);
    if for_cursor_queue != (queue == QueueKind::Cursor) {
        return Err(Refusal::WrongQueue);
    }
    let needed = match header.kind {
        cmd::GET_EDID => feature::EDID,
        cmd::RESOURCE_ASSIGN_UUID => feature::RESOURCE_UUID,
        // What 3D and blobs need is their decoder's to say.
        _ => 0,
    };
    if features & needed != needed {
        return Err(Refusal::NotNegotiated);
    }
    let command = match header.kind {
        cmd::GET_DISPLAY_INFO => Some(Command::GetDisplayInfo),
        cmd::GET_EDID => at.u32().map(|scanout| Command::GetEdid { scanout }),
        cmd::RESOURCE_CREATE_2D => at.create_2d(),
        cmd::RESOURCE_UNREF => at.u32().map(|resource| Command::ResourceUnref { resource }),
        cmd::SET_SCANOUT => at.set_scanout(),
        cmd::RESOURCE_FLUSH => at.flush(),
        cmd::TRANSFER_TO_HOST_2D => at.transfer(),
        cmd::RESOURCE_ATTACH_BACKING => return at.attach(),
        cmd::RESOURCE_DETACH_BACKING => at.u32().map(|resource| Command::ResourceDetachBacking { resource }),
        cmd::RESOURCE_ASSIGN_UUID => at.u32().map(|resource| Command::ResourceAssignUuid { resource }),
        cmd::UPDATE_CURSOR => at.update_cursor(),
        cmd::MOVE_CURSOR => at.cursor_place().map(|place| Command::MoveCursor { place }),
        kind => return command_3d::decode(kind, at, features).map(Command::ThreeD),
    };
    command.ok_or(Refusal::Short)
}

impl<'a> Reader<'a> {
    fn create_2d(&mut self) -> Option<Command<'a>> {
        let (resource, format, width, height) = (self.u32()?, self.u32()?, self.u32()?, self.u32()?);
        Some(Command::ResourceCreate2d { resource, format, width, height })
    }

    fn set_scanout(&mut self) -> Option<Command<'a>> {
        let rect = self.rect()?;
        Some(Command::SetScanout { rect, scanout: self.u32()?, resource: self.u32()? })
    }

    fn flush(&mut self) -> Option<Command<'a>> {
        let rect = self.rect()?;
        Some(Command::ResourceFlush { rect, resource: self.u32()? })
    }

    fn transfer(&mut self) -> Option<Command<'a>> {
        let rect = self.rect()?;
        Some(Command::TransferToHost2d { rect, offset: self.u64()?, resource: self.u32()? })
    }

    fn attach(&mut self) -> Result<Command<'a>, Refusal> {
        let resource = self.u32().ok_or(Refusal::Short)?;
        let count = self.u32().ok_or(Refusal::Short)?;
        if count == 0 || count > MAX_BACKING_ENTRIES {
            return Err(Refusal::EntryCount);
        }
        let entries = self.entries(count).ok_or(Refusal::Short)?;
        Ok(Command::ResourceAttachBacking { resource, entries })
    }

    fn cursor_place(&mut self) -> Option<CursorPlace> {
        let place = CursorPlace { scanout: self.u32()?, x: self.u32()?, y: self.u32()? };
        self.take(4)?;
        Some(place)
    }

    fn update_cursor(&mut self) -> Option<Command<'a>> {
        let place = self.cursor_place()?;
        Some(Command::UpdateCursor { place, resource: self.u32()?, hot_x: self.u32()?, hot_y: self.u32()? })
    }
}

#[cfg(test)]
mod tests {
    use super::super::reader::MemEntry;
    use super::*;
    use proptest::prelude::*;

    const ALL: u64 = feature::EDID | feature::RESOURCE_UUID;

    fn request(kind: u32, words: &[u32]) -> Vec<u8> {
        let header = [kind, 0, 0, 0, 0, 0];
        header.iter().chain(words).flat_map(|word| word.to_le_bytes()).collect()
    }

    #[test]
    fn every_2d_command_is_decoded_with_its_fields_in_their_places() {
        let rect = WireRect { x: 1, y: 2, width: 3, height: 4 };
        let place = CursorPlace { scanout: 1, x: 2, y: 3 };
        let cases: [(u32, &[u32], Command<'_>); 11] = [
            (cmd::GET_DISPLAY_INFO, &[], Command::GetDisplayInfo),
            (cmd::GET_EDID, &[5, 0], Command::GetEdid { scanout: 5 }),
            (
                cmd::RESOURCE_CREATE_2D,
                &[7, 2, 64, 32],
                Command::ResourceCreate2d { resource: 7, format: 2, width: 64, height: 32 },
            ),
            (cmd::RESOURCE_UNREF, &[7, 0], Command::ResourceUnref { resource: 7 }),
            (cmd::SET_SCANOUT, &[1, 2, 3, 4, 5, 6], Command::SetScanout { rect, scanout: 5, resource: 6 }),
            (cmd::RESOURCE_FLUSH, &[1, 2, 3, 4, 5, 0], Command::ResourceFlush { rect, resource: 5 }),
            (
                cmd::TRANSFER_TO_HOST_2D,
                &[1, 2, 3, 4, 5, 6, 7, 0],
                Command::TransferToHost2d { rect, offset: 5 | 6 << 32, resource: 7 },
            ),
            (cmd::RESOURCE_DETACH_BACKING, &[7, 0], Command::ResourceDetachBacking { resource: 7 }),
            (cmd::RESOURCE_ASSIGN_UUID, &[7, 0], Command::ResourceAssignUuid { resource: 7 }),
            (
                cmd::UPDATE_CURSOR,
                &[1, 2, 3, 0, 4, 5, 6, 0],
                Command::UpdateCursor { place, resource: 4, hot_x: 5, hot_y: 6 },
            ),
            (cmd::MOVE_CURSOR, &[1, 2, 3, 0, 0, 0, 0, 0], Command::MoveCursor { place }),
        ];
        for (kind, words, expected) in cases {
            let queue = if kind >= cmd::UPDATE_CURSOR { QueueKind::Cursor } else { QueueKind::Control };
            let bytes = request(kind, words);
            assert_eq!(decode(&bytes, queue, ALL), Ok(expected));
            let needed = if words.is_empty() { bytes.len() } else { HEADER };
            assert_eq!(decode(&bytes[..needed - 1], queue, ALL), Err(Refusal::Short), "{kind:#x} cut");
        }
    }

    #[test]
    fn backing_entries_are_counted_before_they_are_believed() {
        let bytes = request(cmd::RESOURCE_ATTACH_BACKING, &[9, 2, 0x1000, 1, 4096, 0, 0x2000, 0, 64, 0]);
        let Ok(Command::ResourceAttachBacking { resource: 9, entries }) = decode(&bytes, QueueKind::Control, ALL)
        else {
            panic!("not decoded");
        };
        let list: Vec<_> = entries.iter().collect();
        assert_eq!(list[0], MemEntry { address: 0x1_0000_1000, length: 4096 });
        assert_eq!(list[1], MemEntry { address: 0x2000, length: 64 });
        for count in [0, MAX_BACKING_ENTRIES + 1, u32::MAX] {
            let bytes = request(cmd::RESOURCE_ATTACH_BACKING, &[9, count, 0, 0, 0, 0]);
            assert_eq!(decode(&bytes, QueueKind::Control, ALL), Err(Refusal::EntryCount));
        }
        let bytes = request(cmd::RESOURCE_ATTACH_BACKING, &[9, 3, 0, 0, 0, 0]);
        assert_eq!(decode(&bytes, QueueKind::Control, ALL), Err(Refusal::Short));
    }

    #[test]
    fn what_was_not_negotiated_is_refused_however_well_formed() {
        let words = [1; 32];
        for kind in (cmd::GET_CAPSET_INFO..=cmd::SET_SCANOUT_BLOB).chain(cmd::CTX_CREATE..=cmd::RESOURCE_UNMAP_BLOB) {
            let bytes = request(kind, &words);
            assert_eq!(decode(&bytes, QueueKind::Control, 0), Err(Refusal::NotNegotiated), "{kind:#x}");
        }
        let bytes = request(cmd::UPDATE_CURSOR, &words);
        assert_eq!(decode(&bytes, QueueKind::Control, ALL), Err(Refusal::WrongQueue));
        assert_eq!(decode(&request(0x1ff, &words), QueueKind::Control, ALL), Err(Refusal::Unknown));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400), features: u64) {
            for queue in [QueueKind::Control, QueueKind::Cursor] {
                if let Ok(Command::ResourceAttachBacking { entries, .. }) = decode(&bytes, queue, features) {
                    prop_assert_eq!(entries.iter().count(), entries.count());
                }
            }
        }

        #[test]
        fn known_commands_with_arbitrary_bodies_never_panic(
            kind in prop_oneof![0x0ffu32..0x110, 0x1ffu32..0x20b, 0x2ffu32..0x303],
            body in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let mut bytes = request(kind, &[]);
            bytes.extend(body);
            let _ = decode(&bytes, QueueKind::Control, ALL);
            let _ = decode(&bytes, QueueKind::Cursor, ALL);
        }
    }
}
