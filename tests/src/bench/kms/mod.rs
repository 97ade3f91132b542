//! What a picture costs on a real display: the shell on KMS beside weston's kiosk-shell and cage, on the same machine
//! and display, with the same client.
//!
//! The machine is the KMS test machine: an emulated processor (TCG), a real kernel, a virtio-gpu of 1280×800 whose
//! driver has a vblank timer, so that page flips are paced by the mode's refresh (75 Hz there) as on a monitor. With
//! Pixman its time runs as its one processor's instructions do, one for each nanosecond (QEMU's icount): what else the
//! computer does changes hardly a figure, and a millisecond of CPU is a million instructions, the kernel's for the
//! compositor among them. GL in software is far too slow for that: there the machine has two processors and the
//! computer's own time, and only ratios mean much.
//!
//! The client is phyllome-guest with a played guest that flushes whole pictures by turns, or a square of 64×64, with a
//! fence. It is a guest of the shell there, in the others a Wayland window that fills the display. What differs: the
//! shell draws its frame around the guest, so that the guest has 1272×768 of 1280×800 there.
//!
//! A flip is counted by the kernel, for all three alike: from the guest's RESOURCE_FLUSH to the vblank event of the
//! flip after it. CPU is the time that the compositor's threads ran (`schedstat`). Idle flips are pictures that
//! virtio-gpu was given, idle wake-ups all context switches of the compositor. Every compositor runs once unmeasured,
//! so that its files are in memory, and then several times by turns.

pub mod bed;
pub mod compositors;
pub mod figures;
pub mod trace;

use super::{Row, median};
use bed::{Bed, Plan};
use compositors::{COMPOSITORS, Compositor, RENDERERS, Renderer};
use figures::{Burst, Sample, percentile};
use std::collections::BTreeMap;

/// Runs of each compositor.
const ROUNDS: usize = 2;
/// In refreshes, p99.
const FLIP_GOAL: f64 = 2.0;

type Runs = BTreeMap<(Compositor, Renderer), Vec<Sample>>;
type Troubles = BTreeMap<(Compositor, Renderer), String>;

/// All rows, or those of the compositors and renderers that `only` names; the error says which word names none.
pub fn rows(only: &[String]) -> anyhow::Result<Vec<Row>> {
    let known = |word: &&String| {
        COMPOSITORS.iter().any(|compositor| compositor.name() == *word)
            || RENDERERS.iter().any(|renderer| renderer.word() == *word)
    };
    if let Some(word) = only.iter().find(|word| !known(word)) {
        anyhow::bail!("“{word}” is neither a compositor nor a renderer of this benchmark");
    }
    let (mut runs, mut troubles) = (Runs::new(), Troubles::new());
    let renderers = RENDERERS.into_iter().filter(|renderer| COMPOSITORS.iter().any(|c| wanted(only, *c, *renderer)));
    for renderer in renderers.clone() {
        match Bed::boot(renderer == Renderer::Pixman) {
            Ok(mut bed) => run_all(&mut bed, renderer, only, &mut runs, &mut troubles),
            Err(error) => {
                for compositor in COMPOSITORS {
                    troubles.insert((compositor, renderer), format!("there is no machine: {error:#}"));
                }
            }
        }
    }
    Ok(renderers.flat_map(|renderer| rows_of(renderer, &runs, &troubles)).collect())
}

/// One of a sample's bursts.
type BurstOf = fn(&Sample) -> &Burst;

/// Whether `words` name both, or none of a kind.
fn wanted(words: &[String], compositor: Compositor, renderer: Renderer) -> bool {
    let named = |all: &[&str], mine: &str| {
        words.iter().any(|word| word == mine) || !words.iter().any(|word| all.contains(&word.as_str()))
    };
    named(&COMPOSITORS.map(Compositor::name), compositor.name())
        && named(&RENDERERS.map(Renderer::word), renderer.word())
}

fn run_all(bed: &mut Bed, renderer: Renderer, only: &[String], runs: &mut Runs, troubles: &mut Troubles) {
    let mut failed = false;
    for round in 0..=ROUNDS {
        for compositor in COMPOSITORS {
            let which = (compositor, renderer);
            if troubles.contains_key(&which) {
                continue;
            }
            if !wanted(only, compositor, renderer) {
                troubles.insert(which, "left out".to_owned());
                continue;
            }
            let long = round == ROUNDS && compositor == Compositor::Ours;
            // GL in software takes seconds for one here.
            let pictures = if renderer == Renderer::Gles { 6 } else { 40 };
            let plan = Plan { pictures, pace: 61, long };
            let done = if round == 0 {
                bed.warm_up(compositor, renderer)
            } else {
                bed.measure(compositor, renderer, plan).map(|sample| runs.entry(which).or_default().push(sample))
            };
            if let Err(error) = done {
                eprintln!("{} with {}: {error:#}", compositor.name(), renderer.word());
                troubles.insert(which, format!("{error:#}"));
                failed = true;
            }
        }
    }
    if failed {
        eprintln!("logs of what could not be measured: {}", bed.keep().display());
    }
}

/// The figures of one compositor with one renderer.
struct Figures<'a>(&'a [Sample]);

impl Figures<'_> {
    fn median(&self, pick: impl Fn(&Sample) -> f64) -> Option<f64> {
        (!self.0.is_empty()).then(|| median(self.0.iter().map(pick).collect()))
    }

    fn refreshes(&self, pick: impl Fn(&Sample) -> &Vec<f64>, part: f64) -> Option<f64> {
        let all: Vec<f64> =
            self.0.iter().flat_map(|sample| pick(sample).iter().map(|flip| flip / sample.period)).collect();
        percentile(&all, part)
    }

    fn last<T>(&self, pick: impl Fn(&Sample) -> Option<T>) -> Option<T> {
        self.0.iter().rev().find_map(pick)
    }
}

fn rows_of(renderer: Renderer, runs: &Runs, troubles: &Troubles) -> Vec<Row> {
    let of = |compositor| Figures(runs.get(&(compositor, renderer)).map_or(&[], Vec::as_slice));
    let ours = of(Compositor::Ours);
    let why = |compositor: Compositor| {
        troubles.get(&(compositor, renderer)).cloned().unwrap_or_else(|| "nothing was measured".to_owned())
    };
    let alone = |name: &str, unit: &str, value: Option<f64>, goal: f64| match value {
        Some(value) => Row::alone(&format!("{name}_{}", renderer.word()), unit, value, goal),
        None => Row::missing(&format!("{name}_{}", renderer.word()), unit, goal, &why(Compositor::Ours)),
    };
    // Beside the better of those that could be measured.
    let beside = |name: &str, unit: &str, goal: f64, figure: &dyn Fn(&Figures) -> Option<f64>| {
        let peers = [Compositor::Weston, Compositor::Cage];
        let figures = peers.iter().filter_map(|peer| Some((peer.title(), figure(&of(*peer))?)));
        let name = format!("{name}_{}", renderer.word());
        match (figure(&ours), figures.min_by(|a, b| a.1.total_cmp(&b.1))) {
            (Some(value), Some((peer, theirs))) => Row::beside(&name, unit, value, peer, theirs, goal),
            (Some(_), None) => Row::missing(&name, unit, goal, &peers.map(why).join("; ")),
            (None, Some((peer, theirs))) => {
                let mut row = Row::missing(&name, unit, goal, &why(Compositor::Ours));
                (row.peer, row.peer_value) = (Some(peer.to_owned()), Some(theirs));
                row
            }
            (None, None) => Row::missing(&name, unit, goal, &why(Compositor::Ours)),
        }
    };
    let mut rows = Vec::new();
    let changes: [(&str, BurstOf); 2] = [("whole", |s| &s.whole), ("small", |s| &s.small)];
    for (change, burst) in changes {
        let flips = |figures: &Figures, part: f64| figures.refreshes(|sample| &burst(sample).flips, part);
        rows.push(alone(&format!("flip_{change}_p99"), "refreshes", flips(&ours, 0.99), FLIP_GOAL));
        rows.push(beside(&format!("flip_{change}_p50"), "refreshes", 1.0, &|figures| flips(figures, 0.5)));
        rows.push(alone(
            &format!("flip_{change}_fence_p99"),
            "refreshes",
            ours.refreshes(|sample| &burst(sample).fences, 0.99),
            FLIP_GOAL,
        ));
        let cpu = |figures: &Figures| figures.median(|sample| burst(sample).cpu);
        rows.push(beside(&format!("frame_{change}_cpu"), "ms", 1.0, &cpu));
    }
    rows.push(alone("flip_flood", "per refresh", ours.last(|sample| sample.flood), 1.0));
    rows.push(alone("idle_flips_10s", "flips", ours.last(|sample| Some(sample.rest?.flips)), 0.0));
    rows.push(alone("idle_wakeups_10s", "times", ours.last(|sample| Some(sample.rest?.switches)), 0.0));
    rows.push(beside("start_exec_to_first_frame", "ms", 1.0, &|figures| figures.median(|sample| sample.start)));
    rows.push(beside("rss_kms", "MiB", 1.0, &|figures| figures.median(|sample| sample.resident)));
    rows
}
