//! The clock that events are stamped with.

/// Milliseconds of `CLOCK_MONOTONIC`, as input events and Wayland carry them; wraps after 49 days.
pub fn now_ms() -> u32 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    (now.tv_sec as u64).wrapping_mul(1000).wrapping_add(now.tv_nsec as u64 / 1_000_000) as u32
}
