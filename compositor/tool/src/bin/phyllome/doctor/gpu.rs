//! `phyllome doctor --gpu`: what the graphics at hand can do, in some ten lines that a person can send to somebody.
//!
//! phyllome-shell tries it in a process of its own and tells each finding at once; where a driver crashes or never
//! answers, what was found until then is there, and what was being tried.

use super::{Ran, run_until};
use crate::{Failure, print_line};
use phyllome_protocol::graphics::{Finding, IDS};
use phyllome_protocol::start;
use phyllome_protocol::text::printable;
use serde::Serialize;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

/// How long the whole test may take.
const LIMIT: Duration = Duration::from_secs(90);
/// Longest finding, in characters.
const MAX_WORDS: usize = 400;
/// Exit code of a program that has panicked.
const PANICKED: i32 = 101;

/// What was found, and why it is not all.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Report {
    gpu: Vec<Finding>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended: Option<String>,
}

/// Tries it and prints. Exit code 1 if it came to no end.
pub fn print(json: bool) -> Result<ExitCode, Failure> {
    let report = report(&start::program("phyllome-shell"), &["--probe-gpu"], LIMIT);
    if json {
        print_line(&serde_json::to_string_pretty(&report).map_err(Failure::refused)?);
    } else {
        lines(&report).iter().for_each(|line| {
            print_line(line);
        });
    }
    Ok(if report.ended.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn lines(report: &Report) -> Vec<String> {
    let line = |one: &Finding| format!("{:<8} {:<9} {}", one.outcome.word(), one.id, one.finding);
    report.gpu.iter().map(line).chain(report.ended.iter().map(|why| format!("{:<8} {why}", "ended"))).collect()
}

fn report(program: &Path, arguments: &[&str], limit: Duration) -> Report {
    let ran = match run_until(program, arguments, limit) {
        Ok(ran) => ran,
        Err(why) => return Report { gpu: Vec::new(), ended: Some(why) },
    };
    let said = String::from_utf8_lossy(&ran.stdout);
    let mut gpu: Vec<Finding> = Vec::new();
    for line in said.lines().take(4 * IDS.len()) {
        let Ok(found) = serde_json::from_str::<Finding>(line) else { continue };
        if IDS.contains(&found.id.as_str()) && !gpu.iter().any(|known| known.id == found.id) {
            gpu.push(Finding { finding: printable(&found.finding, MAX_WORDS), ..found });
        }
    }
    let ended = why_it_ended(&ran, &gpu);
    Report { gpu, ended }
}

/// Why not everything was tried.
fn why_it_ended(ran: &Ran, found: &[Finding]) -> Option<String> {
    let trying = IDS.iter().find(|id| !found.iter().any(|known| known.id == **id)).unwrap_or(&"end");
    let Some(status) = ran.status else {
        return Some(format!("the driver did not answer while “{trying}” was tried"));
    };
    let said = String::from_utf8_lossy(&ran.stderr);
    let last = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it said nothing").trim();
    let last = printable(last, MAX_WORDS);
    match status.code() {
        Some(0) => None,
        Some(1) => Some(last),
        Some(PANICKED) => Some(format!("phyllome-shell has a bug, which “{trying}” met; report it with: {last}")),
        _ => Some(format!("the driver crashed while “{trying}” was tried ({status}): {last}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tried(script: &str) -> Report {
        report(Path::new("/bin/sh"), &["-c", script], Duration::from_secs(20))
    }

    const CARD: &str = r#"echo '{"id": "card", "outcome": "works", "finding": "/dev/dri/card0"}'; "#;

    #[test]
    fn findings_are_lines_that_line_up() {
        let report = tried(&format!(r#"{CARD} echo '{{"id": "cursor", "outcome": "absent", "finding": "none"}}'"#));
        assert_eq!(lines(&report), ["works    card      /dev/dri/card0", "absent   cursor    none"]);
        assert_eq!(report.ended, None);
    }

    #[test]
    fn what_was_found_before_a_crash_is_there_and_what_was_tried() {
        let report = tried(&format!("{CARD} kill -SEGV $$"));
        assert_eq!(report.gpu.len(), 1);
        let why = report.ended.unwrap();
        assert!(why.starts_with("the driver crashed while “host” was tried"), "{why}");
    }

    #[test]
    fn a_driver_that_never_answers_is_said_to_be_one() {
        let script = format!("{CARD} exec sleep 60");
        let report = report(Path::new("/bin/sh"), &["-c", &script], Duration::from_secs(5));
        assert_eq!(report.gpu.len(), 1);
        assert_eq!(report.ended.as_deref(), Some("the driver did not answer while “host” was tried"));
    }

    #[test]
    fn a_bug_of_the_shells_is_not_the_drivers() {
        let why = tried(&format!("{CARD} echo 'index out of bounds' >&2; exit 101")).ended.unwrap();
        assert_eq!(why, "phyllome-shell has a bug, which “host” met; report it with: index out of bounds");
    }

    #[test]
    fn the_shells_own_sentence_is_the_reason() {
        let report = tried("echo 'seat0 has no graphics device' >&2; exit 1");
        assert_eq!(report, Report { gpu: Vec::new(), ended: Some("seat0 has no graphics device".to_owned()) });
    }

    #[test]
    fn nothing_that_is_no_finding_is_printed() {
        let report =
            tried(&format!(r#"echo nonsense; {CARD} {CARD} echo '{{"id": "x", "outcome": "works", "finding": ""}}'"#));
        assert_eq!(report.gpu.len(), 1);
    }
}
