//! One scanout's window: its size, what is attached to it, and the pace of its commits.
//!
//! Every commit with new content asks for a frame callback, and the next one waits for it: so whatever a guest does, a
//! surface is committed at most once per frame of its display, and a hidden one not at all.

mod converting;

use super::ScanoutReport;
use super::buffers::{BufferChoice, Buffers, OwnBuffer};
use super::geometry::{Configured, Scale, in_picture, surface_size};
use super::globals::Globals;
use super::link::LinkState;
use super::model::Scanout;
use super::view::{View, Viewport, upside_down};
use crate::damage::Damage;
use crate::frames::{Picture, PreferredMode, Rect, SharedBuffer};
use crate::seldom::seldom;
use converting::Converting;
use phyllome_protocol::ScanoutId;
use std::sync::Arc;
use std::time::{Duration, Instant};
use wayland_client::QueueHandle;
use wayland_client::protocol::{wl_buffer, wl_output, wl_surface};
use wayland_protocols::wp::fractional_scale::v1::client::wp_fractional_scale_v1;
use wayland_protocols::xdg::decoration::zv1::client::zxdg_toplevel_decoration_v1;
use wayland_protocols::xdg::shell::client::{xdg_surface, xdg_toplevel};

/// A window lives this long at least, so that a guest that switches a scanout on and off does not make its compositor
/// busy.
const SHORTEST_LIFE: Duration = Duration::from_millis(250);

/// After a picture could not be converted, none is tried for so long, however many the guest flushes; then it is, even
/// if the guest flushes no more.
const RETRY: Duration = Duration::from_secs(1);

/// User data of a scanout's frame callback: which, and of which commit.
pub(super) struct FrameOf(pub ScanoutId, pub u64);

/// A commit whose frame callback has not come.
#[derive(Clone, Copy)]
struct Flight {
    commit: u64,
    serial: Option<u64>,
}

/// What is attached. Keeps the guest's memory while the compositor may look at it.
struct Attached {
    memory: Option<Arc<SharedBuffer>>,
    source: Rect,
}

/// The window of one scanout.
pub(super) struct Surface {
    id: ScanoutId,
    wl: wl_surface::WlSurface,
    xdg: xdg_surface::XdgSurface,
    toplevel: xdg_toplevel::XdgToplevel,
    decoration: Option<zxdg_toplevel_decoration_v1::ZxdgToplevelDecorationV1>,
    viewport: Option<Viewport>,
    fractional: Option<wp_fractional_scale_v1::WpFractionalScaleV1>,
    /// What the compositor prefers of all scales, if it has said so.
    preferred: Option<Scale>,
    scale: Scale,
    proposed: Configured,
    unacked: Option<u32>,
    configured: Option<Configured>,
    damage: Damage,
    dirty: bool,
    flight: Option<Flight>,
    converting: Option<Converting>,
    conversions: u64,
    commits: u64,
    attached: Option<Attached>,
    own: Option<OwnBuffer>,
    /// Attached until the next commit.
    retired: Option<OwnBuffer>,
    size: (u32, u32),
    /// The picture's size, in its own pixels.
    picture: (u32, u32),
    /// What is attached is shown with its last row first.
    bottom_up: bool,
    output: Option<u32>,
    /// The device has something else to show instead.
    broken: bool,
    /// When a picture could not be converted last, and how often that was so.
    failed: Option<Instant>,
    failures: u64,
    created: Instant,
}

impl Surface {
    /// Creates the window; nothing is shown before the compositor has configured it.
    pub fn new(id: ScanoutId, title: &str, globals: &Globals, qh: &QueueHandle<LinkState>) -> Option<Self> {
        let wl = globals.compositor.as_ref()?.create_surface(qh, Some(id));
        let xdg = globals.wm_base.as_ref()?.get_xdg_surface(&wl, qh, id);
        let toplevel = xdg.get_toplevel(qh, id);
        toplevel.set_app_id(format!("phyllome.scanout.{}", id.get()));
        toplevel.set_title(if id.get() == 0 { title.to_owned() } else { format!("{title} ({})", id.get() + 1) });
        let decoration = globals.decorations.as_ref().map(|manager| {
            let decoration = manager.get_toplevel_decoration(&toplevel, qh, ());
            decoration.set_mode(zxdg_toplevel_decoration_v1::Mode::ServerSide);
            decoration
        });
        let viewport =
            globals.viewporter.as_ref().map(|viewporter| Viewport::new(viewporter.get_viewport(&wl, qh, ())));
        let fractional = globals.scales.as_ref().map(|manager| manager.get_fractional_scale(&wl, qh, id));
        wl.commit();
        let mut damage = Damage::default();
        damage.add_all();
        Some(Self {
            id,
            wl,
            xdg,
            toplevel,
            decoration,
            viewport,
            fractional,
            preferred: None,
            scale: Scale::ONE,
            proposed: Configured::default(),
            unacked: None,
            configured: None,
            damage,
            dirty: true,
            flight: None,
            converting: None,
            conversions: 0,
            commits: 0,
            attached: None,
            own: None,
            retired: None,
            size: (0, 0),
            picture: (0, 0),
            bottom_up: false,
            output: None,
            broken: false,
            failed: None,
            failures: 0,
            created: Instant::now(),
        })
    }

    /// xdg_toplevel.configure: counts from the next [`Surface::configure`] on.
    pub fn propose(&mut self, proposed: Configured) {
        self.proposed = proposed;
    }

    /// wp_fractional_scale_v1.preferred_scale.
    pub fn prefer_scale(&mut self, scale: Scale) {
        self.preferred = Some(scale);
    }

    /// How many pixels of its display one of the surface's has.
    pub fn scale(&self) -> Scale {
        self.scale
    }

    /// xdg_surface.configure.
    pub fn configure(&mut self, serial: u32) {
        self.unacked = Some(serial);
    }

    /// The output that the window is on, if it is on one that is known.
    pub fn output(&mut self) -> &mut Option<u32> {
        &mut self.output
    }

    /// The frame callback of this commit came. Returns the serial of the flush that it showed.
    pub fn frame_done(&mut self, commit: u64) -> Option<u64> {
        self.flight.take_if(|flight| flight.commit == commit)?.serial
    }

    /// These parts of the picture are new.
    pub fn damage(&mut self, rects: &[Rect]) {
        rects.iter().for_each(|&rect| self.damage.add(rect));
        self.dirty = true;
    }

    /// The scanout shows another picture, or none.
    pub fn replace_picture(&mut self) {
        self.damage.add_all();
        self.dirty = true;
        (self.broken, self.failed) = (false, None);
    }

    /// A position on the surface in pixels of the picture, and the picture's size.
    pub fn in_picture(&self, (x, y): (f64, f64)) -> ((f64, f64), (u32, u32)) {
        let (size, picture) = (self.size, self.picture);
        ((in_picture(x, size.0, picture.0), in_picture(y, size.1, picture.1)), picture)
    }

    /// The wl_surface, to know it in events.
    pub fn is(&self, surface: &wl_surface::WlSurface) -> bool {
        self.wl == *surface
    }

    /// The mode that the guest's scanout should have, as far as the compositor has said so.
    pub fn wanted(&self, globals: &Globals) -> Option<PreferredMode> {
        let configured = self.configured?;
        if configured.has_no_output() {
            return Some(PreferredMode::NO_DISPLAY);
        }
        let size = (configured.width, configured.height);
        (size.0 != 0 && size.1 != 0).then(|| globals.mode(self.scale.physical(size), self.output))
    }

    /// The serial of the flush whose commit the compositor has not answered.
    pub fn unanswered(&self) -> Option<u64> {
        let converted = self.converting.as_ref().and_then(|converting| converting.serial);
        self.flight.and_then(|flight| flight.serial).or(converted)
    }

    /// Nobody waits for the answer any more.
    pub fn forget_serial(&mut self) {
        if let Some(flight) = &mut self.flight {
            flight.serial = None;
        }
        if let Some(converting) = &mut self.converting {
            converting.serial = None;
        }
    }

    /// The guest's memory that is attached.
    pub fn memory(&self) -> Option<u64> {
        Some(self.attached.as_ref()?.memory.as_ref()?.id)
    }

    /// From when on the window of a scanout that is off may go: not while the compositor owes it an answer, and not one
    /// that never had a picture, which nobody sees and which says what mode the guest should have.
    pub fn may_go_from(&self) -> Option<Instant> {
        let owed = self.flight.is_some() || self.converting.is_some();
        (self.attached.is_some() && self.configured.is_some() && !owed).then_some(self.created + SHORTEST_LIFE)
    }

    /// When [`Surface::show`] is to be called even if nothing happens: a picture that could not be converted is tried
    /// again.
    pub fn retries_at(&self) -> Option<Instant> {
        let idle = self.flight.is_none() && self.converting.is_none() && self.configured.is_some();
        self.failed.filter(|_| idle && self.dirty && !self.broken)?.checked_add(RETRY)
    }

    /// How many pictures were begun to be converted.
    pub fn conversions(&self) -> u64 {
        self.conversions
    }

    /// Brings the window to what the scanout shows, as far as the compositor allows at present. Returns the serial of a
    /// flush that will not be shown: nobody is to wait for it.
    pub fn show(
        &mut self,
        scanout: Option<&mut Scanout>,
        globals: &Globals,
        buffers: &mut Buffers,
        qh: &QueueHandle<LinkState>,
        report: &mut ScanoutReport,
    ) -> Option<u64> {
        let reconfigured = self.take_configure() | self.take_scale(globals);
        self.configured?;
        let visible = scanout.as_deref().and_then(Scanout::visible);
        let (committed, mut unshown) = self.look_after_conversion(visible, globals, qh, report);
        if committed {
            return unshown;
        }
        if self.dirty && self.flight.is_none() && self.converting.is_none() && !self.broken {
            let waits = self.failed.is_some_and(|failed| failed.elapsed() < RETRY);
            self.failed = self.failed.filter(|_| waits);
            let committed = match scanout {
                Some(scanout) if scanout.lit => {
                    let committed = !waits && self.show_picture(scanout, globals, buffers, qh, report);
                    if self.failed.is_some() {
                        // The newest answers for those before it.
                        unshown = scanout.owed.take().or(unshown);
                    }
                    committed
                }
                Some(scanout) if scanout.picture.is_some() => false,
                _ => !waits && self.show_black(globals, buffers, qh),
            };
            if committed {
                return unshown;
            }
        }
        if reconfigured {
            self.apply_configure();
        }
        unshown
    }

    fn take_configure(&mut self) -> bool {
        let Some(serial) = self.unacked.take() else { return false };
        self.xdg.ack_configure(serial);
        self.configured = Some(self.proposed);
        true
    }

    /// Only where a viewport can give the surface another size than its buffer's.
    fn take_scale(&mut self, globals: &Globals) -> bool {
        let whole = || if globals.scales.is_some() { Scale::ONE } else { globals.output_scale(self.output) };
        let wanted = self.preferred.unwrap_or_else(whole);
        let scale = if self.viewport.is_some() { wanted } else { Scale::ONE };
        std::mem::replace(&mut self.scale, scale) != scale
    }

    /// The size that the compositor has asked for may change how the picture that is already there is scaled.
    fn apply_configure(&mut self) {
        let Some(attached) = &self.attached else { return };
        let (source, crop) = (attached.source, self.viewport.as_ref().and_then(Viewport::crop));
        let black = attached.memory.is_none();
        self.set_view((source.width, source.height), crop, black);
        self.wl.commit();
    }

    fn show_picture(
        &mut self,
        scanout: &mut Scanout,
        globals: &Globals,
        buffers: &mut Buffers,
        qh: &QueueHandle<LinkState>,
        report: &mut ScanoutReport,
    ) -> bool {
        let Some(picture) = scanout.picture.clone() else { return false };
        let source = picture.source;
        let same = self.attached.as_ref().is_some_and(|attached| {
            attached.source == source && attached.memory.as_ref().is_some_and(|memory| memory.id == picture.buffer.id)
        });
        if !same {
            self.damage.add_all();
        }
        let (buffer, at) = match buffers.get(&picture, globals, qh) {
            BufferChoice::Wait => return false,
            BufferChoice::Never => {
                // Until the next picture.
                self.broken = true;
                return false;
            }
            BufferChoice::Direct { buffer, at, dmabuf } => {
                report.buffer = if dmabuf { "dmabuf" } else { "shm" };
                (buffer, at)
            }
            BufferChoice::Copy => {
                self.begin_conversion(picture, &mut scanout.owed, globals, buffers, qh);
                return false;
            }
        };
        let damage = self.damage.take(source.width, source.height);
        self.retire();
        let cropped = self.viewport.is_some() && {
            let shared = &picture.buffer;
            (source.width, source.height) != (shared.width, shared.height)
        };
        self.set_view((source.width, source.height), cropped.then_some(source), false);
        let bottom_up = picture.buffer.dmabuf.as_ref().is_some_and(|dmabuf| dmabuf.bottom_up);
        let damage = if bottom_up { upside_down(&damage, at.1, picture.buffer.height) } else { damage };
        let at = if bottom_up { (at.0, 0) } else { at };
        self.turn(bottom_up);
        self.attached = Some(Attached { memory: Some(picture.buffer), source });
        self.commit(&buffer, &damage, at, scanout.owed.take(), globals, qh);
        report.commits += 1;
        true
    }

    /// A buffer of our own goes only after the commit that replaces it.
    fn retire(&mut self) {
        if let Some(own) = self.own.take() {
            self.retired = Some(own);
        }
    }

    /// For a while; then all of it is tried again.
    fn give_up(&mut self, error: &std::io::Error) {
        self.failures = self.failures.saturating_add(1);
        if seldom(self.failures) {
            let count = self.failures;
            tracing::warn!(scanout = self.id.get(), count, %error, "a picture cannot be converted; it is not shown");
        }
        self.failed = Some(Instant::now());
        self.damage.add_all();
    }

    /// A monitor that is switched off. A window that never had a picture stays unmapped.
    fn show_black(&mut self, globals: &Globals, buffers: &Buffers, qh: &QueueHandle<LinkState>) -> bool {
        let Some(attached) = &self.attached else { return false };
        let whole = Rect { x: 0, y: 0, ..attached.source };
        if attached.memory.is_none() {
            self.dirty = false;
            return false;
        }
        // One black pixel is enough where it can be stretched.
        let pixels = if self.viewport.is_some() { (1, 1) } else { (whole.width, whole.height) };
        let own = match OwnBuffer::new(pixels, false, globals, &buffers.budget, qh) {
            Ok(own) => own,
            Err(error) => {
                self.give_up(&error);
                return false;
            }
        };
        let buffer = own.buffer.clone();
        self.retire();
        self.own = Some(own);
        self.set_view((whole.width, whole.height), None, true);
        self.turn(false);
        self.attached = Some(Attached { memory: None, source: whole });
        self.damage.add_all();
        let damage = self.damage.take(pixels.0, pixels.1);
        self.commit(&buffer, &damage, (0, 0), None, globals, qh);
        // The next picture is new, whichever it is.
        self.damage.add_all();
        true
    }

    fn commit(
        &mut self,
        buffer: &wl_buffer::WlBuffer,
        damage: &[Rect],
        at: (u32, u32),
        serial: Option<u64>,
        globals: &Globals,
        qh: &QueueHandle<LinkState>,
    ) {
        self.wl.attach(Some(buffer), 0, 0);
        for rect in damage {
            // The parts lie inside a buffer whose size has passed as an i32.
            let [x, y, width, height] =
                [rect.x.saturating_add(at.0), rect.y.saturating_add(at.1), rect.width, rect.height]
                    .map(|value| i32::try_from(value).unwrap_or(i32::MAX));
            self.wl.damage_buffer(x, y, width, height);
        }
        self.commits += 1;
        self.wl.frame(qh, FrameOf(self.id, self.commits));
        if let Some(presentation) = &globals.presentation {
            presentation.feedback(&self.wl, qh, self.id);
        }
        self.wl.commit();
        self.flight = Some(Flight { commit: self.commits, serial });
        (self.dirty, self.failed) = (false, None);
        self.retired = None;
    }

    /// Whether the next buffer's first row is its lowest.
    fn turn(&mut self, bottom_up: bool) {
        if std::mem::replace(&mut self.bottom_up, bottom_up) != bottom_up {
            let transform = if bottom_up { wl_output::Transform::Flipped180 } else { wl_output::Transform::Normal };
            self.wl.set_buffer_transform(transform);
        }
    }

    /// `stretched`: the buffer is a single pixel.
    fn set_view(&mut self, picture: (u32, u32), crop: Option<Rect>, stretched: bool) {
        self.picture = picture;
        let Some(viewport) = &mut self.viewport else {
            self.size = picture;
            return;
        };
        let size = surface_size(picture, self.configured.unwrap_or_default(), self.scale);
        viewport.tell(View { crop, size: (size != picture || stretched).then_some(size) });
        self.size = size;
    }
}

impl Drop for Surface {
    fn drop(&mut self) {
        if let Some(decoration) = &self.decoration {
            decoration.destroy();
        }
        // Before its surface.
        self.viewport = None;
        if let Some(fractional) = &self.fractional {
            fractional.destroy();
        }
        self.toplevel.destroy();
        self.xdg.destroy();
        self.wl.destroy();
    }
}
