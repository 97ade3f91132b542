//! Requests on their way out: whole, in order, in packets that fit, and never more than memory has room for.

use crate::stage::{HELLO, Stage, borrowed, leaking_nothing, memory, packet};
use phyllome_guest_bridge::renderer::client::{RendererEvent, Unsent};
use phyllome_guest_bridge::renderer::limits::{MAX_BULK, MAX_INLINE, MAX_PACKET, MAX_REGIONS};
use phyllome_guest_bridge::renderer::wire::{self, Piece, Region, Request};

/// The requests in `packets`, each handed to `look`.
fn each(packets: &[(Vec<u8>, usize)], mut look: impl FnMut(Request<'_>, usize)) {
    for (bytes, files) in packets {
        assert!(bytes.len() <= MAX_PACKET);
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let (request, after) = wire::take::<Request<'_>>(rest).unwrap();
            assert!(*files == 0 || after.is_empty(), "a message with descriptors is alone");
            look(request, *files);
            rest = after;
        }
    }
}

#[test]
fn one_turns_requests_share_a_packet() {
    leaking_nothing(|| {
        let mut stage = Stage::new();
        for resource in 0..50 {
            stage.client.send(&Request::Unref(resource), &[]).unwrap();
        }
        stage.client.fence(3, Some(1), 99).unwrap();
        stage.client.follow(3, Some(1), 100).unwrap();
        stage.client.drop_target(8).unwrap();
        let sent = stage.sent();
        assert_eq!(sent.len(), 1);
        let mut requests = Vec::new();
        each(&sent, |request, _| requests.push(format!("{request:?}")));
        assert_eq!(requests.len(), 53);
        let last = [
            "Unref(49)",
            "Fence { context: 3, ring: Some(1), fence: 99 }",
            "Follow { context: 3, ring: Some(1), fence: 100 }",
            "DropTarget(8)",
        ];
        assert_eq!(requests[49..], last);
    });
}

#[test]
fn bulk_of_every_length_arrives_as_it_was() {
    leaking_nothing(|| {
        let mut stage = Stage::new();
        for length in [0, 4, MAX_INLINE - 1, MAX_INLINE, MAX_INLINE + 1, 2 * MAX_INLINE, 1 << 20, MAX_BULK] {
            let commands: Vec<u8> = (0..length).map(|byte| byte as u8).collect();
            stage.client.send(&Request::Unref(1), &[]).unwrap();
            stage.client.submit(6, &commands).unwrap();
            let (mut bulk, mut ended) = (Vec::new(), false);
            each(&stage.sent(), |request, _| match request {
                Request::Unref(1) => assert!(bulk.is_empty()),
                Request::Part(part) => bulk.extend_from_slice(part),
                Request::Submit { context: 6, commands } => {
                    bulk.extend_from_slice(commands);
                    ended = true;
                }
                other => panic!("{other:?}"),
            });
            assert!(ended && bulk == commands, "{length}");
        }
        assert_eq!(stage.client.submit(6, &vec![0; MAX_BULK + 4]), Err(Unsent::Unfit));
        assert!(stage.sent().is_empty(), "what is refused is not sent in part");
    });
}

#[test]
fn lists_of_pieces_arrive_whole() {
    leaking_nothing(|| {
        let mut stage = Stage::new();
        let pieces: Vec<Piece> = (0..16384).map(|n| Piece { address: n << 12, length: 4096 }).collect();
        stage.client.attach(5, pieces.iter().copied()).unwrap();
        stage
            .client
            .create_blob(pieces[..2].iter().copied(), |pieces| Request::CreateBlob {
                resource: 7,
                context: 0,
                memory: 1,
                flags: 1,
                blob: 0,
                size: 8192,
                pieces,
            })
            .unwrap();
        let (mut bulk, mut lists) = (Vec::new(), Vec::new());
        each(&stage.sent(), |request, _| match request {
            Request::Part(part) => bulk.extend_from_slice(part),
            Request::Attach { resource: 5, pieces } | Request::CreateBlob { resource: 7, pieces, .. } => {
                bulk.extend_from_slice(pieces);
                lists.push(Piece::list(&std::mem::take(&mut bulk)).unwrap().collect::<Vec<_>>());
            }
            other => panic!("{other:?}"),
        });
        assert_eq!(lists, [&pieces[..], &pieces[..2]]);
        let endless = (0..).map(|address| Piece { address, length: 1 });
        assert_eq!(stage.client.attach(5, endless), Err(Unsent::Unfit));
    });
}

#[test]
fn descriptors_go_alone_and_in_order() {
    leaking_nothing(|| {
        let mut stage = Stage::new();
        let regions: Vec<_> =
            (0..MAX_REGIONS as u64).map(|n| Region { address: n << 30, length: 1, offset: 0 }).collect();
        let files: Vec<_> = regions.iter().map(|_| memory(1)).collect();
        stage.ask();
        stage.client.send(&Request::Memory(regions.clone()), &borrowed(&files)).unwrap();
        stage.client.send(&Request::Target { target: 1, length: 1 }, &borrowed(&files[..1])).unwrap();
        stage.ask();
        drop(files);
        let counts: Vec<usize> = stage.sent().iter().map(|(_, files)| *files).collect();
        assert_eq!(counts, [0, MAX_REGIONS, 1, 0]);
    });
}

#[test]
fn what_does_not_follow_the_protocol_is_not_sent() {
    leaking_nothing(|| {
        let mut stage = Stage::new();
        let (one, long) = ([memory(1)], vec![0; MAX_PACKET]);
        for (request, files) in [
            (Request::Unref(1), &one[..]),
            (Request::Target { target: 1, length: 1 }, &[]),
            (Request::Memory(Vec::new()), &one),
            (Request::Part(&[1]), &[]),
            (Request::Fence { context: 0, ring: None, fence: 1 }, &[]),
            (Request::Follow { context: 0, ring: None, fence: 1 }, &[]),
            (Request::DropTarget(1), &[]),
            (Request::Submit { context: 1, commands: &long }, &[]),
        ] {
            assert_eq!(stage.client.send(&request, &borrowed(files)), Err(Unsent::Unfit), "{request:?}");
        }
        assert_eq!(stage.client.create_blob([].into_iter(), |_| Request::Unref(1)), Err(Unsent::Unfit));
        assert!(stage.sent().is_empty() && stage.client.deadline().is_none());
    });
}

#[test]
fn a_renderer_that_reads_nothing_costs_bounded_memory() {
    leaking_nothing(|| {
        let mut stage = Stage::new();
        let commands = vec![0; 1 << 20];
        let (mut queued, mut advised) = (0, 0);
        while stage.client.submit(1, &commands).is_ok() {
            queued += 1;
            stage.client.flush(stage.now);
            advised += usize::from(stage.client.has_room());
            assert!(queued < 1000);
        }
        assert!((15..=17).contains(&advised), "{advised} MiB, then there is no room");
        assert!(queued <= 34, "{queued} MiB are kept");
        assert_eq!(stage.client.submit(1, &commands), Err(Unsent::Full));
        // Once it reads, there is room again.
        stage.sent();
        assert!(stage.client.has_room());
        stage.client.submit(1, &commands).unwrap();
    });
}

#[test]
fn unanswered_requests_and_fences_are_bounded() {
    leaking_nothing(|| {
        let mut stage = Stage::new();
        let mut asked = 0;
        while stage.client.has_room() {
            stage.ask();
            asked += 1;
        }
        assert_eq!(asked, 1024);
        while stage.client.send(&Request::Unref(1), &[]).is_ok() {
            asked += 1;
            assert!(asked < 100_000);
        }
        let mut stage = Stage::new();
        let fences = (0..).take_while(|fence| stage.client.fence(0, None, *fence).is_ok()).count();
        assert_eq!(fences, 16384);
        assert!(!stage.client.has_room());
    });
}

#[test]
fn requests_wait_for_a_renderer_that_starts_again() {
    leaking_nothing(|| {
        let mut stage = Stage::new();
        stage.ends.close();
        stage.dies();
        assert_eq!(stage.client.send(&Request::Unref(1), &[]), Err(Unsent::Gone));
        assert_eq!(stage.client.fence(0, None, 1), Err(Unsent::Gone));
        stage.client.restart(stage.now).unwrap();
        let ticket = stage.ask();
        assert!(stage.sent().is_empty(), "it listens only once it is ready");
        assert!(matches!(stage.turn()[..], [RendererEvent::Ready]));
        assert_eq!(stage.sent().len(), 1);
        stage.say(&packet(&[wire::Event::Done(0)]), &[]);
        assert!(matches!(stage.turn()[..], [RendererEvent::Answered { ticket: of, .. }] if of == ticket));
        assert_eq!(stage.client.capsets().len(), HELLO.len() - 1);
    });
}
