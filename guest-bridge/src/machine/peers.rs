//! Everybody who is connected to the control socket, and what they have been told.
//!
//! A report goes out when it says something new; counters alone are nothing new. A peer that does not read is dropped.
//! There are few places, and no process of the same user can take them all from the shell: one too many takes the place
//! of another, of whose process has most of them, and never of the one that shows the guest. Among equals the younger go.

use super::control::{self, Asked, MAX_CONNECTIONS, OUTBOX};
use crate::seldom::seldom;
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
    places: BTreeMap<u64, Place>,
    tasks: JoinSet<()>,
    asked: mpsc::Sender<Asked>,
    next: u64,
    told: Option<Report>,
    /// How many had to give way.
    evicted: u64,
}

/// One connection.
#[derive(Debug)]
struct Place {
    outbox: mpsc::Sender<Arc<[u8]>>,
    /// Whose it is, as the kernel says.
    process: Option<i32>,
    /// It has asked something.
    asked: bool,
    /// It has given the guest its screen.
    shows: bool,
}

/// Who gives way to the newest.
fn to_give_way(places: &BTreeMap<u64, Place>) -> Option<u64> {
    let newest = *places.keys().next_back()?;
    let of_process = |process| places.values().filter(|place| place.process == process).count();
    let others = places.iter().filter(|(_, place)| !place.shows);
    // The newest has had no time to ask anything, and whoever has been there for long has a reason to be: else the
    // younger go.
    let key = |(connection, place): &(&u64, &Place)| {
        let old = **connection != newest;
        (of_process(place.process), !place.asked && old, old, **connection)
    };
    others.max_by_key(key).map(|(connection, _)| *connection)
}

impl Peers {
    /// None yet; what they ask will go to `asked`.
    pub fn new(asked: mpsc::Sender<Asked>) -> Self {
        Self { places: BTreeMap::new(), tasks: JoinSet::new(), asked, next: 1, told: None, evicted: 0 }
    }

    /// Whether anybody has ever been connected.
    pub fn had_any(&self) -> bool {
        self.next > 1
    }

    /// Greets a new connection and tells it the present state. Where there is no place for it, one ends.
    pub fn welcome(&mut self, stream: UnixStream, name: &GuestName, report: Report) {
        while self.tasks.try_join_next().is_some() {}
        let connection = self.next;
        self.next = self.next.wrapping_add(1).max(2);
        let (outbox, lines) = mpsc::channel(OUTBOX);
        let process = stream.peer_cred().ok().and_then(|peer| peer.pid());
        self.places.insert(connection, Place { outbox, process, asked: false, shows: false });
        if self.places.len() > MAX_CONNECTIONS
            && let Some(ended) = to_give_way(&self.places)
        {
            self.evicted = self.evicted.saturating_add(1);
            if seldom(self.evicted) {
                let count = self.evicted;
                tracing::warn!(
                    connection = ended,
                    count,
                    "more than {MAX_CONNECTIONS} control connections; one is closed"
                );
            }
            self.places.remove(&ended);
        }
        self.tasks.spawn(control::serve(stream, connection, self.asked.clone(), lines));
        self.tell(connection, &FromGuest::Hello { version: VERSION, name: name.clone() });
        self.tell(connection, &FromGuest::Report(report));
    }

    /// A connection has asked something.
    pub fn has_asked(&mut self, connection: u64) {
        if let Some(place) = self.places.get_mut(&connection) {
            place.asked = true;
        }
    }

    /// A connection has given the guest its screen; a former one's is gone.
    pub fn shows(&mut self, connection: u64) {
        for (other, place) in &mut self.places {
            place.shows = *other == connection;
        }
    }

    /// A connection is gone.
    pub fn closed(&mut self, connection: u64) {
        self.places.remove(&connection);
    }

    /// Tells one.
    pub fn tell(&mut self, connection: u64, message: &FromGuest) {
        let Some(line) = control::line(message) else { return };
        let Some(place) = self.places.get(&connection) else { return };
        if place.outbox.try_send(line).is_err() {
            tracing::warn!(connection, "a control peer does not read and is dropped");
            self.places.remove(&connection);
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
        for connection in self.places.keys().copied().collect::<Vec<_>>() {
            self.tell(connection, &message);
        }
        true
    }

    /// Sends what waits and closes all connections. What they still ask is not heard.
    pub async fn farewell(&mut self, asked: &mut mpsc::Receiver<Asked>) {
        self.places.clear();
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

    /// Places of (process, has asked, shows), in the order in which they came; which of them gives way.
    fn gives_way(places: &[(i32, bool, bool)]) -> u64 {
        let places = (1..).zip(places).map(|(connection, (process, asked, shows))| {
            let outbox = mpsc::channel(1).0;
            (connection, Place { outbox, process: Some(*process), asked: *asked, shows: *shows })
        });
        to_give_way(&places.collect()).unwrap()
    }

    #[test]
    fn no_process_takes_the_places_from_the_shell() {
        let (shell, hostile) = ((1, true, true), (7, true, false));
        let came = |others: &[(i32, bool, bool)]| gives_way(&[&[shell], others].concat());
        // One process with all the other places, whatever it has asked: the younger of its own goes.
        assert_eq!(came(&[hostile, hostile, (2, false, false)]), 3);
        assert_eq!(came(&[(7, false, false), hostile, hostile, (7, false, false)]), 2);
        assert_eq!(came(&[(2, false, false), hostile, hostile]), 3, "one of those that are many");
        // Many processes with one each: a silent one, else the younger; never the newest, and never who shows the guest.
        assert_eq!(came(&[(2, true, false), (3, false, false), (4, false, false), (5, false, false)]), 4);
        assert_eq!(came(&[(2, true, false), (3, true, false), (4, false, false)]), 3);
        assert_eq!(gives_way(&[(2, true, false), (1, true, true), (4, false, false)]), 1, "not who shows the guest");
        // A shell that comes back finds a place though nobody was asked anything.
        assert_eq!(gives_way(&[(7, false, false), (7, false, false), (1, false, false)]), 2);
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
