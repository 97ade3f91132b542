//! Displays that are turned: what the person sees is the same as on one that is not, and guests never hear of it.

use super::client::{Client, Pool, Window};
use super::fixture::{Fixture, Shot, TRANSFORMS};
use crate::backend::headless::Headless;
use crate::outputs::RendererKind;
use phyllome_config::shell::{OutputConfig, Rotation};
use std::os::unix::fs::FileExt;
use wayland_client::protocol::{wl_output, wl_shm};

const TURNS: [Rotation; 3] = [Rotation::Quarter, Rotation::Half, Rotation::ThreeQuarters];

/// A display that shows 640 × 480 to a person who turned it.
fn turned(renderer: RendererKind, rotation: Rotation) -> Result<Fixture, String> {
    let mut shell = Fixture::with(&[(640, 480)], renderer)?;
    let settings = OutputConfig { rotation, ..OutputConfig::default() };
    let mode = match rotation {
        Rotation::Normal | Rotation::Half => (640, 480),
        Rotation::Quarter | Rotation::ThreeQuarters => (480, 640),
    };
    shell.change(&Headless::info(0, mode, Some(&settings)));
    assert_eq!(shell.state.backend.outputs()[0].size, (640, 480));
    Ok(shell)
}

/// A picture of which no two places look alike, and its parts.
struct Picture {
    client: Client,
    window: Window,
    pool: Pool,
    size: (i32, i32),
}

const STRIDE: i32 = 2560;

fn colour(x: i32, y: i32, salt: u32) -> u32 {
    (x as u32 & 0xff) << 16 | (y as u32 & 0xff) << 8 | ((x as u32 >> 8) * 64 + (y as u32 >> 8) * 16 + salt)
}

impl Picture {
    fn new(shell: &mut Fixture, size: (i32, i32)) -> Self {
        let mut client = shell.attach("red");
        let window = client.window("phyllome.scanout.0");
        shell.roundtrip(&mut client);
        window.acknowledge(&client);
        let pool = client.pool((STRIDE * size.1) as usize);
        let mut picture = Self { client, window, pool, size };
        picture.paint((0, 0), size, 0);
        picture.show(wl_output::Transform::Normal, (0, 0), size);
        shell.roundtrip(&mut picture.client);
        picture
    }

    fn paint(&self, at: (i32, i32), size: (i32, i32), salt: u32) {
        for y in at.1..at.1 + size.1 {
            let row: Vec<u8> = (at.0..at.0 + size.0).flat_map(|x| colour(x, y, salt).to_le_bytes()).collect();
            self.pool.file.write_all_at(&row, (y * STRIDE + at.0 * 4) as u64).unwrap();
        }
    }

    fn show(&self, transform: wl_output::Transform, at: (i32, i32), size: (i32, i32)) {
        let format = wl_shm::Format::Xrgb8888;
        let buffer = self.pool.pool.create_buffer(0, self.size.0, self.size.1, STRIDE, format, &self.client.handle, ());
        self.window.surface.set_buffer_transform(transform);
        self.window.surface.attach(Some(&buffer), 0, 0);
        self.window.surface.damage_buffer(at.0, at.1, size.0, size.1);
        self.window.surface.commit();
    }
}

fn assert_same(one: &Shot, other: &Shot, what: &str) {
    assert_eq!((one.width, one.height), (other.width, other.height), "{what}");
    let differs = (0..one.height)
        .flat_map(|y| (0..one.width).map(move |x| (x, y)))
        .find(|(x, y)| one.at(*x, *y) != other.at(*x, *y));
    if let Some((x, y)) = differs {
        panic!("{what}: at {x}, {y} there is {:06x}, not {:06x}", one.at(x, y), other.at(x, y));
    }
}

#[test]
fn tp01_tp02_a_turned_display_shows_the_same_picture_in_the_same_frame() {
    let mut plain = Fixture::with(&[(640, 480)], RendererKind::Pixman).unwrap();
    let _picture = Picture::new(&mut plain, (632, 448));
    let wanted = plain.shot("not-turned");
    assert_eq!((wanted.at(4, 28), wanted.at(635, 475)), (colour(0, 0, 0), colour(631, 447, 0)));
    for rotation in TURNS {
        let mut shell = turned(RendererKind::Pixman, rotation).unwrap();
        let picture = Picture::new(&mut shell, (632, 448));
        assert_eq!(picture.client.events.configured, Some((632, 448)), "guests don't hear of it");
        let shot = shell.shot(&format!("turned-{}", rotation.degrees()));
        assert_same(&shot, &wanted, &format!("{rotation:?}"));
    }
}

#[test]
fn a_guest_that_turns_its_picture_itself_is_shown_alike_on_every_display() {
    for transform in TRANSFORMS {
        let mut plain = Fixture::with(&[(640, 480)], RendererKind::Pixman).unwrap();
        let mut picture = Picture::new(&mut plain, (300, 200));
        picture.show(transform, (0, 0), (300, 200));
        plain.roundtrip(&mut picture.client);
        let wanted = plain.shot("guest-turned");
        for rotation in TURNS {
            let mut shell = turned(RendererKind::Pixman, rotation).unwrap();
            let mut picture = Picture::new(&mut shell, (300, 200));
            picture.show(transform, (0, 0), (300, 200));
            shell.roundtrip(&mut picture.client);
            let shot = shell.shot("guest-and-display-turned");
            assert_same(&shot, &wanted, &format!("{transform:?} on {rotation:?}"));
        }
    }
}

#[test]
fn tp18_a_change_in_a_corner_is_drawn_where_it_belongs_and_nothing_stays_old() {
    let changes =
        [((0, 0), (7, 5)), ((600, 3), (32, 9)), ((11, 430), (3, 18)), ((625, 440), (7, 8)), ((300, 200), (50, 60))];
    let mut plain = Fixture::with(&[(640, 480)], RendererKind::Pixman).unwrap();
    let mut wanted = Picture::new(&mut plain, (632, 448));
    let mut shells: Vec<_> = TURNS
        .iter()
        .map(|rotation| {
            let mut shell = turned(RendererKind::Pixman, *rotation).unwrap();
            let picture = Picture::new(&mut shell, (632, 448));
            shell.shot("before-a-change");
            (shell, picture)
        })
        .collect();
    plain.shot("before-a-change");
    for (number, (at, size)) in changes.into_iter().enumerate() {
        let salt = number as u32 + 1;
        wanted.paint(at, size, salt);
        wanted.show(wl_output::Transform::Normal, at, size);
        plain.roundtrip(&mut wanted.client);
        let whole = plain.shot("a-change");
        assert_eq!(whole.at(at.0 as u32 + 4, at.1 as u32 + 28), colour(at.0, at.1, salt));
        for (shell, picture) in &mut shells {
            picture.paint(at, size, salt);
            picture.show(wl_output::Transform::Normal, at, size);
            shell.roundtrip(&mut picture.client);
            assert_same(&shell.shot("a-change-turned"), &whole, &format!("change {number}"));
        }
    }
}

#[test]
fn gles_turns_as_pixman_does() {
    for rotation in TURNS {
        let mut gles = match turned(RendererKind::Gles, rotation) {
            Ok(shell) => shell,
            Err(why) => {
                println!("SKIPPED: gles_turns_as_pixman_does: {why}");
                return;
            }
        };
        let mut plain = Fixture::with(&[(640, 480)], RendererKind::Pixman).unwrap();
        let _one = Picture::new(&mut gles, (632, 448));
        let _two = Picture::new(&mut plain, (632, 448));
        assert_same(&gles.shot("gles-turned"), &plain.shot("pixman-not-turned"), &format!("{rotation:?}"));
    }
}

#[test]
fn a_turned_display_is_told_in_the_status() {
    let shell = turned(RendererKind::Pixman, Rotation::Quarter).unwrap();
    let status = &shell.state.outputs_status()[0];
    assert_eq!((status.width, status.height, status.rotation), (640, 480, 90));
}
