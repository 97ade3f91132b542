//! Which distribution this machine runs, as far as it matters: where packages come from.
//!
//! Reads `/etc/os-release` and changes nothing.

use std::fmt;

/// A distribution whose packages are known here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Distribution {
    /// Debian 12, "bookworm": what is new enough comes from its backports.
    Debian12,
    /// Debian 13, "trixie".
    Debian13,
    /// Fedora.
    Fedora,
}

impl Distribution {
    /// This machine's.
    pub fn detect() -> Option<Self> {
        Self::parse(&std::fs::read_to_string("/etc/os-release").ok()?)
    }

    /// The suite to take packages from with `apt-get -t`, where it is not the distribution's own.
    pub fn suite(self) -> Option<&'static str> {
        (self == Self::Debian12).then_some("bookworm-backports")
    }

    fn parse(os_release: &str) -> Option<Self> {
        let value = |key: &str| {
            let line = os_release.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))?;
            Some(line.trim_matches('"'))
        };
        match (value("ID")?, value("VERSION_ID")) {
            ("debian", Some("12")) => Some(Self::Debian12),
            ("debian", Some("13")) => Some(Self::Debian13),
            ("fedora", _) => Some(Self::Fedora),
            _ => None,
        }
    }
}

impl fmt::Display for Distribution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Debian12 => "Debian 12",
            Self::Debian13 => "Debian 13",
            Self::Fedora => "Fedora",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_distributions_are_told_apart() {
        assert_eq!(Distribution::parse("NAME=\"x\"\nVERSION_ID=\"12\"\nID=debian\n"), Some(Distribution::Debian12));
        assert_eq!(Distribution::parse("ID=debian\nVERSION_ID=\"13\"\n"), Some(Distribution::Debian13));
        assert_eq!(Distribution::parse("ID=fedora\nVERSION_ID=43\n"), Some(Distribution::Fedora));
    }

    #[test]
    fn others_are_unknown() {
        assert_eq!(Distribution::parse("ID=debian\nVERSION_ID=\"11\"\n"), None);
        assert_eq!(Distribution::parse("ID_LIKE=debian\nID=ubuntu\nVERSION_ID=\"24.04\"\n"), None);
    }
}
