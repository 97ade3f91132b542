//! Pictures of 3D resources: what is shown, and that a guest which shows or flushes without end is bounded.

use super::*;
use phyllome_tests::played::pointer;

#[test]
fn what_3d_draws_is_shown_and_a_new_picture_is_black() -> Result<()> {
    let mut rig = Rig::new()?;
    for n in 1..20u8 {
        rig.ok(create_3d(1, texture(64, 64)))?;
        rig.context(1, &[1])?;
        rig.ok(set_scanout(0, 1, full(64, 64)))?;
        rig.ok(flush(1, full(64, 64)).fenced(1))?;
        rig.device.dump_until(0, |pixels| pixels.len() == 64 * 64 * 3 && pixels.iter().all(|byte| *byte == 0))?;
        rig.ok(submit(1, &clear(1, 1, [n, 0xaa, 0x55, 0xff])).fenced(2))?;
        rig.ok(flush(1, full(64, 64)).fenced(3))?;
        rig.device.dump_until(0, |pixels| pixels.chunks(3).all(|pixel| pixel == [n, 0xaa, 0x55]))?;
        rig.ok(destroy_context(1))?;
        rig.ok(unref(1))?;
    }
    rig.serves()
}

#[test]
fn scanouts_flushes_and_cursors_of_bad_3d_resources_are_refused() -> Result<()> {
    let mut rig = Rig::new()?;
    rig.ok(create_3d(1, texture(64, 64)))?;
    rig.ok(create_3d(2, buffer(64 * 64 * 4, 1 << 4)))?;
    rig.ok(create_3d(3, Create3d { format: R8, bind: 1 << 3, ..texture(64, 64) }))?;
    rig.refuses(
        "scanout-rectangle",
        [
            ("outside", set_scanout(0, 1, Rect { x: 1, y: 0, width: 64, height: 64 }), ERR_INVALID_PARAMETER),
            ("wraps", set_scanout(0, 1, Rect { x: u32::MAX, y: 0, width: 2, height: 2 }), ERR_INVALID_PARAMETER),
            ("empty", set_scanout(0, 1, full(0, 64)), ERR_INVALID_PARAMETER),
        ],
    )?;
    rig.refuses("scanout-id", [("beyond", set_scanout(2, 1, full(64, 64)), ERR_INVALID_SCANOUT_ID)])?;
    rig.refuses("format", [("one channel", set_scanout(0, 3, full(64, 64)), ERR_INVALID_PARAMETER)])?;
    ensure!(rig.ask(set_scanout(0, 2, full(64, 1)))? >= ERR_UNSPEC, "a buffer is shown");
    rig.refuses(
        "flush-rectangle",
        [
            ("outside", flush(1, Rect { x: 60, y: 0, width: 5, height: 1 }), ERR_INVALID_PARAMETER),
            ("wraps", flush(1, Rect { x: u32::MAX, y: u32::MAX, width: 1, height: 1 }), ERR_INVALID_PARAMETER),
        ],
    )?;
    for id in [1, 2, 3] {
        for scanout in [0, 1, 2, u32::MAX] {
            rig.session.call_cursor(&update_cursor(scanout, 0, 0, id, u32::MAX, 70).build())?;
        }
    }
    rig.serves()
}

#[test]
fn a_flood_of_fenced_flushes_of_3d_is_answered_and_bounded() -> Result<()> {
    let mut rig = Rig::new()?;
    rig.ok(create_3d(1, texture(256, 256)))?;
    rig.ok(set_scanout(0, 1, full(256, 256)))?;
    rig.ok(set_scanout(1, 1, full(100, 100)))?;
    let flood = |rig: &mut Rig, count: u32| -> Result<()> {
        let part = |n: u32| Rect { x: n % 200, y: n % 177, width: 1 + n % 50, height: 1 + n % 60 };
        let answers = rig.session.ask_all((0..count).map(|n| flush(1, part(n)).fenced(n.into())))?;
        ensure!(answers.iter().all(|answer| *answer == OK_NODATA), "a flush failed");
        Ok(())
    };
    flood(&mut rig, 1000)?;
    let used = rig.used()?;
    flood(&mut rig, 10_000)?;
    rig.has_not_grown(used)?;
    rig.serves()
}

#[test]
fn hundreds_of_3d_scanouts_are_bounded_and_the_last_is_right() -> Result<()> {
    const COUNT: u32 = 300;
    let mut rig = Rig::new()?;
    rig.context(1, &[])?;
    let used = rig.used()?;
    let mut most = used;
    for id in 1..=COUNT {
        rig.ok(create_3d(id, texture(64, 64)))?;
        rig.ok(context_attach(1, id))?;
        rig.ok(submit(1, &clear(1, id, [id as u8, (id / 256) as u8, 9, 255])))?;
        rig.ok(set_scanout(0, id, full(64, 64)))?;
        rig.ok(flush(id, full(64, 64)).fenced(id.into()))?;
        let now = rig.used()?;
        most.device.1 = most.device.1.max(now.device.1);
        most.renderer.1 = most.renderer.1.max(now.renderer.1);
    }
    // A bound far below one for each, whatever is kept for the ones that were shown last.
    ensure!(most.device.1 < used.device.1 + 150, "descriptors of the device: {used:?}, then {most:?}");
    ensure!(most.renderer.1 < used.renderer.1 + 150, "descriptors of the renderer: {used:?}, then {most:?}");
    for id in [COUNT, 1, 150] {
        let colour = [id as u8, (id / 256) as u8, 9];
        rig.ok(set_scanout(0, id, full(64, 64)))?;
        rig.ok(flush(id, full(64, 64)))?;
        rig.device.dump_until(0, |pixels| pixels.chunks(3).all(|pixel| pixel == colour))?;
    }
    for id in 1..=COUNT {
        rig.ok(unref(id))?;
    }
    rig.has_not_grown(Used { device: (used.device.0 + 512, used.device.1), ..used })?;
    rig.serves()
}

#[test]
fn a_texture_s_cursor_is_the_right_way_up_and_keeps_its_alpha() -> Result<()> {
    const B8G8R8A8_AND_X8: [u32; 2] = [B8G8R8A8, B8G8R8X8];
    let mut rig = Rig::new()?;
    rig.session.memory.write(PIXELS, &pointer::bytes())?;
    for format in B8G8R8A8_AND_X8 {
        // 1: the renderer keeps it upside down (VIRTIO_GPU_RESOURCE_FLAG_Y_0_TOP).
        for flags in [0, 1] {
            let side = pointer::SIDE;
            rig.ok(create_3d(1, Create3d { format, flags, ..texture(side, side) }))?;
            rig.ok(attach_backing(1, &[(PIXELS, side * side * 4)]))?;
            rig.ok(transfer_to(0, 1, whole(side, side)))?;
            rig.session.call_cursor(&update_cursor(0, 0, 0, 1, 0, 0).build())?;
            let right = rig.device.cursor_is(0, Some(&pointer::bytes()));
            right.with_context(|| format!("format {format}, flags {flags}"))?;
            rig.session.call_cursor(&update_cursor(0, 0, 0, 0, 0, 0).build())?;
            rig.device.cursor_is(0, None)?;
            rig.ok(unref(1))?;
        }
    }
    rig.serves()
}

#[test]
fn cursors_of_3d_outlive_any_number_of_drivers() -> Result<()> {
    let mut rig = Rig::new()?;
    let mut used = None;
    for round in 0..100u8 {
        rig.ok(create_3d(1, texture(64, 64)))?;
        rig.session.call_cursor(&update_cursor(0, 5, 5, 1, 0, 0).build())?;
        // What a driver leaves behind must not use up what the renderer has for pictures.
        rig.session.stop_queue(0)?;
        rig.session.start_queue(0)?;
        if round == 10 {
            // Its answer says that the queue's descriptors have arrived.
            rig.session.assert_serves()?;
            used = Some(rig.used()?);
        }
    }
    rig.ok(create_3d(1, texture(64, 64)))?;
    rig.context(1, &[1])?;
    rig.ok(submit(1, &clear(1, 1, [7, 8, 9, 255])))?;
    rig.ok(set_scanout(0, 1, full(64, 64)))?;
    rig.ok(flush(1, full(64, 64)).fenced(1))?;
    rig.device.dump_until(0, |pixels| pixels.chunks(3).all(|pixel| pixel == [7, 8, 9]))?;
    rig.ok(destroy_context(1))?;
    rig.ok(unref(1))?;
    rig.has_not_grown(used.context("no round")?)
}
