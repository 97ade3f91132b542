//! Batches and fences over time that is passed in: who is answered when, and at which pace nobody's pictures go.

use super::*;
use crate::damage::MAX_RECTS;

const WHOLE: Rect = Rect { x: 0, y: 0, width: 100, height: 100 };

fn rect(x: u32, y: u32, width: u32, height: u32) -> Rect {
    Rect { x, y, width, height }
}

fn wait_for(serial: u64) -> Waits {
    let mut waits = Waits::NOTHING;
    waits.add(0, serial);
    waits
}

#[test]
fn a_flood_of_flushes_is_one_batch_under_way_and_one_gathered() {
    let mut lane = Lane::default();
    assert_eq!(lane.flush(WHOLE), 1);
    assert_eq!(lane.take(), Some((1, vec![WHOLE])));
    for x in 0..1000 {
        assert_eq!(lane.flush(rect(x, 0, 1, 1)), 2);
        assert_eq!(lane.take(), None);
    }
    lane.presented(1);
    assert_eq!(lane.counts(), (1001, 1));
    let (serial, rects) = lane.take().unwrap();
    assert!(serial == 2 && rects.len() <= MAX_RECTS);
    lane.presented(2);
    assert_eq!(lane.counts(), (1001, 1001));
    assert_eq!(lane.take(), None);
}

#[test]
fn a_fence_is_answered_by_its_presentation_and_not_by_an_earlier_one() {
    let now = Instant::now();
    let mut lanes = [Lane::default()];
    let mut held = HeldFences::default();
    let first = lanes[0].flush(WHOLE);
    lanes[0].take();
    assert_eq!(held.hold('a', wait_for(first), &lanes, now, None), None);
    let second = lanes[0].flush(WHOLE);
    assert_eq!(held.hold('b', wait_for(second), &lanes, now, None), None);
    assert!(held.release(&mut lanes, now).is_empty());
    lanes[0].presented(first);
    assert_eq!(held.release(&mut lanes, now), ['a']);
    lanes[0].take();
    lanes[0].presented(second);
    assert_eq!(held.release(&mut lanes, now), ['b']);
    assert_eq!(held.deadline(), None);
}

#[test]
fn a_fence_that_nobody_presents_is_answered_by_the_slow_timer() {
    let now = Instant::now();
    let mut lanes = [Lane::default()];
    let mut held = HeldFences::default();
    let serial = lanes[0].flush(WHOLE);
    held.hold('a', wait_for(serial), &lanes, now, None);
    assert_eq!(held.deadline(), Some(now + SLOW));
    assert!(held.release(&mut lanes, now + SLOW - Duration::from_nanos(1)).is_empty());
    assert_eq!(held.release(&mut lanes, now + SLOW), ['a']);
}

#[test]
fn what_nobody_sees_is_paced_by_its_display_where_that_is_wanted_until_somebody_looks() {
    let period = Duration::from_micros(16_667);
    for (wanted, least, most) in [(Some(period), 58, 62), (None, 9, 11)] {
        let mut now = Instant::now();
        let mut lanes = [Lane::default()];
        let mut held = HeldFences::default();
        let frame = |lanes: &mut [Lane; 1], held: &mut HeldFences<char>, now: &mut Instant| {
            let serial = lanes[0].flush(WHOLE);
            lanes[0].take();
            // The guest's own time, which is no longer than a picture's.
            *now += Duration::from_millis(5);
            assert_eq!(held.hold('a', wait_for(serial), &*lanes, *now, wanted), None);
            *now = held.deadline().unwrap().max(*now);
            assert_eq!(held.release(lanes, *now), ['a']);
        };
        // It takes as long as ever to find out that nobody looks.
        let start = now;
        frame(&mut lanes, &mut held, &mut now);
        assert_eq!(now - start, SLOW + Duration::from_millis(5));
        let start = now;
        let mut frames = 0;
        while now < start + Duration::from_secs(1) {
            frame(&mut lanes, &mut held, &mut now);
            frames += 1;
        }
        assert!((least..=most).contains(&frames), "{frames} pictures in a second");
        // Somebody looks: the screen sets the pace.
        lanes[0].presented(lanes[0].sent);
        let serial = lanes[0].flush(WHOLE);
        lanes[0].take();
        assert_eq!(held.hold('b', wait_for(serial), &lanes, now, wanted), None);
        assert_eq!(held.deadline(), Some(now + SLOW));
    }
}

#[test]
fn a_picture_that_goes_answers_its_fences_and_invented_serials_answer_none() {
    let now = Instant::now();
    let mut lanes = [Lane::default()];
    let mut held = HeldFences::default();
    let serial = lanes[0].flush(WHOLE);
    held.hold('a', wait_for(serial), &lanes, now, None);
    lanes[0].presented(u64::MAX);
    assert!(held.release(&mut lanes, now).is_empty(), "nothing was under way");
    lanes[0].abandon();
    assert_eq!(held.release(&mut lanes, now), ['a']);
}

#[test]
fn fences_beyond_the_bound_are_given_back() {
    let now = Instant::now();
    let mut lanes = [Lane::default()];
    let mut held = HeldFences::default();
    let serial = lanes[0].flush(WHOLE);
    for fence in 0..MAX_HELD {
        assert_eq!(held.hold(fence, wait_for(serial), &lanes, now, None), None);
    }
    assert_eq!(held.hold(MAX_HELD, wait_for(serial), &lanes, now, None), Some(MAX_HELD));
}

#[test]
fn another_picture_waits_for_its_own_first_flush() {
    let mut lane = Lane::default();
    lane.flush(rect(1, 1, 2, 2));
    lane.replaced(None);
    assert!(!lane.ready());
    lane.flush(rect(50, 1, 2, 2));
    assert_eq!(lane.take(), Some((1, vec![rect(1, 1, 2, 2), rect(50, 1, 2, 2)])));
    lane.presented(1);
    lane.replaced(Some(WHOLE));
    assert!(!lane.ready());
    lane.flush(rect(1, 1, 2, 2));
    assert_eq!(lane.take(), Some((2, vec![WHOLE])));
}

#[test]
fn pixels_that_must_be_fetched_go_once_they_are_there() {
    let mut lane = Lane::default();
    lane.set_fetched(true);
    assert_eq!(lane.flush(rect(0, 0, 2, 2)), 1);
    let (epoch, rects) = lane.fetch().unwrap();
    assert_eq!(rects, [rect(0, 0, 2, 2)]);
    assert_eq!(lane.flush(rect(9, 9, 2, 2)), 2, "what comes while the first is fetched is another batch");
    assert!(lane.fetch().is_none() && lane.take().is_none());
    lane.arrived(epoch + 1);
    assert!(!lane.ready(), "an invented answer");
    lane.arrived(epoch);
    assert_eq!(lane.take(), Some((1, vec![rect(0, 0, 2, 2)])));
    assert!(lane.fetch().is_none(), "one at a time");
    lane.presented(1);
    assert_eq!(lane.fetch().unwrap().1, [rect(9, 9, 2, 2)]);
    lane.replaced(None);
    lane.flush(rect(0, 0, 1, 1));
    assert!(lane.fetch().is_none(), "the old picture is still on its way");
    lane.arrived(lane.epoch);
    assert_eq!(lane.take(), Some((2, vec![rect(9, 9, 2, 2)])), "and is shown, however fast the guest flips");
    lane.presented(2);
    assert_eq!(lane.fetch().unwrap().1, [rect(0, 0, 1, 1)]);
    lane.replaced(Some(WHOLE));
    lane.flush(rect(0, 0, 1, 1));
    assert_eq!(lane.fetch().unwrap().1, [WHOLE], "of another size nothing old is shown");
    lane.abandon();
    assert!(!lane.ready() && lane.fetch().is_none());
}

#[test]
fn a_new_screen_gets_everything_again() {
    let mut lane = Lane::default();
    lane.flush(WHOLE);
    lane.take();
    lane.redraw(WHOLE);
    assert_eq!(lane.take(), Some((2, vec![WHOLE])));
    lane.presented(1);
    assert!(!lane.ready(), "the old screen's answer does not count for the new one's batch");
}
