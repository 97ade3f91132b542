//! `cargo xtask test`: builds everything once, then runs each test executable in its group.
//!
//! Groups are `unit` (each crate's own tests) and those of the end-to-end crate, told by the first word of a test
//! file's name; `soak` are long forms of some of them, in parts. Tests with real guests run few at a time, so that
//! their deadlines mean something. The last line is always `N passed, N failed, N skipped`; before it are the slowest
//! tests, and what was left out.

use crate::outcome::Outcome;
use crate::timing::{self, Timed, Times};
use crate::{cargo, setup, soak};
use anyhow::{Context, Result, bail};
use phyllome_test_guests::repository;
use phyllome_test_machine::image;
use serde_json::Value;
use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Groups in the order in which they run.
const GROUPS: [&str; 6] = ["unit", "hostile", "tp", "e2e", "gpu3d", "kms"];
/// The group that no executable is in: parts of others, with large numbers.
const SOAK: &str = "soak";
/// The longest that one executable may take.
const LIMIT: Duration = Duration::from_secs(20 * 60);
/// The same for the tests on the KMS test machine or on guests with its disk, each of which boots one.
const KMS_LIMIT: Duration = Duration::from_secs(45 * 60);

/// The task's arguments.
#[derive(clap::Args)]
pub struct Arguments {
    /// A group (unit, e2e, hostile, kms, gpu3d, tp, soak) or a part of a test's name
    filter: Option<String>,
    /// Of `soak`: one part; without it all that have not passed at this commit
    part: Option<String>,
    /// Print the tests' names and run nothing
    #[arg(long)]
    list: bool,
    /// Leave out the tests on the real-KMS machine
    #[arg(long)]
    no_kms: bool,
}

/// A test executable.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Executable {
    group: &'static str,
    title: String,
    path: PathBuf,
    folder: PathBuf,
}

/// Which tests of an executable run.
#[derive(Clone, Copy)]
enum Choice<'a> {
    /// All that are not left to `soak`.
    All,
    /// Those with this in their names.
    Named(&'a str),
    /// Exactly these, with large numbers.
    Soak(&'static soak::Part),
}

/// Runs the tests; false if one failed.
pub fn run(arguments: &Arguments) -> Result<bool> {
    let soaks = arguments.filter.as_deref() == Some(SOAK);
    let parts = match arguments.part.as_deref() {
        Some(name) if soaks => {
            vec![soak::part(name).with_context(|| format!("soak has no part “{name}”; it has {}", soak::names()))?]
        }
        Some(word) => bail!("“{word}” is one word too many; only soak has parts"),
        None => soak::PARTS.iter().collect(),
    };
    if soaks && arguments.list {
        list_parts(&parts);
        return Ok(true);
    }
    setup::run_or_warn();
    let executables = build()?;
    let (total, times) = if soaks {
        run_parts(&executables, &parts, arguments.part.is_some())?
    } else if arguments.list {
        list(&executables, arguments)?;
        return Ok(true);
    } else {
        run_groups(executables, arguments)?
    };
    println!();
    if times.len() > 1 {
        println!("the slowest:");
        timing::slowest(times).iter().for_each(|line| println!("{line}"));
    }
    total.left.iter().for_each(|left| println!("LEFT TO cargo xtask test soak: {left}"));
    total.skipped.iter().for_each(|skip| println!("SKIPPED: {skip}"));
    total.failed.iter().for_each(|name| println!("FAILED: {name}"));
    println!("{total}");
    Ok(total.failed.is_empty())
}

/// The group that is asked for, and the part of a name.
fn chosen(arguments: &Arguments) -> (Option<&'static str>, Choice<'_>) {
    let word = arguments.filter.as_deref();
    let group = GROUPS.into_iter().find(|group| word == Some(group));
    (group, word.filter(|_| group.is_none()).map_or(Choice::All, Choice::Named))
}

fn run_groups(mut executables: Vec<Executable>, arguments: &Arguments) -> Result<(Outcome, Vec<Timed>)> {
    let (group, choice) = chosen(arguments);
    executables.retain(|executable| group.is_none_or(|group| executable.group == group));
    let (mut total, mut times) = (Outcome::default(), Vec::new());
    for executable in &executables {
        let tests = executable.tests(choice)?;
        if tests.is_empty() {
            continue;
        }
        if arguments.no_kms && executable.group == "kms" {
            let skipped = tests.into_iter().map(|test| format!("{test}: left out by --no-kms")).collect();
            total.add(Outcome { skipped, ..Default::default() });
        } else if let Some(failure) = machine_is_missing(executable.group) {
            total.add(failure);
        } else {
            total.add(executable.run(choice, &tests, &mut times)?);
        }
    }
    let part = if let Choice::Named(part) = choice { Some(part) } else { None };
    if group.is_none_or(|group| group == "unit") && has_doc_examples(&repository()) {
        total.add(doc_examples(part)?);
    }
    if let (Some(part), true) = (part, total == Outcome::default()) {
        bail!("no test has “{part}” in its name");
    }
    Ok((total, times))
}

/// Runs parts of `soak`; `asked`: one that was asked for runs again although it has passed.
fn run_parts(executables: &[Executable], parts: &[&'static soak::Part], asked: bool) -> Result<(Outcome, Vec<Timed>)> {
    let commit = soak::commit();
    let (mut total, mut times) = (Outcome::default(), Vec::new());
    for part in parts {
        if !asked && soak::has_passed(part, commit.as_deref()) {
            println!("soak     {} has passed at this commit", part.name);
            continue;
        }
        let executable = executables.iter().find(|executable| executable.title == part.title);
        let executable = executable.with_context(|| format!("there is no test executable {}", part.title))?;
        println!("soak     {}: {}", part.name, part.about);
        let choice = Choice::Soak(part);
        let found = executable.tests(choice)?;
        if found.len() != part.tests.len() {
            bail!("soak {} is {:?}, and {} has {found:?} of them", part.name, part.tests, part.title);
        }
        let outcome = match machine_is_missing(executable.group) {
            Some(failure) => failure,
            None => executable.run(choice, &found, &mut times)?,
        };
        soak::note(part, commit.as_deref(), &outcome);
        total.add(outcome);
    }
    Ok((total, times))
}

fn list(executables: &[Executable], arguments: &Arguments) -> Result<()> {
    let (group, choice) = chosen(arguments);
    for executable in executables.iter().filter(|executable| group.is_none_or(|group| executable.group == group)) {
        for test in executable.tests(choice)? {
            // Whoever reads may have enough before the end.
            let _ = writeln!(std::io::stdout(), "{:8} {}: {test}", executable.group, executable.title);
        }
    }
    if matches!(choice, Choice::All) && group.is_none() {
        list_parts(&soak::PARTS.iter().collect::<Vec<_>>());
    }
    Ok(())
}

fn list_parts(parts: &[&soak::Part]) {
    for part in parts {
        let _ = writeln!(std::io::stdout(), "{SOAK:8} {}: {}", part.name, part.about);
    }
}

/// Makes the KMS test machine's image for the groups that boot it where there is none yet. A failure to is one of the
/// tests; where none can be made at all, each test says so itself.
fn machine_is_missing(group: &str) -> Option<Outcome> {
    if !["kms", "gpu3d"].contains(&group) || image::find().is_some() || image::obstacle().is_some() {
        return None;
    }
    println!("{group:8} makes the image of the KMS test machine, which takes about two minutes, once");
    let error = image::ensure().err()?;
    println!("    {error:#}");
    Some(Outcome {
        failed: vec![format!("{group}: the image of the KMS test machine cannot be made")],
        ..Default::default()
    })
}

/// Builds all programs and tests and says where the tests are.
fn build() -> Result<Vec<Executable>> {
    let mut messages = String::new();
    for part in cargo::APART {
        let mut cargo = cargo::command()
            .arg("build")
            .args(part)
            .args(["--bins", "--tests", "--message-format=json-render-diagnostics"])
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot run cargo")?;
        cargo.stdout.take().context("cargo has no output")?.read_to_string(&mut messages)?;
        if !cargo.wait()?.success() {
            bail!("the build failed; cargo has said why above");
        }
    }
    let mut executables: Vec<_> = messages.lines().filter_map(executable).collect();
    let rank = |group: &str| GROUPS.iter().position(|other| *other == group);
    executables.sort_by_key(|executable| (rank(executable.group), executable.title.clone()));
    Ok(executables)
}

/// Reads one of cargo's messages; nothing unless it is about a test executable.
fn executable(message: &str) -> Option<Executable> {
    let message: Value = serde_json::from_str(message).ok()?;
    if message["reason"] != "compiler-artifact" || message["profile"]["test"] != true {
        return None;
    }
    let path = PathBuf::from(message["executable"].as_str()?);
    let folder = Path::new(message["manifest_path"].as_str()?).parent()?.to_owned();
    let target = message["target"]["name"].as_str()?;
    let kind = message["target"]["kind"][0].as_str()?;
    let package = folder.strip_prefix(repository()).unwrap_or(&folder).display().to_string();
    let (group, title) = if kind == "test" && package == "tests" {
        (group_of(target), target.to_owned())
    } else {
        ("unit", format!("{package} ({target})"))
    };
    Some(Executable { group, title, path, folder })
}

/// `e2e` of `e2e_two_guests`.
fn group_of(target: &str) -> &'static str {
    let first = target.split(['_', '-']).next().unwrap_or(target);
    GROUPS.into_iter().find(|group| *group == first).unwrap_or("unit")
}

impl Executable {
    fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        command.current_dir(&self.folder).env("CARGO_MANIFEST_DIR", &self.folder);
        command.env("PHYLLOME_BIN_DIR", cargo::target_dir().join("debug"));
        command
    }

    /// Its arguments that make this choice.
    fn choose(&self, command: &mut Command, choice: Choice) {
        match choice {
            Choice::All => {}
            Choice::Named(part) => drop(command.arg(part)),
            Choice::Soak(part) => {
                command.args(part.tests).args(["--exact", "--include-ignored"]).env(soak::VARIABLE, "1");
            }
        }
    }

    /// Names of the tests of this choice, in the order in which they run.
    fn tests(&self, choice: Choice) -> Result<Vec<String>> {
        let mut command = self.command();
        self.choose(&mut command, choice);
        let listed = command.args(["--list", "--format", "terse"]).output();
        let listed = listed.with_context(|| format!("cannot run {}", self.path.display()))?;
        let text = String::from_utf8_lossy(&listed.stdout).into_owned();
        Ok(text.lines().filter_map(|line| line.strip_suffix(": test").map(str::to_owned)).collect())
    }

    /// Threads: all processors for pure tests, half of them where each test has guests of its own.
    fn threads(&self) -> usize {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        match self.group {
            "unit" => processors,
            "hostile" => processors.min(4),
            // Each has two emulated processors and deadlines.
            "kms" => (processors / 6).max(1),
            // Each has two emulated processors, a renderer and deadlines.
            "gpu3d" => (processors / 4).max(1),
            _ => (processors / 2).max(1),
        }
    }

    fn limit(&self, choice: Choice) -> Duration {
        match choice {
            Choice::Soak(_) => soak::LIMIT,
            _ if ["kms", "gpu3d"].contains(&self.group) => KMS_LIMIT,
            _ => LIMIT,
        }
    }

    /// Runs the tests of a choice, whose names are given, and adds how long each has taken.
    fn run(&self, choice: Choice, tests: &[String], times: &mut Vec<Timed>) -> Result<Outcome> {
        let mut command = self.command();
        self.choose(&mut command, choice);
        let threads = self.threads();
        command.arg("--show-output").arg(format!("--test-threads={threads}"));
        println!("{:8} {}", self.group, self.title);
        let start = Instant::now();
        let mut heard = Times::new(tests, threads);
        let prints = self.group != "unit";
        let (output, ended) = watch(&mut command, self.limit(choice), |line| {
            heard.hear(line, start.elapsed());
            if prints && line.starts_with("test ") && line.contains(" ... ") {
                println!("         {}", line.trim_start_matches("test "));
            }
        })?;
        let group = self.group;
        times.extend(heard.done().into_iter().map(|timed| Timed { name: format!("{group}: {}", timed.name), ..timed }));
        let outcome = match Outcome::parse(&output) {
            // Without a test harness, the exit status is the result.
            None if ended.as_deref() == Ok("") => Outcome { passed: 1, ..Default::default() },
            Some(outcome) if ended.is_ok() || !outcome.failed.is_empty() => outcome,
            parsed => {
                let mut outcome = parsed.unwrap_or_default();
                let why = ended.err().unwrap_or_default();
                outcome.failed.push(format!("{}: ended before its tests did: {why}", self.title));
                outcome
            }
        };
        if !outcome.failed.is_empty() {
            print_end(&output);
        }
        println!("         {outcome} in {:.1} s", start.elapsed().as_secs_f64());
        Ok(outcome)
    }
}

/// Runs a test executable, gives each line of its output away as it comes, and all of it at the end with how it ended.
/// A process that a test has left behind may hold the output open: once the executable has ended, it is read for a
/// moment only.
fn watch(
    command: &mut Command,
    limit: Duration,
    mut hear: impl FnMut(&str),
) -> Result<(String, Result<String, String>)> {
    const LOOK: Duration = Duration::from_millis(500);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().context("cannot run a test")?;
    let lines = lines_of(child.stdout.take().context("a test has no output")?);
    let errors = lines_of(child.stderr.take().context("a test has no error output")?);
    let deadline = Instant::now() + limit;
    let mut output = String::new();
    let mut last_words = VecDeque::new();
    let ended = loop {
        // What C libraries and child processes say is of interest after a failure only.
        last_words.extend(errors.try_iter());
        last_words.drain(..last_words.len().saturating_sub(100));
        match lines.recv_timeout(LOOK) {
            Ok(line) => {
                hear(&line);
                output.push_str(&line);
                output.push('\n');
                if Instant::now() <= deadline {
                    continue;
                }
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => std::thread::sleep(Duration::from_millis(1)),
            Err(mpsc::RecvTimeoutError::Timeout) => {}
        }
        if let Some(status) = child.try_wait()? {
            break if status.success() { Ok(String::new()) } else { Err(status.to_string()) };
        }
        if Instant::now() > deadline {
            child.kill()?;
            child.wait()?;
            break Err(format!("ended after {} minutes", limit.as_secs() / 60));
        }
    };
    if ended.is_err() {
        last_words.extend(errors.try_iter());
        last_words.iter().for_each(|line| println!("    {line}"));
    }
    Ok((output, ended))
}

/// The lines of a pipe as they come, read on a thread of its own.
fn lines_of(pipe: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
            if sender.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                return;
            }
        }
    });
    lines
}

/// Prints what a failed executable said last, from its failures on.
fn print_end(output: &str) {
    let lines: Vec<_> = output.lines().collect();
    let from = lines.iter().position(|line| *line == "failures:").unwrap_or(0).max(lines.len().saturating_sub(400));
    lines.iter().skip(from).for_each(|line| println!("    {line}"));
}

/// Whether any crate's documentation holds an example.
fn has_doc_examples(folder: &Path) -> bool {
    std::fs::read_dir(folder).into_iter().flatten().flatten().any(|entry| {
        let path = entry.path();
        let name = entry.file_name();
        if path.is_dir() {
            return name != "target" && !name.to_string_lossy().starts_with('.') && has_doc_examples(&path);
        }
        let is_source = path.extension().is_some_and(|ending| ending == "rs");
        is_source && std::fs::read_to_string(&path).is_ok_and(|text| holds_example(&text))
    })
}

/// A fence without a language is Rust, which rustdoc compiles.
fn holds_example(source: &str) -> bool {
    let mut open = false;
    source.lines().map(str::trim_start).any(|line| {
        let Some(doc) = line.strip_prefix("///").or_else(|| line.strip_prefix("//!")) else { return false };
        let Some(language) = doc.trim_start().strip_prefix("```") else { return false };
        open = !open;
        open && (language.is_empty() || language.starts_with("rust") || language.starts_with("no_run"))
    })
}

fn doc_examples(part: Option<&str>) -> Result<Outcome> {
    println!("unit     examples in the documentation");
    let mut command = cargo::command();
    command.args(["test", "--quiet", "--workspace", "--doc", "--"]).args(part);
    let (output, ended) = watch(&mut command, LIMIT, |_| {})?;
    let mut outcome = Outcome::parse(&output).unwrap_or_default();
    if let (Err(why), true) = (ended, outcome.failed.is_empty()) {
        outcome.failed.push(format!("examples in the documentation: {why}"));
    }
    if !outcome.failed.is_empty() {
        print_end(&output);
    }
    println!("         {outcome}");
    Ok(outcome)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_is_left_behind_does_not_hold_the_tests_up() {
        let start = Instant::now();
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 30 & echo $!; echo test result: ok. 1 passed\\; 0 failed\\; 0 ignored"]);
        let (output, ended) = watch(&mut command, LIMIT, |_| {}).unwrap();
        crate::processes::send("KILL", output.lines().next().unwrap().parse().unwrap());
        assert!(ended.is_ok() && start.elapsed() < Duration::from_secs(20));
        assert_eq!(Outcome::parse(&output).unwrap().passed, 1);
    }

    #[test]
    fn the_first_word_of_a_file_is_its_group() {
        assert_eq!(group_of("e2e_two_guests"), "e2e");
        assert_eq!(group_of("hostile"), "hostile");
        assert_eq!(group_of("kms"), "kms");
        assert_eq!(group_of("gpu3d-context"), "gpu3d");
        assert_eq!(group_of("protocol"), "unit");
    }

    #[test]
    fn only_test_executables_are_taken_from_cargos_messages() {
        let root = repository();
        let message = |test: bool, kind: &str| {
            format!(
                r#"{{"reason":"compiler-artifact","manifest_path":"{}/tests/Cargo.toml","executable":"/t/e2e-1",
                "target":{{"name":"e2e_boot","kind":["{kind}"]}},"profile":{{"test":{test}}}}}"#,
                root.display()
            )
        };
        let found = executable(&message(true, "test")).unwrap();
        assert_eq!((found.group, found.title.as_str(), found.folder), ("e2e", "e2e_boot", root.join("tests")));
        assert_eq!(executable(&message(true, "lib")).unwrap().group, "unit");
        assert_eq!(executable(&message(false, "bin")), None);
        assert_eq!(executable("{\"reason\":\"build-finished\"}"), None);
    }

    #[test]
    fn only_a_fence_of_rust_is_an_example() {
        assert!(holds_example("/// ```\n/// let a = 1;\n/// ```\n"));
        assert!(!holds_example("//! ```text\n//! a → b\n//! ```\n"));
        assert!(!holds_example("let text = \"```\";"));
    }
}
