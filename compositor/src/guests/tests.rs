//! The registry on a real loop, with tests in place of phyllome-guest and of the command-line tool.

mod commands;
mod files;
mod hanging;
mod standing;
mod stranger;

use crate::State;
use crate::control::Server;
use crate::guests::process::Launcher;
use crate::guests::{Guests, Options, Pausing};
use crate::outputs::RendererKind;
use crate::state::BackendChoice;
use phyllome_config::{Places, ShellConfig, load_all};
use phyllome_protocol::control::{FromGuest, Leds, Report, Request, ToGuest, VERSION};
use phyllome_protocol::framing::{self, Decoder, FramingError};
use phyllome_protocol::runtime::RuntimeDir;
use phyllome_protocol::shell::{Command, Reply};
use phyllome_protocol::status::{GuestState, Mode};
use phyllome_protocol::{GuestName, GuestVerb};
use phyllome_trusted::gate::{Asker, Verb};
use serde::de::DeserializeOwned;
use smithay::reexports::calloop::EventLoop;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(20);

struct Host {
    event_loop: EventLoop<'static, State>,
    state: State,
    folder: tempfile::TempDir,
}

fn name(text: &str) -> GuestName {
    GuestName::new(text).unwrap()
}

impl Host {
    /// Guests “work” (slot 1) and “play” (slot 2); phyllome-guest is a script of this text.
    fn new(script: &str) -> Self {
        Self::with(script, true)
    }

    fn with(script: &str, test_input: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_owned();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o700)).unwrap();
        std::fs::create_dir(path.join("guests")).unwrap();
        for (guest, slot, color) in [("work", 1, "red"), ("play", 2, "blue")] {
            let text = format!("profile = \"linux\"\nslot = {slot}\n[label]\ncolor = \"{color}\"\n");
            std::fs::write(path.join(format!("guests/{guest}.toml")), text).unwrap();
        }
        let program = path.join("phyllome-guest");
        phyllome_test_guests::program::write(&program, &format!("#!/bin/sh\n{script}\n")).unwrap();
        let places = Places { config: path.clone(), data: path.clone(), state: path.clone(), home: None };
        let loaded = load_all(&places);
        assert_eq!(loaded.guests.len(), 2, "{:?}", loaded.problems);
        let runtime = RuntimeDir::open_in(&path).unwrap();
        let server = Server::new(runtime.shell_socket(), test_input);
        let greeting = Duration::from_millis(300);
        let answer = Duration::from_millis(200);
        let pausing = Pausing { one: PATIENCE, all: PATIENCE };
        let options = Options { runtime, places, config_dir: None, program, greeting, answer, pausing };
        let event_loop = EventLoop::try_new().unwrap();
        let choice = BackendChoice::Headless { sizes: vec![(640, 480)], renderer: RendererKind::Pixman };
        let guests = Guests::new(options, loaded.guests, vec![]);
        let state = State::new(&event_loop, &choice, &ShellConfig::default(), guests, server).unwrap();
        Self { event_loop, state, folder }
    }

    fn started(script: &str) -> Self {
        let mut host = Self::new(script);
        host.start();
        host
    }

    fn start(&mut self) {
        self.state.start_control().unwrap();
        self.state.start_guests(false, None);
    }

    fn socket(&self, guest: &str) -> PathBuf {
        self.state.guests.options.runtime.make_guest_dir(&name(guest)).unwrap().join("control.sock")
    }

    fn turn(&mut self) {
        self.event_loop.dispatch(Some(Duration::from_millis(2)), &mut self.state).unwrap();
    }

    fn wait(&mut self, what: &str, mut done: impl FnMut(&mut Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !done(self) {
            assert!(Instant::now() < deadline, "waited in vain for {what}");
            self.turn();
        }
    }

    fn wait_state(&mut self, guest: &str, state: GuestState) {
        self.wait(state.word(), |host| host.state.shell.guest(&name(guest)).is_some_and(|view| view.state == state));
    }

    fn message(&self, guest: &str) -> String {
        self.state.shell.guest(&name(guest)).and_then(|view| view.sentence()).unwrap_or_default()
    }

    fn shown(&self) -> Option<String> {
        self.state.shell.shown().map(|view| view.name.to_string())
    }

    /// A connection of the command-line tool.
    fn tool(&mut self) -> Line {
        let path = self.state.guests.options.runtime.shell_socket();
        Line::new(UnixStream::connect(path).unwrap())
    }

    /// One command on a connection of its own.
    fn ask(&mut self, command: Command) -> Reply {
        let mut tool = self.tool();
        tool.send(&command);
        tool.next(self).unwrap()
    }
}

/// One end of a connection with messages.
struct Line {
    stream: UnixStream,
    decoder: Decoder,
}

impl Line {
    fn new(stream: UnixStream) -> Self {
        stream.set_nonblocking(true).unwrap();
        Self { stream, decoder: Decoder::new() }
    }

    fn send<T: serde::Serialize>(&self, message: &T) {
        framing::send_blocking(&self.stream, message, &[]).unwrap();
    }

    /// The next message, while the shell runs.
    fn next<T: DeserializeOwned>(&mut self, host: &mut Host) -> Result<T, FramingError> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(message) = self.decoder.next_message()? {
                return Ok(message);
            }
            assert!(Instant::now() < deadline, "waited in vain for a message");
            host.turn();
            self.decoder.receive(&self.stream)?;
        }
    }
}

/// A phyllome-guest.
struct Peer {
    line: Line,
    screen: Option<OwnedFd>,
}

impl Peer {
    /// Listens in the guest's folder before the shell looks, and greets when it dials.
    fn of(host: &mut Host, guest: &str) -> Self {
        let listener = listen(host, guest);
        Self::answer(host, &listener, guest)
    }

    fn answer(host: &mut Host, listener: &UnixListener, guest: &str) -> Self {
        let mut peer = Self { line: accept(host, listener), screen: None };
        peer.line.send(&FromGuest::Hello { version: VERSION, name: name(guest) });
        peer.report(GuestState::Running);
        let attach: ToGuest = peer.line.next(host).unwrap();
        assert!(matches!(attach.request, Request::AttachScreen { width, height } if width > 0 && height > 0));
        peer.screen = peer.line.decoder.take_fd();
        assert!(peer.screen.is_some(), "the screen comes with its request");
        peer.line.send(&FromGuest::Done { id: attach.id });
        host.wait_state(guest, GuestState::Running);
        peer
    }

    fn report(&self, state: GuestState) {
        self.line.send(&FromGuest::Report(super::life::tests::report(state)));
    }

    /// The next request that is none for a report; those are answered.
    fn asked(&mut self, host: &mut Host) -> ToGuest {
        loop {
            let asked: ToGuest = self.line.next(host).unwrap();
            if asked.request != Request::Report {
                return asked;
            }
            self.report(GuestState::Running);
            self.line.send(&FromGuest::Done { id: asked.id });
        }
    }
}

fn listen(host: &Host, guest: &str) -> UnixListener {
    let listener = UnixListener::bind(host.socket(guest)).unwrap();
    listener.set_nonblocking(true).unwrap();
    listener
}

fn accept(host: &mut Host, listener: &UnixListener) -> Line {
    let mut accepted = None;
    host.wait("the shell to dial", |_| {
        accepted = accepted.take().or_else(|| listener.accept().ok());
        accepted.is_some()
    });
    Line::new(accepted.unwrap().0)
}

fn refusal(reply: Reply) -> String {
    let Reply::Refused { reason } = reply else { panic!("should have been refused: {reply:?}") };
    reason
}

#[test]
fn the_guest_to_start_with_is_shown_and_started_before_all_others_and_no_stranger_is() {
    let mut host = Host::new("exec sleep 100");
    let listener = listen(&host, "play");
    host.state.start_guests(false, Some(&name("work")));
    let _peer = Peer::answer(&mut host, &listener, "play");
    assert_eq!(host.shown().as_deref(), Some("work"));
    assert_eq!(host.state.shell.guest(&name("work")).unwrap().state, GuestState::Starting);
    for (back, first) in [(true, "work"), (false, "nobody")] {
        let mut host = Host::new("exec sleep 100");
        host.state.start_guests(back, Some(&name(first)));
        assert_eq!(host.shown(), None, "{first}");
        assert_eq!(host.state.shell.guest(&name("work")).unwrap().state, GuestState::Stopped);
    }
}

#[test]
fn a_guest_that_runs_already_is_adopted_and_shown() {
    let mut host = Host::new("exit 9");
    let listener = listen(&host, "play");
    host.start();
    let _peer = Peer::answer(&mut host, &listener, "play");
    assert_eq!(host.shown().as_deref(), Some("play"));
    assert_eq!(host.state.shell.keyboard_owner(), Some(name("play")));
}

#[test]
fn a_shell_that_starts_again_shows_the_guest_that_was_shown() {
    let mut host = Host::new("exit 9");
    let listeners = [listen(&host, "work"), listen(&host, "play")];
    std::fs::write(host.state.guests.options.runtime.path().join("shown"), "play").unwrap();
    host.start();
    let _peers = [Peer::answer(&mut host, &listeners[0], "work"), Peer::answer(&mut host, &listeners[1], "play")];
    assert_eq!(host.shown().as_deref(), Some("play"));
    host.ask(Command::Switch { name: name("work") });
    assert_eq!(host.state.guests.remembered(), Some(Some(name("work"))));
    for bad in ["../x", "", "nobody", &"x".repeat(100_000)] {
        std::fs::write(host.state.guests.options.runtime.path().join("shown"), bad).unwrap();
        assert!(host.state.guests.remembered().flatten().is_none_or(|name| name.as_str() == "nobody"));
    }
}

#[test]
fn tp10_where_the_guest_that_was_shown_is_not_there_no_other_gets_the_keys() {
    // (comes back, start = in shell.toml, what was shown)
    for (back, first, shown) in
        [(true, None, "work"), (false, None, "work"), (true, Some("play"), "work"), (false, Some("nobody"), "play")]
    {
        let mut host = Host::new("exec sleep 100");
        let listener = listen(&host, "play");
        std::fs::write(host.state.guests.options.runtime.path().join("shown"), shown).unwrap();
        host.state.start_guests(back, first.map(name).as_ref());
        let _peer = Peer::answer(&mut host, &listener, "play");
        assert_eq!((host.shown(), host.state.shell.keyboard_owner()), (None, None), "{back} {first:?} {shown}");
        assert_eq!(host.state.shell.mode(), Mode::Panel);
        // It comes a moment later, and the person chooses.
        let _late = Peer::of(&mut host, "work");
        assert_eq!((host.shown(), host.state.shell.keyboard_owner()), (None, None));
    }
    for torn in ["", "../x"] {
        let mut host = Host::new("exec sleep 100");
        let listener = listen(&host, "play");
        std::fs::write(host.state.guests.options.runtime.path().join("shown"), torn).unwrap();
        host.state.start_guests(true, None);
        let _peer = Peer::answer(&mut host, &listener, "play");
        assert_eq!(host.state.shell.keyboard_owner(), None, "{torn}");
    }
}

#[test]
fn tp11_a_guest_that_appears_by_itself_takes_no_focus() {
    let mut host = Host::started("exit 9");
    let _peer = Peer::of(&mut host, "play");
    assert_eq!((host.shown(), host.state.shell.keyboard_owner()), (None, None));
}

#[test]
fn a_guest_without_a_definition_is_adopted_and_marked_as_unknown_and_like_no_other() {
    let mut host = Host::started("exit 9");
    let _peers = ["other", "another"].map(|guest| Peer::of(&mut host, guest));
    let [view, second] = ["other", "another"].map(|guest| host.state.shell.guest(&name(guest)).unwrap());
    assert!(!view.known && !second.known);
    assert_eq!(view.label.text, "other (unknown)");
    assert!(!phyllome_config::are_alike(&view.label, &second.label), "{:?}, {:?}", view.label, second.label);
    assert!(
        refusal(host.ask(Command::Guest { verb: GuestVerb::Start, name: name("other") })).contains("running already")
    );
}

#[test]
fn a_guest_that_was_started_is_found_when_its_socket_appears() {
    let mut host = Host::started("exec sleep 100");
    let mut tool = host.tool();
    tool.send(&Command::Guest { verb: GuestVerb::Start, name: name("work") });
    host.wait_state("work", GuestState::Starting);
    assert_eq!(host.shown().as_deref(), Some("work"), "the first guest that is started is shown");
    let _peer = Peer::of(&mut host, "work");
    assert_eq!(tool.next::<Reply>(&mut host).unwrap(), Reply::Done);
    let pid = process_of(&host, "work");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    host.wait_state("work", GuestState::Crashed);
    assert!(host.message("work").contains("signal 9"), "{}", host.message("work"));
    assert_eq!(host.shown().as_deref(), Some("work"), "its frame stays");
    assert!(!std::path::Path::new(&format!("/proc/{}", pid.as_raw_nonzero())).exists(), "no zombie is left");
}

fn process_of(host: &Host, guest: &str) -> rustix::process::Pid {
    let entry = &host.state.guests.entries[&name(guest)];
    entry.process.as_ref().unwrap().0.child_pid().unwrap()
}

/// A shell whose guests are started through a launcher of this text; it waits `patience` for it.
fn with_launcher(guest: &str, launcher: &str, patience: Duration) -> Host {
    let mut host = Host::new(guest);
    let program = host.folder.path().join("systemd-run");
    phyllome_test_guests::program::write(&program, &format!("#!/bin/sh\n{launcher}\n")).unwrap();
    host.state.guests.launcher = Some(Launcher { program, patience });
    std::fs::create_dir(host.folder.path().join("systemd")).unwrap();
    std::fs::write(host.folder.path().join("systemd/private"), "").unwrap();
    host.start();
    host
}

fn is_launcher(host: &Host, guest: &str) -> bool {
    host.state.guests.entries[&name(guest)].process.as_ref().is_none_or(|(process, _)| process.is_launcher())
}

#[test]
fn a_guest_that_systemd_does_not_take_starts_without_a_unit() {
    for (launcher, patience, another) in [
        ("echo 'Failed to connect to bus' >&2; exit 1", PATIENCE, true),
        ("kill -STOP $$", Duration::from_millis(200), false),
    ] {
        let mut host = with_launcher("exec sleep 100", launcher, patience);
        let mut tool = host.tool();
        tool.send(&Command::Guest { verb: GuestVerb::Start, name: name("work") });
        host.wait_state("work", GuestState::Starting);
        host.wait("the guest in the launcher's place", |host| !is_launcher(host, "work"));
        let _peer = Peer::of(&mut host, "work");
        assert_eq!(tool.next::<Reply>(&mut host).unwrap(), Reply::Done, "{launcher}");
        assert_eq!(host.message("work"), "");
        assert_eq!(host.state.guests.launcher.is_some(), another, "one that hangs is not asked again");
        host.ask(Command::Guest { verb: GuestVerb::Kill, name: name("work") });
    }
}

#[test]
fn a_guest_that_is_killed_while_it_waits_for_systemd_is_not_started() {
    let mut host = with_launcher("touch $0.started", "kill -STOP $$", PATIENCE);
    let tool = host.tool();
    tool.send(&Command::Guest { verb: GuestVerb::Start, name: name("work") });
    host.wait_state("work", GuestState::Starting);
    assert_eq!(host.ask(Command::Guest { verb: GuestVerb::Kill, name: name("work") }), Reply::Done);
    host.wait_state("work", GuestState::Stopped);
    assert!(!host.folder.path().join("phyllome-guest.started").exists());
}

#[test]
fn a_guest_that_cannot_start_is_refused_in_its_own_words_and_has_crashed() {
    let mut host = Host::started("echo 'Error: the kernel /x does not exist' >&2; exit 1");
    let reason = refusal(host.ask(Command::Guest { verb: GuestVerb::Start, name: name("work") }));
    assert_eq!(reason, "the kernel /x does not exist");
    host.wait_state("work", GuestState::Crashed);
    assert_eq!(host.message("work"), reason);
}

#[test]
fn a_program_that_is_missing_is_a_sentence() {
    let mut host = Host::started("exit 0");
    host.state.guests.options.program = "/no/such/phyllome-guest".into();
    let reason = refusal(host.ask(Command::Guest { verb: GuestVerb::Start, name: name("work") }));
    assert!(reason.contains("/no/such/phyllome-guest"), "{reason}");
    host.wait_state("work", GuestState::Crashed);
}

#[test]
fn kill_ends_a_guest_that_never_opens_its_socket() {
    let mut host = Host::started("exec sleep 100");
    let tool = host.tool();
    tool.send(&Command::Guest { verb: GuestVerb::Start, name: name("work") });
    host.wait_state("work", GuestState::Starting);
    assert_eq!(host.ask(Command::Guest { verb: GuestVerb::Kill, name: name("work") }), Reply::Done);
    host.wait_state("work", GuestState::Stopped);
}

#[test]
fn hostile_control_peers_lose_their_connection_and_nothing_else_happens() {
    let endless = vec![b'x'; 2 * framing::MAX_LINE];
    let deep = format!("{}\n", "[".repeat(100_000)).into_bytes();
    let wrong = b"{\"say\":\"report\",\"state\":[]}\n".to_vec();
    let flood = framing::encode(&FromGuest::Done { id: 0 }).unwrap().repeat(5000);
    for bad in [endless, deep, wrong, flood] {
        let mut host = Host::started("exit 9");
        let _good = Peer::of(&mut host, "play");
        let mut peer = Peer::of(&mut host, "work");
        let mut rest = &bad[..];
        host.wait("the connection to be closed", |host| {
            rest = &rest[peer.line.stream.write(rest).unwrap_or(0)..];
            host.state.guests.entries[&name("work")].link.is_none()
        });
        host.turn();
        assert!(host.message("work").contains("was closed, because"), "{}", host.message("work"));
        assert!(matches!(host.ask(Command::Status), Reply::Status(_)));
        let pause = refusal(host.ask(Command::Guest { verb: GuestVerb::Pause, name: name("work") }));
        assert!(pause.contains("no control connection"), "{pause}");
        host.wait_state("play", GuestState::Running);
        peer.screen = None;
    }
}

#[test]
fn a_peer_that_says_nothing_is_given_up() {
    let mut host = Host::started("exit 9");
    let listener = listen(&host, "work");
    let _silent = accept(&mut host, &listener);
    host.wait("the silence to end", |host| host.message("work").contains("did not greet"));
    assert!(matches!(host.ask(Command::Status), Reply::Status(_)));
}

#[test]
fn tp20_a_peer_that_greets_and_hangs_up_is_dialled_less_and_less() {
    let mut host = Host::started("exit 9");
    let listener = listen(&host, "work");
    let mut dialled = 0;
    let started = Instant::now();
    host.wait("two seconds to pass", |_| {
        while let Ok((stream, _)) = listener.accept() {
            Line::new(stream).send(&FromGuest::Hello { version: VERSION, name: name("work") });
            dialled += 1;
        }
        started.elapsed() > Duration::from_secs(2)
    });
    // After pauses of 10, 20, 40, … ms.
    assert!((3..=9).contains(&dialled), "{dialled}");
    assert!(matches!(host.ask(Command::Status), Reply::Status(_)));
}

#[test]
fn a_folder_that_others_may_enter_is_passed_over() {
    let mut host = Host::new("exit 9");
    let listener = listen(&host, "work");
    let folder = host.state.guests.options.runtime.guest_dir(&name("work"));
    std::fs::set_permissions(&folder, PermissionsExt::from_mode(0o755)).unwrap();
    host.start();
    for _ in 0..20 {
        host.turn();
    }
    assert!(listener.accept().is_err(), "nobody dialled");
}

#[test]
fn tp10_the_keyboards_lights_are_those_of_the_guest_that_has_it() {
    let mut host = Host::new("exit 9");
    let listeners = [listen(&host, "work"), listen(&host, "play")];
    std::fs::write(host.state.guests.options.runtime.path().join("shown"), "play").unwrap();
    host.start();
    let [work, play] = [Peer::answer(&mut host, &listeners[0], "work"), Peer::answer(&mut host, &listeners[1], "play")];
    let lit = |caps, num| Leds { caps, num, scroll: false };
    let say = |peer: &Peer, leds| {
        let report = Report { leds: Some(leds), ..super::life::tests::report(GuestState::Running) };
        peer.line.send(&FromGuest::Report(report));
    };
    say(&work, lit(true, false));
    say(&play, lit(false, true));
    host.wait("the lights of play", |host| host.state.lights() == lit(false, true));
    host.ask(Command::Switch { name: name("work") });
    assert_eq!(host.state.lights(), lit(true, false));
    host.state.act(Verb::Panel { show: true }, Asker::Tool).unwrap();
    assert_eq!(host.state.lights(), lit(false, false), "the shell's own keymap has no lock on");
    say(&work, lit(true, true));
    host.state.act(Verb::Panel { show: false }, Asker::Tool).unwrap();
    host.wait("the lights of work", |host| host.state.lights() == lit(true, true));
}
