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

/// A guest that draws on two heads: each picture is flushed when the fence of the last one of its head is answered.
/// The first head is seen by a screen that presents 60 a second, the second one by nobody. How many pictures each
/// draws in a second; `one`: both are one picture.
fn pictures_of_two_heads(one: bool, first_is_seen: bool, period: Option<Duration>) -> [u32; 2] {
    const FRAME: Duration = Duration::from_micros(16_667);
    let start = Instant::now();
    let mut lanes = [Lane::default(), Lane::default()];
    let mut held = HeldFences::default();
    let mut waiting = [false; 2];
    let mut drawn = [0; 2];
    for tick in 0..4000 {
        let now = start + Duration::from_micros(500) * tick;
        // The first second is for finding out that nobody looks.
        let counts = tick >= 2000;
        for (head, waiting) in waiting.iter_mut().enumerate().take(if one { 1 } else { 2 }) {
            if *waiting {
                continue;
            }
            let mut waits = Waits::NOTHING;
            for (lane, of) in lanes.iter_mut().enumerate().filter(|(lane, _)| one || *lane == head) {
                waits.add(lane, of.flush(WHOLE));
                of.take();
                drawn[lane] += u32::from(counts);
            }
            *waiting = held.hold(head, waits, &lanes, now, period).is_none();
        }
        let frames = |time: Instant| (time - start).as_micros() / FRAME.as_micros();
        if first_is_seen && tick > 0 && frames(now) > frames(now - Duration::from_micros(500)) {
            lanes[0].presented(lanes[0].sent);
        }
        for head in held.release(&mut lanes, now) {
            waiting[head] = false;
        }
    }
    drawn
}

#[test]
fn each_head_has_a_pace_of_its_own_whichever_is_seen() {
    let around = |rates: [u32; 2], wanted: [u32; 2]| {
        let near = rates.iter().zip(wanted).all(|(rate, wanted)| rate.abs_diff(wanted) <= 2);
        assert!(near, "{rates:?} pictures in a second, not {wanted:?}");
    };
    let full = Some(Duration::from_micros(16_667));
    around(pictures_of_two_heads(false, true, None), [60, 10]);
    around(pictures_of_two_heads(false, true, full), [60, 60]);
    around(pictures_of_two_heads(false, false, full), [60, 60]);
    around(pictures_of_two_heads(false, false, None), [10, 10]);
}

#[test]
fn one_picture_on_two_heads_goes_by_the_head_that_is_seen() {
    let full = Some(Duration::from_micros(16_667));
    for (first_is_seen, period, least, most) in
        [(true, None, 58, 62), (true, full, 58, 62), (false, None, 9, 11), (false, full, 58, 62)]
    {
        let drawn = pictures_of_two_heads(true, first_is_seen, period);
        assert!(drawn.iter().all(|rate| (least..=most).contains(rate)), "{drawn:?} pictures in a second");
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
