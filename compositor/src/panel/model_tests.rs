//! What the panel's keys do.

use super::*;
use crate::guests::view::tests::guest;

fn two() -> Vec<GuestView> {
    vec![guest("work", 1, GuestState::Running), guest("play", 2, GuestState::Stopped)]
}

fn open(guests: &[GuestView]) -> Panel {
    let mut panel = Panel::default();
    panel.open(None, guests);
    panel
}

#[test]
fn enter_shows_a_guest_that_runs_and_starts_one_that_does_not() {
    let (guests, now) = (two(), Instant::now());
    let mut panel = open(&guests);
    assert_eq!(panel.key(codes::ENTER, &guests, now), Outcome::Show(guests[0].name.clone()));
    panel.key(codes::DOWN, &guests, now);
    assert_eq!(panel.key(codes::ENTER, &guests, now), Outcome::StartAndShow(guests[1].name.clone()));
}

#[test]
fn the_selection_stays_inside_the_list() {
    let (guests, now) = (two(), Instant::now());
    let mut panel = open(&guests);
    for (key, at) in [
        (codes::UP, 0),
        (codes::DOWN, 1),
        (codes::DOWN, 1),
        (codes::HOME, 0),
        (codes::END, 1),
        (codes::ONE, 0),
        (codes::NINE, 0),
    ] {
        panel.key(key, &guests, now);
        assert_eq!(panel.view(&guests, &[]).selected, at, "{key}");
    }
    let none = vec![];
    let mut panel = open(&none);
    for key in [codes::DOWN, codes::END, codes::ENTER, codes::K] {
        assert_eq!(panel.key(key, &none, now), Outcome::Nothing);
    }
}

#[test]
fn the_selection_follows_its_guest_when_the_list_changes() {
    let before = two();
    let mut panel = open(&before);
    panel.key(codes::END, &before, Instant::now());
    let mut after = vec![guest("home", 1, GuestState::Stopped)];
    after.extend(before.clone());
    panel.guests_changed(&before, &after);
    assert_eq!(panel.view(&after, &[]).selected, 2);
}

#[test]
fn tp12_force_off_asks_first_and_is_deaf_for_a_moment() {
    let (guests, now) = (two(), Instant::now());
    let mut panel = open(&guests);
    assert_eq!(panel.key(codes::K, &guests, now), Outcome::Nothing);
    assert!(panel.view(&guests, &[]).question.unwrap().starts_with("Force work off?"));
    let early = now + DEAF - Duration::from_millis(1);
    assert_eq!(panel.key(codes::Y, &guests, early), Outcome::Nothing);
    assert!(panel.view(&guests, &[]).question.is_some());
    let later = now + DEAF;
    assert_eq!(panel.key(codes::Y, &guests, later), Outcome::Guest(guests[0].name.clone(), GuestVerb::Kill));
    assert!(panel.view(&guests, &[]).question.is_none());
}

#[test]
fn tp12_enter_and_escape_never_mean_yes() {
    let (guests, now) = (two(), Instant::now());
    for op in [codes::K, codes::R] {
        for key in [codes::ENTER, codes::ESC, codes::N, codes::KP_ENTER] {
            let mut panel = open(&guests);
            panel.key(op, &guests, now);
            assert_eq!(panel.key(key, &guests, now + DEAF), Outcome::Nothing);
            assert!(panel.view(&guests, &[]).question.is_none());
        }
    }
}

#[test]
fn a_question_about_a_guest_that_has_ended_goes_away() {
    let guests = two();
    let mut panel = open(&guests);
    panel.key(codes::K, &guests, Instant::now());
    let after = vec![guest("work", 1, GuestState::Stopped), guests[1].clone()];
    panel.guests_changed(&guests, &after);
    assert!(panel.view(&after, &[]).question.is_none());
}

#[test]
fn keys_that_make_no_sense_for_a_state_do_nothing() {
    let (guests, now) = (two(), Instant::now());
    let mut panel = open(&guests);
    panel.key(codes::END, &guests, now);
    for key in [codes::S, codes::K, codes::P, codes::R] {
        assert_eq!(panel.key(key, &guests, now), Outcome::Nothing);
        assert!(panel.view(&guests, &[]).question.is_none());
    }
}

#[test]
fn p_pauses_and_resumes() {
    let now = Instant::now();
    for (state, op) in [(GuestState::Running, GuestVerb::Pause), (GuestState::Paused, GuestVerb::Resume)] {
        let guests = vec![guest("work", 1, state)];
        assert_eq!(open(&guests).key(codes::P, &guests, now), Outcome::Guest(guests[0].name.clone(), op));
    }
}
