//! A file's text, read so that nothing a folder may hold can hurt: no pipe blocks, no device is opened, no size is
//! believed.

use crate::ConfigError;
use rustix::fs::{Mode, OFlags};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Most bytes of one file.
pub(crate) const MAX_FILE: u64 = 1024 * 1024;

/// Why a file has no text.
pub(crate) enum ReadError {
    /// There is no such file.
    Missing,
    /// Anything else.
    Bad(ConfigError),
}

/// The text of the regular file at `path`, UTF-8 and at most [`MAX_FILE`] bytes.
pub(crate) fn read_text(path: &Path) -> Result<String, ReadError> {
    let bad = |message: String| ReadError::Bad(ConfigError::of_file(path, message));
    let io_error = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => ReadError::Missing,
        _ => bad(format!("cannot be read ({error}); mend its permissions")),
    };
    // Asked before the file is opened, because opening a device can already do something; asked again of the open file,
    // because it may be another by then.
    check_regular(&std::fs::metadata(path).map_err(io_error)?).map_err(bad)?;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty()).map_err(|e| io_error(e.into()))?);
    check_regular(&file.metadata().map_err(io_error)?).map_err(bad)?;

    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(io_error)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(bad(too_large("more than 1 MiB")));
    }
    String::from_utf8(bytes).map_err(|error| {
        let bytes = error.as_bytes();
        let before = bytes.get(..error.utf8_error().valid_up_to()).unwrap_or_default();
        let mut problem = ConfigError::of_file(path, "this is not UTF-8 text; write the file in a text editor");
        problem.line = Some(1 + before.iter().filter(|b| **b == b'\n').count());
        ReadError::Bad(problem)
    })
}

fn check_regular(meta: &std::fs::Metadata) -> Result<(), String> {
    if !meta.is_file() {
        return Err("this is not a regular file; put a text file here".to_owned());
    }
    if meta.len() > MAX_FILE {
        return Err(too_large(&format!("{} bytes", meta.len())));
    }
    Ok(())
}

fn too_large(size: &str) -> String {
    format!("the file has {size} and at most 1 MiB is read; make it shorter")
}
