//! 3D in a real Linux guest with Mesa, drawn by phyllome-renderer: what programs inside say of their GL, what is on the
//! screen, and what is left when the renderer dies. Real desktops on the same userland: their pictures, pointers, clicks,
//! keys and wheel, Xorg's without 3D.
//!
//! A guest boots under TCG; tests that leave it as it was share it (`shared`). `PHYLLOME_GPU3D=2d` runs what has a
//! meaning without 3D on a 2D guest, where the guest's own processor draws: for work on the tests themselves.
//! `PHYLLOME_GPU3D=generic` runs all of them as those of `generic` are run, on the system of the KMS test machine's
//! image.

mod deaths;
mod generic;
mod names;
mod pictures;
mod pointing;
mod shared;
mod venus;
mod weston;
mod xorg;

use anyhow::{Result, ensure};
use phyllome_tests::gl_guest::{GlGuest, GlOptions};

/// Whether the tests run on a guest without 3D, to be tried themselves.
fn is_rehearsal() -> bool {
    std::env::var_os("PHYLLOME_GPU3D").is_some_and(|word| word == "2d")
}

/// What GL's renderer must be called.
fn renderer_name() -> &'static str {
    if is_rehearsal() { "llvmpipe" } else { "virgl" }
}

/// Runs a test on a guest of its own, with its boot time and GPU printed; without what a guest needs it is skipped, and
/// says so.
fn on_guest(name: &str, options: GlOptions, test: impl FnOnce(&mut GlGuest) -> Result<()>) -> Result<()> {
    run(name, options, false, test)
}

/// The same on a guest that others use too: the test ends what it starts.
fn on_shared_guest(name: &str, test: impl FnOnce(&mut GlGuest) -> Result<()>) -> Result<()> {
    on_shared_guest_of(GlOptions::default(), name, test)
}

/// The same on one of these options.
fn on_shared_guest_of(options: GlOptions, name: &str, test: impl FnOnce(&mut GlGuest) -> Result<()>) -> Result<()> {
    run(name, options, true, test)
}

fn run(name: &str, options: GlOptions, shares: bool, test: impl FnOnce(&mut GlGuest) -> Result<()>) -> Result<()> {
    if let Some(obstacle) = GlGuest::obstacle() {
        println!("SKIPPED: {name}: {obstacle}");
        return Ok(());
    }
    let mode = if is_rehearsal() { "2d" } else { options.mode };
    let mut host = options.host.clone();
    if mode != "2d" && host.newer.is_none() && std::env::var_os("PHYLLOME_GPU3D").is_some_and(|word| word == "generic")
    {
        let Some(newer) = generic::newer(name) else { return Ok(()) };
        host.newer = Some(newer);
    }
    let generic = host.newer.is_some();
    let options = GlOptions { mode, host, ..options };
    let mut guest = if shares { shared::take(&options)? } else { GlGuest::boot(&options)? };
    let gpu = guest.gpu()?;
    println!("up after {:.1} s with {}", guest.boot_time().as_secs_f64(), gpu.renderer);
    ensure!(mode == "2d" || gpu.renderer.contains("virgl"), "the guest has no 3D: {gpu:?}");
    ensure!(gpu.transport == "generic" || !generic, "the guest is not on the generic device: {gpu:?}");
    let result = test(&mut guest);
    if result.is_err() {
        let said = guest.run("dmesg | tail -n 30").map(|output| output.stdout).unwrap_or_default();
        eprintln!("the guest's kernel: {said}\nthe guest in status: {:?}", guest.status_of_guest());
        if let Ok(picture) = guest.picture() {
            let kept = std::env::temp_dir().join(format!("phyllome-{name}.png"));
            eprintln!("its last picture is {} ({:?})", kept.display(), picture.write(&kept));
        }
    }
    if result.is_ok() && shares { shared::give_back(&options, guest) } else { result }
}
