//! A hostile guest against the virtio-gpu device: every class of bad input that 2D can meet. After each the device
//! still serves, and the guest got the specified error.

mod blobs;
mod commands;
mod connection;
mod cursors;
mod limits;
mod queues;
mod three_d;

use anyhow::{Result, ensure};
use phyllome_tests::frontend::session::layout;
use phyllome_tests::frontend::*;
use phyllome_tests::programs::program;

const PIXELS: u64 = layout::PIXELS;

fn device() -> Result<DeviceProcess> {
    DeviceProcess::ours(&program("phyllome-guest")?, 2)
}

fn serving() -> Result<(DeviceProcess, Session)> {
    let mut device = device()?;
    let session = Session::start(&mut device, Options::default())?;
    Ok((device, session))
}

/// Sends each request, expects the error beside it, then expects the device to serve.
fn refused(requests: impl IntoIterator<Item = (&'static str, Bytes, u32)>) -> Result<()> {
    let (mut device, mut session) = serving()?;
    session.create(7, B8G8R8X8, 64, 64, PIXELS)?;
    for (what, request, error) in requests {
        let got = session.ask(request)?;
        ensure!(got == error, "{what}: got {got:#x}, not {error:#x}");
        session.assert_serves()?;
    }
    ensure!(device.is_alive(), "the device died");
    Ok(())
}

#[test]
fn a_well_behaved_guest_is_served() -> Result<()> {
    let (mut device, mut session) = serving()?;
    session.assert_serves()?;
    let edid = session.call(&get_edid(0).build(), 1056)?;
    ensure!(response_type(&edid) == OK_EDID && edid.len() == 1056);
    ensure!(edid[32..40] == [0, 255, 255, 255, 255, 255, 255, 0], "no EDID header");
    session.create(1, B8G8R8X8, 320, 200, PIXELS)?;
    for request in [
        set_scanout(0, 1, full(320, 200)),
        transfer(1, full(320, 200), 0),
        flush(1, full(320, 200)),
        flush(1, full(320, 200)).fenced(9),
    ] {
        ensure!(session.ask(request)? == OK_NODATA);
    }
    let report = device.report()?;
    ensure!(report["scanouts"][0]["width"] == 320 && report["scanouts"][0]["format"] == "XR24", "{report}");
    ensure!(report["scanouts"][0]["flushes"] == 2, "{report}");
    Ok(())
}

#[test]
fn the_fence_comes_back_with_its_id() -> Result<()> {
    let (_device, mut session) = serving()?;
    let answer = session.call(&create_2d(1, B8G8R8X8, 8, 8).fenced(0x1234_5678_9abc).build(), 24)?;
    ensure!(answer[4..8] == 1u32.to_le_bytes(), "no fence flag");
    ensure!(answer[8..16] == 0x1234_5678_9abcu64.to_le_bytes(), "another fence id");
    Ok(())
}

#[test]
fn the_config_space_has_the_size_that_is_asked() -> Result<()> {
    let (_device, mut session) = serving()?;
    for size in [16, 20, 24] {
        let config = session.config(size)?;
        ensure!(config.len() == size as usize, "{} bytes for {size}", config.len());
        ensure!(config[8..12] == 2u32.to_le_bytes(), "num_scanouts is {:?}", &config[8..12]);
    }
    Ok(())
}
