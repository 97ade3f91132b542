//! A blob resource of guest memory: pages of the guest's own that hold whatever the guest says, and the pictures that
//! it shows of them.
//!
//! Where /dev/udmabuf takes the pages, a picture is a dmabuf of just these, and nothing is ever copied. Elsewhere it is
//! memory of ours, into which what the guest flushes is copied. Sizes, offsets and strides come from the guest and are
//! checked here.

use super::backing::Backing;
use super::class::Class;
use super::formats::{BYTES_PER_PIXEL, Format};
use super::host_image::{HostImage, Layout, next_buffer_id};
use super::memory::Memory;
use super::quota::{Quota, Usage};
use super::udmabuf::{self, PAGE};
use super::wire::{BlobImage, CreateBlob};
use crate::frames::{Dmabuf, Rect, SharedBuffer};
use crate::renderer::limits::{MAX_BLOB, MAX_SIDE, blob as kinds};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// Most pictures that are kept of one blob besides those that are shown.
const MAX_PICTURES: usize = 4;
/// Most bytes of a picture, padding included.
const MAX_POOL: u64 = 1 << 30;

/// Whether a blob's numbers make sense, whatever its memory.
pub fn check(blob: &CreateBlob) -> Result<(), Class> {
    if !(kinds::GUEST..=kinds::HOST3D_GUEST).contains(&blob.memory) || blob.flags & !kinds::FLAGS != 0 {
        return Err(Class::BlobKind);
    }
    let whole_pages = blob.memory == kinds::GUEST || blob.size.is_multiple_of(PAGE);
    if blob.size == 0 || blob.size > MAX_BLOB || !whole_pages { Err(Class::BlobSize) } else { Ok(()) }
}

/// How pixels lie in a blob; inside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Image {
    width: u32,
    height: u32,
    format: Format,
    stride: u32,
    offset: u32,
}

impl Image {
    /// The guest's numbers, if they are a picture that lies inside `size` bytes.
    pub fn new(image: &BlobImage, size: u64) -> Result<Self, Class> {
        let BlobImage { width, height, format, stride, offset } = *image;
        let format = Format::from_number(format).ok_or(Class::Format)?;
        if !(1..=MAX_SIDE).contains(&width) || !(1..=MAX_SIDE).contains(&height) {
            return Err(Class::BlobImage);
        }
        // Nothing overflows: sides are bounded, and the rest has 32 bits.
        let row = u64::from(width) * u64::from(BYTES_PER_PIXEL);
        let end = u64::from(offset) + u64::from(stride) * u64::from(height - 1) + row;
        let aligned = stride.is_multiple_of(BYTES_PER_PIXEL) && offset.is_multiple_of(BYTES_PER_PIXEL);
        // More than this no compositor takes, and the shell ends a connection that tries.
        let taken = u64::from(stride) * u64::from(height) <= MAX_POOL && offset.checked_add(stride).is_some();
        if u64::from(stride) < row || end > size || !aligned || !taken {
            return Err(Class::BlobImage);
        }
        Ok(Self { width, height, format, stride, offset })
    }

    /// A buffer of these pixels.
    pub fn buffer(&self, memfd: Option<OwnedFd>, dmabuf: Option<Dmabuf>) -> SharedBuffer {
        let Self { width, height, format, stride, .. } = *self;
        let (id, fourcc) = (next_buffer_id(), format.fourcc());
        SharedBuffer { id, memfd, dmabuf, width, height, stride, fourcc, replaceable: false }
    }

    /// Where its first pixel is, bytes.
    pub fn offset(&self) -> u32 {
        self.offset
    }

    /// Bytes per row.
    pub fn stride(&self) -> u32 {
        self.stride
    }

    /// Where its last row ends, padding included, bytes: what compositors want of a buffer.
    pub fn end(&self) -> u64 {
        u64::from(self.offset) + u64::from(self.stride) * u64::from(self.height)
    }

    /// Whether a rectangle lies inside; an empty one does where its corner does.
    pub fn contains(&self, rect: &Rect) -> bool {
        let within = |at: u32, length: u32, side: u32| at.checked_add(length).is_some_and(|end| end <= side);
        within(rect.x, rect.width, self.width) && within(rect.y, rect.height, self.height)
    }

    /// Bytes from its first pixel to behind its last.
    #[cfg(test)]
    fn bytes(&self) -> u64 {
        u64::from(self.stride) * u64::from(self.height.saturating_sub(1))
            + u64::from(self.width) * u64::from(BYTES_PER_PIXEL)
    }
}

/// A picture of a blob, as the screen gets it.
#[derive(Debug)]
struct BlobPicture {
    image: Image,
    buffer: Arc<SharedBuffer>,
    /// Memory of ours, where there is no dmabuf of the guest's.
    copy: Option<HostImage>,
    /// It was not shown, so the guest may have drawn without a flush that was copied.
    stale: bool,
}

/// A blob of guest memory.
#[derive(Debug)]
pub struct GuestBlob {
    /// Bytes.
    pub size: u64,
    /// Its pages, unless the guest has taken them away.
    pub backing: Option<Backing>,
    pictures: Vec<BlobPicture>,
}

impl GuestBlob {
    /// A blob of these pages, which hold at least its size.
    pub fn new(size: u64, backing: Backing) -> Result<Self, Class> {
        if backing.length() < size {
            return Err(Class::BlobSize);
        }
        Ok(Self { size, backing: Some(backing), pictures: Vec::new() })
    }

    /// The buffer with which the screen shows `image`, made when it is first shown. Pictures whose buffers are not
    /// among `shown` make room.
    pub fn picture(
        &mut self,
        image: &Image,
        memory: &Memory,
        udmabuf: Option<&File>,
        shown: &[u64],
        (usage, quota): (&mut Usage, &Quota),
    ) -> Result<Arc<SharedBuffer>, Class> {
        let backing = self.backing.as_mut().ok_or(Class::BackingMissing)?;
        if let Some(known) = self.pictures.iter_mut().find(|picture| picture.image == *image) {
            known.stale |= !shown.contains(&known.buffer.id);
            return Ok(known.buffer.clone());
        }
        if self.pictures.len() >= MAX_PICTURES {
            self.pictures.retain(|picture| {
                let keep = shown.contains(&picture.buffer.id);
                usage.give_memory(if keep { 0 } else { copied(picture) });
                keep
            });
        }
        let Image { width, height, format, stride, offset } = *image;
        // Whole pages; the picture begins within the first of them. The last row's padding has to be there too:
        // compositors count it.
        let before = u64::from(offset) % PAGE;
        let bytes = before + (image.end() - u64::from(offset));
        let dmabuf = udmabuf.and_then(|udmabuf| {
            let bytes = bytes.checked_next_multiple_of(PAGE)?;
            udmabuf::make_of(udmabuf, backing.parts(memory, u64::from(offset) - before, bytes)?.into_iter())
        });
        let picture = if let Some(file) = dmabuf {
            let buffer = image.buffer(None, Some(Dmabuf::linear(file, before as u32, stride)));
            BlobPicture { image: *image, buffer: Arc::new(buffer), copy: None, stale: false }
        } else {
            let layout = Layout::new(width, height).ok_or(Class::BlobImage)?;
            usage.take_memory(quota, layout.bytes).map_err(|_| Class::Quota)?;
            let made = HostImage::new(layout, format).and_then(|mut copy| Ok((copy.share(udmabuf)?, copy)));
            let (buffer, copy) = made.map_err(|_| {
                usage.give_memory(layout.bytes);
                Class::HostMemory
            })?;
            BlobPicture { image: *image, buffer, copy: Some(copy), stale: true }
        };
        let buffer = picture.buffer.clone();
        self.pictures.push(picture);
        Ok(buffer)
    }

    /// The picture that has this buffer.
    pub fn image(&self, buffer: u64) -> Option<&Image> {
        self.pictures.iter().find(|picture| picture.buffer.id == buffer).map(|picture| &picture.image)
    }

    /// The guest has drawn a part of the picture that has this buffer: bytes that were copied for it.
    pub fn flush(&mut self, memory: &Memory, buffer: u64, part: &Rect) -> Result<u64, Class> {
        let Some(picture) = self.pictures.iter_mut().find(|picture| picture.buffer.id == buffer) else { return Ok(0) };
        // The pages themselves are shown.
        let Some(copy) = &picture.copy else { return Ok(0) };
        let backing = self.backing.as_mut().ok_or(Class::BackingMissing)?;
        let Image { width, height, stride, offset, .. } = picture.image;
        let part = if picture.stale { &Rect { x: 0, y: 0, width, height } } else { part };
        let bytes = copy.copy_from(memory, backing, part, (u64::from(offset), stride))?;
        picture.stale = false;
        copy.written();
        Ok(bytes)
    }

    /// Copies the top left of the blob, rows without gaps, into `target`.
    pub fn read(&mut self, memory: &Memory, target: &HostImage) -> Result<(), Class> {
        let Layout { width, height, .. } = target.layout;
        let backing = self.backing.as_mut().ok_or(Class::BackingMissing)?;
        let whole = Rect { x: 0, y: 0, width, height };
        target.copy_from(memory, backing, &whole, (0, width * BYTES_PER_PIXEL)).map(|_| ())
    }

    /// Forgets its pictures; what their memory counted for is given back.
    pub fn forget(&mut self, usage: &mut Usage) {
        for picture in self.pictures.drain(..) {
            usage.give_memory(copied(&picture));
        }
    }
}

fn copied(picture: &BlobPicture) -> u64 {
    picture.copy.as_ref().map_or(0, |copy| copy.layout.bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const XRGB: u32 = 2;

    fn image(width: u32, height: u32, stride: u32, offset: u32) -> BlobImage {
        BlobImage { width, height, format: XRGB, stride, offset }
    }

    #[test]
    fn pictures_lie_inside_their_blob() {
        let fits = |image, size| Image::new(&image, size).is_ok();
        assert!(fits(image(64, 32, 256, 0), 256 * 32) && fits(image(64, 32, 256, 4096), 4096 + 256 * 32));
        assert!(fits(image(60, 32, 256, 0), 256 * 31 + 240), "the last row's padding need not be there");
        for (image, size) in [
            (image(0, 32, 256, 0), 1 << 20),
            (image(64, 0, 256, 0), 1 << 20),
            (image(64, 32, 255, 0), 1 << 20),
            (image(64, 32, 258, 0), 1 << 20),
            (image(64, 32, 256, 2), 1 << 20),
            (image(64, 32, 256, 0), 256 * 32 - 1),
            (image(64, 32, 256, 4), 256 * 32),
            (image(64, 32, !3, 0), 1 << 20),
            (image(64, 32, 256, !3), 1 << 20),
            (image(16385, 1, 65540, 0), 1 << 20),
            (image(4, 16384, 65540, 0), 1 << 40),
            (image(4, 1, 1 << 31, 1 << 31), 1 << 40),
            (image(u32::MAX, u32::MAX, u32::MAX, u32::MAX), u64::MAX),
        ] {
            assert_eq!(Image::new(&image, size), Err(Class::BlobImage), "{image:?} in {size}");
        }
        assert_eq!(Image::new(&BlobImage { format: 3, ..image(64, 32, 256, 0) }, 1 << 20).map(|i| i.offset), Ok(0));
        assert_eq!(Image::new(&BlobImage { format: 5, ..image(64, 32, 256, 0) }, 1 << 20), Err(Class::Format));
    }

    #[test]
    fn kinds_and_sizes_are_bounded() {
        let blob = |memory, flags, size| check(&CreateBlob { memory, flags, blob: 0, size });
        assert_eq!(blob(kinds::GUEST, 7, 1), Ok(()));
        assert_eq!(blob(kinds::HOST3D, 1, 4096), Ok(()));
        for (memory, flags) in [(0, 0), (4, 0), (u32::MAX, 0), (1, 8), (1, u32::MAX)] {
            assert_eq!(blob(memory, flags, 4096), Err(Class::BlobKind), "{memory} {flags}");
        }
        for (memory, size) in [(1, 0), (1, u64::MAX), (1, (8 << 30) + 1), (2, 4095), (3, 4097)] {
            assert_eq!(blob(memory, 0, size), Err(Class::BlobSize), "{memory} {size}");
        }
    }

    proptest! {
        #[test]
        fn no_number_panics(width: u32, height: u32, stride: u32, offset: u32, size: u64, x: u32, w: u32) {
            for stride in [stride, width.saturating_mul(4)] {
                if let Ok(image) = Image::new(&image(width % 20000, height % 20000, stride, offset), size) {
                    prop_assert!(u64::from(offset) + image.bytes() <= size);
                    let _ = image.contains(&Rect { x, y: x, width: w, height: w });
                }
            }
        }
    }
}
