//! Command streams: lies about their size, garbage, half-true commands, and streams that change while they are read.

use super::*;
use phyllome_tests::frontend::session::request_at;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A stream that is still being executed may take as long as the device lets the renderer be silent.
const PATIENCE: Duration = Duration::from_secs(40);

/// Sends a stream to context 1; the response, however long it takes.
fn send(rig: &mut Rig, words: &[u32]) -> Result<u32> {
    rig.session.post(0, &submit(1, words).build(), 24)?;
    rig.session.control.wait(&rig.session.memory, PATIENCE)?;
    Ok(response_type(&rig.session.memory.read(session::response_at(0), 24)?))
}

#[test]
fn streams_that_are_not_as_long_as_they_say_are_refused() -> Result<()> {
    let mut rig = Rig::new()?;
    rig.context(1, &[])?;
    let nops = [0; 64];
    rig.refuses(
        "short-request",
        [
            ("4 GiB claimed", submit_claimed(1, u32::MAX, &nops), ERR_UNSPEC),
            ("4 GiB in whole words", submit_claimed(1, u32::MAX - 3, &nops), ERR_UNSPEC),
            ("2 GiB claimed", submit_claimed(1, 1 << 31, &nops), ERR_UNSPEC),
            ("a word more than is there", submit_claimed(1, 65 * 4, &nops), ERR_UNSPEC),
            ("a byte more than is there", submit_claimed(1, 64 * 4 + 1, &nops), ERR_UNSPEC),
            ("some of nothing", submit_claimed(1, 4, &[]), ERR_UNSPEC),
            ("no size", Bytes::header(SUBMIT_3D).context(1), ERR_UNSPEC),
        ],
    )?;
    rig.refuses(
        "commands",
        [1, 2, 3, 5, 255].map(|odd| ("no whole words", submit_claimed(1, odd, &nops), ERR_INVALID_PARAMETER)),
    )?;
    rig.ok(submit(1, &[]))?;
    rig.ok(submit_claimed(1, 0, &nops))?;
    // The longest that goes: what is beyond the request's size is not read.
    rig.ok(submit(1, &vec![0; (2 << 20) / 4]))?;
    rig.serves()
}

#[test]
fn commands_with_wrong_handles_and_lengths_are_refused_and_leak_nothing() -> Result<()> {
    let mut rig = Rig::new()?;
    let header = |number: u32, object: u32, length: u32| number | object << 8 | length << 16;
    let no_handle = 0xdead_beef;
    let streams: Vec<Vec<u32>> = vec![
        vec![header(1, 8, 0xffff)],
        vec![header(7, 0, 0xffff), 1, 2, 3],
        vec![header(255, 255, 0)],
        vec![header(60, 0, 1), 0],
        virgl(5, 0, &[1, 0, no_handle]),
        virgl(5, 0, &[u32::MAX, 0]),
        virgl(1, 8, &[1, no_handle, B8G8R8A8, 0, 0]),
        virgl(1, 8, &[1, 7, 0xffff_ffff, 0, 0]),
        virgl(1, 8, &[1, 7, B8G8R8A8, 77, 0xffff_0000]),
        virgl(1, 6, &[2, no_handle, B8G8R8A8, 0, 0, 0]),
        virgl(1, 200, &[1, 2, 3]),
        virgl(2, 4, &[no_handle]),
        virgl(3, 8, &[no_handle]),
        virgl(6, 0, &[0, 0, no_handle]),
        virgl(8, 0, &[0, u32::MAX, 4, 0, u32::MAX, 0, 0, 0, 0, 0, u32::MAX, 0]),
        // RESOURCE_INLINE_WRITE to nothing, and beyond the end.
        virgl(9, 0, &[no_handle, 0, 0, 0, 0, 0, 0, 0, 64, 64, 1, 1]),
        virgl(9, 0, &[7, 0, 0, 4, 0, u32::MAX - 3, 0, 0, 64, 1, 1, 1]),
        virgl(12, 0, &[0, 0, no_handle]),
        // RESOURCE_COPY_REGION and BLIT of nothing, and from outside.
        virgl(17, 0, &[no_handle, 0, 0, 0, 0, no_handle, 0, 0, 0, 0, 1, 1, 1]),
        virgl(17, 0, &[7, 0, u32::MAX, 0, 0, 7, 0, u32::MAX, 0, 0, u32::MAX, 1, 1]),
        virgl(29, 0, &[no_handle]),
        // TRANSFER3D of virgl's own with a box and offset outside.
        virgl(46, 0, &[7, 0, 0, 4, 0, 60, 60, 0, 64, 64, 1, u32::MAX, 1]),
        virgl(46, 0, &[7, 0, 0, u32::MAX, u32::MAX, 0, 0, 0, 64, 64, 1, 0, 2]),
        virgl(47, 0, &[7, 0, 0, 4, 0, 0, 0, 0, 64, 64, 1, 7, 0xffff_fff0, 1]),
    ];
    let mut used = rig.used()?;
    for (round, (at, stream)) in streams.iter().enumerate().cycle().take(4 * streams.len()).enumerate() {
        if round == 2 * streams.len() {
            used = rig.used()?;
        }
        rig.texture(7, 64, 64, PIXELS)?;
        rig.context(1, &[7])?;
        let answer = send(&mut rig, stream)?;
        ensure!(answer == OK_NODATA || answer >= ERR_UNSPEC, "stream {at}: {answer:#x}");
        rig.ok(destroy_context(1))?;
        rig.ok(unref(7))?;
    }
    ensure!(rig.restarts()? == 0, "the renderer died of it");
    rig.serves()?;
    rig.has_not_grown(used)
}

/// virgl's commands with the object and the number of words that the library asks of them.
const SHAPES: [(u32, u32, u32); 44] = [
    (1, 1, 11),
    (1, 2, 9),
    (1, 3, 5),
    (1, 4, 12),
    (1, 5, 5),
    (1, 6, 6),
    (1, 7, 9),
    (1, 8, 5),
    (1, 9, 4),
    (2, 1, 1),
    (2, 2, 1),
    (2, 5, 1),
    (3, 8, 1),
    (4, 0, 7),
    (5, 0, 3),
    (6, 0, 3),
    (7, 0, 8),
    (8, 0, 12),
    (9, 0, 15),
    (10, 0, 3),
    (11, 0, 3),
    (12, 0, 8),
    (13, 0, 1),
    (14, 0, 4),
    (15, 0, 3),
    (16, 0, 21),
    (17, 0, 13),
    (18, 0, 3),
    (19, 0, 1),
    (20, 0, 1),
    (21, 0, 2),
    (22, 0, 32),
    (23, 0, 32),
    (24, 0, 1),
    (25, 0, 2),
    (26, 0, 3),
    (27, 0, 5),
    (28, 0, 1),
    (29, 0, 1),
    (30, 0, 1),
    (31, 0, 2),
    (40, 0, 8),
    (46, 0, 13),
    (47, 0, 14),
];

/// Words that look like commands, or like nothing at all.
fn garbage(random: &mut Random) -> Vec<u32> {
    if random.below(16) == 0 {
        return (0..random.below(2000) + 1).map(|_| random.next()).collect();
    }
    let mut words = Vec::new();
    for _ in 0..1 + random.below(4) {
        let (number, object, length) = SHAPES[random.below(SHAPES.len() as u32) as usize];
        let length = if random.below(10) == 0 { random.below(40) } else { length };
        words.push(number | object << 8 | length << 16);
        words.extend((0..length).map(|_| match random.below(8) {
            0 => random.next(),
            1 => random.below(300),
            2 => u32::MAX - random.below(3),
            // The ids that there are, and small numbers.
            3 => 7 + random.below(2),
            _ => random.below(4),
        }));
    }
    words
}

#[test]
fn garbage_ends_at_worst_the_renderer() -> Result<()> {
    let mut rig = Rig::new()?;
    let mut random = Random::new();
    // A classic picture on the first scanout.
    rig.session.memory.write(PIXELS + 0x10_0000, &[0x42; 32 * 32 * 4])?;
    rig.session.create(500, B8G8R8X8, 32, 32, PIXELS + 0x10_0000)?;
    rig.ok(set_scanout(0, 500, full(32, 32)))?;
    rig.ok(transfer(500, full(32, 32), 0))?;
    rig.ok(flush(500, full(32, 32)))?;
    let mut done = 0;
    for round in 0..200 {
        if rig.restarts()? > 0 {
            println!("the renderer died in round {round}");
            break;
        }
        for id in [1, 7, 8] {
            rig.ask(unref(id))?;
        }
        rig.ask(destroy_context(1))?;
        rig.ask(create_3d(7, texture(64, 64)))?;
        rig.ask(attach_backing(7, &[(PIXELS, 64 * 64 * 4)]))?;
        rig.ask(create_3d(8, buffer(4096, 1 << 4)))?;
        rig.ask(create_context(1))?;
        rig.ask(context_attach(1, 7))?;
        rig.ask(context_attach(1, 8))?;
        // A surface of the texture to begin with; the library stops at the first command that it does not like.
        rig.ask(submit(1, &[virgl(1, 8, &[1, 7, B8G8R8A8, 0, 0]), virgl(5, 0, &[1, 0, 1])].concat()))?;
        for part in 0..30 {
            let answer = send(&mut rig, &garbage(&mut random))?;
            ensure!(answer == OK_NODATA || answer >= ERR_UNSPEC, "round {round}, stream {part}: {answer:#x}");
            done += u32::from(answer == OK_NODATA);
        }
    }
    println!("{done} streams were executed to their ends");
    rig.device.dump_until(0, |pixels| pixels.iter().all(|byte| *byte == 0x42))?;
    // Whether or not it died: all can be freed and made again.
    for id in [1, 7, 8] {
        rig.ask(unref(id))?;
    }
    rig.ask(destroy_context(1))?;
    rig.recovers()?;
    rig.ok(transfer(500, full(32, 32), 0))?;
    rig.ok(flush(500, full(32, 32)))
}

#[test]
fn streams_that_change_while_they_are_read_do_no_harm() -> Result<()> {
    let mut rig = Rig::new()?;
    rig.texture(7, 64, 64, PIXELS)?;
    let good = submit(1, &clear(1, 7, [1, 2, 3, 4])).build();
    let memory = rig.session.memory.share()?;
    let end = Arc::new(AtomicBool::new(false));
    let (stop, length) = (end.clone(), good.len() as u64);
    let mut random = Random::new();
    // Another processor of the guest's flips words of the request: lengths, handles, the context, the size.
    let flips = std::thread::spawn(move || -> Result<()> {
        while !stop.load(Ordering::Relaxed) {
            let at = request_at(0) + 4 * u64::from(random.below(length as u32 / 4));
            let before = memory.read(at, 4)?;
            memory.write(at, &random.next().to_le_bytes())?;
            memory.write(at, &before)?;
        }
        Ok(())
    });
    let mut rounds = 0;
    let begin = Instant::now();
    while rounds < 1500 && begin.elapsed() < Duration::from_secs(20) && rig.restarts()? == 0 {
        if rounds % 50 == 0 {
            rig.session.post(1, &destroy_context(1).build(), 24)?;
            rig.session.control.wait(&rig.session.memory, PATIENCE)?;
            rig.session.post(1, &create_context(1).build(), 24)?;
            rig.session.control.wait(&rig.session.memory, PATIENCE)?;
            rig.session.post(1, &context_attach(1, 7).build(), 24)?;
            rig.session.control.wait(&rig.session.memory, PATIENCE)?;
        }
        rig.session.post(0, &good, 24)?;
        rig.session.control.wait(&rig.session.memory, PATIENCE)?;
        rounds += 1;
    }
    end.store(true, Ordering::Relaxed);
    flips.join().map_err(|_| anyhow::anyhow!("the other processor failed"))??;
    println!("{rounds} rounds, {} restarts", rig.restarts()?);
    rig.recovers()
}

#[test]
fn random_resources_and_transfers_end_at_worst_the_renderer() -> Result<()> {
    let mut rig = Rig::new()?;
    let mut random = Random::new();
    // Mostly sane, so that much of it gets through to the library.
    let odd = |random: &mut Random| random.below(8) == 0;
    let side = |random: &mut Random| if odd(random) { random.below(20_000) } else { 1 + random.below(130) };
    let formats = [B8G8R8A8, R8, R8G8B8A8, B8G8R8X8, 16, 31, 94, 107, 109, 18];
    for round in 0..20 {
        let created = (1..=90).map(|id| {
            let target = if odd(&mut random) { random.below(10) } else { TEXTURE_2D };
            let format = formats[random.below(formats.len() as u32) as usize];
            let what = Create3d {
                target,
                format: if odd(&mut random) { random.below(400) } else { format },
                bind: if odd(&mut random) { random.next() & 0x7f_ffff } else { 1 << 3 },
                width: side(&mut random),
                height: if target == BUFFER { 1 } else { side(&mut random) },
                depth: if odd(&mut random) { random.below(20) } else { 1 },
                array_size: if odd(&mut random) { random.below(20) } else { 1 },
                last_level: if odd(&mut random) { random.below(9) } else { 0 },
                samples: if odd(&mut random) { random.below(40) } else { 0 },
                flags: random.below(4),
            };
            create_3d(id, what)
        });
        let created: Vec<_> = created.collect();
        let made = rig.session.ask_all(created)?;
        let attached = rig.session.ask_all((1..=90).map(|id| attach_backing(id, &[(PIXELS, 0x2_0000)])))?;
        let moved = (1..=90).map(|id| {
            let part = Transfer3d {
                x: if odd(&mut random) { random.below(70) } else { 0 },
                y: if odd(&mut random) { random.below(70) } else { 0 },
                z: if odd(&mut random) { random.below(9) } else { 0 },
                width: 1 + random.below(60),
                height: if odd(&mut random) { 1 + random.below(60) } else { 1 },
                depth: if odd(&mut random) { random.below(4) } else { 1 },
                offset: if odd(&mut random) { random.below(0x2_0010).into() } else { 0 },
                level: if odd(&mut random) { random.below(4) } else { 0 },
                stride: if odd(&mut random) { random.below(1000) } else { 0 },
                layer_stride: if odd(&mut random) { random.below(70_000) } else { 0 },
            };
            if random.below(2) == 0 { transfer_to(0, id, part) } else { transfer_from(0, id, part) }
        });
        let moved: Vec<_> = moved.collect();
        let moved = rig.session.ask_all(moved)?;
        let freed = rig.session.ask_all((1..=90).map(unref))?;
        let good = |answers: &[u32]| answers.iter().filter(|answer| **answer == OK_NODATA).count();
        println!("round {round}: {} made, {} attached, {} moved", good(&made), good(&attached), good(&moved));
        ensure!(made.iter().chain(&moved).all(|answer| *answer == OK_NODATA || *answer >= ERR_UNSPEC));
        // What was refused late is there for the device and can be freed; what was refused at once never was.
        for ((made, freed), id) in made.iter().zip(&freed).zip(1..) {
            ensure!(*made != OK_NODATA || *freed == OK_NODATA, "resource {id} was made and cannot be freed");
        }
        if rig.restarts()? > 0 {
            println!("the renderer died in round {round}");
            break;
        }
    }
    rig.recovers()
}
