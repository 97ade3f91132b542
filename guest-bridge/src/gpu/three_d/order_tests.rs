//! When commands are answered, and in which order.

use super::*;

#[test]
fn a_command_is_answered_when_the_renderer_has_answered_and_its_fence_has_signalled() {
    let mut bench = bench();
    bench.context(1);
    let plain = bench.forwarded(cmd::SUBMIT_3D, 0, 1, &[4, 0, 0xaabb]);
    let fenced = bench.forwarded(cmd::SUBMIT_3D, FLAG_FENCE, 1, &[4, 0, 0xccdd]);
    let asked = bench.asked();
    assert!(asked[0].starts_with("Memory") || asked[0].starts_with("Submit"), "{asked:?}");
    assert!(asked.last().unwrap().starts_with("Fence { context: 0, ring: None, fence: 1"), "{asked:?}");
    let answers = asked.len() - 1;
    assert_eq!(bench.answer(&vec![Event::Done(0); answers]), [(plain, Status::OkNoData)]);
    // A fenced command that the device executes itself keeps its place behind that fence.
    let behind = match bench.send(cmd::RESOURCE_CREATE_2D, FLAG_FENCE, 0, &[9, 2, 8, 8]) {
        (OK, Outcome::Forwarded(token, _)) => token,
        other => panic!("{other:?}"),
    };
    // So does one that it refuses; an answer would be a sign that the fence before has signalled.
    let refused = bench.forwarded(cmd::SUBMIT_3D, FLAG_FENCE, 7, &[4, 0, 1]);
    let follow = |fence| format!("Follow {{ context: 0, ring: None, fence: {fence} }}");
    assert_eq!(bench.asked(), [follow(2), follow(3)]);
    assert_eq!(bench.answer(&[Event::Fenced(1)]), [(fenced, Status::OkNoData)]);
    let answers = [(behind, Status::OkNoData), (refused, Status::ErrInvalidContextId)];
    assert_eq!(bench.answer(&[Event::Fenced(2), Event::Fenced(3)]), answers);
    assert_eq!(bench.status(cmd::SUBMIT_3D, 7, &[4, 0, 1]), Status::ErrInvalidContextId as u32);
    assert_eq!(bench.send(cmd::RESOURCE_CREATE_2D, FLAG_FENCE, 0, &[10, 2, 8, 8]), (OK, Outcome::Answer));
}

#[test]
fn what_the_renderer_refuses_is_an_error_of_the_guest_s_and_is_not_there() {
    let mut bench = bench();
    let token = bench.forwarded(cmd::RESOURCE_CREATE_3D, FLAG_FENCE, 0, &[5, 2, 2, 2, 64, 32, 1, 1, 0, 0, 0, 0]);
    // The library makes it at once: no fence of the library's is asked for.
    assert_eq!(bench.asked().last().unwrap(), "Follow { context: 0, ring: None, fence: 1 }");
    assert_eq!(bench.answer(&[Event::Done(libc::ENOMEM)]), [], "its turn comes with its fence");
    assert_eq!(bench.answer(&[Event::Fenced(1)]), [(token, Status::ErrOutOfMemory)]);
    assert_eq!(
        bench.status(cmd::RESOURCE_ATTACH_BACKING, 0, &[5, 1, 0, 0, 16, 0]),
        Status::ErrInvalidResourceId as u32
    );
    assert_eq!(bench.send(cmd::RESOURCE_UNREF, 0, 0, &[5, 0]), (OK, Outcome::Answer));
}

/// Transfers into a texture are done when the library has returned; a query's result is looked for when a fence
/// signals.
#[test]
fn only_what_may_not_be_done_yet_asks_the_library_for_a_fence() {
    let mut bench = bench();
    bench.context(1);
    bench.texture(3);
    let transfer = [0, 0, 0, 64, 32, 1, 0, 0, 3, 0, 0, 0];
    for (kind, words, request) in [
        (cmd::TRANSFER_TO_HOST_3D, &transfer[..], "Follow"),
        (cmd::CTX_ATTACH_RESOURCE, &[3, 0], "Follow"),
        (cmd::TRANSFER_FROM_HOST_3D, &transfer, "Fence"),
        (cmd::SUBMIT_3D, &[4, 0, 1], "Fence"),
    ] {
        bench.forwarded(kind, FLAG_FENCE, 1, words);
        let asked = bench.asked();
        assert!(asked.last().unwrap().starts_with(request), "{kind:#x}: {asked:?}");
    }
}

#[test]
fn what_a_renderer_that_died_has_not_drawn_is_not_said_to_be_drawn() {
    let mut bench = bench();
    bench.context(1);
    let drawn = bench.forwarded(cmd::SUBMIT_3D, FLAG_FENCE, 1, &[4, 0, 1]);
    let refused = bench.forwarded(cmd::SUBMIT_3D, FLAG_FENCE, 7, &[4, 0, 1]);
    // The device itself has carried it out; only its place was behind the others.
    let done = match bench.send(cmd::RESOURCE_CREATE_2D, FLAG_FENCE, 0, &[9, 2, 8, 8]) {
        (OK, Outcome::Forwarded(token, _)) => token,
        other => panic!("{other:?}"),
    };
    let answers = bench.asked().len() - 3;
    assert_eq!(bench.answer(&vec![Event::Done(0); answers]), []);
    let answers = [(drawn, Status::ErrUnspec), (refused, Status::ErrInvalidContextId), (done, Status::OkNoData)];
    assert_eq!(bench.dies(), answers);
}
