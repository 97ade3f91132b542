//! Guests' dmabufs that the renderer cannot import, read by the processor: mapped once, kept as long as the buffer
//! lives, and then as good as shared memory. GLES uploads what is damaged; Pixman reads the memory where it is.
//!
//! Trusts nothing that the guest says: the memory is of a kind that cannot vanish under a mapping, as large as it has
//! to be for what is read, and nothing here waits for a fence. Never writes.

use phyllome_protocol::descriptor::Description;
use smithay::backend::allocator::dmabuf::{Dmabuf, DmabufSyncFlags};
use smithay::backend::allocator::format::get_bpp;
use smithay::backend::allocator::{Buffer as _, Fourcc, Modifier};
use smithay::backend::renderer::gles::{GlesError, GlesRenderer, GlesTexture};
use smithay::backend::renderer::pixman::{PixmanError, PixmanRenderer, PixmanTexture};
use smithay::backend::renderer::{ImportMem, RendererSuper};
use smithay::reexports::wayland_server::protocol::wl_buffer::WlBuffer;
use smithay::reexports::{pixman, rustix};
use smithay::utils::{Buffer, Rectangle, Size};
use smithay::wayland::shm::{shm_format_to_fourcc, with_buffer_contents};
use std::ffi::c_void;
use std::os::fd::BorrowedFd;
use std::ptr::{NonNull, null_mut};
use std::rc::Rc;

/// Formats that the processor reads.
pub const READABLE: [Fourcc; 4] = [Fourcc::Xrgb8888, Fourcc::Argb8888, Fourcc::Xbgr8888, Fourcc::Abgr8888];
/// Widest row of a mapped picture, padding included, in pixels.
const MAX_ROW: u32 = 16384;

/// A dmabuf's pixels in this process. They change whenever the guest likes.
#[derive(Debug)]
pub struct Mapping {
    dmabuf: Dmabuf,
    /// Fences and caches are to be thought of.
    is_dmabuf: bool,
    start: NonNull<c_void>,
    length: usize,
    offset: usize,
    stride: u32,
    size: Size<i32, Buffer>,
    format: Fourcc,
}

impl Mapping {
    /// Maps `dmabuf`, which was found to be `memory`. The error says why it cannot be read.
    pub fn new(dmabuf: &Dmabuf, memory: &Description) -> Result<Self, String> {
        let (Some(fd), Some(stride), Some(offset)) =
            (dmabuf.handles().next(), dmabuf.strides().next(), dmabuf.offsets().next())
        else {
            return Err("it has no plane".into());
        };
        if !memory.is_steady() {
            return Err(format!("{memory} cannot be read by the processor without risk"));
        }
        let format = dmabuf.format();
        if format.modifier != Modifier::Linear || dmabuf.num_planes() != 1 {
            return Err(format!("pixels laid out as {:?} cannot be read by the processor", format.modifier));
        }
        if !READABLE.contains(&format.code) {
            return Err(format!("{} cannot be read by the processor", format.code));
        }
        let size = dmabuf.size();
        if stride % 4 != 0 || offset % 4 != 0 || stride / 4 > MAX_ROW || i64::from(stride / 4) < i64::from(size.w) {
            return Err(format!("rows of {stride} bytes from byte {offset} on cannot be read by the processor"));
        }
        let end = u64::from(offset) + u64::from(stride) * u64::from(dmabuf.height());
        let length = usize::try_from(end).ok().filter(|_| end <= memory.bytes && size.w > 0 && size.h > 0);
        let length = length.ok_or_else(|| format!("it needs {end} bytes and has {}", memory.bytes))?;
        let start = map(fd, length)?;
        Ok(Self {
            dmabuf: dmabuf.clone(),
            is_dmabuf: memory.is_dmabuf(),
            start,
            length,
            offset: offset as usize,
            stride,
            size,
            format: format.code,
        })
    }

    /// The size of the picture, in pixels.
    pub fn size(&self) -> Size<i32, Buffer> {
        self.size
    }

    /// Whether its memory is a dmabuf, which a display may read too.
    pub fn is_dmabuf(&self) -> bool {
        self.is_dmabuf
    }

    /// Bytes from one row to the next.
    pub fn stride(&self) -> u32 {
        self.stride
    }

    /// How its pixels are laid out.
    pub fn format(&self) -> Fourcc {
        self.format
    }

    /// Whether its pixels are laid out as a cursor plane's are.
    pub fn is_argb(&self) -> bool {
        self.format == Fourcc::Argb8888
    }

    /// The bytes of all rows with their padding, for as long as a renderer copies from them.
    ///
    /// The other side may write at any time: nothing may follow from what is read twice. smithay treats shared memory
    /// in the same way.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: `start` is a live mapping of `length` bytes that goes when `self` does; `new` checked that `offset`
        // is not beyond it. The memory is steady (see `Description::is_steady`), so reading it raises no signal. Other
        // processes may change it meanwhile: its only readers are copies into a texture, for which every value is a
        // colour.
        unsafe {
            std::slice::from_raw_parts(self.start.as_ptr().cast::<u8>().add(self.offset), self.length - self.offset)
        }
    }

    /// Announces a reading to the kernel for as long as the answer is kept. Where the writer's fence has not come yet
    /// the reading goes unannounced: it may see half a picture, which is the guest's own affair, but it never waits.
    pub fn reading(&self) -> Option<Reading<'_>> {
        // Here devices and processor see the same memory; there is nothing to announce.
        if !self.is_dmabuf || cfg!(any(target_arch = "x86", target_arch = "x86_64")) {
            return None;
        }
        let mut ask =
            [rustix::event::PollFd::from_borrowed_fd(self.dmabuf.handles().next()?, rustix::event::PollFlags::IN)];
        let now = rustix::time::Timespec { tv_sec: 0, tv_nsec: 0 };
        if !matches!(rustix::event::poll(&mut ask, Some(&now)), Ok(1)) {
            return None;
        }
        self.dmabuf.sync_plane(0, DmabufSyncFlags::START | DmabufSyncFlags::READ).ok()?;
        Some(Reading { mapping: self })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the range was mapped by `new`, and nothing that borrows from it outlives `self`; textures keep the
        // `Rc` that they read from. An error would mean that the range was not mapped.
        let _ = unsafe { rustix::mm::munmap(self.start.as_ptr(), self.length) };
    }
}

fn map(fd: BorrowedFd<'_>, length: usize) -> Result<NonNull<c_void>, String> {
    // SAFETY: a new mapping at a place of the kernel's choice touches nothing that is there.
    let start = unsafe {
        rustix::mm::mmap(null_mut(), length, rustix::mm::ProtFlags::READ, rustix::mm::MapFlags::SHARED, fd, 0)
    };
    let start = start.map_err(|error| format!("its memory cannot be mapped: {error}"))?;
    NonNull::new(start).ok_or_else(|| "its memory was mapped nowhere".to_owned())
}

/// A reading that the kernel knows of.
#[derive(Debug)]
pub struct Reading<'a> {
    mapping: &'a Mapping,
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        // An error means that there is nothing to end.
        let _ = self.mapping.dmabuf.sync_plane(0, DmabufSyncFlags::END | DmabufSyncFlags::READ);
    }
}

/// Makes textures of mapped dmabufs, each renderer in its own way.
pub trait ImportMapped: RendererSuper {
    /// A texture of `mapping`, which the caller keeps for as long as the texture. `before`: what was made of an earlier
    /// content of the same surface, of the same size and format, of which only `parts` have changed (`None`: all of
    /// it).
    fn import_mapped(
        &mut self,
        mapping: &Rc<Mapping>,
        before: Option<&Self::TextureId>,
        parts: Option<&[Rectangle<i32, Buffer>]>,
    ) -> Result<Self::TextureId, Self::Error>;

    /// The same of shared memory, for a renderer that copies it; `None` where smithay's own import is to be used.
    ///
    /// smithay 0.7.0 keeps what its GLES renderer made of a surface as long as the surface lives.
    fn import_shared(
        &mut self,
        _buffer: &WlBuffer,
        _before: Option<&Self::TextureId>,
        _parts: Option<&[Rectangle<i32, Buffer>]>,
    ) -> Option<Result<Self::TextureId, Self::Error>> {
        None
    }
}

/// A texture of whole rows; a row's padding is a part of the texture that no source rectangle reaches.
fn import_rows(
    renderer: &mut GlesRenderer,
    bytes: &[u8],
    format: Fourcc,
    size: Size<i32, Buffer>,
    before: Option<&GlesTexture>,
    parts: Option<&[Rectangle<i32, Buffer>]>,
) -> Result<GlesTexture, GlesError> {
    let reusable = before.filter(|texture| smithay::backend::renderer::Texture::size(*texture) == size);
    match (reusable, parts) {
        (Some(texture), Some(parts)) => {
            for part in parts {
                if let Some(part) = part.intersection(Rectangle::from_size(size)) {
                    renderer.update_memory(texture, bytes, part)?;
                }
            }
            Ok(texture.clone())
        }
        _ => renderer.import_memory(bytes, format, size, false),
    }
}

impl ImportMapped for GlesRenderer {
    fn import_mapped(
        &mut self,
        mapping: &Rc<Mapping>,
        before: Option<&GlesTexture>,
        parts: Option<&[Rectangle<i32, Buffer>]>,
    ) -> Result<GlesTexture, GlesError> {
        let _reading = mapping.reading();
        let row = i32::try_from(mapping.stride / 4).unwrap_or(i32::MAX);
        import_rows(self, mapping.bytes(), mapping.format, (row, mapping.size.h).into(), before, parts)
    }

    fn import_shared(
        &mut self,
        buffer: &WlBuffer,
        before: Option<&GlesTexture>,
        parts: Option<&[Rectangle<i32, Buffer>]>,
    ) -> Option<Result<GlesTexture, GlesError>> {
        let imported = with_buffer_contents(buffer, |start, length, data| {
            let format = shm_format_to_fourcc(data.format).filter(|format| get_bpp(*format) == Some(32))?;
            let (offset, stride) = (usize::try_from(data.offset).ok()?, usize::try_from(data.stride).ok()?);
            let height = usize::try_from(data.height).ok()?;
            if stride % 4 != 0
                || data.stride / 4 < data.width
                || stride.checked_mul(height)? > length.checked_sub(offset)?
            {
                return None;
            }
            // SAFETY: smithay maps `length` bytes at `start` while this runs, and survives a file that shrinks meanwhile;
            // `offset` is not beyond them. The guest may write at any time: what is read is copied once into a texture,
            // for which every value is a colour.
            let bytes = unsafe { std::slice::from_raw_parts(start.add(offset), length - offset) };
            Some(import_rows(self, bytes, format, (data.stride / 4, data.height).into(), before, parts))
        });
        match imported {
            Ok(imported) => imported,
            Err(error) => Some(Err(GlesError::BufferAccessError(error))),
        }
    }
}

impl ImportMapped for PixmanRenderer {
    /// Pixman reads the memory where it is; what has changed is seen without being copied.
    fn import_mapped(
        &mut self,
        mapping: &Rc<Mapping>,
        _before: Option<&PixmanTexture>,
        _parts: Option<&[Rectangle<i32, Buffer>]>,
    ) -> Result<PixmanTexture, PixmanError> {
        let Ok(code) = pixman::FormatCode::try_from(mapping.format) else {
            return Err(PixmanError::UnsupportedPixelFormat(mapping.format));
        };
        let (width, height) = (mapping.size.w.unsigned_abs() as usize, mapping.size.h.unsigned_abs() as usize);
        let first = mapping.bytes().as_ptr().cast::<u32>().cast_mut();
        // SAFETY: `new` checked that `height` rows of `stride` bytes lie behind `first` and that it is aligned (the
        // mapping begins with a page and the offset is a multiple of four). Pixman writes only into the image that it
        // draws to, which this never is; the pages are mapped for reading only. `Textures` and `Piece` keep the `Rc`
        // for as long as they keep the texture.
        let image = unsafe { pixman::Image::from_raw_mut(code, width, height, first, mapping.stride as usize, false) };
        image.map(PixmanTexture::from).map_err(|_| PixmanError::ImportFailed)
    }
}
