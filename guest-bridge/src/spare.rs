//! Descriptors: what a guest makes this process hold, and the last ones, which are not a guest's.
//!
//! With none left the control socket cannot be accepted, and the person could neither pause nor end a guest that hoards
//! them. The kernel gives the lowest number that is free, so a high number says that all below are taken.

use rustix::process::Resource;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

/// So many are kept for the person: connections of the shell, logs, pipes.
const RESERVE: u64 = 64;

/// Keeps a descriptor for a guest's sake, unless it is one of the last: EMFILE then, as if there were none.
pub fn keep(fd: OwnedFd) -> io::Result<OwnedFd> {
    if is_spare(fd.as_raw_fd()) { Ok(fd) } else { Err(rustix::io::Errno::MFILE.into()) }
}

/// Whether a descriptor is none of the last.
pub fn is_spare(number: RawFd) -> bool {
    is_below(number, rustix::process::getrlimit(Resource::Nofile).current)
}

fn is_below(number: RawFd, limit: Option<u64>) -> bool {
    let number = u64::try_from(number).unwrap_or(u64::MAX);
    // With a limit that small there is no reserve: something has to be possible.
    limit.is_none_or(|limit| limit <= 2 * RESERVE || number < limit - RESERVE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_numbers_are_not_a_guest_s() {
        for (number, limit, spare) in [
            (0, Some(1024), true),
            (959, Some(1024), true),
            (960, Some(1024), false),
            (1023, Some(1024), false),
            (100, Some(100), true),
            (1 << 20, None, true),
            (-1, Some(1024), false),
        ] {
            assert_eq!(is_below(number, limit), spare, "{number} of {limit:?}");
        }
        assert!(keep(std::fs::File::open("/dev/null").unwrap().into()).is_ok());
    }
}
