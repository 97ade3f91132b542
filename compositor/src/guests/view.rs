//! One guest as others see it: plain values, copied out of the registry. What is made of them for the eye is the
//! faces'.

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
    /// It was asked to power off and has not done so in time.
    pub silent: bool,
    /// While it runs and is shown, displays stay on without input.
    pub keep_awake: bool,
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
            silent: false,
            keep_awake: false,
        }
    }
}
