//! The shell's model as what bar and switcher show: marks and rows. Pure.

use crate::guests::GuestView;
use crate::ui;
use phyllome_protocol::status::GuestState;
use phyllome_trusted::frame::Mark;

/// The quiet marks in the bar.
pub fn marks(view: &GuestView) -> Vec<Mark> {
    match view.state {
        GuestState::Paused => vec![Mark::Paused],
        _ => Vec::new(),
    }
}

/// One guest in the overlay of Super+Tab.
pub fn switcher_entry(view: &GuestView) -> ui::SwitcherEntry {
    ui::SwitcherEntry { label: view.label_view(), state: view.state.word().to_owned() }
}
