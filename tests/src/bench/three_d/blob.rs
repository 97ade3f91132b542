//! What a flush of a blob scanout costs at two sizes: guest memory that is shown as it is, driven by a played frontend
//! on the features of the generic transport.
//!
//! It runs in the KMS test machine, because it needs `/dev/udmabuf`, with the machine's time running as instructions
//! do: a microsecond is a thousand of them, whatever else this computer does. `bench --inside blob` is the program that
//! runs there.

use crate::bench::{Row, median};
use crate::frontend::session::{F_BLOB, layout};
use crate::frontend::*;
use crate::programs::program;
use anyhow::{Context, Result, ensure};
use phyllome_test_machine::{Machine, MachineOptions, Program};
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};

/// The option's value by which the program that runs inside is asked for.
pub const INSIDE: &str = "blob";
const SIZES: [(u32, u32); 2] = [(1920, 1080), (3840, 2160)];
const COUNT: u32 = 200;
const ROUNDS: usize = 5;
/// The emulated processor of a busy computer.
const LIMIT: Duration = Duration::from_secs(300);
const GOAL: f64 = 1.1;

/// Microseconds for a flush, and bytes that were copied for all.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Cost {
    wall: f64,
    cpu: f64,
    copied: f64,
}

/// Measures both sizes here.
pub fn measure() -> Result<Vec<Cost>> {
    let bridge = program("phyllome-guest")?;
    SIZES.into_iter().map(|size| measure_size(&mut DeviceProcess::ours_generic(&bridge, 1)?, size)).collect()
}

fn measure_size(device: &mut DeviceProcess, (width, height): (u32, u32)) -> Result<Cost> {
    let features = Options::default().features | F_BLOB;
    let mut session = Session::start(device, Options { features, ..Options::default() })?;
    ensure!(session.features & F_BLOB != 0, "blobs are not offered");
    let bytes = width * height * 4;
    // A driver's pages are all over its memory, so its entries are many.
    const PART: u32 = 64 << 10;
    let entry = |at: u32| (layout::PIXELS + u64::from(at), PART.min(bytes - at));
    let mut entries: Vec<(u64, u32)> = (0..bytes).step_by(PART as usize).map(entry).collect();
    let size = u64::from(bytes.next_multiple_of(4096));
    if let Some(last) = entries.last_mut() {
        last.1 = last.1.next_multiple_of(4096);
    }
    let made = session.ask(create_blob(1, size, &entries))?;
    ensure!(made == OK_NODATA, "RESOURCE_CREATE_BLOB got {made:#x}");
    let shown = session.ask(set_scanout_blob(0, 1, width, height, width * 4, 0))?;
    ensure!(shown == OK_NODATA, "SET_SCANOUT_BLOB got {shown:#x}");
    let (mut walls, mut cpus) = (Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        let (start, cpu) = (Instant::now(), device.cpu_ns()?);
        for number in 0..COUNT {
            let command = flush(1, full(width, height)).fenced(u64::from(number) + 1);
            ensure!(session.ask(command)? == OK_NODATA, "RESOURCE_FLUSH was refused");
        }
        if round > 0 {
            walls.push(start.elapsed().as_nanos() as f64 / 1000.0 / f64::from(COUNT));
            cpus.push((device.cpu_ns()? - cpu) as f64 / 1000.0 / f64::from(COUNT));
        }
    }
    let copied = device.report()?["copied_bytes"].as_f64().context("the report has no copied_bytes")?;
    Ok(Cost { wall: median(walls), cpu: median(cpus), copied })
}

fn in_machine() -> Result<Vec<Cost>> {
    let programs = ["bench", "phyllome-guest"].into_iter().map(program).collect::<Result<_>>()?;
    let options = MachineOptions { programs, cpus: 1, counted: true, seatd: false, ..MachineOptions::default() };
    let machine = Machine::boot(options).context("there is no machine")?;
    ensure!(machine.root("[ -e /dev/udmabuf ] && echo there")?.contains("there"), "the machine has no /dev/udmabuf");
    let inside = Program::new("bench", &["--inside", INSIDE]).user("root");
    let said = machine.run_within(&inside, LIMIT)?.ok()?;
    serde_json::from_str(said.trim()).with_context(|| format!("no figures: {said}"))
}

/// All rows about blobs.
pub fn rows() -> Vec<Row> {
    let costs = in_machine().and_then(|costs| <[Cost; 2]>::try_from(costs).ok().context("two sizes were asked for"));
    match costs {
        Ok([small, large]) => vec![
            Row::beside("blob_flush_4k_cpu", "us", large.cpu, "our own at 1080p", small.cpu, GOAL),
            Row::beside("blob_flush_4k_wall", "us", large.wall, "our own at 1080p", small.wall, GOAL),
            Row::alone("blob_flush_copied", "bytes", small.copied + large.copied, 0.0),
        ],
        Err(error) => vec![Row::missing("blob_flush_4k_cpu", "us", GOAL, &format!("{error:#}"))],
    }
}
