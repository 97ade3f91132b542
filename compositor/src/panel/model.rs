//! The panel as values: rows, selection, a question; keys in, actions out. Draws nothing and starts nothing.

use crate::guests::GuestView;

/// What the panel shows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PanelView {
    /// Guests in order, then files that cannot be used.
    pub rows: Vec<PanelRow>,
    /// Which row is selected.
    pub selected: usize,
    /// What the keys do, for the footer: key and words.
    pub keys: Vec<(&'static str, &'static str)>,
    /// A question that waits for an answer.
    pub dialog: Option<DialogView>,
}

/// One line of the list.
#[derive(Clone, Debug, PartialEq)]
pub enum PanelRow {
    /// A guest.
    Guest(GuestView),
    /// A file that cannot be used.
    Problem {
        /// The guest's name, or the file's.
        name: String,
        /// One sentence.
        sentence: String,
    },
}

/// A question with two answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DialogView {
    /// For instance “Force work off?”.
    pub question: String,
    /// What it means.
    pub consequence: String,
    /// The verb that carries it out, such as “Force off”.
    pub yes: String,
    /// The verb that does nothing, such as “Keep running”; focused at first.
    pub no: String,
    /// Whether `yes` is focused.
    pub yes_focused: bool,
}
