//! What a renderer puts on the displays of one device: a DRM compositor for each, the same code for Pixman and for
//! GLES; where a display has one plane and the processor draws, what is in [`super::primary`].
//!
//! Only what changed is drawn, an unchanged frame submits nothing, and no frame is drawn while the one before is on its
//! way.

use super::Overdue;
use super::connectors::{Step, step};
use super::flips::Flips;
use super::planes::{Hardware, Planner, Stage};
use super::primary::{DrawsMemory, Primary};
use super::recovery::{Progress, Remedy, remedy};
use crate::backend::painter;
use crate::outputs::{Capture, Drawn, OutputId, Plane};
use crate::render::elements::{Piece, Textures, ground};
use crate::render::own::ImportOwn;
use crate::render::scene::Scene;
use crate::render::turned::turn;
use crate::wayland::screens::Screens;
use smithay::backend::allocator::dmabuf::{AsDmabuf, Dmabuf};
use smithay::backend::allocator::gbm::GbmDevice;
use smithay::backend::allocator::{Allocator, Buffer, Format, Fourcc};
use smithay::backend::drm::compositor::{DrmCompositor, FrameFlags, PrimaryPlaneElement};
use smithay::backend::drm::exporter::ExportFramebuffer;
use smithay::backend::drm::{DrmDevice, DrmDeviceFd, DrmError, DrmSurface};
use smithay::backend::renderer::element::RenderElement;
use smithay::backend::renderer::{Bind, ExportMem, ImportAll, ImportDma, Offscreen, Renderer, RendererSuper, Texture};
use smithay::output::OutputModeSource;
use smithay::reexports::drm::control::{Mode, connector, crtc};
use smithay::utils::{Buffer as Buffered, Clock, Monotonic, Physical, Size, Transform};
use std::error::Error;
use std::fmt;
use std::time::Duration;

/// Formats of the shell's own picture, best first. It is opaque everywhere.
const FORMATS: [Fourcc; 2] = [Fourcc::Xrgb8888, Fourcc::Argb8888];

/// A renderer that can draw the shell into buffers of a display.
pub trait Draws:
    RendererSuper<TextureId: Texture + Clone + 'static, Error: Send + Sync + 'static>
    + Renderer
    + ImportAll
    + ImportOwn
    + ImportDma
    + ExportMem
    + Bind<Dmabuf>
    + DrawsMemory
{
}

impl<R> Draws for R where
    R: RendererSuper<TextureId: Texture + Clone + 'static, Error: Send + Sync + 'static>
        + Renderer
        + ImportAll
        + ImportOwn
        + ImportDma
        + ExportMem
        + Bind<Dmabuf>
        + DrawsMemory
{
}

/// Where buffers of a display come from.
pub trait Buffers:
    Allocator<
        Error: Error + Send + Sync + 'static,
        Buffer: Buffer + AsDmabuf<Error: Error + Send + Sync + fmt::Debug + 'static>,
    >
{
}

impl<A> Buffers for A where
    A: Allocator<
            Error: Error + Send + Sync + 'static,
            Buffer: Buffer + AsDmabuf<Error: Error + Send + Sync + fmt::Debug + 'static>,
        >
{
}

/// How such a buffer becomes something that a display reads.
pub trait Exports<B: Buffer>:
    ExportFramebuffer<B, Framebuffer: fmt::Debug + 'static, Error: Error + Send + Sync + 'static>
{
}

impl<F, B: Buffer> Exports<B> for F where
    F: ExportFramebuffer<B, Framebuffer: fmt::Debug + 'static, Error: Error + Send + Sync + 'static>
{
}

/// Which display, how it is driven.
#[derive(Clone, Debug)]
pub struct Wiring {
    /// The kernel's name of the connector.
    pub name: String,
    /// The connector.
    pub connector: connector::Handle,
    /// What feeds it.
    pub crtc: crtc::Handle,
    /// Its mode.
    pub mode: Mode,
    /// The mode was asked for; by itself the display would have another.
    pub asked: bool,
    /// How what is drawn is turned on its way to the display.
    pub transform: Transform,
}

impl Wiring {
    /// The size of the mode.
    fn size(&self) -> Size<i32, Physical> {
        let (width, height) = self.mode.size();
        (i32::from(width), i32::from(height)).into()
    }

    /// What is drawn is turned before smithay sees it.
    fn mode_source(&self) -> OutputModeSource {
        OutputModeSource::Static { size: self.size(), scale: 1.0.into(), transform: Transform::Normal }
    }
}

/// What puts frames on a display.
enum Swapchain<R, A, F>
where
    R: Draws,
    A: Buffers,
    F: Exports<A::Buffer>,
{
    /// All planes that there are.
    Planes(Box<DrmCompositor<A, F, (), DrmDeviceFd>>),
    /// The only one.
    Primary(Box<Primary<R>>),
}

impl<R, A, F> Swapchain<R, A, F>
where
    R: Draws,
    A: Buffers,
    F: Exports<A::Buffer>,
{
    /// Another mode from the next frame on. Whether the display can have it.
    fn use_mode(&mut self, mode: Mode) -> bool {
        match self {
            Self::Planes(compositor) => compositor.use_mode(mode).is_ok(),
            Self::Primary(primary) => primary.use_mode(mode).is_ok(),
        }
    }

    /// The next frame is drawn as a whole, into a new buffer.
    fn forget(&mut self) {
        match self {
            Self::Planes(compositor) => compositor.reset_buffers(),
            Self::Primary(primary) => primary.forget(),
        }
    }

    /// The frame that was queued is on the display.
    fn flipped(&mut self) -> Result<(), String> {
        match self {
            Self::Planes(compositor) => compositor.frame_submitted().map(drop).map_err(|error| error.to_string()),
            Self::Primary(primary) => {
                primary.flipped();
                Ok(())
            }
        }
    }

    /// Switches the display off; the next frame switches it on.
    fn clear(&mut self) -> Result<(), DrmError> {
        match self {
            Self::Planes(compositor) => compositor.clear(),
            Self::Primary(primary) => primary.clear(),
        }
    }
}

/// One lit display.
struct Head<R, A, F>
where
    R: Draws,
    A: Buffers,
    F: Exports<A::Buffer>,
{
    wiring: Wiring,
    way: Swapchain<R, A, F>,
    /// The alarm that is set while a page flip is under way.
    overdue: Option<Overdue>,
    progress: Progress,
    planner: Planner,
}

/// Makes what each display needs of its own.
type Make<A, F> = Box<dyn Fn() -> (A, F)>;

/// A renderer and the displays of its device.
pub struct Heads<R, A, F>
where
    R: Draws,
    A: Buffers,
    F: Exports<A::Buffer>,
{
    /// The renderer.
    pub renderer: R,
    textures: Textures<R::TextureId>,
    make: Make<A, F>,
    /// What the renderer can draw into.
    formats: Vec<Format>,
    /// Where buffers of cursor planes come from.
    cursors: Option<GbmDevice<DrmDeviceFd>>,
    heads: Vec<Head<R, A, F>>,
    flips: Flips,
}

impl<R, A, F> Heads<R, A, F>
where
    R: Draws,
    A: Buffers,
    F: Exports<A::Buffer>,
    Piece<R::TextureId>: RenderElement<R>,
{
    /// No display is lit. `formats`: what the renderer can draw into. Without `cursors` no cursor plane is used.
    pub fn new(
        renderer: R,
        formats: Vec<Format>,
        cursors: Option<GbmDevice<DrmDeviceFd>>,
        make: impl Fn() -> (A, F) + 'static,
    ) -> Self {
        let textures = Textures::default();
        Self { renderer, textures, make: Box::new(make), formats, cursors, heads: Vec::new(), flips: Flips::default() }
    }

    /// How every lit display is driven.
    pub fn wirings(&self) -> Vec<Wiring> {
        self.heads.iter().map(|head| head.wiring.clone()).collect()
    }

    /// Lights a display, or changes how it is lit. What it shows comes with its next frame.
    pub fn light(&mut self, drm: &mut DrmDevice, wiring: Wiring) -> Result<(), String> {
        if let Some(head) = self.heads.iter_mut().find(|head| head.wiring.name == wiring.name) {
            let state = |w: &Wiring| ((w.connector, w.crtc), w.mode, w.transform);
            let changed = match step(state(&head.wiring), state(&wiring)) {
                Step::Stay => return Ok(()),
                Step::Turn => true,
                Step::Mode => head.way.use_mode(wiring.mode),
                Step::Anew => false,
            };
            if changed {
                if let Swapchain::Planes(compositor) = &mut head.way {
                    compositor.set_output_mode_source(wiring.mode_source());
                }
                head.way.forget();
                head.progress.changed();
                head.wiring = wiring;
                return Ok(());
            }
            // What cannot be changed while it is lit may be lit anew.
            self.keep(|kept| kept.name != wiring.name);
        }
        let surface =
            drm.create_surface(wiring.crtc, wiring.mode, &[wiring.connector]).map_err(|error| error.to_string())?;
        let cursor = drm.cursor_size();
        let mut hardware = Hardware::of(&surface, (cursor.w, cursor.h));
        hardware.cursor = hardware.cursor.filter(|_| self.cursors.is_some());
        let way = if hardware == Hardware::default() && Primary::<R>::suits(&surface) {
            Swapchain::Primary(Box::new(Primary::new(surface)?))
        } else {
            Swapchain::Planes(Box::new(self.compositor(surface, &wiring, cursor)?))
        };
        let planner = Planner::new(hardware);
        self.heads.push(Head { wiring, way, overdue: None, progress: Progress::default(), planner });
        self.textures.keep_pointers(self.heads.iter().any(|head| head.planner.has_cursor()));
        Ok(())
    }

    /// What puts frames on a display of several planes, or whose frames a GPU draws. `cursor`: the size of a pointer on
    /// a plane of its own.
    fn compositor(
        &self,
        surface: DrmSurface,
        wiring: &Wiring,
        cursor: Size<u32, Buffered>,
    ) -> Result<DrmCompositor<A, F, (), DrmDeviceFd>, String> {
        let primary = surface.plane_info().zpos;
        // A picture below the shell's own shows only through something transparent.
        let has_underlay = surface.planes().overlay.iter().any(|plane| plane.zpos < primary);
        let formats = if has_underlay { [Fourcc::Argb8888, Fourcc::Xrgb8888] } else { FORMATS };
        let (allocator, exporter) = (self.make)();
        let (renderer_formats, cursors) = (self.formats.iter().copied(), self.cursors.clone());
        let source = wiring.mode_source();
        DrmCompositor::new(source, surface, None, allocator, exporter, formats, renderer_formats, cursor, cursors)
            .map_err(|error| error.to_string())
    }

    /// Switches off the displays that are not to be kept.
    pub fn keep(&mut self, keep: impl Fn(&Wiring) -> bool) {
        for head in self.heads.extract_if(.., |head| !keep(&head.wiring)) {
            if head.progress.is_flipping() {
                self.flips.given_up(head.wiring.crtc.into());
            }
        }
    }

    /// Draws what of `scene`, which is `stage` to planes, changed since the last frame of display `name`. Tells where
    /// the guest's pixels went.
    pub fn draw(
        &mut self,
        name: &str,
        scene: &Scene,
        stage: &Stage,
        screens: &mut Screens,
    ) -> Result<(Drawn, Plane), String> {
        let Some(head) = self.heads.iter_mut().find(|head| head.wiring.name == name) else {
            return Ok((Drawn::Asleep, Plane::default()));
        };
        self.flips.begun(head.wiring.crtc.into(), Clock::<Monotonic>::new().now().into());
        let mut pieces = self.textures.pieces(&mut self.renderer, scene, screens);
        if let Some(output) = scene.output
            && head.wiring.transform == Transform::Normal
            && !head.planner.has_overlay()
        {
            self.textures.join_band(&mut pieces, output, head.wiring.size());
        }
        let drawn = put(&mut self.renderer, head, stage, &pieces);
        self.textures.note_drawn(&pieces);
        drawn
    }

    /// A frame of display `name` is under way since now; `overdue` says when it is that.
    pub fn flip_begun(&mut self, name: &str, overdue: Overdue) {
        if let Some(head) = self.heads.iter_mut().find(|head| head.wiring.name == name) {
            head.overdue = Some(overdue);
        }
    }

    /// What is done about display `name`, on which nothing can be drawn.
    pub fn remedy(&self, name: &str) -> Remedy {
        let Some(head) = self.heads.iter().find(|head| head.wiring.name == name) else { return Remedy::Reopen };
        remedy(head.progress.is_settled(), head.wiring.asked, self.heads.len() > 1)
    }

    /// Whether a frame of display `name` is under way.
    pub fn is_flipping(&self, name: &str) -> bool {
        self.heads.iter().any(|head| head.wiring.name == name && head.progress.is_flipping())
    }

    /// A frame that `crtc` was given is on its display since `time`, if that is known. Gives the display's name, if the
    /// frame was waited for.
    pub fn flipped(&mut self, crtc: crtc::Handle, time: Option<Duration>) -> Option<String> {
        let head = self.heads.iter_mut().find(|head| head.wiring.crtc == crtc && head.progress.is_flipping());
        if self.flips.is_former(crtc.into(), head.is_some(), time) {
            return None;
        }
        let head = head?;
        head.progress.done();
        head.overdue = None;
        if let Err(error) = head.way.flipped() {
            tracing::warn!("{}: {error}", head.wiring.name);
        }
        Some(head.wiring.name.clone())
    }

    /// Switches every display off; the next frame switches it on.
    pub fn sleep(&mut self) {
        for head in &mut self.heads {
            if head.progress.is_flipping() {
                self.flips.given_up(head.wiring.crtc.into());
            }
            head.progress = Progress::default();
            head.overdue = None;
            if let Err(error) = head.way.clear() {
                tracing::warn!("{} cannot be switched off: {error}", head.wiring.name);
            }
            head.way.forget();
        }
    }

    /// What displays were given to show is not relied on: their next frame is drawn as a whole, into new buffers.
    pub fn forget(&mut self) {
        for head in &mut self.heads {
            head.way.forget();
        }
    }

    /// Drops textures that an output used before and uses no more.
    pub fn frame_done(&mut self, output: OutputId) {
        self.textures.sweep(output);
        self.forget_imports();
    }

    /// Forgets what the renderer has of things that are gone.
    pub fn forget_imports(&mut self) {
        // An error means that something stays cached until the next time.
        let _ = self.renderer.cleanup_texture_cache();
    }

    /// Draws `scene` where nobody sees it.
    pub fn offscreen<B>(&mut self, size: (u32, u32), scene: &Scene, screens: &mut Screens) -> Result<Capture, String>
    where
        R: Bind<B> + Offscreen<B>,
    {
        painter::offscreen::<R, B>(&mut self.renderer, &mut self.textures, size, scene, screens)
    }
}

fn put<R, A, F>(
    renderer: &mut R,
    head: &mut Head<R, A, F>,
    stage: &Stage,
    pieces: &[Piece<R::TextureId>],
) -> Result<(Drawn, Plane), String>
where
    R: Draws,
    A: Buffers,
    F: Exports<A::Buffer>,
    Piece<R::TextureId>: RenderElement<R>,
{
    let transform = head.wiring.transform;
    let choice = head.planner.choose(stage, pieces, transform == Transform::Normal, head.progress.is_settled());
    if transform == Transform::Normal {
        return submit(renderer, head, pieces, choice.flags(), pieces);
    }
    let seen = transform.transform_size(head.wiring.size());
    submit(renderer, head, &turn(pieces, transform, seen), choice.flags(), pieces)
}

/// Draws `elements`, which are `pieces` as the display wants them.
fn submit<R, A, F, E>(
    renderer: &mut R,
    head: &mut Head<R, A, F>,
    elements: &[E],
    flags: FrameFlags,
    pieces: &[Piece<R::TextureId>],
) -> Result<(Drawn, Plane), String>
where
    R: Draws,
    A: Buffers,
    F: Exports<A::Buffer>,
    E: RenderElement<R>,
{
    let name = &head.wiring.name;
    let why = |error: &dyn fmt::Display| format!("{name} could not be drawn: {error}");
    let compositor = match &mut head.way {
        Swapchain::Planes(compositor) => compositor,
        Swapchain::Primary(primary) => {
            let drawn = primary.draw(renderer, elements).map_err(|error| why(&error))?;
            if drawn == Drawn::Queued {
                head.progress.begun();
            }
            return Ok((drawn, Plane::Composited));
        }
    };
    let frame = compositor.render_frame(renderer, elements, ground(), flags).map_err(|error| why(&error))?;
    let plane = head.planner.learn(&frame.states, pieces);
    if frame.is_empty {
        return Ok((Drawn::Unchanged, plane));
    }
    if frame.needs_sync()
        && let PrimaryPlaneElement::Swapchain(primary) = &frame.primary_element
    {
        renderer.wait(&primary.sync).map_err(|error| why(&error))?;
    }
    drop(frame);
    compositor.queue_frame(()).map_err(|error| why(&error))?;
    head.progress.begun();
    Ok((Drawn::Queued, plane))
}
