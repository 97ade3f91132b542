//! The round trip of a SUBMIT_3D that holds one command without effect, with a fence, driven by a played frontend: what
//! each command costs, without a guest's kernel and without drawing.

use super::cpu;
use super::guest::Kind;
use super::root::Root;
use crate::bench::median;
use crate::frontend::three_d::{F_VIRGL, create_context, submit};
use crate::frontend::*;
use anyhow::{Context, Result, ensure};
use std::time::Instant;

/// `VIRGL_CCMD_NOP`. Not every device takes a stream without any command.
const NOP: u32 = 0;
const COUNT: u32 = 5000;
/// In flight at one time where they are.
const DEPTH: u16 = 32;

/// Microseconds for each.
#[derive(Clone, Copy, Debug)]
pub struct Trip {
    /// One at a time: from the kick to the answer.
    pub alone: f64,
    /// Many in flight: what each takes.
    pub many: f64,
    /// Processor time of device and renderer for each, one at a time.
    pub cpu: f64,
}

/// A device with a driver that has a context.
pub struct Rig {
    device: DeviceProcess,
    session: Session,
}

impl Rig {
    /// Starts the device in the root.
    pub fn start(root: &Root, kind: Kind) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("phyllome-device").tempdir()?;
        let command = kind.device(root, folder.path())?.context("QEMU is this device")?;
        let mut device = DeviceProcess::of(command, folder)?;
        let features = Options::default().features | F_VIRGL;
        let mut session = Session::start(&mut device, Options { features, ..Options::default() })?;
        ensure!(session.features & F_VIRGL != 0, "the device offers no 3D");
        let made = session.ask(create_context(1))?;
        ensure!(made == OK_NODATA, "CTX_CREATE got {made:#x}");
        Ok(Self { device, session })
    }

    /// A round of them.
    pub fn measure(&mut self) -> Result<Trip> {
        let mut fence = 0;
        let mut next = || {
            fence += 1;
            submit(1, &[NOP]).fenced(fence)
        };
        for _ in 0..COUNT / 10 {
            ensure!(self.session.ask(next())? == OK_NODATA, "SUBMIT_3D was refused");
        }
        let pids = [self.device.pid()];
        let before = cpu::seconds(&pids)?;
        let mut alone = Vec::new();
        for _ in 0..COUNT {
            let start = Instant::now();
            ensure!(self.session.ask(next())? == OK_NODATA, "SUBMIT_3D was refused");
            alone.push(start.elapsed().as_nanos() as f64 / 1000.0);
        }
        let cpu = (cpu::seconds(&pids)? - before) * 1e6 / f64::from(COUNT);
        let mut many = Vec::new();
        for _ in 0..COUNT / u32::from(DEPTH) {
            let start = Instant::now();
            let answers = self.session.ask_all((0..DEPTH).map(|_| next()))?;
            ensure!(answers.iter().all(|answer| *answer == OK_NODATA), "SUBMIT_3D was refused");
            many.push(start.elapsed().as_nanos() as f64 / 1000.0 / f64::from(DEPTH));
        }
        Ok(Trip { alone: median(alone), many: median(many), cpu })
    }
}
