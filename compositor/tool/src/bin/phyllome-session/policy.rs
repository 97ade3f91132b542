//! When the shell is brought back, and how: endings in, steps out. Pure; time is passed in.
//!
//! A crash brings the shell back at once. Too many in a minute bring it back with its list of guests and a message in
//! place of a picture, since what crashed it may be what it shows; one more in the following minute ends the session. A
//! refusal is no crash: it is passed on, unless a crash was just before it and the display may not have been given back
//! yet.

use std::fmt;
use std::time::{Duration, Instant};

/// Crashes are counted over this time, and a recovered shell has to last as long to be trusted again.
const WINDOW: Duration = Duration::from_secs(60);
/// How long after a crash a refusal is taken for the crash's after-effect (a seat or display that is not free yet).
const AFTER_EFFECT: Duration = Duration::from_secs(5);
/// Shortest pause before a refused start is tried again; it grows with the time since the crash.
const PAUSE: Duration = Duration::from_millis(100);
/// Crashes in [`WINDOW`] that bring the shell back with a message.
pub const LIMIT: usize = 3;
/// The session's own exit code when it gives up.
pub const GAVE_UP: u8 = 4;

/// The shell's exit codes that are no crashes.
const DONE: i32 = 0;
const REFUSED: i32 = 1;
const USAGE: i32 = 2;

/// How the shell ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// With this exit code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "with exit code {code}"),
            Self::Signal(signal) => write!(f, "by signal {signal}"),
        }
    }
}

/// How the shell is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// For the first time.
    First,
    /// Back to its guests after a crash.
    AfterCrash,
    /// With its list of guests and a message, after so many crashes in a minute.
    Recovered(usize),
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Start the shell, after this pause.
    Again(Start, Duration),
    /// End the session with this exit code; the sentence says why, unless the shell has.
    Finish(u8, Option<String>),
}

/// What is remembered of former endings.
#[derive(Debug)]
pub struct Policy {
    limit: usize,
    crashes: Vec<Instant>,
    start: Start,
    recovered: Option<Instant>,
}

impl Policy {
    /// Nothing has happened yet; `limit` (at least 1) crashes in a minute bring the shell back with a message.
    pub fn new(limit: usize) -> Self {
        Self { limit: limit.max(1), crashes: Vec::new(), start: Start::First, recovered: None }
    }

    /// The shell has ended by itself.
    pub fn ended(&mut self, ending: Ending, now: Instant) -> Step {
        match ending {
            Ending::Code(DONE) => Step::Finish(0, None),
            Ending::Code(code @ (REFUSED | USAGE)) => {
                let since = self.crashes.last().map(|at| now.saturating_duration_since(*at));
                match since.filter(|since| code == REFUSED && *since < AFTER_EFFECT) {
                    Some(since) => Step::Again(self.start, PAUSE.max(since / 2)),
                    None => Step::Finish(code as u8, None),
                }
            }
            Ending::Code(_) | Ending::Signal(_) => self.crashed(ending, now),
        }
    }

    fn crashed(&mut self, crash: Ending, now: Instant) -> Step {
        self.crashes.retain(|at| now.saturating_duration_since(*at) < WINDOW);
        self.crashes.push(now);
        let times = self.crashes.len();
        if self.recovered.take().is_some_and(|since| now.saturating_duration_since(since) < WINDOW) {
            let sentence = format!(
                "the shell stopped {times} times in a minute, at last {crash}, and is not started again; guests still run: log in \
                 again to see them, and see above for what the shell said"
            );
            return Step::Finish(GAVE_UP, Some(sentence));
        }
        self.start = if times < self.limit { Start::AfterCrash } else { Start::Recovered(times) };
        self.recovered = (times >= self.limit).then_some(now);
        Step::Again(self.start, Duration::ZERO)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CRASH: Ending = Ending::Signal(11);
    const AT_ONCE: Duration = Duration::ZERO;

    /// Feeds endings at seconds since the start; the steps that follow, in short.
    fn steps(limit: usize, endings: &[(f64, Ending)]) -> Vec<String> {
        let (mut policy, start) = (Policy::new(limit), Instant::now());
        let step = |(at, ending): &(f64, Ending)| match policy.ended(*ending, start + Duration::from_secs_f64(*at)) {
            Step::Again(Start::First, _) => "first".to_owned(),
            Step::Again(Start::AfterCrash, AT_ONCE) => "again".to_owned(),
            Step::Again(Start::Recovered(times), AT_ONCE) => format!("recovered {times}"),
            Step::Again(_, pause) => format!("in {} ms", pause.as_millis()),
            Step::Finish(code, why) => format!("finish {code}{}", if why.is_some() { " and say why" } else { "" }),
        };
        endings.iter().map(step).collect()
    }

    #[test]
    fn what_follows_from_each_ending() {
        use Ending::{Code, Signal};
        type Row<'a> = (&'a [(f64, Ending)], &'a [&'a str]);
        let table: &[Row] = &[
            // Endings that are no crashes are passed on at once.
            (&[(9.0, Code(0))], &["finish 0"]),
            (&[(0.1, Code(1))], &["finish 1"]),
            (&[(0.1, Code(2))], &["finish 2"]),
            // Crashes: signals, panics, failures while it ran.
            (&[(1.0, Signal(9)), (2.0, Code(0))], &["again", "finish 0"]),
            (&[(1.0, Code(101)), (2.0, Code(4))], &["again", "again"]),
            // Three in a minute, and a fourth.
            (
                &[(1.0, CRASH), (2.0, CRASH), (3.0, CRASH), (4.0, CRASH)],
                &["again", "again", "recovered 3", "finish 4 and say why"],
            ),
            (
                &[(0.0, CRASH), (30.0, CRASH), (59.9, CRASH), (119.8, CRASH)],
                &["again", "again", "recovered 3", "finish 4 and say why"],
            ),
            // The minute passes: counting begins anew.
            (&[(0.0, CRASH), (30.0, CRASH), (60.0, CRASH)], &["again", "again", "again"]),
            (
                &[(1.0, CRASH), (2.0, CRASH), (3.0, CRASH), (63.0, CRASH), (64.0, CRASH), (65.0, CRASH)],
                &["again", "again", "recovered 3", "again", "again", "recovered 3"],
            ),
            (
                &[(1.0, CRASH), (2.0, CRASH), (3.0, CRASH), (4.0, Code(0))],
                &["again", "again", "recovered 3", "finish 0"],
            ),
            // A refusal right after a crash is tried again, for some seconds; it counts as no crash.
            (
                &[(1.0, CRASH), (1.1, Code(1)), (3.0, Code(1)), (6.0, Code(1))],
                &["again", "in 100 ms", "in 1000 ms", "finish 1"],
            ),
            (
                &[(1.0, CRASH), (1.1, Code(1)), (2.0, CRASH), (2.5, CRASH)],
                &["again", "in 100 ms", "again", "recovered 3"],
            ),
            (&[(1.0, CRASH), (1.1, Code(2))], &["again", "finish 2"]),
        ];
        for (endings, expected) in table {
            assert_eq!(steps(LIMIT, endings), *expected, "{endings:?}");
        }
    }

    #[test]
    fn another_limit_moves_the_recovery() {
        let crashes: Vec<_> = (0..6).map(|second| (f64::from(second), CRASH)).collect();
        assert_eq!(steps(5, &crashes)[3..], ["again", "recovered 5", "finish 4 and say why"]);
        assert_eq!(steps(0, &crashes)[..2], ["recovered 1", "finish 4 and say why"]);
    }

    #[test]
    fn a_refusal_after_a_crash_is_tried_again_in_the_same_way() {
        let (mut policy, now) = (Policy::new(2), Instant::now());
        policy.ended(CRASH, now);
        assert_eq!(policy.ended(Ending::Code(REFUSED), now), Step::Again(Start::AfterCrash, PAUSE));
        policy.ended(CRASH, now);
        assert_eq!(policy.ended(Ending::Code(REFUSED), now), Step::Again(Start::Recovered(2), PAUSE));
    }
}
