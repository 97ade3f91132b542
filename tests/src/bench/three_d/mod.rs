//! What 3D costs: frames of a fixed scene in a Linux guest with Mesa, a round trip of a command without effect, a flush
//! of a blob.
//!
//! Ours is `phyllome-guest device --3d` with its sandboxed renderer, without a shell; the peers are vhost-device-gpu,
//! QEMU's own virtio-gpu-gl, QEMU's contrib vhost-user-gpu, and a guest without 3D whose own processor draws. All run
//! in one folder with Debian trixie's QEMU, virglrenderer and Mesa ([`root`]), so that nothing but the device differs:
//! the same machine, kernel, disk, memory and processors (TCG), the same library, which draws with llvmpipe where there
//! is no GPU.
//!
//! The scene is that of the tests' own `phyllome-gl-scene`: turning triangles, a texture, clears. It is drawn off
//! screen, each frame to its end (`small` and `large`) and one after the other as programs do it (`stream_small` and
//! `stream_large`), in a small size, where commands and answers are the work, and in a large one, where pixels are.
//! (glmark2 draws in the size of the largest mode in a device's EDID, which is another for each device.) A guest of
//! vhost-device-gpu finds virgl's first capset only and draws with OpenGL 3.3, where ours gives 4.3: rows called `gl33`
//! are of our device with that capset alone. Each guest is alone while it draws. Those that are close are started by
//! turns, several rounds, the others once; of each the best round counts, because whatever else the computer does only
//! takes away. CPU is that of QEMU, device and renderer together, for a frame, in the middle of all rounds.

pub mod blob;
pub mod cpu;
pub mod guest;
pub mod root;
pub mod submit;

use super::{Row, median, row_or_why};
use guest::{Frames, Guest, Kind};
use root::{PEER, Root};
use std::collections::BTreeMap;
use submit::{Rig, Trip};

const ROUNDS: usize = 4;
const SUBMIT_ROUNDS: usize = 8;
/// How often a guest that is up draws each scene.
const TIMES: usize = 2;
/// Names, how frames end, and sizes.
const SCENES: [(&str, &str, (u32, u32)); 4] = [
    ("small", "frames", (64, 64)),
    ("large", "frames", (1280, 800)),
    ("stream_small", "stream", (64, 64)),
    ("stream_large", "stream", (1280, 800)),
];
/// Parts of this benchmark, which can be asked for alone.
const PARTS: [&str; 3] = ["fps", "submit", "blob"];

/// All rows, or those of the parts that `only` names; the error says which word names none.
pub fn rows(only: &[String]) -> anyhow::Result<Vec<Row>> {
    if let Some(word) = only.iter().find(|word| !PARTS.contains(&word.as_str())) {
        anyhow::bail!("“{word}” is no part of this benchmark; there are {}", PARTS.join(", "));
    }
    let wanted = |part: &str| only.is_empty() || only.iter().any(|word| word == part);
    let mut rows = Vec::new();
    if wanted("fps") || wanted("submit") {
        match Root::ensure() {
            Ok(root) => {
                let libraries = ["libvirglrenderer1", "libgl1-mesa-dri", "qemu-system-x86"];
                eprintln!("all with {}", libraries.map(|package| root.version(package)).join(", "));
                if wanted("submit") {
                    rows.extend(submit_rows(&root));
                }
                if wanted("fps") {
                    rows.extend(fps_rows(&root));
                }
            }
            Err(error) => {
                let why = format!("{error:#}");
                let names = ["submit_round_trip", "fps_small_vhost_device_gpu"];
                rows.extend(names.map(|name| Row::missing(name, "", 1.0, &why)));
            }
        }
    }
    if wanted("blob") {
        rows.extend(blob::rows());
    }
    Ok(rows)
}

fn submit_rows(root: &Root) -> Vec<Row> {
    let names = [("submit_round_trip", 1.0 / 1.1), ("submit_32_in_flight", 1.0 / 1.1), ("submit_cpu", 1.0)];
    let mut rigs = [Kind::Ours, Kind::Peer].map(|kind| Rig::start(root, kind));
    let mut best: [Option<Trip>; 2] = [None, None];
    for round in 0..SUBMIT_ROUNDS {
        for (rig, best) in rigs.iter_mut().zip(&mut best) {
            let Ok(running) = rig else { continue };
            match running.measure() {
                Ok(trip) => {
                    eprintln!("submit, round {round}: {trip:?}");
                    *best = Some(best.map_or(trip, |other| Trip {
                        alone: trip.alone.min(other.alone),
                        many: trip.many.min(other.many),
                        cpu: trip.cpu.min(other.cpu),
                    }));
                }
                Err(error) => *rig = Err(error),
            }
        }
    }
    let why = |at: usize| rigs.get(at).and_then(|rig| rig.as_ref().err()).map(|error| format!("{error:#}"));
    let figures = |trip: Trip| [trip.alone, trip.many, trip.cpu];
    let rows = names.iter().enumerate().map(|(at, (name, goal))| match best.map(|trip| Some(figures(trip?)[at])) {
        [Some(ours), Some(theirs)] => Row::beside(name, "us", ours, PEER, theirs, *goal),
        [ours, _] => {
            let mut row = Row::missing(name, "us", *goal, &why(0).or(why(1)).unwrap_or_default());
            row.value = ours;
            row
        }
    });
    rows.collect()
}

type All = BTreeMap<(usize, &'static str), Vec<Frames>>;

/// The best rate, and the middle of what a frame cost.
fn summed_up(all: &[Frames]) -> Frames {
    let fps = all.iter().map(|frames| frames.fps).fold(0.0, f64::max);
    Frames { fps, cpu: median(all.iter().map(|frames| frames.cpu).collect()) }
}

/// Starts a guest, has it draw all scenes and ends it.
fn fps_round(root: &Root, kind: Kind, mut drawn: impl FnMut(&'static str, Frames)) -> anyhow::Result<()> {
    let guest = Guest::boot(root, kind)?;
    eprintln!("{kind:?} draws with {}", guest.renderer);
    for _ in 0..TIMES {
        for (scene, how, size) in SCENES {
            let frames = guest.scene(how, size)?;
            eprintln!("{scene}, {kind:?}: {frames:?}");
            drawn(scene, frames);
        }
    }
    Ok(())
}

fn fps_rows(root: &Root) -> Vec<Row> {
    let kinds = [Kind::OursAlike, Kind::Peer, Kind::Ours, Kind::Qemu, Kind::Contrib, Kind::Flat];
    let mut troubles = BTreeMap::new();
    let mut all = All::new();
    for round in 0..ROUNDS {
        let close = kinds.iter().enumerate().filter(|(at, _)| *at < 3 || round == 0);
        for (at, &kind) in close {
            if troubles.contains_key(&at) {
                continue;
            }
            let drawn = |scene, frames| all.entry((at, scene)).or_default().push(frames);
            if let Err(error) = fps_round(root, kind, drawn) {
                eprintln!("{kind:?}: {error:#}");
                troubles.insert(at, format!("{error:#}"));
            }
        }
    }
    let why = |at: usize| troubles.get(&at).cloned().unwrap_or_else(|| "nothing was measured".to_owned());
    // Which of ours beside which peer.
    let peers = [
        (2, 1, "vhost_device_gpu", PEER, 1.1),
        (0, 1, "gl33_vhost_device_gpu", PEER, 1.1),
        (2, 3, "virtio_gpu_gl", "QEMU's virtio-gpu-gl", 1.0),
        (2, 4, "contrib", "contrib vhost-user-gpu --virgl", 1.1),
        (2, 5, "2d", "a guest without 3D", 1.0),
    ];
    let mut rows = Vec::new();
    for (scene, ..) in SCENES {
        for (ours, at, word, title, goal) in peers {
            let pair = || -> anyhow::Result<(Frames, Frames)> {
                let of = |at: usize| {
                    let drawn = all.get(&(at, scene)).filter(|_| !troubles.contains_key(&at));
                    drawn.ok_or_else(|| anyhow::anyhow!(why(at)))
                };
                let (ours, theirs) = (of(ours)?, of(at)?);
                // The best of more rounds would be better.
                let count = ours.len().min(theirs.len());
                let first = |all: &[Frames]| summed_up(all.get(..count).unwrap_or_default());
                Ok((first(ours), first(theirs)))
            };
            let name = format!("fps_{scene}_{word}");
            let row =
                pair().map(|(ours, theirs)| Row::more_beside(&name, "frames/s", ours.fps, title, theirs.fps, goal));
            rows.push(row_or_why(&name, "frames/s", goal, row));
            let name = format!("fps_{scene}_cpu_{word}");
            let row = pair().map(|(ours, theirs)| Row::beside(&name, "ms/frame", ours.cpu, title, theirs.cpu, 1.0));
            // What has no frames has no cost either: it is said once.
            rows.extend(row.ok());
        }
    }
    rows
}
