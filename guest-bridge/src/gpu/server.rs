//! One vhost-user connection on one thread: the socket, the kicks, the screen's messages and the slow timer in one
//! epoll.
//!
//! It trusts the screen; QEMU's messages are checked by the vhost crate and by [`super::requests`]. The thread sleeps
//! while nothing happens: the timer is armed only while a fence or an unsaid message waits. When QEMU hangs up it ends
//! by itself and closes all that it had.
//!
//! vhost's request handler is driven here and not by vhost-user-backend's daemon, because that takes no connected
//! socket, has two threads and a lock around every request, ends its worker for good at the first error, and leaves
//! descriptors open.

use super::inbox::Inbox;
use super::reporting::Reporting;
use super::service::{CHANNEL, KICK, Service};
use super::{DeviceConfig, Transport};
use crate::frames::{SharedGpuReport, ToDevice, ToScreen};
use crate::halt_poll::HaltPoll;
use crate::renderer::client::Client;
use rustix::event::{EventfdFlags, epoll};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;
use tokio::sync::watch;
use vhost::vhost_user::{BackendReqHandler, Error};

// What the epoll says of each descriptor; those that `Service` adds itself are named there.
const SOCKET: u64 = 0;
const WAKE: u64 = 1;
const TIMER: u64 = 2;
const RENDERER: u64 = 3;
/// `VHOST_USER_SET_BACKEND_REQ_FD`.
const SET_BACKEND_REQ_FD: u32 = 21;

/// Why a device ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceEnd {
    /// QEMU closed its end: it has ended.
    HungUp,
    /// [`DeviceHandle::shutdown`] was called.
    ShutDown,
    /// QEMU sent what the protocol does not allow, or the host failed; one sentence.
    Failed(String),
}

/// Takes [`ToDevice`] messages and wakes the device for them. Cheap to clone; messages to a device that has ended go
/// nowhere.
#[derive(Clone, Debug)]
pub struct DeviceSender {
    inbox: Arc<Mutex<Inbox>>,
    wake: Arc<OwnedFd>,
}

impl DeviceSender {
    /// Hands `message` to the device. Never blocks, and nothing grows: of messages that the device has not taken yet the
    /// newest of each kind counts.
    pub fn send(&self, message: ToDevice) {
        lock(&self.inbox).put(message);
        wake(&self.wake);
    }

    /// The machine was reset (QMP event `RESET`): if no driver has the device now, its resources are freed and the
    /// screens go dark at once instead of at the next driver's start.
    pub fn machine_reset(&self) {
        lock(&self.inbox).put_reset();
        wake(&self.wake);
    }
}

/// An eventfd whose counter is full wakes as well as one that was just written to.
fn wake(eventfd: &OwnedFd) {
    let _ = rustix::io::write(eventfd, &1u64.to_ne_bytes());
}

/// A running device. Dropping it shuts it down and waits for its thread.
#[derive(Debug)]
pub struct DeviceHandle {
    sender: DeviceSender,
    socket: UnixStream,
    stopping: Arc<AtomicBool>,
    ended: watch::Receiver<Option<DeviceEnd>>,
    thread: Option<JoinHandle<()>>,
}

impl DeviceHandle {
    /// Where messages to the device go.
    pub fn sender(&self) -> DeviceSender {
        self.sender.clone()
    }

    /// Waits until the device has ended by itself. Cancel-safe; needs no particular runtime.
    pub async fn ended(&mut self) -> DeviceEnd {
        let ended = self.ended.wait_for(Option::is_some).await.ok().and_then(|end| end.clone());
        ended.unwrap_or_else(broken)
    }

    /// Ends the device and waits for its thread: a few milliseconds. Every descriptor is closed afterwards.
    pub fn shutdown(mut self) -> DeviceEnd {
        self.stop();
        self.end()
    }

    /// Waits for the thread of a device that ends by itself. Blocks.
    pub fn join(mut self) -> DeviceEnd {
        self.wait();
        self.end()
    }

    fn end(&self) -> DeviceEnd {
        self.ended.borrow().clone().unwrap_or_else(broken)
    }

    fn stop(&mut self) {
        self.stopping.store(true, Ordering::Release);
        // A socket that is closed already needs no closing; this also ends a read that waits for the rest of a message.
        let _ = self.socket.shutdown(Shutdown::Both);
        wake(&self.sender.wake);
        self.wait();
    }

    fn wait(&mut self) {
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has said so on standard error, and `end` tells the owner.
            let _ = thread.join();
        }
    }
}

impl Drop for DeviceHandle {
    fn drop(&mut self) {
        if self.thread.is_some() {
            self.stop();
        }
    }
}

fn broken() -> DeviceEnd {
    DeviceEnd::Failed("the virtio-gpu device broke off; its last words are in the guest's log".to_owned())
}

/// Starts a device on `socket`, our end of a vhost-user connection (QEMU has the other).
///
/// `renderer` is one that is ready, or there is no 3D. `to_screen` is a channel of [`crate::frames::TO_SCREEN_DEPTH`];
/// the device never waits for it. `report` starts anew. Fails where the host gives no thread, eventfd, timerfd or
/// epoll.
pub fn spawn(
    config: DeviceConfig,
    renderer: Option<Client>,
    socket: UnixStream,
    to_screen: tokio::sync::mpsc::Sender<ToScreen>,
    report: SharedGpuReport,
) -> io::Result<DeviceHandle> {
    // The request reader does not know of sockets that say "again".
    socket.set_nonblocking(false)?;
    let epoll = Arc::new(epoll::create(epoll::CreateFlags::CLOEXEC)?);
    let eventfd = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
    let timer = Timer::new()?;
    for (fd, token) in [(&eventfd, WAKE), (&timer.fd, TIMER)] {
        epoll::add(&*epoll, fd, epoll::EventData::new_u64(token), epoll::EventFlags::IN)?;
    }
    epoll::add(&*epoll, &socket, epoll::EventData::new_u64(SOCKET), epoll::EventFlags::IN)?;
    if let Some(renderer) = &renderer {
        epoll::add(&*epoll, renderer.fd(), epoll::EventData::new_u64(RENDERER), epoll::EventFlags::IN)?;
    }
    let report = Reporting::begin(report);
    let service = Service::new(&config, renderer, epoll.clone(), to_screen.clone(), report.clone())?;

    let inbox = Arc::<Mutex<Inbox>>::default();
    let wake = Arc::new(eventfd);
    let stopping = Arc::new(AtomicBool::new(false));
    let (end_sender, ended) = watch::channel(None);
    let looper = Loop {
        epoll,
        wake: wake.clone(),
        timer,
        inbox: inbox.clone(),
        stopping: stopping.clone(),
        service: Arc::new(Mutex::new(service)),
        socket: socket.try_clone()?,
        generic: config.transport == Transport::Generic,
        halt_poll: HaltPoll::default(),
    };
    let reader = socket.try_clone()?;
    let thread = std::thread::Builder::new().name("virtio-gpu".to_owned()).spawn(move || {
        let end = looper.run(reader);
        tracing::debug!(?end, "the virtio-gpu device ended");
        report.write(|last| (last.scanouts, last.resource_bytes) = (Vec::new(), 0));
        // A full channel has a reader who will see it closed.
        let _ = to_screen.try_send(ToScreen::Reset);
        end_sender.send_replace(Some(end));
    })?;
    Ok(DeviceHandle { sender: DeviceSender { inbox, wake }, socket, stopping, ended, thread: Some(thread) })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The socket in the next message, if that is the one which brings QEMU's socket for requests of ours. The crate that
/// reads messages gives such a socket only to a type of its own, which cannot say all that there is to say and waits
/// for every answer.
fn backend_channel(socket: &UnixStream) -> Option<OwnedFd> {
    let mut header = [0; 4];
    let peek = RecvFlags::PEEK | RecvFlags::DONTWAIT;
    let (count, _) = rustix::net::recv(socket, &mut header[..], peek).ok()?;
    if count != header.len() || u32::from_le_bytes(header) != SET_BACKEND_REQ_FD {
        return None;
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = peek | RecvFlags::CMSG_CLOEXEC;
    rustix::net::recvmsg(socket, &mut [IoSliceMut::new(&mut header)], &mut control, flags).ok()?;
    let rights = control.drain().filter_map(|part| match part {
        RecvAncillaryMessage::ScmRights(files) => Some(files),
        _ => None,
    });
    // More than one is refused by whoever takes the message.
    rights.flatten().last()
}

/// The timer: armed for the earliest deadline, and not at all without one.
struct Timer {
    fd: OwnedFd,
    armed: Option<Instant>,
}

impl Timer {
    fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        Ok(Self { fd: rustix::time::timerfd_create(TimerfdClockId::Monotonic, flags)?, armed: None })
    }

    fn fired(&mut self) {
        let _ = rustix::io::read(&self.fd, &mut [0u8; 8]);
        self.armed = None;
    }

    /// Wakes at `deadline`. A timer that is armed for earlier is left: it costs one wake-up, and arming costs a call.
    fn wake_at(&mut self, deadline: Option<Instant>, now: Instant) -> io::Result<()> {
        let Some(deadline) = deadline else { return Ok(()) };
        if self.armed.is_some_and(|armed| armed <= deadline) {
            return Ok(());
        }
        let wait = deadline.saturating_duration_since(now).max(std::time::Duration::from_micros(1));
        let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
        let value = Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: wait.subsec_nanos().into() };
        let setting = Itimerspec { it_interval: zero, it_value: value };
        rustix::time::timerfd_settime(&self.fd, TimerfdTimerFlags::empty(), &setting)?;
        self.armed = Some(deadline);
        Ok(())
    }
}

struct Loop {
    epoll: Arc<OwnedFd>,
    wake: Arc<OwnedFd>,
    timer: Timer,
    inbox: Arc<Mutex<Inbox>>,
    stopping: Arc<AtomicBool>,
    service: Arc<Mutex<Service>>,
    /// QEMU's end, to look at messages before they are taken.
    socket: UnixStream,
    generic: bool,
    /// Commands of 3D are answered by the renderer, and often soon.
    halt_poll: HaltPoll,
}

impl Loop {
    fn run(mut self, socket: UnixStream) -> DeviceEnd {
        let mut requests = BackendReqHandler::from_stream(socket, self.service.clone());
        let mut events = Vec::with_capacity(8);
        loop {
            let (pending, has_renderer) = {
                let service = lock(&self.service);
                (service.has_pending(), service.has_renderer())
            };
            events.clear();
            if let Err(error) = self.wait(&mut events, pending, has_renderer) {
                return DeviceEnd::Failed(format!("the virtio-gpu device cannot wait for events: {error}"));
            }
            if self.stopping.load(Ordering::Acquire) {
                return DeviceEnd::ShutDown;
            }
            for event in &events {
                match event.data.u64() {
                    SOCKET => {
                        if let Err(end) = self.request(&mut requests) {
                            return end;
                        }
                    }
                    WAKE => self.messages(),
                    TIMER => self.timer.fired(),
                    // Every round ends with a look at what it says.
                    RENDERER => {}
                    CHANNEL => lock(&self.service).channel_readable(),
                    kick => lock(&self.service).kicked(kick.saturating_sub(KICK) as usize),
                }
            }
            let now = Instant::now();
            let mut service = lock(&self.service);
            if pending {
                service.serve_pending();
            }
            let deadline = service.end_round(now);
            drop(service);
            if let Err(error) = self.timer.wake_at(deadline, now) {
                return DeviceEnd::Failed(format!("the virtio-gpu device cannot set its timer: {error}"));
            }
        }
    }

    /// Waits for events, unless work is `pending`.
    fn wait(&mut self, events: &mut Vec<epoll::Event>, pending: bool, has_renderer: bool) -> rustix::io::Result<()> {
        let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
        let mut wait = |timeout: Option<&Timespec>| match epoll::wait(
            &*self.epoll,
            rustix::buffer::spare_capacity(events),
            timeout,
        ) {
            Err(rustix::io::Errno::INTR) => Ok(0),
            other => other,
        };
        if pending || !has_renderer {
            return wait(pending.then_some(&zero)).map(drop);
        }
        let start = Instant::now();
        while start.elapsed() < self.halt_poll.look() {
            if wait(Some(&zero))? > 0 {
                return Ok(());
            }
            std::thread::yield_now();
        }
        wait(None)?;
        self.halt_poll.came(start.elapsed());
        Ok(())
    }

    fn messages(&self) {
        let _ = rustix::io::read(&*self.wake, &mut [0u8; 8]);
        let (machine_reset, said) = lock(&self.inbox).take();
        let mut service = lock(&self.service);
        if machine_reset {
            service.machine_reset();
        }
        said.into_iter().for_each(|message| service.message(message));
    }

    fn request(&self, requests: &mut BackendReqHandler<Mutex<Service>>) -> Result<(), DeviceEnd> {
        if self.generic
            && let Some(channel) = backend_channel(&self.socket)
        {
            lock(&self.service).set_channel(channel);
        }
        let Err(error) = requests.handle_request() else { return Ok(()) };
        if std::mem::take(&mut lock(&self.service).refused) {
            return Ok(());
        }
        Err(match error {
            _ if self.stopping.load(Ordering::Acquire) => DeviceEnd::ShutDown,
            Error::Disconnected | Error::PartialMessage | Error::SocketBroken(_) => DeviceEnd::HungUp,
            error => DeviceEnd::Failed(format!("QEMU's vhost-user connection does not follow the protocol: {error}")),
        })
    }
}

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;
