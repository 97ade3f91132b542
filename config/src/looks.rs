//! No two guests share a slot or look alike: what a later file asks for a second time is told apart, and said.
//!
//! Who keeps what it asked for: for slots the first by name; for texts those that are a guest's own name, then by name;
//! for colours those that a file names, then by name. A guest whose file names no colour gets a free one without a
//! word.

use crate::ConfigError;
use crate::guest::{Label, LabelColor, Pattern};
use crate::guest_file::GuestFile;
use crate::label::{self, MAX_LABEL};
use std::path::{Path, PathBuf};

/// Whether a person could take one label for the other, by what they read or by what they see.
pub fn are_alike(one: &Label, other: &Label) -> bool {
    let looks = one.pattern == other.pattern && one.color.looks_like(other.color);
    looks || label::fold(&one.text) == label::fold(&other.text)
}

type File = (PathBuf, GuestFile);

/// Changes what must be changed in `files`, which are in order of name, and reports it.
pub(crate) fn tell_apart(files: &mut [File], problems: &mut Vec<ConfigError>) {
    slots(files, problems);
    texts(files, problems);
    colors(files, problems);
}

fn problem(file: &File, line: Option<usize>, key: &str, message: String) -> ConfigError {
    let (path, guest) = file;
    ConfigError {
        path: path.clone(),
        guest: Some(guest.definition.name.clone()),
        line,
        key: Some(key.to_owned()),
        message,
    }
}

fn shown(path: &Path) -> String {
    crate::error::printable(&path.to_string_lossy())
}

fn slots(files: &mut [File], problems: &mut Vec<ConfigError>) {
    for index in 1..files.len() {
        let (before, rest) = files.split_at_mut(index);
        let Some(file) = rest.first_mut() else { continue };
        let Some(slot) = file.1.definition.slot else { continue };
        if let Some((owner, _)) = before.iter().find(|(_, other)| other.definition.slot == Some(slot)) {
            let message = format!(
                "slot {slot} is already that of {}; use another of 1 to 9, until then it has none",
                shown(owner)
            );
            problems.push(problem(file, file.1.slot_line, "slot", message));
            file.1.definition.slot = None;
        }
    }
}

/// The files' indices, those for which `first` holds before the others.
fn order(files: &[File], first: impl Fn(&GuestFile) -> bool) -> Vec<usize> {
    let (mut firsts, others): (Vec<_>, Vec<_>) = files.iter().enumerate().partition(|(_, (_, file))| first(file));
    firsts.extend(others);
    firsts.into_iter().map(|(index, _)| index).collect()
}

fn texts(files: &mut [File], problems: &mut Vec<ConfigError>) {
    let mut taken: Vec<(String, PathBuf)> = Vec::new();
    for index in order(files, |file| file.definition.label.text == file.definition.name.as_str()) {
        let Some(file) = files.get_mut(index) else { continue };
        let owner = |text: &str| taken.iter().find(|(folded, _)| *folded == label::fold(text)).map(|(_, path)| path);
        let definition = &file.1.definition;
        let mut text = definition.label.text.clone();
        if let Some(owner) = owner(&text) {
            let name = definition.name.as_str();
            let numbered = (2..).map(|n: u32| format!("{name} #{n}"));
            let mut other = std::iter::once(with_name(&text, name)).chain(numbered);
            let free = other.find(|text| taken.iter().all(|(folded, _)| *folded != label::fold(text)));
            let free = free.unwrap_or_else(|| name.to_owned());
            let message =
                format!("the text reads like that of {}; use another, until then it is “{free}”", shown(owner));
            problems.push(problem(file, file.1.text_line, "label.text", message));
            text = free;
        }
        taken.push((label::fold(&text), file.0.clone()));
        file.1.definition.label.text = text;
    }
}

/// `text (name)`, the text cut so that the whole is a label.
fn with_name(text: &str, name: &str) -> String {
    let room = MAX_LABEL.saturating_sub(name.len().saturating_add(3));
    let mut end = text.len().min(room);
    while !text.is_char_boundary(end) {
        end = end.saturating_sub(1);
    }
    format!("{} ({name})", text.get(..end).unwrap_or_default().trim_end())
}

fn colors(files: &mut [File], problems: &mut Vec<ConfigError>) {
    let mut taken: Vec<(Label, PathBuf)> = Vec::new();
    for index in order(files, |file| file.color_line.is_some()) {
        let Some(file) = files.get_mut(index) else { continue };
        let label = &file.1.definition.label;
        let owner = |color: LabelColor, pattern| {
            let alike = |(other, _): &&(Label, PathBuf)| other.pattern == pattern && other.color.looks_like(color);
            taken.iter().find(alike).map(|(_, path)| path)
        };
        let (mut color, mut pattern) = (label.color, label.pattern);
        if let Some(owner) = owner(color, pattern) {
            let given = file.1.color_line.is_some();
            let pattern_given = file.1.pattern_line.is_some();
            let mut other = if given { other_patterns(color, pattern) } else { other_colors(color, pattern) };
            let free = other.find(|(color, pattern)| {
                taken.iter().all(|(other, _)| other.pattern != *pattern || !other.color.looks_like(*color))
            });
            let line = file.1.color_line.or(file.1.pattern_line);
            match free {
                Some((c, p)) => {
                    if given || (pattern_given && p != pattern) {
                        let message = format!(
                            "colour and pattern look like those of {}; use others, until then it is {} with {}",
                            shown(owner),
                            c.name(),
                            p.name()
                        );
                        problems.push(problem(file, line, "label.color", message));
                    }
                    (color, pattern) = (c, p);
                }
                None => {
                    let message = "all 32 looks are taken, so that only the text tells it from others; use a colour of \
                                   its own as \"#rrggbb\"";
                    problems.push(problem(file, line, "label.color", message.to_owned()));
                }
            }
        }
        let label = &mut file.1.definition.label;
        (label.color, label.pattern) = (color, pattern);
        taken.push((label.clone(), file.0.clone()));
    }
}

type Looks = Box<dyn Iterator<Item = (LabelColor, Pattern)>>;

/// The same colour with other patterns, then everything else.
fn other_patterns(color: LabelColor, pattern: Pattern) -> Looks {
    Box::new(Pattern::ALL.into_iter().map(move |p| (color, p)).chain(other_colors(color, pattern)))
}

/// The same pattern with other colours, from `color` on around the table, then everything else.
fn other_colors(color: LabelColor, pattern: Pattern) -> Looks {
    let start = LabelColor::NAMED.iter().position(|named| *named == color).unwrap_or(0);
    let patterns = std::iter::once(pattern).chain(Pattern::ALL);
    Box::new(patterns.flat_map(move |p| {
        LabelColor::NAMED.into_iter().cycle().skip(start).take(LabelColor::NAMED.len()).map(move |c| (c, p))
    }))
}
