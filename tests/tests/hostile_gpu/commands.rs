//! Commands that ask for too much, for what is not there, or are cut off: each gets the specified error.

use super::{PIXELS, device, refused, serving};
use anyhow::{Result, ensure};
use phyllome_tests::frontend::session::F_VERSION_1;
use phyllome_tests::frontend::*;

#[test]
fn sizes_that_overflow_are_refused() -> Result<()> {
    refused([
        ("zero width", create_2d(1, B8G8R8X8, 0, 64), ERR_INVALID_PARAMETER),
        ("zero height", create_2d(1, B8G8R8X8, 64, 0), ERR_INVALID_PARAMETER),
        ("overflow", create_2d(1, B8G8R8X8, u32::MAX, u32::MAX), ERR_INVALID_PARAMETER),
        ("stride overflow", create_2d(1, B8G8R8X8, 0x4000_0000, 1), ERR_INVALID_PARAMETER),
        ("unknown format", create_2d(1, 3000, 64, 64), ERR_INVALID_PARAMETER),
        ("format zero", create_2d(1, 0, 64, 64), ERR_INVALID_PARAMETER),
    ])
}

#[test]
fn gigantic_resources_are_out_of_memory() -> Result<()> {
    let (device, mut session) = serving()?;
    session.assert_serves()?;
    let before = device.rss_anon_kib()?;
    let answers = (1..200).map(|id| session.ask(create_2d(id, B8G8R8X8, 16384, 16384))).collect::<Result<Vec<_>>>()?;
    let fit = answers.iter().take_while(|answer| **answer == OK_NODATA).count();
    ensure!(fit < 9, "{fit} of 199 gibibytes were given");
    ensure!(answers.iter().skip(fit).all(|answer| *answer == ERR_OUT_OF_MEMORY), "{answers:x?}");
    let after = device.rss_anon_kib()?;
    ensure!(after <= before + 1024, "memory grew from {before} to {after} KiB");
    session.assert_serves()
}

#[test]
fn ids_that_are_zero_duplicate_or_unknown_are_refused() -> Result<()> {
    refused([
        ("zero", create_2d(0, B8G8R8X8, 64, 64), ERR_INVALID_RESOURCE_ID),
        ("duplicate", create_2d(7, B8G8R8X8, 64, 64), ERR_INVALID_RESOURCE_ID),
        ("unref unknown", unref(99), ERR_INVALID_RESOURCE_ID),
        ("flush unknown", flush(99, full(1, 1)), ERR_INVALID_RESOURCE_ID),
        ("transfer unknown", transfer(99, full(1, 1), 0), ERR_INVALID_RESOURCE_ID),
        ("attach unknown", attach_backing(99, &[(PIXELS, 4096)]), ERR_INVALID_RESOURCE_ID),
        ("detach unknown", detach_backing(99), ERR_INVALID_RESOURCE_ID),
        ("scanout unknown", set_scanout(0, 99, full(1, 1)), ERR_INVALID_RESOURCE_ID),
        ("uuid unknown", assign_uuid(99), ERR_INVALID_RESOURCE_ID),
    ])
}

#[test]
fn scanouts_beyond_the_last_are_refused() -> Result<()> {
    refused([
        ("scanout 2 of 2", set_scanout(2, 7, full(64, 64)), ERR_INVALID_SCANOUT_ID),
        ("scanout 16", set_scanout(16, 7, full(64, 64)), ERR_INVALID_SCANOUT_ID),
        ("last u32", set_scanout(u32::MAX, 7, full(64, 64)), ERR_INVALID_SCANOUT_ID),
        ("edid of 2", get_edid(2), ERR_INVALID_SCANOUT_ID),
        ("rectangle outside", set_scanout(0, 7, Rect { x: 1, y: 0, width: 64, height: 64 }), ERR_INVALID_PARAMETER),
        ("rectangle wraps", set_scanout(0, 7, Rect { x: u32::MAX, y: 0, width: 2, height: 2 }), ERR_INVALID_PARAMETER),
        ("empty rectangle", set_scanout(0, 7, full(0, 64)), ERR_INVALID_PARAMETER),
    ])
}

#[test]
fn transfer_boxes_outside_are_refused() -> Result<()> {
    let outside = |x, y, width, height| transfer(7, Rect { x, y, width, height }, 0);
    refused([
        ("right", outside(1, 0, 64, 64), ERR_INVALID_PARAMETER),
        ("below", outside(0, 1, 64, 64), ERR_INVALID_PARAMETER),
        ("wraps", outside(u32::MAX, 0, 2, 1), ERR_INVALID_PARAMETER),
        ("wraps below", outside(0, u32::MAX - 1, 1, 4), ERR_INVALID_PARAMETER),
        ("huge", outside(0, 0, u32::MAX, u32::MAX), ERR_INVALID_PARAMETER),
        ("flush outside", flush(7, Rect { x: 60, y: 0, width: 5, height: 1 }), ERR_INVALID_PARAMETER),
        ("flush wraps", flush(7, Rect { x: u32::MAX, y: u32::MAX, width: 1, height: 1 }), ERR_INVALID_PARAMETER),
        ("offset beyond the backing", transfer(7, full(64, 64), 4), ERR_INVALID_PARAMETER),
        ("offset wraps", transfer(7, full(64, 64), u64::MAX - 8), ERR_INVALID_PARAMETER),
    ])
}

#[test]
fn backing_that_is_too_short_or_outside_memory_is_refused() -> Result<()> {
    let (_device, mut session) = serving()?;
    ensure!(session.ask(create_2d(1, B8G8R8X8, 64, 64))? == OK_NODATA);
    ensure!(session.ask(transfer(1, full(64, 64), 0))? == ERR_UNSPEC, "a transfer without backing");
    ensure!(session.ask(attach_backing(1, &[(PIXELS, 64 * 64 * 4 - 1)]))? == OK_NODATA);
    ensure!(session.ask(transfer(1, full(64, 64), 0))? == ERR_INVALID_PARAMETER, "iovecs shorter than the data");
    ensure!(session.ask(attach_backing(1, &[(PIXELS, 4096)]))? == ERR_UNSPEC, "attached twice");
    ensure!(session.ask(detach_backing(1))? == OK_NODATA);
    ensure!(session.ask(detach_backing(1))? == ERR_UNSPEC, "detached twice");
    for (what, entry) in [
        ("beyond memory", (session.memory.size(), 4096)),
        ("across the end", (session.memory.size() - 16, 4096)),
        ("wraps", (u64::MAX - 100, 4096)),
    ] {
        let answer = session.ask(attach_backing(1, &[entry]))?;
        ensure!(answer == ERR_INVALID_PARAMETER, "{what}: {answer:#x}");
        session.assert_serves()?;
    }
    Ok(())
}

#[test]
fn unbounded_entry_counts_are_refused() -> Result<()> {
    let claimed = |entries: u32| Bytes::header(RESOURCE_ATTACH_BACKING).u32(7).u32(entries).u64(PIXELS).u32(64).u32(0);
    let (_device, mut session) = serving()?;
    ensure!(session.ask(create_2d(7, B8G8R8X8, 64, 64))? == OK_NODATA);
    for entries in [2, 16384, 16385, u32::MAX] {
        let answer = session.ask(claimed(entries))?;
        // The command is too short for them.
        ensure!(answer == ERR_UNSPEC, "{entries} entries: {answer:#x}");
        session.assert_serves()?;
    }
    Ok(())
}

#[test]
fn a_resource_that_is_gone_stays_gone() -> Result<()> {
    let (_device, mut session) = serving()?;
    for round in 0..50 {
        session.create(1, B8G8R8X8, 64, 64, PIXELS)?;
        ensure!(session.ask(set_scanout(0, 1, full(64, 64)))? == OK_NODATA);
        ensure!(session.ask(unref(1))? == OK_NODATA, "round {round}");
        ensure!(session.ask(flush(1, full(64, 64)))? == ERR_INVALID_RESOURCE_ID);
        ensure!(session.ask(transfer(1, full(64, 64), 0))? == ERR_INVALID_RESOURCE_ID);
        ensure!(session.ask(set_scanout(0, 1, full(64, 64)))? == ERR_INVALID_RESOURCE_ID);
        ensure!(session.ask(unref(1))? == ERR_INVALID_RESOURCE_ID);
        session.call_cursor(&update_cursor(0, 0, 0, 1, 0, 0).build())?;
    }
    session.assert_serves()
}

#[test]
fn commands_of_features_that_were_not_negotiated_are_refused() -> Result<()> {
    let kinds = [
        GET_CAPSET_INFO,
        GET_CAPSET,
        RESOURCE_CREATE_BLOB,
        SET_SCANOUT_BLOB,
        CTX_CREATE,
        RESOURCE_CREATE_3D,
        SUBMIT_3D,
        0,
        0x0110,
        0x0210,
        0x0302,
        u32::MAX,
    ];
    let (_device, mut session) = serving()?;
    for kind in kinds {
        let request = (0..20).fold(Bytes::header(kind), |bytes, _| bytes.u32(1));
        let answer = session.ask(request)?;
        ensure!(answer == ERR_UNSPEC, "{kind:#x}: {answer:#x}");
        session.assert_serves()?;
    }
    Ok(())
}

#[test]
fn edid_and_uuid_need_their_features() -> Result<()> {
    let mut device = device()?;
    let mut session = Session::start(&mut device, Options { features: F_VERSION_1, ..Options::default() })?;
    session.create(7, B8G8R8X8, 64, 64, PIXELS)?;
    ensure!(session.ask(get_edid(0))? == ERR_UNSPEC);
    ensure!(session.ask(assign_uuid(7))? == ERR_UNSPEC);
    Ok(())
}

#[test]
fn commands_that_are_cut_off_are_refused() -> Result<()> {
    let (_device, mut session) = serving()?;
    let whole = create_2d(1, B8G8R8X8, 64, 64).build();
    for length in 0..whole.len() {
        let answer = session.call(&whole[..length], 24)?;
        ensure!(answer.len() == 24 && response_type(&answer) == ERR_UNSPEC, "{length} bytes: {answer:?}");
        session.assert_serves()?;
    }
    // Response buffers from none to almost enough.
    for room in 0..24 {
        session.call(&whole, room)?;
        session.assert_serves()?;
    }
    session.call(&Bytes::header(GET_DISPLAY_INFO).build(), 100)?;
    session.call(&get_edid(0).build(), 30)?;
    session.assert_serves()
}
