//! What QEMU, its device and the screen have done, and what the supervisor makes of it. Nothing waits here.

use super::{END_TIME, Supervisor};
use crate::gpu::DeviceEnd;
use crate::machine::events::{Generation, MachineEvent};
use crate::machine::lifecycle::{Event, Exit};
use crate::machine::qemu::Qemu;
use crate::machine::qmp::{QmpError, QmpEvent};
use crate::screen::{FromScreen, InputEvent};
use crate::still::stood_still;
use phyllome_protocol::GuestVerb;
use std::sync::PoisonError;
use std::time::Duration;
use tokio::time::Instant;

/// When a guest's time is to be over that a timer has just said is over: it gets all of it anew where nobody ran.
fn again(due: Option<Instant>, now: Instant, time: Duration) -> Option<Instant> {
    due.filter(|due| stood_still((*due).into(), now.into())).and_then(|_| now.checked_add(time))
}

impl Supervisor {
    /// QEMU has not ended in time.
    pub(super) fn kill_time_is_up(&mut self, now: Instant) {
        self.kill_at = again(self.kill_at, now, END_TIME);
        if self.kill_at.is_none() {
            self.overdue = true;
            self.kill();
        }
    }

    /// The guest has not powered off in time.
    pub(super) fn time_is_up(&mut self, now: Instant) {
        self.end_at = again(self.end_at, now, self.patience);
        if self.end_at.is_none() {
            tracing::warn!(seconds = self.patience.as_secs(), "the guest did not power off in time");
            self.event(Event::TimeIsUp);
        }
    }

    pub(super) fn machine_event(&mut self, event: MachineEvent) {
        match event {
            MachineEvent::QmpReady(generation, qmp) => {
                if let Some(qemu) = self.present(generation) {
                    qemu.qmp = Some(qmp);
                    self.event(Event::QmpReady);
                }
            }
            MachineEvent::QmpFailed(generation, error) if self.present(generation).is_some() => {
                self.event(Event::QmpLost(error.to_string()));
            }
            MachineEvent::Qmp(generation, event) => {
                if let Some(qemu) = self.present(generation) {
                    if matches!(event, QmpEvent::Reset { .. }) {
                        qemu.device.sender().machine_reset();
                    }
                    self.event(Event::Qmp(event));
                }
            }
            MachineEvent::Status(generation, status) if self.present(generation).is_some() => self.status(status),
            MachineEvent::Exited(generation, exit) if self.present(generation).is_some() => self.exited(exit),
            MachineEvent::InputSent(generation, result) if self.present(generation).is_some() => {
                self.input_under_way = false;
                if let Err(error) = result {
                    tracing::debug!(%error, "input did not reach the guest");
                }
            }
            MachineEvent::Keyboard(generation, driven) if self.present(generation).is_some() => {
                self.input.keyboard_found(driven);
            }
            MachineEvent::Answered { generation, asker, result, status } => {
                self.requests_under_way = self.requests_under_way.saturating_sub(1);
                if let (Some(word), Some(_)) = (status, self.present(generation)) {
                    self.run_state(word);
                }
                if let (None, Err(why)) = (asker, &result) {
                    tracing::warn!(why, "QEMU did not do what it was told");
                }
                if let Some((connection, id)) = asker {
                    // Who hears that it is done has heard before what has come of it.
                    self.tell_changes();
                    self.answer(connection, id, result);
                }
            }
            MachineEvent::Looked(after, host) => self.looked(after, host),
            MachineEvent::Prepared(after, renderer) => self.prepared(after, renderer),
            MachineEvent::Leds(generation, leds) => {
                let former = self.present(generation).map(|qemu| qemu.leds.replace(leds));
                self.changed |= former.is_some_and(|former| former != Some(leds));
            }
            MachineEvent::QmpFailed(..)
            | MachineEvent::Exited(..)
            | MachineEvent::InputSent(..)
            | MachineEvent::Keyboard(..)
            | MachineEvent::Status(..) => {}
        }
    }

    fn present(&mut self, generation: Generation) -> Option<&mut Qemu> {
        self.qemu.as_mut().filter(|qemu| qemu.generation == generation)
    }

    /// Whether the present QEMU's guest has shown anything yet; its device has begun a report of its own.
    fn pictured(&self) -> bool {
        self.report.lock().unwrap_or_else(PoisonError::into_inner).pictured
    }

    /// Whether the guest runs well under KVM. One that has drawn nothing yet is looked at again when it is twice as old.
    pub(super) fn trial(&mut self) {
        self.trial_at = None;
        let Some(qemu) = &self.qemu else { return };
        if self.pictured() {
            self.event(Event::RunsWell);
        } else {
            self.trial_at = Some(Instant::now() + qemu.started.elapsed());
        }
    }

    fn status(&mut self, status: Result<String, QmpError>) {
        self.status_under_way = false;
        if std::mem::take(&mut self.status_wanted) {
            // Something has happened since this was asked; the newer answer corrects this one.
            self.query_status();
        }
        match status {
            Ok(word) => self.run_state(word),
            // A connection that is lost is told apart from this.
            Err(error) => tracing::warn!(%error, "the guest's state is not known"),
        }
    }

    fn run_state(&mut self, word: String) {
        let Some(qemu) = &self.qemu else { return };
        let (pictured, age) = (self.pictured(), qemu.started.elapsed());
        let words = qemu.words.explanation();
        self.event(Event::Status { word, pictured, age, words });
    }

    fn exited(&mut self, exit: Exit) {
        let Some(qemu) = self.qemu.take() else { return };
        (self.kill_at, self.end_at, self.look_at, self.trial_at, self.paused_at) = (None, None, None, None, None);
        let how = if self.overdue && exit == Exit::Signal(9) { Exit::Overdue } else { exit };
        tracing::info!(?how, "QEMU has ended");
        let (words, pictured) = (qemu.words.explanation(), self.pictured());
        qemu.device.shutdown();
        self.changed = true;
        self.event(Event::Exited { how, words, pictured });
    }

    pub(super) fn device_ended(&mut self, end: DeviceEnd) {
        if let Some(qemu) = &mut self.qemu {
            qemu.device_ended = true;
        }
        match end {
            DeviceEnd::HungUp => self.event(Event::DeviceHungUp),
            DeviceEnd::ShutDown => {}
            DeviceEnd::Failed(why) => {
                tracing::error!(why, "the display device failed");
                self.event(Event::DeviceFailed(why));
            }
        }
    }

    pub(super) fn screen_says(&mut self, event: FromScreen) {
        match event {
            FromScreen::Input(input) => self.input.push(input),
            FromScreen::CloseRequested => {
                if let Err(why) = self.ask(GuestVerb::Shutdown, None) {
                    tracing::warn!(why, "the window was closed, but the guest is not asked to shut down");
                }
            }
            FromScreen::Attached | FromScreen::ScanoutsChanged => self.changed = true,
            FromScreen::Detached(why) => {
                tracing::info!(why, "the screen is gone");
                self.input.push(InputEvent::ReleaseAll);
                self.changed = true;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_that_was_frozen_while_it_powered_off_has_its_time_anew() {
        let (now, time) = (Instant::now(), Duration::from_secs(60));
        assert_eq!(again(Some(now), now + Duration::from_millis(20), time), None, "its time is up");
        let thawed = now + Duration::from_secs(3600);
        assert_eq!(again(Some(now), thawed, time), Some(thawed + time));
        assert_eq!(again(None, now, time), None);
    }
}
