//! A client of QEMU's machine protocol (QMP) on one end of a socketpair.
//!
//! QEMU is not trusted: a line is at most [`MAX_LINE`] bytes, nested JSON is refused, an answer that does not come is a
//! timeout, and answers that nobody waits for are dropped. A QEMU that breaks the protocol loses the connection, never
//! this process.

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};
use std::collections::{HashMap, VecDeque};
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::time::Duration;
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

/// Longest line that QEMU may send, in bytes.
pub const MAX_LINE: usize = 1024 * 1024;
/// How long QEMU may take from its start until it has greeted. Long, because it sets up the whole machine first.
pub const GREETING_TIME: Duration = Duration::from_secs(60);
/// How long QEMU may take to answer a command.
pub const ANSWER_TIME: Duration = Duration::from_secs(10);
/// Commands that may wait for their answers.
const MAX_PENDING: usize = 64;
/// Bytes that may wait to be written.
const MAX_UNSENT: usize = 256 * 1024;

/// Why a command was not carried out, or the connection cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QmpError {
    /// The connection is closed.
    #[error("QEMU closed its control connection")]
    Closed,
    /// No answer came.
    #[error("QEMU did not answer {command} within {seconds} s")]
    Timeout {
        /// The command.
        command: &'static str,
        /// How long was waited.
        seconds: u64,
    },
    /// QEMU answered with an error.
    #[error("QEMU refused {command}: {description}")]
    Refused {
        /// The command.
        command: &'static str,
        /// QEMU's words, bounded.
        description: String,
    },
    /// QEMU broke the protocol.
    #[error("QEMU broke its control protocol: {0}")]
    Protocol(String),
    /// Too many commands wait.
    #[error("QEMU has too many commands to answer")]
    Busy,
    /// The socket failed.
    #[error("QEMU's control connection failed: {0}")]
    Io(String),
}

/// What QEMU tells unasked; only what the lifecycle needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QmpEvent {
    /// The processors stopped: paused, internal error, disk error.
    Stop,
    /// The processors run again.
    Resume,
    /// QEMU ends.
    Shutdown {
        /// The guest asked for it.
        guest: bool,
        /// QEMU's word for the reason, such as `guest-shutdown`.
        reason: String,
    },
    /// The machine was reset.
    Reset {
        /// The guest asked for it.
        guest: bool,
    },
    /// The power button was pressed.
    Powerdown,
    /// The guest said that its kernel panicked (pvpanic).
    Panicked,
    /// The connection is closed; nothing comes after this.
    Closed(QmpError),
}

/// A handle for commands; cheap to clone.
#[derive(Clone, Debug)]
pub struct Qmp {
    commands: mpsc::Sender<Command>,
    answer_time: Duration,
}

#[derive(Debug)]
struct Command {
    name: &'static str,
    arguments: Option<Value>,
    fd: Option<OwnedFd>,
    answer: oneshot::Sender<Result<Value, QmpError>>,
}

impl Qmp {
    /// Waits for the greeting, negotiates, and starts the task that owns the connection. Must be called inside a tokio
    /// runtime.
    pub async fn open(stream: StdUnixStream) -> Result<(Self, mpsc::Receiver<QmpEvent>), QmpError> {
        Self::open_with(stream, GREETING_TIME, ANSWER_TIME).await
    }

    /// The same with other times.
    pub async fn open_with(
        stream: StdUnixStream,
        greeting_time: Duration,
        answer_time: Duration,
    ) -> Result<(Self, mpsc::Receiver<QmpEvent>), QmpError> {
        stream.set_nonblocking(true).map_err(io_error)?;
        let stream = UnixStream::from_std(stream).map_err(io_error)?;
        let (events, event_receiver) = mpsc::channel(16);
        let (commands, command_receiver) = mpsc::channel(MAX_PENDING);
        let mut connection = Connection::new(stream);
        let seconds = greeting_time.as_secs();
        timeout(greeting_time, connection.negotiate())
            .await
            .map_err(|_| QmpError::Timeout { command: "the greeting", seconds })??;
        tokio::spawn(connection.run(command_receiver, events));
        Ok((Self { commands, answer_time }, event_receiver))
    }

    /// Executes a command and returns its value.
    pub async fn execute(&self, name: &'static str, arguments: Option<Value>) -> Result<Value, QmpError> {
        self.command(name, arguments, None).await
    }

    /// The same with a descriptor that goes to QEMU with the command (`getfd`, `add-fd`).
    pub async fn execute_with_fd(
        &self,
        name: &'static str,
        arguments: Option<Value>,
        fd: OwnedFd,
    ) -> Result<Value, QmpError> {
        self.command(name, arguments, Some(fd)).await
    }

    async fn command(
        &self,
        name: &'static str,
        arguments: Option<Value>,
        fd: Option<OwnedFd>,
    ) -> Result<Value, QmpError> {
        let (answer, answered) = oneshot::channel();
        let work = async {
            self.commands.send(Command { name, arguments, fd, answer }).await.map_err(|_| QmpError::Closed)?;
            answered.await.map_err(|_| QmpError::Closed)?
        };
        let seconds = self.answer_time.as_secs();
        timeout(self.answer_time, work).await.map_err(|_| QmpError::Timeout { command: name, seconds })?
    }

    /// QEMU's word for its run state: `running`, `paused`, `internal-error`, `io-error`, …
    pub async fn query_status(&self) -> Result<String, QmpError> {
        let value = self.execute("query-status", None).await?;
        let status = value.get("status").and_then(Value::as_str);
        status.map(bounded).ok_or_else(|| QmpError::Protocol("query-status has no status".into()))
    }

    /// Whether KVM runs the guest.
    pub async fn query_kvm(&self) -> Result<bool, QmpError> {
        let value = self.execute("query-kvm", None).await?;
        let enabled = value.get("enabled").and_then(Value::as_bool);
        enabled.ok_or_else(|| QmpError::Protocol("query-kvm does not say whether it is enabled".into()))
    }

    /// Whether the guest's driver runs the virtio device at this path of QEMU's object model.
    pub async fn is_driven(&self, path: &str) -> Result<bool, QmpError> {
        let value = self.execute("x-query-virtio-status", Some(json!({ "path": path }))).await?;
        let statuses = value.pointer("/status/statuses").and_then(Value::as_array);
        let statuses = statuses.ok_or_else(|| QmpError::Protocol("a virtio device has no status".into()))?;
        Ok(statuses.iter().filter_map(Value::as_str).any(|word| word.starts_with("VIRTIO_CONFIG_S_DRIVER_OK")))
    }

    /// Passes input events on to the guest, all in one command. They are QAPI's `InputEvent` objects.
    pub async fn input_send_event(&self, events: Vec<Value>) -> Result<(), QmpError> {
        self.execute("input-send-event", Some(json!({ "events": events }))).await.map(drop)
    }
}

/// Sends as many of the bytes as the socket takes, the descriptor with the first.
fn send_with_fd(stream: &UnixStream, bytes: &[u8], fd: &OwnedFd) -> io::Result<usize> {
    stream.try_io(Interest::WRITABLE, || {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let fds = [fd.as_fd()];
        if !control.push(SendAncillaryMessage::ScmRights(&fds)) {
            return Err(io::Error::other("no room for a descriptor"));
        }
        Ok(rustix::net::sendmsg(stream, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL)?)
    })
}

fn io_error(error: io::Error) -> QmpError {
    QmpError::Io(error.to_string())
}

/// Text of QEMU that is shown to a person: short, one line, nothing that moves a terminal's cursor.
fn bounded(text: &str) -> String {
    phyllome_protocol::text::plain(text, 300, ' ')
}

/// Cuts what arrives into lines; an unfinished line is never longer than [`MAX_LINE`].
#[derive(Debug, Default)]
struct Lines {
    bytes: Vec<u8>,
    scanned: usize,
}

impl Lines {
    fn push(&mut self, bytes: &[u8]) -> Result<(), QmpError> {
        if self.bytes.len().saturating_add(bytes.len()) > MAX_LINE {
            return Err(QmpError::Protocol(format!("a line is longer than {MAX_LINE} bytes")));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn next(&mut self) -> Option<Vec<u8>> {
        let found = self.bytes.get(self.scanned..).and_then(|rest| rest.iter().position(|b| *b == b'\n'));
        let Some(found) = found else {
            self.scanned = self.bytes.len();
            if self.bytes.is_empty() && self.bytes.capacity() > 64 * 1024 {
                self.bytes = Vec::new();
            }
            return None;
        };
        let end = self.scanned + found;
        self.scanned = 0;
        Some(self.bytes.drain(..=end).collect())
    }
}

/// Any line of QEMU.
#[derive(Debug, Deserialize)]
struct Incoming {
    #[serde(rename = "QMP")]
    greeting: Option<IgnoredAny>,
    event: Option<String>,
    data: Option<Value>,
    id: Option<u64>,
    #[serde(default, rename = "return", deserialize_with = "present")]
    value: Option<Value>,
    error: Option<Refusal>,
}

#[derive(Debug, Deserialize)]
struct Refusal {
    desc: String,
}

/// `"return": null` is an answer too.
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

fn parse(line: &[u8]) -> Result<Incoming, QmpError> {
    serde_json::from_slice(line).map_err(|error| QmpError::Protocol(bounded(&error.to_string())))
}

fn event_from(name: &str, data: Option<&Value>) -> Option<QmpEvent> {
    let guest = data.and_then(|d| d.get("guest")).and_then(Value::as_bool).unwrap_or(false);
    Some(match name {
        "STOP" => QmpEvent::Stop,
        "RESUME" => QmpEvent::Resume,
        "RESET" => QmpEvent::Reset { guest },
        "POWERDOWN" => QmpEvent::Powerdown,
        "GUEST_PANICKED" => QmpEvent::Panicked,
        "SHUTDOWN" => {
            let reason = data.and_then(|d| d.get("reason")).and_then(Value::as_str).unwrap_or("unknown");
            QmpEvent::Shutdown { guest, reason: bounded(reason) }
        }
        _ => return None,
    })
}

/// A command that waits for its answer.
type Pending = (&'static str, oneshot::Sender<Result<Value, QmpError>>);

struct Connection {
    stream: UnixStream,
    lines: Lines,
    unsent: VecDeque<u8>,
    /// Descriptors, and how many bytes go out before the one that each goes with.
    fds: VecDeque<(usize, OwnedFd)>,
    pending: HashMap<u64, Pending>,
    next_id: u64,
    /// Events that the receiver has not taken yet. While there are any, nothing is read, so this stays short.
    untold: VecDeque<QmpEvent>,
}

impl Connection {
    fn new(stream: UnixStream) -> Self {
        Self {
            stream,
            lines: Lines::default(),
            unsent: VecDeque::new(),
            fds: VecDeque::new(),
            pending: HashMap::new(),
            next_id: 1,
            untold: VecDeque::new(),
        }
    }

    async fn negotiate(&mut self) -> Result<(), QmpError> {
        let greeting = self.next_line().await?;
        if parse(&greeting)?.greeting.is_none() {
            return Err(QmpError::Protocol("it did not greet".into()));
        }
        self.queue(0, "qmp_capabilities", None);
        loop {
            while !self.unsent.is_empty() {
                self.stream.writable().await.map_err(io_error)?;
                self.write()?;
            }
            let line = self.next_line().await?;
            let incoming = parse(&line)?;
            if let Some(refusal) = incoming.error {
                let description = bounded(&refusal.desc);
                return Err(QmpError::Refused { command: "qmp_capabilities", description });
            }
            if incoming.id == Some(0) && incoming.value.is_some() {
                return Ok(());
            }
        }
    }

    async fn next_line(&mut self) -> Result<Vec<u8>, QmpError> {
        loop {
            if let Some(line) = self.lines.next() {
                return Ok(line);
            }
            self.stream.readable().await.map_err(io_error)?;
            self.read()?;
        }
    }

    fn queue(&mut self, id: u64, name: &str, arguments: Option<Value>) {
        let mut command = json!({ "execute": name, "id": id });
        if let (Some(object), Some(arguments)) = (command.as_object_mut(), arguments) {
            object.insert("arguments".into(), arguments);
        }
        self.unsent.extend(command.to_string().bytes());
        self.unsent.push_back(b'\n');
    }

    fn write(&mut self) -> Result<(), QmpError> {
        while !self.unsent.is_empty() {
            let (first, _) = self.unsent.as_slices();
            // Up to the next descriptor, which goes with the first byte of its own command.
            let next = self.fds.iter().map(|(before, _)| *before).find(|before| *before > 0);
            let part = next.and_then(|next| first.get(..next)).unwrap_or(first);
            let sent = match self.fds.front() {
                Some((0, fd)) => send_with_fd(&self.stream, part, fd),
                _ => self.stream.try_write(part),
            };
            match sent {
                Ok(written) => {
                    self.unsent.drain(..written);
                    if written > 0 && self.fds.front().is_some_and(|(before, _)| *before == 0) {
                        self.fds.pop_front();
                    }
                    for (before, _) in &mut self.fds {
                        *before = before.saturating_sub(written);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(io_error(error)),
            }
        }
        Ok(())
    }

    fn read(&mut self) -> Result<(), QmpError> {
        let mut chunk = [0u8; 8192];
        match self.stream.try_read(&mut chunk) {
            Ok(0) => Err(QmpError::Closed),
            Ok(count) => self.lines.push(chunk.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(io_error(error)),
        }
    }

    fn take(&mut self, line: &[u8]) -> Result<(), QmpError> {
        let incoming = parse(line)?;
        if let Some(name) = incoming.event {
            tracing::debug!(event = %bounded(&name), "QMP");
            self.untold.extend(event_from(&name, incoming.data.as_ref()));
            return Ok(());
        }
        let Some((command, answer)) = incoming.id.and_then(|id| self.pending.remove(&id)) else { return Ok(()) };
        let result = match (incoming.value, incoming.error) {
            (_, Some(refusal)) => Err(QmpError::Refused { command, description: bounded(&refusal.desc) }),
            (Some(value), None) => Ok(value),
            (None, None) => Err(QmpError::Protocol(format!("its answer to {command} is empty"))),
        };
        // Whoever asked may have given up waiting.
        let _ = answer.send(result);
        Ok(())
    }

    fn send(&mut self, command: Command) {
        if self.pending.len() >= MAX_PENDING {
            self.pending.retain(|_, (_, answer)| !answer.is_closed());
        }
        if self.pending.len() >= MAX_PENDING || self.unsent.len() >= MAX_UNSENT {
            let _ = command.answer.send(Err(QmpError::Busy));
            return;
        }
        let id = self.next_id;
        self.next_id = self.next_id.wrapping_add(1).max(1);
        self.fds.extend(command.fd.map(|fd| (self.unsent.len(), fd)));
        self.queue(id, command.name, command.arguments);
        self.pending.insert(id, (command.name, command.answer));
    }

    async fn run(mut self, mut commands: mpsc::Receiver<Command>, events: mpsc::Sender<QmpEvent>) {
        let error = loop {
            if let Err(error) = self.turn(&mut commands, &events).await {
                break error;
            }
        };
        for (_, (_, answer)) in self.pending.drain() {
            let _ = answer.send(Err(error.clone()));
        }
        let _ = events.send(QmpEvent::Closed(error)).await;
    }

    async fn turn(
        &mut self,
        commands: &mut mpsc::Receiver<Command>,
        events: &mpsc::Sender<QmpEvent>,
    ) -> Result<(), QmpError> {
        while self.untold.is_empty() {
            let Some(line) = self.lines.next() else { break };
            self.take(&line)?;
        }
        tokio::select! {
            permit = events.reserve(), if !self.untold.is_empty() => {
                let permit = permit.map_err(|_| QmpError::Closed)?;
                if let Some(event) = self.untold.pop_front() {
                    permit.send(event);
                }
            }
            ready = self.stream.readable(), if self.untold.is_empty() => {
                ready.map_err(io_error)?;
                self.read()?;
            }
            ready = self.stream.writable(), if !self.unsent.is_empty() => {
                ready.map_err(io_error)?;
                self.write()?;
            }
            command = commands.recv() => match command {
                Some(command) => self.send(command),
                None => return Err(QmpError::Closed),
            },
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "qmp_tests.rs"]
mod tests;
