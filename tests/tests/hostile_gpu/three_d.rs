//! A hostile guest against 3D: every class of bad input that contexts, 3D resources and command streams can meet. After
//! each the device still serves 2D and 3D, the guest got the specified error, its class was counted, and nothing has
//! grown.
//!
//! The device is ours with its own renderer process and the virglrenderer of the host.

mod deaths;
mod fences;
mod floods;
mod pictures;
mod refusals;
mod streams;

use anyhow::{Context, Result, bail, ensure};
use phyllome_test_support::process::{descriptors, rss_anon_kib};
use phyllome_test_support::wait;
use phyllome_tests::frontend::session::layout;
use phyllome_tests::frontend::three_d::*;
use phyllome_tests::frontend::*;
use phyllome_tests::programs::program;
use std::time::{Duration, Instant};

const PIXELS: u64 = layout::PIXELS;
/// Where [`Rig::serves`] reads pixels back to; no test's own.
const PROOF: u64 = 0x60_0000;
/// Its context and texture.
const PROOF_ID: u32 = 0x00ff_0000;
/// How long something may take that happens after an answer.
const SOON: Duration = Duration::from_secs(20);

/// A guest with 3D.
struct Rig {
    device: DeviceProcess,
    session: Session,
    proofs: u8,
}

impl Rig {
    fn new() -> Result<Self> {
        let mut device = DeviceProcess::ours_with_3d(&program("phyllome-guest")?, 2)?;
        let features = Options::default().features | F_VIRGL;
        let session = Session::start(&mut device, Options { features, ..Options::default() })?;
        ensure!(session.features & F_VIRGL != 0, "VIRGL is not offered; is virglrenderer installed?");
        let mut rig = Self { device, session, proofs: 0 };
        rig.serves()?;
        Ok(rig)
    }

    fn ask(&mut self, request: Bytes) -> Result<u32> {
        self.session.ask(request)
    }

    fn expect(&mut self, what: &str, request: Bytes, status: u32) -> Result<()> {
        let got = self.ask(request)?;
        ensure!(got == status, "{what}: got {got:#x}, not {status:#x}");
        Ok(())
    }

    fn ok(&mut self, request: Bytes) -> Result<()> {
        let kind = response_type(&request.0);
        self.expect(&format!("command {kind:#x}"), request, OK_NODATA)
    }

    /// Every command in turn gets the error beside it, which counts in `class`; then the device serves.
    fn refuses(&mut self, class: &str, cases: impl IntoIterator<Item = (&'static str, Bytes, u32)>) -> Result<()> {
        let before = self.counted(class)?;
        let mut count = 0;
        for (what, request, status) in cases {
            self.expect(what, request, status)?;
            count += 1;
        }
        self.until(&format!("{count} more of {class}"), |rig| Ok(rig.counted(class)? >= before + count))?;
        self.serves()
    }

    /// How often bad input of a class came.
    fn counted(&mut self, class: &str) -> Result<u64> {
        Ok(self.device.report()?["gpu"]["errors"][class].as_u64().unwrap_or(0))
    }

    fn until(&mut self, what: &str, condition: impl Fn(&mut Self) -> Result<bool>) -> Result<()> {
        let held = wait::value(what, SOON, || Ok(condition(self)?.then_some(())));
        held.with_context(|| format!("the device reports {:?}", self.device.report()))
    }

    /// A texture with backing of its own size.
    fn texture(&mut self, id: u32, width: u32, height: u32, at: u64) -> Result<()> {
        self.ok(create_3d(id, texture(width, height)))?;
        self.ok(attach_backing(id, &[(at, width * height * 4)]))
    }

    /// A context that may use these resources.
    fn context(&mut self, id: u32, resources: &[u32]) -> Result<()> {
        self.ok(create_context(id))?;
        resources.iter().try_for_each(|&resource| self.ok(context_attach(id, resource)))
    }

    /// 2D answers, and a fresh context clears a texture to a colour of its own, which is read back.
    fn serves(&mut self) -> Result<()> {
        ensure!(self.device.is_alive(), "the device died");
        self.session.assert_serves()?;
        self.proofs = self.proofs.wrapping_add(1);
        let colour = [self.proofs, !self.proofs, 77, 255];
        self.session.memory.write(PROOF, &[0; 8 * 8 * 4])?;
        self.texture(PROOF_ID, 8, 8, PROOF)?;
        self.context(PROOF_ID, &[PROOF_ID])?;
        self.ok(submit(PROOF_ID, &clear(1, PROOF_ID, colour)).fenced(1))?;
        self.ok(transfer_from(PROOF_ID, PROOF_ID, whole(8, 8)).fenced(2))?;
        let [r, g, b, a] = colour;
        let pixels = self.session.memory.read(PROOF, 8 * 8 * 4)?;
        ensure!(pixels.chunks(4).all(|pixel| pixel == [b, g, r, a]), "cleared to {colour:?}: {:?}", &pixels[..8]);
        self.ok(destroy_context(PROOF_ID))?;
        self.ok(unref(PROOF_ID))
    }

    /// The same after something that may have ended the renderer, whose death may come to light only with the next
    /// command.
    fn recovers(&mut self) -> Result<()> {
        if self.serves().is_ok() {
            return Ok(());
        }
        self.ask(destroy_context(PROOF_ID))?;
        self.ask(unref(PROOF_ID))?;
        self.serves()
    }

    fn renderer(&mut self) -> Result<Option<u32>> {
        Ok(self.device.report()?["gpu"]["renderer_pid"].as_u64().and_then(|pid| u32::try_from(pid).ok()))
    }

    fn restarts(&mut self) -> Result<u64> {
        Ok(self.device.report()?["gpu"]["renderer_restarts"].as_u64().unwrap_or(0))
    }

    /// Ends the renderer; waits until the device knows.
    fn kill_renderer(&mut self) -> Result<()> {
        let pid = self.renderer()?.context("there is no renderer")?;
        let id = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw).context("no process id")?;
        rustix::process::kill_process(id, rustix::process::Signal::KILL)?;
        self.until("the renderer's death", |rig| Ok(rig.renderer()? != Some(pid)))
    }

    /// Memory and descriptors of the device and its renderer.
    fn used(&mut self) -> Result<Used> {
        let renderer = self.renderer()?.context("there is no renderer")?;
        Ok(Used {
            device: (self.device.rss_anon_kib()?, self.device.descriptors()?),
            renderer: (rss_anon_kib(renderer)?, descriptors(renderer)?),
        })
    }

    /// Waits until no more is used than before, but for what allocators keep.
    fn has_not_grown(&mut self, before: Used) -> Result<()> {
        self.has_grown_at_most(before, (1024, 16384))
    }

    /// The same with how many KiB allocators may keep of the device and the renderer.
    fn has_grown_at_most(&mut self, before: Used, (device, renderer): (u64, u64)) -> Result<()> {
        let fits = |now: (u64, usize), then: (u64, usize), more| now.0 <= then.0 + more && now.1 <= then.1;
        self.until(&format!("as much as {before:?}"), |rig| {
            let now = rig.used()?;
            let small = fits(now.device, before.device, device) && fits(now.renderer, before.renderer, renderer);
            if !small {
                // The last to be asked for may still be on its way back.
                rig.session.assert_serves()?;
            }
            Ok(small)
        })
        .with_context(|| self.used().map_or_else(|error| error.to_string(), |now| format!("now it is {now:?}")))
    }
}

/// Resident KiB and open descriptors.
#[derive(Clone, Copy, Debug)]
struct Used {
    device: (u64, usize),
    renderer: (u64, usize),
}

/// A small generator of numbers for which a seed is enough to have them again.
struct Random(u64);

impl Random {
    /// From the clock, or from `$PHYLLOME_TEST_SEED`; says which.
    fn new() -> Self {
        let given = std::env::var("PHYLLOME_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
        let clock = || std::time::UNIX_EPOCH.elapsed().map_or(1, |time| time.as_nanos() as u64) | 1;
        let seed = given.unwrap_or_else(clock);
        println!("PHYLLOME_TEST_SEED={seed}");
        Self(seed)
    }

    fn next(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as u32
    }

    fn below(&mut self, end: u32) -> u32 {
        self.next() % end
    }
}

#[test]
fn a_well_behaved_guest_is_served_with_3d() -> Result<()> {
    let mut rig = Rig::new()?;
    let report = rig.device.report()?;
    ensure!(report["gpu"]["renderer"] == "virgl" && report["gpu"]["renderer_restarts"] == 0, "{report}");
    let info = rig.session.call(&get_capset_info(0).build(), 40)?;
    ensure!(response_type(&info) == OK_CAPSET_INFO && info.len() == 40);
    // What is made once, such as the shaders of a clear, is there after a while.
    (0..60).try_for_each(|_| rig.serves())?;
    let used = rig.used()?;
    (0..200).try_for_each(|_| rig.serves())?;
    rig.has_not_grown(used)?;
    ensure!(rig.device.report()?["gpu"]["errors"].as_object().is_none_or(|errors| errors.is_empty()));
    Ok(())
}
