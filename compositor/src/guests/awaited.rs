//! What whoever asks something of a guest can wait for. The one who asked keeps the list; a guest only ever does its
//! part, or ends.

use phyllome_protocol::GuestName;

/// Something that a command waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Awaited {
    /// The answer of a guest to the request with this id.
    Answer(u64),
    /// The guest is more than starting, or has ended.
    Started(GuestName),
    /// The guest's processes have ended.
    Ended(GuestName),
    /// The guest is paused or frozen, or has ended.
    Stands(GuestName),
    /// The guest is no longer frozen, or has ended.
    Thawed(GuestName),
    /// All has been typed.
    Typed,
}
