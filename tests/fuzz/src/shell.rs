//! A shell on one small headless output with the guests “red”, which is in front, and “blue”, and clients that speak
//! Wayland byte by byte, so that they can say what no library would.

use calloop::EventLoop;
use phyllome_compositor::State;
use phyllome_compositor::control;
use phyllome_compositor::event_loop::Served as _;
use phyllome_compositor::guests::{self, GuestView, Guests};
use phyllome_compositor::outputs::RendererKind;
use phyllome_compositor::relay::requests::Requests;
use phyllome_compositor::shell::Done;
use phyllome_compositor::state::BackendChoice;
use phyllome_config::guest::{Label, LabelColor, Pattern};
use phyllome_config::{Places, ShellConfig};
use phyllome_protocol::framing::send_some;
use phyllome_protocol::runtime::RuntimeDir;
use phyllome_protocol::shell::CaptureTarget;
use phyllome_protocol::status::GuestState;
use phyllome_protocol::{GuestName, Slot};
use phyllome_trusted::gate::{Asker, Verb};
use std::cell::Cell;
use std::collections::HashSet;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, Once};
use std::time::Duration;

/// The output's size, pixels.
const SIZE: (u32, u32) = (320, 240);

/// The bar's height and the sides' width, pixels.
const BAND: (u32, u32) = (28, 4);

/// A shell, driven turn by turn.
pub struct Shell {
    event_loop: EventLoop<'static, State>,
    /// All that it owns.
    pub state: State,
    _runtime: tempfile::TempDir,
}

/// A guest's name.
pub fn name(text: &str) -> GuestName {
    GuestName::new(text).expect("a name")
}

fn guest(text: &str, slot: i64, color: LabelColor) -> GuestView {
    let label = Label { text: text.to_owned(), color, pattern: Pattern::Solid };
    GuestView::plain(name(text), Slot::new(slot), label, GuestState::Running)
}

thread_local! {
    static PANICKED: Cell<bool> = const { Cell::new(false) };
}

/// Whether code of the shell's own has panicked on this thread since this was last asked, caught or not.
pub fn has_panicked() -> bool {
    PANICKED.take()
}

/// From now on a panic of a library's while it serves a guest is said once for each place, and goes on to where the
/// shell catches it and ends the guest's connection; a fuzzer would end itself.
fn watch_panics() {
    static WATCHED: Once = Once::new();
    WATCHED.call_once(|| {
        let others = std::panic::take_hook();
        let said: Mutex<HashSet<String>> = Mutex::default();
        std::panic::set_hook(Box::new(move |panic| {
            let place = panic.location().map(ToString::to_string).unwrap_or_default();
            if !place.contains("/registry/src/") {
                PANICKED.set(true);
                others(panic);
            } else if said.lock().is_ok_and(|mut said| said.insert(place)) {
                eprintln!("{panic}");
            }
        }));
    });
}

impl Shell {
    /// With “red” in front.
    pub fn new() -> Self {
        watch_panics();
        let event_loop = EventLoop::try_new().expect("a loop");
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o700)).expect("a mode");
        let runtime = RuntimeDir::open_in(folder.path()).expect("a runtime folder");
        let path = folder.path().to_owned();
        let places = Places { config: path.clone(), data: path.clone(), state: path.clone(), home: None };
        let socket = runtime.shell_socket();
        let options = guests::Options::new(runtime, places, path.join("no-such-program"));
        let choice = BackendChoice::Headless { sizes: vec![SIZE], renderer: RendererKind::Pixman };
        let guests = Guests::new(options, Vec::new(), Vec::new());
        let server = control::Server::new(socket, true);
        let state = State::new(&event_loop, &choice, &ShellConfig::default(), guests, server).expect("a shell");
        let mut shell = Self { event_loop, state, _runtime: folder };
        shell.begin_anew();
        shell
    }

    /// The two guests run, and “red” is in front.
    pub fn begin_anew(&mut self) {
        let guests = vec![guest("red", 1, LabelColor::Red), guest("blue", 2, LabelColor::Blue)];
        self.state.shell.set_guests(guests, Vec::new());
        self.state.outputs_changed();
        for verb in [Verb::Panel { show: false }, Verb::Show(name("red"))] {
            let _ = self.state.act(verb, Asker::Tool);
        }
        assert_eq!(self.state.shell.keyboard_owner(), Some(name("red")));
    }

    /// One turn of its loop.
    pub fn turn(&mut self) {
        self.event_loop.dispatch(Some(Duration::ZERO), &mut self.state).expect("a turn");
        self.state.flush();
    }

    /// The pixels outside the guest's area, which are the shell's, row by row.
    pub fn band(&mut self) -> Vec<u8> {
        let Ok(Done::Picture(capture)) = self.state.act(Verb::Capture(CaptureTarget::Default), Asker::Tool) else {
            panic!("no picture")
        };
        let mut pixels = vec![0; capture.stride as usize * capture.height as usize];
        File::from(capture.memfd).read_exact_at(&mut pixels, 0).expect("a picture");
        let rows = pixels.chunks(capture.stride as usize).zip(0..);
        let outside = rows.flat_map(|(row, y)| {
            let side = BAND.1 as usize * 4;
            let whole = y < BAND.0 || y >= capture.height - BAND.1;
            let parts = if whole { [row, &[]] } else { [&row[..side], &row[row.len() - side..]] };
            parts.concat()
        });
        outside.collect()
    }
}

/// What a client hears of its keyboard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// It has the keys.
    Enter,
    /// It has them no longer.
    Leave,
    /// evdev code; press or release.
    Key(u32, bool),
}

/// A client of one guest. It reads as the relay does, whose thread would only slow it.
pub struct Client {
    socket: UnixStream,
    out: Vec<u8>,
    files: Vec<OwnedFd>,
    received: Vec<u8>,
    /// What the relay sees of it, and whether the relay has ended the connection.
    requests: Requests,
    ended: bool,
    /// Name, interface and version of each global.
    pub globals: Vec<(u32, String, u32)>,
    /// The id that it gives next.
    pub next: u32,
    /// The last serial of a configure event.
    pub serial: u32,
    /// Its keyboard, if it has one.
    pub keyboard: Option<u32>,
    /// What that said.
    pub heard: Vec<Heard>,
}

/// The registry, which every client asks for first.
const REGISTRY: u32 = 2;

impl Client {
    /// Connects as this guest, and hears of the globals.
    pub fn new(shell: &mut Shell, guest: &str) -> Self {
        let (ours, theirs) = UnixStream::pair().expect("a pair of sockets");
        theirs.set_nonblocking(true).expect("a socket");
        shell.state.attach_guest_client(&name(guest), ours).expect("a client");
        let mut client = Self {
            socket: theirs,
            out: Vec::new(),
            files: Vec::new(),
            received: Vec::new(),
            requests: Requests::default(),
            ended: false,
            globals: Vec::new(),
            next: REGISTRY + 1,
            serial: 0,
            keyboard: None,
            heard: Vec::new(),
        };
        client.request(1, 1, &REGISTRY.to_le_bytes());
        for _ in 0..1000 {
            client.exchange(shell);
            if !client.globals.is_empty() {
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        client
    }

    /// A request, well formed; what is longer than a message is left out.
    pub fn request(&mut self, object: u32, opcode: u16, arguments: &[u8]) {
        let Ok(size) = u16::try_from(8 + arguments.len()) else { return };
        self.out.extend(object.to_le_bytes());
        self.out.extend((u32::from(size) << 16 | u32::from(opcode)).to_le_bytes());
        self.out.extend(arguments);
    }

    /// A request with these words.
    pub fn words(&mut self, object: u32, opcode: u16, words: &[u32]) {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        self.request(object, opcode, &bytes);
    }

    /// Bytes as they are.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.out.extend(bytes);
    }

    /// A descriptor goes with what is sent next.
    pub fn file(&mut self, file: OwnedFd) {
        self.files.push(file);
    }

    /// A new id.
    pub fn id(&mut self) -> u32 {
        let id = self.next;
        self.next = self.next.wrapping_add(1);
        id
    }

    /// Binds this global, if there is one of its name; its id.
    pub fn bind(&mut self, interface: &str, version: u32) -> Option<u32> {
        let (global, most) =
            self.globals.iter().find(|(_, name, _)| name == interface).map(|(id, _, most)| (*id, *most))?;
        let id = self.id();
        let arguments = [
            &global.to_le_bytes()[..],
            &string(interface.as_bytes()),
            &version.min(most).to_le_bytes(),
            &id.to_le_bytes(),
        ];
        self.request(REGISTRY, 0, &arguments.concat());
        Some(id)
    }

    /// Sends what there is, has the shell serve it, and hears what it says. `false` once the shell has ended the
    /// connection.
    pub fn exchange(&mut self, shell: &mut Shell) -> bool {
        self.ended = self.ended || self.requests.read(&self.out).is_err();
        if self.ended {
            return false;
        }
        let files: Vec<_> = self.files.iter().map(AsFd::as_fd).collect();
        for (at, files) in files.chunks(4).enumerate() {
            // With a byte each, and all that is left with the last ones.
            let last = (at + 1) * 4 >= self.files.len();
            let end = if last { self.out.len() } else { self.out.len().min(1) };
            let sent = send_some(&self.socket, &self.out[..end], files).unwrap_or(end);
            self.out.drain(..sent);
        }
        self.files.clear();
        while !self.out.is_empty() {
            match send_some(&self.socket, &self.out, &[]) {
                Ok(sent) if sent > 0 => drop(self.out.drain(..sent)),
                _ => break,
            }
        }
        self.out.clear();
        shell.turn();
        self.receive()
    }

    fn receive(&mut self) -> bool {
        let mut piece = [0; 4096];
        let alive = loop {
            match self.socket.read(&mut piece) {
                Ok(0) => break false,
                Ok(count) => self.received.extend(&piece[..count]),
                Err(error) => break error.kind() == std::io::ErrorKind::WouldBlock,
            }
        };
        while let Some((object, opcode, message)) = self.message() {
            self.event(object, opcode, &message);
        }
        alive
    }

    fn message(&mut self) -> Option<(u32, u32, Vec<u8>)> {
        let word = |bytes: &[u8], at: usize| bytes.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes);
        let (object, second) = (word(&self.received, 0)?, word(&self.received, 4)?);
        let size = (second >> 16) as usize;
        if size < 8 || self.received.len() < size {
            return None;
        }
        let message: Vec<u8> = self.received.drain(..size).collect();
        Some((object, second & 0xffff, message[8..].to_vec()))
    }

    fn event(&mut self, object: u32, opcode: u32, message: &[u8]) {
        let words: Vec<u32> = message.as_chunks::<4>().0.iter().map(|word| u32::from_le_bytes(*word)).collect();
        match (object, opcode, words.as_slice()) {
            (REGISTRY, 0, [global, length, ..]) => {
                let text = message.get(8..8 + (*length as usize).saturating_sub(1)).unwrap_or_default();
                let version = words.last().copied().unwrap_or(1);
                self.globals.push((*global, String::from_utf8_lossy(text).into_owned(), version));
            }
            (keyboard, 1, _) if Some(keyboard) == self.keyboard => self.heard.push(Heard::Enter),
            (keyboard, 2, _) if Some(keyboard) == self.keyboard => self.heard.push(Heard::Leave),
            (keyboard, 3, [_, _, code, state]) if Some(keyboard) == self.keyboard => {
                self.heard.push(Heard::Key(*code, *state == 1));
            }
            // A configure event of an xdg_surface.
            (_, 0, [serial]) => self.serial = *serial,
            _ => {}
        }
    }
}

/// An argument of the type string.
pub fn string(text: &[u8]) -> Vec<u8> {
    let length = text.len() as u32 + 1;
    let mut bytes = [&length.to_le_bytes()[..], text, &[0]].concat();
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// Memory of so many bytes as phyllome-guest gives it out, or such as may shrink under whoever maps it.
pub fn memory(bytes: u64, sealed: bool) -> Option<OwnedFd> {
    use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
    let file = memfd_create("fuzz", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).ok()?;
    ftruncate(&file, bytes).ok()?;
    if sealed {
        fcntl_add_seals(&file, SealFlags::SHRINK).ok()?;
    }
    Some(file)
}
