//! A guest's `id`: made once and kept in its file, so that what belongs to the guest stays with it when the file is
//! renamed.
//!
//! It is written into the file as one new line and nothing else in it is touched; a file that has changed meanwhile, or
//! that would say something else afterwards, is left as it is. The file is replaced in one step.

use crate::document::Source;
use crate::load::guest_files;
use crate::read::{ReadError, read_text};
use crate::{ConfigError, Places, guest_file};
use phyllome_protocol::GuestName;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// A guest's identity: a UUID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GuestId([u8; 16]);

impl GuestId {
    /// The id of these bytes, in the order in which it is written.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Its bytes, in the order in which it is written.
    pub fn bytes(self) -> [u8; 16] {
        self.0
    }

    /// A new one, of which the kernel promises that nobody has it.
    pub fn random() -> io::Result<Self> {
        let text = std::fs::read_to_string("/proc/sys/kernel/random/uuid")?;
        text.trim().parse().map_err(|()| io::Error::other("the kernel gives no UUID"))
    }
}

impl FromStr for GuestId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let dashes = |(at, c): (usize, char)| (c == '-') == matches!(at, 8 | 13 | 18 | 23);
        if text.len() != 36 || !text.is_ascii() || !text.char_indices().all(dashes) {
            return Err(());
        }
        let digits: String = text.chars().filter(|c| *c != '-').collect();
        // A sign would pass for a digit below.
        if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(());
        }
        u128::from_str_radix(&digits, 16).map(|number| Self(number.to_be_bytes())).map_err(drop)
    }
}

impl fmt::Display for GuestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, byte) in self.0.iter().enumerate() {
            let dash = if matches!(at, 4 | 6 | 8 | 10) { "-" } else { "" };
            write!(f, "{dash}{byte:02x}")?;
        }
        Ok(())
    }
}

/// The ids of the guests in `places`, with their names and files, in order of name. What cannot be read has none.
pub fn ids(places: &Places) -> Vec<(GuestName, PathBuf, GuestId)> {
    let id = |path: &Path| -> Option<GuestId> {
        let text = read_text(path).ok()?;
        let source = Source { path, guest: None, text: &text };
        let document = source.parse().ok()?;
        document.get_ref().get("id")?.get_ref().as_str()?.parse().ok()
    };
    let files = guest_files(&places.guests_dir(), &mut Vec::new());
    files.into_iter().filter_map(|(name, path)| Some((name, path.clone(), id(&path)?))).collect()
}

/// Whether the file at `one` keeps the id that the one at `other` has, too. What was made last is taken for the copy
/// (or changed last, where a file system does not tell); of two that were made at once, the second by name.
pub fn keeps_id(one: &Path, other: &Path) -> bool {
    let made = |path: &Path| {
        let metadata = std::fs::metadata(path).ok()?;
        metadata.created().or_else(|_| metadata.modified()).ok()
    };
    (made(one), one) < (made(other), other)
}

/// Writes `id` into the file of guest `name`, which has none. The error is one sentence.
pub fn keep_id(path: &Path, name: &GuestName, places: &Places, id: GuestId) -> Result<(), ConfigError> {
    let bad = |message: String| ConfigError::of_file(path, message).with_guest(name);
    let text = match read_text(path) {
        Ok(text) => text,
        Err(ReadError::Missing) => return Err(bad("there is no such file".into())),
        Err(ReadError::Bad(problem)) => return Err(problem),
    };
    let before = guest_file::decode(&text, path, name, places)?.definition;
    let new = with_id(&text, path, id)?;
    let after = guest_file::decode(&new, path, name, places)?.definition;
    if before.id.is_some() || after != (crate::GuestDefinition { id: Some(id), ..before }) {
        return Err(bad("its id cannot be written where it would be read again".into()));
    }
    replace(path, &text, &new).map_err(|error| bad(format!("its id cannot be written into it: {error}")))
}

/// The text with one line more, before that of the profile, which every guest has.
fn with_id(text: &str, path: &Path, id: GuestId) -> Result<String, ConfigError> {
    let source = Source { path, guest: None, text };
    let document = source.parse()?;
    let at = document.get_ref().get_key_value("profile").map_or(0, |(key, _)| key.span().start);
    let start = text.get(..at).and_then(|before| before.rfind('\n')).map_or(0, |end| end.saturating_add(1));
    let end = if text.contains("\r\n") { "\r\n" } else { "\n" };
    let (before, after) = text.split_at_checked(start).unwrap_or(("", text));
    Ok(format!(
        "{before}id = \"{id}\"  # made once: leave it here when you rename the file, and out of a copy{end}{after}"
    ))
}

/// Puts `new` in the place of a file that still holds `old`, in one step.
fn replace(path: &Path, old: &str, new: &str) -> io::Result<()> {
    // A link stays a link.
    let path = path.canonicalize()?;
    // Whoever made the file read-only wants it to stay as it is.
    let mode = OpenOptions::new().write(true).open(&path)?.metadata()?.permissions();
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".new-{}", std::process::id()));
    let beside = path.with_file_name(name);
    let written = File::create(&beside).and_then(|mut file| {
        file.set_permissions(mode)?;
        file.write_all(new.as_bytes())?;
        file.sync_all()?;
        match read_text(&path) {
            Ok(now) if now == old => std::fs::rename(&beside, &path),
            Ok(_) | Err(_) => Err(io::Error::other("it was just changed")),
        }
    });
    if written.is_err() {
        let _ = std::fs::remove_file(&beside);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_written_as_it_is_read() {
        let text = "6f0c2a5e-0001-4bcd-8eff-0123456789ab";
        assert_eq!(text.parse::<GuestId>().unwrap().to_string(), text);
        assert_eq!(text.to_uppercase().parse::<GuestId>().unwrap().to_string(), text);
        for bad in ["", "6f0c2a5e-0001-4bcd-8eff-0123456789a", "6f0c2a5e00014bcd8eff0123456789ab0000", &"-".repeat(36)]
        {
            assert_eq!(bad.parse::<GuestId>(), Err(()), "{bad}");
        }
        assert_eq!("+f0c2a5e-0001-4bcd-8eff-0123456789ab".parse::<GuestId>(), Err(()));
        assert_ne!(GuestId::random().unwrap(), GuestId::random().unwrap());
    }
}
