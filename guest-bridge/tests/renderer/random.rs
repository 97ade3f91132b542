//! Random packets: nothing panics, nothing is kept, and a death comes once or not at all.

use crate::stage::{HELLO, Stage, borrowed, leaking_nothing, memory, packet};
use phyllome_guest_bridge::renderer::client::RendererEvent;
use phyllome_guest_bridge::renderer::wire::{Event, Export, Plane, Request};
use proptest::prelude::*;

fn event() -> impl Strategy<Value = Event<'static>> {
    let plane = (any::<u32>(), any::<u32>()).prop_map(|(offset, stride)| Plane { offset, stride });
    let export =
        (any::<u32>(), any::<u32>(), prop::collection::vec(plane, 0..6)).prop_map(|(width, height, planes)| {
            Event::Exported(Export { width, height, fourcc: 1, modifier: 0, bottom_up: false, planes })
        });
    prop_oneof![
        4 => Just(Event::Done(0)),
        2 => any::<i32>().prop_map(Event::Done),
        2 => (0..12u64).prop_map(Event::Fenced),
        2 => export,
        2 => (0..9000u64, 0..5u32).prop_map(|(size, cache)| Event::Mapped { size, cache }),
        1 => Just(HELLO[0].clone()),
        1 => Just(HELLO[1].clone()),
    ]
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        3 => prop::collection::vec(event(), 1..4).prop_map(|events| packet(&events)),
        1 => prop::collection::vec(0..8u8, 0..40),
        1 => prop::collection::vec(any::<u8>(), 0..2000),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn any_packets_are_survived(packets in prop::collection::vec((bytes(), 0..7usize), 1..12), asked in 0..8usize) {
        leaking_nothing(|| {
            let mut stage = Stage::new();
            stage.client.take_memfd_pictures();
            let files: Vec<_> = (0..7).map(|_| memory(4096)).collect();
            for number in 0..asked {
                stage.ask();
                stage.client.send(&Request::Export(1), &[]).unwrap();
                stage.client.send(&Request::Map(1), &[]).unwrap();
                stage.client.fence(0, None, number as u64).unwrap();
            }
            let (mut answered, mut fenced, mut deaths) = (0, 0, 0);
            for (bytes, count) in &packets {
                stage.say(bytes, &borrowed(&files[..*count]));
                for events in stage.turn() {
                    assert_eq!(deaths, 0, "{events:?} after death");
                    match events {
                        RendererEvent::Answered { .. } => answered += 1,
                        RendererEvent::Fenced(_) => fenced += 1,
                        RendererEvent::Ready => panic!("it was ready"),
                        RendererEvent::Died { tickets, fences, .. } => {
                            deaths += 1;
                            assert_eq!((answered + tickets.len(), fenced + fences.len()), (3 * asked, asked));
                        }
                    }
                }
                if deaths > 0 {
                    break;
                }
            }
            assert_eq!(stage.client.is_alive(), deaths == 0);
        });
    }
}
