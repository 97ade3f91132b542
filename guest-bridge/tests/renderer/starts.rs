//! Starting again, and when no more.

use crate::stage::{Ends, HELLO, Stage, block_on, leaking_nothing, packet};
use phyllome_guest_bridge::renderer::client::{Client, Off, Patience, RendererEvent};
use phyllome_guest_bridge::renderer::wire::{Event, Request};
use std::os::fd::AsRawFd;
use std::time::Instant;

#[test]
fn the_third_death_within_a_minute_turns_it_off() {
    leaking_nothing(|| {
        let mut stage = Stage::new();
        let fd = stage.client.fd().as_raw_fd();
        for restarts in 1..=2 {
            stage.ends.close();
            stage.dies();
            assert_eq!(stage.client.restart(stage.now), Ok(()));
            assert!(matches!(stage.turn()[..], [RendererEvent::Ready]));
            assert_eq!((stage.client.restarts(), stage.client.fd().as_raw_fd()), (restarts, fd));
        }
        stage.ends.close();
        stage.dies();
        assert_eq!(stage.client.restart(stage.now), Err(Off));
        assert_eq!(stage.client.restarts(), 2);
        assert!(stage.after(1000.0).is_empty());
        assert_eq!(stage.client.restart(stage.now), Err(Off));
    });
}

#[test]
fn deaths_now_and_then_are_no_reason_to_give_up() {
    leaking_nothing(|| {
        let mut stage = Stage::new();
        for _ in 0..20 {
            stage.ends.close();
            stage.dies();
            assert_eq!(stage.client.restart(stage.now), Ok(()));
            assert!(matches!(stage.after(31.0)[..], [RendererEvent::Ready]));
        }
        assert_eq!(stage.client.restart(stage.now), Ok(()), "one that lives is left alone");
        assert_eq!(stage.client.restarts(), 20);
    });
}

#[test]
fn tickets_are_never_given_twice() {
    leaking_nothing(|| {
        let mut stage = Stage::new();
        let before = stage.ask();
        stage.ends.close();
        stage.dies();
        stage.client.restart(stage.now).unwrap();
        assert!(stage.ask() > before);
        // Neither does the new one answer for the old.
        assert!(matches!(stage.turn()[..], [RendererEvent::Ready]));
        stage.say(&packet(&[Event::Done(0), Event::Done(0)]), &[]);
        let events = stage.turn();
        assert!(matches!(events[..], [RendererEvent::Answered { .. }, RendererEvent::Died { .. }]), "{events:?}");
    });
}

/// A client whose first renderer starts well, and whose next ones come from `next`.
fn then(mut next: impl FnMut(&Ends) -> std::io::Result<std::os::fd::OwnedFd> + Send + 'static) -> Stage {
    let ends = Ends::default();
    let connector = ends.clone();
    let mut first = true;
    let connect = move || match std::mem::take(&mut first) {
        true => connector.connect(&[packet(&HELLO)]),
        false => next(&connector),
    };
    let client = block_on(Client::over(connect, Patience::default()).unwrap().ready()).unwrap();
    let mut stage = Stage { client, ends, now: Instant::now() };
    stage.ends.close();
    stage.dies();
    stage
}

#[test]
fn a_start_that_fails_is_a_death() {
    leaking_nothing(|| {
        let mut stage = then(|_| Err(std::io::ErrorKind::OutOfMemory.into()));
        for _ in 0..2 {
            assert_eq!(stage.client.restart(stage.now), Ok(()));
            assert_eq!(stage.client.deadline(), Some(stage.now), "the death is to be told");
            assert!(stage.client.send(&Request::Unref(1), &[]).is_err());
            assert!(stage.dies().contains("cannot be started"));
        }
        assert_eq!(stage.client.restart(stage.now), Err(Off));
    });
}

#[test]
fn what_the_guest_was_told_of_3d_stays_true() {
    leaking_nothing(|| {
        let other = [Event::Capset { id: 4, version: 1, data: &[7; 24] }, Event::Ready { driver: "another" }];
        let mut stage = then(move |ends| ends.connect(&[packet(&other)]));
        stage.client.restart(stage.now).unwrap();
        assert!(stage.dies().contains("another 3D"));
        assert_eq!(stage.client.capsets()[0].id, 2);
    });
}
