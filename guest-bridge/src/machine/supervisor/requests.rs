//! What is asked of a running guest, on the control socket or by its window, and how it is answered.
//!
//! A request is checked here and carried out by QEMU; the answer goes out when QEMU has given its own. Nothing waits.

#![deny(clippy::wildcard_enum_match_arm, reason = "a new verb or message is not to be taken for another")]

use super::{Supervisor, mode};
use crate::machine::control::Asked;
use crate::machine::events::MachineEvent;
use crate::machine::keys::qcode;
use crate::machine::lifecycle::{Action, Carry, REACTION};
use crate::screen::InputEvent;
use phyllome_protocol::control::{FromGuest, Request, ToGuest};
use phyllome_protocol::status::GuestState;
use phyllome_protocol::{GuestVerb, keys};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// Most keys of one `send-keys`.
const MAX_KEYS: usize = 16;
/// A variable for tests: a guest's time to react to its power button, in milliseconds.
#[cfg(any(test, feature = "test-doors"))]
const REACTION_MS: &str = "PHYLLOME_TEST_REACTION_MS";

/// Requests that QEMU may have to answer at a time.
const MAX_REQUESTS: usize = 32;

/// How long a guest may take to power off; tests of one that ignores its button say so.
#[cfg(any(test, feature = "test-doors"))]
fn reaction() -> Duration {
    reaction_for(std::env::var(REACTION_MS).ok())
}

/// How long a guest may take to power off.
#[cfg(not(any(test, feature = "test-doors")))]
fn reaction() -> Duration {
    REACTION
}

#[cfg(any(test, feature = "test-doors"))]
fn reaction_for(milliseconds: Option<String>) -> Duration {
    milliseconds.and_then(|text| text.parse().ok()).map_or(REACTION, Duration::from_millis)
}

/// When a request is answered.
pub(super) enum Answered {
    Now,
    Later,
}

impl Supervisor {
    pub(super) fn asked(&mut self, asked: Asked) {
        let Some((ToGuest { id, request }, fd)) = asked.message else {
            self.peers.closed(asked.connection);
            return;
        };
        let connection = asked.connection;
        self.peers.has_asked(connection);
        let asker = (connection, id);
        let result = match request {
            Request::AttachScreen { width, height } => self.attach(width, height, fd).map(|()| {
                self.peers.shows(connection);
                Answered::Now
            }),
            Request::SendKeys { keys } => self.send_keys(&keys).map(|()| Answered::Now),
            Request::Report => {
                let report = self.report();
                self.peers.tell(connection, &FromGuest::Report(report));
                Ok(Answered::Now)
            }
            Request::Verb(verb) => self.ask(verb, Some(asker)),
        };
        let result = match result {
            // The answer comes when QEMU has answered.
            Ok(Answered::Later) => return,
            Ok(Answered::Now) => Ok(()),
            Err(why) => Err(why),
        };
        self.answer(connection, id, result);
    }

    pub(super) fn answer(&mut self, connection: u64, id: u64, result: Result<(), String>) {
        let message = match result {
            Ok(()) => FromGuest::Done { id },
            Err(reason) => FromGuest::Refused { id, reason },
        };
        self.peers.tell(connection, &message);
    }

    pub(super) fn ask(&mut self, verb: GuestVerb, asker: Option<(u64, u64)>) -> Result<Answered, String> {
        if self.requests_under_way >= MAX_REQUESTS {
            return Err("QEMU is still busy with earlier requests; wait a moment".into());
        }
        let before = (self.life.state(), self.life.message().map(str::to_owned));
        let carry = self.life.request(verb)?;
        self.log_change(&before);
        let pressed = matches!(carry, Carry::Press(_));
        let commands = match carry {
            Carry::Nothing => return Ok(Answered::Now),
            Carry::Act(actions) => {
                for action in actions {
                    self.act(action);
                }
                return Ok(Answered::Now);
            }
            Carry::Qmp(commands) | Carry::Press(commands) => commands,
        };
        if pressed {
            self.act(Action::LookLater(reaction()));
        }
        self.tell_qemu(commands, asker)?;
        Ok(Answered::Later)
    }

    /// Lets QEMU carry out commands in order. The error is one sentence: it cannot be told.
    pub(super) fn tell_qemu(
        &mut self,
        commands: &'static [&'static str],
        asker: Option<(u64, u64)>,
    ) -> Result<(), String> {
        let (generation, qmp) = self.present_qmp().ok_or("QEMU is not ready yet; wait a moment")?;
        self.requests_under_way += 1;
        let events = self.event_sender.clone();
        tokio::spawn(async move {
            let mut result = Ok(());
            for command in commands {
                if let Err(error) = qmp.execute(command, None).await {
                    result = Err(format!("{error}; force the guest off if it stays so"));
                    break;
                }
            }
            let status = if result.is_ok() { qmp.query_status().await.ok() } else { None };
            let _ = events.send(MachineEvent::Answered { generation, asker, result, status }).await;
        });
        Ok(())
    }

    fn attach(&mut self, width: u32, height: u32, fd: Option<OwnedFd>) -> Result<(), String> {
        let fd = fd.ok_or("no Wayland connection came with the request")?;
        if width == 0 || height == 0 {
            return Err("a screen without an area shows nothing".into());
        }
        self.mode = mode(width, height);
        if let Some(qemu) = &self.qemu {
            qemu.suggest_mode(self.mode);
        }
        self.input.push(InputEvent::ReleaseAll);
        self.screen.attach(UnixStream::from(fd));
        Ok(())
    }

    fn send_keys(&mut self, names: &[String]) -> Result<(), String> {
        if names.is_empty() || names.len() > MAX_KEYS {
            return Err(format!("name 1 to {MAX_KEYS} keys"));
        }
        if !matches!(self.life.state(), GuestState::Running | GuestState::Stopping) {
            return Err(format!(
                "the guest is {}, so keys would be lost; wait until it runs",
                self.life.state().word()
            ));
        }
        let codes: Vec<u32> = names
            .iter()
            .map(|name| keys::code_from_name(name).ok_or_else(|| keys::unknown(name)))
            .collect::<Result<_, _>>()?;
        if let Some(name) = names.iter().zip(&codes).find(|(_, code)| qcode(**code).is_none()) {
            return Err(format!("QEMU has no key “{}”; use another", name.0));
        }
        let press = |pressed| move |code: &u32| InputEvent::Key { code: *code, pressed };
        codes.iter().map(press(true)).for_each(|event| self.input.push(event));
        codes.iter().rev().map(press(false)).for_each(|event| self.input.push(event));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_has_half_a_minute_to_power_off_unless_a_test_says_otherwise() {
        assert_eq!(REACTION, Duration::from_secs(30));
        for (said, time) in [(None, REACTION), (Some("soon"), REACTION), (Some("500"), Duration::from_millis(500))] {
            assert_eq!(reaction_for(said.map(str::to_owned)), time, "{said:?}");
        }
    }
}
