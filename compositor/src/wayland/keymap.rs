//! Which keymap: what shell.toml says, else what the system is set to, else “us”.
//!
//! The system's settings lie in files of several formats, and are read as untrusted text: at most a few lines of a
//! bounded file count, and only what can be names of XKB passes, for these become parts of paths and of a keymap's
//! source.

use phyllome_config::shell::Keyboard;
use rustix::fs::{Mode, OFlags};
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Most bytes of a file that are read.
const MAX_FILE: u64 = 64 * 1024;
/// Longest name.
const MAX_NAME: usize = 128;

/// XKB's names of a keymap. Empty: not said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// The kind of keyboard.
    pub model: String,
    /// Layouts, joined by commas.
    pub layout: String,
    /// Their variants, likewise.
    pub variant: String,
    /// Options, likewise.
    pub options: String,
}

impl Names {
    /// What shell.toml says and, where it says nothing, the system.
    pub fn choose(config: &Keyboard, system: Names) -> Self {
        let said = |name: &Option<String>| name.clone().unwrap_or_default();
        let own_layout = config.layout.is_some();
        let layout = config.layout.clone().unwrap_or(system.layout);
        Self {
            model: system.model,
            layout: if layout.is_empty() { "us".to_owned() } else { layout },
            // The system's variant is one of the system's layout.
            variant: if own_layout { said(&config.variant) } else { config.variant.clone().unwrap_or(system.variant) },
            options: config.options.clone().unwrap_or(system.options),
        }
    }

    /// What the system is set to: the first place that names a layout counts.
    pub fn of_system() -> Self {
        Self::of_system_at(Path::new("/"), |name| std::env::var(name).ok())
    }

    fn of_system_at(root: &Path, variable: impl Fn(&str) -> Option<String>) -> Self {
        let text = |path: &str| read(&root.join(path)).unwrap_or_default();
        let places: [&dyn Fn() -> Names; 5] = [
            &|| assignments(&text("etc/default/keyboard"), "XKB"),
            &|| xorg(&text("etc/X11/xorg.conf.d/00-keyboard.conf")),
            &|| assignments(&text("etc/vconsole.conf"), "XKB"),
            &|| console(&text("etc/vconsole.conf")),
            &|| {
                let mut names = Names::default();
                for word in WORDS {
                    let value = variable(&format!("XKB_DEFAULT_{word}")).unwrap_or_default();
                    names.set(word, &value);
                }
                names
            },
        ];
        places.iter().map(|place| place()).find(|names| !names.layout.is_empty()).unwrap_or_default()
    }

    /// Takes one value, if it can be one. The last one counts.
    fn set(&mut self, word: &str, value: &str) {
        let clean = value.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-+:,".contains(&b));
        let name = match word {
            "MODEL" => &mut self.model,
            "LAYOUT" => &mut self.layout,
            "VARIANT" => &mut self.variant,
            "OPTIONS" => &mut self.options,
            _ => return,
        };
        if clean && value.len() <= MAX_NAME {
            value.clone_into(name);
        }
    }
}

const WORDS: [&str; 4] = ["MODEL", "LAYOUT", "VARIANT", "OPTIONS"];

/// The text of a regular file, cut where it is too long.
fn read(path: &Path) -> Option<String> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
    // Asked before the file is opened: opening a device can already do something.
    std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file)?;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty()).ok()?);
    let mut bytes = Vec::new();
    file.take(MAX_FILE).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// `KEY=value` of a line, without quotes around the value.
fn assignment(line: &str) -> Option<(&str, &str)> {
    let (key, value) = line.trim().split_once('=')?;
    let value = value.trim();
    let quoted = |mark: char| value.strip_prefix(mark).and_then(|rest| rest.split(mark).next());
    let plain = || value.split_whitespace().next().unwrap_or_default();
    Some((key, quoted('"').or_else(|| quoted('\'')).unwrap_or_else(plain)))
}

/// Lines such as `XKBLAYOUT="de"` (Debian's keyboard(5), systemd's vconsole.conf(5)).
fn assignments(text: &str, prefix: &str) -> Names {
    let mut names = Names::default();
    for (key, value) in text.lines().filter_map(assignment) {
        if let Some(word) = key.strip_prefix(prefix) {
            names.set(word, value);
        }
    }
    names
}

/// Lines such as `Option "XkbLayout" "de"` (xorg.conf(5), as localectl writes it).
fn xorg(text: &str) -> Names {
    let mut names = Names::default();
    for line in text.lines().map(str::trim) {
        let mut words = line.split('"');
        if words.next().map(|word| word.trim().eq_ignore_ascii_case("option")) != Some(true) {
            continue;
        }
        let key = words.next().unwrap_or_default().to_ascii_uppercase();
        let value = words.nth(1).unwrap_or_default();
        names.set(key.strip_prefix("XKB").unwrap_or_default(), value);
    }
    names
}

/// The console's keymap (`KEYMAP=` of vconsole.conf(5)), where its name says which layout of XKB it is.
fn console(text: &str) -> Names {
    let keymap = text.lines().filter_map(assignment).rfind(|(key, _)| *key == "KEYMAP").map(|(_, value)| value);
    let first = keymap.unwrap_or_default().split(['-', '_']).next().unwrap_or_default();
    let (layout, variant) = match first {
        "uk" => ("gb", ""),
        "sg" => ("ch", "de"),
        "sf" => ("ch", "fr"),
        "cf" => ("ca", ""),
        "la" => ("latam", ""),
        "jp106" => ("jp", ""),
        "dvorak" | "colemak" => ("us", first),
        other if other.len() == 2 => (other, ""),
        _ => ("", ""),
    };
    let mut names = Names::default();
    names.set("LAYOUT", layout);
    names.set("VARIANT", variant);
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn names(layout: &str, variant: &str, options: &str) -> Names {
        Names { layout: layout.into(), variant: variant.into(), options: options.into(), ..Names::default() }
    }

    /// A system with these files and no variables.
    fn system(files: &[(&str, &str)]) -> Names {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        Names::of_system_at(root.path(), |_| None)
    }

    const DEBIAN: &str = "# KEYBOARD CONFIGURATION FILE\n\nXKBMODEL=\"pc105\"\nXKBLAYOUT=\"de,us\"\nXKBVARIANT='nodeadkeys,'\n\
                          XKBOPTIONS=ctrl:nocaps # mine\n\nBACKSPACE=\"guess\"\n";
    const XORG: &str = "# Written by systemd-localed(8)\nSection \"InputClass\"\n        Identifier \"system-keyboard\"\n        \
                        MatchIsKeyboard \"on\"\n        Option \"XkbLayout\" \"fr\"\n        Option \"XkbVariant\" \"oss\"\nEndSection\n";

    #[test]
    fn what_debian_and_fedora_write_is_read() {
        let debian = Names { model: "pc105".into(), ..names("de,us", "nodeadkeys,", "ctrl:nocaps") };
        assert_eq!(system(&[("etc/default/keyboard", DEBIAN), ("etc/X11/xorg.conf.d/00-keyboard.conf", XORG)]), debian);
        assert_eq!(system(&[("etc/X11/xorg.conf.d/00-keyboard.conf", XORG)]), names("fr", "oss", ""));
        let vconsole = "KEYMAP=de-nodeadkeys\nFONT=eurlatgr\nXKBLAYOUT=ch\nXKBVARIANT=fr\n";
        assert_eq!(system(&[("etc/vconsole.conf", vconsole)]), names("ch", "fr", ""));
        assert_eq!(system(&[]), Names::default());
    }

    #[test]
    fn a_consoles_keymap_counts_where_it_names_a_layout() {
        for (keymap, layout, variant) in [
            ("de-latin1-nodeadkeys", "de", ""),
            ("\"uk\"", "gb", ""),
            ("sg-latin1", "ch", "de"),
            ("dvorak", "us", "dvorak"),
            ("emacs", "", ""),
            ("", "", ""),
        ] {
            let file = format!("KEYMAP={keymap}\n");
            assert_eq!(system(&[("etc/vconsole.conf", &file)]), names(layout, variant, ""), "{keymap}");
        }
    }

    #[test]
    fn variables_count_where_no_file_says_anything() {
        let root = tempfile::tempdir().unwrap();
        let said = |name: &str| (name == "XKB_DEFAULT_LAYOUT").then(|| "se".to_owned());
        assert_eq!(Names::of_system_at(root.path(), said), names("se", "", ""));
    }

    #[test]
    fn shell_toml_goes_first_and_takes_no_variant_of_another_layout() {
        let system = names("de", "nodeadkeys", "ctrl:nocaps");
        let chosen = |layout: Option<&str>, variant: Option<&str>, options: Option<&str>| {
            let [layout, variant, options] = [layout, variant, options].map(|name| name.map(str::to_owned));
            Names::choose(&Keyboard { layout, variant, options }, system.clone())
        };
        assert_eq!(chosen(None, None, None), system);
        assert_eq!(chosen(Some("fr"), None, None), names("fr", "", "ctrl:nocaps"));
        assert_eq!(chosen(Some("fr"), Some("oss"), Some("")), names("fr", "oss", ""));
        assert_eq!(chosen(None, Some("neo"), None), names("de", "neo", "ctrl:nocaps"));
        assert_eq!(Names::choose(&Keyboard::default(), Names::default()), names("us", "", ""));
    }

    #[test]
    fn what_is_no_name_of_xkb_never_passes() {
        for value in ["../../etc/shadow", "us\" include \"x", "$(reboot)", "us;", "ü", &"x".repeat(200)] {
            assert_eq!(
                system(&[("etc/default/keyboard", &format!("XKBLAYOUT={value}\n"))]).layout.find(['/', '"', '$', 'ü']),
                None
            );
            assert_eq!(xorg(&format!("Option \"XkbLayout\" \"{value}\"")).layout.find(['/', '$', ';', 'ü']), None);
        }
        assert_eq!(assignments("XKBLAYOUT=\"../x\"", "XKB"), Names::default());
        let long = format!("{}\nXKBLAYOUT=de\n", "#".repeat(MAX_FILE as usize));
        assert_eq!(system(&[("etc/default/keyboard", &long)]), Names::default(), "only so much of a file is read");
    }

    #[test]
    fn what_is_no_regular_file_is_not_opened() {
        assert_eq!(read(Path::new("/dev/zero")), None);
        assert_eq!(read(Path::new("/etc")), None);
    }

    proptest! {
        #[test]
        fn no_text_is_too_strange(text in "(?s).{0,300}|([A-Z]{0,9}[=\" ]*[a-z\"',-]{0,12}\n){0,20}") {
            for names in [assignments(&text, "XKB"), xorg(&text), console(&text)] {
                for name in [&names.layout, &names.variant, &names.options, &names.model] {
                    prop_assert!(name.len() <= MAX_NAME && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-+:,".contains(&b)));
                }
            }
        }
    }
}
