//! The gate: whatever is asked of the shell is carried out here and nowhere else, after [`allowed`] has said that
//! whoever asks may have it.
//!
//! And what follows from it: releases for the guest that loses the keys, then the focus, then events and a redraw.
//! Nothing here waits: what takes a guest's answer says so in [`Done`].

use super::Shell;
use crate::State;
use crate::faces;
use crate::guests::{Awaited, GuestTask};
use crate::outputs::Capture;
use phyllome_protocol::GuestName;
use phyllome_protocol::shell::Event;
use phyllome_protocol::status::Mode;
use phyllome_trusted::deaf::Deaf;
use phyllome_trusted::gate::{Asker, Pass, Verb, allowed};
use smithay::reexports::calloop::timer::{TimeoutAction, Timer};
use std::time::Instant;

/// What became of something that was asked for.
#[derive(Debug)]
pub enum Done {
    /// It is done.
    Now,
    /// It is done when these parts are, and these sentences say what could not be begun.
    Waits(Vec<Awaited>, Vec<String>),
    /// Here is the picture.
    Picture(Capture),
}

impl State {
    /// Carries out `verb` for `from`. An error is one sentence that says why not.
    pub fn act(&mut self, verb: Verb, from: Asker) -> Result<Done, String> {
        let pass = allowed(&verb, from, self.shell.is_locked()).map_err(|why| why.to_string())?;
        match verb {
            Verb::Show(name) => {
                if self.shell.guest(&name).is_none() {
                    return Err(self.guests.why_not(&name));
                }
                self.change(|shell, now| shell.show(&name, now));
            }
            Verb::ShowSlot(slot) => {
                self.change(|shell, now| shell.in_slot(slot).and_then(|name| shell.show(&name, now)));
            }
            Verb::ShowStarted(name) => self.change(|shell, now| shell.show_started(&name, now)),
            Verb::Step { forward } => self.change(|shell, _| {
                shell.step(forward);
                None
            }),
            Verb::Choose => self.change(Shell::choose),
            Verb::Panel { show } => self.change(|shell, _| {
                shell.show_panel(show, None);
                shell.ask_what_waits();
                None
            }),
            Verb::TogglePanel => self.change(|shell, _| {
                shell.toggle_panel();
                shell.ask_what_waits();
                None
            }),
            Verb::StayAwake => self.change(|shell, _| {
                shell.toggle_awake();
                None
            }),
            Verb::Tell(sentence) => self.change(|shell, _| {
                shell.show_panel(true, Some(sentence));
                None
            }),
            Verb::Lock => return Err("this shell has no lock screen yet; end the session before you leave".to_owned()),
            Verb::Terminal(number) => self.backend.change_vt(number, &pass),
            Verb::Guest(name, verb) => {
                // The panel shows in the guest's line why nothing came of it.
                return self.task(GuestTask::One { name, verb, note: from == Asker::Face }, &pass);
            }
            Verb::All(verb) => return self.task(GuestTask::All(verb), &pass),
            Verb::NewKeyboard(keyboard) => self.change(|shell, _| {
                shell.set_keyboard(keyboard);
                shell.ask_what_waits();
                None
            }),
            Verb::Keyboard { device, may } => {
                self.input.keyboards.answer(device, may, Instant::now());
                let keyboard = self.input.asked_keyboard(&self.loop_handle);
                return self.act(Verb::NewKeyboard(keyboard), Asker::Shell);
            }
            Verb::WaitLonger(name) => return self.task(GuestTask::WaitLonger(name), &pass),
            Verb::SendKeys(name, keys) => return self.task(GuestTask::SendKeys(name, keys), &pass),
            Verb::Capture(target) => return self.capture(&target, &pass).map(Done::Picture),
            Verb::Status => return self.task(GuestTask::Report, &pass),
            // Whoever asks knows where they are to go, and what is to be pressed.
            Verb::Events | Verb::TestInput => {}
        }
        Ok(Done::Now)
    }

    fn task(&mut self, task: GuestTask, pass: &Pass) -> Result<Done, String> {
        self.begin_task(task, pass).map(|(parts, failures)| Done::Waits(parts, failures))
    }

    /// The person does something to the face that has the keys.
    pub(crate) fn face_input(&mut self, input: &faces::FaceInput) {
        let before = self.talking_to();
        let response = self.shell.input(input, Instant::now());
        if response.changed {
            self.follow(before);
        }
        for verb in response.verbs {
            if let Err(sentence) = self.act(verb, Asker::Face) {
                tracing::debug!("{sentence}");
            }
        }
    }

    fn change(&mut self, change: impl FnOnce(&mut Shell, Instant) -> Option<Instant>) {
        let before = self.talking_to();
        let focused = self.shell.focus.focused().cloned();
        let flash = change(&mut self.shell, Instant::now());
        self.follow(before);
        if self.shell.focus.focused() != focused.as_ref() {
            self.guests.remember_shown(self.shell.focus.focused());
        }
        if let Some(until) = flash {
            self.redraw_at(until);
        }
    }

    fn redraw_at(&mut self, moment: Instant) {
        let timer = self.loop_handle.insert_source(Timer::from_deadline(moment), |_, _, state: &mut State| {
            state.queue_redraw();
            TimeoutAction::Drop
        });
        if let Err(error) = timer {
            tracing::warn!("the end of a flash is not drawn: {error}");
        }
    }

    /// Takes over what the registry knows now, if it is anything new.
    pub fn guests_changed(&mut self) {
        self.guests.tell_unknown_apart();
        let (views, problems) = (self.guests.views(), self.guests.problems());
        if views == self.shell.guests && problems == self.shell.problems {
            return;
        }
        let changed: Vec<_> = views
            .iter()
            .filter(|view| {
                let old = self.shell.guest(&view.name);
                old.is_none_or(|old| old.state != view.state || old.sentence() != view.sentence())
            })
            .map(|view| Event::State { name: view.name.clone(), state: view.state, message: view.sentence() })
            .collect();
        let before = self.talking_to();
        self.shell.set_guests(views, problems);
        self.shell.ask_what_waits();
        if self.output_owners() != self.shell.owners() {
            self.outputs_changed();
        }
        for event in &changed {
            self.emit(event);
        }
        self.follow(before);
    }

    fn talking_to(&self) -> (Option<GuestName>, Mode) {
        (self.shell.keyboard_owner(), self.shell.mode())
    }

    fn follow(&mut self, (owner, mode): (Option<GuestName>, Mode)) {
        let (owner_now, mode_now) = self.talking_to();
        if owner_now != owner {
            self.release_everything();
            if owner_now.is_none() {
                self.shell.card_deaf = Some(Deaf::default());
            }
        }
        if owner_now != owner || mode_now != mode {
            self.sync_focus();
        }
        if mode_now != mode {
            self.emit(&Event::Mode { mode: mode_now });
        }
        if owner_now != owner {
            self.emit(&Event::Focus { name: owner_now });
        }
        self.queue_redraw();
    }
}
