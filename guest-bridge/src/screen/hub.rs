//! The loop of the screen: device, compositor and machine meet here.
//!
//! Nothing is done and nobody is woken while none of them has anything to say.

#![cfg_attr(
    not(test),
    deny(clippy::wildcard_enum_match_arm, reason = "a new request, command or event is not to be taken for another")
)]

use super::desktop::on_desktop;
use super::input::Outbox;
use super::link::{Link, LinkEvent};
use super::model::Model;
use super::{Command, DeviceSink, FromScreen, Handle, InputEvent, ScreenReport, SharedScreenReport};
use crate::frames::{ToDevice, ToScreen};
use phyllome_protocol::ScanoutId;
use std::os::unix::net::UnixStream;
use std::sync::MutexGuard;
use tokio::sync::mpsc;

/// Messages of the device that are taken before anything is shown, so that only the newest of each kind counts.
const BATCH: usize = 64;

/// Keeps every scanout's present picture and shows it wherever a compositor is.
pub struct Hub {
    title: String,
    scanouts: u32,
    commands: mpsc::UnboundedReceiver<Command>,
    events: mpsc::Sender<FromScreen>,
    device: Option<mpsc::Receiver<ToScreen>>,
    /// A frame of the device that is here now has come.
    flushed: bool,
    report: SharedScreenReport,
    model: Model,
    link: Option<Link>,
    outbox: Outbox,
    replies: Replies,
}

/// What the device is told; forgotten where there is none.
#[derive(Default)]
struct Replies {
    sink: Option<DeviceSink>,
}

impl Replies {
    fn send(&mut self, message: ToDevice) {
        if let Some(sink) = &mut self.sink {
            sink(message);
        }
    }

    fn presented(&mut self, id: ScanoutId, serial: impl Into<Option<u64>>) {
        if let Some(serial) = serial.into() {
            self.send(ToDevice::Presented { id, serial });
        }
    }
}

enum Woken {
    Command(Option<Command>),
    Device(Option<ToScreen>),
    Link,
    Sent,
}

impl Hub {
    /// A hub without a device and without a compositor. `title` is the guest's name, `scanouts` how
    /// many scanouts its device has (each gets a window at once, unmapped, so that its mode is known early); what the
    /// person does goes to `events`, whose capacity should be 64 or more.
    pub fn new(title: String, scanouts: u32, events: mpsc::Sender<FromScreen>) -> (Self, Handle) {
        let (sender, commands) = mpsc::unbounded_channel();
        let report = SharedScreenReport::default();
        let handle = Handle { commands: sender, report: report.clone() };
        let hub = Self {
            title,
            scanouts,
            commands,
            events,
            device: None,
            flushed: false,
            report,
            model: Model::default(),
            link: None,
            outbox: Outbox::default(),
            replies: Replies::default(),
        };
        (hub, handle)
    }

    /// Runs until the last [`Handle`] is dropped.
    pub async fn run(mut self) {
        loop {
            match self.wait().await {
                Woken::Command(None) => break,
                Woken::Command(Some(Command::Attach(stream))) => self.attach(stream),
                Woken::Command(Some(Command::Detach)) => self.detach("The guest was told to show itself no more."),
                Woken::Command(Some(Command::Device(receiver, sink))) => self.replace_device(receiver, sink),
                Woken::Device(None) => self.device_is_gone(),
                Woken::Device(Some(message)) => self.take_messages(message),
                Woken::Link => {
                    if let Some(Err(reason)) = self.link.as_mut().map(Link::turn) {
                        self.detach(&reason);
                    }
                }
                Woken::Sent => {}
            }
            self.end_turn();
        }
        self.detach("The guest is no longer shown.");
    }

    async fn wait(&mut self) -> Woken {
        let device = async {
            match &mut self.device {
                Some(device) => device.recv().await,
                None => std::future::pending().await,
            }
        };
        let link = async {
            match &self.link {
                Some(link) => link.wait().await,
                None => std::future::pending().await,
            }
        };
        let room = async {
            if self.outbox.is_empty() {
                return std::future::pending().await;
            }
            match self.events.reserve().await {
                Ok(permit) => {
                    if let Some(event) = self.outbox.pop() {
                        permit.send(event);
                    }
                }
                // Nobody listens any more.
                Err(_) => while self.outbox.pop().is_some() {},
            }
        };
        tokio::select! {
            command = self.commands.recv() => Woken::Command(command),
            message = device => Woken::Device(message),
            () = link => Woken::Link,
            () = room => Woken::Sent,
        }
    }

    fn attach(&mut self, stream: UnixStream) {
        self.detach("Another compositor took over.");
        match Link::open(stream, self.title.clone(), self.scanouts, self.report.clone()) {
            Ok(link) => self.link = Some(link),
            Err(reason) => self.outbox.push(FromScreen::Detached(reason)),
        }
    }

    fn detach(&mut self, reason: &str) {
        let Some(link) = self.link.take() else { return };
        let was_ready = link.is_ready();
        let (lost, events) = link.close();
        events.into_iter().for_each(|event| self.take_event(event));
        for (id, serial) in lost {
            let answer = self.model.lost(id, serial);
            self.replies.presented(id, answer);
        }
        if was_ready {
            self.replies.send(ToDevice::Attached(false));
        }
        self.report().attached = false;
        tracing::info!("{reason}");
        self.outbox.push(FromScreen::Detached(reason.to_owned()));
    }

    fn replace_device(&mut self, receiver: mpsc::Receiver<ToScreen>, sink: DeviceSink) {
        (self.device, self.flushed) = (Some(receiver), false);
        self.replies.sink = Some(sink);
        // Whatever is owed was owed to the former one.
        self.model.reset();
        let ready = self.link.as_ref().is_some_and(Link::is_ready);
        if let Some(link) = &mut self.link {
            link.reset();
            link.forget_flights();
            link.forget_modes();
        }
        self.replies.send(ToDevice::Attached(ready));
    }

    /// Its pictures go dark; another one may come.
    fn device_is_gone(&mut self) {
        self.device = None;
        self.replies.sink = None;
        self.reset();
    }

    fn reset(&mut self) {
        for (id, serial) in self.model.reset() {
            self.replies.presented(id, serial);
        }
        if let Some(link) = &mut self.link {
            link.reset();
        }
    }

    fn take_messages(&mut self, first: ToScreen) {
        self.take_message(first);
        for _ in 1..BATCH {
            let Some(Ok(message)) = self.device.as_mut().map(|device| device.try_recv()) else { return };
            self.take_message(message);
        }
    }

    fn take_message(&mut self, message: ToScreen) {
        match message {
            ToScreen::Scanout { id, picture } => {
                let (another, answer) = self.model.set_picture(id, picture);
                self.replies.presented(id, answer);
                self.outbox.push(FromScreen::ScanoutsChanged);
                if let Some(link) = self.link.as_mut().filter(|_| another) {
                    link.replace_picture(id);
                }
            }
            ToScreen::Flush { id, serial, damage } => {
                let answer = self.model.flush(id, serial);
                self.replies.presented(id, answer);
                if !std::mem::replace(&mut self.flushed, true) {
                    self.outbox.push(FromScreen::ScanoutsChanged);
                }
                if let Some(link) = &mut self.link {
                    link.damage(id, &damage);
                }
            }
            ToScreen::Cursor { id, image } => {
                self.model.set_cursor(id, image);
                if let Some(link) = &mut self.link {
                    link.cursor_changed(id);
                }
            }
            ToScreen::Reset => {
                self.outbox.push(FromScreen::ScanoutsChanged);
                self.reset();
            }
        }
    }

    fn end_turn(&mut self) {
        if let Some(Err(reason)) = self.link.as_mut().map(|link| link.show(&mut self.model)) {
            self.detach(&reason);
        }
        while let Some(event) = self.link.as_mut().and_then(Link::next_event) {
            self.take_event(event);
        }
        // What fits is sent at once; the loop waits for room for the rest.
        while !self.outbox.is_empty()
            && let Ok(permit) = self.events.try_reserve()
            && let Some(event) = self.outbox.pop()
        {
            permit.send(event);
        }
    }

    fn take_event(&mut self, event: LinkEvent) {
        match event {
            LinkEvent::Ready => {
                self.report().attached = true;
                tracing::info!("a compositor shows this guest");
                self.replies.send(ToDevice::Attached(true));
                self.outbox.push(FromScreen::Attached);
            }
            LinkEvent::Presented { id, serial } => {
                self.report().scanouts.entry(id).or_default().presented += 1;
                self.replies.presented(id, serial);
            }
            LinkEvent::Unshown { id, serial } => self.replies.presented(id, serial),
            LinkEvent::Displayed(id) => self.report().scanouts.entry(id).or_default().displayed += 1,
            LinkEvent::Close => self.outbox.push(FromScreen::CloseRequested),
            LinkEvent::Machine(event) => self.outbox.push(event),
            LinkEvent::Pointed { id, at } => {
                let heads = self.model.iter().filter_map(|(id, scanout)| Some((id, scanout.picture.as_ref()?)));
                let (x, y) = on_desktop(heads, id, at);
                self.outbox.push(FromScreen::Input(InputEvent::Abs { x, y, scanout: id }));
            }
            LinkEvent::Never(buffer) => self.replies.send(ToDevice::Refused { buffer }),
            LinkEvent::Mode { id, mode } => self.replies.send(ToDevice::Mode { id, mode }),
        }
    }

    fn report(&self) -> MutexGuard<'_, ScreenReport> {
        // Counters are right whoever panicked.
        self.report.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}
