//! What the kernel holds the process to by number, and what becomes of it when the host runs out of memory or it
//! crashes.
//!
//! The guest's memory is mapped here: neither it nor anything else is ever written to a core. There is no limit on the
//! number of threads, as older kernels count the user's other processes with them; seccomp allows no process beside
//! this one. Limits are only ever lowered.

use rustix::process::{Resource, Rlimit};
use std::fs;

/// How much the process may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Open descriptors.
    pub descriptors: u64,
    /// Bytes of memory of its own, and bytes of each file in memory that it makes; the guest's memory and the GPU's do
    /// not count.
    pub memory: u64,
    /// Bytes of address space with everything that is mapped; `None` for as much as there is.
    pub address_space: Option<u64>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { descriptors: 4096, memory: 8 << 30, address_space: None }
    }
}

impl Limits {
    /// All limits as the kernel takes them.
    pub fn table(self) -> impl Iterator<Item = (Resource, u64)> {
        let fixed = [
            (Resource::Core, 0),
            (Resource::Msgqueue, 0),
            (Resource::Rtprio, 0),
            (Resource::Nofile, self.descriptors),
            (Resource::Data, self.memory),
            (Resource::Fsize, self.memory),
        ];
        fixed.into_iter().chain(self.address_space.map(|bytes| (Resource::As, bytes)))
    }
}

/// When the host runs out of memory a renderer goes before a guest or the shell: there can be another.
const EXPENDABLE: i32 = 800;

/// Applies them; a sentence for each that could not be.
pub fn apply(limits: Limits) -> Vec<String> {
    let mut missing = Vec::new();
    // A file in memory that would be too large is an error to whoever enlarges it, not the end.
    // SAFETY: no handler is installed; nothing in this process has another wish for this signal.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
    for (resource, most) in limits.table() {
        let most = rustix::process::getrlimit(resource).maximum.map_or(most, |maximum| maximum.min(most));
        if let Err(error) = rustix::process::setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) }) {
            missing.push(format!("no limit on {resource:?}: {error}"));
        }
    }
    // A limit of 0 does not hold for cores that a program takes by a pipe.
    if let Err(error) = fs::write("/proc/self/coredump_filter", "0") {
        missing.push(format!("a crash may leave memory in a core: {error}"));
    }
    let score = "/proc/self/oom_score_adj";
    let now = fs::read_to_string(score).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0);
    if now < EXPENDABLE
        && let Err(error) = fs::write(score, EXPENDABLE.to_string())
    {
        missing.push(format!("it is not the first to go when memory runs out: {error}"));
    }
    missing
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_is_there_once_and_cores_are_empty() {
        let limits = Limits { address_space: Some(1 << 40), ..Limits::default() };
        let table: Vec<_> = limits.table().collect();
        assert!(table.contains(&(Resource::Core, 0)) && table.contains(&(Resource::As, 1 << 40)));
        for (at, (resource, _)) in table.iter().enumerate() {
            assert!(table.iter().skip(at + 1).all(|(other, _)| other != resource), "{resource:?}");
        }
        assert!(Limits::default().table().all(|(resource, _)| resource != Resource::As));
    }
}
