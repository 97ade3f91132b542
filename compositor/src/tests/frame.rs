//! The frame against clients that ask for every size, offset, scale, transform and viewport there is.

use super::fixture::{Fixture, Shot, TRANSFORMS, name};
use super::show::shown;
use phyllome_protocol::status::Area;
use wayland_client::protocol::wl_shm;
use wayland_protocols::xdg::shell::client::{xdg_positioner, xdg_wm_base};

const GREEN: u32 = 0x00_ff_00;
const MAGENTA: u32 = 0xff_00_ff;

/// The frame as it is around a guest that behaves.
fn proper_frame(shell: &mut Fixture) -> (Shot, Area) {
    let area = shell.area();
    (shell.shot("proper-frame"), area)
}

#[test]
fn tp02_no_size_of_a_buffer_touches_the_band() {
    let mut shell = Fixture::new();
    let (mut red, window, _pool) = shown!(shell, "red", GREEN);
    let (proper, area) = proper_frame(&mut shell);
    let sizes =
        [(1, 1), (1280, 800), (1272, 769), (1273, 768), (4000, 10), (10, 3000), (1300, 820), (16384, 2), (2, 16384)];
    for (width, height) in sizes {
        let _pool = red.fill(&window.surface, width, height, MAGENTA);
        shell.roundtrip(&mut red);
        let shot = shell.shot(&format!("size-{width}x{height}"));
        assert_eq!(shot.differs_outside(&area, &proper), None, "{width}x{height}");
        assert!(shot.count_inside(&area, MAGENTA) > 0, "{width}x{height}");
        assert_eq!(shot.count_inside(&area, GREEN), 0, "{width}x{height}");
    }
}

#[test]
fn tp02_no_scale_transform_or_viewport_touches_the_band() {
    let mut shell = Fixture::new();
    let (mut red, window, _pool) = shown!(shell, "red", GREEN);
    let (proper, area) = proper_frame(&mut shell);
    let viewport = red.viewport(&window.surface);
    for (number, transform) in TRANSFORMS.into_iter().enumerate() {
        for scale in [1, 2, 8] {
            for destination in [(-1, -1), (1, 1), (5000, 5000), (i32::MAX, 1), (i32::MAX, i32::MAX)] {
                window.surface.set_buffer_transform(transform);
                window.surface.set_buffer_scale(scale);
                viewport.set_destination(destination.0, destination.1);
                let _pool = red.fill(&window.surface, 1600, 1600, MAGENTA);
                shell.roundtrip(&mut red);
                assert!(!red.is_cut(), "{transform:?} {scale} {destination:?}");
                let shot = shell.shot(&format!("view-{number}-{scale}-{}", destination.0));
                assert_eq!(shot.differs_outside(&area, &proper), None, "{transform:?} {scale} {destination:?}");
                // Pixman's numbers are too small for 1600 pixels on one; it leaves the ground then.
                assert!(
                    destination.1 == 1 || shot.count_inside(&area, MAGENTA) > 0,
                    "{transform:?} {scale} {destination:?}"
                );
            }
        }
    }
}

#[test]
fn tp02_no_offset_or_window_geometry_moves_the_picture() {
    let mut shell = Fixture::new();
    let (mut red, window, _pool) = shown!(shell, "red", GREEN);
    let (proper, area) = proper_frame(&mut shell);
    for (x, y) in [(-100, -100), (100, 100), (i32::MIN, i32::MAX), (i32::MAX, i32::MIN)] {
        window.xdg.set_window_geometry(x, y, i32::MAX, i32::MAX);
        window.toplevel.set_min_size(x, y);
        window.toplevel.set_max_size(y, x);
        let (buffer, _pool) = red.buffer(1272, 768, MAGENTA, wl_shm::Format::Xrgb8888);
        window.surface.attach(Some(&buffer), x, y);
        window.surface.damage(x, y, i32::MAX, i32::MAX);
        window.surface.damage_buffer(0, 0, i32::MAX, i32::MAX);
        window.surface.commit();
        shell.roundtrip(&mut red);
        assert!(!red.is_cut());
        let shot = shell.shot("offset");
        assert_eq!(shot.differs_outside(&area, &proper), None);
        assert_eq!(shot.count_inside(&area, MAGENTA), super::fixture::pixels(&area));
    }
}

#[test]
fn tp02_popups_are_refused() {
    let mut shell = Fixture::new();
    let (mut red, window, _pool) = shown!(shell, "red", GREEN);
    let base: xdg_wm_base::XdgWmBase = red.bind(2);
    let positioner: xdg_positioner::XdgPositioner = base.create_positioner(&red.handle, ());
    positioner.set_size(i32::MAX, i32::MAX);
    positioner.set_anchor_rect(i32::MAX, i32::MAX, i32::MAX, i32::MAX);
    positioner.set_offset(i32::MIN, i32::MIN);
    let surface = red.surface();
    base.get_xdg_surface(&surface, &red.handle, ()).get_popup(Some(&window.xdg), &positioner, &red.handle, ());
    shell.roundtrip(&mut red);
    assert!(red.is_cut());
}

#[test]
fn tp01_the_frame_is_there_before_and_after_everything() {
    let mut shell = Fixture::new();
    let (before, area) = proper_frame(&mut shell);
    let (client, _window, _pool) = shown!(shell, "red", GREEN);
    let with_picture = shell.shot("tp01-picture");
    assert_eq!(with_picture.differs_outside(&area, &before), None);
    drop(client);
    shell.wait("the picture to go", |shell| !shell.state.has_picture(&name("red")));
    let after = shell.shot("tp01-gone");
    assert_eq!(after.differs_outside(&area, &before), None);
}

#[test]
fn tp01_tp21_while_keys_go_to_the_shell_the_frame_is_the_hosts() {
    let mut shell = Fixture::new();
    let (_client, _window, _pool) = shown!(shell, "red", GREEN);
    shell.panel(true);
    let shot = shell.shot("host-frame");
    let area = shell.area();
    for (x, y) in [(0, 799), (1279, 799), (1, 400), (1278, 400), (640, 798), (1279, 0)] {
        assert_eq!(shot.at(x, y), 0xff_ff_ff, "{x}, {y}");
    }
    assert_eq!(shot.count_inside(&area, GREEN), 0);
}

#[test]
fn tp02_a_picture_with_holes_shows_the_ground_through_them() {
    let mut shell = Fixture::new();
    let (_blue, _w, _p) = shown!(shell, "blue", GREEN);
    shell.show("blue");
    shell.settle();
    shell.show("red");
    let (mut red, window, _pool) = shown!(shell, "red", MAGENTA);
    let (buffer, _clear) = red.buffer(1272, 768, 0, wl_shm::Format::Argb8888);
    window.surface.attach(Some(&buffer), 0, 0);
    window.surface.damage_buffer(0, 0, 1272, 768);
    window.surface.commit();
    shell.roundtrip(&mut red);
    let area = shell.area();
    let shot = shell.shot("holes");
    assert_eq!(shot.count_inside(&area, 0x10_11_14), super::fixture::pixels(&area));
}

#[test]
fn tp16_an_oversized_buffer_is_refused_and_the_shell_goes_on() {
    let mut shell = Fixture::new();
    let (mut red, _window, _pool) = shown!(shell, "red", GREEN);
    let (_blue, _w, _p) = shown!(shell, "blue", MAGENTA);
    let pool = red.pool(20_000 * 4);
    pool.pool.create_buffer(0, 20_000, 1, 80_000, wl_shm::Format::Xrgb8888, &red.handle, ());
    shell.roundtrip(&mut red);
    assert!(red.is_cut());
    shell.show("blue");
    shell.settle();
    assert!(shell.state.has_picture(&name("blue")));
}
