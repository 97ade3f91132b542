//! What the programs of this workspace do alike when they start: read a size from the command line, raise the limit of
//! open descriptors, find the program that is installed beside them.
//!
//! Each answers with a value and says nothing to anybody: the sentence is the program's own. Nothing here is for a
//! guest's bytes.

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::path::PathBuf;

/// Widest and highest size of an output or a window, in pixels.
pub const MAX_SIDE: u32 = 16_384;
/// Most descriptors that a program asks for.
const WANTED: u64 = 65_536;

/// `WxH` in pixels, such as `1280x800`, 1 to [`MAX_SIDE`] each; `None` for any other text.
pub fn size(text: &str) -> Option<(u32, u32)> {
    let (width, height) = text.split_once('x')?;
    let side = |text: &str| text.parse().ok().filter(|side| (1..=MAX_SIDE).contains(side));
    Some((side(width)?, side(height)?))
}

/// Raises this process's soft limit of open descriptors to the hard one, or to 65536 if that is less. An error leaves
/// it as it was.
pub fn raise_descriptor_limit() -> Result<(), Errno> {
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.unwrap_or(WANTED).min(WANTED);
    if limit.current.is_none_or(|current| current >= wanted) {
        return Ok(());
    }
    setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: limit.maximum })
}

/// The program of this name beside the one that runs; else the name alone, which `PATH` finds.
pub fn program(name: &str) -> PathBuf {
    let beside = std::env::current_exe().ok().and_then(|me| Some(me.parent()?.join(name)));
    beside.filter(|path| path.is_file()).unwrap_or_else(|| PathBuf::from(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_two_numbers() {
        assert_eq!(size("1280x800"), Some((1280, 800)));
        assert_eq!(size("1x16384"), Some((1, MAX_SIDE)));
        for bad in ["", "x", "0x1", "1x0", "16385x1", "1x16385", "1280", "-1x5", "1280×800", "1x2x3", " 1x2"] {
            assert_eq!(size(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_limit_is_raised_and_never_lowered() {
        let before = getrlimit(Resource::Nofile);
        raise_descriptor_limit().unwrap();
        let after = getrlimit(Resource::Nofile);
        assert_eq!(after.maximum, before.maximum);
        assert!(after.current.is_none_or(|now| before.current.is_some_and(|then| now >= then)));
        assert!(after.current.is_none_or(|now| now >= after.maximum.unwrap_or(WANTED).min(WANTED)));
    }

    #[test]
    fn a_program_beside_this_one_comes_before_those_of_path() {
        let me = std::env::current_exe().unwrap();
        assert_eq!(program(me.file_name().unwrap().to_str().unwrap()), me);
        assert_eq!(program("no-such-program"), PathBuf::from("no-such-program"));
    }
}
