//! What a test executable has printed, counted: passed, failed, skipped.
//!
//! Pure. Reads the standard harness's words and our own convention: a test that cannot run here prints
//! `SKIPPED: name: reason` and returns; it counts as skipped, not as passed.

/// Counts of one executable or of all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Tests that passed.
    pub passed: usize,
    /// Names of those that failed.
    pub failed: Vec<String>,
    /// Those that were skipped, as `name: reason`.
    pub skipped: Vec<String>,
    /// Those that are left to `cargo xtask test soak`, as `name: soak PART: reason`; they are no part of the run.
    pub left: Vec<String>,
}

/// How the reason of a test begins that is left to `cargo xtask test soak`.
const SOAK: &str = "soak ";

impl Outcome {
    /// Reads the output of an executable, or of several, one after the other. Nothing if no result was printed.
    pub fn parse(output: &str) -> Option<Self> {
        let mut outcome = Self::default();
        let (mut results, mut ignored_tests) = (0, 0);
        let mut failures = 0;
        let mut in_failures = false;
        for line in output.lines() {
            if let Some((_, skip)) = line.split_once("SKIPPED: ")
                && !outcome.skipped.iter().any(|other| other == skip.trim())
            {
                outcome.skipped.push(skip.trim().to_owned());
            }
            if let Some((name, why)) = ignored(line) {
                let list = if why.starts_with(SOAK) { &mut outcome.left } else { &mut outcome.skipped };
                list.push(format!("{name}: {why}"));
                ignored_tests += usize::from(!why.starts_with(SOAK));
            }
            if line == "failures:" {
                in_failures = true;
            } else if let Some(name) = line.strip_prefix("    ").filter(|_| in_failures) {
                // The harness prints two sections of this name; in the first are the outputs, which may hold anything.
                if is_test_name(name) && !outcome.failed.iter().any(|other| other == name) {
                    outcome.failed.push(name.to_owned());
                }
            } else if line.starts_with("---- ") {
                in_failures = false;
            }
            if let Some((passed, failed)) = result(line) {
                results += 1;
                outcome.passed += passed;
                failures += failed;
                in_failures = false;
            }
        }
        // A name that was lost in other output is still a failure.
        while outcome.failed.len() < failures {
            outcome.failed.push("a test whose name was lost".to_owned());
        }
        outcome.failed.truncate(failures);
        let said = outcome.skipped.len().saturating_sub(ignored_tests);
        outcome.passed = outcome.passed.saturating_sub(said);
        (results > 0).then_some(outcome)
    }

    /// Adds another's counts.
    pub fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed.extend(other.failed);
        self.skipped.extend(other.skipped);
        self.left.extend(other.left);
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed.len(), self.skipped.len())
    }
}

fn is_test_name(text: &str) -> bool {
    !text.is_empty() && !text.contains(char::is_whitespace) || text.contains(" - ") && text.ends_with(')')
}

/// `test NAME ... ignored, REASON`
fn ignored(line: &str) -> Option<(&str, &str)> {
    let (name, verdict) = line.strip_prefix("test ")?.split_once(" ... ")?;
    let why = verdict.strip_prefix("ignored")?.trim_start_matches(", ");
    Some((name, if why.is_empty() { "marked as ignored" } else { why }))
}

/// Passed and failed of `test result: ok. 5 passed; 0 failed; …`.
fn result(line: &str) -> Option<(usize, usize)> {
    let (_, counts) = line.split_once("test result: ")?.1.split_once(". ")?;
    let count = |word: &str| {
        let part = counts.split("; ").find_map(|part| part.trim().strip_suffix(word))?;
        part.trim().parse().ok()
    };
    Some((count("passed")?, count("failed")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "
running 5 tests
test net::a ... ok
test net::b ... FAILED
test c ... ignored, needs a moon
test d ... ok
test e ... QEMU says something
ok

successes:

---- d stdout ----
SKIPPED: d: no /dev/dri

successes:
    net::a
    d
    e

failures:

---- net::b stdout ----
thread panicked:
    not a name


failures:
    net::b

test result: FAILED. 3 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s
";

    #[test]
    fn a_test_that_says_skipped_has_not_passed() {
        let outcome = Outcome::parse(OUTPUT).unwrap();
        assert_eq!(outcome.to_string(), "2 passed, 1 failed, 2 skipped");
        assert_eq!(outcome.failed, ["net::b"]);
        assert_eq!(outcome.skipped, ["c: needs a moon", "d: no /dev/dri"]);
    }

    #[test]
    fn what_is_left_to_soak_is_named_and_not_counted() {
        let output = OUTPUT.replace("needs a moon", "soak moon: a month");
        let outcome = Outcome::parse(&output).unwrap();
        assert_eq!(outcome.to_string(), "2 passed, 1 failed, 1 skipped");
        assert_eq!(outcome.left, ["c: soak moon: a month"]);
    }

    #[test]
    fn several_executables_add_up() {
        let two = format!("{OUTPUT}{}", OUTPUT.replace("net::b", "net::x").replace("no /dev/dri", "no sound"));
        assert_eq!(Outcome::parse(&two).unwrap().to_string(), "4 passed, 2 failed, 4 skipped");
    }

    #[test]
    fn without_a_result_line_there_is_no_outcome() {
        assert_eq!(Outcome::parse("running 2 tests\ntest a ... ok\n"), None);
    }

    #[test]
    fn a_failure_counts_even_if_its_name_is_lost() {
        let text = "test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1s";
        assert_eq!(Outcome::parse(text).unwrap().failed.len(), 1);
    }
}
