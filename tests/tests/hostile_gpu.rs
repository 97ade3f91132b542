//! A hostile guest against the virtio-gpu device: every class of bad input that 2D can meet. After each the device still
//! serves, and the guest got the specified error.

use anyhow::{Result, ensure};
use phyllome_tests::frontend::queue::{INDIRECT, NEXT, WRITE};
use phyllome_tests::frontend::session::{
    self, F_EDID, F_EVENT_IDX, F_INDIRECT, F_VERSION_1, layout, request_at, response_at, send_raw, vhost_header,
};
use phyllome_tests::frontend::*;
use phyllome_tests::programs::program;
use std::os::unix::net::UnixStream;

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
    let (_device, mut session) = serving()?;
    let mut refused = 0;
    for id in 1..200 {
        let answer = session.ask(create_2d(id, B8G8R8X8, 16384, 16384))?;
        ensure!(matches!(answer, OK_NODATA | ERR_OUT_OF_MEMORY | ERR_INVALID_PARAMETER), "{answer:#x}");
        refused += u32::from(answer != OK_NODATA);
    }
    ensure!(refused > 190, "only {refused} of 199 gibibytes refused");
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
    ensure!(session.ask(transfer(1, full(64, 64), 0))? != OK_NODATA, "a transfer without backing");
    ensure!(session.ask(attach_backing(1, &[(PIXELS, 64 * 64 * 4 - 1)]))? == OK_NODATA);
    ensure!(session.ask(transfer(1, full(64, 64), 0))? == ERR_INVALID_PARAMETER, "iovecs shorter than the data");
    ensure!(session.ask(attach_backing(1, &[(PIXELS, 4096)]))? != OK_NODATA, "attached twice");
    ensure!(session.ask(detach_backing(1))? == OK_NODATA);
    ensure!(session.ask(detach_backing(1))? != OK_NODATA, "detached twice");
    for (what, entry) in [
        ("beyond memory", (session.memory.size(), 4096)),
        ("across the end", (session.memory.size() - 16, 4096)),
        ("wraps", (u64::MAX - 100, 4096)),
    ] {
        let answer = session.ask(attach_backing(1, &[entry]))?;
        ensure!(answer != OK_NODATA, "{what}: {answer:#x}");
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
        ensure!(answer >= ERR_UNSPEC, "{entries} entries: {answer:#x}");
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
    ensure!(device.is_alive());
    Ok(())
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
        ensure!((ERR_UNSPEC..=ERR_INVALID_PARAMETER).contains(&answer), "{kind:#x}: {answer:#x}");
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
        ensure!(answer.is_empty() || response_type(&answer) >= ERR_UNSPEC, "{length} bytes: {answer:?}");
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

/// Posts a chain whose head is descriptor 0, kicks, and expects the device to use it or to skip it, and to go on.
fn odd_chain(name: &str, chain: impl Fn(&mut Session) -> Result<()>) -> Result<()> {
    let (mut device, mut session) = serving()?;
    session.memory.write(request_at(0), &Bytes::header(GET_DISPLAY_INFO).build())?;
    chain(&mut session)?;
    session.control.push(&session.memory, 0)?;
    session.control.notify()?;
    // A good command behind it must be answered, whatever becomes of the odd one.
    session.post(40, &Bytes::header(GET_DISPLAY_INFO).build(), 408)?;
    loop {
        let (head, _) = session.control.wait(&session.memory, session::ANSWER)?;
        if head == 80 {
            break;
        }
        ensure!(head == 0, "{name}: used {head}");
    }
    ensure!(device.is_alive(), "{name}: the device died");
    Ok(())
}

#[test]
fn descriptor_loops_end() -> Result<()> {
    odd_chain("a loop of two", |s| {
        let part = Desc { addr: request_at(0), len: 24, flags: NEXT, next: 1 };
        s.control.write_desc(&s.memory, 0, part)?;
        s.control.write_desc(&s.memory, 1, Desc { next: 0, ..part })
    })?;
    odd_chain("a loop of one", |s| {
        s.control.write_desc(&s.memory, 0, Desc { addr: request_at(0), len: 24, flags: NEXT, next: 0 })
    })?;
    odd_chain("next beyond the table", |s| {
        s.control.write_desc(&s.memory, 0, Desc { addr: request_at(0), len: 24, flags: NEXT, next: 9999 })
    })
}

#[test]
fn descriptors_of_no_length_or_outside_memory_are_survived() -> Result<()> {
    odd_chain("zero length", |s| {
        let parts = [Desc::default(), Desc { addr: response_at(0), len: 0, flags: WRITE, next: 0 }];
        s.control.write_chain(&s.memory, 0, &parts)
    })?;
    odd_chain("outside memory", |s| {
        let parts = [
            Desc { addr: 1 << 60, len: 24, ..Desc::default() },
            Desc { addr: u64::MAX - 4, len: 24, flags: WRITE, next: 0 },
        ];
        s.control.write_chain(&s.memory, 0, &parts)
    })?;
    odd_chain("four gigabytes", |s| {
        let parts = [
            Desc { addr: request_at(0), len: u32::MAX, ..Desc::default() },
            Desc { addr: response_at(0), len: u32::MAX, flags: WRITE, next: 0 },
        ];
        s.control.write_chain(&s.memory, 0, &parts)
    })?;
    odd_chain("writable first", |s| {
        let parts = [
            Desc { addr: response_at(0), len: 24, flags: WRITE, next: 0 },
            Desc { addr: request_at(0), len: 24, ..Desc::default() },
        ];
        s.control.write_chain(&s.memory, 0, &parts)
    })?;
    odd_chain("nothing to write to", |s| {
        s.control.write_chain(&s.memory, 0, &[Desc { addr: request_at(0), len: 24, ..Desc::default() }])
    })
}

#[test]
fn indirect_tables_that_are_odd_are_survived() -> Result<()> {
    let table = request_at(60);
    for (name, length) in [("odd length", 33), ("no length", 0), ("too long", 16 * 70000)] {
        odd_chain(name, |s| {
            s.control.write_desc(&s.memory, 0, Desc { addr: table, len: length, flags: INDIRECT, next: 0 })
        })?;
    }
    odd_chain("nested", |s| {
        let inner = Desc { addr: table, len: 32, flags: INDIRECT, next: 0 };
        s.memory.write(table, &inner.bytes())?;
        s.memory.write(table + 16, &inner.bytes())?;
        s.control.write_desc(&s.memory, 0, inner)
    })?;
    odd_chain("a loop inside", |s| {
        let inner = Desc { addr: request_at(0), len: 24, flags: NEXT, next: 0 };
        s.memory.write(table, &inner.bytes())?;
        s.control.write_desc(&s.memory, 0, Desc { addr: table, len: 16, flags: INDIRECT, next: 0 })
    })?;
    odd_chain("outside memory", |s| {
        s.control.write_desc(&s.memory, 0, Desc { addr: 1 << 50, len: 32, flags: INDIRECT, next: 0 })
    })
}

#[test]
fn indirect_descriptors_work() -> Result<()> {
    let (_device, mut session) = serving()?;
    ensure!(session.features & F_INDIRECT != 0, "INDIRECT_DESC is not offered");
    let table = request_at(60);
    session.memory.write(request_at(0), &Bytes::header(GET_DISPLAY_INFO).build())?;
    session.memory.write(table, &Desc { addr: request_at(0), len: 24, flags: NEXT, next: 1 }.bytes())?;
    session.memory.write(table + 16, &Desc { addr: response_at(0), len: 408, flags: WRITE, next: 0 }.bytes())?;
    session.control.write_desc(&session.memory, 0, Desc { addr: table, len: 32, flags: INDIRECT, next: 0 })?;
    session.control.push(&session.memory, 0)?;
    session.control.notify()?;
    ensure!(response_type(&session.answer(0)?) == OK_DISPLAY_INFO);
    Ok(())
}

#[test]
fn event_idx_works() -> Result<()> {
    let mut device = device()?;
    let options = Options { features: F_VERSION_1 | F_EVENT_IDX | F_EDID, ..Options::default() };
    let mut session = Session::start(&mut device, options)?;
    ensure!(session.features & F_EVENT_IDX != 0, "EVENT_IDX is not offered");
    for _ in 0..600 {
        session.assert_serves()?;
    }
    Ok(())
}

#[test]
fn queue_size_games_end_nothing_but_the_session() -> Result<()> {
    // An index that is further ahead than the queue is long, heads beyond the table.
    for (name, forge) in [("index", true), ("head", false)] {
        let (mut device, mut session) = serving()?;
        if forge {
            session.control.forge_avail_index(&session.memory, 30000)?;
        } else {
            session.control.push(&session.memory, 9999)?;
        }
        session.control.notify()?;
        // The driver sets the queue up anew, as after a reset; the device must serve it.
        session.stop_queue(0)?;
        session.start_queue(0)?;
        session.assert_serves()?;
        ensure!(device.is_alive(), "{name}: the device died");
    }
    Ok(())
}

#[test]
fn a_ring_reset_in_mid_fence_leaves_no_answer_behind() -> Result<()> {
    let mut device = DeviceProcess::ours_without_screen(&program("phyllome-guest")?)?;
    let mut session = Session::start(&mut device, Options::default())?;
    for round in 0..20 {
        session.create(1, B8G8R8X8, 64, 64, PIXELS)?;
        ensure!(session.ask(set_scanout(0, 1, full(64, 64)))? == OK_NODATA);
        session.post(5, &flush(1, full(64, 64)).fenced(77).build(), 24)?;
        session.stop_queue(0)?;
        session.start_queue(0)?;
        session.assert_serves()?;
        // Whether resources survive a ring reset is the device's choice; a fresh id works either way.
        let answer = session.ask(unref(1))?;
        ensure!(matches!(answer, OK_NODATA | ERR_INVALID_RESOURCE_ID), "round {round}: {answer:#x}");
    }
    Ok(())
}

#[test]
fn fences_without_a_screen_come_from_the_slow_timer_and_hold_up_nothing() -> Result<()> {
    let mut device = DeviceProcess::ours_without_screen(&program("phyllome-guest")?)?;
    let mut session = Session::start(&mut device, Options::default())?;
    session.create(1, B8G8R8X8, 64, 64, PIXELS)?;
    ensure!(session.ask(set_scanout(0, 1, full(64, 64)))? == OK_NODATA);
    session.enqueue(5, &flush(1, full(64, 64)).fenced(1).build(), 24)?;
    session.enqueue(6, &Bytes::header(GET_DISPLAY_INFO).build(), 408)?;
    session.control.notify()?;
    ensure!(response_type(&session.answer(6)?) == OK_DISPLAY_INFO, "the queue waited for the flush");
    ensure!(response_type(&session.answer(5)?) == OK_NODATA, "the fence never came");
    Ok(())
}

#[test]
fn a_flood_of_flushes_is_answered_and_bounded() -> Result<()> {
    let (mut device, mut session) = serving()?;
    session.create(1, B8G8R8X8, 64, 64, PIXELS)?;
    ensure!(session.ask(set_scanout(0, 1, full(64, 64)))? == OK_NODATA);
    for round in 0..200u64 {
        for slot in 0..64 {
            session.enqueue(slot, &flush(1, full(64, 64)).fenced(round * 64 + u64::from(slot)).build(), 24)?;
        }
        session.control.notify()?;
        for _ in 0..64 {
            session.control.wait(&session.memory, session::ANSWER)?;
        }
    }
    session.assert_serves()?;
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
fn ten_thousand_rounds_grow_nothing() -> Result<()> {
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
    let after = round(&mut session, &device, 10_000)?;
    println!("resident KiB and descriptors before {before:?}, after {after:?}");
    // Whoever looks at the last picture may let go of it a moment after the guest has.
    device.settled(|d| Ok(d.descriptors()? <= before.1))?;
    ensure!(after.0 <= before.0 + 256, "memory grew from {} to {} KiB", before.0, after.0);
    session.assert_serves()?;
    let errors = device.report()?["gpu"]["errors"].clone();
    ensure!(errors.as_object().is_some_and(|o| !o.is_empty()), "errors are not counted: {errors}");
    Ok(())
}

#[test]
fn broken_vhost_user_messages_end_the_connection_cleanly() -> Result<()> {
    let (pair, _other) = UnixStream::pair()?;
    let flood: Vec<&UnixStream> = std::iter::repeat_n(&pair, 33).collect();
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
        drop(raw);
        // The next QEMU on the same device is served as if nothing had been.
        let next = Session::start(&mut device, Options::default()).and_then(|mut session| session.assert_serves());
        next.map_err(|e| anyhow::anyhow!("after {name}: {e:#}"))?;
    }
    device.settled(|d| Ok(d.descriptors()? <= before))
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
