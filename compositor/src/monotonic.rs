//! The clock that events are stamped with, and the one of what the shell's thread has worked.

use std::time::Duration;

/// Milliseconds of `CLOCK_MONOTONIC`, as input events and Wayland carry them; wraps after 49 days.
pub fn now_ms() -> u32 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    (now.tv_sec as u64).wrapping_mul(1000).wrapping_add(now.tv_nsec as u64 / 1_000_000) as u32
}

/// Processor time of this thread so far.
pub fn processor_time() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0))
}
