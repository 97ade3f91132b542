//! Reads the machine's own apt sources, in both of their formats (sources.list(5)), to add a suite of the same archive.
//!
//! Pure but for [`read`]. Names no host: the archive's address is whatever the machine already uses.

use std::fs;
use std::path::PathBuf;

/// One entry: an archive with its suites.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Source {
    /// Addresses of the archive, as they are written.
    pub uris: String,
    /// Suites that are taken from it.
    pub suites: Vec<String>,
    /// Components.
    pub components: Vec<String>,
    /// The key, as it is written: a path, a fingerprint, or a whole key over several lines.
    pub signed_by: Option<String>,
}

/// All entries of this machine that are switched on.
pub fn read() -> Vec<Source> {
    let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
    files.extend(fs::read_dir("/etc/apt/sources.list.d").into_iter().flatten().flatten().map(|entry| entry.path()));
    let mut sources = Vec::new();
    for file in files {
        let Ok(text) = fs::read_to_string(&file) else { continue };
        match file.extension().and_then(|ending| ending.to_str()) {
            Some("list") => sources.extend(parse_lines(&text)),
            Some("sources") => sources.extend(parse_stanzas(&text)),
            _ => {}
        }
    }
    sources
}

/// Whether a suite is among the entries.
pub fn has_suite(sources: &[Source], suite: &str) -> bool {
    sources.iter().any(|source| source.suites.iter().any(|other| other == suite))
}

/// The address of the archive that a suite's `main` comes from.
pub fn archive_of(sources: &[Source], suite: &str) -> Option<String> {
    main_of(sources, suite)?.uris.split_whitespace().next().map(str::to_owned)
}

fn main_of<'a>(sources: &'a [Source], suite: &str) -> Option<&'a Source> {
    let is_main = |source: &&Source| source.components.iter().any(|component| component == "main");
    sources.iter().filter(is_main).find(|source| has_suite(std::slice::from_ref(source), suite))
}

/// A file's content that adds `suite` from the archive that `base` (the distribution's main suite) comes from.
pub fn stanza_for(sources: &[Source], base: &str, suite: &str) -> Option<String> {
    let main = main_of(sources, base)?;
    let mut stanza = format!("Types: deb\nURIs: {}\nSuites: {suite}\nComponents: main\n", main.uris);
    if let Some(key) = &main.signed_by {
        stanza.push_str(&format!("Signed-By: {key}\n"));
    }
    Some(stanza)
}

/// The one-line format: `deb [signed-by=KEY] URI SUITE COMPONENT…`.
fn parse_lines(text: &str) -> Vec<Source> {
    let mut sources = Vec::new();
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default().trim();
        let Some(rest) = line.strip_prefix("deb ").or_else(|| line.strip_prefix("deb\t")) else { continue };
        let rest = rest.trim();
        let (options, rest) = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((options, rest)) => (options, rest),
            None => ("", rest),
        };
        let mut words = rest.split_whitespace().map(str::to_owned);
        let (Some(uris), Some(suite)) = (words.next(), words.next()) else { continue };
        let signed_by =
            options.split_whitespace().find_map(|option| option.strip_prefix("signed-by=")).map(str::to_owned);
        sources.push(Source { uris, suites: vec![suite], components: words.collect(), signed_by });
    }
    sources
}

/// The stanza format, deb822.
fn parse_stanzas(text: &str) -> Vec<Source> {
    let mut sources = Vec::new();
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    for stanza in lines.split(|line| line.trim().is_empty()) {
        let mut fields: Vec<(String, String)> = Vec::new();
        for line in stanza {
            if line.starts_with([' ', '\t']) {
                if let Some((_, value)) = fields.last_mut() {
                    value.push('\n');
                    value.push_str(line);
                }
            } else if let Some((name, value)) = line.split_once(':') {
                fields.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
            }
        }
        let field = |name: &str| fields.iter().find(|(other, _)| other == name).map(|(_, value)| value.clone());
        let words = |name: &str| -> Vec<String> {
            field(name).unwrap_or_default().split_whitespace().map(str::to_owned).collect()
        };
        let switched_off = field("enabled").is_some_and(|value| ["no", "false", "0"].contains(&value.as_str()));
        if switched_off || !words("types").iter().any(|kind| kind == "deb") {
            continue;
        }
        let uris = words("uris").join(" ");
        sources.push(Source {
            uris,
            suites: words("suites"),
            components: words("components"),
            signed_by: field("signed-by"),
        });
    }
    sources
}

#[cfg(test)]
mod tests {
    use super::*;

    const STANZAS: &str = "\
# security first, to be passed over
Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main
Signed-By: /keys/debian.gpg

Types: deb deb-src
# a remark
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: /keys/debian.gpg

Enabled: no
Types: deb
URIs: http://elsewhere.example/
Suites: bookworm-backports
Components: main
";

    #[test]
    fn a_suite_is_added_from_the_main_archive() {
        let sources = parse_stanzas(STANZAS);
        assert_eq!(archive_of(&sources, "bookworm").unwrap(), "http://mirror.example/debian");
        assert_eq!(archive_of(&sources, "trixie"), None);
        assert!(!has_suite(&sources, "bookworm-backports"), "that entry is switched off");
        assert_eq!(
            stanza_for(&sources, "bookworm", "bookworm-backports").unwrap(),
            "Types: deb\nURIs: http://mirror.example/debian\nSuites: bookworm-backports\nComponents: main\n\
             Signed-By: /keys/debian.gpg\n"
        );
    }

    #[test]
    fn the_one_line_format_is_understood() {
        let text = "# deb http://no.example/ bookworm main\n\
                    deb-src http://src.example/debian bookworm main\n\
                    deb [arch=amd64 signed-by=/keys/k.asc] http://mirror.example/debian bookworm main non-free # home\n\
                    deb http://mirror.example/debian-security bookworm-security main\n";
        let sources = parse_lines(text);
        assert_eq!(sources.len(), 2);
        let stanza = stanza_for(&sources, "bookworm", "bookworm-backports").unwrap();
        assert!(
            stanza.contains("URIs: http://mirror.example/debian\n") && stanza.ends_with("Signed-By: /keys/k.asc\n")
        );
    }

    #[test]
    fn a_key_over_several_lines_stays_whole() {
        let text = "Types: deb\nURIs: http://mirror.example/debian\nSuites: bookworm\nComponents: main\nSigned-By:\n -----BEGIN\n .\n abc\n";
        let stanza = stanza_for(&parse_stanzas(text), "bookworm", "new").unwrap();
        assert!(stanza.ends_with("Signed-By: \n -----BEGIN\n .\n abc\n"), "{stanza}");
    }

    #[test]
    fn without_a_main_entry_there_is_nothing_to_add() {
        assert_eq!(stanza_for(&parse_lines("deb http://x.example/ bookworm-updates main"), "bookworm", "new"), None);
    }
}
