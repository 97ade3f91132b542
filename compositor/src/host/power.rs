//! The battery, and the room on the disk: what the kernel says in `/sys/class/power_supply` and by statvfs(2), which of
//! it a person has to know, and when something is to be done about it.
//!
//! What cannot be read is as if it were not there. Deciding is pure; nothing here acts.

use super::notice::{Notice, Sign};
use std::path::Path;

/// From which percents on the battery is said to be low, and the last ones; and from when on something is done.
const LOW: u32 = 15;
const LAST: u32 = 5;
const OVER: u32 = 3;
/// Less room than this, in bytes, is too little.
const ROOM: u64 = 1 << 30;
const MIB: u64 = 1 << 20;

/// What is done when the battery is at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The computer goes to sleep.
    Suspend,
    /// Guests are to shut down.
    Shutdown,
}

/// What a person has to know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Power {
    /// One sentence for the bar.
    pub notice: Option<Notice>,
    /// What is done now, because the battery has come to its end, or nearer to it.
    pub end: Option<End>,
}

/// Remembers for which battery something was done already: it is done once, and again whenever it has fallen further.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Brink {
    done: Option<u32>,
}

impl Brink {
    /// Whether something is to be done now.
    pub(super) fn falls(&mut self, readings: &Readings) -> bool {
        let Some(percent) = readings.over() else {
            self.done = None;
            return false;
        };
        let falls = self.done.is_none_or(|done| percent < done);
        if falls {
            self.done = Some(percent);
        }
        falls
    }
}

/// What was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Readings {
    /// Percents of the fullest battery, and whether none is charged.
    battery: Option<(u32, bool)>,
    /// Bytes.
    room: Option<u64>,
}

impl Readings {
    /// Reads what there is.
    pub(super) fn of(sys: &Path, disks: &Path) -> Self {
        let room = rustix::fs::statvfs(disks).ok().map(|disk| disk.f_bavail.saturating_mul(disk.f_frsize));
        Self { battery: battery(&sys.join("class/power_supply")), room }
    }

    pub(super) fn has_battery(&self) -> bool {
        self.battery.is_some()
    }

    /// The percents of a battery that is at its end.
    fn over(&self) -> Option<u32> {
        self.battery.filter(|(percent, discharging)| *discharging && *percent <= OVER).map(|(percent, _)| percent)
    }

    /// What of it a person has to know. `end`: what is done if the battery is at its end.
    pub(super) fn power(&self, end: End) -> Power {
        let low = |text: String| Power { notice: Some(Notice::new(Sign::Battery, text)), end: None };
        match (self.battery, self.room) {
            (Some((percent, true)), _) if percent <= OVER => {
                let what = match end {
                    End::Suspend => "the computer goes to sleep",
                    End::Shutdown => "guests are shut down",
                };
                Power { end: Some(end), ..low(format!("Battery at {percent} %: {what}. Plug it in")) }
            }
            (Some((percent, true)), _) if percent <= LAST => low(format!("Battery at {percent} %: plug it in now")),
            (Some((percent, true)), _) if percent <= LOW => low(format!("Battery at {percent} %")),
            (_, Some(room)) if room < ROOM => {
                let text = format!("The disk is nearly full: {} MiB are left; make room", room / MIB);
                Power { notice: Some(Notice::new(Sign::Disk, text)), end: None }
            }
            _ => Power::default(),
        }
    }
}

/// The fullest of the computer's own batteries (not those of mice), and whether none of them is charged.
fn battery(folder: &Path) -> Option<(u32, bool)> {
    let supplies = std::fs::read_dir(folder).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    let own = supplies.filter(|path| word(&path.join("type")) == "Battery" && word(&path.join("scope")) != "Device");
    let all: Vec<(u32, bool)> = own
        .filter_map(|path| Some((number(&path.join("capacity"))?, word(&path.join("status")) == "Discharging")))
        .collect();
    let fullest = all.iter().map(|(percent, _)| *percent).max()?;
    Some((fullest, all.iter().any(|(_, discharging)| *discharging)))
}

/// The one word in a file; empty if it cannot be read.
pub(super) fn word(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

/// The one number in a file.
pub(super) fn number(path: &Path) -> Option<u32> {
    word(path).parse().ok()
}

/// What is said when.
#[cfg(test)]
pub(crate) fn notices() -> Vec<(&'static str, Notice)> {
    let battery = |percent| Readings { battery: Some((percent, true)), room: None };
    let full = Readings { battery: None, room: Some(300 * MIB) };
    [
        ("a battery is low", battery(LOW), End::Shutdown),
        ("a battery is nearly empty", battery(LAST), End::Shutdown),
        ("a battery is at its end, and the computer can sleep", battery(OVER), End::Suspend),
        ("a battery is at its end, and the computer cannot sleep", battery(OVER), End::Shutdown),
        ("less than 1 GiB is left for disks", full, End::Shutdown),
    ]
    .map(|(when, readings, end)| (when, readings.power(end).notice.unwrap_or_default()))
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A `/sys` with these supplies: name, and files with their texts.
    fn sys(supplies: &[(&str, &[(&str, &str)])]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (name, files) in supplies {
            let folder = root.path().join("class/power_supply").join(name);
            std::fs::create_dir_all(&folder).unwrap();
            for (file, text) in *files {
                std::fs::write(folder.join(file), format!("{text}\n")).unwrap();
            }
        }
        root
    }

    fn read(supplies: &[(&str, &[(&str, &str)])]) -> Option<(u32, bool)> {
        Readings::of(sys(supplies).path(), Path::new("/")).battery
    }

    #[test]
    fn the_computers_own_batteries_count_and_a_mouses_does_not() {
        let own = |percent, status| [("type", "Battery"), ("capacity", percent), ("status", status)];
        assert_eq!(read(&[]), None);
        assert_eq!(read(&[("AC", &[("type", "Mains"), ("online", "1")])]), None);
        let mouse = [("type", "Battery"), ("scope", "Device"), ("capacity", "2"), ("status", "Discharging")];
        assert_eq!(read(&[("hid-1", &mouse), ("BAT0", &own("40", "Charging"))]), Some((40, false)));
        assert_eq!(
            read(&[("BAT0", &own("1", "Not charging")), ("BAT1", &own("14", "Discharging"))]),
            Some((14, true)),
            "one is empty, the other is used"
        );
        assert_eq!(read(&[("BAT0", &own("full", "Discharging"))]), None, "what is no number is none");
    }

    fn at(percent: u32, discharging: bool) -> Readings {
        Readings { battery: Some((percent, discharging)), room: None }
    }

    #[test]
    fn a_person_hears_of_it_at_15_and_5_percent_and_at_3_what_is_done() {
        let power = |percent| at(percent, true).power(End::Suspend);
        assert_eq!([16, 100].map(power), [Power::default(), Power::default()]);
        let said = [15, 6, 5, 4, 3, 0].map(|percent| power(percent).notice.unwrap().text);
        let wanted = [
            "Battery at 15 %",
            "Battery at 6 %",
            "Battery at 5 %: plug it in now",
            "Battery at 4 %: plug it in now",
            "Battery at 3 %: the computer goes to sleep. Plug it in",
            "Battery at 0 %: the computer goes to sleep. Plug it in",
        ];
        assert_eq!(said, wanted);
        assert_eq!([5, 4, 3, 0].map(|percent| power(percent).end.is_some()), [false, false, true, true]);
        assert_eq!(at(2, false).power(End::Suspend), Power::default(), "it is charged");
        let other = at(3, true).power(End::Shutdown);
        assert_eq!(other.notice.unwrap().text, "Battery at 3 %: guests are shut down. Plug it in");
        assert_eq!(other.end, Some(End::Shutdown));
    }

    #[test]
    fn at_its_end_something_is_done_once_and_again_when_it_has_fallen_further() {
        let mut brink = Brink::default();
        let steps = [
            (4, true, false),
            (3, true, true),
            (3, true, false),
            (2, true, true),
            // A battery is not exact.
            (3, true, false),
            (2, true, false),
            (1, true, true),
            (2, false, false),
            (2, true, true),
        ];
        for (step, (percent, discharging, done)) in steps.into_iter().enumerate() {
            assert_eq!(brink.falls(&at(percent, discharging)), done, "step {step}");
        }
    }

    #[test]
    fn a_disk_that_is_nearly_full_is_said_where_the_battery_is_not() {
        let with = |battery, room| Readings { battery, room: Some(room) }.power(End::Shutdown).notice;
        let disk = with(None, 300 * MIB).unwrap();
        assert_eq!(disk, Notice::new(Sign::Disk, "The disk is nearly full: 300 MiB are left; make room"));
        assert_eq!(with(None, ROOM), None);
        assert_eq!(with(Some((15, true)), 0), Some(Notice::new(Sign::Battery, "Battery at 15 %")));
    }
}
