//! The loop as it runs on the display itself, driven turn by turn.

use super::fixture::{Fixture, PATIENCE};
use crate::event_loop::{turn, turn_over};
use smithay::reexports::calloop::PostAction;
use smithay::reexports::calloop::timer::{TimeoutAction, Timer};
use std::cell::Cell;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_millis(30);

/// Turns until `done`; how many turns that took.
fn turn_until(fixture: &mut Fixture, what: &str, done: impl Fn() -> bool) -> u32 {
    let (deadline, mut turns) = (Instant::now() + PATIENCE, 0);
    while !done() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        turn(&mut fixture.event_loop, &mut fixture.state, Some(PATIENCE)).unwrap();
        turns += 1;
    }
    turns
}

/// The lane listens to calloop, and what was set at the start is done with.
fn alone() -> Fixture {
    let mut fixture = Fixture::new();
    turn_over(&fixture.event_loop, &fixture.state).unwrap();
    for _ in 0..10 {
        turn(&mut fixture.event_loop, &mut fixture.state, Some(SOON)).unwrap();
    }
    fixture
}

#[test]
fn a_guest_is_served_in_the_lane() {
    let mut fixture = alone();
    let (ours, theirs) = UnixStream::pair().unwrap();
    let heard = Rc::new(Cell::new(0));
    let (count, mut socket, _held) = (heard.clone(), ours.try_clone().unwrap(), ours.try_clone().unwrap());
    let serve = move |_: &mut _| {
        count.set(count.get() + socket.read(&mut [0; 8]).unwrap());
        PostAction::Continue
    };
    let place = fixture.state.loop_handle.watch(ours, serve).unwrap();
    (&theirs).write_all(b"one").unwrap();
    turn_until(&mut fixture, "the first word", || heard.get() == 3);
    fixture.state.loop_handle.unwatch(place);
    (&theirs).write_all(b"two").unwrap();
    turn(&mut fixture.event_loop, &mut fixture.state, Some(SOON)).unwrap();
    assert_eq!(heard.get(), 3, "nobody listens any more");
}

#[test]
fn one_that_says_so_is_served_no_more() {
    let mut fixture = alone();
    let (ours, theirs) = UnixStream::pair().unwrap();
    let served = Rc::new(Cell::new(0));
    let count = served.clone();
    let serve = move |_: &mut _| {
        count.set(count.get() + 1);
        PostAction::Remove
    };
    fixture.state.loop_handle.watch(ours, serve).unwrap();
    (&theirs).write_all(b"never read").unwrap();
    turn_until(&mut fixture, "the one time", || served.get() == 1);
    turn(&mut fixture.event_loop, &mut fixture.state, Some(SOON)).unwrap();
    assert_eq!(served.get(), 1);
}

#[test]
fn timers_of_calloop_wake_the_lane_and_go_on() {
    let mut fixture = alone();
    let rung = Rc::new(Cell::new(0));
    let count = rung.clone();
    let started = Instant::now();
    let ring = move |_, (): &mut (), _: &mut _| {
        count.set(count.get() + 1);
        if count.get() < 3 { TimeoutAction::ToDuration(SOON) } else { TimeoutAction::Drop }
    };
    fixture.state.loop_handle.insert_source(Timer::from_duration(SOON), ring).unwrap();
    let turns = turn_until(&mut fixture, "the third time", || rung.get() == 3);
    assert!(started.elapsed() >= 3 * SOON, "{:?}", started.elapsed());
    assert!(turns <= 20, "{turns} turns: it does not sleep");
}

#[test]
fn an_alarm_rings_when_it_is_due_and_not_once_it_is_cleared() {
    let mut fixture = alone();
    let rung = Rc::new(Cell::new(0));
    let (count, never) = (rung.clone(), rung.clone());
    let started = Instant::now();
    let again = move |_: &mut _| {
        count.set(count.get() + 1);
        if count.get() < 2 { TimeoutAction::ToDuration(SOON) } else { TimeoutAction::Drop }
    };
    fixture.state.loop_handle.set_alarm(started + SOON, again);
    let cleared = fixture.state.loop_handle.set_alarm(started + SOON, move |_: &mut _| {
        never.set(100);
        TimeoutAction::Drop
    });
    fixture.state.loop_handle.clear_alarm(cleared);
    let turns = turn_until(&mut fixture, "the second time", || rung.get() == 2);
    assert!(started.elapsed() >= 2 * SOON, "{:?}", started.elapsed());
    assert!(turns <= 10, "{turns} turns: it does not sleep");
}

#[test]
fn a_shell_with_nothing_to_do_sleeps() {
    let mut fixture = alone();
    let started = Instant::now();
    turn(&mut fixture.event_loop, &mut fixture.state, Some(Duration::from_millis(200))).unwrap();
    assert!(started.elapsed() >= Duration::from_millis(200), "woken after {:?}", started.elapsed());
}

#[test]
fn a_flood_in_the_lane_keeps_calloop_from_nothing() {
    let mut fixture = alone();
    let (ours, theirs) = UnixStream::pair().unwrap();
    (&theirs).write_all(b"never read").unwrap();
    fixture.state.loop_handle.watch(ours, |_: &mut _| PostAction::Continue).unwrap();
    let rung = Rc::new(Cell::new(false));
    let ring = rung.clone();
    let timer = move |_, (): &mut (), _: &mut _| {
        ring.set(true);
        TimeoutAction::Drop
    };
    fixture.state.loop_handle.insert_source(Timer::from_duration(SOON), timer).unwrap();
    turn_until(&mut fixture, "the timer", || rung.get());
}
