//! Cursors: of resources of every kind, of sizes, hot spots and scanouts that are wrong, and of resources that change
//! or go while they are shown. Those of textures are with the other pictures of 3D.

use super::{PIXELS, serving};
use anyhow::{Result, ensure};
use phyllome_tests::frontend::session::F_BLOB;
use phyllome_tests::frontend::*;
use phyllome_tests::played::pointer;
use phyllome_tests::programs::program;

const SIDE: u32 = pointer::SIDE;

#[test]
fn cursors_of_bad_resources_hot_spots_and_scanouts_do_no_harm() -> Result<()> {
    let (mut device, mut session) = serving()?;
    session.create(3, B8G8R8A8, 64, 64, PIXELS)?;
    session.create(4, B8G8R8A8, 65, 3, PIXELS)?;
    for request in [
        update_cursor(0, 5, 5, 3, 4, 4),
        update_cursor(0, 5, 5, 3, 64, u32::MAX),
        update_cursor(0, 5, 5, 4, 0, 0),
        update_cursor(0, 5, 5, 99, 0, 0),
        update_cursor(16, 5, 5, 3, 0, 0),
        update_cursor(u32::MAX, u32::MAX, u32::MAX, 3, 0, 0),
        move_cursor(0, u32::MAX, u32::MAX),
        move_cursor(77, 0, 0),
        update_cursor(0, 0, 0, 0, 0, 0),
    ] {
        session.call_cursor(&request.build())?;
    }
    session.call_cursor(&[0x00, 0x03])?;
    session.assert_serves()?;
    let errors = device.report()?["gpu"]["errors"].clone();
    for (class, count) in [("cursor-size", 1), ("resource-id", 1), ("scanout-id", 3), ("short-request", 1)] {
        ensure!(errors[class] == count, "{count} of {class}: {errors}");
    }
    ensure!(device.is_alive());
    device.cursor_is(0, None)
}

/// Linux makes every dumb buffer as B8G8R8X8 and means alpha in its cursors.
#[test]
fn a_cursor_keeps_its_alpha_whatever_format_its_resource_has() -> Result<()> {
    let (mut device, mut session) = serving()?;
    session.memory.write(PIXELS, &pointer::bytes())?;
    // Every number of the specification.
    for format in [1, 2, 3, 4, 67, 68, 121, 134] {
        session.create(1, format, SIDE, SIDE, PIXELS)?;
        ensure!(session.ask(transfer(1, full(SIDE, SIDE), 0))? == OK_NODATA);
        session.call_cursor(&update_cursor(1, 0, 0, 1, 0, 0).build())?;
        device.cursor_is(1, Some(&pointer::bytes()))?;
        session.call_cursor(&update_cursor(1, 0, 0, 0, 0, 0).build())?;
        device.cursor_is(1, None)?;
        ensure!(session.ask(unref(1))? == OK_NODATA);
    }
    device.cursor_is(0, None)
}

#[test]
fn a_cursor_of_another_size_is_the_top_left() -> Result<()> {
    let (mut device, mut session) = serving()?;
    session.memory.write(PIXELS, &[0x66; 32 * 48 * 4])?;
    session.create(1, B8G8R8X8, 32, 48, PIXELS)?;
    ensure!(session.ask(transfer(1, full(32, 48), 0))? == OK_NODATA);
    session.call_cursor(&update_cursor(0, 0, 0, 1, 0, 0).build())?;
    let byte = |at: u32| if at % (SIDE * 4) < 32 * 4 && at / (SIDE * 4) < 48 { 0x66 } else { 0 };
    let wanted: Vec<u8> = (0..SIDE * SIDE * 4).map(byte).collect();
    device.cursor_is(0, Some(&wanted))
}

#[test]
fn a_cursor_stays_when_its_resource_changes_or_goes() -> Result<()> {
    let (mut device, mut session) = serving()?;
    session.memory.write(PIXELS, &pointer::bytes())?;
    session.create(1, B8G8R8X8, SIDE, SIDE, PIXELS)?;
    ensure!(session.ask(transfer(1, full(SIDE, SIDE), 0))? == OK_NODATA);
    session.call_cursor(&update_cursor(0, 0, 0, 1, 0, 0).build())?;
    session.memory.write(PIXELS, &[0xff; 64 * 64 * 4])?;
    ensure!(session.ask(transfer(1, full(SIDE, SIDE), 0))? == OK_NODATA);
    ensure!(session.ask(flush(1, full(SIDE, SIDE)))? == OK_NODATA);
    session.call_cursor(&move_cursor(0, 9, 9).build())?;
    ensure!(session.ask(unref(1))? == OK_NODATA);
    session.call_cursor(&update_cursor(0, 0, 0, 1, 0, 0).build())?;
    session.assert_serves()?;
    device.cursor_is(0, Some(&pointer::bytes()))?;
    // The next driver has none.
    session.stop_queue(0)?;
    session.start_queue(0)?;
    session.assert_serves()?;
    device.cursor_is(0, None)
}

#[test]
fn a_blob_s_cursor_is_its_first_pixels_with_their_alpha() -> Result<()> {
    let mut device = DeviceProcess::ours_generic(&program("phyllome-guest")?, 1)?;
    let features = Options::default().features | F_BLOB;
    let mut session = Session::start(&mut device, Options { features, ..Options::default() })?;
    session.memory.write(PIXELS, &pointer::bytes())?;
    let size = SIDE * SIDE * 4;
    ensure!(session.ask(create_blob(1, size.into(), &[(PIXELS, size)]))? == OK_NODATA);
    session.call_cursor(&update_cursor(0, 0, 0, 1, 0, 0).build())?;
    device.cursor_is(0, Some(&pointer::bytes()))?;
    session.memory.write(PIXELS, &[0xff; 64])?;
    ensure!(session.ask(unref(1))? == OK_NODATA);
    session.assert_serves()?;
    device.cursor_is(0, Some(&pointer::bytes()))
}
