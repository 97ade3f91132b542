//! Whether guests outlive the person's last session: where logind runs, it ends the user manager then, and with it
//! every guest.
//!
//! Read from logind's own files, never over D-Bus, and nothing is changed: `loginctl` does that. A machine without
//! logind ends nobody.

use super::Check;
use super::display::{printable, words};
use rustix::process::getuid;
use std::path::{Component, Path};

/// What it costs that guests do not.
const COST: &str = "your guests are told to power off when your last session ends";

pub(super) fn check() -> Check {
    look(Path::new("/run/systemd/users"), Path::new("/var/lib/systemd/linger"), getuid().as_raw())
}

/// `users`: what logind says of each user that is logged in. `lingering`: a file for each user that lingers.
fn look(users: &Path, lingering: &Path, user: u32) -> Check {
    if !users.is_dir() {
        return Check::fine("linger", "no logind ends your guests when you log out");
    }
    let Some(said) = words(&users.join(user.to_string())) else {
        return Check::fine(
            "linger",
            "logind does not know you as logged in, and ends no guest that is started from here",
        );
    };
    match name(&said) {
        Some(name) if lingering.join(name).exists() => {
            Check::fine("linger", format!("guests run on after the last session of {} has ended", printable(name)))
        }
        name => {
            let mend = format!("loginctl enable-linger {}", printable(name.unwrap_or_default()));
            let finding = "guests do not run on after your last session has ended: you do not linger";
            Check::costs("linger", finding, COST, mend.trim_end())
        }
    }
}

/// The user's name in logind's words; it is to be the name of a file.
fn name(said: &str) -> Option<&str> {
    let name = said.lines().find_map(|line| line.strip_prefix("NAME="))?;
    let mut parts = Path::new(name).components();
    (matches!(parts.next(), Some(Component::Normal(part)) if part == name) && parts.next().is_none()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Verdict;
    use std::fs;

    #[test]
    fn whether_guests_outlive_the_last_session_is_what_logind_says() {
        let folder = tempfile::tempdir().unwrap();
        let (users, lingering) = (folder.path().join("users"), folder.path().join("linger"));
        let look = || look(&users, &lingering, 1000);
        assert_eq!(look().verdict, Verdict::Fine, "there is no logind");
        fs::create_dir_all(&users).unwrap();
        assert_eq!(look().verdict, Verdict::Fine, "nobody is logged in");
        fs::write(users.join("1000"), "# Private.\nNAME=ada\nSTATE=active\n").unwrap();
        let off = look();
        assert_eq!((off.verdict, off.mend.as_deref()), (Verdict::Costs, Some("loginctl enable-linger ada")));
        assert!(off.finding.contains("do not run on") && off.cost.unwrap().contains("power off"));
        fs::create_dir_all(&lingering).unwrap();
        fs::write(lingering.join("bob"), "").unwrap();
        assert_eq!(look().verdict, Verdict::Costs, "somebody else lingers");
        fs::write(lingering.join("ada"), "").unwrap();
        let on = look();
        assert!(on.verdict == Verdict::Fine && on.finding.contains("run on after the last session of ada"), "{on:?}");
    }

    #[test]
    fn a_name_is_the_name_of_a_file() {
        assert_eq!(name("X=1\nNAME=ada\n"), Some("ada"));
        for bad in ["", "NAME=", "NAME=..", "NAME=a/b", "NAME=/a", "NAME=a/", "USER=ada"] {
            assert_eq!(name(bad), None, "{bad}");
        }
    }
}
