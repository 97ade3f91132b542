//! What `phyllome doctor --gpu` finds: phyllome-shell tries it and says a line of JSON for each, the tool prints them.

use serde::{Deserialize, Serialize};

/// What is looked at and tried, in this order.
pub const IDS: [&str; 10] =
    ["host", "card", "displays", "gl", "export", "import", "fences", "primary", "overlay", "cursor"];

/// How something came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It works, or is a fact.
    Works,
    /// Some of it works.
    Partly,
    /// It does not work.
    Fails,
    /// There is none.
    Absent,
    /// It could not be tried.
    Untried,
}

impl Outcome {
    /// As it is printed.
    pub fn word(self) -> &'static str {
        match self {
            Self::Works => "works",
            Self::Partly => "partly",
            Self::Fails => "fails",
            Self::Absent => "absent",
            Self::Untried => "untried",
        }
    }
}

/// One thing that was tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// One of [`IDS`].
    pub id: String,
    /// How it came out.
    pub outcome: Outcome,
    /// What was found, in a few words.
    pub finding: String,
}
