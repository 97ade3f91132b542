//! Waits with deadlines: for what another process or thread does, of which nobody tells.
//!
//! Nothing here waits for a fixed time; a condition that holds is seen within a few milliseconds.

use anyhow::{Result, bail};
use std::time::{Duration, Instant};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(5);

/// Waits until the condition gives something. Its own error ends the wait; past the limit `what` is the error.
pub fn value<T>(what: &str, limit: Duration, condition: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    value_every(LOOK, what, limit, condition)
}

/// The same, with another time between two looks, where one is expensive.
pub fn value_every<T>(
    look: Duration,
    what: &str,
    limit: Duration,
    mut condition: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(value) = condition()? {
            return Ok(value);
        }
        if Instant::now() > deadline {
            bail!("{what}: not within {limit:?}");
        }
        std::thread::sleep(look);
    }
}

/// Waits until the condition holds; whether it did within the limit.
pub fn holds(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    value("", limit, || Ok(condition().then_some(()))).is_ok()
}

/// Waits until the condition holds, and panics with `what` past the limit.
#[track_caller]
pub fn until(what: &str, limit: Duration, condition: impl FnMut() -> bool) {
    assert!(holds(limit, condition), "{what}: not within {limit:?}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_ends_with_a_value_an_error_or_its_time() {
        let mut looks = 0;
        let found = value("three looks", Duration::from_secs(10), || {
            looks += 1;
            Ok((looks == 3).then_some(looks))
        });
        assert_eq!(found.unwrap(), 3);
        let failed = value::<()>("nothing", Duration::from_secs(10), || bail!("broken"));
        assert_eq!(failed.unwrap_err().to_string(), "broken");
        let late = value::<()>("never", Duration::from_millis(1), || Ok(None));
        assert_eq!(late.unwrap_err().to_string(), "never: not within 1ms");
        assert!(!holds(Duration::from_millis(1), || false));
    }
}
