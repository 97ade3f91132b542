//! Which guest's scanout every output shows: outputs in order in, one place for each out. Pure.
//!
//! An output can belong to one guest (`[output.NAME] guest`): it always shows that guest. The others show the *main*
//! guest, the one that was switched to last among those that have no output of their own: its scanouts lie on these
//! outputs in order. If every output belongs to somebody, the first yields to the main guest while that one has the
//! focus.

use phyllome_protocol::GuestName;

/// What one output shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The guest; `None` if there is none to show.
    pub guest: Option<GuestName>,
    /// Which of its scanouts.
    pub scanout: u32,
}

/// The place of every output. `owners`: the guest that each output belongs to.
pub fn places(owners: &[Option<GuestName>], main: Option<&GuestName>, focus: Option<&GuestName>) -> Vec<Place> {
    let all_owned = owners.iter().all(Option::is_some);
    let yields = all_owned && main.is_some() && focus == main;
    let mut counts: Vec<(&GuestName, u32)> = Vec::new();
    owners
        .iter()
        .enumerate()
        .map(|(index, owner)| {
            let owner = owner.as_ref().filter(|_| !(yields && index == 0));
            let Some(guest) = owner.or(main) else { return Place::default() };
            let scanout = match counts.iter_mut().find(|(counted, _)| *counted == guest) {
                Some((_, count)) => {
                    *count += 1;
                    *count
                }
                None => {
                    counts.push((guest, 0));
                    0
                }
            };
            Place { guest: Some(guest.clone()), scanout }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> GuestName {
        text.parse().unwrap()
    }

    fn shown(owners: &[Option<&str>], main: Option<&str>, focus: Option<&str>) -> Vec<(Option<String>, u32)> {
        let owners: Vec<_> = owners.iter().map(|owner| owner.map(name)).collect();
        let (main, focus) = (main.map(name), focus.map(name));
        places(&owners, main.as_ref(), focus.as_ref())
            .into_iter()
            .map(|place| (place.guest.map(|guest| guest.to_string()), place.scanout))
            .collect()
    }

    fn at(guest: &str, scanout: u32) -> (Option<String>, u32) {
        (Some(guest.to_owned()), scanout)
    }

    #[test]
    fn free_outputs_show_the_main_guests_scanouts_in_order() {
        assert_eq!(shown(&[None, None], Some("work"), Some("work")), [at("work", 0), at("work", 1)]);
        assert_eq!(shown(&[None], None, None), [(None, 0)]);
    }

    #[test]
    fn an_output_with_an_owner_always_shows_it() {
        let owners = [None, Some("mail"), None];
        assert_eq!(shown(&owners, Some("work"), Some("mail")), [at("work", 0), at("mail", 0), at("work", 1)]);
        assert_eq!(shown(&owners, None, Some("mail")), [(None, 0), at("mail", 0), (None, 0)]);
        let two = [Some("mail"), Some("mail")];
        assert_eq!(shown(&two, None, Some("mail")), [at("mail", 0), at("mail", 1)]);
    }

    #[test]
    fn the_first_of_outputs_that_all_have_owners_yields_to_a_focused_guest_without_one() {
        let owners = [Some("mail"), Some("bank")];
        assert_eq!(shown(&owners, Some("work"), Some("work")), [at("work", 0), at("bank", 0)]);
        assert_eq!(shown(&owners, Some("work"), Some("bank")), [at("mail", 0), at("bank", 0)]);
    }
}
