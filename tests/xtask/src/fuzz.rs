//! `cargo xtask fuzz`: one target under libFuzzer, by cargo-fuzz, with its own seeds and what the repository's corpus
//! has.
//!
//! What it finds new goes to `target/fuzz/found`, inputs that fail to `tests/fuzz/artifacts`. For the repository, in
//! `tests/fuzz/corpus/TARGET`, where the tests take it from then on, are a failing input, made small, and with `--keep`
//! the few of those found that reach code which nothing else there reaches.

use crate::cargo;
use anyhow::{Context, Result, bail};
use std::collections::HashSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What is to be fuzzed.
#[derive(clap::Args)]
pub struct Arguments {
    /// The target's name
    #[arg(required_unless_present = "list")]
    target: Option<String>,
    /// Stop after so many seconds
    #[arg(long, value_name = "S")]
    seconds: Option<u64>,
    /// Only name the targets
    #[arg(long)]
    list: bool,
    /// Only build it
    #[arg(long, conflicts_with_all = ["keep", "seconds"])]
    build: bool,
    /// Put into the corpus what was found before and reaches code that nothing there reaches
    #[arg(long, conflicts_with = "seconds")]
    keep: bool,
    /// Without AddressSanitizer, which not every compiler has: twice as many inputs, and no faults of memory
    #[arg(long)]
    bare: bool,
    /// Further options for libFuzzer, after --
    #[arg(last = true)]
    options: Vec<String>,
}

/// Fuzzes, or lists. `false` if an input failed.
pub fn run(arguments: &Arguments) -> Result<bool> {
    let folder = phyllome_test_guests::repository().join("tests/fuzz");
    let targets = targets(&folder)?;
    let target = match &arguments.target {
        Some(target) if !arguments.list => target,
        _ => {
            // Whoever reads may have enough after the first line.
            let _ = writeln!(std::io::stdout(), "{}", targets.join("\n"));
            return Ok(true);
        }
    };
    if !targets.contains(target) {
        bail!("there is no fuzz target “{target}”; there are {}", targets.join(", "));
    }
    let version = cargo::command().args(["fuzz", "--version"]).output()?;
    if !version.status.success() {
        bail!("cargo-fuzz is not installed; install it with `cargo install cargo-fuzz`");
    }
    let mut command = cargo_fuzz(&folder, target, arguments)?;
    if arguments.build {
        return Ok(cargo::run(&mut command)?.success());
    }
    let corpus = folder.join("corpus").join(target);
    let found = cargo::target_dir().join("fuzz/found").join(target);
    std::fs::create_dir_all(&found).with_context(|| format!("the folder {} cannot be made", found.display()))?;
    if arguments.keep {
        return keep(command, &found, &corpus);
    }
    command.arg(&found).args(Some(corpus).filter(|corpus| corpus.is_dir()));
    command.env("PHYLLOME_FUZZ_SEEDS", &found).arg("--").args(["-max_len=4096", "-timeout=20"]);
    command.args(arguments.seconds.map(|seconds| format!("-max_total_time={seconds}"))).args(&arguments.options);
    Ok(cargo::run(&mut command)?.success())
}

/// cargo-fuzz for this target, up to the folders of inputs.
fn cargo_fuzz(folder: &Path, target: &str, arguments: &Arguments) -> Result<Command> {
    let mut command = cargo::command();
    command.args(["fuzz", if arguments.build { "build" } else { "run" }, "--fuzz-dir"]).arg(folder);
    command.args(["--sanitizer", if arguments.bare { "none" } else { "address" }]);
    // Coverage and sanitizers are there for a compiler that is not a nightly only if it is told to be one.
    command.env("RUSTC_BOOTSTRAP", "1");
    // To optimize across crates would take minutes for each target; some more inputs a second are not worth them.
    command.env("CARGO_PROFILE_RELEASE_LTO", "off").env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "2");
    let known = folder.join("leaks.txt");
    command.env("LSAN_OPTIONS", format!("print_suppressions=0:suppressions={}", known.display()));
    let built = cargo::target_dir().join(if arguments.bare { "fuzz/bare" } else { "fuzz/address" });
    command.arg("--target-dir").arg(built);
    let shell = needs_the_shell(folder, target)?;
    command.args(["--no-default-features", "--features", if shell { "libfuzzer,shell" } else { "libfuzzer" }]);
    command.arg(target);
    Ok(command)
}

/// How many places in the code an input must reach that nothing else reaches, to be kept.
const LEAST: usize = 8;

/// Puts those of `found` into the corpus that reach much which neither the seeds nor the corpus reach.
fn keep(mut command: Command, found: &Path, corpus: &Path) -> Result<bool> {
    std::fs::create_dir_all(corpus).with_context(|| format!("the folder {} cannot be made", corpus.display()))?;
    let known = tempfile::tempdir()?;
    for file in files(corpus)? {
        std::fs::copy(&file, known.path().join(file.file_name().unwrap_or_default()))?;
    }
    let merged = tempfile::NamedTempFile::new()?;
    command.arg(known.path()).arg(found).env("PHYLLOME_FUZZ_SEEDS", known.path());
    // What reaches the same code another number of times is nothing new.
    command.args(["--", "-set_cover_merge=1", "-use_counters=0", "-max_len=1024", "-timeout=20"]);
    command.arg(format!("-merge_control_file={}", merged.path().display()));
    if !cargo::run(&mut command)?.success() {
        return Ok(false);
    }
    for file in chosen(&std::fs::read_to_string(merged.path())?) {
        let kept = corpus.join(Path::new(file).file_name().unwrap_or_default());
        std::fs::copy(file, &kept).with_context(|| format!("{file} cannot be kept"))?;
        println!("{}", kept.display());
    }
    Ok(true)
}

/// Of the new inputs in what libFuzzer has written of a merge, one after the other that which reaches the most places
/// that nothing before it reaches, as long as these are [`LEAST`].
fn chosen(merged: &str) -> Vec<&str> {
    let mut lines = merged.lines();
    let mut number = || lines.next().and_then(|line| line.parse::<usize>().ok()).unwrap_or(0);
    let (count, known) = (number(), number());
    let names: Vec<&str> = lines.by_ref().take(count).collect();
    let reached = lines.filter_map(|line| {
        let mut numbers = line.strip_prefix("FT ")?.split_whitespace().filter_map(|word| word.parse::<usize>().ok());
        Some((numbers.next()?, numbers.collect::<HashSet<usize>>()))
    });
    let (old, mut new): (Vec<_>, Vec<_>) = reached.partition(|(input, _)| *input < known);
    let mut all: HashSet<usize> = old.into_iter().flat_map(|(_, places)| places).collect();
    let mut chosen = Vec::new();
    loop {
        new.iter_mut().for_each(|(_, places)| places.retain(|place| !all.contains(place)));
        let Some(most) = new.iter().map(|(_, places)| places.len()).max().filter(|most| *most >= LEAST) else { break };
        let Some(at) = new.iter().position(|(_, places)| places.len() == most) else { break };
        let (input, places) = new.remove(at);
        all.extend(places);
        chosen.extend(names.get(input).copied());
    }
    chosen
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("{} cannot be read", folder.display()))?;
    Ok(entries.flatten().map(|entry| entry.path()).collect())
}

fn targets(folder: &Path) -> Result<Vec<String>> {
    let programs = files(&folder.join("targets"))?.into_iter();
    let programs = programs.filter(|path| path.extension().is_some_and(|end| end == "rs"));
    let mut names: Vec<String> = programs.filter_map(name).collect();
    names.sort();
    Ok(names)
}

fn name(path: PathBuf) -> Option<String> {
    path.file_stem()?.to_str().map(str::to_owned)
}

/// Whether a target needs the compositor, which takes minutes to compile.
fn needs_the_shell(folder: &Path, target: &str) -> Result<bool> {
    let manifest = std::fs::read_to_string(folder.join("Cargo.toml"))?;
    let after = manifest.split_once(&format!("name = \"{target}\"\n")).map_or("", |(_, after)| after);
    let features = after.lines().find(|line| line.starts_with("required-features")).unwrap_or_default();
    Ok(features.contains("\"shell\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_reaches_the_most_that_is_new_is_kept_first_and_what_reaches_little_is_not() {
        let merged = "4\n1\nknown\nfew\nmost\nnext\nSTARTED 0 1\nFT 0 1 2 3\nCOV 0 9\nSTARTED 1 1\n\
                      FT 1 1 2 3 4 5 6 7 8 9 10\nFT 2 3 10 11 12 13 14 15 16 17 18 19\nFT 3 19 20 21 22 23 24 25 26 27\n";
        assert_eq!(chosen(merged), ["most", "next"]);
        assert!(chosen("").is_empty());
    }

    #[test]
    fn every_target_is_found_and_only_those_of_the_shell_need_it() {
        let folder = phyllome_test_guests::repository().join("tests/fuzz");
        let targets = targets(&folder).unwrap();
        let of_shell: Vec<_> = targets.iter().filter(|target| needs_the_shell(&folder, target).unwrap()).collect();
        assert_eq!(of_shell, ["keys", "wayland"]);
        assert!(targets.iter().any(|target| target == "gpu"), "{targets:?}");
    }
}
