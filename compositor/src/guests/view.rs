//! What the frame, the panel and `status` show of a guest: plain values, copied out of the registry.

use phyllome_config::guest::Label;
use phyllome_protocol::status::GuestState;
use phyllome_protocol::{GuestName, Slot};

/// One guest, to be shown.
#[derive(Clone, Debug, PartialEq)]
pub struct GuestView {
    /// Its name.
    pub name: GuestName,
    /// Its slot.
    pub slot: Option<Slot>,
    /// How it is marked.
    pub label: Label,
    /// Whether there is a definition of it; a guest without one is adopted with a gray striped label.
    pub known: bool,
    /// Its state.
    pub state: GuestState,
    /// Why, in one sentence, where there is something to say.
    pub message: Option<String>,
}

/// A guest file that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The guest's name, or the file's if it is no name.
    pub name: String,
    /// One sentence to a person.
    pub sentence: String,
}
