//! Silence: how long a renderer may take, with the test's own clock.

use crate::stage::{Ends, Stage, block_on, leaking_nothing, packet};
use phyllome_guest_bridge::renderer::client::{Client, Patience, RendererEvent};
use phyllome_guest_bridge::renderer::wire::Event;
use std::time::{Duration, Instant};

fn why(events: &[RendererEvent]) -> &str {
    match events {
        [RendererEvent::Died { why, .. }] => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_request_that_is_not_answered_ends_the_renderer() {
    leaking_nothing(|| {
        let mut stage = Stage::new();
        assert!(stage.after(1000.0).is_empty(), "who is asked nothing need not answer");
        stage.ask();
        stage.client.flush(stage.now);
        assert_eq!(stage.client.deadline(), Some(stage.now + Duration::from_secs(15)));
        assert!(stage.after(14.9).is_empty());
        let events = stage.after(0.2);
        assert!(why(&events).contains("did not answer"), "{events:?}");
    });
}

#[test]
fn a_time_in_which_nobody_ran_ends_no_renderer_and_it_has_all_its_time_anew() {
    leaking_nothing(|| {
        let mut stage = Stage::new();
        stage.ask();
        stage.client.fence(0, None, 1).unwrap();
        stage.turn();
        assert!(stage.after(3600.0).is_empty(), "an hour in which the guest's processes were frozen");
        assert_eq!(stage.client.deadline(), Some(stage.now + Duration::from_secs(15)));
        assert!(stage.after(14.9).is_empty());
        stage.event(Event::Done(0));
        assert_eq!(stage.turn().len(), 1);
        assert!(stage.after(15.0).is_empty());
        let events = stage.after(0.2);
        assert!(why(&events).contains("fence"), "{events:?}");
    });
}

#[test]
fn who_answers_slowly_but_steadily_lives() {
    leaking_nothing(|| {
        let mut stage = Stage::new();
        for _ in 0..5 {
            stage.ask();
        }
        stage.turn();
        for _ in 0..5 {
            assert!(stage.after(14.0).is_empty());
            stage.event(Event::Done(0));
            assert_eq!(stage.turn().len(), 1);
        }
        assert!(stage.after(1000.0).is_empty());
    });
}

#[test]
fn a_fence_that_never_signals_ends_the_renderer() {
    leaking_nothing(|| {
        let mut stage = Stage::new();
        stage.client.fence(0, None, 1).unwrap();
        stage.client.fence(0, None, 2).unwrap();
        stage.turn();
        assert!(stage.after(29.0).is_empty());
        stage.event(Event::Fenced(2));
        assert_eq!(stage.turn().len(), 1);
        assert!(stage.after(29.0).is_empty());
        // Answers are no fences.
        stage.ask();
        stage.event(Event::Done(0));
        assert_eq!(stage.turn().len(), 1);
        let events = stage.after(1.1);
        assert!(matches!(&events[..], [RendererEvent::Died { fences, .. }] if fences[..] == [1]), "{events:?}");
        assert!(why(&events).contains("fence"));
    });
}

#[test]
fn who_takes_nothing_off_a_full_socket_is_ended() {
    leaking_nothing(|| {
        let mut stage = Stage::new();
        // None of these has an answer.
        for _ in 0..1_000_000 {
            stage.client.drop_target(u32::MAX).unwrap();
        }
        stage.turn();
        assert!(stage.after(14.9).is_empty());
        // Taking some is enough.
        assert!(!stage.sent().is_empty());
        for _ in 0..1_000_000 {
            stage.client.drop_target(u32::MAX).unwrap();
        }
        stage.turn();
        assert!(stage.after(14.9).is_empty());
        let events = stage.after(0.2);
        assert!(why(&events).contains("did not listen"), "{events:?}");
    });
}

#[test]
fn who_does_not_get_ready_is_given_up() {
    leaking_nothing(|| {
        let ends = Ends::default();
        let connector = ends.clone();
        let patience = Patience { start: Duration::from_millis(30), ..Patience::default() };
        let connect = move || connector.connect(&[packet(&[Event::Capset { id: 1, version: 1, data: &[1] }])]);
        let start = Instant::now();
        let error = block_on(Client::over(connect, patience).unwrap().ready()).unwrap_err();
        assert!(error.contains("did not get ready"), "{error}");
        assert!(start.elapsed() >= patience.start);
    });
}

#[test]
fn one_that_was_started_again_has_the_same_time_to_get_ready() {
    leaking_nothing(|| {
        let ends = Ends::default();
        let connector = ends.clone();
        let mut hello = Some(packet(&crate::stage::HELLO));
        let connect = move || connector.connect(&hello.take().map(|hello| vec![hello]).unwrap_or_default());
        let client = block_on(Client::over(connect, Patience::default()).unwrap().ready()).unwrap();
        let mut stage = Stage { client, ends, now: Instant::now() };
        stage.ends.close();
        stage.dies();
        stage.client.restart(stage.now).unwrap();
        stage.ask();
        assert_eq!(stage.client.deadline(), Some(stage.now + Patience::default().start));
        assert!(stage.after(29.9).is_empty());
        let events = stage.after(0.2);
        assert!(why(&events).contains("did not get ready"), "{events:?}");
    });
}
