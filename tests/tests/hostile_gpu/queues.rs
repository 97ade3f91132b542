//! Descriptor chains, rings and fences as no driver makes them; the device goes on, or only the session ends.

use super::{PIXELS, device, serving};
use anyhow::{Result, ensure};
use phyllome_test_support::wait;
use phyllome_tests::frontend::queue::{INDIRECT, NEXT, WRITE};
use phyllome_tests::frontend::session::{self, F_EDID, F_EVENT_IDX, F_INDIRECT, F_VERSION_1, request_at, response_at};
use phyllome_tests::frontend::*;
use phyllome_tests::programs::program;
use std::time::Duration;

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
    // Sizes that no ring has, and another one than it has while it runs.
    let (mut device, mut session) = serving()?;
    let games = [(false, 0), (false, 3), (false, 2048), (false, 65_536), (false, u32::MAX), (true, 128), (true, 0)];
    for (refused, (runs, size)) in (1..).zip(games) {
        if !runs {
            session.stop_queue(0)?;
        }
        let body = [0u32.to_le_bytes(), u32::to_le_bytes(size)].concat();
        session::send_raw(&session.raw, &[session::vhost_header(8, 1, 8), body].concat(), &[])?;
        if !runs {
            session.start_queue(0)?;
        }
        session.assert_serves()?;
        wait::value(&format!("{size} is refused"), Duration::from_secs(30), || {
            Ok((device.report()?["gpu"]["errors"]["frontend"] == refused).then_some(()))
        })?;
    }
    Ok(())
}

#[test]
fn a_machine_that_is_paused_at_index_0_goes_on_and_a_driver_that_begins_there_does_not() -> Result<()> {
    for begins in [false, true] {
        let (_device, mut session) = serving()?;
        // A driver whose indices are about to be 0 again.
        session.stop_queue(0)?;
        session.control.restart(&session.memory)?;
        session.control.forge_avail_index(&session.memory, 65_500)?;
        session.resume_queue(0, 65_500)?;
        session.create(1, B8G8R8X8, 64, 64, PIXELS)?;
        (2..36).try_for_each(|_| session.assert_serves())?;
        ensure!(session.stop_queue(0)? == 0, "it is paused somewhere else");
        if begins {
            // Its rings are clear.
            session.memory.write(session.control.used, &vec![0; 4 + 8 * usize::from(session.control.size)])?;
            session.start_queue(0)?;
        } else {
            session.resume_queue(0, 0)?;
        }
        let answer = session.ask(transfer(1, full(64, 64), 0))?;
        let expected = if begins { ERR_INVALID_RESOURCE_ID } else { OK_NODATA };
        ensure!(answer == expected, "begins: {begins}: {answer:#x}");
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
        // A driver that begins anew finds nothing of the former one.
        let answer = session.ask(unref(1))?;
        ensure!(answer == ERR_INVALID_RESOURCE_ID, "round {round}: {answer:#x}");
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
