//! `cargo xtask fuzz`: one target under libFuzzer, by cargo-fuzz, with its own seeds and what the repository's corpus has.
//!
//! What it finds new goes to `target/fuzz`, inputs that fail to `tests/fuzz/artifacts`; none of it is for the
//! repository but a failing input, made small, in `tests/fuzz/corpus/TARGET`, where the tests take it from then on.

use crate::cargo;
use anyhow::{Context, Result, bail};
use std::io::Write;
use std::path::{Path, PathBuf};

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
    let found = cargo::target_dir().join("fuzz").join(target);
    std::fs::create_dir_all(&found).with_context(|| format!("the folder {} cannot be made", found.display()))?;
    let mut command = cargo::command();
    // No sanitizer: nearly all of it is safe code, and what is looked for are panics and broken promises. Coverage is
    // told by a compiler that is not a nightly only if it is told to be one.
    command.args(["fuzz", "run", "--sanitizer", "none", "--fuzz-dir"]).arg(&folder).env("RUSTC_BOOTSTRAP", "1");
    command.arg("--target-dir").arg(cargo::target_dir().join("fuzz"));
    let shell = needs_the_shell(&folder, target)?;
    command.args(["--no-default-features", "--features", if shell { "libfuzzer,shell" } else { "libfuzzer" }]);
    command.arg(target).arg(&found).args(Some(folder.join("corpus").join(target)).filter(|corpus| corpus.is_dir()));
    command.env("PHYLLOME_FUZZ_SEEDS", &found).arg("--").args(["-max_len=4096", "-timeout=20"]);
    command.args(arguments.seconds.map(|seconds| format!("-max_total_time={seconds}")));
    Ok(cargo::run(&mut command)?.success())
}

fn targets(folder: &Path) -> Result<Vec<String>> {
    let programs = folder.join("targets");
    let entries = std::fs::read_dir(&programs).with_context(|| format!("{} cannot be read", programs.display()))?;
    let files =
        entries.flatten().map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|end| end == "rs"));
    let mut names: Vec<String> = files.filter_map(name).collect();
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
    fn every_target_is_found_and_only_those_of_the_shell_need_it() {
        let folder = phyllome_test_guests::repository().join("tests/fuzz");
        let targets = targets(&folder).unwrap();
        let of_shell: Vec<_> = targets.iter().filter(|target| needs_the_shell(&folder, target).unwrap()).collect();
        assert_eq!(of_shell, ["keys", "wayland"]);
        assert!(targets.iter().any(|target| target == "gpu"), "{targets:?}");
    }
}
