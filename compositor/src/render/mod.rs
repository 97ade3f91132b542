//! Drawing: what is on an output ([`scene`]), as textures ([`elements`]), when ([`clock`]), and as a picture ([`capture`]).
//!
//! A frame is drawn only if something is dirty, at most once per refresh. Hidden guests are not imported, not drawn and not told that
//! they were.

pub mod capture;
pub mod clock;
pub mod elements;
pub mod own;
pub mod scene;
pub mod words;

use crate::State;
use crate::wayland::presentation::{Presented, tell_presented};
use crate::wayland::quota::LogLimit;
pub use capture::Capture;
use clock::FrameClock;
use phyllome_protocol::shell::CaptureTarget;
use phyllome_protocol::status::{Area, OutputStatus};
use phyllome_protocol::{GuestName, ScanoutId};
use scene::Scene;
use smithay::reexports::calloop::timer::{TimeoutAction, Timer};
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::utils::{Clock, Monotonic};
use std::time::{Duration, Instant};

/// The frame clock and its log.
#[derive(Debug)]
pub struct Render {
    clock: FrameClock,
    monotonic: Clock<Monotonic>,
    log: LogLimit,
    drawn: bool,
}

impl Render {
    /// Nothing is drawn yet; outputs refresh at `refresh_mhz` millihertz.
    pub fn new(refresh_mhz: u32) -> Self {
        Self { clock: FrameClock::new(refresh_mhz), monotonic: Clock::new(), log: LogLimit::new(10), drawn: false }
    }
}

impl State {
    /// Marks every output dirty; drawing happens at the next vblank.
    pub fn queue_redraw(&mut self) {
        let Some(at) = self.render.clock.arm(Instant::now()) else { return };
        let timer = Timer::from_deadline(at);
        let set = self.loop_handle.insert_source(timer, |_, _, state| {
            // A capture may have drawn in the meantime.
            if state.render.clock.armed() {
                state.draw_now();
            }
            TimeoutAction::Drop
        });
        if let Err(error) = set {
            self.render.clock.disarm();
            if self.render.log.allow(Instant::now()) {
                tracing::error!("no frame can be timed: {error}");
            }
        }
    }

    /// Milliseconds of the clock that events are stamped with.
    pub fn now_ms(&self) -> u32 {
        Duration::from(self.render.monotonic.now()).as_millis() as u32
    }

    /// Draws every output and tells the guests that are on one.
    fn draw_now(&mut self) {
        let sequence = self.render.clock.tick(Instant::now());
        self.protocols.screens.set_areas(self.backend.outputs().iter().map(|output| output.area_size()).collect());
        let mut pictured: Vec<GuestName> = Vec::new();
        for index in 0..self.backend.outputs().len() {
            let scene = self.scene(index);
            match self.backend.draw(index, &scene, &mut self.protocols.screens) {
                Ok(()) => {
                    let when = Presented {
                        time: self.render.monotonic.now().into(),
                        refresh: self.render.clock.refresh(),
                        sequence,
                    };
                    if let Some(output) = self.backend.outputs().get(index) {
                        output.present(&scene.shown);
                        for surface in &scene.shown {
                            tell_presented(surface, &output.wayland, when);
                        }
                    }
                    pictured.extend(scene.picture);
                }
                Err(error) => {
                    if self.render.log.allow(Instant::now()) {
                        tracing::error!("an output could not be drawn: {error}");
                    }
                }
            }
        }
        self.backend.frame_done();
        self.render.drawn = true;
        for name in pictured {
            if self.protocols.note_picture(&name) {
                self.guest_picture_shown(&name);
            }
        }
    }

    /// A scanout has a new picture or waits for a frame.
    pub(crate) fn scanout_committed(&mut self, guest: &GuestName, surface: &WlSurface) {
        if !self.is_shown(guest, surface) {
            // A shown guest that takes its picture away leaves its message.
            if self.shell.shown().is_some_and(|view| view.name == *guest)
                && self.protocols.screens.content(surface).is_none()
            {
                self.queue_redraw();
            }
            return;
        }
        // The pointer may have waited over the place for the picture to come.
        self.refresh_pointer();
        self.queue_redraw();
    }

    /// Pixels of an output as it was composed last, or of one guest's picture. What is dirty is drawn first.
    pub fn capture(&mut self, target: &CaptureTarget) -> Result<Capture, String> {
        if self.render.clock.armed() || !self.render.drawn {
            self.draw_now();
        }
        let index = match target {
            CaptureTarget::Guest(name) => return self.capture_guest(name),
            CaptureTarget::Default => 0,
            CaptureTarget::Output(name) => self
                .backend
                .outputs()
                .iter()
                .position(|output| output.name == *name)
                .ok_or_else(|| format!("there is no output “{name}”; “phyllome status” lists them"))?,
        };
        let scene = self.scene(index);
        self.backend.read(index, &scene, &mut self.protocols.screens)
    }

    fn capture_guest(&mut self, name: &GuestName) -> Result<Capture, String> {
        let none = || format!("{name} has no picture");
        let surface =
            ScanoutId::new(0).and_then(|id| self.protocols.screens.scanout(name, id)).ok_or_else(none)?.clone();
        let wanted = self.protocols.screens.content(&surface).ok_or_else(none)?.wanted;
        let (width, height) = self.guest_area_size();
        let area = Area { x: 0, y: 0, width, height };
        let scene = Scene::of_surface(&surface, wanted, &area).ok_or_else(none)?;
        self.backend.offscreen(width, height, &scene, &mut self.protocols.screens)
    }

    /// Every output, for `phyllome status`.
    pub fn outputs_status(&self) -> Vec<OutputStatus> {
        let guest = self.shell.shown().map(|view| view.name);
        self.backend
            .outputs()
            .iter()
            .map(|output| OutputStatus {
                name: output.name.clone(),
                width: output.size.0,
                height: output.size.1,
                refresh_mhz: output.refresh_mhz,
                scale: output.scale,
                guest: guest.clone(),
                guest_area: output.layout().area,
                plane: "composited".to_owned(),
            })
            .collect()
    }

    /// Size of the guest's area of the first output, in physical pixels.
    pub fn guest_area_size(&self) -> (u32, u32) {
        self.backend.outputs().first().map_or((0, 0), |output| output.area_size())
    }

    /// Whether guest `name` has made its scanout 0, the one for the first output; whether there is a picture in it yet does not matter.
    pub fn has_picture(&self, name: &GuestName) -> bool {
        ScanoutId::new(0).is_some_and(|id| self.protocols.screens.scanout(name, id).is_some())
    }

    /// Whether a frame waits to be drawn; a quiet shell says no.
    pub fn render_is_armed(&self) -> bool {
        self.render.clock.armed()
    }
}
