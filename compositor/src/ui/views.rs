//! What the shell's own surfaces show, as plain values; the model makes them, `ui` draws them.

use phyllome_trusted::frame::LabelView;

/// An icon of the project's own set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Icon {
    /// A guest starts.
    Starting,
    /// A guest is stopped or not there.
    Stopped,
    /// A guest ended by itself, or could not start.
    Crashed,
    /// A guest does not answer.
    NotResponding,
    /// A guest is paused.
    Paused,
    /// No guest is chosen.
    Empty,
}

/// What stands in the area of a guest without a picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// In the middle, 48 px.
    pub icon: Icon,
    /// What happened: one sentence.
    pub sentence: String,
    /// What helps: one line with a chord or a command. May be empty.
    pub help: String,
}

/// One guest in the overlay of Super+Tab.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SwitcherEntry {
    /// How it is marked.
    pub label: LabelView,
    /// The word of its state; shown only if it is not `running`.
    pub state: String,
}

/// How a state reads at a glance; its word says the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StateTone {
    /// Stopped and the like.
    Quiet,
    /// Running.
    Good,
    /// Starting, stopping, paused.
    Warning,
    /// Crashed, internal error.
    Danger,
}

/// One guest in the panel's list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PanelRow {
    /// How it is marked.
    pub label: LabelView,
    /// The word of its state.
    pub state: String,
    /// How the word is coloured.
    pub tone: StateTone,
    /// One sentence about the state; may be empty.
    pub message: String,
}

/// The panel's whole content.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PanelView {
    /// Guests in their order.
    pub rows: Vec<PanelRow>,
    /// Guest files that could not be used, a sentence each.
    pub problems: Vec<String>,
    /// Which row is raised, counting `rows` first and then `problems`; rows are left out so that it can be seen.
    pub selected: usize,
    /// A question that waits for an answer: what is asked up to the first “?”, then what it means and which keys answer.
    pub question: Option<String>,
}
