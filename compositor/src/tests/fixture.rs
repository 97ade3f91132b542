//! A shell on headless outputs, driven turn by turn, and pictures of it.
//!
//! Set `PHYLLOME_SHOTS` to a folder and every picture that a test looks at is written there as PNG.

use super::client::Client;
use crate::State;
use crate::backend::Backend;
use crate::event_loop::Served as _;
use crate::guests::{self, GuestView, Guests};
use crate::outputs::{OutputInfo, RendererKind};
use crate::shell::Done;
use crate::state::BackendChoice;
use crate::{control, shell};
use phyllome_config::guest::{Label, LabelColor, Pattern};
use phyllome_config::{Places, ShellConfig};
use phyllome_protocol::runtime::RuntimeDir;
use phyllome_protocol::shell::CaptureTarget;
use phyllome_protocol::status::{Area, GuestState};
use phyllome_protocol::{GuestName, Slot};
use phyllome_trusted::deaf::DEAF;
use phyllome_trusted::gate::{Asker, Verb};
use smithay::reexports::calloop::EventLoop;
use std::fs::File;
use std::io::{Read, Seek};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};
use wayland_client::protocol::wl_output::Transform;

/// How long a test waits for anything before it fails.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Every way in which a picture can be turned.
pub const TRANSFORMS: [Transform; 8] = [
    Transform::Normal,
    Transform::_90,
    Transform::_180,
    Transform::_270,
    Transform::Flipped,
    Transform::Flipped90,
    Transform::Flipped180,
    Transform::Flipped270,
];

/// The shell.
pub struct Fixture {
    pub(super) event_loop: EventLoop<'static, State>,
    pub state: State,
    _runtime: tempfile::TempDir,
}

/// A name that is known to be one.
pub fn name(text: &str) -> GuestName {
    GuestName::new(text).unwrap()
}

/// A running guest.
pub fn guest(text: &str, slot: i64, color: LabelColor) -> GuestView {
    let label = Label { text: text.to_owned(), color, pattern: Pattern::Solid };
    GuestView::plain(name(text), Slot::new(slot), label, GuestState::Running)
}

impl Fixture {
    /// One output of 1280 × 800, Pixman, and the guests “red” (shown) and “blue”.
    pub fn new() -> Self {
        Self::with(&[(1280, 800)], RendererKind::Pixman).unwrap()
    }

    pub fn with(sizes: &[(u32, u32)], renderer: RendererKind) -> Result<Self, String> {
        Self::with_settings(sizes, renderer, &ShellConfig::default())
    }

    pub fn with_settings(sizes: &[(u32, u32)], renderer: RendererKind, config: &ShellConfig) -> Result<Self, String> {
        let event_loop = EventLoop::try_new().unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
        let runtime = RuntimeDir::open_in(folder.path()).unwrap();
        let path = folder.path().to_owned();
        let places = Places { config: path.clone(), data: path.clone(), state: path.clone(), home: None };
        let socket = runtime.shell_socket();
        let options = guests::Options::new(runtime, places, path.join("no-such-program"));
        let choice = BackendChoice::Headless { sizes: sizes.to_vec(), renderer };
        let guests = Guests::new(options, Vec::new(), Vec::new());
        let server = control::Server::new(socket, true);
        let state = State::new(&event_loop, &choice, config, guests, server).map_err(|error| error.to_string())?;
        let mut fixture = Self { event_loop, state, _runtime: folder };
        fixture.guests(vec![guest("red", 1, LabelColor::Red), guest("blue", 2, LabelColor::Blue)]);
        fixture.show("red");
        Ok(fixture)
    }

    /// Puts these guests in the place of the registry's.
    pub fn guests(&mut self, views: Vec<GuestView>) {
        self.state.shell.set_guests(views, Vec::new());
        self.state.outputs_changed();
    }

    /// Switches as the person would, and the name has flashed already.
    pub fn show(&mut self, text: &str) {
        self.state.shell.show_earlier(2 * shell::FLASH);
        self.show_and_flash(text);
        self.state.shell.show_earlier(Duration::ZERO);
    }

    /// Switches as the person would.
    pub fn show_and_flash(&mut self, text: &str) {
        self.state.act(Verb::Show(name(text)), Asker::Tool).unwrap();
    }

    /// Opens the panel, which the person has seen for long enough, or closes it.
    pub fn panel(&mut self, show: bool) {
        self.state.act(Verb::Panel { show }, Asker::Tool).unwrap();
        if show {
            self.listen();
        }
    }

    /// What is open is on the display, and has been for long enough: it is deaf no longer.
    pub fn listen(&mut self) {
        self.settle();
        self.state.shell.pass(DEAF);
    }

    /// A client in place of the guest's phyllome-guest, which owes nothing.
    pub fn attach(&mut self, text: &str) -> Client {
        self.state.protocols.ledger.clear();
        self.attach_again(text)
    }

    /// The same, with what the guest has used before.
    pub fn attach_again(&mut self, text: &str) -> Client {
        let (ours, theirs) = UnixStream::pair().unwrap();
        self.state.attach_guest_client(&name(text), ours).unwrap();
        let mut client = Client::new(theirs);
        self.roundtrip(&mut client);
        client
    }

    /// One turn of the shell's loop.
    pub fn turn(&mut self) {
        self.event_loop.dispatch(Some(Duration::from_millis(2)), &mut self.state).unwrap();
        self.state.flush();
    }

    /// Sleeps as the shell would; whether anything woke it before `most` had passed.
    pub fn turn_until_woken(&mut self, most: Duration) -> bool {
        let started = Instant::now();
        self.event_loop.dispatch(Some(most), &mut self.state).unwrap();
        self.state.flush();
        started.elapsed() < most
    }

    /// Turns until `done`.
    pub fn wait(&mut self, what: &str, mut done: impl FnMut(&mut Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !done(self) {
            assert!(Instant::now() < deadline, "waited in vain for {what}");
            self.turn();
        }
    }

    /// Everything that `client` sent is served and everything that the shell answered has arrived; or the client was
    /// cut off.
    pub fn roundtrip(&mut self, client: &mut Client) {
        let asked = client.sync();
        let deadline = Instant::now() + PATIENCE;
        while client.events.synced < asked && !client.is_cut() {
            assert!(Instant::now() < deadline, "waited in vain for a roundtrip");
            self.turn();
            client.pump();
        }
    }

    /// Until nothing waits to be drawn.
    pub fn settle(&mut self) {
        self.turn();
        self.wait("the shell to draw", |fixture| !fixture.state.render_is_armed());
    }

    /// What is on the first output.
    pub fn shot(&mut self, title: &str) -> Shot {
        self.shot_of(title, &CaptureTarget::Default)
    }

    pub fn shot_of(&mut self, title: &str, target: &CaptureTarget) -> Shot {
        let Ok(Done::Picture(capture)) = self.state.act(Verb::Capture(target.clone()), Asker::Tool) else {
            panic!("no picture of {target:?}")
        };
        let mut bytes = Vec::new();
        let mut file = File::from(capture.memfd);
        file.rewind().unwrap();
        file.read_to_end(&mut bytes).unwrap();
        let shot = Shot { width: capture.width, height: capture.height, bytes };
        shot.save(title);
        shot
    }

    /// What is on the output of this name.
    pub fn shot_on(&mut self, title: &str, output: &str) -> Shot {
        self.shot_of(title, &CaptureTarget::Output(output.to_owned()))
    }

    /// A connector gets a display.
    pub fn plug(&mut self, info: OutputInfo) {
        let display = self.state.display.clone();
        let Backend::Headless(headless) = &mut self.state.backend else { panic!("not headless") };
        headless.plug(&display, info).unwrap();
        self.state.outputs_changed();
    }

    /// A connector loses its display.
    pub fn unplug(&mut self, output: &str) {
        let display = self.state.display.clone();
        let Backend::Headless(headless) = &mut self.state.backend else { panic!("not headless") };
        headless.unplug(&display, output);
        self.state.outputs_changed();
    }

    /// A display gets another mode, scale or rotation.
    pub fn change(&mut self, info: &OutputInfo) {
        let Backend::Headless(headless) = &mut self.state.backend else { panic!("not headless") };
        headless.change(info).unwrap();
        self.state.outputs_changed();
    }

    /// The guest's area of the output of this name.
    pub fn area_on(&self, output: &str) -> Area {
        self.state.backend.outputs().iter().find(|other| other.name == output).unwrap().layout().area
    }

    /// The guest's area of the first output.
    pub fn area(&self) -> Area {
        self.state.backend.outputs()[0].layout().area
    }
}

/// Pixels of an output.
pub struct Shot {
    pub width: u32,
    pub height: u32,
    bytes: Vec<u8>,
}

impl Shot {
    /// The colour at a place, as 0xrrggbb.
    pub fn at(&self, x: u32, y: u32) -> u32 {
        let at = (y as usize * self.width as usize + x as usize) * 4;
        u32::from_le_bytes(self.bytes[at..at + 4].try_into().unwrap()) & 0xff_ffff
    }

    /// How many pixels of `area` are `colour`.
    pub fn count_inside(&self, area: &Area, colour: u32) -> usize {
        self.places().filter(|(x, y)| inside(area, *x, *y) && self.at(*x, *y) == colour).count()
    }

    /// How many pixels outside `area` are `colour`.
    pub fn count_outside(&self, area: &Area, colour: u32) -> usize {
        self.places().filter(|(x, y)| !inside(area, *x, *y) && self.at(*x, *y) == colour).count()
    }

    /// The first pixel outside `area` that differs from `other`.
    pub fn differs_outside(&self, area: &Area, other: &Shot) -> Option<(u32, u32)> {
        assert_eq!((self.width, self.height), (other.width, other.height));
        self.places().find(|(x, y)| !inside(area, *x, *y) && self.at(*x, *y) != other.at(*x, *y))
    }

    fn places(&self) -> impl Iterator<Item = (u32, u32)> + use<> {
        let (width, height) = (self.width, self.height);
        (0..height).flat_map(move |y| (0..width).map(move |x| (x, y)))
    }

    fn save(&self, title: &str) {
        let Some(folder) = std::env::var_os("PHYLLOME_SHOTS") else { return };
        let file = File::create(std::path::Path::new(&folder).join(format!("{title}.png"))).unwrap();
        let mut encoder = png::Encoder::new(file, self.width, self.height);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        let rgb: Vec<u8> = self.bytes.chunks_exact(4).flat_map(|p| [p[2], p[1], p[0]]).collect();
        encoder.write_header().unwrap().write_image_data(&rgb).unwrap();
    }
}

fn inside(area: &Area, x: u32, y: u32) -> bool {
    x >= area.x && x < area.x + area.width && y >= area.y && y < area.y + area.height
}

/// Number of pixels of a rectangle.
pub fn pixels(area: &Area) -> usize {
    area.width as usize * area.height as usize
}
