//! Where outputs and input devices come from: one enum, the same few methods, each a short match.
//!
//! A backend owns its outputs and its renderer. It is told what to draw ([`Scene`]) and decides nothing.

pub mod headless;
pub mod nested;
pub mod painter;

use crate::frame::geometry::{Layout, layout};
use crate::render::Capture;
use crate::render::scene::Scene;
use crate::wayland::screens::Screens;
use headless::Headless;
use nested::Nested;
use smithay::backend::allocator::Format;
use smithay::backend::allocator::dmabuf::Dmabuf;
use smithay::output::{Mode, Output as WaylandOutput, PhysicalProperties, Scale, Subpixel};
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::reexports::wayland_server::{DisplayHandle, Resource};
use smithay::utils::Transform;
use std::cell::RefCell;

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
}

/// One output. Sizes are physical pixels.
pub struct Output {
    /// Connector name.
    pub name: String,
    /// Width and height of the mode.
    pub size: (u32, u32),
    /// Scale of the shell's own surfaces; guests' pixels are never scaled by it.
    pub scale: f64,
    /// Millihertz.
    pub refresh_mhz: u32,
    /// What guests see of it.
    pub wayland: WaylandOutput,
    /// Surfaces that were told that they are on it.
    entered: RefCell<Vec<WlSurface>>,
}

impl Output {
    /// An output that guests can see from now on.
    pub fn new(display: &DisplayHandle, name: String, size: (u32, u32), scale: f64, refresh_mhz: u32) -> Self {
        let physical = PhysicalProperties {
            size: (0, 0).into(),
            subpixel: Subpixel::Unknown,
            make: "Phyllome".to_owned(),
            model: name.clone(),
        };
        let wayland = WaylandOutput::new(name.clone(), physical);
        wayland.create_global::<crate::State>(display);
        let output = Self { name, size, scale, refresh_mhz, wayland, entered: RefCell::new(Vec::new()) };
        output.tell_mode();
        output
    }

    /// Takes another size and scale.
    pub fn resize(&mut self, size: (u32, u32), scale: f64) {
        self.size = size;
        self.scale = scale;
        self.tell_mode();
    }

    fn tell_mode(&self) {
        let extent = |value: u32| i32::try_from(value).unwrap_or(i32::MAX);
        let mode = Mode { size: (extent(self.size.0), extent(self.size.1)).into(), refresh: extent(self.refresh_mhz) };
        self.wayland.change_current_state(
            Some(mode),
            Some(Transform::Normal),
            Some(Scale::Integer(1)),
            Some((0, 0).into()),
        );
        self.wayland.set_preferred(mode);
    }

    /// Frame and guest's area.
    pub fn layout(&self) -> Layout {
        layout(self.size.0, self.size.1, self.scale)
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

impl Backend {
    /// The name in `phyllome status`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Headless(_) => "headless",
            Self::Nested(_) => "nested",
        }
    }

    /// What draws.
    pub fn renderer(&self) -> RendererKind {
        match self {
            Self::Headless(headless) => headless.renderer(),
            Self::Nested(_) => RendererKind::Gles,
        }
    }

    /// Every output in order of appearance.
    pub fn outputs(&self) -> &[Output] {
        match self {
            Self::Headless(headless) => headless.outputs(),
            Self::Nested(nested) => nested.outputs(),
        }
    }

    /// Puts `scene` on output `index`.
    pub fn draw(&mut self, index: usize, scene: &Scene, screens: &mut Screens) -> Result<(), String> {
        match self {
            Self::Headless(headless) => headless.draw(index, scene, screens),
            Self::Nested(nested) => nested.draw(scene, screens),
        }
    }

    /// Every output was drawn: what none of them used is dropped.
    pub fn frame_done(&mut self) {
        match self {
            Self::Headless(headless) => headless.frame_done(),
            Self::Nested(nested) => nested.frame_done(),
        }
    }

    /// The pixels of output `index`; `scene` is what is on it, for a backend that has to draw it again.
    pub fn read(&mut self, index: usize, scene: &Scene, screens: &mut Screens) -> Result<Capture, String> {
        match self {
            Self::Headless(headless) => headless.read(index),
            Self::Nested(nested) => nested.read(scene, screens),
        }
    }

    /// Draws `scene` where nobody sees it and returns its pixels.
    pub fn offscreen(
        &mut self,
        width: u32,
        height: u32,
        scene: &Scene,
        screens: &mut Screens,
    ) -> Result<Capture, String> {
        match self {
            Self::Headless(headless) => headless.offscreen(width, height, scene, screens),
            Self::Nested(nested) => nested.offscreen(width, height, scene, screens),
        }
    }

    /// Tries to import a dmabuf; the error says why it cannot be.
    pub fn import_dmabuf(&mut self, dmabuf: &Dmabuf) -> Result<(), String> {
        match self {
            Self::Headless(headless) => headless.import_dmabuf(dmabuf),
            Self::Nested(nested) => nested.import_dmabuf(dmabuf),
        }
    }

    /// Formats of dmabufs that may be importable, and the render node's number (0: none).
    pub fn dmabuf_formats(&self) -> (Vec<Format>, u64) {
        match self {
            Self::Headless(headless) => headless.dmabuf_formats(),
            Self::Nested(nested) => nested.dmabuf_formats(),
        }
    }

    /// Formats of shared memory that can be drawn.
    pub fn shm_formats(&self) -> Vec<smithay::backend::allocator::Fourcc> {
        match self {
            Self::Headless(headless) => headless.shm_formats(),
            Self::Nested(nested) => nested.shm_formats(),
        }
    }
}
