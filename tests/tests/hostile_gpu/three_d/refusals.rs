//! Commands that ask for what cannot be or is not there: each gets the specified error.

use super::*;

/// A texture of 64×64 with two levels and backing, a context that may use it, and another texture that it may not.
fn prepared() -> Result<Rig> {
    let mut rig = Rig::new()?;
    rig.ok(create_3d(7, Create3d { last_level: 1, ..texture(64, 64) }))?;
    rig.ok(attach_backing(7, &[(PIXELS, 64 * 64 * 4)]))?;
    rig.texture(8, 64, 64, PIXELS)?;
    rig.context(3, &[7])?;
    Ok(rig)
}

#[test]
fn sizes_of_3d_resources_that_make_no_sense_are_refused() -> Result<()> {
    let mut rig = Rig::new()?;
    let flat = texture(64, 64);
    let bad = |what| create_3d(1, what);
    let cases = [
        ("zero width", Create3d { width: 0, ..flat }),
        ("zero height", Create3d { height: 0, ..flat }),
        ("gigantic", texture(u32::MAX, u32::MAX)),
        ("32 bits wrap", texture(0x1_0001, 0x1_0000)),
        ("a side too long", texture(16385, 1)),
        ("a target that does not exist", Create3d { target: 9, ..flat }),
        ("levels without end", Create3d { last_level: u32::MAX, ..flat }),
        ("samples without end", Create3d { samples: u32::MAX, ..flat }),
        ("layers without end", Create3d { array_size: u32::MAX, depth: u32::MAX, ..flat }),
        ("a buffer with rows", Create3d { height: 2, ..buffer(4096, 1 << 4) }),
        ("a buffer too long", buffer(u32::MAX, 1 << 4)),
    ];
    rig.refuses("resource-size", cases.map(|(name, what)| (name, bad(what), ERR_INVALID_PARAMETER)))?;
    let most = Create3d { target: TEXTURE_3D, depth: 2048, ..texture(16384, 16384) };
    rig.refuses("quota", [("a terabyte", bad(most), ERR_OUT_OF_MEMORY)])?;
    // Only the renderer can tell; the id is the guest's to free, as for every command that fails late.
    for (name, what) in [
        ("no layers", Create3d { array_size: 0, ..flat }),
        ("no depth", Create3d { depth: 0, ..flat }),
        ("a format that does not exist", Create3d { format: 3000, ..flat }),
        ("more levels than sizes", Create3d { last_level: 14, ..flat }),
        ("a flat texture with depth", Create3d { depth: 2, ..flat }),
    ] {
        rig.refuses("renderer", [(name, bad(what), ERR_INVALID_PARAMETER)])?;
        rig.expect(name, attach_backing(1, &[(PIXELS, 4096)]), ERR_INVALID_RESOURCE_ID)?;
        rig.ok(unref(1))?;
    }
    ensure!(rig.restarts()? == 0);
    Ok(())
}

#[test]
fn ids_of_contexts_and_3d_resources_that_are_zero_taken_or_huge_are_refused() -> Result<()> {
    let mut rig = prepared()?;
    rig.ok(create_2d(9, B8G8R8X8, 8, 8))?;
    let small = texture(8, 8);
    rig.refuses(
        "resource-exists",
        [
            ("zero", create_3d(0, small), ERR_INVALID_RESOURCE_ID),
            ("taken", create_3d(7, small), ERR_INVALID_RESOURCE_ID),
            ("taken by 2D", create_3d(9, small), ERR_INVALID_RESOURCE_ID),
            ("2D takes 3D's", create_2d(7, B8G8R8X8, 8, 8), ERR_INVALID_RESOURCE_ID),
        ],
    )?;
    rig.refuses(
        "context-id",
        [
            ("context zero", create_context(0), ERR_INVALID_CONTEXT_ID),
            ("context taken", create_context(3), ERR_INVALID_CONTEXT_ID),
            ("destroys zero", destroy_context(0), ERR_INVALID_CONTEXT_ID),
            ("destroys unknown", destroy_context(99), ERR_INVALID_CONTEXT_ID),
            ("submits to zero", submit(0, &[0]), ERR_INVALID_CONTEXT_ID),
            ("submits to unknown", submit(99, &[0]), ERR_INVALID_CONTEXT_ID),
            ("attaches to unknown", context_attach(99, 7), ERR_INVALID_CONTEXT_ID),
            ("detaches from unknown", context_detach(99, 7), ERR_INVALID_CONTEXT_ID),
            ("transfers for unknown", transfer_to(99, 7, whole(64, 64)), ERR_INVALID_CONTEXT_ID),
        ],
    )?;
    rig.refuses(
        "resource-id",
        [
            ("attaches unknown", context_attach(3, 99), ERR_INVALID_RESOURCE_ID),
            ("detaches unknown", context_detach(3, 99), ERR_INVALID_RESOURCE_ID),
            ("transfers unknown", transfer_to(3, 99, whole(1, 1)), ERR_INVALID_RESOURCE_ID),
            ("transfers from unknown", transfer_from(3, 99, whole(1, 1)), ERR_INVALID_RESOURCE_ID),
        ],
    )?;
    for id in [i32::MAX as u32, 1 << 31, u32::MAX] {
        // Whether a huge id is one is the renderer's word; either way it can be freed and harms nobody.
        let made = rig.ask(create_3d(id, small))?;
        ensure!(matches!(made, OK_NODATA | ERR_INVALID_PARAMETER), "resource {id:#x}: {made:#x}");
        rig.ok(unref(id))?;
        let made = rig.ask(create_context(id))?;
        ensure!(matches!(made, OK_NODATA | ERR_INVALID_PARAMETER), "context {id:#x}: {made:#x}");
        rig.ok(destroy_context(id))?;
        rig.serves()?;
    }
    Ok(())
}

#[test]
fn capsets_that_do_not_exist_are_refused_and_many_cost_nothing() -> Result<()> {
    let mut rig = Rig::new()?;
    let first = rig.session.call(&get_capset_info(0).build(), 40)?;
    let word = |bytes: &[u8], at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    let (id, version, size) = (word(&first, 24), word(&first, 28), word(&first, 32));
    let count = word(&rig.session.config(16)?, 12);
    ensure!(count >= 1, "no capsets");
    rig.refuses(
        "capset",
        [
            ("index beyond", get_capset_info(count), ERR_INVALID_PARAMETER),
            ("last index", get_capset_info(u32::MAX), ERR_INVALID_PARAMETER),
            ("id zero", get_capset(0, 0), ERR_INVALID_PARAMETER),
            ("unknown id", get_capset(63, 0), ERR_INVALID_PARAMETER),
            ("last id", get_capset(u32::MAX, u32::MAX), ERR_INVALID_PARAMETER),
            ("version beyond", get_capset(id, version + 1), ERR_INVALID_PARAMETER),
            ("last version", get_capset(id, u32::MAX), ERR_INVALID_PARAMETER),
        ],
    )?;
    let used = rig.used()?;
    for round in 0..3000 {
        let capset = rig.session.call(&get_capset(id, version).build(), 24 + size)?;
        ensure!(response_type(&capset) == OK_CAPSET && capset.len() == 24 + size as usize, "round {round}");
    }
    // Less room than the capset has.
    for room in [24, 25, 24 + size - 1] {
        let answer = rig.session.call(&get_capset(id, version).build(), room)?;
        ensure!(response_type(&answer) == ERR_INVALID_PARAMETER && answer.len() == 24);
    }
    rig.has_not_grown(used)
}

#[test]
fn what_is_gone_stays_gone_for_every_3d_command() -> Result<()> {
    let mut rig = prepared()?;
    let mut used = rig.used()?;
    let to = || whole(64, 64);
    for round in 0..30 {
        if round == 15 {
            used = rig.used()?;
        }
        rig.ok(context_detach(3, 7))?;
        // Detached: no transfer on the context's behalf, though the resource is there.
        rig.refuses("renderer", [("a transfer of a detached resource", transfer_to(3, 7, to()), ERR_UNSPEC)])?;
        ensure!(rig.ask(context_detach(3, 7))? != OK_NODATA, "detached twice");
        rig.ok(detach_backing(7))?;
        rig.refuses(
            "backing-missing",
            [
                ("detaches backing twice", detach_backing(7), ERR_UNSPEC),
                ("to host without backing", transfer_to(0, 7, to()), ERR_UNSPEC),
                ("from host without backing", transfer_from(0, 7, to()), ERR_UNSPEC),
            ],
        )?;
        rig.ok(unref(7))?;
        rig.refuses(
            "resource-id",
            [
                ("unref", unref(7), ERR_INVALID_RESOURCE_ID),
                ("attach backing", attach_backing(7, &[(PIXELS, 4096)]), ERR_INVALID_RESOURCE_ID),
                ("detach backing", detach_backing(7), ERR_INVALID_RESOURCE_ID),
                ("attach", context_attach(3, 7), ERR_INVALID_RESOURCE_ID),
                ("detach", context_detach(3, 7), ERR_INVALID_RESOURCE_ID),
                ("to host", transfer_to(3, 7, to()), ERR_INVALID_RESOURCE_ID),
                ("from host", transfer_from(3, 7, to()), ERR_INVALID_RESOURCE_ID),
                ("2D to host", transfer(7, full(64, 64), 0), ERR_INVALID_RESOURCE_ID),
                ("scanout", set_scanout(0, 7, full(64, 64)), ERR_INVALID_RESOURCE_ID),
                ("flush", flush(7, full(64, 64)), ERR_INVALID_RESOURCE_ID),
                ("uuid", assign_uuid(7), ERR_INVALID_RESOURCE_ID),
            ],
        )?;
        rig.session.call_cursor(&update_cursor(0, 0, 0, 7, 0, 0).build())?;
        rig.ok(destroy_context(3))?;
        rig.refuses(
            "context-id",
            [
                ("destroy", destroy_context(3), ERR_INVALID_CONTEXT_ID),
                ("submit", submit(3, &clear(1, 8, [1; 4])), ERR_INVALID_CONTEXT_ID),
                ("attach to it", context_attach(3, 8), ERR_INVALID_CONTEXT_ID),
                ("transfer for it", transfer_from(3, 8, to()), ERR_INVALID_CONTEXT_ID),
            ],
        )?;
        rig.texture(7, 64, 64, PIXELS)?;
        rig.context(3, &[7])?;
    }
    rig.has_not_grown(used)
}

#[test]
fn a_resource_that_is_freed_while_it_is_drawn_to_harms_nobody() -> Result<()> {
    let mut rig = prepared()?;
    for round in 0..50 {
        rig.texture(20, 32, 32, PIXELS)?;
        rig.ok(context_attach(3, 20))?;
        // The surface stays bound when its resource goes.
        rig.ok(submit(3, &[virgl(1, 8, &[5, 20, B8G8R8A8, 0, 0]), virgl(5, 0, &[1, 0, 5])].concat()))?;
        rig.ok(unref(20))?;
        let draws = [virgl(7, 0, &[1 << 2, 0, 0, 0, 0, 0, 0, 0]), virgl(5, 0, &[0, 0]), virgl(3, 8, &[5])].concat();
        let answer = rig.ask(submit(3, &draws))?;
        ensure!(answer == OK_NODATA || answer >= ERR_UNSPEC, "round {round}: {answer:#x}");
    }
    ensure!(rig.restarts()? == 0, "the renderer died of it");
    rig.serves()
}

#[test]
fn backing_of_3d_resources_is_given_once_and_lies_in_guest_memory() -> Result<()> {
    let mut rig = prepared()?;
    let end = rig.session.memory.size();
    rig.refuses("backing-twice", [("twice", attach_backing(7, &[(PIXELS, 4096)]), ERR_UNSPEC)])?;
    rig.ok(create_3d(1, texture(8, 8)))?;
    rig.refuses(
        "backing-address",
        [
            ("beyond memory", attach_backing(1, &[(end, 4096)]), ERR_INVALID_PARAMETER),
            ("across its end", attach_backing(1, &[(end - 16, 4096)]), ERR_INVALID_PARAMETER),
            ("wraps", attach_backing(1, &[(u64::MAX - 100, 4096)]), ERR_INVALID_PARAMETER),
        ],
    )?;
    for count in [2, 16384, 16385, u32::MAX] {
        let claimed = Bytes::header(RESOURCE_ATTACH_BACKING).u32(1).u32(count).u64(PIXELS).u32(64).u32(0);
        ensure!(rig.ask(claimed)? >= ERR_UNSPEC, "{count} entries of which one is there");
    }
    // Whatever was refused, it can still be given.
    rig.ok(attach_backing(1, &[(PIXELS, 256)]))?;
    rig.ok(context_attach(3, 1))?;
    // Attaching again is harmless.
    rig.ok(context_attach(3, 1))?;
    rig.serves()
}

#[test]
fn transfers_outside_of_resource_level_or_backing_are_refused() -> Result<()> {
    let mut rig = prepared()?;
    let whole = whole(64, 64);
    let boxes = [
        ("right", Transfer3d { x: 1, ..whole }),
        ("below", Transfer3d { y: 1, ..whole }),
        ("behind", Transfer3d { z: 1, ..whole }),
        ("too deep", Transfer3d { depth: 2, ..whole }),
        ("negative", Transfer3d { x: (-1i32) as u32, y: (-1i32) as u32, ..whole }),
        ("wraps", Transfer3d { x: u32::MAX, width: 2, ..whole }),
        ("wraps below", Transfer3d { y: u32::MAX - 1, height: 4, ..whole }),
        ("huge", Transfer3d { width: u32::MAX, height: u32::MAX, depth: u32::MAX, ..whole }),
        ("of a smaller level", Transfer3d { level: 1, ..whole }),
        ("of a level beyond", Transfer3d { level: 2, width: 1, height: 1, ..whole }),
        ("of the last level there is", Transfer3d { level: u32::MAX, width: 1, height: 1, ..whole }),
        ("from beyond the backing", Transfer3d { offset: 64 * 64 * 4 + 1, ..whole }),
        ("from an offset that wraps", Transfer3d { offset: u64::MAX - 8, ..whole }),
    ];
    rig.refuses("transfer-box", boxes.map(|(name, to)| (name, transfer_to(3, 7, to), ERR_INVALID_PARAMETER)))?;
    rig.refuses("transfer-box", boxes.map(|(name, from)| (name, transfer_from(3, 7, from), ERR_INVALID_PARAMETER)))?;
    let lies = [
        ("an empty box", Transfer3d { width: 0, ..whole }),
        ("no depth", Transfer3d { depth: 0, ..whole }),
        ("the last bytes are missing", Transfer3d { offset: 4, ..whole }),
        ("a stride beyond the backing", Transfer3d { stride: 64 * 4 + 4, ..whole }),
        ("the longest stride", Transfer3d { stride: u32::MAX, ..whole }),
        ("a stride that wraps", Transfer3d { stride: 0x4000_0001, ..whole }),
    ];
    rig.refuses("renderer", lies.map(|(name, to)| (name, transfer_to(3, 7, to), ERR_INVALID_PARAMETER)))?;
    rig.refuses("renderer", lies.map(|(name, from)| (name, transfer_from(3, 7, from), ERR_INVALID_PARAMETER)))?;
    // Strides that are too short to be true: done within bounds or refused.
    for stride in [1, 4, 255] {
        for layer_stride in [0, 1, u32::MAX] {
            rig.ask(transfer_to(3, 7, Transfer3d { stride, layer_stride, ..whole }))?;
            rig.ask(transfer_from(3, 7, Transfer3d { stride, layer_stride, ..whole }))?;
        }
    }
    ensure!(rig.restarts()? == 0, "the renderer died of a lie");
    rig.serves()
}

#[test]
fn a_transfer_never_writes_beyond_its_backing() -> Result<()> {
    let mut rig = Rig::new()?;
    rig.ok(create_3d(1, texture(64, 64)))?;
    // Pieces with gaps, less than the data in all.
    let pieces: Vec<(u64, u32)> = (0..32).map(|n| (PIXELS + n * 0x1000, 256)).collect();
    rig.ok(attach_backing(1, &pieces))?;
    rig.session.memory.write(PIXELS, &[0xa5; 0x20000])?;
    rig.refuses("renderer", [("short", transfer_from(0, 1, whole(64, 64)), ERR_INVALID_PARAMETER)])?;
    ensure!(rig.session.memory.read(PIXELS, 0x20000)?.iter().all(|byte| *byte == 0xa5), "written though refused");
    rig.ok(transfer_from(0, 1, whole(64, 32)))?;
    let memory = rig.session.memory.read(PIXELS, 0x20000)?;
    for (at, page) in memory.chunks(0x1000).enumerate() {
        ensure!(page[..256].iter().all(|byte| *byte == 0), "piece {at} is not what a new texture holds");
        ensure!(page[256..].iter().all(|byte| *byte == 0xa5), "piece {at} was written beyond its end");
    }
    rig.serves()
}

#[test]
fn host_memory_that_was_never_written_is_zero() -> Result<()> {
    const BYTES: u32 = 64 * 64 * 4;
    let mut rig = Rig::new()?;
    let secret = [0x5a; BYTES as usize];
    let binds = [1 << 4, 1 << 5, 1 << 6, 1 << 11, 1 << 17, 1 << 19];
    let kinds = binds.map(|bind| buffer(BYTES, bind)).into_iter();
    let kinds = kinds.chain([texture(64, 64), Create3d { bind: 1 << 3, ..texture(64, 64) }]);
    for (at, what) in kinds.enumerate() {
        let region = if what.target == BUFFER { whole(BYTES, 1) } else { whole(64, 64) };
        for round in 0..8 {
            let name = format!("kind {at}, round {round}");
            // One context's secret, freed.
            rig.session.memory.write(PIXELS, &secret)?;
            rig.expect(&name, create_3d(1, what), OK_NODATA)?;
            rig.ok(attach_backing(1, &[(PIXELS, BYTES)]))?;
            rig.context(1, &[1])?;
            rig.expect(&name, transfer_to(1, 1, region), OK_NODATA)?;
            rig.session.memory.write(PIXELS, &[0; BYTES as usize])?;
            rig.expect(&name, transfer_from(1, 1, region), OK_NODATA)?;
            // Buffers that stay the guest's, or that only the host writes to, keep nothing.
            let keeps = what.target != BUFFER || what.bind & (1 << 17 | 1 << 19) == 0;
            let kept = rig.session.memory.read(PIXELS, BYTES as usize)? == secret;
            ensure!(kept || !keeps, "{name}: the secret was not kept");
            rig.ok(unref(1))?;
            rig.ok(destroy_context(1))?;
            // Another's fresh memory.
            rig.session.memory.write(PIXELS, &[0x11; BYTES as usize])?;
            rig.ok(create_3d(2, what))?;
            rig.ok(attach_backing(2, &[(PIXELS, BYTES)]))?;
            rig.context(2, &[2])?;
            rig.expect(&name, transfer_from(2, 2, region), OK_NODATA)?;
            let found = rig.session.memory.read(PIXELS, BYTES as usize)?;
            let clean = |byte: u8| byte == 0 || (!keeps && byte == 0x11);
            ensure!(found.iter().all(|byte| clean(*byte)), "{name}: a new resource holds {:x?}", &found[..16]);
            rig.ok(unref(2))?;
            rig.ok(destroy_context(2))?;
        }
    }
    rig.serves()
}

#[test]
fn commands_of_3d_need_its_feature() -> Result<()> {
    let mut device = DeviceProcess::ours_with_3d(&program("phyllome-guest")?, 1)?;
    let mut session = Session::start(&mut device, Options::default())?;
    let requests = [
        get_capset_info(0),
        get_capset(1, 1),
        create_context(1),
        destroy_context(1),
        context_attach(1, 1),
        context_detach(1, 1),
        create_3d(1, texture(8, 8)),
        transfer_to(1, 1, whole(8, 8)),
        transfer_from(1, 1, whole(8, 8)),
        submit(1, &[0]),
    ];
    let count = requests.len() as u64;
    for request in requests {
        let kind = response_type(&request.0);
        let answer = session.ask(request)?;
        ensure!(answer == ERR_UNSPEC, "{kind:#x}: {answer:#x}");
        session.assert_serves()?;
    }
    let report = device.report()?;
    ensure!(report["gpu"]["errors"]["not-negotiated"].as_u64() >= Some(count), "{report}");
    ensure!(report["gpu"]["renderer"] == "2d", "{report}");
    Ok(())
}

#[test]
fn classic_resources_that_contexts_use_go_when_they_are_freed() -> Result<()> {
    let mut rig = Rig::new()?;
    rig.context(1, &[])?;
    let mut used = rig.used()?;
    for round in 0..120 {
        if round == 60 {
            used = rig.used()?;
        }
        rig.session.create(7, B8G8R8A8, 64, 64, PIXELS)?;
        rig.expect("to an unknown context", context_attach(99, 7), ERR_INVALID_CONTEXT_ID)?;
        rig.ok(context_attach(1, 7))?;
        rig.ok(context_attach(1, 7))?;
        rig.ok(transfer(7, full(64, 64), 0))?;
        // Only its memory is the device's; 3D's own transfers are not for it.
        rig.expect("to host", transfer_to(1, 7, whole(64, 64)), ERR_INVALID_RESOURCE_ID)?;
        rig.expect("from host", transfer_from(1, 7, whole(64, 64)), ERR_INVALID_RESOURCE_ID)?;
        rig.ok(submit(1, &clear(1, 7, [1, 2, 3, 4])).fenced(1))?;
        rig.ok(unref(7))?;
        rig.expect("gone", context_detach(1, 7), ERR_INVALID_RESOURCE_ID)?;
        // The id is free, for 3D as well.
        rig.texture(7, 8, 8, PIXELS)?;
        rig.ok(unref(7))?;
        // What a context has no resource for ends at worst that context.
        rig.ask(submit(1, &clear(1, 7, [1, 2, 3, 4])))?;
        rig.ok(destroy_context(1))?;
        rig.context(1, &[])?;
    }
    rig.has_not_grown(used)?;
    ensure!(rig.restarts()? == 0);
    rig.serves()
}
