//! `cargo xtask messages`: every sentence that a person can meet, read out of the sources, as one list:
//! docs/messages.md.
//!
//! A sentence is a string of two words or more, outside tests and log lines. Each source file has its place in the list,
//! or is apart with a reason ([`places`]); each sentence says what to press, run or change, or is explained
//! ([`explained`]). Tests hold all of it, so that none can be forgotten. What stands on the screen is put together from
//! several strings, and so the compositor's own tests write it as it is read there (`compositor/src/shell/messages.rs`);
//! here it is only held against the sources.

mod explained;
mod places;

use crate::{cargo, source};
use anyhow::{Context, Result, ensure};
use explained::{EXPLAINED, Why};
use phyllome_test_guests::repository;
use places::{APART, CRATES, HEADLESS, INSIDE, PLACES, SCREEN};
use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::PathBuf;

/// Between these lines of the list is what the compositor's tests write.
const BEGIN: &str = "<!-- as compositor/src/shell/messages.rs writes it -->";
const END: &str = "<!-- and from here on cargo xtask messages -->";

/// What a string stands in if nobody but a developer, or who reads a log, sees it.
const UNSEEN: &[&str] = &[
    "warn!",
    "info!",
    "debug!",
    "error!",
    "trace!",
    "assert!",
    "allow",
    "deny",
    "expect",
    "command",
    "arg",
    "contains",
    "starts_with",
    "ends_with",
    "strip_prefix",
    "strip_suffix",
    "split_once",
    "says",
];

/// A string of the code.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Sentence {
    /// Its file, from the repository on.
    file: String,
    /// As it stands there, with its holes: `{name} is paused.`
    text: String,
    /// As a person is told of it: `NAME is paused.`
    shown: String,
}

/// Writes the list anew.
pub fn run() -> Result<()> {
    let mut screen = cargo::command();
    screen.args(["test", "--package", "phyllome-compositor", "--lib", "messages_of_the_screen"]);
    let written = cargo::run(screen.env("PHYLLOME_WRITE_MESSAGES", "1"))?;
    ensure!(written.success(), "what stands on the screen was not written; see above");
    let path = path();
    fs::write(&path, list()?).with_context(|| format!("cannot write {}", path.display()))
}

fn path() -> PathBuf {
    repository().join("docs/messages.md")
}

/// The part of the list that the compositor's tests write.
fn screen() -> Result<String> {
    let text = fs::read_to_string(path()).context("docs/messages.md cannot be read")?;
    let inner = text.split_once(BEGIN).and_then(|(_, rest)| rest.split_once(END));
    Ok(inner.context("docs/messages.md lacks the lines around what stands on the screen")?.0.to_owned())
}

/// The whole list.
fn list() -> Result<String> {
    let sentences = sentences()?;
    let mut text = format!("{}\n{BEGIN}{}{END}\n", places::HEAD, screen()?);
    for place in PLACES {
        write!(text, "\n## {}\n\n{}\n\n", place.heading, place.intro)?;
        let (mut told, mut file) = (BTreeSet::new(), String::new());
        for sentence in sentences.iter().filter(|sentence| listed_in(place.files, &sentence.file)) {
            if !place.headings.is_empty() && file != sentence.file {
                let heading =
                    place.headings.iter().find(|(path, _)| *path == sentence.file).map(|(_, heading)| heading);
                let heading = heading.with_context(|| format!("{} has no heading in places.rs", sentence.file))?;
                let blank = if file.is_empty() { "" } else { "\n" };
                write!(text, "{blank}### {heading}\n\n")?;
                file.clone_from(&sentence.file);
                told.clear();
            }
            let reason = match why(&sentence.text) {
                Some(Why::Part) => continue,
                Some(Why::Notice(reason)) => format!(" ({reason})"),
                None => String::new(),
            };
            if told.insert(&sentence.shown) {
                let subject = if HEADLESS.contains(&&*sentence.text) { "… " } else { "" };
                writeln!(text, "- {}{reason}", code(&format!("{subject}{}", sentence.shown)))?;
                for inner in inside(&sentence.text, &sentences) {
                    writeln!(text, "  - {}", code(&inner))?;
                }
            }
        }
    }
    Ok(text)
}

/// What may stand inside of this sentence, where that is a file's all sentences.
fn inside(whole: &str, sentences: &[Sentence]) -> Vec<String> {
    let mut told = BTreeSet::new();
    let files: Vec<&str> = INSIDE.iter().filter(|(_, other)| *other == whole).map(|(file, _)| *file).collect();
    let inner = sentences.iter().filter(|sentence| listed_in(&files, &sentence.file));
    inner
        .filter(|sentence| why(&sentence.text).is_none())
        .map(|sentence| &sentence.shown)
        .filter(|s| told.insert(*s))
        .cloned()
        .collect()
}

/// As code in Markdown.
fn code(text: &str) -> String {
    if text.contains('`') { format!("`` {text} ``") } else { format!("`{text}`") }
}

fn why(text: &str) -> Option<&'static Why> {
    EXPLAINED.iter().find(|(other, _)| *other == text).map(|(_, why)| why)
}

/// Every path that is a place of the list, or apart from it.
fn paths() -> impl Iterator<Item = &'static str> {
    let places = PLACES.iter().flat_map(|place| place.files);
    places.chain(SCREEN).copied().chain(INSIDE.iter().chain(APART).map(|(path, _)| *path))
}

/// Whether the longest path that leads to this file is one of these.
fn listed_in(files: &[&str], file: &str) -> bool {
    leading_to(file).is_some_and(|path| files.contains(&path))
}

fn leading_to(file: &str) -> Option<&'static str> {
    let leads = |path: &&str| file.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    paths().filter(leads).max_by_key(|path| path.len())
}

/// All sentences of the product.
fn sentences() -> Result<Vec<Sentence>> {
    let mut all = Vec::new();
    for krate in CRATES {
        for source in source::read(&repository().join(krate).join("src"))? {
            all.extend(sentences_of(&format!("{krate}/src/{}", source.path.display()), &source.code));
        }
    }
    Ok(all)
}

fn sentences_of(file: &str, code: &str) -> Vec<Sentence> {
    let bare = source::bare(code);
    let quotes: Vec<usize> = bare.match_indices('"').map(|(at, _)| at).collect();
    let strings = quotes.as_chunks::<2>().0.iter().filter_map(|[from, to]| {
        let (before, text) = (bare.get(..*from)?, code.get(from + 1..*to)?);
        let text = if before.ends_with(['r', '#']) { text.to_owned() } else { unescaped(text) };
        Some((before, text.split_whitespace().collect::<Vec<_>>().join(" ")))
    });
    let strings: Vec<_> = strings.collect();
    // Of constants with one name, that before it counts.
    let value = |name: &str, at: usize| {
        let named = |(before, _): &&(&str, String)| constant(before) == Some(name);
        let (earlier, later) = strings.split_at_checked(at).unwrap_or_default();
        earlier.iter().rev().find(named).or(later.iter().find(named)).map(|(_, text)| text.clone())
    };
    // A constant that fills a hole is read there.
    let fills = |before: &str| {
        let name = constant(before).map(|name| format!("{{{name}}}"));
        name.is_some_and(|hole| strings.iter().any(|(_, text)| text.contains(&hole)))
    };
    let seen = strings
        .iter()
        .enumerate()
        .filter(|(_, (before, text))| !UNSEEN.contains(&call(before)) && words(text) >= 2 && !fills(before));
    let sentence = |(at, (_, text)): (usize, &(&str, String))| Sentence {
        file: file.to_owned(),
        text: text.clone(),
        shown: filled(text, |hole| match value(hole, at) {
            Some(constant) => constant,
            None if hole.is_empty() || hole.starts_with(|c: char| c.is_ascii_digit()) => "…".to_owned(),
            None => hole.to_uppercase(),
        }),
    };
    seen.map(sentence).collect()
}

/// The name of the macro, function or attribute of which a string behind `before` is an argument.
fn call(before: &str) -> &str {
    let mut depth = 0usize;
    for (at, byte) in before.bytes().enumerate().rev() {
        match byte {
            b')' | b']' | b'}' => depth += 1,
            b'(' | b'[' | b'{' if depth > 0 => depth -= 1,
            b'(' => return last_word(&before[..at]),
            b'[' | b'{' => return "",
            _ => {}
        }
    }
    ""
}

/// The name of the constant that a string behind `before` is.
fn constant(before: &str) -> Option<&str> {
    let name = before.trim_end().strip_suffix('=')?.trim_end().strip_suffix("&str")?.trim_end().strip_suffix(':')?;
    Some(last_word(name))
}

fn last_word(text: &str) -> &str {
    let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == '!';
    text.rsplit(|c: char| !is_word(c)).next().unwrap_or_default()
}

/// What a string's source means; of escapes those that sentences have.
fn unescaped(source: &str) -> String {
    let mut text = String::new();
    let mut rest = source.chars().peekable();
    while let Some(c) = rest.next() {
        match (c, rest.peek()) {
            ('\\', Some('\n')) => while rest.next_if(|c| c.is_whitespace()).is_some() {},
            ('\\', Some('n' | 't')) => {
                rest.next();
                text.push(' ');
            }
            ('\\', Some('"' | '\\')) => text.extend(rest.next()),
            _ => text.push(c),
        }
    }
    text
}

/// The text with every hole filled; holes are given by their names.
fn filled(text: &str, fill: impl Fn(&str) -> String) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, hole, after)) = hole(rest) {
        out.push_str(before);
        let filled = fill(hole);
        // What begins with a blank of its own.
        if out.ends_with(char::is_alphanumeric) && filled.starts_with(char::is_uppercase) {
            out.push(' ');
        }
        out.push_str(&filled);
        rest = after;
    }
    out + rest
}

/// What is before the first hole, its name, and what is behind it.
fn hole(text: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = text.split_once('{')?;
    let (inner, after) = rest.split_once('}')?;
    Some((before, inner.split(':').next().unwrap_or_default(), after))
}

/// Words outside of holes.
fn words(text: &str) -> usize {
    let bare = filled(text, |_| String::new());
    bare.split_whitespace().filter(|word| word.contains(char::is_alphabetic)).count()
}

#[cfg(test)]
mod tests;
