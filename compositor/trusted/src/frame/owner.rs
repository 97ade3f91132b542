//! Whose frame stands around an output, and what fills the area inside it: decided here, for every output, every face
//! and every guest, and only followed by what draws. Pure.
//!
//! The host's frame is around an area that shows nothing but the shell's own pixels, and only while the shell has the
//! keys: around one of its faces. Meanwhile every other output keeps its guest's frame, without the focus mark, and an
//! opaque card lies over the picture; a guest that paints a question inside a white frame is what must never be seen.

use super::{LabelView, Mark};
use phyllome_protocol::GuestName;

/// Who has the keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keys<'a> {
    /// The shell: one of its faces, or the lock.
    Shell,
    /// This guest.
    Guest(&'a GuestName),
    /// Nobody.
    Nobody,
}

/// What fills an output's area. All but a guest's picture are pixels of the shell's own, opaque and all over it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inside {
    /// A face of the shell, which has the keys, on the shell's ground.
    Face,
    /// A card that says on which other output the face is that has the keys.
    Elsewhere,
    /// A guest's picture, or the message in its place.
    Guest,
    /// The message that no guest is shown.
    Nobody,
}

/// Which frame stands around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame {
    /// The host's: white, with the shield.
    Host,
    /// That of the guest that is shown.
    Guest {
        /// With the mark that says that it gets the keys.
        focused: bool,
    },
    /// Nobody's: gray, without label or shield.
    Neutral,
}

/// The frame and the area of an output that shows this guest, or none. `face`: the shell's face is on this output, if
/// one is open.
pub fn decide(shown: Option<&GuestName>, keys: Keys<'_>, face: bool) -> (Frame, Inside) {
    match (keys, shown) {
        (Keys::Shell, _) if face => (Frame::Host, Inside::Face),
        (Keys::Shell, Some(_)) => (Frame::Guest { focused: false }, Inside::Elsewhere),
        (Keys::Shell, None) => (Frame::Neutral, Inside::Elsewhere),
        (Keys::Guest(_) | Keys::Nobody, Some(guest)) => {
            (Frame::Guest { focused: keys == Keys::Guest(guest) }, Inside::Guest)
        }
        (Keys::Guest(_) | Keys::Nobody, None) => (Frame::Neutral, Inside::Nobody),
    }
}

/// Whose the output is, with all that its band shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// A guest's picture, or what stands in its place, is inside the band.
    Guest {
        /// How it is marked.
        label: LabelView,
        /// Whether it receives the keys.
        focused: bool,
        /// What else is true of it, in the order in which it is shown.
        marks: Vec<Mark>,
    },
    /// The shell itself has the screen and the keys: white, and no guest ever looks like that.
    Host,
    /// Nobody is shown: gray, and nothing stands in the bar but the host's lines.
    Nobody,
}

impl Owner {
    /// The owner whose frame this is; `guest` is how the one that is shown is marked.
    pub fn of(frame: Frame, guest: Option<(LabelView, Vec<Mark>)>) -> Self {
        match (frame, guest) {
            (Frame::Host, _) => Self::Host,
            (Frame::Guest { focused }, Some((label, marks))) => Self::Guest { label, focused, marks },
            (Frame::Guest { .. }, None) | (Frame::Neutral, _) => Self::Nobody,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> GuestName {
        GuestName::new(text).unwrap()
    }

    /// For every output that there can be: whom it shows, who has the keys, whether the face is there.
    fn all(mut look: impl FnMut(Option<&GuestName>, Keys<'_>, bool, (Frame, Inside))) {
        let (work, play) = (name("work"), name("play"));
        for shown in [None, Some(&work)] {
            for keys in [Keys::Shell, Keys::Guest(&work), Keys::Guest(&play), Keys::Nobody] {
                for face in [true, false] {
                    look(shown, keys, face, decide(shown, keys, face));
                }
            }
        }
    }

    #[test]
    fn tp21_the_hosts_frame_is_around_a_face_that_has_the_keys_and_around_nothing_else() {
        all(|_, keys, face, (frame, inside)| {
            assert_eq!(frame == Frame::Host, keys == Keys::Shell && face);
            assert_eq!(frame == Frame::Host, inside == Inside::Face);
        });
    }

    #[test]
    fn tp21_while_the_shell_has_the_keys_nothing_of_a_guest_is_to_be_seen() {
        all(|_, keys, _, (_, inside)| {
            assert_eq!(keys == Keys::Shell, matches!(inside, Inside::Face | Inside::Elsewhere));
        });
    }

    #[test]
    fn tp05_the_focus_mark_is_on_the_frame_of_the_guest_that_has_the_keys_and_on_no_other() {
        all(|shown, keys, _, (frame, _)| {
            let has_keys = shown.is_some_and(|shown| keys == Keys::Guest(shown));
            assert_eq!(frame == Frame::Guest { focused: true }, has_keys);
        });
    }

    #[test]
    fn tp03_an_output_keeps_its_guests_frame_but_where_the_face_is_and_one_that_shows_nobody_has_none() {
        all(|shown, keys, face, (frame, _)| {
            if !(keys == Keys::Shell && face) {
                assert_eq!(matches!(frame, Frame::Guest { .. }), shown.is_some());
                assert_eq!(frame == Frame::Neutral, shown.is_none());
            }
        });
    }
}
