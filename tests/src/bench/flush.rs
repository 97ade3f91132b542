//! What a flush costs: our device and QEMU's contrib vhost-user-gpu under the same frontend, and a plain copy of the
//! same bytes.

use super::{Row, median, row_or_why};
use crate::frontend::session::layout;
use crate::frontend::*;
use crate::programs::program;
use anyhow::{Context, Result, ensure};
use std::hint::black_box;
use std::time::Instant;

const WIDTH: u32 = 1920;
const HEIGHT: u32 = 1080;
const BYTES: usize = (WIDTH * HEIGHT * 4) as usize;
const CONTRIB: &str = "contrib vhost-user-gpu";

/// Microseconds per flush: wall clock of the driver, processor time of the device.
struct Cost {
    wall: f64,
    cpu: f64,
}

/// How many pairs of transfer and flush a burst has.
const BURST: u16 = 16;

/// Processor time of our device for each pair when a burst of them comes with one kick: the device's own work, without
/// what it costs this machine to wake a thread.
fn burst(device: &mut DeviceProcess, size: (u32, u32), bursts: u32) -> Result<f64> {
    let mut session = Session::start(device, Options::default())?;
    session.create(1, B8G8R8X8, WIDTH, HEIGHT, layout::PIXELS)?;
    ensure!(session.ask(set_scanout(0, 1, full(WIDTH, HEIGHT)))? == OK_NODATA, "no scanout");
    let part = full(size.0, size.1);
    let (copy, show) = (transfer(1, part, 0).build(), flush(1, part).build());
    let mut cpus = Vec::new();
    for round in 0..6 {
        let before = device.cpu_ns()?;
        for _ in 0..bursts {
            for pair in 0..BURST {
                session.enqueue(pair * 2, &copy, 24)?;
                session.enqueue(pair * 2 + 1, &show, 24)?;
            }
            session.control.notify()?;
            for _ in 0..BURST * 2 {
                session.control.wait(&session.memory, crate::frontend::session::ANSWER)?;
            }
        }
        if round > 0 {
            cpus.push((device.cpu_ns()? - before) as f64 / 1000.0 / f64::from(bursts) / f64::from(BURST));
        }
    }
    Ok(median(cpus))
}

/// Transfers and flushes a square or the whole picture `count` times a round; the median of five rounds.
fn measure(device: &mut DeviceProcess, size: (u32, u32), count: u32) -> Result<Cost> {
    let mut session = Session::start(device, Options::default())?;
    session.create(1, B8G8R8X8, WIDTH, HEIGHT, layout::PIXELS)?;
    ensure!(session.ask(set_scanout(0, 1, full(WIDTH, HEIGHT)))? == OK_NODATA, "no scanout");
    session.memory.write(layout::PIXELS, &vec![0x5a; BYTES])?;
    let part = full(size.0, size.1);
    let (mut walls, mut cpus) = (Vec::new(), Vec::new());
    for round in 0..6 {
        let (start, cpu) = (Instant::now(), device.cpu_ns()?);
        for _ in 0..count {
            ensure!(session.ask(transfer(1, part, 0))? == OK_NODATA);
            ensure!(session.ask(flush(1, part))? == OK_NODATA);
        }
        // The contrib device sends its pixels after its answer: a command behind them waits for that.
        session.assert_serves()?;
        if round > 0 {
            walls.push(start.elapsed().as_nanos() as f64 / 1000.0 / f64::from(count));
            cpus.push((device.cpu_ns()? - cpu) as f64 / 1000.0 / f64::from(count));
        }
    }
    Ok(Cost { wall: median(walls), cpu: median(cpus) })
}

/// Microseconds to copy a full picture once from one mapping to another.
fn plain_copy() -> f64 {
    let (from, mut to) = (vec![0x5au8; BYTES], vec![0u8; BYTES]);
    let rounds = (0..40).map(|_| {
        let start = Instant::now();
        black_box(&mut to).copy_from_slice(black_box(&from));
        start.elapsed().as_nanos() as f64 / 1000.0
    });
    median(rounds.collect())
}

/// All rows about flushes.
pub fn rows() -> Vec<Row> {
    let ours = || -> Result<(Cost, Cost, (f64, f64), f64)> {
        let bridge = program("phyllome-guest")?;
        let large = measure(&mut DeviceProcess::ours(&bridge, 1)?, (WIDTH, HEIGHT), 60)?;
        let small = measure(&mut DeviceProcess::ours(&bridge, 1)?, (64, 64), 2000)?;
        let bursts = (
            burst(&mut DeviceProcess::ours(&bridge, 1)?, (WIDTH, HEIGHT), 8)?,
            burst(&mut DeviceProcess::ours(&bridge, 1)?, (64, 64), 200)?,
        );
        Ok((large, small, bursts, copies()?))
    };
    let (large, small, bursts, copies) = match ours() {
        Ok(costs) => costs,
        Err(e) => return vec![Row::missing("flush_1080p_cpu", "us", 0.5, &format!("{e:#}"))],
    };
    let peer = DeviceProcess::contrib().and_then(|device| {
        let mut device = device.context("it is not installed (package qemu-system-common)")?;
        measure(&mut device, (WIDTH, HEIGHT), 60)
    });
    let small_peer = DeviceProcess::contrib().and_then(|device| {
        let mut device = device.context("it is not installed (package qemu-system-common)")?;
        measure(&mut device, (64, 64), 2000)
    });
    let copy = plain_copy();
    let beside = |name: &str, value: f64, peer: &Result<Cost>, pick: fn(&Cost) -> f64, goal: f64| {
        let row = match peer {
            Ok(cost) => Ok(Row::beside(name, "us", value, CONTRIB, pick(cost), goal)),
            Err(e) => Err(anyhow::anyhow!("{e:#}")),
        };
        row_or_why(name, "us", goal, row)
    };
    vec![
        beside("flush_1080p_cpu", large.cpu, &peer, |c| c.cpu, 0.5),
        beside("flush_1080p_wall", large.wall, &peer, |c| c.wall, 1.0),
        Row::beside("flush_1080p_cpu_to_copy", "us", large.cpu, "plain copy of the same bytes", copy, 1.25),
        beside("flush_64x64_cpu", small.cpu, &small_peer, |c| c.cpu, 1.0),
        beside("flush_64x64_wall", small.wall, &small_peer, |c| c.wall, 1.0),
        Row::beside(
            "flush_64x64_cpu_to_1080p",
            "us",
            bursts.1,
            "our own full flush, both 16 to a kick",
            bursts.0,
            1.0 / 50.0,
        ),
        Row::alone("flush_copies_per_pixel", "copies", copies, 1.0),
    ]
}

/// Bytes that the device copied for each byte that was damaged.
fn copies() -> Result<f64> {
    let mut device = DeviceProcess::ours(&program("phyllome-guest")?, 1)?;
    let mut session = Session::start(&mut device, Options::default())?;
    session.create(1, B8G8R8X8, WIDTH, HEIGHT, layout::PIXELS)?;
    ensure!(session.ask(set_scanout(0, 1, full(WIDTH, HEIGHT)))? == OK_NODATA);
    let mut damaged = 0.0;
    for size in [(WIDTH, HEIGHT), (64, 64), (1, HEIGHT), (WIDTH, 1)] {
        ensure!(session.ask(transfer(1, full(size.0, size.1), 0))? == OK_NODATA);
        ensure!(session.ask(flush(1, full(size.0, size.1)))? == OK_NODATA);
        damaged += f64::from(size.0) * f64::from(size.1) * 4.0;
    }
    let report = device.report()?;
    let copied = report["copied_bytes"].as_f64().context("the report has no copied_bytes")?;
    Ok(copied / damaged)
}
