//! What attacks leave behind in the shell's memory: nothing.

use super::beside::Beside;
use super::hostile::ATTACKS;
use phyllome_test_support::{process, soak};

/// How much more, or less, there may be afterwards, in KiB.
const WITHIN: u64 = 512;
/// Rounds whose least counts.
const SOME: usize = 3;
/// Set in the process in which nothing else runs.
const ALONE: &str = "PHYLLOME_TEST_ALONE";
/// The allocator of that process gives back what is freed: by itself it keeps up to twice the largest picture at the end
/// of each thread's heap, where malloc_trim(3) does not reach.
const ALLOCATOR: [(&str, &str); 3] =
    [("MALLOC_ARENA_MAX", "1"), ("MALLOC_TRIM_THRESHOLD_", "131072"), ("MALLOC_MMAP_THRESHOLD_", "131072")];

/// Whether this is a process in which only `test` runs: what other tests use would count. If it is not, the test has
/// passed in one.
pub fn is_alone(test: &str) -> bool {
    if std::env::var_os(ALONE).is_some() {
        return true;
    }
    let mut alone = std::process::Command::new(std::env::current_exe().unwrap());
    let run = alone.args(["--exact", test, "--nocapture"]).env(ALONE, "1").envs(ALLOCATOR).output().unwrap();
    let said = [run.stdout, run.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(run.status.success() && said[0].contains("1 passed"), "{}{}", said[0], said[1]);
    false
}

/// Memory of this process that is no file's, in KiB, without what the allocator keeps for later ([`ALLOCATOR`]).
pub fn memory() -> u64 {
    // SAFETY: malloc_trim(3) has no preconditions.
    unsafe { libc::malloc_trim(0) };
    process::rss_anon_kib(std::process::id()).unwrap()
}

#[test]
fn tp20_after_attacks_the_shell_has_the_memory_that_it_had() {
    if !is_alone("tests::memory::tp20_after_attacks_the_shell_has_the_memory_that_it_had") {
        return;
    }
    let mut shell = Beside::new();
    let mut round = || {
        for (name, attack) in ATTACKS {
            assert!(shell.attack(attack), "{name} were not cut off");
        }
        memory()
    };
    // The first round fills what is kept for good: caches, tables, the allocator's own. What is given back a little late
    // makes some rounds end with more than others, so the least of a few counts.
    let rounds: Vec<_> = (0..=SOME + soak::times(SOME, 100)).map(|_| round()).collect();
    let least = |rounds: &[u64]| rounds.iter().copied().min().unwrap_or(0);
    let (before, after) = (least(&rounds[1..=SOME]), least(&rounds[rounds.len() - SOME..]));
    println!("KiB after each round {rounds:?}");
    assert!(after.abs_diff(before) <= WITHIN, "KiB after each round {rounds:?}");
}
