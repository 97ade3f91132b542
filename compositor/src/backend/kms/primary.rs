//! A display that has nothing but its primary plane to offer, drawn on by the processor: two buffers in memory, what
//! changed drawn into the one that is not shown, and one request to the kernel for each frame.
//!
//! This is all that a virtual machine's display or one of the firmware's needs, and most of what smithay's compositor
//! of planes does for a frame would be in vain there. smithay still sets modes, tests them and switches the display
//! off. Never draws into a buffer that is shown or is to be shown.

use super::damage::{Plan, Region, Tracker};
use crate::outputs::Drawn;
use crate::render::elements::ground;
use smithay::backend::allocator::dumb::{DumbAllocator, DumbBuffer};
use smithay::backend::allocator::{Allocator, Fourcc, Modifier};
use smithay::backend::drm::dumb::{DumbFramebuffer, framebuffer_from_dumb_buffer};
use smithay::backend::drm::{DrmError, DrmSurface, PlaneConfig, PlaneDamageClips, PlaneState};
use smithay::backend::renderer::element::RenderElement;
use smithay::backend::renderer::gles::GlesRenderer;
use smithay::backend::renderer::pixman::PixmanRenderer;
use smithay::backend::renderer::{Bind, Frame, Renderer};
use smithay::reexports::drm::Device as _;
use smithay::reexports::drm::buffer::Buffer as _;
use smithay::reexports::drm::control::atomic::AtomicModeReq;
use smithay::reexports::drm::control::dumbbuffer::DumbMapping;
use smithay::reexports::drm::control::{AtomicCommitFlags, Device as _, Mode, framebuffer, plane, property};
use smithay::reexports::pixman::{FormatCode, Image};
use smithay::utils::{Physical, Rectangle, Scale, Size, Transform};
use std::fmt;

/// Formats of the shell's own picture, best first. It is opaque everywhere.
const FORMATS: [Fourcc; 2] = [Fourcc::Xrgb8888, Fourcc::Argb8888];

/// Kernel drivers whose host or device has a copy of every buffer. What changed on the display says nothing of what
/// changed in the buffer: the kernel passes over it where it is told, or where it is too old for that, leaves parts of
/// the picture old.
const COPIES: [&str; 2] = ["virtio_gpu", "vmwgfx"];

/// MappedBuffer that a buffer is drawn into, as its mapping says: where, how large, with how long rows, how laid out.
#[derive(Clone, Copy, Debug)]
pub struct MappedBuffer {
    start: *mut u32,
    size: (u32, u32),
    stride: u32,
    format: Fourcc,
}

/// A renderer that may draw into mapped memory.
pub trait DrawsMemory: Renderer + Bind<Self::Target> {
    /// Such memory, as the renderer knows it.
    type Target: 'static;
    /// Whether it can at all.
    const DRAWS_MEMORY: bool;

    /// What it draws into.
    ///
    /// # Safety
    ///
    /// `memory` describes memory that may be written to, is aligned to pixels, and stays for as long as the answer.
    unsafe fn target(memory: MappedBuffer) -> Result<Self::Target, String>;
}

impl DrawsMemory for PixmanRenderer {
    type Target = Image<'static, 'static>;
    const DRAWS_MEMORY: bool = true;

    unsafe fn target(memory: MappedBuffer) -> Result<Self::Target, String> {
        let MappedBuffer { start, size, stride, format } = memory;
        let code = FormatCode::try_from(format).map_err(|_| format!("Pixman does not know {format}"))?;
        let size = (size.0 as usize, size.1 as usize);
        // SAFETY: the caller promises it.
        let image = unsafe { Image::from_raw_mut(code, size.0, size.1, start, stride as usize, false) };
        image.map_err(|_| "Pixman cannot draw into it".to_owned())
    }
}

impl DrawsMemory for GlesRenderer {
    /// None is ever made.
    type Target = smithay::backend::renderer::gles::GlesTexture;
    const DRAWS_MEMORY: bool = false;

    unsafe fn target(_memory: MappedBuffer) -> Result<Self::Target, String> {
        Err("a GPU does not draw into the processor's memory".to_owned())
    }
}

/// A buffer of the display. What is declared first goes first.
struct Sheet<T> {
    target: T,
    framebuffer: DumbFramebuffer,
    _pixels: DumbMapping<'static>,
    _buffer: DumbBuffer,
    /// What is not as in the picture that was drawn last.
    missing: Region,
    /// Buffers of another are not used again.
    generation: u32,
}

/// Where the primary plane is told of a frame.
#[derive(Debug)]
struct Properties {
    plane: plane::Handle,
    framebuffer: property::Handle,
    /// FB_DAMAGE_CLIPS, where it is of use.
    clips: Option<property::Handle>,
}

/// A display with one plane.
pub struct Primary<R: DrawsMemory> {
    // Goes first: the display is off before its buffers go.
    surface: DrmSurface,
    properties: Properties,
    format: Fourcc,
    tracker: Tracker,
    /// Anew for each frame.
    changed: Region,
    plan: Plan,
    /// Is on the display.
    shown: Option<Sheet<R::Target>>,
    /// Is on its way there.
    queued: Option<Sheet<R::Target>>,
    spare: Option<Sheet<R::Target>>,
    generation: u32,
    /// What is shown is not what was noted last.
    stale: bool,
}

impl<R: DrawsMemory> Primary<R> {
    /// Whether `surface` can be driven in this way at all.
    pub fn suits(surface: &DrmSurface) -> bool {
        R::DRAWS_MEMORY && !surface.is_legacy()
    }

    /// Drives `surface`, which shows nothing yet. The error says why its mode cannot be used.
    pub fn new(surface: DrmSurface) -> Result<Self, String> {
        let plane_formats = &surface.plane_info().formats;
        let is_offered = |code: &Fourcc| {
            let linear = |modifier| matches!(modifier, Modifier::Linear | Modifier::Invalid);
            plane_formats.iter().any(|format| format.code == *code && linear(format.modifier))
        };
        let format = FORMATS.into_iter().find(is_offered).ok_or("its display reads no format that can be drawn")?;
        let properties = Properties::of(&surface).map_err(|error| format!("its plane cannot be asked: {error}"))?;
        let mut primary = Self {
            surface,
            properties,
            format,
            tracker: Tracker::default(),
            changed: Region::default(),
            plan: Plan::default(),
            shown: None,
            queued: None,
            spare: None,
            generation: 0,
            stale: true,
        };
        let sheet = primary.sheet()?;
        let tested = primary.surface.test_state(primary.planes(*sheet.framebuffer.as_ref()), true);
        tested.map_err(|error| error.to_string())?;
        primary.spare = Some(sheet);
        Ok(primary)
    }

    fn size(&self) -> Size<i32, Physical> {
        let (width, height) = self.surface.pending_mode().size();
        (i32::from(width), i32::from(height)).into()
    }

    /// All that is set with a mode: this buffer, and nothing over it.
    fn planes(&self, framebuffer: framebuffer::Handle) -> Vec<PlaneState<'static>> {
        let size = self.size();
        let config = PlaneConfig {
            src: Rectangle::from_size((f64::from(size.w), f64::from(size.h)).into()),
            dst: Rectangle::from_size(size),
            transform: Transform::Normal,
            alpha: 1.0,
            damage_clips: None,
            fb: framebuffer,
            fence: None,
        };
        let mut states = vec![PlaneState { handle: self.properties.plane, config: Some(config) }];
        // Those of another display are not to be had.
        let free = self.surface.planes().cursor.iter().filter(|info| self.surface.claim_plane(info.handle).is_some());
        states.extend(free.map(|info| PlaneState { handle: info.handle, config: None }));
        states
    }

    fn sheet(&self) -> Result<Sheet<R::Target>, String> {
        let size = self.size();
        let (width, height) = (size.w.unsigned_abs(), size.h.unsigned_abs());
        let failed = |what: &dyn fmt::Display| format!("a buffer of {width} × {height} pixels cannot be had: {what}");
        let fd = self.surface.device_fd();
        let modifiers = [Modifier::Linear];
        let made = DumbAllocator::new(fd.clone()).create_buffer(width, height, self.format, &modifiers);
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
        let memory = MappedBuffer { start, size: (width, height), stride, format: self.format };
        // SAFETY: a mapping begins with a page and is writable; `height` rows of `stride` bytes were just seen to be in
        // it, of which `width` pixels are used. `Sheet` drops the target before the mapping.
        let target = unsafe { R::target(memory) }.map_err(|why| failed(&why))?;
        Ok(Sheet {
            target,
            framebuffer,
            _pixels: pixels,
            _buffer: buffer,
            missing: Region::whole(size),
            generation: self.generation,
        })
    }

    /// Another mode from the next frame on.
    pub fn use_mode(&mut self, mode: Mode) -> Result<(), DrmError> {
        self.surface.use_mode(mode)
    }

    /// The next frame is drawn as a whole, into a new buffer.
    pub fn forget(&mut self) {
        self.generation = self.generation.wrapping_add(1);
        self.spare = None;
        self.stale = true;
    }

    /// Switches the display off; the next frame switches it on.
    pub fn clear(&mut self) -> Result<(), DrmError> {
        let cleared = self.surface.clear();
        if cleared.is_ok() {
            self.queued = None;
            self.shown = None;
        }
        cleared
    }

    /// The frame that was queued is on the display.
    pub fn flipped(&mut self) {
        if let Some(queued) = self.queued.take() {
            let former = self.shown.replace(queued);
            self.spare = former.filter(|sheet| sheet.generation == self.generation).or(self.spare.take());
        }
    }

    /// Draws what changed and hands it to the kernel. After an error nothing that was shown is relied on.
    pub fn draw<E: RenderElement<R>>(&mut self, renderer: &mut R, elements: &[E]) -> Result<Drawn, String> {
        let size = self.size();
        self.changed.clear();
        if self.stale {
            self.tracker.forget();
        }
        self.tracker.note(elements, size, &mut self.changed);
        if self.stale {
            self.changed = Region::whole(size);
        } else if self.changed.is_empty() {
            return Ok(Drawn::Unchanged);
        }
        if !self.surface.is_active() {
            self.stale = true;
            return Err(DrmError::DeviceInactive.to_string());
        }
        let whole = std::mem::replace(&mut self.stale, true);
        let mut sheet = match self.spare.take().filter(|sheet| sheet.generation == self.generation) {
            Some(sheet) => sheet,
            None => self.sheet()?,
        };
        for sheet in [Some(&mut sheet), self.shown.as_mut(), self.queued.as_mut()].into_iter().flatten() {
            sheet.missing.join(&self.changed);
        }
        self.tracker.plan(&sheet.missing, &mut self.plan);
        paint(renderer, &mut sheet.target, elements, &self.plan, size).map_err(|error| error.to_string())?;
        sheet.missing.clear();
        self.submit(&sheet, whole)?;
        if let Some(given_up) = self.queued.replace(sheet) {
            // Nobody waits for it any more, but it may be what is shown.
            self.shown = Some(given_up);
        }
        self.stale = false;
        Ok(Drawn::Queued)
    }

    /// Hands a buffer to the kernel, which tells when it is shown. `whole`: what changed is not known.
    fn submit(&self, sheet: &Sheet<R::Target>, whole: bool) -> Result<(), String> {
        let framebuffer = *sheet.framebuffer.as_ref();
        if self.surface.commit_pending() {
            return self.surface.commit(self.planes(framebuffer), true).map_err(|error| error.to_string());
        }
        let fd = self.surface.device_fd();
        let Properties { plane, framebuffer: shows, clips } = self.properties;
        let mut request = AtomicModeReq::new();
        request.add_property(plane, shows, property::Value::Framebuffer(Some(framebuffer)));
        // Without it all of the buffer counts as changed.
        let clips = clips.filter(|_| !whole).and_then(|property| {
            let dst = Rectangle::from_size(self.size());
            let src = Rectangle::from_size((f64::from(dst.size.w), f64::from(dst.size.h)).into());
            let parts = self.changed.parts().iter().copied();
            Some((property, PlaneDamageClips::from_damage(fd, src, dst, parts).ok()??))
        });
        if let Some((property, clips)) = &clips {
            request.add_property(plane, *property, clips.blob());
        }
        let flags = AtomicCommitFlags::PAGE_FLIP_EVENT | AtomicCommitFlags::NONBLOCK;
        fd.atomic_commit(flags, request).map_err(|error| format!("the kernel refuses the frame: {error}"))
    }
}

/// Draws into `target` what of `elements`, top first, is planned.
fn paint<R: DrawsMemory, E: RenderElement<R>>(
    renderer: &mut R,
    target: &mut R::Target,
    elements: &[E],
    plan: &Plan,
    size: Size<i32, Physical>,
) -> Result<(), R::Error> {
    let scale = Scale::from(1.0);
    let mut framebuffer = renderer.bind(target)?;
    let mut frame = renderer.render(&mut framebuffer, size, Transform::Normal)?;
    if !plan.ground().is_empty() {
        frame.clear(ground(), plan.ground())?;
    }
    for (index, element) in elements.iter().enumerate().rev() {
        let parts = plan.of(index);
        if !parts.is_empty() {
            let opaque = element.opaque_regions(scale);
            element.draw(&mut frame, element.src(), element.geometry(scale), parts, &opaque)?;
        }
    }
    let done = frame.finish()?;
    drop(framebuffer);
    renderer.wait(&done)
}

impl Properties {
    fn of(surface: &DrmSurface) -> std::io::Result<Self> {
        let (fd, plane) = (surface.device_fd(), surface.plane());
        let (mut framebuffer, mut clips) = (None, None);
        for id in fd.get_properties(plane)?.as_props_and_values().0 {
            match fd.get_property(*id)?.name().to_bytes() {
                b"FB_ID" => framebuffer = Some(*id),
                b"FB_DAMAGE_CLIPS" => clips = Some(*id),
                _ => {}
            }
        }
        let copies = fd.get_driver().is_ok_and(|driver| {
            let name = driver.name().to_string_lossy();
            COPIES.iter().any(|copies| *copies == name)
        });
        let framebuffer = framebuffer.ok_or_else(|| std::io::Error::other("it shows no framebuffer"))?;
        Ok(Self { plane, framebuffer, clips: clips.filter(|_| !copies) })
    }
}
