//! Whose frame stands around which output: the host's around the shell's own pixels alone, the focus mark on the guest
//! that has the keys, whatever is pressed, asked, plugged or reported.

use super::client::{Client, Pool, Window};
use super::fixture::{Fixture, Shot, guest, name, pixels};
use super::outputs::{BLUE_LABEL, CYAN, GREEN, Guest, ONE, TWO, assert_frame, dimmed, info, pinned};
use crate::guests::GuestView;
use crate::outputs::RendererKind;
use crate::render::scene::{Key, Layer, Scene};
use phyllome_config::ShellConfig;
use phyllome_config::guest::{LabelColor, Rgb};
use phyllome_config::shell::OutputConfig;
use phyllome_protocol::Slot;
use phyllome_protocol::status::{GuestState, Mode};
use phyllome_trusted::codes::{DOWN, ENTER, ESC, K, LEFT_META, TAB, Y};
use phyllome_trusted::frame::colors;
use phyllome_trusted::gate::{Asker, Verb};
use phyllome_trusted::held::DeviceId;
use phyllome_trusted::keyboards::{NewKeyboard, Way};
use phyllome_trusted::typed_code::Code;
use proptest::prelude::*;
use std::cell::Cell;

const WHITE: u32 = 0xff_ff_ff;
const NEUTRAL: u32 = 0x20_22_25;
const GROUND: u32 = 0x10_11_14;

type Open = fn(&mut Fixture);

/// Opens the switcher as the person does, or the panel, or a question in it.
const OPENED: [(&str, Open); 4] = [
    ("switcher", |shell| [LEFT_META, TAB].into_iter().for_each(|code| shell.state.handle_key(code, true, 0))),
    ("panel", |shell| shell.panel(true)),
    ("question", |shell| {
        shell.panel(true);
        shell.state.act(Verb::NewKeyboard(Some(k120(Way::Another))), Asker::Shell).unwrap();
    }),
    ("code", |shell| drop(shell.state.act(Verb::NewKeyboard(Some(k120(CODE))), Asker::Shell).unwrap())),
];

const CODE: Way = Way::Code { code: Code::ZERO, typed: 2 };

fn k120(way: Way) -> NewKeyboard {
    NewKeyboard { device: DeviceId::ONLY.next(), name: "Keyboard K120".to_owned(), way }
}

/// `output` has a card of few words on the shell's ground, and nothing else.
fn assert_card(shell: &Fixture, shot: &Shot, output: &str) {
    let area = shell.area_on(output);
    let words = pixels(&area) - shot.count_inside(&area, GROUND);
    assert!((300..40_000).contains(&words), "{words} pixels are not the ground");
}

#[test]
fn tp01_tp21_the_hosts_frame_is_around_the_face_that_has_the_keys_and_no_guests_picture_is_seen_in_any_frame() {
    for (face, open) in OPENED {
        let mut shell = pinned();
        let _red = Guest::new(&mut shell, "red", &[GREEN]);
        let _blue = Guest::new(&mut shell, "blue", &[CYAN]);
        open(&mut shell);
        let first = shell.shot_on(&format!("{face}-on-one"), ONE);
        assert_frame(&first, WHITE, true);
        assert_eq!(first.count_inside(&shell.area_on(ONE), GREEN), 0, "{face}");
        let second = shell.shot_on(&format!("{face}-on-two"), TWO);
        assert_frame(&second, BLUE_LABEL, false);
        assert_eq!(second.count_inside(&shell.area_on(TWO), CYAN), 0, "{face}");
        assert_card(&shell, &second, TWO);
    }
}

#[test]
fn tp01_tp21_pictures_at_another_scale_have_the_same_frames() {
    let mut shell = pinned();
    let mut red = Guest::new(&mut shell, "red", &[GREEN]);
    for (number, mode) in [(0, (1200, 900)), (1, (960, 720))] {
        let settings = OutputConfig { scale: Some(1.5), ..OutputConfig::default() };
        shell.change(&crate::backend::headless::Headless::info(number, mode, Some(&settings)));
    }
    red.follow(&mut shell);
    for (face, open) in OPENED {
        shell.panel(true);
        shell.panel(false);
        open(&mut shell);
        let first = shell.shot_on(&format!("{face}-on-one-1.5"), ONE);
        assert_frame(&first, WHITE, true);
        assert_eq!(first.count_inside(&shell.area_on(ONE), GREEN), 0, "{face}");
        assert_frame(&shell.shot_on(&format!("{face}-on-two-1.5"), TWO), BLUE_LABEL, false);
    }
}

#[test]
fn tp05_tp21_an_output_that_shows_nobody_is_gray_and_the_hosts_frame_is_nowhere_while_a_guest_has_the_keys() {
    let mut shell = pinned();
    shell.guests(vec![guest("blue", 2, LabelColor::Blue)]);
    let _blue = Guest::new(&mut shell, "blue", &[CYAN]);
    shell.show("blue");
    let nobody = shell.shot_on("nobody", ONE);
    assert_frame(&nobody, NEUTRAL, true);
    assert_eq!(nobody.count_outside(&shell.area_on(ONE), WHITE), 0, "no shield and no label");
    assert_frame(&shell.shot_on("beside-nobody", TWO), BLUE_LABEL, true);
    shell.panel(true);
    assert_frame(&shell.shot_on("nobody-panel", ONE), WHITE, true);
    assert_frame(&shell.shot_on("beside-nobody-panel", TWO), BLUE_LABEL, false);
    shell.panel(false);
    // Nobody is shown anywhere, and keys go to nobody.
    let mut shell = Fixture::with(&[(800, 600), (640, 480)], RendererKind::Pixman).unwrap();
    shell.guests(Vec::new());
    for output in [ONE, TWO] {
        assert_frame(&shell.shot_on(&format!("no-guests-{output}"), output), NEUTRAL, true);
    }
    shell.panel(true);
    assert_frame(&shell.shot_on("no-guests-panel", ONE), WHITE, true);
    let second = shell.shot_on("no-guests-panel-two", TWO);
    assert_frame(&second, NEUTRAL, true);
    assert_card(&shell, &second, TWO);
}

#[test]
fn a_guest_under_a_card_or_the_switcher_gets_no_frame_callbacks_and_is_not_drawn() {
    for (face, open) in OPENED {
        let mut shell = pinned();
        let mut guests = [Guest::new(&mut shell, "red", &[GREEN]), Guest::new(&mut shell, "blue", &[CYAN])];
        shell.settle();
        open(&mut shell);
        shell.settle();
        for guest in &mut guests {
            guest.client.ask_for_frame(&guest.screens[0].0.surface);
            for _ in 0..10 {
                shell.roundtrip(&mut guest.client);
            }
            assert_eq!(guest.client.events.frames, 0, "{face}");
        }
        assert!(!shell.state.render_is_armed(), "{face}: nothing is drawn for what nobody sees");
        shell.state.act(Verb::Show(name("red")), Asker::Tool).unwrap();
        shell.settle();
        for guest in &mut guests {
            shell.roundtrip(&mut guest.client);
            assert_eq!(guest.client.events.frames, 1, "{face}: it is seen again");
        }
    }
}

/// Something that happens.
#[derive(Clone, Debug)]
enum Step {
    Show(&'static str),
    Slot(i64),
    Next(bool),
    Choose,
    Panel(bool),
    Toggle,
    Tell,
    NewKeyboard(Option<Way>),
    Key(u32),
    Lock(bool),
    /// Guests from now on: the state of each, or it is none.
    Guests([Option<GuestState>; 3]),
    Plug(usize),
    Unplug(usize),
}

const GUESTS: [(&str, LabelColor, u32); 3] =
    [("red", LabelColor::Red, GREEN), ("blue", LabelColor::Blue, CYAN), ("green", LabelColor::Green, 0xff_00_ff)];

fn step() -> impl Strategy<Value = Step> {
    let state = || {
        proptest::option::weighted(
            0.85,
            proptest::sample::select(vec![
                GuestState::Running,
                GuestState::Running,
                GuestState::Paused,
                GuestState::Crashed,
            ]),
        )
    };
    prop_oneof![
        4 => proptest::sample::select(vec!["red", "blue", "green", "gone"]).prop_map(Step::Show),
        2 => (1i64..5).prop_map(Step::Slot),
        2 => any::<bool>().prop_map(Step::Next),
        1 => Just(Step::Choose),
        2 => any::<bool>().prop_map(Step::Panel),
        2 => Just(Step::Toggle),
        1 => Just(Step::Tell),
        1 => proptest::option::of(proptest::sample::select(vec![Way::Another, CODE, Way::Later { seconds: 2 }, Way::Never]))
            .prop_map(Step::NewKeyboard),
        3 => proptest::sample::select(vec![K, Y, ESC, ENTER, DOWN]).prop_map(Step::Key),
        1 => proptest::bool::weighted(0.2).prop_map(Step::Lock),
        2 => [state(), state(), state()].prop_map(Step::Guests),
        2 => (0usize..3).prop_map(Step::Plug),
        1 => (0usize..3).prop_map(Step::Unplug),
    ]
}

const SIZE: (u32, u32) = (240, 160);

fn happen(shell: &mut Fixture, step: &Step) {
    let act = |shell: &mut Fixture, verb, from| drop(shell.state.act(verb, from));
    match step {
        Step::Show(guest) => act(shell, Verb::Show(name(guest)), Asker::Tool),
        Step::Slot(slot) => act(shell, Verb::ShowSlot(Slot::new(*slot).unwrap()), Asker::Chord),
        Step::Next(forward) => act(shell, Verb::Step { forward: *forward }, Asker::Chord),
        Step::Choose => act(shell, Verb::Choose, Asker::Chord),
        Step::Panel(show) => act(shell, Verb::Panel { show: *show }, Asker::Tool),
        Step::Toggle => act(shell, Verb::TogglePanel, Asker::Chord),
        Step::Tell => act(shell, Verb::Tell("it was away".to_owned()), Asker::Shell),
        Step::NewKeyboard(way) => act(shell, Verb::NewKeyboard(way.map(k120)), Asker::Shell),
        Step::Key(code) => [true, false].into_iter().for_each(|pressed| shell.state.handle_key(*code, pressed, 0)),
        Step::Lock(locked) => {
            shell.state.shell.set_locked(*locked);
            shell.state.sync_focus();
        }
        Step::Guests(states) => {
            let mut views = Vec::new();
            for ((&(name, color, _), slot), state) in GUESTS.iter().zip(1..).zip(states) {
                views.extend(state.map(|state| GuestView { state, ..guest(name, slot, color) }));
            }
            shell.guests(views);
        }
        Step::Plug(number) => {
            let info = info(*number, SIZE);
            if shell.state.backend.outputs().iter().all(|output| output.name != info.name) {
                shell.plug(info);
            }
        }
        Step::Unplug(number) => shell.unplug(&info(*number, SIZE).name),
    }
}

/// What a person sees of an output's frame: the colour of its outermost pixels and that of the band inside them.
fn frame(scene: &Scene) -> (u32, u32) {
    let left = scene.layers.iter().find_map(|layer| match layer {
        Layer::Pixels { key: Key::Strip(_, 1), pixels, opaque: true, .. } => Some(pixels),
        Layer::Pixels { .. } | Layer::Surface { .. } => None,
    });
    let at = |x| {
        let [b, g, r, _] = left.unwrap().get(x, 20).unwrap();
        u32::from_be_bytes([0, r, g, b])
    };
    (at(0), at(2))
}

/// How often something was seen that has to be seen for the test to mean anything.
#[derive(Debug, Default)]
struct Seen {
    hosts: Cell<u32>,
    cards: Cell<u32>,
    pictures: Cell<u32>,
    nobody: Cell<u32>,
}

impl Seen {
    fn count(cell: &Cell<u32>, seen: bool) {
        cell.set(cell.get() + u32::from(seen));
    }
}

/// What is true of every output, always.
fn check(shell: &mut Fixture, seen: &Seen) -> Result<(), TestCaseError> {
    let (mode, keys) = (shell.state.shell.mode(), shell.state.shell.keyboard_owner());
    let has_keys = mode != Mode::Guest;
    prop_assert!(!(has_keys && keys.is_some()));
    if let Some(told) = shell.state.protocols.seat.keyboard_guest() {
        prop_assert_eq!(Some(told), keys.clone(), "the seat has told another guest that it has the keys");
    }
    for index in 0..shell.state.backend.outputs().len() {
        let scene = shell.state.scene(index);
        let pictures = scene.layers.iter().filter(|layer| matches!(layer, Layer::Surface { .. })).count();
        let place = shell.state.shell.places()[index].guest.clone();
        let label = place.as_ref().and_then(|name| shell.state.shell.guest(name)).map(|guest| guest.label.color.rgb());
        let label = label.map(|Rgb(r, g, b)| u32::from_be_bytes([0, r, g, b]));
        let is_host = frame(&scene) == (WHITE, WHITE);
        prop_assert_eq!(is_host, has_keys && (index == 0 || mode == Mode::Locked), "output {} in {:?}", index, mode);
        if has_keys {
            prop_assert!(pictures == 0 && scene.picture.is_none() && scene.shown.is_empty(), "output {}", index);
        }
        if !is_host {
            let focused = keys.is_some() && keys == place;
            let wanted = label.map_or((NEUTRAL, NEUTRAL), |rgb| (rgb, if focused { rgb } else { dimmed(rgb) }));
            prop_assert_eq!(frame(&scene), wanted, "output {} in {:?}", index, mode);
        }
        Seen::count(&seen.hosts, is_host);
        Seen::count(&seen.cards, has_keys && !is_host);
        Seen::count(&seen.pictures, pictures > 0);
        Seen::count(&seen.nobody, label.is_none() && !is_host);
    }
    Ok(())
}

/// A guest's client, and its two screens.
type Screens = (Client, [(Window, Pool); 2]);

/// Outputs, of which the second belongs to a guest, and three guests with a picture on two screens each.
fn stage() -> (Fixture, [Screens; 3]) {
    let mut config = ShellConfig::default();
    config.outputs.insert(TWO.to_owned(), OutputConfig { guest: Some(name("blue")), ..OutputConfig::default() });
    let mut shell = Fixture::with_settings(&[SIZE, SIZE], RendererKind::Pixman, &config).unwrap();
    happen(&mut shell, &Step::Guests([Some(GuestState::Running); 3]));
    let guests = GUESTS.map(|(name, _, colour)| {
        let mut client = shell.attach(name);
        let screens = ["phyllome.scanout.0", "phyllome.scanout.1"].map(|app_id| {
            let window = client.window(app_id);
            shell.roundtrip(&mut client);
            window.acknowledge(&client);
            let pool = client.fill(&window.surface, 200, 120, colour);
            (window, pool)
        });
        shell.roundtrip(&mut client);
        assert!(!client.is_cut());
        (client, screens)
    });
    (shell, guests)
}

#[test]
fn tp05_tp21_frames_tell_the_truth_after_any_sequence_of_verbs_keys_plugs_and_reports() {
    assert_eq!(colors::NEUTRAL, Rgb(0x20, 0x22, 0x25));
    let seen = Seen::default();
    let config = ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() };
    let mut runner = proptest::test_runner::TestRunner::new(config);
    let result = runner.run(&proptest::collection::vec(step(), 20..60), |steps| {
        let (mut shell, _guests) = stage();
        check(&mut shell, &seen)?;
        for step in &steps {
            happen(&mut shell, step);
            check(&mut shell, &seen)?;
        }
        Ok(())
    });
    result.unwrap();
    let all = [&seen.hosts, &seen.cards, &seen.pictures, &seen.nobody].map(Cell::get);
    assert!(all.iter().all(|count| *count > 0), "{seen:?}");
}
