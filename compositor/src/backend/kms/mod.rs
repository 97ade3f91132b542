//! The display itself: DRM/KMS on the seat's graphics device, and the seat.
//!
//! One device is driven. What goes wrong with it or with the seat never ends the shell: outputs stay as they are for
//! the guests, nothing is drawn, and everything is opened anew after a pause ([`Kms::trouble`]). The device's own
//! events come in by [`events`].

mod above;
mod come;
pub mod connectors;
mod crtc;
mod cursors;
pub mod damage;
mod device;
pub mod edid;
mod events;
pub mod flips;
mod framebuffers;
pub mod modes;
pub mod planes;
mod plugs;
pub mod recovery;
pub mod self_test;
mod session;
mod settle;
mod sheets;
mod surface;

use crate::State;
use crate::event_loop::{Alarm, SourceId, Sources};
use crate::log_limit::LogLimit;
use crate::outputs::arrange::Order;
use crate::outputs::{Capture, Drawn, Output, OutputId, Plane, RendererKind};
use crate::render::scene::Scene;
use crate::wayland::screens::Screens;
use crtc::Put;
use device::Gpu;
use phyllome_config::shell::OutputConfig;
use planes::{Stage, Why};
use plugs::Plug;
use recovery::{Backoff, Barred, FLIP_LIMIT, Remedy, Suspects};
use session::Seat;
pub use session::choose_daemon;
use smithay::backend::allocator::dmabuf::Dmabuf;
use smithay::backend::allocator::{Format, Fourcc};
use smithay::backend::udev::{self, UdevBackend};
use smithay::reexports::calloop::RegistrationToken;
use smithay::reexports::calloop::timer::{TimeoutAction, Timer};
use smithay::reexports::input::Libinput;
use smithay::reexports::wayland_server::DisplayHandle;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Most lines of log a minute about displays that come, go and change.
const LINES: u32 = 40;

/// How long a start waits for the session to become active; one that is switched away from starts without displays.
const PATIENCE: Duration = Duration::from_secs(2);

/// The same while the shell runs: longer, and guests would notice.
const SHORT_PATIENCE: Duration = Duration::from_millis(100);

/// After so many failures one after the other GLES is no longer tried.
const MAX_GLES_FAILURES: usize = 3;

/// How long a kernel that is busy is left alone: half of a refresh, or less.
const BUSY_PAUSE: Duration = Duration::from_millis(5);
/// Pause between two attempts to reach a seat daemon that is gone.
const SEAT_PAUSE: Duration = Duration::from_secs(1);

/// The libinput context, and its place in the loop.
struct LibinputDevices {
    context: Libinput,
    source: RegistrationToken,
}

/// The alarm of a frame that is under way; dropped, it is not set any more.
struct Overdue {
    loop_handle: Sources<State>,
    alarm: Alarm,
}

impl Drop for Overdue {
    fn drop(&mut self) {
        self.loop_handle.clear_alarm(self.alarm);
    }
}

/// The open device, and its place in the loop.
struct Driven {
    gpu: Gpu,
    source: SourceId,
}

/// Displays and devices of one seat.
pub struct Kms {
    display: DisplayHandle,
    loop_handle: Sources<State>,
    settings: BTreeMap<String, OutputConfig>,
    wanted: Option<RendererKind>,
    seat: Option<(Seat, RegistrationToken)>,
    devices: Option<LibinputDevices>,
    driven: Option<Driven>,
    outputs: Vec<Output>,
    order: Order,
    renderer: RendererKind,
    /// Displays are switched off because nobody is there.
    asleep: bool,
    /// Another session is switched to, or none was active yet.
    paused: bool,
    /// What was plugged in at the last look.
    seen: Vec<Plug>,
    trouble: Trouble,
    log: LogLimit,
}

/// What could not be done, and when it is tried again.
#[derive(Default)]
struct Trouble {
    retry: Option<RegistrationToken>,
    backoff: Backoff,
    /// Displays on which nothing could be drawn, until something else is plugged in or all is opened anew.
    barred: BTreeMap<String, Barred>,
    /// Guests whose buffers may have held up a frame.
    suspects: Suspects,
    /// Since when the kernel takes no frame.
    busy: Option<Instant>,
}

impl Kms {
    /// Opens the seat and its graphics device and lights its displays. `wanted`: what draws; `None` for what suits the
    /// device. The error is one sentence; nothing stays open then.
    pub fn new(
        display: &DisplayHandle,
        loop_handle: &Sources<State>,
        settings: BTreeMap<String, OutputConfig>,
        wanted: Option<RendererKind>,
    ) -> Result<Self, String> {
        let seat = Seat::open_at_start()?;
        seat.wait_until_active(PATIENCE);
        let active = seat.is_active();
        let udev = UdevBackend::new(seat.name())
            .map_err(|error| format!("udev cannot be asked for displays ({error}); start systemd-udevd"))?;
        let source = events::watch_seat(loop_handle, &seat)?;
        let mut kms = Self {
            display: display.clone(),
            loop_handle: loop_handle.clone(),
            settings,
            wanted,
            seat: Some((seat, source)),
            devices: None,
            driven: None,
            outputs: Vec::new(),
            order: Order::default(),
            renderer: wanted.unwrap_or(RendererKind::Pixman),
            asleep: false,
            paused: !active,
            seen: Vec::new(),
            trouble: Trouble::default(),
            log: LogLimit::new(LINES),
        };
        events::watch_udev(loop_handle, udev)?;
        if active {
            kms.open_gpu()?;
            kms.settle()?;
            kms.warn_of_unknown();
            kms.open_devices();
            loop_handle.insert_idle(State::devices_changed);
        } else {
            tracing::warn!("the session is not active; its displays are lit when it is switched to");
        }
        Ok(kms)
    }

    pub(super) fn renderer(&self) -> RendererKind {
        self.renderer
    }

    pub(super) fn outputs(&self) -> &[Output] {
        &self.outputs
    }

    pub(super) fn is_away(&self) -> bool {
        self.paused || self.seat.is_none()
    }

    pub(super) fn outputs_mut(&mut self) -> &mut [Output] {
        &mut self.outputs
    }

    pub(super) fn draw(&mut self, index: usize, scene: &Scene, screens: &mut Screens) -> Result<Drawn, String> {
        if self.asleep || self.paused || self.trouble.retry.is_some() {
            return Ok(Drawn::Asleep);
        }
        let Some(output) = self.outputs.get(index) else { return Ok(Drawn::Asleep) };
        let (id, name, area) = (output.id, output.name.clone(), output.layout().area);
        let Some(driven) = &mut self.driven else { return Ok(Drawn::Asleep) };
        let mut stage = Stage::of(scene, &area, screens);
        let late = |guest| self.trouble.suspects.has(guest, Instant::now());
        stage.late = scene.picture.as_ref().is_some_and(late);
        let drawn = driven.gpu.draw(&name, scene, &stage, screens);
        // The frame may wait for what the guest lets its GPU do.
        let waits = |put: &Put| match put.choice.picture {
            Ok(()) => true,
            Err(_) => put.painted && stage.picture.is_some_and(|shape| shape.imported),
        };
        if let (Ok(Put { painted, choice, .. }), Some(output)) = (&drawn, self.outputs.get_mut(index)) {
            output.plane = if choice.picture.is_ok() { Plane::Overlay } else { Plane::Composited };
            output.plane_reason = choice.picture.err().filter(|why| *why != Why::Nothing).map(Why::words);
            output.draws += u64::from(*painted);
        }
        match drawn {
            Ok(put @ Put { drawn: Drawn::Queued, .. }) => {
                self.trouble.busy = None;
                let mut suspect = scene.picture.clone().filter(|_| waits(&put));
                let overdue = Instant::now() + FLIP_LIMIT;
                let alarm = self.loop_handle.set_alarm(overdue, move |state| state.flip_overdue(id, suspect.take()));
                driven.gpu.flip_begun(&name, Overdue { loop_handle: self.loop_handle.clone(), alarm });
                Ok(Drawn::Queued)
            }
            Ok(Put { busy: true, .. }) => {
                self.wait_for_kernel(&name);
                Ok(Drawn::Asleep)
            }
            Ok(Put { drawn, .. }) => Ok(drawn),
            Err(why) => {
                self.draw_failed(&name, &why);
                Ok(Drawn::Asleep)
            }
        }
    }

    /// The kernel takes no frame of display `name` just now: all is drawn again in a moment, unless this goes on.
    fn wait_for_kernel(&mut self, name: &str) {
        let since = *self.trouble.busy.get_or_insert_with(Instant::now);
        if since.elapsed() > FLIP_LIMIT {
            self.trouble.busy = None;
            return self.trouble(&format!("{name} takes no frame: the kernel is busy with it"));
        }
        let soon = self.loop_handle.insert_source(Timer::from_duration(BUSY_PAUSE), |_, (), state| {
            state.queue_redraw();
            TimeoutAction::Drop
        });
        if let Err(error) = soon {
            self.trouble(&format!("{name} takes no frame, and no timer can be set: {error}"));
        }
    }

    /// Nothing can be drawn on display `name`. If it never could since it was lit, it alone is the worse for it.
    fn draw_failed(&mut self, name: &str, why: &str) {
        let Some(driven) = &mut self.driven else { return };
        let Remedy::Bar(how) = driven.gpu.remedy(name) else { return self.trouble(why) };
        driven.gpu.keep(|wiring| wiring.name != name);
        self.trouble.barred.insert(name.to_owned(), how);
        if self.log.allow(Instant::now()) {
            match how {
                Barred::Asked => {
                    tracing::warn!("{why}; it is lit in its own mode, not in the one that shell.toml asks for")
                }
                Barred::Dark => tracing::warn!(
                    "{why}; it stays dark until displays are plugged in or out: ask for a smaller mode under [output.{name}] \
                     of shell.toml, or of another display"
                ),
            }
        }
        // Not now: the outputs are being drawn.
        let soon = self.loop_handle.insert_source(Timer::immediate(), |_, (), state| {
            state.settle_displays();
            TimeoutAction::Drop
        });
        if let Err(error) = soon {
            self.trouble(&format!("{name} is dark, and no timer can be set: {error}"));
        }
    }

    pub(super) fn is_flipping(&self, id: OutputId) -> bool {
        let output = self.outputs.iter().find(|output| output.id == id);
        let driven = self.driven.as_ref();
        output.zip(driven).is_some_and(|(output, driven)| driven.gpu.is_flipping(&output.name))
    }

    pub(super) fn frame_done(&mut self, output: OutputId) {
        if let Some(driven) = &mut self.driven {
            driven.gpu.frame_done(output);
        }
    }

    pub(super) fn read(&mut self, index: usize, scene: &Scene, screens: &mut Screens) -> Result<Capture, String> {
        let size = self.outputs.get(index).map(|output| output.size).ok_or("no display is plugged in; plug one in")?;
        self.offscreen(size, scene, screens)
    }

    pub(super) fn offscreen(
        &mut self,
        size: (u32, u32),
        scene: &Scene,
        screens: &mut Screens,
    ) -> Result<Capture, String> {
        let driven =
            self.driven.as_mut().ok_or("the display is lost and not yet back; switch to this session, or try again")?;
        driven.gpu.offscreen(size, scene, screens)
    }

    pub(super) fn import_dmabuf(&mut self, dmabuf: &Dmabuf) -> Result<(), String> {
        let driven = self.driven.as_mut().ok_or("the display is lost and not yet back")?;
        driven.gpu.import_dmabuf(dmabuf)
    }

    pub(super) fn forget_imports(&mut self) {
        if let Some(driven) = &mut self.driven {
            driven.gpu.forget_imports();
        }
    }

    pub(super) fn reaches(&self) -> Option<&'static str> {
        self.driven.as_ref().and_then(|driven| driven.gpu.reaches)
    }

    pub(super) fn dmabuf_formats(&self) -> (Vec<Format>, u64) {
        self.driven.as_ref().map_or((Vec::new(), 0), |driven| driven.gpu.dmabuf_formats())
    }

    pub(super) fn shm_formats(&self) -> Vec<Fourcc> {
        let always = || vec![Fourcc::Argb8888, Fourcc::Xrgb8888];
        self.driven.as_ref().map_or_else(always, |driven| driven.gpu.shm_formats())
    }

    pub(super) fn sleep(&mut self, asleep: bool) {
        self.asleep = asleep;
        if asleep
            && !self.paused
            && let Some(driven) = &mut self.driven
        {
            driven.gpu.sleep();
        }
    }

    /// Switches to virtual terminal `number`.
    pub(super) fn change_vt(&self, number: u8) {
        if let Some((seat, _)) = &self.seat {
            seat.switch_to(i32::from(number));
        }
    }

    /// Opens the first device of the seat that drives displays: the one that the firmware has used, else another.
    fn open_gpu(&mut self) -> Result<(), String> {
        let Some((seat, _)) = &self.seat else { return Err("there is no seat".to_owned()) };
        let asked = |error: std::io::Error| format!("udev cannot be asked for displays ({error}); start systemd-udevd");
        let mut paths: Vec<PathBuf> = udev::all_gpus(seat.name()).map_err(asked)?;
        let first = udev::primary_gpu(seat.name()).map_err(asked)?;
        paths.sort_by_key(|path| first.as_ref() != Some(path));
        let mut handle = seat.handle();
        let mut reason = None;
        // What draws by itself and fails again and again is given up for what needs no GPU.
        let gives_up = self.wanted.is_none() && self.trouble.backoff.failures(Instant::now()) >= MAX_GLES_FAILURES;
        let wanted = if gives_up { Some(RendererKind::Pixman) } else { self.wanted };
        let mut paths = paths.into_iter();
        for path in &mut paths {
            match Gpu::open(&mut handle, &path, wanted) {
                Ok(gpu) => {
                    self.renderer = gpu.renderer();
                    tracing::info!("{} is driven, drawn by {:?}", path.display(), self.renderer);
                    let source = events::watch_gpu(&self.loop_handle, gpu.drm.device_fd())?;
                    self.driven = Some(Driven { gpu, source });
                    for other in paths {
                        tracing::info!("{} is not driven: displays of one graphics device are", other.display());
                    }
                    return Ok(());
                }
                Err(why) => {
                    tracing::debug!("{why}");
                    reason.get_or_insert(why);
                }
            }
        }
        Err(reason.unwrap_or_else(|| {
            format!(
                "{} has no graphics device that drives a display; load its kernel driver, or choose --backend headless",
                self.seat.as_ref().map_or("the seat", |(seat, _)| seat.name())
            )
        }))
    }

    /// Closes the device; outputs stay.
    fn close_gpu(&mut self) {
        self.trouble.barred.clear();
        if let Some(Driven { mut gpu, source }) = self.driven.take() {
            gpu.drm.pause();
            gpu.keep(|_| false);
            self.loop_handle.unwatch(source);
            let mut handle = self.seat.as_ref().map(|(seat, _)| seat.handle());
            gpu.close(handle.as_mut());
        }
    }

    /// Something failed that a fresh start may mend. Nothing is drawn until then.
    fn trouble(&mut self, why: &str) {
        if self.trouble.retry.is_some() {
            return;
        }
        let (pause, is_new) = self.trouble.backoff.failed(why, Instant::now());
        // A seat daemon that comes back is not kept waiting.
        let pause = if self.seat.is_some() { pause } else { SEAT_PAUSE };
        if is_new {
            tracing::warn!("{why}; the display is opened anew as soon as it can be");
        }
        let timer = self.loop_handle.insert_source(Timer::from_duration(pause), |_, (), state| {
            state.open_anew();
            TimeoutAction::Drop
        });
        match timer {
            Ok(timer) => self.trouble.retry = Some(timer),
            Err(error) => tracing::error!("the display is lost, and no timer can be set: {error}"),
        }
    }

    /// The pause after [`Kms::trouble`] is over before its time. Whether there was one.
    fn end_pause(&mut self) -> bool {
        let retry = self.trouble.retry.take();
        retry.inspect(|retry| self.loop_handle.remove(*retry)).is_some()
    }
}

impl Drop for Kms {
    /// LibinputDevices are given back before the seat is.
    fn drop(&mut self) {
        self.close_devices();
        self.close_gpu();
    }
}
