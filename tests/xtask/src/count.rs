//! `cargo xtask count`: lines of the code that is trusted, and of all that a guest's connection or a key can reach.
//!
//! A line counts if it holds code: no comment, no blank line, no test. What is reached is a table, with a reason for
//! each entry: nobody finds out by a program what a byte of a guest's can lead to.

use crate::source::{self, Source};
use anyhow::{Context, Result};
use phyllome_test_guests::repository;

/// The crate that alone decides what a person sees and who gets keys.
const TRUSTED: &str = "compositor/trusted/src";

/// What a guest's connection or a key can reach in the shell, and how. Whatever is neither here nor in [`APART`] fails
/// a test.
const REACHED: &[(&str, &str)] = &[
    ("compositor/trusted/src", "decides what a key means and what is drawn around a guest"),
    ("compositor/src/backend", "puts a guest's buffers on the display; keys come in here"),
    ("compositor/src/bucket.rs", "counts what guests use"),
    ("compositor/src/control", "carries out what a connection of the tool's asks, which a chord can ask too"),
    ("compositor/src/descriptors.rs", "closes what guests send"),
    ("compositor/src/event_loop.rs", "hears of every connection and every device"),
    ("compositor/src/faces", "gets keys and shows guests' names and states"),
    ("compositor/src/guests", "speaks with each guest's supervisor"),
    ("compositor/src/host", "does what the computer's own keys ask, and reads its battery"),
    ("compositor/src/input", "is where keys and pointers are"),
    ("compositor/src/ledger.rs", "remembers what guests have used"),
    ("compositor/src/lib.rs", "names the others"),
    ("compositor/src/log_limit.rs", "keeps guests from filling the log"),
    ("compositor/src/monotonic.rs", "tells the time of what they say"),
    ("compositor/src/outbox.rs", "keeps what guests and tools do not take yet"),
    ("compositor/src/relay", "reads requests before the Wayland library does"),
    ("compositor/src/relay.rs", "receives all that guests and tools send, and closes what they may not"),
    ("compositor/src/outputs", "is what guests are told of displays"),
    ("compositor/src/render", "draws guests' buffers"),
    ("compositor/src/shell", "does what a chord asks"),
    ("compositor/src/state.rs", "owns the others"),
    ("compositor/src/wayland", "is spoken to by guests' processes"),
    ("guest-bridge/protocol/src", "reads what guests' supervisors say"),
];

/// What is beside them in the shell's crate and is not reached, and why.
const APART: &[(&str, &str)] =
    &[("compositor/src/bin", "starts the shell and reads its arguments; nothing of a guest's gets there")];

/// Both figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// Lines of code of the trusted crate.
    pub trusted: usize,
    /// Lines of code that are reached, the trusted ones among them.
    pub reached: usize,
}

/// Prints the figures, and what they are made of.
pub fn run() -> Result<()> {
    for (path, reason) in REACHED {
        println!("{:7}  {path}: {reason}", lines_of(path)?);
    }
    for (path, reason) in APART {
        println!("      –  {path}: {reason}");
    }
    let count = count()?;
    println!("{:7}  lines of trusted code", count.trusted);
    println!("{:7}  lines that a guest's connection or a key can reach", count.reached);
    Ok(())
}

/// Counts both.
pub fn count() -> Result<Count> {
    let reached = REACHED.iter().map(|(path, _)| lines_of(path)).sum::<Result<usize>>()?;
    Ok(Count { trusted: lines_of(TRUSTED)?, reached })
}

/// Lines of code of a file, or of all files below a folder.
fn lines_of(path: &str) -> Result<usize> {
    let (src, below) = path.split_once("/src").context("no path of a source")?;
    let src = repository().join(src).join("src");
    let below = below.trim_start_matches('/');
    Ok(source::read(&src)?.iter().filter(|source| source.path.starts_with(below)).map(Source::lines).sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A figure of the README: the number before these words.
    fn figure(readme: &str, words: &str) -> usize {
        let before = readme.split_once(words).unwrap_or_else(|| panic!("README does not say “{words}”")).0;
        let digits: String = before.trim_end().chars().rev().take_while(|c| c.is_ascii_digit() || *c == ',').collect();
        digits.chars().rev().filter(char::is_ascii_digit).collect::<String>().parse().unwrap()
    }

    #[test]
    fn the_readme_says_how_much_is_trusted_and_how_much_is_reached() {
        let readme = std::fs::read_to_string(repository().join("README.md")).unwrap();
        let count = count().unwrap();
        for (words, counted) in [("lines are trusted", count.trusted), ("lines are all that", count.reached)] {
            let said = figure(&readme, words);
            assert!(said.abs_diff(counted) * 20 <= counted, "the README says {said} {words}; there are {counted}");
        }
    }

    #[test]
    fn every_part_of_the_shell_is_reached_or_apart() {
        let known = || REACHED.iter().chain(APART).map(|(path, _)| *path);
        let gone: Vec<_> = known().filter(|path| !repository().join(path).exists()).collect();
        assert!(gone.is_empty(), "{gone:?} are in a table of count.rs and not there");
        for entry in std::fs::read_dir(repository().join("compositor/src")).unwrap() {
            let path = format!("compositor/src/{}", entry.unwrap().file_name().to_string_lossy());
            let is_test = path.ends_with("/tests");
            assert!(is_test || known().any(|other| other == path), "{path} is in no table of count.rs");
        }
    }
}
