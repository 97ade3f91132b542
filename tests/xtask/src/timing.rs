//! How long each test of an executable has taken, told by when its result comes.
//!
//! The standard harness says no times (its own are for nightly compilers only). But it starts tests in the order in
//! which it lists them, as many at once as it has threads, and another one with each result: so a test's time lies
//! between two results. Pure: whoever hears a line says when.

use std::collections::VecDeque;
use std::time::Duration;

/// So many are printed at the end of a run.
const SLOWEST: usize = 10;

/// A test and how long it has taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timed {
    /// Its name.
    pub name: String,
    /// From its start to its result.
    pub time: Duration,
}

/// Listens to one executable.
#[derive(Debug, Default)]
pub struct Times {
    threads: usize,
    waiting: VecDeque<String>,
    running: Vec<Timed>,
    /// A test whose result something else was printed before, on the same line.
    said: Option<String>,
    done: Vec<Timed>,
}

impl Times {
    /// Tests in the order in which the harness lists them, and how many it runs at once; it begins now.
    pub fn new(tests: &[String], threads: usize) -> Self {
        let mut times = Self { threads, waiting: tests.iter().cloned().collect(), ..Self::default() };
        times.start(Duration::ZERO);
        times
    }

    /// A line of the executable's output, so long after its start.
    pub fn hear(&mut self, line: &str, now: Duration) {
        let named = line.strip_prefix("test ").and_then(|rest| rest.split_once(" ... "));
        match named {
            Some((name, verdict)) if is_verdict(verdict) => self.end(name, now),
            Some((name, _)) => self.said = Some(name.to_owned()),
            None if is_verdict(line) => {
                if let Some(name) = self.said.take() {
                    self.end(&name, now);
                }
            }
            None => {}
        }
    }

    /// What is known at the end.
    pub fn done(self) -> Vec<Timed> {
        self.done
    }

    fn start(&mut self, now: Duration) {
        while self.running.len() < self.threads
            && let Some(name) = self.waiting.pop_front()
        {
            self.running.push(Timed { name, time: now });
        }
    }

    fn end(&mut self, name: &str, now: Duration) {
        let name = name.strip_suffix(" - should panic").unwrap_or(name);
        if let Some(at) = self.running.iter().position(|running| running.name == name) {
            let Timed { name, time: start } = self.running.remove(at);
            self.done.push(Timed { name, time: now.saturating_sub(start) });
        }
        self.start(now);
    }
}

fn is_verdict(words: &str) -> bool {
    words == "ok" || words == "FAILED" || words == "ignored" || words.starts_with("ignored, ")
}

/// The lines that name the slowest.
pub fn slowest(mut all: Vec<Timed>) -> Vec<String> {
    all.sort_by(|one, other| other.time.cmp(&one.time).then_with(|| one.name.cmp(&other.name)));
    all.truncate(SLOWEST);
    all.iter().map(|timed| format!("{:7.1} s  {}", timed.time.as_secs_f64(), timed.name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn times(threads: usize, tests: &[&str], lines: &[(u64, &str)]) -> Vec<(String, u64)> {
        let mut times = Times::new(&names(tests), threads);
        lines.iter().for_each(|(second, line)| times.hear(line, Duration::from_secs(*second)));
        times.done().into_iter().map(|timed| (timed.name, timed.time.as_secs())).collect()
    }

    #[test]
    fn one_after_the_other_takes_from_result_to_result() {
        let lines = [(3, "test a ... ok"), (3, "test b ... ignored, not here"), (10, "test c ... FAILED")];
        assert_eq!(times(1, &["a", "b", "c"], &lines), [("a".into(), 3), ("b".into(), 0), ("c".into(), 7)]);
    }

    #[test]
    fn at_once_each_result_lets_the_next_one_start() {
        let lines = [(2, "test b ... ok"), (5, "test a ... ok"), (6, "test c - should panic ... ok")];
        assert_eq!(times(2, &["a", "b", "c"], &lines), [("b".into(), 2), ("a".into(), 5), ("c".into(), 4)]);
    }

    #[test]
    fn words_of_others_before_a_result_do_not_hide_it() {
        let lines = [(1, "test a ... QEMU says something"), (4, "ok"), (5, "ok"), (6, "test b ... ok")];
        assert_eq!(times(1, &["a", "b"], &lines), [("a".into(), 4), ("b".into(), 2)]);
    }

    #[test]
    fn the_slowest_come_first_and_ten_are_enough() {
        let all = (0..12).map(|n| Timed { name: format!("t{n}"), time: Duration::from_millis(n * 1500) }).collect();
        let lines = slowest(all);
        assert_eq!((lines.len(), lines[0].as_str()), (10, "   16.5 s  t11"));
    }
}
