//! What a person and another guest notice while a guest does its worst: nothing. During each attack chords are carried
//! out, the other guest's frames go on, and the shell's memory stays as it is.
//!
//! Each attack has a process of its own, so that its memory can be measured. A second or two in the run of all tests;
//! ten minutes in the parts of `cargo xtask test soak` that bear its name, where a chord's time is asserted too.

use super::chords::{ONE, TWO, Typed, in_front};
use super::client::{Client, Window};
use super::fixture::{Fixture, PATIENCE, name};
use super::memory::{is_alone, memory};
use super::show::shown;
use crate::ledger;
use crate::outputs::RendererKind;
use phyllome_test_support::soak;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use wayland_client::protocol::{wl_buffer, wl_shm};

const CYAN: u32 = 0x00_ff_ff;
/// How much more, or less, memory there may be at the end, in KiB.
const WITHIN: u64 = 2048;
/// The longest that 99 of 100 chords may take.
const CHORD: Duration = Duration::from_millis(50);

/// How long each attack goes on there. Two of them are a part.
const SOAK: Duration = Duration::from_secs(590);

/// How long the guest is away after it was cut off. (Its process is dialled a second later at the earliest.)
const AWAY: Duration = Duration::from_millis(100);

/// The guest that attacks. It comes back whenever it is cut off, with what it owes.
struct Red {
    client: Client,
    /// Nothing is sent before.
    next: Instant,
    attacks: u32,
    /// `events.synced` once all that was sent is served.
    asked: u64,
    window: Option<Window>,
    picture: Option<wl_buffer::WlBuffer>,
    ends: u32,
}

/// What it does whenever all that it did before is served.
type Attack = fn(&mut Red);

impl Red {
    fn new(shell: &mut Fixture, ends: u32) -> Self {
        let (ours, theirs) = UnixStream::pair().unwrap();
        shell.state.attach_guest_client(&name("red"), ours).unwrap();
        let mut client = Client::new(theirs);
        let asked = client.sync();
        Self { client, next: Instant::now(), attacks: 0, asked, window: None, picture: None, ends }
    }

    /// Never waits.
    fn step(&mut self, shell: &mut Fixture, attack: Attack) {
        self.client.pump();
        self.client.events.keyboard.clear();
        self.client.events.pointer.clear();
        if Instant::now() < self.next {
            return;
        }
        if self.client.is_cut() {
            let attacks = self.attacks;
            *self = Self { attacks, next: Instant::now() + AWAY, ..Self::new(shell, self.ends + 1) };
        } else if self.client.events.synced >= self.asked {
            // Below what is cut off as a flood, unless the attack says otherwise.
            self.next = Instant::now() + Duration::from_millis(2);
            match &self.window {
                None => self.window = Some(self.client.window("phyllome.scanout.0")),
                Some(_) => {
                    self.attacks += 1;
                    attack(self);
                }
            }
            self.asked = self.client.sync();
        }
    }

    /// A picture of so many pixels each way, all of it damaged.
    fn commit(&mut self, side: i32) {
        let Some(window) = &self.window else { return };
        let picture = self.picture.get_or_insert_with(|| {
            let pool = self.client.pool(side as usize * side as usize * 4);
            pool.pool.create_buffer(0, side, side, side * 4, wl_shm::Format::Xrgb8888, &self.client.handle, ())
        });
        if let Some(serial) = self.client.events.serial.take() {
            window.xdg.ack_configure(serial);
        }
        window.surface.attach(Some(picture), 0, 0);
        window.surface.damage_buffer(0, 0, side, side);
        window.surface.commit();
    }
}

/// Attacks, and looks at what others notice. `test` is the test's whole name.
fn during(test: &str, renderer: RendererKind, attack: Attack) {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    // Chords are timed there, and two attacks at once would be another one.
    let _alone = soak::is_asked().then(|| ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner));
    if !is_alone(test) {
        return;
    }
    let shell = Fixture::with(&[(1280, 800)], renderer);
    let mut shell = match shell {
        Ok(shell) => shell,
        Err(why) => {
            println!("SKIPPED: {test}: {why}");
            return;
        }
    };
    let mut typed = Typed::plug(&mut shell);
    let (mut blue, window, _pool) = shown!(shell, "blue", CYAN);
    let (small, _memory) = blue.buffer(64, 64, CYAN, wl_shm::Format::Xrgb8888);
    let mut red = Red::new(&mut shell, 0);
    let time = soak::times(Duration::from_millis(1500), SOAK);
    let (started, mut before, mut chords) = (Instant::now(), None, Vec::new());
    while started.elapsed() < time || chords.len() < 20 {
        for (code, guest) in [(TWO, "blue"), (ONE, "red")] {
            for step in 0..20 {
                red.step(&mut shell, attack);
                shell.state.handle_pointer_motion(100.0 + f64::from(step), 100.0, 0);
                shell.turn();
            }
            red.step(&mut shell, attack);
            typed.chord(code);
            let typed_at = Instant::now();
            shell.wait("the chord", |shell| in_front(shell).as_deref() == Some(guest));
            chords.push(typed_at.elapsed());
            if guest == "blue" {
                // It draws, and hears that it was shown.
                let frames = blue.events.frames;
                window.surface.attach(Some(&small), 0, 0);
                window.surface.damage_buffer(0, 0, 64, 64);
                blue.ask_for_frame(&window.surface);
                let deadline = Instant::now() + PATIENCE;
                while blue.events.frames == frames {
                    assert!(Instant::now() < deadline && !blue.is_cut(), "blue is not shown");
                    blue.pump();
                    red.step(&mut shell, attack);
                    shell.turn();
                }
                blue.events.keyboard.clear();
                blue.events.pointer.clear();
            }
        }
        // What is kept for good is there after some rounds.
        if before.is_none() && (started.elapsed() > time / 3 && chords.len() >= 10) {
            before = Some(memory());
        }
    }
    let (before, after) = (before.unwrap_or_default(), memory());
    chords.sort_unstable();
    let slow = chords[chords.len() * 99 / 100];
    println!(
        "{test}: {} chords, 99 of 100 within {slow:?}; {before} KiB, then {after}; {} attacks, cut off {} times",
        chords.len(),
        red.attacks,
        red.ends
    );
    assert!(red.attacks > 0);
    assert!(after.abs_diff(before) <= WITHIN, "{before} KiB, then {after}");
    assert!(!soak::is_asked() || slow < CHORD, "a chord takes {slow:?}");
}

#[test]
fn tp20_long_turns_that_are_paced() {
    during("tests::abuse::tp20_long_turns_that_are_paced", RendererKind::Pixman, |red| {
        let Some(window) = &red.window else { return };
        red.next = Instant::now() + Duration::from_millis(30);
        // The keyboard's focus is worked out anew for each.
        for number in 0..500 {
            window.toplevel.set_app_id(format!("phyllome.scanout.{}", number % 2));
        }
    });
}

#[test]
fn tp20_configures_that_nobody_acknowledges() {
    during("tests::abuse::tp20_configures_that_nobody_acknowledges", RendererKind::Pixman, |red| {
        let Some(window) = &red.window else { return };
        (0..40).for_each(|_| window.toplevel.set_maximized());
    });
}

#[test]
fn tp20_pictures_of_16384_by_16384_pixels() {
    during("tests::abuse::tp20_pictures_of_16384_by_16384_pixels", RendererKind::Pixman, |red| red.commit(16384));
}

#[test]
fn tp20_uploads_of_64_mib() {
    during("tests::abuse::tp20_uploads_of_64_mib", RendererKind::Gles, |red| red.commit(4096));
}

#[test]
fn tp20_more_pointers_than_may_be() {
    during("tests::abuse::tp20_more_pointers_than_may_be", RendererKind::Pixman, |red| {
        let seat = red.client.seat();
        (0..4096).for_each(|_| drop(seat.get_pointer(&red.client.handle, ())));
    });
}

/// As many pointers as may be: with every motion each of them is told.
#[test]
fn tp20_all_pointers_that_may_be() {
    during("tests::abuse::tp20_all_pointers_that_may_be", RendererKind::Pixman, |red| {
        if red.picture.is_none() {
            let seat = red.client.seat();
            (0..4).for_each(|_| drop(seat.get_pointer(&red.client.handle, ())));
        }
        red.commit(1024);
    });
}

/// Lets `red` owe what it gets back in about this time.
fn owe(shell: &mut Fixture, time: Duration) {
    let account = shell.state.protocols.ledger.account(&name("red"), Instant::now());
    // A second may be used at once, and a tenth of each second comes back.
    ledger::of(&account).served(Duration::from_secs(1) + time / 10, 1.0, Instant::now());
}

/// What `red` asks is answered only when it has paid; `blue` is served meanwhile.
fn waits_and_goes_on(shell: &mut Fixture, red: &mut Client, blue: &mut Client) {
    let asked = red.sync();
    shell.wait("red to rest", |shell| shell.state.protocols.rests(&name("red")));
    red.pump();
    assert!(red.events.synced < asked);
    shell.roundtrip(blue);
    // Nothing of what it sent is lost, and it is not cut off.
    shell.wait("red to be served", |_| {
        red.pump();
        red.events.synced >= asked
    });
    assert!(!red.is_cut() && !shell.state.protocols.rests(&name("red")));
}

#[test]
fn tp20_a_guest_that_has_used_its_time_waits_until_it_has_some_and_then_goes_on() {
    let mut shell = Fixture::new();
    let (mut blue, _w, _p) = shown!(shell, "blue", CYAN);
    let mut red = shell.attach("red");
    owe(&mut shell, Duration::from_secs(4));
    waits_and_goes_on(&mut shell, &mut red, &mut blue);
}

#[test]
fn tp20_a_guest_whose_pictures_took_too_much_time_waits_and_no_other_does() {
    let mut shell = Fixture::new();
    let (mut blue, _w, _p) = shown!(shell, "blue", CYAN);
    let mut red = shell.attach("red");
    let account = shell.state.protocols.ledger.account(&name("red"), Instant::now());
    // Two seconds may be used at once and two may be owed, and half of each second comes back.
    ledger::of(&account).pictured(Duration::from_secs(10), 1.0, Instant::now());
    waits_and_goes_on(&mut shell, &mut red, &mut blue);
}

#[test]
fn tp20_what_a_guest_owes_it_still_owes_on_its_next_connection() {
    let mut shell = Fixture::new();
    let red = shell.attach("red");
    owe(&mut shell, Duration::from_secs(1));
    drop(red);
    let mut red = Red::new(&mut shell, 0);
    shell.wait("red to rest", |shell| shell.state.protocols.rests(&name("red")));
    shell.wait("red to be served", |_| {
        red.client.pump();
        red.client.events.synced >= red.asked
    });
}

#[test]
fn a_connection_that_rests_is_cleaned_up_as_soon_as_it_is_ended() {
    let mut shell = Fixture::new();
    let mut red = shell.attach("red");
    owe(&mut shell, Duration::from_secs(20));
    red.sync();
    shell.wait("red to rest", |shell| shell.state.protocols.rests(&name("red")));
    let account = shell.state.protocols.ledger.account(&name("red"), Instant::now());
    shell.state.detach_guest_client(&name("red"));
    (0..5).for_each(|_| shell.turn());
    assert!(!shell.state.protocols.rests(&name("red")));
    assert_eq!(Arc::strong_count(&account), 2, "the ledger has it, and this test, and no connection");
}
