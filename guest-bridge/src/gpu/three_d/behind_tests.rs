//! A renderer that is so far behind that it cannot be told what has changed.

use super::*;

#[test]
fn a_renderer_that_is_too_far_behind_to_hear_of_another_driver_is_ended() {
    let mut bench = bench();
    bench.context(1);
    bench.texture(3);
    let full = (0..10_000).find(|_| bench.status(cmd::UPDATE_CURSOR, 0, &[0, 0, 0, 0, 3, 0, 0, 0]) != OK);
    assert!(full.is_some(), "so much is kept for a renderer that does not answer");
    bench.device.reset();
    assert_eq!(bench.device.renderer_turn(Instant::now()), [], "nobody waits any more");
    bench.renderer =
        bench.ends.lock().unwrap().pop_front().expect("another renderer, which has nothing of the old one");
    bench.device.renderer_turn(Instant::now());
    bench.forwarded(cmd::CTX_CREATE, 0, 1, &[0; 18]);
    let asked = bench.asked();
    assert!(asked.len() == 1 && asked[0].starts_with("CreateContext"), "{asked:?}");
}

#[test]
fn what_the_guest_takes_away_while_its_renderer_cannot_be_told_is_gone_from_both() {
    for (kind, context, words) in
        [(cmd::CTX_DESTROY, 1, &[][..]), (cmd::RESOURCE_UNREF, 0, &[3, 0]), (cmd::RESOURCE_DETACH_BACKING, 0, &[3, 0])]
    {
        let mut bench = bench();
        bench.context(1);
        bench.texture(3);
        while bench.status(cmd::UPDATE_CURSOR, 0, &[0, 0, 0, 0, 3, 0, 0, 0]) == OK {}
        assert_eq!(bench.send(kind, 0, context, words), (OK, Outcome::Answer), "{kind:#x}");
        bench.device.renderer_turn(Instant::now());
        assert_eq!(bench.ends.lock().unwrap().len(), 1, "{kind:#x}: the renderer that still has it goes on");
    }
}
