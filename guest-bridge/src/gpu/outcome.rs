//! What becomes of a command: answered at once, held until something is presented, forwarded, or refused.
//!
//! Values alone, so that whatever executes commands (2D, blobs, 3D) can say how it went without knowing the device.

use super::class::Class;
use super::pacing::Waits;
use super::wire::Status;

/// One of the guest's commands that is not answered yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Token(pub(super) u64);

/// What is to be done with a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It goes back at once.
    Answer,
    /// It goes back when these batches were presented, or from the slow timer.
    Hold(Waits),
    /// It goes back when the 3D half says so of this token, and then these batches were presented.
    Forwarded(Token, Waits),
}

/// Why a command is refused: what the guest is told, and what is counted.
pub type Refused = (Status, Class);
/// What becomes of a command.
pub type Done = Result<Outcome, Refused>;

/// There is no such scanout.
pub const NO_SCANOUT: Refused = (Status::ErrInvalidScanoutId, Class::ScanoutId);
/// There is no such resource, or none of the kind that the command is for.
pub const NO_RESOURCE: Refused = (Status::ErrInvalidResourceId, Class::ResourceId);
/// The id is taken, or 0.
pub const RESOURCE_EXISTS: Refused = (Status::ErrInvalidResourceId, Class::ResourceExists);
/// It went with a renderer that died.
pub const LOST_RESOURCE: Refused = (Status::ErrInvalidResourceId, Class::Lost);
/// More than one guest may have.
pub const OVER: Refused = (Status::ErrOutOfMemory, Class::Quota);

/// What a guest is told of numbers that make no sense, or of a host that has no memory.
pub fn refused(class: Class) -> Refused {
    match class {
        Class::Quota | Class::HostMemory => (Status::ErrOutOfMemory, class),
        Class::BackingMissing => (Status::ErrUnspec, class),
        class => (Status::ErrInvalidParameter, class),
    }
}
