//! Hoards: what a guest may make device and renderer hold is bounded, and what it frees it has again.

use super::*;
use phyllome_test_support::soak;

fn all(answers: &[u32], status: u32) -> Result<()> {
    match answers.iter().enumerate().find(|(_, answer)| **answer != status) {
        Some((at, answer)) => bail!("{at} of {}: {answer:#x}, not {status:#x}", answers.len()),
        None => Ok(()),
    }
}

#[test]
fn contexts_end_at_their_quota_and_begin_again() -> Result<()> {
    let mut rig = Rig::new()?;
    let mut made = 0;
    for round in 0..2 {
        let before = rig.counted("quota")?;
        let answers = rig.session.ask_all((1..=1000).map(create_context))?;
        let fit = answers.iter().take_while(|answer| **answer == OK_NODATA).count();
        ensure!((16..1000).contains(&fit), "{fit} contexts of 1000");
        all(&answers[fit..], ERR_OUT_OF_MEMORY)?;
        ensure!(round == 0 || fit == made, "{fit} contexts, {made} before");
        made = fit;
        rig.until("the quota's count", |rig| Ok(rig.counted("quota")? >= before + 1000 - fit as u64))?;
        rig.session.assert_serves()?;
        all(&rig.session.ask_all((1..=fit as u32).map(destroy_context))?, OK_NODATA)?;
        rig.serves()?;
    }
    ensure!(rig.restarts()? == 0, "the renderer died of it");
    Ok(())
}

#[test]
fn resources_end_at_their_quota_and_begin_again() -> Result<()> {
    const MANY: u32 = 17000;
    let mut rig = Rig::new()?;
    let mut made = 0;
    for round in 0..2 {
        let answers = rig.session.ask_all((1..=MANY).map(|id| create_3d(id, buffer(16, 1 << 4))))?;
        let fit = answers.iter().take_while(|answer| **answer == OK_NODATA).count();
        ensure!((1024..MANY as usize).contains(&fit), "{fit} resources of {MANY}");
        all(&answers[fit..], ERR_OUT_OF_MEMORY)?;
        ensure!(round == 0 || fit == made, "{fit} resources, {made} before");
        made = fit;
        rig.session.assert_serves()?;
        all(&rig.session.ask_all((1..=fit as u32).map(unref))?, OK_NODATA)?;
        rig.serves()?;
    }
    ensure!(rig.counted("quota")? > 0 && rig.restarts()? == 0);
    Ok(())
}

#[test]
fn bytes_end_at_their_quota_and_begin_again() -> Result<()> {
    let mut rig = Rig::new()?;
    // A byte a pixel, of which the device knows only that it is no more than sixteen.
    let large = Create3d { format: R8, bind: 1 << 3, ..texture(8192, 8192) };
    let mut made = 0;
    for round in 0..2 {
        let answers = rig.session.ask_all((1..=64).map(|id| create_3d(id, large)))?;
        let fit = answers.iter().take_while(|answer| **answer == OK_NODATA).count();
        ensure!((1..64).contains(&fit), "{fit} gibibytes");
        all(&answers[fit..], ERR_OUT_OF_MEMORY)?;
        ensure!(round == 0 || fit == made, "{fit} resources, {made} before");
        made = fit;
        all(&rig.session.ask_all((1..=fit as u32).map(unref))?, OK_NODATA)?;
        rig.serves()?;
    }
    ensure!(rig.counted("quota")? > 0 && rig.restarts()? == 0);
    Ok(())
}

/// `cargo xtask test soak floods` has a thousand rounds.
#[test]
fn rounds_of_3d_grow_nothing() -> Result<()> {
    let mut rig = Rig::new()?;
    let rounds = |rig: &mut Rig, count: u32| -> Result<()> {
        for n in 0..count {
            rig.texture(1, 64, 64, PIXELS)?;
            rig.context(1, &[1])?;
            rig.ok(set_scanout(0, 1, full(64, 64)))?;
            rig.ok(submit(1, &clear(1, 1, [n as u8; 4])).fenced(n.into()))?;
            rig.ok(flush(1, full(64, 64)).fenced(n.into()))?;
            rig.ok(transfer_from(1, 1, whole(64, 64)))?;
            rig.expect("outside", transfer_to(1, 1, whole(65, 64)), ERR_INVALID_PARAMETER)?;
            rig.expect("gigantic", create_3d(2, texture(u32::MAX, 1)), ERR_INVALID_PARAMETER)?;
            rig.ask(submit(1, &virgl(5, 0, &[1, 0, 99])))?;
            rig.ok(destroy_context(1))?;
            rig.ok(unref(1))?;
        }
        Ok(())
    };
    rounds(&mut rig, 200)?;
    let used = rig.used()?;
    rounds(&mut rig, soak::times(200, 1000))?;
    // As little for each round as in the long run.
    rig.has_grown_at_most(used, soak::times((256, 4096), (1024, 16384)))?;
    ensure!(rig.restarts()? == 0);
    rig.serves()
}

#[test]
fn memory_that_changes_under_3d_backing_is_survived() -> Result<()> {
    const FAR: u64 = 0x200_0000;
    let mut rig = Rig::new()?;
    let all = rig.session.memory.region()?;
    let mut part = rig.session.memory.region()?;
    part.memory_size = FAR;
    rig.texture(1, 64, 64, PIXELS)?;
    rig.texture(2, 64, 64, FAR)?;
    let mut used = rig.used()?;
    for round in 0..20 {
        if round == 10 {
            used = rig.used()?;
        }
        rig.ok(transfer_to(0, 2, whole(64, 64)))?;
        for slot in 1..80 {
            let request = transfer_from(0, 1 + u32::from(slot % 2), whole(64, 64)).fenced(slot.into());
            rig.session.enqueue(slot, &request.build(), 24)?;
        }
        rig.session.control.notify()?;
        vhost::VhostBackend::set_mem_table(&rig.session.frontend, &[part])?;
        vhost::VhostBackend::get_features(&rig.session.frontend)?;
        for _ in 1..80 {
            rig.session.control.wait(&rig.session.memory, session::ANSWER)?;
        }
        // What is still there is used, what is gone is not.
        rig.ok(transfer_from(0, 1, whole(64, 64)))?;
        let answer = rig.ask(transfer_to(0, 2, whole(64, 64)))?;
        ensure!(answer >= ERR_UNSPEC, "round {round}: a transfer from memory that is gone: {answer:#x}");
        rig.serves()?;
        vhost::VhostBackend::set_mem_table(&rig.session.frontend, &[all])?;
        vhost::VhostBackend::get_features(&rig.session.frontend)?;
        // The guest gives the backing anew where the memory is back.
        rig.ask(detach_backing(2))?;
        rig.ok(attach_backing(2, &[(FAR, 64 * 64 * 4)]))?;
    }
    ensure!(rig.restarts()? == 0, "the renderer died of it");
    rig.has_not_grown(used)
}
