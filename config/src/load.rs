//! Files become definitions: one guest, or a whole folder in which one bad file never hides the others.

use crate::error::printable;
use crate::guest_file::{self, GuestFile};
use crate::identity::keeps_id;
use crate::read::{ReadError, read_text};
use crate::shell::{Mention, ShellFile};
use crate::{ConfigError, GuestDefinition, GuestId, Places, ShellConfig, looks, shell};
use phyllome_protocol::GuestName;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Most guests of one folder.
const MAX_GUESTS: usize = 256;
/// Most entries of the folder that are looked at.
const MAX_ENTRIES: usize = 4096;

/// All that a config folder holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Loaded {
    /// Every guest whose file is good, those with a slot first and by slot, then by name. No two look alike.
    pub guests: Vec<GuestDefinition>,
    /// Everything that was refused or changed, one sentence each.
    pub problems: Vec<ConfigError>,
    /// The shell's settings; all defaults if its file is missing or bad.
    pub shell: ShellConfig,
}

/// Reads one guest's file, wherever it lies, as the definition of `name`.
///
/// Other guests are not looked at: slot and label are as the file says, even if [`load_all`] would tell two apart.
pub fn load_guest(path: &Path, name: &GuestName, places: &Places) -> Result<GuestDefinition, ConfigError> {
    load_file(path, name, places).map(|file| file.definition)
}

/// Reads `shell.toml` and every `guests/NAME.toml`. Never fails as a whole.
pub fn load_all(places: &Places) -> Loaded {
    let mut loaded = Loaded::default();
    let shell_file = places.shell_file();
    let mut mentions = Vec::new();
    match load_shell(&shell_file) {
        Ok(shell) => (loaded.shell, mentions) = (shell.config, shell.mentions),
        Err(problem) => loaded.problems.push(problem),
    }
    let mut files = Vec::new();
    for (name, path) in guest_files(&places.guests_dir(), &mut loaded.problems) {
        // A guest whose file is bad is known all the same: what is wrong with it is said of that file.
        mentions.retain(|mention: &Mention| mention.guest != name);
        match load_file(&path, &name, places) {
            Ok(file) => files.push((path, file)),
            Err(problem) => loaded.problems.push(problem),
        }
    }
    loaded.problems.extend(mentions.iter().map(|mention| mention.unknown(&shell_file)));
    refuse_twins(&mut files, &mut loaded.problems);
    looks::tell_apart(&mut files, &mut loaded.problems);
    loaded.guests = files.into_iter().map(|(_, file)| file.definition).collect();
    loaded.guests.sort_by(|a, b| {
        let key = |guest: &GuestDefinition| (guest.slot.is_none(), guest.slot);
        key(a).cmp(&key(b)).then_with(|| a.name.cmp(&b.name))
    });
    loaded
}

/// Of two files with one id only one is taken: the two would share an address and firmware settings.
fn refuse_twins(files: &mut Vec<(PathBuf, GuestFile)>, problems: &mut Vec<ConfigError>) {
    let ids: Vec<(GuestId, PathBuf)> =
        files.iter().filter_map(|(path, file)| Some((file.definition.id?, path.clone()))).collect();
    files.retain(|(path, file)| {
        let Some(id) = file.definition.id else { return true };
        let keeper = |(taken, other): &&(GuestId, PathBuf)| *taken == id && other != path && keeps_id(other, path);
        let Some((_, other)) = ids.iter().find(keeper) else { return true };
        problems.push(ConfigError {
            path: path.clone(),
            guest: Some(file.definition.name.clone()),
            line: file.id_line,
            key: Some("id".to_owned()),
            message: shared_id(other),
        });
        false
    });
}

/// The sentence about an id that another file has too.
pub fn shared_id(other: &Path) -> String {
    let other = printable(&other.to_string_lossy());
    format!("{other} has this id too; remove the line from the file that is the copy, and it gets an id of its own")
}

fn load_file(path: &Path, name: &GuestName, places: &Places) -> Result<GuestFile, ConfigError> {
    let text = read_text(path).map_err(|error| match error {
        ReadError::Missing => ConfigError::of_file(path, "there is no such file; make it, or choose another guest"),
        ReadError::Bad(problem) => problem,
    });
    guest_file::decode(&text.map_err(|e| e.with_guest(name))?, path, name, places)
}

fn load_shell(path: &Path) -> Result<ShellFile, ConfigError> {
    match read_text(path) {
        Ok(text) => shell::decode(&text, path),
        Err(ReadError::Missing) => Ok(ShellFile::default()),
        Err(ReadError::Bad(problem)) => Err(problem),
    }
}

/// The guests' files of `folder` in order of name.
pub(crate) fn guest_files(folder: &Path, problems: &mut Vec<ConfigError>) -> Vec<(GuestName, PathBuf)> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) => {
            if error.kind() != io::ErrorKind::NotFound {
                problems.push(ConfigError::of_file(
                    folder,
                    format!("the guests' folder cannot be read ({error}); mend its permissions"),
                ));
            }
            return Vec::new();
        }
    };
    let mut files = Vec::new();
    for (index, entry) in entries.enumerate() {
        let path = match entry {
            Ok(entry) => entry.path(),
            Err(error) => {
                problems.push(ConfigError::of_file(
                    folder,
                    format!("the guests' folder cannot be read on ({error}); mend its permissions"),
                ));
                break;
            }
        };
        if index >= MAX_ENTRIES || files.len() >= MAX_GUESTS {
            let message = format!(
                "there are too many files; move some away, until then the first {} guests found are loaded",
                files.len()
            );
            problems.push(ConfigError::of_file(folder, message));
            break;
        }
        match guest_name(&path) {
            Some(Ok(name)) => files.push((name, path)),
            Some(Err(message)) => problems.push(ConfigError::of_file(&path, message)),
            None => {}
        }
    }
    files.sort();
    problems.sort_by(|a, b| a.path().cmp(b.path()));
    files
}

/// The guest whose file this is; `None` if it is no guest's file at all.
fn guest_name(path: &Path) -> Option<Result<GuestName, String>> {
    let file_name = path.file_name()?.as_bytes();
    // Lock files that an editor leaves beside a file that is open in it.
    if file_name.starts_with(b".#") {
        return None;
    }
    let stem = OsStr::from_bytes(file_name.strip_suffix(b".toml")?);
    Some(match stem.to_str() {
        Some(stem) => GuestName::new(stem).map_err(|error| format!("the file's name is the guest's: {error}")),
        None => Err("the file's name is not UTF-8; name it after the guest, in letters and digits".to_owned()),
    })
}
