//! Everybody who is connected to the control socket, and what they have been told.
//!
//! A report goes out when it says something new; counters alone are nothing new. A peer that does not read is dropped.

use super::control::{self, Asked, MAX_CONNECTIONS, OUTBOX};
use phyllome_protocol::GuestName;
use phyllome_protocol::control::{FromGuest, Report, VERSION};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// How long the last words may take to reach all.
const FAREWELL: Duration = Duration::from_secs(2);

/// The connections.
#[derive(Debug)]
pub struct Peers {
    outboxes: BTreeMap<u64, mpsc::Sender<Arc<[u8]>>>,
    tasks: JoinSet<()>,
    asked: mpsc::Sender<Asked>,
    next: u64,
    told: Option<Report>,
}

impl Peers {
    /// None yet; what they ask will go to `asked`.
    pub fn new(asked: mpsc::Sender<Asked>) -> Self {
        Self { outboxes: BTreeMap::new(), tasks: JoinSet::new(), asked, next: 1, told: None }
    }

    /// Whether anybody has ever been connected.
    pub fn had_any(&self) -> bool {
        self.next > 1
    }

    /// Greets a new connection and tells it the present state. One too many is closed.
    pub fn welcome(&mut self, stream: UnixStream, name: &GuestName, report: Report) {
        if self.outboxes.len() >= MAX_CONNECTIONS {
            tracing::warn!("more than {MAX_CONNECTIONS} control connections; the newest is closed");
            return;
        }
        while self.tasks.try_join_next().is_some() {}
        let connection = self.next;
        self.next = self.next.wrapping_add(1).max(2);
        let (outbox, lines) = mpsc::channel(OUTBOX);
        self.tasks.spawn(control::serve(stream, connection, self.asked.clone(), lines));
        self.outboxes.insert(connection, outbox);
        self.tell(connection, &FromGuest::Hello { version: VERSION, name: name.clone() });
        self.tell(connection, &FromGuest::Report(report));
    }

    /// A connection is gone.
    pub fn closed(&mut self, connection: u64) {
        self.outboxes.remove(&connection);
    }

    /// Tells one.
    pub fn tell(&mut self, connection: u64, message: &FromGuest) {
        let Some(line) = control::line(message) else { return };
        let Some(outbox) = self.outboxes.get(&connection) else { return };
        if outbox.try_send(line).is_err() {
            tracing::warn!(connection, "a control peer does not read and is dropped");
            self.outboxes.remove(&connection);
        }
    }

    /// Tells all, if the report says something new; whether it did.
    pub fn tell_changes(&mut self, report: Report) -> bool {
        let news = without_counters(&report);
        if self.told.as_ref() == Some(&news) {
            return false;
        }
        self.told = Some(news);
        let message = FromGuest::Report(report);
        for connection in self.outboxes.keys().copied().collect::<Vec<_>>() {
            self.tell(connection, &message);
        }
        true
    }

    /// Sends what waits and closes all connections. What they still ask is not heard.
    pub async fn farewell(&mut self, asked: &mut mpsc::Receiver<Asked>) {
        self.outboxes.clear();
        let tasks = &mut self.tasks;
        let all = async {
            loop {
                tokio::select! {
                    done = tasks.join_next() => if done.is_none() { break },
                    // A task that waits to pass a question on would never end.
                    _ = asked.recv() => {}
                }
            }
        };
        if timeout(FAREWELL, all).await.is_err() {
            tracing::warn!("a control peer did not take its last words");
        }
    }
}

fn without_counters(report: &Report) -> Report {
    let mut report = report.clone();
    report.uptime_ms = None;
    report.gpu.errors.clear();
    report.gpu.copied_bytes = 0;
    for scanout in &mut report.scanouts {
        (scanout.flushes, scanout.presented) = (0, 0);
    }
    report
}

#[cfg(test)]
mod tests {
    use super::*;
    use phyllome_protocol::framing::{Decoder, receive_blocking};
    use phyllome_protocol::status::{GpuStatus, GuestState};
    use std::os::unix::net::UnixStream as StdUnixStream;

    fn report(state: GuestState, uptime_ms: u64) -> Report {
        Report {
            state,
            message: None,
            accel: None,
            pid: 1,
            qemu_pid: None,
            uptime_ms: Some(uptime_ms),
            gpu: GpuStatus::default(),
            scanouts: Vec::new(),
            leds: None,
            known: None,
            unheeded: false,
        }
    }

    #[test]
    fn reports_come_on_change_only_and_the_last_one_arrives() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (here, there) = StdUnixStream::pair().unwrap();
        runtime.block_on(async {
            let (sender, mut asked) = mpsc::channel(1);
            let mut peers = Peers::new(sender);
            here.set_nonblocking(true).unwrap();
            let name = GuestName::new("work").unwrap();
            peers.welcome(UnixStream::from_std(here).unwrap(), &name, report(GuestState::Starting, 1));
            for uptime in 2..50 {
                peers.tell_changes(report(GuestState::Running, uptime));
            }
            peers.tell_changes(report(GuestState::Stopped, 50));
            peers.farewell(&mut asked).await;
        });
        let mut decoder = Decoder::new();
        let mut states = Vec::new();
        while let Ok(message) = receive_blocking::<FromGuest>(&there, &mut decoder) {
            states.push(match message {
                FromGuest::Report(report) => report.state.word(),
                FromGuest::Hello { .. } => "hello",
                _ => "other",
            });
        }
        assert_eq!(states, ["hello", "starting", "running", "stopped"]);
    }
}
