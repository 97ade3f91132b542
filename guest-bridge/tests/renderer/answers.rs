//! Answers: matched to their requests in order, and refused where nobody asked for them.

use crate::stage::{Stage, leaking_nothing, packet};
use phyllome_guest_bridge::renderer::client::{Answer, RendererEvent};
use phyllome_guest_bridge::renderer::limits::MAX_PACKET;
use phyllome_guest_bridge::renderer::wire::{Event, Export, Request};
use rustix::net::Shutdown;

#[test]
fn answers_come_in_the_order_of_the_requests() {
    leaking_nothing(|| {
        let mut stage = Stage::new();
        let tickets = [stage.ask(), stage.ask(), stage.ask()];
        stage.client.fence(0, None, 41).unwrap();
        stage.say(&packet(&[Event::Done(0), Event::Done(12), Event::Fenced(41)]), &[]);
        stage.event(Event::Done(0));
        let events = stage.turn();
        let [
            RendererEvent::Answered { ticket: first, answer: Answer::Done },
            RendererEvent::Answered { ticket: second, answer: Answer::Refused(12) },
            RendererEvent::Fenced(41),
            RendererEvent::Answered { ticket: third, answer: Answer::Done },
        ] = events[..]
        else {
            panic!("{events:?}")
        };
        assert_eq!([first, second, third], tickets);
        assert!(stage.client.deadline().is_none());
    });
}

#[test]
fn a_death_names_all_that_will_not_be_answered_once() {
    leaking_nothing(|| {
        let mut stage = Stage::new();
        let answered = stage.ask();
        let open = [stage.ask(), stage.client.send(&Request::Export(3), &[]).unwrap(), stage.ask()];
        for fence in [9, 7, 8] {
            stage.client.fence(1, Some(0), fence).unwrap();
        }
        stage.say(&packet(&[Event::Done(0), Event::Fenced(8)]), &[]);
        // Wrong: an export is not simply done.
        stage.say(&packet(&[Event::Done(0), Event::Done(0)]), &[]);
        let events = stage.turn();
        let [
            RendererEvent::Answered { ticket: first, .. },
            RendererEvent::Fenced(8),
            RendererEvent::Answered { ticket: second, .. },
            RendererEvent::Died { tickets, fences, .. },
        ] = &events[..]
        else {
            panic!("{events:?}")
        };
        assert_eq!((*first, *second), (answered, open[0]));
        assert_eq!((&tickets[..], &fences[..]), (&open[1..], &[7, 9][..]));
        assert!(stage.turn().is_empty());
    });
}

#[test]
fn answers_that_nobody_asked_for_end_the_renderer() {
    let done = Request::Unref(1);
    let export =
        || Event::Exported(Export { width: 1, height: 1, fourcc: 1, modifier: 0, bottom_up: false, planes: vec![] });
    let mapped = || Event::Mapped { size: 4096, cache: 1 };
    for (what, request, event) in [
        ("an answer without a request", None, Event::Done(0)),
        ("a refusal without a request", None, Event::Done(5)),
        ("a picture without a request", None, export()),
        ("a mapping without a request", None, mapped()),
        ("a fence that was not asked for", None, Event::Fenced(1)),
        ("a negative result", Some(&done), Event::Done(-1)),
        ("the smallest result", Some(&done), Event::Done(i32::MIN)),
        ("a result that is no errno", Some(&done), Event::Done(4096)),
        ("a picture for a request", Some(&done), export()),
        ("a mapping for a request", Some(&done), mapped()),
        ("a mapping for a picture", Some(&Request::Export(1)), mapped()),
        ("a picture for a mapping", Some(&Request::Map(1)), export()),
        ("a mapping that is simply done", Some(&Request::Map(1)), Event::Done(0)),
        ("a picture that is simply done", Some(&Request::Export(1)), Event::Done(0)),
    ] {
        leaking_nothing(|| {
            let mut stage = Stage::new();
            if let Some(request) = request {
                stage.client.send(request, &[]).unwrap();
            }
            stage.event(event);
            let why = stage.dies();
            assert!(why.contains("broke its protocol"), "{what}: {why}");
        });
    }
}

#[test]
fn a_fence_signals_once() {
    leaking_nothing(|| {
        let mut stage = Stage::new();
        stage.client.fence(0, None, 5).unwrap();
        assert!(stage.client.fence(0, None, 5).is_err());
        stage.say(&packet(&[Event::Fenced(5), Event::Fenced(5)]), &[]);
        assert!(stage.dies().contains("fence"));
    });
}

#[test]
fn bytes_that_are_no_messages_end_the_renderer() {
    let mut with_garbage = packet(&[Event::Done(0)]);
    with_garbage.push(0xff);
    let half = packet(&[Event::Mapped { size: u64::MAX, cache: 1 }])[..6].to_vec();
    for (what, bytes) in [
        ("garbage", vec![0xfe; 1000]),
        ("half a message", half),
        ("garbage after a message", with_garbage),
        ("nothing", vec![]),
        ("a huge packet", vec![3; MAX_PACKET + 1]),
    ] {
        leaking_nothing(|| {
            let mut stage = Stage::new();
            stage.ask();
            stage.say(&bytes, &[]);
            let why = stage.dies();
            assert!(why.contains("renderer"), "{what}: {why}");
        });
    }
}

#[test]
fn a_flood_of_good_answers_takes_several_turns() {
    leaking_nothing(|| {
        let mut stage = Stage::new();
        let tickets: Vec<_> = (0..100).map(|_| stage.ask()).collect();
        for _ in &tickets {
            stage.event(Event::Done(0));
        }
        let (mut answered, mut turns) = (Vec::new(), 0);
        while answered.len() < tickets.len() {
            let events = stage.turn();
            turns += 1;
            assert!(!events.is_empty() && events.len() < 50, "{}", events.len());
            answered.extend(events.iter().map(|one| match one {
                RendererEvent::Answered { ticket, .. } => *ticket,
                other => panic!("{other:?}"),
            }));
        }
        assert!(turns > 2);
        assert_eq!(answered, tickets);
    });
}

#[test]
fn closing_in_any_way_is_a_death() {
    for how in [None, Some(Shutdown::Write), Some(Shutdown::Read), Some(Shutdown::Both)] {
        leaking_nothing(|| {
            let mut stage = Stage::new();
            let ticket = stage.ask();
            match how {
                None => stage.ends.close(),
                Some(how) => stage.ends.with(|end| rustix::net::shutdown(end, how)).unwrap(),
            }
            let events = stage.turn();
            let [RendererEvent::Died { tickets, .. }] = &events[..] else { panic!("{how:?}: {events:?}") };
            assert_eq!(tickets[..], [ticket]);
        });
    }
}

#[test]
fn last_words_before_the_end_are_heard() {
    leaking_nothing(|| {
        let mut stage = Stage::new();
        // Sent and never read: the kernel then says that the connection was reset before it gives the words.
        stage.ask();
        stage.client.flush(stage.now);
        stage.event(Event::Unable("the GPU fell off the bus"));
        stage.ends.close();
        assert_eq!(stage.dies(), "the GPU fell off the bus");
    });
}
