//! No display at all: outputs are pictures in memory, refreshed at a virtual 60 Hz and only when something changes.
//!
//! It renders for real, with Pixman or with GLES on surfaceless EGL, so that tests and screenshots see what a display
//! would. EGL and GL are loaded only if GLES is asked for.

use super::painter::{Painter, import_into_pixman};
use crate::outputs::arrange::Order;
use crate::outputs::{Capture, Output, OutputId, OutputInfo, RendererKind};
use crate::render::scene::Scene;
use crate::render::turned::{transform_of, turned_size};
use crate::wayland::screens::Screens;
use phyllome_config::shell::OutputConfig;
use smithay::backend::allocator::dmabuf::Dmabuf;
use smithay::backend::allocator::{Format, Fourcc};
use smithay::backend::egl::native::EGLSurfacelessDisplay;
use smithay::backend::egl::{EGLContext, EGLDevice, EGLDisplay};
use smithay::backend::renderer::gles::{GlesRenderer, GlesTexture};
use smithay::backend::renderer::pixman::PixmanRenderer;
use smithay::backend::renderer::{ImportDma, ImportMem};
use smithay::reexports::pixman::Image;
use smithay::reexports::wayland_server::DisplayHandle;

/// Refresh rate of the virtual display, in millihertz.
pub const REFRESH_MHZ: u32 = 60_000;

enum Canvases {
    Pixman(Box<Painter<PixmanRenderer, Image<'static, 'static>>>),
    Gles(Box<Painter<GlesRenderer, GlesTexture>>, u64),
}

/// Outputs in memory.
pub struct Headless {
    outputs: Vec<Output>,
    canvases: Canvases,
    order: Order,
}

impl Headless {
    /// These outputs, such as [`Headless::info`] describes them.
    pub fn new(display: &DisplayHandle, outputs: Vec<OutputInfo>, renderer: RendererKind) -> Result<Self, String> {
        let canvases = match renderer {
            RendererKind::Pixman => {
                let renderer = PixmanRenderer::new().map_err(|e| e.to_string())?;
                Canvases::Pixman(Box::new(Painter::new(renderer)))
            }
            RendererKind::Gles => {
                let (renderer, device) = surfaceless_gles()?;
                Canvases::Gles(Box::new(Painter::new(renderer)), device)
            }
        };
        let mut headless = Self { outputs: Vec::new(), canvases, order: Order::default() };
        for info in outputs {
            headless.plug(display, info)?;
        }
        Ok(headless)
    }

    /// Output HEADLESS-1, HEADLESS-2, … (`number` counts from 0) with a mode of this size.
    pub fn info(number: usize, mode: (u32, u32), settings: Option<&OutputConfig>) -> OutputInfo {
        let transform = transform_of(settings.map(|settings| settings.rotation).unwrap_or_default());
        let scale = settings.and_then(|settings| settings.scale).unwrap_or(1.0);
        let name = format!("HEADLESS-{}", number.saturating_add(1));
        OutputInfo { transform, ..OutputInfo::plain(name, turned_size(mode, transform), scale, REFRESH_MHZ) }
    }

    /// One more output, in the place that one of its name had before.
    pub(crate) fn plug(&mut self, display: &DisplayHandle, info: OutputInfo) -> Result<(), String> {
        let names = self.outputs.iter().map(|output| output.name.as_str());
        let index = self.order.place(names, &info.name);
        match &mut self.canvases {
            Canvases::Pixman(painter) => painter.add(index, info.size, info.transform)?,
            Canvases::Gles(painter, _) => painter.add(index, info.size, info.transform)?,
        }
        self.outputs.insert(index, Output::new(display, info));
        Ok(())
    }

    /// The output of this name is gone.
    #[cfg(test)]
    pub(crate) fn unplug(&mut self, display: &DisplayHandle, name: &str) {
        let Some(index) = self.outputs.iter().position(|output| output.name == name) else { return };
        match &mut self.canvases {
            Canvases::Pixman(painter) => painter.remove(index),
            Canvases::Gles(painter, _) => painter.remove(index),
        }
        let global = self.outputs.remove(index).retire(display);
        display.remove_global::<crate::State>(global);
    }

    /// The output of this name has another mode, scale or rotation.
    #[cfg(test)]
    pub(crate) fn change(&mut self, info: &OutputInfo) -> Result<(), String> {
        let Some(index) = self.outputs.iter().position(|output| output.name == info.name) else { return Ok(()) };
        match &mut self.canvases {
            Canvases::Pixman(painter) => {
                painter.remove(index);
                painter.add(index, info.size, info.transform)?;
            }
            Canvases::Gles(painter, _) => {
                painter.remove(index);
                painter.add(index, info.size, info.transform)?;
            }
        }
        if let Some(output) = self.outputs.get_mut(index) {
            output.change(info);
        }
        Ok(())
    }

    pub(super) fn renderer(&self) -> RendererKind {
        match self.canvases {
            Canvases::Pixman(_) => RendererKind::Pixman,
            Canvases::Gles(..) => RendererKind::Gles,
        }
    }

    pub(super) fn outputs(&self) -> &[Output] {
        &self.outputs
    }

    pub(super) fn outputs_mut(&mut self) -> &mut [Output] {
        &mut self.outputs
    }

    pub(super) fn draw(&mut self, index: usize, scene: &Scene, screens: &mut Screens) -> Result<(), String> {
        match &mut self.canvases {
            Canvases::Pixman(painter) => painter.draw(index, scene, screens),
            Canvases::Gles(painter, _) => painter.draw(index, scene, screens),
        }
    }

    pub(super) fn frame_done(&mut self, output: OutputId) {
        match &mut self.canvases {
            Canvases::Pixman(painter) => painter.frame_done(output),
            Canvases::Gles(painter, _) => painter.frame_done(output),
        }
    }

    pub(super) fn read(&mut self, index: usize) -> Result<Capture, String> {
        match &mut self.canvases {
            Canvases::Pixman(painter) => painter.read(index),
            Canvases::Gles(painter, _) => painter.read(index),
        }
    }

    pub(super) fn offscreen(
        &mut self,
        size: (u32, u32),
        scene: &Scene,
        screens: &mut Screens,
    ) -> Result<Capture, String> {
        match &mut self.canvases {
            Canvases::Pixman(painter) => painter.offscreen(size, scene, screens),
            Canvases::Gles(painter, _) => painter.offscreen(size, scene, screens),
        }
    }

    pub(super) fn import_dmabuf(&mut self, dmabuf: &Dmabuf) -> Result<(), String> {
        match &mut self.canvases {
            Canvases::Pixman(painter) => import_into_pixman(&mut painter.renderer, dmabuf),
            Canvases::Gles(painter, _) => {
                painter.renderer.import_dmabuf(dmabuf, None).map(drop).map_err(|error| error.to_string())
            }
        }
    }

    /// How many guests' surfaces have a texture.
    #[cfg(test)]
    pub(crate) fn guests_textures(&self) -> usize {
        match &self.canvases {
            Canvases::Pixman(painter) => painter.guests_textures(),
            Canvases::Gles(painter, _) => painter.guests_textures(),
        }
    }

    pub(super) fn forget_imports(&mut self) {
        match &mut self.canvases {
            Canvases::Pixman(painter) => painter.forget_imports(),
            Canvases::Gles(painter, _) => painter.forget_imports(),
        }
    }

    pub(super) fn dmabuf_formats(&self) -> (Vec<Format>, u64) {
        match &self.canvases {
            Canvases::Pixman(painter) => (painter.renderer.dmabuf_formats().iter().copied().collect(), 0),
            Canvases::Gles(painter, device) => (painter.renderer.dmabuf_formats().iter().copied().collect(), *device),
        }
    }

    pub(super) fn shm_formats(&self) -> Vec<Fourcc> {
        match &self.canvases {
            Canvases::Pixman(painter) => painter.renderer.mem_formats().collect(),
            Canvases::Gles(painter, _) => painter.renderer.mem_formats().collect(),
        }
    }
}

/// GLES without any window system, and the number of its render node (0: none).
fn surfaceless_gles() -> Result<(GlesRenderer, u64), String> {
    let why = |what: &str, error: &dyn std::fmt::Display| {
        format!("GLES cannot be used without a display ({what}: {error}); choose --renderer pixman")
    };
    // smithay panics if the library is missing.
    if !egl_is_installed() {
        return Err("libEGL.so.1 is not installed; install libegl1 or choose --renderer pixman".to_owned());
    }
    // SAFETY: the display is made from no native handle that could go away, and EGL is loaded from the system's default
    // library.
    let display = unsafe { EGLDisplay::new(EGLSurfacelessDisplay) }.map_err(|error| why("EGL", &error))?;
    let device = EGLDevice::device_for_display(&display)
        .ok()
        .and_then(|device| device.try_get_render_node().ok().flatten())
        .map_or(0, |node| node.dev_id());
    let context = EGLContext::new(&display).map_err(|error| why("context", &error))?;
    // SAFETY: the context was just made and is current on no thread.
    let renderer = unsafe { GlesRenderer::new(context) }.map_err(|error| why("renderer", &error))?;
    Ok((renderer, device))
}

/// Whether the EGL library can be loaded.
pub(super) fn egl_is_installed() -> bool {
    // SAFETY: loading libEGL runs its initialisers, which is what using it means; the handle is dropped and the
    // library, once used by smithay, stays.
    unsafe { libloading::Library::new("libEGL.so.1") }.is_ok()
}
