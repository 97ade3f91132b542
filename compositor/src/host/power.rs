//! The battery, and the room on the disk: what the kernel says in `/sys/class/power_supply` and by statvfs(2), and which
//! of it a person has to know.
//!
//! Of a battery that is there and cannot be read nothing is known, so nothing is said of it. Deciding is pure; when
//! something is done about it is [`super::brink`]'s.

use super::notice::{Notice, Sign};
use std::path::Path;

/// From which percents on the battery is said to be low, and the last ones; and from when on it is at its end.
const LOW: u32 = 15;
const LAST: u32 = 5;
const OVER: u32 = 3;
/// Less room than this, in bytes, is too little.
const ROOM: u64 = 1 << 30;
const MIB: u64 = 1 << 20;

/// What is done when the battery is at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtEnd {
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
    /// Whether that stands before a shutdown that is planned.
    pub urgent: bool,
    /// What is done now, because the battery has come to its end, or nearer to it.
    pub end: Option<AtEnd>,
}

/// What is known of the battery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Battery {
    /// The computer has none.
    None,
    /// It cannot be read, or does not say whether it is charged.
    Unknown,
    /// It is charged, or there is enough left.
    Fine,
    /// So many percents are left, and it is not charged.
    AtEnd(u32),
}

/// What all batteries say together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Charge {
    /// Of the fullest.
    percent: u32,
    /// Whether they are used: none of them is charged, and one says so. `None`: it is not said.
    used: Option<bool>,
}

/// What was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Readings {
    /// `Err`: one is there and cannot be read.
    charge: Option<Result<Charge, ()>>,
    /// Bytes.
    room: Option<u64>,
}

impl Readings {
    /// Reads what there is.
    pub(super) fn of(sys: &Path, disks: &Path) -> Self {
        let room = rustix::fs::statvfs(disks).ok().map(|disk| disk.f_bavail.saturating_mul(disk.f_frsize));
        Self { charge: charge(&sys.join("class/power_supply")), room }
    }

    pub(super) fn battery(&self) -> Battery {
        match self.charge {
            None => Battery::None,
            Some(Err(())) => Battery::Unknown,
            Some(Ok(Charge { percent, .. })) if percent > OVER => Battery::Fine,
            Some(Ok(Charge { percent, used: Some(true) })) => Battery::AtEnd(percent),
            Some(Ok(Charge { used: Some(false), .. })) => Battery::Fine,
            Some(Ok(Charge { used: None, .. })) => Battery::Unknown,
        }
    }

    /// Percents of a battery that is used.
    fn used(&self) -> Option<u32> {
        let charge = self.charge?.ok()?;
        charge.used.is_some_and(|used| used).then_some(charge.percent)
    }

    /// What of it a person has to know. `doing`: what is being done if the battery is at its end; `end`: what is done
    /// just now.
    pub(super) fn power(&self, doing: Option<AtEnd>, end: Option<AtEnd>) -> Power {
        let low = |text: String| Some(Notice::new(Sign::Battery, text));
        let used = self.used();
        let notice = match (used, self.room) {
            (Some(percent), _) if percent <= LAST => {
                let what = match doing.filter(|_| percent <= OVER) {
                    Some(AtEnd::Suspend) => "the computer goes to sleep. Plug it in",
                    Some(AtEnd::Shutdown) => "guests are shut down. Plug it in",
                    None => "plug it in now",
                };
                low(format!("Battery at {percent} %: {what}"))
            }
            (Some(percent), _) if percent <= LOW => low(format!("Battery at {percent} %")),
            (_, Some(room)) if room < ROOM => {
                let text = format!("The disk is nearly full: {} MiB are left; make room", room / MIB);
                Some(Notice::new(Sign::Disk, text))
            }
            _ => None,
        };
        Power { notice, urgent: used.is_some_and(|percent| percent <= LAST), end }
    }
}

/// What the computer's own batteries (not those of mice) say; an empty bay is none.
fn charge(folder: &Path) -> Option<Result<Charge, ()>> {
    let supplies = std::fs::read_dir(folder).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    let own = supplies.filter(|path| {
        let says = |file, text| word(&path.join(file)) == text;
        says("type", "Battery") && !says("scope", "Device") && !says("present", "0")
    });
    let read = |path: &Path| {
        let status = Some(word(&path.join("status"))).filter(|status| !status.is_empty())?;
        Some((number(&path.join("capacity"))?, status))
    };
    let mut all = Vec::new();
    for path in own {
        match read(&path) {
            Some(battery) => all.push(battery),
            None => return Some(Err(())),
        }
    }
    let percent = all.iter().map(|(percent, _)| *percent).max()?;
    let any = |wanted: &str| all.iter().any(|(_, status)| status == wanted);
    let used = if any("Discharging") { Some(true) } else { (any("Charging") || any("Full")).then_some(false) };
    Some(Ok(Charge { percent, used }))
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
    let battery = |percent| tests::at(percent, "Discharging");
    let full = Readings { charge: None, room: Some(300 * MIB) };
    [
        ("a battery is low", battery(LOW), None),
        ("a battery is nearly empty", battery(LAST), None),
        ("a battery is at its end, and the computer is sent to sleep", battery(OVER), Some(AtEnd::Suspend)),
        ("a battery is at its end, and the computer does not sleep", battery(OVER), Some(AtEnd::Shutdown)),
        ("a battery is at its end, and the computer has slept", battery(OVER), None),
        ("less than 1 GiB is left for disks", full, None),
    ]
    .map(|(when, readings, doing)| (when, readings.power(doing, None).notice.unwrap_or_default()))
    .into()
}

#[cfg(test)]
pub(super) mod tests {
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

    fn read(supplies: &[(&str, &[(&str, &str)])]) -> Option<Result<Charge, ()>> {
        Readings::of(sys(supplies).path(), Path::new("/")).charge
    }

    /// What one battery says. `status` is a word of the kernel's; empty: it cannot be read.
    pub(in super::super) fn at(percent: u32, status: &str) -> Readings {
        let percent = percent.to_string();
        let files = [("type", "Battery"), ("capacity", percent.as_str()), ("status", status)];
        Readings { charge: read(&[("BAT0", &files)]), room: None }
    }

    #[test]
    fn the_computers_own_batteries_count_and_a_mouses_does_not() {
        let own = |percent, status| [("type", "Battery"), ("capacity", percent), ("status", status)];
        let says = |percent, used| Some(Ok(Charge { percent, used }));
        assert_eq!(read(&[]), None);
        assert_eq!(read(&[("AC", &[("type", "Mains"), ("online", "1")])]), None);
        let mouse = [("type", "Battery"), ("scope", "Device"), ("capacity", "2"), ("status", "Discharging")];
        assert_eq!(read(&[("hid-1", &mouse), ("BAT0", &own("40", "Charging"))]), says(40, Some(false)));
        assert_eq!(
            read(&[("BAT0", &own("1", "Not charging")), ("BAT1", &own("14", "Discharging"))]),
            says(14, Some(true)),
            "one is empty, the other is used"
        );
        assert_eq!(read(&[("BAT0", &own("2", "Unknown"))]), says(2, None));
        let bay = [("type", "Battery"), ("present", "0")];
        assert_eq!(read(&[("BAT0", &own("2", "Full")), ("BAT1", &bay)]), says(2, Some(false)), "the bay is empty");
    }

    #[test]
    fn of_a_battery_that_cannot_be_read_nothing_is_known_whatever_another_says() {
        let own = |percent, status| [("type", "Battery"), ("capacity", percent), ("status", status)];
        for unreadable in [own("full", "Discharging"), own("", "Discharging"), own("90", "")] {
            assert_eq!(read(&[("BAT0", &own("2", "Discharging")), ("BAT1", &unreadable)]), Some(Err(())));
            let readings = Readings { charge: read(&[("BAT1", &unreadable)]), room: None };
            assert_eq!((readings.battery(), readings.power(None, None)), (Battery::Unknown, Power::default()));
        }
    }

    #[test]
    fn a_person_hears_of_it_at_15_and_5_percent_and_at_3_what_is_being_done() {
        let power = |percent, doing| at(percent, "Discharging").power(doing, None);
        assert_eq!([16, 100].map(|percent| power(percent, None)), [Power::default(), Power::default()]);
        let said = [15, 6, 5, 4, 3, 0].map(|percent| power(percent, Some(AtEnd::Suspend)).notice.unwrap().text);
        let wanted = [
            "Battery at 15 %",
            "Battery at 6 %",
            "Battery at 5 %: plug it in now",
            "Battery at 4 %: plug it in now",
            "Battery at 3 %: the computer goes to sleep. Plug it in",
            "Battery at 0 %: the computer goes to sleep. Plug it in",
        ];
        assert_eq!(said, wanted);
        let text = |doing| power(3, doing).notice.unwrap().text;
        assert_eq!(text(Some(AtEnd::Shutdown)), "Battery at 3 %: guests are shut down. Plug it in");
        assert_eq!(text(None), "Battery at 3 %: plug it in now");
        assert_eq!([6, 5, 3].map(|percent| power(percent, None).urgent), [false, true, true]);
        assert_eq!(at(2, "Charging").power(Some(AtEnd::Suspend), None), Power::default());
    }

    #[test]
    fn only_a_battery_that_is_used_is_at_its_end_and_only_a_charged_or_fuller_one_is_fine() {
        let battery = |percent, status| at(percent, status).battery();
        assert_eq!(battery(3, "Discharging"), Battery::AtEnd(3));
        for (percent, status) in [(4, "Discharging"), (4, "Unknown"), (3, "Charging"), (3, "Full")] {
            assert_eq!(battery(percent, status), Battery::Fine, "{percent} {status}");
        }
        for status in ["Unknown", "Not charging", ""] {
            assert_eq!(battery(3, status), Battery::Unknown, "{status}");
        }
    }

    #[test]
    fn a_disk_that_is_nearly_full_is_said_where_the_battery_is_not() {
        let with = |charge, room| Readings { charge, room: Some(room) }.power(None, None).notice;
        let disk = with(None, 300 * MIB).unwrap();
        assert_eq!(disk, Notice::new(Sign::Disk, "The disk is nearly full: 300 MiB are left; make room"));
        assert_eq!(with(None, ROOM), None);
        let low = Charge { percent: 15, used: Some(true) };
        assert_eq!(with(Some(Ok(low)), 0), Some(Notice::new(Sign::Battery, "Battery at 15 %")));
    }
}
