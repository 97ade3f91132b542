//! Drawing: what is on an output ([`scene`]), as textures ([`elements`]), when ([`clock`]).
//!
//! Every output is drawn by itself: only if something on it is dirty, at most once per refresh, and never while its
//! last frame is still on the way to the display. Hidden guests are not imported, not drawn and not told that they
//! were.

pub mod clock;
pub mod cut;
pub mod elements;
pub mod own;
pub mod pointers;
pub mod scene;
pub mod shape;
pub mod turned;

use crate::State;
use crate::log_limit::LogLimit;
use crate::outputs::{Capture, Drawn, OutputId};
use crate::wayland::presentation::{AwaitingFrame, Presented};
use clock::FrameClock;
use phyllome_protocol::shell::{CaptureTarget, Event};
use phyllome_protocol::status::Area;
use phyllome_protocol::{GuestName, ScanoutId};
use phyllome_trusted::gate::Pass;
use scene::Scene;
use smithay::reexports::calloop::timer::{TimeoutAction, Timer};
use smithay::reexports::wayland_protocols::wp::presentation_time::server::wp_presentation_feedback::Kind;
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::utils::{Clock, Monotonic};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// One output's frames.
#[derive(Debug)]
struct Frames {
    clock: FrameClock,
    /// Who waits for the frame that is on its way to the display.
    waiting: AwaitingFrame,
    /// The guest whose picture is in that frame.
    picture: Option<GuestName>,
    drawn: bool,
}

/// Every output's frame clock, and a log.
#[derive(Debug)]
pub struct Render {
    frames: BTreeMap<OutputId, Frames>,
    monotonic: Clock<Monotonic>,
    log: LogLimit,
    asleep: bool,
    /// Outputs that are drawn in this turn.
    due: Vec<OutputId>,
}

impl Default for Render {
    fn default() -> Self {
        Self::new()
    }
}

impl Render {
    /// Nothing is drawn yet.
    pub fn new() -> Self {
        Self {
            frames: BTreeMap::new(),
            monotonic: Clock::new(),
            log: LogLimit::new(10),
            asleep: false,
            due: Vec::new(),
        }
    }

    /// Whether the displays are switched off.
    pub fn is_asleep(&self) -> bool {
        self.asleep
    }
}

impl State {
    /// Marks every output dirty; each is drawn at its next vblank.
    pub fn queue_redraw(&mut self) {
        let outputs: Vec<_> = self.backend.outputs().iter().map(|output| output.id).collect();
        for output in outputs {
            self.queue_redraw_of(output);
        }
    }

    /// Marks one output dirty.
    pub fn queue_redraw_of(&mut self, output: OutputId) {
        if let Some(at) = self.mark_dirty(output) {
            self.draw_at(output, at);
        }
    }

    /// The same where a source of the loop is being served: what is due is drawn in this turn, once all that came with
    /// it is heard. That saves a turn, and a timer. (Outside of a turn nothing would wake the loop for it.)
    fn queue_redraw_in_turn(&mut self, output: OutputId) {
        match self.mark_dirty(output) {
            Some(at) if at <= Instant::now() => self.render.due.push(output),
            Some(at) => self.draw_at(output, at),
            None => {}
        }
    }

    /// Draws what this turn has left to draw.
    pub(crate) fn draw_due(&mut self) {
        // What was drawn is due again one refresh later at the earliest.
        while let Some(output) = self.render.due.pop() {
            self.draw_if_armed(output);
        }
    }

    /// When the output is to be drawn, if that has to be seen to.
    fn mark_dirty(&mut self, output: OutputId) -> Option<Instant> {
        if self.render.asleep || self.index_of(output).is_none() {
            return None;
        }
        self.frames(output).clock.arm(Instant::now())
    }

    fn draw_at(&mut self, output: OutputId, at: Instant) {
        let timer = Timer::from_deadline(at);
        let set = self.loop_handle.insert_source(timer, move |_, _, state| {
            state.draw_if_armed(output);
            TimeoutAction::Drop
        });
        if let Err(error) = set {
            if let Some(frames) = self.render.frames.get_mut(&output) {
                frames.clock.disarm();
            }
            if self.render.log.allow(Instant::now()) {
                tracing::error!("no frame can be timed: {error}");
            }
        }
    }

    /// A capture may have drawn since the output was armed, or the output is gone.
    fn draw_if_armed(&mut self, output: OutputId) {
        if self.render.frames.get(&output).is_some_and(|frames| frames.clock.armed()) {
            self.draw_now(output);
        }
    }

    fn frames(&mut self, output: OutputId) -> &mut Frames {
        let refresh = self.backend.outputs().iter().find(|other| other.id == output).map_or(60_000, |o| o.refresh_mhz);
        self.render.frames.entry(output).or_insert_with(|| Frames {
            clock: FrameClock::new(refresh),
            waiting: AwaitingFrame::default(),
            picture: None,
            drawn: false,
        })
    }

    fn index_of(&self, output: OutputId) -> Option<usize> {
        self.backend.outputs().iter().position(|other| other.id == output)
    }

    /// Draws one output.
    fn draw_now(&mut self, output: OutputId) {
        let Some(index) = self.index_of(output) else { return };
        let Some(frames) = self.render.frames.get_mut(&output) else { return };
        let sequence = frames.clock.tick(Instant::now());
        let scene = self.scene(index);
        let drawn = self.backend.draw(index, &scene, &mut self.protocols.screens);
        match drawn {
            Ok(Drawn::Asleep) => {
                self.shell.frame_lost(output);
                if let Some(frames) = self.render.frames.get_mut(&output) {
                    frames.clock.disarm();
                }
                return;
            }
            Ok(how) => {
                self.shell.frame_drawn(output, index);
                if let Some(on) = self.backend.outputs().get(index) {
                    on.present(&scene.shown);
                }
                let waiting = AwaitingFrame::take(&scene.shown);
                let Some(frames) = self.render.frames.get_mut(&output) else { return };
                frames.drawn = true;
                frames.waiting = waiting;
                frames.picture = scene.picture;
                if how == Drawn::Queued {
                    frames.clock.queued();
                } else {
                    let time = self.render.monotonic.now().into();
                    self.on_display(output, time, sequence, Kind::Vsync);
                }
            }
            Err(error) => {
                if self.render.log.allow(Instant::now()) {
                    tracing::error!("an output could not be drawn: {error}");
                }
            }
        }
        self.backend.frame_done(output);
        if self.protocols.screens.take_unreadable() {
            self.queue_redraw();
        }
        if self.protocols.screens.take_postponed() {
            self.queue_redraw_of(output);
        }
    }

    /// The page flip that [`Drawn::Queued`] promised is done, at this time of `CLOCK_MONOTONIC`; `sequence` counts the
    /// display's vblanks.
    pub fn output_flipped(&mut self, output: OutputId, time: Duration, sequence: u64) {
        let kind = Kind::Vsync | Kind::HwClock | Kind::HwCompletion;
        self.on_display(output, time, sequence, kind);
        let dirty = self.render.frames.get_mut(&output).is_some_and(|frames| frames.clock.flipped(time));
        if dirty {
            self.queue_redraw_in_turn(output);
        }
    }

    /// The page flip that [`Drawn::Queued`] promised will never be done: the display was switched away, lost or reset.
    pub fn output_not_flipped(&mut self, output: OutputId) {
        self.shell.frame_lost(output);
        let time = self.render.monotonic.now().into();
        if let Some(frames) = self.render.frames.get_mut(&output) {
            frames.clock.disarm();
            std::mem::take(&mut frames.waiting).discarded(time);
        }
    }

    fn on_display(&mut self, output: OutputId, time: Duration, sequence: u64, kind: Kind) {
        self.shell.frame_shown(output, Instant::now());
        let Some(index) = self.index_of(output) else { return };
        let Some(frames) = self.render.frames.get_mut(&output) else { return };
        let when = Presented { time, refresh: frames.clock.refresh(), sequence };
        let (waiting, picture) = (std::mem::take(&mut frames.waiting), frames.picture.take());
        if let Some(on) = self.backend.outputs().get(index) {
            waiting.presented(&on.wayland, when, kind);
        }
        if let Some(name) = picture
            && self.protocols.note_picture(&name)
        {
            self.emit(&Event::Picture { name });
        }
    }

    /// Outputs came, went or changed: frames of those that are gone are forgotten, everything is drawn anew.
    pub(crate) fn reset_frames(&mut self) {
        let time = self.render.monotonic.now().into();
        let outputs = self.backend.outputs();
        let mut gone = Vec::new();
        self.render.frames.retain(|id, frames| match outputs.iter().find(|output| output.id == *id) {
            Some(output) => {
                frames.clock.set_refresh(output.refresh_mhz);
                true
            }
            None => {
                std::mem::take(&mut frames.waiting).discarded(time);
                gone.push(*id);
                false
            }
        });
        for id in gone {
            self.backend.frame_done(id);
        }
        // A display that was lit anew has lost the frame that was on its way.
        let lost = |(id, frames): (&OutputId, &Frames)| {
            (frames.clock.flipping() && !self.backend.is_flipping(*id)).then_some(*id)
        };
        let lost: Vec<OutputId> = self.render.frames.iter().filter_map(lost).collect();
        for id in lost {
            self.output_not_flipped(id);
        }
        self.queue_redraw();
    }

    /// Switches all displays off, or on again. Nothing is drawn meanwhile and no guest is told that it was.
    pub fn outputs_sleep(&mut self, asleep: bool) {
        if std::mem::replace(&mut self.render.asleep, asleep) == asleep {
            return;
        }
        if asleep {
            let outputs: Vec<_> = self.render.frames.keys().copied().collect();
            for output in outputs {
                self.output_not_flipped(output);
            }
        }
        self.backend.sleep(asleep);
        self.queue_redraw();
    }

    /// A scanout has a new picture or waits for a frame.
    pub(crate) fn scanout_committed(&mut self, guest: &GuestName, surface: &WlSurface) {
        let outputs = self.shown_on(guest, surface);
        if outputs.is_empty() {
            // A shown guest that takes its picture away, or brings one that may not be drawn, leaves its message.
            if self.shell.places().iter().any(|place| place.guest.as_ref() == Some(guest))
                && self.protocols.screens.content(surface).is_none_or(|content| content.unreadable)
            {
                self.queue_redraw();
            }
            return;
        }
        // The pointer may have waited over the place for the picture to come.
        self.refresh_pointer();
        for output in outputs {
            self.queue_redraw_in_turn(output);
        }
    }

    /// Pixels of an output as it was composed last, or of one guest's picture. What is dirty is drawn first.
    pub fn capture(&mut self, target: &CaptureTarget, _pass: &Pass) -> Result<Capture, String> {
        let outputs: Vec<_> = self.backend.outputs().iter().map(|output| output.id).collect();
        for output in outputs {
            let frames = self.frames(output);
            if frames.clock.armed() || !frames.drawn {
                self.draw_now(output);
            }
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
        let none = || format!("{name} has no picture; start it, or wait until it shows one");
        let surface =
            ScanoutId::new(0).and_then(|id| self.protocols.screens.scanout(name, id)).ok_or_else(none)?.clone();
        let wanted = self.protocols.screens.content(&surface).ok_or_else(none)?.wanted;
        let (width, height) = self.protocols.screens.area(name);
        let area = Area { x: 0, y: 0, width, height };
        let scene = Scene::of_surface(&surface, wanted, &area).ok_or_else(none)?;
        self.backend.offscreen((width, height), &scene, &mut self.protocols.screens)
    }

    /// Whether guest `name` has made its scanout 0, the one for the first output; whether there is a picture in it yet
    /// does not matter.
    pub fn has_picture(&self, name: &GuestName) -> bool {
        ScanoutId::new(0).is_some_and(|id| self.protocols.screens.scanout(name, id).is_some())
    }

    /// Whether a frame waits to be drawn; a quiet shell says no.
    pub fn render_is_armed(&self) -> bool {
        self.render.frames.values().any(|frames| frames.clock.busy())
    }
}
