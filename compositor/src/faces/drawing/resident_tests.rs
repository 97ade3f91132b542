//! Windows that live from one frame to the next: what they draw again, what they hear, and when they go.

use super::input::KeyAction;
use super::pixel_tests::{name, panel};
use super::*;
use crate::faces::View;
use crate::faces::dialog::CodeView;
use crate::faces::panel::{PanelRow, PanelView, PanelWindow, StateTone};
use phyllome_config::guest::{Label, LabelColor};
use phyllome_protocol::Slot;
use phyllome_protocol::status::Area;
use slint::ComponentHandle;
use slint::platform::{Key, PointerEventButton};
use std::time::Duration;

slint::slint! {
    export component Tried inherits Window {
        background: black;
        in-out property <string> typed;
        in-out property <string> released;
        in-out property <int> clicks;
        in-out property <length> scrolled;
        in property <bool> moves;
        forward-focus: keys;
        keys := FocusScope {
            key-pressed(event) => {
                root.typed += (event.modifiers.control ? "^" : "") + event.text + (event.repeat ? "…" : "");
                return event.text == "x" ? EventResult.reject : EventResult.accept;
            }
            key-released(event) => { root.released += event.text; return EventResult.accept; }
        }
        touch := TouchArea {
            x: 10px;
            y: 20px;
            width: 30px;
            height: 5px;
            clicked => { root.clicks += 1; }
            scroll-event(event) => { root.scrolled += event.delta-y; return EventResult.accept; }
            Rectangle { background: touch.has-hover ? red : blue; }
        }
        if root.moves: Rectangle {
            y: 50px;
            height: 1px;
            property <bool> late;
            background: self.late ? white : green;
            Timer { running: !parent.late; interval: 30ms; triggered => { parent.late = true; } }
        }
    }
}

const RED: [u8; 4] = [0, 0, 0xff, 0xff];
const BLUE: [u8; 4] = [0xff, 0, 0, 0xff];

fn tried(scale: f64) -> Resident<Tried> {
    engine::start().unwrap();
    Resident::new(Tried::new, 100, 100, scale).unwrap()
}

fn key(text: impl Into<SharedString>, action: KeyAction) -> WindowInput {
    WindowInput::Key { text: text.into(), action }
}

fn row(number: usize, tone: StateTone, message: &str) -> PanelRow {
    let colors = [LabelColor::Red, LabelColor::Green, LabelColor::Blue, LabelColor::Yellow];
    let patterns = [Pattern::Solid, Pattern::Stripes, Pattern::Checks, Pattern::Dots];
    let label = Label { text: format!("guest-{number}"), color: colors[number % 4], pattern: patterns[number / 4 % 4] };
    let state = if tone == StateTone::Good { "running" } else { "stopped" };
    let label = LabelView::from_label(&label, Slot::new(number as i64 % 10));
    PanelRow {
        name: name(&label),
        label,
        state: state.to_owned(),
        tone,
        message: message.to_owned(),
        quote: String::new(),
    }
}

fn six() -> PanelView {
    PanelView { rows: (0..6).map(|number| row(number, StateTone::Quiet, "")).collect(), ..PanelView::default() }
}

fn area_of(parts: &[Area]) -> u64 {
    parts.iter().map(|part| u64::from(part.width) * u64::from(part.height)).sum()
}

#[test]
fn moving_the_selection_draws_less_than_a_quarter_of_the_panel_again() {
    let mut ui = Ui::new().unwrap();
    for scale in [1.0, 1.5, 2.0] {
        let (w, h) = (geometry::physical(1272.0, scale), geometry::physical(768.0, scale));
        let mut view = six();
        let mut before = panel(&mut ui, &view, w, h, scale).generation();
        for selected in [1, 2, 5, 4, 0] {
            view.selected = selected;
            let picture = panel(&mut ui, &view, w, h, scale);
            let changed = area_of(&picture.changed_since(before).expect("the same picture"));
            assert!(
                changed > 0 && changed < u64::from(w) * u64::from(h) / 4,
                "{selected} at {scale}: {changed} pixels"
            );
            before = picture.generation();
        }
    }
}

#[test]
fn the_panel_is_drawn_in_place_unless_somebody_has_its_picture() {
    let mut ui = Ui::new().unwrap();
    let mut view = six();
    let place = panel(&mut ui, &view, 640, 480, 1.0).data.as_ptr();
    view.selected = 1;
    let second = panel(&mut ui, &view, 640, 480, 1.0);
    assert_eq!(second.data.as_ptr(), place);
    let kept = second.data.clone();
    view.selected = 2;
    assert_ne!(panel(&mut ui, &view, 640, 480, 1.0).data.as_ptr(), place);
    assert!(second.data == kept, "a picture that somebody has was changed");
}

/// Changes of a random walk; more where `PHYLLOME_STEPS` says so.
fn steps() -> usize {
    std::env::var("PHYLLOME_STEPS").ok().and_then(|steps| steps.parse().ok()).unwrap_or(50)
}

/// Numbers that look random and are the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end
    }
}

/// One thing in the panel changes.
fn step(view: &mut PanelView, dice: &mut Dice) {
    let tones = [StateTone::Quiet, StateTone::Good, StateTone::Warning, StateTone::Danger];
    let changed = row(dice.below(40), tones[dice.below(4)], ["", "", "QEMU ended.", "It is full."][dice.below(4)]);
    let at = dice.below(view.rows.len() + 1);
    match dice.below(9) {
        0 => view.rows.insert(at, changed),
        1 if at < view.rows.len() => drop(view.rows.remove(at)),
        2 | 3 if at < view.rows.len() => view.rows[at] = changed,
        4 => {
            let problems = (0..dice.below(6)).map(|number| format!("guests/{number}.toml, line {at}: no")).collect();
            view.problems = problems;
        }
        5 => {
            view.question =
                [None, Some(format!("Reset {at}? It is lost.")), Some("Sure?".into())][dice.below(3)].clone()
        }
        6 => {
            let code = CodeView { digits: [4, 8, 1, 5, 2, dice.below(2) as u8], typed: dice.below(7) };
            view.code = Some(code).filter(|_| dice.below(4) > 0);
            view.takes_yes = view.code.is_none();
        }
        _ => view.selected = dice.below(view.rows.len() + view.problems.len() + 1),
    }
}

#[test]
fn what_is_drawn_in_parts_is_what_is_drawn_anew_after_every_change() {
    let mut ui = Ui::new().unwrap();
    let places =
        [(900, 600, 1.0), (1131, 777, 1.5), (1300, 901, 2.0), (700, 500, 1.25), (931, 650, 1.1), (999, 800, 1.75)];
    for (seed, (w, h, scale)) in places.into_iter().enumerate() {
        let mut dice = Dice(seed as u64);
        let mut view = six();
        let mut before: Option<(u64, Vec<u8>)> = None;
        let mut in_parts = 0;
        for number in 0..steps() {
            step(&mut view, &mut dice);
            let picture = panel(&mut ui, &view, w, h, scale);
            let anew = PanelWindow::new(w, h, scale).unwrap().show(&view);
            let difference = picture.data.as_chunks::<4>().0.iter().zip(anew.data.as_chunks::<4>().0);
            let wrong = difference.enumerate().find(|(_, (one, other))| one != other);
            let place = wrong.map(|(at, pixels)| (at as u32 % w, at as u32 / w, pixels));
            assert_eq!(place, None, "at {scale}, change {number} to {view:?}");
            if let Some((generation, old)) = before {
                let parts = picture.changed_since(generation).expect("the same picture");
                in_parts += usize::from(area_of(&parts) < u64::from(w) * u64::from(h) / 2);
                let inside = |x: u32, y: u32| {
                    parts.iter().any(|part| {
                        (part.x..part.x + part.width).contains(&x) && (part.y..part.y + part.height).contains(&y)
                    })
                };
                let pixels = old.as_chunks::<4>().0.iter().zip(picture.data.as_chunks::<4>().0);
                for (at, _) in pixels.enumerate().filter(|(_, (old, new))| old != new) {
                    assert!(inside(at as u32 % w, at as u32 / w), "at {scale}: changed outside of {parts:?}");
                }
            }
            before = Some((picture.generation(), picture.data.clone()));
        }
        assert!(in_parts > steps() / 3, "at {scale}: {in_parts} of {} changes were drawn in parts", steps());
    }
}

#[test]
fn the_panels_window_stays_while_it_is_open_and_goes_with_its_picture() {
    let mut ui = Ui::new().unwrap();
    panel(&mut ui, &six(), 640, 480, 1.0);
    for _ in 0..100 {
        ui.band(&Owner::Host, 640, 480, 1.0);
        ui.faces.keep(&View::Panel(six()));
    }
    assert!(ui.faces.panel.get().is_some(), "open, and another output was drawn");
    for _ in 0..100 {
        ui.band(&Owner::Host, 640, 480, 1.0);
    }
    assert!(ui.faces.panel.get().is_none());
    let tried = tried(1.0);
    let weak = tried.component().as_weak();
    drop(tried);
    assert!(weak.upgrade().is_none(), "the component outlives its window");
}

#[test]
fn a_panel_that_is_open_wakes_nobody() {
    let mut ui = Ui::new().unwrap();
    assert_eq!(ui.faces.alarm(), None);
    panel(&mut ui, &six(), 640, 480, 1.0);
    let window = ui.faces.panel.get().unwrap();
    let press = WindowInput::Button { x: 640.0 / 2.0, y: 120.0, button: PointerEventButton::Left, pressed: true };
    window.input(&press, WindowModifiers::NONE);
    window.input(&key("a", KeyAction::Press), WindowModifiers::NONE);
    panel(&mut ui, &six(), 640, 480, 1.0);
    assert_eq!(ui.faces.alarm(), None);
}

#[test]
fn a_timer_stands_still_until_the_picture_is_asked_for_and_its_alarm_says_when() {
    let mut window = tried(1.0);
    let first = window.picture().generation();
    assert_eq!(window.alarm(), None);
    window.component().set_moves(true);
    let second = window.picture();
    let alarm = window.alarm().expect("a timer runs");
    assert!(alarm <= Duration::from_millis(30), "{alarm:?}");
    assert!(second.generation() != first && second.get(0, 50) == Some([0, 0x80, 0, 0xff]));
    drop(second);
    std::thread::sleep(alarm + Duration::from_millis(5));
    let third = window.picture();
    assert_eq!(third.get(0, 50), Some([0xff; 4]), "the timer's change is in the next picture");
    drop(third);
    assert_eq!(window.alarm(), None, "and it runs no longer");
}

#[test]
fn a_window_hears_keys_with_their_text_and_modifiers() {
    let window = tried(1.0);
    let control = WindowModifiers { control: true, ..WindowModifiers::NONE };
    assert!(window.input(&key("ä", KeyAction::Press), WindowModifiers::NONE));
    assert!(window.input(&key("ä", KeyAction::Repeat), WindowModifiers::NONE));
    assert!(window.input(&key("ä", KeyAction::Release), WindowModifiers::NONE));
    assert!(!window.input(&key("x", KeyAction::Press), WindowModifiers::NONE), "the component refuses it");
    assert_eq!((window.component().get_typed().as_str(), window.component().get_released().as_str()), ("ää…x", "ä"));
    window.component().set_typed("".into());
    window.input(&key("q", KeyAction::Press), control);
    window.input(&key(Key::Escape, KeyAction::Press), WindowModifiers::NONE);
    let control_key = SharedString::from(Key::Control);
    let typed = window.component().get_typed().replace(control_key.as_str(), "").replace('\u{1b}', "Esc");
    assert_eq!(typed, "^^qEsc", "Control itself, then a key with it, then one without");
}

#[test]
fn a_window_hears_the_pointer_in_physical_pixels_and_draws_only_what_it_lies_on() {
    for scale in [1.0, 2.0] {
        let mut window = tried(scale);
        let none = WindowModifiers::NONE;
        let (x, y) = (12.0 * scale, 22.0 * scale);
        let seen = |picture: &Pixels| picture.get(x as u32, y as u32);
        let before = window.picture().generation();
        assert_eq!(seen(&window.picture()), Some(BLUE));
        window.input(&WindowInput::Motion { x, y }, none);
        let picture = window.picture();
        assert_eq!(seen(&picture), Some(RED));
        let px = |logical: f64| (logical * scale) as u32;
        let touched = Area { x: px(10.0), y: px(20.0), width: px(30.0), height: px(5.0) };
        assert_eq!(picture.changed_since(before), Some(vec![touched]));
        drop(picture);
        for pressed in [true, false] {
            assert!(window.input(&WindowInput::Button { x, y, button: PointerEventButton::Left, pressed }, none));
        }
        assert_eq!(window.component().get_clicks(), 1);
        assert!(window.input(&WindowInput::Scroll { x, y, dx: 0.0, dy: 8.0 * scale }, none));
        assert_eq!(window.component().get_scrolled(), 8.0);
        assert!(!window.input(&WindowInput::Motion { x: 1.0, y: 1.0 }, none));
        assert_eq!(seen(&window.picture()), Some(BLUE));
        window.input(&WindowInput::Motion { x, y }, none);
        window.input(&WindowInput::Leave, none);
        assert_eq!(seen(&window.picture()), Some(BLUE));
    }
}
