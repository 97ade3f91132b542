//! The shell's decisions as a model: whom the person talks to, which guest is shown, which of the shell's own faces is
//! open. Pure.
//!
//! Focus moves by the person's actions only: a chord, the panel, the command-line tool. What guests do (start, stop,
//! crash) changes what is shown of them, never which of them is shown (trusted-path promise 11). Everything that is
//! asked of the shell comes through [`gate`]; besides, only outputs that come and go change this model.

#![deny(clippy::wildcard_enum_match_arm, reason = "a new verb or message is not to be taken for another")]

mod computer;
mod frames;
pub mod gate;
pub mod idle;
mod keyboard;
#[cfg(test)]
mod messages;
mod outputs;
mod pointing;
mod sleep;

pub use gate::Done;

use crate::faces::dialog::Dialog;
use crate::faces::panel::Panel;
use crate::faces::switcher::Switcher;
use crate::faces::{self, Face, Faces, Response, View};
use crate::guests::GuestView;
use crate::host::notice::Notice;
use crate::outputs::OutputId;
use phyllome_protocol::status::{GuestState, Mode};
use phyllome_protocol::{GuestName, Slot};
use phyllome_trusted::chords::Chords;
use phyllome_trusted::deaf::Deaf;
use phyllome_trusted::focus::Focus;
use phyllome_trusted::frame::owner::{self, Frame, Inside, Keys};
use phyllome_trusted::keyboards::NewKeyboard;
use phyllome_trusted::places::Place;
use std::time::{Duration, Instant};

/// How long the label of a guest that was switched to stands in the middle of its picture.
pub const FLASH: Duration = Duration::from_millis(900);

/// Focus, faces, and what is known of guests.
#[derive(Debug, Default)]
pub struct Shell {
    guests: Vec<GuestView>,
    problems: Vec<String>,
    /// What the panel has to say until it is closed.
    notice: Option<String>,
    focus: Focus,
    flash: Option<(GuestName, Instant)>,
    faces: Faces,
    /// What keys people are told of.
    chords: Chords,
    /// A guest that had the keys has ended: its card takes none for a moment, which were meant for the guest.
    card_deaf: Option<Deaf<OutputId>>,
    /// A keyboard that was plugged in presses keys, which count for nothing yet.
    keyboard: Option<NewKeyboard>,
    /// The list of guests is open for its code alone.
    opened_for_code: bool,
    /// What is said of the computer itself.
    computer: computer::Computer,
    /// The person wants displays to stay on, until the next lock.
    awake: bool,
    /// Nothing sets it yet but tests: there is no lock screen.
    locked: bool,
    #[cfg(test)]
    earlier: Duration,
    #[cfg(test)]
    clock: Option<Instant>,
}

/// The name of the guest that was switched to, shown for a moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Flash {
    /// The guest.
    pub guest: GuestView,
    /// When it goes; the loop has a timer that redraws then.
    pub until: Instant,
}

impl Shell {
    /// No guest is known, and people are told of these chords.
    pub fn new(chords: Chords) -> Self {
        Self { chords, ..Self::default() }
    }

    /// The chords, as they are written for people.
    pub fn chords(&self) -> &Chords {
        &self.chords
    }

    /// Takes over what the registry knows now: guests in order of slot and name, and files that cannot be used.
    pub fn set_guests(&mut self, guests: Vec<GuestView>, problems: Vec<String>) {
        self.faces.guests_changed(&self.guests, &guests);
        self.guests = guests;
        self.problems = problems;
        self.focus.retain(|name| self.guests.iter().any(|guest| guest.name == *name));
    }

    /// Outputs came or went: this is whose each of them is, in order.
    pub fn set_owners(&mut self, owners: Vec<Option<GuestName>>) {
        self.focus.set_owners(owners);
    }

    /// Whose each output is.
    pub fn owners(&self) -> &[Option<GuestName>] {
        self.focus.owners()
    }

    /// What each output shows, in order.
    pub fn places(&self) -> &[Place] {
        self.focus.places()
    }

    /// Whom the person talks to.
    pub fn mode(&self) -> Mode {
        if self.locked { Mode::Locked } else { self.faces.mode() }
    }

    /// Whether the screen is locked.
    pub fn is_locked(&self) -> bool {
        self.locked
    }

    /// Whether keys go to the shell itself and not to a guest.
    pub fn has_keys(&self) -> bool {
        self.locked || self.faces.have_keys()
    }

    /// Whether keys go to the card of the guest that is shown, which has ended or was not started.
    pub fn card_has_keys(&self) -> bool {
        !self.has_keys() && self.shown().is_some_and(|guest| !guest.state.is_alive())
    }

    /// Whether the person wants displays to stay on without input.
    pub fn is_awake(&self) -> bool {
        self.awake
    }

    /// Whether displays stay on without input: by the person's wish, or that of a guest that is shown and runs.
    pub fn stays_awake(&self) -> bool {
        let kept = |name: &GuestName| {
            self.guest(name).is_some_and(|guest| guest.keep_awake && guest.state == GuestState::Running)
        };
        let mut shown = self.places().iter().enumerate().filter(|(index, _)| !self.covers(*index));
        self.awake || shown.any(|(_, place)| place.guest.as_ref().is_some_and(kept))
    }

    fn toggle_awake(&mut self) {
        self.awake = !self.awake;
    }

    /// Which frame stands around output number `index`, and what fills its area. Faces are on the first output, a lock
    /// is on all of them.
    pub fn around(&self, index: usize) -> (Frame, Inside) {
        let shown = self.places().get(index).and_then(|place| self.guest(place.guest.as_ref()?));
        let keys = match self.keys_of() {
            _ if self.has_keys() => Keys::Shell,
            Some(guest) => Keys::Guest(&guest.name),
            None => Keys::Nobody,
        };
        owner::decide(shown.map(|guest| &guest.name), keys, self.locked || index == 0)
    }

    /// Whether nothing of a guest is to be seen on output number `index`: a face or a card hides it, or the screen is
    /// locked.
    pub fn covers(&self, index: usize) -> bool {
        match self.around(index).1 {
            Inside::Face | Inside::Elsewhere => true,
            Inside::Guest | Inside::Nobody => false,
        }
    }

    /// Whether a press of this key is repeated for the face on top while it is held.
    pub fn repeats(&self, code: u32) -> bool {
        !self.locked && self.hears(Instant::now()) && self.faces.repeats(code)
    }

    /// Whether a guest is being chosen.
    pub fn is_choosing(&self) -> bool {
        !self.locked && self.faces.switcher().is_some()
    }

    /// The guest that was switched to last, running or not.
    pub fn shown(&self) -> Option<&GuestView> {
        self.guest(self.focus.focused()?)
    }

    /// The guest that keys go to; `None` while the shell itself has them, or the guest that is shown does not run.
    pub fn keyboard_owner(&self) -> Option<GuestName> {
        self.keys_of().map(|guest| guest.name.clone())
    }

    fn keys_of(&self) -> Option<&GuestView> {
        self.shown().filter(|guest| !self.has_keys() && guest.state.is_alive())
    }

    /// The label that stands in the middle of the picture at `now`; only while a guest has the keyboard.
    pub fn flash(&self, now: Instant) -> Option<Flash> {
        let (name, until) = self.flash.as_ref().filter(|(_, until)| !self.has_keys() && now < *until)?;
        Some(Flash { guest: self.guest(name)?.clone(), until: *until })
    }

    /// What is drawn of the shell's own faces, on the first output.
    pub fn view(&self) -> Option<View> {
        if self.locked {
            return None;
        }
        let sentences: Vec<_> = self.notice.iter().chain(&self.problems).cloned().collect();
        self.faces.view(&self.guests, &sentences)
    }

    /// A known guest.
    pub fn guest(&self, name: &GuestName) -> Option<&GuestView> {
        self.guests.iter().find(|guest| guest.name == *name)
    }

    /// The name of the guest in a slot.
    fn in_slot(&self, slot: Slot) -> Option<GuestName> {
        self.guests.iter().find(|guest| guest.slot == Some(slot)).map(|guest| guest.name.clone())
    }

    /// Shows a guest that is known; until when its name flashes.
    fn show(&mut self, name: &GuestName, now: Instant) -> Option<Instant> {
        self.guest(name)?;
        self.notice = None;
        self.opened_for_code = false;
        self.faces.close();
        self.focus_on(name, now)
    }

    /// Shows a guest that was started, if none is shown.
    fn show_started(&mut self, name: &GuestName, now: Instant) -> Option<Instant> {
        if self.focus.focused().is_some() { None } else { self.focus_on(name, now) }
    }

    fn focus_on(&mut self, name: &GuestName, now: Instant) -> Option<Instant> {
        self.guest(name)?;
        self.focus.switch_to(name);
        #[cfg(test)]
        let now = now - self.earlier;
        let until = now + FLASH;
        self.flash = Some((name.clone(), until));
        Some(until)
    }

    /// Shows the panel, with what it has to say from now on if there is anything new, or hides it.
    fn show_panel(&mut self, show: bool, notice: Option<String>) {
        self.opened_for_code = false;
        if show {
            self.notice = notice.or(self.notice.take());
            self.faces.show(Face::Panel(Panel::open(self.focus.focused(), &self.guests)));
        } else if self.faces.panel().is_some() {
            self.notice = None;
            self.faces.close();
        }
    }

    /// Asks, in the list of guests, what has waited for somebody to look there. Nothing takes the keys from a guest by
    /// itself: elsewhere the bar says that something waits ([`Shell::notice`]).
    fn ask_what_waits(&mut self) {
        // The first of them is asked, which is the one that the bar names first.
        self.ask_about_keyboard();
        let silent = self.guests.iter().find(|guest| guest.silent).map(|guest| guest.name.clone());
        if let Some(name) = silent.filter(|_| !self.locked) {
            self.faces.ask(Dialog::of_silent(name));
        }
    }

    /// The line in the bar of output number `index`: what a person has to know although a guest fills the screen.
    pub fn notice(&self, index: usize) -> Option<Notice> {
        let panel = self.chords.panel();
        // No guest that does not power off hides that the battery is at its end.
        let lines = || Notice::join(self.computer.lasting(&panel).chain(self.waiting(index, &panel)));
        self.computer.first(&panel).or_else(lines)
    }

    /// What waits for somebody to look into the list of guests, which these keys show.
    fn waiting(&self, index: usize, panel: &str) -> Option<Notice> {
        if self.has_keys() {
            return None;
        }
        // Before what a guest's display says: nobody can type on it, whichever guest is shown.
        if let Some(line) = self.keyboard_line(panel) {
            return Some(Notice::plain(line));
        }
        let guest = self.places().get(index).and_then(|place| self.guest(place.guest.as_ref()?))?;
        let label = &guest.label.text;
        if guest.silent {
            return Some(Notice::plain(format!(
                "{label} has not answered for 30 s. {panel}: wait longer or force it off"
            )));
        }
        // A letter acts on the guest in front, which is the one that the list selects, and answers a question before.
        let at_once = self.focus.focused() == Some(&guest.name) && !self.guests.iter().any(|guest| guest.silent);
        // Its picture stays, and looks as if it ran on. Why it stands still is in the list: those are a guest's words.
        let line = match guest.state {
            GuestState::Paused if at_once => format!("{label} is paused: {panel}, then P, resumes it"),
            GuestState::Paused => format!("{label} is paused: {panel} shows it"),
            GuestState::Frozen if at_once => format!("{label} is frozen: {panel}, then P, lets it run again"),
            GuestState::Frozen => format!("{label} is frozen: {panel} shows it"),
            GuestState::InternalError if at_once => format!("{label} has stopped: {panel}, then R, resets it"),
            GuestState::InternalError => format!("{label} has stopped: {panel} shows it"),
            GuestState::Stopped
            | GuestState::Starting
            | GuestState::Running
            | GuestState::Stopping
            | GuestState::Crashed => return None,
        };
        Some(Notice::plain(line))
    }

    fn toggle_panel(&mut self) {
        self.show_panel(self.faces.panel().is_none(), None);
    }

    fn step(&mut self, forward: bool) {
        let from = self.faces.switcher().map(Switcher::chosen).or(self.focus.focused());
        if let Some(switcher) = Switcher::step(from, forward, &self.guests) {
            self.faces.show(Face::Switcher(switcher));
        }
    }

    /// Shows the guest that the switcher has chosen.
    fn choose(&mut self, now: Instant) -> Option<Instant> {
        let chosen = self.faces.switcher()?.chosen().clone();
        self.faces.close();
        faces::running(&self.guests).any(|guest| guest.name == chosen).then_some(())?;
        self.focus_on(&chosen, now)
    }

    /// The person does something to the face on top. Under a lock no face hears of it.
    fn input(&mut self, input: &faces::FaceInput, now: Instant) -> Response {
        if self.locked {
            return Response::default();
        }
        if let Some(guest) = self.shown().filter(|_| self.card_has_keys()) {
            let hears = self.hears(now);
            let verbs = if hears { faces::guest::card_input(input, guest) } else { Vec::new() };
            return Response { changed: false, verbs };
        }
        let now = self.clock(now);
        self.faces.input(input, &self.guests, now)
    }

    /// From now on guests are shown as if that had been so long ago.
    #[cfg(test)]
    pub(crate) fn show_earlier(&mut self, by: Duration) {
        self.earlier = by;
    }

    /// As a lock screen will have it.
    #[cfg(test)]
    pub(crate) fn set_locked(&mut self, locked: bool) {
        self.locked = locked;
        self.awake &= !locked;
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
