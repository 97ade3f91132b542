//! The shell in a window: what it asks of the desktop around it. The desktop is a small one in this process; the window
//! is drawn by EGL's software renderer, and the tests are counted as skipped where there is none.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use rustix::process::{Pid, Signal, kill_process};
use smithay::input::{Seat, SeatHandler, SeatState};
use smithay::reexports::wayland_server::backend::ClientData;
use smithay::reexports::wayland_server::protocol::wl_buffer::WlBuffer;
use smithay::reexports::wayland_server::protocol::wl_seat::WlSeat;
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::reexports::wayland_server::{Client, Display, ListeningSocket};
use smithay::utils::{SERIAL_COUNTER, Serial};
use smithay::wayland::buffer::BufferHandler;
use smithay::wayland::compositor::{
    BufferAssignment, CompositorClientState, CompositorHandler, CompositorState, SurfaceAttributes, with_states,
};
use smithay::wayland::keyboard_shortcuts_inhibit::{
    KeyboardShortcutsInhibitHandler, KeyboardShortcutsInhibitState, KeyboardShortcutsInhibitor,
};
use smithay::wayland::shell::xdg::{
    PopupSurface, PositionerState, ShellClient, ToplevelSurface, XdgShellHandler, XdgShellState,
};
use smithay::wayland::shm::{ShmHandler, ShmState};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);
const SOCKET: &str = "desktop";

/// What a small desktop has.
struct Protocols {
    compositor: CompositorState,
    shell: XdgShellState,
    shm: ShmState,
    seats: SeatState<Self>,
    shortcuts: Option<KeyboardShortcutsInhibitState>,
    windows: Vec<ToplevelSurface>,
    /// Windows that want the desktop's shortcuts.
    asked: Vec<KeyboardShortcutsInhibitor>,
    pictures: usize,
    /// Answers to pings.
    answers: usize,
}

#[derive(Default)]
struct Peer {
    compositor: CompositorClientState,
}

impl ClientData for Peer {}

impl CompositorHandler for Protocols {
    fn compositor_state(&mut self) -> &mut CompositorState {
        &mut self.compositor
    }

    fn client_compositor_state<'a>(&self, client: &'a Client) -> &'a CompositorClientState {
        &client.get_data::<Peer>().unwrap().compositor
    }

    /// Every picture is seen at once.
    fn commit(&mut self, surface: &WlSurface) {
        with_states(surface, |states| {
            let mut attributes = states.cached_state.get::<SurfaceAttributes>();
            let now = attributes.current();
            if let Some(BufferAssignment::NewBuffer(buffer)) = now.buffer.take() {
                buffer.release();
                self.pictures += 1;
            }
            now.frame_callbacks.drain(..).for_each(|callback| callback.done(0));
        });
    }
}

impl BufferHandler for Protocols {
    fn buffer_destroyed(&mut self, _: &WlBuffer) {}
}

impl ShmHandler for Protocols {
    fn shm_state(&self) -> &ShmState {
        &self.shm
    }
}

impl XdgShellHandler for Protocols {
    fn xdg_shell_state(&mut self) -> &mut XdgShellState {
        &mut self.shell
    }

    fn new_toplevel(&mut self, surface: ToplevelSurface) {
        surface.send_configure();
        self.windows.push(surface);
    }

    fn client_pong(&mut self, _: ShellClient) {
        self.answers += 1;
    }

    fn new_popup(&mut self, _: PopupSurface, _: PositionerState) {}

    fn grab(&mut self, _: PopupSurface, _: WlSeat, _: Serial) {}

    fn reposition_request(&mut self, _: PopupSurface, _: PositionerState, _: u32) {}
}

impl SeatHandler for Protocols {
    type KeyboardFocus = WlSurface;
    type PointerFocus = WlSurface;
    type TouchFocus = WlSurface;

    fn seat_state(&mut self) -> &mut SeatState<Self> {
        &mut self.seats
    }
}

impl KeyboardShortcutsInhibitHandler for Protocols {
    fn keyboard_shortcuts_inhibit_state(&mut self) -> &mut KeyboardShortcutsInhibitState {
        self.shortcuts.as_mut().unwrap()
    }

    fn new_inhibitor(&mut self, inhibitor: KeyboardShortcutsInhibitor) {
        self.asked.push(inhibitor);
    }
}

smithay::delegate_compositor!(Protocols);
smithay::delegate_shm!(Protocols);
smithay::delegate_xdg_shell!(Protocols);
smithay::delegate_seat!(Protocols);
smithay::delegate_keyboard_shortcuts_inhibit!(Protocols);

/// The desktop, and the shell in a window of it.
struct Desktop {
    display: Display<Protocols>,
    protocols: Protocols,
    seat: Seat<Protocols>,
    socket: ListeningSocket,
    shell: Child,
    said: Receiver<String>,
    heard: Vec<String>,
    _folder: tempfile::TempDir,
}

impl Desktop {
    /// `gives`: it can be asked for its shortcuts.
    fn new(gives: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
        let display: Display<Protocols> = Display::new().unwrap();
        let handle = display.handle();
        let mut seats = SeatState::new();
        let mut seat = seats.new_wl_seat(&handle, "seat0");
        seat.add_keyboard(Default::default(), 200, 200).unwrap();
        let protocols = Protocols {
            compositor: CompositorState::new::<Protocols>(&handle),
            shell: XdgShellState::new::<Protocols>(&handle),
            shm: ShmState::new::<Protocols>(&handle, Vec::new()),
            seats,
            shortcuts: gives.then(|| KeyboardShortcutsInhibitState::new::<Protocols>(&handle)),
            windows: Vec::new(),
            asked: Vec::new(),
            pictures: 0,
            answers: 0,
        };
        let socket = ListeningSocket::bind_absolute(folder.path().join(SOCKET)).unwrap();
        let mut shell = Command::new(env!("CARGO_BIN_EXE_phyllome-shell"))
            .args(["--backend", "nested", "--size", "640x480"])
            .env_clear()
            .env("HOME", folder.path())
            .env("XDG_RUNTIME_DIR", folder.path())
            .env("WAYLAND_DISPLAY", SOCKET)
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, said) = channel();
        let lines = BufReader::new(shell.stderr.take().unwrap()).lines();
        std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { display, protocols, seat, socket, shell, said, heard: Vec::new(), _folder: folder }
    }

    /// Goes on until `done`; `false` where the shell says that it can have no window here.
    fn until(&mut self, what: &str, done: impl Fn(&Self) -> bool) -> bool {
        let deadline = Instant::now() + PATIENCE;
        while !done(self) {
            assert!(Instant::now() < deadline, "in vain: {what}: {:?}", self.heard);
            if let Some(stream) = self.socket.accept().unwrap() {
                self.display.handle().insert_client(stream, Arc::new(Peer::default())).unwrap();
            }
            self.display.dispatch_clients(&mut self.protocols).unwrap();
            self.display.flush_clients().unwrap();
            self.heard.extend(self.said.try_iter());
            let none = ["libEGL.so.1 is not installed", "no window can be opened"];
            if self.heard.iter().any(|line| none.iter().any(|none| line.contains(none))) {
                return false;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        true
    }

    fn heard(&self, words: &str) -> bool {
        self.heard.iter().any(|line| line.contains(words))
    }

    /// The person clicks on the window, or on another one, and the shell has heard of it.
    fn give_keyboard(&mut self, window: Option<WlSurface>) {
        let keyboard = self.seat.get_keyboard().unwrap();
        keyboard.set_focus(&mut self.protocols, window, SERIAL_COUNTER.next_serial());
        let answers = self.protocols.answers;
        self.protocols.windows[0].client().send_ping(SERIAL_COUNTER.next_serial()).unwrap();
        self.until("an answer", |desktop| desktop.protocols.answers > answers);
    }

    fn end(mut self) {
        kill_process(Pid::from_child(&self.shell), Signal::TERM).unwrap();
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            self.display.dispatch_clients(&mut self.protocols).unwrap();
            self.display.flush_clients().unwrap();
            if let Some(status) = self.shell.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < deadline, "the shell does not end");
            std::thread::sleep(Duration::from_millis(2));
        };
        assert!(status.success(), "{status}");
    }
}

impl Drop for Desktop {
    fn drop(&mut self) {
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}

#[test]
fn a_window_asks_its_desktop_for_the_shortcuts_that_would_keep_super_from_it() {
    let mut desktop = Desktop::new(true);
    if !desktop.until("a picture", |desktop| desktop.protocols.pictures > 0) {
        println!("SKIPPED: a_window_asks_its_desktop_for_the_shortcuts_that_would_keep_super_from_it: no EGL");
        return;
    }
    let asked: Vec<_> = desktop.protocols.asked.iter().map(|asked| asked.wl_surface().clone()).collect();
    let windows: Vec<_> = desktop.protocols.windows.iter().map(|window| window.wl_surface().clone()).collect();
    assert_eq!(asked, windows, "for its one window");
    let seat = desktop.protocols.asked[0].seat(&desktop.display.handle()).unwrap();
    assert!(desktop.seat.owns(&seat));
    desktop.until("what a person is told", |desktop| desktop.heard("the desktop's own shortcuts are asked to come"));
    // What the desktop says of it later harms nothing, and it is asked once.
    for _ in 0..3 {
        desktop.protocols.asked[0].activate();
        desktop.give_keyboard(Some(windows[0].clone()));
        desktop.protocols.asked[0].inactivate();
        desktop.give_keyboard(None);
    }
    assert_eq!(desktop.protocols.asked.len(), 1);
    desktop.end();
}

#[test]
fn a_desktop_that_keeps_its_shortcuts_is_told_of_with_the_other_way() {
    let mut desktop = Desktop::new(false);
    if !desktop.until("a picture", |desktop| desktop.protocols.pictures > 0) {
        println!("SKIPPED: a_desktop_that_keeps_its_shortcuts_is_told_of_with_the_other_way: no EGL");
        return;
    }
    desktop.until("what a person is told", |desktop| desktop.heard("`phyllome panel show` do the same"));
    desktop.end();
}
