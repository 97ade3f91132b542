//! What the programs of this workspace do alike when they start: read a size from the command line, raise the limit of
//! open descriptors, keep their memory to themselves, find the program that is installed beside them.
//!
//! Each answers with a value and says nothing to anybody: the sentence is the program's own. Nothing here is for a
//! guest's bytes.

use rustix::io::Errno;
use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};
use std::io;
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

/// Keeps what this process and those that it starts have in memory out of cores: none has a length, and one that a
/// program takes by a pipe, which knows no length, has nothing in it. To be called before [`hide_memory`], after which
/// this process may no longer say so.
pub fn leave_no_cores() -> io::Result<()> {
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    std::fs::write("/proc/self/coredump_filter", "0")
}

/// Keeps other programs of the same user from reading this process's memory, environment and descriptors, and the
/// kernel from writing a core of it. Programs that it starts are like any others.
pub fn hide_memory() -> io::Result<()> {
    Ok(set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
}

/// The program of this name beside the one that runs; else the name alone, which `PATH` finds.
pub fn program(name: &str) -> PathBuf {
    let beside = std::env::current_exe().ok().and_then(|me| Some(me.parent()?.join(name)));
    beside.filter(|path| path.is_file()).unwrap_or_else(|| PathBuf::from(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Set where a test runs in a process of its own.
    const ALONE: &str = "PHYLLOME_TEST_ALONE";

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
    fn memory_is_hidden_and_left_in_no_core() {
        // What it does cannot be undone and is to happen to no other test, so it happens in a process of its own.
        if std::env::var_os(ALONE).is_none() {
            let name = "start::tests::memory_is_hidden_and_left_in_no_core";
            let mut again = std::process::Command::new(std::env::current_exe().unwrap());
            let output = again.args([name, "--exact", "--nocapture"]).env(ALONE, "1").output().unwrap();
            let said = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success() && said.contains("1 passed"), "{output:?}");
            assert_eq!(rustix::process::dumpable_behavior(), Ok(DumpableBehavior::Dumpable));
            return;
        }
        leave_no_cores().unwrap();
        let core = getrlimit(Resource::Core);
        assert_eq!((core.current, core.maximum), (Some(0), Some(0)));
        let filter = std::fs::read_to_string("/proc/self/coredump_filter").unwrap();
        assert_eq!(filter.trim().trim_start_matches('0'), "");
        hide_memory().unwrap();
        assert_eq!(rustix::process::dumpable_behavior(), Ok(DumpableBehavior::NotDumpable));
    }

    #[test]
    fn a_program_beside_this_one_comes_before_those_of_path() {
        let me = std::env::current_exe().unwrap();
        assert_eq!(program(me.file_name().unwrap().to_str().unwrap()), me);
        assert_eq!(program("no-such-program"), PathBuf::from("no-such-program"));
    }
}
