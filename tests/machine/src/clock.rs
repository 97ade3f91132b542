//! How fast this computer's time stamp counter runs, which is the machine's too. Linux finds that out against emulated
//! timers, and on a busy computer is wrong by a factor of five at times: all that is waited for inside is then over
//! before its time. So it is told.

/// Thousands of ticks a second; `None` where the processor has no such counter, or no quiet moment was found.
#[cfg(target_arch = "x86_64")]
pub fn kilohertz() -> Option<u64> {
    use std::arch::x86_64::_rdtsc;
    use std::time::{Duration, Instant};
    /// A reading that took longer was interrupted.
    const QUICK: Duration = Duration::from_micros(20);
    const SPAN: Duration = Duration::from_millis(50);
    let read = || {
        (0..1000).find_map(|_| {
            let before = Instant::now();
            // SAFETY: every processor of this architecture has the instruction; it only reads a register.
            let ticks = unsafe { _rdtsc() };
            (before.elapsed() < QUICK).then_some((before, ticks))
        })
    };
    let (start, first) = read()?;
    std::thread::sleep(SPAN);
    let (end, last) = read()?;
    let microseconds = u64::try_from(end.duration_since(start).as_micros()).ok()?;
    last.checked_sub(first)?.checked_mul(1000)?.checked_div(microseconds)
}

/// Thousands of ticks a second; `None`: the processor has no such counter.
#[cfg(not(target_arch = "x86_64"))]
pub fn kilohertz() -> Option<u64> {
    None
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    #[test]
    fn it_is_the_same_each_time() {
        let (first, second) = (super::kilohertz().unwrap(), super::kilohertz().unwrap());
        assert!(first.abs_diff(second) * 100 < first, "{first} and {second}");
    }
}
