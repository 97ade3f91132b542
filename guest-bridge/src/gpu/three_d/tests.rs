//! The device's 3D against a renderer that is played here: what it is told, what the guest is told, and what its death
//! leaves.

use super::*;
use crate::frames::{TO_SCREEN_DEPTH, ToScreen};
use crate::gpu::device::Device;
use crate::gpu::memory::tests::memory;
use crate::gpu::wire::{FLAG_FENCE, QueueKind, cmd, feature};
use crate::gpu::{DeviceConfig, Transport};
use crate::renderer::client::Patience;
use crate::renderer::limits;
use crate::renderer::wire::{self, Event};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, socketpair};
use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};
use tokio::sync::mpsc::{Receiver, Sender, channel};

const PIXELS: u64 = 0x10_0000;
const OK: u32 = Status::OkNoData as u32;

type Ends = Arc<Mutex<VecDeque<OwnedFd>>>;

struct Bench {
    device: Device,
    memory: Memory,
    ends: Ends,
    renderer: OwnedFd,
    response: Response,
    sender: Sender<ToScreen>,
    screen: Receiver<ToScreen>,
}

fn say(renderer: &OwnedFd, events: &[Event<'_>]) {
    let mut packet = Vec::new();
    assert!(events.iter().all(|event| wire::append(&mut packet, event)));
    rustix::net::send(renderer, &packet, SendFlags::empty()).unwrap();
}

fn start_up(renderer: &OwnedFd) {
    say(
        renderer,
        &[
            Event::Capset { id: 1, version: 1, data: &[1; 8] },
            Event::Capset { id: 2, version: 2, data: &[2; 16] },
            Event::Ready { driver: "a played renderer" },
        ],
    );
}

impl Bench {
    fn new(quota: Quota) -> Self {
        Self::on(Transport::VhostUserGpu, quota)
    }

    fn on(transport: Transport, quota: Quota) -> Self {
        let ends = Ends::default();
        let theirs = ends.clone();
        let connect = move || {
            let (here, there) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
            start_up(&there);
            theirs.lock().unwrap().push_back(there);
            Ok(here)
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let mut client =
            runtime.block_on(async { Client::over(connect, Patience::default()).unwrap().ready().await.unwrap() });
        client.take_memfd_pictures();
        let mut device = Device::new(&DeviceConfig { transport, quota, ..DeviceConfig::default() }, Some(client));
        let more = feature::RESOURCE_BLOB | feature::CONTEXT_INIT;
        let offered = feature::VIRGL | if transport == Transport::Generic { more } else { 0 };
        assert_eq!((device.offered(), device.capset_count()), (offered, 2));
        device.set_features(offered | feature::EDID | feature::VERSION_1);
        let renderer = ends.lock().unwrap().pop_front().unwrap();
        let (sender, screen) = channel(TO_SCREEN_DEPTH);
        let memory = memory(&[(0, 0x1000), (PIXELS, 0x40_0000)]);
        Self { device, memory, ends, renderer, response: Response::default(), sender, screen }
    }

    fn send(&mut self, kind: u32, flags: u32, context: u32, words: &[u32]) -> (u32, Outcome) {
        let header = [kind, flags, 7, 0, context, 0];
        let bytes: Vec<u8> = header.iter().chain(words).flat_map(|word| word.to_le_bytes()).collect();
        let queue = if kind >= cmd::UPDATE_CURSOR { QueueKind::Cursor } else { QueueKind::Control };
        let outcome = self.device.execute(&self.memory, queue, &bytes, &mut self.response);
        (u32::from_le_bytes(self.response.bytes()[..4].try_into().unwrap()), outcome)
    }

    /// Sends a command that has to go on to the renderer.
    fn forwarded(&mut self, kind: u32, flags: u32, context: u32, words: &[u32]) -> Token {
        match self.send(kind, flags, context, words) {
            (OK, Outcome::Forwarded(token, _)) => token,
            other => panic!("{kind:#x} {words:?}: {other:?}"),
        }
    }

    fn status(&mut self, kind: u32, context: u32, words: &[u32]) -> u32 {
        self.send(kind, 0, context, words).0
    }

    /// What the renderer has been asked since the last time, as words.
    fn asked(&mut self) -> Vec<String> {
        self.device.renderer_turn(Instant::now());
        let mut asked = Vec::new();
        let mut packet = vec![0; limits::MAX_PACKET];
        while let Ok((length, _)) = rustix::net::recv(&self.renderer, &mut packet, RecvFlags::DONTWAIT) {
            let mut rest = &packet[..length];
            while let Some((request, after)) = wire::take::<Request<'_>>(rest).filter(|_| !rest.is_empty()) {
                asked.push(format!("{request:?}"));
                rest = after;
            }
            if length == 0 {
                break;
            }
        }
        asked
    }

    fn answer(&mut self, events: &[Event<'_>]) -> Vec<(Token, Status)> {
        say(&self.renderer, events);
        self.device.renderer_turn(Instant::now())
    }

    /// A texture of 64×32 pixels with backing, which the renderer has made.
    fn texture(&mut self, id: u32) {
        self.forwarded(cmd::RESOURCE_CREATE_3D, 0, 0, &[id, 2, 2, 2, 64, 32, 1, 1, 0, 0, 0, 0]);
        self.forwarded(cmd::RESOURCE_ATTACH_BACKING, 0, 0, &[id, 1, PIXELS as u32, 0, 64 * 32 * 4, 0]);
        let asked = self.asked().len();
        self.answer(&vec![Event::Done(0); asked]);
    }

    /// SET_SCANOUT of all of such a texture, which the renderer is asked to give out and does not.
    fn shows(&mut self, id: u32) {
        assert_eq!(self.status(cmd::SET_SCANOUT, 0, &[0, 0, 64, 32, 0, id]), OK);
        let asked = self.asked();
        let exports = asked.iter().filter(|request| request.starts_with("Export")).count();
        assert_eq!(asked.len(), exports, "{asked:?}");
        self.answer(&vec![Event::Done(libc::EOPNOTSUPP); exports]);
    }

    fn context(&mut self, id: u32) {
        let mut words = vec![0; 18];
        words[0] = 4;
        self.forwarded(cmd::CTX_CREATE, 0, id, &words);
        let asked = self.asked().len();
        self.answer(&vec![Event::Done(0); asked]);
    }

    fn class(&mut self, class: Class) -> u64 {
        let mut report = crate::frames::GpuReport::default();
        self.device.report(&mut report);
        report.gpu.errors.get(class.name()).copied().unwrap_or(0)
    }

    fn messages(&mut self) -> Vec<ToScreen> {
        self.device.publish(&self.sender);
        std::iter::from_fn(|| self.screen.try_recv().ok()).collect()
    }

    /// The renderer is gone, and the next one has started.
    fn dies(&mut self) -> Vec<(Token, Status)> {
        let (dead, _) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
        drop(std::mem::replace(&mut self.renderer, dead));
        let done = self.device.renderer_turn(Instant::now());
        self.renderer = self.ends.lock().unwrap().pop_front().expect("another renderer was started");
        self.device.renderer_turn(Instant::now());
        done
    }
}

fn bench() -> Bench {
    Bench::new(Quota::default())
}

#[test]
fn capsets_are_told_without_asking_the_renderer() {
    let mut bench = bench();
    assert_eq!(bench.status(cmd::GET_CAPSET_INFO, 0, &[1, 0]), Status::OkCapsetInfo as u32);
    let words: Vec<u32> =
        bench.response.bytes()[24..36].chunks(4).map(|word| u32::from_le_bytes(word.try_into().unwrap())).collect();
    assert_eq!(words, [2, 2, 16]);
    assert_eq!(bench.status(cmd::GET_CAPSET, 0, &[2, 2]), Status::OkCapset as u32);
    assert_eq!(bench.response.bytes()[24..], [2; 16]);
    for (kind, words) in [(cmd::GET_CAPSET_INFO, [2, 0]), (cmd::GET_CAPSET, [9, 0]), (cmd::GET_CAPSET, [2, 3])] {
        assert_eq!(bench.status(kind, 0, &words), Status::ErrInvalidParameter as u32);
    }
    assert_eq!(bench.class(Class::Capset), 3);
    assert!(bench.asked().is_empty());
}

#[test]
fn a_shown_texture_is_fetched_before_the_screen_hears_of_it() {
    let mut bench = bench();
    bench.texture(3);
    bench.shows(3);
    assert!(matches!(bench.send(cmd::RESOURCE_FLUSH, FLAG_FENCE, 0, &[8, 4, 16, 8, 3, 0]), (OK, Outcome::Hold(_))));
    assert!(bench.messages().is_empty(), "its pixels are not there");
    let asked = bench.asked();
    assert!(asked[0].starts_with("Target"), "{asked:?}");
    // The first flush of a picture shows all of it.
    assert!(asked[1].contains("x: 0, y: 0, width: 64, height: 32"), "{asked:?}");
    bench.answer(&[Event::Done(0), Event::Done(0)]);
    let messages = bench.messages();
    assert!(
        matches!(messages[..], [ToScreen::Scanout { picture: Some(_), .. }, ToScreen::Flush { serial: 1, .. }]),
        "{messages:?}"
    );
    // Nothing is read while the screen has not shown that.
    bench.status(cmd::RESOURCE_FLUSH, 0, &[0, 0, 1, 1, 3, 0]);
    bench.messages();
    assert!(bench.asked().is_empty());
}

#[test]
fn a_guest_that_flips_faster_than_pixels_are_fetched_is_seen() {
    let mut bench = bench();
    for id in [3, 4] {
        bench.texture(id);
        bench.shows(id);
    }
    let flip = |bench: &mut Bench, id, rect: [u32; 4]| {
        assert_eq!(bench.status(cmd::SET_SCANOUT, 0, &[0, 0, 64, 32, 0, id]), OK);
        let [x, y, w, h] = rect;
        bench.status(cmd::RESOURCE_FLUSH, 0, &[x, y, w, h, id, 0]);
        let messages = bench.messages();
        (messages.len(), bench.asked())
    };
    flip(&mut bench, 3, [0, 0, 64, 32]);
    // The renderer has not answered yet, and the guest goes on.
    assert!(flip(&mut bench, 4, [0, 0, 8, 8]).1.is_empty(), "one fetch at a time");
    bench.answer(&[Event::Done(0), Event::Done(0)]);
    let messages = bench.messages();
    assert!(
        matches!(messages[..], [ToScreen::Scanout { picture: Some(_), .. }, ToScreen::Flush { serial: 1, .. }]),
        "{messages:?}"
    );
    let presented = |bench: &mut Bench, serial| {
        let id = phyllome_protocol::ScanoutId::new(0).unwrap();
        bench.device.message(crate::frames::ToDevice::Presented { id, serial });
        bench.messages();
        bench.asked()
    };
    // Then the other resource comes whole, because nothing of it was read before.
    let asked = presented(&mut bench, 1);
    assert!(asked[1].contains("width: 64, height: 32"), "{asked:?}");
    bench.answer(&[Event::Done(0), Event::Done(0)]);
    assert_eq!(bench.messages().len(), 2);
    presented(&mut bench, 2);
    // The first one again: with what changed in the other meanwhile.
    let (_, asked) = flip(&mut bench, 3, [40, 0, 4, 4]);
    assert!(asked.len() == 2 && asked[0].contains("width: 8, height: 8") && asked[1].contains("x: 40"), "{asked:?}");
}

#[test]
fn a_guest_that_shows_everything_once_keeps_little_memory_for_it() {
    let mut bench = bench();
    for id in 1..=100 {
        bench.texture(id);
        bench.shows(id);
        bench.status(cmd::RESOURCE_FLUSH, 0, &[0, 0, 64, 32, id, 0]);
        bench.messages();
        let asked = bench.asked();
        let answers = asked.iter().filter(|request| !request.starts_with("DropTarget")).count();
        bench.answer(&vec![Event::Done(0); answers]);
        for message in bench.messages() {
            if let ToScreen::Flush { id, serial, .. } = message {
                bench.device.message(crate::frames::ToDevice::Presented { id, serial });
            }
        }
    }
    let kept = bench.device.three_d.as_ref().map(|three_d| three_d.targets.len());
    assert_eq!(kept, Some(40));
}

#[test]
fn a_renderer_that_dies_leaves_the_picture_and_answers_for_everything() {
    let mut bench = bench();
    bench.context(1);
    bench.texture(3);
    bench.shows(3);
    bench.status(cmd::RESOURCE_FLUSH, 0, &[0, 0, 64, 32, 3, 0]);
    bench.messages();
    let fenced = bench.forwarded(cmd::SUBMIT_3D, FLAG_FENCE, 1, &[4, 0, 1]);
    let asked = bench.asked();
    bench.answer(&vec![Event::Done(0); asked.len() - 1]);
    bench.messages();
    let waiting = bench.forwarded(cmd::SUBMIT_3D, 0, 1, &[4, 0, 2]);
    bench.asked();
    let mut done = bench.dies();
    done.sort();
    assert_eq!(done, [(fenced, Status::ErrUnspec), (waiting, Status::ErrUnspec)]);
    assert!(bench.messages().is_empty(), "the screen keeps its picture");

    for (kind, words, status) in [
        (cmd::SUBMIT_3D, &[4, 0, 3][..], Status::ErrInvalidContextId),
        (cmd::CTX_ATTACH_RESOURCE, &[3, 0], Status::ErrInvalidContextId),
        (cmd::RESOURCE_FLUSH, &[0, 0, 64, 32, 3, 0], Status::ErrInvalidResourceId),
    ] {
        assert_eq!(bench.status(kind, 1, words), status as u32, "{kind:#x}");
    }
    assert_eq!(bench.class(Class::Lost), 3);
    assert_eq!(bench.send(cmd::CTX_DESTROY, 0, 1, &[]), (OK, Outcome::Answer));
    assert_eq!(bench.send(cmd::RESOURCE_UNREF, 0, 0, &[3, 0]), (OK, Outcome::Answer));
    // The guest starts its programs again.
    bench.context(1);
    bench.texture(3);
    bench.forwarded(cmd::SUBMIT_3D, 0, 1, &[4, 0, 4]);
    assert!(bench.asked().last().unwrap().starts_with("Submit"));
    let mut report = crate::frames::GpuReport::default();
    bench.device.report(&mut report);
    assert_eq!((report.gpu.renderer.as_str(), report.gpu.renderer_restarts), ("virgl", 1));
}

#[test]
fn three_deaths_in_a_minute_end_3d_and_nothing_else() {
    let mut bench = bench();
    bench.dies();
    bench.dies();
    let (dead, _) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
    drop(std::mem::replace(&mut bench.renderer, dead));
    bench.device.renderer_turn(Instant::now());
    assert!(bench.ends.lock().unwrap().is_empty(), "no fourth renderer");
    let mut words = [0; 18];
    words[0] = 1;
    assert_eq!(bench.status(cmd::CTX_CREATE, 1, &words), Status::ErrUnspec as u32);
    assert_eq!(bench.status(cmd::RESOURCE_CREATE_2D, 0, &[9, 2, 8, 8]), OK);
    let mut report = crate::frames::GpuReport::default();
    bench.device.report(&mut report);
    assert_eq!(report.gpu.renderer, "2d");
    assert!(report.gpu.reason.is_some());
}

#[test]
fn a_classic_resource_in_a_context_has_a_mirror_that_follows_it() {
    let mut bench = bench();
    bench.context(1);
    assert_eq!(bench.status(cmd::RESOURCE_CREATE_2D, 0, &[9, 2, 16, 8]), OK);
    assert_eq!(bench.status(cmd::RESOURCE_ATTACH_BACKING, 0, &[9, 1, PIXELS as u32, 0, 16 * 8 * 4, 0]), OK);
    bench.forwarded(cmd::CTX_ATTACH_RESOURCE, 0, 1, &[9, 0]);
    let kinds =
        |asked: Vec<String>| asked.iter().map(|a| a.split([' ', '(']).next().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(kinds(bench.asked()), ["Create", "AttachFile", "TransferTo", "ContextResource"]);
    assert_eq!(bench.status(cmd::TRANSFER_TO_HOST_2D, 0, &[2, 1, 4, 4, 72, 0, 9, 0]), OK);
    let asked = bench.asked();
    assert!(asked[0].contains("x: 2, y: 1") && asked[0].contains("stride: 256"), "{asked:?}");
    assert_eq!(bench.status(cmd::RESOURCE_UNREF, 0, &[9, 0]), OK);
    assert_eq!(kinds(bench.asked()), ["Unref"]);
}

#[test]
fn wrong_ids_numbers_and_quotas_never_reach_the_renderer() {
    let small =
        Quota { contexts: 1, resources_3d: 2, bytes_3d: 64 * 32 * 4 * 2, submits_per_second: 1, ..Quota::default() };
    let mut bench = Bench::new(small);
    bench.context(1);
    bench.texture(3);
    let create = |id, width| [id, 2, 2, 2, width, 32, 1, 1, 0, 0, 0, 0];
    let mut context = [0; 18];
    context[1] = 77;
    let cases: &[(&str, u32, u32, &[u32], Status)] = &[
        ("context 0", cmd::CTX_CREATE, 0, &[0; 18], Status::ErrInvalidContextId),
        ("context twice", cmd::CTX_CREATE, 1, &[0; 18], Status::ErrInvalidContextId),
        ("capset that is not there", cmd::CTX_CREATE, 2, &context, Status::ErrInvalidParameter),
        ("one context too many", cmd::CTX_CREATE, 2, &[0; 18], Status::ErrOutOfMemory),
        ("destroyed and not there", cmd::CTX_DESTROY, 9, &[], Status::ErrInvalidContextId),
        ("resource 0", cmd::RESOURCE_CREATE_3D, 0, &create(0, 64), Status::ErrInvalidResourceId),
        ("resource twice", cmd::RESOURCE_CREATE_3D, 0, &create(3, 64), Status::ErrInvalidResourceId),
        ("2D over 3D", cmd::RESOURCE_CREATE_2D, 0, &[3, 2, 8, 8], Status::ErrInvalidResourceId),
        ("gigantic", cmd::RESOURCE_CREATE_3D, 0, &create(4, u32::MAX), Status::ErrInvalidParameter),
        ("too many bytes", cmd::RESOURCE_CREATE_3D, 0, &create(4, 65), Status::ErrOutOfMemory),
        ("backing twice", cmd::RESOURCE_ATTACH_BACKING, 0, &[3, 1, 0, 0, 16, 0], Status::ErrUnspec),
        ("no such resource", cmd::CTX_ATTACH_RESOURCE, 1, &[77, 0], Status::ErrInvalidResourceId),
        ("no such context", cmd::CTX_ATTACH_RESOURCE, 7, &[3, 0], Status::ErrInvalidContextId),
        (
            "box outside",
            cmd::TRANSFER_TO_HOST_3D,
            1,
            &[1, 0, 0, 64, 32, 1, 0, 0, 3, 0, 0, 0],
            Status::ErrInvalidParameter,
        ),
        (
            "box that wraps",
            cmd::TRANSFER_FROM_HOST_3D,
            1,
            &[u32::MAX, 0, 0, 2, 1, 1, 0, 0, 3, 0, 0, 0],
            Status::ErrInvalidParameter,
        ),
        (
            "level beyond",
            cmd::TRANSFER_TO_HOST_3D,
            1,
            &[0, 0, 0, 1, 1, 1, 0, 0, 3, 1, 0, 0],
            Status::ErrInvalidParameter,
        ),
        ("odd stream", cmd::SUBMIT_3D, 1, &[3, 0, 0], Status::ErrInvalidParameter),
        ("stream that is not there", cmd::SUBMIT_3D, 1, &[4096, 0, 0], Status::ErrUnspec),
        ("no context", cmd::SUBMIT_3D, 0, &[4, 0, 0], Status::ErrInvalidContextId),
        ("scanout outside", cmd::SET_SCANOUT, 0, &[0, 0, 65, 32, 0, 3], Status::ErrInvalidParameter),
        ("flush outside", cmd::RESOURCE_FLUSH, 0, &[0, 0, 65, 32, 3, 0], Status::ErrInvalidParameter),
    ];
    for &(what, kind, context, words, status) in cases {
        assert_eq!(bench.status(kind, context, words), status as u32, "{what}");
        assert!(bench.asked().is_empty(), "{what}");
    }
    bench.forwarded(cmd::SUBMIT_3D, 0, 1, &[4, 0, 0]);
    assert_eq!(bench.status(cmd::SUBMIT_3D, 1, &[4, 0, 0]), Status::ErrOutOfMemory as u32);
    assert_eq!(bench.class(Class::SubmitRate), 1);
    bench.forwarded(cmd::RESOURCE_DETACH_BACKING, 0, 0, &[3, 0]);
    assert_eq!(
        bench.status(cmd::TRANSFER_TO_HOST_3D, 1, &[0, 0, 0, 1, 1, 1, 0, 0, 3, 0, 0, 0]),
        Status::ErrUnspec as u32
    );
    bench.forwarded(cmd::RESOURCE_UNREF, 0, 0, &[3, 0]);
    assert_eq!(bench.status(cmd::RESOURCE_FLUSH, 0, &[0, 0, 1, 1, 3, 0]), Status::ErrInvalidResourceId as u32);
}

#[test]
fn another_driver_finds_nothing_of_the_former_one() {
    let mut bench = bench();
    bench.context(1);
    bench.texture(3);
    bench.forwarded(cmd::SUBMIT_3D, FLAG_FENCE, 1, &[4, 0, 1]);
    bench.device.reset();
    let asked = bench.asked();
    assert_eq!(asked.last().unwrap(), "Reset");
    let answers = asked.iter().filter(|request| !request.starts_with("Fence")).count();
    assert_eq!(bench.answer(&vec![Event::Done(0); answers]), []);
    assert_eq!(bench.answer(&[Event::Fenced(1)]), []);
    bench.context(1);
    bench.texture(3);
}

#[path = "behind_tests.rs"]
mod behind;
#[path = "blob_tests.rs"]
mod blobs;
#[path = "cursor_tests.rs"]
mod cursors;
#[path = "export_tests.rs"]
mod exports;
#[path = "order_tests.rs"]
mod order;

#[test]
fn the_next_driver_is_told_of_no_3d_once_it_is_off() {
    let mut bench = bench();
    let offered = bench.device.offered();
    for _ in 0..2 {
        bench.dies();
        assert_eq!(bench.device.capset_count(), 2);
    }
    let (dead, _) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
    drop(std::mem::replace(&mut bench.renderer, dead));
    bench.device.renderer_turn(Instant::now());
    bench.device.reset();
    assert_eq!((bench.device.capset_count(), bench.device.offered()), (0, offered));
    assert_eq!(bench.status(cmd::GET_CAPSET_INFO, 0, &[0, 0]), Status::ErrInvalidParameter as u32);
    assert_eq!(bench.status(cmd::GET_CAPSET, 0, &[2, 2]), Status::ErrInvalidParameter as u32);
}

#[test]
fn a_2d_resource_is_not_mirrored_for_a_context_that_is_not_there() {
    let mut bench = bench();
    assert_eq!(bench.status(cmd::RESOURCE_CREATE_2D, 0, &[9, 2, 8, 8]), OK);
    assert_eq!(bench.status(cmd::CTX_ATTACH_RESOURCE, 5, &[9, 0]), Status::ErrInvalidContextId as u32);
    assert!(bench.asked().is_empty());
    bench.context(5);
    bench.forwarded(cmd::CTX_ATTACH_RESOURCE, 0, 5, &[9, 0]);
    assert!(bench.asked().iter().any(|request| request.starts_with("AttachFile")));
}
