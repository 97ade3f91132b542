//! What one display shows: the shell's own picture on the primary plane, a guest's picture and its pointer on planes
//! above that where the kernel takes them ([`super::above`]), and in the shell's picture where it does not.
//!
//! What changed since the last picture is drawn into the older of two buffers. While only what lies on other planes
//! changes, nothing is drawn. A plane is given up in the same frame that has what was on it: there is none without.
//! Nobody ever draws into a buffer that is shown or is to be shown.

mod commit;

use super::above::{Above, OnPlane, Picture, Verdicts, cursor, overlays, reads};
use super::come;
use super::cursors::{CursorBuffer, Cursors};
use super::damage::{Plan, Region, Tracker};
use super::framebuffers::{AGAIN, Framebuffers, own_driver};
use super::planes::{Choice, Hardware, Why, settle};
use super::sheets::{Canvas, DrawsSheets, Layout};
use crate::backend::elsewhere;
use crate::monotonic::processor_time;
use crate::outputs::Drawn;
use crate::render::elements::ground;
use commit::{FrameError, Properties};
use smithay::backend::allocator::dmabuf::Dmabuf;
use smithay::backend::allocator::{Buffer as _, Modifier};
use smithay::backend::drm::{DrmError, DrmSurface, PlaneInfo};
use smithay::backend::renderer::Frame;
use smithay::backend::renderer::element::RenderElement;
use smithay::backend::renderer::element::memory::MemoryBuffer;
use smithay::backend::renderer::sync::SyncPoint;
use smithay::backend::renderer::utils::Buffer as SurfaceBuffer;
use smithay::reexports::drm::control::{Mode, plane};
use smithay::utils::{Physical, Rectangle, Scale, Size, Transform};
use smithay::wayland::dmabuf::get_dmabuf;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// A picture of the shell's own. What is declared first goes first.
struct Sheet<R: DrawsSheets> {
    canvas: Canvas<R>,
    /// What is not as in the picture that was drawn last.
    missing: Region,
    /// Buffers of another are not used again.
    generation: u32,
}

/// Planes of a display besides the primary one.
struct Planes {
    /// Those above it, the lowest first.
    overlays: Vec<(PlaneInfo, Properties)>,
    cursor: Option<(PlaneInfo, Properties)>,
    cursors: Cursors,
    framebuffers: Framebuffers,
    verdicts: Verdicts,
    /// Until then they are not used: the kernel took something when it was asked, and not when it was to be shown.
    barred: Option<Instant>,
}

/// What of a guest's is to go onto a plane of its own: the number of its element, and what the plane would read.
#[derive(Clone, Copy, Debug, Default)]
pub struct Aside<'a> {
    /// The guest's picture.
    pub picture: Option<(usize, &'a SurfaceBuffer)>,
    /// The guest's pointer.
    pub pointer: Option<(usize, &'a Rc<MemoryBuffer>)>,
}

/// What became of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Put {
    /// Whether it is on its way.
    pub drawn: Drawn,
    /// Something was drawn for it; else only what lies on planes of its own is another.
    pub painted: bool,
    /// What lies on a plane of its own, and else why not.
    pub choice: Choice,
    /// Processor time that it took to find that out.
    pub arranged: Duration,
    /// The kernel takes no frame just now, and may in a moment.
    pub busy: bool,
}

/// What a display shows.
pub struct Crtc<R: DrawsSheets> {
    // Goes first: the display is off before its buffers go. Where it cannot be switched off, because another program is
    // about to have it, a guest's picture is gone before the frame around it is.
    surface: DrmSurface,
    /// Is on its way to lie above what is shown.
    queued_above: Option<Above>,
    /// Lies above what is shown.
    shown_above: Above,
    planes: Planes,
    properties: Option<Properties>,
    layout: Layout,
    tracker: Tracker,
    /// Anew for each frame.
    changed: Region,
    plan: Plan,
    /// Is on the display.
    shown: Option<Sheet<R>>,
    /// Is on its way there.
    queued: Option<Sheet<R>>,
    spare: Option<Sheet<R>>,
    generation: u32,
    /// What is shown is not what was noted last.
    stale: bool,
    /// For guests' buffers ([`super::come`]), where there is a plane for them.
    come: Option<OwnedFd>,
}

impl<R: DrawsSheets> Crtc<R> {
    /// Drives `surface`, which shows nothing yet. `cursor_size`: of a pointer on a plane of its own. The error says
    /// why its mode cannot be used.
    pub fn new(surface: DrmSurface, cursor_size: (u32, u32), source: &R::Source) -> Result<Self, String> {
        let asked = |error: std::io::Error| format!("its planes cannot be asked: {error}");
        let with_properties = |info: PlaneInfo| {
            let properties = Properties::of(&surface, info.handle);
            let properties = properties.inspect_err(|error| tracing::debug!("a plane is not used: {error}"));
            Some((info, properties.ok()?))
        };
        let (mut overlay_planes, mut cursor_plane, mut come) = (Vec::new(), None, None);
        // The older way of mode setting knows the primary one alone, and nothing of that.
        let properties = if surface.is_legacy() {
            None
        } else {
            cursor_plane = cursor(&surface).and_then(with_properties);
            overlay_planes = overlays(&surface).into_iter().filter_map(with_properties).collect();
            // Without it a guest's fence would hold up the display.
            overlay_planes.retain(|(_, properties): &(PlaneInfo, Properties)| properties.fence.is_some());
            if !overlay_planes.is_empty() {
                come = come::fence(surface.device_fd())
                    .inspect_err(|error| tracing::info!("no plane is used for guests' pictures: no fence: {error}"))
                    .ok();
            }
            if come.is_none() {
                overlay_planes.clear();
            }
            Some(Properties::of(&surface, surface.plane()).map_err(asked)?)
        };
        let planes = Planes {
            overlays: overlay_planes,
            cursor: cursor_plane,
            cursors: Cursors::new(cursor_size),
            framebuffers: Framebuffers::default(),
            verdicts: Verdicts::default(),
            barred: None,
        };
        let layouts = R::layouts(source, surface.plane_info());
        let mut crtc = Self {
            surface,
            properties,
            layout: Layout::default(),
            tracker: Tracker::default(),
            changed: Region::default(),
            plan: Plan::default(),
            shown: None,
            queued: None,
            spare: None,
            planes,
            shown_above: Above::default(),
            queued_above: None,
            generation: 0,
            stale: true,
            come,
        };
        let mut refusal = "its display reads no format that can be drawn".to_owned();
        for layout in layouts {
            crtc.layout = layout;
            match crtc.try_layout(source) {
                Ok(sheet) => {
                    crtc.spare = Some(sheet);
                    return Ok(crtc);
                }
                Err(why) => refusal = why,
            }
        }
        Err(refusal)
    }

    /// A first buffer, if the display takes it.
    fn try_layout(&self, source: &R::Source) -> Result<Sheet<R>, String> {
        let sheet = self.sheet(source)?;
        let states = self.states(sheet.canvas.framebuffer(), &Above::default(), None);
        self.surface.test_state(states, true).map_err(|error| error.to_string())?;
        Ok(sheet)
    }

    /// What planes there are.
    pub fn hardware(&self) -> Hardware {
        let cursor = self.planes.cursor.as_ref().map(|_| self.planes.cursors.size());
        Hardware { overlay: !self.planes.overlays.is_empty(), cursor }
    }

    fn size(&self) -> Size<i32, Physical> {
        let (width, height) = self.surface.pending_mode().size();
        (i32::from(width), i32::from(height)).into()
    }

    fn sheet(&self, source: &R::Source) -> Result<Sheet<R>, String> {
        let size = self.size();
        let pixels = (size.w.unsigned_abs(), size.h.unsigned_abs());
        let canvas = R::canvas(source, self.surface.device_fd(), pixels, &self.layout)?;
        Ok(Sheet { canvas, missing: Region::whole(size), generation: self.generation })
    }

    /// The fence of guests' buffers.
    fn come(&self) -> Option<BorrowedFd<'_>> {
        self.come.as_ref().map(AsFd::as_fd)
    }

    /// What else this display's device is asked to show has changed: its planes are asked about anew.
    pub fn ask_anew(&mut self) {
        self.planes.verdicts.forget();
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
        self.planes.verdicts.forget();
        self.planes.barred = None;
    }

    /// Forgets buffers of guests that are gone.
    pub fn sweep(&mut self) {
        self.planes.framebuffers.sweep();
    }

    /// Switches the display off; the next frame switches it on.
    pub fn clear(&mut self) -> Result<(), DrmError> {
        let cleared = self.surface.clear();
        if cleared.is_ok() {
            (self.queued, self.shown) = (None, None);
            (self.queued_above, self.shown_above) = (None, Above::default());
        }
        cleared
    }

    /// The frame that was queued is on the display.
    pub fn flipped(&mut self) {
        if let Some(above) = self.queued_above.take() {
            self.shown_above = above;
        }
        if let Some(queued) = self.queued.take() {
            let former = self.shown.replace(queued);
            self.spare = former.filter(|sheet| sheet.generation == self.generation).or(self.spare.take());
        }
    }

    /// Draws what changed and hands it to the kernel, with what of `aside` the kernel takes on planes of its own. After
    /// an error nothing that was shown is relied on.
    pub fn draw<E: RenderElement<R>>(
        &mut self,
        renderer: &mut R,
        source: &R::Source,
        elements: &[E],
        aside: &Aside<'_>,
    ) -> Result<Put, String> {
        let started = processor_time();
        let (above, choice) = self.arrange(source, elements, aside);
        let arranged = processor_time().saturating_sub(started);
        let arrangement = above.arrangement();
        let on_planes = above.planes().count() > 0;
        match self.try_frame(renderer, source, elements, aside, above) {
            Ok((drawn, painted)) => Ok(Put { drawn, painted, choice, arranged, busy: false }),
            Err(FrameError::Busy) => Ok(Put { drawn: Drawn::Asleep, painted: false, choice, arranged, busy: true }),
            // What it has taken before may be too much by now. It is asked again in a while.
            Err(FrameError::Refused(why)) if on_planes => {
                tracing::debug!("{why}; all is composited for a while");
                self.planes.verdicts.note(arrangement, false, Instant::now());
                self.planes.barred = Some(Instant::now() + AGAIN);
                let refused = |one: Result<(), Why>| one.and(Err(Why::Refused));
                let choice = Choice { picture: refused(choice.picture), pointer: refused(choice.pointer) };
                match self.try_frame(renderer, source, elements, aside, Above::default()) {
                    Ok((drawn, painted)) => Ok(Put { drawn, painted, choice, arranged, busy: false }),
                    Err(FrameError::Busy) => {
                        Ok(Put { drawn: Drawn::Asleep, painted: false, choice, arranged, busy: true })
                    }
                    Err(error) => Err(error.into_words()),
                }
            }
            Err(error) => Err(error.into_words()),
        }
    }

    /// Draws what does not lie `above`, and hands all to the kernel. Tells whether there was something to draw.
    fn try_frame<E: RenderElement<R>>(
        &mut self,
        renderer: &mut R,
        source: &R::Source,
        elements: &[E],
        aside: &Aside<'_>,
        above: Above,
    ) -> Result<(Drawn, bool), FrameError> {
        let size = self.size();
        let lies_above = |number: usize| {
            let taken = |taken: bool, number_of: Option<usize>| taken && number_of == Some(number);
            taken(above.picture.is_some(), aside.picture.map(|(number, _)| number))
                || taken(above.pointer.is_some(), aside.pointer.map(|(number, _)| number))
        };
        let drawn: Vec<&E> = elements
            .iter()
            .enumerate()
            .filter(|(number, _)| !lies_above(*number))
            .map(|(_, element)| element)
            .collect();
        self.changed.clear();
        if self.stale {
            self.tracker.forget();
        }
        self.tracker.note(&drawn, size, &mut self.changed);
        if self.stale {
            self.changed = Region::whole(size);
        } else if self.changed.is_empty() && above.is_as(self.above()) {
            return Ok((Drawn::Unchanged, false));
        }
        if !self.surface.is_active() {
            self.stale = true;
            return Err(FrameError::Other(DrmError::DeviceInactive.to_string()));
        }
        let whole = std::mem::replace(&mut self.stale, true);
        let (sheet, fence) = if self.changed.is_empty() {
            (None, None)
        } else {
            let (sheet, fence) = self.paint(renderer, source, &drawn).map_err(FrameError::Other)?;
            (Some(sheet), fence)
        };
        let painted = sheet.is_some();
        let fence = fence.as_ref().map(AsFd::as_fd);
        self.submit(sheet.as_ref(), &above, fence, whole)?;
        if let Some(sheet) = sheet
            && let Some(given_up) = self.queued.replace(sheet)
        {
            // Nobody waits for it any more, but it may be what is shown.
            self.shown = Some(given_up);
        }
        if let Some(given_up) = self.queued_above.replace(above) {
            self.shown_above = given_up;
        }
        self.stale = false;
        Ok((Drawn::Queued, painted))
    }

    /// What lies above the primary plane in the frame that was queued last.
    fn above(&self) -> &Above {
        self.queued_above.as_ref().unwrap_or(&self.shown_above)
    }

    /// A buffer with the picture as it is now, or as it is once a fence has come.
    fn paint<E: RenderElement<R>>(
        &mut self,
        renderer: &mut R,
        source: &R::Source,
        elements: &[E],
    ) -> Result<(Sheet<R>, Option<OwnedFd>), String> {
        let mut sheet = match self.spare.take().filter(|sheet| sheet.generation == self.generation) {
            Some(sheet) => sheet,
            None => self.sheet(source)?,
        };
        for sheet in [Some(&mut sheet), self.shown.as_mut(), self.queued.as_mut()].into_iter().flatten() {
            sheet.missing.join(&self.changed);
        }
        self.tracker.plan(&sheet.missing, &mut self.plan);
        let size = self.size();
        let done = paint(renderer, &mut sheet.canvas.target, elements, &self.plan, size);
        let done = done.map_err(|error| error.to_string())?;
        let fence = self.properties.as_ref().and_then(|properties| properties.fence).and_then(|_| done.export());
        if fence.is_none() {
            renderer.wait(&done).map_err(|error| error.to_string())?;
        }
        sheet.missing.clear();
        Ok((sheet, fence))
    }

    /// What of `aside` goes onto planes ([`settle`]).
    fn arrange<E: RenderElement<R>>(
        &mut self,
        source: &R::Source,
        elements: &[E],
        aside: &Aside<'_>,
    ) -> (Above, Choice) {
        if self.planes.barred.is_some_and(|until| Instant::now() < until) {
            let refused = Err(Why::Refused);
            return (Above::default(), Choice { picture: refused, pointer: refused });
        }
        let element = |number: usize| elements.get(number).ok_or(Why::Nothing);
        let pointer = aside.pointer.ok_or(Why::Nothing);
        let pointer = pointer.and_then(|(number, pointer)| self.pointer(element(number)?, pointer));
        let mut tried = Vec::new();
        loop {
            let picture = aside.picture.ok_or(Why::Nothing);
            let picture = picture.and_then(|(number, buffer)| self.picture(source, element(number)?, buffer, &tried));
            let said = |why: &Why| *why;
            let possible = Choice {
                picture: picture.as_ref().map(drop).map_err(said),
                pointer: pointer.as_ref().map(drop).map_err(said),
            };
            let picture = picture.ok();
            let above = |choice: &Choice| Above {
                picture: picture.clone().filter(|_| choice.picture.is_ok()),
                pointer: pointer.as_ref().ok().cloned().filter(|_| choice.pointer.is_ok()),
            };
            let choice = settle(possible, aside.pointer.is_some(), |choice| self.takes(&above(choice)));
            // Planes differ; there are a few.
            match &picture {
                Some(on) if choice.picture == Err(Why::Refused) => tried.push(on.claim.plane()),
                _ => return (above(&choice), choice),
            }
        }
    }

    /// Whether the kernel takes this above what is shown now.
    fn takes(&mut self, above: &Above) -> bool {
        let Some(sheet) = self.queued.as_ref().or(self.shown.as_ref()) else { return false };
        let (arrangement, now) = (above.arrangement(), Instant::now());
        if let Some(known) = self.planes.verdicts.known(&arrangement, now) {
            return known;
        }
        if !self.planes.verdicts.may_ask(now) {
            return false;
        }
        let tested = self.surface.test_state(self.states(sheet.canvas.framebuffer(), above, None), false);
        let taken = tested.inspect_err(|error| tracing::debug!("the display takes no such planes: {error}")).is_ok();
        self.planes.verdicts.note(arrangement, taken, now);
        taken
    }

    /// A guest's picture on a plane that was not `tried`.
    fn picture<E: RenderElement<R>>(
        &mut self,
        source: &R::Source,
        element: &E,
        held: &SurfaceBuffer,
        tried: &[plane::Handle],
    ) -> Result<OnPlane<Picture>, Why> {
        let dmabuf = get_dmabuf(held).map_err(|_| Why::NoDmabuf)?;
        let format = dmabuf.format();
        if format.modifier == Modifier::Invalid && !R::KNOWS_LAYOUTS {
            return Err(Why::Layout);
        }
        let stride = dmabuf.strides().next().unwrap_or_default();
        let before = self.above().picture.as_ref().map(|on| on.claim.plane());
        let readers = self.planes.overlays.iter().filter(|(info, _)| reads(info, format)).map(|(info, _)| info.handle);
        let mut readers: Vec<_> = readers.filter(|plane| !tried.contains(plane)).collect();
        // Where it was it stays.
        readers.sort_by_key(|plane| Some(*plane) != before);
        let claim = readers.into_iter().find_map(|plane| self.surface.claim_plane(plane));
        let claim = claim.ok_or(if tried.is_empty() { Why::NoPlane } else { Why::Refused })?;
        let fd = self.surface.device_fd();
        let import = |dmabuf: &Dmabuf| {
            elsewhere::reaches(dmabuf, own_driver(fd).as_deref())?;
            R::import(source, fd, dmabuf)
        };
        let framebuffer = self.planes.framebuffers.of(dmabuf, Instant::now(), import);
        let framebuffer = framebuffer.ok_or(Why::Refused)?;
        let buffer = Picture { framebuffer, format, stride, commit: element.current_commit(), _held: held.clone() };
        Ok(OnPlane { claim, buffer, source: element.src(), place: element.geometry(Scale::from(1.0)) })
    }

    /// A guest's pointer on the cursor plane.
    fn pointer<E: RenderElement<R>>(
        &mut self,
        element: &E,
        pointer: &Rc<MemoryBuffer>,
    ) -> Result<OnPlane<Rc<CursorBuffer>>, Why> {
        let plane = self.planes.cursor.as_ref().map(|(info, _)| info.handle).ok_or(Why::NoPlane)?;
        let claim = self.surface.claim_plane(plane).ok_or(Why::NoPlane)?;
        let buffer = self.planes.cursors.buffer(self.surface.device_fd(), pointer).map_err(|why| {
            tracing::debug!("the cursor plane is not used: {why}");
            Why::Refused
        })?;
        let (width, height) = self.planes.cursors.size();
        let size = (i32::try_from(width).unwrap_or(1), i32::try_from(height).unwrap_or(1));
        // All of the plane's buffer, of which the pointer is the left upper corner.
        Ok(OnPlane {
            claim,
            buffer,
            source: Rectangle::from_size((f64::from(size.0), f64::from(size.1)).into()),
            place: Rectangle::new(element.geometry(Scale::from(1.0)).loc, size.into()),
        })
    }
}

/// Draws into `target` what of `elements`, top first, is planned.
fn paint<R: DrawsSheets, E: RenderElement<R>>(
    renderer: &mut R,
    target: &mut R::Target,
    elements: &[E],
    plan: &Plan,
    size: Size<i32, Physical>,
) -> Result<SyncPoint, R::Error> {
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
    frame.finish()
}
