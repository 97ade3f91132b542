//! Cursors whose pixels the renderer has: which of them is seen, and when.

use super::*;

#[test]
fn a_driver_that_is_gone_leaves_no_cursor_at_the_renderer() {
    let mut bench = Bench::new(Quota::default());
    bench.forwarded(cmd::RESOURCE_CREATE_3D, 0, 0, &[3, 2, 1, 2, 64, 64, 1, 1, 0, 0, 0, 0]);
    assert_eq!(bench.status(cmd::UPDATE_CURSOR, 0, &[0, 0, 0, 0, 3, 0, 0, 0]), OK);
    assert!(bench.asked().iter().any(|request| request.starts_with("Target")));
    bench.device.reset();
    let asked = bench.asked();
    assert!(asked.iter().any(|request| request.starts_with("DropTarget")), "{asked:?}");
}

#[test]
fn of_a_texture_s_cursor_only_the_newest_is_seen_and_none_that_was_hidden_meanwhile() {
    let mut bench = Bench::new(Quota::default());
    let shows = |bench: &mut Bench, id| {
        assert_eq!(bench.status(cmd::UPDATE_CURSOR, 0, &[0, 0, 0, 0, id, 2, 3, 0]), OK);
    };
    for (id, side) in [(3, 64), (4, 24), (5, 65)] {
        bench.forwarded(cmd::RESOURCE_CREATE_3D, 0, 0, &[id, 2, 1, 2, side, side, 1, 1, 0, 0, 0, 0]);
    }
    let made = bench.asked().len();
    bench.answer(&vec![Event::Done(0); made]);
    let too_large = Status::ErrInvalidParameter as u32;
    assert_eq!(bench.status(cmd::UPDATE_CURSOR, 0, &[0, 0, 0, 0, 5, 0, 0, 0]), too_large);
    let cursors = |bench: &mut Bench| {
        let said = bench.messages().into_iter();
        said.filter(|message| matches!(message, ToScreen::Cursor { .. })).collect::<Vec<_>>()
    };
    // Hidden before the renderer has answered.
    shows(&mut bench, 3);
    assert_eq!(bench.asked().len(), 2, "its memory, and a read");
    shows(&mut bench, 0);
    bench.answer(&[Event::Done(0), Event::Done(0)]);
    assert!(cursors(&mut bench).is_empty());
    // Another one of ours meanwhile.
    assert_eq!(bench.status(cmd::RESOURCE_CREATE_2D, 0, &[9, 2, 64, 64]), OK);
    shows(&mut bench, 3);
    shows(&mut bench, 9);
    assert_eq!((bench.asked().len(), cursors(&mut bench).len()), (1, 1));
    bench.answer(&[Event::Done(0)]);
    assert!(cursors(&mut bench).is_empty());
    // Two in turn share their memory: half of each is never seen.
    shows(&mut bench, 3);
    shows(&mut bench, 4);
    let asked = bench.asked();
    assert!(asked.len() == 2 && asked[1].contains("width: 24"), "{asked:?}");
    bench.answer(&[Event::Done(0)]);
    assert!(cursors(&mut bench).is_empty());
    bench.answer(&[Event::Done(0)]);
    assert!(matches!(cursors(&mut bench)[..], [ToScreen::Cursor { image: Some(_), .. }]));
}
