//! Pictures: what a guest shows is where it belongs, what is hidden costs nothing, and nothing old is ever seen.

use super::fixture::{Fixture, guest, name, pixels};
use crate::outputs::RendererKind;
use phyllome_config::guest::LabelColor;
use phyllome_protocol::shell::CaptureTarget;
use phyllome_protocol::status::{Area, GuestState};
use phyllome_trusted::codes;
use phyllome_trusted::gate::{Asker, Verb};
use wayland_client::protocol::{wl_output, wl_shm};

const GREEN: u32 = 0x00_ff_00;
const CYAN: u32 = 0x00_ff_ff;
const RED_LABEL: u32 = 0xc6_28_28;
const BLUE_LABEL: u32 = 0x15_65_c0;

/// A client of `text` whose first scanout fills the area with `colour`.
macro_rules! shown {
    ($fixture:ident, $text:literal, $colour:expr) => {{
        let mut client = $fixture.attach($text);
        let window = client.window("phyllome.scanout.0");
        $fixture.roundtrip(&mut client);
        window.acknowledge(&client);
        let area = $fixture.area();
        let pool = client.fill(&window.surface, area.width as i32, area.height as i32, $colour);
        $fixture.roundtrip(&mut client);
        (client, window, pool)
    }};
}
pub(super) use shown;

#[test]
fn a_guest_sees_these_globals_and_no_others() {
    let mut shell = Fixture::new();
    let client = shell.attach("red");
    let mut seen: Vec<&str> = client.events.globals.keys().map(String::as_str).collect();
    seen.sort_unstable();
    let expected = [
        "wl_compositor",
        "wl_output",
        "wl_seat",
        "wl_shm",
        "wp_presentation",
        "wp_viewporter",
        "xdg_wm_base",
        "zwp_linux_dmabuf_v1",
    ];
    assert_eq!(seen, expected);
}

#[test]
fn a_scanout_is_told_the_size_of_the_area() {
    let mut shell = Fixture::new();
    let mut client = shell.attach("red");
    client.window("phyllome.scanout.0");
    shell.roundtrip(&mut client);
    assert_eq!(client.events.configured, Some((1272, 768)));
}

#[test]
fn a_scanout_may_be_named_late_and_commit_before_it_acknowledges() {
    let mut shell = Fixture::with(&[(1280, 800), (640, 480)], RendererKind::Pixman).unwrap();
    let mut client = shell.attach("red");
    let window = client.window("");
    shell.roundtrip(&mut client);
    assert_eq!(client.events.configured, Some((1272, 768)));
    window.surface.commit();
    window.toplevel.set_app_id("phyllome.scanout.1".into());
    shell.roundtrip(&mut client);
    assert!(!client.is_cut());
    assert_eq!(client.events.configured, Some((632, 448)));
}

#[test]
fn a_picture_fills_the_area_and_the_band_is_the_guests_colour() {
    let mut shell = Fixture::new();
    let (_client, _window, _pool) = shown!(shell, "red", GREEN);
    let shot = shell.shot("one-guest");
    let area = shell.area();
    assert_eq!(shot.count_inside(&area, GREEN), pixels(&area));
    assert_eq!(shot.count_outside(&area, GREEN), 0);
    for (x, y) in [(0, 799), (1279, 799), (0, 400), (3, 400), (1276, 400), (640, 796), (1279, 0), (640, 0)] {
        assert_eq!(shot.at(x, y), RED_LABEL, "{x}, {y}");
    }
}

#[test]
fn tp18_a_switch_shows_the_other_guest_and_nothing_of_the_first() {
    let mut shell = Fixture::new();
    let (_red, _w1, _p1) = shown!(shell, "red", GREEN);
    let (_blue, _w2, _p2) = shown!(shell, "blue", CYAN);
    let area = shell.area();
    shell.settle();
    for _ in 0..3 {
        shell.show("blue");
        let shot = shell.shot("switched-to-blue");
        assert_eq!(shot.count_inside(&area, CYAN), pixels(&area));
        assert_eq!(shot.count_inside(&area, GREEN), 0);
        assert_eq!(shot.at(1, 400), BLUE_LABEL);
        shell.show("red");
        let shot = shell.shot("switched-to-red");
        assert_eq!(shot.count_inside(&area, GREEN), pixels(&area));
        assert_eq!(shot.at(1, 400), RED_LABEL);
    }
}

#[test]
fn a_switch_flashes_the_name_inside_the_area() {
    let mut shell = Fixture::new();
    let (_blue, _w, _p) = shown!(shell, "blue", CYAN);
    let area = shell.area();
    shell.show_and_flash("blue");
    let shot = shell.shot("flash");
    assert!(shot.count_inside(&area, BLUE_LABEL) > 1000);
    shell.wait("the flash to be over", |s| s.state.shell.flash(std::time::Instant::now()).is_none());
    assert_eq!(shell.shot("after-the-flash").count_inside(&area, CYAN), pixels(&area));
}

#[test]
fn tp18_a_guest_that_goes_leaves_its_frame_with_a_message() {
    let mut shell = Fixture::new();
    let (client, _window, _pool) = shown!(shell, "red", GREEN);
    shell.settle();
    drop(client);
    let area = shell.area();
    shell.wait("the picture to go", |shell| !shell.state.has_picture(&name("red")));
    let shot = shell.shot("guest-gone");
    assert_eq!(shot.count_inside(&area, GREEN), 0);
    assert_eq!(shot.at(area.x + 5, area.y + 5), 0x10_11_14);
    assert_eq!(shot.at(1, 400), RED_LABEL);
}

#[test]
fn a_crashed_guest_shows_its_message_though_its_client_still_has_a_picture() {
    let mut shell = Fixture::new();
    let (_client, _window, _pool) = shown!(shell, "red", GREEN);
    let mut crashed = guest("red", 1, LabelColor::Red);
    crashed.state = GuestState::Crashed;
    crashed.message = Some("red ended with signal 9.".into());
    shell.guests(vec![crashed]);
    let area = shell.area();
    assert_eq!(shell.shot("crashed").count_inside(&area, GREEN), 0);
}

#[test]
fn a_surface_without_a_scanouts_name_is_never_shown() {
    let mut shell = Fixture::new();
    let mut client = shell.attach("red");
    for app_id in ["firefox", "phyllome.scanout.16", "phyllome.scanout.1"] {
        let window = client.window(app_id);
        shell.roundtrip(&mut client);
        window.acknowledge(&client);
        std::mem::forget(client.fill(&window.surface, 1272, 768, GREEN));
        shell.roundtrip(&mut client);
    }
    let area = shell.area();
    assert_eq!(shell.shot("no-scanout").count_inside(&area, GREEN), 0);
}

#[test]
fn a_hidden_guest_gets_no_frame_callbacks_until_it_is_shown() {
    let mut shell = Fixture::new();
    let (mut blue, window, _pool) = shown!(shell, "blue", CYAN);
    blue.feedback(&window.surface);
    blue.ask_for_frame(&window.surface);
    for _ in 0..20 {
        shell.roundtrip(&mut blue);
    }
    shell.settle();
    assert_eq!((blue.events.frames, blue.events.presented), (0, 0));
    shell.show("blue");
    shell.settle();
    shell.roundtrip(&mut blue);
    assert_eq!((blue.events.frames, blue.events.presented), (1, 1));
    assert_eq!(blue.events.outputs_entered, 0, "the client has bound no output");
}

#[test]
fn a_guest_under_the_panel_gets_no_frame_callbacks() {
    let mut shell = Fixture::new();
    let (mut red, window, _pool) = shown!(shell, "red", GREEN);
    shell.settle();
    shell.panel(true);
    shell.settle();
    red.ask_for_frame(&window.surface);
    for _ in 0..10 {
        shell.roundtrip(&mut red);
    }
    assert_eq!(red.events.frames, 0);
    let area = shell.area();
    assert_eq!(shell.shot("panel").count_inside(&area, GREEN), 0);
    shell.panel(false);
    shell.settle();
    shell.roundtrip(&mut red);
    assert_eq!(red.events.frames, 1);
}

/// A shell with the panel open, after the selection has gone down so many times.
fn panel_after(mut shell: Fixture, downs: u32) -> Fixture {
    let names = ["red", "blue", "green", "gray"];
    shell.guests(names.iter().zip(1..).map(|(name, slot)| guest(name, slot, LabelColor::Red)).collect());
    shell.panel(true);
    (0..downs).for_each(|_| go_down(&mut shell));
    shell
}

fn go_down(shell: &mut Fixture) {
    shell.state.handle_key(codes::DOWN, true, 1);
    shell.state.handle_key(codes::DOWN, false, 2);
}

/// The panel changes step by step, and looks after each as one that is opened in that state.
pub(super) fn a_panel_that_changes_in_parts(shell: Fixture) {
    let mut shell = panel_after(shell, 0);
    let area = shell.area();
    let place = |shell: &mut Fixture| {
        let view = shell.state.shell.view().unwrap();
        shell.state.ui.faces.of(&view, area.width, area.height, 1.0).data.as_ptr()
    };
    let first = place(&mut shell);
    let nowhere = Area { x: 0, y: 0, width: 0, height: 0 };
    for downs in 0..4 {
        let anew = panel_after(Fixture::new(), downs).shot("panel-anew");
        assert_eq!(shell.shot("panel-in-parts").differs_outside(&nowhere, &anew), None, "after {downs} steps");
        go_down(&mut shell);
    }
    shell.settle();
    assert_eq!(place(&mut shell), first, "the renderer keeps no picture after its frame: it changes in place");
}

#[test]
fn a_panel_that_changes_in_parts_looks_like_one_that_is_drawn_anew() {
    a_panel_that_changes_in_parts(Fixture::new());
}

#[test]
fn a_buffer_is_released_when_another_takes_its_place() {
    let mut shell = Fixture::new();
    let (mut red, window, _pool) = shown!(shell, "red", GREEN);
    shell.settle();
    shell.roundtrip(&mut red);
    assert_eq!(red.events.released, 0);
    let _second = red.fill(&window.surface, 1272, 768, CYAN);
    shell.roundtrip(&mut red);
    shell.settle();
    shell.roundtrip(&mut red);
    assert_eq!(red.events.released, 1);
}

#[test]
fn only_damaged_pixels_change_and_all_of_them_do() {
    let mut shell = Fixture::new();
    let (mut red, window, pool) = shown!(shell, "red", GREEN);
    shell.settle();
    let cyan = CYAN.to_le_bytes().repeat(100);
    for y in 50..60u64 {
        std::os::unix::fs::FileExt::write_all_at(&pool.file, &cyan, y * 5120 + 4 * 200).unwrap();
    }
    let (buffer, _) = red.buffer(1, 1, 0, wl_shm::Format::Xrgb8888);
    drop(buffer);
    // The same buffer again, with the changed rectangle as damage.
    let again = pool.pool.create_buffer(0, 1272, 768, 5120, wl_shm::Format::Xrgb8888, &red.handle, ());
    window.surface.attach(Some(&again), 0, 0);
    window.surface.damage_buffer(200, 50, 100, 10);
    window.surface.commit();
    shell.roundtrip(&mut red);
    let area = shell.area();
    let shot = shell.shot("damage");
    assert_eq!(shot.count_inside(&area, CYAN), 1000);
    assert_eq!(shot.at(area.x + 200, area.y + 50), CYAN);
    assert_eq!(shot.at(area.x + 299, area.y + 59), CYAN);
}

#[test]
fn a_smaller_picture_is_centred_and_not_scaled() {
    let mut shell = Fixture::new();
    let (mut red, window, _pool) = shown!(shell, "red", GREEN);
    let _small = red.fill(&window.surface, 640, 480, CYAN);
    shell.roundtrip(&mut red);
    let shot = shell.shot("smaller");
    let area = shell.area();
    let at = Area { x: 4 + 316, y: 28 + 144, width: 640, height: 480 };
    assert_eq!(shot.count_inside(&at, CYAN), pixels(&at));
    assert_eq!(shot.count_inside(&area, CYAN), pixels(&at));
    assert_eq!(shot.count_inside(&area, GREEN), 0);
}

#[test]
fn a_part_of_a_larger_buffer_can_be_a_scanout() {
    let mut shell = Fixture::new();
    let mut red = shell.attach("red");
    let window = red.window("phyllome.scanout.0");
    shell.roundtrip(&mut red);
    window.acknowledge(&red);
    let viewport = red.viewport(&window.surface);
    viewport.set_source(100.0, 50.0, 1272.0, 768.0);
    viewport.set_destination(1272, 768);
    let (buffer, pool) = red.buffer(1600, 900, GREEN, wl_shm::Format::Xrgb8888);
    std::os::unix::fs::FileExt::write_all_at(&pool.file, &CYAN.to_le_bytes(), 50 * 6400 + 4 * 100).unwrap();
    window.surface.attach(Some(&buffer), 0, 0);
    window.surface.damage_buffer(0, 0, 1600, 900);
    window.surface.commit();
    shell.roundtrip(&mut red);
    let area = shell.area();
    let shot = shell.shot("viewport");
    assert_eq!(shot.at(area.x, area.y), CYAN);
    assert_eq!(shot.count_inside(&area, GREEN), pixels(&area) - 1);
}

#[test]
fn each_output_shows_its_own_scanout() {
    let mut shell = Fixture::with(&[(1280, 800), (640, 480)], RendererKind::Pixman).unwrap();
    let mut red = shell.attach("red");
    let first = red.window("phyllome.scanout.0");
    shell.roundtrip(&mut red);
    first.acknowledge(&red);
    let _one = red.fill(&first.surface, 1272, 768, GREEN);
    let second = red.window("phyllome.scanout.1");
    shell.roundtrip(&mut red);
    assert_eq!(red.events.configured, Some((632, 448)));
    second.acknowledge(&red);
    let _two = red.fill(&second.surface, 632, 448, CYAN);
    shell.roundtrip(&mut red);
    let area = shell.area();
    assert_eq!(shell.shot("first-output").count_inside(&area, GREEN), pixels(&area));
    let shot = shell.shot_of("second-output", &CaptureTarget::Output("HEADLESS-2".into()));
    let area = shell.state.backend.outputs()[1].layout().area;
    assert_eq!((shot.width, shot.height), (640, 480));
    assert_eq!(shot.count_inside(&area, CYAN), pixels(&area));
    assert_eq!(shot.at(1, 200), RED_LABEL);
}

#[test]
fn a_guests_picture_can_be_captured_without_the_frame_even_while_it_is_hidden() {
    let mut shell = Fixture::new();
    let (_blue, _window, _pool) = shown!(shell, "blue", CYAN);
    let shot = shell.shot_of("capture-of-blue", &CaptureTarget::Guest(name("blue")));
    let whole = Area { x: 0, y: 0, width: 1272, height: 768 };
    assert_eq!((shot.width, shot.height), (1272, 768));
    assert_eq!(shot.count_inside(&whole, CYAN), pixels(&whole));
    assert!(shell.state.act(Verb::Capture(CaptureTarget::Guest(name("red"))), Asker::Tool).is_err());
    assert!(shell.state.act(Verb::Capture(CaptureTarget::Output("DP-7".into())), Asker::Tool).is_err());
}

#[test]
fn a_turned_picture_is_shown_turned_and_stays_inside() {
    let mut shell = Fixture::new();
    let (mut red, window, _pool) = shown!(shell, "red", GREEN);
    window.surface.set_buffer_transform(wl_output::Transform::_90);
    let _turned = red.fill(&window.surface, 400, 1000, CYAN);
    shell.roundtrip(&mut red);
    let area = shell.area();
    let shot = shell.shot("turned");
    assert_eq!(shot.count_inside(&area, CYAN), 400 * 1000);
    assert_eq!(shot.count_outside(&area, CYAN), 0);
}

#[test]
fn a_quiet_guest_causes_no_wake_up() {
    let mut shell = Fixture::new();
    let (mut red, _window, _pool) = shown!(shell, "red", GREEN);
    shell.settle();
    shell.roundtrip(&mut red);
    let mut turns = 0;
    let started = std::time::Instant::now();
    while started.elapsed() < std::time::Duration::from_millis(500) {
        let woken = shell.turn_until_woken(std::time::Duration::from_millis(500));
        turns += u32::from(woken);
    }
    assert_eq!(turns, 0);
}

#[test]
fn a_picture_that_cannot_be_read_leaves_a_message_and_the_guest_can_draw_another() {
    let mut shell = Fixture::new();
    let (mut red, window, _pool) = shown!(shell, "red", GREEN);
    shell.settle();
    let area = shell.area();
    let surface = shell.state.scene(0).shown[0].clone();
    shell.state.protocols.screens.note_unreadable(&surface);
    shell.state.queue_redraw();
    red.ask_for_frame(&window.surface);
    shell.roundtrip(&mut red);
    shell.settle();
    shell.roundtrip(&mut red);
    let shot = shell.shot("unreadable");
    assert_eq!(shot.count_inside(&area, GREEN), 0);
    assert!(shot.count_inside(&area, 0x10_11_14) > pixels(&area) / 2, "a card on the ground");
    assert_eq!(red.events.frames, 1, "the guest may draw again");
    let _pool = red.fill(&window.surface, 1272, 768, CYAN);
    shell.roundtrip(&mut red);
    assert_eq!(shell.shot("readable").count_inside(&area, CYAN), pixels(&area));
}
