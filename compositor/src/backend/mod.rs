//! Where outputs and input devices come from: one enum, the same few methods, each a short match.
//!
//! A backend owns its outputs and its renderer. It is told what to draw ([`Scene`]) and decides nothing.

pub mod changes;
pub mod headless;
pub mod kms;
pub mod nested;
pub mod painter;

use crate::frame::geometry::{Layout, layout};
use crate::render::Capture;
use crate::render::scene::Scene;
use crate::wayland::screens::Screens;
use headless::Headless;
use kms::Kms;
use nested::Nested;
use smithay::backend::allocator::Format;
use smithay::backend::allocator::dmabuf::Dmabuf;
use smithay::output::{Mode, Output as WaylandOutput, PhysicalProperties, Scale, Subpixel};
use smithay::reexports::wayland_server::backend::GlobalId;
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::reexports::wayland_server::{DisplayHandle, Resource};
use smithay::utils::Transform;
use std::cell::RefCell;
use std::sync::atomic::{AtomicU32, Ordering};

/// What draws.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RendererKind {
    /// Software, in this process.
    Pixman,
    /// OpenGL ES through EGL.
    Gles,
}

/// The backends.
pub enum Backend {
    /// Draws into memory at a virtual 60 Hz.
    Headless(Box<Headless>),
    /// A window of another desktop.
    Nested(Box<Nested>),
    /// The display itself.
    Kms(Box<Kms>),
}

/// What became of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drawn {
    /// It is on the display (in memory, or handed to the desktop around).
    Shown,
    /// A page flip is under way: [`crate::State::output_flipped`] is called when the frame is on the display.
    Queued,
    /// Nothing had changed and nothing was submitted; what is on the display stays.
    Unchanged,
    /// This output cannot be drawn now (switched away, asleep). Whoever wakes it queues a redraw.
    Asleep,
}

/// An output, for as long as it is plugged in; never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OutputId(u32);

impl OutputId {
    /// One that no output has had.
    pub fn unique() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// Through which plane of the display a guest's pixels go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Plane {
    /// Drawn into the shell's own picture.
    #[default]
    Composited,
    /// The guest's buffer is read by the display from an overlay (or underlay) plane.
    Overlay,
    /// The guest's buffer is on the primary plane.
    Primary,
}

impl Plane {
    /// The word in `phyllome status`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Composited => "composited",
            Self::Overlay => "overlay",
            Self::Primary => "primary",
        }
    }
}

/// What is known of an output when it appears. Sizes are physical pixels.
#[derive(Clone, Debug, PartialEq)]
pub struct OutputInfo {
    /// Connector name.
    pub name: String,
    /// Width and height of what is drawn: the mode's, turned as `transform` says.
    pub size: (u32, u32),
    /// Scale of the shell's own surfaces.
    pub scale: f64,
    /// Millihertz.
    pub refresh_mhz: u32,
    /// How what is drawn is turned on its way to the display. Guests never hear of it.
    pub transform: Transform,
    /// Millimetres, turned like `size`; 0 where unknown.
    pub millimetres: (u32, u32),
}

impl OutputInfo {
    /// A display of unknown extent, not turned.
    pub fn plain(name: String, size: (u32, u32), scale: f64, refresh_mhz: u32) -> Self {
        Self { name, size, scale, refresh_mhz, transform: Transform::Normal, millimetres: (0, 0) }
    }
}

/// One output. Sizes are physical pixels.
pub struct Output {
    /// Which.
    pub id: OutputId,
    /// Connector name.
    pub name: String,
    /// Width and height of what is drawn: the mode's, turned as `transform` says.
    pub size: (u32, u32),
    /// Left upper corner in the plane that the pointer moves on, in physical pixels.
    pub position: (i32, i32),
    /// How what is drawn is turned on its way to the display.
    pub transform: Transform,
    /// Millimetres, turned like `size`; 0 where unknown.
    pub millimetres: (u32, u32),
    /// Where the guest's pixels went in the last frame.
    pub plane: Plane,
    /// Scale of the shell's own surfaces; guests' pixels are never scaled by it.
    pub scale: f64,
    /// Millihertz.
    pub refresh_mhz: u32,
    /// What guests see of it.
    pub wayland: WaylandOutput,
    global: GlobalId,
    /// Surfaces that were told that they are on it.
    entered: RefCell<Vec<WlSurface>>,
}

impl Output {
    /// An output that guests can see from now on.
    pub fn new(display: &DisplayHandle, info: OutputInfo) -> Self {
        let extent = |value: u32| i32::try_from(value).unwrap_or(0);
        // Guests have no need to know whose display it is.
        let physical = PhysicalProperties {
            size: (extent(info.millimetres.0), extent(info.millimetres.1)).into(),
            subpixel: Subpixel::Unknown,
            make: "Phyllome".to_owned(),
            model: info.name.clone(),
        };
        let wayland = WaylandOutput::new(info.name.clone(), physical);
        let global = wayland.create_global::<crate::State>(display);
        let output = Self {
            id: OutputId::unique(),
            name: info.name,
            size: info.size,
            position: (0, 0),
            transform: info.transform,
            millimetres: info.millimetres,
            plane: Plane::default(),
            scale: info.scale,
            refresh_mhz: info.refresh_mhz,
            wayland,
            global,
            entered: RefCell::new(Vec::new()),
        };
        output.tell_mode();
        output
    }

    /// Takes another size and scale.
    pub fn resize(&mut self, size: (u32, u32), scale: f64) {
        self.size = size;
        self.scale = scale;
        self.tell_mode();
    }

    /// Takes another size, scale, refresh rate and rotation. What guests were told of its extent stays.
    pub fn change(&mut self, info: &OutputInfo) {
        self.refresh_mhz = info.refresh_mhz;
        self.transform = info.transform;
        self.resize(info.size, info.scale);
    }

    /// The output is gone: guests are told. Its global is still there for those that bind it at this moment; give it to
    /// [`DisplayHandle::remove_global`] some seconds later.
    pub fn retire(&self, display: &DisplayHandle) -> GlobalId {
        self.present(&[]);
        display.disable_global::<crate::State>(self.global.clone());
        self.global.clone()
    }

    fn tell_mode(&self) {
        let extent = |value: u32| i32::try_from(value).unwrap_or(i32::MAX);
        let mode = Mode { size: (extent(self.size.0), extent(self.size.1)).into(), refresh: extent(self.refresh_mhz) };
        let former = self.wayland.current_mode();
        self.wayland.change_current_state(
            Some(mode),
            Some(Transform::Normal),
            Some(Scale::Integer(1)),
            Some((0, 0).into()),
        );
        self.wayland.set_preferred(mode);
        if let Some(former) = former.filter(|former| *former != mode) {
            self.wayland.delete_mode(former);
        }
    }

    /// Frame and guest's area.
    pub fn layout(&self) -> Layout {
        layout(self.size.0, self.size.1, self.scale)
    }

    /// Its place in the plane that the pointer moves on.
    pub fn rect(&self) -> kms::arrange::Rect {
        let (x, y) = self.position;
        kms::arrange::Rect { x, y, width: self.size.0, height: self.size.1 }
    }

    /// Size of the guest's area.
    pub fn area_size(&self) -> (u32, u32) {
        let area = self.layout().area;
        (area.width, area.height)
    }

    /// Tells surfaces that came onto this output or left it.
    pub fn present(&self, shown: &[WlSurface]) {
        let mut entered = self.entered.borrow_mut();
        entered.retain(|surface| {
            let stays = surface.is_alive() && shown.contains(surface);
            if !stays && surface.is_alive() {
                self.wayland.leave(surface);
            }
            stays
        });
        for surface in shown {
            if !entered.contains(surface) {
                self.wayland.enter(surface);
                entered.push(surface.clone());
            }
        }
    }
}

/// Puts outputs side by side.
pub(crate) fn arrange(outputs: &mut [Output]) {
    let sizes: Vec<(u32, u32)> = outputs.iter().map(|output| output.size).collect();
    for (output, position) in outputs.iter_mut().zip(kms::arrange::positions(&sizes)) {
        output.position = position;
    }
}

impl Backend {
    /// The name in `phyllome status`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Headless(_) => "headless",
            Self::Nested(_) => "nested",
            Self::Kms(_) => "kms",
        }
    }

    /// What draws.
    pub fn renderer(&self) -> RendererKind {
        match self {
            Self::Headless(headless) => headless.renderer(),
            Self::Nested(_) => RendererKind::Gles,
            Self::Kms(kms) => kms.renderer(),
        }
    }

    /// Every output in order of appearance.
    pub fn outputs(&self) -> &[Output] {
        match self {
            Self::Headless(headless) => headless.outputs(),
            Self::Nested(nested) => nested.outputs(),
            Self::Kms(kms) => kms.outputs(),
        }
    }

    /// Puts `scene` on output `index`.
    pub fn draw(&mut self, index: usize, scene: &Scene, screens: &mut Screens) -> Result<Drawn, String> {
        match self {
            Self::Headless(headless) => headless.draw(index, scene, screens).map(|()| Drawn::Shown),
            Self::Nested(nested) => nested.draw(scene, screens).map(|()| Drawn::Shown),
            Self::Kms(kms) => kms.draw(index, scene, screens),
        }
    }

    /// An output was drawn, or is gone: what it used before and uses no more is dropped.
    pub fn frame_done(&mut self, output: OutputId) {
        match self {
            Self::Headless(headless) => headless.frame_done(output),
            Self::Nested(nested) => nested.frame_done(output),
            Self::Kms(kms) => kms.frame_done(output),
        }
    }

    /// The pixels of output `index`; `scene` is what is on it, for a backend that has to draw it again.
    pub fn read(&mut self, index: usize, scene: &Scene, screens: &mut Screens) -> Result<Capture, String> {
        match self {
            Self::Headless(headless) => headless.read(index),
            Self::Nested(nested) => nested.read(scene, screens),
            Self::Kms(kms) => kms.read(index, scene, screens),
        }
    }

    /// Draws `scene` where nobody sees it and returns its pixels.
    pub fn offscreen(&mut self, size: (u32, u32), scene: &Scene, screens: &mut Screens) -> Result<Capture, String> {
        match self {
            Self::Headless(headless) => headless.offscreen(size, scene, screens),
            Self::Nested(nested) => nested.offscreen(size, scene, screens),
            Self::Kms(kms) => kms.offscreen(size, scene, screens),
        }
    }

    /// Tries to import a dmabuf; the error says why it cannot be.
    pub fn import_dmabuf(&mut self, dmabuf: &Dmabuf) -> Result<(), String> {
        match self {
            Self::Headless(headless) => headless.import_dmabuf(dmabuf),
            Self::Nested(nested) => nested.import_dmabuf(dmabuf),
            Self::Kms(kms) => kms.import_dmabuf(dmabuf),
        }
    }

    /// Formats of dmabufs that may be importable, and the render node's number (0: none).
    pub fn dmabuf_formats(&self) -> (Vec<Format>, u64) {
        match self {
            Self::Headless(headless) => headless.dmabuf_formats(),
            Self::Nested(nested) => nested.dmabuf_formats(),
            Self::Kms(kms) => kms.dmabuf_formats(),
        }
    }

    /// Formats of shared memory that can be drawn.
    pub fn shm_formats(&self) -> Vec<smithay::backend::allocator::Fourcc> {
        match self {
            Self::Headless(headless) => headless.shm_formats(),
            Self::Nested(nested) => nested.shm_formats(),
            Self::Kms(kms) => kms.shm_formats(),
        }
    }

    /// Switches the displays off or on. What is drawn in the meantime is not shown.
    pub fn sleep(&mut self, asleep: bool) {
        match self {
            Self::Headless(_) | Self::Nested(_) => {}
            Self::Kms(kms) => kms.sleep(asleep),
        }
    }

    /// Whether the page flip that [`Drawn::Queued`] promised is still to come.
    pub fn is_flipping(&self, output: OutputId) -> bool {
        match self {
            Self::Headless(_) | Self::Nested(_) => false,
            Self::Kms(kms) => kms.is_flipping(output),
        }
    }

    /// Switches to virtual terminal `number`, where the shell has one itself.
    pub fn change_vt(&self, number: u8) {
        match self {
            Self::Headless(_) | Self::Nested(_) => {}
            Self::Kms(kms) => kms.change_vt(number),
        }
    }
}
