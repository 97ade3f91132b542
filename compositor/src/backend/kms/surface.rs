//! What a renderer puts on the displays of one device, each of which is in [`super::crtc`].
//!
//! Only what changed is drawn, an unchanged frame submits nothing, and no frame is drawn while the one before is on its
//! way.

use super::Overdue;
use super::connectors::{Step, step};
use super::crtc::{Aside, Crtc, Put};
use super::flips::Flips;
use super::planes::{Choice, Planner, Stage, Why};
use super::recovery::{Progress, Remedy, remedy};
use super::sheets::DrawsSheets;
use crate::backend::painter;
use crate::outputs::{Capture, Drawn, OutputId};
use crate::render::elements::{Part, Piece, Textures};
use crate::render::own::ImportOwn;
use crate::render::scene::Scene;
use crate::render::turned::turn;
use crate::wayland::screens::Screens;
use smithay::backend::drm::DrmDevice;
use smithay::backend::renderer::element::RenderElement;
use smithay::backend::renderer::{Bind, ExportMem, ImportAll, ImportDma, Offscreen, Renderer, RendererSuper, Texture};
use smithay::reexports::drm::control::{Mode, connector, crtc};
use smithay::utils::{Clock, Monotonic, Physical, Size, Transform};
use std::time::Duration;

/// A renderer that can draw the shell for displays.
pub trait Draws:
    RendererSuper<TextureId: Texture + Clone + 'static, Error: 'static>
    + Renderer
    + ImportAll
    + ImportOwn
    + ImportDma
    + ExportMem
    + DrawsSheets
{
}

impl<R> Draws for R where
    R: RendererSuper<TextureId: Texture + Clone + 'static, Error: 'static>
        + Renderer
        + ImportAll
        + ImportOwn
        + ImportDma
        + ExportMem
        + DrawsSheets
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
}

/// One lit display.
struct Head<R: Draws> {
    wiring: Wiring,
    crtc: Crtc<R>,
    /// The alarm that is set while a page flip is under way.
    overdue: Option<Overdue>,
    progress: Progress,
    planner: Planner,
}

/// A renderer and the displays of its device.
pub struct Heads<R: Draws> {
    /// The renderer.
    pub renderer: R,
    textures: Textures<R::TextureId>,
    /// Where buffers of displays come from.
    source: R::Source,
    heads: Vec<Head<R>>,
    flips: Flips,
}

impl<R> Heads<R>
where
    R: Draws,
    Piece<R::TextureId>: RenderElement<R>,
{
    /// No display is lit. `source`: where buffers of displays come from.
    pub fn new(renderer: R, source: R::Source) -> Self {
        Self { renderer, textures: Textures::default(), source, heads: Vec::new(), flips: Flips::default() }
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
                Step::Mode => head.crtc.use_mode(wiring.mode).is_ok(),
                Step::Anew => false,
            };
            if changed {
                head.crtc.forget();
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
        let crtc = Crtc::new(surface, (cursor.w, cursor.h), &self.source)?;
        let planner = Planner::new(crtc.hardware());
        self.heads.push(Head { wiring, crtc, overdue: None, progress: Progress::default(), planner });
        // What it takes may be missing to the planes of others.
        self.heads.iter_mut().for_each(|head| head.crtc.ask_anew());
        self.textures.keep_pointers(self.heads.iter().any(|head| head.planner.has_cursor()));
        Ok(())
    }

    /// Switches off the displays that are not to be kept.
    pub fn keep(&mut self, keep: impl Fn(&Wiring) -> bool) {
        for head in self.heads.extract_if(.., |head| !keep(&head.wiring)) {
            if head.progress.is_flipping() {
                self.flips.given_up(head.wiring.crtc.into());
            }
        }
    }

    /// Draws what of `scene`, which is `stage` to planes, changed since the last frame of display `name`. Tells what
    /// became of it.
    pub fn draw(&mut self, name: &str, scene: &Scene, stage: &Stage, screens: &mut Screens) -> Result<Put, String> {
        let Some(head) = self.heads.iter_mut().find(|head| head.wiring.name == name) else {
            let choice = Choice { picture: Err(Why::Nothing), pointer: Err(Why::Nothing) };
            return Ok(Put { drawn: Drawn::Asleep, painted: false, choice, arranged: Duration::ZERO, busy: false });
        };
        self.flips.begun(head.wiring.crtc.into(), Clock::<Monotonic>::new().now().into());
        let mut pieces = self.textures.pieces(&mut self.renderer, scene, screens);
        if let Some(output) = scene.output
            && head.wiring.transform == Transform::Normal
        {
            self.textures.join_band(&mut pieces, output, head.wiring.size());
        }
        let drawn = put(&mut self.renderer, &self.source, head, stage, &pieces);
        if let (Ok(put), Some(picture)) = (&drawn, pieces.iter().find(|piece| piece.part() == Part::Picture)) {
            picture.charge(put.arranged);
        }
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
        head.crtc.flipped();
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
            if let Err(error) = head.crtc.clear() {
                tracing::warn!("{} cannot be switched off: {error}", head.wiring.name);
            }
            head.crtc.forget();
        }
    }

    /// What displays were given to show is not relied on: their next frame is drawn as a whole, into new buffers.
    pub fn forget(&mut self) {
        for head in &mut self.heads {
            head.crtc.forget();
        }
    }

    /// Drops textures that an output used before and uses no more.
    pub fn frame_done(&mut self, output: OutputId) {
        self.textures.sweep(output);
        self.forget_imports();
    }

    /// Forgets what the renderer has of things that are gone.
    pub fn forget_imports(&mut self) {
        for head in &mut self.heads {
            head.crtc.sweep();
        }
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

fn put<R>(
    renderer: &mut R,
    source: &R::Source,
    head: &mut Head<R>,
    stage: &Stage,
    pieces: &[Piece<R::TextureId>],
) -> Result<Put, String>
where
    R: Draws,
    Piece<R::TextureId>: RenderElement<R>,
{
    let transform = head.wiring.transform;
    let chosen = head.planner.choose(stage, transform == Transform::Normal, head.progress.is_settled());
    let (aside, chosen) = aside(pieces, chosen);
    let put = if transform == Transform::Normal {
        head.crtc.draw(renderer, source, pieces, &aside)
    } else {
        let seen = transform.transform_size(head.wiring.size());
        head.crtc.draw(renderer, source, &turn(pieces, transform, seen), &aside)
    };
    let put = put.map_err(|why| format!("{} could not be drawn: {why}", head.wiring.name))?;
    if put.drawn == Drawn::Queued {
        head.progress.begun();
    }
    Ok(Put { choice: head.planner.came_to(chosen, put.choice), ..put })
}

/// What of `pieces` goes onto planes where the kernel takes it, and what is left of the choice: a pointer of which there
/// is no copy is drawn, and then so is the picture below it.
fn aside<T>(pieces: &[Piece<T>], mut choice: Choice) -> (Aside<'_>, Choice) {
    let find = |part: Part| pieces.iter().enumerate().find(|(_, piece)| piece.part() == part);
    let pointer = find(Part::Pointer);
    let copy = pointer.and_then(|(number, piece)| Some((number, piece.pointer()?)));
    if pointer.is_some() && copy.is_none() {
        choice.pointer = choice.pointer.and(Err(Why::NotCopied));
        choice.picture = choice.picture.and(Err(Why::UnderPointer));
    }
    let picture = find(Part::Picture).and_then(|(number, piece)| Some((number, piece.buffer()?)));
    let aside =
        Aside { picture: picture.filter(|_| choice.picture.is_ok()), pointer: copy.filter(|_| choice.pointer.is_ok()) };
    (aside, choice)
}
