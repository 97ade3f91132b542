//! What the session tells the programs in it, and its command line. Pure.

use super::policy::{LIMIT, Start};
use std::ffi::{OsStr, OsString};

/// Variables that are handed on to systemd's user manager, if they are set.
pub const TOLD: [&str; 6] =
    ["XDG_CURRENT_DESKTOP", "XDG_SESSION_DESKTOP", "XDG_SESSION_TYPE", "XDG_SESSION_ID", "XDG_SEAT", "XDG_VTNR"];

/// What the session sets; a login manager that has set the desktop's name already keeps it.
pub fn settings(get: impl Fn(&str) -> Option<OsString>) -> Vec<(&'static str, OsString)> {
    let kept = |name: &str, default: &str| get(name).filter(|v| !v.is_empty()).unwrap_or_else(|| default.into());
    vec![
        ("XDG_CURRENT_DESKTOP", "Phyllome".into()),
        ("XDG_SESSION_DESKTOP", kept("XDG_SESSION_DESKTOP", "phyllome")),
        ("XDG_SESSION_TYPE", "wayland".into()),
    ]
}

/// The session's own options, and what is passed on.
#[derive(Debug, PartialEq, Eq)]
pub enum Line {
    /// Print how it is used.
    Help,
    /// Print the version.
    Version,
    /// Run the shell.
    Run {
        /// Crashes in a minute that bring it back with a message.
        limit: usize,
        /// Arguments for the shell.
        shell: Vec<OsString>,
    },
    /// Wrong usage: one sentence.
    Wrong(String),
}

/// Reads the command line, without the program's name.
pub fn read(arguments: impl IntoIterator<Item = OsString>) -> Line {
    let (mut limit, mut shell) = (LIMIT, Vec::new());
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        match argument.to_str() {
            Some("--help" | "-h") => return Line::Help,
            Some("--version" | "-V") => return Line::Version,
            Some("--restart-limit") => {
                let number = arguments.next().and_then(|text| text.to_str()?.parse().ok());
                match number.filter(|number| (1..=1000).contains(number)) {
                    Some(number) => limit = number,
                    None => return Line::Wrong("give --restart-limit a number from 1 to 1000".to_owned()),
                }
            }
            _ => shell.push(argument),
        }
    }
    Line::Run { limit, shell }
}

/// The shell's arguments for this start: on the display, unless a backend was named.
pub fn arguments(given: &[OsString], start: Start) -> Vec<OsString> {
    let names_backend = |argument: &OsString| {
        argument == "--backend" || argument.to_str().is_some_and(|text| text.starts_with("--backend="))
    };
    let mut arguments: Vec<OsString> = given.to_vec();
    if !given.iter().any(names_backend) {
        arguments.splice(0..0, ["--backend", "kms"].map(OsString::from));
    }
    match start {
        Start::First => {}
        Start::AfterCrash => arguments.push("--after-crash".into()),
        Start::Recovered(times) => arguments.extend(["--recovered".into(), times.to_string().into()]),
    }
    arguments
}

/// The variables of [`TOLD`] that have a value.
pub fn told(set: &[(&'static str, OsString)], get: impl Fn(&str) -> Option<OsString>) -> Vec<&'static str> {
    let ours = |name: &str| set.iter().any(|(other, _)| *other == name);
    let theirs = |name: &str| get(name).is_some_and(|value| value.as_os_str() != OsStr::new(""));
    TOLD.into_iter().filter(|name| ours(name) || theirs(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<OsString> {
        text.split_whitespace().map(OsString::from).collect()
    }

    #[test]
    fn the_backend_is_kms_unless_another_is_named() {
        for (given, start, expected) in [
            ("", Start::First, "--backend kms"),
            ("--renderer pixman", Start::First, "--backend kms --renderer pixman"),
            ("--backend headless", Start::AfterCrash, "--backend headless --after-crash"),
            ("--config x --backend=auto", Start::Recovered(3), "--config x --backend=auto --recovered 3"),
        ] {
            assert_eq!(arguments(&words(given), start), words(expected), "{given}");
        }
    }

    #[test]
    fn its_own_options_are_not_passed_on() {
        let run = |limit, shell| Line::Run { limit, shell: words(shell) };
        assert_eq!(read(words("--size 640x480")), run(LIMIT, "--size 640x480"));
        assert_eq!(read(words("--restart-limit 7 --size 640x480")), run(7, "--size 640x480"));
        assert_eq!(read(words("--help")), Line::Help);
        assert_eq!(read(words("-V")), Line::Version);
        for bad in ["--restart-limit", "--restart-limit 0", "--restart-limit x", "--restart-limit 1001"] {
            assert!(matches!(read(words(bad)), Line::Wrong(_)), "{bad}");
        }
    }

    #[test]
    fn a_desktop_name_of_the_login_manager_is_kept() {
        let get = |name: &str| (name == "XDG_SESSION_DESKTOP").then(|| OsString::from("phyllome-test"));
        assert!(settings(get).contains(&("XDG_SESSION_DESKTOP", "phyllome-test".into())));
        assert!(settings(|_| Some(OsString::new())).contains(&("XDG_SESSION_DESKTOP", "phyllome".into())));
        assert!(settings(|_| Some("x11".into())).contains(&("XDG_SESSION_TYPE", "wayland".into())));
    }

    #[test]
    fn only_what_is_set_is_told() {
        let get = |name: &str| match name {
            "XDG_SEAT" => Some("seat0".into()),
            "XDG_VTNR" => Some(OsString::new()),
            _ => None,
        };
        let names = told(&settings(get), get);
        assert_eq!(names, ["XDG_CURRENT_DESKTOP", "XDG_SESSION_DESKTOP", "XDG_SESSION_TYPE", "XDG_SEAT"]);
    }
}
