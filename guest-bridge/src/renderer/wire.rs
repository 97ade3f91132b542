//! What phyllome-guest and its renderer say to one another: types and their bytes. The numbers are in
//! [`limits`](super::limits).
//!
//! The connection is a `SOCK_SEQPACKET` socket pair. A packet has at most [`MAX_PACKET`] bytes: one message after
//! another, each encoded by postcard; a message that carries descriptors is alone in its packet. The renderer first
//! says its capsets and [`Event::Ready`]; from then on it answers each [`Request`] but [`Request::Part`],
//! [`Request::Fence`], [`Request::Follow`] and [`Request::DropTarget`] with exactly one [`Event::Done`],
//! [`Event::Exported`] or [`Event::Mapped`], in the order of the requests; [`Event::Fenced`] comes whenever a fence has
//! signalled. Only bytes are decoded here. Whether numbers make sense is checked by phyllome-guest before it sends
//! them, and again by the renderer; phyllome-guest believes no event of a renderer, which a guest may have taken over:
//! `session` ends it for what it must not say.

use super::limits::MAX_PACKET;
use serde::{Deserialize, Serialize, Serializer};

/// The number of the renderer's end of the connection when it starts; phyllome-guest opens nothing else for it but 0 to
/// 2.
pub const SOCKET: i32 = 3;

/// A region of guest memory; its file is the descriptor of the same index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Region {
    /// Guest physical address, bytes.
    pub address: u64,
    /// Bytes.
    pub length: u64,
    /// Where it begins in its file, bytes.
    pub offset: u64,
}

/// A piece of guest memory: `virtio_gpu_mem_entry`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    /// Guest physical address, bytes.
    pub address: u64,
    /// Bytes.
    pub length: u32,
}

impl Piece {
    /// Bytes of an encoded piece in a bulk: address and length, little-endian, and 4 bytes of nothing.
    pub const BYTES: usize = 16;

    /// As bulk.
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        let (address, rest) = bytes.split_at_mut(8);
        address.copy_from_slice(&self.address.to_le_bytes());
        let (length, _) = rest.split_at_mut(4);
        length.copy_from_slice(&self.length.to_le_bytes());
        bytes
    }

    /// The pieces of a bulk; `None` if it does not hold whole ones.
    pub fn list(bulk: &[u8]) -> Option<impl ExactSizeIterator<Item = Self>> {
        let (pieces, rest) = bulk.as_chunks::<{ Self::BYTES }>();
        rest.is_empty().then(|| {
            pieces.iter().map(|[a, b, c, d, e, f, g, h, i, j, k, l, ..]| Self {
                address: u64::from_le_bytes([*a, *b, *c, *d, *e, *f, *g, *h]),
                length: u32::from_le_bytes([*i, *j, *k, *l]),
            })
        })
    }
}

/// `virtio_gpu_box`: a part of a 3D resource, in texels (bytes of buffers).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the specification's names")]
pub struct Box3d {
    pub x: u32,
    pub y: u32,
    pub z: u32,
    pub width: u32,
    pub height: u32,
    pub depth: u32,
}

/// `virtio_gpu_resource_create_3d` without its id (virtio 1.3, 5.7.6.8; numbers are virgl's and gallium's).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the specification's names")]
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

/// `virtio_gpu_transfer_host_3d` without its resource.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the specification's names")]
pub struct Transfer3d {
    pub context: u32,
    pub region: Box3d,
    pub offset: u64,
    pub level: u32,
    pub stride: u32,
    pub layer_stride: u32,
}

/// A rectangle of pixels to be read back, and where to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct ReadBack {
    pub x: u32,
    pub y: u32,
    pub width: u32,
    pub height: u32,
    /// Bytes per row of the target.
    pub stride: u32,
    /// Where pixel (0, 0) of the resource is in the target, bytes.
    pub offset: u64,
}

/// phyllome-guest → renderer. Descriptors go with [`Request::Memory`] (one per region), [`Request::AttachFile`] and
/// [`Request::Target`] (one each).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request<'a> {
    /// More bytes of the bulk that the next request's own bytes end. Not answered.
    Part(#[serde(serialize_with = "at_once")] &'a [u8]),
    /// Guest memory is now this; whatever used the old is resolved again or, if it is no longer there, detached.
    Memory(Vec<Region>),
    /// CTX_CREATE; `flags` is `context_init` (the capset's id in its low 8 bits, 0 for virgl).
    CreateContext {
        /// Its id, not 0.
        context: u32,
        /// `context_init`.
        flags: u32,
        /// At most [`MAX_NAME`](super::limits::MAX_NAME) bytes.
        #[serde(serialize_with = "at_once")]
        name: &'a [u8],
    },
    /// CTX_DESTROY.
    DestroyContext(u32),
    /// CTX_ATTACH_RESOURCE (`true`) or CTX_DETACH_RESOURCE.
    ContextResource {
        /// The context.
        context: u32,
        /// The resource.
        resource: u32,
        /// Attach, else detach.
        attach: bool,
    },
    /// RESOURCE_CREATE_3D.
    Create {
        /// Its id, not 0 and not in use.
        resource: u32,
        /// What it is.
        what: Create3d,
    },
    /// RESOURCE_ATTACH_BACKING: the bulk is a list of [`Piece`]s.
    Attach {
        /// The resource.
        resource: u32,
        /// The last bytes of the list.
        #[serde(serialize_with = "at_once")]
        pieces: &'a [u8],
    },
    /// The backing of a resource is a file of phyllome-guest's (a classic 2D resource that a 3D context uses).
    AttachFile {
        /// The resource.
        resource: u32,
        /// Bytes of the file that are used, from its beginning.
        length: u64,
    },
    /// RESOURCE_DETACH_BACKING.
    Detach(u32),
    /// RESOURCE_UNREF.
    Unref(u32),
    /// SUBMIT_3D: the bulk is the context's command stream, whole 32-bit words.
    Submit {
        /// The context.
        context: u32,
        /// The last bytes of the stream.
        #[serde(serialize_with = "at_once")]
        commands: &'a [u8],
    },
    /// TRANSFER_TO_HOST_3D.
    TransferTo {
        /// The resource.
        resource: u32,
        /// Which part, and from where.
        transfer: Transfer3d,
    },
    /// TRANSFER_FROM_HOST_3D.
    TransferFrom {
        /// The resource.
        resource: u32,
        /// Which part, and to where.
        transfer: Transfer3d,
    },
    /// [`Event::Fenced`] is to come once everything before this is done. Not answered otherwise, even if it fails (then
    /// it comes at once).
    Fence {
        /// The context, 0 for all.
        context: u32,
        /// The context's timeline, if `VIRTIO_GPU_FLAG_INFO_RING_IDX` was set.
        ring: Option<u8>,
        /// Comes back; counts up.
        fence: u64,
    },
    /// The same for what is done once it is answered: [`Event::Fenced`] is to come as soon as it has for all fences
    /// before this on the same timeline, which is at once if it has. (The timelines of virgl's contexts are those of
    /// context 0.)
    Follow {
        /// The context, 0 for all.
        context: u32,
        /// The context's timeline, if `VIRTIO_GPU_FLAG_INFO_RING_IDX` was set.
        ring: Option<u8>,
        /// Comes back; counts up.
        fence: u64,
    },
    /// Make the resource's pixels into dmabufs: [`Event::Exported`], or [`Event::Done`] with a refusal.
    Export(u32),
    /// Memory of phyllome-guest's that pixels are read back into; `length` bytes from its file's beginning.
    Target {
        /// Its id, not in use.
        target: u32,
        /// Bytes.
        length: u64,
    },
    /// A target that is not used any more. Not answered.
    DropTarget(u32),
    /// Copy pixels of level 0 of a resource into a target, top row first.
    ReadBack {
        /// The resource.
        resource: u32,
        /// The target.
        target: u32,
        /// Which, and where to.
        part: ReadBack,
    },
    /// RESOURCE_CREATE_BLOB: the bulk is a list of [`Piece`]s, empty for host memory alone.
    CreateBlob {
        /// Its id, not 0 and not in use.
        resource: u32,
        /// The context, 0 for guest memory alone.
        context: u32,
        /// `VIRTIO_GPU_BLOB_MEM_*`.
        memory: u32,
        /// `VIRTIO_GPU_BLOB_FLAG_*`.
        flags: u32,
        /// The context's own name of the allocation.
        blob: u64,
        /// Bytes.
        size: u64,
        /// The last bytes of the list.
        #[serde(serialize_with = "at_once")]
        pieces: &'a [u8],
    },
    /// Give out the memory of a host blob, so that the guest can map it: [`Event::Mapped`], or [`Event::Done`] with a
    /// refusal.
    Map(u32),
    /// Destroy every context and resource: the guest's driver starts anew.
    Reset,
}

impl Request<'_> {
    /// How many descriptors go with it.
    pub fn descriptors(&self) -> usize {
        match self {
            Self::Memory(regions) => regions.len(),
            Self::AttachFile { .. } | Self::Target { .. } => 1,
            Self::Part(_)
            | Self::CreateContext { .. }
            | Self::DestroyContext(_)
            | Self::ContextResource { .. }
            | Self::Create { .. }
            | Self::Attach { .. }
            | Self::Detach(_)
            | Self::Unref(_)
            | Self::Submit { .. }
            | Self::TransferTo { .. }
            | Self::TransferFrom { .. }
            | Self::Fence { .. }
            | Self::Follow { .. }
            | Self::Export(_)
            | Self::DropTarget(_)
            | Self::ReadBack { .. }
            | Self::CreateBlob { .. }
            | Self::Map(_)
            | Self::Reset => 0,
        }
    }
}

/// A plane of an exported picture; its descriptor is the one of the same index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plane {
    /// Where it begins, bytes.
    pub offset: u32,
    /// Bytes per row.
    pub stride: u32,
}

/// A resource as dmabufs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Export {
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// DRM fourcc.
    pub fourcc: u32,
    /// DRM format modifier.
    pub modifier: u64,
    /// The picture's first row in memory is its lowest.
    pub bottom_up: bool,
    /// 1 to [`MAX_PLANES`](super::limits::MAX_PLANES).
    pub planes: Vec<Plane>,
}

/// How a mapped blob is to be cached: `VIRTIO_GPU_MAP_CACHE_*`.
pub type MapCache = u32;

/// Renderer → phyllome-guest. Descriptors come with [`Event::Exported`] (one per plane) and [`Event::Mapped`] (one).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event<'a> {
    /// A capset that the library offers; before [`Event::Ready`] only.
    Capset {
        /// `VIRTIO_GPU_CAPSET_*`.
        id: u32,
        /// Its greatest version.
        version: u32,
        /// Its bytes at that version, at most [`MAX_CAPSET`](super::limits::MAX_CAPSET).
        #[serde(serialize_with = "at_once")]
        data: &'a [u8],
    },
    /// The renderer has started.
    Ready {
        /// What draws, for `status` and `doctor`, such as `llvmpipe (LLVM 19.1.7)`; at most
        /// [`MAX_DRIVER`](super::limits::MAX_DRIVER) bytes.
        driver: &'a str,
    },
    /// There will be no 3D: one sentence, at most [`MAX_UNABLE`](super::limits::MAX_UNABLE) bytes. The process ends
    /// after it.
    Unable(&'a str),
    /// The oldest request that is not answered is done: 0, or the errno of the refusal (positive).
    Done(i32),
    /// The answer to [`Request::Export`].
    Exported(Export),
    /// The answer to [`Request::Map`].
    Mapped {
        /// Bytes.
        size: u64,
        /// How to cache it.
        cache: MapCache,
    },
    /// A fence has signalled.
    Fenced(u64),
    /// What is not offered though it was asked for, and why: one sentence of bounded length; before [`Event::Ready`]
    /// only, and not many.
    Lacks(&'a str),
}

/// The same bytes as one after the other, in one piece.
fn at_once<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
    to.serialize_bytes(bytes)
}

/// Appends `message` to a packet; `false`, with the packet as it was, if it has no room for it.
pub fn append<T: Serialize>(packet: &mut Vec<u8>, message: &T) -> bool {
    let before = packet.len();
    let written = postcard::to_io(message, &mut *packet).is_ok();
    let fits = written && packet.len() <= MAX_PACKET;
    if !fits {
        packet.truncate(before);
    }
    fits
}

/// Takes the first message off a packet, with what follows it; `None` if the bytes are no message.
pub fn take<'a, T: Deserialize<'a>>(packet: &'a [u8]) -> Option<(T, &'a [u8])> {
    postcard::take_from_bytes(packet).ok()
}

#[cfg(test)]
mod tests {
    use super::super::limits::{MAX_CAPSET, MAX_INLINE, MAX_REGIONS};
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn messages_follow_one_another_in_a_packet() {
        let mut packet = Vec::new();
        let first = Request::Submit { context: 7, commands: &[1, 2, 3, 4] };
        let second = Request::Fence { context: 7, ring: Some(1), fence: u64::MAX };
        assert!(append(&mut packet, &first) && append(&mut packet, &second));
        let (one, rest) = take::<Request>(&packet).unwrap();
        let (two, rest) = take::<Request>(rest).unwrap();
        assert_eq!((one, two, rest.len()), (first, second, 0));
    }

    #[test]
    fn a_message_that_does_not_fit_leaves_the_packet_alone() {
        let mut packet = vec![0; MAX_PACKET - 8];
        assert!(!append(&mut packet, &Request::Part(&[0; 64])));
        assert_eq!(packet.len(), MAX_PACKET - 8);
        let mut packet = Vec::new();
        assert!(append(&mut packet, &Request::Part(&[7; MAX_INLINE])));
        let regions = vec![Region { address: u64::MAX, length: u64::MAX, offset: u64::MAX }; MAX_REGIONS];
        assert!(append(&mut Vec::new(), &Request::Memory(regions)));
        assert!(append(&mut Vec::new(), &Event::Capset { id: 1, version: 2, data: &[0; MAX_CAPSET] }));
    }

    #[test]
    fn pieces_survive_their_bytes() {
        let pieces = [Piece { address: 1 << 40, length: 4096 }, Piece { address: 3, length: u32::MAX }];
        let bytes: Vec<u8> = pieces.iter().flat_map(|piece| piece.to_bytes()).collect();
        assert_eq!(Piece::list(&bytes).unwrap().collect::<Vec<_>>(), pieces);
        assert!(Piece::list(&bytes[..17]).is_none());
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
            let _ = take::<Request>(&bytes);
            let _ = take::<Event>(&bytes);
        }
    }
}
