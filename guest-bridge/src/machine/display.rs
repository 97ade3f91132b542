//! QEMU's D-Bus display, of which two things are used: it is told the size of each monitor, which makes it raise the
//! display event that the guest's driver acts upon, and it tells the lights of the keyboard.
//!
//! The connection is a socketpair that QEMU gets by QMP; there is no bus. QEMU is not trusted: messages are at most
//! [`MAX_MESSAGE`] bytes, descriptors are not taken, a call that is not answered is given up, and whatever fails costs
//! the guest its live resize and nothing else. Without anything to tell or to hear it sleeps.

use super::events::{Generation, MachineEvent};
use super::monitors::{Modes, Monitors};
use super::qmp::Qmp;
use crate::frames::PreferredMode;
use phyllome_protocol::ScanoutId;
use phyllome_protocol::control::Leds;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::pin::Pin;
use std::time::{Duration, Instant};
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::net::unix::OwnedReadHalf;
use tokio::sync::{mpsc, watch};
use zbus::connection::socket::{ReadHalf, Split};
use zbus::export::async_trait::async_trait;
use zbus::export::futures_core::Stream;
use zbus::zvariant::{OwnedValue, Value};
use zbus::{Connection, Message, MessageStream};

/// Longest message that QEMU may send, in bytes. What is used of it takes a few hundred.
pub const MAX_MESSAGE: usize = 64 * 1024;
/// How long QEMU may take to answer the handshake or a call.
const ANSWER_TIME: Duration = Duration::from_secs(10);
/// Calls that may fail before no more are made to this QEMU.
const MAX_FAILURES: u32 = 3;
/// Messages that may wait to be looked at; beyond, QEMU has to wait.
const MAX_QUEUED: usize = 8;

const CONSOLE: &str = "org.qemu.Display1.Console";
const KEYBOARD: &str = "org.qemu.Display1.Keyboard";

/// Why the display cannot be used.
#[derive(Debug, thiserror::Error)]
enum DisplayError {
    #[error("its sockets cannot be made: {0}")]
    Socket(#[from] std::io::Error),
    #[error("{0}")]
    Qmp(#[from] super::qmp::QmpError),
    #[error("{0}")]
    Bus(#[from] zbus::Error),
    #[error("it did not answer within {} s", ANSWER_TIME.as_secs())]
    Timeout,
}

/// Serves one QEMU until its connection ends. `known` are the modes that the guest finds when it starts.
pub async fn run(
    generation: Generation,
    qmp: Qmp,
    known: Modes,
    mut modes: watch::Receiver<Modes>,
    events: mpsc::Sender<MachineEvent>,
) {
    let messages = match tokio::time::timeout(ANSWER_TIME, connect(&qmp)).await.unwrap_or(Err(DisplayError::Timeout)) {
        Ok(connection) => connection,
        Err(error) => {
            tracing::warn!(%error, "QEMU's display cannot be used; the guest hears of another size when it next asks");
            return;
        }
    };
    tracing::debug!("connected to QEMU's display");
    let display = Display { generation, connection: Connection::from(&messages), events, nudge: 0, failures: 0 };
    display.serve(messages, Monitors::new(&known), &mut modes).await;
}

async fn connect(qmp: &Qmp) -> Result<MessageStream, DisplayError> {
    let (here, there) = StdUnixStream::pair()?;
    here.set_nonblocking(true)?;
    let name = serde_json::json!({ "fdname": "phyllome-display" });
    qmp.execute_with_fd("getfd", Some(name), OwnedFd::from(there)).await?;
    let client = serde_json::json!({ "protocol": "@dbus-display", "fdname": "phyllome-display" });
    qmp.execute("add_client", Some(client)).await?;
    connection(here).await
}

async fn connection(socket: StdUnixStream) -> Result<MessageStream, DisplayError> {
    let (read, write) = UnixStream::from_std(socket)?.into_split();
    let (read, write): (Box<dyn ReadHalf>, Box<_>) = (Box::new(Bounded(Plain(read))), Box::new(write));
    let builder =
        zbus::connection::Builder::socket(Split::new(read, write as Box<dyn zbus::connection::socket::WriteHalf>));
    let connection = builder.p2p().max_queued(MAX_QUEUED).method_timeout(ANSWER_TIME).build().await?;
    Ok(MessageStream::from(&connection))
}

struct Display {
    generation: Generation,
    connection: Connection,
    events: mpsc::Sender<MachineEvent>,
    /// QEMU takes a size that it knows for no event, though the monitor's refresh rate may be another. Its offset,
    /// which means nothing here, tells them apart.
    nudge: i32,
    failures: u32,
}

impl Display {
    async fn serve(mut self, mut messages: MessageStream, mut monitors: Monitors, modes: &mut watch::Receiver<Modes>) {
        monitors.want(&modes.borrow_and_update(), Instant::now());
        let mut call: Option<Pin<Box<dyn Future<Output = zbus::Result<Message>> + Send>>> = None;
        let mut wanted = true;
        loop {
            if call.is_none()
                && self.failures < MAX_FAILURES
                && let Some((id, mode)) = monitors.take(Instant::now())
            {
                call = Some(self.set_ui_info(id, mode));
            }
            let due = monitors.deadline().filter(|_| call.is_none() && self.failures < MAX_FAILURES);
            let alarm = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due.into()).await,
                    None => std::future::pending().await,
                }
            };
            let answer = async {
                match &mut call {
                    Some(call) => call.await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                message = next(&mut messages) => match message {
                    Some(Ok(message)) => {
                        if let Some(leds) = leds(&message)
                            && self.events.send(MachineEvent::Leds(self.generation, leds)).await.is_err()
                        {
                            return;
                        }
                    }
                    Some(Err(error)) => {
                        tracing::debug!(%error, "the connection to QEMU's display has ended");
                        return;
                    }
                    None => return,
                },
                changed = modes.changed(), if wanted => {
                    wanted = changed.is_ok();
                    monitors.want(&modes.borrow_and_update(), Instant::now());
                }
                answer = answer => {
                    call = None;
                    if let Err(error) = answer {
                        self.failures += 1;
                        tracing::warn!(%error, "QEMU did not take a monitor's size; the guest hears of it when it next asks");
                    }
                }
                () = alarm => {}
            }
        }
    }

    /// `SetUIInfo(width_mm, height_mm, xoff, yoff, width, height)`.
    fn set_ui_info(
        &mut self,
        id: ScanoutId,
        mode: PreferredMode,
    ) -> Pin<Box<dyn Future<Output = zbus::Result<Message>> + Send>> {
        self.nudge = 1 - self.nudge;
        let mm = |value: u32| u16::try_from(value).unwrap_or(u16::MAX);
        let arguments = (mm(mode.width_mm), mm(mode.height_mm), self.nudge, 0i32, mode.width, mode.height);
        let connection = self.connection.clone();
        tracing::debug!(
            scanout = id.get(),
            width = mode.width,
            height = mode.height,
            "a monitor's size goes to the guest"
        );
        Box::pin(async move {
            let path = format!("/org/qemu/Display1/Console_{}", id.get());
            connection.call_method(None::<&str>, path, Some(CONSOLE), "SetUIInfo", &arguments).await
        })
    }
}

async fn next(messages: &mut MessageStream) -> Option<zbus::Result<Message>> {
    std::future::poll_fn(|context| Pin::new(&mut *messages).poll_next(context)).await
}

/// The lights that a message tells of: `PropertiesChanged` of a keyboard, with its property `Modifiers`.
fn leds(message: &Message) -> Option<Leds> {
    let header = message.header();
    let is_signal = message.message_type() == zbus::message::Type::Signal;
    if !is_signal || header.member()?.as_str() != "PropertiesChanged" {
        return None;
    }
    type Changed<'a> = (&'a str, std::collections::HashMap<&'a str, OwnedValue>, Vec<&'a str>);
    let body = message.body();
    let (interface, changed, _): Changed = body.deserialize().ok()?;
    let bits = match (interface, &**changed.get("Modifiers")?) {
        (KEYBOARD, Value::U32(bits)) => *bits,
        _ => return None,
    };
    // QEMU_SCROLL_LOCK_LED, QEMU_NUM_LOCK_LED, QEMU_CAPS_LOCK_LED.
    Some(Leds { scroll: bits & 1 != 0, num: bits & 2 != 0, caps: bits & 4 != 0 })
}

/// Bytes alone: descriptors that QEMU sends are dropped by the kernel.
#[derive(Debug)]
struct Plain(OwnedReadHalf);

#[async_trait]
impl ReadHalf for Plain {
    async fn recvmsg(&mut self, buffer: &mut [u8]) -> std::io::Result<(usize, Vec<OwnedFd>)> {
        Ok((self.0.read(buffer).await?, Vec::new()))
    }
}

/// Refuses a message that is too long before room is made for it.
#[derive(Debug)]
struct Bounded(Plain);

#[async_trait]
impl ReadHalf for Bounded {
    async fn receive_message(
        &mut self,
        sequence: u64,
        received: &mut Vec<u8>,
        fds: &mut Vec<OwnedFd>,
    ) -> zbus::Result<Message> {
        let mut header = [0; 16];
        while received.len() < header.len() {
            let room = header.len() - received.len();
            let part = header.get_mut(..room).unwrap_or_default();
            let (count, _) = self.0.recvmsg(part).await?;
            if count == 0 {
                return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into());
            }
            received.extend_from_slice(part.get(..count).unwrap_or_default());
        }
        if message_length(received).is_none_or(|length| length > MAX_MESSAGE) {
            return Err(std::io::Error::other("a message is too long").into());
        }
        self.0.receive_message(sequence, received, fds).await
    }

    async fn recvmsg(&mut self, buffer: &mut [u8]) -> std::io::Result<(usize, Vec<OwnedFd>)> {
        self.0.recvmsg(buffer).await
    }
}

/// Length in bytes that a message's first sixteen bytes announce, its padding left out; `None` if it overflows or they
/// are too few.
fn message_length(start: &[u8]) -> Option<usize> {
    let word = |at: usize| {
        let bytes = start.get(at..at + 4)?.try_into().ok()?;
        let value = if start.first() == Some(&b'B') { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) };
        usize::try_from(value).ok()
    };
    word(4)?.checked_add(word(12)?)?.checked_add(16)
}

#[cfg(test)]
#[path = "display_tests.rs"]
mod tests;
