//! What displays can do: what they are, and a test picture on each kind of plane of the first one, really shown.

use super::gl::{Drawn, TestGl};
use super::picture::{self, SIDE};
use super::{Tried, Ways, name_of};
use crate::backend::kms::above::{cursor, overlays, reads};
use crate::backend::kms::framebuffers::{Framebuffer, import_by_gbm, import_by_prime};
use crate::backend::kms::plugs::{Plug, mode_infos, refresh_mhz};
use crate::backend::kms::recovery::FLIP_LIMIT;
use crate::backend::kms::sheets::{DrawsSheets, Sheet};
use crate::backend::kms::{come, modes};
use phyllome_protocol::graphics::Outcome;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use smithay::backend::allocator::{Buffer as _, Format, Fourcc};
use smithay::backend::drm::{DrmDevice, DrmDeviceFd, DrmError, DrmSurface, PlaneConfig, PlaneState};
use smithay::backend::renderer::gles::{GlesError, GlesRenderer};
use smithay::backend::renderer::{Bind as _, Color32F, Frame as _, Renderer as _};
use smithay::reexports::drm::control::{Device as _, Event, connector, crtc, framebuffer, plane};
use smithay::utils::{Physical, Rectangle, Size, Transform};
use std::any::Any;
use std::cell::{Cell, RefCell};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

/// How long each picture is seen.
const SEEN: Duration = Duration::from_millis(500);
/// GL's own picture is all of this.
const GREEN: Color32F = Color32F::new(0.0, 1.0, 0.0, 1.0);

/// The displays that are plugged in, with what connectors say of themselves.
pub fn plugged(fd: &DrmDeviceFd, plugs: Result<&[Plug], &String>) -> Tried {
    let plugs = match plugs {
        Ok(plugs) => plugs,
        Err(why) => return (Outcome::Fails, why.clone()),
    };
    let lit: Vec<String> = plugs.iter().filter(|plug| plug.connected).map(|plug| describe(fd, plug)).collect();
    if lit.is_empty() { (Outcome::Absent, "none is plugged in".to_owned()) } else { (Outcome::Works, lit.join("; ")) }
}

fn describe(fd: &DrmDeviceFd, plug: &Plug) -> String {
    let infos = mode_infos(&plug.modes);
    let mode = modes::choose(&plug.name, &infos, None).and_then(|chosen| plug.modes.get(chosen.index));
    let mode = mode.map_or_else(
        || "without a mode".to_owned(),
        |mode| {
            let (width, height) = mode.size();
            format!("{width}x{height} at {:.2} Hz", f64::from(refresh_mhz(mode)) / 1000.0)
        },
    );
    let more: String = more_of(&properties(fd, plug.connector)).iter().map(|word| format!(", {word}")).collect();
    format!("{} {mode}{more}", plug.name)
}

/// What of a connector's properties (their names, values and largest values) a person wants to know.
fn more_of(properties: &[(String, u64, u64)]) -> Vec<String> {
    let value = |wanted: &str| properties.iter().find(|(name, ..)| name == wanted);
    let vrr = value("vrr_capable").filter(|(_, value, _)| *value == 1).map(|_| "variable refresh".to_owned());
    let bits = value("max bpc").map(|(_, _, most)| format!("up to {most} bits a colour"));
    vrr.into_iter().chain(bits).collect()
}

fn properties(fd: &DrmDeviceFd, connector: connector::Handle) -> Vec<(String, u64, u64)> {
    use smithay::reexports::drm::control::property::ValueType;
    let Ok(all) = fd.get_properties(connector) else { return Vec::new() };
    let one = |(id, value)| {
        let info = fd.get_property(id).ok()?;
        let most = if let ValueType::UnsignedRange(_, most) = info.value_type() { most } else { 0 };
        Some((info.name().to_string_lossy().into_owned(), value, most))
    };
    let (ids, values) = all.as_props_and_values();
    ids.iter().copied().zip(values.iter().copied()).filter_map(one).collect()
}

/// A display on which pictures are shown, one after the other.
pub struct TestDisplay {
    // Goes first: the display is off before what it has shown goes.
    surface: DrmSurface,
    /// What lies below all else.
    ground: Sheet,
    /// Everything that was shown: a frame that never came may come yet.
    kept: RefCell<Vec<Box<dyn Any>>>,
    /// A frame did not come onto the display, and the next one would have to wait for it.
    stuck: Cell<bool>,
    cursor_size: (u32, u32),
    _drm: DrmDevice,
}

/// What lies above the ground.
struct Laid<'a> {
    plane: plane::Handle,
    framebuffer: framebuffer::Handle,
    size: (u32, u32),
    fence: Option<&'a OwnedFd>,
}

impl TestDisplay {
    /// The first display that is plugged in and has a mode, fed by the first that can. Nothing is shown yet.
    pub fn light(fd: &DrmDeviceFd, plugs: &[Plug]) -> Result<Self, String> {
        let mut why = "no display that is plugged in offers a mode".to_owned();
        for plug in plugs.iter().filter(|plug| plug.connected && !plug.modes.is_empty()) {
            for crtc in &plug.crtcs {
                match Self::on(fd, plug, *crtc) {
                    Ok(display) => return Ok(display),
                    Err(refused) => why = format!("{} cannot be lit: {refused}", plug.name),
                }
            }
        }
        Err(why)
    }

    fn on(fd: &DrmDeviceFd, plug: &Plug, crtc: crtc::Handle) -> Result<Self, String> {
        let chosen = modes::choose(&plug.name, &mode_infos(&plug.modes), None);
        let mode = chosen.and_then(|chosen| plug.modes.get(chosen.index).copied()).ok_or("it offers no mode")?;
        let (mut drm, _) = DrmDevice::new(fd.clone(), false).map_err(|error| words(&error))?;
        let cursor = drm.cursor_size();
        let surface = drm.create_surface(crtc, mode, &[plug.connector]).map_err(|error| words(&error))?;
        let (width, height) = mode.size();
        let size = (u32::from(width), u32::from(height));
        let mut ground = Sheet::new(fd, size, Fourcc::Xrgb8888)?;
        let rows = ground_rows(size);
        ground.write(rows.chunks_exact(size.0 as usize * 4));
        let display = Self {
            surface,
            ground,
            kept: RefCell::default(),
            stuck: Cell::new(false),
            cursor_size: (cursor.w, cursor.h),
            _drm: drm,
        };
        let states = display.states(display.ground.framebuffer(), None);
        display.surface.test_state(states, true).map_err(|error| words(&error))?;
        Ok(display)
    }

    fn size(&self) -> Size<i32, Physical> {
        let (width, height) = self.surface.pending_mode().size();
        (i32::from(width), i32::from(height)).into()
    }

    /// A buffer on the primary plane, with something in its middle, and every other plane empty.
    fn states<'a>(&self, below: framebuffer::Handle, above: Option<&Laid<'a>>) -> Vec<PlaneState<'a>> {
        let size = self.size();
        let config = |place: Rectangle<i32, Physical>, fb, fence: Option<&'a OwnedFd>| PlaneConfig {
            src: Rectangle::from_size((f64::from(place.size.w), f64::from(place.size.h)).into()),
            dst: place,
            transform: Transform::Normal,
            alpha: 1.0,
            damage_clips: None,
            fb,
            fence: fence.map(AsFd::as_fd),
        };
        let primary = config(Rectangle::from_size(size), below, None);
        let mut states = vec![PlaneState { handle: self.surface.plane(), config: Some(primary) }];
        if let Some(above) = above {
            let extent = |value: u32| i32::try_from(value).unwrap_or(i32::MAX);
            let own: Size<i32, Physical> = (extent(above.size.0), extent(above.size.1)).into();
            let at = ((size.w - own.w) / 2, (size.h - own.h) / 2);
            let config = config(Rectangle::new(at.into(), own), above.framebuffer, above.fence);
            states.push(PlaneState { handle: above.plane, config: Some(config) });
        }
        if !self.surface.is_legacy() {
            let planes = self.surface.planes();
            let others = planes.overlay.iter().chain(&planes.cursor).map(|info| info.handle);
            let unused = others.filter(|plane| above.is_none_or(|above| above.plane != *plane));
            states.extend(unused.map(|handle| PlaneState { handle, config: None }));
        }
        states
    }

    /// Shows a frame, waits until it is there, and leaves it for a while.
    fn show(&self, below: framebuffer::Handle, above: Option<&Laid<'_>>) -> Result<(), String> {
        if self.stuck.get() {
            return Err("the frame before never came onto the display".to_owned());
        }
        // The older way of mode setting changes a buffer's layout only with its mode.
        let lights = self.surface.commit_pending() || self.surface.is_legacy();
        let states = || self.states(below, above);
        self.surface.test_state(states(), lights).map_err(|error| words(&error))?;
        let given = if lights { self.surface.commit(states(), true) } else { self.surface.page_flip(states(), true) };
        given.map_err(|error| words(&error))?;
        self.wait_for_flip().inspect_err(|_| self.stuck.set(true))?;
        std::thread::sleep(SEEN);
        Ok(())
    }

    fn wait_for_flip(&self) -> Result<(), String> {
        let fd = self.surface.device_fd();
        let end = Instant::now() + FLIP_LIMIT;
        loop {
            let left = Timespec::try_from(end.saturating_duration_since(Instant::now())).map_err(|e| e.to_string())?;
            let mut asked = [PollFd::from_borrowed_fd(fd.as_fd(), PollFlags::IN)];
            match poll(&mut asked, Some(&left)) {
                Ok(0) => return Err("the frame does not come onto the display".to_owned()),
                Ok(_) => {}
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => return Err(error.to_string()),
            }
            let mut events = fd.receive_events().map_err(|error| error.to_string())?;
            if events.any(|event| matches!(event, Event::PageFlip(flip) if flip.crtc == self.surface.crtc())) {
                return Ok(());
            }
        }
    }

    /// The processor's buffer, then GL's, on the primary plane.
    pub fn primary(&mut self, gl: Option<&mut TestGl>) -> Tried {
        if let Err(why) = self.show(self.ground.framebuffer(), None) {
            return (Outcome::Fails, format!("no picture is shown: {why}"));
        }
        let mut ways = Ways::default();
        ways.note("the processor's (gray)", Ok(()));
        if let Some(gl) = gl {
            ways.note("GL's (green)", self.show_drawn(gl));
        }
        let (outcome, tried) = ways.tell("shows pictures:");
        let way = if self.surface.is_legacy() { ", by the older way of mode setting" } else { ", atomically" };
        (outcome, format!("{tried}{way}"))
    }

    fn show_drawn(&self, gl: &mut TestGl) -> Result<(), String> {
        let layouts = GlesRenderer::layouts(&gl.source, self.surface.plane_info());
        let layout = layouts.first().ok_or("GL draws in no format that the plane reads")?;
        let size = self.size();
        let pixels = (size.w.unsigned_abs(), size.h.unsigned_abs());
        let mut canvas = GlesRenderer::canvas(&gl.source, self.surface.device_fd(), pixels, layout)?;
        let words = |error: GlesError| error.to_string();
        let framebuffer = canvas.framebuffer();
        let renderer = gl.renderer();
        let mut target = renderer.bind(&mut canvas.target).map_err(words)?;
        let mut frame = renderer.render(&mut target, size, Transform::Normal).map_err(words)?;
        frame.clear(GREEN, &[Rectangle::from_size(size)]).map_err(words)?;
        let done = frame.finish().map_err(words)?;
        renderer.wait(&done).map_err(words)?;
        drop(target);
        self.kept.borrow_mut().push(Box::new(canvas));
        self.show(framebuffer, None)?;
        self.show(self.ground.framebuffer(), None)
    }

    /// A coloured square in the middle, above the ground: pages of memory, and what GL has drawn. As the shell does it:
    /// with a fence, and imported by whom the shell's renderer imports.
    pub fn overlay(&mut self, gl: Option<&TestGl>, drawn: Option<&Drawn>) -> Tried {
        if self.surface.is_legacy() {
            return (
                Outcome::Absent,
                "the driver sets no planes atomically; guests' pictures are composited".to_owned(),
            );
        }
        let (planes, all) = (overlays(&self.surface), self.surface.planes().overlay.len());
        if planes.is_empty() {
            let why = "is above the primary one and below the cursor; guests' pictures are composited";
            return (Outcome::Absent, format!("none of {all} overlay planes {why}"));
        }
        let fd = self.surface.device_fd().clone();
        let fence = match come::fence(&fd) {
            Ok(fence) => fence,
            Err(error) => {
                let why = format!("the kernel gives no fence for guests' buffers ({error}); they are composited");
                return (Outcome::Fails, why);
            }
        };
        let hardware = gl.filter(|gl| !gl.is_software());
        let pages = picture::in_pages().and_then(|dmabuf| {
            let framebuffer = match hardware {
                Some(gl) => import_by_gbm(&gl.source.gbm, &fd, &dmabuf),
                None => import_by_prime(&fd, &dmabuf).map_err(|error| error.to_string()),
            };
            Ok((dmabuf.format(), framebuffer?))
        });
        let mut ways = Ways::default();
        ways.note("pages of memory (udmabuf)", self.lay(pages, &fence));
        if let (Some(gl), Some(drawn)) = (gl, drawn) {
            let framebuffer = import_by_gbm(&gl.source.gbm, &fd, &drawn.dmabuf);
            let tried = self.lay(framebuffer.map(|framebuffer| (drawn.dmabuf.format(), framebuffer)), &fence);
            ways.note("what GL draws", tried);
        }
        let (outcome, tried) = ways.tell("on one is shown");
        (outcome, format!("{} of {all} planes may be used; {tried}", planes.len()))
    }

    /// Lays a buffer onto the first overlay plane that shows it.
    fn lay(&self, framebuffer: Result<(Format, Framebuffer), String>, fence: &OwnedFd) -> Result<(), String> {
        let (format, framebuffer) = framebuffer?;
        let handle = framebuffer.handle();
        self.kept.borrow_mut().push(Box::new(framebuffer));
        let mut why = format!("no plane reads {} {}", format.code, name_of(format.modifier));
        for info in overlays(&self.surface).iter().filter(|info| reads(info, format)) {
            let laid = Laid { plane: info.handle, framebuffer: handle, size: (SIDE, SIDE), fence: Some(fence) };
            match self.show(self.ground.framebuffer(), Some(&laid)) {
                Ok(()) => return self.show(self.ground.framebuffer(), None),
                Err(refused) => why = refused,
            }
        }
        Err(why)
    }

    /// A white square on the cursor plane.
    pub fn cursor(&mut self) -> Tried {
        if self.surface.is_legacy() {
            return (Outcome::Absent, "the driver sets no planes atomically; pointers are drawn".to_owned());
        }
        let Some(plane) = cursor(&self.surface) else {
            return (Outcome::Absent, "there is no cursor plane above the primary one; pointers are drawn".to_owned());
        };
        let (width, height) = self.cursor_size;
        match self.show_cursor(plane.handle) {
            Ok(()) => (Outcome::Works, format!("a pointer is shown (white); up to {width}x{height} pixels")),
            Err(why) => (Outcome::Fails, why),
        }
    }

    fn show_cursor(&self, plane: plane::Handle) -> Result<(), String> {
        let mut sheet = Sheet::new(self.surface.device_fd(), self.cursor_size, Fourcc::Argb8888)?;
        let row = [0xff; 4].repeat(16);
        sheet.write(std::iter::repeat_n(row.as_slice(), 16));
        let framebuffer = sheet.framebuffer();
        self.kept.borrow_mut().push(Box::new(sheet));
        let laid = Laid { plane, framebuffer, size: self.cursor_size, fence: None };
        self.show(self.ground.framebuffer(), Some(&laid))?;
        self.show(self.ground.framebuffer(), None)
    }
}

/// What the kernel itself said.
fn words(error: &DrmError) -> String {
    match error {
        DrmError::Access(access) if access.source.raw_os_error() == Some(libc::EACCES) => {
            "another program or terminal has taken the display meanwhile".to_owned()
        }
        DrmError::Access(access) => access.source.to_string(),
        DrmError::TestFailed(_) => "the kernel refuses it".to_owned(),
        other => other.to_string(),
    }
}

/// A chequer of two grays, so that somebody who looks sees that this is a test.
fn ground_rows((width, height): (u32, u32)) -> Vec<u8> {
    let pixel = |x: u32, y: u32| if (x / 64 + y / 64).is_multiple_of(2) { [0x30; 4] } else { [0x40; 4] };
    (0..height).flat_map(|y| (0..width).flat_map(move |x| pixel(x, y))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_connector_is_said_what_a_person_wants_to_know() {
        let property = |name: &str, value, most| (name.to_owned(), value, most);
        assert_eq!(more_of(&[property("EDID", 3, 0)]), Vec::<String>::new());
        assert_eq!(more_of(&[property("vrr_capable", 0, 1), property("max bpc", 8, 12)]), ["up to 12 bits a colour"]);
        assert_eq!(more_of(&[property("vrr_capable", 1, 1)]), ["variable refresh"]);
    }
}
