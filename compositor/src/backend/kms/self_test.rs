//! What the graphics at hand can do, tried: GL draws a picture, gives it out, takes pictures in, and a display shows it in
//! each way that the shell has. For `phyllome doctor --gpu`, in a process of its own: a driver may crash or never answer.
//!
//! Each finding is told as soon as it is known. Nothing of a guest's takes part.

mod displays;
mod gl;
mod picture;

use super::device::is_master;
use super::plugs::plugs;
use super::session::Seat;
use displays::TestDisplay;
use gl::TestGl;
use phyllome_protocol::graphics::{Finding, Outcome};
use phyllome_protocol::text::printable;
use smithay::backend::allocator::Modifier;
use smithay::backend::drm::DrmDeviceFd;
use smithay::backend::session::Session;
use smithay::backend::udev;
use smithay::reexports::drm::Device as _;
use smithay::reexports::drm::control::Device as _;
use smithay::reexports::rustix::fs::{Mode, OFlags, open};
use smithay::utils::DeviceFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long it is waited for a session to become active.
const PATIENCE: Duration = Duration::from_secs(1);
/// Longest name of a driver or a kernel, in characters.
const MAX_NAME: usize = 120;

/// How something came out, and what was found.
type Tried = (Outcome, String);

/// What works of several ways, and why the others do not.
#[derive(Default)]
struct Ways {
    fine: Vec<String>,
    lacks: Vec<String>,
}

impl Ways {
    fn note(&mut self, what: &str, tried: Result<(), String>) {
        match tried {
            Ok(()) => self.fine.push(what.to_owned()),
            Err(why) => self.lacks.push(format!("{what}: {why}")),
        }
    }

    /// In words, after `before`.
    fn tell(&self, before: &str) -> Tried {
        let (fine, lacks) = (self.fine.join(", "), self.lacks.join("; "));
        match (self.fine.is_empty(), self.lacks.is_empty()) {
            (_, true) => (Outcome::Works, format!("{before} {fine}")),
            (false, false) => (Outcome::Partly, format!("{before} {fine}; not {lacks}")),
            (true, false) => (Outcome::Fails, format!("{before} nothing; not {lacks}")),
        }
    }
}

/// Tries everything; `tell` is given each finding. The error is one sentence: there is nothing to try.
pub fn run(mut tell: impl FnMut(Finding)) -> Result<(), String> {
    let mut tell = |id: &str, (outcome, finding): Tried| tell(Finding { id: id.to_owned(), outcome, finding });
    let seat = in_front().and_then(|()| Seat::open()).and_then(|seat| {
        seat.wait_until_active(PATIENCE);
        let why = "this session is not in front; switch to its console, and run this there";
        if seat.is_active() { Ok(seat) } else { Err(why.to_owned()) }
    });
    tell("host", host(&seat));
    let card = Card::open(seat)?;
    tell("card", (Outcome::Works, format!("{}: {}", card.path.display(), driver_of(&card.fd))));
    let plugs = plugs(&card.fd).map_err(|error| format!("the kernel says nothing of displays: {error}"));
    tell("displays", displays::plugged(&card.fd, plugs.as_deref()));

    let mut drawn = None;
    let mut gl = match TestGl::open(&card.fd) {
        Ok(mut gl) => {
            tell("gl", gl.draws_with());
            let (exported, picture) = gl.draws();
            tell("export", exported);
            tell("import", gl.reads());
            tell("fences", gl.fences());
            drawn = picture;
            Some(gl)
        }
        Err(why) => {
            tell("gl", (Outcome::Absent, format!("{why}; the shell draws with Pixman")));
            ["export", "import", "fences"]
                .into_iter()
                .for_each(|id| tell(id, (Outcome::Untried, "there is no GL".to_owned())));
            None
        }
    };

    let untried = |why: &str| (Outcome::Untried, why.to_owned());
    let display = match (&card.why_not, &plugs) {
        (Some(why), _) | (None, Err(why)) => Err(untried(why)),
        (None, Ok(plugs)) if plugs.iter().all(|plug| !plug.connected) => Err(untried("no display is plugged in")),
        (None, Ok(plugs)) => TestDisplay::light(&card.fd, plugs).map_err(|why| (Outcome::Fails, why)),
    };
    match display {
        Ok(mut display) => {
            tell("primary", display.primary(gl.as_mut()));
            tell("overlay", display.overlay(gl.as_ref(), drawn.as_ref()));
            tell("cursor", display.cursor());
        }
        Err((outcome, why)) => {
            tell("primary", (outcome, why.clone()));
            ["overlay", "cursor"].into_iter().for_each(|id| tell(id, untried(&why)));
        }
    }
    Ok(())
}

/// Whether this is the console in front, and no desktop's. A seat daemon that has no client would take the console that
/// is in front away from whoever has it by other means: its keys would go to the text behind a desktop.
fn in_front() -> Result<(), String> {
    let there = "run this on a console of its own, with no desktop in front";
    if ["WAYLAND_DISPLAY", "DISPLAY"].iter().any(|name| std::env::var_os(name).is_some()) {
        return Err(format!("a desktop runs here; {there}"));
    }
    let Ok(front) = std::fs::read_to_string("/sys/class/tty/tty0/active") else { return Ok(()) };
    let own = std::fs::read_to_string("/proc/self/stat").ok().and_then(|stat| console_of(&stat));
    if own.is_some_and(|own| format!("tty{own}") == front.trim()) {
        Ok(())
    } else {
        Err(format!("this is no console in front; {there}"))
    }
}

/// The number of the virtual terminal that a process was started on, by its line of /proc (proc_pid_stat(5)).
fn console_of(stat: &str) -> Option<u64> {
    /// The device number's major part of virtual terminals (TTY_MAJOR).
    const CONSOLES: u64 = 4;
    // A program's name may hold anything.
    let number: u64 = stat.rsplit_once(')')?.1.split_whitespace().nth(4)?.parse().ok()?;
    let (major, minor) = ((number >> 8) & 0xfff, (number & 0xff) | ((number >> 12) & 0xfff00));
    (major == CONSOLES && (1..64).contains(&minor)).then_some(minor)
}

/// Versions, and who gives devices out.
fn host(seat: &Result<Seat, String>) -> Tried {
    let kernel = rustix::system::uname();
    let release = printable(&kernel.release().to_string_lossy(), MAX_NAME);
    let given = match seat {
        Ok(seat) => format!("{} gives its devices", printable(seat.name(), MAX_NAME)),
        Err(_) => "no seat gives devices".to_owned(),
    };
    (Outcome::Works, format!("Phyllome Shell {}, Linux {release}, {given}", env!("CARGO_PKG_VERSION")))
}

/// The device that the shell would drive.
struct Card {
    path: PathBuf,
    fd: DrmDeviceFd,
    /// Why nothing can be shown on it.
    why_not: Option<String>,
    /// Goes last: what was opened through it is closed with it.
    _seat: Option<Seat>,
}

impl Card {
    /// The first that drives a display and is not another program's; else the first that drives one.
    fn open(seat: Result<Seat, String>) -> Result<Self, String> {
        let name = seat.as_ref().map_or("seat0", Seat::name).to_owned();
        let mut paths = udev::all_gpus(&name).unwrap_or_default();
        let first = udev::primary_gpu(&name).ok().flatten();
        paths.sort_by_key(|path| first.as_ref() != Some(path));
        let mut reason = None;
        let mut found: Option<(PathBuf, DrmDeviceFd, Option<String>)> = None;
        for path in paths {
            let opened = open_card(seat.as_ref().ok(), &path);
            match opened {
                Ok(fd) if fd.resource_handles().is_ok_and(|all| !all.connectors().is_empty()) => {
                    let why_not = match &seat {
                        Ok(_) if is_master(&fd) => None,
                        Ok(_) => Some(
                            "another program has the display; run this on a console of its own, with no desktop in front"
                                .to_owned(),
                        ),
                        Err(why) => Some(why.clone()),
                    };
                    let free = why_not.is_none();
                    if free || found.is_none() {
                        found = Some((path, fd, why_not));
                    }
                    if free {
                        break;
                    }
                }
                Ok(_) => drop(reason.get_or_insert(format!("{} drives no display", path.display()))),
                Err(error) => drop(reason.get_or_insert(format!(
                    "{} cannot be opened ({error}); log in on the machine's own console, or start seatd",
                    path.display()
                ))),
            }
        }
        let none = || format!("{name} has no graphics device; load the kernel's driver for it");
        let (path, fd, why_not) = found.ok_or_else(|| reason.unwrap_or_else(none))?;
        Ok(Self { path, fd, why_not, _seat: seat.ok() })
    }
}

/// By the seat where there is one. Else by itself, to look and never to show: whoever opens a display first becomes its
/// master, and keeps a desktop that is in the background from coming back.
fn open_card(seat: Option<&Seat>, path: &Path) -> Result<DrmDeviceFd, String> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
    if let Some(seat) = seat {
        let fd = seat.handle().open(path, flags).map_err(|error| error.to_string())?;
        return Ok(DrmDeviceFd::new(DeviceFd::from(fd)));
    }
    let fd = open(path, flags, Mode::empty()).map_err(|error| error.to_string())?;
    let fd = DrmDeviceFd::new(DeviceFd::from(fd));
    // An error means that it is not the master.
    let _ = fd.release_master_lock();
    Ok(fd)
}

/// The kernel's driver of a device and its version.
fn driver_of(fd: &DrmDeviceFd) -> String {
    fd.get_driver().map_or_else(
        |error| format!("a driver that does not say its name ({error})"),
        |driver| {
            let (major, minor, patch) = driver.version;
            format!("{} {major}.{minor}.{patch}", printable(&driver.name().to_string_lossy(), MAX_NAME))
        },
    )
}

/// A modifier as others write it.
fn name_of(modifier: Modifier) -> String {
    match modifier {
        Modifier::Linear => "LINEAR".to_owned(),
        Modifier::Invalid => "implicit".to_owned(),
        other => format!("{:#018x}", u64::from(other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_console_is_that_of_the_kernels_number() {
        let stat = |name: &str, number: &str| format!("7 ({name}) S 1 7 7 {number} 7 4194560 1 2");
        assert_eq!(console_of(&stat("sh", "1025")), Some(1));
        assert_eq!(console_of(&stat("a) S 1 1 1 1026 (b", "1027")), Some(3));
        for no_console in ["0", "34816", "1024", "1088", "-1", "x"] {
            assert_eq!(console_of(&stat("sh", no_console)), None, "{no_console}");
        }
        assert_eq!(console_of(""), None);
    }

    #[test]
    fn some_ways_that_work_are_part_of_it() {
        let mut ways = Ways::default();
        ways.note("one", Ok(()));
        assert_eq!(ways.tell("GL reads"), (Outcome::Works, "GL reads one".to_owned()));
        ways.note("two", Err("no".to_owned()));
        assert_eq!(ways.tell("GL reads"), (Outcome::Partly, "GL reads one; not two: no".to_owned()));
        let mut ways = Ways::default();
        ways.note("two", Err("no".to_owned()));
        assert_eq!(ways.tell("GL reads"), (Outcome::Fails, "GL reads nothing; not two: no".to_owned()));
    }
}
