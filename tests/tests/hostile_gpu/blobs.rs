//! Blobs of guest memory on the generic transport: sizes, pictures and addresses that are wrong, and blobs that are
//! gone.

use super::PIXELS;
use anyhow::{Result, ensure};
use phyllome_tests::frontend::session::{F_BLOB, F_VERSION_1, layout};
use phyllome_tests::frontend::*;
use phyllome_tests::programs::program;
use vhost::VhostBackend as _;

const SIZE: u32 = 64 * 64 * 4;

fn serving() -> Result<(DeviceProcess, Session)> {
    let mut device = DeviceProcess::ours_generic(&program("phyllome-guest")?, 2)?;
    let options = Options { features: Options::default().features | F_BLOB, ..Options::default() };
    let session = Session::start(&mut device, options)?;
    ensure!(session.features & F_BLOB != 0, "blobs are not offered");
    Ok((device, session))
}

fn refused(requests: impl IntoIterator<Item = (&'static str, Bytes, u32)>) -> Result<()> {
    let (mut device, mut session) = serving()?;
    ensure!(session.ask(create_blob(7, SIZE.into(), &[(PIXELS, SIZE)]))? == OK_NODATA);
    ensure!(session.ask(set_scanout_blob(0, 7, 64, 64, 256, 0))? == OK_NODATA);
    // Its answer comes after everything that the connection begins with.
    session.config(20)?;
    let before = device.descriptors()?;
    for (what, request, error) in requests {
        let got = session.ask(request)?;
        ensure!(got == error, "{what}: got {got:#x}, not {error:#x}");
        session.assert_serves()?;
    }
    ensure!(device.is_alive(), "the device died");
    device.settled(|device| Ok(device.descriptors()? <= before))
}

#[test]
fn a_blob_is_shown_as_the_guest_drew_it() -> Result<()> {
    let (mut device, mut session) = serving()?;
    // In two pieces, the second of which lies before the first.
    let half = SIZE / 2;
    let entries = [(PIXELS + u64::from(half), half), (PIXELS, half)];
    session.memory.write(PIXELS, &[0x40; SIZE as usize / 2])?;
    session.memory.write(PIXELS + u64::from(half), &[0x20; SIZE as usize / 2])?;
    for request in [
        create_blob(1, SIZE.into(), &entries),
        set_scanout_blob(0, 1, 64, 64, 256, 0),
        flush(1, full(64, 64)),
        flush(1, full(64, 64)).fenced(3),
    ] {
        ensure!(session.ask(request)? == OK_NODATA);
    }
    device.dump_until(0, |pixels| {
        let (upper, lower) = pixels.split_at(pixels.len() / 2);
        upper.iter().all(|&byte| byte == 0x20) && lower.iter().all(|&byte| byte == 0x40)
    })?;
    let report = device.report()?;
    ensure!(report["gpu"]["transport"] == "generic", "{report}");
    ensure!(report["scanouts"][0]["width"] == 64 && report["scanouts"][0]["format"] == "XR24", "{report}");
    // The guest's own pages where the kernel makes a dmabuf of them, else one copy for each flush.
    let copied = if report["scanouts"][0]["buffer"] == "dmabuf" { 0 } else { 2 * u64::from(SIZE) };
    ensure!(report["copied_bytes"] == copied, "{report}");
    Ok(())
}

#[test]
fn sizes_and_backing_that_are_wrong_are_refused() -> Result<()> {
    let kind = |memory: u32, flags: u32| {
        let head = Bytes::header(RESOURCE_CREATE_BLOB).u32(1).u32(memory).u32(flags).u32(1).u64(0).u64(4096);
        head.u64(PIXELS).u32(4096).u32(0)
    };
    let claimed = |entries: u32| {
        let head = Bytes::header(RESOURCE_CREATE_BLOB).u32(1).u32(1).u32(0).u32(entries).u64(0).u64(4096);
        head.u64(PIXELS).u32(4096).u32(0)
    };
    let end = Options::default().memory;
    refused([
        ("size zero", create_blob(1, 0, &[(PIXELS, 4096)]), ERR_INVALID_PARAMETER),
        ("larger than its backing", create_blob(1, 4097, &[(PIXELS, 4096)]), ERR_INVALID_PARAMETER),
        ("gigantic", create_blob(1, u64::MAX, &[(PIXELS, 4096)]), ERR_INVALID_PARAMETER),
        ("no backing", create_blob(1, 4096, &[]), ERR_INVALID_PARAMETER),
        ("backing beyond memory", create_blob(1, 4096, &[(end, 4096)]), ERR_INVALID_PARAMETER),
        ("backing across the end", create_blob(1, 4096, &[(end - 16, 4096)]), ERR_INVALID_PARAMETER),
        ("backing wraps", create_blob(1, 4096, &[(u64::MAX - 100, 4096)]), ERR_INVALID_PARAMETER),
        ("no memory at all", kind(0, 0), ERR_INVALID_PARAMETER),
        ("unknown memory", kind(4, 0), ERR_INVALID_PARAMETER),
        ("unknown flags", kind(1, 8), ERR_INVALID_PARAMETER),
        ("host memory without a renderer", kind(2, 1), ERR_INVALID_PARAMETER),
        ("more entries than there are", claimed(2), ERR_UNSPEC),
        ("far too many entries", claimed(16385), ERR_UNSPEC),
        ("as many as can be said", claimed(u32::MAX), ERR_UNSPEC),
        ("id zero", create_blob(0, 4096, &[(PIXELS, 4096)]), ERR_INVALID_RESOURCE_ID),
        ("id taken", create_blob(7, 4096, &[(PIXELS, 4096)]), ERR_INVALID_RESOURCE_ID),
        ("id taken by a blob", create_2d(7, B8G8R8X8, 8, 8), ERR_INVALID_RESOURCE_ID),
        ("mapped", Bytes::header(0x208).u32(7).u32(0).u64(0), ERR_INVALID_PARAMETER),
        ("mapped beyond everything", Bytes::header(0x208).u32(7).u32(0).u64(u64::MAX), ERR_INVALID_PARAMETER),
        ("unknown mapped", Bytes::header(0x208).u32(9).u32(0).u64(0), ERR_INVALID_RESOURCE_ID),
        ("not mapped", Bytes::header(0x209).u32(7).u32(0), ERR_UNSPEC),
        ("backing twice", attach_backing(7, &[(PIXELS, 4096)]), ERR_UNSPEC),
        ("cut off", Bytes(create_blob(1, 4096, &[(PIXELS, 4096)]).0[..40].to_vec()), ERR_UNSPEC),
    ])
}

#[test]
fn pictures_that_do_not_fit_are_refused() -> Result<()> {
    let shown = |width, height, stride, offset| set_scanout_blob(0, 7, width, height, stride, offset);
    refused([
        ("empty", shown(0, 64, 256, 0), ERR_INVALID_PARAMETER),
        ("a row too many", shown(64, 65, 256, 0), ERR_INVALID_PARAMETER),
        ("rows that overlap", shown(64, 64, 252, 0), ERR_INVALID_PARAMETER),
        ("rows too far apart", shown(64, 64, 260, 0), ERR_INVALID_PARAMETER),
        ("too far in", shown(64, 64, 256, 4), ERR_INVALID_PARAMETER),
        ("offset wraps", shown(64, 64, 256, u32::MAX - 3), ERR_INVALID_PARAMETER),
        ("stride wraps", shown(64, 64, u32::MAX - 3, 0), ERR_INVALID_PARAMETER),
        ("everything wraps", shown(u32::MAX, u32::MAX, u32::MAX, u32::MAX), ERR_INVALID_PARAMETER),
        ("scanout 2 of 2", set_scanout_blob(2, 7, 64, 64, 256, 0), ERR_INVALID_SCANOUT_ID),
        ("last scanout", set_scanout_blob(u32::MAX, 7, 64, 64, 256, 0), ERR_INVALID_SCANOUT_ID),
        ("unknown blob", set_scanout_blob(0, 9, 64, 64, 256, 0), ERR_INVALID_RESOURCE_ID),
        ("as if it had a size in pixels", set_scanout(0, 7, full(64, 64)), ERR_INVALID_RESOURCE_ID),
        ("flush outside", flush(7, Rect { x: 60, y: 0, width: 5, height: 1 }), ERR_INVALID_PARAMETER),
        ("flush wraps", flush(7, Rect { x: u32::MAX, y: 0, width: 2, height: 1 }), ERR_INVALID_PARAMETER),
    ])
}

#[test]
fn a_blob_that_is_gone_stays_gone() -> Result<()> {
    let (device, mut session) = serving()?;
    let mut descriptors = 0;
    for round in 0..50 {
        for request in [
            create_blob(1, SIZE.into(), &[(PIXELS, SIZE)]),
            set_scanout_blob(0, 1, 64, 64, 256, 0),
            flush(1, full(64, 64)),
            unref(1),
        ] {
            ensure!(session.ask(request)? == OK_NODATA, "round {round}");
        }
        for request in [flush(1, full(64, 64)), set_scanout_blob(0, 1, 64, 64, 256, 0), unref(1), detach_backing(1)] {
            ensure!(session.ask(request)? == ERR_INVALID_RESOURCE_ID, "round {round}");
        }
        session.call_cursor(&update_cursor(0, 0, 0, 1, 0, 0).build())?;
        if round == 5 {
            descriptors = device.descriptors()?;
        }
    }
    // The screen lets go of the last picture when it hears of it.
    device.settled(|device| Ok(device.descriptors()? <= descriptors))?;
    session.assert_serves()
}

#[test]
fn a_memory_table_that_changes_under_a_blob_is_looked_at_again() -> Result<()> {
    let (mut device, mut session) = serving()?;
    let copy_only = layout::PIXELS + 2048;
    ensure!(session.ask(create_blob(1, SIZE.into(), &[(copy_only, SIZE)]))? == OK_NODATA);
    ensure!(session.ask(set_scanout_blob(0, 1, 64, 64, 256, 0))? == OK_NODATA);
    ensure!(session.ask(flush(1, full(64, 64)))? == OK_NODATA);
    // The same memory in another table: whatever was resolved in the old one is resolved again.
    session.frontend.set_mem_table(&[session.memory.region()?])?;
    session.memory.write(copy_only, &[0x60; SIZE as usize])?;
    ensure!(session.ask(flush(1, full(64, 64)))? == OK_NODATA);
    device.dump_until(0, |pixels| pixels.iter().all(|&byte| byte == 0x60))?;
    session.assert_serves()
}

#[test]
fn without_the_feature_every_blob_command_is_refused() -> Result<()> {
    let mut device = DeviceProcess::ours_generic(&program("phyllome-guest")?, 1)?;
    let mut session = Session::start(&mut device, Options { features: F_VERSION_1, ..Options::default() })?;
    for request in [
        create_blob(1, 4096, &[(PIXELS, 4096)]),
        set_scanout_blob(0, 1, 8, 8, 32, 0),
        Bytes::header(0x208).u32(1).u32(0).u64(0),
        Bytes::header(0x209).u32(1).u32(0),
    ] {
        ensure!(session.ask(request)? == ERR_UNSPEC);
    }
    session.assert_serves()
}
