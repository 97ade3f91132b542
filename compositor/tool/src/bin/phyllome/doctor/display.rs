//! What the shell needs to own the display itself: a graphics device with something plugged in, and a seat that hands
//! it out.
//!
//! Nothing is opened: whoever opens a display device first becomes its master, and the shell on it would lose it. What
//! is known comes from the names in `/dev/dri`, the kernel's words in `/sys/class/drm`, and logind's in `/run/systemd`.

use super::Check;
use rustix::fs::{Access, AtFlags, CWD, accessat};
use rustix::io::Errno;
use std::fs;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

/// Most bytes that are read of a file that says a word or a few lines.
const MAX_WORDS: u64 = 16 * 1024;
/// Most devices and connectors that are looked at.
const MAX_ENTRIES: usize = 256;
/// What is lost without a display.
const COST: &str = "no real display; --backend nested and headless work";

/// Where things lie.
pub(super) struct Roots {
    dev: PathBuf,
    sys: PathBuf,
    run: PathBuf,
    group: PathBuf,
    seatd: PathBuf,
    session: Option<String>,
}

impl Roots {
    /// This host's.
    pub(super) fn host() -> Self {
        Self {
            dev: "/dev/dri".into(),
            sys: "/sys/class/drm".into(),
            run: "/run/systemd".into(),
            group: "/etc/group".into(),
            seatd: std::env::var_os("SEATD_SOCK").map_or_else(|| "/run/seatd.sock".into(), PathBuf::from),
            session: std::env::var("XDG_SESSION_ID").ok(),
        }
    }
}

/// The display, then the seat.
pub(super) fn checks(roots: &Roots) -> [Check; 2] {
    let seat = seat(roots);
    let has_seat = seat.verdict == super::Verdict::Fine;
    [display(roots, has_seat), seat]
}

fn display(roots: &Roots, has_seat: bool) -> Check {
    let mut cards = names(&roots.dev, |name| name.strip_prefix("card").is_some_and(is_number));
    cards.sort();
    if cards.is_empty() {
        let mend =
            "load the kernel's driver of this machine's graphics; in a virtual machine give it one, such as virtio-gpu";
        return Check::costs("display", "there is no display device in /dev/dri", COST, mend);
    }
    let described: Vec<(String, bool)> = cards.iter().map(|card| describe(roots, card)).collect();
    let finding = described.iter().map(|(text, _)| text.as_str()).collect::<Vec<_>>().join("; ");
    if !described.iter().any(|(_, lit)| *lit) {
        let mend = "plug in a display and switch it on; the shell lights it when it comes";
        return Check::costs("display", finding, "the shell starts, and shows nothing until a display comes", mend);
    }
    let opens = |card: &String| {
        let access = Access::READ_OK | Access::WRITE_OK;
        accessat(CWD, roots.dev.join(card), access, AtFlags::EACCESS).is_ok()
    };
    if !has_seat && !cards.iter().any(opens) {
        let mend = "log in on the machine's own console, or install and start seatd and join its group; do not give yourself the device";
        return Check::costs("display", format!("{finding}; you may not open it"), COST, mend);
    }
    Check::fine("display", finding)
}

/// A device and its connectors in words, and whether a display is plugged in.
fn describe(roots: &Roots, card: &str) -> (String, bool) {
    let mut connectors =
        names(&roots.sys, |name| name.strip_prefix(card).and_then(|rest| rest.strip_prefix('-')).is_some());
    connectors.sort();
    let prefix = card.len().saturating_add(1);
    let connected: Vec<&str> = connectors
        .iter()
        .filter(|name| words(&roots.sys.join(name).join("status")).is_some_and(|status| status.trim() == "connected"))
        .filter_map(|name| name.get(prefix..))
        .collect();
    let driver = fs::read_link(roots.sys.join(card).join("device/driver")).ok();
    let driver = driver.as_deref().and_then(Path::file_name).and_then(|name| name.to_str()).map(printable);
    let device = match driver {
        Some(driver) => format!("/dev/dri/{card} ({driver})"),
        None => format!("/dev/dri/{card}"),
    };
    let text = match (connected.is_empty(), connectors.is_empty()) {
        (false, _) => format!("{device} has displays on {}", connected.join(", ")),
        (true, false) => format!("{device} has no display plugged in"),
        (true, true) => format!("{device} has no connectors"),
    };
    (text, !connected.is_empty())
}

fn seat(roots: &Roots) -> Check {
    const MEND: &str = "log in on the machine's own console, or install and start seatd and join its group";
    match UnixStream::connect(&roots.seatd) {
        Ok(_) => return Check::fine("seat", "seatd gives displays and input devices"),
        Err(error) if error.raw_os_error() == Some(Errno::ACCESS.raw_os_error()) => {
            let group = fs::metadata(&roots.seatd).ok().and_then(|meta| group_name(&roots.group, meta.gid()));
            let group = group.map_or_else(|| "that owns it".to_owned(), |name| format!("“{name}”"));
            let mend = format!("join the group {group} (usermod -aG) and log in anew");
            let finding = format!("seatd runs, but {} may not be used by you", roots.seatd.display());
            return Check::costs("seat", finding, COST, &mend);
        }
        Err(_) => {}
    }
    let Some(session) = roots.session.as_deref().filter(|id| id.bytes().all(|b| b.is_ascii_alphanumeric())) else {
        return Check::costs("seat", "neither seatd nor a session of logind was found", COST, MEND);
    };
    let Some(text) = words(&roots.run.join("sessions").join(session)) else {
        return Check::costs("seat", format!("logind does not know this session ({session})"), COST, MEND);
    };
    let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    match value("SEAT").filter(|seat| !seat.is_empty()).map(printable) {
        None => Check::costs(
            "seat",
            format!("this session of logind ({session}) has no seat: it came over the network or from a service"),
            COST,
            MEND,
        ),
        Some(seat) if value("ACTIVE") == Some("0") => {
            Check::fine("seat", format!("logind gives the devices of {seat} as soon as this session is switched to"))
        }
        Some(seat) => Check::fine("seat", format!("logind gives the display and the input devices of {seat}")),
    }
}

/// The group's name in a file like `/etc/group`.
fn group_name(file: &Path, id: u32) -> Option<String> {
    words(file)?.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, _, number) = (fields.next()?, fields.next()?, fields.next()?);
        (number.parse() == Ok(id)).then(|| printable(name))
    })
}

/// Names in a folder; none if it cannot be read.
fn names(folder: &Path, wanted: impl Fn(&str) -> bool) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let names = entries.take(MAX_ENTRIES).flatten().filter_map(|entry| entry.file_name().into_string().ok());
    names.filter(|name| wanted(name)).collect()
}

/// The beginning of a file's text.
pub(super) fn words(path: &Path) -> Option<String> {
    let mut text = String::new();
    fs::File::open(path).ok()?.take(MAX_WORDS).read_to_string(&mut text).ok()?;
    Some(text)
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

pub(super) fn printable(text: &str) -> String {
    phyllome_protocol::text::printable(text, 60)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Verdict;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    fn host(folder: &Path) -> Roots {
        for name in ["dri", "drm", "run/sessions"] {
            fs::create_dir_all(folder.join(name)).unwrap();
        }
        Roots {
            dev: folder.join("dri"),
            sys: folder.join("drm"),
            run: folder.join("run"),
            group: folder.join("group"),
            seatd: folder.join("seatd.sock"),
            session: None,
        }
    }

    fn card(roots: &Roots, name: &str, connectors: &[(&str, &str)]) {
        fs::write(roots.dev.join(name), "").unwrap();
        fs::create_dir_all(roots.sys.join(name).join("device")).unwrap();
        symlink("/sys/bus/pci/drivers/virtio_gpu", roots.sys.join(name).join("device/driver")).unwrap();
        for (connector, status) in connectors {
            let folder = roots.sys.join(format!("{name}-{connector}"));
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("status"), format!("{status}\n")).unwrap();
        }
    }

    #[test]
    fn without_a_device_it_is_said_what_still_works() {
        let folder = tempfile::tempdir().unwrap();
        let roots = host(folder.path());
        fs::write(roots.dev.join("renderD128"), "").unwrap();
        let [display, seat] = checks(&roots);
        assert_eq!((display.verdict, seat.verdict), (Verdict::Costs, Verdict::Costs));
        assert_eq!(display.finding, "there is no display device in /dev/dri");
        assert_eq!(seat.finding, "neither seatd nor a session of logind was found");
    }

    #[test]
    fn devices_and_what_is_plugged_in_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let roots = host(folder.path());
        let _seatd = UnixListener::bind(&roots.seatd).unwrap();
        card(&roots, "card0", &[("Virtual-2", "disconnected"), ("Virtual-1", "connected"), ("HDMI-A-1", "connected")]);
        card(&roots, "card1", &[("DP-1", "disconnected")]);
        let [display, seat] = checks(&roots);
        assert_eq!(
            display.finding,
            "/dev/dri/card0 (virtio_gpu) has displays on HDMI-A-1, Virtual-1; /dev/dri/card1 (virtio_gpu) has no display \
             plugged in"
        );
        assert_eq!((display.verdict, seat.verdict), (Verdict::Fine, Verdict::Fine));
    }

    #[test]
    fn a_device_without_a_display_costs() {
        let folder = tempfile::tempdir().unwrap();
        let roots = host(folder.path());
        card(&roots, "card0", &[("DP-1", "disconnected")]);
        let [display, _] = checks(&roots);
        assert_eq!(display.verdict, Verdict::Costs);
        assert!(display.mend.unwrap().starts_with("plug in a display"));
    }

    #[test]
    fn a_session_without_a_seat_is_told_from_one_with() {
        let folder = tempfile::tempdir().unwrap();
        let mut roots = host(folder.path());
        roots.session = Some("7".to_owned());
        assert_eq!(seat(&roots).finding, "logind does not know this session (7)");
        fs::write(roots.run.join("sessions/7"), "UID=1000\nACTIVE=1\nREMOTE=1\n").unwrap();
        assert!(seat(&roots).finding.contains("has no seat"));
        fs::write(roots.run.join("sessions/7"), "UID=1000\nACTIVE=1\nSEAT=seat0\n").unwrap();
        assert_eq!(seat(&roots).finding, "logind gives the display and the input devices of seat0");
        fs::write(roots.run.join("sessions/7"), "ACTIVE=0\nSEAT=seat0\n").unwrap();
        assert!(seat(&roots).finding.ends_with("as soon as this session is switched to"));
        roots.session = Some("../../etc/passwd".to_owned());
        assert_eq!(seat(&roots).verdict, Verdict::Costs);
    }

    #[test]
    fn groups_are_told_by_their_number() {
        let folder = tempfile::tempdir().unwrap();
        let roots = host(folder.path());
        fs::write(&roots.group, "root:x:0:\nbroken\n_seatd:x:994:me\n").unwrap();
        assert_eq!(group_name(&roots.group, 994).as_deref(), Some("_seatd"));
        assert_eq!(group_name(&roots.group, 5), None);
    }
}
