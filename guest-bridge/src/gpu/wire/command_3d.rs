//! Requests of 3D and of blob resources (virtio 1.3, 5.7.6.8 and 5.7.6.10): bytes → [`Command3d`]. Pure, like its
//! sibling.

use super::reader::{MemEntries, Reader, Refusal, WireRect};
use super::{MAX_BACKING_ENTRIES, cmd, feature};
use crate::renderer::limits::MAX_NAME;
use crate::renderer::wire::{Box3d, Create3d, Transfer3d};

/// A well-formed command of 3D or blobs. Ids and sizes are still only the guest's words; the context is in the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the specification's names")]
pub enum Command3d<'a> {
    GetCapsetInfo { index: u32 },
    GetCapset { id: u32, version: u32 },
    ContextCreate { flags: u32, name: &'a [u8] },
    ContextDestroy,
    ContextAttachResource { resource: u32 },
    ContextDetachResource { resource: u32 },
    ResourceCreate3d { resource: u32, what: Create3d },
    TransferToHost3d { resource: u32, transfer: Transfer3d },
    TransferFromHost3d { resource: u32, transfer: Transfer3d },
    Submit3d { commands: Commands<'a> },
    ResourceCreateBlob { resource: u32, blob: CreateBlob, entries: MemEntries<'a> },
    SetScanoutBlob { scanout: u32, resource: u32, rect: WireRect, image: BlobImage },
    ResourceMapBlob { resource: u32, offset: u64 },
    ResourceUnmapBlob { resource: u32 },
}

/// The command stream of SUBMIT_3D, as long as was announced.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Commands<'a>(pub &'a [u8]);

impl std::fmt::Debug for Commands<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

/// `virtio_gpu_resource_create_blob` without its resource and entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CreateBlob {
    /// `VIRTIO_GPU_BLOB_MEM_*`.
    pub memory: u32,
    /// `VIRTIO_GPU_BLOB_FLAG_*`.
    pub flags: u32,
    /// The context's own name of the allocation.
    pub blob: u64,
    /// Bytes.
    pub size: u64,
}

/// How pixels lie in a blob: the fields of `virtio_gpu_set_scanout_blob` for the first plane (all 2D formats have one).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BlobImage {
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// `virtio_gpu_formats`.
    pub format: u32,
    /// Bytes per row.
    pub stride: u32,
    /// Where the first row begins, bytes.
    pub offset: u32,
}

/// The feature that a command needs; `None` if it is not one of this file's.
fn needs(kind: u32) -> Option<u64> {
    match kind {
        cmd::GET_CAPSET_INFO | cmd::GET_CAPSET | cmd::CTX_CREATE..=cmd::SUBMIT_3D => Some(feature::VIRGL),
        cmd::RESOURCE_CREATE_BLOB | cmd::SET_SCANOUT_BLOB | cmd::RESOURCE_MAP_BLOB | cmd::RESOURCE_UNMAP_BLOB => {
            Some(feature::RESOURCE_BLOB)
        }
        _ => None,
    }
}

/// Decodes the body of a command.
pub fn decode(kind: u32, mut at: Reader<'_>, features: u64) -> Result<Command3d<'_>, Refusal> {
    if features & needs(kind).ok_or(Refusal::Unknown)? == 0 {
        return Err(Refusal::NotNegotiated);
    }
    let command = match kind {
        cmd::GET_CAPSET_INFO => at.u32().map(|index| Command3d::GetCapsetInfo { index }),
        cmd::GET_CAPSET => at.capset(),
        cmd::CTX_CREATE => at.context_create(),
        cmd::CTX_DESTROY => Some(Command3d::ContextDestroy),
        cmd::CTX_ATTACH_RESOURCE => at.u32().map(|resource| Command3d::ContextAttachResource { resource }),
        cmd::CTX_DETACH_RESOURCE => at.u32().map(|resource| Command3d::ContextDetachResource { resource }),
        cmd::RESOURCE_CREATE_3D => at.create_3d(),
        cmd::TRANSFER_TO_HOST_3D => {
            at.transfer_3d().map(|(resource, transfer)| Command3d::TransferToHost3d { resource, transfer })
        }
        cmd::TRANSFER_FROM_HOST_3D => {
            at.transfer_3d().map(|(resource, transfer)| Command3d::TransferFromHost3d { resource, transfer })
        }
        cmd::SUBMIT_3D => at.submit(),
        cmd::RESOURCE_CREATE_BLOB => return at.create_blob(),
        cmd::SET_SCANOUT_BLOB => at.set_scanout_blob(),
        cmd::RESOURCE_MAP_BLOB => at.map_blob(),
        cmd::RESOURCE_UNMAP_BLOB => at.u32().map(|resource| Command3d::ResourceUnmapBlob { resource }),
        _ => return Err(Refusal::Unknown),
    };
    command.ok_or(Refusal::Short)
}

impl<'a> Reader<'a> {
    fn capset(&mut self) -> Option<Command3d<'a>> {
        Some(Command3d::GetCapset { id: self.u32()?, version: self.u32()? })
    }

    fn context_create(&mut self) -> Option<Command3d<'a>> {
        let (length, flags) = (self.u32()? as usize, self.u32()?);
        let name = self.take(MAX_NAME)?;
        // A name that is said to be longer than its field is as long as the field.
        Some(Command3d::ContextCreate { flags, name: name.get(..length).unwrap_or(name) })
    }

    fn create_3d(&mut self) -> Option<Command3d<'a>> {
        let resource = self.u32()?;
        let what = Create3d {
            target: self.u32()?,
            format: self.u32()?,
            bind: self.u32()?,
            width: self.u32()?,
            height: self.u32()?,
            depth: self.u32()?,
            array_size: self.u32()?,
            last_level: self.u32()?,
            samples: self.u32()?,
            flags: self.u32()?,
        };
        Some(Command3d::ResourceCreate3d { resource, what })
    }

    fn transfer_3d(&mut self) -> Option<(u32, Transfer3d)> {
        let region = Box3d {
            x: self.u32()?,
            y: self.u32()?,
            z: self.u32()?,
            width: self.u32()?,
            height: self.u32()?,
            depth: self.u32()?,
        };
        let (offset, resource) = (self.u64()?, self.u32()?);
        let (level, stride, layer_stride) = (self.u32()?, self.u32()?, self.u32()?);
        Some((resource, Transfer3d { context: 0, region, offset, level, stride, layer_stride }))
    }

    fn submit(&mut self) -> Option<Command3d<'a>> {
        let size = self.u32()? as usize;
        self.take(4)?;
        Some(Command3d::Submit3d { commands: Commands(self.take(size)?) })
    }

    fn create_blob(&mut self) -> Result<Command3d<'a>, Refusal> {
        let mut fields = || {
            let (resource, memory, flags, count) = (self.u32()?, self.u32()?, self.u32()?, self.u32()?);
            Some((resource, count, CreateBlob { memory, flags, blob: self.u64()?, size: self.u64()? }))
        };
        let (resource, count, blob) = fields().ok_or(Refusal::Short)?;
        if count > MAX_BACKING_ENTRIES {
            return Err(Refusal::EntryCount);
        }
        let entries = self.entries(count).ok_or(Refusal::Short)?;
        Ok(Command3d::ResourceCreateBlob { resource, blob, entries })
    }

    fn set_scanout_blob(&mut self) -> Option<Command3d<'a>> {
        let rect = self.rect()?;
        let (scanout, resource) = (self.u32()?, self.u32()?);
        let (width, height, format) = (self.u32()?, self.u32()?, self.u32()?);
        self.take(4)?;
        let stride = self.u32()?;
        self.take(12)?;
        let offset = self.u32()?;
        self.take(12)?;
        let image = BlobImage { width, height, format, stride, offset };
        Some(Command3d::SetScanoutBlob { scanout, resource, rect, image })
    }

    fn map_blob(&mut self) -> Option<Command3d<'a>> {
        let resource = self.u32()?;
        self.take(4)?;
        Some(Command3d::ResourceMapBlob { resource, offset: self.u64()? })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Command, HEADER, QueueKind, decode};
    use super::*;
    use proptest::prelude::*;

    const ALL: u64 = feature::VIRGL | feature::RESOURCE_BLOB;

    fn request(kind: u32, words: &[u32]) -> Vec<u8> {
        let header = [kind, 0, 0, 0, 0, 0];
        header.iter().chain(words).flat_map(|word| word.to_le_bytes()).collect()
    }

    #[test]
    fn every_command_is_decoded_with_its_fields_in_their_places() {
        let what = Create3d {
            target: 2,
            format: 3,
            bind: 4,
            width: 5,
            height: 6,
            depth: 7,
            array_size: 8,
            last_level: 9,
            samples: 10,
            flags: 11,
        };
        let region = Box3d { x: 1, y: 2, z: 3, width: 4, height: 5, depth: 6 };
        let transfer = Transfer3d { context: 0, region, offset: 7 | 8 << 32, level: 10, stride: 11, layer_stride: 12 };
        let moved = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
        let rect = WireRect { x: 1, y: 2, width: 3, height: 4 };
        let image = BlobImage { width: 7, height: 8, format: 9, stride: 11, offset: 15 };
        let cases: [(u32, &[u32], Command3d<'_>); 12] = [
            (cmd::GET_CAPSET_INFO, &[1, 0], Command3d::GetCapsetInfo { index: 1 }),
            (cmd::GET_CAPSET, &[2, 1], Command3d::GetCapset { id: 2, version: 1 }),
            (cmd::CTX_DESTROY, &[], Command3d::ContextDestroy),
            (cmd::CTX_ATTACH_RESOURCE, &[5, 0], Command3d::ContextAttachResource { resource: 5 }),
            (cmd::CTX_DETACH_RESOURCE, &[5, 0], Command3d::ContextDetachResource { resource: 5 }),
            (
                cmd::RESOURCE_CREATE_3D,
                &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 0],
                Command3d::ResourceCreate3d { resource: 1, what },
            ),
            (cmd::TRANSFER_TO_HOST_3D, &moved, Command3d::TransferToHost3d { resource: 9, transfer }),
            (cmd::TRANSFER_FROM_HOST_3D, &moved, Command3d::TransferFromHost3d { resource: 9, transfer }),
            (cmd::SUBMIT_3D, &[4, 0, 0x0403_0201], Command3d::Submit3d { commands: Commands(&[1, 2, 3, 4]) }),
            (
                cmd::SET_SCANOUT_BLOB,
                &[1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 11, 12, 13, 14, 15, 16, 17, 18],
                Command3d::SetScanoutBlob { scanout: 5, resource: 6, rect, image },
            ),
            (cmd::RESOURCE_MAP_BLOB, &[3, 0, 1, 2], Command3d::ResourceMapBlob { resource: 3, offset: 1 | 2 << 32 }),
            (cmd::RESOURCE_UNMAP_BLOB, &[3, 0], Command3d::ResourceUnmapBlob { resource: 3 }),
        ];
        for (kind, words, expected) in cases {
            let bytes = request(kind, words);
            assert_eq!(decode(&bytes, QueueKind::Control, ALL), Ok(Command::ThreeD(expected)), "{kind:#x}");
            if !words.is_empty() {
                assert_eq!(decode(&bytes[..HEADER + 3], QueueKind::Control, ALL), Err(Refusal::Short), "{kind:#x} cut");
            }
        }
    }

    #[test]
    fn a_submit_is_as_long_as_its_bytes_and_not_as_its_claim() {
        for claim in [5, u32::MAX, u32::MAX - 3] {
            let bytes = request(cmd::SUBMIT_3D, &[claim, 0, 7]);
            assert_eq!(decode(&bytes, QueueKind::Control, ALL), Err(Refusal::Short));
        }
    }

    #[test]
    fn a_name_ends_where_its_field_ends() {
        for (length, expected) in [(0, 0), (3, 3), (64, 64), (65, 64), (u32::MAX, 64)] {
            let mut bytes = request(cmd::CTX_CREATE, &[length, 4]);
            bytes.extend([b'x'; 64]);
            let decoded = decode(&bytes, QueueKind::Control, ALL);
            let Ok(Command::ThreeD(Command3d::ContextCreate { flags: 4, name })) = decoded else {
                panic!("{decoded:?}")
            };
            assert_eq!(name.len(), expected);
        }
    }

    #[test]
    fn blobs_have_no_more_entries_than_they_bring() {
        let fields = [1, 2, 3, 1, 5, 0, 4096, 0];
        let mut bytes = request(cmd::RESOURCE_CREATE_BLOB, &fields);
        assert_eq!(decode(&bytes, QueueKind::Control, ALL), Err(Refusal::Short));
        bytes.extend([0; 16]);
        let blob = CreateBlob { memory: 2, flags: 3, blob: 5, size: 4096 };
        let decoded = decode(&bytes, QueueKind::Control, ALL);
        let Ok(Command::ThreeD(Command3d::ResourceCreateBlob { resource: 1, blob: found, entries })) = decoded else {
            panic!("{decoded:?}");
        };
        assert_eq!((found, entries.count()), (blob, 1));
        let many = request(cmd::RESOURCE_CREATE_BLOB, &[1, 2, 3, u32::MAX, 5, 0, 4096, 0]);
        assert_eq!(decode(&many, QueueKind::Control, ALL), Err(Refusal::EntryCount));
    }

    #[test]
    fn each_needs_its_feature() {
        let words = [1; 32];
        for kind in (cmd::GET_CAPSET_INFO..=cmd::SET_SCANOUT_BLOB).chain(cmd::CTX_CREATE..=cmd::RESOURCE_UNMAP_BLOB) {
            let Some(needed) = needs(kind) else { continue };
            let bytes = request(kind, &words);
            assert_eq!(decode(&bytes, QueueKind::Control, ALL & !needed), Err(Refusal::NotNegotiated), "{kind:#x}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bodies_never_panic(
            kind in prop_oneof![0x108u32..0x10e, 0x200u32..0x20a],
            body in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let mut bytes = request(kind, &[]);
            bytes.extend(body);
            let _ = decode(&bytes, QueueKind::Control, ALL);
        }
    }
}
