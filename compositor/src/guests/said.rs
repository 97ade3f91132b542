//! Whose words a sentence about a guest is. A guest's process (phyllome-guest, its QEMU, and through both the guest)
//! may say anything, and none of it may be read as if the shell said it.

use phyllome_protocol::control::Known;

/// Whose words they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Whose {
    /// The shell's own.
    #[default]
    Shell,
    /// The guest's process's, about something for which the shell has words of its own.
    Known(Known),
    /// The guest's process's.
    Process,
}

impl Whose {
    /// Those of a report with this reason.
    pub fn of(known: Option<Known>) -> Self {
        match known {
            None | Some(Known::Other) => Self::Process,
            Some(known) => Self::Known(known),
        }
    }
}
