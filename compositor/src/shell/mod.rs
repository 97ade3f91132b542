//! The shell's decisions as a pure model: whom the person talks to, which guest is shown, what is asked. Values in, effects out.
//!
//! Focus moves by the person's actions only: a chord, the panel, the command-line tool. What guests do (start, stop, crash)
//! changes what is shown of them, never which of them is shown (trusted-path promise 11).

#![deny(clippy::wildcard_enum_match_arm, reason = "a new verb or message is not to be taken for another")]

mod act;
pub mod idle;
mod outputs;
mod sleep;

pub use act::time_ms;

use crate::guests::GuestView;
use crate::panel::model::{Outcome, Panel};
use crate::ui::PanelView;
use phyllome_protocol::status::Mode;
use phyllome_protocol::{GuestName, GuestVerb};
use phyllome_trusted::attention::Chord;
use phyllome_trusted::layout::{Place, places};
use std::time::{Duration, Instant};

/// How long the label of a guest that was switched to stands in the middle of its picture.
pub const FLASH: Duration = Duration::from_millis(900);

/// Something that the person does.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// A trusted chord.
    Chord(Chord),
    /// A key was pressed while the panel has the keyboard; evdev code.
    PanelKey(u32),
    /// Show this guest.
    Show(GuestName),
    /// This guest was started by the person, or by the shell's own start: shown if none is.
    Started(GuestName),
    /// Show or hide the panel.
    ShowPanel(bool),
    /// Show the panel with this sentence, which stands in it until it is closed.
    Tell(String),
}

/// What follows from an action, beside what the model's views show.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Do this with a guest.
    Guest(GuestName, GuestVerb),
    /// Draw again at this moment: a flash ends.
    RedrawAt(Instant),
}

/// Mode, focus, switcher and panel.
#[derive(Debug)]
pub struct Shell {
    mode: Mode,
    guests: Vec<GuestView>,
    problems: Vec<String>,
    /// What the panel has to say for as long as it is open.
    notice: Option<String>,
    focus: Option<GuestName>,
    /// The guest that was switched to last among those that have no output of their own.
    main: Option<GuestName>,
    /// Guests that were switched to, the last one first.
    recent: Vec<GuestName>,
    /// Guests that have an output of their own.
    owning: Vec<GuestName>,
    flash: Option<(GuestName, Instant)>,
    /// The guest that the switcher has selected.
    chosen: Option<GuestName>,
    panel: Panel,
}

/// The name of the guest that was switched to, shown for a moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Flash {
    /// The guest.
    pub guest: GuestView,
    /// When it goes; the loop has a timer that redraws then.
    pub until: Instant,
}

/// The overlay while Super is held after Super+Tab.
#[derive(Clone, Debug, PartialEq)]
pub struct SwitcherView {
    /// Running guests in order.
    pub entries: Vec<GuestView>,
    /// Which of them is selected.
    pub selected: usize,
}

impl Default for Shell {
    fn default() -> Self {
        Self::new()
    }
}

impl Shell {
    /// No guest is known, none is shown.
    pub fn new() -> Self {
        Self {
            mode: Mode::Guest,
            guests: Vec::new(),
            problems: Vec::new(),
            notice: None,
            focus: None,
            main: None,
            recent: Vec::new(),
            owning: Vec::new(),
            flash: None,
            chosen: None,
            panel: Panel::default(),
        }
    }

    /// Takes over what the registry knows now: guests in order of slot and name, and files that cannot be used.
    pub fn set_guests(&mut self, guests: Vec<GuestView>, problems: Vec<String>) {
        self.panel.guests_changed(&self.guests, &guests);
        self.guests = guests;
        self.problems = problems;
        if self.focus.as_ref().is_some_and(|name| self.guest(name).is_none()) {
            self.focus = None;
        }
        if self.main.as_ref().is_some_and(|name| self.guest(name).is_none()) {
            self.main = None;
        }
        let known = |name: &GuestName| self.guests.iter().any(|guest| guest.name == *name);
        self.recent.retain(known);
        if self.mode == Mode::Switcher && self.selected_entry().is_none() {
            let first = self.running().next().map(|guest| guest.name.clone());
            self.chosen = first;
        }
    }

    /// Carries out what the person did.
    pub fn apply(&mut self, action: Action, now: Instant) -> Vec<Effect> {
        match action {
            Action::Chord(Chord::Slot(slot)) => {
                let name = self.guests.iter().find(|guest| guest.slot == Some(slot)).map(|guest| guest.name.clone());
                name.map_or_else(Vec::new, |name| self.show(name, now))
            }
            Action::Chord(Chord::Next) => self.step(true),
            Action::Chord(Chord::Previous) => self.step(false),
            Action::Chord(Chord::Chosen) => self.choose(now),
            // Whoever has the terminals carries it out.
            Action::Chord(Chord::Vt(_)) => Vec::new(),
            Action::Chord(Chord::Panel) => self.show_panel(self.mode != Mode::Panel),
            Action::ShowPanel(show) => self.show_panel(show),
            Action::Tell(sentence) => {
                self.notice = Some(sentence);
                self.show_panel(true)
            }
            Action::Show(name) => self.show(name, now),
            Action::Started(name) if self.focus.is_none() => self.focus_on(name, now),
            Action::Started(_) => Vec::new(),
            Action::PanelKey(code) => self.panel_key(code, now),
        }
    }

    /// Whom the person talks to.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Outputs came or went: these guests have one of their own now. A guest that loses its own while it has the focus takes the others,
    /// and gives them back when its own returns.
    pub fn set_owning(&mut self, owning: Vec<GuestName>) {
        self.owning = owning;
        let owns = |name: &GuestName| self.owning.contains(name);
        if self.focus.as_ref().is_some_and(|name| !owns(name)) {
            self.main = self.focus.clone();
        } else if self.main.as_ref().is_some_and(owns) {
            self.main = self.recent.iter().find(|name| !owns(name)).cloned();
        }
    }

    /// What each output shows, for outputs that belong to these guests or to nobody.
    pub fn places(&self, owners: &[Option<GuestName>]) -> Vec<Place> {
        places(owners, self.main.as_ref(), self.focus.as_ref())
    }

    /// The guest that was switched to last, running or not.
    pub fn shown(&self) -> Option<GuestView> {
        self.guest(self.focus.as_ref()?).cloned()
    }

    /// The guest that keys go to; `None` while the shell itself has them, or the guest that is shown does not run.
    pub fn keyboard_owner(&self) -> Option<GuestName> {
        if self.mode != Mode::Guest {
            return None;
        }
        self.guest(self.focus.as_ref()?).filter(|guest| guest.state.is_alive()).map(|guest| guest.name.clone())
    }

    /// The label that stands in the middle of the picture at `now`; only while a guest has the keyboard.
    pub fn flash(&self, now: Instant) -> Option<Flash> {
        let (name, until) = self.flash.as_ref().filter(|(_, until)| self.mode == Mode::Guest && now < *until)?;
        Some(Flash { guest: self.guest(name)?.clone(), until: *until })
    }

    /// The switcher, in mode `switcher`.
    pub fn switcher(&self) -> Option<SwitcherView> {
        if self.mode != Mode::Switcher {
            return None;
        }
        let entries: Vec<_> = self.running().cloned().collect();
        Some(SwitcherView { entries, selected: self.selected_entry().unwrap_or(0) })
    }

    /// The panel, in mode `panel`.
    pub fn panel(&self) -> Option<PanelView> {
        if self.mode != Mode::Panel {
            return None;
        }
        let sentences: Vec<_> = self.notice.iter().chain(&self.problems).cloned().collect();
        Some(self.panel.view(&self.guests, &sentences))
    }

    /// A known guest.
    pub fn guest(&self, name: &GuestName) -> Option<&GuestView> {
        self.guests.iter().find(|guest| guest.name == *name)
    }

    fn running(&self) -> impl DoubleEndedIterator<Item = &GuestView> {
        self.guests.iter().filter(|guest| guest.state.is_alive())
    }

    fn selected_entry(&self) -> Option<usize> {
        let chosen = self.chosen.as_ref()?;
        self.running().position(|guest| guest.name == *chosen)
    }

    fn show(&mut self, name: GuestName, now: Instant) -> Vec<Effect> {
        if self.guest(&name).is_none() {
            return Vec::new();
        }
        self.mode = Mode::Guest;
        self.notice = None;
        self.focus_on(name, now)
    }

    fn focus_on(&mut self, name: GuestName, now: Instant) -> Vec<Effect> {
        if self.guest(&name).is_none() {
            return Vec::new();
        }
        let until = now + FLASH;
        if !self.owning.contains(&name) {
            self.main = Some(name.clone());
        }
        self.recent.retain(|other| *other != name);
        self.recent.insert(0, name.clone());
        self.focus = Some(name.clone());
        self.flash = Some((name, until));
        vec![Effect::RedrawAt(until)]
    }

    fn show_panel(&mut self, show: bool) -> Vec<Effect> {
        if show {
            self.panel.open(self.focus.as_ref(), &self.guests);
            self.mode = Mode::Panel;
        } else if self.mode == Mode::Panel {
            self.mode = Mode::Guest;
            self.notice = None;
        }
        Vec::new()
    }

    fn step(&mut self, forward: bool) -> Vec<Effect> {
        let names: Vec<_> = self.running().map(|guest| guest.name.clone()).collect();
        let from = if self.mode == Mode::Switcher { &self.chosen } else { &self.focus };
        let at = from.as_ref().and_then(|name| names.iter().position(|other| other == name));
        let next = match (at, forward) {
            (Some(at), true) => (at + 1) % names.len().max(1),
            (Some(at), false) => at.checked_sub(1).unwrap_or(names.len().saturating_sub(1)),
            (None, true) => 0,
            (None, false) => names.len().saturating_sub(1),
        };
        if let Some(name) = names.get(next) {
            self.chosen = Some(name.clone());
            self.mode = Mode::Switcher;
        }
        Vec::new()
    }

    fn choose(&mut self, now: Instant) -> Vec<Effect> {
        if self.mode != Mode::Switcher {
            return Vec::new();
        }
        self.mode = Mode::Guest;
        let chosen = self.selected_entry().and(self.chosen.take());
        chosen.map_or_else(Vec::new, |name| self.focus_on(name, now))
    }

    fn panel_key(&mut self, code: u32, now: Instant) -> Vec<Effect> {
        if self.mode != Mode::Panel {
            return Vec::new();
        }
        match self.panel.key(code, &self.guests, now) {
            Outcome::Nothing => Vec::new(),
            Outcome::Close => self.show_panel(false),
            Outcome::Show(name) => self.show(name, now),
            Outcome::StartAndShow(name) => {
                let mut effects = vec![Effect::Guest(name.clone(), GuestVerb::Start)];
                effects.extend(self.show(name, now));
                effects
            }
            Outcome::Guest(name, op) => vec![Effect::Guest(name, op)],
        }
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
