//! The shell's decisions as a pure model: whom the person talks to, which guest is shown, what is asked. Values in, values out.

use crate::guests::GuestView;
use crate::panel::PanelView;
use phyllome_protocol::GuestName;
use phyllome_protocol::status::Mode;
use std::time::Instant;

/// Mode, focus, switcher and panel.
#[derive(Debug)]
pub struct Shell {
    mode: Mode,
    guests: Vec<GuestView>,
    focus: Option<GuestName>,
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
    /// No guest is shown.
    pub fn new() -> Self {
        Self { mode: Mode::Guest, guests: Vec::new(), focus: None }
    }

    /// Whom the person talks to.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// The guest that is shown, running or not.
    pub fn shown(&self) -> Option<GuestView> {
        let name = self.focus.as_ref()?;
        self.guests.iter().find(|g| g.name == *name).cloned()
    }

    /// The guest that keys go to; `None` while the shell itself has them.
    pub fn keyboard_owner(&self) -> Option<GuestName> {
        if self.mode == Mode::Guest { self.focus.clone() } else { None }
    }

    /// The name that flashes, if `now` is before its end.
    pub fn flash(&self, _now: Instant) -> Option<Flash> {
        None
    }

    /// The switcher, in mode `switcher`.
    pub fn switcher(&self) -> Option<SwitcherView> {
        None
    }

    /// The panel, in mode `panel`.
    pub fn panel(&self) -> Option<PanelView> {
        None
    }
}
