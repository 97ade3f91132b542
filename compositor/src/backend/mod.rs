//! Where outputs and input devices come from: one enum, the same few methods, each a short match.
//!
//! A backend owns its outputs and its renderer. It is told what to draw ([`Scene`]) and decides nothing.

pub mod elsewhere;
pub mod headless;
pub mod input;
pub mod kms;
pub mod nested;
pub mod painter;
mod shortcuts;

use crate::outputs::arrange::Rect;
use crate::outputs::{Capture, Displays, Drawn, Output, OutputId, RendererKind};
use crate::render::scene::Scene;
use crate::wayland::screens::Screens;
use headless::Headless;
use kms::Kms;
use nested::Nested;
use phyllome_trusted::gate::Pass;
use smithay::backend::allocator::Format;
use smithay::backend::allocator::dmabuf::Dmabuf;

/// The backends.
pub enum Backend {
    /// Draws into memory at a virtual 60 Hz.
    Headless(Box<Headless>),
    /// A window of another desktop.
    Nested(Box<Nested>),
    /// The display itself.
    Kms(Box<Kms>),
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

    /// Whether it is a window of another desktop, which has pointer, displays' sleep and suspends in its own hands.
    pub fn is_window(&self) -> bool {
        match self {
            Self::Headless(_) | Self::Kms(_) => false,
            Self::Nested(_) => true,
        }
    }

    /// Whether it is the display itself.
    pub fn is_display(&self) -> bool {
        match self {
            Self::Headless(_) | Self::Nested(_) => false,
            Self::Kms(_) => true,
        }
    }

    /// Whether devices and displays are another session's for now.
    pub fn is_away(&self) -> bool {
        match self {
            Self::Headless(_) | Self::Nested(_) => false,
            Self::Kms(kms) => kms.is_away(),
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

    /// Puts every output where it belongs in the plane that the pointer moves on.
    pub(crate) fn arrange(&mut self, displays: &mut Displays) {
        displays.arrange(match self {
            Self::Headless(headless) => headless.outputs_mut(),
            Self::Nested(nested) => nested.outputs_mut(),
            Self::Kms(kms) => kms.outputs_mut(),
        });
    }

    /// Where every output lies in the plane that the pointer moves on.
    pub fn rects(&self) -> Vec<Rect> {
        self.outputs().iter().map(Output::rect).collect()
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
        elsewhere::reaches(dmabuf, self.reaches())?;
        match self {
            Self::Headless(headless) => headless.import_dmabuf(dmabuf),
            Self::Nested(nested) => nested.import_dmabuf(dmabuf),
            Self::Kms(kms) => kms.import_dmabuf(dmabuf),
        }
    }

    /// Forgets imported dmabufs that are gone, and textures that nobody has any more.
    pub fn forget_imports(&mut self) {
        match self {
            Self::Headless(headless) => headless.forget_imports(),
            Self::Nested(nested) => nested.forget_imports(),
            Self::Kms(kms) => kms.forget_imports(),
        }
    }

    /// The driver of those devices whose pixels with their host the renderer reaches ([`elsewhere`]).
    pub fn reaches(&self) -> Option<&'static str> {
        match self {
            // What their GL is of is another's choice.
            Self::Headless(_) | Self::Nested(_) => None,
            Self::Kms(kms) => kms.reaches(),
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
    pub fn change_vt(&self, number: u8, _pass: &Pass) {
        match self {
            Self::Headless(_) | Self::Nested(_) => {}
            Self::Kms(kms) => kms.change_vt(number),
        }
    }
}
