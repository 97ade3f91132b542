//! What the state machine of a guest's life is told, and what it answers: what has happened, what is to be done, and
//! what a request needs.
//!
//! Values alone; who makes them and who does them is the supervisor.

use crate::machine::command_line::Accel;
use crate::machine::qmp::QmpEvent;
use crate::machine::verdict::Verdict;
use crate::machine::words::Words;
use std::time::Duration;

/// Whether the host offers KVM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KvmFact {
    /// /dev/kvm opens, and this guest has not failed on it lately.
    Offered,
    /// /dev/kvm cannot be opened; why.
    Closed(String),
    /// It opens, and this guest has failed on it lately; how.
    Failed(String),
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// QMP is negotiated.
    QmpReady,
    /// QMP could not be negotiated, or broke; one sentence.
    QmpLost(String),
    /// QEMU said something. Its `Closed` is not for here: see `QmpLost`.
    Qmp(QmpEvent),
    /// The answer to [`Action::QueryStatus`].
    Status {
        /// QEMU's word.
        word: String,
        /// Whether the guest has flushed a picture since QEMU started.
        pictured: bool,
        /// Time since QEMU started.
        age: Duration,
        /// How QEMU explained itself, if it did.
        words: Option<Words>,
    },
    /// QEMU's process has ended.
    Exited {
        /// How.
        how: Exit,
        /// How QEMU explained itself, if it did.
        words: Option<Words>,
        /// Whether the guest had flushed a picture.
        pictured: bool,
    },
    /// QEMU could not be started; one sentence.
    CannotStart(String),
    /// The device has ended by itself; one sentence.
    DeviceFailed(String),
    /// QEMU hung up on the device, which is normal when it ends.
    DeviceHungUp,
    /// This process is asked to end. The guest gets its power button and time; asked again, it gets no more.
    Terminate,
    /// The time of [`Action::EndLater`] is over.
    TimeIsUp,
    /// The guest has drawn something, and is older than [`super::FIRMWARE_TIME`].
    RunsWell,
    /// The guest's processors, and its clock with them, have stood still for so long.
    StoodStill(Duration),
    /// The time of the last [`Action::LookLater`] or [`Carry::Press`] is over.
    Look,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with this status.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// It did not end when it should have, and this side ended it by a signal.
    Overdue,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Start QEMU (again).
    Start(Accel),
    /// Ask for the run state.
    QueryStatus,
    /// End QEMU by `quit`; by a signal if it does not end soon or cannot be asked.
    End,
    /// Let the guest power off by itself: these QMP commands in order.
    PowerOff(&'static [&'static str]),
    /// Say [`Event::TimeIsUp`] if QEMU has not ended after the time that a guest has to power off.
    EndLater,
    /// Say [`Event::Look`] after this time, and not at an earlier one.
    LookLater(Duration),
    /// Let what ticks the guest has missed be forgotten: the QMP command, which not every machine has.
    ForgetTicks(&'static str),
    /// End QEMU by a signal at once.
    KillNow,
    /// End QEMU by a signal if it does not end by itself soon.
    KillSoon,
    /// Remember what KVM is worth to this guest.
    Remember(Verdict),
    /// Nothing runs any longer, and the state says how it ended: say it and go.
    Finish,
}

/// What a request needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Carry {
    /// These QMP commands in order; the request is done when all have been answered.
    Qmp(&'static [&'static str]),
    /// The same, and then say [`Event::Look`] after [`super::REACTION`].
    Press(&'static [&'static str]),
    /// These actions; the request is done.
    Act(Vec<Action>),
    /// It is as asked already.
    Nothing,
}
