//! What the shell says of a keyboard that may not type yet.
//!
//! Where it is let in on another, nothing takes the keys from a guest: the bar says that it waits, and the list of
//! guests asks. Where a code has to be typed on it nobody has keys to lose, and the list opens by itself, in the Host
//! frame, and closes again when the keyboard may type or is gone, or when another is there to be typed on.

use super::Shell;
use crate::faces::Face;
use crate::faces::dialog::Dialog;
use crate::faces::panel::Panel;
use phyllome_trusted::keyboards::{NewKeyboard, Way};
use std::time::Instant;

impl Shell {
    /// This keyboard is to be known of from now on, or none.
    pub(super) fn set_keyboard(&mut self, keyboard: Option<NewKeyboard>) {
        let way = keyboard.as_ref().map(|keyboard| keyboard.way);
        // Who types on another again is typing to a guest: that is no answer, and there is no question in the way of
        // it.
        let stays = way != Some(Way::Another) || !self.opened_for_code;
        if self.keyboard != keyboard {
            self.faces.keyboard_changed(keyboard.as_ref().filter(|_| stays));
            self.keyboard = keyboard;
        }
        match way {
            Some(Way::Code { .. }) if !self.locked && !self.asks_about_keyboard() => self.open_for_code(),
            Some(Way::Never | Way::Another) | None if self.opened_for_code => self.close_after_code(),
            Some(Way::Code { .. } | Way::Another | Way::Later { .. } | Way::Never) | None => {}
        }
    }

    /// The list, in which it is asked. Another question, or a guest that is being chosen, waits for a keyboard, too.
    fn open_for_code(&mut self) {
        self.opened_for_code |= self.faces.panel().is_none();
        self.faces.show(Face::Panel(Panel::open(self.focus.focused(), &self.guests)));
    }

    fn close_after_code(&mut self) {
        self.opened_for_code = false;
        if self.faces.dialog().is_none() {
            self.faces.close();
        }
    }

    /// Asks about it, if the list of guests is on top.
    pub(super) fn ask_about_keyboard(&mut self) {
        let dialog = self.keyboard.clone().filter(|_| !self.locked).and_then(Dialog::of_keyboard);
        if let Some(dialog) = dialog {
            self.faces.ask(dialog);
        }
    }

    /// Whether a question about a keyboard is on top.
    pub(crate) fn asks_about_keyboard(&self) -> bool {
        self.faces.dialog().is_some_and(Dialog::is_of_keyboard)
    }

    /// Whether the person has seen, at `now` and for a moment, what is asked about a keyboard.
    pub(crate) fn shows_keyboard(&self, now: Instant) -> bool {
        !self.locked && self.asks_about_keyboard() && self.hears(now)
    }

    /// What the bar says of it. `panel`: the keys that show the list of guests.
    pub(super) fn keyboard_line(&self, panel: &str) -> Option<String> {
        let NewKeyboard { name, way, .. } = self.keyboard.as_ref()?;
        Some(match way {
            Way::Another => format!("New keyboard “{name}” types nothing yet. {panel}: let it or not"),
            Way::Code { .. } => format!("New keyboard “{name}” types nothing yet: press a key on it to see its code"),
            Way::Later { seconds } => {
                format!("New keyboard “{name}” types nothing yet: wait {seconds} s for its code")
            }
            Way::Never => format!("Keyboard “{name}” types nothing: plug it in again to type"),
        })
    }
}
