//! Fences come once what was before them is done, in order.

use crate::driver::{B8G8R8A8, Renderer, Said, clear, texture};
use phyllome_guest_bridge::renderer::wire::{self, Request};

fn fenced(renderer: &mut Renderer) -> u64 {
    match renderer.next() {
        Some(Said::Fenced(fence)) => fence,
        other => panic!("instead of a fence it said {other:?}"),
    }
}

fn drawing() -> Renderer {
    let (mut renderer, _ram) = Renderer::with_memory();
    assert_eq!(renderer.context(1, 0), 0);
    assert_eq!(renderer.create(1, texture(B8G8R8A8, 256, 256)), 0);
    assert_eq!(renderer.ask(&Request::ContextResource { context: 1, resource: 1, attach: true }), 0);
    renderer
}

#[test]
fn fences_of_all_come_in_order() {
    let mut renderer = drawing();
    for fence in 1..=20 {
        assert_eq!(renderer.submit(1, &clear(100 + fence, 1, B8G8R8A8, [1.0; 4])), 0);
        renderer.send(&Request::Fence { context: 0, ring: None, fence: (1 << 40) + u64::from(fence) });
        assert_eq!(fenced(&mut renderer), (1 << 40) + u64::from(fence));
    }
    for fence in 100..200 {
        renderer.send(&Request::Fence { context: 1, ring: None, fence });
    }
    let came: Vec<u64> = (100..200).map(|_| fenced(&mut renderer)).collect();
    assert!(came.is_sorted() && came.first() == Some(&100) && came.last() == Some(&199), "{came:?}");
}

#[test]
fn an_answer_that_ends_nothing_waits_for_its_fence_and_not_for_long() {
    let mut renderer = drawing();
    let before = renderer.packets;
    let count: usize = 100;
    for fence in 0..count as u64 {
        let mut packet = Vec::new();
        assert!(wire::append(&mut packet, &Request::Submit { context: 1, commands: &[] }));
        assert!(wire::append(&mut packet, &Request::Fence { context: 0, ring: None, fence }));
        assert!(renderer.send_packet(&packet, &[]));
        assert_eq!((renderer.done(), fenced(&mut renderer)), (0, fence));
    }
    let packets = renderer.packets - before;
    // Not on a computer that is so busy that every fence takes longer than an answer may wait.
    assert!(packets < count * 3 / 2, "{packets} packets for {count} commands with fences");

    // What no fence follows does not wait, nor does what comes after a fence.
    let mut packet = Vec::new();
    assert!(wire::append(&mut packet, &Request::Fence { context: 0, ring: None, fence: 1000 }));
    assert!(wire::append(&mut packet, &Request::Submit { context: 1, commands: &[] }));
    assert!(renderer.send_packet(&packet, &[]));
    let mut both = [renderer.next(), renderer.next()];
    both.sort_by_key(|said| matches!(said, Some(Said::Done(_))));
    assert!(matches!(both, [Some(Said::Fenced(1000)), Some(Said::Done(0))]), "{both:?}");
}

#[test]
fn fences_of_a_timeline_come_in_order() {
    let mut renderer = drawing();
    for fence in 1..=50 {
        renderer.send(&Request::Fence { context: 1, ring: Some(0), fence });
    }
    let came: Vec<u64> = (1..=50).map(|_| fenced(&mut renderer)).collect();
    assert!(came.is_sorted() && came.last() == Some(&50), "{came:?}");
}

#[test]
fn fences_come_from_a_library_without_a_thread_for_them() {
    let mut renderer = Renderer::start_with(&[], &[("VIRGL_DISABLE_MT", "1")]);
    assert_eq!(renderer.context(1, 0), 0);
    for fence in 1..=10 {
        renderer.send(&Request::Fence { context: 0, ring: None, fence: fence * 2 });
        renderer.send(&Request::Fence { context: 1, ring: Some(0), fence: fence * 2 + 1 });
        let both = [fenced(&mut renderer), fenced(&mut renderer)];
        assert!(both.contains(&(fence * 2)) && both.contains(&(fence * 2 + 1)), "{both:?}");
    }
}

#[test]
fn a_fence_that_cannot_be_had_comes_at_once() {
    let mut renderer = drawing();
    for (fence, (context, ring)) in [(9, Some(0)), (1, Some(63)), (1, Some(255))].into_iter().enumerate() {
        renderer.send(&Request::Fence { context, ring, fence: fence as u64 });
        assert_eq!(fenced(&mut renderer), fence as u64);
    }
}

#[test]
fn the_fences_of_a_context_end_with_it() {
    let mut renderer = drawing();
    assert_eq!(renderer.submit(1, &clear(2, 1, B8G8R8A8, [1.0; 4])), 0);
    renderer.send(&Request::Fence { context: 1, ring: Some(0), fence: 3 });
    renderer.send(&Request::DestroyContext(1));
    let mut both = [renderer.next(), renderer.next()];
    both.sort_by_key(|said| matches!(said, Some(Said::Done(_))));
    assert!(matches!(both, [Some(Said::Fenced(3)), Some(Said::Done(0))]), "{both:?}");
}

/// A signal stands for all fences before it, so none may come before one that was asked for earlier.
#[test]
fn what_is_done_already_is_told_at_once_but_not_before_what_is_being_drawn() {
    let (mut renderer, _ram) = Renderer::with_memory();
    assert_eq!(renderer.context(1, 0), 0);
    assert_eq!(renderer.create(1, texture(B8G8R8A8, 2048, 2048)), 0);
    assert_eq!(renderer.ask(&Request::ContextResource { context: 1, resource: 1, attach: true }), 0);
    for round in 0..10u64 {
        let slow: Vec<u32> =
            (0..10).flat_map(|n| clear(10 + round as u32 * 10 + n, 1, B8G8R8A8, [n as f32 / 16.0; 4])).collect();
        assert_eq!(renderer.submit(1, &slow), 0);
        renderer.send(&Request::Fence { context: 0, ring: None, fence: round * 4 });
        renderer.send(&Request::Follow { context: 1, ring: Some(0), fence: round * 4 + 1 });
        renderer.send(&Request::Follow { context: 0, ring: None, fence: round * 4 + 2 });
        let came = [fenced(&mut renderer), fenced(&mut renderer), fenced(&mut renderer)];
        assert_eq!(came, [round * 4, round * 4 + 1, round * 4 + 2]);
        renderer.send(&Request::Follow { context: 9, ring: Some(7), fence: round * 4 + 3 });
        assert_eq!(fenced(&mut renderer), round * 4 + 3);
    }
}

/// virglrenderer loses the fence that it is waiting for when any context is destroyed.
#[test]
fn fences_survive_the_end_of_other_contexts() {
    let (mut renderer, _ram) = Renderer::with_memory();
    let side = 2048;
    assert_eq!(renderer.context(1, 0), 0);
    assert_eq!(renderer.create(1, texture(B8G8R8A8, side, side)), 0);
    assert_eq!(renderer.ask(&Request::ContextResource { context: 1, resource: 1, attach: true }), 0);
    for round in 0..10u64 {
        assert_eq!(renderer.context(2, 0), 0);
        let slow: Vec<u32> =
            (0..10).flat_map(|n| clear(10 + round as u32 * 10 + n, 1, B8G8R8A8, [n as f32 / 16.0; 4])).collect();
        assert_eq!(renderer.submit(1, &slow), 0);
        renderer.send(&Request::Fence { context: 0, ring: None, fence: round * 2 });
        renderer.send(&Request::Fence { context: 1, ring: Some(0), fence: round * 2 + 1 });
        renderer.send(&Request::DestroyContext(2));
        let mut came: Vec<u64> = Vec::new();
        for _ in 0..3 {
            match renderer.next() {
                Some(Said::Fenced(fence)) => came.push(fence),
                other => assert!(matches!(other, Some(Said::Done(0))), "{other:?}"),
            }
        }
        came.sort_unstable();
        assert_eq!(came, [round * 2, round * 2 + 1]);
    }
}
