//! Why a file was not taken, in one sentence that names file, line, key and what is allowed.

use phyllome_protocol::GuestName;
use std::fmt;
use std::path::{Path, PathBuf};

/// Most characters of a file's own words in a message.
const MOST: usize = 300;

/// One problem in one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    pub(crate) path: PathBuf,
    pub(crate) guest: Option<GuestName>,
    pub(crate) line: Option<usize>,
    pub(crate) key: Option<String>,
    pub(crate) message: String,
}

impl ConfigError {
    /// The file or folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The guest whose file it is, where the file's name is a guest's name.
    pub fn guest(&self) -> Option<&GuestName> {
        self.guest.as_ref()
    }

    /// The line, counted from 1; `None` if the problem is the file itself.
    pub fn line(&self) -> Option<usize> {
        self.line
    }

    /// The key with its tables, such as `label.color` or `disk[2].path`.
    pub fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    /// What is wrong and what is allowed, without file, line and key.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// A problem of the whole file.
    pub(crate) fn of_file(path: &Path, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), guest: None, line: None, key: None, message: message.into() }
    }

    pub(crate) fn with_guest(mut self, name: &GuestName) -> Self {
        self.guest = Some(name.clone());
        self
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", printable(&self.path.to_string_lossy()))?;
        if let Some(line) = self.line {
            write!(f, ", line {line}")?;
        }
        if let Some(key) = &self.key {
            write!(f, ", {key}")?;
        }
        write!(f, ": {}", self.message)
    }
}

impl std::error::Error for ConfigError {}

/// `text` as it may stand in a one-line message.
pub(crate) fn printable(text: &str) -> String {
    phyllome_protocol::text::printable(text, MOST)
}
