//! Keys of the computer itself: volume, microphone, brightness; and what is done for each, by programs that work for a
//! person without more rights on Debian and Fedora alike: PipeWire's `wpctl`, and logind by systemd's `busctl`. Where a
//! program is not there nothing happens. Keys for radios are the kernel's own to heed.

use std::path::Path;
use std::process::{Command, Stdio};

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

    /// Does it, which may take seconds; what is so now, for a person.
    pub(super) fn carry_out(self, sys: &Path) -> Option<String> {
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
            Self::Radio => None,
        }
    }
}

/// What a program says that has done its work within three seconds.
fn run(line: &[&str]) -> Option<String> {
    let mut command = Command::new("timeout");
    command.arg("3").args(line).stdin(Stdio::null()).stderr(Stdio::null());
    let output = command.output().ok().filter(|output| output.status.success())?;
    let said = output.stdout.get(..output.stdout.len().min(MOST))?;
    Some(String::from_utf8_lossy(said).into_owned())
}

/// What `wpctl get-volume` says, such as “Volume: 0.45 [MUTED]”, for a person.
fn said_of_volume(said: &str) -> Option<String> {
    if said.contains("[MUTED]") {
        return Some("Sound off".to_owned());
    }
    let volume: f64 = said.split_whitespace().nth(1)?.parse().ok()?;
    volume.is_finite().then(|| format!("Volume {:.0} %", volume.clamp(0.0, 1.5) * 100.0))
}

fn said_of_microphone(said: &str) -> String {
    if said.contains("[MUTED]") { "Microphone off" } else { "Microphone on" }.to_owned()
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
            let number = |file| super::power::number(&folder.join(&name).join(file));
            let most = number("max_brightness").filter(|most| *most > 0)?;
            Some(Self { value: number("brightness")?.min(most), most, name: name.clone() })
        })
    }

    /// A twentieth brighter or darker, but never dark.
    fn next(self, up: bool) -> Self {
        let step = (self.most / 20).max(1);
        let value = if up { self.value.saturating_add(step) } else { self.value.saturating_sub(step) };
        Self { value: value.clamp(step.min(self.most), self.most), ..self }
    }

    fn said(&self) -> String {
        format!("Brightness {} %", self.percent())
    }

    fn percent(&self) -> u64 {
        u64::from(self.value) * 100 / u64::from(self.most.max(1))
    }
}

/// What is said after which key.
#[cfg(test)]
pub(crate) fn said() -> Vec<(&'static str, String)> {
    let (on, off) = ("Volume: 0.45", "Volume: 0.45 [MUTED]");
    let volume = |said| said_of_volume(said).unwrap_or_default();
    vec![
        ("volume is changed, or sound switched on", volume(on)),
        ("sound is switched off", volume(off)),
        ("the microphone is switched off", said_of_microphone(off)),
        ("the microphone is switched on", said_of_microphone(on)),
        ("brightness is changed", Backlight { name: String::new(), value: 1, most: 2 }.said()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volume_is_said_as_people_say_it() {
        for (said, wanted) in [
            ("Volume: 0.45\n", Some("Volume 45 %")),
            ("Volume: 1.00", Some("Volume 100 %")),
            ("Volume: 0.45 [MUTED]\n", Some("Sound off")),
            ("Volume: nan", None),
            ("", None),
            ("Volume:", None),
        ] {
            assert_eq!(said_of_volume(said).as_deref(), wanted, "{said}");
        }
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
