//! Fences: many, never waited for, on timelines that do not exist, and cut off by resets and pauses of the queue.

use super::*;
use phyllome_tests::frontend::session::{ANSWER, request_at, response_at};
use std::collections::HashSet;

#[test]
fn a_flood_of_fences_is_answered_and_leaves_nothing() -> Result<()> {
    let mut rig = Rig::new()?;
    rig.texture(7, 16, 16, PIXELS)?;
    rig.context(1, &[7])?;
    let draws = clear(1, 7, [9; 4]);
    let flood = |rig: &mut Rig, count: u64| -> Result<()> {
        let answers = rig.session.ask_all((0..count).map(|id| submit(1, &draws).fenced(id)))?;
        ensure!(answers.iter().all(|answer| *answer == OK_NODATA), "a fenced stream failed");
        Ok(())
    };
    flood(&mut rig, 1000)?;
    let used = rig.used()?;
    flood(&mut rig, 5000)?;
    rig.has_not_grown(used)?;
    rig.serves()
}

#[test]
fn fences_that_nobody_waits_for_are_given_back_once() -> Result<()> {
    let mut rig = Rig::new()?;
    rig.context(1, &[])?;
    // Nobody looks at the used ring while these go, with the context's end in between.
    for slot in 0..90 {
        let request = if slot == 45 { destroy_context(1) } else { submit(1, &[0; 16]).fenced(u64::from(slot)) };
        rig.session.enqueue(slot, &request.build(), 24)?;
    }
    rig.session.control.notify()?;
    let mut heads = HashSet::new();
    for _ in 0..90 {
        let (head, _) = rig.session.control.wait(&rig.session.memory, ANSWER)?;
        ensure!(heads.insert(head), "{head} came back twice");
        let slot = u16::try_from(head / 2)?;
        let answer = response_type(&rig.session.memory.read(response_at(slot), 24)?);
        let expected = if slot <= 45 { OK_NODATA } else { ERR_INVALID_CONTEXT_ID };
        ensure!(answer == expected, "slot {slot}: {answer:#x}");
    }
    rig.serves()
}

#[test]
fn timelines_of_contexts_that_do_not_exist_hold_up_nobody() -> Result<()> {
    let mut rig = Rig::new()?;
    rig.context(1, &[])?;
    for ring in [0, 1, 63, 64, 255] {
        for request in [
            submit(1, &[0]).fenced(u64::from(ring)).on_ring(ring),
            Bytes::header(GET_DISPLAY_INFO).fenced(1 << 40).on_ring(ring),
            // The flag without a fence.
            submit(1, &[0]).on_ring(ring),
            create_context(2).fenced(5).on_ring(ring),
            destroy_context(2).fenced(6).on_ring(ring),
            create_2d(3, B8G8R8X8, 8, 8).fenced(u64::MAX).context(99).on_ring(ring),
            unref(3).fenced(u64::MAX).context(u32::MAX).on_ring(ring),
        ] {
            let kind = response_type(&request.0);
            let answer = response_type(&rig.session.call(&request.build(), 408)?);
            ensure!((OK_NODATA..=0x11ff).contains(&answer), "{kind:#x} on timeline {ring}: {answer:#x}");
        }
    }
    rig.serves()
}

#[test]
fn a_ring_reset_in_mid_fence_of_3d_leaves_no_answer_behind() -> Result<()> {
    let mut rig = Rig::new()?;
    let mut used = rig.used()?;
    let mut slow = 0;
    for round in 0..30 {
        if round == 15 {
            used = rig.used()?;
        }
        rig.texture(7, 64, 64, PIXELS)?;
        rig.context(1, &[7])?;
        for slot in 1..60 {
            rig.session.enqueue(slot, &submit(1, &clear(1, 7, [7; 4])).fenced(slot.into()).build(), 24)?;
        }
        rig.session.control.notify()?;
        let begin = Instant::now();
        rig.session.stop_queue(0)?;
        slow += u32::from(begin.elapsed() > Duration::from_secs(1));
        rig.session.start_queue(0)?;
        // A new driver: all of the old one's is gone, its ids can be taken again.
        rig.expect("the old context", destroy_context(1), ERR_INVALID_CONTEXT_ID)?;
        rig.expect("the old resource", unref(7), ERR_INVALID_RESOURCE_ID)?;
        rig.serves()?;
    }
    // The device waits for the renderer no longer than that takes, which is next to nothing.
    ensure!(slow <= 10, "{slow} of 30 stops took more than a second");
    ensure!(rig.restarts()? == 0);
    rig.has_not_grown(used)
}

#[test]
fn a_pause_in_mid_stream_gives_every_descriptor_back_once() -> Result<()> {
    let mut rig = Rig::new()?;
    rig.texture(7, 256, 256, PIXELS)?;
    rig.context(1, &[7])?;
    for round in 0..10 {
        let mut heads = HashSet::new();
        for slot in 0..90 {
            let request = submit(1, &clear(1, 7, [round, 1, 1, 1])).fenced(slot.into());
            rig.session.enqueue(slot, &request.build(), 24)?;
        }
        rig.session.control.notify()?;
        // The machine pauses: what was taken is given back before QEMU is told how far the device has come.
        let base = rig.session.stop_queue(0)?;
        while let Some((head, _)) = rig.session.control.pop(&rig.session.memory)? {
            ensure!(heads.insert(head), "round {round}: {head} came back twice before the pause's end");
        }
        let taken = heads.len();
        rig.session.resume_queue(0, base)?;
        for _ in taken..90 {
            let (head, _) = rig.session.control.wait(&rig.session.memory, ANSWER)?;
            ensure!(heads.insert(head), "round {round}: {head} came back twice");
        }
        for slot in 0..90 {
            let answer = response_type(&rig.session.memory.read(response_at(slot), 24)?);
            ensure!(answer == OK_NODATA, "round {round}: slot {slot} got {answer:#x}");
        }
        // The guest's contexts are as they were.
        rig.ok(submit(1, &[0]).fenced(1))?;
    }
    rig.serves()
}

#[test]
fn a_flood_of_cursors_waits_for_a_renderer_that_is_behind_and_the_next_driver_finds_nothing_of_it() -> Result<()> {
    let mut rig = Rig::new()?;
    rig.ok(create_3d(7, texture(64, 64)))?;
    rig.context(1, &[7])?;
    let pid = rig.renderer()?.context("there is no renderer")?;
    let id = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw).context("no process id")?;
    rustix::process::kill_process(id, rustix::process::Signal::STOP)?;
    let (at, cursor) = (request_at(100), update_cursor(0, 0, 0, 7, 0, 0).build());
    rig.session.memory.write(at, &cursor)?;
    // They are taken until the renderer is behind, and not on and on.
    let Session { memory, cursor: queue, .. } = &mut rig.session;
    let mut taken = 0;
    while taken < 4000 {
        let part = Desc { addr: at, len: u32::try_from(cursor.len())?, ..Desc::default() };
        queue.write_chain(memory, 0, &[part])?;
        queue.push(memory, 0)?;
        queue.notify()?;
        if queue.wait(memory, Duration::from_secs(3)).is_err() {
            break;
        }
        taken += 1;
    }
    ensure!((1..3000).contains(&taken), "{taken} cursors were taken while the renderer answered none");
    rig.session.stop_queue(0)?;
    rig.session.start_queue(0)?;
    rustix::process::kill_process(id, rustix::process::Signal::CONT)?;
    rig.session.cursor.wait(&rig.session.memory, ANSWER)?;
    // The ids of the old driver are free.
    rig.context(1, &[])?;
    rig.ok(create_3d(7, texture(64, 64)))?;
    rig.ok(unref(7))?;
    rig.ok(destroy_context(1))?;
    rig.serves()
}
