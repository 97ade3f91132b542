//! Chords while a guest does its worst: what is typed is heard in the turn in which it comes, as if the guest were not
//! there.

use super::client::{Client, Keyboard};
use super::fixture::{Fixture, name, pixels};
use super::show::shown;
use phyllome_protocol::status::Mode;
use phyllome_trusted::codes::{ESC, LEFT_META, TAB};
use phyllome_trusted::held::DeviceId;
use smithay::reexports::calloop::generic::Generic;
use smithay::reexports::calloop::{Interest, Mode as Readiness, PostAction};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::thread::JoinHandle;

const GREEN: u32 = 0x00_ff_00;
const CYAN: u32 = 0x00_ff_ff;
const A: u32 = 30;
pub const ONE: u32 = 2;
pub const TWO: u32 = 3;
/// Turns in which a chord that is typed has to be heard. What is ready when a turn begins is served in it, whatever a
/// guest sends; one that begins before the keys are there may be under way.
const TURNS: u32 = 2;

/// A keyboard as the loop has one: keys wait in it until the loop hears them.
pub struct Typed(UnixStream);

impl Typed {
    pub fn plug(shell: &mut Fixture) -> Self {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let source = Generic::new(ours, Interest::READ, Readiness::Level);
        let heard = shell.state.loop_handle.insert_source(source, |_, ours, state: &mut crate::State| {
            let mut key = [0; 5];
            while (&**ours).read_exact(&mut key).is_ok() {
                let [a, b, c, d, pressed] = key;
                state.handle_key(u32::from_le_bytes([a, b, c, d]), pressed == 1, 0);
            }
            Ok(PostAction::Continue)
        });
        heard.unwrap();
        Self(theirs)
    }

    /// Super and this key are pressed and released.
    pub fn chord(&mut self, code: u32) {
        for (code, pressed) in [(LEFT_META, 1), (code, 1), (code, 0), (LEFT_META, 0)] {
            let [a, b, c, d] = u32::to_le_bytes(code);
            self.0.write_all(&[a, b, c, d, pressed]).unwrap();
        }
    }
}

pub fn in_front(shell: &Fixture) -> Option<String> {
    shell.state.shell.keyboard_owner().map(|name| name.to_string())
}

/// Types the chord of a slot; this guest is in front, with the keys, within [`TURNS`].
fn switches(shell: &mut Fixture, typed: &mut Typed, code: u32, guest: &str) {
    typed.chord(code);
    let turns = (1..=TURNS).find(|_| {
        shell.turn();
        in_front(shell).as_deref() == Some(guest)
    });
    assert!(turns.is_some(), "{guest} is not in front after {TURNS} turns, but {:?}", in_front(shell));
}

/// wl_display.sync without end, as red; the answers are read, so that they never fill the socket.
fn flood(shell: &mut Fixture) -> [JoinHandle<()>; 2] {
    let (ours, theirs) = UnixStream::pair().unwrap();
    shell.state.attach_guest_client(&name("red"), ours).unwrap();
    let mut reader = theirs.try_clone().unwrap();
    let reading = std::thread::spawn(move || {
        let mut answers = vec![0u8; 1 << 16];
        while reader.read(&mut answers).is_ok_and(|bytes| bytes > 0) {}
    });
    let writing = std::thread::spawn(move || {
        for first in (2u32..).step_by(4096) {
            let requests: Vec<u8> =
                (first..first + 4096).flat_map(|id| [1, 12 << 16, id]).flat_map(u32::to_le_bytes).collect();
            if (&theirs).write_all(&requests).is_err() {
                return;
            }
        }
    });
    [reading, writing]
}

#[test]
fn tp08_a_chord_is_heard_in_the_middle_of_a_flood() {
    let mut shell = Fixture::new();
    let mut typed = Typed::plug(&mut shell);
    let (_blue, _window, _pool) = shown!(shell, "blue", CYAN);
    // A flood ends when the guest is cut off, which it is before long: it comes back each time.
    for _ in 0..5 {
        for (code, guest) in [(TWO, "blue"), (ONE, "red")] {
            let threads = flood(&mut shell);
            switches(&mut shell, &mut typed, code, guest);
            shell.wait("the flood to end", |_| threads.iter().all(JoinHandle::is_finished));
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        }
    }
}

#[test]
fn tp08_a_chord_is_heard_while_the_guest_in_front_reads_nothing() {
    let mut shell = Fixture::new();
    let mut typed = Typed::plug(&mut shell);
    let (mut red, _window, _pool) = shown!(shell, "red", GREEN);
    red.seat().get_keyboard(&red.handle, ());
    red.seat().get_pointer(&red.handle, ());
    shell.roundtrip(&mut red);
    let (mut blue, _w, _p) = shown!(shell, "blue", CYAN);
    blue.seat().get_keyboard(&blue.handle, ());
    shell.roundtrip(&mut blue);
    // From here on red hangs: what it is told fills its socket, and then some.
    for round in 0..200u32 {
        for step in 0..100 {
            shell.state.handle_key(A, step % 2 == 0, round);
            shell.state.handle_pointer_motion(100.0 + f64::from(step), 100.0 + f64::from(round), round);
        }
        shell.turn();
    }
    switches(&mut shell, &mut typed, TWO, "blue");
    shell.state.handle_key(A, true, 0);
    shell.roundtrip(&mut blue);
    assert_eq!(blue.events.keyboard.last(), Some(&Keyboard::Key(A, true)));
}

/// A picture of four times the area's size.
fn draw(red: &Client, window: &super::client::Window, colour: u32) -> super::client::Pool {
    red.fill(&window.surface, 2544, 1536, colour)
}

#[test]
fn tp08_a_chord_is_heard_while_the_guest_in_front_draws_without_end() {
    let mut shell = Fixture::new();
    let mut typed = Typed::plug(&mut shell);
    let (_blue, _w, _p) = shown!(shell, "blue", CYAN);
    let (mut red, window, _pool) = shown!(shell, "red", GREEN);
    for (code, guest, colour) in [(TWO, "blue", CYAN), (ONE, "red", GREEN)].into_iter().cycle().take(10) {
        let _picture = draw(&red, &window, GREEN);
        for _ in 0..20 {
            window.surface.damage_buffer(0, 0, 2544, 1536);
            window.surface.commit();
        }
        red.pump();
        switches(&mut shell, &mut typed, code, guest);
        shell.wait("the name to have flashed", |shell| shell.state.shell.flash(std::time::Instant::now()).is_none());
        let area = shell.area();
        assert_eq!(shell.shot("drawing-without-end").count_inside(&area, colour), pixels(&area));
    }
    assert!(!red.is_cut());
}

#[test]
fn tp08_chords_work_with_64_keys_stuck_on_a_keyboard() {
    let mut shell = Fixture::new();
    let (_red, _window, _pool) = shown!(shell, "red", GREEN);
    let stuck = DeviceId::ONLY.next();
    for code in 0x100..0x140 {
        shell.state.device_key(stuck, code, true, 0);
    }
    let tap = |shell: &mut Fixture, codes: &[u32]| {
        for (code, pressed) in codes.iter().map(|code| (*code, true)).chain(codes.iter().map(|code| (*code, false))) {
            shell.state.handle_key(code, pressed, 0);
        }
    };
    tap(&mut shell, &[LEFT_META, TWO]);
    assert_eq!(in_front(&shell).as_deref(), Some("blue"));
    tap(&mut shell, &[LEFT_META, ESC]);
    assert_eq!(shell.state.shell.mode(), Mode::Panel);
    tap(&mut shell, &[LEFT_META, ESC]);
    tap(&mut shell, &[TAB, LEFT_META]);
    shell.state.handle_key(LEFT_META, true, 0);
    shell.state.handle_key(TAB, true, 0);
    assert_eq!(shell.state.shell.mode(), Mode::Switcher);
    shell.state.handle_key(LEFT_META, false, 0);
    assert_eq!(in_front(&shell).as_deref(), Some("red"));
}
