//! `cargo xtask bench [NAME] [--json FILE]`: measures against peers in the same run.

use clap::Parser;
use phyllome_test_guests::Mode;
use phyllome_tests::bench::{Bench, boot, flush, idle, machine, table};
use std::path::PathBuf;

/// Benchmarks.
#[derive(Parser)]
struct Arguments {
    /// Which; without it, all.
    name: Option<String>,
    /// Where the figures go as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let name = arguments.name.as_deref().unwrap_or("first-light");
    anyhow::ensure!(name == "first-light", "there is no benchmark {name}; there is first-light");
    let (guest, text) = phyllome_tests::guest_file("still", 1, "red", Mode::Quiet, "")?;
    let cmdline = phyllome_test_guests::cmdline("still", "red", Mode::Quiet);
    let mut rows = flush::rows();
    rows.extend(boot::rows(&guest, &text, &cmdline));
    rows.extend(idle::rows(&guest, &text));
    let bench = Bench { bench: name.to_owned(), machine: machine(), rows };
    print!("{}", table(&bench));
    if let Some(path) = arguments.json {
        std::fs::write(path, serde_json::to_vec_pretty(&bench)?)?;
    }
    Ok(())
}
