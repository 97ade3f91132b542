//! One graphics device: its displays, and the renderer that draws on them.
//!
//! GLES where GL is real hardware; Pixman with dumb buffers where GL would be software, since that is faster and much
//! smaller, or where there is no GL. Which it is follows from the kernel's driver where that says enough, so that EGL
//! is not even loaded.

use super::Overdue;
use super::crtc::Put;
use super::planes::Stage;
use super::recovery::Remedy;
use super::session::SeatHandle;
use super::sheets::GpuSource;
use super::surface::{Heads, Wiring};
use crate::backend::elsewhere;
use crate::backend::headless::egl_is_installed;
use crate::backend::painter::import_into_pixman;
use crate::outputs::{Capture, OutputId, RendererKind};
use crate::render::scene::Scene;
use crate::wayland::screens::Screens;
use smithay::backend::allocator::dmabuf::Dmabuf;
use smithay::backend::allocator::gbm::GbmDevice;
use smithay::backend::allocator::{Format, Fourcc};
use smithay::backend::drm::{DrmDevice, DrmDeviceFd, DrmNode, NodeType};
use smithay::backend::egl::{EGLContext, EGLDevice, EGLDisplay};
use smithay::backend::renderer::gles::{GlesRenderer, GlesTexture, ffi};
use smithay::backend::renderer::pixman::PixmanRenderer;
use smithay::backend::renderer::{ImportDma, ImportMem};
use smithay::backend::session::{AsErrno, Session};
use smithay::reexports::drm::Device as _;
use smithay::reexports::drm::control::{Device as _, crtc};
use smithay::reexports::pixman::Image;
use smithay::reexports::rustix::fs::OFlags;
use smithay::utils::DeviceFd;
use std::ffi::{CStr, c_char};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Kernel drivers of displays without any GL hardware behind them.
const NO_GL: &[&str] = &[
    "simpledrm",
    "ofdrm",
    "efidrm",
    "vesadrm",
    "bochs-drm",
    "cirrus",
    "cirrus-qemu",
    "ast",
    "mgag200",
    "qxl",
    "vkms",
    "vboxvideo",
    "hyperv_drm",
    "hibmc",
    "udl",
    "gud",
    "evdi",
];

/// What draws, and the displays that it draws on.
enum Drawing {
    Pixman(Box<Heads<PixmanRenderer>>),
    Gles(Box<Heads<GlesRenderer>>),
}

macro_rules! each {
    ($drawing:expr, $heads:ident => $what:expr) => {
        match $drawing {
            Drawing::Pixman($heads) => $what,
            Drawing::Gles($heads) => $what,
        }
    };
}

/// An open device.
pub struct Gpu {
    /// Its node, such as `/dev/dri/card0`.
    pub path: PathBuf,
    /// Its number.
    pub number: u64,
    /// The kernel's side of it.
    pub drm: DrmDevice,
    /// See [`crate::backend::Backend::reaches`].
    pub reaches: Option<&'static str>,
    drawing: Drawing,
}

/// Why a device cannot be used, as one sentence; without the person's doing something this stays so, or not.
pub type Refusal = String;

impl Gpu {
    /// Opens a device and makes its renderer.
    pub fn open(seat: &mut SeatHandle, path: &Path, wanted: Option<RendererKind>) -> Result<Self, Refusal> {
        let place = path.display();
        let opened = seat.open(path, OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK);
        let fd = opened.map_err(|error| match error.as_errno() {
            Some(libc::EACCES | libc::EPERM) => {
                format!(
                    "{place} may not be opened ({error}); start seatd, or log in on the console itself, so that it is given"
                )
            }
            Some(libc::EBUSY) => in_use(path),
            _ => format!("{place} cannot be opened ({error}); load its kernel driver, or choose --backend headless"),
        })?;
        let fd = DrmDeviceFd::new(DeviceFd::from(fd));
        let made = Self::on(fd.clone(), path, wanted);
        if made.is_err() {
            close(seat, fd.device_fd(), fd);
        }
        made
    }

    fn on(fd: DrmDeviceFd, path: &Path, wanted: Option<RendererKind>) -> Result<Self, Refusal> {
        let place = path.display();
        let resources = fd.resource_handles().map_err(|error| {
            format!("{place} drives no display ({error}); use another, or choose --backend headless")
        })?;
        if resources.connectors().is_empty() || resources.crtcs().is_empty() {
            return Err(format!("{place} has no connector for a display; use another, or choose --backend headless"));
        }
        if !is_master(&fd) {
            return Err(in_use(path));
        }
        // What is on the displays stays until the first frame.
        let (drm, _) = DrmDevice::new(fd.clone(), false).map_err(|error| {
            format!(
                "{place} cannot be driven ({error}); load another kernel driver for it, or choose --backend headless"
            )
        })?;
        if !drm.is_atomic() {
            // smithay reads the variable.
            let why = match std::env::var_os("SMITHAY_USE_LEGACY") {
                Some(_) => "SMITHAY_USE_LEGACY is set",
                None => "the driver has no atomic one",
            };
            tracing::info!("{place}: the older way of mode setting is used, without planes: {why}");
        }
        let mut drawing = drawing(&fd, wanted).map_err(|error| format!("{place}: {error}"))?;
        let number = drm.device_id();
        let reaches = match &mut drawing {
            Drawing::Pixman(_) => None,
            Drawing::Gles(heads) => elsewhere::of_gl(&gl_string(&mut heads.renderer, ffi::RENDERER)),
        };
        Ok(Self { path: path.to_owned(), number, drm, reaches, drawing })
    }

    /// Closes the device; nothing more is shown on its displays.
    pub fn close(mut self, seat: Option<&mut SeatHandle>) {
        // Paused, so that nothing is switched in its last moment: whoever comes next shows its own picture.
        self.drm.pause();
        let fd = self.drm.device_fd().clone();
        drop(self);
        if let Some(seat) = seat {
            close(seat, fd.device_fd(), fd);
        }
    }

    /// Whether displays can be changed: only one program at a time may.
    pub fn is_master(&self) -> bool {
        is_master(self.drm.device_fd())
    }

    /// What draws.
    pub fn renderer(&self) -> RendererKind {
        match self.drawing {
            Drawing::Pixman(_) => RendererKind::Pixman,
            Drawing::Gles(_) => RendererKind::Gles,
        }
    }

    /// See [`Heads::wirings`].
    pub fn wirings(&self) -> Vec<Wiring> {
        each!(&self.drawing, heads => heads.wirings())
    }

    /// See [`Heads::light`].
    pub fn light(&mut self, wiring: Wiring) -> Result<(), String> {
        each!(&mut self.drawing, heads => heads.light(&mut self.drm, wiring))
    }

    /// See [`Heads::keep`].
    pub fn keep(&mut self, keep: impl Fn(&Wiring) -> bool) {
        each!(&mut self.drawing, heads => heads.keep(keep))
    }

    /// See [`Heads::draw`].
    pub fn draw(&mut self, name: &str, scene: &Scene, stage: &Stage, screens: &mut Screens) -> Result<Put, String> {
        each!(&mut self.drawing, heads => heads.draw(name, scene, stage, screens))
    }

    /// See [`Heads::flip_begun`].
    pub fn flip_begun(&mut self, name: &str, overdue: Overdue) {
        each!(&mut self.drawing, heads => heads.flip_begun(name, overdue))
    }

    /// See [`Heads::remedy`].
    pub fn remedy(&self, name: &str) -> Remedy {
        each!(&self.drawing, heads => heads.remedy(name))
    }

    /// See [`Heads::is_flipping`].
    pub fn is_flipping(&self, name: &str) -> bool {
        each!(&self.drawing, heads => heads.is_flipping(name))
    }

    /// See [`Heads::flipped`].
    pub fn flipped(&mut self, crtc: crtc::Handle, time: Option<Duration>) -> Option<String> {
        each!(&mut self.drawing, heads => heads.flipped(crtc, time))
    }

    /// See [`Heads::sleep`].
    pub fn sleep(&mut self) {
        each!(&mut self.drawing, heads => heads.sleep())
    }

    /// See [`Heads::forget`].
    pub fn forget(&mut self) {
        each!(&mut self.drawing, heads => heads.forget())
    }

    /// See [`Heads::frame_done`].
    pub fn frame_done(&mut self, output: OutputId) {
        each!(&mut self.drawing, heads => heads.frame_done(output))
    }

    /// Forgets what the renderer has of things that are gone.
    pub fn forget_imports(&mut self) {
        each!(&mut self.drawing, heads => heads.forget_imports())
    }

    /// Draws `scene` where nobody sees it.
    pub fn offscreen(&mut self, size: (u32, u32), scene: &Scene, screens: &mut Screens) -> Result<Capture, String> {
        match &mut self.drawing {
            Drawing::Pixman(heads) => heads.offscreen::<Image<'static, 'static>>(size, scene, screens),
            Drawing::Gles(heads) => heads.offscreen::<GlesTexture>(size, scene, screens),
        }
    }

    /// Tries to import a dmabuf; the error says why it cannot be.
    pub fn import_dmabuf(&mut self, dmabuf: &Dmabuf) -> Result<(), String> {
        match &mut self.drawing {
            Drawing::Pixman(heads) => import_into_pixman(&mut heads.renderer, dmabuf),
            Drawing::Gles(heads) => {
                heads.renderer.import_dmabuf(dmabuf, None).map(drop).map_err(|error| error.to_string())
            }
        }
    }

    /// Formats of dmabufs that may be importable, and the render node's number (0: none).
    pub fn dmabuf_formats(&self) -> (Vec<Format>, u64) {
        match &self.drawing {
            Drawing::Pixman(heads) => (heads.renderer.dmabuf_formats().iter().copied().collect(), 0),
            Drawing::Gles(heads) => {
                let device = render_node(&heads.renderer, self.number);
                (heads.renderer.dmabuf_formats().iter().copied().collect(), device)
            }
        }
    }

    /// Formats of shared memory that can be drawn.
    pub fn shm_formats(&self) -> Vec<Fourcc> {
        each!(&self.drawing, heads => heads.renderer.mem_formats().collect())
    }
}

fn in_use(path: &Path) -> Refusal {
    format!(
        "{} is in use by another program that draws on the display (it is DRM master); end that program, or switch to a console \
         of your own and start there",
        path.display()
    )
}

/// Gives a device back to the seat daemon, if nothing holds it any more.
fn close(seat: &mut SeatHandle, device: DeviceFd, fd: DrmDeviceFd) {
    drop(fd);
    let owned: Result<OwnedFd, _> = device.try_into();
    match owned {
        Ok(owned) => {
            if let Err(error) = seat.close(owned) {
                tracing::debug!("a device cannot be given back: {error}");
            }
        }
        Err(_) => tracing::debug!("a device is still held and cannot be given back"),
    }
}

/// Only the DRM master may authenticate; asked for a token of its own nothing changes.
#[allow(deprecated, reason = "a token is made only to see whether it may be used")]
pub fn is_master(fd: &DrmDeviceFd) -> bool {
    let refused = |error: &io::Error| matches!(error.raw_os_error(), Some(libc::EACCES | libc::EPERM));
    match fd.generate_auth_token() {
        Ok(token) => fd.authenticate_auth_token(token).err().is_none_or(|error| !refused(&error)),
        Err(_) => true,
    }
}

fn drawing(fd: &DrmDeviceFd, wanted: Option<RendererKind>) -> Result<Drawing, String> {
    match wanted {
        Some(RendererKind::Pixman) => pixman(),
        Some(RendererKind::Gles) => {
            gles(fd, true).map_err(|why| format!("GLES cannot be used ({why}); choose --renderer pixman"))
        }
        None if !may_have_gl(fd) => pixman(),
        None => gles(fd, false).or_else(|why| {
            tracing::info!("drawn with Pixman: {why}");
            pixman()
        }),
    }
}

fn pixman() -> Result<Drawing, String> {
    let renderer =
        PixmanRenderer::new().map_err(|error| format!("Pixman cannot be used ({error}); choose --renderer gles"))?;
    Ok(Drawing::Pixman(Box::new(Heads::new(renderer, ()))))
}

fn gles(fd: &DrmDeviceFd, forced: bool) -> Result<Drawing, String> {
    let (renderer, source, driver) = gl(fd, forced)?;
    tracing::info!("drawn by {}", driver.name);
    Ok(Drawing::Gles(Box::new(Heads::new(renderer, source))))
}

/// What GL draws with.
pub struct GlDriver {
    /// As it calls itself.
    pub name: String,
    /// The same of its version.
    pub version: String,
    /// It is the processor.
    pub software: bool,
}

/// GL on a device. The error is some words. `software`: also where it is the processor that draws.
pub fn gl(fd: &DrmDeviceFd, software: bool) -> Result<(GlesRenderer, GpuSource, GlDriver), String> {
    let why = |what: &str, error: &dyn std::fmt::Display| format!("{what}: {error}");
    // smithay panics if the library is missing.
    if !egl_is_installed() {
        return Err("libEGL.so.1 is not installed; install libegl1".to_owned());
    }
    let gbm = GbmDevice::new(fd.clone()).map_err(|error| why("GBM", &error))?;
    // SAFETY: the display keeps the GBM device that it is made from, and EGL is loaded from the system's default
    // library.
    let display = unsafe { EGLDisplay::new(gbm.clone()) }.map_err(|error| why("EGL", &error))?;
    let is_software = EGLDevice::device_for_display(&display).is_ok_and(|device| device.is_software());
    if is_software && !software {
        return Err("GL is software here".to_owned());
    }
    let context = EGLContext::new(&display).map_err(|error| why("context", &error))?;
    let formats = context.dmabuf_render_formats().iter().copied().collect();
    // SAFETY: the context was just made and is current on no thread.
    let mut renderer = unsafe { GlesRenderer::new(context) }.map_err(|error| why("renderer", &error))?;
    let (name, version) = (gl_string(&mut renderer, ffi::RENDERER), gl_string(&mut renderer, ffi::VERSION));
    let named = ["llvmpipe", "softpipe", "swrast"].iter().any(|soft| name.to_ascii_lowercase().contains(soft));
    if named && !software {
        return Err(format!("GL is software here ({name})"));
    }
    let driver = GlDriver { name, version, software: is_software || named };
    Ok((renderer, GpuSource { gbm, formats }, driver))
}

/// The number of the node that GL renders on; 0: none. `number`: the display's device.
pub fn render_node(renderer: &GlesRenderer, number: u64) -> u64 {
    let display = renderer.egl_context().display();
    let node = EGLDevice::device_for_display(display)
        .ok()
        .and_then(|device| device.try_get_render_node().ok().flatten())
        .or_else(|| DrmNode::from_dev_id(number).ok()?.node_with_type(NodeType::Render)?.ok());
    node.map_or(0, |node| node.dev_id())
}

/// One of GL's strings.
fn gl_string(renderer: &mut GlesRenderer, name: ffi::types::GLenum) -> String {
    let asked = renderer.with_context(|gl| {
        // SAFETY: the context is current; GetString gives null or a string that lives as long as the context.
        unsafe {
            let text = gl.GetString(name).cast::<c_char>();
            if text.is_null() { String::new() } else { CStr::from_ptr(text).to_string_lossy().into_owned() }
        }
    });
    asked.unwrap_or_default()
}

/// Whether there may be GL hardware behind the kernel's driver.
fn may_have_gl(fd: &DrmDeviceFd) -> bool {
    let Ok(driver) = fd.get_driver() else { return true };
    let name = driver.name().to_string_lossy();
    match name.as_ref() {
        "virtio_gpu" => virtio_has_3d(fd),
        name => !NO_GL.contains(&name),
    }
}

/// VIRTGPU_PARAM_3D_FEATURES of the kernel's virtgpu_drm.h.
fn virtio_has_3d(fd: &DrmDeviceFd) -> bool {
    #[repr(C)]
    struct GetParam {
        param: u64,
        value: u64,
    }
    /// `_IOWR('d', DRM_COMMAND_BASE + 3, struct drm_virtgpu_getparam)`.
    const GETPARAM: libc::Ioctl = ((3 << 30) | (16 << 16) | (0x64 << 8) | 0x43) as libc::Ioctl;
    const FEATURES_3D: u64 = 1;
    let mut value: libc::c_int = 0;
    let mut request = GetParam { param: FEATURES_3D, value: (&raw mut value).expose_provenance() as u64 };
    // SAFETY: the descriptor is open and belongs to virtio_gpu, whose GETPARAM reads `request` and writes one int to
    // the address in it; both live until the call is over.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), GETPARAM, &raw mut request) };
    result == 0 && value != 0
}
