//! Orders for a played guest from a benchmark or a test: lines in a FIFO that `phyllome.orders=PATH` names.
//!
//! `REPORT part X Y WIDTH HEIGHT`: shows this part of the picture in the place of all of it, as a monitor of that size
//! would; the file REPORT is there when it is shown.
//!
//! `REPORT whole|small COUNT PACE`: flushes COUNT pictures, PACE milliseconds apart or as soon as the one before is
//! presented where that is later, and writes to the file REPORT a line `FLUSHED FENCED` for each: when RESOURCE_FLUSH
//! was posted and when its fence came back, in nanoseconds of `CLOCK_MONOTONIC`. The file is there when all of them are.

use super::News;
use crate::frontend::Rect;
use anyhow::{Context, Result};
use std::fmt::Write;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::sync::mpsc::Sender;
use std::time::Duration;

/// What changes from picture to picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Everything: two whole pictures in turn, as a desktop that flips pages does.
    Whole,
    /// A square of [`SMALL`] pixels, as a cursor that blinks.
    Small,
}

/// Side of the square of [`Change::Small`], in pixels.
pub const SMALL: usize = 64;

/// One order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// The file that is there when it is carried out, and holds what was measured.
    pub report: PathBuf,
    /// What is to be done.
    pub what: What,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// Flush pictures, and measure that.
    Flush(Burst),
    /// Show a part of the picture.
    Part(Rect),
}

/// One measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Burst {
    /// What changes.
    pub change: Change,
    /// How many pictures.
    pub count: u32,
    /// Least time between two flushes.
    pub pace: Duration,
}

impl Order {
    /// Reads a line.
    pub fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_whitespace();
        let report = PathBuf::from(words.next()?);
        let kind = words.next()?;
        let mut number = || words.next()?.parse::<u32>().ok();
        let what = match kind {
            "part" => What::Part(Rect { x: number()?, y: number()?, width: number()?, height: number()? }),
            "whole" | "small" => {
                let change = if kind == "whole" { Change::Whole } else { Change::Small };
                let (count, pace) = (number()?, number()?);
                What::Flush(Burst { change, count, pace: Duration::from_millis(pace.into()) })
            }
            _ => return None,
        };
        Some(Self { report, what })
    }
}

/// Hands on every order, for as long as the guest runs. A line that is none is named on standard error.
pub fn serve(path: PathBuf, news: Sender<News>) {
    std::thread::spawn(move || {
        loop {
            // Waits for a writer.
            let Ok(orders) = File::open(&path) else {
                eprintln!("cannot read {}", path.display());
                return;
            };
            for line in BufReader::new(orders).lines().map_while(Result::ok) {
                let Some(order) = Order::parse(&line) else {
                    eprintln!("not an order: {line}");
                    continue;
                };
                if news.send(News::Order(order)).is_err() {
                    return;
                }
            }
        }
    });
}

/// Nanoseconds of `CLOCK_MONOTONIC`.
pub fn now() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}

/// Writes a report; it is never seen half.
pub fn write(path: &Path, times: &[(u64, u64)]) -> Result<()> {
    let mut text = String::new();
    for (flushed, fenced) in times {
        writeln!(text, "{flushed} {fenced}")?;
    }
    let unfinished = path.with_extension("part");
    std::fs::write(&unfinished, text).with_context(|| unfinished.display().to_string())?;
    std::fs::rename(&unfinished, path).with_context(|| path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_a_line() {
        let burst = Burst { change: Change::Whole, count: 100, pace: Duration::from_millis(37) };
        let part = Rect { x: 1, y: 2, width: 30, height: 40 };
        for (line, what) in [("/tmp/a whole 100 37", What::Flush(burst)), ("/tmp/a part 1 2 30 40", What::Part(part))] {
            assert_eq!(Order::parse(line), Some(Order { report: "/tmp/a".into(), what }));
        }
        for bad in ["", "/tmp/a", "/tmp/a large 1 1", "/tmp/a small x 1", "/tmp/a small 1", "/tmp/a part 1 2 3"] {
            assert_eq!(Order::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_report_is_whole_when_it_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report");
        write(&path, &[(1, 2), (30, 40)]).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "1 2\n30 40\n");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
