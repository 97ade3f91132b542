//! What each command of the tool does.

use super::wait::{Kind, Part};
use crate::State;
use crate::shell::Action;
use phyllome_protocol::shell::{CaptureTarget, Command, Reply};
use phyllome_protocol::status::Status;
use phyllome_protocol::{GuestName, GuestVerb};
use std::time::{Duration, Instant};

/// How long a guest may take to answer.
const ANSWER: Duration = Duration::from_secs(10);
/// How long a guest may take to tell its counters; the status goes out without them then.
const REPORT: Duration = Duration::from_millis(300);
/// How long `start` waits for more than “starting”.
const START: Duration = Duration::from_secs(8);

impl State {
    pub(super) fn serve(&mut self, client: u64, command: Command) {
        match command {
            Command::Status => {
                let parts = self.ask_all_for_reports();
                self.wait_for(client, Kind::Status, parts, vec![], REPORT);
            }
            Command::Events => {
                self.reply(client, &Reply::Done, None);
                if let Some(connected) = self.control.clients.get_mut(&client) {
                    connected.client.subscriber = true;
                }
            }
            Command::Guest { verb, name } => self.serve_verb(client, &name, verb),
            Command::PauseAll => self.serve_all(client, GuestVerb::Pause),
            Command::ResumeAll => self.serve_all(client, GuestVerb::Resume),
            Command::Switch { name } => {
                let known = self.shell.guest(&name).is_some();
                if known {
                    self.act(Action::Show(name.clone()));
                }
                self.serve_result(client, if known { Ok(()) } else { Err(self.guests.why_not(&name)) });
            }
            Command::Panel { show } => {
                self.act(Action::ShowPanel(show));
                self.serve_result(client, Ok(()));
            }
            Command::Lock => self.serve_result(client, Err("this shell has no lock screen yet".to_owned())),
            Command::Screenshot { target } => self.serve_screenshot(client, &target),
            Command::SendKeys { name, keys } => match self.send_keys(&name, keys) {
                Ok(part) => self.wait_for(client, Kind::Plain, vec![part], vec![], ANSWER),
                Err(sentence) => self.serve_result(client, Err(sentence)),
            },
            Command::Input { input } => self.serve_input(client, input),
        }
    }

    /// The whole status as it is now.
    pub fn status(&self) -> Status {
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            backend: self.backend_name().to_owned(),
            renderer: self.renderer_name().to_owned(),
            mode: self.shell.mode(),
            outputs: self.outputs_status(),
            focus: self.shell.keyboard_owner(),
            guests: self.guests.status(Instant::now()),
        }
    }

    pub(super) fn serve_result(&mut self, client: u64, result: Result<(), String>) {
        let reply = result.map_or_else(|reason| Reply::Refused { reason }, |()| Reply::Done);
        self.reply(client, &reply, None);
    }

    fn serve_verb(&mut self, client: u64, name: &GuestName, verb: GuestVerb) {
        let result = self.guest_op(name, verb);
        self.guests_changed();
        match result {
            Ok(part @ Part::Started(_)) => self.wait_for(client, Kind::GoesOn, vec![part], vec![], START),
            Ok(part) => self.wait_for(client, Kind::Plain, vec![part], vec![], ANSWER),
            Err(sentence) => self.serve_result(client, Err(sentence)),
        }
    }

    fn serve_all(&mut self, client: u64, verb: GuestVerb) {
        let (parts, failures) = self.all_guests(verb);
        self.wait_for(client, Kind::Plain, parts, failures, ANSWER);
    }

    fn serve_screenshot(&mut self, client: u64, target: &CaptureTarget) {
        match self.capture(target) {
            Ok(capture) => {
                let (width, height, stride) = (capture.width, capture.height, capture.stride);
                self.reply(client, &Reply::Screenshot { width, height, stride }, Some(capture.memfd));
            }
            Err(sentence) => self.serve_result(client, Err(sentence)),
        }
    }
}
