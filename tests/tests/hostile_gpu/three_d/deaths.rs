//! The renderer is killed in the middle of everything.

use super::*;
use phyllome_tests::frontend::session::ANSWER;

/// Everything at once: streams, transfers, flushes, resources, all fenced, none waited for.
fn load(rig: &mut Rig) -> Result<()> {
    for slot in 1..90u16 {
        let fence = u64::from(slot);
        let request = match slot % 6 {
            0 => submit(1, &clear(1, 7, [slot as u8; 4])).fenced(fence),
            1 => transfer_from(1, 7, whole(64, 64)).fenced(fence),
            2 => flush(7, full(64, 64)).fenced(fence),
            3 => create_3d(1000 + u32::from(slot), texture(64, 64)).fenced(fence),
            4 => create_context(1000 + u32::from(slot)),
            _ => transfer(500, full(32, 32), 0).fenced(fence),
        };
        rig.session.enqueue(slot, &request.build(), 24)?;
    }
    rig.session.control.notify()
}

/// What [`load`] made, and what it used.
fn free(rig: &mut Rig) -> Result<()> {
    for slot in 1..90 {
        rig.ask(unref(1000 + slot))?;
        rig.ask(destroy_context(1000 + slot))?;
    }
    rig.ok(unref(7))?;
    rig.ok(destroy_context(1))
}

#[test]
fn a_renderer_that_is_killed_in_the_middle_three_times_leaves_2d() -> Result<()> {
    let mut rig = Rig::new()?;
    rig.session.memory.write(PIXELS + 0x10_0000, &[0x42; 32 * 32 * 4])?;
    rig.session.create(500, B8G8R8X8, 32, 32, PIXELS + 0x10_0000)?;
    rig.ok(set_scanout(1, 500, full(32, 32)))?;
    rig.ok(transfer(500, full(32, 32), 0))?;
    rig.ok(flush(500, full(32, 32)))?;
    let descriptors = rig.device.descriptors()?;
    for death in 1..=3u64 {
        rig.texture(7, 64, 64, PIXELS)?;
        rig.context(1, &[7])?;
        rig.ok(submit(1, &clear(1, 7, [1, 2, 3, 255])).fenced(1))?;
        rig.ok(set_scanout(0, 7, full(64, 64)))?;
        rig.ok(flush(7, full(64, 64)).fenced(2))?;
        rig.device.dump_until(0, |pixels| pixels.chunks(3).all(|pixel| pixel == [1, 2, 3]))?;
        // Asked before: while the load is under way no answer of the guest's is looked at.
        load(&mut rig)?;
        rig.kill_renderer()?;
        let mut heads = std::collections::HashSet::new();
        for _ in 1..90 {
            let (head, _) = rig.session.control.wait(&rig.session.memory, ANSWER)?;
            ensure!(heads.insert(head), "death {death}: {head} came back twice");
        }
        // The pictures stay; classic ones go on.
        rig.device.dump_until(1, |pixels| pixels.iter().all(|byte| *byte == 0x42))?;
        rig.device.dump_until(0, |pixels| pixels.len() == 64 * 64 * 3)?;
        rig.ok(transfer(500, full(32, 32), 0))?;
        rig.ok(flush(500, full(32, 32)).fenced(3))?;
        let lost = [
            ("submit", submit(1, &[0]), ERR_INVALID_CONTEXT_ID),
            ("attach", context_attach(1, 7), ERR_INVALID_CONTEXT_ID),
            ("transfer", transfer_from(0, 7, whole(64, 64)), ERR_INVALID_RESOURCE_ID),
            ("flush", flush(7, full(64, 64)), ERR_INVALID_RESOURCE_ID),
            ("uuid", assign_uuid(7), ERR_INVALID_RESOURCE_ID),
        ];
        let before = rig.counted("lost")?;
        for (what, request, status) in lost {
            rig.expect(what, request, status)?;
        }
        rig.until("the count of what is lost", |rig| Ok(rig.counted("lost")? >= before + 5))?;
        free(&mut rig)?;
        if death < 3 {
            rig.serves()?;
            rig.until("the count of restarts", |rig| Ok(rig.restarts()? == death))?;
        }
    }
    rig.until("3D is off", |rig| Ok(rig.device.report()?["gpu"]["renderer"] == "2d"))?;
    let report = rig.device.report()?;
    ensure!(report["gpu"]["reason"].as_str().is_some_and(|reason| reason.contains("3D is off")), "{report}");
    ensure!(report["gpu"]["renderer_pid"].is_null() && report["gpu"]["renderer_restarts"] == 2, "{report}");
    rig.expect("a context without a renderer", create_context(1), ERR_UNSPEC)?;
    rig.expect("a resource without a renderer", create_3d(1, texture(8, 8)), ERR_UNSPEC)?;
    rig.session.memory.write(PIXELS + 0x10_0000, &[0x43; 32 * 32 * 4])?;
    rig.ok(transfer(500, full(32, 32), 0))?;
    rig.ok(flush(500, full(32, 32)).fenced(4))?;
    rig.device.dump_until(1, |pixels| pixels.iter().all(|byte| *byte == 0x43))?;
    rig.device.settled(|device| Ok(device.descriptors()? <= descriptors))
}

#[test]
fn a_guest_that_has_gone_leaves_no_renderer() -> Result<()> {
    let mut device = DeviceProcess::ours_with_3d(&program("phyllome-guest")?, 1)?;
    let features = Options::default().features | F_VIRGL;
    let mut before = None;
    for _ in 0..4 {
        let session = Session::start(&mut device, Options { features, ..Options::default() })?;
        let mut rig = Rig { device, session, proofs: 0 };
        rig.texture(7, 64, 64, PIXELS)?;
        rig.context(1, &[7])?;
        rig.ok(set_scanout(0, 7, full(64, 64)))?;
        load(&mut rig)?;
        let pid = rig.renderer()?.context("there is no renderer")?;
        let Rig { device: still, session, .. } = rig;
        drop(session);
        device = still;
        // A process that has ended and is waited for is in nobody's list any more.
        device.settled(|_| Ok(!std::path::Path::new(&format!("/proc/{pid}")).exists()))?;
        let after = *before.get_or_insert(device.descriptors()?);
        device.settled(|device| Ok(device.descriptors()? <= after))?;
    }
    Ok(())
}

#[test]
fn a_renderer_that_falls_silent_is_ended_and_holds_up_neither_2d_nor_a_pause() -> Result<()> {
    let mut rig = Rig::new()?;
    rig.context(1, &[])?;
    let pid = rig.renderer()?.context("there is no renderer")?;
    let id = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw).context("no process id")?;
    rustix::process::kill_process(id, rustix::process::Signal::STOP)?;
    rig.session.enqueue(1, &submit(1, &[0]).fenced(1).build(), 24)?;
    rig.session.enqueue(2, &Bytes::header(GET_DISPLAY_INFO).build(), 408)?;
    rig.session.control.notify()?;
    // What 2D asks is answered at once, what 3D asks is not.
    ensure!(response_type(&rig.session.answer(2)?) == OK_DISPLAY_INFO);
    // The machine pauses: the stream is given back, once, and not as one that was drawn.
    let base = rig.session.stop_queue(0)?;
    let answer = response_type(&rig.session.answer(1)?);
    ensure!(answer == ERR_UNSPEC, "a stream that nobody has drawn: {answer:#x}");
    ensure!(rig.session.control.pop(&rig.session.memory)?.is_none(), "it came back twice");
    rig.session.resume_queue(0, base)?;
    rig.until("another renderer", |rig| Ok(rig.restarts()? == 1))?;
    rig.expect("the lost context", submit(1, &[0]), ERR_INVALID_CONTEXT_ID)?;
    rig.ok(destroy_context(1))?;
    rig.serves()
}
