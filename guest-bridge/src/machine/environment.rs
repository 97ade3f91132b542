//! QEMU's whole environment: a few variables that it needs, and nothing of the person's.
//!
//! A session's environment holds tokens, the ways to its buses and agents, and many variables that change what QEMU and
//! its libraries do (`LD_PRELOAD`, `QEMU_*`, `G_*`, `SLIRP_*`). A guest that has broken out of its QEMU finds none.

use std::ffi::{OsStr, OsString};

/// What QEMU is told whatever the session says: words without translation, which this program reads, and no home.
const FIXED: [(&str, &str); 3] = [("HOME", "/nonexistent"), ("LANG", "C.UTF-8"), ("LC_ALL", "C.UTF-8")];
/// What it is told as the session says it. A guest whose clock shows local time gets that of `TZ`, which
/// names a file that may lie in `TZDIR`.
const PASSED: [&str; 3] = ["PATH", "TZ", "TZDIR"];
/// What tests tell the programs that they put in QEMU's place.
#[cfg(any(test, feature = "test-doors"))]
const PASSED_IN_TESTS: [&str; 1] = ["PHYLLOME_PLAYED_QEMU"];
#[cfg(not(any(test, feature = "test-doors")))]
const PASSED_IN_TESTS: [&str; 0] = [];

/// QEMU's environment out of this process's.
pub fn of_qemu(session: impl Iterator<Item = (OsString, OsString)>) -> Vec<(OsString, OsString)> {
    let passes = |name: &OsStr| PASSED.iter().chain(&PASSED_IN_TESTS).any(|passed| name == *passed);
    let fixed = FIXED.iter().map(|(name, value)| (name.into(), value.into()));
    fixed.chain(session.filter(|(name, _)| passes(name))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_persons_variables_qemu_gets_the_path_and_the_time_zone() {
        let session = [
            ("PATH", "/usr/bin"),
            ("TZ", "Europe/Berlin"),
            ("TZDIR", "/nix/zoneinfo"),
            ("HOME", "/home/a"),
            ("LANG", "de_DE.UTF-8"),
            ("SSH_AUTH_SOCK", "/run/agent"),
            ("DBUS_SESSION_BUS_ADDRESS", "unix:path=/run/bus"),
            ("XDG_RUNTIME_DIR", "/run/user/1000"),
            ("LD_PRELOAD", "/home/a/x.so"),
            ("LD_LIBRARY_PATH", "/home/a"),
            ("QEMU_AUDIO_DRV", "pa"),
            ("G_MESSAGES_DEBUG", "all"),
            ("SLIRP_DEBUG", "all"),
        ];
        let told = of_qemu(session.iter().map(|(name, value)| (name.into(), value.into())));
        let told: Vec<_> = told.iter().map(|(name, value)| (name.to_str().unwrap(), value.to_str().unwrap())).collect();
        let path = [("PATH", "/usr/bin"), ("TZ", "Europe/Berlin"), ("TZDIR", "/nix/zoneinfo")];
        assert_eq!(told, [&FIXED[..], &path].concat());
    }
}
