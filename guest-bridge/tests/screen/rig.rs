//! A hub with a device that a test plays, and the means to wait for what it does.

use phyllome_guest_bridge::frames::{Dmabuf, Picture, Plane, Rect, SharedBuffer, ToDevice, ToScreen};
use phyllome_guest_bridge::screen::{FromScreen, Handle, Hub, InputEvent};
use phyllome_protocol::ScanoutId;
use std::future::Future;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Long enough for a busy machine; nothing waits longer than it has to.
pub const DEADLINE: Duration = Duration::from_secs(20);

pub const XR24: u32 = u32::from_le_bytes(*b"XR24");
pub const AR24: u32 = u32::from_le_bytes(*b"AR24");
pub const RX24: u32 = u32::from_le_bytes(*b"RX24");

static NEXT_BUFFER: AtomicU64 = AtomicU64::new(1);

pub fn scanout(id: u32) -> ScanoutId {
    ScanoutId::new(id).unwrap()
}

pub fn rect(x: u32, y: u32, width: u32, height: u32) -> Rect {
    Rect { x, y, width, height }
}

/// Memory as the device makes it: a sealed memfd, rows of a multiple of 256 bytes, filled with one colour.
pub fn memory(width: u32, height: u32, fourcc: u32, pixel: [u8; 4], dmabuf: bool) -> Arc<SharedBuffer> {
    let stride = (width * 4).next_multiple_of(256);
    let content = pixel.repeat((stride / 4 * height) as usize);
    let file = std::fs::File::from(phyllome_test_support::memory::sealed_with(&content).unwrap());
    let dmabuf = dmabuf.then(|| Dmabuf::linear(file.try_clone().unwrap().into(), 0, stride));
    let id = NEXT_BUFFER.fetch_add(1, Ordering::Relaxed);
    Arc::new(SharedBuffer { id, memfd: Some(file.into()), dmabuf, width, height, stride, fourcc, replaceable: false })
}

/// A picture of a renderer's: a dmabuf of these planes (offset and stride), each of a file of its own.
pub fn given(width: u32, height: u32, planes: &[(u32, u32)], modifier: u64, bottom_up: bool) -> Arc<SharedBuffer> {
    let planes = planes.iter().map(|&(offset, stride)| {
        let size = u64::from(offset) + u64::from(stride) * u64::from(height);
        let file = phyllome_test_support::memory::zeros(size).unwrap();
        Plane { file, offset, stride }
    });
    let dmabuf = Dmabuf { planes: planes.collect(), modifier, bottom_up };
    let (id, stride) = (NEXT_BUFFER.fetch_add(1, Ordering::Relaxed), dmabuf.planes[0].stride);
    let (dmabuf, fourcc) = (Some(dmabuf), u32::from_le_bytes(*b"XR24"));
    Arc::new(SharedBuffer { id, memfd: None, dmabuf, width, height, stride, fourcc, replaceable: true })
}

pub fn whole(buffer: &Arc<SharedBuffer>) -> Picture {
    Picture { buffer: buffer.clone(), source: rect(0, 0, buffer.width, buffer.height) }
}

/// The guest draws.
pub fn paint(buffer: &SharedBuffer, area: Rect, pixel: [u8; 4]) {
    let file = std::fs::File::from(buffer.memfd.as_ref().unwrap().try_clone().unwrap());
    for y in area.y..area.y + area.height {
        let at = u64::from(y) * u64::from(buffer.stride) + u64::from(area.x) * 4;
        file.write_all_at(&pixel.repeat(area.width as usize), at).unwrap();
    }
}

/// Counts how often a future is woken.
struct Counted<F> {
    future: Pin<Box<F>>,
    polls: Arc<AtomicU64>,
}

impl<F: Future> Future for Counted<F> {
    type Output = F::Output;
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        self.polls.fetch_add(1, Ordering::Relaxed);
        self.future.as_mut().poll(context)
    }
}

pub struct Rig {
    pub handle: Handle,
    device: mpsc::Sender<ToScreen>,
    pub answers: Vec<ToDevice>,
    answer_receiver: std::sync::mpsc::Receiver<ToDevice>,
    pub events: Vec<FromScreen>,
    event_receiver: mpsc::Receiver<FromScreen>,
    polls: Arc<AtomicU64>,
    serial: u64,
}

impl Rig {
    /// A hub on this loop, without a compositor.
    pub fn new() -> Self {
        Self::with_scanouts(1)
    }

    /// The same for a guest with several scanouts.
    pub fn with_scanouts(scanouts: u32) -> Self {
        let (events, event_receiver) = mpsc::channel(64);
        let (hub, handle) = Hub::new("work".into(), scanouts, events);
        let polls = Arc::new(AtomicU64::new(0));
        tokio::spawn(Counted { future: Box::pin(hub.run()), polls: polls.clone() });
        let (device, answer_receiver) = connect_device(&handle);
        Self {
            handle,
            device,
            answers: Vec::new(),
            answer_receiver,
            events: Vec::new(),
            event_receiver,
            polls,
            serial: 0,
        }
    }

    /// QEMU was started again.
    pub fn new_device(&mut self) {
        (self.device, self.answer_receiver) = connect_device(&self.handle);
        self.answers.clear();
    }

    /// Where a device's words go.
    pub fn to_screen(&self) -> mpsc::Sender<ToScreen> {
        self.device.clone()
    }

    pub async fn send(&self, message: ToScreen) {
        self.device.send(message).await.unwrap();
    }

    pub async fn set(&self, id: u32, picture: Option<Picture>) {
        self.send(ToScreen::Scanout { id: scanout(id), picture }).await;
    }

    pub async fn flush(&mut self, id: u32, damage: &[Rect]) -> u64 {
        self.serial += 1;
        self.send(ToScreen::Flush { id: scanout(id), serial: self.serial, damage: damage.to_vec() }).await;
        self.serial
    }

    /// Takes what the hub has said.
    pub fn collect(&mut self) {
        self.answers.extend(self.answer_receiver.try_iter());
        while let Ok(event) = self.event_receiver.try_recv() {
            self.events.push(event);
        }
    }

    pub fn presented(&self, serial: u64) -> bool {
        let newest = self.answers.iter().filter_map(|answer| match answer {
            ToDevice::Presented { serial, .. } => Some(*serial),
            _ => None,
        });
        newest.max().is_some_and(|newest| newest >= serial)
    }

    /// Input since the last call.
    pub fn take_input(&mut self) -> Vec<InputEvent> {
        self.collect();
        let events = std::mem::take(&mut self.events).into_iter();
        events.filter_map(|event| if let FromScreen::Input(input) = event { Some(input) } else { None }).collect()
    }

    /// Why the last connection ended, if one did.
    pub fn detached(&self) -> Option<&str> {
        self.events.iter().rev().find_map(|event| match event {
            FromScreen::Detached(reason) => Some(reason.as_str()),
            _ => None,
        })
    }

    pub fn polls(&self) -> u64 {
        self.polls.load(Ordering::Relaxed)
    }

    /// Waits until `done`, calling `act` (the other side's work) in between.
    pub async fn until(&mut self, what: &str, mut done: impl FnMut(&mut Self) -> bool) {
        let end = Instant::now() + DEADLINE;
        loop {
            self.collect();
            if done(self) {
                return;
            }
            assert!(Instant::now() < end, "never: {what}; answers {:?}, events {:?}", self.answers, self.events);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

fn connect_device(handle: &Handle) -> (mpsc::Sender<ToScreen>, std::sync::mpsc::Receiver<ToDevice>) {
    let (device, from_device) = mpsc::channel(64);
    let (answers, answer_receiver) = std::sync::mpsc::channel();
    handle.device(
        from_device,
        Box::new(move |answer| {
            let _ = answers.send(answer);
        }),
    );
    (device, answer_receiver)
}
