//! What the frame, the panel and `status` show of a guest: plain values, copied out of the registry.

use crate::ui::{Icon, Message, PanelRow, StateTone};
use phyllome_config::guest::{Label, LabelColor, Pattern};
use phyllome_protocol::status::GuestState;
use phyllome_protocol::{GuestName, Slot};
use phyllome_trusted::frame::LabelView;

/// One guest, to be shown.
#[derive(Clone, Debug, PartialEq)]
pub struct GuestView {
    /// Its name.
    pub name: GuestName,
    /// Its slot.
    pub slot: Option<Slot>,
    /// How it is marked.
    pub label: Label,
    /// Whether there is a definition of it; a guest without one is adopted with [`unknown_label`].
    pub known: bool,
    /// Its state.
    pub state: GuestState,
    /// Why, in one sentence, where there is something to say.
    pub message: Option<String>,
}

/// How a guest that runs but has no definition is marked: gray, striped, and said to be unknown.
pub fn unknown_label(name: &GuestName) -> Label {
    Label { text: format!("{name} (unknown)"), color: LabelColor::Gray, pattern: Pattern::Stripes }
}

impl GuestView {
    /// The label with its colours worked out.
    pub fn label_view(&self) -> LabelView {
        LabelView::from_label(&self.label, self.slot)
    }

    /// The guest's line in the panel.
    pub fn panel_row(&self) -> PanelRow {
        PanelRow {
            label: self.label_view(),
            state: self.state.word().to_owned(),
            tone: match self.state {
                GuestState::Stopped => StateTone::Quiet,
                GuestState::Running => StateTone::Good,
                GuestState::Starting | GuestState::Paused | GuestState::Stopping => StateTone::Warning,
                GuestState::Crashed | GuestState::InternalError => StateTone::Danger,
            },
            message: self.message.clone().unwrap_or_default(),
        }
    }

    /// What stands in the guest's area while it has no picture.
    pub fn card(&self) -> Message {
        let label = &self.label.text;
        let (icon, sentence, help) = match self.state {
            GuestState::Stopped => {
                (Icon::Stopped, format!("{label} is stopped."), format!("phyllome start {} starts it", self.name))
            }
            GuestState::Starting => (Icon::Starting, format!("{label} is starting."), String::new()),
            GuestState::Running => (Icon::Starting, format!("{label} runs, but shows no picture yet."), String::new()),
            GuestState::Paused => (
                Icon::Paused,
                format!("{label} is paused."),
                format!("phyllome resume {} lets it run again", self.name),
            ),
            GuestState::Stopping => (Icon::Starting, format!("{label} is shutting down."), String::new()),
            GuestState::Crashed => {
                (Icon::Crashed, format!("{label} has crashed."), format!("phyllome logs {} says more", self.name))
            }
            GuestState::InternalError => (
                Icon::Crashed,
                format!("{label} stopped with an internal error of its machine."),
                format!("phyllome logs {} says more", self.name),
            ),
        };
        let sentence = self.message.clone().unwrap_or(sentence);
        let panel = "Super+Esc shows all guests";
        let help = if help.is_empty() { panel.to_owned() } else { format!("{help}; {panel}") };
        Message { icon, sentence, help }
    }
}

/// What the second screen of a machine is called, and so on.
const ORDINALS: [&str; 16] = [
    "first",
    "second",
    "third",
    "fourth",
    "fifth",
    "sixth",
    "seventh",
    "eighth",
    "ninth",
    "tenth",
    "eleventh",
    "twelfth",
    "thirteenth",
    "fourteenth",
    "fifteenth",
    "sixteenth",
];

impl GuestView {
    /// What stands on output `output`, which is for scanout number `scanout` (not 0) of the guest, while that has no picture. `has_it`:
    /// the guest's machine has such a scanout.
    pub fn screen_card(&self, scanout: u32, has_it: bool, output: &str) -> Message {
        if self.state != GuestState::Running {
            return self.card();
        }
        let label = &self.label.text;
        let ordinal = usize::try_from(scanout).ok().and_then(|index| ORDINALS.get(index)).unwrap_or(&"further");
        let other = format!("give this display to a guest with guest = … under [output.{output}]");
        let (sentence, help) = if has_it {
            (
                format!("{label} shows nothing on its {ordinal} screen."),
                format!("Switch it on inside {label}, or {other}"),
            )
        } else {
            let count = scanout.saturating_add(1);
            (format!("{label} has no {ordinal} screen."), format!("Set scanouts = {count} in its file, or {other}"))
        };
        Message { icon: Icon::Empty, sentence, help }
    }
}

impl GuestView {
    /// What stands in the guest's area while its picture cannot be read. A guest that has ended says that instead.
    pub fn unreadable_card(&self) -> Message {
        if self.state != GuestState::Running {
            return self.card();
        }
        let sentence = format!("{} has a picture that this display cannot read.", self.label.text);
        let help = format!("phyllome logs {} says more; Super+Esc shows all guests", self.name);
        Message { icon: Icon::Crashed, sentence, help }
    }
}

/// What stands on the screen while no guest is shown.
pub fn empty_card(guests: &[GuestView]) -> Message {
    let sentence = if guests.is_empty() { "There are no guests yet." } else { "No guest is shown." };
    let help = match guests.iter().find_map(|guest| guest.slot) {
        Some(slot) => format!("Super+{slot} shows the guest in slot {slot}; Super+Esc shows all guests"),
        None => "Super+Esc shows all guests".to_owned(),
    };
    Message { icon: Icon::Empty, sentence: sentence.to_owned(), help }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A known guest for tests.
    pub(crate) fn guest(name: &str, slot: i64, state: GuestState) -> GuestView {
        GuestView {
            name: GuestName::new(name).unwrap(),
            slot: Slot::new(slot),
            label: Label { text: name.to_owned(), color: LabelColor::Red, pattern: Pattern::Solid },
            known: true,
            state,
            message: None,
        }
    }

    #[test]
    fn a_card_says_what_happened_and_what_helps() {
        let mut view = guest("work", 1, GuestState::Crashed);
        assert_eq!(view.card().sentence, "work has crashed.");
        assert_eq!(view.card().help, "phyllome logs work says more; Super+Esc shows all guests");
        view.message = Some("The disk work.qcow2 does not exist.".into());
        assert_eq!(view.card().sentence, "The disk work.qcow2 does not exist.");
    }

    #[test]
    fn an_output_for_a_screen_that_the_guest_has_not_says_how_to_use_it() {
        let view = guest("work", 1, GuestState::Running);
        let card = view.screen_card(1, false, "HDMI-A-1");
        assert_eq!(card.sentence, "work has no second screen.");
        assert_eq!(
            card.help,
            "Set scanouts = 2 in its file, or give this display to a guest with guest = … under [output.HDMI-A-1]"
        );
        assert_eq!(view.screen_card(2, true, "DP-1").sentence, "work shows nothing on its third screen.");
        assert_eq!(view.screen_card(99, false, "DP-1").sentence, "work has no further screen.");
        assert_eq!(guest("work", 1, GuestState::Stopped).screen_card(1, false, "DP-1").sentence, "work is stopped.");
    }

    #[test]
    fn a_picture_that_cannot_be_read_says_so_while_the_guest_runs() {
        let mut view = guest("work", 1, GuestState::Running);
        assert_eq!(view.unreadable_card().sentence, "work has a picture that this display cannot read.");
        view.state = GuestState::Stopped;
        assert_eq!(view.unreadable_card().sentence, "work is stopped.");
    }

    #[test]
    fn without_guests_the_card_says_so() {
        assert_eq!(empty_card(&[]).sentence, "There are no guests yet.");
        assert!(empty_card(&[guest("work", 3, GuestState::Stopped)]).help.starts_with("Super+3"));
    }
}
