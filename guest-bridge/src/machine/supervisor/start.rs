//! How a guest starts: the host is looked at, once; then its renderer starts, if it is to have 3D; then QEMU. The loop
//! goes on in the meantime.

use super::{Supervisor, checks};
use crate::machine::command_line::{Accel, has_virtio_keyboard};
use crate::machine::events::{Generation, MachineEvent};
use crate::machine::graphics::{self, Wish};
use crate::machine::host::HostFacts;
use crate::machine::lifecycle::{Event, FIRMWARE_TIME};
use crate::machine::qemu::Recipe;
use crate::machine::transport;
use crate::machine::{disks, firmware, room};
use crate::renderer::client::Client;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// What comes before QEMU and takes its time: a look at the host, or a renderer that is made ready. Dropping it gives
/// up.
#[derive(Debug)]
pub(super) struct Preparing {
    /// The generation before the one that it is for.
    after: Generation,
    accel: Accel,
    /// Without a renderer the guest does not start.
    insist: bool,
    task: JoinHandle<()>,
}

impl Drop for Preparing {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Supervisor {
    /// Starts QEMU now, or once the host is known and the renderer is ready. The error is one sentence.
    pub(super) fn start(&mut self, accel: Accel) -> Result<(), String> {
        if self.host.is_some() {
            return self.start_renderer(accel);
        }
        let (definition, places) = (self.definition.clone(), self.places.clone());
        let (runtime, events, after) = (self.runtime.clone(), self.event_sender.clone(), self.generation);
        let task = tokio::spawn(async move {
            let host = checks::host_facts(&definition, &places, Some(&runtime)).await.map(Box::new);
            // Without a loop nobody is left to start.
            let _ = events.send(MachineEvent::Looked(after, host)).await;
        });
        self.preparing = Some(Preparing { after, accel, insist: false, task });
        Ok(())
    }

    /// The host is known, or why no guest can start on it.
    pub(super) fn looked(&mut self, after: Generation, host: Result<Box<HostFacts>, String>) {
        let Some(preparing) = self.preparing.take_if(|preparing| preparing.after == after) else { return };
        let started = host.and_then(|host| {
            self.host = Some(*host);
            self.start_renderer(preparing.accel)
        });
        if let Err(why) = started {
            self.event(Event::CannotStart(why));
        }
    }

    /// Starts QEMU now, or once its renderer is ready.
    fn start_renderer(&mut self, accel: Accel) -> Result<(), String> {
        self.no_3d = None;
        let (node, insist) = match graphics::wish(self.definition.gpu.mode, graphics::render_node()) {
            Wish::None(why) => {
                self.no_3d = Some(why.to_owned());
                return self.start_with(accel, None);
            }
            Wish::Try { node } => (node, false),
            Wish::Insist { node } => (node, true),
        };
        let host = self.host.as_ref();
        let virgl_only = host.and_then(|host| {
            transport::why_special(self.definition.gpu.transport, host.generic_device, host.qemu_version)
        });
        let (events, after) = (self.event_sender.clone(), self.generation);
        let task = tokio::spawn(async move {
            let renderer = graphics::prepare(node, virgl_only).await.map(Box::new);
            // Without a loop nobody is left to start.
            let _ = events.send(MachineEvent::Prepared(after, renderer)).await;
        });
        self.preparing = Some(Preparing { after, accel, insist, task });
        Ok(())
    }

    /// The renderer is ready, or there is none.
    pub(super) fn prepared(&mut self, after: Generation, renderer: Result<Box<Client>, String>) {
        // That of a start that was given up is ended by being dropped.
        let Some(preparing) = self.preparing.take_if(|preparing| preparing.after == after) else { return };
        let started = match renderer {
            Ok(client) => self.start_with(preparing.accel, Some(*client)),
            Err(why) if preparing.insist => {
                Err(format!("there is no 3D for this guest: {why}; gpu.mode = \"auto\" starts it without"))
            }
            Err(why) => {
                tracing::warn!(why, "the guest gets no 3D");
                self.no_3d = Some(why);
                self.start_with(preparing.accel, None)
            }
        };
        if let Err(why) = started {
            self.event(Event::CannotStart(why));
        }
    }

    fn start_with(&mut self, accel: Accel, renderer: Option<Client>) -> Result<(), String> {
        let host = self.host.take().ok_or("this host was not looked at; start the guest again")?;
        let started = self.start_on(&host, accel, renderer);
        self.host = Some(host);
        started
    }

    fn start_on(&mut self, host: &HostFacts, accel: Accel, renderer: Option<Client>) -> Result<(), String> {
        let images = disks::look(&self.definition)?;
        let files = host.firmware(self.definition.machine.firmware).map_err(|error| error.to_string())?;
        room::check(&self.definition)?;
        self.no_logs = room::check_logs(&self.logs).err();
        if let Some(why) = &self.no_logs {
            (self.notice)(why);
        }
        if let Some(files) = files {
            firmware::ready(files, &host.vars)?;
        }
        let host = &HostFacts { images, ..host.clone() };
        self.generation = self.generation.wrapping_add(1);
        let recipe = Recipe {
            definition: &self.definition,
            host,
            logs: &self.logs,
            mode: self.mode,
            report: &self.report,
            screen: &self.screen,
            events: &self.event_sender,
        };
        self.qemu = Some(recipe.start(self.generation, accel, renderer)?);
        self.trial_at = (accel == Accel::Kvm).then(|| Instant::now() + FIRMWARE_TIME);
        self.input.forget(has_virtio_keyboard(&self.definition));
        (self.input_under_way, self.status_under_way, self.status_wanted) = (false, false, false);
        self.overdue = false;
        self.changed = true;
        Ok(())
    }
}
