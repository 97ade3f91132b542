//! Keys of the computer itself: volume, microphone, brightness; and what is done for each, by programs that work for a
//! person without more rights on Debian and Fedora alike: PipeWire's `wpctl`, and logind by systemd's `busctl`. Where a
//! program is not there nothing happens. Keys for radios are the kernel's own to heed; what it made of them is read.

use super::notice::{Notice, Sign};
use super::power::{number, word};
use crate::descriptors::without_strangers;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// A key of the computer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostKey {
    /// Sound on or off.
    Mute,
    /// Softer, or louder.
    Volume {
        /// Louder.
        up: bool,
    },
    /// Microphone on or off.
    Microphone,
    /// Displays darker, or brighter.
    Brightness {
        /// Brighter.
        up: bool,
    },
    /// Radios on or off: the kernel does it, and no guest hears of it.
    Radio,
}

/// Longest answer of a program that is looked at, in bytes.
const MOST: usize = 256;
/// Until then the kernel has heeded a key for radios.
const HEEDED: Duration = Duration::from_millis(300);
/// Kinds of radios as `/sys/class/rfkill` has them, and as people call them.
const RADIOS: [(&str, &str); 3] = [("wlan", "Wi-Fi"), ("bluetooth", "Bluetooth"), ("wwan", "Mobile network")];

impl HostKey {
    /// The key of this evdev code: KEY_MUTE, KEY_VOLUMEDOWN, KEY_VOLUMEUP, KEY_MICMUTE, KEY_BRIGHTNESSDOWN,
    /// KEY_BRIGHTNESSUP; KEY_BLUETOOTH, KEY_WLAN, KEY_RFKILL.
    pub fn of(code: u32) -> Option<Self> {
        Some(match code {
            113 => Self::Mute,
            114 | 115 => Self::Volume { up: code == 115 },
            248 => Self::Microphone,
            224 | 225 => Self::Brightness { up: code == 225 },
            237 | 238 | 247 => Self::Radio,
            _ => return None,
        })
    }

    /// Whether it goes on step by step while it is held.
    pub fn repeats(self) -> bool {
        match self {
            Self::Volume { .. } | Self::Brightness { .. } => true,
            Self::Mute | Self::Microphone | Self::Radio => false,
        }
    }

    /// Whether pressed twice it has done nothing.
    pub(super) fn switches(self) -> bool {
        match self {
            Self::Mute | Self::Microphone => true,
            Self::Volume { .. } | Self::Brightness { .. } | Self::Radio => false,
        }
    }

    /// Does it, which may take seconds; what is so now, for a person.
    pub(super) fn carry_out(self, sys: &Path) -> Option<Notice> {
        const SINK: &str = "@DEFAULT_AUDIO_SINK@";
        const SOURCE: &str = "@DEFAULT_AUDIO_SOURCE@";
        let volume = |of| run(&["wpctl", "get-volume", of]);
        match self {
            Self::Mute => {
                run(&["wpctl", "set-mute", SINK, "toggle"])?;
                said_of_volume(&volume(SINK)?)
            }
            Self::Volume { up } => {
                run(&["wpctl", "set-volume", "--limit", "1.0", SINK, if up { "5%+" } else { "5%-" }])?;
                said_of_volume(&volume(SINK)?)
            }
            Self::Microphone => {
                run(&["wpctl", "set-mute", SOURCE, "toggle"])?;
                Some(said_of_microphone(&volume(SOURCE)?))
            }
            Self::Brightness { up } => {
                let light = Backlight::of(sys)?.next(up);
                let value = light.value.to_string();
                run(&[
                    "busctl",
                    "--system",
                    "call",
                    "org.freedesktop.login1",
                    "/org/freedesktop/login1/session/auto",
                    "org.freedesktop.login1.Session",
                    "SetBrightness",
                    "ssu",
                    "backlight",
                    &light.name,
                    &value,
                ])?;
                Some(light.said())
            }
            Self::Radio => {
                // Without one there is nothing to wait for.
                radios(sys)?;
                std::thread::sleep(HEEDED);
                radios(sys)
            }
        }
    }
}

/// What a program says that has done its work within three seconds.
pub(super) fn run(line: &[&str]) -> Option<String> {
    let mut command = Command::new("timeout");
    command.arg("3").args(line).stdin(Stdio::null()).stderr(Stdio::null());
    let output = without_strangers(move || command.output()).ok().filter(|output| output.status.success())?;
    let said = output.stdout.get(..output.stdout.len().min(MOST))?;
    Some(String::from_utf8_lossy(said).into_owned())
}

/// What `wpctl get-volume` says, such as “Volume: 0.45 [MUTED]”, for a person.
fn said_of_volume(said: &str) -> Option<Notice> {
    if said.contains("[MUTED]") {
        return Some(Notice::new(Sign::SoundOff, "Sound off"));
    }
    let volume: f64 = said.split_whitespace().nth(1)?.parse().ok()?;
    volume.is_finite().then(|| Notice::level(Sign::Sound, (volume.clamp(0.0, 1.5) * 100.0).round() as u32))
}

/// The same of the microphone.
fn said_of_microphone(said: &str) -> Notice {
    if said.contains("[MUTED]") {
        Notice::new(Sign::MicrophoneOff, "Microphone off")
    } else {
        Notice::new(Sign::Microphone, "Microphone on")
    }
}

/// Which radios are on, if there are any: those of a kind are while one of them is.
fn radios(sys: &Path) -> Option<Notice> {
    let mut kinds = BTreeMap::new();
    for entry in std::fs::read_dir(sys.join("class/rfkill")).ok()?.take(64) {
        let folder = entry.ok()?.path();
        let kind = word(&folder.join("type"));
        let place = RADIOS.iter().position(|(name, _)| *name == kind);
        if let (Some(place), Some(soft), Some(hard)) =
            (place, number(&folder.join("soft")), number(&folder.join("hard")))
        {
            *kinds.entry(place).or_insert(false) |= soft == 0 && hard == 0;
        }
    }
    said_of_radios(&kinds)
}

/// The same by their places among all kinds.
fn said_of_radios(kinds: &BTreeMap<usize, bool>) -> Option<Notice> {
    let words = |(place, on): (&usize, &bool)| {
        let (_, name) = RADIOS.get(*place)?;
        Some(format!("{name} {}", if *on { "on" } else { "off" }))
    };
    let sign = if kinds.values().any(|on| *on) { Sign::Radios } else { Sign::RadiosOff };
    let text = kinds.iter().filter_map(words).collect::<Vec<_>>().join(", ");
    (!text.is_empty()).then(|| Notice::new(sign, text))
}

/// A display's light.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Backlight {
    name: String,
    value: u32,
    most: u32,
}

impl Backlight {
    /// The first one that the kernel has.
    fn of(sys: &Path) -> Option<Self> {
        let folder = sys.join("class/backlight");
        let mut names: Vec<String> =
            std::fs::read_dir(&folder).ok()?.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
        names.sort();
        names.into_iter().find_map(|name| {
            let of = |file| number(&folder.join(&name).join(file));
            let most = of("max_brightness").filter(|most| *most > 0)?;
            Some(Self { value: of("brightness")?.min(most), most, name: name.clone() })
        })
    }

    /// A twentieth brighter or darker, but never dark.
    fn next(self, up: bool) -> Self {
        let step = (self.most / 20).max(1);
        let value = if up { self.value.saturating_add(step) } else { self.value.saturating_sub(step) };
        Self { value: value.clamp(step.min(self.most), self.most), ..self }
    }

    fn said(&self) -> Notice {
        Notice::level(Sign::Brightness, self.percent())
    }

    fn percent(&self) -> u32 {
        u32::try_from(u64::from(self.value) * 100 / u64::from(self.most.max(1))).unwrap_or(100)
    }
}

/// What is said after which key.
#[cfg(test)]
pub(crate) fn said() -> Vec<(&'static str, Notice)> {
    let (on, off) = ("Volume: 0.45", "Volume: 0.45 [MUTED]");
    let volume = |said| said_of_volume(said).unwrap_or_default();
    vec![
        ("volume is changed, or sound switched on", volume(on)),
        ("sound is switched off", volume(off)),
        ("the microphone is switched off", said_of_microphone(off)),
        ("the microphone is switched on", said_of_microphone(on)),
        ("brightness is changed", Backlight { name: String::new(), value: 1, most: 2 }.said()),
        (
            "a key for radios is pressed",
            said_of_radios(&[(0, true), (1, false), (2, false)].into()).unwrap_or_default(),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volume_and_microphone_are_said_as_people_say_it() {
        let off = Some(Notice::new(Sign::SoundOff, "Sound off"));
        for (said, wanted) in [
            ("Volume: 0.45\n", Some(Notice::level(Sign::Sound, 45))),
            ("Volume: 0.29", Some(Notice::level(Sign::Sound, 29))),
            ("Volume: 1.00", Some(Notice::level(Sign::Sound, 100))),
            ("Volume: 0.45 [MUTED]\n", off),
            ("Volume: nan", None),
            ("", None),
            ("Volume:", None),
        ] {
            assert_eq!(said_of_volume(said), wanted, "{said}");
        }
        assert_eq!(said_of_microphone("Volume: 1.00 [MUTED]\n").signs, [Sign::MicrophoneOff]);
        assert_eq!(said_of_microphone("Volume: 1.00\n").signs, [Sign::Microphone]);
    }

    #[test]
    fn radios_are_said_by_kind_and_are_off_together_only_if_all_are() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(radios(root.path()), None);
        let set = |name: &str, kind: &str, soft: u32, hard: u32| {
            let folder = root.path().join("class/rfkill").join(name);
            std::fs::create_dir_all(&folder).unwrap();
            for (file, text) in [("type", kind.to_owned()), ("soft", soft.to_string()), ("hard", hard.to_string())] {
                std::fs::write(folder.join(file), text).unwrap();
            }
        };
        let said = || radios(root.path()).map(|notice| (notice.signs, notice.text));
        set("rfkill0", "gps", 0, 0);
        assert_eq!(said(), None, "people do not know it");
        set("rfkill1", "bluetooth", 1, 0);
        set("rfkill2", "wlan", 0, 1);
        assert_eq!(said(), Some((vec![Sign::RadiosOff], "Wi-Fi off, Bluetooth off".to_owned())));
        set("rfkill3", "wlan", 0, 0);
        assert_eq!(said(), Some((vec![Sign::Radios], "Wi-Fi on, Bluetooth off".to_owned())));
    }

    #[test]
    fn a_display_gets_brighter_and_darker_by_a_twentieth_and_never_dark() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(Backlight::of(root.path()), None);
        let folder = root.path().join("class/backlight/intel_backlight");
        std::fs::create_dir_all(&folder).unwrap();
        for (file, text) in [("max_brightness", "1000\n"), ("brightness", "90\n")] {
            std::fs::write(folder.join(file), text).unwrap();
        }
        let light = Backlight::of(root.path()).unwrap();
        assert_eq!((light.clone().next(true).value, light.clone().next(true).percent()), (140, 14));
        assert_eq!(light.clone().next(false).value, 50);
        assert_eq!(light.next(false).next(false).value, 50);
        let coarse = Backlight { name: "lcd".to_owned(), value: 7, most: 7 };
        assert_eq!((coarse.clone().next(true).value, coarse.next(false).value), (7, 6));
    }

    #[test]
    fn a_program_that_is_not_there_or_fails_does_nothing() {
        assert_eq!(run(&["no-such-program"]), None);
        assert_eq!(run(&["false"]), None);
        assert_eq!(run(&["echo", "it is so"]).as_deref(), Some("it is so\n"));
    }
}
