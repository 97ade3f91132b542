//! The display itself: DRM/KMS on the seat's graphics device, and the seat.
//!
//! One device is driven. What goes wrong with it or with the seat never ends the shell: outputs stay as they are for the guests, nothing is
//! drawn, and everything is opened anew after a pause ([`Kms::trouble`]). The device's own events come in by [`events`].

pub mod arrange;
pub mod connectors;
mod device;
pub mod edid;
mod events;
pub mod modes;
pub mod planes;
mod plugs;
mod session;
mod settle;
mod surface;

use super::{Drawn, Output, OutputId, RendererKind};
use crate::State;
use crate::render::Capture;
use crate::render::scene::Scene;
use crate::wayland::screens::Screens;
use arrange::Order;
use device::Gpu;
use phyllome_config::shell::OutputConfig;
use session::Seat;
pub use session::choose_daemon;
use smithay::backend::allocator::dmabuf::Dmabuf;
use smithay::backend::allocator::{Format, Fourcc};
use smithay::backend::udev::{self, UdevBackend};
use smithay::reexports::calloop::timer::{TimeoutAction, Timer};
use smithay::reexports::calloop::{LoopHandle, RegistrationToken};
use smithay::reexports::input::Libinput;
use smithay::reexports::wayland_server::DisplayHandle;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// A page flip that takes longer will never be done.
const FLIP_LIMIT: Duration = Duration::from_secs(2);

/// Pauses before everything is opened anew: one after the other, the last one for ever.
const PAUSES: [Duration; 6] = [
    Duration::from_millis(200),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(5),
    Duration::from_secs(10),
    Duration::from_secs(30),
];

/// How long a start waits for the session to become active; one that is switched away from starts without displays.
const PATIENCE: Duration = Duration::from_secs(2);

/// The same while the shell runs: longer, and guests would notice.
const SHORT_PATIENCE: Duration = Duration::from_millis(100);

/// After so many failures one after the other GLES is no longer tried.
const MAX_GLES_FAILURES: usize = 3;

/// Pause between two attempts to reach a seat daemon that is gone.
const SEAT_PAUSE: Duration = Duration::from_secs(1);

/// The libinput context, and its place in the loop.
struct Devices {
    context: Libinput,
    source: RegistrationToken,
}

/// The open device, and its place in the loop.
struct Driven {
    gpu: Gpu,
    source: RegistrationToken,
}

/// Displays and devices of one seat.
pub struct Kms {
    display: DisplayHandle,
    loop_handle: LoopHandle<'static, State>,
    settings: BTreeMap<String, OutputConfig>,
    wanted: Option<RendererKind>,
    seat: Option<(Seat, RegistrationToken)>,
    devices: Option<Devices>,
    driven: Option<Driven>,
    outputs: Vec<Output>,
    order: Order,
    renderer: RendererKind,
    /// Displays are switched off because nobody is there.
    asleep: bool,
    /// Another session is switched to, or none was active yet.
    paused: bool,
    retry: Option<RegistrationToken>,
    failures: usize,
    /// The last cause of trouble that was told; empty when there is none.
    cause: String,
}

impl Kms {
    /// Opens the seat and its graphics device and lights its displays. `wanted`: what draws; `None` for what suits the device. The error is
    /// one sentence; nothing stays open then.
    pub fn new(
        display: &DisplayHandle,
        loop_handle: &LoopHandle<'static, State>,
        settings: BTreeMap<String, OutputConfig>,
        wanted: Option<RendererKind>,
    ) -> Result<Self, String> {
        let seat = Seat::open_at_start()?;
        seat.wait_until_active(PATIENCE);
        let active = seat.is_active();
        let udev =
            UdevBackend::new(seat.name()).map_err(|error| format!("udev cannot be asked for displays: {error}"))?;
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
            retry: None,
            failures: 0,
            cause: String::new(),
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

    pub(super) fn draw(&mut self, index: usize, scene: &Scene, screens: &mut Screens) -> Result<Drawn, String> {
        if self.asleep || self.paused || self.retry.is_some() {
            return Ok(Drawn::Asleep);
        }
        let Some(output) = self.outputs.get(index) else { return Ok(Drawn::Asleep) };
        let (id, name, area) = (output.id, output.name.clone(), output.layout().area);
        let Some(driven) = &mut self.driven else { return Ok(Drawn::Asleep) };
        let drawn = driven.gpu.draw(&name, scene, &area, screens);
        if let (Ok((_, plane)), Some(output)) = (&drawn, self.outputs.get_mut(index)) {
            output.plane = *plane;
        }
        match drawn {
            Ok((Drawn::Queued, _)) => {
                let overdue = Timer::from_duration(FLIP_LIMIT);
                let timer = self.loop_handle.insert_source(overdue, move |_, (), state| {
                    state.flip_overdue(id);
                    TimeoutAction::Drop
                });
                driven.gpu.flip_begun(&name, timer.ok());
                Ok(Drawn::Queued)
            }
            Ok((drawn, _)) => Ok(drawn),
            Err(why) => {
                self.trouble(&why);
                Ok(Drawn::Asleep)
            }
        }
    }

    pub(super) fn frame_done(&mut self, output: OutputId) {
        if let Some(driven) = &mut self.driven {
            driven.gpu.frame_done(output);
        }
    }

    pub(super) fn read(&mut self, index: usize, scene: &Scene, screens: &mut Screens) -> Result<Capture, String> {
        let size = self.outputs.get(index).map(|output| output.size).ok_or("no display is plugged in")?;
        self.offscreen(size.0, size.1, scene, screens)
    }

    pub(super) fn offscreen(
        &mut self,
        width: u32,
        height: u32,
        scene: &Scene,
        screens: &mut Screens,
    ) -> Result<Capture, String> {
        let driven = self.driven.as_mut().ok_or("the display is lost and not yet back")?;
        driven.gpu.offscreen((width, height), scene, screens)
    }

    pub(super) fn import_dmabuf(&mut self, dmabuf: &Dmabuf) -> Result<(), String> {
        let driven = self.driven.as_mut().ok_or("the display is lost and not yet back")?;
        driven.gpu.import_dmabuf(dmabuf)
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
            let timers = driven.gpu.sleep();
            self.forget(timers);
        }
    }

    /// Switches to virtual terminal `number`.
    pub(super) fn change_vt(&self, number: u8) {
        if let Some((seat, _)) = &self.seat {
            seat.switch_to(i32::from(number));
        }
    }

    fn forget(&self, timers: Vec<RegistrationToken>) {
        for timer in timers {
            self.loop_handle.remove(timer);
        }
    }

    /// Opens the first device of the seat that drives displays: the one that the firmware has used, else another.
    fn open_gpu(&mut self) -> Result<(), String> {
        let Some((seat, _)) = &self.seat else { return Err("there is no seat".to_owned()) };
        let asked = |error: std::io::Error| format!("udev cannot be asked for displays: {error}");
        let mut paths: Vec<PathBuf> = udev::all_gpus(seat.name()).map_err(asked)?;
        let first = udev::primary_gpu(seat.name()).map_err(asked)?;
        paths.sort_by_key(|path| first.as_ref() != Some(path));
        let mut handle = seat.handle();
        let mut reason = None;
        // What draws by itself and fails again and again is given up for what needs no GPU.
        let gives_up = self.wanted.is_none() && self.failures >= MAX_GLES_FAILURES;
        let wanted = if gives_up { Some(RendererKind::Pixman) } else { self.wanted };
        let mut paths = paths.into_iter();
        for path in &mut paths {
            match Gpu::open(&mut handle, &path, wanted) {
                Ok((gpu, notifier)) => {
                    self.renderer = gpu.renderer();
                    tracing::info!("{} is driven, drawn by {:?}", path.display(), self.renderer);
                    let source = events::watch_gpu(&self.loop_handle, notifier)?;
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
        if let Some(Driven { mut gpu, source }) = self.driven.take() {
            gpu.drm.pause();
            let timers = gpu.keep(|_| false);
            self.forget(timers);
            self.loop_handle.remove(source);
            let mut handle = self.seat.as_ref().map(|(seat, _)| seat.handle());
            gpu.close(handle.as_mut());
        }
    }

    /// Something failed that a fresh start may mend. Nothing is drawn until then.
    fn trouble(&mut self, why: &str) {
        if self.retry.is_some() {
            return;
        }
        let pause = match &self.seat {
            Some(_) => PAUSES.get(self.failures).or(PAUSES.last()).copied().unwrap_or(SEAT_PAUSE),
            None => SEAT_PAUSE,
        };
        // A cause that stays is not said again and again.
        if self.cause != why {
            tracing::warn!("{why}; the display is opened anew as soon as it can be");
            why.clone_into(&mut self.cause);
        }
        if self.seat.is_some() {
            self.failures = self.failures.saturating_add(1);
        }
        let timer = self.loop_handle.insert_source(Timer::from_duration(pause), |_, (), state| {
            state.open_anew();
            TimeoutAction::Drop
        });
        match timer {
            Ok(timer) => self.retry = Some(timer),
            Err(error) => tracing::error!("the display is lost, and no timer can be set: {error}"),
        }
    }
}

impl Drop for Kms {
    /// Devices are given back before the seat is.
    fn drop(&mut self) {
        self.close_devices();
        self.close_gpu();
    }
}
