//! A guest that does anything in any order, against the real device, the real screen, and a compositor that keeps what
//! it has been shown: no pixel of another picture, none that is older than the last flush, none outside its window.

use super::Stage;
use super::compositor::{Commit, Compositor, Offer};
use super::rig::rect;
use phyllome_guest_bridge::frames::{Rect, ToScreen};
use phyllome_guest_bridge::gpu::bare::BareDevice;
use phyllome_guest_bridge::gpu::wire::{Status, cmd};
use phyllome_guest_bridge::gpu::{DeviceConfig, Transport};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};
use tokio::sync::mpsc::Sender;
use wayland_server::Resource;
use wayland_server::backend::ObjectId;

/// Guest memory for each of the resources, bytes.
const ROOM: u64 = 1 << 16;
const RESOURCES: u32 = 4;
const SCANOUTS: u32 = 2;
/// The window: smaller than some pictures.
const WINDOW: (i32, i32) = (40, 30);
const XRGB: u32 = 2;
/// How long a picture may take that is to be there.
const SOON: Duration = Duration::from_secs(5);

/// What the guest, or the display, does next.
#[derive(Clone, Debug)]
enum Step {
    Create {
        id: u32,
        size: (u32, u32),
        blob: bool,
    },
    Unref(u32),
    /// Draws, and has the host see it.
    Draw {
        id: u32,
        part: Rect,
    },
    Flush {
        id: u32,
        part: Rect,
    },
    /// Both, as most guests do.
    Paint {
        id: u32,
        part: Rect,
    },
    Show {
        scanout: u32,
        id: u32,
        source: Rect,
    },
    /// All of a resource that was just made, drawn and flushed: what most guests do.
    Mode {
        scanout: u32,
        id: u32,
        size: (u32, u32),
        blob: bool,
    },
    Off(u32),
    /// The display shows a frame.
    Frame,
    /// Everybody has time.
    Breathe,
}

fn a_rect() -> impl Strategy<Value = Rect> {
    let side = || prop_oneof![8 => 0..64u32, 1 => Just(u32::MAX)];
    (0..50u32, 0..50u32, side(), side()).prop_map(|(x, y, width, height)| rect(x, y, width, height))
}

/// A part of every picture of the sizes that are usual.
fn a_part() -> impl Strategy<Value = Rect> {
    (0..20u32, 0..20u32, 1..14u32, 1..11u32).prop_map(|(x, y, width, height)| rect(x, y, width, height))
}

/// What a scanout shows of a picture: often as much as of the one before it, and not its first pixel.
fn a_source() -> impl Strategy<Value = Rect> {
    let sizes = prop_oneof![3 => Just((20, 20)), 1 => Just((13, 7))];
    (0..13u32, 0..10u32, sizes).prop_map(|(x, y, (width, height))| rect(x, y, width, height))
}

fn a_step() -> impl Strategy<Value = Step> {
    let id = || 1..=RESOURCES;
    let scanout = || 0..SCANOUTS;
    // Few, so that one picture takes the place of another of its size.
    let usual = || prop_oneof![Just((63, 47)), Just((40, 30)), Just((33, 31))];
    let size = || prop_oneof![4 => usual(), 1 => (1..64u32, 1..48u32)];
    let part = || prop_oneof![2 => a_part(), 1 => a_rect()];
    let source = || prop_oneof![4 => a_source(), 1 => a_rect()];
    prop_oneof![
        2 => (id(), size(), any::<bool>()).prop_map(|(id, size, blob)| Step::Create { id, size, blob }),
        2 => id().prop_map(Step::Unref),
        4 => (id(), part()).prop_map(|(id, part)| Step::Draw { id, part }),
        4 => (id(), part()).prop_map(|(id, part)| Step::Flush { id, part }),
        12 => (id(), part()).prop_map(|(id, part)| Step::Paint { id, part }),
        5 => (scanout(), id(), source()).prop_map(|(scanout, id, source)| Step::Show { scanout, id, source }),
        4 => (scanout(), id(), size(), any::<bool>())
            .prop_map(|(scanout, id, size, blob)| Step::Mode { scanout, id, size, blob }),
        1 => scanout().prop_map(Step::Off),
        4 => Just(Step::Frame),
        3 => Just(Step::Breathe),
    ]
}

/// A resource as the guest knows it. A pixel is 0 or its resource's number, which no other ever has, and the number of
/// the drawing that it is of.
struct Canvas {
    number: u32,
    size: (u32, u32),
    blob: bool,
    pixels: Vec<u32>,
}

impl Canvas {
    fn inside(&self, part: Rect) -> bool {
        let within = |at: u32, length: u32, side: u32| at.checked_add(length).is_some_and(|end| end <= side);
        within(part.x, part.width, self.size.0) && within(part.y, part.height, self.size.1)
    }

    fn at(&self, x: u32, y: u32) -> u32 {
        self.pixels[(y * self.size.0 + x) as usize]
    }
}

/// What a scanout is to show.
struct Shown {
    id: u32,
    source: Rect,
    /// Once it was flushed: for each of its pixels the oldest that may be seen.
    oldest: Option<Vec<u32>>,
}

struct Guest {
    device: BareDevice,
    to_screen: Sender<ToScreen>,
    canvases: HashMap<u32, Canvas>,
    shown: HashMap<u32, Shown>,
    /// Scanouts and the numbers of what was flushed while they showed it: nothing else is ever seen there.
    flushed: HashSet<(u32, u32)>,
    next_number: u32,
    drawings: u32,
}

impl Guest {
    fn ok(&mut self, kind: u32, words: &[u32]) -> bool {
        self.device.command(kind, words) == Status::OkNoData as u32
    }

    fn address(id: u32) -> u64 {
        u64::from(id) * ROOM
    }

    fn create(&mut self, id: u32, size: (u32, u32), blob: bool) {
        let bytes = size.0 * size.1 * 4;
        let entry = [Self::address(id) as u32, 0, bytes, 0];
        if !self.canvases.contains_key(&id) {
            self.device.write(Self::address(id), &vec![0; bytes as usize]).unwrap();
        }
        let made = if blob {
            self.ok(cmd::RESOURCE_CREATE_BLOB, &[&[id, 1, 2, 1, 0, 0, bytes, 0][..], &entry].concat())
        } else {
            self.ok(cmd::RESOURCE_CREATE_2D, &[id, XRGB, size.0, size.1])
                && self.ok(cmd::RESOURCE_ATTACH_BACKING, &[&[id, 1][..], &entry].concat())
        };
        assert_eq!(made, !self.canvases.contains_key(&id), "an id is taken or it is not");
        if made {
            self.next_number += 1;
            let pixels = vec![0; (size.0 * size.1) as usize];
            self.canvases.insert(id, Canvas { number: self.next_number, size, blob, pixels });
        }
    }

    fn unref(&mut self, id: u32) {
        let gone = self.ok(cmd::RESOURCE_UNREF, &[id, 0]);
        assert_eq!(gone, self.canvases.remove(&id).is_some());
        self.shown.retain(|_, shown| shown.id != id);
    }

    fn draw(&mut self, id: u32, part: Rect) {
        let Some(canvas) = self.canvases.get_mut(&id).filter(|canvas| canvas.inside(part)) else {
            let words = [part.x, part.y, part.width, part.height, 0, 0, id, 0];
            let blob = self.canvases.get(&id).is_some_and(|canvas| canvas.blob);
            assert!(blob || !self.ok(cmd::TRANSFER_TO_HOST_2D, &words), "{part:?} of {id}");
            return;
        };
        self.drawings += 1;
        let pixel = canvas.number << 16 | self.drawings;
        for y in part.y..part.y + part.height {
            let start = (y * canvas.size.0 + part.x) as usize;
            canvas.pixels[start..start + part.width as usize].fill(pixel);
            let row = pixel.to_le_bytes().repeat(part.width as usize);
            self.device.write(Self::address(id) + start as u64 * 4, &row).unwrap();
        }
        let (offset, blob) = ((part.y * canvas.size.0 + part.x) * 4, canvas.blob);
        let words = [part.x, part.y, part.width, part.height, offset, 0, id, 0];
        assert!(blob || self.ok(cmd::TRANSFER_TO_HOST_2D, &words), "{part:?} of {id}");
    }

    fn flush(&mut self, id: u32, part: Rect) {
        let done = self.ok(cmd::RESOURCE_FLUSH, &[part.x, part.y, part.width, part.height, id, 0]);
        let Some(canvas) = self.canvases.get(&id) else {
            assert!(!done, "there is no {id}");
            return;
        };
        assert!(canvas.blob || done == canvas.inside(part), "{part:?} of {id}");
        for (scanout, shown) in self.shown.iter_mut().filter(|(_, shown)| done && shown.id == id) {
            let source = shown.source;
            let all = (source.y..source.y + source.height)
                .flat_map(|y| (source.x..source.x + source.width).map(move |x| (x, y)));
            let flushed = |x: u32, y: u32| {
                let within = |at: u32, start: u32, length: u32| at >= start && at < start.saturating_add(length);
                within(x, part.x, part.width) && within(y, part.y, part.height)
            };
            if !all.clone().any(|(x, y)| flushed(x, y)) {
                continue;
            }
            self.flushed.insert((*scanout, canvas.number));
            // With its first flush all of a classic picture is seen as it is then. Of a blob, which is copied, what
            // else is seen may be of any earlier flush.
            let first = shown.oldest.is_none() && !canvas.blob;
            let oldest = shown.oldest.get_or_insert_with(|| vec![0; all.clone().count()]);
            for (place, (x, y)) in oldest.iter_mut().zip(all) {
                if first || flushed(x, y) {
                    *place = canvas.at(x, y);
                }
            }
        }
    }

    fn show(&mut self, scanout: u32, id: u32, source: Rect) {
        let Some(canvas) = self.canvases.get(&id) else {
            assert!(!self.ok(cmd::SET_SCANOUT, &[source.x, source.y, source.width, source.height, scanout, id]));
            return;
        };
        let (blob, (width, height)) = (canvas.blob, canvas.size);
        let possible = canvas.inside(source) && source.width > 0 && source.height > 0;
        let mut words = vec![source.x, source.y, source.width, source.height, scanout, id];
        let kind = if blob { cmd::SET_SCANOUT_BLOB } else { cmd::SET_SCANOUT };
        if blob {
            words.extend([width, height, XRGB, 0, width * 4, 0, 0, 0, 0, 0, 0, 0]);
        }
        assert_eq!(self.ok(kind, &words), possible, "{source:?} of {width}x{height}");
        let same = self.shown.get(&scanout).is_some_and(|shown| shown.id == id && shown.source == source);
        if possible && !same {
            self.shown.insert(scanout, Shown { id, source, oldest: None });
        }
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Create { id, size, blob } => self.create(id, size, blob),
            Step::Unref(id) => self.unref(id),
            Step::Draw { id, part } => self.draw(id, part),
            Step::Flush { id, part } => self.flush(id, part),
            Step::Paint { id, part } => {
                self.draw(id, part);
                self.flush(id, part);
            }
            Step::Show { scanout, id, source } => self.show(scanout, id, source),
            Step::Mode { scanout, id, size, blob } => {
                self.unref(id);
                self.create(id, size, blob);
                let whole = rect(0, 0, size.0, size.1);
                self.draw(id, whole);
                self.show(scanout, id, whole);
                self.flush(id, whole);
            }
            Step::Off(scanout) => {
                assert!(self.ok(cmd::SET_SCANOUT, &[0, 0, 0, 0, scanout, 0]));
                self.shown.remove(&scanout);
            }
            Step::Frame | Step::Breathe => {}
        }
    }
}

/// What the compositor keeps of a window: of each commit what it says that has changed, as those do that copy.
#[derive(Default)]
struct Texture {
    size: (i32, i32),
    pixels: Vec<u32>,
    /// The part of it that is shown.
    visible: Rect,
}

impl Texture {
    /// Takes a commit; says what is wrong with it.
    fn take(&mut self, commit: &Commit) -> Result<(), String> {
        let Some(buffer) = &commit.buffer else { return Ok(()) };
        let (width, height) = buffer.size;
        let inside = |part: Rect| {
            u64::from(part.x) + u64::from(part.width) <= width as u64
                && u64::from(part.y) + u64::from(part.height) <= height as u64
        };
        if self.size != buffer.size {
            (self.size, self.pixels) = (buffer.size, vec![0; (width * height) as usize]);
        }
        for part in &commit.damage {
            if !inside(*part) {
                return Err(format!("{part:?} lies outside a buffer of {width}x{height}"));
            }
            for y in part.y..part.y + part.height {
                for x in part.x..part.x + part.width {
                    let pixel = u32::from_le_bytes(buffer.pixel(x as i32, y as i32)) & 0xff_ffff;
                    self.pixels[y as usize * width as usize + x as usize] = pixel;
                }
            }
        }
        let crop = commit.crop.map(|(x, y, w, h)| rect(x as u32, y as u32, w as u32, h as u32));
        self.visible = crop.unwrap_or(rect(0, 0, width as u32, height as u32));
        if !inside(self.visible) {
            return Err(format!("{:?} of a buffer of {width}x{height}", self.visible));
        }
        let surface = commit.scaled.unwrap_or((self.visible.width as i32, self.visible.height as i32));
        if surface.0 > WINDOW.0 || surface.1 > WINDOW.1 {
            return Err(format!("a surface of {surface:?} does not fit into its window"));
        }
        let mut numbers = self.seen().map(|pixel| pixel >> 16).filter(|number| *number != 0);
        let first = numbers.next();
        match numbers.find(|number| Some(*number) != first) {
            Some(other) => Err(format!("resources {first:?} and {other} are seen at once")),
            None => Ok(()),
        }
    }

    fn seen(&self) -> impl Iterator<Item = u32> + '_ {
        let Rect { x, y, width, height } = self.visible;
        (y..y + height)
            .flat_map(move |y| (x..x + width).map(move |x| self.pixels[y as usize * self.size.0 as usize + x as usize]))
    }
}

/// What every window has shown.
#[derive(Default)]
struct Seen {
    textures: HashMap<ObjectId, Texture>,
    commits: usize,
}

impl Seen {
    fn look(&mut self, compositor: &Compositor) -> Result<(), String> {
        for commit in &compositor.state.commits[self.commits..] {
            if let Some(surface) = &commit.surface {
                self.textures.entry(surface.clone()).or_default().take(commit)?;
            }
        }
        self.commits = compositor.state.commits.len();
        Ok(())
    }

    /// What is wrong with what a scanout's window shows, if anything.
    fn differs(&self, compositor: &Compositor, guest: &Guest, scanout: u32) -> Option<String> {
        let app_id = format!("phyllome.scanout.{scanout}");
        let window = compositor.state.windows.iter().rev().find(|window| window.app_id == app_id);
        let texture = window.and_then(|window| self.textures.get(&window.surface.id()));
        let texture = texture.filter(|texture| !texture.pixels.is_empty());
        let Some(shown) = guest.shown.get(&scanout) else {
            let lit = texture.is_some_and(|texture| texture.seen().any(|pixel| pixel != 0));
            return lit.then(|| format!("scanout {scanout} is off and shows something"));
        };
        let foreign = |pixel: u32| pixel != 0 && !guest.flushed.contains(&(scanout, pixel >> 16));
        if let Some(pixel) = texture.and_then(|texture| texture.seen().find(|pixel| foreign(*pixel))) {
            return Some(format!("scanout {scanout} shows {pixel:#x}, which was not flushed there"));
        }
        let Some(oldest) = &shown.oldest else { return None };
        let (canvas, source) = (&guest.canvases[&shown.id], shown.source);
        let Some(texture) = texture else { return Some(format!("scanout {scanout} shows nothing")) };
        if (texture.visible.width, texture.visible.height) != (source.width, source.height) {
            return Some(format!("scanout {scanout} shows {:?} and not {source:?}", texture.visible));
        }
        let places = (0..source.height).flat_map(|y| (0..source.width).map(move |x| (x, y)));
        let mut pixels = places.zip(texture.seen()).zip(oldest);
        pixels.find_map(|(((x, y), seen), oldest)| {
            let newest = canvas.at(source.x + x, source.y + y);
            let right = (*oldest..=newest.max(*oldest)).contains(&seen) && (seen == 0 || seen >> 16 == canvas.number);
            (!right).then(|| format!("scanout {scanout} at {x}, {y}: {seen:#x}, not {oldest:#x} to {newest:#x}"))
        })
    }
}

async fn play(steps: &[Step]) -> Result<(), String> {
    let offer = Offer { size: WINDOW, ..Offer::default() };
    let mut stage = Stage::with_scanouts(offer, SCANOUTS).await;
    let config = DeviceConfig { transport: Transport::Generic, scanouts: SCANOUTS, ..DeviceConfig::default() };
    let device = BareDevice::new(&config, (ROOM * u64::from(RESOURCES + 1)) as usize).unwrap();
    let (canvases, shown, flushed) = (HashMap::new(), HashMap::new(), HashSet::new());
    let to_screen = stage.rig.to_screen();
    let mut guest = Guest { device, to_screen, canvases, shown, flushed, next_number: 0, drawings: 0 };
    let mut seen = Seen::default();
    for step in steps {
        guest.take(step);
        if matches!(step, Step::Frame) {
            stage.compositor.frame();
        }
        turn(&mut stage, &mut guest, &mut seen)?;
        if matches!(step, Step::Breathe) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        } else {
            tokio::task::yield_now().await;
        }
    }
    // Nothing more is done: what is right is there soon, and stays.
    let end = Instant::now() + SOON;
    loop {
        stage.compositor.frame();
        turn(&mut stage, &mut guest, &mut seen)?;
        let differs = (0..SCANOUTS).find_map(|scanout| seen.differs(&stage.compositor, &guest, scanout));
        match differs {
            None => return Ok(()),
            Some(why) if Instant::now() > end => return Err(why),
            Some(_) => tokio::time::sleep(Duration::from_millis(1)).await,
        }
    }
}

fn turn(stage: &mut Stage, guest: &mut Guest, seen: &mut Seen) -> Result<(), String> {
    stage.compositor.pump();
    stage.rig.collect();
    std::mem::take(&mut stage.rig.answers).into_iter().for_each(|answer| guest.device.message(answer));
    guest.device.publish(&guest.to_screen);
    seen.look(&stage.compositor)
}

/// Eighty guests of up to sixty steps each; `cargo xtask test soak pixels` has four thousand.
#[test]
fn whatever_a_guest_does_no_stale_or_foreign_pixel_is_seen_and_none_outside() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let cases = phyllome_test_support::soak::times(80, 4000);
    let config = Config { cases, failure_persistence: None, max_shrink_time: 30_000, ..Config::default() };
    let random = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let steps = proptest::collection::vec(a_step(), 1..60);
    let outcome = TestRunner::new_with_rng(config, random)
        .run(&steps, |steps| runtime.block_on(play(&steps)).map_err(proptest::test_runner::TestCaseError::fail));
    if let Err(error) = outcome {
        panic!("{error}");
    }
}
