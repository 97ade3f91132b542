//! What the supervisor's loop receives of QEMU, its device and what is prepared for it.
//!
//! Each event names the QEMU that it is about by its [`Generation`], so that what a former one left behind is not taken
//! for the present one's. Values only: whoever sends one decides nothing, and never waits for what comes of it.

use super::host::HostFacts;
use super::lifecycle::Exit;
use super::qmp::{Qmp, QmpError, QmpEvent};
use crate::renderer::client::Client;
use phyllome_protocol::control::Leds;

/// Which QEMU of this process: counts up with every start.
pub type Generation = u32;

/// What the supervisor hears.
#[derive(Debug)]
pub enum MachineEvent {
    /// QMP is negotiated.
    QmpReady(Generation, Qmp),
    /// QMP could not be negotiated.
    QmpFailed(Generation, QmpError),
    /// QEMU said something.
    Qmp(Generation, QmpEvent),
    /// QEMU answered query-status.
    Status(Generation, Result<String, QmpError>),
    /// QEMU has ended, and all that it said was told before.
    Exited(Generation, Exit),
    /// The batch of input that was under way is answered.
    InputSent(Generation, Result<(), QmpError>),
    /// Whether the guest's driver runs its virtio keyboard, as far as QEMU says.
    Keyboard(Generation, bool),
    /// What was asked of QEMU is done, or refused with a sentence.
    Answered {
        /// Which QEMU.
        generation: Generation,
        /// The connection and the request's id, if somebody waits for it.
        asker: Option<(u64, u64)>,
        /// How it went.
        result: Result<(), String>,
        /// QEMU's run state afterwards.
        status: Option<String>,
    },
    /// What this host offers, or why no guest can start on it.
    Looked(Generation, Result<Box<HostFacts>, String>),
    /// The renderer for the next start is ready, or why there is none.
    Prepared(Generation, Result<Box<Client>, String>),
    /// The guest switched the lights of its keyboard.
    Leds(Generation, Leds),
}
