//! Several displays: a guest on each, one guest on all, and displays that come and go while guests are on them.

use super::client::{Client, FrameMark, Keyboard, Pool, Window};
use super::fixture::{Fixture, Shot, guest, name, pixels};
use crate::backend::headless::Headless;
use crate::outputs::{OutputInfo, RendererKind};
use phyllome_config::ShellConfig;
use phyllome_config::guest::LabelColor;
use phyllome_config::shell::{OutputConfig, Position, Side};
use phyllome_protocol::status::GuestState;
use phyllome_trusted::frame::colors;
use phyllome_trusted::gate::{Asker, Verb};

pub(super) const GREEN: u32 = 0x00_ff_00;
pub(super) const CYAN: u32 = 0x00_ff_ff;
const MAGENTA: u32 = 0xff_00_ff;
pub(super) const RED_LABEL: u32 = 0xc6_28_28;
pub(super) const BLUE_LABEL: u32 = 0x15_65_c0;
pub(super) const ONE: &str = "HEADLESS-1";
pub(super) const TWO: &str = "HEADLESS-2";
const BIG: (u32, u32) = (800, 600);
const SMALL: (u32, u32) = (640, 480);
const A: u32 = 30;

pub(super) fn info(number: usize, mode: (u32, u32)) -> OutputInfo {
    Headless::info(number, mode, None)
}

/// Two displays; the second belongs to “blue”.
pub(super) fn pinned() -> Fixture {
    let mut config = ShellConfig::default();
    config.outputs.insert(TWO.to_owned(), OutputConfig { guest: Some(name("blue")), ..OutputConfig::default() });
    Fixture::with_settings(&[BIG, SMALL], RendererKind::Pixman, &config).unwrap()
}

/// A client whose scanouts each fill the area that they are told.
pub(super) struct Guest {
    pub client: Client,
    pub screens: Vec<(Window, (i32, i32), u32, Pool)>,
    acknowledged: Option<u32>,
}

impl Guest {
    pub fn new(shell: &mut Fixture, guest: &str, colours: &[u32]) -> Self {
        let mut client = shell.attach(guest);
        client.seat().get_keyboard(&client.handle, ());
        let mut screens = Vec::new();
        for (number, colour) in colours.iter().enumerate() {
            let window = client.window(&format!("phyllome.scanout.{number}"));
            shell.roundtrip(&mut client);
            window.acknowledge(&client);
            let size = client.events.configured.unwrap();
            let pool = client.fill(&window.surface, size.0, size.1, *colour);
            screens.push((window, size, *colour, pool));
        }
        shell.roundtrip(&mut client);
        let acknowledged = client.events.serial;
        Self { client, screens, acknowledged }
    }

    /// Draws its only screen at the size that it was told last.
    pub fn follow(&mut self, shell: &mut Fixture) -> (i32, i32) {
        shell.roundtrip(&mut self.client);
        let size = self.client.events.configured.unwrap();
        let (window, told, colour, pool) = &mut self.screens[0];
        if self.client.events.serial != self.acknowledged {
            window.acknowledge(&self.client);
            self.acknowledged = self.client.events.serial;
        }
        (*told, *pool) = (size, self.client.fill(&window.surface, size.0, size.1, *colour));
        shell.roundtrip(&mut self.client);
        size
    }

    fn keys(&self) -> usize {
        self.client.events.keyboard.iter().filter(|event| matches!(event, Keyboard::Key(..))).count()
    }
}

/// `output` shows a picture of nothing but `colour`, in the frame of `label`.
fn assert_shows(shell: &mut Fixture, output: &str, colour: u32, label: u32, focused: bool) {
    let area = shell.area_on(output);
    let shot = shell.shot_on(&format!("{output}-{colour:x}"), output);
    assert_eq!(shot.count_inside(&area, colour), pixels(&area), "{output}");
    assert_eq!(shot.count_outside(&area, colour), 0, "{output}");
    assert_frame(&shot, label, focused);
}

/// The outermost pixels say whose it is, the band inside them whether it gets keys.
pub(super) fn assert_frame(shot: &Shot, label: u32, focused: bool) {
    let (right, bottom) = (shot.width - 1, shot.height - 1);
    for (x, y) in [(0, bottom), (right, bottom), (0, 300), (right, 300), (right, 0), (right / 2, bottom)] {
        assert_eq!(shot.at(x, y), label, "{x}, {y}");
    }
    let band = if focused { label } else { dimmed(label) };
    for (x, y) in [(2, 300), (right - 2, 300), (right / 2, bottom - 2), (right - 2, 5), (1, bottom - 1)] {
        assert_eq!(shot.at(x, y), band, "{x}, {y}");
    }
}

/// The colour of a guest that is shown and has not the keyboard.
pub(super) fn dimmed(label: u32) -> u32 {
    let [_, r, g, b] = label.to_be_bytes();
    let colour = colors::unfocused(phyllome_config::guest::Rgb(r, g, b));
    u32::from_be_bytes([0, colour.0, colour.1, colour.2])
}

#[test]
fn tp05_only_the_guest_that_gets_keys_has_its_full_colour() {
    let mut shell = pinned();
    let red = Guest::new(&mut shell, "red", &[GREEN]);
    let blue = Guest::new(&mut shell, "blue", &[CYAN]);
    for _ in 0..2 {
        assert_shows(&mut shell, ONE, GREEN, RED_LABEL, true);
        assert_shows(&mut shell, TWO, CYAN, BLUE_LABEL, false);
        shell.show("blue");
        assert_shows(&mut shell, ONE, GREEN, RED_LABEL, false);
        assert_shows(&mut shell, TWO, CYAN, BLUE_LABEL, true);
        shell.show("red");
    }
    drop((red, blue));
}

#[test]
fn tp10_keys_go_to_the_guest_that_was_switched_to_wherever_it_is_shown() {
    let mut shell = pinned();
    let mut red = Guest::new(&mut shell, "red", &[GREEN]);
    let mut blue = Guest::new(&mut shell, "blue", &[CYAN]);
    shell.state.handle_key(A, true, 1);
    shell.show_and_flash("blue");
    shell.state.handle_key(A, false, 2);
    shell.state.handle_key(A, true, 3);
    shell.state.handle_key(A, false, 4);
    shell.roundtrip(&mut red.client);
    shell.roundtrip(&mut blue.client);
    assert_eq!((red.keys(), blue.keys()), (2, 2));
    let last: Vec<_> = red.client.events.keyboard.iter().rev().take(2).collect();
    assert_eq!(last, [&Keyboard::Leave, &Keyboard::Key(A, false)], "what it held is released first");
}

#[test]
fn every_guest_is_told_the_area_of_its_own_display() {
    let mut shell = pinned();
    let red = Guest::new(&mut shell, "red", &[GREEN]);
    let blue = Guest::new(&mut shell, "blue", &[CYAN]);
    assert_eq!(red.screens[0].1, (792, 568));
    assert_eq!(blue.screens[0].1, (632, 448));
}

#[test]
fn tp05_the_main_guest_stays_while_another_has_the_keyboard_and_nothing_moves() {
    let mut shell = pinned();
    let _red = Guest::new(&mut shell, "red", &[GREEN]);
    let _blue = Guest::new(&mut shell, "blue", &[CYAN]);
    shell.guests(vec![
        guest("red", 1, LabelColor::Red),
        guest("blue", 2, LabelColor::Blue),
        guest("green", 3, LabelColor::Green),
    ]);
    let _green = Guest::new(&mut shell, "green", &[MAGENTA]);
    shell.show("green");
    assert_shows(&mut shell, TWO, CYAN, BLUE_LABEL, false);
    let area = shell.area_on(ONE);
    assert_eq!(shell.shot_on("main-green", ONE).count_inside(&area, MAGENTA), pixels(&area));
    shell.show("blue");
    assert_eq!(shell.shot_on("main-green-stays", ONE).count_inside(&area, MAGENTA), pixels(&area));
    assert_shows(&mut shell, TWO, CYAN, BLUE_LABEL, true);
}

#[test]
fn tp18_a_display_that_goes_and_comes_back_shows_its_guest_again() {
    let mut shell = pinned();
    let _red = Guest::new(&mut shell, "red", &[GREEN]);
    let mut blue = Guest::new(&mut shell, "blue", &[CYAN]);
    shell.settle();
    shell.unplug(TWO);
    assert_shows(&mut shell, ONE, GREEN, RED_LABEL, true);
    shell.plug(info(1, SMALL));
    blue.follow(&mut shell);
    assert_shows(&mut shell, TWO, CYAN, BLUE_LABEL, false);
    assert_shows(&mut shell, ONE, GREEN, RED_LABEL, true);
}

#[test]
fn a_guest_whose_display_goes_while_it_has_the_keyboard_moves_to_a_free_one_and_back() {
    let mut shell = pinned();
    let mut red = Guest::new(&mut shell, "red", &[GREEN]);
    let mut blue = Guest::new(&mut shell, "blue", &[CYAN]);
    shell.show("blue");
    shell.unplug(TWO);
    assert_eq!(blue.follow(&mut shell), (792, 568));
    assert_shows(&mut shell, ONE, CYAN, BLUE_LABEL, true);
    shell.plug(info(1, SMALL));
    assert_eq!(blue.follow(&mut shell), (632, 448));
    shell.roundtrip(&mut red.client);
    assert_shows(&mut shell, TWO, CYAN, BLUE_LABEL, true);
    assert_shows(&mut shell, ONE, GREEN, RED_LABEL, false);
}

#[test]
fn tp01_tp18_all_displays_gone_and_back_show_the_same_in_the_same_places() {
    let mut shell = pinned();
    let mut red = Guest::new(&mut shell, "red", &[GREEN]);
    let mut blue = Guest::new(&mut shell, "blue", &[CYAN]);
    shell.settle();
    shell.unplug(ONE);
    shell.roundtrip(&mut red.client);
    assert_eq!(
        red.client.events.configured,
        Some((632, 448)),
        "the other display yields to the guest with the keyboard"
    );
    shell.unplug(TWO);
    assert!(shell.state.backend.outputs().is_empty());
    // Nothing is drawn, and what guests do in the dark does no harm.
    red.client.ask_for_frame(&red.screens[0].0.surface);
    shell.roundtrip(&mut red.client);
    shell.state.handle_key(A, true, 1);
    shell.state.handle_key(A, false, 2);
    shell.state.point_to(100.0, 100.0, 3);
    shell.settle();
    shell.roundtrip(&mut red.client);
    assert_eq!((red.client.events.frames, red.keys()), (0, 2));
    assert_eq!(red.client.events.configured, Some((632, 448)), "a guest in the dark keeps its size");
    assert!(shell.state.act(Verb::Capture(phyllome_protocol::shell::CaptureTarget::Default), Asker::Tool).is_err());

    // The second one is back first.
    shell.plug(info(1, SMALL));
    shell.plug(info(0, BIG));
    let names: Vec<_> = shell.state.backend.outputs().iter().map(|output| output.name.as_str()).collect();
    assert_eq!(names, [ONE, TWO]);
    red.follow(&mut shell);
    blue.follow(&mut shell);
    assert_shows(&mut shell, ONE, GREEN, RED_LABEL, true);
    assert_shows(&mut shell, TWO, CYAN, BLUE_LABEL, false);
    shell.settle();
    shell.roundtrip(&mut red.client);
    assert_eq!(red.client.events.frames, 1, "shown again, it is told so");
}

#[test]
fn one_guests_screens_lie_on_all_free_displays_in_order() {
    let mut shell = Fixture::with(&[BIG, SMALL], RendererKind::Pixman).unwrap();
    let red = Guest::new(&mut shell, "red", &[GREEN, MAGENTA]);
    assert_eq!((red.screens[0].1, red.screens[1].1), ((792, 568), (632, 448)));
    assert_shows(&mut shell, ONE, GREEN, RED_LABEL, true);
    assert_shows(&mut shell, TWO, MAGENTA, RED_LABEL, true);
    let seen: Vec<_> = shell.state.outputs_status().into_iter().map(|output| (output.x, output.scanout)).collect();
    assert_eq!(seen, [(0, 0), (800, 1)]);
}

#[test]
fn a_screen_without_a_display_is_told_so_and_comes_and_goes_with_it() {
    let mut shell = Fixture::with(&[BIG, SMALL], RendererKind::Pixman).unwrap();
    // The second window's events come last, so what was told last is about it.
    let mut red = Guest::new(&mut shell, "red", &[GREEN, MAGENTA]);
    for _ in 0..2 {
        shell.unplug(TWO);
        shell.settle();
        shell.roundtrip(&mut red.client);
        assert_eq!((red.client.events.configured, red.client.events.suspended), (Some((0, 0)), true));
        red.screens[1].0.acknowledge(&red.client);
        shell.plug(info(1, SMALL));
        shell.settle();
        shell.roundtrip(&mut red.client);
        assert_eq!((red.client.events.configured, red.client.events.suspended), (Some((632, 448)), false));
        red.screens[1].0.acknowledge(&red.client);
    }
    // One that starts while there is one display.
    shell.unplug(TWO);
    let mut blue = shell.attach("blue");
    let windows = ["phyllome.scanout.0", "phyllome.scanout.1"].map(|app_id| {
        let window = blue.window(app_id);
        shell.roundtrip(&mut blue);
        (window, blue.events.configured, blue.events.suspended)
    });
    assert_eq!(
        windows.map(|(_, size, suspended)| (size, suspended)),
        [(Some((792, 568)), false), (Some((0, 0)), true)]
    );
}

#[test]
fn tp18_a_display_for_a_screen_that_the_guest_has_not_shows_a_message_and_no_old_pixel() {
    let mut shell = Fixture::with(&[BIG, SMALL], RendererKind::Pixman).unwrap();
    let _blue = Guest::new(&mut shell, "blue", &[CYAN, MAGENTA]);
    let _red = Guest::new(&mut shell, "red", &[GREEN]);
    shell.show("blue");
    assert_shows(&mut shell, TWO, MAGENTA, BLUE_LABEL, true);
    shell.show("red");
    let area = shell.area_on(TWO);
    let shot = shell.shot_on("no-second-screen", TWO);
    assert_eq!(shot.count_inside(&area, MAGENTA), 0);
    assert_frame(&shot, RED_LABEL, true);
    let words = pixels(&area) - shot.count_inside(&area, 0x10_11_14);
    assert!(words > 300, "{words} pixels are not the ground");
}

#[test]
fn tp11_a_display_that_comes_moves_no_focus() {
    let mut shell = pinned();
    let mut red = Guest::new(&mut shell, "red", &[GREEN]);
    let mut blue = Guest::new(&mut shell, "blue", &[CYAN]);
    shell.unplug(TWO);
    for _ in 0..3 {
        shell.plug(info(1, SMALL));
        shell.state.handle_key(A, true, 1);
        shell.state.handle_key(A, false, 2);
        shell.unplug(TWO);
    }
    shell.roundtrip(&mut red.client);
    shell.roundtrip(&mut blue.client);
    assert_eq!((red.keys(), blue.keys()), (6, 0));
}

#[test]
fn tp01_tp16_another_mode_is_told_to_the_guest_and_framed_at_once() {
    let mut shell = Fixture::new();
    let mut red = Guest::new(&mut shell, "red", &[GREEN]);
    shell.shot("before-the-mode");
    for mode in [(640, 480), (1920, 1080), (1280, 800)] {
        shell.change(&info(0, mode));
        // The guest's old picture is scaled or centred until it has followed, never over the frame.
        let area = shell.area();
        let shot = shell.shot(&format!("mode-{}", mode.0));
        assert_frame(&shot, RED_LABEL, true);
        assert_eq!(shot.count_outside(&area, GREEN), 0);
        assert!(shot.count_inside(&area, GREEN) > 0);
        red.follow(&mut shell);
        assert_shows(&mut shell, ONE, GREEN, RED_LABEL, true);
    }
}

#[test]
fn tp02_another_scale_leaves_the_guests_pixels_as_they_are() {
    let mut shell = Fixture::new();
    let mut red = Guest::new(&mut shell, "red", &[GREEN]);
    let settings = OutputConfig { scale: Some(2.0), ..OutputConfig::default() };
    shell.change(&Headless::info(0, (1280, 800), Some(&settings)));
    assert_eq!(red.follow(&mut shell), (1264, 736));
    assert_shows(&mut shell, ONE, GREEN, RED_LABEL, true);
}

#[test]
fn a_guest_that_is_not_running_says_so_on_its_own_display() {
    let mut shell = pinned();
    let _red = Guest::new(&mut shell, "red", &[GREEN]);
    let mut stopped = guest("blue", 2, LabelColor::Blue);
    stopped.state = GuestState::Stopped;
    shell.guests(vec![guest("red", 1, LabelColor::Red), stopped]);
    let area = shell.area_on(TWO);
    let shot = shell.shot_on("own-display-stopped", TWO);
    assert_frame(&shot, BLUE_LABEL, false);
    assert!(shot.count_inside(&area, 0x10_11_14) < pixels(&area));
}

#[test]
fn a_hidden_screen_of_a_guest_that_lost_its_display_costs_nothing() {
    let mut shell = pinned();
    let _red = Guest::new(&mut shell, "red", &[GREEN]);
    let mut blue = Guest::new(&mut shell, "blue", &[CYAN]);
    shell.unplug(TWO);
    shell.settle();
    blue.screens[0].0.surface.frame(&blue.client.handle, FrameMark);
    blue.screens[0].0.surface.commit();
    shell.roundtrip(&mut blue.client);
    assert!(!shell.state.render_is_armed());
    assert_eq!(blue.client.events.frames, 0);
}

#[test]
fn a_display_that_says_who_it_is_has_its_settings_at_any_connector_and_they_go_first() {
    const DELL: &str = "DEL DELL U2720Q 5X4KB13";
    let mut config = ShellConfig::default();
    let of = |guest: &str| OutputConfig { guest: Some(name(guest)), ..OutputConfig::default() };
    config.outputs.insert(DELL.to_owned(), of("blue"));
    config.outputs.insert(TWO.to_owned(), of("red"));
    let mut shell = Fixture::with_settings(&[BIG], RendererKind::Pixman, &config).unwrap();
    for number in [1, 2] {
        let dell = OutputInfo { identity: Some(DELL.to_owned()), ..info(number, SMALL) };
        let connector = dell.name.clone();
        shell.plug(dell);
        assert_eq!(shell.state.shell.owners()[1], Some(name("blue")), "{connector}");
        shell.unplug(&connector);
    }
    shell.plug(info(1, SMALL));
    assert_eq!(shell.state.shell.owners()[1], Some(name("red")), "another display at that connector");
}

#[test]
fn the_pointer_goes_up_to_a_display_that_lies_above_and_a_missing_neighbour_is_said() {
    let position = |of: &str| Some(Position { side: Side::Above, of: of.to_owned() });
    let mut config = ShellConfig::default();
    config.outputs.insert(TWO.to_owned(), OutputConfig { position: position(ONE), ..OutputConfig::default() });
    let mut shell = Fixture::with_settings(&[BIG, SMALL], RendererKind::Pixman, &config).unwrap();
    let at = |shell: &Fixture| shell.state.backend.outputs().iter().map(|output| output.position).collect::<Vec<_>>();
    assert_eq!(at(&shell), [(0, 480), (0, 0)]);
    shell.state.handle_pointer_motion(100.0, 500.0, 1);
    shell.state.handle_pointer_step(0.0, -30.0, 2);
    assert_eq!(shell.state.protocols.seat.position(), Some((100.0, 470.0)));
    assert!(shell.state.displays.told().is_empty());
    shell.state.displays.set(TWO, OutputConfig { position: position("DP-7"), ..OutputConfig::default() });
    shell.state.outputs_changed();
    assert_eq!(at(&shell), [(0, 0), (800, 0)]);
    assert_eq!(
        shell.state.displays.told(),
        ["HEADLESS-2 has no place beside DP-7, which is not plugged in; it lies with those that have no position"]
    );
}
