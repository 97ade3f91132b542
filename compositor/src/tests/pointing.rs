//! Where the pointer is and what is seen there are one: for any displays, turned and scaled and laid out as it may be,
//! and any pictures of a guest on them, the pixel that the guest is told of is the one that the person points at.

use super::client::{Client, Pointer, Pool, Window};
use super::fixture::{Fixture, Shot, name};
use crate::backend::headless::Headless;
use crate::outputs::RendererKind;
use phyllome_config::ShellConfig;
use phyllome_config::shell::{OutputConfig, Position, Rotation, Side};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};
use std::cell::Cell;
use std::os::unix::fs::FileExt;
use wayland_client::protocol::wl_shm;

/// The blue of each scanout of the guest that has the keys. Nothing of the shell's own is so blue and not as red.
const BLUES: [u32; 3] = [220, 232, 244];
/// That of another guest's picture.
const FOREIGN: u32 = 255;
/// Red and green go from 0 to this, from edge to edge of a picture.
const RAMP: u32 = 200;
/// At how many places of all scenes together the guest that has the keys is told of one of its pixels, at least.
const LEAST_POINTED: usize = 350;

#[derive(Clone, Debug)]
struct Display {
    mode: (u32, u32),
    rotation: Rotation,
    scale: f64,
    /// On which side of the first one it lies.
    side: Option<Side>,
    /// It shows another guest.
    foreign: bool,
}

#[derive(Clone, Debug)]
struct Scene {
    displays: Vec<Display>,
    /// Sizes of the guest's pictures; `None`: as large as it was told.
    modes: Vec<Option<(u32, u32)>>,
    /// Fractions of the display of that number.
    places: Vec<(usize, f64, f64)>,
}

fn a_display() -> impl Strategy<Value = Display> {
    let rotations = [Rotation::Normal, Rotation::Quarter, Rotation::Half, Rotation::ThreeQuarters];
    let sides = [None, Some(Side::LeftOf), Some(Side::RightOf), Some(Side::Above), Some(Side::Below)];
    (
        (200u32..420, 200u32..420),
        proptest::sample::select(rotations.to_vec()),
        proptest::sample::select(vec![1.0, 1.25, 1.5, 2.0]),
        proptest::sample::select(sides.to_vec()),
        prop::bool::weighted(0.2),
    )
        .prop_map(|(mode, rotation, scale, side, foreign)| Display { mode, rotation, scale, side, foreign })
}

fn a_scene() -> impl Strategy<Value = Scene> {
    let mode = prop_oneof![1 => Just(None), 3 => (16u32..500, 16u32..500).prop_map(Some)];
    (
        prop::collection::vec(a_display(), 1..4),
        prop::collection::vec(mode, 1..4),
        prop::collection::vec((0usize..3, 0.0..1.0, 0.0..1.0), 24),
    )
        .prop_map(|(displays, modes, places)| Scene { displays, modes, places })
}

fn colour((x, y): (u32, u32), (width, height): (u32, u32), blue: u32) -> [u32; 3] {
    [x * RAMP / width, y * RAMP / height, blue]
}

fn parts(pixel: u32) -> [u32; 3] {
    [pixel >> 16 & 0xff, pixel >> 8 & 0xff, pixel & 0xff]
}

/// A window of `client` that shows a picture of this size, or of the size that it is told.
fn show(shell: &mut Fixture, client: &mut Client, number: usize, mode: Option<(u32, u32)>, blue: u32) -> Picture {
    client.events.configured = None;
    let window = client.window(&format!("phyllome.scanout.{number}"));
    shell.roundtrip(client);
    window.acknowledge(client);
    let told = client.events.configured.filter(|told| *told != (0, 0)).map(|(w, h)| (w as u32, h as u32));
    let size = mode.or(told).unwrap_or((64, 64));
    let stride = size.0 * 4;
    let pool = client.pool((stride * size.1) as usize);
    for y in 0..size.1 {
        let row = (0..size.0).flat_map(|x| {
            let [red, green, blue] = colour((x, y), size, blue);
            (red << 16 | green << 8 | blue).to_le_bytes()
        });
        pool.file.write_all_at(&row.collect::<Vec<_>>(), u64::from(y * stride)).unwrap();
    }
    let [width, height, stride] = [size.0, size.1, stride].map(|side| side as i32);
    let buffer = pool.pool.create_buffer(0, width, height, stride, wl_shm::Format::Xrgb8888, &client.handle, ());
    window.surface.attach(Some(&buffer), 0, 0);
    window.surface.damage_buffer(0, 0, width, height);
    window.surface.commit();
    shell.roundtrip(client);
    Picture { window, size, _pool: pool }
}

struct Picture {
    window: Window,
    size: (u32, u32),
    _pool: Pool,
}

fn display_name(number: usize) -> String {
    format!("HEADLESS-{}", number + 1)
}

/// A shell with these displays.
fn shell_of(displays: &[Display]) -> Fixture {
    let mut config = ShellConfig::default();
    for (number, display) in displays.iter().enumerate() {
        let side = display.side.filter(|_| number > 0);
        let settings = OutputConfig {
            rotation: display.rotation,
            scale: Some(display.scale),
            position: side.map(|side| Position { side, of: display_name(0) }),
            guest: display.foreign.then(|| name("blue")),
            ..OutputConfig::default()
        };
        config.outputs.insert(display_name(number), settings);
    }
    let modes: Vec<_> = displays.iter().map(|display| display.mode).collect();
    let mut shell = Fixture::with_settings(&modes, RendererKind::Pixman, &config).unwrap();
    for (number, (display, (width, height))) in displays.iter().zip(modes).enumerate() {
        let settings = &config.outputs[&display_name(number)];
        shell.change(&Headless::info(number, (width, height), Some(settings)));
        let seen = match display.rotation {
            Rotation::Normal | Rotation::Half => (width, height),
            Rotation::Quarter | Rotation::ThreeQuarters => (height, width),
        };
        assert_eq!(shell.state.backend.outputs()[number].size, seen, "as the person sees it who turned it");
    }
    shell
}

/// The scanout and the place on it that the guest was told last, if the pointer is on one.
fn told(client: &Client, pictures: &[Picture]) -> Option<(usize, (u32, u32))> {
    let over = client.events.over.as_ref()?;
    let scanout = pictures.iter().position(|picture| picture.window.surface == *over)?;
    let place = client.events.pointer.iter().rev().find_map(|event| match event {
        Pointer::Enter(x, y) | Pointer::Motion(x, y) => Some((*x as u32, *y as u32)),
        Pointer::Leave | Pointer::Button(..) | Pointer::Axis(_) => None,
    });
    Some((scanout, place?))
}

/// Whether a pixel is one of a picture of the guest that has the keys.
fn is_own(pixel: u32) -> bool {
    let [red, green, blue] = parts(pixel);
    red <= RAMP && green <= RAMP && BLUES.contains(&blue)
}

/// What is wrong with what the guest was told of this pixel of a display, if anything.
fn differs(picture: &Picture, scanout: usize, place: (u32, u32), seen: u32, area: (u32, u32)) -> Option<String> {
    let (width, height) = picture.size;
    let wanted = colour(place, picture.size, BLUES[scanout]);
    let fits = width <= area.0 && height <= area.1;
    let shrunk = f64::min(f64::from(area.0) / f64::from(width), f64::from(area.1) / f64::from(height));
    // A picture that is shrunk is mixed of neighbours, and with what is around it at its edges.
    let shown = |side: u32| (f64::from(side) * shrunk).max(1.0);
    let slack = |side: u32| if fits { 0 } else { (f64::from(RAMP) * 0.5 / shown(side)) as u32 + 2 };
    let edge = |at: u32, side: u32| {
        let margin = (f64::from(side) * 2.0 / shown(side)) as u32 + 1;
        at < margin || at + margin >= side
    };
    if !fits && (edge(place.0, width) || edge(place.1, height)) {
        return None;
    }
    let allowed = [slack(width), slack(height), 0];
    let close = parts(seen).iter().zip(wanted).zip(allowed).all(|((seen, wanted), most)| seen.abs_diff(wanted) <= most);
    (!close).then(|| format!("told of {place:?} on scanout {scanout}, {wanted:?}; there is {:?}", parts(seen)))
}

/// At how many places the guest was told of one of its pixels.
fn point_everywhere(scene: &Scene) -> Result<usize, String> {
    let mut shell = shell_of(&scene.displays);
    let mut blue = shell.attach("blue");
    let _foreign: Vec<_> = (0..3).map(|number| show(&mut shell, &mut blue, number, None, FOREIGN)).collect();
    let mut red = shell.attach("red");
    red.seat().get_pointer(&red.handle, ());
    let mut pictures = Vec::new();
    for (number, mode) in scene.modes.iter().enumerate() {
        pictures.push(show(&mut shell, &mut red, number, *mode, BLUES[number]));
    }
    shell.settle();
    let shots: Vec<Shot> =
        (0..scene.displays.len()).map(|number| shell.shot_on("pointing", &display_name(number))).collect();
    let mut pointed = 0;
    for (time, (number, x, y)) in (1..).zip(&scene.places) {
        let number = number % scene.displays.len();
        let shot = &shots[number];
        let (x, y) = ((x * f64::from(shot.width)) as u32, (y * f64::from(shot.height)) as u32);
        let corner = shell.state.backend.outputs()[number].position;
        let area = shell.area_on(&display_name(number));
        let middle = |corner: i32, at: u32| f64::from(corner) + f64::from(at) + 0.5;
        shell.state.handle_pointer_motion(middle(corner.0, x), middle(corner.1, y), time);
        shell.roundtrip(&mut red);
        let wrong = match told(&red, &pictures) {
            Some((scanout, place)) => {
                pointed += 1;
                differs(&pictures[scanout], scanout, place, shot.at(x, y), (area.width, area.height))
            }
            None => is_own(shot.at(x, y)).then(|| "told of nothing, over its own picture".to_owned()),
        };
        if let Some(wrong) = wrong {
            return Err(format!("{x}, {y} of {}: {wrong}", display_name(number)));
        }
    }
    let shown = shots.iter().any(|shot| (0..shot.height).any(|y| (0..shot.width).any(|x| is_own(shot.at(x, y)))));
    if !shown && scene.displays.iter().any(|display| !display.foreign) {
        return Err(format!("nothing of the guest is seen, and {pointed} places are its own"));
    }
    Ok(pointed)
}

#[test]
fn whatever_displays_and_pictures_there_are_a_guest_is_told_of_the_pixel_that_is_seen_under_the_pointer() {
    let config = Config { cases: 40, failure_persistence: None, ..Config::default() };
    let random = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let pointed = Cell::new(0);
    let outcome = TestRunner::new_with_rng(config, random).run(&a_scene(), |scene| {
        pointed.set(pointed.get() + point_everywhere(&scene).map_err(TestCaseError::fail)?);
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
    // Of 40 times 24 places, which are always the same; the others are beside its pictures.
    assert!(pointed.get() >= LEAST_POINTED, "the guest was told of {} places only", pointed.get());
}
