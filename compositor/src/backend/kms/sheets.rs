//! Buffers of a display: what each renderer draws into, and what becomes a framebuffer. The processor writes dumb
//! buffers, mapped; a GPU those that GBM makes.

use super::framebuffers::{Framebuffer, import_by_gbm, import_by_prime};
use smithay::backend::allocator::dmabuf::{AsDmabuf, Dmabuf};
use smithay::backend::allocator::dumb::{DumbAllocator, DumbBuffer};
use smithay::backend::allocator::gbm::{GbmAllocator, GbmBuffer, GbmBufferFlags, GbmDevice};
use smithay::backend::allocator::{Allocator, Format, Fourcc, Modifier};
use smithay::backend::drm::dumb::{DumbFramebuffer, framebuffer_from_dumb_buffer};
use smithay::backend::drm::gbm::{GbmFramebuffer, framebuffer_from_bo};
use smithay::backend::drm::{DrmDeviceFd, PlaneInfo};
use smithay::backend::renderer::gles::GlesRenderer;
use smithay::backend::renderer::pixman::PixmanRenderer;
use smithay::backend::renderer::{Bind, Renderer};
use smithay::reexports::drm::buffer::Buffer as _;
use smithay::reexports::drm::control::dumbbuffer::DumbMapping;
use smithay::reexports::drm::control::{Device as _, framebuffer};
use smithay::reexports::pixman::{FormatCode, Image};
use std::fmt;
use std::os::fd::OwnedFd;

/// Formats of the shell's own picture, best first. It is opaque everywhere.
const FORMATS: [Fourcc; 2] = [Fourcc::Xrgb8888, Fourcc::Argb8888];

/// A renderer that draws into buffers of a display.
pub trait DrawsSheets: Renderer + Bind<Self::Target> + Sized {
    /// What it draws into.
    type Target: 'static;
    /// Where its buffers come from.
    type Source: 'static;
    /// Whether guests' buffers whose layout is known to a driver alone (without a modifier) are of the display's own
    /// device, and so of that driver.
    const KNOWS_LAYOUTS: bool;

    /// The ways in which a buffer that it draws into can be laid out for a plane, best first: a format, and the
    /// modifiers from which the driver chooses.
    fn layouts(source: &Self::Source, plane: &PlaneInfo) -> Vec<Layout>;

    /// A buffer of `size` pixels.
    fn canvas(
        source: &Self::Source,
        fd: &DrmDeviceFd,
        size: (u32, u32),
        layout: &Layout,
    ) -> Result<Canvas<Self>, String>;

    /// A guest's dmabuf as the device of its displays knows it.
    fn import(source: &Self::Source, fd: &DrmDeviceFd, dmabuf: &Dmabuf) -> Result<Framebuffer, String>;
}

/// How a buffer may be laid out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Its format.
    pub format: Fourcc,
    /// From which its driver chooses one.
    pub modifiers: Vec<Modifier>,
}

impl Default for Layout {
    fn default() -> Self {
        Self { format: Fourcc::Xrgb8888, modifiers: Vec::new() }
    }
}

/// A buffer of a display as a renderer draws into it. What is declared first goes first.
pub struct Canvas<R: DrawsSheets> {
    /// What is drawn into.
    pub target: R::Target,
    sheet: Box<dyn AsRef<framebuffer::Handle>>,
}

impl<R: DrawsSheets> Canvas<R> {
    /// What a display is told to show.
    pub fn framebuffer(&self) -> framebuffer::Handle {
        *(*self.sheet).as_ref()
    }
}

impl DrawsSheets for PixmanRenderer {
    type Target = Image<'static, 'static>;
    type Source = ();
    const KNOWS_LAYOUTS: bool = false;

    fn layouts((): &(), plane: &PlaneInfo) -> Vec<Layout> {
        // Dumb buffers are linear whether or not the display can say so.
        let plain = |format: &Format| matches!(format.modifier, Modifier::Linear | Modifier::Invalid);
        let reads = |code: &Fourcc| plane.formats.iter().any(|format| format.code == *code && plain(format));
        let layout = |format| Layout { format, modifiers: vec![Modifier::Linear] };
        FORMATS.into_iter().filter(reads).map(layout).collect()
    }

    fn canvas((): &(), fd: &DrmDeviceFd, size: (u32, u32), layout: &Layout) -> Result<Canvas<Self>, String> {
        let failed = |what: &dyn fmt::Display| missing(size, what);
        let sheet = Sheet::new(fd, size, layout.format)?;
        let MappedBuffer { start, stride, .. } = sheet.memory;
        let code = FormatCode::try_from(layout.format).map_err(|_| failed(&"Pixman does not know its format"))?;
        // SAFETY: a mapping begins with a page and is writable; `Sheet::new` has seen its rows to be in it. The image is
        // dropped before the mapping, and nothing else writes there: the sheet is this canvas's own.
        let image =
            unsafe { Image::from_raw_mut(code, size.0 as usize, size.1 as usize, start, stride as usize, false) };
        let target = image.map_err(|_| failed(&"Pixman cannot draw into it"))?;
        Ok(Canvas { target, sheet: Box::new(sheet) })
    }

    fn import((): &(), fd: &DrmDeviceFd, dmabuf: &Dmabuf) -> Result<Framebuffer, String> {
        import_by_prime(fd, dmabuf).map_err(|error| error.to_string())
    }
}

/// Where buffers come from that a GPU draws into.
pub struct GpuSource {
    /// The display's device.
    pub gbm: GbmDevice<DrmDeviceFd>,
    /// What the GPU can draw into.
    pub formats: Vec<Format>,
}

/// A buffer of a GPU's. What is declared first goes first.
struct GpuSheet {
    framebuffer: GbmFramebuffer,
    _buffer: GbmBuffer,
}

impl AsRef<framebuffer::Handle> for GpuSheet {
    fn as_ref(&self) -> &framebuffer::Handle {
        self.framebuffer.as_ref()
    }
}

impl DrawsSheets for GlesRenderer {
    type Target = Dmabuf;
    type Source = GpuSource;
    const KNOWS_LAYOUTS: bool = true;

    fn layouts(source: &GpuSource, plane: &PlaneInfo) -> Vec<Layout> {
        FORMATS.into_iter().filter_map(|format| layout_of(format, &source.formats, plane)).collect()
    }

    fn canvas(source: &GpuSource, fd: &DrmDeviceFd, size: (u32, u32), layout: &Layout) -> Result<Canvas<Self>, String> {
        let failed = |what: &dyn fmt::Display| missing(size, what);
        let flags = GbmBufferFlags::RENDERING | GbmBufferFlags::SCANOUT;
        let mut allocator = GbmAllocator::new(source.gbm.clone(), flags);
        let made = allocator.create_buffer(size.0, size.1, layout.format, &layout.modifiers);
        let buffer = made.map_err(|error| failed(&error))?;
        let target = buffer.export().map_err(|error| failed(&error))?;
        let framebuffer = framebuffer_from_bo(fd, &buffer, false).map_err(|error| failed(&error))?;
        Ok(Canvas { target, sheet: Box::new(GpuSheet { framebuffer, _buffer: buffer }) })
    }

    fn import(source: &GpuSource, fd: &DrmDeviceFd, dmabuf: &Dmabuf) -> Result<Framebuffer, String> {
        import_by_gbm(&source.gbm, fd, dmabuf)
    }
}

fn missing((width, height): (u32, u32), what: &dyn fmt::Display) -> String {
    format!("a buffer of {width} × {height} pixels cannot be had: {what}")
}

/// The layout in which a renderer that draws into `drawn` and a plane understand each other, if there is one: a
/// modifier that both name, or none at all where one of them names none and the other knows rows.
fn layout_of(format: Fourcc, drawn: &[Format], plane: &PlaneInfo) -> Option<Layout> {
    let of = |format: Fourcc, all: &mut dyn Iterator<Item = Format>| -> Vec<Modifier> {
        all.filter(|other| other.code == format).map(|other| other.modifier).collect()
    };
    let drawn = of(format, &mut drawn.iter().copied());
    let read = of(format, &mut plane.formats.iter().copied());
    let modifiers = common(&drawn, &read);
    (!modifiers.is_empty()).then_some(Layout { format, modifiers })
}

fn common(drawn: &[Modifier], read: &[Modifier]) -> Vec<Modifier> {
    let both: Vec<_> = read.iter().copied().filter(|modifier| drawn.contains(modifier)).collect();
    if !both.is_empty() {
        return both;
    }
    let names_none = |modifiers: &[Modifier]| modifiers == [Modifier::Invalid];
    let knows_rows = |modifiers: &[Modifier]| modifiers.contains(&Modifier::Linear);
    if (names_none(drawn) && knows_rows(read)) || (names_none(read) && knows_rows(drawn)) {
        return vec![Modifier::Invalid];
    }
    Vec::new()
}

/// Where pixels lie that may be written, as their mapping says: from where on, how large, with how long rows.
#[derive(Clone, Copy, Debug)]
struct MappedBuffer {
    start: *mut u32,
    size: (u32, u32),
    stride: u32,
}

/// A buffer that the processor writes. What is declared first goes first.
pub struct Sheet {
    framebuffer: DumbFramebuffer,
    pixels: DumbMapping<'static>,
    buffer: DumbBuffer,
    memory: MappedBuffer,
}

impl Sheet {
    /// One of `size` pixels, of four bytes each.
    pub fn new(fd: &DrmDeviceFd, size: (u32, u32), format: Fourcc) -> Result<Self, String> {
        let (width, height) = size;
        let failed = |what: &dyn fmt::Display| missing(size, what);
        let modifiers = [Modifier::Linear];
        let made = DumbAllocator::new(fd.clone()).create_buffer(width, height, format, &modifiers);
        let buffer = made.map_err(|error| failed(&error))?;
        let framebuffer = framebuffer_from_dumb_buffer(fd, &buffer, false).map_err(|error| failed(&error))?;
        let mut handle = *buffer.handle();
        let mapped = fd.map_dumb_buffer(&mut handle).map_err(|error| failed(&error))?;
        // SAFETY: the lifetime is that of a description of the buffer, of which the mapping holds nothing: it is memory
        // of the kernel's, which stays until the mapping is dropped, whatever becomes of the buffer.
        let mut pixels = unsafe { std::mem::transmute::<DumbMapping<'_>, DumbMapping<'static>>(mapped) };
        let stride = handle.pitch();
        let needed = u64::from(stride) * u64::from(height);
        let start = pixels.as_mut_ptr().cast::<u32>();
        if u64::try_from(pixels.len()).is_ok_and(|length| length < needed) || stride / 4 < width || stride % 4 != 0 {
            return Err(failed(&"the kernel gave too little"));
        }
        let memory = MappedBuffer { start, size, stride };
        Ok(Self { framebuffer, pixels, buffer, memory })
    }

    /// What a display is told to show.
    pub fn framebuffer(&self) -> framebuffer::Handle {
        *self.as_ref()
    }

    /// It as a dmabuf, which must never be imported into this device again: the handle that that gives is this one's.
    pub fn export(&self, fd: &DrmDeviceFd) -> std::io::Result<OwnedFd> {
        fd.buffer_to_prime_fd(self.buffer.handle().handle(), libc::O_CLOEXEC.unsigned_abs())
    }

    /// Writes a picture of `rows` of four bytes a pixel to its left upper corner, as far as it has room; the rest is
    /// transparent.
    pub fn write<'a>(&mut self, mut rows: impl Iterator<Item = &'a [u8]>) {
        for line in self.pixels.chunks_exact_mut(self.memory.stride as usize) {
            let row = rows.next().unwrap_or_default();
            let length = row.len().min(self.memory.size.0 as usize * 4).min(line.len());
            let (filled, rest) = line.split_at_mut(length);
            filled.copy_from_slice(row.get(..length).unwrap_or_default());
            rest.fill(0);
        }
    }
}

impl AsRef<framebuffer::Handle> for Sheet {
    fn as_ref(&self) -> &framebuffer::Handle {
        self.framebuffer.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Modifier::{I915_x_tiled as TILED, Invalid, Linear};

    #[test]
    fn a_renderer_and_a_plane_meet_in_what_both_name_or_in_rows() {
        for (drawn, read, wanted) in [
            (&[Linear, TILED][..], &[TILED, Linear][..], &[TILED, Linear][..]),
            (&[Linear], &[TILED, Linear], &[Linear]),
            (&[Invalid], &[Invalid], &[Invalid]),
            (&[Invalid], &[Linear], &[Invalid]),
            (&[Linear, TILED], &[Invalid], &[Invalid]),
            (&[Invalid, Linear], &[Invalid, Linear], &[Invalid, Linear]),
            (&[TILED], &[Invalid], &[]),
            (&[TILED], &[Linear], &[]),
            (&[], &[Linear], &[]),
        ] {
            assert_eq!(common(drawn, read), wanted, "{drawn:?} and {read:?}");
        }
    }
}
