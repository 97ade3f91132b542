//! A renderer with buffers of its own to draw into: what every backend without a window does, and how each makes a
//! picture of itself.

use crate::outputs::{Capture, OutputId};
use crate::render::elements::{Piece, Textures, ground};
use crate::render::own::ImportOwn;
use crate::render::scene::Scene;
use crate::render::turned::{turn, turned_size, upright};
use crate::wayland::screens::Screens;
use smithay::backend::allocator::Fourcc;
use smithay::backend::allocator::dmabuf::{Dmabuf, DmabufSyncFlags};
use smithay::backend::renderer::damage::OutputDamageTracker;
use smithay::backend::renderer::element::RenderElement;
use smithay::backend::renderer::pixman::PixmanRenderer;
use smithay::backend::renderer::{Bind, ExportMem, ImportAll, ImportDma, Offscreen, Renderer, Texture};
use smithay::utils::{Buffer, Physical, Rectangle, Size, Transform};

/// A buffer that stands for an output.
struct Canvas<B> {
    buffer: B,
    /// Of the buffer.
    size: Size<i32, Physical>,
    /// How what is drawn is turned in the buffer.
    transform: Transform,
    tracker: OutputDamageTracker,
    /// The buffer holds the frame before.
    drawn: bool,
}

/// A renderer, its textures and one buffer per output.
pub struct Painter<R: Renderer, B> {
    /// The renderer.
    pub renderer: R,
    textures: Textures<R::TextureId>,
    canvases: Vec<Canvas<B>>,
}

/// The canvas's format: no alpha, so that what is composed is opaque.
const FORMAT: Fourcc = Fourcc::Xrgb8888;

impl<R, B> Painter<R, B>
where
    R: Renderer + ImportAll + ImportOwn + ExportMem + Bind<B> + Offscreen<B>,
    R::TextureId: Texture + Clone + 'static,
    Piece<R::TextureId>: RenderElement<R>,
{
    /// A renderer without outputs.
    pub fn new(renderer: R) -> Self {
        Self { renderer, textures: Textures::default(), canvases: Vec::new() }
    }

    /// One more output, before number `index`. `size`: of what is drawn, which is turned in the buffer.
    pub fn add(&mut self, index: usize, size: (u32, u32), transform: Transform) -> Result<(), String> {
        let canvas = canvas(&mut self.renderer, size, transform)?;
        self.canvases.insert(index.min(self.canvases.len()), canvas);
        Ok(())
    }

    /// One output less.
    #[cfg(test)]
    pub fn remove(&mut self, index: usize) {
        self.canvases.remove(index);
    }

    /// Draws what of `scene` changed since the last frame of output `index`.
    pub fn draw(&mut self, index: usize, scene: &Scene, screens: &mut Screens) -> Result<(), String> {
        let canvas = self.canvases.get_mut(index).ok_or("there is no such output")?;
        let pieces = self.textures.pieces(&mut self.renderer, scene, screens);
        let drawn = paint(&mut self.renderer, canvas, &pieces);
        self.textures.note_drawn(&pieces);
        drawn
    }

    /// Drops textures that `output` used before and uses no more.
    pub fn frame_done(&mut self, output: OutputId) {
        self.textures.sweep(output);
        self.forget_imports();
    }

    /// How many guests' surfaces have a texture.
    #[cfg(test)]
    pub fn guests_textures(&self) -> usize {
        self.textures.guests()
    }

    /// Forgets what the renderer has of things that are gone.
    pub fn forget_imports(&mut self) {
        // An error means that something stays cached until the next time.
        let _ = self.renderer.cleanup_texture_cache();
    }

    /// What output `index` shows.
    pub fn read(&mut self, index: usize) -> Result<Capture, String> {
        let canvas =
            self.canvases.get_mut(index).ok_or("this output is gone; phyllome status lists those that are there")?;
        read(&mut self.renderer, canvas)
    }

    /// Draws `scene` into a buffer of its own and returns that.
    pub fn offscreen(&mut self, size: (u32, u32), scene: &Scene, screens: &mut Screens) -> Result<Capture, String> {
        offscreen(&mut self.renderer, &mut self.textures, size, scene, screens)
    }
}

/// Draws `scene` with any renderer into a buffer of its own and returns that.
pub fn offscreen<R, B>(
    renderer: &mut R,
    textures: &mut Textures<R::TextureId>,
    size: (u32, u32),
    scene: &Scene,
    screens: &mut Screens,
) -> Result<Capture, String>
where
    R: Renderer + ImportAll + ImportOwn + ExportMem + Bind<B> + Offscreen<B>,
    R::TextureId: Texture + Clone + 'static,
    Piece<R::TextureId>: RenderElement<R>,
{
    let mut canvas = canvas(renderer, size, Transform::Normal)?;
    let pieces = textures.pieces(renderer, scene, screens);
    paint(renderer, &mut canvas, &pieces)?;
    read(renderer, &mut canvas)
}

fn canvas<R, B>(renderer: &mut R, size: (u32, u32), transform: Transform) -> Result<Canvas<B>, String>
where
    R: Renderer + Offscreen<B>,
{
    let too_large =
        || format!("a picture of {} × {} pixels cannot be made; choose another output or guest", size.0, size.1);
    let size = turned_size(size, transform);
    let width = i32::try_from(size.0).map_err(|_| too_large())?;
    let height = i32::try_from(size.1).map_err(|_| too_large())?;
    if width < 1 || height < 1 {
        return Err(too_large());
    }
    let buffer = renderer.create_buffer(FORMAT, (width, height).into()).map_err(|e| format!("{}: {e}", too_large()))?;
    let size = (width, height).into();
    Ok(Canvas {
        buffer,
        size,
        transform,
        tracker: OutputDamageTracker::new(size, 1.0, Transform::Normal),
        drawn: false,
    })
}

fn paint<R, B>(renderer: &mut R, canvas: &mut Canvas<B>, pieces: &[Piece<R::TextureId>]) -> Result<(), String>
where
    R: Renderer + Bind<B>,
    R::TextureId: Texture + 'static,
    Piece<R::TextureId>: RenderElement<R>,
{
    let age = usize::from(canvas.drawn);
    // If anything fails below, the next frame draws everything.
    canvas.drawn = false;
    let mut framebuffer = renderer.bind(&mut canvas.buffer).map_err(|error| error.to_string())?;
    let tracker = &mut canvas.tracker;
    let result = if canvas.transform == Transform::Normal {
        tracker.render_output(renderer, &mut framebuffer, age, pieces, ground())
    } else {
        let upright = canvas.transform.transform_size(canvas.size);
        let turned = turn(pieces, canvas.transform, upright);
        tracker.render_output(renderer, &mut framebuffer, age, &turned, ground())
    }
    .map_err(|error| format!("{error}"))?;
    renderer.wait(&result.sync).map_err(|error| error.to_string())?;
    drop(framebuffer);
    canvas.drawn = true;
    Ok(())
}

fn read<R, B>(renderer: &mut R, canvas: &mut Canvas<B>) -> Result<Capture, String>
where
    R: Renderer + ExportMem + Bind<B>,
{
    let framebuffer = renderer.bind(&mut canvas.buffer).map_err(|error| error.to_string())?;
    let region: Rectangle<i32, Buffer> = Rectangle::from_size((canvas.size.w, canvas.size.h).into());
    let mapping = renderer.copy_framebuffer(&framebuffer, region, FORMAT).map_err(|error| error.to_string())?;
    // smithay's GLES says that every mapping is upside down; of a texture that it drew into itself that is not so.
    let pixels = renderer.map_texture(&mapping).map_err(|error| error.to_string())?;
    let size = (canvas.size.w.unsigned_abs(), canvas.size.h.unsigned_abs());
    let (width, height) = turned_size(size, canvas.transform);
    let capture = if canvas.transform == Transform::Normal {
        Capture::new(pixels, width, height)
    } else {
        Capture::new(&upright(pixels, size, canvas.transform), width, height)
    };
    capture.map_err(|error| format!("the picture could not be copied ({error}); try again"))
}

/// Tries to import a dmabuf into Pixman; the error says why it cannot be.
pub fn import_into_pixman(renderer: &mut PixmanRenderer, dmabuf: &Dmabuf) -> Result<(), String> {
    // Pixman reads between two of these; a memfd does not know them.
    dmabuf
        .sync_plane(0, DmabufSyncFlags::START | DmabufSyncFlags::READ)
        .and_then(|()| dmabuf.sync_plane(0, DmabufSyncFlags::END | DmabufSyncFlags::READ))
        .map_err(|_| "Pixman reads only real dmabufs".to_owned())?;
    renderer.import_dmabuf(dmabuf, None).map(drop).map_err(|error| error.to_string())
}
