//! Benchmarks against peers in the same run: rows for people and for scripts.

pub mod boot;
pub mod flush;
pub mod idle;
pub mod kms;
pub mod raw_qemu;
pub mod three_d;

use serde::Serialize;

/// One benchmark's result.
#[derive(Debug, Serialize)]
pub struct Bench {
    /// Its name.
    pub bench: String,
    /// The machine it ran on.
    pub machine: String,
    /// What was measured.
    pub rows: Vec<Row>,
}

/// One figure. A row with a peer has its goal on the ratio, one without on the value.
#[derive(Debug, Serialize)]
pub struct Row {
    /// What it is.
    pub name: String,
    /// The figure; none where it could not be measured.
    pub value: Option<f64>,
    /// Its unit.
    pub unit: String,
    /// Whether less is better.
    pub lower_is_better: bool,
    /// Whom it is compared with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    /// The peer's figure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer_value: Option<f64>,
    /// Ours divided by the peer's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ratio: Option<f64>,
    /// What is to be reached.
    pub goal: f64,
    /// Whether it is.
    pub met: bool,
    /// Why there is no figure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

impl Row {
    /// A figure that stands alone; less is better.
    pub fn alone(name: &str, unit: &str, value: f64, goal: f64) -> Self {
        Self {
            name: name.into(),
            value: Some(value),
            unit: unit.into(),
            lower_is_better: true,
            peer: None,
            peer_value: None,
            ratio: None,
            goal,
            met: value <= goal,
            why: None,
        }
    }

    /// A figure beside a peer's; less is better, the goal is on the ratio.
    pub fn beside(name: &str, unit: &str, value: f64, peer: &str, peer_value: f64, goal: f64) -> Self {
        let ratio = value / peer_value;
        let mut row = Self::alone(name, unit, value, goal);
        row.peer = Some(peer.into());
        row.peer_value = Some(peer_value);
        row.ratio = Some(ratio);
        row.met = ratio <= goal;
        row
    }

    /// A figure beside a peer's; more is better, the goal is on the ratio.
    pub fn more_beside(name: &str, unit: &str, value: f64, peer: &str, peer_value: f64, goal: f64) -> Self {
        let mut row = Self::beside(name, unit, value, peer, peer_value, goal);
        row.lower_is_better = false;
        row.met = row.ratio.is_some_and(|ratio| ratio >= goal);
        row
    }

    /// A figure that could not be had.
    pub fn missing(name: &str, unit: &str, goal: f64, why: &str) -> Self {
        let mut row = Self::alone(name, unit, f64::INFINITY, goal);
        row.value = None;
        row.met = false;
        row.why = Some(why.into());
        row
    }
}

/// The row, or one that says why there is none.
pub fn row_or_why(name: &str, unit: &str, goal: f64, row: anyhow::Result<Row>) -> Row {
    row.unwrap_or_else(|e| Row::missing(name, unit, goal, &format!("{e:#}")))
}

/// A name for this machine: processor and number of cores.
pub fn machine() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info
        .lines()
        .find_map(|l| l.strip_prefix("model name"))
        .map_or("unknown", |l| l.trim_start_matches([' ', '\t', ':']));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    format!("{model}, {cores} cores")
}

/// A table for people.
pub fn table(bench: &Bench) -> String {
    let mut out = format!("{} on {}\n", bench.bench, bench.machine);
    out += &format!(
        "{:<36} {:>12} {:<11} {:>12} {:>7} {:>7}  {:<5} peer\n",
        "row", "value", "unit", "peer's", "ratio", "goal", "met"
    );
    for row in &bench.rows {
        let number = |v: Option<f64>| v.map_or("-".to_owned(), |v| format!("{v:.2}"));
        out += &format!(
            "{:<36} {:>12} {:<11} {:>12} {:>7} {:>7.2}  {:<5} {} {}\n",
            row.name,
            number(row.value),
            row.unit,
            number(row.peer_value),
            number(row.ratio),
            row.goal,
            if row.met { "yes" } else { "no" },
            row.peer.as_deref().unwrap_or(""),
            row.why.as_deref().unwrap_or(""),
        );
    }
    out
}

/// The middle of some figures.
pub fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}
