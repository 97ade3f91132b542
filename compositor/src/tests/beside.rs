//! A guest that works beside one that attacks: looked at while the attack waits to be served, and when it is over.

use super::client::{Client, FrameMark, Pool, Window};
use super::fixture::{Fixture, name, pixels};
use super::show::shown;
use phyllome_protocol::shell::CaptureTarget;
use std::ops::{Deref, DerefMut};
use std::os::unix::fs::FileExt;
use wayland_client::protocol::{wl_buffer, wl_shm, wl_surface};

const GREEN: u32 = 0x00_ff_00;
const CYAN: u32 = 0x00_ff_ff;
/// Width and height of what blue draws meanwhile, in pixels.
const SIDE: i32 = 64;
/// Once in so many roundtrips of an attack blue draws.
const SELDOM: u32 = 16;

/// What a guest does to the shell.
pub type Attack = fn(&mut Beside, &mut Client);

/// The shell, and blue, which works.
pub struct Beside {
    shell: Fixture,
    blue: Client,
    window: Window,
    buffer: wl_buffer::WlBuffer,
    pool: Pool,
    pictures: u32,
    /// Roundtrips of the attack.
    rounds: u32,
}

impl Deref for Beside {
    type Target = Fixture;

    fn deref(&self) -> &Fixture {
        &self.shell
    }
}

impl DerefMut for Beside {
    fn deref_mut(&mut self) -> &mut Fixture {
        &mut self.shell
    }
}

impl Beside {
    pub fn new() -> Self {
        let mut shell = Fixture::new();
        let (blue, window, _first) = shown!(shell, "blue", GREEN);
        let (buffer, pool) = blue.buffer(SIDE, SIDE, GREEN, wl_shm::Format::Xrgb8888);
        Self { shell, blue, window, buffer, pool, pictures: 0, rounds: 0 }
    }

    /// All that `red` has sent is served. The first time, and now and then, it waits at the shell's socket while blue
    /// draws, and is served beside it; each time would slow the attack down to what is allowed.
    pub fn roundtrip(&mut self, red: &mut Client) {
        red.flush();
        if self.rounds.is_multiple_of(SELDOM) {
            self.blue_draws();
        }
        self.rounds += 1;
        self.shell.roundtrip(red);
    }

    /// Blue draws a picture that differs from the one before, and that is what is seen of it at once.
    fn blue_draws(&mut self) {
        self.pictures += 1;
        let colour = 0x0f_00_00 | self.pictures;
        let side = SIDE as u32;
        self.pool.file.write_all_at(&colour.to_le_bytes().repeat((side * side) as usize), 0).unwrap();
        self.window.surface.attach(Some(&self.buffer), 0, 0);
        self.window.surface.damage_buffer(0, 0, SIDE, SIDE);
        self.window.surface.commit();
        self.shell.roundtrip(&mut self.blue);
        assert!(!self.blue.is_cut(), "blue was cut off");
        // It lies in the middle of what blue could fill.
        let shot = self.shell.shot_of("blue-beside", &CaptureTarget::Guest(name("blue")));
        let (left, upper) = ((shot.width - side) / 2, (shot.height - side) / 2);
        for (x, y) in [(0, 0), (side - 1, 0), (0, side - 1), (side - 1, side - 1), (side / 2, side / 2)] {
            assert_eq!(shot.at(left + x, upper + y), colour, "picture {} at {x}, {y}", self.pictures);
        }
    }

    /// Runs `attack` as guest red, and looks at blue once more when it is over. Whether red was cut off.
    pub fn attack(&mut self, attack: impl FnOnce(&mut Self, &mut Client)) -> bool {
        self.rounds = 0;
        let mut red = self.shell.attach("red");
        attack(self, &mut red);
        self.roundtrip(&mut red);
        self.blue_draws();
        red.is_cut()
    }
}

/// The other guest still draws, is shown and hears of it.
pub fn other_guest_works(shell: &mut Fixture, blue: &mut Client, surface: &wl_surface::WlSurface) {
    shell.show("blue");
    let frames = blue.events.frames;
    surface.frame(&blue.handle, FrameMark);
    let _pool = blue.fill(surface, 1272, 768, CYAN);
    shell.roundtrip(blue);
    let area = shell.area();
    assert_eq!(shell.shot("other-guest").count_inside(&area, CYAN), pixels(&area));
    shell.settle();
    shell.roundtrip(blue);
    assert_eq!(blue.events.frames, frames + 1);
}

/// Runs `attack` as guest red beside a blue guest that works all the while and afterwards. Returns whether red was cut
/// off.
pub fn beside_blue(attack: impl FnOnce(&mut Beside, &mut Client)) -> bool {
    let mut beside = Beside::new();
    let cut = beside.attack(attack);
    let Beside { shell, blue, window, .. } = &mut beside;
    other_guest_works(shell, blue, &window.surface);
    cut
}
