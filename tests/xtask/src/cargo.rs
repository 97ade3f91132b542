//! Calls cargo, and knows where it puts things.

use anyhow::{Context, Result, bail};
use phyllome_test_guests::repository;
use std::path::PathBuf;
use std::process::{Command, ExitStatus};

/// The cargo that runs this, in the repository.
pub fn command() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(repository());
    command
}

/// Where cargo builds.
pub fn target_dir() -> PathBuf {
    let named = std::env::var_os("CARGO_TARGET_DIR").filter(|path| !path.is_empty());
    repository().join(named.map_or_else(|| PathBuf::from("target"), PathBuf::from))
}

/// What is built apart, one after the other. Built together with the shell, phyllome-guest's Wayland client would get
/// the features that the shell's winit asks for, and with them libwayland: a C library in the process that must not
/// crash.
pub const APART: [&[&str]; 2] =
    [&["--package", "phyllome-guest-bridge"], &["--workspace", "--exclude", "phyllome-guest-bridge"]];

/// Builds with these arguments, shows cargo's own words, and fails if it fails.
pub fn build(arguments: &[&str]) -> Result<()> {
    if !run(command().arg("build").args(arguments))?.success() {
        bail!("the build failed; cargo has said why above");
    }
    Ok(())
}

/// Runs a program to its end.
pub fn run(command: &mut Command) -> Result<ExitStatus> {
    let program = command.get_program().to_string_lossy().into_owned();
    command.status().with_context(|| format!("cannot run {program}"))
}
