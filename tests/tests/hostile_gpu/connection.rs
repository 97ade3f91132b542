//! QEMU's side of the connection breaks or lies, and memory changes while it is read.

use super::{PIXELS, device, serving};
use anyhow::{Result, ensure};
use phyllome_test_support::{memory, wait};
use phyllome_tests::frontend::session::{request_at, send_raw, vhost_header};
use phyllome_tests::frontend::*;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;
use vhost::VhostUserMemoryRegionInfo;

/// The device ends a connection that says what nobody may say, within this time.
const ENDS: Duration = Duration::from_secs(20);

#[test]
fn broken_vhost_user_messages_end_the_connection_cleanly() -> Result<()> {
    let (pair, _other) = UnixStream::pair()?;
    let flood: Vec<&UnixStream> = std::iter::repeat_n(&pair, 33).collect();
    // Of half a message the other half may come; so many descriptors the kernel itself does not send; and a queue that
    // is not there is not set up, and no more.
    let goes_on = ["half a header", "truncated", "too many descriptors", "vring 9 of 2"];
    let cases: Vec<(&str, Vec<u8>, Vec<&UnixStream>)> = vec![
        ("half a header", vec![1, 0, 0], vec![]),
        ("wrong version", vhost_header(1, 0, 0), vec![]),
        ("unknown request", vhost_header(9999, 1, 0), vec![]),
        ("oversized", vhost_header(5, 1, u32::MAX), vec![]),
        ("truncated", vhost_header(5, 1, 200), vec![]),
        ("memory table without descriptors", [vhost_header(5, 1, 40), vec![1; 40]].concat(), vec![]),
        ("too many descriptors", vhost_header(1, 1, 0), flood),
        ("gpu socket without descriptor", vhost_header(33, 1, 0), vec![]),
        ("vring 9 of 2", [vhost_header(8, 1, 8), vec![9, 0, 0, 0, 1, 0, 0, 0]].concat(), vec![]),
        ("ring addresses that wrap", [vhost_header(9, 1, 40), vec![0xff; 40]].concat(), vec![]),
        ("garbage", (0..=255).cycle().take(4096).collect(), vec![]),
    ];
    let mut device = device()?;
    Session::start(&mut device, Options::default())?.assert_serves()?;
    let before = device.descriptors()?;
    for (name, bytes, fds) in cases {
        let raw = device.connect()?;
        send_raw(&raw, &bytes, &fds).or_else(|e| if name.contains("descriptors") { Ok(()) } else { Err(e) })?;
        if !goes_on.contains(&name) {
            raw.set_read_timeout(Some(ENDS))?;
            let ended = match (&raw).read(&mut [0; 64]) {
                Ok(count) => count == 0,
                Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
            };
            ensure!(ended, "{name}: the device goes on to listen");
        }
        drop(raw);
        // The next QEMU on the same device is served as if nothing had been.
        let next = Session::start(&mut device, Options::default()).and_then(|mut session| session.assert_serves());
        next.map_err(|e| anyhow::anyhow!("after {name}: {e:#}"))?;
    }
    device.settled(|d| Ok(d.descriptors()? <= before))
}

#[test]
fn memory_that_is_shorter_than_it_is_said_to_be_or_is_cut_short_ends_nothing_but_the_session() -> Result<()> {
    let mut device = device()?;
    Session::start(&mut device, Options::default())?.assert_serves()?;
    let size = Options::default().memory;
    let file = |bytes: u64, make: fn(u64) -> std::io::Result<OwnedFd>| make(bytes).map(File::from);
    let cases = [
        ("a file of a page", file(4096, memory::sealed)?),
        ("a file that lacks a page", file(size - 4096, memory::sealed)?),
        ("a file that can be cut short", file(size, memory::zeros)?),
        ("a device", File::options().read(true).write(true).open("/dev/zero")?),
    ];
    for (what, file) in cases {
        let mut session = Session::start(&mut device, Options::default())?;
        let base = session.stop_queue(0)?;
        let region = VhostUserMemoryRegionInfo { mmap_handle: file.as_raw_fd(), ..session.memory.region()? };
        vhost::VhostBackend::set_mem_table(&session.frontend, &[region])?;
        // Its rings lie where there may be nothing; whether it is served or refused is all the same.
        let _ = session.resume_queue(0, base).and_then(|()| session.config(20));
        if what.contains("cut") {
            file.set_len(0)?;
        }
        session.enqueue(1, &Bytes::header(GET_DISPLAY_INFO).build(), 408)?;
        let _ = session.control.notify().and_then(|()| session.config(20));
        wait::value(what, ENDS, || {
            ensure!(device.is_alive(), "{what}: the device died");
            Ok((device.report()?["gpu"]["errors"]["memory-file"] == 1).then_some(()))
        })?;
        drop(session);
        let next = Session::start(&mut device, Options::default()).and_then(|mut session| session.assert_serves());
        next.map_err(|e| anyhow::anyhow!("after {what}: {e:#}"))?;
    }
    Ok(())
}

#[test]
fn qemu_gone_at_any_point_leaves_nothing_behind() -> Result<()> {
    let mut device = device()?;
    Session::start(&mut device, Options::default())?.assert_serves()?;
    let before = device.descriptors()?;
    for steps in 0..6 {
        if steps == 0 {
            drop(device.connect()?);
            continue;
        }
        let mut session = Session::start(&mut device, Options::default())?;
        let requests = [
            create_2d(1, B8G8R8X8, 64, 64),
            attach_backing(1, &[(PIXELS, 64 * 64 * 4)]),
            set_scanout(0, 1, full(64, 64)),
            transfer(1, full(64, 64), 0),
            flush(1, full(64, 64)).fenced(1),
        ];
        for (slot, request) in requests.into_iter().take(steps).enumerate() {
            session.post(slot as u16, &request.build(), 24)?;
        }
    }
    Session::start(&mut device, Options::default())?.assert_serves()?;
    device.settled(|d| Ok(d.descriptors()? <= before))
}

#[test]
fn a_guest_that_rewrites_its_commands_while_they_are_parsed_does_no_harm() -> Result<()> {
    let (mut device, mut session) = serving()?;
    session.create(1, B8G8R8X8, 64, 64, PIXELS)?;
    let good = transfer(1, full(64, 64), 0).build();
    let bad = transfer(1, Rect { x: 0, y: 0, width: u32::MAX, height: u32::MAX }, u64::MAX).build();
    for round in 0..2000 {
        session.enqueue(0, if round % 2 == 0 { &good } else { &bad }, 24)?;
        session.control.notify()?;
        for _ in 0..20 {
            session.memory.write(request_at(0), &bad)?;
            session.memory.write(request_at(0), &good)?;
        }
        let answer = response_type(&session.answer(0)?);
        ensure!(matches!(answer, OK_NODATA | ERR_INVALID_PARAMETER), "{answer:#x}");
    }
    ensure!(device.is_alive());
    Ok(())
}
