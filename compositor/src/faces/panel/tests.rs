//! What the panel's keys do, and the question that some of them ask first.

use super::super::{Face, Faces, Modifiers, Response};
use super::*;
use crate::guests::view::tests::guest;
use phyllome_protocol::status::Mode;
use phyllome_trusted::deaf::DEAF;
use std::time::{Duration, Instant};

fn two() -> Vec<GuestView> {
    vec![guest("work", 1, GuestState::Running), guest("play", 2, GuestState::Stopped)]
}

/// A panel that is open over these guests.
struct Open {
    faces: Faces,
    guests: Vec<GuestView>,
    output: OutputId,
}

impl Open {
    fn over(guests: Vec<GuestView>) -> Self {
        let mut faces = Faces::default();
        faces.show(Face::Panel(Panel::open(None, &guests)));
        let mut open = Self { faces, guests, output: OutputId::unique() };
        open.see(Instant::now() - 2 * DEAF);
        open
    }

    /// A display shows what is open, from `now` on.
    fn see(&mut self, now: Instant) {
        let output = self.output;
        self.faces.frames(|deaf| deaf.drawn(output));
        self.faces.frames(|deaf| deaf.shown(output, now));
    }

    fn key(&mut self, code: u32, now: Instant) -> Vec<Verb> {
        let input = FaceInput::Key { code, pressed: true, modifiers: Modifiers::default(), text: String::new() };
        let release = FaceInput::Key { code, pressed: false, modifiers: Modifiers::default(), text: String::new() };
        let verbs = self.faces.input(&input, &self.guests, now).verbs;
        assert_eq!(self.faces.input(&release, &self.guests, now), Response::default(), "a release does nothing");
        self.see(now);
        verbs
    }

    fn click(&mut self, part: Part, now: Instant) -> Vec<Verb> {
        let verbs = self.faces.input(&FaceInput::Click(part), &self.guests, now).verbs;
        self.see(now);
        verbs
    }

    fn change(&mut self, after: Vec<GuestView>) {
        self.faces.guests_changed(&self.guests, &after);
        self.guests = after;
    }

    fn view(&self) -> PanelView {
        self.faces.panel().unwrap().view(&self.guests, &[], self.faces.dialog())
    }

    fn name(&self, at: usize) -> GuestName {
        self.guests[at].name.clone()
    }
}

#[test]
fn enter_shows_a_guest_that_runs_and_starts_one_that_does_not() {
    let now = Instant::now();
    let mut panel = Open::over(two());
    assert_eq!(panel.key(codes::ENTER, now), [Verb::Show(panel.name(0))]);
    panel.key(codes::DOWN, now);
    let play = panel.name(1);
    assert_eq!(panel.key(codes::ENTER, now), [Verb::Show(play.clone()), Verb::Guest(play, GuestVerb::Start)]);
}

#[test]
fn the_selection_stays_inside_the_list() {
    let now = Instant::now();
    let mut panel = Open::over(two());
    for (key, at) in [
        (codes::UP, 0),
        (codes::DOWN, 1),
        (codes::DOWN, 1),
        (codes::HOME, 0),
        (codes::END, 1),
        (codes::ONE, 0),
        (codes::NINE, 0),
    ] {
        panel.key(key, now);
        assert_eq!(panel.view().selected, at, "{key}");
    }
    let mut panel = Open::over(vec![]);
    for key in [codes::DOWN, codes::END, codes::ENTER, codes::K] {
        assert_eq!(panel.key(key, now), []);
    }
}

#[test]
fn pages_lead_through_a_long_list() {
    let now = Instant::now();
    let names: Vec<String> = (0..12).map(|number| format!("guest{number}")).collect();
    let mut panel = Open::over(names.iter().map(|name| guest(name, 0, GuestState::Stopped)).collect());
    let (up, down) = (codes::PAGE_UP, codes::PAGE_DOWN);
    for (key, at) in [(down, 5), (down, 10), (down, 11), (up, 6), (up, 1), (up, 0)] {
        panel.key(key, now);
        assert_eq!(panel.view().selected, at, "{key}");
    }
}

#[test]
fn the_selection_follows_its_guest_when_the_list_changes() {
    let mut panel = Open::over(two());
    panel.key(codes::END, Instant::now());
    let mut after = vec![guest("home", 1, GuestState::Stopped)];
    after.extend(two());
    panel.change(after);
    assert_eq!(panel.view().selected, 2);
}

#[test]
fn tp12_force_off_asks_first_and_is_deaf_for_a_moment() {
    let now = Instant::now();
    let mut panel = Open::over(two());
    assert_eq!(panel.key(codes::K, now), []);
    assert_eq!(panel.faces.mode(), Mode::Dialog);
    assert!(panel.view().question.unwrap().starts_with("Force work off?"));
    assert_eq!(panel.key(codes::Y, now + DEAF - Duration::from_millis(1)), []);
    assert!(panel.view().question.is_some());
    assert_eq!(panel.key(codes::Y, now + DEAF), [Verb::Guest(panel.name(0), GuestVerb::Kill)]);
    assert!(panel.view().question.is_none());
    assert_eq!(panel.faces.mode(), Mode::Panel);
}

#[test]
fn tp12_a_shutdown_asks_first() {
    let now = Instant::now();
    let mut panel = Open::over(two());
    assert_eq!(panel.key(codes::S, now), []);
    assert!(panel.view().question.unwrap().starts_with("Shut work down?"));
    assert_eq!(panel.key(codes::Y, now), []);
    assert_eq!(panel.key(codes::Y, now + DEAF), [Verb::Guest(panel.name(0), GuestVerb::Shutdown)]);
}

#[test]
fn tp12_the_list_itself_is_deaf_before_it_was_seen_for_a_moment() {
    let now = Instant::now();
    let mut panel = Open::over(two());
    panel.faces.show(Face::Panel(Panel::open(None, &panel.guests)));
    let keys = [codes::ENTER, codes::S, codes::K, codes::P, codes::R, codes::ESC, codes::DOWN];
    let deaf = |panel: &mut Open, now| {
        for code in keys {
            let press = FaceInput::Key { code, pressed: true, modifiers: Modifiers::default(), text: String::new() };
            assert_eq!(panel.faces.input(&press, &panel.guests, now), Response::default(), "{code}");
        }
        let others = [FaceInput::Click(Part::Key(codes::K)), FaceInput::Scroll { horizontal: 0.0, vertical: 1.0 }];
        for input in others {
            assert_eq!(panel.faces.input(&input, &panel.guests, now), Response::default(), "{input:?}");
        }
    };
    deaf(&mut panel, now + 9 * DEAF);
    panel.see(now);
    deaf(&mut panel, now + DEAF - Duration::from_millis(1));
    assert_eq!((panel.view().selected, panel.faces.mode()), (0, Mode::Panel), "nothing of it is kept for later");
    assert_eq!(panel.key(codes::ENTER, now + DEAF), [Verb::Show(panel.name(0))]);
}

#[test]
fn tp12_enter_and_escape_never_mean_yes() {
    let now = Instant::now();
    for verb in [codes::S, codes::K, codes::R] {
        for key in [codes::ENTER, codes::ESC, codes::N, codes::KP_ENTER] {
            let mut panel = Open::over(two());
            panel.key(verb, now);
            assert_eq!(panel.key(key, now + DEAF), []);
            assert!(panel.view().question.is_none());
        }
    }
}

#[test]
fn a_question_about_a_guest_that_has_ended_goes_away() {
    let mut panel = Open::over(two());
    panel.key(codes::K, Instant::now());
    panel.change(vec![guest("work", 1, GuestState::Stopped), two().remove(1)]);
    assert!(panel.view().question.is_none());
    assert_eq!(panel.faces.mode(), Mode::Panel);
}

#[test]
fn a_click_on_a_guest_selects_it_and_a_click_on_a_key_is_that_key() {
    let now = Instant::now();
    let mut panel = Open::over(two());
    let (work, play) = (panel.name(0), panel.name(1));
    for (click, at) in [(&play, 1), (&play, 1), (&GuestName::new("gone").unwrap(), 1), (&work, 0)] {
        assert_eq!(panel.click(Part::Guest(click.clone()), now), []);
        assert_eq!(panel.view().selected, at, "{click}");
    }
    assert_eq!(panel.click(Part::Key(codes::ENTER), now), [Verb::Show(work)]);
}

#[test]
fn tp12_a_click_on_yes_is_deaf_for_a_moment_and_one_beside_it_means_nothing() {
    let now = Instant::now();
    let mut panel = Open::over(two());
    panel.click(Part::Key(codes::K), now);
    assert_eq!(panel.click(Part::Key(codes::Y), now + DEAF - Duration::from_millis(1)), []);
    assert_eq!(panel.click(Part::Guest(panel.name(1)), now + DEAF), []);
    assert_eq!((panel.faces.mode(), panel.view().selected), (Mode::Dialog, 0));
    assert_eq!(panel.click(Part::Key(codes::Y), now + DEAF), [Verb::Guest(panel.name(0), GuestVerb::Kill)]);
    panel.click(Part::Key(codes::K), now);
    assert_eq!(panel.click(Part::Key(codes::ESC), now + DEAF), []);
    assert_eq!(panel.faces.mode(), Mode::Panel);
}

#[test]
fn whole_notches_of_the_wheel_move_the_selection_and_parts_of_them_add_up() {
    let now = Instant::now();
    let names = ["a", "b", "c", "d"];
    let mut panel =
        Open::over(names.iter().zip(1..).map(|(name, slot)| guest(name, slot, GuestState::Running)).collect());
    for (vertical, at) in [(1.0, 1), (0.5, 1), (0.25, 1), (0.25, 2), (-1.0, 1), (100.0, 3), (-0.5, 3), (-100.0, 0)] {
        panel.faces.input(&FaceInput::Scroll { horizontal: 9.0, vertical }, &panel.guests, now);
        assert_eq!(panel.view().selected, at, "{vertical}");
    }
}

#[test]
fn keys_that_make_no_sense_for_a_state_do_nothing() {
    let now = Instant::now();
    let mut panel = Open::over(two());
    panel.key(codes::END, now);
    for key in [codes::S, codes::K, codes::P, codes::R] {
        assert_eq!(panel.key(key, now), []);
        assert!(panel.view().question.is_none());
    }
}

#[test]
fn p_does_what_pause_and_resume_would_in_every_state() {
    use GuestState::{Crashed, Frozen, InternalError, Paused, Running, Starting, Stopped, Stopping};
    let now = Instant::now();
    for state in [Stopped, Starting, Running, Paused, Frozen, Stopping, Crashed, InternalError] {
        let mut panel = Open::over(vec![guest("work", 1, state)]);
        let fitting = [GuestVerb::Pause, GuestVerb::Resume].into_iter().filter(|verb| verb.fits(state).is_ok());
        let verbs: Vec<_> = fitting.map(|verb| Verb::Guest(panel.name(0), verb)).collect();
        assert_eq!(panel.key(codes::P, now), verbs, "{state:?}");
    }
}

#[test]
fn only_what_moves_the_selection_repeats() {
    let panel = Open::over(two());
    let repeating: Vec<u32> = (0..=codes::LAST).filter(|code| panel.faces.repeats(*code)).collect();
    assert_eq!(repeating, [codes::UP, codes::PAGE_UP, codes::DOWN, codes::PAGE_DOWN]);
}

#[test]
fn a_guest_that_did_not_power_off_is_asked_about_and_only_y_forces_it_off() {
    let now = Instant::now();
    for (code, forces) in [(codes::Y, true), (codes::ENTER, false), (codes::ESC, false), (codes::N, false)] {
        let mut panel = Open::over(two());
        let work = panel.name(0);
        panel.guests[0].silent = true;
        panel.faces.ask(Dialog::of_silent(work.clone()));
        let question = panel.view().question.unwrap();
        assert!(question.starts_with("work has not answered for 30 s. Wait longer or force it off?"), "{question}");
        assert_eq!(panel.key(code, now), [], "it is deaf at first");
        let verb = if forces { Verb::Guest(work, GuestVerb::Kill) } else { Verb::WaitLonger(work) };
        assert_eq!(panel.key(code, now + DEAF), [verb]);
        assert!(panel.view().question.is_none());
    }
    let mut panel = Open::over(two());
    panel.guests[0].silent = true;
    panel.faces.ask(Dialog::of_silent(panel.name(0)));
    panel.change(two());
    assert!(panel.view().question.is_none(), "it has answered");
}
