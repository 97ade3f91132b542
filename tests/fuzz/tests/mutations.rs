//! Every target takes its seeds, its corpus and so many mutations of them without a panic, always the same ones;
//! `PHYLLOME_FUZZ_SECONDS` goes on for as long instead, and `PHYLLOME_FUZZ_SEED` takes others.

use phyllome_fuzz::mutation::{Random, mutated};
use phyllome_fuzz::{TARGETS, Target, corpora, in_order};
use std::time::{Duration, Instant};

/// What the repository keeps of inputs, bytes.
const MOST_KEPT: u64 = 200 * 1024;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// An input that fails is kept as a file, which the error names.
fn take(target: &Target, input: &[u8]) {
    if let Err(panic) = std::panic::catch_unwind(|| (target.run)(input)) {
        let file = std::env::temp_dir().join(format!("phyllome-fuzz-{}", target.name));
        let kept = std::fs::write(&file, input);
        eprintln!("the input that failed is {} ({kept:?})", file.display());
        std::panic::resume_unwind(panic);
    }
}

fn mutations(name: &str) {
    let target = TARGETS.iter().find(|target| target.name == name).expect("a target");
    let inputs = target.inputs();
    assert!(!inputs.is_empty());
    for input in &inputs {
        take(target, input);
    }
    let mut random = Random::new(number("PHYLLOME_FUZZ_SEED").unwrap_or(1));
    let end = number("PHYLLOME_FUZZ_SECONDS").map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let mut count = 0;
    while end.map_or(count < target.mutations, |end| Instant::now() < end) {
        take(target, &mutated(&inputs, &mut random));
        count += 1;
    }
    println!("{name}: {} inputs and {count} mutations", inputs.len());
}

#[test]
fn the_corpora_are_small_and_each_is_of_a_target() {
    let mut bytes = 0;
    for folder in in_order(&corpora()) {
        assert!(TARGETS.iter().any(|target| folder.ends_with(target.name)), "{} is of no target", folder.display());
        bytes += in_order(&folder).iter().map(|file| std::fs::metadata(file).expect("a file").len()).sum::<u64>();
    }
    assert!(bytes <= MOST_KEPT, "{bytes} bytes are kept; leave out what reaches no other code");
}

macro_rules! targets {
    ($($test:ident: $name:literal,)*) => {
        $(#[test]
        fn $test() {
            mutations($name);
        })*

        #[test]
        fn every_target_has_its_test() {
            let all: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
            assert_eq!(all, [$($name),*]);
        }
    };
}

targets! {
    fuzz_chains_of_descriptors_are_walked_within_guest_memory: "chains",
    fuzz_configuration_is_read_or_refused: "config",
    fuzz_control_lines_of_a_guest_are_read_or_refused: "control",
    fuzz_commands_of_a_guest_are_answered: "gpu",
    fuzz_images_name_nothing_that_qemu_opens_unasked: "images",
    fuzz_keys_reach_one_guest_with_matched_releases: "keys",
    fuzz_events_of_a_renderer_are_taken_or_end_it: "renderer-events",
    fuzz_requests_to_a_renderer_are_read_or_refused: "renderer-requests",
    fuzz_lines_of_the_tool_are_read_or_refused: "shell-lines",
    fuzz_wayland_bytes_and_descriptors_cost_nobody_but_their_guest: "wayland",
}
