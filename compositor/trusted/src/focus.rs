//! Which guest the person talks to, and which one the outputs show. Pure.
//!
//! Focus moves by the person's actions only. An output can belong to a guest; the others show the *main* guest, the one
//! that was switched to last among those without an output of their own ([`crate::places`] says which scanout lies
//! where). What lies where is worked out when focus, guests or outputs change, and read by all who draw.

use crate::places::{Place, places};
use phyllome_protocol::GuestName;

/// Focus, and what it was before.
#[derive(Debug, Default)]
pub struct Focus {
    focused: Option<GuestName>,
    /// The guest that was switched to last among those that have no output of their own.
    main: Option<GuestName>,
    /// Guests that were switched to, the last one first.
    recent: Vec<GuestName>,
    /// Whose each output is, in order; `None`: nobody's.
    owners: Vec<Option<GuestName>>,
    /// What each output shows.
    places: Vec<Place>,
}

impl Focus {
    /// The guest that was switched to last, running or not.
    pub fn focused(&self) -> Option<&GuestName> {
        self.focused.as_ref()
    }

    /// The person switches to this guest.
    pub fn switch_to(&mut self, name: &GuestName) {
        if !self.owns(name) {
            self.main = Some(name.clone());
        }
        self.recent.retain(|other| other != name);
        self.recent.insert(0, name.clone());
        self.focused = Some(name.clone());
        self.place();
    }

    /// Guests came or went: those that are not known any more are forgotten.
    pub fn retain(&mut self, known: impl Fn(&GuestName) -> bool) {
        self.focused.take_if(|name| !known(name));
        self.main.take_if(|name| !known(name));
        self.recent.retain(known);
        self.place();
    }

    /// Outputs came or went: this is whose each of them is. A guest that loses its own while it has the focus takes the
    /// others, and gives them back when its own returns.
    pub fn set_owners(&mut self, owners: Vec<Option<GuestName>>) {
        self.owners = owners;
        if self.focused.as_ref().is_some_and(|name| !self.owns(name)) {
            self.main = self.focused.clone();
        } else if self.main.as_ref().is_some_and(|name| self.owns(name)) {
            self.main = self.recent.iter().find(|name| !self.owns(name)).cloned();
        }
        self.place();
    }

    /// Whose each output is.
    pub fn owners(&self) -> &[Option<GuestName>] {
        &self.owners
    }

    /// What each output shows, in order.
    pub fn places(&self) -> &[Place] {
        &self.places
    }

    fn owns(&self, name: &GuestName) -> bool {
        self.owners.iter().flatten().any(|owner| owner == name)
    }

    fn place(&mut self) {
        self.places = places(&self.owners, self.main.as_ref(), self.focused.as_ref());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> GuestName {
        GuestName::new(text).unwrap()
    }

    fn shown(focus: &Focus) -> Vec<Option<String>> {
        focus.places().iter().map(|place| place.guest.as_ref().map(GuestName::to_string)).collect()
    }

    #[test]
    fn a_guest_that_loses_its_output_takes_the_others_until_its_own_returns() {
        let mut focus = Focus::default();
        focus.set_owners(vec![None, Some(name("mail"))]);
        focus.switch_to(&name("work"));
        focus.switch_to(&name("mail"));
        assert_eq!(shown(&focus), [Some("work".into()), Some("mail".into())]);
        focus.set_owners(vec![None]);
        assert_eq!(shown(&focus), [Some("mail".into())]);
        focus.set_owners(vec![None, Some(name("mail"))]);
        assert_eq!(shown(&focus), [Some("work".into()), Some("mail".into())]);
    }

    #[test]
    fn a_guest_that_is_gone_is_forgotten_and_no_other_takes_its_place() {
        let mut focus = Focus::default();
        focus.set_owners(vec![None]);
        focus.switch_to(&name("work"));
        focus.switch_to(&name("play"));
        focus.retain(|known| *known == name("work"));
        assert_eq!(focus.focused(), None);
        assert_eq!(shown(&focus), [None]);
    }
}
