//! `phyllome logs NAME`: the ends of a guest's log files, made safe for a terminal. Needs no shell.

use crate::{Failure, print_line};
use phyllome_config::Places;
use phyllome_protocol::GuestName;
use phyllome_protocol::text::is_hidden;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

/// In the order in which they explain a guest's end.
const FILES: [&str; 4] = ["serial.log", "bridge.log", "start.log", "qemu.log"];
/// Most that is read of one file, in bytes.
const MAX_READ: u64 = 4 << 20;

/// Prints them.
pub fn print(name: &GuestName, lines: u32, json: bool) -> Result<(), Failure> {
    let folder = Places::from_env(None).map_err(Failure::refused)?.logs_dir(name);
    let logs: Vec<_> = FILES
        .into_iter()
        .filter_map(|file| Some((file, tail(&folder.join(file), lines as usize)?)))
        .filter(|(_, lines)| !lines.is_empty())
        .collect();
    if logs.is_empty() {
        return Err(Failure::Refused(format!(
            "{name} has no logs in {}; phyllome start {name} starts it",
            folder.display()
        )));
    }
    if json {
        let files: serde_json::Map<_, _> =
            logs.into_iter().map(|(file, lines)| (file.to_owned(), lines.into())).collect();
        print_line(&serde_json::json!({ "name": name, "folder": folder, "files": files }).to_string());
        return Ok(());
    }
    for (file, lines) in logs {
        print_line(&format!("== {}", folder.join(file).display()));
        for line in lines {
            print_line(&line);
        }
    }
    Ok(())
}

/// The last lines of a file; `None` if it cannot be read.
fn tail(path: &Path, most: usize) -> Option<Vec<String>> {
    let mut file = File::open(path).ok()?;
    let length = file.metadata().ok().filter(|meta| meta.is_file())?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(MAX_READ))).ok()?;
    let mut bytes = Vec::new();
    file.take(MAX_READ).read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let mut lines: Vec<_> = text.lines().rev().take(most).map(clean).collect();
    lines.reverse();
    Some(lines)
}

/// Without escape sequences and anything else that a terminal would act upon: a guest writes its serial log.
fn clean(line: &str) -> String {
    let mut shown = String::with_capacity(line.len());
    let mut rest = line.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\u{1b}' => skip_sequence(&mut rest),
            '\t' => shown.push(c),
            c if is_hidden(c) => {}
            c => shown.push(c),
        }
    }
    shown
}

/// Skips what follows an escape: a control sequence up to its final byte, or one character (ECMA-48, 5.4).
fn skip_sequence(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    if rest.next_if_eq(&'[').is_none() {
        rest.next();
        return;
    }
    while rest.next_if(|c| matches!(c, ' '..='?')).is_some() {}
    rest.next_if(|c| matches!(c, '@'..='~'));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_lines_are_shown() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("qemu.log");
        std::fs::write(&path, (0..100).map(|n| format!("line {n}\n")).collect::<String>()).unwrap();
        assert_eq!(tail(&path, 2).unwrap(), ["line 98", "line 99"]);
        assert_eq!(tail(dir.path(), 2), None);
    }

    #[test]
    fn what_a_guest_writes_cannot_command_the_terminal() {
        assert_eq!(clean("\u{1b}[2J\u{1b}[1;31mred\u{1b}[0m \u{1b}]0;title\u{7}x\r"), "red 0;titlex");
        assert_eq!(clean("a\u{202e}b\tc\u{9b}d"), "ab\tcd");
        assert_eq!(clean("end\u{1b}"), "end");
    }
}
