//! `cargo xtask bench [NAME] [--json FILE]`: measures against peers in the same run. Several at once go into one file,
//! as a list.

use clap::Parser;
use phyllome_test_guests::Mode;
use phyllome_tests::bench::{Bench, Row, boot, flush, idle, kms, machine, table, three_d};
use std::path::PathBuf;

/// Every benchmark.
const NAMES: [&str; 3] = ["first-light", "kms", "3d"];

/// Benchmarks.
#[derive(Parser)]
struct Arguments {
    /// Which; without it, all.
    name: Option<String>,
    /// Only these, joined by commas. kms: phyllome-shell, weston, cage; gles, pixman. 3d: fps, submit, blob
    #[arg(long, value_name = "WORDS", value_delimiter = ',')]
    only: Vec<String>,
    /// Where the figures go as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// A part that this program itself runs in a machine.
    #[arg(long, hide = true)]
    inside: Option<String>,
}

fn first_light() -> anyhow::Result<Vec<Row>> {
    let (guest, text) = phyllome_tests::guest_file("still", 1, "red", Mode::Quiet, "")?;
    let cmdline = phyllome_test_guests::cmdline("still", "red", Mode::Quiet);
    let mut rows = flush::rows();
    rows.extend(boot::rows(&guest, &text, &cmdline));
    rows.extend(idle::rows(&guest, &text));
    Ok(rows)
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if let Some(part) = arguments.inside {
        anyhow::ensure!(part == three_d::blob::INSIDE, "nothing called {part} runs inside");
        println!("{}", serde_json::to_string(&three_d::blob::measure()?)?);
        return Ok(());
    }
    let asked = arguments.name.as_deref();
    let known = asked.is_none_or(|name| NAMES.contains(&name));
    anyhow::ensure!(known, "there is no benchmark {}; there are {}", asked.unwrap_or_default(), NAMES.join(", "));
    let mut benches = Vec::new();
    for name in NAMES.into_iter().filter(|name| asked.is_none_or(|asked| asked == *name)) {
        let rows = match name {
            "kms" => kms::rows(&arguments.only)?,
            "3d" => three_d::rows(&arguments.only)?,
            _ => first_light()?,
        };
        let bench = Bench { bench: name.to_owned(), machine: machine(), rows };
        print!("{}", table(&bench));
        benches.push(bench);
    }
    if let Some(path) = arguments.json {
        let text = match benches.as_slice() {
            [bench] => serde_json::to_vec_pretty(bench)?,
            benches => serde_json::to_vec_pretty(benches)?,
        };
        std::fs::write(path, text)?;
    }
    Ok(())
}
