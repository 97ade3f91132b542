//! The signals that ask this process to end. Which of them came makes no difference: the guest is asked to power off.
//!
//! Caught, they no longer end the process by themselves; to end it is the supervisor's.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGTERM, SIGINT and SIGHUP.
pub(super) struct Signals([Signal; 3]);

impl Signals {
    /// Catches them from now on. The error is the operating system's.
    pub(super) fn new() -> std::io::Result<Self> {
        Ok(Self([signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?, signal(SignalKind::hangup())?]))
    }

    /// Waits for one of them.
    pub(super) async fn any(&mut self) {
        let [terminate, interrupt, hangup] = &mut self.0;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}
