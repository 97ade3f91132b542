//! What is asked of the shell. A lock closes every way in: chords, clicks, the command-line tool, and faces that were
//! open before. A guest asks in vain, whatever its client does.

use super::fixture::{Fixture, guest, name};
use super::show::shown;
use crate::guests::GuestView;
use crate::outputs::RendererKind;
use phyllome_config::guest::LabelColor;
use phyllome_protocol::shell::CaptureTarget;
use phyllome_protocol::status::GuestState::*;
use phyllome_protocol::status::Mode;
use phyllome_protocol::{GuestName, GuestVerb};
use phyllome_trusted::codes::{BTN_LEFT, ESC, LEFT_META, TAB};
use phyllome_trusted::gate::{Asker, Verb};

const GREEN: u32 = 0x00_ff_00;
const MAGENTA: u32 = 0xff_00_ff;
const TWO: u32 = 3;
const K: u32 = 37;
const DOWN: u32 = 108;

/// What a person at the screen would notice.
fn seen(shell: &Fixture) -> (Mode, Option<GuestName>, bool, Option<GuestName>) {
    let state = &shell.state.shell;
    (state.mode(), state.shown().map(|guest| guest.name.clone()), state.covers(0), state.keyboard_owner())
}

#[test]
fn tp19_no_way_leads_past_a_lock() {
    let mut shell = Fixture::new();
    shell.state.shell.set_locked(true);
    let locked = (Mode::Locked, Some(name("red")), true, None);
    assert_eq!(seen(&shell), locked);
    for key in [TWO, TAB, ESC] {
        for (code, pressed) in [(LEFT_META, true), (key, true), (key, false), (LEFT_META, false)] {
            shell.state.handle_key(code, pressed, 0);
        }
        assert_eq!(seen(&shell), locked, "Super and key {key}");
    }
    let asked = [
        Verb::Show(name("blue")),
        Verb::Panel { show: true },
        Verb::Capture(CaptureTarget::Default),
        Verb::Capture(CaptureTarget::Guest(name("red"))),
        Verb::SendKeys(name("red"), vec!["a".to_owned()]),
    ];
    for verb in asked {
        let refused = shell.state.act(verb.clone(), Asker::Tool);
        assert_eq!(refused.unwrap_err(), "the screen is locked; unlock it first", "{verb:?}");
        assert_eq!(seen(&shell), locked, "{verb:?}");
    }
    assert!(shell.state.act(Verb::Tell("it was away".to_owned()), Asker::Shell).is_err());
    assert!(shell.state.act(Verb::Guest(name("red"), GuestVerb::Kill), Asker::Face).is_err());
    shell.state.handle_button(BTN_LEFT, true, 0);
    assert_eq!(seen(&shell), locked);
    shell.state.shell.set_locked(false);
    assert_eq!(seen(&shell), (Mode::Guest, Some(name("red")), false, Some(name("red"))), "and it is as it was");
}

#[test]
fn tp11_nothing_is_done_because_a_guest_asks() {
    let mut shell = Fixture::new();
    let before = seen(&shell);
    for verb in [Verb::Show(name("blue")), Verb::ShowStarted(name("blue")), Verb::TogglePanel] {
        assert!(shell.state.act(verb, Asker::Guest).is_err());
        assert_eq!(seen(&shell), before);
    }
}

/// Names that a window might give itself.
const NAMES: [&str; 8] =
    ["phyllome.scanout.0", "phyllome.scanout.1", "phyllome.scanout.15", "red", "work", "phyllome-shell", "panel", ""];

#[test]
fn tp11_nothing_that_a_guests_client_does_moves_the_focus_or_opens_anything() {
    let opened: [fn(&mut Fixture); 3] = [
        |_| {},
        |shell| shell.panel(true),
        |shell| [LEFT_META, TAB].into_iter().for_each(|code| shell.state.handle_key(code, true, 0)),
    ];
    for open in opened {
        let mut shell = Fixture::new();
        let (mut red, _window, _picture) = shown!(shell, "red", GREEN);
        open(&mut shell);
        let before = seen(&shell);
        for _ in 0..3 {
            let mut blue = shell.attach("blue");
            assert_eq!(seen(&shell), before, "it has connected");
            for name in NAMES {
                let window = blue.window(name);
                shell.roundtrip(&mut blue);
                window.acknowledge(&blue);
                window.toplevel.set_title("red".to_owned());
                window.toplevel.set_fullscreen(None);
                window.toplevel.set_maximized();
                window.toplevel.set_minimized();
                std::mem::forget(blue.fill(&window.surface, 1272, 768, MAGENTA));
                // Another one's name, once it is there.
                window.toplevel.set_app_id("phyllome.scanout.0".to_owned());
                window.surface.commit();
                shell.roundtrip(&mut blue);
                assert_eq!(seen(&shell), before, "a window called “{name}”");
            }
            assert!(!blue.is_cut());
            let area = shell.area();
            assert_eq!(shell.shot("tp11").count_inside(&area, MAGENTA), 0);
            drop(blue);
            shell.wait("blue to be gone", |shell| !shell.state.has_picture(&name("blue")));
            assert_eq!(seen(&shell), before, "it has gone");
        }
        shell.roundtrip(&mut red);
        assert!(!red.is_cut());
    }
}

#[test]
fn tp11_no_state_that_a_guest_reports_moves_the_focus_and_its_own_keys_come_back_with_it() {
    let mut shell = Fixture::new();
    let (_red, _window, _picture) = shown!(shell, "red", GREEN);
    let (_blue, _w, _p) = shown!(shell, "blue", MAGENTA);
    let before = seen(&shell);
    let area = shell.area();
    for state in [Starting, Paused, Frozen, Stopping, Crashed, InternalError, Stopped, Running] {
        let flipped = |name, slot, color| GuestView { state, ..guest(name, slot, color) };
        shell.guests(vec![guest("red", 1, LabelColor::Red), flipped("blue", 2, LabelColor::Blue)]);
        assert_eq!(seen(&shell), before, "blue is {state:?}");
        shell.guests(vec![flipped("red", 1, LabelColor::Red), guest("blue", 2, LabelColor::Blue)]);
        let keys = state.is_alive().then(|| name("red"));
        assert_eq!(seen(&shell), (Mode::Guest, Some(name("red")), false, keys), "red is {state:?}");
        assert_eq!(shell.shot("tp11-state").count_inside(&area, MAGENTA), 0);
    }
    assert_eq!(seen(&shell), before);
}

/// A key of the person's, pressed and released.
fn tap(shell: &mut Fixture, code: u32) {
    shell.state.handle_key(code, true, 0);
    shell.state.handle_key(code, false, 0);
}

#[test]
fn tp19_a_face_that_was_open_hears_and_shows_nothing_under_a_lock() {
    let mut shell = Fixture::new();
    shell.panel(true);
    let before = shell.state.shell.view();
    assert!(before.is_some());
    shell.state.shell.set_locked(true);
    assert_eq!(shell.state.shell.view(), None);
    for key in [DOWN, K, ESC, DOWN] {
        tap(&mut shell, key);
        assert!(!shell.state.shell.repeats(key), "{key}");
    }
    shell.state.shell.set_locked(false);
    assert_eq!(shell.state.shell.view(), before, "and it is as it was");
}

#[test]
fn tp19_nothing_of_a_guest_is_on_any_output_under_a_lock() {
    let mut shell = Fixture::with(&[(1280, 800), (800, 600)], RendererKind::Pixman).unwrap();
    let (mut red, _window, _picture) = shown!(shell, "red", 0x00_ff_00);
    shell.roundtrip(&mut red);
    assert!(shell.state.scene(0).picture.is_some());
    shell.state.shell.set_locked(true);
    for output in [0, 1] {
        let scene = shell.state.scene(output);
        assert_eq!((scene.picture, scene.shown.len()), (None, 0));
        assert!(shell.state.shell.covers(output));
    }
}
