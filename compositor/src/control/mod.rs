//! The shell's socket: what the command-line tool asks is checked here and carried out by [`crate::State`].
//!
//! Only processes of this user may connect, a bounded number of them, each with one request at a time and bounded
//! queues. Slow ones are cut off; nobody can make the shell wait: a thread stands between ([`relay`](crate::relay)).

#![deny(clippy::wildcard_enum_match_arm, reason = "a new verb or message is not to be taken for another")]

pub mod client;
mod serve;
mod test_input;
pub mod typing;
pub mod wait;

use crate::State;
use crate::bucket::Bucket;
use crate::descriptors::close_elsewhere;
use crate::guests::Awaited;
use crate::relay::{Admits, Relayed, Relays};
use client::{Client, ClientError};
use phyllome_protocol::framing::FramingError;
use phyllome_protocol::shell::{Event, Reply};
use smithay::reexports::calloop::generic::Generic;
use smithay::reexports::calloop::timer::{TimeoutAction, Timer};
use smithay::reexports::calloop::{Interest, Mode, PostAction, RegistrationToken};
use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use wait::{Kind, Verdict, Waits};

/// How long nobody is let in after the process had no descriptor left for who came.
const BREATH: Duration = Duration::from_secs(1);
/// Whose the threads are that stand between, and their name.
const OWNER: &str = "shell.sock";
/// Most connections that may hang in what was sent on them before nobody is let in.
const MAX_HANGING: usize = 8;
/// Most connections at once.
const MAX_CLIENTS: usize = 32;
/// Most that are let in at once, and in each second: each wakes the loop and has a thread made.
const ARRIVALS: (f64, f64) = (200.0, 100.0);

#[derive(Debug)]
struct ToolConnection {
    client: Client,
    /// None while commands that came are carried out: what comes meanwhile waits in the socket.
    read: Option<RegistrationToken>,
    write: Option<RegistrationToken>,
    /// Its next command is looked at in the loop's next turn.
    due: bool,
}

/// The socket's clients and what they wait for.
#[derive(Debug)]
pub struct Server {
    path: PathBuf,
    allow_test_input: bool,
    clients: BTreeMap<u64, ToolConnection>,
    last_client: u64,
    waits: Waits,
    /// The timers of the commands that wait, by the wait's id.
    wait_timers: BTreeMap<u64, RegistrationToken>,
    typing: test_input::Typing,
    listener: Option<RegistrationToken>,
    /// The listener once more: who closes the last one closes what waits in it.
    held: Option<UnixListener>,
    relays: Relays,
    arrivals: Bucket,
}

impl Server {
    /// A server that will listen at `path` (`RuntimeDir::shell_socket`) after [`State::start_control`].
    pub fn new(path: PathBuf, allow_test_input: bool) -> Self {
        Self {
            path,
            allow_test_input,
            clients: BTreeMap::new(),
            last_client: 0,
            waits: Waits::default(),
            wait_timers: BTreeMap::new(),
            typing: test_input::Typing::default(),
            listener: None,
            held: None,
            relays: Relays::new(MAX_HANGING),
            arrivals: Bucket::new(ARRIVALS.0, ARRIVALS.1, Instant::now()),
        }
    }

    /// How many were let in so far.
    #[cfg(test)]
    pub(crate) fn arrived(&self) -> u64 {
        self.last_client
    }

    /// How many connections are open.
    #[cfg(test)]
    pub(crate) fn client_count(&self) -> usize {
        self.clients.len()
    }
}

/// Whether an error of accept(2) is about the one who came and not about the shell.
fn passes(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, Interrupted, WouldBlock};
    matches!(error.kind(), ConnectionAborted | Interrupted | WouldBlock)
}

impl State {
    /// Listens. Called once, before the loop runs, by the one shell that holds the runtime folder's lock: a socket that
    /// is there already is a former shell's and is replaced.
    pub fn start_control(&mut self) -> io::Result<()> {
        match std::fs::remove_file(&self.control.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&self.control.path)?;
        std::fs::set_permissions(&self.control.path, std::fs::Permissions::from_mode(0o600))?;
        listener.set_nonblocking(true)?;
        self.control.held = Some(listener.try_clone()?);
        let source = Generic::new(listener, Interest::READ, Mode::Level);
        let inserted = self.loop_handle.insert_source(source, |_, listener, state: &mut State| {
            let now = Instant::now();
            if let Some(pause) = state.control.arrivals.until(1.0, now) {
                return Ok(state.rest_from_accepting(pause));
            }
            if !state.control.relays.has_room(OWNER) {
                return Ok(state.cannot_accept(&io::Error::other("connections before them hang")));
            }
            match listener.accept() {
                Ok((stream, _)) => {
                    state.control.arrivals.charge(1.0, 0.0, now);
                    state.client_accepted(stream);
                }
                Err(error) if passes(&error) => {}
                // Who waits keeps the listener readable: looking again at once would be all that the shell does.
                Err(error) => return Ok(state.cannot_accept(&error)),
            }
            Ok(PostAction::Continue)
        });
        self.control.listener = Some(inserted.map_err(|error| io::Error::other(error.to_string()))?);
        Ok(())
    }

    fn cannot_accept(&mut self, error: &io::Error) -> PostAction {
        tracing::warn!("who connects to the shell's socket has to wait: {error}");
        self.rest_from_accepting(BREATH)
    }

    /// Who connects waits for so long.
    fn rest_from_accepting(&mut self, pause: Duration) -> PostAction {
        let timer = self.loop_handle.insert_source(Timer::from_duration(pause), |_, _, state: &mut State| {
            if let Some(listener) = &state.control.listener
                && let Err(error) = state.loop_handle.enable(listener)
            {
                tracing::error!("nobody can connect to the shell's socket any more: {error}");
            }
            TimeoutAction::Drop
        });
        if timer.is_ok() { PostAction::Disable } else { PostAction::Continue }
    }

    /// Closes the socket and removes it; called when the shell ends.
    pub fn stop_control(&mut self) {
        if let Some(token) = self.control.listener.take() {
            self.loop_handle.remove(token);
            let _ = std::fs::remove_file(&self.control.path);
        }
        if let Some(listener) = self.control.held.take() {
            close_elsewhere(listener.into());
        }
    }

    /// Tells all who asked for events.
    pub fn emit(&mut self, event: &Event) {
        tracing::debug!(?event);
        let ids: Vec<_> = self.control.clients.iter().filter(|(_, c)| c.client.subscriber).map(|(id, _)| *id).collect();
        for id in ids {
            let Some(connected) = self.control.clients.get_mut(&id) else { continue };
            let sent = connected.client.event(event);
            self.after_sending(id, sent);
        }
    }

    /// A part of what commands wait for is done; whether any command did wait for it.
    pub fn settle(&mut self, part: &Awaited, result: Result<(), String>) -> bool {
        let (waited_for, done) = self.control.waits.settle(part, &result);
        self.answer_all(done);
        waited_for
    }

    /// Lets in who has connected, if he may.
    fn client_accepted(&mut self, stream: UnixStream) {
        if let Err(error) = Client::check(&stream) {
            // What he has sent already may never be closed.
            close_elsewhere(stream.into());
            return tracing::warn!("a connection to the shell's socket was refused: {error}");
        }
        match self.control.relays.relay(OWNER, stream, Admits::Bytes) {
            Ok(connection) => self.client_arrived(connection),
            Err(error) => tracing::warn!("a connection to the shell's socket was refused: {error}"),
        }
    }

    fn client_arrived(&mut self, connection: Relayed) {
        let client = Client::new(connection);
        if self.control.clients.len() >= MAX_CLIENTS {
            // Who asks nothing gives way to who may ask something.
            let idle = self.control.clients.iter().find(|(_, c)| !c.client.busy && !c.due && !c.client.subscriber);
            let Some(id) = idle.map(|(id, _)| *id) else {
                return tracing::warn!("a connection was refused: {MAX_CLIENTS} are open already");
            };
            self.client_left(id);
        }
        self.control.last_client += 1;
        let id = self.control.last_client;
        self.control.clients.insert(id, ToolConnection { client, read: None, write: None, due: false });
        self.watch_client(id);
    }

    fn watch_client(&mut self, id: u64) {
        let Some(connected) = self.control.clients.get_mut(&id).filter(|c| c.read.is_none() && !c.due) else {
            return;
        };
        let Ok(stream) = connected.client.stream().try_clone() else { return self.client_left(id) };
        let source = Generic::new(stream, Interest::READ, Mode::Level);
        let inserted = self.loop_handle.insert_source(source, move |_, _, state: &mut State| {
            state.client_readable(id);
            match state.control.clients.get_mut(&id) {
                Some(connected) if connected.due || !connected.client.may_read() => {
                    connected.read = None;
                    Ok(PostAction::Remove)
                }
                _ => Ok(PostAction::Continue),
            }
        });
        match inserted {
            Ok(token) => connected.read = Some(token),
            Err(error) => {
                tracing::error!("a connection cannot be watched: {error}");
                self.client_left(id);
            }
        }
    }

    fn client_left(&mut self, id: u64) {
        self.control.waits.forget(id);
        self.prune_wait_timers();
        if let Some(connected) = self.control.clients.remove(&id) {
            for token in connected.read.into_iter().chain(connected.write) {
                self.loop_handle.remove(token);
            }
        }
    }

    fn client_readable(&mut self, id: u64) {
        let Some(connected) = self.control.clients.get_mut(&id) else { return };
        match connected.client.receive() {
            Ok(()) => self.next_command(id),
            Err(error) => self.cut_off(id, &error),
        }
    }

    /// Serves one command of those that came. Whoever answers it sees to the next.
    fn next_command(&mut self, id: u64) {
        let Some(connected) = self.control.clients.get_mut(&id) else { return };
        match connected.client.next_command() {
            Ok(Some(command)) => {
                connected.client.busy = true;
                self.serve(id, command);
            }
            Ok(None) if connected.client.may_read() => self.watch_client(id),
            // After the answer.
            Ok(None) => {}
            Err(error) => self.cut_off(id, &error),
        }
    }

    /// Lets the loop have a turn before the next command: a client that sends many at once holds nobody up.
    fn next_command_soon(&mut self, id: u64) {
        let Some(connected) = self.control.clients.get_mut(&id).filter(|connected| !connected.due) else { return };
        let timer = self.loop_handle.insert_source(Timer::immediate(), move |_, _, state: &mut State| {
            if let Some(connected) = state.control.clients.get_mut(&id) {
                connected.due = false;
            }
            state.next_command(id);
            TimeoutAction::Drop
        });
        match timer {
            Ok(_) => connected.due = true,
            Err(error) => {
                tracing::error!("a connection cannot be served: {error}");
                self.client_left(id);
            }
        }
    }

    fn cut_off(&mut self, id: u64, error: &ClientError) {
        if !matches!(error, ClientError::Framing(FramingError::Closed | FramingError::Io(_))) {
            tracing::warn!("a connection to the shell's socket was cut off: {error}");
            if let Some(connected) = self.control.clients.get_mut(&id) {
                let _ = connected.client.reply(&Reply::Refused { reason: format!("cut off: {error}") }, None);
            }
        }
        self.client_left(id);
    }

    fn reply(&mut self, id: u64, reply: &Reply, fd: Option<OwnedFd>) {
        let Some(connected) = self.control.clients.get_mut(&id) else { return };
        let sent = connected.client.reply(reply, fd);
        self.after_sending(id, sent);
        self.next_command_soon(id);
    }

    fn after_sending(&mut self, id: u64, sent: Result<bool, ClientError>) {
        match sent {
            Ok(true) => {}
            Ok(false) => self.watch_client_writable(id),
            Err(error) => {
                tracing::debug!("a connection to the shell's socket was cut off: {error}");
                self.client_left(id);
            }
        }
    }

    fn watch_client_writable(&mut self, id: u64) {
        let Some(connected) = self.control.clients.get_mut(&id).filter(|c| c.write.is_none()) else { return };
        let Ok(stream) = connected.client.stream().try_clone() else { return };
        let source = Generic::new(stream, Interest::WRITE, Mode::Level);
        let inserted = self.loop_handle.insert_source(source, move |_, _, state: &mut State| {
            let Some(connected) = state.control.clients.get_mut(&id) else { return Ok(PostAction::Remove) };
            match connected.client.flush() {
                Ok(false) => return Ok(PostAction::Continue),
                Ok(true) => {
                    connected.write = None;
                    state.next_command_soon(id);
                }
                Err(error) => {
                    connected.write = None;
                    state.cut_off(id, &error);
                }
            }
            Ok(PostAction::Remove)
        });
        connected.write = inserted.ok();
    }

    /// Lets a command wait for parts, at most for `limit`.
    fn wait_for(&mut self, client: u64, kind: Kind, parts: Vec<Awaited>, failures: Vec<String>, limit: Duration) {
        let wait = self.control.waits.add(client, kind, parts, failures);
        let done = self.control.waits.take_done();
        if !done.is_empty() {
            return self.answer_all(done);
        }
        let timer = self.loop_handle.insert_source(Timer::from_duration(limit), move |_, _, state: &mut State| {
            state.control.wait_timers.remove(&wait);
            let over = state.control.waits.time_is_over(wait);
            state.answer_all(over.into_iter().collect());
            TimeoutAction::Drop
        });
        match timer {
            Ok(timer) => drop(self.control.wait_timers.insert(wait, timer)),
            Err(error) => tracing::error!("a command may wait for ever: {error}"),
        }
    }

    /// Takes back the timers of commands that wait no longer: none may wake a shell that is at rest.
    fn prune_wait_timers(&mut self) {
        let Self { control, loop_handle, .. } = self;
        let over: Vec<u64> = control.wait_timers.keys().copied().filter(|id| !control.waits.has(*id)).collect();
        for timer in over.iter().filter_map(|id| control.wait_timers.remove(id)) {
            loop_handle.remove(timer);
        }
    }

    fn answer_all(&mut self, verdicts: Vec<(u64, Verdict)>) {
        for (client, verdict) in verdicts {
            let reply = match verdict {
                Verdict::Done => Reply::Done,
                Verdict::Refused(reason) => Reply::Refused { reason },
                Verdict::Status => Reply::Status(Box::new(self.status())),
            };
            self.reply(client, &reply, None);
        }
        self.prune_wait_timers();
    }
}
