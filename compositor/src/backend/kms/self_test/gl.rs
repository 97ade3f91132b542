//! What GL can do: draw into memory that others read, read memory that others have made, and wait for it by fences.

use super::picture::{self, FORMAT, Maker, SIDE};
use super::{MAX_NAME, Tried, Ways, name_of};
use crate::backend::kms::device::{GlDriver, gl, render_node};
use crate::backend::kms::sheets::GpuSource;
use crate::wayland::syncobj::open_node;
use phyllome_protocol::graphics::Outcome;
use phyllome_protocol::text::printable;
use smithay::backend::allocator::dmabuf::{AsDmabuf, Dmabuf};
use smithay::backend::allocator::gbm::{GbmAllocator, GbmBuffer, GbmBufferFlags};
use smithay::backend::allocator::{Allocator, Buffer as _, Fourcc, Modifier};
use smithay::backend::drm::{DrmDeviceFd, DrmNode, NodeType};
use smithay::backend::egl::fence::EGLFence;
use smithay::backend::renderer::gles::{GlesRenderer, GlesTexture};
use smithay::backend::renderer::{Bind, Color32F, ExportMem, Frame, ImportDma, ImportMem, Offscreen, Renderer};
use smithay::utils::{Buffer, Physical, Rectangle, Size, Transform};
use smithay::wayland::drm_syncobj::supports_syncobj_eventfd;
use std::path::PathBuf;

/// GL on the device at hand.
pub struct TestGl {
    renderer: GlesRenderer,
    /// Where its buffers come from.
    pub source: GpuSource,
    driver: GlDriver,
    /// The display's device.
    number: u64,
}

/// A picture that GL has drawn, in memory of its device.
pub struct Drawn {
    /// As others know it.
    pub dmabuf: Dmabuf,
    _buffer: GbmBuffer,
}

fn side() -> i32 {
    i32::try_from(SIDE).unwrap_or_default()
}

fn words(error: impl std::fmt::Display) -> String {
    error.to_string()
}

impl TestGl {
    /// Opens GL on the device of the display. The error says why there is none.
    pub fn open(fd: &DrmDeviceFd) -> Result<Self, String> {
        let (renderer, source, driver) = gl(fd, true)?;
        let number = rustix::fs::fstat(fd).map_or(0, |stat| stat.st_rdev);
        Ok(Self { renderer, source, driver, number })
    }

    /// What draws.
    pub fn renderer(&mut self) -> &mut GlesRenderer {
        &mut self.renderer
    }

    /// Whether the processor draws, and the shell therefore by Pixman.
    pub fn is_software(&self) -> bool {
        self.driver.software
    }

    /// What draws, where, and what the shell makes of that.
    pub fn draws_with(&self) -> Tried {
        let name = printable(&self.driver.name, MAX_NAME);
        let version = printable(&self.driver.version, MAX_NAME);
        let node = self.node().map_or_else(|| "no render node".to_owned(), |node| node.display().to_string());
        if self.driver.software {
            let why = format!("{name} ({version}), which is the processor; the shell draws with Pixman");
            return (Outcome::Absent, why);
        }
        (Outcome::Works, format!("{name} ({version}) on {node}"))
    }

    /// The node that it draws on.
    fn node(&self) -> Option<PathBuf> {
        let number = render_node(&self.renderer, self.number);
        DrmNode::from_dev_id(number).ok()?.dev_path_with_type(NodeType::Render)
    }

    /// Draws the picture into memory of its own, which is given out as a dmabuf, and reads it back.
    pub fn draws(&mut self) -> (Tried, Option<Drawn>) {
        match self.draw_into(&self.modifiers()) {
            Ok(drawn) => {
                let (modifier, planes) = (name_of(drawn.dmabuf.format().modifier), drawn.dmabuf.num_planes());
                let words = format!("what GL draws is a dmabuf, XR24, {modifier}, {planes} plane(s)");
                ((Outcome::Works, words), Some(drawn))
            }
            Err(why) => ((Outcome::Fails, why), None),
        }
    }

    /// Modifiers in which it draws the picture's format.
    fn modifiers(&self) -> Vec<Modifier> {
        let of = self.source.formats.iter().filter(|format| format.code == FORMAT);
        let modifiers: Vec<_> = of.map(|format| format.modifier).collect();
        if modifiers.is_empty() { vec![Modifier::Invalid] } else { modifiers }
    }

    fn draw_into(&mut self, modifiers: &[Modifier]) -> Result<Drawn, String> {
        let mut allocator = GbmAllocator::new(self.source.gbm.clone(), GbmBufferFlags::RENDERING);
        let buffer = allocator
            .create_buffer(SIDE, SIDE, FORMAT, modifiers)
            .map_err(|error| format!("GBM gives no memory: {error}"))?;
        let mut dmabuf = buffer.export().map_err(|error| format!("GBM gives no dmabuf: {error}"))?;
        let texture = self.renderer.import_memory(&picture::rows(Maker::Gl), FORMAT, (side(), side()).into(), false);
        let texture = texture.map_err(|error| format!("GL takes no pixels: {error}"))?;
        let seen = show(&mut self.renderer, &mut dmabuf, &texture, Maker::Gl)
            .map_err(|error| format!("GL does not draw into a dmabuf: {error}"))?;
        if !seen {
            return Err("what GL drew into a dmabuf is another picture".to_owned());
        }
        Ok(Drawn { dmabuf, _buffer: buffer })
    }

    /// Reads pictures: of its own memory with the layout named and not, and of pages of memory.
    pub fn reads(&mut self) -> Tried {
        let mut ways = Ways::default();
        let named: Vec<Modifier> =
            self.modifiers().into_iter().filter(|modifier| *modifier != Modifier::Invalid).collect();
        if !named.is_empty() {
            let tried = self.draw_into(&named).and_then(|drawn| self.read(&drawn.dmabuf, Maker::Gl));
            ways.note("its own with a modifier", tried);
        }
        let tried = self.draw_into(&[Modifier::Invalid]).and_then(|drawn| self.read(&drawn.dmabuf, Maker::Gl));
        ways.note("its own without", tried);
        let tried = picture::in_pages().and_then(|dmabuf| self.read(&dmabuf, Maker::Processor));
        ways.note("pages of memory (udmabuf)", tried);
        ways.tell("GL reads")
    }

    fn read(&mut self, dmabuf: &Dmabuf, maker: Maker) -> Result<(), String> {
        let texture = self.renderer.import_dmabuf(dmabuf, None).map_err(words)?;
        let size: Size<i32, Buffer> = (side(), side()).into();
        let mut target: GlesTexture = self.renderer.create_buffer(Fourcc::Abgr8888, size).map_err(words)?;
        if show(&mut self.renderer, &mut target, &texture, maker)? {
            Ok(())
        } else {
            Err("another picture is seen".to_owned())
        }
    }

    /// Whether what is not drawn yet can be waited for without holding anybody up: GL's own fence, given out and taken in
    /// again, and whether guests are offered to bring theirs.
    pub fn fences(&self) -> Tried {
        let mut ways = Ways::default();
        let display = self.renderer.egl_context().display();
        let own = if EGLFence::supports_importing(display) {
            let fence = EGLFence::create(display).and_then(|fence| fence.export());
            fence.and_then(|native| EGLFence::import(display, native)).map(drop).map_err(words)
        } else {
            Err("the driver has none; the processor waits".to_owned())
        };
        ways.note("GL's own, given out and taken in", own);
        let node = self.node().ok_or("there is no render node".to_owned());
        let explicit = node.and_then(|node| open_node(&node)).and_then(|node| {
            let offered = supports_syncobj_eventfd(&node);
            if offered { Ok(()) } else { Err("the kernel does not tell that one has come".to_owned()) }
        });
        ways.note("guests' explicit ones", explicit);
        ways.tell("there are")
    }
}

/// Draws a texture as it is into a target, and tells whether the picture is seen there.
fn show<B>(renderer: &mut GlesRenderer, target: &mut B, texture: &GlesTexture, maker: Maker) -> Result<bool, String>
where
    GlesRenderer: Bind<B>,
{
    let size: Size<i32, Physical> = (side(), side()).into();
    let whole = Rectangle::from_size(size);
    let mut framebuffer = renderer.bind(target).map_err(words)?;
    let mut frame = renderer.render(&mut framebuffer, size, Transform::Normal).map_err(words)?;
    frame.clear(Color32F::BLACK, &[whole]).map_err(words)?;
    let source = Rectangle::from_size((f64::from(side()), f64::from(side())).into());
    frame
        .render_texture_from_to(texture, source, whole, &[whole], &[whole], Transform::Normal, 1.0, None, &[])
        .map_err(words)?;
    let done = frame.finish().map_err(words)?;
    renderer.wait(&done).map_err(words)?;
    let region: Rectangle<i32, Buffer> = Rectangle::from_size((side(), side()).into());
    let mapping = renderer.copy_framebuffer(&framebuffer, region, FORMAT).map_err(words)?;
    Ok(picture::is_seen(renderer.map_texture(&mapping).map_err(words)?, maker))
}
