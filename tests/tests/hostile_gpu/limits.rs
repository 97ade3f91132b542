//! Floods and hoards: what a guest may make the device hold or do is bounded.

use super::{PIXELS, serving};
use anyhow::{Result, ensure};
use phyllome_test_support::soak;
use phyllome_tests::frontend::session;
use phyllome_tests::frontend::*;
use phyllome_tests::programs::program;

#[test]
fn a_flood_of_flushes_is_answered_and_bounded() -> Result<()> {
    let (mut device, mut session) = serving()?;
    session.create(1, B8G8R8X8, 64, 64, PIXELS)?;
    ensure!(session.ask(set_scanout(0, 1, full(64, 64)))? == OK_NODATA);
    let flood = |session: &mut Session, rounds: u64| -> Result<()> {
        for round in 0..rounds {
            for slot in 0..64 {
                session.enqueue(slot, &flush(1, full(64, 64)).fenced(round * 64 + u64::from(slot)).build(), 24)?;
            }
            session.control.notify()?;
            for _ in 0..64 {
                session.control.wait(&session.memory, session::ANSWER)?;
            }
        }
        Ok(())
    };
    flood(&mut session, 5)?;
    let before = (device.rss_anon_kib()?, device.descriptors()?);
    flood(&mut session, soak::times(20, 200))?;
    session.assert_serves()?;
    device.settled(|d| Ok(d.descriptors()? <= before.1))?;
    let after = device.rss_anon_kib()?;
    ensure!(after <= before.0 + soak::times(32, 256), "memory grew from {} to {after} KiB", before.0);
    ensure!(device.is_alive());
    Ok(())
}

#[test]
fn memory_that_changes_under_live_backing_is_survived() -> Result<()> {
    let (mut device, mut session) = serving()?;
    session.create(1, B8G8R8X8, 64, 64, PIXELS)?;
    // The table now ends before the backing.
    let mut region = session.memory.region()?;
    region.memory_size = PIXELS;
    vhost::VhostBackend::set_mem_table(&session.frontend, &[region])?;
    // The table has no answer of its own; one that comes after it says that it has arrived.
    vhost::VhostBackend::get_features(&session.frontend)?;
    let answer = session.ask(transfer(1, full(64, 64), 0))?;
    ensure!(answer != OK_NODATA, "a transfer from memory that is gone");
    session.assert_serves()?;
    ensure!(device.is_alive());
    Ok(())
}

#[test]
fn memory_that_a_guest_never_wrote_is_zero() -> Result<()> {
    // A resource's host memory is fresh: what one guest resource held must not appear in the next.
    let (mut device, mut session) = serving()?;
    session.memory.write(PIXELS, &[0xaa; 64 * 64 * 4])?;
    for id in 1..20 {
        session.create(id, B8G8R8X8, 64, 64, PIXELS)?;
        ensure!(session.ask(set_scanout(0, id, full(64, 64)))? == OK_NODATA);
        ensure!(session.ask(flush(id, full(64, 64)))? == OK_NODATA);
        // The scanout's picture reaches the screen a moment after the answer; memory that is not zero never becomes so.
        device.dump_until(0, |pixels| pixels.len() == 64 * 64 * 3 && pixels.iter().all(|b| *b == 0))?;
        ensure!(session.ask(transfer(id, full(64, 64), 0))? == OK_NODATA);
        device.dump_until(0, |pixels| pixels.iter().all(|b| *b == 0xaa))?;
        ensure!(session.ask(unref(id))? == OK_NODATA);
    }
    Ok(())
}

#[test]
fn counts_of_resources_are_bounded() -> Result<()> {
    let (_device, mut session) = serving()?;
    let mut last = OK_NODATA;
    for id in 1..=100_000 {
        last = session.ask(create_2d(id, B8G8R8X8, 1, 1))?;
        if last != OK_NODATA {
            break;
        }
    }
    ensure!(last == ERR_OUT_OF_MEMORY, "no bound on resources: {last:#x}");
    session.assert_serves()
}

#[test]
fn a_guest_that_hoards_resources_leaves_descriptors_for_others() -> Result<()> {
    const LIMIT: usize = 300;
    let folder = tempfile::Builder::new().prefix("phyllome-device").tempdir()?;
    let mut command = std::process::Command::new("sh");
    let script = format!("ulimit -n {LIMIT} && exec \"$0\" \"$@\"");
    command.arg("-c").arg(script).arg(program("phyllome-guest")?);
    command.args(["device", "--present-at-once", "--socket-path"]).arg(folder.path().join("gpu.sock"));
    let mut device = DeviceProcess::of(command, folder)?;
    let mut session = Session::start(&mut device, Options::default())?;
    let refused =
        (1..=512).map(|id| session.ask(create_2d(id, B8G8R8X8, 1, 1))).find(|answer| !matches!(answer, Ok(OK_NODATA)));
    ensure!(matches!(refused, Some(Ok(ERR_OUT_OF_MEMORY))), "{refused:?}");
    let used = device.descriptors()?;
    ensure!(used <= LIMIT - 60, "{used} of {LIMIT} descriptors are taken");
    // Shown ones have more of them, and are refused like any other.
    for id in 1..=20 {
        let shown = session.ask(set_scanout(0, id, full(1, 1)))?;
        ensure!(matches!(shown, OK_NODATA | ERR_OUT_OF_MEMORY), "{shown:#x}");
    }
    ensure!(device.descriptors()? <= LIMIT - 60);
    session.assert_serves()?;
    // What one gives back another may have.
    ensure!(session.ask(unref(1))? == OK_NODATA && session.ask(create_2d(600, B8G8R8X8, 1, 1))? == OK_NODATA);
    Ok(())
}

/// `cargo xtask test soak floods` has ten thousand rounds.
#[test]
fn rounds_of_all_kinds_grow_nothing() -> Result<()> {
    let (mut device, mut session) = serving()?;
    let round = |session: &mut Session, device: &DeviceProcess, count: u32| -> Result<(u64, usize)> {
        for n in 0..count {
            session.create(1, B8G8R8X8, 64, 64, PIXELS)?;
            ensure!(session.ask(set_scanout(0, 1, full(64, 64)))? == OK_NODATA);
            ensure!(session.ask(transfer(1, full(64, 64), 0))? == OK_NODATA);
            ensure!(session.ask(flush(1, full(64, 64)).fenced(n.into()))? == OK_NODATA);
            ensure!(session.ask(transfer(1, full(65, 64), 0))? == ERR_INVALID_PARAMETER);
            ensure!(session.ask(create_2d(2, B8G8R8X8, u32::MAX, 2))? == ERR_INVALID_PARAMETER);
            ensure!(session.ask(unref(1))? == OK_NODATA);
            ensure!(session.ask(unref(1))? == ERR_INVALID_RESOURCE_ID);
        }
        Ok((device.rss_anon_kib()?, device.descriptors()?))
    };
    let before = round(&mut session, &device, 500)?;
    let after = round(&mut session, &device, soak::times(1_000, 10_000))?;
    println!("resident KiB and descriptors before {before:?}, after {after:?}");
    // Whoever looks at the last picture may let go of it a moment after the guest has.
    device.settled(|d| Ok(d.descriptors()? <= before.1))?;
    // As little for each round as in the long run.
    ensure!(after.0 <= before.0 + soak::times(32, 256), "memory grew from {} to {} KiB", before.0, after.0);
    session.assert_serves()?;
    let errors = device.report()?["gpu"]["errors"].clone();
    ensure!(errors.as_object().is_some_and(|o| !o.is_empty()), "errors are not counted: {errors}");
    Ok(())
}
