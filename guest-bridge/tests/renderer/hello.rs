//! What a renderer says of itself when it starts.

use crate::stage::{Stage, leaking_nothing, packet};
use phyllome_guest_bridge::renderer::client::RendererEvent;
use phyllome_guest_bridge::renderer::limits::{MAX_CAPSET, MAX_CAPSETS, MAX_LACK, MAX_LACKS};
use phyllome_guest_bridge::renderer::wire::Event;

const READY: Event<'_> = Event::Ready { driver: "x" };

fn capset(id: u32, data: &[u8]) -> Vec<u8> {
    packet(&[Event::Capset { id, version: 1, data }])
}

#[test]
fn capsets_and_the_driver_are_kept() {
    leaking_nothing(|| {
        let driver = packet(&[Event::Ready { driver: "llvm\x1b[2Jpipe" }]);
        let lack = packet(&[Event::Lacks("no\x07 more")]);
        let stage = Stage::greeted_by(vec![capset(1, &[1; MAX_CAPSET]), lack, capset(4, &[4]), driver]).unwrap();
        assert_eq!(stage.client.lacks(), ["no  more"]);
        let capsets: Vec<_> = stage.client.capsets().iter().map(|one| (one.id, one.version, one.data.len())).collect();
        assert_eq!(capsets, [(1, 1, MAX_CAPSET), (4, 1, 1)]);
        assert_eq!(stage.client.driver(), "llvm [2Jpipe");
        assert_eq!((stage.client.restarts(), stage.client.pid()), (0, None));
    });
}

#[test]
fn a_renderer_that_starts_wrong_is_ended_with_a_sentence() {
    let ready = || packet(&[READY]);
    let mut many: Vec<Vec<u8>> = (0..=MAX_CAPSETS as u32).map(|id| capset(id, &[1])).collect();
    many.push(ready());
    let long = "x".repeat(1025);
    for (what, packets, why) in [
        ("garbage", vec![vec![0xff; 100]], "no message"),
        ("half a message", vec![capset(1, &[1; 100])[..50].to_vec()], "no message"),
        ("an answer first", vec![packet(&[Event::Done(0)])], "before it was ready"),
        ("a fence first", vec![packet(&[Event::Fenced(0)])], "before it was ready"),
        ("a capset twice", vec![capset(1, &[1]), capset(1, &[1]), ready()], "twice"),
        ("too many capsets", many, "too many capsets"),
        ("too large a capset", vec![capset(1, &[1; MAX_CAPSET + 1]), ready()], "size"),
        ("an empty capset", vec![capset(1, &[]), ready()], "size"),
        ("a long lack", vec![packet(&[Event::Lacks(&long[..=MAX_LACK])]), ready()], "too long"),
        ("too many lacks", vec![packet(&vec![Event::Lacks("x"); MAX_LACKS + 1]), ready()], "too many"),
        ("a long driver", vec![packet(&[Event::Ready { driver: &long[..257] }])], "too long"),
        ("a long excuse", vec![packet(&[Event::Unable(&long)])], "too long"),
        ("ready twice at once", vec![packet(&[READY, READY])], "ready twice"),
        ("an end", vec![Vec::new()], "closed"),
        ("an excuse", vec![packet(&[Event::Unable("no\nlibrary")])], "no library"),
    ] {
        let error = leaking_nothing(|| Stage::greeted_by(packets).err());
        assert!(error.as_ref().is_some_and(|error| error.contains(why)), "{what}: {error:?}");
    }
}

#[test]
fn what_comes_after_ready_is_held_to_it() {
    for (what, event, why) in [
        ("ready again", READY, "ready twice"),
        ("a capset", Event::Capset { id: 9, version: 1, data: &[1] }, "after it was ready"),
        ("a lack", Event::Lacks("no Venus"), "too late"),
        ("an excuse", Event::Unable("the GPU is gone"), "the GPU is gone"),
    ] {
        leaking_nothing(|| {
            let mut stage = Stage::new();
            stage.event(event);
            let died = stage.dies();
            assert!(died.contains(why), "{what}: {died}");
        });
    }
}

#[test]
fn capsets_without_end_are_stopped() {
    leaking_nothing(|| {
        let mut stage = Stage::new();
        stage.ends.close();
        assert!(stage.dies().contains("closed"));
        stage.client.restart(stage.now).unwrap();
        let ready = stage.turn();
        assert!(matches!(ready[..], [RendererEvent::Ready]), "{ready:?}");
        for id in 0..100 {
            stage.say(&capset(id, &[1; 100]), &[]);
        }
        assert!(stage.dies().contains("after it was ready"));
    });
}
