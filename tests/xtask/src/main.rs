//! `cargo xtask`: set up, build, test, measure and show Phyllome Shell.
//!
//! The first thing that runs on a fresh machine: it needs no system library and few crates. It installs packages only
//! in `setup`, after saying which, and ends only processes that it has started.

mod cargo;
mod count;
mod demo;
#[cfg(test)]
mod folders;
mod fuzz;
mod install;
mod messages;
mod outcome;
mod processes;
mod setup;
mod soak;
mod source;
mod stage;
mod test;
mod timing;

use anyhow::Result;
use clap::{Parser, Subcommand};
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Build, test and demo tasks of Phyllome Shell", disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Install every system package that is missing
    Setup,
    /// Open the shell with demo guests
    Demo(demo::Arguments),
    /// Run the tests
    Test(test::Arguments),
    /// Run the benchmarks
    Bench {
        /// One benchmark; all without it
        name: Option<String>,
        /// Only these, joined by commas. kms: phyllome-shell, weston, cage; gles, pixman. 3d: fps, submit, blob
        #[arg(long, value_name = "WORDS")]
        only: Option<String>,
        /// Write the rows there as JSON
        #[arg(long, value_name = "FILE")]
        json: Option<PathBuf>,
    },
    /// Install the programs, the session and systemd's user units
    Install(install::Arguments),
    /// Run one fuzz target
    Fuzz(fuzz::Arguments),
    /// Count the lines of code that are trusted, and those that a guest's connection or a key can reach
    Count,
    /// Write docs/messages.md anew, the list of every message that a person can meet
    Messages,
    /// Make the demo guests' kernel and initial RAM disk and print where they are
    Images,
}

fn main() -> ExitCode {
    let done = match Arguments::parse().task {
        Task::Setup => setup::run().map(|()| true),
        Task::Demo(arguments) => demo::run(&arguments).map(|()| true),
        Task::Test(arguments) => test::run(&arguments),
        Task::Bench { name, only, json } => bench(name, only, json),
        Task::Install(arguments) => install::run(&arguments).map(|()| true),
        Task::Fuzz(arguments) => fuzz::run(&arguments),
        Task::Count => count::run().map(|()| true),
        Task::Messages => messages::run().map(|()| true),
        Task::Images => images().map(|()| true),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn images() -> Result<()> {
    let (kernel, initrd) = (phyllome_test_guests::guest_kernel()?, phyllome_test_guests::guest_initrd()?);
    // Whoever reads may have enough after the first line.
    let _ = writeln!(std::io::stdout(), "{}\n{}", kernel.display(), initrd.display());
    Ok(())
}

fn bench(name: Option<String>, only: Option<String>, json: Option<PathBuf>) -> Result<bool> {
    setup::run_or_warn();
    let [bridge, rest] = cargo::APART;
    // The device alone is what some of them measure.
    cargo::build(&[&["--release", "--bins", "--features", "device-server"], bridge].concat())?;
    cargo::build(&[&["--release", "--bins"], rest].concat())?;
    let mut bench = std::process::Command::new(cargo::target_dir().join("release/bench"));
    bench.args(name).current_dir(phyllome_test_guests::repository());
    if let Some(only) = only {
        bench.arg("--only").arg(only);
    }
    if let Some(json) = json {
        bench.arg("--json").arg(std::path::absolute(json)?);
    }
    Ok(cargo::run(&mut bench)?.success())
}
