//! What each command of the tool does.

use super::wait::Kind;
use crate::State;
use crate::guests::Awaited;
use crate::shell::Done;
use phyllome_protocol::GuestVerb;
use phyllome_protocol::shell::{Command, Reply};
use phyllome_protocol::status::{OutputStatus, Status};
use phyllome_trusted::gate::{Asker, Verb};
use std::time::{Duration, Instant};

/// How long a guest may take to answer.
const ANSWER: Duration = Duration::from_secs(10);
/// How long a guest may take to tell its counters; the status goes out without them then.
const REPORT: Duration = Duration::from_millis(300);
/// How long `start` waits for more than “starting”.
const START: Duration = Duration::from_secs(8);

impl State {
    /// Asks the gate for what the tool asks for, and answers when it is done.
    pub(super) fn serve(&mut self, client: u64, command: Command) {
        let (verb, kind, patience) = match command {
            Command::Status => (Verb::Status, Kind::Status, REPORT),
            Command::Events => (Verb::Events, Kind::Plain, ANSWER),
            Command::Guest { verb, name } => (Verb::Guest(name, verb), Kind::Plain, ANSWER),
            Command::PauseAll => (Verb::All(GuestVerb::Pause), Kind::Plain, ANSWER),
            Command::ResumeAll => (Verb::All(GuestVerb::Resume), Kind::Plain, ANSWER),
            Command::Switch { name } => (Verb::Show(name), Kind::Plain, ANSWER),
            Command::Panel { show } => (Verb::Panel { show }, Kind::Plain, ANSWER),
            Command::Lock => (Verb::Lock, Kind::Plain, ANSWER),
            Command::Screenshot { target } => (Verb::Capture(target), Kind::Plain, ANSWER),
            Command::SendKeys { name, keys } => (Verb::SendKeys(name, keys), Kind::Plain, ANSWER),
            Command::Input { input } => return self.serve_input(client, input),
        };
        let subscribes = verb == Verb::Events;
        match self.act(verb, Asker::Tool) {
            Err(sentence) => self.serve_result(client, Err(sentence)),
            Ok(Done::Picture(capture)) => {
                let (width, height, stride) = (capture.width, capture.height, capture.stride);
                self.reply(client, &Reply::Screenshot { width, height, stride }, Some(capture.memfd));
            }
            Ok(Done::Waits(parts, failures)) => {
                let starts = matches!(parts.as_slice(), [Awaited::Started(_)]);
                let (kind, patience) = if starts { (Kind::GoesOn, START) } else { (kind, patience) };
                self.wait_for(client, kind, parts, failures, patience);
            }
            Ok(Done::Now) => {
                self.serve_result(client, Ok(()));
                if let Some(connected) = self.control.clients.get_mut(&client).filter(|_| subscribes) {
                    connected.client.subscriber = true;
                }
            }
        }
    }

    /// The whole status as it is now.
    pub fn status(&self) -> Status {
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            backend: self.backend.name().to_owned(),
            renderer: self.backend.renderer().word().to_owned(),
            mode: self.shell.mode(),
            deaf: !self.shell.hears(Instant::now()),
            outputs: self.outputs_status(),
            focus: self.shell.keyboard_owner(),
            guests: self.guests.status(Instant::now()),
        }
    }

    /// Every output, for `phyllome status`.
    pub(crate) fn outputs_status(&self) -> Vec<OutputStatus> {
        self.backend
            .outputs()
            .iter()
            .zip(self.shell.places())
            .map(|(output, place)| OutputStatus {
                name: output.name.clone(),
                identity: output.identity.clone(),
                width: output.size.0,
                height: output.size.1,
                refresh_mhz: output.refresh_mhz,
                scale: output.scale,
                rotation: output.transform.degrees(),
                x: output.position.0,
                y: output.position.1,
                guest: place.guest.clone(),
                scanout: place.scanout,
                guest_area: output.layout().area,
                plane: output.plane.word().to_owned(),
                draws: output.draws,
                plane_reason: output.plane_reason.map(str::to_owned),
            })
            .collect()
    }

    pub(super) fn serve_result(&mut self, client: u64, result: Result<(), String>) {
        let reply = result.map_or_else(|reason| Reply::Refused { reason }, |()| Reply::Done);
        self.reply(client, &reply, None);
    }
}
