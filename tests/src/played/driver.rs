//! The driver of a played guest: asks for its monitors, makes pictures of their size, flushes them, and follows their
//! changes.
//!
//! It drives the phyllome-guest under test over vhost-user as QEMU and a guest's kernel would, and is well-behaved
//! throughout.

mod measure;
mod place;

use super::options::{Memory, Options};
use super::pattern::{Part, Pattern};
use super::pointer;
use super::qmp::Monitor;
use super::{News, Serial};
use crate::frontend::session::{F_BLOB, layout};
use crate::frontend::three_d::{self, F_VIRGL};
use crate::frontend::{self, Bytes, OK_NODATA, Rect, Session, response_type};
use anyhow::{Context, Result, ensure};
use phyllome_test_guests::Mode;
use place::Place;
use serde_json::json;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

/// Guest memory: address space alone, until pictures are drawn.
const MEMORY: u64 = 1 << 30;
/// Where each scanout's pictures lie: room for two of 3840×2160 and more.
const PIXELS_PER_SCANOUT: u64 = ((MEMORY - layout::PIXELS) / 16) & !0xfff;
/// How long its firmware takes, so that what concerns the former system is over.
const FIRMWARE: Duration = Duration::from_millis(300);
/// How long [`Mode::Reboot`] waits.
const BETWEEN_RESTARTS: Duration = Duration::from_secs(2);

/// Bytes of a pointer, which lies behind a scanout's first picture.
const POINTER: u64 = pointer::SIDE as u64 * pointer::SIDE as u64 * 4;
/// The context that textures are cleared by.
const CONTEXT: u32 = 1;
/// How often a guest looks at its monitors that nobody tells of their changes.
const LOOK: Duration = Duration::from_millis(200);

/// How the guest ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// By itself, after its power button.
    PowerOff,
    /// By QMP `quit`.
    Quit,
    /// Its supervisor is gone.
    Orphaned,
}

/// The driver and what it drives.
pub struct Driver {
    options: Options,
    serial: Serial,
    monitor: Monitor,
    session: Session,
    screens: Vec<Screen>,
    next_resource: u32,
}

/// One scanout that is on.
struct Screen {
    scanout: u32,
    pattern: Pattern,
    /// Two where pages are flipped; the first is shown at first.
    pages: Vec<Page>,
    shown: usize,
    /// The resource of its pointer.
    pointer: Option<u32>,
}

/// One resource with its pixels in guest memory, and the same here.
struct Page {
    resource: u32,
    place: Place,
    pixels: Vec<u32>,
    counter: u16,
}

impl Driver {
    /// Connects to the device.
    pub fn new(options: Options, gpu: UnixStream, serial: Serial, monitor: Monitor) -> Result<Self> {
        let default = frontend::Options::default();
        let (blob, virgl) = (options.memory == Memory::Blob, matches!(options.memory, Memory::Texture { .. }));
        let wanted = if blob { F_BLOB } else { 0 } | if virgl { F_VIRGL } else { 0 };
        let session =
            Session::over(gpu, frontend::Options { memory: MEMORY, features: default.features | wanted, ..default })?;
        ensure!(session.features & wanted == wanted, "the device does not offer what its pictures are to be made of");
        Ok(Self { options, serial, monitor, session, screens: Vec::new(), next_resource: 1 })
    }

    /// Runs the guest until it ends.
    pub fn run(&mut self, news: &Receiver<News>) -> Result<End> {
        self.start()?;
        let mut started = Instant::now();
        let mut paused = false;
        loop {
            let moves = matches!(self.options.mode, Mode::Animate | Mode::Flip) && !paused && !self.screens.is_empty();
            let frame = Instant::now();
            if moves {
                self.step()?;
            }
            let patience = match self.options.mode {
                _ if paused => Duration::MAX,
                Mode::Flip if moves => Duration::ZERO,
                Mode::Animate if moves => self.options.pace.saturating_sub(frame.elapsed()),
                Mode::Reboot => BETWEEN_RESTARTS.saturating_sub(started.elapsed()),
                _ => Duration::MAX,
            };
            // Only a display of QEMU's own tells of changes.
            let patience = if self.options.dbus { patience } else { patience.min(LOOK) };
            let happened = match patience {
                Duration::MAX => news.recv().map_err(|_| RecvTimeoutError::Disconnected),
                patience => news.recv_timeout(patience),
            };
            match happened {
                Err(RecvTimeoutError::Timeout) if self.options.mode == Mode::Reboot => {
                    self.restart(true)?;
                    started = Instant::now();
                }
                Err(RecvTimeoutError::Timeout) if !self.options.dbus && !moves && !paused => self.look_at_monitors()?,
                Err(RecvTimeoutError::Timeout) => {}
                Ok(News::Stop) => paused = true,
                Ok(News::Continue) => paused = false,
                Ok(News::Reset) => {
                    self.restart(false)?;
                    started = Instant::now();
                }
                Ok(News::DisplayEvent) => self.look_at_monitors()?,
                Ok(News::Order(order)) => self.obey(&order)?,
                Ok(News::PowerButton) => {
                    self.serial.line("PHYLLOME-GUEST-POWER-OFF");
                    self.monitor.event("SHUTDOWN", json!({ "guest": true, "reason": "guest-shutdown" }));
                    return Ok(End::PowerOff);
                }
                Ok(News::Quit) => {
                    self.monitor.event("SHUTDOWN", json!({ "guest": false, "reason": "host-qmp-quit" }));
                    return Ok(End::Quit);
                }
                Ok(News::Closed) | Err(RecvTimeoutError::Disconnected) => return Ok(End::Orphaned),
            }
        }
    }

    fn start(&mut self) -> Result<()> {
        if matches!(self.options.memory, Memory::Texture { .. }) {
            self.done(three_d::create_context(CONTEXT))?;
        }
        self.look_at_monitors()?;
        self.serial.line(&format!("PHYLLOME-GUEST-READY {}", self.options.name));
        Ok(())
    }

    fn restart(&mut self, by_itself: bool) -> Result<()> {
        let reason = if by_itself { "guest-reset" } else { "host-qmp-system-reset" };
        self.monitor.event("RESET", json!({ "guest": by_itself, "reason": reason }));
        std::thread::sleep(FIRMWARE);
        for index in 0..2 {
            self.session.stop_queue(index)?;
        }
        self.screens.clear();
        for index in 0..2 {
            self.session.start_queue(index)?;
        }
        self.start()
    }

    /// Asks which scanouts are on and how large they are; pictures of another size are made anew.
    fn look_at_monitors(&mut self) -> Result<()> {
        let info = self.session.call(&Bytes::header(frontend::GET_DISPLAY_INFO).build(), 408)?;
        ensure!(response_type(&info) == frontend::OK_DISPLAY_INFO, "no display info: {:#x}", response_type(&info));
        for scanout in 0..self.options.scanouts {
            let entry = info.get(24 + scanout as usize * 24..).unwrap_or_default();
            let word = |at: usize| entry.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_le_bytes);
            let size = (word(16) != 0).then(|| (word(8), word(12)));
            self.follow(scanout, size)?;
        }
        Ok(())
    }

    fn follow(&mut self, scanout: u32, size: Option<(u32, u32)>) -> Result<()> {
        let number = scanout + 1;
        let at = self.screens.iter().position(|screen| screen.scanout == scanout);
        let known = at.and_then(|at| self.screens.get(at)).and_then(|screen| {
            Some((u32::try_from(screen.pattern.width).ok()?, u32::try_from(screen.pattern.height).ok()?))
        });
        if known == size {
            return Ok(());
        }
        let former = at.map(|at| self.screens.remove(at));
        let (width, height) = size.unwrap_or_default();
        let (state, shown) =
            if size.is_some() { ("connected", format!("{width}x{height}")) } else { ("off", "-".into()) };
        let millimetres = self.physical_size(scanout)?;
        let name = format!("card0-Virtual-{number}");
        self.serial.line(&format!("PHYLLOME-GUEST-DISPLAY {name} {state} {shown}"));
        self.serial.line(&format!("PHYLLOME-GUEST-MONITOR {name} {}x{} mm", millimetres.0, millimetres.1));
        if size.is_some() {
            let screen = self.make_screen(scanout, width, height)?;
            self.screens.push(screen);
        } else {
            self.done(frontend::set_scanout(scanout, 0, Rect::default()))?;
        }
        if let Some(screen) = former {
            for resource in screen.pages.iter().map(|page| page.resource).chain(screen.pointer) {
                self.done(frontend::unref(resource))?;
            }
        }
        Ok(())
    }

    /// What the EDID's first detailed timing says, in millimetres.
    fn physical_size(&mut self, scanout: u32) -> Result<(u16, u16)> {
        let answer = self.session.call(&frontend::get_edid(scanout).build(), 1056)?;
        ensure!(response_type(&answer) == frontend::OK_EDID, "no EDID: {:#x}", response_type(&answer));
        let timing = answer.get(32 + 54..32 + 72).context("the EDID is short")?;
        let high = u16::from(timing[14]);
        Ok((u16::from(timing[12]) | (high >> 4) << 8, u16::from(timing[13]) | (high & 15) << 8))
    }

    fn make_screen(&mut self, scanout: u32, width: u32, height: u32) -> Result<Screen> {
        let flips = self.options.mode == Mode::Flip || self.options.orders.is_some();
        let moves = flips || self.options.mode == Mode::Animate;
        let several = self.options.scanouts > 1;
        let name = if several { format!("{} {scanout}", self.options.name) } else { self.options.name.clone() };
        let pattern = Pattern {
            width: width as usize,
            height: height as usize,
            color: self.options.color,
            name,
            counter: moves.then_some(0),
        };
        let count = if flips { 2 } else { 1 };
        let whole = frontend::full(width, height);
        let mut pages = Vec::new();
        for page in 0..count {
            let resource = self.new_resource();
            let base = layout::PIXELS + u64::from(scanout) * PIXELS_PER_SCANOUT + page * (PIXELS_PER_SCANOUT / 2);
            let place = Place::new(self.options.memory, width, height, base);
            let fits = place.end() - base <= PIXELS_PER_SCANOUT / 2 - POINTER;
            ensure!(fits, "a monitor of {width}x{height} is too large for a played guest");
            let page = Page { resource, place, pixels: pattern.pixels(), counter: 0 };
            self.create(&page, whole)?;
            self.write(&page, &pattern, Part { x: 0, y: 0, width: pattern.width, height: pattern.height })?;
            pages.push(page);
        }
        let first = pages.first().context("a screen without a page")?;
        self.transfer(first, whole)?;
        self.show(scanout, first, whole)?;
        // Not fenced: a guest is ready though nobody looks at it.
        self.done(frontend::flush(first.resource, whole))?;
        let pointer = self.options.pointer.map(|hot| self.make_pointer(scanout, hot)).transpose()?;
        Ok(Screen { scanout, pattern, pages, shown: 0, pointer })
    }

    fn new_resource(&mut self) -> u32 {
        let resource = self.next_resource;
        self.next_resource = self.next_resource.wrapping_add(1).max(1);
        resource
    }

    /// As Linux does it: a dumb buffer is B8G8R8X8, whatever is drawn into it; of blobs, one in a piece.
    fn make_pointer(&mut self, scanout: u32, hot: (u32, u32)) -> Result<u32> {
        let resource = self.new_resource();
        let base = layout::PIXELS + u64::from(scanout) * PIXELS_PER_SCANOUT + PIXELS_PER_SCANOUT / 2 - POINTER;
        let place = Place::new(Memory::Classic, pointer::SIDE, pointer::SIDE, base);
        self.session.memory.write(base, &pointer::bytes())?;
        let whole = frontend::full(pointer::SIDE, pointer::SIDE);
        let page = Page { resource, place, pixels: Vec::new(), counter: 0 };
        self.create(&page, whole)?;
        self.transfer(&page, whole)?;
        self.session.call_cursor(&frontend::update_cursor(scanout, 0, 0, resource, hot.0, hot.1).build())?;
        Ok(resource)
    }

    fn create(&mut self, page: &Page, whole: Rect) -> Result<()> {
        let Page { resource, place, .. } = page;
        let entries = place.entries();
        match self.options.memory {
            Memory::Classic => {
                self.done(frontend::create_2d(*resource, frontend::B8G8R8X8, whole.width, whole.height))?;
                self.done(frontend::attach_backing(*resource, &entries))
            }
            Memory::Blob => self.done(frontend::create_blob(*resource, place.size(), &entries)),
            Memory::Texture { bottom_up } => {
                let what = three_d::texture(whole.width, whole.height);
                self.done(three_d::create_3d(*resource, three_d::Create3d { flags: bottom_up.into(), ..what }))?;
                self.done(frontend::attach_backing(*resource, &entries))?;
                self.done(three_d::context_attach(CONTEXT, *resource))?;
                // What is drawn by commands comes first, so that it is there in case a transfer is not.
                self.done(three_d::submit(CONTEXT, &three_d::clear(1, *resource, [0xff, 0, 0xff, 0xff])))
            }
        }
    }

    /// Has the host see what was written to a part of a page.
    fn transfer(&mut self, page: &Page, part: Rect) -> Result<()> {
        let offset = page.place.at(part.x, part.y);
        match self.options.memory {
            Memory::Classic => self.done(frontend::transfer(page.resource, part, offset)),
            Memory::Blob => Ok(()),
            Memory::Texture { .. } => {
                let Rect { x, y, width, height } = part;
                let what = three_d::Transfer3d { x, y, offset, ..three_d::whole(width, height) };
                let what = three_d::Transfer3d { stride: page.place.stride(), ..what };
                self.done(three_d::transfer_to(CONTEXT, page.resource, what))
            }
        }
    }

    fn show(&mut self, scanout: u32, page: &Page, whole: Rect) -> Result<()> {
        let Page { resource, place, .. } = page;
        self.done(match self.options.memory {
            Memory::Blob => frontend::set_scanout_blob(
                scanout,
                *resource,
                whole.width,
                whole.height,
                place.stride(),
                u32::try_from(place.at(0, 0))?,
            ),
            Memory::Classic | Memory::Texture { .. } => frontend::set_scanout(scanout, *resource, whole),
        })
    }

    /// Copies a part of a page to guest memory.
    fn write(&self, page: &Page, pattern: &Pattern, part: Part) -> Result<()> {
        let right = (part.x + part.width).min(pattern.width);
        let mut bytes = Vec::new();
        for y in part.y..(part.y + part.height).min(pattern.height) {
            let from = y * pattern.width + part.x;
            bytes.clear();
            for pixel in page.pixels.get(from..y * pattern.width + right).unwrap_or_default() {
                bytes.extend_from_slice(&pixel.to_le_bytes());
            }
            let at = page.place.at(u32::try_from(part.x)?, u32::try_from(y)?);
            for (address, bytes) in page.place.pieces(at, &bytes) {
                self.session.memory.write(address, bytes)?;
            }
        }
        Ok(())
    }

    /// The next picture on every screen; returns when all of them are presented (or the device's slow timer said so).
    fn step(&mut self) -> Result<()> {
        let mut screens = std::mem::take(&mut self.screens);
        let mut flushes = Vec::new();
        for screen in &mut screens {
            flushes.push(self.step_screen(screen)?);
        }
        self.screens = screens;
        for (slot, (resource, rect)) in (0..).zip(&flushes) {
            self.session.post(slot, &frontend::flush(*resource, *rect).fenced(u64::from(slot) + 1).build(), 24)?;
        }
        for _ in flushes {
            self.session.control.wait(&self.session.memory, frontend::session::ANSWER)?;
        }
        Ok(())
    }

    /// Draws and transfers; gives what is to be flushed.
    fn step_screen(&mut self, screen: &mut Screen) -> Result<(u32, Rect)> {
        let counter = screen.pattern.counter.unwrap_or(0).wrapping_add(1);
        screen.pattern.counter = Some(counter);
        let whole = frontend::full(u32::try_from(screen.pattern.width)?, u32::try_from(screen.pattern.height)?);
        let flips = screen.pages.len() > 1;
        if flips {
            screen.shown = 1 - screen.shown;
        }
        let page = screen.pages.get_mut(screen.shown).context("a screen without a page")?;
        let parts = screen.pattern.draw_step(page.counter, &mut page.pixels);
        page.counter = counter;
        for part in &parts {
            self.write(page, &screen.pattern, *part)?;
        }
        let (scanout, resource) = (screen.scanout, page.resource);
        let page = screen.pages.get(screen.shown).context("a screen without a page")?;
        if flips {
            self.transfer(page, whole)?;
            self.show(scanout, page, whole)?;
            return Ok((resource, whole));
        }
        let mut all: Option<Rect> = None;
        for rect in parts.into_iter().filter_map(|part| on_screen(part, whole)) {
            self.transfer(page, rect)?;
            all = Some(all.map_or(rect, |all| union(all, rect)));
        }
        Ok((resource, all.unwrap_or(whole)))
    }

    /// A command that must succeed.
    fn done(&mut self, command: Bytes) -> Result<()> {
        let kind = response_type(&command.0);
        let answer = self.session.ask(command)?;
        ensure!(answer == OK_NODATA, "command {kind:#x} got {answer:#x}");
        Ok(())
    }
}

fn on_screen(part: Part, whole: Rect) -> Option<Rect> {
    let (x, y) = (u32::try_from(part.x).ok()?, u32::try_from(part.y).ok()?);
    let width = u32::try_from(part.width).ok()?.min(whole.width.checked_sub(x)?);
    let height = u32::try_from(part.height).ok()?.min(whole.height.checked_sub(y)?);
    (width > 0 && height > 0).then_some(Rect { x, y, width, height })
}

fn union(a: Rect, b: Rect) -> Rect {
    let (x, y) = (a.x.min(b.x), a.y.min(b.y));
    let right = (a.x + a.width).max(b.x + b.width);
    let bottom = (a.y + a.height).max(b.y + b.height);
    Rect { x, y, width: right - x, height: bottom - y }
}
