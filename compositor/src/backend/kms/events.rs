//! What comes from seat daemon, udev, graphics device and input devices, and what the shell does then.

use super::device::Gpu;
use super::recovery::GUEST_LIMIT;
use super::session::{Seat, SeatChange};
use super::{Kms, LibinputDevices, SHORT_PATIENCE};
use crate::State;
use crate::backend::Backend;
use crate::backend::input::DeviceInput;
use crate::event_loop::{SourceId, Sources};
use crate::monotonic;
use crate::outputs::OutputId;
use phyllome_protocol::GuestName;
use smithay::backend::drm::DrmDeviceFd;
use smithay::backend::input::InputEvent;
use smithay::backend::libinput::{LibinputInputBackend, LibinputSessionInterface};
use smithay::backend::udev::{UdevBackend, UdevEvent};
use smithay::reexports::calloop::generic::Generic;
use smithay::reexports::calloop::timer::TimeoutAction;
use smithay::reexports::calloop::{Interest, Mode, PostAction, RegistrationToken};
use smithay::reexports::drm::control::{Device as _, Event as DisplayEvent, crtc};
use smithay::reexports::drm::{Device as _, DriverCapability};
use smithay::reexports::input::event::{DeviceEvent, EventTrait};
use smithay::reexports::input::{Event, Libinput};
use smithay::utils::{Clock, Monotonic};
use std::time::{Duration, Instant};

/// Listens to the seat daemon.
pub(super) fn watch_seat(loop_handle: &Sources<State>, seat: &Seat) -> Result<RegistrationToken, String> {
    let descriptor = seat.descriptor().map_err(|error| format!("the seat cannot be listened to: {error}"))?;
    let source = Generic::new(descriptor, Interest::READ, Mode::Level);
    let readable = |_, _: &mut _, state: &mut State| {
        Ok(if state.seat_readable() { PostAction::Continue } else { PostAction::Remove })
    };
    loop_handle.insert_source(source, readable).map_err(|error| format!("the seat cannot be listened to: {error}"))
}

/// Listens to udev.
pub(super) fn watch_udev(loop_handle: &Sources<State>, udev: UdevBackend) -> Result<(), String> {
    let source = loop_handle.insert_source(udev, |event, _, state| state.udev_said(event));
    source.map(drop).map_err(|error| format!("udev cannot be listened to: {error}"))
}

/// Listens to a graphics device.
pub(super) fn watch_gpu(loop_handle: &Sources<State>, device: &DrmDeviceFd) -> Result<SourceId, String> {
    // Times of another clock say nothing here; then flips have the time at which they are heard of.
    let monotonic = device.get_driver_capability(DriverCapability::MonotonicTimestamp).is_ok_and(|is| is == 1);
    let fd = device.clone();
    let serve = move |state: &mut State| {
        match fd.receive_events() {
            Ok(events) => {
                for event in events {
                    if let DisplayEvent::PageFlip(flip) = event {
                        let time = Some(flip.duration).filter(|time| monotonic && !time.is_zero());
                        state.flipped(flip.crtc, time, flip.frame);
                    }
                }
            }
            Err(error) => state.device_failed(&error.to_string()),
        }
        PostAction::Continue
    };
    let joined = loop_handle.watch(device.clone(), serve);
    joined.map_err(|error| format!("the graphics device cannot be listened to: {error}"))
}

impl Kms {
    /// Opens the input devices of the seat; what is plugged in later comes by itself.
    pub(super) fn open_devices(&mut self) {
        let Some((seat, _)) = &self.seat else { return };
        if let Some(devices) = &mut self.devices {
            if devices.context.resume().is_err() {
                tracing::error!("the input devices cannot be opened anew");
            }
            return;
        }
        let mut context = Libinput::new_with_udev(LibinputSessionInterface::from(seat.handle()));
        if context.udev_assign_seat(seat.name()).is_err() {
            tracing::error!("the input devices of {} cannot be found; only the command-line tool is left", seat.name());
            return;
        }
        let backend = LibinputInputBackend::new(context.clone());
        match self
            .loop_handle
            .insert_source(backend, |event, (), state| state.device_input(DeviceInput::Libinput(event)))
        {
            Ok(source) => self.devices = Some(LibinputDevices { context, source }),
            Err(error) => tracing::error!("the input devices cannot be listened to: {error}"),
        }
    }

    /// What came and went when devices were opened or closed; libinput tells of it only at the next event of one of
    /// them. What else it has to say is of devices that are let go: keys and buttons count as released already.
    fn device_changes(&mut self) -> Vec<InputEvent<LibinputInputBackend>> {
        let Some(devices) = &mut self.devices else { return Vec::new() };
        if devices.context.dispatch().is_err() {
            return Vec::new();
        }
        let change = |event| match event {
            Event::Device(DeviceEvent::Added(event)) => Some(InputEvent::DeviceAdded { device: event.device() }),
            Event::Device(DeviceEvent::Removed(event)) => Some(InputEvent::DeviceRemoved { device: event.device() }),
            _ => None,
        };
        devices.context.by_ref().filter_map(change).collect()
    }

    pub(super) fn close_devices(&mut self) -> Vec<InputEvent<LibinputInputBackend>> {
        if let Some(devices) = &self.devices {
            devices.context.suspend();
        }
        let gone = self.device_changes();
        if let Some(devices) = self.devices.take() {
            self.loop_handle.remove(devices.source);
        }
        gone
    }

    /// LibinputDevices are another session's from now on.
    fn pause(&mut self) {
        self.paused = true;
        if let Some(driven) = &mut self.driven {
            driven.gpu.drm.pause();
            driven.gpu.keep(|_| false);
        }
        if let Some(devices) = &self.devices {
            devices.context.suspend();
        }
    }

    /// LibinputDevices are the shell's again.
    fn resume(&mut self) {
        self.paused = false;
        self.open_devices();
        // Somebody looks at the displays now: nothing waits.
        if self.end_pause() {
            self.close_gpu();
        }
        self.trouble.barred.clear();
        let resumed = match &mut self.driven {
            Some(driven) => activate(&mut driven.gpu),
            None => self.open_gpu(),
        };
        // Every display is lit as if it was plugged in just now: what the other session did to it is not asked.
        if let Err(why) = resumed.and_then(|()| self.settle()) {
            self.trouble(&why);
        }
    }
}

/// A device is used again. smithay says that it is even where it did not become DRM master.
fn activate(gpu: &mut Gpu) -> Result<(), String> {
    gpu.drm.activate(false).map_err(|error| error.to_string())?;
    if gpu.is_master() { Ok(()) } else { Err(format!("{} was not given back", gpu.path.display())) }
}

impl State {
    fn kms(&mut self) -> Option<&mut Kms> {
        match &mut self.backend {
            Backend::Kms(kms) => Some(kms),
            _ => None,
        }
    }

    /// The seat daemon says something, or is gone; then the descriptor is done with.
    fn seat_readable(&mut self) -> bool {
        let Some(kms) = self.kms() else { return false };
        let Some((seat, _)) = &kms.seat else { return false };
        match seat.read() {
            Ok(changes) => {
                for change in changes {
                    match change {
                        SeatChange::Active => self.session_active(),
                        SeatChange::Paused => self.session_paused(),
                    }
                }
                true
            }
            Err(why) => {
                self.seat_lost(&why);
                false
            }
        }
    }

    fn session_paused(&mut self) {
        self.no_flips();
        let time = monotonic::now_ms();
        self.device_input(DeviceInput::Lost { time_ms: time });
        let Some(kms) = self.kms() else { return };
        kms.pause();
        if let Some((seat, _)) = &kms.seat {
            seat.yield_devices();
        }
        self.devices_changed();
    }

    /// Takes note of the input devices that were opened or closed.
    pub(super) fn devices_changed(&mut self) {
        self.input.keyboards.begin(Instant::now());
        let changes = self.kms().map(Kms::device_changes).unwrap_or_default();
        changes.into_iter().for_each(|change| self.device_input(DeviceInput::Libinput(change)));
    }

    fn session_active(&mut self) {
        let Some(kms) = self.kms() else { return };
        if !kms.paused {
            return;
        }
        kms.resume();
        self.devices_changed();
        self.note_activity();
        self.displays_opened();
    }

    /// The seat daemon is gone and with it the right to open devices. Guests go on; the next seat daemon is waited for.
    fn seat_lost(&mut self, why: &str) {
        self.no_flips();
        let time = monotonic::now_ms();
        self.device_input(DeviceInput::Lost { time_ms: time });
        let Some(kms) = self.kms() else { return };
        // Its source is the caller, who removes it.
        kms.seat = None;
        kms.paused = false;
        kms.trouble.backoff.forget();
        kms.end_pause();
        kms.trouble(&format!("the seat daemon is gone ({why})"));
    }

    /// The pause after [`Kms::trouble`] is over.
    pub(super) fn open_anew(&mut self) {
        self.no_flips();
        let Some(kms) = self.kms() else { return };
        kms.trouble.retry = None;
        kms.close_gpu();
        if kms.seat.is_none() && !self.reopen_seat() {
            return;
        }
        let Some(kms) = self.kms() else { return };
        if kms.paused {
            return;
        }
        kms.open_devices();
        if let Err(why) = kms.open_gpu().and_then(|()| kms.settle()) {
            kms.close_gpu();
            kms.trouble(&why);
            return;
        }
        self.devices_changed();
        self.displays_opened();
    }

    /// Another seat daemon in place of one that is gone. Whether there is one.
    fn reopen_seat(&mut self) -> bool {
        let time = monotonic::now_ms();
        self.device_input(DeviceInput::Lost { time_ms: time });
        let gone = self.kms().map(Kms::close_devices).unwrap_or_default();
        gone.into_iter().for_each(|change| self.device_input(DeviceInput::Libinput(change)));
        let Some(kms) = self.kms() else { return false };
        let opened = Seat::open().and_then(|seat| {
            seat.wait_until_active(SHORT_PATIENCE);
            let source = watch_seat(&kms.loop_handle, &seat)?;
            Ok((seat, source))
        });
        match opened {
            Ok(seat) => {
                kms.paused = !seat.0.is_active();
                kms.seat = Some(seat);
                kms.trouble.backoff.forget();
                tracing::info!("the seat is back");
                true
            }
            Err(why) => {
                kms.trouble(&why);
                false
            }
        }
    }

    /// Outputs are as they are now; what they can import is told to guests if nothing was told before.
    fn displays_opened(&mut self) {
        let (formats, device) = self.backend.dmabuf_formats();
        self.protocols.offer_dmabuf(&self.display, formats, device);
        self.protocols.screens.set_reaches(self.backend.reaches());
        self.protocols.fences.offer(device);
        self.outputs_changed();
    }

    /// Frames that are under way will not come onto a display.
    fn no_flips(&mut self) {
        let outputs: Vec<OutputId> = self.backend.outputs().iter().map(|output| output.id).collect();
        for output in outputs {
            self.output_not_flipped(output);
        }
    }

    fn udev_said(&mut self, event: UdevEvent) {
        let Some(kms) = self.kms() else { return };
        let ours = kms.driven.as_ref().map(|driven| driven.gpu.number);
        match event {
            UdevEvent::Added { .. } if ours.is_none() && !kms.paused => {
                kms.end_pause();
                kms.trouble.backoff.forget();
                kms.trouble("a graphics device has come");
            }
            UdevEvent::Added { path, .. } if ours.is_some() && kms.log.allow(Instant::now()) => {
                tracing::info!("{} is not driven: displays of one graphics device are", path.display());
            }
            UdevEvent::Changed { device_id } if ours == Some(device_id) => self.settle_displays(),
            UdevEvent::Removed { device_id } if ours == Some(device_id) => {
                kms.close_gpu();
                kms.retire_all();
                // Another one may be there.
                kms.trouble("the graphics device is gone");
                self.outputs_changed();
            }
            UdevEvent::Added { .. } | UdevEvent::Changed { .. } | UdevEvent::Removed { .. } => {}
        }
    }

    /// The computer was suspended. Monitors may be others now, and a graphics device may have forgotten what it showed.
    pub(crate) fn displays_woke(&mut self) {
        let Some(kms) = self.kms() else { return };
        if let Some(driven) = &mut kms.driven {
            driven.gpu.forget();
        }
        self.settle_displays();
        self.queue_redraw();
    }

    /// Displays came, went or changed, or one could not be drawn on.
    pub(super) fn settle_displays(&mut self) {
        let Some(kms) = self.kms() else { return };
        if kms.paused || kms.trouble.retry.is_some() {
            return;
        }
        if let Err(why) = kms.settle() {
            kms.trouble(&why);
        }
        self.outputs_changed();
    }

    /// A frame was shown. Displays without a vblank give no time.
    fn flipped(&mut self, crtc: crtc::Handle, time: Option<Duration>, sequence: u32) {
        let Some(kms) = self.kms() else { return };
        let Some(name) = kms.driven.as_mut().and_then(|driven| driven.gpu.flipped(crtc, time)) else { return };
        kms.trouble.backoff.note_shown();
        let Some(output) = kms.outputs.iter().find(|output| output.name == name).map(|output| output.id) else {
            return;
        };
        let time = time.unwrap_or_else(|| Clock::<Monotonic>::new().now().into());
        self.output_flipped(output, time, u64::from(sequence));
    }

    /// A frame has been under way for too long. `suspect`: the guest whose GPU work it may wait for, if it was not
    /// waited for already. Such a guest is composited from now on, and holds up no other display than the one that it
    /// is on.
    pub(super) fn flip_overdue(&mut self, output: OutputId, suspect: Option<GuestName>) -> TimeoutAction {
        let Some(kms) = self.kms() else { return TimeoutAction::Drop };
        let Some(name) = kms.outputs.iter().find(|other| other.id == output).map(|output| &output.name) else {
            return TimeoutAction::Drop;
        };
        // The display may have been lit anew in the meantime.
        if !kms.driven.as_ref().is_some_and(|driven| driven.gpu.is_flipping(name)) {
            return TimeoutAction::Drop;
        }
        if let Some(guest) = suspect {
            if kms.log.allow(Instant::now()) {
                tracing::warn!("{name} waits for a picture of {guest}, which is composited for some time from now on");
            }
            kms.trouble.suspects.blame(&guest, Instant::now());
            return TimeoutAction::ToDuration(GUEST_LIMIT);
        }
        let why = format!("{name} has not shown a frame in time");
        kms.trouble(&why);
        self.output_not_flipped(output);
        TimeoutAction::Drop
    }

    fn device_failed(&mut self, why: &str) {
        let Some(kms) = self.kms() else { return };
        // Not heard any more: it may fail again at once, for ever.
        if let Some(driven) = &kms.driven {
            kms.loop_handle.unwatch(driven.source);
        }
        kms.trouble(why);
    }
}
